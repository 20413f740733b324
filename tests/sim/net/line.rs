//! What a connection's line has seen: the laws about limits of time and about what was lost ask
//! the network itself, not the client.

use std::time::Duration;

use super::{Net, Path};

/// Time that passes within a turn.
pub const TURN: Duration = Duration::from_millis(10);

/// When bytes of one connection moved.
#[derive(Default)]
pub struct Line {
    /// How many of the client's bytes had arrived, and were read by the server's program, when.
    arrived: Vec<(Duration, u64)>,
    read: Vec<(Duration, u64)>,
    /// How many bytes had come to the client's system, when; and when the client read some last.
    came: Vec<(Duration, u64)>,
    pub heard: Duration,
    /// A storm has hidden what is there, and when the client had read some before.
    hidden: Option<(Duration, Duration)>,
    /// When the system last took a byte of the client's.
    pub taken: Duration,
    /// The same, if it was not just now: a goodbye of TLS is sent on the way out.
    taken_before: Duration,
    /// When it last took what it had refused, and before.
    room_made: [Duration; 2],
    /// Since when it has refused, or a storm has: the client cannot tell one from the other.
    refused: Option<Duration>,
    /// When the client was done with it.
    pub done: Option<Duration>,
    /// When it refused last, and since when it did so just then: the last words may be taken still.
    last_refusal: Option<(Duration, Duration)>,
    first_refused: Option<Duration>,
    is_misleading: bool,
    /// Of the owner's bytes, those that were taken before this turn.
    pub owned_before: [u64; 2],
    /// When a fault refused last, whatever room there was.
    pub stormed: Option<Duration>,
    /// A round trip of an idle link.
    pub round_trip: Duration,
    /// Of a WebSocket without TLS.
    pub frames: Frames,
}

impl Line {
    /// `heads` stand before the frames of a WebSocket: that of CONNECT and its own.
    pub fn new(path: &Path, heads: usize) -> Line {
        let frames = Frames { heads, ..Frames::default() };
        Line { round_trip: (path.latency + path.jitter) * 2, frames, ..Line::default() }
    }

    fn note(log: &mut Vec<(Duration, u64)>, now: Duration, count: u64) {
        if log.last().map_or(0, |(_, last)| *last) < count {
            log.push((now, count));
        }
    }

    pub fn arrived(&mut self, now: Duration, count: u64) {
        Line::note(&mut self.arrived, now, count);
    }

    pub fn read(&mut self, now: Duration, count: u64) {
        Line::note(&mut self.read, now, count);
    }

    pub fn takes(&mut self, now: Duration, bytes: &[u8]) {
        if self.taken + TURN < now {
            self.taken_before = self.taken;
        }
        if self.refused.take().is_some_and(|since| since < now) {
            let [before, last] = self.room_made;
            self.room_made = [if last + TURN < now { last } else { before }, now];
        }
        self.taken = now;
        self.frames.feed(now, bytes);
    }

    pub fn refuses(&mut self, now: Duration) {
        self.first_refused.get_or_insert(now);
        self.turns_down(now);
    }

    /// A fault refuses, though there may be `room`: then nobody can tell any more how much the system
    /// holds when it is full, and when that is.
    pub fn storms(&mut self, now: Duration, room: usize) {
        self.stormed = Some(now);
        self.is_misleading |= room > 0;
        self.turns_down(now);
    }

    fn turns_down(&mut self, now: Duration) {
        let since = *self.refused.get_or_insert(now);
        if self.last_refusal.is_none_or(|(at, _)| at + TURN < now) {
            self.last_refusal = Some((now, since));
        }
    }

    /// Whether one can tell what it took by then from what has arrived: it had refused at least once.
    pub fn tells(&self, taken: Duration) -> bool {
        self.first_refused.is_some_and(|at| at <= taken) && !self.is_misleading
    }

    /// Since when every write was refused, or was before the last words were written.
    pub fn refused(&self, now: Duration, says_more: bool) -> Option<Duration> {
        let before = self.last_refusal.filter(|(at, _)| says_more && *at + TURN >= now);
        before.map(|(_, since)| since).or(self.refused)
    }

    pub fn comes(&mut self, now: Duration, count: u64) {
        Line::note(&mut self.came, now, count);
    }

    /// When something last came that the client could see. The last `but` bytes may be nothing yet.
    pub fn came(&self, now: Duration, but: u64) -> Duration {
        let count = self.came.last().map_or(0, |(_, all)| all.saturating_sub(but));
        let i = self.came.partition_point(|(_, all)| *all < count);
        let came = self.came.get(i).map_or(Duration::ZERO, |(at, _)| *at);
        match self.hidden {
            // What is read of it behind the end is not for the owner.
            Some((at, heard)) if at == now => came.min(heard),
            _ => came,
        }
    }

