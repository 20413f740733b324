//! How a connection reaches the server of its URL: over a stream that is already connected, or
//! through a proxy; and its socket options.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::proxy::Proxy;
use crate::net::sys::{OwnedStream, SocketOptions};

/// The options of the path, which WebSockets and streams share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// A connected stream to use; then no name is resolved and no address is connected to.
    pub(crate) over: Option<ProgramStream>,
    /// `None`: as in the configuration of the reactor.
    pub(crate) proxy: Option<Option<Proxy>>,
    pub(crate) socket: SocketOptions,
}

impl Way {
    /// The default: as in the configuration of the reactor, with the system's socket defaults.
    pub(crate) const USUAL: Way = Way { over: None, proxy: None, socket: SocketOptions::new() };
}

/// A stream of the program for one connection; clones share it.
#[derive(Clone)]
pub(crate) struct ProgramStream(Arc<Mutex<Option<OwnedStream>>>);

impl ProgramStream {
    pub(crate) fn new(stream: OwnedStream) -> ProgramStream {
        ProgramStream(Arc::new(Mutex::new(Some(stream))))
    }

    /// The stream, unless a connection has taken it.
    pub(crate) fn take(&self) -> Option<OwnedStream> {
        // No code that can panic runs while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for ProgramStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgramStream")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_ones_own_is_taken_once() {
        let (own, _other) = pair();
        let own = ProgramStream::new(own);
        let clone = own.clone();
        assert!(clone.take().is_some());
        assert!(own.take().is_none());
    }

    fn pair() -> (OwnedStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (stream.into(), listener.accept().unwrap().0)
    }
}
