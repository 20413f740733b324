//! The protocol without I/O: bytes, times and random numbers in, events and bytes out.
//!
//! > **The law.** After `receive`, `receive_eof`, `receive_cut`, `filled`, `drained`, `send_*`,
//! > `ping`, `end_body`, `close`, `answer_close` or `on_deadline`: call `receive` with the rest of
//! > the input until it returns no event, before you reuse that input; then write `outgoing()` and
//! > read `deadline()` again, before you wait.
//!
//! ```
//! use moonwire::proto::{Context, Event, Random, Request, Session, Settings, Url};
//! # struct Fixed; impl Random for Fixed { fn key(&mut self) -> [u8; 4] { [1, 2, 3, 4] } }
//! # let (mut random, nonce) = (Fixed, *b"0123456789abcdef");
//! let request = Request::new(Url::parse("ws://example.com/")?);
//! let mut session = Session::new(&request, Settings::default(), nonce, None);
//! let mut cx = Context { now: std::time::Instant::now(), random: &mut random };
//! // Write these bytes …
//! let n = session.outgoing().len();
//! session.sent(cx.now, n);
//! // … and pass received bytes in, until no event comes back.
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
//! * Payloads borrow the input, never the session, so the program may send or close while it holds
//!   them. They are owned only if a message was assembled from several pieces or decompressed.
//! * `receive` cannot fail. A broken rule becomes one [`Violation`], a queued close frame, a parser
//!   that discards, and exactly one final event: [`Event::Closed`].
//! * No byte is examined by each of many calls, and an error is found at the byte that decides it.
//!   A fast path may give up, and then the bytes are examined once more. In a large message that is
//!   read in place, bytes that are not UTF-8 are found when there is nothing more to read.
//! * Time and random numbers come from the [`Context`]; no code here reads a clock.
//! * Time limits count from the wire: the limits of a pong, of the answer to a close frame and of a
//!   response start when [`Session::sent`] reports the last byte that they depend on. While the
//!   kernel takes bytes, the peer is alive; if it takes none for
//!   [`Limits::stall`](crate::Limits::stall), the connection is lost.
//!
//! ```text
//! token, utf8, timer, buf, pace, context,
//! transport                                leaves
//! secret                                   which parts of a request may be shown
//! url, head, headers                       parsing and writing parts of HTTP messages
//! sse/                                     event streams
//! ws/                                      RFC 6455: frame, mask, close, message; RFC 7692: deflate/
//! http/                                    RFC 9112: chunked, body, request, redirect, refusal
//! closed, note, event, settings            what a session reports, and its settings
//! ws/handshake, ws/connection,
//! http/exchange                            the state machines
//! session                                  handshake, then connection; or an exchange
//! ```
//!
//! Each module uses modules above it in this list and none below (`tests/layering.rs`).

pub(crate) mod buf;
mod closed;
mod context;
mod event;
pub(crate) mod head;
pub(crate) mod headers;
pub mod http;
mod note;
mod pace;
pub(crate) mod secret;
mod session;
mod settings;
pub mod sse;
mod timer;
pub(crate) mod token;
mod transport;
mod url;
pub(crate) mod utf8;
pub(crate) mod ws;

pub use buf::Space;
pub use closed::{Closed, Failure, Lost};
pub use context::{Context, Random};
pub use event::Event;
pub use head::{Fields, Head, HeadError};
pub use headers::RequestError;
pub use note::{Direction, Note};
pub use session::Session;
pub use settings::Settings;
pub use timer::Timer;
pub use token::{escape, is_token};
pub use transport::{Endpoint, Phases, TlsInfo, Transport};
#[cfg(feature = "net")]
pub(crate) use url::percent_decoded;
pub use url::{Host, Scheme, Url, UrlError};
pub use ws::Violation;
pub use ws::close::{CloseFrame, Misuse, REASON_MAX, is_close_code};
#[cfg(feature = "deflate")]
pub use ws::deflate::{Agreed, Compression, NegotiationError};
pub use ws::frame::Opcode;
pub use ws::handshake::{HandshakeError, Opened, Request};
pub use ws::message::Text;
pub use ws::stats::Stats;
