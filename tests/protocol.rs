//! Tests of the protocol core through its public functions: scripts, tapes, laws under random
//! input, and tests that scripts cannot express.
//!
//! A script in `tests/scripts` starts with a comment that names section and rule. It runs in every
//! [`Mode`]; docs/TAPES.md describes its lines. A script with the line `# 64 bits` or `# 32 bits`
//! runs only if a `usize` has that many bits; a script with `# feature deflate` runs only in a
//! build with that feature. A tape in `tests/tapes` is a recording of a connection of our client to
//! a real server.
#![cfg(feature = "tape")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moonwire::Limits;
use moonwire::proto::*;
use moonwire::tape::{GARBAGE, Keys, Mode, Sim, TapeEvent, run, run_all};

/// The nonce of the sample in RFC 6455 §1.3, so that the accept value of the sample is correct.
const NONCE: [u8; 16] = *b"the sample nonce";

fn handshake() -> Sim {
    let now = Instant::now();
    let request = Request::new(Url::parse("ws://server.example/chat").unwrap());
    Sim::of(Session::new(&request, Settings::default(), NONCE, None), now)
}

// Scripts.

/// The name and text of each script that runs in this build.
fn scripts() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut all: Vec<_> = files
        .map(|p| (p.file_stem().unwrap().display().to_string(), fs::read_to_string(p).unwrap()))
        .collect();
    let other = format!("# {} bits", 96 - usize::BITS);
    let is_built =
        |line: &str| line != other && (cfg!(feature = "deflate") || line != "# feature deflate");
    all.retain(|(_, text)| text.lines().all(is_built));
    all.sort();
    all
}

