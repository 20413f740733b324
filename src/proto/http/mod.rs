//! One HTTP/1.1 request and its response, read as it comes (RFC 9110, RFC 9112): for event streams
//! and for bodies that are worked on while they arrive. An exchange is one request and its response; at
//! its end it says whether the connection may carry another.
//!
//! ```text
//! response, date      what is answered, and when to ask again
//! chunked             chunk lines, data, trailers
//! body                how long a body is, and its pieces
//! request, redirect   what is asked for, and where to ask next
//! refusal             an answer that is none of what was asked for
//! coding              bodies that are compressed, and what they are without that
//! persist             whether a connection goes on behind an exchange
//! output              how the data of a body becomes what is told of it
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

/// How much of a peer's bytes an error shows.
const SHOWN: usize = 60;

/// The time limits of an exchange; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the head has to be there, whatever was waited for.
    pub head_by: Option<Instant>,
    /// From the last byte of the request to the head. Where it is set, `head_by` is no limit of the
    /// owner's, and is put off by the time that the request takes to leave.
    pub response: Option<Duration>,
    /// Behind the head, the longest silence.
    pub idle: Option<Duration>,
}

impl Timing {
    /// When a silence that begins now has lasted too long.
    fn idle_end(&self, now: Instant) -> Option<Instant> {
        self.idle.and_then(|idle| now.checked_add(idle))
    }
}

/// Why a response is of no use, or its body not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// No response head.
    Head(HeadError),
    /// More than `Limits::interim` responses before the final one.
    ManyInterim,
    /// 101, though no other protocol was asked for (RFC 9110 §15.2.2).
    Upgrade,
    /// Both `Transfer-Encoding` and `Content-Length` (RFC 9112 §6.1: an attack, maybe).
    BothLengths,
    /// `Transfer-Encoding` that is not exactly `chunked`, or in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncoding(String),
    /// `Content-Length` that is no number, or several that differ (RFC 9112 §6.3).
    ContentLength(String),
    /// A coding of the content, though `identity` was asked for (RFC 9110 §12.5.3). Where decoding was
    /// asked for, that is `Coding`, with feature `deflate`.
    ContentEncoding(String),
    /// The body is coded, and cannot be decoded (RFC 9110 §8.4).
    #[cfg(feature = "deflate")]
    Coding(CodingError),
    /// A response that is no event stream, where one was asked for.
    ContentType(Box<Response>),
    /// A response that opens no event stream, since its status is not 200 (WHATWG HTML §9.2.3).
    Status(Box<Response>),
    /// The line before a chunk is no hexadecimal number and well-formed extensions
    /// (RFC 9112 §7.1); what it starts with.
    ChunkLine(String),
    /// A chunk of 2⁶³ bytes or more.
    ChunkSize,
    /// The line before a chunk is longer than `Limits::chunk_line`.
    LongChunkLine,
    /// Chunk lines cost more than `Limits::chunk_overhead` beyond what data justifies.
    ChunkOverhead,
    /// The data of a chunk does not end in CR LF (RFC 9112 §7.1).
    ChunkEnd,
    /// A trailer section that is none (RFC 9112 §7.1.2).
    Trailer(HeadError),
    /// A line or an event of the event stream is too long.
    EventStream(SseError),
    /// The stream ended before the body did; how many bytes are missing, where that is known.
    Truncated(Option<u64>),
    /// The stream ended, or broke, before the head was complete.
    Eof,
    /// No head within the time limit.
    Timeout,
    /// No byte of the request has left for [`Limits::stall`](crate::Limits::stall), though some wait.
    Stalled,
    /// The body of the request ended so many bytes before the length that its head says: what has left
    /// is no whole request.
    ShortBody(u64),
    /// The body of the request goes on behind so many bytes, the length that its head says. The last of
    /// them has not left, so that the server has no whole request.
    LongBody(u64),
    /// A redirect asks for the body of the request again, which came in pieces and is not kept.
    BodyAgain,
    /// Nothing came for the idle limit.
    Idle,
    /// More redirects than `Limits::redirects`, or of a handshake than were asked for.
    ManyRedirects(u32),
    /// From https to http, or from wss to ws, where others could read along.
    Downgrade,
    /// `Location` is missing twice over, or no URL that could be followed.
    Location(UrlError),
    /// More than one `Location`.
    Locations,
}

impl HttpError {
    /// The peer's bytes in it, if it has some, for those who look whether they may be shown. A
    /// [`Response`] looks itself, and a `Location` is looked at where it is read.
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
