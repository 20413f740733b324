//! From a URL to a connected socket: resolve, dial, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Attempt, Driver, Life, Live, Opening, Token};
use crate::error::{ErrorKind, Stage};
use crate::net::conn::{Core, Sink};
use crate::net::dial::{Plan, Step};
use crate::net::link::Link;
use crate::net::sys::{Interest, Sys};
use crate::proto::{Host, Session};

impl<S: Sys> Driver<S> {
    /// Asks for the addresses, unless they are known.
    pub(in crate::net) fn start(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let Life::Opening(opening) = &self.life else { return };
        let url = opening.options.url();
        let (host, port) = (url.host().clone(), url.port());
        let set: Vec<SocketAddr> =
            core.resolve.iter().filter(|o| o.is_for(&host, port)).map(|o| o.to).collect();
        match host {
            _ if !set.is_empty() => self.addresses(core, sink, Ok(set)),
            Host::Address(ip) => self.addresses(core, sink, Ok(vec![SocketAddr::new(ip, port)])),
            Host::Name(name) => {
                core.say(self.id, || format!("resolving {name}"));
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
        match answer {
            Ok(all) if !all.is_empty() => {
                let limits = &core.limits;
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
                Step::Start(to) => self.attempt(core, to),
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
    pub(super) fn attempt(&mut self, core: &mut Core<S>, to: SocketAddr) {
        let Life::Opening(opening) = &mut self.life else { return };
        if !core.gates.enter(to, self.id) {
            opening.parked.push(to);
            return;
        }
        core.say(self.id, || format!("connecting to {to}"));
        let number = opening.count;
        opening.count = opening.count.wrapping_add(1);
        let interest = Interest { read: false, write: true };
        let started = core.sys.connect(to).and_then(|socket| {
            core.sys.watch(&socket, Token::of(self.id, number), interest, true)?;
            Ok(socket)
        });
        match started {
            Ok(socket) => opening.attempts.push(Attempt { number, to, socket }),
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
        self.attempt(core, to);
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
        core.say(self.id, || format!("connected to {}", attempt.to));
        let (options, deadline) = (&opening.options, opening.deadline);
        let tls = match core.tls(options.url()) {
            Ok(tls) => tls,
            Err(kind) => {
                core.gates.leave(attempt.to);
                core.sys.forget(&attempt.socket);
                return self.fail(core, sink, Stage::Tls, kind);
            }
        };
        let limit = options.opening(&core.limits);
        let settings = options.settings(&core.limits, core.observer.is_some());
        let limits = Arc::clone(&settings.limits);
        let nonce = core.keys.with(&mut core.sys).bytes();
        let session = Session::new(&options.request, settings, nonce, Some(deadline));
        let number = Token::of(self.id, attempt.number);
        self.life = Life::Live(Live {
            link: Link { socket: attempt.socket, tls },
            session,
            limits,
            token: Token { number, interest: Interest { read: false, write: true } },
            opening: Some(Box::new((attempt.to, limit))),
        });
        core.touch(self);
    }
}

impl<S: Sys> Opening<S> {
    pub(super) fn missed(&mut self, core: &mut Core<S>, to: SocketAddr, e: io::Error) {
        core.gates.leave(to);
        self.failed.push((to, e));
        if let Some(plan) = &mut self.plan {
            plan.failed();
        }
    }

    /// Ends all attempts that are under way.
    pub(super) fn leave(&mut self, core: &mut Core<S>) {
        self.parked.clear();
        for attempt in self.attempts.drain(..) {
            core.sys.forget(&attempt.socket);
            core.gates.leave(attempt.to);
        }
    }
}
