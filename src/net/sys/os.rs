//! The system calls. Differences between systems are in `unix.rs` and `windows.rs`.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use rustix::fd::AsFd as _;
pub(in crate::net) use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags};

#[cfg(target_os = "linux")]
use super::epoll;
use super::poll::PollSet;
use super::resolve::{Resolver, ResolverAnswer};
use super::{Dial, Interest, OwnedStream, Poller, Ready, Sys, random, system};
use crate::limits::Limits;
use crate::proto::Endpoint;

/// The operating system.
pub struct Os {
    poller: Arc<OsPoller>,
    resolver: Resolver,
}

/// A socket of the operating system.
#[derive(Debug)]
pub struct Socket(Arc<OwnedFd>);

impl fmt::Debug for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Os").finish_non_exhaustive()
    }
}

impl Os {
    /// The operating system with epoll on Linux, and with poll elsewhere.
    ///
    /// # Errors
    ///
    /// The system has no descriptor left, or no random source.
    pub fn new(limits: &Limits) -> io::Result<Os> {
        #[cfg(all(target_os = "linux", not(moonwire_poll)))]
        let poller = OsPoller::Epoll(epoll::Epoll::new()?);
        #[cfg(not(all(target_os = "linux", not(moonwire_poll))))]
        let poller = OsPoller::Poll(PollSet::new()?);
        Ok(Os::with(poller, limits))
    }

    /// The operating system with poll, so that tests on Linux also cover the code of other systems.
    /// For a reactor with few connections, it costs no more than epoll, and fewer descriptors: on
    /// Linux one, besides the sockets.
    ///
    /// # Errors
    ///
    /// As [`Os::new`].
    pub fn with_poll(limits: &Limits) -> io::Result<Os> {
        Ok(Os::with(OsPoller::Poll(PollSet::new()?), limits))
    }

    fn with(poller: OsPoller, limits: &Limits) -> Os {
        let poller = Arc::new(poller);
        let waker = Arc::clone(&poller);
        Os { poller, resolver: Resolver::new(limits, move || waker.wake()) }
    }

    /// The result of a read of `read` bytes into `room`, or an error if the end hides a reset.
    fn unless_reset(&self, socket: &Socket, read: usize, room: usize) -> io::Result<usize> {
        match &*self.poller {
            OsPoller::Poll(set)
                if system::HIDES_RESETS && read == 0 && room > 0 && set.has_failed(&socket.0) =>
            {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            _ => Ok(read),
        }
    }

    /// A listening socket, and its address.
    #[cfg(feature = "cli")]
    pub(crate) fn listen(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // The standard library's backlog is 128, but more connections may come at once.
        net::listen(&listener, 4096)?;
        let address = listener.local_addr()?;
        Ok((Socket(Arc::new(listener.into())), address))
    }

    /// Takes the next connection out of the queue.
    #[cfg(feature = "cli")]
    pub(crate) fn accept(listener: &Socket) -> io::Result<Socket> {
        Ok(Socket(Arc::new(system::accept(&listener.0)?)))
    }
}

impl Sys for Os {
    type Socket = Socket;
    type Poller = OsPoller;

