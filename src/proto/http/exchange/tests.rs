//! All cases of a response, whole and in pieces, on virtual time.

mod body;
#[cfg(feature = "deflate")]
mod coded;
mod kept;

use std::time::Duration;

use super::*;
use crate::proto::Random;
use crate::proto::token::escape;
use crate::proto::url::Url;

struct Zero;

impl Random for Zero {
    fn key(&mut self) -> [u8; 4] {
        [0; 4]
    }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// How the peer's stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The stream does not end.
    Open,
    /// The peer ends it (end of file, or `close_notify`).
    Eof,
    /// Somebody else may have ended it.
    Cut,
}
use End::{Cut, Eof, Open};

/// An exchange, its input, and a clock that only the test moves.
struct Sim {
    exchange: Exchange,
    now: Instant,
    /// Input that was not taken.
    input: Vec<u8>,
    events: Vec<String>,
}

impl Sim {
    fn new(method: &str, delivery: Delivery, limits: Limits, timing: Timing) -> Sim {
        let url = Url::parse_http("http://a.example/x").unwrap();
        let request = Request::new(method, url).unwrap();
        let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
        Sim::of(Exchange::new(request, delivery, &settings, timing))
    }

    fn of(exchange: Exchange) -> Sim {
        Sim { exchange, now: Instant::now(), input: Vec::new(), events: Vec::new() }
    }

    fn get(delivery: Delivery) -> Sim {
        Sim::new("GET", delivery, Limits::default(), Timing::default())
    }

    fn timed(timing: impl FnOnce(Instant) -> Timing) -> Sim {
        let mut sim = Sim::get(Delivery::Raw);
        sim.exchange.timing = timing(sim.now);
        sim.exchange.deadline = sim.exchange.timing.head_by;
        sim
    }

    fn has_ended(&self) -> bool {
        matches!(self.exchange.state, State::Ended)
    }

    /// Feeds bytes, as the law demands, and records the events as text.
    fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let input = mem::take(&mut self.input);
        let mut at = 0;
        loop {
            let mut cx = Context { now: self.now, random: &mut Zero };
            let (used, event) = self.exchange.receive(&mut cx, &input[at..]);
            at += used;
            match event {
                Some(event) => self.report(&event),
                None => break,
            }
        }
        self.input = input[at..].to_vec();
    }

    fn end(&mut self, end: End) {
        while end != Open
            && let Some(event) = self.exchange.receive_eof(end == Cut)
        {
            self.report(&event);
        }
    }

    /// The connection is ready, and the kernel takes the request at once.
    fn connected(&mut self) {
        self.exchange.wait_from(self.now);
        self.exchange.sent(self.now, usize::MAX, 0);
    }

    fn late(&mut self) {
        if let Some(event) = self.exchange.on_deadline(self.now) {
            self.report(&event);
        }
    }

    fn report(&mut self, event: &Event<'_>) {
        let last = self.events.last().map(String::as_str).unwrap_or_default();
        assert!(!last.starts_with('='), "{event:?} after {last}");
        self.events.push(match event {
            Event::Response(r) => format!("{} {}", r.status, r.reason),
            Event::Chunk(data) => format!("<{}>", escape(data, usize::MAX)),
            Event::ServerSent(e) => format!("({} {} {})", e.event, e.data, e.id),
            Event::Closed(Closed::Complete) => "= complete".into(),
            Event::Closed(Closed::Redirected(to)) => format!("= {}", to.request.url().as_str()),
            Event::Closed(Closed::Failed(Failure::Http(e))) => format!("= {}", unquoted(e)),
            other => panic!("{other:?}"),
        });
        if let Event::Closed(_) = event {
            assert_eq!((self.exchange.deadline(), self.exchange.buffered()), (None, 0));
        }
    }

    fn text(&self) -> String {
        self.events.join(" ")
    }
}

/// An error without the peer's bytes, whose number depends on how many had come.
fn unquoted(e: &HttpError) -> String {
    let text = match e {
        HttpError::Status(r) => return format!("Status {} <{}>", r.line(), escape(&r.body, 99)),
        HttpError::ContentType(r) => {
            return format!("ContentType {} <{}>", r.line(), escape(&r.body, 99));
        }
        other => format!("{other:?}"),
    };
    match text.split_once('"') {
        None => text,
        Some((name, _)) => format!("{name}_{}", ")".repeat(name.matches('(').count())),
    }
}

