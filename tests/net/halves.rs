//! A blocking connection in two halves, one of which sends while the other waits.

use std::sync::mpsc::channel;
use std::thread;

use moonwire::peer::Server;
use moonwire::proto::Misuse;
use moonwire::{
    Config, Error, ErrorKind, Interrupter, Limits, Message, Received, Receiver, Sender, WebSocket,
};

use crate::common::*;

fn connect(url: &str) -> WebSocket {
    options(url).connect_with(trusting()).unwrap()
}

fn split(url: &str) -> (Sender, Receiver) {
    connect(url).split().unwrap()
}

/// Whether an error says that the connection is over, and why.
fn has_ended(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Misuse(Misuse::Ended(_)))
}

#[test]
fn one_half_sends_while_the_other_waits() {
    for secure in [false, true] {
        // The server sends nothing before it has received everything.
        let server = serve_either(secure, |mut p| {
            p.accept(b"");
            let got: Vec<_> = (0..100).map(|_| p.frame().1).collect();
            p.write(&frame(0x81, b"all came"));
            p.write(&close(1000, ""));
            p.close_frame();
            got
        });
        let (sender, mut receiver) = split(&server.url());
        let (waits, is_waiting) = channel();
        let reader = thread::spawn(move || {
            waits.send(()).unwrap();
            let first = receiver.read().unwrap();
            (first, receiver.read().unwrap())
        });
        is_waiting.recv().unwrap();
        let other = sender.clone();
        let second = thread::spawn(move || {
            (0..50).for_each(|i| other.send_text(&format!("b {i}")).unwrap());
        });
        (0..50).for_each(|i| sender.send_text(&format!("a {i}")).unwrap());
        second.join().unwrap();
        assert_eq!(reader.join().unwrap(), (Some(Message::from("all came")), None));
        let got = server.join();
        for name in ["a", "b"] {
            let of_one = got.iter().map(|g| String::from_utf8(g.clone()).unwrap());
            let of_one: Vec<_> = of_one.filter(|g| g.starts_with(name)).collect();
            assert_eq!(of_one, (0..50).map(|i| format!("{name} {i}")).collect::<Vec<_>>());
        }
    }
}

/// At the split, some messages are in the inbox, some in the receive buffer, and some in the
/// kernel.
#[test]
fn messages_that_came_before_the_split_come_first_and_in_order() {
    const COUNT: usize = 5000;
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            let all = (0..COUNT).flat_map(|i| frame(0x81, i.to_string().as_bytes()));
            let all: Vec<u8> = all.collect();
            p.accept(&all);
            assert_eq!(p.frame(), (0x81, b"x".to_vec()));
            p.write(&close(1000, ""));
            p.close_frame();
        });
        let mut ws = connect(&server.url());
        let mut got = Vec::new();
        for _ in 0..10 {
            got.push(ws.read().unwrap().unwrap());
        }
        // A send that has to wait also reads.
        ws.send_text("x").unwrap();
        let (_sender, mut receiver) = ws.split().unwrap();
        assert!(receiver.headers().is_some());
        while let Some(message) = receiver.read().unwrap() {
            got.push(message);
        }
        let want: Vec<_> = (0..COUNT).map(|i| Message::from(i.to_string())).collect();
        assert!(got == want, "{} messages", got.len());
        server.join();
    }
}

#[test]
fn pings_are_answered_though_nobody_reads_or_sends() {
    let server = serve(|mut p| {
        p.accept(&frame(0x89, b"are you there"));
        assert_eq!(p.frame(), (0x8A, b"are you there".to_vec()));
        p.write(&close(1000, ""));
        p.close_frame();
    });
    let (_sender, mut receiver) = split(&server.url());
    assert_eq!(receiver.read().unwrap(), None);
    server.join();
}

#[test]
fn a_slow_reader_makes_the_server_wait_and_no_sender() {
    let limits = Limits { high_water: 1 << 16, low_water: 1 << 15, ..Limits::default() };
    let server = serve(|mut p| {
        p.accept(b"");
        let message = frame(0x82, &[7; 50_000]);
        // Far more bytes than the kernels hold: the server writes the rest when the client reads.
        (0..2000).for_each(|_| p.write(&message));
        p.write(&close(1000, ""));
        let mut texts = 0;
        while p.frame().0 == 0x81 {
            texts += 1;
        }
        texts
    });
    let config = Config { limits, ..Config::default() };
    let (sender, mut receiver) =
        options(&server.url()).connect_with(config).unwrap().split().unwrap();
    (0..100).for_each(|_| sender.send_text("meanwhile").unwrap());
    assert!(sender.flush(Some(LONG)).unwrap());
    assert_eq!(sender.buffered(), 0);
    let mut sum = 0;
    while let Some(message) = receiver.read().unwrap() {
        sum += message.len();
    }
    assert_eq!(sum, 2000 * 50_000);
    assert_eq!(server.join(), 100);
}

