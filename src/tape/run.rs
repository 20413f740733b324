//! Runs a tape: gives its input to the core, and compares the results.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::script::{Kind, Start};
use super::sim::{GARBAGE, Sim};
use super::text::{bytes, split, start, time};
use crate::proto::{CloseFrame, Misuse, Settings};

/// How the bytes of a tape are cut. The results are the same in every mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As in the lines.
    Whole,
    /// Byte by byte.
    Bytewise,
    /// Consecutive `peer` lines are given as one.
    Glued,
    /// One byte is sent at a time.
    Window,
    /// Garbage follows the final event.
    Garbage,
    /// Unfinished frames are read into the session's own buffer.
    InPlace,
    /// In pieces of random sizes, which this seed determines.
    Cuts(u64),
}

impl Mode {
    /// All modes but [`Mode::Cuts`]. [`Mode::Garbage`] needs a run in [`Mode::Whole`] before.
    pub const ALL: [Mode; 6] =
        [Mode::Whole, Mode::Bytewise, Mode::Glued, Mode::Window, Mode::Garbage, Mode::InPlace];
}

/// A line of a tape that differs from the result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line, counted from 1; 0 is the end.
    pub line: usize,
    /// The line itself.
    pub text: String,
    /// The mode of the run.
    pub mode: Mode,
    /// The actual result.
    pub why: String,
    /// The section of the rule in question, if known.
    pub section: Option<&'static str>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "at the end, {:?}: {}", self.mode, self.why)?,
            line => {
                let (mode, text) = (self.mode, &self.text);
                write!(f, "line {line}, {mode:?}: {text}\n    but {}", self.why)?;
            }
        }
        match self.section {
            Some(section) => write!(f, "\n    ({section})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Difference {}

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Connections.
    pub connections: usize,
    /// Events that were equal to those of the tape.
    pub events: usize,
    /// Sent bytes that were equal to those of the tape.
    pub sent: usize,
    /// Received bytes.
    pub came: usize,
    /// Gaps, behind which a connection cannot be replayed: the line, and the reason.
    pub gaps: Vec<(usize, String)>,
}

/// Runs a tape in one mode. `ends` are the lines with a final event: [`Mode::Whole`] fills the set,
/// [`Mode::Garbage`] uses it.
///
/// ```
/// use std::collections::BTreeSet;
/// use moonwire::tape::{Mode, run};
///
/// let tape = "open\npeer 8102 \"hi\"\nevent text \"hi\"\npeer 8900\nwrote 8a80 00000000";
/// let outcome = run(tape, Mode::Bytewise, &mut BTreeSet::new())?;
/// assert_eq!((outcome.events, outcome.sent), (1, 6));
/// # Ok::<(), moonwire::tape::Difference>(())
/// ```
///
/// # Errors
///
/// [`Difference`]: the first line that differs, or that is no line of a tape.
pub fn run(text: &str, mode: Mode, ends: &mut BTreeSet<usize>) -> Result<Outcome, Difference> {
    let (cases, ahead_of, outcome) = Default::default();
    let mut run = Run { mode, cases, at: 0, ends, ahead: ahead_of, outcome };
    run.cases.insert(0, Case::new(Sim::new(Settings::default())));
    let lines = text.lines().enumerate().map(|(i, l)| (i + 1, l.trim()));
    let lines: Vec<_> = lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#')).collect();
    run.ahead = ahead(&lines);
    let mut lines = lines.into_iter().peekable();
    let mut glued = String::new();
    while let Some((at, line)) = lines.next() {
        let place = |why: String| {
            let section = section(line, &why);
            Difference { line: at, text: shortened(line), mode, why, section }
        };
        let is_peer = is_bytes(line);
        run.look(line, is_peer).map_err(place)?;
        if mode == Mode::Glued && is_peer {
            glued = format!("{glued} {}", &line[5..]);
            if !lines.peek().is_some_and(|(_, l)| is_bytes(l)) {
                let line = format!("peer {}", std::mem::take(&mut glued).trim());
                run.line(at, &line).map_err(place)?;
            }
            continue;
        }
        run.line(at, line).map_err(place)?;
    }
    for case in run.cases.values_mut().filter(|case| !case.skips) {
        if !case.is_tape {
            case.sim.take(usize::MAX, 1);
        }
        case.settled().map_err(|why| {
            let section = section("", &why);
            Difference { line: 0, text: String::new(), mode, why, section }
        })?;
    }
    Ok(run.outcome)
}

/// Runs a tape in every mode, and with this many random cuts.
///
/// # Errors
///
/// As [`run`]; it names the mode.
pub fn run_all(text: &str, cuts: u64) -> Result<Outcome, Difference> {
    let mut ends = BTreeSet::new();
    let mut outcome = Outcome::default();
    for mode in Mode::ALL.into_iter().chain((1..=cuts).map(Mode::Cuts)) {
        let this = run(text, mode, &mut ends)?;
        if mode == Mode::Whole {
            outcome = this;
        }
    }
    Ok(outcome)
}

/// For each `peer` line, the bytes of the `more` lines that came with the same read.
fn ahead(lines: &[(usize, &str)]) -> BTreeMap<usize, Vec<u8>> {
    let (mut all, mut peers) = (BTreeMap::<usize, Vec<u8>>::new(), BTreeMap::new());
    let mut id = "";
    for &(at, line) in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "on" => id = rest,
            "open" | "handshake" | "stream" => _ = peers.remove(id),
            "peer" if is_bytes(line) => _ = peers.insert(id, at),
            "more" => {
                // Invalid bytes are reported at their own line.
                if let (Some(peer), Ok(bytes)) = (peers.get(id), bytes(rest)) {
                    all.entry(*peer).or_default().extend(bytes);
                }
            }
            _ => {}
        }
    }
    all
}

