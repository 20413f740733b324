//! A reactor on a thread of its own, with handles for any thread.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::drained::Drained;
use super::ending::Ending;
use super::interrupter::Wake;
use super::queue::Queue;
use super::shared::Shared;
use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::{Ask, Config};
use crate::net::event::{ConnId, Event};
use crate::net::reactor::Reactor;
use crate::net::session::Session;
use crate::net::sys::{Os, Sys};
use crate::net::time::after;
use crate::proto::{CloseFrame, Context, Misuse, Stats, Transport};

/// A handle of a reactor that runs on a thread of its own; clones share it. When [`Events`] is
/// dropped, the thread closes open connections and ends.
///
/// A call that sends encodes and writes on the calling thread; no other thread is involved.
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
///
/// To measure a round trip, send a ping with a payload of your own, such as a number, and wait for
/// the [`Event::Pong`] with the same payload.
pub struct Client<S: Sys = Os>(Arc<State<S>>);

impl<S: Sys> Clone for Client<S> {
    fn clone(&self) -> Client<S> {
        Client(Arc::clone(&self.0))
    }
}

/// The receiving end of a [`Client`]: all events of all its connections, in order.
///
/// Dropping it closes open connections, and waits until accepted bytes are sent: as long as the
/// kernel takes some, and at most [`Limits::stall`](crate::Limits::stall) while it takes none. Then
/// the servers have [`Limits::linger`](crate::Limits::linger) for their answers. [`Events::finish`]
/// does the same within a given time, and returns how many bytes were lost.
///
/// ```no_run
/// use moonwire::{Client, Config, Event, Options};
///
/// let (client, mut events) = Client::spawn(Config::default())?;
/// client.open(Options::new("wss://echo.example/")?)?;
/// for item in &mut events {
///     let (id, event) = item?;
///     match event {
///         Event::Opened(_) => client.send_text(id, "hello")?,
///         Event::Text(text) => println!("{}", text.as_str()),
///         Event::Closed(why) => println!("{why}"),
///         _ => {}
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events<S: Sys = Os> {
    state: Arc<State<S>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// The batch whose events [`Events::wait`] passes on.
    batch: Batch,
    /// Events that [`Events::iter`] has taken out of the batch and not returned yet.
    taken: VecDeque<(ConnId, Event<'static>)>,
}

pub(super) struct State<S: Sys> {
    shared: Shared<S>,
    queue: Queue,
    /// A thread iterates: when a connection is released, it has to check again whether it goes on.
    iterates: AtomicBool,
    drained: Drained,
    /// The thread has ended.
    ended: AtomicBool,
    stop: AtomicBool,
    /// The thread ends at once, even if connections are still open.
    hurry: AtomicBool,
    /// The deadline for the end of the thread, once it stops.
    limit: OnceLock<Instant>,
}

impl Client {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no descriptor, no random source or no thread left.
    pub fn spawn(config: Config) -> io::Result<(Client, Events)> {
        Client::of(Reactor::new(config)?)
    }
}

impl<S: Sys + 'static> Client<S> {
    /// [`Client::spawn`] on another system, such as a simulated network. The thread waits in
    /// [`Poller::wait`](crate::Poller::wait) while other threads act. [`Events::wait`] uses the
    /// clock of the machine.
    ///
    /// # Errors
    ///
    /// The random source of `sys` fails, or the system has no thread.
    pub fn spawn_on(sys: S, config: Config) -> io::Result<(Client<S>, Events<S>)> {
        Client::of(Reactor::with_sys(sys, config)?)
    }

    /// A client for a reactor that may have connections already.
    pub(super) fn of(reactor: Reactor<S>) -> io::Result<(Client<S>, Events<S>)> {
        let state = Arc::new(State {
            shared: Shared::of(reactor),
            queue: Queue::default(),
            iterates: AtomicBool::new(false),
            drained: Drained::default(),
            ended: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            limit: OnceLock::new(),
        });
        let its = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("moonwire-poll".into());
        let thread = thread.spawn(move || poll(&its))?;
        let events = Events {
            state: Arc::clone(&state),
            thread: Some(thread),
            batch: Batch::default(),
            taken: VecDeque::new(),
        };
        Ok((Client(state), events))
    }
}

