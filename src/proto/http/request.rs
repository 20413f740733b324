//! A request whose response the program reads while it arrives.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "deflate")]
use super::coding;
use crate::proto::headers::{Headers, RequestError, write_start};
use crate::proto::secret::Guarded;
use crate::proto::token::{escape, is_token};
use crate::proto::url::Url;

/// How the session reports the body of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// Bytes as they arrive: each chunk of a chunked body as one event (or several, if reads cut
    /// it), otherwise the bytes of each read.
    #[default]
    Raw,
    /// An event stream (WHATWG HTML §9.2), parsed.
    Events,
    /// An event stream as text: each event with its field names and its blank line. The session
    /// checks the type of the response, not its status.
    Blocks,
    /// The bytes of an event stream as they arrive, for a parser that outlives the connection, such
    /// as [`sse::Events`](crate::proto::sse::Events).
    EventBytes,
}

impl Delivery {
    /// Whether the response has to be an event stream.
    pub fn is_event_stream(self) -> bool {
        self != Delivery::Raw
    }
}

/// A request: method, URL, header fields, body.
///
/// ```
/// use moonwire::proto::{Url, http::Request};
///
/// let mut request = Request::new("POST", Url::parse_http("https://example.com/v1/chat")?)?;
/// request.header("Content-Type", "application/json")?.body(&b"{}"[..])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: Url,
    pub(crate) headers: Headers,
    pub(crate) body: Option<Payload>,
    /// The body was compressed with gzip.
    #[cfg(feature = "deflate")]
    coded: bool,
    /// The request accepts coded responses, and the session decodes them.
    #[cfg(feature = "deflate")]
    pub(crate) decode: bool,
    /// How many redirects were followed before this request.
    pub(crate) hops: u32,
    /// The request asks the server to keep the connection open (RFC 9112 §9.3).
    pub(crate) keep_alive: bool,
    /// Set for a request that is sent to a proxy in absolute form.
    pub(crate) for_proxy: Option<Arc<ForProxy>>,
}

/// The fields for a proxy that handles the request itself (no tunnel).
#[derive(PartialEq, Eq)]
pub(crate) struct ForProxy {
    /// The fields for the proxy, as they are sent and as they may be shown.
    pub(crate) fields: [Vec<u8>; 2],
    /// The fields among them that the program has added.
    pub(crate) headers: Headers,
    /// Our credentials for the proxy, which its response may repeat.
    pub(crate) secrets: Vec<Guarded>,
}

impl ForProxy {
    fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        self.headers.are_repeated_in(bytes) || self.secrets.iter().any(|s| s.is_repeated_in(bytes))
    }
}

/// The body of a request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The whole body.
    Whole(Arc<[u8]>),
    /// The program supplies the body in pieces; its length in bytes.
    Length(u64),
    /// The program supplies the body in pieces, and its length is not known (RFC 9112 §7.1).
    Chunked,
}

impl Payload {
    /// Whether the program supplies the body in pieces, each of which exists only once.
    pub(crate) fn is_coming(&self) -> bool {
        !matches!(self, Payload::Whole(_))
    }
}

