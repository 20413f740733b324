//! Frames on the side of a server (RFC 6455 §5.2): masked ones in, unmasked ones out.

use std::io::{self, Read as _};
use std::ops::Range;

use crate::io::Io;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Appends the header of a frame that is a whole message.
pub fn header(out: &mut Vec<u8>, opcode: u8, len: usize) {
    out.push(0x80 | opcode);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// A frame, and the place of its payload.
pub struct Frame {
    pub opcode: u8,
    /// RSV1 is set: the message is compressed (RFC 7692 §6).
    pub compressed: bool,
    /// The length with the header.
    pub wire: usize,
    range: Range<usize>,
    key: [u8; 4],
}

impl Frame {
    pub fn len(&self) -> usize {
        self.range.len()
    }
}

/// Reads frames from a connection.
pub struct Frames {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

impl Frames {
    pub fn new() -> Frames {
        Frames { buf: Vec::new(), start: 0, end: 0 }
    }

    /// Reads the next frame and unmasks it; `None` at the end of the stream.
    pub fn next(&mut self, io: &mut Io) -> io::Result<Option<Frame>> {
        let frame = self.skip(io)?;
        if let Some(frame) = &frame {
            self.unmask(frame);
        }
        Ok(frame)
    }

    pub fn unmask(&mut self, frame: &Frame) {
        for (i, byte) in self.buf[frame.range.clone()].iter_mut().enumerate() {
            *byte ^= frame.key[i % 4];
        }
    }

    /// Reads the next frame and leaves it masked.
    pub fn skip(&mut self, io: &mut Io) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, used)) = parse(&self.buf[self.start..self.end]) {
                let range = self.start + frame.range.start..self.start + frame.range.end;
                self.start += used;
                return Ok(Some(Frame { range, ..frame }));
            }
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            // The buffer is small at first: there may be thousands of idle connections.
            let room = if self.buf.is_empty() { 2048 } else { 256 * 1024 };
            if self.buf.len() - self.end < room {
                self.buf.resize(self.end + room, 0);
            }
            let read = io.read(&mut self.buf[self.end..])?;
            if read == 0 {
                return Ok(None);
            }
            self.end += read;
        }
    }

    pub fn payload(&self, frame: &Frame) -> &[u8] {
        &self.buf[frame.range.clone()]
    }
}

/// Parses a masked frame at the start of `input`; returns its length, too.
fn parse(input: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], rest) = input.split_first_chunk()?;
    let (len, rest) = match second & 0x7F {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*len) as usize, rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len) as usize, rest)
        }
        len => (len as usize, rest),
    };
    let (key, rest) = if second & 0x80 != 0 {
        let (key, rest) = rest.split_first_chunk()?;
        (*key, rest)
    } else {
        ([0; 4], rest)
    };
    let head = input.len() - rest.len();
    (rest.len() >= len).then(|| {
        let (opcode, compressed, wire) = (first & 15, first & 0x40 != 0, head + len);
        (Frame { opcode, compressed, wire, range: head..wire, key }, wire)
    })
}
