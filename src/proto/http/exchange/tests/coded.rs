//! Coded bodies: which events they cause, and when.

use super::*;
use crate::proto::http::coding::gzip;

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n";

fn sim(delivery: Delivery, decode: bool, limits: Limits) -> Sim {
    let url = Url::parse_http("http://a.example/x").unwrap();
    let mut request = Request::new("GET", url).unwrap();
    request.decode(decode);
    let settings = Settings { limits: Arc::new(limits), trace: true, ..Settings::default() };
    Sim::of(Exchange::new(request, delivery, &settings, Timing::default()))
}

fn chunks(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    // An empty chunk would be the end.
    for part in parts.iter().filter(|part| !part.is_empty()) {
        out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Each framing of a coded body, and the end of its stream.
fn framings(head: &str, coded: &[u8]) -> [(Vec<u8>, End); 3] {
    let length = format!("{head}Content-Length: {}\r\n\r\n", coded.len());
    let half = coded.len() / 2;
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    [
        ([head.as_bytes(), b"\r\n", coded].concat(), Eof),
        ([length.as_bytes(), coded].concat(), Open),
        (
            [chunked.as_bytes(), &chunks(&[&coded[..half], &coded[half..]]), b"0\r\n\r\n"].concat(),
            Open,
        ),
    ]
}

fn events_of(delivery: Delivery, decode: bool, bytes: &[u8], step: usize, end: End) -> String {
    let mut sim = sim(delivery, decode, Limits::default());
    for part in bytes.chunks(step) {
        sim.feed(part);
        if sim.has_ended() {
            break;
        }
    }
    sim.end(end);
    sim.text().replace("> <", "")
}

/// The result does not depend on framing and cuts.
fn all(delivery: Delivery, decode: bool, head: &str, coded: &[u8], want: &str) {
    for (bytes, end) in framings(head, coded) {
        for step in [1, 2, 7, bytes.len()] {
            let got = events_of(delivery, decode, &bytes, step, end);
            assert_eq!(got, want, "{delivery:?}, {step} at a time");
        }
    }
}

const STREAM: &str = "id: 1\ndata: a\n\nevent: e\r\ndata: b\r\n\r\n:c\n\ndata: unfinished";

#[test]
fn every_delivery_gives_what_the_body_is_without_its_coding() {
    let coded = gzip(STREAM.as_bytes()).unwrap();
    let joined = STREAM.escape_debug().to_string();
    for decode in [true, false] {
        let both = [
            (Delivery::Events, "200 OK (message a 1) (e b 1) = complete".to_owned()),
            (Delivery::EventBytes, format!("200 OK <{joined}> = complete")),
            (
                Delivery::Blocks,
                "200 OK <id: 1\\ndata: a\\n\\nevent: e\\ndata: b\\n\\n:c\\n\\n\
                 data: unfinished> = complete"
                    .to_owned(),
            ),
        ];
        for (delivery, want) in both {
            all(delivery, decode, HEAD, &coded, &want);
        }
    }
    all(Delivery::Raw, true, HEAD, &coded, &format!("200 OK <{joined}> = complete"));
    // Without a coding, the body is reported unchanged.
    let plain = HEAD.replace("Content-Encoding: gzip\r\n", "");
    all(Delivery::Raw, true, &plain, b"hello", "200 OK <hello> = complete");
}

/// FAULTS 56: a request that accepts only `identity` gets that, or an error.
#[test]
fn what_is_no_event_stream_is_decoded_only_where_that_is_asked_for() {
    let coded = gzip(b"hello").unwrap();
    all(Delivery::Raw, false, HEAD, &coded, "= ContentEncoding(_)");
    for delivery in [Delivery::Raw, Delivery::Blocks] {
        for codings in ["br", "gzip, gzip"] {
            let head = HEAD.replace("gzip", codings);
            all(delivery, true, &head, &coded, "= Coding(Unknown(_))");
            all(delivery, false, &head, &coded, "= ContentEncoding(_)");
        }
    }
}

/// RFC 9110 §8.4: the field describes the body that a GET would have.
#[test]
fn an_answer_without_a_body_has_nothing_to_decode() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let url = Url::parse_http("http://a.example/x").unwrap();
        let mut request = Request::new(method, url).unwrap();
        request.decode(true);
        let settings = Settings::default();
        let mut sim = Sim::of(Exchange::new(request, Delivery::Raw, &settings, Timing::default()));
        sim.feed(format!("HTTP/1.1 {status} X\r\nContent-Encoding: gzip, br\r\n\r\n").as_bytes());
        assert_eq!(sim.text(), format!("{status} X = complete"));
    }
    all(Delivery::Raw, true, HEAD, b"", "200 OK = complete");
}