#[test]
fn every_script_in_every_mode() {
    let scripts = scripts();
    let mut failed = String::new();
    for (name, text) in &scripts {
        let first = text.lines().next().unwrap_or("");
        let names = ["# RFC 6455 §", "# RFC 7692 §"].iter().any(|rfc| first.starts_with(rfc));
        assert!(names, "{name}: names no section first");
        if let Err(e) = run_all(text, 2) {
            writeln!(failed, "{name}, {e}").unwrap();
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(scripts.len() >= 60, "only {} scripts", scripts.len());
}

/// `Violation` has one variant for each rule. The test reads them from the source, so that it fails
/// for a new variant without a script.
#[test]
fn every_violation_has_a_script() {
    let source = include_str!("../src/proto/ws/mod.rs");
    let list = source.split("pub enum Violation {").nth(1).unwrap().split('}').next().unwrap();
    let name = |text: &str| text.trim().split(['(', ',']).next().unwrap().to_owned();
    let mut missing: BTreeSet<String> =
        list.lines().filter(|l| l.trim().starts_with(char::is_uppercase)).map(name).collect();
    assert!(missing.len() >= 16, "{missing:?}");
    // No bytes of a server can cause this variant; `frame.rs` tests it.
    missing.remove("UnmaskedByClient");
    if !cfg!(feature = "deflate") {
        missing.remove("Deflate");
    }
    for (_, text) in scripts() {
        for line in text.lines().filter_map(|l| l.strip_prefix("event closed failed ")) {
            missing.remove(&name(line.split(' ').nth(1).unwrap()));
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn a_script_fails_on_what_it_does_not_name() {
    for (script, why) in [
        ("open\npeer 8101 41", "event not named"),
        ("open\npeer 8900\nwrote nothing", "wrote"),
        ("open\npeer 8900", "output not named"),
        ("open\npeer 8101 41\nsend text 42", "event not named"),
        ("open\npeer 8101 41\nevent text 42", "event text"),
        ("open\nevent text 42", "no event"),
        ("open\nsend text 42 -> Full", "Ok"),
        ("open\npeer 8", "hex"),
        ("open\nsing", "no such line"),
    ] {
        let error = run(script, Mode::Whole, &mut BTreeSet::new()).unwrap_err().to_string();
        assert!(error.contains(why), "{script}: {error}");
    }
}

// Tests that scripts cannot express.

/// RFC 6455 §5.2: exactly nine first bytes are legal. Any other fails the connection at once,
/// before a length arrives.
#[test]
fn nine_first_bytes() {
    let legal: Vec<u8> = (0..=255)
        .filter(|&first| {
            let mut sim = Sim::new(Settings::default());
            // A continuation is legal only after the start of a message.
            if first & 15 == 0 {
                sim.feed(b"\x01\0", false);
            }
            sim.feed(&[first], false);
            !sim.closed
        })
        .collect();
    assert_eq!(legal, [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]);
}

/// RFC 6455 §7.4: exactly these codes are allowed in a close frame, in both directions.
#[test]
fn every_close_code() {
    for code in 0..=u16::MAX {
        let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let mut sim = Sim::new(Settings::default());
        assert_eq!(sim.close(code).is_ok(), legal, "{code} sent");
        let mut sim = Sim::new(Settings::default());
        sim.feed(&[&[0x88, 2][..], &code.to_be_bytes()].concat(), false);
        assert_eq!(!sim.closed, legal, "{code} received");
    }
}

/// Parses masked frames: mask key, opcode and unmasked payload of each.
fn frames(mut wire: &[u8]) -> Vec<([u8; 4], u8, Vec<u8>)> {
    let mut all = vec![];
    while let [first, second, rest @ ..] = wire {
        assert_eq!((first & 0xF0, second & 0x80), (0x80, 0x80), "FIN and MASK");
        let (size, len) = match second & 0x7F {
            126 => (2, rest[..2].iter().fold(0, |n, &b| n << 8 | usize::from(b))),
            127 => (8, rest[..8].iter().fold(0, |n, &b| n << 8 | usize::from(b))),
            n => (0, usize::from(n)),
        };
        let key: [u8; 4] = rest[size..size + 4].try_into().unwrap();
        let payload = &rest[size + 4..size + 4 + len];
        let plain = payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
        all.push((key, first & 15, plain));
        wire = &rest[size + 4 + len..];
    }
    assert!(wire.is_empty());
    all
}

/// RFC 6455 §5.3, §10.3; faults of others, rows 18, 22 and 23: each frame of any kind has another
/// mask key; bytes that the program has chosen are never unmasked on the wire; the server receives
/// what was sent.
#[test]
fn each_frame_is_masked_with_a_fresh_key() {
    let mut sim = Sim::new(Settings::default());
    sim.keys = Keys { next: 0x0102_0304, ..Keys::default() };
    let mut want = vec![];
    for len in (0..300).chain([65_535, 65_536, 100_000]) {
        let text = "GET /".repeat(len / 5 + 1)[..len].to_owned();
        sim.text(&text).unwrap();
        sim.with(|session, cx| session.send_binary(cx, text.as_bytes())).unwrap();
        want.push((1, text.clone().into_bytes()));
        want.push((2, text.clone().into_bytes()));
        if len <= 125 {
            sim.with(|session, cx| session.ping(cx, text.as_bytes())).unwrap();
            want.push((9, text.clone().into_bytes()));
            sim.take(usize::MAX, usize::MAX);
            sim.feed(&[&[0x89, len as u8], text.as_bytes()].concat(), false);
            want.push((10, text.into_bytes()));
        }
        sim.take(usize::MAX, usize::MAX);
    }
    let frame = CloseFrame::new(1000, "r".repeat(REASON_MAX));
    sim.with(|session, cx| session.close(cx, &frame)).unwrap();
    want.push((8, [b"\x03\xE8", &[b'r'; REASON_MAX][..]].concat()));
    sim.take(usize::MAX, usize::MAX);
    assert!(!sim.written.windows(5).any(|w| w == b"GET /"));
    let got = frames(&sim.written);
    for (i, ((key, ..), n)) in got.iter().zip(0x0102_0304u32..).enumerate() {
        assert_eq!(*key, n.to_be_bytes(), "frame {i}");
    }
    let got: Vec<_> = got.into_iter().map(|(_, opcode, payload)| (opcode, payload)).collect();
    assert!(got == want);
}

/// Faults of others, row 2: a declared length causes no allocation before its bytes arrive.
#[test]
fn memory_follows_what_arrived() {
    const KIB: usize = 1024;
    let room = |arrived: usize| 4 * arrived + 256 * KIB + 16;
    for (head, len) in [
        (&b"\x82\x7F\0\0\0\0\x03\xC0\0\0"[..], 60 * KIB * KIB),
        (b"\x02\x7F\0\0\0\0\x03\xC0\0\0", 60 * KIB * KIB),
        #[cfg(target_pointer_width = "64")]
        (b"\x81\x7F\x40\0\0\0\0\0\0\0", 1 << 62),
        (b"\x81\x7F\0\0\0\0\x40\0\0\0", 1 << 30),
    ] {
        let limits = Limits { message: usize::MAX, in_place: 1, ..Default::default() };
        let mut sim = Sim::new(Settings { limits: Arc::new(limits), ..Default::default() });
        sim.feed(head, true);
        let (mut arrived, mut in_place) = (0, false);
        let piece = vec![b'a'; KIB * KIB];
        while arrived < len.min(60 * KIB * KIB) {
            let space = sim.session.space().expect("a large frame is under way");
            assert!(space.want <= room(arrived), "{} wanted at {arrived}", space.want);
            let capacity = space.buf.capacity();
            assert!(capacity <= room(arrived), "capacity {capacity} at {arrived}");
            let n = piece.len().min(arrived + 1).min(len - arrived);
            // The caller may read in place or not: the test alternates.
            in_place = !in_place;
            sim.feed(&piece[..n], in_place);
            arrived += n;
        }
        if let Some((_, payload)) = sim.events.pop_front() {
            assert_eq!((payload.len(), len), (arrived, arrived));
        }
    }
}

/// If at least `Limits::in_place` bytes of a frame are missing, they are read in place. In any case
/// the session takes all bytes of the frame that have arrived.
#[test]
fn a_frame_is_read_in_place_from_so_many_missing_bytes_on() {
    for (missing, in_place) in [(999, false), (1000, true), (1001, true)] {
        let limits = Limits { in_place: 1000, ..Default::default() };
        let mut sim = Sim::new(Settings { limits: Arc::new(limits), ..Default::default() });
        let mut frame = vec![0x82, 126];
        frame.extend((missing as u16 + 10).to_be_bytes());
        frame.extend([7; 10]);
        sim.feed(&frame, false);
        assert_eq!(sim.session.space().is_some(), in_place, "{missing}");
        assert!(sim.tail.is_empty(), "{missing}");
        sim.feed(&vec![7; missing], in_place);
        assert_eq!(sim.events.pop_front().unwrap(), ("binary".to_owned(), vec![7; missing + 10]));
    }
    // If the message already has this many bytes, the rest of a frame is read in place, however
    // short it is.
    for (there, in_place) in [(999, false), (1000, true)] {
        let limits = Limits { in_place: 1000, ..Default::default() };
        let mut sim = Sim::new(Settings { limits: Arc::new(limits), ..Default::default() });
        let mut frames = vec![0x02, 126];
        frames.extend((there as u16 - 1).to_be_bytes());
        frames.extend(vec![7; there - 1]);
        frames.extend([0x80, 2, 7]);
        sim.feed(&frames, false);
        assert_eq!(sim.session.space().map(|space| space.want), in_place.then_some(1), "{there}");
        sim.feed(&[7], in_place);
        assert_eq!(sim.events.pop_front().unwrap(), ("binary".to_owned(), vec![7; there + 1]));
    }
}

/// RFC 6455 §8.1: the session checks a text that is read in place when its last byte arrives, or
/// when no more bytes are available. The events are the same whether it has checked all of the
/// text, a part or nothing before the last byte.
#[test]
fn a_text_that_is_read_in_place_is_looked_at_when_it_ends_or_nothing_more_is_there() {
    let good = "\u{e4}\u{20ac}\u{1f642}.".repeat(120).into_bytes();
    let cases: Vec<(Vec<u8>, bool)> = [None, Some(21), Some(700), Some(good.len() - 1)]
        .into_iter()
        .map(|bad: Option<usize>| {
            let mut text = good.clone();
            if let Some(at) = bad {
                text[at] = 0xFF;
            }
            (text, bad.is_none())
        })
        .collect();
    let limits = Limits { in_place: 1, ..Default::default() };
    let settings = Settings { limits: Arc::new(limits), ..Default::default() };
    for (text, right) in cases {
        let mut head = vec![0x81, 126];
        head.extend((text.len() as u16).to_be_bytes());
        // The head arrives together with `first` bytes. After that each read returns at most `most`
        // bytes. After every `pause` reads no more bytes are available (0: more always are).
        for first in [0, 1, 9, 400, 1_100] {
            for most in [1, 7, 333, 2_000] {
                for pause in [0, 1, 3] {
                    let name = format!("{right} {first} {most} {pause}");
                    let mut sim = Sim::new(settings.clone());
                    let start = [&head[..], &text[..first]].concat();
                    sim.feed(&start, false);
                    let (mut at, mut reads) = (first, 0);
                    while at < text.len() && sim.events.is_empty() {
                        let want = sim.session.space().unwrap().want;
                        let n = want.min(most).min(text.len() - at);
                        sim.fill(&text[at..at + n]);
                        (at, reads) = (at + n, reads + 1);
                        let reported = !sim.events.is_empty();
                        assert!(!reported || at == text.len(), "{name}: reported at {at}");
                        if pause > 0 && reads % pause == 0 {
                            sim.drained();
                            let broken = std::str::from_utf8(&text[..at]);
                            let broken = broken.is_err_and(|e| e.error_len().is_some());
                            assert!(broken != sim.events.is_empty() || at == text.len(), "{name}");
                        }
                    }
                    let (kind, payload) = sim.events.pop_front().unwrap();
                    if right {
                        assert_eq!((&*kind, &payload), ("text", &text), "{name}");
                    } else {
                        assert!(kind.contains("NotUtf8"), "{name}: {kind}");
                    }
                    assert!(sim.events.is_empty(), "{name}");
                }
            }
        }
    }
    // The session finds an error in a fragment before an error behind it.
    let mut sim = Sim::new(settings);
    sim.feed(b"\x01\x02a", false);
    sim.fill(&[0xFF]);
    sim.tail.push(0xFF);
    sim.pump();
    assert!(sim.events.pop_front().unwrap().0.contains("NotUtf8"));
}

/// Faults of others, row 15: a message of many small fragments is not moved in memory for each of
/// them.
#[test]
fn many_fragments_move_memory_seldom() {
    let limits = Limits { in_place: 0, ..Default::default() };
    let mut sim = Sim::new(Settings { limits: Arc::new(limits), ..Default::default() });
    let mut capacities = BTreeSet::new();
    for i in 0..20_000u32 {
        sim.feed(if i == 0 { b"\x02\x02" } else { b"\0\x02" }, false);
        capacities.insert(sim.session.space().unwrap().buf.capacity());
        sim.feed(b"ab", i % 2 == 0);
    }
    assert!(capacities.len() < 50, "{} allocations", capacities.len());
    sim.feed(b"\x80\0", false);
    assert_eq!(sim.events.pop_front().unwrap().1, b"ab".repeat(20_000));
}

/// RFC 6455 §4.1: an answer that arrives before the request was fully written opens the connection,
/// and the rest of the request is still sent before any frame.
#[test]
fn an_early_answer_loses_no_byte_of_the_request() {
    let mut sim = handshake();
    let request = sim.session.outgoing().to_vec();
    sim.take(20, 1);
    sim.feed(
        b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        false,
    );
    assert_eq!(sim.events.pop_front(), Some(("opened none".to_owned(), vec![])));
    sim.text("A").unwrap();
    sim.take(usize::MAX, 1);
    assert_eq!(sim.written, [&request[..], b"\x81\x81\0\0\0\0A"].concat());
}

/// The frames in the notes of a session: direction, FIN, opcode and length of each.
fn notes(sim: &mut Sim) -> Vec<(Direction, bool, Opcode, usize)> {
    let notes = sim.session.notes().into_iter().flatten();
    let frame = |note: &mut Note| match *note {
        Note::Frame { direction, fin, opcode, len, .. } => Some((direction, fin, opcode, len)),
        _ => None,
    };
    notes.filter_map(frame).collect()
}

/// The session notes a frame when it sends it. If the queue of pongs is full, pongs are discarded,
/// and the notes do not have these.
#[test]
fn notes_show_only_frames_that_travel() {
    let limits = Limits { pong_queue: 1, ..Default::default() };
    let settings = Settings { limits: Arc::new(limits), trace: true, ..Default::default() };
    let mut sim = Sim::new(settings);
    sim.feed(b"\x89\x01a\x89\x02bb\x89\x03ccc", false);
    sim.take(usize::MAX, usize::MAX);
    assert_eq!(sim.written, b"\x8A\x81\0\0\0\0a\x8A\x83\0\0\0\0ccc");
    let out: Vec<_> = notes(&mut sim).into_iter().filter(|n| n.0 == Direction::Out).collect();
    assert_eq!(out, [1, 3].map(|len| (Direction::Out, true, Opcode::Pong, len)));
}

// Laws under random input.

/// xorshift64*: the same numbers on every machine.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        for (left, shift) in [(false, 12), (true, 25), (false, 27)] {
            self.0 ^= if left { self.0 << shift } else { self.0 >> shift };
        }
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Appends a frame as a server sends it.
fn frame(out: &mut Vec<u8>, fin: bool, opcode: u8, payload: &[u8]) {
    out.push(u8::from(fin) << 7 | opcode);
    match payload.len() {
        n @ ..=125 => out.push(n as u8),
        n @ ..=65_535 => out.extend([126, (n >> 8) as u8, n as u8]),
        n => {
            out.push(127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Legal traffic of a server, the events that it must cause, and the answers.
#[derive(Default)]
struct Traffic {
    bytes: Vec<u8>,
    events: Vec<TapeEvent>,
    answers: Vec<(u8, Vec<u8>)>,
}

impl Traffic {
    fn random(rng: &mut Rng) -> Traffic {
        let mut traffic = Traffic::default();
        for _ in 0..rng.below(6) {
            traffic.message(rng);
        }
        if rng.one_in(2) {
            frame(&mut traffic.bytes, true, 8, b"\x0F\xA0bye");
            traffic.events.push(("closing code=4000 reason=\"bye\"".to_owned(), vec![]));
            traffic.answers.push((8, b"\x0F\xA0".to_vec()));
            // The client ignores all bytes behind the close frame.
            traffic.bytes.extend_from_slice(&GARBAGE[..rng.below(GARBAGE.len())]);
        }
        traffic
    }

    fn message(&mut self, rng: &mut Rng) {
        let sizes = [0, 1, 2, 3, 7, 30, 125, 126, 127, 300];
        let size = if rng.one_in(300) { 70_000 } else { rng.pick(&sizes) };
        let (kind, opcode, data) = if rng.one_in(2) {
            ("binary", 2, (0..size).map(|_| rng.below(256) as u8).collect())
        } else {
            let chars = ['a', '\0', 'é', '\u{7FF}', '€', '\u{FFFF}', '𝄞', '\u{10FFFF}'];
            ("text", 1, (0..size).map(|_| rng.pick(&chars)).collect::<String>().into_bytes())
        };
        let (mut at, mut opcode) = (0, opcode);
        loop {
            let end = if rng.one_in(2) { data.len() } else { at + rng.below(data.len() - at + 1) };
            let fin = end == data.len() && !rng.one_in(8);
            frame(&mut self.bytes, fin, opcode, &data[at..end]);
            (at, opcode) = (end, 0);
            if fin {
                break;
            }
            self.control(rng);
        }
        self.events.push((kind.to_owned(), data));
        self.control(rng);
    }

    fn control(&mut self, rng: &mut Rng) {
        while rng.one_in(3) {
            let len = rng.pick(&[0, 1, 5, 125]);
            let payload: Vec<u8> = (0..len).map(|_| rng.below(256) as u8).collect();
            if rng.one_in(2) {
                frame(&mut self.bytes, true, 9, &payload);
                self.answers.push((10, payload));
            } else {
                frame(&mut self.bytes, true, 10, &payload);
                self.events.push(("pong".to_owned(), payload));
            }
        }
    }
}

/// Passes `bytes` to a new session in pieces of random sizes.
fn in_pieces(rng: &mut Rng, mut limits: Limits, bytes: &[u8]) -> Sim {
    limits.in_place = rng.pick(&[0, 16, 65_536]);
    let limits = Arc::new(limits);
    let mut sim = Sim::new(Settings { limits, trace: true, ..Default::default() });
    let most = rng.pick(&[1, 3, 20, 200, 70_000]).max(bytes.len() / 500);
    let mut at = 0;
    while at < bytes.len() {
        let n = 1 + rng.below(most.min(bytes.len() - at));
        sim.feed(&bytes[at..at + n], rng.one_in(2));
        at += n;
    }
    sim
}

fn whole(limits: Limits, bytes: &[u8]) -> Sim {
    let limits = Arc::new(limits);
    let mut sim = Sim::new(Settings { limits, trace: true, ..Default::default() });
    sim.feed(bytes, false);
    sim
}

/// Checks that two sessions have the same events and output; returns one of them.
fn same(a: Sim, b: Sim, seed: u64, bytes: &[u8]) -> Sim {
    assert_eq!(a.events, b.events, "seed {seed}: {bytes:02x?}");
    assert_eq!(a.session.outgoing(), b.session.outgoing(), "seed {seed}");
    a
}

#[test]
fn random_traffic_gives_its_events_however_it_is_cut() {
    for seed in 1..=4000 {
        let mut rng = Rng(seed);
        let traffic = Traffic::random(&mut rng);
        let mut a = whole(Limits::default(), &traffic.bytes);
        let mut b = in_pieces(&mut rng, Limits::default(), &traffic.bytes);
        assert_eq!(notes(&mut a), notes(&mut b), "seed {seed}");
        let sim = same(a, b, seed, &traffic.bytes);
        assert_eq!(Vec::from(sim.events), traffic.events, "seed {seed}");
        let answers: Vec<_> =
            frames(sim.session.outgoing()).into_iter().map(|(_, op, data)| (op, data)).collect();
        assert_eq!(answers, traffic.answers, "seed {seed}");
    }
}

/// A text of repeated words and random numbers.
#[cfg(feature = "deflate")]
fn prose(rng: &mut Rng) -> String {
    let words = ["\"price\":", "käse", "🙂", "1234.5", ",{\"id\":", "true", "\\u00e4", "aaaaaaaa"];
    let count = rng.pick(&[0, 1, 10, 100, 3000]);
    let mut text = String::new();
    for _ in 0..rng.below(count + 1) {
        text += rng.pick(&words);
        text += &rng.below(100_000).to_string();
    }
    text
}

/// RFC 7692: one session compresses messages, and another one reports the same messages. The frames
/// are split into fragments of any size, other frames are between these, and the bytes arrive in
/// pieces of any size. With one byte changed, all sizes of pieces give the same result.
#[cfg(feature = "deflate")]
#[test]
fn compressed_traffic_gives_its_messages_however_it_is_cut() {
    let mut count = 0;
    for seed in 1..=120 {
        let mut rng = Rng(seed);
        let takeover = rng.one_in(2);
        let wanted = Compression {
            client_window: 9 + rng.below(7) as u8,
            client_takeover: takeover,
            server_takeover: takeover,
            level: 1 + rng.below(9) as u8,
            threshold: rng.pick(&[0, 50]),
            ..Compression::default()
        };
        let now = Instant::now();
        let new = |message| {
            let limits = Limits { message, in_place: 50, ..Limits::default() };
            let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
            Sim::of(Session::opened_compressed(settings, now, wanted), now)
        };
        let (mut out, mut bytes, mut want) = (new(usize::MAX), vec![], vec![]);
        for _ in 0..1 + rng.below(8) {
            let text = prose(&mut rng);
            let (plain, binary) = (rng.one_in(4), rng.one_in(3));
            out.with(|session, cx| match (binary, plain) {
                (false, false) => session.send_text(cx, &text),
                (false, true) => session.send_text_plain(cx, &text),
                (true, false) => session.send_binary(cx, text.as_bytes()),
                (true, true) => session.send_binary_plain(cx, text.as_bytes()),
            })
            .unwrap();
            out.take(usize::MAX, usize::MAX);
            let wire = std::mem::take(&mut out.written);
            count += usize::from(wire[0] & 0x40 != 0);
            let head = [6, 8, 14][usize::from(wire[1].saturating_sub(0x80 + 125))];
            let (mut first, mut payload) = (wire[0] & 0x7F, &wire[head..]);
            while rng.one_in(2) {
                let (now, rest) = payload.split_at(rng.below(payload.len() + 1));
                frame(&mut bytes, false, first, now);
                (first, payload) = (0, rest);
                if rng.one_in(3) {
                    frame(&mut bytes, true, 10, b"pong");
                    want.push(("pong".to_owned(), b"pong".to_vec()));
                }
            }
            frame(&mut bytes, true, first, payload);
            want.push((if binary { "binary" } else { "text" }.to_owned(), text.into_bytes()));
        }
        let limit = rng.pick(&[usize::MAX, usize::MAX, 1000]);
        let results = |rng: &mut Rng, bytes: &[u8]| {
            let (mut a, mut b) = (new(limit), new(limit));
            a.feed(bytes, false);
            let most = rng.pick(&[1, 3, 20, 70_000]).max(bytes.len() / 500);
            let mut rest = bytes;
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(1 + rng.below(most.min(rest.len())));
                b.feed(piece, rng.one_in(2));
                rest = behind;
            }
            same(a, b, seed, bytes).events
        };
        let got = Vec::from(results(&mut rng, &bytes));
        if limit == usize::MAX || want.iter().all(|(_, data)| data.len() <= limit) {
            assert!(got == want, "seed {seed}");
        }
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        results(&mut rng, &bytes);
    }
    assert!(count > 200, "{count}");
}

/// Bytes that are nearly legal: traffic with a few bytes changed, or bytes that look like frames.
fn nearly(rng: &mut Rng) -> Vec<u8> {
    if rng.one_in(2) {
        let firsts = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A];
        let mut bytes = vec![];
        for _ in 0..rng.below(12) {
            bytes.push(if rng.one_in(9) { rng.below(256) as u8 } else { rng.pick(&firsts) });
            let len = rng.below(9);
            bytes.push(if rng.one_in(9) { rng.below(256) as u8 } else { len as u8 });
            bytes.extend((0..len).map(|_| if rng.one_in(9) { 0xE2 } else { 3 + len as u8 }));
        }
        return bytes;
    }
    let mut bytes = Traffic::random(rng).bytes;
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len() + 1);
        match (rng.below(3), at < bytes.len()) {
            (0, true) => bytes[at] ^= 1 << rng.below(8),
            (1, true) => drop(bytes.remove(at)),
            _ => bytes.insert(at, rng.below(256) as u8),
        }
    }
    bytes
}

#[test]
fn random_garbage_gives_the_same_end_however_it_is_cut() {
    let mut ends = BTreeSet::new();
    for seed in 1..=8000 {
        let mut rng = Rng(seed);
        let bytes = nearly(&mut rng);
        let message = rng.pick(&[3, 100, usize::MAX]);
        let limits = || Limits { message, fragments: 2, ..Default::default() };
        let a = whole(limits(), &bytes);
        let b = in_pieces(&mut rng, limits(), &bytes);
        let mut sim = same(a, b, seed, &bytes);
        if sim.closed {
            ends.insert(sim.events.back().unwrap().0.clone());
            let (reported, out) = (sim.events.len(), sim.session.outgoing().len());
            sim.poke();
            assert_eq!((sim.events.len(), sim.session.outgoing().len()), (reported, out));
        }
    }
    assert!(ends.len() > 20, "{ends:?}");
}

/// The events have the order `(text | binary | pong)* closing? closed`, whatever the program does
/// and whatever arrives. The number of bytes that wait to be sent is bounded: FAULTS 3, 20 and 21.
#[test]
fn random_acts_keep_order_and_bounds() {
    const QUEUE: usize = 500;
    for seed in 1..=1500 {
        let mut rng = Rng(seed);
        let limits =
            Limits { send_queue: QUEUE, pong_queue: 200, in_place: 4, ..Default::default() };
        let mut sim = Sim::new(Settings {
            limits: Arc::new(limits),
            ping_interval: rng.one_in(2).then_some(Duration::from_secs(3)),
            hold_close: rng.one_in(2),
            trace: false,
        });
        for _ in 0..rng.below(60) {
            match rng.below(12) {
                0..=3 => {
                    let mut bytes = if rng.one_in(8) { nearly(&mut rng) } else { vec![] };
                    bytes.extend(Traffic::random(&mut rng).bytes);
                    let end = if rng.one_in(2) { bytes.len() } else { rng.below(bytes.len() + 1) };
                    sim.feed(&bytes[..end], rng.one_in(2));
                }
                4..=6 => drop(sim.text(&"x".repeat(rng.below(100)))),
                7 => drop(sim.with(|session, cx| session.ping(cx, b"ping"))),
                8 => sim.advance(Duration::from_millis(rng.below(4000) as u64)),
                9 => sim.take(rng.below(300), 7),
                10 if rng.one_in(3) => drop(sim.close(1000)),
                10 => sim.with(|session, cx| session.answer_close(cx)),
                _ if rng.one_in(9) => sim.eof(),
                _ => {}
            }
            sim.pump();
            // The queue may exceed its limit by one message, a close frame, and the keep-alive
            // pings.
            assert!(sim.session.buffered() <= QUEUE + 106 + 131 + 60 * 6, "seed {seed}");
            assert!(sim.tail.len() <= 65_536 + 14, "seed {seed}");
        }
        let rank = |(kind, _): &TapeEvent| match kind.split(' ').next() {
            Some("text" | "binary" | "pong") => 0,
            Some("closing") => 1,
            Some("closed") => 2,
            _ => 3,
        };
        let order: Vec<u8> = sim.events.iter().map(rank).collect();
        let rises = |w: &[u8]| w[0] < w[1] || w[1] == 0 && w[0] == 0;
        assert!(order.windows(2).all(rises) && !order.contains(&3), "seed {seed}: {order:?}");
    }
}

// Tapes of real servers.

/// The name and text of each tape.
fn tapes() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tapes");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "tape"));
    let mut all: Vec<_> = files
        .map(|p| (p.file_stem().unwrap().display().to_string(), fs::read_to_string(p).unwrap()))
        .collect();
    all.sort();
    all
}

/// Each event and each written byte is as in the tape, which was recorded on another machine.
#[test]
fn every_tape_in_every_mode() {
    let tapes = tapes();
    let mut failed = String::new();
    for (name, text) in &tapes {
        // A build without `deflate` does not offer compression.
        if !cfg!(feature = "deflate") && text.contains(" deflate ") {
            continue;
        }
        match run_all(text, 10) {
            Ok(outcome) => {
                assert!(outcome.events >= 2 && outcome.sent > 0, "{name}: {outcome:?}");
                assert!(outcome.gaps.is_empty(), "{name}: {outcome:?}");
            }
            Err(e) => writeln!(failed, "{name}, {e}").unwrap(),
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(tapes.len() >= 10, "only {} tapes", tapes.len());
}

/// A tape contains no secret, whether the name of a field, the program or the place in the request
/// makes it one. It contains payloads only if payloads are recorded.
#[test]
fn a_tape_without_payloads_has_no_secret() {
    let (_, text) = tapes().into_iter().find(|(name, _)| name == "ws-secrets").unwrap();
    for part in ["hunter22", "c29tZXRoaW5n", "zw", "68756e746572"] {
        assert!(!text.contains(part), "{part}");
    }
    for part in
        ["Authorization: ***", "GET /?*** ", "Set-Cookie: ***", "X-Echo: ***", "X-Plain: seen"]
    {
        assert!(text.contains(part), "{part}");
    }
}
