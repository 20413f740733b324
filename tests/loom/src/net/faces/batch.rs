//! A list of numbers.

use crate::net::event::{ConnId, Event};
use crate::net::reactor::{Conn, Sink};

/// The part of the crate's `Batch` that the files which pass it on need.
#[derive(Default)]
pub(crate) struct Batch {
    numbers: Vec<u32>,
    costs: Vec<(ConnId, usize)>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Batch::default();
    }

    pub(crate) fn costs(&self) -> &[(ConnId, usize)] {
        &self.costs
    }

    /// Removes and returns all of them.
    pub(crate) fn drain(&mut self) -> Vec<u32> {
        self.costs.clear();
        std::mem::take(&mut self.numbers)
    }
}

impl Sink for Batch {
    fn event(&mut self, _conn: &mut Conn<'_>, event: Event<'_>) {
        self.numbers.push(event.number);
        self.costs.push((ConnId, 1));
    }
}

/// As in the crate, it counts as held.
pub(crate) struct HoldingSink<'a>(pub(crate) &'a mut Batch);

impl HoldingSink<'_> {
    pub(crate) fn keep(&mut self, conn: &mut Conn<'_>, event: Event<'_>) -> usize {
        self.0.event(conn, event);
        *conn.held += 1;
        1
    }
}

impl Sink for HoldingSink<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.keep(conn, event);
    }
}
