//! Decodes pieces of a coded body, each as soon as possible.

use std::fmt;

use zlib_rs::adler32::adler32;
use zlib_rs::crc32::crc32;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::error::CodingError;
use super::gzip::MemberHead;
use crate::limits::Limits;
use crate::proto::http::HttpError;

/// A coding that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 1950; or RFC 1951 alone, which many servers have sent under this name, and browsers
    /// accept.
    Deflate,
}

impl Coding {
    /// The coding of this name, without regard to case. `x-gzip` is gzip (RFC 9110 §8.4.1.3).
    pub(super) fn named(name: &[u8]) -> Option<Coding> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match () {
            () if is(b"gzip") || is(b"x-gzip") => Some(Coding::Gzip),
            () if is(b"deflate") => Some(Coding::Deflate),
            () => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }
}

/// A coded body while it is received.
///
/// The decoder takes the last byte that it has read only when everything decoded from it was handed
/// over: the caller still has input, and so calls again, as long as there is output.
pub(crate) struct Decoder {
    coding: Coding,
    state: State,
    /// Created with the first data.
    inflate: Option<Inflate>,
    check: Check,
    /// Decoded bytes, and how many of them were handed over.
    ready: Vec<u8>,
    at: usize,
    /// How many bytes of `ready` are decoded while it is filled; room follows.
    end: usize,
    /// The last byte that was read is held back (not taken).
    holds: bool,
    /// The library has filled its room: it may give more without further input.
    full: bool,
    /// The error to be returned after the decoded bytes.
    failed: Option<CodingError>,
    /// How many bytes were read, and how many were decoded from them.
    wire: u64,
    len: u64,
}

#[derive(Debug)]
enum State {
    /// Before the first byte.
    Start,
    GzipHead(MemberHead),
    /// The first byte of the zlib header, or of compressed data without one.
    ZlibHead(u8),
    Data,
    /// The trailer behind the data, and how many bytes of it have come.
    Trailer([u8; 8], usize),
    /// Behind the end. In gzip, another member may follow.
    End,
}

/// The checksum of the decoded bytes of a member, and their number.
#[derive(Clone, Copy, Debug)]
enum Check {
    Crc(u32, u32),
    Adler(u32),
    None,
}

impl Check {
    /// The checksum of no bytes.
    const CRC: Check = Check::Crc(0, 0);
    const ADLER: Check = Check::Adler(1);

    fn add(&mut self, data: &[u8]) {
        match self {
            Check::Crc(crc, len) => {
                *crc = crc32(*crc, data);
                // Modulo 2³² (RFC 1952 §2.3.1).
                *len = len.wrapping_add(data.len() as u32);
            }
            Check::Adler(adler) => *adler = adler32(*adler, data),
            Check::None => {}
        }
    }

    /// How many bytes the trailer has.
    fn bytes(self) -> usize {
        match self {
            Check::Crc(..) => 8,
            Check::Adler(_) => 4,
            Check::None => 0,
        }
    }

    /// Whether the trailer matches: CRC-32 and length, the low byte first, or Adler-32, the high
    /// byte first.
    fn agrees(self, [a, b, c, d, length @ ..]: [u8; 8]) -> Result<(), CodingError> {
        let first = [a, b, c, d];
        match self {
            Check::Crc(crc, _) if u32::from_le_bytes(first) != crc => Err(CodingError::Checksum),
            Check::Crc(_, len) if u32::from_le_bytes(length) != len => Err(CodingError::Length),
            Check::Adler(adler) if u32::from_be_bytes(first) != adler => Err(CodingError::Checksum),
            _ => Ok(()),
        }
    }
}

/// The smallest room that is made at a time.
const ROOM: usize = 256;

/// Memory of decoded pieces that is kept while there are none, so that an idle stream owns little.
const KEEP: usize = 4 * 1024;

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Decoder { coding, state, wire, len, .. } = self;
        write!(f, "Decoder({}, {state:?}, {wire}, {len})", coding.name())
    }
}

