//! Events that outlive the turn that told them: an arena of payload bytes and a list, recycled.

use std::borrow::Cow;
use std::ops::Range;

use super::{Closed, Conn, ConnId, Event, Sink};
use crate::proto::http::Response;
use crate::proto::{CloseFrame, Opened, Text, sse};

/// Keeps events for later. Small payloads are copied one behind the other; those that own their
/// memory keep it.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Text, so that it can be lent as `str` without another look at it.
    text: String,
    items: Vec<(ConnId, Item)>,
}

#[derive(Debug)]
enum Item {
    Opened(Box<Opened>),
    Text(Range<usize>),
    OwnedText(Vec<u8>),
    Binary(Range<usize>),
    OwnedBinary(Vec<u8>),
    Pong(Range<usize>),
    Closing(CloseFrame),
    Response(Box<Response>),
    Chunk(Range<usize>),
    OwnedChunk(Vec<u8>),
    ServerSent(Box<sse::Event>),
    Closed(Closed),
}

/// An arena that grew beyond this gives its memory back when it is emptied.
const KEEP: usize = 2 * 1024 * 1024;

impl Batch {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many events are in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes all events out, in their order. What they lend lives as long as the iterator's
    /// borrow; the memory is kept for the next batch.
    pub fn drain(&mut self) -> Items<'_> {
        Items { bytes: &self.bytes, text: &self.text, items: self.items.drain(..) }
    }

    /// Forgets the payloads of events that were drained.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.text.clear();
        if self.bytes.capacity() + self.text.capacity() > KEEP {
            *self = Batch::default();
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn copy_text(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }
}

impl Sink for Batch {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        let item = match event {
            Event::Opened(opened) => Item::Opened(opened),
            Event::Text(text) => match text.into_owned() {
                Ok(bytes) => Item::OwnedText(bytes),
                Err(text) => Item::Text(self.copy_text(text.as_str())),
            },
            Event::Binary(Cow::Borrowed(bytes)) => Item::Binary(self.copy(bytes)),
            Event::Binary(Cow::Owned(bytes)) => Item::OwnedBinary(bytes),
            Event::Pong(bytes) => Item::Pong(self.copy(bytes)),
            Event::Closing(frame) => Item::Closing(frame),
            Event::Response(response) => Item::Response(response),
            Event::Chunk(Cow::Borrowed(bytes)) => Item::Chunk(self.copy(bytes)),
            Event::Chunk(Cow::Owned(bytes)) => Item::OwnedChunk(bytes),
            Event::ServerSent(event) => Item::ServerSent(event),
            Event::Closed(closed) => Item::Closed(closed),
        };
        self.items.push((conn.id(), item));
    }
}

/// A batch whose events count as held until [`super::Reactor::consumed`].
pub(super) struct Held<'a>(pub(super) &'a mut Batch);

impl Sink for Held<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.0.event(conn, event);
        let cost = self.0.items.last().map_or(0, |(_, item)| item.cost());
        conn.hold(cost);
    }
}

impl Item {
    fn cost(&self) -> usize {
        self.len() + size_of::<(ConnId, Item)>()
    }

    fn len(&self) -> usize {
        match self {
            Item::Text(range) | Item::Binary(range) | Item::Pong(range) | Item::Chunk(range) => {
                range.len()
            }
            Item::OwnedText(bytes) | Item::OwnedBinary(bytes) | Item::OwnedChunk(bytes) => {
                bytes.len()
            }
            Item::ServerSent(event) => event.len(),
            Item::Opened(_) | Item::Closing(_) | Item::Response(_) | Item::Closed(_) => 0,
        }
    }
}

/// The events of a batch.
pub struct Items<'a> {
    bytes: &'a [u8],
    text: &'a str,
    items: std::vec::Drain<'a, (ConnId, Item)>,
}