/// Shows lengths and no bytes.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Whole(body) => body.len().fmt(f),
            Payload::Length(length) => write!(f, "{length} to come"),
            Payload::Chunked => f.write_str("chunks to come"),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &self.headers)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request without further fields and without a body. The method is a token (RFC 9110 §9.1),
    /// case-sensitive, and not `CONNECT`.
    ///
    /// # Errors
    ///
    /// [`RequestError::Method`].
    pub fn new(method: &str, url: Url) -> Result<Request, RequestError> {
        if !is_token(method.as_bytes()) || method == "CONNECT" {
            return Err(RequestError::Method(escape(method.as_bytes(), 40)));
        }
        Ok(Request {
            method: method.to_owned(),
            url,
            headers: Headers::default(),
            body: None,
            #[cfg(feature = "deflate")]
            coded: false,
            #[cfg(feature = "deflate")]
            decode: false,
            hops: 0,
            keep_alive: false,
            for_proxy: None,
        })
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Adds a header field. The value is sent as its UTF-8 bytes.
    ///
    /// Refused: a name that is no token, a value with control characters, and the fields that frame
    /// a message or belong to the client (`Host`, `Content-Length`, `Accept-Encoding`, …).
    ///
    /// # Errors
    ///
    /// [`RequestError`]: the name is no token, the value has a control character, the field belongs
    /// to the client, or it is there already.
    pub fn header(&mut self, name: &str, value: &str) -> Result<&mut Request, RequestError> {
        self.add(name, value, false)
    }

    /// Adds a header field that no trace shows, and that is not sent to another origin after a
    /// redirect.
    ///
    /// # Errors
    ///
    /// As [`Request::header`].
    pub fn secret_header(&mut self, name: &str, value: &str) -> Result<&mut Request, RequestError> {
        self.add(name, value, true)
    }

    /// Sets the body, sent with its `Content-Length`. Refused for `GET`, `HEAD` and `TRACE`, in
    /// which a body means nothing (RFC 9110 §9.3).
    ///
    /// # Errors
    ///
    /// [`RequestError::Body`].
    pub fn body(&mut self, body: impl Into<Arc<[u8]>>) -> Result<&mut Request, RequestError> {
        self.set_body(Payload::Whole(body.into()))
    }

    /// Sets the body, and sends it compressed with gzip (RFC 1952), with `Content-Encoding: gzip`
    /// and the `Content-Length` of the compressed bytes. Use it for servers that are known to
    /// support it: a request cannot ask. Servers without support answer 415 (RFC 9110 §15.5.16) or
    /// treat the compressed bytes as the body. An empty body is not compressed.
    ///
    /// # Errors
    ///
    /// As [`Request::body`]; and [`RequestError::HeaderTwice`] if the program has added its own
    /// `Content-Encoding`.
    #[cfg(feature = "deflate")]
    pub fn body_gzip(&mut self, body: impl AsRef<[u8]>) -> Result<&mut Request, RequestError> {
        let body = body.as_ref();
        if self.headers.has(CONTENT_ENCODING) {
            let name = CONTENT_ENCODING.to_owned();
            return Err(RequestError::HeaderTwice { name: name.clone(), first: name });
        }
        match coding::gzip(body).filter(|_| !body.is_empty()) {
            Some(coded) => {
                self.body(coded)?;
                self.coded = true;
                Ok(self)
            }
            None => self.body(body),
        }
    }

    /// Whether the request accepts compressed responses, which the session then decodes; default
    /// false. `Accept-Encoding` is `gzip, deflate` if so, and `identity` otherwise.
    ///
    /// The session reports the decoded body, each piece as soon as possible
    /// ([`Response::decoded`]). It fails ([`CodingError`]) if the data is invalid, truncated, has a
    /// wrong checksum or length or further bytes behind its end, if the output becomes too large
    /// ([`Limits::decoded_ratio`]), and if there are several codings. It reports the pieces before
    /// the error.
    ///
    /// Event streams ([`Delivery::is_event_stream`]) are decoded in any case, even if the request
    /// accepted only `identity`.
    ///
    /// Over TLS, the length of compressed data tells an observer something about the data: do not
    /// use it for a response that contains a secret and text that an attacker chooses (BREACH).
    ///
    /// [`Response::decoded`]: super::Response::decoded
    /// [`CodingError`]: super::CodingError
    /// [`Limits::decoded_ratio`]: crate::Limits::decoded_ratio
    #[cfg(feature = "deflate")]
    pub fn decode(&mut self, yes: bool) -> &mut Request {
        self.decode = yes;
        self
    }

    /// Announces a body that the program supplies in pieces ([`Session::send_body`]): with a
    /// length, sent as `Content-Length`, or without one, sent with `Transfer-Encoding: chunked`
    /// (RFC 9112 §7.1), which an HTTP/1.0 server cannot read. Refused as [`Request::body`] is. A
    /// redirect that needs the body again is an error ([`HttpError::BodyAgain`]).
    ///
    /// [`Session::send_body`]: crate::proto::Session::send_body
    /// [`HttpError::BodyAgain`]: super::HttpError::BodyAgain
    ///
    /// # Errors
    ///
    /// [`RequestError::Body`].
    pub fn body_to_come(&mut self, length: Option<u64>) -> Result<&mut Request, RequestError> {
        self.set_body(length.map_or(Payload::Chunked, Payload::Length))
    }

    fn set_body(&mut self, body: Payload) -> Result<&mut Request, RequestError> {
        if matches!(self.method.as_str(), "GET" | "HEAD" | "TRACE") {
            return Err(RequestError::Body(self.method.clone()));
        }
        self.body = Some(body);
        #[cfg(feature = "deflate")]
        {
            self.coded = false;
        }
        Ok(self)
    }

    /// Whether the request may be sent again if nobody knows whether the server has handled it (RFC
    /// 9110 §9.2.2).
    #[cfg(any(feature = "net", test))]
    pub(crate) fn may_be_repeated(&self) -> bool {
        let method = self.method.as_str();
        matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
            && !self.is_body_to_come()
    }

    /// Whether the program supplies the body in pieces.
    pub(crate) fn is_body_to_come(&self) -> bool {
        self.body.as_ref().is_some_and(Payload::is_coming)
    }

    /// Hides the URL, and the URLs that redirects lead to, from traces, errors and `Debug`.
    pub fn secret_url(&mut self) -> &mut Request {
        self.url = self.url.clone().into_secret();
        self
    }

    /// Whether `bytes`, sent by the peer, may repeat a secret of this request.
    pub(crate) fn is_repeated_in(&self, bytes: &[u8]) -> bool {
        self.url.is_repeated_in(bytes)
            || self.headers.are_repeated_in(bytes)
            || self.for_proxy.as_ref().is_some_and(|proxy| proxy.is_repeated_in(bytes))
    }

    /// Whether the head has this field: the program added it, or every head has it.
    #[cfg(feature = "net")]
    pub(crate) fn has_field(&self, name: &str) -> bool {
        let of_all = ["accept", "cache-control", "user-agent"];
        self.headers.has(name) || of_all.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Writes the head; if it is to be `shown`, secrets are masked.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>, delivery: Delivery, shown: bool) {
        write_start(out, &self.method, &self.url, self.for_proxy.is_some(), shown);
        if let Some(proxy) = &self.for_proxy {
            out.extend_from_slice(&proxy.fields[usize::from(shown)]);
        }
        // By default a connection carries one exchange: then bytes that nobody asked for cannot be
        // mistaken for the response to another request.
        let kept = if self.keep_alive { "keep-alive" } else { "close" };
        for part in ["Connection: ", kept, "\r\nAccept-Encoding: ", self.accepted(), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let (accept, no_cache) = match delivery.is_event_stream() {
            true => ("text/event-stream", true),
            false => ("*/*", false),
        };
        if !self.headers.has("accept") {
            out.extend_from_slice(format!("Accept: {accept}\r\n").as_bytes());
        }
        if no_cache && !self.headers.has("cache-control") {
            out.extend_from_slice(b"Cache-Control: no-cache\r\n");
        }
        // RFC 9110 §8.6: `Content-Length: 0` for methods whose body has a meaning.
        let meant = matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        let length = match &self.body {
            Some(Payload::Whole(body)) => Some(body.len() as u64),
            Some(Payload::Length(length)) => Some(*length),
            Some(Payload::Chunked) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                None
            }
            None => meant.then_some(0),
        };
        #[cfg(feature = "deflate")]
        if self.is_coded() {
            out.extend_from_slice(b"Content-Encoding: gzip\r\n");
        }
        if let Some(length) = length {
            out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        self.headers.write(out, shown);
    }

    /// The codings that the request accepts.
    fn accepted(&self) -> &'static str {
        #[cfg(feature = "deflate")]
        if self.decode {
            return coding::ACCEPTED;
        }
        "identity"
    }

    /// Whether the body was compressed.
    #[cfg(feature = "deflate")]
    fn is_coded(&self) -> bool {
        self.coded && self.body.is_some()
    }

    /// Adds a field, unless it is `Content-Encoding` and the compressed body has set it.
    fn add(&mut self, name: &str, value: &str, secret: bool) -> Result<&mut Request, RequestError> {
        #[cfg(feature = "deflate")]
        if self.is_coded() && name.eq_ignore_ascii_case(CONTENT_ENCODING) {
            let first = CONTENT_ENCODING.to_owned();
            return Err(RequestError::HeaderTwice { name: name.to_owned(), first });
        }
        self.headers.add(name, value, secret)?;
        Ok(self)
    }
}

