//! From a URL to a connected socket: resolve, dial, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::tail::Tail;
use super::{Attempt, Driver, Entry, Life, Live, Opening, Token};
use crate::error::{ErrorKind, Stage};
use crate::net::ask::{Ask, StreamOptions};
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::net::wire::dial::{Plan, Step};
use crate::net::wire::link::Link;
use crate::policy::Destination;
use crate::proto::http::Redirect;
use crate::proto::{Host, SECRET};

impl<S: Sys> Driver<S> {
    /// Asks for the addresses, unless they are known.
    pub(in crate::net) fn start(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let Life::Opening(opening) = &self.life else { return };
        let (host, port) = opening.ask.origin();
        if let Err(kind) = opening.allowed(core, None) {
            return self.fail(core, sink, Stage::Url, kind);
        }
        let set: Vec<SocketAddr> =
            core.resolve.iter().filter(|o| o.is_for(&host, port)).map(|o| o.to).collect();
        match host {
            _ if !set.is_empty() => self.addresses(core, sink, Ok(set)),
            Host::Address(ip) => self.addresses(core, sink, Ok(vec![SocketAddr::new(ip, port)])),
            Host::Name(name) => {
                let shown = if opening.ask.is_secret() { SECRET } else { &name };
                core.say(self.id, || format!("resolving {shown}"));
                if let Err(e) = core.sys.resolve(self.id.to_bits(), &name, port) {
                    self.addresses(core, sink, Err(e));
                }
            }
        }
    }

    /// The addresses, or why there are none.
    pub(in crate::net) fn addresses(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        answer: io::Result<Vec<SocketAddr>>,
    ) {
        let Life::Opening(opening) = &mut self.life else { return };
        // A second answer would forget what is under way.
        if opening.plan.is_some() {
            return;
        }
        match answer {
            Ok(mut all) if !all.is_empty() => {
                let limits = &core.limits;
                all.truncate(limits.addresses);
                if let Err(kind) = opening.keep_allowed(core, &mut all) {
                    return self.fail(core, sink, Stage::Resolve, kind);
                }
                opening.plan = Some(Plan::new(&all, limits.addresses, limits.attempt_delay));
                self.dial(core, sink);
            }
            Ok(_) => {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                self.fail(core, sink, Stage::Resolve, ErrorKind::Resolve(none));
            }
            Err(e) => self.fail(core, sink, Stage::Resolve, ErrorKind::Resolve(e)),
        }
    }

    /// Starts what the plan wants started.
    pub(super) fn dial(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        loop {
            let Life::Opening(opening) = &mut self.life else { return };
            let Some(plan) = &mut opening.plan else { return };
            match plan.step(core.now) {
                Step::Start(to) => self.attempt(core, sink, to),
                Step::Wait(next) => {
                    opening.next = next;
                    return;
                }
                Step::Exhausted => {
                    let failed = std::mem::take(&mut opening.failed);
                    return self.fail(core, sink, Stage::Connect, ErrorKind::Connect(failed));
                }
            }
        }
    }

    /// One attempt, as soon as its gate lets it.
    pub(super) fn attempt(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, to: SocketAddr) {
        let Life::Opening(opening) = &mut self.life else { return };
        if opening.ask.is_gated() && !core.gates.enter(to, self.id) {
            opening.parked.push(to);
            return;
        }
        core.say(self.id, || format!("connecting to {}", opening.shown(to)));
        let number = opening.count;
        opening.count = opening.count.wrapping_add(1);
        let started = core.sys.connect(to).and_then(|socket| {
            let is_there = core.sys.is_connected(&socket);
            let interest = Interest { read: is_there, write: !is_there };
            core.sys.watch(&socket, Token::of(self.id, number), interest, true)?;
            Ok(Attempt { number, to, socket, interest })
        });
        match started {
            Ok(attempt) if attempt.interest.read => self.go_live(core, sink, attempt),
            Ok(attempt) => opening.attempts.push(attempt),
            Err(e) => opening.missed(core, to, e),
        }
    }

    /// A gate that it waited for may be free; whether it still wants it.
    pub(in crate::net) fn unpark(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        to: SocketAddr,
    ) -> bool {
        let Life::Opening(opening) = &mut self.life else { return false };
        let Some(i) = opening.parked.iter().position(|p| *p == to) else { return false };
        opening.parked.swap_remove(i);
        self.attempt(core, sink, to);
        self.dial(core, sink);
        true
    }

