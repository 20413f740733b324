//! `stand_in.rs`: which thread drives the reactor.

use std::io;
use std::sync::Arc;

use super::super::batch::Batch;
use super::super::stand_in::{Seat, VmThread};
use super::super::sync::thread::{spawn, yield_now};
use super::super::sync::{Instant, LONG};
use super::{SOON, Seen, check, check_within, config};
use crate::net::ask::{Break, Config};
use crate::net::sys::{OsPoller, Poller as _};

/// A reactor with a connection, and its stand-in.
fn vm(config: Config) -> VmThread {
    let vm = VmThread::new(config, false).unwrap();
    vm.seat().allow();
    vm.seat().stand_by().unwrap();
    vm
}

fn poller(vm: &VmThread) -> Arc<OsPoller> {
    vm.seat().shared().quietly(|reactor| reactor.poller())
}

/// The VM thread computes. When this returns, the stand-in may have started and taken the reactor,
/// or not.
fn compute() {
    yield_now();
}

fn turn(vm: &mut VmThread, until: Option<Instant>) -> io::Result<Vec<u32>> {
    let mut batch = Batch::default();
    vm.turn(until, &mut batch)?;
    Ok(batch.drain())
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + SOON)
}

fn takes(seat: &Seat) -> u64 {
    seat.counts()[0]
}

/// The reactor itself checks that only one thread uses it at a time; events are reported between
/// the halves of a turn.
#[test]
fn one_drives_at_a_time() {
    static TAKEN: Seen = Seen::new();
    check(|| {
        let mut vm = vm(config());
        compute();
        turn(&mut vm, soon()).unwrap();
        TAKEN.note(takes(vm.seat()) > 0);
    });
    TAKEN.assert();
}

#[test]
fn nobody_drives_while_the_vm_thread_acts_alone() {
    static TAKEN: Seen = Seen::new();
    check(|| {
        let mut vm = vm(config());
        compute();
        let poller = poller(&vm);
        vm.alone(|| {
            poller.enter();
            yield_now();
            poller.leave();
        });
        TAKEN.note(takes(vm.seat()) > 0);
    });
    TAKEN.assert();
}

/// Only the VM thread can end the wait of the stand-in.
#[test]
fn a_vm_thread_that_comes_back_is_not_left_waiting() {
    static TAKEN: Seen = Seen::new();
    check(|| {
        let mut vm = vm(Config { patient: true, ..config() });
        compute();
        let seat = Arc::clone(vm.seat());
        vm.alone(|| TAKEN.note(takes(&seat) > 0));
    });
    TAKEN.assert();
}

#[test]
fn what_the_stand_in_has_comes_first_once_and_in_order() {
    static LEFT: [Seen; 4] = [Seen::new(), Seen::new(), Seen::new(), Seen::new()];
    check(|| {
        let mut config = Config { arrived: vec![1, 2, 3], ..config() };
        config.limits.turn = 2;
        let mut vm = vm(config);
        compute();
        let mut reported = turn(&mut vm, soon()).unwrap();
        while vm.has_more() {
            reported.extend(turn(&mut vm, None).unwrap());
        }
        LEFT[reported.len().min(3)].note(takes(vm.seat()) > 0);
        while reported.len() < 3 {
            reported.extend(turn(&mut vm, soon()).unwrap());
        }
        assert_eq!(reported, [1, 2, 3]);
    });
    LEFT[1..].iter().for_each(Seen::assert);
}

/// After a turn that ended by time, or otherwise by an arrival, the VM thread computes until
/// something has happened that only the stand-in can see.
#[test]
fn a_stand_in_that_parks_is_roused_when_the_vm_thread_goes() {
    for arrived in [vec![], vec![1]] {
        check(move || {
            let mut vm = vm(Config { arrived: arrived.clone(), ..config() });
            let poller = poller(&vm);
            let mut reported = turn(&mut vm, soon()).unwrap();
            poller.arrive(2);
            poller.until_told(u32::try_from(arrived.len()).unwrap() + 1);
            while reported.last() != Some(&2) {
                reported.extend(turn(&mut vm, None).unwrap());
            }
            assert_eq!(reported, [&arrived[..], &[2]].concat());
        });
    }
}

