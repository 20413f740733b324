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

/// A wait with a timeout makes the kernel start and stop a timer, which measurably slows down a
/// round trip. So a far deadline, such as of a keep-alive ping, is kept in a descriptor that
/// outlives the wait: it is set once for many waits, while the deadline moves on. If it fires too
/// early for the current deadline, the wait ends without a result, and the next wait sets it again.
pub(super) struct Timer {
    fd: Arc<OwnedFd>,
    /// When it will fire; `None` if it has fired or was never set.
    armed: Option<Instant>,
}

/// Nearer deadlines use the timeout of the wait: they move too often to be kept.
pub(super) const FAR: Duration = Duration::from_secs(1);

impl Timer {
    pub(super) fn new() -> rustix::io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        // `Instant` and the timeout of a wait use the same clock.
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Timer { fd: Arc::new(fd), armed: None })
    }

    /// The descriptor, which is readable once the timer has fired.
    pub(super) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Ensures that it fires at the latest when `left` has passed; returns whether it will.
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

    /// Makes it fire at once; returns whether it will.
    pub(super) fn fire(&mut self) -> bool {
        self.armed = None;
        // Zero would stop the timer.
        self.set(Duration::from_nanos(1))
    }

    fn set(&self, left: Duration) -> bool {
        let once = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        timerfd_settime(&*self.fd, TimerfdTimerFlags::empty(), &once).is_ok()
    }

    /// The wait has reported the descriptor: reads it, since every wait would otherwise return at
    /// once. Returns whether the timer has fired; another thread may have set it again meanwhile.
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