#[test]
fn a_queue_that_is_full_is_an_error_and_a_flush_waits_until_it_is_empty() {
    let (go, wait) = channel();
    let server = serve(move |mut p| {
        p.accept(b"");
        wait.recv().unwrap();
        let mut sum = 0;
        loop {
            match p.frame() {
                (0x82, payload) => sum += payload.len(),
                _ => return sum,
            }
        }
    });
    let limits = Limits { send_queue: 1 << 20, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let ws = options(&server.url()).connect_with(config).unwrap();
    let (sender, receiver) = ws.split().unwrap();
    let (piece, mut taken) = (vec![0; 100_000], 0);
    let error = loop {
        match sender.send_binary(&piece) {
            Ok(()) => taken += piece.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.kind(), ErrorKind::Misuse(Misuse::Full)), "{error}");
    assert!(sender.buffered() > 0);
    assert!(!sender.flush(Some(std::time::Duration::from_millis(5))).unwrap());
    go.send(()).unwrap();
    assert!(sender.flush(None).unwrap());
    assert_eq!(sender.buffered(), 0);
    drop(receiver);
    assert_eq!(server.join(), taken);
}

#[test]
fn a_flush_ends_with_its_connection() {
    let (go, wait) = channel();
    let server = serve(move |mut p| {
        p.accept(b"");
        wait.recv().unwrap();
        p.reset();
    });
    let (sender, mut receiver) = split(&server.url());
    let piece = vec![0; 1 << 20];
    while sender.send_binary(&piece).is_ok() {}
    let other = sender.clone();
    let flusher = thread::spawn(move || other.flush(None));
    go.send(()).unwrap();
    let error = flusher.join().unwrap().unwrap_err();
    assert!(has_ended(&error), "{error}");
    let error = receiver.read().unwrap_err();
    assert!(error.unsent() > 0, "{error}");
    assert_eq!(receiver.read().unwrap(), None);
    server.join();
}

/// The server's close frame follows a message at once. The client can still reply to the message.
#[test]
fn the_answer_to_a_close_waits_until_what_came_before_was_read() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.accept(&[frame(0x81, b"question"), close(4000, "bye")].concat());
            let answer = p.frame();
            (answer, p.frame().0)
        });
        let (sender, mut receiver) = split(&server.url());
        assert_eq!(receiver.read().unwrap(), Some(Message::from("question")));
        sender.send_text("answer").unwrap();
        for _ in 0..3 {
            let got = receiver.read_timeout(LONG).unwrap();
            assert!(matches!(got, Received::Closed(ref f) if f.code == Some(4000)), "{got:?}");
        }
        assert_eq!(server.join(), ((0x81, b"answer".to_vec()), 0x88));
        let error = sender.send_text("late").unwrap_err();
        assert!(has_ended(&error) || error.to_string().contains("not open"), "{error}");
    }
}

#[test]
fn a_receiver_that_is_dropped_closes_with_1001_and_what_was_sent_arrives() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.accept(b"");
            let mut sum = 0;
            loop {
                match p.frame() {
                    (0x88, payload) => return (sum, payload),
                    (_, payload) => sum += payload.len(),
                }
            }
        });
        let (sender, receiver) = split(&server.url());
        (0..20).for_each(|_| sender.send_binary(&[1; 100_000]).unwrap());
        drop(receiver);
        let error = sender.send_text("late").unwrap_err();
        assert!(has_ended(&error), "{error}");
        assert!(!sender.is_open());
        assert_eq!(server.join(), (2_000_000, 1001u16.to_be_bytes().to_vec()));
    }
}

#[test]
fn a_receiver_whose_senders_are_gone_reads_on() {
    let (go, wait) = channel();
    let server = serve(move |mut p| {
        p.accept(b"");
        wait.recv().unwrap();
        p.write(&frame(0x81, b"x"));
        p.write(&close(1000, ""));
        p.close_frame();
    });
    let (sender, mut receiver) = split(&server.url());
    drop(sender);
    go.send(()).unwrap();
    assert_eq!(receiver.read().unwrap(), Some(Message::from("x")));
    assert_eq!(receiver.read().unwrap(), None);
    server.join();
}

#[test]
fn an_interrupter_from_before_the_split_ends_the_receivers_wait() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut ws = connect(server.url());
    let early: Interrupter = ws.interrupter();
    let (sender, mut receiver) = ws.split().unwrap();
    for interrupter in [early, receiver.interrupter()] {
        let waker = thread::spawn(move || interrupter.interrupt());
        let error = receiver.read().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted), "{error}");
        waker.join().unwrap();
        sender.send_text("x").unwrap();
        assert_eq!(receiver.read().unwrap(), Some(Message::from("x")));
    }
}

#[test]
fn a_connection_that_ended_before_its_split_tells_how() {
    let server = serve(|mut p| p.accept(&frame(0x81, b"x")));
    let mut ws = connect(&server.url());
    server.join();
    assert_eq!(ws.read().unwrap(), Some(Message::from("x")));
    // A send fails after the client has seen the end of the connection.
    while ws.send_text("y").is_ok() {}
    let (sender, mut receiver) = ws.split().unwrap();
    assert!(sender.send_text("z").is_err());
    // A send has returned the error, or this call returns it.
    let _ = receiver.read();
    assert_eq!(receiver.read().unwrap(), None);
}

#[test]
fn pongs_come_to_a_receiver_that_asks_for_them() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let (sender, mut receiver) = split(server.url());
    receiver.set_pongs(true);
    sender.ping(b"1").unwrap();
    sender.send_text("x").unwrap();
    assert_eq!(receiver.read_timeout(LONG).unwrap(), Received::Pong(b"1".to_vec()));
    assert_eq!(receiver.read_timeout(LONG).unwrap(), Received::Message("x".into()));
    sender.ping(b"2").unwrap();
    sender.send_text("y").unwrap();
    assert_eq!(receiver.read().unwrap(), Some("y".into()), "read skips them");
}
