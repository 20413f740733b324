//! `queue.rs`: from the poll thread to the thread that takes events.

use std::sync::Arc;

use super::super::batch::Batch;
use super::super::queue::Queue;
use super::super::shared::Shared;
use super::super::sync::Instant;
use super::super::sync::thread::{JoinHandle, spawn};
use super::{SOON, Seen, check, config};
use crate::net::ask::{Break, Config};

struct State {
    shared: Shared,
    queue: Queue,
}

/// Also the poll thread, which ends when it has reported this number of events, or cannot wait any
/// more.
fn state(config: Config, count: usize) -> (Arc<State>, JoinHandle<()>) {
    let state = State { shared: Shared::new(config).unwrap(), queue: Queue::default() };
    let state = Arc::new(state);
    let its = Arc::clone(&state);
    (state, spawn(move || poll(&its, count)))
}

fn poll(State { shared, queue }: &State, count: usize) {
    let (mut ready, mut batch) = (Vec::new(), Batch::default());
    let mut wait = queue.begin(shared, None, &mut batch);
    // The reactor reports one event in a turn. A turn after the last event could wait for ever.
    for _ in 0..count {
        let mut reported = false;
        while !reported {
            let Some(next) = queue.go_on(shared, wait, None, &mut ready, &mut batch) else {
                return;
            };
            wait = next;
            reported = shared.quietly(|reactor| reactor.take_reported());
        }
    }
}

impl State {
    fn take(&self, until: Option<Instant>) -> std::io::Result<Vec<u32>> {
        let mut batch = Batch::default();
        self.queue.take(&self.shared, until, &mut batch)?;
        Ok(batch.drain())
    }
}

#[test]
fn every_batch_is_taken_once_and_in_order() {
    check(|| {
        let (state, thread) = state(Config { arrived: vec![1, 2, 3], ..config() }, 3);
        let taken: Vec<u32> = (0..3).flat_map(|_| state.take(None).unwrap()).collect();
        assert_eq!(taken, [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn a_wait_that_ends_by_time_loses_nothing() {
    static EMPTY: Seen = Seen::new();
    check(|| {
        let (state, thread) = state(Config { arrived: vec![1, 2], ..config() }, 2);
        let mut taken = state.take(Some(Instant::now() + SOON)).unwrap();
        EMPTY.note(taken.is_empty());
        while taken.len() < 2 {
            taken.extend(state.take(None).unwrap());
        }
        assert_eq!(taken, [1, 2]);
        thread.join().unwrap();
    });
    EMPTY.assert();
}

#[test]
fn a_wake_up_ends_one_wait_and_takes_no_batch_with_it() {
    static FIRST: [Seen; 2] = [Seen::new(), Seen::new()];
    check(|| {
        let (state, thread) = state(Config { arrived: vec![1], ..config() }, 1);
        let its = Arc::clone(&state);
        let other = spawn(move || its.queue.wake());
        let taken = [state.take(None).unwrap(), state.take(None).unwrap()];
        FIRST[usize::from(taken[0].is_empty())].note(true);
        assert_eq!(taken.concat(), [1]);
        thread.join().unwrap();
        other.join().unwrap();
    });
    FIRST.iter().for_each(Seen::assert);
}

/// No more than one is read before it is consumed.
#[test]
fn a_reactor_that_has_stopped_hears_of_what_was_consumed() {
    check(|| {
        let config = Config { arrived: vec![1, 2, 3], high: 0, ..config() };
        let (state, thread) = state(config, 3);
        let taken: Vec<u32> = (0..3).flat_map(|_| state.take(None).unwrap()).collect();
        assert_eq!(taken, [1, 2, 3]);
        thread.join().unwrap();
    });
}

#[test]
fn the_failure_of_the_thread_is_reported_behind_all_that_was_handed_over() {
    check(|| {
        let breaks = Some(Break::Fails);
        let (state, thread) = state(Config { arrived: vec![1, 2], breaks, ..config() }, 3);
        let taken = [state.take(None).unwrap(), state.take(None).unwrap()].concat();
        assert_eq!(taken, [1, 2]);
        for _ in 0..2 {
            assert_eq!(state.take(None).unwrap_err().to_string(), "it cannot wait");
        }
        thread.join().unwrap();
    });
}

/// A thread that asks whether anything will come does not get "nothing" while the poll thread has
/// reported the last event and not passed it on.
#[test]
fn it_is_over_only_when_all_that_was_reported_was_taken() {
    check(|| {
        let state = State { shared: Shared::new(config()).unwrap(), queue: Queue::default() };
        state.shared.with(|reactor| reactor.ask(1));
        let state = Arc::new(state);
        let its = Arc::clone(&state);
        let thread = spawn(move || poll(&its, 1));
        let mut taken = Vec::new();
        while !state.queue.has_ended(&state.shared) {
            taken.extend(state.take(None).unwrap());
        }
        assert_eq!(taken, [1]);
        thread.join().unwrap();
    });
}
