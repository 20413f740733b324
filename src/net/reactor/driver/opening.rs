//! A connection on its way to a connected socket: what it waits for, and what comes of it.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errors::NOWHERE;
use super::laps::Laps;
#[cfg(feature = "tape")]
use super::live::token_parts;
use super::live::{Entry, Follow, Live, Reading, Token, Writing};
use super::tail::Tail;
use super::upload::Upload;
use crate::error::{ErrorKind, ProxyError, Stage};
use crate::limits::Limits;
use crate::net::ask::{Ask, Proxy, ProxyScheme};
use crate::net::event::ConnId;
use crate::net::reactor::core::Core;
use crate::net::reactor::gate::{Place, Ticket};
use crate::net::reactor::kept::{Card, Key};
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

/// On its way to a connected socket.
pub(super) struct Opening<S: Sys> {
    pub(super) ask: Ask,
    pub(super) route: Route<S>,
    pub(super) laps: Laps,
    /// The resolver was asked.
    pub(super) asked: bool,
    clock: Clock,
    /// What it had when it began: all of its time, or on another hop than the first what was left.
    time: Duration,
    /// How long it may still wait for its turn.
    patience: Duration,
    /// When the head of a response has to be there, after all redirects.
    pub(super) total: Instant,
    /// `None` while a name is being resolved.
    pub(super) plan: Option<Plan>,
    /// When the next address is to be tried.
    pub(super) next: Option<Instant>,
    pub(super) attempts: Vec<Attempt<S>>,
    /// Addresses whose gate is busy, with our place in the line before it.
    pub(super) parked: Vec<(Place, Ticket)>,
    pub(super) failed: Vec<(Endpoint, io::Error)>,
    /// What a connection that it goes over, or leaves behind, has to have in common with it.
    /// (Apart, since many may be on their way at once, and few of them are requests.)
    pub(super) key: Option<Box<Key>>,
    /// It may go over one that is kept.
    pub(super) reuses: bool,
    /// A gate that has let it in, while no attempt stands for that.
    pub(super) entered: Option<Place>,
    pub(super) count: u8,
}

/// How it gets to where its URL points.
pub(super) enum Route<S: Sys> {
    Direct,
    /// Over a stream of the owner's, until that is in use.
    Own(Option<S::Socket>),
    Proxy(Via),
}

/// A proxy on the way.
pub(super) struct Via {
    pub(super) proxy: Proxy,
    /// What it is told, each in turn until it connects to one; empty while the name is resolved here.
    pub(super) targets: VecDeque<Target>,
    /// The proxy's addresses, once they are known.
    pub(super) addresses: Vec<SocketAddr>,
}

impl Via {
    /// Whether the request itself goes to the proxy.
    fn takes_request(&self, ask: &Ask) -> bool {
        self.proxy.takes_requests_for(ask.url())
    }
}

