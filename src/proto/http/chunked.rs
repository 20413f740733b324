//! Chunked bodies (RFC 9112 §7.1). Sizes are parsed by hand; each byte is examined once.

use super::HttpError;
use crate::limits::Limits;
use crate::proto::head::HeadParser;
use crate::proto::token::{escape, is_token_byte, is_value_byte};

/// The next piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More input is needed.
    More,
    /// This many bytes of data, at least one.
    Data(usize),
    /// The end of the body.
    End,
}

/// The position in a chunked body.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// How many bytes of the next line were examined.
    seen: usize,
    /// Bytes of chunk lines beyond the fair cost ([`Limits::chunk_overhead`]).
    overhead: usize,
}

#[derive(Debug)]
enum State {
    /// At the line before a chunk.
    Line,
    /// This many bytes of the chunk are left.
    Data(u64),
    /// At the CR LF behind the data.
    End,
    Trailers(Box<HeadParser>),
    Complete,
}

/// A chunk line costs nothing up to this many bytes and twice its data: with one byte of data, 16
/// digits and CR LF. (Go's net/http counts in the same way since CVE-2023-39326.)
const FAIR: usize = 16;

/// An error shows at most this many of the peer's bytes.
const SHOWN: usize = 40;

impl Chunked {
    pub(crate) fn new() -> Chunked {
        Chunked { state: State::Line, seen: 0, overhead: 0 }
    }

    /// The next piece, and how many bytes of framing precede it.
    // Inlined, as `Body::step`, its caller, is.
    #[inline(always)]
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Piece), HttpError> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let taken = match &mut self.state {
                State::Line => self.line(rest, limits)?,
                State::Data(left) if rest.is_empty() || *left == 0 => {
                    return Ok((used, Piece::More));
                }
                State::Data(left) => {
                    let there = usize::try_from(*left).map_or(rest.len(), |l| l.min(rest.len()));
                    return Ok((used, Piece::Data(there)));
                }
                State::End => self.end(rest)?,
                State::Trailers(parser) => {
                    let (n, whole) = parser.feed(rest, limits).map_err(HttpError::Trailer)?;
                    if whole.is_some() {
                        self.state = State::Complete;
                        return Ok((used + n, Piece::End));
                    }
                    return Ok((used + n, Piece::More));
                }
                State::Complete => return Ok((used, Piece::End)),
            };
            if taken == 0 {
                return Ok((used, Piece::More));
            }
            used += taken;
        }
    }

    /// Records that the caller took `n` bytes of the data.
    pub(crate) fn take(&mut self, n: usize) {
        if let State::Data(left) = &mut self.state {
            *left = left.saturating_sub(n as u64);
            if *left == 0 {
                self.state = State::End;
            }
        }
    }

    /// chunk-size [ chunk-ext ] CRLF; returns the length of the line, 0 until all of it has
    /// arrived.
    fn line(&mut self, input: &[u8], limits: &Limits) -> Result<usize, HttpError> {
        if self.seen == 0
            && let Some((digits, size)) = plain(input)
            && digits <= limits.chunk_line
        {
            return self.chunk(digits + 2, size, limits);
        }
        self.any_line(input, limits)
    }

    /// Parses a line byte by byte: it may be incomplete, have an extension, or be invalid.
    #[inline(never)]
    fn any_line(&mut self, input: &[u8], limits: &Limits) -> Result<usize, HttpError> {
        let bad = |end: usize| HttpError::ChunkLine(escape(&input[..end], SHOWN));
        let digits = |n: usize| input[..n].iter().all(u8::is_ascii_hexdigit);
        while let Some(&b) = input.get(self.seen) {
            match b {
                b'\r' => match input.get(self.seen + 1) {
                    None => return Ok(0),
                    Some(b'\n') => break,
                    Some(_) => return Err(bad(self.seen + 2)),
                },
                _ if self.seen >= limits.chunk_line => return Err(HttpError::LongChunkLine),
                _ if !is_value_byte(b) => return Err(bad(self.seen + 1)),
                // Refused at the first wrong byte: before an extension, only digits and blanks may
                // stand. A line with more digits than a size has is refused at its end.
                _ if self.seen < MAX_DIGITS && !b.is_ascii_hexdigit() => {
                    let may_follow = matches!(b, b';' | b' ' | b'\t');
                    let ext = !digits(self.seen);
                    if self.seen == 0 || !(may_follow || ext) {
                        return Err(bad(self.seen + 1));
                    }
                }
                _ => {}
            }
            self.seen += 1;
        }
        let Some(line) = input.get(..self.seen).filter(|l| l.len() < input.len()) else {
            return Ok(0);
        };
        let len = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
        let size = size(&line[..len]).ok_or_else(|| bad(line.len()))?;
        if !extensions(&line[len..]) {
            return Err(bad(line.len()));
        }
        if i64::try_from(size).is_err() {
            return Err(HttpError::ChunkSize);
        }
        self.chunk(line.len() + 2, size, limits)
    }

    /// Starts a chunk of `size` bytes, whose line has `cost` bytes including its CR LF.
    fn chunk(&mut self, cost: usize, size: u64, limits: &Limits) -> Result<usize, HttpError> {
        self.pay(cost, size, limits)?;
        self.seen = 0;
        self.state = match size {
            0 => State::Trailers(Box::new(HeadParser::of_trailers())),
            size => State::Data(size),
        };
        Ok(cost)
    }

    /// Reads the CR LF behind the data.
    fn end(&mut self, input: &[u8]) -> Result<usize, HttpError> {
        match input {
            [] | [b'\r'] => Ok(0),
            [b'\r', b'\n', ..] => {
                self.state = State::Line;
                Ok(2)
            }
            _ => Err(HttpError::ChunkEnd),
        }
    }

    fn pay(&mut self, cost: usize, size: u64, limits: &Limits) -> Result<(), HttpError> {
        let data = usize::try_from(size).unwrap_or(usize::MAX);
        let fair = data.saturating_mul(2).saturating_add(FAIR);
        self.overhead = (self.overhead + cost).saturating_sub(fair);
        if self.overhead > limits.chunk_overhead {
            return Err(HttpError::ChunkOverhead);
        }
        Ok(())
    }
}

