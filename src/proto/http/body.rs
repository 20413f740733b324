//! The length of a body (RFC 9112 §6.3), and its pieces.

use super::chunked::{Chunked, Piece};
use super::coding::{Accepts, Coding};
use super::{HttpError, SHOWN};
use crate::limits::Limits;
use crate::proto::head::Head;
use crate::proto::token::{escape, list, trim};

/// A response body while it is received.
#[derive(Debug)]
pub(crate) enum Body {
    /// There is no body, or all of it was taken.
    Empty,
    /// This many bytes are left; not 0.
    Length(u64),
    Chunked(Chunked),
    /// All bytes until the stream ends.
    UntilEof,
}

impl Body {
    /// The rules of §6.3, in their order. Here an ambiguous length is an error, and so is a coding.
    pub(crate) fn of(method: &str, head: &Head) -> Result<Body, HttpError> {
        Body::coded(method, head, Accepts::Identity).map(|(body, _)| body)
    }

    /// As [`Body::of`], but accepts codings as `accepts` states; also returns the coding of the
    /// body.
    pub(crate) fn coded(
        method: &str,
        head: &Head,
        accepts: Accepts,
    ) -> Result<(Body, Option<Coding>), HttpError> {
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            return Ok((Body::Empty, None));
        }
        let coding = accepts.coding(&head.fields)?;
        Ok((Body::framed(head)?, coding))
    }

    fn framed(head: &Head) -> Result<Body, HttpError> {
        let fields = &head.fields;
        let length = content_length(head)?;
        if let Some(first) = fields.all("Transfer-Encoding").next() {
            if length.is_some() {
                return Err(HttpError::BothLengths);
            }
            let mut codings = fields.all("Transfer-Encoding").flat_map(list);
            let chunked = codings.next().is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
            if !chunked || codings.next().is_some() || head.minor == 0 {
                return Err(HttpError::TransferEncoding(escape(first, SHOWN)));
            }
            return Ok(Body::Chunked(Chunked::new()));
        }
        Ok(match length {
            Some(0) => Body::Empty,
            Some(length) => Body::Length(length),
            None => Body::UntilEof,
        })
    }

    /// The next piece, and how many bytes of framing precede it.
    // Inlined: since refusals call it too, the compiler would otherwise make a call for each piece:
    // 5 % more instructions with small chunks.
    #[inline(always)]
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Piece), HttpError> {
        let data = |n: usize| if n == 0 { Piece::More } else { Piece::Data(n) };
        match self {
            Body::Empty => Ok((0, Piece::End)),
            Body::Length(left) => {
                let there = usize::try_from(*left).map_or(input.len(), |l| l.min(input.len()));
                Ok((0, data(there)))
            }
            Body::Chunked(chunked) => chunked.step(input, limits),
            Body::UntilEof => Ok((0, data(input.len()))),
        }
    }

    /// Records that the caller took `n` bytes of the data.
    #[inline]
    pub(crate) fn take(&mut self, n: usize) {
        match self {
            Body::Length(left) => {
                *left = left.saturating_sub(n as u64);
                if *left == 0 {
                    *self = Body::Empty;
                }
            }
            Body::Chunked(chunked) => chunked.take(n),
            Body::Empty | Body::UntilEof => {}
        }
    }

    /// The peer has ended the stream; `Ok` if the body is complete. If the stream was `cut`, which
    /// means that TLS sent no `close_notify`, its end does not end the body (RFC 9112 §9.8).
    pub(crate) fn finish(&self, cut: bool) -> Result<(), HttpError> {
        match self {
            Body::Empty => Ok(()),
            Body::UntilEof if !cut => Ok(()),
            Body::Length(left) => Err(HttpError::Truncated(Some(*left))),
            Body::UntilEof | Body::Chunked(_) => Err(HttpError::Truncated(None)),
        }
    }
}

