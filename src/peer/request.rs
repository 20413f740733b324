//! The head of a request, and whether it opens a WebSocket (RFC 6455 §4.2).

use super::http;
use super::query::number;
use super::route::{Call, ROUTES};
use crate::proto::is_token;
use crate::proto::token::{is_value_byte, list, trim};
use crate::proto::ws::handshake::accept;

/// What a good request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Socket(Accepted),
    Http(Call),
}

/// A request that opens a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    accept: String,
    protocol: Option<String>,
    /// After so many messages the connection is cut, without a close frame.
    pub(super) drop_after: Option<u64>,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not a request of HTTP/1.1, a handshake with something missing, or numbers that are none.
    Bad,
    /// Nothing has this path.
    NotFound,
    /// Another method than these.
    Method(&'static str),
    /// HTTP where a WebSocket is, or another version of the protocol than 13.
    Upgrade,
    /// A body whose length is not known before its end.
    NoLength,
    /// A body that is too long.
    TooLarge,
}

/// Judges a whole head. A WebSocket is on any path.
pub(super) fn judge(head: &[u8]) -> Result<Wish, Refusal> {
    let head = Head::parse(head).ok_or(Refusal::Bad)?;
    head.only("Host").ok_or(Refusal::Bad)?;
    match head.lists("Upgrade", b"websocket") {
        true => upgrade(&head).map(Wish::Socket),
        false => Call::new(&head).map(Wish::Http),
    }
}

/// Judges an opening handshake, as §4.2.1 demands.
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
    Ok(Accepted { accept: accept(key), protocol, drop_after })
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
    /// Appends the answer; without its body for HEAD.
    pub(super) fn write(self, out: &mut Vec<u8>, bodyless: bool) {
        let (status, field, text) = match self {
            Refusal::Bad => (400, String::new(), "This is no request that is understood here."),
            Refusal::NotFound => (404, String::new(), "Nothing has this path."),
            Refusal::Method(methods) => {
                (405, format!("Allow: {methods}\r\n"), "This method is not for this path.")
            }
            Refusal::Upgrade => {
                (426, String::new(), "This is a WebSocket echo server, version 13.")
            }
            Refusal::NoLength => (411, String::new(), "A body needs a Content-Length here."),
            Refusal::TooLarge => (413, String::new(), "A body has at most 1 MiB here."),
        };
        let routes = match self {
            Refusal::NotFound | Refusal::Upgrade => ROUTES,
            _ => "",
        };
        let text = format!("{text}\n{routes}");
        http::answer(out, status, &field, text.as_bytes(), bodyless);
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
pub(super) struct Head<'a> {
    /// As it came, with its empty line.
    pub(super) raw: &'a [u8],
    pub(super) method: &'a [u8],
    target: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Reads a head that ends in an empty line; `None` for what RFC 9112 §3 and §5 do not allow.
    fn parse(raw: &'a [u8]) -> Option<Head<'a>> {
        let mut lines = Vec::new();
        for line in raw.strip_suffix(b"\r\n")?.split_inclusive(|&b| b == b'\n') {
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
        Some(Head { raw, method, target, fields: fields.collect::<Option<_>>()? })
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &'a [u8] {
        self.target.split(|&b| b == b'?').next().unwrap_or_default()
    }

    /// The target behind the question mark.
    pub(super) fn query(&self) -> &'a [u8] {
        self.target.splitn(2, |&b| b == b'?').nth(1).unwrap_or_default()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |n: &[u8]| n.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(move |(n, _)| same(n)).map(|(_, v)| *v)
    }

    /// The value of a field that has to be there exactly once.
    pub(super) fn only(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        let value = all.next()?;
        all.next().is_none().then_some(value)
    }

    pub(super) fn lists(&self, name: &str, token: &[u8]) -> bool {
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

    fn judged(lines: &[&str]) -> Result<Wish, Refusal> {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        judge(format!("{text}\r\n").as_bytes())
    }

    #[test]
    fn the_answer_to_a_good_request() {
        let lines = [&GOOD[..], &["Sec-WebSocket-Protocol: chat, superchat"]].concat();
        let mut out = Vec::new();
        let Ok(Wish::Socket(accepted)) = judged(&lines) else { panic!("refused") };
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
