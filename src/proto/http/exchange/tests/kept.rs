//! Which responses leave a connection that can be used again (RFC 9112 §9.3).

use super::*;

impl Sim {
    /// An exchange whose request asks the server to keep the connection.
    fn keeping(method: &str) -> Sim {
        let url = Url::parse_http("http://a.example/x").unwrap();
        let mut request = Request::new(method, url).unwrap();
        request.keep_alive = true;
        let exchange =
            Exchange::new(request, Delivery::Raw, &Settings::default(), Timing::default());
        Sim::of(exchange)
    }

    /// Whether the connection may be kept: `None` if not, otherwise the time that the server
    /// allows.
    fn kept(&self) -> Option<Option<Duration>> {
        self.exchange.persistence().map(|persistence| persistence.most)
    }
}

/// The connection may be kept, and the server states no time.
const KEPT: Option<Option<Duration>> = Some(None);

const fn kept_for(n: u64) -> Option<Option<Duration>> {
    Some(Some(seconds(n)))
}

/// FAULTS 41: each response in one piece, byte by byte, and with more bytes in the same read or a
/// later one.
#[test]
fn what_an_answer_leaves_behind() {
    const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";
    let length =
        |fields: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{fields}\r\nhello");
    let plain = |start: &str| format!("HTTP/1.1 {start}\r\n\r\n");
    let rows: &[(&str, String, _)] = &[
        ("GET", length(""), KEPT),
        ("GET", length("Connection: Keep-Alive\r\n"), KEPT),
        ("GET", length("Connection: close\r\n"), None),
        ("GET", length("Connection: keep-alive, CLOSE\r\n"), None),
        ("GET", length("Connection: x\r\nConnection: close\r\n"), None),
        ("GET", length("Connection: closed\r\n"), KEPT),
        ("POST", length(""), KEPT),
        // The ways of framing.
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), KEPT),
        ("GET", format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}"), KEPT),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n"
                .into(),
            KEPT,
        ),
        ("GET", plain("404 No\r\nContent-Length: 0"), KEPT),
        // If a field occurs twice, the response is accepted, but the connection is not kept.
        ("GET", length("Content-Length: 5\r\n"), None),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello".into(), None),
        // There is no body, whatever the fields contain.
        ("HEAD", plain("200 OK\r\nContent-Length: 5"), KEPT),
        ("HEAD", plain("200 OK\r\nTransfer-Encoding: chunked"), KEPT),
        ("HEAD", plain("200 OK"), KEPT),
        ("GET", plain("304 Not Modified\r\nContent-Length: 5"), KEPT),
        ("GET", plain("204 No Content"), KEPT),
        ("GET", plain("204 No Content\r\nContent-Length: 0"), KEPT),
        ("GET", plain("204 No Content\r\nContent-Length: 5"), None),
        ("GET", plain("204 No Content\r\nTransfer-Encoding: chunked"), None),
        // HTTP/1.0 needs `keep-alive`.
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".into(), None),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi".into(),
            KEPT,
        ),
        // An interim response that nobody asked for.
        ("GET", format!("HTTP/1.1 103 Hints\r\n\r\n{}", length("")), None),
        ("GET", format!("HTTP/1.1 100 Continue\r\n\r\n{}", length("")), None),
        // The time that the server allows, less one second.
        ("GET", length("Keep-Alive: timeout=5\r\n"), kept_for(4)),
        ("GET", length("Keep-Alive: max=100, TIMEOUT = 60\r\n"), kept_for(59)),
        ("GET", length("Keep-Alive: timeout=9\r\nKeep-Alive: timeout=3\r\n"), kept_for(2)),
        ("GET", length("Keep-Alive: max=100\r\n"), KEPT),
        ("GET", length("Keep-Alive: timeout=99999999999999999999999\r\n"), kept_for(u64::MAX - 1)),
        ("GET", length("Keep-Alive: timeout=1\r\n"), None),
        ("GET", length("Keep-Alive: timeout=0\r\n"), None),
        ("GET", length("Keep-Alive: timeout=-5\r\n"), None),
        ("GET", length("Keep-Alive: timeout=\r\n"), None),
        ("GET", length("Keep-Alive: timeout=\"5\"\r\n"), None),
        ("GET", length("Keep-Alive: timeout=5\r\nKeep-Alive: timeout=1\r\n"), None),
    ];
    for (method, answer, want) in rows {
        let whole = |bytes: &[u8]| {
            let mut sim = Sim::keeping(method);
            sim.connected();
            sim.feed(bytes);
            assert!(sim.text().ends_with("= complete"), "{answer}: {}", sim.text());
            sim
        };
        let mut sim = whole(answer.as_bytes());
        assert_eq!(sim.kept(), *want, "{method} {answer}");
        // A later read returns unexpected bytes, or the end.
        sim.feed(b"H");
        assert_eq!(sim.kept(), None, "{answer}");
        let mut sim = whole(answer.as_bytes());
        sim.end(Eof);
        assert_eq!(sim.kept(), None, "{answer}");
        for more in ["H", "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
            let sim = whole(format!("{answer}{more}").as_bytes());
            assert_eq!(sim.kept(), None, "{answer}{more}");
        }
        let mut sim = Sim::keeping(method);
        sim.connected();
        let (last, first) = answer.as_bytes().split_last().unwrap();
        for byte in first {
            sim.feed(&[*byte]);
            assert_eq!(sim.kept(), None, "{answer}: before its end");
        }
        sim.feed(&[*last]);
        assert_eq!((sim.kept(), sim.has_ended()), (*want, true), "{answer}");
        // A request without `keep-alive` does not keep the connection.
        let mut sim = Sim::new(method, Delivery::Raw, Limits::default(), Timing::default());
        sim.connected();
        sim.feed(answer.as_bytes());
        assert_eq!((sim.kept(), sim.has_ended()), (None, true), "{answer}");
    }
}

