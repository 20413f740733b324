//! §2: the errors that scripts compare, and the redirects that they do not see.

use std::time::Duration;

use super::common::{self, Peer, Scripted, serve_tls};
use super::raw::{close, frame, text};
use super::streams::*;
use super::support::*;

/// Checks that a client fires only `Error` and `Closed`. `want` is the number and the start of the
/// message; a message without a reason in brackets is compared whole.
#[track_caller]
fn fails(mode: Mode, kind: &str, url: &str, options: &str, want: &str) {
    let said = watch(mode, kind, url, options);
    let what = format!("{kind} {url}: {said:?}");
    assert_eq!((said.len(), said.last().map(String::as_str)), (2, Some("Closed Error")), "{what}");
    assert!(said[0].starts_with(&format!("Error Error {want}")), "{what}");
    if want.contains('(') {
        assert!(said[0].ends_with(')'), "{what}");
    } else {
        assert_eq!(said[0], format!("Error Error {want}"), "{what}");
    }
}

/// The same with a server that runs `act` with its first client, over TLS with a certificate.
#[track_caller]
fn fails_at(
    mode: Mode,
    kind: &str,
    certificate: Option<&str>,
    act: impl FnOnce(Peer) + Send + 'static,
    want: &str,
) {
    let server: Scripted<()> = match certificate {
        Some(name) => serve_tls(name, act),
        None => common::serve(act),
    };
    fails(mode, kind, &url_for(kind, &server), "nil", want);
    server.join();
}

/// The end of a WebSocket that was opened, received "x", sent something, and whose server then runs
/// `act`.
#[track_caller]
fn loses(mode: Mode, act: impl FnOnce(Peer) + Send + 'static, want: &str) {
    let server = common::serve(|mut peer| {
        peer.accept(&text("x"));
        assert_eq!(peer.frame(), (0x81, b"go".to_vec()));
        act(peer);
    });
    let silence = want.contains("keep-alive");
    let mut rt = with(mode, |mut options| {
        options.config().limits.pong = Duration::from_millis(30);
        options.ping_interval(silence.then_some(Duration::from_millis(300)))
    });
    let script = "local c = record(create('WebSocket', ...))
        c:Send('go')
        c.Closed:Wait()
        slots()";
    let said = rt.says(script, server.url());
    server.join();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].starts_with("Opened Open 101 "), "{said:?}");
    assert_eq!(said[1], "MessageReceived Open x");
    assert!(said[2].starts_with(&format!("Error Error 400 Failed ws recv - {want}")), "{said:?}");
    assert_eq!(said[3], "Closed Error");
}

/// A server that redirects each request by its path, up to the first path without a target. Returns
/// all requests, with their bodies.
fn paths(answer: impl Fn(&str, &str) -> Option<String> + Send + 'static) -> Scripted<Vec<String>> {
    common::listen(move |listener| {
        let mut heads = Vec::new();
        loop {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            let head = peer.request().to_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let length = common::field(&head, "Content-Length").and_then(|n| n.parse().ok());
            let body = String::from_utf8(peer.read(length.unwrap_or(0))).unwrap();
            let host = common::field(&head, "Host").unwrap_or_default().to_owned();
            heads.push(format!("{head}{body}"));
            match answer(&path, &host) {
                Some(to) => {
                    let fields = format!("Location: {to}\r\n");
                    peer.write(response("302 Found", &fields, "").as_bytes());
                    finish(&mut peer);
                }
                None => {
                    let _ = peer.try_write(response("200 OK", "", "here").as_bytes());
                    finish(&mut peer);
                    return heads;
                }
            }
        }
    })
}

/// Requests `/end` from such a server; returns the requests before that.
fn stop(server: Scripted<Vec<String>>) -> Vec<String> {
    let mut last = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(&mut last, b"GET /end HTTP/1.1\r\n\r\n").unwrap();
    drop(last);
    let mut heads = server.join();
    heads.pop();
    heads
}

const HERE: [&str; 3] =
    ["Opened Open 200 Content-Length: 4\\r\\n", "MessageReceived Open here", "Closed Closed"];

