//! What traces, errors and `Debug` texts show of a stream, and what they do not show.

use std::io::Write;
use std::sync::{Arc, Mutex};

use moonwire::trace::Lines;
use moonwire::{Ask, Config, Override};

use crate::common::*;
use crate::web::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The events, and the lines of the trace, without their times.
pub(crate) fn traced(ask: impl Into<Ask>, config: Config) -> (Vec<OwnedEvent>, Vec<String>) {
    let kept = Kept::default();
    let observer = Some(Box::new(Lines::new(kept.clone())) as _);
    let reported = events(ask, Config { observer, ..config });
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|l| l.split_once("#0 ").expect(l).1.to_owned()).collect();
    (reported, lines)
}

#[test]
fn the_trace_of_a_stream() {
    let second = listen(|l| {
        let body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: hidden\r\n\r\n\
                    5\r\nhel\x1bo\r\n46\r\n0123456789012345678901234567890123456789012345678901234\
                    567890123456789\r\n0\r\n\r\n";
        answer_each(&l, &[body.to_owned()])
    });
    let location = format!("{}there?token=hidden", http(&second.url()));
    let first = listen(move |l| answer_each(&l, &[found(302, &location)]));
    let options = ask("POST", &format!("{}?key=hidden", first.url()))
        .header("Authorization", "Bearer hidden")
        .and_then(|o| o.secret_header("X-Key", "hidden"))
        .and_then(|o| o.body("x"))
        .unwrap();
    let (reported, lines) = traced(options, Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    let agent = concat!("User-Agent: moonwire/", env!("CARGO_PKG_VERSION"));
    let (a, b) = (first.address, second.address);
    let sixty_four = "0123456789012345678901234567890123456789012345678901234567890123";
    let want = [
        format!("-- connecting to {a}"),
        format!("-- connected to {a}"),
        format!(
            "-> head POST /?*** HTTP/1.1 | Host: {a} | Connection: close | \
             Accept-Encoding: identity | Accept: */* | Content-Length: 1 | {agent} | \
             Authorization: *** | X-Key: ***"
        ),
        format!("<- head HTTP/1.1 302 Moved | Location: http://{b}/there?*** | Content-Length: 3"),
        format!("-- redirected: 302 to http://{b}/there?***"),
        format!("-- connecting to {b}"),
        format!("-- connected to {b}"),
        format!(
            "-> head GET /there?*** HTTP/1.1 | Host: {b} | Connection: close | \
             Accept-Encoding: identity | Accept: */* | {agent}"
        ),
        "<- head HTTP/1.1 200 OK | Transfer-Encoding: chunked | Set-Cookie: ***".to_owned(),
        "<- body 5 \"hel\\x1bo\"".to_owned(),
        format!("<- body 70 \"{sixty_four}…\""),
        "-- ended: complete".to_owned(),
    ];
    let (took, lines): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.starts_with("-- it took: "));
    assert_eq!(took.len(), 1);
    for (got, want) in lines.iter().zip(&want) {
        assert_eq!(got, want, "{lines:#?}");
    }
    assert_eq!(lines.len(), want.len(), "{lines:#?}");
    first.join();
    second.join();
}

#[test]
fn the_trace_of_an_event_stream() {
    let server = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: x\n\n");
    });
    let options = get(&server.url()).delivery(moonwire::proto::http::Delivery::Events);
    let (reported, lines) = traced(options, Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    assert!(lines.iter().any(|l| l == "<- body 1 \"x\""), "{lines:#?}");
    server.join();
}

