//! Records a tape: the bytes that each connection reads and writes, while it runs.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::fill::{Content, Frames, head, head_end, letters, reason};
use super::script::{self, Kind, Start};
use super::sim::{frame, opened, tape_event};
use super::text::{shown, shown_time};
use crate::proto::http::{self, Delivery, Timing};
use crate::proto::secret::{SECRET, names_a_url, shown_url};
use crate::proto::{
    CloseFrame, Closed, Event, Failure, HandshakeError, Misuse, Request, Session, Settings,
};

/// Records the connections of a reactor, each byte and each decision with its time, as a test that
/// [`run`](super::run) repeats. docs/TAPES.md describes the text.
///
/// Each line is written at once, on the thread that drives the connections, and nothing is kept in
/// memory. A clone writes to the same destination.
///
/// ```no_run
/// use moonwire::{Config, Options, Reactor, tape::Tape};
///
/// let tape = Tape::new(std::io::BufWriter::new(std::fs::File::create("bug.tape")?));
/// let mut reactor = Reactor::new(Config { tape: Some(tape.clone()), ..Config::default() })?;
/// reactor.open(Options::new("wss://example.com/")?)?;
/// // … turns …
/// drop(reactor);
/// tape.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tape {
    out: Arc<Mutex<TapeWriter>>,
    payloads: bool,
}

struct TapeWriter {
    to: Box<dyn Write + Send>,
    /// The connection of the last line.
    about: Option<u64>,
    failed: Option<io::Error>,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("payloads", &self.payloads).finish_non_exhaustive()
    }
}

impl Tape {
    /// A tape without payloads: messages, pings, reasons and bodies are replaced by fillers of the
    /// same length.
    pub fn new(to: impl Write + Send + 'static) -> Tape {
        let version = env!("CARGO_PKG_VERSION");
        let out = TapeWriter { to: Box::new(to), about: None, failed: None };
        let tape = Tape { out: Arc::new(Mutex::new(out)), payloads: false };
        tape.write(None, &format!("# A tape of moonwire {version}, see docs/TAPES.md.\n"));
        tape
    }

    /// Whether payloads are recorded. Without them, compressed messages and the bodies of streams
    /// cannot be replayed; a tape with payloads is as secret as they are.
    pub fn payloads(mut self, yes: bool) -> Tape {
        self.payloads = yes;
        self
    }

