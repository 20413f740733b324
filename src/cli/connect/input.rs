//! Reads messages from standard input and cuts it into messages at line ends or zero bytes.

use std::io::{self, ErrorKind, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ConnectArgs, Form};

/// A message to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Decoded(Vec<u8>),
}

/// How input becomes messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    binary: bool,
    form: Form,
    /// The byte that ends a message; `None`: only the end of input does.
    end: Option<u8>,
    /// The longest message, in bytes.
    most: usize,
}

impl Rules {
    pub(super) fn of(args: &ConnectArgs, most: usize) -> Rules {
        Rules { binary: args.binary, form: args.form, end: args.end, most }
    }

    /// Makes a message of these bytes; the error states why they cannot be one.
    pub(super) fn message<'a>(&self, bytes: &'a [u8]) -> Result<Outgoing<'a>, String> {
        match (self.binary, self.form) {
            (false, _) => std::str::from_utf8(bytes).map(Outgoing::Text).map_err(|e| {
                let at = e.valid_up_to() + 1;
                format!(
                    "byte {at} is not UTF-8, so this cannot be a text message; --binary sends \
                         it as it is"
                )
            }),
            (true, Form::Raw) => Ok(Outgoing::Binary(bytes)),
            (true, Form::Hex) => hex(bytes).map(Outgoing::Decoded),
            (true, Form::Base64) => {
                let text: Vec<u8> =
                    bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
                let decoded = STANDARD.decode(text).map_err(|e| format!("not base64: {e}"))?;
                Ok(Outgoing::Decoded(decoded))
            }
        }
    }
}

