//! A blocking WebSocket: a reactor with one connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use super::interrupter::{Interrupter, is_interrupted};
use super::message::{Message, Received};
use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::{Config, Options};
use crate::net::event::{Closed, ConnId, Event};
use crate::net::reactor::{Conn, Reactor};
use crate::net::sys::{Os, Sys};
use crate::net::time::after;
#[cfg(feature = "deflate")]
use crate::proto::Agreed;
use crate::proto::ws::message::Message as CoreMessage;
use crate::proto::{CloseFrame, Fields, Misuse, Opened, Stats, Transport, Url};

/// Opens a WebSocket and waits until it is open, at most [`crate::Limits::opening`].
///
/// ```no_run
/// let mut ws = moonwire::connect("wss://example.com/chat")?;
/// ws.send_text("hello")?;
/// while let Some(message) = ws.read()? {
///     println!("{message:?}");
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
///
/// # Errors
///
/// As [`Options::new`] and [`Options::connect`].
pub fn connect(url: &str) -> Result<WebSocket, Error> {
    Options::new(url)?.connect()
}

impl Options {
    /// Opens the connection and waits until it is open.
    ///
    /// # Errors
    ///
    /// Whatever prevents the connection from opening: the policy, DNS, connecting, TLS, a proxy, a
    /// server that refuses ([`Error::response`]), a time limit. [`Error::stage`] is the step that
    /// failed, and [`Error::is_transient`] whether a later attempt may succeed.
    pub fn connect(self) -> Result<WebSocket, Error> {
        self.connect_with(Config::default())
    }

    /// As [`Options::connect`], with a configuration: TLS, limits, overrides, an observer.
    ///
    /// # Errors
    ///
    /// As [`Options::connect`]; and if the system has no descriptor left.
    pub fn connect_with(self, config: Config) -> Result<WebSocket, Error> {
        self.start(config, Reactor::of_one)?.opened()
    }

    /// As [`Options::connect_with`], on another system, such as a simulated network.
    ///
    /// # Errors
    ///
    /// As [`Options::connect`]; a random source that fails is [`ErrorKind::Io`].
    pub fn connect_on<S: Sys>(self, sys: S, config: Config) -> Result<WebSocket<S>, Error> {
        self.start(config, |config| Reactor::with_sys(sys, config))?.opened()
    }

    /// As [`Options::connect_with`]; `interrupter` can end this call, which drops the connection,
    /// and later the calls of the WebSocket.
    ///
    /// # Errors
    ///
    /// As [`Options::connect`], and [`ErrorKind::Interrupted`].
    pub fn connect_interruptible(
        self,
        config: Config,
        interrupter: &Interrupter,
    ) -> Result<WebSocket, Error> {
        let mut ws = self.start(config, Reactor::of_one)?;
        ws.attach(interrupter.clone());
        ws.opened()
    }

    fn start<S: Sys>(
        self,
        mut config: Config,
        make: impl FnOnce(Config) -> io::Result<Reactor<S>>,
    ) -> Result<WebSocket<S>, Error> {
        // Each message is copied into memory of its own, and the program reads it soon: the
        // messages of one turn should fit in the cache, and not be many megabytes of small
        // allocations.
        config.limits.turn = config.limits.turn.min(TURN);
        let url = self.url().clone();
        let io = |e| Error::new(&url, Stage::Connect, ErrorKind::Io(e));
        let mut reactor = make(config).map_err(io)?;
        // The program can then still answer a message, even if a close frame came right behind it.
        let id = reactor.open(self.kept_alive().hold_close(true))?;
        let (reactor, inbox) = (UntilSplit(Some(reactor)), Inbox::default());
        Ok(WebSocket { url, reactor, id, inbox, write_timeout: None, interrupter: None })
    }
}

/// A turn of this face reports at most this many bytes, even if [`crate::Limits::turn`] allows
/// more.
const TURN: usize = 64 * 1024;

