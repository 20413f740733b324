//! What a socket is made with, and one that others have made.

use std::net::IpAddr;
#[cfg(unix)]
pub use std::os::fd::OwnedFd as OwnedStream;
#[cfg(windows)]
pub use std::os::windows::io::OwnedSocket as OwnedStream;
use std::time::Duration;

use crate::limits::Limits;

/// What a socket is made with, besides what every socket of a reactor has (no delay of small
/// segments, no inheritance by child processes).
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
    /// As the system makes them.
    pub const fn new() -> SocketOptions {
        SocketOptions { keep_alive: None, local: None, send_buffer: None, receive_buffer: None }
    }

    /// Probes of TCP after so long a silence (RFC 9293 §3.8.4): a peer that is gone without a word is
    /// found after [`Limits::tcp_probes`] of them, each [`Limits::tcp_probe_interval`] after the one
    /// before. `None`: none. Less than a second counts as one; more than 32,767 s, and more than 127
    /// probes, which Linux refuses, as that.
    ///
    /// Where it is not set, a stream without [`StreamOptions::idle`](crate::StreamOptions::idle) has
    /// them after [`Limits::tcp_keep_alive`], since nothing else would end the wait for such a server;
    /// all else has none. A WebSocket has pings ([`Options::ping_interval`](crate::Options::ping_interval)).
    pub fn keep_alive(mut self, after: Option<Duration>) -> SocketOptions {
        self.keep_alive = Some(after);
        self
    }

    /// The own address to connect from: that of a network interface, say. A peer of the other family
    /// cannot be reached from it.
    pub fn local_address(mut self, address: IpAddr) -> SocketOptions {
        self.local = Some(address);
        self
    }

    /// Bytes of the kernel's buffer for what is sent; the kernel may take another number. Without it
    /// the kernel sizes the buffer as it goes.
    pub fn send_buffer(mut self, bytes: usize) -> SocketOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// The same for what is received. It also bounds the window that the peer is offered.
    pub fn receive_buffer(mut self, bytes: usize) -> SocketOptions {
        self.receive_buffer = Some(bytes);
        self
    }

    /// The probes that a connection has, by itself unless `waits` for ever.
    pub(crate) fn probes(&self, limits: &Limits, waits: bool) -> Option<KeepAlive> {
        let after = self.keep_alive.unwrap_or(waits.then_some(limits.tcp_keep_alive))?;
        // What a system refuses would keep every connection from being opened.
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(32_767));
        Some(KeepAlive {
            after: after.clamp(least, most),
            interval: limits.tcp_probe_interval.clamp(least, most),
            probes: limits.tcp_probes.clamp(1, 127),
        })
    }
}

/// Probes of TCP, with all their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepAlive {
    /// The silence before the first.
    pub after: Duration,
    /// Between two of them.
    pub interval: Duration,
    /// So many without an answer end the connection.
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
