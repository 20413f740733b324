//! Coded bodies over real sockets: when each face reports them, and how much one turn reports.
#![cfg(feature = "deflate")]

use std::sync::mpsc::channel;

use moonwire::proto::http::{CodingError, Delivery, HttpError};
use moonwire::{
    Closed, Config, Conn, ErrorKind, Event, EventSource, Limits, Reactor, StreamOptions,
};

use crate::common::*;
use crate::web::*;

/// Three events that Python's zlib has flushed one by one (Z_SYNC_FLUSH), and the end.
const FLUSHED: [&[u8]; 4] = [
    b"\x1F\x8B\x08\0\0\0\0\0\x02\x03\x4A\x49\x2C\x49\xB4\x52\x48\x2D\x4B\xCD\x2B\x51\x30\x54\xC8\x4F\
      \x53\x28\x06\xB2\x8B\x12\x73\xB8\xB8\0\0\0\0\xFF\xFF",
    b"\x4A\x41\x92\x31\x42\x91\x01\0\0\0\xFF\xFF",
    b"\x42\x96\x31\x46\x91\x01\0\0\0\xFF\xFF",
    b"\x03\0\x70\xC2\xED\x95\x4E\0\0\0",
];

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";

fn chunk(part: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()
}

fn event(i: usize) -> String {
    format!("event {i} of several")
}

