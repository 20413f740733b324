//! How a connection ends: the final event, what we said last, and the socket.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::tail::Tail;
use super::{Driver, Life, Live};
use crate::error::{Error, ErrorKind, Stage};
use crate::net::event::{Closed, Event};
use crate::net::reactor::conn::{Conn, Sink};
use crate::net::reactor::core::Core;
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::proto::SECRET;
use crate::proto::http::HttpError;
use crate::proto::{self, Failure, HandshakeError, Lost, Timer};

impl<S: Sys> Driver<S> {
    /// The stream has ended, or broke; `cut` if the peer did not say so.
    pub(super) fn ended(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        cut: bool,
        mut kind: Option<ErrorKind>,
    ) {
        let live = match &mut self.life {
            Life::Live(live) => live,
            // It was redirected meanwhile.
            Life::Opening(_) => return,
            _ => return self.free(core),
        };
        // A peer that is done sending may read on.
        if kind.is_none() && !self.deaf && live.session.peer_is_done() && live.owes() {
            self.deaf = true;
            self.touch(core);
            return;
        }
        self.deaf = true;
        while let Life::Live(live) = &mut self.life {
            let event = if cut { live.session.receive_cut() } else { live.session.receive_eof() };
            match event {
                Some(proto::Event::Closed(closed)) => self.closed(core, sink, closed, kind.take()),
                Some(event) => self.event(core, sink, event),
                None => break,
            }
        }
        if !matches!(self.life, Life::Opening(_)) {
            self.free(core);
        }
    }

    pub(in crate::net) fn on_deadline(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.touch(core);
        match &mut self.life {
            Life::Opening(opening) if opening.deadline <= core.now => {
                let stage = if opening.plan.is_none() { Stage::Resolve } else { Stage::Connect };
                let limit = opening.ask.opening(&core.limits);
                self.fail(core, sink, stage, ErrorKind::Timeout(limit));
            }
            Life::Opening(_) => self.dial(core, sink),
            Life::Live(live) => {
                if let Some(limit) = live.late(core.now) {
                    return self.fail(core, sink, Stage::Tls, ErrorKind::Timeout(limit));
                }
                let mut cx = core.context();
                if let Some(event) = live.session.on_deadline(&mut cx) {
                    self.event(core, sink, event);
                }
            }
            Life::Draining { .. } => self.free(core),
            Life::Gone => {}
        }
    }

    /// It could not be opened.
    pub(super) fn fail(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        stage: Stage,
        kind: ErrorKind,
    ) {
        let error = Error::new(&self.url, stage, self.discreet(kind));
        self.free(core);
        self.finally(core, sink, Closed::Failed(error));
    }

    /// The session's last event; `kind` is what the transport said, if that was the cause.
    pub(super) fn closed(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        closed: proto::Closed,
        kind: Option<ErrorKind>,
    ) {
        let broken = matches!(kind, Some(ErrorKind::Io(_)));
        let closed = match closed {
            proto::Closed::Redirected(to) => return self.redirect(core, *to),
            proto::Closed::Clean(frame) => Closed::Clean(frame),
            proto::Closed::Complete => Closed::Complete,
            proto::Closed::Failed(failure) => self.failed(failure, kind),
            proto::Closed::Lost(lost) => Closed::Lost(self.lost(core, lost, kind)),
        };
        self.observe(core);
        let refused = self.leave_gate_if_held(core);
        self.ended = true;
        if self.released {
            self.answer_close(core);
        }
        if broken {
            // Nothing more is written: how much of the last write went out nobody knows.
            self.free(core);
        } else if !self.live().is_some_and(|live| live.session.is_open()) {
            self.drain_or_free(core, refused);
        }
        self.finally(core, sink, closed);
    }

    fn lost(&self, core: &Core<S>, lost: Lost, kind: Option<ErrorKind>) -> Error {
        let limits = match &self.life {
            Life::Live(live) => &live.limits,
            _ => &core.limits,
        };
        let kind = match lost {
            Lost::Timeout(Timer::Pong) => ErrorKind::Silence(limits.pong),
            Lost::Timeout(_) => ErrorKind::NoCloseAnswer(limits.close),
            Lost::Eof => return self.transport(kind.unwrap_or(ErrorKind::Eof)),
        };
        Error::new(&self.url, Stage::Open, kind)
    }

