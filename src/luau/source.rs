//! Removes from the text of a file what its parser must not get.

/// Removes a byte order mark, which some editors write.
pub(super) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// Removes what the compiler must not get: a byte order mark, and a first line `#!…`, which the
/// system reads. The line end of that line stays, so that line numbers in errors are those of the
/// file.
pub(super) fn code(text: &[u8]) -> &[u8] {
    let text = unmarked(text);
    if !text.starts_with(b"#!") {
        return text;
    }
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn a_mark_and_a_first_line_for_the_system_are_no_code() {
        // FAULTS 77.
        for (text, left) in [
            ("", ""),
            ("print(1)", "print(1)"),
            ("\u{FEFF}print(1)", "print(1)"),
            ("#!/usr/bin/env moonwire\nprint(1)", "\nprint(1)"),
            ("#!x\r\nprint(1)", "\nprint(1)"),
            ("\u{FEFF}#!x\nprint(1)", "\nprint(1)"),
            ("#!x", ""),
            ("#!", ""),
            // The compiler gets the same characters in any other place.
            (" #!x\n", " #!x\n"),
            ("\n#!x", "\n#!x"),
            ("#x\n", "#x\n"),
            ("\u{FEFF}\u{FEFF}x", "\u{FEFF}x"),
            ("#!a\n#!b\n", "\n#!b\n"),
        ] {
            assert_eq!(code(text.as_bytes()), left.as_bytes(), "{text:?}");
        }
        assert_eq!(code(b"\xEF\xBB"), b"\xEF\xBB");
        assert_eq!(code(b"\xFF"), b"\xFF");
    }
}
