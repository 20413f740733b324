//! The protocol core from outside: scripts, laws under random input, and what scripts cannot say.
//!
//! A script in `tests/scripts` starts with a comment that names section and rule. Its lines:
//!
//! ```text
//! open [hold] [trace] [message=10] [ping=30s] …   an open session: zero mask key, clock at 0
//!     … deflate [server_alone] [client_window=9]  where compression was agreed on
//! handshake [protocol=a] [deadline=30s] …         one before its 101; the request is taken as sent
//! peer BYTES | peer EOF                           from the server
//! send text BYTES | send binary BYTES | ping BYTES | close [1000 "reason"] | answer
//!     … -> NotOpen                                what it is refused with
//! advance 20s | sleep 20s                         with and without looking at deadlines
//! stall | take 7 | flow                           the kernel takes nothing, so much, all again
//! wrote BYTES | wrote nothing                     exactly what went out since the last `wrote`
//! event … | no event                              the next event; that there is none
//! due 20s | due never                             the deadline, from now
//! ```
//!
//! BYTES are hex and "quoted" pieces, `*9` repeats the piece before it. Events and output have to
//! be named before anything but a further `peer` follows, and at the end. Each script runs in
//! every [`Mode`], and one with the line `# 64 bits` only where a length may have so many; `# 32
//! bits` alike, and `# feature deflate` where that is built.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moonwire::Limits;
use moonwire::proto::*;

/// How the bytes of a script travel. None may make a difference.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Whole,
    Bytewise,
    /// `peer` lines with nothing between them come as one.
    Glued,
    /// One byte is sent at a time.
    Window,
    /// Garbage follows the final event.
    Garbage,
    /// Unfinished frames are read into place.
    InPlace,
}

const MODES: [Mode; 6] =
    [Mode::Whole, Mode::Bytewise, Mode::Glued, Mode::Window, Mode::Garbage, Mode::InPlace];

/// Frames good and bad, a close among them.
const GARBAGE: &[u8] = b"\x89\x01A\x81\x01A\x88\x02\x03\xE8\xFF\x81\xFF\0GET / HTTP/1.1\r\n\r\n";

/// Mask keys that count up from the first, or stay zero.
struct Keys(u32);

impl Random for Keys {
    fn key(&mut self) -> [u8; 4] {
        let key = self.0;
        self.0 += u32::from(key != 0);
        key.to_be_bytes()
    }
}

/// An event as scripts name it: its kind, and the payload that it has.
type Told = (String, Vec<u8>);

fn told(event: &Event<'_>) -> Told {
    let frame = |f: &CloseFrame| match f.code {
        None => "code=none".to_owned(),
        Some(code) if f.reason.is_empty() => format!("code={code}"),
        Some(code) => format!("code={code} reason={:?}", f.reason),
    };
    let plain = |text: String| (text, vec![]);
    match event {
        Event::Opened(o) => {
            let protocol = o.protocol.as_deref().unwrap_or("none");
            plain(format!("opened {protocol}{}", compression(o)))
        }
        Event::Text(text) => {
            assert_eq!(text.as_str().as_bytes(), text.as_bytes());
            ("text".to_owned(), text.as_bytes().to_vec())
        }
        Event::Binary(data) => ("binary".to_owned(), data.to_vec()),
        Event::Pong(data) => ("pong".to_owned(), data.to_vec()),
        Event::Closing(f) => plain(format!("closing {}", frame(f))),
        Event::Closed(Closed::Clean(f)) => plain(format!("closed clean {}", frame(f))),
        Event::Closed(Closed::Lost(lost)) => plain(format!("closed lost {lost:?}")),
        Event::Closed(Closed::Failed(Failure::Handshake(HandshakeError::Status(r)))) => {
            let body = String::from_utf8_lossy(&r.body);
            plain(format!("closed no {} {} {body:?}", r.status, r.reason))
        }
        Event::Closed(Closed::Failed(Failure::Handshake(e))) => plain(format!("closed no {e:?}")),
        Event::Closed(Closed::Failed(Failure::Violation(v))) => {
            plain(format!("closed failed {} {v:?}", v.close_code()))
        }
        // What streams tell.
        other => panic!("{other:?}"),
    }
}

