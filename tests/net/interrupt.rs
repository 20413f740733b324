//! A thread interrupts a blocking call of another thread. Also pongs and round trips of the
//! blocking face.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use moonwire::peer::{self, Server};
use moonwire::proto::Misuse;
use moonwire::{
    Config, Error, ErrorKind, EventSource, Incoming, Interrupter, Limits, Message, Received,
    StreamOptions,
};

use crate::common::*;
use crate::web::{get, http};

#[track_caller]
fn interrupted<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Interrupted), "{error}");
    assert!(!error.is_transient());
}

/// The interrupt comes before the wait, at its start, or during it.
#[test]
fn an_interrupt_ends_the_call_under_way_or_the_next_one_and_the_connection_stays() {
    for secure in [false, true] {
        let server = match secure {
            false => Server::bind(loopback()),
            true => Server::bind_tls(loopback(), peer::CHAIN_PEM, peer::KEY_PEM),
        };
        let server = server.unwrap().spawn().unwrap();
        let tls = Some(moonwire::tls_config(peer::CA_PEM).unwrap());
        let config = Config { tls, ..Config::default() };
        let mut ws = options(server.url()).connect_with(config).unwrap();
        let stop = ws.interrupter();
        for round in 0..200 {
            let stop = stop.clone();
            let other = thread::spawn(move || {
                (0..round % 7).for_each(|_| thread::yield_now());
                stop.interrupt();
            });
            interrupted(ws.read());
            other.join().unwrap();
            ws.send_text("x").unwrap();
            assert_eq!(ws.read().unwrap(), Some(Message::from("x")));
        }
        // Messages that have arrived come first; several interrupts count as one.
        ws.send_text("y").unwrap();
        stop.interrupt();
        stop.interrupt();
        let mut first = ws.read_timeout(LONG);
        if first.is_err() {
            // The echo had not arrived yet.
            interrupted(first);
            first = ws.read_timeout(LONG);
        } else {
            interrupted(ws.read_timeout(LONG));
        }
        assert_eq!(first.unwrap(), Received::Message("y".into()));
        assert_eq!(ws.read_timeout(Duration::ZERO).unwrap(), Received::Nothing);
        // A call that does not wait is interrupted, too.
        stop.interrupt();
        interrupted(ws.read_timeout(Duration::ZERO));
        assert_eq!(ws.close(1000, "").unwrap().code, Some(1000));
        drop(ws);
        // The connection is gone, so the interrupt has no effect.
        stop.interrupt();
    }
}

#[test]
fn a_call_that_waits_for_the_kernel_or_for_a_close_can_be_interrupted() {
    let (go, wait) = channel();
    let server = serve(move |mut p| {
        p.accept(b"");
        wait.recv().unwrap();
        let mut sum = 0;
        loop {
            match p.frame() {
                (0x88, payload) => {
                    wait.recv().unwrap();
                    p.write(&frame(0x88, &payload));
                    return sum;
                }
                (_, payload) => sum += payload.len(),
            }
        }
    });
    // A busy machine may need long to read what the kernel has taken.
    let limits = Limits { close: LONG * 5, ..Limits::default() };
    let mut ws = options(&server.url()).limits(limits).connect().unwrap();
    let stop = ws.interrupter();
    let data = vec![0; 64 << 20];
    let again = stop.clone();
    let other = thread::spawn(move || again.interrupt());
    let error = ws.send_binary(&data).unwrap_err();
    other.join().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Interrupted), "{error}");
    assert!(error.unsent() > 0 && ws.buffered() > 0);
    go.send(()).unwrap();
    stop.interrupt();
    // The whole message is in the queue.
    interrupted(ws.close(1000, ""));
    go.send(()).unwrap();
    assert_eq!(ws.close(1000, "").unwrap().code, Some(1000));
    assert_eq!(server.join(), data.len());
}

#[test]
fn opening_can_be_interrupted() {
    // The listener accepts no connection, so the handshake gets no answer.
    let listener = std::net::TcpListener::bind(loopback()).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let stop = Interrupter::new();
    for early in [true, false] {
        let stop = stop.clone();
        let other = thread::spawn({
            let stop = stop.clone();
            move || stop.interrupt()
        });
        if early {
            other.join().unwrap();
            interrupted(options(&url).connect_interruptible(Config::default(), &stop));
            stop.interrupt();
            interrupted(get(&url).open_interruptible(Config::default(), &stop));
        } else {
            interrupted(options(&url).connect_interruptible(Config::default(), &stop));
            other.join().unwrap();
        }
    }
    // The same interrupter ends the calls of the connection that was opened with it.
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut ws = options(server.url()).connect_interruptible(Config::default(), &stop).unwrap();
    stop.interrupt();
    interrupted(ws.read());
}

