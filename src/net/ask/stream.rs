//! The options of a stream.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::source::BodySource;
use super::way::{ProgramStream, Way};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::sys::{OwnedStream, SocketOptions};
use crate::policy::Policy;
use crate::proto::http::{Delivery, Request, Timing};
use crate::proto::{RequestError, Url};

/// The options of a stream: an HTTP/1.1 request, how its response is reported, and time limits.
///
/// ```
/// use std::time::Duration;
/// use moonwire::StreamOptions;
///
/// let options = StreamOptions::new("POST", "https://example.com/v1/chat")?
///     .header("Content-Type", "application/json")?
///     .body(r#"{"stream": true}"#)?
///     .timeout(Duration::from_secs(20));
/// # Ok::<(), moonwire::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StreamOptions {
    pub(crate) request: Request,
    pub(crate) delivery: Delivery,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) policy: Policy,
    /// `None`: resolve, connect, and use the proxy of the configuration.
    pub(crate) way: Option<Box<Way>>,
    /// The reader of a body that is not in the request.
    pub(in crate::net) source: Option<BodySource>,
}

impl StreamOptions {
    /// Parses the URL (`http` or `https`) and checks the method, which is case-sensitive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Url`]: the URL is malformed, or its scheme is neither `http` nor `https`.
    /// [`ErrorKind::Request`]: the method is no token, or it is `CONNECT`.
    pub fn new(method: &str, url: &str) -> Result<StreamOptions, Error> {
        let bad = |kind| Error::of_text(url, kind);
        let parsed = Url::parse_http(url).map_err(|e| bad(ErrorKind::Url(e)))?;
        let request = Request::new(method, parsed).map_err(|e| bad(ErrorKind::Request(e)))?;
        let delivery = Delivery::Raw;
        let (limits, policy, way, source) = (None, Policy::open(), None, None);
        let (timeout, idle) = (None, None);
        Ok(StreamOptions { request, delivery, timeout, idle, limits, policy, way, source })
    }

    /// Sets the policy of this request and its redirects. The policy of its reactor
    /// ([`Config::policy`](crate::Config::policy)) is asked first.
    pub fn policy(mut self, policy: Policy) -> StreamOptions {
        self.policy = policy;
        self
    }