impl<S: Sys> Client<S> {
    /// Starts to open a connection; see [`Reactor::open`]. Refused ([`ErrorKind::ClientEnded`])
    /// when [`Events`] was dropped or its thread has ended. A WebSocket sends keep-alive pings
    /// unless [`Options::ping_interval`](crate::Options::ping_interval) is set otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ClientEnded`], [`ErrorKind::TooManyConnections`]. If the connection fails
    /// later, [`Event::Closed`](crate::Event::Closed) reports that.
    pub fn open(&self, ask: impl Into<Ask>) -> Result<ConnId, Error> {
        let ask = ask.into().kept_alive();
        if self.0.stop.load(Ordering::Acquire) {
            return Err(Error::new(ask.url(), Stage::Connect, ErrorKind::ClientEnded));
        }
        self.with(|reactor| reactor.open(ask))
    }

    /// Sends a text message: writes it at once, or as soon as the kernel takes it.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_text(&self, id: ConnId, text: &str) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_text(cx, text))
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_binary(&self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_binary(cx, data))
    }

    /// Sends a text message uncompressed, even if compression was negotiated;
    /// [`Compression`](crate::proto::Compression) describes when that is needed.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_text_plain(&self, id: ConnId, text: &str) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_text_plain(cx, text))
    }

    /// Sends a binary message uncompressed, as [`Client::send_text_plain`] does.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_binary_plain(&self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_binary_plain(cx, data))
    }

    /// Sends a ping with at most 125 bytes.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, the payload has more than 125 bytes, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn ping(&self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        let ping = |reactor: &mut Reactor<S>| {
            reactor.look_at_clock();
            reactor.act_now(id, |session, cx| session.ping(cx, data))
        };
        self.with(ping).map(drop)
    }

    /// Starts the closing handshake behind everything that is queued.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or the code or the reason may not be sent (RFC 6455
    /// §7.4, §5.5.1).
    pub fn close(&self, id: ConnId, code: u16, reason: &str) -> Result<(), Misuse> {
        let frame = CloseFrame::new(code, reason);
        self.with(|reactor| reactor.close(id, &frame).map(|()| reactor.flush()))
    }

    /// Sends the close frame that [`Options::hold_close`](crate::Options::hold_close) held back.
    pub fn answer_close(&self, id: ConnId) {
        self.with(|reactor| reactor.answer_close(id));
    }

    /// Releases a connection: an open WebSocket is closed with `code` and `reason`; a stream, or a
    /// connection that is not open yet, is dropped. Its events are no longer reported.
    pub fn release(&self, id: ConnId, code: u16, reason: &str) {
        let frame = CloseFrame::new(code, reason);
        self.with(|reactor| reactor.release(id, &frame));
        self.look_again();
    }

    /// Closes all connections: open WebSockets as [`Client::close`] does, so that their ends are
    /// reported. Streams, and connections that are not open yet, are released
    /// ([`Client::release`]).
    ///
    /// # Errors
    ///
    /// The code or the reason may not be sent; then nothing is closed.
    pub fn close_all(&self, code: u16, reason: &str) -> Result<(), Misuse> {
        let frame = CloseFrame::new(code, reason);
        frame.check()?;
        self.with(|reactor| {
            reactor.close_all(&frame);
            reactor.flush();
        });
        self.look_again();
        Ok(())
    }

    /// The transport of a connection; see [`Reactor::transport`].
    pub fn transport(&self, id: ConnId) -> Option<Transport> {
        self.with(|reactor| reactor.transport(id))
    }

    /// Whether the program can send messages on it at this moment; it may end at any time.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.with(|reactor| reactor.is_open(id))
    }

    /// How many connections have not ended, or only wait for the server to end the TCP connection.
    pub fn len(&self) -> usize {
        self.with(|reactor| reactor.len())
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the kernel has taken everything that was accepted for a connection, for at most
    /// `timeout` (`None`: as long as the kernel takes bytes, see
    /// [`Limits::stall`](crate::Limits::stall)). Returns whether it has. Waits also for messages
    /// that other threads send meanwhile. Not needed before a close: the close frame is sent behind
    /// everything that was accepted.
    ///
    /// # Errors
    ///
    /// The connection is not open yet; or it has ended, cleanly or not, and how. Its final event
    /// reports whether everything was sent.
    pub fn flush(&self, id: ConnId, timeout: Option<Duration>) -> Result<bool, Misuse> {
        let until = timeout.map(|timeout| after(Instant::now(), timeout));
        let state = &*self.0;
        state.drained.wait(until, || {
            let sent = state.shared.with(|reactor| match reactor.buffered(id) {
                0 => Some(reactor.check_live(id)),
                _ => None,
            });
            // If the thread has ended, nobody drives the reactor.
            let ended = || state.ended.load(Ordering::Acquire).then_some(Err(Misuse::NotOpen));
            sent.or_else(ended)
        })
    }

    /// Wakes a thread that iterates: a released connection reports no end, so it has to check
    /// again.
    fn look_again(&self) {
        if self.0.iterates.load(Ordering::SeqCst) {
            self.0.queue.wake();
        }
    }

    /// The state whose waits an interrupter ends.
    pub(super) fn state(&self) -> &Arc<State<S>> {
        &self.0
    }

    /// How many connections still have bytes to send, or wait for the server's answer.
    pub(super) fn pending(&self) -> usize {
        self.with(|reactor| reactor.pending())
    }

    /// Reports no events of a connection until [`Client::resume`], except those already taken from
    /// the reactor; see [`Reactor::pause`].
    pub fn pause(&self, id: ConnId) {
        self.with(|reactor| reactor.pause(id));
    }

    /// Resumes a paused connection.
    pub fn resume(&self, id: ConnId) {
        self.with(|reactor| reactor.resume(id));
    }

    /// The counters of a WebSocket; see [`Reactor::stats`].
    pub fn stats(&self, id: ConnId) -> Option<Stats> {
        self.with(|reactor| reactor.stats(id))
    }

    /// How many bytes were accepted and not yet taken by the kernel.
    pub fn buffered(&self, id: ConnId) -> usize {
        self.with(|reactor| reactor.buffered(id))
    }

    /// Ends the current wait of [`Events`], or its next one.
    pub fn wake(&self) {
        self.0.queue.wake();
    }

    /// See [`Shared::quietly`].
    #[cfg(feature = "luau")]
    pub(crate) fn quietly<R>(&self, act: impl FnOnce(&mut Reactor<S>) -> R) -> R {
        self.0.shared.quietly(act)
    }

    /// Returns errors of the call only; events report what becomes of an accepted message.
    fn act(
        &self,
        id: ConnId,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        self.with(|reactor| reactor.act_now(id, act)).map(drop)
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Reactor<S>) -> R) -> R {
        let result = self.0.shared.with(act);
        // This call may have written the bytes for which another thread waits.
        self.0.drained.look();
        result
    }
}

