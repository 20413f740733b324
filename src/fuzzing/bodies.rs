//! HTTP responses: chunked bodies, whole exchanges, redirects.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::{Driver, OwnedEvent, in_all_cuts};
use super::heads::request_head;
use super::input::{Cut, Input, feed};
use super::texts;
use crate::limits::Limits;
use crate::proto::http::chunked::Chunked;
use crate::proto::http::chunked::Piece;
use crate::proto::http::request::Payload;
use crate::proto::http::{Delivery, HttpError, Redirect, Request, Response, Timing};
use crate::proto::{Closed, Failure, Host, Scheme, Session, Settings, Url, is_token};

/// How a chunked body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Whole(usize),
    Broken(HttpError),
}

/// A byte of choices, then a chunked body: for any cut, the data is what a second parser of RFC
/// 9112 §7.1 finds, and the bytes that are no data are bounded.
pub fn chunked(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let limits = Limits {
        chunk_line: [4096, 20, 100, 0][usize::from(choice & 3)],
        chunk_overhead: [16 * 1024, 0, 10, 100][usize::from(choice >> 2 & 3)],
        line: 100,
        head: 300,
        fields: 4,
        ..Default::default()
    };
    let bytes = input.0;
    let (body, end) = read_chunked(bytes, Cut::Whole, &limits);
    for cut in [Cut::Bytewise, Cut::Random] {
        assert_eq!(read_chunked(bytes, cut, &limits), (body.clone(), end.clone()), "{cut:?}");
    }
    let second = Second::read(bytes);
    match &end {
        Some(End::Whole(used)) => {
            assert_eq!((&second.body, second.last), (&body, true), "{bytes:x?}");
            let framing = used - body.len();
            // The last chunk, its trailers and the CR LF behind each chunk have other bounds.
            let fair = limits.chunk_overhead + 18 * (second.chunks + 1) + 2 * body.len();
            assert!(framing <= fair + limits.head + 8, "{framing} bytes of framing");
            let cut = read_chunked(&bytes[..*used], Cut::Whole, &limits);
            assert_eq!(cut, (body, end.clone()), "what is behind the end counts");
        }
        Some(End::Broken(HttpError::ChunkLine(_) | HttpError::ChunkEnd)) => {
            assert!(second.broken || second.is_hopeless(bytes), "{end:?} for {bytes:x?}");
            assert_eq!(body, second.body);
        }
        // Limits and trailers, which the second parser does not know.
        Some(End::Broken(e)) => {
            assert!(second.body.starts_with(&body), "{e} for {bytes:x?}");
            assert!(!matches!(e, HttpError::Trailer(_)) || second.last, "{bytes:x?}");
        }
        None => {
            assert!(!second.broken, "{bytes:x?}");
            assert_eq!(body, second.body);
        }
    }
}

fn read_chunked(bytes: &[u8], cut: Cut, limits: &Limits) -> (Vec<u8>, Option<End>) {
    let (mut chunked, mut body) = (Chunked::new(), Vec::new());
    let (used, end) = feed(bytes, cut, |input| {
        let mut at = 0;
        loop {
            match chunked.step(&input[at..], limits) {
                Ok((skipped, piece)) => {
                    at += skipped;
                    match piece {
                        Piece::More => {
                            let kept = input.len() - at;
                            assert!(kept <= limits.chunk_line.max(limits.line) + 1, "{kept} kept");
                            return (at, Continue(()));
                        }
                        Piece::Data(n) => {
                            assert!(n > 0 && at + n <= input.len());
                            body.extend_from_slice(&input[at..at + n]);
                            chunked.take(n);
                            at += n;
                        }
                        Piece::End => return (at, Break(None)),
                    }
                }
                Err(e) => {
                    let shown = e.to_string();
                    assert!(!shown.chars().any(char::is_control), "{shown:?}");
                    return (at, Break(Some(e)));
                }
            }
        }
    });
    (body, end.map(|error| error.map_or(End::Whole(used), End::Broken)))
}

/// A second parser of RFC 9112 §7.1, line by line and without limits.
#[derive(Debug, Default)]
struct Second {
    body: Vec<u8>,
    chunks: usize,
    /// The last chunk was read.
    last: bool,
    broken: bool,
    /// Where the bytes begin that could not be parsed.
    at: usize,
}

