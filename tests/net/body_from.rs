//! Bodies of requests from a reader, which is read while the body is sent.

use std::io::{self, Cursor, Read};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use moonwire::proto::http::HttpError;
use moonwire::{
    Closed, Config, Conn, ConnId, Error, ErrorKind, Event, EventSource, Limits, Override, Reactor,
    Stage, StreamOptions,
};

use crate::common::*;
use crate::web::*;

/// 15 MiB, and no multiple of a buffer's size.
const LARGE: usize = 15 * 1024 * 1024 + 7;

/// A reader that returns the steps of a list, and then its end.
struct Plays(std::vec::IntoIter<Step>);

enum Step {
    Bytes(Vec<u8>),
    Error(io::ErrorKind),
    /// The reader reports more bytes than there is room for.
    Lies,
    Panics,
}

fn plays(steps: Vec<Step>) -> Plays {
    Plays(steps.into_iter())
}

impl Read for Plays {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.next() {
            None => Ok(0),
            Some(Step::Bytes(bytes)) => {
                assert!(bytes.len() <= buf.len());
                buf[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Some(Step::Error(kind)) => Err(io::Error::new(kind, "as the test asked")),
            Some(Step::Lies) => Ok(buf.len() + 1),
            Some(Step::Panics) => panic!("the reader's own"),
        }
    }
}

/// Reads a chunked body; returns the sizes of its chunks, and its data.
fn chunks(p: &mut Peer) -> (Vec<usize>, Vec<u8>) {
    let (mut sizes, mut data) = (Vec::new(), Vec::new());
    loop {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line.push(p.read(1)[0].into());
        }
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        data.extend(p.read(size));
        assert_eq!(p.read(2), b"\r\n");
        if size == 0 {
            return (sizes, data);
        }
        sizes.push(size);
    }
}

fn put(url: &str, reader: impl Read + Send + 'static, length: Option<u64>) -> StreamOptions {
    ask("PUT", url).body_from(reader, length).unwrap()
}

/// Runs a reactor with several connections to their ends.
fn each_end(reactor: &mut Reactor, mut each: impl FnMut(ConnId, Closed)) {
    let until = soon();
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "hangs");
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            if let Event::Closed(closed) = event {
                each(conn.id(), closed);
            }
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
}

#[test]
fn a_large_body_goes_both_ways() {
    for secure in [false, true] {
        for length in [Some(LARGE as u64), None] {
            let server = serve_either(secure, move |mut p| {
                let head = p.request().to_owned();
                let body = match length {
                    Some(n) => {
                        assert_eq!(field(&head, "Content-Length"), Some(&*n.to_string()));
                        assert_eq!(field(&head, "Transfer-Encoding"), None);
                        p.read(LARGE)
                    }
                    None => {
                        assert_eq!(field(&head, "Transfer-Encoding"), Some("chunked"));
                        assert_eq!(field(&head, "Content-Length"), None);
                        let (sizes, body) = chunks(&mut p);
                        assert!(sizes.iter().all(|&n| n <= 65_536), "{sizes:?}");
                        body
                    }
                };
                p.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes());
                p.write(&body);
                p.rest()
            });
            let options = put(&server.url(), Cursor::new(pattern(LARGE)), length);
            let reported = events(options, trusting());
            assert!(is_complete(&reported), "{:?}", reported.last());
            assert!(body(&reported) == pattern(LARGE));
            assert_eq!(server.join(), 0, "nothing follows the body");
        }
    }
}

/// The reactor bounds the bytes that wait, however long the body is and however few bytes the
/// server takes.
#[test]
fn so_much_of_a_body_is_read_and_no_more() {
    let (started, starts) = channel::<()>();
    let (done, wait) = channel::<()>();
    let server = serve(move |mut p| {
        p.request();
        started.send(()).unwrap();
        wait.recv_timeout(LONG).unwrap();
        p.reset();
    });
    let limits = Limits { body_queue: 10_000, ..Limits::default() };
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let options = put(&server.url(), io::repeat(7), None).limits(limits);
    let id = reactor.open(options).unwrap();
    let (until, mut idle, mut done) = (soon(), 0, Some(done));
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "hangs");
        let before = reactor.buffered(id);
        let mut sink = |_: &mut Conn<'_>, _: Event<'_>| {};
        reactor.turn(Some(Instant::now() + Duration::from_millis(1)), &mut sink).unwrap();
        let waits = reactor.buffered(id);
        // Above the limit are the size lines of the chunks, and one piece that was read when there
        // was room for a byte.
        assert!(waits < 2 * 10_000 + 100, "{waits} bytes wait");
        idle = if waits > 0 && waits == before { idle + 1 } else { 0 };
        if idle > 20
            && starts.try_recv().is_ok()
            && let Some(done) = done.take()
        {
            done.send(()).unwrap();
        }
    }
    server.join();
}

