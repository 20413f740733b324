//! The poll loop: wait, read, parse, report, check the timers, write.

mod conn;
mod core;
mod driver;
mod flow;
mod gate;
mod kept;
mod keys;
mod tail;
mod turn;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use self::core::Core;
use self::driver::{Driver, Past};
use self::flow::HeldBytes;
use self::gate::Gates;
use self::kept::Kept;
use self::keys::Keys;
use super::ask::{Ask, Config};
use super::event::ConnId;
use super::sys::{BorrowedFd, Interest, Os, OwnedFd, Poller, Ready, Sys};
use super::time::earlier;
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::session::Session;
use crate::proto::buf::Spares;
use crate::proto::ws::message::Message;
use crate::proto::{CloseFrame, Context, Misuse, Stats, Transport};

pub use conn::{Conn, Sink};

/// All connections of one thread, and the state that they share. [`Reactor::turn`] makes one round;
/// the thread that calls it is the poll thread.
///
/// ```no_run
/// use moonwire::{Config, Conn, Event, Options, Reactor};
///
/// let mut reactor = Reactor::new(Config::default())?;
/// reactor.open(Options::new("wss://example.com/")?)?;
/// while !reactor.is_empty() {
///     reactor.turn(None, &mut |conn: &mut Conn<'_>, event: Event<'_>| match event {
///         Event::Opened(_) => conn.send_text("hello").unwrap_or_default(),
///         Event::Text(text) => println!("{}", text.as_str()),
///         Event::Closed(why) => println!("{why}"),
///         _ => {}
///     })?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reactor<S: Sys = Os> {
    core: Core<S>,
    slots: Vec<Slot<S>>,
    free: Vec<usize>,
    timers: BTreeSet<(Instant, ConnId)>,
    /// Connections that were taken out of `timers` since a turn had no room for them.
    late: Vec<ConnId>,
    /// Ready sockets; the last turn had no room for those from `ready_at` on.
    ready: Vec<Ready>,
    ready_at: usize,
}

enum Slot<S: Sys> {
    Used(Box<Driver<S>>),
    /// Free for a connection of this generation. `past` is the data of the previous one, for calls
    /// that still use its id.
    Free {
        generation: u32,
        past: Option<Box<Past>>,
    },
}

impl<S: Sys> Slot<S> {
    fn driver(&self) -> Option<&Driver<S>> {
        match self {
            Slot::Used(driver) => Some(driver),
            Slot::Free { .. } => None,
        }
    }

    fn driver_mut(&mut self) -> Option<&mut Driver<S>> {
        match self {
            Slot::Used(driver) => Some(driver),
            Slot::Free { .. } => None,
        }
    }

    /// The generation of the next connection in this slot.
    fn next_generation(&self) -> u32 {
        match self {
            Slot::Used(driver) => next_generation(driver.id),
            Slot::Free { generation, .. } => *generation,
        }
    }

    /// The data of the connection `id` if it has ended, and no other has taken the slot yet.
    fn past_of(&self, id: ConnId) -> Option<&Past> {
        match self {
            Slot::Free { generation, past } if *generation == next_generation(id) => {
                past.as_deref()
            }
            _ => None,
        }
    }
}

impl Reactor {
    /// A reactor on the operating system.
    ///
    /// # Errors
    ///
    /// The system has no descriptor or no random source for it.
    pub fn new(config: Config) -> io::Result<Reactor> {
        let os = Os::new(&config.limits)?;
        Reactor::with_sys(os, config)
    }

    /// A reactor for a face with one connection: it uses as few descriptors as possible.
    pub(in crate::net) fn of_one(mut config: Config) -> io::Result<Reactor> {
        // No later request could use a kept connection.
        config.limits.kept = 0;
        let os = Os::with_poll(&config.limits)?;
        Reactor::with_sys(os, config)
    }

