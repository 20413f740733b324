//! gzip (RFC 1952) around compressed data: parses the header of a member, and writes a body as one
//! member.

use zlib_rs::crc32::crc32;
use zlib_rs::{Deflate, DeflateFlush};

use super::error::CodingError;

/// Parses the header of a member (§2.3) byte by byte: input may be cut anywhere, and no byte is
/// kept.
#[derive(Debug)]
pub(super) struct MemberHead {
    at: At,
    flags: u8,
    /// CRC-32 of the header bytes before the header's own checksum.
    crc: u32,
}

#[derive(Debug)]
enum At {
    /// How many of the ten fixed bytes were taken.
    Fixed(u8),
    /// In the length of the extra field; its first byte, if that has come.
    ExtraLength(Option<u8>),
    /// In the extra field; how many of its bytes are left.
    Extra(u16),
    Name,
    Comment,
    /// In the checksum of the header; its first byte, if that has come.
    Crc(Option<u8>),
}

/// Bits of the flags (§2.3.1).
mod flag {
    pub(super) const CRC: u8 = 2;
    pub(super) const EXTRA: u8 = 4;
    pub(super) const NAME: u8 = 8;
    pub(super) const COMMENT: u8 = 16;
    pub(super) const RESERVED: u8 = 0xE0;
}

/// The first bytes of a member: ID1, ID2, and CM for deflate.
const START: [u8; 3] = [0x1F, 0x8B, 8];

/// The length of a header without its optional parts.
const FIXED: u8 = 10;

impl MemberHead {
    pub(super) fn new() -> MemberHead {
        MemberHead { at: At::Fixed(0), flags: 0, crc: 0 }
    }

    /// Takes a byte; returns whether it is the last byte of the header.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool, CodingError> {
        let crc = self.crc;
        self.crc = crc32(crc, &[byte]);
        let next = match self.at {
            At::Fixed(n) => {
                self.fixed(n, byte)?;
                if n + 1 < FIXED { Some(At::Fixed(n + 1)) } else { self.behind(0) }
            }
            At::ExtraLength(None) => Some(At::ExtraLength(Some(byte))),
            At::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.behind(flag::EXTRA),
                length => Some(At::Extra(length)),
            },
            At::Extra(1) => self.behind(flag::EXTRA),
            At::Extra(left) => Some(At::Extra(left.saturating_sub(1))),
            At::Name if byte == 0 => self.behind(flag::NAME),
            At::Comment if byte == 0 => self.behind(flag::COMMENT),
            At::Name | At::Comment => return Ok(false),
            At::Crc(None) => {
                // The checksum does not cover itself.
                self.crc = crc;
                Some(At::Crc(Some(byte)))
            }
            At::Crc(Some(low)) if u32::from(u16::from_le_bytes([low, byte])) == crc & 0xFFFF => {
                None
            }
            At::Crc(Some(_)) => return Err(CodingError::Head),
        };
        match next {
            Some(at) => self.at = at,
            None => return Ok(true),
        }
        Ok(false)
    }

    /// Checks byte `n` of the fixed bytes. Time, extra flags and operating system may have any
    /// value.
    fn fixed(&mut self, n: u8, byte: u8) -> Result<(), CodingError> {
        let is_fine = match n {
            0..=2 => byte == START[usize::from(n)],
            // "Must give an error indication if any reserved bit is non-zero" (§2.3.1.2).
            3 => byte & flag::RESERVED == 0,
            _ => true,
        };
        if n == 3 {
            self.flags = byte;
        }
        if is_fine { Ok(()) } else { Err(CodingError::Head) }
    }

    /// The optional part that follows the part with the flag `last`; `None` if the data follows.
    fn behind(&self, last: u8) -> Option<At> {
        let parts = [
            (flag::EXTRA, At::ExtraLength(None)),
            (flag::NAME, At::Name),
            (flag::COMMENT, At::Comment),
        ];
        let next = parts.into_iter().find(|(bit, _)| *bit > last && self.flags & bit != 0);
        let crc = || (self.flags & flag::CRC != 0).then_some(At::Crc(None));
        next.map(|(_, at)| at).or_else(crc)
    }
}

/// zlib's default: higher levels take twice the time for a few per cent.
const LEVEL: i32 = 6;

/// The largest window of deflate, which every gzip decoder supports.
const WINDOW: u8 = 15;

/// Room for compressed bytes is made in steps of at most this many bytes.
const ROOM: usize = 64 * 1024;

/// `body` as one member (§2.2) without name and time; `None` if the library fails.
pub(crate) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let [a, b, c] = START;
    // Flags 0, time 0, extra flags 0, operating system 255: unknown (§2.3.1).
    let mut out = vec![a, b, c, 0, 0, 0, 0, 0, 0, 255];
    let mut state = Deflate::new(LEVEL, false, WINDOW);
    let mut rest = body;
    loop {
        let from = out.len();
        out.resize(from + ROOM.min(rest.len() + 64), 0);
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let status = state.compress(rest, &mut out[from..], DeflateFlush::Finish).ok()?;
        let used = (state.total_in() - total_in) as usize;
        let made = (state.total_out() - total_out) as usize;
        out.truncate(from + made);
        rest = rest.get(used..).unwrap_or_default();
        match status {
            zlib_rs::Status::StreamEnd if rest.is_empty() => break,
            _ if used == 0 && made == 0 => return None,
            _ => {}
        }
    }
    out.extend_from_slice(&crc32(0, body).to_le_bytes());
    // ISIZE is the length modulo 2³² (§2.3.1).
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    Some(out)
}
