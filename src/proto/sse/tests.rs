//! Both parsers against tables, an oracle and their limits; every input whole and in pieces.

mod borders;
mod comments;

use std::borrow::Cow;
use std::time::Duration;

use super::*;
use crate::limits::Limits;

/// All results of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    events: Vec<Event>,
    last_event_id: String,
    retry: Option<Duration>,
    error: Option<SseError>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Raw {
    blocks: Vec<Vec<u8>>,
    rest: Option<Vec<u8>>,
    error: Option<SseError>,
}

/// Calls `receive` until it has taken everything, as the law demands, and checks the parser's side
/// of the law.
fn drain<'b, T>(
    mut input: &'b [u8],
    mut receive: impl FnMut(&'b [u8]) -> Result<(usize, Option<T>), SseError>,
    mut give: impl FnMut(T),
) -> Result<(), SseError> {
    loop {
        let (used, output) = receive(input)?;
        assert!(used <= input.len(), "{used} of {} bytes taken", input.len());
        input = &input[used..];
        match output {
            Some(output) => give(output),
            None => {
                assert!(input.is_empty(), "left: {input:x?}");
                return Ok(());
            }
        }
    }
}

fn parse<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, limits: &Limits) -> Parsed {
    let (mut parser, mut parsed) = (Events::new(limits), Parsed::default());
    for piece in pieces {
        let result = drain(piece, |input| parser.receive(input), |e| parsed.events.push(e));
        parsed.error = parsed.error.or(result.err());
    }
    parsed.last_event_id = parser.last_event_id().into();
    parsed.retry = parser.retry();
    parsed
}

fn cut<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, limits: &Limits) -> Raw {
    let (mut parser, mut raw) = (Blocks::new(limits), Raw::default());
    for piece in pieces {
        let give = |block: Cow<'_, [u8]>| raw.blocks.push(block.into_owned());
        let result = drain(piece, |input| parser.receive(input), give);
        raw.error = raw.error.or(result.err());
    }
    raw.rest = parser.finish();
    assert_eq!(parser.finish(), None, "what was given is gone");
    raw
}

/// The result of `bytes` whole; byte by byte, two by two and with each single cut it is the same.
fn in_all_pieces<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    run: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T,
) -> T {
    let whole = run(&mut std::iter::once(bytes));
    for size in 1..=3 {
        assert_eq!(run(&mut bytes.chunks(size)), whole, "{size} at a time: {bytes:x?}");
    }
    if bytes.len() < 256 {
        for at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(run(&mut [a, b].into_iter()), whole, "cut at {at}: {bytes:x?}");
        }
    }
    whole
}

fn check_events(bytes: &[u8]) -> Parsed {
    let limits = Limits::default();
    let parsed = in_all_pieces(bytes, |pieces| parse(pieces, &limits));
    assert_eq!(parsed, oracle::events(bytes), "oracle: {bytes:x?}");
    parsed
}

fn check_blocks(bytes: &[u8]) -> Raw {
    let limits = Limits::default();
    let raw = in_all_pieces(bytes, |pieces| cut(pieces, &limits));
    assert_eq!(raw, oracle::blocks(bytes), "oracle: {bytes:x?}");
    raw
}

/// The same rules on the whole text at once, as simply as possible.
mod oracle {
    use super::*;

    pub(super) fn events(bytes: &[u8]) -> Parsed {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.pop();
        let (mut out, mut id) = (Parsed::default(), String::new());
        let (mut event, mut data, mut retry) = (String::new(), String::new(), None);
        for line in lines {
            if line.is_empty() {
                out.last_event_id = id.clone();
                if let Some(data) = data.strip_suffix('\n') {
                    let event = if event.is_empty() { "message" } else { &event };
                    let (event, data) = (event.to_owned(), data.to_owned());
                    out.events.push(Event { event: event.into(), data, id: id.clone(), retry });
                }
                (event, data, retry) = Default::default();
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => event = value.to_owned(),
                "data" => data = data + value + "\n",
                "id" if !value.contains('\0') => id = value.to_owned(),
                "retry" if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() => {
                    retry = Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)));
                    out.retry = retry;
                }
                _ => {}
            }
        }
        out
    }

    pub(super) fn blocks(bytes: &[u8]) -> Raw {
        // Maps each byte to the character with that number, so nothing is lost.
        let text: String = bytes.iter().map(|&b| char::from(b)).collect();
        let text = text.strip_prefix("\u{EF}\u{BB}\u{BF}").unwrap_or(&text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let back = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
        let (mut raw, mut block) = (Raw::default(), String::new());
        for line in text.split_inclusive('\n') {
            if line == "\n" && block.is_empty() {
                continue;
            }
            block += line;
            if line == "\n" {
                raw.blocks.push(back(&std::mem::take(&mut block)));
            }
        }
        raw.rest = Some(back(&block)).filter(|rest| !rest.is_empty());
        raw
    }
}

