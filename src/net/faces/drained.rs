//! Lets threads wait until bytes that other threads have queued were sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Wakes threads that wait for a condition which another lock guards. While no thread waits, this
/// costs the holders of that lock nothing.
///
/// Under the lock of this type, a waiting thread counts itself, and then checks the condition. A
/// thread that changes the condition does so under the other lock, and then reads the count. If the
/// check came first, that thread sees the count, and notifies after the wait has started.
#[derive(Default)]
pub(super) struct Drained {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Drained {
    /// Waits until `look` returns a result, at most until `until`: then returns `false`.
    pub(super) fn wait<E>(
        &self,
        until: Option<Instant>,
        mut look: impl FnMut() -> Option<Result<(), E>>,
    ) -> Result<bool, E> {
        let mut guard = self.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(self);
        loop {
            if let Some(end) = look() {
                return end.map(|()| true);
            }
            guard = match until {
                None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(false);
                    }
                    let waited = self.changed.wait_timeout(guard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Notifies waiting threads that the condition may have changed. Its lock must not be held.
    pub(super) fn look(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // The lock guards no value.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a waiting thread until dropped, also by a panic.
struct Counted<'a>(&'a Drained);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
