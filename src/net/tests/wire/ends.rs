//! Ends and time limits that meet a pause, and writes that fail.

use super::pause::*;
use super::*;

/// A time limit that is checked but has not passed does not end a pause.
#[test]
fn a_time_limit_that_is_put_off_at_the_last_moment_ends_no_pause() {
    for behind in [false, true] {
        let mut wire = Wire::new(Limits { stall: 10 * SECOND, ..Limits::default() });
        let (id, tcp) = wire.open(ws());
        if behind {
            wire.gives(tcp, &texts(b"abc"));
            assert_eq!(wire.turns_and_pauses(), texts_of(b"a"));
        } else {
            wire.reactor.pause(id);
            wire.gives(tcp, &texts(b"bc"));
        }
        wire.room(tcp, 0);
        wire.reactor.send_text(id, "Hello").unwrap();
        assert_eq!(wire.turns(), NOTHING);
        assert_eq!(wire.pass(10 * SECOND - NS), NOTHING);
        wire.room(tcp, usize::MAX);
        assert_eq!(wire.pass(NS), NOTHING, "behind: {behind}");
        wire.reactor.resume(id);
        assert_eq!(wire.turns(), texts_of(b"bc"));
    }
    // Nor does that of a request which the server answers before it has taken all of it.
    let mut wire = Wire::new(Limits { stall: 10 * SECOND, ..Limits::default() });
    let post = StreamOptions::new("POST", HTTP_URL).unwrap().body(vec![7; 1000]).unwrap();
    let (id, tcp, _) = wire.ask(post);
    wire.reactor.pause(id);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.pass(10 * SECOND - NS), NOTHING);
    wire.gives(tcp, b"HTTP/1.1 200 OK\r\n\r\nhello");
    wire.room(tcp, 100);
    assert_eq!(wire.pass(NS), NOTHING);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["response 200", "chunk 5"]);
}

