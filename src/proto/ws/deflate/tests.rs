//! Both directions of a codec, and decompression bombs.

use std::sync::Arc;
use std::time::Instant;

use super::room::Room;
use super::*;
use crate::limits::Limits;
use crate::proto::ws::frame;
use crate::proto::ws::message::Assembly;
use crate::proto::{Context, Event, Opcode, Random, Session, Settings};
use crate::puff::Puff;

thread_local! {
    /// How many bytes of room were filled with zeros.
    pub(super) static CLEARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn codec(takeover: bool) -> Codec {
    let wanted = Compression {
        client_takeover: takeover,
        server_takeover: takeover,
        threshold: 0,
        ..Compression::default()
    };
    Codec::client(&Agreed::to(&wanted), &wanted)
}

/// One block of a MiB of zeros, without an end.
fn zeros() -> Vec<u8> {
    let mut state = zlib_rs::Deflate::new(9, false, 15);
    let mut out = vec![0; 8 * KIB];
    let flush = zlib_rs::DeflateFlush::SyncFlush;
    state.compress(&vec![0; MIB], &mut out, flush).unwrap();
    out.truncate(state.total_out() as usize);
    out
}

/// Passes pieces until one exceeds the limit; returns how many were accepted.
fn pieces_until_full(codec: &mut Codec, limits: &Limits, pieces: &[&[u8]]) -> usize {
    let mut message = Assembly::new(Opcode::Binary, true);
    for (i, piece) in pieces.iter().enumerate() {
        message.frame(limits).unwrap();
        if let Err(violation) = message.inflate(codec, piece, limits, false) {
            assert_eq!(violation, Violation::MessageTooBig);
            let most = limits.message + 64 * KIB + 1;
            assert!(message.data.capacity() <= most, "{} of memory", message.data.capacity());
            return i;
        }
        assert!(message.data.len() <= limits.message);
    }
    panic!("all of it was taken");
}

/// FAULTS 8, 11 and 13: a GiB in a MiB takes no more memory than the limit; the bytes on the wire
/// have their own limit.
#[test]
fn a_bomb_costs_as_much_as_the_limit() {
    let block = zeros();
    assert!(block.len() <= 1100, "{}", block.len());
    let bomb = block.repeat(1024);
    for message in [MIB, 4 * MIB, 4 * MIB + 1, 0] {
        let limits = Limits { message, ..Limits::default() };
        assert_eq!(pieces_until_full(&mut codec(true), &limits, &[&bomb]), 0);
    }
    // Empty blocks: the bytes on the wire are too many, though they inflate to nothing.
    let mut message = Assembly::new(Opcode::Binary, true);
    let limits = Limits { message: 1000, ..Limits::default() };
    assert_eq!(message.room(&limits), 1000 + 125 + 1024);
    let nothing = [0, 0, 0, 0xFF, 0xFF].repeat(400);
    message.inflate(&mut codec(true), &nothing, &limits, false).unwrap();
    assert_eq!(message.room(&limits), 149);
    assert!(message.data.is_empty());
}

/// FAULTS 9: the limit counts inflated bytes, and is exact.
#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_does_not() {
    for (size, limit, is_fine) in [(5000, 5000, true), (5001, 5000, false), (1, 0, false)] {
        let mut out = Vec::new();
        let payload = vec![b'a'; size];
        if !codec(true).deflate(&payload, |made| out.extend_from_slice(made)) {
            out = vec![0, 1, 0, 0xFE, 0xFF, b'a', 0];
        }
        assert!(out.len() < 100);
        let limits = Limits { message: limit, ..Limits::default() };
        let mut message = Assembly::new(Opcode::Text, true);
        let got = message.inflate(&mut codec(true), &out, &limits, true);
        let want = if is_fine { Ok(()) } else { Err(Violation::MessageTooBig) };
        assert_eq!(got, want, "{size} bytes, at most {limit}");
    }
}

