//! A session with a simulated driver and clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::text::{shown, shown_time};
use crate::proto::http::HttpError;
use crate::proto::{
    CloseFrame, Closed, Context, Event, Failure, HandshakeError, Misuse, Opened, Random, Session,
    Settings,
};

/// Valid and invalid frames, a close frame among them.
pub const GARBAGE: &[u8] =
    b"\x89\x01A\x81\x01A\x88\x02\x03\xE8\xFF\x81\xFF\0GET / HTTP/1.1\r\n\r\n";

/// How often a deadline may be due without moving.
const WAKES: usize = 1000;

/// A source of mask keys: those that a tape has recorded, and then keys that count up from the
/// first, or stay zero.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The recorded keys, used first.
    pub recorded: VecDeque<[u8; 4]>,
    /// The key after them; 0 stays 0.
    pub next: u32,
}

impl Random for Keys {
    fn key(&mut self) -> [u8; 4] {
        self.recorded.pop_front().unwrap_or_else(|| {
            let key = self.next;
            self.next = key.wrapping_add(u32::from(key != 0));
            key.to_be_bytes()
        })
    }
}

/// An event in the form of a tape: its kind, and its payload.
pub type TapeEvent = (String, Vec<u8>);

/// An event in the form of a tape.
pub fn tape_event(event: &Event<'_>) -> TapeEvent {
    let plain = |text: String| (text, vec![]);
    match event {
        Event::Opened(o) => plain(opened(o, o.protocol.as_deref())),
        Event::Text(text) => ("text".to_owned(), text.as_bytes().to_vec()),
        Event::Binary(data) => ("binary".to_owned(), data.to_vec()),
        Event::Pong(data) => ("pong".to_owned(), data.to_vec()),
        Event::Chunk(data) => ("chunk".to_owned(), data.to_vec()),
        Event::Response(response) => {
            let decoded = if response.decoded { " decoded" } else { "" };
            plain(format!("response {}{decoded}", response.status))
        }
        Event::ServerSent(event) => {
            let retry = event.retry.map(|retry| format!(" retry {}", shown_time(retry)));
            let (name, id) = (shown(event.event.as_bytes()), shown(event.id.as_bytes()));
            let id = if id.is_empty() { id } else { format!(" id {id}") };
            let kind = format!("sse {name}{id}{}", retry.unwrap_or_default());
            (kind, event.data.clone().into_bytes())
        }
        Event::Closing(f) => plain(format!("closing {}", frame(f))),
        Event::Closed(closed) => plain(format!("closed {}", end(closed))),
    }
}

fn end(closed: &Closed) -> String {
    match closed {
        Closed::Clean(f) => format!("clean {}", frame(f)),
        Closed::Lost(lost) => format!("lost {lost:?}"),
        Closed::Complete => "complete".to_owned(),
        Closed::Redirected(to) => format!("redirected {}", to.status),
        Closed::HandshakeRedirected(to) => format!("moved {}", to.status),
        Closed::Failed(Failure::Violation(v)) => format!("failed {} {v:?}", v.close_code()),
        Closed::Failed(Failure::Handshake(HandshakeError::Status(r))) => {
            let body = String::from_utf8_lossy(&r.body);
            format!("no {} {} {body:?}", r.status, r.reason)
        }
        Closed::Failed(Failure::Handshake(e)) => format!("no {e:?}"),
        Closed::Failed(Failure::Http(e)) => format!("no {}", http(e)),
    }
}

/// The name of an error. The response that it may contain is compared elsewhere.
fn http(error: &HttpError) -> String {
    let text = format!("{error:?}");
    let name = text.split(['(', '{', ' ']).next().unwrap_or_default();
    name.to_owned()
}

/// The line for an opened connection; `protocol` as it may be shown.
pub(super) fn opened(opened: &Opened, protocol: Option<&str>) -> String {
    format!("opened {}{}", protocol.unwrap_or("none"), compression(opened))
}

