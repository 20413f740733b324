//! Streams over real sockets: the events, how a body ends, and errors.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use moonwire::proto::CloseFrame;
use moonwire::proto::http::{Delivery, HttpError};
use moonwire::{
    Closed, Config, Conn, ErrorKind, Event, Limits, Os, Override, Reactor, Stage, StreamOptions,
};

use crate::common::*;
use crate::web::*;

#[test]
fn a_stream_tells_its_head_its_pieces_and_its_end() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut peer| {
            let head = peer.request();
            assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
            let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n\
                           5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
            peer.write(answer);
        });
        let url = http(&server.url()) + "x?y";
        let reported = events(get(&url).delivery(Delivery::Raw), trusting());
        server.join();
        let [
            OwnedEvent::Response(r),
            OwnedEvent::Chunk(a),
            OwnedEvent::Chunk(b),
            OwnedEvent::Closed(Closed::Complete),
        ] = &reported[..]
        else {
            panic!("{reported:?}")
        };
        assert_eq!((r.status, r.url.as_str()), (200, url.as_str()));
        assert_eq!(r.headers.as_bytes(), b"Transfer-Encoding: chunked\r\nA: b\r\n");
        assert_eq!((&a[..], &b[..]), (&b"hello"[..], &b"!"[..]));
    }
}

#[test]
fn any_status_is_a_response() {
    for (status, rest, want) in [
        (204, "\r\n", ""),
        (304, "Content-Length: 5\r\n\r\n", ""),
        (401, "Content-Length: 2\r\n\r\nno", "no"),
        (404, "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "no"),
        (503, "\r\nno", "no"),
        // A redirect without a target is returned as the response.
        (302, "Content-Length: 2\r\n\r\nno", "no"),
    ] {
        let server = serve(move |mut p| {
            p.request();
            p.write(format!("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 {status} X\r\n{rest}").as_bytes());
            p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
            p.rest()
        });
        let reported = events(get(&server.url()), Config::default());
        assert!(
            matches!(&reported[0], OwnedEvent::Response(r) if r.status == status),
            "{reported:?}"
        );
        assert_eq!((body(&reported), is_complete(&reported)), (want.as_bytes().to_vec(), true));
        server.join();
    }
}

#[test]
fn a_response_that_is_over_ends_the_connection_whatever_the_server_does() {
    // FAULTS 41: the server sends an unsolicited response and leaves the connection open.
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            p.write(format!("{FINE}{FINE}").as_bytes());
            p.rest()
        });
        let reported = events(get(&server.url()), trusting());
        assert_eq!((body(&reported), is_complete(&reported)), (b"fine".to_vec(), true));
        server.join();
    }
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_EOF: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn only_close_notify_ends_a_body_without_length() {
    // FAULTS 61. Without TLS, the end of the stream ends the body.
    for parting in [Parting::Plain, Parting::CloseNotify] {
        let (url, server) = answer_and_part(&format!("{UNTIL_EOF}hello"), parting);
        let reported = events(get(&url), trusting());
        assert_eq!(
            (body(&reported), is_complete(&reported)),
            (b"hello".to_vec(), true),
            "{reported:?}"
        );
        server.join();
    }
    let (url, server) = answer_and_part(&format!("{UNTIL_EOF}hello"), Parting::Cut);
    let reported = events(get(&url), trusting());
    assert_eq!(body(&reported), b"hello");
    let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
        panic!("{reported:?}")
    };
    assert!(matches!(error.kind(), ErrorKind::Http(HttpError::Truncated(None))), "{error}");
    assert_eq!((error.stage(), error.status()), (Stage::Body, Some(200)));
    let want = format!("{url}: body: truncated: the stream ended before the body did");
    assert_eq!(error.to_string(), want);
    server.join();
}

#[test]
fn a_body_with_a_length_needs_no_close_notify() {
    let answers = [format!("{LENGTH}0123456789"), format!("{CHUNKED}A\r\n0123456789\r\n0\r\n\r\n")];
    for answer in answers {
        let (url, server) = answer_and_part(&answer, Parting::Cut);
        let reported = events(get(&url), trusting());
        assert_eq!(
            (body(&reported), is_complete(&reported)),
            (b"0123456789".to_vec(), true),
            "{reported:?}"
        );
        server.join();
    }
}

