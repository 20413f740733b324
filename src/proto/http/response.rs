//! The head of a response, and the start of the body of a refused response.

use std::fmt;
use std::time::Duration;

use super::date;
use crate::proto::head::{Fields, Head};
use crate::proto::token::{escape, trim};
use crate::proto::transport::Transport;
use crate::proto::url::Url;

/// The head of a response. Its body follows in events; if the response was refused, the start of
/// its body is here ([`Error::response`](crate::Error::response)).
///
/// `Debug` shows no secret: it masks fields such as `Set-Cookie`, and if the response repeats a
/// secret of the request, it shows only the status and sizes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// 100 to 999: 101 for a WebSocket, 200 or more for a stream.
    pub status: u16,
    /// The reason phrase, escaped; may be empty.
    pub reason: String,
    /// The fields.
    pub headers: Fields,
    /// The URL of the request, after redirects.
    pub url: Url,
    /// The session decodes the body from the coding in its `Content-Encoding` (RFC 9110 §8.4). The
    /// fields are unchanged, so `Content-Length`, if present, is the length of the coded body.
    pub decoded: bool,
    /// If the response was refused: the bytes of its body that came, at most
    /// [`Limits::refusal`](crate::Limits::refusal). Otherwise empty, since events report the body.
    pub body: Vec<u8>,
    /// The connection that carried the response; `None` from a session without a socket, and if the
    /// response was refused.
    pub transport: Option<Box<Transport>>,
    /// The response repeats, or may repeat, a secret of the request.
    pub(crate) quiet: bool,
}

/// An error shows at most this many characters of a line of a body.
const LINE: usize = 200;

/// `Debug` shows a body of at most this many bytes, and only the length of a larger one.
const DEBUG: usize = 1024;

impl Response {
    /// The response with this head, from `url`; `is_repeated` returns whether bytes repeat a secret
    /// of the request.
    pub(crate) fn of(head: Head, url: Url, is_repeated: impl Fn(&[u8]) -> bool) -> Response {
        let Head { status, reason, fields: headers, .. } = head;
        let parts = [reason.as_bytes(), headers.as_bytes()];
        let quiet = url.is_secret() || parts.into_iter().any(is_repeated);
        Response {
            status,
            reason,
            headers,
            url,
            decoded: false,
            body: Vec::new(),
            transport: None,
            quiet,
        }
    }

    /// The status and, unless it repeats a secret, the reason phrase.
    pub(crate) fn line(&self) -> String {
        match self.reason.as_str() {
            "" => self.status.to_string(),
            _ if self.quiet => self.status.to_string(),
            reason => format!("{} {reason}", self.status),
        }
    }

    /// Whether the type of the body is text for people or programs. HTML is not: one line of it
    /// explains nothing.
    fn is_text(&self) -> bool {
        let Some(media) = self.headers.media_type() else {
            // A body without a type is text if its bytes are.
            return true;
        };
        media == b"application/json"
            || media.ends_with(b"+json")
            || media.starts_with(b"text/") && media != b"text/html"
    }

    /// The first line of a text body that is not blank, as an error may show it.
    pub(crate) fn first_line(&self) -> Option<String> {
        if self.quiet || !self.is_text() {
            return None;
        }
        let mut lines = self.body.split(|b| matches!(b, b'\r' | b'\n')).map(trim);
        let line = lines.find(|line| !line.is_empty())?;
        // The part of the body that was kept may end within a character.
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) if e.error_len().is_none() => {
                std::str::from_utf8(&line[..e.valid_up_to()]).ok()?
            }
            Err(_) => return None,
        };
        let hidden = text.contains(|c: char| c.is_control() && c != '\t');
        (!hidden && !text.is_empty()).then(|| shown_text(text))
    }

    /// Writes the first line of the body behind the text of an error.
    pub(crate) fn explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first_line() {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }

    /// How long the server wants the client to wait before the next request (RFC 9110 §10.2.3). If
    /// `Retry-After` is a date, the response's `Date` is subtracted, or `now` (seconds since 1970)
    /// if it has none. `None` without a valid `Retry-After`.
    pub fn retry_after(&self, now: u64) -> Option<Duration> {
        let one = |name| {
            let mut all = self.headers.all(name);
            let value = all.next()?;
            all.next().is_none().then(|| trim(value))
        };
        let value = one("Retry-After")?;
        if value.iter().all(u8::is_ascii_digit) && !value.is_empty() {
            let seconds = value
                .iter()
                .fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
            return Some(Duration::from_secs(seconds));
        }
        let until = date::read(value)?;
        let from = one("Date").and_then(date::read).unwrap_or(now);
        Some(Duration::from_secs(until.saturating_sub(from)))
    }

    /// Whether the same request may succeed later: status 408, 425 or 429 (RFC 9110 §15.5.9, RFC
    /// 8470 §5.2, RFC 6585 §4), or 502, 503 or 504, which mean that a gateway or server is
    /// unavailable for the moment.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 502 | 503 | 504)
    }
}

