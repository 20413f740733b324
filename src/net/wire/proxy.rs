//! The messages to and from a proxy until it has opened a tunnel: bytes in, bytes out. `CONNECT`
//! (RFC 9110 §9.3.6) and SOCKS 5 (RFC 1928, RFC 1929).
//!
//! ```text
//! Connect           response 2xx → Open; any other → Refused, and with its body an error
//! Socks(Greeting)   the proxy chose: no login → Socks(Request), password → Socks(Login)
//! Socks(Login)      the proxy accepts the password → Socks(Request)
//! Socks(Request)    the proxy has connected → Open
//! ```

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::ProxyError;
use crate::limits::Limits;
use crate::net::ask::{Credentials, Proxy, ProxyScheme};
use crate::proto::head::{Head, HeadParser};
use crate::proto::headers::PROXY_AUTHORIZATION;
use crate::proto::http::body::Body;
use crate::proto::http::refusal::Refusal;
use crate::proto::http::{HttpError, Response};
use crate::proto::secret::{Guarded, SECRET, hide};
use crate::proto::{Host, Url};

/// The destination to which a proxy has to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A name, which the proxy resolves.
    Name(String, u16),
    Address(SocketAddr),
}

impl Target {
    /// The host and port of `url`.
    pub(crate) fn of(url: &Url) -> Target {
        match url.host() {
            Host::Address(ip) => Target::Address(SocketAddr::new(*ip, url.port())),
            host => Target::Name(host.peer_name().into_owned(), url.port()),
        }
    }

    /// The target as `CONNECT` writes it (RFC 9112 §3.2.3).
    pub(crate) fn authority(&self) -> String {
        match self {
            Target::Name(name, port) => format!("{name}:{port}"),
            Target::Address(address) => address.to_string(),
        }
    }
}

/// The state of asking a proxy for a tunnel.
pub(crate) struct Tunnel {
    proxy: Proxy,
    target: Target,
    limits: Arc<Limits>,
    /// If the URL is secret, so is the target.
    url: Url,
    state: State,
    out: Vec<u8>,
    /// How many bytes of `out` were sent.
    at: usize,
}

enum State {
    Connect {
        parser: HeadParser,
        interim: u32,
    },
    /// The response opens no tunnel; its body is being read.
    Refused(Box<Refusal>),
    Socks(Awaited),
    Open,
}

/// Which message the awaited SOCKS reply answers.
#[derive(Clone, Copy)]
enum Awaited {
    Greeting,
    Login,
    Request,
}

impl Tunnel {
    /// Asks `proxy` for a tunnel to `target`, for a connection to `url`.
    pub(crate) fn new(proxy: Proxy, target: Target, url: Url, limits: Arc<Limits>) -> Tunnel {
        let (state, out) = match proxy.scheme() {
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => {
                let methods: &[u8] = match proxy.credentials() {
                    None => &[NO_AUTHENTICATION],
                    Some(_) => &[NO_AUTHENTICATION, USER_AND_PASSWORD],
                };
                (State::Socks(Awaited::Greeting), [&[SOCKS, methods.len() as u8], methods].concat())
            }
            _ => {
                let state = State::Connect { parser: HeadParser::default(), interim: 0 };
                (state, connect(&proxy, &target, false))
            }
        };
        Tunnel { proxy, target, limits, url, state, out, at: 0 }
    }