/// Whom the policy is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// What the URL names.
    Url,
    Proxy,
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
            (Some(_), _) => Route::Own(None),
            (None, None) => Route::Direct,
            (None, Some(proxy)) => {
                Route::Proxy(Via { proxy, targets: VecDeque::new(), addresses: Vec::new() })
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

    /// The stage and the error, if it has had its time.
    pub(super) fn late(&self, core: &Core<S>) -> Option<(Stage, ErrorKind)> {
        match self.clock {
            Clock::Runs { until } if until <= core.now => {
                Some((self.stage(), ErrorKind::Timeout(self.ask.opening(&core.limits))))
            }
            Clock::Waits { since, .. } if after(since, self.patience) <= core.now => {
                let limit = self.ask.limits(&core.limits).opening_wait;
                let (place, others) = self.turn(core)?;
                let address = known(&place.to);
                Some((Stage::Connect, ErrorKind::Waited { limit, others, address }))
            }
            _ => None,
        }
    }

    /// For which address it waits to have its turn, and how many are before it: where it is soonest.
    fn turn(&self, core: &Core<S>) -> Option<(&Place, usize)> {
        let each = self.parked.iter().map(|(to, ticket)| (to, core.gates.before(to, *ticket)));
        each.min_by_key(|(_, others)| *others)
    }

    /// Whether it waits for its turn may have changed.
    pub(super) fn look_at_clock(&mut self, core: &mut Core<S>, id: ConnId) {
        let waits = self.attempts.is_empty() && !self.parked.is_empty();
        self.clock = match self.clock {
            Clock::Runs { until } if waits => {
                if let Some((place, others)) = self.turn(core) {
                    let shown = self.shown(place);
                    core.say(id, || {
                        format!("waiting for its turn with {shown}: {others} before it")
                    });
                }
                // One that was never tried has all of its time. One that has asked a proxy in vain was.
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

    /// When the opening has to be done, if it goes on now.
    fn end(&self, now: Instant) -> Instant {
        match self.clock {
            Clock::Runs { until } => until,
            Clock::Waits { left, .. } => after(now, left),
        }
    }

    /// How far it is.
    pub(super) fn stage(&self) -> Stage {
        match &self.route {
            Route::Proxy(via) if !via.targets.is_empty() => Stage::Proxy,
            _ if self.plan.is_none() => Stage::Resolve,
            _ => Stage::Connect,
        }
    }

    /// An error with the proxy's name on it, if it came on the way to that.
    pub(super) fn blamed(&self, stage: Stage, kind: ErrorKind) -> (Stage, ErrorKind) {
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

    /// What is to be said to a proxy before the URL's host is spoken to: it is asked for the way, or TLS
    /// with it comes first.
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

    /// Whether the request itself goes to a proxy.
    pub(super) fn is_for_proxy(&self) -> bool {
        matches!(&self.route, Route::Proxy(via) if via.takes_request(&self.ask))
    }

    /// Whether a proxy is told the URL's host, and resolves it if it is a name.
    pub(super) fn proxy_resolves(&self, core: &Core<S>) -> bool {
        let url = self.ask.url();
        let overridden = || core.resolve.iter().any(|o| o.is_for(url.host(), url.port()));
        // A request that goes to the proxy as it is names the host, whatever is known of it here.
        self.proxy().is_some_and(|proxy| proxy.scheme() != ProxyScheme::Socks5)
            && (self.is_for_proxy() || !overridden())
    }

    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match &self.route {
            Route::Proxy(via) => Some(&via.proxy),
            Route::Direct | Route::Own(_) => None,
        }
    }

    /// Where one attempt leads.
    pub(super) fn place(&self, id: ConnId, to: Endpoint) -> Place {
        let beyond = match (&self.route, &to) {
            // An address that was resolved here counts whatever name led there (RFC 6455 §4.1).
            (Route::Proxy(via), _) => via.targets.front().map(|target| target.authority().into()),
            // A peer without a name is nobody else's.
            (Route::Own(_), Endpoint::Unix(path)) if path.is_empty() => {
                Some(id.to_bits().to_string().into())
            }
            _ => None,
        };
        Place { to, beyond }
    }

    /// What comes of it with a connected socket on which the URL's host can be spoken to.
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
        let card = self.card(&place.to);
        Ok(self.live_on(core, link.through(tls), token, place, card))
    }

    /// What comes of it where that is possible, and TLS is under way or there.
    pub(super) fn live_on(
        &mut self,
        core: &mut Core<S>,
        link: Link<S>,
        token: Token,
        place: Place,
        card: Option<Box<Card>>,
    ) -> Live<S> {
        let trace = core.observer.is_some();
        let nonce = core.keys.with(&mut core.sys).bytes();
        let (is_gated, end) = (self.ask.is_gated(), self.end(core.now));
        let (proxy, is_for_proxy) = (self.proxy().cloned(), self.is_for_proxy());
        if let Ask::Stream(options) = &mut self.ask {
            let proxy = proxy.as_ref().filter(|_| is_for_proxy);
            options.request.for_proxy = proxy.map(|proxy| for_proxy(proxy, &options.request));
            options.request.keep_alive = card.is_some();
        }
        let ask = &self.ask;
        // A WebSocket has one limit for all of it, from its turn.
        let total = if is_gated { end } else { self.total };
        let session = ask.session(&core.limits, trace, nonce, total);
        #[cfg(feature = "tape")]
        let session = {
            let id = token_parts(token.number).0;
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
        let upload = ask.source().cloned().map(|source| Box::new(Upload::new(source)));
        Live {
            link,
            session,
            limits: Arc::clone(ask.limits(&core.limits)),
            token,
            entry: Some(Box::new(entry)),
            stream,
            proxy,
            upload,
            card,
            reading: Reading::Ready { tail: Tail::default(), most: usize::MAX },
            writing: Writing::Ready,
        }
    }

    /// Whether it may go to its URL, or through its proxy, or to an address of that.
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

    /// Leaves the addresses that it may go to; an error if that is none.
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

    /// Whom an attempt leads to, unless the URL is secret and leads there itself.
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

    pub(super) fn missed(&mut self, core: &mut Core<S>, to: Place, e: io::Error) {
        self.leave_gate(core, &to);
        self.failed.push((to.to, e));
        if let Some(plan) = &mut self.plan {
            plan.failed();
        }
    }

    /// Ends all attempts that are under way.
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

/// What a proxy that takes a request itself is sent besides. A field that the request has stands once,
/// as the request has it: of two, each reader takes another.
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

/// An address as errors have it; that of what has none has port 0.
pub(super) fn known(to: &Endpoint) -> SocketAddr {
    match to {
        Endpoint::Address(address) => *address,
        _ => NOWHERE,
    }
}
