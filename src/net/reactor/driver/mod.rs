//! One connection's life: resolve → dial → TLS → session → drain.

mod ending;
mod live;
mod opening;
mod tail;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::tail::Tail;
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::net::ask::{Ask, StreamOptions};
use crate::net::event::ConnId;
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::sys::{Interest, Sys};
use crate::net::wire::dial::Plan;
use crate::net::wire::link::Link;
use crate::proto::Session;
use crate::trace::Trace;

/// A connection and its buffers.
pub(super) struct Driver<S: Sys> {
    pub(super) id: ConnId,
    url: Box<str>,
    life: Life<S>,
    /// Input that the session has not taken: part of a frame, or what the turn had no room for.
    tail: Tail,
    /// Whether it is the latter; then it stands in the reactor's backlog, and nothing is read.
    unparsed: bool,
    /// The deadline that stands in the reactor's table.
    pub(super) armed: Option<Instant>,
    /// Whether it stands in the reactor's list of those to be settled.
    pub(super) touched: bool,
    /// Nobody wants its events any more: they were given up, or the final one has been told.
    pub(super) released: bool,
    /// The final event is over; where the close frame is held back, the session lives on.
    ended: bool,
    /// Bytes that were handed over and not yet consumed, where that is counted.
    pub(super) held: usize,
    /// What of them is part of the reactor's sum.
    pub(super) counted: usize,
    /// Its socket is not read until enough of them are consumed.
    paused: bool,
    /// The peer sends no more; what we owe it is still to be sent.
    deaf: bool,
    /// The last message was read to its own place; the next may be as large.
    large: bool,
    /// What an early write came to; [`Driver::settle`] ends the connection with it.
    broken: Option<Box<ErrorKind>>,
}

// The large variant is the one that lives.
#[allow(clippy::large_enum_variant)]
enum Life<S: Sys> {
    Opening(Box<Opening<S>>),
    Live(Live<S>),
    /// The final event has been given; what we said last is still on its way.
    Draining {
        link: Link<S>,
        rest: Vec<u8>,
        until: Instant,
        half_closed: bool,
        token: Token,
    },
    Gone,
}

struct Opening<S: Sys> {
    ask: Ask,
    /// When a connection has to be there, and of a WebSocket the 101 response.
    deadline: Instant,
    /// When the head of a response has to be there, after all redirects.
    total: Instant,
    /// `None` while the name is being resolved.
    plan: Option<Plan>,
    /// When the next address is to be tried.
    next: Option<Instant>,
    attempts: Vec<Attempt<S>>,
    /// Addresses whose gate is busy.
    parked: Vec<SocketAddr>,
    failed: Vec<(SocketAddr, io::Error)>,
    count: u8,
}

struct Attempt<S: Sys> {
    number: u8,
    to: SocketAddr,
    socket: S::Socket,
    interest: Interest,
}

pub(super) struct Live<S: Sys> {
    link: Link<S>,
    pub(super) session: Session,
    limits: Arc<Limits>,
    token: Token,
    /// Until it is open.
    entry: Option<Box<Entry>>,
    /// Of a stream, what it was opened with: a redirect goes on with it.
    stream: Option<Box<StreamOptions>>,
}

/// A connection on its way from TCP to what its owner calls open.
struct Entry {
    /// The gate that it holds until the handshake is over.
    gate: Option<SocketAddr>,
    /// The time limit of it all, and of a stream's answer.
    limit: Duration,
    response: Duration,
    /// Of a stream: TLS is under way, and has until then.
    until: Option<Instant>,
}

/// How a socket is watched.
#[derive(Clone, Copy)]
struct Token {
    number: u64,
    interest: Interest,
}

impl Token {
    fn of(id: ConnId, attempt: u8) -> u64 {
        id.to_bits() << 8 | u64::from(attempt)
    }
}

/// The connection and the attempt that a token stands for.
pub(super) fn token_parts(token: u64) -> (ConnId, u8) {
    (ConnId::from_bits(token >> 8), token as u8)
}

impl<S: Sys> Driver<S> {
    pub(super) fn new(id: ConnId, ask: Ask, core: &Core<S>) -> Driver<S> {
        let total = ask.total(core.now, &core.limits);
        Driver {
            id,
            url: ask.shown_url().into(),
            life: Life::Opening(Box::new(Opening::new(ask, core, total, 0))),
            tail: Tail::default(),
            unparsed: false,
            armed: None,
            touched: false,
            released: false,
            ended: false,
            held: 0,
            counted: 0,
            paused: false,
            deaf: false,
            large: false,
            broken: None,
        }
    }

    /// Something has happened to it: [`Driver::settle`] is to look at it before the next wait.
    pub(super) fn touch(&mut self, core: &mut Core<S>) {
        if !std::mem::replace(&mut self.touched, true) {
            core.dirty.push(self.id);
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.life, Life::Gone)
    }

    /// Whether the final event has been given.
    pub(super) fn is_over(&self) -> bool {
        self.ended || matches!(self.life, Life::Gone | Life::Draining { .. })
    }

    /// Whether the session is over, or all that is owed to a peer that sends no more is sent: then
    /// [`Driver::settle`] has the rest to do.
    pub(super) fn is_done(&self) -> bool {
        let Life::Live(live) = &self.life else { return false };
        (self.ended && !live.session.is_open()) || (self.deaf && !live.owes())
    }

