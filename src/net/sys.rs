//! Every system call of `net` (those of epoll are in `epoll.rs`), and the clock, behind one trait:
//! so that a simulated network can take the system's place.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::{PollFd, PollFlags, poll};
pub(super) use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketType, ipproto};

#[cfg(target_os = "linux")]
use super::epoll;
use super::resolve::{Answer, Resolver};
use crate::limits::Limits;

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
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()>;
    /// Starts to connect; when the socket becomes writable, ask [`Sys::connected`].
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket>;
    /// Whether the socket is connected as soon as [`Sys::connect`] has returned, as it can be where
    /// the peer is on this machine: then nothing is waited for. `false` is always right.
    fn is_connected(&mut self, _socket: &Self::Socket) -> bool {
        false
    }
    /// Whether connecting has succeeded.
    fn connected(&mut self, socket: &Self::Socket) -> io::Result<()>;
    /// Reads; 0 is the end of the stream, `WouldBlock` means later.
    fn read(&mut self, socket: &Self::Socket, buf: &mut [u8]) -> io::Result<usize>;
    /// Appends at most `max` bytes to `buf`, which has the capacity for them.
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
    fn write(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;
    /// Sends no more.
    fn finish(&mut self, socket: &Self::Socket);
    /// Waits for `interest` from now on, reported with `token`; `new`: for the first time. The two
    /// highest tokens belong to the system.
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
    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()>;
    /// The next answer.
    fn resolved(&mut self) -> Option<Answer>;
}

/// The waiting half of a system.
pub trait Poller: Send + Sync {
    /// Waits until something is ready, [`Poller::wake`] was called or `deadline` has passed, and
    /// appends what is ready. It may end earlier, with nothing. `now` is the present. One thread at a
    /// time may wait: of several, a wake-up or a deadline ends one wait only.
    fn wait(
        &self,
        now: Instant,
        deadline: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()>;
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
        #[cfg(target_os = "linux")]
        let poller = OsPoller::Epoll(epoll::Epoll::new()?);
        #[cfg(not(target_os = "linux"))]
        let poller = OsPoller::Poll(PollSet::new()?);
        Ok(Os::with(poller, limits))
    }

    /// poll everywhere: what Linux uses elsewhere can be tested there too.
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

impl Sys for Os {
    type Socket = Socket;
    type Poller = OsPoller;

    fn poller(&self) -> &Arc<OsPoller> {
        &self.poller
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    #[cfg(target_os = "linux")]
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            match rustix::rand::getrandom(&mut bytes[filled..], flags) {
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        use std::io::Read as _;
        std::fs::File::open("/dev/urandom")?.read_exact(bytes)
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
            OsPoller::Poll(set) => set.wait(left.map(timespec).as_ref(), ready),
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

pub(super) fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos().into() }
}

/// What poll waits for: a list, copied for each wait, since another thread may change it
/// meanwhile. The copy keeps its descriptors open.
pub struct PollSet {
    entries: Mutex<Vec<(Arc<OwnedFd>, u64, Interest)>>,
    waker: (OwnedFd, OwnedFd),
}

impl PollSet {
    fn new() -> io::Result<PollSet> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        a.set_nonblocking(true)?;
        b.set_nonblocking(true)?;
        Ok(PollSet { entries: Mutex::default(), waker: (a.into(), b.into()) })
    }

    /// The sockets that are waited for, for an event loop that waits itself.
    pub(crate) fn interests(&self) -> Vec<(Arc<OwnedFd>, Interest)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().map(|(fd, _, interest)| (Arc::clone(fd), *interest)).collect()
    }

    fn watch(&self, socket: &Arc<OwnedFd>, token: u64, interest: Interest) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.iter_mut().find(|(fd, _, _)| Arc::ptr_eq(fd, socket)) {
            Some(entry) => *entry = (Arc::clone(socket), token, interest),
            None => entries.push((Arc::clone(socket), token, interest)),
        }
        drop(entries);
        self.wake();
    }

    fn forget(&self, socket: &Arc<OwnedFd>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(fd, _, _)| !Arc::ptr_eq(fd, socket));
    }

    fn wait(&self, timeout: Option<&Timespec>, ready: &mut Vec<Ready>) -> rustix::io::Result<()> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(entries.len() + 1);
        fds.push(PollFd::new(&self.waker.0, PollFlags::IN));
        for (fd, _, interest) in &entries {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, interest.read);
            flags.set(PollFlags::OUT, interest.write);
            fds.push(PollFd::new(fd, flags));
        }
        poll(&mut fds, timeout)?;
        if !fds[0].revents().is_empty() {
            while rustix::io::read(&self.waker.0, &mut [0; 64]).is_ok_and(|n| n == 64) {}
        }
        for (fd, (_, token, interest)) in fds[1..].iter().zip(&entries) {
            let got = fd.revents();
            let both = got.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
            // As epoll does: an error is told even to one who waits for nothing.
            let read = both || (interest.read && got.contains(PollFlags::IN));
            let write = both || (interest.write && got.contains(PollFlags::OUT));
            if read || write {
                ready.push(Ready { token: *token, read, write });
            }
        }
        Ok(())
    }

    fn wake(&self) {
        // It fails only when the pair is full, and then a wake-up is pending.
        let _ = rustix::io::write(&self.waker.1, &[1]);
    }
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
