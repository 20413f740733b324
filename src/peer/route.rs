//! The routes over HTTP: which request gets which response.

use std::time::Duration;

use super::drip::{Drip, Source};
use super::head::Head;
use super::http;
use super::query::{Query, decode, number};
use super::refusal::Refusal;
use super::sse::Sse;
use crate::proto::token::list;

/// The methods of every route except `/`.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// The longest body of a request; it is kept in memory.
const BODY_MAX: u64 = 1024 * 1024;
/// The body of `/stream` for a request without one.
const PROMPT: &[u8] = b"say something";

/// A request with a valid head. It is answered once its body has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    route: Route,
    /// The method is HEAD: the response has no body.
    bodyless: bool,
    /// The length of the request's body.
    pub(super) body: usize,
    /// The client waits for an interim response before it sends the body (RFC 9110 §10.1.1).
    pub(super) waits: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Route {
    Sse(Sse),
    Stream(Duration),
    Chunked(u64),
    Status(u16),
    Redirect {
        status: u16,
        to: String,
    },
    /// The target of the last redirect.
    Done,
    /// With the head of the request.
    Echo(Vec<u8>),
}

impl Call {
    /// Checks a head that opens no WebSocket.
    pub(super) fn new(head: &Head<'_>) -> Result<Call, Refusal> {
        let allowed = if head.path() == b"/" { "GET, HEAD" } else { METHODS };
        if !list(allowed.as_bytes()).any(|method| method == head.method) {
            return Err(Refusal::Method(allowed));
        }
        Ok(Call {
            route: Route::of(head)?,
            bodyless: head.method == b"HEAD",
            body: body_length(head)?,
            waits: head.lists("Expect", b"100-continue"),
        })
    }

    /// Appends the response, or its head if its body is produced while it is sent.
    pub(super) fn answer(self, body: Vec<u8>, out: &mut Vec<u8>) -> Option<Drip> {
        let bodyless = self.bodyless;
        match self.route {
            Route::Sse(sse) => sse.start(bodyless, out),
            Route::Stream(period) => {
                let text = if body.is_empty() { PROMPT.to_vec() } else { body };
                http::start(out, "Content-Type: text/plain; charset=utf-8\r\n", true);
                let drip = Drip::new(Source::Words { text, at: 0 }, period, true);
                (!bodyless).then_some(drip)
            }
            Route::Chunked(left) => {
                http::start(out, "Content-Type: text/plain\r\nTrailer: X-Checksum\r\n", true);
                let drip = Drip::new(Source::Lines { next: 1, left, sum: 0 }, Duration::ZERO, true);
                (!bodyless).then_some(drip)
            }
            route => {
                route.answer(&body, bodyless, out);
                None
            }
        }
    }
}

/// The length of the body (RFC 9112 §6.3).
fn body_length(head: &Head<'_>) -> Result<usize, Refusal> {
    if head.all("Transfer-Encoding").next().is_some() {
        return Err(Refusal::NoLength);
    }
    if head.all("Content-Length").next().is_none() {
        return Ok(0);
    }
    match head.only("Content-Length").and_then(number) {
        None => Err(Refusal::Bad),
        Some(len) if len > BODY_MAX => Err(Refusal::TooLarge),
        // It is at most BODY_MAX, which fits.
        Some(len) => Ok(len as usize),
    }
}

impl Route {
    fn of(head: &Head<'_>) -> Result<Route, Refusal> {
        let (path, query) = (head.path(), Query(head.query()));
        match path {
            b"/" => Err(Refusal::Upgrade),
            b"/sse" => Ok(Route::Sse(Sse::of(head, &query)?)),
            b"/stream" => Ok(Route::Stream(query.pause(20)?)),
            b"/chunked" => Ok(Route::Chunked(query.number("n")?.unwrap_or(3))),
            b"/echo" => Ok(Route::Echo(head.raw.to_vec())),
            _ => match (path.strip_prefix(b"/status/"), path.strip_prefix(b"/redirect/")) {
                (Some(rest), _) => Route::status(rest),
                (_, Some(rest)) => Route::redirect(rest, &query),
                _ => Err(Refusal::NotFound),
            },
        }
    }

    fn status(text: &[u8]) -> Result<Route, Refusal> {
        match number(text) {
            // An interim answer would not end the request.
            Some(status @ 200..=599) => Ok(Route::Status(status as u16)),
            _ => Err(Refusal::Bad),
        }
    }

