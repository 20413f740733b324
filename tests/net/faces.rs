//! The three faces with the echo server: the blocking one, the reactor, the threaded client.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use moonwire::peer::{self, Running, Server};
use moonwire::proto::{CloseFrame, Misuse};
use moonwire::{
    Client, Closed, Config, Conn, ConnId, ErrorKind, Event, Limits, Message, Options, Os, Reactor,
    Received,
};

use crate::common::*;
use crate::handshake_redirect::watched;

fn echo(secure: bool) -> Running {
    let server = match secure {
        false => Server::bind(loopback()),
        true => Server::bind_tls(loopback(), peer::CHAIN_PEM, peer::KEY_PEM),
    };
    server.unwrap().spawn().unwrap()
}

fn config() -> Config {
    Config { tls: Some(moonwire::tls_config(peer::CA_PEM).unwrap()), ..Config::default() }
}

const MIB: usize = 1 << 20;
const SIZES: [usize; 9] = [0, 1, 125, 126, 127, 65_535, 65_536, MIB, 20 * MIB];

/// Text with characters of one to four bytes, or bytes of every value.
fn message(text: bool, len: usize) -> Message {
    if text {
        let mut s = "aä€🙂".repeat(len / 10);
        s.extend(std::iter::repeat_n('z', len % 10));
        Message::Text(s)
    } else {
        Message::Binary((0..len).map(|i| (i * 7 + i / 251) as u8).collect())
    }
}

#[test]
fn every_size_comes_back_through_the_blocking_face() {
    for secure in [false, true] {
        let server = echo(secure);
        let mut ws = options(server.url()).connect_with(config()).unwrap();
        for len in SIZES {
            for text in [false, true] {
                let message = message(text, len);
                ws.send(&message).unwrap();
                assert!(ws.read().unwrap() == Some(message), "{len} bytes, text: {text}");
            }
        }
        assert_eq!(ws.close(4000, "done").unwrap().code, Some(4000));
    }
}

/// Echoes messages of every size through a reactor.
fn through<S: moonwire::Sys>(reactor: Reactor<S>, url: &str) {
    let messages: Vec<_> = SIZES.iter().map(|&n| message(n % 2 == 0, n)).collect();
    echoed(reactor, url, &messages, false);
}

/// Sends the messages and compares the echoes. Unless `at_once`, a message is sent after the echo
/// of the one before it.
fn echoed<S: moonwire::Sys>(
    mut reactor: Reactor<S>,
    url: &str,
    messages: &[Message],
    at_once: bool,
) {
    reactor.open(options(url)).unwrap();
    let mut left = messages.iter();
    let mut send = |conn: &mut Conn<'_>| {
        let sent = match left.next() {
            Some(Message::Text(text)) => conn.send_text(text),
            Some(Message::Binary(data)) => conn.send_binary(data),
            None => conn.close(1000, ""),
        };
        sent.unwrap();
    };
    let reported = run(&mut reactor, |conn, event| match event {
        Event::Opened(_) if at_once => (0..=messages.len()).for_each(|_| send(conn)),
        Event::Opened(_) => send(conn),
        Event::Text(_) | Event::Binary(_) if !at_once => send(conn),
        _ => {}
    });
    let got = reported.into_iter().filter_map(|t| match t {
        OwnedEvent::Text(text) => Some(Message::Text(text)),
        OwnedEvent::Binary(data) => Some(Message::Binary(data)),
        _ => None,
    });
    assert!(got.eq(messages.iter().cloned()));
}

#[test]
fn every_size_comes_back_through_the_reactor() {
    for secure in [false, true] {
        through(Reactor::new(config()).unwrap(), echo(secure).url());
    }
}

#[test]
fn every_size_comes_back_with_poll_instead_of_epoll() {
    for secure in [false, true] {
        let config = config();
        let os = Os::with_poll(&config.limits).unwrap();
        through(Reactor::with_sys(os, config).unwrap(), echo(secure).url());
    }
}

