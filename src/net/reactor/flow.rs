//! Back-pressure: counts bytes that were reported and not consumed, and bytes of unfinished
//! messages; decides whether the socket is read meanwhile.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::limits::Limits;
use crate::net::event::ConnId;
use crate::net::time::after;

/// The bytes that one connection holds.
#[derive(Default)]
pub(in crate::net) struct Flow {
    /// How many bytes were reported and not consumed, as [`Conn::hold`](super::Conn::hold) counts.
    pub(in crate::net) held: usize,
    /// How many of them, and of an unfinished message, the reactor's sum contains.
    counted: usize,
    /// Too much is held: the socket is not read until enough of it is consumed.
    stopped: bool,
    /// The program has paused the connection.
    pub(super) paused: bool,
    /// Whether an unfinished message is waiting for room in the reactor's sum. Boxed, since it
    /// rarely is.
    room_wait: Option<Box<RoomWait>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RoomWait {
    /// Its socket is not read until other messages are complete, or until this time.
    Waits(Instant),
    /// It has waited long enough: a peer that does not finish its message delays the others for
    /// that time and no longer.
    Waited,
}

/// The bytes that all connections of a reactor hold.
#[derive(Default)]
pub(in crate::net) struct HeldBytes {
    bytes: usize,
    /// The connection whose message may be completed even without room, and the bytes of that
    /// message: the largest one seen, which makes the most room.
    first: Option<(ConnId, usize)>,
    /// Connections that wait for room.
    waiting: BTreeSet<ConnId>,
}

impl HeldBytes {
    pub(in crate::net) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message of `id` has `bytes` bytes: returns whether it may be completed first.
    fn is_first(&mut self, id: ConnId, bytes: usize) -> bool {
        match self.first {
            Some((first, most)) if first != id && most >= bytes => false,
            _ => {
                self.first = Some((id, bytes));
                true
            }
        }
    }

    /// Takes the connections that may find room now.
    pub(in crate::net) fn take_waiting(&mut self, limits: &Limits) -> BTreeSet<ConnId> {
        let room = self.first.is_none() || self.bytes <= limits.high_water_total;
        if room { std::mem::take(&mut self.waiting) } else { BTreeSet::new() }
    }

    /// Whether [`HeldBytes::take_waiting`] has anything to return.
    pub(in crate::net) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Flow {
    /// Whether the socket is not read.
    pub(super) fn is_unread(&self) -> bool {
        self.stopped || self.paused || matches!(self.room_wait.as_deref(), Some(RoomWait::Waits(_)))
    }

    /// Whether the reactor's sum is up to date, if an unfinished message has `unfinished` bytes.
    pub(super) fn is_balanced(&self, unfinished: usize) -> bool {
        self.held + unfinished == self.counted
    }

    /// When it has to be balanced again even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.room_wait.as_deref() {
            Some(RoomWait::Waits(until)) => Some(*until),
            None | Some(RoomWait::Waited) => None,
        }
    }

    /// Updates the reactor's sum and decides whether the socket is read; returns whether that has
    /// changed.
    pub(super) fn balance(
        &mut self,
        id: ConnId,
        unfinished: usize,
        now: Instant,
        sum: &mut HeldBytes,
        limits: &Limits,
    ) -> bool {
        let was_unread = self.is_unread();
        let counted = self.held + unfinished;
        sum.bytes = sum.bytes - self.counted + counted;
        self.counted = counted;
        let full = sum.bytes > limits.high_water_total;
        // If the low-water mark were above the high one, reading would stop and resume for ever.
        let low_water = limits.low_water.min(limits.high_water);
        let mark = if self.stopped || full { low_water } else { limits.high_water };
        self.stopped = self.held > mark;
        let waits = unfinished > 0 && !sum.is_first(id, unfinished) && full;
        if unfinished == 0 && sum.first.is_some_and(|(first, _)| first == id) {
            sum.first = None;
        }
        let room_wait = match self.room_wait.as_deref() {
            _ if unfinished == 0 => None,
            None if waits => {
                sum.waiting.insert(id);
                Some(RoomWait::Waits(after(now, limits.stall)))
            }
            Some(RoomWait::Waits(until)) if *until <= now => Some(RoomWait::Waited),
            Some(RoomWait::Waits(until)) if waits => {
                sum.waiting.insert(id);
                Some(RoomWait::Waits(*until))
            }
            Some(RoomWait::Waits(_)) => None,
            other => other.copied(),
        };
        self.room_wait = room_wait.map(Box::new);
        was_unread != self.is_unread()
    }

