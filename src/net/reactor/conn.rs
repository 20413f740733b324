//! A connection as a sink sees it.

use super::core::Core;
use super::flow::Flow;
use crate::net::event::{ConnId, Event};
use crate::net::session::Session;
use crate::net::sys::Sys;
use crate::proto::ws::message::{Lent, Message};
use crate::proto::{self, CloseFrame, Context, Misuse, Stats};
use std::fmt;

/// Receives the events of all connections of a reactor, one after another.
///
/// A closure `|conn: &mut Conn<'_>, event: Event<'_>|` is a sink. It is called inside the reactor,
/// and borrowed payloads are gone when it returns.
///
/// ```
/// use moonwire::{Config, Conn, Event, Reactor, Sink};
///
/// /// Answers each message with its length.
/// #[derive(Default)]
/// struct Lengths {
///     messages: usize,
/// }
///
/// impl Sink for Lengths {
///     fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
///         if let Event::Text(text) = event {
///             self.messages += 1;
///             conn.send_text(&text.as_str().len().to_string()).unwrap_or_default();
///         }
///     }
/// }
///
/// let (mut reactor, mut lengths) = (Reactor::new(Config::default())?, Lengths::default());
/// reactor.turn(Some(std::time::Instant::now()), &mut lengths)?;
/// assert_eq!(lengths.messages, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Sink {
    /// Receives an event of a connection; it can answer at once through `conn`.
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>);
}

impl<F: FnMut(&mut Conn<'_>, Event<'_>)> Sink for F {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self(conn, event);
    }
}

/// A connection, while one of its events is reported.
pub struct Conn<'a> {
    id: ConnId,
    session: Option<&'a mut Session>,
    flow: &'a mut Flow,
    /// How many bytes the turn may report; 0 once the program has paused the connection.
    room: usize,
    cx: Context<'a>,
    /// The counters, if there is no session any more.
    last: Option<Stats>,
}

impl<'a> Conn<'a> {
    pub(in crate::net) fn new<S: Sys>(
        id: ConnId,
        mut session: Option<&'a mut Session>,
        flow: &'a mut Flow,
        core: &'a mut Core<S>,
    ) -> Conn<'a> {
        if let Some(session) = &mut session {
            session.borrow_memory(&mut core.spares);
        }
        let room = core.limits.turn;
        Conn { id, session, flow, room, cx: core.context(), last: None }
    }

    /// The same connection at its end, with its last counters.
    pub(in crate::net) fn ended(self, last: Option<Stats>) -> Conn<'a> {
        Conn { last, ..self }
    }

    /// The id of the connection.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The counters of a WebSocket that is or was open.
    pub fn stats(&self) -> Option<Stats> {
        self.session.as_ref().map_or(self.last, |session| session.stats())
    }

    /// Queues a text message, which is written at the end of the turn.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_text(&mut self, text: &str) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.send_text(&mut self.cx, text)
    }

    /// Queues a binary message.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_binary(&mut self, data: &[u8]) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.send_binary(&mut self.cx, data)
    }

    /// Queues a text message uncompressed, even if compression was negotiated;
    /// [`Compression`](crate::proto::Compression) describes when that is needed.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_text_plain(&mut self, text: &str) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.send_text_plain(&mut self.cx, text)
    }

    /// Queues a binary message uncompressed, as [`Conn::send_text_plain`] does.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_binary_plain(&mut self, data: &[u8]) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.send_binary_plain(&mut self.cx, data)
    }

    /// Queues a ping with at most 125 bytes.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, the payload has more than 125 bytes, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn ping(&mut self, data: &[u8]) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.ping(&mut self.cx, data)
    }

    /// Starts the closing handshake, or answers the server's close frame.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or the code or the reason may not be sent (RFC 6455
    /// §7.4, §5.5.1).
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.close(&mut self.cx, &CloseFrame::new(code, reason))
    }

    /// The message at the start of `input`, if it is whole and not compressed, and the session
    /// allows the fast path.
    #[inline(always)]
    pub(in crate::net) fn receive_lent<'b>(
        &mut self,
        input: &'b [u8],
    ) -> Option<(usize, Lent<'b>)> {
        self.session.as_mut()?.receive_lent(self.cx.now, input)
    }

    /// As [`Conn::receive_lent`], for a compressed message.
    pub(in crate::net) fn receive_inflated(
        &mut self,
        input: &[u8],
    ) -> Option<(usize, Message<'static>)> {
        self.session.as_mut()?.receive_inflated(self.cx.now, input)
    }

    /// The next event of `input`.
    #[inline]
    pub(in crate::net) fn receive<'b>(
        &mut self,
        input: &'b [u8],
    ) -> (usize, Option<proto::Event<'b>>) {
        match &mut self.session {
            Some(session) => session.receive(&mut self.cx, input),
            None => (input.len(), None),
        }
    }

    /// Counts bytes that the program keeps until it calls
    /// [`Reactor::consumed`](crate::Reactor::consumed). Past
    /// [`Limits::high_water`](crate::Limits::high_water) of them the socket is not read.
    pub fn hold(&mut self, bytes: usize) {
        self.flow.held += bytes;
    }

    /// As [`Reactor::pause`](crate::Reactor::pause): no event follows this one until
    /// [`Reactor::resume`](crate::Reactor::resume).
    pub fn pause(&mut self) {
        self.flow.paused = true;
        self.room = 0;
    }

    #[inline]
    pub(in crate::net) fn is_paused(&self) -> bool {
        self.room == 0
    }

    /// How many bytes the turn may report, including those already reported.
    #[inline]
    pub(in crate::net) fn room(&self) -> usize {
        self.room
    }
}

impl fmt::Debug for Conn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A sink that records whether any event was reported.
pub(in crate::net) struct RecordingSink<'a> {
    pub(in crate::net) sink: &'a mut dyn Sink,
    pub(in crate::net) reported: bool,
}

impl Sink for RecordingSink<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.reported = true;
        self.sink.event(conn, event);
    }
}
