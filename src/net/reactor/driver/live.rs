//! A connected socket and its session: both directions, and the deadlines.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errors::{ErrorData, Shown};
use super::laps::Laps;
use super::upload::Upload;
use crate::error::Stage;
use crate::limits::Limits;
use crate::net::ask::{Options, Proxy, StreamOptions};
use crate::net::event::ConnId;
use crate::net::reactor::core::Core;
use crate::net::reactor::flow::Flow;
use crate::net::reactor::gate::Place;
use crate::net::reactor::kept::KeptInfo;
use crate::net::reactor::tail::Tail;
use crate::net::session::Session;
use crate::net::sys::{Interest, Sys};
use crate::net::wire::link::Link;
use crate::proto::{Context, Endpoint, Event, TlsInfo, Transport};

pub(in crate::net) struct Live<S: Sys> {
    pub(super) link: Link<S>,
    pub(in crate::net) session: Session,
    pub(super) token: Token,
    /// `Some` until the connection is open.
    pub(super) entry: Option<Box<Entry>>,
    /// `None` for most WebSockets.
    pub(super) extra: Option<Box<Extra>>,
    pub(super) reading: Reading,
}

/// The data that most WebSockets do not have; in one box, so that these are small.
#[derive(Default)]
pub(super) struct Extra {
    /// The limits of the options, which replace those of the reactor.
    pub(super) limits: Option<Arc<Limits>>,
    /// The proxy in use.
    pub(super) proxy: Option<Proxy>,
    /// The options of a stream, which a redirect needs.
    pub(super) stream: Option<Box<StreamOptions>>,
    /// The source of a request's body, until the body has ended.
    pub(super) upload: Option<Upload>,
    /// The data that is kept with the connection, if it may carry another request.
    pub(super) kept_info: Option<Box<KeptInfo>>,
    pub(super) writing: Writing,
}

/// The state of the receiving side.
pub(super) enum Reading {
    /// The socket is read when it is ready; if `short`, at most [`Limits::receive_buffer`] bytes at
    /// a time. `tail` is the received part of a frame, if there is one.
    Ready { tail: Option<Box<Tail>>, short: bool },
    /// A turn had no room for this input, or the program takes it message by message. The socket is
    /// not read. Unless the program has paused it, the connection is in the reactor's backlog.
    Behind(Option<Box<Tail>>),
    /// The peer has ended its side of the stream.
    Ended,
}

/// The state of the sending side.
#[derive(Default)]
pub(super) enum Writing {
    #[default]
    Ready,
    /// A write between two turns has failed with this error; [`Driver::settle`] ends the connection
    /// with it. Until then nothing is written, even if that might succeed: nobody knows how much of
    /// the last write was sent.
    Broken(io::Error),
}

/// The data of a connected socket whose connection is not open yet.
pub(super) struct Entry {
    /// The address to which the socket is connected.
    pub(super) peer: Endpoint,
    /// The gate in which the connection stays until the handshake has ended.
    pub(super) gate: Option<Place>,
    pub(super) laps: Laps,
    /// The time limits of opening and of a stream's response.
    pub(super) limit: Duration,
    pub(super) response: Duration,
    /// For a stream until TLS is established: the deadline for that.
    pub(super) until: Option<Instant>,
    /// `Some` for a handshake that follows redirects.
    pub(super) follow: Option<Box<Follow>>,
}

/// The data with which a handshake follows a redirect.
pub(super) struct Follow {
    pub(super) options: Options,
    /// The deadline for all redirects together.
    pub(super) until: Instant,
}

/// How a socket is registered with the poller: its number, below 2⁶¹, and above it the interest.
#[derive(Clone, Copy)]
pub(super) struct Token(u64);

impl Token {
    const READ: u64 = 1 << 63;
    const WRITE: u64 = 1 << 62;