/// An open connection whose calls block. Dropping it closes the connection.
///
/// One thread uses it at a time, since a waiting call borrows it. For two threads, of which one
/// sends while the other waits for messages, split it ([`WebSocket::split`]); with a lock around
/// the whole, the sender would wait for the server. An [`Interrupter`] ends a call from another
/// thread.
///
/// ```no_run
/// use moonwire::{Message, Options};
///
/// let mut ws = Options::new("wss://echo.example/")?.protocol("chat")?.connect()?;
/// ws.send_text("hello")?;
/// while let Some(message) = ws.read()? {
///     match message {
///         Message::Text(text) => println!("{text}"),
///         Message::Binary(data) => println!("{} bytes", data.len()),
///     }
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
pub struct WebSocket<S: Sys = Os> {
    url: Url,
    reactor: UntilSplit<Reactor<S>>,
    id: ConnId,
    inbox: Inbox,
    write_timeout: Option<Duration>,
    interrupter: Option<Interrupter>,
}

/// The contents of a handle until it is split: no field can be moved out of it, since it implements
/// `Drop`. INVARIANT: empty only between [`WebSocket::into_parts`], which consumes the handle, and
/// its drop.
struct UntilSplit<T>(Option<T>);

impl<T> Deref for UntilSplit<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // The invariant holds for every input.
        self.0.as_ref().expect("the handle was split")
    }
}

impl<T> DerefMut for UntilSplit<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("the handle was split")
    }
}

/// The parts of an open connection, for another face.
pub(super) struct Parts<S: Sys> {
    pub(super) url: Url,
    pub(super) reactor: Reactor<S>,
    pub(super) id: ConnId,
    pub(super) inbox: Inbox,
    pub(super) interrupter: Option<Interrupter>,
}

/// Received events that were not returned to the program yet.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) opened: Option<Box<Opened>>,
    pub(super) messages: VecDeque<Received>,
    /// Whether pongs are kept for the program.
    pub(super) pongs: bool,
    /// The payload of the ping for whose pong a call waits.
    awaited: Option<[u8; 16]>,
    /// Our close frame is held back until the program has read the messages.
    pub(super) closing: bool,
    /// The server's close frame.
    pub(super) got: Option<CloseFrame>,
    /// The final event, until its error was returned.
    pub(super) closed: Option<Closed>,
    pub(super) ended: bool,
    /// `Some` during [`WebSocket::close`]: reading goes on, and at most this many more bytes are
    /// kept.
    room: Option<usize>,
}

impl Inbox {
    /// Keeps the contents of an event. Returns a [`Received`] if the program is to get one; the
    /// caller counts it as held.
    pub(super) fn put(&mut self, event: Event<'_>) -> Option<Received> {
        match event {
            Event::Text(text) => {
                return Some(Received::Message(Message::Text(text.into_string())));
            }
            Event::Binary(data) => {
                return Some(Received::Message(Message::Binary(data.into_owned())));
            }
            Event::Pong(data) if self.awaited.is_some_and(|awaited| *data == awaited) => {
                self.awaited = None;
            }
            Event::Pong(data) if self.pongs => return Some(Received::Pong(data.into_owned())),
            Event::Opened(opened) => self.opened = Some(opened),
            Event::Closed(closed) => {
                self.closed = Some(closed);
                self.closing = true;
                self.ended = true;
            }
            Event::Closing(frame) => {
                self.closing = true;
                self.got = Some(frame);
            }
            // A pong that nobody asked for; or an event of a stream.
            _ => {}
        }
        None
    }

    /// Keeps `received` for the program, and counts it as held.
    fn hold(&mut self, conn: &mut Conn<'_>, received: Received) {
        let cost = received.cost();
        match &mut self.room {
            None => conn.hold(cost),
            Some(room) if *room >= cost => *room -= cost,
            Some(_) => return,
        }
        self.messages.push_back(received);
    }

    /// The end: an error once; a clean close each time.
    pub(super) fn end(&mut self) -> Result<Received, Error> {
        match self.closed.take() {
            Some(Closed::Clean(frame)) => {
                self.closed = Some(Closed::Clean(frame.clone()));
                Ok(Received::Closed(frame))
            }
            Some(Closed::Failed(e) | Closed::Lost(e)) => Err(e),
            Some(Closed::Complete) | None => Ok(Received::Closed(CloseFrame::default())),
        }
    }
}

