//! Connections that the program has paused.

use super::*;
use crate::proto::http::Delivery;

/// A text of one byte.
fn text(byte: u8) -> [u8; 3] {
    [0x81, 1, byte]
}

pub(super) fn texts(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|&byte| text(byte)).collect()
}

pub(super) fn texts_of(bytes: &[u8]) -> Vec<String> {
    bytes.iter().map(|&byte| format!("Text({:?})", char::from(byte).to_string())).collect()
}

impl Wire {
    /// Makes turns in which the sink pauses after each event.
    pub(super) fn turns_and_pauses(&mut self) -> Vec<String> {
        (0..10).for_each(|_| self.turn_with(&mut |conn, _| conn.pause()));
        std::mem::take(&mut self.events)
    }
}

#[test]
fn nothing_is_reported_or_read_between_pause_and_resume() {
    let mut wire = Wire::new(Limits::default());
    let (id, tcp) = wire.open(ws());
    wire.reactor.pause(id);
    assert_eq!(wire.turns(), NOTHING);
    let read = |wire: &Wire| wire.tcp(tcp, |tcp| std::mem::take(&mut tcp.reads).len());
    read(&wire);
    wire.gives(tcp, &texts(b"abc"));
    assert_eq!(wire.pass(SECOND), NOTHING);
    assert_eq!(read(&wire), 0, "TCP makes the server wait");
    assert!(!wire.reactor.has_work());
    // Sending goes on.
    wire.reactor.send_text(id, "x").unwrap();
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.wrote(tcp), masked(0x81, b"x"));
    assert_eq!(read(&wire), 0);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), texts_of(b"abc"));
    // Resuming twice has the same effect as once; resuming without a pause has none.
    wire.reactor.resume(id);
    wire.reactor.pause(id);
    wire.reactor.pause(id);
    wire.gives(tcp, &texts(b"d"));
    assert_eq!(wire.turns(), NOTHING);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), texts_of(b"d"));
}

#[test]
fn a_sink_that_pauses_gets_one_event_of_a_read_and_the_others_in_order() {
    let (bytes, letters) = (texts(b"abcdefgh"), b"abcdefgh");
    // The result does not depend on how turns and reads cut the input.
    for (turn, most) in [(usize::MAX, usize::MAX), (1, usize::MAX), (usize::MAX, 2), (1, 1)] {
        let mut wire = Wire::new(Limits { turn, ..Limits::default() });
        let (id, tcp) = wire.open(ws());
        wire.tcp(tcp, |tcp| tcp.most = most);
        wire.gives(tcp, &bytes);
        for n in 0..letters.len() {
            assert_eq!(wire.turns_and_pauses(), texts_of(&letters[n..=n]), "{turn} {most}");
            assert_eq!(wire.turns_and_pauses(), NOTHING);
            wire.reactor.resume(id);
        }
        assert_eq!(wire.turns_and_pauses(), NOTHING);
    }
    // Paused in between: input that was read, and bytes that have come since.
    let mut wire = Wire::new(Limits::default());
    let (id, tcp) = wire.open(ws());
    wire.gives(tcp, &[&texts(b"abc")[..], &[0x81, 2, b'd']].concat());
    wire.turn_with(&mut |conn, _| conn.pause());
    assert!(!wire.reactor.has_work(), "nothing is to be done with what waits");
    assert_eq!(wire.turns(), texts_of(b"a"));
    wire.gives(tcp, &[b"d", &texts(b"e")[..]].concat());
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["Text(\"b\")", "Text(\"c\")", "Text(\"dd\")", "Text(\"e\")"]);
    // The close frame is an event, too.
    wire.gives(tcp, &[&text(b'f')[..], b"\x88\x00"].concat());
    assert_eq!(wire.turns_and_pauses(), texts_of(b"f"));
    wire.reactor.resume(id);
    assert_eq!(wire.turns_and_pauses(), ["closing no code"]);
    // Also within a large message that is read in place.
    let mut wire = Wire::new(Limits { in_place: 1, ..Limits::default() });
    let (id, tcp) = wire.open(ws());
    wire.gives(tcp, &[binary(200_000), binary(100_000)].concat());
    assert_eq!(wire.turns_and_pauses(), ["binary 200000"]);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["binary 100000"]);
}

#[test]
fn a_pause_holds_for_what_a_time_limit_reads_into_its_own_place() {
    let limits = Limits { in_place: 1, stall: 10 * SECOND, ..Limits::default() };
    let mut wire = Wire::new(limits);
    let (id, tcp) = wire.open(ws());
    let message = binary(1000);
    wire.gives(tcp, &message[..500]);
    assert_eq!(wire.turns(), NOTHING);
    wire.reactor.pause(id);
    wire.room(tcp, 0);
    wire.reactor.send_text(id, "x").unwrap();
    assert_eq!(wire.turns(), NOTHING);
    // The kernel takes a byte just when the limit passes: the connection does not end.
    wire.gives(tcp, &message[500..]);
    wire.room(tcp, 1);
    assert_eq!(wire.pass(10 * SECOND), NOTHING);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["binary 1000"]);
}

