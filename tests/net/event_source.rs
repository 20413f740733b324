//! Event sources with servers that end, break off, refuse and redirect (WHATWG HTML §9.2).

mod over;
mod reported;

use std::net::TcpListener;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use moonwire::proto::http::HttpError;
use moonwire::proto::sse::{self, SseError};
use moonwire::{Config, ErrorKind, EventSource, Incoming, Limits, Stage, StreamOptions};

use crate::common::*;

/// How a server ends a connection.
enum End {
    Close,
    Reset,
}

/// The heads of the requests that a server received, and its listener, which shows further
/// connections.
type Came = (Vec<String>, TcpListener);

/// Accepts `count` clients, one after the other. Reads the request of each and then runs `script`.
fn play(
    secure: bool,
    count: usize,
    script: impl Fn(usize, &mut Peer) -> End + Send + 'static,
) -> Scripted<Came> {
    listen(move |listener| {
        let config = server_config("good");
        let mut heads = Vec::new();
        for number in 0..count {
            let tcp = listener.accept().unwrap().0;
            let mut peer = if secure { Peer::tls(tcp, config.clone()) } else { Peer::plain(tcp) };
            peer.request();
            let end = script(number, &mut peer);
            heads.push(peer.head.clone());
            match end {
                End::Close => drop(peer),
                End::Reset => peer.reset(),
            }
        }
        (heads, listener)
    })
}

/// The heads of the requests, after the source has finished. Checks that no other client has
/// connected.
#[track_caller]
fn heads(server: Scripted<Came>) -> Vec<String> {
    let (heads, listener) = server.join();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "more than {} connections", heads.len());
    heads
}

/// A server that answers each client with the next text, and closes.
fn answers(all: &[&str]) -> Scripted<Came> {
    let all: Vec<String> = all.iter().map(|&text| text.to_owned()).collect();
    play(false, all.len(), move |number, peer| {
        peer.write(all[number].as_bytes());
        End::Close
    })
}

/// An event stream that ends with the connection.
fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{body}")
}

const STOP: &str = "HTTP/1.1 204 No Content\r\n\r\n";

fn at<R: Send + 'static>(server: &Scripted<R>) -> StreamOptions {
    StreamOptions::get(&format!("http://{}/events", server.address)).unwrap().timeout(LONG)
}

const SHORT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A source that reconnects at once.
fn eager(options: StreamOptions) -> EventSource {
    EventSource::new(options).reconnect(true).retry(SHORT).retry_floor(SHORT)
}

/// The next item within a time. Skips items about connections.
fn within(source: &mut EventSource, timeout: Duration) -> Result<Incoming, moonwire::Error> {
    loop {
        match source.next_timeout(timeout)? {
            Incoming::Opened | Incoming::Reconnecting { .. } => {}
            other => return Ok(other),
        }
    }
}

/// The next event as `id|data`, `None` at the end.
#[track_caller]
fn next(source: &mut EventSource) -> Option<String> {
    match within(source, LONG).unwrap() {
        Incoming::Event(event) => Some(format!("{}|{}", event.id, event.data)),
        Incoming::Closed => None,
        other => panic!("{other:?} instead of an event: {:?}", source.last_error()),
    }
}

fn all(source: &mut EventSource) -> Vec<String> {
    std::iter::from_fn(|| next(source)).collect()
}

#[track_caller]
fn fails(source: &mut EventSource) -> moonwire::Error {
    let error = within(source, LONG).unwrap_err();
    assert_eq!(source.next_timeout(LONG).unwrap(), Incoming::Closed, "an error is given once");
    assert_eq!(source.next_event().unwrap(), None);
    assert!(!source.is_open());
    error
}

fn last_ids(heads: &[String]) -> Vec<Option<&str>> {
    heads.iter().map(|head| field(head, "Last-Event-ID")).collect()
}

