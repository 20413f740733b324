//! Connections between two requests (RFC 9112 §9.3): who may go on with one, and until when it waits.
//!
//! Each stays registered under its last number, whose driver is gone. It has nothing to say then, so one
//! that becomes readable has ended, or says what nobody asked for: it is closed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::net::ask::Proxy;
use crate::net::sys::{KeepAlive, SocketOptions, Sys};
use crate::net::wire::link::Link;
use crate::proto::secret::Guarded;
use crate::proto::{Endpoint, Host, Scheme};

/// What two requests have to have in common to go over one connection. It holds secrets, and so has no
/// `Debug`.
#[derive(PartialEq, Eq)]
pub(in crate::net) struct Key {
    pub(in crate::net) scheme: Scheme,
    pub(in crate::net) host: Host,
    pub(in crate::net) port: u16,
    pub(in crate::net) proxy: Option<SameProxy>,
    pub(in crate::net) socket: SocketOptions,
    pub(in crate::net) probes: Option<KeepAlive>,
    /// Every field that says who is asking: NTLM and its like hold a connection for one user.
    pub(in crate::net) secrets: Vec<(String, Guarded)>,
}

/// A proxy, with what it is told and how.
pub(in crate::net) struct SameProxy(pub(in crate::net) Proxy);

impl PartialEq for SameProxy {
    fn eq(&self, other: &SameProxy) -> bool {
        self.0.is_same(&other.0)
    }
}

impl Eq for SameProxy {}

/// What goes with a connection that may be used again.
pub(in crate::net) struct Card {
    pub(in crate::net) key: Box<Key>,
    /// Whom the socket is connected to.
    pub(in crate::net) peer: Endpoint,
    /// The address of the URL's host that a proxy was told, if it was.
    pub(in crate::net) target: Option<IpAddr>,
    /// Requests that were answered.
    pub(in crate::net) served: u32,
}

impl Card {
    /// Addresses that the policy has to allow: that of the socket's peer, and that behind a proxy.
    pub(in crate::net) fn address(&self) -> Option<IpAddr> {
        match &self.peer {
            Endpoint::Address(address) => Some(address.ip()),
            Endpoint::Unix(_) => None,
        }
    }
}

/// A connection that waits for a request.
pub(in crate::net) struct Idle<S: Sys> {
    pub(in crate::net) card: Box<Card>,
    pub(in crate::net) link: Link<S>,
    /// What its socket is watched under, for reading alone.
    pub(in crate::net) number: u64,
    /// When it is closed.
    pub(in crate::net) until: Instant,
}

/// All that wait, those first that have waited longest.
pub(in crate::net) struct Kept<S: Sys> {
    all: Vec<Idle<S>>,
    max: usize,
    per_peer: usize,
    idle: Duration,
}

impl<S: Sys> Kept<S> {
    pub(in crate::net) fn new(limits: &Limits) -> Kept<S> {
        let (max, per_peer, idle) = (limits.kept, limits.kept_per_peer, limits.kept_idle);
        Kept { all: Vec::new(), max, per_peer, idle }
    }

    /// Whether any is ever kept.
    pub(in crate::net) fn is_on(&self) -> bool {
        self.max > 0 && self.per_peer > 0 && !self.idle.is_zero()
    }

    pub(in crate::net) fn len(&self) -> usize {
        self.all.len()
    }

    /// How long one waits of which the server says so much.
    pub(in crate::net) fn idle(&self, most: Option<Duration>) -> Duration {
        most.map_or(self.idle, |most| most.min(self.idle))
    }

    /// When the first of them is over.
    pub(in crate::net) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|idle| idle.until).min()
    }

    /// Puts one there, in place of another if they are too many.
    pub(in crate::net) fn add(&mut self, sys: &mut S, idle: Idle<S>) {
        let same = |other: &Idle<S>| other.card.key == idle.card.key;
        if self.all.iter().filter(|other| same(other)).count() >= self.per_peer
            && let Some(first) = self.all.iter().position(same)
        {
            self.end(sys, first);
        }
        if self.all.len() >= self.max {
            self.end_first(sys);
        }
        self.all.push(idle);
    }

    /// The last of the first `before` that suits: it is the likeliest to be still there.
    pub(in crate::net) fn find(&self, before: usize, key: &Key, now: Instant) -> Option<usize> {
        let suits = |idle: &Idle<S>| idle.until > now && *idle.card.key == *key;
        self.all[..before.min(self.all.len())].iter().rposition(suits)
    }

    pub(in crate::net) fn get(&self, at: usize) -> Option<&Card> {
        self.all.get(at).map(|idle| &*idle.card)
    }

    /// Whether its peer has neither ended nor said anything; else it is closed.
    pub(in crate::net) fn is_quiet(&mut self, sys: &mut S, cipher: &mut [u8], at: usize) -> bool {
        let Some(idle) = self.all.get_mut(at) else { return false };
        let quiet = idle.link.is_quiet(sys, cipher);
        if !quiet {
            self.end(sys, at);
        }
        quiet
    }

    pub(in crate::net) fn take(&mut self, at: usize) -> Option<Idle<S>> {
        (at < self.all.len()).then(|| self.all.remove(at))
    }

    /// The socket with this number is ready, if it is one of these.
    pub(in crate::net) fn ready(&mut self, sys: &mut S, cipher: &mut [u8], number: u64) {
        if let Some(at) = self.all.iter().position(|idle| idle.number == number) {
            self.is_quiet(sys, cipher, at);
        }
    }

    /// Closes those that have waited for long enough.
    pub(in crate::net) fn expire(&mut self, sys: &mut S, now: Instant) {
        while let Some(at) = self.all.iter().position(|idle| idle.until <= now) {
            self.end(sys, at);
        }
    }

    /// Closes the one that has waited longest; whether there was one.
    pub(in crate::net) fn end_first(&mut self, sys: &mut S) -> bool {
        let any = !self.all.is_empty();
        self.end(sys, 0);
        any
    }

    pub(in crate::net) fn end_all(&mut self, sys: &mut S) {
        while self.end_first(sys) {}
    }

    fn end(&mut self, sys: &mut S, at: usize) {
        if let Some(Idle { mut link, .. }) = self.take(at) {
            // The goodbye of TLS, if the kernel takes it at once.
            let _ = link.write_last(sys, &mut Vec::new());
            sys.forget(&link.socket);
        }
    }
}
