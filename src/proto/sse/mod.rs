//! Event streams, `text/event-stream` (WHATWG HTML §9.2.5–9.2.6), from a body in pieces of any
//! size.
//!
//! > **The law.** Call `receive` with what is left until it gives nothing; then all was taken.
//! > No byte is looked for twice, a cut line is kept inside, and after an error everything is
//! > taken and nothing given.
//!
//! * [`Events`] returns parsed events: those that `EventSource` would dispatch, and comments if
//!   asked to.
//! * [`Blocks`] returns the text of each event, field names and comments included.
//! * [`Reconnect`] computes how long to wait before the next connection, of an event stream or of
//!   anything else.
//!
//! A line ends at CR LF, LF or CR. A CR ends it at once; a LF right behind is then skipped, so that
//! nobody waits for a byte that may come an hour later. One byte order mark at the very start of
//! the stream is no part of it.

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

/// How many bytes were taken, and the item that they completed.
type Taken<T> = Result<(usize, Option<T>), SseError>;

/// Why an event stream is not read further. WHATWG HTML has no bounds; these are our own.
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
