//! Events that outlive the turn that told them: an arena of payload bytes and a list, recycled.

use std::borrow::Cow;
use std::ops::Range;

use super::{Closed, Conn, ConnId, Event, Sink};
use crate::proto::{CloseFrame, Opened, Text};

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
            Item::Text(range) | Item::Binary(range) | Item::Pong(range) => range.len(),
            Item::OwnedText(bytes) | Item::OwnedBinary(bytes) => bytes.len(),
            Item::Opened(_) | Item::Closing(_) | Item::Closed(_) => 0,
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
            Item::Closed(closed) => Event::Closed(closed),
        };
        Some((id, event))
    }
}

impl Batch {
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
