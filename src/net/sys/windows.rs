//! The parts that are specific to Windows.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::KeepAlive;
use crate::proto::Endpoint;

/// Whether poll reports a hang-up to every caller as soon as the peer has ended its side.
pub(super) const HANGS_UP_BY_HALF: bool = true;

/// Whether a read may return an end, although poll has reported an error: then it was a reset. Wine
/// does so; on Windows, by its documentation, a read returns the reset itself.
pub(super) const HIDES_RESETS: bool = true;

/// Windows has no SIGPIPE.
pub(super) const NO_SIGNAL: SendFlags = SendFlags::empty();

/// Makes a socket non-blocking, and sets TCP_NODELAY.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)
}

/// A TCP socket that child processes do not inherit, unlike those of `rustix`. Also starts Winsock,
/// if nothing has yet.
pub(super) fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let domain = if family == AddressFamily::INET { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    prepare(&socket)?;
    Ok(socket.into())
}

/// Prepares a stream of the program.
pub(super) fn adopt(fd: &OwnedFd) -> io::Result<()> {
    let socket = SockRef::from(fd);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a stream socket"));
    }
    socket.set_nonblocking(true)?;
    // Fails if the stream is not TCP, which is allowed.
    let _ = socket.set_tcp_nodelay(true);
    Ok(())
}

pub(super) fn connect_unix(_path: &str) -> io::Result<OwnedFd> {
    let what = "Unix sockets are not used on Windows";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

/// The number of probes cannot be set: it is 10.
pub(super) fn keep_alive(fd: &OwnedFd, keep_alive: KeepAlive) -> io::Result<()> {
    let how = TcpKeepalive::new().with_time(keep_alive.after).with_interval(keep_alive.interval);
    SockRef::from(fd).set_tcp_keepalive(&how)
}

/// Converts an address of the system to an endpoint.
pub(super) fn endpoint(any: net::SocketAddrAny) -> Option<Endpoint> {
    SocketAddr::try_from(any).ok().map(Endpoint::Address)
}

/// Takes the next connection out of the queue.
#[cfg(feature = "cli")]
pub(super) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let (socket, _) = SockRef::from(listener).accept()?;
    prepare(&socket)?;
    Ok(socket.into())
}

pub(super) fn write_vectored(fd: &OwnedFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(fd).send_vectored(pieces)
}

/// A pair that wakes a wait: the first is readable once a byte was sent to the second. Both are one
/// socket that is connected to itself, so it accepts no other socket's datagrams.
pub(super) fn waker() -> io::Result<(OwnedFd, OwnedFd)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(socket.local_addr()?)?;
    socket.set_nonblocking(true)?;
    let to = socket.try_clone()?;
    Ok((socket.into(), to.into()))
}

/// Reads all bytes that were sent to the waker, one datagram at a time.
pub(super) fn drain(waker: &OwnedFd) {
    while net::recv(waker, &mut [0; 8], RecvFlags::empty()).is_ok() {}
}

/// Windows has no limit of open files to raise.
#[cfg(feature = "cli")]
pub fn raise_open_files() -> Option<u64> {
    None
}