impl<S: Sys> WebSocket<S> {
    /// The subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&str> {
        self.inbox.opened.as_ref()?.protocol.as_deref()
    }

    /// The fields of the server's 101 response.
    pub fn headers(&self) -> Option<&Fields> {
        self.inbox.opened.as_ref().map(|opened| &opened.headers)
    }

    /// How messages are compressed; `None`: they are not.
    #[cfg(feature = "deflate")]
    pub fn compression(&self) -> Option<Agreed> {
        self.inbox.opened.as_ref()?.compression
    }

    /// The transport of the connection: the ends of the socket, a proxy, TLS, and how long opening
    /// took.
    pub fn transport(&self) -> Option<&Transport> {
        self.inbox.opened.as_ref()?.transport.as_deref()
    }

    /// Waits until the connection is open.
    fn opened(mut self) -> Result<WebSocket<S>, Error> {
        while self.inbox.opened.is_none() {
            if let Some(closed) = self.inbox.closed.take() {
                return Err(match closed {
                    Closed::Failed(e) | Closed::Lost(e) => e,
                    Closed::Clean(_) | Closed::Complete => self.error(ErrorKind::Released),
                });
            }
            self.look_for_interrupt()?;
            self.turn(None)?;
        }
        Ok(self)
    }

    /// A handle that ends a blocking call of this one from another thread: a call that reads, waits
    /// for a pong or for the end of [`WebSocket::close`], or waits until the kernel takes what it
    /// sends. In that case the whole message is in the queue, as after a write timeout.
    pub fn interrupter(&mut self) -> Interrupter
    where
        S: 'static,
    {
        match &self.interrupter {
            Some(interrupter) => interrupter.clone(),
            None => {
                self.attach(Interrupter::new());
                self.interrupter.clone().unwrap_or_default()
            }
        }
    }

    fn attach(&mut self, interrupter: Interrupter)
    where
        S: 'static,
    {
        interrupter.attach(&self.reactor.poller());
        self.interrupter = Some(interrupter);
    }

    fn look_for_interrupt(&self) -> Result<(), Error> {
        match is_interrupted(self.interrupter.as_ref()) {
            true => Err(self.error(ErrorKind::Interrupted)),
            false => Ok(()),
        }
    }

    /// Whether [`WebSocket::read_timeout`] returns pongs ([`Received::Pong`]), in order with the
    /// messages; default `false`. [`WebSocket::read`] skips them in any case, and the pong for
    /// which [`WebSocket::round_trip`] waits is never returned.
    pub fn set_pongs(&mut self, pongs: bool) {
        self.inbox.pongs = pongs;
    }

    /// Sends a ping and waits for its pong; returns how long that took, or `None` if it took longer
    /// than `timeout`. The payload is random, so that no other pong is mistaken for it. Messages
    /// that come meanwhile, and other pongs if switched on, are kept for the calls that read.
    ///
    /// The time is from this call to the read that found the pong: bytes queued before the ping are
    /// sent first, and bytes that the server sent before its pong are read first. Past
    /// [`crate::Limits::high_water`] bytes of unread messages, the pong is not read.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`] and [`WebSocket::read`]. If the connection ends, even cleanly, the
    /// error is [`Misuse::Ended`], and the next call that reads returns the end.
    pub fn round_trip(&mut self, timeout: Duration) -> Result<Option<Duration>, Error> {
        let start = self.reactor.clock();
        let until = after(start, timeout);
        let payload = self.reactor.random();
        self.inbox.awaited = Some(payload);
        let waited = self.ping(&payload).and_then(|()| self.wait_for_pong(start, until));
        self.inbox.awaited = None;
        waited
    }

    fn wait_for_pong(&mut self, start: Instant, until: Instant) -> Result<Option<Duration>, Error> {
        let mut late = false;
        while self.inbox.awaited.is_some() {
            if self.inbox.ended || self.inbox.got.is_some() {
                // No pong comes behind a close frame (RFC 6455 §5.5.1).
                let ended = self.reactor.check_live(self.id).err().unwrap_or(Misuse::NotOpen);
                return Err(self.error(ErrorKind::Misuse(ended)));
            }
            if late {
                return Ok(None);
            }
            self.look_for_interrupt()?;
            late = until <= self.reactor.clock();
            self.turn(Some(until))?;
        }
        Ok(Some(self.reactor.clock().saturating_duration_since(start)))
    }

    /// How long a call that sends may take; `None`, the default: as long as the kernel takes bytes.
    /// If the kernel takes none for [`crate::Limits::stall`], the connection is lost.
    ///
    /// After a call that took too long ([`ErrorKind::WriteTimeout`]), the whole message is in the
    /// queue: do not send it again. Later calls send the unsent bytes ([`Error::unsent`]),
    /// including calls that read or close.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    /// The value of [`WebSocket::set_write_timeout`].
    pub fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    /// The counters for bytes, messages, pings and compression; they stay after the end.
    pub fn stats(&self) -> Stats {
        self.reactor.stats(self.id).unwrap_or_default()
    }

    /// How many bytes the kernel has not taken: none, unless a call that sends took too long or was
    /// interrupted.
    pub fn buffered(&mut self) -> usize {
        self.reactor.buffered(self.id)
    }

    /// Sends a text message; returns when the kernel has taken it (but see
    /// [`WebSocket::set_write_timeout`]). Meanwhile pings are answered, and received messages are
    /// kept for [`WebSocket::read`]. Past [`crate::Limits::high_water`] bytes of them the socket is
    /// not read: a program that only sends, and a server that sends until it is read, then wait for
    /// each other. So read now and then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`]: the connection is no longer open; the text contains how it ended.
    /// [`ErrorKind::WriteTimeout`], [`ErrorKind::Interrupted`], or the error with which the
    /// connection failed while the call waited.
    pub fn send_text(&mut self, text: &str) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.send_text(cx, text));
        self.sent(sent)
    }

    /// Sends a binary message, as [`WebSocket::send_text`] does.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_text`].
    pub fn send_binary(&mut self, data: &[u8]) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.send_binary(cx, data));
        self.sent(sent)
    }

    /// Sends a text message uncompressed, even if compression was negotiated;
    /// [`Compression`](crate::proto::Compression) describes when that is needed.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_text`].
    #[cfg(feature = "deflate")]
    pub fn send_text_plain(&mut self, text: &str) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.send_text_plain(cx, text));
        self.sent(sent)
    }

    /// Sends a binary message uncompressed, as [`WebSocket::send_text_plain`] does.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_text`].
    #[cfg(feature = "deflate")]
    pub fn send_binary_plain(&mut self, data: &[u8]) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.send_binary_plain(cx, data));
        self.sent(sent)
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_text`].
    pub fn send(&mut self, message: &Message) -> Result<(), Error> {
        match message {
            Message::Text(text) => self.send_text(text),
            Message::Binary(data) => self.send_binary(data),
        }
    }

    /// Sends a ping with at most 125 bytes.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_text`]; and [`ErrorKind::Misuse`] for a longer payload.
    pub fn ping(&mut self, data: &[u8]) -> Result<(), Error> {
        self.reactor.look_at_clock();
        let sent = self.reactor.act_now(self.id, |session, cx| session.ping(cx, data));
        self.sent(sent)
    }

    /// The next message; `None` after the connection was closed cleanly. If it failed or was lost,
    /// returns that error once, then `None`.
    ///
    /// # Errors
    ///
    /// Why the connection failed or was lost, once; [`ErrorKind::Interrupted`], after which reading
    /// can go on.
    pub fn read(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.receive(None)? {
                Received::Message(message) => return Ok(Some(message)),
                Received::Pong(_) => {}
                Received::Closed(_) | Received::Nothing => return Ok(None),
            }
        }
    }

    /// The next message, if it comes within `timeout`. Zero returns only what has already come.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::read`].
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Received, Error> {
        self.receive(self.reactor.clock().checked_add(timeout))
    }

    /// Closes the connection: sends the close frame behind everything else and waits for the
    /// server's, at most [`crate::Limits::close`] after ours was sent. Returns the server's close
    /// frame. At most [`crate::Limits::high_water`] bytes of messages that come meanwhile are kept
    /// for [`WebSocket::read`]; the others are discarded.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] for a code or a reason that may not be sent (RFC 6455 §7.4, §5.5.1);
    /// or how the connection ended, unless cleanly, for example [`ErrorKind::NoCloseAnswer`].
    pub fn close(&mut self, code: u16, reason: &str) -> Result<CloseFrame, Error> {
        match self.reactor.close(self.id, &CloseFrame::new(code, reason)) {
            // The closing handshake has begun already, or the connection has ended.
            Ok(()) | Err(Misuse::NotOpen | Misuse::Ended(_)) => {}
            Err(e) => return Err(self.error(ErrorKind::Misuse(e))),
        }
        self.inbox.room = Some(self.reactor.limits().high_water);
        let held = self.inbox.messages.iter().map(Received::cost).sum();
        self.reactor.consumed(self.id, held);
        while !self.has_ended() {
            self.look_for_interrupt()?;
            self.turn(None)?;
        }
        match self.end()? {
            Received::Closed(frame) => Ok(frame),
            _ => Ok(CloseFrame::default()),
        }
    }

    fn receive(&mut self, until: Option<Instant>) -> Result<Received, Error> {
        loop {
            if let Some(message) = self.inbox.messages.pop_front() {
                self.reactor.consumed(self.id, message.cost());
                return Ok(message);
            }
            // Most messages are taken straight out of the receive buffer.
            match self.reactor.pull(self.id) {
                Some(CoreMessage::Text(text)) => {
                    return Ok(Received::Message(Message::Text(text.into_string())));
                }
                Some(CoreMessage::Binary(data)) => {
                    return Ok(Received::Message(Message::Binary(data.into_owned())));
                }
                None => {}
            }
            if std::mem::take(&mut self.inbox.closing) {
                self.reactor.answer_close(self.id);
                self.reactor.flush();
            }
            if self.has_ended() {
                self.reactor.flush();
                return self.end();
            }
            self.look_for_interrupt()?;
            let late = until.is_some_and(|u| u <= self.reactor.clock());
            // Another turn can follow within the timeout, if this one reads no message.
            self.reactor.be_lazy(!late);
            let turned = self.turn(until);
            self.reactor.be_lazy(false);
            turned?;
            if late && self.inbox.messages.is_empty() && !self.has_ended() {
                return Ok(Received::Nothing);
            }
        }
    }

    /// Whether the connection has ended, or only waits for the server to close the TCP connection:
    /// both close frames were exchanged, and no bytes are waiting. Some servers leave that to the
    /// client.
    fn has_ended(&self) -> bool {
        self.inbox.ended || (self.inbox.got.is_some() && self.reactor.pending() == 0)
    }

    /// The end: an error once; a clean close each time.
    fn end(&mut self) -> Result<Received, Error> {
        if !self.inbox.ended
            && let Some(got) = &self.inbox.got
        {
            let got = got.clone();
            self.reactor.abandon_all();
            return Ok(Received::Closed(got));
        }
        self.inbox.end()
    }

    fn sent(&mut self, sent: Result<bool, Misuse>) -> Result<(), Error> {
        if sent.map_err(|e| self.error(ErrorKind::Misuse(e)))? {
            return Ok(());
        }
        let until = self.write_timeout.map(|limit| (limit, after(self.reactor.clock(), limit)));
        while self.reactor.buffered(self.id) > 0 {
            if let Some((limit, until)) = until
                && until <= self.reactor.clock()
            {
                let error = self.error(ErrorKind::WriteTimeout(limit));
                return Err(error.with_unsent(self.reactor.unsent() as usize));
            }
            if is_interrupted(self.interrupter.as_ref()) {
                let error = self.error(ErrorKind::Interrupted);
                return Err(error.with_unsent(self.reactor.unsent() as usize));
            }
            self.turn(until.map(|(_, until)| until))?;
            // The connection ended before the kernel took all bytes.
            if self.inbox.ended && self.reactor.buffered(self.id) == 0 {
                self.end()?;
                let nothing = self.reactor.act_now(self.id, |_, _| Err(Misuse::NotOpen));
                return self.sent(nothing);
            }
        }
        Ok(())
    }

    fn turn(&mut self, until: Option<Instant>) -> Result<(), Error> {
        let inbox = &mut self.inbox;
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            if let Some(received) = inbox.put(event) {
                inbox.hold(conn, received);
            }
        };
        let turned = self.reactor.turn(until, &mut sink);
        turned.map_err(|e: io::Error| self.error(ErrorKind::Io(e)))
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.url, Stage::Open, kind)
    }

    /// The parts of the connection, which is not closed. `None` if they were taken already, which
    /// no caller can do.
    pub(super) fn into_parts(mut self) -> Option<Parts<S>> {
        let reactor = self.reactor.0.take()?;
        let (inbox, interrupter) = (std::mem::take(&mut self.inbox), self.interrupter.take());
        Some(Parts { url: self.url.clone(), reactor, id: self.id, inbox, interrupter })
    }
}

