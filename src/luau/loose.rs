//! Texts that are not JSON but can be decoded. They contain the values `inf`, `-inf` and `nan`,
//! which `JSONEncode` writes as Roblox does, or an escape of half a surrogate pair (`\uD800`). JSON
//! allows such an escape (RFC 8259 §8.2); a Rust string cannot hold it, but a Luau string can.
//!
//! The parser accepts neither. So a text that it refuses is copied with marks in their place, and
//! the marks in the strings that the parser returns are replaced.

use std::borrow::Cow;

/// Begins a mark, inside a string: a code point that no text uses (a noncharacter). If the text
/// contains it nevertheless, it is doubled.
const MARK: char = '\u{FDD0}';

/// After the mark, a surrogate is written as its offset from the first surrogate plus this number.
const SHIFTED: u32 = 0xE000;

const WORDS: [(&str, f64); 3] =
    [("inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY), ("nan", f64::NAN)];

/// A text with marks, and their places.
pub(super) struct Marked {
    pub(super) text: Vec<u8>,
    /// Pairs: from which byte on the text is longer than the original, and by how many bytes.
    longer: Vec<(usize, usize)>,
}

/// The original form of a string in a marked text.
pub(super) enum Meant<'a> {
    Bytes(Cow<'a, [u8]>),
    Number(f64),
}

/// Adds marks to the text; `None` if it needs none.
pub(super) fn mark(text: &[u8]) -> Option<Marked> {
    let mut marked = Marked { text: Vec::with_capacity(text.len()), longer: Vec::new() };
    let (mut at, mut in_string, mut any) = (0, false, false);
    while at < text.len() {
        let rest = &text[at..];
        let (taken, stands) = match rest[0] {
            b'"' => {
                in_string = !in_string;
                (1, None)
            }
            b'\\' if in_string => match unit(rest) {
                Some(first @ 0xD800..0xDC00) => match unit(&rest[6..]) {
                    Some(0xDC00..0xE000) => (12, None),
                    _ => (6, surrogate(first)),
                },
                Some(lone @ 0xDC00..0xE000) => (6, surrogate(lone)),
                Some(unit) if unit == MARK as u32 => (6, Some(format!("{MARK}{MARK}"))),
                _ => (rest.len().min(2), None),
            },
            0xEF if in_string && rest.starts_with(MARK.encode_utf8(&mut [0; 4]).as_bytes()) => {
                (3, Some(format!("{MARK}{MARK}")))
            }
            _ if !in_string => match word(text, at) {
                Some(word) => (word.len(), Some(format!("\"{MARK}{word}\""))),
                None => (1, None),
            },
            _ => (1, None),
        };
        match stands {
            None => marked.text.extend_from_slice(&rest[..taken]),
            Some(stands) => {
                // A noncharacter that the text itself contains is no reason for marks.
                any |= !stands.ends_with(MARK);
                if stands.len() > taken {
                    marked.longer.push((marked.text.len(), stands.len() - taken));
                }
                marked.text.extend_from_slice(stands.as_bytes());
            }
        }
        at += taken;
    }
    any.then_some(marked)
}

/// Reads the number of an escape `\uXXXX`.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |n, digit| Some(n * 16 + char::from(*digit).to_digit(16)?))
}

fn surrogate(unit: u32) -> Option<String> {
    char::from_u32(unit - 0xD800 + SHIFTED).map(|c| format!("{MARK}{c}"))
}

/// The value that begins at `at`, unless it is a part of a longer name.
fn word(text: &[u8], at: usize) -> Option<&'static str> {
    let part =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b));
    let before = at.checked_sub(1).and_then(|at| text.get(at));
    let (word, _) = WORDS.iter().find(|(word, _)| text[at..].starts_with(word.as_bytes()))?;
    (!part(before) && !part(text.get(at + word.len()))).then_some(word)
}

impl Marked {
    /// The column in the original text, counted from 1.
    pub(super) fn column(&self, line: usize, column: usize) -> usize {
        let starts = self.text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let start = match line.checked_sub(2) {
            Some(breaks) => starts.map(|(at, _)| at + 1).nth(breaks).unwrap_or(0),
            None => 0,
        };
        let before = start..start + column.saturating_sub(1);
        let longer = self.longer.iter().filter(|(at, _)| before.contains(at));
        column.saturating_sub(longer.map(|(_, bytes)| bytes).sum())
    }
}

