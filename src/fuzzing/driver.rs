//! The driver around a session: it keeps the law of [`crate::proto`], and checks that the session
//! does.

use std::time::{Duration, Instant};

use super::input::{Cut, Rng, hash};
use crate::proto::{
    CloseFrame, Closed, Context, Event, Failure, HandshakeError, HeadError, Misuse, Random,
    Session, http, sse,
};

/// An event that owns its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnedEvent {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A piece of a body.
    Body(Vec<u8>),
    ServerSent(sse::Event),
    Opened(String),
    Closing(CloseFrame),
    Response(Box<http::Response>),
    Closed(Closed),
}

impl OwnedEvent {
    /// Its place in the order of events.
    fn rank(&self) -> u8 {
        match self {
            OwnedEvent::Opened(_) | OwnedEvent::Response(_) => 0,
            OwnedEvent::Closing(_) => 2,
            OwnedEvent::Closed(_) => 3,
            _ => 1,
        }
    }

    fn of(event: Event<'_>) -> OwnedEvent {
        match event {
            Event::Opened(opened) => OwnedEvent::Opened(format!("{opened:?}")),
            Event::Text(text) => {
                assert_eq!(text.as_str().as_bytes(), text.as_bytes(), "text that is none");
                OwnedEvent::Text(text.into_bytes().into_owned())
            }
            Event::Binary(data) => OwnedEvent::Binary(data.into_owned()),
            Event::Pong(data) => OwnedEvent::Pong(data.to_vec()),
            Event::Closing(frame) => OwnedEvent::Closing(frame),
            Event::Response(response) => OwnedEvent::Response(response),
            Event::Chunk(data) => OwnedEvent::Body(data.into_owned()),
            Event::ServerSent(event) => OwnedEvent::ServerSent(*event),
            Event::Closed(closed) => OwnedEvent::Closed(comparable(closed)),
        }
    }
}

/// Without the bytes in the error for a response that is no HTTP: their number depends on how many
/// came with the deciding one.
fn comparable(closed: Closed) -> Closed {
    let none = || HeadError::NotHttp(String::new());
    match closed {
        Closed::Failed(Failure::Handshake(HandshakeError::Head(HeadError::NotHttp(_)))) => {
            Closed::Failed(Failure::Handshake(HandshakeError::Head(none())))
        }
        Closed::Failed(Failure::Http(http::HttpError::Head(HeadError::NotHttp(_)))) => {
            Closed::Failed(Failure::Http(http::HttpError::Head(none())))
        }
        other => other,
    }
}

/// Mask keys that count up.
pub(super) struct Keys(u32);

impl Random for Keys {
    fn key(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(0x0101_0107);
        self.0.to_be_bytes()
    }
}

pub(super) struct Driver {
    pub(super) session: Session,
    keys: Keys,
    pub(super) now: Instant,
    /// Input that the session did not take.
    tail: Vec<u8>,
    /// The most bytes that it may leave.
    kept: usize,
    pub(super) events: Vec<OwnedEvent>,
    /// Whether consecutive pieces of a body are joined.
    merge: bool,
    pub(super) wire: Vec<u8>,
    /// The kernel has refused bytes since the last call.
    refused: bool,
    pub(super) closed: bool,
    /// When the final event came.
    pub(super) ended: Instant,
    /// How often `on_deadline` was called.
    pub(super) wakes: usize,
    cut: Cut,
    rng: Rng,
    /// How many events one byte may cause.
    each: usize,
}

/// Valid and invalid frames, a close frame among them, and another response.
const GARBAGE: &[u8] =
    b"\x89\x01A\x81\x01A\x88\x02\x03\xE8\xFF\x81\xFF\0HTTP/1.1 200 OK\r\n\r\nx\n\n";

impl Driver {
    /// `kept` is how many bytes the session may leave for the next call.
    pub(super) fn new(session: Session, now: Instant, cut: Cut, kept: usize) -> Driver {
        Driver {
            session,
            keys: Keys(0),
            now,
            tail: Vec::new(),
            kept,
            events: Vec::new(),
            merge: false,
            wire: Vec::new(),
            refused: false,
            closed: false,
            ended: now,
            wakes: 0,
            cut,
            rng: Rng::new(kept as u64),
            each: 1,
        }
    }

    /// The same for a stream; consecutive pieces are joined, unless each is an event.
    pub(super) fn of_stream(session: Session, now: Instant, cut: Cut, kept: usize) -> Driver {
        Driver { merge: true, ..Driver::new(session, now, cut, kept) }
    }

    pub(super) fn pieces_apart(mut self) -> Driver {
        self.merge = false;
        self
    }

    /// For a body that is decoded: deflate makes up to 1,032 bytes of one.
    pub(super) fn decoding(mut self) -> Driver {
        self.each = 1100;
        self
    }