    /// Flushes the output; returns the first error of writing, if there was one.
    ///
    /// # Errors
    ///
    /// Why a line of the tape could not be written.
    pub fn finish(&self) -> io::Result<()> {
        let mut out = self.lock();
        match out.failed.take() {
            Some(e) => Err(e),
            None => out.to.flush(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TapeWriter> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes whole lines about a connection.
    fn write(&self, about: Option<u64>, lines: &str) {
        let mut out = self.lock();
        let turns = about.filter(|_| out.about != about);
        let written = match turns {
            Some(id) => {
                out.about = about;
                out.to.write_all(format!("on {id}\n{lines}").as_bytes())
            }
            None => out.to.write_all(lines.as_bytes()),
        };
        if let Err(e) = written {
            out.failed.get_or_insert(e);
        }
    }

    /// Starts to record a connection.
    pub(crate) fn record(&self, id: u64, now: Instant, asked: &OpenedWith<'_>) -> Box<Recorder> {
        let mut recorder = Box::new(Recorder {
            tape: self.clone(),
            id,
            last: now,
            now,
            keys: Vec::new(),
            seen: 0,
            given: 0,
            phase: Phase::Head,
            held: Vec::new(),
            secrets: asked.secrets(),
            is_stream: matches!(asked, OpenedWith::Stream { .. }),
            is_framed: false,
            request_left: usize::MAX,
            from_peer: Frames::new(false),
            to_peer: Frames::new(true),
            is_violated: false,
            is_closing: false,
            has_gap: false,
        });
        recorder.begin(now, asked);
        recorder
    }
}

/// The request and the options with which a connection is opened.
pub(crate) enum OpenedWith<'a> {
    WebSocket {
        request: &'a Request,
        settings: &'a Settings,
        nonce: [u8; 16],
        deadline: Option<Instant>,
    },
    Stream {
        request: &'a http::Request,
        delivery: Delivery,
        settings: &'a Settings,
        timing: Timing,
    },
}

/// The request, whose secrets the tape must not repeat.
enum RequestSecrets {
    WebSocket(Box<Request>),
    Stream(Box<http::Request>),
}

impl RequestSecrets {
    fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        match self {
            RequestSecrets::WebSocket(request) => request.is_repeated_in(bytes),
            RequestSecrets::Stream(request) => request.is_repeated_in(bytes),
        }
    }

    /// Whether the value of a field of the response is hidden, as in
    /// [`Note::response`](crate::proto::Note).
    fn hides(&self, name: &str, value: &[u8]) -> bool {
        let url = match self {
            RequestSecrets::WebSocket(request) => request.url(),
            RequestSecrets::Stream(request) => request.url(),
        };
        match self {
            _ if names_a_url(name) && url.is_secret() => true,
            _ if names_a_url(name) => {
                self.is_repeated_in(shown_url(&String::from_utf8_lossy(value)).as_bytes())
            }
            RequestSecrets::WebSocket(request)
                if name.eq_ignore_ascii_case("sec-websocket-protocol")
                    && request.is_secret_protocol(value) =>
            {
                true
            }
            _ => self.is_repeated_in(value),
        }
    }
}

impl OpenedWith<'_> {
    fn secrets(&self) -> RequestSecrets {
        match self {
            OpenedWith::WebSocket { request, .. } => {
                RequestSecrets::WebSocket(Box::new((*request).clone()))
            }
            OpenedWith::Stream { request, .. } => {
                RequestSecrets::Stream(Box::new((*request).clone()))
            }
        }
    }

    /// The words of the first line, behind its first word.
    fn words(&self, now: Instant) -> String {
        let until = |at: Instant| shown_time(at.saturating_duration_since(now));
        match self {
            OpenedWith::WebSocket { request, settings, nonce, deadline } => {
                let nonce: String = nonce.iter().map(|b| format!("{b:02x}")).collect();
                let mut words = format!("tape nonce={nonce}");
                if request.url().scheme().is_secure() {
                    words += " tls";
                }
                if let Some(at) = deadline {
                    words += &format!(" deadline={}", until(*at));
                }
                let (hops, follow) = request.redirects();
                for (name, number) in [("follow", follow), ("hops", hops)] {
                    if number > 0 {
                        words += &format!(" {name}={number}");
                    }
                }
                #[cfg(feature = "deflate")]
                if let Some(wanted) = request.offered() {
                    words += &script::offer(wanted);
                }
                words + &script::settings(settings)
            }
            OpenedWith::Stream { request, delivery, settings, timing } => {
                let mut words = format!("tape deliver={}", script::delivery(*delivery));
                if request.url().scheme().is_secure() {
                    words += " tls";
                }
                #[cfg(feature = "deflate")]
                if request.decode {
                    words += " decode";
                }
                if request.hops > 0 {
                    words += &format!(" hops={}", request.hops);
                }
                if let Some(at) = timing.head_by {
                    words += &format!(" total={}", until(at));
                }
                for (name, time) in [("response", timing.response), ("idle", timing.idle)] {
                    if let Some(time) = time {
                        words += &format!(" {name}={}", shown_time(time));
                    }
                }
                words + &script::settings(settings)
            }
        }
    }