#[test]
fn a_reader_that_has_nothing_yet_is_asked_again() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            let got = chunks(&mut p);
            p.write(FINE.as_bytes());
            p.rest();
            got
        });
        let again = || Step::Error(io::ErrorKind::WouldBlock);
        let reader = plays(vec![
            again(),
            Step::Error(io::ErrorKind::Interrupted),
            Step::Bytes(b"hel".to_vec()),
            Step::Error(io::ErrorKind::Interrupted),
            again(),
            again(),
            Step::Bytes(b"lo".to_vec()),
            again(),
        ]);
        let reported = events(put(&server.url(), reader, None), trusting());
        assert_eq!(
            (body(&reported), is_complete(&reported)),
            (b"fine".to_vec(), true),
            "{reported:?}"
        );
        assert_eq!(server.join(), (vec![3, 2], b"hello".to_vec()));
    }
}

/// A body that the program supplies later.
struct Supplied(Receiver<Vec<u8>>);

impl Read for Supplied {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.try_recv() {
            Ok(bytes) => (&bytes[..]).read(buf),
            Err(TryRecvError::Empty) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryRecvError::Disconnected) => Ok(0),
        }
    }
}

#[test]
fn a_reader_that_waits_holds_nobody_up() {
    let slow = serve(|mut p| {
        p.request();
        let got = chunks(&mut p).1;
        p.write(FINE.as_bytes());
        p.rest();
        got
    });
    let fast = serve(|mut p| {
        p.request();
        p.write(FINE.as_bytes());
        p.rest();
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let (supply, supplied) = channel();
    reactor.open(put(&slow.url(), Supplied(supplied), None)).unwrap();
    let second = reactor.open(get(&fast.url())).unwrap();
    let (mut supply, mut ends) = (Some(supply), Vec::new());
    each_end(&mut reactor, |id, closed| {
        ends.push((id == second, closed.to_string()));
        // The program supplies the body when the other request has finished.
        if let Some(supply) = supply.take() {
            supply.send(b"hello".to_vec()).unwrap();
        }
    });
    assert!(ends[0].0 && !ends[1].0, "{ends:?}");
    assert_eq!(slow.join(), b"hello");
    fast.join();
}

#[test]
fn a_reader_that_fails_ends_the_request() {
    for secure in [false, true] {
        for lies in [false, true] {
            let server = serve_either(secure, |mut p| behind_the_head(&p.rest_bytes()));
            let last = if lies { Step::Lies } else { Step::Error(io::ErrorKind::NotFound) };
            let reader = plays(vec![Step::Bytes(b"hello".to_vec()), last]);
            let reported = events(put(&server.url(), reader, Some(10)), trusting());
            let [OwnedEvent::Closed(Closed::Failed(error))] = &reported[..] else {
                panic!("{reported:?}")
            };
            let ErrorKind::Upload(e) = error.kind() else { panic!("{error}") };
            let want = if lies { io::ErrorKind::InvalidData } else { io::ErrorKind::NotFound };
            assert_eq!((error.stage(), e.kind()), (Stage::Request, want), "{error}");
            // The reactor read both steps in the same turn, so the first bytes were not sent.
            assert!(error.unsent() >= 5, "{error}");
            assert!(!error.is_transient());
            let text = error.to_string();
            assert!(text.contains("request: the body of the request cannot be read: "), "{text}");
            let (_, body) = server.join();
            assert!(body < 10);
        }
    }
}

/// Whether there is a complete head, and the number of bytes after it.
fn behind_the_head(bytes: &[u8]) -> (bool, usize) {
    match bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        Some(at) => (true, bytes.len() - at - 4),
        None => (false, 0),
    }
}

#[test]
fn a_reader_of_another_length_is_an_error() {
    for secure in [false, true] {
        for (of, has) in [(10, 9), (10, 11), (0, 1), (100_000, 99_999), (100_000, 100_001)] {
            let server = serve_either(secure, |mut p| behind_the_head(&p.rest_bytes()));
            let reader = Cursor::new(pattern(has));
            let reported = events(put(&server.url(), reader, Some(of)), trusting());
            let (error, _) = failure(&reported);
            let want = match (has as u64).checked_sub(of) {
                None => HttpError::ShortBody(of - has as u64),
                Some(_) => HttpError::LongBody(of),
            };
            assert!(matches!(error.kind(), ErrorKind::Http(e) if *e == want), "{error}");
            assert_eq!((error.stage(), error.status()), (Stage::Request, None), "{error}");
            let (has_head, body) = server.join();
            assert!(!has_head || (body as u64) < of, "the server has no whole request");
        }
    }
}

#[test]
fn an_answer_before_the_body_is_whole_is_reported() {
    for secure in [false, true] {
        for length in [None, Some(u64::MAX)] {
            for status in ["401 Unauthorized", "413 Too Large", "200 OK"] {
                let server = serve_either(secure, move |mut p| {
                    p.request();
                    p.write(
                        format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nsorry").as_bytes(),
                    );
                });
                let reported = events(put(&server.url(), io::repeat(7), length), trusting());
                assert!(
                    matches!(&reported[0], OwnedEvent::Response(r) if status.starts_with(&r.status.to_string())),
                    "{reported:?}"
                );
                assert_eq!(
                    (body(&reported), is_complete(&reported)),
                    (b"sorry".to_vec(), true),
                    "{reported:?}"
                );
                server.join();
            }
        }
    }
}

#[test]
fn a_redirect_that_drops_the_body_is_followed_and_one_that_keeps_it_is_not() {
    for (method, status, fine) in [
        ("POST", 301, true),
        ("POST", 302, true),
        ("POST", 303, true),
        ("PUT", 303, true),
        ("PUT", 302, false),
        ("POST", 307, false),
        ("POST", 308, false),
    ] {
        let server = listen(move |l| {
            let mut first = Peer::plain(l.accept().unwrap().0);
            first.request();
            chunks(&mut first);
            first.write(found(status, "/there").as_bytes());
            first.rest();
            if !fine {
                return String::new();
            }
            answer_each(&l, &[FINE.to_owned()]).remove(0)
        });
        let options = ask(method, &server.url());
        let options = options.body_from(Cursor::new(b"hello".to_vec()), None).unwrap();
        let reported = events(options, Config::default());
        let asked = server.join();
        if fine {
            assert!(is_complete(&reported), "{reported:?}");
            assert!(asked.starts_with("GET /there HTTP/1.1\r\n"), "{asked}");
            assert!(!asked.contains("chunked") && !asked.contains("Content-Length"), "{asked}");
            continue;
        }
        let (error, _) = failure(&reported);
        assert!(matches!(error.kind(), ErrorKind::Http(HttpError::BodyAgain)), "{error}");
        assert_eq!((error.stage(), error.status()), (Stage::Response, Some(status)));
    }
}

#[test]
fn a_reader_is_for_one_request() {
    let server = listen(|l| answer_each(&l, &[FINE.to_owned(), FINE.to_owned()]));
    let url = server.url();
    let options = ask("POST", &url).body_from(Cursor::new(b"hello".to_vec()), Some(5)).unwrap();
    // No connection opens, so the reader is not used.
    let nobody = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let elsewhere = Config {
        resolve: vec![Override {
            host: server.address.ip().to_string(),
            port: server.address.port(),
            to: nobody,
        }],
        ..Config::default()
    };
    let reported = events(options.clone(), elsewhere);
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Connect(_)), "{reported:?}");
    assert!(is_complete(&events(options.clone(), Config::default())));
    let taken = |error: &Error| {
        assert!(matches!(error.kind(), ErrorKind::BodyTaken), "{error}");
        assert_eq!(error.stage(), Stage::Request);
        assert!(!error.is_transient());
    };
    taken(failure(&events(options.clone(), Config::default())).0);
    taken(&options.clone().open().err().unwrap());
    // Another body replaces the reader.
    assert!(is_complete(&events(options.body("other").unwrap(), Config::default())));
    let requests = server.join();
    assert!(requests[0].ends_with("\r\n\r\nhello") && requests[1].ends_with("\r\n\r\nother"));

    // An event source sends the same request with each connection.
    let server = listen(|l| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 18\r\n\r\nretry: 1\ndata: x\n\n";
        answer_each(&l, &[answer.to_owned()])
    });
    let options = ask("POST", &server.url());
    let options = options.body_from(Cursor::new(b"hello".to_vec()), Some(5)).unwrap();
    let mut source = EventSource::new(options).reconnect(true).retry_floor(Duration::ZERO);
    assert_eq!(source.next_event().unwrap().unwrap().data, "x");
    taken(&source.next_event().unwrap_err());
    server.join();
}