impl Second {
    fn read(bytes: &[u8]) -> Second {
        let mut second = Second::default();
        loop {
            let rest = &bytes[second.at..];
            let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else { return second };
            let Some(size) = chunk_size(&rest[..end]) else {
                second.broken = true;
                return second;
            };
            let start = second.at + end + 2;
            if size == 0 {
                second.last = true;
                return second;
            }
            second.chunks += 1;
            let there = (bytes.len() - start) as u64;
            second.body.extend_from_slice(&bytes[start..start + there.min(size) as usize]);
            second.at = start + there.min(size) as usize;
            match &bytes[second.at..] {
                _ if there < size => return second,
                [] | [b'\r'] => return second,
                [b'\r', b'\n', ..] => second.at += 2,
                _ => {
                    second.broken = true;
                    return second;
                }
            }
        }
    }

    /// Whether the incomplete line cannot become a valid one.
    fn is_hopeless(&self, bytes: &[u8]) -> bool {
        let line = &bytes[self.at..];
        let ends: [&[u8]; 8] =
            [b"\r\n", b"\n", b"0\r\n", b";a\r\n", b"a\r\n", b"=a\r\n", b"\"\r\n", b"a\"\r\n"];
        // A LF ends a line only behind a CR.
        let ends = ends.iter().filter(|end| **end != b"\n" || line.ends_with(b"\r"));
        ends.into_iter().all(|end| Second::read(&[line, end].concat()).broken)
    }
}

/// The size in a chunk line, if the line is valid.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let text: String = line.iter().map(|&b| char::from(b)).collect();
    let digits = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    let (size, mut rest) = text.split_at(digits);
    if size.len() > 16 || text.chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
        return None;
    }
    let size = u64::from_str_radix(size, 16).ok().filter(|&size| size < 1 << 63)?;
    let blank = [' ', '\t'];
    // *( BWS ";" BWS name [ BWS "=" BWS value ] )
    while !rest.is_empty() {
        rest = rest.trim_start_matches(blank).strip_prefix(';')?.trim_start_matches(blank);
        rest = behind_token(rest)?;
        if let Some(value) = rest.trim_start_matches(blank).strip_prefix('=') {
            let value = value.trim_start_matches(blank);
            rest = match value.strip_prefix('"') {
                Some(quoted) => behind_quote(quoted)?,
                None => behind_token(value)?,
            };
        }
    }
    Some(size)
}

fn behind_token(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii() || !is_token(&[c as u8])).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