/// FAULTS 10: a bomb in a thousand fragments, and one that refers to the message before it.
#[test]
fn a_bomb_in_fragments_or_over_takeover_is_bounded_too() {
    let block = zeros();
    let limits = Limits { message: 10 * MIB, ..Limits::default() };
    let bomb = block.repeat(11);
    let pieces: Vec<&[u8]> = bomb.chunks(bomb.len().div_ceil(1000)).collect();
    let at = pieces_until_full(&mut codec(true), &limits, &pieces);
    assert!(at > 800, "{at} of {}", pieces.len());

    let mut codec = codec(true);
    let mut first = Assembly::new(Opcode::Binary, true);
    first.inflate(&mut codec, &block[..block.len() - 4], &limits, true).unwrap();
    assert_eq!(first.data.len(), MIB);
    // Each byte of a fixed block is one more copy of 258 bytes from the window.
    assert_eq!(pieces_until_full(&mut codec, &limits, &[&bomb]), 0);
}

struct Key;

impl Random for Key {
    fn key(&mut self) -> [u8; 4] {
        [1, 2, 3, 4]
    }
}

/// FAULTS 12: the limit already counts for the first frame, right behind the 101, before the
/// program has seen the connection.
#[test]
fn the_limit_counts_from_the_first_frame() {
    let bomb = zeros().repeat(100);
    let mut bytes = Vec::new();
    frame::header(&mut bytes, true, Opcode::Binary, bomb.len(), 0);
    bytes[0] |= frame::RSV1;
    bytes.extend_from_slice(&bomb);
    let limits = Arc::new(Limits { message: MIB, ..Limits::default() });
    let now = Instant::now();
    let settings = Settings { limits, ..Settings::default() };
    let mut session = Session::opened_compressed(settings, now, Compression::default());
    let mut cx = Context { now, random: &mut Key };
    let (used, event) = session.receive(&mut cx, &bytes);
    let Some(Event::Closed(closed)) = event else { panic!("{event:?}") };
    assert!(format!("{closed:?}").contains("MessageTooBig"), "{closed:?}");
    assert_eq!(used, bytes.len());
    assert_eq!(session.outgoing()[..2], [0x88, 0x80 | 24]);
}

/// FAULTS 15: a message in a million pieces of one byte takes memory only for its content.
#[test]
fn tiny_pieces_cost_memory_for_what_they_hold() {
    let payload: Vec<u8> = (0..100_000u32).map(|i| ((i / 3 * 7919) >> 5) as u8).collect();
    let mut out = Vec::new();
    assert!(codec(true).deflate(&payload, |made| out.extend_from_slice(made)));
    let (mut codec, limits) = (codec(true), Limits::default());
    let mut message = Assembly::new(Opcode::Binary, true);
    for (i, byte) in out.iter().enumerate() {
        message.inflate(&mut codec, &[*byte], &limits, i + 1 == out.len()).unwrap();
        assert!(message.data.capacity() <= 2 * message.data.len() + KIB);
    }
    assert!(message.data == payload);
}

/// Compresses a message, and checks that it inflates to the same bytes, whole and in pieces.
fn round_trip(out: &mut Codec, back: &mut [Codec; 2], payload: &[u8]) -> Option<usize> {
    let mut compressed = Vec::new();
    if !out.deflate(payload, |made| compressed.extend_from_slice(made)) {
        assert!(compressed.is_empty());
        return None;
    }
    let limits = Limits { message: payload.len(), ..Limits::default() };
    for (codec, size) in back.iter_mut().zip([usize::MAX, 7]) {
        let mut message = Assembly::new(Opcode::Binary, true);
        let count = compressed.chunks(size.min(compressed.len())).count();
        for (i, piece) in compressed.chunks(size.min(compressed.len())).enumerate() {
            message.inflate(codec, piece, &limits, i + 1 == count).unwrap();
        }
        assert!(message.data == payload, "{} bytes", payload.len());
    }
    Some(compressed.len())
}

