//! The stand-in: a thread that drives the reactor while its owner is busy.
//!
//! The owner drives the reactor whenever it has nothing else to do: no queue, no thread hop. While
//! it is busy (a script computes), pings would wait, time limits pass unseen and sends lie in their
//! buffers. So a second thread looks, every [`Limits::stand_in`](crate::Limits::stand_in), whether
//! the owner is still busy with what it was busy with at the last look. Then it takes the reactor,
//! and gives it back when the owner asks for it.
//!
//! ```text
//!  word        what it says                             who changes it
//!  n, -        the owner drives the reactor, or waits   the owner, before its turn
//!  n, BUSY     the owner does something else            the owner, after its turn; n grows
//!  n, TAKEN    the stand-in drives in its stead, or     the stand-in, from `n, BUSY` only
//!              has left something for it
//! ```
//!
//! * **One drives.** The owner's turn begins with a swap of the word. Only if that shows `TAKEN`
//!   does it wake the poller and wait until the stand-in, after its turn at the latest, has left;
//!   and the stand-in takes over by a compare-exchange that fails once the owner has swapped. So
//!   the owner pays two atomic writes a turn, and no lock that anybody contends for.
//! * **Order.** What the stand-in was told lies in batches that the owner works off before its own
//!   next turn. Their bytes count as held, so that past the high-water marks sockets are not read.
//! * **Sends.** They are encoded by the owner's thread and leave with the stand-in's next turn: at
//!   once if it has work, else after one interval, the longest that it waits.
//! * **Idle.** The same word at two looks and not busy: the stand-in parks, and the owner, which
//!   sees a flag, unparks it after its next turn. With no connection open, it parks until one is.
//!   There is no thread before the first connection.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, Held};
use super::shared::Shared;
use super::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use super::sync::thread::{self, JoinHandle};
use super::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError};
use crate::net::ask::Config;
use crate::net::event::Event;
use crate::net::reactor::{Conn, Sink};
use crate::net::sys::Ready;
use crate::net::time::after;

/// The owner does something else than to drive the reactor.
const BUSY: u64 = 1;
/// Meanwhile the stand-in has come; there may be something in [`Left`].
const TAKEN: u64 = 2;
/// What the owner adds when it goes: the number stands above the two bits.
const NEXT: u64 = 4;

/// The stand-in is up, or sleeps for an interval at most.
const AWAKE: u8 = 0;
/// It is parked until the owner is busy again.
const IDLE: u8 = 1;
/// It is parked until a connection is opened.
const EMPTY: u8 = 2;

/// A reactor, and who drives it. Every access to an atomic is sequentially consistent: of a thread
/// that writes one and then reads another and one that does so the other way round, at least one
/// sees what the other wrote.
pub(crate) struct Seat {
    shared: Shared,
    interval: Duration,
    /// Bytes in a batch after which the next is begun, so that the owner gets them in portions.
    portion: usize,
    word: AtomicU64,
    asleep: AtomicU8,
    /// Whether the thread may be started.
    allowed: AtomicBool,
    retired: AtomicBool,
    /// Somebody wants the owner's next turn to end at once.
    called: AtomicBool,
    left: Mutex<Left>,
    /// Told when [`Left::taken`] ends.
    back: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// How often it has taken the reactor, and looked whether to; for tests.
    counts: [AtomicU64; 2],
}

/// What the stand-in leaves for the owner.
#[derive(Default)]
struct Left {
    /// The stand-in drives.
    taken: bool,
    batches: VecDeque<Batch>,
    /// Why it does not stand in any more.
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

    /// From now on the thread may be started.
    pub(crate) fn allow(&self) {
        self.allowed.store(true, SeqCst);
    }

    /// After a connection was opened: starts the thread if there is none. An error is told once,
    /// and then there will be no stand-in.
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

    /// Ends the thread, soon; there will be no other.
    pub(crate) fn retire(&self) {
        self.retired.store(true, SeqCst);
        self.rouse();
        self.shared.wake();
    }

    /// Ends a wait of the owner's, or its next one. A wake-up alone may be the stand-in's, if that drives.
    pub(crate) fn call(&self) {
        self.called.store(true, SeqCst);
        self.shared.wake();
    }

    /// How often the stand-in has taken the reactor, and looked whether to.
    pub(crate) fn counts(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(SeqCst))
    }

    /// Whether the owner was called since it last asked.
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

/// The thread's side.
impl Seat {
    fn watch(&self) {
        let mut seen = self.word.load(SeqCst);
        loop {
            self.sleep();
            if self.is_retired() {
                return;
            }
            self.counts[1].fetch_add(1, SeqCst);
            let word = self.word.load(SeqCst);
            if word == seen {
                if word & BUSY == 0 {
                    self.park(IDLE, || self.word.load(SeqCst) == word);
                } else if self.is_empty() {
                    self.park(EMPTY, || self.is_empty());
                } else if self.take(word) && !self.drive(word | TAKEN) {
                    return;
                }
            }
            seen = self.word.load(SeqCst);
        }
    }

    /// One interval, or to the thread's end.
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