fn behind_quote(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

/// Three bytes of choices, then a server's response, and how it ends: for any cut the events are
/// the same, in the order `Response? (Chunk | ServerSent)* Closed`, and a body that is reported as
/// complete is complete. The events of an event stream are those that a second parser makes of the
/// raw body. A connection that may be used again has carried this response and nothing else.
pub fn stream(data: &[u8]) {
    let mut input = Input(data);
    let (how, sizes, method) = (input.byte(), input.byte(), input.byte());
    let delivery = [Delivery::Raw, Delivery::Events, Delivery::Blocks, Delivery::EventBytes];
    let exchange = Trial {
        delivery: delivery[usize::from(how & 3)],
        end: how >> 2 & 3,
        method: ["GET", "HEAD", "POST", "DELETE"][usize::from(method & 3)],
        keeps: method & 16 != 0,
        limits: Arc::new(Limits {
            line: 300,
            head: 2000,
            fields: 30,
            interim: 2,
            chunk_line: 100,
            chunk_overhead: [1000, 0, 30, 200][usize::from(sizes & 3)],
            sse_line: [1000, 0, 10, 50][usize::from(sizes >> 2 & 3)],
            sse_block: [2000, 0, 15, 90][usize::from(sizes >> 4 & 3)],
            refusal: 20,
            ..Default::default()
        }),
        timing: Timing {
            head_by: None,
            response: (method & 4 != 0).then_some(Duration::from_secs(5)),
            idle: (method & 8 != 0).then_some(Duration::from_secs(7)),
        },
        now: Instant::now(),
    };
    let bytes = input.0;
    let mut driver = in_all_cuts(bytes, |cut| exchange.run(bytes, cut, exchange.delivery));
    exchange.judge(&driver);
    exchange.leaves(&driver, bytes);
    if exchange.delivery.is_event_stream() {
        let raw = exchange.run(bytes, Cut::Whole, Delivery::Raw);
        exchange.compare(&driver, &raw);
    }
    driver.poke();
}

struct Trial {
    delivery: Delivery,
    /// No more bytes come; the stream ends; it is cut; time passes.
    end: u8,
    method: &'static str,
    /// The request asks the server to keep the connection.
    keeps: bool,
    limits: Arc<Limits>,
    timing: Timing,
    now: Instant,
}

impl Trial {
    fn run(&self, bytes: &[u8], cut: Cut, delivery: Delivery) -> Driver {
        let trace = cut == Cut::Bytewise;
        let settings = Settings { limits: Arc::clone(&self.limits), trace, ..Default::default() };
        let url = Url::parse_http("https://server.example/x?y").expect("a URL");
        let mut request = Request::new(self.method, url).expect("a method");
        // The body of an event stream is decoded in any case, and compared with the raw one.
        #[cfg(feature = "deflate")]
        request.decode(self.delivery.is_event_stream());
        request.keep_alive = self.keeps;
        let body: &[u8] = if self.method == "POST" { b"{}" } else { b"" };
        if !body.is_empty() {
            request.body(body).expect("POST has one");
        }
        let session = Session::stream(request, delivery, &settings, self.timing);
        let kept = self.limits.line.max(self.limits.chunk_line) + 1;
        let mut driver = Driver::of_stream(session, self.now, cut, kept);
        if self.delivery.is_event_stream() {
            driver = driver.decoding();
        }
        if matches!(delivery, Delivery::Events | Delivery::Blocks) {
            driver = driver.pieces_apart();
        }
        driver.session.connected(self.now);
        driver.take(usize::MAX);
        let head = driver.wire.strip_suffix(body).expect("the body comes last");
        request_head(head, self.method, "/x?y", "server.example");
        driver.feed(bytes);
        match self.end {
            0 => {}
            1 => driver.eof(false),
            2 => driver.eof(true),
            _ => driver.advance(Duration::from_secs(100)),
        }
        driver
    }

    fn judge(&self, driver: &Driver) {
        let response = driver.events.iter().find_map(|event| match event {
            OwnedEvent::Response(response) => Some(response),
            _ => None,
        });
        if let Some(response) = response.filter(|response| self.has_body(response)) {
            let has = |name| response.headers.all(name).next().is_some();
            assert!(!has("content-length") || !has("transfer-encoding"), "framed twice");
        }
        match driver.events.last() {
            Some(OwnedEvent::Closed(Closed::Complete)) => {
                self.complete(response.expect("a head comes first"), body_of(driver).len());
            }
            Some(OwnedEvent::Closed(Closed::Failed(Failure::Http(e)))) => {
                let shown = e.to_string();
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
                let timeout = matches!(e, HttpError::Timeout | HttpError::Idle);
                assert!(!timeout || self.end == 3);
                if let HttpError::Status(refused) | HttpError::ContentType(refused) = e {
                    assert!(response.is_none() && self.delivery.is_event_stream());
                    assert!(refused.body.len() <= self.limits.refusal);
                }
            }
            Some(OwnedEvent::Closed(Closed::Redirected(_))) => assert!(response.is_none()),
            Some(OwnedEvent::Closed(other)) => panic!("no stream ends like that: {other:?}"),
            Some(_) | None => {
                assert!(matches!(self.end, 0 | 3), "the stream ended, and nobody said so");
                let refusal =
                    Some(self.limits.refusal_time).filter(|_| driver.session.is_refused());
                let limit = match response {
                    Some(_) => self.timing.idle,
                    None => refusal.or(self.timing.response),
                };
                assert!(self.end == 0 || limit.is_none(), "time passed, and nobody said so");
                assert_eq!(driver.session.deadline(), limit.map(|limit| self.now + limit));
            }
        }
    }

    /// A connection that may be used again has carried exactly one response, however it was cut.
    fn leaves(&self, driver: &Driver, bytes: &[u8]) {
        let persistence = |bytes: &[u8], cut| {
            let driver = self.run(bytes, cut, self.delivery);
            driver.session.exchange().expect("a stream").persistence()
        };
        let left = driver.session.exchange().expect("a stream").persistence();
        assert_eq!(left, persistence(bytes, Cut::Bytewise), "it depends on the cut");
        if left.is_none() {
            return;
        }
        let whole = matches!(driver.events.last(), Some(OwnedEvent::Closed(Closed::Complete)));
        assert!(self.keeps && whole && matches!(self.end, 0 | 3));
        for cut in [Cut::Whole, Cut::Bytewise] {
            assert_eq!(persistence(&[bytes, b"H"].concat(), cut), None, "a byte more");
            if let Some((_, less)) = bytes.split_last() {
                assert_eq!(persistence(less, cut), None, "a byte less");
            }
        }
    }

    fn has_body(&self, response: &Response) -> bool {
        self.method != "HEAD" && !matches!(response.status, 204 | 304)
    }

    /// The body of a complete response is as long as its head declares.
    fn complete(&self, response: &Response, body: usize) {
        let all = |name: &str| response.headers.all(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        if !self.has_body(response) {
            assert_eq!(body, 0);
            return;
        }
        if let (Some(length), Delivery::Raw) = (lengths.first(), self.delivery) {
            let text = String::from_utf8_lossy(length).into_owned();
            let first = text.split(',').next().unwrap_or_default().trim();
            assert_eq!(first.parse(), Ok(body), "{text:?}");
        }
        if lengths.is_empty() && codings.is_empty() {
            assert_eq!(self.end, 1, "without a length only the end of the stream ends the body");
        }
    }

    /// The events are those of the raw body.
    fn compare(&self, driver: &Driver, raw: &Driver) {
        let body = body_of(raw);
        if let Some(OwnedEvent::Closed(Closed::Failed(Failure::Http(
            HttpError::Status(refused) | HttpError::ContentType(refused),
        )))) = driver.events.last()
        {
            match raw.events.first() {
                Some(OwnedEvent::Response(head)) => {
                    assert_eq!((refused.status, &refused.headers), (head.status, &head.headers));
                    assert_eq!(refused.body, body[..body.len().min(self.limits.refusal)]);
                }
                // The framing of the body is invalid.
                _ => assert!(refused.body.is_empty()),
            }
            return;
        }
        let Some(OwnedEvent::Response(_)) = driver.events.first() else { return };
        assert_eq!(driver.events.first(), raw.events.first());
        if self.delivery == Delivery::EventBytes {
            assert_eq!(driver.events, raw.events);
            return;
        }
        let limited = matches!(
            driver.events.last(),
            Some(OwnedEvent::Closed(Closed::Failed(Failure::Http(HttpError::EventStream(_)))))
        );
        let ended = matches!(raw.events.last(), Some(OwnedEvent::Closed(Closed::Complete)));
        let want: Vec<OwnedEvent> = match self.delivery {
            Delivery::Blocks => {
                let (blocks, rest) = super::events::blocks(&body);
                blocks.into_iter().chain(rest.filter(|_| ended)).map(OwnedEvent::Body).collect()
            }
            _ => super::events::events(&body).into_iter().map(OwnedEvent::ServerSent).collect(),
        };
        let got: Vec<OwnedEvent> = driver.events[1..].to_vec();
        let got =
            got.into_iter().filter(|t| !matches!(t, OwnedEvent::Closed(_))).collect::<Vec<_>>();
        assert!(want.starts_with(&got), "{got:?} for {want:?}");
        if !limited {
            assert_eq!(got.len(), want.len(), "{got:?} for {want:?}");
            assert_eq!(driver.events.last().filter(is_end), raw.events.last().filter(is_end));
        }
    }
}

fn body_of(driver: &Driver) -> Vec<u8> {
    let pieces = driver.events.iter().filter_map(|event| match event {
        OwnedEvent::Body(piece) => Some(&piece[..]),
        _ => None,
    });
    pieces.collect::<Vec<_>>().concat()
}

fn is_end(event: &&OwnedEvent) -> bool {
    matches!(event, OwnedEvent::Closed(_))
}

/// A byte of choices, then a line for each hop: a byte that chooses the status, and a `Location`.
/// Each request is well-formed, is what the redirect demands, and has secrets only while the origin
/// stays the same. https never becomes http.
pub fn redirect(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let starts = [
        "http://a.example/b/c?d",
        "https://a.example/",
        "http://a.example:8080/x/",
        "http://[::1]/",
    ];
    let start = Url::parse_http(starts[usize::from(choice & 3)]).expect("a URL");
    let method = ["GET", "POST", "HEAD", "PUT"][usize::from(choice >> 2 & 3)];
    let mut request = Request::new(method, start.clone()).expect("a method");
    request.header("authorization", "s3cret").expect("fine");
    request.header("Cookie", "s3cret").expect("fine");
    request.secret_header("X-Key", "s3cret").expect("fine");
    request.header("X-Open", "open").expect("fine").header("Content-Type", "x/y").expect("fine");
    if matches!(method, "POST" | "PUT") {
        request.body(&b"the body"[..]).expect("a body");
    }
    let limits = Limits { redirects: 4, ..Default::default() };
    let settings =
        Settings { limits: Arc::new(limits), trace: choice & 16 != 0, ..Default::default() };
    let (mut before, mut kept) = (start.clone(), true);
    for hops in 0.. {
        let url = request.url().clone();
        // Origins are compared as they are written, so some equal ones count as different.
        kept &= before.is_same_origin(&url);
        assert!(!kept || is_origin(&start, &url), "{url} is another origin");
        before = url;
        asks(&request, kept);
        if input.is_empty() {
            break;
        }
        let status = input.pick(&[302u16, 301, 303, 307, 308, 300, 304]);
        let location = input.line();
        let answer =
            [format!("HTTP/1.1 {status} Go\r\nLocation: ").as_bytes(), location, b"\r\n\r\n"]
                .concat();
        let Some(next) = follow(&request, &answer, &settings) else { break };
        assert!(hops < 4, "more hops than allowed");
        assert_eq!(next.status, status);
        goes_on(&request, &next);
        request = next.request;
    }
}

/// The redirect in a response.
fn follow(request: &Request, answer: &[u8], settings: &Settings) -> Option<Redirect> {
    let now = Instant::now();
    let driver = in_all_cuts(answer, |cut| {
        let timing = Timing::default();
        let session = Session::stream(request.clone(), Delivery::Raw, settings, timing);
        let mut driver = Driver::of_stream(session, now, cut, 20_000);
        driver.feed(answer);
        driver
    });
    match driver.events.first() {
        Some(OwnedEvent::Closed(Closed::Redirected(redirect))) => Some(*redirect.clone()),
        _ => None,
    }
}

fn is_origin(a: &Url, b: &Url) -> bool {
    (a.scheme(), a.port(), a.host()) == (b.scheme(), b.port(), b.host())
}

/// Checks what one hop may change.
fn goes_on(from: &Request, to: &Redirect) {
    let (url, next) = (to.request.url(), &to.request);
    texts::accepted(url);
    assert!(matches!(url.scheme(), Scheme::Http | Scheme::Https));
    assert!(from.url().scheme() == Scheme::Http || url.scheme() == Scheme::Https, "a downgrade");
    assert!(!matches!(url.host(), Host::Name(name) if name.is_empty()));
    let to_get = match to.status {
        301 | 302 => from.method() == "POST",
        303 => from.method() != "HEAD",
        _ => false,
    };
    assert_eq!(next.method(), if to_get { "GET" } else { from.method() });
    assert_eq!(next.body.is_some(), from.body.is_some() && !to_get);
    let described = next.method() == from.method();
    assert_eq!(next.headers.has("content-type"), from.headers.has("content-type") && described);
}

/// The request as it is sent.
fn asks(request: &Request, secrets: bool) {
    let mut bytes = Vec::new();
    request.write_head(&mut bytes, Delivery::Raw, false);
    let url = request.url();
    let fields = request_head(&bytes, request.method(), url.target(), &url.host_field());
    let has = |name: &str, value: &str| fields.iter().any(|(n, v)| n == name && v == value);
    for name in ["authorization", "cookie", "x-key"] {
        assert_eq!(has(name, "s3cret"), secrets, "{name} for {url}");
    }
    assert!(has("x-open", "open"));
    let length = fields.iter().find(|(name, _)| name == "content-length").map(|(_, v)| v.as_str());
    match &request.body {
        Some(Payload::Whole(body)) => assert_eq!(length, Some(body.len().to_string().as_str())),
        Some(Payload::Length(n)) => assert_eq!(length, Some(n.to_string().as_str())),
        Some(Payload::Chunked) => assert_eq!(length, None),
        None => assert!(length.is_none_or(|length| length == "0")),
    }
    let mut shown = Vec::new();
    request.write_head(&mut shown, Delivery::Raw, true);
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(!shown.contains("X-Key: s3cret"), "a secret is shown");
}
