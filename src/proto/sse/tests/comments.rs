//! Comments (WHATWG HTML §9.2.5: a line that starts with a colon), against a naive parser, in order
//! with the events; those are the same with comments and without.

use super::*;

/// All results of a stream, in order.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    items: Vec<EventOrComment>,
    last_event_id: String,
    retry: Option<Duration>,
    error: Option<SseError>,
}

fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, limits: &Limits) -> Seen {
    let (mut parser, mut seen) = (Events::new(limits), Seen::default());
    for piece in pieces {
        let give = |item| seen.items.push(item);
        let result = drain(piece, |input| parser.receive_with_comments(input), give);
        seen.error = seen.error.or(result.err());
    }
    seen.last_event_id = parser.last_event_id().into();
    seen.retry = parser.retry();
    seen
}

fn comments(items: &[EventOrComment]) -> Vec<&str> {
    let mut texts = Vec::new();
    for item in items {
        if let EventOrComment::Comment(text) = item {
            texts.push(&text[..]);
        }
    }
    texts
}

fn events(items: &[EventOrComment]) -> Vec<Event> {
    let event = |item: &EventOrComment| match item {
        EventOrComment::Event(event) => Some(event.clone()),
        EventOrComment::Comment(_) => None,
    };
    items.iter().filter_map(event).collect()
}

/// The results from the whole text: a comment at its line; an event where the text up to that line
/// has one more event than the text before.
fn naive(bytes: &[u8]) -> Vec<EventOrComment> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut items, mut before, mut count) = (Vec::new(), String::from('\u{FEFF}'), 0);
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        before += line;
        if let Some(comment) = line.strip_prefix(':') {
            let comment = comment.strip_suffix('\n').unwrap_or(comment);
            let comment = comment.strip_prefix(' ').unwrap_or(comment);
            items.push(EventOrComment::Comment(comment.into()));
        } else if line == "\n" {
            let events = oracle::events(before.as_bytes()).events;
            items.extend(events[count..].iter().cloned().map(EventOrComment::Event));
            count = events.len();
        }
    }
    items
}

/// Checks all cuts against the naive parser.
#[track_caller]
fn check(bytes: &[u8]) -> Seen {
    let limits = Limits::default();
    let seen = in_all_pieces(bytes, |pieces| read(pieces, &limits));
    assert_eq!(seen.items, naive(bytes), "{bytes:x?}");
    let parsed = oracle::events(bytes);
    assert_eq!(events(&seen.items), parsed.events, "{bytes:x?}");
    assert_eq!((seen.last_event_id.clone(), seen.retry), (parsed.last_event_id, parsed.retry));
    seen
}

/// Comments as `:text`, events as their data.
fn shown(items: &[EventOrComment]) -> Vec<String> {
    let show = |item: &EventOrComment| match item {
        EventOrComment::Comment(text) => format!(":{text}"),
        EventOrComment::Event(event) => event.data.clone(),
    };
    items.iter().map(show).collect()
}

/// Inputs and results of LaunchDarkly's sse-contract-tests under the capabilities `comments` and
/// `bom`, by their names there: a comment comes at the end of its line, before an event behind it.
#[test]
fn contract_tests_of_comments() {
    for (name, bytes, want) in [
        ("single comment", &b":Hello\n"[..], &[":Hello"][..]),
        ("two comments in a row", b":Hello\n:World\n", &[":Hello", ":World"]),
        ("comment before event", b":Hello\ndata: Hello\n\n", &[":Hello", "Hello"]),
        ("comment after event", b"data: Hello\n\n:Hello\n", &["Hello", ":Hello"]),
        (
            "BOM with comment at start",
            b"\xEF\xBB\xBF:comment\ndata: Hello\n\n",
            &[":comment", "Hello"],
        ),
    ] {
        assert_eq!(shown(&check(bytes).items), want, "{name}");
    }
}

