//! Sending, closing and releasing behind bytes that are waiting.

use std::sync::atomic::AtomicUsize;

use super::*;

fn limits() -> Limits {
    Limits { close: SECOND, response: SECOND, stall: 10 * SECOND, ..Limits::default() }
}

/// An open connection whose server takes nothing for now.
fn stuck(options: Options) -> (Wire, ConnId, usize) {
    let mut wire = Wire::new(limits());
    let (id, tcp) = wire.open(options);
    wire.room(tcp, 0);
    (wire, id, tcp)
}

fn post(body: usize) -> StreamOptions {
    StreamOptions::new("POST", HTTP_URL).unwrap().body(vec![7; body]).unwrap()
}

const BYE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

#[test]
fn a_close_behind_a_backlog_goes_out_behind_it_and_then_has_its_time() {
    let (mut wire, id, tcp) = stuck(ws());
    wire.reactor.send_binary(id, &[7; 994]).unwrap();
    wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(wire.reactor.buffered(id), 1002 + 8);
    // It goes on as long as the kernel takes bytes, however slowly.
    for _ in 0..10 {
        assert_eq!(wire.pass(9 * SECOND), NOTHING);
        wire.room(tcp, 100);
    }
    assert_eq!(wire.pass(9 * SECOND), NOTHING);
    assert_eq!(wire.reactor.buffered(id), 10);
    wire.room(tcp, 9);
    assert_eq!(wire.pass(9 * SECOND), NOTHING);
    wire.room(tcp, 1);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.wrote(tcp), [masked(0x82, &[7; 994]), BYE.to_vec()].concat());
    assert_eq!(wire.ends_after(SECOND), ["lost NoCloseAnswer(1s), 0 unsent"]);

    // A connection whose kernel takes none is stalled, and all bytes but the close frame are
    // reported as lost.
    let (mut wire, id, _) = stuck(ws());
    wire.reactor.send_binary(id, &[7; 994]).unwrap();
    wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.ends_after(10 * SECOND), ["lost Stalled(10s), 1002 unsent"]);
}

#[test]
fn a_release_behind_a_backlog_sends_it_all_and_tells_nobody() {
    let (mut wire, id, tcp) = stuck(ws());
    wire.reactor.send_binary(id, &[7; 994]).unwrap();
    wire.reactor.release(id, &CloseFrame::new(1000, ""));
    assert_eq!((wire.reactor.unsent(), wire.reactor.pending()), (1002, 1));
    for left in [902, 802, 702] {
        wire.room(tcp, 100);
        assert_eq!(wire.pass(9 * SECOND), NOTHING);
        assert_eq!(wire.reactor.unsent(), left);
    }
    wire.room(tcp, usize::MAX);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.wrote(tcp), [masked(0x82, &[7; 994]), BYE.to_vec()].concat());
    assert_eq!((wire.reactor.unsent(), wire.reactor.pending()), (0, 1), "an answer is to come");
    wire.gives(tcp, b"\x88\x02\x03\xE8");
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!((wire.reactor.pending(), wire.reactor.len()), (0, 1), "it may end the connection");
    wire.ends(tcp, End::Eof);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!((wire.reactor.len(), wire.reactor.lost()), (0, 0));

    // Lost bytes are counted, whether the connection stalls, breaks or ends.
    for (case, end) in [("stall", None), ("reset", Some(End::Reset)), ("end", Some(End::Eof))] {
        let (mut wire, id, tcp) = stuck(ws());
        wire.reactor.send_binary(id, &[7; 994]).unwrap();
        wire.room(tcp, 300);
        assert_eq!(wire.turns(), NOTHING);
        wire.reactor.release(id, &CloseFrame::new(1000, ""));
        assert_eq!((wire.reactor.unsent(), wire.reactor.lost()), (702, 0), "{case}");
        match end {
            Some(end) => wire.ends(tcp, end),
            None => assert_eq!(wire.pass(10 * SECOND), NOTHING),
        }
        assert_eq!(wire.turns(), NOTHING, "{case}");
        let reactor = &wire.reactor;
        assert_eq!((reactor.unsent(), reactor.lost(), reactor.len()), (0, 702, 0), "{case}");
    }
}

