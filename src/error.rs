//! Errors: what failed, at which stage, and why.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::limits::Limits;
#[cfg(feature = "deflate")]
use crate::proto::http::CodingError;
use crate::proto::http::{HttpError, Response};
use crate::proto::secret::shown_url;
use crate::proto::sse::SseError;
use crate::proto::{
    HandshakeError, HeadError, Misuse, Phases, RequestError, UrlError, Violation, escape,
};

/// The stage of a connection at which an error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the URL and the options.
    Url,
    /// Asking for the addresses of the host.
    Resolve,
    /// Connecting by TCP.
    Connect,
    /// Reaching the proxy, and asking it for a tunnel.
    Proxy,
    /// The TLS handshake, or TLS itself later on: an alert, a broken record.
    Tls,
    /// The opening handshake of RFC 6455.
    Handshake,
    /// The WebSocket is open.
    Open,
    /// Sending the request of a stream whose body is read while it is sent
    /// ([`StreamOptions::body_from`](crate::StreamOptions::body_from)).
    Request,
    /// Waiting for the response of a stream.
    Response,
    /// Reading the body of a response.
    Body,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Url => "URL",
            Stage::Resolve => "DNS",
            Stage::Connect => "connect",
            Stage::Proxy => "proxy",
            Stage::Tls => "TLS",
            Stage::Handshake => "handshake",
            Stage::Open => "connection",
            Stage::Request => "request",
            Stage::Response => "response",
            Stage::Body => "body",
        })
    }
}

/// An error: the URL of the connection, the stage at which the error came, and the reason.
///
/// Its text is one line, `URL: stage: reason`, in which bytes that the peer sent are escaped. It
/// shows neither the query of the URL nor any part of a URL or value that was marked as secret.
/// `Debug` gives the same text, so that a `main` that returns this error prints it readably.
///
/// ```
/// use moonwire::{ErrorKind, Stage};
///
/// // Nobody listens there.
/// let error = moonwire::connect("ws://127.0.0.1:1/?token=hidden").unwrap_err();
/// assert_eq!(error.stage(), Stage::Connect);
/// assert!(matches!(error.kind(), ErrorKind::Connect(_)));
/// assert!(error.is_transient());
/// assert!(error.to_string().starts_with("ws://127.0.0.1:1/") && !error.to_string().contains("hidden"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    url: String,
    stage: Stage,
    kind: ErrorKind,
    status: Option<u16>,
    unsent: usize,
    exceeded: Option<Exceeded>,
    phases: Phases,
    /// The proxy that was being contacted.
    proxy: Option<String>,
    /// For a kept connection, how many requests it had carried before.
    served: u32,
}

