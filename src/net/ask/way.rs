//! The path of a connection to the server of its URL: over a stream that is connected already,
//! through a proxy, with which socket options.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::proxy::Proxy;
use crate::net::sys::{OwnedStream, SocketOptions};

/// The path options that WebSockets and streams share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// A stream to use, so that nothing is resolved or connected.
    pub(crate) over: Option<ProgramStream>,
    /// `None`: as in the configuration of the reactor.
    pub(crate) proxy: Option<Option<Proxy>>,
    pub(crate) socket: SocketOptions,
}

impl Way {
    /// The default: as in the configuration of the reactor, on a socket with the system's defaults.
    pub(crate) const USUAL: Way = Way { over: None, proxy: None, socket: SocketOptions::new() };
}

/// A stream of the program, to be used once; clones share it.
#[derive(Clone)]
pub(crate) struct ProgramStream(Arc<Mutex<Option<OwnedStream>>>);

impl ProgramStream {
    pub(crate) fn new(stream: OwnedStream) -> ProgramStream {
        ProgramStream(Arc::new(Mutex::new(Some(stream))))
    }

    /// The stream, unless it was used already.
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