    /// A `GET` request.
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::new`].
    pub fn get(url: &str) -> Result<StreamOptions, Error> {
        StreamOptions::new("GET", url)
    }

    /// Uses a stream that is already connected to the server of the URL, or to a tunnel to it: no
    /// name is resolved, no address is connected to, and no proxy is used. It is a `TcpStream`, a
    /// `UnixStream`, or anything else that converts to an owned descriptor or Windows socket. It
    /// becomes non-blocking, and is closed with the connection.
    ///
    /// It serves one connection: a second one, from a clone of the options, for a redirect, or of
    /// an [`EventSource`](crate::EventSource) that reconnects, fails ([`ErrorKind::Used`]). The
    /// policy decides about the URL, and about the address of the peer if it has one. A peer
    /// without an address (a Unix socket) is not checked, since the program chose it.
    pub fn over(mut self, stream: impl Into<OwnedStream>) -> StreamOptions {
        self.way.get_or_insert_default().over = Some(ProgramStream::new(stream.into()));
        self
    }

    /// Uses a proxy, whatever [`Config::proxy`](crate::Config::proxy) is.
    pub fn proxy(mut self, proxy: Proxy) -> StreamOptions {
        self.way.get_or_insert_default().proxy = Some(Some(proxy));
        self
    }

    /// Uses no proxy, whatever [`Config::proxy`](crate::Config::proxy) is.
    pub fn no_proxy(mut self) -> StreamOptions {
        self.way.get_or_insert_default().proxy = Some(None);
        self
    }

    /// Sets the options of the socket.
    pub fn socket(mut self, socket: SocketOptions) -> StreamOptions {
        self.way.get_or_insert_default().socket = socket;
        self
    }

    /// Whether the request may use a connection that an earlier such request of the same reactor
    /// (or [`Client`](crate::Client)) has left open, and leaves its own open for later ones;
    /// default false. It saves the TCP connection and the TLS handshake if several requests go to
    /// one server. A handle for one request, such as [`StreamOptions::open`] returns, has no later
    /// request.
    ///
    /// ```no_run
    /// use moonwire::{Config, Conn, Event, Reactor, StreamOptions};
    ///
    /// let mut reactor = Reactor::new(Config::default())?;
    /// for page in 1..=3 {
    ///     let url = format!("https://example.com/items?page={page}");
    ///     reactor.open(StreamOptions::get(&url)?.keep_alive(true))?;
    ///     while !reactor.is_empty() {
    ///         reactor.turn(None, &mut |_: &mut Conn<'_>, event: Event<'_>| println!("{event:?}"))?;
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Which connections
    ///
    /// * One whose last response was received to its end, with nothing behind it: with a length or
    ///   in chunks (or without a body), from a server that keeps connections (RFC 9112 §9.3). It is
    ///   kept for at most [`Limits::kept_idle`], or for less if the server asks for that. It is
    ///   closed if bytes come meanwhile, which are never mistaken for a response.
    /// * To the same scheme, host and port, through the same proxy, with the same
    ///   [`SocketOptions`], and for a request with the same secrets: `Authorization`, `Cookie`, and
    ///   other fields that [no trace shows](StreamOptions::secret_header), by their name or because
    ///   the program marked them. A request that is signed anew each time therefore finds none.
    /// * One that the policy also allows for this request.
    /// * Not with [`StreamOptions::over`]; and a body that is [read while it is
    ///   sent](StreamOptions::body_from) always gets a new connection.
    ///
    /// # When the server has closed it
    ///
    /// A server may close a connection while a request is on its way to it. If no byte of a
    /// response has come, the client sends the request again if it may be sent twice (`GET`,
    /// `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE`: RFC 9110 §9.2.2), over a new connection and
    /// within its time limit. For other methods this is an error, whose text mentions that the
    /// connection had been kept. For a request that may be sent twice, a 408 counts as no response:
    /// servers send it on a connection that was idle for too long.
    pub fn keep_alive(mut self, yes: bool) -> StreamOptions {
        self.request.keep_alive = yes;
        self
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        self.request.url()
    }

    /// Adds a header field; [`Request::header`] describes which are refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the name is no token, the value has a control character, the field
    /// belongs to the client, or it is there already.
    pub fn header(self, name: &str, value: &str) -> Result<StreamOptions, Error> {
        self.with(|request| request.header(name, value).map(drop))
    }

