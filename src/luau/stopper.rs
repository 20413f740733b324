//! Ends a runtime from another thread, also while its script computes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::link::Link;
use crate::net::{Batch, after};
use crate::proto::CloseFrame;

/// A handle that stops a [`super::Runtime`] from another thread. It interrupts no script: what
/// computes goes on until the process ends, but its connections are closed.
#[derive(Clone)]
pub struct Stopper {
    link: Link,
    stopped: Arc<AtomicBool>,
}

impl Stopper {
    pub(super) fn new(link: Link) -> Stopper {
        Stopper { link, stopped: Arc::default() }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Closes all connections with `code`, and waits for that at most `limit`. The runtime's own
    /// calls return [`super::Progress::Stopped`] from now on, and start no more connections.
    pub fn stop(&self, code: u16, limit: Duration) {
        self.stopped.store(true, Ordering::Release);
        // It would open what the script asks for from now on.
        self.link.retire();
        self.link.wake();
        close_all(&self.link, code, limit);
        // Closing may have waited in the runtime's stead, and been woken in its stead.
        self.link.wake();
    }
}

/// Closes everything and waits until it is closed, or the time is over; how many are not.
pub(super) fn close_all(link: &Link, code: u16, limit: Duration) -> usize {
    let end = after(Instant::now(), limit);
    let frame = CloseFrame::new(code, "");
    link.with(|reactor| reactor.release_all(&frame));
    link.flush();
    let (mut batch, mut ready) = (Batch::default(), Vec::new());
    loop {
        let left = link.with(|reactor| reactor.len());
        let now = Instant::now();
        if left == 0 || now >= end {
            return left;
        }
        match link {
            Link::Inline(seat) => {
                if seat.shared().turn(Some(end), &mut ready, &mut batch).is_err() {
                    return left;
                }
                batch.clear();
            }
            // Its thread does the work; this one only looks, a few times.
            Link::Threaded(_) => std::thread::sleep(Duration::from_millis(2).min(end - now)),
        }
    }
}
