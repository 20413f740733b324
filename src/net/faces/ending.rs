//! Ends all connections: everything queued is sent first, as long as the kernel takes bytes; then
//! the servers have some time for their answers.

use std::time::{Duration, Instant};

use crate::net::time::{after, earlier};

/// Decides when the end is complete, for a loop that has released all connections.
pub(crate) struct Ending {
    /// The deadline of the whole end.
    limit: Option<Instant>,
    /// How long the servers have to answer once everything was sent.
    answers: Duration,
    /// The deadline of the answers, once everything was sent.
    answered: Option<Instant>,
}

impl Ending {
    pub(crate) fn new(limit: Option<Instant>, answers: Duration) -> Ending {
        Ending { limit, answers, answered: None }
    }

    /// Whether the end is complete at `now`: `pending` connections are still in use, and `unsent`
    /// bytes are left.
    pub(crate) fn may_end(&mut self, pending: usize, unsent: u64, now: Instant) -> bool {
        if unsent == 0 {
            // The close frames were sent, too; the servers get some time to answer them.
            self.answered.get_or_insert(after(now, self.answers));
        }
        pending == 0 || self.until().is_some_and(|until| until <= now)
    }

    /// When the end is complete at the latest, as far as is known.
    pub(crate) fn until(&self) -> Option<Instant> {
        earlier(self.limit, self.answered)
    }
}