#[test]
fn buffers_of_any_size_change_nothing() {
    // The end of a buffer cuts a frame in every possible way.
    for (first, most, in_place, turn) in
        [(1, 1, 1, 1), (64, 100, 50, 10), (100, 1000, 1000, 500), (7, 300, 100_000, 1 << 20)]
    {
        let limits = Limits {
            receive_buffer: first,
            receive_buffer_max: most,
            in_place,
            turn,
            ..Limits::default()
        };
        for secure in [false, true] {
            let sizes = (90..130).chain([250, 300, 310, 990, 1000, 1010, 5000]);
            let messages: Vec<_> = sizes.map(|n| message(n % 3 == 0, n)).collect();
            for at_once in [false, true] {
                let reactor = Reactor::new(Config { limits: limits.clone(), ..config() }).unwrap();
                echoed(reactor, echo(secure).url(), &messages, at_once);
            }
        }
    }
}

/// The events of each connection, until `enough` returns true.
fn collect(
    events: &mut moonwire::Events,
    mut enough: impl FnMut(ConnId, &Event<'_>) -> bool,
) -> HashMap<ConnId, Vec<OwnedEvent>> {
    let (until, mut all, mut done) = (soon(), HashMap::<_, Vec<_>>::new(), false);
    while !done {
        assert!(Instant::now() < until, "hangs");
        events
            .wait(Some(until), |id, event| {
                done |= enough(id, &event);
                all.entry(id).or_default().push(keep(event));
            })
            .unwrap();
    }
    all
}

#[test]
fn every_size_comes_back_through_the_client() {
    for secure in [false, true] {
        let server = echo(secure);
        let (client, mut events) = Client::spawn(config()).unwrap();
        let id = client.open(options(server.url())).unwrap();
        let mut left: Vec<Message> = SIZES.iter().map(|&n| message(n % 2 == 1, n)).collect();
        let mut want = left.clone();
        left.reverse();
        let mut reported = collect(&mut events, |_, event| {
            match event {
                Event::Opened(_) | Event::Text(_) | Event::Binary(_) => match left.pop() {
                    Some(Message::Text(text)) => client.send_text(id, &text),
                    Some(Message::Binary(data)) => client.send_binary(id, &data),
                    None => client.close(id, 1000, ""),
                },
                _ => Ok(()),
            }
            .unwrap();
            matches!(event, Event::Closed(_))
        });
        let reported = reported.remove(&id).unwrap();
        want.reverse();
        for reported in reported {
            match reported {
                OwnedEvent::Text(text) => assert!(want.pop() == Some(Message::Text(text))),
                OwnedEvent::Binary(data) => assert!(want.pop() == Some(Message::Binary(data))),
                _ => {}
            }
        }
        assert!(want.is_empty());
    }
}

#[test]
fn several_threads_send_through_one_client() {
    const THREADS: usize = 4;
    const EACH: usize = 200;
    let server = echo(false);
    let (client, mut events) = Client::spawn(config()).unwrap();
    let ids: Vec<_> = (0..8).map(|_| client.open(options(server.url())).unwrap()).collect();
    let mut opened = 0;
    let mut all = collect(&mut events, |_, event| {
        opened += usize::from(matches!(event, Event::Opened(_)));
        opened == ids.len()
    });
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (client, ids) = (client.clone(), ids.clone());
            std::thread::spawn(move || {
                for i in 0..EACH {
                    for &id in &ids {
                        client.send_text(id, &format!("{thread} {i}")).unwrap();
                    }
                }
            })
        })
        .collect();
    let mut texts = 0;
    let more = collect(&mut events, |_, event| {
        texts += usize::from(matches!(event, Event::Text(_)));
        texts == THREADS * EACH * ids.len()
    });
    senders.into_iter().for_each(|s| s.join().unwrap());
    more.into_iter().for_each(|(id, reported)| all.entry(id).or_default().extend(reported));
    for id in ids {
        // The messages of each thread come back in the order in which it sent them.
        let mut next = [0; THREADS];
        for reported in &all[&id] {
            let OwnedEvent::Text(text) = reported else { continue };
            let (thread, i) = text.split_once(' ').unwrap();
            let next = &mut next[thread.parse::<usize>().unwrap()];
            assert_eq!(i.parse::<usize>().unwrap(), *next);
            *next += 1;
        }
        assert_eq!(next, [EACH; THREADS]);
    }
}

