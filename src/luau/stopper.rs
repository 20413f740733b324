//! Ends a runtime: closes what is open, and waits for what was sent to leave.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::link::Link;
use crate::net::{Batch, Ending, Reactor, after, earlier};
use crate::proto::CloseFrame;

/// A handle that stops a [`super::Runtime`] from another thread. It interrupts no script: what
/// computes goes on until the process ends, but its connections are closed.
///
/// ```
/// use moonwire::luau::{Line, Options, Progress, Runtime};
/// use std::time::Duration;
///
/// let mut runtime = Runtime::new(Options::new(|line: Line<'_>| println!("{line}")))?;
/// runtime.spawn("endless.luau", "while true do task.wait(1) end", ())?;
/// let stopper = runtime.stopper();
/// let other = std::thread::spawn(move || stopper.stop(1001, Duration::from_secs(1)));
/// assert_eq!(runtime.run()?, Progress::Stopped);
/// assert_eq!(other.join().unwrap(), 0); // bytes that did not leave
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
#[derive(Clone)]
pub struct Stopper {
    link: Link,
    stopped: Arc<AtomicBool>,
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    pub(super) fn new(link: Link) -> Stopper {
        Stopper { link, stopped: Arc::default() }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Closes all connections with `code`, and waits for that at most `limit`. The runtime's own
    /// calls return [`super::Progress::Stopped`] from now on, and start no more connections. Bytes
    /// that were sent and did not leave in that time.
    pub fn stop(&self, code: u16, limit: Duration) -> u64 {
        self.stopped.store(true, Ordering::Release);
        // It would open what the script asks for from now on.
        self.link.retire();
        self.link.wake();
        let end =
            Closing { code, answers: limit, limit: Some(limit) }.close_all(&self.link, |_| {});
        // Closing may have waited in the runtime's stead, and been woken in its stead.
        self.link.wake();
        end.unsent + end.lost
    }
}

/// How everything is closed.
pub(super) struct Closing {
    pub(super) code: u16,
    /// How long the servers have for their answers once all has left.
    pub(super) answers: Duration,
    /// How long all of it may take; `None`: as long as something leaves.
    pub(super) limit: Option<Duration>,
}

/// What is left when everything was closed, or its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Connections that are not closed.
    pub(super) open: usize,
    /// Bytes of theirs that were sent and have not left.
    pub(super) unsent: u64,
    /// Bytes of others that did not leave.
    pub(super) lost: u64,
}

impl Left {
    fn of(reactor: &mut Reactor) -> Left {
        Left { open: reactor.pending(), unsent: reactor.unsent(), lost: reactor.lost() }
    }
}

/// After so long, whoever waits is told what for.
const LONG: Duration = Duration::from_secs(10);

impl Closing {
    /// Closes everything and waits until it is closed, or the time is over; then no socket is left.
    /// What was sent leaves first, for as long as it moves
    /// ([`Limits::stall`](crate::Limits::stall)); `waits` is told once if that takes long.
    pub(super) fn close_all(&self, link: &Link, waits: impl FnOnce(Left)) -> Left {
        self.close_and_wait(link, waits);
        // At once, so that nothing leaves after it was counted.
        let left = link.with(|reactor| {
            let left = Left::of(reactor);
            reactor.abandon_all();
            left
        });
        link.flush();
        left
    }

    fn close_and_wait(&self, link: &Link, waits: impl FnOnce(Left)) {
        let (start, frame) = (Instant::now(), CloseFrame::new(self.code, ""));
        let limit = self.limit.map(|limit| after(start, limit));
        let mut ending = Ending::new(limit, self.answers);
        link.with(|reactor| reactor.release_all(&frame));
        link.flush();
        let (mut batch, mut ready) = (Batch::default(), Vec::new());
        let mut waits = Some(waits);
        loop {
            let (left, now) = (link.with(Left::of), Instant::now());
            if ending.is_over(left.open, left.unsent, now) {
                return;
            }
            let long = after(start, LONG);
            if long <= now
                && left.unsent > 0
                && let Some(waits) = waits.take()
            {
                waits(left);
            }
            let until = waits.as_ref().filter(|_| left.unsent > 0).map(|_| long);
            match link {
                Link::Inline(seat) => {
                    let until = earlier(ending.until(), until);
                    if seat.shared().turn(until, &mut ready, &mut batch).is_err() {
                        return;
                    }
                    batch.clear();
                }
                // Its thread does the work; this one only looks.
                Link::Threaded(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
