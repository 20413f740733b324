//! Event streams, `text/event-stream` (WHATWG HTML §9.2.5–9.2.6), from a body in pieces of any
//! size.
//!
//! > **The law.** Call `receive` with the rest of the input until it returns nothing; then it has
//! > taken all. No byte is searched by each of many calls, a cut line is kept inside, and after an
//! > error `receive` takes all bytes and returns nothing.
//!
//! * [`Events`] returns parsed events: those that `EventSource` would dispatch, and comments on
//!   request.
//! * [`Blocks`] returns the text of each event, field names and comments included.
//! * [`Reconnect`] computes how long to wait before the next connection, of an event stream or of
//!   anything else.
//!
//! A line ends at CR LF, LF or CR. A CR ends it at once, and a LF right behind is skipped: so no
//! line waits for a byte that may come an hour later. One byte order mark at the very start of the
//! stream belongs to no line.

mod block;
mod event;
mod line;
mod reconnect;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;

pub use block::Blocks;
pub use event::{Event, EventOrComment, Events};
pub use reconnect::Reconnect;

/// How many bytes were taken, and the item that they complete.
type Taken<T> = Result<(usize, Option<T>), SseError>;

/// Why the event stream cannot be read further. WHATWG HTML has no such bounds; they are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SseError {
    /// A line, comments included, with more bytes than `Limits::sse_line`, its end not counted.
    LongLine,
    /// An event with more bytes than `Limits::sse_block`.
    LongEvent,
}

impl fmt::Display for SseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SseError::LongLine => "a line of the event stream is longer than Limits::sse_line",
            SseError::LongEvent => "an event of the event stream is longer than Limits::sse_block",
        })
    }
}

impl std::error::Error for SseError {}
