//! Frame headers (RFC 6455 §5.2); an error is found at the byte that decides it.

use super::Violation;
use super::mask;

/// The type of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// 0: more of a fragmented message.
    Continuation = 0,
    /// 1: text.
    Text = 1,
    /// 2: binary.
    Binary = 2,
    /// 8: close.
    Close = 8,
    /// 9: ping.
    Ping = 9,
    /// 10: pong.
    Pong = 10,
}

impl Opcode {
    /// Whether it is a control frame (§5.5).
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Opcode::Continuation => "continuation",
            Opcode::Text => "text",
            Opcode::Binary => "binary",
            Opcode::Close => "close",
            Opcode::Ping => "ping",
            Opcode::Pong => "pong",
        }
    }
}

/// FIN bit and opcode in a frame's first byte. Without an extension, nine of 256 values are legal.
pub(crate) fn first(b: u8) -> Result<(bool, Opcode), Violation> {
    Ok(match b {
        0x00 => (false, Opcode::Continuation),
        0x01 => (false, Opcode::Text),
        0x02 => (false, Opcode::Binary),
        0x80 => (true, Opcode::Continuation),
        0x81 => (true, Opcode::Text),
        0x82 => (true, Opcode::Binary),
        0x88 => (true, Opcode::Close),
        0x89 => (true, Opcode::Ping),
        0x8A => (true, Opcode::Pong),
        _ if b & 0x70 != 0 => return Err(Violation::ReservedBits(b >> 4 & 7)),
        0x08..=0x0A => return Err(Violation::FragmentedControl),
        _ => return Err(Violation::ReservedOpcode(b & 15)),
    })
}

/// RSV1: the message that starts with this frame is compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

/// As [`first`], with permessage-deflate; also returns whether a compressed message starts here.
/// Thirteen values are legal: only the first frame of a message may set RSV1 (RFC 7692 §6.1).
pub(crate) fn first_or_compressed(b: u8) -> Result<(bool, Opcode, bool), Violation> {
    let is_compressed = matches!(b, 0x41 | 0x42 | 0xC1 | 0xC2);
    let (fin, opcode) = first(if is_compressed { b & !RSV1 } else { b })?;
    Ok((fin, opcode, is_compressed))
}

/// The largest payload of a control frame (§5.5).
pub(crate) const CONTROL_MAX: usize = 125;

/// The size of a frame's header without mask key, and the length of its payload; `rest` are the
/// bytes behind the first. `Ok(None)`: more bytes are needed. `masked` states whether the sender
/// has to mask (§5.1). A length above `max` is an error.
pub(crate) fn length(
    rest: &[u8],
    opcode: Opcode,
    masked: bool,
    max: u64,
) -> Result<Option<(usize, u64)>, Violation> {
    let [second, extended @ ..] = rest else { return Ok(None) };
    if (second & 0x80 != 0) != masked {
        return Err(if masked { Violation::UnmaskedByClient } else { Violation::MaskedByServer });
    }
    let short = second & 0x7F;
    if opcode.is_control() && usize::from(short) > CONTROL_MAX {
        return Err(Violation::LongControl);
    }
    let size = match short {
        126 => 2,
        127 => 8,
        _ if u64::from(short) > max => return Err(Violation::MessageTooBig),
        _ => return Ok(Some((2, u64::from(short)))),
    };
    let known = &extended[..extended.len().min(size)];
    if known.is_empty() {
        return Ok(None);
    }
    // The length with zeros for the missing bytes: it can only be larger.
    let least =
        known.iter().fold(0u64, |n, &b| n << 8 | u64::from(b)) << (8 * (size - known.len()));
    if size == 8 && known.first().is_some_and(|b| b & 0x80 != 0) {
        return Err(Violation::LengthTopBit);
    }
    // After `decided_by` bytes it is certain whether a shorter form would do, which it does below
    // `floor`.
    let (decided_by, floor) = if size == 2 { (2, 126) } else { (6, 1 << 16) };
    let most = least | !(u64::MAX << (8 * (size - known.len())));
    if known.len() >= decided_by && most < floor {
        return Err(Violation::LengthNotMinimal);
    }
    if least > max {
        return Err(Violation::MessageTooBig);
    }
    Ok((known.len() == size).then_some((2 + size, least)))
}

/// Appends one masked frame (§5.3).
pub(crate) fn encode(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    out.reserve(14 + payload.len());
    header(out, fin, opcode, payload.len(), 0x80);
    out.extend_from_slice(&key);
    mask::append(out, payload, key);
}

