//! Requests with large bodies, and servers that respond before they have read them.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use moonwire::proto::http::HttpError;
use moonwire::{Closed, Config, Conn, ErrorKind, Event, Reactor, Stage};

use crate::common::*;
use crate::web::*;

/// More bytes than the kernels on both sides hold.
const MUCH: usize = 16 << 20;

/// How long a turn may wait before the test checks the state again.
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn a_large_body_arrives_as_it_is() {
    const LEN: usize = 8 << 20;
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            let n = length(p.request());
            let body = p.read(n);
            p.write(FINE.as_bytes());
            (body, p.rest())
        });
        let data = pattern(LEN);
        let options = ask("POST", &server.url()).body(&data).unwrap();
        let reported = events(options, trusting());
        assert_eq!((body(&reported), is_complete(&reported)), (b"fine".to_vec(), true));
        let (got, more) = server.join();
        assert!(got == data && more == 0);
    }
}

/// Since the server has not read everything, its kernel follows the end of the response with a
/// reset. (Wine distinguishes an end from a reset only by what poll reports.)
#[cfg(unix)]
#[test]
fn an_end_that_came_before_a_reset_is_an_end() {
    let ways = [
        |config| Reactor::new(config).unwrap(),
        |config: Config| {
            Reactor::with_sys(moonwire::Os::with_poll(&config.limits).unwrap(), config).unwrap()
        },
    ];
    for way in 0..=ways.len() {
        let server = serve(|mut p| {
            let head = p.request();
            assert!(length(head) == 100_000);
            p.write(b"HTTP/1.1 200 OK\r\n\r\nhello");
            p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let options = ask("POST", &server.url()).body(vec![7; 100_000]).unwrap();
        let Some(make) = ways.get(way) else {
            let mut stream = options.open().unwrap();
            server.join();
            std::thread::sleep(PAUSE);
            assert_eq!(stream.read().unwrap().as_deref(), Some(&b"hello"[..]));
            assert_eq!(stream.read().unwrap(), None);
            continue;
        };
        let mut reactor = make(Config::default());
        let id = reactor.open(options).unwrap();
        let (mut reported, until) = (Vec::new(), soon());
        let mut server = Some(server);
        while !reactor.is_empty() {
            assert!(Instant::now() < until, "{reported:?}");
            let mut responded = false;
            let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| match event {
                Event::Response(_) => {
                    conn.pause();
                    responded = true;
                }
                Event::Closed(closed) => reported.push(format!("{closed:?}")),
                _ => {}
            };
            reactor.turn(Some(Instant::now() + PAUSE), &mut sink).unwrap();
            if responded {
                server.take().unwrap().join();
                std::thread::sleep(PAUSE);
                reactor.resume(id);
            }
        }
        assert_eq!(reported, ["Complete"]);
    }
}

#[test]
fn an_answer_before_the_request_is_out_ends_it() {
    // The server has sent its whole response and reads no more of the request.
    for secure in [false, true] {
        for stays in [false, true] {
            let (done, wait) = channel::<()>();
            let server = serve_either(secure, move |mut p| {
                p.request();
                p.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nsorry");
                // If the server closes instead, its kernel sends a reset, because of the unread
                // bytes.
                if stays {
                    wait.recv_timeout(LONG).unwrap();
                }
            });
            let options = ask("POST", &server.url()).body(vec![7; MUCH]).unwrap();
            let reported = events(options, trusting());
            assert!(
                matches!(&reported[0], OwnedEvent::Response(r) if r.status == 413),
                "{reported:?}"
            );
            assert_eq!(
                (body(&reported), is_complete(&reported)),
                (b"sorry".to_vec(), true),
                "{reported:?}"
            );
            let _ = done.send(());
            server.join();
        }
    }
}

#[test]
fn an_answer_that_overlaps_the_request_is_read_while_that_is_written() {
    // Neither side waits for the other: half of the request, a part of the response, the other
    // half, the rest of the response.
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            let mut got = p.read(MUCH / 2);
            p.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            got.extend(p.read(MUCH / 2));
            p.write(b"0\r\n\r\n");
            got
        });
        let data = pattern(MUCH);
        let reported = events(ask("PUT", &server.url()).body(&data).unwrap(), trusting());
        assert_eq!(
            (body(&reported), is_complete(&reported)),
            (b"hello".to_vec(), true),
            "{reported:?}"
        );
        assert!(server.join() == data);
    }
}

#[test]
fn a_reset_while_the_request_is_written_is_no_end_of_the_body() {
    // A failed write consumes the error of the socket, so the read after it looks like a correct
    // end.
    for known in [false, true] {
        for (start, missing) in [
            ("HTTP/1.1 200 OK\r\n\r\nhello", "until the end"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "by length"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", "chunked"),
        ] {
            let ((go, wait), (done, is_done)) = (channel(), channel());
            let server = serve(move |mut p| {
                p.request();
                if known {
                    p.write(start.as_bytes());
                }
                // The client has read the whole response so far, or none of it yet.
                wait.recv_timeout(LONG).unwrap();
                if !known {
                    p.write(start.as_bytes());
                }
                p.reset();
                done.send(()).unwrap();
            });
            let mut reactor = Reactor::new(Config::default()).unwrap();
            let options = ask("POST", &server.url()).body(vec![7; MUCH]).unwrap();
            let id = reactor.open(options).unwrap();
            let (until, mut reported, mut go) = (soon(), Vec::new(), Some(go));
            while !reactor.is_empty() {
                assert!(Instant::now() < until, "{reported:?}");
                let mut chunk = false;
                let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
                    chunk |= matches!(event, Event::Chunk(_));
                    reported.push(keep(event));
                };
                reactor.turn(Some(Instant::now() + PAUSE), &mut sink).unwrap();
                let begun = (1..MUCH).contains(&reactor.buffered(id));
                if (if known { chunk } else { begun })
                    && let Some(go) = go.take()
                {
                    go.send(()).unwrap();
                    is_done.recv_timeout(LONG).unwrap();
                }
            }
            let (error, opened) = failure(&reported);
            assert!(opened, "{missing}: {reported:?}");
            assert!(
                matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Lost(_)))),
                "{reported:?}"
            );
            assert_eq!((error.stage(), error.status()), (Stage::Body, Some(200)), "{error}");
            let fits = matches!(error.kind(), ErrorKind::Io(_))
                || matches!(error.kind(), ErrorKind::Http(HttpError::Truncated(_)));
            assert!(fits, "{missing}: {error}");
            assert_eq!(body(&reported), b"hello");
            server.join();
        }
    }
}

#[test]
fn a_server_that_hangs_up_on_the_request() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            p.reset();
        });
        let options = ask("POST", &server.url()).body(vec![7; MUCH]).unwrap();
        let reported = events(options, trusting());
        let [OwnedEvent::Closed(Closed::Failed(error))] = &reported[..] else {
            panic!("{reported:?}")
        };
        assert_eq!((error.stage(), error.status()), (Stage::Response, None), "{error}");
        assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
        server.join();
    }
}
