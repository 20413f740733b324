//! The blocking stream and the threaded client.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use moonwire::proto::http::{Delivery, HttpError};
use moonwire::{
    Client, Closed, Config, Conn, ErrorKind, Event, Events, Limits, Piece, Reactor, Stage,
};

use crate::common::*;
use crate::web::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_blocking_stream_reads_to_the_end() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            p.write(format!("{HEAD}5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n").as_bytes());
            p.rest();
        });
        let mut stream = get(&server.url()).open_with(trusting()).unwrap();
        assert_eq!(stream.response().status, 200);
        assert_eq!(stream.response().url.as_str(), http(&server.url()));
        assert_eq!(stream.read().unwrap().as_deref(), Some(&b"hello"[..]));
        assert_eq!(stream.read().unwrap().as_deref(), Some(&b"!"[..]));
        for _ in 0..3 {
            assert_eq!(stream.read().unwrap(), None);
            assert_eq!(stream.event().unwrap(), None);
            assert_eq!(stream.read_timeout(LONG).unwrap(), Piece::End);
        }
        server.join();
    }
}

#[test]
fn a_blocking_stream_gives_an_error_once() {
    let server = serve(|mut p| {
        p.request();
        p.write(format!("{HEAD}5\r\nhello\r\n").as_bytes());
    });
    let mut stream = get(&server.url()).open().unwrap();
    assert_eq!(stream.read().unwrap().as_deref(), Some(&b"hello"[..]));
    let error = stream.read().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Http(HttpError::Truncated(None))), "{error}");
    assert_eq!(stream.read().unwrap(), None);
    server.join();
    // If the server ends before the head, opening fails.
    let server = serve(|mut p| drop(p.request().to_owned()));
    let error = get(&server.url()).open().err().unwrap();
    assert_eq!(error.stage(), Stage::Response);
    server.join();
}

#[test]
fn a_blocking_read_may_give_up_waiting_and_go_on() {
    let (go, wait) = channel();
    let server = serve(move |mut p| {
        p.request();
        p.write(HEAD.as_bytes());
        wait.recv().unwrap();
        p.write(b"1\r\nx\r\n");
        wait.recv().unwrap();
        p.write(b"0\r\n\r\n");
    });
    let mut stream = get(&server.url()).open().unwrap();
    assert_eq!(stream.read_timeout(Duration::ZERO).unwrap(), Piece::Nothing);
    assert_eq!(stream.read_timeout(Duration::from_millis(30)).unwrap(), Piece::Nothing);
    go.send(()).unwrap();
    assert_eq!(stream.read_timeout(Duration::MAX).unwrap(), Piece::Chunk(b"x".to_vec()));
    assert_eq!(stream.read_timeout(Duration::ZERO).unwrap(), Piece::Nothing);
    go.send(()).unwrap();
    assert_eq!(stream.read_timeout(LONG).unwrap(), Piece::End);
    server.join();
}

#[test]
fn a_blocking_stream_gives_events() {
    for delivery in [Delivery::Events, Delivery::Blocks] {
        let server = serve(|mut p| {
            p.request();
            p.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
                  event: a\ndata: 1\n\ndata: 2\n\n",
            );
        });
        let mut stream = get(&server.url()).delivery(delivery).open().unwrap();
        if delivery == Delivery::Blocks {
            assert_eq!(stream.read().unwrap().unwrap(), b"event: a\ndata: 1\n\n");
            assert_eq!(stream.event().unwrap(), None, "pieces are skipped");
        } else {
            let event = stream.event().unwrap().unwrap();
            assert_eq!((&*event.event, event.data.as_str()), ("a", "1"));
            assert_eq!(stream.read().unwrap(), None, "events are skipped");
        }
        server.join();
    }
}

#[test]
fn a_blocking_stream_that_is_dropped_ends_the_connection() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            p.write(format!("{HEAD}5\r\nhello\r\n").as_bytes());
            p.rest()
        });
        let mut stream = get(&server.url()).open_with(trusting()).unwrap();
        assert!(stream.read().unwrap().is_some());
        drop(stream);
        assert_eq!(server.join(), 0);
    }
}

/// The length of a large body.
const LARGE: usize = 64 << 20;

