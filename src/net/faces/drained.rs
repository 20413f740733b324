//! Who waits until bytes have left that other threads write.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Wakes threads that wait for something that shows under another lock, without a cost for who holds
/// that while nobody waits.
///
/// One that waits counts itself, and then looks, both under the lock of this. One that changes
/// something does so under the lock of what is looked at, and then looks at the count. If the look came
/// first, the count is seen, and the notification comes behind the start of the wait.
#[derive(Default)]
pub(super) struct Drained {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Drained {
    /// Waits until `look` gives an end, for as long as `until` says: `false` after that.
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

    /// Something may have changed. Nobody who calls this holds the lock of what is looked at.
    pub(super) fn look(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // It guards no value.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits; no more when this is dropped, by a panic too.
struct Counted<'a>(&'a Drained);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