#[test]
fn a_body_that_stops_early_is_lost() {
    // FAULTS 61.
    for parting in [Parting::Plain, Parting::Cut, Parting::CloseNotify] {
        for (start, missing) in [
            (format!("{LENGTH}hello"), Some(5)),
            (LENGTH.to_owned(), Some(10)),
            (format!("{CHUNKED}A\r\nhello"), None),
            (format!("{CHUNKED}5\r\nhello\r\n"), None),
            (format!("{CHUNKED}5\r\nhello\r\n0\r\n"), None),
            (CHUNKED.to_owned(), None),
        ] {
            let (url, server) = answer_and_part(&start, parting);
            let reported = events(get(&url), trusting());
            let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
                panic!("{reported:?}")
            };
            let ErrorKind::Http(HttpError::Truncated(n)) = error.kind() else { panic!("{error}") };
            assert_eq!((*n, error.status()), (missing, Some(200)), "{start:?}");
            assert!(matches!(reported[0], OwnedEvent::Response(_)));
            server.join();
        }
    }
}

#[test]
fn no_answer_at_all() {
    for parting in [Parting::Plain, Parting::Cut, Parting::CloseNotify] {
        for bytes in ["", "HTTP/1.1 200 OK\r\nA: b\r\n"] {
            let (url, server) = answer_and_part(bytes, parting);
            let reported = events(get(&url), trusting());
            let [OwnedEvent::Closed(Closed::Failed(error))] = &reported[..] else {
                panic!("{reported:?}")
            };
            assert!(matches!(error.kind(), ErrorKind::Http(HttpError::Eof)), "{error}");
            let status = (!bytes.is_empty()).then_some(200);
            assert_eq!((error.stage(), error.status()), (Stage::Response, status));
            server.join();
        }
    }
}

#[test]
fn a_reset_within_the_body_is_no_end() {
    for secure in [false, true] {
        for start in [LENGTH, UNTIL_EOF, CHUNKED] {
            let (sender, seen) = std::sync::mpsc::channel();
            let server = serve_either(secure, move |mut p| {
                p.request();
                p.write(format!("{start}5\r\nhe").as_bytes());
                seen.recv().unwrap();
                p.reset();
            });
            let mut reactor = Reactor::new(trusting()).unwrap();
            reactor.open(get(&server.url())).unwrap();
            let reported = run(&mut reactor, |_, event| {
                if let Event::Chunk(_) = event {
                    let _ = sender.send(());
                }
            });
            let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
                panic!("{reported:?}")
            };
            let reset = std::io::ErrorKind::ConnectionReset;
            assert!(matches!(error.kind(), ErrorKind::Io(e) if e.kind() == reset), "{error}");
            assert_eq!((error.stage(), error.status()), (Stage::Body, Some(200)));
            server.join();
        }
    }
}

#[test]
fn what_is_no_http() {
    for (bytes, want) in [
        ("SSH-2.0-x\r\n", "the answer is not HTTP/1.1: it starts with \"SSH-2.0-x\\r\\n\""),
        ("HTTP/1.1 200OK\r\n\r\n", "malformed status line \"HTTP/1.1 200OK\""),
        // FAULTS 32.
        ("HTTP/1.1 200 OK\r\nA\u{1b}[2J: b\r\n\r\n", "control character 0x1b in the response head"),
        ("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", "101 Switching Protocols"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", "the body is coded as \"br\""),
    ] {
        let server = serve(move |mut p| {
            p.request();
            p.write(bytes.as_bytes());
            p.rest()
        });
        let reported = events(get(&server.url()), Config::default());
        let [OwnedEvent::Closed(Closed::Failed(error))] = &reported[..] else {
            panic!("{reported:?}")
        };
        assert_eq!(error.stage(), Stage::Response);
        assert!(error.to_string().contains(want), "{error}");
        assert!(error.to_string().bytes().all(|b| (b' '..=b'~').contains(&b)), "{error}");
        server.join();
    }
}

#[test]
fn nobody_there() {
    let closed = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let reported = events(get(&format!("http://{closed}/")), Config::default());
    let (error, _) = failure(&reported);
    assert_eq!((error.stage(), error.status()), (Stage::Connect, None));
    assert!(matches!(error.kind(), ErrorKind::Connect(all) if all.len() == 1), "{error}");

    let mut reactor = Reactor::with_sys(Watched::new(), Config::default()).unwrap();
    reactor.open(get("http://nonexistent.invalid/")).unwrap();
    let reported = run(&mut reactor, |_, _| {});
    let (error, _) = failure(&reported);
    assert_eq!(error.stage(), Stage::Resolve);
    assert!(matches!(error.kind(), ErrorKind::Resolve(_)), "{error}");
}

