//! A handle that ends a blocking call from another thread.
//!
//! An interrupt sets the flag and then ends the wait; a call checks the flag before and after its
//! wait; and a wake-up before a wait ends that wait at once. So no interrupt is lost.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::net::sys::Poller;

/// Ends a blocking call of the handle that created it, from any thread; so do its clones.
///
/// The current or next call that waits for the server returns an error of the kind
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted), once, and the connection stays as it
/// was: call again to go on. Before that, calls return the messages that have come already. Several
/// interrupts before that error count as one. A call with a timeout of zero that finds nothing also
/// returns the error; a call that sends and need not wait does not.
///
/// It keeps no connection open: after the end of its handle it does nothing.
///
/// ```no_run
/// use moonwire::ErrorKind;
///
/// let mut ws = moonwire::connect("wss://example.com/chat")?;
/// let stop = ws.interrupter();
/// std::thread::spawn(move || {
///     // Whatever decides that it is enough.
///     stop.interrupt();
/// });
/// match ws.read() {
///     Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => ws.close(1000, "")?,
///     other => panic!("{other:?}"),
/// };
/// # Ok::<(), moonwire::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Interrupter(Arc<Signal>);

#[derive(Default)]
struct Signal {
    raised: AtomicBool,
    /// The poller whose wait it ends. Weak, since an interrupter must not keep a descriptor open.
    wait: Mutex<Option<Weak<dyn Wake>>>,
}

/// What a thread waits in.
pub(super) trait Wake: Send + Sync {
    /// Ends the current wait, or the next one.
    fn wake(&self);
}

impl<P: Poller> Wake for P {
    fn wake(&self) {
        Poller::wake(self);
    }
}

impl Interrupter {
    /// An interrupter without a handle yet, for a call that opens one
    /// ([`Options::connect_interruptible`](crate::Options::connect_interruptible),
    /// [`StreamOptions::open_interruptible`](crate::StreamOptions::open_interruptible)). Use it for
    /// one handle at a time: it wakes the handle to which it was attached last, and only one call
    /// returns the error of an interrupt.
    pub fn new() -> Interrupter {
        Interrupter::default()
    }

    /// Ends the current call, or the next one.
    pub fn interrupt(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
        let wait = self.wait().as_ref().and_then(Weak::upgrade);
        if let Some(wait) = wait {
            wait.wake();
        }
    }

    /// Makes it end the waits of `wait` from now on.
    pub(super) fn attach<W: Wake + 'static>(&self, wait: &Arc<W>) {
        let weak: Weak<W> = Arc::downgrade(wait);
        *self.wait() = Some(weak);
    }

    /// Whether a call has to end; returns `true` once for each interrupt.
    pub(super) fn take(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst) && self.0.raised.swap(false, Ordering::SeqCst)
    }

    fn wait(&self) -> MutexGuard<'_, Option<Weak<dyn Wake>>> {
        // No code that can panic runs while the lock is held.
        self.0.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call has to end; the caller passes `None` if its handle has no interrupter.
pub(super) fn is_interrupted(interrupter: Option<&Interrupter>) -> bool {
    interrupter.is_some_and(Interrupter::take)
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raised = self.0.raised.load(Ordering::SeqCst);
        f.debug_struct("Interrupter").field("raised", &raised).finish_non_exhaustive()
    }
}