    pub(super) fn attempt_ready(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, number: u8) {
        let Life::Opening(opening) = &mut self.life else { return };
        let Some(i) = opening.attempts.iter().position(|a| a.number == number) else { return };
        let attempt = opening.attempts.swap_remove(i);
        match core.sys.connected(&attempt.socket) {
            Ok(()) => self.go_live(core, sink, attempt),
            Err(e) => {
                core.sys.forget(&attempt.socket);
                opening.missed(core, attempt.to, e);
                self.dial(core, sink);
            }
        }
    }

    /// TCP is there: the other attempts end, TLS and the handshake begin.
    pub(super) fn go_live(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, attempt: Attempt<S>) {
        let Life::Opening(opening) = &mut self.life else { return };
        opening.leave(core);
        core.say(self.id, || format!("connected to {}", opening.shown(attempt.to)));
        let ask = &opening.ask;
        let tls = match core.tls(ask.url()) {
            Ok(tls) => tls,
            Err(kind) => {
                opening.leave_gate(core, attempt.to);
                core.sys.forget(&attempt.socket);
                return self.fail(core, sink, Stage::Tls, kind);
            }
        };
        let trace = core.observer.is_some();
        let nonce = core.keys.with(&mut core.sys).bytes();
        let session = ask.session(&core.limits, trace, nonce, opening.total);
        let limits = Arc::clone(ask.limits(&core.limits));
        let number = Token::of(self.id, attempt.number);
        let is_gated = ask.is_gated();
        let entry = Entry {
            gate: is_gated.then_some(attempt.to),
            limit: ask.opening(&core.limits),
            response: ask.response(&core.limits),
            until: (!is_gated).then_some(opening.deadline),
        };
        let stream = match &mut opening.ask {
            Ask::WebSocket(_) => None,
            Ask::Stream(options) => Some(options.clone()),
        };
        self.life = Life::Live(Live {
            link: Link { socket: attempt.socket, tls },
            session,
            limits,
            token: Token { number, interest: attempt.interest },
            entry: Some(Box::new(entry)),
            stream,
        });
        self.touch(core);
    }

    /// The answer is elsewhere: this connection ends, and the next turn opens another.
    pub(super) fn redirect(&mut self, core: &mut Core<S>, to: Redirect) {
        self.observe(core);
        core.say(self.id, || format!("redirected: {}", to.shown()));
        let Life::Live(live) = std::mem::replace(&mut self.life, Life::Gone) else { return };
        let (token, total) = (live.token, live.session.exchange().and_then(|e| e.timing().total));
        let options = live.part(core);
        self.touch(core);
        let (Some(mut options), false) = (options, self.released) else { return };
        options.request = to.request;
        self.url = options.request.shown_url().into();
        (self.tail, self.unparsed, self.deaf) = (Tail::default(), false, false);
        let total = total.unwrap_or(core.now);
        // What the system still has to say of the old socket is not about the new one.
        let count = (token.number as u8).wrapping_add(1);
        self.life = Life::Opening(Box::new(Opening::new(Ask::Stream(options), core, total, count)));
        core.fresh.push(self.id);
    }
}

impl<S: Sys> Live<S> {
    /// Ends a stream's connection: nothing that is left of the request matters to anybody. What
    /// it was opened with.
    pub(super) fn part(mut self, core: &mut Core<S>) -> Option<Box<StreamOptions>> {
        // The goodbye of TLS, if the kernel takes it at once.
        let _ = self.link.write_last(&mut core.sys, &mut Vec::new());
        core.sys.forget(&self.link.socket);
        self.stream
    }
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

    /// Whether it may go to its URL, or to an address.
    fn allowed(&self, core: &Core<S>, address: Option<IpAddr>) -> Result<(), ErrorKind> {
        let mut to = Destination::of(self.ask.url());
        to.address = address.or(to.address);
        core.policy.check(&to).map_err(|why| {
            let secret = self.ask.is_secret();
            ErrorKind::Denied(if secret { "its URL is secret".to_owned() } else { why })
        })
    }

    /// Leaves the addresses that it may go to; an error if that is none.
    fn keep_allowed(&mut self, core: &Core<S>, all: &mut Vec<SocketAddr>) -> Result<(), ErrorKind> {
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
    fn shown(&self, to: SocketAddr) -> String {
        if self.ask.is_secret() { SECRET.to_owned() } else { to.to_string() }
    }

    fn leave_gate(&self, core: &mut Core<S>, to: SocketAddr) {
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
    pub(super) fn leave(&mut self, core: &mut Core<S>) {
        self.parked.clear();
        for attempt in std::mem::take(&mut self.attempts) {
            core.sys.forget(&attempt.socket);
            self.leave_gate(core, attempt.to);
        }
    }
}
