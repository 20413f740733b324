//! State that the connections of a reactor share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::flow::HeldBytes;
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

/// State that the drivers of a reactor share.
pub(in crate::net) struct Core<S: Sys> {
    pub(in crate::net) sys: S,
    pub(in crate::net) keys: Keys,
    pub(in crate::net) limits: Arc<Limits>,
    pub(in crate::net) resolve: Vec<Override>,
    pub(in crate::net) policy: Policy,
    #[cfg(feature = "tls")]
    pub(in crate::net) tls: Option<Arc<rustls::ClientConfig>>,
    /// TLS with proxies without a configuration of their own. Not the one above: that may hold a
    /// client certificate for servers, and its sessions are those of servers.
    #[cfg(feature = "tls")]
    pub(in crate::net) proxy_tls: Option<Arc<rustls::ClientConfig>>,
    pub(in crate::net) proxy: ProxyRules,
    pub(in crate::net) observer: Option<Box<dyn Observer>>,
    #[cfg(feature = "tape")]
    pub(in crate::net) tape: Option<Tape>,
    /// The receive buffer; taken out while in use.
    pub(in crate::net) buf: Vec<u8>,
    /// The receive buffer before decryption; empty until TLS is used.
    pub(in crate::net) cipher: Vec<u8>,
    pub(in crate::net) gates: Gates,
    /// Connections that are kept for another request.
    pub(in crate::net) kept: Kept<S>,
    /// How many connections are reported to the program, or being drained.
    pub(in crate::net) open: usize,
    /// Connections to be opened, or to be opened again elsewhere.
    pub(in crate::net) fresh: VecDeque<ConnId>,
    /// Connections that changed since they were settled.
    pub(in crate::net) dirty: Vec<ConnId>,
    /// Connections with input that a turn had no room for.
    pub(in crate::net) backlog: VecDeque<ConnId>,
    /// The connection for which the program's code may be running. Set between two turns only if
    /// that code has panicked.
    pub(in crate::net) running: Option<ConnId>,
    /// Connections for which that code has panicked and that were not ended since.
    pub(in crate::net) panicked: Vec<ConnId>,
    /// Input of an open connection is kept for [`super::Reactor::pull`], or for the next turn.
    pub(in crate::net) lazy: bool,
    pub(in crate::net) now: Instant,
    /// Bytes reported in this turn.
    pub(in crate::net) handed: usize,
    /// Bytes that all connections hold.
    pub(in crate::net) held: HeldBytes,
    /// Accepted bytes of released connections that were not sent.
    pub(in crate::net) lost: u64,
    /// Sends since the clock was last read, and when bytes began to wait.
    pub(in crate::net) sends: u32,
    pub(in crate::net) corked: Option<Instant>,
}

impl<S: Sys> Random for Core<S> {
    fn key(&mut self) -> [u8; 4] {
        self.keys.with(&mut self.sys).bytes()
    }
}

impl<S: Sys> Core<S> {
    /// Gives back the receive buffer that a connection had taken.
    pub(in crate::net) fn take_back(&mut self, buf: Vec<u8>) {
        if self.buf.is_empty() && buf.len() >= self.limits.receive_buffer {
            self.buf = buf;
        }
    }

    /// Before a connection is made: kept connections are closed to make room for it.
    pub(in crate::net) fn make_room(&mut self) {
        while self.open.saturating_add(self.kept.len()) > self.limits.connections
            && self.kept.end_first(&mut self.sys)
        {}
    }

    /// The time and the random source for a session.
    pub(in crate::net) fn context(&mut self) -> Context<'_> {
        Context { now: self.now, random: self }
    }

    /// From now on the program's code may be called for this connection, until `at` is none.
    pub(in crate::net) fn begin(&mut self, id: ConnId) {
        let panicked = self.running.replace(id);
        self.panicked.extend(panicked);
    }

    pub(in crate::net) fn has_room(&self) -> bool {
        self.handed < self.limits.turn
    }

    /// Passes a change of state to the observer, if there is one.
    pub(in crate::net) fn trace(&mut self, id: ConnId, text: impl FnOnce() -> String) {
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

    /// TLS with a proxy, if the proxy is `https`.
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

    /// The buffer for ciphertext is created for the first TLS connection.
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
