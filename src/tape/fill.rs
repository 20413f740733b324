//! Replacements for bytes that a tape must not hold: fillers for payloads, `***` for secrets.

use crate::proto::secret::{SECRET, is_secret_field, names_a_url, shown_url};
use crate::proto::token::is_token;

/// The filler of a byte: one for each class of bytes in the automaton of UTF-8 (RFC 3629 §4), so
/// that valid text stays valid, and invalid text is invalid at the same byte.
pub(super) fn letter(byte: u8) -> u8 {
    match byte {
        0x00..=0x7F => b'x',
        0x80..=0x8F => 0x80,
        0x90..=0x9F => 0x90,
        0xA0..=0xBF => 0xA0,
        0xC0..=0xC1 => 0xC0,
        0xC2..=0xDF => 0xC3,
        0xE0 | 0xED | 0xF0 | 0xF4 => byte,
        0xE1..=0xEC | 0xEE..=0xEF => 0xE3,
        0xF1..=0xF3 => 0xF1,
        0xF5..=0xFF => 0xFF,
    }
}

/// A text in which each byte is its filler.
pub(super) fn letters(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&b| letter(b)).collect()
}

/// The same for the reason of a close frame.
pub(super) fn reason(text: &str) -> String {
    String::from_utf8_lossy(&letters(text.as_bytes())).into_owned()
}

/// The kind of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Content {
    Text,
    Binary,
    /// The payload of a ping or a pong.
    Control,
    Close,
}

impl Content {
    /// The filler of a byte at position `at` of the payload.
    pub(super) fn fill(self, byte: u8, at: u64) -> u8 {
        match self {
            Content::Text => letter(byte),
            Content::Binary => 0,
            Content::Control => b'x',
            // The code stays.
            Content::Close if at < 2 => byte,
            Content::Close => letter(byte),
        }
    }
}

/// Parses frames byte by byte, however they are cut, and replaces their payloads by fillers.
#[derive(Debug)]
pub(super) struct Frames {
    /// Whether the frames are ours, and so masked.
    masked: bool,
    /// The start of a frame header that is not complete.
    head: Vec<u8>,
    /// The kind of the current payload, how many bytes of it have come, and how many are to come.
    content: Content,
    at: u64,
    left: u64,
    key: [u8; 4],
    /// The kind of the unfinished message.
    message: Content,
    /// The bytes are no frames any more: no byte is examined or kept.
    lost: bool,
}

impl Frames {
    pub(super) fn new(masked: bool) -> Frames {
        Frames {
            masked,
            head: Vec::new(),
            content: Content::Binary,
            at: 0,
            left: 0,
            key: [0; 4],
            message: Content::Binary,
            lost: false,
        }
    }

    /// The same bytes with fillers for payloads. `keeps`: the reason of a close frame stays.
    pub(super) fn fill(&mut self, bytes: &[u8], keeps: bool) -> Vec<u8> {
        bytes.iter().map(|&byte| self.byte(byte, keeps)).collect()
    }

    fn byte(&mut self, byte: u8, keeps: bool) -> u8 {
        if self.lost {
            return 0;
        }
        if self.left > 0 {
            let key = if self.masked { self.key[(self.at % 4) as usize] } else { 0 };
            let stays = keeps && self.content == Content::Close;
            let new = if stays { byte ^ key } else { self.content.fill(byte ^ key, self.at) };
            (self.at, self.left) = (self.at + 1, self.left - 1);
            return new ^ key;
        }
        self.head.push(byte);
        self.look();
        byte
    }