#[test]
fn without_reconnect_the_end_is_the_end() {
    let server = answers(&[&stream("id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n")]);
    let mut source = EventSource::new(at(&server));
    let first = source.next_event().unwrap().unwrap();
    let want =
        sse::Event { event: "message".into(), data: "a".into(), id: "1".into(), retry: None };
    assert_eq!(first, want);
    assert!(source.is_open());
    assert_eq!(source.next_event().unwrap().unwrap().data, "b");
    assert_eq!(next(&mut source), None, "what is not finished is thrown away");
    assert_eq!(source.next_event().unwrap(), None);
    assert_eq!(source.next_timeout(Duration::ZERO).unwrap(), Incoming::Closed);
    assert_eq!((source.last_event_id(), source.is_open()), ("1", false));
    heads(server);
}

#[test]
fn without_reconnect_an_error_is_given_once() {
    let cut = stream("id: 1\ndata: a\n\n").replace("\r\n\r\n", "\r\nContent-Length: 99\r\n\r\n");
    let server = answers(&[&cut]);
    let mut source = EventSource::new(at(&server));
    assert_eq!(next(&mut source).as_deref(), Some("1|a"), "what came before it is given");
    let error = fails(&mut source);
    assert!(matches!(error.kind(), ErrorKind::Http(HttpError::Truncated(Some(_)))), "{error}");
    assert_eq!((error.stage(), error.status()), (Stage::Body, Some(200)));
    assert_eq!(source.last_event_id(), "1");
    heads(server);

    let refused = StreamOptions::get("http://127.0.0.1:1/").unwrap();
    let error = fails(&mut EventSource::new(refused));
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error}");
}

#[test]
fn as_an_iterator_an_error_is_the_last_item() {
    let server = answers(&[&stream("data: a\n\ndata: b\n\n"), "HTTP/1.1 500 No\r\n\r\n"]);
    let items: Vec<_> = eager(at(&server)).collect();
    assert_eq!(items.len(), 3);
    assert!(items[..2].iter().all(Result::is_ok) && items[2].is_err(), "{items:?}");
    heads(server);
}

