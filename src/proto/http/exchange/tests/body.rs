//! The body of a request that is supplied in pieces: its framing, when more of it is requested, and
//! the time limits meanwhile.

use super::*;

/// When the test supplies the pieces.
#[derive(Clone, Copy, Debug)]
enum Window {
    /// All pieces, then all bytes.
    Whole,
    /// Between two pieces, this many bytes are sent; no piece exceeds the room.
    Bytes(usize),
}

fn start(method: &str, length: Option<u64>, limits: Limits, timing: Timing) -> Sim {
    let mut request = Request::new(method, Url::parse_http("http://a.example/x").unwrap()).unwrap();
    request.body_to_come(length).unwrap();
    let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
    Sim::of(Exchange::new(request, Delivery::Raw, &settings, timing))
}

fn post(length: Option<u64>) -> Sim {
    start("POST", length, Limits::default(), Timing::default())
}

impl Sim {
    fn give(&mut self, piece: &[u8]) {
        if let Some(event) = self.exchange.send_body(self.now, piece) {
            self.report(&event);
        }
    }

    fn give_end(&mut self) {
        if let Some(event) = self.exchange.end_body(self.now) {
            self.report(&event);
        }
    }

    /// The kernel takes at most `n` bytes, which are returned.
    fn leaves(&mut self, n: usize) -> Vec<u8> {
        let out = self.exchange.outgoing();
        let taken = out[..n.min(out.len())].to_vec();
        self.exchange.sent(self.now, taken.len(), taken.len());
        taken
    }
}

/// The bytes sent behind the request's head for these pieces and the end, and the events.
fn sent(length: Option<u64>, pieces: &[&str], window: Window) -> (String, String) {
    let (mut sim, mut wire) = (post(length), Vec::new());
    sim.exchange.wait_from(sim.now);
    for piece in pieces {
        match window {
            Window::Whole => sim.give(piece.as_bytes()),
            Window::Bytes(n) => {
                let mut rest = piece.as_bytes();
                while !rest.is_empty() && !sim.has_ended() {
                    let (now, later) =
                        rest.split_at(sim.exchange.body_room().min(rest.len()).min(n));
                    sim.give(now);
                    rest = later;
                    wire.extend(sim.leaves(n));
                }
            }
        }
    }
    sim.give_end();
    while !sim.exchange.outgoing().is_empty() {
        let n = if let Window::Bytes(n) = window { n } else { usize::MAX };
        wire.extend(sim.leaves(n));
    }
    let text = String::from_utf8(wire).unwrap();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    (body, sim.text())
}

#[test]
fn a_body_leaves_as_its_length_or_its_chunks_say() {
    let long = "x".repeat(300);
    let chunk = format!("12c\r\n{long}\r\n0\r\n\r\n");
    for (length, pieces, want) in [
        (Some(0), &[][..], ""),
        (Some(5), &["hello"], "hello"),
        (Some(5), &["h", "", "el", "lo", ""], "hello"),
        (Some(300), &[&*long], &*long),
        (None, &[], "0\r\n\r\n"),
        (None, &["", ""], "0\r\n\r\n"),
        (None, &["hello", "", "!"], "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        (None, &[&*long], &*chunk),
    ] {
        assert_eq!(sent(length, pieces, Window::Whole), (want.into(), "".into()), "{pieces:?}");
        // Smaller pieces make more chunks with the same bytes.
        for n in [1, 7] {
            let (got, events) = sent(length, pieces, Window::Bytes(n));
            let got = if length.is_some() { got } else { unchunked(&got) };
            assert_eq!((got, events.as_str()), (pieces.concat(), ""), "{n} at a time");
        }
    }
}

/// Decodes a body in chunks, independently of the crate.
fn unchunked(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&rest[..size]);
        text = rest[size..].strip_prefix("\r\n").unwrap();
        if size == 0 {
            assert_eq!(text, "", "nothing stands behind the last chunk");
            return body;
        }
    }
    panic!("no last chunk");
}

