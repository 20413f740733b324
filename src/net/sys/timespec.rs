//! Times in the format of system calls.

use std::time::Duration;

use rustix::event::Timespec;

pub(super) fn timespec(d: Duration) -> Timespec {
    // Below 10^9, which each system's type of it holds.
    Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos() as _ }
}