    /// The sockets to wait for, and the conditions, for an event loop of the program that cannot
    /// wait for an epoll descriptor. Valid until the next call of this reactor. Empty on Linux with
    /// epoll, where `epoll_fd` returns one descriptor for all. The first descriptor is the waker.
    /// It may also become readable, once each, at a time for which an earlier turn has waited.
    pub fn interests(&self) -> Vec<(Arc<OwnedFd>, Interest)> {
        self.core.sys.poller().interests()
    }

    /// The epoll descriptor: readable when a turn has something to do before [`Reactor::deadline`].
    /// It also becomes readable, once each, at a time for which an earlier turn has waited; a turn
    /// then finds nothing to do. `None` for a reactor on poll, and on every system but Linux.
    pub fn epoll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.core.sys.poller().epoll_fd()
    }
}

impl<S: Sys> Reactor<S> {
    /// A reactor on another system, such as a simulated network.
    ///
    /// # Errors
    ///
    /// The random source of `sys` fails.
    pub fn with_sys(mut sys: S, config: Config) -> io::Result<Reactor<S>> {
        // Fails here, and not later, if there is no random source.
        sys.random(&mut [0; 4])?;
        let now = sys.now();
        let mut limits = config.limits;
        limits.receive_buffer = limits.receive_buffer.max(4096);
        // With 0, a turn would have no room for anything, and turns would follow each other for
        // ever.
        limits.turn = limits.turn.max(1);
        let limits = Arc::new(limits);
        let gates = Gates::new(limits.opening_per_peer);
        let kept = Kept::new(&limits);
        Ok(Reactor {
            core: Core {
                sys,
                keys: Keys::new(),
                limits,
                resolve: config.resolve,
                policy: config.policy,
                #[cfg(feature = "tls")]
                tls: config.tls,
                #[cfg(feature = "tls")]
                proxy_tls: config.proxy_tls,
                proxy: config.proxy,
                observer: config.observer,
                #[cfg(feature = "tape")]
                tape: config.tape,
                buf: None,
                cipher: Vec::new(),
                spares: Spares::default(),
                gates,
                kept,
                open: 0,
                fresh: VecDeque::new(),
                dirty: Vec::new(),
                backlog: VecDeque::new(),
                running: None,
                panicked: Vec::new(),
                lazy: false,
                now,
                handed: 0,
                held: HeldBytes::default(),
                lost: 0,
                sends: 0,
                corked: None,
            },
            slots: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            late: Vec::new(),
            ready: Vec::new(),
            ready_at: 0,
        })
    }

    /// The limits in its configuration.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }

    /// The poller; its [`Poller::wake`] ends a wait of this reactor from another thread.
    pub fn poller(&self) -> Arc<S::Poller> {
        Arc::clone(self.core.sys.poller())
    }

    /// How many connections have not ended or are draining. A connection that is kept for another
    /// request ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)) has ended.
    pub fn len(&self) -> usize {
        self.core.open
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.core.open == 0
    }

    /// Starts to open a WebSocket ([`Options`](crate::Options)) or a stream
    /// ([`StreamOptions`](crate::StreamOptions)). The work begins with the next turn, and
    /// [`Event::Closed`](super::Event::Closed) reports a failure. The only error here is that there
    /// are too many connections.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooManyConnections`](crate::ErrorKind::TooManyConnections).
    pub fn open(&mut self, ask: impl Into<Ask>) -> Result<ConnId, Error> {
        self.open_asked(ask.into())
    }

    fn open_asked(&mut self, ask: Ask) -> Result<ConnId, Error> {
        let max = self.core.limits.connections.min(1 << ConnId::INDEX);
        if self.core.open >= max {
            let kind = ErrorKind::TooManyConnections(max);
            return Err(Error::new(ask.url(), Stage::Url, kind));
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free { generation: 0, past: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        let id = ConnId::new(index, slot.next_generation().into());
        self.core.now = self.core.sys.now();
        let mut driver = Box::new(Driver::new(id, ask, &self.core));
        driver.touch(&mut self.core);
        *slot = Slot::Used(driver);
        self.core.open += 1;
        self.core.fresh.push_back(id);
        Ok(id)
    }

    /// Queues a text message. The next [`Reactor::flush`] or turn writes it; or this call does, if
    /// [`Limits::cork`] bytes are queued or, checked at every eighth send, bytes have been queued
    /// for [`Limits::cork_time`].
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_text(&mut self, id: ConnId, text: &str) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_text(cx, text))
    }