    /// For a request that the proxy handles itself: no tunnel is needed.
    pub(crate) fn without(proxy: Proxy, url: Url, limits: Arc<Limits>) -> Tunnel {
        let target = Target::of(&url);
        Tunnel { proxy, target, limits, url, state: State::Open, out: Vec::new(), at: 0 }
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Whether the tunnel is open, and all bytes for the proxy were sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open) && self.outgoing().is_empty()
    }

    /// The bytes to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.out[self.at..]
    }

    /// Records that `n` of these bytes were sent.
    pub(crate) fn sent(&mut self, n: usize) {
        self.at = (self.at + n).min(self.out.len());
    }

    /// The request to an HTTP proxy, as a trace may show it.
    pub(crate) fn shown(&self) -> Option<Vec<u8>> {
        match self.state {
            State::Connect { .. } if self.url.is_secret() => {
                let hidden = Target::Name(SECRET.to_owned(), 0);
                Some(connect(&self.proxy, &hidden, true))
            }
            State::Connect { .. } => Some(connect(&self.proxy, &self.target, true)),
            _ => None,
        }
    }

    /// When a response that opens no tunnel counts as complete.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Refused(refusal) => refusal.deadline,
            _ => None,
        }
    }

    /// Takes bytes of the proxy; returns how many. The caller passes the rest again, with the next
    /// bytes behind it.
    ///
    /// # Errors
    ///
    /// Why the proxy opens no tunnel.
    pub(crate) fn receive(&mut self, now: Instant, input: &[u8]) -> Result<usize, ProxyError> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let step = match &mut self.state {
                State::Connect { .. } => self.answer(now, rest)?,
                State::Refused(refusal) => match refusal.receive(rest, &self.limits) {
                    (_, true) => return Err(self.refused()),
                    (taken, false) => (taken > 0).then_some(taken),
                },
                // The client has sent the server nothing yet, so the server cannot have answered.
                State::Open if !rest.is_empty() => return Err(ProxyError::Early),
                State::Open => None,
                State::Socks(awaited) => {
                    let awaited = *awaited;
                    self.reply(awaited, rest)?
                }
            };
            let Some(step) = step else { return Ok(used) };
            used += step;
        }
    }

    /// The error if the proxy has ended the connection, or the time for the body of its response
    /// has passed.
    pub(crate) fn end(&mut self) -> ProxyError {
        match self.state {
            State::Refused(_) => self.refused(),
            _ => ProxyError::Eof,
        }
    }

    /// Parses the head of the response to `CONNECT`.
    fn answer(&mut self, now: Instant, input: &[u8]) -> Result<Option<usize>, ProxyError> {
        let State::Connect { parser, interim } = &mut self.state else { return Ok(None) };
        let (used, head) = match parser.feed(input, &self.limits) {
            Ok(fed) => fed,
            Err(mut e) => {
                // A server that is no proxy may repeat the request, and the error shows a part of
                // what it sent.
                hide(e.text(), |_| self.has_secrets());
                return Err(ProxyError::Head(e));
            }
        };
        match head {
            None => return Ok((used > 0).then_some(used)),
            // RFC 9110 §9.3.6: there is no body, whatever the fields contain.
            Some(head) if matches!(head.status, 200..=299) => self.state = State::Open,
            Some(head) if matches!(head.status, 100 | 102..=199) => {
                *interim += 1;
                if *interim > self.limits.interim {
                    return Err(ProxyError::ManyInterim);
                }
            }
            Some(head) => self.refuse(now, head),
        }
        Ok(Some(used))
    }

    /// Begins to read the body of a response that opens no tunnel; it may state the reason.
    fn refuse(&mut self, now: Instant, head: Head) {
        let body: Result<Body, HttpError> = Body::of("CONNECT", &head);
        let body = body.map(|body| (body, None));
        let response = Response::of(head, self.proxy.url().clone(), |bytes| self.is_secret(bytes));
        let refusal = Refusal::new(response, body, &self.limits, now, None);
        self.state = State::Refused(Box::new(refusal));
    }

    fn refused(&mut self) -> ProxyError {
        match mem::replace(&mut self.state, State::Open) {
            State::Refused(refusal) => {
                let response = refusal.finish(|bytes| self.is_secret(bytes));
                let known = self.proxy.credentials().is_some()
                    || self.proxy.headers().has(PROXY_AUTHORIZATION);
                ProxyError::Status { response, known }
            }
            _ => ProxyError::Eof,
        }
    }

    /// Whether the proxy was sent a secret.
    fn has_secrets(&self) -> bool {
        let proxy = &self.proxy;
        self.url.is_secret() || proxy.credentials().is_some() || proxy.headers().have_secrets()
    }

    /// Whether bytes of the proxy repeat a secret.
    fn is_secret(&self, bytes: &[u8]) -> bool {
        self.url.is_repeated_in(bytes)
            || self.proxy.headers().are_repeated_in(bytes)
            || secrets(&self.proxy).iter().any(|secret| secret.is_repeated_in(bytes))
    }

    /// Handles a SOCKS reply once all of it has come; returns its length.
    fn reply(&mut self, to: Awaited, input: &[u8]) -> Result<Option<usize>, ProxyError> {
        match (to, input) {
            (Awaited::Greeting | Awaited::Request, [version, ..]) if *version != SOCKS => {
                Err(ProxyError::NotSocks(*version))
            }
            (Awaited::Greeting, [_, NO_AUTHENTICATION, ..]) => Ok(Some(self.request())),
            (Awaited::Greeting, [_, USER_AND_PASSWORD, ..]) if self.login() => Ok(Some(2)),
            (Awaited::Greeting, [_, method, ..]) => Err(ProxyError::Method(*method)),
            // RFC 1929 §2 demands version 1. Other values occur, with the same meaning.
            (Awaited::Login, [_, 0, ..]) => Ok(Some(self.request())),
            (Awaited::Login, [_, _, ..]) => Err(ProxyError::Login),
            (Awaited::Request, [_, 0, _, kind, rest @ ..]) => {
                let address = match (*kind, rest) {
                    (IPV4, _) => 4,
                    (IPV6, _) => 16,
                    (NAME, [len, ..]) => 1 + usize::from(*len),
                    (NAME, []) => return Ok(None),
                    (other, _) => return Err(ProxyError::AddressType(other)),
                };
                let len = 4 + address + 2;
                if input.len() < len {
                    return Ok(None);
                }
                self.state = State::Open;
                Ok(Some(len))
            }
            (Awaited::Request, [_, code, ..]) if *code != 0 => Err(ProxyError::Socks(*code)),
            _ => Ok(None),
        }
    }

    /// Sends our credentials, if there are any for this proxy.
    fn login(&mut self) -> bool {
        let Some(who) = self.proxy.credentials() else { return false };
        let (user, password) = (who.user.sent().as_bytes(), who.password.sent().as_bytes());
        // `Proxy::parse` has checked that each length fits in a byte.
        let length = |part: &[u8]| u8::try_from(part.len()).unwrap_or(u8::MAX);
        let mut out = vec![LOGIN, length(user)];
        out.extend_from_slice(user);
        out.push(length(password));
        out.extend_from_slice(password);
        self.queue(&out);
        self.state = State::Socks(Awaited::Login);
        true
    }

    /// Asks the proxy to connect; returns the length of the reply before.
    fn request(&mut self) -> usize {
        let mut out = vec![SOCKS, CONNECT, 0];
        let port = match &self.target {
            Target::Address(SocketAddr::V4(to)) => {
                out.push(IPV4);
                out.extend_from_slice(&to.ip().octets());
                to.port()
            }
            Target::Address(SocketAddr::V6(to)) => {
                out.push(IPV6);
                out.extend_from_slice(&to.ip().octets());
                to.port()
            }
            Target::Name(name, port) => {
                // A host has at most 253 bytes (`proto::Url`).
                let name = &name.as_bytes()[..name.len().min(255)];
                out.extend_from_slice(&[NAME, name.len() as u8]);
                out.extend_from_slice(name);
                *port
            }
        };
        out.extend_from_slice(&port.to_be_bytes());
        self.queue(&out);
        self.state = State::Socks(Awaited::Request);
        2
    }

    /// Appends to unsent bytes, since a proxy may reply before it has read all of them.
    fn queue(&mut self, bytes: &[u8]) {
        self.out.drain(..self.at);
        self.at = 0;
        self.out.extend_from_slice(bytes);
    }
}

