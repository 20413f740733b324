//! A handle that ends a blocking call from another thread.
//!
//! The flag is set before the wait is ended, and looked at before a wait and behind it; the wake-up
//! of a wait that has not begun ends that wait when it begins. So no interrupt is lost, whenever it
//! comes.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::net::sys::Poller;

/// Ends a blocking call of the handle that it came from, from any thread; clones do the same.
///
/// The call under way, or the next one, that waits for what comes returns an error of the kind
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted), once, and the connection stays as it
/// was: call again to go on. What has come already is given first. Several interrupts before that
/// error are one. A call that finds nothing to give reports it, too, if its time is zero; a call that
/// sends and does not have to wait does not.
///
/// It keeps no connection open: behind the end of its handle it does nothing.
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
    /// What ends the wait. Weak: a handle that is kept must keep no descriptor.
    wait: Mutex<Option<Weak<dyn Wake>>>,
}

/// What a thread waits with.
pub(super) trait Wake: Send + Sync {
    /// Ends a wait, or the next one.
    fn wake(&self);
}

impl<P: Poller> Wake for P {
    fn wake(&self) {
        Poller::wake(self);
    }
}

impl Interrupter {
    /// One without a handle yet, for a call that opens one
    /// ([`Options::connect_interruptible`](crate::Options::connect_interruptible),
    /// [`StreamOptions::open_interruptible`](crate::StreamOptions::open_interruptible)). Give it to one
    /// handle at a time: it wakes the one that has it last, and one call reports each interrupt.
    pub fn new() -> Interrupter {
        Interrupter::default()
    }

    /// Ends the call under way, or the next one.
    pub fn interrupt(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
        let wait = self.wait().as_ref().and_then(Weak::upgrade);
        if let Some(wait) = wait {
            wait.wake();
        }
    }

    /// From now on it ends waits of this.
    pub(super) fn attach<W: Wake + 'static>(&self, wait: &Arc<W>) {
        let weak: Weak<W> = Arc::downgrade(wait);
        *self.wait() = Some(weak);
    }

    /// Whether a call is to end; asked once for each interrupt.
    pub(super) fn take(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst) && self.0.raised.swap(false, Ordering::SeqCst)
    }

    fn wait(&self) -> MutexGuard<'_, Option<Weak<dyn Wake>>> {
        // No code that can panic runs while it is held.
        self.0.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call is to end, of a handle that may have none.
pub(super) fn is_interrupted(interrupter: Option<&Interrupter>) -> bool {
    interrupter.is_some_and(Interrupter::take)
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raised = self.0.raised.load(Ordering::SeqCst);
        f.debug_struct("Interrupter").field("raised", &raised).finish_non_exhaustive()
    }
}
