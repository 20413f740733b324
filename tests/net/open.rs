//! Open connections: broken frames, closing, pings, the loss of a connection.

use std::time::{Duration, Instant};

use moonwire::proto::CloseFrame;
use moonwire::{Client, Closed, Config, Conn, ConnId, ErrorKind, Event, Limits, Reactor, Stage};

use crate::common::*;

#[test]
fn a_broken_frame_fails_the_connection_with_the_right_code_on_the_wire() {
    let cases: [(&str, Vec<u8>, u16, &str); 16] = [
        ("masked", vec![0x81, 0x81, 1, 2, 3, 4, 5], 1002, "5.1: masked frame from a server"),
        ("RSV1", vec![0xC1, 0], 1002, "5.2: reserved bits 100 without an extension"),
        ("RSV3", vec![0x91, 0], 1002, "5.2: reserved bits 001 without an extension"),
        ("opcode 3", vec![0x83, 0], 1002, "5.2: reserved opcode 3"),
        ("opcode 11", vec![0x8B, 0], 1002, "5.2: reserved opcode 11"),
        ("fragmented ping", vec![0x09, 0], 1002, "5.5: fragmented control frame"),
        ("ping of 126 bytes", vec![0x89, 126], 1002, "5.5: control frame over 125 bytes"),
        ("16-bit length", vec![0x82, 126, 0, 125], 1002, "5.2: length not in its shortest form"),
        (
            "64-bit length",
            vec![0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255],
            1002,
            "5.2: length not in its shortest form",
        ),
        ("top bit", vec![0x82, 127, 0x80], 1002, "5.2: length over 63 bits"),
        // FAULTS 5: the bytes of that report.
        (
            "over the limit",
            vec![0x82, 0x7F, 0, 0x80, 0, 0, 0, 0, 0, 1],
            1009,
            "message too big: the limit here is 1,000 bytes (Limits::message)",
        ),
        (
            // FAULTS 17.
            "over the limit in two",
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(),
            1009,
            "message too big: the limit here is 1,000 bytes (Limits::message)",
        ),
        ("continuation first", vec![0x80, 0], 1002, "5.4: continuation frame without a message"),
        ("UTF-8", vec![0x81, 3, 0xE2, 0x28], 1007, "8.1: text message is not UTF-8"),
        ("close of one byte", vec![0x88, 1, 3], 1002, "5.5.1: close frame of one byte"),
        ("close 1006", close(1006, ""), 1002, "7.4: close code 1006 is not allowed"),
    ];
    for secure in [false, true] {
        for (name, bytes, code, reason) in &cases {
            let bytes = bytes.clone();
            // Earlier complete messages are still reported.
            let server = serve_either(secure, move |mut p| {
                p.accept(&[frame(0x81, b"before"), bytes].concat());
                let code = p.close_code();
                p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
                (code, p.rest())
            });
            let url = server.url();
            let limits = Limits { message: 1000, ..Limits::default() };
            let reported = events(options(&url), Config { limits, ..trusting() });
            let (error, opened) = failure(&reported);
            assert!(opened);
            assert!(
                matches!(&reported[1], OwnedEvent::Text(t) if t == "before"),
                "{name}: {reported:?}"
            );
            assert_eq!(reported.len(), 3, "{name}: {reported:?}");
            // Our own limit is not a rule for the server (FAULTS 80).
            let rule = if *code == 1009 { "" } else { "the server broke RFC 6455 §" };
            let want = format!("{url}: connection: {rule}{reason}");
            assert_eq!(error.to_string(), want, "{name}");
            assert_eq!(error.limit(), (*code == 1009).then_some(("message", 1000)), "{name}");
            assert_eq!(server.join(), (*code, 0), "{name}: the code that the server sees");
        }
    }
}

#[test]
fn a_large_text_that_turns_out_wrong_is_refused_though_nothing_follows() {
    // RFC 6455 §8.1. The kernel decides where a read in place ends, so the test puts the wrong byte
    // at several places.
    let mut head = vec![0x81, 127];
    head.extend(1_000_000u64.to_be_bytes());
    for len in [70_000, 65_526 + 262_144, 400_000] {
        for ends in [false, true] {
            let text = [&head[..], &vec![b'a'; len - 1], b"\xFF"].concat();
            let server = serve(move |mut p| {
                p.accept(&text);
                if ends {
                    p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
                }
                p.close_code()
            });
            let url = server.url();
            let reported = events(options(&url), trusting());
            let (error, _) = failure(&reported);
            let want = "the server broke RFC 6455 §8.1: text message is not UTF-8";
            assert_eq!(error.to_string(), format!("{url}: connection: {want}"), "{len} {ends}");
            assert_eq!(server.join(), 1007, "{len} {ends}");
        }
    }
}

