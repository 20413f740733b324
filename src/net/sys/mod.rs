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

/// The system below a reactor: sockets, clock, randomness, resolver.
pub trait Sys: Send {
    /// A stream socket; closed when dropped.
    type Socket: Send;
    /// The type that waits.
    type Poller: Poller;

    /// The poller of this system's sockets; another thread may use it meanwhile.
    fn poller(&self) -> &Arc<Self::Poller>;
    /// The current time.
    fn now(&self) -> Instant;
    /// Fills `bytes` from a CSPRNG.
    ///
    /// # Errors
    ///
    /// There are no random bytes: then no reactor is made. A source that fails later is a panic, since
    /// no frame may be sent without a mask key that nobody can guess (RFC 6455 §5.3).
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()>;
    /// Starts to connect; when the socket becomes writable, [`Sys::connected`] is called.
    ///
    /// # Errors
    ///
    /// The attempt cannot be started; a later failure is the error of [`Sys::connected`].
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;
    /// Starts to connect as [`Sys::connect`] does, to any kind of endpoint and from the local
    /// address that the options name. The default implementation supports addresses only, and no
    /// options.
    ///
    /// # Errors
    ///
    /// As [`Sys::connect`]; `Unsupported` for what this system does not know.
    fn connect_to(&mut self, dial: &Dial<'_>) -> io::Result<Self::Socket> {
        match dial.to {
            Endpoint::Address(to) => self.connect(*to),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets")),
        }
    }
    /// Takes over a stream of the program that is connected already
    /// ([`Options::over`](crate::Options::over)). The default implementation cannot.
    ///
    /// # Errors
    ///
    /// Why it cannot be taken over; by itself `Unsupported`.
    fn adopt(&mut self, _stream: OwnedStream) -> io::Result<Self::Socket> {
        let what = "this system takes over no stream of the owner's own";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }
    /// The address that a socket is connected to, if the system knows.
    fn peer_addr(&self, _socket: &Self::Socket) -> Option<Endpoint> {
        None
    }
    /// The local end of a connected socket, if the system knows.
    fn local_addr(&self, _socket: &Self::Socket) -> Option<Endpoint> {
        None
    }
    /// Whether the socket is already connected when [`Sys::connect`] returns, as it can be if the
    /// peer is on this machine: then nothing is waited for. `false` is always correct.
    fn is_connected(&mut self, _socket: &Self::Socket) -> bool {
        false
    }
    /// The result of connecting.
    ///
    /// # Errors
    ///
    /// Why it has not.
    fn connected(&mut self, socket: &Self::Socket) -> io::Result<()>;
    /// Reads; 0 is the end of the stream, `WouldBlock` means that no bytes are there yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, or that by which the connection is lost.
    fn read(&mut self, socket: &Self::Socket, buf: &mut [u8]) -> io::Result<usize>;
    /// Appends at most `max` bytes to `buf`, which has the capacity for them.
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
    /// Writes; `WouldBlock` means that there is no room yet.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, or that by which the connection is lost.
    fn write(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Writes several pieces as if they were one; returns how many bytes of all of them it took.
    /// Taking bytes of the first piece only is correct, too.
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
    /// Registers `interest`, reported with `token`; `new`: for the first time. The two highest
    /// tokens are reserved for the system.
    ///
    /// # Errors
    ///
    /// The connection fails with it.
    fn watch(
        &mut self,
        socket: &Self::Socket,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()>;
    /// Removes the registration.
    fn forget(&mut self, socket: &Self::Socket);
    /// Asks for the addresses of a name. Its answer wakes the poller.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked for, such as too many names that wait; the connection fails with it.
    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()>;
    /// The answer to a question is not needed any more. Doing nothing is correct.
    fn give_up(&mut self, _id: u64) {}
    /// The next answer.
    fn resolved(&mut self) -> Option<ResolverAnswer>;
}

/// Whether the process, or the system, has no descriptor left.
pub(super) fn is_shortage(e: &io::Error) -> bool {
    // EMFILE and ENFILE, which are the same numbers on every Unix; WSAEMFILE.
    let codes: &[i32] = if cfg!(windows) { &[10024] } else { &[24, 23] };
    e.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Where and how to connect.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dial<'a> {
    /// The endpoint to connect to.
    pub to: &'a Endpoint,
    /// The options of the socket.
    pub options: &'a SocketOptions,
    /// Its keep-alive probes.
    pub keep_alive: Option<KeepAlive>,
}

/// The waiting half of a system.
pub trait Poller: Send + Sync {
    /// Waits until a socket is ready, [`Poller::wake`] was called or `deadline` has passed, and
    /// appends the ready sockets. It may end earlier, without any. `now` is the current time. One
    /// thread at a time may wait: of several, a wake-up or a deadline ends one wait only.
    ///
    /// # Errors
    ///
    /// The system cannot wait; [`Reactor::turn`](crate::Reactor::turn) returns it.
    fn wait(
        &self,
        now: Instant,
        deadline: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()>;
    /// When a loop that does not wait in [`Poller::wait`] has to run a turn though nothing was
    /// reported: `None`, unless the system cannot report some condition.
    fn look_again(&self, _now: Instant) -> Option<Instant> {
        None
    }
    /// The time, for a thread that does not hold the system: the same as [`Sys::now`]. The default
    /// is the clock of the machine.
    fn now(&self) -> Instant {
        Instant::now()
    }
    /// Ends the current wait, or the next one if no thread is waiting.
    fn wake(&self);
}

/// The conditions to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bytes, or the end of the stream.
    pub read: bool,
    /// Room for bytes to be written.
    pub write: bool,
}

/// A socket that is ready. An error or the end of the stream makes it ready for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token given to [`Sys::watch`].
    pub token: u64,
    /// Reading will not block.
    pub read: bool,
    /// Writing will not block.
    pub write: bool,
}
