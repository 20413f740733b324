//! Durations in the format of system calls.

use std::time::Duration;

use rustix::event::Timespec;

pub(super) fn timespec(d: Duration) -> Timespec {
    // The nanoseconds are below 10⁹, which the type of every system holds.
    Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos() as _ }
}
