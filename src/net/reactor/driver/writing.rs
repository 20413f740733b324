//! Sending: at the end of a turn, or between turns.

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use super::live::{Live, Writing};
use super::state::{Driver, End, State};
use crate::error::ErrorKind;
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::sys::{Interest, Sys};
use crate::trace::Trace;

impl<S: Sys> Driver<S> {
    /// Stops reading while too many bytes are held, and resumes when enough are consumed.
    pub(in crate::net) fn balance(&mut self, core: &mut Core<S>) {
        let (now, unfinished) = (core.now, self.unfinished());
        if self.flow.balance(self.id, unfinished, now, &mut core.held, &core.limits) {
            self.touch(core);
        }
    }

    /// The connection is gone: the bytes that it held no longer count.
    pub(in crate::net) fn forget_held(&mut self, core: &mut Core<S>) {
        self.flow.clear(self.id, &mut core.held);
    }

    /// Reports no events and reads nothing until [`Driver::resume`].
    pub(in crate::net) fn pause(&mut self, core: &mut Core<S>) {
        self.flow.paused = true;
        self.touch(core);
    }

    pub(in crate::net) fn resume(&mut self, core: &mut Core<S>) {
        if !mem::take(&mut self.flow.paused) {
            return;
        }
        if self.is_behind() {
            core.backlog.push_back(self.id);
        }
        self.touch(core);
    }

    /// How many bytes an unfinished message takes.
    fn unfinished(&self) -> usize {
        self.live_ref().map_or(0, |live| live.session.unfinished())
    }

    pub(in crate::net) fn buffered(&self) -> usize {
        match &self.state {
            State::Open(live) | State::CloseHeld(live) => live.buffered(),
            State::Draining(draining) => draining.buffered(),
            State::Opening(_) | State::Tunnel(_) | State::Gone => 0,
        }
    }

    /// How many bytes were accepted and not sent, unless their loss was reported.
    pub(in crate::net) fn unsent(&self) -> usize {
        match &self.state {
            State::Open(live) => live.session.unsent(),
            _ => 0,
        }
    }

    /// Called after any change: writes what is queued, and registers the socket for what it needs
    /// next.
    pub(in crate::net) fn settle(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.balance(core);
        if let Some(live) = self.live() {
            live.look_whether_ready(core.now);
            if live.session.is_refused()
                && let Some(gate) = live.entry.as_mut().and_then(|entry| entry.gate.take())
            {
                // This handshake has failed (RFC 6455 §4.1); its response is still read.
                core.gates.leave(&gate);
            }
        }
        if self.is_uploading() {
            self.upload(core, sink);
        }
        let broken = self.write(core);
        if self.is_uploading() && broken.is_none() {
            // The kernel may have made room in the session. Bytes beyond the kernel's room are
            // queued, so that `Stall` counts.
            self.upload(core, sink);
        }
        if let Some(e) = broken {
            // The peer may have sent bytes before the socket broke: read them first. The connection
            // then ends with this error, which the system reports only once.
            let read = self.read_some(core, sink);
            self.parse_all(core, sink);
            if self.live().is_some() {
                self.peer_ended(core, sink, End::Cut, Some(read.err().unwrap_or(ErrorKind::Io(e))));
            }
        }
        self.observe(core);
        if !self.next_state_is_due() {
            return;
        }
        match self.state {
            State::CloseHeld(_) => self.drain_or_release(core, false),
            _ => self.peer_ended(core, sink, End::Eof, None),
        }
    }

    /// Whether [`Driver::settle`] would do nothing, as after most reads.
    pub(in crate::net) fn is_settled(&self, core: &Core<S>) -> bool {
        let State::Open(live) = &self.state else { return false };
        live.entry.is_none()
            && live.link.tls().is_none()
            && live.upload().is_none()
            && live.session.outgoing().is_empty()
            && self.flow.is_balanced(live.session.unfinished())
            && !live.reading_ended()
            && live.token.interest().read != self.flow.is_unread()
            && !live.is_broken()
            && core.observer.is_none()
            && self.is_armed()
    }