fn run(method: &str, delivery: Delivery, bytes: &[u8], step: usize, end: End) -> String {
    let mut sim = Sim::new(method, delivery, Limits::default(), Timing::default());
    bytes.chunks(step).for_each(|part| sim.feed(part));
    let over = sim.has_ended();
    sim.end(end);
    if over || end != Open {
        // There is exactly one final event, and nothing after it, whatever happens later.
        assert!(sim.has_ended() && sim.text().matches('=').count() == 1, "{}", sim.text());
        let before = sim.events.len();
        sim.feed(b"HTTP/1.1 200 OK\r\n\r\nx");
        assert!(sim.input.is_empty(), "all is taken");
        sim.end(Eof);
        sim.end(Cut);
        sim.now += seconds(1_000_000);
        sim.late();
        assert_eq!(sim.events.len(), before, "{}", sim.text());
    }
    sim.text()
}

/// The result does not depend on cuts or on trailing bytes.
fn check(method: &str, delivery: Delivery, bytes: &[u8], end: End) -> String {
    // The cuts between pieces do not change a body.
    let joined = |text: String| text.replace("> <", "");
    let whole = run(method, delivery, bytes, bytes.len().max(1), end);
    let want = joined(whole.clone());
    for step in [1, 2, 7] {
        let got = joined(run(method, delivery, bytes, step, end));
        assert_eq!(got, want, "{step} at a time: {}", escape(bytes, 200));
    }
    if run(method, delivery, bytes, bytes.len().max(1), Open).contains('=') {
        let longer = [bytes, b"5\r\nHTTP/1.1 500 No\r\n\r\n"].concat();
        for step in [1, longer.len()] {
            assert_eq!(joined(run(method, delivery, &longer, step, end)), want, "trailing");
        }
    }
    whole
}

fn raw(bytes: &str, end: End) -> String {
    check("GET", Delivery::Raw, bytes.as_bytes(), end)
}

#[test]
fn heads() {
    for (bytes, want) in [
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200  = complete"),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200  = complete"),
        ("HTTP/1.1 200 \u{e4}\r\nContent-Length: 0\r\n\r\n", "200 \\xc3\\xa4 = complete"),
        ("HTTP/1.0 200 OK\r\nA:\r\nContent-Length: 0\r\n\r\n", "200 OK = complete"),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nhi", "200 OK <hi> = complete"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\nhi", "= ContentLength(_)"),
        ("HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\nhi", "= Head(Field(_))"),
        ("HTTP/1.1 200OK\r\n\r\n", "= Head(StatusLine(_))"),
        ("HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n", "999 No = complete"),
        ("HTTP/1.1 099 OK\r\n\r\n", "= Head(StatusLine(_))"),
        ("http/1.1 200 OK\r\n\r\n", "= Head(NotHttp(_))"),
        ("HTTP/2.0 200 OK\r\n\r\n", "= Head(NotHttp(_))"),
        ("ICY 200 OK\r\n\r\n", "= Head(NotHttp(_))"),
        ("RTSP/1.0 200 OK\r\n\r\n", "= Head(NotHttp(_))"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "= Head(NotHttp(_))"),
        ("HTTP/1.1 200 OK\n\n", "= Head(LineEnd)"),
        ("HTTP/1.1 200 OK\r\nA: b\n\r\n", "= Head(LineEnd)"),
        // FAULTS 38.
        ("HTTP/1.1 200 OK\r\nA: b\r\n\rX", "= Head(LineEnd)"),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "= Head(Field(_))"),
        ("HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n", "= Head(Control(0))"),
        ("HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", "= Upgrade"),
    ] {
        assert_eq!(raw(bytes, Open), want, "{bytes:?}");
    }
    let long = format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(10_000));
    assert!(raw(&long, Open).starts_with("200 xxx"));
    assert!(raw(&long, Open).ends_with("… = complete"));
}

#[test]
fn a_head_may_be_cut_anywhere() {
    let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi";
    for cut in 0..=bytes.len() {
        let mut sim = Sim::get(Delivery::Raw);
        sim.feed(&bytes[..cut]);
        sim.feed(&bytes[cut..]);
        assert_eq!(sim.text().replace("> <", ""), "200 OK <hi> = complete", "{cut}");
    }
}

