//! The options of a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use super::proxy::Proxy;
use super::way::{ProgramStream, Way};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::sys::{OwnedStream, SocketOptions};
use crate::policy::Policy;
#[cfg(feature = "deflate")]
use crate::proto::Compression;
use crate::proto::{Request, RequestError, Settings, Url};

/// Well below one minute, after which the first proxies and routers drop a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The options of a WebSocket: URL, header fields, subprotocols, limits, times.
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
    /// `None`: the default of the face.
    pub(crate) ping_interval: Option<Option<Duration>>,
    pub(crate) hold_close: bool,
    pub(crate) limits: Option<Arc<Limits>>,
    pub(crate) policy: Policy,
    /// `None`: resolve, connect, and use the proxy of the configuration.
    pub(crate) way: Option<Box<Way>>,
}

impl Options {
    /// Parses the URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Url`]: the URL is malformed, or its scheme is not for WebSockets.
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

    /// Sets the policy of this connection. The policy of its reactor
    /// ([`Config::policy`](crate::Config::policy)) is asked first.
    pub fn policy(mut self, policy: Policy) -> Options {
        self.policy = policy;
        self
    }

    /// Uses a stream that is already connected to the server of the URL, or to a tunnel to it: no
    /// name is resolved, no address is connected to, and no proxy is used. It is a `TcpStream`, a
    /// `UnixStream`, or anything else that converts to an owned descriptor or Windows socket. It
    /// becomes non-blocking, and is closed with the connection.
    ///
    /// It serves one connection: a second one, from a clone of the options, fails
    /// ([`ErrorKind::Used`]). The policy decides about the URL, and about the address of the peer
    /// if it has one. A peer without an address (a Unix socket) is not checked, since the program
    /// chose it.
    pub fn over(mut self, stream: impl Into<OwnedStream>) -> Options {
        self.way.get_or_insert_default().over = Some(ProgramStream::new(stream.into()));
        self
    }

    /// Uses a proxy, whatever [`Config::proxy`](crate::Config::proxy) is.
    pub fn proxy(mut self, proxy: Proxy) -> Options {
        self.way.get_or_insert_default().proxy = Some(Some(proxy));
        self
    }

    /// Uses no proxy, whatever [`Config::proxy`](crate::Config::proxy) is.
    pub fn no_proxy(mut self) -> Options {
        self.way.get_or_insert_default().proxy = Some(None);
        self
    }

    /// Sets the options of the socket.
    pub fn socket(mut self, socket: SocketOptions) -> Options {
        self.way.get_or_insert_default().socket = socket;
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

    /// Follows at most `max` redirects of the handshake. With 0, the default, none is followed, and
    /// the error names the target. [`Request::follow_redirects`] describes which redirects are
    /// followed or refused ([`HandshakeError::Redirect`](crate::proto::HandshakeError::Redirect)),
    /// and which secrets are not sent to the target.
    ///
    /// The policy decides about each redirect, and each waits at the gate of its address (RFC 6455
    /// §4.1). The time limit covers all redirects together, without the waits at gates.
    /// [`Opened::url`] is the URL of the server that accepted.
    ///
    /// [`Opened::url`]: crate::proto::Opened::url
    pub fn follow_redirects(mut self, max: u32) -> Options {
        self.request.follow_redirects(max);
        self
    }

    /// Hides the URL, and the URLs that redirects lead to, from traces, errors and `Debug`.
    pub fn secret_url(mut self) -> Options {
        self.request.secret_url();
        self
    }

    /// Offers a subprotocol, behind the ones offered before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Request`]: the name is no token (RFC 6455 §4.1), or was offered before.
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

    /// Offers to compress messages (permessage-deflate, RFC 7692); off by default. The server may
    /// decline: [`Opened::compression`](crate::proto::Opened::compression) is the result.
    ///
    /// [`Compression`] describes its cost, and when it is unsafe.
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

    /// The time for resolving, connecting, TLS and handshake together; default [`Limits::opening`].
    pub fn timeout(mut self, timeout: Duration) -> Options {
        self.timeout = Some(timeout);
        self
    }

    /// Sends a keep-alive ping when nothing was received for this long; after each ping, some byte
    /// has to arrive within [`Limits::pong`]. `None`: sends no pings.
    ///
    /// Without this call, a [`WebSocket`](crate::WebSocket), while one of its calls waits, and a
    /// [`Client`](crate::Client) ping after 30 s: programs that use them wait for a server, and
    /// would wait for ever if it is gone without a close (a cable, a router that dropped the
    /// connection). A [`Reactor`](crate::Reactor) does not ping by default: the program decides
    /// when its loop wakes, and may have better signs that the server is alive.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Options {
        self.ping_interval = Some(interval);
        self
    }

    /// Sets the ping interval of a face whose calls wait, unless the program has set one.
    pub(in crate::net) fn kept_alive(mut self) -> Options {
        self.ping_interval.get_or_insert(Some(KEEP_ALIVE));
        self
    }

    /// Whether our close frame waits for the program when the server closes or breaks a rule; see
    /// [`Settings::hold_close`].
    pub fn hold_close(mut self, hold: bool) -> Options {
        self.hold_close = hold;
        self
    }

    /// Sets the limits of this connection instead of the reactor's. Limits that all connections of
    /// a reactor share stay the reactor's; the documentation of [`Limits`] marks them.
    pub fn limits(mut self, limits: Limits) -> Options {
        self.limits = Some(Arc::new(limits));
        self
    }

    pub(in crate::net) fn settings(&self, limits: Arc<Limits>, trace: bool) -> Settings {
        let ping_interval = self.ping_interval.flatten();
        Settings { limits, ping_interval, hold_close: self.hold_close, trace }
    }
}
