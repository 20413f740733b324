//! A second parser of RFC 6455, as simple as possible, for comparison: for the frames of a client,
//! and for the bytes of a server.

use super::driver::OwnedEvent;
use crate::limits::Limits;
use crate::proto::{CloseFrame, Violation};

/// A frame that a client has sent: opcode and unmasked payload.
pub(super) type Sent = (u8, Vec<u8>);

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b))
}

fn may_travel(code: u64) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The frames of a client, each of which must be legal, with nothing behind a close frame.
pub(super) fn sent(mut wire: &[u8]) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    while !wire.is_empty() {
        assert!(
            all.last().is_none_or(|(opcode, _)| *opcode != 8),
            "behind a close frame: {wire:x?}"
        );
        assert!(wire.len() >= 6, "half a frame: {wire:x?}");
        let (opcode, masked) = (wire[0] & 15, wire[1] & 0x80);
        assert_eq!((wire[0] & 0xF0, masked), (0x80, 0x80), "FIN, no reserved bits, MASK");
        let (size, len) = match wire[1] & 0x7F {
            126 => (4, big_endian(&wire[2..4])),
            127 => (10, big_endian(&wire[2..10])),
            n => (2, u64::from(n)),
        };
        let shortest = if len < 126 {
            2
        } else if len < 65_536 {
            4
        } else {
            10
        };
        assert_eq!(size, shortest, "length {len}");
        let end = size + 4 + len as usize;
        assert!(wire.len() >= end, "half a frame: {wire:x?}");
        let (key, masked) = wire[size..end].split_at(4);
        let payload: Vec<u8> = masked.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        legal(opcode, &payload);
        all.push((opcode, payload));
        wire = &wire[end..];
    }
    all
}

fn legal(opcode: u8, payload: &[u8]) {
    assert!(matches!(opcode, 1 | 2 | 8..=10), "opcode {opcode}");
    assert!(opcode < 8 || payload.len() <= 125, "a long control frame");
    assert!(opcode != 1 || str::from_utf8(payload).is_ok(), "text: {payload:x?}");
    if opcode == 8 && !payload.is_empty() {
        assert!(payload.len() >= 2 && may_travel(big_endian(&payload[..2])), "{payload:x?}");
        assert!(str::from_utf8(&payload[2..]).is_ok(), "{payload:x?}");
    }
}

/// The meaning of a server's bytes for an open connection.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    pub(super) events: Vec<OwnedEvent>,
    /// The payloads of pings that have to be answered.
    pub(super) pings: Vec<Vec<u8>>,
    pub(super) end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// The connection is still open.
    #[default]
    Open,
    Closing(CloseFrame),
    Broken(Violation),
}

impl Meaning {
    /// The meaning of all `bytes`. An incomplete header has none yet, even if no further byte could
    /// make it valid.
    pub(super) fn of(mut bytes: &[u8], limits: &Limits) -> Meaning {
        let mut meaning = Meaning::default();
        let mut message = None;
        while let Some((header, rest)) = Header::read(bytes) {
            match meaning.frame(&header, rest, &mut message, limits) {
                Ok(Some(used)) => bytes = &rest[used..],
                Ok(None) => return meaning,
                Err(violation) => {
                    meaning.end = End::Broken(violation);
                    return meaning;
                }
            }
        }
        if let [first, ..] = bytes
            && let Err(violation) = first_byte(*first, message.is_some())
        {
            meaning.end = End::Broken(violation);
        }
        meaning
    }