    /// Whether the deadline in the reactor's table may stay. The deadline of a keep-alive ping
    /// moves with each message: the old one stays in the table and is checked when it comes, unless
    /// the new one is at least a day later, or there is none.
    pub(in crate::net) fn is_armed(&self) -> bool {
        match (self.armed, self.deadline()) {
            (Some(armed), Some(wanted)) => {
                armed <= wanted && wanted.duration_since(armed) < Duration::from_secs(86_400)
            }
            (armed, wanted) => armed == wanted && !self.is_gone(),
        }
    }

    /// Lets other connections have the memory of the send buffer, if it is empty.
    #[inline]
    pub(in crate::net) fn return_memory(&mut self, core: &mut Core<S>) {
        if let State::Open(live) = &mut self.state {
            live.session.return_memory(&mut core.spares);
        }
    }

    /// Reports the session's notes to the observer.
    pub(in crate::net) fn observe(&mut self, core: &mut Core<S>) {
        let Some(observer) = &mut core.observer else { return };
        let id = self.id.to_bits();
        let Some(live) = self.live() else { return };
        let Some(notes) = live.session.notes() else { return };
        for note in notes.drain(..) {
            observer.observe(core.now, id, Trace::Note(&note));
        }
    }

    /// Writes what is queued between turns; returns whether the socket is good. If it is not,
    /// [`Driver::settle`] ends the connection.
    pub(in crate::net) fn write_early(&mut self, core: &mut Core<S>) -> bool {
        let broken = self.write(core);
        let is_good = broken.is_none();
        if let (Some(e), Some(live)) = (broken, self.live()) {
            live.extra.get_or_insert_default().writing = Writing::Broken(e);
        }
        is_good
    }

    /// Writes what is queued; returns the error if the socket is broken.
    fn write(&mut self, core: &mut Core<S>) -> Option<io::Error> {
        let stopped = self.flow.is_unread();
        let live = self.live()?;
        if let Some(extra) = &mut live.extra
            && let Writing::Broken(e) = mem::take(&mut extra.writing)
        {
            return Some(e);
        }
        live.write(core, stopped).err()
    }
}

impl<S: Sys> Live<S> {
    /// Writes what is queued, and registers the socket for what it needs next.
    fn write(&mut self, core: &mut Core<S>, stopped: bool) -> io::Result<()> {
        // rustls may hold handshake or alert records although the session has no output.
        let idle = self.link.tls().is_none() && self.session.outgoing().is_empty();
        let (mut blocked, mut idle) = (false, idle);
        while !blocked && !idle {
            let written = self.link.write(&mut core.sys, self.session.outgoing());
            let done = written.done;
            blocked = written.blocked;
            if blocked || self.session.is_timed() {
                core.now = core.sys.now();
            }
            self.session.sent_as(core.now, done, written.taken);
            if let Some(e) = written.broken {
                return Err(e);
            }
            // `sent_as` may have queued a late pong. If nothing was written, TLS has to read first.
            idle = done == 0 || self.session.outgoing().is_empty();
        }
        // A body that is read while it is sent continues in the next turn, so that other
        // connections get their share.
        let write = blocked || self.reads_on();
        let interest = Interest { read: !stopped && !self.reading_ended(), write };
        if self.token.interest() != interest {
            if interest.read && !self.token.interest().read && self.entry.is_none() {
                core.now = core.sys.now();
                self.session.read_again(core.now);
            }
            if !interest.read {
                // Readiness that was reported before must not reach a connection that is not read.
                self.token = self.token.next();
            }
            self.token = self.token.with(interest);
            let (socket, number) = (&self.link.socket, self.token.number());
            core.sys.watch(socket, number, interest, false)?;
        }
        Ok(())
    }

    /// If TLS is established or not needed: a stream's request can be sent, with its own time
    /// limits.
    fn look_whether_ready(&mut self, now: Instant) {
        let is_kept = self.served() > 0;
        let Some(entry) = &mut self.entry else { return };
        if self.link.is_handshaking() {
            return;
        }
        if self.link.tls_of_peer().is_some() && entry.laps.phases.tls.is_none() && !is_kept {
            entry.laps.lap(now, |phases| &mut phases.tls);
        }
        if entry.until.take().is_some() {
            self.session.connected(now);
        }
    }
}