/// The field that a compressed body sets.
#[cfg(feature = "deflate")]
const CONTENT_ENCODING: &str = "Content-Encoding";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, url: &str) -> Request {
        Request::new(method, Url::parse_http(url).unwrap()).unwrap()
    }

    fn written(request: &Request, delivery: Delivery) -> String {
        let mut out = Vec::new();
        request.write_head(&mut out, delivery, false);
        String::from_utf8(out).unwrap()
    }

    fn lines(lines: &[&str]) -> String {
        lines.iter().map(|l| format!("{l}\r\n")).chain(["\r\n".to_owned()]).collect()
    }

    const AGENT: &str = concat!("User-Agent: moonwire/", env!("CARGO_PKG_VERSION"));

    #[test]
    fn each_field_stands_once() {
        // FAULTS 56.
        let get = request("GET", "http://a.example:81/x?y#z");
        let want = [
            "GET /x?y HTTP/1.1",
            "Host: a.example:81",
            "Connection: close",
            "Accept-Encoding: identity",
            "Accept: */*",
            AGENT,
        ];
        assert_eq!(written(&get, Delivery::Raw), lines(&want));

        let mut post = request("POST", "https://a/");
        post.header("accept", "application/json").unwrap();
        post.header("user-agent", "me").unwrap().body(&b"hello"[..]).unwrap();
        let want = [
            "POST / HTTP/1.1",
            "Host: a",
            "Connection: close",
            "Accept-Encoding: identity",
            "Cache-Control: no-cache",
            "Content-Length: 5",
            "accept: application/json",
            "user-agent: me",
        ];
        assert_eq!(written(&post, Delivery::Events), lines(&want));
    }

    /// RFC 9112 §3.2.2: a proxy gets the absolute URL and its own fields.
    #[test]
    fn a_proxy_is_sent_the_whole_url_and_what_is_for_it() {
        let mut get = request("GET", "http://a.example:81/x?y#z");
        let fields = [
            b"Proxy-Authorization: Basic abc\r\n".to_vec(),
            b"Proxy-Authorization: ***\r\n".to_vec(),
        ];
        let (headers, secrets) = (Headers::default(), Vec::new());
        get.for_proxy = Some(Arc::new(ForProxy { fields, headers, secrets }));
        let text = written(&get, Delivery::Raw);
        let start = "GET http://a.example:81/x?y HTTP/1.1\r\nHost: a.example:81\r\n\
                     Proxy-Authorization: Basic abc\r\n";
        assert!(text.starts_with(start), "{text}");
        get.secret_url();
        let mut out = Vec::new();
        get.write_head(&mut out, Delivery::Raw, true);
        let text = String::from_utf8(out).unwrap();
        let start = "GET *** HTTP/1.1\r\nHost: ***\r\nProxy-Authorization: ***\r\n";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn a_length_of_zero_is_said_where_a_body_would_mean_something() {
        for (method, is_sent) in
            [("GET", false), ("HEAD", false), ("DELETE", false), ("POST", true), ("PUT", true)]
        {
            let text = written(&request(method, "http://a/"), Delivery::Raw);
            assert_eq!(text.contains("Content-Length: 0\r\n"), is_sent, "{method}");
        }
    }

    /// FAULTS 42, 59 and 46: without a proxy, nobody gets the proxy's credentials.
    #[test]
    fn nothing_can_be_injected() {
        let url = || Url::parse_http("http://a/").unwrap();
        for method in ["", "GET /", "G\r\nX: y", "CONNECT", "G\0", "Gé", "G\u{10A}"] {
            assert!(
                matches!(Request::new(method, url()), Err(RequestError::Method(_))),
                "{method:?}"
            );
        }
        assert!(Request::new("get", url()).is_ok(), "methods are case-sensitive tokens");
        let mut r = request("POST", "http://a/");
        for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0"] {
            assert_eq!(r.header("X", bad).unwrap_err(), RequestError::HeaderValue("X".into()));
            assert_eq!(
                r.secret_header("X", bad).unwrap_err(),
                RequestError::HeaderValue("X".into())
            );
        }
        for owned in [
            "Host",
            "content-length",
            "TE",
            "Sec-WebSocket-Key",
            "Accept-Encoding",
            "Expect",
            "proxy-authorization",
        ] {
            assert_eq!(r.header(owned, "v").unwrap_err(), RequestError::HeaderOwned(owned.into()));
        }
        r.header("X", "\u{560D}\u{560A}").unwrap();
        assert_eq!(written(&r, Delivery::Raw).matches("\r\n").count(), 9);
    }

    #[test]
    fn methods_without_a_body_get_none() {
        for (method, fine) in [("GET", false), ("HEAD", false), ("TRACE", false), ("DELETE", true)]
        {
            assert_eq!(request(method, "http://a/").body(&b""[..]).is_ok(), fine, "{method}");
            for length in [None, Some(0), Some(1)] {
                let got = request(method, "http://a/").body_to_come(length).is_ok();
                assert_eq!(got, fine, "{method}");
            }
        }
    }

    /// RFC 9112 §6.2: a request never has both fields, whatever was set before.
    #[test]
    fn a_body_is_framed_by_its_length_or_by_chunks() {
        let mut r = request("POST", "http://a/");
        for (length, want) in [
            (Some(u64::MAX), "Content-Length: 18446744073709551615\r\n"),
            (None, "Transfer-Encoding: chunked\r\n"),
            (Some(0), "Content-Length: 0\r\n"),
        ] {
            r.body_to_come(length).unwrap();
            let text = written(&r, Delivery::Raw);
            assert!(text.contains(want), "{text}");
            let framed = text.matches("Content-Length").count() + text.matches("chunked").count();
            assert_eq!(framed, 1, "{text}");
        }
        r.body(&b"abc"[..]).unwrap();
        assert!(written(&r, Delivery::Raw).contains("Content-Length: 3\r\n"));
    }

    /// FAULTS 56, RFC 9110 §12.5.3: a request accepts exactly the codings that are decoded.
    #[cfg(feature = "deflate")]
    #[test]
    fn codings_are_asked_for_only_where_they_are_decoded() {
        let mut r = request("GET", "http://a/");
        for (decode, want) in [(true, "gzip, deflate"), (false, "identity")] {
            r.decode(decode);
            for delivery in [Delivery::Raw, Delivery::Events, Delivery::Blocks] {
                let text = written(&r, delivery);
                assert!(text.contains(&format!("\r\nAccept-Encoding: {want}\r\n")), "{text}");
                assert_eq!(text.matches("Accept-Encoding").count(), 1);
            }
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_body_that_is_compressed_says_so_and_has_its_own_length() {
        let mut r = request("POST", "http://a/");
        let body = "{\"a\":1},".repeat(1000);
        r.body_gzip(&body).unwrap();
        let Some(Payload::Whole(coded)) = &r.body else { panic!("{r:?}") };
        assert_eq!((&coded[..3], coded.len() < 200), (&b"\x1f\x8b\x08"[..], true));
        let want = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", coded.len());
        assert!(written(&r, Delivery::Raw).contains(&want));
        // A second body replaces the first.
        let twice = r.header("content-encoding", "br").unwrap_err();
        let first = "Content-Encoding".to_owned();
        assert_eq!(twice, RequestError::HeaderTwice { name: "content-encoding".into(), first });
        assert!(r.secret_header("Content-Encoding", "br").is_err());
        r.body(&b"plain"[..]).unwrap();
        assert!(!written(&r, Delivery::Raw).contains("Content-Encoding"));
        r.header("content-encoding", "br").unwrap();
        assert!(matches!(r.body_gzip(&body), Err(RequestError::HeaderTwice { .. })));
        assert!(written(&r, Delivery::Raw).contains("Content-Length: 5\r\n"), "as it was");
        // An empty body is not compressed.
        let mut r = request("POST", "http://a/");
        r.body_gzip("").unwrap();
        let text = written(&r, Delivery::Raw);
        assert!(text.contains("Content-Length: 0\r\n") && !text.contains("gzip"), "{text}");
        let refused = request("GET", "http://a/").body_gzip("x").unwrap_err();
        assert_eq!(refused, RequestError::Body("GET".into()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut r = request("GET", "http://host.example/path?key=abc");
        r.secret_header("X-Key", "abc").unwrap().secret_url();
        let mut out = Vec::new();
        r.write_head(&mut out, Delivery::Raw, true);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("GET *** HTTP/1.1\r\nHost: ***\r\n"), "{text}");
        assert!(text.contains("X-Key: ***\r\n"));
        for shown in [text, format!("{r:?}")] {
            assert!(!shown.contains("abc") && !shown.contains("example"), "{shown}");
        }
    }

    /// What the program has added for the proxy, and the credentials of its URL.
    #[test]
    fn the_answer_of_a_proxy_may_repeat_a_secret_of_either_kind() {
        let mut headers = Headers::default();
        headers.add("X-Own", "of-a-field", true).unwrap();
        headers.add("X-Plain", "of-no-secret", false).unwrap();
        let secrets = vec![Guarded::new("Basic of-the-url", true)];
        let mut get = request("GET", "http://a/");
        get.for_proxy = Some(Arc::new(ForProxy { fields: Default::default(), headers, secrets }));
        for (text, want) in [
            ("it was of-a-field", true),
            ("it was of-the-url", true),
            ("it was of-no-secret", false),
            ("", false),
        ] {
            assert_eq!(get.is_repeated_in(text.as_bytes()), want, "{text}");
        }
    }

    #[cfg(feature = "net")]
    #[test]
    fn a_head_has_the_fields_that_were_added_and_those_of_every_head() {
        let mut get = request("GET", "http://a/");
        get.header("X-Own", "1").unwrap();
        for (name, want) in [
            ("accept", true),
            ("Cache-Control", true),
            ("USER-AGENT", true),
            ("x-own", true),
            ("X-Own2", false),
            ("Cookie", false),
        ] {
            assert_eq!(get.has_field(name), want, "{name}");
        }
    }
}
