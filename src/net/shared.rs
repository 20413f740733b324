//! A reactor that several threads use: one waits, without holding the lock; the others act.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::conn::Sink;
use super::sys::{OsPoller, Poller, Ready};
use super::{Config, Reactor};

/// A reactor behind a lock that nobody holds while waiting.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    poller: Arc<OsPoller>,
}

struct Inner {
    reactor: Reactor,
    /// Until when somebody waits, while somebody does.
    waiting: Option<Option<Instant>>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> std::io::Result<Shared> {
        let reactor = Reactor::new(config)?;
        let poller = reactor.poller();
        Ok(Shared { inner: Mutex::new(Inner { reactor, waiting: None }), poller })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A sink that panics leaves the reactor between two events, which is a valid state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the reactor, and ends the wait of the poll thread if that would last too long now.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> R {
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
    pub(crate) fn turn(
        &self,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
        sink: &mut dyn Sink,
    ) -> std::io::Result<()> {
        let mut inner = self.lock();
        if let Some(deadline) = inner.reactor.before_wait(until, sink) {
            inner.waiting = Some(deadline);
            // Just looked at.
            let now = inner.reactor.now();
            drop(inner);
            let waited = self.poller.wait(now, deadline, ready);
            inner = self.lock();
            inner.waiting = None;
            inner.reactor.add_ready(ready);
            waited?;
        }
        inner.reactor.after_wait(sink);
        Ok(())
    }

    /// Ends a wait, or the next one.
    pub(crate) fn wake(&self) {
        self.poller.wake();
    }
}
