//! The opening handshake, server side (RFC 6455 §4.2): whether a request is one, and the answer.

use crate::proto::is_token;
use crate::proto::token::{is_value_byte, list, trim};
use crate::proto::ws::handshake::accept;

/// A request that opens a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    accept: String,
    protocol: Option<String>,
}

/// Why it opens none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a request of HTTP/1.1, or a handshake with something missing.
    Bad,
    /// Nothing is there for HTTP.
    NotFound,
    /// Another method than GET.
    Method,
    /// HTTP where a WebSocket is, or another version of the protocol than 13.
    Upgrade,
}

/// Judges a whole head, as §4.2.1 demands. Any path is an echo.
pub(super) fn judge(head: &[u8]) -> Result<Accepted, Refusal> {
    let head = Head::parse(head).ok_or(Refusal::Bad)?;
    if head.method != b"GET" {
        return Err(Refusal::Method);
    }
    head.only("Host").ok_or(Refusal::Bad)?;
    if !head.lists("Upgrade", b"websocket") {
        return Err(route(head.path()));
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
    Ok(Accepted { accept: accept(key), protocol })
}

/// What answers a request that asks for no WebSocket.
fn route(path: &[u8]) -> Refusal {
    match path {
        b"/" => Refusal::Upgrade,
        _ => Refusal::NotFound,
    }
}

/// Sixteen bytes in base64 (§4.2.1, 5).
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
        out.extend_from_slice(b"\r\n");
    }
}

impl Refusal {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let (status, more, text) = match self {
            Refusal::Bad => ("400 Bad Request", "", "This is no opening handshake of RFC 6455."),
            Refusal::NotFound => ("404 Not Found", "", "Only WebSockets are here."),
            Refusal::Method => ("405 Method Not Allowed", "Allow: GET\r\n", "Only GET is here."),
            Refusal::Upgrade => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "This is a WebSocket echo server, version 13.",
            ),
        };
        let upgrade = if self == Refusal::Upgrade { "Upgrade, " } else { "" };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{more}Connection: {upgrade}close\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}\n",
            text.len() + 1
        );
        out.extend_from_slice(answer.as_bytes());
    }
}

/// The path and query of a target, which may be a whole URI (RFC 9112 §3.2.2).
fn origin_form(target: &[u8]) -> Option<&[u8]> {
    if !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let absolute = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://"));
    match absolute {
        None => target.starts_with(b"/").then_some(target),
        Some(rest) => Some(rest.iter().position(|&b| b == b'/').map_or(b"/", |at| &rest[at..])),
    }
}

/// A request head.
struct Head<'a> {
    method: &'a [u8],
    target: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Reads a head that ends in an empty line; `None` for what RFC 9112 §3 and §5 do not allow.
    fn parse(head: &'a [u8]) -> Option<Head<'a>> {
        let mut lines = Vec::new();
        for line in head.strip_suffix(b"\r\n")?.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\r\n")?;
            if !line.iter().all(|&b| is_value_byte(b)) {
                return None;
            }
            lines.push(line);
        }
        let (start, fields) = lines.split_first()?;
        let mut parts = start.split(|&b| b == b' ');
        let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || version != b"HTTP/1.1" || !is_token(method) {
            return None;
        }
        let target = origin_form(target)?;
        let fields = fields.iter().map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
            is_token(name).then_some((name, value))
        });
        Some(Head { method, target, fields: fields.collect::<Option<_>>()? })
    }

    /// The target without its query.
    fn path(&self) -> &'a [u8] {
        self.target.split(|&b| b == b'?').next().unwrap_or_default()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |n: &[u8]| n.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(move |(n, _)| same(n)).map(|(_, v)| *v)
    }

    /// The value of a field that has to be there exactly once.
    fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        let value = all.next()?;
        all.next().is_none().then_some(value)
    }

    fn lists(&self, name: &str, token: &[u8]) -> bool {
        self.all(name).flat_map(list).any(|item| item.eq_ignore_ascii_case(token))
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

    fn judged(lines: &[&str]) -> Result<Accepted, Refusal> {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        judge(format!("{text}\r\n").as_bytes())
    }

    #[test]
    fn the_answer_to_a_good_request() {
        let lines = [&GOOD[..], &["Sec-WebSocket-Protocol: chat, superchat"]].concat();
        let mut out = Vec::new();
        judged(&lines).unwrap().write(&mut out);
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
            (0, "GET chat HTTP/1.1", Some(Bad)),
            (0, "GET / HTTP/1.0", Some(Bad)),
            (0, "GET /a b HTTP/1.1", Some(Bad)),
            (0, "GET /", Some(Bad)),
            (0, "POST / HTTP/1.1", Some(Method)),
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