#[test]
fn the_server_ends_without_a_close_frame() {
    for secure in [false, true] {
        for (name, bytes) in [
            ("after the head", vec![]),
            ("after a message", frame(0x81, b"x")),
            ("inside a header", vec![0x82]),
            ("inside a small frame", frame(0x82, &[1; 100])[..50].to_vec()),
            ("inside a large frame", frame(0x82, &[1; 300_000])[..200_000].to_vec()),
            ("inside a message", frame(0x02, &[1; 10])),
        ] {
            let server = serve_either(secure, move |mut p| p.accept(&bytes));
            let url = server.url();
            let reported = events(options(&url), trusting());
            let (error, opened) = failure(&reported);
            assert!(opened, "{name}");
            assert!(matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Lost(_)))), "{name}");
            let want = format!("{url}: connection: lost: the stream ended without a close frame");
            assert_eq!(error.to_string(), want, "{name}");
            server.join();
        }
    }
}

#[test]
fn a_reset_is_a_lost_connection() {
    let server = serve(|mut p| {
        p.accept(b"");
        assert_eq!(p.frame(), (0x81, b"go".to_vec()));
        p.reset();
    });
    let url = server.url();
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(options(&url)).unwrap();
    let reported = run(&mut reactor, |conn, event| {
        if let Event::Opened(_) = event {
            conn.send_text("go").unwrap();
        }
    });
    let (error, _) = failure(&reported);
    assert!(
        matches!(error.kind(), ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::ConnectionReset)
    );
    assert_eq!(error.stage(), Stage::Open);
    server.join();
}

#[test]
fn the_servers_close_is_reported_with_code_and_reason_and_echoed_without_one() {
    for (bytes, code, reason, echo) in [
        (vec![0x88, 0], None, "", &[][..]),
        (close(1000, ""), Some(1000), "", &[0x03, 0xE8]),
        (close(4001, "bye\u{e4}"), Some(4001), "bye\u{e4}", &[0x0F, 0xA1]),
        (close(1014, &"x".repeat(123)), Some(1014), &"x".repeat(123), &[0x03, 0xF6]),
    ] {
        let server = serve(move |mut p| {
            p.accept(&bytes);
            let echo = p.close_frame();
            p.tcp.shutdown(std::net::Shutdown::Both).unwrap();
            echo
        });
        let reported = events(options(&server.url()), trusting());
        let want = CloseFrame { code, reason: reason.into() };
        let [
            OwnedEvent::Opened,
            OwnedEvent::Closing(closing),
            OwnedEvent::Closed(Closed::Clean(closed)),
        ] = &reported[..]
        else {
            panic!("{reported:?}")
        };
        assert_eq!((closing, closed), (&want, &want));
        assert_eq!(server.join(), echo, "§5.5.1: the code comes back, or nothing");
    }
}

#[test]
fn a_held_back_close_lets_the_program_answer_what_came_before_it() {
    let server = serve(|mut p| {
        p.accept(&[frame(0x81, b"question"), close(1000, "")].concat());
        (p.frame(), p.close_frame(), p.tcp.shutdown(std::net::Shutdown::Both).is_ok())
    });
    let mut reactor = Reactor::new(trusting()).unwrap();
    let id = reactor.open(options(&server.url()).hold_close(true)).unwrap();
    let mut closing = false;
    while !closing {
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
            closing |= matches!(event, Event::Closing(_));
        };
        reactor.turn(Some(soon()), &mut sink).unwrap();
    }
    reactor.send_text(id, "answer").unwrap();
    reactor.answer_close(id);
    let reported = run(&mut reactor, |_, _| {});
    assert!(
        matches!(&reported[..], [OwnedEvent::Closed(Closed::Clean(f))] if f.code == Some(1000))
    );
    assert_eq!(server.join(), ((0x81, b"answer".to_vec()), vec![0x03, 0xE8], true));
}