#[test]
fn bodies() {
    for (method, bytes, end, want) in [
        ("GET", "200 OK\r\nContent-Length: 0\r\n\r\n", Open, "200 OK = complete"),
        ("GET", "200 OK\r\nContent-Length: 5\r\n\r\nhello", Open, "200 OK <hello> = complete"),
        ("GET", "304 Old\r\nContent-Length: 5\r\n\r\n", Open, "304 Old = complete"),
        ("GET", "204 No\r\nTransfer-Encoding: chunked\r\n\r\n", Open, "204 No = complete"),
        ("GET", "204 No\r\nContent-Length: 5\r\n\r\n", Open, "204 No = complete"),
        ("HEAD", "200 OK\r\nContent-Length: 5\r\n\r\n", Open, "200 OK = complete"),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Open, "200 OK = complete"),
        ("HEAD", "404 No\r\n\r\n", Open, "404 No = complete"),
        ("GET", "200 OK\r\n\r\n", Eof, "200 OK = complete"),
        ("GET", "200 OK\r\n\r\nhello", Eof, "200 OK <hello> = complete"),
        ("GET", "200 OK\r\n\r\nhello", Open, "200 OK <hello>"),
        // FAULTS 61.
        ("GET", "200 OK\r\n\r\nhello", Cut, "200 OK <hello> = Truncated(None)"),
        ("GET", "200 OK\r\n\r\n", Cut, "200 OK = Truncated(None)"),
        (
            "GET",
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
            Open,
            "200 OK <hello> <!> = complete",
        ),
        // FAULTS 37, 41.
        (
            "GET",
            "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            Open,
            "= BothLengths",
        ),
        ("GET", "200 OK\r\nContent-Length: +5\r\n\r\nhello", Open, "= ContentLength(_)"),
        ("GET", "200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Open, "= TransferEncoding(_)"),
        ("GET", "200 OK\r\nContent-Encoding: gzip\r\n\r\n", Open, "= ContentEncoding(_)"),
    ] {
        let bytes = format!("HTTP/1.1 {bytes}");
        assert_eq!(check(method, Delivery::Raw, bytes.as_bytes(), end), want, "{bytes:?}");
    }
}

#[test]
fn interim_responses_are_skipped_up_to_the_limit() {
    // FAULTS 31.
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(raw(&format!("{early}{last}"), Open), "200 OK <hi> = complete");
    let many = "HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(raw(&format!("{}{last}", many.repeat(16)), Open), "200 OK <hi> = complete");
    assert_eq!(raw(&format!("{}{last}", many.repeat(17)), Open), "= ManyInterim");
    assert_eq!(raw(&format!("{many}HTTP/1.1 101 Go\r\n\r\n"), Open), "= Upgrade");
    assert_eq!(raw(many, Eof), "= Eof");
    for (n, want) in [(2, "200 OK = complete"), (3, "= ManyInterim")] {
        let limits = Limits { interim: 2, ..Limits::default() };
        let mut sim = Sim::new("GET", Delivery::Raw, limits, Timing::default());
        sim.feed(many.repeat(n).as_bytes());
        sim.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(sim.text(), want, "{n}");
    }
}

#[cfg(feature = "net")]
#[test]
fn the_status_is_that_of_the_final_response() {
    for (bytes, want) in [
        ("HTTP/1.1 200 O", None),
        ("HTTP/1.1 200 OK\r\nA", Some(200)),
        ("HTTP/1.1 200 OK\r\nA\0", Some(200)),
        ("HTTP/1.1 200 OK\r\n\r\nx", Some(200)),
        ("HTTP/1.1 103 Early\r\n\r\n", None),
        ("HTTP/1.1 103 Early\r\n\r\nnonsense", None),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 No\r\nnonsense\r\n", Some(404)),
        ("nonsense", None),
    ] {
        for step in [1, 1000] {
            let mut sim = Sim::get(Delivery::Raw);
            bytes.as_bytes().chunks(step).for_each(|part| sim.feed(part));
            assert_eq!(sim.exchange.status(), want, "{bytes:?}");
            sim.end(Cut);
            assert_eq!(sim.exchange.status(), want, "{bytes:?} and the end");
        }
    }
}

#[test]
fn the_end_of_the_stream_in_each_state() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (bytes, want) in [
        (String::new(), "= Eof"),
        ("HTTP/1.1 2".into(), "= Eof"),
        ("HTTP/1.1 200 OK\r\nContent-Le".into(), "= Eof"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r".into(), "= Eof"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into(), "200 OK = Truncated(Some(5))"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell".into(),
            "200 OK <hell> = Truncated(Some(1))",
        ),
        (chunked.into(), "200 OK = Truncated(None)"),
        (format!("{chunked}5"), "200 OK = Truncated(None)"),
        (format!("{chunked}5\r"), "200 OK = Truncated(None)"),
        (format!("{chunked}5\r\nhel"), "200 OK <hel> = Truncated(None)"),
        (format!("{chunked}5\r\nhello"), "200 OK <hello> = Truncated(None)"),
        (format!("{chunked}5\r\nhello\r"), "200 OK <hello> = Truncated(None)"),
        (format!("{chunked}5\r\nhello\r\n"), "200 OK <hello> = Truncated(None)"),
        (format!("{chunked}0\r\n"), "200 OK = Truncated(None)"),
        (format!("{chunked}0\r\nX: 1\r\n"), "200 OK = Truncated(None)"),
        (format!("{chunked}0\r\nX: 1\r\n\r"), "200 OK = Truncated(None)"),
    ] {
        for end in [Eof, Cut] {
            assert_eq!(raw(&bytes, end), want, "{bytes:?}");
        }
    }
}

