//! Ends a runtime: closes open connections, and waits until queued bytes are sent.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::link::Link;
use crate::net::{Batch, Ending, Reactor, after, earlier};
use crate::proto::CloseFrame;

/// A handle that stops a [`super::Runtime`] from another thread. It interrupts no script: running
/// code goes on until the process ends, but its connections are closed.
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

    /// Closes all connections with `code`, and waits for that at most `limit`. From now on the
    /// runtime's own calls return [`super::Progress::Stopped`], and open no more connections.
    /// Returns how many queued bytes were not sent in that time.
    pub fn stop(&self, code: u16, limit: Duration) -> u64 {
        self.stopped.store(true, Ordering::Release);
        // It would still open connections that the script asks for.
        self.link.retire();
        self.link.wake();
        let end =
            Closing { code, answers: limit, limit: Some(limit) }.close_all(&self.link, |_| {});
        // This call may have waited instead of the runtime, and taken its wake-up.
        self.link.wake();
        end.unsent + end.lost
    }
}

/// How connections are closed.
pub(super) struct Closing {
    pub(super) code: u16,
    /// How long the servers have for their answers once all bytes were sent.
    pub(super) answers: Duration,
    /// How long everything may take; `None`: as long as the kernel takes bytes.
    pub(super) limit: Option<Duration>,
}

/// What is left when everything was closed, or the time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Connections that are not closed.
    pub(super) open: usize,
    /// Unsent bytes of those connections.
    pub(super) unsent: u64,
    /// Unsent bytes of other connections.
    pub(super) lost: u64,
}

impl Left {
    fn of(reactor: &mut Reactor) -> Left {
        Left { open: reactor.pending(), unsent: reactor.unsent(), lost: reactor.lost() }
    }
}

/// After this time, `waits` is called with what is left.
const LONG: Duration = Duration::from_secs(10);

impl Closing {
    /// Closes everything and waits until it is closed, or the time is over; then no socket is left.
    /// Queued bytes are sent first, for as long as the kernel takes some
    /// ([`Limits::stall`](crate::Limits::stall)); `waits` is called once if that takes long.
    pub(super) fn close_all(&self, link: &Link, waits: impl FnOnce(Left)) -> Left {
        self.close_and_wait(link, waits);
        // In one call, so that no byte is sent after it was counted.
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
            if ending.may_end(left.open, left.unsent, now) {
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
                // Its thread does the work; this one only checks.
                Link::Threaded(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
