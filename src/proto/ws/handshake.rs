//! The opening handshake of a client (RFC 6455 §4.1): writes the request, so that no value can
//! inject a field, and makes every check of the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::limits::Limits;
use crate::proto::buf::SendBuf;
use crate::proto::head::{Fields, Head, HeadError, HeadParser};
use crate::proto::headers::{Headers, PROTOCOL, RequestError, write_start};
use crate::proto::http::redirect::target;
use crate::proto::http::{HttpError, Redirect, Response};
use crate::proto::note::Note;
use crate::proto::secret::{Guarded, hide, shown_url};
use crate::proto::token::{escape, is_token, list, trim};
use crate::proto::transport::Transport;
use crate::proto::url::Url;
use crate::proto::ws::deflate::Codec;
#[cfg(feature = "deflate")]
use crate::proto::ws::deflate::negotiate::{self, Refused};
#[cfg(feature = "deflate")]
use crate::proto::ws::deflate::{Agreed, Compression, NegotiationError};

/// The field with the extensions (RFC 6455 §11.3.2).
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// The request of an opening handshake: URL, header fields, subprotocols.
///
/// ```
/// use moonwire::proto::{Request, Url};
///
/// let mut request = Request::new(Url::parse("wss://example.com/chat")?);
/// request.header("Origin", "https://example.com")?.protocol("chat.v2")?;
/// assert!(request.header("Host", "another.example").is_err()); // the client's own
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    url: Url,
    headers: Headers,
    protocols: Vec<Guarded>,
    /// At most this many redirects are followed.
    follow: u32,
    /// How many redirects were followed before this request.
    hops: u32,
    #[cfg(feature = "deflate")]
    compression: Option<Compression>,
}

impl Request {
    /// A request for `url` without further fields.
    pub fn new(url: Url) -> Request {
        Request {
            url,
            headers: Headers::default(),
            protocols: Vec::new(),
            follow: 0,
            hops: 0,
            #[cfg(feature = "deflate")]
            compression: None,
        }
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
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the name is no token, the value has a control character, the field belongs
    /// to the client, or it is there already.
    pub fn header(&mut self, name: &str, value: &str) -> Result<&mut Request, RequestError> {
        self.add(name, value, false)
    }

    /// Adds a header field that no trace shows.
    ///
    /// # Errors
    ///
    /// As [`Request::header`].
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

    /// Follows at most `max` redirects, as RFC 6455 §4.1 allows. With 0, the default, a redirect is
    /// an error like any other response ([`HandshakeError::Status`]).
    ///
    /// The session follows 301, 302, 303, 307 and 308 with one `Location`, which may be relative,
    /// and in which `http` and `https` mean `ws` and `wss`. It refuses, as
    /// [`HandshakeError::Redirect`]: from `wss` to `ws`, another scheme, a user name or password,
    /// several `Location` fields, and one redirect too many. To another origin it sends no secret
    /// header, no field that identifies somebody, and no secret subprotocol; a later redirect does
    /// not bring them back.
    pub fn follow_redirects(&mut self, max: u32) -> &mut Request {
        self.follow = max;
        self
    }

    /// Whether the program allows redirects.
    #[cfg(feature = "net")]
    pub(crate) fn may_be_redirected(&self) -> bool {
        self.follow > 0
    }

    /// The redirect in a response, if the program allows redirects; `None` for any other response.
    fn redirected(&self, head: &Head) -> Result<Option<Redirect<Request>>, HttpError> {
        if self.follow == 0 {
            return Ok(None);
        }
        let (hops, is_repeated) = ((self.hops, self.follow), |b: &[u8]| self.is_repeated_in(b));
        let Some(to) = target(head, &self.url, hops, is_repeated)? else { return Ok(None) };
        let mut next = self.clone();
        next.hops += 1;
        if !self.url.is_same_origin(&to) {
            // A later redirect starts from this request, so it cannot restore the secrets either.
            next.headers.remove_secret();
            next.protocols.retain(|p| !p.is_secret());
        }
        next.url = to;
        Ok(Some(Redirect { status: head.status, request: next }))
    }

    /// Hides the URL from traces, errors and `Debug`.
    pub fn secret_url(&mut self) -> &mut Request {
        self.url = self.url.clone().into_secret();
        self
    }

    /// Offers a subprotocol, behind the ones offered before.
    ///
    /// # Errors
    ///
    /// [`RequestError::Protocol`]: the name is no token (RFC 6455 §4.1), or was offered before.
    pub fn protocol(&mut self, name: &str) -> Result<&mut Request, RequestError> {
        self.offer(name, false)
    }

    /// Offers a subprotocol that is a secret, as some services require: browsers can send a token
    /// in no other field. No trace, error or `Debug` shows it; [`Opened::protocol`] contains all of
    /// it.
    ///
    /// # Errors
    ///
    /// As [`Request::protocol`].
    pub fn secret_protocol(&mut self, name: &str) -> Result<&mut Request, RequestError> {
        self.offer(name, true)
    }

    fn offer(&mut self, name: &str, secret: bool) -> Result<&mut Request, RequestError> {
        if !is_token(name.as_bytes()) || self.protocols.iter().any(|p| p.sent() == name) {
            let shown = Guarded::new(&escape(name.as_bytes(), 60), secret);
            return Err(RequestError::Protocol(shown.to_string()));
        }
        self.protocols.push(Guarded::new(name, secret));
        Ok(self)
    }

    /// Offers to compress messages (RFC 7692). The server may decline; [`Opened::compression`] is
    /// the result. [`Compression`] describes the cost, and when it is unsafe.
    #[cfg(feature = "deflate")]
    pub fn compression(&mut self, wanted: Compression) -> &mut Request {
        self.compression = Some(wanted);
        self
    }

    /// Whether `bytes`, sent by the peer, may repeat a secret of this request.
    pub(crate) fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        let protocol = self.protocols.iter().any(|p| p.is_repeated_in(bytes));
        protocol || self.headers.are_repeated_in(bytes) || self.url.is_repeated_in(bytes)
    }

