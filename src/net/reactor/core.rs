//! State that the connections of a reactor share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::flow::HeldBytes;
use super::gate::Gates;
use super::kept::Kept;
use super::keys::Keys;
use super::tail::Tail;
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::net::ask::{Override, Proxy, ProxyRules, ProxyScheme};
use crate::net::event::ConnId;
use crate::net::sys::Sys;
use crate::net::wire::link::Secure;
#[cfg(feature = "tls")]
use crate::net::wire::tls::{self, Tls};
use crate::policy::Policy;
use crate::proto::buf::Spares;
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
    /// TLS with proxies that have no configuration of their own. It is separate from `tls`, which
    /// may contain a client certificate and sessions for servers.
    #[cfg(feature = "tls")]
    pub(in crate::net) proxy_tls: Option<Arc<rustls::ClientConfig>>,
    pub(in crate::net) proxy: ProxyRules,
    pub(in crate::net) observer: Option<Box<dyn Observer>>,
    #[cfg(feature = "tape")]
    pub(in crate::net) tape: Option<Tape>,
    /// The receive buffer; `None` before the first read, and while a connection uses it.
    pub(in crate::net) buf: Option<Box<Tail>>,
    /// The buffer for received ciphertext; empty until TLS is used.
    pub(in crate::net) cipher: Vec<u8>,
    /// The memory of send buffers that are empty.
    pub(in crate::net) spares: Spares,
    pub(in crate::net) gates: Gates,
    /// Connections that are kept for another request.
    pub(in crate::net) kept: Kept<S>,
    /// How many connections are reported to the program or draining.
    pub(in crate::net) open: usize,
    /// Connections to be opened, or to be opened again elsewhere.
    pub(in crate::net) fresh: VecDeque<ConnId>,
    /// Connections that have changed since they were settled.
    pub(in crate::net) dirty: Vec<ConnId>,
    /// Connections with input for which a turn had no room.
    pub(in crate::net) backlog: VecDeque<ConnId>,
    /// The connection for which the program's code may be running. It is `Some` between two turns
    /// only if that code has panicked.
    pub(in crate::net) running: Option<ConnId>,
    /// Connections whose code has panicked, and that were not ended since.
    pub(in crate::net) panicked: Vec<ConnId>,
    /// Whether input of an open connection is kept for [`super::Reactor::pull`] or the next turn.
    pub(in crate::net) lazy: bool,
    pub(in crate::net) now: Instant,
    /// How many bytes this turn has reported.
    pub(in crate::net) handed: usize,
    /// How many bytes all connections hold.
    pub(in crate::net) held: HeldBytes,
    /// How many accepted bytes of released connections were not sent.
    pub(in crate::net) lost: u64,
    /// How many sends there were since the clock was read, and when bytes began to wait.
    pub(in crate::net) sends: u32,
    pub(in crate::net) corked: Option<Instant>,
}

impl<S: Sys> Random for Core<S> {
    fn key(&mut self) -> [u8; 4] {
        self.keys.with(&mut self.sys).bytes()
    }
}

impl<S: Sys> Core<S> {
    /// Takes the receive buffer back from a connection.
    pub(in crate::net) fn take_back(&mut self, mut tail: Box<Tail>) {
        if self.buf.is_none() && tail.buffer().len() >= self.limits.receive_buffer {
            self.buf = Some(tail);
        }
    }

    /// Closes kept connections to make room for a new one.
    pub(in crate::net) fn make_room(&mut self) {
        while self.open.saturating_add(self.kept.len()) > self.limits.connections
            && self.kept.end_first(&mut self.sys)
        {}
    }

    /// The time and the random source for a session.
    pub(in crate::net) fn context(&mut self) -> Context<'_> {
        Context { now: self.now, random: self }
    }

    /// Notes that the program's code may be called for this connection, until `running` is `None`.
    pub(in crate::net) fn begin(&mut self, id: ConnId) {
        let panicked = self.running.replace(id);
        self.panicked.extend(panicked);
    }

    pub(in crate::net) fn has_room(&self) -> bool {
        self.handed < self.limits.turn
    }

    /// Reports a change of state to the observer, if there is one.
    pub(in crate::net) fn trace(&mut self, id: ConnId, text: impl FnOnce() -> String) {
        if let Some(observer) = &mut self.observer {
            observer.observe(self.now, id.to_bits(), Trace::State(&text()));
        }
    }

    #[cfg(feature = "tls")]
    pub(in crate::net) fn tls(&mut self, url: &Url) -> Result<Option<Box<Secure>>, ErrorKind> {
        if !url.scheme().is_secure() {
            return Ok(None);
        }
        let config = match &self.tls {
            Some(config) => config,
            None => self.tls.insert(tls::default_config()?),
        };
        let tls = Tls::client(config, url.host())?;
        self.make_room_for_tls();
        Ok(Some(Secure::new(tls)))
    }

    /// TLS with a proxy, if the proxy is `https`.
    #[cfg(feature = "tls")]
    pub(in crate::net) fn tls_to(
        &mut self,
        proxy: &Proxy,
    ) -> Result<Option<Box<Secure>>, ErrorKind> {
        if proxy.scheme() != ProxyScheme::Https {
            return Ok(None);
        }
        let config = match (proxy.tls_config(), &self.proxy_tls) {
            (Some(own), _) => own,
            (None, Some(config)) => config,
            (None, None) => self.proxy_tls.insert(tls::default_config()?),
        };
        let tls = Tls::client(config, proxy.host())?;
        self.make_room_for_tls();
        Ok(Some(Secure::new(tls)))
    }

    /// Creates the buffer for ciphertext for the first TLS connection.
    #[cfg(feature = "tls")]
    fn make_room_for_tls(&mut self) {
        if self.cipher.is_empty() {
            self.cipher.resize(self.limits.receive_buffer, 0);
        }
    }

    #[cfg(not(feature = "tls"))]
    pub(in crate::net) fn tls_to(
        &mut self,
        proxy: &Proxy,
    ) -> Result<Option<Box<Secure>>, ErrorKind> {
        if proxy.scheme() == ProxyScheme::Https { Err(ErrorKind::NoTls) } else { Ok(None) }
    }

    #[cfg(not(feature = "tls"))]
    pub(in crate::net) fn tls(&mut self, url: &Url) -> Result<Option<Box<Secure>>, ErrorKind> {
        if url.scheme().is_secure() { Err(ErrorKind::NoTls) } else { Ok(None) }
    }
}
