//! How a connection ends: the final event, what we said last, and the socket.

use std::io;
use std::time::Duration;

use super::{Driver, Life, Live};
use crate::error::{Error, ErrorKind, Stage};
use crate::net::conn::{Conn, Core, Sink};
use crate::net::sys::{Interest, Sys};
use crate::net::{Closed, Event, after};
use crate::proto::{self, Failure, HandshakeError, Lost, Timer};

impl<S: Sys> Driver<S> {
    /// The stream has ended, or broke.
    pub(super) fn ended(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        kind: Option<ErrorKind>,
    ) {
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

    pub(in crate::net) fn on_deadline(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        core.touch(self);
        match &mut self.life {
            Life::Opening(opening) if opening.deadline <= core.now => {
                let stage = if opening.plan.is_none() { Stage::Resolve } else { Stage::Connect };
                let limit = opening.options.opening(&core.limits);
                self.fail(core, sink, stage, ErrorKind::Timeout(limit));
            }
            Life::Opening(_) => self.dial(core, sink),
            Life::Live(live) => {
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
        let error = Error::new(&self.url, stage, kind);
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
    pub(super) fn stage(&self) -> (Stage, Duration) {
        let Life::Live(live) = &self.life else { return (Stage::Connect, Duration::ZERO) };
        let Some(opening) = &live.opening else { return (Stage::Open, Duration::ZERO) };
        let tls = live.link.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        (if tls { Stage::Tls } else { Stage::Handshake }, opening.1)
    }

    pub(super) fn leave_gate_if_held(&mut self, core: &mut Core<S>) -> bool {
        let held = matches!(&self.life, Life::Live(live) if live.opening.is_some());
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
    pub(super) fn drain(&mut self, core: &mut Core<S>) {
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
    pub(super) fn finally(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, closed: Closed) {
        core.say(self.id, || format!("ended: {closed}"));
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
            Life::Live(Live { link, .. }) | Life::Draining { link, .. } => {
                core.sys.forget(&link.socket);
            }
            Life::Gone => {}
        }
        self.tail = Vec::new();
        core.touch(self);
    }

    /// Its owner has gone: an open connection is closed, one that is being opened dropped.
    pub(in crate::net) fn release(&mut self, core: &mut Core<S>, frame: &proto::CloseFrame) {
        self.released = true;
        core.touch(self);
        match &mut self.life {
            Life::Live(live) if live.opening.is_none() => {
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
