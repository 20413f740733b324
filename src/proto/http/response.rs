//! The head of a response, and the start of the body of a refused one.

use std::fmt;
use std::time::Duration;

use super::date;
use crate::proto::head::{Fields, Head};
use crate::proto::token::{escape, trim};
use crate::proto::transport::Transport;
use crate::proto::url::Url;

/// The head of a response. Its body follows in events; of a response that is not the one asked for,
/// the start of the body is here ([`Error::response`](crate::Error::response)).
///
/// `Debug` shows no secret: not the values of fields such as `Set-Cookie`, and of a response that
/// repeats a secret of the request only its status and sizes.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// 100 to 999; 101 opens a WebSocket, a stream has 200 or more.
    pub status: u16,
    /// The reason phrase, escaped; may be empty.
    pub reason: String,
    /// The fields.
    pub headers: Fields,
    /// The URL of the request, after redirects.
    pub url: Url,
    /// The body is coded as its `Content-Encoding` states (RFC 9110 §8.4), and reported decoded.
    /// The fields are those of the server, so `Content-Length`, if there is one, is the length of
    /// the coded body.
    pub decoded: bool,
    /// Of a refused response, as much of the body as came, up to
    /// [`Limits::refusal`](crate::Limits::refusal) bytes; otherwise empty, since the body is
    /// reported in events.
    pub body: Vec<u8>,
    /// The connection that carried it; `None` from a session without a socket, and for a refused
    /// response.
    pub transport: Option<Box<Transport>>,
    /// The response repeats, or may repeat, a secret of the request.
    pub(crate) quiet: bool,
}

/// How many bytes of a line of a body an error shows.
const LINE: usize = 200;

/// The largest body of which `Debug` shows more than its length.
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

    /// Whether the type of the body is text of some kind, for people or programs. Markup is not: a
    /// line of it explains nothing.
    fn is_text(&self) -> bool {
        let Some(media) = self.headers.media_type() else {
            // A body without a type is examined itself.
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
        // The end of the kept part may cut a character.
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

    /// Writes the first line of the body, behind the text of an error.
    pub(crate) fn explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first_line() {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }

    /// How long the server asks to wait before the request is sent again (RFC 9110 §10.2.3):
    /// seconds, or a date, from which the response's own `Date` or else `now`, in seconds since
    /// 1970, is subtracted. `None` without a valid `Retry-After`.
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

    /// Whether the same request may succeed later, by the status of this response: 408, 425 and 429
    /// (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4), and 502, 503 and 504, of a gateway or server
    /// that is unavailable for the moment.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 502 | 503 | 504)
    }
}

/// Text of a server for a line of ours: letters unchanged, characters that could change how a line
/// looks escaped.
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
