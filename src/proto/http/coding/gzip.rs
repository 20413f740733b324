//! gzip (RFC 1952) around compressed data: its head, and a whole body of one member.

use zlib_rs::crc32::crc32;
use zlib_rs::{Deflate, DeflateFlush};

use super::error::CodingError;

/// The head of a member (§2.3), read byte by byte: it may be cut anywhere, and nothing of it is kept.
#[derive(Debug)]
pub(super) struct MemberHead {
    at: At,
    flags: u8,
    /// Of all bytes before the checksum of the head.
    crc: u32,
}

#[derive(Debug)]
enum At {
    /// So many of the ten bytes that every head has are there.
    Fixed(u8),
    /// The length of the extra field, of which the first byte is there or not.
    ExtraLength(Option<u8>),
    /// So many bytes of the extra field are to come.
    Extra(u16),
    Name,
    Comment,
    /// The checksum of the head, of which the first byte is there or not.
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

/// How a member starts: what it is, and that it is deflated.
const START: [u8; 3] = [0x1F, 0x8B, 8];

/// Bytes of a head without its optional parts.
const FIXED: u8 = 10;

impl MemberHead {
    pub(super) fn new() -> MemberHead {
        MemberHead { at: At::Fixed(0), flags: 0, crc: 0 }
    }

    /// Takes a byte; whether it is the last of the head.
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
                // The checksum is not part of what it is of.
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

    /// Byte `n` of those that every head has. Time, extra flags and system may be anything.
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

    /// The optional part that comes behind the one of the flag `last`; `None`: the data.
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

/// The library's own default, as that of zlib: what is beyond takes twice the time for a few per cent.
const LEVEL: i32 = 6;

/// The window of the data: all that deflate has, since a reader of gzip has to have it.
const WINDOW: u8 = 15;

/// So much is made room for at a time.
const ROOM: usize = 64 * 1024;

/// `body` as one member (§2.2), without a name and a time; `None` if the library gives up.
pub(crate) fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let [a, b, c] = START;
    // No flags, no time, no extra flags, a system that is not known (§2.3.1).
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