#[test]
fn what_goes_out_comes_in_with_takeover_and_without() {
    let text = b"{\"id\":12345,\"name\":\"Kaese\",\"tags\":[\"alpha\",\"beta\"]},".repeat(2000);
    let mut x = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    })
    .take(70_000)
    .collect();
    for takeover in [true, false] {
        let (mut out, mut back) = (codec(takeover), [codec(takeover), codec(takeover)]);
        let mut sizes = Vec::new();
        for len in [1, 125, 126, 127, 300, 65_535, 65_536, 100_000, 300, 300] {
            sizes.push(round_trip(&mut out, &mut back, &text[..len]));
            // A message that does not become shorter is sent uncompressed, so it is not in the
            // peer's window.
            assert!(round_trip(&mut out, &mut back, &noise[..len.min(noise.len())]).is_none());
            assert!(!out.deflate(b"", |_| {}));
        }
        assert_eq!(sizes[0], None);
        assert!(sizes[7].unwrap() < 1000, "{sizes:?}");
        // The last two are alike, but the messages between them have filled the window.
        assert_eq!(sizes[8], sizes[9]);
        let (first, second) =
            [(), ()].map(|()| round_trip(&mut out, &mut back, &text[..300])).into();
        assert_eq!(first == second, !takeover, "{first:?} {second:?}");
    }
}

/// The first message that needs a state creates it; without takeover none stays.
#[test]
fn states_are_there_only_where_they_are_needed() {
    for takeover in [true, false] {
        let mut codec = codec(takeover);
        assert!(!codec.0.deflater.has_state());
        assert!(!codec.deflate(b"", |_| {}));
        assert!(!codec.0.deflater.has_state());
        let mut out = Vec::new();
        assert!(codec.deflate(&[b'a'; 300], |made| out.extend_from_slice(made)));
        assert_eq!(codec.0.deflater.has_state(), takeover);
        assert!(!codec.0.inflater.has_state());
        codec.inflate(&out, &mut Vec::new(), KIB).unwrap();
        assert!(codec.0.inflater.has_state());
        codec.finish().unwrap();
        assert_eq!(codec.0.inflater.has_state(), takeover);
    }
    assert!(size_of::<Codec>() == size_of::<usize>() && size_of::<Parts>() < 512);
}

/// Messages that were compressed with a small window refer no further back: the second reader has
/// only such a window.
#[test]
fn no_reference_reaches_beyond_the_window() {
    let mut x = 88_172_645_463_325_252u64;
    let mut noise = |n: usize| -> Vec<u8> {
        (0..n)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 32) as u8
            })
            .collect()
    };
    for window in 9..=15u8 {
        let wanted = Compression { client_window: window, threshold: 0, ..Compression::default() };
        let mut codec = Codec::client(&Agreed::to(&wanted), &wanted);
        let mut puff = Puff::of(1 << window);
        let piece = noise(100);
        for gap in [50, 400, 3000, 31_000, 33_000] {
            // The piece occurs again behind a gap that only larger windows cover.
            let payload = [&piece[..], &noise(gap), &piece, &vec![b'a'; 300]].concat();
            let mut out = Vec::new();
            if codec.deflate(&payload, |made| out.extend_from_slice(made)) {
                assert_eq!(puff.message(&out, payload.len()), (payload, Ok(())), "{window}, {gap}");
            } else {
                puff.forget();
            }
        }
    }
}