#[test]
fn a_sink_that_pauses_stops_the_pieces_of_a_body_too() {
    let pieces = "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n";
    let raw = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{pieces}");
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
                  data: a\n\ndata: b\n\ndata: c\n\n";
    for (delivery, bytes, want) in [
        (Delivery::Raw, &raw[..], ["chunk 1", "chunk 2", "chunk 3"]),
        (Delivery::Blocks, events, ["chunk 9"; 3]),
    ] {
        for turn in [usize::MAX, 1] {
            let mut wire = Wire::new(Limits { turn, ..Limits::default() });
            let id = wire.reactor.open(get().delivery(delivery)).unwrap();
            assert_eq!(wire.turns(), NOTHING);
            wire.gives(0, bytes.as_bytes());
            wire.ends(0, End::Eof);
            let all = [&["response 200"][..], &want[..], &["complete"]].concat();
            for one in all {
                assert_eq!(wire.turns_and_pauses(), [one], "{delivery:?}");
                assert_eq!(wire.turns_and_pauses(), NOTHING);
                wire.reactor.resume(id);
            }
            assert!(wire.reactor.is_empty());
        }
    }
}

/// The end of a body is an event like any other.
#[test]
fn the_end_of_a_body_waits_too_where_a_sink_pauses_at_its_last_piece() {
    let mut wire = Wire::new(Limits::default());
    let id = wire.reactor.open(get()).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    wire.gives(0, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(wire.turns_and_pauses(), ["response 200"]);
    wire.reactor.resume(id);
    assert_eq!(wire.turns_and_pauses(), ["chunk 5"]);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["complete"]);
}

#[test]
fn the_silence_of_a_server_that_nobody_reads_does_not_count() {
    let limits = || Limits { pong: SECOND, close: SECOND, ..Limits::default() };
    let mut wire = Wire::new(limits());
    let (id, tcp) = wire.open(ws().ping_interval(Some(10 * SECOND)));
    wire.reactor.pause(id);
    assert_eq!(wire.pass(1000 * SECOND), NOTHING);
    assert_eq!(wire.wrote(tcp), b"", "no ping whose answer nobody would see");
    assert_eq!(wire.reactor.deadline(), None);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.pass(10 * SECOND - NS), NOTHING);
    assert_eq!(wire.wrote(tcp), b"");
    assert_eq!(wire.pass(NS), NOTHING);
    assert_eq!(wire.wrote(tcp), masked(0x89, b""));
    // If a ping waits for its pong, that limit restarts.
    wire.reactor.pause(id);
    assert_eq!(wire.pass(1000 * SECOND), NOTHING);
    wire.gives(tcp, &[0x8A, 0]);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["Pong([])"]);

    // Nor does the idle limit of a body count.
    let mut wire = Wire::new(limits());
    let id = wire.reactor.open(get().idle(Some(5 * SECOND))).unwrap();
    assert_eq!(wire.turns(), NOTHING);
    wire.gives(0, b"HTTP/1.1 200 OK\r\n\r\nx");
    assert_eq!(wire.turns(), ["response 200", "chunk 1"]);
    wire.reactor.pause(id);
    assert_eq!(wire.pass(1000 * SECOND), NOTHING);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.ends_after(5 * SECOND), ["lost Idle(5s), 0 unsent"]);

    // If we have begun to close, that time limit still counts.
    for resumed in [false, true] {
        let mut wire = Wire::new(limits());
        let (id, tcp) = wire.open(ws());
        wire.reactor.pause(id);
        wire.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
        assert_eq!(wire.turns(), NOTHING);
        if resumed {
            wire.gives(tcp, &[&text(b'a')[..], b"\x88\x02\x03\xE8"].concat());
            wire.ends(tcp, End::Eof);
            assert_eq!(wire.pass(SECOND - NS), NOTHING);
            wire.reactor.resume(id);
            assert_eq!(wire.turns(), ["Text(\"a\")", "closing 1000", "closed: 1000"]);
        } else {
            assert_eq!(wire.ends_after(SECOND), ["lost NoCloseAnswer(1s), 0 unsent"]);
        }
    }
    // A server may take nothing because it is not read: the limit counts from the end of the pause.
    let mut wire = Wire::new(Limits { stall: 10 * SECOND, ..limits() });
    let (id, tcp) = wire.open(ws());
    wire.room(tcp, 0);
    wire.reactor.pause(id);
    wire.reactor.send_text(id, "Hello").unwrap();
    assert_eq!(wire.pass(1000 * SECOND), NOTHING);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.ends_after(10 * SECOND), ["lost Stalled(10s), 11 unsent"]);
}

