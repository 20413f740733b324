//! The system calls of a Unix.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(in crate::net) use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketType, ipproto};

#[cfg(target_os = "linux")]
use super::epoll;
use super::poll::PollSet;
use super::resolve::{Answer, Resolver};
use super::{Interest, Poller, Ready, Sys, random};
use crate::limits::Limits;

/// The operating system.
pub struct Os {
    poller: Arc<OsPoller>,
    resolver: Resolver,
}

/// A socket of the operating system.
pub struct Socket(Arc<OwnedFd>);

impl Os {
    /// epoll on Linux, poll elsewhere.
    pub fn new(limits: &Limits) -> io::Result<Os> {
        #[cfg(all(target_os = "linux", not(moonwire_poll)))]
        let poller = OsPoller::Epoll(epoll::Epoll::new()?);
        #[cfg(not(all(target_os = "linux", not(moonwire_poll))))]
        let poller = OsPoller::Poll(PollSet::new()?);
        Ok(Os::with(poller, limits))
    }

    /// poll everywhere: what is used elsewhere can be tested on Linux too. Where a reactor has few
    /// connections it costs no more than epoll, and fewer descriptors: on Linux one and the sockets.
    pub fn with_poll(limits: &Limits) -> io::Result<Os> {
        Ok(Os::with(OsPoller::Poll(PollSet::new()?), limits))
    }

    fn with(poller: OsPoller, limits: &Limits) -> Os {
        let poller = Arc::new(poller);
        let waker = Arc::clone(&poller);
        Os { poller, resolver: Resolver::new(limits, move || waker.wake()) }
    }

    /// A listening socket, and where it listens.
    #[cfg(feature = "cli")]
    pub(crate) fn listen(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // The standard library's backlog is 128; more may come at once.
        net::listen(&listener, 4096)?;
        let address = listener.local_addr()?;
        Ok((Socket(Arc::new(listener.into())), address))
    }

    /// The next connection that waits to be accepted.
    #[cfg(feature = "cli")]
    pub(crate) fn accept(listener: &Socket) -> io::Result<Socket> {
        let fd = net::accept(&*listener.0)?;
        prepare(&fd)?;
        Ok(Socket(Arc::new(fd)))
    }
}

/// Non-blocking, closed in child processes, without Nagle's delay and without SIGPIPE.
#[cfg(any(not(target_os = "linux"), feature = "cli"))]
fn prepare(fd: &OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(fd, true)?;
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    net::sockopt::set_socket_nosigpipe(fd, true)?;
    net::sockopt::set_tcp_nodelay(fd, true)?;
    Ok(())
}

/// A TCP socket, as [`prepare`] leaves it.
#[cfg(target_os = "linux")]
fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    net::sockopt::set_tcp_nodelay(&fd, true)?;
    Ok(fd)
}

/// A TCP socket, as [`prepare`] leaves it.
#[cfg(not(target_os = "linux"))]
fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let fd = net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
    prepare(&fd)?;
    Ok(fd)
}

/// macOS has no flag for it; [`prepare`] sets the option there.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();

/// Pieces that one call may be given on every system (`_XOPEN_IOV_MAX` of POSIX).
const PIECES: usize = 16;

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
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = socket(family)?;
        match net::connect(&fd, &to) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR | Errno::WOULDBLOCK) => {
                Ok(Socket(Arc::new(fd)))
            }
            Err(e) => Err(e.into()),
        }
    }

    fn is_connected(&mut self, socket: &Socket) -> bool {
        net::getpeername(&*socket.0).is_ok()
    }

    fn connected(&mut self, socket: &Socket) -> io::Result<()> {
        Ok(net::sockopt::socket_error(&*socket.0)??)
    }

    fn read(&mut self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        Ok(net::recv(&*socket.0, buf, RecvFlags::empty())?.0)
    }

    fn append(&mut self, socket: &Socket, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        if buf.capacity() - buf.len() == max && max > 0 {
            // Straight into memory that was never written: no zeroing.
            let spare = rustix::buffer::spare_capacity(buf);
            return Ok(net::recv(&*socket.0, spare, RecvFlags::empty())?.0);
        }
        let len = buf.len();
        buf.resize(len + max, 0);
        let read = self.read(socket, &mut buf[len..]);
        buf.truncate(len + read.as_ref().map_or(0, |n| *n));
        read
    }

    fn write(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        Ok(net::send(&*socket.0, bytes, NO_SIGNAL)?)
    }

    fn write_vectored(&mut self, socket: &Socket, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // `sendmsg` has to be given a header and a list, which one piece does not need.
        if let [one] = pieces {
            return self.write(socket, one);
        }
        let pieces = &pieces[..pieces.len().min(PIECES)];
        let mut none = net::SendAncillaryBuffer::default();
        Ok(net::sendmsg(&*socket.0, pieces, &mut none, NO_SIGNAL)?)
    }

    fn finish(&mut self, socket: &Socket) {
        // Fails when the peer is gone already, which is what it was for.
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

    fn resolved(&mut self) -> Option<Answer> {
        self.resolver.answer()
    }
}

/// epoll or poll.
pub enum OsPoller {
    /// Its cost per wait does not grow with the number of sockets.
    #[cfg(target_os = "linux")]
    Epoll(epoll::Epoll),
    /// Portable.
    Poll(PollSet),
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

    fn wake(&self) {
        match self {
            #[cfg(target_os = "linux")]
            OsPoller::Epoll(epoll) => epoll.wake(),
            OsPoller::Poll(set) => set.wake(),
        }
    }
}

/// How long to wait. More than a day becomes one: whoever waits looks at its deadline again.
fn left(now: Instant, deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now).min(Duration::from_secs(86_400))
}

/// Raises the soft limit of open files to the hard one; gives the new limit, if there is one.
#[cfg(feature = "cli")]
pub fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused in some containers; then the old limit stays.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}
