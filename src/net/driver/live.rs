//! A connected socket: what it has to read, and the events that come of it.

use std::io;

use super::{Driver, Life, Live, Token};
use crate::error::ErrorKind;
use crate::net::Event;
use crate::net::conn::{Conn, Core, Sink};
use crate::net::link::{Link, Read};
use crate::net::sys::{Ready, Sys};
use crate::proto;

impl<S: Sys> Driver<S> {
    pub(in crate::net) fn ready(
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

    /// Reads what the system has before a time limit counts: a turn that had other work has not
    /// waited, and a wait reports some of the sockets only. One that is paused, whose silence does
    /// not count anyway, reads once: the answer to a close frame may be there.
    pub(in crate::net) fn catch_up(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.parse_all(core, sink);
        if matches!(self.life, Life::Live(_)) && !self.deaf {
            if self.paused {
                core.handed = core.limits.turn;
            }
            core.touch(self);
            self.read(core, sink);
        }
    }

    pub(super) fn read(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let outcome = self.read_some(core, sink);
        if matches!(outcome, Ok(Read::Eof | Read::Cut) | Err(_)) {
            self.parse_all(core, sink);
            self.ended(core, sink, !matches!(outcome, Ok(Read::Eof)), outcome.err());
        }
    }

    /// Reads while there is something, and room for it in this turn; the last outcome.
    pub(super) fn read_some(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
    ) -> Result<Read, ErrorKind> {
        let mut buf = std::mem::take(&mut core.buf);
        let mut end = self.tail.len();
        if buf.len() < end + core.limits.receive_buffer {
            buf.resize(end + core.limits.receive_buffer, 0);
        }
        buf[..end].copy_from_slice(&self.tail);
        self.tail = Vec::new();
        let outcome = loop {
            match self.read_once(core, sink, &mut buf, &mut end) {
                Ok(Read::Some { more: true }) if self.has_room(core, buf.len() - end) => {
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
        outcome
    }

    /// Whether the turn has room for another read of so many bytes: what it has none for would
    /// have to be kept aside, and copied. A large message is read into its own place.
    fn has_room(&mut self, core: &Core<S>, bytes: usize) -> bool {
        let in_place = self.live().is_some_and(|live| live.session.space().is_some());
        let fits = in_place || core.handed + bytes <= core.limits.turn;
        fits && core.has_room() && !self.is_over()
    }

    /// Goes on with what an earlier turn had no room for.
    pub(in crate::net) fn parse_on(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
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
    pub(super) fn parse_all(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        while self.unparsed {
            core.handed = 0;
            self.parse_on(core, sink);
        }
    }

    /// One system call, and all events that come of it. `buf[..end]` is what the session has not
    /// taken, before and after.
    pub(super) fn read_once(
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

    pub(super) fn is_secure(&self) -> bool {
        matches!(&self.life, Life::Live(live) if live.link.tls.is_some())
    }

    /// After a read straight into a message.
    pub(super) fn filled(
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
                core.handed += n;
                if let Some(event) = live.session.filled(&mut core.context(), n) {
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

    pub(super) fn parse(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        buf: &mut [u8],
        end: &mut usize,
    ) {
        let mut at = 0;
        loop {
            let Life::Live(live) = &mut self.life else {
                *end = 0;
                return;
            };
            let mut cx = core.context();
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
    pub(super) fn event(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        event: proto::Event<'_>,
    ) {
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
            proto::Event::Response(response) => {
                self.observe(core);
                self.leave_gate(core);
                if let Life::Live(Live { link: Link { tls: Some(tls), .. }, .. }) = &self.life {
                    core.say(self.id, || format!("answered over {}", tls.version()));
                }
                Event::Response(response)
            }
            proto::Event::Closing(frame) => {
                self.observe(core);
                core.say(self.id, || format!("the server closes: {frame}"));
                Event::Closing(frame)
            }
            proto::Event::Text(text) => Event::Text(text),
            proto::Event::Binary(data) => Event::Binary(data),
            proto::Event::Pong(data) => Event::Pong(data),
            proto::Event::Chunk(data) => Event::Chunk(data),
            proto::Event::ServerSent(event) => Event::ServerSent(event),
        };
        if !self.released {
            let id = self.id;
            let Life::Live(live) = &mut self.life else { return };
            let mut conn = Conn::new(id, Some(&mut live.session), &mut self.held, core);
            sink.event(&mut conn, event);
        }
    }

    pub(super) fn leave_gate(&mut self, core: &mut Core<S>) {
        if let Life::Live(live) = &mut self.life
            && let Some(entry) = live.entry.take()
            && let Some(gate) = entry.gate
        {
            core.gates.leave(gate);
        }
    }
}

/// What an event costs its owner besides its bytes: frames can be empty, and texts and pieces of a
/// body are handed over in runs.
fn weight(event: &proto::Event<'_>) -> usize {
    if matches!(event, proto::Event::Text(_) | proto::Event::Chunk(_)) { 16 } else { 256 }
}
