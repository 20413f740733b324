//! A blocking stream: a reactor with one request.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::interrupter::{Interrupter, is_interrupted};
use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::{Config, StreamOptions};
use crate::net::event::{Closed, ConnId, Event};
use crate::net::reactor::{Conn, Reactor};
use crate::net::sys::{Os, Sys};
use crate::net::time::after;
use crate::proto::http::Response;
use crate::proto::{CloseFrame, Url, sse};

/// What a call that waits for a stream returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// A piece of the body, or an event as text, as [`StreamOptions::delivery`] sets.
    Chunk(Vec<u8>),
    /// An event.
    Event(sse::Event),
    /// The response is complete.
    End,
    /// The timeout has passed.
    Nothing,
}

/// A response whose body the program reads as it comes; calls block. Dropping it ends the
/// connection.
///
/// ```no_run
/// use moonwire::StreamOptions;
///
/// let mut stream = StreamOptions::get("https://example.com/big.log")?.open()?;
/// println!("{}", stream.response().status);
/// while let Some(chunk) = stream.read()? {
///     println!("{} bytes", chunk.len());
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
pub struct Stream<S: Sys = Os> {
    url: Url,
    reactor: Reactor<S>,
    id: ConnId,
    response: Box<Response>,
    inbox: Inbox,
    interrupter: Option<Interrupter>,
}

#[derive(Default)]
struct Inbox {
    response: Option<Box<Response>>,
    pieces: VecDeque<Piece>,
    /// The final event, until a call has returned its error.
    closed: Option<Closed>,
    ended: bool,
}

/// Requests `url` and waits for the head of the response, whatever its status: short for
/// [`StreamOptions::get`] and [`StreamOptions::open`].
///
/// ```no_run
/// let mut page = moonwire::get("https://example.com/")?;
/// println!("{}", page.response().status);
/// println!("{}", page.read_to_string(1024 * 1024)?);
/// # Ok::<(), moonwire::Error>(())
/// ```
///
/// # Errors
///
/// As [`StreamOptions::get`] and [`StreamOptions::open`].
pub fn get(url: &str) -> Result<Stream, Error> {
    StreamOptions::get(url)?.open()
}

impl StreamOptions {
    /// Sends the request and waits for the head of the response, whatever its status.
    ///
    /// # Errors
    ///
    /// Whatever prevents the head of a response: the policy, DNS, connecting, TLS, a proxy, a time
    /// limit, a rule of HTTP that the server breaks. A status such as 404 is no error.
    pub fn open(self) -> Result<Stream, Error> {
        self.open_with(Config::default())
    }