impl<'a> Iterator for Items<'a> {
    type Item = (ConnId, Event<'a>);

    fn next(&mut self) -> Option<(ConnId, Event<'a>)> {
        let (id, item) = self.items.next()?;
        // Every range was made by `copy` or `copy_text` for this batch.
        let lent = |range: Range<usize>| self.bytes.get(range).unwrap_or_default();
        let event = match item {
            Item::Opened(opened) => Event::Opened(opened),
            Item::Text(range) => Event::Text(Text::new(self.text.get(range).unwrap_or_default())),
            Item::OwnedText(bytes) => Event::Text(Text::checked(Cow::Owned(bytes))),
            Item::Binary(range) => Event::Binary(Cow::Borrowed(lent(range))),
            Item::OwnedBinary(bytes) => Event::Binary(Cow::Owned(bytes)),
            Item::Pong(range) => Event::Pong(lent(range)),
            Item::Closing(frame) => Event::Closing(frame),
            Item::Response(response) => Event::Response(response),
            Item::Chunk(range) => Event::Chunk(Cow::Borrowed(lent(range))),
            Item::OwnedChunk(bytes) => Event::Chunk(Cow::Owned(bytes)),
            Item::ServerSent(event) => Event::ServerSent(event),
            Item::Closed(closed) => Event::Closed(closed),
        };
        Some((id, event))
    }
}

impl Batch {
    /// What an event counts that has no bytes.
    #[cfg(test)]
    pub(super) const EVENT: usize = size_of::<(ConnId, Item)>();

    /// What its events count with each connection: one entry for each run of events.
    pub(super) fn costs(&self) -> Vec<(ConnId, usize)> {
        let mut costs: Vec<(ConnId, usize)> = Vec::new();
        for (id, item) in &self.items {
            let cost = item.cost();
            match costs.last_mut() {
                Some((last, sum)) if last == id => *sum += cost,
                _ => costs.push((*id, cost)),
            }
        }
        costs
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::Limits;
    use crate::net::{Config, Options, Os, Reactor};
    use crate::proto::ws::{frame, handshake};

    /// Accepts one client and sends until nothing more is taken.
    fn flood(listener: &TcpListener) -> TcpStream {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            handshake::accept(key)
        );
        let mut piece = answer.into_bytes();
        tcp.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        while tcp.write_all(&piece).is_ok() {
            piece.clear();
            frame::header(&mut piece, true, frame::Opcode::Binary, 100_000, 0);
            piece.resize(piece.len() + 100_000, 7);
        }
        tcp
    }

    /// Then resets the connection; the kernel may still take some more, which that drops.
    fn flood_and_reset(listener: &TcpListener) {
        let tcp = flood(listener);
        rustix::net::sockopt::set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
    }

    #[test]
    fn a_connection_that_is_not_read_and_breaks_ends_and_does_not_spin() {
        for with_poll in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}/", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || flood_and_reset(&listener));
            let config = Config::default();
            let os = match with_poll {
                false => Os::new(&config.limits),
                true => Os::with_poll(&config.limits),
            };
            let mut reactor = Reactor::with_sys(os.unwrap(), config).unwrap();
            reactor.open(Options::new(&url).unwrap()).unwrap();
            let (mut batch, end) = (Batch::default(), Instant::now() + Duration::from_secs(20));
            while !reactor.is_empty() {
                assert!(Instant::now() < end, "poll: {with_poll}");
                reactor.turn(Some(end), &mut Held(&mut batch)).unwrap();
            }
            let last = batch.drain().last();
            assert!(matches!(last, Some((_, Event::Closed(Closed::Lost(_))))), "{last:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn a_connection_that_is_not_read_is_not_silent() {
        // Its pong stands behind what nobody has consumed yet.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || flood(&listener));
        let pong = Duration::from_millis(40);
        let limits = Limits { high_water: 100_000, low_water: 0, pong, ..Limits::default() };
        let mut reactor = Reactor::new(Config { limits, ..Config::default() }).unwrap();
        let options = Options::new(&url).unwrap().ping_interval(Some(pong));
        reactor.open(options).unwrap();
        let (mut batch, end) = (Batch::default(), Instant::now() + 10 * pong);
        while Instant::now() < end {
            reactor.turn(Some(end), &mut Held(&mut batch)).unwrap();
        }
        let bytes = batch.bytes.len();
        let last = batch.drain().last();
        assert!(matches!(last, Some((_, Event::Binary(_)))), "{last:?}");
        assert!(bytes < 3_000_000, "{bytes} bytes are held");
        drop(server.join().unwrap());
    }
}
