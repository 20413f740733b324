//! A WebSocket that blocks: the simple face, a reactor with one connection inside.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::{Config, Options};
use crate::net::event::{Closed, ConnId, Event};
use crate::net::reactor::{Conn, Reactor};
use crate::net::time::after;
use crate::proto::ws::message::Message as Lent;
use crate::proto::{CloseFrame, Fields, Misuse, Opened, Url};

/// Opens a WebSocket connection and waits until it is open, at most [`crate::Limits::opening`].
///
/// ```no_run
/// let mut ws = moonwire::connect("wss://example.com/chat")?;
/// ws.send_text("hello")?;
/// while let Some(message) = ws.read()? {
///     println!("{message:?}");
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
pub fn connect(url: &str) -> Result<WebSocket, Error> {
    Options::new(url)?.connect()
}

impl Options {
    /// Opens the connection and waits until it is open.
    pub fn connect(self) -> Result<WebSocket, Error> {
        self.connect_with(Config::default())
    }

    /// The same with a configuration: TLS, limits, overrides, an observer.
    pub fn connect_with(self, mut config: Config) -> Result<WebSocket, Error> {
        // A message is owned here, and read soon: what one turn brings had better stay in the
        // cache than be many megabytes of small allocations.
        config.limits.turn = config.limits.turn.min(TURN);
        let url = self.url().clone();
        let io = |e| Error::new(&url, Stage::Connect, ErrorKind::Io(e));
        let mut reactor = Reactor::of_one(config).map_err(io)?;
        // So that a message can be answered though a close frame came right behind it.
        let id = reactor.open(self.kept_alive().hold_close(true))?;
        let inbox = Inbox::default();
        let mut ws = WebSocket { url, reactor, id, inbox, write_timeout: None };
        while ws.inbox.opened.is_none() {
            if let Some(closed) = ws.inbox.closed.take() {
                return Err(match closed {
                    Closed::Failed(e) | Closed::Lost(e) => e,
                    Closed::Clean(_) | Closed::Complete => ws.error(ErrorKind::Dropped),
                });
            }
            ws.turn(None)?;
        }
        Ok(ws)
    }
}

/// The most that a turn of the blocking face hands over, whatever [`crate::Limits::turn`] allows.
const TURN: usize = 64 * 1024;

/// A message of the blocking face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Vec<u8>),
}

/// What came within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message(Message),
    /// The connection was closed cleanly; what the server's close frame said.
    Closed(CloseFrame),
    /// Nothing.
    Nothing,
}

/// An open connection whose calls block. Dropping it closes it.
pub struct WebSocket {
    url: Url,
    reactor: Reactor,
    id: ConnId,
    inbox: Inbox,
    write_timeout: Option<Duration>,
}

#[derive(Default)]
struct Inbox {
    opened: Option<Box<Opened>>,
    messages: VecDeque<Message>,
    /// Our close frame waits until the messages have been read.
    closing: bool,
    /// The server's close frame.
    got: Option<CloseFrame>,
    /// The last event, taken out when it is an error that was given.
    closed: Option<Closed>,
    ended: bool,
    /// While it closes, reading goes on whatever comes, and so many bytes are still kept.
    room: Option<usize>,
}

impl Inbox {
    fn put(&mut self, conn: &mut Conn<'_>, message: Message) {
        let cost = message.cost();
        match &mut self.room {
            None => conn.hold(cost),
            Some(room) if *room >= cost => *room -= cost,
            Some(_) => return,
        }
        self.messages.push_back(message);
    }
}

impl Message {
    /// What it counts against the high-water mark.
    fn cost(&self) -> usize {
        size_of::<Message>()
            + match self {
                Message::Text(text) => text.len(),
                Message::Binary(data) => data.len(),
            }
    }
}

