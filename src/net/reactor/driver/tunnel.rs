//! A connection to a proxy, until that has opened the way.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::live::Token;
use super::opening::{Attempt, Opening};
use super::state::{Driver, State};
use crate::error::{ErrorKind, ProxyError, Stage};
use crate::net::event::ConnId;
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::Place;
use crate::net::sys::{Interest, Sys};
use crate::net::wire::link::{Link, Read};
use crate::net::wire::proxy::Tunnel;
use crate::proto::Note;
use crate::trace::Trace;

/// A socket that is connected to a proxy.
pub(super) struct Tunnelling<S: Sys> {
    pub(super) opening: Box<Opening<S>>,
    pub(super) link: Link<S>,
    tunnel: Tunnel,
    pub(super) token: Token,
    /// Its gate, if it has one.
    pub(super) place: Place,
    /// What the proxy has sent and what was not taken yet.
    kept: Vec<u8>,
}

impl<S: Sys> Tunnelling<S> {
    /// What is to be said to the proxy, on a connected socket.
    pub(super) fn new(
        opening: Box<Opening<S>>,
        core: &mut Core<S>,
        id: ConnId,
        attempt: Attempt<S>,
    ) -> Result<Tunnelling<S>, Box<(Box<Opening<S>>, ErrorKind)>> {
        let Attempt { number, to: place, socket, interest } = attempt;
        let limits = Arc::clone(opening.ask.limits(&core.limits));
        let url = opening.ask.url().clone();
        let (tunnel, tls) = match opening.tunnel() {
            Some((proxy, target)) => {
                let tls = core.tls_to(proxy);
                let tunnel = match target {
                    Some(target) => Tunnel::new(proxy.clone(), target.clone(), url, limits),
                    None => Tunnel::without(proxy.clone(), url, limits),
                };
                (Some(tunnel), tls)
            }
            None => (None, Err(ErrorKind::Dropped)),
        };
        match (tunnel, tls) {
            (Some(tunnel), Ok(tls)) => {
                let link = Link::to_proxy(socket, tls);
                let token = Token { number: Token::of(id, number), interest };
                Ok(Tunnelling { opening, link, tunnel, token, place, kept: Vec::new() })
            }
            (_, tls) => {
                opening.leave_gate(core, &place);
                core.sys.forget(&socket);
                Err(Box::new((opening, tls.err().unwrap_or(ErrorKind::Dropped))))
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let until = self.opening.deadline();
        self.tunnel.deadline().map_or(until, |own| own.min(until))
    }

    /// What its owner is told if it ends with `why`.
    pub(super) fn error(&self, why: ProxyError) -> ErrorKind {
        ErrorKind::Proxy { proxy: self.tunnel.proxy().to_string(), why }
    }

    /// Says what is to be said, hears what comes. Breaks when the way is open, or why it is not.
    fn step(&mut self, core: &mut Core<S>) -> ControlFlow<Result<(), ProxyError>> {
        let broken = |kind| ControlFlow::Break(Err(ProxyError::Unreached(Box::new(kind))));
        loop {
            let written = self.link.write(&mut core.sys, self.tunnel.outgoing());
            self.tunnel.sent(written.done);
            // What it has said before it broke may say why.
            let wrote = written.broken;
            let interest = Interest { read: true, write: written.blocked };
            if wrote.is_none() && self.token.interest != interest {
                self.token.interest = interest;
                let (socket, number) = (&self.link.socket, self.token.number);
                if let Err(e) = core.sys.watch(socket, number, interest, false) {
                    return broken(ErrorKind::Io(e));
                }
            }
            if self.is_open() {
                return ControlFlow::Break(Ok(()));
            }
            let end = match self.read(core) {
                Ok(Read::Some { .. }) => None,
                Ok(Read::None) if wrote.is_none() => return ControlFlow::Continue(()),
                Ok(Read::None) => wrote,
                Ok(Read::Eof | Read::Cut) => Some(ErrorKind::Eof),
                Err(kind) => Some(kind),
            };
            let heard = self.tunnel.receive(core.now, &self.kept);
            match heard {
                Ok(used) => drop(self.kept.drain(..used)),
                Err(why) => return ControlFlow::Break(Err(why)),
            }
            match end {
                None => {}
                // An answer that says why is told, however the connection has ended.
                Some(kind) => {
                    return match self.tunnel.end() {
                        ProxyError::Eof if !matches!(kind, ErrorKind::Eof) => broken(kind),
                        why => ControlFlow::Break(Err(why)),
                    };
                }
            }
        }
    }

    /// Whether the way is open: TLS with the proxy is there, and nothing is left to be said.
    fn is_open(&self) -> bool {
        let handshaking = self.link.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        self.tunnel.is_done() && !handshaking
    }

    /// Reads once, behind what was kept.
    fn read(&mut self, core: &mut Core<S>) -> Result<Read, ErrorKind> {
        /// Answers of proxies are short; what comes behind one is none.
        const ROOM: usize = 4096;
        let mut end = self.kept.len();
        self.kept.resize(end + ROOM, 0);
        let read = self.link.read(&mut core.sys, &mut core.cipher, &mut self.kept, &mut end, ROOM);
        self.kept.truncate(end);
        read
    }
}

impl<S: Sys> Driver<S> {
    /// A socket to a proxy has something to say, or takes more.
    pub(super) fn tunnel_on(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        match tunnelling.step(core) {
            ControlFlow::Continue(()) => self.touch(core),
            ControlFlow::Break(Ok(())) => self.passed(core, sink),
            ControlFlow::Break(Err(why)) => self.stopped(core, sink, why),
        }
    }

    /// The request to the proxy, for the observer.
    pub(super) fn show_request(&mut self, core: &mut Core<S>) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        let Some(observer) = &mut core.observer else { return };
        match tunnelling.tunnel.shown() {
            Some(head) => {
                let note = Note::request(head);
                observer.observe(core.now, self.id.to_bits(), Trace::Note(&note));
            }
            None => {
                let text = format!("asking the proxy {}", tunnelling.tunnel.proxy());
                observer.observe(core.now, self.id.to_bits(), Trace::State(&text));
            }
        }
    }

    /// The time for the way is over, or that for what a refusal says.
    pub(super) fn tunnel_late(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        match tunnelling.tunnel.deadline() {
            // As much of it as came.
            Some(_) => {
                let why = tunnelling.tunnel.end();
                self.stopped(core, sink, why);
            }
            None => {
                if let Some((stage, kind)) = tunnelling.opening.late(core) {
                    self.fail(core, sink, stage, kind);
                }
            }
        }
    }

    /// The proxy opens no way; of several addresses that it may be told, the next is tried.
    fn stopped(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, why: ProxyError) {
        if matches!(why, ProxyError::Socks(_)) && self.aim_at_next(core) {
            return self.dial(core, sink);
        }
        let State::Tunnel(tunnelling) = &self.state else { return };
        let kind = tunnelling.error(why);
        self.fail(core, sink, Stage::Proxy, kind);
    }
}
