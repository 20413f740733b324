//! Servers that do not open the connection. Each gives one error with URL, stage and reason.

use std::time::Duration;

use moonwire::{Config, ErrorKind, Limits, Stage};

use crate::common::*;

/// The name of a case, what the server does, and the stage and reason of the error.
type Case = (&'static str, fn(Peer), Stage, &'static str);

fn respond(peer: &mut Peer, text: &str) {
    peer.request();
    peer.write(text.as_bytes());
}

/// Writes one byte at a time until the client has closed.
fn drip(peer: &mut Peer) {
    while peer.try_write(b"a").is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a server may do instead of opening the connection.
const CASES: [Case; 16] = [
    (
        "404",
        |mut p| respond(&mut p, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        Stage::Handshake,
        "the server answered 404 Not Found instead of 101 Switching Protocols",
    ),
    (
        "302",
        |mut p| respond(&mut p, "HTTP/1.1 302 Found\r\nLocation: wss://else.example/\r\n\r\n"),
        Stage::Handshake,
        "the server answered 302 Found to wss://else.example/; redirects are not followed, \
         connect there",
    ),
    (
        "200",
        |mut p| respond(&mut p, "HTTP/1.1 200 OK\r\n\r\nhello"),
        Stage::Handshake,
        "the server answered 200 OK instead of 101 Switching Protocols",
    ),
    (
        "garbage",
        |mut p| respond(&mut p, "SSH-2.0-OpenSSH_9.9\r\n"),
        Stage::Handshake,
        "the answer is not HTTP/1.1: it starts with \"SSH-2.0-OpenSSH_9.9\\r\\n\"",
    ),
    (
        "a control character",
        |mut p| respond(&mut p, "HTTP/1.1 101 Go\r\nA: \0\r\n\r\n"),
        Stage::Handshake,
        "control character 0x00 in the response head",
    ),
    (
        "nothing at all",
        |mut p| {
            p.request();
            p.rest();
        },
        Stage::Handshake,
        "not open within the time limit of 300ms",
    ),
    (
        // FAULTS 57: one time limit covers the whole handshake. A read does not restart it.
        "one byte at a time for ever",
        |mut p| {
            respond(&mut p, "HTTP/1.1 101 Switching Protocols\r\nX: ");
            drip(&mut p);
        },
        Stage::Handshake,
        "not open within the time limit of 300ms",
    ),
    ("the end at once", drop, Stage::Handshake, ""),
    (
        "the end after the request",
        |mut p| {
            p.request();
        },
        Stage::Handshake,
        "the server closed the connection without an answer",
    ),
    (
        "the end inside the head",
        |mut p| respond(&mut p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: web"),
        Stage::Handshake,
        "the server closed the connection without an answer",
    ),
    (
        "a reset",
        |mut p| {
            p.request();
            p.reset();
        },
        Stage::Handshake,
        // The system chooses the rest of the text.
        if cfg!(windows) { "lost: " } else { "lost: Connection reset" },
    ),
    (
        "a wrong accept value",
        |mut p| {
            let answer = String::from_utf8(p.answer("")).unwrap();
            p.write(answer.replace("Accept: ", "Accept: x").as_bytes());
        },
        Stage::Handshake,
        "Sec-WebSocket-Accept is missing or wrong: this is not a WebSocket server",
    ),
    (
        "an extension that was not asked for",
        |mut p| {
            let answer = p.answer("Sec-WebSocket-Extensions: permessage-deflate\r\n");
            p.write(&answer);
        },
        Stage::Handshake,
        "the server uses extension \"permessage-deflate\", which was not asked for",
    ),
    (
        "a subprotocol that was not asked for",
        |mut p| {
            let answer = p.answer("Sec-WebSocket-Protocol: other\r\n");
            p.write(&answer);
        },
        Stage::Handshake,
        "the server chose subprotocol \"other\", which was not asked for",
    ),
    (
        // FAULTS 24.
        "more fields than anybody sends",
        |mut p| {
            let many = "X: y\r\n".repeat(5000);
            let answer = p.answer(&many);
            // The client may close before everything is written.
            let _ = p.try_write(&answer);
        },
        Stage::Handshake,
        "the response head has too many fields",
    ),
    (
        "interim responses for ever",
        |mut p| {
            p.request();
            while p.try_write(b"HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {}
        },
        Stage::Handshake,
        "too many interim (1xx) responses",
    ),
];

#[test]
fn a_server_that_does_not_open_gives_one_error_with_url_stage_and_reason() {
    // FAULTS 24 and 57.
    for secure in [false, true] {
        for (name, script, stage, reason) in CASES {
            let server = serve_either(secure, script);
            let url = server.url();
            // Only the two cases that wait reach the limit.
            let waits = reason.starts_with("not open within");
            let limit = if waits { Duration::from_millis(300) } else { LONG };
            // Some of these servers never stop. A short `linger` ends the draining of their
            // connections.
            let limits = Limits { linger: Duration::from_millis(50), ..Limits::default() };
            let config = Config { limits, ..trusting() };
            let reported = events(options(&url).timeout(limit), config);
            let (error, opened) = failure(&reported);
            let text = error.to_string();
            assert!(!opened, "{name}: {text}");
            if name == "the end at once" {
                // The error depends on whether the client could still write its request.
                assert!(matches!(error.stage(), Stage::Handshake | Stage::Tls), "{text}");
                assert!(text.contains("closed the connection") || text.contains("lost"), "{text}");
            } else {
                let want = format!("{url}: {stage}: {reason}");
                assert!(text.starts_with(&want), "{name}: {text}");
                assert_eq!(error.stage(), stage);
            }
            server.join();
        }
    }
}

#[test]
fn a_timeout_is_an_error_kind_of_its_own() {
    let server = serve(|mut p| p.rest());
    let limit = Duration::from_millis(50);
    let reported = events(options(&server.url()).timeout(limit), trusting());
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Timeout(d) if *d == limit));
    server.join();
}

#[test]
fn the_request_names_host_and_port_and_carries_fields_and_subprotocols() {
    let server = serve(|mut p| {
        let answer = p.answer("Sec-WebSocket-Protocol: b\r\nX-Field: thing\r\n");
        p.write(&answer);
        p.write(&close(1000, ""));
        p.close_frame();
        p.head
    });
    let url = format!("ws://{}/path?query", server.address);
    let with = options(&url).protocol("a").and_then(|o| o.protocol("b"));
    let with = with.and_then(|o| o.header("Authorization", "Bearer x")).unwrap();
    let mut ws = with.connect().unwrap();
    assert_eq!(ws.protocol(), Some("b"));
    let value = ws.headers().unwrap().all("x-field").next().unwrap();
    assert_eq!(value, b"thing");
    assert_eq!(ws.read().unwrap(), None);
    let host = server.address.to_string();
    let head = server.join();
    assert!(head.starts_with("GET /path?query HTTP/1.1\r\n"));
    assert_eq!(field(&head, "Host"), Some(host.as_str()));
    assert_eq!(field(&head, "Sec-WebSocket-Protocol"), Some("a, b"));
    assert_eq!(field(&head, "Authorization"), Some("Bearer x"));
    assert_eq!(field(&head, "Origin"), None, "FAULTS 63: no Origin is invented");
}
