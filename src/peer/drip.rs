//! Bodies that are produced while they are sent: piece by piece on a clock, or as fast as the
//! client reads. The unsent bytes are bounded, however long the body is.

use std::time::{Duration, Instant};

use super::http;
use crate::proto::buf::SendBuf;

/// How many bytes are produced at a time; about this many wait for a client that does not read.
pub(super) const PIECE: usize = 64 * 1024;

/// The rest of a body.
#[derive(Debug)]
pub(super) struct Drip {
    source: Source,
    /// The time between two pieces; zero: as fast as the client reads.
    period: Duration,
    /// When the next piece is due; `None` before the first piece, which is due at once.
    due: Option<Instant>,
    chunked: bool,
}

/// The kind of pieces.
#[derive(Debug)]
pub(super) enum Source {
    /// Events with these numbers; `None`: without end.
    Ticks { next: u64, left: Option<u64> },
    /// The words of a text, from a position on.
    Words { text: Vec<u8>, at: usize },
    /// Numbered chunks with extensions, then a trailer section with the sum of all bytes.
    Lines { next: u64, left: u64, sum: u32 },
}

impl Drip {
    pub(super) fn new(source: Source, period: Duration, chunked: bool) -> Drip {
        Drip { source, period, due: None, chunked }
    }

    /// Appends the pieces that are due at `now` and fit; returns whether more will come.
    pub(super) fn pour(&mut self, now: Instant, out: &mut SendBuf) -> bool {
        if self.period.is_zero() {
            self.fill(out);
        } else {
            self.step(now, out);
        }
        let ends = self.source.is_done();
        if ends && self.chunked {
            self.source.last_chunk(out.tail());
        }
        !ends
    }

    /// Appends many pieces, once all earlier ones were sent.
    fn fill(&mut self, out: &mut SendBuf) {
        if out.len() > 0 {
            return;
        }
        let out = out.tail();
        out.reserve(PIECE + 1024);
        while out.len() < PIECE && !self.source.is_done() {
            self.source.piece(out, self.chunked);
        }
    }

    /// Appends one piece when it is due and there is room.
    fn step(&mut self, now: Instant, out: &mut SendBuf) {
        let due = self.due.unwrap_or(now);
        if due > now || out.len() >= PIECE || self.source.is_done() {
            return;
        }
        self.source.piece(out.tail(), self.chunked);
        // A piece that is late by more than a period stays late: no burst makes up for it.
        let next = due + self.period;
        self.due = Some(if next > now { next } else { now + self.period });
    }

    /// When [`Drip::pour`] has to be called again, with `waiting` bytes yet to be sent.
    pub(super) fn deadline(&self, waiting: usize) -> Option<Instant> {
        self.due.filter(|_| waiting < PIECE)
    }

    /// Whether [`Drip::pour`] has to be called as soon as more can be written.
    pub(super) fn is_hungry(&self, waiting: usize) -> bool {
        self.period.is_zero() && waiting == 0
    }
}

impl Source {
    fn is_done(&self) -> bool {
        match self {
            Source::Ticks { left, .. } => *left == Some(0),
            Source::Words { text, at } => *at >= text.len(),
            Source::Lines { left, .. } => *left == 0,
        }
    }

    /// Appends the next piece of a source that is not done.
    fn piece(&mut self, out: &mut Vec<u8>, chunked: bool) {
        match self {
            Source::Ticks { next, left } => {
                tick(out, *next, chunked);
                *next = next.wrapping_add(1);
                *left = left.map(|n| n.saturating_sub(1));
            }
            Source::Words { text, at } => {
                let word = word(text.get(*at..).unwrap_or_default());
                http::chunk(out, word, "");
                *at += word.len();
            }
            Source::Lines { next, left, sum } => {
                let line = format!("chunk {next}\n");
                *sum = line.bytes().fold(*sum, |sum, b| sum.wrapping_add(b.into()));
                http::chunk(out, line.as_bytes(), &format!(";n={next};name=\"a;b\""));
                *next = next.wrapping_add(1);
                *left = left.saturating_sub(1);
            }
        }
    }

