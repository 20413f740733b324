//! What the connections of a reactor share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::flow::Sum;
use super::gate::Gates;
use super::kept::Kept;
use super::keys::Keys;
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::net::ask::{Override, Proxy, ProxyRules, ProxyScheme};
use crate::net::event::ConnId;
use crate::net::sys::Sys;
#[cfg(feature = "tls")]
use crate::net::wire::tls;
use crate::net::wire::tls::Tls;
use crate::policy::Policy;
use crate::proto::{Context, Random, Url};
#[cfg(feature = "tape")]
use crate::tape::Tape;
use crate::trace::{Observer, Trace};

/// What the drivers of a reactor share.
pub(in crate::net) struct Core<S: Sys> {
    pub(in crate::net) sys: S,
    pub(in crate::net) keys: Keys,
    pub(in crate::net) limits: Arc<Limits>,
    pub(in crate::net) resolve: Vec<Override>,
    pub(in crate::net) policy: Policy,
    #[cfg(feature = "tls")]
    pub(in crate::net) tls: Option<Arc<rustls::ClientConfig>>,
    /// TLS with proxies that have none of their own. It is not the one above: that may hold who we are
    /// to servers, and its sessions are theirs.
    #[cfg(feature = "tls")]
    pub(in crate::net) proxy_tls: Option<Arc<rustls::ClientConfig>>,
    pub(in crate::net) proxy: ProxyRules,
    pub(in crate::net) observer: Option<Box<dyn Observer>>,
    #[cfg(feature = "tape")]
    pub(in crate::net) tape: Option<Tape>,
    /// Receive buffer; taken out while it is used.
    pub(in crate::net) buf: Vec<u8>,
    /// The same before decryption; empty until TLS is used.
    pub(in crate::net) cipher: Vec<u8>,
    pub(in crate::net) gates: Gates,
    /// Connections that wait for another request.
    pub(in crate::net) kept: Kept<S>,
    /// Connections that have an owner, or are being drained.
    pub(in crate::net) open: usize,
    /// Connections that are to be opened, or opened elsewhere.
    pub(in crate::net) fresh: VecDeque<ConnId>,
    /// Connections that something happened to since they were settled.
    pub(in crate::net) dirty: Vec<ConnId>,
    /// Connections with input that a turn had no room for.
    pub(in crate::net) backlog: VecDeque<ConnId>,
    /// The connection for which the embedder's code may be running. There between two turns only if
    /// that has panicked.
    pub(in crate::net) at: Option<ConnId>,
    /// Those for which it has panicked and that have not been ended since.
    pub(in crate::net) fallen: Vec<ConnId>,
    /// What is read of an open connection waits for [`super::Reactor::pull`], or for the next turn.
    pub(in crate::net) lazy: bool,
    pub(in crate::net) now: Instant,
    /// Bytes handed over in this turn.
    pub(in crate::net) handed: usize,
    /// What all connections hold.
    pub(in crate::net) held: Sum,
    /// Bytes that were accepted for connections that were then given up, and that did not leave.
    pub(in crate::net) lost: u64,
    /// Sends since the last look at the clock, and when bytes began to wait.
    pub(in crate::net) sends: u32,
    pub(in crate::net) corked: Option<Instant>,
}

impl<S: Sys> Random for Core<S> {
    fn key(&mut self) -> [u8; 4] {
        self.keys.with(&mut self.sys).bytes()
    }
}

impl<S: Sys> Core<S> {
    /// Receive buffer that a connection had taken along.
    pub(in crate::net) fn take_back(&mut self, buf: Vec<u8>) {
        if self.buf.is_empty() && buf.len() >= self.limits.receive_buffer {
            self.buf = buf;
        }
    }

    /// Before a connection is made: those that only wait give way to it.
    pub(in crate::net) fn make_room(&mut self) {
        while self.open.saturating_add(self.kept.len()) > self.limits.connections
            && self.kept.end_first(&mut self.sys)
        {}
    }

    /// What a session needs from outside.
    pub(in crate::net) fn context(&mut self) -> Context<'_> {
        Context { now: self.now, random: self }
    }

    /// The embedder's code may be called for this connection from now on, until `at` is none.
    pub(in crate::net) fn begin(&mut self, id: ConnId) {
        let fallen = self.at.replace(id);
        self.fallen.extend(fallen);
    }

    pub(in crate::net) fn has_room(&self) -> bool {
        self.handed < self.limits.turn
    }

    /// Tells the observer, if there is one.
    pub(in crate::net) fn say(&mut self, id: ConnId, text: impl FnOnce() -> String) {
        if let Some(observer) = &mut self.observer {
            observer.observe(self.now, id.to_bits(), Trace::State(&text()));
        }
    }

    #[cfg(feature = "tls")]
    pub(in crate::net) fn tls(&mut self, url: &Url) -> Result<Option<Box<Tls>>, ErrorKind> {
        if !url.scheme().is_secure() {
            return Ok(None);
        }
        let config = match &self.tls {
            Some(config) => config,
            None => self.tls.insert(tls::default_config()?),
        };
        let tls = Tls::client(config, url.host())?;
        Ok(Some(self.with_room(tls)))
    }

    /// TLS with a proxy, if it is spoken to over TLS.
    #[cfg(feature = "tls")]
    pub(in crate::net) fn tls_to(&mut self, proxy: &Proxy) -> Result<Option<Box<Tls>>, ErrorKind> {
        if proxy.scheme() != ProxyScheme::Https {
            return Ok(None);
        }
        let config = match (proxy.tls_config(), &self.proxy_tls) {
            (Some(own), _) => own,
            (None, Some(config)) => config,
            (None, None) => self.proxy_tls.insert(tls::default_config()?),
        };
        let tls = Tls::client(config, proxy.host())?;
        Ok(Some(self.with_room(tls)))
    }

    /// The first TLS is what the buffer for ciphertext is made for.
    #[cfg(feature = "tls")]
    fn with_room(&mut self, tls: Tls) -> Box<Tls> {
        if self.cipher.is_empty() {
            self.cipher.resize(self.limits.receive_buffer, 0);
        }
        Box::new(tls)
    }

    #[cfg(not(feature = "tls"))]
    pub(in crate::net) fn tls_to(&mut self, proxy: &Proxy) -> Result<Option<Box<Tls>>, ErrorKind> {
        if proxy.scheme() == ProxyScheme::Https { Err(ErrorKind::NoTls) } else { Ok(None) }
    }

    #[cfg(not(feature = "tls"))]
    pub(in crate::net) fn tls(&mut self, url: &Url) -> Result<Option<Box<Tls>>, ErrorKind> {
        if url.scheme().is_secure() { Err(ErrorKind::NoTls) } else { Ok(None) }
    }
}