/// Whether the line has bytes from the peer.
fn is_bytes(line: &str) -> bool {
    line.starts_with("peer ") && !["peer EOF", "peer CUT"].contains(&line)
}

/// The line, cut to a length for errors: it may hold a whole message.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// One connection of a tape.
struct Case {
    sim: Sim,
    start: Option<Start>,
    is_tape: bool,
    stalled: bool,
    /// A gap has come.
    skips: bool,
    after_peer: bool,
}

impl Case {
    fn new(sim: Sim) -> Case {
        Case { sim, start: None, is_tape: false, stalled: false, skips: false, after_peer: false }
    }

    /// Fails if there is an event or output that no line has named.
    fn settled(&self) -> Result<(), String> {
        if let Some((kind, payload)) = self.sim.events.front() {
            return Err(format!("event not named: {kind} {}", start(payload)));
        }
        let out = &self.sim.written;
        if out.is_empty() { Ok(()) } else { Err(format!("output not named: {}", start(out))) }
    }
}

struct Run<'a> {
    mode: Mode,
    cases: BTreeMap<u64, Case>,
    /// The connection of the current line.
    at: u64,
    ends: &'a mut BTreeSet<usize>,
    /// Bytes that come with those of a line, and are parsed later.
    ahead: BTreeMap<usize, Vec<u8>>,
    outcome: Outcome,
}

const NOT_HTTP: &str = "closed no Head(NotHttp(";

/// Lines before which unnamed events and output may exist.
const PASSIVE: [&str; 11] =
    ["wrote", "event", "no ", "due", "take", "stall", "flow", "took", "on ", "keys", "gap"];