    /// The length of the frame at the start of `rest`, if it is complete and another may follow.
    fn frame(
        &mut self,
        header: &Header,
        rest: &[u8],
        message: &mut Option<Message>,
        limits: &Limits,
    ) -> Result<Option<usize>, Violation> {
        let opcode = first_byte(header.first, message.is_some())?;
        let held = message.as_ref().map_or(0, |m| m.data.len());
        let len = header.len(opcode, limits.message - held)?;
        let payload = &rest[..rest.len().min(len)];
        let whole = payload.len() == len;
        if opcode >= 8 {
            return if whole { self.control(opcode, payload) } else { Ok(None) };
        }
        let fin = header.first & 0x80 != 0;
        let mut now = message.take().unwrap_or(Message { text: opcode == 1, ..Default::default() });
        now.frames += 1;
        if now.frames > limits.fragments.max(1) {
            return Err(Violation::TooManyFragments);
        }
        now.data.extend_from_slice(payload);
        if now.text {
            let complete = fin && whole;
            let broken = |e: std::str::Utf8Error| complete || e.error_len().is_some();
            if str::from_utf8(&now.data).is_err_and(broken) {
                return Err(Violation::NotUtf8);
            }
        }
        if !whole {
            return Ok(None);
        }
        match (fin, now.text) {
            (true, true) => self.events.push(OwnedEvent::Text(now.data)),
            (true, false) => self.events.push(OwnedEvent::Binary(now.data)),
            (false, _) => *message = Some(now),
        }
        Ok(Some(len))
    }

    fn control(&mut self, opcode: u8, payload: &[u8]) -> Result<Option<usize>, Violation> {
        match opcode {
            9 => self.pings.push(payload.to_vec()),
            10 => self.events.push(OwnedEvent::Pong(payload.to_vec())),
            _ => {
                let mut frame = CloseFrame::default();
                if let [_] = payload {
                    return Err(Violation::CloseLength);
                } else if payload.len() > 1 {
                    let code = big_endian(&payload[..2]);
                    if !may_travel(code) {
                        return Err(Violation::CloseCode(code as u16));
                    }
                    let reason = str::from_utf8(&payload[2..]);
                    frame.code = Some(code as u16);
                    frame.reason = reason.map_err(|_| Violation::CloseReason)?.to_owned();
                }
                self.end = End::Closing(frame);
                return Ok(None);
            }
        }
        Ok(Some(payload.len()))
    }
}

#[derive(Default)]
struct Message {
    text: bool,
    frames: u32,
    data: Vec<u8>,
}

/// A complete header.
struct Header<'a> {
    first: u8,
    second: u8,
    extended: &'a [u8],
}

impl Header<'_> {
    fn read(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
        let [first, second, rest @ ..] = bytes else { return None };
        let size = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (extended, rest) = rest.split_at_checked(size)?;
        Some((Header { first: *first, second: *second, extended }, rest))
    }

    /// The length of the payload, if it is allowed.
    fn len(&self, opcode: u8, room: usize) -> Result<usize, Violation> {
        if self.second & 0x80 != 0 {
            return Err(Violation::MaskedByServer);
        }
        if opcode >= 8 && self.second > 125 {
            return Err(Violation::LongControl);
        }
        let long = big_endian(self.extended);
        let len = match self.second {
            127 if long >= 1 << 63 => return Err(Violation::LengthTopBit),
            127 if long < 65_536 => return Err(Violation::LengthNotMinimal),
            126 if long < 126 => return Err(Violation::LengthNotMinimal),
            126 | 127 => long,
            n => u64::from(n),
        };
        if opcode < 8 && len > room as u64 {
            return Err(Violation::MessageTooBig);
        }
        Ok(len as usize)
    }
}

/// The opcode, if a frame may start with this byte.
fn first_byte(first: u8, in_message: bool) -> Result<u8, Violation> {
    let opcode = first & 15;
    match opcode {
        _ if first & 0x70 != 0 => Err(Violation::ReservedBits(first >> 4 & 7)),
        3..=7 | 11..=15 => Err(Violation::ReservedOpcode(opcode)),
        8..=10 if first & 0x80 == 0 => Err(Violation::FragmentedControl),
        0 if !in_message => Err(Violation::ContinuationFirst),
        1 | 2 if in_message => Err(Violation::MessageInMessage),
        _ => Ok(opcode),
    }
}

/// Whether an error may come early: `bytes` end within a header, and the error is the same whatever
/// follows.
pub(super) fn is_decided(bytes: &[u8], limits: &Limits, violation: Violation) -> bool {
    [0x00, 0xFF].iter().all(|&fill| {
        let filled = [bytes, &[fill; 9]].concat();
        Meaning::of(&filled, limits).end == End::Broken(violation)
    })
}
