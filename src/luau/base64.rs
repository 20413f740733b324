//! Base64 for scripts (RFC 4648 §4): the standard alphabet, padding; unused bits must be zero.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use ::base64::{DecodeError, DecodeSliceError};

use crate::proto::escape;

/// The codec calls it at intervals, with the number of bytes made so far; an error ends the work.
type Look<'a> = &'a dyn Fn(usize) -> Result<(), String>;

/// How many groups of a text pass between two checks of the time limit: some hundred microseconds.
const GROUPS: usize = 64 * 1024;

/// `data` as Base64 of at most `most` bytes.
pub(super) fn encode(data: &[u8], most: usize, look: Look<'_>) -> Result<Vec<u8>, String> {
    let len = data.len().div_ceil(3).saturating_mul(4);
    if len > most {
        return Err(format!("cannot encode {} bytes: more than {most} bytes of text", data.len()));
    }
    look(len)?;
    let mut text = String::with_capacity(len);
    for piece in data.chunks(3 * GROUPS) {
        look(len)?;
        STANDARD.encode_string(piece, &mut text);
    }
    Ok(text.into_bytes())
}

/// The bytes that `text` encodes, or where it is wrong and why.
pub(super) fn decode(text: &[u8], look: Look<'_>) -> Result<Vec<u8>, String> {
    let len = text.len().div_ceil(4) * 3;
    look(len)?;
    let mut data = vec![0; len];
    let (mut from, mut to) = (0, 0);
    for piece in text.chunks(4 * GROUPS) {
        look(len)?;
        let problem = |e| wrong(text, from, e);
        to += STANDARD.decode_slice(piece, &mut data[to..]).map_err(problem)?;
        from += piece.len();
        if from < text.len() && piece.ends_with(b"=") {
            let at = piece.iter().position(|b| *b == b'=').unwrap_or_default();
            return Err(wrong(
                text,
                from - piece.len() + at,
                DecodeError::InvalidByte(0, b'=').into(),
            ));
        }
    }
    data.truncate(to);
    Ok(data)
}

/// Makes the error about the piece of `text` that starts at `from`. Positions count from 1, as in
/// `string.sub`.
fn wrong(text: &[u8], from: usize, e: DecodeSliceError) -> String {
    let whole = text.len();
    let (at, why) = match e {
        DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, b'=')) => {
            (from + at, "padding in front of the end".to_owned())
        }
        DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, byte)) => {
            let hint = match byte {
                b'-' | b'_' => " (it is of the URL-safe one: replace - by + and _ by /)",
                b' ' | b'\t' | b'\r' | b'\n' => " (take white space out first)",
                _ => "",
            };
            let shown = escape(&[byte], 8);
            (from + at, format!("\"{shown}\" is not in the alphabet{hint}"))
        }
        DecodeSliceError::DecodeError(DecodeError::InvalidLastSymbol(at, _)) => {
            (from + at, "the last character has bits that stand for nothing".to_owned())
        }
        DecodeSliceError::DecodeError(DecodeError::InvalidLength(_)) => {
            (whole, "the text ends inside a group of four characters".to_owned())
        }
        DecodeSliceError::DecodeError(DecodeError::InvalidPadding) => (
            whole,
            "padding is missing, or too much: the text has to have four characters for every \
                     three bytes"
                .to_owned(),
        ),
        // The buffer has room for three bytes of every group.
        DecodeSliceError::OutputSliceTooSmall => (whole, "the text is too long".to_owned()),
    };
    format!("cannot decode base64: character {} of {whole}: {why}", at + usize::from(at < whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, String> {
        decode(text.as_bytes(), &|_| Ok(()))
    }

    #[test]
    fn pieces_are_no_borders() {
        for len in [0, 1, 2, 3, 3 * GROUPS - 1, 3 * GROUPS, 3 * GROUPS + 1, 6 * GROUPS + 2] {
            let data: Vec<u8> = (0..len).map(|i| (i * 7 + i / 256) as u8).collect();
            let text = encode(&data, usize::MAX, &|_| Ok(())).unwrap();
            assert_eq!(text, STANDARD.encode(&data).into_bytes());
            assert!(decode(&text, &|_| Ok(())).unwrap() == data, "{len}");
        }
    }

    #[test]
    fn padding_at_the_end_of_a_piece_is_not_the_end() {
        for (padding, at) in [("=", 4 * GROUPS), ("==", 4 * GROUPS - 1)] {
            let first = "A".repeat(4 * GROUPS - padding.len()) + padding;
            assert!(decoded(&first).is_ok());
            let problem = decoded(&(first + "AAAA")).unwrap_err();
            let want = format!("character {at} of {}: padding in front of the end", 4 * GROUPS + 4);
            assert!(problem.ends_with(&want), "{problem}");
        }
    }

    #[test]
    fn positions_count_through_all_pieces() {
        let text = "A".repeat(4 * GROUPS) + "AA*A";
        let problem = decoded(&text).unwrap_err();
        assert!(
            problem.contains(&format!("character {} of {}: ", text.len() - 1, text.len())),
            "{problem}"
        );
    }

    #[test]
    fn a_look_ends_it() {
        let late = |_| Err("late".to_owned());
        assert_eq!(encode(b"abc", 4, &late).unwrap_err(), "late");
        assert_eq!(decode(b"YWJj", &late).unwrap_err(), "late");
    }
}
