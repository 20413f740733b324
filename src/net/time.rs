//! Sums of times that cannot overflow.

use std::time::{Duration, Instant};

/// `span` after `now`; a span of more than a century counts as a century.
pub(crate) fn after(now: Instant, span: Duration) -> Instant {
    now + span.min(Duration::from_secs(100 * 365 * 86_400))
}

/// The earlier of two times; `None` means never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
