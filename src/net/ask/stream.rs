//! What a stream is opened with.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::source::Source;
use super::way::{Own, Way};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::sys::{OwnedStream, SocketOptions};
use crate::policy::Policy;
use crate::proto::http::{Delivery, Request, Timing};
use crate::proto::{RequestError, Url};

/// What a stream is opened with: a request over HTTP/1.1, how its response is handed over, and how
/// long things may take.
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
    /// Unset: the usual one.
    pub(crate) way: Option<Box<Way>>,
    /// Where a body comes from that is not in the request.
    pub(in crate::net) source: Option<Source>,
}

impl StreamOptions {
    /// Reads the URL (`http` or `https`) and checks the method, which is case-sensitive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Url`]: the URL is malformed, or neither `http` nor `https`.
    /// [`ErrorKind::Request`]: the method is no token, or `CONNECT`.
    pub fn new(method: &str, url: &str) -> Result<StreamOptions, Error> {
        let bad = |kind| Error::of_text(url, kind);
        let parsed = Url::parse_http(url).map_err(|e| bad(ErrorKind::Url(e)))?;
        let request = Request::new(method, parsed).map_err(|e| bad(ErrorKind::Request(e)))?;
        let delivery = Delivery::Raw;
        let (limits, policy, way, source) = (None, Policy::open(), None, None);
        let (timeout, idle) = (None, None);
        Ok(StreamOptions { request, delivery, timeout, idle, limits, policy, way, source })
    }

    /// Rules of this request and of what it is redirected to, on top of those of its reactor
    /// ([`Config::policy`](crate::Config::policy)), which are asked first.
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

    /// Goes over a stream that is connected already, to the server that the URL names or to whatever
    /// leads there: nothing is resolved, connected or asked of a proxy. A `TcpStream`, a `UnixStream`,
    /// or what else gives an owned descriptor or Windows socket; it becomes non-blocking, and is closed
    /// with the connection.
    ///
    /// It is good for one connection: a second one ([`ErrorKind::Used`]) is made by a clone of the
    /// options, by a redirect, or by an
    /// [`EventSource`](crate::EventSource) that connects again. The policy is asked for the URL, and for the address of the
    /// peer if it has one; a peer that is no address (a Unix socket) is the owner's choice.
    pub fn over(mut self, stream: impl Into<OwnedStream>) -> StreamOptions {
        self.way.get_or_insert_default().over = Some(Own::new(stream.into()));
        self
    }

    /// Goes through a proxy, whatever [`Config::proxy`](crate::Config::proxy) says.
    pub fn proxy(mut self, proxy: Proxy) -> StreamOptions {
        self.way.get_or_insert_default().proxy = Some(Some(proxy));
        self
    }

    /// Goes through no proxy, whatever [`Config::proxy`](crate::Config::proxy) says.
    pub fn no_proxy(mut self) -> StreamOptions {
        self.way.get_or_insert_default().proxy = Some(None);
        self
    }

    /// What its socket is made with.
    pub fn socket(mut self, socket: SocketOptions) -> StreamOptions {
        self.way.get_or_insert_default().socket = socket;
        self
    }

    /// Whether the request may go over a connection that an earlier such request of the same reactor (or
    /// [`Client`](crate::Client)) has left, and leaves its own for later ones; not by default. It saves
    /// the TCP connection and the TLS handshake where several requests go to one server. A face with one
    /// request of its own, as [`StreamOptions::open`] makes it, has nobody to leave it to.
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
    /// * One that an answer has left that was read to its end, and behind which nothing came: with a
    ///   length or in chunks (or without a body), of a server that keeps connections (RFC 9112 §9.3).
    ///   It waits for [`Limits::kept_idle`] at most, shorter where the server says so, and what comes
    ///   meanwhile closes it: it is never taken for an answer.
    /// * To the same scheme, host and port, by the same proxy, with the same [`SocketOptions`], and for
    ///   a request with the same secrets: `Authorization`, `Cookie`, and what else is
    ///   [kept out of traces](StreamOptions::secret_header) by its name or its owner's word. So a
    ///   request that is signed anew each time finds none.
    /// * One that the policy allows for this request, too.
    /// * Not [`StreamOptions::over`] a stream of one's own, and for a body that is
    ///   [read while it is sent](StreamOptions::body_from) not one that was left by others.
    ///
    /// # When the server has closed it
    ///
    /// A server may close a connection while a request is on its way to it. If no byte of an answer has
    /// come, a request that may be sent twice (`GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE`: RFC
    /// 9110 §9.2.2) goes again, over a new connection and within its time limit. For others that is an
    /// error, which says that the connection was kept. An answer of 408, which servers give to a
    /// connection that waits for too long, counts as none for such a request.
    pub fn keep_alive(mut self, yes: bool) -> StreamOptions {
        self.request.keep_alive = yes;
        self
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        self.request.url()
    }