#[test]
fn a_body_of_another_length_is_no_whole_request() {
    for (length, pieces, want) in [
        (1, &[][..], "= ShortBody(1)"),
        (5, &["hell"], "= ShortBody(1)"),
        (u64::MAX, &["hello"], "= ShortBody(18446744073709551610)"),
        (0, &["h"], "= LongBody(0)"),
        (5, &["hello", "!"], "= LongBody(5)"),
        (5, &["hello!"], "= LongBody(5)"),
        (5, &["hell", "o!"], "= LongBody(5)"),
    ] {
        for window in [Window::Whole, Window::Bytes(1), Window::Bytes(100)] {
            let (body, events) = sent(Some(length), pieces, window);
            assert_eq!(events, want, "{pieces:?}, {window:?}");
            assert!((body.len() as u64) < length.max(1), "{body:?} is whole");
        }
    }
    // Bytes that were supplied and not sent are reported.
    let mut sim = post(Some(9));
    sim.exchange.wait_from(sim.now);
    sim.leaves(usize::MAX);
    sim.give(b"hello");
    sim.leaves(2);
    sim.give_end();
    assert_eq!((sim.text().as_str(), sim.exchange.unsent()), ("= ShortBody(4)", 3));
    // Then nothing more is accepted.
    sim.give(b"more");
    sim.give_end();
    assert_eq!((sim.exchange.body_room(), sim.exchange.buffered()), (0, 0));
}

#[test]
fn more_is_asked_for_below_the_mark() {
    for mark in [1, 10, 1000] {
        let limits = Limits { body_queue: mark, ..Limits::default() };
        for length in [None, Some(1_000_000)] {
            let mut sim = start("PUT", length, limits.clone(), Timing::default());
            assert_eq!(sim.exchange.body_room(), 0, "there is no connection");
            sim.exchange.wait_from(sim.now);
            sim.leaves(usize::MAX);
            assert_eq!(sim.exchange.body_room(), mark);
            sim.give(&vec![7; mark]);
            assert_eq!(sim.exchange.body_room(), 0, "{mark}: at it");
            sim.leaves(sim.exchange.outgoing().len() + 1 - mark);
            assert_eq!(sim.exchange.body_room(), 1, "{mark}: a byte below it");
        }
    }
    let sizes = |length: Option<u64>, body_queue: usize| {
        let limits = Limits { body_queue, ..Limits::default() };
        let mut sim = start("PUT", length, limits, Timing::default());
        sim.exchange.wait_from(sim.now);
        sim.leaves(usize::MAX);
        sim.exchange.body_room()
    };
    assert_eq!(sizes(None, usize::MAX), 65_536, "at most so many at a time");
    assert_eq!(sizes(Some(u64::MAX), usize::MAX), 65_536);
    assert_eq!(sizes(Some(5), usize::MAX), 6, "one more shows that there is more");
    assert_eq!(sizes(Some(0), usize::MAX), 1);
    assert_eq!(sizes(None, 0), 1, "as 1: else nothing would ever leave");
}

/// The last byte of a body with a length waits for the body's end, even with the lowest mark.
#[test]
fn the_last_byte_waits_for_the_end() {
    let limits = Limits { body_queue: 1, ..Limits::default() };
    let mut sim = start("PUT", Some(2), limits, Timing::default());
    sim.exchange.wait_from(sim.now);
    sim.leaves(usize::MAX);
    sim.give(b"a");
    assert_eq!(sim.leaves(usize::MAX), b"a");
    sim.give(b"b");
    assert_eq!((sim.leaves(usize::MAX), sim.exchange.buffered()), (vec![], 1));
    assert_eq!(sim.exchange.body_room(), 1, "whether there is more has to be asked");
    sim.give_end();
    assert_eq!(sim.leaves(usize::MAX), b"b");
    assert_eq!((sim.exchange.body_room(), sim.exchange.is_uploading()), (0, false));
}