    /// As [`StreamOptions::open`], with a configuration: TLS, limits, overrides, an observer.
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::open`]; and if the system has no descriptor left.
    pub fn open_with(self, config: Config) -> Result<Stream, Error> {
        self.start(config, Reactor::of_one, |_| None)
    }

    /// As [`StreamOptions::open_with`], on another system, such as a simulated network.
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::open`]; a random source that fails is [`ErrorKind::Io`].
    pub fn open_on<S: Sys>(self, sys: S, config: Config) -> Result<Stream<S>, Error> {
        self.start(config, |config| Reactor::with_sys(sys, config), |_| None)
    }

    /// As [`StreamOptions::open_with`]; `interrupter` can end this call, which drops the request,
    /// and later the calls of the stream.
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::open`], and [`ErrorKind::Interrupted`].
    pub fn open_interruptible(
        self,
        config: Config,
        interrupter: &Interrupter,
    ) -> Result<Stream, Error> {
        self.start(config, Reactor::of_one, |reactor| {
            interrupter.attach(&reactor.poller());
            Some(interrupter.clone())
        })
    }

    fn start<S: Sys>(
        self,
        config: Config,
        make: impl FnOnce(Config) -> io::Result<Reactor<S>>,
        attach: impl FnOnce(&Reactor<S>) -> Option<Interrupter>,
    ) -> Result<Stream<S>, Error> {
        let url = self.url().clone();
        let io = |e| Error::new(&url, Stage::Connect, ErrorKind::Io(e));
        let mut reactor = make(config).map_err(io)?;
        let interrupter = attach(&reactor);
        let id = reactor.open(self)?;
        let mut inbox = Inbox::default();
        loop {
            if is_interrupted(interrupter.as_ref()) {
                return Err(Error::new(&url, Stage::Response, ErrorKind::Interrupted));
            }
            turn(&mut reactor, &mut inbox, None).map_err(io)?;
            if let Some(response) = inbox.response.take() {
                return Ok(Stream { url, reactor, id, response, inbox, interrupter });
            }
            if let Some(Closed::Failed(e) | Closed::Lost(e)) = inbox.closed.take() {
                return Err(e);
            }
        }
    }
}

impl<S: Sys> Stream<S> {
    /// Status, fields, and the URL of the server that answered.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The next piece of the body; `None` when the body is complete. If the body breaks off,
    /// returns that error once, then `None`. Skips events.
    ///
    /// # Errors
    ///
    /// Why the body broke off, once; [`ErrorKind::Interrupted`], after which reading can go on.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.next(None)? {
                Piece::Chunk(data) => return Ok(Some(data)),
                Piece::Event(_) => {}
                Piece::End | Piece::Nothing => return Ok(None),
            }
        }
    }

    /// The next event, for [`crate::proto::http::Delivery::Events`]; otherwise as [`Stream::read`].
    ///
    /// # Errors
    ///
    /// As [`Stream::read`].
    pub fn event(&mut self) -> Result<Option<sse::Event>, Error> {
        loop {
            match self.next(None)? {
                Piece::Event(event) => return Ok(Some(event)),
                Piece::Chunk(_) => {}
                Piece::End | Piece::Nothing => return Ok(None),
            }
        }
    }

    /// The rest of the body, if it has at most `limit` bytes: without a limit, the server would
    /// decide how many. Skips events, as [`Stream::read`] does.
    ///
    /// # Errors
    ///
    /// As [`Stream::read`], and [`ErrorKind::BodyTooBig`]. With an error, even with
    /// [`ErrorKind::Interrupted`], the part of the body that was read is lost.
    pub fn read_all(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(piece) = self.read()? {
            if piece.len() > limit - body.len() {
                return Err(self.error(ErrorKind::BodyTooBig(limit)));
            }
            match body.is_empty() {
                true => body = piece,
                false => body.extend_from_slice(&piece),
            }
        }
        Ok(body)
    }

    /// The rest of the body as text, if it has at most `limit` bytes. It has to be UTF-8, whatever
    /// charset the response declares.
    ///
    /// # Errors
    ///
    /// As [`Stream::read_all`], and [`ErrorKind::NotText`].
    pub fn read_to_string(&mut self, limit: usize) -> Result<String, Error> {
        let body = self.read_all(limit)?;
        let text = String::from_utf8(body);
        text.map_err(|e| self.error(ErrorKind::NotText(e.utf8_error())))
    }

    /// A handle that ends a blocking call of this stream from another thread.
    pub fn interrupter(&mut self) -> Interrupter
    where
        S: 'static,
    {
        let reactor = &self.reactor;
        let interrupter = self.interrupter.get_or_insert_with(|| {
            let interrupter = Interrupter::new();
            interrupter.attach(&reactor.poller());
            interrupter
        });
        interrupter.clone()
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(&self.url, Stage::Body, kind).with_status(Some(self.response.status))
    }

    /// The next [`Piece`], if it comes within `timeout`. Zero returns only what has already come.
    ///
    /// # Errors
    ///
    /// As [`Stream::read`].
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Piece, Error> {
        self.next(Some(after(self.reactor.clock(), timeout)))
    }

    fn next(&mut self, until: Option<Instant>) -> Result<Piece, Error> {
        loop {
            if let Some(piece) = self.inbox.pieces.pop_front() {
                self.reactor.consumed(self.id, piece.cost());
                return Ok(piece);
            }
            if self.inbox.ended {
                return match self.inbox.closed.take() {
                    Some(Closed::Failed(e) | Closed::Lost(e)) => Err(e),
                    _ => Ok(Piece::End),
                };
            }
            if is_interrupted(self.interrupter.as_ref()) {
                return Err(self.error(ErrorKind::Interrupted));
            }
            let late = until.is_some_and(|u| u <= self.reactor.clock());
            let turned = turn(&mut self.reactor, &mut self.inbox, until);
            turned.map_err(|e| self.error(ErrorKind::Io(e)))?;
            if late && self.inbox.pieces.is_empty() && !self.inbox.ended {
                return Ok(Piece::Nothing);
            }
        }
    }
}

fn turn<S: Sys>(
    reactor: &mut Reactor<S>,
    inbox: &mut Inbox,
    until: Option<Instant>,
) -> io::Result<()> {
    reactor.turn(until, &mut |conn: &mut Conn<'_>, event: Event<'_>| {
        let piece = match event {
            Event::Response(response) => {
                inbox.response = Some(response);
                return;
            }
            Event::Chunk(data) => Piece::Chunk(data.into_owned()),
            Event::ServerSent(event) => Piece::Event(*event),
            Event::Closed(closed) => {
                inbox.closed = Some(closed);
                inbox.ended = true;
                return;
            }
            // Only a WebSocket has other events.
            _ => return,
        };
        conn.hold(piece.cost());
        inbox.pieces.push_back(piece);
    })
}

impl Piece {
    /// How many bytes it counts towards the high-water mark.
    fn cost(&self) -> usize {
        size_of::<Piece>()
            + match self {
                Piece::Chunk(data) => data.len(),
                Piece::Event(event) => event.len(),
                Piece::End | Piece::Nothing => 0,
            }
    }
}

impl<S: Sys> fmt::Debug for Stream<S> {
    /// Shows the URL as errors do, and nothing of the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("url", &self.url.to_string())
            .field("status", &self.response.status)
            .field("ended", &self.inbox.ended)
            .finish_non_exhaustive()
    }
}

impl<S: Sys> Drop for Stream<S> {
    fn drop(&mut self) {
        self.reactor.release(self.id, &CloseFrame::new(1000, ""));
    }
}