/// Every size below 2⁶³ fits in this many digits; further digits could only be leading zeros.
const MAX_DIGITS: usize = 16;

/// Parses the common line, if all of it is in `input`: few digits and CR LF. Returns how many
/// digits it has, and the size.
fn plain(input: &[u8]) -> Option<(usize, u64)> {
    let mut size = 0u64;
    for (n, &b) in input.iter().take(PLAIN_DIGITS + 1).enumerate() {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            b'A'..=b'F' => b - b'A' + 10,
            b'\r' if n > 0 && input.get(n + 1) == Some(&b'\n') => return Some((n, size)),
            _ => return None,
        };
        size = size << 4 | u64::from(digit);
    }
    None
}

/// A number of this many hexadecimal digits is below 2³².
const PLAIN_DIGITS: usize = 8;

/// chunk-size = 1*HEXDIG, at most as many digits as a size below 2⁶³ needs.
fn size(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let value = |b: &u8| char::from(*b).to_digit(16).map(u64::from);
    digits.iter().try_fold(0u64, |n, b| Some(n << 4 | value(b)?))
}

/// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ), whose value is a
/// token or a quoted string (RFC 9112 §7.1.1). Extensions are checked and ignored.
fn extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = blanks(rest).strip_prefix(b";") else { return false };
        let Some(after) = token(blanks(after)) else { return false };
        rest = match blanks(after).strip_prefix(b"=") {
            None => after,
            Some(value) => match blanks(value) {
                [b'"', quoted @ ..] => match unquoted(quoted) {
                    Some(after) => after,
                    None => return false,
                },
                value => match token(value) {
                    Some(after) => after,
                    None => return false,
                },
            },
        };
    }
    true
}

fn blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The bytes behind the token at the start of `bytes`.
fn token(bytes: &[u8]) -> Option<&[u8]> {
    let len = bytes.iter().position(|&b| !is_token_byte(b)).unwrap_or(bytes.len());
    (len > 0).then(|| &bytes[len..])
}