/// Restores the original of a string in a marked text.
pub(super) fn meant(text: &str) -> Meant<'_> {
    let Some((_, behind)) = text.split_once(MARK) else {
        return Meant::Bytes(text.as_bytes().into());
    };
    if let Some((_, number)) = WORDS.iter().find(|(word, _)| *word == behind) {
        return Meant::Number(*number);
    }
    let (mut bytes, mut chars) = (Vec::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        let c = match c {
            MARK => chars.next().unwrap_or(MARK),
            c => {
                push(&mut bytes, c as u32);
                continue;
            }
        };
        let unit = (c as u32).wrapping_sub(SHIFTED).wrapping_add(0xD800);
        push(&mut bytes, if c == MARK { c as u32 } else { unit });
    }
    Meant::Bytes(bytes.into())
}

/// Writes as `utf8.char` does: half a pair takes the three bytes of its code point.
fn push(bytes: &mut Vec<u8>, c: u32) {
    match char::from_u32(c) {
        Some(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => {
            bytes.extend([0xE0 | c >> 12, 0x80 | c >> 6 & 0x3F, 0x80 | c & 0x3F].map(|b| b as u8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> Option<String> {
        mark(text.as_bytes()).map(|marked| String::from_utf8(marked.text).unwrap())
    }

    #[test]
    fn only_what_needs_it_is_marked() {
        for text in [
            "",
            "[1, \"inf\", \"nan\"]",
            "NaN",
            "Infinity",
            "inf1",
            "nans",
            "--inf",
            "+inf",
            "1inf",
            "null",
            r#""\ud83d\ude00""#,
            r#""\\ud800""#,
            r#""\ud80""#,
            r#""\ud8"#,
            r#""\"#,
            r"\ud800",
            "\"\u{FDD0}\"",
            r#""\ufdd0""#,
        ] {
            assert_eq!(marked(text), None, "{text}");
        }
        for (text, want) in [
            ("inf", "\"\u{FDD0}inf\""),
            ("[-inf,nan]", "[\"\u{FDD0}-inf\",\"\u{FDD0}nan\"]"),
            (r#""\ud800""#, "\"\u{FDD0}\u{E000}\""),
            (r#""\uDfFf\ud800\ud83d\ude00""#, "\"\u{FDD0}\u{E7FF}\u{FDD0}\u{E000}\\ud83d\\ude00\""),
            (r#""\ud800\ud800\udc00""#, "\"\u{FDD0}\u{E000}\\ud800\\udc00\""),
            (r#""\ud800\u0041""#, "\"\u{FDD0}\u{E000}\\u0041\""),
            (r#""\"inf\\",inf"#, "\"\\\"inf\\\\\",\"\u{FDD0}inf\""),
            ("\"\u{FDD0}\\uFDD0\",nan", "\"\u{FDD0}\u{FDD0}\u{FDD0}\u{FDD0}\",\"\u{FDD0}nan\""),
        ] {
            assert_eq!(marked(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn strings_mean_what_was_marked() {
        for (text, want) in [
            ("", &b""[..]),
            ("x\u{E000}", "x\u{E000}".as_bytes()),
            ("\u{FDD0}\u{E000}", b"\xED\xA0\x80"),
            ("a\u{FDD0}\u{E7FF}b", b"a\xED\xBF\xBFb"),
            ("\u{FDD0}\u{FDD0}inf", "\u{FDD0}inf".as_bytes()),
        ] {
            match meant(text) {
                Meant::Bytes(bytes) => assert_eq!(&*bytes, want, "{text:?}"),
                Meant::Number(n) => panic!("{text:?} is {n}"),
            }
        }
        for (word, number) in WORDS {
            let text = format!("{MARK}{word}");
            assert!(matches!(meant(&text), Meant::Number(n) if n.to_bits() == number.to_bits()));
        }
    }

    #[test]
    fn columns_are_those_of_the_text() {
        let text = mark(b"[inf,\ninf, nan,\n x]").unwrap();
        for (line, column, want) in
            [(1, 1, 1), (1, 10, 5), (2, 8, 3), (2, 11, 6), (2, 20, 10), (3, 2, 2)]
        {
            assert_eq!(text.column(line, column), want, "{line}:{column}");
        }
    }
}
