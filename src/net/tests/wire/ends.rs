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