#[test]
fn a_stream_that_waits_for_its_body_can_be_interrupted_and_goes_on() {
    let (go, wait) = channel();
    let server = serve(move |mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        wait.recv().unwrap();
        p.write(b"cd");
    });
    let mut stream = get(&server.url()).open().unwrap();
    let stop = stream.interrupter();
    assert_eq!(stream.read().unwrap().unwrap(), b"ab");
    let other = thread::spawn(move || stop.interrupt());
    interrupted(stream.read());
    other.join().unwrap();
    go.send(()).unwrap();
    assert_eq!(stream.read().unwrap().unwrap(), b"cd");
    assert_eq!(stream.read().unwrap(), None);
    server.join();
}

/// The interrupt comes while the source waits for an event, and while it waits to reconnect.
#[test]
fn an_event_source_can_be_interrupted_and_goes_on() {
    let (go, wait) = channel();
    let server = listen(move |listener| {
        for number in 0..2 {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            peer.request();
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
            wait.recv().unwrap();
            peer.write(format!("retry: 3600000\ndata: {number}\n\n").as_bytes());
        }
    });
    let options = StreamOptions::get(&http(&server.url())).unwrap();
    let mut source = EventSource::new(options).reconnect(true);
    let stop = source.interrupter();
    stop.interrupt();
    interrupted(source.next_event());
    assert_eq!(source.next_timeout(LONG).unwrap(), Incoming::Opened);
    let other = thread::spawn({
        let stop = stop.clone();
        move || stop.interrupt()
    });
    interrupted(source.next_event());
    other.join().unwrap();
    go.send(()).unwrap();
    assert_eq!(source.next_event().unwrap().unwrap().data, "0");
    assert!(matches!(source.next_timeout(LONG).unwrap(), Incoming::Reconnecting { .. }));
    // Without an interrupt, this wait takes an hour.
    let other = thread::spawn({
        let stop = stop.clone();
        move || stop.interrupt()
    });
    interrupted(source.next_event());
    other.join().unwrap();
    source.restart();
    go.send(()).unwrap();
    assert_eq!(source.next_event().unwrap().unwrap().data, "1");
    server.join();
}

#[test]
fn pongs_come_in_their_order_where_they_are_asked_for() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut ws = options(server.url()).connect().unwrap();
    ws.ping(b"unseen").unwrap();
    ws.send_text("a").unwrap();
    assert_eq!(ws.read_timeout(LONG).unwrap(), Received::Message("a".into()));
    ws.set_pongs(true);
    ws.ping(b"1").unwrap();
    ws.send_text("b").unwrap();
    ws.ping(b"2").unwrap();
    for want in [
        Received::Pong(b"1".to_vec()),
        Received::Message("b".into()),
        Received::Pong(b"2".to_vec()),
    ] {
        assert_eq!(ws.read_timeout(LONG).unwrap(), want);
    }
    ws.ping(b"3").unwrap();
    ws.send_text("c").unwrap();
    assert_eq!(ws.read().unwrap(), Some("c".into()), "read skips them");
}

#[test]
fn a_round_trip_waits_for_its_own_pong_and_keeps_messages_in_order() {
    for pongs in [false, true] {
        let server = serve(|mut p| {
            p.accept(b"");
            let (first, payload) = p.frame();
            assert_eq!((first, payload.len()), (0x89, 16));
            let other = [frame(0x81, b"a"), frame(0x8A, b"other"), frame(0x81, b"b")].concat();
            p.write(&other);
            p.write(&frame(0x8A, &payload));
            p.write(&frame(0x81, b"c"));
            let again = p.frame().1;
            assert_ne!(again, payload, "each ping has another payload");
            // The server sends no pong, and then ends the connection.
            assert_eq!(p.frame().0, 0x89);
            p.write(&close(1000, ""));
            p.close_frame();
        });
        let mut ws = options(&server.url()).connect().unwrap();
        ws.set_pongs(pongs);
        assert!(ws.round_trip(LONG).unwrap().is_some());
        assert_eq!(ws.round_trip(Duration::from_millis(1)).unwrap(), None, "it does not come");
        let ended = ws.round_trip(LONG).unwrap_err();
        assert!(matches!(ended.kind(), ErrorKind::Misuse(Misuse::NotOpen | Misuse::Ended(_))));
        let mut got = Vec::new();
        loop {
            match ws.read_timeout(LONG).unwrap() {
                Received::Closed(frame) => break assert_eq!(frame.code, Some(1000)),
                other => got.push(other),
            }
        }
        let mut want = ["a", "b", "c"].map(|text| Received::Message(text.into())).to_vec();
        if pongs {
            want.insert(1, Received::Pong(b"other".to_vec()));
        }
        assert_eq!(got, want);
        server.join();
    }
}
