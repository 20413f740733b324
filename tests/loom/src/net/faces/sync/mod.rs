//! Replaces the crate's `sync.rs` with loom: the same names, and those that loom lacks or defines
//! differently.

pub(crate) mod atomic;
pub(crate) mod thread;
mod time;

use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockResult};
use std::time::Duration;

pub(crate) use std::sync::{PoisonError, TryLockError};
pub(crate) use time::{Instant, LONG, advance};

/// A guard of loom does not know its mutex, which a wait that ends by time has to lock again.
#[derive(Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T> {
    of: &'a Mutex<T>,
    guard: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(self.guard(self.0.lock().unwrap()))
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Ok(self.guard(guard)),
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
            Err(TryLockError::Poisoned(_)) => unreachable!("loom poisons nothing"),
        }
    }

    fn guard<'a>(&'a self, guard: loom::sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard { of: self, guard: Some(guard) }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().unwrap()
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().unwrap()
    }
}

#[derive(Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar::default()
    }

    #[track_caller]
    pub(crate) fn wait<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
    ) -> LockResult<MutexGuard<'a, T>> {
        guard.guard = guard.guard.take().map(|guard| self.0.wait(guard).unwrap());
        Ok(guard)
    }

    /// The time may pass as soon as another thread has done something, and as late as when no other
    /// can run. A long time never passes.
    #[track_caller]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        span: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        if span >= LONG {
            return Ok((self.wait(guard).unwrap(), ()));
        }
        drop(guard.guard.take());
        thread::yield_now();
        advance(span);
        Ok((guard.of.lock().unwrap(), ()))
    }

    #[track_caller]
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    #[track_caller]
    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
