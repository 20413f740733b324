//! Threads that park. Loom stores the token of `unpark` in the state of the thread, and loses it
//! when the thread waits for something else meanwhile; here the token is behind a lock.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use loom::thread::{panicking, yield_now};

use super::{Condvar, LONG, Mutex, advance};

/// The panic of a thread that a model requests; any other panic is a failed model.
pub(crate) struct Deliberate;

#[derive(Default)]
struct Token {
    set: Mutex<bool>,
    changed: Condvar,
}

loom::thread_local! {
    static OWN: RefCell<Arc<Token>> = RefCell::default();
    /// Whether the thread has parked with a time limit.
    static TIMED: Cell<bool> = Cell::new(false);
}

pub(crate) struct Thread(Arc<Token>);

impl Thread {
    pub(crate) fn unpark(&self) {
        *self.0.set.lock().unwrap() = true;
        self.0.changed.notify_one();
    }
}

fn own() -> Arc<Token> {
    OWN.with(|own| Arc::clone(&own.borrow()))
}

pub(crate) fn park() {
    let token = own();
    let mut set = token.set.lock().unwrap();
    while !*set {
        set = token.changed.wait(set).unwrap();
    }
    *set = false;
}

/// The time of the first wait has passed at once. For others see [`Condvar::wait_timeout`]: a
/// thread that checks repeatedly must let others run, so that in loom it sees what they have
/// written.
pub(crate) fn park_timeout(span: Duration) {
    if span >= LONG {
        return park();
    }
    let token = own();
    if !std::mem::take(&mut *token.set.lock().unwrap()) {
        if TIMED.with(|timed| timed.replace(true)) {
            yield_now();
        }
        advance(span);
    }
}

pub(crate) struct Builder(loom::thread::Builder);

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder(loom::thread::Builder::new())
    }

    pub(crate) fn name(self, name: String) -> Builder {
        Builder(self.0.name(name))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let token = Arc::new(Token::default());
        let its = Arc::clone(&token);
        let act = move || {
            OWN.with(|own| own.replace(its));
            let result = catch_unwind(AssertUnwindSafe(act));
            result.map_err(|panic| match panic.is::<Deliberate>() {
                true => panic,
                false => resume_unwind(panic),
            })
        };
        Ok(JoinHandle { handle: self.0.spawn(act)?, thread: Thread(token) })
    }
}

pub(crate) struct JoinHandle<T> {
    handle: loom::thread::JoinHandle<Result<T, Box<dyn Any + Send>>>,
    thread: Thread,
}

impl<T> JoinHandle<T> {
    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    #[track_caller]
    pub(crate) fn join(self) -> Result<T, Box<dyn Any + Send>> {
        self.handle.join().and_then(|result| result)
    }
}

/// A thread of a model.
pub(crate) fn spawn<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().spawn(act).unwrap()
}