/// §9.2.6: an ID stays until another one replaces it, over connections, too. It counts from its
/// blank line on, with or without data.
#[test]
fn each_connection_goes_on_behind_the_last_event_id() {
    let server = answers(&[
        &stream("id: 1\ndata: a\n\ndata: b\n\n"),
        &stream("data: c\n\nid: ü 2\n\nid: 9\ndata: x\n"),
        &stream("data: d\n\nid: \0\ndata: e\n\nid: 3\ndata: f\n\nid\ndata: g\n\n"),
        &stream("data: h\n\nid: a\u{1}b\ndata: i\n\n"),
        &stream("data: j\n\nid: a\tb\ndata: k\n\n"),
        STOP,
    ]);
    let mut source = eager(at(&server));
    assert_eq!(
        all(&mut source),
        [
            "1|a",
            "1|b",
            "1|c",
            "ü 2|d",
            "ü 2|e",
            "3|f",
            "|g",
            "|h",
            "a\u{1}b|i",
            "a\u{1}b|j",
            "a\tb|k"
        ]
    );
    assert_eq!(source.last_event_id(), "a\tb");
    let heads = heads(server);
    // The source does not send an ID that was reset, nor one that a header field cannot carry. (The
    // test reads the head byte by byte: these are the two bytes of ü in UTF-8.)
    let ids = [None, Some("1"), Some("\u{C3}\u{BC} 2"), None, None, Some("a\tb")];
    assert_eq!(last_ids(&heads), ids);
    for head in heads {
        assert!(head.starts_with("GET /events HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "Accept"), Some("text/event-stream"));
        assert_eq!(field(&head, "Cache-Control"), Some("no-cache"));
        let count = head.to_ascii_lowercase().matches("\r\nlast-event-id:").count();
        assert!(count <= 1, "{head}");
    }
}

#[test]
fn a_stored_id_is_where_it_starts() {
    for (id, sent) in [
        ("42", Some("42")),
        ("", None),
        ("1\r\nX: y", None),
        ("1\n", None),
        ("\0", None),
        ("\u{7f}", None),
    ] {
        let server = answers(&[&stream("data: a\n\n")]);
        let options = at(&server).header("last-event-id", "0").unwrap();
        let mut source = EventSource::new(options).resume(id);
        assert_eq!(all(&mut source).len(), 1);
        let heads = heads(server);
        assert_eq!(last_ids(&heads), [sent], "{id:?}");
        assert!(!heads[0].contains("last-event-id") && !heads[0].contains("X: y"), "{}", heads[0]);
    }
}

#[test]
fn each_connection_sends_the_whole_request() {
    let server = play(false, 2, |number, peer| {
        assert_eq!(peer.read(5), b"hello");
        peer.write(if number == 0 { stream("data: a\n\n") } else { STOP.into() }.as_bytes());
        End::Close
    });
    let options = StreamOptions::new("POST", &format!("http://{}/ask", server.address)).unwrap();
    let options = options.header("accept", "*/*").unwrap().header("X", "y").unwrap();
    let options = options.body("hello").unwrap().timeout(LONG);
    assert_eq!(all(&mut eager(options)), ["|a"]);
    for head in heads(server) {
        assert!(head.starts_with("POST /ask HTTP/1.1\r\n"), "{head}");
        let fields = ["accept", "X", "Cache-Control", "Accept"].map(|name| field(&head, name));
        assert_eq!(fields, [Some("*/*"), Some("y"), Some("no-cache"), None]);
    }
}

#[test]
fn what_breaks_off_is_tried_again() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let server = play(false, 6, move |number, peer| {
        match number {
            // The server sends no response, or half of one.
            0 => End::Close,
            1 => End::Reset,
            2 => {
                peer.write(b"HTTP/1.1 200 OK\r\nContent-Ty");
                End::Close
            }
            3 => {
                peer.write(stream("id: 1\ndata: a\n\n").as_bytes());
                // A reset destroys bytes that the kernel has not delivered.
                wait.lock().unwrap().recv().unwrap();
                End::Reset
            }
            4 => {
                let start =
                    stream("").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
                peer.write(format!("{start}9\r\ndata: b\n\n\r\nwhat?").as_bytes());
                End::Close
            }
            _ => {
                peer.write(STOP.as_bytes());
                End::Close
            }
        }
    });
    let mut source = eager(at(&server));
    assert_eq!(next(&mut source).as_deref(), Some("1|a"));
    assert!(source.is_open() && source.last_error().is_none());
    go.send(()).unwrap();
    assert_eq!(next(&mut source).as_deref(), Some("1|b"));
    assert_eq!(next(&mut source), None);
    let error = source.last_error().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Http(HttpError::ChunkLine(_))), "{error}");
    assert_eq!(last_ids(&heads(server)), [None, None, None, None, Some("1"), Some("1")]);
}

#[test]
fn what_is_down_is_tried_again_and_says_why() {
    let refused = StreamOptions::get("http://127.0.0.1:1/").unwrap();
    let mut source = eager(refused);
    let until = soon();
    while source.last_error().is_none() {
        assert!(Instant::now() < until);
        assert_eq!(within(&mut source, SHORT).unwrap(), Incoming::Nothing);
    }
    let error = source.last_error().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error}");
    assert!(!source.is_open());
}