    pub fn hides(&mut self, now: Duration) {
        if !self.is_hidden(now) {
            self.hidden = Some((now, self.heard));
        }
    }

    pub fn is_hidden(&self, now: Duration) -> bool {
        self.hidden.is_some_and(|(at, _)| at == now)
    }

    /// When a byte was taken, but for what is said on the way out.
    pub fn taken(&self, now: Duration, plain: bool) -> Duration {
        if !plain && self.taken + TURN >= now { self.taken_before } else { self.taken }
    }

    /// When it took what it had refused, but for what is said on the way out.
    pub fn room_made(&self, now: Duration, plain: bool) -> Duration {
        let [before, last] = self.room_made;
        if !plain && last + TURN >= now { before } else { last }
    }

    pub fn start_turn(&mut self) {
        self.owned_before = [self.owned(false), self.owned(true)];
    }

    /// Bytes of the owner's frames that were taken; of a line with TLS, any bytes.
    pub fn owned(&self, plain: bool) -> u64 {
        if plain { self.frames.owned() } else { self.frames.seen }
    }

    pub fn last_moved(&self) -> Duration {
        self.taken.max(self.moved(u64::MAX))
    }

    /// When one of the first `end` bytes from the client last moved: arrived, or was read.
    pub fn moved(&self, end: u64) -> Duration {
        let last = |log: &[(Duration, u64)]| {
            let i = log.partition_point(|(_, count)| *count < end);
            log.get(i).or(log.last()).map_or(Duration::ZERO, |(at, _)| *at)
        };
        last(&self.arrived).max(last(&self.read))
    }
}

/// A reader of the frames that the system has taken, as far as the laws need them.
#[derive(Default)]
pub struct Frames {
    seen: u64,
    /// Heads whose end has not come. What is said to SOCKS has no end of a head in it.
    heads: usize,
    /// Bytes of the end of this head that have come: it has four.
    end_of_head: usize,
    /// Of the frame under way, without the mask key.
    header: Vec<u8>,
    /// What the frame under way lacks, with the mask key; 0 while its header is not whole.
    missing: u64,
    owned: u64,
    /// Where the last keep-alive ping, which is empty, and the close frame ended, and when.
    pub ping: Option<(u64, Duration)>,
    pub close: Option<(u64, Duration)>,
}

impl Frames {
    fn feed(&mut self, now: Duration, bytes: &[u8]) {
        let mut rest = bytes;
        while let [byte, ..] = rest {
            let mut n = 1;
            if self.heads > 0 {
                let goes_on = *byte == b"\r\n\r\n"[self.end_of_head];
                self.end_of_head = if goes_on { self.end_of_head + 1 } else { 0 };
                if self.end_of_head == 4 {
                    (self.end_of_head, self.heads) = (0, self.heads - 1);
                }
                self.seen += 1;
            } else if self.missing > 0 {
                n = usize::try_from(self.missing).map_or(rest.len(), |m| m.min(rest.len()));
                self.payload(now, n as u64);
            } else {
                self.seen += 1;
                self.header.push(*byte);
                self.header_came();
            }
            rest = &rest[n..];
        }
    }

    fn header_came(&mut self) {
        let Some(short) = self.header.get(1).map(|b| b & 0x7F) else { return };
        let size = match short {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if self.header.len() == size {
            let long = self.header[2..].iter().fold(0, |n, b| n << 8 | u64::from(*b));
            self.missing = 4 + if size == 2 { u64::from(short) } else { long };
            self.owned += if self.is_owned() { size as u64 } else { 0 };
        }
    }

    fn payload(&mut self, now: Duration, n: u64) {
        self.seen += n;
        self.missing -= n;
        self.owned += if self.is_owned() { n } else { 0 };
        if self.missing == 0 {
            match self.header[..2] {
                [0x89, 0x80] => self.ping = Some((self.seen, now)),
                [0x88, _] => self.close = Some((self.seen, now)),
                _ => {}
            }
            self.header.clear();
        }
    }

    /// Whether the frame under way is a message or a ping of the owner's, as far as one knows.
    fn is_owned(&self) -> bool {
        match self.header[..] {
            [0x89, len, ..] => len != 0x80,
            [first, ..] => first & 8 == 0,
            [] => false,
        }
    }

    /// Bytes of messages and of the owner's pings that were taken. The first byte of a ping does not
    /// say whose it is, and does not count until the second has come.
    pub fn owned(&self) -> u64 {
        let partial = if self.missing == 0 && self.is_owned() { self.header.len() } else { 0 };
        self.owned + partial as u64
    }
}

impl Net {
    /// The line of the connection with this id: of several that raced, the one that was used.
    pub fn line(&self, conn: u64) -> Option<&Line> {
        let mut all = self.tcps.iter().filter(|tcp| tcp.conn == Some(conn));
        all.rfind(|tcp| tcp.up.sent > 0).map(|tcp| &tcp.line)
    }
}
