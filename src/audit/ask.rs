//! The opening handshake, with the changes of a check, and its answer.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::wire::{ConnectionEnd, Wire};
use crate::limits::Limits;
use crate::proto::head::HeadParser;
use crate::proto::{Head, HeadError, Url};

/// A request, valid until a check changes it.
#[derive(Clone, Debug)]
pub(super) struct RawRequest {
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) version: &'static str,
    pub(super) fields: Vec<(String, String)>,
}

impl RawRequest {
    /// The request of §4.1, with `nonce` as its key.
    pub(super) fn new(url: &Url, nonce: [u8; 16], more: &[(String, String)]) -> RawRequest {
        let own = [
            ("Host", url.host_field()),
            ("Upgrade", "websocket".to_owned()),
            ("Connection", "Upgrade".to_owned()),
            ("Sec-WebSocket-Key", BASE64.encode(nonce)),
            ("Sec-WebSocket-Version", "13".to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let fields = own.into_iter().chain(more.iter().cloned()).collect();
        RawRequest { method: "GET", target: url.target().to_owned(), version: "HTTP/1.1", fields }
    }

    pub(super) fn get(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(n, _)| n == name);
        field.map_or("", |(_, value)| value)
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Some(field) = self.fields.iter_mut().find(|(n, _)| n == name) {
            value.clone_into(&mut field.1);
        }
    }

    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.fields.retain(|(n, _)| n != name);
    }

    pub(super) fn rename(&mut self, name: &str, to: &str) {
        if let Some(field) = self.fields.iter_mut().find(|(n, _)| n == name) {
            to.clone_into(&mut field.0);
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let RawRequest { method, target, version, fields } = self;
        let fields: String =
            fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{method} {target} {version}\r\n{fields}\r\n").into_bytes()
    }
}

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Head(Head),
    /// The server sent bytes that are no HTTP head.
    NotHttp(HeadError),
    /// The connection ended without an answer.
    ConnectionEnd(ConnectionEnd),
    /// No answer came within the time limit.
    Silence,
}

/// Waits for the head of the answer; the bytes behind it stay in `wire`.
pub(super) fn answer(wire: &mut Wire, deadline: Instant) -> Answer {
    let (mut parser, limits) = (HeadParser::default(), Limits::default());
    loop {
        match parser.feed(wire.input(), &limits) {
            Err(e) => return Answer::NotHttp(e),
            Ok((used, head)) => {
                wire.took(used);
                match head {
                    // An interim response (RFC 9110 §15.2): another follows.
                    Some(head) if matches!(head.status, 100 | 102..=199) => continue,
                    Some(head) => return Answer::Head(head),
                    None => {}
                }
            }
        }
        if !wire.more(deadline) {
            return wire
                .connection_end()
                .map_or(Answer::Silence, |gone| Answer::ConnectionEnd(gone.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_that_of_the_rfc_until_it_is_changed() {
        let url = Url::parse("ws://a.example:81/chat?x").unwrap();
        let more = [("X-Own".to_owned(), "1".to_owned())];
        let mut ask = RawRequest::new(&url, *b"the sample nonce", &more);
        let want = "GET /chat?x HTTP/1.1\r\nHost: a.example:81\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Version: 13\r\nX-Own: 1\r\n\r\n";
        assert_eq!(std::str::from_utf8(&ask.bytes()), Ok(want));
        ask.set("Upgrade", "WebSocket");
        ask.rename("Connection", "connection");
        ask.add("Host", "b");
        ask.remove("Sec-WebSocket-Key");
        ask.method = "POST";
        let want = "POST /chat?x HTTP/1.1\r\nHost: a.example:81\r\nUpgrade: WebSocket\r\n\
                    connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nX-Own: 1\r\nHost: b\r\n\r\n";
        assert_eq!(std::str::from_utf8(&ask.bytes()), Ok(want));
    }
}
