//! Events that are kept after their turn: an arena with their payloads, and a list; both are
//! reused.

use std::borrow::Cow;
use std::fmt;

use crate::net::event::{ConnId, Event};
use crate::net::reactor::{Conn, Sink};
#[cfg(feature = "luau")]
use crate::proto::Stats;
use crate::proto::Text;

/// Keeps events for later. Borrowed payloads are copied into one buffer; payloads that own their
/// memory keep it.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The texts, as a `String`: lending them as `str` then needs no validation.
    text: String,
    items: Vec<(ConnId, Item)>,
    /// How many bytes the events count for each connection: one entry for each run of events.
    costs: Vec<(ConnId, usize)>,
    /// The counters of the WebSockets whose final events are in the batch.
    #[cfg(feature = "luau")]
    ends: Vec<(ConnId, Stats)>,
}

/// Small, since there is one for each message: long or rare contents are boxed. Of a payload in the
/// arena only the length is kept, since payloads are taken out in order.
#[derive(Debug)]
enum Item {
    Text(usize),
    Binary(usize),
    Pong(usize),
    Chunk(usize),
    Other(Box<Event<'static>>),
}

/// A larger arena is freed when it is emptied.
const KEEP: usize = 2 * 1024 * 1024;

impl Batch {
    /// Whether the batch holds no events.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many events the batch holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The only event of the batch, if that is a text in the arena.
    #[cfg(feature = "luau")]
    pub(crate) fn only_text(&self) -> Option<(ConnId, &str)> {
        match &self.items[..] {
            [(id, Item::Text(_))] => Some((*id, &self.text)),
            _ => None,
        }
    }

    /// Takes all events out, in order. Borrowed payloads live as long as the iterator's borrow. The
    /// memory is kept for the next events.
    pub fn drain(&mut self) -> Items<'_> {
        Items {
            bytes: &self.bytes,
            text: &self.text,
            items: self.items.drain(..),
            #[cfg(feature = "luau")]
            ends: &self.ends,
        }
    }

    /// Removes all events and payloads.
    pub fn clear(&mut self) {
        self.items.clear();
        self.costs.clear();
        #[cfg(feature = "luau")]
        self.ends.clear();
        self.bytes.clear();
        self.text.clear();
        if self.bytes.capacity() + self.text.capacity() > KEEP {
            *self = Batch::default();
        }
    }

    /// How many bytes an event without a payload counts.
    #[cfg(test)]
    pub(in crate::net) const EVENT: usize = size_of::<(ConnId, Item)>();

    /// How many bytes the events count for each connection until they are consumed.
    pub(in crate::net) fn costs(&self) -> &[(ConnId, usize)] {
        &self.costs
    }

    fn copy(&mut self, bytes: &[u8]) -> usize {
        self.bytes.extend_from_slice(bytes);
        bytes.len()
    }

    /// The item for `event`, and the length of its payload.
    fn item(&mut self, event: Event<'_>) -> (Item, usize) {
        match event {
            Event::Text(text) => match text.into_owned() {
                Ok(text) => {
                    let len = text.as_bytes().len();
                    (Item::other(Event::Text(text)), len)
                }
                Err(text) => {
                    let text = text.as_str();
                    self.text.push_str(text);
                    (Item::Text(text.len()), text.len())
                }
            },
            Event::Binary(Cow::Borrowed(bytes)) => (Item::Binary(self.copy(bytes)), bytes.len()),
            Event::Chunk(Cow::Borrowed(bytes)) => (Item::Chunk(self.copy(bytes)), bytes.len()),
            Event::Pong(bytes) => (Item::Pong(self.copy(&bytes)), bytes.len()),
            Event::Binary(Cow::Owned(bytes)) => {
                let len = bytes.len();
                (Item::other(Event::Binary(Cow::Owned(bytes))), len)
            }
            Event::Chunk(Cow::Owned(bytes)) => {
                let len = bytes.len();
                (Item::other(Event::Chunk(Cow::Owned(bytes))), len)
            }
            Event::ServerSent(event) => {
                let len = event.len();
                (Item::other(Event::ServerSent(event)), len)
            }
            Event::Opened(opened) => (Item::other(Event::Opened(opened)), 0),
            Event::Closing(frame) => (Item::other(Event::Closing(frame)), 0),
            Event::Response(response) => (Item::other(Event::Response(response)), 0),
            Event::Closed(closed) => (Item::other(Event::Closed(closed)), 0),
        }
    }