/// What was agreed on.
#[cfg(feature = "deflate")]
fn compression(opened: &Opened) -> String {
    let Some(agreed) = opened.compression else { return String::new() };
    let alone = |takeover, who| if takeover { "" } else { who };
    let server = alone(agreed.server_takeover, " server_alone");
    let client = alone(agreed.client_takeover, " client_alone");
    format!(" deflate {} {}{server}{client}", agreed.client_window, agreed.server_window)
}

#[cfg(not(feature = "deflate"))]
fn compression(_: &Opened) -> String {
    String::new()
}

/// A session and the driver around it, which keeps the law.
struct Sim {
    session: Session,
    keys: Keys,
    now: Instant,
    /// What `receive` did not take.
    tail: Vec<u8>,
    events: VecDeque<Told>,
    written: Vec<u8>,
    closed: bool,
}

impl Sim {
    fn new(settings: Settings) -> Sim {
        let now = Instant::now();
        Sim::of(Session::opened(settings, now), now)
    }

    fn of(session: Session, now: Instant) -> Sim {
        let (tail, events, written) = Default::default();
        Sim { session, keys: Keys(0), now, tail, events, written, closed: false }
    }

    /// Calls the session with a context.
    fn with<T>(&mut self, call: impl FnOnce(&mut Session, &mut Context<'_>) -> T) -> T {
        call(&mut self.session, &mut Context { now: self.now, random: &mut self.keys })
    }

    fn tell(&mut self, event: Option<Event<'_>>) {
        let Some(event) = event else { return };
        let (kind, payload) = told(&event);
        // No script names this.
        let kind = if self.closed { format!("after the end: {kind}") } else { kind };
        self.closed |= matches!(event, Event::Closed(_));
        self.events.push_back((kind, payload));
    }

    /// Gives what is left until no event comes.
    fn pump(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut at = 0;
        loop {
            let (used, event) = self.with(|session, cx| session.receive(cx, &tail[at..]));
            assert!(used <= tail.len() - at, "took {used} of {} bytes", tail.len() - at);
            at += used;
            let more = event.is_some();
            self.tell(event);
            if !more {
                break;
            }
        }
        self.tail = tail;
        self.tail.drain(..at);
    }

    /// Bytes from the peer, straight into the session's own memory where it asks for that.
    fn feed(&mut self, mut bytes: &[u8], in_place: bool) {
        while let Some(space) = self.session.space().filter(|_| in_place && !bytes.is_empty()) {
            let n = space.want.min(bytes.len());
            self.fill(&bytes[..n]);
            bytes = &bytes[n..];
        }
        self.drained();
        self.tail.extend_from_slice(bytes);
        self.pump();
    }

    /// Bytes from the peer that the session wants in its own memory.
    fn fill(&mut self, bytes: &[u8]) {
        let space = self.session.space().unwrap();
        assert!((1..=space.want).contains(&bytes.len()));
        assert!(space.buf.capacity() - space.buf.len() >= space.want);
        space.buf.extend_from_slice(bytes);
        let event = self.with(|session, cx| session.filled(cx, bytes.len()));
        self.tell(event);
    }

    /// Nothing more is there.
    fn drained(&mut self) {
        let event = self.with(|session, cx| session.drained(cx));
        self.tell(event);
    }

    fn eof(&mut self) {
        let event = self.session.receive_eof();
        self.tell(event);
        self.pump();
    }

    /// The kernel takes up to `n` bytes, `step` at a time.
    fn take(&mut self, mut n: usize, step: usize) {
        while n > 0 && !self.session.outgoing().is_empty() {
            let part = self.session.outgoing().len().min(step).min(n);
            self.written.extend_from_slice(&self.session.outgoing()[..part]);
            self.session.sent(self.now, part);
            n -= part;
        }
    }

    /// Lets time pass, waking at each deadline.
    fn advance(&mut self, by: Duration) {
        let to = self.now + by;
        for wakes in 0.. {
            assert!(wakes < 1000, "the deadline does not move");
            let Some(at) = self.session.deadline().filter(|&at| at <= to) else { break };
            self.now = self.now.max(at);
            let event = self.with(|session, cx| session.on_deadline(cx));
            self.tell(event);
            self.pump();
        }
        self.now = to;
    }

    /// After the final event nothing is told, sent or waited for, whatever happens.
    fn poke(&mut self) {
        self.feed(GARBAGE, true);
        self.eof();
        self.advance(Duration::from_secs(3600));
        assert!(self.tail.is_empty(), "garbage is not taken");
        assert_eq!([self.text("late"), self.close(1000)], [const { Err(Misuse::NotOpen) }; 2]);
        self.with(|session, cx| session.answer_close(cx));
        assert_eq!((self.session.deadline(), self.session.is_open()), (None, false));
    }

    fn text(&mut self, text: &str) -> Result<(), Misuse> {
        self.with(|session, cx| session.send_text(cx, text))
    }

    fn close(&mut self, code: u16) -> Result<(), Misuse> {
        self.with(|session, cx| session.close(cx, &CloseFrame::new(code, "")))
    }
}

// Scripts.

/// Two hex digits.
fn hex(pair: &[u8]) -> Option<u8> {
    let digit = |i: usize| pair.get(i).and_then(|&c| char::from(c).to_digit(16));
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// `89 05 "Hello" 00*3` as bytes.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let (mut all, mut piece, mut rest) = (vec![], vec![], text.trim_start());
    while let Some(c) = rest.chars().next() {
        let (new, end) = match c {
            '"' => {
                let end = 1 + rest[1..].find('"').ok_or("quote without end")?;
                (rest[1..end].replace("\\r\\n", "\r\n").into_bytes(), end + 1)
            }
            '*' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit());
                let end = end.map_or(rest.len(), |n| n + 1);
                let n: usize = rest[1..end].parse().map_err(|_| "no number behind *")?;
                (piece.repeat(n.checked_sub(1).ok_or("*0")?), end)
            }
            _ => {
                let end = rest.find([' ', '"', '*']).unwrap_or(rest.len());
                let pairs = rest.as_bytes()[..end].chunks(2);
                (pairs.map(hex).collect::<Option<_>>().ok_or(format!("{rest} is no hex"))?, end)
            }
        };
        all.extend_from_slice(&new);
        (piece, rest) = (new, rest[end..].trim_start());
    }
    Ok(all)
}