/// Two concurrent requests with the same reader: the second sends nothing.
#[test]
fn the_first_that_is_connected_has_the_reader() {
    let server = listen(|l| {
        let mut all = Vec::new();
        for _ in 0..2 {
            all.push(Peer::plain(l.accept().unwrap().0));
        }
        let mut got: Vec<usize> = Vec::new();
        for mut p in all {
            if p.begins() {
                p.request();
                p.read(5);
                p.write(FINE.as_bytes());
                got.push(1);
            } else {
                got.push(0);
            }
            p.rest();
        }
        got.sort_unstable();
        got
    });
    let options = put(&server.url(), Cursor::new(b"hello".to_vec()), Some(5));
    let mut reactor = Reactor::new(Config::default()).unwrap();
    reactor.open(options.clone()).unwrap();
    reactor.open(options).unwrap();
    let mut reported = Vec::new();
    each_end(&mut reactor, |_, closed| reported.push(closed));
    let complete = reported.iter().filter(|c| matches!(c, Closed::Complete)).count();
    let taken = reported
        .iter()
        .filter(|c| matches!(c, Closed::Failed(e) if matches!(e.kind(), ErrorKind::BodyTaken)));
    assert_eq!((complete, taken.count()), (1, 1), "{reported:?}");
    assert_eq!(server.join(), [0, 1]);
}