/// The response is incomplete, or comes before its whole request was sent.
#[test]
fn what_ends_otherwise_leaves_nothing() {
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    // The request was not sent, or not completely.
    for left in [0, 1] {
        let mut sim = Sim::keeping("GET");
        sim.exchange.wait_from(sim.now);
        sim.exchange.sent(sim.now, left, 0);
        sim.feed(fine.as_bytes());
        assert_eq!((sim.kept(), sim.has_ended()), (None, true));
    }
    for (answer, end) in [
        // The end of the stream ends the body.
        ("HTTP/1.1 200 OK\r\n\r\nhi", Eof),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", Eof),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", Cut),
        ("HTTP/1.1 101 Switch\r\n\r\n", Open),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Open),
        ("HTTP/1.1 302 Go\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", Open),
    ] {
        let mut sim = Sim::keeping("GET");
        sim.connected();
        sim.feed(answer.as_bytes());
        sim.end(end);
        assert_eq!((sim.kept(), sim.has_ended()), (None, true), "{answer}");
    }
}

/// A server that answers before it has the whole body.
#[test]
fn an_upload_that_is_cut_short_leaves_nothing() {
    for (length, ends) in [(None, false), (None, true), (Some(3), false), (Some(3), true)] {
        let url = Url::parse_http("http://a.example/x").unwrap();
        let mut request = Request::new("PUT", url).unwrap();
        request.keep_alive = true;
        request.body_to_come(length).unwrap();
        let mut sim =
            Sim::of(Exchange::new(request, Delivery::Raw, &Settings::default(), Timing::default()));
        sim.connected();
        assert!(sim.exchange.send_body(sim.now, b"abc").is_none());
        sim.exchange.sent(sim.now, usize::MAX, 0);
        if ends {
            assert!(sim.exchange.end_body(sim.now).is_none());
            sim.exchange.sent(sim.now, usize::MAX, 0);
        }
        sim.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let want = if ends { KEPT } else { None };
        assert_eq!((sim.kept(), sim.has_ended()), (want, true), "{length:?}");
    }
}

/// RFC 9112 §9.3.1, RFC 9110 §9.2.2.
#[test]
fn what_may_go_again_is_what_does_no_harm_twice_and_is_not_answered() {
    for (method, may) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("get", false),
        ("QUERY", false),
    ] {
        let mut sim = Sim::keeping(method);
        sim.connected();
        assert_eq!(sim.exchange.may_go_again(), may, "{method}");
        // One byte counts as a response, and so does an interim response.
        for answer in ["H", "HTTP/1.1 103 Hints\r\n\r\n"] {
            let mut sim = Sim::keeping(method);
            sim.connected();
            sim.feed(answer.as_bytes());
            assert!(!sim.exchange.may_go_again(), "{method} {answer}");
        }
        sim.end(Eof);
        assert_eq!(sim.exchange.may_go_again(), may, "{method}");
    }
    let mut request = Request::new("PUT", Url::parse_http("http://a/").unwrap()).unwrap();
    request.body(&b"here"[..]).unwrap();
    assert!(request.may_be_repeated());
    request.body_to_come(Some(4)).unwrap();
    assert!(!request.may_be_repeated());
}

/// A byte of it was sent, or over TLS the kernel took a part of the record with it.
#[cfg(feature = "net")]
#[test]
fn a_response_is_unasked_until_a_byte_of_the_request_leaves() {
    for (n, taken, want) in [(0, 0, true), (1, 0, false), (0, 1, false), (1, 1, false)] {
        let mut sim = Sim::keeping("GET");
        sim.exchange.wait_from(sim.now);
        sim.exchange.sent(sim.now, n, taken);
        assert_eq!(sim.exchange.is_unasked(), want, "{n}, {taken}");
    }
}

/// An HTTP/1.0 proxy may forward a field that it does not know.
#[test]
fn a_proxy_has_to_speak_http_1_1() {
    for (minor, want) in [(0, None), (1, KEPT)] {
        let mut request = Request::new("GET", Url::parse_http("http://a/").unwrap()).unwrap();
        request.keep_alive = true;
        let (fields, headers, secrets) = Default::default();
        let proxy = crate::proto::http::request::ForProxy { fields, headers, secrets };
        request.for_proxy = Some(Arc::new(proxy));
        let mut sim =
            Sim::of(Exchange::new(request, Delivery::Raw, &Settings::default(), Timing::default()));
        sim.connected();
        let answer =
            format!("HTTP/1.{minor} 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
        sim.feed(answer.as_bytes());
        assert_eq!(sim.kept(), want);
    }
}
