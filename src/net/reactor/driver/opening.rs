//! A connection until its socket is connected: its route, its deadlines, and its attempts.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errors::NOWHERE;
use super::laps::Laps;
#[cfg(feature = "tape")]
use super::live::token_parts;
use super::live::{Entry, Extra, Follow, Live, Reading, Token, Writing};
use super::upload::Upload;
use crate::error::{ErrorKind, ProxyError, Stage};
use crate::limits::Limits;
use crate::net::ask::{Ask, Proxy, ProxyScheme};
use crate::net::event::ConnId;
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::{Place, Ticket};
use crate::net::reactor::kept::{KeptInfo, ReuseKey};
#[cfg(feature = "tape")]
use crate::net::session::Session;
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::net::wire::dial::Plan;
use crate::net::wire::link::Link;
use crate::net::wire::proxy::{Target, Tunnel, secrets, write_authorization};
use crate::policy::Destination;
use crate::proto::Endpoint;
use crate::proto::http::{ForProxy, Request};
use crate::proto::secret::SECRET;
#[cfg(feature = "tape")]
use crate::tape::Tape;

/// A connection whose socket is not connected yet.
pub(super) struct Opening<S: Sys> {
    pub(super) ask: Ask,
    pub(super) route: Route<S>,
    pub(super) laps: Laps,
    /// Whether the resolver was asked and has not answered.
    pub(super) asked: bool,
    clock: Clock,
    /// The time limit of opening; after a redirect, the rest of it.
    time: Duration,
    /// How long it may still wait at gates.
    patience: Duration,
    /// The deadline of a response's head, with all redirects.
    pub(super) total: Instant,
    /// `None` while a name is being resolved.
    pub(super) plan: Option<Plan>,
    /// When the attempt with the next address is due.
    pub(super) next: Option<Instant>,
    pub(super) attempts: Vec<Attempt<S>>,
    /// Addresses at whose gate an attempt waits, with its ticket.
    pub(super) parked: Vec<(Place, Ticket)>,
    pub(super) failed: Vec<(Endpoint, io::Error)>,
    /// The properties that a kept connection must share with this one. (Boxed: many connections may
    /// be opening at once, and few of them have a key.)
    pub(super) key: Option<Box<ReuseKey>>,
    /// Whether it may use a kept connection.
    pub(super) reuses: bool,
    /// The gate that was entered for an attempt that does not exist yet.
    pub(super) entered: Option<Place>,
    pub(super) count: u8,
}

/// The route to the server.
pub(super) enum Route<S: Sys> {
    Direct,
    /// Over a stream of the program; `Some` from its adoption until it is in use.
    ProgramStream(Option<S::Socket>),
    Proxy(ProxyRoute),
}

/// The proxy of a connection.
pub(super) struct ProxyRoute {
    pub(super) proxy: Proxy,
    /// The targets for the proxy, tried in turn; empty while the client resolves the name.
    pub(super) targets: VecDeque<Target>,
    /// The proxy's addresses, once they are known.
    pub(super) addresses: Vec<SocketAddr>,
}

impl ProxyRoute {
    /// Whether the proxy handles the request itself.
    fn takes_request(&self, ask: &Ask) -> bool {
        self.proxy.takes_requests_for(ask.url())
    }
}

/// Which host the policy decides about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// The host of the URL.
    Url,
    Proxy,
}

/// The time for connecting; for a WebSocket, up to the 101 response. A wait at a gate does not
/// count as connecting: it has its own limit, and the time starts when the gate lets the attempt
/// in.
enum Clock {
    Runs {
        until: Instant,
    },
    /// Waiting at a gate since `since`; after that, `left` is the time for connecting.
    Waits {
        since: Instant,
        left: Duration,
    },
}

pub(super) struct Attempt<S: Sys> {
    pub(super) number: u8,
    pub(super) to: Place,
    pub(super) socket: S::Socket,
    pub(super) interest: Interest,
}

