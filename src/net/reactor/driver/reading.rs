//! Receiving: reads the socket and reports events.

use std::io;

use super::live::{Live, Reading, Token};
use super::state::{Driver, End, Listener, State};
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::net::event::Event;
use crate::net::reactor::conn::{Conn, Sink};
use crate::net::reactor::core::Core;
use crate::net::sys::{Ready, Sys};
use crate::net::wire::link::ReadOutcome;
use crate::proto::ws::message::Message;
use crate::proto::{self, Transport};

impl<S: Sys> Driver<S> {
    pub(in crate::net) fn ready(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        attempt: u8,
        ready: Ready,
    ) {
        match &mut self.state {
            State::Opening(_) => self.attempt_ready(core, sink, attempt),
            State::Open(live) | State::CloseHeld(live)
                if live.token.number() == Token::of(self.id, attempt) =>
            {
                if ready.write {
                    live.token = live.token.without_write();
                    // `settle` writes, and registers for write readiness again if the kernel
                    // refuses bytes.
                    let (socket, token) = (&live.link.socket, live.token);
                    let _ = core.sys.watch(socket, token.number(), token.interest(), false);
                }
                // epoll reports a failed socket, for both, even if we asked for nothing. Read it,
                // so that the failure is handled; otherwise `wait` returns at once for ever.
                let failed = ready.write && !live.token.interest().read;
                if ready.read && (failed || !matches!(live.reading, Reading::Behind(_))) {
                    self.read(core, sink);
                }
            }
            State::Tunnel(tunnelling)
                if tunnelling.token.number() == Token::of(self.id, attempt) =>
            {
                if ready.write {
                    // If the kernel refuses bytes, `step` registers for write readiness again.
                    tunnelling.token = tunnelling.token.without_write();
                    let (socket, token) = (&tunnelling.link.socket, tunnelling.token);
                    let _ = core.sys.watch(socket, token.number(), token.interest(), false);
                }
                self.tunnel_ready(core, sink);
            }
            State::Draining(_) => self.drain(core),
            _ => {}
        }
        if ready.write || !self.is_settled(core) {
            self.touch(core);
        }
    }

    /// Reads what the kernel has before a time limit is applied: a turn with other work has not
    /// polled, and a poll reports only some of the sockets. A connection that is not read now reads
    /// once, since the answer to a close frame may be there.
    pub(in crate::net) fn catch_up(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        if !self.session_is_due(core) {
            return;
        }
        if !self.flow.paused {
            self.parse_all(core, sink);
        }
        if let Some(live) = self.live() {
            let reading_ended = live.reading_ended();
            if self.flow.is_unread() {
                core.handed = core.limits.turn;
            }
            self.touch(core);
            // Received bytes have to count before the deadline does, and so do bytes that the
            // kernel takes now: it reports room only when there is much.
            self.write_early(core);
            if !reading_ended && !self.is_behind() {
                let lazy = std::mem::take(&mut core.lazy);
                self.read(core, sink);
                core.lazy = lazy;
            }
        }
        // What has come in time counts first: neither a pause nor a full turn holds back the end and
        // the events before it.
        if self.session_is_due(core) {
            self.parse_all(core, sink);
        }
    }

    fn session_is_due(&self, core: &Core<S>) -> bool {
        let live = self.live_ref();
        let at = live.and_then(|live| live.deadline(&self.flow));
        at.is_some_and(|at| at <= core.now)
    }

    fn read(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let outcome = self.read_some(core, sink);
        let end = match &outcome {
            Ok(ReadOutcome::Eof) => End::Eof,
            Ok(ReadOutcome::Cut) | Err(_) => End::Cut,
            Ok(ReadOutcome::Some { .. } | ReadOutcome::None) => return,
        };
        self.parse_all(core, sink);
        self.peer_ended(core, sink, end, outcome.err());
    }

