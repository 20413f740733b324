//! Memory against a hostile peer: the most that a session allocates, whatever it receives. Each row
//! has a bound that follows from `Limits`; a higher peak ends the program with status 1. Also the
//! memory that a session keeps after it has sent and received compressed messages.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use moonwire::Limits;
use moonwire::proto::http::{Delivery, Request, Timing};
use moonwire::proto::{
    Closed, Compression, Context, Event, Misuse, Random, Session, Settings, Url,
};

/// The system's allocator, with a count of the allocated bytes.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        // Counts as if the old block lived until the new one exists, which is possible.
        add(new);
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(ptr, layout, new) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The cost of a session besides payloads, with the 64 KiB buffer into which this program reads.
const SMALL: usize = 80 * KIB;

struct Keys(u32);

impl Random for Keys {
    fn key(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        self.0.to_be_bytes()
    }
}

/// A session, and how it ended, if it did.
struct Peer {
    session: Session,
    keys: Keys,
    now: Instant,
    ended: Option<Closed>,
    events: usize,
}

impl Peer {
    fn new(session: Session) -> Peer {
        Peer { session, keys: Keys(1), now: Instant::now(), ended: None, events: 0 }
    }

    fn open(limits: Limits) -> Peer {
        let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
        Peer::new(Session::opened(settings, Instant::now()))
    }

    fn compressed(limits: Limits) -> Peer {
        Peer::compressed_as(limits, Compression::default())
    }

    fn compressed_as(limits: Limits, wanted: Compression) -> Peer {
        let (settings, now) =
            (Settings { limits: Arc::new(limits), ..Settings::default() }, Instant::now());
        Peer::new(Session::opened_compressed(settings, now, wanted))
    }

    fn decoding(limits: Limits) -> Peer {
        let url = Url::parse_http("http://host.example/").unwrap();
        let mut request = Request::new("GET", url).unwrap();
        request.decode(true);
        let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
        Peer::new(Session::stream(request, Delivery::Raw, &settings, Timing::default()))
    }

    fn stream(delivery: Delivery) -> Peer {
        let url = Url::parse_http("http://host.example/").unwrap();
        let request = Request::new("GET", url).unwrap();
        Peer::new(Session::stream(request, delivery, &Settings::default(), Timing::default()))
    }

    fn handshake() -> Peer {
        let request = moonwire::proto::Request::new(Url::parse("ws://host.example/").unwrap());
        Peer::new(Session::new(&request, Settings::default(), [7; 16], None))
    }

    /// Passes bytes as a driver does; the rest that is not taken must be short, and is passed
    /// again.
    fn give(&mut self, bytes: &[u8], tail: &mut Vec<u8>) {
        tail.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let mut cx = Context { now: self.now, random: &mut self.keys };
            let (n, event) = self.session.receive(&mut cx, &tail[used..]);
            used += n;
            match event {
                None => break,
                Some(Event::Closed(closed)) => self.ended = Some(closed),
                Some(_) => self.events += 1,
            }
        }
        tail.drain(..used);
    }

    /// Passes the same bytes repeatedly, until the session ends or `most` times.
    fn repeat(mut self, start: &[u8], bytes: &[u8], most: usize) -> Peer {
        let mut tail = Vec::with_capacity(64 * KIB);
        self.give(start, &mut tail);
        for _ in 0..most {
            if self.ended.is_some() {
                break;
            }
            self.give(bytes, &mut tail);
        }
        self
    }
}

fn failed(peer: &Peer) -> bool {
    matches!(peer.ended, Some(Closed::Failed(_)))
}

/// Why a row has failed.
type Outcome = Result<(), String>;