    /// The request head as it may be shown, but with its key.
    #[cfg(all(feature = "tape", feature = "net"))]
    pub(crate) fn shown(&self, nonce: [u8; 16]) -> Vec<u8> {
        let mut shown = Vec::new();
        self.write(&mut shown, &BASE64.encode(nonce), true);
        shown
    }

    /// Whether the request offers this subprotocol as a secret.
    #[cfg(all(feature = "tape", feature = "net"))]
    pub(crate) fn is_secret_protocol(&self, name: &[u8]) -> bool {
        self.protocols.iter().any(|p| p.is_secret() && p.sent().as_bytes() == name)
    }

    /// How many redirects were followed before this request, and how many may be.
    #[cfg(all(feature = "tape", feature = "net"))]
    pub(crate) fn redirects(&self) -> (u32, u32) {
        (self.hops, self.follow)
    }

    /// Sets how many redirects were followed before this request.
    #[cfg(feature = "tape")]
    pub(crate) fn set_hops(&mut self, hops: u32) {
        self.hops = hops;
    }

    /// The compression that the request offers, if any.
    #[cfg(all(feature = "tape", feature = "net", feature = "deflate"))]
    pub(crate) fn offered(&self) -> Option<&Compression> {
        self.compression.as_ref()
    }

    /// Writes the request head; `key` is the value of `Sec-WebSocket-Key`. If the head is to be
    /// `shown`, secrets are masked.
    fn write(&self, out: &mut Vec<u8>, key: &str, shown: bool) {
        write_start(out, "GET", &self.url, false, shown);
        let mut line = |parts: [&str; 3]| {
            parts.iter().for_each(|p| out.extend_from_slice(p.as_bytes()));
            out.extend_from_slice(b"\r\n");
        };
        line(["Upgrade: websocket", "", ""]);
        line(["Connection: Upgrade", "", ""]);
        line(["Sec-WebSocket-Key: ", key, ""]);
        line(["Sec-WebSocket-Version: 13", "", ""]);
        if !self.protocols.is_empty() {
            let all: Vec<&str> = self.protocols.iter().map(|p| p.text(shown)).collect();
            line(["Sec-WebSocket-Protocol: ", &all.join(", "), ""]);
        }
        #[cfg(feature = "deflate")]
        if let Some(wanted) = &self.compression {
            line(["Sec-WebSocket-Extensions: ", &negotiate::offer(wanted), ""]);
        }
        self.headers.write(out, shown);
    }
}