    /// Checks whether the header of a frame is complete.
    fn look(&mut self) {
        let first = self.head[0];
        // The bytes of a compressed message are not written at all.
        if first & 0x70 != 0 || !matches!(first & 15, 0..=2 | 8..=10) {
            self.lost = true;
            return;
        }
        let Some(&second) = self.head.get(1) else { return };
        if (second & 0x80 != 0) != self.masked || first & 8 != 0 && second & 0x7F > 125 {
            self.lost = true;
            return;
        }
        let size = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.masked { 4 } else { 0 };
        if self.head.len() < 2 + size + mask {
            return;
        }
        self.left = match size {
            0 => u64::from(second & 0x7F),
            _ => self.head[2..2 + size].iter().fold(0, |n, &b| n << 8 | u64::from(b)),
        };
        if mask > 0 {
            self.key.copy_from_slice(&self.head[2 + size..]);
        }
        self.at = 0;
        self.content = match first & 15 {
            0 => self.message,
            1 => Content::Text,
            2 => Content::Binary,
            8 => Content::Close,
            _ => Content::Control,
        };
        if matches!(first & 15, 1 | 2) {
            self.message = self.content;
        }
        self.head.clear();
    }
}

/// The head of a request or of a response, with `***` for everything that a trace hides: values of
/// fields that identify somebody, queries of URLs, and values for which `is_hidden` returns true.
/// The field `key` stays, since a replay needs its value.
pub(super) fn head(bytes: &[u8], key: &str, is_hidden: &dyn Fn(&str, &[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (number, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        let end = line.len() - line.iter().rev().take_while(|b| b"\r\n".contains(b)).count();
        let (text, ending) = line.split_at(end);
        if number == 0 {
            out.extend(first_line(text, is_hidden));
        } else {
            out.extend(field(text, key, is_hidden));
        }
        out.extend_from_slice(ending);
    }
    out
}

/// The first line: the target of a request may have a query, the reason of a response may repeat a
/// secret.
fn first_line(line: &[u8], is_hidden: &dyn Fn(&str, &[u8]) -> bool) -> Vec<u8> {
    if line.starts_with(b"HTTP/") {
        let reason =
            line.iter().enumerate().filter(|(_, b)| **b == b' ').nth(1).map(|(i, _)| i + 1);
        return match reason {
            Some(at) if is_hidden("", &line[at..]) => [&line[..at], SECRET.as_bytes()].concat(),
            None if is_hidden("", line) => SECRET.as_bytes().to_vec(),
            _ => line.to_vec(),
        };
    }
    let mut words = line.splitn(3, |&b| b == b' ');
    match (words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version)) if std::str::from_utf8(target).is_ok() => {
            let target = String::from_utf8_lossy(target);
            [method, b" ", shown_url(&target).as_bytes(), b" ", version].concat()
        }
        _ if is_hidden("", line) => SECRET.as_bytes().to_vec(),
        _ => line.to_vec(),
    }
}

fn field(line: &[u8], key: &str, is_hidden: &dyn Fn(&str, &[u8]) -> bool) -> Vec<u8> {
    let colon = line.iter().position(|&b| b == b':');
    let named = colon.and_then(|at| Some((std::str::from_utf8(&line[..at]).ok()?, at)));
    let Some((name, at)) = named.filter(|(name, _)| is_token(name.as_bytes())) else {
        // A line without a colon is no field, or continues one.
        let hides = !line.is_empty() && is_hidden("", line);
        return if hides { SECRET.as_bytes().to_vec() } else { line.to_vec() };
    };
    if is_hidden("", name.as_bytes()) {
        return [SECRET.as_bytes(), b": ", SECRET.as_bytes()].concat();
    }
    let (start, value) = line.split_at(at + 1);
    let space = usize::from(value.starts_with(b" "));
    let (space, value) = value.split_at(space);
    let new = match name {
        _ if name.eq_ignore_ascii_case(key) => value.to_vec(),
        _ if is_secret_field(name) || is_hidden(name, value) => SECRET.as_bytes().to_vec(),
        _ if names_a_url(name) => shown_url(&String::from_utf8_lossy(value)).as_bytes().to_vec(),
        _ => value.to_vec(),
    };
    [start, space, &new].concat()
}