impl<S: Sys> Events<S> {
    /// Waits for events until `until` (`None`: without a limit) and passes the oldest batch of them
    /// to `each`; returns how many. 0 after that time, or after [`Client::wake`].
    ///
    /// # Errors
    ///
    /// The system could not wait any more, and the thread has ended: there will be no events, and
    /// every later call returns an error.
    pub fn wait(
        &mut self,
        until: Option<Instant>,
        mut each: impl FnMut(ConnId, Event<'_>),
    ) -> io::Result<usize> {
        if !self.taken.is_empty() {
            let taken = std::mem::take(&mut self.taken);
            let count = taken.len();
            taken.into_iter().for_each(|(id, event)| each(id, event));
            return Ok(count);
        }
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

    /// As [`Events::wait`], into `batch`, which is emptied first. Its events count as consumed at
    /// once.
    pub(crate) fn take(&mut self, until: Option<Instant>, batch: &mut Batch) -> io::Result<()> {
        self.state.queue.take(&self.state.shared, until, batch)
    }

    /// An iterator over the events, which waits for the next one; each event owns its memory. It
    /// ends when no event can come any more: the end of every connection was returned. For a
    /// connection that is opened later, perhaps by another thread, call it again; so open before
    /// you iterate. [`Client::close_all`] makes it end, [`Client::wake`] does not.
    ///
    /// After an error, as of [`Events::wait`], it ends.
    ///
    /// ```no_run
    /// use moonwire::{Client, Config, Event, Options};
    ///
    /// let (client, mut events) = Client::spawn(Config::default())?;
    /// client.open(Options::new("wss://example.com/")?)?;
    /// for event in &mut events {
    ///     let (conn, event) = event?;
    ///     match event {
    ///         Event::Opened(_) => client.send_text(conn, "hello").unwrap_or_default(),
    ///         Event::Text(text) => println!("{}", text.as_str()),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&mut self) -> EventIter<'_, S> {
        EventIter { events: self, failed: false }
    }

    /// Takes the events that have come, or waits for some. Returns `false` if none will come.
    fn refill(&mut self) -> io::Result<bool> {
        let mut batch = std::mem::take(&mut self.batch);
        let state = &*self.state;
        // Set before checking what is left, so that a thread that releases a connection afterwards
        // sees it.
        state.iterates.store(true, Ordering::SeqCst);
        let mut taken = state.queue.take(&state.shared, Some(Instant::now()), &mut batch);
        let mut goes_on = true;
        if taken.is_ok() && batch.is_empty() {
            goes_on = !state.queue.has_ended(&state.shared);
            if goes_on {
                taken = state.queue.take(&state.shared, None, &mut batch);
            }
        }
        state.iterates.store(false, Ordering::SeqCst);
        self.taken.extend(batch.drain().map(|(id, event)| (id, event.into_owned())));
        batch.clear();
        self.batch = batch;
        taken.map(|()| goes_on)
    }
}

/// The events of a [`Client`], one by one: [`Events::iter`].
pub struct EventIter<'a, S: Sys = Os> {
    events: &'a mut Events<S>,
    failed: bool,
}