#[test]
fn tls_that_does_not_come_about() {
    // The server speaks plain HTTP on this port.
    let server = serve(|mut p| {
        p.record();
        p.write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        p.rest();
    });
    let url = http(&server.url()).replacen("http", "https", 1);
    let reported = events(get(&url), trusting());
    let (error, _) = failure(&reported);
    assert_eq!(error.stage(), Stage::Tls);
    assert!(matches!(error.kind(), ErrorKind::Tls(..)), "{error}");
    server.join();

    // FAULTS 49, 50: the certificate has to be for the host, whatever address the name has.
    for (host, name, fine) in [
        ("127.0.0.1", "other", false),
        ("127.0.0.1", "expired", false),
        ("127.0.0.1", "self-signed", false),
        ("x.a.test", "wildcard", true),
        ("a.example.test", "good", false),
    ] {
        let server = serve_tls(name, |mut p| {
            let begins = p.begins();
            if begins {
                p.request();
                p.write(FINE.as_bytes());
            }
            begins
        });
        let to = server.address;
        let resolve = vec![Override { host: host.into(), port: to.port(), to }];
        let url = format!("https://{host}:{}/", to.port());
        let reported = events(get(&url), Config { resolve, ..trusting() });
        assert_eq!(is_complete(&reported), fine, "{name}: {reported:?}");
        if !fine {
            let (error, _) = failure(&reported);
            assert_eq!(error.stage(), Stage::Tls);
            assert!(matches!(error.kind(), ErrorKind::Certificate(..)), "{name}: {error}");
        }
        assert_eq!(server.join(), fine, "nothing is sent to {name}");
    }

    // The stream ends within the handshake.
    let server = serve(|mut p| p.record());
    let url = http(&server.url()).replacen("http", "https", 1);
    let reported = events(get(&url), trusting());
    assert_eq!(failure(&reported).0.stage(), Stage::Tls, "{reported:?}");
    server.join();
}

const SHORT: Duration = Duration::from_millis(60);

/// The stage and the time limit of the error.
fn limit(reported: &[OwnedEvent]) -> (Stage, Duration) {
    match failure(reported).0.kind() {
        ErrorKind::Timeout(limit) => (failure(reported).0.stage(), *limit),
        _ => panic!("{reported:?}"),
    }
}

#[test]
fn a_server_that_does_not_answer() {
    for secure in [false, true] {
        let hangs = || {
            serve_either(secure, |mut p| {
                p.request();
                p.rest()
            })
        };
        let server = hangs();
        let reported = events(get(&server.url()).timeout(SHORT * 5), trusting());
        assert_eq!(limit(&reported), (Stage::Response, SHORT * 5));
        server.join();
        // `Limits::response`, of the reactor or of the stream.
        let limits = Limits { response: SHORT, ..Limits::default() };
        for own in [false, true] {
            let server = hangs();
            let options = StreamOptions::get(&http(&server.url())).unwrap();
            let reported = match own {
                false => events(options, Config { limits: limits.clone(), ..trusting() }),
                true => events(options.limits(limits.clone()), trusting()),
            };
            assert_eq!(limit(&reported), (Stage::Response, SHORT));
            server.join();
        }
    }
    // The server does not answer the ClientHello.
    let server = serve(|mut p| p.rest());
    let url = http(&server.url()).replacen("http", "https", 1);
    let limits = Limits { opening: SHORT, ..Limits::default() };
    let reported = events(StreamOptions::get(&url).unwrap(), Config { limits, ..trusting() });
    assert_eq!(limit(&reported), (Stage::Tls, SHORT));
    server.join();
}