#[test]
fn the_time_of_the_response_starts_with_the_last_byte_of_the_last_piece() {
    for length in [None, Some(4)] {
        let limits = Limits { stall: seconds(60), ..Limits::default() };
        let timing = Timing { response: Some(seconds(20)), ..Timing::default() };
        let mut sim = start("POST", length, limits, timing);
        sim.exchange.wait_from(sim.now);
        assert_eq!(sim.left(), Some(60));
        sim.leaves(usize::MAX);
        for _ in 0..2 {
            assert_eq!(sim.left(), None, "it is not the server that is waited for");
            sim.now += seconds(1000);
            sim.late();
            sim.give(b"hi");
            assert_eq!(sim.left(), Some(60), "the server takes nothing");
            sim.now += seconds(59);
            sim.give(b"");
            sim.exchange.sent(sim.now, 0, 0);
            assert_eq!(sim.left(), Some(1), "a look at the socket is no byte");
            sim.leaves(1);
            assert!(sim.left() == Some(60) || sim.exchange.outgoing().is_empty());
            sim.leaves(usize::MAX);
        }
        // The bytes that the kernel took last have reached the server long ago.
        sim.now += seconds(1000);
        sim.give_end();
        sim.leaves(usize::MAX);
        assert_eq!(sim.left(), Some(20));
        sim.now += seconds(20);
        sim.late();
        assert_eq!((sim.text().as_str(), sim.exchange.unsent()), ("= Timeout", 0));
    }
    // A server that takes nothing is stalled; a limit that the program sets covers everything.
    for (total, want) in [(None, "= Stalled"), (Some(seconds(30)), "= Timeout")] {
        let limits = Limits { stall: seconds(60), ..Limits::default() };
        let mut sim = start("POST", None, limits, Timing::default());
        sim.exchange.timing.head_by = total.map(|total| sim.now + total);
        sim.exchange.deadline = sim.exchange.timing.head_by;
        sim.exchange.wait_from(sim.now);
        sim.leaves(usize::MAX);
        sim.give(b"hello");
        sim.now += total.unwrap_or(seconds(60));
        sim.late();
        assert_eq!((sim.text().as_str(), sim.exchange.unsent()), (want, 10));
    }
}

/// A piece of the program's shows nothing about the server.
#[test]
fn more_of_a_body_puts_off_no_limit() {
    let limits = Limits { stall: seconds(60), ..Limits::default() };
    let mut sim = start("POST", None, limits, Timing::default());
    sim.give(b"a");
    assert_eq!(sim.left(), None, "while it is being connected");
    sim.exchange.wait_from(sim.now);
    sim.now += seconds(59);
    sim.give(b"b");
    assert_eq!(sim.left(), Some(1));
    sim.give_end();
    assert_eq!(sim.left(), Some(1));
}

#[test]
fn an_answer_comes_when_the_server_gives_it() {
    let early = b"HTTP/1.1 413 Big\r\nContent-Length: 3\r\n\r\n";
    for length in [None, Some(1000)] {
        let mut sim = post(length);
        sim.exchange.wait_from(sim.now);
        sim.leaves(usize::MAX);
        sim.give(b"hello");
        sim.feed(early);
        // The server may go on reading.
        assert!(sim.exchange.body_room() > 0);
        sim.give(b"world");
        assert!(!sim.leaves(usize::MAX).is_empty());
        sim.feed(b"big");
        assert_eq!(sim.text(), "413 Big <big> = complete");
        assert_eq!((sim.exchange.body_room(), sim.exchange.unsent()), (0, 0));
        sim.give(b"more");
        sim.give_end();
        assert_eq!(sim.exchange.buffered(), 0, "nobody waits for it");
    }
    // The start of a refused response is read, and nothing more of the request is sent.
    let mut sim = post(None);
    sim.exchange.delivery = Delivery::Events;
    sim.exchange.wait_from(sim.now);
    sim.feed(early);
    assert_eq!((sim.exchange.body_room(), sim.exchange.is_uploading()), (0, false));
    // If the status refuses the upload, bytes that were supplied are not needed.
    for (status, want) in [
        (303, "= http://a.example/y"),
        (302, "= http://a.example/y"),
        (307, "= BodyAgain"),
        (308, "= BodyAgain"),
    ] {
        let mut sim = post(Some(5));
        sim.exchange.wait_from(sim.now);
        sim.give(b"hel");
        sim.feed(format!("HTTP/1.1 {status} Go\r\nLocation: /y\r\n\r\n").as_bytes());
        assert_eq!(sim.text(), want);
        assert_eq!(sim.exchange.body_room(), 0);
    }
}