    /// Sleeps while `still` and nobody rouses it.
    fn park(&self, how: u8, still: impl Fn() -> bool) {
        self.asleep.store(how, SeqCst);
        while self.asleep.load(SeqCst) == how && still() && !self.is_retired() {
            thread::park();
        }
        self.asleep.store(AWAKE, SeqCst);
    }

    /// Takes the reactor, unless the owner has come back since `word` was seen.
    fn take(&self, word: u64) -> bool {
        let mut left = lock(&self.left);
        left.taken = self.word.compare_exchange(word, word | TAKEN, SeqCst, SeqCst).is_ok();
        left.taken
    }

    /// Drives the reactor until the owner comes back, or nothing is open; whether to stay.
    fn drive(&self, word: u64) -> bool {
        self.counts[0].fetch_add(1, SeqCst);
        let mut ready = Vec::new();
        let mut charge = Charge { seat: self, batch: Batch::default(), bytes: 0, failed: None };
        while self.word.load(SeqCst) == word && !self.is_retired() && !self.is_empty() {
            let until = after(Instant::now(), self.interval);
            if let Err(e) = self.shared.turn(Some(until), &mut ready, &mut charge) {
                charge.failed = Some(e);
                return false;
            }
            if charge.bytes >= self.portion {
                charge.put();
            }
        }
        true
    }
}

/// The reactor in the stand-in's hands. It goes back when this is dropped, also by a panic of the
/// embedder's observer or policy: the owner must not wait for ever.
struct Charge<'a> {
    seat: &'a Seat,
    batch: Batch,
    /// What is in it, about.
    bytes: usize,
    failed: Option<io::Error>,
}

impl Charge<'_> {
    fn put(&mut self) {
        self.bytes = 0;
        if !self.batch.is_empty() {
            lock(&self.seat.left).batches.push_back(std::mem::take(&mut self.batch));
        }
    }
}

impl Sink for Charge<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.bytes += Held(&mut self.batch).keep(conn, event);
    }
}

impl Drop for Charge<'_> {
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

/// The owner's side: who drives the reactor when it has nothing else to do. Busy from the start.
/// Dropping it ends the stand-in.
pub(crate) struct Owner {
    seat: Arc<Seat>,
    /// How often it has gone.
    number: u64,
    ready: Vec<Ready>,
    /// What the stand-in has left and is not worked off yet.
    batches: VecDeque<Batch>,
    failed: Option<io::Error>,
}

impl Owner {
    /// `allowed`: the stand-in's thread may be started with the first connection; else after
    /// [`Seat::allow`].
    pub(crate) fn new(config: Config, allowed: bool) -> io::Result<Owner> {
        let interval = config.limits.stand_in.max(Duration::from_millis(1));
        let portion = config.limits.turn;
        let seat = Seat {
            shared: Shared::new(config)?,
            interval,
            portion,
            word: AtomicU64::new(BUSY),
            asleep: AtomicU8::new(AWAKE),
            allowed: AtomicBool::new(allowed),
            retired: AtomicBool::new(false),
            called: AtomicBool::new(false),
            left: Mutex::default(),
            back: Condvar::new(),
            thread: Mutex::default(),
            counts: Default::default(),
        };
        Ok(Owner {
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

    /// Whether events wait that a turn would give at once.
    pub(crate) fn has_more(&self) -> bool {
        !self.batches.is_empty() || self.failed.is_some()
    }

    /// What the stand-in has left, a portion at a time, or else a turn of the reactor, into a batch
    /// that is empty.
    pub(crate) fn turn(&mut self, until: Option<Instant>, batch: &mut Batch) -> io::Result<()> {
        if !self.has_more() {
            self.come();
            // The wake-up that went with it may have been the stand-in's.
            let at_once = self.seat.is_retired() || self.seat.is_called();
            let until = if at_once { Some(Instant::now()) } else { until };
            let turned = match self.has_more() {
                true => Ok(()),
                false => self.seat.shared.turn(until, &mut self.ready, batch),
            };
            self.go();
            turned?;
        }
        if let Some(left) = self.batches.pop_front() {
            self.seat.shared.with(|reactor| {
                for (id, bytes) in left.costs().iter().copied() {
                    reactor.consumed(id, bytes);
                }
                // A turn would have written what waits.
                reactor.flush();
            });
            *batch = left;
            return Ok(());
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Does something for which nobody else may drive the reactor.
    pub(crate) fn alone<R>(&mut self, act: impl FnOnce() -> R) -> R {
        self.come();
        let result = act();
        self.go();
        result
    }

    /// The reactor is the owner's again when this returns.
    fn come(&mut self) {
        if self.seat.word.swap(self.number * NEXT, SeqCst) & TAKEN == 0 {
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

    /// It may be taken from now on.
    fn go(&mut self) {
        self.number += 1;
        self.seat.word.store((self.number * NEXT) | BUSY, SeqCst);
        if self.seat.asleep.load(SeqCst) == IDLE {
            self.seat.rouse();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.seat.retire();
        let thread = lock(&self.seat.thread).take();
        if let Some(thread) = thread {
            // If it has panicked, that was told where its message is of use.
            let _ = thread.join();
        }
    }
}
