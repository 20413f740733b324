//! What a connection's line has carried. The laws about time limits and about lost bytes compare
//! this with what the client reports.

use std::time::Duration;

use super::{Net, Path};

/// The most time that passes within a turn.
pub const TURN: Duration = Duration::from_millis(10);

/// The times at which bytes of one connection moved.
#[derive(Default)]
pub struct Line {
    /// By time: how many of the client's bytes had arrived at the server's system, and how many
    /// the server's program had read.
    arrived: Vec<(Duration, u64)>,
    read: Vec<(Duration, u64)>,
    /// By time: how many bytes had arrived at the client's system.
    came: Vec<(Duration, u64)>,
    /// When the client last read bytes.
    pub last_read: Duration,
    /// When a fault last hid readable bytes, and when the client had last read bytes before that.
    hidden: Option<(Duration, Duration)>,
    /// When the client's system last took a byte.
    pub taken: Duration,
    /// When it last took a byte in an earlier turn: TLS sends close_notify just before the end.
    taken_before: Duration,
    /// When the system last took bytes after a refusal: in an earlier turn, and at all.
    room_made: [Duration; 2],
    /// Since when the system, or a fault, has refused bytes: the client cannot distinguish these.
    refused: Option<Duration>,
    /// When the client stopped using the socket.
    pub done: Option<Duration>,
    /// The time of the last refusal, and since when bytes were refused at that time. It is kept
    /// when the system takes bytes again, since it may take the last bytes just before the end.
    last_refusal: Option<(Duration, Duration)>,
    first_refused: Option<Duration>,
    /// Whether a fault has refused bytes that the system had room for.
    is_misleading: bool,
    /// The program's bytes that the system had taken before this turn; see [`Line::owned`].
    pub owned_before: [u64; 2],
    /// When a fault last refused bytes, whether the system had room or not.
    pub fault_refused: Option<Duration>,
    /// The round trip of an idle link.
    pub round_trip: Duration,
    /// The frames of a WebSocket without TLS.
    pub frames: Frames,
}

impl Line {
    /// `heads` is the number of heads before the frames of a WebSocket: the head of its request,
    /// and of a CONNECT before it.
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

    /// A fault refuses bytes. If the system has `room`, the client cannot know when the system is
    /// full, and how much it then holds.
    pub fn fault_refuses(&mut self, now: Duration, room: usize) {
        self.fault_refused = Some(now);
        self.is_misleading |= room > 0;
        self.turns_down(now);
    }

    fn turns_down(&mut self, now: Duration) {
        let since = *self.refused.get_or_insert(now);
        if self.last_refusal.is_none_or(|(at, _)| at + TURN < now) {
            self.last_refusal = Some((now, since));
        }
    }

    /// Whether the arrivals count for bytes that were taken by then: the system had refused bytes
    /// at least once, and no fault has refused bytes that it had room for.
    pub fn arrivals_count(&self, taken: Duration) -> bool {
        self.first_refused.is_some_and(|at| at <= taken) && !self.is_misleading
    }

    /// Since when every write was refused. With `wrote_last`, the client may have written bytes
    /// just before the end: these do not count.
    pub fn refused(&self, now: Duration, wrote_last: bool) -> Option<Duration> {
        let before = self.last_refusal.filter(|(at, _)| wrote_last && *at + TURN >= now);
        before.map(|(_, since)| since).or(self.refused)
    }

    pub fn comes(&mut self, now: Duration, count: u64) {
        Line::note(&mut self.came, now, count);
    }

    /// When bytes last arrived that the client could use. The last `but` bytes do not count: they
    /// may not be usable yet.
    pub fn came(&self, now: Duration, but: u64) -> Duration {
        let count = self.came.last().map_or(0, |(_, all)| all.saturating_sub(but));
        let i = self.came.partition_point(|(_, all)| *all < count);
        let came = self.came.get(i).map_or(Duration::ZERO, |(at, _)| *at);
        match self.hidden {
            // A fault hides bytes now. What arrived after the last read does not count.
            Some((at, last_read)) if at == now => came.min(last_read),
            _ => came,
        }
    }

    pub fn hides(&mut self, now: Duration) {
        if !self.is_hidden(now) {
            self.hidden = Some((now, self.last_read));
        }
    }

    pub fn is_hidden(&self, now: Duration) -> bool {
        self.hidden.is_some_and(|(at, _)| at == now)
    }

    /// When the system last took a byte. Unless `plain`, a byte just before the end does not count.
    pub fn taken(&self, now: Duration, plain: bool) -> Duration {
        if !plain && self.taken + TURN >= now { self.taken_before } else { self.taken }
    }

    /// When the system last took bytes after a refusal. Unless `plain`, bytes just before the end
    /// do not count.
    pub fn room_made(&self, now: Duration, plain: bool) -> Duration {
        let [before, last] = self.room_made;
        if !plain && last + TURN >= now { before } else { last }
    }

    pub fn start_turn(&mut self) {
        self.owned_before = [self.owned(false), self.owned(true)];
    }

    /// How many bytes of the program's frames the system has taken; unless `plain`, all bytes that
    /// it has taken.
    pub fn owned(&self, plain: bool) -> u64 {
        if plain { self.frames.owned() } else { self.frames.seen }
    }

    pub fn last_moved(&self) -> Duration {
        self.taken.max(self.moved(u64::MAX))
    }

    /// When one of the client's first `end` bytes last moved: it arrived, or the server read it.
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
    /// How many heads have not ended. The bytes of SOCKS contain no end of a head.
    heads: usize,
    /// How many of the four bytes that end a head were last seen.
    end_of_head: usize,
    /// The header of the current frame, without the mask key.
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

    /// How many bytes of messages and of the program's pings the system has taken. The first byte
    /// of a ping does not show whether it is the program's: it counts once the second byte is
    /// taken.
    pub fn owned(&self) -> u64 {
        let partial = if self.missing == 0 && self.is_owned() { self.header.len() } else { 0 };
        self.owned + partial as u64
    }
}

impl Net {
    /// The line of the connection with this id. If several sockets raced, it is that of the socket
    /// that was used.
    pub fn line(&self, conn: u64) -> Option<&Line> {
        let mut all = self.tcps.iter().filter(|tcp| tcp.conn == Some(conn));
        all.rfind(|tcp| tcp.up.sent > 0).map(|tcp| &tcp.line)
    }
}
