//! Code that two faces share, on the real reactor. `tests/loom` checks the interleavings of their
//! threads.

use super::Batch;
use super::shared::Shared;
use crate::net::{Config, Options};
use crate::proto::CloseFrame;

/// The poll thread releases the lock when a turn has begun, and hands its events over before it
/// waits.
#[test]
fn what_is_done_between_the_halves_of_a_turn_ends_the_wait() {
    let shared = Shared::new(Config::default()).unwrap();
    let (mut ready, mut batch) = (Vec::new(), Batch::default());
    let mut wait = shared.begin(None, &mut batch);
    assert!(wait.is_endless());
    let options = Options::new("ws://127.0.0.1:1/").unwrap();
    let id = shared.with(|reactor| reactor.open(options)).unwrap();
    shared.with(|reactor| reactor.release(id, &CloseFrame::default()));
    // The first call ends the wait, and the work of both calls is done.
    while !shared.with(|reactor| reactor.is_empty()) {
        let next = shared.go_on(wait, None, &mut ready, &mut batch, |_| {});
        wait = next.unwrap().0;
    }
    assert!(batch.is_empty());
    assert!(wait.is_endless());
}