fn expect(what: bool, text: &str, peer: &Peer) -> Outcome {
    if what { Ok(()) } else { Err(format!("{text}; ended: {:?}", peer.ended)) }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Begins a block of deflate in which each zero byte that follows stands for 1032 zeros (made once with
/// zlib, level 9).
const BOMB: &[u8] = b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a";
/// A message of 32 KiB of zeros, made in the same way.
const ZEROS: &[u8] = b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x18";
/// The memory that the library needs to inflate with any window, and the room that is made at once.
const INFLATE: usize = 64 * KIB + 2 * 128 * KIB;

/// Name, bound in bytes, and actions. FAULTS rows in brackets.
type Row = (&'static str, usize, fn() -> Outcome);

const ROWS: &[Row] = &[
    ("a frame that declares 2^62 bytes [2, 5]", SMALL, || {
        let p = Peer::open(Limits::default()).repeat(b"\x82\x7f\x40\0\0\0\0\0\0\0", b"x", 10);
        expect(failed(&p), "refused at its header", &p)
    }),
    ("a frame that declares 64 MiB and sends 1 KiB [2]", 256 * KIB + SMALL, || {
        let p = Peer::open(Limits::default());
        let p = p.repeat(b"\x82\x7f\0\0\0\0\x04\0\0\0", &[0; KIB], 1);
        expect(p.ended.is_none(), "waits for the rest", &p)
    }),
    ("a frame that declares 64 MiB and sends half of it", 5 * 32 * MIB + SMALL, || {
        let p = Peer::open(Limits::default());
        let p = p.repeat(b"\x82\x7f\0\0\0\0\x04\0\0\0", &[0; 64 * KIB], 512);
        expect(p.ended.is_none(), "waits for the rest", &p)
    }),
    ("endless fragments of one byte [15]", 4 * 131_072 + 64 * KIB + SMALL, || {
        let p = Peer::open(Limits::default()).repeat(b"\x02\x01x", b"\0\x01x", 1_000_000);
        expect(failed(&p), "refused at Limits::fragments", &p)
    }),
    ("endless empty fragments [16]", SMALL, || {
        let p = Peer::open(Limits::default()).repeat(b"\x02\x00", b"\0\x00", 1_000_000);
        expect(failed(&p), "refused at Limits::fragments", &p)
    }),
    ("two fragments that are too long together [17]", 4 * MIB + SMALL, || {
        let limits = Limits { message: MIB, ..Limits::default() };
        let half = [&b"\x7f\0\0\0\0\0\x08\0\x01"[..], &[0; 512 * KIB + 1]].concat();
        let first = [b"\x02", &half[..]].concat();
        let p = Peer::open(limits).repeat(&first, &[b"\x80", &half[..]].concat(), 1);
        expect(failed(&p), "refused", &p)
    }),
    ("a million pings to a full socket [21]", 320 * KIB + SMALL, || {
        let ping = [&b"\x89\x7d"[..], &[b'p'; 125]].concat();
        let p = Peer::open(Limits::default()).repeat(b"", &ping, 1_000_000);
        expect(p.ended.is_none() && p.session.buffered() <= 65 * KIB, "bounded", &p)
    }),
    ("a message of 1 GiB in 1 MiB [9]", 2 * 8 * MIB + INFLATE + SMALL, || {
        let limits = Limits { message: 8 * MIB, ..Limits::default() };
        let start = [b"\xc2\x7f\0\0\0\0\0\x10\0\0", BOMB].concat();
        let p = Peer::compressed(limits).repeat(&start, &[0; KIB], KIB);
        expect(failed(&p), "refused at Limits::message", &p)
    }),
    ("the same in frames of 1 KiB [9]", 2 * 8 * MIB + INFLATE + SMALL, || {
        let limits = Limits { message: 8 * MIB, ..Limits::default() };
        let start = [&[0x42, BOMB.len() as u8][..], BOMB].concat();
        let frame = [&[0, 126, 4, 0][..], &[0; KIB]].concat();
        let p = Peer::compressed(limits).repeat(&start, &frame, KIB);
        expect(failed(&p), "refused at Limits::message", &p)
    }),
    ("a hundred thousand messages of 32 KiB in 46 bytes [9]", 128 * KIB + INFLATE + SMALL, || {
        let bomb = [&[0xc2, ZEROS.len() as u8][..], ZEROS].concat();
        let p = Peer::compressed(Limits::default()).repeat(b"", &bomb, 100_000);
        expect(p.ended.is_none() && p.events == 100_000, "passed on", &p)
    }),
    ("a coded body of 1 GiB in 1 MiB [56]", INFLATE + SMALL, || {
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n";
        let p = Peer::decoding(Limits::default()).repeat(&[head, BOMB].concat(), &[0; KIB], KIB);
        expect(failed(&p) || p.ended.is_some(), "refused at Limits::decoded_free", &p)
    }),
    ("a peer that does not read what is sent [3]", 3 * 17 * MIB + SMALL, || {
        let mut p = Peer::open(Limits::default());
        let payload = [0; 64 * KIB];
        loop {
            let mut cx = Context { now: p.now, random: &mut p.keys };
            match p.session.send_binary(&mut cx, &payload) {
                Ok(()) if p.session.buffered() <= 17 * MIB => {}
                Err(Misuse::Full) => return Ok(()),
                other => return Err(format!("{other:?} with {} bytes", p.session.buffered())),
            }
        }
    }),
    ("endless header fields in a handshake [24, 29]", 64 * KIB + SMALL, || {
        let p = Peer::handshake().repeat(b"HTTP/1.1 101 Go\r\n", b"A: b\r\n", 1_000_000);
        expect(failed(&p), "refused", &p)
    }),
    ("an endless header line [1]", SMALL, || {
        let p = Peer::handshake().repeat(b"HTTP/1.1 101 Go\r\nA: ", b"x", 1_000_000);
        expect(failed(&p), "refused", &p)
    }),
    ("endless interim responses [31]", SMALL, || {
        let p = Peer::stream(Delivery::Raw).repeat(b"", b"HTTP/1.1 103 H\r\nA: b\r\n\r\n", 100_000);
        expect(failed(&p), "refused", &p)
    }),
    ("a raw body of 1 GiB", SMALL, || {
        let p = Peer::stream(Delivery::Raw).repeat(OK, &[b'x'; 64 * KIB], 16 * KIB);
        expect(p.ended.is_none() && p.events > 16 * KIB, "passed on", &p)
    }),
    ("an endless chunk line [39]", SMALL, || {
        let p = Peer::stream(Delivery::Raw).repeat(CHUNKED, b"0", 1_000_000);
        expect(failed(&p), "refused", &p)
    }),
    ("chunk extensions without end [33]", SMALL, || {
        let chunk = [&b"1;a="[..], &[b'x'; 2000], b"\r\nx\r\n"].concat();
        let p = Peer::stream(Delivery::Raw).repeat(CHUNKED, &chunk, 1_000_000);
        expect(failed(&p), "refused at Limits::chunk_overhead", &p)
    }),
    ("endless trailers", 64 * KIB + SMALL, || {
        let start = [CHUNKED, b"0\r\n"].concat();
        let p = Peer::stream(Delivery::Raw).repeat(&start, b"A: b\r\n", 1_000_000);
        expect(failed(&p), "refused", &p)
    }),
    ("an endless line of an event stream, parsed [58]", 3 * MIB + SMALL, || {
        let p = Peer::stream(Delivery::Events).repeat(OK, &[b'x'; KIB], 100_000);
        expect(failed(&p), "refused at Limits::sse_line", &p)
    }),
    ("an endless line of an event stream, as text [58]", 3 * MIB + SMALL, || {
        let p = Peer::stream(Delivery::Blocks).repeat(OK, &[b'x'; KIB], 100_000);
        expect(failed(&p), "refused at Limits::sse_line", &p)
    }),
    ("a million short data lines, parsed [58]", 3 * MIB + SMALL, || {
        let p = Peer::stream(Delivery::Events).repeat(OK, b"data: x\n", 1_000_000);
        expect(failed(&p), "refused at Limits::sse_block", &p)
    }),
    ("a million comment lines, parsed", SMALL, || {
        let p = Peer::stream(Delivery::Events).repeat(OK, b": x\n", 1_000_000);
        expect(p.ended.is_none() && p.events == 1, "ignored", &p)
    }),
    ("a million comment lines, as text", 3 * MIB + SMALL, || {
        let p = Peer::stream(Delivery::Blocks).repeat(OK, b": x\n", 1_000_000);
        expect(failed(&p), "refused at Limits::sse_block", &p)
    }),
    ("a million small events, parsed", SMALL, || {
        let p = Peer::stream(Delivery::Events).repeat(OK, b"id: 1\ndata: x\n\n", 1_000_000);
        expect(p.ended.is_none() && p.events == 1_000_001, "passed on", &p)
    }),
];

/// The options, the silence after the messages, and the least and most bytes that the session keeps
/// then. Without the lower bound, a row in which nothing was compressed would pass, too.
const OWNED: &[(&str, fn() -> Compression, u64, [usize; 2])] = &[
    // The message is large, so the library gets 84 KiB more; and the next message may refer to 32
    // KiB.
    ("the window of 15 bits", Compression::default, 0, [436 * KIB, 456 * KIB]),
    ("of 14", || sends_with(14), 0, [360 * KIB, 376 * KIB]),
    ("of 13", || sends_with(13), 0, [322 * KIB, 336 * KIB]),
    ("of 12", || sends_with(12), 0, [303 * KIB, 316 * KIB]),
    ("15 bits, and nothing is sent for a second", Compression::default, 1, [72 * KIB, 84 * KIB]),
    ("15 bits, and nothing is sent for a minute", Compression::default, 60, [40 * KIB, 52 * KIB]),
    (
        "no takeover",
        || Compression { client_takeover: false, server_takeover: false, ..Compression::default() },
        0,
        [0, 4 * KIB],
    ),
];

fn sends_with(client_window: u8) -> Compression {
    Compression { client_window, ..Compression::default() }
}

/// A session that has sent 64 KiB of text and received 32, both compressed, and has been silent for
/// this many seconds.
fn used(wanted: Compression, quiet: u64) -> Result<Peer, String> {
    let text: String = (0..6000).map(|n| format!("{{\"n\":{n}}},")).collect();
    let mut p = Peer::compressed_as(Limits::default(), wanted);
    let mut cx = Context { now: p.now, random: &mut p.keys };
    p.session.send_text(&mut cx, &text).map_err(|e| e.to_string())?;
    let sent = p.session.outgoing().len();
    if sent == 0 || sent > text.len() / 2 {
        return Err(format!("{} bytes became {sent}", text.len()));
    }
    p.session.sent(p.now, sent);
    p.give(&[&[0xc2, ZEROS.len() as u8][..], ZEROS].concat(), &mut Vec::new());
    expect(p.events == 1 && p.ended.is_none(), "received", &p)?;
    let mut cx = Context { now: p.now + Duration::from_secs(quiet), random: &mut p.keys };
    while p.session.on_deadline(&mut cx).is_some() {}
    Ok(p)
}

/// The memory of such a session beside another one of its thread, which has taken what the thread
/// kept.
fn owned(wanted: Compression, quiet: u64) -> Result<usize, String> {
    let first = used(wanted, quiet)?;
    let before = NOW.load(Relaxed);
    let second = used(wanted, quiet)?;
    let owned = NOW.load(Relaxed).saturating_sub(before);
    drop((first, second));
    Ok(owned)
}

fn main() {
    let mut bad = 0;
    println!("{:>10}  {:>10}  what a peer does", "peak", "bound");
    for (name, bound, run) in ROWS {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let outcome = run();
        let peak = PEAK.load(Relaxed) - before;
        println!("{peak:>10}  {bound:>10}  {name}");
        if let Err(text) = outcome {
            bad += 1;
            println!("            FAILED: {text}");
        }
        if peak > *bound {
            bad += 1;
            println!("            FAILED: more than the bound");
        }
    }
    println!("\n{:>10}  {:>10}  after compressed messages both ways", "owned", "bound");
    for (name, wanted, quiet, [least, most]) in OWNED {
        match owned(wanted(), *quiet) {
            Ok(owned) => {
                println!("{owned:>10}  {most:>10}  {name}");
                if !(*least..=*most).contains(&owned) {
                    bad += 1;
                    println!("            FAILED: not within {least} to {most}");
                }
            }
            Err(text) => {
                bad += 1;
                println!("            FAILED: {name}: {text}");
            }
        }
    }
    std::process::exit(i32::from(bad > 0));
}
