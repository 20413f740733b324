//! The parts that are specific to Unix.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, read};
use rustix::net::{self, AddressFamily, SendFlags, SocketType, ipproto};

use super::KeepAlive;
use crate::proto::Endpoint;

/// Whether poll reports a hang-up to every caller as soon as the peer has ended its side. Linux and
/// FreeBSD report it when both sides have ended, macOS only to callers that wait to read.
pub(super) const HANGS_UP_BY_HALF: bool = false;

/// Whether a read may return an end, although poll has reported an error: then it was a reset. On
/// other systems a read returns the reset itself, and an end before that is a regular one.
pub(super) const HIDES_RESETS: bool = false;

/// Sends without SIGPIPE. macOS has no flag for that; [`prepare`] sets the option there.
#[cfg(not(target_vendor = "apple"))]
pub(super) const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(super) const NO_SIGNAL: SendFlags = SendFlags::empty();

/// Makes a socket non-blocking and close-on-exec, without SIGPIPE.
fn prepare_any(fd: &OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(fd, true)?;
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    net::sockopt::set_socket_nosigpipe(fd, true)?;
    Ok(())
}

/// As [`prepare_any`], and sets TCP_NODELAY.
#[cfg(any(not(target_os = "linux"), feature = "cli"))]
fn prepare(fd: &OwnedFd) -> io::Result<()> {
    prepare_any(fd)?;
    net::sockopt::set_tcp_nodelay(fd, true)?;
    Ok(())
}

/// Prepares a stream of the program.
pub(super) fn adopt(fd: &OwnedFd) -> io::Result<()> {
    if net::sockopt::socket_type(fd)? != SocketType::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a stream socket"));
    }
    prepare_any(fd)?;
    // Fails if the stream is not TCP, which is allowed.
    let _ = net::sockopt::set_tcp_nodelay(fd, true);
    Ok(())
}

/// A connected Unix socket. Connecting does not block: if the server's queue is full, that is an
/// error, since no poller would report when it has room.
pub(super) fn connect_unix(path: &str) -> io::Result<OwnedFd> {
    let fd = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    prepare_any(&fd)?;
    match net::connect(&fd, &net::SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(fd),
        Err(Errno::AGAIN) => {
            Err(io::Error::other("the queue of the server is full; try again later"))
        }
        Err(e) => Err(e.into()),
    }
}

pub(super) fn keep_alive(fd: &OwnedFd, keep_alive: KeepAlive) -> io::Result<()> {
    net::sockopt::set_socket_keepalive(fd, true)?;
    #[cfg(not(target_os = "openbsd"))]
    {
        net::sockopt::set_tcp_keepidle(fd, keep_alive.after)?;
        net::sockopt::set_tcp_keepintvl(fd, keep_alive.interval)?;
        net::sockopt::set_tcp_keepcnt(fd, keep_alive.probes)?;
    }
    // OpenBSD cannot set these numbers.
    #[cfg(target_os = "openbsd")]
    let _ = keep_alive;
    Ok(())
}

/// Converts an address of the system to an endpoint.
pub(super) fn endpoint(any: net::SocketAddrAny) -> Option<Endpoint> {
    if let Ok(address) = SocketAddr::try_from(any.clone()) {
        return Some(Endpoint::Address(address));
    }
    let unix = net::SocketAddrUnix::try_from(any).ok()?;
    let path = unix.path().map(|path| path.to_string_lossy().into_owned());
    Some(Endpoint::Unix(path.unwrap_or_default().into()))
}

/// A TCP socket, non-blocking and close-on-exec, with TCP_NODELAY.
#[cfg(target_os = "linux")]
pub(super) fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    let fd = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    net::sockopt::set_tcp_nodelay(&fd, true)?;
    Ok(fd)
}

/// A TCP socket, prepared by [`prepare`].
#[cfg(not(target_os = "linux"))]
pub(super) fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let fd = net::socket(family, SocketType::STREAM, Some(ipproto::TCP))?;
    prepare(&fd)?;
    Ok(fd)
}

/// Takes the next connection out of the queue.
#[cfg(feature = "cli")]
pub(super) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let fd = net::accept(listener)?;
    prepare(&fd)?;
    Ok(fd)
}

/// How many pieces one call accepts on every system (`_XOPEN_IOV_MAX` of POSIX).
const PIECES: usize = 16;

pub(super) fn write_vectored(fd: &OwnedFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let pieces = &pieces[..pieces.len().min(PIECES)];
    let mut none = net::SendAncillaryBuffer::default();
    Ok(net::sendmsg(fd, pieces, &mut none, NO_SIGNAL)?)
}

/// A pair that wakes a wait: the first is readable once a byte was sent to the second.
pub(super) fn waker() -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, to) = UnixStream::pair()?;
    from.set_nonblocking(true)?;
    to.set_nonblocking(true)?;
    Ok((from.into(), to.into()))
}

/// Reads all bytes that were sent to the waker.
pub(super) fn drain(waker: &OwnedFd) {
    while read(waker, &mut [0; 64]).is_ok_and(|n| n == 64) {}
}

/// Raises the soft limit of open files to the hard one; returns the new limit, if there is one.
#[cfg(feature = "cli")]
pub fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// macOS reports no hard limit, and accepts no more than this (`OPEN_MAX`).
    const MOST: u64 = 10_240;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raise = |to: Option<u64>| setrlimit(Resource::Nofile, Rlimit { current: to, maximum });
    // Some containers refuse this; then the old limit stays.
    if raise(maximum).is_err() && current.is_some_and(|current| current < MOST) {
        let _ = raise(Some(maximum.map_or(MOST, |maximum| maximum.min(MOST))));
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    /// The kernel gets the `tcp_keep_alive`, `tcp_probe_interval` and `tcp_probes` of a connection.
    #[cfg(not(target_os = "openbsd"))]
    #[test]
    fn the_kernel_is_told_every_number_of_the_probes() {
        use std::time::Duration;

        use super::*;
        let fd = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        assert!(!net::sockopt::socket_keepalive(&fd).unwrap());
        let (after, interval) = (Duration::from_secs(45), Duration::from_secs(9));
        keep_alive(&fd, KeepAlive { after, interval, probes: 3 }).unwrap();
        assert!(net::sockopt::socket_keepalive(&fd).unwrap());
        assert_eq!(net::sockopt::tcp_keepidle(&fd).unwrap(), after);
        assert_eq!(net::sockopt::tcp_keepintvl(&fd).unwrap(), interval);
        assert_eq!(net::sockopt::tcp_keepcnt(&fd).unwrap(), 3);
    }
}
