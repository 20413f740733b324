//! A server before it runs: its listener, and the handle that stops it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::limits::Limits;
#[cfg(feature = "tls")]
use crate::net::wire::tls;
use crate::net::wire::tls::server::Identity;
use crate::net::{Os, OsPoller, Poller as _, Socket, Sys as _};

/// The time limit from the first byte of TCP to the end of the request, body included.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A server that listens and does not run yet.
pub struct Server {
    pub(super) os: Os,
    pub(super) listener: Socket,
    address: SocketAddr,
    pub(super) tls: Option<Identity>,
    pub(super) stop: Arc<AtomicBool>,
    /// The time limit of the request.
    pub(super) patience: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens for `ws://`; port 0 lets the system choose.
    pub fn bind(address: SocketAddr) -> io::Result<Server> {
        let (listener, address) = Os::listen(address)?;
        let os = Os::new(&Limits::default())?;
        Ok(Server { os, listener, address, tls: None, stop: Arc::default(), patience: HANDSHAKE })
    }

    /// Listens for `wss://` with a certificate chain and its key, both in PEM.
    #[cfg(feature = "tls")]
    pub fn bind_tls(address: SocketAddr, chain_pem: &[u8], key_pem: &[u8]) -> io::Result<Server> {
        let tls = Some(tls::server::Identity::new(chain_pem, key_pem, None)?);
        Ok(Server { tls, ..Server::bind(address)? })
    }

    /// As [`Server::bind_tls`], for clients that have a certificate under one of these roots, in
    /// PEM.
    #[cfg(feature = "tls")]
    pub fn bind_tls_for(
        address: SocketAddr,
        chain_pem: &[u8],
        key_pem: &[u8],
        clients_pem: &[u8],
    ) -> io::Result<Server> {
        let tls = tls::server::Identity::new(chain_pem, key_pem, Some(clients_pem))?;
        Ok(Server { tls: Some(tls), ..Server::bind(address)? })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL that reaches it from this machine.
    pub fn url(&self) -> String {
        self.url_with(["ws", "wss"])
    }

    /// The same for HTTP: `http://127.0.0.1:1234/`.
    pub fn http_url(&self) -> String {
        self.url_with(["http", "https"])
    }

    fn url_with(&self, [plain, secure]: [&str; 2]) -> String {
        let scheme = if self.tls.is_some() { secure } else { plain };
        let ip = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("{scheme}://{}/", SocketAddr::new(ip, self.port()))
    }

    /// A handle that ends [`Server::run`] from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), poller: Arc::clone(self.os.poller()) }
    }
}

/// Stops a server.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    poller: Arc<OsPoller>,
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    /// Makes [`Server::run`] return; WebSockets are closed with 1001, responses are cut off.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poller.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_urls_name_the_scheme() {
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let port = server.port();
        assert_eq!(server.url(), format!("ws://127.0.0.1:{port}/"));
        assert_eq!(server.http_url(), format!("http://127.0.0.1:{port}/"));
    }
}
