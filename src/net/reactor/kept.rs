//! Connections between two requests (RFC 9112 §9.3): which requests may use one, and for how long
//! it is kept.
//!
//! Its socket stays registered under the token of its last driver, which is gone. A server must not
//! send between two requests. So if the socket becomes readable, the connection has ended or has
//! received bytes that nobody asked for: it is closed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::net::ask::Proxy;
use crate::net::sys::{KeepAlive, SocketOptions, Sys};
use crate::net::wire::link::Link;
use crate::proto::secret::Guarded;
use crate::proto::{Endpoint, Host, Scheme};

/// The properties that two requests have to share to use one connection. It contains secrets, and
/// so has no `Debug`.
#[derive(PartialEq, Eq)]
pub(in crate::net) struct ReuseKey {
    pub(in crate::net) scheme: Scheme,
    pub(in crate::net) host: Host,
    pub(in crate::net) port: u16,
    pub(in crate::net) proxy: Option<SameProxy>,
    pub(in crate::net) socket: SocketOptions,
    pub(in crate::net) probes: Option<KeepAlive>,
    /// Every field that identifies the client: NTLM and similar schemes authenticate the whole
    /// connection as one user.
    pub(in crate::net) secrets: Vec<(String, Guarded)>,
}

/// A proxy, compared together with its credentials and fields.
pub(in crate::net) struct SameProxy(pub(in crate::net) Proxy);

impl PartialEq for SameProxy {
    fn eq(&self, other: &SameProxy) -> bool {
        self.0.is_same(&other.0)
    }
}

impl Eq for SameProxy {}

/// The data that is kept with a connection.
pub(in crate::net) struct KeptInfo {
    pub(in crate::net) key: Box<ReuseKey>,
    /// The address to which the socket is connected.
    pub(in crate::net) peer: Endpoint,
    /// The address of the URL's host that was sent to a proxy, if any.
    pub(in crate::net) target: Option<IpAddr>,
    /// How many requests the connection has carried.
    pub(in crate::net) served: u32,
}

impl KeptInfo {
    /// The address of the socket's peer, which the policy has to allow; `None` for a Unix socket.
    pub(in crate::net) fn address(&self) -> Option<IpAddr> {
        match &self.peer {
            Endpoint::Address(address) => Some(address.ip()),
            Endpoint::Unix(_) => None,
        }
    }
}

/// A connection that is kept for another request.
pub(in crate::net) struct Idle<S: Sys> {
    pub(in crate::net) kept_info: Box<KeptInfo>,
    pub(in crate::net) link: Link<S>,
    /// The token under which the socket is registered, for reading only.
    pub(in crate::net) number: u64,
    /// When the connection is closed.
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

    /// Whether the limits allow to keep connections.
    pub(in crate::net) fn is_on(&self) -> bool {
        self.max > 0 && self.per_peer > 0 && !self.idle.is_zero()
    }

    pub(in crate::net) fn len(&self) -> usize {
        self.all.len()
    }

    /// How long a connection is kept if the server allows at most `most`.
    pub(in crate::net) fn idle(&self, most: Option<Duration>) -> Duration {
        most.map_or(self.idle, |most| most.min(self.idle))
    }

    /// When the first kept connection has to be closed.
    pub(in crate::net) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|idle| idle.until).min()
    }

    /// Adds a connection; closes another one if there are too many.
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

    /// The index of the last match among the first `before`: it is the likeliest to be still open.
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

    /// Whether the peer has neither ended nor sent anything; if it has, closes the connection.
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

    /// Closes the connection whose socket has this token, if it is not quiet.
    pub(in crate::net) fn ready(&mut self, sys: &mut S, cipher: &mut [u8], number: u64) {
        if let Some(at) = self.all.iter().position(|idle| idle.number == number) {
            self.is_quiet(sys, cipher, at);
        }
    }

    /// Closes the connections whose time has passed.
    pub(in crate::net) fn expire(&mut self, sys: &mut S, now: Instant) {
        while let Some(at) = self.all.iter().position(|idle| idle.until <= now) {
            self.end(sys, at);
        }
    }

    /// Closes the oldest connection; returns whether there was one.
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
            // Sends `close_notify` of TLS, if the kernel takes it at once.
            let _ = link.write_last(sys, &mut Vec::new());
            sys.forget(&link.socket);
        }
    }
}
