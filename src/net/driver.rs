//! One connection's life: resolve → dial → TLS → session → drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dial::{Plan, Step};
use super::link::{Link, Read};
use super::options::Options;
use super::reactor::{Conn, Core, Sink};
use super::sys::{Interest, Ready, Sys};
use super::{Closed, ConnId, Event, after};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::proto::{self, Context, Failure, HandshakeError, Host, Lost, Session, Timer};
use crate::trace::Trace;

/// A connection and its buffers.
pub(super) struct Driver<S: Sys> {
    pub(super) id: ConnId,
    url: Box<str>,
    life: Life<S>,
    /// Input that the session has not taken: part of a frame, or what the turn had no room for.
    tail: Vec<u8>,
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
    /// The peer sends no more, and has said goodbye; what we owe it is still to be sent.
    deaf: bool,
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
    options: Options,
    deadline: Instant,
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
}

pub(super) struct Live<S: Sys> {
    link: Link<S>,
    pub(super) session: Session,
    limits: Arc<Limits>,
    token: Token,
    /// The gate that is held until the handshake is over, and the time limit of it all.
    opening: Option<Box<(SocketAddr, Duration)>>,
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
    pub(super) fn new(id: ConnId, options: Options, now: Instant, limit: Duration) -> Driver<S> {
        let deadline = after(now, limit);
        Driver {
            id,
            url: options.url().as_str().into(),
            life: Life::Opening(Box::new(Opening {
                options,
                deadline,
                plan: None,
                next: None,
                attempts: Vec::new(),
                parked: Vec::new(),
                failed: Vec::new(),
                count: 0,
            })),
            tail: Vec::new(),
            unparsed: false,
            armed: None,
            touched: false,
            released: false,
            ended: false,
            held: 0,
            counted: 0,
            paused: false,
            deaf: false,
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
            Life::Live(live) => live.session.deadline(),
            Life::Draining { until, .. } => Some(*until),
            Life::Gone => None,
        }
    }

    // Opening.

    /// Asks for the addresses, unless they are known.
    pub(super) fn start(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let Life::Opening(opening) = &self.life else { return };
        let url = opening.options.url();
        let (host, port) = (url.host().clone(), url.port());
        let set: Vec<SocketAddr> =
            core.resolve.iter().filter(|o| o.is_for(&host, port)).map(|o| o.to).collect();
        match host {
            _ if !set.is_empty() => self.addresses(core, sink, Ok(set)),
            Host::Address(ip) => self.addresses(core, sink, Ok(vec![SocketAddr::new(ip, port)])),
            Host::Name(name) => {
                core.say(self.id, || format!("resolving {name}"));
                if let Err(e) = core.sys.resolve(self.id.to_bits(), &name, port) {
                    self.addresses(core, sink, Err(e));
                }
            }
        }
    }

    /// The addresses, or why there are none.
    pub(super) fn addresses(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        answer: io::Result<Vec<SocketAddr>>,
    ) {
        let Life::Opening(opening) = &mut self.life else { return };
        match answer {
            Ok(all) if !all.is_empty() => {
                let limits = &core.limits;
                opening.plan = Some(Plan::new(&all, limits.addresses, limits.attempt_delay));
                self.dial(core, sink);
            }
            Ok(_) => {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                self.fail(core, sink, Stage::Resolve, ErrorKind::Resolve(none));
            }
            Err(e) => self.fail(core, sink, Stage::Resolve, ErrorKind::Resolve(e)),
        }
    }

    /// Starts what the plan wants started.
    fn dial(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        loop {
            let Life::Opening(opening) = &mut self.life else { return };
            let Some(plan) = &mut opening.plan else { return };
            match plan.step(core.now) {
                Step::Start(to) => self.attempt(core, to),
                Step::Wait(next) => {
                    opening.next = next;
                    return;
                }
                Step::Exhausted => {
                    let failed = std::mem::take(&mut opening.failed);
                    return self.fail(core, sink, Stage::Connect, ErrorKind::Connect(failed));
                }
            }
        }
    }

