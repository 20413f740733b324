//! The opening handshake, client side (RFC 6455 §4.1): a request that nothing can be injected
//! into, and every check of the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::limits::Limits;
use crate::proto::buf::SendBuf;
use crate::proto::head::{Fields, Head, HeadError, HeadParser};
#[cfg(feature = "net")]
use crate::proto::headers::SECRET;
use crate::proto::headers::{Headers, PROTOCOL, RequestError, write_start};
use crate::proto::token::{escape, is_token, list, trim};
use crate::proto::url::Url;

/// What a connection asks for: URL, header fields, subprotocols.
#[derive(Clone, Debug)]
pub struct Request {
    url: Url,
    headers: Headers,
    protocols: Vec<String>,
    secret_url: bool,
}

impl Request {
    /// A request for `url` without further fields.
    pub fn new(url: Url) -> Request {
        Request { url, headers: Headers::default(), protocols: Vec::new(), secret_url: false }
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Adds a header field. The value is sent as its UTF-8 bytes.
    ///
    /// Refused: a name that is no token, a value with control characters, and the fields that
    /// belong to the client (`Host`, `Upgrade`, `Connection`, `Sec-WebSocket-*`, those that frame
    /// a message). Subprotocols go through [`Request::protocol`].
    pub fn header(&mut self, name: &str, value: &str) -> Result<&mut Request, RequestError> {
        self.add(name, value, false)
    }

    /// Adds a header field that no trace shows.
    pub fn secret_header(&mut self, name: &str, value: &str) -> Result<&mut Request, RequestError> {
        self.add(name, value, true)
    }

    fn add(&mut self, name: &str, value: &str, secret: bool) -> Result<&mut Request, RequestError> {
        if name.eq_ignore_ascii_case(PROTOCOL) {
            return Err(RequestError::HeaderOwned(escape(name.as_bytes(), 60)));
        }
        self.headers.add(name, value, secret)?;
        Ok(self)
    }

    /// Hides the URL from traces.
    pub fn secret_url(&mut self) -> &mut Request {
        self.secret_url = true;
        self
    }

    /// What may be shown of the URL.
    #[cfg(feature = "net")]
    pub(crate) fn shown_url(&self) -> &str {
        if self.secret_url { SECRET } else { self.url.as_str() }
    }

    /// Offers a subprotocol, after those offered before.
    pub fn protocol(&mut self, name: &str) -> Result<&mut Request, RequestError> {
        if !is_token(name.as_bytes()) || self.protocols.iter().any(|p| p == name) {
            return Err(RequestError::Protocol(escape(name.as_bytes(), 60)));
        }
        self.protocols.push(name.to_owned());
        Ok(self)
    }

    /// The request head, `key` being the value of `Sec-WebSocket-Key`; without what is secret if
    /// it is to be `shown`.
    fn write(&self, out: &mut Vec<u8>, key: &str, shown: bool) {
        write_start(out, "GET", &self.url, shown && self.secret_url);
        let mut line = |parts: [&str; 3]| {
            parts.iter().for_each(|p| out.extend_from_slice(p.as_bytes()));
            out.extend_from_slice(b"\r\n");
        };
        line(["Upgrade: websocket", "", ""]);
        line(["Connection: Upgrade", "", ""]);
        line(["Sec-WebSocket-Key: ", key, ""]);
        line(["Sec-WebSocket-Version: 13", "", ""]);
        if !self.protocols.is_empty() {
            line(["Sec-WebSocket-Protocol: ", &self.protocols.join(", "), ""]);
        }
        self.headers.write(out, shown);
    }
}

/// The value that proves a server read our key (§4.2.2): the key and a fixed GUID, hashed.
pub(crate) fn accept(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(sha1.digest().bytes())
}

/// A connection has been opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The subprotocol that the server chose among those offered.
    pub protocol: Option<String>,
    /// The fields of the 101 response.
    pub headers: Fields,
}