    /// Reads while bytes are there and the turn has room for them; returns the last outcome.
    pub(super) fn read_some(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
    ) -> Result<ReadOutcome, ErrorKind> {
        let mut lent = core.buf.take().unwrap_or_default();
        let buf = lent.buffer();
        let tail = self.live().and_then(Live::take_tail);
        let kept = tail.as_ref().map_or(&[][..], |tail| tail.rest());
        let mut end = kept.len();
        if buf.len() < end + core.limits.receive_buffer {
            buf.resize(end + core.limits.receive_buffer, 0);
        }
        buf[..end].copy_from_slice(kept);
        let mut once_more = true;
        let outcome = loop {
            // A read may ask for fewer bytes than the buffer has room for.
            let most = self.most(core);
            let (outcome, filled) = self.read_once(core, sink, buf, &mut end, most);
            let full = matches!(outcome, Ok(ReadOutcome::Some { more: true }));
            let more = full
                || matches!(outcome, Ok(ReadOutcome::Some { .. }))
                    && std::mem::take(&mut once_more)
                    && self.discards_input();
            let behind = self.is_behind();
            let again =
                more && !behind && !self.flow.paused && self.has_room(core, buf.len() - end);
            if filled {
                // Bytes that wait for the program or for another turn leave the buffer before the
                // next read.
                grow(buf, if behind { 0 } else { end }, &core.limits);
            }
            if !again {
                self.drained(core, sink);
                break outcome;
            }
        };
        match &mut self.state {
            State::Open(Live { reading: Reading::Behind(tail), .. }) if core.lazy => {
                lent.set_end(end);
                *tail = Some(lent);
            }
            State::Open(live) => {
                live.keep_tail(&buf[..end]);
                core.buf = Some(lent);
            }
            _ => core.buf = Some(lent),
        }
        if let Some(live) = self.live() {
            live.link.shrink();
        }
        outcome
    }

    /// Whether only the end of the stream may still come. It usually comes with the last frame,
    /// since a server closes at once after both close frames (RFC 6455 §7.1.1). One more read looks
    /// for it; a server that goes on sending must not delay other connections.
    fn discards_input(&self) -> bool {
        self.live_ref().is_some_and(|live| live.session.discards_input())
    }

    /// Whether input is kept for another turn.
    pub(super) fn is_behind(&self) -> bool {
        self.live_ref().is_some_and(|live| matches!(live.reading, Reading::Behind(_)))
    }

    fn is_secure(&self) -> bool {
        self.live_ref().is_some_and(|live| live.link.tls().is_some())
    }

    /// Called after the last read of this turn.
    fn drained(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let Some(live) = self.live() else { return };
        if let Some(event) = live.session.drained(&mut core.context()) {
            self.event(core, sink, event);
        }
    }

    /// Whether the turn has room for another read of `bytes` bytes: others would have to be kept
    /// separately, and copied. A large message is read into its own buffer.
    fn has_room(&mut self, core: &Core<S>, bytes: usize) -> bool {
        let in_place = self.live().is_some_and(|live| live.session.space().is_some());
        let fits = in_place || core.handed + bytes <= core.limits.turn;
        fits && core.has_room() && !self.closed_reported()
    }

    /// Parses input for which an earlier turn had no room.
    pub(in crate::net) fn parse_on(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        if self.flow.paused {
            // `resume` puts it back into the backlog.
            return;
        }
        let Some(live) = self.live() else { return };
        let mut tail = live.take_tail().unwrap_or_default();
        let used = self.parse(core, sink, tail.rest());
        tail.skip(used);
        match &mut self.state {
            State::Open(Live { reading: Reading::Behind(kept), .. }) => *kept = Some(tail),
            State::Open(live) => {
                live.keep_tail(tail.rest());
                core.take_back(tail);
            }
            _ => core.take_back(tail),
        }
        self.touch(core);
    }