    /// One attempt, as soon as its gate lets it.
    fn attempt(&mut self, core: &mut Core<S>, to: SocketAddr) {
        let Life::Opening(opening) = &mut self.life else { return };
        if !core.gates.enter(to, self.id) {
            opening.parked.push(to);
            return;
        }
        core.say(self.id, || format!("connecting to {to}"));
        let number = opening.count;
        opening.count = opening.count.wrapping_add(1);
        let interest = Interest { read: false, write: true };
        let started = core.sys.connect(to).and_then(|socket| {
            core.sys.watch(&socket, Token::of(self.id, number), interest, true)?;
            Ok(socket)
        });
        match started {
            Ok(socket) => opening.attempts.push(Attempt { number, to, socket }),
            Err(e) => opening.missed(core, to, e),
        }
    }

    /// A gate that it waited for may be free; whether it still wants it.
    pub(super) fn unpark(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        to: SocketAddr,
    ) -> bool {
        let Life::Opening(opening) = &mut self.life else { return false };
        let Some(i) = opening.parked.iter().position(|p| *p == to) else { return false };
        opening.parked.swap_remove(i);
        self.attempt(core, to);
        self.dial(core, sink);
        true
    }

    fn attempt_ready(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, number: u8) {
        let Life::Opening(opening) = &mut self.life else { return };
        let Some(i) = opening.attempts.iter().position(|a| a.number == number) else { return };
        let attempt = opening.attempts.swap_remove(i);
        match core.sys.connected(&attempt.socket) {
            Ok(()) => self.go_live(core, sink, attempt),
            Err(e) => {
                core.sys.forget(&attempt.socket);
                opening.missed(core, attempt.to, e);
                self.dial(core, sink);
            }
        }
    }

    /// TCP is there: the other attempts end, TLS and the handshake begin.
    fn go_live(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, attempt: Attempt<S>) {
        let Life::Opening(opening) = &mut self.life else { return };
        opening.leave(core);
        core.say(self.id, || format!("connected to {}", attempt.to));
        let (options, deadline) = (&opening.options, opening.deadline);
        let tls = match core.tls(options.url()) {
            Ok(tls) => tls,
            Err(kind) => {
                core.gates.leave(attempt.to);
                core.sys.forget(&attempt.socket);
                return self.fail(core, sink, Stage::Tls, kind);
            }
        };
        let limit = options.opening(&core.limits);
        let settings = options.settings(&core.limits, core.observer.is_some());
        let limits = Arc::clone(&settings.limits);
        let nonce = core.keys.with(&mut core.sys).bytes();
        let session = Session::new(&options.request, settings, nonce, Some(deadline));
        let number = Token::of(self.id, attempt.number);
        self.life = Life::Live(Live {
            link: Link { socket: attempt.socket, tls },
            session,
            limits,
            token: Token { number, interest: Interest { read: false, write: true } },
            opening: Some(Box::new((attempt.to, limit))),
        });
        core.touch(self);
    }

    // Live.

    pub(super) fn ready(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        attempt: u8,
        ready: Ready,
    ) {
        core.touch(self);
        match &mut self.life {
            Life::Opening(_) => self.attempt_ready(core, sink, attempt),
            Life::Live(live) if live.token.number == Token::of(self.id, attempt) => {
                if ready.write {
                    live.token.interest.write = false;
                    // `settle` writes, and asks again for what the kernel refuses.
                    let _ = core.sys.watch(
                        &live.link.socket,
                        live.token.number,
                        live.token.interest,
                        false,
                    );
                }
                // One that is paused is reported when it broke: then what the kernel still has
                // is read, so that its end is seen. Without that, the wait would not wait.
                if ready.read && !self.unparsed {
                    self.read(core, sink);
                }
            }
            Life::Draining { .. } => self.drain(core),
            _ => {}
        }
    }

