//! The reactor on a thread of its own, with handles for any thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::batch::{Batch, Held};
use super::ending::Ending;
use super::queue::Queue;
use super::shared::Shared;
use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::{Ask, Config};
use crate::net::event::{ConnId, Event};
use crate::net::reactor::Reactor;
use crate::net::time::after;
use crate::proto::{CloseFrame, Context, Misuse, Session};

/// A handle of a reactor that runs on a thread of its own. Clones share it; the thread ends, and
/// closes what is open, when [`Events`] is dropped.
///
/// Sending encodes and writes on the calling thread: no hand-over.
///
/// ```no_run
/// use moonwire::{Client, Config, Event, Options};
///
/// let (client, mut events) = Client::spawn(Config::default())?;
/// let id = client.open(Options::new("wss://example.com/")?)?;
/// events.wait(None, |conn, event| match event {
///     Event::Opened(_) => client.send_text(conn, "hello").unwrap_or_default(),
///     Event::Text(text) => println!("{}", text.as_str()),
///     _ => {}
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client(Arc<State>);

/// The receiving end of a [`Client`]: all events of all its connections, in order.
///
/// Dropping it closes what is open, and waits for what was accepted to leave: as long as the line
/// moves, and no longer than [`Limits::stall`](crate::Limits::stall) if it does not. Then the servers
/// have [`Limits::linger`](crate::Limits::linger) for their answers. [`Events::finish`] does the same
/// within a time, and tells what is lost.
pub struct Events {
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What is being worked off.
    batch: Batch,
}

struct State {
    shared: Shared,
    queue: Queue,
    stop: AtomicBool,
    /// What is still open when it stops has had its time.
    hurry: AtomicBool,
    /// When all has to be over, once it stops.
    limit: OnceLock<Instant>,
}

impl Client {
    /// Starts the thread.
    pub fn spawn(config: Config) -> io::Result<(Client, Events)> {
        let state = Arc::new(State {
            shared: Shared::new(config)?,
            queue: Queue::default(),
            stop: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            limit: OnceLock::new(),
        });
        let its = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("moonwire-poll".into());
        let thread = thread.spawn(move || poll(&its))?;
        let events =
            Events { state: Arc::clone(&state), thread: Some(thread), batch: Batch::default() };
        Ok((Client(state), events))
    }

    /// Starts to open a connection; see [`Reactor::open`]. Refused ([`ErrorKind::Ended`]) when
    /// [`Events`] is gone or its thread has ended. A WebSocket gets keep-alive pings unless
    /// [`Options::ping_interval`](crate::Options::ping_interval) says otherwise.
    pub fn open(&self, ask: impl Into<Ask>) -> Result<ConnId, Error> {
        let ask = ask.into().kept_alive();
        if self.0.stop.load(Ordering::Acquire) {
            return Err(Error::new(ask.url(), Stage::Connect, ErrorKind::Ended));
        }
        self.with(|reactor| reactor.open(ask))
    }

    /// Sends a text message: written at once, or as soon as the kernel takes it.
    pub fn send_text(&self, id: ConnId, text: &str) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_text(cx, text))
    }

    /// Sends a binary message.
    pub fn send_binary(&self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_binary(cx, data))
    }

    /// Sends a ping with at most 125 bytes.
    pub fn ping(&self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.ping(cx, data))
    }

    /// Starts the closing handshake behind everything that was sent.
    pub fn close(&self, id: ConnId, code: u16, reason: &str) -> Result<(), Misuse> {
        let frame = CloseFrame::new(code, reason);
        self.with(|reactor| reactor.close(id, &frame).map(|()| reactor.flush()))
    }

    /// Sends the close frame that [`Options::hold_close`](crate::Options::hold_close) held back.
    pub fn answer_close(&self, id: ConnId) {
        self.with(|reactor| reactor.answer_close(id));
    }

    /// Gives a connection up: a WebSocket that is open is closed with `code` and `reason`, a stream
    /// or what is being opened is dropped. Its events are not told any more.
    pub fn release(&self, id: ConnId, code: u16, reason: &str) {
        let frame = CloseFrame::new(code, reason);
        self.with(|reactor| reactor.release(id, &frame));
    }

    /// Tells no events of a connection until [`Client::resume`], but for those that are under way; see
    /// [`Reactor::pause`].
    pub fn pause(&self, id: ConnId) {
        self.with(|reactor| reactor.pause(id));
    }

    /// Goes on with a connection that was paused.
    pub fn resume(&self, id: ConnId) {
        self.with(|reactor| reactor.resume(id));
    }

    /// Bytes that were accepted and not yet handed to the kernel.
    pub fn buffered(&self, id: ConnId) -> usize {
        self.with(|reactor| reactor.buffered(id))
    }

    /// Ends a wait of [`Events`], or its next one.
    pub fn wake(&self) {
        self.0.queue.wake();
    }

    /// See [`Shared::quietly`].
    #[cfg(feature = "luau")]
    pub(crate) fn quietly<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> R {
        self.0.shared.quietly(act)
    }

    /// The error is the caller's; what becomes of a message is told by events.
    fn act(
        &self,
        id: ConnId,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        self.with(|reactor| reactor.act_now(id, act)).map(drop)
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> R {
        self.0.shared.with(act)
    }
}

