//! Frames: an audit writes them in any form, valid or not, and reads them strictly.

use crate::proto::CloseFrame;
use crate::proto::utf8::Utf8;
use crate::proto::ws::frame::{self, Opcode};
use crate::proto::ws::{Violation, mask};

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// FIN, reserved bits and opcode, valid or not.
    pub(super) first: u8,
    pub(super) payload: &'a [u8],
    /// Whether the payload is masked, as a client has to do (§5.1).
    pub(super) masked: bool,
    pub(super) length: Length,
}

/// The form of the length (§5.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// The shortest form.
    Shortest,
    /// 16 bits, whether the length needs them or not.
    Bits16,
    /// 64 bits.
    Bits64,
    /// 64 bits with this number instead of the length.
    Claimed(u64),
}

impl<'a> Frame<'a> {
    /// A frame that a client may send.
    pub(super) const fn of(first: u8, payload: &'a [u8]) -> Frame<'a> {
        Frame { first, payload, masked: true, length: Length::Shortest }
    }

    pub(super) const fn unmasked(self) -> Frame<'a> {
        Frame { masked: false, ..self }
    }

    pub(super) const fn with(self, length: Length) -> Frame<'a> {
        Frame { length, ..self }
    }

    /// Appends it; `key` masks it.
    pub(super) fn write(&self, out: &mut Vec<u8>, key: [u8; 4]) {
        let bit = if self.masked { 0x80 } else { 0 };
        let len = self.payload.len();
        match self.length {
            Length::Shortest => {
                let at = out.len();
                frame::header(out, true, Opcode::Text, len, bit);
                out[at] = self.first;
            }
            Length::Bits16 => {
                out.extend_from_slice(&[self.first, bit | 126]);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            Length::Bits64 | Length::Claimed(_) => {
                let claimed = if let Length::Claimed(n) = self.length { n } else { len as u64 };
                out.extend_from_slice(&[self.first, bit | 127]);
                out.extend_from_slice(&claimed.to_be_bytes());
            }
        }
        if self.masked {
            out.extend_from_slice(&key);
            mask::append(out, self.payload, key);
        } else {
            out.extend_from_slice(self.payload);
        }
    }
}

/// A message or a control frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A complete message; a compressed one is inflated.
    Message {
        text: bool,
        data: Vec<u8>,
        compressed: bool,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseFrame),
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A rule of RFC 6455.
    Rule(Violation),
    /// A frame behind its close frame (§5.5.1).
    AfterClose,
    /// The message is larger than an audit holds.
    TooMuch,
    /// A compressed message is invalid (RFC 7692); the reason.
    #[cfg(feature = "deflate")]
    Deflate(&'static str),
}

impl From<Violation> for Broken {
    fn from(violation: Violation) -> Broken {
        Broken::Rule(violation)
    }
}

/// The largest message of a server that is held. The messages that an audit sends are smaller.
pub(super) const MOST: usize = 64 << 20;

/// Parses the server's frames.
#[derive(Default)]
pub(super) struct Reader {
    /// The unfinished message.
    message: Option<Part>,
    is_closed: bool,
    /// How many frames were received.
    pub(super) frames: usize,
    /// How many compressed messages were received.
    #[cfg(feature = "deflate")]
    pub(super) compressed: usize,
    #[cfg(feature = "deflate")]
    pub(super) inflate: Option<super::inflate::Inflate>,
}

struct Part {
    text: bool,
    compressed: bool,
    data: Vec<u8>,
    utf8: Utf8,
}

