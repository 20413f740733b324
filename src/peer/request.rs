//! The kind of a request: a WebSocket (RFC 6455 §4.2), or a route over HTTP.

use super::compression;
use super::head::Head;
use super::query::number;
use super::refusal::Refusal;
use super::route::Call;
use crate::proto::is_token;
use crate::proto::token::list;
use crate::proto::ws::handshake::accept;

/// A valid request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Socket(Accepted),
    Http(Call),
}

/// A request that opens a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    accept: String,
    protocol: Option<String>,
    /// After this many messages the connection is cut, without a close frame.
    pub(super) drop_after: Option<u64>,
    /// The compression, with the text of its answer.
    pub(super) compression: Option<compression::Answer>,
}

/// Checks a complete head. A WebSocket may be on any path.
pub(super) fn judge(head: &[u8]) -> Result<RequestKind, Refusal> {
    let head = Head::parse(head).ok_or(Refusal::Bad)?;
    head.only("Host").ok_or(Refusal::Bad)?;
    match head.lists("Upgrade", b"websocket") {
        true => upgrade(&head).map(RequestKind::Socket),
        false => Call::new(&head).map(RequestKind::Http),
    }
}

/// Checks an opening handshake, as §4.2.1 demands.
fn upgrade(head: &Head<'_>) -> Result<Accepted, Refusal> {
    if head.method != b"GET" {
        return Err(Refusal::Method("GET"));
    }
    if !head.lists("Connection", b"upgrade") {
        return Err(Refusal::Bad);
    }
    let key = head.only("Sec-WebSocket-Key").filter(|key| is_key(key));
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).ok_or(Refusal::Bad)?;
    match head.only("Sec-WebSocket-Version") {
        Some(b"13") => {}
        Some(_) => return Err(Refusal::Upgrade),
        None => return Err(Refusal::Bad),
    }
    let mut offered = head.all("Sec-WebSocket-Protocol").flat_map(list);
    let protocol = match offered.next() {
        Some(first) if is_token(first) => Some(String::from_utf8_lossy(first).into_owned()),
        Some(_) => return Err(Refusal::Bad),
        None => None,
    };
    let drop_after = head.path().strip_prefix(b"/drop/").and_then(number);
    let compression = compression::answer(head)?;
    Ok(Accepted { accept: accept(key), protocol, drop_after, compression })
}

/// Whether this is the base64 of sixteen bytes (§4.2.1, 5).
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(digit)
}

impl Accepted {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        );
        let mut field = |name: &str, value: &str| {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        };
        field("Sec-WebSocket-Accept", &self.accept);
        if let Some(protocol) = &self.protocol {
            field("Sec-WebSocket-Protocol", protocol);
        }
        if let Some(compression) = &self.compression {
            field("Sec-WebSocket-Extensions", compression.text());
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 6] = [
        "GET /chat?x HTTP/1.1",
        "Host: server.example",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];

    fn judged(lines: &[&str]) -> Result<RequestKind, Refusal> {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        judge(format!("{text}\r\n").as_bytes())
    }

    #[test]
    fn the_answer_to_a_good_request() {
        let lines = [&GOOD[..], &["Sec-WebSocket-Protocol: chat, superchat"]].concat();
        let mut out = Vec::new();
        let Ok(RequestKind::Socket(accepted)) = judged(&lines) else { panic!("refused") };
        accepted.write(&mut out);
        let want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                    Sec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(std::str::from_utf8(&out), Ok(want));
    }

    #[test]
    fn each_rule_of_section_4_2_1() {
        use Refusal::*;
        for (line, with, want) in [
            (0, "GET http://server.example HTTP/1.1", None),
            (0, "GET /sse?n=x HTTP/1.1", None),
            (0, "GET chat HTTP/1.1", Some(Bad)),
            (0, "GET / HTTP/1.0", Some(Bad)),
            (0, "GET /a b HTTP/1.1", Some(Bad)),
            (0, "GET /", Some(Bad)),
            (0, "POST / HTTP/1.1", Some(Method("GET"))),
            (1, "X: y", Some(Bad)),
            (1, "Host : x", Some(Bad)),
            (1, "no colon", Some(Bad)),
            (1, "Host: a\nb", Some(Bad)),
            (2, "upgrade: h2c, WebSocket", None),
            (2, "Upgrade: h2c", Some(NotFound)),
            (3, "Connection: keep-alive, UPGRADE", None),
            (3, "Connection: close", Some(Bad)),
            (4, "X: y", Some(Bad)),
            (4, "Sec-WebSocket-Key: short==", Some(Bad)),
            (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==", Some(Bad)),
            (5, "X: y", Some(Bad)),
            (5, "Sec-WebSocket-Version: 8", Some(Upgrade)),
            (5, "Sec-WebSocket-Version: 013", Some(Upgrade)),
        ] {
            let mut lines = GOOD;
            lines[line] = with;
            assert_eq!(judged(&lines).err(), want, "{with}");
        }
        assert_eq!(judged(&["GET / HTTP/1.1", "Host: x"]), Err(Upgrade));
        assert_eq!(judged(&["GET /favicon.ico?x HTTP/1.1", "Host: x"]), Err(NotFound));
        assert_eq!(judged(&[&GOOD[..], &[GOOD[1]]].concat()), Err(Bad), "two hosts");
    }
}