/// §9.2.5: `comment = colon *any-char end-of-line`. One leading space is removed, as from a value.
#[test]
fn the_text_is_what_stands_behind_the_colon_without_one_space() {
    let long = "x".repeat(5000);
    for (line, text) in [
        (&b":"[..], Some("")),
        (b": ", Some("")),
        (b":  ", Some(" ")),
        (b":hello", Some("hello")),
        (b": hello", Some("hello")),
        (b":  hello ", Some(" hello ")),
        (b":\thello", Some("\thello")),
        (b"::", Some(":")),
        (b": : x", Some(": x")),
        (b":data: x", Some("data: x")),
        (b": id: 7", Some("id: 7")),
        (b":\0", Some("\0")),
        ("\u{3a}\u{a0}ü€".as_bytes(), Some("\u{a0}ü€")),
        (b":a\xFFb\xC3", Some("a\u{FFFD}b\u{FFFD}")),
        (b":\xEF\xBB\xBF", Some("\u{FEFF}")),
        (format!(":{long}").as_bytes(), Some(&long)),
        // Fields, known or not.
        (b" :x", None),
        (b"x:", None),
        (b"\xEF\xBB:x", None),
        (b"\0:x", None),
        (b"data::x", None),
    ] {
        for end in ["\n", "\r", "\r\n"] {
            for start in ["", "\u{FEFF}", "\n", "data: a\n", "id: 1\n\n", ":\n", "\r\r\n"] {
                let bytes = [start.as_bytes(), line, end.as_bytes()].concat();
                let seen = check(&bytes);
                let mut want: Vec<_> = (start == ":\n").then_some("").into_iter().collect();
                want.extend(text);
                assert_eq!(comments(&seen.items), want, "{bytes:x?}");
                // An incomplete line is not returned yet.
                let cut = read([&bytes[..bytes.len() - end.len()]], &Limits::default());
                want.truncate(want.len() - usize::from(text.is_some()));
                assert_eq!(comments(&cut.items), want, "{bytes:x?}");
            }
        }
    }
    // Only the first mark of a stream is removed.
    for bytes in [&b"\xEF\xBB\xBF\xEF\xBB\xBF:x\n"[..], b"\n\xEF\xBB\xBF:x\n"] {
        assert!(check(bytes).items.is_empty(), "{bytes:x?}");
    }
}

#[test]
fn a_comment_stands_in_order_and_changes_no_event() {
    let many: String = (0..300).map(|i| format!(":{i}\ndata: {i}\n")).collect();
    for (text, want) in [
        ("data: a|:1|data: b||", &[":1", "a\nb"][..]),
        (":1|data: a|:2|:3|id: 7|:4||:5|", &[":1", ":2", ":3", ":4", "a", ":5"]),
        ("event: x|:1|data|:2||data: y||", &[":1", ":2", "", "y"]),
        ("id: 1|:1||data: b||", &[":1", "b"]),
        ("retry: 5|:1|", &[":1"]),
        ("unknown|:1|data: a||", &[":1", "a"]),
        (":1||:2||", &[":1", ":2"]),
        ("|:1|||:2|data: a||", &[":1", ":2", "a"]),
        ("data: a||:1|data: b||", &["a", ":1", "b"]),
        ("data: a|:1", &[]),
        ("data: a|:1|data: b", &[":1"]),
        ("data::1|data: :2||", &[":1\n:2"]),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            for mark in ["", "\u{FEFF}"] {
                let bytes = format!("{mark}{}", text.replace('|', end));
                assert_eq!(shown(&check(bytes.as_bytes()).items), want, "{bytes:?}");
            }
        }
    }
    let seen = check(format!("{many}\n").as_bytes());
    assert_eq!((seen.items.len(), events(&seen.items).len()), (301, 1));
}

/// Each call takes bytes up to the end of the comment's line, and no further.
#[test]
fn a_comment_is_given_as_soon_as_its_line_has_ended() {
    let mut parser = Events::new(&Limits::default());
    let comment = |text: &str| Some(EventOrComment::Comment(text.into()));
    for (input, used, item) in [
        (&b"data: a\n: he"[..], 12, None),
        (b"llo", 3, None),
        (b"\r", 1, comment("hello")),
        (b"\n:\r\n:x\n", 3, comment("")),
        (b"\n:x\n", 4, comment("x")),
        (b"id: 1\n:y\n\n", 9, comment("y")),
    ] {
        assert_eq!(parser.receive_with_comments(input), Ok((used, item)), "{input:x?}");
        assert_eq!(parser.last_event_id(), "");
    }
    let (used, item) = parser.receive_with_comments(b"\n:z\n").expect("good");
    assert!(used == 1 && matches!(item, Some(EventOrComment::Event(e)) if e.data == "a"));
    assert_eq!(parser.last_event_id(), "1");
    // A new stream does not continue half a comment.
    assert_eq!(parser.receive_with_comments(b":half"), Ok((5, None)));
    parser.restart();
    assert_eq!(parser.receive_with_comments(b" more\n"), Ok((6, None)));
}

#[test]
fn random_comments_agree_with_a_naive_reading() {
    let (mut rng, limits) = (Rng(0x2545_F491_4F6C_DD1D), Limits::default());
    let (mut count, mut dispatched) = (0, 0);
    for round in 0..15_000 {
        let text = rng.text();
        let want = naive(&text);
        count += comments(&want).len();
        dispatched += events(&want).len();
        let pieces = rng.pieces(&text);
        let (whole, cut) = (read([&text[..]], &limits), read(pieces.iter().copied(), &limits));
        assert_eq!(whole.items, want, "{round}: {text:x?}");
        assert_eq!(cut, whole, "{round}: {pieces:x?}");
        let parsed = parse(pieces.iter().copied(), &limits);
        assert_eq!(events(&whole.items), parsed.events, "{round}: {text:x?}");
        assert_eq!((whole.last_event_id, whole.retry), (parsed.last_event_id, parsed.retry));
    }
    assert!(count > 4000 && dispatched > 4000, "{count} comments, {dispatched} events");
}