impl<S: Sys> fmt::Debug for WebSocket<S> {
    /// Shows the URL as errors do, and no messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("url", &self.url.to_string())
            .field("unread", &self.inbox.messages.len())
            .field("ended", &self.inbox.ended)
            .finish_non_exhaustive()
    }
}

impl<S: Sys> Drop for WebSocket<S> {
    /// Sends a close frame (1001) if none was sent, and does not wait for the answer.
    fn drop(&mut self) {
        if self.reactor.0.is_none() {
            return;
        }
        self.reactor.release(self.id, &CloseFrame::new(1001, ""));
        self.reactor.flush();
        // Reads and discards received bytes: if the socket had unread bytes, closing it would reset
        // the connection, and the close frame could be lost.
        let past = self.reactor.clock();
        let mut nobody = |_: &mut Conn<'_>, _: Event<'_>| {};
        while self.reactor.is_behind() {
            let _ = self.reactor.turn(Some(past), &mut nobody);
        }
        for _ in 0..READS_AT_END {
            let turned = self.reactor.turn(Some(past), &mut nobody);
            if turned.is_err() || self.reactor.handed() == 0 {
                break;
            }
        }
    }
}

/// At most this many turns read at the end of a handle. That is more than a socket holds by
/// default, and bounds the time for a server that never stops.
const READS_AT_END: usize = 32;