/// Parses bytes in hex: two digits each, with or without blanks between bytes.
fn hex(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut digits = Vec::new();
    for (at, byte) in bytes.iter().enumerate().filter(|(_, b)| !b.is_ascii_whitespace()) {
        let digit = char::from(*byte).to_digit(16);
        let digit = digit.ok_or_else(|| format!("byte {} is not a hex digit", at + 1))?;
        digits.push(digit as u8);
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("an odd number of hex digits".to_owned());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Cuts the bytes of a reader into messages.
pub(super) struct Lines<R> {
    from: R,
    rules: Rules,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were returned as messages, and how many were searched for the
    /// end of a message.
    given: usize,
    seen: usize,
    /// How many messages were returned.
    count: u64,
    /// The index at which the next message ends, once it is known.
    end: Option<usize>,
    over: bool,
    /// The whole input is one message, whatever its bytes are.
    is_alone: bool,
}

/// How many bytes one read asks for.
const PIECE: usize = 64 * 1024;

impl Lines<io::Empty> {
    /// Returns one message that is already complete, whatever its bytes are.
    pub(super) fn whole(message: Vec<u8>, rules: Rules) -> Lines<io::Empty> {
        let end = Some(message.len());
        let mut lines = Lines::new(io::empty(), rules);
        (lines.seen, lines.buffer, lines.end) = (message.len(), message, end);
        (lines.over, lines.is_alone) = (true, true);
        lines
    }
}

impl<R: Read> Lines<R> {
    pub(super) fn new(from: R, rules: Rules) -> Lines<R> {
        Lines {
            from,
            rules,
            buffer: Vec::new(),
            given: 0,
            seen: 0,
            count: 0,
            end: None,
            over: false,
            is_alone: false,
        }
    }

    /// Reads once; returns false at the end of input. After this call, [`Lines::next`] returns the
    /// complete messages.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.given);
        self.seen -= self.given;
        self.given = 0;
        let old = self.buffer.len();
        self.buffer.resize(old + PIECE, 0);
        let read = loop {
            match self.from.read(&mut self.buffer[old..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0));
        self.over = read? == 0;
        Ok(!self.over)
    }

    /// Returns the next message, the same one until [`Lines::done`] is called. The error states why
    /// the bytes are no message.
    pub(super) fn next(&mut self) -> Result<Option<Outgoing<'_>>, String> {
        let end = match self.end.or_else(|| self.find_end()) {
            Some(end) => end,
            None => {
                self.seen = self.buffer.len();
                let rest = self.seen - self.given;
                if rest <= self.rules.most && (!self.over || rest == 0) {
                    return Ok(None);
                }
                self.seen
            }
        };
        if end - self.given > self.rules.most {
            let (which, most) = (self.count + 1, self.rules.most);
            return Err(format!("message {which}: longer than {most} bytes (--max-message)"));
        }
        self.end = Some(end);
        let mut bytes = &self.buffer[self.given..end];
        if self.rules.end == Some(b'\n') && end < self.buffer.len() && bytes.last() == Some(&b'\r')
        {
            bytes = &bytes[..bytes.len() - 1];
        }
        let message = self.rules.message(bytes);
        message.map(Some).map_err(|e| match self.is_alone {
            true => e,
            false => format!("message {}: {e}", self.count + 1),
        })
    }

    fn find_end(&self) -> Option<usize> {
        let end = self.rules.end?;
        self.buffer[self.seen..].iter().position(|b| *b == end).map(|at| self.seen + at)
    }

    /// Call this after the message was sent.
    pub(super) fn done(&mut self) {
        if let Some(end) = self.end.take() {
            self.count += 1;
            self.given = (end + 1).min(self.buffer.len());
            self.seen = self.given;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(binary: bool, form: Form, end: impl Into<Option<u8>>) -> Rules {
        Rules { binary, form, end: end.into(), most: 20 }
    }

    fn owned(message: Outgoing<'_>) -> Vec<u8> {
        match message {
            Outgoing::Text(text) => text.as_bytes().to_vec(),
            Outgoing::Binary(data) => data.to_vec(),
            Outgoing::Decoded(data) => data,
        }
    }

    /// A reader that returns one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            (to[0], self.0) = (*first, rest);
            Ok(1)
        }
    }

    fn all(from: impl Read, rules: Rules) -> Result<Vec<Vec<u8>>, String> {
        let (mut lines, mut messages) = (Lines::new(from, rules), Vec::new());
        loop {
            let more = lines.fill().unwrap();
            while let Some(message) = lines.next()? {
                messages.push(owned(message));
                assert!(lines.next()?.is_some(), "until it is done");
                lines.done();
            }
            if !more {
                return Ok(messages);
            }
        }
    }

    #[test]
    fn lines_are_cut_however_they_come() {
        for (input, end, want) in [
            (&b""[..], Some(b'\n'), &[][..]),
            (b"a\nb\n", Some(b'\n'), &[&b"a"[..], b"b"][..]),
            (b"a\r\nb", Some(b'\n'), &[b"a", b"b"]),
            (b"\n\n", Some(b'\n'), &[b"", b""]),
            (b"a\nb\0\r\0c", Some(0), &[b"a\nb", b"\r", b"c"]),
            (b"a\r\n\0", None, &[b"a\r\n\0"]),
            (b"", None, &[]),
        ] {
            let rules = rules(false, Form::Raw, end);
            assert_eq!(all(input, rules).unwrap(), want, "{input:?}");
            assert_eq!(all(Slow(input), rules).unwrap(), want, "{input:?}, bytewise");
        }
    }

    #[test]
    fn a_line_is_bounded_with_its_end_and_without() {
        for input in [&b"a\n012345678901234567890"[..], b"a\n012345678901234567890\nb"] {
            let error_text = all(input, rules(false, Form::Raw, b'\n')).unwrap_err();
            assert_eq!(error_text, "message 2: longer than 20 bytes (--max-message)");
        }
    }

    #[test]
    fn binary_messages_are_decoded() {
        for (form, input, want) in [
            (Form::Raw, &b"\xff\x00"[..], Ok(&b"\xff\x00"[..])),
            (Form::Hex, b"00 fF7f", Ok(b"\x00\xff\x7f")),
            (Form::Hex, b"", Ok(b"")),
            (Form::Hex, b"0", Err("an odd number of hex digits")),
            (Form::Hex, b"0g", Err("byte 2 is not a hex digit")),
            (Form::Base64, b"aGk= ", Ok(b"hi")),
            (Form::Base64, b"aGk", Err("not base64: ")),
        ] {
            match (rules(true, form, b'\n').message(input), want) {
                (Ok(message), Ok(want)) => assert_eq!(owned(message), want),
                (Err(error_text), Err(want)) => {
                    assert!(error_text.starts_with(want), "{error_text}")
                }
                (got, want) => panic!("{got:?} {want:?}"),
            }
        }
        let error_text = rules(false, Form::Raw, b'\n').message(b"ab\xff").unwrap_err();
        assert!(error_text.starts_with("byte 3 is not UTF-8"), "{error_text}");
    }
}
