//! Compressed messages: the inflated size counts, and unused memory is freed.

use super::*;
use crate::proto::http::coding::gzip;
use crate::proto::ws::deflate::Codec;
use crate::proto::{Agreed, Compression};

/// `len` equal bytes, compressed.
fn compressed(len: usize) -> Vec<u8> {
    let wanted = Compression::default();
    let mut payload = Vec::new();
    assert!(
        Codec::client(&Agreed::to(&wanted), &wanted)
            .deflate(&vec![b'a'; len], |made| payload.extend_from_slice(made))
    );
    let mut frame = binary(payload.len());
    frame[0] |= 0x40;
    frame.truncate(frame.len() - payload.len());
    frame.extend(payload);
    frame
}

/// Both kinds of message, from the reactor and from the sink.
#[test]
fn a_message_that_is_to_be_sent_plain_is_not_compressed() {
    let text = "abcdefgh".repeat(30);
    let mut bench = Bench::new(Limits::default());
    let (id, tcp) = bench.open(ws().compression(Compression::default()));
    bench.reactor.send_text(id, &text).unwrap();
    bench.reactor.send_text_plain(id, &text).unwrap();
    bench.reactor.send_binary_plain(id, text.as_bytes()).unwrap();
    bench.turn();
    let plain = [0x81, 0x82].map(|first| wire::masked(first, text.as_bytes())).concat();
    let wrote = bench.wrote(tcp);
    assert!(wrote[0] == 0xC1 && wrote.ends_with(&plain));
    assert!(wrote.len() - plain.len() < text.len(), "the first one is shorter");
    bench.gives(tcp, &binary(1));
    let mut sink = |conn: &mut Conn<'_>, _: Event<'_>| {
        conn.send_text_plain(&text).unwrap();
        conn.send_binary_plain(text.as_bytes()).unwrap();
    };
    let now = bench.world.lock().now;
    bench.reactor.turn(Some(now), &mut sink).unwrap();
    assert_eq!(bench.wrote(tcp), plain);
}

/// FAULTS 8, `Limits::turn`: if a hundred bytes inflate to a hundred thousand, those count.
/// Otherwise one read of 64 KiB could give the program 64 MiB at once.
#[test]
fn a_turn_hands_over_so_much_of_what_messages_become() {
    let messages_of = |first: u8, in_fragments: bool, turn: usize| {
        let mut frame = compressed(100_000);
        assert!(frame.len() < 200, "{}", frame.len());
        frame[0] = first;
        if in_fragments {
            frame[0] = 0x80;
            frame.splice(..0, [first & 0x7F, 0]);
        }
        let mut bench = Bench::new(Limits { turn, ..Limits::default() });
        let (_, tcp) = bench.open(ws().compression(Compression::default()));
        bench.gives(tcp, &frame.repeat(20));
        bench.turn();
        let first = std::mem::take(&mut bench.events).len();
        let rest: usize = (0..2).map(|_| bench.turns().len()).sum();
        assert_eq!(first + rest, 20, "none is lost");
        first
    };
    for (first, in_fragments) in [(0xC1, false), (0xC2, false), (0xC1, true), (0xC2, true)] {
        let of = [50_000, 250_000, usize::MAX].map(|turn| messages_of(first, in_fragments, turn));
        assert_eq!(of, [1, 3, 20], "{first:#x}, in fragments: {in_fragments}");
    }
}

/// `Limits::turn`: a message that came uncompressed counts no more where others may be compressed.
#[test]
fn a_turn_hands_over_as_much_of_messages_that_came_plain() {
    let messages_of = |options: Options| {
        let mut bench = Bench::new(Limits { turn: 5000, ..Limits::default() });
        let (_, tcp) = bench.open(options);
        bench.gives(tcp, &binary(1000).repeat(20));
        bench.turn();
        bench.events.len()
    };
    let counts = [ws(), ws().compression(Compression::default())].map(messages_of);
    assert_eq!(counts, [4, 4]);
}

/// FAULTS 56, `Limits::turn`: so do events of a compressed stream.
#[test]
fn a_turn_hands_over_so_much_of_what_events_become() {
    use crate::proto::http::Delivery;

    let coded = gzip(&format!("data: {}\n\n", "a".repeat(1000)).repeat(100).into_bytes()).unwrap();
    assert!(coded.len() < 2000, "{}", coded.len());
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n";
    let events_of = |turn: usize| {
        let mut bench = Bench::new(Limits { turn, ..Limits::default() });
        bench.start(get().delivery(Delivery::Events).decode(true));
        bench.gives(0, head.as_bytes());
        assert_eq!(bench.turns(), ["response 200"]);
        bench.gives(0, &coded);
        bench.turn();
        let first = std::mem::take(&mut bench.events).len();
        let rest: usize = (0..20).map(|_| bench.turns().len()).sum();
        assert_eq!(first + rest, 100, "none is lost");
        first
    };
    let first = events_of(10_000);
    assert!((5..=10).contains(&first), "{first}");
    assert_eq!([events_of(1), events_of(usize::MAX)], [1, 100]);
}

/// `Limits::deflate_idle` also counts for a paused connection, which no other timer wakes.
#[test]
fn what_compresses_is_given_up_though_nothing_is_read() {
    let idle = 1000 * MS;
    let mut bench = Bench::new(Limits {
        deflate_rest: 100 * MS,
        deflate_idle: idle,
        pong: 500 * MS,
        ..Limits::default()
    });
    let options = ws().ping_interval(Some(200 * MS)).compression(Compression::default());
    let (id, tcp) = bench.open(options);
    let text = "abcdefgh".repeat(40);
    let sends = |bench: &mut Bench| {
        bench.reactor.send_text(id, &text).unwrap();
        bench.turns();
        bench.wrote(tcp).len()
    };
    let (first, second) = (sends(&mut bench), sends(&mut bench));
    assert!(second < first, "it refers to the one before: {first} {second}");
    // Reading is paused while a ping waits for its pong: that limit does not end the connection.
    bench.world.lock().now += 200 * MS;
    assert_eq!(bench.turns(), NOTHING);
    assert!(bench.wrote(tcp).starts_with(&[0x89]));
    bench.reactor.pause(id);
    bench.turns();
    bench.world.lock().now += 600 * MS;
    assert_eq!(bench.turns(), NOTHING);
    let now = bench.world.lock().now;
    assert_eq!(bench.reactor.deadline(), Some(now + 200 * MS));
    bench.world.lock().now += 200 * MS;
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.reactor.deadline(), None);
    assert_eq!(sends(&mut bench), first, "nothing to refer to");
}