    fn failed(&self, failure: Failure, kind: Option<ErrorKind>) -> Closed {
        let (stage, limit) = self.stage();
        let error = |kind| Error::new(&self.url, stage, kind);
        Closed::Failed(match failure {
            Failure::Http(e) => return self.broken_off(e, kind),
            Failure::Violation(v) => Error::new(&self.url, Stage::Open, ErrorKind::Violation(v)),
            Failure::Handshake(HandshakeError::Timeout) => error(ErrorKind::Timeout(limit)),
            Failure::Handshake(e) => match (stage, kind) {
                (_, Some(kind)) => self.transport(kind),
                (Stage::Tls, None) => error(tls_ended()),
                (_, None) => error(ErrorKind::Handshake(e)),
            },
        })
    }

    /// A stream that ends in an error: lost if its body had begun, else failed.
    fn broken_off(&self, e: HttpError, kind: Option<ErrorKind>) -> Closed {
        let (stage, limit) = self.stage();
        let Life::Live(live) = &self.life else {
            return Closed::Failed(Error::new(&self.url, stage, ErrorKind::Http(e)));
        };
        let exchange = live.session.exchange();
        let timing = exchange.map(|exchange| exchange.timing()).unwrap_or_default();
        let error = match (e, kind) {
            (HttpError::Timeout, _) => Error::new(&self.url, stage, ErrorKind::Timeout(limit)),
            (HttpError::Idle, _) => {
                let idle = timing.idle.unwrap_or_default();
                Error::new(&self.url, stage, ErrorKind::Idle(idle))
            }
            (HttpError::Eof | HttpError::Truncated(_), Some(kind)) => self.transport(kind),
            (HttpError::Eof, None) if stage == Stage::Tls => {
                Error::new(&self.url, stage, tls_ended())
            }
            (e, _) => Error::new(&self.url, stage, ErrorKind::Http(e)),
        };
        let error = error.with_status(exchange.and_then(|exchange| exchange.status()));
        if stage == Stage::Body { Closed::Lost(error) } else { Closed::Failed(error) }
    }

    /// What the transport said; TLS speaks for itself, whatever was waited for.
    fn transport(&self, kind: ErrorKind) -> Error {
        let tls = matches!(kind, ErrorKind::Tls(..) | ErrorKind::Certificate(..));
        Error::new(&self.url, if tls { Stage::Tls } else { self.stage().0 }, self.discreet(kind))
    }

    /// What the library or the system said, without the host of a URL that is secret.
    fn discreet(&self, kind: ErrorKind) -> ErrorKind {
        match kind {
            kind if &*self.url != SECRET => kind,
            ErrorKind::Connect(all) => {
                let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
                ErrorKind::Connect(all.into_iter().map(|(_, e)| (nowhere, e)).collect())
            }
            ErrorKind::Certificate(text, _) => {
                let names = text.starts_with("the certificate is for ");
                let other = || "the certificate is for another name".into();
                ErrorKind::Certificate(if names { other() } else { text }, None)
            }
            ErrorKind::Tls(text, _) if text.ends_with(" is no name for TLS") => {
                ErrorKind::Tls("the host is no name for TLS".into(), None)
            }
            kind => kind,
        }
    }