/// The reason of an [`Error`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL is invalid or not supported.
    Url(UrlError),
    /// A header field or subprotocol cannot be sent.
    Request(RequestError),
    /// The protocol does not allow the call.
    Misuse(Misuse),
    /// `wss://` or `https://` in a build without feature `tls`.
    NoTls,
    /// There are more connections than [`crate::Limits::connections`].
    TooManyConnections(usize),
    /// The policy ([`crate::Policy`]) does not allow the destination, for this reason.
    Denied(String),
    /// The URL of a proxy, or a header field for a proxy, is invalid; the reason as text.
    ProxyUrl(String),
    /// The proxy opened no tunnel.
    Proxy {
        /// The proxy as `scheme://host:port`.
        proxy: String,
        /// The reason.
        why: ProxyError,
    },
    /// The program's stream ([`Options::over`](crate::Options::over)) was already used: by a clone
    /// of the options, or before a redirect.
    Used,
    /// The name has no address, or the resolver failed.
    Resolve(io::Error),
    /// No address accepted a connection; the error of each. For a secret URL every address is
    /// `0.0.0.0:0`.
    Connect(Vec<(SocketAddr, io::Error)>),
    /// The client does not accept the server's certificate; as text, and the error of the library.
    Certificate(String, Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Another failure of TLS; as text, and the error of the library.
    Tls(String, Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The server's response to the opening handshake opens no connection.
    Handshake(HandshakeError),
    /// The response of a stream is not usable, or not complete.
    Http(HttpError),
    /// The reader of a request's body
    /// ([`StreamOptions::body_from`](crate::StreamOptions::body_from)) returned this error.
    Upload(io::Error),
    /// Another request, or an earlier connection, has taken the reader of the request's body: it
    /// can be read only once.
    BodyTaken,
    /// This time limit passed.
    Timeout(Duration),
    /// The connection waited this long for its turn at the gate, and was not attempted.
    Waited {
        /// [`crate::Limits::opening_wait`].
        limit: Duration,
        /// How many opening handshakes were before this one at the gate.
        others: usize,
        /// The address of those handshakes; `0.0.0.0:0` for a secret URL.
        address: SocketAddr,
    },
    /// Bytes were waiting, and the kernel accepted none for this time ([`crate::Limits::stall`]):
    /// the peer or the network takes none.
    Stalled(Duration),
    /// A blocking send took longer than its own time limit
    /// ([`WebSocket::set_write_timeout`](crate::WebSocket::set_write_timeout)).
    WriteTimeout(Duration),
    /// The server ended the connection before all accepted bytes were sent; see [`Error::unsent`].
    Unsent,
    /// The peer sent nothing, not even an answer to a ping, for this time.
    Silence(Duration),
    /// The server sent no byte of a body for this time.
    Idle(Duration),
    /// The peer did not answer our close frame for this time.
    NoCloseAnswer(Duration),
    /// The peer broke a rule; our close frame carries the code of this violation.
    Violation(Violation),
    /// The stream ended without a close frame.
    Eof,
    /// The system reported an error on the socket, or on the reactor's poller.
    Io(io::Error),
    /// The sink, the policy or the observer panicked during work for the connection.
    Panicked,
    /// The [`Client`](crate::Client) has ended: the program dropped its [`Events`](crate::Events),
    /// or its thread has failed.
    ClientEnded,
    /// The program released the connection.
    Released,
    /// An [`Interrupter`](crate::Interrupter) ended the call; the connection is unchanged.
    Interrupted,
    /// The body is longer than this limit of the call, in bytes.
    BodyTooBig(usize),
    /// The body is not UTF-8.
    NotText(std::str::Utf8Error),
    /// The body is not JSON or does not fit the requested type, or a value cannot be written as
    /// JSON; the reason as text.
    Json(String),
}

/// Why a proxy opened no tunnel.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// The proxy cannot be reached: resolving its name, connecting, TLS or a time limit failed.
    Unreached(Box<ErrorKind>),
    /// The proxy answered `CONNECT` with a status other than 2xx.
    Status {
        /// The response with its fields and the start of its body.
        response: Box<Response>,
        /// Whether our request contained credentials for the proxy.
        known: bool,
    },
    /// The proxy does not speak HTTP, or its response head exceeds a limit.
    Head(HeadError),
    /// The proxy sent more than [`Limits::interim`] interim responses before the final one.
    ManyInterim,
    /// The proxy sent bytes after its response, though the client has sent the server nothing yet.
    Early,
    /// The proxy does not speak SOCKS 5; the byte that shows it.
    NotSocks(u8),
    /// The proxy demands an authentication method that was not offered; 255: it accepts none.
    Method(u8),
    /// The proxy does not accept user name and password.
    Login,
    /// The proxy did not connect; the reply code of RFC 1928 §6.
    Socks(u8),
    /// The proxy's reply has an address of an unknown type.
    AddressType(u8),
    /// The proxy ended the connection.
    Eof,
}

