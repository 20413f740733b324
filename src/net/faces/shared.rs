//! A reactor that several threads use: one waits, without holding the lock; the others act.

use std::io;
use std::sync::Arc;

use super::batch::{Batch, Held};
use super::sync::{Instant, Mutex, MutexGuard, PoisonError, TryLockError, thread};
use crate::net::ask::Config;
use crate::net::reactor::{Reactor, Sink};
use crate::net::sys::{OsPoller, Poller, Ready};
use crate::net::time::earlier;

/// A reactor behind a lock that nobody holds while waiting.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    poller: Arc<OsPoller>,
}

struct Inner {
    reactor: Reactor,
    /// Until when somebody waits, while somebody does or is about to.
    waiting: Option<Option<Instant>>,
}

/// What [`Reactor::before_wait`] has said.
pub(super) struct Wait(Option<Option<Instant>>);

impl Wait {
    fn at_most(self, until: Option<Instant>) -> Wait {
        Wait(self.0.map(|deadline| earlier(deadline, until)))
    }

    /// Whether only a wake-up would end it.
    #[cfg(test)]
    pub(super) fn is_endless(&self) -> bool {
        self.0 == Some(None)
    }
}

/// The embedder's observer may panic in whoever uses the reactor. What that ends is told by the poll
/// thread, which would wait on.
struct Heard<'a>(&'a OsPoller);

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.wake();
        }
    }
}

impl Inner {
    fn begin(&mut self, until: Option<Instant>, sink: &mut dyn Sink) -> Wait {
        self.waiting = self.reactor.before_wait(until, sink);
        Wait(self.waiting)
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> io::Result<Shared> {
        let reactor = Reactor::new(config)?;
        let poller = reactor.poller();
        Ok(Shared { inner: Mutex::new(Inner { reactor, waiting: None }), poller })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A sink that panics leaves the reactor between two events, which is a valid state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock after a wait. What was waited for may be the answer to what another thread is still
    /// about to have sent, on the same core: it is let go on, which costs less than to fall asleep
    /// and have it wake us.
    fn lock_soon(&self) -> MutexGuard<'_, Inner> {
        for _ in 0..3 {
            match self.inner.try_lock() {
                Err(TryLockError::WouldBlock) => thread::yield_now(),
                Err(TryLockError::Poisoned(inner)) => return inner.into_inner(),
                Ok(inner) => return inner,
            }
        }
        self.lock()
    }

    /// Uses the reactor, and ends the wait of the poll thread if that would last too long now.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> R {
        let _heard = Heard(&self.poller);
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

    /// Uses the reactor and leaves the rest to a later [`Shared::with`], or to the next turn.
    #[cfg(feature = "luau")]
    pub(crate) fn quietly<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> R {
        act(&mut self.lock().reactor)
    }

    /// One turn, without the lock while it waits. `ready` is scratch space.
    #[cfg(feature = "luau")]
    pub(crate) fn turn(
        &self,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        let mut inner = self.lock();
        let wait = inner.begin(until, sink);
        // Just looked at.
        let now = inner.reactor.now();
        drop(inner);
        self.finish(wait, now, ready, sink).map(drop)
    }

    /// The first half of a turn, up to the wait.
    pub(super) fn begin(&self, until: Option<Instant>, sink: &mut dyn Sink) -> Wait {
        self.lock().begin(until, sink)
    }

    /// The second half of a turn and the first half of the next, so that a thread that hands over
    /// what it was told does not need the lock afterwards, when others do. `consume` is called
    /// between the two, if there is something to be handed over.
    ///
    /// How to go on, and whether a connection may be unread until more is consumed.
    pub(super) fn go_on(
        &self,
        wait: Wait,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
        batch: &mut Batch,
        consume: impl FnOnce(&mut Reactor),
    ) -> io::Result<(Wait, bool)> {
        // What the wait was begun with may not have known of `until`.
        let wait = wait.at_most(until);
        // The time of its first half may be long past.
        let mut inner = self.finish(wait, Instant::now(), ready, &mut Held(batch))?;
        if !batch.is_empty() {
            consume(&mut inner.reactor);
        }
        let wait = inner.begin(until, &mut Held(batch));
        Ok((wait, inner.reactor.may_be_stopped()))
    }

    /// Waits without the lock, and works off what is ready.
    fn finish(
        &self,
        wait: Wait,
        now: Instant,
        ready: &mut Vec<Ready>,
        sink: &mut dyn Sink,
    ) -> io::Result<MutexGuard<'_, Inner>> {
        let waited = wait.0.map_or(Ok(()), |deadline| self.poller.wait(now, deadline, ready));
        let mut inner = self.lock_soon();
        inner.waiting = None;
        inner.reactor.add_ready(ready);
        waited?;
        inner.reactor.after_wait(sink);
        Ok(inner)
    }

    /// Ends a wait, or the next one.
    pub(crate) fn wake(&self) {
        self.poller.wake();
    }
}