    /// Adds a header field that no trace shows, and that is not sent to another origin after a
    /// redirect.
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::header`].
    pub fn secret_header(self, name: &str, value: &str) -> Result<StreamOptions, Error> {
        self.with(|request| request.secret_header(name, value).map(drop))
    }

    /// Hides the URL, and the URLs that redirects lead to, from traces, errors and `Debug`.
    pub fn secret_url(mut self) -> StreamOptions {
        self.request.secret_url();
        self
    }

    /// Sets the body, which is sent with its length; [`Request::body`] describes when it is
    /// refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the method has no body.
    pub fn body(self, body: impl AsRef<[u8]>) -> Result<StreamOptions, Error> {
        let mut with = self.with(|request| request.body(body.as_ref()).map(drop))?;
        with.source = None;
        Ok(with)
    }

    /// Sets the body, which is sent compressed with `Content-Encoding: gzip`, for a server that is
    /// known to support that; see [`Request::body_gzip`].
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::body`]; and if the program has added a `Content-Encoding`.
    #[cfg(feature = "deflate")]
    pub fn body_gzip(self, body: impl AsRef<[u8]>) -> Result<StreamOptions, Error> {
        let mut with = self.with(|request| request.body_gzip(body).map(drop))?;
        with.source = None;
        Ok(with)
    }

    /// Whether the request accepts compressed responses (`Accept-Encoding: gzip, deflate`), which
    /// are decoded as they come; default false. [`Request::decode`] describes its errors, which
    /// bodies are decoded in any case, and when it is unsafe.
    ///
    /// ```
    /// let options = moonwire::StreamOptions::get("https://example.com/big.json")?.decode(true);
    /// # Ok::<(), moonwire::Error>(())
    /// ```
    #[cfg(feature = "deflate")]
    pub fn decode(mut self, yes: bool) -> StreamOptions {
        self.request.decode(yes);
        self
    }

    /// Sets a body that is read while it is sent; only about [`Limits::body_queue`] bytes of it are
    /// in memory. A `length` is sent as `Content-Length`. If the reader has fewer or more bytes,
    /// that is an error ([`HttpError::ShortBody`](crate::proto::http::HttpError::ShortBody),
    /// [`LongBody`](crate::proto::http::HttpError::LongBody)) before the server has a complete
    /// request. Without a length, the body is sent in chunks (`Transfer-Encoding: chunked`, RFC
    /// 9112 §7.1), which an HTTP/1.0 server cannot read. Refused for methods without a body.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::open("backup.tar")?;
    /// let length = file.metadata()?.len();
    /// let options = moonwire::StreamOptions::new("PUT", "https://example.com/backup")?
    ///     .body_from(file, Some(length))?;
    /// println!("{}", options.open()?.response().status);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # How it is read
    ///
    /// * The poll thread reads it, at most 64 KiB at a time, when the connection is ready and has
    ///   room. While a reader blocks, **no connection of its reactor makes progress**: use a file
    ///   or bytes in memory.
    /// * After `Interrupted` it is read again at once, after `WouldBlock` when
    ///   [`Limits::body_retry`] has passed. Only [`StreamOptions::timeout`] limits that, since the
    ///   request does not wait for the server. Any other error ends the request
    ///   ([`ErrorKind::Upload`], [`Stage::Request`]), and [`Error::unsent`] is the number of bytes
    ///   that were read and not sent.
    /// * It is read once. Clones of the options share the reader, and the first of them whose
    ///   connection is ready takes it; for the others, and for a second connection of an
    ///   [`EventSource`](crate::EventSource), that is an error ([`ErrorKind::BodyTaken`]). So is a
    ///   redirect that needs the body again, such as 307 and 308
    ///   ([`HttpError::BodyAgain`](crate::proto::http::HttpError::BodyAgain)).
    /// * A server may answer before it has the whole body. Then the response is reported, and the
    ///   rest of the body is sent while the server takes it; the end of the response ends the
    ///   upload.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the method has no body.
    pub fn body_from(
        self,
        reader: impl Read + Send + 'static,
        length: Option<u64>,
    ) -> Result<StreamOptions, Error> {
        let mut with = self.with(|request| request.body_to_come(length).map(drop))?;
        with.source = Some(BodySource::new(reader));
        Ok(with)
    }

    fn with(
        mut self,
        change: impl FnOnce(&mut Request) -> Result<(), RequestError>,
    ) -> Result<StreamOptions, Error> {
        match change(&mut self.request) {
            Ok(()) => Ok(self),
            Err(e) => Err(Error::new(self.url(), Stage::Url, ErrorKind::Request(e))),
        }
    }

    /// Sets how the body is reported; default [`Delivery::Raw`]. The others require an event
    /// stream: any other response is an error that contains it
    /// ([`Error::response`](crate::Error::response)).
    pub fn delivery(mut self, delivery: Delivery) -> StreamOptions {
        self.delivery = delivery;
        self
    }

    /// The time from now to the head of the response, redirects included. Without this call:
    /// [`Limits::opening`] up to a connection and [`Limits::response`] from the last byte of the
    /// request, and the sum of both over all redirects, without the time in which a body is sent.
    pub fn timeout(mut self, timeout: Duration) -> StreamOptions {
        self.timeout = Some(timeout);
        self
    }

    /// The longest time without data within the body; `None`, the default: unlimited. Chunk lines
    /// and trailers do not count as data, so a server cannot extend the time with them.
    pub fn idle(mut self, idle: Option<Duration>) -> StreamOptions {
        self.idle = idle;
        self
    }

    /// The time limits of the exchange; `total` is the deadline of the head.
    pub(super) fn timing(&self, limits: &Limits, total: Instant) -> Timing {
        let response = self.timeout.is_none().then_some(limits.response);
        Timing { head_by: Some(total), response, idle: self.idle }
    }

    /// Sets the limits of this stream instead of the reactor's; see
    /// [`Options::limits`](crate::Options::limits).
    pub fn limits(mut self, limits: Limits) -> StreamOptions {
        self.limits = Some(Arc::new(limits));
        self
    }
}
