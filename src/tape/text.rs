//! Reads and writes bytes and times in the form of a tape.

use std::fmt::Write as _;
use std::time::Duration;

/// The value of two hex digits.
fn hex(pair: &[u8]) -> Option<u8> {
    let digit = |i: usize| pair.get(i).and_then(|&c| char::from(c).to_digit(16));
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// The longest repetition: a tape may be somebody else's file.
const REPEATED_MAX: usize = 1 << 30;

/// Parses bytes: `89 05 "Hello" 00*3`.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let (mut all, mut piece, mut rest) = (vec![], vec![], text.trim_start());
    while let Some(c) = rest.chars().next() {
        let (new, end) = match c {
            '"' => quoted(rest)?,
            '*' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit());
                let end = end.map_or(rest.len(), |n| n + 1);
                let n: usize = rest[1..end].parse().map_err(|_| "no number behind *")?;
                let more = n.checked_sub(1).ok_or("*0")?;
                if piece.len().saturating_mul(more) > REPEATED_MAX {
                    return Err(format!("*{n} makes more than {REPEATED_MAX} bytes"));
                }
                (piece.repeat(more), end)
            }
            _ => {
                let end = rest.find([' ', '"', '*']).unwrap_or(rest.len());
                let pairs = rest.as_bytes()[..end].chunks(2);
                (pairs.map(hex).collect::<Option<_>>().ok_or(format!("{rest} is not hex"))?, end)
            }
        };
        all.extend_from_slice(&new);
        (piece, rest) = (new, rest[end..].trim_start());
    }
    Ok(all)
}

/// The content of the quotes at the start of `text`, and the position behind them.
fn quoted(text: &str) -> Result<(Vec<u8>, usize), String> {
    let (mut out, mut chars) = (String::new(), text.char_indices().skip(1));
    while let Some((at, c)) = chars.next() {
        out.push(match c {
            '"' => return Ok((out.into_bytes(), at + 1)),
            '\\' => match chars.next() {
                Some((_, 'r')) => '\r',
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, c @ ('"' | '\\'))) => c,
                _ => return Err("\\ stands before none of r, n, t, \" and \\".to_owned()),
            },
            c => c,
        });
    }
    Err("quote without end".to_owned())
}

/// This many equal bytes are written as one with a count.
const RUN: usize = 12;

/// This many printable bytes are written as text.
const WORD: usize = 4;

/// Bytes in the form of a line: [`bytes`] parses it.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        if !out.is_empty() {
            out.push(' ');
        }
        let rest = &bytes[at..];
        let same = rest.iter().take_while(|&&b| b == rest[0]).count();
        let text = words(rest);
        if same >= RUN {
            match is_text(rest[0]) {
                true => _ = write!(out, "\"{}\"*{same}", escaped(rest[0])),
                false => _ = write!(out, "{:02x}*{same}", rest[0]),
            }
            at += same;
        } else if text >= WORD {
            out.push('"');
            rest[..text].iter().for_each(|&b| out += &escaped(b));
            out.push('"');
            at += text;
        } else {
            let end = (1..rest.len()).find(|&i| {
                let same = rest[i..].iter().take(RUN).take_while(|&&b| b == rest[i]).count();
                same == RUN || words(&rest[i..]) >= WORD
            });
            let end = end.unwrap_or(rest.len());
            rest[..end].iter().for_each(|b| _ = write!(out, "{b:02x}"));
            at += end;
        }
    }
    out
}

/// Whether a byte may stand in quotes.
fn is_text(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E | b'\r' | b'\n' | b'\t')
}

/// A byte as it stands in quotes.
fn escaped(byte: u8) -> String {
    match byte {
        b'\r' => "\\r".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        byte => char::from(byte).to_string(),
    }
}

/// How many bytes from the start can stand in quotes; a run of equal bytes ends them.
fn words(bytes: &[u8]) -> usize {
    let mut same = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !is_text(byte) {
            return at;
        }
        same = if at > 0 && byte == bytes[at - 1] { same + 1 } else { 1 };
        if same == RUN {
            return at + 1 - RUN;
        }
    }
    bytes.len()
}

