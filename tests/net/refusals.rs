//! A refusal is an answer (FAULTS 71): the error has its status, its fields and the start of its
//! body, for handshakes and for event streams.

use std::time::Duration;

use moonwire::proto::HandshakeError;
use moonwire::proto::http::{Delivery, HttpError};
use moonwire::{Ask, Client, Closed, Config, Error, ErrorKind, Event, EventSource, Limits, Stage};

use crate::common::*;
use crate::web::*;

/// The response of a server that limits its clients.
const BUSY: &str = "HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Type: application/json\r\n\
    Set-Cookie: hidden\r\nContent-Length: 18\r\n\r\n{\"why\":\"too fast\"}";

/// Answers a request with `answer`, and keeps the connection open.
fn refusing(secure: bool, answer: &'static [u8]) -> Scripted<usize> {
    serve_either(secure, move |mut p| {
        p.request();
        p.write(answer);
        p.rest()
    })
}

fn refused(ask: impl Into<Ask>) -> Error {
    let reported = events(ask, trusting());
    let [OwnedEvent::Closed(Closed::Failed(_))] = &reported[..] else { panic!("{reported:?}") };
    match reported.into_iter().next() {
        Some(OwnedEvent::Closed(Closed::Failed(e))) => e,
        other => panic!("{other:?}"),
    }
}

fn is_busy(error: &Error) {
    let response = error.response().expect("an answer");
    assert_eq!((response.status, &*response.reason), (429, "Slow down"));
    assert_eq!(error.status(), Some(429));
    assert!(response.headers.all("retry-after").eq([b"7"]));
    assert!(response.headers.all("Set-Cookie").eq([b"hidden"]), "the program may read it");
    assert_eq!(response.body, b"{\"why\":\"too fast\"}");
    assert!(error.is_transient());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    let shown = format!("{error:?} {:?}", error.kind());
    assert!(!shown.contains("hidden") && shown.contains("Retry-After"), "{shown}");
}

/// FAULTS 71.
#[test]
fn a_refused_handshake_keeps_what_the_server_said() {
    for secure in [false, true] {
        let server = refusing(secure, BUSY.as_bytes());
        let error = refused(options(&server.url()));
        is_busy(&error);
        assert!(matches!(error.kind(), ErrorKind::Handshake(HandshakeError::Status(_))));
        let reason = "handshake: the server answered 429 Slow down instead of 101 Switching \
                      Protocols: {\"why\":\"too fast\"}";
        assert_eq!(error.reason(), reason);
        server.join();
    }
    // The other faces report the same.
    let server = refusing(false, BUSY.as_bytes());
    is_busy(&options(&server.url()).connect().err().unwrap());
    server.join();
    let server = refusing(false, BUSY.as_bytes());
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    client.open(options(&server.url())).unwrap();
    let mut seen = 0;
    while seen == 0 {
        let each = |_, event: Event<'_>| match event {
            Event::Closed(Closed::Failed(error)) => {
                is_busy(&error);
                seen += 1;
            }
            other => panic!("{other:?}"),
        };
        events.wait(Some(soon()), each).unwrap();
    }
    drop(events);
    server.join();
}

/// FAULTS 71.
#[test]
fn a_refused_event_stream_keeps_what_the_server_said() {
    for delivery in [Delivery::Events, Delivery::Blocks, Delivery::EventBytes] {
        for secure in [false, true] {
            let server = refusing(secure, BUSY.as_bytes());
            let error = refused(get(&http(&server.url())).delivery(delivery));
            is_busy(&error);
            let reason = "response: status 429 Slow down, which opens no event stream: \
                          {\"why\":\"too fast\"}";
            assert_eq!((error.stage(), error.reason()), (Stage::Response, reason.to_owned()));
            server.join();
        }
    }
    let server = refusing(false, BUSY.as_bytes());
    let mut source = EventSource::new(get(&http(&server.url()))).reconnect(true);
    is_busy(&source.next_event().unwrap_err());
    assert!(source.next_event().unwrap().is_none(), "WHATWG HTML §9.2.3: for good");
    server.join();
}