#[test]
fn chunked_bodies() {
    for (body, want) in [
        ("5 ;a=b\r\nhello\r\n0\r\n\r\n", "<hello> = complete"),
        // Trailers are parsed, bounded and discarded: none becomes a field or frames the body.
        (
            "1\r\na\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nSet-Cookie: y\r\n\r\n",
            "<a> = complete",
        ),
        ("1\r\na\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n", "<a> = Trailer(Field(_))"),
        ("0x5\r\nhello", "= ChunkLine(_)"),
        ("5 \r\nhello", "= ChunkLine(_)"),
        ("+5\r\nhello", "= ChunkLine(_)"),
        ("5;\r\nhello", "= ChunkLine(_)"),
        ("5;a=\"\r\nhello", "= ChunkLine(_)"),
        ("5\nhello", "= ChunkLine(_)"),
        // FAULTS 34.
        ("5\r\nhelloXX0\r\n\r\n", "<hello> = ChunkEnd"),
        // FAULTS 35.
        ("FFFFFFFFFFFFFFFF\r\n", "= ChunkSize"),
        ("00000000000000005\r\n", "= ChunkLine(_)"),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "<hello> = complete"),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(raw(&bytes, Open), format!("200 OK {want}"), "{body:?}");
    }
}

#[test]
fn each_chunk_is_a_piece_and_a_chunk_that_reads_cut_is_several() {
    let mut sim = Sim::get(Delivery::Raw);
    sim.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n4\r\ncd");
    assert_eq!(sim.text(), "200 OK <a> <b> <cd>");
    sim.feed(b"e");
    sim.feed(b"f\r\n1\r\ng\r\n");
    assert_eq!(sim.text(), "200 OK <a> <b> <cd> <e> <f> <g>");
}

#[test]
fn content_types_of_event_streams() {
    for (fields, fine) in [
        ("Content-Type: text/event-stream\r\n", true),
        ("content-type: TEXT/Event-Stream\r\n", true),
        ("Content-Type: text/event-stream; charset=utf-8\r\n", true),
        ("Content-Type: text/event-stream\t;x\r\n", true),
        ("Content-Type:\r\n text/event-stream\r\n", true),
        ("", false),
        ("Content-Type:\r\n", false),
        ("Content-Type: text/event-streamx\r\n", false),
        ("Content-Type: text/event\r\n", false),
        ("Content-Type: application/json, text/event-stream\r\n", false),
        ("Content-Type: text/event-stream, text/html\r\n", false),
        ("Content-Type: text/event-stream\r\nContent-Type: text/event-stream\r\n", false),
        ("Content-Type: text/html\r\nContent-Type: text/event-stream\r\n", false),
    ] {
        for delivery in [Delivery::Events, Delivery::Blocks, Delivery::EventBytes] {
            for status in [200, 404, 503] {
                let bytes = format!("HTTP/1.1 {status} X\r\n{fields}\r\ndata: y\n\n");
                let got = check("GET", delivery, bytes.as_bytes(), Eof);
                let want = match (fine, delivery) {
                    (true, Delivery::Blocks) => format!("{status} X <data: y\\n\\n> = complete"),
                    (true, Delivery::Events) if status == 200 => {
                        "200 X (message y ) = complete".to_owned()
                    }
                    (true, _) if status == 200 => "200 X <data: y\\n\\n> = complete".to_owned(),
                    // WHATWG HTML §9.2.3: the status is checked before the type.
                    (false, _) if status == 200 => "= ContentType 200 X <data: y\\n\\n>".to_owned(),
                    _ => format!("= Status {status} X <data: y\\n\\n>"),
                };
                assert_eq!(got, want, "{bytes:?}");
            }
        }
    }
    // A delivery that is no event stream accepts any type.
    assert_eq!(raw("HTTP/1.1 200 OK\r\n\r\nx", Eof), "200 OK <x> = complete");
}

/// With wrong framing, the response may belong to another request; a status that is an error says
/// more.
#[test]
fn wrong_framing_counts_more_than_the_type_and_less_than_the_status() {
    for (status, want) in
        [(200, "= ContentLength(_)"), (204, "= Status 204 X <>"), (500, "= Status 500 X <>")]
    {
        let bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: x\r\n\r\n");
        assert_eq!(check("GET", Delivery::Events, bytes.as_bytes(), Open), want);
    }
}