fn time(text: &str) -> Result<Duration, String> {
    let number = |n: &str| n.parse().map_err(|_| format!("{text} is no time"));
    match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(n), _) => Ok(Duration::from_millis(number(n)?)),
        (None, Some(n)) => Ok(Duration::from_secs(number(n)?)),
        _ if text == "max" => Ok(Duration::MAX),
        _ => Err(format!("{text} is no time")),
    }
}

/// What stands behind `open` and `handshake`.
struct Start<'a> {
    settings: Settings,
    protocol: Option<&'a str>,
    deadline: Option<Duration>,
    #[cfg(feature = "deflate")]
    deflate: Option<Compression>,
}

/// All is compressed, whatever its size.
#[cfg(feature = "deflate")]
fn wanted() -> Compression {
    Compression { threshold: 0, ..Compression::default() }
}

#[cfg(feature = "deflate")]
impl Start<'_> {
    /// An option of what compresses.
    fn deflate(&mut self, key: &str, number: usize) -> bool {
        let wanted = self.deflate.get_or_insert_with(wanted);
        match key {
            "deflate" => {}
            "server_alone" => wanted.server_takeover = false,
            "client_alone" => wanted.client_takeover = false,
            "client_window" => wanted.client_window = number as u8,
            "server_window" => wanted.server_window = number as u8,
            "threshold" => wanted.threshold = number,
            "level" => wanted.level = number as u8,
            _ => return false,
        }
        true
    }
}

#[cfg(not(feature = "deflate"))]
impl Start<'_> {
    fn deflate(&mut self, _: &str, _: usize) -> bool {
        false
    }
}

