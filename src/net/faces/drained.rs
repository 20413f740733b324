//! Threads that wait until bytes written by other threads were sent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Wakes threads that wait for a condition guarded by another lock, at no cost for the holders of
/// that lock while no thread waits.
///
/// A waiting thread counts itself, and then checks the condition, both under the lock of this type.
/// A thread that changes the condition does so under the other lock, and then reads the count. If
/// the check came first, the count is seen, and the notification comes after the wait has started.
#[derive(Default)]
pub(super) struct Drained {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Drained {
    /// Waits until `look` returns a result, for as long as `until` states: `false` after that.
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

    /// The condition may have changed. Callers of this do not hold the lock of the condition.
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

/// Counts a waiting thread until it is dropped, also by a panic.
struct Counted<'a>(&'a Drained);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
