//! The stand-in: a thread that drives the reactor while the VM thread, which runs scripts, is busy.
//!
//! The VM thread drives the reactor whenever it has nothing else to do: without a queue and without
//! a second thread. While a script computes, pings would wait, time limits would pass unnoticed,
//! and messages would stay in their buffers. So a second thread checks, every
//! [`Limits::stand_in`](crate::Limits::stand_in), whether the VM thread is still busy with the same
//! work as at the last check. If so, it takes the reactor, and gives it back when the VM thread
//! asks for it.
//!
//! ```text
//!  state       meaning                                      who changes it
//!  n, -        the VM thread drives the reactor, or waits   the VM thread, before its turn
//!  n, BUSY     the VM thread does something else            the VM thread, after its turn; n grows
//!  n, TAKEN    the stand-in drives instead, or              the stand-in, from `n, BUSY` only
//!              has left events for the VM thread
//! ```
//!
//! * **One drives.** The VM thread's turn begins with a swap of the state. If the old value has
//!   `TAKEN`, the VM thread wakes the poller and waits until the stand-in has left, at the latest
//!   after its turn. The stand-in takes over by a compare-exchange that fails once the VM thread
//!   has swapped. So a turn costs the VM thread two atomic writes and no contended lock.
//! * **Order.** The stand-in puts its events into batches, which the VM thread handles before its
//!   own next turn. Their bytes count as held, so past the high-water marks sockets are not read.
//! * **Sends.** The VM thread encodes messages, and the next turn of the stand-in writes them: at
//!   once if it has work, otherwise after one interval, the longest that it waits.
//! * **Idle.** If two checks find the same state and the VM thread is not busy, the stand-in parks.
//!   The VM thread sees a flag, and unparks it after its next turn. If no connection is open, the
//!   stand-in parks until one is. There is no thread before the first connection.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, HoldingSink};
use super::shared::Shared;
use super::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError};
use crate::net::ask::Config;
use crate::net::event::Event;
use crate::net::reactor::{Conn, Sink};
use crate::net::sys::Ready;
use crate::net::time::after;

/// The VM thread does something other than drive the reactor.
const BUSY: u64 = 1;
/// The stand-in has taken the reactor meanwhile; [`Left`] may hold events.
const TAKEN: u64 = 2;
/// Added when the VM thread leaves the reactor: the count stands above the two bits.
const NEXT: u64 = 4;

/// The stand-in runs, or sleeps for at most one interval.
const AWAKE: u8 = 0;
/// The stand-in is parked until the VM thread is busy again.
const IDLE: u8 = 1;
/// The stand-in is parked until a connection is opened.
const EMPTY: u8 = 2;

/// A reactor, and which thread drives it. Every access to an atomic is sequentially consistent: if
/// one thread writes `a` and then reads `b`, and another writes `b` and then reads `a`, at least
/// one of them sees what the other wrote.
pub(crate) struct Seat {
    shared: Shared,
    interval: Duration,
    /// A batch with this many bytes is complete: the VM thread gets events in portions.
    portion: usize,
    state: AtomicU64,
    asleep: AtomicU8,
    /// Whether the thread may be started.
    allowed: AtomicBool,
    retired: AtomicBool,
    /// Another thread wants the VM thread's next turn to end at once.
    called: AtomicBool,
    left: Mutex<Left>,
    /// Notified when [`Left::taken`] ends.
    back: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How often the stand-in has taken the reactor, and checked whether to; for tests.
    counts: [AtomicU64; 2],
}

/// The results that the stand-in leaves for the VM thread.
#[derive(Default)]
struct Left {
    /// The stand-in is driving.
    taken: bool,
    batches: VecDeque<Batch>,
    /// Why the stand-in has stopped.
    failed: Option<io::Error>,
}

