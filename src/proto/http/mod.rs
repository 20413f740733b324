//! One HTTP/1.1 request and its response (RFC 9110, RFC 9112), for event streams and for bodies
//! that the program processes while they arrive. An exchange is one request and its response; at
//! its end, it reports whether the connection may carry another.
//!
//! ```text
//! response, date      the response, and when to send the request again
//! chunked             chunk lines, data, trailers
//! body                how long a body is, and its pieces
//! request, redirect   the request, and where to send it next
//! refusal             a response that the caller does not accept
//! coding              bodies that are compressed
//! persist             whether a connection may carry another exchange
//! output              how the data of a body becomes events
//! exchange            the state machine
//! ```

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod coding;
mod date;
pub(crate) mod exchange;
mod output;
pub(crate) mod persist;
pub(crate) mod redirect;
pub(crate) mod refusal;
pub(crate) mod request;
mod response;

use std::fmt;
use std::time::{Duration, Instant};

use super::head::HeadError;
use super::sse::SseError;
use super::token::escape;
use super::url::UrlError;

#[cfg(feature = "deflate")]
pub use coding::CodingError;
pub use redirect::Redirect;
#[cfg(feature = "net")]
pub(crate) use request::ForProxy;
pub use request::{Delivery, Request};
pub use response::Response;

/// An error shows at most this many of the peer's bytes.
const SHOWN: usize = 60;

/// The time limits of an exchange; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the head has to be there, whatever state the exchange is in.
    pub head_by: Option<Instant>,
    /// The longest time from the last byte of the request to the head. If this is set, `head_by` is
    /// our own limit, not the program's, and is extended by the time that sending the request
    /// takes.
    pub response: Option<Duration>,
    /// The longest time without data after the head.
    pub idle: Option<Duration>,
}

impl Timing {
    /// When a silence that begins at `now` becomes too long.
    fn idle_end(&self, now: Instant) -> Option<Instant> {
        self.idle.and_then(|idle| now.checked_add(idle))
    }
}

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The response does not begin with a valid head.
    Head(HeadError),
    /// More than `Limits::interim` interim responses before the final one.
    ManyInterim,
    /// Status 101, though the request asked for no other protocol (RFC 9110 §15.2.2).
    Upgrade,
    /// Both `Transfer-Encoding` and `Content-Length` (RFC 9112 §6.1: this may be an attack).
    BothLengths,
    /// `Transfer-Encoding` that is not exactly `chunked`, or in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncoding(String),
    /// `Content-Length` that is no number, or several that differ (RFC 9112 §6.3).
    ContentLength(String),
    /// A coding of the content, though the request accepted only `identity` (RFC 9110 §12.5.3). If
    /// the request accepts codings, the error is `Coding` (feature `deflate`).
    ContentEncoding(String),
    /// The client cannot decode the coded body (RFC 9110 §8.4).
    #[cfg(feature = "deflate")]
    Coding(CodingError),
    /// The response is not an event stream, but the request asked for one.
    ContentType(Box<Response>),
    /// The response opens no event stream, since its status is not 200 (WHATWG HTML §9.2.3).
    Status(Box<Response>),
    /// The line before a chunk is not a hexadecimal number with well-formed extensions (RFC 9112
    /// §7.1); the start of the line.
    ChunkLine(String),
    /// A chunk of 2⁶³ bytes or more.
    ChunkSize,
    /// The line before a chunk is longer than `Limits::chunk_line`.
    LongChunkLine,
    /// Chunk lines have more than `Limits::chunk_overhead` bytes beyond what their data justifies.
    ChunkOverhead,
    /// The data of a chunk does not end in CR LF (RFC 9112 §7.1).
    ChunkEnd,
    /// An invalid trailer section (RFC 9112 §7.1.2).
    Trailer(HeadError),
    /// A line or an event of the event stream is too long.
    EventStream(SseError),
    /// The stream ended before the body; how many bytes are missing, if that is known.
    Truncated(Option<u64>),
    /// The stream ended or broke before the head was complete.
    Eof,
    /// No head came within the time limit.
    Timeout,
    /// The kernel took no byte of the request for [`Limits::stall`](crate::Limits::stall), though
    /// some are waiting.
    Stalled,
    /// The program ended the body of the request this many bytes before the length in its head: the
    /// server has no complete request.
    ShortBody(u64),
    /// The program supplied more bytes of the body than this, the length in the head. The last byte
    /// of that length was not sent, so the server has no complete request.
    LongBody(u64),
    /// A redirect needs the body of the request again, but it was supplied in pieces and is not
    /// kept.
    BodyAgain,
    /// No data came for [`Timing::idle`].
    Idle,
    /// More redirects than `Limits::redirects`; for a handshake, more than the program allowed.
    ManyRedirects(u32),
    /// A redirect from https to http or from wss to ws, where others could read the bytes.
    Downgrade,
    /// The `Location` of a redirect is not a URL that the client can follow.
    Location(UrlError),
    /// More than one `Location`.
    Locations,
}