    /// The request without its secrets.
    fn shown(&self, payloads: bool) -> Vec<u8> {
        match self {
            OpenedWith::WebSocket { request, nonce, .. } => {
                head(&request.shown(*nonce), "sec-websocket-key", &|_, _| false)
            }
            OpenedWith::Stream { request, delivery, .. } => {
                let mut shown = Vec::new();
                request.write_head(&mut shown, *delivery, true);
                let mut shown = head(&shown, "", &|_, _| false);
                if let Some(http::request::Payload::Whole(body)) = &request.body {
                    let body = if payloads { body.to_vec() } else { letters(body) };
                    shown.extend(body);
                }
                shown
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The head of the response is not complete. It is held back: only then is known which bytes
    /// may be written.
    Head,
    /// The response is not the one asked for; its body is held back.
    Refused,
    Open,
}

/// Records one connection.
pub(crate) struct Recorder {
    tape: Tape,
    id: u64,
    /// The time of the last line, and the current time.
    last: Instant,
    pub(crate) now: Instant,
    /// Mask keys that were used and are not recorded yet.
    pub(crate) keys: Vec<[u8; 4]>,
    /// Bytes of the input that are recorded already and will be given again.
    seen: usize,
    /// Bytes of the input that the session was given before, with the last read.
    given: usize,
    phase: Phase,
    held: Vec<u8>,
    secrets: RequestSecrets,
    is_stream: bool,
    /// The body that is held back is chunked or coded, so fillers cannot replace it.
    is_framed: bool,
    /// Bytes of the request that were not sent.
    request_left: usize,
    from_peer: Frames,
    to_peer: Frames,
    /// The peer has broken a rule, which our close frame states.
    is_violated: bool,
    /// The program's own close frame is queued or sent.
    is_closing: bool,
    has_gap: bool,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Recorder {
    fn begin(&mut self, now: Instant, asked: &OpenedWith<'_>) {
        let words = asked.words(now);
        let (name, kind) = match self.is_stream {
            true => ("stream", Kind::Stream),
            false => ("handshake", Kind::Handshake),
        };
        self.write(&format!("\n{name} {words}\n"));
        // The request of a replay, which has no secrets.
        let wanted = asked.shown(self.tape.payloads);
        let sim = Start::read(kind, &words, false).and_then(|start| start.asked(&wanted, now));
        match sim {
            Ok(sim) => {
                let request = sim.session.outgoing();
                if request != wanted {
                    self.write(&format!("# sent as {}\n", shown(&wanted)));
                }
                self.write(&format!("request {}\n", shown(request)));
            }
            Err(e) => self.gap(&format!("its request cannot be repeated: {e}")),
        }
    }

    fn write(&self, lines: &str) {
        self.tape.write(Some(self.id), lines);
    }

    /// From here on the connection cannot be replayed.
    fn gap(&mut self, why: &str) {
        if !std::mem::replace(&mut self.has_gap, true) {
            self.write(&format!("gap {why}\n"));
        }
    }

    /// Writes a line, after lines for the time that has passed and the keys that were used. `short`
    /// is the form of the line behind a gap.
    fn line(&mut self, now: Instant, short: &str, line: &str) {
        if self.has_gap {
            self.keys.clear();
            return self.write(&format!("# {short}\n"));
        }
        self.now = self.now.max(now);
        let mut lines = String::new();
        let passed = now.saturating_duration_since(self.last);
        if passed > Duration::ZERO {
            lines += &format!("sleep {}\n", shown_time(passed));
            self.last = now;
        }
        if !self.keys.is_empty() {
            lines += "keys";
            for key in self.keys.drain(..) {
                lines += &format!(" {:08x}", u32::from_be_bytes(key));
            }
            lines += "\n";
        }
        lines += line;
        lines += "\n";
        self.write(&lines);
    }

    /// Writes a line with bytes.
    fn bytes(&mut self, now: Instant, word: &str, bytes: &[u8], behind: &str) {
        let data = shown(bytes);
        let space = if data.is_empty() { "" } else { " " };
        let short = format!("{word} {} bytes", bytes.len());
        self.line(now, &short, &format!("{word}{space}{data}{behind}"));
    }

    // Input.

    /// The session took `used` bytes of `input`; without an event all of it is recorded.
    pub(crate) fn received(
        &mut self,
        now: Instant,
        input: &[u8],
        used: usize,
        event: Option<&Event<'_>>,
        session: &Session,
    ) {
        let end = if event.is_some() { used } else { input.len() };
        let start = self.seen.min(end);
        let old = self.given.clamp(start, end);
        self.seen = self.seen.max(end) - used;
        self.given = input.len() - used;
        if old > start && self.phase == Phase::Open {
            self.peer(now, "more", &input[start..old]);
            self.came(now, &input[old..end], event, session);
        } else {
            self.came(now, &input[start..end], event, session);
        }
    }

    /// Records new input and its event.
    pub(crate) fn came(
        &mut self,
        now: Instant,
        new: &[u8],
        event: Option<&Event<'_>>,
        session: &Session,
    ) {
        if self.phase == Phase::Open {
            if !new.is_empty() {
                self.peer(now, "peer", new);
            }
        } else {
            self.held.extend_from_slice(new);
            if self.phase == Phase::Head && event.is_none() && session.is_refused() {
                self.write_held_head(now, false);
                self.phase = Phase::Refused;
            }
        }
        if let Some(event) = event {
            self.write_held(now, event);
            self.event(now, event);
        }
    }

    fn peer(&mut self, now: Instant, word: &str, new: &[u8]) {
        match self.tape.payloads || self.is_stream {
            true => self.bytes(now, word, new, ""),
            false => {
                let filled = self.from_peer.fill(new, false);
                self.bytes(now, word, &filled, "");
            }
        }
    }

    /// Writes the head that was held back, but not the bytes behind it. With `is_no_head` the bytes
    /// are no HTTP head: if they repeat a secret, they are not written.
    fn write_held_head(&mut self, now: Instant, is_no_head: bool) {
        let end = head_end(&self.held).unwrap_or(self.held.len());
        let body = self.held.split_off(end);
        let bytes = std::mem::replace(&mut self.held, body);
        let lower = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        self.is_framed =
            ["\ntransfer-encoding:", "\ncontent-encoding:"].iter().any(|name| lower.contains(name));
        let masked = head(&bytes, "", &|name, value| self.secrets.hides(name, value));
        if is_no_head && masked != bytes {
            self.gap("the received bytes are not an answer, and repeat a secret");
        }
        if !masked.is_empty() {
            self.bytes(now, "peer", &masked, "");
        }
    }

    /// Writes all bytes that were held back, since the connection is open or has ended.
    fn write_held(&mut self, now: Instant, event: &Event<'_>) {
        if self.phase == Phase::Head {
            let failed = match event {
                Event::Closed(Closed::Failed(failed)) => Some(failed),
                _ => None,
            };
            let is_no_head = matches!(
                failed,
                Some(
                    Failure::Handshake(HandshakeError::Head(_))
                        | Failure::Http(http::HttpError::Head(_))
                )
            );
            self.write_held_head(now, is_no_head);
        }
        self.phase = Phase::Open;
        let body = std::mem::take(&mut self.held);
        if body.is_empty() {
            return;
        }
        if !self.tape.payloads && self.is_framed {
            self.gap("the body of this answer is framed or coded, and payloads are not recorded");
        } else if !self.tape.payloads {
            self.bytes(now, "peer", &letters(&body), "");
        } else if self.secrets.is_repeated_in(&body) {
            self.gap("the body of this answer repeats a secret of the request");
        } else {
            self.bytes(now, "peer", &body, "");
        }
    }

    /// The peer's stream has ended; `cut`: without `close_notify`, or by a reset.
    pub(crate) fn ended(&mut self, cut: bool, event: Option<&Event<'_>>) {
        let now = self.now;
        if let Some(event) = event {
            self.write_held(now, event);
        }
        let word = if cut { "peer CUT" } else { "peer EOF" };
        self.line(now, word, word);
        if let Some(event) = event {
            self.event(now, event);
        }
    }

    /// A deadline has passed.
    pub(crate) fn was_due(&mut self, now: Instant, event: Option<&Event<'_>>) {
        if let Some(event) = event {
            self.write_held(now, event);
        }
        self.line(now, "deadline", "deadline");
        if let Some(event) = event {
            self.event(now, event);
        }
    }

    /// Records an event.
    pub(crate) fn event(&mut self, now: Instant, event: &Event<'_>) {
        let (mut kind, mut payload) = match event {
            Event::Opened(o) => {
                let protocol = o.protocol.as_deref().map(|name| {
                    let hides = self.secrets.hides("sec-websocket-protocol", name.as_bytes());
                    if hides { SECRET } else { name }
                });
                (opened(o, protocol), vec![])
            }
            event => tape_event(event),
        };
        if !self.tape.payloads {
            let content = match event {
                Event::Text(_) => Content::Text,
                Event::Binary(_) => Content::Binary,
                _ => Content::Control,
            };
            payload = payload.iter().map(|&b| content.fill(b, 0)).collect();
            kind = match event {
                Event::Closing(f) => format!("closing {}", frame(&without_reason(f))),
                Event::Closed(Closed::Clean(f)) => {
                    format!("closed clean {}", frame(&without_reason(f)))
                }
                Event::Closed(Closed::Failed(Failure::Handshake(HandshakeError::Status(r)))) => {
                    let mut r = r.clone();
                    r.body = letters(&r.body);
                    let error = Failure::Handshake(HandshakeError::Status(r));
                    tape_event(&Event::Closed(Closed::Failed(error))).0
                }
                _ => kind,
            };
        }
        if let Event::Closed(Closed::Failed(Failure::Handshake(HandshakeError::Status(r)))) = event
            && self.secrets.is_repeated_in(r.reason.as_bytes())
        {
            kind = kind.replacen(&r.reason, SECRET, 1);
        }
        let is_sse = matches!(event, Event::ServerSent(_));
        let short = kind.split(' ').next().unwrap_or_default();
        let short = format!("event {short}, {} bytes", payload.len());
        let data = shown(&payload);
        let line = match (data.as_str(), is_sse) {
            ("", false) => format!("event {kind}"),
            (data, true) => format!("event {kind} data {data}"),
            (data, false) => format!("event {kind} {data}"),
        };
        self.line(now, &short, line.trim_end());
        match event {
            Event::Opened(o) if script::is_compressed(o) && !self.tape.payloads => {
                self.gap("messages are compressed, and payloads are not recorded");
            }
            Event::Response(_) if !self.tape.payloads => {
                self.gap("the body of a stream is not recorded");
            }
            Event::Closed(Closed::Failed(Failure::Violation(_))) => self.is_violated = true,
            _ => {}
        }
    }

    // Calls of the program.

    /// Records a message or a ping.
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        word: &str,
        content: Content,
        data: &[u8],
        done: &Result<(), Misuse>,
    ) {
        let behind = refused(done);
        match self.tape.payloads {
            true => self.bytes(now, word, data, &behind),
            false => {
                let filled: Vec<u8> = data.iter().map(|&b| content.fill(b, 0)).collect();
                self.bytes(now, word, &filled, &behind);
            }
        }
    }

    pub(crate) fn closed(&mut self, now: Instant, f: &CloseFrame, done: &Result<(), Misuse>) {
        let f = if self.tape.payloads { f.clone() } else { without_reason(f) };
        let code = f.code.map_or("none".to_owned(), |code| code.to_string());
        let text = shown(f.reason.as_bytes());
        let space = if text.is_empty() { "" } else { " " };
        self.line(now, "close", &format!("close {code}{space}{text}{}", refused(done)));
        self.is_closing |= done.is_ok() && !self.is_violated;
    }

    /// Records a call without bytes.
    pub(crate) fn bare_line(&mut self, now: Instant, word: &str) {
        self.line(now, word, word);
    }

    /// Records a piece of a request's body.
    pub(crate) fn body(&mut self, now: Instant, piece: &[u8], event: Option<&Event<'_>>) {
        let piece = if self.tape.payloads { piece.to_vec() } else { letters(piece) };
        self.bytes(now, "body", &piece, "");
        if let Some(event) = event {
            self.write_held(now, event);
            self.event(now, event);
        }
    }

    /// The body of a request is complete.
    pub(crate) fn body_ended(&mut self, now: Instant, event: Option<&Event<'_>>) {
        self.line(now, "body end", "body end");
        if let Some(event) = event {
            self.write_held(now, event);
            self.event(now, event);
        }
    }

    // Output.

    /// The length of a WebSocket's request.
    pub(crate) fn has_request(&mut self, len: usize) {
        if !self.is_stream {
            self.request_left = len;
        }
    }

    /// The kernel took the first `n` of the `waits` bytes; `taken` counts the bytes that it took
    /// for them, which over TLS are those of records.
    pub(crate) fn took(&mut self, now: Instant, waits: &[u8], n: usize, taken: usize) {
        if waits.is_empty() && taken == 0 {
            return;
        }
        let (first, rest) = waits.split_at(n.min(waits.len()));
        let of = |n: usize, taken| if n == taken { String::new() } else { format!(" of {taken}") };
        let asked = first.len().min(self.request_left);
        let frames = &first[asked..];
        if asked > 0 {
            if !self.is_stream {
                self.request_left -= asked;
            }
            let but = match frames.len() + rest.len() {
                0 => String::new(),
                left => format!(" but {left}"),
            };
            let of = if frames.is_empty() { of(asked, taken) } else { String::new() };
            self.line(now, "took request", &format!("took request{but}{of}"));
        }
        if first.is_empty() {
            self.line(now, "took nothing", &format!("took nothing{}", of(0, taken)));
        }
        if !frames.is_empty() {
            let of = of(frames.len(), taken.saturating_sub(asked));
            let frames = self.ours(frames);
            self.bytes(now, "took", &frames, &of);
        }
    }

    fn ours(&mut self, frames: &[u8]) -> Vec<u8> {
        match self.tape.payloads {
            true => frames.to_vec(),
            false => self.to_peer.fill(frames, self.is_violated && !self.is_closing),
        }
    }

    /// The session is dropped with these bytes unsent.
    pub(crate) fn dropped(&mut self, waits: &[u8]) {
        let now = self.now;
        if !waits.is_empty() && self.request_left == 0 {
            let waits = self.ours(waits);
            self.bytes(now, "rest", &waits, "");
        }
        self.write("# gone\n");
        // Flushed, so that a reader of the file sees the end of each connection.
        let _ = self.tape.lock().to.flush();
    }
}

fn refused(done: &Result<(), Misuse>) -> String {
    match done {
        Ok(()) => String::new(),
        Err(misuse) => format!(" -> {misuse:?}"),
    }
}

fn without_reason(frame: &CloseFrame) -> CloseFrame {
    CloseFrame { code: frame.code, reason: reason(&frame.reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ws::handshake::accept;
    use crate::proto::{Context, Url};
    use crate::tape::sim::Keys;
    use crate::tape::{Outcome, Taped, run_all};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const NONCE: [u8; 16] = *b"the sample nonce";

    /// Opens with a request, receives an answer in pieces and then the end; returns the tape and
    /// the result of running it.
    fn taped(request: &Request, payloads: bool, pieces: &[&[u8]]) -> (String, Outcome) {
        let memory = Memory::default();
        let tape = Tape::new(memory.clone()).payloads(payloads);
        let (settings, mut now) = (Settings::default(), Instant::now());
        let session = Session::new(request, settings.clone(), NONCE, None);
        let asked =
            OpenedWith::WebSocket { request, settings: &settings, nonce: NONCE, deadline: None };
        let recorder = tape.record(7, now, &asked);
        let mut session = Taped::new(session, Some(recorder));
        let n = session.outgoing().len();
        session.sent_as(now, n - 3, n - 3);
        session.sent_as(now, 3, 3);
        let mut keys = Keys { next: 1, ..Keys::default() };
        let mut tail = Vec::new();
        for piece in pieces {
            now += Duration::from_millis(3);
            tail.extend_from_slice(piece);
            loop {
                let mut cx = Context { now, random: &mut keys };
                let (used, event) = session.receive(&mut cx, &tail);
                let is_some = event.is_some();
                tail.drain(..used);
                if !is_some {
                    break;
                }
            }
            let n = session.outgoing().len();
            session.sent_as(now, n, n);
        }
        session.is_at(now);
        while session.receive_eof().is_some() {}
        drop(session);
        tape.finish().unwrap();
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let outcome = run_all(&text, 3).unwrap_or_else(|e| panic!("{e}\n{text}"));
        (text, outcome)
    }

    fn accepted() -> String {
        let accept = accept("dGhlIHNhbXBsZSBub25jZQ==");
        format!(
            "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n"
        )
    }

    const SECRET_HEX: &str = "68756e7465723232";

    #[test]
    fn no_secret_of_a_request_stands_in_a_tape_which_runs_all_the_same() {
        let opened = format!(
            "{}Sec-WebSocket-Protocol: t.hunter22\r\nX-Echo: a hunter22\r\nSet-Cookie: b\r\n\r\n",
            accepted()
        );
        let moved =
            "HTTP/1.1 302 to hunter22\r\nLocation: /hunter22?a\r\nContent-Length: 0\r\n\r\n";
        let whole = "HTTP/1.1 403 No\r\nContent-Length: 17\r\n\r\nyou are hunter22!";
        let chunks =
            "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhunter22\r\n0\r\n\r\n";
        let broken = "HTTP/1.1 hunter22\r\nX: a\r\n\r\n";
        for (answer, gaps) in [
            (&*opened, [0, 0]),
            (moved, [0, 0]),
            (whole, [0, 1]),
            (chunks, [1, 1]),
            (broken, [1, 1]),
        ] {
            for (payloads, gaps) in [false, true].into_iter().zip(gaps) {
                let mut open = Request::new(Url::parse("ws://a.example/x?hunter22").unwrap());
                open.secret_header("X-Own", "hunter22").unwrap();
                open.header("Authorization", "Bearer hunter22").unwrap();
                open.secret_protocol("t.hunter22").unwrap().protocol("chat").unwrap();
                let mut hidden =
                    Request::new(Url::parse("wss://hunter22.example/hunter22?hunter22").unwrap());
                hidden.secret_url().secret_protocol("t.hunter22").unwrap();
                for request in [open, hidden] {
                    // In one piece, and in pieces that end anywhere.
                    for at in [answer.len(), 40, answer.len() - 9] {
                        let (a, b) = answer.as_bytes().split_at(at.min(answer.len()));
                        let (text, outcome) = taped(&request, payloads, &[a, b]);
                        assert!(!text.contains("hunter22") && !text.contains(SECRET_HEX), "{text}");
                        assert_eq!(outcome.gaps.len(), gaps, "{text}");
                        assert!(gaps > 0 || outcome.events > 0, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn payloads_are_there_on_demand_alone_and_either_way_it_runs() {
        let head = format!("{}\r\n", accepted());
        let frames = b"\x01\x03\xC3\xA4w\x89\x03abc\x80\x02ld\x82\x04wild\x88\x06\x03\xE8wild";
        let bad = b"\x81\x04wil\xFF\x81\x04wild";
        for (frames, events) in [(&frames[..], 5), (bad, 2)] {
            for payloads in [false, true] {
                for at in [0, 3, frames.len()] {
                    let (a, b) = frames.split_at(at);
                    let glued = [head.as_bytes(), a].concat();
                    let request = Request::new(Url::parse("ws://a.example/").unwrap());
                    let (text, outcome) = taped(&request, payloads, &[&glued, b]);
                    assert_eq!(text.contains("wild") || text.contains("\"wil"), payloads, "{text}");
                    assert_eq!(outcome.events, events, "{text}");
                }
            }
        }
    }
}
