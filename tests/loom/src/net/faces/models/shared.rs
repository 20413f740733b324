//! `shared.rs`: actions of other threads while the poll thread waits.

use std::sync::Arc;

use super::super::batch::Batch;
use super::super::shared::Shared;
use super::super::sync::thread::spawn;
use super::super::sync::{Instant, LONG};
use super::{SOON, Seen, check, config};
use crate::net::ask::Config;

fn shared(config: Config) -> Arc<Shared> {
    Arc::new(Shared::new(config).unwrap())
}

/// Turns until this number of events was reported.
fn turns(shared: &Shared, count: usize) -> Vec<u32> {
    let (mut ready, mut batch, mut reported) = (Vec::new(), Batch::default(), Vec::new());
    while reported.len() < count {
        shared.turn(None, &mut ready, &mut batch).unwrap();
        reported.extend(batch.drain());
    }
    reported
}

/// The same, where each turn begins with the end of the one before, as in a thread that only polls.
fn halves(shared: &Shared, count: usize) -> Vec<u32> {
    let (mut ready, mut batch, mut reported) = (Vec::new(), Batch::default(), Vec::new());
    let mut wait = shared.begin(None, &mut batch);
    while reported.len() < count {
        let next = shared.go_on(wait, None, &mut ready, &mut batch, |_| {});
        wait = next.unwrap().0;
        reported.extend(batch.drain());
    }
    reported
}

const BOTH: [fn(&Shared, usize) -> Vec<u32>; 2] = [turns, halves];

#[test]
fn a_change_ends_the_wait_of_the_poll_thread_whenever_it_comes() {
    for poll in BOTH {
        check(move || {
            let shared = shared(config());
            let its = Arc::clone(&shared);
            let other = spawn(move || its.with(|reactor| reactor.ask(1)));
            assert_eq!(poll(&shared, 1), [1]);
            other.join().unwrap();
        });
    }
}

#[test]
fn a_deadline_that_comes_nearer_ends_the_wait() {
    for poll in BOTH {
        check(move || {
            let shared = shared(config());
            shared.with(|reactor| reactor.set_timer(Instant::now() + LONG * 2, 7));
            let its = Arc::clone(&shared);
            let other = spawn(move || {
                its.with(|reactor| reactor.set_timer(Instant::now() + SOON, 7));
            });
            assert_eq!(poll(&shared, 1), [7]);
            other.join().unwrap();
        });
    }
}

#[test]
fn changes_of_two_threads_are_reported_once_each() {
    for poll in BOTH {
        check(move || {
            let shared = shared(config());
            let ask = |number| {
                let its = Arc::clone(&shared);
                spawn(move || its.with(|reactor| reactor.ask(number)))
            };
            let others = [ask(1), ask(2)];
            let mut reported = poll(&shared, 2);
            reported.sort_unstable();
            assert_eq!(reported, [1, 2]);
            others.into_iter().for_each(|other| other.join().unwrap());
        });
    }
}

#[test]
fn what_is_ready_is_reported_once_and_in_order_while_others_act() {
    for poll in BOTH {
        static ACTED: Seen = Seen::new();
        check(move || {
            let shared = shared(config());
            let poller = shared.with(|reactor| reactor.poller());
            let network = spawn(move || [1, 2].map(|number| poller.arrive(number)));
            let its = Arc::clone(&shared);
            let other = spawn(move || {
                its.with(|reactor| reactor.ask(9));
                its.wake();
            });
            let reported = poll(&shared, 3);
            ACTED.note(reported != [1, 2, 9]);
            let arrived: Vec<u32> = reported.into_iter().filter(|&number| number != 9).collect();
            assert_eq!(arrived, [1, 2]);
            network.join().unwrap();
            other.join().unwrap();
        });
        ACTED.assert();
    }
}

/// A wake-up may end a wait early, but the deadline with which the wait began must not make it
/// longer.
#[test]
fn a_wait_that_was_begun_without_an_end_gets_one() {
    check(|| {
        let shared = shared(config());
        let (mut ready, mut batch) = (Vec::new(), Batch::default());
        let wait = shared.begin(None, &mut batch);
        assert!(wait.is_endless());
        let until = Some(Instant::now() + SOON);
        shared.go_on(wait, until, &mut ready, &mut batch, |_| {}).unwrap();
        assert!(batch.is_empty());
    });
}