impl ProxyError {
    /// See [`Error::is_transient`].
    fn is_transient(&self) -> bool {
        match self {
            ProxyError::Unreached(kind) => kind.is_transient(Stage::Proxy),
            ProxyError::Status { response, .. } => response.is_transient(),
            // General failure; network, host or port unreachable; time to live expired.
            ProxyError::Socks(code) => matches!(code, 1 | 3..=6),
            ProxyError::Eof => true,
            _ => false,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Unreached(kind) => kind.fmt(f),
            ProxyError::Status { response, known } => {
                write!(f, "it answered {}", response.line())?;
                response.explain(f)?;
                match (response.status, known) {
                    (407, false) => f.write_str(
                        "; it requires a user name and a password: USER:PASSWORD@ before its host",
                    ),
                    // tinyproxy sends 401 where 407 is correct.
                    (401 | 407, true) => f.write_str("; it does not accept the user name and the \
                                                      password"),
                    _ => Ok(()),
                }
            }
            ProxyError::Head(e) => write!(f, "it is not an HTTP proxy: {e}"),
            ProxyError::ManyInterim => f.write_str("too many interim (1xx) responses"),
            ProxyError::Early => {
                f.write_str("it sent bytes behind its answer, before the client had sent any")
            }
            ProxyError::NotSocks(byte) => {
                write!(f, "it does not speak SOCKS 5 (it began with byte 0x{byte:02x})")
            }
            ProxyError::Method(2) => f.write_str(
                "it requires a user name and a password: USER:PASSWORD@ before its host",
            ),
            ProxyError::Method(255) => f.write_str(
                "it accepts no authentication method that was offered (RFC 1928 §3); it may require \
                 a user name and a password, or other ones",
            ),
            ProxyError::Method(method) => {
                write!(f, "it chose authentication method {method} (RFC 1928 §3), which was not \
                           offered")
            }
            ProxyError::Login => f.write_str("it does not accept the user name and the password"),
            ProxyError::Socks(code) => {
                let what = match code {
                    1 => "general failure",
                    2 => "its rules do not allow it",
                    3 => "the network cannot be reached",
                    4 => "the host cannot be reached",
                    5 => "the connection was refused",
                    6 => "time to live expired",
                    7 => "it does not support the command",
                    8 => "it does not support the type of address; socks5h:// gives it the name",
                    _ => "an error that RFC 1928 does not define",
                };
                write!(f, "it has not connected: {what} (code {code})")
            }
            ProxyError::AddressType(kind) => {
                write!(f, "its reply has an address of type {kind}, which RFC 1928 does not define")
            }
            ProxyError::Eof => f.write_str("it ended the connection"),
        }
    }
}

impl std::error::Error for ProxyError {}

impl Error {
    /// `url` is a [`Url`](crate::proto::Url), or an empty text for an error of the reactor itself.
    pub(crate) fn new(url: impl fmt::Display, stage: Stage, kind: ErrorKind) -> Error {
        let url = url.to_string();
        let (phases, proxy, exceeded) = (Phases::default(), None, None);
        let inner =
            Inner { url, stage, kind, status: None, unsent: 0, exceeded, phases, proxy, served: 0 };
        Error(Box::new(inner))
    }

    /// An error about a text that is not a valid URL.
    pub(crate) fn of_text(url: &str, kind: ErrorKind) -> Error {
        Error::new(shown_url(url), Stage::Url, kind)
    }

    /// Adds the status of the response that was received before the error.
    pub(crate) fn with_status(mut self, status: Option<u16>) -> Error {
        self.0.status = status;
        self
    }

    /// Adds the proxy that the client was contacting, if any.
    pub(crate) fn with_proxy(mut self, proxy: Option<String>) -> Error {
        self.0.proxy = proxy;
        self
    }

    /// Adds the number of requests that the connection had carried before.
    pub(crate) fn with_served(mut self, served: u32) -> Error {
        self.0.served = served;
        self
    }

    /// Adds the completed steps.
    pub(crate) fn with_phases(mut self, phases: Phases) -> Error {
        self.0.phases = phases;
        self
    }

