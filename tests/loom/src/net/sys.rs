//! The system that waits.

use std::io;
use std::sync::{Mutex as Untracked, MutexGuard as UntrackedGuard};

use loom::thread::{ThreadId, current};

use super::ask::{Break, Config};
use super::faces::sync::thread::{Deliberate, yield_now};
use super::faces::sync::{Condvar, Instant, LONG, Mutex, advance};

/// As in the crate, with calls by the reactor of the models.
pub(crate) trait Poller {
    fn wait(&self, now: Instant, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()>;
    fn wake(&self);
    fn now(&self) -> Instant {
        Instant::now()
    }
    /// Begins a part in which no other thread may be.
    fn enter(&self);
    fn leave(&self);
    /// An event was reported.
    fn ring(&self);
}

/// The part of the crate's that a single system needs.
pub(crate) trait Sys {
    type Poller: Poller;
}

/// The system of the models.
pub(crate) struct Os;

impl Sys for Os {
    type Poller = OsPoller;
}

/// A number that has arrived.
pub(crate) struct Ready {
    pub(crate) number: u32,
}

/// The state of the system that several threads use.
pub(crate) struct OsPoller {
    kernel: Mutex<Kernel>,
    stirred: Condvar,
    patient: bool,
    /// The number of reported events, for a thread that waits for it.
    reported: Mutex<u32>,
    rung: Condvar,
    /// The thread that is between the halves of a turn, or alone. Loom does not know this variable,
    /// so that it has no more interleavings to try: it is used under the reactor's lock or by the
    /// thread that drives.
    turning: Untracked<Option<ThreadId>>,
}

struct Kernel {
    arrived: Vec<u32>,
    woken: bool,
    waiting: bool,
    breaks: Option<Break>,
}

impl OsPoller {
    pub(super) fn new(config: Config) -> OsPoller {
        let Config { arrived, breaks, patient, .. } = config;
        OsPoller {
            kernel: Mutex::new(Kernel { arrived, woken: false, waiting: false, breaks }),
            stirred: Condvar::default(),
            patient,
            reported: Mutex::new(0),
            rung: Condvar::default(),
            turning: Untracked::new(None),
        }
    }

    /// A number arrives from the network.
    pub(crate) fn arrive(&self, number: u32) {
        self.kernel.lock().unwrap().arrived.push(number);
        self.stirred.notify_all();
    }

    /// Waits until this number of events was reported to the thread that drives.
    pub(crate) fn until_told(&self, count: u32) {
        let mut reported = self.reported.lock().unwrap();
        while *reported < count {
            reported = self.rung.wait(reported).unwrap();
        }
    }

    /// From now on nothing panics.
    pub(super) fn calm(&self) {
        let breaks = &mut self.kernel.lock().unwrap().breaks;
        *breaks = breaks.filter(|breaks| !matches!(breaks, Break::Panics));
    }

    fn turning(&self) -> UntrackedGuard<'_, Option<ThreadId>> {
        self.turning.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Poller for OsPoller {
    fn wait(&self, now: Instant, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut kernel = self.kernel.lock().unwrap();
        assert!(!kernel.waiting, "two wait");
        kernel.waiting = true;
        let left = until.map(|until| until.saturating_duration_since(now));
        if !kernel.woken && kernel.arrived.is_empty() {
            match kernel.breaks {
                None => {}
                Some(Break::Fails) => {
                    kernel.waiting = false;
                    return Err(io::Error::other("it cannot wait"));
                }
                Some(Break::Panics) => {
                    (kernel.waiting, kernel.breaks) = (false, None);
                    drop(kernel);
                    self.turning().take();
                    std::panic::resume_unwind(Box::new(Deliberate));
                }
            }
        }
        while !kernel.woken && kernel.arrived.is_empty() {
            match left {
                Some(left) if left.is_zero() => break,
                Some(left) if left < LONG && !self.patient => {
                    drop(kernel);
                    yield_now();
                    advance(left);
                    kernel = self.kernel.lock().unwrap();
                    break;
                }
                _ => kernel = self.stirred.wait(kernel).unwrap(),
            }
        }
        kernel.woken = false;
        kernel.waiting = false;
        ready.extend(kernel.arrived.drain(..).map(|number| Ready { number }));
        Ok(())
    }

    fn wake(&self) {
        self.kernel.lock().unwrap().woken = true;
        self.stirred.notify_all();
    }

    fn enter(&self) {
        let other = self.turning().replace(current().id());
        assert!(other.is_none(), "two drive: {other:?} and {:?}", current().id());
    }

    fn leave(&self) {
        let mine = self.turning().take();
        assert_eq!(mine, Some(current().id()), "another has driven meanwhile");
    }

    fn ring(&self) {
        *self.reported.lock().unwrap() += 1;
        self.rung.notify_all();
    }
}
