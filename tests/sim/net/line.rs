//! What a connection's line has carried: the laws about time limits and about lost bytes use the
//! network itself, not the client.

use std::time::Duration;

use super::{Net, Path};

/// Time that passes within a turn.
pub const TURN: Duration = Duration::from_millis(10);

/// The times at which bytes of one connection moved.
#[derive(Default)]
pub struct Line {
    /// The number of the client's bytes that had arrived, and that the server's program had read,
    /// by time.
    arrived: Vec<(Duration, u64)>,
    read: Vec<(Duration, u64)>,
    /// The number of bytes that had reached the client's system, by time; and when the client last
    /// read some.
    came: Vec<(Duration, u64)>,
    pub heard: Duration,
    /// A fault has hidden readable bytes, and when the client had last read some before.
    hidden: Option<(Duration, Duration)>,
    /// When the system last took a byte of the client.
    pub taken: Duration,
    /// The same, without the present moment: close_notify of TLS is sent just before the end.
    taken_before: Duration,
    /// When it last took bytes that it had refused, and the time before.
    room_made: [Duration; 2],
    /// The time since which it has refused, or a fault has: the client cannot distinguish these.
    refused: Option<Duration>,
    /// When the client had closed it.
    pub done: Option<Duration>,
    /// When it last refused, and since when it had then: the last bytes may still be taken.
    last_refusal: Option<(Duration, Duration)>,
    first_refused: Option<Duration>,
    is_misleading: bool,
    /// The program's bytes that were taken before this turn.
    pub owned_before: [u64; 2],
    /// When a fault last refused, though there may have been room.
    pub stormed: Option<Duration>,
    /// The round trip of an idle link.
    pub round_trip: Duration,
    /// For a WebSocket without TLS.
    pub frames: Frames,
}

impl Line {
    /// `heads` come before the frames of a WebSocket: that of CONNECT and its own.
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

    /// A fault refuses, though there may be `room`: then it is unknown how much the system holds
    /// when it is full, and when it is.
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

    /// Whether the arrivals show what it had taken by then: it had refused at least once.
    pub fn tells(&self, taken: Duration) -> bool {
        self.first_refused.is_some_and(|at| at <= taken) && !self.is_misleading
    }

    /// The time since which every write was refused, or was until the last bytes were written.
    pub fn refused(&self, now: Duration, says_more: bool) -> Option<Duration> {
        let before = self.last_refusal.filter(|(at, _)| says_more && *at + TURN >= now);
        before.map(|(_, since)| since).or(self.refused)
    }

    pub fn comes(&mut self, now: Duration, count: u64) {
        Line::note(&mut self.came, now, count);
    }

    /// When something last arrived that the client could use. The last `but` bytes may not be
    /// usable yet.
    pub fn came(&self, now: Duration, but: u64) -> Duration {
        let count = self.came.last().map_or(0, |(_, all)| all.saturating_sub(but));
        let i = self.came.partition_point(|(_, all)| *all < count);
        let came = self.came.get(i).map_or(Duration::ZERO, |(at, _)| *at);
        match self.hidden {
            // Bytes that are read behind the end are not for the program.
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

    /// When a byte was taken, except for those just before the end.
    pub fn taken(&self, now: Duration, plain: bool) -> Duration {
        if !plain && self.taken + TURN >= now { self.taken_before } else { self.taken }
    }

    /// When it took bytes that it had refused, except for those just before the end.
    pub fn room_made(&self, now: Duration, plain: bool) -> Duration {
        let [before, last] = self.room_made;
        if !plain && last + TURN >= now { before } else { last }
    }

    pub fn start_turn(&mut self) {
        self.owned_before = [self.owned(false), self.owned(true)];
    }

    /// Bytes of the program's frames that were taken; with TLS, any bytes.
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

/// Parses the frames that the system has taken, as far as the laws need them.
#[derive(Default)]
pub struct Frames {
    seen: u64,
    /// Heads whose end has not come. The bytes of SOCKS contain no end of a head.
    heads: usize,
    /// The bytes of the end of this head that have come: it has four.
    end_of_head: usize,
    /// The length of the current frame, without the mask key.
    header: Vec<u8>,
    /// The missing bytes of the current frame, with the mask key; 0 while its header is incomplete.
    missing: u64,
    owned: u64,
    /// Where and when the last keep-alive ping, which is empty, and the close frame ended.
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

    /// Whether the current frame is a message or a ping of the program, as far as is known.
    fn is_owned(&self) -> bool {
        match self.header[..] {
            [0x89, len, ..] => len != 0x80,
            [first, ..] => first & 8 == 0,
            [] => false,
        }
    }

    /// Bytes of messages and of the program's pings that were taken. The first byte of a ping does
    /// not show whether it is the program's, and counts only when the second has come.
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
