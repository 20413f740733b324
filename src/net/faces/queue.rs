//! Hands events of a poll thread over to another thread.

use std::io;

use super::batch::Batch;
use super::shared::{Shared, Wait};
use super::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError};
use crate::net::event::ConnId;
use crate::net::reactor::Reactor;
use crate::net::sys::{Ready, Sys};

/// The batches of one poll thread, for one thread that takes them.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
}

#[derive(Default)]
struct Inner {
    /// Waiting batches, the oldest first; their events count towards the high-water marks.
    batches: Vec<Batch>,
    /// An empty batch for the poll thread.
    spare: Option<Batch>,
    /// How many bytes of events were taken; they count until the poll thread takes this list.
    consumed: Vec<(ConnId, usize)>,
    /// Whether a connection may be unread until events are consumed.
    stopped: bool,
    woken: bool,
    /// How many batches were handed over.
    handed: u64,
    /// Why the poll thread has ended.
    failed: Option<(io::ErrorKind, String)>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that can panic runs while the lock is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the consumed bytes to the reactor.
    fn consume<S: Sys>(&self, reactor: &mut Reactor<S>) {
        let consumed = std::mem::take(&mut self.lock().consumed);
        for (id, bytes) in consumed {
            reactor.consumed(id, bytes);
        }
    }
}

/// The side of the poll thread.
impl Queue {
    /// Calls [`Shared::begin`], and hands over its events.
    pub(super) fn begin<S: Sys>(
        &self,
        shared: &Shared<S>,
        until: Option<Instant>,
        batch: &mut Batch,
    ) -> Wait {
        let wait = shared.begin(until, batch);
        if !batch.is_empty() {
            self.hand_over(batch, false);
        }
        wait
    }

    /// Calls [`Shared::go_on`], and hands over its events. `None` if the system cannot wait any
    /// more: then no further events come, and the taking thread gets the error.
    pub(super) fn go_on<S: Sys>(
        &self,
        shared: &Shared<S>,
        wait: Wait,
        until: Option<Instant>,
        ready: &mut Vec<Ready>,
        batch: &mut Batch,
    ) -> Option<Wait> {
        match shared.go_on(wait, until, ready, batch, |reactor| self.consume(reactor)) {
            Ok((wait, stopped)) => {
                if !batch.is_empty() {
                    self.hand_over(batch, stopped);
                }
                Some(wait)
            }
            Err(error) => {
                self.fail(&error, batch);
                None
            }
        }
    }

    /// Records why the poll thread ends; `batch` holds its last events.
    pub(super) fn fail(&self, error: &io::Error, batch: &mut Batch) {
        if !batch.is_empty() {
            self.hand_over(batch, false);
        }
        self.lock().failed = Some((error.kind(), error.to_string()));
        self.filled.notify_all();
    }

    /// Hands a batch over in exchange for an empty one. `stopped`: the reactor waits until events
    /// are consumed.
    fn hand_over(&self, batch: &mut Batch, stopped: bool) {
        let mut inner = self.lock();
        let spare = inner.spare.take().unwrap_or_default();
        inner.batches.push(std::mem::replace(batch, spare));
        inner.stopped = stopped;
        inner.handed += 1;
        drop(inner);
        self.filled.notify_one();
    }
}

/// The side of the taking thread.
impl Queue {
    /// Replaces `batch` with the oldest batch, for which it waits until `until`. After that time,
    /// or after [`Queue::wake`], `batch` stays as it is. The events count as consumed at once.
    pub(super) fn take<S: Sys>(
        &self,
        shared: &Shared<S>,
        until: Option<Instant>,
        batch: &mut Batch,
    ) -> io::Result<()> {
        let mut inner = self.lock();
        while inner.batches.is_empty() && !std::mem::take(&mut inner.woken) {
            if let Some((kind, text)) = &inner.failed {
                return Err(io::Error::new(*kind, text.clone()));
            }
            inner = match until {
                None => self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(());
                    }
                    let waited = self.filled.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        if inner.batches.is_empty() {
            return Ok(());
        }
        let full = inner.batches.remove(0);
        batch.clear();
        inner.spare = Some(std::mem::replace(batch, full));
        inner.consumed.extend_from_slice(batch.costs());
        let stopped = inner.stopped;
        drop(inner);
        if stopped {
            shared.with(|reactor| self.consume(reactor));
        }
        Ok(())
    }

    /// Whether nothing will come until a connection is opened: all events were taken, and no
    /// connection is left whose end will be reported. A thread that opens or releases a connection
    /// meanwhile changes that.
    pub(super) fn has_ended<S: Sys>(&self, shared: &Shared<S>) -> bool {
        let (listened, batches) = shared.listened();
        // The poll thread may still hold events that it received under the reactor's lock.
        let inner = self.lock();
        listened == 0 && inner.handed >= batches && inner.batches.is_empty()
    }

    /// Ends the current wait, or the next one.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.filled.notify_all();
    }
}
