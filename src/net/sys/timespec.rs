//! Times as the system takes them.

use std::time::Duration;

use rustix::event::Timespec;

pub(super) fn timespec(d: Duration) -> Timespec {
    Timespec { tv_sec: d.as_secs() as i64, tv_nsec: d.subsec_nanos().into() }
}