#[test]
fn any_other_answer_is_an_error_for_good() {
    let typed = "Content-Type: text/event-stream\r\n";
    let ok = "HTTP/1.1 200 OK\r\n";
    for (answer, status, what) in [
        (format!("HTTP/1.1 500 No\r\n{typed}\r\n"), Some(500), "status"),
        (format!("HTTP/1.1 404 Not Found\r\n{typed}\r\nid: 9\ndata: x\n\n"), Some(404), "status"),
        ("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n".into(), Some(404), "status"),
        (format!("HTTP/1.1 201 Created\r\n{typed}\r\n"), Some(201), "status"),
        (format!("HTTP/1.1 206 Partial\r\n{typed}\r\ndata: x\n\n"), Some(206), "status"),
        (format!("HTTP/1.1 302 Found\r\n{typed}\r\n"), Some(302), "status"),
        (format!("HTTP/1.1 503 Wait\r\nRetry-After: 1\r\n{typed}\r\n"), Some(503), "status"),
        (format!("{ok}Content-Type: text/html\r\n\r\n"), Some(200), "type"),
        (format!("{ok}Content-Type: text/event-streams\r\n\r\ndata: x\n\n"), Some(200), "type"),
        (format!("{ok}\r\ndata: x\n\n"), Some(200), "type"),
        (format!("{ok}{typed}{typed}\r\ndata: x\n\n"), Some(200), "type"),
        (format!("{ok}{typed}Content-Encoding: br\r\n\r\n"), Some(200), "http"),
        ("SSH-2.0-OpenSSH_9.9\r\n".into(), None, "http"),
        ("HTTP/1.1 301 Moved\r\nLocation: ftp://a/\r\n\r\n".into(), Some(301), "http"),
    ] {
        // An earlier successful connection makes no difference.
        let server = answers(&[&stream("id: 7\ndata: a\n\n"), &answer]);
        let mut source = eager(at(&server));
        assert_eq!(next(&mut source).as_deref(), Some("7|a"));
        let error = fails(&mut source);
        let found = match error.kind() {
            ErrorKind::Http(HttpError::Status(r)) if Some(r.status) == status => "status",
            ErrorKind::Http(HttpError::ContentType(_)) => "type",
            ErrorKind::Http(_) => "http",
            _ => "other",
        };
        assert_eq!((found, error.status()), (what, status), "{answer:?}: {error}");
        assert_eq!(error.stage(), Stage::Response, "{answer:?}");
        assert_eq!(source.last_event_id(), "7");
        heads(server);
    }
}

#[test]
fn types_are_compared_without_case_and_parameters() {
    for kind in ["Text/Event-Stream", "text/event-stream;charset=latin1", "text/event-stream ; x"] {
        let answer = stream("data: ü\n\n").replace("text/event-stream", kind);
        let server = answers(&[&answer]);
        assert_eq!(all(&mut EventSource::new(at(&server))), ["|ü"], "{kind}");
        heads(server);
    }
}

/// §9.2.1: status 204 ends the source.
#[test]
fn no_content_is_an_end_without_an_error() {
    for reconnect in [false, true] {
        let server = answers(&[STOP]);
        let mut source = eager(at(&server)).reconnect(reconnect);
        assert_eq!(source.next_event().unwrap(), None);
        assert_eq!(source.next_event().unwrap(), None);
        assert!(source.last_error().is_none());
        heads(server);
    }
}

#[test]
fn each_connection_starts_from_the_original_url() {
    let moved = |n| format!("HTTP/1.1 30{n} Moved\r\nLocation: /elsewhere\r\n\r\n");
    let server = answers(&[
        &moved(1),
        &stream("id: 5\ndata: a\n\n"),
        &moved(8),
        &stream("data: b\n\n"),
        STOP,
    ]);
    assert_eq!(all(&mut eager(at(&server))), ["5|a", "5|b"]);
    let heads = heads(server);
    let paths: Vec<_> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/events", "/elsewhere", "/events", "/elsewhere", "/events"]);
    // The request after a redirect has the ID, too.
    assert_eq!(last_ids(&heads), [None, None, Some("5"), Some("5"), Some("5")]);
}