#[test]
fn event_streams() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    let body = "id: 1\ndata: a\n\nevent: e\r\ndata: b\r\n\r\n:c\n\ndata: unfinished";
    let until_eof = format!("{head}\r\n{body}");
    let n = body.len();
    let (at, half) = (20, &body[20..]);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{at:x}\r\n{}\r\n{:x}\r\n{half}\r\n0\r\n\r\n",
        &body[..at],
        half.len(),
    );
    let length = format!("{head}Content-Length: {n}\r\n\r\n{body}");
    for bytes in [&until_eof, &chunked, &length] {
        assert_eq!(
            check("GET", Delivery::Events, bytes.as_bytes(), Eof),
            "200 OK (message a 1) (e b 1) = complete",
        );
        // An unfinished block is reported before the end.
        assert_eq!(
            check("GET", Delivery::Blocks, bytes.as_bytes(), Eof),
            "200 OK <id: 1\\ndata: a\\n\\n> <event: e\\ndata: b\\n\\n> <:c\\n\\n> \
             <data: unfinished> = complete",
        );
    }
    // If the body breaks off, its last block is not complete: how it ends is unknown.
    for (bytes, end) in [
        (&until_eof[..], Cut),
        (&chunked[..chunked.len() - 5], Eof),
        (&length[..length.len() - 3], Eof),
    ] {
        let got = check("GET", Delivery::Blocks, bytes.as_bytes(), end);
        assert!(got.contains("<:c\\n\\n> = Truncated("), "{got}");
    }
    // A line or an event that is too long, behind one that is not.
    let limits = Limits { sse_line: 20, sse_block: 20, ..Limits::default() };
    for delivery in [Delivery::Events, Delivery::Blocks] {
        let mut sim = Sim::new("GET", delivery, limits.clone(), Timing::default());
        sim.feed(format!("{head}\r\ndata: a\n\ndata: {}", "x".repeat(100)).as_bytes());
        assert!(sim.text().contains("a"), "{}", sim.text());
        assert!(sim.text().contains("= EventStream(Long"), "{}", sim.text());
    }
}

#[test]
fn redirects_end_the_exchange() {
    let to = |fields: &str| raw(&format!("HTTP/1.1 302 Found\r\n{fields}\r\n"), Open);
    assert_eq!(to("Location: y?z\r\n"), "= http://a.example/y?z");
    assert_eq!(to("Location: y\r\nTransfer-Encoding: nonsense\r\n"), "= http://a.example/y");
    assert_eq!(to("Location: y\r\nLocation: z\r\n"), "= Locations");
    for bad in ["ws://a/", "http://u:p@a/", "//", "http://a b/", "http://a:0/", "file:///x"] {
        let got = to(&format!("Location: {bad}\r\n"));
        assert!(got.starts_with("= Location("), "{bad}: {got}");
    }
    // FAULTS 43: encoded characters stay encoded.
    let got = to("Location: /%0d%0aX-Injected:%20y\r\n");
    assert_eq!(got, "= http://a.example/%0d%0aX-Injected:%20y");
    assert_eq!(to("Content-Length: 0\r\n"), "302 Found = complete", "an answer like any other");
}