both! {
    fn no_connection(mode) {
        for (kind, scheme, refused, dns) in [
            ("WebSocket", "ws", "400 HttpError: ConnectFail (127.0.0.1:",
                "400 HttpError: ConnectFail (cannot resolve the host: "),
            ("SSE", "http", "-1 HttpError: ConnectFail (127.0.0.1:",
                "-1 HttpError: DnsResolve (cannot resolve the host: "),
            ("RawStream", "http", "-1 HttpError: ConnectFail (127.0.0.1:",
                "-1 HttpError: DnsResolve (cannot resolve the host: "),
        ] {
            fails(mode, kind, &refused_http().replace("http", scheme), "nil", refused);
            let long = if cfg!(target_os = "linux") { "nil" } else { "{ Timeout = 60 }" };
            fails(mode, kind, &format!("{scheme}://nowhere.invalid/"), long, dns);
        }
    }

    fn urls_that_are_none(mode) {
        for (url, reason) in [
            ("://", "the URL names no host"),
            ("://a b/", "byte "),
            ("://a/\r\nX: y", "byte "),
            ("://user:pass@127.0.0.1/", "a user name or password in the URL is not sent"),
            ("://127.0.0.1:0/", "port \"0\""),
            ("://127.0.0.1:99999/", "port \"99999\""),
            ("://1.2.3/", "\"1.2.3\" is neither"),
        ] {
            for kind in ["SSE", "RawStream"] {
                let want = format!("-1 HttpError: InvalidUrl ({reason}");
                fails(mode, kind, &format!("http{url}"), "nil", &want);
            }
            let want = format!("400 HttpError: ConnectFail ({reason}");
            fails(mode, "WebSocket", &format!("ws{url}"), "nil", &want);
        }
        let url = "ws://127.0.0.1/#fragment";
        fails(mode, "WebSocket", url, "nil", "400 HttpError: ConnectFail (a WebSocket URL has no");
    }

    fn a_websocket_that_is_refused(mode) {
        for (status, number) in [
            ("404 Not Found", 404), ("302 Found", 302), ("200 OK", 200), ("401 Unauthorized", 401),
            ("500 Oh", 500), ("503 Busy", 503),
        ] {
            let answer = response(status, "Location: /other\r\n", "hi");
            let want = format!("{number} HttpError: ConnectFail (");
            fails_at(mode, "WebSocket", None, move |mut peer| {
                peer.request();
                peer.write(answer.as_bytes());
                finish(&mut peer);
            }, &want);
        }
        for answer in [
            "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            "HTTP/1.1 101 OK\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n", "",
        ] {
            fails_at(mode, "WebSocket", None, move |mut peer| {
                peer.request();
                peer.write(answer.as_bytes());
                finish(&mut peer);
            }, "400 HttpError: ConnectFail (");
        }
    }

    fn tls_that_is_not_trusted_or_none(mode) {
        for kind in ["WebSocket", "SSE", "RawStream"] {
            let (number, names) = match kind {
                "WebSocket" => (400, ["ConnectFail", "ConnectFail"]),
                _ => (-1, ["SslVerificationFail", "SslConnectFail"]),
            };
            for name in ["expired", "unknown-root", "other", "self-signed"] {
                let want = format!("{number} HttpError: {} (", names[0]);
                fails_at(mode, kind, Some(name), |mut peer| assert!(!peer.begins()), &want);
            }
            let want = format!("{number} HttpError: {} (", names[1]);
            for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
                let server = common::serve(move |mut peer| {
                    peer.record();
                    peer.write(answer.as_bytes());
                    finish(&mut peer);
                });
                let url = url_for(kind, &server);
                let secure = url.replacen("://", "s://", 1);
                fails(mode, kind, &secure, "nil", &want);
                server.join();
            }
        }
    }

    fn a_websocket_that_is_lost(mode) {
        let eof = "lost: the stream ended without a close frame";
        loses(mode, |mut peer| finish(&mut peer), eof);
        loses(mode, |mut peer| {
            peer.write(&text("cut")[..3]);
            finish(&mut peer);
        }, eof);
        loses(mode, Peer::reset, "lost: ");
        for bad in [frame(0x83, b""), frame(0x81, b"\xFF"), close(1005, ""), frame(0x09, b"")] {
            loses(mode, move |mut peer| {
                peer.write(&[bad, text("never reported")].concat());
                peer.rest();
            }, "the server broke RFC 6455 \\xc2\\xa7");
        }
        let silence = "the peer did not answer a keep-alive ping for 30ms";
        loses(mode, |mut peer| assert_ne!(peer.rest(), 0, "a ping"), silence);
    }

    // A server that accepts and never answers, in time limits of all kinds.
    fn a_server_that_never_answers(mode) {
        for (kind, want) in [
            ("WebSocket", "400 HttpError: ConnectFail (not open within the time limit of 50ms)"),
            ("SSE", "-1 HttpError: TimedOut (not open within the time limit of 50ms)"),
            ("RawStream", "-1 HttpError: TimedOut (not open within the time limit of 50ms)"),
        ] {
            let server = common::serve(|mut peer| peer.rest());
            fails(mode, kind, &url_for(kind, &server), "{ Timeout = 0.05 }", want);
            server.join();
        }
        // If the first line has arrived, the number is its status.
        let server = common::serve(|mut peer| {
            peer.request();
            peer.write(b"HTTP/1.1 201 Created\r\nA:");
            peer.rest();
        });
        let url = url_for("RawStream", &server);
        fails(mode, "RawStream", &url, "{ Timeout = 0.2 }", "201 HttpError: TimedOut (not open ");
        server.join();
        // Without the option, the limits are the runtime's.
        for kind in ["WebSocket", "SSE", "RawStream"] {
            let server = common::serve(|mut peer| peer.rest());
            let mut rt = with(mode, |mut options| {
                options.config().limits.opening = Duration::from_millis(50);
                options.config().limits.response = Duration::from_millis(50);
                options
            });
            let said = rt.says("watch(...)", (kind, url_for(kind, &server)));
            assert!(said[0].ends_with("(not open within the time limit of 50ms)"), "{said:?}");
            assert_eq!(said[1..], ["Closed Error"]);
            server.join();
        }
    }

    // After the head no time limit applies.
    fn a_time_limit_ends_with_the_head(mode) {
        let server = common::serve(|mut peer| {
            peer.request();
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
            std::thread::sleep(Duration::from_millis(300));
            peer.write(b"here");
            finish(&mut peer);
        });
        let said = watch(mode, "RawStream", &url_for("RawStream", &server), "{ Timeout = 0.2 }");
        assert_eq!(said, HERE);
        server.join();
    }

    fn an_answer_that_never_comes(mode) {
        for kind in ["SSE", "RawStream"] {
            fails_at(mode, kind, None, |mut peer| {
                peer.request();
                finish(&mut peer);
            }, "-1 HttpError: NetFail (the server closed the connection without an answer)");
            fails_at(mode, kind, None, |mut peer| {
                peer.request();
                peer.reset();
            }, "-1 HttpError: NetFail (lost: ");
            fails_at(mode, kind, Some("good"), |mut peer| {
                peer.request();
                finish(&mut peer);
            }, "-1 HttpError: NetFail (");
            fails_at(mode, kind, None, |mut peer| {
                peer.request();
                peer.write(b"HTTP/1.1 404 Not");
                finish(&mut peer);
            }, "-1 HttpError: NetFail (");
            fails_at(mode, kind, None, |mut peer| {
                peer.request();
                peer.write(b"HTTP/1.1 404 Not Found\r\nA: b\r\n");
                finish(&mut peer);
            }, "404 HttpError: NetFail (");
        }
    }

    fn a_response_that_is_no_event_stream(mode) {
        for (status, fields) in [
            ("200 OK", ""),
            ("200 OK", "Content-Type: text/plain\r\n"),
            ("200 OK", "Content-Type: text/event-streams\r\n"),
            ("200 OK", "Content-Type: \r\n"),
            ("200 OK", "Content-Type: text/event-stream\r\nContent-Type: text/event-stream\r\n"),
            ("200 OK", "X-Content-Type: text/event-stream\r\n"),
            ("401 Unauthorized", "Content-Type: application/json\r\n"),
            ("204 No Content", ""),
            ("500 Oh", "Content-Type: text/html; text/event-stream\r\n"),
        ] {
            let answer = response(status, fields, "data: x\n\n");
            let want = format!("{} Invalid Content-Type header for SSE client", &status[..3]);
            fails_at(mode, "SSE", None, move |mut peer| {
                peer.request();
                let _ = peer.try_write(answer.as_bytes());
                finish(&mut peer);
            }, &want);
        }
    }

    fn redirects_are_followed(mode) {
        let server = paths(|path, host| match path {
            "/" => Some("/a?b".to_owned()),
            "/a?b" => Some(format!("http://{host}/c")),
            _ => None,
        });
        let url = url_for("RawStream", &server);
        let options = r#"{ Method = "POST", Body = "the body", Headers = { ["Content-Type"] = "x/y",
            Authorization = "mine" } }"#;
        assert_eq!(watch(mode, "RawStream", &url, options), HERE);
        let heads = server.join();
        assert!(heads[0].starts_with("POST / HTTP/1.1\r\n"), "{heads:?}");
        assert!(heads[0].ends_with("\r\n\r\nthe body"), "{heads:?}");
        for (head, path) in heads[1..].iter().zip(["/a?b", "/c"]) {
            assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
            assert!(head.contains("Authorization: mine\r\n"), "the same origin: {head}");
            assert!(head.ends_with("\r\n\r\n") && !head.contains("Content-"), "{head}");
        }
    }

    fn what_is_meant_for_one_origin_goes_to_no_other(mode) {
        let other = paths(|_, _| None);
        let to = url_for("RawStream", &other);
        let server = paths(move |path, _| (path != "/end").then(|| to.clone()));
        let url = url_for("RawStream", &server);
        let options = r#"{ Headers = { Authorization = "mine", Cookie = "mine", X = "all" } }"#;
        assert_eq!(watch(mode, "RawStream", &url, options), HERE);
        let head = &other.join()[0];
        assert!(head.contains("X: all\r\n") && !head.contains("mine"), "{head}");
        stop(server);
    }

    fn a_redirect_loop_ends(mode) {
        for kind in ["SSE", "RawStream"] {
            let server = paths(|path, _| (path != "/end").then(|| "/".to_owned()));
            let url = url_for(kind, &server);
            let want = "302 HttpError: TooManyRedirects (more than 10 redirects)";
            fails(mode, kind, &url, "nil", want);
            assert_eq!(stop(server).len(), 11);
        }
    }

    fn a_redirect_to_nowhere(mode) {
        for (secure, location) in [
            (true, "http://127.0.0.1/"), (false, "ftp://a/"), (false, "http://a b/"),
            (false, "http://user:pass@a/"), (false, "//"), (false, "/a\r\nLocation: /b"),
        ] {
            let answer = response("307 Go", &format!("Location: {location}\r\n"), "");
            for kind in ["SSE", "RawStream"] {
                let answer = answer.clone();
                let act = move |mut peer: Peer| {
                    peer.request();
                    let _ = peer.try_write(answer.as_bytes());
                    finish(&mut peer);
                };
                let want = "307 HttpError: InvalidRedirect (";
                fails_at(mode, kind, secure.then_some("good"), act, want);
            }
        }
    }

    // At the target of a redirect, everything can fail again.
    fn a_redirect_to_a_server_that_is_not_there(mode) {
        let to = refused_http();
        let server = paths(move |path, _| (path != "/end").then(|| to.clone()));
        let url = url_for("RawStream", &server);
        fails(mode, "RawStream", &url, "nil", "-1 HttpError: ConnectFail (127.0.0.1:");
        stop(server);
    }
}