/// Calls of both functions in turn return every event, and the comments of the calls that ask for
/// them.
#[test]
fn both_calls_in_turn_give_the_same_events() {
    let (mut rng, limits) = (Rng(0x9E37_79B9_7F4A_7C15), Limits::default());
    let mut left_out = 0;
    for round in 0..5000 {
        let text = rng.text();
        let (mut parser, mut items) = (Events::new(&limits), Vec::new());
        for piece in rng.pieces(&text) {
            let receive = |input| match rng.below(2) {
                0 => parser.receive_with_comments(input),
                _ => parser.receive(input).map(|(n, e)| (n, e.map(EventOrComment::Event))),
            };
            drain(piece, receive, |item| items.push(item)).expect("good");
        }
        let want = naive(&text);
        assert_eq!(events(&items), events(&want), "{round}: {text:x?}");
        let mut all = comments(&want).into_iter();
        assert!(
            comments(&items).iter().all(|c| all.any(|other| other == *c)),
            "{round}: {text:x?}"
        );
        left_out += want.len() - items.len();
    }
    assert!(left_out > 300, "{left_out} comments left out");
}

/// A comment of `sse_line` bytes is accepted, and of one more is not; `sse_block` does not count
/// it.
#[test]
fn a_comment_counts_to_the_limit_of_a_line_and_to_no_event() {
    let limits = Limits { sse_line: 20, sse_block: 10, ..Default::default() };
    for (text, want, error) in [
        (format!(":{}\n", "x".repeat(19)), 1, None),
        (format!(": {}\r\n", "x".repeat(18)), 1, None),
        (format!("\u{FEFF}:{}\n", "x".repeat(19)), 1, None),
        (format!(":{}", "x".repeat(19)), 0, None),
        (format!(":a\n:{}\n:b\n", "x".repeat(20)), 1, Some(SseError::LongLine)),
        (format!(":a\n:{}", "x".repeat(20)), 1, Some(SseError::LongLine)),
        (format!("data: x\n{}\n", ": 0123456789\n".repeat(40)), 41, None),
        (format!(":a\ndata: {}\n\n", "x".repeat(11)), 1, Some(SseError::LongEvent)),
    ] {
        let seen = in_all_pieces(text.as_bytes(), |pieces| read(pieces, &limits));
        assert_eq!((seen.items.len(), seen.error), (want, error), "{text:?}");
    }
    let mut parser = Events::new(&limits);
    assert_eq!(parser.receive_with_comments(&[b':'; 21]), Err(SseError::LongLine));
    assert_eq!(parser.receive_with_comments(b":a\n"), Ok((3, None)), "read on after an error");
    assert_eq!(parser.capacity(), 0);
}

#[test]
fn limits_with_comments_do_not_depend_on_the_pieces() {
    let (mut rng, mut failed) = (Rng(0xD1B5_4A32_D192_ED03), 0);
    for round in 0..10_000 {
        let text = rng.text();
        let (sse_line, sse_block) = (2 + rng.below(20), rng.below(40));
        let limits = Limits { sse_line, sse_block, ..Default::default() };
        let pieces = rng.pieces(&text);
        let (whole, cut) = (read([&text[..]], &limits), read(pieces.iter().copied(), &limits));
        assert_eq!(cut, whole, "{round}: {pieces:x?}");
        let parsed = parse([&text[..]], &limits);
        assert_eq!((events(&whole.items), whole.error), (parsed.events, parsed.error), "{text:x?}");
        failed += usize::from(whole.error.is_some());
    }
    assert!(failed > 1000, "{failed} errors");
}

/// 256 KiB in one piece and in pieces of one byte, fast enough to show that bytes around a comment
/// are not examined again for each comment; and no byte of a comment is kept.
#[test]
fn a_flood_of_comments_costs_a_step_for_each_byte() {
    let limits = Limits::default();
    let half = "x\n".repeat(1 << 16);
    for (text, want) in [
        (":\n".repeat(1 << 17), 1 << 17),
        (format!("data: a\n{}\n", ":\n".repeat(1 << 17)), (1 << 17) + 1),
        // Unknown fields before and behind the comment.
        (format!("{half}:\n{half}"), 1),
        ("x\n:\n".repeat(1 << 16), 1 << 16),
        ("data\n\n:\n".repeat(1 << 15), 1 << 16),
    ] {
        for size in [text.len(), 1] {
            let (mut parser, mut count) = (Events::new(&limits), 0);
            for piece in text.as_bytes().chunks(size) {
                let receive = |input| parser.receive_with_comments(input);
                drain(piece, receive, |_| count += 1).expect("good");
            }
            assert_eq!(count, want, "{:?}… by {size}", &text[..8]);
            assert!(parser.capacity() <= 256, "{} bytes", parser.capacity());
        }
    }
}
