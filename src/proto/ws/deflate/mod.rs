//! permessage-deflate (RFC 7692): negotiation, compressing and inflating.
//!
//! ```text
//! options              what the client asks for, what both sides agreed on
//! negotiate            the extension in the fields of the handshake
//! inflater, deflater   the two directions
//! history              the bytes to which the next message may refer
//! room                 buffers into which both write
//! ```
//!
//! The first message that needs a state of the library creates it. When no message was compressed
//! for [`Limits::deflate_rest`], the deflating state is freed; the bytes to which the next message
//! may refer are kept, and another state is created from them. After [`Limits::deflate_idle`] they
//! are freed, too: a message need not refer to earlier ones. The inflating state stays for as long
//! as the peer may refer to earlier messages.

mod deflater;
mod history;
mod inflater;
pub(crate) mod negotiate;
mod options;
mod room;

use std::fmt;
use std::time::{Duration, Instant};

use super::Violation;
use crate::limits::Limits;
use deflater::{Deflater, Form};
use inflater::Inflater;
pub use negotiate::NegotiationError;
pub use options::{Agreed, Compression};

/// The two directions of a connection.
pub(crate) struct Codec(Box<Parts>);

struct Parts {
    inflater: Inflater,
    deflater: Deflater,
    /// Shorter messages are not compressed.
    threshold: usize,
    /// When a message was last to be compressed.
    used: Option<Instant>,
    /// When `on_deadline` looks next whether memory is unused.
    look: Option<Instant>,
    /// The error of the message that is being inflated.
    fault: Option<Violation>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

impl Codec {
    /// The codec of a client that asked for `wanted`.
    pub(crate) fn client(agreed: &Agreed, wanted: &Compression) -> Codec {
        let Agreed { client_window, client_takeover, server_takeover, .. } = *agreed;
        Codec::new(server_takeover, client_takeover, client_window, wanted)
    }

    /// The codec of a server.
    #[cfg(feature = "cli")]
    pub(crate) fn server(agreed: &Agreed, wanted: &Compression) -> Codec {
        let Agreed { server_window, client_takeover, server_takeover, .. } = *agreed;
        Codec::new(client_takeover, server_takeover, server_window, wanted)
    }

    fn new(theirs: bool, ours: bool, window: u8, wanted: &Compression) -> Codec {
        let is_written = window >= Compression::CLIENT_WINDOW_MIN;
        Codec(Box::new(Parts {
            inflater: Inflater::new(theirs),
            deflater: Deflater::new(ours, Form { window, level: wanted.level() }),
            threshold: if is_written { wanted.threshold.max(1) } else { usize::MAX },
            used: None,
            look: None,
            fault: None,
        }))
    }

    /// Appends `piece` of a message, inflated, to `data`; more than `max` bytes are an error.
    pub(crate) fn inflate(
        &mut self,
        piece: &[u8],
        data: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), Violation> {
        if let Some(violation) = self.0.fault {
            return Err(violation);
        }
        self.0.inflater.push(piece, data, max)
    }

    /// Abandons a message for `violation`, which every further `inflate` returns.
    pub(crate) fn fail(&mut self, violation: Violation) {
        self.0.fault = Some(violation);
    }

    /// All pieces of the message were inflated.
    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        self.0.inflater.finish()
    }

    /// Whether a message of `len` bytes is to be compressed.
    pub(crate) fn compresses(&self, len: usize) -> bool {
        len >= self.0.threshold
    }

    /// Passes `payload` to `take` compressed; returns `false` if it has to be sent uncompressed.
    pub(crate) fn deflate(&mut self, payload: &[u8], take: impl FnOnce(&[u8])) -> bool {
        self.compresses(payload.len()) && self.0.deflater.message(payload, take)
    }

    /// A message was to be compressed: sets when its memory is freed if no other follows.
    pub(crate) fn used(&mut self, now: Instant, limits: &Limits) {
        self.0.used = Some(now);
        if self.0.deflater.has_memory() {
            // A state that was freed and created again has to be looked at earlier than planned.
            let rest = now.checked_add(limits.deflate_rest.min(limits.deflate_idle));
            self.0.look = [self.0.look, rest].into_iter().flatten().min();
        }
    }

    /// When [`Codec::on_deadline`] has to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.look
    }

    /// Frees memory that was unused for the time of its limit.
    pub(crate) fn on_deadline(&mut self, now: Instant, limits: &Limits) {
        let Parts { deflater, used, look, .. } = &mut *self.0;
        if look.is_none_or(|at| at > now) {
            return;
        }
        let after = |time: Duration| used.and_then(|used| used.checked_add(time));
        let (rest, idle) = (after(limits.deflate_rest), after(limits.deflate_idle));
        let is_over = |at: &Option<Instant>| at.is_some_and(|at| at <= now);
        if is_over(&idle) {
            deflater.give_up();
        } else if is_over(&rest) {
            deflater.rest();
        }
        let next =
            if deflater.has_state() { [rest, idle].into_iter().flatten().min() } else { idle };
        *look = next.filter(|_| deflater.has_memory());
    }
}

#[cfg(test)]
mod tests;
