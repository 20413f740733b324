//! Sockets, the poll loop and its three faces: [`Reactor`] (the embedder drives it), [`Client`]
//! (a thread of its own), and [`WebSocket`], [`Stream`] and [`EventSource`] (blocking). For the Luau
//! side there is a fourth way, which `stand_in.rs` describes.

mod ask;
mod batch;
mod blocking;
mod client;
mod conn;
mod dial;
mod driver;
#[cfg(target_os = "linux")]
mod epoll;
mod event_source;
mod gate;
mod keys;
pub(crate) mod link;
mod options;
mod reactor;
mod resolve;
mod shared;
#[cfg(feature = "luau")]
mod stand_in;
mod stream;
mod stream_options;
pub(crate) mod sys;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub(crate) mod tls;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use std::fmt;
use std::time::{Duration, Instant};

pub use ask::Ask;
pub use batch::{Batch, Items};
#[cfg(feature = "luau")]
pub(crate) use batch::{Payloads, Run};
pub use blocking::{Message, Received, WebSocket, connect};
pub use client::{Client, Events};
pub use conn::{Conn, Sink};
pub use event_source::{EventSource, Incoming};
pub use options::{Config, Options, Override};
pub use reactor::Reactor;
pub use resolve::Answer;
#[cfg(feature = "luau")]
pub(crate) use stand_in::{Owner, Seat};
pub use stream::{Piece, Stream};
pub use stream_options::StreamOptions;
pub use sys::{Interest, Os, OsPoller, Poller, Ready, Socket, Sys};
#[cfg(feature = "tls")]
pub use tls::tls_config;

use crate::error::Error;
use crate::proto::{self, CloseFrame};

/// `span` after `now`; one beyond what a clock can say is none, and a century stands for it.
pub(crate) fn after(now: Instant, span: Duration) -> Instant {
    now + span.min(Duration::from_secs(100 * 365 * 86_400))
}

/// The earlier of two times; `None` never comes.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// What a reactor has to tell of a connection: `Opened? (Text | Binary | Pong)* Closing? Closed` of
/// a WebSocket, `Response? (Chunk | ServerSent)* Closed` of a stream.
pub type Event<'b> = proto::Event<'b, Closed>;

/// How a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// The closing handshake was completed; what the server's close frame said.
    Clean(CloseFrame),
    /// It could not be opened, or the server broke a rule.
    Failed(Error),
    /// It was open and ended without a closing handshake, or the body of a response is not whole.
    Lost(Error),
    /// The response of a stream has been received whole.
    Complete,
}

impl Closed {
    /// The code as RFC 6455 §7.1.5 defines it: the server's, 1005 if its frame had none, 1006
    /// without a closing handshake. A stream has no codes: 1000 if it is whole.
    pub fn code(&self) -> u16 {
        match self {
            Closed::Clean(frame) => frame.code_or_1005(),
            Closed::Complete => 1000,
            Closed::Failed(_) | Closed::Lost(_) => 1006,
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Clean(frame) => write!(f, "closed: {frame}"),
            Closed::Complete => f.write_str("complete"),
            Closed::Failed(e) | Closed::Lost(e) => e.fmt(f),
        }
    }
}

/// A connection of a reactor. Never used for another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// Bits of the place in the table; the others (29) count how often it was used.
    const INDEX: u32 = 24;

    pub(crate) fn new(index: usize, generation: u64) -> ConnId {
        ConnId(generation << ConnId::INDEX | index as u64)
    }

    pub(crate) fn index(self) -> usize {
        (self.0 & ((1 << ConnId::INDEX) - 1)) as usize
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> ConnId::INDEX
    }

    /// As a number below 2⁵³, exact as a Luau number.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Back again.
    pub fn from_bits(bits: u64) -> ConnId {
        ConnId(bits)
    }
}

#[cfg(test)]
mod tests;
