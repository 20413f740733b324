//! A connected socket: what it has to read, and the events that come of it.

use std::io;

use super::tail::Tail;
use super::{Driver, Life, Live, Token};
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::net::event::Event;
use crate::net::reactor::conn::{Conn, Sink};
use crate::net::reactor::core::Core;
use crate::net::sys::{Ready, Sys};
use crate::net::wire::link::{Link, Read};
use crate::proto;
use crate::proto::ws::message::Message;

impl<S: Sys> Driver<S> {
    pub(in crate::net) fn ready(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        attempt: u8,
        ready: Ready,
    ) {
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
        if ready.write || !self.is_settled(core) {
            self.touch(core);
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
            self.touch(core);
            // What is there has to count before the time does.
            let lazy = std::mem::take(&mut core.lazy);
            self.read(core, sink);
            core.lazy = lazy;
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
        let tail = std::mem::take(&mut self.tail);
        let mut end = tail.rest().len();
        if buf.len() < end + core.limits.receive_buffer {
            buf.resize(end + core.limits.receive_buffer, 0);
        }
        buf[..end].copy_from_slice(tail.rest());
        let mut once_more = true;
        let outcome = loop {
            // It may be asked for less than the buffer holds.
            let partial = self.large;
            let outcome = self.read_once(core, sink, &mut buf, &mut end);
            let full = matches!(outcome, Ok(Read::Some { more: true }));
            let more = full
                || matches!(outcome, Ok(Read::Some { .. }))
                    && std::mem::take(&mut once_more)
                    && self.peer_is_done();
            let again = more && !self.unparsed && self.has_room(core, buf.len() - end);
            // What TLS decrypts finds its room itself.
            let filled = full && (!partial || end == buf.len());
            if filled && !self.is_secure() {
                // What waits, for its owner or for another turn, is taken out before the next read.
                let kept = if self.unparsed { 0 } else { end };
                grow(&mut buf, kept, &core.limits);
            }
            if !again {
                self.drained(core, sink);
                break outcome;
            }
        };
        if self.unparsed && core.lazy && !self.is_over() {
            self.tail = Tail::lent(buf, end);
        } else {
            if !self.is_over() {
                self.tail = Tail::copy(&buf[..end]);
            }
            core.buf = buf;
        }
        if let Life::Live(Live { link: Link { tls: Some(tls), .. }, .. }) = &mut self.life {
            tls.shrink();
        }
        outcome
    }

    /// Whether the end is all that may still come. It is usually there with the last frame, since a
    /// server that has heard and said the last word closes at once (RFC 6455 §7.1.1). One that goes
    /// on all the same does not hold up the others, so it is looked for once.
    fn peer_is_done(&mut self) -> bool {
        self.live().is_some_and(|live| live.session.peer_is_done())
    }

    /// After the last read of this turn.
    fn drained(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let Life::Live(live) = &mut self.life else { return };
        if let Some(event) = live.session.drained(&mut core.context()) {
            self.event(core, sink, event);
        }
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
        let mut tail = std::mem::take(&mut self.tail);
        let used = self.parse(core, sink, tail.rest());
        tail.skip(used);
        if self.unparsed {
            self.tail = tail;
        } else {
            if !self.is_over() {
                self.tail = Tail::copy(tail.rest());
            }
            core.take_back(tail.into_buffer());
        }
        self.touch(core);
    }

    /// The next message out of input that waits because its owner asks for one at a time
    /// ([`Core::lazy`]). `None` means that a turn has to look: it is no whole message, or there is
    /// nothing.
    pub(in crate::net) fn pull(&mut self, core: &mut Core<S>) -> Option<Message<'_>> {
        let Life::Live(live) = &mut self.life else { return None };
        if !self.unparsed {
            return None;
        }
        if self.tail.rest().is_empty() {
            self.unparsed = false;
            core.backlog.retain(|id| *id != self.id);
            core.take_back(std::mem::take(&mut self.tail).into_buffer());
            // The messages were signs of life, and no turn has looked at the deadline since.
            if !self.is_armed() {
                self.touch(core);
            }
            return None;
        }
        let (rest, at) = self.tail.parts();
        let (used, message) = live.session.receive_whole(core.now, rest)?;
        *at += used;
        Some(message)
    }