/// For each input: type, data and ID of each event, then the last event ID at the end.
type Row<'a> = (&'a str, &'a [u8], &'a [(&'a str, &'a str, &'a str)], &'a str);

fn check_rows(rows: &[Row<'_>]) {
    for (name, bytes, want, id) in rows {
        let parsed = check_events(bytes);
        let got: Vec<_> =
            parsed.events.iter().map(|e| (&e.event[..], &e.data[..], &e.id[..])).collect();
        assert_eq!(got, *want, "{name}");
        assert_eq!(parsed.last_event_id, *id, "{name}");
        check_blocks(bytes);
        // An incomplete line behind the input changes nothing.
        let longer = parse([*bytes, b"id: unfinished"], &Limits::default());
        assert_eq!(longer, parsed, "{name}, with bytes behind");
    }
}

/// Inputs and results of the `format-*` tests of the web-platform-tests suite (`eventsource/`), by
/// their names there.
#[test]
fn web_platform_tests() {
    let long = "x".repeat(2048);
    let comments =
        format!("data:1\r:\0\n:\r\ndata:2\n:{long}\rdata:3\n:data:fail\r:{long}\ndata:4\n\n");
    let fields = b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\n\
                   data:3\rdata:\r\n data:32\ndata:4\n\n";
    let m = "message";
    check_rows(&[
        (
            "format-bom: a mark behind the start is part of a field name",
            b"\xEF\xBB\xBFdata:1\n\n\xEF\xBB\xBFdata:2\n\ndata:3\n\n\n",
            &[(m, "1", ""), (m, "3", "")],
            "",
        ),
        (
            "format-bom-2: only one mark is removed",
            b"\xEF\xBB\xBF\xEF\xBB\xBFdata:1\n\ndata:2\n\ndata:3\n\n\n",
            &[(m, "2", ""), (m, "3", "")],
            "",
        ),
        ("format-comments", comments.as_bytes(), &[(m, "1\n2\n3\n4", "")], ""),
        (
            "format-data-before-final-empty-line: the unfinished block and its ID are dropped",
            b"retry:1000\ndata:test1\n\nid:test\ndata:test2\n",
            &[(m, "test1", "")],
            "",
        ),
        (
            "format-field-data: empty data is dispatched",
            b"data:\n\ndata\ndata\n\ndata:test\n\n\n",
            &[(m, "", ""), (m, "\n", ""), (m, "test", "")],
            "",
        ),
        (
            "format-field-event: holds for one event",
            b"event:test\ndata:x\n\ndata:x\n\n\n",
            &[("test", "x", ""), (m, "x", "")],
            "",
        ),
        ("format-field-event-empty", b"event: \ndata:data\n\n\n", &[(m, "data", "")], ""),
        (
            "format-field-id",
            "id: …\nretry: 200\ndata: hello\n\n".as_bytes(),
            &[(m, "hello", "…")],
            "…",
        ),
        (
            "format-field-id-3: persists",
            b"id: 1\ndata: 1\n\ndata:2\n\n",
            &[(m, "1", "1"), (m, "2", "1")],
            "1",
        ),
        (
            "format-field-id-3: changes and persists",
            b"id: 1\ndata: 1\n\nid: 2\ndata:2\n\ndata:3\n\n",
            &[(m, "1", "1"), (m, "2", "2"), (m, "3", "2")],
            "2",
        ),
        (
            "format-field-id-3: resets",
            b"id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n",
            &[(m, "1", "1"), (m, "2", ""), (m, "3", "")],
            "",
        ),
        ("format-field-id-null", b"id: \0\0\nretry: 200\ndata: hello\n\n", &[(m, "hello", "")], ""),
        ("format-field-parsing", fields, &[(m, "\0\n 2\n1\n3\n\n4", "")], ""),
        (
            "format-field-unknown",
            b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
            &[(m, "test\n\ntest", "")],
            "",
        ),
        (
            "format-leading-space: one space, no tab",
            b"data:\ttest\rdata: \ndata:test\n\n",
            &[(m, "\ttest\n\ntest", "")],
            "",
        ),
        (
            "format-newlines",
            b"data:test\r\ndata\ndata:test\r\n\r\n",
            &[(m, "test\n\ntest", "")],
            "",
        ),
        (
            "format-newlines: the last line end is a CR",
            b"data:test\r\ndata\ndata:test\r\n\r",
            &[(m, "test\n\ntest", "")],
            "",
        ),
        ("format-null-character", b"data:\0\n\n\n\n", &[(m, "\0", "")], ""),
        ("format-utf-8", "data:ok…\n\n".as_bytes(), &[(m, "ok…", "")], ""),
    ]);
}

#[test]
fn web_platform_test_format_field_id_2_the_id_outlives_a_reconnect() {
    let mut parser = Events::new(&Limits::default());
    let input = "id: …\nretry: 200\ndata: hello\n\nid: lost\ndata: cut".as_bytes();
    let mut events = Vec::new();
    drain(input, |i| parser.receive(i), |e| events.push(e)).expect("good");
    for _ in 0..2 {
        parser.restart();
        assert_eq!((parser.last_event_id(), parser.retry()), ("…", Some(millis(200))));
        drain("data: …\n\n".as_bytes(), |i| parser.receive(i), |e| events.push(e)).expect("good");
    }
    let got: Vec<_> = events.iter().map(|e| (&e.data[..], &e.id[..])).collect();
    assert_eq!(got, [("hello", "…"), ("…", "…"), ("…", "…")]);
}

/// Inputs and results of LaunchDarkly's sse-contract-tests (parsing, comments, byte order mark).
#[test]
fn contract_tests() {
    const MARK: &str = "\u{FEFF}";
    let marked = |text: &str| format!("{MARK}{text}").into_bytes();
    let kept = format!("{MARK}Second");
    let m = "message";
    check_rows(&[
        ("one line", b"data: Hello\n\n", &[(m, "Hello", "")], ""),
        (
            "two events",
            b"data: Hello\n\ndata: World\n\n",
            &[(m, "Hello", ""), (m, "World", "")],
            "",
        ),
        ("two lines", b"data: Hello\ndata:World\n\n", &[(m, "Hello\nWorld", "")], ""),
        ("empty data", b"data:\n\n", &[(m, "", "")], ""),
        ("a type", b"event: greeting\ndata: Hello\n\n", &[("greeting", "Hello", "")], ""),
        ("an ID", b"id: abc\ndata: Hello\n\n", &[(m, "Hello", "abc")], "abc"),
        (
            "type and ID",
            b"event: greeting\nid: abc\ndata: Hello\n\n",
            &[("greeting", "Hello", "abc")],
            "abc",
        ),
        ("an ID with NUL", b"id: a\0bc\ndata: Hello\n\n", &[(m, "Hello", "")], ""),
        (
            "the ID persists",
            b"id: abc\ndata: first\n\ndata: second\n\n",
            &[(m, "first", "abc"), (m, "second", "abc")],
            "abc",
        ),
        (
            "an empty ID resets",
            b"id: abc\ndata: first\n\nid: \ndata: second\n\n",
            &[(m, "first", "abc"), (m, "second", "")],
            "",
        ),
        (
            "fields in any order",
            b"data: Hello\nid: abc\nevent: greeting\n\n",
            &[("greeting", "Hello", "abc")],
            "abc",
        ),
        (
            "an unknown field",
            b"event: greeting\ncolor: blue\ndata: Hello\n\n",
            &[("greeting", "Hello", "")],
            "",
        ),
        ("no space", b"event:greeting\ndata:Hello\n\n", &[("greeting", "Hello", "")], ""),
        ("two spaces", b"event:  greeting\ndata:  Hello\n\n", &[(" greeting", " Hello", "")], ""),
        ("no colon", b"data\n\ndata\ndata\n\n", &[(m, "", ""), (m, "\n", "")], ""),
        ("multi-byte", "data: €豆腐\n\n".as_bytes(), &[(m, "€豆腐", "")], ""),
        ("a comment alone", b":Hello\n", &[], ""),
        ("comments and an event", b":Hello\n:World\ndata: Hello\n\n:x\n", &[(m, "Hello", "")], ""),
        (
            "line ends cut everywhere",
            b"data: Hello\r\ndata: World\r\n\r\ndata: OK\r\n\r\n",
            &[(m, "Hello\nWorld", ""), (m, "OK", "")],
            "",
        ),
        ("a mark", &marked("data: Hello\n\n"), &[(m, "Hello", "")], ""),
        (
            "a mark, then other fields",
            &marked("event: greeting\nid: abc\ndata: Hello\n\n"),
            &[("greeting", "Hello", "abc")],
            "abc",
        ),
        (
            "a mark, then two events",
            &marked("data: First\n\ndata: Second\n\n"),
            &[(m, "First", ""), (m, "Second", "")],
            "",
        ),
        (
            "a mark in a value",
            format!("data: First\n\ndata: {kept}\n\n").as_bytes(),
            &[(m, "First", ""), (m, &kept, "")],
            "",
        ),
        (
            "a mark, and one in a value",
            &marked(&format!("data: {kept}\n\n")),
            &[(m, &kept, "")],
            "",
        ),
        ("a mark, then a comment", &marked(":c\ndata: Hello\n\n"), &[(m, "Hello", "")], ""),
        ("a mark, then empty data", &marked("data:\n\n"), &[(m, "", "")], ""),
    ]);
}

#[test]
fn contract_tests_of_each_line_end() {
    for end in ["\n", "\r\n", "\r"] {
        for (text, want) in [
            ("data: event 1||", &["event 1"][..]),
            ("data: event 1||data: a|data: b||", &["event 1", "a\nb"]),
            ("data:|data: line2|data: line3||", &["\nline2\nline3"]),
            ("data: line1|data:|data: line3||", &["line1\n\nline3"]),
            ("data: event 1|||data: event 2||", &["event 1", "event 2"]),
            ("data: event 1||||data: event 2||", &["event 1", "event 2"]),
            ("||data: event 1||", &["event 1"]),
        ] {
            let bytes = text.replace('|', end);
            let parsed = check_events(bytes.as_bytes());
            let got: Vec<_> = parsed.events.iter().map(|e| &e.data[..]).collect();
            assert_eq!(got, want, "{bytes:?}");
            assert_eq!(check_blocks(bytes.as_bytes()).blocks.len(), want.len(), "{bytes:?}");
        }
    }
}

#[test]
fn contract_tests_of_sizes() {
    let limits = Limits { sse_line: 2 << 20, ..Default::default() };
    for size in [1, 128, 1023, 1024, 1025, 4094, 4096, 8192, 8195, 65536, 262_144, 1 << 20] {
        let data = "x".repeat(size);
        let bytes = format!("data: {data}\n\n");
        for piece in [1000, 16384, bytes.len()] {
            let parsed = parse(bytes.as_bytes().chunks(piece), &limits);
            assert!(parsed.error.is_none() && parsed.events.len() == 1, "{size} by {piece}");
            assert!(parsed.events[0].data == data, "{size} by {piece}");
        }
    }
}

#[test]
fn rules_that_other_suites_leave_open() {
    // FAULTS 60.
    let m = "message";
    check_rows(&[
        ("nothing", b"", &[], ""),
        ("blank lines", b"\n\r\n\r\r\n\n", &[], ""),
        ("names are case-sensitive", b"DATA: 1\nData: 2\nID: 3\n\n", &[], ""),
        ("no space before the name", b" data: 1\n\n", &[], ""),
        ("the first colon counts", b"data: a: b:\n\n", &[(m, "a: b:", "")], ""),
        ("an event without data is none", b"event: a\n\ndata: b\n\n", &[(m, "b", "")], ""),
        ("the last type counts", b"event: a\nevent: b\ndata: c\n\n", &[("b", "c", "")], ""),
        ("an empty type resets", b"event:a\nevent:\ndata:x\n\n", &[(m, "x", "")], ""),
        ("an ID without data is taken", b"id: 1\n\n", &[], "1"),
        ("an ID without data holds later", b"id: 1\n\ndata: x\n\n", &[(m, "x", "1")], "1"),
        ("an ID resets without data", b"id: 1\n\nid\n\n", &[], ""),
        ("an ID behind data", b"data: x\nid: 1\n\n", &[(m, "x", "1")], "1"),
        ("an unfinished block gives no ID", b"id: 1\n\nid: 2\ndata: x\n", &[], "1"),
        ("an unfinished line gives no ID", b"id: 1\n\nid: 2", &[], "1"),
        ("an ID with NUL keeps the old one", b"id: 1\n\nid: 2\0\n\n", &[], "1"),
        ("an ID with NUL keeps one of its block", b"id: 1\nid: 2\0\n\n", &[], "1"),
        ("wrong bytes", b"data: a\xFFb\xC3\n\n", &[(m, "a\u{FFFD}b\u{FFFD}", "")], ""),
        (
            "a sequence ends with its line",
            b"data: \xE2\x82\ndata: \xAC\n\n",
            &[(m, "\u{FFFD}\n\u{FFFD}", "")],
            "",
        ),
        ("maximal parts", b"data: \xF0\x9F\x98\xE2\x82x\n\n", &[(m, "\u{FFFD}\u{FFFD}x", "")], ""),
        (
            "wrong bytes in type and ID",
            b"event: \xFF\nid: \xC0\ndata\n\n",
            &[("\u{FFFD}", "", "\u{FFFD}")],
            "\u{FFFD}",
        ),
        ("a wrong byte in a name", b"data\xFF: x\n\n", &[], ""),
        ("half a mark", b"\xEF\xBBdata: x\n\ndata: y\n\n", &[(m, "y", "")], ""),
        ("half a mark, then a whole one", b"\xEF\xEF\xBB\xBFdata: x\n\n", &[], ""),
        ("a mark alone", b"\xEF\xBB\xBF", &[], ""),
        ("a mark and a blank line", b"\xEF\xBB\xBF\n\ndata: x\n\n", &[(m, "x", "")], ""),
        ("a mark behind a blank line", b"\n\xEF\xBB\xBFdata: x\n\n", &[], ""),
    ]);
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// An event with data, one without, and an unfinished one.
#[test]
fn retry_is_a_number_of_digits() {
    for (lines, want) in [
        // web-platform-tests: format-field-retry, format-field-retry-bogus, -retry-empty.
        ("retry:02000", Some(2000)),
        ("retry:2000\nretry:1000x", Some(2000)),
        ("retry", None),
        ("retry:", None),
        ("retry: ", None),
        ("retry: 3000", Some(3000)),
        ("retry:  3000", None),
        ("retry:3000 ", None),
        ("retry:+1", None),
        ("retry:-1", None),
        ("retry:1.5", None),
        ("retry:1e3", None),
        ("retry:0x10", None),
        ("retry:٣", None),
        ("retry:0", Some(0)),
        ("retry:1\nretry:2", Some(2)),
        ("Retry:1", None),
        ("retry:18446744073709551615", Some(u64::MAX)),
        ("retry:18446744073709551616", Some(u64::MAX)),
        ("retry:99999999999999999999999999999999999999990", Some(u64::MAX)),
        ("retry:00000000000000000000000000000000000000007", Some(7)),
    ] {
        let want = want.map(millis);
        let with_data = check_events(format!("{lines}\ndata: x\n\ndata: y\n\n").as_bytes());
        let retries: Vec<_> = with_data.events.iter().map(|e| e.retry).collect();
        assert_eq!((retries, with_data.retry), (vec![want, None], want), "{lines}");
        let without = check_events(format!("{lines}\n\ndata: x\n\n").as_bytes());
        assert_eq!((without.events[0].retry, without.retry), (None, want), "{lines}");
        let unfinished = check_events(format!("{lines}\n").as_bytes());
        assert_eq!(unfinished.retry, want, "{lines}");
    }
    let cut = check_events(b"retry:10");
    assert_eq!(cut.retry, None, "a line that is cut does not count");
    // Clocks count seconds as signed 64-bit numbers; the largest time fits twice.
    assert!(i64::try_from(millis(u64::MAX).as_secs()).is_ok_and(|s| s < i64::MAX / 3));
}

#[test]
fn blocks_keep_their_bytes() {
    for (bytes, blocks, rest) in [
        (&b""[..], &[][..], None),
        (b"event: x\ndata: y\n\n", &[&b"event: x\ndata: y\n\n"[..]], None),
        (b"event: x\r\ndata: y\r\n\r\n", &[b"event: x\ndata: y\n\n"], None),
        (b"event: x\rdata: y\r\r", &[b"event: x\ndata: y\n\n"], None),
        (b"a\nb\rc\r\n\rd\n\r\n", &[b"a\nb\nc\n\n", b"d\n\n"], None),
        (b": ping\n\ndata: x\n\n", &[b": ping\n\n", b"data: x\n\n"], None),
        (b"data: x\n\n\ndata: y\n\n\n\n", &[b"data: x\n\n", b"data: y\n\n"], None),
        (b"\n\r\n\r\rdata: x\n\n", &[b"data: x\n\n"], None),
        (b"data: \xFF\0\xC3\n\n", &[b"data: \xFF\0\xC3\n\n"], None),
        (b" \n\n\t\n\n", &[b" \n\n", b"\t\n\n"], None),
        (b"data: x\n\ndata: y", &[b"data: x\n\n"], Some(&b"data: y"[..])),
        (b"data: y\n", &[], Some(b"data: y\n")),
        (b"data: y\r", &[], Some(b"data: y\n")),
        (b"data: y\r\n", &[], Some(b"data: y\n")),
        (b"\xEF\xBB\xBFdata: x\n\n", &[b"data: x\n\n"], None),
        (b"\xEF\xBB\xBF\xEF\xBB\xBFa\n\n", &[b"\xEF\xBB\xBFa\n\n"], None),
        (b"\xEF\xBB\xBF\r\n\xEF\xBB\xBFa\r\n\r\n", &[b"\xEF\xBB\xBFa\n\n"], None),
        (b"a\n\n\xEF\xBB\xBFb\n\n", &[b"a\n\n", b"\xEF\xBB\xBFb\n\n"], None),
        (b"\xEF\xBB\xBF", &[], None),
        (b"\xEF\xBB", &[], Some(b"\xEF\xBB")),
        (b"\xEF", &[], Some(b"\xEF")),
        (b"\xEF\xBB\n\n", &[b"\xEF\xBB\n\n"], None),
        (b"\xEF\xBBx", &[], Some(b"\xEF\xBBx")),
        (b"\n\n", &[], None),
        (b"\r", &[], None),
    ] {
        let raw = check_blocks(bytes);
        assert_eq!(raw.blocks, blocks, "{bytes:x?}");
        assert_eq!(raw.rest.as_deref(), rest, "{bytes:x?}");
        check_events(bytes);
    }
}

#[test]
fn a_block_ends_with_the_cr_of_its_blank_line() {
    let limits = Limits::default();
    let (mut events, mut blocks) = (Events::new(&limits), Blocks::new(&limits));
    let input = b"data: x\r\n\r";
    assert!(matches!(events.receive(input), Ok((10, Some(_)))));
    assert!(matches!(blocks.receive(input), Ok((10, Some(_)))));
    // The LF of that line end comes later and ends no line.
    assert_eq!(events.receive(b"\n"), Ok((1, None)));
    assert_eq!(blocks.receive(b"\n"), Ok((1, None)));
    assert_eq!(blocks.finish(), None);
}

#[test]
fn a_block_that_stands_whole_in_the_input_is_lent() {
    let limits = Limits::default();
    for (pieces, lent) in [
        (&[&b"a\nb\n\n"[..]][..], true),
        (&[b"\xEF\xBB\xBFa\n\n"], true),
        (&[b"\xEF\xBB\xBF", b"a\n\n"], true),
        (&[b"\n\r\n\ra\n\n"], true),
        (&[b"\r", b"\na\n\n"], true),
        (&[b"a\r\n\r\n"], false),
        (&[b"a\n\r"], false),
        (&[b"a", b"\n\n"], false),
        (&[b"a\n", b"\n"], false),
    ] {
        let mut parser = Blocks::new(&limits);
        let mut got = Vec::new();
        for piece in pieces {
            let give = |block: Cow<'_, [u8]>| got.push(matches!(block, Cow::Borrowed(_)));
            drain(piece, |input| parser.receive(input), give).expect("good");
        }
        assert_eq!(got, [lent], "{pieces:x?}");
    }
}

/// xorshift64*, good enough to choose bytes and cuts.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn text(&mut self) -> Vec<u8> {
        const BYTES: &[&[u8]] = &[
            b"\r", b"\n", b"\r\n", b":", b" ", b"d", b"a", b"t", b"\xEF", b"\xBB", b"\xBF", b"\0",
            b"\xFF", b"\xE2", b"\x82", b"\xAC", b"7",
        ];
        const WORDS: &[&[u8]] = &[
            b"data",
            b"data:",
            b"data: ",
            b"event:",
            b"id:",
            b"id: ",
            b"retry:",
            b"\n\n",
            b"\r\r",
            b"\r\n\r\n",
            b"\xEF\xBB\xBF",
            b"\xE2\x82\xAC",
            b":",
            b"\n",
            b"\r",
            b"\n",
            b"1",
        ];
        let n = self.below(40);
        let from = if self.below(3) == 0 { BYTES } else { WORDS };
        let mut text = Vec::new();
        for _ in 0..n {
            let part = if self.below(4) == 0 { self.pick(BYTES) } else { self.pick(from) };
            text.extend_from_slice(part);
        }
        text
    }

    fn pieces<'b>(&mut self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let most = self.pick(&[1, 2, 3, 8, 40]);
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(self.below(most + 1).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

#[test]
fn random_streams_agree_with_the_oracle() {
    let (mut rng, limits) = (Rng(0x9E37_79B9_7F4A_7C15), Limits::default());
    let (mut events, mut blocks) = (0, 0);
    for round in 0..15_000 {
        let text = rng.text();
        let (parsed, raw) = (oracle::events(&text), oracle::blocks(&text));
        events += parsed.events.len();
        blocks += raw.blocks.len();
        let pieces = rng.pieces(&text);
        assert_eq!(parse([&text[..]], &limits), parsed, "{round}: {text:x?}");
        assert_eq!(parse(pieces.iter().copied(), &limits), parsed, "{round}: {pieces:x?}");
        assert_eq!(cut([&text[..]], &limits), raw, "{round}: {text:x?}");
        assert_eq!(cut(pieces, &limits), raw, "{round}: {text:x?}");
    }
    assert!(events > 4000 && blocks > 4000, "{events} events, {blocks} blocks");
}

/// Random streams under small limits: cuts change neither the results nor the error.
#[test]
fn limits_do_not_depend_on_the_pieces() {
    let mut rng = Rng(0xD1B5_4A32_D192_ED03);
    let (mut lines, mut events) = (0, 0);
    for round in 0..15_000 {
        let text = rng.text();
        let (sse_line, sse_block) = (2 + rng.below(20), rng.below(40));
        let limits = Limits { sse_line, sse_block, ..Default::default() };
        let (parsed, raw) = (parse(text.chunks(1), &limits), cut(text.chunks(1), &limits));
        let pieces = rng.pieces(&text);
        assert_eq!(parse([&text[..]], &limits), parsed, "{round}: {text:x?}");
        assert_eq!(parse(pieces.iter().copied(), &limits), parsed, "{round}: {pieces:x?}");
        assert_eq!(cut([&text[..]], &limits), raw, "{round}: {text:x?}");
        assert_eq!(cut(pieces, &limits), raw, "{round}: {text:x?}");
        for error in [parsed.error, raw.error].into_iter().flatten() {
            lines += usize::from(error == SseError::LongLine);
            events += usize::from(error == SseError::LongEvent);
        }
        let longest = raw.blocks.iter().map(Vec::len).max().unwrap_or(0);
        assert!(longest <= sse_block, "{round}: {longest} bytes");
    }
    assert!(lines > 500 && events > 500, "{lines} long lines, {events} long events");
}

#[test]
fn limits_hold_at_n_and_break_at_n_plus_1() {
    // FAULTS 58.
    let limits = Limits { sse_line: 20, sse_block: 50, ..Default::default() };
    let x = |n: usize| "x".repeat(n);
    let (line, event) = (Some(SseError::LongLine), Some(SseError::LongEvent));
    let mark = "\u{FEFF}";
    for (bytes, parsed, raw) in [
        // A line, whatever it contains and whether its end has come; a mark does not belong to it.
        (format!("data: {}\n\n", x(14)), None, None),
        (format!("data: {}\n\n", x(15)), line, line),
        (format!("data: {}", x(14)), None, None),
        (format!("data: {}", x(15)), line, line),
        (format!("{mark}data: {}\r\n", x(14)), None, None),
        (format!("{mark}data: {}\r\n", x(15)), line, line),
        (format!("a\r\n\r\n{mark}{}", x(17)), None, None),
        (format!("a\r\n\r\n{mark}{}", x(18)), line, line),
        (format!(":{}\n\n", x(19)), None, None),
        (format!(":{}\n\n", x(20)), line, line),
        (x(20), None, None),
        (x(21), line, line),
        // Blocks: 50 bytes with all line ends, then one more.
        (format!("{0}\n{0}\n{1}\n\n", x(20), x(6)), None, None),
        (format!("{0}\n{0}\n{1}\n\n", x(20), x(7)), None, event),
        (format!("{0}\r\n{0}\r{1}\r\n\r\n", x(20), x(6)), None, None),
        (format!("{0}\r\n{0}\r{1}\r\n\r\n", x(20), x(7)), None, event),
        (format!("{0}\n{0}\n{1}", x(20), x(8)), None, None),
        (format!("{0}\n{0}\n{1}", x(20), x(9)), None, event),
        (format!("{0}\n{0}\n{1}\n", x(20), x(8)), None, event),
        (format!("{}\n", ": \n".repeat(16)), None, None),
        (format!("{}\n", ": \n".repeat(17)), None, event),
        // Both limits at the same byte, and one before the other.
        (format!("{0}\n{1}\n{2}", x(20), x(8), x(21)), line, line),
        (format!("{0}\n{1}\n{2}", x(20), x(9), x(21)), line, event),
        // Events: data with the LFs between its lines, event and ID.
        (format!("{0}{0}\ndata:xxxxx\n", "data\n".repeat(20)), None, event),
        (format!("{}\n", "data\n".repeat(51)), None, event),
        (format!("{}\n", "data\n".repeat(52)), event, event),
        ("data:xxxxxxxxxxxxxxx\n".repeat(3), None, event),
        (format!("{}data:x\n", "data:xxxxxxxxxxxxxxx\n".repeat(3)), None, event),
        (format!("{}data:xx\n", "data:xxxxxxxxxxxxxxx\n".repeat(3)), None, event),
        (format!("{}data:xxx\n", "data:xxxxxxxxxxxxxxx\n".repeat(3)), event, event),
        (format!("id:{}\nevent:{}\ndata:{0}\ndata:\n", x(15), x(14)), None, event),
        (format!("id:{}\nevent:{}\ndata:{0}\ndata:xxxxx\n", x(15), x(14)), None, event),
        (format!("id:{}\nevent:{}\ndata:{0}\ndata:xxxxxx\n", x(15), x(14)), event, event),
        // Bytes that are not kept do not count: unknown fields, an ID that is replaced, earlier
        // blocks.
        (format!("y:{}\n", x(18)).repeat(9), None, event),
        ("id:xxxxxxxxxxxxxxxxx\n".repeat(9), None, event),
        ("data:xxxxxxxxxxxxxxx\n\n".repeat(9), None, None),
        ("\n".repeat(1000), None, None),
    ] {
        let bytes = bytes.as_bytes();
        let text = String::from_utf8_lossy(bytes);
        let events = in_all_pieces(bytes, |pieces| parse(pieces, &limits));
        assert_eq!(events.error, parsed, "events of {text:?}");
        let blocks = in_all_pieces(bytes, |pieces| cut(pieces, &limits));
        assert_eq!(blocks.error, raw, "blocks of {text:?}");
    }
}

#[test]
fn after_an_error_everything_is_taken_and_nothing_given() {
    let limits = Limits { sse_line: 20, sse_block: 50, ..Default::default() };
    let (mut events, mut blocks) = (Events::new(&limits), Blocks::new(&limits));
    let good = b"id: 1\nretry: 2\ndata: x\n\n";
    let bad = b"id: 2\ndata: xxxxxxxxxxxxxxxxxx\n\n";
    assert!(matches!(events.receive(good), Ok((24, Some(_)))));
    assert!(matches!(blocks.receive(good), Ok((24, Some(_)))));
    assert_eq!(events.receive(bad), Err(SseError::LongLine));
    assert_eq!(blocks.receive(bad), Err(SseError::LongLine));
    for input in [&good[..], bad, b""] {
        assert_eq!(events.receive(input), Ok((input.len(), None)));
        assert_eq!(blocks.receive(input), Ok((input.len(), None)));
    }
    assert_eq!(blocks.finish(), None);
    assert_eq!((events.capacity(), blocks.capacity()), (0, 0));
    assert_eq!((events.last_event_id(), events.retry()), ("1", Some(millis(2))));
    events.restart();
    assert!(matches!(events.receive(good), Ok((24, Some(_)))));
}

/// Up to 2 MiB in pieces of one byte, fast enough to show that no byte is examined again for each
/// piece: that would take hours.
#[test]
fn an_endless_stream_in_one_byte_pieces_ends_at_the_limit() {
    // FAULTS 58.
    let (line, event) = (Some(SseError::LongLine), Some(SseError::LongEvent));
    let (large, small) = (1 << 20, 1 << 17);
    for (max, start, part, parsed, raw) in [
        (large, "data:", "x", line, line),
        (large, "", "data: 0123456789\r\n", event, event),
        (small, ":", "x", line, line),
        (small, "", "data\n", None, event),
        (small, "", ": comment\n", None, event),
        (small, "", "event:1\r", None, event),
        (small, "", "\n", None, None),
        (small, "", "\r\n", None, None),
        (small, "", "data: x\n\n", None, None),
    ] {
        let mut bytes = start.to_owned();
        bytes.push_str(&part.repeat(2 * max / part.len()));
        let limits = Limits { sse_line: max, sse_block: max, ..Default::default() };
        let mut most = 0;
        let (mut events, mut blocks) = (Events::new(&limits), Blocks::new(&limits));
        let (mut e, mut b) = (None, None);
        for piece in bytes.as_bytes().chunks(1) {
            e = e.or(drain(piece, |input| events.receive(input), drop).err());
            b = b.or(drain(piece, |input| blocks.receive(input), drop).err());
            // The limits of a line and of an event, and the growth by doubling.
            most = most.max(events.capacity()).max(blocks.capacity());
            if e.is_some() && b.is_some() {
                break;
            }
        }
        assert_eq!((e, b), (parsed, raw), "{start:?}, {part:?}");
        assert!(most <= 4 * max, "{start:?}, {part:?}: {most} bytes");
    }
}

#[test]
fn a_million_small_events_keep_memory_flat() {
    let limits = Limits::default();
    let (mut events, mut blocks) = (Events::new(&limits), Blocks::new(&limits));
    let text = b"id: 12\ndata: 0123\n\n".repeat(1000);
    let (mut parsed, mut raw) = (0, 0);
    for round in 0..1000 {
        // Each round cuts elsewhere, so that lines and blocks are cut everywhere.
        let (a, b) = text.split_at(round * 37 % text.len());
        for piece in [a, b] {
            drain(piece, |input| events.receive(input), |_| parsed += 1).expect("good");
            drain(piece, |input| blocks.receive(input), |_| raw += 1).expect("good");
            assert!(events.capacity() <= 256, "{round}: {}", events.capacity());
            assert!(blocks.capacity() <= 256, "{round}: {}", blocks.capacity());
        }
    }
    assert_eq!((parsed, raw), (1_000_000, 1_000_000));
}

#[test]
fn a_large_event_leaves_no_memory_behind() {
    let limits = Limits::default();
    let (mut events, mut blocks) = (Events::new(&limits), Blocks::new(&limits));
    let large = format!("data: {}\n\n", "x".repeat(1_000_000));
    for piece in large.as_bytes().chunks(1000) {
        drain(piece, |input| events.receive(input), drop).expect("good");
        drain(piece, |input| blocks.receive(input), drop).expect("good");
    }
    assert!(events.capacity() <= 64 * 1024, "{}", events.capacity());
    assert_eq!(blocks.capacity(), 0);
}

#[test]
fn a_line_of_64_kib_leaves_its_room_for_the_next_and_a_longer_one_does_not() {
    for (len, want) in [(64 * 1024, 64 * 1024), (64 * 1024 + 1, 0)] {
        let mut events = Events::new(&Limits::default());
        let comment = [b":".repeat(len), b"\n".to_vec()].concat();
        let (first, last) = comment.split_at(len);
        events.receive(b"\n").expect("good");
        for piece in [first, last] {
            assert_eq!(events.receive(piece), Ok((piece.len(), None)));
        }
        assert_eq!(events.capacity(), want, "{len}");
    }
}

/// The next byte of a small block then costs no copy of it.
#[test]
fn the_room_for_a_block_is_made_with_its_first_bytes() {
    for (first, want) in [(1, 128), (128, 128), (129, 129)] {
        let mut blocks = Blocks::new(&Limits::default());
        blocks.receive(b"\n").expect("good");
        blocks.receive(&b"x".repeat(first)).expect("good");
        assert_eq!(blocks.capacity(), want, "{first}");
        for _ in first..want {
            blocks.receive(b"x").expect("good");
        }
        assert_eq!(blocks.capacity(), want, "{first}");
    }
}

#[test]
fn a_small_id_leaves_its_room_for_the_next_and_a_larger_one_does_not() {
    for (len, same) in [(256, true), (257, false)] {
        let mut events = Events::new(&Limits::default());
        let mut take = |id: &str| {
            events.receive(format!("id: {id}\n\n").as_bytes()).expect("good");
            assert_eq!(events.last_event_id(), id);
            events.last_event_id().as_ptr()
        };
        let first = take(&"a".repeat(len));
        assert_eq!(take("b") == first, same, "{len}");
    }
}

#[test]
fn two_lines_of_data_take_the_room_that_they_need() {
    let mut events = Events::new(&Limits::default());
    events.receive(b"\n").expect("good");
    let (_, event) = events.receive(b"data: 0123456789\ndata: abcdefghij\n\n").expect("good");
    let data = event.expect("one").data;
    assert_eq!((data.as_str(), data.capacity()), ("0123456789\nabcdefghij", 21));
}

#[test]
fn a_last_event_id_fits_into_a_header_line() {
    // FAULTS 59.
    for bytes in [&b"id: a\rb\n\n"[..], b"id: a\nb\n\n", b"id: a\r\nX: b\n\n", b"id: a\nid: \0\n\n"]
    {
        let parsed = check_events(bytes);
        assert_eq!(parsed.last_event_id, "a", "{bytes:x?}");
    }
}

#[test]
fn a_stored_id_is_as_good_as_one_from_before() {
    let mut events = Events::new(&Limits::default());
    events.set_last_event_id("ü 1");
    let (_, event) = events.receive(b"data: x\n\n").expect("good");
    assert_eq!((event.expect("one").id.as_str(), events.last_event_id()), ("ü 1", "ü 1"));
    for none in ["a\rb", "a\n", "\0"] {
        events.set_last_event_id(none);
        assert_eq!(events.last_event_id(), "ü 1", "{none:?}");
    }
    events.set_last_event_id("");
    assert_eq!(events.last_event_id(), "");
}

#[test]
fn errors_name_the_limit_that_can_be_raised() {
    assert!(SseError::LongLine.to_string().contains("Limits::sse_line"));
    assert!(SseError::LongEvent.to_string().contains("Limits::sse_block"));
}

#[cfg(feature = "net")]
#[test]
fn a_block_that_is_whole_needs_no_more_than_one_look() {
    for (input, want) in [
        ("data: a\n\n", Some((9, Some("a")))),
        ("data: a\n\ndata: b\n\n", Some((9, Some("a")))),
        ("id: 7\n\n", Some((7, None))),
        ("\n", Some((1, None))),
        // These are for `receive`.
        ("", None),
        ("data: a\n", None),
        ("data: a\r\n\r\n", None),
    ] {
        let (mut events, mut same) =
            (Events::new(&Limits::default()), Events::new(&Limits::default()));
        // A stream may begin with a byte order mark, so its first block is for `receive`.
        assert_eq!(events.receive_whole(b"data: 0\n\n"), None);
        for parser in [&mut events, &mut same] {
            parser.receive(b"\n").expect("good");
        }
        let got = events.receive_whole(input.as_bytes());
        let data = got.as_ref().map(|(used, e)| (*used, e.as_ref().map(|e| &e.data[..])));
        assert_eq!(data, want, "{input:?}");
        if let Some((used, event)) = got {
            assert_eq!(same.receive(&input.as_bytes()[..used]), Ok((used, event)), "{input:?}");
            assert_eq!(events.last_event_id(), same.last_event_id());
        }
    }
}

#[cfg(feature = "net")]
#[test]
fn other_limits_count_from_the_next_stream_on() {
    let limits = |n| Limits { sse_line: n, sse_block: n, ..Limits::default() };
    for (first, second, fine) in [(9, 10, true), (10, 9, false)] {
        let mut events = Events::new(&limits(first));
        events.set_limits(&limits(second));
        events.restart();
        assert_eq!(events.receive(b"data: 0123\r\n\r\n").is_ok(), fine, "{first}, {second}");
    }
}

#[cfg(feature = "net")]
#[test]
fn the_bytes_of_an_event_are_those_of_its_texts() {
    let event = |event, data: &str, id: &str| Event {
        event: Cow::Borrowed(event),
        data: data.into(),
        id: id.into(),
        retry: None,
    };
    for (event, want) in [
        (event("abc", "defgh", "ijklmno"), 15),
        (event("message", "", ""), 7),
        (event("message", "ü", ""), 9),
    ] {
        assert_eq!(event.len(), want, "{event:?}");
    }
}
