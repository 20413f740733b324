//! The head of a response, and of one that is refused the start of its body.

use std::fmt;
use std::time::Duration;

use super::date;
use crate::proto::head::{Fields, Head};
use crate::proto::token::{escape, trim};
use crate::proto::transport::Transport;
use crate::proto::url::Url;

/// The head of a response. What was asked for follows it in events; of an answer that is none of that
/// the start of the body is here ([`Error::response`](crate::Error::response)).
///
/// `Debug` shows no secret: not the values of fields such as `Set-Cookie`, and of an answer that
/// repeats what is secret in the request nothing but its status and how much there is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// 100 to 999; 101 opens a WebSocket, a stream has 200 or more.
    pub status: u16,
    /// The reason phrase, escaped; may be empty.
    pub reason: String,
    /// The fields.
    pub headers: Fields,
    /// The URL that gave it, which redirects may have led to.
    pub url: Url,
    /// Its body is coded as its `Content-Encoding` says (RFC 9110 §8.4), and what is told of it is decoded:
    /// the fields are those that came, and so `Content-Length`, where there is one, is the length of the
    /// coded body.
    pub decoded: bool,
    /// Of a response that is refused, as much of the body as came, up to
    /// [`Limits::refusal`](crate::Limits::refusal) bytes; of any other it is empty, since the body is
    /// told by events.
    pub body: Vec<u8>,
    /// What it came over; `None` from a session that has no socket, and of an answer that is refused.
    pub transport: Option<Box<Transport>>,
    /// It repeats, or may repeat, what is secret in the request.
    pub(crate) quiet: bool,
}

/// How much of a line of a body an error shows.
const LINE: usize = 200;

/// The largest body of which `Debug` shows more than its length.
const DEBUG: usize = 1024;

impl Response {
    /// The answer that a head is, from `url`; `is_repeated` tells whether bytes of it repeat what is
    /// secret in the request.
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

    /// Status and, unless it repeats a secret, reason.
    pub(crate) fn line(&self) -> String {
        match self.reason.as_str() {
            "" => self.status.to_string(),
            _ if self.quiet => self.status.to_string(),
            reason => format!("{} {reason}", self.status),
        }
    }

    /// Whether its body says that it is text of some kind, for people or programs. Markup is none
    /// that a line could show.
    fn is_text(&self) -> bool {
        let Some(media) = self.headers.media_type() else {
            // What does not say what it is says so itself.
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
        // The end of what was kept may cut a character.
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(e) if e.error_len().is_none() => {
                std::str::from_utf8(&line[..e.valid_up_to()]).ok()?
            }
            Err(_) => return None,
        };
        let hidden = text.contains(|c: char| c.is_control() && c != '\t');
        (!hidden && !text.is_empty()).then(|| said(text))
    }

    /// Writes what the body says, behind the words of an error.
    pub(crate) fn explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first_line() {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }

    /// How long the server asks to wait before the request comes again (RFC 9110 §10.2.3): seconds,
    /// or a date, of which the response's own `Date` or else `now`, in seconds since 1970, is taken
    /// off. `None` where it says nothing, or nothing that can be read.
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

    /// Whether a response of this status may be another when it is asked for again: 408, 425 and 429
    /// (RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4), and 502, 503 and 504, of a gateway or server
    /// that is not there at the moment.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 502 | 503 | 504)
    }
}

/// Text of a server in a line of ours: letters as they are, but what could change how a line looks
/// escaped.
fn said(text: &str) -> String {
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