#[test]
fn a_reader_that_panics_costs_its_connection() {
    let server = serve(|mut p| {
        p.begins();
        p.rest();
    });
    let reader = plays(vec![Step::Bytes(b"hello".to_vec()), Step::Panics]);
    let mut reactor = Reactor::new(Config::default()).unwrap();
    reactor.open(put(&server.url(), reader, None)).unwrap();
    let mut reported = Vec::new();
    let (until, mut panics) = (soon(), 0);
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "hangs");
        let turned = catch_unwind(AssertUnwindSafe(|| {
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| reported.push(keep(event));
            reactor.turn(Some(until), &mut sink).unwrap();
        }));
        panics += usize::from(turned.is_err());
    }
    assert_eq!(panics, 1);
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Panicked), "{reported:?}");
    server.join();
}

#[test]
fn a_method_without_a_body_has_none_to_read() {
    for method in ["GET", "HEAD", "TRACE"] {
        let options = StreamOptions::new(method, "http://127.0.0.1/").unwrap();
        let error = options.body_from(io::empty(), None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Request(_)), "{error}");
    }
}

/// The blocking face waits with poll. It sends the whole body and reads the response.
#[test]
fn a_blocking_stream_sends_a_body_from_a_reader() {
    for secure in [false, true] {
        let server = serve_either(secure, |mut p| {
            p.request();
            let body = chunks(&mut p).1;
            p.write(FINE.as_bytes());
            p.rest();
            body
        });
        let reader = Cursor::new(pattern(LARGE));
        let mut stream = put(&server.url(), reader, None).open_with(trusting()).unwrap();
        assert_eq!(stream.read().unwrap().as_deref(), Some(&b"fine"[..]));
        assert_eq!(stream.read().unwrap(), None);
        drop(stream);
        assert!(server.join() == pattern(LARGE));
    }
}
