//! `/sse`: the options of an event stream, and the head of its response.

use std::time::Duration;

use super::drip::{Drip, Source};
use super::head::Head;
use super::http;
use super::query::{Query, number};
use super::refusal::Refusal;

/// An event stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sse {
    /// The number of events; `None`: without end.
    events: Option<u64>,
    period: Duration,
    from: u64,
    retry: Option<u64>,
    comment: bool,
    chunked: bool,
}

impl Sse {
    pub(super) fn of(head: &Head<'_>, query: &Query<'_>) -> Result<Sse, Refusal> {
        let from = query.number("from")?.unwrap_or(1);
        let seen = head.only("Last-Event-ID").and_then(number);
        Ok(Sse {
            events: Some(query.number("n")?.unwrap_or(10)).filter(|n| *n > 0),
            period: query.pause(100)?,
            from: seen.and_then(|id| id.checked_add(1)).unwrap_or(from),
            retry: query.number("retry")?,
            comment: query.get("comment") == Some(b"1"),
            chunked: query.get("chunked") == Some(b"1"),
        })
    }

    /// Appends the head of the response, and the lines before the first event.
    pub(super) fn start(self, bodyless: bool, out: &mut Vec<u8>) -> Option<Drip> {
        let fields = "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n";
        http::start(out, fields, self.chunked);
        if bodyless {
            return None;
        }
        let comment = self.comment.then(|| ": hello\n\n".to_owned());
        let retry = self.retry.map(|ms| format!("retry: {ms}\n\n"));
        for block in comment.into_iter().chain(retry) {
            match self.chunked {
                true => http::chunk(out, block.as_bytes(), ""),
                false => out.extend_from_slice(block.as_bytes()),
            }
        }
        let source = Source::Ticks { next: self.from, left: self.events };
        Some(Drip::new(source, self.period, self.chunked))
    }
}