impl HttpError {
    /// The peer's bytes in this error, if it contains some: the caller masks them if they repeat a
    /// secret. A [`Response`] masks its own; a `Location` is checked by its parser.
    pub(crate) fn text(&mut self) -> Option<&mut String> {
        match self {
            HttpError::Head(e) | HttpError::Trailer(e) => e.text(),
            HttpError::TransferEncoding(text)
            | HttpError::ContentLength(text)
            | HttpError::ContentEncoding(text)
            | HttpError::ChunkLine(text) => Some(text),
            #[cfg(feature = "deflate")]
            HttpError::Coding(CodingError::Unknown(text)) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Head(e) => e.fmt(f),
            HttpError::ManyInterim => f.write_str("too many interim (1xx) responses"),
            HttpError::Upgrade => {
                f.write_str("the server answered 101 Switching Protocols, which was not asked for")
            }
            HttpError::BothLengths => {
                f.write_str("the response has both Transfer-Encoding and Content-Length")
            }
            HttpError::TransferEncoding(value) => write!(
                f,
                "Transfer-Encoding \"{value}\" cannot be read; only \"chunked\" of HTTP/1.1 can"
            ),
            HttpError::ContentLength(value) => write!(f, "Content-Length \"{value}\" is not a \
                                                          length"),
            HttpError::ContentEncoding(value) => write!(
                f,
                "the body is coded as \"{value}\", though \"Accept-Encoding: identity\" was sent"
            ),
            #[cfg(feature = "deflate")]
            HttpError::Coding(e) => e.fmt(f),
            HttpError::ContentType(response) if response.quiet => {
                f.write_str("Content-Type is not text/event-stream")
            }
            HttpError::ContentType(response) => {
                let all: Vec<&[u8]> = response.headers.all("Content-Type").collect();
                let value = escape(&all.join(&b", "[..]), SHOWN);
                write!(f, "Content-Type \"{value}\" is not text/event-stream")?;
                response.explain(f)
            }
            HttpError::Status(response) => {
                write!(f, "status {}, which opens no event stream", response.line())?;
                response.explain(f)
            }
            HttpError::ChunkLine(start) => write!(f, "malformed chunk line \"{start}\""),
            HttpError::ChunkSize => f.write_str("a chunk of 2^63 bytes or more"),
            HttpError::LongChunkLine => f.write_str("the line before a chunk is too long"),
            HttpError::ChunkOverhead => {
                f.write_str("chunk extensions outweigh the data of the body")
            }
            HttpError::ChunkEnd => f.write_str("the data of a chunk does not end in CR LF"),
            HttpError::Trailer(e) => write!(f, "trailer section: {e}"),
            HttpError::EventStream(e) => e.fmt(f),
            HttpError::Truncated(Some(missing)) => {
                write!(f, "truncated: the stream ended {missing} bytes before the body did")
            }
            HttpError::Truncated(None) => {
                f.write_str("truncated: the stream ended before the body did")
            }
            HttpError::Eof => f.write_str("the server closed the connection without an answer"),
            HttpError::Timeout => f.write_str("no answer within the time limit"),
            HttpError::Stalled => f.write_str("the server takes no more of the request"),
            HttpError::ShortBody(missing) => write!(
                f,
                "the body of the request ended {missing} bytes before the length that was given for it"
            ),
            HttpError::LongBody(length) => write!(
                f,
                "the body of the request is longer than the {length} bytes that were given for it"
            ),
            HttpError::BodyAgain => f.write_str(
                "a redirect that asks for the body again is not followed: it came from a reader, which \
                 is read once; send the request where the redirect leads",
            ),
            HttpError::Idle => f.write_str("nothing came within the idle limit"),
            HttpError::ManyRedirects(n) => write!(f, "more than {n} redirects"),
            HttpError::Downgrade => f.write_str("a redirect from https to http is not followed"),
            HttpError::Location(e) => write!(f, "a redirect to something that is not a URL: {e}"),
            HttpError::Locations => f.write_str("a redirect to several places at once"),
        }
    }
}

impl std::error::Error for HttpError {}