#[test]
fn the_time_of_a_response_starts_when_its_request_has_left() {
    for answers in [false, true] {
        let mut wire = Wire::new(limits());
        let (id, tcp, all) = wire.ask(post(1000));
        assert!(all > 1000 && wire.reactor.unsent() == all as u64);
        for _ in 0..10 {
            wire.room(tcp, 100);
            assert_eq!(wire.pass(9 * SECOND), NOTHING);
        }
        assert_eq!(wire.reactor.buffered(id), all - 1000);
        wire.room(tcp, usize::MAX);
        assert_eq!(wire.turns(), NOTHING);
        assert!(wire.wrote(tcp).ends_with(&[7; 1000]) && wire.reactor.unsent() == 0);
        if answers {
            assert_eq!(wire.pass(SECOND - NS), NOTHING);
            wire.gives(tcp, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(wire.pass(NS), ["response 200", "complete"]);
        } else {
            assert_eq!(wire.ends_after(SECOND), ["failed Timeout(1s), 0 unsent"]);
        }
    }
    // A time limit of the program covers the whole call.
    let mut wire = Wire::new(limits());
    let (_, tcp, all) = wire.ask(post(1000).timeout(20 * SECOND));
    for _ in 0..2 {
        wire.room(tcp, 100);
        assert_eq!(wire.pass(9 * SECOND), NOTHING);
    }
    let events = wire.ends_after(2 * SECOND);
    assert_eq!(events, [format!("failed Timeout(20s), {} unsent", all - 200)]);
    // And a connection whose kernel takes none is stalled.
    let mut wire = Wire::new(limits());
    let (_, tcp, all) = wire.ask(post(1000));
    wire.room(tcp, 100);
    assert_eq!(wire.pass(9 * SECOND), NOTHING);
    let events = wire.ends_after(10 * SECOND);
    assert_eq!(events, [format!("failed Stalled(10s), {} unsent", all - 100)]);
}

#[test]
fn an_error_has_the_number_of_bytes_that_were_accepted_and_did_not_leave() {
    let reset = "lost Io(Kind(ConnectionReset))";
    let answer: &[u8] = b"\x88\x02\x03\xE8";
    // The server's bytes, its end, and the events, with 300 of 1,002 bytes taken.
    for (says, end, want) in [
        (&b""[..], End::Reset, vec![format!("{reset}, 702 unsent")]),
        (b"", End::Eof, vec!["lost Eof, 702 unsent".into()]),
        // The server's close frame comes in time.
        (answer, End::Reset, vec!["closing 1000".into(), format!("{reset}, 702 unsent")]),
        // The broken rule is the reason, but the bytes are lost nevertheless.
        (b"\x83\x00", End::Reset, vec!["failed Violation(ReservedOpcode(3)), 702 unsent".into()]),
    ] {
        // Before the bytes are written, or meanwhile.
        for midway in [false, true] {
            let (mut wire, id, tcp) = stuck(ws());
            wire.gives(tcp, says);
            wire.room(tcp, 300);
            if !midway {
                wire.reactor.send_binary(id, &[7; 994]).unwrap();
                wire.reactor.flush();
            }
            wire.ends(tcp, end);
            if midway {
                wire.reactor.send_binary(id, &[7; 994]).unwrap();
            }
            assert_eq!(wire.turns(), want, "midway: {midway}");
            assert_eq!(wire.wrote(tcp).len(), 300, "{want:?}");
            let reactor = &wire.reactor;
            assert_eq!((reactor.unsent(), reactor.lost()), (0, 0), "it was reported");
        }
    }
}

#[test]
fn a_server_that_has_ended_may_still_read_and_only_what_it_does_not_read_is_lost() {
    let closes = |wire: &mut Wire, id, tcp| {
        wire.reactor.send_binary(id, &[7; 994]).unwrap();
        wire.gives(tcp, b"\x88\x02\x03\xE8");
        wire.ends(tcp, End::Eof);
        wire.room(tcp, 300);
        assert_eq!(wire.turns(), ["closing 1000"]);
        // Longer than the limit for an answer.
        assert_eq!(wire.pass(9 * SECOND), NOTHING);
    };
    let (mut wire, id, tcp) = stuck(ws());
    closes(&mut wire, id, tcp);
    wire.room(tcp, usize::MAX);
    assert_eq!(wire.turns(), ["closed: 1000"]);
    assert_eq!(wire.wrote(tcp), [masked(0x82, &[7; 994]), BYE.to_vec()].concat());

    let (mut wire, id, tcp) = stuck(ws());
    closes(&mut wire, id, tcp);
    assert_eq!(wire.ends_after(SECOND), ["lost Stalled(10s), 702 unsent"]);

    // If room is made in the last moment, that is noticed before the limit counts.
    let (mut wire, id, tcp) = stuck(ws());
    closes(&mut wire, id, tcp);
    wire.room(tcp, 1);
    assert_eq!(wire.pass(SECOND), NOTHING);
    assert_eq!(wire.ends_after(10 * SECOND), ["lost Stalled(10s), 701 unsent"]);

    // Both directions have ended, without a reason.
    let (mut wire, id, tcp) = stuck(ws());
    closes(&mut wire, id, tcp);
    wire.ends(tcp, End::BothWays);
    assert_eq!(wire.turns(), ["lost Unsent, 702 unsent"]);
}

#[test]
fn an_upload_that_breaks_off_says_how_much_of_it_did_not_leave() {
    let mut wire = Wire::new(limits());
    let (_, tcp, all) = wire.ask(post(1000));
    wire.room(tcp, 300);
    wire.ends(tcp, End::ResetOfWrite);
    let events = wire.turns();
    assert_eq!(events, [format!("failed Io(Kind(ConnectionReset)), {} unsent", all - 300)]);
    // The text of the error, too.
    let mut bench = Bench::new(limits());
    let (id, tcp) = bench.open(ws());
    bench.world.lock().tcps[tcp].room = 300;
    bench.reactor.send_binary(id, &[7; 994]).unwrap();
    assert_eq!(bench.turns(), NOTHING);
    let events = bench.pass(10 * SECOND).concat();
    assert!(
        events.ends_with("bytes wait to be sent; 702 bytes that were accepted did not leave"),
        "{events}"
    );
}

#[test]
fn what_is_still_to_be_done_is_counted_over_all_connections() {
    let (mut wire, a, tcp) = stuck(ws());
    let seen = |wire: &mut Wire, id| {
        let reactor = &mut wire.reactor;
        (reactor.buffered(id), reactor.unsent(), reactor.pending(), reactor.len())
    };
    assert_eq!(seen(&mut wire, a), (0, 0, 1, 1));
    wire.reactor.send_binary(a, &[7; 994]).unwrap();
    assert_eq!(seen(&mut wire, a), (1002, 1002, 1, 1));
    // A pong of the session counts as unsent only if it stands before a message.
    wire.gives(tcp, &[0x89, 0]);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(seen(&mut wire, a), (1008, 1002, 1, 1));
    wire.reactor.ping(a, b"?").unwrap();
    assert_eq!(seen(&mut wire, a), (1015, 1015, 1, 1));
    let (b, tcp, all) = wire.ask(post(1000));
    assert_eq!(seen(&mut wire, b), (all, (1015 + all) as u64, 2, 2));
    wire.room(tcp, 500);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(seen(&mut wire, b), (all - 500, (1015 + all - 500) as u64, 2, 2));
    // A connection that is not open yet has work left; one that only waits for the server to end
    // the TCP connection has none.
    let c = wire.reactor.open(Options::new("ws://127.0.0.2/").unwrap()).unwrap();
    assert_eq!(seen(&mut wire, c), (0, (1015 + all - 500) as u64, 3, 3));
    wire.room(0, usize::MAX);
    wire.gives(0, b"\x88\x00");
    assert_eq!(wire.turns(), ["closing no code"]);
    assert_eq!(seen(&mut wire, a), (0, (all - 500) as u64, 2, 3));
    wire.reactor.release(b, &CloseFrame::new(1000, ""));
    wire.reactor.release(c, &CloseFrame::new(1000, ""));
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(seen(&mut wire, a), (0, 0, 0, 1));
}

/// What a broken socket has taken makes room, for which the body is not read any more.
#[test]
fn a_body_is_not_read_for_a_broken_socket() {
    struct Counted(Arc<AtomicUsize>);
    impl io::Read for Counted {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(buf.len())
        }
    }
    let mut wire = Wire::new(Limits { body_queue: 1000, ..limits() });
    let reads = Arc::new(AtomicUsize::new(0));
    let body = Counted(Arc::clone(&reads));
    let post = StreamOptions::new("POST", HTTP_URL).unwrap().body_from(body, Some(1 << 40));
    let (_, tcp, _) = wire.ask(post.unwrap());
    let before = reads.load(Ordering::Relaxed);
    assert!(before > 0);
    wire.room(tcp, 300);
    wire.ends(tcp, End::ResetOfWrite);
    assert_eq!(wire.turns().len(), 1);
    assert_eq!(reads.load(Ordering::Relaxed), before);
}
