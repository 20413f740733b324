//! Time passes where a thread waits for it, and for that thread alone: loom has none, and a clock
//! that threads share would be one more thing between them.

use std::cell::Cell;
use std::ops::Add;
use std::time::Duration;

/// What is so far away does not come in a model.
pub(crate) const LONG: Duration = Duration::from_secs(86_400);

loom::thread_local! {
    static CLOCK: Cell<Duration> = Cell::new(Duration::from_secs(1));
}

/// A time of the thread that asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Instant(Duration);

impl Instant {
    /// Before everything.
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

/// So much time passes.
pub(crate) fn advance(span: Duration) {
    CLOCK.with(|clock| clock.set(clock.get() + span));
}