/// The framing is complete, but the coded data is not.
#[test]
fn a_coded_body_that_ends_early_is_truncated_whatever_its_framing_says() {
    let coded = gzip(b"hello, hello").unwrap();
    for cut in [1, 9, 10, coded.len() - 1] {
        for (bytes, end) in framings(HEAD, &coded[..cut]) {
            for step in [1, bytes.len()] {
                let got = events_of(Delivery::Raw, true, &bytes, step, end);
                assert!(got.ends_with("= Coding(Truncated)"), "{cut}: {got}");
            }
        }
    }
    // Decoded bytes are reported before the error.
    all(
        Delivery::Raw,
        true,
        HEAD,
        &coded[..coded.len() - 8],
        "200 OK <hello, hello> = Coding(Truncated)",
    );
    let longer = [&coded[..], b"x"].concat();
    all(Delivery::Raw, true, HEAD, &longer, "200 OK <hello, hello> = Coding(Trailing)");
    // If the framing is incomplete, the error reports that.
    let (bytes, _) = &framings(HEAD, &coded)[1];
    let got = events_of(Delivery::Raw, true, &bytes[..bytes.len() - 3], 1000, Eof);
    assert_eq!(got, "200 OK <hello, hello> = Truncated(Some(3))");
    let (bytes, _) = &framings(HEAD, &coded)[0];
    let got = events_of(Delivery::Raw, true, bytes, 1000, Cut);
    assert_eq!(got, "200 OK <hello, hello> = Truncated(None)");
}

/// Three events that Python's zlib has flushed one by one (Z_SYNC_FLUSH), and the end.
#[test]
fn each_flushed_chunk_gives_its_events_at_once() {
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    };
    let parts = [
        "1f8b08000000000002034a492c49b452482d4bcd2b513054c84f532806b28b1273b8b800000000ffff",
        "4a419231429101000000ffff",
        "429631469101000000ffff",
    ];
    let of = |delivery, i| match delivery {
        Delivery::Events => format!("(message event {i} of several )"),
        _ => format!("<data: event {i} of several\\n\\n>"),
    };
    let all = [Delivery::Raw, Delivery::Events, Delivery::Blocks, Delivery::EventBytes];
    for delivery in all {
        for cut in 0..2 {
            let mut sim = sim(delivery, true, Limits::default());
            sim.feed(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
            let mut want = vec!["200 OK".to_owned()];
            for (i, part) in parts.iter().enumerate() {
                let chunk = chunks(&[&hex(part)]);
                // With the end of its chunk, and without.
                sim.feed(&chunk[..chunk.len() - 2 * cut]);
                want.push(of(delivery, i + 1));
                assert_eq!(sim.events, want, "{delivery:?}");
                assert!(sim.input.is_empty(), "all is taken");
                sim.feed(&chunk[chunk.len() - 2 * cut..]);
            }
            sim.feed(&[&chunks(&[&hex("030070c2ed954e000000")])[..], b"0\r\n\r\n"].concat());
            want.push("= complete".into());
            assert_eq!(sim.events, want, "{delivery:?}");
        }
    }
}

/// A few bytes that decode to thousands of events: each call returns one, and takes the last input
/// byte only with the last of them.
#[test]
fn what_few_bytes_become_is_reported_one_by_one() {
    let stream = "data: x\n\n".repeat(50_000);
    let coded = gzip(stream.as_bytes()).unwrap();
    let (bytes, _) = &framings(HEAD, &coded)[1];
    assert!(bytes.len() < 3000, "{}", bytes.len());
    for step in [1, 100, bytes.len()] {
        let mut sim = sim(Delivery::Events, false, Limits::default());
        bytes.chunks(step).for_each(|part| sim.feed(part));
        assert_eq!(sim.events.len(), 50_002);
        assert_eq!(sim.events.last().unwrap(), "= complete");
    }
    // The same bytes as pieces, each within the limit.
    let limits = Limits { decoded_piece: 1000, ..Limits::default() };
    let mut sim = sim(Delivery::Raw, true, limits);
    sim.feed(bytes);
    assert!(sim.events.iter().all(|piece| piece.len() <= 1300));
    assert_eq!(sim.events.len(), 452);
}

/// FAULTS 56 and 58.
#[test]
fn a_bomb_is_bounded_by_its_ratio_and_by_the_limits_of_events() {
    let bomb = gzip(&vec![b'a'; 20 << 20]).unwrap();
    let (bytes, _) = &framings(HEAD, &bomb)[1];
    let mut raw = sim(Delivery::Raw, true, Limits::default());
    let most = 2 + Limits::default().decoded_free / Limits::default().decoded_piece + 1;
    raw.feed(bytes);
    assert_eq!(raw.events.last().unwrap(), "= Coding(Ratio(200))");
    assert!(raw.events.len() <= most);
    for delivery in [Delivery::Events, Delivery::Blocks] {
        let mut events = sim(delivery, true, Limits::default());
        events.feed(bytes);
        assert_eq!(events.events.len(), 2);
        assert!(events.events[1].starts_with("= EventStream(Long"), "{}", events.text());
    }
}