impl Reader {
    /// Takes one frame off `input`, if it is complete; returns its length, and the message or
    /// control frame if that is complete.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Item>), Broken> {
        let [b, rest @ ..] = input else { return Ok((0, None)) };
        if self.is_closed {
            return Err(Broken::AfterClose);
        }
        let (fin, opcode, compressed) = self.first(*b)?;
        let Some((head, len)) = frame::length(rest, opcode, false, u64::MAX)? else {
            return Ok((0, None));
        };
        let held = self.message.as_ref().map_or(0, |part| part.data.len());
        let len = usize::try_from(len).ok().filter(|len| *len <= MOST - held);
        let len = len.ok_or(Broken::TooMuch)?;
        self.fits(opcode)?;
        let Some(payload) = input.get(head..head + len) else { return Ok((0, None)) };
        self.frames += 1;
        let item = match opcode {
            Opcode::Ping => Some(Item::Ping(payload.to_vec())),
            Opcode::Pong => Some(Item::Pong(payload.to_vec())),
            Opcode::Close => {
                self.is_closed = true;
                Some(Item::Close(CloseFrame::decode(payload)?))
            }
            _ => self.data(fin, opcode == Opcode::Text, compressed, payload)?,
        };
        Ok((head + len, item))
    }

    #[cfg(feature = "deflate")]
    fn first(&self, b: u8) -> Result<(bool, Opcode, bool), Violation> {
        if self.inflate.is_some() {
            return frame::first_or_compressed(b);
        }
        frame::first(b).map(|(fin, opcode)| (fin, opcode, false))
    }

    #[cfg(not(feature = "deflate"))]
    fn first(&self, b: u8) -> Result<(bool, Opcode, bool), Violation> {
        frame::first(b).map(|(fin, opcode)| (fin, opcode, false))
    }

    /// Checks whether a frame may stand here (§5.4).
    fn fits(&self, opcode: Opcode) -> Result<(), Violation> {
        match (opcode, &self.message) {
            (Opcode::Continuation, None) => Err(Violation::ContinuationFirst),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::MessageInMessage),
            _ => Ok(()),
        }
    }

    fn data(
        &mut self,
        fin: bool,
        text: bool,
        compressed: bool,
        payload: &[u8],
    ) -> Result<Option<Item>, Broken> {
        let new = || Part { text, compressed, data: Vec::new(), utf8: Utf8::default() };
        let mut part = self.message.take().unwrap_or_else(new);
        if part.text && !part.compressed {
            part.utf8.feed(payload).map_err(|_| Violation::NotUtf8)?;
        }
        part.data.extend_from_slice(payload);
        if !fin {
            self.message = Some(part);
            return Ok(None);
        }
        #[cfg(feature = "deflate")]
        if let (true, Some(inflate)) = (part.compressed, &mut self.inflate) {
            self.compressed += 1;
            part.data = inflate.message(&part.data, MOST).map_err(Broken::Deflate)?;
            if part.text {
                part.utf8.feed(&part.data).map_err(|_| Violation::NotUtf8)?;
            }
        }
        if part.text {
            part.utf8.finish().map_err(|_| Violation::NotUtf8)?;
        }
        let Part { text, compressed, data, .. } = part;
        Ok(Some(Item::Message { text, data, compressed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items of `input`, read whole and byte by byte, and the broken rule.
    fn read(input: &[u8]) -> (Vec<Item>, Option<Broken>) {
        let run = |step: usize| {
            let (mut reader, mut at, mut items) = (Reader::default(), 0, Vec::new());
            for end in (0..=input.len()).step_by(step).chain([input.len()]) {
                loop {
                    match reader.take(&input[at..end]) {
                        Err(broken) => return (items, Some(broken)),
                        Ok((0, _)) => break,
                        Ok((used, item)) => {
                            at += used;
                            items.extend(item);
                        }
                    }
                }
            }
            (items, None)
        };
        let whole = run(input.len().max(1));
        assert_eq!(run(1), whole, "byte by byte");
        whole
    }

    fn text(data: &str) -> Item {
        Item::Message { text: true, data: data.into(), compressed: false }
    }

    #[test]
    fn messages_and_control_frames_are_read() {
        let input =
            b"\x81\x02hi\x01\x02a\xC3\x89\x01p\x80\x01\xA4\x8A\0\x82\x01\xFF\x88\x02\x03\xE8";
        let binary = Item::Message { text: false, data: vec![0xFF], compressed: false };
        let want = vec![
            text("hi"),
            Item::Ping(b"p".to_vec()),
            text("a\u{e4}"),
            Item::Pong(vec![]),
            binary,
            Item::Close(CloseFrame::new(1000, "")),
        ];
        assert_eq!(read(input), (want, None));
    }

    #[test]
    fn every_rule_is_kept() {
        use Violation::*;
        for (input, want) in [
            (&b"\xC1\x01x"[..], ReservedBits(4)),
            (b"\x83\x01x", ReservedOpcode(3)),
            (b"\x09\x01x", FragmentedControl),
            (b"\x89\x7E\x00\x7E", LongControl),
            (b"\x81\x81\0\0\0\0x", MaskedByServer),
            (b"\x81\x7E\x00\x05hello", LengthNotMinimal),
            (b"\x81\x7F\x80\0\0\0\0\0\0\x01x", LengthTopBit),
            (b"\x80\x01x", ContinuationFirst),
            (b"\x01\x01x\x81\x01y", MessageInMessage),
            (b"\x88\x01\x03", CloseLength),
            (b"\x88\x02\x03\xED", CloseCode(1005)),
            (b"\x88\x03\x03\xE8\xFF", CloseReason),
            (b"\x81\x01\xFF", NotUtf8),
            (b"\x01\x01\xC3\x80\x00", NotUtf8),
        ] {
            assert_eq!(read(input).1, Some(Broken::Rule(want)), "{input:x?}");
        }
        assert_eq!(read(b"\x88\0\x81\0").1, Some(Broken::AfterClose));
        assert_eq!(read(b"\x82\x7F\0\0\0\0\x10\0\0\0").1, Some(Broken::TooMuch));
    }

    #[test]
    fn frames_are_written_as_they_are_asked_for() {
        let wrote = |frame: Frame<'_>| {
            let mut out = vec![];
            frame.write(&mut out, [1, 2, 3, 4]);
            out
        };
        let hi = Frame::of(0x81, b"hi");
        assert_eq!(wrote(hi), b"\x81\x82\x01\x02\x03\x04ik");
        assert_eq!(wrote(hi.unmasked()), b"\x81\x02hi");
        assert_eq!(wrote(hi.unmasked().with(Length::Bits16)), b"\x81\x7E\0\x02hi");
        assert_eq!(wrote(hi.unmasked().with(Length::Bits64)), b"\x81\x7F\0\0\0\0\0\0\0\x02hi");
        let claimed = hi.unmasked().with(Length::Claimed(1 << 63));
        assert_eq!(wrote(claimed), b"\x81\x7F\x80\0\0\0\0\0\0\0hi");
        assert_eq!(wrote(Frame::of(0xF9, &[0; 126]))[..4], [0xF9, 0xFE, 0, 126]);
    }
}
