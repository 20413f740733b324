//! Waiting with epoll, whose cost does not grow with the number of sockets.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::read;

use super::timer::{self, FAR};
use super::timespec::timespec;
use super::{Interest, Ready};

/// The token of the waker; [`Sys::watch`](super::Sys::watch) reserves it.
const WAKER: u64 = u64::MAX;
/// The token of the timer.
const TIMER: u64 = WAKER - 1;

/// An epoll descriptor, an eventfd that wakes it, and a timer.
pub struct Epoll {
    fd: OwnedFd,
    waker: OwnedFd,
    timer: Mutex<Timer>,
}

/// The timer of an [`Epoll`]; see [`timer::Timer`].
enum Timer {
    /// No wait was long enough to need a timer.
    Unused,
    /// The system refused to create a timer: each wait has its own timeout.
    Denied,
    Made(timer::Timer),
}

impl fmt::Debug for Epoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Epoll").finish_non_exhaustive()
    }
}

impl Epoll {
    pub(super) fn new() -> io::Result<Epoll> {
        let fd = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&fd, &waker, EventData::new_u64(WAKER), EventFlags::IN)?;
        Ok(Epoll { fd, waker, timer: Mutex::new(Timer::Unused) })
    }

    pub(super) fn watch(
        &self,
        socket: &OwnedFd,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, interest.read);
        flags.set(EventFlags::OUT, interest.write);
        let data = EventData::new_u64(token);
        let change = if new { epoll::add } else { epoll::modify };
        Ok(change(&self.fd, socket, data, flags)?)
    }

    pub(super) fn forget(&self, socket: &OwnedFd) {
        // Closing the descriptor would also remove it.
        let _ = epoll::delete(&self.fd, socket);
    }

    /// Waits until a socket is ready, at most for `left`; `now` is the current time.
    pub(super) fn wait(
        &self,
        now: Instant,
        left: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> rustix::io::Result<()> {
        let timeout = left.filter(|&left| left < FAR || !self.arm(now, left)).map(timespec);
        // Not initialised before the call, which would cost more than the rest of this function.
        let mut events = [const { MaybeUninit::<Event>::uninit() }; 256];
        let (events, _) = epoll::wait(&self.fd, &mut events[..], timeout.as_ref())?;
        for event in events {
            let (flags, data) = (event.flags, event.data);
            match data.u64() {
                WAKER => {
                    let _ = read(&self.waker, &mut [0; 8]);
                    continue;
                }
                TIMER => {
                    self.timer().fired();
                    continue;
                }
                _ => {}
            }
            let both = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            ready.push(Ready {
                token: data.u64(),
                read: both || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                write: both || flags.contains(EventFlags::OUT),
            });
        }
        Ok(())
    }

    pub(super) fn wake(&self) {
        // A write fails only if the counter is full, and then a wake-up is pending.
        let _ = rustix::io::write(&self.waker, &1u64.to_ne_bytes());
    }

    fn timer(&self) -> std::sync::MutexGuard<'_, Timer> {
        // No code that can panic runs while the lock is held.
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer if needed; returns whether it ends a wait at the latest when `left` has
    /// passed.
    fn arm(&self, now: Instant, left: Duration) -> bool {
        let mut timer = self.timer();
        if let Timer::Unused = *timer {
            *timer = match self.make_timer() {
                Ok(made) => Timer::Made(made),
                Err(_) => Timer::Denied,
            };
        }
        timer.arm(now, left)
    }

    fn make_timer(&self) -> rustix::io::Result<timer::Timer> {
        let timer = timer::Timer::new()?;
        epoll::add(&self.fd, &**timer.fd(), EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(timer)
    }
}

impl Timer {
    /// As [`Epoll::arm`].
    fn arm(&mut self, now: Instant, left: Duration) -> bool {
        match self {
            Timer::Made(timer) => timer.arm(now, left),
            Timer::Unused | Timer::Denied => false,
        }
    }

    /// The wait has reported the timer's descriptor.
    fn fired(&mut self) {
        if let Timer::Made(timer) = self {
            timer.fired();
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn armed(epoll: &Epoll) -> Option<Instant> {
        match &*epoll.timer() {
            Timer::Made(timer) => timer.armed(),
            Timer::Unused | Timer::Denied => None,
        }
    }

    fn is_unused(epoll: &Epoll) -> bool {
        matches!(*epoll.timer(), Timer::Unused)
    }

    fn ticks(epoll: &Epoll) -> bool {
        matches!(&*epoll.timer(), Timer::Made(timer) if timer.ticks())
    }

    /// Makes a wait that a wake-up has ended before it begins.
    fn pass(epoll: &Epoll, now: Instant, left: Option<Duration>) {
        let mut ready = Vec::new();
        epoll.wake();
        epoll.wait(now, left, &mut ready).unwrap();
        assert_eq!(ready, []);
    }

    #[test]
    fn a_far_deadline_is_set_once_for_many_waits_and_again_when_it_is_nearer() {
        let (epoll, now) = (Epoll::new().unwrap(), Instant::now());
        for left in [None, Some(Duration::ZERO), Some(SECOND - Duration::from_nanos(1))] {
            pass(&epoll, now, left);
            assert!(is_unused(&epoll), "{left:?}");
        }
        pass(&epoll, now, Some(30 * SECOND));
        let first = armed(&epoll);
        assert_eq!(first, Some(now + 30 * SECOND));
        for later in [1, 7, 20] {
            pass(&epoll, now + later * SECOND, Some(30 * SECOND));
            pass(&epoll, now + later * SECOND, None);
            assert_eq!(armed(&epoll), first);
        }
        // A near deadline does not set the timer.
        pass(&epoll, now, Some(SECOND / 2));
        assert_eq!(armed(&epoll), first);
        pass(&epoll, now + SECOND, Some(5 * SECOND));
        assert_eq!(armed(&epoll), Some(now + 6 * SECOND));
        assert!(ticks(&epoll));
    }

    #[test]
    fn a_timer_that_fires_ends_one_wait_with_nothing() {
        let (epoll, now) = (Epoll::new().unwrap(), Instant::now());
        for wanted in [Some(3600 * SECOND), None] {
            // The deadline has changed since the timer was set.
            assert!(epoll.arm(now, Duration::from_nanos(1)));
            let mut ready = Vec::new();
            epoll.wait(now, wanted, &mut ready).unwrap();
            assert_eq!((ready, armed(&epoll)), (Vec::new(), None));
            assert!(!ticks(&epoll));
            // The next wait does wait: only the waker ends it.
            pass(&epoll, now, Some(Duration::ZERO));
            let mut events = [const { MaybeUninit::<Event>::uninit() }; 4];
            let none = timespec(Duration::ZERO);
            assert!(epoll::wait(&epoll.fd, &mut events[..], Some(&none)).unwrap().0.is_empty());
        }
    }

    #[test]
    fn a_timer_that_was_set_again_before_it_was_read_stays_set() {
        let (epoll, now) = (Epoll::new().unwrap(), Instant::now());
        assert!(epoll.arm(now, 60 * SECOND));
        epoll.timer().fired();
        assert_eq!(armed(&epoll), Some(now + 60 * SECOND));
        assert!(ticks(&epoll));
    }

    #[test]
    fn without_a_timer_a_wait_has_its_own_timeout() {
        let (epoll, now) = (Epoll::new().unwrap(), Instant::now());
        *epoll.timer() = Timer::Denied;
        assert!(!epoll.arm(now, 30 * SECOND));
        pass(&epoll, now, Some(30 * SECOND));
        let mut ready = Vec::new();
        epoll.wait(now, Some(Duration::from_millis(1)), &mut ready).unwrap();
        assert_eq!(ready, []);
    }
}
