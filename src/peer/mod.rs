//! A small server for `moonwire echo`, for `--echo`, for tests and for benches: a WebSocket that
//! echoes on any path, and a few routes over HTTP/1.1 (`GET /` lists them), one request a
//! connection. One thread polls all connections. Hidden, and no part of the crate's interface.

mod conn;
mod drip;
mod http;
mod query;
mod request;
mod route;
mod serve;
mod sse;

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
use serve::Serving;

pub use crate::net::sys::raise_open_files;

/// The root that signed [`CHAIN_PEM`].
pub const CA_PEM: &[u8] = include_bytes!("certs/ca.pem");
/// A certificate for `localhost`, `127.0.0.1` and `::1`.
pub const CHAIN_PEM: &[u8] = include_bytes!("certs/loopback.pem");
/// Its key, which is public: nothing but loopback may trust it.
pub const KEY_PEM: &[u8] = include_bytes!("certs/loopback.key");

/// From the first byte of TCP to the end of the request, with its body.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A server that listens and does not serve yet.
pub struct Server {
    os: Os,
    listener: Socket,
    address: SocketAddr,
    tls: Option<Identity>,
    stop: Arc<AtomicBool>,
    /// The time limit of the request.
    patience: Duration,
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
        let tls = Some(tls::server::Identity::new(chain_pem, key_pem)?);
        Ok(Server { tls, ..Server::bind(address)? })
    }

    /// Where it listens.
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

    /// What ends [`Server::run`] from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), poller: Arc::clone(self.os.poller()) }
    }

    /// Serves until it is stopped.
    pub fn run(self) -> io::Result<()> {
        Serving::new(self)?.run()
    }

    /// Serves on a thread of its own until the result is dropped.
    pub fn spawn(self) -> io::Result<Running> {
        let (url, http_url) = (self.url(), self.http_url());
        let (address, stopper) = (self.address, self.stopper());
        let mut serving = Serving::new(self)?;
        let thread = std::thread::Builder::new().name("moonwire-peer".into());
        let thread = Some(thread.spawn(move || serving.run())?);
        Ok(Running { url, http_url, address, stopper, thread })
    }
}

/// Ends a server.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    poller: Arc<OsPoller>,
}

impl Stopper {
    /// Makes [`Server::run`] return; WebSockets are closed with 1001, answers are cut off.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poller.wake();
    }
}

/// A server on a thread of its own. Dropping it ends it.
pub struct Running {
    url: String,
    http_url: String,
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Running {
    /// A URL that reaches it from this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same for HTTP: `http://127.0.0.1:1234/`.
    pub fn http_url(&self) -> &str {
        &self.http_url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends it and waits until it has ended.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // Its error, or its panic, has nobody to go to here.
            let _ = thread.join();
        }
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

    #[cfg(feature = "tls")]
    #[test]
    fn over_tls_a_stream_comes_whole_and_ends_with_a_goodbye() {
        use std::io::{Read as _, Write as _};
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind_tls(any, CHAIN_PEM, KEY_PEM).unwrap().spawn().unwrap();
        assert!(server.http_url().starts_with("https://127.0.0.1:"));
        let config = crate::tls_config(CA_PEM).unwrap();
        let name = "localhost".try_into().unwrap();
        let client = crate::rustls::ClientConnection::new(config, name).unwrap();
        let tcp = std::net::TcpStream::connect(server.address()).unwrap();
        let mut tls = crate::rustls::StreamOwned::new(client, tcp);
        tls.write_all(b"GET /sse?n=50000&ms=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        // Without close_notify this would be an error.
        tls.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.matches("event: tick\n").count(), 50_000);
    }
}
