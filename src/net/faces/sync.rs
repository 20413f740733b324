//! The types that threads share data with. The files of this folder that have a protocol between
//! threads use this module only, so that a model checker can replace it: `tests/loom` has the same
//! files with a `sync` of its own, which runs every interleaving.

#[cfg(feature = "luau")]
pub(super) use std::sync::atomic;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
pub(super) use std::thread;
pub(super) use std::time::Instant;