    fn redirect(text: &[u8], query: &Query<'_>) -> Result<Route, Refusal> {
        let hops = number(text).ok_or(Refusal::Bad)?;
        let status = match query.number("status")?.unwrap_or(302) {
            status @ (301 | 302 | 303 | 307 | 308) => status as u16,
            _ => return Err(Refusal::Bad),
        };
        let last = query.get("to").map(|to| decode(to).ok_or(Refusal::Bad)).transpose()?;
        Ok(match (hops, last) {
            (0, _) => Route::Done,
            (1, Some(to)) => Route::Redirect { status, to },
            _ => Route::Redirect { status, to: format!("/redirect/{}{}", hops - 1, query.again()) },
        })
    }

    /// Appends a response that is short and needs no clock.
    fn answer(&self, body: &[u8], bodyless: bool, out: &mut Vec<u8>) {
        match self {
            // RFC 9110 §8.6: a 204 has no length, either.
            Route::Status(status @ (204 | 304)) => http::head(out, *status, ""),
            Route::Status(205) => http::answer(out, 205, "", b"", bodyless),
            Route::Status(status) => {
                http::answer(out, *status, "", format!("status {status}\n").as_bytes(), bodyless);
            }
            Route::Redirect { status, to } => {
                let text = format!("to {to}\n");
                let field = format!("Location: {to}\r\n");
                http::answer(out, *status, &field, text.as_bytes(), bodyless);
            }
            Route::Echo(head) => http::answer(out, 200, "", &[head, body].concat(), bodyless),
            // The bodies of the other routes are produced while they are sent.
            _ => http::answer(out, 200, "", b"done\n", bodyless),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::conn::Conn;
    use super::super::drip::PIECE;
    use super::*;
    use crate::limits::Limits;

    /// The whole response to `request`, for a client that reads `take` bytes at a time, on a clock
    /// that jumps to the next deadline.
    fn drain(conn: &mut Conn, take: usize) -> String {
        let (mut now, mut all) = (Instant::now(), Vec::new());
        loop {
            conn.pump(now);
            let out = conn.outgoing();
            assert!(out.len() < 2 * PIECE, "{} bytes wait", out.len());
            let n = out.len().min(take);
            all.extend_from_slice(&out[..n]);
            conn.sent(n);
            if conn.outgoing().is_empty() && conn.has_ended() {
                return String::from_utf8(all).unwrap();
            }
            now = conn.deadline().unwrap_or(now).max(now);
        }
    }

    /// The response, which is the same however the request is cut and the client reads.
    fn asked(request: &str) -> String {
        let limits = Limits::default();
        let mut whole = Conn::default();
        let mut bytes = [request.as_bytes(), b"GET /late HTTP/1.1\r\n"].concat();
        assert_eq!(whole.receive(&mut bytes, &limits), bytes.len(), "nothing is left over");
        let (mut single, mut tail) = (Conn::default(), Vec::new());
        for byte in request.bytes() {
            assert!(!single.is_open() && !single.has_ended(), "answered before its end: {request}");
            tail.push(byte);
            let used = single.receive(&mut tail, &limits);
            tail.drain(..used);
        }
        let answer = drain(&mut whole, usize::MAX);
        assert_eq!(drain(&mut single, 7), answer, "byte by byte");
        answer
    }

    /// The status, the other lines of the head, and the body.
    fn parts(request: &str) -> (u16, String, String) {
        let answer = asked(request);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let (start, fields) = head.split_once("\r\n").unwrap();
        let status = start.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        (status, format!("{fields}\r\n"), body.into())
    }

    fn get(target: &str) -> (u16, String, String) {
        parts(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"))
    }

    fn post(target: &str, body: &str) -> (u16, String, String) {
        let len = body.len();
        parts(&format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n{body}"))
    }

    fn ticks(ids: std::ops::RangeInclusive<u64>) -> String {
        ids.map(|k| format!("event: tick\nid: {k}\ndata: {{\"tick\":{k}}}\n\n")).collect()
    }

    #[test]
    fn sse_counts_and_ends_with_the_connection() {
        let fields = "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                      Connection: close\r\n";
        assert_eq!(get("/sse"), (200, fields.into(), ticks(1..=10)));
        assert_eq!(get("/sse?n=2&ms=0&from=9").2, ticks(9..=10));
        assert_eq!(get("/sse?n=9999&ms=0").2, ticks(1..=9999), "more than a buffer");
        let begin = get("/sse?n=1&retry=250&comment=1").2;
        assert_eq!(begin, format!(": hello\n\nretry: 250\n\n{}", ticks(1..=1)));
    }

    #[test]
    fn sse_in_chunks_has_one_for_each_event_and_a_last_one() {
        let (_, fields, body) = get("/sse?n=2&ms=0&from=9&chunked=1&retry=5");
        assert!(fields.contains("Transfer-Encoding: chunked\r\n"));
        let (nine, ten) = (ticks(9..=9), ticks(10..=10));
        assert_eq!((nine.len(), ten.len()), (0x24, 0x26));
        assert_eq!(body, format!("a\r\nretry: 5\n\n\r\n24\r\n{nine}\r\n26\r\n{ten}\r\n0\r\n\r\n"));
    }

    #[test]
    fn sse_goes_on_behind_the_last_event_id_if_that_is_a_number() {
        for (field, first) in [
            ("Last-Event-ID: 41", 42),
            ("last-event-id: 0", 1),
            ("Last-Event-ID: x", 7),
            ("Last-Event-ID:", 7),
            ("Last-Event-ID: 18446744073709551615", 7),
        ] {
            let request =
                format!("GET /sse?n=2&ms=0&from=7 HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
            assert_eq!(parts(&request).2, ticks(first..=first + 1), "{field}");
        }
        let edge = get("/sse?n=2&ms=0&from=18446744073709551615").2;
        assert!(edge.ends_with("{\"tick\":0}\n\n"), "{edge}");
    }

    #[test]
    fn an_endless_stream_is_made_as_it_is_read() {
        for target in ["/sse?n=0&ms=0", "/sse?n=0&ms=1"] {
            let mut conn = Conn::default();
            let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            conn.receive(&mut request.into_bytes(), &Limits::default());
            let (mut now, mut sent) = (Instant::now(), 0);
            for _ in 0..20_000 {
                conn.pump(now);
                now += Duration::from_millis(1);
                let n = conn.outgoing().len().min(9);
                conn.sent(n);
                sent += n;
                assert!(conn.outgoing().len() < 2 * PIECE);
            }
            assert!(conn.is_open() && sent > 100_000, "{sent} bytes of {target}");
            conn.go_away();
            conn.pump(now);
            assert!(conn.has_ended() && conn.deadline().is_none() && !conn.is_hungry());
        }
    }

    #[test]
    fn stream_sends_the_body_back_word_by_word() {
        let fields = "Content-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\
                      Connection: close\r\n";
        let prompt = "4\r\nsay \r\n9\r\nsomething\r\n0\r\n\r\n";
        assert_eq!(get("/stream"), (200, fields.into(), prompt.into()));
        assert_eq!(post("/stream?ms=0", "").2, prompt);
        let answer = post("/stream?ms=5", "Grüße an\nalle").2;
        assert_eq!(answer, "8\r\nGrüße \r\n3\r\nan\n\r\n4\r\nalle\r\n0\r\n\r\n");
        assert_eq!(post("/stream", "{\"a\":1}").2, "7\r\n{\"a\":1}\r\n0\r\n\r\n");
    }

    #[test]
    fn chunked_has_extensions_and_a_trailer_section() {
        let fields = "Content-Type: text/plain\r\nTrailer: X-Checksum\r\n\
                      Transfer-Encoding: chunked\r\nConnection: close\r\n";
        let body = "8;n=1;name=\"a;b\"\r\nchunk 1\n\r\n8;n=2;name=\"a;b\"\r\nchunk 2\n\r\n\
                    0\r\nX-Checksum: 1257\r\n\r\n";
        assert_eq!(get("/chunked?n=2"), (200, fields.into(), body.into()));
        assert_eq!(get("/chunked").2.matches("chunk ").count(), 3);
        assert_eq!(get("/chunked?n=0").2, "0\r\nX-Checksum: 0\r\n\r\n");
    }

    #[test]
    fn status_answers_with_what_is_asked_for() {
        for status in [200, 201, 205, 299, 301, 404, 418, 426, 503, 599] {
            let (got, fields, body) = post(&format!("/status/{status}"), "x");
            let want = if status == 205 { String::new() } else { format!("status {status}\n") };
            assert_eq!((got, &body), (status, &want));
            assert!(fields.contains(&format!("Content-Length: {}\r\n", body.len())), "{fields}");
        }
        for status in [204, 304] {
            let want = (status, "Connection: close\r\n".into(), String::new());
            assert_eq!(get(&format!("/status/{status}")), want);
        }
        for bad in ["100", "101", "199", "600", "", "x", "+200", "200/", "99999999999999999999"] {
            assert_eq!(get(&format!("/status/{bad}")).0, 400, "{bad}");
        }
    }

    #[test]
    fn redirects_count_down_and_keep_their_query() {
        let location = |(status, fields, _): (u16, String, String)| {
            let line = fields.lines().find_map(|line| line.strip_prefix("Location: "));
            (status, line.map(str::to_owned))
        };
        let to = |status, target: &str| (status, Some(target.to_owned()));
        assert_eq!(location(get("/redirect/2")), to(302, "/redirect/1"));
        assert_eq!(
            location(post("/redirect/1?status=307", "x")),
            to(307, "/redirect/0?status=307")
        );
        let query = "status=301&to=https%3A%2F%2Fa.example%2Fb%3Fc";
        let next = format!("/redirect/1?{query}");
        assert_eq!(location(get(&format!("/redirect/2?{query}"))), to(301, &next));
        assert_eq!(location(get(&next)), to(301, "https://a.example/b?c"));
        let done = get(&format!("/redirect/0?{query}"));
        assert_eq!((done.0, &*done.2), (200, "done\n"));
        for bad in ["", "x", "-1", "1?status=200", "1?status=304", "1?to=a%0D%0AX:%20y", "1?to="] {
            assert_eq!(get(&format!("/redirect/{bad}")).0, 400, "{bad}");
        }
    }

    #[test]
    fn echo_gives_the_request_as_it_came() {
        let head =
            "PATCH /echo?a=%20b HTTP/1.1\r\nhost: x\r\nX-Odd:  two \r\nContent-Length: 5\r\n\r\n";
        let request = format!("{head}a\r\nb\n");
        let (status, fields, body) = parts(&request);
        assert_eq!((status, &body), (200, &request));
        let len = request.len();
        let want =
            format!("Content-Type: text/plain\r\nContent-Length: {len}\r\nConnection: close\r\n");
        assert_eq!(fields, want);
    }

    #[test]
    fn head_is_answered_like_get_without_a_body() {
        for target in
            ["/sse?comment=1", "/stream", "/chunked", "/status/200", "/redirect/1", "/", "/none"]
        {
            let (status, fields, _) = get(target);
            let head = parts(&format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(head, (status, fields, String::new()), "{target}");
        }
    }

    #[test]
    fn methods_are_judged_by_the_path() {
        for (method, target, status, allow) in [
            ("OPTIONS", "/echo", 200, None),
            ("DELETE", "/status/200", 200, None),
            ("BREW", "/echo", 405, Some(METHODS)),
            ("get", "/echo", 405, Some(METHODS)),
            ("CONNECT", "/none", 405, Some(METHODS)),
            ("POST", "/", 405, Some("GET, HEAD")),
            ("PUT", "/none", 404, None),
            ("GET", "/ssee", 404, None),
            ("GET", "/sse/", 404, None),
            ("GET", "/", 426, None),
        ] {
            let (got, fields, _) = parts(&format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(got, status, "{method} {target}");
            let line = fields.lines().find_map(|line| line.strip_prefix("Allow: "));
            assert_eq!(line, allow, "{method} {target}");
        }
        assert!(get("/none").2.contains("/redirect/N") && get("/").2.contains("/sse"));
    }

    #[test]
    fn numbers_of_a_query_are_numbers() {
        for bad in ["/sse?n=x", "/sse?ms=86400001", "/sse?from=-1", "/sse?retry=", "/chunked?n=1e3"]
        {
            assert_eq!(get(bad).0, 400, "{bad}");
        }
    }

    #[test]
    fn a_body_has_a_length_and_a_bound() {
        let answer = |fields: &str| {
            let head = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
            let mut conn = Conn::default();
            conn.receive(&mut head.into_bytes(), &Limits::default());
            conn.outgoing()[..conn.outgoing().len().min(12)].to_vec()
        };
        for (fields, want) in [
            ("Transfer-Encoding: chunked", "HTTP/1.1 411"),
            ("Content-Length: 3\r\nTransfer-Encoding: chunked", "HTTP/1.1 411"),
            ("Content-Length: 1048577", "HTTP/1.1 413"),
            ("Content-Length: 99999999999999999999", "HTTP/1.1 413"),
            ("Content-Length: 3\r\nContent-Length: 3", "HTTP/1.1 400"),
            ("Content-Length: +3", "HTTP/1.1 400"),
            ("Content-Length: 3, 3", "HTTP/1.1 400"),
            ("Content-Length: 1048576", ""),
            ("Content-Length: 3\r\nExpect: 100-continue", "HTTP/1.1 100"),
            ("Content-Length: 1048577\r\nExpect: 100-continue", "HTTP/1.1 413"),
            ("Expect: 100-continue", "HTTP/1.1 200"),
        ] {
            assert_eq!(std::str::from_utf8(&answer(fields)), Ok(want), "{fields}");
        }
    }
}