    /// Keeps the counters of a WebSocket whose final event comes.
    #[cfg(feature = "luau")]
    #[inline]
    fn note_end(&mut self, conn: &Conn<'_>, event: &Event<'_>) {
        if let (Event::Closed(_), Some(stats)) = (event, conn.stats()) {
            if self.items.is_empty() {
                self.clear();
            }
            self.ends.push((conn.id(), stats));
        }
    }

    #[cfg(not(feature = "luau"))]
    fn note_end(&mut self, _: &Conn<'_>, _: &Event<'_>) {}

    /// Keeps an event; returns how many bytes it counts.
    #[inline]
    fn put(&mut self, id: ConnId, event: Event<'_>) -> usize {
        if self.items.is_empty() {
            // All events were drained, but their payloads are still in the arena.
            self.clear();
        }
        let (item, len) = self.item(event);
        let cost = len + size_of::<(ConnId, Item)>();
        self.items.push((id, item));
        match self.costs.last_mut() {
            Some((last, sum)) if *last == id => *sum += cost,
            _ => self.costs.push((id, cost)),
        }
        cost
    }
}

impl Item {
    fn other(event: Event<'static>) -> Item {
        Item::Other(Box::new(event))
    }
}

impl Sink for Batch {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.note_end(conn, &event);
        self.put(conn.id(), event);
    }
}

/// A sink into a batch; its events count as held until [`crate::net::Reactor::consumed`].
pub(in crate::net) struct HoldingSink<'a>(pub(in crate::net) &'a mut Batch);

impl HoldingSink<'_> {
    /// Keeps an event; returns how many bytes it counts.
    pub(in crate::net) fn keep(&mut self, conn: &mut Conn<'_>, event: Event<'_>) -> usize {
        self.0.note_end(conn, &event);
        let cost = self.0.put(conn.id(), event);
        conn.hold(cost);
        cost
    }
}

impl Sink for HoldingSink<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.keep(conn, event);
    }
}

/// The events of a batch.
pub struct Items<'a> {
    /// The part of the arena that was not taken out yet.
    bytes: &'a [u8],
    text: &'a str,
    items: std::vec::Drain<'a, (ConnId, Item)>,
    #[cfg(feature = "luau")]
    ends: &'a [(ConnId, Stats)],
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("left", &self.items.len()).finish_non_exhaustive()
    }
}

/// Consecutive payloads of one connection.
#[cfg(feature = "luau")]
pub(crate) struct MessageGroup<'a> {
    pub(crate) id: ConnId,
    /// Whether the payloads are binary messages.
    pub(crate) binary: bool,
    pub(crate) payloads: Payloads<'a>,
}

#[cfg(feature = "luau")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payloads<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

#[cfg(feature = "luau")]
impl<'a> Items<'a> {
    /// The counters of a WebSocket whose final event is in the batch.
    pub(crate) fn stats(&mut self, id: ConnId) -> Option<Stats> {
        // The counters are in the order of the final events.
        let ((_, stats), rest) = self.ends.split_first().filter(|((of, _), _)| *of == id)?;
        self.ends = rest;
        Some(*stats)
    }

    /// Takes the next payloads out: consecutive ones of one connection and one kind, at most
    /// `most`, until they have `bytes`. Writes their lengths to `lengths`. `None` if the next event
    /// is of another kind, or there is none.
    pub(crate) fn next_group(
        &mut self,
        most: usize,
        bytes: usize,
        lengths: &mut Vec<usize>,
    ) -> Option<MessageGroup<'a>> {
        let (id, first) = self.items.as_slice().first()?;
        let (id, kind) = (*id, std::mem::discriminant(first));
        lengths.clear();
        let mut sum = 0;
        for (of, item) in self.items.as_slice().iter().take(most) {
            let (Item::Text(len) | Item::Binary(len) | Item::Chunk(len)) = item else { break };
            if *of != id || std::mem::discriminant(item) != kind || sum >= bytes {
                break;
            }
            lengths.push(*len);
            sum += len;
        }
        let payloads = match self.items.as_slice() {
            _ if lengths.is_empty() => return None,
            [(_, Item::Text(_)), ..] => Payloads::Text(self.next_text(sum)),
            _ => Payloads::Bytes(self.next_bytes(sum)),
        };
        let binary = matches!(self.items.as_slice(), [(_, Item::Binary(_)), ..]);
        self.items.by_ref().take(lengths.len()).for_each(drop);
        Some(MessageGroup { id, binary, payloads })
    }
}

