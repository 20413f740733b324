//! The protocol without I/O: bytes, times and random numbers in, events and bytes out.
//!
//! > **The law.** After `receive`, `receive_eof`, `filled`, `send_*`, `close`, `answer_close` or
//! > `on_deadline`: call `receive` with what is left until it gives no event, before that input
//! > is reused; then write `outgoing()` and read `deadline()` again, before waiting.
//!
//! ```
//! use moonwire::proto::{Context, Event, Random, Request, Session, Settings, Url};
//! # struct Fixed; impl Random for Fixed { fn key(&mut self) -> [u8; 4] { [1, 2, 3, 4] } }
//! # let (mut random, nonce) = (Fixed, *b"0123456789abcdef");
//! let request = Request::new(Url::parse("ws://example.com/")?);
//! let mut session = Session::new(&request, Settings::default(), nonce, None);
//! let mut cx = Context { now: std::time::Instant::now(), random: &mut random };
//! // Write what is to be written …
//! let n = session.outgoing().len();
//! session.sent(cx.now, n);
//! // … and give what was read, until no event comes back.
//! let mut input = &b"HTTP/1.1 403 Forbidden\r\n\r\n"[..];
//! loop {
//!     let (used, event) = session.receive(&mut cx, input);
//!     input = &input[used..];
//!     match event {
//!         Some(Event::Text(text)) => println!("{}", text.as_str()),
//!         Some(Event::Closed(why)) => println!("{why:?}"),
//!         Some(_) => {}
//!         None => break,
//!     }
//! }
//! # Ok::<(), moonwire::proto::UrlError>(())
//! ```
//!
//! * Payloads borrow the input, never the session, so that the owner may send or close while it
//!   holds them. They are owned only when a message was put together from several pieces.
//! * `receive` cannot fail. A broken rule becomes one [`Violation`], a queued close frame, a
//!   parser that discards, and exactly one final event: [`Event::Closed`].
//! * No byte is looked at twice, and an error is found at the byte that decides it; of a large
//!   message that is read in place, the start may be looked at twice, and what is not UTF-8 is found
//!   when there is nothing more to read.
//! * Time and random numbers come in with the [`Context`]; nothing here has a clock.
//! * Time counts from the wire: the limits of a pong, of the answer to a close frame and of a
//!   response start when [`Session::sent`] has been told of the last byte that they wait for. While
//!   bytes leave, the peer is alive; when none does for [`Limits::stall`](crate::Limits::stall), it
//!   is lost.
//!
//! ```text
//! token, utf8, timer, buf, pace  leaves
//! url    head    headers         texts of HTTP
//! ws/    frame mask close message → handshake, connection
//! http/  chunked body request → exchange: one request, its response as it comes
//! sse/   event streams
//! closed, session                handshake, then connection; or an exchange
//! ```

pub(crate) mod buf;
mod closed;
pub(crate) mod head;
mod headers;
pub mod http;
mod pace;
mod session;
pub mod sse;
mod timer;
pub(crate) mod token;
mod url;
pub(crate) mod utf8;
pub(crate) mod ws;

use std::borrow::Cow;
use std::time::Instant;

pub use closed::{Closed, Failure, Lost};
pub use head::{Fields, Head, HeadError};
pub use headers::RequestError;
#[cfg(feature = "net")]
pub(crate) use headers::SECRET;
pub use session::{Session, Settings};
pub use timer::Timer;
pub use token::{escape, is_token};
pub use url::{Host, Scheme, Url, UrlError};
pub use ws::Violation;
pub use ws::close::{CloseFrame, Misuse, REASON_MAX, is_close_code};
pub use ws::frame::Opcode;
pub use ws::handshake::{HandshakeError, Opened, Request};
pub use ws::message::Text;

/// Where mask keys come from. RFC 6455 §10.3 needs them unpredictable: the system's CSPRNG, and
/// a fresh key for each frame.
pub trait Random {
    /// The next key.
    fn key(&mut self) -> [u8; 4];
}

/// What a session cannot know by itself.
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// The source of mask keys.
    pub random: &'a mut dyn Random,
}

/// What a session has to tell. The order is `Opened? (Text | Binary | Pong)* Closing? Closed` for
/// a WebSocket and `Response? (Chunk | ServerSent)* Closed` for a stream.
///
/// `C` is how the end is told: [`Closed`] here, with more to say where there are sockets.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b, C = Closed> {
    /// The server has accepted; messages can be sent.
    Opened(Box<Opened>),
    /// A text message.
    Text(Text<'b>),
    /// A binary message.
    Binary(Cow<'b, [u8]>),
    /// The payload of a pong. Pings are answered without the owner.
    Pong(&'b [u8]),
    /// The peer's close frame. What the owner then sends reaches the peer only where
    /// [`Settings::hold_close`] is set.
    Closing(CloseFrame),
    /// The head of a response, after redirects and interim responses; its body follows.
    Response(Box<http::Response>),
    /// A piece of the body, or one event of an event stream as text, as [`http::Delivery`] says.
    Chunk(Cow<'b, [u8]>),
    /// An event of an event stream.
    ServerSent(Box<sse::Event>),
    /// The end; nothing follows.
    Closed(C),
}

/// Room for the bytes that come next.
#[derive(Debug)]
pub struct Space<'a> {
    /// Append here.
    pub buf: &'a mut Vec<u8>,
    /// At most so many bytes; there is capacity for them.
    pub want: usize,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// What an observer is told of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The head of a request, or the fields of the response that opened the connection.
    Head {
        /// Which way.
        direction: Direction,
        /// The bytes as they travelled, secrets included.
        bytes: Vec<u8>,
    },
    /// A frame.
    Frame {
        /// Which way.
        direction: Direction,
        /// Whether it ends its message.
        fin: bool,
        /// What it is.
        opcode: Opcode,
        /// Bytes of its payload.
        len: usize,
        /// The first of them, unmasked.
        start: Vec<u8>,
    },
    /// A piece of a response's body, as it is handed over.
    Body {
        /// Its bytes.
        len: usize,
        /// The first of them.
        start: Vec<u8>,
    },
}

impl Note {
    /// How many bytes of a payload a note shows at most.
    pub const START: usize = 64;

    pub(crate) fn head(direction: Direction, bytes: &[u8]) -> Note {
        Note::Head { direction, bytes: bytes.to_vec() }
    }
}