impl Run<'_> {
    fn step(&self) -> usize {
        if self.mode == Mode::Window { 1 } else { usize::MAX }
    }

    fn case(&mut self) -> &mut Case {
        self.cases.entry(self.at).or_insert_with(|| Case::new(Sim::new(Settings::default())))
    }

    /// Before a line: fails if events or output were not named, unless the line may name them.
    fn look(&mut self, line: &str, is_peer: bool) -> Result<(), String> {
        let case = self.case();
        let was = std::mem::replace(&mut case.after_peer, is_peer);
        let names = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
        // Events that were reported later, for example after a pause, come later in the tape.
        let goes_on = case.is_tape && names(&["peer", "more", "sleep", "connected", "reads"]);
        if case.skips || names(&PASSIVE) || is_peer && was || goes_on {
            return Ok(());
        }
        case.settled()
    }

    fn line(&mut self, at: usize, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let kind = match word {
            "open" => Some(Kind::Open),
            "handshake" => Some(Kind::Handshake),
            "stream" => Some(Kind::Stream),
            _ => None,
        };
        if let Some(kind) = kind {
            return self.open(kind, rest);
        }
        if word == "on" {
            self.at = rest.parse().map_err(|_| format!("{rest} is not a number"))?;
            self.case();
            return Ok(());
        }
        if self.case().skips {
            return Ok(());
        }
        match word {
            "gap" => {
                // The final event may have come already, for example of an empty body.
                self.case().sim.events.retain(|(kind, _)| !kind.starts_with("closed "));
                self.case().settled()?;
                self.case().skips = true;
                self.outcome.gaps.push((at, rest.to_owned()));
                return Ok(());
            }
            "wrote" => return self.wrote(rest),
            "took" => return self.took(rest),
            "rest" => {
                let (want, case) = (bytes(rest)?, self.case());
                let got = case.sim.session.outgoing();
                return if got == want {
                    Ok(())
                } else {
                    Err(format!("what waits is {}", start(got)))
                };
            }
            "event" => return self.event(rest),
            "no" => {
                let event = self.case().sim.events.front();
                return event.map_or(Ok(()), |e| Err(format!("{e:x?}")));
            }
            "due" => {
                let sim = &self.case().sim;
                let due = sim.session.deadline().map(|at| at.saturating_duration_since(sim.now));
                let want = if rest == "never" { None } else { Some(time(rest)?) };
                return if due == want { Ok(()) } else { Err(format!("due in {due:?}")) };
            }
            "keys" => {
                for key in rest.split(' ') {
                    let key = bytes(key)?.try_into().map_err(|_| format!("{key} is not a key"))?;
                    self.case().sim.keys.recorded.push_back(key);
                }
                return Ok(());
            }
            _ => {}
        }
        self.act(at, word, rest)
    }

    fn open(&mut self, kind: Kind, words: &str) -> Result<(), String> {
        let start = Start::read(kind, words, self.mode == Mode::InPlace)?;
        let mut case = Case::new(start.sim()?);
        case.is_tape = start.is_tape;
        if kind == Kind::Handshake && !start.is_tape {
            case.sim.take(usize::MAX, 1);
            case.sim.written.clear();
        }
        case.start = Some(start);
        self.cases.insert(self.at, case);
        self.outcome.connections += 1;
        Ok(())
    }

    /// Runs a line that is input or a call.
    fn act(&mut self, at: usize, word: &str, rest: &str) -> Result<(), String> {
        let (mode, step) = (self.mode, self.step());
        let garbage = mode == Mode::Garbage && self.ends.contains(&at);
        let ahead = self.ahead.remove(&at).filter(|_| !garbage);
        let case = self.case();
        let sim = &mut case.sim;
        let (was_closed, waited, now) = (sim.closed, sim.session.buffered(), sim.now);
        let mut came = 0;
        match word {
            "peer" if rest == "EOF" => sim.eof(),
            "peer" if rest == "CUT" => sim.cut(),
            "peer" => {
                let bytes = bytes(rest)?;
                came = bytes.len();
                peer(sim, bytes, mode, garbage, &ahead.unwrap_or_default());
            }
            "more" => {
                let bytes = bytes(rest)?;
                came = bytes.len();
                // Behind garbage, more bytes are garbage, too.
                if !sim.look(&bytes) {
                    peer(sim, bytes, mode, garbage, &[]);
                }
            }
            "advance" => sim.advance(time(rest)?),
            "sleep" => sim.now = sim.now.checked_add(time(rest)?).ok_or("too long")?,
            "deadline" => {
                let due = sim.session.deadline();
                if due.is_none_or(|due| due > sim.now) {
                    let due = due.map(|due| due.saturating_duration_since(sim.now));
                    return Err(format!("nothing is due now; the next: {due:?}"));
                }
                sim.deadline();
            }
            "connected" => sim.session.connected(sim.now),
            "reads" => sim.session.read_again(sim.now),
            "answer" => sim.with(|session, cx| session.answer_close(cx)),
            "body" if rest == "end" => {
                let event = sim.session.end_body(sim.now);
                sim.push_event(event);
            }
            "body" => {
                let piece = bytes(rest)?;
                let event = sim.session.send_body(sim.now, &piece);
                sim.push_event(event);
            }
            "request" => {
                let request = bytes(rest)?;
                let start = case.start.as_ref().ok_or("no connection is opened")?;
                let now = case.sim.now;
                case.sim = start.asked(&request, now)?;
                let got = case.sim.session.outgoing();
                if got != request {
                    return Err(format!("the request is {}", super::text::shown(got)));
                }
                if !case.is_tape {
                    case.sim.take(usize::MAX, step);
                    case.sim.written.clear();
                }
                return Ok(());
            }
            "stall" => case.stalled = true,
            "flow" => case.stalled = false,
            "take" => sim.take(rest.parse().map_err(|_| "take what?")?, step),
            _ => ask(sim, word, rest)?,
        }
        let sim = &mut case.sim;
        sim.pump();
        if !case.is_tape {
            if !case.stalled {
                sim.take(usize::MAX, step);
            } else if sim.session.buffered() > waited {
                // A driver tries to write new output.
                sim.session.sent(sim.now, 0);
            }
        }
        let is_new = sim.closed && !was_closed;
        // While a close frame is held back, the program may still send.
        if garbage && !(case.is_tape && sim.session.is_open()) {
            sim.poke();
            if case.is_tape {
                sim.now = now;
            }
        }
        self.outcome.came += came;
        if mode == Mode::Whole && is_new {
            self.ends.insert(at);
        }
        Ok(())
    }

    fn wrote(&mut self, rest: &str) -> Result<(), String> {
        let want = if rest == "nothing" { vec![] } else { bytes(rest)? };
        let got = std::mem::take(&mut self.case().sim.written);
        if got != want {
            return Err(format!("wrote {}", start(&got)));
        }
        self.outcome.sent += got.len();
        Ok(())
    }

    /// The kernel takes the bytes that the tape has.
    fn took(&mut self, rest: &str) -> Result<(), String> {
        let step = self.step();
        let (rest, of) = match split(rest, "of ") {
            Some((rest, n)) => (rest.trim(), Some(n.parse().map_err(|_| "of how many?")?)),
            None => (rest, None),
        };
        let sim = &mut self.case().sim;
        let waits = sim.session.outgoing();
        let n = match rest.strip_prefix("request") {
            Some("") => waits.len(),
            Some(but) => {
                let left = but.strip_prefix(" but ").and_then(|n| n.parse().ok());
                waits.len().saturating_sub(left.ok_or("but how many?")?)
            }
            None => {
                let want = if rest == "nothing" { vec![] } else { bytes(rest)? };
                if !waits.starts_with(&want) {
                    return Err(format!("what waits to be sent is {}", start(waits)));
                }
                want.len()
            }
        };
        let (mut left, mut taken) = (n, of.unwrap_or(n));
        loop {
            let part = left.min(step);
            left -= part;
            let share = if left == 0 { taken } else { part.min(taken) };
            taken -= share;
            sim.session.sent_as(sim.now, part, share);
            if left == 0 {
                break;
            }
        }
        self.outcome.sent += n;
        Ok(())
    }

    fn event(&mut self, rest: &str) -> Result<(), String> {
        let is_payload = |kind: &str| ["text", "binary", "pong", "chunk"].contains(&kind);
        let (kind, payload) = match rest.split_once(' ').unwrap_or((rest, "")) {
            (kind, payload) if is_payload(kind) => (kind, bytes(payload)?),
            _ if rest.starts_with("sse ") => match split(rest, " data ") {
                Some((kind, payload)) => (kind, bytes(payload)?),
                None => (rest, vec![]),
            },
            _ => (rest, vec![]),
        };
        let sim = &mut self.case().sim;
        let Some((k, mut p)) = sim.events.pop_front() else { return Err("no event".to_owned()) };
        if kind == "chunk" && k == kind {
            // The cuts of a body may differ.
            while p.len() < payload.len() && sim.events.front().is_some_and(|(k, _)| k == kind) {
                p.extend(sim.events.pop_front().unwrap_or_default().1);
            }
            let rest = p.split_off(payload.len().min(p.len()));
            if !rest.is_empty() {
                sim.events.push_front((k.clone(), rest));
            }
        }
        // The error for bytes that are no HTTP has as many of them as had come.
        let is_same = k == kind || [k.as_str(), kind].iter().all(|k| k.starts_with(NOT_HTTP));
        if !is_same || p != payload {
            return Err(format!("event {k} {}", start(&p)));
        }
        self.outcome.events += 1;
        Ok(())
    }
}

