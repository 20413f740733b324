//! Decodes pieces of a coded body, each as soon as its bytes allow.

use std::fmt;

use zlib_rs::adler32::adler32;
use zlib_rs::crc32::crc32;
use zlib_rs::{Inflate, InflateFlush, Status};

use super::error::CodingError;
use super::gzip::MemberHead;
use crate::limits::Limits;
use crate::proto::http::HttpError;

/// A coding that the client can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 1950; or RFC 1951 without that header, which many servers send under this name, and
    /// browsers accept.
    Deflate,
}

impl Coding {
    /// The coding with this name; case is ignored. `x-gzip` is gzip (RFC 9110 §8.4.1.3).
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

/// Decodes one body while it is received.
///
/// While decoded bytes are waiting, the decoder does not take the last input byte that it has read:
/// so the caller still has input, and calls again until it has received all output.
pub(crate) struct Decoder {
    coding: Coding,
    state: State,
    /// `Some` from the first compressed data on.
    inflate: Option<Inflate>,
    check: Check,
    /// Decoded bytes, and how many of them the caller has received.
    ready: Vec<u8>,
    at: usize,
    /// While `ready` is filled: how many of its bytes are decoded. The rest is room.
    end: usize,
    /// The decoder has read a byte of the input that it has not taken yet.
    holds: bool,
    /// The library has filled its room: it may have more output without further input.
    full: bool,
    /// The error to be returned after the decoded bytes.
    failed: Option<CodingError>,
    /// How many bytes were read, and to how many they were decoded.
    wire: u64,
    len: u64,
}

#[derive(Debug)]
enum State {
    /// Before the first byte.
    Start,
    GzipHead(MemberHead),
    /// The first byte, of a zlib header or of compressed data without one.
    ZlibHead(u8),
    Data,
    /// In the trailer behind the data: its bytes, and how many of them have come.
    Trailer([u8; 8], usize),
    /// Behind the end of a member. In gzip, another may follow.
    End,
}

/// The checksum of the decoded bytes of a member and, for gzip, their number.
#[derive(Clone, Copy, Debug)]
enum Check {
    Crc(u32, u32),
    Adler(u32),
    None,
}

impl Check {
    /// The checksums of no bytes.
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

    /// How many bytes the trailer of a member has.
    fn bytes(self) -> usize {
        match self {
            Check::Crc(..) => 8,
            Check::Adler(_) => 4,
            Check::None => 0,
        }
    }

    /// Compares the trailer: CRC-32 and length (low byte first), or Adler-32 (high byte first).
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

/// Room for decoded bytes is made in steps of at least this many bytes.
const ROOM: usize = 256;

/// `ready` is freed when it is empty and larger than this: an idle stream keeps little memory.
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

    /// Decodes from `data` at most [`Limits::decoded_piece`] bytes into [`Decoder::rest`], which
    /// has to be empty before. Returns how many bytes it took: all if there is no output. The
    /// caller passes the others again.
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

    /// Fills `ready`; returns how many bytes were read, including one that is not taken yet.
    fn steps(&mut self, data: &[u8], limits: &Limits) -> Result<usize, HttpError> {
        let most = limits.decoded_piece.max(1);
        let mut used = usize::from(self.holds);
        while self.end < most && (used < data.len() || self.full) {
            let input = data.get(used..).unwrap_or_default();
            match self.step(input, most, limits) {
                Ok(n) => used += n,
                Err(e) if self.end == 0 => return Err(HttpError::Coding(e)),
                // The caller receives the bytes decoded before the error first.
                Err(e) => {
                    self.failed = Some(e);
                    break;
                }
            }
        }
        Ok(used)
    }

    /// Decoded bytes that the caller has not received yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.ready.get(self.at..).unwrap_or_default()
    }

    /// Removes and returns the rest.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.drain(..self.at.min(ready.len()));
        self.at = 0;
        ready
    }

    /// Records that the caller has received `n` bytes of the rest.
    pub(crate) fn skip(&mut self, n: usize) {
        self.at += n;
    }

    /// Takes the byte that was read and not taken, if there is no more output; returns how many
    /// bytes it took (0 or 1).
    pub(crate) fn release(&mut self) -> usize {
        if !self.rest().is_empty() || self.full || self.failed.is_some() {
            return 0;
        }
        if self.ready.capacity() > KEEP {
            (self.ready, self.at) = (Vec::new(), 0);
        }
        usize::from(std::mem::take(&mut self.holds))
    }

    /// The body has ended; `Ok` if the coded data is complete. As in browsers, a body of no bytes
    /// is valid in every coding.
    pub(crate) fn finish(&self) -> Result<(), HttpError> {
        match self.state {
            State::Start | State::End => Ok(()),
            _ => Err(HttpError::Coding(CodingError::Truncated)),
        }
    }

    /// How many bytes were read, and to how many they were decoded.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.wire, self.len)
    }

    /// Reads the next part of `input`; returns how many bytes it read.
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

    /// Begins the compressed data of a member.
    fn start(&mut self, check: Check) {
        self.check = check;
        self.state = State::Data;
    }

    /// Decides by the second byte: `head` is a zlib header (RFC 1950 §2.2), or data without one.
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
            // FDICT: the data needs a preset dictionary, which the client does not have.
            return if flags & 32 == 0 { Ok(1) } else { Err(CodingError::Head) };
        }
        self.start(Check::None);
        // The first byte was counted when it came.
        self.wire = self.wire.saturating_sub(1);
        // Both bytes are read here, but the first was taken from an earlier input.
        match self.data(&head, most, limits)? {
            2 => Ok(1),
            _ => Err(CodingError::Trailing),
        }
    }

    /// Inflates once, into the room that is left; returns how many bytes of the input were read.
    fn data(&mut self, input: &[u8], most: usize, limits: &Limits) -> Result<usize, CodingError> {
        // A state with a window of 15 reads data written with any window.
        let inflate = self.inflate.get_or_insert_with(|| Inflate::new(false, 15));
        let at = self.end;
        // The room doubles, so a large piece is moved only a few times.
        let room = input.len().saturating_mul(4).max(at).max(ROOM).min(most - at);
        // `ready` is not shortened here: otherwise each of many short members would zero it again.
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
            // The library has input and room but makes no progress, and so never will.
            Ok(_) | Err(_) => Err(CodingError::Data),
        }
    }

    /// Fails if the output is too large for the input (a decompression bomb).
    fn bound(&self, limits: &Limits) -> Result<(), CodingError> {
        let fair = self.wire.saturating_mul(u64::from(limits.decoded_ratio));
        if self.len > fair.max(limits.decoded_free as u64) {
            return Err(CodingError::Ratio(limits.decoded_ratio));
        }
        Ok(())
    }
}