    /// Calls the session with a context.
    pub(super) fn with<T>(&mut self, call: impl FnOnce(&mut Session, &mut Context<'_>) -> T) -> T {
        call(&mut self.session, &mut Context { now: self.now, random: &mut self.keys })
    }

    fn report(&mut self, event: Option<Event<'_>>) {
        let Some(event) = event else { return };
        let event = OwnedEvent::of(event);
        assert!(!self.closed, "after the final event: {event:?}");
        if let Some(last) = self.events.last() {
            let (last, next) = (last.rank(), event.rank());
            assert!(last < next || last == 1 && next == 1, "{event:?} out of order");
        }
        self.closed = matches!(event, OwnedEvent::Closed(_));
        self.ended = self.now;
        match (&event, self.events.last_mut()) {
            (OwnedEvent::Body(more), Some(OwnedEvent::Body(data))) if self.merge => {
                data.extend(more)
            }
            _ => self.events.push(event),
        }
    }

    /// Calls `receive` with the rest of the input until there is no event.
    fn pump(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut at = 0;
        for calls in 0.. {
            assert!(calls <= tail.len() * self.each + 3, "events without end out of {tail:x?}");
            let (used, event) = self.with(|session, cx| session.receive(cx, &tail[at..]));
            assert!(used <= tail.len() - at, "took {used} of {} bytes", tail.len() - at);
            at += used;
            let more = event.is_some();
            self.report(event);
            if !more {
                break;
            }
        }
        // A second call without new input changes nothing.
        if self.cut != Cut::Whole {
            let (used, event) = self.with(|session, cx| session.receive(cx, &tail[at..]));
            assert!(used == 0 && event.is_none(), "asked again, it found {event:?}");
        }
        let left = tail.len() - at;
        assert!(left <= self.kept, "{left} bytes are kept");
        assert!(left == 0 || !self.closed, "{left} bytes are kept after the end");
        self.tail = tail;
        self.tail.drain(..at);
        self.check();
    }

    /// Bytes from the peer. Unless they are given in one piece, large frames are read into the
    /// session's own buffer.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let cut = self.cut;
        for mut piece in cut.pieces(bytes) {
            while cut != Cut::Whole && !piece.is_empty() {
                let skip = cut == Cut::Random && self.rng.below(2) == 0;
                let Some(space) = self.session.space().filter(|_| !skip) else { break };
                let room = space.buf.capacity() - space.buf.len();
                assert!(space.want > 0 && room >= space.want, "{} of {room}", space.want);
                let n = space.want.min(piece.len());
                space.buf.extend_from_slice(&piece[..n]);
                piece = &piece[n..];
                let event = self.with(|session, cx| session.filled(cx, n));
                self.report(event);
            }
            let event = self.with(|session, cx| session.drained(cx));
            self.report(event);
            self.tail.extend_from_slice(piece);
            self.pump();
        }
    }

    /// The stream has ended, or was cut.
    pub(super) fn eof(&mut self, cut: bool) {
        let event = if cut { self.session.receive_cut() } else { self.session.receive_eof() };
        self.report(event);
        // The rest of the input is incomplete.
        self.pump();
    }

    /// The kernel takes up to `n` bytes: one by one, or in one piece if the input is whole. After a
    /// refusal always in one piece, since the pace is estimated from the pieces.
    pub(super) fn take(&mut self, n: usize) {
        let mut left = n.min(self.session.outgoing().len());
        while left > 0 {
            let part = if self.cut == Cut::Whole || self.refused { left } else { 1 };
            self.wire.extend_from_slice(&self.session.outgoing()[..part]);
            let all = part == self.session.outgoing().len();
            // A number above the length counts as all.
            self.session.sent(self.now, if all { usize::MAX } else { part });
            left -= part;
        }
        // The kernel refuses the rest, if there is one.
        self.session.sent(self.now, 0);
        self.refused = !self.session.outgoing().is_empty();
        self.check();
    }

    /// Lets time pass, waking at each deadline.
    pub(super) fn advance(&mut self, by: Duration) {
        let to = self.now + by;
        for wakes in 0.. {
            assert!(wakes < 100_000, "the deadline does not move");
            let Some(at) = self.session.deadline().filter(|&at| at <= to) else { break };
            self.now = self.now.max(at);
            self.wakes += 1;
            let event = self.with(|session, cx| session.on_deadline(cx));
            self.report(event);
            self.pump();
        }
        self.now = to;
    }

    /// The laws that hold between two calls.
    fn check(&self) {
        assert_eq!(self.session.buffered(), self.session.outgoing().len());
        if self.closed && !self.session.is_open() {
            assert_eq!(self.session.deadline(), None, "a deadline after the end");
        }
    }

    /// Checks that after the final event nothing is reported, sent or waited for, whatever happens.
    pub(super) fn poke(&mut self) {
        if !self.closed {
            return;
        }
        self.feed(GARBAGE);
        // A close frame that is held back is sent now, or never.
        self.with(|session, cx| session.answer_close(cx));
        let out = self.session.outgoing().to_vec();
        self.eof(false);
        self.eof(true);
        self.feed(GARBAGE);
        self.advance(Duration::from_secs(100_000));
        let misuse = self.with(|session, cx| session.send_text(cx, "late"));
        assert_eq!(misuse, Err(Misuse::NotOpen));
        let misuse = self.with(|session, cx| session.close(cx, &CloseFrame::default()));
        assert_eq!(misuse, Err(Misuse::NotOpen));
        self.with(|session, cx| session.answer_close(cx));
        assert!(self.session.outgoing() == out, "sent after the end");
        assert!(self.session.space().is_none() && !self.session.is_open());
        assert_eq!(self.session.deadline(), None);
    }
}

/// Runs the same bytes in each cut; returns the results, which have to be the same.
pub(super) fn in_all_cuts(bytes: &[u8], run: impl Fn(Cut) -> Driver) -> Driver {
    let whole = run(Cut::Whole);
    for cut in [Cut::Bytewise, Cut::Random] {
        let other = run(cut);
        assert_eq!(other.events, whole.events, "{cut:?} ({:x}) against whole", hash(bytes));
        assert_eq!(other.session.outgoing(), whole.session.outgoing(), "{cut:?}");
        assert_eq!(other.wire, whole.wire, "{cut:?}");
        assert_eq!(other.session.deadline(), whole.session.deadline(), "{cut:?}");
        assert_eq!(other.session.is_open(), whole.session.is_open(), "{cut:?}");
    }
    whole
}