    pub(super) fn new(number: u64, interest: Interest) -> Token {
        let read = if interest.read { Token::READ } else { 0 };
        let write = if interest.write { Token::WRITE } else { 0 };
        Token(number | read | write)
    }

    pub(super) fn of(id: ConnId, attempt: u8) -> u64 {
        id.to_bits() << 8 | u64::from(attempt)
    }

    pub(super) fn number(self) -> u64 {
        self.0 & !(Token::READ | Token::WRITE)
    }

    pub(super) fn interest(self) -> Interest {
        Interest { read: self.0 & Token::READ != 0, write: self.0 & Token::WRITE != 0 }
    }

    /// The same number with another interest.
    pub(super) fn with(self, interest: Interest) -> Token {
        Token::new(self.number(), interest)
    }

    /// The same without interest in room to write.
    pub(super) fn without_write(self) -> Token {
        Token(self.0 & !Token::WRITE)
    }

    /// The token of the same socket with another number.
    pub(super) fn next(self) -> Token {
        let (id, attempt) = token_parts(self.number());
        Token::new(Token::of(id, attempt.wrapping_add(1)), self.interest())
    }
}

/// The connection and the attempt of a token.
pub(in crate::net) fn token_parts(token: u64) -> (ConnId, u8) {
    (ConnId::from_bits(token >> 8), token as u8)
}

impl<S: Sys> Live<S> {
    /// The deadline of TLS or of the session. While the socket is not read, limits on the peer's
    /// silence do not count: its pong may be in the kernel's buffer. If the program has paused
    /// reading, neither does `Stall`: the peer may take nothing because nobody reads what it sends.
    pub(super) fn deadline(&self, flow: &Flow) -> Option<Instant> {
        let tls = self.entry.as_ref().and_then(|entry| entry.until);
        tls.or_else(|| match flow.is_unread() {
            true => self.session.deadline_unread(flow.paused),
            false => self.session.deadline(),
        })
    }

