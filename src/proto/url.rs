//! URLs: `ws` and `wss` (RFC 6455 §3), read strictly and with one normaliser, so that the resolver, the
//! `Host` field and the TLS name always mean the same host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::token::escape;

/// What a URL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// WebSocket over plain TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Scheme {
    /// Whether the connection is encrypted.
    pub fn is_secure(self) -> bool {
        self == Scheme::Wss
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }

    /// The name in front of `://`.
    pub fn as_str(self) -> &'static str {
        if self.is_secure() { "wss" } else { "ws" }
    }
}

/// Whom a URL names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name for the resolver: ASCII, lower case, without a final dot.
    Name(String),
    /// An address; the resolver is not asked.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(v4)) => v4.fmt(f),
            Host::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
        }
    }
}

/// A URL that was read and found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: Scheme,
    host: Host,
    port: u16,
    target: String,
}

/// Why a text is no URL for us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// Neither `ws://` nor `wss://`.
    Scheme,
    /// A space, a control character or something outside ASCII; the offset in bytes.
    Character(usize),
    /// A user name or password before the host.
    UserInfo,
    /// No host, or one that is neither a DNS name nor an address.
    Host(String),
    /// The port is not a number from 1 to 65535.
    Port(String),
    /// A fragment (RFC 6455 §3 forbids it).
    Fragment,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Scheme => f.write_str("the URL has to start with ws:// or wss://"),
            UrlError::Character(at) => write!(
                f,
                "byte {} is a space, a control character or not ASCII; percent-encode it",
                at + 1
            ),
            UrlError::UserInfo => f.write_str(
                "a user name or password in the URL is not sent; set an Authorization header",
            ),
            UrlError::Host(host) if host.is_empty() => f.write_str("the URL names no host"),
            UrlError::Host(host) => {
                write!(f, "\"{host}\" is neither a DNS name nor an address")
            }
            UrlError::Port(port) => write!(f, "port \"{port}\" is not a number from 1 to 65535"),
            UrlError::Fragment => {
                f.write_str("a WebSocket URL has no fragment (#…); percent-encode # as %23")
            }
        }
    }
}

impl std::error::Error for UrlError {}

impl Url {
    /// Reads a URL.
    ///
    /// The scheme is `ws` or `wss` in any case; the host is ASCII and is taken in lower case; a
    /// host whose last label is a number has to be an IPv4 address in four decimal parts (what
    /// `inet_aton` makes of `0x7f.1` is refused). Characters that RFC 3986 keeps out of a path or
    /// query but browsers let through (`"<>\^`{|}`) are percent-encoded on the wire.
    ///
    /// ```
    /// let url = moonwire::proto::Url::parse("wss://Example.COM:8443/chat?room=1")?;
    /// assert_eq!((url.host().to_string().as_str(), url.port()), ("example.com", 8443));
    /// assert_eq!(url.target(), "/chat?room=1");
    /// # Ok::<(), moonwire::proto::UrlError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let (scheme, rest) = scheme(text).ok_or(UrlError::Scheme)?;
        if let Some(at) = text.bytes().position(|b| !b.is_ascii_graphic()) {
            return Err(UrlError::Character(at));
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = split_port(authority);
        let host = parse_host(host)?;
        let port = match port {
            None | Some("") => scheme.default_port(),
            Some(digits) => parse_port(digits)?,
        };
        Ok(Url { text: text.to_owned(), scheme, host, port, target: target(tail) })
    }

    /// The text that was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, given or by the scheme; never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The request target in origin form (RFC 9112 §3.2.1): path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The value of the `Host` field (RFC 9110 §7.2): the port only if it is not the scheme's.
    pub fn host_field(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn scheme(text: &str) -> Option<(Scheme, &str)> {
    let (name, rest) = text.split_once("://")?;
    [Scheme::Ws, Scheme::Wss]
        .into_iter()
        .find(|s| name.eq_ignore_ascii_case(s.as_str()))
        .map(|s| (s, rest))
}

/// The authority as host and, behind the last colon outside brackets, port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let from = authority.rfind(']').map_or(0, |i| i + 1);
    match authority[from..].find(':') {
        Some(i) => (&authority[..from + i], Some(&authority[from + i + 1..])),
        None => (authority, None),
    }
}

fn parse_port(digits: &str) -> Result<u16, UrlError> {
    let bad = || UrlError::Port(escape(digits.as_bytes(), 20));
    if digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    match digits.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(bad()),
    }
}

fn parse_host(host: &str) -> Result<Host, UrlError> {
    let bad = || UrlError::Host(escape(host.as_bytes(), 100));
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(bad)?;
        let v6: Ipv6Addr = inner.parse().map_err(|_| bad())?;
        return Ok(Host::Address(IpAddr::V6(v6)));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if is_number(name.rsplit('.').next().unwrap_or_default()) {
        // WHATWG URL §3.5: a host that ends in a number is an IPv4 address or nothing.
        let v4: Ipv4Addr = name.parse().map_err(|_| bad())?;
        return Ok(Host::Address(IpAddr::V4(v4)));
    }
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(bad());
    }
    Ok(Host::Name(name))
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x");
    (!label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()))
        || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Path and query with a leading slash, the characters outside RFC 3986 encoded.