/// After a rest, compression continues where it was: another reader with the same window inflates
/// it, for all windows and lengths, and the result is as short as without a rest.
#[test]
fn what_has_rested_refers_to_what_it_sent_before() {
    let mut x = 88_172_645_463_325_252u64;
    let mut number = |below: usize| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as usize % below
    };
    let limits = Limits { deflate_rest: Duration::ZERO, ..Limits::default() };
    let now = Instant::now();
    for window in 9..=15u8 {
        let wanted = Compression { client_window: window, threshold: 0, ..Compression::default() };
        let [mut rests, mut goes_on] =
            [(); 2].map(|()| Codec::client(&Agreed::to(&wanted), &wanted));
        let mut puff = Puff::of(1 << window);
        let words: Vec<String> = (0..400).map(|_| number(1 << 30).to_string()).collect();
        let (mut resting, mut going) = (0, 0);
        for i in 0..30 {
            let mut payload = Vec::new();
            let len = [60, 700, 5000, 40_000][if i % 10 == 9 { 3 } else { number(3) }];
            while payload.len() < len {
                let noise = i % 20 == 18;
                let word = &words[if noise { number(400) } else { number(30) + i }];
                payload.extend_from_slice(word.as_bytes());
            }
            let [mut a, mut b] = [Vec::new(), Vec::new()];
            let is_compressed = rests.deflate(&payload, |made| a.extend_from_slice(made));
            assert_eq!(is_compressed, goes_on.deflate(&payload, |made| b.extend_from_slice(made)));
            assert!(is_compressed);
            assert_eq!(puff.message(&a, payload.len()), (payload, Ok(())), "{window}, {i}");
            (resting, going) = (resting + a.len(), going + b.len());
            rests.used(now, &limits);
            rests.on_deadline(now, &limits);
            assert!(!rests.0.deflater.has_state() && rests.0.deflater.has_memory());
        }
        let more = resting as f64 / going as f64;
        assert!(more < 1.02, "window {window}: {resting} and {going} bytes");
    }
}

/// After an abandoned message, the library keeps output that was not taken. A reset does not
/// discard that: some time later there is no room left, and the library panics.
#[test]
fn many_messages_that_do_not_shrink_leave_nothing_behind() {
    let mut x = 1u64;
    let mut noise = |n: usize| -> Vec<u8> {
        (0..n)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 32) as u8
            })
            .collect()
    };
    for takeover in [true, false] {
        for level in [1, 3, 6, 9] {
            let wanted = Compression {
                level,
                client_takeover: takeover,
                server_takeover: takeover,
                threshold: 0,
                ..Compression::default()
            };
            let mut codec = Codec::client(&Agreed::to(&wanted), &wanted);
            let mut back = [(); 2].map(|()| Codec::client(&Agreed::to(&wanted), &wanted));
            let mut plain = 0;
            for i in 0..300 {
                let payload = noise(
                    [5, 64, 256, 300, 700, 4000, 20_000][if i % 100 == 0 { 6 } else { i % 6 }],
                );
                plain += usize::from(round_trip(&mut codec, &mut back, &payload).is_none());
                if i % 50 == 0 {
                    let text = [&payload[..], &payload, b"and once more, and once more"].concat();
                    round_trip(&mut codec, &mut back, &text);
                }
            }
            assert!(plain > 250, "{plain}");
        }
    }
}

/// An empty final block of two bytes, thousands of times: all share one buffer. Zeroing it for each
/// block took two microseconds: a minute for a message of 64 MiB.
#[test]
fn many_final_blocks_share_their_room() {
    let mut codec = codec(true);
    let piece = [&[3, 0].repeat(20_000)[..], &[0]].concat();
    let mut data = Vec::new();
    codec.inflate(&piece, &mut data, MIB).unwrap();
    codec.finish().unwrap();
    assert!(data.is_empty());
    let cleared = CLEARED.get();
    assert!(cleared <= 64 * KIB, "{cleared} zeros");
    // Filled room is copied, and used again.
    let block = zeros();
    codec.inflate(&block, &mut data, MIB).unwrap();
    assert_eq!(data.len(), MIB);
    assert!(CLEARED.get() <= 64 * KIB, "{} zeros", CLEARED.get());
}

/// A thread keeps a buffer of 64 KiB for the next connection, and no larger one.
#[test]
fn a_thread_keeps_room_of_so_many_bytes() {
    for (len, kept) in [(64 * KIB, true), (64 * KIB + 1, false)] {
        let mut room = Room::take();
        room.first(len);
        room.keep();
        CLEARED.set(0);
        let mut room = Room::take();
        room.first(len);
        assert_eq!(CLEARED.get() == 0, kept, "{len}");
    }
}
