//! Counters of a connection.

use std::time::{Duration, Instant};

/// Counters of an open WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of frames that the kernel took, headers included; under TLS counted before encryption.
    pub bytes_sent: u64,
    /// Bytes of received frames, headers included. Each part of a large message counts when it
    /// comes.
    pub bytes_received: u64,
    /// Messages that were accepted to be sent.
    pub messages_sent: u64,
    /// Messages that were received to their end.
    pub messages_received: u64,
    /// From the last answered ping, of the program or for keep-alive, to its pong: from the call
    /// that queued the ping, so bytes queued before it add to the time, to the read that found the
    /// pong.
    pub round_trip: Option<Duration>,
    /// Bytes on the wire of messages that were compressed (RFC 7692), in both directions, without
    /// frame headers.
    pub compressed: u64,
    /// Bytes of the same messages uncompressed.
    pub plain: u64,
}

impl Stats {
    /// Bytes on the wire for each byte of the compressed messages: 0.25 is a quarter. `None` if no
    /// message was compressed.
    pub fn compression_ratio(&self) -> Option<f64> {
        (self.plain > 0).then(|| self.compressed as f64 / self.plain as f64)
    }
}

/// The counters of a connection.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes_in: u64,
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    rare: Option<Box<Rare>>,
}

/// Counters that few connections need; separate, so that other connections stay small.
#[derive(Debug, Default)]
struct Rare {
    /// Bytes of the request that were still to be sent when the connection opened.
    request: u64,
    compressed: u64,
    plain: u64,
    /// When the latest ping was queued, and its payload: older ones need not be answered (§5.5.3).
    ping: Option<(Instant, Box<[u8]>)>,
    round_trip: Option<Duration>,
}

impl Tally {
    pub(super) fn new(request: usize) -> Tally {
        let mut tally = Tally::default();
        if request > 0 {
            tally.rare().request = request as u64;
        }
        tally
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Counts a message of `plain` bytes that was sent or received as `compressed` bytes.
    pub(super) fn compressed(&mut self, compressed: usize, plain: usize) {
        let rare = self.rare();
        rare.compressed += compressed as u64;
        rare.plain += plain as u64;
    }

    /// Records that a ping was queued.
    pub(super) fn ping(&mut self, now: Instant, payload: &[u8]) {
        self.rare().ping = Some((now, payload.into()));
    }

    /// Records a pong, which may be unsolicited.
    pub(super) fn pong(&mut self, now: Instant, payload: &[u8]) {
        let Some(rare) = &mut self.rare else { return };
        if let Some((asked, _)) = rare.ping.take_if(|(_, its)| **its == *payload) {
            rare.round_trip = Some(now.saturating_duration_since(asked));
        }
    }

    /// The counters; `left` bytes were sent since the connection opened.
    pub(super) fn stats(&self, left: u64) -> Stats {
        let none = Rare::default();
        let rare = self.rare.as_deref().unwrap_or(&none);
        Stats {
            bytes_sent: left.saturating_sub(rare.request),
            bytes_received: self.bytes_in,
            messages_sent: self.messages_out,
            messages_received: self.messages_in,
            round_trip: rare.round_trip,
            compressed: rare.compressed,
            plain: rare.plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_of_bytes_on_the_wire_to_bytes_of_messages() {
        for (compressed, plain, want) in
            [(0, 0, None), (25, 100, Some(0.25)), (3, 1, Some(3.0)), (7, 7, Some(1.0))]
        {
            let stats = Stats { compressed, plain, ..Stats::default() };
            assert_eq!(stats.compression_ratio(), want, "{compressed}, {plain}");
        }
    }
}