/// Appends the header of a frame up to the mask key; `mask` is 0x80 or 0.
#[inline]
pub(crate) fn header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, len: usize, mask: u8) {
    let first = u8::from(fin) << 7 | opcode as u8;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(n @ ..=125), _) => out.extend_from_slice(&[first, mask | n]),
        (_, Ok(n)) => {
            let [a, b] = n.to_be_bytes();
            out.extend_from_slice(&[first, mask | 126, a, b]);
        }
        _ => {
            out.extend_from_slice(&[first, mask | 127]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends one frame with a whole compressed message (RFC 7692 §6); masked if there is a key.
#[cfg(feature = "deflate")]
pub(crate) fn encode_compressed(
    out: &mut Vec<u8>,
    opcode: Opcode,
    payload: &[u8],
    key: Option<[u8; 4]>,
) {
    let at = out.len();
    if let Some(key) = key {
        encode(out, true, opcode, payload, key);
    } else {
        out.reserve(10 + payload.len());
        header(out, true, opcode, payload.len(), 0);
        out.extend_from_slice(payload);
    }
    out[at] |= RSV1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_have_the_names_of_section_11_8() {
        let all = [0x80, 0x81, 0x82, 0x88, 0x89, 0x8A].map(|b| first(b).unwrap().1);
        let names = all.map(Opcode::name);
        assert_eq!(names, ["continuation", "text", "binary", "close", "ping", "pong"]);
        assert_eq!(all.map(Opcode::is_control), [false, false, false, true, true, true]);
    }

    #[test]
    fn exactly_thirteen_first_bytes_are_legal_with_compression() {
        let legal: Vec<u8> = (0..=255).filter(|&b| first_or_compressed(b).is_ok()).collect();
        let want = [0x00, 0x01, 0x02, 0x41, 0x42, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0xC2];
        assert_eq!(legal, want);
        for b in 0..=255 {
            match first_or_compressed(b) {
                Ok((fin, opcode, true)) => assert_eq!(first(b - 0x40), Ok((fin, opcode))),
                Ok((fin, opcode, false)) => assert_eq!(first(b), Ok((fin, opcode))),
                Err(e) => assert_eq!(first(b), Err(e)),
            }
        }
        assert_eq!(first_or_compressed(0xC0), Err(Violation::ReservedBits(4)));
        assert_eq!(first_or_compressed(0xC9), Err(Violation::ReservedBits(4)));
    }

    #[test]
    fn exactly_nine_first_bytes_are_legal() {
        let legal: Vec<u8> = (0..=255).filter(|&b| first(b).is_ok()).collect();
        assert_eq!(legal, [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A]);
        assert_eq!(first(0xC1), Err(Violation::ReservedBits(4)));
        assert_eq!(first(0x09), Err(Violation::FragmentedControl));
        assert_eq!(first(0x83), Err(Violation::ReservedOpcode(3)));
        assert_eq!(first(0x0B), Err(Violation::ReservedOpcode(11)));
    }

    #[test]
    fn lengths_at_every_edge_and_every_prefix() {
        let text = Opcode::Text;
        for (n, bytes) in [
            (0u64, vec![0]),
            (125, vec![125]),
            (126, vec![126, 0, 126]),
            (65_535, vec![126, 255, 255]),
            (65_536, vec![127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (u64::MAX >> 1, vec![127, 127, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            let want = Ok(Some((1 + bytes.len(), n)));
            assert_eq!(length(&bytes, text, false, u64::MAX), want, "{n}");
            let trailing = [&bytes[..], b"trailing"].concat();
            assert_eq!(length(&trailing, text, false, u64::MAX), want, "{n} with more behind");
            for cut in 0..bytes.len() {
                assert_eq!(length(&bytes[..cut], text, false, u64::MAX), Ok(None), "{n} at {cut}");
            }
            if n > 0 {
                assert_eq!(length(&bytes, text, false, n - 1), Err(Violation::MessageTooBig));
            }
            let mut out = vec![];
            if let Ok(len) = usize::try_from(n) {
                header(&mut out, true, text, len, 0);
                assert_eq!(out[1..], bytes, "{n} encoded");
            }
        }
    }

    #[test]
    fn a_wrong_length_is_refused_at_the_byte_that_decides() {
        use Violation::*;
        for (bytes, opcode, max, want) in [
            (&[126u8][..], Opcode::Ping, u64::MAX, LongControl),
            (&[127], Opcode::Close, u64::MAX, LongControl),
            (&[0x80], Opcode::Text, u64::MAX, MaskedByServer),
            (&[0xFF], Opcode::Ping, u64::MAX, MaskedByServer),
            (&[126, 0, 125], Opcode::Text, u64::MAX, LengthNotMinimal),
            (&[126, 0, 0], Opcode::Binary, u64::MAX, LengthNotMinimal),
            (&[127, 0, 0, 0, 0, 0, 0], Opcode::Text, u64::MAX, LengthNotMinimal),
            (&[127, 0x80], Opcode::Text, u64::MAX, LengthTopBit),
            (&[127, 0x80], Opcode::Text, 10, LengthTopBit),
            (&[126, 1], Opcode::Text, 255, MessageTooBig),
            (&[127, 0, 0x80], Opcode::Text, 1 << 30, MessageTooBig),
            (&[11], Opcode::Text, 10, MessageTooBig),
        ] {
            assert_eq!(length(bytes, opcode, false, max), Err(want), "{bytes:x?}");
            for cut in 0..bytes.len() {
                assert_eq!(length(&bytes[..cut], opcode, false, max), Ok(None), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn a_server_refuses_what_is_not_masked() {
        let got = length(&[5], Opcode::Text, true, 100);
        assert_eq!(got, Err(Violation::UnmaskedByClient));
        assert_eq!(length(&[0x85], Opcode::Text, true, 100), Ok(Some((2, 5))));
    }

    #[test]
    fn a_frame_takes_one_allocation_of_about_its_length() {
        for len in [0, 1, 125, 126, 65_536] {
            let mut out = Vec::new();
            encode(&mut out, true, Opcode::Binary, &vec![7; len], [1, 2, 3, 4]);
            let reserved = out.capacity();
            assert!((14 + len..2 * (14 + len)).contains(&reserved), "{len}: {reserved}");
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_compressed_frame_of_a_server_is_not_masked_and_takes_one_allocation() {
        for len in [0, 1, 125, 126, 65_536] {
            let (mut out, mut want, payload) = (Vec::new(), Vec::new(), vec![7; len]);
            encode_compressed(&mut out, Opcode::Binary, &payload, None);
            header(&mut want, true, Opcode::Binary, len, 0);
            want[0] |= RSV1;
            want.extend_from_slice(&payload);
            assert_eq!(out, want, "{len}");
            assert!(out.capacity() < 2 * (10 + len), "{len}: {}", out.capacity());
        }
    }
}