    fn read(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let mut buf = std::mem::take(&mut core.buf);
        let mut end = self.tail.len();
        if buf.len() < end + core.limits.receive_buffer {
            buf.resize(end + core.limits.receive_buffer, 0);
        }
        buf[..end].copy_from_slice(&self.tail);
        self.tail = Vec::new();
        let outcome = loop {
            match self.read_once(core, sink, &mut buf, &mut end) {
                Ok(Read::Some { more: true }) if core.has_room() && !self.is_over() => {
                    let max = core.limits.receive_buffer_max;
                    // A frame that lacks little may fill it all; a read of nothing would look
                    // like the end of the stream.
                    let least = end + core.limits.receive_buffer;
                    let len = (buf.len() * 2).min(max).max(least);
                    if buf.len() < len {
                        buf.resize(len, 0);
                    }
                }
                outcome => break outcome,
            }
        };
        if !self.is_over() {
            self.tail = buf[..end].to_vec();
        }
        core.buf = buf;
        if let Life::Live(Live { link: Link { tls: Some(tls), .. }, .. }) = &mut self.life {
            tls.shrink();
        }
        if matches!(outcome, Ok(Read::Eof) | Err(_)) {
            self.parse_all(core, sink);
            self.ended(core, sink, outcome.err());
        }
    }

    /// Goes on with what an earlier turn had no room for.
    pub(super) fn parse_on(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.unparsed = false;
        let mut buf = std::mem::take(&mut self.tail);
        let mut end = buf.len();
        self.parse(core, sink, &mut buf, &mut end);
        if !self.is_over() {
            buf.truncate(end);
            buf.shrink_to_fit();
            self.tail = buf;
        }
        core.touch(self);
    }

    /// The stream has ended: what has come is told, whatever the turn has room for.
    fn parse_all(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        while self.unparsed {
            core.handed = 0;
            self.parse_on(core, sink);
        }
    }

    /// One system call, and all events that come of it. `buf[..end]` is what the session has not
    /// taken, before and after.
    fn read_once(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        buf: &mut Vec<u8>,
        end: &mut usize,
    ) -> Result<Read, ErrorKind> {
        let Life::Live(live) = &mut self.life else { return Ok(Read::None) };
        if live.link.tls.is_none()
            && let Some(space) = live.session.space()
        {
            let want = space.want;
            let read = core.sys.append(&live.link.socket, space.buf, want);
            return self.filled(core, sink, want, read);
        }
        let read = live.link.read(&mut core.sys, &mut core.cipher, buf, end);
        self.parse(core, sink, buf, end);
        let full = matches!(read, Ok(Read::Some { more: true }));
        if full && self.is_secure() && core.cipher.len() < buf.len() {
            core.cipher.resize(buf.len(), 0);
        }
        read
    }

    fn is_secure(&self) -> bool {
        matches!(&self.life, Life::Live(live) if live.link.tls.is_some())
    }