#[test]
fn bytes_that_drip_do_not_move_the_limit() {
    // FAULTS 57.
    for start in ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 2"] {
        let server = serve(move |mut p| {
            p.request();
            let endless = std::iter::repeat(if start.ends_with('2') { b'0' } else { b'x' });
            for byte in start.bytes().chain(endless) {
                if p.try_write(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let reported = events(get(&server.url()).timeout(SHORT * 5), Config::default());
        assert_eq!(limit(&reported).1, SHORT * 5);
        server.join();
    }
}

#[test]
fn a_body_has_all_the_time_unless_its_silence_is_limited() {
    let server = serve(|mut p| {
        p.request();
        p.write(CHUNKED.as_bytes());
        for _ in 0..5 {
            std::thread::sleep(SHORT);
            p.write(b"1\r\nx\r\n");
        }
        p.write(b"0\r\n\r\n");
    });
    let reported = events(get(&server.url()).timeout(SHORT * 3), Config::default());
    assert_eq!(
        (body(&reported), is_complete(&reported)),
        (b"xxxxx".to_vec(), true),
        "{reported:?}"
    );
    server.join();

    for start in [CHUNKED, LENGTH, UNTIL_EOF] {
        let server = serve(move |mut p| {
            p.request();
            p.write(start.as_bytes());
            p.rest()
        });
        let reported = events(get(&server.url()).idle(Some(SHORT)), Config::default());
        let Some(OwnedEvent::Closed(Closed::Lost(error))) = reported.last() else {
            panic!("{reported:?}")
        };
        assert!(matches!(error.kind(), ErrorKind::Idle(d) if *d == SHORT), "{error}");
        assert_eq!((error.stage(), error.status()), (Stage::Body, Some(200)));
        server.join();
    }
}

#[test]
fn event_streams() {
    let text = "\u{feff}event: a\ndata: 1\r\n\r\n:\n\nid: 7\ndata: 2\rdata: 3\r\rdata: 4";
    for secure in [false, true] {
        for delivery in [Delivery::Events, Delivery::Blocks] {
            let server = serve_either(secure, move |mut p| {
                assert_eq!(field(p.request(), "Accept"), Some("text/event-stream"));
                assert_eq!(field(&p.head, "Cache-Control"), Some("no-cache"));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                p.write(head.as_bytes());
                for byte in text.bytes() {
                    p.write(&[b"1\r\n", &[byte][..], b"\r\n"].concat());
                }
                p.write(b"0\r\n\r\n");
            });
            let reported = events(get(&server.url()).delivery(delivery), trusting());
            assert!(is_complete(&reported), "{reported:?}");
            let got: Vec<String> = reported
                .iter()
                .filter_map(|t| match t {
                    OwnedEvent::ServerSent(e) => Some(format!("{} {} {}", e.event, e.data, e.id)),
                    OwnedEvent::Chunk(data) => Some(String::from_utf8(data.clone()).unwrap()),
                    _ => None,
                })
                .collect();
            match delivery {
                Delivery::Events => assert_eq!(got, ["a 1 ", "message 2\n3 7"]),
                _ => assert_eq!(
                    got,
                    ["event: a\ndata: 1\n\n", ":\n\n", "id: 7\ndata: 2\ndata: 3\n\n", "data: 4"]
                ),
            }
            server.join();
        }
    }
    // A response that is no event stream is refused, with its status, and its body is not reported.
    let server = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 401 No\r\nContent-Type: text/html\r\n\r\ndata: x\n\n");
    });
    let reported = events(get(&server.url()).delivery(Delivery::Events), Config::default());
    let [OwnedEvent::Closed(Closed::Failed(error))] = &reported[..] else { panic!("{reported:?}") };
    assert!(matches!(error.kind(), ErrorKind::Http(HttpError::Status(_))), "{error}");
    assert_eq!(error.status(), Some(401));
    server.join();
}

#[test]
fn a_release_within_the_body_frees_the_descriptor() {
    let server = serve(|mut p| {
        p.request();
        p.write(UNTIL_EOF.as_bytes());
        while p.try_write(&[b'x'; 10_000]).is_ok() {}
    });
    let sys = Watched::new();
    let open = sys.open.clone();
    let mut reactor = Reactor::with_sys(sys, Config::default()).unwrap();
    let id = reactor.open(get(&server.url())).unwrap();
    let (until, mut got) = (soon(), 0);
    while got < 100_000 {
        assert!(Instant::now() < until);
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
            got += if let Event::Chunk(data) = event { data.len() } else { 0 };
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    assert_eq!(open.load(Ordering::SeqCst), 1);
    reactor.release(id, &CloseFrame::new(1000, ""));
    assert_eq!(open.load(Ordering::SeqCst), 0, "at once");
    reactor.release(id, &CloseFrame::new(1000, ""));
    let mut none = |_: &mut Conn<'_>, event: Event<'_>| panic!("{event:?}");
    reactor.turn(Some(Instant::now()), &mut none).unwrap();
    reactor.turn(Some(Instant::now()), &mut none).unwrap();
    assert!(reactor.is_empty());
    server.join();
}

#[test]
fn a_thousand_streams_one_after_another_leak_no_descriptor() {
    const MANY: usize = 1000;
    let server = listen(|l| {
        for i in 0..MANY {
            let mut p = Peer::plain(l.accept().unwrap().0);
            p.request();
            let _ = p.try_write(
                match i % 5 {
                    0 => found(302, "/"),
                    1 => format!("{CHUNKED}1\r\nx\r\n0\r\n\r\n"),
                    2 => LENGTH.to_owned(),
                    3 => "nonsense".to_owned(),
                    _ => format!("{UNTIL_EOF}x"),
                }
                .as_bytes(),
            );
        }
    });
    let sys = Watched::new();
    let (open, begun) = (sys.open.clone(), sys.begun.clone());
    let mut reactor = Reactor::with_sys(sys, Config::default()).unwrap();
    while begun.load(Ordering::SeqCst) < MANY {
        reactor.open(get(&server.url())).unwrap();
        run(&mut reactor, |_, _| {});
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }
    server.join();
}

#[test]
fn streams_and_a_websocket_do_not_wait_for_each_other() {
    // RFC 6455 §4.1 applies only to WebSockets. No request is answered before all have arrived.
    let server = listen(|l| {
        let mut peers: Vec<Peer> = (0..4).map(|_| Peer::plain(l.accept().unwrap().0)).collect();
        for p in &mut peers {
            if p.request().contains("Upgrade: websocket") {
                p.accept(&close(1000, ""));
                assert_eq!(p.close_code(), 1000);
                p.tcp.shutdown(std::net::Shutdown::Both).unwrap();
            } else {
                p.write(FINE.as_bytes());
                p.rest();
            }
        }
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    reactor.open(get(&server.url())).unwrap();
    reactor.open(options(&server.url())).unwrap();
    reactor.open(get(&server.url())).unwrap();
    reactor.open(get(&server.url())).unwrap();
    let (until, mut ends) = (soon(), Vec::new());
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "they wait for each other");
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
            if let Event::Closed(closed) = event {
                ends.push(closed.code());
            }
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    assert_eq!(ends, [1000; 4]);
    server.join();
}

#[test]
fn a_stream_is_no_websocket() {
    // Calls that send messages are errors and have no effect.
    let server = serve(|mut p| {
        p.request();
        p.write(FINE.as_bytes());
        p.rest()
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let id = reactor.open(get(&server.url())).unwrap();
    let reported = run(&mut reactor, |conn, event| {
        if !matches!(event, Event::Closed(_)) {
            assert!(conn.send_text("x").is_err() && conn.send_binary(b"x").is_err());
            assert!(conn.ping(b"").is_err() && conn.close(1000, "").is_err());
        }
    });
    assert!(reactor.send_text(id, "x").is_err() && !reactor.is_open(id));
    assert!(is_complete(&reported), "{reported:?}");
    assert_eq!(server.join(), 0, "nothing is sent after the request");
}

#[test]
fn buffers_of_any_size_and_poll_change_nothing() {
    let data = pattern(300_000);
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in data.chunks(999) {
        answer.extend(format!("{:x};a=b\r\n", chunk.len()).bytes());
        answer.extend([chunk, b"\r\n"].concat());
    }
    answer.extend(b"0\r\nX: y\r\n\r\n");
    for secure in [false, true] {
        for (first, turn, with_poll) in [(1, 1, false), (5000, 500, true), (100_000, 1 << 20, true)]
        {
            let answer = answer.clone();
            let server = serve_either(secure, move |mut p| {
                p.request();
                p.write(&answer);
                p.rest();
            });
            let limits = Limits {
                receive_buffer: first,
                receive_buffer_max: first,
                turn,
                ..Limits::default()
            };
            let os = if with_poll { Os::with_poll(&limits) } else { Os::new(&limits) };
            let config = Config { limits, ..trusting() };
            let mut reactor = Reactor::with_sys(os.unwrap(), config).unwrap();
            reactor.open(get(&server.url())).unwrap();
            let reported = run(&mut reactor, |_, _| {});
            assert!(is_complete(&reported) && body(&reported) == data, "{:?}", reported.last());
            server.join();
        }
    }
}