#[test]
fn wake_ends_a_wait_from_another_thread() {
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    let waker = std::thread::spawn(move || client.wake());
    assert_eq!(events.wait(Some(soon()), |_, _| {}).unwrap(), 0);
    waker.join().unwrap();
}

/// A server that reads everything. Returns the number of data bytes and the close code.
fn sponge(secure: bool) -> Scripted<(usize, u16)> {
    serve_either(secure, |mut p| {
        p.accept(b"");
        let mut sum = 0;
        loop {
            match p.frame() {
                (0x88, payload) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    let _ = p.try_write(&frame(0x88, &payload[..2]));
                    // The client may have closed already.
                    let _ = p.tcp.shutdown(std::net::Shutdown::Write);
                    return (sum, code);
                }
                (_, payload) => sum += payload.len(),
            }
        }
    })
}

#[test]
fn send_then_close_loses_nothing() {
    let piece = vec![1; 300_000];
    for secure in [false, true] {
        let server = sponge(secure);
        let mut reactor = Reactor::new(trusting()).unwrap();
        reactor.open(options(&server.url())).unwrap();
        let reported = run(&mut reactor, |conn, event| {
            if let Event::Opened(_) = event {
                (0..10).for_each(|_| conn.send_binary(&piece).unwrap());
                conn.close(4002, "").unwrap();
                assert_eq!(conn.close(1000, ""), Err(Misuse::NotOpen));
                assert_eq!(conn.send_text("late"), Err(Misuse::NotOpen));
            }
        });
        assert!(
            matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))),
            "{reported:?}"
        );
        assert_eq!(server.join(), (3_000_000, 4002), "the reactor");

        let server = sponge(secure);
        let (client, mut events) = Client::spawn(trusting()).unwrap();
        let id = client.open(options(&server.url())).unwrap();
        collect(&mut events, |_, event| matches!(event, Event::Opened(_)));
        (0..10).for_each(|_| client.send_binary(id, &piece).unwrap());
        client.close(id, 4003, "").unwrap();
        // The server may have answered already.
        let again = client.close(id, 4003, "").unwrap_err();
        assert!(matches!(again, Misuse::NotOpen | Misuse::Ended(_)), "{again:?}");
        collect(&mut events, |_, event| matches!(event, Event::Closed(Closed::Clean(_))));
        assert_eq!(server.join(), (3_000_000, 4003), "the client");

        let server = sponge(secure);
        let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
        (0..10).for_each(|_| ws.send_binary(&piece).unwrap());
        let frame = ws.close(4004, "").unwrap();
        assert_eq!(frame.code, Some(4004));
        // A program may call `close` again.
        assert_eq!(ws.close(1000, "").unwrap(), frame);
        assert_eq!(ws.read().unwrap(), None);
        let error = ws.send_text("late").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Misuse(Misuse::Ended(_))), "{error:?}");
        assert!(error.to_string().ends_with("the connection is not open: closed: 4004"), "{error}");
        assert_eq!(server.join(), (3_000_000, 4004), "the blocking face");
    }
}

#[test]
fn a_dropped_handle_closes_with_1001_and_what_was_sent_arrives() {
    let piece = vec![1; 300_000];
    for secure in [false, true] {
        let server = sponge(secure);
        let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
        ws.send_binary(&piece).unwrap();
        drop(ws);
        assert_eq!(server.join(), (300_000, 1001), "the blocking face");

        let server = sponge(secure);
        let (client, mut events) = Client::spawn(trusting()).unwrap();
        let id = client.open(options(&server.url())).unwrap();
        collect(&mut events, |_, event| matches!(event, Event::Opened(_)));
        (0..20).for_each(|_| client.send_binary(id, &piece).unwrap());
        drop(events);
        assert_eq!(server.join(), (20 * 300_000, 1001), "the client");
        // The client has closed.
        assert!(matches!(client.send_text(id, "late"), Err(Misuse::Ended(_))));

        let server = sponge(secure);
        let mut reactor = Reactor::new(trusting()).unwrap();
        let id = reactor.open(options(&server.url())).unwrap();
        let mut reported = 0;
        while !reactor.is_empty() {
            let mut opened = false;
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
                reported += 1;
                opened = matches!(event, Event::Opened(_));
            };
            reactor.turn(Some(soon()), &mut sink).unwrap();
            if opened {
                (0..20).for_each(|_| reactor.send_binary(id, &piece).unwrap());
                reactor.release(id, &CloseFrame::new(1001, ""));
            }
        }
        assert_eq!((server.join(), reported), ((20 * 300_000, 1001), 1), "the reactor");
    }
}

