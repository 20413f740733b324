//! The connection that carried a response: plain data, which the code with the socket fills in.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One end of a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// An address and a port.
    Address(SocketAddr),
    /// The path of a Unix socket; empty if the socket has no path.
    Unix(Arc<str>),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Address(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A connection below its protocol: its two ends, TLS, and how long it took to open.
///
/// `Debug` shows the number of certificates instead of the certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transport {
    /// The address to which the socket is connected: of the proxy, if there is one. `None` if the
    /// system does not report it.
    pub peer: Option<Endpoint>,
    /// Our end of the socket.
    pub local: Option<Endpoint>,
    /// The proxy in between, as `scheme://host:port`.
    pub proxy: Option<String>,
    /// TLS with the host of the URL (not with a proxy).
    pub tls: Option<TlsInfo>,
    /// How long each step of opening took.
    pub phases: Phases,
}

/// The result of a TLS handshake.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: String,
    /// The protocol that the server chose (ALPN, RFC 7301), if it chose one.
    pub alpn: Option<Vec<u8>>,
    /// The server's certificate, then the others that it sent, in DER.
    pub certificates: Vec<Vec<u8>>,
}

impl TlsInfo {
    /// The result with this version, protocol and certificates.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(crate) fn new(
        version: String,
        alpn: Option<Vec<u8>>,
        certificates: Vec<Vec<u8>>,
    ) -> TlsInfo {
        TlsInfo { version, alpn, certificates }
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn = self.alpn.as_ref().map(|alpn| String::from_utf8_lossy(alpn));
        f.debug_struct("TlsInfo")
            .field("version", &self.version)
            .field("alpn", &alpn)
            .field("certificates", &self.certificates.len())
            .finish()
    }
}

/// How long each step of opening took; `None` for a step that was not needed. A step ends when the
/// poll loop sees its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Phases {
    /// Resolving the name; `None` if the address was known.
    pub resolve: Option<Duration>,
    /// Connecting the socket, including the wait at the gate (RFC 6455 §4.1).
    pub connect: Option<Duration>,
    /// The exchange with the proxy, including TLS to the proxy.
    pub proxy: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From the request to the head of the response.
    pub handshake: Option<Duration>,
}

impl Phases {
    /// The steps that were measured, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("proxy", self.proxy),
            ("TLS", self.tls),
            ("handshake", self.handshake),
        ];
        all.into_iter().filter_map(|(name, took)| took.map(|took| (name, took)))
    }
}

/// Writes `resolve 1.2 ms, connect 0.3 ms`; nothing if no step was measured.
impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, took)) in self.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{name} {:.1} ms", took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_reported_in_their_order_and_only_those_that_there_were() {
        let mut phases = Phases::default();
        assert_eq!(phases.to_string(), "");
        phases.handshake = Some(Duration::from_micros(1_250));
        phases.connect = Some(Duration::from_millis(20));
        assert_eq!(phases.to_string(), "connect 20.0 ms, handshake 1.2 ms");
    }

    #[test]
    fn certificates_are_not_spelled_out() {
        let tls = TlsInfo::new("TLSv1_3".into(), Some(b"http/1.1".into()), vec![vec![7; 500]]);
        let text = format!("{tls:?}");
        assert_eq!(
            text,
            "TlsInfo { version: \"TLSv1_3\", alpn: Some(\"http/1.1\"), certificates: 1 }"
        );
    }
}
