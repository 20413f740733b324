//! The results of worlds, and the laws about what must have arrived.

use std::time::Duration;

use crate::book::{Book, Entry};
use crate::net::{Shared, TURN, lock};
use crate::reader::FOR_EVER;
use crate::sink::{Ended, State};
use crate::ws::Act;

/// The results of one or more worlds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub calls: u64,
    pub released: u64,
    pub clean: u64,
    pub complete: u64,
    pub failed: u64,
    pub lost: u64,
    /// How many messages and events arrived, at either side.
    pub messages: u64,
}

impl Tally {
    pub fn add(&mut self, state: &State, entry: &Entry) {
        match state.ended {
            Some(Ended::Clean) => self.clean += 1,
            Some(Ended::Complete) => self.complete += 1,
            Some(Ended::Failed) => self.failed += 1,
            Some(Ended::Lost) => self.lost += 1,
            None => self.released += 1,
        }
        self.messages += (entry.up.got + entry.down.got + entry.events) as u64;
    }

    /// How many connections ended with this outcome.
    pub fn of(&self, outcome: Ended) -> u64 {
        match outcome {
            Ended::Clean => self.clean,
            Ended::Complete => self.complete,
            Ended::Failed => self.failed,
            Ended::Lost => self.lost,
        }
    }

    pub fn sum(&mut self, other: &Tally) {
        self.calls += other.calls;
        self.released += other.released;
        self.clean += other.clean;
        self.complete += other.complete;
        self.failed += other.failed;
        self.lost += other.lost;
        self.messages += other.messages;
    }
}

/// Checks that after a clean end nothing is missing.
pub fn check_delivery(book: &Book, k: usize, state: &State, calm: bool) {
    let entry = &book.entries[k];
    if calm && entry.violated && state.opened && state.ended == Some(Ended::Failed) {
        // The client reports the violation with 1002, unless it has closed before with 1000.
        let code = entry.client_close.flatten();
        let reports_it = matches!(code, Some(1000 | 1002));
        assert!(reports_it, "ask {k}: the close frame has {code:?} instead of 1002");
    }
    if !state.is_clean() {
        return;
    }
    let down = &entry.down;
    assert_eq!(down.got, down.sent.len(), "ask {k}: messages to the client, after a clean end");
    if calm && !entry.broke {
        let up = &entry.up;
        assert_eq!(up.got, up.sent.len(), "ask {k}: messages to the server, after a clean end");
        assert!(entry.client_close.is_some(), "ask {k}: our close frame never arrived");
    }
}

/// Checks that what was accepted before a connection was released arrives, if the line moves and
/// the server reads. This can be known only of a line that has refused bytes. A line that has
/// refused all bytes for [`Limits::stall`](moonwire::Limits::stall) does not move.
pub fn check_given_up(net: &Shared, book: &Book, k: usize, state: &State, stall: Duration) {
    let (entry, net) = (&book.entries[k], lock(net));
    let Some(line) = state.id.and_then(|id| net.line(id.to_bits())) else { return };
    let listens = |act: &(Duration, Act)| !matches!(act.1, Act::Close(_) | Act::Break);
    let wakes = |(_, span): &(Duration, Duration)| *span < FOR_EVER;
    let listens = entry
        .ws
        .as_ref()
        .is_some_and(|plan| plan.acts.iter().all(listens) && plan.pace.naps.iter().all(wakes));
    let still = |at| line.refused(at, false).is_some_and(|since| since + stall <= at + TURN);
    let given_up = state.opened && state.ended.is_none() && !line.done.is_some_and(still);
    if given_up && listens && !entry.broke && line.arrivals_count(line.taken) {
        let up = &entry.up;
        assert_eq!(up.got, up.sent.len(), "ask {k}: messages to the server, after it was given up");
    }
}