/// Codes a body with gzip, by the encoder of this crate.
fn gzip(body: &[u8]) -> Vec<u8> {
    let server = serve(|mut p| {
        let head = p.request().to_owned();
        assert_eq!(field(&head, "Content-Encoding"), Some("gzip"), "{head}");
        let coded = p.read(length(&head));
        p.write(FINE.as_bytes());
        coded
    });
    let reported = events(ask("POST", &server.url()).body_gzip(body).unwrap(), Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    server.join()
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

/// The server sends a chunk only after the client has reported the one before it. So the test would
/// hang if an event came late.
#[test]
fn each_flushed_chunk_is_reported_before_the_next_is_sent() {
    for secure in [false, true] {
        for delivery in [Delivery::Raw, Delivery::Events, Delivery::Blocks] {
            let (go, wait) = channel();
            let server = serve_either(secure, move |mut p| {
                let head = p.request().to_owned();
                let raw = delivery == Delivery::Raw;
                let want = if raw { "gzip, deflate" } else { "identity" };
                assert_eq!(field(&head, "Accept-Encoding"), Some(want));
                p.write(HEAD.as_bytes());
                for part in FLUSHED {
                    p.write(&chunk(part));
                    wait.recv_timeout(LONG).unwrap();
                }
                p.write(b"0\r\n\r\n");
            });
            let options = get(&server.url()).delivery(delivery).decode(delivery == Delivery::Raw);
            let mut stream = options.open_with(trusting()).unwrap();
            assert!(stream.response().decoded);
            for i in 1..=3 {
                let want = event(i);
                match delivery {
                    Delivery::Events => assert_eq!(stream.event().unwrap().unwrap().data, want),
                    _ => {
                        let piece = stream.read().unwrap().unwrap();
                        assert_eq!(piece, format!("data: {want}\n\n").into_bytes());
                    }
                }
                go.send(()).unwrap();
            }
            go.send(()).unwrap();
            assert_eq!(stream.read().unwrap(), None);
            server.join();
        }
    }
}

#[test]
fn an_event_source_reads_what_a_proxy_has_compressed() {
    let server = serve(|mut p| {
        p.request();
        p.write(HEAD.as_bytes());
        FLUSHED.iter().for_each(|part| p.write(&chunk(part)));
        p.rest()
    });
    let mut source = EventSource::new(get(&server.url()));
    for i in 1..=3 {
        assert_eq!(source.next_event().unwrap().unwrap().data, event(i));
    }
    drop(source);
    server.join();
}

/// FAULTS 56: 8 MiB arrive as a few KiB. The decoded size bounds the events of one turn, not the
/// number of received bytes.
#[test]
fn what_becomes_much_is_reported_in_turns() {
    let len = 8 << 20;
    let coded = gzip(&vec![b'a'; len]);
    assert!(coded.len() < 20_000);
    let server = serve(move |mut p| {
        p.request();
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n";
        p.write(format!("{head}Content-Length: {}\r\n\r\n", coded.len()).as_bytes());
        p.write(&coded);
        p.rest();
    });
    let limits = Limits::default();
    let mut reactor = Reactor::new(Config::default()).unwrap();
    reactor.open(get(&server.url()).decode(true)).unwrap();
    let (mut sum, mut done, until) = (0, false, soon());
    while !reactor.is_empty() {
        assert!(std::time::Instant::now() < until, "{sum} bytes");
        let mut turn = 0;
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| match event {
            Event::Chunk(data) => {
                assert!(data.len() <= limits.decoded_piece && data.iter().all(|&b| b == b'a'));
                turn += data.len();
            }
            Event::Closed(closed) => done = matches!(closed, Closed::Complete),
            _ => {}
        };
        reactor.turn(Some(until), &mut sink).unwrap();
        assert!(turn <= limits.turn + limits.decoded_piece, "{turn} bytes in one turn");
        sum += turn;
    }
    assert_eq!((sum, done), (len, true));
    server.join();
}

#[test]
fn a_blocking_stream_takes_a_piece_at_a_time() {
    let body = pattern(300_000);
    let coded = gzip(&body);
    let server = serve(move |mut p| {
        p.request();
        let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n";
        p.write(format!("{head}Content-Length: {}\r\n\r\n", coded.len()).as_bytes());
        coded.chunks(1000).for_each(|part| p.write(part));
        p.rest();
    });
    let mut stream = get(&server.url()).decode(true).open().unwrap();
    let mut got = Vec::new();
    while let Some(piece) = stream.read().unwrap() {
        got.extend(piece);
    }
    assert!(got == body);
    server.join();
}

/// The error of a request that fails, and whether the error is transient.
fn fails(options: StreamOptions, limits: Limits) -> (HttpError, bool) {
    let reported = events(options.limits(limits), Config::default());
    let (error, _) = failure(&reported);
    match error.kind() {
        ErrorKind::Http(e) => (e.clone(), error.is_transient()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_with_a_coded_body_is_the_error_of_its_stream() {
    let coded = gzip(&vec![0; 1 << 20]);
    let small = Limits { decoded_free: 1000, ..Limits::default() };
    for (limits, cut, codings, want) in [
        (small, 0, "gzip", CodingError::Ratio(200)),
        (Limits::default(), 1, "gzip", CodingError::Truncated),
        (Limits::default(), 0, "deflate", CodingError::Data),
        (Limits::default(), 0, "br", CodingError::Unknown("br".into())),
        (Limits::default(), 0, "gzip, gzip", CodingError::Unknown("gzip, gzip".into())),
    ] {
        let part = coded[..coded.len() - cut].to_vec();
        let server = serve(move |mut p| {
            p.request();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {codings}\r\n");
            let length = format!("Content-Length: {}\r\n\r\n", part.len());
            p.write(format!("{head}{length}").as_bytes());
            let _ = p.try_write(&part);
        });
        let got = fails(get(&server.url()).decode(true), limits);
        // After a cut or broken body another attempt may succeed. A body that is too large would be
        // so again, and so would an unknown coding.
        let may_pass = matches!(want, CodingError::Truncated | CodingError::Data);
        assert_eq!(got, (HttpError::Coding(want), may_pass));
        server.join();
    }
}

/// RFC 9110 §15.4: if a redirect keeps the body, it stays coded. If a redirect drops the body, it
/// drops its fields, too.
#[test]
fn a_compressed_body_follows_a_redirect_or_stays_behind() {
    let listener = std::net::TcpListener::bind(loopback()).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    for (status, again) in [(307, true), (303, false)] {
        let options = ask("POST", &url).body_gzip("hello, hello, hello").unwrap().decode(true);
        let thread = std::thread::spawn(move || events(options, Config::default()));
        let requests: Vec<String> = [found(status, "/y"), FINE.to_owned()]
            .into_iter()
            .map(|answer| {
                let mut peer = Peer::plain(listener.accept().unwrap().0);
                let head = peer.request().to_owned();
                peer.read(length(&head));
                peer.write(answer.as_bytes());
                head
            })
            .collect();
        assert!(is_complete(&thread.join().unwrap()));
        assert_eq!(field(&requests[0], "Content-Encoding"), Some("gzip"));
        assert_eq!(field(&requests[1], "Content-Encoding").is_some(), again);
        assert_eq!(field(&requests[1], "Accept-Encoding"), Some("gzip, deflate"));
    }
}
