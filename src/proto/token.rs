//! The byte classes of the HTTP grammar as tables, and the escaping of a peer's bytes.

use std::fmt::Write as _;

/// Makes the table of a class of bytes.
const fn class(ranges: &[(u8, u8)]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < ranges.len() {
        let mut b = ranges[i].0 as usize;
        while b <= ranges[i].1 as usize {
            table[b] = true;
            b += 1;
        }
        i += 1;
    }
    table
}

/// tchar (RFC 9110 §5.6.2): `! # $ % & ' * + - . ^ _ ` | ~`, digits and letters.
const TOKEN: [bool; 256] = class(&[
    (b'!', b'!'),
    (b'#', b'\''),
    (b'*', b'+'),
    (b'-', b'.'),
    (b'0', b'9'),
    (b'A', b'Z'),
    (b'^', b'z'),
    (b'|', b'|'),
    (b'~', b'~'),
]);

/// Bytes of a field value (RFC 9110 §5.5): HTAB, SP, VCHAR and obs-text.
const VALUE: [bool; 256] = class(&[(b'\t', b'\t'), (b' ', b'~'), (0x80, 0xFF)]);

/// Whether `bytes` is a token (RFC 9110 §5.6.2): not empty, tchar only.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| TOKEN[b as usize])
}

/// Whether `b` may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(b: u8) -> bool {
    TOKEN[b as usize]
}

/// Whether `b` may stand in a field value (RFC 9110 §5.5).
pub(crate) fn is_value_byte(b: u8) -> bool {
    VALUE[b as usize]
}

/// `bytes` without the optional white space (RFC 9110 §5.6.3) at both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1), trimmed, without empty ones. Quoted
/// strings are not parsed: no list that this crate reads may contain one.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|item| !item.is_empty())
}

/// At most `max` bytes of `bytes` as printable ASCII: escapes all other bytes, quotes and the
/// backslash; `…` marks a cut. Makes a peer's bytes safe for a terminal or a log.
///
/// ```
/// assert_eq!(moonwire::proto::escape(b"a\x1b[2J\r\n", 99), "a\\x1b[2J\\r\\n");
/// assert_eq!(moonwire::proto::escape(b"abcdef", 3), "abc…");
/// ```
pub fn escape(bytes: &[u8], max: usize) -> String {
    let shown = &bytes[..bytes.len().min(max)];
    let mut text = String::with_capacity(shown.len() + 4);
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{}", shown.escape_ascii());
    if bytes.len() > max {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tchar_is_exactly_the_set_of_rfc_9110() {
        let punctuation = b"!#$%&'*+-.^_`|~";
        for b in 0..=255u8 {
            let want = b.is_ascii_alphanumeric() || punctuation.contains(&b);
            assert_eq!(is_token(&[b]), want, "byte {b:#x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn field_values_hold_no_control_character_but_tab() {
        for b in 0..=255u8 {
            assert_eq!(is_value_byte(b), b == b'\t' || (b >= 0x20 && b != 0x7F), "byte {b:#x}");
        }
    }

    #[test]
    fn lists_are_split_at_commas_and_trimmed() {
        let items: Vec<_> = list(b" keep-alive ,, Upgrade\t").collect();
        assert_eq!(items, [&b"keep-alive"[..], b"Upgrade"]);
    }
}
