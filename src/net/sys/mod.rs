//! Every system call of `net`, and the clock, behind one trait, so that a simulated network can
//! replace the system.

#[cfg(target_os = "linux")]
#[cfg_attr(moonwire_poll, allow(dead_code))]
mod epoll;
mod options;
mod os;
mod poll;
mod random;
mod resolve;
#[cfg(target_os = "linux")]
mod timer;
mod timespec;
#[cfg(unix)]
mod unix;
mod waker;
#[cfg(windows)]
mod windows;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::proto::Endpoint;

pub use options::{KeepAlive, OwnedStream, SocketOptions};
pub(super) use os::{BorrowedFd, OwnedFd};
pub use os::{Os, OsPoller, Socket};
pub use random::random_byte;
pub use resolve::ResolverAnswer;
#[cfg(feature = "cli")]
pub use system::raise_open_files;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// The system below a reactor: sockets, clock, random bytes, resolver.
pub trait Sys: Send {
    /// A stream socket; dropping it closes it.
    type Socket: Send;
    /// The type that waits for sockets.
    type Poller: Poller;

    /// The poller of this system's sockets, which another thread may use at the same time.
    fn poller(&self) -> &Arc<Self::Poller>;
    /// The current time.
    fn now(&self) -> Instant;
    /// Fills `bytes` from a CSPRNG.
    ///
    /// # Errors
    ///
    /// There are no random bytes: then no reactor is created. If the source fails later, the
    /// reactor panics, since no frame may be sent with a mask key that somebody can guess (RFC 6455
    /// §5.3).
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()>;
    /// Starts to connect. When the socket becomes writable, the reactor calls [`Sys::connected`].
    ///
    /// # Errors
    ///
    /// The attempt cannot be started. A later failure is the error of [`Sys::connected`].
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;
    /// Starts to connect as [`Sys::connect`] does, to any kind of endpoint and with options. The
    /// default implementation supports addresses only, and ignores the options.
    ///
    /// # Errors
    ///
    /// As [`Sys::connect`]; `Unsupported` for an endpoint that this system does not support.
    fn connect_to(&mut self, dial: &Dial<'_>) -> io::Result<Self::Socket> {
        match dial.to {
            Endpoint::Address(to) => self.connect(*to),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets")),
        }
    }
    /// Takes over a connected stream of the program ([`Options::over`](crate::Options::over)). The
    /// default implementation cannot do that.
    ///
    /// # Errors
    ///
    /// Why the stream cannot be taken over; by default `Unsupported`.
    fn adopt(&mut self, _stream: OwnedStream) -> io::Result<Self::Socket> {
        let what = "this system cannot take over a stream of the program";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }
    /// The address to which a socket is connected, if the system knows it.
    fn peer_addr(&self, _socket: &Self::Socket) -> Option<Endpoint> {
        None
    }
    /// The local end of a connected socket, if the system knows it.
    fn local_addr(&self, _socket: &Self::Socket) -> Option<Endpoint> {
        None
    }
    /// Whether the socket is connected already when [`Sys::connect`] returns, as may be if the peer
    /// is on this machine: then the reactor need not wait. `false` is always correct.
    fn is_connected(&mut self, _socket: &Self::Socket) -> bool {
        false
    }
    /// The result of connecting.
    ///
    /// # Errors
    ///
    /// Why connecting has failed.
    fn connected(&mut self, socket: &Self::Socket) -> io::Result<()>;
    /// Reads bytes; 0 means the end of the stream, `WouldBlock` that no bytes are there yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, or the error by which the connection is lost.
    fn read(&mut self, socket: &Self::Socket, buf: &mut [u8]) -> io::Result<usize>;
    /// Reads at most `max` bytes to the end of `buf`, which has the capacity for them.
    ///
    /// # Errors
    ///
    /// As [`Sys::read`].
    fn append(
        &mut self,
        socket: &Self::Socket,
        buf: &mut Vec<u8>,
        max: usize,
    ) -> io::Result<usize> {
        let len = buf.len();
        buf.resize(len + max, 0);
        let read = self.read(socket, &mut buf[len..]);
        buf.truncate(len + read.as_ref().map_or(0, |n| *n.min(&max)));
        read
    }
    /// Writes bytes; `WouldBlock` means that there is no room yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, or the error by which the connection is lost.
    fn write(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Writes several pieces as if they were one; returns how many bytes it took in all. To take
    /// only bytes of the first piece is correct, too.
    ///
    /// # Errors
    ///
    /// As [`Sys::write`].
    fn write_vectored(
        &mut self,
        socket: &Self::Socket,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        first.map_or(Ok(0), |bytes| self.write(socket, bytes))
    }
    /// Ends the sending side (`shutdown`).
    fn shutdown_write(&mut self, socket: &Self::Socket);
    /// Registers `interest` in the socket, to be reported with `token`; `new` states whether it is
    /// the first time. The two highest tokens are reserved for the system.
    ///
    /// # Errors
    ///
    /// The connection fails with this error.
    fn watch(
        &mut self,
        socket: &Self::Socket,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()>;
    /// Removes the registration.
    fn forget(&mut self, socket: &Self::Socket);
    /// Asks for the addresses of a name. The answer wakes the poller.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked for, such as too many waiting names; the connection fails with this
    /// error.
    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()>;
    /// The answer for `id` is no longer needed. Doing nothing is correct.
    fn give_up(&mut self, _id: u64) {}
    /// The next answer.
    fn resolved(&mut self) -> Option<ResolverAnswer>;
}

/// Whether the process or the system has no descriptor left.
pub(super) fn is_shortage(e: &io::Error) -> bool {
    // EMFILE and ENFILE, which are the same numbers on every Unix; WSAEMFILE.
    let codes: &[i32] = if cfg!(windows) { &[10024] } else { &[24, 23] };
    e.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Where to connect, and how.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dial<'a> {
    /// The endpoint to connect to.
    pub to: &'a Endpoint,
    /// The options of the socket.
    pub options: &'a SocketOptions,
    /// The keep-alive probes of the socket.
    pub keep_alive: Option<KeepAlive>,
}

/// The waiting half of a system.
pub trait Poller: Send + Sync {
    /// Waits until a socket is ready, [`Poller::wake`] was called or `deadline` has passed, and
    /// appends the ready sockets. It may end earlier, without any. `now` is the current time. Only
    /// one thread may wait at a time, since a wake-up or a deadline ends only one of several waits.
    ///
    /// # Errors
    ///
    /// The system cannot wait; [`Reactor::turn`](crate::Reactor::turn) returns this error.
    fn wait(
        &self,
        now: Instant,
        deadline: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()>;
    /// When a loop that does not wait in [`Poller::wait`] has to run a turn even if nothing was
    /// reported. `None`, unless the system cannot report some condition.
    fn look_again(&self, _now: Instant) -> Option<Instant> {
        None
    }
    /// The time, for a thread that does not have the system: the same as [`Sys::now`]. The default
    /// is the clock of the machine.
    fn now(&self) -> Instant {
        Instant::now()
    }
    /// Ends the current wait, or the next one if no thread is waiting.
    fn wake(&self);
}

/// The conditions for which a socket is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// There are bytes to read, or the end of the stream.
    pub read: bool,
    /// There is room for bytes to be written.
    pub write: bool,
}

/// A socket that is ready. An error or the end of the stream makes it ready for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token that was passed to [`Sys::watch`].
    pub token: u64,
    /// A read will not block.
    pub read: bool,
    /// A write will not block.
    pub write: bool,
}
