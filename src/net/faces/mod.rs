//! The faces: handles that block, that run on a thread of their own, or that the Luau side drives.

mod batch;
mod client;
mod drained;
mod ending;
mod event_source;
mod halves;
mod interrupter;
#[cfg(feature = "json")]
mod json;
mod message;
mod queue;
mod shared;
#[cfg(feature = "luau")]
mod stand_in;
mod stream;
mod sync;
mod websocket;

#[cfg(test)]
pub(super) use batch::HoldingSink;
pub use batch::{Batch, Items};
#[cfg(feature = "luau")]
pub(crate) use batch::{MessageGroup, Payloads};
pub use client::{Client, EventIter, Events};
#[cfg(feature = "luau")]
pub(crate) use ending::Ending;
pub use event_source::{EventSource, Incoming};
pub use halves::{Receiver, Sender};
pub use interrupter::Interrupter;
pub use message::{Message, Received};
#[cfg(feature = "luau")]
pub(crate) use stand_in::{Seat, VmThread};
pub use stream::{Piece, Stream, get};
pub use websocket::{WebSocket, connect};

#[cfg(test)]
mod tests;
