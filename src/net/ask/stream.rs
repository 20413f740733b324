//! What a stream is opened with.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::policy::Policy;
use crate::proto::http::{Delivery, Request};
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
}

impl StreamOptions {
    /// Reads the URL (`http` or `https`) and checks the method, which is case-sensitive.
    pub fn new(method: &str, url: &str) -> Result<StreamOptions, Error> {
        let bad = |kind| Error::of_text(url, kind);
        let parsed = Url::parse_http(url).map_err(|e| bad(ErrorKind::Url(e)))?;
        let request = Request::new(method, parsed).map_err(|e| bad(ErrorKind::Request(e)))?;
        let delivery = Delivery::Raw;
        let (limits, policy) = (None, Policy::open());
        Ok(StreamOptions { request, delivery, timeout: None, idle: None, limits, policy })
    }

    /// Rules of this request and of what it is redirected to, on top of those of its reactor
    /// ([`Config::policy`](crate::Config::policy)), which are asked first.
    pub fn policy(mut self, policy: Policy) -> StreamOptions {
        self.policy = policy;
        self
    }

    /// A `GET` request.
    pub fn get(url: &str) -> Result<StreamOptions, Error> {
        StreamOptions::new("GET", url)
    }

    /// The URL.
    pub fn url(&self) -> &Url {
        self.request.url()
    }

    /// Adds a header field; see [`Request::header`] for what is refused.
    pub fn header(self, name: &str, value: &str) -> Result<StreamOptions, Error> {
        self.with(|request| request.header(name, value).map(drop))
    }

    /// Adds a header field that no trace shows, and that no other server is sent after a redirect.
    pub fn secret_header(self, name: &str, value: &str) -> Result<StreamOptions, Error> {
        self.with(|request| request.secret_header(name, value).map(drop))
    }

    /// Hides the URL, and those that redirects lead to, from traces, errors and `Debug`.
    pub fn secret_url(mut self) -> StreamOptions {
        self.request.secret_url();
        self
    }

    /// The body, sent with its length. Refused where the method has none; see [`Request::body`].
    pub fn body(self, body: impl AsRef<[u8]>) -> Result<StreamOptions, Error> {
        self.with(|request| request.body(body.as_ref()).map(drop))
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
    /// to a connection and [`Limits::response`] from there, and the sum of both over all redirects.
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

    /// Limits of this stream, instead of the reactor's; see [`Options::limits`](crate::Options::limits).
    pub fn limits(mut self, limits: Limits) -> StreamOptions {
        self.limits = Some(Arc::new(limits));
        self
    }
}
