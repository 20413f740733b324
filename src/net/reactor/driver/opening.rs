//! A connection on its way to a connected socket: what it waits for, and what comes of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::live::{Entry, Live, Reading, Token, Writing};
use super::tail::Tail;
use crate::error::{ErrorKind, Stage};
use crate::net::ask::Ask;
use crate::net::event::ConnId;
use crate::net::reactor::core::Core;
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::net::wire::dial::Plan;
use crate::net::wire::link::Link;
use crate::policy::Destination;
use crate::proto::SECRET;

/// On its way to a connected socket.
pub(super) struct Opening<S: Sys> {
    pub(super) ask: Ask,
    /// When a connection has to be there, and of a WebSocket the 101 response.
    pub(super) deadline: Instant,
    /// When the head of a response has to be there, after all redirects.
    pub(super) total: Instant,
    /// `None` while the name is being resolved.
    pub(super) plan: Option<Plan>,
    /// When the next address is to be tried.
    pub(super) next: Option<Instant>,
    pub(super) attempts: Vec<Attempt<S>>,
    /// Addresses whose gate is busy.
    pub(super) parked: Vec<SocketAddr>,
    pub(super) failed: Vec<(SocketAddr, io::Error)>,
    pub(super) count: u8,
}

pub(super) struct Attempt<S: Sys> {
    pub(super) number: u8,
    pub(super) to: SocketAddr,
    pub(super) socket: S::Socket,
    pub(super) interest: Interest,
}

impl<S: Sys> Opening<S> {
    /// `count` is the number of the first attempt.
    pub(super) fn new(ask: Ask, core: &Core<S>, total: Instant, count: u8) -> Opening<S> {
        let deadline = after(core.now, ask.opening(&core.limits)).min(total);
        Opening {
            ask,
            deadline,
            total,
            plan: None,
            next: None,
            attempts: Vec::new(),
            parked: Vec::new(),
            failed: Vec::new(),
            count,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// The stage and the error, if it has had its time.
    pub(super) fn late(&self, core: &Core<S>) -> Option<(Stage, ErrorKind)> {
        if self.deadline > core.now {
            return None;
        }
        let stage = if self.plan.is_none() { Stage::Resolve } else { Stage::Connect };
        Some((stage, ErrorKind::Timeout(self.ask.opening(&core.limits))))
    }

    /// What comes of it with a connected socket.
    pub(super) fn live(
        &mut self,
        core: &mut Core<S>,
        id: ConnId,
        attempt: Attempt<S>,
    ) -> Result<Live<S>, ErrorKind> {
        let ask = &self.ask;
        let tls = match core.tls(ask.url()) {
            Ok(tls) => tls,
            Err(kind) => {
                self.leave_gate(core, attempt.to);
                core.sys.forget(&attempt.socket);
                return Err(kind);
            }
        };
        let trace = core.observer.is_some();
        let nonce = core.keys.with(&mut core.sys).bytes();
        let session = ask.session(&core.limits, trace, nonce, self.total);
        let is_gated = ask.is_gated();
        let entry = Entry {
            gate: is_gated.then_some(attempt.to),
            limit: ask.opening(&core.limits),
            response: ask.response(&core.limits),
            until: (!is_gated).then_some(self.deadline),
        };
        let stream = match ask {
            Ask::WebSocket(_) => None,
            Ask::Stream(options) => Some(options.clone()),
        };
        Ok(Live {
            link: Link::new(attempt.socket, tls),
            session,
            limits: Arc::clone(ask.limits(&core.limits)),
            token: Token { number: Token::of(id, attempt.number), interest: attempt.interest },
            entry: Some(Box::new(entry)),
            stream,
            reading: Reading::Ready { tail: Tail::default(), most: usize::MAX },
            writing: Writing::Ready,
        })
    }

    /// Whether it may go to its URL, or to an address.
    pub(super) fn allowed(&self, core: &Core<S>, address: Option<IpAddr>) -> Result<(), ErrorKind> {
        let mut to = Destination::of(self.ask.url());
        to.address = address.or(to.address);
        core.policy.check(&to).map_err(|why| {
            let secret = self.ask.is_secret();
            ErrorKind::Denied(if secret { "its URL is secret".to_owned() } else { why })
        })
    }

    /// Leaves the addresses that it may go to; an error if that is none.
    pub(super) fn keep_allowed(
        &mut self,
        core: &Core<S>,
        all: &mut Vec<SocketAddr>,
    ) -> Result<(), ErrorKind> {
        let mut denied = Vec::new();
        all.retain(|to| match self.allowed(core, Some(to.ip())) {
            Ok(()) => true,
            Err(kind) => {
                denied.push((*to, kind));
                false
            }
        });
        if all.is_empty() {
            return denied.into_iter().next().map_or(Ok(()), |(_, kind)| Err(kind));
        }
        let refused =
            |kind: ErrorKind| io::Error::new(io::ErrorKind::PermissionDenied, kind.to_string());
        self.failed.extend(denied.into_iter().map(|(to, kind)| (to, refused(kind))));
        Ok(())
    }

    /// An address, unless the URL is secret.
    pub(super) fn shown(&self, to: SocketAddr) -> String {
        if self.ask.is_secret() { SECRET.to_owned() } else { to.to_string() }
    }

    pub(super) fn leave_gate(&self, core: &mut Core<S>, to: SocketAddr) {
        if self.ask.is_gated() {
            core.gates.leave(to);
        }
    }

    pub(super) fn missed(&mut self, core: &mut Core<S>, to: SocketAddr, e: io::Error) {
        self.leave_gate(core, to);
        self.failed.push((to, e));
        if let Some(plan) = &mut self.plan {
            plan.failed();
        }
    }

    /// Ends all attempts that are under way.
    pub(super) fn end_attempts(&mut self, core: &mut Core<S>) {
        self.parked.clear();
        for attempt in std::mem::take(&mut self.attempts) {
            core.sys.forget(&attempt.socket);
            self.leave_gate(core, attempt.to);
        }
    }
}
