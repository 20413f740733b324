//! What a reactor is made with, and what a connection is opened with.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::policy::Policy;
use crate::proto::{Host, Request, RequestError, Settings, Url};
use crate::trace::Observer;

/// What a reactor is made with; the default suits most.
#[derive(Default)]
pub struct Config {
    /// Its bounds, and those of its connections.
    pub limits: Limits,
    /// TLS for `wss://`; without it, the roots of `webpki-roots` (made at the first use).
    /// [`crate::tls_config`] makes one with further roots.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Where to connect to instead of asking the resolver.
    pub resolve: Vec<Override>,
    /// Where connections may go; [`Policy::open`] by default.
    pub policy: Policy,
    /// Is told every frame and change of state.
    pub observer: Option<Box<dyn Observer>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("limits", &self.limits)
            .field("resolve", &self.resolve)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A host and port whose connections go elsewhere. The TLS name and the `Host` field stay those
/// of the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// In lower case, without a final dot.
    pub host: String,
    /// The port of the URL.
    pub port: u16,
    /// Where to connect to.
    pub to: SocketAddr,
}

impl std::str::FromStr for Override {
    type Err = String;

    /// Reads `HOST:PORT:ADDRESS` or `HOST:PORT:ADDRESS:PORT`; an IPv6 address may stand in
    /// brackets, and has to if a port follows.
    ///
    /// ```
    /// let o: moonwire::Override = "echo.example:443:[::1]:8443".parse()?;
    /// assert_eq!((o.host.as_str(), o.port, o.to.port()), ("echo.example", 443, 8443));
    /// # Ok::<(), String>(())
    /// ```
    fn from_str(text: &str) -> Result<Override, String> {
        let bad = || format!("\"{text}\" is not HOST:PORT:ADDRESS[:PORT]");
        let (host, rest) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            Some((v6, rest)) => (format!("[{v6}]"), rest.strip_prefix(':').ok_or_else(bad)?),
            None => {
                let (host, rest) = text.split_once(':').ok_or_else(bad)?;
                (host.to_owned(), rest)
            }
        };
        let (port, address) = rest.split_once(':').ok_or_else(bad)?;
        // The one normaliser decides what a host and a port are.
        let url = Url::parse(&format!("ws://{host}:{port}/")).map_err(|_| bad())?;
        let to = match address.parse::<SocketAddr>() {
            Ok(to) => to,
            Err(_) => {
                let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
                let ip: IpAddr = bare.unwrap_or(address).parse().map_err(|_| bad())?;
                SocketAddr::new(ip, url.port())
            }
        };
        Ok(Override { host: url.host().to_string(), port: url.port(), to })
    }
}

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
}

impl Options {
    /// Reads the URL.
    pub fn new(url: &str) -> Result<Options, Error> {
        let parsed = Url::parse(url);
        let parsed = parsed.map_err(|e| Error::new(url, Stage::Url, ErrorKind::Url(e)))?;
        let request = Request::new(parsed);
        Ok(Options { request, timeout: None, ping_interval: None, hold_close: false, limits: None })
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        self.request.url()
    }

    /// Adds a header field; see [`Request::header`] for what is refused.
    pub fn header(mut self, name: &str, value: &str) -> Result<Options, Error> {
        match self.request.header(name, value) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Adds a header field that no trace shows.
    pub fn secret_header(mut self, name: &str, value: &str) -> Result<Options, Error> {
        match self.request.secret_header(name, value) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    /// Hides the URL from traces and errors.
    pub fn secret_url(mut self) -> Options {
        self.request.secret_url();
        self
    }

    /// Offers a subprotocol, after those offered before.
    pub fn protocol(mut self, name: &str) -> Result<Options, Error> {
        match self.request.protocol(name) {
            Ok(_) => Ok(self),
            Err(e) => Err(self.refused(e)),
        }
    }

    fn refused(&self, e: RequestError) -> Error {
        Error::new(self.request.shown_url(), Stage::Url, ErrorKind::Request(e))
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
    pub(super) fn kept_alive(mut self) -> Options {
        self.ping_interval.get_or_insert(Some(KEEP_ALIVE));
        self
    }

    /// Leaves our close frame to the owner when the server closes or breaks a rule; see [`Settings::hold_close`].
    pub fn hold_close(mut self, hold: bool) -> Options {
        self.hold_close = hold;
        self
    }

    /// Limits of this connection, instead of the reactor's.
    pub fn limits(mut self, limits: Limits) -> Options {
        self.limits = Some(Arc::new(limits));
        self
    }

    pub(super) fn settings(&self, limits: Arc<Limits>, trace: bool) -> Settings {
        let ping_interval = self.ping_interval.flatten();
        Settings { limits, ping_interval, hold_close: self.hold_close, trace }
    }
}

impl Override {
    pub(crate) fn is_for(&self, host: &Host, port: u16) -> bool {
        self.port == port && self.host == host.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_as_curl_writes_them() {
        for (text, host, port, to) in [
            ("a.example:443:127.0.0.1", "a.example", 443, "127.0.0.1:443"),
            ("A.Example:443:127.0.0.1:8443", "a.example", 443, "127.0.0.1:8443"),
            ("a:80:[::1]:8080", "a", 80, "[::1]:8080"),
            ("a:80:[::1]", "a", 80, "[::1]:80"),
            ("a:80:::1", "a", 80, "[::1]:80"),
            ("[::2]:80:127.0.0.1", "[::2]", 80, "127.0.0.1:80"),
        ] {
            let o: Override = text.parse().unwrap();
            assert_eq!((o.host.as_str(), o.port, o.to.to_string().as_str()), (host, port, to));
        }
        for bad in ["", "a", "a:80", "a:80:b", "a:0:127.0.0.1", "a:x:127.0.0.1", ":80:127.0.0.1"] {
            assert!(bad.parse::<Override>().is_err(), "{bad}");
        }
    }
}