/// A server's text for an error: letters stay, and characters that could change how the line looks
/// are escaped.
fn shown_text(text: &str) -> String {
    let end = text.char_indices().nth(LINE).map_or(text.len(), |(at, _)| at);
    let mut shown = String::with_capacity(end);
    for c in text[..end].chars() {
        match c {
            ' '..='~' => shown.push(c),
            c if c.is_alphanumeric() => shown.push(c),
            c => shown.extend(c.escape_unicode()),
        }
    }
    if end < text.len() {
        shown.push('…');
    }
    shown
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Response");
        out.field("status", &self.status).field("url", &self.url);
        if self.quiet {
            out.field("headers", &self.headers.iter().count()).field("body", &self.body.len());
        } else {
            out.field("reason", &self.reason).field("headers", &self.headers);
            match self.body.len() {
                0..=DEBUG => out.field("body", &escape(&self.body, DEBUG)),
                len => out.field("body", &len),
            };
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::proto::head::HeadParser;
    use crate::proto::http::HttpError;

    fn response(status: u16, fields: &str) -> Response {
        let text = format!("HTTP/1.1 {status} Status\r\n{fields}\r\n");
        let head = HeadParser::default().feed(text.as_bytes(), &Limits::default());
        let url = Url::parse_http("http://a.example/").unwrap();
        Response::of(head.unwrap().1.unwrap(), url, |_| false)
    }

    #[test]
    fn an_error_shows_the_first_line_of_a_text_body() {
        let typed = |kind: &str| format!("Content-Type: {kind}\r\n");
        let (text, long) = (typed("text/plain; charset=utf-8"), "x".repeat(LINE));
        for (fields, body, want) in [
            ("", "no type", Some("no type")),
            (&*text, "\r\n \n  one \r\ntwo", Some("one")),
            (&*text, "größer", Some("größer")),
            (&*text, "tab\there", Some("tab\\u{9}here")),
            (&*text, "a\u{202e}b", Some("a\\u{202e}b")),
            (&*text, "\u{1b}[2J", None),
            (&*text, "\n \n", None),
            (&*text, &*long, Some(&*long)),
            (&*text, &*format!("{long}y"), Some(&*format!("{long}…"))),
            (&*typed("application/json"), "{}", Some("{}")),
            (&*typed("application/problem+json"), "{}", Some("{}")),
            (&*typed("text/html"), "<p>", None),
            (&*typed("application/pdf"), "%PDF", None),
        ] {
            let mut response = response(500, fields);
            response.body = body.into();
            assert_eq!(response.first_line().as_deref(), want, "{fields:?} {body:?}");
            let error = HttpError::Status(response.into()).to_string();
            let shown = want.map_or(String::new(), |line| format!(": {line}"));
            assert_eq!(error, format!("status 500 Status, which opens no event stream{shown}"));
        }
        // The part that was kept may end within a character, but not contain other bytes.
        for (body, want) in [(&b"gr\xC3"[..], Some("gr")), (b"gr\xC3x", None), (b"\xC3", None)] {
            let mut response = response(500, "");
            response.body = body.into();
            assert_eq!(response.first_line().as_deref(), want, "{body:?}");
        }
        let mut response = response(500, "");
        (response.body, response.quiet) = (b"a secret".to_vec(), true);
        assert_eq!((response.first_line(), response.line()), (None, "500".to_owned()));
        (response.reason, response.quiet) = (String::new(), false);
        assert_eq!(response.line(), "500", "no space behind it");
    }

    #[test]
    fn a_wrong_type_is_shown_unless_the_response_repeats_a_secret() {
        for (quiet, want) in [
            (false, "Content-Type \"text/html, x/y\" is not text/event-stream"),
            (true, "Content-Type is not text/event-stream"),
        ] {
            let mut response = response(200, "Content-Type: text/html\r\nContent-Type: x/y\r\n");
            response.quiet = quiet;
            assert_eq!(HttpError::ContentType(response.into()).to_string(), want);
        }
    }

    /// RFC 9110 §10.2.3.
    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        const NOW: u64 = 784_111_770;
        for (fields, want) in [
            ("Retry-After: 120\r\n", Some(120)),
            ("retry-after:  0 \r\n", Some(0)),
            ("Retry-After: 0123456789\r\n", Some(123_456_789)),
            ("Retry-After: 99999999999999999999\r\n", Some(u64::MAX)),
            // Without a valid Date of the response, the client's own clock counts.
            ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", Some(7)),
            (
                "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:49:07 GMT\r\n",
                Some(30),
            ),
            (
                "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: Sun, 06 Nov 1994 08:50:00 GMT\r\n",
                Some(0),
            ),
            ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: today\r\n", Some(7)),
            ("", None),
            ("Retry-After:\r\n", None),
            ("Retry-After: soon\r\n", None),
            ("Retry-After: 1.5\r\n", None),
            ("Retry-After: -1\r\n", None),
            ("Retry-After: 1\r\nRetry-After: 1\r\n", None),
        ] {
            let got = response(503, fields).retry_after(NOW);
            assert_eq!(got, want.map(Duration::from_secs), "{fields}");
        }
    }

    #[test]
    fn six_statuses_are_transient() {
        let all: Vec<u16> = (100..=999).filter(|&n| response(n, "").is_transient()).collect();
        assert_eq!(all, [408, 425, 429, 502, 503, 504]);
    }
}