/// The bytes behind the closing quote of a quoted string.
fn unquoted(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        bytes = match bytes {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of a body, fed `step` bytes at a time; each piece separately.
    fn read(
        bytes: &[u8],
        step: usize,
        limits: &Limits,
    ) -> Result<(Vec<Vec<u8>>, usize), HttpError> {
        let (mut chunked, mut pieces) = (Chunked::new(), Vec::new());
        let (mut at, mut end) = (0, 0);
        while end < bytes.len() {
            end = (end + step).min(bytes.len());
            loop {
                let (skipped, piece) = chunked.step(&bytes[at..end], limits)?;
                at += skipped;
                match piece {
                    Piece::More => break,
                    Piece::End => return Ok((pieces, at)),
                    Piece::Data(n) => {
                        pieces.push(bytes[at..at + n].to_vec());
                        chunked.take(n);
                        at += n;
                    }
                }
            }
        }
        Ok((pieces, usize::MAX))
    }

    /// Whole, byte by byte and with trailing bytes, the result is the same; returns the chunks.
    fn check(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let limits = Limits::default();
        let name = |e: HttpError| match e {
            // The error shows the bytes that have come, so their number depends on the cuts.
            HttpError::ChunkLine(_) => "chunk line".to_owned(),
            e => e.to_string(),
        };
        let whole = read(bytes, bytes.len().max(1), &limits).map_err(name);
        let single = read(bytes, 1, &limits).map_err(name);
        let longer = [bytes, b"trailing"].concat();
        match (&whole, single) {
            (Ok((pieces, used)), Ok((parts, used_again))) => {
                assert_eq!(pieces.concat(), parts.concat());
                assert_eq!((*used, *used), (used_again, bytes.len()), "all, and no more");
                assert_eq!(read(&longer, longer.len(), &limits).map_err(name), whole.clone());
            }
            (Err(a), Err(b)) => {
                assert_eq!((a, &read(&longer, 3, &limits).map_err(name).unwrap_err()), (&b, &b))
            }
            (a, b) => panic!("whole: {a:?}, byte by byte: {b:?}"),
        }
        whole.map(|(pieces, _)| pieces)
    }

    #[test]
    fn chunks_come_one_by_one() {
        for (body, want) in [
            ("0\r\n\r\n", &[][..]),
            ("5\r\nhello\r\n0\r\n\r\n", &["hello"]),
            ("1\r\na\r\n1\r\nb\r\n000\r\n\r\n", &["a", "b"]),
            ("5;a=b\r\nhello\r\n0;last\r\n\r\n", &["hello"]),
            ("5 ;a=b\r\nhello\r\n0\r\n\r\n", &["hello"]),
            ("5;a = \"q;\\\"\r\";b\r\nhello\r\n0\r\n\r\n", &[]),
            ("5;a = \"q;\\\"=\";b\r\nhello\r\n0\r\n\r\n", &["hello"]),
            ("0000000000000005\r\nhello\r\n0\r\n\r\n", &["hello"]),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", &["0123456789", "0123456789"]),
            ("2\r\n\r\n\r\n0\r\nX: 1\r\nContent-Length: 5\r\n\r\n", &["\r\n"]),
        ] {
            match check(body.as_bytes()) {
                Ok(pieces) => {
                    assert_eq!(pieces, want.iter().map(|w| w.as_bytes()).collect::<Vec<_>>())
                }
                Err(e) => assert_eq!((e.as_str(), want), ("chunk line", &[][..]), "{body:?}"),
            }
        }
    }

    #[test]
    fn malformed_chunks() {
        // FAULTS 34 and 35.
        let line = "chunk line";
        for (body, want) in [
            ("\r\n", line),
            (";a\r\n", line),
            (" 5\r\n", line),
            ("5 \r\n", line),
            ("5\t\r\n", line),
            ("0x5\r\n", line),
            ("+5\r\n", line),
            ("-5\r\n", line),
            ("5g\r\n", line),
            ("5.0\r\n", line),
            ("5_0\r\n", line),
            ("5;\r\n", line),
            ("5;a=\r\n", line),
            ("5;a=\"\r\n", line),
            ("5;a=\"b\"c\r\n", line),
            ("5;a b\r\n", line),
            ("5 a\r\n", line),
            ("5;a=\0\r\n", line),
            ("5\nhello", line),
            ("5\rhello", line),
            ("10000000000000000\r\n", line),
            ("00000000000000005\r\n", line),
            ("FFFFFFFFFFFFFFFF\r\n", "a chunk of 2^63 bytes or more"),
            ("8000000000000000;a=b\r\n", "a chunk of 2^63 bytes or more"),
            ("8000000000000000;\r\n", line),
            ("5\r\nhelloXX0\r\n\r\n", "the data of a chunk does not end in CR LF"),
            ("5\r\nhello\n0\r\n\r\n", "the data of a chunk does not end in CR LF"),
            ("5\r\nhello\rX0\r\n\r\n", "the data of a chunk does not end in CR LF"),
        ] {
            assert_eq!(check(body.as_bytes()), Err(want.to_owned()), "{body:?}");
        }
        for trailer in ["X : 1\r\n\r\n", "no colon\r\n\r\n", "X: 1\n\r\n", "X: \0\r\n\r\n"] {
            let e = check(format!("0\r\n{trailer}").as_bytes()).unwrap_err();
            assert!(e.starts_with("trailer section: "), "{trailer:?}: {e}");
        }
    }

    /// Compares the fast path with the general one, for lines of up to ten bytes: cut, whole, with
    /// bytes behind, and next to the limit.
    #[test]
    fn a_plain_line_is_what_every_line_is() {
        let digits =
            ["0", "5", "aF", "00", "FFFFFFFF", "fffffffff", "1234567", "12345678", "g", ""];
        let ends = ["", "\r", "\r\n", "\r\nhello", "\n", "\rx", ";a\r\n", " \r\n", "\0\r\n"];
        for (digits, end) in digits.iter().flat_map(|d| ends.map(|end| (d, end))) {
            for chunk_line in [0, 1, 2, 7, 8, 9, 100] {
                let limits = Limits { chunk_line, chunk_overhead: 0, ..Default::default() };
                let line = format!("{digits}{end}");
                let (mut short, mut long) = (Chunked::new(), Chunked::new());
                let got = short.line(line.as_bytes(), &limits);
                assert_eq!(got, long.any_line(line.as_bytes(), &limits), "{line:?}");
                assert_eq!(format!("{short:?}"), format!("{long:?}"), "{line:?}");
            }
        }
    }

    /// A line of at most eight digits needs no second look.
    #[test]
    fn the_common_line_is_read_at_once() {
        for (line, want) in [
            ("0\r\n", Some((1, 0))),
            ("12345678\r\n", Some((8, 0x1234_5678))),
            ("9abcdefA\r\nhello", Some((8, 0x9ABC_DEFA))),
            ("BCDEF\r\n", Some((5, 0xB_CDEF))),
            ("123456789\r\n", None),
            ("5;a\r\n", None),
        ] {
            assert_eq!(plain(line.as_bytes()), want, "{line:?}");
        }
    }

    /// Nothing behind it need come, and the error shows it.
    #[test]
    fn a_wrong_byte_of_a_size_is_refused_at_once() {
        for (line, shown) in [
            (";", ";"),
            (" 5", " "),
            ("g", "g"),
            ("5g0", "5g"),
            ("5\n", "5\\n"),
            ("5;a\0b", "5;a\\x00"),
            ("5\rx0", "5\\rx"),
            ("000000000000005g0", "000000000000005g"),
        ] {
            let got = Chunked::new().step(line.as_bytes(), &Limits::default());
            assert_eq!(got, Err(HttpError::ChunkLine(shown.into())), "{line:?}");
        }
    }

    #[test]
    fn the_largest_size_is_a_size() {
        // FAULTS 35.
        assert_eq!(size(b"7FFFFFFFFFFFFFFF"), Some(i64::MAX as u64));
        let mut chunked = Chunked::new();
        let got = chunked.step(b"7fffffffffffffff\r\nabc", &Limits::default());
        assert_eq!(got, Ok((18, Piece::Data(3))));
    }

    #[test]
    fn limits_hold_at_n_and_break_at_n_plus_1() {
        // FAULTS 33.
        let limits = Limits { chunk_line: 20, ..Default::default() };
        let body = |n: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(n - 2)).into_bytes();
        assert!(read(&body(20), 1, &limits).is_ok());
        assert_eq!(read(&body(21), 1, &limits), Err(HttpError::LongChunkLine));

        // Each chunk costs a line of 40 bytes, less 16 and less twice its byte of data.
        let limits = Limits { chunk_overhead: 22 * 3, ..Default::default() };
        let body = |n: usize| format!("1;{}\r\nx\r\n", "a".repeat(36)).repeat(n).into_bytes();
        assert!(read(&body(3), 7, &limits).is_ok());
        assert_eq!(read(&body(4), 7, &limits), Err(HttpError::ChunkOverhead));

        let limits = Limits { fields: 3, ..Default::default() };
        let body = |n: usize| format!("0\r\n{}\r\n", "A: 1\r\n".repeat(n)).into_bytes();
        assert!(read(&body(3), 1, &limits).is_ok());
        assert!(matches!(read(&body(4), 1, &limits), Err(HttpError::Trailer(_))));
    }

    #[test]
    fn small_chunks_without_extensions_are_free() {
        let body = "1\r\nx\r\n".repeat(100_000);
        let (pieces, _) = read(body.as_bytes(), 4096, &Limits::default()).unwrap();
        assert_eq!(pieces.len(), 100_000);
    }

    #[test]
    fn an_endless_chunk_line_ends_at_its_limit() {
        // FAULTS 7 and 39.
        for start in ["5;a=", "0"] {
            let endless = [start.as_bytes(), &[b'0'; 1_000_000]].concat();
            assert!(read(&endless, 1, &Limits::default()).is_err());
        }
    }
}
