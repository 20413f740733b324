//! From a name to addresses and attempts, until a socket is connected.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::errors::NOWHERE;
use super::laps::Laps;
use super::live::Token;
use super::opening::{Attempt, Hop, Opening, Route, shown_address};
use super::state::{Driver, State};
use crate::error::{ErrorKind, Stage};
use crate::net::ask::{BodySource, ProgramStream};
use crate::net::reactor::conn::Sink;
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::{Place, Ticket};
use crate::net::sys::{Dial, Interest, Sys, is_shortage};
use crate::net::wire::dial::{DialStep, Plan};
use crate::net::wire::proxy::Target;
use crate::proto::secret::SECRET;
use crate::proto::{Endpoint, Host, Url};

impl<S: Sys> Opening<S> {
    /// A socket that connects to `to`, and whether it is connected already.
    fn open_socket(&mut self, core: &mut Core<S>, to: &Endpoint) -> io::Result<(S::Socket, bool)> {
        if let Route::ProgramStream(stream) = &mut self.route
            && let Some(socket) = stream.take()
        {
            return Ok((socket, true));
        }
        let options = &self.ask.way().socket;
        let keep_alive = self.ask.probes(&core.limits);
        let dial = Dial { to, options, keep_alive };
        let mut socket = core.sys.connect_to(&dial);
        // Without a free descriptor, closes a kept connection and tries again.
        while socket.as_ref().is_err_and(is_shortage) && core.kept.end_first(&mut core.sys) {
            socket = core.sys.connect_to(&dial);
        }
        let socket = socket?;
        let is_there = core.sys.is_connected(&socket);
        Ok((socket, is_there))
    }
}

impl<S: Sys> Driver<S> {
    /// Starts to open the connection by its route.
    pub(in crate::net) fn start(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Opening(opening) = &mut self.state else { return };
        opening.laps = Laps::new(core.now);
        if let Err(kind) = opening.allowed(core, Hop::Url, None) {
            return self.fail(core, sink, Stage::Url, kind);
        }
        if opening.ask.source().is_some_and(BodySource::is_taken) {
            return self.fail(core, sink, Stage::Request, ErrorKind::BodyTaken);
        }
        opening.key = opening.key(core);
        if self.go_on_with_kept(core) {
            return;
        }
        core.make_room();
        let State::Opening(opening) = &mut self.state else { return };
        match (&opening.route, opening.ask.url().host()) {
            (Route::ProgramStream(_), _) => self.adopt(core, sink),
            (Route::Proxy(_), _) => self.start_to_proxy(core, sink),
            (Route::Direct, Host::Unix(path)) => {
                let to = Endpoint::Unix(path.as_str().into());
                opening.plan = Some(Plan::one(to));
                self.dial(core, sink);
            }
            (Route::Direct, _) => {
                let url = opening.ask.url().clone();
                self.look_up(core, sink, &url);
            }
        }
    }

    /// Takes over the program's stream.
    fn adopt(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Opening(opening) = &mut self.state else { return };
        let stream = opening.ask.way().over.as_ref().and_then(ProgramStream::take);
        let Some(stream) = stream else {
            return self.fail(core, sink, Stage::Url, ErrorKind::Used);
        };
        let socket = match core.sys.adopt(stream) {
            Ok(socket) => socket,
            Err(e) => {
                // The error needs an address, but there is none.
                let why = ErrorKind::Connect(vec![(NOWHERE, e)]);
                return self.fail(core, sink, Stage::Connect, why);
            }
        };
        let peer = core.sys.peer_addr(&socket).unwrap_or_else(|| Endpoint::Unix("".into()));
        if let Endpoint::Address(address) = &peer
            && let Err(kind) = opening.allowed(core, Hop::Url, Some(address.ip()))
        {
            return self.fail(core, sink, Stage::Connect, kind);
        }
        opening.route = Route::ProgramStream(Some(socket));
        opening.plan = Some(Plan::one(peer));
        self.dial(core, sink);
    }

    /// Resolves the target if the proxy needs its address, and then the proxy.
    fn start_to_proxy(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Opening(opening) = &mut self.state else { return };
        if let Err(kind) = opening.allowed(core, Hop::Proxy, None) {
            return self.fail(core, sink, Stage::Url, kind);
        }
        let url = opening.ask.url().clone();
        if opening.proxy_resolves(core) {
            self.set_targets(core, sink, [Target::of(&url)].into());
        } else {
            self.look_up(core, sink, &url);
        }
    }

    /// Sets the targets for the proxy, and resolves the proxy.
    fn set_targets(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, targets: VecDeque<Target>) {
        let State::Opening(opening) = &mut self.state else { return };
        let Route::Proxy(via) = &mut opening.route else { return };
        via.targets = targets;
        let url = via.proxy.url().clone();
        // `failed` contains addresses of the server; later errors are about the proxy's addresses.
        opening.failed.clear();
        self.look_up(core, sink, &url);
    }

