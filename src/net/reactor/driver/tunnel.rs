//! A connection to a proxy, until the proxy has opened the tunnel.

use std::ops::ControlFlow;
use std::time::Instant;

use super::live::Token;
use super::opening::Opening;
use crate::error::{ErrorKind, ProxyError};
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::Place;
use crate::net::sys::{Interest, Sys};
use crate::net::wire::link::{Link, ReadOutcome};
use crate::net::wire::proxy::Tunnel;

/// At most so many reads in a row, so that a proxy that never stops sending does not delay other
/// connections. What the last of them completed is still acted on: no byte may follow it, and then
/// nothing makes the socket readable again.
const READS: usize = 16;

/// A socket that is connected to a proxy.
pub(super) struct Tunnelling<S: Sys> {
    pub(super) opening: Box<Opening<S>>,
    pub(super) link: Link<S>,
    pub(super) tunnel: Tunnel,
    pub(super) token: Token,
    /// The gate of the connection, if it has one.
    pub(super) place: Place,
    /// Bytes that the proxy has sent and that were not parsed yet.
    kept: Vec<u8>,
}

impl<S: Sys> Tunnelling<S> {
    pub(super) fn new(
        opening: Box<Opening<S>>,
        link: Link<S>,
        tunnel: Tunnel,
        token: Token,
        place: Place,
    ) -> Tunnelling<S> {
        Tunnelling { opening, link, tunnel, token, place, kept: Vec::new() }
    }

    pub(super) fn deadline(&self) -> Instant {
        let until = self.opening.deadline();
        self.tunnel.deadline().map_or(until, |own| own.min(until))
    }

    /// The error for the program if the proxy fails with `why`.
    pub(super) fn error(&self, why: ProxyError) -> ErrorKind {
        ErrorKind::Proxy { proxy: self.tunnel.proxy().to_string(), why }
    }

    /// Writes and reads. Breaks when the tunnel is open, or with the reason why it is not.
    pub(super) fn step(&mut self, core: &mut Core<S>) -> ControlFlow<Result<(), ProxyError>> {
        let broken = |kind| ControlFlow::Break(Err(ProxyError::Unreached(Box::new(kind))));
        for reads in 0..=READS {
            let written = self.link.write(&mut core.sys, self.tunnel.outgoing());
            self.tunnel.sent(written.done);
            // The proxy may have sent the reason before the write failed.
            let wrote = written.broken.map(ErrorKind::Io);
            let interest = Interest { read: true, write: written.blocked };
            if wrote.is_none() && self.token.interest() != interest {
                self.token = self.token.with(interest);
                let (socket, number) = (&self.link.socket, self.token.number());
                if let Err(e) = core.sys.watch(socket, number, interest, false) {
                    return broken(ErrorKind::Io(e));
                }
            }
            if self.is_open() {
                return ControlFlow::Break(Ok(()));
            }
            if reads == READS {
                break;
            }
            let end = match self.read(core) {
                Ok(ReadOutcome::Some { .. }) => None,
                Ok(ReadOutcome::None) if wrote.is_none() => return ControlFlow::Continue(()),
                Ok(ReadOutcome::None) => wrote,
                Ok(ReadOutcome::Eof | ReadOutcome::Cut) => Some(ErrorKind::Eof),
                Err(kind) => Some(kind),
            };
            let received = self.tunnel.receive(core.now, &self.kept);
            match received {
                Ok(used) => drop(self.kept.drain(..used)),
                Err(why) => return ControlFlow::Break(Err(why)),
            }
            match end {
                None => {}
                // If the proxy has sent the reason, that is reported, however the connection has
                // ended.
                Some(kind) => {
                    return match self.tunnel.end() {
                        ProxyError::Eof if !matches!(kind, ErrorKind::Eof) => broken(kind),
                        why => ControlFlow::Break(Err(why)),
                    };
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether the tunnel is open: the proxy has opened it, and TLS with the proxy is established.
    fn is_open(&self) -> bool {
        self.tunnel.is_open() && !self.link.is_handshaking()
    }

    /// Reads once, behind the kept bytes.
    fn read(&mut self, core: &mut Core<S>) -> Result<ReadOutcome, ErrorKind> {
        /// Answers of proxies are short; bytes behind an answer are an error.
        const ROOM: usize = 4096;
        let mut end = self.kept.len();
        self.kept.resize(end + ROOM, 0);
        let read =
            self.link.read(&mut core.sys, &mut core.cipher, &mut self.kept, &mut end, usize::MAX);
        self.kept.truncate(end);
        read
    }
}
