//! Searches for the ends of lines and blocks, many bytes at a time.
//!
//! Each step compares all of its bytes without an exit, so the compiler vectorises it; a branch for
//! each byte would cost more than it saves. In the step with the end, the end is found by words.
//! Fewer last bytes than a step are compared together with some bytes before them: those contain no
//! end, so the first end in that step is the first of all.

/// Bytes of one step: as many as all supported machines compare at once.
const STEP: usize = 16;
const WORD: usize = 8;

/// A mask of the lowest bit of each byte, and one of the highest.
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// A mask whose lowest bit is in the first zero byte of `word`; 0 if no byte is zero. The higher
/// bits have no meaning.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// `word`, with zeros in place of the bytes that equal `byte`.
const fn differs(word: &[u8; WORD], byte: u8) -> u64 {
    u64::from_le_bytes(*word) ^ (ONES * byte as u64)
}

/// The line ends of `word`, marked as [`zeros`] does.
const fn ends(word: &[u8; WORD]) -> u64 {
    zeros(differs(word, b'\n')) | zeros(differs(word, b'\r'))
}

/// The CRs of `word`, and the LFs before another LF; `behind` is the word one byte further on.
const fn stops(word: &[u8; WORD], behind: &[u8; WORD]) -> u64 {
    let pairs = zeros(differs(word, b'\n') | differs(behind, b'\n'));
    pairs | zeros(differs(word, b'\r'))
}

/// The index of the byte that contains the lowest bit of two consecutive masks.
fn byte_of(masks: [u64; 2]) -> Option<usize> {
    // At most 63, then divided by 8.
    let byte = |mask: u64| (mask.trailing_zeros() / 8) as usize;
    match masks {
        [0, 0] => None,
        [0, mask] => Some(WORD + byte(mask)),
        [mask, _] => Some(byte(mask)),
    }
}

/// The two words of the step at the start of `bytes`.
fn words(bytes: &[u8]) -> Option<[&[u8; WORD]; 2]> {
    Some([bytes.first_chunk()?, bytes.get(WORD..)?.first_chunk()?])
}

/// The index of the first CR or LF of `bytes`.
#[inline]
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    // One pass for each end: a pass over both is not vectorised.
    let any = |step: &[u8; STEP], end: u8| step.iter().fold(false, |any, &b| any | (b == end));
    let mut at = 0;
    for step in bytes.as_chunks().0 {
        if any(step, b'\n') | any(step, b'\r') {
            break;
        }
        at += STEP;
    }
    let Some(last) = bytes.len().checked_sub(STEP) else {
        return bytes.iter().position(|b| b"\r\n".contains(b));
    };
    let at = at.min(last);
    byte_of(words(&bytes[at..])?.map(ends)).map(|n| at + n)
}

/// The length of the block at the start of `bytes` with its blank line, if the block is complete
/// and has LF line ends only. A blank line at the start is no block.
#[inline]
pub(super) fn whole_block(bytes: &[u8]) -> Option<usize> {
    let (&start, behind) = bytes.split_first()?;
    // A byte and its successor have the same index in the two slices.
    let stop = first_stop(&bytes[..behind.len()], behind)?;
    (start != b'\n' && bytes[stop] == b'\n').then_some(stop + 2)
}

/// The index of the first CR of `bytes`, or of the first LF at whose index `behind`, which is as
/// long, has a LF too.
#[inline]
fn first_stop(bytes: &[u8], behind: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (a, b) in bytes.as_chunks::<STEP>().0.iter().zip(behind.as_chunks::<STEP>().0) {
        if a.iter().zip(b).fold(false, |any, pair| any | stop(pair)) {
            break;
        }
        at += STEP;
    }
    let Some(last) = bytes.len().checked_sub(STEP) else {
        return bytes.iter().zip(behind).position(stop);
    };
    let at = at.min(last);
    let ([a0, a1], [b0, b1]) = (words(&bytes[at..])?, words(&behind[at..])?);
    byte_of([stops(a0, b0), stops(a1, b1)]).map(|n| at + n)
}

fn stop((&a, &b): (&u8, &u8)) -> bool {
    (a == b'\r') | ((a == b'\n') & (b == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps: more than two, a word and a few bytes.
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

    /// Two marks at all places of all short texts, among the bytes that are next to CR and LF.
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
        // All texts of seven bytes, around the end of a word and the end of a step.
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
        // Next to a line end, too: within a word, a borrow goes from one byte to the next.
        for a in &others {
            for b in &others {
                check(&[b'x', b'\n', *a, *b, b'\n', *a, b'\n', b'\n', *b, b'x', b'\r', b'x']);
            }
        }
    }
}
