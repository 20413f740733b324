//! Ends a wait in poll from another thread, by a descriptor that becomes readable.

use std::io;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::send;

use super::system;
#[cfg(target_os = "linux")]
use super::timer::{FAR, Timer};

/// A descriptor that is readable from a call of [`Waker::wake`] until [`Waker::calm`].
pub(super) enum Waker {
    /// A timer, which also keeps a far deadline: one descriptor for both.
    #[cfg(target_os = "linux")]
    Timer { fd: Arc<OwnedFd>, alarm: Mutex<Alarm> },
    /// On other systems, and if the system refuses to create a timer.
    Pair { from: Arc<OwnedFd>, to: OwnedFd },
}

#[cfg(target_os = "linux")]
pub(super) struct Alarm {
    pub(super) timer: Timer,
    /// `wake` has made the timer fire, and `calm` has not read that yet.
    woken: bool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
        // `moonwire_poll` behaves as on a system without such timers.
        #[cfg(all(target_os = "linux", not(moonwire_poll)))]
        if let Ok(waker) = Waker::timer() {
            return Ok(waker);
        }
        Waker::pair()
    }

    #[cfg(target_os = "linux")]
    #[cfg_attr(all(moonwire_poll, not(test)), allow(dead_code))]
    pub(super) fn timer() -> io::Result<Waker> {
        let timer = Timer::new()?;
        let fd = Arc::clone(timer.fd());
        Ok(Waker::Timer { fd, alarm: Mutex::new(Alarm { timer, woken: false }) })
    }

    pub(super) fn pair() -> io::Result<Waker> {
        let (from, to) = system::waker()?;
        Ok(Waker::Pair { from: Arc::new(from), to })
    }

    /// The descriptor to wait for.
    pub(super) fn fd(&self) -> &Arc<OwnedFd> {
        match self {
            #[cfg(target_os = "linux")]
            Waker::Timer { fd, .. } => fd,
            Waker::Pair { from, .. } => from,
        }
    }

    pub(super) fn wake(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Waker::Timer { alarm, .. } => {
                let mut alarm = lock(alarm);
                if !alarm.woken {
                    alarm.woken = alarm.timer.fire();
                }
            }
            // Sending fails only if the pair is full, and then a wake-up is pending.
            Waker::Pair { to, .. } => drop(send(to, &[1], system::NO_SIGNAL)),
        }
    }

    /// The wait has reported the descriptor. A wake-up from now on ends another wait.
    pub(super) fn calm(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Waker::Timer { alarm, .. } => {
                let mut alarm = lock(alarm);
                // The descriptor may have been reported for a deadline. If a wake-up has set the
                // timer again since, that is still to be reported.
                if alarm.timer.fired() {
                    alarm.woken = false;
                }
            }
            Waker::Pair { from, .. } => system::drain(from),
        }
    }

    /// Whether it ends a wait at the latest when `left` has passed, so that the wait needs no
    /// timeout.
    pub(super) fn arm(&self, now: Instant, left: Duration) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Waker::Timer { alarm, .. } if left >= FAR => {
                let mut alarm = lock(alarm);
                alarm.woken || alarm.timer.arm(now, left)
            }
            _ => {
                let _ = (now, left);
                false
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn lock(alarm: &Mutex<Alarm>) -> MutexGuard<'_, Alarm> {
    // No code that can panic runs while the lock is held.
    alarm.lock().unwrap_or_else(PoisonError::into_inner)
}
