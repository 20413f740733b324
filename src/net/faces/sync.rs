//! The types with which threads share data. The files of this folder in which threads synchronise
//! use this module only, so that a model checker can replace it: `tests/loom` uses the same files
//! with its own `sync`, which runs every interleaving.

#[cfg(feature = "luau")]
pub(super) use std::sync::atomic;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
pub(super) use std::thread;
pub(super) use std::time::Instant;