/// Events before a time limit are reported, and count.
#[test]
fn the_answer_to_a_close_counts_though_nobody_wants_to_hear_it() {
    for behind in [false, true] {
        let mut wire = Wire::new(Limits { close: SECOND, ..Limits::default() });
        let (id, tcp) = wire.open(ws());
        let answer = [&texts(b"bc")[..], b"\x88\x02\x03\xE8"].concat();
        if behind {
            wire.gives(tcp, &[&texts(b"a")[..], &answer].concat());
            assert_eq!(wire.turns_and_pauses(), texts_of(b"a"));
        } else {
            wire.reactor.pause(id);
            wire.gives(tcp, &answer);
        }
        wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
        assert_eq!(wire.turns(), NOTHING);
        wire.ends(tcp, End::Eof);
        let events = wire.ends_after(SECOND);
        assert_eq!(events, [r#"Text("b")"#, r#"Text("c")"#, "closing 1000", "closed: 1000"]);
    }
}

/// Bytes that were read in time count, though no turn had room for their events.
#[test]
fn the_answer_to_a_close_counts_though_other_messages_stand_before_it() {
    let mut wire = Wire::new(Limits { turn: 1, close: SECOND, ..Limits::default() });
    let (id, tcp) = wire.open(ws());
    wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    wire.gives(tcp, &[&texts(b"abc")[..], b"\x88\x02\x03\xE8"].concat());
    wire.ends(tcp, End::Eof);
    wire.turn_with(&mut |_, _| {});
    assert_eq!(std::mem::take(&mut wire.events), texts_of(b"a"));
    let events = wire.pass(SECOND);
    assert_eq!(events, [r#"Text("b")"#, r#"Text("c")"#, "closing 1000", "closed: 1000"]);
}

/// A server that has ended its side may still read what the program sends before our close frame.
#[test]
fn a_held_close_frame_waits_for_the_program_though_the_server_has_ended() {
    let mut wire = Wire::new(Limits { close: SECOND, ..Limits::default() });
    let (id, tcp) = wire.open(ws().hold_close(true));
    wire.gives(tcp, &[0xFF]);
    wire.ends(tcp, End::Eof);
    let events = wire.turns();
    assert!(events.len() == 1 && events[0].starts_with("failed Violation"), "{events:?}");
    assert_eq!(wire.pass(SECOND - NS), NOTHING);
    assert_eq!((wire.wrote(tcp), wire.reactor.len()), (vec![], 1));
    wire.reactor.answer_close(id);
    assert_eq!(wire.turns(), NOTHING);
    let wrote = wire.wrote(tcp);
    assert_eq!((wrote[0], &wrote[6..8]), (0x88, &1002_u16.to_be_bytes()[..]));
    assert_eq!(wire.reactor.len(), 0);
}

/// `Reactor::pending`: after its final event a connection has work left until its last byte was
/// taken, and not until the server ends the TCP connection.
#[test]
fn the_last_bytes_are_work_and_the_wait_for_the_end_is_none() {
    let mut wire = Wire::new(Limits::default());
    let (id, tcp) = wire.open(ws());
    wire.room(tcp, 0);
    wire.gives(tcp, &[0xFF]);
    let events = wire.turns();
    assert!(events.len() == 1 && events[0].starts_with("failed Violation"), "{events:?}");
    let left = wire.reactor.buffered(id);
    assert!(left > 1, "{left}");
    for room in [0, left - 1] {
        wire.room(tcp, room);
        assert_eq!(wire.turns(), NOTHING);
        let reactor = &mut wire.reactor;
        assert_eq!((reactor.buffered(id), reactor.pending(), reactor.len()), (left - room, 1, 1));
    }
    wire.room(tcp, 1);
    assert_eq!(wire.turns(), NOTHING);
    let reactor = &mut wire.reactor;
    assert_eq!((reactor.buffered(id), reactor.pending(), reactor.len()), (0, 0, 1));
    wire.ends(tcp, End::Eof);
    assert_eq!((wire.turns(), wire.reactor.len()), (vec![], 0));
}

/// The system reports an error once: a write that takes a part and then fails gets it, and a later
/// read sees a regular end.
#[test]
fn an_error_of_a_write_that_took_a_part_is_not_forgotten() {
    let mut wire = Wire::new(Limits::default());
    let body = vec![7; 1000];
    let post = StreamOptions::new("POST", HTTP_URL).unwrap().body(body).unwrap();
    let (_, tcp, all) = wire.ask(post);
    wire.gives(tcp, b"HTTP/1.1 200 OK\r\n\r\nhello");
    assert_eq!(wire.turns(), ["response 200", "chunk 5"]);
    wire.room(tcp, 300);
    wire.ends(tcp, End::ResetOnce);
    let events = wire.turns();
    assert_eq!(events, [format!("lost Io(Kind(ConnectionReset)), {} unsent", all - 300)]);
}

#[test]
fn an_error_of_a_write_that_took_a_part_is_the_reason() {
    let mut wire = Wire::new(Limits::default());
    let (id, tcp) = wire.open(ws());
    wire.room(tcp, 300);
    wire.ends(tcp, End::ResetOnce);
    wire.reactor.send_binary(id, &[7; 994]).unwrap();
    assert_eq!(wire.turns(), ["lost Io(Kind(ConnectionReset)), 702 unsent"]);
}

/// RFC 6455 §7.1.1: the server closes the TCP connection first, so that it can read our close frame.
/// A program that holds the frame back, or releases the connection, changes nothing of that.
#[test]
fn the_tcp_connection_stays_until_the_server_ends_it() {
    for held in [false, true] {
        let mut wire = Wire::new(Limits::default());
        let (id, tcp) = wire.open(ws().hold_close(held));
        wire.gives(tcp, &[0xFF]);
        assert_eq!(wire.turns().len(), 1);
        if held {
            wire.reactor.answer_close(id);
            assert_eq!(wire.turns(), NOTHING);
        }
        assert_eq!(wire.wrote(tcp)[0], 0x88);
        wire.reactor.release(id, &CloseFrame::new(1001, ""));
        assert_eq!(wire.turns(), NOTHING);
        assert!(!wire.tcp(tcp, |tcp| tcp.dropped), "held: {held}");
        wire.ends(tcp, End::Eof);
        assert_eq!((wire.turns(), wire.reactor.len()), (vec![], 0));
        assert!(wire.tcp(tcp, |tcp| tcp.dropped));
    }
}

/// A signal interrupts a read; the next one goes on where it was.
#[test]
fn a_read_that_a_signal_interrupts_is_repeated() {
    let mut wire = Wire::new(Limits::default());
    let (_, tcp) = wire.open(ws());
    let interrupts = |wire: &Wire| wire.tcp(tcp, |tcp| tcp.interrupts = 1);
    interrupts(&wire);
    wire.gives(tcp, &texts(b"a"));
    assert_eq!(wire.turns(), texts_of(b"a"));
    // Also while the server's end of the TCP connection is awaited.
    wire.gives(tcp, &[0xFF]);
    assert_eq!(wire.turns().len(), 1);
    interrupts(&wire);
    wire.gives(tcp, &[0xFF]);
    assert_eq!((wire.turns(), wire.reactor.len()), (vec![], 1));
}

/// Whoever waits for the end of a connection sees any other end, too.
#[test]
fn a_reset_ends_the_wait_for_the_end() {
    let mut wire = Wire::new(Limits::default());
    let (_, tcp) = wire.open(ws());
    wire.gives(tcp, &[0xFF]);
    assert_eq!((wire.turns().len(), wire.reactor.len()), (1, 1));
    wire.ends(tcp, End::Reset);
    assert_eq!((wire.turns(), wire.reactor.len()), (vec![], 0));
}

/// A program that abandons everything ends what has not ended yet, and nothing twice.
#[test]
fn the_end_of_a_connection_is_traced_once() {
    let states = States::default();
    let observer: Option<Box<dyn Observer>> = Some(Box::new(states.clone()));
    let mut bench = Bench::with(Config { observer, ..Config::default() });
    let (_, tcp) = bench.open(ws());
    bench.open(ws());
    bench.gives(tcp, &[0xFF]);
    assert_eq!(bench.turns().len(), 1);
    bench.reactor.abandon_all();
    let ended: Vec<_> = states.take().into_iter().filter(|s| s.starts_with("ended")).collect();
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!(ended[1], "ended: released by the program");
}

/// What a proxy has not sent does not keep the error of a write from being reported.
#[test]
fn a_proxy_that_cannot_be_written_to_is_an_error_at_once() {
    let mut wire = Wire::new(Limits::default());
    let proxy = crate::net::Proxy::parse("10.0.0.1:3128").unwrap();
    wire.poller.full.store(true, Ordering::Relaxed);
    wire.reactor.open(ws().proxy(proxy)).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    wire.ends(0, End::ResetOfWrite);
    let events = wire.turns();
    assert!(events.len() == 1 && events[0].contains("ConnectionReset"), "{events:?}");
}

/// A deadline from before the end stays in the table until it comes, and then ends nothing.
#[test]
fn an_earlier_deadline_does_not_shorten_the_linger() {
    let mut bench = Bench::new(Limits { linger: 2 * SECOND, ..Limits::default() });
    let (_, tcp) = bench.open(ws().ping_interval(Some(SECOND)));
    assert_eq!(bench.pass(SECOND / 2), NOTHING);
    bench.gives(tcp, &[0xFF]);
    assert_eq!(bench.turns().len(), 1);
    assert_eq!(bench.pass(2 * SECOND - NS), NOTHING);
    assert!(!bench.is_dropped(tcp));
    assert_eq!(bench.pass(NS), NOTHING);
    assert!(bench.is_dropped(tcp));
}

/// What the kernel has in time counts before a limit, although the turn is full of what others have
/// sent, or the program has not consumed what it holds.
#[test]
fn an_answer_in_time_counts_though_it_is_read_in_a_full_turn() {
    let answer = [&texts(b"ab")[..], b"\x88\x02\x03\xE8"].concat();
    let end = [r#"Text("a")"#, r#"Text("b")"#, "closing 1000", "closed: 1000"];

    let mut wire = Wire::new(Limits { turn: 1, close: SECOND, ..Limits::default() });
    let (_, other) = wire.open(ws());
    let (id, tcp) = wire.open(ws());
    wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.pass(SECOND - NS), NOTHING);
    wire.gives(other, &texts(b"x"));
    wire.gives(tcp, &answer);
    wire.ends(tcp, End::Eof);
    assert_eq!(wire.pass(NS), [&[r#"Text("x")"#][..], &end].concat());

    // Also if the connection still has input for which earlier turns had no room.
    let mut wire = Wire::new(Limits { turn: 1, close: SECOND, ..Limits::default() });
    let (id, tcp) = wire.open(ws());
    wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.pass(SECOND - NS), NOTHING);
    wire.gives(tcp, &texts(b"xyab"));
    wire.turn_with(&mut |_, _| {});
    wire.gives(tcp, b"\x88\x02\x03\xE8");
    wire.ends(tcp, End::Eof);
    assert_eq!(wire.pass(NS), [&[r#"Text("x")"#, r#"Text("y")"#][..], &end].concat());

    let limits = Limits { high_water: 3000, low_water: 1000, close: SECOND, ..Limits::default() };
    let mut wire = Wire::new(limits);
    let (id, tcp) = wire.open(ws());
    wire.gives(tcp, &binary(3001));
    wire.turn_with(&mut |conn, _| conn.hold(3001));
    wire.events.clear();
    wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.pass(SECOND - NS), NOTHING);
    wire.gives(tcp, &answer);
    wire.ends(tcp, End::Eof);
    assert_eq!(wire.pass(NS), end);
}
