//! What stands around a session: it keeps the law of [`crate::proto`], and sees that the session
//! does.

use std::time::{Duration, Instant};

use super::input::{Cut, Rng, hash};
use crate::proto::{
    CloseFrame, Closed, Context, Event, Failure, HandshakeError, HeadError, Misuse, Random,
    Session, http, sse,
};

/// What an event said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
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

impl Told {
    /// Where in the order of events it stands.
    fn rank(&self) -> u8 {
        match self {
            Told::Opened(_) | Told::Response(_) => 0,
            Told::Closing(_) => 2,
            Told::Closed(_) => 3,
            _ => 1,
        }
    }

    fn of(event: Event<'_>) -> Told {
        match event {
            Event::Opened(opened) => Told::Opened(format!("{opened:?}")),
            Event::Text(text) => {
                assert_eq!(text.as_str().as_bytes(), text.as_bytes(), "text that is none");
                Told::Text(text.into_bytes().into_owned())
            }
            Event::Binary(data) => Told::Binary(data.into_owned()),
            Event::Pong(data) => Told::Pong(data.to_vec()),
            Event::Closing(frame) => Told::Closing(frame),
            Event::Response(response) => Told::Response(response),
            Event::Chunk(data) => Told::Body(data.into_owned()),
            Event::ServerSent(event) => Told::ServerSent(*event),
            Event::Closed(closed) => Told::Closed(comparable(closed)),
        }
    }
}

/// Without the bytes that an error shows of an answer that is no HTTP: how many depends on how many
/// came with the one that decided.
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
    /// What was given and not taken.
    tail: Vec<u8>,
    /// The most that may be.
    kept: usize,
    pub(super) told: Vec<Told>,
    /// Whether adjacent pieces of a body count as one.
    merge: bool,
    pub(super) wire: Vec<u8>,
    /// Something has waited since the kernel took the last.
    refused: bool,
    pub(super) closed: bool,
    /// When that was.
    pub(super) ended: Instant,
    /// Calls of `on_deadline`.
    pub(super) wakes: usize,
    cut: Cut,
    rng: Rng,
    /// So many events may come of a byte.
    each: usize,
}

/// Frames good and bad, a close among them, and another response.
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
            told: Vec::new(),
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

    /// The same for a stream; adjacent pieces are one, unless each is an event.
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

    fn tell(&mut self, event: Option<Event<'_>>) {
        let Some(event) = event else { return };
        let told = Told::of(event);
        assert!(!self.closed, "after the final event: {told:?}");
        if let Some(last) = self.told.last() {
            let (last, next) = (last.rank(), told.rank());
            assert!(last < next || last == 1 && next == 1, "{told:?} out of order");
        }
        self.closed = matches!(told, Told::Closed(_));
        self.ended = self.now;
        match (&told, self.told.last_mut()) {
            (Told::Body(more), Some(Told::Body(data))) if self.merge => data.extend(more),
            _ => self.told.push(told),
        }
    }

    /// Gives what is left until no event comes.
    fn pump(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut at = 0;
        for calls in 0.. {
            assert!(calls <= tail.len() * self.each + 3, "events without end out of {tail:x?}");
            let (used, event) = self.with(|session, cx| session.receive(cx, &tail[at..]));
            assert!(used <= tail.len() - at, "took {used} of {} bytes", tail.len() - at);
            at += used;
            let more = event.is_some();
            self.tell(event);
            if !more {
                break;
            }
        }
        // Whether it is asked again makes no difference.
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

    /// Bytes from the peer. Unless they come whole, large frames are read into place.
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
                self.tell(event);
            }
            let event = self.with(|session, cx| session.drained(cx));
            self.tell(event);
            self.tail.extend_from_slice(piece);
            self.pump();
        }
    }

    /// The end of the stream, or a cut.
    pub(super) fn eof(&mut self, cut: bool) {
        let event = if cut { self.session.receive_cut() } else { self.session.receive_eof() };
        self.tell(event);
        // What is left is a part of something.
        self.pump();
    }

    /// The kernel takes up to `n` bytes; one by one unless all is whole. After a refusal in one
    /// piece: the pace is guessed from the pieces.
    pub(super) fn take(&mut self, n: usize) {
        let mut left = n.min(self.session.outgoing().len());
        while left > 0 {
            let part = if self.cut == Cut::Whole || self.refused { left } else { 1 };
            self.wire.extend_from_slice(&self.session.outgoing()[..part]);
            let all = part == self.session.outgoing().len();
            // More than there is counts as all.
            self.session.sent(self.now, if all { usize::MAX } else { part });
            left -= part;
        }
        // The rest, if there is one, is refused.
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
            self.tell(event);
            self.pump();
        }
        self.now = to;
    }

    /// What holds whenever nobody is within a call.
    fn check(&self) {
        assert_eq!(self.session.buffered(), self.session.outgoing().len());
        if self.closed && !self.session.is_open() {
            assert_eq!(self.session.deadline(), None, "a deadline after the end");
        }
    }

    /// After the final event nothing is told, sent or waited for, whatever happens.
    pub(super) fn poke(&mut self) {
        if !self.closed {
            return;
        }
        self.feed(GARBAGE);
        // A close frame that is held back goes out now, or never.
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

/// Runs the same bytes in each cut, and gives what they came to, which must be the same.
pub(super) fn in_all_cuts(bytes: &[u8], run: impl Fn(Cut) -> Driver) -> Driver {
    let whole = run(Cut::Whole);
    for cut in [Cut::Bytewise, Cut::Random] {
        let other = run(cut);
        assert_eq!(other.told, whole.told, "{cut:?} ({:x}) against whole", hash(bytes));
        assert_eq!(other.session.outgoing(), whole.session.outgoing(), "{cut:?}");
        assert_eq!(other.wire, whole.wire, "{cut:?}");
        assert_eq!(other.session.deadline(), whole.session.deadline(), "{cut:?}");
        assert_eq!(other.session.is_open(), whole.session.is_open(), "{cut:?}");
    }
    whole
}
