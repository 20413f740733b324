//! An open WebSocket: sends frames of any kind, and records what the server sends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::frame::{Broken, Frame, Item, MOST, Reader};
use super::wire::{ConnectionEnd, Wire};
use crate::proto::CloseFrame;

/// The items that a server has sent from one point on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) items: Vec<Item>,
    pub(super) end: End,
}

/// Why the recording has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The awaited item has arrived.
    Enough,
    /// The time limit has passed.
    Silence,
    /// The connection has ended.
    ConnectionEnd(ConnectionEnd),
    /// The server has broken a rule.
    Broken(Broken),
}

impl Seen {
    /// The server's close frame, if it has sent one.
    pub(super) fn close(&self) -> Option<&CloseFrame> {
        self.items.iter().find_map(|item| match item {
            Item::Close(frame) => Some(frame),
            _ => None,
        })
    }

    pub(super) fn pongs(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(|item| match item {
            Item::Pong(payload) => Some(payload.as_slice()),
            _ => None,
        })
    }

    pub(super) fn has_pong(&self, payload: &[u8]) -> bool {
        self.pongs().any(|p| p == payload)
    }

    /// Whether a message with this content was received, and if so whether it was compressed.
    pub(super) fn message(&self, is_text: bool, wanted: &[u8]) -> Option<bool> {
        self.items.iter().find_map(|item| match item {
            Item::Message { text, data, compressed } if *text == is_text && data == wanted => {
                Some(*compressed)
            }
            _ => None,
        })
    }

    /// Appends what was recorded later.
    pub(super) fn then(mut self, later: Seen) -> Seen {
        self.items.extend(later.items);
        Seen { items: self.items, end: later.end }
    }
}

/// At most this many items are recorded: a server that floods would fill the memory.
const ITEMS: usize = 10_000;

/// Counts over all connections of an audit.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// How many frames were read.
    pub(super) frames: usize,
    /// The broken rules.
    pub(super) broken: Vec<Broken>,
}

/// An open WebSocket.
pub(super) struct Talk {
    wire: Wire,
    pub(super) reader: Reader,
    patience: Duration,
    broken: Option<Broken>,
    log: Rc<RefCell<Log>>,
    /// We have sent a close frame.
    has_closed: bool,
}

/// Dropping it closes the connection as a client does, without waiting.
impl Drop for Talk {
    fn drop(&mut self) {
        self.log.borrow_mut().frames += self.reader.frames;
        if !self.has_closed && self.broken.is_none() && self.wire.connection_end().is_none() {
            let bytes = self.bytes(&[Frame::of(0x88, b"\x03\xE8")]);
            let deadline = self.wire.before(Duration::ZERO);
            self.wire.write(&bytes, deadline);
        }
    }
}

impl Talk {
    pub(super) fn new(wire: Wire, patience: Duration, log: Rc<RefCell<Log>>) -> Talk {
        let reader = Reader::default();
        Talk { wire, reader, patience, broken: None, log, has_closed: false }
    }

    /// The bytes of frames, each masked with a key of its own.
    pub(super) fn bytes(&mut self, frames: &[Frame<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            let key = self.wire.random();
            frame.write(&mut out, key);
            self.has_closed |= frame.first & 0x0F == 8;
        }
        out
    }

    /// Sends frames in one write.
    pub(super) fn send(&mut self, frames: &[Frame<'_>]) {
        let bytes = self.bytes(frames);
        self.raw(&bytes);
    }

    /// Sends bytes. If the kernel does not take them, the next read shows why.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        let deadline = self.wire.before(self.patience);
        self.wire.write(bytes, deadline);
    }

    /// Records items until one is `enough`, for at most the time limit of an answer.
    pub(super) fn watch(&mut self, enough: impl FnMut(&Item) -> bool) -> Seen {
        self.watch_for(self.patience, enough)
    }

    /// The same for a tenth of that time: for an item that follows at once or not at all.
    pub(super) fn watch_a_little(&mut self, enough: impl FnMut(&Item) -> bool) -> Seen {
        self.watch_for(self.patience / 10, enough)
    }

    /// Records until the server has ended the connection.
    pub(super) fn watch_end(&mut self) -> Seen {
        self.watch(|_| false)
    }

    pub(super) fn watch_for(
        &mut self,
        time: Duration,
        mut enough: impl FnMut(&Item) -> bool,
    ) -> Seen {
        let deadline = self.wire.before(time);
        let (mut items, mut bytes) = (Vec::new(), 0);
        let end = loop {
            if let Some(broken) = &self.broken {
                break End::Broken(broken.clone());
            }
            let item = match self.reader.take(self.wire.input()) {
                Err(broken) => {
                    self.log.borrow_mut().broken.push(broken.clone());
                    self.broken = Some(broken);
                    continue;
                }
                Ok((0, _)) => {
                    if self.wire.more(deadline) {
                        continue;
                    }
                    break self
                        .wire
                        .connection_end()
                        .map_or(End::Silence, |gone| End::ConnectionEnd(gone.clone()));
                }
                Ok((used, item)) => {
                    self.wire.took(used);
                    item
                }
            };
            let Some(item) = item else { continue };
            if let Item::Ping(payload) = &item {
                // Every client answers pings.
                self.send(&[Frame::of(0x8A, payload)]);
            }
            if let Item::Message { data, .. } = &item {
                bytes += data.len();
            }
            let is_enough = enough(&item);
            items.push(item);
            if is_enough {
                break End::Enough;
            }
            if items.len() >= ITEMS || bytes > MOST {
                break End::Broken(Broken::TooMuch);
            }
        };
        Seen { items, end }
    }

    /// Answers the close frame if `seen` has one, and records until the server has ended the
    /// connection.
    pub(super) fn end(&mut self, seen: Seen) -> Seen {
        match (&seen.end, seen.close()) {
            (End::Enough, Some(frame)) => {
                let payload = frame.payload();
                self.send(&[Frame::of(0x88, &payload)]);
                let later = self.watch_end();
                seen.then(later)
            }
            _ => seen,
        }
    }
}