#[test]
fn what_the_server_says_of_the_wait_counts_within_its_bounds() {
    let limits = |floor, ceiling| Limits {
        sse_retry_floor: floor,
        sse_retry_ceiling: ceiling,
        ..Limits::default()
    };
    for (body, limits, again) in [
        // Without the server's `retry`, the next connection would come in an hour.
        ("data: a\n\nretry: 1\n\n", limits(SHORT, HOUR), true),
        ("retry: 1\ndata: a\n\n", limits(SHORT, HOUR), true),
        ("data: a\n\nretry: 1\n", limits(SHORT, HOUR), true),
        ("data: a\n\nretry: 1", limits(SHORT, HOUR), false),
        ("data: a\n\nretry: 1s\n\n", limits(SHORT, HOUR), false),
        ("data: a\n\nretry: 99999999999999999999999\n\n", limits(SHORT, SHORT), true),
        ("data: a\n\nretry: 99999999999999999999999\n\n", limits(SHORT, HOUR), false),
        ("data: a\n\nretry: 0\n\n", limits(HOUR, HOUR), false),
        ("data: a\n\nretry: 0\n\n", limits(Duration::ZERO, HOUR), true),
    ] {
        let both = [&stream(body), STOP];
        let server = answers(&both[..if again { 2 } else { 1 }]);
        let mut source = EventSource::new(at(&server).limits(limits)).reconnect(true).retry(HOUR);
        assert_eq!(next(&mut source).as_deref(), Some("|a"));
        if again {
            assert_eq!(next(&mut source), None, "{body:?}");
        } else {
            let timeout = Duration::from_millis(30);
            assert_eq!(within(&mut source, timeout).unwrap(), Incoming::Nothing, "{body:?}");
            assert!(source.last_error().is_none());
        }
        heads(server);
    }
}

/// The wait doubles after each failure. 25 failures would make it 2²⁴ ms, longer than the test's
/// limit.
#[test]
fn a_stream_that_was_open_is_no_failure() {
    let server = play(false, 26, |number, peer| {
        peer.write(if number < 25 { stream("data: a\n\n") } else { STOP.into() }.as_bytes());
        End::Close
    });
    let limits = Limits { sse_backoff: HOUR, sse_retry: HOUR, ..Limits::default() };
    assert_eq!(all(&mut eager(at(&server).limits(limits))).len(), 25);
    heads(server);
}

#[test]
fn limits_come_from_the_configuration_too() {
    let server = answers(&[&stream("data: a\n\n"), &stream("data: 012345678901\n\n")]);
    let limits =
        Limits { sse_retry: SHORT, sse_retry_floor: SHORT, sse_line: 15, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let mut source = EventSource::new(at(&server)).reconnect(true).config(config);
    assert_eq!(next(&mut source).as_deref(), Some("|a"));
    let error = fails(&mut source);
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::Http(HttpError::EventStream(SseError::LongLine))), "{error}");
    assert_eq!(error.limit(), Some(("sse_line", 15)));
    assert_eq!(error.status(), Some(200));
    heads(server);
}

#[test]
fn a_silence_beyond_the_idle_limit_breaks_a_stream_off() {
    for reconnect in [false, true] {
        let server = play(false, if reconnect { 2 } else { 1 }, |number, peer| {
            let first = number == 0;
            peer.write(if first { stream("data: a\n\n") } else { STOP.into() }.as_bytes());
            if first {
                peer.rest();
            }
            End::Close
        });
        let idle = Duration::from_millis(50);
        let mut source = eager(at(&server)).reconnect(reconnect).idle(Some(idle));
        assert_eq!(next(&mut source).as_deref(), Some("|a"));
        if reconnect {
            assert_eq!(next(&mut source), None);
            let error = source.last_error().unwrap();
            assert!(matches!(error.kind(), ErrorKind::Idle(limit) if *limit == idle), "{error}");
        } else {
            let error = fails(&mut source);
            assert!(matches!(error.kind(), ErrorKind::Idle(_)), "{error}");
        }
        heads(server);
    }
}

