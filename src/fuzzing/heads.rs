//! Response heads and the opening handshake.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use super::input::{Cut, Input, feed};
use crate::limits::Limits;
use crate::proto::head::HeadParser;
use crate::proto::ws::handshake::{Answer, Handshake, accept};
use crate::proto::{Fields, HandshakeError, Head, HeadError, Request, Url, is_token};

/// Parses a head in these pieces; returns how many bytes were taken, and the head or the error.
fn read(data: &[u8], cut: Cut, limits: &Limits) -> (usize, Option<Result<Head, HeadError>>) {
    let mut parser = HeadParser::default();
    let (used, got) = feed(data, cut, |input| match parser.feed(input, limits) {
        Ok((used, None)) => {
            let left = input.len() - used;
            assert!(left <= limits.line + 1, "{left} bytes of a line are kept");
            (used, Continue(()))
        }
        Ok((used, Some(head))) => (used, Break(Ok(head))),
        Err(e) => (0, Break(Err(e))),
    });
    match got {
        // How many bytes the error shows depends on how many came with the deciding one.
        Some(Err(HeadError::NotHttp(_))) => (0, Some(Err(HeadError::NotHttp(String::new())))),
        // How many bytes of an invalid head were taken does not matter.
        Some(Err(e)) => (0, Some(Err(e))),
        got => (used, got),
    }
}

/// The head of `input` under the default limits, for comparison with other parsers.
pub fn read_head(data: &[u8]) -> (usize, Option<Result<Head, HeadError>>) {
    read(data, Cut::Whole, &Limits::default())
}

/// The head parser: a byte of choices, then a head. For any cut the result is the same; an accepted
/// head has no control character, keeps its limits and means the same when it is parsed again.
pub fn head(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let limits = Limits {
        line: [16 * 1024, 20, 64, 0][usize::from(choice & 3)],
        head: [64 * 1024, 60, 200, 0][usize::from(choice >> 2 & 3)],
        fields: [128, 0, 2, 5][usize::from(choice >> 4 & 3)],
        ..Default::default()
    };
    let data = input.0;
    let whole = read(data, Cut::Whole, &limits);
    for cut in [Cut::Bytewise, Cut::Random] {
        assert_eq!(read(data, cut, &limits), whole, "{cut:?}");
    }
    let (used, got) = whole;
    match got {
        None => {
            let most = limits.head + 4;
            assert!(data.len() <= most, "{} bytes and still no head", data.len());
        }
        Some(Err(e)) => {
            let shown = e.to_string();
            assert!(shown.bytes().all(|b| (0x20..0x7F).contains(&b) || b >= 0x80), "{shown:?}");
        }
        Some(Ok(head)) => {
            good(&head, &limits);
            assert_eq!(read(&data[..used], Cut::Whole, &limits), (used, Some(Ok(head))));
        }
    }
}

/// The laws of a head that was accepted.
fn good(head: &Head, limits: &Limits) {
    assert!(head.minor <= 1 && (100..=999).contains(&head.status));
    assert!(head.reason.bytes().all(|b| (0x20..0x7F).contains(&b) || b >= 0x80));
    let fields: Vec<_> = head.fields.iter().collect();
    assert!(fields.len() <= limits.fields);
    // Each folded line becomes one space.
    let most = limits.head + 4 * limits.fields;
    assert!(head.fields.as_bytes().len() <= most, "{} bytes", head.fields.as_bytes().len());
    for (name, value) in &fields {
        assert!(is_token(name.as_bytes()), "{name:?}");
        assert!(value.iter().all(|&b| b == b'\t' || (b >= 0x20 && b != 0x7F)), "{value:x?}");
        let space = |b: Option<&u8>| b.is_some_and(|b| b" \t".contains(b));
        assert!(!space(value.first()) && !space(value.last()), "{value:x?}");
        assert!(head.fields.all(name).any(|v| v == *value));
    }
    let mut text = format!("HTTP/1.{} {} \r\n", head.minor, head.status).into_bytes();
    text.extend_from_slice(head.fields.as_bytes());
    text.extend_from_slice(b"\r\n");
    let (used, again) = read_head(&text);
    let again = again.expect("whole").expect("good");
    assert_eq!(used, text.len());
    assert_eq!(again.fields.iter().collect::<Vec<_>>(), fields);
}

/// The nonce of RFC 6455 §1.3, so that seeds can hold its accept value.
pub(super) const NONCE: [u8; 16] = *b"the sample nonce";

