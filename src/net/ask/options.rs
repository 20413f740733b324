//! What a WebSocket is opened with.

use std::sync::Arc;
use std::time::Duration;

use super::proxy::Proxy;
use super::way::{Own, Way};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::sys::{OwnedStream, SocketOptions};
use crate::policy::Policy;
#[cfg(feature = "deflate")]
use crate::proto::Compression;
use crate::proto::{Request, RequestError, Settings, Url};

/// Well below the minute after which the first proxies and routers forget a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What a connection is opened with: URL, header fields, subprotocols, limits, times.
///
/// ```
/// use std::time::Duration;
///
/// let options = moonwire::Options::new("wss://example.com/chat")?
///     .header("Authorization", "Bearer …")?
///     .protocol("chat")?
///     .timeout(Duration::from_secs(10))
///     .ping_interval(Some(Duration::from_secs(30)));
/// # Ok::<(), moonwire::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) request: Request,
    pub(crate) timeout: Option<Duration>,
    /// Unset: what fits the face.
    pub(crate) ping_interval: Option<Option<Duration>>,
    pub(crate) hold_close: bool,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) policy: Policy,
    /// Unset: the usual one.
    pub(crate) way: Option<Box<Way>>,
}

impl Options {
    /// Reads the URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Url`]: the URL is malformed, or its scheme is none of a WebSocket.
    pub fn new(url: &str) -> Result<Options, Error> {
        let parsed = Url::parse(url);
        let parsed = parsed.map_err(|e| Error::of_text(url, ErrorKind::Url(e)))?;
        let request = Request::new(parsed);
        Ok(Options {
            request,
            timeout: None,
            ping_interval: None,
            hold_close: false,
            limits: None,
            policy: Policy::open(),
            way: None,
        })
    }

    /// Rules of this connection, on top of those of its reactor
    /// ([`Config::policy`](crate::Config::policy)), which are asked first.
    pub fn policy(mut self, policy: Policy) -> Options {
        self.policy = policy;
        self
    }

    /// Goes over a stream that is connected already, to the server that the URL names or to whatever
    /// leads there: nothing is resolved, connected or asked of a proxy. A `TcpStream`, a `UnixStream`,
    /// or what else gives an owned descriptor or Windows socket; it becomes non-blocking, and is closed
    /// with the connection.
    ///
    /// It is good for one connection: a second one ([`ErrorKind::Used`]) is made by a clone of the
    /// options. The policy is asked for the URL, and for the address of the
    /// peer if it has one; a peer that is no address (a Unix socket) is the owner's choice.
    pub fn over(mut self, stream: impl Into<OwnedStream>) -> Options {
        self.way.get_or_insert_default().over = Some(Own::new(stream.into()));
        self
    }

    /// Goes through a proxy, whatever [`Config::proxy`](crate::Config::proxy) says.
    pub fn proxy(mut self, proxy: Proxy) -> Options {
        self.way.get_or_insert_default().proxy = Some(Some(proxy));
        self
    }

    /// Goes through no proxy, whatever [`Config::proxy`](crate::Config::proxy) says.
    pub fn no_proxy(mut self) -> Options {
        self.way.get_or_insert_default().proxy = Some(None);
        self
    }

    /// What its socket is made with.
    pub fn socket(mut self, socket: SocketOptions) -> Options {
        self.way.get_or_insert_default().socket = socket;
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
    pub fn header(mut self, name: &str, value: &str) -> Result<Options, Error> {
        match self.request.header(name, value) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Adds a header field that no trace shows.
    ///
    /// # Errors
    ///
    /// As [`Options::header`].
    pub fn secret_header(mut self, name: &str, value: &str) -> Result<Options, Error> {
        match self.request.secret_header(name, value) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Follows at most so many redirects of the handshake; 0, the default: none, and the error names
    /// where one leads. What is followed, what is refused
    /// ([`HandshakeError::Redirect`](crate::proto::HandshakeError::Redirect)) and which secrets stay
    /// behind: [`Request::follow_redirects`].
    ///
    /// Each hop is asked of the policy and waits for its own turn with its address (RFC 6455 §4.1); the
    /// time limit is one over all of them, apart from such waits. [`Opened::url`] has the URL that
    /// answered.
    ///
    /// [`Opened::url`]: crate::proto::Opened::url
    pub fn follow_redirects(mut self, max: u32) -> Options {
        self.request.follow_redirects(max);
        self
    }

    /// Hides the URL, and those that redirects lead to, from traces, errors and `Debug`.
    pub fn secret_url(mut self) -> Options {
        self.request.secret_url();
        self
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the name is no token (RFC 6455 §4.1), or is there already.
    pub fn protocol(mut self, name: &str) -> Result<Options, Error> {
        match self.request.protocol(name) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Offers a subprotocol that is a secret; see [`Request::secret_protocol`].
    ///
    /// # Errors
    ///
    /// As [`Options::protocol`].
    pub fn secret_protocol(mut self, name: &str) -> Result<Options, Error> {
        match self.request.secret_protocol(name) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Offers to compress messages (permessage-deflate, RFC 7692); not offered unless asked for. The server
    /// may decline: [`Opened::compression`](crate::proto::Opened::compression) says what was agreed on.
    ///
    /// [`Compression`] says what it costs and when it is unsafe.
    ///
    /// ```
    /// use moonwire::{Options, proto::Compression};
    ///
    /// let options = Options::new("wss://example.com/feed")?
    ///     .compression(Compression { client_takeover: false, ..Compression::default() });
    /// # Ok::<(), moonwire::Error>(())
    /// ```
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, wanted: Compression) -> Options {
        self.request.compression(wanted);
        self
    }

    fn refused(&self, e: RequestError) -> Error {
        Error::new(self.url(), Stage::Url, ErrorKind::Request(e))
    }

    /// Time for all of resolve, connect, TLS and handshake; without it [`Limits::opening`].
    pub fn timeout(mut self, timeout: Duration) -> Options {
        self.timeout = Some(timeout);
        self
    }

    /// Keep-alive pings after so long a silence, each to be answered by any byte within
    /// [`Limits::pong`]; `None`: never.
    ///
    /// Where it is not set, a [`WebSocket`](crate::WebSocket), while one of its calls waits, and a
    /// [`Client`](crate::Client) ping after 30 s: their owners wait for a server, and one that is gone without a word (a cable, a
    /// router that forgot the connection) would be waited for for ever. A
    /// [`Reactor`](crate::Reactor) does not: what wakes its loop is the loop's own choice, and it
    /// may know better signs of life.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Options {
        self.ping_interval = Some(interval);
        self
    }

    /// For a face whose owner waits.
    pub(in crate::net) fn kept_alive(mut self) -> Options {
        self.ping_interval.get_or_insert(Some(KEEP_ALIVE));
        self
    }

    /// Leaves our close frame to the owner when the server closes or breaks a rule; see [`Settings::hold_close`].
    pub fn hold_close(mut self, hold: bool) -> Options {
        self.hold_close = hold;
        self
    }

    /// Limits of this connection, instead of the reactor's. What the connections of a reactor share
    /// stays the reactor's; the fields of [`Limits`] say which those are.
    pub fn limits(mut self, limits: Limits) -> Options {
        self.limits = Some(Arc::new(limits));
        self
    }

    pub(in crate::net) fn settings(&self, limits: Arc<Limits>, trace: bool) -> Settings {
        let ping_interval = self.ping_interval.flatten();
        Settings { limits, ping_interval, hold_close: self.hold_close, trace }
    }
}