#[test]
fn a_timeout_ends_a_call_and_nothing_else() {
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let server = play(false, 1, move |_, peer| {
        let wait = wait.lock().unwrap();
        wait.recv().unwrap();
        peer.write(stream("data: a").as_bytes());
        wait.recv().unwrap();
        peer.write(b"b\n\ndata: c\n\n");
        End::Close
    });
    let mut source = EventSource::new(at(&server)).reconnect(true).retry(HOUR);
    // The calls end while the source connects, and while it waits for the response.
    for timeout in [0, 0, 0, 1, 20] {
        let got = source.next_timeout(Duration::from_millis(timeout)).unwrap();
        assert_eq!((got, source.is_open()), (Incoming::Nothing, false));
    }
    go.send(()).unwrap();
    // The server sends the head and half an event. A call with a timeout of zero still makes
    // progress.
    let until = soon();
    while !source.is_open() {
        assert!(Instant::now() < until);
        assert_eq!(within(&mut source, Duration::ZERO).unwrap(), Incoming::Nothing);
    }
    go.send(()).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        assert!(Instant::now() < until);
        match source.next_timeout(Duration::ZERO).unwrap() {
            Incoming::Event(event) => seen.push(event.data),
            other => assert_eq!(other, Incoming::Nothing),
        }
    }
    assert_eq!(seen, ["ab", "c"]);
    // The calls end while the source waits to reconnect.
    while source.is_open() {
        assert_eq!(within(&mut source, Duration::from_millis(20)).unwrap(), Incoming::Nothing);
    }
    assert_eq!(source.next_timeout(Duration::ZERO).unwrap(), Incoming::Nothing);
    heads(server);
}

#[test]
fn what_a_connection_brought_is_given_though_it_has_ended() {
    let many: String = (0..5000).map(|n| format!("id: {n}\ndata: {n}\n\n")).collect();
    let server = answers(&[&stream(&many), &stream("data: end\n\n"), STOP]);
    let limits = Limits { turn: 1000, high_water: 3000, low_water: 1000, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let mut source = eager(at(&server)).config(config);
    let until = soon();
    for n in 0..5000 {
        assert!(Instant::now() < until);
        assert_eq!(next(&mut source), Some(format!("{n}|{n}")));
        assert_eq!(source.last_event_id(), n.to_string(), "not further than what was given");
    }
    assert_eq!(all(&mut source), ["4999|end"]);
    assert_eq!(last_ids(&heads(server)), [None, Some("4999"), Some("4999")]);
}

#[test]
fn dropping_a_source_closes_its_connection() {
    for secure in [false, true] {
        let server = play(secure, 1, |_, peer| {
            peer.write(stream("data: a\n\n").as_bytes());
            // This fails if the connection stays open.
            peer.rest();
            End::Close
        });
        let url = format!("http{}://{}/", if secure { "s" } else { "" }, server.address);
        let options = StreamOptions::get(&url).unwrap().timeout(LONG);
        let mut source = eager(options).config(trusting());
        assert_eq!(next(&mut source).as_deref(), Some("|a"));
        drop(source);
        heads(server);
    }
}

#[test]
fn an_answer_that_is_an_error_leaves_no_connection_open() {
    let server = play(false, 1, |_, peer| {
        peer.write(b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\n");
        peer.rest();
        End::Close
    });
    let mut source = eager(at(&server));
    assert_eq!(fails(&mut source).status(), Some(500));
    heads(server);
}

#[test]
fn over_tls() {
    let server = play(true, 3, |number, peer| {
        let answer = match number {
            0 => stream("id: 1\ndata: a\n\n"),
            1 => stream("data: b\n\n"),
            _ => STOP.into(),
        };
        peer.write(answer.as_bytes());
        End::Close
    });
    let options = StreamOptions::get(&format!("https://{}/", server.address)).unwrap();
    let mut source = eager(options.timeout(LONG)).config(trusting());
    // The server sends no close_notify, so each body is cut (RFC 9112 §9.8).
    assert_eq!(all(&mut source), ["1|a", "1|b"]);
    assert_eq!(last_ids(&heads(server)), [None, Some("1"), Some("1")]);
}

#[test]
fn a_certificate_that_is_not_trusted_is_an_error_for_good() {
    let server = serve_tls("unknown-root", |mut peer| assert!(!peer.begins()));
    let options = StreamOptions::get(&server.url().replacen("wss", "https", 1)).unwrap();
    let mut source = eager(options.timeout(LONG)).config(trusting());
    let error = fails(&mut source);
    assert!(matches!(error.kind(), ErrorKind::Certificate(..)), "{error}");
    server.join();
}