    /// The connection is gone: none of its bytes count.
    pub(super) fn clear(&mut self, id: ConnId, sum: &mut HeldBytes) {
        sum.bytes -= self.counted;
        (self.counted, self.held) = (0, 0);
        if sum.first.is_some_and(|(first, _)| first == id) {
            sum.first = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn unfinished_messages_beyond_the_sum_are_finished_one_after_the_other() {
        let (now, limits) = (Instant::now(), Limits { high_water_total: 100, ..Limits::default() });
        let (mut sum, mut flows) = (HeldBytes::default(), [(); 3].map(|()| Flow::default()));
        let ids = [0, 1, 2].map(|n| ConnId::new(n, 0));
        let mut look = |sum: &mut HeldBytes, k: usize, bytes, now| {
            flows[k].balance(ids[k], bytes, now, sum, &limits);
            flows[k].is_unread()
        };
        assert_eq!([0, 1].map(|k| look(&mut sum, k, 50, now)), [false, false], "there is room");
        assert!(!look(&mut sum, 0, 60, now), "the largest beyond it goes on");
        assert!(look(&mut sum, 1, 55, now));
        assert!(look(&mut sum, 2, 10, now));
        assert!(sum.take_waiting(&limits).is_empty());
        // The message is complete, and there is room.
        assert!(!look(&mut sum, 0, 0, now));
        assert_eq!(Vec::from_iter(sum.take_waiting(&limits)), [ids[1], ids[2]]);
        assert!(!look(&mut sum, 1, 55, now) && !look(&mut sum, 2, 10, now));
        // The larger message goes first, whichever was seen first.
        assert!(look(&mut sum, 2, 50, now));
        assert!(!look(&mut sum, 1, 56, now));
        assert!(look(&mut sum, 2, 51, now));
        // A peer that stalls does not delay the others for ever.
        let later = now + limits.stall;
        assert!(!look(&mut sum, 2, 51, later));
        assert!(!look(&mut sum, 2, 52, later + Duration::from_secs(1)));
        assert_eq!(sum.bytes(), 56 + 52);
        // That is so for this message, and not for the next one.
        assert!(!look(&mut sum, 2, 0, later));
        assert!(look(&mut sum, 2, 52, later));
    }

    /// Only the end of the connection whose message goes first makes room for another.
    #[test]
    fn a_connection_that_ends_gives_up_its_own_bytes_and_its_own_place() {
        let (now, limits) = (Instant::now(), Limits { high_water_total: 100, ..Limits::default() });
        for (ends, stays, is_unread) in [(0, 1, false), (1, 0, true)] {
            let (mut sum, mut flows) = (HeldBytes::default(), [(); 3].map(|()| Flow::default()));
            let ids = [0, 1, 2].map(|n| ConnId::new(n, 0));
            flows[0].balance(ids[0], 80, now, &mut sum, &limits);
            flows[1].balance(ids[1], 70, now, &mut sum, &limits);
            flows[ends].clear(ids[ends], &mut sum);
            assert_eq!(sum.bytes(), [80, 70][stays]);
            flows[2].balance(ids[2], 60, now, &mut sum, &limits);
            assert_eq!(flows[2].is_unread(), is_unread, "{ends} has ended");
        }
    }
}
