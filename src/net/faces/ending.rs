//! The end of everything: what was sent leaves first, for as long as it moves; then the servers have
//! a time for their answers.

use std::time::{Duration, Instant};

use crate::net::time::{after, earlier};

/// When that is over, for whoever has released all connections and looks again and again.
pub(crate) struct Ending {
    /// When all has to be over.
    limit: Option<Instant>,
    /// How long the servers have once all has left.
    answers: Duration,
    /// Until when that is, as soon as it is known.
    answered: Option<Instant>,
}

impl Ending {
    pub(crate) fn new(limit: Option<Instant>, answers: Duration) -> Ending {
        Ending { limit, answers, answered: None }
    }

    /// Whether it is over at `now`, with something to be done for `pending` connections, and `unsent`
    /// bytes left.
    pub(crate) fn is_over(&mut self, pending: usize, unsent: u64, now: Instant) -> bool {
        if unsent == 0 {
            // The close frames have left, too, and get a moment to be answered.
            self.answered.get_or_insert(after(now, self.answers));
        }
        pending == 0 || self.until().is_some_and(|until| until <= now)
    }

    /// When it is over at the latest, as far as that is known.
    pub(crate) fn until(&self) -> Option<Instant> {
        earlier(self.limit, self.answered)
    }
}