#[test]
fn a_server_that_does_not_answer_a_close_is_given_up() {
    let server = serve(|peer| peer.ignore_the_close(b""));
    let limits = Limits {
        close: Duration::from_millis(50),
        linger: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut ws = options(&server.url()).limits(limits.clone()).connect().unwrap();
    let error = ws.close(1000, "bye").unwrap_err().to_string();
    assert!(error.ends_with("the server did not answer the close frame for 50ms"), "{error}");
    drop(ws);
    assert_eq!(server.join(), 1000);
}

#[test]
fn pings_are_answered_with_their_payload_wherever_they_stand() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            // The first ping comes in one piece with the 101 response, the second inside a
            // fragmented message.
            p.accept(&frame(0x89, b"first"));
            assert_eq!(p.frame(), (0x8A, b"first".to_vec()));
            let payload = vec![7; 125];
            let pieces = [frame(0x01, b"a\xC3"), frame(0x89, &payload), frame(0x80, b"\xA4")];
            p.write(&pieces.concat());
            assert_eq!(p.frame(), (0x8A, payload));
            // FAULTS 21: ten pings in one read get ten pongs, in order.
            p.write(&(0..10).flat_map(|i| frame(0x89, &[i])).collect::<Vec<_>>());
            for i in 0..10 {
                assert_eq!(p.frame(), (0x8A, vec![i]));
            }
            p.write(&[frame(0x8A, b"unasked"), close(1000, "")].concat());
            p.close_code()
        });
        let reported = events(options(&server.url()), trusting());
        let [
            OwnedEvent::Opened,
            OwnedEvent::Text(text),
            OwnedEvent::Pong(pong),
            OwnedEvent::Closing(_),
            OwnedEvent::Closed(_),
        ] = &reported[..]
        else {
            panic!("{reported:?}")
        };
        assert_eq!((text.as_str(), &pong[..]), ("a\u{e4}", &b"unasked"[..]));
        assert_eq!(server.join(), 1000);
    }
}

#[test]
fn a_ping_of_ours_comes_back_as_a_pong() {
    let server = moonwire::peer::Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(options(server.url())).unwrap();
    let reported = run(&mut reactor, |conn, event| match event {
        Event::Opened(_) => conn.ping(b"are you there").unwrap(),
        Event::Pong(_) => conn.close(1000, "").unwrap(),
        _ => {}
    });
    assert!(
        matches!(&reported[1], OwnedEvent::Pong(data) if data == b"are you there"),
        "{reported:?}"
    );
}

#[test]
fn a_silent_server_is_pinged_and_given_up_and_one_that_answers_is_kept() {
    let limits = Limits { pong: Duration::from_millis(300), ..Limits::default() };
    for of_the_connection in [false, true] {
        let server = serve(|mut p| {
            p.accept(b"");
            for _ in 0..3 {
                assert_eq!(p.frame(), (0x89, vec![]));
                p.write(&frame(0x8A, b""));
            }
            // From here on the server is silent.
            assert_eq!(p.frame(), (0x89, vec![]));
            p.rest()
        });
        let options = options(&server.url()).ping_interval(Some(Duration::from_millis(20)));
        let reported = if of_the_connection {
            events(options.limits(limits.clone()), trusting())
        } else {
            events(options, Config { limits: limits.clone(), ..trusting() })
        };
        let text = failure(&reported).0.to_string();
        assert!(text.ends_with("the peer did not answer a keep-alive ping for 300ms"), "{text}");
        assert_eq!(reported.iter().filter(|t| matches!(t, OwnedEvent::Pong(_))).count(), 3);
        assert_eq!(server.join(), 0);
    }
}

#[test]
fn a_silent_server_is_noticed_by_the_faces_that_wait() {
    let pinged = || {
        serve(|mut p| {
            p.accept(b"");
            assert_eq!(p.frame(), (0x89, vec![]));
            p.rest()
        })
    };
    let short = Duration::from_millis(30);
    let limits = Limits { pong: short, ..Limits::default() };
    let options = |url: &str| options(url).ping_interval(Some(short)).limits(limits.clone());
    let reason = "the peer did not answer a keep-alive ping for 30ms";

    let server = pinged();
    let error = options(&server.url()).connect().unwrap().read().unwrap_err();
    assert!(error.to_string().ends_with(reason), "{error}");
    server.join();

    let server = pinged();
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    client.open(options(&server.url())).unwrap();
    let (until, mut reported) = (soon(), Vec::new());
    while !reported.iter().any(|t| matches!(t, OwnedEvent::Closed(_))) {
        assert!(Instant::now() < until, "{reported:?}");
        events.wait(Some(until), |_, event| reported.push(keep(event))).unwrap();
    }
    assert!(failure(&reported).0.to_string().ends_with(reason), "{reported:?}");
    server.join();
}

#[test]
fn every_frame_has_a_key_of_its_own() {
    // FAULTS 22, RFC 6455 §10.3. Chance does not repeat a key three times among 1,000.
    let server = serve(|mut p| {
        p.accept(b"");
        while p.frame().0 != 0x88 {}
        let mut keys = std::mem::take(&mut p.keys);
        p.write(&close(1000, ""));
        let all = keys.len();
        keys.sort();
        keys.dedup();
        (all, keys.len())
    });
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(options(&server.url())).unwrap();
    run(&mut reactor, |conn, event| {
        if let Event::Opened(_) = event {
            (0..999).for_each(|_| conn.send_text("GET / HTTP/1.1").unwrap());
            conn.close(1000, "").unwrap();
        }
    });
    let (all, distinct) = server.join();
    assert_eq!(all, 1000);
    assert!(distinct > 997, "{distinct}");
}