/// The client has not delivered all messages and has not read all bytes. If it closed the socket
/// now, its kernel would send a reset.
#[test]
fn a_handle_that_is_dropped_amid_messages_still_says_1001() {
    for secure in [false, true] {
        let (written, all_is_written) = std::sync::mpsc::channel();
        let server = serve_either(secure, move |mut p| {
            p.accept(b"");
            p.write(&frame(0x81, &[b'x'; 100]).repeat(500));
            written.send(()).unwrap();
            p.frame()
        });
        let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
        all_is_written.recv().unwrap();
        for _ in 0..10 {
            assert!(ws.read().unwrap().is_some());
        }
        drop(ws);
        assert_eq!(server.join(), (0x88, 1001u16.to_be_bytes().to_vec()));
    }
}

#[test]
fn a_full_send_queue_is_an_error_to_the_sender() {
    // FAULTS 3: the peer never reads.
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let server = serve(move |mut p| {
        p.accept(b"");
        let _ = wait.recv();
    });
    let limits = Limits { send_queue: MIB, ..Limits::default() };
    let (client, mut events) = Client::spawn(Config { limits, ..Config::default() }).unwrap();
    let id = client.open(options(&server.url())).unwrap();
    collect(&mut events, |_, event| matches!(event, Event::Opened(_)));
    let piece = vec![0; 100_000];
    let refused = (0..10_000).find_map(|_| client.send_binary(id, &piece).err());
    assert_eq!(refused, Some(Misuse::Full));
    assert!(client.buffered(id) <= MIB + 2 * piece.len());
    drop(done);
    server.join();
}

#[test]
fn a_send_that_the_kernel_does_not_take_is_no_success() {
    let server = serve(|mut p| {
        p.accept(b"");
        p.read(2);
        p.reset();
    });
    let mut ws = options(&server.url()).connect().unwrap();
    let error = ws.send_binary(&vec![0; 64 * MIB]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(_) | ErrorKind::Eof), "{error}");
    assert!(ws.send_text("late").is_err());
    assert_eq!(ws.read().unwrap(), None);
    server.join();
}

#[test]
fn read_timeout_looks_waits_and_ends() {
    let server = echo(false);
    let mut ws = options(server.url()).connect().unwrap();
    assert_eq!(ws.read_timeout(Duration::ZERO).unwrap(), Received::Nothing);
    assert_eq!(ws.read_timeout(Duration::from_millis(5)).unwrap(), Received::Nothing);
    ws.send_text("x").unwrap();
    assert_eq!(ws.read_timeout(LONG).unwrap(), Received::Message(Message::Text("x".into())));
    // Messages that came before the end of the closing handshake are not lost.
    ws.send_text("y").unwrap();
    ws.close(1000, "").unwrap();
    assert_eq!(ws.read().unwrap(), Some(Message::Text("y".into())));
    assert!(matches!(ws.read_timeout(LONG).unwrap(), Received::Closed(f) if f.code == Some(1000)));
}