    /// Adds the number of bytes that the session accepted and did not send.
    pub(crate) fn with_unsent(mut self, bytes: usize) -> Error {
        self.0.unsent = bytes;
        self
    }

    /// Adds the limit of ours that was exceeded, if that is the reason.
    pub(crate) fn with_limits(mut self, limits: &Limits) -> Error {
        self.0.exceeded = Exceeded::of(&self.0.kind, limits);
        self
    }

    /// Removes the times, so that the error text of a script is the same in each run.
    #[cfg(feature = "luau")]
    pub(crate) fn forget_phases(&mut self) {
        self.0.phases = Phases::default();
    }

    /// Sets the option that the text names, in place of the field of [`Limits`].
    #[cfg(feature = "luau")]
    pub(crate) fn name_option(&mut self, option: &'static str) {
        if let Some(exceeded) = &mut self.0.exceeded
            && exceeded.unit == BYTES
        {
            exceeded.option = Some(option);
        }
    }

    /// The limit of ours that a message, or an event of an event stream, exceeds, if that is the
    /// reason: the name of its field in [`Limits`], and its value.
    pub fn limit(&self) -> Option<(&'static str, u64)> {
        self.0.exceeded.as_ref().map(|exceeded| (exceeded.field, exceeded.most))
    }

    /// The URL of the connection, without its query and without a user name or password, and `***` if
    /// it is secret; empty for an error of the reactor itself.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The stage at which the error came.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The reason.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The status of the response, if its first line was received: of a stream, or of a handshake
    /// that the server answered with a status other than 101.
    pub fn status(&self) -> Option<u16> {
        self.0.status.or(self.response().map(|response| response.status))
    }

    /// The response that refused the request: for a handshake, a status other than 101
    /// ([`HandshakeError::Status`], [`HandshakeError::Redirect`]); for an event stream, a status
    /// other than 200 or another type ([`HttpError::Status`], [`HttpError::ContentType`]); from a
    /// proxy asked for a tunnel, a status other than 2xx ([`ProxyError::Status`]). It has all its
    /// fields and the start of its body.
    pub fn response(&self) -> Option<&Response> {
        match &self.0.kind {
            ErrorKind::Handshake(
                HandshakeError::Status(response) | HandshakeError::Redirect { response, .. },
            )
            | ErrorKind::Http(HttpError::Status(response) | HttpError::ContentType(response)) => {
                Some(response)
            }
            ErrorKind::Proxy { why: ProxyError::Status { response, .. }, .. } => Some(response),
            _ => None,
        }
    }

    /// Whether another attempt may succeed later, as far as a client can know: the name, the
    /// network or the server failed or was too slow, or [`Response::is_transient`] holds for the
    /// response. Errors of the program, of the protocol, of a server's certificate or of a policy
    /// are permanent. Any other failure of TLS counts as transient, also if the server refuses the
    /// client's certificate: bound the number of attempts.
    ///
    /// Wait between two attempts ([`Reconnect`](crate::proto::sse::Reconnect)), and at least for
    /// [`Error::retry_after`].
    pub fn is_transient(&self) -> bool {
        self.0.kind.is_transient(self.0.stage)
    }

    /// How long the server asks the client to wait before another attempt
    /// ([`Response::retry_after`]). This value has no upper bound.
    pub fn retry_after(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.response()?.retry_after(now.as_secs())
    }

    /// How long each completed step of opening took. The text of a time limit's error has them.
    pub fn phases(&self) -> &Phases {
        &self.0.phases
    }

    /// Bytes that the session accepted and did not hand to the kernel before the connection ended:
    /// messages with their frame headers, or the rest of a request. Whether the server received the
    /// others is not known. Over TLS the number may be up to 64 KiB too high, since an incomplete
    /// record may contain some of them.
    pub fn unsent(&self) -> usize {
        self.0.unsent
    }

    /// The text without the URL: `stage: reason`.
    pub fn reason(&self) -> String {
        format!("{}: {}", self.0.stage, self.what())
    }