fn options(words: &str, mode: Mode) -> Result<Start<'_>, String> {
    let (settings, mut limits) = (Settings::default(), Limits::default());
    let mut start = Start {
        settings,
        protocol: None,
        deadline: None,
        #[cfg(feature = "deflate")]
        deflate: None,
    };
    if mode == Mode::InPlace {
        limits.in_place = 0;
    }
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || match value {
            "max" => Ok(usize::MAX),
            _ => value.parse::<usize>().map_err(|_| format!("{word}?")),
        };
        match key {
            "hold" => start.settings.hold_close = true,
            "trace" => start.settings.trace = true,
            "ping" => start.settings.ping_interval = Some(time(value)?),
            "message" => limits.message = number()?,
            "fragments" => limits.fragments = number()?.try_into().unwrap_or(u32::MAX),
            "pong_queue" => limits.pong_queue = number()?,
            "send_queue" => limits.send_queue = number()?,
            "in_place" => limits.in_place = number()?,
            "interim" => limits.interim = number()? as u32,
            "close" => limits.close = time(value)?,
            "pong" => limits.pong = time(value)?,
            "stall" => limits.stall = time(value)?,
            "refusal" => limits.refusal = number()?,
            "ping_floor" => limits.ping_floor = time(value)?,
            "deflate_idle" => limits.deflate_idle = time(value)?,
            "protocol" => start.protocol = Some(value),
            "deadline" => start.deadline = Some(time(value)?),
            _ if start.deflate(key, number().unwrap_or_default()) => {}
            _ => return Err(format!("{word}?")),
        }
    }
    start.settings.limits = Arc::new(limits);
    Ok(start)
}

/// The sample of RFC 6455 §1.3, so that its accept value is the right one.
const NONCE: [u8; 16] = *b"the sample nonce";

fn handshake(start: Start<'_>) -> Sim {
    let now = Instant::now();
    let mut request = Request::new(Url::parse("ws://server.example/chat").unwrap());
    if let Some(protocol) = start.protocol {
        request.protocol(protocol).unwrap();
    }
    #[cfg(feature = "deflate")]
    if let Some(wanted) = start.deflate {
        request.compression(wanted);
    }
    let deadline = start.deadline.map(|d| now + d);
    Sim::of(Session::new(&request, start.settings, NONCE, deadline), now)
}

fn open(start: Start<'_>) -> Sim {
    #[cfg(feature = "deflate")]
    if let Some(wanted) = start.deflate {
        let now = Instant::now();
        return Sim::of(Session::opened_compressed(start.settings, now, wanted), now);
    }
    Sim::new(start.settings)
}

struct Run<'a> {
    mode: Mode,
    sim: Sim,
    stalled: bool,
    /// The lines at which the final event comes: written in mode `Whole`, read in `Garbage`.
    ends: &'a mut BTreeSet<usize>,
}

