//! What the connections of a reactor share, and how a sink sees one of them.

use std::sync::Arc;
use std::time::Instant;

use super::driver::Driver;
use super::gate::Gates;
use super::keys::Keys;
use super::options::Override;
use super::sys::Sys;
use super::tls::Tls;
use super::{ConnId, Event};
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::policy::Policy;
use crate::proto::ws::message::Message;
use crate::proto::{self, CloseFrame, Context, Misuse, Random, Session, Url};
use crate::trace::{Observer, Trace};

/// Receives the events of all connections of a reactor, in turn.
///
/// A closure `|conn: &mut Conn<'_>, event: Event<'_>|` is one. It runs inside the reactor: what an
/// event lends is gone when it returns.
pub trait Sink {
    /// Something happened on a connection, which may be answered at once through `conn`.
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>);
}

impl<F: FnMut(&mut Conn<'_>, Event<'_>)> Sink for F {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self(conn, event);
    }
}

/// A connection, as a sink may use it.
pub struct Conn<'a> {
    id: ConnId,
    session: Option<&'a mut Session>,
    held: &'a mut usize,
    cx: Context<'a>,
}

impl<'a> Conn<'a> {
    pub(super) fn new<S: Sys>(
        id: ConnId,
        session: Option<&'a mut Session>,
        held: &'a mut usize,
        core: &'a mut Core<S>,
    ) -> Conn<'a> {
        Conn { id, session, held, cx: core.context() }
    }

    /// Which connection it is.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Queues a text message; it is written at the end of the turn.
    pub fn send_text(&mut self, text: &str) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.send_text(&mut self.cx, text)
    }

    /// Queues a binary message.
    pub fn send_binary(&mut self, data: &[u8]) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.send_binary(&mut self.cx, data)
    }

    /// Queues a ping with at most 125 bytes.
    pub fn ping(&mut self, data: &[u8]) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.ping(&mut self.cx, data)
    }

    /// Starts the closing handshake, or answers the server's.
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), Misuse> {
        let Some(session) = &mut self.session else { return Err(Misuse::NotOpen) };
        session.close(&mut self.cx, &CloseFrame::new(code, reason))
    }

    /// The message that stands whole at the start of `input`, where that is the next thing.
    #[inline]
    pub(super) fn receive_whole<'b>(&mut self, input: &'b [u8]) -> Option<(usize, Message<'b>)> {
        self.session.as_mut()?.receive_whole(self.cx.now, input)
    }

    /// What comes next of `input`.
    #[inline]
    pub(super) fn receive<'b>(&mut self, input: &'b [u8]) -> (usize, Option<proto::Event<'b>>) {
        match &mut self.session {
            Some(session) => session.receive(&mut self.cx, input),
            None => (input.len(), None),
        }
    }

    /// Counts bytes that are kept until [`Reactor::consumed`].
    pub(super) fn hold(&mut self, bytes: usize) {
        *self.held += bytes;
    }
}

/// Notes whether anything was told.
pub(super) struct Counter<'a> {
    pub(super) sink: &'a mut dyn Sink,
    pub(super) told: bool,
}

impl Sink for Counter<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.told = true;
        self.sink.event(conn, event);
    }
}

/// What the drivers of a reactor share.
pub(super) struct Core<S: Sys> {
    pub(super) sys: S,
    pub(super) keys: Keys,
    pub(super) limits: Arc<Limits>,
    pub(super) resolve: Vec<Override>,
    pub(super) policy: Policy,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) observer: Option<Box<dyn Observer>>,
    /// Receive buffer; taken out while it is used.
    pub(super) buf: Vec<u8>,
    /// The same before decryption; empty until TLS is used.
    pub(super) cipher: Vec<u8>,
    pub(super) gates: Gates,
    /// Connections that are to be opened, or opened elsewhere.
    pub(super) fresh: Vec<ConnId>,
    /// Connections that something happened to since they were settled.
    pub(super) dirty: Vec<ConnId>,
    /// Connections with input that a turn had no room for.
    pub(super) backlog: Vec<ConnId>,
    /// What is read of an open connection waits for [`super::Reactor::pull`], or for the next turn.
    pub(super) lazy: bool,
    pub(super) now: Instant,
    /// Bytes handed over in this turn.
    pub(super) handed: usize,
    /// Bytes handed over and not consumed, all connections.
    pub(super) held: usize,
    /// Sends since the last look at the clock, and when bytes began to wait.
    pub(super) sends: u32,
    pub(super) corked: Option<Instant>,
}

impl<S: Sys> Random for Core<S> {
    fn key(&mut self) -> [u8; 4] {
        self.keys.with(&mut self.sys).bytes()
    }
}

impl<S: Sys> Core<S> {
    pub(super) fn touch(&mut self, driver: &mut Driver<S>) {
        if !std::mem::replace(&mut driver.touched, true) {
            self.dirty.push(driver.id);
        }
    }

    /// Receive buffer that a connection had taken along.
    pub(super) fn take_back(&mut self, buf: Vec<u8>) {
        if self.buf.is_empty() && buf.len() >= self.limits.receive_buffer {
            self.buf = buf;
        }
    }

    /// What a session needs from outside.
    pub(super) fn context(&mut self) -> Context<'_> {
        Context { now: self.now, random: self }
    }

    pub(super) fn has_room(&self) -> bool {
        self.handed < self.limits.turn
    }

    /// Tells the observer, if there is one.
    pub(super) fn say(&mut self, id: ConnId, text: impl FnOnce() -> String) {
        if let Some(observer) = &mut self.observer {
            observer.observe(self.now, id.to_bits(), Trace::State(&text()));
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(&mut self, url: &Url) -> Result<Option<Box<Tls>>, ErrorKind> {
        if !url.scheme().is_secure() {
            return Ok(None);
        }
        let config = match &self.tls {
            Some(config) => config,
            None => self.tls.insert(super::tls::default_config()?),
        };
        if self.cipher.is_empty() {
            self.cipher.resize(self.limits.receive_buffer, 0);
        }
        Ok(Some(Box::new(Tls::client(config, url.host())?)))
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn tls(&mut self, url: &Url) -> Result<Option<Box<Tls>>, ErrorKind> {
        if url.scheme().is_secure() { Err(ErrorKind::NoTls) } else { Ok(None) }
    }
}