/// RFC 1928 §3 to §5.
const SOCKS: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// RFC 1929 §2.
const LOGIN: u8 = 1;

/// A request for a tunnel to `target`; if it is to be `shown`, secrets are masked.
fn connect(proxy: &Proxy, target: &Target, shown: bool) -> Vec<u8> {
    let authority = match target {
        Target::Name(name, 0) => name.clone(),
        target => target.authority(),
    };
    let mut out = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    write_authorization(proxy, &mut out, shown);
    proxy.headers().write(&mut out, shown);
    out
}

/// Writes the field with our credentials, unless the program has set one.
pub(crate) fn write_authorization(proxy: &Proxy, out: &mut Vec<u8>, shown: bool) {
    if let Some(who) = proxy.credentials()
        && !proxy.headers().has(PROXY_AUTHORIZATION)
    {
        let value = if shown { SECRET.to_owned() } else { format!("Basic {}", basic(who)) };
        out.extend_from_slice(format!("Proxy-Authorization: {value}\r\n").as_bytes());
    }
}

/// User name and password, in each form in which they are sent to a proxy.
pub(crate) fn secrets(proxy: &Proxy) -> Vec<Guarded> {
    let of = |who: &Credentials| {
        vec![who.user.clone(), who.password.clone(), Guarded::new(&basic(who), true)]
    };
    proxy.credentials().map(of).unwrap_or_default()
}

