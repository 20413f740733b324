//! Where lines and blocks end, many bytes at a time.
//!
//! First steps that the compiler compares at once, without an exit within, since a branch for each
//! byte would cost more than it saves; then the words of the step that holds the end. What is left
//! behind the last step goes by words and bytes.

/// Bytes of one step: what every machine compares at once.
const STEP: usize = 16;
const WORD: usize = 8;

/// One in each byte, and the highest bit of each.
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// A mask whose lowest bit is in the first byte of `word` that is zero; 0 if there is none. Higher
/// bits mean nothing.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The bytes of `word` that are `byte`, as zeros.
const fn differs(word: &[u8; WORD], byte: u8) -> u64 {
    u64::from_le_bytes(*word) ^ (ONES * byte as u64)
}

/// Line ends of `word`, as [`zeros`] tells them.
const fn ends(word: &[u8; WORD]) -> u64 {
    zeros(differs(word, b'\n')) | zeros(differs(word, b'\r'))
}

/// CRs of `word`, and LFs with another behind them; `behind` is the word one byte further on.
const fn stops(word: &[u8; WORD], behind: &[u8; WORD]) -> u64 {
    let pairs = zeros(differs(word, b'\n') | differs(behind, b'\n'));
    pairs | zeros(differs(word, b'\r'))
}

/// The byte in which the lowest bit of a mask is; `WORD` if there is none.
const fn byte_of(mask: u64) -> usize {
    // At most 64, and then divided.
    (mask.trailing_zeros() / 8) as usize
}

/// Where the first CR or LF of `bytes` stands.
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    for (i, step) in steps.iter().enumerate() {
        // Each by itself: both in one pass are not compared at once.
        let any = |end: u8| step.iter().fold(false, |any, &b| any | (b == end));
        if any(b'\n') | any(b'\r') {
            let masks = step.as_chunks().0.iter().map(ends);
            return Some(i * STEP + first(masks));
        }
    }
    let (words, bytes) = rest.as_chunks();
    let words_end = first(words.iter().map(ends));
    let found = if words_end < words.len() * WORD {
        Some(words_end)
    } else {
        bytes.iter().position(|b| b"\r\n".contains(b)).map(|n| words_end + n)
    };
    found.map(|n| steps.len() * STEP + n)
}

/// The first byte that masks of words have found; the end of all words if there is none.
fn first(masks: impl Iterator<Item = u64>) -> usize {
    let mut at = 0;
    for mask in masks {
        at += byte_of(mask);
        if mask != 0 {
            break;
        }
    }
    at
}

/// How long the block at the start of `bytes` is with its blank line, if it is all there and has
/// LF line ends only. A blank line at the start is no block.
#[inline]
pub(super) fn whole_block(bytes: &[u8]) -> Option<usize> {
    let (&start, behind) = bytes.split_first()?;
    let stop = first_stop(bytes, behind)?;
    (start != b'\n' && bytes[stop] == b'\n').then_some(stop + 2)
}

/// Where the first CR stands, or the first LF with another right behind it. `behind` is `bytes`
/// without the first, so that each byte meets its next at the same place.
#[inline]
fn first_stop(bytes: &[u8], behind: &[u8]) -> Option<usize> {
    let steps = bytes.as_chunks::<STEP>().0.iter().zip(behind.as_chunks::<STEP>().0);
    let mut passed = 0;
    for (a, b) in steps {
        if a.iter().zip(b).fold(false, |any, pair| any | stop(pair)) {
            let words = a.as_chunks().0.iter().zip(b.as_chunks().0);
            return Some(passed + first(words.map(|(a, b)| stops(a, b))));
        }
        passed += STEP;
    }
    // Whole steps of both, so it is within.
    stop_behind_steps(&bytes[passed..], &behind[passed..]).map(|n| passed + n)
}

fn stop((&a, &b): (&u8, &u8)) -> bool {
    (a == b'\r') | ((a == b'\n') & (b == b'\n'))
}

/// Apart, so that what most blocks never need is not in their way.
#[inline(never)]
fn stop_behind_steps(bytes: &[u8], behind: &[u8]) -> Option<usize> {
    let (words, rest) = behind.as_chunks();
    let masks = bytes.as_chunks().0.iter().zip(words).map(|(a, b)| stops(a, b));
    let at = first(masks);
    if at < words.len() * WORD {
        return Some(at);
    }
    bytes[at..].iter().zip(rest).position(stop).map(|n| at + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than two steps, a word and a few bytes.
    const LONG: usize = 3 * STEP;

    fn naive_line_end(bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|b| b"\r\n".contains(b))
    }

    fn naive_block(bytes: &[u8]) -> Option<usize> {
        let len = bytes.windows(2).position(|pair| pair == b"\n\n")? + 2;
        (bytes[0] != b'\n' && !bytes[..len].contains(&b'\r')).then_some(len)
    }

    fn check(bytes: &[u8]) {
        assert_eq!(line_end(bytes), naive_line_end(bytes), "{bytes:x?}");
        assert_eq!(whole_block(bytes), naive_block(bytes), "{bytes:x?}");
    }

    #[test]
    fn the_first_line_end_is_found_wherever_it_stands() {
        for len in 0..LONG {
            let mut bytes = vec![b'x'; len];
            assert_eq!(line_end(&bytes), None, "{len} bytes without one");
            for at in (0..len).rev() {
                for end in [b'\n', b'\r'] {
                    bytes[at] = end;
                    assert_eq!(line_end(&bytes), Some(at), "{len} bytes, at {at}");
                }
            }
        }
    }

    /// Two marks at all places of all short texts, and what is next to CR and LF among the bytes.
    #[test]
    fn two_marks_anywhere_agree_with_a_naive_search() {
        for fill in [b'x', b'\t', 0x0B, 0x0C, 0x0E, 0, 0x0A | 0x80, 0x0D | 0x80, 0xFF] {
            for len in 0..LONG {
                let mut bytes = vec![fill; len];
                for a in 0..len {
                    for b in a..len {
                        for (first, second) in [(b'\n', b'\n'), (b'\n', b'\r'), (b'\r', b'\n')] {
                            (bytes[a], bytes[b]) = (first, second);
                            check(&bytes);
                        }
                        (bytes[a], bytes[b]) = (fill, fill);
                    }
                }
            }
        }
    }

    #[test]
    fn every_short_text_of_line_ends_agrees_with_a_naive_search() {
        // All texts of seven places, around the border of a word and that of a step.
        for start in [0, WORD - 3, STEP - 3, STEP + WORD - 3] {
            for number in 0..3usize.pow(7) {
                let mut bytes = vec![b'x'; start];
                bytes.extend((0..7).map(|i| b"x\n\r"[number / 3usize.pow(i) % 3]));
                check(&bytes);
                bytes.extend([b'x'; 30]);
                check(&bytes);
            }
        }
    }

    #[test]
    fn other_bytes_end_nothing() {
        let others: Vec<u8> = (0..=255).filter(|b| !b"\r\n".contains(b)).collect();
        assert_eq!((line_end(&others), whole_block(&others)), (None, None));
        // Next to a line end, too: a borrow in a word goes from one byte to the next.
        for a in &others {
            for b in &others {
                check(&[b'x', b'\n', *a, *b, b'\n', *a, b'\n', b'\n', *b, b'x', b'\r', b'x']);
            }
        }
    }
}
