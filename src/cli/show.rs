//! Makes text from a server safe for a terminal, and JSON of it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whether colours may be written to a terminal (<https://no-color.org>).
pub(super) fn has_colours() -> bool {
    let is = |name: &str, want: fn(&std::ffi::OsStr) -> bool| {
        std::env::var_os(name).is_some_and(|value| want(&value))
    };
    !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb")
}

/// The current time, in seconds since 1970.
pub(super) fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Escapes each character of the text that could control a terminal: control characters, and those
/// that change the direction of text. The lines after the first are indented, so that no line of a
/// message looks like another message.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\n  "),
            '\t' => shown.push('\t'),
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// A string of JSON (RFC 8259).
pub(super) fn json(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // More than the RFC demands: these characters could control a terminal.
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_controls_a_terminal() {
        for (text, want) in [
            ("plain é 🙂\t", "plain é 🙂\t"),
            ("\x1b[2J\x1b]0;title\x07", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("a\r\nb", "a\\r\n  b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}abc", "\\u{202e}abc"),
            ("\0\x7f", "\\u{0}\\u{7f}"),
        ] {
            assert_eq!(printable(text), want, "{text:?}");
        }
    }
}