/// User name and password in the form of RFC 7617 §2.
fn basic(who: &Credentials) -> String {
    BASE64.encode(format!("{}:{}", who.user.sent(), who.password.sent()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::HeadError;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn tunnel(proxy: &str, to: &str) -> Tunnel {
        let url = url(to);
        Tunnel::new(Proxy::parse(proxy).unwrap(), Target::of(&url), url, Arc::default())
    }

    /// All bytes to be written; they then count as sent.
    fn take_output(tunnel: &mut Tunnel) -> Vec<u8> {
        let output = tunnel.outgoing().to_vec();
        tunnel.sent(output.len());
        output
    }

    /// Plays `steps`, each with the client's bytes and the proxy's answer, whole and byte by byte.
    /// Returns the end, and whether bytes of the last answer were left.
    fn play(make: impl Fn() -> Tunnel, steps: &[(&[u8], &[u8])]) -> Result<bool, ProxyError> {
        let run = |size: usize| {
            let mut tunnel = make();
            for (ours, theirs) in steps {
                assert_eq!(
                    take_output(&mut tunnel).escape_ascii().to_string(),
                    ours.escape_ascii().to_string()
                );
                let (mut kept, now) = (Vec::new(), Instant::now());
                for piece in theirs.chunks(size) {
                    kept.extend_from_slice(piece);
                    let used = tunnel.receive(now, &kept).map_err(|e| match e {
                        // The error shows the bytes that have come, so their number depends on the
                        // cuts.
                        ProxyError::Head(HeadError::NotHttp(_)) => {
                            ProxyError::Head(HeadError::NotHttp(String::new()))
                        }
                        e => e,
                    })?;
                    kept.drain(..used);
                }
            }
            Ok(tunnel.is_open())
        };
        let whole = run(usize::MAX);
        let (a, b) = (format!("{whole:?}"), format!("{:?}", run(1)));
        assert_eq!(a, b, "byte by byte");
        whole
    }

    const AGENT: &str = concat!("User-Agent: moonwire/", env!("CARGO_PKG_VERSION"), "\r\n\r\n");

    fn asks(authority: &str, fields: &str) -> Vec<u8> {
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}");
        [head.as_bytes(), AGENT.as_bytes()].concat()
    }

    /// RFC 9110 §9.3.6, RFC 9112 §3.2.3.
    #[test]
    fn connect_names_host_and_port_and_any_2xx_opens_the_way() {
        for (to, authority) in [
            ("wss://Echo.Example./x?y", "echo.example:443"),
            ("ws://echo.example/", "echo.example:80"),
            ("ws://[::1]:81/", "[::1]:81"),
            ("ws://127.0.0.1:81/", "127.0.0.1:81"),
        ] {
            for answer in [
                "HTTP/1.1 200 OK\r\n\r\n",
                "HTTP/1.0 200 Connection established\r\n\r\n",
                "HTTP/1.1 299 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            ] {
                let steps = [(&asks(authority, "")[..], answer.as_bytes())];
                assert!(play(|| tunnel("http://proxy", to), &steps).unwrap(), "{answer}");
            }
        }
    }

    /// FAULTS 46.
    #[test]
    fn credentials_are_sent_and_not_shown() {
        let make = || tunnel("http://user:pass%20word@proxy", "wss://a/");
        let field = "Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n";
        let steps = [(&asks("a:443", field)[..], &b"HTTP/1.1 200 OK\r\n\r\n"[..])];
        assert!(play(make, &steps).unwrap());
        let shown = String::from_utf8(make().shown().unwrap()).unwrap();
        assert!(shown.contains("Proxy-Authorization: ***\r\n"), "{shown}");
        let own = Proxy::parse("http://user:password@proxy").unwrap();
        let own = own.header("proxy-authorization", "Bearer abcdef").unwrap();
        let make = || {
            Tunnel::new(own.clone(), Target::of(&url("wss://a/")), url("wss://a/"), Arc::default())
        };
        let text = String::from_utf8(take_output(&mut make())).unwrap();
        assert!(text.contains("proxy-authorization: Bearer abcdef\r\n") && !text.contains("Basic"));
        assert!(!String::from_utf8(make().shown().unwrap()).unwrap().contains("abcdef"));
        let secret = || {
            let url = url("wss://hidden.example/").into_secret();
            Tunnel::new(own.clone(), Target::of(&url), url, Arc::default())
        };
        let text = String::from_utf8(secret().shown().unwrap()).unwrap();
        assert!(text.starts_with("CONNECT *** HTTP/1.1\r\nHost: ***\r\n"), "{text}");
    }

    /// FAULTS 46: an echo server sends the request back.
    #[test]
    fn an_error_that_shows_what_came_shows_no_secret() {
        let secret = url("wss://hidden.example/").into_secret();
        for (proxy, to, repeated) in [
            ("http://proxy", secret, "CONNECT hidden.example:443 HTTP/1.1\r\n"),
            ("http://u:hidden@proxy", url("wss://a/"), "HTTP/1.1 hidden\r\n"),
            ("http://hidden:p@proxy", url("wss://a/"), "HTTP/1.1 200 OK\r\nhidden\r\n"),
            ("http://user:word@proxy", url("wss://a/"), "Basic dXNlcjp3b3Jk\r\n"),
        ] {
            let proxy = Proxy::parse(proxy).unwrap();
            let mut tunnel = Tunnel::new(proxy, Target::of(&to), to, Arc::default());
            take_output(&mut tunnel);
            let error = tunnel.receive(Instant::now(), repeated.as_bytes()).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("***"), "{text}");
            assert!(!text.contains("hidden") && !text.contains("dXNlcj"), "{text}");
        }
    }

    /// A proxy that replies before it has read everything still gets everything.
    #[test]
    fn an_early_reply_of_socks_loses_nothing_of_what_was_said_before() {
        let mut tunnel = tunnel("socks5h://user:secret@proxy", "ws://a/");
        tunnel.sent(1);
        let replies = b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0";
        assert_eq!(tunnel.receive(Instant::now(), replies).unwrap(), replies.len());
        assert!(!tunnel.is_open());
        let all = b"\x02\0\x02\x01\x04user\x06secret\x05\x01\0\x03\x01a\0P";
        assert_eq!(
            take_output(&mut tunnel).escape_ascii().to_string(),
            all.escape_ascii().to_string()
        );
        assert!(tunnel.is_open());
    }

    #[test]
    fn another_answer_opens_no_way_and_is_kept() {
        for (answer, status, body) in [
            ("HTTP/1.1 407 Auth\r\nContent-Length: 5\r\n\r\nhello", 407, "hello"),
            (
                "HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
                502,
                "hi",
            ),
            ("HTTP/1.1 101 Odd\r\nContent-Length: 0\r\n\r\n", 101, ""),
            ("HTTP/1.1 302 Found\r\nLocation: http://b/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ] {
            let steps = [(&asks("a:443", "")[..], answer.as_bytes())];
            match play(|| tunnel("http://proxy", "wss://a/"), &steps) {
                Err(ProxyError::Status { response, known: false }) => {
                    assert_eq!((response.status, &response.body[..]), (status, body.as_bytes()));
                    assert_eq!(response.url.as_str(), "http://proxy:80/");
                }
                other => panic!("{answer}: {other:?}"),
            }
        }
        // The response ends with the connection, or at its time limit.
        let mut open = tunnel("http://u:p@proxy", "wss://a/");
        take_output(&mut open);
        let now = Instant::now();
        assert_eq!(open.receive(now, b"HTTP/1.1 407 A\r\n\r\nsome").unwrap(), 22);
        assert!(open.deadline().is_some_and(|at| at > now));
        let end = open.end();
        let ProxyError::Status { response, known: true } = end else { panic!("{end:?}") };
        assert_eq!(response.body, b"some");
    }

    #[test]
    fn bytes_behind_the_answer_come_from_nobody_who_was_asked() {
        let steps = [(&asks("a:443", "")[..], &b"HTTP/1.1 200 OK\r\n\r\nx"[..])];
        let end = play(|| tunnel("http://proxy", "wss://a/"), &steps);
        assert!(matches!(end, Err(ProxyError::Early)), "{end:?}");
        let steps = [
            (&b"\x05\x01\0"[..], &b"\x05\0"[..]),
            (&b"\x05\x01\0\x03\x01a\x01\xbb"[..], &b"\x05\0\0\x01\0\0\0\0\0\0x"[..]),
        ];
        let end = play(|| tunnel("socks5h://proxy", "wss://a/"), &steps);
        assert!(matches!(end, Err(ProxyError::Early)), "{end:?}");
    }

    #[test]
    fn what_is_no_http_ends_it_and_so_do_the_limits() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000));
        let interim = "HTTP/1.1 103 Early\r\n\r\n".repeat(17);
        for answer in ["SSH-2.0-x\r\n", "\x05\x00", &many, &interim] {
            let steps = [(&asks("a:443", "")[..], answer.as_bytes())];
            let end = play(|| tunnel("http://proxy", "wss://a/"), &steps);
            assert!(matches!(end, Err(ProxyError::Head(_) | ProxyError::ManyInterim)), "{end:?}");
        }
        let mut cut = tunnel("http://proxy", "wss://a/");
        assert!(matches!(cut.end(), ProxyError::Eof));
    }

    /// What a trace and an error show of a request to a proxy, and of an answer that is no HTTP.
    #[test]
    fn only_a_secret_is_hidden() {
        let shown = |tunnel: &Tunnel| String::from_utf8(tunnel.shown().unwrap()).unwrap();
        let mut open = tunnel("http://proxy", "wss://a/");
        assert!(shown(&open).starts_with("CONNECT a:443 "), "{}", shown(&open));
        let error = open.receive(Instant::now(), b"SSH-2.0-a\r\n").unwrap_err().to_string();
        assert!(error.contains("SSH-2.0"), "{error}");
        let to = url("wss://a/").into_secret();
        let proxy = Proxy::parse("http://proxy").unwrap();
        let mut secret = Tunnel::new(proxy, Target::of(&to), to, Arc::default());
        assert!(shown(&secret).starts_with("CONNECT *** "), "{}", shown(&secret));
        let error = secret.receive(Instant::now(), b"SSH-2.0-a\r\n").unwrap_err().to_string();
        assert!(!error.contains("SSH-2.0"), "{error}");
    }

    /// RFC 1928 §3 to §6; FAULTS 47.
    #[test]
    fn socks_gets_a_name_or_an_address() {
        let name = "a".repeat(63);
        let long = format!("{name}.{name}.{name}.{}", "a".repeat(61));
        let mut to_long = vec![5, 1, 0, 3, 253];
        to_long.extend_from_slice(long.as_bytes());
        to_long.extend_from_slice(&[0, 81]);
        for (to, request) in [
            ("wss://echo.example/", &b"\x05\x01\0\x03\x0cecho.example\x01\xbb"[..]),
            ("ws://127.0.0.1:81/", b"\x05\x01\0\x01\x7f\0\0\x01\0Q"),
            ("ws://[::1]:81/", b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0Q"),
            (&format!("ws://{long}:81/"), &to_long),
        ] {
            for reply in [
                &b"\x05\0\0\x01\x7f\0\0\x01\0P"[..],
                b"\x05\0\0\x03\0\0P",
                b"\x05\0\0\x03\x03abc\0P",
                b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0P",
            ] {
                let steps = [(&b"\x05\x01\0"[..], &b"\x05\0"[..]), (request, reply)];
                assert!(play(|| tunnel("socks5h://proxy", to), &steps).unwrap(), "{to}");
            }
        }
    }

    /// RFC 1929.
    #[test]
    fn socks_gets_user_and_password_only_if_it_asks() {
        let make = || tunnel("socks5h://user:secret@proxy", "ws://a/");
        let (greeting, login) = (&b"\x05\x02\0\x02"[..], &b"\x01\x04user\x06secret"[..]);
        let (request, reply) = (&b"\x05\x01\0\x03\x01a\0P"[..], &b"\x05\0\0\x01\0\0\0\0\0\0"[..]);
        assert!(
            play(make, &[(greeting, b"\x05\x02"), (login, b"\x01\0"), (request, reply)]).unwrap()
        );
        assert!(
            play(make, &[(greeting, b"\x05\x02"), (login, b"\x05\0"), (request, reply)]).unwrap()
        );
        assert!(play(make, &[(greeting, b"\x05\0"), (request, reply)]).unwrap());
        let end = play(make, &[(greeting, b"\x05\x02"), (login, b"\x01\x01")]);
        assert!(matches!(end, Err(ProxyError::Login)), "{end:?}");
        // A proxy that asks for a password that was not offered, and one that accepts no method.
        let make = || tunnel("socks5h://proxy", "ws://a/");
        for method in [2, 1, 0xFF] {
            let end = play(make, &[(b"\x05\x01\0", &[5, method])]);
            assert!(matches!(end, Err(ProxyError::Method(m)) if m == method), "{end:?}");
        }
    }

    #[test]
    fn every_error_of_socks_is_reported_at_its_byte() {
        let request = &b"\x05\x01\0\x03\x01a\0P"[..];
        for code in 1..=255 {
            let steps = [(&b"\x05\x01\0"[..], &b"\x05\0"[..]), (request, &[5, code])];
            let end = play(|| tunnel("socks5h://proxy", "ws://a/"), &steps);
            assert!(matches!(end, Err(ProxyError::Socks(c)) if c == code), "{end:?}");
        }
        for (reply, at) in [(&b"\x04\0"[..], 0), (b"HTTP/1.1 400 Bad", 0), (b"\x05\0\0\x02", 1)] {
            let steps = [(&b"\x05\x01\0"[..], &b"\x05\0"[..]), (request, reply)];
            let end = play(|| tunnel("socks5h://proxy", "ws://a/"), &steps);
            let (not, kind) = (
                matches!(end, Err(ProxyError::NotSocks(_))),
                matches!(end, Err(ProxyError::AddressType(2))),
            );
            assert!(if at == 0 { not } else { kind }, "{end:?}");
        }
        let end =
            play(|| tunnel("socks5h://proxy", "ws://a/"), &[(b"\x05\x01\0", b"HTTP/1.0 400")]);
        assert!(matches!(end, Err(ProxyError::NotSocks(b'H'))), "{end:?}");
    }
}
