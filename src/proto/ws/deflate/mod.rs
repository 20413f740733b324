//! permessage-deflate (RFC 7692): what is offered and agreed on, and messages that are compressed.
//!
//! ```text
//! options              what is asked for, what was agreed on
//! negotiate            how that is said in the handshake
//! inflater, deflater   the two directions
//! history              what the next message may refer to
//! room                 where they write to
//! ```
//!
//! The states of the library are made with the first message that needs them. The one that deflates rests
//! when nothing was sent for [`Limits::deflate_rest`]: the bytes that a message may refer to stay, and out
//! of them it is made again. They are given up after [`Limits::deflate_idle`]: a message need not refer to
//! those before. The state that inflates has to stay for as long as the peer may refer to them.

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

/// Both directions of a connection.
pub(crate) struct Codec(Box<Parts>);

struct Parts {
    inflater: Inflater,
    deflater: Deflater,
    /// Shorter messages go plain.
    threshold: usize,
    /// When a message was last compressed.
    used: Option<Instant>,
    /// When that is to be looked at.
    look: Option<Instant>,
    /// What is wrong with the message that was inflated.
    fault: Option<Violation>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

impl Codec {
    /// The client's, which asked for `wanted`.
    pub(crate) fn client(agreed: &Agreed, wanted: &Compression) -> Codec {
        let Agreed { client_window, client_takeover, server_takeover, .. } = *agreed;
        Codec::new(server_takeover, client_takeover, client_window, wanted)
    }

    /// The server's.
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

    /// Appends what `piece` of a message holds to `data`; more than `max` bytes are too many.
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

    /// A message is given up for `violation`, which is what is said of whatever is to be inflated next.
    pub(crate) fn fail(&mut self, violation: Violation) {
        self.0.fault = Some(violation);
    }

    /// The message is whole.
    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        self.0.inflater.finish()
    }

    /// Whether a message of so many bytes is to be compressed.
    pub(crate) fn compresses(&self, len: usize) -> bool {
        len >= self.0.threshold
    }

    /// Hands over `payload` compressed; or `false` if it is to be sent plain.
    pub(crate) fn deflate(&mut self, payload: &[u8], take: impl FnOnce(&[u8])) -> bool {
        self.compresses(payload.len()) && self.0.deflater.message(payload, take)
    }

    /// Something was to be compressed: what that has left behind is to be given back some time later.
    pub(crate) fn used(&mut self, now: Instant, limits: &Limits) {
        self.0.used = Some(now);
        if self.0.deflater.has_memory() {
            // One that rested is at work again: that is looked at sooner than planned.
            let rest = now.checked_add(limits.deflate_rest.min(limits.deflate_idle));
            self.0.look = [self.0.look, rest].into_iter().flatten().min();
        }
    }

    /// When [`Codec::on_deadline`] has to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.look
    }

    /// Gives memory back that nothing has used for the time that its limit says.
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
        *look = [deflater.has_state().then_some(rest).flatten(), idle].into_iter().flatten().min();
        if !deflater.has_memory() {
            *look = None;
        }
    }
}

#[cfg(test)]
mod tests;
