//! Every system call of `net`, and the clock, behind one trait: so that a simulated network can take
//! the system's place.

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
pub use resolve::Answer;
#[cfg(feature = "cli")]
pub use system::raise_open_files;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

/// What a reactor needs of a system.
pub trait Sys: Send {
    /// A stream socket; closed when dropped.
    type Socket: Send;
    /// What waits.
    type Poller: Poller;

    /// What waits for the sockets of this system; may be used by another thread meanwhile.
    fn poller(&self) -> &Arc<Self::Poller>;
    /// The time.
    fn now(&self) -> Instant;
    /// Fills `bytes` from a CSPRNG.
    ///
    /// # Errors
    ///
    /// There are no random bytes: then no reactor is made. A source that fails later is a panic, since
    /// no frame may be sent without a mask key that nobody can guess (RFC 6455 §5.3).
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()>;
    /// Starts to connect; when the socket becomes writable, ask [`Sys::connected`].
    ///
    /// # Errors
    ///
    /// Why it cannot be tried at all; an attempt that fails later is told by [`Sys::connected`].
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;
    /// Starts to connect as [`Sys::connect`] does, to whatever kind of endpoint and from whatever own
    /// address the connection asks for. By itself it knows addresses alone, and no options.
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
    /// Takes over a stream of the owner's that is connected already
    /// ([`Options::over`](crate::Options::over)). By itself it can not.
    ///
    /// # Errors
    ///
    /// Why it cannot be taken over; by itself `Unsupported`.
    fn adopt(&mut self, _stream: OwnedStream) -> io::Result<Self::Socket> {
        let what = "this system takes over no stream of the owner's own";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }
    /// Whom a socket is connected to, if the system knows.
    fn peer_addr(&self, _socket: &Self::Socket) -> Option<Endpoint> {
        None
    }
    /// The own end of a connected socket, if the system knows.
    fn local_addr(&self, _socket: &Self::Socket) -> Option<Endpoint> {
        None
    }
    /// Whether the socket is connected as soon as [`Sys::connect`] has returned, as it can be where
    /// the peer is on this machine: then nothing is waited for. `false` is always right.
    fn is_connected(&mut self, _socket: &Self::Socket) -> bool {
        false
    }
    /// Whether connecting has succeeded.
    ///
    /// # Errors
    ///
    /// Why it has not.
    fn connected(&mut self, socket: &Self::Socket) -> io::Result<()>;
    /// Reads; 0 is the end of the stream, `WouldBlock` means later.
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
    /// Writes; `WouldBlock` means later.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, `Interrupted`, or that by which the connection is lost.
    fn write(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Writes pieces, one behind the other, as if they were one: how many bytes of all of them it
    /// took. One that takes of the first piece alone is right, too.
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
    /// Sends no more.
    fn finish(&mut self, socket: &Self::Socket);
    /// Waits for `interest` from now on, reported with `token`; `new`: for the first time. The two
    /// highest tokens belong to the system.
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
    /// Waits for the socket no more.
    fn forget(&mut self, socket: &Self::Socket);
    /// Asks for the addresses of a name. The answer wakes the poller.
    ///
    /// # Errors
    ///
    /// Why it cannot be asked for, such as too many names that wait; the connection fails with it.
    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()>;
    /// Nobody waits for the answer to a question any more. Doing nothing is right.
    fn give_up(&mut self, _id: u64) {}
    /// The next answer.
    fn resolved(&mut self) -> Option<Answer>;
}

/// Whether the process, or the system, has no descriptor left.
pub(super) fn is_shortage(e: &io::Error) -> bool {
    // EMFILE and ENFILE, which are the same numbers on every Unix; WSAEMFILE.
    let codes: &[i32] = if cfg!(windows) { &[10024] } else { &[24, 23] };
    e.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Where to connect to, and how.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dial<'a> {
    /// Where to.
    pub to: &'a Endpoint,
    /// What the socket is made with.
    pub options: &'a SocketOptions,
    /// Its probes.
    pub keep_alive: Option<KeepAlive>,
}

/// The waiting half of a system.
pub trait Poller: Send + Sync {
    /// Waits until something is ready, [`Poller::wake`] was called or `deadline` has passed, and
    /// appends what is ready. It may end earlier, with nothing. `now` is the present. One thread at a
    /// time may wait: of several, a wake-up or a deadline ends one wait only.
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
    /// When a loop that waits by itself, and not by [`Poller::wait`], has to look again though nothing was
    /// told it: `None`, unless the system cannot tell something.
    fn look_again(&self, _now: Instant) -> Option<Instant> {
        None
    }
    /// The time, for a thread that does not hold the system: as [`Sys::now`] tells it. The one of the
    /// machine, unless the system has another.
    fn now(&self) -> Instant {
        Instant::now()
    }
    /// Ends a wait, or the next one if none is under way.
    fn wake(&self);
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bytes, or the end.
    pub read: bool,
    /// Room for bytes.
    pub write: bool,
}

/// A socket that is ready. An error or the end makes it ready for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As given to [`Sys::watch`].
    pub token: u64,
    /// Reading will not block.
    pub read: bool,
    /// Writing will not block.
    pub write: bool,
}
