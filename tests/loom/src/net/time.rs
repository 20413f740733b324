//! Replaces the crate's `time.rs` with the time of the model.

use std::time::Duration;

use super::faces::sync::Instant;

pub(crate) fn after(now: Instant, span: Duration) -> Instant {
    now + span
}

pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