/// Checks that the text shows no part of a secret URL or value.
fn shows_nothing(text: &str) {
    for secret in ["hidden", "127.0.0.1", "a.example", "b.example", "secretpath"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

fn secret(url: &str) -> moonwire::StreamOptions {
    get(url).secret_header("X-Key", "hidden").unwrap().secret_url()
}

#[test]
fn a_secret_url_is_shown_nowhere() {
    let server = listen(|l| {
        let port = l.local_addr().unwrap().port();
        let hops = [
            found(302, "/secretpath?key=hidden"),
            found(307, &format!("http://b.example:{port}/secretpath")),
            "HTTP/1.1 200 OK\r\nContent-Location: http://a.example/hidden\r\n\
                 Content-Length: 9\r\n\r\nwhole"
                .to_owned(),
        ];
        answer_each_and_close(&l, &hops)
    });
    let resolve: Vec<Override> = ["a.example", "b.example"]
        .map(|host| Override { host: host.into(), port: server.address.port(), to: server.address })
        .into();
    let url = format!("http://a.example:{}/secretpath?key=hidden", server.address.port());
    let options = secret(&url);
    shows_nothing(&format!("{options:?} {:?}", Ask::from(options.clone())));
    let (reported, lines) = traced(options, Config { resolve, ..Config::default() });
    server.join();
    let (error, opened) = failure(&reported);
    assert!(opened);
    let (url, reason, kind) = (error.url(), error.reason(), error.kind());
    shows_nothing(&format!("{error} {error:?} {url} {reason} {kind:?}"));
    let OwnedEvent::Response(response) = &reported[0] else { panic!("{reported:?}") };
    assert_eq!(response.url.to_string(), "***");
    assert!(response.url.as_str().ends_with("/secretpath"), "the program may read it");
    shows_nothing(&lines.join("\n"));
    assert_eq!(lines.iter().filter(|l| l.contains("redirected: ")).count(), 2, "{lines:#?}");
}

/// Like `answer_each`, but does not wait for the client to close.
fn answer_each_and_close(listener: &std::net::TcpListener, answers: &[String]) {
    for answer in answers {
        let mut peer = Peer::plain(listener.accept().unwrap().0);
        peer.request();
        peer.write(answer.as_bytes());
    }
}

#[test]
fn errors_of_a_secret_url_do_not_tell_it() {
    let resolve = |host: &str, to: std::net::SocketAddr| Config {
        resolve: vec![Override { host: host.into(), port: to.port(), to }],
        ..trusting()
    };
    // No server listens.
    let closed = std::net::TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let url = format!("http://a.example:{}/secretpath", closed.port());
    let (reported, lines) = traced(secret(&url), resolve("a.example", closed));
    shows_nothing(&format!("{reported:?} {}\n{}", failure(&reported).0, lines.join("\n")));
    // The certificate of another host.
    let server = serve_tls("other", |mut p| p.begins());
    let url = format!("https://a.example:{}/secretpath", server.address.port());
    let (reported, lines) = traced(secret(&url), resolve("a.example", server.address));
    shows_nothing(&format!("{} {}", failure(&reported).0, lines.join("\n")));
    server.join();
    // Redirects to something that is not a URL.
    for location in ["http://a.example:99999/hidden", "ws://a.example/hidden", "//x@a.example/"] {
        let server = listen(move |l| answer_each_and_close(&l, &[found(302, location)]));
        let url = format!("http://a.example:{}/secretpath", server.address.port());
        let (reported, lines) = traced(secret(&url), resolve("a.example", server.address));
        shows_nothing(&format!("{reported:?} {}\n{}", failure(&reported).0, lines.join("\n")));
        server.join();
    }
    // Options that are refused.
    for result in [
        secret("http://a.example/hidden").header("X", "a\r\nhidden"),
        secret("http://a.example/hidden").body("x"),
        secret("http://a.example/hidden").secret_header("Y", "hidden\n"),
    ] {
        let error = result.unwrap_err();
        shows_nothing(&format!("{error} {error:?} {:?}", error.kind()));
    }
}

#[test]
fn the_trace_of_a_failure_names_no_query() {
    let server = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwhole");
    });
    let (reported, lines) = traced(get(&format!("{}?key=hidden", server.url())), Config::default());
    assert!(failure(&reported).0.url().ends_with("?***"));
    let want = "-- ended: body: truncated: the stream ended 4 bytes before the body did";
    assert_eq!(lines.last().map(String::as_str), Some(want));
    assert!(!lines.join("\n").contains("hidden"), "{lines:#?}");
    server.join();
}