impl WebSocket {
    /// The subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&str> {
        self.inbox.opened.as_ref()?.protocol.as_deref()
    }

    /// The fields of the server's 101 response.
    pub fn headers(&self) -> Option<&Fields> {
        self.inbox.opened.as_ref().map(|opened| &opened.headers)
    }

    /// How long a call that sends may take at most; `None`, the default: as long as the line moves,
    /// and [`crate::Limits::stall`] if it does not, after which the connection is lost.
    ///
    /// After a call that took too long ([`ErrorKind::WriteTimeout`]) the message is in the queue, whole:
    /// do not send it again. What has not left ([`Error::unsent`]) leaves in later calls, those that
    /// read or close among them.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    /// As it was set.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    /// Bytes that wait to be handed to the kernel: none, unless a call that sends took too long.
    pub fn buffered(&mut self) -> usize {
        self.reactor.buffered(self.id)
    }

    /// Sends a text message; returns when the kernel has taken it, or see
    /// [`WebSocket::set_write_timeout`]. Pings are answered meanwhile, and messages that come wait for
    /// [`WebSocket::read`]; past [`crate::Limits::high_water`] bytes of them the socket is not read, so
    /// a server that waits for that before it reads on and a program that only sends wait for each
    /// other: read now and then.
    pub fn send_text(&mut self, text: &str) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.send_text(cx, text));
        self.sent(sent)
    }

    /// Sends a binary message, as [`WebSocket::send_text`] does.
    pub fn send_binary(&mut self, data: &[u8]) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.send_binary(cx, data));
        self.sent(sent)
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Message) -> Result<(), Error> {
        match message {
            Message::Text(text) => self.send_text(text),
            Message::Binary(data) => self.send_binary(data),
        }
    }

    /// Sends a ping with at most 125 bytes.
    pub fn ping(&mut self, data: &[u8]) -> Result<(), Error> {
        let sent = self.reactor.act_now(self.id, |session, cx| session.ping(cx, data));
        self.sent(sent)
    }

    /// The next message; `None` when the connection was closed cleanly. A connection that failed
    /// or was lost is an error, once; afterwards `None`.
    pub fn read(&mut self) -> Result<Option<Message>, Error> {
        match self.receive(None)? {
            Received::Message(message) => Ok(Some(message)),
            Received::Closed(_) | Received::Nothing => Ok(None),
        }
    }

    /// The next message, if it comes within `timeout`. Zero looks at what is there.
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Received, Error> {
        self.receive(Instant::now().checked_add(timeout))
    }

    /// Closes: sends the close frame behind everything else and waits for the server's, at most
    /// [`crate::Limits::close`] from when it has left. Messages that come meanwhile are kept for
    /// [`WebSocket::read`] up to [`crate::Limits::high_water`] bytes; the rest is thrown away. What
    /// the server's close frame said.
    pub fn close(&mut self, code: u16, reason: &str) -> Result<CloseFrame, Error> {
        match self.reactor.close(self.id, &CloseFrame::new(code, reason)) {
            // It is being closed, or is closed, already.
            Ok(()) | Err(Misuse::NotOpen | Misuse::Ended(_)) => {}
            Err(e) => return Err(self.error(ErrorKind::Misuse(e))),
        }
        self.inbox.room = Some(self.reactor.limits().high_water);
        let held = self.inbox.messages.iter().map(Message::cost).sum();
        self.reactor.consumed(self.id, held);
        while !self.is_over() {
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
                return Ok(Received::Message(message));
            }
            // Straight out of the receive buffer, as most messages are.
            match self.reactor.pull(self.id) {
                Some(Lent::Text(text)) => {
                    return Ok(Received::Message(Message::Text(text.into_string())));
                }
                Some(Lent::Binary(data)) => {
                    return Ok(Received::Message(Message::Binary(data.into_owned())));
                }
                None => {}
            }
            if std::mem::take(&mut self.inbox.closing) {
                self.reactor.answer_close(self.id);
                self.reactor.flush();
            }
            if self.is_over() {
                self.reactor.flush();
                return self.end();
            }
            let late = until.is_some_and(|u| u <= Instant::now());
            // There is time for another turn, if what this one reads is no message.
            self.reactor.be_lazy(!late);
            let turned = self.turn(until);
            self.reactor.be_lazy(false);
            turned?;
            if late && self.inbox.messages.is_empty() && !self.is_over() {
                return Ok(Received::Nothing);
            }
        }
    }

    /// Whether it has ended, or will as soon as the server closes the TCP connection: both close
    /// frames have passed, and nothing waits. Some servers leave that to the client.
    fn is_over(&self) -> bool {
        self.inbox.ended || (self.inbox.got.is_some() && self.reactor.pending() == 0)
    }

    /// How it ended: an error once, and `Closed` as often as it is asked for.
    fn end(&mut self) -> Result<Received, Error> {
        if !self.inbox.ended
            && let Some(got) = &self.inbox.got
        {
            let got = got.clone();
            self.reactor.abandon_all();
            return Ok(Received::Closed(got));
        }
        match self.inbox.closed.take() {
            Some(Closed::Clean(frame)) => {
                self.inbox.closed = Some(Closed::Clean(frame.clone()));
                Ok(Received::Closed(frame))
            }
            Some(Closed::Failed(e) | Closed::Lost(e)) => Err(e),
            Some(Closed::Complete) | None => Ok(Received::Closed(CloseFrame::default())),
        }
    }

    fn sent(&mut self, sent: Result<bool, Misuse>) -> Result<(), Error> {
        if sent.map_err(|e| self.error(ErrorKind::Misuse(e)))? {
            return Ok(());
        }
        let until = self.write_timeout.map(|limit| (limit, after(Instant::now(), limit)));
        while self.reactor.buffered(self.id) > 0 {
            if let Some((limit, until)) = until
                && until <= Instant::now()
            {
                let error = self.error(ErrorKind::WriteTimeout(limit));
                return Err(error.with_unsent(self.reactor.unsent() as usize));
            }
            self.turn(until.map(|(_, until)| until))?;
            // It ended before the kernel took everything.
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
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| match event {
            Event::Text(text) => inbox.put(conn, Message::Text(text.into_string())),
            Event::Binary(data) => inbox.put(conn, Message::Binary(data.into_owned())),
            Event::Opened(opened) => inbox.opened = Some(opened),
            Event::Closed(closed) => {
                inbox.closed = Some(closed);
                inbox.closing = true;
                inbox.ended = true;
            }
            Event::Closing(frame) => {
                inbox.closing = true;
                inbox.got = Some(frame);
            }
            // A pong; and what a stream would tell.
            _ => {}
        };
        let turned = self.reactor.turn(until, &mut sink);
        turned.map_err(|e: io::Error| self.error(ErrorKind::Io(e)))
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.url, Stage::Open, kind)
    }
}