    /// The stage that a live connection is in, and the time limit of what is waited for.
    pub(super) fn stage(&self) -> (Stage, Duration) {
        let Life::Live(live) = &self.life else { return (Stage::Connect, Duration::ZERO) };
        let Some(entry) = &live.entry else {
            let stage = if live.stream.is_some() { Stage::Body } else { Stage::Open };
            return (stage, Duration::ZERO);
        };
        if live.link.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            (Stage::Tls, entry.limit)
        } else if live.stream.is_some() {
            (Stage::Response, entry.response)
        } else {
            (Stage::Handshake, entry.limit)
        }
    }

    pub(super) fn leave_gate_if_held(&mut self, core: &mut Core<S>) -> bool {
        let held = matches!(&self.life, Life::Live(live) if live.entry.is_some());
        self.leave_gate(core);
        held
    }

    pub(super) fn answer_close(&mut self, core: &mut Core<S>) {
        if let Life::Live(live) = &mut self.life {
            live.session.answer_close(&mut core.context());
        }
    }

    /// What we said last has to arrive: a socket closed at once, with bytes of the peer unread,
    /// would reset the connection and could take our close frame with it.
    pub(super) fn drain_or_free(&mut self, core: &mut Core<S>, refused: bool) {
        let life = std::mem::replace(&mut self.life, Life::Gone);
        let Life::Live(live) = life else {
            self.life = life;
            return;
        };
        if live.stream.is_some() {
            live.part(core);
            return;
        }
        let Live { link, session, token, .. } = live;
        let rest = session.outgoing().to_vec();
        if refused && link.tls.is_none() {
            core.sys.forget(&link.socket);
            return;
        }
        let until = after(core.now, core.limits.linger);
        self.life = Life::Draining { link, rest, until, half_closed: false, token };
        self.tail = Tail::default();
        self.drain(core);
    }

    /// Writes what is left, says that no more comes, and reads until the peer is done too.
    pub(super) fn drain(&mut self, core: &mut Core<S>) {
        let Life::Draining { link, rest, half_closed, token, .. } = &mut self.life else { return };
        if !*half_closed {
            match link.write_last(&mut core.sys, rest) {
                // Nothing is left to be read, so closing says what a shutdown would.
                Ok(_) if self.deaf => return self.free(core),
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
            if core.sys.watch(&link.socket, token.number, interest, false).is_err() {
                return self.free(core);
            }
        }
        let mut scratch = [0; 4096];
        // A peer that never stops does not hold up the others.
        for _ in 0..16 {
            match core.sys.read(&link.socket, &mut scratch) {
                Ok(n) if n > 0 => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => return self.free(core),
            }
        }
    }

    /// The final event.
    pub(super) fn finally(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, closed: Closed) {
        core.say(self.id, || match &closed {
            // The query of its URL may hold a token.
            Closed::Failed(e) | Closed::Lost(e) => format!("ended: {}", e.reason()),
            closed => format!("ended: {closed}"),
        });
        if !std::mem::replace(&mut self.released, true) {
            let mut conn = Conn::new(self.id, None, &mut self.held, core);
            sink.event(&mut conn, Event::Closed(closed));
        }
    }

    /// Closes every socket.
    pub(in crate::net) fn free(&mut self, core: &mut Core<S>) {
        self.leave_gate(core);
        match std::mem::replace(&mut self.life, Life::Gone) {
            Life::Opening(mut opening) => opening.leave(core),
            Life::Live(live) if live.stream.is_some() => drop(live.part(core)),
            Life::Live(Live { link, .. }) | Life::Draining { link, .. } => {
                core.sys.forget(&link.socket);
            }
            Life::Gone => {}
        }
        self.tail = Tail::default();
        self.touch(core);
    }

    /// Its owner has gone: an open connection is closed, one that is being opened dropped.
    pub(in crate::net) fn release(&mut self, core: &mut Core<S>, frame: &proto::CloseFrame) {
        self.released = true;
        // Nobody will consume what it holds, and the answer to our close frame is to be read.
        self.held = 0;
        self.balance(core);
        self.touch(core);
        match &mut self.life {
            Life::Live(live) if live.entry.is_none() && live.stream.is_none() => {
                let mut cx = core.context();
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
}

impl<S: Sys> Live<S> {
    /// The time limit, if TLS has had its time.
    fn late(&self, now: Instant) -> Option<Duration> {
        let entry = self.entry.as_ref()?;
        entry.until.is_some_and(|at| at <= now).then_some(entry.limit)
    }
}

fn tls_ended() -> ErrorKind {
    ErrorKind::Tls("the server closed the connection".into(), None)
}