/// No code that can panic runs while one of these locks is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    /// Uses the reactor; see [`Shared::with`] and [`Shared::quietly`].
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Allows the stand-in's thread to be started from now on.
    pub(crate) fn allow(&self) {
        self.allowed.store(true, SeqCst);
    }

    /// Starts the thread after a connection was opened, if there is none. An error is returned
    /// once; then there is no stand-in.
    pub(crate) fn stand_by(self: &Arc<Seat>) -> io::Result<()> {
        if !self.allowed.load(SeqCst) {
            return Ok(());
        }
        if self.asleep.load(SeqCst) != AWAKE {
            self.rouse();
            return Ok(());
        }
        let mut thread = lock(&self.thread);
        if thread.is_some() || self.is_retired() || self.is_empty() {
            return Ok(());
        }
        let its = Arc::clone(self);
        let builder = thread::Builder::new().name("moonwire-stand".into());
        *thread = Some(builder.spawn(move || its.watch()).inspect_err(|_| {
            self.allowed.store(false, SeqCst);
        })?);
        Ok(())
    }

    /// Ends the thread soon, and lets no other start.
    pub(crate) fn retire(&self) {
        self.retired.store(true, SeqCst);
        self.rouse();
        self.shared.wake();
    }

    /// Ends the VM thread's current wait, or its next one. The flag is needed since the wake-up
    /// alone may reach the stand-in, if that drives the reactor.
    pub(crate) fn call(&self) {
        self.called.store(true, SeqCst);
        self.shared.wake();
    }

    /// How often the stand-in has taken the reactor, and how often it has checked whether to.
    pub(crate) fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(SeqCst))
    }

    /// Whether [`Seat::call`] was called since the last call of this function.
    fn is_called(&self) -> bool {
        self.called.load(SeqCst) && self.called.swap(false, SeqCst)
    }

    fn is_retired(&self) -> bool {
        self.retired.load(SeqCst)
    }

    fn is_empty(&self) -> bool {
        self.shared.quietly(|reactor| reactor.is_empty())
    }

    fn rouse(&self) {
        self.asleep.store(AWAKE, SeqCst);
        if let Some(thread) = &*lock(&self.thread) {
            thread.thread().unpark();
        }
    }
}

/// The side of the stand-in's thread.
impl Seat {
    fn watch(&self) {
        let mut seen = self.state.load(SeqCst);
        loop {
            self.sleep();
            if self.is_retired() {
                return;
            }
            self.counts[1].fetch_add(1, SeqCst);
            let state = self.state.load(SeqCst);
            if state == seen {
                if state & BUSY == 0 {
                    self.park(IDLE, || self.state.load(SeqCst) == state);
                } else if self.is_empty() {
                    self.park(EMPTY, || self.is_empty());
                } else if self.take(state) && !self.drive(state | TAKEN) {
                    return;
                }
            }
            seen = self.state.load(SeqCst);
        }
    }

    /// Sleeps for one interval, or until the thread has to end.
    fn sleep(&self) {
        let end = after(Instant::now(), self.interval);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.is_retired() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    /// Parks while `still` returns true, until the thread is roused.
    fn park(&self, how: u8, still: impl Fn() -> bool) {
        self.asleep.store(how, SeqCst);
        while self.asleep.load(SeqCst) == how && still() && !self.is_retired() {
            thread::park();
        }
        self.asleep.store(AWAKE, SeqCst);
    }

    /// Takes the reactor, unless the VM thread has changed `state`.
    fn take(&self, state: u64) -> bool {
        let mut left = lock(&self.left);
        left.taken = self.state.compare_exchange(state, state | TAKEN, SeqCst, SeqCst).is_ok();
        left.taken
    }

    /// Drives the reactor until the VM thread comes back, or nothing is open; returns whether to go
    /// on.
    fn drive(&self, state: u64) -> bool {
        self.counts[0].fetch_add(1, SeqCst);
        let mut ready = Vec::new();
        let mut sink = StandInSink { seat: self, batch: Batch::default(), bytes: 0, failed: None };
        while self.state.load(SeqCst) == state && !self.is_retired() && !self.is_empty() {
            let until = after(Instant::now(), self.interval);
            if let Err(e) = self.shared.turn(Some(until), &mut ready, &mut sink) {
                sink.failed = Some(e);
                return false;
            }
            if sink.bytes >= self.portion {
                sink.put();
            }
        }
        true
    }
}

/// The reactor while the stand-in has it. Dropping gives it back, even if the program's observer or
/// policy panics: the VM thread must not wait for ever.
struct StandInSink<'a> {
    seat: &'a Seat,
    batch: Batch,
    /// How many bytes the current batch holds, approximately.
    bytes: usize,
    failed: Option<io::Error>,
}

impl StandInSink<'_> {
    fn put(&mut self) {
        self.bytes = 0;
        if !self.batch.is_empty() {
            lock(&self.seat.left).batches.push_back(std::mem::take(&mut self.batch));
        }
    }
}