fn large(mut p: Peer) {
    p.request();
    p.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes());
    let piece = pattern(1 << 20);
    for _ in 0..LARGE >> 20 {
        p.write(&piece);
    }
    p.rest();
}

#[test]
fn a_large_body_streams_through_bounded_buffers() {
    let want = pattern(1 << 20);
    for secure in [false, true] {
        let server = serve_either(secure, large);
        let mut reactor = Reactor::new(trusting()).unwrap();
        reactor.open(get(&server.url())).unwrap();
        let (until, mut sum, mut most) = (Instant::now() + 6 * LONG, 0, 0);
        while !reactor.is_empty() {
            assert!(Instant::now() < until, "{sum} bytes");
            let mut turn = 0;
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| match event {
                Event::Chunk(data) => {
                    // The piece may begin anywhere in the pattern.
                    let (first, rest) =
                        data.split_at(data.len().min(want.len() - sum % want.len()));
                    assert!(want[sum % want.len()..].starts_with(first));
                    assert!(rest.len() <= want.len() && want.starts_with(rest));
                    sum += data.len();
                    turn += data.len();
                }
                Event::Closed(closed) => assert!(matches!(closed, Closed::Complete), "{closed}"),
                _ => {}
            };
            reactor.turn(Some(until), &mut sink).unwrap();
            most = most.max(turn);
        }
        assert_eq!(sum, LARGE);
        let limits = Limits::default();
        assert!(most <= limits.turn + limits.receive_buffer_max, "{most} bytes in one turn");
        server.join();
    }
}

#[test]
fn a_blocking_stream_reads_no_more_than_it_is_asked_for() {
    let server = serve(move |mut p| {
        p.request();
        p.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes());
        stuck_after(&mut p, LARGE)
    });
    let stream = get(&server.url()).open().unwrap();
    let taken = server.join();
    assert!(
        taken < LARGE / 2,
        "{taken} bytes of {LARGE} were taken of a client that does not read"
    );
    drop(stream);
}

/// Writes at most `most` bytes, until the client takes no more. Returns the number of written
/// bytes.
fn stuck_after(p: &mut Peer, most: usize) -> usize {
    p.tcp.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sum = 0;
    let mut tcp = &p.tcp;
    while sum < most {
        match std::io::Write::write(&mut tcp, &[b'x'; 100_000]) {
            Ok(n) => sum += n,
            Err(e) => {
                assert!(is_timeout(&e), "{e}");
                break;
            }
        }
    }
    sum
}

/// A client that stops reading a socket early.
fn soon_paused(limits: Limits) -> (Client, Events) {
    let limits = Limits { high_water: 64 * 1024, low_water: 16 * 1024, ..limits };
    Client::spawn(Config { limits, ..Config::default() }).unwrap()
}

/// The number of received bytes, and the final event.
fn to_the_end(events: &mut Events) -> (usize, Closed) {
    let (until, mut sum, mut end) = (soon(), 0, None);
    loop {
        assert!(Instant::now() < until, "{sum} bytes");
        let each = |_, event: Event<'_>| match event {
            Event::Chunk(data) => sum += data.len(),
            Event::Closed(closed) => end = Some(closed),
            _ => {}
        };
        events.wait(Some(until), each).unwrap();
        if let Some(end) = end {
            return (sum, end);
        }
    }
}

#[test]
fn a_client_that_does_not_read_pauses_the_socket_and_goes_on() {
    let (stuck, wait) = channel();
    let server = serve(move |mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\n\r\n");
        let taken = stuck_after(&mut p, LARGE);
        stuck.send(taken).unwrap();
        p.tcp.set_write_timeout(None).unwrap();
        p.write(b"the end");
        taken + 7
    });
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    client.open(get(&server.url())).unwrap();
    let taken = wait.recv_timeout(LONG).unwrap();
    assert!(
        taken < LARGE / 2,
        "{taken} bytes of {LARGE} were taken of a client that does not read"
    );
    let (sum, end) = to_the_end(&mut events);
    assert!(matches!(end, Closed::Complete), "{end:?}");
    assert_eq!(sum, server.join());
}