    /// The next message of the kept input, for a program that takes one at a time ([`Core::lazy`]).
    /// `None` means that a turn is needed: the input is no whole message, or is empty.
    pub(in crate::net) fn pull(&mut self, core: &mut Core<S>) -> Option<Message<'_>> {
        let State::Open(live) = &mut self.state else { return None };
        let Reading::Behind(tail) = &live.reading else { return None };
        if tail.as_ref().is_none_or(|tail| tail.rest().is_empty()) {
            if let Some(tail) = live.take_tail() {
                core.take_back(tail);
            }
            core.backlog.retain(|id| *id != self.id);
            // The messages showed that the peer is alive, and no turn has set the deadline since.
            if !self.is_armed() {
                self.touch(core);
            }
            return None;
        }
        // Matched again, so that only the message borrows the connection.
        let State::Open(Live { reading: Reading::Behind(Some(tail)), session, .. }) =
            &mut self.state
        else {
            return None;
        };
        let (rest, at) = tail.parts();
        let (used, message) = match session.receive_lent(core.now, rest) {
            Some((used, lent)) => (used, lent.into()),
            None => session.receive_inflated(core.now, rest)?,
        };
        *at += used;
        Some(message)
    }

    /// Reports all kept input, even if the turn has no room: the stream has ended, or a deadline
    /// has passed.
    pub(super) fn parse_all(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let lazy = std::mem::take(&mut core.lazy);
        while self.is_behind() {
            core.handed = 0;
            // The program's pause does not hold back an end.
            self.flow.paused = false;
            self.parse_on(core, sink);
        }
        core.lazy = lazy;
    }

    /// How many bytes the next read asks for: what the turn has no room for would be copied and kept
    /// until another turn.
    fn most(&self, core: &Core<S>) -> usize {
        let least = core.limits.receive_buffer;
        match self.live_ref() {
            Some(live) if live.reads_little() => least,
            // The program takes it later, one message at a time, whatever the turn has room for.
            _ if core.lazy => usize::MAX,
            _ => core.limits.turn.saturating_sub(core.handed).max(least),
        }
    }

    /// Makes one system call, for at most `most` bytes, and reports all events that result. Before
    /// and after, `buf[..end]` is the input that the session has not taken. Returns also whether the
    /// call has filled `buf`, so that a larger one would have got more.
    fn read_once(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        buf: &mut Vec<u8>,
        end: &mut usize,
        most: usize,
    ) -> (Result<ReadOutcome, ErrorKind>, bool) {
        let paused = self.flow.paused;
        let Some(live) = self.live() else { return (Ok(ReadOutcome::None), false) };
        // Bytes can be read straight into a message. If they complete it, it is reported there.
        if live.link.tls().is_none()
            && !paused
            && let Some(space) = live.session.space()
        {
            let want = space.want;
            let read = core.sys.append(&live.link.socket, space.buf, want);
            return (self.filled(core, sink, want, read), false);
        }
        live.read_little(false);
        let partial = most < buf.len() - *end;
        let read = live.link.read(&mut core.sys, &mut core.cipher, buf, end, most);
        let is_open = live.entry.is_none();
        if core.lazy && is_open && matches!(read, Ok(ReadOutcome::Some { .. })) {
            self.put_off(core);
        } else {
            let used = self.parse(core, sink, &buf[..*end]);
            buf.copy_within(used..*end, 0);
            *end -= used;
        }
        let full = matches!(read, Ok(ReadOutcome::Some { more: true }));
        if !full {
            return (read, false);
        }
        if !self.is_secure() {
            return (read, !partial || *end == buf.len());
        }
        // With TLS, the link makes room in `buf` for decrypted bytes.
        if most >= core.cipher.len() {
            let len = (core.cipher.len() * 2).min(core.limits.receive_buffer_max);
            core.cipher.resize(len.max(core.cipher.len()), 0);
        }
        (read, false)
    }

    /// Called after a read into the buffer of a message.
    fn filled(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        want: usize,
        read: io::Result<usize>,
    ) -> Result<ReadOutcome, ErrorKind> {
        let Some(live) = self.live() else { return Ok(ReadOutcome::None) };
        match read {
            Ok(0) => Ok(ReadOutcome::Eof),
            Ok(n) => {
                core.handed += n;
                if let Some(event) = live.session.filled(&mut core.context(), n) {
                    // The next message may be as large: bytes read beyond its start would have to
                    // be copied to its own buffer.
                    live.read_little(true);
                    self.event(core, sink, event);
                }
                Ok(ReadOutcome::Some { more: n == want })
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock) => Ok(ReadOutcome::None),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted) => {
                Ok(ReadOutcome::Some { more: true })
            }
            Err(e) => Err(ErrorKind::Io(e)),
        }
    }

    /// Reports the events of the input, as far as the turn has room; returns how many bytes were
    /// parsed.
    fn parse(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, input: &[u8]) -> usize {
        let mut rest = input;
        if self.flow.paused && self.puts_off(core, rest) {
            return 0;
        }
        loop {
            let whole = self.whole_messages(core, sink, rest);
            rest = &rest[whole..];
            if whole > 0 && (rest.is_empty() || self.puts_off(core, rest)) {
                break;
            }
            let listened = self.listener == Listener::Program;
            let Some(live) = self.live() else { return input.len() };
            let (used, event) = if live.session.is_in_body() && listened && !core.lazy {
                self.pieces(core, sink, rest)
            } else if !rest.is_empty() && live.is_unasked() {
                // Otherwise these bytes would be mistaken for the response.
                self.peer_ended(core, sink, End::Cut, None);
                return input.len();
            } else {
                let is_decoding = live.session.is_decoding();
                let (used, event) = live.session.receive(&mut core.context(), rest);
                core.handed += used + event.as_ref().map_or(0, weight);
                if is_decoding {
                    core.handed += event.as_ref().map_or(0, decoded);
                }
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

    /// Whether the `rest` of the input has to wait, since the turn has no room for it or the
    /// program has paused the connection; then puts it off.
    fn puts_off(&mut self, core: &mut Core<S>, rest: &[u8]) -> bool {
        // Bytes behind a redirect are discarded: the next connection may exist already.
        let goes_on = matches!(self.state, State::Open(_));
        let waits = core.lazy || self.flow.paused || !core.has_room();
        let full = waits && !rest.is_empty() && goes_on;
        if full {
            self.put_off(core);
        }
        full
    }

    fn put_off(&mut self, core: &mut Core<S>) {
        let (id, paused) = (self.id, self.flow.paused);
        if let Some(live) = self.live() {
            live.reading = Reading::Behind(None);
            if !paused {
                core.backlog.push_back(id);
            }
        }
    }

    /// Reports the messages at the start of `input` that are whole and in one frame; their common
    /// work is done once. Returns how many bytes they have.
    fn whole_messages(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, input: &[u8]) -> usize {
        let State::Open(live) = &mut self.state else { return 0 };
        if self.listener == Listener::Nobody || core.lazy {
            return 0;
        }
        let (mut rest, mut handed) = (input, core.handed);
        let mut conn = Conn::new(self.id, Some(&mut live.session), &mut self.flow, core);
        while handed < conn.room() {
            // Two branches that do the same: in each, the compiler knows the kind of message.
            if let Some((used, lent)) = conn.receive_lent(rest) {
                let event = Message::from(lent).into();
                handed += used + weight(&event);
                rest = &rest[used..];
                sink.event(&mut conn, event);
            } else if let Some((used, message)) = conn.receive_inflated(rest) {
                let event = message.into();
                handed += used + weight(&event) + decoded(&event);
                rest = &rest[used..];
                sink.event(&mut conn, event);
            } else {
                break;
            }
        }
        core.handed = handed;
        input.len() - rest.len()
    }

    /// As `whole_messages`, for pieces of a body. Returns another event of the session behind them.
    fn pieces<'b>(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        input: &'b [u8],
    ) -> (usize, Option<proto::Event<'b>>) {
        let State::Open(live) = &mut self.state else { return (0, None) };
        let is_decoding = live.session.is_decoding();
        let (mut at, mut handed) = (0, core.handed);
        let mut conn = Conn::new(self.id, Some(&mut live.session), &mut self.flow, core);
        let (event, full) = loop {
            let (used, event) = conn.receive(&input[at..]);
            at += used;
            handed += used + event.as_ref().map_or(0, weight);
            if is_decoding {
                handed += event.as_ref().map_or(0, decoded);
            }
            match event {
                Some(proto::Event::Chunk(data)) => sink.event(&mut conn, Event::Chunk(data)),
                Some(proto::Event::ServerSent(event)) => {
                    sink.event(&mut conn, Event::ServerSent(event));
                }
                other => break (other, false),
            }
            // Behind the last byte, the session may report the end without further input.
            if conn.is_paused() || handed >= conn.room() && at < input.len() {
                break (None, true);
            }
        };
        core.handed = handed;
        if full {
            self.put_off(core);
        }
        (at, event)
    }

    /// Reports an event.
    pub(super) fn event(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        event: proto::Event<'_>,
    ) {
        let event = match event {
            proto::Event::Closed(closed) => return self.session_ended(core, sink, closed, None),
            proto::Event::Opened(mut opened) => {
                self.observe(core);
                opened.transport = self.arrived(core, "open");
                Event::Opened(opened)
            }
            proto::Event::Response(response)
                if self.live_ref().is_some_and(|l| l.has_met_timeout(response.status)) =>
            {
                return self.go_again(core);
            }
            proto::Event::Response(mut response) => {
                self.observe(core);
                response.transport = self.arrived(core, "answered");
                Event::Response(response)
            }
            proto::Event::Closing(frame) => {
                self.observe(core);
                core.trace(self.id, || format!("the server closes: {frame}"));
                self.past().how = Some(format!("closed: {frame}").into());
                Event::Closing(frame)
            }
            proto::Event::Text(text) => Event::Text(text),
            proto::Event::Binary(data) => Event::Binary(data),
            proto::Event::Pong(data) => Event::Pong(data),
            proto::Event::Chunk(data) => Event::Chunk(data),
            proto::Event::ServerSent(event) => Event::ServerSent(event),
        };
        if self.listener == Listener::Program {
            let State::Open(live) = &mut self.state else { return };
            let mut conn = Conn::new(self.id, Some(&mut live.session), &mut self.flow, core);
            sink.event(&mut conn, event);
        }
    }
}

impl<S: Sys> Driver<S> {
    /// The connection is open, or the head of the response has come. Returns the transport with the
    /// time of each step.
    fn arrived(&mut self, core: &mut Core<S>, how: &str) -> Option<Box<Transport>> {
        let now = core.now;
        let live = self.live()?;
        let entry = live.entry.as_mut()?;
        entry.laps.lap(now, |phases| &mut phases.handshake);
        let is_stream = live.is_stream();
        let transport = live.transport(&core.sys);
        self.leave_gate(core);
        match &transport.tls {
            Some(tls) => core.trace(self.id, || format!("{how} over {}", tls.version)),
            None if is_stream => {}
            None => core.trace(self.id, || how.to_owned()),
        }
        core.trace(self.id, || format!("it took: {}", transport.phases));
        Some(Box::new(transport))
    }
}

/// Enlarges a receive buffer that a read has filled; `end` bytes of it are kept.
fn grow(buf: &mut Vec<u8>, end: usize, limits: &Limits) {
    // An almost complete frame may fill the buffer, and then a read of zero bytes would look like
    // the end of the stream.
    let least = end + limits.receive_buffer;
    let len = (buf.len() * 2).min(limits.receive_buffer_max).max(least);
    if buf.len() < len {
        buf.resize(len, 0);
    }
}

/// How much an event counts besides its bytes: frames can be empty, and texts and pieces of a body
/// are reported in runs.
#[inline]
fn weight<C>(event: &proto::Event<'_, C>) -> usize {
    if matches!(event, proto::Event::Text(_) | proto::Event::Chunk(_)) { 16 } else { 256 }
}

/// How many bytes decoding or inflating gave, which may be many more than were received. With
/// compression, a message that comes in fragments counts twice even if it was not compressed.
fn decoded<C>(event: &proto::Event<'_, C>) -> usize {
    match event {
        proto::Event::Text(text) => text.as_bytes().len(),
        proto::Event::Binary(data) => data.len(),
        proto::Event::Chunk(data) => data.len(),
        proto::Event::ServerSent(event) => event.len(),
        _ => 0,
    }
}