    /// The session's deadline of [`Live::deadline`] has passed.
    pub(super) fn on_deadline(
        &mut self,
        cx: &mut Context<'_>,
        flow: &Flow,
    ) -> Option<Event<'static>> {
        match flow.is_unread() {
            true => self.session.on_deadline_unread(cx, flow.paused),
            false => self.session.on_deadline(cx),
        }
    }

    /// The time limit of opening, if TLS took longer than that.
    pub(super) fn timed_out(&self, now: Instant) -> Option<Duration> {
        let entry = self.entry.as_ref()?;
        entry.until.is_some_and(|at| at <= now).then_some(entry.limit)
    }

    /// The transport of the connection.
    pub(in crate::net) fn transport(&self, sys: &S) -> Transport {
        let socket = &self.link.socket;
        let mut transport = Transport::default();
        match &self.entry {
            Some(entry) => {
                transport.peer = Some(entry.peer.clone());
                transport.phases = entry.laps.phases;
            }
            None => transport.peer = sys.peer_addr(socket),
        }
        transport.local = sys.local_addr(socket);
        let proxy = self.extra.as_ref().and_then(|extra| extra.proxy.as_ref());
        transport.proxy = proxy.map(Proxy::to_string);
        transport.tls = self.link.tls_of_peer().map(|tls| {
            let alpn = tls.alpn().map(<[u8]>::to_vec);
            TlsInfo::new(tls.version(), alpn, tls.certificates())
        });
        transport
    }

    /// Whether the peer has ended its side of the stream.
    pub(super) fn reading_ended(&self) -> bool {
        matches!(self.reading, Reading::Ended)
    }

    /// How many bytes the kernel has not taken.
    pub(in crate::net) fn buffered(&self) -> usize {
        self.session.buffered()
    }

    /// Whether bytes are still to be sent: queued ones, or a close frame that is held back.
    pub(super) fn must_send(&self) -> bool {
        self.session.is_open() || self.buffered() > 0
    }

    /// Ends a stream's connection; the rest of the request is not sent. Returns the options.
    pub(super) fn end_stream(mut self, core: &mut Core<S>) -> Option<Box<StreamOptions>> {
        // Sends `close_notify` of TLS, if the kernel takes it at once.
        let _ = self.link.write_last(&mut core.sys, &mut Vec::new());
        core.sys.forget(&self.link.socket);
        self.extra?.stream
    }

    pub(super) fn is_stream(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.stream.is_some())
    }

    /// The source of the request's body, until the body has ended.
    pub(super) fn upload(&self) -> Option<&Upload> {
        self.extra.as_ref()?.upload.as_ref()
    }

    /// The data that is kept with the connection, if it may carry another request.
    pub(super) fn kept_info(&self) -> Option<&KeptInfo> {
        self.extra.as_ref()?.kept_info.as_deref()
    }

    /// Whether a write between two turns has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| matches!(extra.writing, Writing::Broken(_)))
    }

    pub(super) fn limits<'a>(&'a self, core: &'a Core<S>) -> &'a Limits {
        let own = self.extra.as_ref().and_then(|extra| extra.limits.as_deref());
        own.unwrap_or(&core.limits)
    }

    pub(super) fn error_data<'a>(&'a self, url: &'a Shown, core: &'a Core<S>) -> ErrorData<'a> {
        let stage = self.stage();
        let exchange = self.session.exchange();
        let limit = match &self.entry {
            None => Duration::ZERO,
            Some(entry) if stage == Stage::Response => entry.response,
            Some(entry) => entry.limit,
        };
        ErrorData {
            limit,
            idle: exchange.and_then(|e| e.timing().idle).unwrap_or_default(),
            status: exchange.and_then(|exchange| exchange.status()),
            unsent: self.session.unsent(),
            served: self.served(),
            phases: self.entry.as_ref().map(|entry| entry.laps.phases).unwrap_or_default(),
            ..ErrorData::new(url, stage, self.limits(core))
        }
    }

    pub(super) fn stage(&self) -> Stage {
        let is_stream = self.is_stream();
        if self.entry.is_none() {
            return if is_stream { Stage::Body } else { Stage::Open };
        }
        if self.link.is_handshaking() {
            Stage::Tls
        } else if is_stream {
            Stage::Response
        } else {
            Stage::Handshake
        }
    }

    /// Whether the next read takes at most [`Limits::receive_buffer`] bytes.
    pub(super) fn reads_little(&self) -> bool {
        matches!(self.reading, Reading::Ready { short: true, .. })
    }

    pub(super) fn read_little(&mut self, little: bool) {
        if let Reading::Ready { short, .. } = &mut self.reading {
            *short = little;
        }
    }

    /// Takes the kept input out, to be parsed now; the socket may be read again.
    pub(super) fn take_tail(&mut self) -> Option<Box<Tail>> {
        match &mut self.reading {
            Reading::Ready { tail, .. } => tail.take(),
            Reading::Behind(tail) => {
                let tail = tail.take();
                self.reading = Reading::Ready { tail: None, short: false };
                tail
            }
            Reading::Ended => None,
        }
    }

    /// Keeps the input that the session has not taken.
    pub(super) fn keep_tail(&mut self, rest: &[u8]) {
        match &mut self.reading {
            Reading::Ready { tail, .. } | Reading::Behind(tail) => *tail = Tail::copy(rest),
            Reading::Ended => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is forgotten of the interest is registered again at every turn.
    #[test]
    fn a_token_has_the_number_and_the_interest() {
        let number = Token::of(ConnId::from_bits((1 << 53) - 1), 255);
        for (read, write) in [(false, false), (false, true), (true, false), (true, true)] {
            let interest = Interest { read, write };
            let token = Token::new(number, interest);
            assert_eq!((token.number(), token.interest()), (number, interest));
            assert_eq!(token.without_write().interest(), Interest { read, write: false });
        }
    }
}