impl Drop for WebSocket {
    /// Sends a close frame (1001) if none was sent, without waiting for the answer.
    fn drop(&mut self) {
        self.reactor.release(self.id, &CloseFrame::new(1001, ""));
        self.reactor.flush();
        // What has arrived is read away: unread, it would turn the end into a reset, which can
        // take the close frame with it.
        let mut nobody = |_: &mut Conn<'_>, _: Event<'_>| {};
        while self.reactor.is_behind() {
            let _ = self.reactor.turn(Some(Instant::now()), &mut nobody);
        }
        for _ in 0..READS_AT_END {
            let turned = self.reactor.turn(Some(Instant::now()), &mut nobody);
            if turned.is_err() || self.reactor.handed() == 0 {
                break;
            }
        }
    }
}

/// Reads at the end of a handle, of [`crate::Limits::receive_buffer_max`] bytes each at most: more
/// than a socket holds by default, and an end where the server never stops.
const READS_AT_END: usize = 32;

#[cfg(test)]
mod tests {
    /// Without a message under way, an open connection waits for its keep-alive ping alone.
    #[test]
    #[cfg(feature = "cli")]
    fn a_face_whose_owner_waits_pings_unless_it_is_told_not_to() {
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

            // A loop of its own pings when it is told to.
            let mut reactor = Reactor::new(Config::default()).unwrap();
            let id = reactor.open(options.clone()).unwrap();
            while !reactor.is_open(id) {
                reactor.turn(None, &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
            }
            let asked = options.ping_interval == Some(second);
            assert_eq!(reactor.deadline().is_some(), asked, "{options:?}");
        }
    }

    /// A send is over when the kernel has all of it, over TLS too, which may hold something back.
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
            // Nothing is read, so that the server, which echoes, ceases to read as well.
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