/// The value that proves that a server has read our key (§4.2.2): the hash of the key and a GUID.
pub(crate) fn accept(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(sha1.digest().bytes())
}

/// The result of a handshake that opened the connection.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// The subprotocol that the server chose among the offered ones.
    pub protocol: Option<String>,
    /// The reason phrase of the 101 response, escaped; may be empty.
    pub reason: String,
    /// The fields of the response.
    pub headers: Fields,
    /// The URL of the request, after redirects.
    pub url: Url,
    /// How messages are compressed; `None`: they are not.
    #[cfg(feature = "deflate")]
    pub compression: Option<Agreed>,
    /// The connection below the protocol; `None` from a session without a socket.
    pub transport: Option<Box<Transport>>,
    /// Whether the fields repeat, or may repeat, a secret of the request.
    quiet: bool,
}

/// Shows no secret, as for [`Response`].
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Opened");
        if self.quiet {
            return out.field("headers", &self.headers.iter().count()).finish();
        }
        out.field("protocol", &self.protocol).field("headers", &self.headers).finish()
    }
}

/// Why the handshake opened no connection. The client sends nothing in reply and closes the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The response does not begin with a valid head.
    Head(HeadError),
    /// HTTP/1.0 cannot be upgraded (§4.1).
    OldHttp,
    /// The status is not 101. By default, redirects are not followed
    /// ([`Request::follow_redirects`]).
    Status(Box<Response>),
    /// A redirect that the session must not follow, though the program allows redirects.
    Redirect {
        /// The response; its body is not read.
        response: Box<Response>,
        /// The reason.
        why: HttpError,
    },
    /// More than `Limits::interim` interim responses came before the final one.
    ManyInterim,
    /// `Upgrade` is missing or not exactly `websocket` (§4.1, 2).
    Upgrade,
    /// `Connection` is missing or does not list `Upgrade` (§4.1, 3).
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated or not the answer to our key (§4.1, 4).
    Accept,
    /// The server uses an extension that the client did not offer (§4.1, 5).
    Extension(String),
    /// The server's answer to the offered compression breaks a rule (RFC 7692 §7.1).
    #[cfg(feature = "deflate")]
    Compression(NegotiationError),
    /// The server chose a subprotocol that the client did not offer, or several (§4.1, 6).
    Protocol(String),
    /// The server closed the connection before the head was complete.
    Eof,
    /// No answer came within [`Limits::opening`].
    Timeout,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Head(e) => e.fmt(f),
            HandshakeError::OldHttp => f.write_str("the server answered with HTTP/1.0"),
            HandshakeError::Status(response) => {
                write!(f, "the server answered {}", response.line())?;
                let redirect = matches!(response.status, 300..=399);
                match response.headers.all("Location").next().filter(|_| redirect) {
                    Some(_) if response.quiet => f.write_str(" to elsewhere, which is secret")?,
                    Some(to) => {
                        let to = escape(to, 200);
                        let to = shown_url(&to);
                        write!(f, " to {to}; redirects are not followed, connect there")?;
                    }
                    None => f.write_str(" instead of 101 Switching Protocols")?,
                }
                response.explain(f)
            }
            HandshakeError::Redirect { response, why } => {
                write!(f, "the server answered {}, which is not followed: ", response.line())?;
                match why {
                    HttpError::Downgrade => f.write_str("it leads from wss to ws"),
                    why => why.fmt(f),
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
                "Sec-WebSocket-Accept is missing or wrong: this is not a WebSocket server",
            ),
            HandshakeError::Extension(name) => {
                write!(f, "the server uses extension \"{name}\", which was not asked for")
            }
            #[cfg(feature = "deflate")]
            HandshakeError::Compression(why) => {
                write!(f, "the server's answer to the offer to compress: {why}")
            }
            HandshakeError::Protocol(name) => {
                write!(f, "the server chose subprotocol \"{name}\", which was not asked for")
            }
            HandshakeError::Eof => {
                f.write_str("the server closed the connection without an answer")
            }
            HandshakeError::Timeout => f.write_str("no answer within the time limit"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// A handshake in progress.
#[derive(Debug)]
pub(crate) struct Handshake {
    accept: String,
    request: Request,
    parser: HeadParser,
    interim: u32,
    pub(crate) out: SendBuf,
    pub(crate) deadline: Option<Instant>,
    limits: Arc<Limits>,
    /// If notes are kept: the request, and later the response, as a trace may show them.
    pub(crate) notes: Option<Vec<Note>>,
}

/// The result of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Opened(Opened),
    /// Another response than 101; its body follows.
    Refused(Head),
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
        let notes = trace.then(|| {
            let mut shown = Vec::new();
            request.write(&mut shown, &key, true);
            vec![Note::request(shown)]
        });
        Handshake {
            accept: accept(&key),
            request: request.clone(),
            parser: HeadParser::default(),
            interim: 0,
            out,
            deadline,
            limits,
            notes,
        }
    }

    /// Takes bytes of the response; returns how many, and the answer once its head is complete.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
    ) -> Result<(usize, Option<Answer>), HandshakeError> {
        let mut used = 0;
        loop {
            let (n, head) = match self.parser.feed(&input[used..], &self.limits) {
                Ok(fed) => fed,
                Err(mut e) => {
                    hide(e.text(), |text| self.is_repeated_in(text));
                    return Err(HandshakeError::Head(e));
                }
            };
            used += n;
            let Some(head) = head else { return Ok((used, None)) };
            if !matches!(head.status, 100 | 102..=199) {
                if let Some(notes) = &mut self.notes {
                    let request = &self.request;
                    let is_repeated = |bytes: &[u8]| request.is_repeated_in(bytes);
                    notes.push(Note::response(&head, &request.url, is_repeated));
                }
                let answer = match head.status {
                    101 => Answer::Opened(self.judge(head)?),
                    _ => Answer::Refused(head),
                };
                return Ok((used, Some(answer)));
            }
            self.interim += 1;
            if self.interim > self.limits.interim {
                return Err(HandshakeError::ManyInterim);
            }
        }
    }

    /// Makes the checks of §4.1, in the order of that section.
    fn judge(&self, head: Head) -> Result<Opened, HandshakeError> {
        let Head { minor, reason, fields, .. } = head;
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
        #[cfg(feature = "deflate")]
        let compression = self.compression(&fields)?;
        #[cfg(not(feature = "deflate"))]
        self.no_extension(&fields)?;
        let protocol = self.protocol(&fields)?;
        let quiet = self.is_repeated_in(fields.as_bytes());
        let url = self.request.url.clone();
        Ok(Opened {
            protocol,
            reason,
            headers: fields,
            url,
            #[cfg(feature = "deflate")]
            compression,
            transport: None,
            quiet,
        })
    }

    /// Checks the response to a request that offered no extension.
    fn no_extension(&self, fields: &Fields) -> Result<(), HandshakeError> {
        match fields.all(EXTENSIONS).flat_map(list).next() {
            Some(name) => Err(HandshakeError::Extension(self.shown(name))),
            None => Ok(()),
        }
    }

    /// The compression to which the server agreed (RFC 7692 §7.1).
    #[cfg(feature = "deflate")]
    fn compression(&self, fields: &Fields) -> Result<Option<Agreed>, HandshakeError> {
        let Some(wanted) = &self.request.compression else {
            return self.no_extension(fields).map(|()| None);
        };
        let mut all = fields.all(EXTENSIONS);
        let Some(value) = all.next() else { return Ok(None) };
        if all.next().is_some() {
            return Err(HandshakeError::Compression(NegotiationError::Repeated));
        }
        let judged = negotiate::judge(wanted, value, &|bytes| self.shown(bytes));
        judged.map_err(|refused| match refused {
            Refused::Other(name) => HandshakeError::Extension(name),
            Refused::Deflate(why) => HandshakeError::Compression(why),
        })
    }

    /// The codec for the compression on which both sides agreed.
    #[cfg(feature = "deflate")]
    pub(crate) fn codec(&self, opened: &Opened) -> Option<Codec> {
        let (agreed, wanted) = (opened.compression.as_ref()?, self.request.compression.as_ref()?);
        Some(Codec::client(agreed, wanted))
    }

    #[cfg(not(feature = "deflate"))]
    pub(crate) fn codec(&self, _: &Opened) -> Option<Codec> {
        None
    }

    /// The limits, for reading the body of a refused response.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// See [`Request::redirected`].
    pub(crate) fn redirected(&self, head: &Head) -> Result<Option<Redirect<Request>>, HttpError> {
        self.request.redirected(head)
    }

    /// The response for this head as it is reported once its body has come.
    pub(crate) fn refused(&self, head: Head) -> Response {
        Response::of(head, self.request.url.clone(), |bytes| self.is_repeated_in(bytes))
    }

    /// The server's bytes, as an error may show them.
    fn shown(&self, bytes: &[u8]) -> String {
        Guarded::new(&escape(bytes, 60), self.is_repeated_in(bytes)).to_string()
    }

    /// Whether `bytes` may repeat a secret of the request.
    pub(crate) fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        self.request.is_repeated_in(bytes)
    }

    fn protocol(&self, fields: &Fields) -> Result<Option<String>, HandshakeError> {
        let chosen: Vec<_> = fields.all("Sec-WebSocket-Protocol").map(trim).collect();
        match chosen[..] {
            [] => Ok(None),
            [one] => match self.request.protocols.iter().find(|p| p.sent().as_bytes() == one) {
                Some(p) => Ok(Some(p.sent().to_owned())),
                None => Err(HandshakeError::Protocol(self.shown(one))),
            },
            [..] => Err(HandshakeError::Protocol(self.shown(&chosen.join(&b", "[..])))),
        }
    }
}