/// Status, fields and the resulting error: a wrong content type is reported only if everything else
/// is right.
#[test]
fn what_is_wrong_with_an_answer_has_its_name() {
    let html = "Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let stream = "Content-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: x\n\n";
    for (status, rest, events, blocks) in [
        (200, html, Some("Content-Type \"text/html\" is not text/event-stream"), true),
        (404, html, Some("status 404 X, which opens no event stream"), true),
        (503, html, Some("status 503 X, which opens no event stream"), true),
        (201, html, Some("status 201 X, which opens no event stream"), true),
        (404, stream, Some("status 404 X, which opens no event stream: data: x"), false),
        (200, stream, None, false),
        (204, "\r\n", Some("status 204 X, which opens no event stream"), true),
    ] {
        for delivery in [Delivery::Events, Delivery::EventBytes, Delivery::Blocks] {
            let answer: &'static str = format!("HTTP/1.1 {status} X\r\n{rest}").leak();
            let server = refusing(false, answer.as_bytes());
            let reported = moonwire_events(get(&http(&server.url())).delivery(delivery));
            server.join();
            let is_refused = if delivery == Delivery::Blocks { blocks } else { events.is_some() };
            match &reported[..] {
                [OwnedEvent::Closed(Closed::Failed(error))] if is_refused => {
                    let response = error.response().unwrap();
                    assert_eq!(response.status, status);
                    let body = rest.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                    assert_eq!(response.body, body.as_bytes());
                    let type_alone =
                        matches!(error.kind(), ErrorKind::Http(HttpError::ContentType(_)));
                    // With `Delivery::Blocks` only an error status is reported as such. With
                    // another status the content type is the error.
                    let other = delivery == Delivery::Blocks && (200..300).contains(&status);
                    assert_eq!(type_alone, status == 200 || other, "{error}");
                    if !other {
                        let text = error.to_string();
                        assert!(text.ends_with(events.unwrap()), "{text}");
                    }
                }
                reported => {
                    assert!(!is_refused && is_complete(reported), "{status} {rest:?}: {reported:?}")
                }
            }
        }
    }
}

fn moonwire_events(ask: impl Into<Ask>) -> Vec<OwnedEvent> {
    events(ask, Config::default())
}

/// `Limits::refusal` and `Limits::refusal_time`, for both kinds: at the bound, one beyond it, and
/// without an end of the body.
#[test]
fn so_much_of_a_body_is_kept_and_no_more() {
    let limits =
        || Limits { refusal: 10, refusal_time: Duration::from_millis(50), ..Limits::default() };
    for (fields, body, kept) in [
        ("Content-Length: 10\r\n", "0123456789", "0123456789"),
        ("Content-Length: 11\r\n", "0123456789X", "0123456789"),
        // The rest of the body never arrives.
        ("Content-Length: 9\r\n", "0123", "0123"),
        ("", "0123", "0123"),
        ("", "", ""),
        ("Transfer-Encoding: chunked\r\n", "4\r\n0123\r\n", "0123"),
        ("Transfer-Encoding: chunked\r\n", "4\r\n0123\r\n6\r\n456789\r\n1\r\nX\r\n", "0123456789"),
    ] {
        let answer: &'static str = format!("HTTP/1.1 503 No\r\n{fields}\r\n{body}").leak();
        for stream in [false, true] {
            let server = refusing(false, answer.as_bytes());
            let ask: Ask = match stream {
                true => {
                    let url = http(&server.url());
                    get(&url).delivery(Delivery::Events).limits(limits()).into()
                }
                false => options(&server.url()).limits(limits()).into(),
            };
            let error = refused(ask);
            assert_eq!(error.response().unwrap().body, kept.as_bytes(), "{answer:?} {stream}");
            assert_eq!(error.status(), Some(503));
            server.join();
        }
    }
    // The default is 8 KiB, and this server never stops.
    let server = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 500 No\r\n\r\n");
        while p.try_write(&[b'x'; 1000]).is_ok() {}
    });
    let error = refused(options(&server.url()));
    assert_eq!(error.response().unwrap().body.len(), Limits::default().refusal);
    assert!(!error.is_transient() && error.retry_after().is_none());
    server.join();
}

/// FAULTS 71: the response is reported, whatever happens to the connection after its head.
#[test]
fn a_body_that_breaks_off_does_not_hide_the_answer() {
    for stream in [false, true] {
        for reset in [false, true] {
            let server = serve(move |mut p| {
                p.request();
                p.write(b"HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nwhy");
                if reset {
                    std::thread::sleep(Duration::from_millis(50));
                    p.reset();
                }
            });
            let error = match stream {
                true => refused(get(&http(&server.url())).delivery(Delivery::Events)),
                false => refused(options(&server.url())),
            };
            assert_eq!(
                (error.status(), &*error.response().unwrap().body),
                (Some(401), &b"why"[..])
            );
            server.join();
        }
    }
}

