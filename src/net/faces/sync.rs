//! What threads share words with. The files of this folder that have a protocol between threads use
//! this one alone, so that a model checker can stand in its place: `tests/loom` has the same files
//! with a `sync` of its own, which plays every interleaving.

#[cfg(feature = "luau")]
pub(super) use std::sync::atomic;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
pub(super) use std::thread;
pub(super) use std::time::Instant;
