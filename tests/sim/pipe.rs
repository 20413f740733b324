//! One direction of a connection: bytes on their way and bytes that have arrived.

use std::collections::VecDeque;
use std::time::Duration;

use crate::net::Path;
use crate::rng::Rng;

/// How a direction ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Finished,
    Broken,
    TimedOut,
}

pub enum Piece {
    Bytes(Vec<u8>),
    End(End),
}

pub struct Pipe {
    window: usize,
    latency: Duration,
    jitter: Duration,
    /// The rate of the link in bytes a second; 0: unlimited.
    pace: usize,
    /// The link is busy until this time.
    free_at: Duration,
    segment: usize,
    sip: usize,
    sips: u64,
    flying: VecDeque<(Duration, Piece)>,
    flying_bytes: usize,
    /// When the last piece arrives: no piece overtakes another.
    last: Duration,
    /// The bytes that have arrived; those before `at` were read.
    come: Vec<u8>,
    at: usize,
    /// How the direction ends after `come`, if it does.
    pub end: Option<End>,
    /// The bytes that were sent and that were read, since the start.
    pub sent: u64,
    pub taken: u64,
}

impl Pipe {
    pub fn new(path: &Path, pace: usize, rng: &mut Rng) -> Pipe {
        Pipe {
            window: path.window.max(1),
            latency: path.latency,
            jitter: path.jitter,
            pace,
            free_at: Duration::ZERO,
            // On a fast link the segments are larger, so that a second has a few hundred of them.
            segment: path.segment.clamp(1, 1460).max(pace / 400),
            sip: path.sip,
            sips: if path.sips == 0 { 0 } else { rng.range(0, path.sips as usize) as u64 },
            flying: VecDeque::new(),
            flying_bytes: 0,
            last: Duration::ZERO,
            come: Vec::new(),
            at: 0,
            end: None,
            sent: 0,
            taken: 0,
        }
    }

    /// How many bytes can be read.
    pub fn there(&self) -> usize {
        self.come.len() - self.at
    }

    /// How many of `bytes` travel as one piece; on a link of unlimited rate, all of them.
    pub fn segment(&self, bytes: usize) -> usize {
        if self.pace == 0 { bytes } else { bytes.min(self.segment) }
    }

    /// Whether epoll reports a socket with this much room as writable: on Linux a third of the
    /// window must be free.
    pub fn is_writable(&self, room: usize) -> bool {
        room > 0 && room * 3 >= self.window
    }

    /// How many bytes can be sent.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.flying_bytes + self.there())
    }

    /// How many bytes a system call may move now; at least one.
    pub fn sip(&self, rng: &mut Rng) -> usize {
        if self.sip == 0 || self.sent.max(self.taken) > self.sips {
            return usize::MAX;
        }
        rng.range(1, self.sip)
    }

    /// Sends a piece; returns its travel time. The link carries one piece at a time. After that the
    /// piece travels for the latency.
    pub fn send(&mut self, now: Duration, piece: Piece, rng: &mut Rng) -> Duration {
        let jitter = rng.range(0, self.jitter.as_nanos() as usize);
        if let Piece::Bytes(bytes) = &piece {
            self.flying_bytes += bytes.len();
            self.sent += bytes.len() as u64;
            if let Some(nanos) = (bytes.len() as u64 * 1_000_000_000).checked_div(self.pace as u64)
            {
                self.free_at = self.free_at.max(now) + Duration::from_nanos(nanos);
            }
        }
        let start = self.free_at.max(now);
        let at = (start + self.latency + Duration::from_nanos(jitter as u64)).max(self.last);
        self.last = at;
        self.flying.push_back((at, piece));
        at - now
    }

    /// Lets the pieces that are due arrive.
    pub fn arrive(&mut self, now: Duration) {
        while let Some((at, _)) = self.flying.front() {
            if *at > now {
                return;
            }
            match self.flying.pop_front() {
                Some((_, Piece::Bytes(bytes))) => {
                    self.flying_bytes -= bytes.len();
                    self.come.extend_from_slice(&bytes);
                }
                Some((_, Piece::End(end))) => self.end = Some(end),
                None => {}
            }
        }
    }

    /// Discards the pieces on their way.
    pub fn lose(&mut self) {
        self.flying.clear();
        self.flying_bytes = 0;
        self.last = Duration::ZERO;
        self.free_at = Duration::ZERO;
    }

    pub fn read(&mut self, buf: &mut [u8]) {
        buf.copy_from_slice(&self.come[self.at..self.at + buf.len()]);
        self.at += buf.len();
        self.taken += buf.len() as u64;
        if self.at == self.come.len() {
            self.come.clear();
            self.at = 0;
        }
    }
}