#[test]
fn a_client_that_does_not_read_is_no_silent_server() {
    // The idle limit is for the peer. While the socket is not read, nothing can arrive.
    const IDLE: Duration = Duration::from_millis(100);
    let (stuck, wait) = channel();
    let server = serve(move |mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\n\r\n");
        let taken = stuck_after(&mut p, LARGE);
        stuck.send(taken).unwrap();
        taken
    });
    let (client, mut events) = soon_paused(Limits::default());
    client.open(get(&server.url()).idle(Some(IDLE))).unwrap();
    wait.recv_timeout(LONG).unwrap();
    // Several times the limit.
    std::thread::sleep(IDLE * 4);
    let (sum, end) = to_the_end(&mut events);
    assert!(matches!(end, Closed::Complete), "{end:?}");
    assert_eq!(sum, server.join());
}

#[test]
fn a_websocket_that_is_not_read_is_no_silent_server() {
    const INTERVAL: Duration = Duration::from_millis(50);
    let (stuck, wait) = channel();
    let server = serve(move |mut p| {
        p.accept(b"");
        // Sends binary messages until the client takes no more.
        let message = frame(0x82, &[7; 60_000]);
        p.tcp.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut whole = 0;
        let rest = loop {
            let mut at = 0;
            while at < message.len() {
                match std::io::Write::write(&mut &p.tcp, &message[at..]) {
                    Ok(n) => at += n,
                    Err(_) => break,
                }
            }
            if at < message.len() {
                break message[at..].to_vec();
            }
            whole += 1;
        };
        stuck.send(()).unwrap();
        p.tcp.set_write_timeout(None).unwrap();
        p.write(&[rest, close(1000, "")].concat());
        whole + 1
    });
    let limits = Limits { pong: INTERVAL, ..Limits::default() };
    let (client, mut events) = soon_paused(limits);
    client.open(options(&server.url()).ping_interval(Some(INTERVAL))).unwrap();
    wait.recv_timeout(LONG).unwrap();
    // Several times the limit for a silent peer.
    std::thread::sleep(INTERVAL * 8);
    let (until, mut count, mut end) = (soon(), 0, None);
    while end.is_none() {
        assert!(Instant::now() < until, "{count} messages");
        let each = |_, event: Event<'_>| match event {
            Event::Binary(_) => count += 1,
            Event::Closed(closed) => end = Some(closed),
            _ => {}
        };
        events.wait(Some(until), each).unwrap();
    }
    assert!(matches!(end, Some(Closed::Clean(_))), "{end:?}");
    assert_eq!(count, server.join());
}

#[test]
fn the_silence_counts_again_when_reading_goes_on() {
    const IDLE: Duration = Duration::from_millis(100);
    let (stuck, wait) = channel();
    let server = serve(move |mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\n\r\n");
        stuck.send(stuck_after(&mut p, LARGE)).unwrap();
        p.rest();
    });
    let (client, mut events) = soon_paused(Limits::default());
    client.open(get(&server.url()).idle(Some(IDLE))).unwrap();
    let taken = wait.recv_timeout(LONG).unwrap();
    let (until, mut sum, mut end) = (soon(), 0, None);
    while end.is_none() {
        assert!(Instant::now() < until, "{sum} bytes of {taken}");
        let each = |_, event: Event<'_>| match event {
            Event::Chunk(data) => sum += data.len(),
            Event::Closed(closed) => end = Some(closed),
            _ => {}
        };
        events.wait(Some(until), each).unwrap();
    }
    let Some(Closed::Lost(error)) = end else { panic!("{end:?}") };
    assert!(matches!(error.kind(), ErrorKind::Idle(d) if *d == IDLE), "{error}");
    assert_eq!(sum, taken);
    server.join();
}

#[test]
fn a_client_that_is_dropped_ends_its_streams() {
    let server = serve(|mut p| {
        p.request();
        p.write(format!("{HEAD}5\r\nhello\r\n").as_bytes());
        p.rest()
    });
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    client.open(get(&server.url())).unwrap();
    let (until, mut got) = (soon(), false);
    while !got {
        events.wait(Some(until), |_, event| got |= matches!(event, Event::Chunk(_))).unwrap();
    }
    drop(events);
    assert_eq!(server.join(), 0);
}