/// Where the head of the final response ends, if it is complete: interim responses come before it.
pub(super) fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + 4 + bytes[at..].windows(4).position(|w| w == b"\r\n\r\n")?;
        let status = bytes[at..end].split(|&b| b == b' ').nth(1).unwrap_or_default();
        if !status.starts_with(b"1") || status == b"101" {
            return Some(end);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filler is invalid where the text is, for all values of three bytes at each of four
    /// positions.
    #[test]
    fn a_filler_is_utf8_just_where_the_text_is() {
        let verdict = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(_) => (bytes.len(), Some(0)),
            Err(e) => (e.valid_up_to(), e.error_len()),
        };
        let some = [
            0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1,
            0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ];
        for a in 0..=255u8 {
            assert_eq!(verdict(&[a]), verdict(&letters(&[a])));
            for b in 0..=255u8 {
                assert_eq!(verdict(&[a, b]), verdict(&letters(&[a, b])), "{a:x} {b:x}");
                for (c, d) in some.iter().flat_map(|c| some.map(|d| (*c, d))) {
                    let text = [a, b, c, d];
                    assert_eq!(verdict(&text), verdict(&letters(&text)), "{text:x?}");
                }
            }
        }
    }

    #[test]
    fn payloads_go_and_frames_stay() {
        let mut server = Frames::new(false);
        let frames = b"\x01\x04a\xC3\xA4b\x89\x02pi\x80\x01c\x82\x7E\0\x02bi\x88\x05\x03\xE8bye";
        let filled = b"\x01\x04x\xC3\xA0x\x89\x02xx\x80\x01x\x82\x7E\0\x02\0\0\x88\x05\x03\xE8xxx";
        assert_eq!(server.fill(frames, false), filled);
        // Our own frames, byte by byte; the reason of our close frame stays.
        let mut ours = Frames::new(true);
        let frame = [0x88, 0x84, 1, 2, 3, 4, 3 ^ 1, 0xE8 ^ 2, b'n' ^ 3, b'o' ^ 4];
        let kept: Vec<u8> = frame.iter().flat_map(|&b| ours.fill(&[b], true)).collect();
        assert_eq!(kept, frame);
        let filled = [0x88, 0x84, 1, 2, 3, 4, 3 ^ 1, 0xE8 ^ 2, b'x' ^ 3, b'x' ^ 4];
        assert_eq!(Frames::new(true).fill(&frame, false), filled);
        // Bytes that are no frame are not kept.
        assert_eq!(Frames::new(false).fill(b"\xC1secret", false), b"\xC1\0\0\0\0\0\0");
        assert_eq!(Frames::new(false).fill(b"\x81\x86secret", false), b"\x81\x86\0\0\0\0\0\0");
        assert_eq!(Frames::new(false).fill(b"\x89\x7Esecret", false), b"\x89\x7E\0\0\0\0\0\0");
    }

    #[test]
    fn heads_are_as_traces_show_them() {
        let hides = |_: &str, value: &[u8]| value.windows(4).any(|w| w == b"seen");
        let response = b"HTTP/1.1 403 seen it\r\nSet-Cookie: a\r\nX: as seen\r\nLocation: /a?b\r\n\
            Sec-WebSocket-Accept: abc\r\n seen\r\n\r\n";
        let shown = b"HTTP/1.1 403 ***\r\nSet-Cookie: ***\r\nX: ***\r\nLocation: /a?***\r\n\
            Sec-WebSocket-Accept: abc\r\n***\r\n\r\n";
        assert_eq!(head(response, "", &hides), shown);
        let request = b"GET /a?token HTTP/1.1\r\nSec-WebSocket-Key: k\r\nAuthorization: b\r\n\r\n";
        let shown = b"GET /a?*** HTTP/1.1\r\nSec-WebSocket-Key: k\r\nAuthorization: ***\r\n\r\n";
        assert_eq!(head(request, "sec-websocket-key", &|_, _| false), shown);
        assert_eq!(head_end(b"HTTP/1.1 103 a\r\n\r\nHTTP/1.1 101 b\r\n\r\nc"), Some(36));
        assert_eq!(head_end(b"HTTP/1.1 103 a\r\n\r\nHTTP/1.1 101 b\r\n"), None);
    }
}
