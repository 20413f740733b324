//! Compressed messages: the inflated size counts, and unused memory is freed.

use super::*;
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

/// FAULTS 8, `Limits::turn`: if a hundred bytes inflate to a hundred thousand, those count.
/// Otherwise one read of 64 KiB could give the program 64 MiB at once.
#[test]
fn a_turn_hands_over_so_much_of_what_messages_become() {
    let frame = compressed(100_000);
    assert!(frame.len() < 200, "{}", frame.len());
    let texts_of = |turn: usize| {
        let mut bench = Bench::new(Limits { turn, ..Limits::default() });
        let (_, tcp) = bench.open(ws().compression(Compression::default()));
        bench.gives(tcp, &frame.repeat(20));
        bench.turn();
        let first = std::mem::take(&mut bench.events).len();
        let rest: usize = (0..2).map(|_| bench.turns().len()).sum();
        assert_eq!(first + rest, 20, "none is lost");
        first
    };
    assert_eq!([texts_of(50_000), texts_of(250_000), texts_of(usize::MAX)], [1, 3, 20]);
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
    assert_eq!(bench.turns(), Vec::<String>::new());
    assert!(bench.wrote(tcp).starts_with(&[0x89]));
    bench.reactor.pause(id);
    bench.turns();
    bench.world.lock().now += 600 * MS;
    assert_eq!(bench.turns(), Vec::<String>::new());
    let now = bench.world.lock().now;
    assert_eq!(bench.reactor.deadline(), Some(now + 200 * MS));
    bench.world.lock().now += 200 * MS;
    assert_eq!(bench.turns(), Vec::<String>::new());
    assert_eq!(bench.reactor.deadline(), None);
    assert_eq!(sends(&mut bench), first, "nothing to refer to");
}