impl Events {
    /// Waits for events until `until` (`None`: for as long as it takes) and gives all that are
    /// there to `each`; how many they were. 0 after the time, or after [`Client::wake`].
    ///
    /// An error means that the system could not wait any more and the thread has ended: there
    /// will be no events, and every call says so.
    pub fn wait(
        &mut self,
        until: Option<Instant>,
        mut each: impl FnMut(ConnId, Event<'_>),
    ) -> io::Result<usize> {
        let mut batch = std::mem::take(&mut self.batch);
        let taken = self.take(until, &mut batch);
        let count = batch.len();
        for (id, event) in batch.drain() {
            each(id, event);
        }
        batch.clear();
        self.batch = batch;
        taken.map(|()| count)
    }

    /// The same as a batch, in exchange for an empty one. They count as consumed at once.
    pub(crate) fn take(&mut self, until: Option<Instant>, batch: &mut Batch) -> io::Result<()> {
        self.state.queue.take(&self.state.shared, until, batch)
    }
}

impl Events {
    /// Ends the thread as dropping this does, after `limit` at the latest (`None`: as long as the
    /// line moves). Bytes that were accepted for sending and did not leave, less those of which an
    /// event has told.
    pub fn finish(self, limit: Option<Duration>) -> u64 {
        if let Some(limit) = limit {
            // Nobody else sets it.
            let _ = self.state.limit.set(after(Instant::now(), limit));
        }
        let state = Arc::clone(&self.state);
        drop(self);
        state.shared.with(|reactor| reactor.lost())
    }
}

#[cfg(feature = "luau")]
impl Events {
    /// What is open when this is dropped gets no time to close.
    pub(crate) fn hurry(&self) {
        self.state.hurry.store(true, Ordering::Release);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        self.state.shared.with(|reactor| reactor.release_all(&CloseFrame::new(1001, "")));
        self.state.shared.wake();
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it did, there would be nothing to do about it here.
            let _ = thread.join();
        }
    }
}

/// What the thread was told and has not handed over. The thread may end by a panic of the embedder's
/// policy or observer, which whoever waits has to hear of.
struct Told<'a> {
    state: &'a State,
    batch: Batch,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        if std::thread::panicking() {
            let error = io::Error::other("the policy or the observer has panicked");
            self.state.queue.fail(&error, &mut self.batch);
        }
    }
}

fn poll(state: &State) {
    let mut told = Told { state, batch: Batch::default() };
    let mut ready = Vec::new();
    let (mut ending, mut end) = (None, None);
    let mut wait = state.shared.begin(end, &mut Held(&mut told.batch));
    loop {
        if state.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let left = |reactor: &mut Reactor| {
                (reactor.pending(), reactor.unsent(), reactor.limits().linger)
            };
            let (pending, unsent, linger) = state.shared.with(left);
            let ending =
                ending.get_or_insert_with(|| Ending::new(state.limit.get().copied(), linger));
            let over = ending.is_over(pending, unsent, now);
            end = ending.until();
            if over || state.hurry.load(Ordering::Acquire) {
                // Handles that are left keep the reactor, and would keep its sockets.
                return state.shared.with(Reactor::abandon_all);
            }
        }
        let next = state.queue.go_on(&state.shared, wait, end, &mut ready, &mut told.batch);
        let Some(next) = next else { return };
        wait = next;
    }
}
