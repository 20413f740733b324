//! Time passes when a thread waits for it, and for that thread alone: loom has no clock, and a
//! shared one would be another variable between threads.

use std::cell::Cell;
use std::ops::Add;
use std::time::Duration;

/// A time that is this far away never passes in a model.
pub(crate) const LONG: Duration = Duration::from_secs(86_400);

loom::thread_local! {
    static CLOCK: Cell<Duration> = Cell::new(Duration::from_secs(1));
}

/// The time of the calling thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Instant(Duration);

impl Instant {
    /// Before all other times.
    pub(crate) const PAST: Instant = Instant(Duration::ZERO);

    pub(crate) fn now() -> Instant {
        Instant(CLOCK.with(Cell::get))
    }

    pub(crate) fn saturating_duration_since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, span: Duration) -> Instant {
        Instant(self.0 + span)
    }
}

/// Lets this much time pass.
pub(crate) fn advance(span: Duration) {
    CLOCK.with(|clock| clock.set(clock.get() + span));
}
