//! A stream that blocks: a reactor with one request inside.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::{Config, StreamOptions};
use crate::net::event::{Closed, ConnId, Event};
use crate::net::reactor::{Conn, Reactor};
use crate::net::time::after;
use crate::proto::http::Response;
use crate::proto::{CloseFrame, Url, sse};

/// What came of a stream within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A piece of the body, or an event as text, as [`StreamOptions::delivery`] asked for.
    Chunk(Vec<u8>),
    /// An event.
    Event(sse::Event),
    /// The response is whole.
    End,
    /// Nothing.
    Nothing,
}

/// A response whose body is read as it comes; calls block. Dropping it ends the connection.
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
pub struct Stream {
    url: Url,
    reactor: Reactor,
    id: ConnId,
    response: Box<Response>,
    inbox: Inbox,
}

#[derive(Default)]
struct Inbox {
    response: Option<Box<Response>>,
    pieces: VecDeque<Piece>,
    /// The last event, taken out when it is told.
    closed: Option<Closed>,
    ended: bool,
}

impl StreamOptions {
    /// Sends the request and waits for the head of the response, whatever its status.
    pub fn open(self) -> Result<Stream, Error> {
        self.open_with(Config::default())
    }

    /// The same with a configuration: TLS, limits, overrides, an observer.
    pub fn open_with(self, config: Config) -> Result<Stream, Error> {
        let url = self.url().clone();
        let io = |e| Error::new(&url, Stage::Connect, ErrorKind::Io(e));
        let mut reactor = Reactor::of_one(config).map_err(io)?;
        let id = reactor.open(self)?;
        let mut inbox = Inbox::default();
        loop {
            turn(&mut reactor, &mut inbox, None).map_err(io)?;
            if let Some(response) = inbox.response.take() {
                return Ok(Stream { url, reactor, id, response, inbox });
            }
            if let Some(Closed::Failed(e) | Closed::Lost(e)) = inbox.closed.take() {
                return Err(e);
            }
        }
    }
}

impl Stream {
    /// Status, fields, and the URL that answered.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The next piece of the body; `None` when it is whole. A body that breaks off is an error,
    /// once; afterwards `None`. Events are skipped.
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
    pub fn event(&mut self) -> Result<Option<sse::Event>, Error> {
        loop {
            match self.next(None)? {
                Piece::Event(event) => return Ok(Some(event)),
                Piece::Chunk(_) => {}
                Piece::End | Piece::Nothing => return Ok(None),
            }
        }
    }

    /// What comes next, if it comes within `timeout`. Zero looks at what is there.
    pub fn read_timeout(&mut self, timeout: Duration) -> Result<Piece, Error> {
        self.next(Some(after(Instant::now(), timeout)))
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
            let late = until.is_some_and(|u| u <= Instant::now());
            let turned = turn(&mut self.reactor, &mut self.inbox, until);
            turned.map_err(|e| Error::new(&self.url, Stage::Body, ErrorKind::Io(e)))?;
            if late && self.inbox.pieces.is_empty() && !self.inbox.ended {
                return Ok(Piece::Nothing);
            }
        }
    }
}

fn turn(reactor: &mut Reactor, inbox: &mut Inbox, until: Option<Instant>) -> io::Result<()> {
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
            // What a WebSocket would tell.
            _ => return,
        };
        conn.hold(piece.cost());
        inbox.pieces.push_back(piece);
    })
}

impl Piece {
    /// What it counts against the high-water mark.
    fn cost(&self) -> usize {
        size_of::<Piece>()
            + match self {
                Piece::Chunk(data) => data.len(),
                Piece::Event(event) => event.len(),
                Piece::End | Piece::Nothing => 0,
            }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reactor.release(self.id, &CloseFrame::new(1000, ""));
    }
}