/// Whole frames, fragments, pings between them and frames larger than any buffer. They arrive in
/// one piece, or in pieces of 4,099 bytes.
#[test]
fn however_messages_arrive_and_are_asked_for_they_are_the_same() {
    let (mut wire, mut sent) = (Vec::new(), Vec::new());
    for i in 0..3000usize {
        let mut text = format!("{i} ä€🙂 ").repeat(1 + i % 7);
        if i % 1000 == 33 {
            text = text.repeat(8000);
        }
        sent.push(match i % 50 {
            0 => Message::Binary(text.clone().into()),
            _ => Message::Text(text.clone()),
        });
        wire.extend(match i % 50 {
            0 => [frame(0x89, b"ping"), frame(0x82, text.as_bytes())].concat(),
            7 => {
                // A fragment cuts a character.
                let (a, b) = text.as_bytes().split_at(text.find('€').unwrap() + 1);
                [frame(0x01, a), frame(0x89, b""), frame(0x80, b)].concat()
            }
            _ => frame(0x81, text.as_bytes()),
        });
    }
    for secure in [false, true] {
        for piece in [usize::MAX, 4099] {
            // The client waits for each message, or takes only those that have arrived.
            for wait in [LONG, Duration::ZERO] {
                let wire = wire.clone();
                let server = serve_either(secure, move |mut p| {
                    p.accept(b"");
                    wire.chunks(piece.min(wire.len())).for_each(|piece| p.write(piece));
                    p.write(&frame(0x88, &1000u16.to_be_bytes()));
                    let pongs = (0..).map(|_| p.frame()).take_while(|f| f.0 != 0x88).count();
                    assert_eq!(pongs, 120);
                });
                let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
                let mut got = Vec::new();
                loop {
                    match ws.read_timeout(wait).unwrap() {
                        Received::Message(message) => got.push(message),
                        Received::Closed(frame) => break assert_eq!(frame.code, Some(1000)),
                        Received::Nothing => std::thread::yield_now(),
                        other => panic!("{other:?}"),
                    }
                }
                server.join();
                let wrong = got.iter().zip(&sent).position(|(got, sent)| got != sent);
                assert_eq!((got.len(), wrong), (sent.len(), None));
            }
        }
    }
}

#[test]
fn a_lost_connection_is_one_error_of_the_blocking_face() {
    let server = serve(|mut p| p.accept(&frame(0x81, b"x")));
    let mut ws = options(&server.url()).connect().unwrap();
    server.join();
    assert_eq!(ws.read().unwrap(), Some(Message::Text("x".into())));
    let error = ws.read().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Eof | ErrorKind::Io(_)), "{error}");
    assert_eq!(ws.read().unwrap(), None);
    assert_eq!(ws.close(1000, "").unwrap(), CloseFrame::default());
}

#[test]
fn a_wrong_url_or_header_is_an_error_before_anything_is_opened() {
    for url in ["", "http://a/", "ws://", "ws://a/#b", "ws://u:p@a/", "ws://a b/"] {
        let error = Options::new(url).unwrap_err();
        assert!(error.to_string().contains("URL: "), "{error}");
    }
    let options = Options::new("ws://a/").unwrap();
    assert!(options.clone().header("Host", "b").is_err());
    assert!(options.clone().header("X", "a\r\nY: b").is_err());
    assert!(options.protocol("a b").is_err());
}

#[test]
fn the_server_closes_with_1001_when_it_is_stopped() {
    for secure in [false, true] {
        let server = echo(secure);
        let mut ws = options(server.url()).connect_with(config()).unwrap();
        server.stop();
        assert!(
            matches!(ws.read_timeout(LONG).unwrap(), Received::Closed(f) if f.code == Some(1001))
        );
    }
}

/// If a server never answers a close frame, the end of a client waits only for the linger.
#[test]
fn the_end_of_a_client_takes_the_linger_at_most() {
    let server = serve(|peer| peer.ignore_the_close(b""));
    let limits = Limits {
        close: Duration::from_secs(20),
        linger: Duration::from_millis(200),
        ..Limits::default()
    };
    let (client, mut events) = Client::spawn(Config { limits, ..Config::default() }).unwrap();
    let id = client.open(options(&server.url())).unwrap();
    collect(&mut events, |_, event| matches!(event, Event::Opened(_)));
    let start = Instant::now();
    drop(events);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // `client` keeps the reactor alive, but no socket.
    assert_eq!(server.join(), 1001);
    let given_up = Misuse::Ended("released by the program".into());
    assert_eq!(client.send_text(id, "late"), Err(given_up));
}