/// The line of a body that an error shows: text, escaped, the first line that is not blank.
#[test]
fn the_first_line_of_a_text_is_shown() {
    for (kind, body, line) in [
        ("text/plain", "token expired\nmore", Some("token expired")),
        ("text/plain; charset=utf-8", "\r\n  \r\n caf\u{e9} \r\n", Some("caf\u{e9}")),
        ("application/problem+json", "{\"a\":1}", Some("{\"a\":1}")),
        ("application/vnd.api+json", "{}", Some("{}")),
        ("text/html", "<html>", None),
        ("image/png", "hello", None),
        ("text/plain", "\x1b[2J", None),
        ("text/plain", "a\u{202e}b", Some("a\\u{202e}b")),
        ("text/plain", "", None),
    ] {
        let n = body.len();
        let answer =
            format!("HTTP/1.1 403 No\r\nContent-Type: {kind}\r\nContent-Length: {n}\r\n\r\n{body}");
        let server = refusing(false, answer.leak().as_bytes());
        let shown = refused(options(&server.url())).reason();
        let (_, got) = shown.split_once("101 Switching Protocols").unwrap();
        assert_eq!(got.strip_prefix(": "), line, "{shown}");
        server.join();
    }
    let long = format!("HTTP/1.1 403 No\r\nContent-Length: 999\r\n\r\n{}", "x".repeat(999));
    let server = refusing(false, long.leak().as_bytes());
    let shown = refused(options(&server.url())).reason();
    assert!(shown.ends_with(&format!(": {}…", "x".repeat(200))), "{shown}");
    server.join();
}

/// RFC 9110 §10.2.3.
/// FAULTS 71.
#[test]
fn when_to_try_again() {
    for (fields, seconds) in [
        ("Retry-After: 0", Some(0)),
        ("Retry-After: 120", Some(120)),
        ("Retry-After: 99999999999999999999999", Some(u64::MAX)),
        (
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT",
            Some(60),
        ),
        (
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:00:00 GMT",
            Some(0),
        ),
        // Without a `Date` in the response, the clock of this machine counts.
        ("Retry-After: Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("Retry-After: soon", None),
        ("Retry-After: -1", None),
        ("Retry-After: 1\r\nRetry-After: 2", None),
        ("X: y", None),
    ] {
        let answer = format!("HTTP/1.1 503 No\r\n{fields}\r\nContent-Length: 0\r\n\r\n");
        let server = refusing(false, answer.leak().as_bytes());
        let error = refused(options(&server.url()));
        assert_eq!(error.retry_after().map(|wait| wait.as_secs()), seconds, "{fields}");
        server.join();
    }
    for (status, transient) in [
        (400, false),
        (401, false),
        (404, false),
        (408, true),
        (425, true),
        (429, true),
        (500, false),
        (501, false),
        (502, true),
        (503, true),
        (504, true),
        (999, false),
    ] {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        let server = refusing(false, answer.leak().as_bytes());
        assert_eq!(refused(options(&server.url())).is_transient(), transient, "{status}");
        server.join();
    }
}

/// Errors without a response, and whether they are transient.
#[test]
fn what_may_pass_and_what_stays() {
    let nobody = std::net::TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let error = refused(options(&format!("ws://{nobody}/")));
    assert!(error.is_transient() && error.response().is_none(), "{error}");
    let server = serve(|mut p| {
        p.request();
    });
    assert!(refused(options(&server.url())).is_transient(), "it went away");
    server.join();
    let server = refusing(false, b"SSH-2.0\r\n");
    assert!(!refused(options(&server.url())).is_transient(), "it is no HTTP");
    server.join();
    let server = serve_tls("other", |mut p| p.begins());
    assert!(!refused(options(&server.url())).is_transient(), "a certificate stays what it is");
    server.join();
    let silent = serve(|mut p| p.rest());
    let late = options(&silent.url()).timeout(Duration::from_millis(50));
    assert!(refused(late).is_transient(), "it was too slow");
    silent.join();
    assert!(!moonwire::Options::new("x").unwrap_err().is_transient());
}
