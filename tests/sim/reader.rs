//! How a server's program takes the bytes that its system has received.

use std::time::Duration;

use crate::book::ms;
use crate::net::Io;
use crate::ws::wake;

/// A nap that never ends.
pub const FOR_EVER: Duration = ms(3_600_000);

/// How fast the program reads. During a nap it reads nothing, so the receive window closes.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Bytes a millisecond; 0: everything at once.
    pub rate: usize,
    /// The naps: the time from the end of the nap before, and for how long the program reads
    /// nothing.
    pub naps: Vec<(Duration, Duration)>,
}

#[derive(Default)]
pub struct Reader {
    pace: Pace,
    read_at: Duration,
    /// Whether the last call has read everything.
    idle: bool,
    /// When the next nap begins, and its number.
    nap_at: Option<Duration>,
    nap: usize,
}

impl Reader {
    pub fn new(pace: &Pace, now: Duration) -> Reader {
        let nap_at = pace.naps.first().map(|(after, _)| now + *after);
        Reader { pace: pace.clone(), read_at: now, idle: true, nap_at, nap: 0 }
    }

    /// When the present nap ends, if there is one.
    fn asleep(&mut self, now: Duration) -> Option<Duration> {
        loop {
            let (from, (_, span)) = (self.nap_at?, *self.pace.naps.get(self.nap)?);
            if now < from {
                return None;
            }
            if now < from + span {
                return Some(from + span);
            }
            self.nap += 1;
            let next = self.pace.naps.get(self.nap);
            self.nap_at = next.map(|(after, _)| from + span + *after);
            self.read_at = self.read_at.max(from + span);
        }
    }

    pub fn take(&mut self, io: &mut Io<'_>, into: &mut Vec<u8>) {
        if let Some(until) = self.asleep(io.now) {
            return wake(io, until);
        }
        if self.pace.rate == 0 {
            into.append(io.input);
            return;
        }
        if self.idle {
            // The time without bytes does not count: the program does not read faster after it.
            self.read_at = io.now;
        }
        let span = io.now.saturating_sub(self.read_at);
        let n = (span.as_micros() as usize * self.pace.rate / 1000).min(io.input.len());
        into.extend(io.input.drain(..n));
        if n > 0 {
            self.read_at = io.now;
        }
        self.idle = io.input.is_empty();
        if !io.input.is_empty() {
            wake(io, io.now + ms(if self.pace.rate < 50 { 10 } else { 1 }));
        }
    }
}