/// Parses a time: `30s`, `1.5ms`, `20us`, `7ns` or `max`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no time");
    if text == "max" {
        return Ok(Duration::MAX);
    }
    let (number, unit) = [("ms", 1_000_000), ("us", 1000), ("ns", 1), ("s", 1_000_000_000u64)]
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 9 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let scale = 10u64.pow(part.len() as u32);
    let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| wrong())? };
    let whole = match unit {
        1_000_000_000 => Some(Duration::from_secs(whole)),
        unit => whole.checked_mul(unit).map(Duration::from_nanos),
    };
    whole.and_then(|t| t.checked_add(Duration::from_nanos(part * unit / scale))).ok_or_else(wrong)
}

/// A time in a form that [`time`] parses to the same.
pub(super) fn shown_time(time: Duration) -> String {
    if time == Duration::MAX {
        return "max".to_owned();
    }
    let fraction = |whole: u64, part: u64, digits: usize, unit: &str| {
        let part = format!("{part:0digits$}");
        match part.trim_end_matches('0') {
            "" => format!("{whole}{unit}"),
            part => format!("{whole}.{part}{unit}"),
        }
    };
    match (time.as_secs(), u64::from(time.subsec_nanos())) {
        (0, nanos) if nanos > 0 => fraction(nanos / 1_000_000, nanos % 1_000_000, 6, "ms"),
        (secs, nanos) => fraction(secs, nanos, 9, "s"),
    }
}

/// The two sides of the first `mark` outside quotes.
pub(super) fn split<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        if !is_quoted && text[at..].starts_with(mark) {
            return Some((&text[..at], &text[at + mark.len()..]));
        }
    }
    None
}

/// The start of `bytes` in hex, for the text of a difference.
pub(super) fn start(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes: ", bytes.len());
    bytes.iter().take(200).for_each(|b| _ = write!(text, "{b:02x}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (data, text) in [
            (&b""[..], ""),
            (b"\x81\x05Hello", "8105 \"Hello\""),
            (b"HTTP/1.1 101 a\r\n\r\n\x88\0", "\"HTTP/1.1 101 a\\r\\n\\r\\n\" 8800"),
            (b"a\"b\\c\t", "\"a\\\"b\\\\c\\t\""),
            (&[0; 40], "00*40"),
            (&[b'x'; 12], "\"x\"*12"),
            (b"\x81\x0Cxxxxxxxxxxxx\0", "810c \"x\"*12 00"),
            (b"abcdxxxxxxxxxxxxe", "\"abcd\" \"x\"*12 65"),
            (b"\r\r\n\n", "\"\\r\\r\\n\\n\""),
        ] {
            assert_eq!(shown(data), text);
            assert_eq!(bytes(text).as_deref(), Ok(data), "{text}");
        }
        let mut seed = 1u64;
        for len in 0..400usize {
            let mut data = vec![];
            for _ in 0..len {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let pick = (seed >> 33) as usize;
                let run = if pick.is_multiple_of(11) { 14 } else { 1 };
                data.extend([b"\r\nab\"\\c\0\xFF d"[pick % 11]].repeat(run));
            }
            assert_eq!(bytes(&shown(&data)).as_deref(), Ok(&data[..]), "{}", shown(&data));
        }
    }

    #[test]
    fn times() {
        for (text, nanos) in
            [("0s", 0), ("1.5ms", 1_500_000), ("0.000001ms", 1), ("30s", 30_000_000_000)]
        {
            let time = time(text).unwrap();
            assert_eq!((time.as_nanos(), shown_time(time)), (nanos, text.to_owned()));
        }
        for text in ["12.000000345s", "max", "20us", "7ns"] {
            let there = time(text).unwrap();
            assert_eq!(time(&shown_time(there)), Ok(there));
        }
        for bad in [
            "",
            "s",
            ".s",
            "1",
            "1.s1",
            "-1s",
            "+1s",
            "1h",
            "1.0000000001s",
            "99999999999999999999s",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(split("\"a -> b\" -> Full", "-> "), Some(("\"a -> b\" ", "Full")));
        assert_eq!(split("\"a \\\"-> b\"", "-> "), None);
        assert!(bytes("00*99999999999").is_err() && bytes("8").is_err() && bytes("\"a").is_err());
    }
}
