//! A WebSocket in two halves, for a thread that sends and a thread that receives.
//!
//! The connection moves into a [`Client`], whose thread polls its socket. Neither half holds a lock
//! while it waits.

use std::fmt;
use std::time::{Duration, Instant};

use super::client::{Client, Events};
use super::interrupter::{Interrupter, is_interrupted};
use super::message::{Message, Received};
use super::websocket::{Inbox, Parts, WebSocket};
use crate::error::{Error, ErrorKind, Stage};
use crate::net::event::ConnId;
use crate::net::reactor::Reactor;
use crate::net::sys::{Os, Sys};
use crate::net::time::after;
use crate::proto::{Fields, Misuse, Transport, Url};

/// The sending half of a [`WebSocket`]; clones send on the same connection, from any thread.
///
/// A call encodes and writes on the calling thread and never waits, neither for the [`Receiver`]
/// nor for the server. Bytes that the kernel does not take at once are queued, and the thread of
/// the connection writes them. If the queue is full
/// ([`Limits::send_queue`](crate::Limits::send_queue)), the call returns [`Misuse::Full`] and does
/// not accept the message. [`Sender::flush`] waits.
///
/// Dropping all clones does not end the connection: the [`Receiver`] keeps it.
///
/// ```no_run
/// let (sender, _receiver) = moonwire::connect("wss://echo.example/")?.split()?;
/// let another = sender.clone();
/// std::thread::spawn(move || another.send_text("from another thread"));
/// sender.send_text("from this one")?;
/// # Ok::<(), moonwire::Error>(())
/// ```
pub struct Sender<S: Sys = Os> {
    client: Client<S>,
    id: ConnId,
    url: Url,
}

/// The receiving half of a [`WebSocket`], which keeps the connection.
///
/// Pings are answered whether the program reads or not. Received messages wait until the program
/// reads them; past [`Limits::high_water`](crate::Limits::high_water) bytes of them the socket is
/// not read, and TCP makes the server wait. The server's close frame is answered when the program
/// has read everything before it: until then the [`Sender`] may send.
///
/// Dropping it closes the connection (1001), as dropping [`Events`] does: it waits until accepted
/// bytes are sent, as long as the kernel takes some, and then for the server's answer, at most
/// [`Limits::linger`](crate::Limits::linger). Afterwards every call of the [`Sender`] returns an
/// error.
///
/// ```no_run
/// let (sender, mut receiver) = moonwire::connect("wss://echo.example/")?.split()?;
/// while let Some(message) = receiver.read()? {
///     sender.send(&message)?; // an echo
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
pub struct Receiver<S: Sys = Os> {
    client: Client<S>,
    events: Events<S>,
    id: ConnId,
    url: Url,
    inbox: Inbox,
    /// How many messages at the front of the inbox came before the split, and still count as held.
    held: usize,
    interrupter: Option<Interrupter>,
}

impl<S: Sys + 'static> WebSocket<S> {
    /// Splits it into two halves, for two threads: one sends while the other waits for messages.
    /// The [`Receiver`] returns messages that have come already, in order. An [`Interrupter`] of
    /// this handle ends the calls of the [`Receiver`] from now on. A write timeout no longer
    /// applies.
    ///
    /// ```no_run
    /// let (sender, mut receiver) = moonwire::connect("wss://example.com/chat")?.split()?;
    /// std::thread::spawn(move || {
    ///     while let Ok(Some(message)) = receiver.read() {
    ///         println!("{message:?}");
    ///     }
    /// });
    /// sender.send_text("hello")?;
    /// # Ok::<(), moonwire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The system cannot create a thread ([`ErrorKind::Io`]); then the connection is lost.
    pub fn split(self) -> Result<(Sender<S>, Receiver<S>), Error> {
        // Splitting consumes the handle, so it was not split before.
        let Some(Parts { url, reactor, id, inbox, interrupter }) = self.into_parts() else {
            return Err(Error::new("", Stage::Open, ErrorKind::ClientEnded));
        };
        let spawned = Client::of(reactor);
        let (client, events) =
            spawned.map_err(|e| Error::new(&url, Stage::Open, ErrorKind::Io(e)))?;
        if let Some(interrupter) = &interrupter {
            interrupter.attach(client.state());
        }
        let sender = Sender { client: client.clone(), id, url: url.clone() };
        let held = inbox.messages.len();
        Ok((sender, Receiver { client, events, id, url, inbox, held, interrupter }))
    }
}

impl<S: Sys> Sender<S> {
    /// Sends a text message: writes it at once, or as soon as the kernel takes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`]: the queue is full ([`Misuse::Full`]), or the connection is closed, or
    /// it has ended ([`Misuse::Ended`], with the reason).
    pub fn send_text(&self, text: &str) -> Result<(), Error> {
        self.client.send_text(self.id, text).map_err(|e| self.error(e))
    }

    /// Sends a binary message, as [`Sender::send_text`] does.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_text`].
    pub fn send_binary(&self, data: &[u8]) -> Result<(), Error> {
        self.client.send_binary(self.id, data).map_err(|e| self.error(e))
    }

    /// Sends a text message uncompressed, even if compression was negotiated;
    /// [`Compression`](crate::proto::Compression) describes when that is needed.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_text`].
    #[cfg(feature = "deflate")]
    pub fn send_text_plain(&self, text: &str) -> Result<(), Error> {
        self.client.send_text_plain(self.id, text).map_err(|e| self.error(e))
    }

    /// Sends a binary message uncompressed, as [`Sender::send_text_plain`] does.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_text`].
    #[cfg(feature = "deflate")]
    pub fn send_binary_plain(&self, data: &[u8]) -> Result<(), Error> {
        self.client.send_binary_plain(self.id, data).map_err(|e| self.error(e))
    }