#[test]
fn the_limits_of_time() {
    let at = |sim: &Sim, n| Some(sim.now + seconds(n));
    // By default, no time limit counts.
    let mut sim = Sim::get(Delivery::Raw);
    sim.connected();
    sim.feed(b"HTTP/1.1 200 OK\r\n\r\nx");
    assert_eq!(sim.exchange.deadline(), None);

    // Until the connection is ready, the total counts; then the earlier deadline.
    for (total, want) in [(10, 10), (100, 60)] {
        let mut sim = Sim::timed(|now| Timing {
            head_by: Some(now + seconds(total)),
            response: Some(seconds(60)),
            idle: None,
        });
        assert_eq!(sim.exchange.deadline(), at(&sim, total));
        sim.connected();
        assert_eq!(sim.exchange.deadline(), at(&sim, want));
        // FAULTS 57: neither bytes nor interim responses move the deadline.
        let end = sim.exchange.deadline();
        sim.now += seconds(want - 1);
        sim.feed(b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\nA");
        assert_eq!(sim.exchange.deadline(), end);
        sim.late();
        assert!(sim.events.is_empty());
        sim.now += seconds(1);
        sim.late();
        assert_eq!(sim.text(), "= Timeout");
    }

    // After the head, neither of them counts.
    let mut sim = Sim::timed(|now| Timing {
        head_by: Some(now + seconds(10)),
        response: Some(seconds(60)),
        idle: None,
    });
    sim.connected();
    sim.feed(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(sim.exchange.deadline(), None);
    sim.now += seconds(1000);
    sim.late();
    assert_eq!(sim.text(), "200 OK");

    // The silence counts from the head, and from each byte of data. Framing does not count: a
    // server could send chunk lines or trailers for hours (FAULTS 57).
    let mut sim = Sim::timed(|_| Timing { idle: Some(seconds(5)), ..Timing::default() });
    sim.connected();
    assert_eq!(sim.exchange.deadline(), None);
    sim.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    sim.now += seconds(4);
    for (bytes, left) in
        [("4;a=b", 1), ("\r\n", 1), ("a", 5), ("b", 5), ("cd", 5), ("\r\n1\r\n", 1), ("x", 5)]
    {
        bytes.bytes().for_each(|byte| sim.feed(&[byte]));
        assert_eq!(sim.exchange.deadline(), at(&sim, left), "{bytes:?}");
        sim.now += seconds(left - 1);
        sim.late();
    }
    for byte in b"\r\n0;a=b\r\nTrailer: x\r\n" {
        sim.feed(&[*byte]);
    }
    assert_eq!(sim.exchange.deadline(), at(&sim, 1));
    sim.now += seconds(1);
    sim.late();
    assert_eq!(sim.text(), "200 OK <a> <b> <c> <d> <x> = Idle");

    // While reading is paused, the server's silence does not count; then the limit restarts.
    let mut sim = Sim::timed(|_| Timing { idle: Some(seconds(5)), ..Timing::default() });
    sim.feed(b"HTTP/1.1 200 OK\r\n\r\nx");
    sim.now += seconds(1000);
    sim.connected();
    assert_eq!(sim.exchange.deadline(), at(&sim, 5));
}

/// A POST whose bytes the kernel takes as the test decides, with the program's limits or the
/// defaults.
fn upload(limits: Limits, timing: impl FnOnce(Instant) -> Timing) -> Sim {
    let mut request = Request::new("POST", Url::parse_http("http://a.example/x").unwrap()).unwrap();
    request.body(vec![7; 10_000]).unwrap();
    let now = Instant::now();
    let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
    let exchange = Exchange::new(request, Delivery::Raw, &settings, timing(now));
    Sim { exchange, now, input: Vec::new(), events: Vec::new() }
}

impl Sim {
    /// The connection is ready, but the kernel has no room.
    fn refused(&mut self) {
        self.exchange.wait_from(self.now);
        self.exchange.sent(self.now, 0, 0);
    }

    /// The kernel takes `n` bytes, `later` seconds later.
    fn takes(&mut self, later: u64, n: usize) {
        self.now += seconds(later);
        self.late();
        self.exchange.sent(self.now, n, n);
    }

    /// How many seconds are left until the deadline.
    fn left(&self) -> Option<u64> {
        self.exchange.deadline().map(|at| at.saturating_duration_since(self.now).as_secs())
    }

    fn rest(&self) -> usize {
        self.exchange.buffered()
    }
}

#[test]
fn the_time_of_the_response_starts_with_the_last_byte_of_the_request() {
    let timing = |now: Instant| Timing {
        head_by: Some(now + seconds(1000)),
        response: Some(seconds(20)),
        idle: None,
    };
    let limits = || Limits { stall: seconds(60), ..Limits::default() };
    let mut sim = upload(limits(), timing);
    assert_eq!(sim.left(), Some(1000), "while it is being connected");
    sim.refused();
    for _ in 0..10 {
        assert_eq!(sim.left(), Some(60), "the next byte has its own");
        sim.takes(50, 1000);
    }
    let rest = sim.rest();
    sim.takes(50, rest - 1);
    assert_eq!(sim.left(), Some(60));
    sim.takes(50, 1);
    assert_eq!(sim.left(), Some(20));
    // A call of which no byte is the request's starts nothing again.
    sim.exchange.sent(sim.now + seconds(5), 0, 0);
    assert_eq!(sim.left(), Some(20));
    sim.now += seconds(20) - Duration::from_nanos(1);
    sim.late();
    assert_eq!(sim.text(), "");
    sim.now += Duration::from_nanos(1);
    sim.late();
    assert_eq!((sim.text().as_str(), sim.exchange.unsent()), ("= Timeout", 0));

    // The kernel still has to send 2,000 bytes; it took the others in 10 s.
    let mut sim = upload(limits(), timing);
    sim.exchange.wait_from(sim.now);
    sim.exchange.sent(sim.now, 2000, 2000);
    sim.takes(5, sim.rest() - 2000);
    sim.takes(5, 2000);
    let taken = sim.exchange.pace.left() - 2000;
    assert_eq!(sim.left(), Some(20 + 10 * 2000 / taken), "{taken}");

    // Over TLS, the kernel takes bytes before they count as sent; none of them is the last.
    let mut sim = upload(limits(), timing);
    sim.refused();
    sim.now += seconds(50);
    sim.exchange.sent(sim.now, 0, 5000);
    assert_eq!(sim.left(), Some(60));
}

#[test]
fn an_upload_puts_off_what_is_not_the_limit_of_the_program() {
    // A limit that the program sets covers everything.
    let mut sim = upload(Limits::default(), |now| Timing {
        head_by: Some(now + seconds(70)),
        ..Timing::default()
    });
    sim.refused();
    assert_eq!(sim.left(), Some(60), "nothing has left yet");
    sim.takes(50, 1000);
    assert_eq!(sim.left(), Some(20));
    sim.takes(19, sim.rest());
    assert_eq!(sim.left(), Some(1));
    sim.now += seconds(1);
    sim.late();
    assert_eq!(sim.text(), "= Timeout");

    // The total over all redirects counts only the time spent waiting.
    let mut sim = upload(Limits::default(), |now| Timing {
        head_by: Some(now + seconds(70)),
        response: Some(seconds(60)),
        idle: None,
    });
    // Connecting took 30 s, and uploading 100 s.
    sim.now += seconds(30);
    let total = sim.exchange.timing.head_by.unwrap();
    sim.refused();
    sim.takes(50, 1000);
    sim.takes(50, sim.rest());
    assert_eq!(sim.exchange.timing.head_by, Some(total + seconds(100)));
    assert_eq!(sim.left(), Some(40), "70 less the 30");
    // Later calls do not postpone it again.
    sim.exchange.sent(sim.now + seconds(10), 0, 0);
    assert_eq!(sim.left(), Some(40));
    sim.now += seconds(40);
    sim.late();
    assert_eq!(sim.text(), "= Timeout");
}

#[test]
fn an_upload_of_which_no_byte_leaves_is_stalled() {
    let make = || {
        let limits = Limits { stall: seconds(10), ..Limits::default() };
        let response = Some(seconds(1));
        upload(limits, |_| Timing { response, ..Timing::default() })
    };
    let mut sim = make();
    sim.refused();
    sim.takes(9, 1);
    assert_eq!(sim.left(), Some(10));
    // A call without progress does not show that the peer is alive.
    sim.takes(9, 0);
    assert_eq!(sim.left(), Some(1));
    let rest = sim.rest();
    sim.now += seconds(1);
    sim.late();
    assert_eq!((sim.text().as_str(), sim.exchange.unsent()), ("= Stalled", rest));

    // Interim responses are no progress of the request either.
    let mut sim = make();
    sim.refused();
    sim.now += seconds(9);
    sim.feed(b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(sim.left(), Some(1));
    sim.now += seconds(1);
    sim.late();
    assert_eq!(sim.text(), "= Stalled");

    // A server that has answered need not read the rest of the request.
    let mut sim = make();
    sim.refused();
    sim.now += seconds(9);
    sim.feed(b"HTTP/1.1 413 Big\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(sim.left(), None);
    sim.takes(9, 5);
    sim.takes(9, 0);
    assert_eq!(sim.left(), None);
    sim.now += seconds(1000);
    sim.late();
    assert_eq!(sim.text(), "413 Big");
    assert!(sim.exchange.unsent() > 0);
    sim.feed(b"too large");
    assert_eq!(sim.text(), "413 Big <too large> = complete");
    assert_eq!(sim.exchange.unsent(), 0, "it was not wanted");
}

#[test]
fn a_server_that_reads_on_behind_its_head_is_not_idle() {
    let idle = Some(seconds(5));
    let mut sim = upload(Limits::default(), |_| Timing { idle, ..Timing::default() });
    sim.refused();
    sim.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(sim.left(), Some(5));
    for _ in 0..10 {
        sim.takes(4, 100);
        assert_eq!(sim.left(), Some(5));
    }
    // Bytes that the kernel refuses, or takes at once, show nothing about the peer.
    sim.takes(4, 0);
    assert_eq!(sim.left(), Some(1));
    let (rest, now) = (sim.rest(), sim.now);
    sim.takes(0, rest);
    assert_eq!(sim.left(), Some(5), "it has made room meanwhile");
    sim.now = now + seconds(5);
    sim.late();
    assert_eq!(sim.text(), "200 OK = Idle");

    let mut sim = upload(Limits::default(), |_| Timing { idle, ..Timing::default() });
    sim.exchange.wait_from(sim.now);
    sim.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    sim.takes(4, 5000);
    sim.takes(0, sim.rest());
    assert_eq!(sim.left(), Some(1), "the kernel had room");
}

#[test]
fn what_is_endless_ends_at_its_limit() {
    let limits = Limits {
        line: 1000,
        head: 4000,
        fields: 100,
        chunk_line: 200,
        chunk_overhead: 500,
        ..Limits::default()
    };
    let chunked =
        |start: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{start}");
    let head = |start: &str| format!("HTTP/1.1 200 {start}");
    let (field, extension) = ("A".repeat(60), "a".repeat(40));
    // How an endless response ends, and after how many bytes at most. FAULTS 29, 31, 33, 39, 40.
    for (start, endless, want, most) in [
        (head(""), "x", "= Head(LongLine)", 1001),
        (head("\r\nA: "), "x", "= Head(LongLine)", 1018),
        (head("\r\n"), &*format!("{field}: \r\n"), "= Head(LongHead)", 4001),
        (head("\r\n"), "A: 1\r\n", "= Head(ManyFields)", 700),
        (head("\r\nA: 1\r\n"), " \r\n", "= Head(ManyFields)", 700),
        (String::new(), "HTTP/1.1 100 Continue\r\n\r\n", "= ManyInterim", 500),
        (chunked(""), "0", "= LongChunkLine", 300),
        (chunked("1;"), "x", "= LongChunkLine", 300),
        (chunked(""), &*format!("1;{extension}\r\nx\r\n"), "= ChunkOverhead", 1500),
        (chunked("0\r\n"), "A: 1\r\n", "= Trailer(ManyFields)", 700),
        (chunked("0\r\nA: "), "x", "= Trailer(LongLine)", 1100),
    ] {
        for step in [1, 100] {
            let mut sim = Sim::new("GET", Delivery::Raw, limits.clone(), Timing::default());
            sim.feed(start.as_bytes());
            let (mut fed, mut kept) = (start.len(), 0);
            let mut bytes = endless.bytes().cycle();
            while !sim.has_ended() {
                assert!(fed < most + step, "{start:?} {endless:?}: {fed}");
                sim.feed(&bytes.by_ref().take(step).collect::<Vec<_>>());
                fed += step;
                kept = kept.max(sim.input.len());
            }
            assert!(sim.text().ends_with(want), "{endless:?}: {}", sim.text());
            assert!(kept <= limits.line + 2, "{endless:?}: {kept} bytes are kept");
        }
    }
}

#[test]
fn a_long_body_costs_a_step_for_each_byte() {
    // Byte by byte, and in one piece of which each call takes one chunk: quadratic work would take
    // minutes.
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend(b"1\r\nx\r\n".repeat(200_000));
    for step in [1, bytes.len()] {
        let mut sim = Sim::get(Delivery::Raw);
        bytes.chunks(step).for_each(|part| sim.feed(part));
        assert_eq!(sim.events.len(), 200_001);
    }
}

#[test]
fn the_request_goes_out_as_it_is_taken_and_ends_with_the_exchange() {
    let url = Url::parse_http("http://a.example/x").unwrap();
    let mut request = Request::new("POST", url).unwrap();
    request.body(&b"0123456789"[..]).unwrap();
    let make = || {
        let settings = Settings::default();
        Exchange::new(request.clone(), Delivery::Raw, &settings, Timing::default())
    };
    let (mut exchange, mut sent) = (make(), Vec::new());
    while !exchange.outgoing().is_empty() {
        sent.push(exchange.outgoing()[0]);
        exchange.sent(Instant::now(), 1, 1);
    }
    let text = String::from_utf8(sent).unwrap();
    assert!(text.ends_with("\r\n\r\n0123456789"), "{text}");
    assert!(text.contains("Content-Length: 10\r\n"), "{text}");
    // If the response comes before the whole request was sent, the rest is not sent.
    let (mut exchange, now) = (make(), Instant::now());
    let mut cx = Context { now, random: &mut Zero };
    let (_, head) = exchange.receive(&mut cx, b"HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(head, Some(Event::Response(_))));
    assert!(exchange.buffered() > 10, "a server may answer and read on");
    let (_, end) = exchange.receive(&mut cx, b"");
    assert!(matches!(end, Some(Event::Closed(Closed::Complete))));
    assert_eq!((exchange.buffered(), exchange.outgoing()), (0, &b""[..]));
}

/// After a pause, too: what waits then is the program's own next piece.
#[test]
fn a_request_is_stalled_only_while_bytes_of_it_wait() {
    let limits = || Limits { stall: seconds(60), ..Limits::default() };
    let mut sim = upload(limits(), |_| Timing::default());
    assert_eq!(sim.left(), None, "while it is being connected");
    sim.exchange.wait_from(sim.now);
    assert_eq!(sim.left(), Some(60), "the kernel need not take a byte for that");

    let url = Url::parse_http("http://a.example/x").unwrap();
    let mut request = Request::new("POST", url).unwrap();
    request.body_to_come(None).unwrap();
    let settings = Settings { limits: Arc::new(limits()), ..Settings::default() };
    let exchange = Exchange::new(request, Delivery::Raw, &settings, Timing::default());
    let mut sim = Sim::of(exchange);
    sim.connected();
    assert_eq!((sim.rest(), sim.left()), (0, None));
    sim.exchange.wait_from(sim.now);
    assert_eq!(sim.left(), None, "the exchange waits for the program");
}

/// While reading is paused, a response that does not come proves nothing.
#[test]
fn after_a_pause_the_time_of_the_response_starts_again() {
    let response = Some(seconds(20));
    let mut sim = upload(Limits::default(), |_| Timing { response, ..Timing::default() });
    sim.connected();
    sim.now += seconds(15);
    assert_eq!(sim.left(), Some(5));
    sim.exchange.wait_from(sim.now);
    assert_eq!(sim.left(), Some(20));
}

#[cfg(feature = "net")]
#[test]
fn a_plain_body_is_not_decoded() {
    let mut sim = Sim::get(Delivery::Raw);
    assert!(!sim.exchange.is_decoding());
    sim.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
    assert!(!sim.exchange.is_decoding());
}