#[test]
fn an_answer_that_is_refused_says_why_without_its_coding() {
    let coded = gzip(b"{\"error\":\"no such model\"}").unwrap();
    let head = "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let want = "= Status 400 Bad <{\\\"error\\\":\\\"no such model\\\"}>";
    for delivery in [Delivery::Events, Delivery::Blocks, Delivery::EventBytes] {
        for decode in [true, false] {
            all(delivery, decode, head, &coded, want);
        }
    }
    // An unknown coding does not hide a refused response.
    let none = head.replace("gzip", "br");
    all(Delivery::Events, true, &none, &coded, "= Status 400 Bad <>");
    all(Delivery::Events, true, head, b"no gzip at all", "= Status 400 Bad <>");
    let bomb = gzip(&vec![b'a'; 1 << 20]).unwrap();
    let mut refused = sim(Delivery::Events, true, Limits { refusal: 10, ..Limits::default() });
    refused.feed(&framings(head, &bomb)[1].0);
    assert_eq!(refused.text(), "= Status 400 Bad <aaaaaaaaaa>");
}

#[test]
fn the_response_says_that_it_is_decoded_and_the_trace_who_asked() {
    let coded = gzip(b"data: hello\n\n").unwrap();
    for (delivery, decode, note) in [
        (Delivery::Raw, true, "<- coded as gzip; it is decoded"),
        (Delivery::Blocks, false, "<- coded as gzip though identity was asked for; it is decoded"),
    ] {
        let (bytes, _) = &framings(HEAD, &coded)[1];
        let mut sim = sim(delivery, decode, Limits::default());
        let mut cx = Context { now: sim.now, random: &mut Zero };
        let (used, event) = sim.exchange.receive(&mut cx, bytes);
        let Some(Event::Response(response)) = event else { panic!("{event:?}") };
        assert!(response.decoded);
        let fields = (response.headers.get_str("Content-Encoding"), coded.len().to_string());
        assert_eq!(fields.0, Some("gzip"));
        assert_eq!(response.headers.get_str("Content-Length"), Some(&fields.1[..]));
        sim.feed(&bytes[used..]);
        let notes: Vec<String> =
            sim.exchange.notes().unwrap().iter().map(|note| note.to_string()).collect();
        assert_eq!(notes[2], note);
        assert_eq!(notes[3], "<- body 13 \"data: hello\\n\\n\"");
        assert_eq!(notes[4], format!("<- body 13 coded as {}", coded.len()));
    }
    let mut plain = sim(Delivery::Raw, true, Limits::default());
    let mut cx = Context { now: plain.now, random: &mut Zero };
    let (_, event) = plain.exchange.receive(&mut cx, b"HTTP/1.1 200 OK\r\n\r\nhello");
    assert!(matches!(event, Some(Event::Response(response)) if !response.decoded));
}

#[cfg(feature = "net")]
#[test]
fn a_body_is_decoded_from_the_end_of_its_head_to_its_own() {
    let [_, (bytes, _), _] = framings(HEAD, &gzip(b"data: hello\n\n").unwrap());
    for delivery in [Delivery::Raw, Delivery::Events, Delivery::Blocks] {
        let mut sim = sim(delivery, true, Limits::default());
        let (head, body) = bytes.split_at(bytes.len() - 1);
        sim.feed(&head[..HEAD.len()]);
        assert!(!sim.exchange.is_decoding(), "{delivery:?}");
        sim.feed(&head[HEAD.len()..]);
        assert!(sim.exchange.is_decoding(), "{delivery:?}");
        sim.feed(body);
        assert!(!sim.exchange.is_decoding(), "{delivery:?}: {}", sim.text());
    }
}

/// The server may have copied the secret of a field into the name of a coding.
#[test]
fn an_error_shows_no_coding_that_repeats_a_secret() {
    for (name, shown) in [("x-unknown", "x-unknown"), ("x-hidden", "***")] {
        let url = Url::parse_http("http://a.example/x").unwrap();
        let mut request = Request::new("GET", url).unwrap();
        request.decode(true).secret_header("X-Own", "hidden").unwrap();
        let settings = Settings::default();
        let mut sim = Sim::of(Exchange::new(request, Delivery::Raw, &settings, Timing::default()));
        let mut cx = Context { now: sim.now, random: &mut Zero };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\n\r\n");
        let (_, event) = sim.exchange.receive(&mut cx, head.as_bytes());
        let Some(Event::Closed(Closed::Failed(Failure::Http(HttpError::Coding(e))))) = event else {
            panic!("{event:?}")
        };
        assert_eq!(e, crate::proto::http::CodingError::Unknown(shown.into()));
    }
}