/// Content-Length = 1*DIGIT; equal values count as one (RFC 9110 §8.6).
fn content_length(head: &Head) -> Result<Option<u64>, HttpError> {
    let mut all = head.fields.all("Content-Length").flat_map(|v| v.split(|&b| b == b',')).map(trim);
    let Some(first) = all.next() else { return Ok(None) };
    let bad = || {
        let values: Vec<&[u8]> = head.fields.all("Content-Length").collect();
        HttpError::ContentLength(escape(&values.join(&b", "[..]), SHOWN))
    };
    if !all.all(|other| other == first) || first.is_empty() {
        return Err(bad());
    }
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    let length = first.iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(digit(b)?));
    length.filter(|&n| i64::try_from(n).is_ok()).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::head::HeadParser;

    fn head(text: &str) -> Head {
        let text = format!("{text}\r\n\r\n");
        HeadParser::default().feed(text.as_bytes(), &Limits::default()).unwrap().1.unwrap()
    }

    /// The framing of a response with these fields, as text.
    fn framing(method: &str, start: &str, fields: &str) -> String {
        let head = head(&format!("HTTP/{start}\r\n{fields}"));
        match Body::of(method, &head) {
            Ok(Body::Empty) => "empty".into(),
            Ok(Body::Length(n)) => n.to_string(),
            Ok(Body::Chunked(_)) => "chunked".into(),
            Ok(Body::UntilEof) => "until eof".into(),
            Err(HttpError::BothLengths) => "both".into(),
            Err(HttpError::TransferEncoding(_)) => "bad transfer".into(),
            Err(HttpError::ContentLength(_)) => "bad length".into(),
            Err(HttpError::ContentEncoding(name)) => name,
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn the_length_by_the_rules_of_section_6_3() {
        // FAULTS 37, 56 and 72.
        for (method, start, fields, want) in [
            // 1
            ("HEAD", "1.1 200 OK", "Content-Length: 5", "empty"),
            ("HEAD", "1.1 200 OK", "Transfer-Encoding: chunked", "empty"),
            ("GET", "1.1 204 No Content", "Transfer-Encoding: chunked", "empty"),
            ("GET", "1.1 204 No Content", "Content-Length: 5", "empty"),
            ("GET", "1.1 304 Not Modified", "Content-Length: 5", "empty"),
            ("GET", "1.1 205 Reset", "Content-Length: 5", "5"),
            // 3
            ("GET", "1.1 200 OK", "Transfer-Encoding: chunked\r\nContent-Length: 5", "both"),
            ("GET", "1.1 200 OK", "Content-Length: 5\r\nTransfer-Encoding: x", "both"),
            // 4
            ("GET", "1.1 200 OK", "Transfer-Encoding: chunked", "chunked"),
            ("GET", "1.1 200 OK", "transfer-encoding: CHUNKED", "chunked"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: chunked,", "chunked"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: gzip, chunked", "bad transfer"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: chunked, identity", "bad transfer"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: identity", "bad transfer"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: xchunked", "bad transfer"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: chunked;q=1", "bad transfer"),
            ("GET", "1.1 200 OK", "Transfer-Encoding: \"chunked\"", "bad transfer"),
            ("GET", "1.1 200 OK", "Transfer-Encoding:", "bad transfer"),
            (
                "GET",
                "1.1 200 OK",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "bad transfer",
            ),
            ("GET", "1.0 200 OK", "Transfer-Encoding: chunked", "bad transfer"),
            // 6
            ("GET", "1.1 200 OK", "Content-Length: 0", "empty"),
            ("GET", "1.1 200 OK", "Content-Length: 42", "42"),
            ("GET", "1.0 200 OK", "Content-Length: 42", "42"),
            ("GET", "1.1 200 OK", "Content-Length: 0042", "42"),
            ("GET", "1.1 200 OK", "Content-Length: 42, 42", "42"),
            ("GET", "1.1 200 OK", "Content-Length: 42\r\nContent-Length: 42", "42"),
            ("GET", "1.1 200 OK", "Content-Length: 9223372036854775807", "9223372036854775807"),
            // 8
            ("GET", "1.1 200 OK", "X: y", "until eof"),
            ("GET", "1.1 404 Not Found", "X: y", "until eof"),
            // RFC 9110 §8.4
            ("GET", "1.1 200 OK", "Content-Encoding: gzip", "gzip"),
            ("GET", "1.1 200 OK", "Content-Encoding: none", "until eof"),
            ("GET", "1.1 200 OK", "Content-Encoding: Identity, NONE", "until eof"),
            ("GET", "1.1 200 OK", "Content-Encoding: none, br", "br"),
            ("GET", "1.1 200 OK", "Content-Encoding: identity, br", "br"),
            ("GET", "1.1 200 OK", "Content-Encoding: identity\r\nContent-Length: 1", "1"),
            ("GET", "1.1 304 Not Modified", "Content-Encoding: gzip", "empty"),
        ] {
            assert_eq!(framing(method, start, fields), want, "{method} {start} {fields}");
        }
    }

    #[test]
    fn a_content_length_is_digits_and_nothing_else() {
        // FAULTS 36.
        for bad in [
            "",
            "+5",
            "-5",
            "-0",
            "5 5",
            "1 2",
            "5x",
            "x5",
            "0x5",
            "5.0",
            "5e1",
            "5,6",
            "5,",
            ",5",
            "5,,5",
            "5;5",
            "\"5\"",
            "'5'",
            "5\t5",
            "1_000",
            "1.000",
            "1,000",
            "٥",
            "5%20",
            "NaN",
            "five",
            "18446744073709551616",
            "18446744073709551615",
            "9223372036854775808",
            "99999999999999999999999999",
            "5 ,6",
            "42, 042",
        ] {
            let fields = format!("Content-Length: {bad}");
            assert_eq!(framing("GET", "1.1 200 OK", &fields), "bad length", "{bad:?}");
        }
        let two = "Content-Length: 5\r\nContent-Length: 6";
        assert_eq!(framing("GET", "1.1 200 OK", two), "bad length");
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let limits = Limits::default();
        let mut body = Body::Length(5);
        assert_eq!(body.step(b"", &limits), Ok((0, Piece::More)));
        assert_eq!(body.step(b"abc", &limits), Ok((0, Piece::Data(3))));
        body.take(3);
        assert_eq!(body.finish(false), Err(HttpError::Truncated(Some(2))));
        assert_eq!(body.step(b"de and more", &limits), Ok((0, Piece::Data(2))));
        body.take(2);
        assert_eq!(body.step(b" and more", &limits), Ok((0, Piece::End)));
        assert_eq!((body.finish(false), body.finish(true)), (Ok(()), Ok(())));
    }

    #[test]
    fn only_a_stream_with_close_notify_ends_a_body_without_length() {
        assert_eq!(Body::UntilEof.finish(false), Ok(()));
        assert_eq!(Body::UntilEof.finish(true), Err(HttpError::Truncated(None)));
        assert_eq!(Body::Chunked(Chunked::new()).finish(false), Err(HttpError::Truncated(None)));
    }
}
