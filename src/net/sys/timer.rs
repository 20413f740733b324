//! A timer that outlives waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::timespec::timespec;
use crate::net::time::after;

/// A wait with a timeout makes the kernel start and stop a timer, which costs a round trip
/// measurable time. So a far deadline, such as that of a keep-alive ping, is kept in a descriptor
/// that outlives the wait: it is set once for many waits whose deadlines move on. When it fires too
/// early for the current deadline, the wait ends without any result, and the next one sets it
/// again.
pub(super) struct Timer {
    fd: Arc<OwnedFd>,
    /// When it fires, unless it has fired.
    armed: Option<Instant>,
}

/// Nearer deadlines use the timeout of the wait: they move too much to be kept.
pub(super) const FAR: Duration = Duration::from_secs(1);

impl Timer {
    pub(super) fn new() -> rustix::io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        // The clock of `Instant`, and of the timeout of a wait.
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Timer { fd: Arc::new(fd), armed: None })
    }

    /// Readable when it has fired.
    pub(super) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Ensures that it fires when `left` has passed, or before; returns whether it does.
    pub(super) fn arm(&mut self, now: Instant, left: Duration) -> bool {
        let until = after(now, left);
        if self.armed.is_some_and(|at| at <= until) {
            return true;
        }
        let set = self.set(left);
        if set {
            self.armed = Some(until);
        }
        set
    }

    /// Makes it fire at once; returns whether it does.
    pub(super) fn fire(&mut self) -> bool {
        self.armed = None;
        // Zero would stop it.
        self.set(Duration::from_nanos(1))
    }

    fn set(&self, left: Duration) -> bool {
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        timerfd_settime(&*self.fd, TimerfdTimerFlags::empty(), &once).is_ok()
    }

    /// Its descriptor was reported; returns whether it has fired. Until it is read, every wait
    /// returns at once; and another thread may have set it again meanwhile.
    pub(super) fn fired(&mut self) -> bool {
        let fired = read(&*self.fd, &mut [0; 8]).is_ok();
        if fired {
            self.armed = None;
        }
        fired
    }

    #[cfg(test)]
    pub(super) fn armed(&self) -> Option<Instant> {
        self.armed
    }

    /// Whether it is set.
    #[cfg(test)]
    pub(super) fn ticks(&self) -> bool {
        let left = rustix::time::timerfd_gettime(&*self.fd).unwrap();
        assert_eq!((left.it_interval.tv_sec, left.it_interval.tv_nsec), (0, 0));
        (left.it_value.tv_sec, left.it_value.tv_nsec) != (0, 0)
    }
}