fn peer(sim: &mut Sim, mut bytes: Vec<u8>, mode: Mode, garbage: bool, ahead: &[u8]) {
    if garbage {
        bytes.extend_from_slice(GARBAGE);
    }
    let mut pieces = match mode {
        Mode::Cuts(seed) => in_pieces(&bytes, seed),
        Mode::Bytewise => bytes.chunks(1).map(|piece| (piece, false)).collect(),
        Mode::InPlace => bytes.chunks(7).map(|piece| (piece, true)).collect(),
        _ => vec![(&bytes[..], false)],
    };
    let last = pieces.pop_if(|_| !ahead.is_empty());
    for (piece, in_place) in pieces {
        sim.feed(piece, in_place);
    }
    if let Some((last, _)) = last {
        sim.feed_ahead(last, ahead);
    }
}

/// Cuts of random sizes, which depend only on the seed and the bytes, so that a run is the same
/// everywhere; and whether each piece is read into the session's own buffer.
fn in_pieces(bytes: &[u8], seed: u64) -> Vec<(&[u8], bool)> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ bytes.len() as u64 | 1;
    let mut draw = |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    };
    // A long line is not cut into too many pieces.
    let most = [1, 3, 20, 200, 70_000][draw(5)].max(bytes.len() / 500);
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(1 + draw(most.min(rest.len())));
        pieces.push((piece, draw(2) == 0));
        rest = behind;
    }
    pieces
}