    /// Resolves the host of `url`, the URL of the connection or of the proxy, unless its addresses
    /// are known.
    fn look_up(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, url: &Url) {
        let (host, port) = (url.host().clone(), url.port());
        let set: Vec<SocketAddr> =
            core.resolve.iter().filter(|o| o.is_for(&host, port)).map(|o| o.to).collect();
        match host {
            _ if !set.is_empty() => self.addresses(core, sink, Ok(set)),
            Host::Address(ip) => self.addresses(core, sink, Ok(vec![SocketAddr::new(ip, port)])),
            host => {
                let name = url.resolver_name().unwrap_or_else(|| host.peer_name().into_owned());
                let shown = if url.is_secret() { SECRET } else { &name };
                core.trace(self.id, || format!("resolving {shown}"));
                if let Err(e) = core.sys.resolve(self.id.to_bits(), &name, port) {
                    self.addresses(core, sink, Err(e));
                } else if let State::Opening(opening) = &mut self.state {
                    opening.asked = true;
                }
            }
        }
    }

    /// Takes the addresses of the host, or the resolver's error.
    pub(in crate::net) fn addresses(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        answer: io::Result<Vec<SocketAddr>>,
    ) {
        let State::Opening(opening) = &mut self.state else { return };
        // A second answer would discard the attempts in progress.
        if opening.plan.is_some() {
            return;
        }
        if std::mem::take(&mut opening.asked) {
            opening.laps.lap(core.now, |phases| &mut phases.resolve);
        }
        let mut all = match answer {
            Ok(all) if !all.is_empty() => all,
            Ok(_) => {
                let none = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return self.fail(core, sink, Stage::Resolve, ErrorKind::Resolve(none));
            }
            Err(e) => return self.fail(core, sink, Stage::Resolve, ErrorKind::Resolve(e)),
        };
        let limits = Arc::clone(opening.ask.limits(&core.limits));
        all.truncate(limits.addresses);
        let hop = if opening.stage() == Stage::Proxy { Hop::Proxy } else { Hop::Url };
        if let Err(kind) = opening.keep_allowed(core, hop, &mut all) {
            return self.fail(core, sink, Stage::Resolve, kind);
        }
        match &mut opening.route {
            Route::Proxy(via) if via.targets.is_empty() => {
                let targets = all.into_iter().map(Target::Address).collect();
                return self.set_targets(core, sink, targets);
            }
            Route::Proxy(via) => via.addresses.clone_from(&all),
            Route::Direct | Route::ProgramStream(_) => {}
        }
        opening.plan = Some(Plan::new(&all, limits.addresses, limits.attempt_delay));
        self.dial(core, sink);
    }

    /// Starts the attempts that are due.
    pub(super) fn dial(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        loop {
            let State::Opening(opening) = &mut self.state else { return };
            let Some(plan) = &mut opening.plan else { return };
            match plan.step(core.now) {
                DialStep::Start(to) => self.attempt(core, sink, to),
                DialStep::Wait(next) => {
                    opening.next = next;
                    return opening.look_at_clock(core, self.id);
                }
                DialStep::Exhausted => {
                    let failed = std::mem::take(&mut opening.failed).into_iter();
                    let failed = failed.map(|(to, e)| (shown_address(&to), e)).collect();
                    return self.fail(core, sink, Stage::Connect, ErrorKind::Connect(failed));
                }
            }
        }
    }

    /// Starts one attempt, now or when its gate lets it in.
    fn attempt(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, to: Endpoint) {
        let State::Opening(opening) = &mut self.state else { return };
        let place = opening.place(self.id, to);
        if opening.ask.is_gated()
            && let Some(ticket) = core.gates.enter(place.clone(), self.id)
        {
            return opening.parked.push((place, ticket));
        }
        self.connect(core, sink, place);
    }

    /// Starts one attempt that its gate has let in.
    fn connect(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, place: Place) {
        let State::Opening(opening) = &mut self.state else { return };
        // If the observer panics, `end_attempts` leaves this gate.
        opening.entered = Some(place.clone());
        core.trace(self.id, || match opening.route {
            Route::ProgramStream(_) => {
                format!("over a stream of the program to {}", opening.shown(&place))
            }
            _ => format!("connecting to {}", opening.shown(&place)),
        });
        opening.entered = None;
        let number = opening.count;
        opening.count = opening.count.wrapping_add(1);
        let started = opening.open_socket(core, &place.to).and_then(|(socket, is_there)| {
            let interest = Interest { read: is_there, write: !is_there };
            core.sys.watch(&socket, Token::of(self.id, number), interest, true)?;
            Ok((socket, interest))
        });
        match started {
            Ok((socket, interest)) => {
                opening.attempts.push(Attempt { number, to: place, socket, interest });
                if interest.read {
                    self.connected(core, sink, number);
                }
            }
            Err(e) => opening.attempt_failed(core, place, e),
        }
    }

    /// A gate has let in an attempt that was waiting.
    pub(in crate::net) fn unpark(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        to: Place,
        ticket: Ticket,
    ) {
        let State::Opening(opening) = &mut self.state else { return core.gates.leave(&to) };
        // An address that occurs twice in an answer waits twice.
        opening.parked.retain(|(_, parked)| *parked != ticket);
        // Its time starts now, not at the start of this turn.
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
                opening.attempt_failed(core, attempt.to, e);
                self.dial(core, sink);
            }
        }
    }
}