impl Run<'_> {
    fn step(&self) -> usize {
        if self.mode == Mode::Window { 1 } else { usize::MAX }
    }

    /// The case so far must have named all that happened.
    fn settled(&self) -> Result<(), String> {
        if let Some((kind, payload)) = self.sim.events.front() {
            return Err(format!("event not named: {kind} {}", shown(payload)));
        }
        let out = &self.sim.written;
        if out.is_empty() { Ok(()) } else { Err(format!("output not named: {}", shown(out))) }
    }

    fn line(&mut self, at: usize, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "wrote" => return self.wrote(rest),
            "event" => return self.event(rest),
            "no" => return self.sim.events.front().map_or(Ok(()), |e| Err(format!("{e:x?}"))),
            "due" => {
                let due = self.sim.session.deadline().map(|at| at - self.sim.now);
                let want = if rest == "never" { None } else { Some(time(rest)?) };
                return if due == want { Ok(()) } else { Err(format!("due in {due:?}")) };
            }
            _ => {}
        }
        let (was_closed, waited) = (self.sim.closed, self.sim.session.buffered());
        let garbage = self.mode == Mode::Garbage && self.ends.contains(&at);
        match word {
            "open" => (self.sim, self.stalled) = (open(options(rest, self.mode)?), false),
            "handshake" => {
                (self.sim, self.stalled) = (handshake(options(rest, self.mode)?), false);
                self.sim.take(usize::MAX, 1);
                self.sim.written.clear();
            }
            "peer" if rest == "EOF" => self.sim.eof(),
            "peer" => self.peer(bytes(rest)?, garbage),
            "advance" => self.sim.advance(time(rest)?),
            "sleep" => self.sim.now += time(rest)?,
            "answer" => self.sim.with(|session, cx| session.answer_close(cx)),
            "stall" => self.stalled = true,
            "flow" => self.stalled = false,
            "take" => self.sim.take(rest.parse().map_err(|_| "take what?")?, self.step()),
            _ => self.ask(word, rest)?,
        }
        self.sim.pump();
        if !self.stalled {
            self.sim.take(usize::MAX, self.step());
        } else if self.sim.session.buffered() > waited {
            // A driver tries to write what is new.
            self.sim.session.sent(self.sim.now, 0);
        }
        if self.mode == Mode::Whole && self.sim.closed && !was_closed {
            self.ends.insert(at);
        }
        if garbage {
            self.sim.poke();
        }
        Ok(())
    }

    fn peer(&mut self, mut bytes: Vec<u8>, garbage: bool) {
        if garbage {
            bytes.extend_from_slice(GARBAGE);
        }
        let step = match self.mode {
            Mode::Bytewise => 1,
            Mode::InPlace => 7,
            _ => bytes.len().max(1),
        };
        bytes.chunks(step).for_each(|chunk| self.sim.feed(chunk, self.mode == Mode::InPlace));
    }

    /// What the owner asks for, and whether it gets it.
    fn ask(&mut self, word: &str, rest: &str) -> Result<(), String> {
        let (rest, want) = match rest.split_once("-> ") {
            Some((rest, misuse)) => (rest.trim(), format!("Err({misuse})")),
            None => (rest, "Ok(())".to_owned()),
        };
        let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let utf8 = |text| String::from_utf8(bytes(text)?).map_err(|e| e.to_string());
        let sim = &mut self.sim;
        let got = match (word, first) {
            ("send", "text") => sim.text(&utf8(behind)?),
            ("send", "binary") => {
                let data = bytes(behind)?;
                sim.with(|session, cx| session.send_binary(cx, &data))
            }
            #[cfg(feature = "deflate")]
            ("send", "text-plain") => {
                let text = utf8(behind)?;
                sim.with(|session, cx| session.send_text_plain(cx, &text))
            }
            #[cfg(feature = "deflate")]
            ("send", "binary-plain") => {
                let data = bytes(behind)?;
                sim.with(|session, cx| session.send_binary_plain(cx, &data))
            }
            ("ping", _) => {
                let data = bytes(rest)?;
                sim.with(|session, cx| session.ping(cx, &data))
            }
            ("close", code) => {
                let code = Some(code).filter(|code| !["", "none"].contains(code));
                let code = code.map(str::parse).transpose().map_err(|_| "no code")?;
                let frame = CloseFrame { code, reason: utf8(behind)? };
                sim.with(|session, cx| session.close(cx, &frame))
            }
            _ => return Err("no such line".to_owned()),
        };
        let got = format!("{got:?}");
        if got == want { Ok(()) } else { Err(got) }
    }

    fn wrote(&mut self, rest: &str) -> Result<(), String> {
        let want = if rest == "nothing" { vec![] } else { bytes(rest)? };
        let got = std::mem::take(&mut self.sim.written);
        if got == want { Ok(()) } else { Err(format!("wrote {}", shown(&got))) }
    }

    fn event(&mut self, rest: &str) -> Result<(), String> {
        let (kind, payload) = match rest.split_once(' ').unwrap_or((rest, "")) {
            (kind @ ("text" | "binary" | "pong"), payload) => (kind, bytes(payload)?),
            _ => (rest, vec![]),
        };
        match self.sim.events.pop_front() {
            Some((k, p)) if k == kind && p == payload => Ok(()),
            Some((k, p)) => Err(format!("event {k} {}", shown(&p))),
            None => Err("no event".to_owned()),
        }
    }
}

