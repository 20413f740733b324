//! Frames that no client may send: a server has to fail the connection (RFC 6455 §7.1.7).

use crate::audit::check::{Check, Play, data_after_close};
use crate::audit::frame::{Frame, Length};

const MASK: &str = "RFC 6455 §5.1";
const FRAMES: &str = "RFC 6455 §5.2";
const CONTROL: &str = "RFC 6455 §5.5";
const CLOSE: &str = "RFC 6455 §5.5.1";
const FRAGMENTS: &str = "RFC 6455 §5.4";
const CODE: &str = "RFC 6455 §7.4";
const TEXT: &str = "RFC 6455 §8.1";

/// A protocol error.
const PROTOCOL: &[u16] = &[1002];

const fn broken(
    name: &'static str,
    section: &'static str,
    proves: &'static str,
    frames: &'static [Frame<'static>],
) -> Check {
    Check::hostile(name, section, proves, Play::Broken(frames, PROTOCOL))
}

const fn not_utf8(
    name: &'static str,
    proves: &'static str,
    frames: &'static [Frame<'static>],
) -> Check {
    Check::hostile(name, TEXT, proves, Play::Broken(frames, &[1007]))
}

const fn close(
    name: &'static str,
    section: &'static str,
    proves: &'static str,
    payload: &'static [u8],
) -> Check {
    Check::hostile(name, section, proves, Play::BrokenClose(payload))
}