    /// Adds a header field; see [`Request::header`] for what is refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the name is no token, the value has a control character, the field
    /// belongs to the client, or it is there already.
    pub fn header(self, name: &str, value: &str) -> Result<StreamOptions, Error> {
        self.with(|request| request.header(name, value).map(drop))
    }

    /// Adds a header field that no trace shows, and that no other server is sent after a redirect.
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::header`].
    pub fn secret_header(self, name: &str, value: &str) -> Result<StreamOptions, Error> {
        self.with(|request| request.secret_header(name, value).map(drop))
    }

    /// Hides the URL, and those that redirects lead to, from traces, errors and `Debug`.
    pub fn secret_url(mut self) -> StreamOptions {
        self.request.secret_url();
        self
    }

    /// The body, sent with its length. Refused where the method has none; see [`Request::body`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the method has no body.
    pub fn body(self, body: impl AsRef<[u8]>) -> Result<StreamOptions, Error> {
        let mut with = self.with(|request| request.body(body.as_ref()).map(drop))?;
        with.source = None;
        Ok(with)
    }

    /// The body, sent compressed by gzip with `Content-Encoding: gzip`, to a server that is known to read
    /// it; see [`Request::body_gzip`].
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::body`]; and if `Content-Encoding` is among the fields already.
    #[cfg(feature = "deflate")]
    pub fn body_gzip(self, body: impl AsRef<[u8]>) -> Result<StreamOptions, Error> {
        let mut with = self.with(|request| request.body_gzip(body).map(drop))?;
        with.source = None;
        Ok(with)
    }

    /// Whether compressed responses are asked for (`Accept-Encoding: gzip, deflate`) and decoded as they
    /// come; not by default. What is an error then, what is decoded in any case and when it is unsafe:
    /// [`Request::decode`].
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

    /// A body that is read while it is sent, and of which at most about
    /// [`Limits::body_queue`] bytes are in memory. With a `length` that is what the request says
    /// (`Content-Length`), and a reader that has fewer bytes or more is an error
    /// ([`HttpError::ShortBody`](crate::proto::http::HttpError::ShortBody),
    /// [`LongBody`](crate::proto::http::HttpError::LongBody)), before the server has a whole request.
    /// Without one the body goes in chunks (`Transfer-Encoding: chunked`, RFC 9112 §7.1), which a
    /// server of HTTP/1.0 cannot read. Refused where the method has no body.
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
    /// * On the poll thread, at most 64 KiB at a time, when the connection is there and has room. While
    ///   a reader blocks, **no connection of its reactor goes on**: give a file or what is in memory.
    /// * `Interrupted` is asked again at once, and `WouldBlock` after [`Limits::body_retry`], with no
    ///   limit of time but [`StreamOptions::timeout`]: the server is not what is waited for. Any other
    ///   error ends the request ([`ErrorKind::Upload`], [`Stage::Request`]), and
    ///   [`Error::unsent`] has the bytes that were read and did not leave.
    /// * Once. Clones of the options share the reader, and it belongs to the first whose connection is
    ///   there; for the others, and for a second connection of an [`EventSource`](crate::EventSource),
    ///   it is an error ([`ErrorKind::BodyTaken`]). So is a redirect that asks for the body again, as
    ///   307 and 308 do ([`HttpError::BodyAgain`](crate::proto::http::HttpError::BodyAgain)).
    /// * A server may answer before it has all of it. The answer is told, the rest is sent as long as
    ///   the server takes it, and the end of the answer ends that.
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
        with.source = Some(Source::new(reader));
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

    /// How the body is handed over; [`Delivery::Raw`] by default. The others ask for an event
    /// stream, and another answer is an error, with what the server said
    /// ([`Error::response`](crate::Error::response)).
    pub fn delivery(mut self, delivery: Delivery) -> StreamOptions {
        self.delivery = delivery;
        self
    }

    /// From now to the head of the response, redirects included. Without it [`Limits::opening`] up
    /// to a connection and [`Limits::response`] from there, and the sum of both over all redirects; the
    /// time in which a body leaves counts in neither.
    pub fn timeout(mut self, timeout: Duration) -> StreamOptions {
        self.timeout = Some(timeout);
        self
    }

    /// The longest time within the body without a byte of data; `None`, the default: any. Chunk
    /// lines and trailers do not count, so that a server cannot make it last by dripping them.
    pub fn idle(mut self, idle: Option<Duration>) -> StreamOptions {
        self.idle = idle;
        self
    }

    /// The time limits of its exchange, the head of which has to be there at `total`.
    pub(super) fn timing(&self, limits: &Limits, total: Instant) -> Timing {
        let response = self.timeout.is_none().then_some(limits.response);
        Timing { head_by: Some(total), response, idle: self.idle }
    }

    /// Limits of this stream, instead of the reactor's; see [`Options::limits`](crate::Options::limits).
    pub fn limits(mut self, limits: Limits) -> StreamOptions {
        self.limits = Some(Arc::new(limits));
        self
    }
}
