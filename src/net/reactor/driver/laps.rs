//! Measures how long the steps of opening take.

use std::time::{Duration, Instant};

use crate::proto::Phases;

/// Measures each step of opening.
#[derive(Clone, Copy)]
pub(super) struct Laps {
    since: Instant,
    pub(super) phases: Phases,
}

impl Laps {
    pub(super) fn new(now: Instant) -> Laps {
        Laps { since: now, phases: Phases::default() }
    }

    /// Records that a step has ended; `phase` returns the field for its time.
    pub(super) fn lap(
        &mut self,
        now: Instant,
        phase: impl FnOnce(&mut Phases) -> &mut Option<Duration>,
    ) {
        let took = now.saturating_duration_since(self.since);
        self.since = now;
        let time = phase(&mut self.phases);
        *time = Some(time.unwrap_or_default() + took);
    }
}