#[test]
fn a_stand_in_that_parks_until_a_connection_is_opened_is_roused_by_it() {
    check(|| {
        let mut vm = vm(config());
        let poller = poller(&vm);
        vm.seat().shared().quietly(|reactor| reactor.set_open(false));
        compute();
        vm.seat().shared().quietly(|reactor| reactor.set_open(true));
        vm.seat().stand_by().unwrap();
        poller.arrive(1);
        poller.until_told(1);
        assert_eq!(turn(&mut vm, None).unwrap(), [1]);
    });
}

#[test]
fn retiring_ends_a_stand_in_that_sleeps_for_long() {
    check(|| {
        let mut config = config();
        config.limits.stand_in = LONG;
        drop(vm(config));
    });
}

#[test]
fn retiring_ends_a_stand_in_that_waits_or_parks() {
    static TAKEN: Seen = Seen::new();
    check(|| {
        let vm = vm(Config { patient: true, ..config() });
        compute();
        TAKEN.note(takes(vm.seat()) > 0);
        drop(vm);
    });
    TAKEN.assert();
    check(|| {
        let mut vm = vm(config());
        turn(&mut vm, soon()).unwrap();
        compute();
        drop(vm);
    });
    check(|| {
        let vm = vm(config());
        vm.seat().shared().quietly(|reactor| reactor.set_open(false));
        compute();
        drop(vm);
    });
}

/// The wake-up that belongs to it may end a wait of the stand-in.
#[test]
fn retiring_ends_the_next_wait_of_the_vm_thread_too() {
    static TAKEN: Seen = Seen::new();
    check_within(3, || {
        let mut vm = vm(config());
        let seat = Arc::clone(vm.seat());
        let other = spawn(move || seat.retire());
        compute();
        assert_eq!(turn(&mut vm, None).unwrap(), []);
        TAKEN.note(takes(vm.seat()) > 0);
        other.join().unwrap();
    });
    TAKEN.assert();
}

/// The same for a call, which ends no thread.
#[test]
fn a_call_ends_one_wait_of_the_vm_thread_whoever_drives() {
    static TAKEN: Seen = Seen::new();
    check_within(3, || {
        let mut vm = vm(config());
        let seat = Arc::clone(vm.seat());
        let other = spawn(move || seat.call());
        compute();
        assert_eq!(turn(&mut vm, None).unwrap(), []);
        TAKEN.note(takes(vm.seat()) > 0);
        other.join().unwrap();
    });
    TAKEN.assert();
}

/// Turns until the failure of the stand-in is reported, or until it has done nothing for a while.
fn failure(vm: &mut VmThread) -> (Vec<u32>, Option<String>) {
    let mut reported = Vec::new();
    compute();
    vm.alone(|| {});
    while vm.has_more() {
        match turn(vm, None) {
            Ok(batch) => reported.extend(batch),
            Err(error) => return (reported, Some(error.to_string())),
        }
    }
    (reported, None)
}

#[test]
fn a_failure_of_the_stand_in_is_reported_once_behind_what_it_has_left() {
    static FAILED: Seen = Seen::new();
    check(|| {
        let breaks = Some(Break::Fails);
        let mut vm = vm(Config { arrived: vec![1, 2], breaks, ..config() });
        let (reported, failed) = failure(&mut vm);
        if let Some(failed) = failed {
            FAILED.note(true);
            assert_eq!((&reported[..], &failed[..]), (&[1, 2][..], "it cannot wait"));
            assert!(!vm.has_more());
        }
    });
    FAILED.assert();
}

#[test]
fn a_panic_gives_the_reactor_back_and_is_reported_once() {
    static PANICKED: Seen = Seen::new();
    check(|| {
        let breaks = Some(Break::Panics);
        let mut vm = vm(Config { arrived: vec![1], breaks, ..config() });
        let (reported, failed) = failure(&mut vm);
        poller(&vm).calm();
        if let Some(failed) = failed {
            PANICKED.note(true);
            assert_eq!(reported, [1]);
            assert_eq!(failed, "an observer or a policy has panicked");
            assert!(!vm.has_more());
            turn(&mut vm, soon()).unwrap();
        }
    });
    PANICKED.assert();
}