    fn poller(&self) -> &Arc<OsPoller> {
        &self.poller
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        random::fill(bytes)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<Socket> {
        connecting(system::socket(family(&to))?, to)
    }

    fn connect_to(&mut self, dial: &Dial<'_>) -> io::Result<Socket> {
        let to = match dial.to {
            Endpoint::Address(to) => *to,
            Endpoint::Unix(path) => return Ok(Socket(Arc::new(system::connect_unix(path)?))),
        };
        let fd = system::socket(family(&to))?;
        if let Some(bytes) = dial.options.send_buffer {
            net::sockopt::set_socket_send_buffer_size(&fd, bytes.min(MOST))?;
        }
        if let Some(bytes) = dial.options.receive_buffer {
            net::sockopt::set_socket_recv_buffer_size(&fd, bytes.min(MOST))?;
        }
        if let Some(keep_alive) = dial.keep_alive {
            system::keep_alive(&fd, keep_alive)?;
        }
        if let Some(local) = dial.options.local {
            if local.is_ipv4() != to.is_ipv4() {
                let text = format!("cannot be reached from {local}, the local address");
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
            }
            net::bind(&fd, &SocketAddr::new(local, 0))?;
        }
        connecting(fd, to)
    }

    fn adopt(&mut self, stream: OwnedStream) -> io::Result<Socket> {
        // A listener, a datagram socket or a file would fail later, with a misleading error.
        net::getpeername(&stream)?;
        system::adopt(&stream)?;
        Ok(Socket(Arc::new(stream)))
    }

    fn peer_addr(&self, socket: &Socket) -> Option<Endpoint> {
        system::endpoint(net::getpeername(&*socket.0).ok()??)
    }

    fn local_addr(&self, socket: &Socket) -> Option<Endpoint> {
        system::endpoint(net::getsockname(&*socket.0).ok()?)
    }

    fn is_connected(&mut self, socket: &Socket) -> bool {
        net::getpeername(&*socket.0).is_ok()
    }

    fn connected(&mut self, socket: &Socket) -> io::Result<()> {
        Ok(net::sockopt::socket_error(&*socket.0)??)
    }

    fn read(&mut self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        let read = net::recv(&*socket.0, &mut *buf, RecvFlags::empty())?.0;
        self.unless_reset(socket, read, buf.len())
    }

    fn append(&mut self, socket: &Socket, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        if buf.capacity() - buf.len() == max && max > 0 {
            // Reads into uninitialised memory, which need not be zeroed.
            let spare = rustix::buffer::spare_capacity(buf);
            let read = net::recv(&*socket.0, spare, RecvFlags::empty())?.0;
            return self.unless_reset(socket, read, max);
        }
        let len = buf.len();
        buf.resize(len + max, 0);
        let read = self.read(socket, &mut buf[len..]);
        buf.truncate(len + read.as_ref().map_or(0, |n| *n));
        read
    }

    fn write(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        Ok(net::send(&*socket.0, bytes, system::NO_SIGNAL)?)
    }

    fn write_vectored(&mut self, socket: &Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match pieces {
            // One piece needs no list and no message header.
            [one] => self.write(socket, one),
            _ => system::write_vectored(&socket.0, pieces),
        }
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        // Fails if the peer is gone; then there is nothing to end.
        let _ = net::shutdown(&*socket.0, net::Shutdown::Write);
    }

    fn watch(
        &mut self,
        socket: &Socket,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()> {
        match &*self.poller {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(epoll) => epoll.watch(&socket.0, token, interest, new),
            OsPoller::Poll(set) => {
                // `PollSet` finds out by itself whether the socket is new.
                let _ = new;
                set.watch(&socket.0, token, interest);
                Ok(())
            }
        }
    }

    fn forget(&mut self, socket: &Socket) {
        match &*self.poller {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(epoll) => epoll.forget(&socket.0),
            OsPoller::Poll(set) => set.forget(&socket.0),
        }
    }

    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        self.resolver.ask(id, name, port)
    }

    fn give_up(&mut self, id: u64) {
        self.resolver.give_up(id);
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        self.resolver.answer()
    }
}

/// The largest buffer that the system calls accept: they take a C int.
const MOST: usize = i32::MAX as usize;

fn family(to: &SocketAddr) -> AddressFamily {
    if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn connecting(fd: OwnedFd, to: SocketAddr) -> io::Result<Socket> {
    match net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR | Errno::WOULDBLOCK) => {
            Ok(Socket(Arc::new(fd)))
        }
        Err(e) => Err(e.into()),
    }
}

/// The poller of the operating system: epoll or poll.
#[derive(Debug)]
pub enum OsPoller {
    /// epoll; the cost of a wait does not grow with the number of sockets.
    #[cfg(target_os = "linux")]
    Epoll(epoll::Epoll),
    /// poll, on every system.
    Poll(PollSet),
}

impl OsPoller {
    /// The epoll descriptor, if the poller has one.
    pub(in crate::net) fn epoll_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(epoll) => Some(epoll.as_fd()),
            OsPoller::Poll(_) => None,
        }
    }

    /// The sockets to wait for, and the conditions, unless one descriptor stands for all.
    pub(in crate::net) fn interests(&self) -> Vec<(Arc<OwnedFd>, Interest)> {
        match self {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(_) => Vec::new(),
            OsPoller::Poll(set) => set.interests(),
        }
    }
}

impl Poller for OsPoller {
    fn wait(
        &self,
        now: Instant,
        deadline: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        let left = deadline.map(|d| left(now, d));
        let waited = match self {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(epoll) => epoll.wait(now, left, ready),
            OsPoller::Poll(set) => set.wait(now, left, ready),
        };
        match waited {
            Err(Errno::INTR) => Ok(()),
            other => Ok(other?),
        }
    }

    fn look_again(&self, now: Instant) -> Option<Instant> {
        match self {
            OsPoller::Poll(set) if system::HANGS_UP_BY_HALF => set.look_again(now),
            _ => None,
        }
    }

    fn wake(&self) {
        match self {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(epoll) => epoll.wake(),
            OsPoller::Poll(set) => set.wake(),
        }
    }
}

/// How long to wait. More than a day counts as one day: the caller checks its deadline again.
fn left(now: Instant, deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now).min(Duration::from_secs(86_400))
}