fn target(tail: &str) -> String {
    let mut target = String::with_capacity(tail.len() + 1);
    if !tail.starts_with('/') {
        target.push('/');
    }
    for c in tail.chars() {
        if matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}') {
            target.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            target.push(c);
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_and_what_they_mean() {
        for (text, host, port, target, field) in [
            ("ws://a", "a", 80, "/", "a"),
            ("WSS://A.Example/", "a.example", 443, "/", "a.example"),
            ("ws://a:443", "a", 443, "/", "a:443"),
            ("wss://a:443/x", "a", 443, "/x", "a"),
            ("ws://a:/x", "a", 80, "/x", "a"),
            ("ws://a?q=/x", "a", 80, "/?q=/x", "a"),
            ("ws://a./p", "a", 80, "/p", "a"),
            ("ws://127.0.0.1:65535/", "127.0.0.1", 65535, "/", "127.0.0.1:65535"),
            ("ws://[::1]:8080/", "[::1]", 8080, "/", "[::1]:8080"),
            ("ws://[::1]", "[::1]", 80, "/", "[::1]"),
            ("ws://a_b-c.d/", "a_b-c.d", 80, "/", "a_b-c.d"),
            ("ws://a/%zz/../b//c", "a", 80, "/%zz/../b//c", "a"),
            ("ws://a/?j={\"k\":1|2}", "a", 80, "/?j=%7B%22k%22:1%7C2%7D", "a"),
            ("ws://a/p@q:1", "a", 80, "/p@q:1", "a"),
        ] {
            let url = Url::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.host().to_string(), host, "{text}");
            assert_eq!((url.port(), url.target()), (port, target), "{text}");
            assert_eq!(url.host_field(), field, "{text}");
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn bad_urls_and_why() {
        let host = |h: &str| UrlError::Host(h.into());
        let port = |p: &str| UrlError::Port(p.into());
        for (text, want) in [
            ("", UrlError::Scheme),
            ("example.com", UrlError::Scheme),
            ("http://a", UrlError::Scheme),
            (" ws://a", UrlError::Scheme),
            ("ws:/a", UrlError::Scheme),
            ("ws://", host("")),
            ("ws:///x", host("")),
            ("ws://:80/", host("")),
            ("ws://a b/", UrlError::Character(6)),
            ("ws://a/x y", UrlError::Character(8)),
            ("ws://a/\r\nX: y", UrlError::Character(7)),
            ("ws://a/\0", UrlError::Character(7)),
            ("ws://a/\x7f", UrlError::Character(7)),
            ("ws://a。b/", UrlError::Character(6)),
            ("ws://a/\u{10A}", UrlError::Character(7)),
            ("ws://a/\u{560A}", UrlError::Character(7)),
            ("ws://u@a/", UrlError::UserInfo),
            ("ws://u:p@a/", UrlError::UserInfo),
            ("ws://a/#f", UrlError::Fragment),
            ("ws://a#", UrlError::Fragment),
            ("ws://a:0/", port("0")),
            ("ws://a:65536/", port("65536")),
            ("ws://a:+80/", port("+80")),
            ("ws://a:8080x/", port("8080x")),
            ("ws://a:000080/", port("000080")),
            ("ws://a:1:2/", port("1:2")),
            ("ws://::1/", host("")),
            ("ws://[::1/", host("[::1/").clone()),
            ("ws://[::1%25eth0]/", host("[::1%25eth0]")),
            ("ws://[v1.x]/", host("[v1.x]")),
            ("ws://[::1]x/", host("[::1]x")),
            ("ws://a..b/", host("a..b")),
            ("ws://a%41/", host("a%41")),
            ("ws://a\\b/", host("a\\\\b")),
            ("ws://0x7f.1/", host("0x7f.1")),
            ("ws://127.1/", host("127.1")),
            ("ws://017700000001/", host("017700000001")),
            ("ws://1.2.3.4.5/", host("1.2.3.4.5")),
            ("ws://127.0.0.01/", host("127.0.0.01")),
            ("ws://256.1.1.1/", host("256.1.1.1")),
            ("ws://a.0x/", host("a.0x")),
        ] {
            let got = Url::parse(text).expect_err(text);
            match (&got, &want) {
                // The unfinished bracket takes the path with it; only the kind matters.
                (UrlError::Host(_), UrlError::Host(h)) if h.ends_with('/') => {}
                _ => assert_eq!(got, want, "{text}"),
            }
            assert!(got.to_string().bytes().all(|b| !b.is_ascii_control()), "{text}");
        }
    }
}