    pub(super) fn live(&mut self) -> Option<&mut Live<S>> {
        match &mut self.life {
            Life::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.life {
            Life::Opening(o) => Some(o.next.map_or(o.deadline, |next| next.min(o.deadline))),
            Life::Live(live) => live.deadline(self.paused),
            Life::Draining { until, .. } => Some(*until),
            Life::Gone => None,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Stops reading while too much waits to be consumed, and goes on when it does not.
    pub(super) fn balance(&mut self, core: &mut Core<S>) {
        core.held = core.held - self.counted + self.held;
        self.counted = self.held;
        let limits = &core.limits;
        let low = self.paused || core.held > limits.high_water_total;
        // A low-water mark above the high one would have it stop and go on for ever.
        let low_water = limits.low_water.min(limits.high_water);
        let pause = self.held > if low { low_water } else { limits.high_water };
        if pause != self.paused {
            self.paused = pause;
            self.touch(core);
        }
    }

    /// After anything has happened: writes what waits, and waits for what is needed.
    pub(super) fn settle(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.balance(core);
        if let Life::Live(live) = &mut self.life {
            live.look_whether_ready(core.now);
        }
        let broken = self.broken.take().map(|kind| *kind);
        if let Some(kind) = broken.or_else(|| self.write(core)) {
            // What the peer said before it went is still to be read. Then this is the end, and no
            // good one: the system tells the error once, and after it an end like any other.
            let read = self.read_some(core, sink);
            self.parse_all(core, sink);
            if self.live().is_some() {
                self.ended(core, sink, true, Some(read.err().unwrap_or(kind)));
            }
        }
        self.observe(core);
        if !self.is_done() {
            return;
        }
        if self.ended {
            self.drain_or_free(core, false);
        } else {
            self.ended(core, sink, false, None);
        }
    }

    /// Whether [`Driver::settle`] would find nothing to do, as after most reads.
    pub(super) fn is_settled(&self, core: &Core<S>) -> bool {
        let Life::Live(live) = &self.life else { return false };
        live.entry.is_none()
            && live.link.tls.is_none()
            && live.session.outgoing().is_empty()
            && self.held == self.counted
            && !(self.ended || self.deaf)
            && self.broken.is_none()
            && core.observer.is_none()
            && self.is_armed()
    }

    /// Whether the deadline may stand in the reactor's table as it does. That of a keep-alive ping
    /// moves with each message: it is left where it is, and looked at again when it comes, unless
    /// it has moved to "never".
    pub(super) fn is_armed(&self) -> bool {
        match (self.armed, self.deadline()) {
            (Some(armed), Some(wanted)) => {
                armed <= wanted && wanted.duration_since(armed) < Duration::from_secs(86_400)
            }
            (armed, wanted) => armed == wanted && !self.is_gone(),
        }
    }

    /// Hands the session's notes to the observer.
    pub(super) fn observe(&mut self, core: &mut Core<S>) {
        let Some(observer) = &mut core.observer else { return };
        let Life::Live(live) = &mut self.life else { return };
        let Some(notes) = live.session.notes() else { return };
        for note in notes.drain(..) {
            observer.observe(core.now, self.id.to_bits(), Trace::Note(&note));
        }
    }

    /// Writes what waits, between turns; whether the socket is good. If not, nothing is written any
    /// more, though a later try might go well: how much of the last one went out nobody knows.
    pub(super) fn write_early(&mut self, core: &mut Core<S>) -> bool {
        if self.broken.is_none() {
            self.broken = self.write(core).map(Box::new);
        }
        self.broken.is_none()
    }

    /// Writes what waits; gives the error, if the socket is broken.
    fn write(&mut self, core: &mut Core<S>) -> Option<ErrorKind> {
        let Life::Live(live) = &mut self.life else { return None };
        // TLS may have something to say by itself.
        let idle = live.link.tls.is_none() && live.session.outgoing().is_empty();
        let (mut blocked, mut idle) = (false, idle);
        while !blocked && !idle {
            let outgoing = live.session.outgoing();
            match live.link.write(&mut core.sys, outgoing) {
                Ok((done, is_blocked)) => {
                    blocked = is_blocked;
                    live.session.sent(done);
                    // A late pong may have come forth; else all is written, or TLS has to read.
                    idle = done == 0 || live.session.outgoing().is_empty();
                }
                Err(kind) => return Some(kind),
            }
        }
        let interest = Interest { read: !self.paused && !self.deaf, write: blocked };
        if live.token.interest != interest {
            if interest.read && !live.token.interest.read && live.entry.is_none() {
                core.now = core.sys.now();
                live.session.connected(core.now);
            }
            live.token.interest = interest;
            let (socket, number) = (&live.link.socket, live.token.number);
            if let Err(e) = core.sys.watch(socket, number, interest, false) {
                return Some(ErrorKind::Io(e));
            }
        }
        None
    }
}

impl<S: Sys> Live<S> {
    /// A peer that is not read is not silent.
    fn deadline(&self, paused: bool) -> Option<Instant> {
        let tls = self.entry.as_ref().and_then(|entry| entry.until);
        tls.or_else(|| match paused {
            true => self.session.deadline_unread(),
            false => self.session.deadline(),
        })
    }

    /// A stream's request can be sent from now on, and its answer has its own time.
    fn look_whether_ready(&mut self, now: Instant) {
        let Some(entry) = &mut self.entry else { return };
        let handshaking = self.link.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        if !handshaking && entry.until.take().is_some() {
            self.session.connected(now);
        }
    }

    /// Bytes that the kernel has not taken. How many TLS keeps it does not tell; at least one.
    pub(super) fn buffered(&self) -> usize {
        self.session.buffered().max(self.link.holds_back().into())
    }

    /// Whether the peer is to get anything more: what waits, or a close frame that is held back.
    fn owes(&self) -> bool {
        self.session.is_open() || self.buffered() > 0
    }
}