impl<'a> Items<'a> {
    /// Takes the next `len` bytes of text out of the arena.
    fn next_text(&mut self, len: usize) -> &'a str {
        let (text, rest) = self.text.split_at_checked(len).unwrap_or_default();
        self.text = rest;
        text
    }

    /// Takes the next `len` bytes out; they are there, since each length was recorded with its
    /// bytes.
    fn next_bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.bytes.split_at_checked(len).unwrap_or_default();
        self.bytes = rest;
        bytes
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (ConnId, Event<'a>);

    #[inline]
    fn next(&mut self) -> Option<(ConnId, Event<'a>)> {
        let (id, item) = self.items.next()?;
        let event = match item {
            Item::Text(len) => Event::Text(Text::new(self.next_text(len))),
            Item::Binary(len) => Event::Binary(Cow::Borrowed(self.next_bytes(len))),
            Item::Pong(len) => Event::Pong(Cow::Borrowed(self.next_bytes(len))),
            Item::Chunk(len) => Event::Chunk(Cow::Borrowed(self.next_bytes(len))),
            Item::Other(event) => *event,
        };
        Some((id, event))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::Limits;
    use crate::net::{Closed, Config, Options, Os, Reactor};
    use crate::proto::ws::{frame, handshake};

    /// The contents of an event, as text.
    fn event_text(event: &Event<'_>) -> String {
        match event {
            Event::Text(text) => format!("text {}", text.as_str()),
            Event::Binary(data) => format!("binary {data:?}"),
            Event::Chunk(data) => format!("chunk {data:?}"),
            Event::Pong(data) => format!("pong {data:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn events_come_out_as_they_went_in_and_count_what_they_hold() {
        let owned = || Cow::Owned(vec![9; 300]);
        let events = || {
            vec![
                Event::Text(Text::new("ä")),
                Event::Binary(Cow::Borrowed(&[1, 2][..])),
                Event::Text(Text::new("")),
                Event::Chunk(Cow::Borrowed(&[3][..])),
                Event::Text(Text::checked(Cow::Owned("größer".into()))),
                Event::Pong(Cow::Borrowed(&[4, 5, 6][..])),
                Event::Binary(owned()),
                Event::Closing(crate::proto::CloseFrame::new(1000, "done")),
                Event::Text(Text::new("🙂 and more")),
                Event::Chunk(owned()),
                Event::Binary(Cow::Borrowed(&[][..])),
                Event::Closed(Closed::Complete),
            ]
        };
        let (a, b) = (ConnId::new(1, 0), ConnId::new(2, 0));
        let mut batch = Batch::default();
        for _ in 0..3 {
            let mut sums = [0, 0];
            for (i, event) in events().into_iter().enumerate() {
                sums[i / 6] += batch.put(if i < 6 { a } else { b }, event);
            }
            assert_eq!(batch.costs(), [(a, sums[0]), (b, sums[1])]);
            let bytes = 12 * size_of::<(ConnId, Item)>() + 2 + 2 + 1 + 8 + 3 + 300 + 13 + 300;
            assert_eq!(sums[0] + sums[1], bytes);
            let out: Vec<_> = batch.drain().map(|(id, event)| (id, event_text(&event))).collect();
            for (i, ((id, got), want)) in out.iter().zip(events()).enumerate() {
                assert_eq!((*id, got), (if i < 6 { a } else { b }, &event_text(&want)));
            }
            batch.clear();
            assert!(out.len() == 12 && batch.costs().is_empty());
        }
    }

    #[test]
    fn a_batch_that_was_drained_begins_anew() {
        let (id, mut batch) = (ConnId::new(1, 0), Batch::default());
        for text in ["AAAA", "größer", "B"] {
            let cost = batch.put(id, Event::Text(Text::new(text)));
            assert_eq!(batch.costs(), [(id, cost)]);
            let out: Vec<_> = batch.drain().map(|(_, event)| event_text(&event)).collect();
            assert_eq!(out, [format!("text {text}")]);
        }
        assert_eq!(batch.text, "B");
    }

    #[cfg(feature = "luau")]
    #[test]
    fn runs_are_of_one_connection_and_one_kind() {
        let (a, b) = (ConnId::new(1, 0), ConnId::new(2, 0));
        let mut batch = Batch::default();
        for (id, text) in [(a, "1"), (a, ""), (a, "größer"), (b, "ä"), (b, "3")] {
            batch.put(id, Event::Text(Text::new(text)));
        }
        for bytes in [&b"4"[..], b"56", b"7"] {
            batch.put(b, Event::Binary(Cow::Borrowed(bytes)));
        }
        batch.put(b, Event::Closing(crate::proto::CloseFrame::default()));
        batch.put(b, Event::Chunk(Cow::Borrowed(&b"8"[..])));
        batch.put(b, Event::Text(Text::checked(Cow::Owned(b"9".to_vec()))));
        let (mut items, mut lengths) = (batch.drain(), vec![7]);
        let mut next = |most, bytes| {
            let group = items.next_group(most, bytes, &mut lengths)?;
            Some((group.id, group.binary, group.payloads, lengths.clone()))
        };
        let (text, raw) = (Payloads::Text, |bytes| Payloads::Bytes(bytes));
        assert_eq!(next(9, 99), Some((a, false, text("1größer"), vec![1, 0, 8])));
        assert_eq!(next(1, 99), Some((b, false, text("ä"), vec![2])), "one at a time");
        assert_eq!(next(9, 99), Some((b, false, text("3"), vec![1])));
        assert_eq!(next(9, 2), Some((b, true, raw(b"456"), vec![1, 2])), "two bytes or more");
        assert_eq!(next(9, 2), Some((b, true, raw(b"7"), vec![1])));
        assert_eq!(next(9, 99), None);
        assert!(matches!(items.next(), Some((_, Event::Closing(_)))));
        let group =
            items.next_group(9, 99, &mut lengths).map(|group| (group.binary, group.payloads));
        assert_eq!(group, Some((false, raw(b"8"))));
        assert!(items.next_group(9, 99, &mut lengths).is_none(), "it owns its memory");
        assert!(items.next().is_some() && items.next_group(9, 99, &mut lengths).is_none());
    }

    /// Accepts one client and sends until the kernel takes no more; returns the rest of the last
    /// frame.
    fn flood(listener: &TcpListener) -> (TcpStream, Vec<u8>) {
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
        let mut rest = answer.into_bytes();
        tcp.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        while let Ok(n) = tcp.write(&rest) {
            rest.drain(..n);
            if rest.is_empty() {
                frame::header(&mut rest, true, frame::Opcode::Binary, 100_000, 0);
                rest.resize(rest.len() + 100_000, 7);
            }
        }
        (tcp, rest)
    }

    /// As `flood`, then resets the connection. Bytes that the kernel still takes are dropped.
    fn flood_and_reset(listener: &TcpListener) {
        let (tcp, _) = flood(listener);
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
                reactor.turn(Some(end), &mut HoldingSink(&mut batch)).unwrap();
            }
            let last = batch.drain().last();
            assert!(matches!(last, Some((_, Event::Closed(Closed::Lost(_))))), "{last:?}");
            server.join().unwrap();
        }
    }

    /// Nobody consumes the bytes that a released connection holds; it is read nevertheless, to the
    /// end of its closing handshake.
    #[test]
    fn a_connection_that_is_not_read_and_let_go_of_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let (full, is_full) = std::sync::mpsc::channel();
        let server = std::thread::spawn(move || {
            let (mut tcp, rest) = flood(&listener);
            full.send(()).unwrap();
            let mut frame = [0; 8];
            tcp.read_exact(&mut frame).unwrap();
            tcp.set_write_timeout(None).unwrap();
            tcp.write_all(&[&rest[..], b"\x88\x02\x03\xE9"].concat()).unwrap();
            frame[0]
        });
        let hour = Duration::from_secs(3600);
        let limits = Limits { high_water: 100_000, low_water: 0, close: hour, ..Limits::default() };
        let mut reactor = Reactor::new(Config { limits, ..Config::default() }).unwrap();
        let id = reactor.open(Options::new(&url).unwrap()).unwrap();
        let (mut batch, end) = (Batch::default(), Instant::now() + Duration::from_secs(20));
        while is_full.try_recv().is_err() {
            assert!(Instant::now() < end, "it is read without end");
            let soon = Instant::now() + Duration::from_millis(20);
            reactor.turn(Some(soon), &mut HoldingSink(&mut batch)).unwrap();
        }
        reactor.release(id, &crate::proto::CloseFrame::new(1001, ""));
        while !reactor.is_empty() {
            assert!(Instant::now() < end, "its socket is not read");
            reactor.turn(Some(end), &mut batch).unwrap();
        }
        assert_eq!(server.join().unwrap(), 0x88);
    }

    #[test]
    fn a_connection_that_is_not_read_is_not_silent() {
        // The pong stands behind messages that nobody has consumed yet.
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
            reactor.turn(Some(end), &mut HoldingSink(&mut batch)).unwrap();
        }
        let bytes = batch.bytes.len();
        let last = batch.drain().last();
        assert!(matches!(last, Some((_, Event::Binary(_)))), "{last:?}");
        assert!(bytes < 3_000_000, "{bytes} bytes are held");
        drop(server.join().unwrap());
    }
}