/// Why the answer opens no connection. Nothing is sent about it; the socket is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// No response head.
    Head(HeadError),
    /// HTTP/1.0 cannot be upgraded (§4.1).
    OldHttp,
    /// A status other than 101; with the target of a redirection, which is not followed.
    Status {
        /// 100 to 599.
        status: u16,
        /// Escaped reason phrase.
        reason: String,
        /// Escaped value of `Location`.
        location: Option<String>,
    },
    /// More than `Limits::interim` responses before the final one.
    ManyInterim,
    /// `Upgrade` is missing or not exactly `websocket` (§4.1, 2).
    Upgrade,
    /// `Connection` is missing or does not list `Upgrade` (§4.1, 3).
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated or not the answer to our key (§4.1, 4).
    Accept,
    /// An extension, of which none was offered (§4.1, 5).
    Extension(String),
    /// A subprotocol that was not offered, or more than one (§4.1, 6).
    Protocol(String),
    /// The server closed the connection before the head was complete.
    Eof,
    /// [`Limits::opening`] has passed.
    Timeout,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Head(e) => e.fmt(f),
            HandshakeError::OldHttp => f.write_str("the server answered with HTTP/1.0"),
            HandshakeError::Status { status, reason, location } => {
                write!(f, "the server answered {status}")?;
                if !reason.is_empty() {
                    write!(f, " {reason}")?;
                }
                match location {
                    Some(to) => write!(f, " to {to}; redirects are not followed, connect there"),
                    None => f.write_str(" instead of 101 Switching Protocols"),
                }
            }
            HandshakeError::ManyInterim => f.write_str("too many interim (1xx) responses"),
            HandshakeError::Upgrade => {
                f.write_str("the 101 response has no \"Upgrade: websocket\"")
            }
            HandshakeError::Connection => {
                f.write_str("the 101 response has no \"Connection: Upgrade\"")
            }
            HandshakeError::Accept => f.write_str(
                "Sec-WebSocket-Accept is missing or wrong: whatever answered is no WebSocket server",
            ),
            HandshakeError::Extension(name) => {
                write!(f, "the server uses extension \"{name}\", which was not asked for")
            }
            HandshakeError::Protocol(name) => {
                write!(f, "the server chose subprotocol \"{name}\", which was not asked for")
            }
            HandshakeError::Eof => f.write_str("the server closed the connection without an answer"),
            HandshakeError::Timeout => f.write_str("no answer within the time limit"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// The handshake while it is under way.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: String,
    offered: Vec<String>,
    parser: HeadParser,
    interim: u32,
    pub(crate) out: SendBuf,
    /// The request, as a trace may show it.
    pub(crate) shown: Vec<u8>,
    pub(crate) deadline: Option<Instant>,
    limits: Arc<Limits>,
}

impl Handshake {
    /// `nonce` has to be random and fresh (§4.1, 7).
    pub(crate) fn new(
        request: &Request,
        nonce: [u8; 16],
        deadline: Option<Instant>,
        limits: Arc<Limits>,
        trace: bool,
    ) -> Handshake {
        let key = BASE64.encode(nonce);
        let mut out = SendBuf::default();
        request.write(out.tail(), &key, false);
        let mut shown = Vec::new();
        if trace {
            request.write(&mut shown, &key, true);
        }
        Handshake {
            accept: accept(&key),
            offered: request.protocols.clone(),
            parser: HeadParser::default(),
            interim: 0,
            out,
            shown,
            deadline,
            limits,
        }
    }