pub(super) fn frame(frame: &CloseFrame) -> String {
    match frame.code {
        None => "code=none".to_owned(),
        Some(code) if frame.reason.is_empty() => format!("code={code}"),
        Some(code) => format!("code={code} reason={:?}", frame.reason),
    }
}

/// The negotiated compression.
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

/// A session and the driver around it, which keeps the law of [`crate::proto`]. If the session
/// breaks that law, an event that no tape has is added.
///
/// ```
/// use moonwire::proto::Settings;
/// use moonwire::tape::Sim;
///
/// let mut sim = Sim::new(Settings::default());
/// sim.feed(b"\x81\x02hi", false);
/// assert_eq!(sim.events.pop_front(), Some(("text".to_owned(), b"hi".to_vec())));
/// ```
#[derive(Debug)]
pub struct Sim {
    /// The session.
    pub session: Session,
    /// The source of its mask keys.
    pub keys: Keys,
    /// The current time.
    pub now: Instant,
    /// Input that `receive` did not take.
    pub tail: Vec<u8>,
    /// Events that were reported and not compared yet.
    pub events: VecDeque<TapeEvent>,
    /// Output that was written and not compared yet.
    pub written: Vec<u8>,
    /// Whether the final event was reported.
    pub closed: bool,
    /// Bytes at the end of `tail` that were received and are parsed later.
    ahead: usize,
}

impl Sim {
    /// A session that starts open.
    pub fn new(settings: Settings) -> Sim {
        let now = Instant::now();
        Sim::of(Session::opened(settings, now), now)
    }

    /// The driver of a session that was created at this time.
    pub fn of(session: Session, now: Instant) -> Sim {
        let (tail, events, written, keys) = Default::default();
        Sim { session, keys, now, tail, events, written, closed: false, ahead: 0 }
    }