    /// After a read straight into a message.
    fn filled(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        want: usize,
        read: io::Result<usize>,
    ) -> Result<Read, ErrorKind> {
        let Life::Live(live) = &mut self.life else { return Ok(Read::None) };
        match read {
            Ok(0) => Ok(Read::Eof),
            Ok(n) => {
                let mut random = core.keys.with(&mut core.sys);
                let mut cx = Context { now: core.now, random: &mut random };
                core.handed += n;
                if let Some(event) = live.session.filled(&mut cx, n) {
                    self.event(core, sink, event);
                }
                Ok(Read::Some { more: n == want })
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock) => Ok(Read::None),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted) => {
                Ok(Read::Some { more: true })
            }
            Err(e) => Err(ErrorKind::Io(e)),
        }
    }

    fn parse(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, buf: &mut [u8], end: &mut usize) {
        let mut at = 0;
        loop {
            let Life::Live(live) = &mut self.life else {
                *end = 0;
                return;
            };
            let mut random = core.keys.with(&mut core.sys);
            let mut cx = Context { now: core.now, random: &mut random };
            let (used, event) = live.session.receive(&mut cx, &buf[at..*end]);
            at += used;
            core.handed += used;
            let Some(event) = event else { break };
            core.handed += weight(&event);
            self.event(core, sink, event);
            if !core.has_room() && at < *end && !self.is_over() {
                self.unparsed = true;
                core.backlog.push(self.id);
                break;
            }
        }
        buf.copy_within(at..*end, 0);
        *end -= at;
    }

    /// Passes an event on.
    fn event(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, event: proto::Event<'_>) {
        let event = match event {
            proto::Event::Closed(closed) => return self.closed(core, sink, closed, None),
            proto::Event::Opened(opened) => {
                self.observe(core);
                self.leave_gate(core);
                let Life::Live(live) = &self.life else { return };
                core.say(self.id, || match &live.link.tls {
                    Some(tls) => format!("open over {}", tls.version()),
                    None => "open".to_owned(),
                });
                Event::Opened(opened)
            }
            proto::Event::Closing(frame) => {
                self.observe(core);
                core.say(self.id, || format!("the server closes: {frame}"));
                Event::Closing(frame)
            }
            proto::Event::Text(text) => Event::Text(text),
            proto::Event::Binary(data) => Event::Binary(data),
            proto::Event::Pong(data) => Event::Pong(data),
        };
        if !self.released {
            let id = self.id;
            let Life::Live(live) = &mut self.life else { return };
            let mut conn = Conn::new(id, Some(&mut live.session), &mut self.held, core);
            sink.event(&mut conn, event);
        }
    }

    fn leave_gate(&mut self, core: &mut Core<S>) {
        if let Life::Live(live) = &mut self.life
            && let Some(opening) = live.opening.take()
        {
            core.gates.leave(opening.0);
        }
    }

    // Ending.

    /// The stream has ended, or broke.
    fn ended(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, kind: Option<ErrorKind>) {
        let Life::Live(live) = &mut self.life else {
            return self.free(core);
        };
        // A peer that is done sending may read on.
        if kind.is_none() && !self.deaf && live.session.peer_is_done() && live.owes() {
            self.deaf = true;
            core.touch(self);
            return;
        }
        if let Some(proto::Event::Closed(closed)) = live.session.receive_eof() {
            self.closed(core, sink, closed, kind);
        }
        self.free(core);
    }

    pub(super) fn on_deadline(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        core.touch(self);
        match &mut self.life {
            Life::Opening(opening) if opening.deadline <= core.now => {
                let stage = if opening.plan.is_none() { Stage::Resolve } else { Stage::Connect };
                let limit = opening.options.opening(&core.limits);
                self.fail(core, sink, stage, ErrorKind::Timeout(limit));
            }
            Life::Opening(_) => self.dial(core, sink),
            Life::Live(live) => {
                let mut random = core.keys.with(&mut core.sys);
                let mut cx = Context { now: core.now, random: &mut random };
                if let Some(event) = live.session.on_deadline(&mut cx) {
                    self.event(core, sink, event);
                }
            }
            Life::Draining { .. } => self.free(core),
            Life::Gone => {}
        }
    }

    /// It could not be opened.
    fn fail(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, stage: Stage, kind: ErrorKind) {
        let error = Error::new(&self.url, stage, kind);
        self.free(core);
        self.finally(core, sink, Closed::Failed(error));
    }

    /// The session's last event; `kind` is what the transport said, if that was the cause.
    fn closed(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        closed: proto::Closed,
        kind: Option<ErrorKind>,
    ) {
        let (stage, limit) = self.stage();
        let (pong, close) = match &self.life {
            Life::Live(live) => (live.limits.pong, live.limits.close),
            _ => (core.limits.pong, core.limits.close),
        };
        let error = |stage, kind| Error::new(&self.url, stage, kind);
        let closed = match closed {
            proto::Closed::Clean(frame) => Closed::Clean(frame),
            proto::Closed::Failed(Failure::Violation(v)) => {
                Closed::Failed(error(Stage::Open, ErrorKind::Violation(v)))
            }
            proto::Closed::Failed(Failure::Handshake(HandshakeError::Timeout)) => {
                Closed::Failed(error(stage, ErrorKind::Timeout(limit)))
            }
            proto::Closed::Failed(Failure::Handshake(e)) => Closed::Failed(match (stage, kind) {
                (_, Some(kind @ ErrorKind::Tls(..))) => error(Stage::Tls, kind),
                (_, Some(kind)) => error(stage, kind),
                (Stage::Tls, None) => {
                    error(stage, ErrorKind::Tls("the server closed the connection".into(), None))
                }
                (_, None) => error(stage, ErrorKind::Handshake(e)),
            }),
            proto::Closed::Lost(Lost::Timeout(Timer::Pong)) => {
                Closed::Lost(error(Stage::Open, ErrorKind::Silence(pong)))
            }
            proto::Closed::Lost(Lost::Timeout(_)) => {
                Closed::Lost(error(Stage::Open, ErrorKind::NoCloseAnswer(close)))
            }
            proto::Closed::Lost(_) => {
                Closed::Lost(error(Stage::Open, kind.unwrap_or(ErrorKind::Eof)))
            }
        };
        self.observe(core);
        let refused = self.leave_gate_if_held(core);
        self.ended = true;
        if self.released {
            self.answer_close(core);
        }
        if !self.live().is_some_and(|live| live.session.is_open()) {
            self.drain_or_free(core, refused);
        }
        self.finally(core, sink, closed);
    }

    /// The stage that a live connection is in, and the time limit of its opening.
    fn stage(&self) -> (Stage, Duration) {
        let Life::Live(live) = &self.life else { return (Stage::Connect, Duration::ZERO) };
        let Some(opening) = &live.opening else { return (Stage::Open, Duration::ZERO) };
        let tls = live.link.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        (if tls { Stage::Tls } else { Stage::Handshake }, opening.1)
    }

    fn leave_gate_if_held(&mut self, core: &mut Core<S>) -> bool {
        let held = matches!(&self.life, Life::Live(live) if live.opening.is_some());
        self.leave_gate(core);
        held
    }

    fn answer_close(&mut self, core: &mut Core<S>) {
        if let Life::Live(live) = &mut self.life {
            let now = core.now;
            live.session.answer_close(&mut Context { now, random: core });
        }
    }

    /// What we said last has to arrive: a socket closed at once, with bytes of the peer unread,
    /// would reset the connection and could take our close frame with it.
    fn drain_or_free(&mut self, core: &mut Core<S>, refused: bool) {
        let life = std::mem::replace(&mut self.life, Life::Gone);
        let Life::Live(live) = life else {
            self.life = life;
            return;
        };
        let Live { link, session, token, .. } = live;
        let rest = session.outgoing().to_vec();
        if refused && link.tls.is_none() {
            core.sys.forget(&link.socket);
            return;
        }
        let until = after(core.now, core.limits.linger);
        self.life = Life::Draining { link, rest, until, half_closed: false, token };
        self.tail = Vec::new();
        self.drain(core);
    }

    /// Writes what is left, says that no more comes, and reads until the peer is done too.
    fn drain(&mut self, core: &mut Core<S>) {
        let Life::Draining { link, rest, half_closed, token, .. } = &mut self.life else { return };
        if !*half_closed {
            match link.write_last(&mut core.sys, rest) {
                Ok(true) => {
                    core.sys.finish(&link.socket);
                    *half_closed = true;
                }
                Ok(false) => {}
                Err(_) => return self.free(core),
            }
        }
        let interest = Interest { read: true, write: !*half_closed };
        if token.interest != interest {
            token.interest = interest;
            let _ = core.sys.watch(&link.socket, token.number, interest, false);
        }
        let mut scratch = [0; 4096];
        // A peer that never stops does not hold up the others.
        for _ in 0..16 {
            match core.sys.read(&link.socket, &mut scratch) {
                Ok(n) if n > 0 => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => return self.free(core),
            }
        }
    }

    /// The final event.
    fn finally(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, closed: Closed) {
        core.say(self.id, || format!("ended: {closed}"));
        if !std::mem::replace(&mut self.released, true) {
            let mut conn = Conn::new(self.id, None, &mut self.held, core);
            sink.event(&mut conn, Event::Closed(closed));
        }
    }

    /// Closes every socket.
    pub(super) fn free(&mut self, core: &mut Core<S>) {
        self.leave_gate(core);
        match std::mem::replace(&mut self.life, Life::Gone) {
            Life::Opening(mut opening) => opening.leave(core),
            Life::Live(Live { link, .. }) | Life::Draining { link, .. } => {
                core.sys.forget(&link.socket);
            }
            Life::Gone => {}
        }
        self.tail = Vec::new();
        core.touch(self);
    }

    /// Its owner has gone: an open connection is closed, one that is being opened dropped.
    pub(super) fn release(&mut self, core: &mut Core<S>, frame: &proto::CloseFrame) {
        self.released = true;
        core.touch(self);
        match &mut self.life {
            Life::Live(live) if live.opening.is_none() => {
                let mut random = core.keys.with(&mut core.sys);
                let mut cx = Context { now: core.now, random: &mut random };
                live.session.answer_close(&mut cx);
                // Refused when it is being closed already, which is as well; and when nobody may
                // send such a frame, but then it has to end all the same.
                if live.session.close(&mut cx, frame).is_err() {
                    let _ = live.session.close(&mut cx, &proto::CloseFrame::new(1001, ""));
                }
            }
            Life::Draining { .. } => {}
            _ => self.free(core),
        }
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
            core.touch(self);
        }
    }

    /// After anything has happened: writes what waits, and waits for what is needed.
    pub(super) fn settle(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.balance(core);
        if let Some(kind) = self.write(core) {
            // What the peer said before it went is still to be read; without that, this is the end.
            self.read(core, sink);
            self.parse_all(core, sink);
            if self.live().is_some() {
                self.ended(core, sink, Some(kind));
            }
        }
        self.observe(core);
        if !self.is_done() {
            return;
        }
        if self.ended {
            self.drain_or_free(core, false);
        } else {
            self.ended(core, sink, None);
        }
    }

    /// Hands the session's notes to the observer.
    pub(super) fn observe(&mut self, core: &mut Core<S>) {
        let Life::Live(live) = &mut self.life else { return };
        let (Some(observer), Some(notes)) = (&mut core.observer, live.session.notes()) else {
            return;
        };
        for note in notes.drain(..) {
            observer.observe(core.now, self.id.to_bits(), Trace::Note(&note));
        }
    }

    /// Writes what waits; gives the error, if the socket is broken.
    pub(super) fn write(&mut self, core: &mut Core<S>) -> Option<ErrorKind> {
        let Life::Live(live) = &mut self.life else { return None };
        let (mut blocked, mut idle) = (false, false);
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
    /// Bytes that the kernel has not taken. How many TLS keeps it does not tell; at least one.
    pub(super) fn buffered(&self) -> usize {
        self.session.buffered().max(self.link.holds_back().into())
    }

    /// Whether the peer is to get anything more: what waits, or a close frame that is held back.
    fn owes(&self) -> bool {
        self.session.is_open() || self.buffered() > 0
    }
}

/// What an event costs its owner besides its bytes: frames can be empty, and texts are handed over
/// in runs.
fn weight(event: &proto::Event<'_>) -> usize {
    if matches!(event, proto::Event::Text(_)) { 16 } else { 256 }
}

impl<S: Sys> Opening<S> {
    fn missed(&mut self, core: &mut Core<S>, to: SocketAddr, e: io::Error) {
        core.gates.leave(to);
        self.failed.push((to, e));
        if let Some(plan) = &mut self.plan {
            plan.failed();
        }
    }

    /// Ends all attempts that are under way.
    fn leave(&mut self, core: &mut Core<S>) {
        self.parked.clear();
        for attempt in self.attempts.drain(..) {
            core.sys.forget(&attempt.socket);
            core.gates.leave(attempt.to);
        }
    }
}