#[test]
fn a_socket_that_breaks_ends_a_pause_and_what_came_before_is_reported() {
    let mut wire = Wire::new(Limits::default());
    let (_, tcp) = wire.open(ws());
    // One text is in our buffer, and one in the kernel's.
    wire.gives(tcp, &texts(b"abc"));
    assert_eq!(wire.turns_and_pauses(), texts_of(b"a"));
    wire.gives(tcp, &texts(b"d"));
    assert_eq!(wire.turns(), NOTHING);
    wire.ends(tcp, End::Reset);
    let end = "lost Io(Kind(ConnectionReset)), 0 unsent".to_owned();
    assert_eq!(wire.turns(), [texts_of(b"bcd"), vec![end]].concat());
    assert!(wire.reactor.is_empty());
    // The server's end is noticed when the socket is read.
    let (id, tcp) = wire.open(ws());
    wire.reactor.pause(id);
    assert_eq!(wire.turns(), NOTHING);
    wire.ends(tcp, End::Eof);
    assert_eq!(wire.pass(1000 * SECOND), NOTHING);
    wire.reactor.resume(id);
    assert_eq!(wire.turns(), ["lost Eof, 0 unsent"]);
    // A connection that is released while paused is closed regularly.
    let (id, tcp) = wire.open(ws());
    wire.reactor.pause(id);
    wire.reactor.release(id, &CloseFrame::new(1001, ""));
    assert_eq!(wire.turns(), NOTHING);
    assert_eq!(wire.wrote(tcp), masked(0x88, &1001u16.to_be_bytes()));
    wire.gives(tcp, b"\x88\x02\x03\xE9");
    wire.ends(tcp, End::Eof);
    assert_eq!(wire.turns(), NOTHING);
    assert!(wire.reactor.is_empty());
}

/// If a turn was full, readiness that was reported before a pause may be handled after it.
#[test]
fn a_pause_holds_though_its_socket_was_found_ready_before() {
    for (input, ends) in [(&b"ab"[..], false), (b"ab", true), (b"", true)] {
        let mut wire = Wire::new(Limits { turn: 1, ..Limits::default() });
        let (a, b) = (wire.open(ws()), wire.open(ws()));
        wire.gives(a.1, &texts(b"x"));
        wire.gives(b.1, &texts(input));
        if ends {
            wire.ends(b.1, End::Eof);
        }
        wire.turn_with(&mut |_, _| {});
        assert_eq!(wire.events, texts_of(b"x"), "there was no room for another");
        wire.reactor.pause(b.0);
        assert_eq!(wire.turns(), texts_of(b"x"));
        wire.reactor.resume(b.0);
        let end = ends.then(|| "lost Eof, 0 unsent".to_owned());
        assert_eq!(wire.turns(), [texts_of(input), end.into_iter().collect()].concat());
    }
}

/// FAULTS 70.
#[test]
fn what_a_program_holds_stops_the_reading_until_it_is_consumed() {
    let limits = Limits { high_water: 3000, low_water: 1000, ..Limits::default() };
    let mut wire = Wire::new(limits);
    let (id, tcp) = wire.open(ws());
    let turn = |wire: &mut Wire| {
        let mut hold = |conn: &mut Conn<'_>, event: &Event<'_>| {
            if let Event::Binary(data) = event {
                conn.hold(data.len());
            }
        };
        (0..10).for_each(|_| wire.turn_with(&mut hold));
        std::mem::take(&mut wire.events)
    };
    wire.gives(tcp, &binary(3000));
    assert_eq!(turn(&mut wire), ["binary 3000"]);
    // At the bound the socket is read; beyond it is not.
    wire.gives(tcp, &binary(1));
    assert_eq!(turn(&mut wire), ["binary 1"]);
    wire.gives(tcp, &binary(2));
    assert_eq!(turn(&mut wire), NOTHING);
    wire.reactor.consumed(id, 2000);
    assert_eq!(turn(&mut wire), NOTHING, "1001");
    wire.reactor.consumed(id, 1);
    assert_eq!(turn(&mut wire), ["binary 2"]);
    // More bytes than are held count as all of them. For a connection that is gone, the call does
    // nothing.
    wire.reactor.consumed(id, usize::MAX);
    wire.gives(tcp, &binary(3000));
    assert_eq!(turn(&mut wire), ["binary 3000"]);
    wire.ends(tcp, End::Reset);
    wire.reactor.send_text(id, "x").unwrap();
    assert_eq!(turn(&mut wire).len(), 1);
    wire.reactor.consumed(id, 3000);
    assert!(wire.reactor.is_empty());
}