impl<S: Sys> Opening<S> {
    /// `count` is the number of the first attempt.
    pub(super) fn new(ask: Ask, core: &Core<S>, total: Instant, count: u8) -> Opening<S> {
        let until = after(core.now, ask.opening(&core.limits)).min(total);
        let patience = ask.limits(&core.limits).opening_wait;
        let route = match (&ask.way().over, ask.proxy(&core.proxy)) {
            (Some(_), _) => Route::ProgramStream(None),
            (None, None) => Route::Direct,
            (None, Some(proxy)) => {
                Route::Proxy(ProxyRoute { proxy, targets: VecDeque::new(), addresses: Vec::new() })
            }
        };
        Opening {
            ask,
            route,
            laps: Laps::new(core.now),
            asked: false,
            clock: Clock::Runs { until },
            time: until.saturating_duration_since(core.now),
            patience,
            total,
            plan: None,
            next: None,
            attempts: Vec::new(),
            parked: Vec::new(),
            failed: Vec::new(),
            key: None,
            reuses: true,
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

    /// The stage and the error, if the time is over.
    pub(super) fn timed_out(&self, core: &Core<S>) -> Option<(Stage, ErrorKind)> {
        match self.clock {
            Clock::Runs { until } if until <= core.now => {
                Some((self.stage(), ErrorKind::Timeout(self.ask.opening(&core.limits))))
            }
            Clock::Waits { since, .. } if after(since, self.patience) <= core.now => {
                let limit = self.ask.limits(&core.limits).opening_wait;
                let (place, others) = self.turn(core)?;
                let address = shown_address(&place.to);
                Some((Stage::Connect, ErrorKind::Waited { limit, others, address }))
            }
            _ => None,
        }
    }

    /// The address at whose gate fewest connections are before this one, and how many.
    fn turn(&self, core: &Core<S>) -> Option<(&Place, usize)> {
        let each = self.parked.iter().map(|(to, ticket)| (to, core.gates.before(to, *ticket)));
        each.min_by_key(|(_, others)| *others)
    }

    /// Starts or stops the clock, if a wait at gates has ended or begun.
    pub(super) fn look_at_clock(&mut self, core: &mut Core<S>, id: ConnId) {
        let waits = self.attempts.is_empty() && !self.parked.is_empty();
        self.clock = match self.clock {
            Clock::Runs { until } if waits => {
                if let Some((place, others)) = self.turn(core) {
                    let shown = self.shown(place);
                    core.trace(id, || {
                        format!("waiting for its turn with {shown}: {others} before it")
                    });
                }
                // A connection that has not made an attempt has all of its time. If it has asked a
                // proxy, it has made one.
                let untried = self.failed.is_empty() && self.laps.phases.connect.is_none();
                let left = match untried {
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

    /// The deadline of opening, if no wait follows.
    fn end(&self, now: Instant) -> Instant {
        match self.clock {
            Clock::Runs { until } => until,
            Clock::Waits { left, .. } => after(now, left),
        }
    }

    /// The current stage.
    pub(super) fn stage(&self) -> Stage {
        match &self.route {
            Route::Proxy(via) if !via.targets.is_empty() => Stage::Proxy,
            _ if self.plan.is_none() => Stage::Resolve,
            _ => Stage::Connect,
        }
    }

    /// The error with the proxy's name, if it came on the way to the proxy.
    pub(super) fn as_proxy_error(&self, stage: Stage, kind: ErrorKind) -> (Stage, ErrorKind) {
        let on_the_way = matches!(stage, Stage::Resolve | Stage::Connect | Stage::Tls);
        match &self.route {
            Route::Proxy(_) if !on_the_way || self.stage() != Stage::Proxy => (stage, kind),
            Route::Proxy(_) if matches!(kind, ErrorKind::Denied(_)) => (Stage::Proxy, kind),
            Route::Proxy(via) if !matches!(kind, ErrorKind::Waited { .. }) => {
                let why = ProxyError::Unreached(Box::new(kind));
                (Stage::Proxy, ErrorKind::Proxy { proxy: via.proxy.to_string(), why })
            }
            _ => (stage, kind),
        }
    }

    /// What has to be agreed with a proxy before the server is reached: a tunnel, or only TLS with
    /// the proxy. `None` if nothing.
    pub(super) fn tunnel(&self, limits: &Arc<Limits>) -> Option<Tunnel> {
        let Route::Proxy(via) = &self.route else { return None };
        let (proxy, url) = (via.proxy.clone(), self.ask.url().clone());
        let limits = Arc::clone(self.ask.limits(limits));
        if !via.takes_request(&self.ask) {
            let target = via.targets.front()?.clone();
            return Some(Tunnel::new(proxy, target, url, limits));
        }
        (proxy.scheme() == ProxyScheme::Https).then(|| Tunnel::without(proxy, url, limits))
    }

    /// Whether a proxy handles the request itself.
    pub(super) fn is_for_proxy(&self) -> bool {
        matches!(&self.route, Route::Proxy(via) if via.takes_request(&self.ask))
    }

    /// Whether the proxy is sent the URL's host, and resolves it if it is a name.
    pub(super) fn proxy_resolves(&self, core: &Core<S>) -> bool {
        let url = self.ask.url();
        let overridden = || core.resolve.iter().any(|o| o.is_for(url.host(), url.port()));
        // A request that the proxy handles itself names the host, even if the client knows its
        // address.
        self.proxy().is_some_and(|proxy| proxy.scheme() != ProxyScheme::Socks5)
            && (self.is_for_proxy() || !overridden())
    }

    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match &self.route {
            Route::Proxy(via) => Some(&via.proxy),
            Route::Direct | Route::ProgramStream(_) => None,
        }
    }

    /// The gate of one attempt.
    pub(super) fn place(&self, id: ConnId, to: Endpoint) -> Place {
        let beyond = match (&self.route, &to) {
            // For an address that the client has resolved, all names that lead to it share one gate
            // (RFC 6455 §4.1).
            (Route::Proxy(via), _) => via.targets.front().map(|target| target.authority().into()),
            // A peer without a name has a gate of its own.
            (Route::ProgramStream(_), Endpoint::Unix(path)) if path.is_empty() => {
                Some(id.to_bits().to_string().into())
            }
            _ => None,
        };
        Place { to, beyond }
    }

    /// The [`Live`] for a connected socket that leads to the URL's host.
    pub(super) fn live(
        &mut self,
        core: &mut Core<S>,
        link: Link<S>,
        token: Token,
        place: Place,
    ) -> Result<Live<S>, ErrorKind> {
        let tls = match core.tls(self.ask.url()) {
            Ok(tls) => tls,
            Err(kind) => {
                self.leave_gate(core, &place);
                core.sys.forget(&link.socket);
                return Err(kind);
            }
        };
        let kept_info = self.kept_info(&place.to);
        Ok(self.live_on(core, link.through(tls), token, place, kept_info))
    }

    /// As [`Opening::live`], for a link whose TLS exists already or is not needed.
    pub(super) fn live_on(
        &mut self,
        core: &mut Core<S>,
        link: Link<S>,
        token: Token,
        place: Place,
        kept_info: Option<Box<KeptInfo>>,
    ) -> Live<S> {
        let trace = core.observer.is_some();
        let nonce = core.keys.with(&mut core.sys).bytes();
        let (is_gated, end) = (self.ask.is_gated(), self.end(core.now));
        let (proxy, is_for_proxy) = (self.proxy().cloned(), self.is_for_proxy());
        if let Ask::Stream(options) = &mut self.ask {
            let proxy = proxy.as_ref().filter(|_| is_for_proxy);
            options.request.for_proxy = proxy.map(|proxy| for_proxy(proxy, &options.request));
            options.request.keep_alive = kept_info.is_some();
        }
        let ask = &self.ask;
        // A WebSocket has one limit for all of opening, from the moment its gate lets it in.
        let total = if is_gated { end } else { self.total };
        let session = ask.session(&core.limits, trace, nonce, total);
        #[cfg(feature = "tape")]
        let session = {
            let id = token_parts(token.number()).0;
            let record = |tape: &Tape| ask.record(tape, id, core.now, &core.limits, nonce, total);
            Session::new(session, core.tape.as_ref().map(record))
        };
        let entry = Entry {
            peer: place.to.clone(),
            gate: is_gated.then_some(place),
            limit: ask.opening(&core.limits),
            response: ask.response(&core.limits),
            until: (!is_gated).then_some(end),
            laps: self.laps,
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
        let limits = ask.own_limits().cloned();
        // `kept_info` is only of a stream, and so is `upload`.
        let extra = (stream.is_some() || proxy.is_some() || limits.is_some()).then(|| {
            let upload = ask.source().cloned().map(Upload::new);
            Box::new(Extra { limits, proxy, stream, upload, kept_info, writing: Writing::Ready })
        });
        Live {
            link,
            session,
            token,
            entry: Some(Box::new(entry)),
            extra,
            reading: Reading::Ready { tail: None, short: false },
        }
    }

    /// Whether the policy allows the URL, the proxy, or an address of one of them.
    pub(super) fn allowed(
        &self,
        core: &Core<S>,
        hop: Hop,
        address: Option<IpAddr>,
    ) -> Result<(), ErrorKind> {
        let url = self.ask.url();
        let mut to = match (hop, self.proxy()) {
            (Hop::Proxy, Some(proxy)) => Destination::of_proxy(proxy.url(), url),
            _ => Destination::of(url),
        };
        to.address = address.or(to.address);
        to.proxy_resolves = hop == Hop::Url && to.address.is_none() && self.proxy_resolves(core);
        core.policy.check(&to).and_then(|()| self.ask.policy().check(&to)).map_err(|why| {
            ErrorKind::Denied(match hop {
                Hop::Proxy => format!("the proxy: {why}"),
                Hop::Url if url.is_secret() => "its URL is secret".to_owned(),
                Hop::Url => why,
            })
        })
    }

    /// Removes the addresses that the policy denies; an error if none is left.
    pub(super) fn keep_allowed(
        &mut self,
        core: &Core<S>,
        hop: Hop,
        all: &mut Vec<SocketAddr>,
    ) -> Result<(), ErrorKind> {
        let mut denied = Vec::new();
        all.retain(|to| match self.allowed(core, hop, Some(to.ip())) {
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
        let denied = denied.into_iter().map(|(to, kind)| (Endpoint::Address(to), refused(kind)));
        self.failed.extend(denied);
        Ok(())
    }

    /// The target of an attempt as text; `***` if the URL is secret and the attempt leads there.
    pub(super) fn shown(&self, place: &Place) -> String {
        match &self.route {
            Route::Proxy(via) => format!("{}, the proxy {}", place.to, via.proxy),
            _ if self.ask.url().is_secret() => SECRET.to_owned(),
            _ => place.to.to_string(),
        }
    }

    pub(super) fn leave_gate(&self, core: &mut Core<S>, to: &Place) {
        if self.ask.is_gated() {
            core.gates.leave(to);
        }
    }

    pub(super) fn attempt_failed(&mut self, core: &mut Core<S>, to: Place, e: io::Error) {
        self.leave_gate(core, &to);
        self.failed.push((to.to, e));
        if let Some(plan) = &mut self.plan {
            plan.failed();
        }
    }

    /// Ends all attempts, and the waits at gates.
    pub(super) fn end_attempts(&mut self, core: &mut Core<S>) {
        if let Some(to) = self.entered.take() {
            self.leave_gate(core, &to);
        }
        for (to, ticket) in std::mem::take(&mut self.parked) {
            core.gates.give_up(&to, ticket);
        }
        for attempt in std::mem::take(&mut self.attempts) {
            core.sys.forget(&attempt.socket);
            self.leave_gate(core, &attempt.to);
        }
    }
}

/// The fields for a proxy that handles a request itself. If the request has a field of the same
/// name, only that one is sent, since servers differ in which of two they use.
fn for_proxy(proxy: &Proxy, request: &Request) -> Arc<ForProxy> {
    let headers = proxy.headers().without(|name| request.has_field(name));
    let fields = [false, true].map(|shown| {
        let mut fields = Vec::new();
        write_authorization(proxy, &mut fields, shown);
        headers.write_fields(&mut fields, shown);
        fields
    });
    Arc::new(ForProxy { fields, headers, secrets: secrets(proxy) })
}

/// The address for errors; port 0 stands for an endpoint without an address.
pub(super) fn shown_address(to: &Endpoint) -> SocketAddr {
    match to {
        Endpoint::Address(address) => *address,
        _ => NOWHERE,
    }
}
