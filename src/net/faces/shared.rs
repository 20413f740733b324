//! A reactor that several threads use: one waits without the lock; the others act under it.

use std::io;
use std::sync::Arc;

use super::batch::{Batch, HoldingSink};
use super::sync::{Instant, Mutex, MutexGuard, PoisonError, TryLockError, thread};
#[cfg(any(feature = "luau", test))]
use crate::net::ask::Config;
use crate::net::reactor::{Reactor, Sink};
use crate::net::sys::{Os, Poller, Ready, Sys};
use crate::net::time::earlier;

/// A reactor behind a lock that no thread holds while it waits.
pub(crate) struct Shared<S: Sys = Os> {
    inner: Mutex<Inner<S>>,
    poller: Arc<S::Poller>,
}

struct Inner<S: Sys> {
    reactor: Reactor<S>,
    /// `Some` while a thread waits or is about to: until when.
    waiting: Option<Option<Instant>>,
    /// How many batches with events [`Shared::begin`] and [`Shared::go_on`] have returned.
    batches: u64,
}

/// The result of [`Reactor::before_wait`].
pub(super) struct Wait(Option<Option<Instant>>);

impl Wait {
    fn at_most(self, until: Option<Instant>) -> Wait {
        Wait(self.0.map(|deadline| earlier(deadline, until)))
    }

    /// Whether only a wake-up would end the wait.
    #[cfg(test)]
    pub(super) fn is_endless(&self) -> bool {
        self.0 == Some(None)
    }
}

/// The program's observer may panic in any thread that uses the reactor. This wakes the poll
/// thread, which then reports the connection that the panic ends.
struct WakeOnPanic<'a, P: Poller>(&'a P);

impl<P: Poller> Drop for WakeOnPanic<'_, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.wake();
        }
    }
}

impl<S: Sys> Inner<S> {
    fn begin(&mut self, until: Option<Instant>, sink: &mut dyn Sink) -> Wait {
        self.waiting = self.reactor.before_wait(until, sink);
        Wait(self.waiting)
    }
}

#[cfg(any(feature = "luau", test))]
impl Shared {
    pub(crate) fn new(config: Config) -> io::Result<Shared> {
        Reactor::new(config).map(Shared::of)
    }
}

impl<S: Sys> Shared<S> {
    /// A shared reactor from a reactor that may have connections already.
    pub(super) fn of(reactor: Reactor<S>) -> Shared<S> {
        let poller = reactor.poller();
        Shared { inner: Mutex::new(Inner { reactor, waiting: None, batches: 0 }), poller }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        // A sink that panics leaves the reactor between two events, which is a valid state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock after a wait. The event may be the answer to a message whose sending thread
    /// is still running on the same core. Yielding to that thread costs less than sleeping until it
    /// wakes this one.
    fn lock_soon(&self) -> MutexGuard<'_, Inner<S>> {
        for _ in 0..3 {
            match self.inner.try_lock() {
                Err(TryLockError::WouldBlock) => thread::yield_now(),
                Err(TryLockError::Poisoned(inner)) => return inner.into_inner(),
                Ok(inner) => return inner,
            }
        }
        self.lock()
    }

    /// Uses the reactor, and ends the wait of the poll thread if it would now last too long.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Reactor<S>) -> R) -> R {
        let _guard = WakeOnPanic(&*self.poller);
        let mut inner = self.lock();
        let result = act(&mut inner.reactor);
        let Some(until) = inner.waiting else { return result };
        inner.reactor.flush();
        let wanted = inner.reactor.deadline();
        if wanted.is_some_and(|w| until.is_none_or(|u| w < u)) {
            inner.waiting = None;
            drop(inner);
            self.poller.wake();
        }
        result
    }

    /// Uses the reactor; a later [`Shared::with`] or the next turn wakes the poll thread.
    #[cfg(feature = "luau")]
    pub(crate) fn quietly<R>(&self, act: impl FnOnce(&mut Reactor<S>) -> R) -> R {
        act(&mut self.lock().reactor)
    }

    /// One turn, without the lock while waiting. `ready` is scratch space.
    #[cfg(feature = "luau")]
    pub(crate) fn turn(
        &self,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        let mut inner = self.lock();
        let wait = inner.begin(until, sink);
        // `begin` has just read the time.
        let now = inner.reactor.now();
        drop(inner);
        self.end_turn(wait, now, ready, sink).map(drop)
    }

    /// How many connections there are whose end will be reported, and how many batches with events
    /// were returned. Once those batches are handled, no event of another connection comes.
    pub(super) fn listened(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.reactor.listened(), inner.batches)
    }

    /// The time by the clock of the system.
    pub(super) fn clock(&self) -> Instant {
        self.poller.now()
    }

    /// The first half of a turn, up to the wait. `batch`, which has to be empty, gets its events.
    pub(super) fn begin(&self, until: Option<Instant>, batch: &mut Batch) -> Wait {
        let mut inner = self.lock();
        let wait = inner.begin(until, &mut HoldingSink(batch));
        inner.batches += u64::from(!batch.is_empty());
        wait
    }

    /// The second half of a turn and the first half of the next. So a thread that hands its events
    /// over does not need the lock afterwards, when other threads do. Between the two, it calls
    /// `consume` if there are events to be handed over.
    ///
    /// Returns how to go on, and whether a connection may be unread until events are consumed.
    pub(super) fn go_on(
        &self,
        wait: Wait,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
        batch: &mut Batch,
        consume: impl FnOnce(&mut Reactor<S>),
    ) -> io::Result<(Wait, bool)> {
        // The wait may have begun without this `until`.
        let wait = wait.at_most(until);
        // The first half may have read the time long ago.
        let mut inner = self.end_turn(wait, self.clock(), ready, &mut HoldingSink(batch))?;
        if !batch.is_empty() {
            consume(&mut inner.reactor);
        }
        let wait = inner.begin(until, &mut HoldingSink(batch));
        inner.batches += u64::from(!batch.is_empty());
        Ok((wait, inner.reactor.may_be_unread()))
    }

    /// Waits without the lock, and then handles what is ready.
    fn end_turn(
        &self,
        wait: Wait,
        now: Instant,
        ready: &mut Vec<Ready>,
        sink: &mut dyn Sink,
    ) -> io::Result<MutexGuard<'_, Inner<S>>> {
        let waited = wait.0.map_or(Ok(()), |deadline| self.poller.wait(now, deadline, ready));
        let mut inner = self.lock_soon();
        inner.waiting = None;
        inner.reactor.add_ready(ready);
        waited?;
        inner.reactor.after_wait(sink);
        Ok(inner)
    }

    /// Ends the current wait, or the next one.
    pub(crate) fn wake(&self) {
        self.poller.wake();
    }
}
