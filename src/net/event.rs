//! The events of a connection, and the number that identifies it.

use std::fmt;

use crate::error::Error;
use crate::proto::{self, CloseFrame};

/// An event of a connection: `Opened? (Text | Binary | Pong)* Closing? Closed` for a WebSocket,
/// `Response? (Chunk | ServerSent)* Closed` for a stream.
pub type Event<'b> = proto::Event<'b, Closed>;

/// How a connection ended.
///
/// ```no_run
/// use moonwire::{Closed, Config, Conn, Event, Options, Reactor};
///
/// let mut reactor = Reactor::new(Config::default())?;
/// reactor.open(Options::new("wss://echo.example/")?)?;
/// while !reactor.is_empty() {
///     reactor.turn(None, &mut |_: &mut Conn<'_>, event: Event<'_>| match event {
///         Event::Closed(Closed::Clean(frame)) => println!("the server closed: {frame}"),
///         Event::Closed(Closed::Failed(error) | Closed::Lost(error)) => println!("{error}"),
///         _ => {}
///     })?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Closed {
    /// The closing handshake was completed; the server's close frame.
    Clean(CloseFrame),
    /// The connection could not be opened, or the server broke a rule.
    Failed(Error),
    /// The connection was open and ended without a closing handshake, or before all accepted bytes
    /// were sent; or the body of a response is not complete.
    Lost(Error),
    /// The whole response of a stream was received.
    Complete,
}

impl Closed {
    /// The code as RFC 6455 §7.1.5 defines it: the server's, 1005 if its frame had none, 1006
    /// without a closing handshake. A stream has no codes: 1000 if the response is complete.
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

/// Identifies a connection of a reactor. A later one has the same only after 2²⁹ others in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// How many bits the index in the table has; the other bits count how often it was used.
    pub(super) const INDEX: u32 = 24;

    pub(crate) fn new(index: usize, generation: u64) -> ConnId {
        ConnId(generation << ConnId::INDEX | index as u64)
    }

    pub(crate) fn index(self) -> usize {
        (self.0 & ((1 << ConnId::INDEX) - 1)) as usize
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> ConnId::INDEX
    }

    /// The number, below 2⁵³: a Luau number represents it exactly.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The id for which [`ConnId::to_bits`] returned `bits`.
    pub fn from_bits(bits: u64) -> ConnId {
        ConnId(bits)
    }
}
