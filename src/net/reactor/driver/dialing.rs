//! Names to addresses to attempts, until one of them is a connected socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::live::Token;
use super::opening::Attempt;
use super::state::{Driver, State};
use crate::error::{ErrorKind, Stage};
use crate::net::ask::Source;
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::Ticket;
use crate::net::sys::{Interest, Sys};
use crate::net::wire::dial::{Plan, Step};
use crate::proto::Host;
use crate::proto::secret::SECRET;

impl<S: Sys> Driver<S> {
    /// Asks for the addresses, unless they are known.
    pub(in crate::net) fn start(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Opening(opening) = &self.state else { return };
        let (host, port) = opening.ask.origin();
        if let Err(kind) = opening.allowed(core, None) {
            return self.fail(core, sink, Stage::Url, kind);
        }
        if opening.ask.source().is_some_and(Source::is_taken) {
            return self.fail(core, sink, Stage::Request, ErrorKind::BodyTaken);
        }
        let set: Vec<SocketAddr> =
            core.resolve.iter().filter(|o| o.is_for(&host, port)).map(|o| o.to).collect();
        match host {
            _ if !set.is_empty() => self.addresses(core, sink, Ok(set)),
            Host::Address(ip) => self.addresses(core, sink, Ok(vec![SocketAddr::new(ip, port)])),
            Host::Name(name) => {
                let name = opening.ask.url().resolver_name().unwrap_or(name);
                let shown = if opening.ask.url().is_secret() { SECRET } else { &name };
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
        let State::Opening(opening) = &mut self.state else { return };
        // A second answer would forget what is under way.
        if opening.plan.is_some() {
            return;
        }
        match answer {
            Ok(mut all) if !all.is_empty() => {
                let limits = Arc::clone(opening.ask.limits(&core.limits));
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
            let State::Opening(opening) = &mut self.state else { return };
            let Some(plan) = &mut opening.plan else { return };
            match plan.step(core.now) {
                Step::Start(to) => self.attempt(core, sink, to),
                Step::Wait(next) => {
                    opening.next = next;
                    return opening.look_at_clock(core, self.id);
                }
                Step::Exhausted => {
                    let failed = std::mem::take(&mut opening.failed);
                    return self.fail(core, sink, Stage::Connect, ErrorKind::Connect(failed));
                }
            }
        }
    }

    /// One attempt, as soon as its gate lets it.
    fn attempt(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, to: SocketAddr) {
        let State::Opening(opening) = &mut self.state else { return };
        if opening.ask.is_gated()
            && let Some(ticket) = core.gates.enter(to, self.id)
        {
            return opening.parked.push((to, ticket));
        }
        self.connect(core, sink, to);
    }

    /// One attempt, whose gate has let it in.
    fn connect(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, to: SocketAddr) {
        let State::Opening(opening) = &mut self.state else { return };
        // The observer may panic, and then the gate has to be left.
        opening.entered = Some(to);
        core.say(self.id, || format!("connecting to {}", opening.shown(to)));
        opening.entered = None;
        let number = opening.count;
        opening.count = opening.count.wrapping_add(1);
        let started = core.sys.connect(to).and_then(|socket| {
            let is_there = core.sys.is_connected(&socket);
            let interest = Interest { read: is_there, write: !is_there };
            core.sys.watch(&socket, Token::of(self.id, number), interest, true)?;
            Ok(Attempt { number, to, socket, interest })
        });
        match started {
            Ok(attempt) => {
                let is_there = attempt.interest.read;
                opening.attempts.push(attempt);
                if is_there {
                    self.connected(core, sink, number);
                }
            }
            Err(e) => opening.missed(core, to, e),
        }
    }

    /// A gate that it waited for has let it in.
    pub(in crate::net) fn unpark(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        to: SocketAddr,
        ticket: Ticket,
    ) {
        let State::Opening(opening) = &mut self.state else { return core.gates.leave(to) };
        // An address may stand in an answer twice, and then it waits twice.
        opening.parked.retain(|(_, parked)| *parked != ticket);
        // Its time starts now, not where this turn did.
        core.now = core.sys.now();
        self.connect(core, sink, to);
        self.dial(core, sink);
    }

    pub(super) fn attempt_ready(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, number: u8) {
        let State::Opening(opening) = &mut self.state else { return };
        let Some(i) = opening.attempts.iter().position(|a| a.number == number) else { return };
        match core.sys.connected(&opening.attempts[i].socket) {
            Ok(()) => self.connected(core, sink, number),
            Err(e) => {
                let attempt = opening.attempts.swap_remove(i);
                core.sys.forget(&attempt.socket);
                opening.missed(core, attempt.to, e);
                self.dial(core, sink);
            }
        }
    }
}