impl<S: Sys> Iterator for EventIter<'_, S> {
    type Item = io::Result<(ConnId, Event<'static>)>;

    fn next(&mut self) -> Option<io::Result<(ConnId, Event<'static>)>> {
        loop {
            if let Some(event) = self.events.taken.pop_front() {
                return Some(Ok(event));
            }
            if self.failed {
                return None;
            }
            match self.events.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<'a, S: Sys> IntoIterator for &'a mut Events<S> {
    type Item = io::Result<(ConnId, Event<'static>)>;
    type IntoIter = EventIter<'a, S>;

    /// [`Events::iter`].
    fn into_iter(self) -> EventIter<'a, S> {
        self.iter()
    }
}

impl<S: Sys> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl<S: Sys> fmt::Debug for Events<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl<S: Sys> fmt::Debug for EventIter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventIter").finish_non_exhaustive()
    }
}

impl<S: Sys> Wake for State<S> {
    fn wake(&self) {
        self.queue.wake();
    }
}

impl<S: Sys> Events<S> {
    /// Ends the thread as dropping does, but at the latest after `limit` (`None`: as long as the
    /// kernel takes bytes). Returns how many accepted bytes were not sent, without those that an
    /// event has reported.
    pub fn finish(self, limit: Option<Duration>) -> u64 {
        if let Some(limit) = limit {
            // It is set only here.
            let _ = self.state.limit.set(after(self.state.shared.clock(), limit));
        }
        let state = Arc::clone(&self.state);
        drop(self);
        state.shared.with(|reactor| reactor.lost())
    }
}

#[cfg(feature = "luau")]
impl Events {
    /// When this is dropped, open connections get no time to close.
    pub(crate) fn hurry(&self) {
        self.state.hurry.store(true, Ordering::Release);
    }
}

impl<S: Sys> Drop for Events<S> {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        self.state.shared.with(|reactor| reactor.release_all(&CloseFrame::new(1001, "")));
        self.state.shared.wake();
        if let Some(thread) = self.thread.take() {
            // The thread may have panicked in the program's code; `PollGuard` has reported that.
            let _ = thread.join();
        }
    }
}

/// Holds the events that the thread has received and not handed over. If the program's policy or
/// observer panics, the thread ends, and dropping the guard reports that to a waiting thread.
struct PollGuard<'a, S: Sys> {
    state: &'a State<S>,
    batch: Batch,
}

impl<S: Sys> Drop for PollGuard<'_, S> {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        if std::thread::panicking() {
            let error = io::Error::other("the policy or the observer has panicked");
            self.state.queue.fail(&error, &mut self.batch);
        }
        self.state.ended.store(true, Ordering::Release);
        self.state.drained.look();
    }
}

fn poll<S: Sys>(state: &State<S>) {
    let mut guard = PollGuard { state, batch: Batch::default() };
    let mut ready = Vec::new();
    let (mut ending, mut end) = (None, None);
    let mut wait = state.queue.begin(&state.shared, end, &mut guard.batch);
    loop {
        if state.stop.load(Ordering::Acquire) {
            let now = state.shared.clock();
            let left = |reactor: &mut Reactor<S>| {
                (reactor.pending(), reactor.unsent(), reactor.limits().linger)
            };
            let (pending, unsent, linger) = state.shared.with(left);
            let ending =
                ending.get_or_insert_with(|| Ending::new(state.limit.get().copied(), linger));
            let may_end = ending.may_end(pending, unsent, now);
            end = ending.until();
            if may_end || state.hurry.load(Ordering::Acquire) {
                // Other handles keep the reactor alive, and with it the sockets.
                return state.shared.with(Reactor::abandon_all);
            }
        }
        let next = state.queue.go_on(&state.shared, wait, end, &mut ready, &mut guard.batch);
        let Some(next) = next else { return };
        state.drained.look();
        wait = next;
    }
}