/// The opening handshake: a byte of choices, a line with a header and a line with a subprotocol,
/// then the response. Nothing can be injected into the request; for any cut the result is the same,
/// and a response opens a connection only if it has everything that RFC 6455 §4.1 demands.
pub fn handshake(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let mut request = Request::new(Url::parse("ws://server.example/chat").expect("a URL"));
    let header = str::from_utf8(input.line()).unwrap_or_default();
    let (name, value) = header.split_once(':').unwrap_or((header, ""));
    let added = match choice & 1 {
        0 => request.header(name, value).is_ok(),
        _ => request.secret_header(name, value).is_ok(),
    };
    let offered = str::from_utf8(input.line()).unwrap_or_default();
    let offered: Vec<&str> =
        offered.split(',').filter(|name| request.protocol(name).is_ok()).collect();
    let limits = Arc::new(Limits {
        interim: u32::from(choice >> 1 & 3),
        fields: 20,
        line: 300,
        head: 1000,
        ..Default::default()
    });
    let new = || Handshake::new(&request, NONCE, None, Arc::clone(&limits), true);
    let start = new();
    let lines = request_head(start.out.pending(), "GET", "/chat", "server.example");
    let agent = usize::from(!(added && name.eq_ignore_ascii_case("user-agent")));
    let want = 5 + agent + usize::from(added) + usize::from(!offered.is_empty());
    assert_eq!(lines.len(), want, "{lines:?}");
    assert!(!added || lines.contains(&(name.to_ascii_lowercase(), value.to_owned())), "{lines:?}");
    // The value of another field, or a name, is no secret.
    let other = |(n, v): &(String, String)| !name.eq_ignore_ascii_case(n) && v.contains(value);
    let elsewhere = name.contains(value) || lines.iter().any(other);
    if choice & 1 != 0 && added && value.len() > 20 && !elsewhere {
        let shown = format!("{:?} {request:?} {start:?}", start.notes);
        assert!(!shown.contains(value), "{shown:?}");
    }

    let answer = input.0;
    let judge = |cut| {
        let mut handshake = new();
        feed(answer, cut, |input| match handshake.receive(input) {
            Ok((used, None)) => (used, Continue(())),
            Ok((used, Some(opened))) => (used, Break(Ok(opened))),
            Err(HandshakeError::Head(HeadError::NotHttp(_))) => {
                let error = HeadError::NotHttp(String::new());
                (input.len(), Break(Err(HandshakeError::Head(error))))
            }
            Err(e) => (input.len(), Break(Err(e))),
        })
    };
    let whole = judge(Cut::Whole);
    for cut in [Cut::Bytewise, Cut::Random] {
        let got = judge(cut);
        assert_eq!(got.1, whole.1, "{cut:?}");
        assert!(got.0 == whole.0 || matches!(got.1, Some(Err(_))), "{cut:?}");
    }
    match whole.1 {
        None => {}
        Some(Err(e)) => {
            let shown = e.to_string();
            assert!(!shown.chars().any(char::is_control), "{shown:?}");
        }
        Some(Ok(Answer::Opened(opened))) => {
            opens(&opened.headers, opened.protocol.as_deref(), &offered);
        }
        Some(Ok(Answer::Refused(head))) => assert_ne!(head.status, 101),
    }
}

/// Whether a response has everything that RFC 6455 §4.1 demands.
fn opens(fields: &Fields, protocol: Option<&str>, offered: &[&str]) {
    let all = |name: &str| -> Vec<String> {
        let named = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect()
    };
    assert_eq!(all("upgrade").len(), 1);
    assert_eq!(all("upgrade")[0].to_ascii_lowercase(), "websocket");
    let connection = all("connection").join(",").to_ascii_lowercase();
    assert!(connection.split(',').any(|v| v.trim_matches([' ', '\t']) == "upgrade"));
    assert_eq!(all("sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let extensions = all("sec-websocket-extensions").join("");
    assert_eq!(extensions.trim_matches([' ', '\t', ',']), "");
    assert_eq!(all("sec-websocket-protocol"), protocol.into_iter().collect::<Vec<_>>());
    assert!(protocol.is_none_or(|p| offered.contains(&p)));
}

/// Checks a request head with the simplest parser; returns its fields, names in lower case.
pub(super) fn request_head(
    bytes: &[u8],
    method: &str,
    target: &str,
    host: &str,
) -> Vec<(String, String)> {
    let text = str::from_utf8(bytes).expect("UTF-8, since each part of it is");
    let text = text.strip_suffix("\r\n\r\n").expect("one empty line, at the end");
    let mut lines = text.split("\r\n");
    assert_eq!(lines.next(), Some(format!("{method} {target} HTTP/1.1").as_str()));
    let mut fields = Vec::new();
    for line in lines {
        assert!(!line.chars().any(|c| c.is_ascii_control() && c != '\t'), "{line:?}");
        let (name, value) = line.split_once(": ").expect("name and value");
        assert!(is_token(name.as_bytes()), "{name:?}");
        fields.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let owned = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];
    for name in owned {
        assert!(fields.iter().filter(|(n, _)| n == name).count() <= 1, "{name} twice");
    }
    assert!(fields.contains(&("host".to_owned(), host.to_owned())), "{fields:?}");
    fields
}