/// A message from the receive buffer also counts for the keep-alive: the next ping follows an
/// interval later, not at the time limit of the pong.
#[test]
fn a_message_instead_of_a_pong_is_followed_by_a_ping_in_time() {
    let server = serve(|mut peer| {
        peer.accept(b"");
        assert_eq!(peer.frame().0, 0x89);
        peer.write(&frame(0x81, b"x"));
        let start = Instant::now();
        assert_eq!(peer.frame().0, 0x89);
        let took = start.elapsed();
        peer.write(&close(1000, ""));
        peer.rest();
        took
    });
    let limits = Limits { pong: Duration::from_secs(5), ..Limits::default() };
    let options = options(&server.url()).ping_interval(Some(Duration::from_millis(300)));
    let mut ws = options.connect_with(Config { limits, ..Config::default() }).unwrap();
    assert_eq!(ws.read().unwrap(), Some(Message::Text("x".into())));
    assert_eq!(ws.read().unwrap(), None);
    let took = server.join();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// FAULTS 82: a program that only sends learns from every error how the connection ended, until
/// another connection takes its place.
#[test]
fn a_send_to_what_has_ended_says_how() {
    let end = |how: &'static str| {
        serve(move |mut p| {
            p.accept(b"");
            match how {
                "closes" => p.write(&close(4008, "too slow")),
                "breaks a rule" => p.write(&frame(0xC1, b"x")),
                "resets" => return p.reset(),
                _ => {}
            }
            p.rest();
        })
    };
    for (how, says) in [
        ("closes", "closed: 4008 \"too slow\""),
        ("breaks a rule", "the server broke RFC 6455 §5.2"),
        ("resets", if cfg!(windows) { "lost: " } else { "lost: Connection reset by peer" }),
    ] {
        // The blocking face: an end that is not clean is an error once. Every later error says how
        // the connection ended.
        let server = end(how);
        let mut ws = options(&server.url()).connect().unwrap();
        let until = soon();
        let mut errors = Vec::new();
        while errors.len() < 3 {
            assert!(Instant::now() < until, "{how}: {errors:?}");
            // A program that only sends learns of the end when it calls `read_timeout`, or when a
            // send fails.
            let _ = ws.read_timeout(Duration::from_millis(5));
            errors.extend(ws.send_text("x").map_err(|e| e.to_string()).err());
        }
        assert!(errors.iter().all(|e| e.contains(says)), "{how}: {errors:?}");
        drop(ws);
        server.join();

        let server = end(how);
        let (client, mut events) = Client::spawn(Config::default()).unwrap();
        let id = client.open(options(&server.url())).unwrap();
        collect(&mut events, |_, event| matches!(event, Event::Closed(_)));
        for _ in 0..3 {
            let Err(Misuse::Ended(text)) = client.send_text(id, "x") else { panic!("{how}") };
            assert!(text.contains(says), "{how}: {text}");
        }
        assert!(client.close(id, 1000, "").unwrap_err().to_string().contains(says));
        server.join();
    }
    // The end is kept until another connection takes its place.
    let server = end("closes");
    let mut reactor: Reactor = Reactor::new(Config::default()).unwrap();
    let first = reactor.open(options(&server.url())).unwrap();
    run(&mut reactor, |_, _| {});
    assert!(matches!(reactor.send_text(first, "x"), Err(Misuse::Ended(_))));
    let second = reactor.open(options(&server.url())).unwrap();
    assert_eq!(reactor.send_text(first, "x"), Err(Misuse::NotOpen));
    assert_eq!(reactor.send_text(second, "x"), Err(Misuse::NotOpen), "not yet");
    server.join();
}

/// RFC 6455 §7.1.1: the server closes TCP, and a program that ends does not wait for that. Its
/// trace still has one last line, whichever side is faster.
#[test]
fn an_observer_hears_how_what_is_left_has_ended() {
    for closes in [false, true] {
        let server = serve(move |mut p| {
            p.accept(b"");
            p.close_frame();
            p.write(&close(4000, "bye"));
            if closes {
                return;
            }
            p.rest();
        });
        let (config, states) = watched(Config::default());
        let (client, mut events) = Client::spawn(config).unwrap();
        client.open(options(&server.url())).unwrap();
        let mut closing = false;
        while !closing {
            let wait = events.wait(Some(soon()), |id, event| match event {
                Event::Opened(_) => client.close(id, 4000, "bye").unwrap(),
                Event::Closing(_) => closing = true,
                _ => {}
            });
            assert!(wait.unwrap() > 0);
        }
        drop((client, events));
        server.join();
        let ends: Vec<_> = states.iter().filter(|line| line.starts_with("ended: ")).collect();
        assert_eq!(ends, ["ended: closed: 4000 \"bye\""], "the server closes TCP: {closes}");
    }
}
