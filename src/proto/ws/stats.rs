//! What has gone over a connection, in numbers.

use std::time::{Duration, Instant};

/// What has gone over an open WebSocket so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of frames that were handed to the kernel, their heads included; under TLS before it.
    pub bytes_sent: u64,
    /// Bytes of frames that were taken of what the server has sent, their heads included. Of a large
    /// message each part counts as it comes.
    pub bytes_received: u64,
    /// Messages that were accepted for sending.
    pub messages_sent: u64,
    /// Messages that have come whole.
    pub messages_received: u64,
    /// From the last ping that was answered, one of the owner's or of keep-alive, to its answer. It counts
    /// from when the ping was asked for, so what waited to be sent before it counts, too; and a pong is
    /// seen when the owner's turn reads it.
    pub round_trip: Option<Duration>,
    /// Of messages that went compressed either way (RFC 7692), the bytes on the wire, without heads of
    /// frames, and those that they stand for.
    pub compressed: u64,
    /// See [`Stats::compressed`].
    pub plain: u64,
}

impl Stats {
    /// Bytes on the wire for each byte of the messages that went compressed: 0.25 is a quarter. `None` if
    /// none did.
    pub fn compression_ratio(&self) -> Option<f64> {
        (self.plain > 0).then(|| self.compressed as f64 / self.plain as f64)
    }
}

/// What a connection counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) bytes_in: u64,
    pub(super) messages_in: u64,
    pub(super) messages_out: u64,
    rare: Option<Box<Rare>>,
}

/// What few connections have, so that an idle one stays small.
#[derive(Debug, Default)]
struct Rare {
    /// Of the request, what was to be sent when the connection opened.
    request: u64,
    compressed: u64,
    plain: u64,
    /// When the latest ping was asked for, and its payload: an older one need not be answered (§5.5.3).
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

    /// A message of `plain` bytes has gone with `compressed` bytes.
    pub(super) fn compressed(&mut self, compressed: usize, plain: usize) {
        let rare = self.rare();
        rare.compressed += compressed as u64;
        rare.plain += plain as u64;
    }

    /// A ping is queued.
    pub(super) fn ping(&mut self, now: Instant, payload: &[u8]) {
        self.rare().ping = Some((now, payload.into()));
    }

    /// A pong has come, which may be unsolicited.
    pub(super) fn pong(&mut self, now: Instant, payload: &[u8]) {
        let Some(rare) = &mut self.rare else { return };
        if let Some((asked, _)) = rare.ping.take_if(|(_, its)| **its == *payload) {
            rare.round_trip = Some(now.saturating_duration_since(asked));
        }
    }

    /// So far; `left` bytes have left.
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
