//! Messages for clients to receive: no two alike, and encoded before the clock starts.

use std::io::{self, Write as _};

use crate::frame::{self, BINARY, TEXT};
use crate::io::Io;

/// How many encoded bytes are kept; for more messages, the same memory is used again, with other numbers.
const RING: usize = 64 * 1024 * 1024;
/// Bytes of one write.
const PIECE: usize = 256 * 1024;
/// The digits of the number at the start of each message.
const DIGITS: usize = 12;

/// The kind of the messages of a flood.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Text: a number, then the alphabet again and again.
    Text,
    /// The same as binary messages.
    Binary,
    /// JSON: an object whose first field is the number, `{"n":"00000012","text":"…"}`; 16 bytes or more.
    Json,
}

impl What {
    fn first(self, size: usize) -> (Vec<u8>, std::ops::Range<usize>) {
        let letters = |n: usize| (0..n).map(|i| b'a' + (i % 26) as u8);
        match self {
            What::Text | What::Binary => (letters(size).collect(), 0..size.min(DIGITS)),
            What::Json => {
                let (open, digits) = ("{\"n\":\"", 8);
                let (middle, close) = ("\",\"text\":\"", "\"}");
                let head = open.len() + digits;
                let mut text = format!("{open}{}", "0".repeat(digits)).into_bytes();
                if size >= head + middle.len() + close.len() {
                    text.extend_from_slice(middle.as_bytes());
                    text.extend(letters(size - text.len() - close.len()));
                }
                text.extend_from_slice(close.as_bytes());
                // Spaces after an object are valid JSON.
                text.resize(size, b' ');
                (text, open.len()..head)
            }
        }
    }

    fn opcode(self) -> u8 {
        if self == What::Binary { BINARY } else { TEXT }
    }
}

pub enum Load {
    Plain(Ring),
    /// Encrypted records.
    Tls(Vec<u8>),
}

impl Load {
    /// Encodes `count` messages of `size` bytes, then sends `ready`.
    pub fn new(
        io: &mut Io,
        ready: Vec<u8>,
        what: What,
        count: usize,
        size: usize,
    ) -> io::Result<Load> {
        let mut ring = Ring::new(what, count, size);
        let Io::Tls(tls) = io else {
            io.write_all(&ready)?;
            return Ok(Load::Plain(ring));
        };
        // TLS numbers its records: `ready` is encrypted before the load, and sent when both are done.
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        tls.conn.writer().write_all(&ready)?;
        while tls.conn.wants_write() {
            tls.conn.write_tls(&mut first)?;
        }
        tls.conn.set_buffer_limit(None);
        let conn = &mut tls.conn;
        ring.each_piece(|piece| {
            conn.writer().write_all(piece)?;
            while conn.wants_write() {
                conn.write_tls(&mut rest)?;
            }
            Ok(())
        })?;
        tls.sock.write_all(&first)?;
        Ok(Load::Tls(rest))
    }

    pub fn send(self, io: &mut Io) -> io::Result<()> {
        match (self, io) {
            (Load::Plain(mut ring), io) => ring.each_piece(|piece| io.write_all(piece)),
            (Load::Tls(bytes), Io::Tls(tls)) => {
                bytes.chunks(PIECE).try_for_each(|piece| tls.sock.write_all(piece))
            }
            (Load::Tls(_), Io::Plain(_)) => unreachable!("it was encrypted for another connection"),
        }
    }
}

pub struct Ring {
    bytes: Vec<u8>,
    /// The length of a frame with its header.
    frame: usize,
    /// The place of the number in a frame.
    digits: std::ops::Range<usize>,
    count: usize,
}

impl Ring {
    pub fn new(what: What, count: usize, size: usize) -> Ring {
        let mut one = Vec::new();
        frame::header(&mut one, what.opcode(), size);
        let head = one.len();
        let (payload, digits) = what.first(size);
        one.extend_from_slice(&payload);
        let kept = count.min((RING / one.len()).max(1));
        let digits = head + digits.start..head + digits.end;
        let mut ring = Ring { bytes: one.repeat(kept), frame: one.len(), digits, count };
        ring.number(0, 0, kept);
        ring
    }

    /// Writes numbers into `n` messages from place `at` on; the first number is `first`.
    fn number(&mut self, at: usize, first: usize, n: usize) {
        for i in 0..n {
            let mut value = first + i;
            let start = (at + i) * self.frame;
            let place = start + self.digits.start..start + self.digits.end;
            for digit in self.bytes[place].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
    }

    fn each_piece(&mut self, each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.in_steps((PIECE / self.frame).max(1), each)
    }

    /// Passes the frames one by one.
    pub fn each(&mut self, each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.in_steps(1, each)
    }

    fn in_steps(
        &mut self,
        step: usize,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let kept = self.bytes.len() / self.frame;
        let mut sent = 0;
        while sent < self.count {
            let at = sent % kept;
            let n = step.min(kept - at).min(self.count - sent);
            if sent >= kept {
                self.number(at, sent, n);
            }
            each(&self.bytes[at * self.frame..(at + n) * self.frame])?;
            sent += n;
        }
        Ok(())
    }
}