    /// Takes response bytes: how many it took and, at the end, what was opened.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
    ) -> Result<(usize, Option<Opened>), HandshakeError> {
        let mut used = 0;
        loop {
            let (n, head) =
                self.parser.feed(&input[used..], &self.limits).map_err(HandshakeError::Head)?;
            used += n;
            let Some(head) = head else { return Ok((used, None)) };
            if !matches!(head.status, 100 | 102..=199) {
                return Ok((used, Some(self.judge(head)?)));
            }
            self.interim += 1;
            if self.interim > self.limits.interim {
                return Err(HandshakeError::ManyInterim);
            }
        }
    }

    /// The checks of §4.1, in its order.
    fn judge(&self, head: Head) -> Result<Opened, HandshakeError> {
        let Head { minor, status, reason, fields } = head;
        if status != 101 {
            let redirect = matches!(status, 300..=399);
            let location = fields.all("Location").next().filter(|_| redirect);
            let location = location.map(|to| escape(to, 200));
            return Err(HandshakeError::Status { status, reason, location });
        }
        if minor == 0 {
            return Err(HandshakeError::OldHttp);
        }
        if !only(&fields, "Upgrade").is_some_and(|v| v.eq_ignore_ascii_case(b"websocket")) {
            return Err(HandshakeError::Upgrade);
        }
        let upgrade = |v: &[u8]| v.eq_ignore_ascii_case(b"upgrade");
        if !fields.all("Connection").flat_map(list).any(upgrade) {
            return Err(HandshakeError::Connection);
        }
        if only(&fields, "Sec-WebSocket-Accept") != Some(self.accept.as_bytes()) {
            return Err(HandshakeError::Accept);
        }
        if let Some(name) = fields.all("Sec-WebSocket-Extensions").flat_map(list).next() {
            return Err(HandshakeError::Extension(escape(name, 60)));
        }
        let protocol = self.protocol(&fields)?;
        Ok(Opened { protocol, headers: fields })
    }

    fn protocol(&self, fields: &Fields) -> Result<Option<String>, HandshakeError> {
        let chosen: Vec<_> = fields.all("Sec-WebSocket-Protocol").map(trim).collect();
        match chosen[..] {
            [] => Ok(None),
            [one] => match self.offered.iter().find(|p| p.as_bytes() == one) {
                Some(p) => Ok(Some(p.clone())),
                None => Err(HandshakeError::Protocol(escape(one, 60))),
            },
            [..] => Err(HandshakeError::Protocol(escape(&chosen.concat(), 60))),
        }
    }
}