    /// Appends the last chunk and the trailer section (RFC 9112 §7.1.2).
    fn last_chunk(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"0\r\n");
        if let Source::Lines { sum, .. } = self {
            out.extend_from_slice(format!("X-Checksum: {sum}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends an event. Allocates nothing, since a million of them may be produced in a row.
fn tick(out: &mut Vec<u8>, number: u64, chunked: bool) {
    const START: &[u8] = b"event: tick\nid: ";
    const MIDDLE: &[u8] = b"\ndata: {\"tick\":";
    const END: &[u8] = b"}\n\n";
    let mut room = [0; 20];
    let number = digits(number, &mut room);
    if chunked {
        let len = START.len() + MIDDLE.len() + END.len() + 2 * number.len();
        http::chunk_size(out, len, "");
    }
    for part in [START, number, MIDDLE, number, END] {
        out.extend_from_slice(part);
    }
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// A number in decimal. No number of 64 bits has more than 20 digits.
fn digits(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    for place in room.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    &room[at..]
}

/// The first word of `text`, with the white space behind it. Cuts are at ASCII characters only, so
/// no UTF-8 character is cut.
fn word(text: &[u8]) -> &[u8] {
    let is_space = |b: &u8| b.is_ascii_whitespace();
    let end = text.iter().position(is_space).unwrap_or(text.len());
    let spaces = text[end..].iter().take_while(|b| is_space(b)).count();
    &text[..end + spaces]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ticks(left: Option<u64>, period: Duration) -> Drip {
        Drip::new(Source::Ticks { next: 1, left }, period, false)
    }

    fn text(out: &SendBuf) -> &str {
        std::str::from_utf8(out.pending()).unwrap()
    }

    #[test]
    fn numbers_are_as_the_standard_library_writes_them() {
        let edges = [0, 1, 9, 10, 99, 100, 1_000_000, u64::MAX - 1, u64::MAX];
        for number in edges.into_iter().chain((0..64).map(|bit| 1 << bit)) {
            assert_eq!(digits(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn words_keep_all_bytes_of_the_text() {
        for (text, want) in [
            ("a", &["a"][..]),
            ("say  something\n", &["say  ", "something\n"]),
            (" two words", &[" ", "two ", "words"]),
            ("\u{e4}\u{a0}\u{f6} {\"a\":1}", &["\u{e4}\u{a0}\u{f6} ", "{\"a\":1}"]),
        ] {
            let (mut rest, mut got) = (text.as_bytes(), Vec::new());
            while !rest.is_empty() {
                let word = word(rest);
                got.push(std::str::from_utf8(word).unwrap());
                rest = &rest[word.len()..];
            }
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_piece_comes_when_it_is_due_and_not_before() {
        let (start, mut out) = (Instant::now(), SendBuf::default());
        let mut drip = ticks(Some(3), 10 * MS);
        assert!(drip.pour(start, &mut out), "the first one is due at once");
        assert_eq!(text(&out), "event: tick\nid: 1\ndata: {\"tick\":1}\n\n");
        assert_eq!(drip.deadline(out.len()), Some(start + 10 * MS));
        assert!(drip.pour(start + 9 * MS, &mut out));
        assert_eq!(text(&out).matches("tick\n").count(), 1);
        assert!(drip.pour(start + 11 * MS, &mut out));
        assert_eq!(drip.deadline(out.len()), Some(start + 20 * MS), "lateness does not add up");
        assert!(!drip.pour(start + 20 * MS, &mut out), "the end is with the last piece");
        assert_eq!(text(&out).matches("tick\n").count(), 3);
    }

    #[test]
    fn a_piece_that_is_late_brings_no_burst() {
        let (start, mut out) = (Instant::now(), SendBuf::default());
        let mut drip = ticks(None, 10 * MS);
        drip.pour(start, &mut out);
        for _ in 0..3 {
            drip.pour(start + 1000 * MS, &mut out);
        }
        assert_eq!(text(&out).matches("tick\n").count(), 2);
        assert_eq!(drip.deadline(out.len()), Some(start + 1010 * MS));
    }

    #[test]
    fn a_client_that_does_not_read_has_no_more_than_a_piece_waiting() {
        for (period, chunked) in [(Duration::ZERO, false), (Duration::ZERO, true), (MS, false)] {
            let (mut now, mut out) = (Instant::now(), SendBuf::default());
            let mut drip = ticks(None, period);
            drip.chunked = chunked;
            for _ in 0..10_000 {
                assert!(drip.pour(now, &mut out));
                now += MS;
            }
            let full = out.len();
            assert!((PIECE..PIECE + 100).contains(&full), "{full} after {period:?}");
            assert_eq!(drip.deadline(full), None, "nothing is due to whom does not read");
            assert!(!drip.is_hungry(full));
            out.sent(full);
            assert_eq!(drip.is_hungry(0), period.is_zero());
            assert!(period.is_zero() || drip.deadline(0).is_some_and(|due| due <= now));
            assert!(drip.pour(now, &mut out) && out.len() > 0, "it goes on");
        }
    }

    #[test]
    fn events_are_the_same_however_they_are_taken() {
        let want: String = (1..=3000)
            .map(|k| format!("event: tick\nid: {k}\ndata: {{\"tick\":{k}}}\n\n"))
            .collect();
        for take in [100, 70_000] {
            let (now, mut out, mut got) = (Instant::now(), SendBuf::default(), Vec::new());
            let mut drip = ticks(Some(3000), Duration::ZERO);
            while drip.pour(now, &mut out) {
                let n = out.len().min(take);
                got.extend_from_slice(&out.pending()[..n]);
                out.sent(n);
            }
            got.extend_from_slice(out.pending());
            assert_eq!(std::str::from_utf8(&got), Ok(&*want));
        }
    }
}
