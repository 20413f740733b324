//! Connections between two requests (RFC 9112 §9.3): which requests may use one, and until when it
//! is kept.
//!
//! Each stays registered under its last number, whose driver is gone. A server must not send then,
//! so a connection that becomes readable has ended, or has received bytes that were not asked for:
//! it is closed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::net::ask::Proxy;
use crate::net::sys::{KeepAlive, SocketOptions, Sys};
use crate::net::wire::link::Link;
use crate::proto::secret::Guarded;
use crate::proto::{Endpoint, Host, Scheme};

/// The properties that two requests have to share to use one connection. It holds secrets, and so
/// has no `Debug`.
#[derive(PartialEq, Eq)]
pub(in crate::net) struct ReuseKey {
    pub(in crate::net) scheme: Scheme,
    pub(in crate::net) host: Host,
    pub(in crate::net) port: u16,
    pub(in crate::net) proxy: Option<SameProxy>,
    pub(in crate::net) socket: SocketOptions,
    pub(in crate::net) probes: Option<KeepAlive>,
    /// Every field that identifies the client: NTLM and similar schemes bind a connection to one
    /// user.
    pub(in crate::net) secrets: Vec<(String, Guarded)>,
}

/// A proxy, compared with its credentials and fields.
pub(in crate::net) struct SameProxy(pub(in crate::net) Proxy);

impl PartialEq for SameProxy {
    fn eq(&self, other: &SameProxy) -> bool {
        self.0.is_same(&other.0)
    }
}

impl Eq for SameProxy {}

/// The data kept with a connection that may be used again.
pub(in crate::net) struct KeptInfo {
    pub(in crate::net) key: Box<ReuseKey>,
    /// The address that the socket is connected to.
    pub(in crate::net) peer: Endpoint,
    /// The address of the URL's host that was sent to a proxy, if any.
    pub(in crate::net) target: Option<IpAddr>,
    /// How many requests were answered.
    pub(in crate::net) served: u32,
}

impl KeptInfo {
    /// Addresses that the policy has to allow: that of the socket's peer, and that behind a proxy.
    pub(in crate::net) fn address(&self) -> Option<IpAddr> {
        match &self.peer {
            Endpoint::Address(address) => Some(address.ip()),
            Endpoint::Unix(_) => None,
        }
    }
}

/// A connection kept for a request.
pub(in crate::net) struct Idle<S: Sys> {
    pub(in crate::net) kept_info: Box<KeptInfo>,
    pub(in crate::net) link: Link<S>,
    /// The number its socket is registered with, for reading only.
    pub(in crate::net) number: u64,
    /// When it is closed.
    pub(in crate::net) until: Instant,
}

/// All kept connections, the oldest first.
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

    /// Whether connections are kept at all.
    pub(in crate::net) fn is_on(&self) -> bool {
        self.max > 0 && self.per_peer > 0 && !self.idle.is_zero()
    }

    pub(in crate::net) fn len(&self) -> usize {
        self.all.len()
    }

    /// How long a connection is kept if the server allows `most`.
    pub(in crate::net) fn idle(&self, most: Option<Duration>) -> Duration {
        most.map_or(self.idle, |most| most.min(self.idle))
    }

    /// When the first of them has to be closed.
    pub(in crate::net) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|idle| idle.until).min()
    }

    /// Adds one, in place of another if there are too many.
    pub(in crate::net) fn add(&mut self, sys: &mut S, idle: Idle<S>) {
        let same = |other: &Idle<S>| other.kept_info.key == idle.kept_info.key;
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

    /// The last of the first `before` that matches: it is the likeliest to be still open.
    pub(in crate::net) fn find(
        &self,
        before: usize,
        key: &ReuseKey,
        now: Instant,
    ) -> Option<usize> {
        let suits = |idle: &Idle<S>| idle.until > now && *idle.kept_info.key == *key;
        self.all[..before.min(self.all.len())].iter().rposition(suits)
    }

    pub(in crate::net) fn get(&self, at: usize) -> Option<&KeptInfo> {
        self.all.get(at).map(|idle| &*idle.kept_info)
    }

    /// Whether its peer has neither ended nor sent anything; otherwise the connection is closed.
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

    /// Closes those whose time is over.
    pub(in crate::net) fn expire(&mut self, sys: &mut S, now: Instant) {
        while let Some(at) = self.all.iter().position(|idle| idle.until <= now) {
            self.end(sys, at);
        }
    }

    /// Closes the oldest; returns whether there was one.
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
            // `close_notify` of TLS, if the kernel takes it at once.
            let _ = link.write_last(sys, &mut Vec::new());
            sys.forget(&link.socket);
        }
    }
}