    /// Calls the session with a context.
    pub fn with<T>(&mut self, call: impl FnOnce(&mut Session, &mut Context<'_>) -> T) -> T {
        call(&mut self.session, &mut Context { now: self.now, random: &mut self.keys })
    }

    /// Adds an event to [`Sim::events`].
    pub fn push_event(&mut self, event: Option<Event<'_>>) {
        let Some(event) = event else { return };
        let (kind, payload) = tape_event(&event);
        // No tape has an event of this name.
        let kind = if self.closed { format!("after the end: {kind}") } else { kind };
        self.closed |= matches!(event, Event::Closed(_));
        self.events.push_back((kind, payload));
    }

    fn broken(&mut self, law: String) {
        self.events.push_back((format!("a broken law: {law}"), vec![]));
    }

    /// Calls `receive` with the rest of the input until there is no event.
    pub fn pump(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut at = 0;
        while self.ahead == 0 || tail.len() - at > self.ahead {
            let (used, event) = self.with(|session, cx| session.receive(cx, &tail[at..]));
            if used > tail.len() - at {
                self.broken(format!("took {used} of {} bytes", tail.len() - at));
                at = tail.len();
                break;
            }
            at += used;
            let more = event.is_some();
            self.push_event(event);
            if !more {
                break;
            }
        }
        self.tail = tail;
        self.tail.drain(..at);
        self.ahead = self.ahead.min(self.tail.len());
    }

    /// Input of which the bytes `ahead` come with the same read, and are parsed by [`Sim::look`].
    pub(super) fn feed_ahead(&mut self, bytes: &[u8], ahead: &[u8]) {
        self.drained();
        self.tail.extend_from_slice(bytes);
        self.tail.extend_from_slice(ahead);
        self.ahead = ahead.len();
        self.pump();
    }

    /// Parses the next bytes of those; returns whether they are equal to `bytes`.
    pub(super) fn look(&mut self, bytes: &[u8]) -> bool {
        let start = self.tail.len() - self.ahead;
        if !self.tail[start..].starts_with(bytes) {
            return false;
        }
        self.ahead -= bytes.len();
        self.pump();
        true
    }

    /// Bytes from the peer; with `in_place` into the session's own buffer where it offers one.
    pub fn feed(&mut self, mut bytes: &[u8], in_place: bool) {
        while let Some(space) = self.session.space().filter(|_| in_place && !bytes.is_empty()) {
            let n = space.want.min(bytes.len());
            self.fill(&bytes[..n]);
            bytes = &bytes[n..];
        }
        self.drained();
        self.tail.extend_from_slice(bytes);
        self.pump();
    }

    /// Bytes from the peer into the session's own buffer.
    pub fn fill(&mut self, bytes: &[u8]) {
        let fits = match self.session.space() {
            Some(space) => {
                let room = space.buf.capacity() - space.buf.len();
                let fits = (1..=space.want).contains(&bytes.len()) && room >= space.want;
                space.buf.extend_from_slice(bytes);
                fits
            }
            None => false,
        };
        if !fits {
            return self.broken(format!("no space for {} bytes", bytes.len()));
        }
        let event = self.with(|session, cx| session.filled(cx, bytes.len()));
        self.push_event(event);
    }

    /// Nothing more is there to be read.
    pub fn drained(&mut self) {
        let event = self.with(|session, cx| session.drained(cx));
        self.push_event(event);
    }

    /// The peer's stream has ended.
    pub fn eof(&mut self) {
        let event = self.session.receive_eof();
        self.push_event(event);
        self.pump();
    }

    /// The peer's stream was cut.
    pub fn cut(&mut self) {
        let event = self.session.receive_cut();
        self.push_event(event);
        self.pump();
    }

    /// The kernel takes up to `n` bytes, `step` at a time.
    pub fn take(&mut self, mut n: usize, step: usize) {
        while n > 0 && !self.session.outgoing().is_empty() {
            let part = self.session.outgoing().len().min(step).min(n);
            self.written.extend_from_slice(&self.session.outgoing()[..part]);
            self.session.sent(self.now, part);
            n -= part;
        }
    }

    /// Lets time pass, waking at each deadline.
    pub fn advance(&mut self, by: Duration) {
        let Some(to) = self.now.checked_add(by) else {
            return self.broken(format!("{by:?} is too long"));
        };
        for wakes in 0.. {
            let Some(at) = self.session.deadline().filter(|&at| at <= to) else { break };
            if wakes == WAKES {
                self.broken("the deadline does not move".to_owned());
                break;
            }
            self.now = self.now.max(at);
            self.deadline();
        }
        self.now = to;
    }

    /// Calls the session for a deadline that has passed.
    pub fn deadline(&mut self) {
        let event = self.with(|session, cx| session.on_deadline(cx));
        self.push_event(event);
        self.pump();
    }

    /// Checks that after the final event nothing is reported, sent or waited for, whatever happens.
    pub fn poke(&mut self) {
        self.feed(GARBAGE, true);
        self.eof();
        self.advance(Duration::from_secs(3600));
        if !self.tail.is_empty() {
            self.broken("garbage is not taken".to_owned());
        }
        if [self.text("late"), self.close(1000)] != [const { Err(Misuse::NotOpen) }; 2] {
            self.broken("something can be sent behind the end".to_owned());
        }
        self.with(|session, cx| session.answer_close(cx));
        if self.session.deadline().is_some() || self.session.is_open() {
            self.broken("it is not over".to_owned());
        }
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// As [`Session::send_text`](crate::proto::Session::send_text).
    pub fn text(&mut self, text: &str) -> Result<(), Misuse> {
        self.with(|session, cx| session.send_text(cx, text))
    }

    /// Closes the connection.
    ///
    /// # Errors
    ///
    /// As [`Session::close`](crate::proto::Session::close).
    pub fn close(&mut self, code: u16) -> Result<(), Misuse> {
        self.with(|session, cx| session.close(cx, &CloseFrame::new(code, "")))
    }
}