impl Decoder {
    pub(crate) fn new(coding: Coding) -> Decoder {
        Decoder {
            coding,
            state: State::Start,
            inflate: None,
            check: Check::None,
            ready: Vec::new(),
            at: 0,
            end: 0,
            holds: false,
            full: false,
            failed: None,
            wire: 0,
            len: 0,
        }
    }

    /// Decodes `data`, of which at most [`Limits::decoded_piece`] bytes become [`Decoder::rest`];
    /// to be called when the rest is empty. Returns how many bytes it took: all of them if there is
    /// no output. The remaining input has to be given again.
    pub(crate) fn decode(&mut self, data: &[u8], limits: &Limits) -> Result<usize, HttpError> {
        if let Some(failed) = self.failed.take() {
            return Err(HttpError::Coding(failed));
        }
        self.ready.clear();
        (self.at, self.end) = (0, 0);
        let result = self.steps(data, limits);
        self.ready.truncate(self.end);
        self.holds = !self.ready.is_empty();
        Ok(result?.saturating_sub(usize::from(self.holds)))
    }

    /// Fills `ready`; returns how many bytes it read, the one that is held back included.
    fn steps(&mut self, data: &[u8], limits: &Limits) -> Result<usize, HttpError> {
        let most = limits.decoded_piece.max(1);
        let mut used = usize::from(self.holds);
        while self.end < most && (used < data.len() || self.full) {
            let input = data.get(used..).unwrap_or_default();
            match self.step(input, most, limits) {
                Ok(n) => used += n,
                Err(e) if self.end == 0 => return Err(HttpError::Coding(e)),
                // Bytes decoded before the error are handed over first.
                Err(e) => {
                    self.failed = Some(e);
                    break;
                }
            }
        }
        Ok(used)
    }