#[cfg(test)]
mod tests {
    /// An open connection without an unfinished message has no timer but its keep-alive ping.
    #[test]
    #[cfg(feature = "cli")]
    fn a_face_whose_program_waits_pings_unless_that_is_off() {
        use super::*;
        use crate::net::Client;
        use crate::peer::Server;

        let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap().spawn().unwrap();
        let options = || Options::new(server.url()).unwrap();
        let second = Some(Duration::from_secs(1));
        for (options, pings) in [
            (options(), true),
            (options().ping_interval(second), true),
            (options().ping_interval(None), false),
        ] {
            let ws = options.clone().connect().unwrap();
            assert_eq!(ws.reactor.deadline().is_some(), pings, "{options:?}");

            let (client, mut events) = Client::spawn(Config::default()).unwrap();
            let id = client.open(options.clone()).unwrap();
            events.wait(None, |_, event| assert!(matches!(event, Event::Opened(_)))).unwrap();
            let deadline = client.with(|reactor| reactor.deadline());
            assert_eq!(deadline.is_some(), pings, "{options:?}");
            assert!(client.with(|reactor| reactor.is_open(id)));

            // A reactor that the program drives pings only if the options set an interval.
            let mut reactor = Reactor::new(Config::default()).unwrap();
            let id = reactor.open(options.clone()).unwrap();
            while !reactor.is_open(id) {
                reactor.turn(None, &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
            }
            let asked = options.ping_interval == Some(second);
            assert_eq!(reactor.deadline().is_some(), asked, "{options:?}");
        }
    }

    /// After a send has returned, no bytes are left, even over TLS, where rustls may hold some.
    #[test]
    #[cfg(all(feature = "cli", feature = "tls"))]
    fn a_send_that_is_over_has_left_nothing_behind() {
        use super::*;
        use crate::peer::{self, Server};

        for secure in [false, true] {
            let to = ([127, 0, 0, 1], 0).into();
            let server = match secure {
                false => Server::bind(to),
                true => Server::bind_tls(to, peer::CHAIN_PEM, peer::KEY_PEM),
            };
            let server = server.unwrap().spawn().unwrap();
            let tls = Some(crate::tls_config(peer::CA_PEM).unwrap());
            let config = Config { tls, ..Config::default() };
            let mut ws = Options::new(server.url()).unwrap().connect_with(config).unwrap();
            // The test reads nothing, so the server, which echoes, stops reading too.
            let data = [7; 3000];
            for _ in 0..20_000 {
                let sent = ws.reactor.act_now(ws.id, |session, cx| session.send_binary(cx, &data));
                let left = ws.reactor.buffered(ws.id);
                assert!(sent == Ok(false) || left == 0, "{left} bytes are left");
                if left > 0 {
                    break;
                }
            }
            assert!(ws.reactor.buffered(ws.id) > 0);
        }
    }
}
