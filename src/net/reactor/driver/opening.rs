//! A connection on its way to a connected socket: what it waits for, and what comes of it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::live::{Entry, Follow, Live, Reading, Token, Writing};
use super::tail::Tail;
use super::upload::Upload;
use crate::error::{ErrorKind, Stage};
use crate::net::ask::Ask;
use crate::net::event::ConnId;
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::Ticket;
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::net::wire::dial::Plan;
use crate::net::wire::link::Link;
use crate::policy::Destination;
use crate::proto::secret::SECRET;

/// On its way to a connected socket.
pub(super) struct Opening<S: Sys> {
    pub(super) ask: Ask,
    clock: Clock,
    /// What it had when it began: all of its time, or on another hop than the first what was left.
    time: Duration,
    /// How long it may still wait for its turn.
    patience: Duration,
    /// When the head of a response has to be there, after all redirects.
    pub(super) total: Instant,
    /// `None` while the name is being resolved.
    pub(super) plan: Option<Plan>,
    /// When the next address is to be tried.
    pub(super) next: Option<Instant>,
    pub(super) attempts: Vec<Attempt<S>>,
    /// Addresses whose gate is busy, with our place in the line before it.
    pub(super) parked: Vec<(SocketAddr, Ticket)>,
    pub(super) failed: Vec<(SocketAddr, io::Error)>,
    /// A gate that has let it in, while no attempt stands for that.
    pub(super) entered: Option<SocketAddr>,
    pub(super) count: u8,
}

/// The time for which it may take to have a connection, and of a WebSocket the 101 response. Waiting
/// for one's turn is not connecting: the wait has a limit of its own, and the time starts with the
/// turn.
enum Clock {
    Runs {
        until: Instant,
    },
    /// It waits since then, and has so much time when its turn comes.
    Waits {
        since: Instant,
        left: Duration,
    },
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
        let until = after(core.now, ask.opening(&core.limits)).min(total);
        let patience = ask.limits(&core.limits).opening_wait;
        Opening {
            ask,
            clock: Clock::Runs { until },
            time: until.saturating_duration_since(core.now),
            patience,
            total,
            plan: None,
            next: None,
            attempts: Vec::new(),
            parked: Vec::new(),
            failed: Vec::new(),
            entered: None,
            count,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let until = match self.clock {
            Clock::Runs { until } => until,
            Clock::Waits { since, .. } => after(since, self.patience),
        };
        self.next.map_or(until, |next| next.min(until))
    }

    /// The stage and the error, if it has had its time.
    pub(super) fn late(&self, core: &Core<S>) -> Option<(Stage, ErrorKind)> {
        match self.clock {
            Clock::Runs { until } if until <= core.now => {
                let stage = if self.plan.is_none() { Stage::Resolve } else { Stage::Connect };
                Some((stage, ErrorKind::Timeout(self.ask.opening(&core.limits))))
            }
            Clock::Waits { since, .. } if after(since, self.patience) <= core.now => {
                let limit = self.ask.limits(&core.limits).opening_wait;
                let (address, others) = self.turn(core)?;
                Some((Stage::Connect, ErrorKind::Waited { limit, others, address }))
            }
            _ => None,
        }
    }

    /// For which address it waits to have its turn, and how many are before it: where it is soonest.
    fn turn(&self, core: &Core<S>) -> Option<(SocketAddr, usize)> {
        let each = self.parked.iter().map(|(to, ticket)| (*to, core.gates.before(*to, *ticket)));
        each.min_by_key(|(_, others)| *others)
    }

    /// Whether it waits for its turn may have changed.
    pub(super) fn look_at_clock(&mut self, core: &mut Core<S>, id: ConnId) {
        let waits = self.attempts.is_empty() && !self.parked.is_empty();
        self.clock = match self.clock {
            Clock::Runs { until } if waits => {
                if let Some((address, others)) = self.turn(core) {
                    let shown = self.shown(address);
                    core.say(id, || {
                        format!("waiting for its turn with {shown}: {others} before it")
                    });
                }
                // One that was never tried has all of its time.
                let left = match self.failed.is_empty() {
                    true => self.time,
                    false => until.saturating_duration_since(core.now),
                };
                Clock::Waits { since: core.now, left }
            }
            Clock::Waits { since, .. } if !waits => {
                let waited = core.now.saturating_duration_since(since);
                self.patience = self.patience.saturating_sub(waited);
                Clock::Runs { until: self.end(core.now) }
            }
            _ => return,
        };
    }

    /// When the opening has to be done, if it goes on now.
    fn end(&self, now: Instant) -> Instant {
        match self.clock {
            Clock::Runs { until } => until,
            Clock::Waits { left, .. } => after(now, left),
        }
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
        let (is_gated, end) = (ask.is_gated(), self.end(core.now));
        // A WebSocket has one limit for all of it, from its turn.
        let total = if is_gated { end } else { self.total };
        let session = ask.session(&core.limits, trace, nonce, total);
        let entry = Entry {
            gate: is_gated.then_some(attempt.to),
            limit: ask.opening(&core.limits),
            response: ask.response(&core.limits),
            until: (!is_gated).then_some(end),
            follow: match ask {
                Ask::WebSocket(options) if options.request.may_be_redirected() => {
                    Some(Box::new(Follow { options: options.clone(), until: total }))
                }
                _ => None,
            },
        };
        let stream = match ask {
            Ask::WebSocket(_) => None,
            Ask::Stream(options) => Some(options.clone()),
        };
        let upload = ask.source().cloned().map(|source| Box::new(Upload::new(source)));
        Ok(Live {
            link: Link::new(attempt.socket, tls),
            session,
            limits: Arc::clone(ask.limits(&core.limits)),
            token: Token { number: Token::of(id, attempt.number), interest: attempt.interest },
            entry: Some(Box::new(entry)),
            stream,
            upload,
            reading: Reading::Ready { tail: Tail::default(), most: usize::MAX },
            writing: Writing::Ready,
        })
    }

    /// Whether it may go to its URL, or to an address.
    pub(super) fn allowed(&self, core: &Core<S>, address: Option<IpAddr>) -> Result<(), ErrorKind> {
        let mut to = Destination::of(self.ask.url());
        to.address = address.or(to.address);
        core.policy.check(&to).and_then(|()| self.ask.policy().check(&to)).map_err(|why| {
            let secret = self.ask.url().is_secret();
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
        if self.ask.url().is_secret() { SECRET.to_owned() } else { to.to_string() }
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
        if let Some(to) = self.entered.take() {
            self.leave_gate(core, to);
        }
        for (to, ticket) in std::mem::take(&mut self.parked) {
            core.gates.give_up(to, ticket);
        }
        for attempt in std::mem::take(&mut self.attempts) {
            core.sys.forget(&attempt.socket);
            self.leave_gate(core, attempt.to);
        }
    }
}