/// The start of `bytes` in hex.
fn shown(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes: ", bytes.len());
    bytes.iter().take(200).for_each(|b| write!(text, "{b:02x}").unwrap());
    text
}

fn run(text: &str, mode: Mode, ends: &mut BTreeSet<usize>) -> Result<(), String> {
    let sim = Sim::new(Settings::default());
    let mut run = Run { mode, sim, stalled: false, ends };
    let passive = ["wrote", "event", "no ", "due", "take", "stall", "flow"];
    let passive = |line: &str| passive.iter().any(|word| line.starts_with(word));
    let lines = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim()));
    let mut lines = lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#')).peekable();
    let mut glued = String::new();
    let mut after_peer = false;
    while let Some((at, line)) = lines.next() {
        let place = |e: String| format!("line {at}, {mode:?}: {line}\n    but {e}");
        let is_peer = line.starts_with("peer ") && line != "peer EOF";
        if !(passive(line) || is_peer && after_peer) {
            run.settled().map_err(place)?;
        }
        after_peer = is_peer;
        if mode == Mode::Glued && is_peer {
            glued = format!("{glued} {}", &line[5..]);
            let next =
                lines.peek().is_some_and(|(_, l)| l.starts_with("peer ") && *l != "peer EOF");
            if !next {
                let line = format!("peer {}", std::mem::take(&mut glued).trim());
                run.line(at, &line).map_err(place)?;
            }
            continue;
        }
        run.line(at, line).map_err(place)?;
    }
    run.stalled = false;
    run.sim.take(usize::MAX, 1);
    run.settled().map_err(|e| format!("at the end, {mode:?}: {e}"))
}

/// Name and text of each script.
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
        let mut ends = BTreeSet::new();
        for mode in MODES {
            if let Err(e) = run(text, mode, &mut ends) {
                writeln!(failed, "{name}, {e}").unwrap();
                break;
            }
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(scripts.len() >= 60, "only {} scripts", scripts.len());
}

/// One variant per rule: the list is read from the source, so that a new one is missed here.
#[test]
fn every_violation_has_a_script() {
    let source = include_str!("../src/proto/ws/mod.rs");
    let list = source.split("pub enum Violation {").nth(1).unwrap().split('}').next().unwrap();
    let name = |text: &str| text.trim().split(['(', ',']).next().unwrap().to_owned();
    let mut missing: BTreeSet<String> =
        list.lines().filter(|l| l.trim().starts_with(char::is_uppercase)).map(name).collect();
    assert!(missing.len() >= 16, "{missing:?}");
    // Nothing that a server sends can be that; `frame.rs` tests it.
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
        let error = run(script, Mode::Whole, &mut BTreeSet::new()).unwrap_err();
        assert!(error.contains(why), "{script}: {error}");
    }
}

// What scripts cannot say.

/// RFC 6455 §5.2: exactly nine first bytes are legal; any other fails at once, without a length.
#[test]
fn nine_first_bytes() {
    let legal: Vec<u8> = (0..=255)
        .filter(|&first| {
            let mut sim = Sim::new(Settings::default());
            // A message is under way, so that a continuation may come; what starts one may not.
            if first & 15 == 0 {
                sim.feed(b"\x01\0", false);
            }
            sim.feed(&[first], false);
            !sim.closed
        })
        .collect();
    assert_eq!(legal, [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]);
}

/// RFC 6455 §7.4: of all codes exactly these may travel, both ways.
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

/// Takes masked frames apart: mask key, opcode and unmasked payload of each.
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

/// RFC 6455 §5.3, §10.3; faults of others, rows 18, 22 and 23: each frame of any kind has the next
/// key, what a script chose does not stand on the wire, and what arrives is what was given.
#[test]
fn each_frame_is_masked_with_a_fresh_key() {
    let mut sim = Sim::new(Settings::default());
    sim.keys = Keys(0x0102_0304);
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

/// Faults of others, row 2: a declared length alone is no reason to allocate.
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
            // In turn, since a driver may do either.
            in_place = !in_place;
            sim.feed(&piece[..n], in_place);
            arrived += n;
        }
        if let Some((_, payload)) = sim.events.pop_front() {
            assert_eq!((payload.len(), len), (arrived, arrived));
        }
    }
}

