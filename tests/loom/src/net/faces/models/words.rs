//! Checks that `sync` has the properties that the models rely on.

use std::sync::Arc;

use super::super::sync::atomic::{AtomicU8, Ordering};
use super::super::sync::thread::{park, spawn};
use super::check;

/// The properties of atomics that the head of `stand_in.rs` assumes.
#[test]
fn of_two_that_write_one_word_and_read_the_other_one_sees_the_other() {
    check(|| {
        let words = Arc::new([AtomicU8::new(0), AtomicU8::new(0)]);
        let act = |own: usize| {
            let words = Arc::clone(&words);
            move || {
                words[own].store(1, Ordering::SeqCst);
                words[1 - own].load(Ordering::SeqCst)
            }
        };
        let other = spawn(act(1));
        let seen = act(0)() + other.join().unwrap();
        assert!(seen > 0);
    });
}

#[test]
fn a_thread_that_was_unparked_does_not_park() {
    check(|| {
        let other = spawn(park);
        other.thread().unpark();
        other.join().unwrap();
    });
}