/// The value of a field that has to occur exactly once.
fn only<'a>(fields: &'a Fields, name: &'a str) -> Option<&'a [u8]> {
    let mut all = fields.all(name);
    let value = all.next()?;
    all.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nonce of §1.3, for which the RFC states the accept value.
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

    /// The answer, whole and byte by byte; bytes behind the response are not taken.
    fn answer(text: &str) -> Result<Option<Answer>, HandshakeError> {
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

    fn opened(text: &str) -> Opened {
        match answer(text) {
            Ok(Some(Answer::Opened(opened))) => opened,
            other => panic!("{other:?}"),
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

    /// FAULTS 42 and 46: without a proxy, nobody gets the proxy's credentials.
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
        // Characters that some programs truncate to CR LF are sent as their UTF-8 bytes.
        r.header("X", "\u{560D}\u{560A}").unwrap();
        let h = Handshake::new(&r, NONCE, None, Arc::default(), false);
        assert_eq!(h.out.pending().windows(2).filter(|w| w == b"\r\n").count(), 10);
    }

    #[test]
    fn a_good_answer_opens() {
        let got = opened(&lines(&GOOD));
        assert_eq!(got.protocol, None);
        assert!(got.headers.as_bytes().starts_with(b"Upgrade: websocket\r\n"));
        for more in [
            &["Sec-WebSocket-Protocol: superchat"][..],
            &["Connection: keep-alive"],
            &["Sec-WebSocket-Extensions:"],
            &["X: 1", "Y:"],
        ] {
            let got = opened(&lines(&[&GOOD[..], more].concat()));
            assert_eq!(got.protocol.is_some(), more[0].ends_with("superchat"));
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
        for (text, status, reason) in [
            (with(0, "HTTP/1.1 404 Not Found"), 404, "Not Found"),
            (with(0, "HTTP/1.1 200 OK"), 200, "OK"),
            (with(0, "HTTP/1.1 999 No"), 999, "No"),
            (with(0, "HTTP/1.0 403 No"), 403, "No"),
            (lines(&["HTTP/1.1 302 Found", "Location: ws://b/"]), 302, "Found"),
        ] {
            match answer(&text) {
                Ok(Some(Answer::Refused(head))) => {
                    assert_eq!((head.status, &*head.reason), (status, reason));
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        for (text, want) in [
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

    fn redirected(
        from: &Request,
        status: u16,
        location: &str,
    ) -> Result<Option<Request>, HttpError> {
        let text = format!("HTTP/1.1 {status} Go\r\nLocation: {location}\r\n\r\n");
        let head = HeadParser::default().feed(text.as_bytes(), &Limits::default());
        Ok(from.redirected(&head.unwrap().1.unwrap())?.map(|to| to.request))
    }

    fn follower(url: &str) -> Request {
        let mut request = Request::new(Url::parse(url).unwrap());
        request.header("Authorization", "Bearer abc").unwrap().header("cookie", "id=abc").unwrap();
        request.header("X", "y").unwrap().secret_header("X-Own", "abc").unwrap();
        request.protocol("chat").unwrap().secret_protocol("token.abc").unwrap();
        request.follow_redirects(10);
        request
    }

    fn text(request: &Request) -> String {
        let h = Handshake::new(request, NONCE, None, Arc::default(), false);
        String::from_utf8(h.out.pending().to_vec()).unwrap()
    }

    #[test]
    fn where_a_redirect_of_a_handshake_may_lead() {
        // FAULTS 45.
        let from = follower("wss://a/x/y?q");
        for (status, location, to) in [
            (301, "z", Some("wss://a/x/z")),
            (302, "../z?r#f", Some("wss://a/z?r")),
            (303, "//b:444/", Some("wss://b:444/")),
            (307, "https://b/z", Some("wss://b/z")),
            (308, "HTTPS://b/z#f", Some("wss://b/z")),
            (302, "wss://b", Some("wss://b")),
            (302, "/two words?caf\u{e9}", Some("wss://a/two%20words?caf%C3%A9")),
            // FAULTS 43.
            (302, "/%0d%0aX:%20y", Some("wss://a/%0d%0aX:%20y")),
            (300, "wss://b/", None),
            (304, "wss://b/", None),
            (401, "wss://b/", None),
        ] {
            let next = redirected(&from, status, location).unwrap();
            assert_eq!(next.as_ref().map(|r| r.url.as_str()), to, "{status} {location}");
        }
        for plain in ["ws://a/x", "http://a/x", "ws://b/"] {
            assert_eq!(redirected(&from, 302, plain), Err(HttpError::Downgrade), "{plain}");
            let open = follower("ws://a/");
            assert!(redirected(&open, 302, plain).unwrap().is_some());
        }
        for bad in
            ["ftp://a/", "wss://u:p@a/", "https://u@a/", "https://", "wss:///x", "javascript:1"]
        {
            let got = redirected(&from, 302, bad);
            assert!(matches!(got, Err(HttpError::Location(_))), "{bad}: {got:?}");
        }
        let two = b"HTTP/1.1 302 Go\r\nLocation: /a\r\nLocation: /b\r\n\r\n";
        let two = HeadParser::default().feed(two, &Limits::default()).unwrap().1.unwrap();
        assert_eq!(from.redirected(&two), Err(HttpError::Locations));
        let none = HeadParser::default().feed(b"HTTP/1.1 302 Go\r\n\r\n", &Limits::default());
        assert_eq!(from.redirected(&none.unwrap().1.unwrap()), Ok(None), "without a target");
    }

    #[test]
    fn hops_of_a_handshake_are_counted_at_n_and_n_plus_1() {
        for max in [0, 1, 3] {
            let mut at = follower("ws://a/");
            at.follow_redirects(max);
            #[cfg(feature = "net")]
            assert_eq!(at.may_be_redirected(), max > 0);
            for _ in 0..max {
                at = redirected(&at, 302, "/").unwrap().unwrap();
            }
            let want = if max == 0 { Ok(None) } else { Err(HttpError::ManyRedirects(max)) };
            assert_eq!(redirected(&at, 302, "/"), want);
        }
    }

    #[test]
    fn credentials_of_a_handshake_stay_with_their_origin_and_never_come_back() {
        // FAULTS 44.
        let start = follower("wss://a/x");
        assert_eq!(text(&start).matches("abc").count(), 4);
        for same in ["/y", "https://a/", "wss://a:443/", "//a/z", "?q"] {
            let next = redirected(&start, 307, same).unwrap().unwrap();
            assert_eq!(text(&next).matches("abc").count(), 4, "{same}");
        }
        for other in ["https://b/", "wss://a:444/", "wss://A/", "wss://a./", "//a.evil.example/"] {
            let next = redirected(&start, 307, other).unwrap().unwrap();
            assert!(!text(&next).contains("abc"), "{other}");
            assert!(text(&next).contains("Sec-WebSocket-Protocol: chat\r\n"));
            assert!(text(&next).contains("X: y\r\n"));
            let next = redirected(&next, 302, "wss://b2/").unwrap().unwrap();
            let back = redirected(&next, 302, "wss://a/x").unwrap().unwrap();
            assert!(!text(&back).contains("abc"), "{other}: {}", text(&back));
        }
        let next = redirected(&follower("ws://a/"), 301, "wss://a/").unwrap().unwrap();
        assert!(!text(&next).contains("abc"), "from ws to wss is another origin");
    }

    #[test]
    fn a_secret_of_a_handshake_is_in_no_redirect() {
        for secret_url in [false, true] {
            let mut from = follower("wss://a/");
            from.secret_protocol("hidden1").unwrap().secret_header("X-Two", "hidden1").unwrap();
            if secret_url {
                from.secret_url();
            }
            let to = redirected(&from, 302, "/hidden1?x").unwrap().unwrap();
            assert!(to.url.is_secret(), "the target repeats a secret, or the URL is one");
            let error = redirected(&from, 302, "ftp://hidden1/").unwrap_err();
            assert!(!format!("{to:?} {error} {error:?}").contains("hidden1"));
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut r = Request::new(Url::parse("ws://hidden.example/hidden?hidden").unwrap());
        r.secret_header("X", "hidden").unwrap().secret_url();
        r.protocol("chat").unwrap().secret_protocol("bearer.hidden").unwrap();
        assert!(!r.secret_protocol("bearer.hidden").unwrap_err().to_string().contains("hidden"));
        let new = || Handshake::new(&r, NONCE, None, Arc::default(), true);
        let mut h = new();
        let sent = String::from_utf8(h.out.pending().to_vec()).unwrap();
        assert_eq!(sent.matches("hidden").count(), 5, "{sent}");
        let more = ["Sec-WebSocket-Protocol: bearer.hidden", "X-Echo: /hidden", "X: y"];
        let good = lines(&[&GOOD[..], &more].concat());
        let (_, got) = h.receive(good.as_bytes()).unwrap();
        let Some(Answer::Opened(opened)) = got else { panic!("{got:?}") };
        assert_eq!(opened.protocol.as_deref(), Some("bearer.hidden"), "the program may read it");
        let notes: Vec<String> = h
            .notes
            .iter()
            .flatten()
            .map(|note| match note {
                Note::Head { bytes, .. } => String::from_utf8(bytes.clone()).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(notes[0].contains("Sec-WebSocket-Protocol: chat, ***\r\n"), "{notes:?}");
        assert!(notes[1].starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{notes:?}");
        assert!(notes[1].contains("Sec-WebSocket-Protocol: ***\r\nX-Echo: ***\r\nX: y\r\n"));
        let bad = [&GOOD[..], &["Sec-WebSocket-Protocol: bearer.hidden, hidden"]].concat();
        let error = new().receive(lines(&bad).as_bytes()).unwrap_err();
        for shown in [format!("{r:?} {h:?} {opened:?} {error} {error:?}"), notes.concat()] {
            assert!(!shown.contains("hidden"), "{shown}");
        }
    }

    /// FAULTS 14, 25, 26, 27 and 30: values that crashed other clients or took them hours. Each has
    /// its own error, and its bytes are examined once: quadratic work would never end.
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
        // Another list that names other values changes nothing.
        for value in [&*spaces, &",".repeat(LONG), &" ,\t".repeat(LONG / 3)] {
            assert_eq!(judged("Connection", value), Ok(true));
        }
        // RFC 6455 §11.3.4: at most one field, whatever both contain.
        let two = lines(&[&GOOD[..], &["Sec-WebSocket-Protocol: chat"; 2]].concat());
        assert!(matches!(answer(&two), Err(HandshakeError::Protocol(_))));
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn an_offer_to_compress_is_answered_once_and_by_its_rules() {
        let mut request = request();
        request.compression(Compression { server_window: 12, ..Compression::default() });
        let new = || Handshake::new(&request, NONCE, None, Arc::default(), true);
        let sent = String::from_utf8(new().out.pending().to_vec()).unwrap();
        let field = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; \
                     server_max_window_bits=12\r\n";
        assert_eq!(sent.matches(field).count(), 1, "{sent}");
        let judged = |more: &[&str]| {
            let got = new().receive(lines(&[&GOOD[..], more].concat()).as_bytes());
            got.map(|(_, answer)| match answer {
                Some(Answer::Opened(opened)) => opened.compression,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(judged(&[]), Ok(None));
        assert_eq!(judged(&["Sec-WebSocket-Extensions:"]), Ok(None));
        let good = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12";
        let agreed = judged(&[good]).unwrap().unwrap();
        assert_eq!((agreed.client_window, agreed.server_window), (15, 12));
        // RFC 6455 §11.3.2: at most one field, even where the second is empty.
        for second in [good, "Sec-WebSocket-Extensions:"] {
            let twice = HandshakeError::Compression(NegotiationError::Repeated);
            assert_eq!(judged(&[good, second]), Err(twice));
        }
        for (value, why) in [
            (
                "permessage-deflate",
                "is accepted without server_max_window_bits, which was asked for; offer it to this \
                 server without server_max_window_bits",
            ),
            ("permessage-deflate; server_max_window_bits=13", "must not be \"13\""),
            ("permessage-deflate; server_max_window_bits", "has no value"),
            ("permessage-deflate; a\x1b", "HTTP"),
            ("permessage-deflate; \"", "is not a list of extensions"),
            ("x-webkit-deflate-frame", "uses extension \"x-webkit-deflate-frame\""),
        ] {
            let error = judged(&[&format!("Sec-WebSocket-Extensions: {value}")]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(why) || why == "HTTP", "{value}: {text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
    }

    /// As `answer`, for texts whose error shows more of the input if it comes whole.
    fn answer_kind(text: &str) -> Result<Option<Answer>, HandshakeError> {
        match handshake().receive(text.as_bytes()) {
            Err(HandshakeError::Head(e)) => Err(HandshakeError::Head(e)),
            _ => answer(text),
        }
    }

    /// A tape states them, so that it runs as the connection did.
    #[cfg(all(feature = "tape", feature = "net"))]
    #[test]
    fn a_request_tells_what_a_tape_has_to_state() {
        let mut request = request();
        request.secret_protocol("bearer.hidden").unwrap();
        for (name, want) in [("chat", false), ("bearer.hidden", true), ("bearer.hidde", false)] {
            assert_eq!(request.is_secret_protocol(name.as_bytes()), want, "{name}");
        }
        assert_eq!(request.redirects(), (0, 0));
        request.follow_redirects(3).set_hops(2);
        assert_eq!(request.redirects(), (2, 3));
        #[cfg(feature = "deflate")]
        {
            assert_eq!(request.offered(), None);
            let wanted = Compression { level: 7, ..Compression::default() };
            assert_eq!(request.compression(wanted).offered(), Some(&wanted));
        }
    }
}