/// Makes a call of the program, and compares its result.
fn ask(sim: &mut Sim, word: &str, rest: &str) -> Result<(), String> {
    let (rest, want) = match split(rest, "-> ") {
        Some((rest, misuse)) => (rest.trim(), format!("Err({misuse})")),
        None => (rest, "Ok(())".to_owned()),
    };
    let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
    let utf8 = |text| String::from_utf8(bytes(text)?).map_err(|e| e.to_string());
    let got: Result<(), Misuse> = match (word, first) {
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

/// The section of the rule that a difference is about, found by words of the result, then of the
/// line.
fn section(line: &str, why: &str) -> Option<&'static str> {
    const WORDS: [(&[&str], &str); 21] = [
        (&["ReservedBits", "ReservedOpcode", "LengthNotMinimal", "LengthTopBit"], "RFC 6455 §5.2"),
        (&["FragmentedControl", "LongControl"], "RFC 6455 §5.5"),
        (&["MaskedByServer"], "RFC 6455 §5.1"),
        (&["ContinuationFirst", "MessageInMessage"], "RFC 6455 §5.4"),
        (&["CloseLength", "CloseReason"], "RFC 6455 §5.5.1"),
        (&["CloseCode"], "RFC 6455 §7.4"),
        (&["NotUtf8"], "RFC 6455 §8.1"),
        (&["MessageTooBig", "TooManyFragments"], "RFC 6455 §7.4.1"),
        (&["Deflate"], "RFC 7692 §7.2.2"),
        (&["Compression("], "RFC 7692 §7.1"),
        (&["closed no", "opened", "the request is"], "RFC 6455 §4.1"),
        (&["closing", "close ", "closed clean"], "RFC 6455 §5.5.1"),
        (&["closed failed"], "RFC 6455 §7.1.7"),
        (&["closed lost"], "RFC 6455 §7.1.5"),
        (&["pong"], "RFC 6455 §5.5.3"),
        (&["ping "], "RFC 6455 §5.5.2"),
        (&["event text", "event binary", "not named: text", "not named: binary"], "RFC 6455 §5.6"),
        (&["event sse", "not named: sse"], "WHATWG HTML §9.2.6"),
        (&["event chunk", "event response", "not named: chunk"], "RFC 9112 §6"),
        (&["send text", "send binary"], "RFC 6455 §6.1"),
        (&["took", "wrote", "rest"], "RFC 6455 §5.2"),
    ];
    [why, line].iter().find_map(|text| {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        WORDS.iter().find(|(words, _)| says(words)).map(|(_, section)| *section)
    })
}