    /// The stream has ended: what has come is told, whatever the turn has room for.
    pub(super) fn parse_all(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let lazy = std::mem::take(&mut core.lazy);
        while self.unparsed {
            core.handed = 0;
            self.parse_on(core, sink);
        }
        core.lazy = lazy;
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
        // What is read beyond its start would have to be copied to its own place.
        let most = if self.large { core.limits.receive_buffer } else { usize::MAX };
        self.large = false;
        let read = live.link.read(&mut core.sys, &mut core.cipher, buf, end, most);
        if core.lazy && matches!(read, Ok(Read::Some { .. })) && live.entry.is_none() {
            self.put_off(core);
        } else {
            let used = self.parse(core, sink, &buf[..*end]);
            buf.copy_within(used..*end, 0);
            *end -= used;
        }
        let full = matches!(read, Ok(Read::Some { more: true }));
        if full && self.is_secure() {
            let len = (core.cipher.len() * 2).min(core.limits.receive_buffer_max);
            core.cipher.resize(len.max(core.cipher.len()), 0);
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
                    self.large = true;
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

    /// Passes on the events of what was read, as far as the turn has room; the bytes that are done.
    fn parse(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, input: &[u8]) -> usize {
        let mut rest = input;
        loop {
            let whole = self.whole_messages(core, sink, rest);
            rest = &rest[whole..];
            if whole > 0 && (rest.is_empty() || self.puts_off(core, rest)) {
                break;
            }
            let Life::Live(live) = &mut self.life else { return input.len() };
            let (used, event) = if live.session.is_in_body() && !self.released && !core.lazy {
                self.pieces(core, sink, rest)
            } else {
                let (used, event) = live.session.receive(&mut core.context(), rest);
                core.handed += used + event.as_ref().map_or(0, weight);
                (used, event)
            };
            rest = &rest[used..];
            let Some(event) = event else { break };
            self.event(core, sink, event);
            if self.puts_off(core, rest) {
                break;
            }
        }
        input.len() - rest.len()
    }

    /// Whether the `rest` that is there has to wait: the turn has no room for it, or the owner asks
    /// for it.
    fn puts_off(&mut self, core: &mut Core<S>, rest: &[u8]) -> bool {
        // What stands behind a redirect is nobody's: the next connection may be there already.
        let goes_on = matches!(self.life, Life::Live(_)) && !self.is_over();
        let full = (core.lazy || !core.has_room()) && !rest.is_empty() && goes_on;
        if full {
            self.put_off(core);
        }
        full
    }

    fn put_off(&mut self, core: &mut Core<S>) {
        self.unparsed = true;
        core.backlog.push(self.id);
    }

    /// Passes on the messages that stand at the start of `input`, one behind the other, each whole
    /// and in one frame: what all messages of a read share is done once. Gives the bytes of all.
    fn whole_messages(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, input: &[u8]) -> usize {
        let Life::Live(live) = &mut self.life else { return 0 };
        if self.released || core.lazy {
            return 0;
        }
        let (mut rest, mut handed, room) = (input, core.handed, core.limits.turn);
        let mut conn = Conn::new(self.id, Some(&mut live.session), &mut self.held, core);
        while handed < room
            && let Some((used, message)) = conn.receive_whole(rest)
        {
            let event = message.into();
            handed += used + weight(&event);
            rest = &rest[used..];
            sink.event(&mut conn, event);
        }
        core.handed = handed;
        input.len() - rest.len()
    }

    /// The same for the pieces of a body; and what else the session says behind them.
    fn pieces<'b>(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        input: &'b [u8],
    ) -> (usize, Option<proto::Event<'b>>) {
        let Life::Live(live) = &mut self.life else { return (0, None) };
        let (mut at, mut handed, room) = (0, core.handed, core.limits.turn);
        let mut conn = Conn::new(self.id, Some(&mut live.session), &mut self.held, core);
        let (said, full) = loop {
            let (used, event) = conn.receive(&input[at..]);
            at += used;
            handed += used + event.as_ref().map_or(0, weight);
            match event {
                Some(proto::Event::Chunk(data)) => sink.event(&mut conn, Event::Chunk(data)),
                Some(proto::Event::ServerSent(event)) => {
                    sink.event(&mut conn, Event::ServerSent(event));
                }
                other => break (other, false),
            }
            // Where nothing is left, the end may be told without another byte.
            if handed >= room && at < input.len() {
                break (None, true);
            }
        };
        core.handed = handed;
        if full {
            self.put_off(core);
        }
        (at, said)
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

/// Makes room in a receive buffer that a read has filled, and of which `end` bytes are kept.
fn grow(buf: &mut Vec<u8>, end: usize, limits: &Limits) {
    // A frame that lacks little may fill it all; a read of nothing would look like the end of the
    // stream.
    let least = end + limits.receive_buffer;
    let len = (buf.len() * 2).min(limits.receive_buffer_max).max(least);
    if buf.len() < len {
        buf.resize(len, 0);
    }
}

/// What an event costs its owner besides its bytes: frames can be empty, and texts and pieces of a
/// body are handed over in runs.
#[inline]
fn weight<C>(event: &proto::Event<'_, C>) -> usize {
    if matches!(event, proto::Event::Text(_) | proto::Event::Chunk(_)) { 16 } else { 256 }
}