/// The value of a field that has to be there exactly once.
fn only<'a>(fields: &'a Fields, name: &'a str) -> Option<&'a [u8]> {
    let mut all = fields.all(name);
    let value = all.next()?;
    all.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nonce of §1.3, whose accept value the RFC gives.
    const NONCE: [u8; 16] = *b"the sample nonce";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn request() -> Request {
        let mut request = Request::new(Url::parse("ws://server.example:81/chat?x").unwrap());
        request.protocol("chat").unwrap().protocol("superchat").unwrap();
        request
    }

    fn handshake() -> Handshake {
        Handshake::new(&request(), NONCE, None, Arc::default(), false)
    }

    /// Whole and byte by byte, and what is glued on stays.
    fn answer(text: &str) -> Result<Option<Opened>, HandshakeError> {
        let whole = handshake().receive(format!("{text}glued").as_bytes());
        let (mut single, mut at, mut got) = (handshake(), 0, Ok(None));
        for end in 0..=text.len() {
            match single.receive(&text.as_bytes()[at..end]) {
                Ok((n, None)) => at += n,
                Ok((n, opened)) => {
                    assert_eq!((at + n, end), (text.len(), text.len()));
                    got = Ok(opened);
                }
                Err(e) => {
                    got = Err(e);
                    break;
                }
            }
        }
        match whole {
            Ok((n, opened)) => {
                assert!(opened.is_none() || n == text.len());
                assert_eq!(got, Ok(opened.clone()));
                Ok(opened)
            }
            Err(e) => {
                assert_eq!(got, Err(e.clone()));
                Err(e)
            }
        }
    }

    const GOOD: [&str; 4] = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ];

    fn lines(lines: &[&str]) -> String {
        lines.iter().map(|l| format!("{l}\r\n")).chain(["\r\n".to_owned()]).collect()
    }

    #[test]
    fn the_accept_value_is_that_of_section_1_3() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), ACCEPT);
    }

    #[test]
    fn the_request_has_each_field_once() {
        let mut request = request();
        request.header("Authorization", "Bearer x").unwrap();
        let h = Handshake::new(&request, NONCE, None, Arc::default(), false);
        let text = std::str::from_utf8(h.out.pending()).unwrap();
        assert_eq!(
            text,
            lines(&[
                "GET /chat?x HTTP/1.1",
                "Host: server.example:81",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Protocol: chat, superchat",
                concat!("User-Agent: moonwire/", env!("CARGO_PKG_VERSION")),
                "Authorization: Bearer x",
            ])
        );
    }

    /// FAULTS 42 and 46: there is no proxy that its credentials could be meant for.
    #[test]
    fn no_header_can_inject_another() {
        let mut r = request();
        for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0", "a\x7f"] {
            assert_eq!(
                r.header("X", bad).unwrap_err(),
                RequestError::HeaderValue("X".into()),
                "{bad:?}"
            );
        }
        for bad in ["", "a b", "a:", "a\r\n", "ä", "a\0"] {
            assert!(matches!(r.header(bad, "v"), Err(RequestError::HeaderName(_))), "{bad:?}");
        }
        for owned in [
            "Host",
            "upgrade",
            "CONNECTION",
            "Sec-WebSocket-Key",
            "Transfer-Encoding",
            "Proxy-Authorization",
        ] {
            assert!(matches!(r.header(owned, "v"), Err(RequestError::HeaderOwned(_))), "{owned}");
        }
        for bad in ["", "a b", "a,b", "chat", "a\r\n"] {
            assert!(matches!(r.protocol(bad), Err(RequestError::Protocol(_))), "{bad:?}");
        }
        assert_eq!(r.headers, Headers::default());
        // What would be cut down to CR LF elsewhere stays what it is: UTF-8 bytes.
        r.header("X", "\u{560D}\u{560A}").unwrap();
        let h = Handshake::new(&r, NONCE, None, Arc::default(), false);
        assert_eq!(h.out.pending().windows(2).filter(|w| w == b"\r\n").count(), 10);
    }

    #[test]
    fn a_good_answer_opens() {
        let opened = answer(&lines(&GOOD)).unwrap().unwrap();
        assert_eq!(opened.protocol, None);
        assert!(opened.headers.as_bytes().starts_with(b"Upgrade: websocket\r\n"));
        for more in [
            &["Sec-WebSocket-Protocol: superchat"][..],
            &["Connection: keep-alive"],
            &["Sec-WebSocket-Extensions:"],
            &["X: 1", "Y:"],
        ] {
            let opened = answer(&lines(&[&GOOD[..], more].concat())).unwrap().unwrap();
            assert_eq!(opened.protocol.is_some(), more[0].ends_with("superchat"));
        }
        let loose =
            lines(&[GOOD[0], "upgrade: WebSocket", "connection: keep-alive, UPGRADE", GOOD[3]]);
        assert!(answer(&loose).unwrap().is_some());
    }

    #[test]
    fn interim_responses_are_skipped_up_to_the_limit() {
        // FAULTS 31.
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        let good = lines(&GOOD);
        assert!(answer(&format!("{}{good}", interim.repeat(16))).unwrap().is_some());
        let many = format!("{}{good}", interim.repeat(17));
        assert_eq!(answer(&many), Err(HandshakeError::ManyInterim));
    }

    #[test]
    fn each_check_of_section_4_1() {
        let with = |i: usize, line: &'static str| {
            let mut all = GOOD.to_vec();
            all[i] = line;
            lines(&all)
        };
        let plus = |line: &'static str| lines(&[&GOOD[..], &[line]].concat());
        let status = |status, reason: &str, location: Option<&str>| HandshakeError::Status {
            status,
            reason: reason.into(),
            location: location.map(Into::into),
        };
        for (text, want) in [
            (with(0, "HTTP/1.1 404 Not Found"), status(404, "Not Found", None)),
            (with(0, "HTTP/1.1 200 OK"), status(200, "OK", None)),
            (
                lines(&[
                    "HTTP/1.1 302 Found",
                    "Location: ws://b/\u{1b}".trim_end_matches('\u{1b}'),
                ]),
                status(302, "Found", Some("ws://b/")),
            ),
            (with(0, "HTTP/1.0 101 Go"), HandshakeError::OldHttp),
            (with(1, "X: y"), HandshakeError::Upgrade),
            (with(1, "Upgrade: h2c"), HandshakeError::Upgrade),
            (with(1, "Upgrade: websocket, h2c"), HandshakeError::Upgrade),
            (plus("Upgrade: h2c"), HandshakeError::Upgrade),
            (with(2, "X: y"), HandshakeError::Connection),
            (with(2, "Connection: keep-alive"), HandshakeError::Connection),
            (with(2, "Connection: not-upgrade"), HandshakeError::Connection),
            (with(3, "X: y"), HandshakeError::Accept),
            (with(3, "Sec-WebSocket-Accept: AAAA"), HandshakeError::Accept),
            (with(3, "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO="), HandshakeError::Accept),
            (plus(GOOD[3]), HandshakeError::Accept),
            (
                plus("Sec-WebSocket-Extensions: permessage-deflate"),
                HandshakeError::Extension("permessage-deflate".into()),
            ),
            (plus("Sec-WebSocket-Protocol: other"), HandshakeError::Protocol("other".into())),
            (plus("Sec-WebSocket-Protocol: Chat"), HandshakeError::Protocol("Chat".into())),
            (plus("Sec-WebSocket-Protocol:"), HandshakeError::Protocol("".into())),
            (
                plus("Sec-WebSocket-Protocol: chat, superchat"),
                HandshakeError::Protocol("chat, superchat".into()),
            ),
            ("garbage".into(), HandshakeError::Head(HeadError::NotHttp("garbageglued".into()))),
        ] {
            match (answer_kind(&text), &want) {
                (Err(HandshakeError::Head(_)), HandshakeError::Head(_)) => {}
                (got, want) => assert_eq!(got, Err(want.clone()), "{text}"),
            }
        }
    }

    /// FAULTS 14, 25, 26, 27 and 30: values that crashed others or took them hours. Each is refused
    /// by its name, and its bytes are looked at once: quadratic work would not come to an end.
    #[test]
    fn values_that_hurt_others_are_refused() {
        const LONG: usize = 1 << 20;
        let long = Limits { line: usize::MAX, head: usize::MAX, ..Limits::default() };
        let long = Arc::new(long);
        let judged = |name: &str, value: &str| {
            let more = format!("{name}: {value}");
            let text = lines(&[&GOOD[..], &[&more]].concat());
            let mut h = Handshake::new(&request(), NONCE, None, Arc::clone(&long), false);
            h.receive(text.as_bytes()).map(|(_, opened)| opened.is_some())
        };
        let window = ["", "=", "=0", "=7", "=16", "=20", "=010", "=-1", "=1e1", "=\"15\"", "=\"\""];
        let mut extensions: Vec<String> = window
            .iter()
            .map(|value| format!("permessage-deflate; server_max_window_bits{value}"))
            .collect();
        for name in ["__proto__", "constructor", "toString", "hasOwnProperty"] {
            extensions.extend([name.to_owned(), format!("x; {name}"), format!("x; a={name}")]);
        }
        let spaces = format!("b{}x", " ".repeat(LONG));
        extensions.extend([
            format!("x; a=\"{}", "b".repeat(LONG)),
            format!("x; a=\"{}", "\\".repeat(LONG)),
            format!("x; a=\"{}", "\",\"".repeat(LONG / 3)),
            spaces.clone(),
            "=".to_owned(),
            ";".to_owned(),
        ]);
        for value in &extensions {
            let got = judged("Sec-WebSocket-Extensions", value);
            let Err(e @ HandshakeError::Extension(_)) = got else { panic!("{got:?}") };
            assert!(e.to_string().len() < 200);
        }
        for (name, value, want) in [
            ("Sec-WebSocket-Protocol", &*spaces, None),
            ("Sec-WebSocket-Protocol", &",".repeat(LONG), None),
            ("Upgrade", &spaces, Some(HandshakeError::Upgrade)),
            ("Sec-WebSocket-Accept", &spaces, Some(HandshakeError::Accept)),
            ("Sec-WebSocket-Accept", "\u{e9}", Some(HandshakeError::Accept)),
        ] {
            match (judged(name, value), want) {
                (Err(HandshakeError::Protocol(_)), None) => {}
                (got, want) => assert_eq!(got, Err(want.expect(name)), "{name}"),
            }
        }
        // A further list that names other things changes nothing.
        for value in [&*spaces, &",".repeat(LONG), &" ,\t".repeat(LONG / 3)] {
            assert_eq!(judged("Connection", value), Ok(true));
        }
        // RFC 6455 §11.3.4: one field, whatever both say.
        let two = lines(&[&GOOD[..], &["Sec-WebSocket-Protocol: chat"; 2]].concat());
        assert!(matches!(answer(&two), Err(HandshakeError::Protocol(_))));
    }

    /// Like `answer`, for texts whose error shows more of the input when it comes whole.
    fn answer_kind(text: &str) -> Result<Option<Opened>, HandshakeError> {
        match handshake().receive(text.as_bytes()) {
            Err(HandshakeError::Head(e)) => Err(HandshakeError::Head(e)),
            _ => answer(text),
        }
    }
}