impl Sink for StandInSink<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.bytes += HoldingSink(&mut self.batch).keep(conn, event);
    }
}

impl Drop for StandInSink<'_> {
    fn drop(&mut self) {
        self.put();
        let mut failed = self.failed.take();
        if thread::panicking() {
            failed = Some(io::Error::other("an observer or a policy has panicked"));
        }
        let mut left = lock(&self.seat.left);
        left.failed = failed.or(left.failed.take());
        left.taken = false;
        drop(left);
        self.seat.back.notify_all();
    }
}

/// The side of the VM thread, which drives the reactor when it has nothing else to do. It starts as
/// busy. Dropping it ends the stand-in.
pub(crate) struct VmThread {
    seat: Arc<Seat>,
    /// How often the VM thread has left the reactor.
    number: u64,
    ready: Vec<Ready>,
    /// Batches that the stand-in has left, and that were not returned yet.
    batches: VecDeque<Batch>,
    failed: Option<io::Error>,
}

impl VmThread {
    /// `allowed`: the stand-in's thread may start with the first connection; otherwise only after
    /// [`Seat::allow`].
    pub(crate) fn new(config: Config, allowed: bool) -> io::Result<VmThread> {
        let interval = config.limits.stand_in.max(Duration::from_millis(1));
        let portion = config.limits.turn;
        let seat = Seat {
            shared: Shared::new(config)?,
            interval,
            portion,
            state: AtomicU64::new(BUSY),
            asleep: AtomicU8::new(AWAKE),
            allowed: AtomicBool::new(allowed),
            retired: AtomicBool::new(false),
            called: AtomicBool::new(false),
            left: Mutex::default(),
            back: Condvar::new(),
            thread: Mutex::default(),
            counts: Default::default(),
        };
        Ok(VmThread {
            seat: Arc::new(seat),
            number: 0,
            ready: Vec::new(),
            batches: VecDeque::new(),
            failed: None,
        })
    }

    pub(crate) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Whether a turn would return events at once.
    pub(crate) fn has_more(&self) -> bool {
        !self.batches.is_empty() || self.failed.is_some()
    }

    /// Puts events into `batch`, which has to be empty: a batch that the stand-in has left, or else
    /// the events of one turn of the reactor.
    pub(crate) fn turn(&mut self, until: Option<Instant>, batch: &mut Batch) -> io::Result<()> {
        if !self.has_more() {
            self.take_reactor();
            // The wake-up of `Seat::call` may have reached the stand-in instead.
            let at_once = self.seat.is_retired() || self.seat.is_called();
            let until = if at_once { Some(Instant::now()) } else { until };
            let turned = match self.has_more() {
                true => Ok(()),
                false => self.seat.shared.turn(until, &mut self.ready, batch),
            };
            self.leave_reactor();
            turned?;
        }
        if let Some(left) = self.batches.pop_front() {
            self.seat.shared.with(|reactor| {
                for (id, bytes) in left.costs().iter().copied() {
                    reactor.consumed(id, bytes);
                }
                // The batch replaces a turn, which would have written the waiting bytes.
                reactor.flush();
            });
            *batch = left;
            return Ok(());
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Runs `act`; meanwhile the stand-in does not drive the reactor.
    pub(crate) fn alone<R>(&mut self, act: impl FnOnce() -> R) -> R {
        self.take_reactor();
        let result = act();
        self.leave_reactor();
        result
    }

    /// Takes the reactor for the VM thread; waits until the stand-in has left it.
    fn take_reactor(&mut self) {
        if self.seat.state.swap(self.number * NEXT, SeqCst) & TAKEN == 0 {
            return;
        }
        self.seat.shared.wake();
        let mut left = lock(&self.seat.left);
        while left.taken {
            left = self.seat.back.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        self.batches.append(&mut left.batches);
        self.failed = left.failed.take();
    }

    /// Allows the stand-in to take the reactor from now on.
    fn leave_reactor(&mut self) {
        self.number += 1;
        self.seat.state.store((self.number * NEXT) | BUSY, SeqCst);
        if self.seat.asleep.load(SeqCst) == IDLE {
            self.seat.rouse();
        }
    }
}

impl Drop for VmThread {
    fn drop(&mut self) {
        self.seat.retire();
        let thread = lock(&self.seat.thread).take();
        if let Some(thread) = thread {
            // If the thread has panicked, the panic hook has reported it.
            let _ = thread.join();
        }
    }
}