#[test]
fn messages_of_every_size_class_come_in_whole_split_and_glued() {
    let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20];
    for secure in [false, true] {
        let server = serve_either(secure, move |mut p| {
            let mut all = Vec::new();
            for n in sizes {
                all.extend(frame(0x81, &vec![b'a'; n]));
                all.extend(frame(0x82, &vec![0xFF; n]));
                let (a, b) = (vec![b'b'; n / 2], vec![b'b'; n - n / 2]);
                all.extend([frame(0x01, &a), frame(0x80, &b)].concat());
            }
            // The first bytes come in one piece with the 101 response.
            p.accept(&all[..300]);
            p.write(&all[300..]);
            p.write(&close(1000, ""));
            p.close_code()
        });
        let reported = events(options(&server.url()), trusting());
        assert!(
            matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))),
            "{:?}",
            reported.last()
        );
        assert_eq!(reported.len(), 3 + 3 * sizes.len());
        for (i, n) in sizes.into_iter().enumerate() {
            let at = 1 + 3 * i;
            assert!(matches!(&reported[at], OwnedEvent::Text(t) if *t == "a".repeat(n)), "{n}");
            assert!(
                matches!(&reported[at + 1], OwnedEvent::Binary(b) if *b == vec![0xFF; n]),
                "{n}"
            );
            assert!(matches!(&reported[at + 2], OwnedEvent::Text(t) if *t == "b".repeat(n)), "{n}");
        }
        assert_eq!(server.join(), 1000);
    }
}

#[test]
fn plain_and_encrypted_connections_share_one_reactor() {
    use moonwire::peer::{CA_PEM, CHAIN_PEM, KEY_PEM, Server};
    let plain = Server::bind(loopback()).unwrap().spawn().unwrap();
    let secure = Server::bind_tls(loopback(), CHAIN_PEM, KEY_PEM).unwrap().spawn().unwrap();
    let tls = Some(moonwire::tls_config(CA_PEM).unwrap());
    // Small buffers: a read fills them, and they have to grow.
    let limits = Limits { receive_buffer: 1024, receive_buffer_max: 1 << 16, ..Limits::default() };
    let mut reactor = Reactor::new(Config { tls, limits, ..Config::default() }).unwrap();
    let ids = [secure.url(), plain.url()].map(|url| reactor.open(options(url)).unwrap());
    let (end, mut opened) = (soon(), 0);
    let turn = |reactor: &mut Reactor, each: &mut dyn FnMut(ConnId, &Event<'_>)| {
        assert!(Instant::now() < end, "hangs");
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            assert!(!matches!(event, Event::Closed(_)), "{event:?}");
            each(conn.id(), &event);
        };
        reactor.turn(Some(end), &mut sink).unwrap();
    };
    while opened < 2 {
        turn(&mut reactor, &mut |_, _| opened += 1);
    }
    for id in [ids[1], ids[0], ids[1], ids[0]] {
        let (messages, mut echoes) = (400, 0);
        (0..messages).for_each(|_| reactor.send_binary(id, &[7; 3000]).unwrap());
        while echoes < messages {
            turn(&mut reactor, &mut |from, event| {
                assert_eq!(from, id);
                echoes += usize::from(matches!(event, Event::Binary(data) if data.len() == 3000));
            });
        }
    }
}

#[test]
fn a_failed_connection_ends_though_its_answer_was_flushed() {
    // The server broke a rule and leaves its stream open. The program calls `answer_close` and
    // `flush`. After that neither a timer nor a socket would wake the connection.
    let server = serve(|peer| peer.ignore_the_close(b"\xFF\0"));
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let id = reactor.open(options(&server.url()).hold_close(true)).unwrap();
    let until = Instant::now() + LONG / 4;
    let mut answered = false;
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "it stays for ever");
        let mut closed = false;
        let mut sink =
            |_: &mut Conn<'_>, event: Event<'_>| closed |= matches!(event, Event::Closed(_));
        reactor.turn(Some(until), &mut sink).unwrap();
        if closed && !answered {
            answered = true;
            reactor.answer_close(id);
            reactor.flush();
        }
    }
    assert_eq!(server.join(), 1002);
}

