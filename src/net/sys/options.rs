//! Options of sockets, and the type of sockets that the program has connected.

use std::net::IpAddr;
#[cfg(unix)]
pub use std::os::fd::OwnedFd as OwnedStream;
#[cfg(windows)]
pub use std::os::windows::io::OwnedSocket as OwnedStream;
use std::time::Duration;

use crate::limits::Limits;

/// The options of a socket, in addition to those of every socket of a reactor (TCP_NODELAY,
/// close-on-exec).
///
/// ```
/// use std::time::Duration;
/// use moonwire::{Options, SocketOptions};
///
/// let socket = SocketOptions::new()
///     .keep_alive(Some(Duration::from_secs(45)))
///     .local_address("127.0.0.1".parse()?)
///     .send_buffer(256 * 1024);
/// let options = Options::new("ws://127.0.0.1:8080/")?.socket(socket);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    keep_alive: Option<Option<Duration>>,
    pub(crate) local: Option<IpAddr>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) receive_buffer: Option<usize>,
}

impl SocketOptions {
    /// The defaults of the system.
    pub const fn new() -> SocketOptions {
        SocketOptions { keep_alive: None, local: None, send_buffer: None, receive_buffer: None }
    }

    /// Sends TCP keep-alive probes after a silence of this length (RFC 9293 §3.8.4). They detect a
    /// peer that is gone without a close: after [`Limits::tcp_probes`] probes without an answer,
    /// each [`Limits::tcp_probe_interval`] after the one before. `None`: no probes. Times count as
    /// at least 1 s and at most 32,767 s, and at most 127 probes count, since Linux refuses more.
    /// Windows always sends 10 probes, and OpenBSD has its own times.
    ///
    /// Without this call, a stream without [`StreamOptions::idle`](crate::StreamOptions::idle) has
    /// probes after [`Limits::tcp_keep_alive`], since nothing else would end the wait for a server
    /// that is gone. Other connections have none; a WebSocket has pings
    /// ([`Options::ping_interval`](crate::Options::ping_interval)).
    pub fn keep_alive(mut self, after: Option<Duration>) -> SocketOptions {
        self.keep_alive = Some(after);
        self
    }

    /// The local address to connect from, for example of a network interface. A peer of the other
    /// address family cannot be reached from it.
    pub fn local_address(mut self, address: IpAddr) -> SocketOptions {
        self.local = Some(address);
        self
    }

    /// The size of the kernel's send buffer in bytes; the kernel may use another number. Without
    /// this call the kernel adapts the size.
    pub fn send_buffer(mut self, bytes: usize) -> SocketOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// The size of the kernel's receive buffer in bytes, which also bounds the TCP window.
    pub fn receive_buffer(mut self, bytes: usize) -> SocketOptions {
        self.receive_buffer = Some(bytes);
        self
    }

    /// The probes of a connection: as set, or by the limits if it `waits` without a time limit.
    pub(crate) fn probes(&self, limits: &Limits, waits: bool) -> Option<KeepAlive> {
        let after = self.keep_alive.unwrap_or(waits.then_some(limits.tcp_keep_alive))?;
        // If the system refused a value, no connection could be opened.
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(32_767));
        Some(KeepAlive {
            after: after.clamp(least, most),
            interval: limits.tcp_probe_interval.clamp(least, most),
            probes: limits.tcp_probes.clamp(1, 127),
        })
    }
}

/// The numbers of TCP keep-alive probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// The silence before the first probe.
    pub after: Duration,
    /// The time between two probes.
    pub interval: Duration,
    /// After this many probes without an answer, the connection ends.
    pub probes: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_ever_is_probed_unless_told_otherwise() {
        let limits = Limits::default();
        let after = |options: SocketOptions, waits| options.probes(&limits, waits).map(|p| p.after);
        let (minute, short) = (Duration::from_secs(60), Duration::from_millis(3));
        assert_eq!(after(SocketOptions::new(), true), Some(minute));
        assert_eq!(after(SocketOptions::new(), false), None);
        for waits in [true, false] {
            let set = |time| SocketOptions::new().keep_alive(time);
            assert_eq!(after(set(None), waits), None);
            assert_eq!(after(set(Some(minute * 2)), waits), Some(minute * 2));
            assert_eq!(after(set(Some(short)), waits), Some(Duration::from_secs(1)));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_number_of_the_probes_is_one_that_the_kernel_refuses() {
        for (time, probes) in [(Duration::ZERO, 0), (Duration::MAX, u32::MAX)] {
            let limits = Limits {
                tcp_keep_alive: time,
                tcp_probe_interval: time,
                tcp_probes: probes,
                ..Limits::default()
            };
            let wanted = SocketOptions::new().probes(&limits, true).unwrap();
            let kind = rustix::net::SocketType::STREAM;
            let fd = rustix::net::socket(rustix::net::AddressFamily::INET, kind, None).unwrap();
            crate::net::sys::unix::keep_alive(&fd, wanted).unwrap();
        }
    }
}
