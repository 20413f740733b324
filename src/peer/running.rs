//! A server that is running: on the thread of the caller, or on one of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::serve::Serving;
use super::server::{Server, Stopper};

// Here and not in `server.rs`: these two need the poll loop, which needs `Server`.
impl Server {
    /// Serves until it is stopped.
    pub fn run(self) -> io::Result<()> {
        Serving::new(self)?.run()
    }

    /// Serves on a thread of its own until the result is dropped.
    pub fn spawn(self) -> io::Result<Running> {
        let (url, http_url) = (self.url(), self.http_url());
        let (address, stopper) = (self.address(), self.stopper());
        let mut serving = Serving::new(self)?;
        let thread = std::thread::Builder::new().name("moonwire-peer".into());
        let thread = Some(thread.spawn(move || serving.run())?);
        Ok(Running { url, http_url, address, stopper, thread })
    }
}

/// A server on a thread of its own. Dropping it stops the server.
pub struct Running {
    url: String,
    http_url: String,
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("url", &self.url).finish_non_exhaustive()
    }
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

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops it, and waits until its thread has ended.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // An error or a panic of the thread cannot be reported here.
            let _ = thread.join();
        }
    }
}
