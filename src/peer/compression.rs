//! permessage-deflate, as the server negotiates it (RFC 7692 §5.1).

use super::head::Head;
use super::query::{Query, number};
use super::refusal::Refusal;
use crate::proto::ws::deflate::{Codec, negotiate};
use crate::proto::{Agreed, Compression};

/// The answer to an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    agreed: Agreed,
    limits: Compression,
    text: String,
}

/// Accepts the first valid offer. The query of the target may contain parameters of RFC 7692 §7.1,
/// which the answer then demands: `/?client_no_context_takeover=1&client_max_window_bits=10`.
pub(super) fn answer(head: &Head<'_>) -> Result<Option<Answer>, Refusal> {
    let offers: Vec<&[u8]> = head.all("Sec-WebSocket-Extensions").collect();
    let limits = limits(&Query(head.query()));
    // Several fields are one list (RFC 6455 §11.3.2).
    let accepted = negotiate::accept(&offers.join(&b", "[..]), &limits);
    let accepted = accepted.map_err(|_| Refusal::Bad)?;
    Ok(accepted.map(|(agreed, text)| Answer { agreed, limits, text }))
}

fn limits(query: &Query<'_>) -> Compression {
    let bits = |name| query.get(name).and_then(number).map_or(15, |n| n.min(15) as u8);
    Compression {
        client_window: bits("client_max_window_bits"),
        server_window: bits("server_max_window_bits"),
        client_takeover: query.get("client_no_context_takeover").is_none(),
        server_takeover: query.get("server_no_context_takeover").is_none(),
        // A message that arrives compressed is sent back compressed, whatever its size.
        threshold: 1,
        ..Compression::default()
    }
}

impl Answer {
    /// The value of `Sec-WebSocket-Extensions`.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn codec(&self) -> Codec {
        Codec::server(&self.agreed, &self.limits)
    }
}
