//! Ends a runtime: sends queued bytes and closes open connections.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::link::Link;
use crate::net::{Batch, Ending, Reactor, after, earlier};
use crate::proto::CloseFrame;

/// A handle that stops a [`super::Runtime`] from another thread. It interrupts no script: running
/// code continues until the process ends, but its connections are closed.
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

    /// Closes all connections with `code`, and waits for that at most `limit`. From now on calls of
    /// the runtime return [`super::Progress::Stopped`], and open no more connections. Returns how
    /// many queued bytes were not sent in that time.
    pub fn stop(&self, code: u16, limit: Duration) -> u64 {
        self.stopped.store(true, Ordering::Release);
        // The stand-in could still open connections that the script has asked for.
        self.link.retire();
        self.link.wake();
        let end =
            Closing { code, answers: limit, limit: Some(limit) }.close_all(&self.link, |_| {});
        // This call may have waited in place of the runtime, and taken its wake-up.
        self.link.wake();
        end.unsent + end.lost
    }
}

/// How connections are closed.
pub(super) struct Closing {
    pub(super) code: u16,
    /// How long the servers have for their close frames after all bytes were sent.
    pub(super) answers: Duration,
    /// How long everything may take; `None`: as long as the kernel accepts bytes.
    pub(super) limit: Option<Duration>,
}

/// What is left when every connection is closed, or the time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Connections that are not closed.
    pub(super) open: usize,
    /// Unsent bytes of those connections.
    pub(super) unsent: u64,
    /// Unsent bytes of connections that are closed.
    pub(super) lost: u64,
}

impl Left {
    fn of(reactor: &mut Reactor) -> Left {
        Left { open: reactor.pending(), unsent: reactor.unsent(), lost: reactor.lost() }
    }
}

/// After this time, `close_all` calls `waits` with what is left.
const LONG: Duration = Duration::from_secs(10);

impl Closing {
    /// Closes all connections and waits until they are closed or the time has passed; then no
    /// socket is left. Queued bytes are sent first, as long as the kernel accepts some
    /// ([`Limits::stall`](crate::Limits::stall)); `waits` is called once if that takes long.
    pub(super) fn close_all(&self, link: &Link, waits: impl FnOnce(Left)) -> Left {
        self.close_and_wait(link, waits);
        // Both happen in one call, so that no byte is sent after it was counted.
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
                // The reactor's own thread does the work; this thread only checks.
                Link::Threaded(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