/// What a frame lacks is read in place from `Limits::in_place` bytes on. In any case nothing of it is
/// left with the caller.
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
    // What is missing of a frame, however little, once its message has so many bytes.
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

/// RFC 6455 §8.1: a text that is read in place is looked at with its last byte, or when nothing more
/// is there. Told the same whether it was looked at before, in part, or not at all.
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
        // The head comes with `first` bytes, then reads bring at most so many, and after every
        // `pause` of them nothing more is there (0: that never happens).
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
                        let told = !sim.events.is_empty();
                        assert!(!told || at == text.len(), "{name}: told at {at}");
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
    // What is wrong in a fragment is found before what is wrong behind it.
    let mut sim = Sim::new(settings);
    sim.feed(b"\x01\x02a", false);
    sim.fill(&[0xFF]);
    sim.tail.push(0xFF);
    sim.pump();
    assert!(sim.events.pop_front().unwrap().0.contains("NotUtf8"));
}

/// Faults of others, row 15: memory for a message of many small fragments is not moved for each.
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

/// RFC 6455 §4.1: an answer that comes before the request was written in full opens the
/// connection, and the rest of the request still goes out before any frame.
#[test]
fn an_early_answer_loses_no_byte_of_the_request() {
    let mut sim = handshake(options("", Mode::Whole).unwrap());
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

/// What an observer is told: direction, FIN, opcode and length of each frame.
fn notes(sim: &mut Sim) -> Vec<(Direction, bool, Opcode, usize)> {
    let notes = sim.session.notes().into_iter().flatten();
    let frame = |note: &mut Note| match *note {
        Note::Frame { direction, fin, opcode, len, .. } => Some((direction, fin, opcode, len)),
        _ => None,
    };
    notes.filter_map(frame).collect()
}

/// A frame is noted when it goes out: of the pongs that a full queue holds back, only the one
/// that is sent.
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

/// A frame as a server sends it.
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

/// What a server may send, the events that it has to give and the answers.
#[derive(Default)]
struct Traffic {
    bytes: Vec<u8>,
    events: Vec<Told>,
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
            // Whatever follows is nothing.
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

/// Gives `bytes` in pieces of random sizes.
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

/// Whole or in pieces: the same events and output.
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

/// Words that are alike, and some noise.
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

/// RFC 7692: what one end sends, in fragments of any size and with other frames between them, the other
/// end tells, however it is cut; and so does one that sees the same with a byte changed.
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
        let told = |rng: &mut Rng, bytes: &[u8]| {
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
        let got = Vec::from(told(&mut rng, &bytes));
        if limit == usize::MAX || want.iter().all(|(_, data)| data.len() <= limit) {
            assert!(got == want, "seed {seed}");
        }
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        told(&mut rng, &bytes);
    }
    assert!(count > 200, "{count}");
}

/// Bytes that begin well: traffic with a few bytes changed, or what only looks like frames.
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
            let (told, out) = (sim.events.len(), sim.session.outgoing().len());
            sim.poke();
            assert_eq!((sim.events.len(), sim.session.outgoing().len()), (told, out));
        }
    }
    assert!(ends.len() > 20, "{ends:?}");
}

/// The order of events: `(text | binary | pong)* closing? closed`, however the owner acts and
/// whatever arrives; and what waits to be sent stays bounded (faults of others, rows 3, 20, 21).
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
            // One message over the bound, a close frame, and what keep-alive adds.
            assert!(sim.session.buffered() <= QUEUE + 106 + 131 + 60 * 6, "seed {seed}");
            assert!(sim.tail.len() <= 65_536 + 14, "seed {seed}");
        }
        let rank = |(kind, _): &Told| match kind.split(' ').next() {
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
