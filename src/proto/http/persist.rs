//! Whether a connection may carry another exchange (RFC 9112 §9.3).

use std::time::Duration;

use super::Request;
use super::body::Body;
use crate::proto::head::Head;
use crate::proto::token::list;

/// A connection that may carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Persistence {
    /// For how long, if the server states it. One second less: the server's clock also runs while
    /// the response and the next request are on their way.
    pub(crate) most: Option<Duration>,
}

/// `Keep-Alive: timeout=N` is shortened by this.
const MARGIN: Duration = Duration::from_secs(1);

impl Persistence {
    /// Decides by the final head. Legal but unusual framing counts as "no": another connection
    /// costs little, a response that is mistaken for the response to another request costs much.
    pub(crate) fn of(request: &Request, head: &Head, body: &Body) -> Option<Persistence> {
        if !request.keep_alive || !is_kept(request, head) || !is_plain(head, body) {
            return None;
        }
        let mut timeouts = head.fields.all("Keep-Alive").flat_map(list).filter_map(timeout);
        let first = timeouts.next().map(|first| timeouts.fold(first, Duration::min));
        match first {
            None => Some(Persistence { most: None }),
            Some(most) if most.is_zero() => None,
            most => Some(Persistence { most }),
        }
    }
}

/// Whether the server keeps the connection.
fn is_kept(request: &Request, head: &Head) -> bool {
    let has = |option: &str| {
        let mut all = head.fields.all("Connection").flat_map(list);
        all.any(|o| o.eq_ignore_ascii_case(option.as_bytes()))
    };
    // A proxy of HTTP/1.0 may forward `Connection` without understanding it; then neither side
    // keeps the connection.
    !has("close") && (head.minor > 0 || has("keep-alive") && request.for_proxy.is_none())
}

/// Whether all HTTP implementations find the same end of the body.
fn is_plain(head: &Head, body: &Body) -> bool {
    let mut lengths = head.fields.all("Content-Length");
    let first = lengths.next();
    let has_one = lengths.next().is_none() && !first.is_some_and(|length| length.contains(&b','));
    let has_body = first.is_some_and(|length| length.iter().any(|&b| b != b'0'))
        || head.fields.all("Transfer-Encoding").next().is_some();
    match body {
        Body::UntilEof => false,
        // A server that announces a body here (RFC 9110 §8.6, RFC 9112 §6.1) may also send one.
        _ if head.status == 204 => !has_body,
        _ => has_one,
    }
}

/// The time in an element of `Keep-Alive`, less the margin; an invalid number counts as 0.
fn timeout(element: &[u8]) -> Option<Duration> {
    let equals = element.iter().position(|&b| b == b'=')?;
    let (name, value) = (element[..equals].trim_ascii(), element[equals + 1..].trim_ascii());
    if !name.eq_ignore_ascii_case(b"timeout") {
        return None;
    }
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    let add = |n: u64, b| Some(n.saturating_mul(10).saturating_add(digit(b)?));
    let seconds = value.iter().try_fold(0, add).unwrap_or(0);
    Some(Duration::from_secs(seconds).saturating_sub(MARGIN))
}