    /// Queues a binary message, as [`Reactor::send_text`] does.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_binary(&mut self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_binary(cx, data))
    }

    /// Queues a text message uncompressed, even if compression was negotiated;
    /// [`Compression`](crate::proto::Compression) describes when that is needed.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_text_plain(&mut self, id: ConnId, text: &str) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_text_plain(cx, text))
    }

    /// Queues a binary message uncompressed, as [`Reactor::send_text_plain`] does.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_binary_plain(&mut self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.act(id, |session, cx| session.send_binary_plain(cx, data))
    }

    /// Queues a ping with at most 125 bytes.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, the payload has more than 125 bytes, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn ping(&mut self, id: ConnId, data: &[u8]) -> Result<(), Misuse> {
        self.look_at_clock();
        self.act(id, |session, cx| session.ping(cx, data))
    }

    /// Reads the clock for a time limit that starts now: the last turn may be long ago.
    pub(in crate::net) fn look_at_clock(&mut self) {
        self.core.now = self.core.sys.now();
    }

    /// Starts the closing handshake behind everything that is queued, or answers the server's close
    /// frame.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or the code or the reason may not be sent (RFC 6455
    /// §7.4, §5.5.1).
    pub fn close(&mut self, id: ConnId, frame: &CloseFrame) -> Result<(), Misuse> {
        self.core.now = self.core.sys.now();
        self.act(id, |session, cx| session.close(cx, frame))
    }

    /// Sends the close frame that [`Options::hold_close`](crate::Options::hold_close) held back;
    /// otherwise does nothing.
    pub fn answer_close(&mut self, id: ConnId) {
        self.core.now = self.core.sys.now();
        let _ = self.act(id, |session, cx| {
            session.answer_close(cx);
            Ok(())
        });
    }

    /// Releases a connection: an open one is closed with `frame`, one that is not open yet is
    /// dropped. Its events are no longer reported.
    pub fn release(&mut self, id: ConnId, frame: &CloseFrame) {
        self.core.now = self.core.sys.now();
        if let Some((core, driver)) = self.get(id) {
            driver.release(core, frame);
        }
    }

    /// Releases all connections, as [`Reactor::release`] does.
    pub fn release_all(&mut self, frame: &CloseFrame) {
        self.core.now = self.core.sys.now();
        self.core.kept.end_all(&mut self.core.sys);
        for slot in &mut self.slots {
            if let Some(driver) = slot.driver_mut() {
                driver.release(&mut self.core, frame);
            }
        }
    }

    /// Closes every socket, whatever is in progress; only the observer is notified.
    pub(crate) fn abandon_all(&mut self) {
        self.core.kept.end_all(&mut self.core.sys);
        for index in 0..self.slots.len() {
            if let Some(driver) = self.slots[index].driver_mut() {
                self.core.lost += driver.unsent() as u64;
                let (id, how) = (driver.id, driver.left_as());
                driver.release_socket(&mut self.core);
                self.arm(id);
                if let Some(how) = how {
                    self.core.trace(id, || format!("ended: {how}"));
                }
            }
        }
    }

    /// Reports no events of a connection until [`Reactor::resume`], and does not read its socket:
    /// TCP makes the server wait. Input that was read already waits, too. Sending goes on.
    /// Meanwhile no limit counts on the server's silence or on bytes that it does not take. But if
    /// we have begun to close, [`Limits::close`](crate::Limits::close) still counts, so resume to
    /// get the answer.
    ///
    /// If the connection breaks, or a time limit passes, earlier events and the end are reported
    /// nevertheless.
    pub fn pause(&mut self, id: ConnId) {
        if let Some((core, driver)) = self.get(id) {
            driver.pause(core);
        }
    }

    /// Resumes a paused connection in the next turn.
    pub fn resume(&mut self, id: ConnId) {
        self.core.now = self.core.sys.now();
        if let Some((core, driver)) = self.get(id) {
            driver.resume(core);
        }
    }

    /// The transport of a connection: its ends, its proxy, TLS. `None` until its socket leads to
    /// the server, and after its end. The times of opening are reported once, in
    /// [`Opened`](crate::proto::Opened) and [`Response`](crate::proto::http::Response).
    pub fn transport(&mut self, id: ConnId) -> Option<Transport> {
        let (core, driver) = self.get(id)?;
        Some(driver.live()?.transport(&core.sys))
    }

    /// The counters of a WebSocket, for bytes, messages, pings and compression. `None` before it is
    /// open, and for a stream. After its end the last counters stay until another connection takes
    /// its slot ([`Conn::stats`] has them at the final event).
    pub fn stats(&self, id: ConnId) -> Option<Stats> {
        let slot = self.slots.get(id.index())?;
        match slot.driver().filter(|driver| driver.id == id) {
            Some(driver) => driver.stats(),
            None => slot.past_of(id)?.stats,
        }
    }

    /// How many bytes of a connection the kernel has not taken.
    pub fn buffered(&mut self, id: ConnId) -> usize {
        self.get(id).map_or(0, |(_, driver)| driver.buffered())
    }

    /// How many bytes of all connections were accepted and not sent. While this is above 0, a
    /// program that ends loses some.
    pub fn unsent(&self) -> u64 {
        self.drivers().map(|driver| driver.unsent() as u64).sum()
    }

    /// How many accepted bytes of released connections ([`Reactor::release`]) were not sent. For
    /// other connections, see [`Error::unsent`].
    pub fn lost(&self) -> u64 {
        self.core.lost
    }

    /// How many connections have work left: they have bytes to send, or wait for the server's
    /// answer. The others that [`Reactor::len`] counts only wait for the server to close the TCP
    /// connection (RFC 6455 §7.1.1); a program that ends need not wait for that.
    pub fn pending(&self) -> usize {
        self.drivers().filter(|driver| driver.is_pending()).count()
    }

    fn drivers(&self) -> impl Iterator<Item = &Driver<S>> {
        self.slots.iter().filter_map(Slot::driver)
    }

    /// Whether the program can send messages on a connection.
    pub fn is_open(&mut self, id: ConnId) -> bool {
        let live = self.get(id).and_then(|(_, driver)| driver.live());
        live.is_some_and(|live| live.session.is_open())
    }

    /// How many connections there are whose end will be reported to the program.
    pub(in crate::net) fn listened(&self) -> usize {
        self.drivers().filter(|driver| driver.has_listener()).count()
    }

    /// `Ok` if the connection has a session; otherwise the error with how it ended.
    pub(in crate::net) fn check_live(&mut self, id: ConnId) -> Result<(), Misuse> {
        match self.get(id).and_then(|(_, driver)| driver.live()) {
            Some(_) => Ok(()),
            None => Err(self.ended(id)),
        }
    }

    /// Closes every open WebSocket, as [`Reactor::close`] does. Releases streams and connections
    /// that are not open yet, as [`Reactor::release`] does.
    pub fn close_all(&mut self, frame: &CloseFrame) {
        self.core.now = self.core.sys.now();
        self.core.kept.end_all(&mut self.core.sys);
        let listened = self.drivers().filter(|driver| driver.has_listener());
        let ids: Vec<ConnId> = listened.map(|driver| driver.id).collect();
        for id in ids {
            // A WebSocket that is closing already stays, so that its end is reported.
            if !self.is_web_socket(id) {
                self.release(id, frame);
            } else {
                let _ = self.act(id, |session, cx| session.close(cx, frame));
            }
        }
    }

    /// Whether this is a WebSocket whose opening handshake is complete.
    fn is_web_socket(&mut self, id: ConnId) -> bool {
        let live = self.get(id).and_then(|(_, driver)| driver.live());
        live.is_some_and(|live| live.session.is_web_socket())
    }

    /// Random bytes from the system's CSPRNG.
    pub(crate) fn random(&mut self) -> [u8; 16] {
        self.core.keys.with(&mut self.core.sys).bytes()
    }

    /// When the next turn is due at the latest. Valid until the next call of this reactor.
    pub fn deadline(&self) -> Option<Instant> {
        if self.has_work() {
            return Some(self.core.now);
        }
        earlier(self.next_timer(), self.core.sys.poller().look_again(self.core.now))
    }

    /// When the first deadline passes, or a kept connection has to be closed.
    fn next_timer(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        earlier(timer, self.core.kept.deadline())
    }

    /// Makes one round: writes what is queued, waits for sockets until `until` or the next
    /// deadline, reads, reports events to `sink`, and writes what that has queued. With `until` in
    /// the past it does not wait; `None` sets no limit.
    ///
    /// A panic of the sink, the policy or the observer is passed on. If the program catches it, the
    /// reactor is in a valid state: the next turn reports the connection concerned as lost
    /// ([`ErrorKind::Panicked`](crate::ErrorKind::Panicked)), and the others go on.
    ///
    /// # Errors
    ///
    /// The system cannot wait any more. Errors of a connection are events.
    pub fn turn(&mut self, until: Option<Instant>, sink: &mut dyn Sink) -> io::Result<()> {
        if let Some(deadline) = self.before_wait(until, sink) {
            let poller = Arc::clone(self.core.sys.poller());
            poller.wait(self.core.now, deadline, &mut self.ready)?;
        }
        self.after_wait(sink);
        Ok(())
    }

    /// How many empty send buffers wait for a connection that sends.
    #[cfg(test)]
    pub(in crate::net) fn spare_buffers(&self) -> usize {
        self.core.spares.len()
    }

    /// How many bytes the last turn has handled.
    pub(in crate::net) fn handed(&self) -> usize {
        self.core.handed
    }

    /// The time by the clock of the reactor's system.
    pub(in crate::net) fn clock(&self) -> Instant {
        self.core.sys.now()
    }

    /// The time that this reactor has read last.
    #[cfg(feature = "luau")]
    pub(in crate::net) fn now(&self) -> Instant {
        self.core.now
    }

    /// Adds ready sockets that another thread's wait has returned.
    pub(in crate::net) fn add_ready(&mut self, ready: &mut Vec<Ready>) {
        self.ready.append(ready);
    }

    /// Records that `bytes` of those that [`Conn::hold`] has counted for a connection were
    /// consumed.
    pub fn consumed(&mut self, id: ConnId, bytes: usize) {
        if let Some((core, driver)) = self.get(id) {
            driver.flow.held = driver.flow.held.saturating_sub(bytes);
            driver.balance(core);
        }
    }

    /// While `lazy`, a turn only reads the input of an open connection: [`Reactor::pull`] takes the
    /// messages one by one, and the next turn does everything else.
    pub(in crate::net) fn be_lazy(&mut self, lazy: bool) {
        self.core.lazy = lazy;
    }

    /// The next message of a connection, if all of it was read.
    pub(in crate::net) fn pull(&mut self, id: ConnId) -> Option<Message<'_>> {
        let (core, driver) = self.get(id)?;
        driver.pull(core)
    }

    /// Whether there is input that was read and not parsed.
    pub(in crate::net) fn is_behind(&self) -> bool {
        !self.core.backlog.is_empty()
    }

    /// Whether a connection may be unread until events are consumed: not while few bytes are held.
    pub(in crate::net) fn may_be_unread(&self) -> bool {
        self.core.held.bytes() > self.core.limits.low_water.min(self.core.limits.high_water)
    }

    /// Whether a turn would not wait.
    pub(in crate::net) fn has_work(&self) -> bool {
        !self.core.fresh.is_empty()
            || !self.core.dirty.is_empty()
            || self.core.gates.is_freed()
            || !self.core.backlog.is_empty()
            || self.ready_at < self.ready.len()
            || self.core.running.is_some()
            || !self.core.panicked.is_empty()
    }

    fn get(&mut self, id: ConnId) -> Option<(&mut Core<S>, &mut Driver<S>)> {
        let slot = self.slots.get_mut(id.index())?;
        let driver = slot.driver_mut().filter(|d| d.id == id)?;
        Some((&mut self.core, driver))
    }

    fn act(
        &mut self,
        id: ConnId,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        let Some((core, driver)) = self.get(id) else { return Err(self.ended(id)) };
        let Some(live) = driver.live() else { return Err(self.ended(id)) };
        live.session.borrow_memory(&mut core.spares);
        if let Err(e) = act(&mut live.session, &mut core.context()) {
            return Err(self.explained(id, e));
        }
        let buffered = live.session.buffered();
        driver.touch(core);
        self.cork(id, buffered);
        Ok(())
    }

    /// Acts on an open connection and writes the result at once; returns whether nothing is left to
    /// do. Otherwise a turn is needed, which has to wait if bytes are queued.
    pub(in crate::net) fn act_now(
        &mut self,
        id: ConnId,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> Result<(), Misuse>,
    ) -> Result<bool, Misuse> {
        let Some((core, driver)) = self.get(id) else { return Err(self.ended(id)) };
        let Some(live) = driver.live() else { return Err(self.ended(id)) };
        live.session.borrow_memory(&mut core.spares);
        if let Err(e) = act(&mut live.session, &mut core.context()) {
            return Err(self.explained(id, e));
        }
        if driver.write_early(core) && driver.is_settled(core) {
            driver.return_memory(core);
            return Ok(true);
        }
        driver.touch(core);
        self.flush();
        Ok(false)
    }

    /// The error of a call that cannot send: how the connection ended, if that is known.
    #[cold]
    fn ended(&self, id: ConnId) -> Misuse {
        let Some(slot) = self.slots.get(id.index()) else { return Misuse::NotOpen };
        let past = match slot.driver().filter(|driver| driver.id == id) {
            Some(driver) => driver.past.as_deref(),
            None => slot.past_of(id),
        };
        let how = past.and_then(|past| past.how.as_ref());
        how.map_or(Misuse::NotOpen, |how| Misuse::Ended(Arc::clone(how)))
    }

    #[cold]
    fn explained(&self, id: ConnId, misuse: Misuse) -> Misuse {
        if misuse == Misuse::NotOpen { self.ended(id) } else { misuse }
    }

    /// Writes before the next turn if many bytes are queued, or for a long time.
    fn cork(&mut self, id: ConnId, buffered: usize) {
        /// Reading the clock costs as much as a small send, so only one in this many sends reads
        /// it.
        const LOOK: u32 = 8;
        if buffered >= self.core.limits.cork {
            if let Some((core, driver)) = self.get(id) {
                // If this fails, the next turn reports the error.
                let _ = driver.write_early(core);
            }
            return;
        }
        self.core.sends = self.core.sends.wrapping_add(1);
        if self.core.sends.is_multiple_of(LOOK) {
            let now = self.core.sys.now();
            let since = *self.core.corked.get_or_insert(now);
            if now.saturating_duration_since(since) > self.core.limits.cork_time {
                self.flush();
            }
        }
    }
}

impl<S: Sys> fmt::Debug for Reactor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("open", &self.core.open).finish_non_exhaustive()
    }
}

/// The generation of the slot when another connection takes it.
fn next_generation(id: ConnId) -> u32 {
    ((id.generation() + 1) & ((1 << 29) - 1)) as u32
}
