//! The places where the search takes another path: line ends, colons and marks at each place of a
//! word and of a step, whole blocks next to their limits, and long lines.

use super::*;

/// Lengths around a word, a step and two of them.
const LENGTHS: [usize; 24] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 30, 31, 32, 33, 34, 63];

/// Both parsers against the oracle; with bytes behind the input, the first results are the same.
fn check(bytes: &[u8]) {
    let (parsed, raw) = (check_events(bytes), check_blocks(bytes));
    let limits = Limits::default();
    let longer = [bytes, b"\n\ndata: trailing"].concat();
    assert!(parse([&longer[..]], &limits).events.starts_with(&parsed.events), "{bytes:x?}");
    assert!(cut([&longer[..]], &limits).blocks.starts_with(&raw.blocks), "{bytes:x?}");
}

#[test]
fn line_ends_at_each_place() {
    for end in ["\n", "\r", "\r\n"] {
        for start in ["data:", "event: ", "", ":", "\u{FEFF}data: ", "dat"] {
            for len in LENGTHS {
                let line = format!("{start}{}", "x".repeat(len));
                check(format!("{line}{end}data: y{end}{end}{line}{end}{end}").as_bytes());
            }
        }
    }
}

#[test]
fn unlike_line_ends_next_to_each_other() {
    for len in LENGTHS {
        let line = format!("data:{}", "x".repeat(len));
        for ends in ["\n\r", "\n\r\n", "\r\n\n", "\r\r\n", "\n\n\r", "\n\n\r\n", "\r\n\r\n\n"] {
            check(format!("{line}\nid: 1{ends}data: y{ends}data: z\n\n").as_bytes());
        }
    }
}

#[test]
fn colons_and_blanks_at_each_place() {
    for len in LENGTHS {
        let x = "x".repeat(len);
        for line in ["data:: ", "data :", " data:", "data:\t", "datax:", "data: : ", "id", "retry:"]
        {
            check(format!("{x}:{line}\n{line}{x}:{x}\ndata: {x}:\nevent:{x}\n\n").as_bytes());
        }
    }
}

#[test]
fn marks_and_what_is_no_utf8_at_each_place() {
    for len in LENGTHS {
        let x = "x".repeat(len);
        for odd in ["\u{FEFF}".as_bytes(), b"\xEF\xBB", b"\xFF", b"\0", "\u{20AC}".as_bytes()] {
            let text = [b"data: ", x.as_bytes(), odd, b"\nid: ", odd, x.as_bytes()].concat();
            check(&[odd, &text, b"\n\n", &text, b"\ndata: y\n\n", odd, b"\n\n"].concat());
        }
    }
}

/// A whole block takes another path than a cut one; both end at the same byte.
#[test]
fn limits_hold_at_the_same_byte_in_whole_blocks_and_in_pieces() {
    let text = "data: 0123456789\nid: 7\n\n: 0123456789012\ndata: x\ndata: y\n\n\nevent: e\n\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n")] {
        let (mut failed, mut passed) = (0, 0);
        for sse_line in 0..text.len() {
            for sse_block in [sse_line / 2, sse_line, 23, 24, 25, 31, 32, 33, 100] {
                let limits = Limits { sse_line, sse_block, ..Default::default() };
                let parsed = in_all_pieces(text.as_bytes(), |pieces| parse(pieces, &limits));
                let raw = in_all_pieces(text.as_bytes(), |pieces| cut(pieces, &limits));
                failed += usize::from(parsed.error.is_some()) + usize::from(raw.error.is_some());
                passed += usize::from(parsed.error.is_none()) + usize::from(raw.error.is_none());
            }
        }
        assert!(failed > 100 && passed > 100, "{failed} failed, {passed} passed");
    }
}

#[test]
fn whole_blocks_of_every_length_are_lent_up_to_the_limits() {
    for len in 3..100 {
        let text = format!("{}\n\ndata: behind", "x".repeat(len - 2));
        for (sse_line, sse_block) in [(len, len), (len - 2, len), (100, len)] {
            let mut parser = Blocks::new(&Limits { sse_line, sse_block, ..Default::default() });
            let (used, block) = parser.receive(b"a\n\n").expect("good");
            assert_eq!((used, block.as_deref()), (3, Some(&b"a\n\n"[..])));
            let (used, block) = parser.receive(text.as_bytes()).expect("good");
            assert!(matches!(block, Some(Cow::Borrowed(block)) if block.len() == len), "{len}");
            assert_eq!(used, len);
        }
        if len > 3 {
            let mut parser = Blocks::new(&Limits { sse_block: len - 1, ..Default::default() });
            assert_eq!(parser.receive(text.as_bytes()), Err(SseError::LongEvent), "{len}");
        }
    }
}

#[test]
fn long_lines_in_random_pieces_agree_with_the_oracle() {
    let (mut rng, limits) = (Rng(0xA076_1D64_78BD_642F), Limits::default());
    let mut events = 0;
    for round in 0..1500 {
        let mut text = Vec::new();
        for _ in 0..rng.below(12) {
            text.extend_from_slice(rng.pick(&[&b"data:"[..], b"data: ", b"id: ", b"event:", b":"]));
            text.resize(text.len() + rng.below(70), rng.pick(b"x\t0\xC3"));
            let end = rng.pick(&[&b"\n"[..], b"\n", b"\n\n", b"\n\n", b"\r\n", b"\r"]);
            text.extend_from_slice(end);
        }
        let (parsed, raw) = (oracle::events(&text), oracle::blocks(&text));
        events += parsed.events.len();
        let size = 1 + rng.below(200);
        assert_eq!(parse([&text[..]], &limits), parsed, "{round}: {text:x?}");
        assert_eq!(parse(text.chunks(size), &limits), parsed, "{round}, by {size}: {text:x?}");
        assert_eq!(cut([&text[..]], &limits), raw, "{round}: {text:x?}");
        assert_eq!(cut(text.chunks(size), &limits), raw, "{round}, by {size}: {text:x?}");
    }
    assert!(events > 1000, "{events} events");
}