#[test]
fn a_server_that_ends_its_stream_behind_its_close_frame_still_gets_our_answer() {
    // The server may read on. So late messages of the program are sent, and then the close frame
    // that was held back.
    let server = serve(|mut p| {
        p.accept(&[frame(0x81, b"question"), close(4000, "")].concat());
        p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
        (p.frame(), p.close_code(), p.rest())
    });
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    let id = client.open(options(&server.url()).hold_close(true)).unwrap();
    let (until, mut reported) = (soon(), Vec::new());
    while !reported.iter().any(|t| matches!(t, OwnedEvent::Closed(_))) {
        assert!(Instant::now() < until, "{reported:?}");
        let each = |_, event: Event<'_>| {
            if let Event::Closing(_) = event {
                // Meanwhile the poll thread reads the end of the stream.
                std::thread::sleep(Duration::from_millis(100));
                client.send_text(id, "answer").unwrap();
                client.answer_close(id);
            }
            reported.push(keep(event));
        };
        events.wait(Some(until), each).unwrap();
    }
    let Some(OwnedEvent::Closed(Closed::Clean(frame))) = reported.last() else {
        panic!("{reported:?}")
    };
    assert_eq!(frame.code, Some(4000));
    assert_eq!(server.join(), ((0x81, b"answer".to_vec()), 4000, 0));
}

#[test]
fn a_connection_whose_peer_is_done_sending_does_not_wait_for_the_program_for_ever() {
    let server = serve(|mut p| {
        p.accept(&close(1000, ""));
        p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
        p.close_code()
    });
    let limits = Limits { close: Duration::from_millis(50), ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let reported = events(options(&server.url()).hold_close(true), config);
    assert!(matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))), "{reported:?}");
    assert_eq!(server.join(), 1000);
}

#[test]
fn a_release_with_a_frame_that_cannot_be_sent_closes_all_the_same() {
    let server = serve(|mut p| {
        p.accept(b"");
        p.close_code()
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let id = reactor.open(options(&server.url())).unwrap();
    let until = soon();
    let turn = |reactor: &mut Reactor| {
        assert!(Instant::now() < until, "it stays open");
        reactor.turn(Some(until), &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
    };
    while !reactor.is_open(id) {
        turn(&mut reactor);
    }
    reactor.release(id, &CloseFrame::new(999, ""));
    while !reactor.is_empty() {
        turn(&mut reactor);
    }
    assert_eq!(server.join(), 1001);
}

#[test]
fn a_low_water_mark_above_the_high_one_does_not_spin() {
    // Otherwise the poll thread would stop and continue reading in a loop, without releasing the
    // lock.
    let server = serve(|mut p| {
        p.accept(&frame(0x82, &[1; 100_000]));
        p.rest();
    });
    let limits = Limits { high_water: 64 * 1024, ..Limits::default() };
    assert!(limits.high_water < limits.low_water);
    let (client, mut events) = Client::spawn(Config { limits, ..Config::default() }).unwrap();
    let id = client.open(options(&server.url())).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let (sender, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(client.buffered(id)));
    assert!(done.recv_timeout(LONG / 4).is_ok(), "the lock is held for ever");
    let (until, mut got) = (soon(), false);
    while !got {
        let each = |_, event: Event<'_>| got |= matches!(event, Event::Binary(_));
        assert!(events.wait(Some(until), each).unwrap() > 0);
    }
    drop(events);
    server.join();
}

#[test]
fn limits_without_measure_neither_panic_nor_hang() {
    let server = moonwire::peer::Server::bind(loopback()).unwrap().spawn().unwrap();
    let normal = Limits::default;
    for limits in [
        Limits { linger: Duration::MAX, attempt_delay: Duration::MAX, ..normal() },
        Limits { opening: Duration::MAX, close: Duration::MAX, pong: Duration::MAX, ..normal() },
        Limits { turn: 0, cork: 0, send_queue: 0, ..normal() },
        Limits { receive_buffer: 0, receive_buffer_max: 0, in_place: 0, ..normal() },
    ] {
        let config = Config { limits: limits.clone(), ..Config::default() };
        let mut reactor = Reactor::new(config).unwrap();
        reactor.open(moonwire::Options::new(server.url()).unwrap()).unwrap();
        let reported = run(&mut reactor, |conn, event| match event {
            Event::Opened(_) => conn.send_text("x").unwrap(),
            Event::Text(_) => conn.close(1000, "").unwrap(),
            _ => {}
        });
        assert!(matches!(&reported[1], OwnedEvent::Text(t) if t == "x"), "{limits:?}");
        // A client's poll thread has the same limits at its end.
        drop(Client::spawn(Config { limits, ..Config::default() }).unwrap());
    }
}