    /// Decoded bytes that were not handed over yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.ready.get(self.at..).unwrap_or_default()
    }

    /// Returns all of the rest.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.drain(..self.at.min(ready.len()));
        self.at = 0;
        ready
    }

    /// Records that `n` bytes of the rest were handed over.
    pub(crate) fn skip(&mut self, n: usize) {
        self.at += n;
    }

    /// Takes the byte that is held back, if there is no more output; returns how many bytes it took
    /// (0 or 1).
    pub(crate) fn release(&mut self) -> usize {
        if !self.rest().is_empty() || self.full || self.failed.is_some() {
            return 0;
        }
        if self.ready.capacity() > KEEP {
            (self.ready, self.at) = (Vec::new(), 0);
        }
        usize::from(std::mem::take(&mut self.holds))
    }

    /// The body has ended; `Ok` if the coded data has, too. A body without any byte is valid in
    /// every coding, as in browsers.
    pub(crate) fn finish(&self) -> Result<(), HttpError> {
        match self.state {
            State::Start | State::End => Ok(()),
            _ => Err(HttpError::Coding(CodingError::Truncated)),
        }
    }

    /// How many bytes were read, and how many were decoded from them.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.wire, self.len)
    }

    /// Takes the next part of `input`; returns how many bytes it has.
    fn step(&mut self, input: &[u8], most: usize, limits: &Limits) -> Result<usize, CodingError> {
        let used = match &mut self.state {
            State::Data => return self.data(input, most, limits),
            State::Start => {
                let first = input.first().copied().unwrap_or_default();
                self.state = match self.coding {
                    Coding::Gzip => State::GzipHead(MemberHead::new()),
                    Coding::Deflate => State::ZlibHead(first),
                };
                usize::from(self.coding == Coding::Deflate)
            }
            State::GzipHead(head) => {
                let mut used = 0;
                for byte in input {
                    used += 1;
                    if head.take(*byte)? {
                        self.start(Check::CRC);
                        break;
                    }
                }
                used
            }
            State::ZlibHead(first) => {
                let second = input.first().copied().unwrap_or_default();
                let head = [*first, second];
                return self.zlib_head(head, most, limits);
            }
            State::Trailer(bytes, have) => {
                let (of, from) = (self.check.bytes(), *have);
                let n = input.len().min(of - from);
                bytes[from..from + n].copy_from_slice(&input[..n]);
                *have += n;
                if *have == of {
                    self.check.agrees(*bytes)?;
                    self.state = State::End;
                }
                n
            }
            State::End if self.coding == Coding::Gzip && input.first() == Some(&0x1F) => {
                self.state = State::GzipHead(MemberHead::new());
                0
            }
            State::End => return Err(CodingError::Trailing),
        };
        self.wire += used as u64;
        Ok(used)
    }

    /// Starts the data of a member.
    fn start(&mut self, check: Check) {
        self.check = check;
        self.state = State::Data;
    }

    /// The second byte has come: this is a zlib header (RFC 1950 §2.2), or data without one.
    fn zlib_head(
        &mut self,
        head: [u8; 2],
        most: usize,
        limits: &Limits,
    ) -> Result<usize, CodingError> {
        let [method, flags] = head;
        let is_head =
            method & 15 == 8 && method >> 4 <= 7 && u16::from_be_bytes(head).is_multiple_of(31);
        if is_head {
            self.start(Check::ADLER);
            self.wire += 1;
            // A preset dictionary, which was not agreed on.
            return if flags & 32 == 0 { Ok(1) } else { Err(CodingError::Head) };
        }
        self.start(Check::None);
        // The first byte was already counted.
        self.wire = self.wire.saturating_sub(1);
        // Both bytes were taken off the input, the first one before.
        match self.data(&head, most, limits)? {
            2 => Ok(1),
            _ => Err(CodingError::Trailing),
        }
    }

    /// Inflates once, into the room there is; returns how many bytes of the input it took.
    fn data(&mut self, input: &[u8], most: usize, limits: &Limits) -> Result<usize, CodingError> {
        // A window of 15 can read data written with any window.
        let inflate = self.inflate.get_or_insert_with(|| Inflate::new(false, 15));
        let at = self.end;
        // Room doubles: a piece that becomes large is moved a few times only.
        let room = input.len().saturating_mul(4).max(at).max(ROOM).min(most - at);
        // The buffer keeps its length: many short members would fill the same room with zeros each.
        if self.ready.len() < at + room {
            #[cfg(test)]
            super::tests::CLEARED.set(super::tests::CLEARED.get() + at + room - self.ready.len());
            self.ready.resize(at + room, 0);
        }
        let (total_in, total_out) = (inflate.total_in(), inflate.total_out());
        let ready = &mut self.ready[at..at + room];
        let result = inflate.decompress(input, ready, InflateFlush::SyncFlush);
        let used = (inflate.total_in() - total_in) as usize;
        let made = (inflate.total_out() - total_out) as usize;
        self.end = at + made;
        self.wire += used as u64;
        self.len += made as u64;
        self.check.add(&self.ready[at..self.end]);
        self.full = made == room && result.is_ok();
        if matches!(result, Ok(Status::StreamEnd)) {
            inflate.reset(false);
        }
        self.bound(limits)?;
        match result {
            Ok(Status::StreamEnd) => {
                self.full = false;
                self.state = match self.check.bytes() {
                    0 => State::End,
                    _ => State::Trailer([0; 8], 0),
                };
                Ok(used)
            }
            Ok(_) if used > 0 || made > 0 || input.is_empty() => Ok(used),
            // The library has input and room and makes no progress: it never will.
            Ok(_) | Err(_) => Err(CodingError::Data),
        }
    }

    /// Checks whether the output is too large for the input.
    fn bound(&self, limits: &Limits) -> Result<(), CodingError> {
        let fair = self.wire.saturating_mul(u64::from(limits.decoded_ratio));
        if self.len > fair.max(limits.decoded_free as u64) {
            return Err(CodingError::Ratio(limits.decoded_ratio));
        }
        Ok(())
    }
}