    /// The text of the reason, with the number of unsent bytes.
    pub(crate) fn what(&self) -> String {
        let Inner { kind, unsent, exceeded, proxy, served, .. } = &*self.0;
        let mut why = exceeded.as_ref().map_or_else(|| kind.to_string(), Exceeded::to_string);
        if let Some(proxy) = proxy {
            why = format!("{proxy}: {why}");
        }
        if *served > 0 {
            why += "; the connection was kept from an earlier request, and servers close those: \
                    whether this one was processed is not known, so it is not sent again \
                    automatically";
        }
        match unsent {
            0 => why,
            n if matches!(kind, ErrorKind::WriteTimeout(_)) => format!("{why} ({n} bytes)"),
            n => format!("{why}; {n} bytes that were accepted did not leave"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { url, stage, kind, phases, .. } = &*self.0;
        if !url.is_empty() {
            // The caller chose the text; escaped, a line break in it cannot forge another line.
            write!(f, "{}: ", escape(url.as_bytes(), 500))?;
        }
        write!(f, "{stage}: {}", self.what())?;
        match kind {
            ErrorKind::Timeout(_) if *phases != Phases::default() => write!(f, " (after {phases})"),
            _ => Ok(()),
        }
    }
}

impl ErrorKind {
    fn is_transient(&self, stage: Stage) -> bool {
        match self {
            ErrorKind::Resolve(_)
            | ErrorKind::Connect(_)
            | ErrorKind::Tls(..)
            | ErrorKind::Timeout(_)
            | ErrorKind::Waited { .. }
            | ErrorKind::Stalled(_)
            | ErrorKind::Unsent
            | ErrorKind::Silence(_)
            | ErrorKind::Idle(_)
            | ErrorKind::NoCloseAnswer(_)
            | ErrorKind::Eof
            | ErrorKind::Io(_)
            | ErrorKind::Handshake(HandshakeError::Eof)
            | ErrorKind::Http(HttpError::Eof) => true,
            ErrorKind::Handshake(HandshakeError::Status(r)) => r.is_transient(),
            ErrorKind::Http(HttpError::Status(r)) => r.is_transient(),
            ErrorKind::Http(HttpError::EventStream(_)) => false,
            // Another attempt would inflate to the same size.
            #[cfg(feature = "deflate")]
            ErrorKind::Http(HttpError::Coding(CodingError::Ratio(_))) => false,
            // A server that does not speak proper HTTP at the start will not improve; but a body
            // may be cut at any byte.
            ErrorKind::Http(_) => stage == Stage::Body,
            ErrorKind::Proxy { why, .. } => why.is_transient(),
            _ => false,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Url(e) => e.fmt(f),
            ErrorKind::Request(e) => e.fmt(f),
            ErrorKind::Misuse(e) => e.fmt(f),
            ErrorKind::NoTls => f.write_str(
                "wss:// and https:// need TLS, which this build leaves out (feature `tls`)",
            ),
            ErrorKind::TooManyConnections(n) => {
                write!(f, "{n} connections are open, the limit; close one first")
            }
            ErrorKind::Denied(why) => write!(f, "the policy does not allow it: {why}"),
            ErrorKind::ProxyUrl(why) => f.write_str(why),
            ErrorKind::Proxy { proxy, why } => write!(f, "{proxy}: {why}"),
            ErrorKind::Used => f.write_str(
                "the stream that was given for it has been used already; each connection needs its \
                 own",
            ),
            ErrorKind::Resolve(e) => write!(f, "cannot resolve the host: {e}"),
            ErrorKind::Connect(attempts) => {
                for (i, (address, e)) in attempts.iter().enumerate() {
                    let comma = if i > 0 { "; " } else { "" };
                    match address.port() {
                        0 => write!(f, "{comma}{e}")?,
                        _ => write!(f, "{comma}{address}: {e}")?,
                    }
                }
                Ok(())
            }
            ErrorKind::Certificate(text, _) | ErrorKind::Tls(text, _) => f.write_str(text),
            ErrorKind::Handshake(e) => e.fmt(f),
            ErrorKind::Http(e) => e.fmt(f),
            ErrorKind::Upload(e) => write!(f, "the body of the request cannot be read: {e}"),
            ErrorKind::BodyTaken => f.write_str(
                "the body of the request comes from a reader, which can be read once and has been \
                 used already",
            ),
            ErrorKind::Timeout(limit) => {
                write!(f, "not open within the time limit of {limit:?}")
            }
            ErrorKind::Waited { limit, others, address } => {
                let plural = if *others == 1 { "" } else { "s" };
                write!(f, "waited {limit:?} for {others} other handshake{plural} with ")?;
                match address.port() {
                    0 => f.write_str("its address")?,
                    _ => write!(f, "{address}")?,
                }
                f.write_str("; Limits::opening_per_peer and --opening allow more at a time")
            }
            ErrorKind::Stalled(limit) => {
                write!(
                    f,
                    "lost: the peer has taken no byte for {limit:?}, though bytes wait to be \
                           sent"
                )
            }
            ErrorKind::WriteTimeout(limit) => {
                write!(
                    f,
                    "not all was taken within {limit:?}, the write timeout; the rest is queued"
                )
            }
            ErrorKind::Unsent => {
                f.write_str("lost: the server ended the connection before it had taken everything")
            }
            ErrorKind::Silence(limit) => {
                write!(f, "the peer did not answer a keep-alive ping for {limit:?}")
            }
            ErrorKind::Idle(limit) => write!(f, "nothing came for {limit:?}, the idle limit"),
            ErrorKind::NoCloseAnswer(limit) => {
                write!(f, "the server did not answer the close frame for {limit:?}")
            }
            // We set the limits; the server broke no rule. See [`Error::limit`].
            ErrorKind::Violation(v @ (Violation::MessageTooBig | Violation::TooManyFragments)) => {
                v.fmt(f)
            }
            ErrorKind::Violation(v) => {
                write!(f, "the server broke RFC 6455 §{}: {v}", v.section())
            }
            ErrorKind::Eof => f.write_str("lost: the stream ended without a close frame"),
            ErrorKind::Io(e) => write!(f, "lost: {e}"),
            ErrorKind::Panicked => f.write_str(
                "lost: the program's code panicked while it handled \
                                                the connection",
            ),
            ErrorKind::ClientEnded => f.write_str(
                "the client has ended: its Events was dropped, or its thread has failed",
            ),
            ErrorKind::Released => f.write_str("released by the program"),
            ErrorKind::Interrupted => {
                f.write_str("the call was interrupted; the connection is unchanged")
            }
            ErrorKind::BodyTooBig(limit) => {
                write!(f, "the body is longer than {limit} bytes, the limit of the call")
            }
            ErrorKind::NotText(e) => write!(f, "the body is not UTF-8: {e}"),
            ErrorKind::Json(why) => write!(f, "JSON: {}", escape(why.as_bytes(), 300)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Url(e) => Some(e),
            ErrorKind::Request(e) => Some(e),
            ErrorKind::Misuse(e) => Some(e),
            ErrorKind::Resolve(e) | ErrorKind::Io(e) | ErrorKind::Upload(e) => Some(e),
            ErrorKind::Connect(all) => all.first().map(|(_, e)| e as _),
            ErrorKind::Http(e) => Some(e),
            ErrorKind::Proxy { why, .. } => Some(why),
            ErrorKind::Certificate(_, e) | ErrorKind::Tls(_, e) => e.as_deref().map(|e| e as _),
            ErrorKind::Handshake(e) => Some(e),
            ErrorKind::Violation(v) => Some(v),
            ErrorKind::NotText(e) => Some(e),
            _ => None,
        }
    }
}

/// The limit of ours that was exceeded.
struct Exceeded {
    /// The thing that exceeds the limit.
    thing: &'static str,
    most: u64,
    unit: &'static str,
    /// The name of the limit's field in [`Limits`].
    field: &'static str,
    /// The option that sets the limit in the command or in scripts.
    option: Option<&'static str>,
}

const BYTES: &str = "bytes";

impl Exceeded {
    fn of(kind: &ErrorKind, limits: &Limits) -> Option<Exceeded> {
        let bytes = |n: usize| (n as u64, BYTES);
        let (thing, (most, unit), field) = match kind {
            ErrorKind::Violation(Violation::MessageTooBig) => {
                ("message too big", bytes(limits.message), "message")
            }
            ErrorKind::Violation(Violation::TooManyFragments) => {
                ("message of too many frames", (limits.fragments.into(), "frames"), "fragments")
            }
            ErrorKind::Http(HttpError::EventStream(SseError::LongLine)) => {
                ("line of the event stream too long", bytes(limits.sse_line), "sse_line")
            }
            ErrorKind::Http(HttpError::EventStream(SseError::LongEvent)) => {
                ("event of the event stream too big", bytes(limits.sse_block), "sse_block")
            }
            _ => return None,
        };
        Some(Exceeded { thing, most, unit, field, option: None })
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exceeded { thing, most, unit, field, option } = self;
        write!(f, "{thing}: the limit here is {} {unit} (", grouped(*most))?;
        match option {
            Some(option) => write!(f, "{option})"),
            None => write!(f, "Limits::{field})"),
        }
    }
}

/// A number with a comma before each group of three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS 80: the error names the limit, its value and its field.
    #[test]
    fn an_error_of_a_limit_names_its_number_and_its_field() {
        use Violation::{MessageTooBig, NotUtf8, TooManyFragments};
        let limits = Limits { message: 67_108_864, sse_line: 999, ..Limits::default() };
        let stream = |e| ErrorKind::Http(HttpError::EventStream(e));
        for (kind, text, limit) in [
            (
                ErrorKind::Violation(MessageTooBig),
                "message too big: the limit here is 67,108,864 bytes (Limits::message)",
                Some(("message", 67_108_864)),
            ),
            (
                ErrorKind::Violation(TooManyFragments),
                "message of too many frames: the limit here is 131,072 frames (Limits::fragments)",
                Some(("fragments", 131_072)),
            ),
            (
                stream(SseError::LongLine),
                "line of the event stream too long: the limit here is 999 bytes (Limits::sse_line)",
                Some(("sse_line", 999)),
            ),
            (
                stream(SseError::LongEvent),
                "event of the event stream too big: the limit here is 1,048,576 bytes \
                 (Limits::sse_block)",
                Some(("sse_block", 1_048_576)),
            ),
            (
                ErrorKind::Violation(NotUtf8),
                "the server broke RFC 6455 §8.1: text message is not UTF-8",
                None,
            ),
        ] {
            let error = Error::new("ws://a/", Stage::Open, kind).with_limits(&limits);
            assert_eq!(error.to_string(), format!("ws://a/: connection: {text}"));
            assert_eq!(error.limit(), limit);
            let lost = "; 5 bytes that were accepted did not leave";
            assert_eq!(error.with_unsent(5).what(), format!("{text}{lost}"));
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_048_576, "1,048,576"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(n), text);
        }
    }

    #[test]
    fn an_error_of_a_text_names_neither_its_password_nor_its_query() {
        for (url, shown) in [
            ("ws://user:hidden@host/p@th", "ws://***@host/p@th"),
            ("ws://host/?q=hidden", "ws://host/?***"),
            ("hidden@nowhere", "***@nowhere"),
            ("", ""),
        ] {
            let error = Error::of_text(url, ErrorKind::Url(UrlError::UserInfo));
            assert_eq!(error.url(), shown);
            assert!(!format!("{error} {error:?}").contains("hidden"));
        }
    }
}