pub(super) const CHECKS: &[Check] = &[
    broken("unmasked-text", MASK, "a text that is not masked fails the connection", &[Frame::of(
        0x81, b"unmasked",
    )
    .unmasked()]),
    broken("unmasked-ping", MASK, "a ping that is not masked fails the connection", &[Frame::of(0x89, b"unmasked").unmasked()]),
    broken("unmasked-close", MASK, "a close frame that is not masked fails the connection", &[
        Frame::of(0x88, b"\x03\xE8").unmasked()
    ]),
    broken("reserved-bit-1", FRAMES, "RSV1 fails the connection, where no extension gave it a meaning", &[Frame::of(0xC1, b"bit")]),
    broken("reserved-bit-2", FRAMES, "RSV2 fails the connection", &[Frame::of(0xA1, b"bit")]),
    broken("reserved-bit-3", FRAMES, "RSV3 fails the connection", &[Frame::of(0x91, b"bit")]),
    broken("reserved-bit-ping", FRAMES, "RSV1 on a ping fails the connection", &[Frame::of(0xC9, b"bit")]),
    broken("reserved-opcode-3", FRAMES, "opcode 3 fails the connection", &[Frame::of(0x83, b"opcode")]),
    broken("reserved-opcode-7", FRAMES, "opcode 7 fails the connection", &[Frame::of(0x87, b"opcode")]),
    broken("reserved-opcode-11", FRAMES, "opcode 11 fails the connection", &[Frame::of(0x8B, b"opcode")]),
    broken("reserved-opcode-15", FRAMES, "opcode 15 fails the connection", &[Frame::of(0x8F, b"opcode")]),
    broken("control-fragmented-ping", CONTROL, "a ping without FIN fails the connection", &[
        Frame::of(0x09, b"a"),
        Frame::of(0x80, b"b"),
    ]),
    broken("control-fragmented-pong", CONTROL, "a pong without FIN fails the connection", &[Frame::of(0x0A, b"a")]),
    broken("control-fragmented-close", CONTROL, "a close frame without FIN fails the connection", &[Frame::of(
        0x08,
        b"\x03\xE8",
    )]),
    broken("control-long-ping", CONTROL, "a ping of 126 bytes fails the connection", &[Frame::of(
        0x89,
        &[b'l'; 126],
    )]),
    broken("control-long-pong", CONTROL, "a pong of 126 bytes fails the connection", &[Frame::of(0x8A, &[b'l'; 126])]),
    broken("control-long-close", CONTROL, "a close frame of 126 bytes fails the connection", &[Frame::of(
        0x88,
        b"\x03\xE8llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll\
          llllllllllllllllllllllllllllllllllllll",
    )]),
    Check::hostile(
        "length-16-not-shortest",
        FRAMES,
        "5 bytes with a length of 16 bits are refused",
        Play::Odd(&[Frame::of(0x82, b"short").with(Length::Bits16)], PROTOCOL),
    ),
    Check::hostile(
        "length-64-not-shortest",
        FRAMES,
        "200 bytes with a length of 64 bits are refused",
        Play::Odd(&[Frame::of(0x82, &[b's'; 200]).with(Length::Bits64)], PROTOCOL),
    ),
    Check::hostile(
        "length-top-bit",
        FRAMES,
        "a length of more than 63 bits fails the connection",
        Play::Broken(&[Frame::of(0x82, b"").with(Length::Claimed(1 << 63))], &[1002, 1009]),
    ),
    broken("continuation-first", FRAGMENTS, "a continuation without a message fails the connection", &[
        Frame::of(0x80, b"of nothing"),
    ]),
    broken("continuation-after", FRAGMENTS, "a continuation behind a whole message fails the connection", &[
        Frame::of(0x81, b"whole"),
        Frame::of(0x00, b"more"),
    ]),
    broken("message-in-message", FRAGMENTS, "a message within another fails the connection", &[
        Frame::of(0x01, b"first"),
        Frame::of(0x81, b"second"),
    ]),
    not_utf8("text-byte", "a byte that UTF-8 does not have fails the connection", &[Frame::of(0x81, b"a\xFFb")]),
    not_utf8("text-overlong", "an overlong form of UTF-8 fails the connection", &[Frame::of(0x81, b"\xC0\xAF")]),
    not_utf8("text-surrogate", "a surrogate fails the connection", &[Frame::of(0x81, b"\xED\xA0\x80")]),
    not_utf8("text-beyond", "what is beyond U+10FFFF fails the connection", &[Frame::of(
        0x81,
        b"\xF4\x90\x80\x80",
    )]),
    not_utf8("text-cut", "a text that ends within a character fails the connection", &[Frame::of(
        0x81, b"a\xE2\x82",
    )]),
    not_utf8("text-fragments", "a character that fragments break fails the connection", &[
        Frame::of(0x01, b"\xC3"),
        Frame::of(0x80, b"("),
    ]),
    close("close-one-byte", CLOSE, "a close frame of one byte is refused", b"\x03"),
    close("close-reason-not-utf8", CLOSE, "a close frame whose reason is not UTF-8 is refused", b"\x03\xE8\xFF\xFE"),
    close("close-code-0", CODE, "close code 0 is refused", b"\0\0"),
    close("close-code-999", CODE, "close code 999 is refused", b"\x03\xE7"),
    close("close-code-1004", CODE, "close code 1004, which means nothing yet, is refused", b"\x03\xEC"),
    close("close-code-1005", CODE, "close code 1005, which never travels, is refused", b"\x03\xED"),
    close("close-code-1006", CODE, "close code 1006, which never travels, is refused", b"\x03\xEE"),
    close("close-code-1015", CODE, "close code 1015, which never travels, is refused", b"\x03\xF7"),
    close("close-code-2999", CODE, "close code 2999, which is not assigned, is refused", b"\x0B\xB7"),
    close("close-code-5000", CODE, "close code 5000 is refused", b"\x13\x88"),
    close("close-code-65535", CODE, "close code 65535 is refused", b"\xFF\xFF"),
    Check::hostile(
        "data-after-close",
        CLOSE,
        "a message behind a close frame is not seen",
        Play::Do(data_after_close),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_close_frame_is_one_byte_too_long() {
        let long = CHECKS.iter().find(|check| check.about.name == "control-long-close").unwrap();
        let Play::Broken(frames, _) = &long.play else { panic!() };
        assert_eq!(frames[0].payload.len(), 126);
    }
}
