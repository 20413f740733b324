//! One HTTP/1.1 request and its response, read as it comes (RFC 9110, RFC 9112): for event streams
//! and for bodies that are processed while they arrive. An exchange is one request and its
//! response; at its end, it reports whether the connection may carry another.
//!
//! ```text
//! response, date      the response, and when to ask again
//! chunked             chunk lines, data, trailers
//! body                how long a body is, and its pieces
//! request, redirect   the request, and where to send it next
//! refusal             a response that is not the one asked for
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

/// How many of a peer's bytes an error shows.
const SHOWN: usize = 60;

/// The time limits of an exchange; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the head has to be there, whatever the exchange is waiting for.
    pub head_by: Option<Instant>,
    /// From the last byte of the request to the head. If this is set, `head_by` is not the
    /// program's limit, and is put off by the time that sending the request takes.
    pub response: Option<Duration>,
    /// After the head, the longest silence.
    pub idle: Option<Duration>,
}

impl Timing {
    /// When a silence that begins now becomes too long.
    fn idle_end(&self, now: Instant) -> Option<Instant> {
        self.idle.and_then(|idle| now.checked_add(idle))
    }
}

/// Why a response is not usable, or its body not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The response does not begin with a valid head.
    Head(HeadError),
    /// More than `Limits::interim` interim responses before the final one.
    ManyInterim,
    /// 101, though no other protocol was asked for (RFC 9110 §15.2.2).
    Upgrade,
    /// Both `Transfer-Encoding` and `Content-Length` (RFC 9112 §6.1: an attack, maybe).
    BothLengths,
    /// `Transfer-Encoding` that is not exactly `chunked`, or in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncoding(String),
    /// `Content-Length` that is no number, or several that differ (RFC 9112 §6.3).
    ContentLength(String),
    /// A coding of the content, though only `identity` was accepted (RFC 9110 §12.5.3). Where
    /// decoding was asked for, the error is `Coding`, with feature `deflate`.
    ContentEncoding(String),
    /// The body is coded and cannot be decoded (RFC 9110 §8.4).
    #[cfg(feature = "deflate")]
    Coding(CodingError),
    /// A response that is not an event stream, where one was asked for.
    ContentType(Box<Response>),
    /// A response that opens no event stream, since its status is not 200 (WHATWG HTML §9.2.3).
    Status(Box<Response>),
    /// The line before a chunk is not a hexadecimal number with well-formed extensions (RFC 9112
    /// §7.1); how it starts.
    ChunkLine(String),
    /// A chunk of 2⁶³ bytes or more.
    ChunkSize,
    /// The line before a chunk is longer than `Limits::chunk_line`.
    LongChunkLine,
    /// Chunk lines cost more than `Limits::chunk_overhead` beyond what data justifies.
    ChunkOverhead,
    /// The data of a chunk does not end in CR LF (RFC 9112 §7.1).
    ChunkEnd,
    /// An invalid trailer section (RFC 9112 §7.1.2).
    Trailer(HeadError),
    /// A line or an event of the event stream is too long.
    EventStream(SseError),
    /// The stream ended before the body did; how many bytes are missing, if known.
    Truncated(Option<u64>),
    /// The stream ended, or broke, before the head was complete.
    Eof,
    /// No head within the time limit.
    Timeout,
    /// No byte of the request was sent for [`Limits::stall`](crate::Limits::stall), though some are
    /// waiting.
    Stalled,
    /// The body of the request ended so many bytes before the length in its head: the server has no
    /// complete request.
    ShortBody(u64),
    /// The body of the request is longer than this, the length in its head. The last byte of that
    /// length was not sent, so that the server has no complete request.
    LongBody(u64),
    /// A redirect needs the body of the request again, but it was given in pieces and is not kept.
    BodyAgain,
    /// Nothing came for [`Timing::idle`].
    Idle,
    /// More redirects than `Limits::redirects`, or of a handshake more than were asked for.
    ManyRedirects(u32),
    /// A redirect from https to http, or from wss to ws, where others could read along.
    Downgrade,
    /// A redirect whose `Location` is not a URL that can be followed.
    Location(UrlError),
    /// More than one `Location`.
    Locations,
}

impl HttpError {
    /// The peer's bytes in this error, if it has some: the caller masks them if they repeat a
    /// secret. A [`Response`] masks its own, and a `Location` is checked where it is read.
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
            HttpError::ContentLength(value) => write!(f, "Content-Length \"{value}\" is no length"),
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
            HttpError::Location(e) => write!(f, "a redirect to what is no URL: {e}"),
            HttpError::Locations => f.write_str("a redirect to several places at once"),
        }
    }
}

impl std::error::Error for HttpError {}