    /// Sends a message, as [`Sender::send_text`] does.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_text`].
    pub fn send(&self, message: &Message) -> Result<(), Error> {
        match message {
            Message::Text(text) => self.send_text(text),
            Message::Binary(data) => self.send_binary(data),
        }
    }

    /// Sends a ping with at most 125 bytes. The [`Receiver`] returns its pong if it was asked for
    /// pongs ([`Receiver::set_pongs`]).
    ///
    /// # Errors
    ///
    /// As [`Sender::send_text`]; and if the payload is too long.
    pub fn ping(&self, data: &[u8]) -> Result<(), Error> {
        self.client.ping(self.id, data).map_err(|e| self.error(e))
    }

    /// Starts the closing handshake behind everything that is queued. Does not wait for its end,
    /// which the [`Receiver`] reports.
    ///
    /// # Errors
    ///
    /// The connection is closed already, or the code or the reason may not be sent.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), Error> {
        self.client.close(self.id, code, reason).map_err(|e| self.error(e))
    }

    /// How many bytes were accepted and not yet taken by the kernel.
    pub fn buffered(&self) -> usize {
        self.client.buffered(self.id)
    }

    /// Whether the program can send messages at this moment; the connection may end at any time.
    pub fn is_open(&self) -> bool {
        self.client.is_open(self.id)
    }

    /// Waits until the kernel has taken everything that was accepted, for at most `timeout`
    /// (`None`: as long as the kernel takes bytes). Returns whether it has. Not needed before
    /// [`Sender::close`]: the close frame is sent behind everything else.
    ///
    /// # Errors
    ///
    /// The connection has ended, cleanly or not, and how. The [`Receiver`] reports whether
    /// everything was sent.
    pub fn flush(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        self.client.flush(self.id, timeout).map_err(|e| self.error(e))
    }

    fn error(&self, misuse: Misuse) -> Error {
        Error::new(&self.url, Stage::Open, ErrorKind::Misuse(misuse))
    }
}

impl<S: Sys> Receiver<S> {
    /// The subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&str> {
        self.inbox.opened.as_ref()?.protocol.as_deref()
    }

    /// The fields of the server's 101 response.
    pub fn headers(&self) -> Option<&Fields> {
        self.inbox.opened.as_ref().map(|opened| &opened.headers)
    }

    /// The transport of the connection; see [`WebSocket::transport`].
    pub fn transport(&self) -> Option<&Transport> {
        self.inbox.opened.as_ref()?.transport.as_deref()
    }

    /// Whether [`Receiver::read_timeout`] returns the pongs that are received from now on, as with
    /// [`WebSocket::set_pongs`].
    pub fn set_pongs(&mut self, pongs: bool) {
        self.inbox.pongs = pongs;
    }

    /// A handle that ends a blocking call of this half from another thread.
    pub fn interrupter(&mut self) -> Interrupter
    where
        S: 'static,
    {
        let state = self.client.state();
        let interrupter = self.interrupter.get_or_insert_with(|| {
            let interrupter = Interrupter::new();
            interrupter.attach(state);
            interrupter
        });
        interrupter.clone()
    }

    /// The next message; `None` after the connection was closed cleanly. If it failed or was lost,
    /// returns that error once, then `None`.
    ///
    /// # Errors
    ///
    /// How the connection has ended, unless cleanly; [`ErrorKind::Interrupted`].
    pub fn read(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.receive(None)? {
                Received::Message(message) => return Ok(Some(message)),
                Received::Pong(_) => {}
                Received::Closed(_) | Received::Nothing => return Ok(None),
            }
        }
    }

    /// The next message, if it comes within `timeout` by the clock of the machine. Zero returns
    /// only what has already come.
    ///
    /// # Errors
    ///
    /// As [`Receiver::read`].
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Received, Error> {
        self.receive(Some(after(Instant::now(), timeout)))
    }

    fn receive(&mut self, until: Option<Instant>) -> Result<Received, Error> {
        loop {
            if let Some(received) = self.inbox.messages.pop_front() {
                if self.held > 0 {
                    self.held -= 1;
                    self.client.with(|reactor| reactor.consumed(self.id, received.cost()));
                }
                return Ok(received);
            }
            if std::mem::take(&mut self.inbox.closing) {
                self.client.answer_close(self.id);
            }
            if self.inbox.ended {
                return self.inbox.end();
            }
            // Both close frames were exchanged. Some servers leave it to the client to end TCP.
            if let Some(got) = &self.inbox.got
                && self.client.pending() == 0
            {
                self.client.with(Reactor::abandon_all);
                return Ok(Received::Closed(got.clone()));
            }
            if is_interrupted(self.interrupter.as_ref()) {
                return Err(self.error(ErrorKind::Interrupted));
            }
            // Checked before the wait, so that a timeout of zero returns what has come.
            let late = until.is_some_and(|until| until <= Instant::now());
            let (inbox, mut received_any) = (&mut self.inbox, false);
            let waited = self.events.wait(until, |_, event| {
                received_any = true;
                let received = inbox.put(event);
                inbox.messages.extend(received);
            });
            waited.map_err(|e| self.error(ErrorKind::Io(e)))?;
            if late && !received_any {
                return Ok(Received::Nothing);
            }
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.url, Stage::Open, kind)
    }
}

impl<S: Sys> Clone for Sender<S> {
    fn clone(&self) -> Sender<S> {
        Sender { client: self.client.clone(), id: self.id, url: self.url.clone() }
    }
}

impl<S: Sys> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

impl<S: Sys> fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("url", &self.url.to_string())
            .field("unread", &self.inbox.messages.len())
            .field("ended", &self.inbox.ended)
            .finish_non_exhaustive()
    }
}
