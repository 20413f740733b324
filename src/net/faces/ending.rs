//! The end of all connections: everything queued is sent first, for as long as the kernel takes
//! bytes; then the servers have some time for their answers.

use std::time::{Duration, Instant};

use crate::net::time::{after, earlier};

/// When the end is complete, for a loop that has released all connections and asks repeatedly.
pub(crate) struct Ending {
    /// The deadline for everything.
    limit: Option<Instant>,
    /// How long the servers have once everything was sent.
    answers: Duration,
    /// The deadline of the answers, once it is known.
    answered: Option<Instant>,
}

impl Ending {
    pub(crate) fn new(limit: Option<Instant>, answers: Duration) -> Ending {
        Ending { limit, answers, answered: None }
    }

    /// Whether the end is complete at `now`, with `pending` connections still in use, and `unsent`
    /// bytes left.
    pub(crate) fn may_end(&mut self, pending: usize, unsent: u64, now: Instant) -> bool {
        if unsent == 0 {
            // The close frames were sent, too, and get a moment to be answered.
            self.answered.get_or_insert(after(now, self.answers));
        }
        pending == 0 || self.until().is_some_and(|until| until <= now)
    }

    /// When the end is complete at the latest, as far as known.
    pub(crate) fn until(&self) -> Option<Instant> {
        earlier(self.limit, self.answered)
    }
}
