//! The bytes to which the next message may refer, kept without the state that wrote them (RFC 7692
//! §7.1.1.2).

/// The last bytes that were sent compressed: at most as many as the window has, in no more memory.
#[derive(Default)]
pub(super) struct History {
    /// INVARIANT: no longer than the window; `start` is 0 while it is shorter.
    bytes: Vec<u8>,
    /// The index of the oldest byte, which is overwritten next.
    start: usize,
}

impl History {
    /// Appends the message `payload`; the window has `size` bytes.
    pub(super) fn push(&mut self, payload: &[u8], size: usize) {
        let mut rest = &payload[payload.len().saturating_sub(size)..];
        let room = size.saturating_sub(self.bytes.len());
        if room > 0 {
            let (now, later) = rest.split_at(rest.len().min(room));
            // The memory doubles, as with `Vec`, but ends at exactly the size of the window.
            if self.bytes.capacity() < self.bytes.len() + now.len() {
                let want = (self.bytes.len() + now.len()).max(2 * self.bytes.len()).min(size);
                self.bytes.reserve_exact(want - self.bytes.len());
            }
            self.bytes.extend_from_slice(now);
            rest = later;
        }
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.bytes.len() - self.start));
            self.bytes[self.start..self.start + now.len()].copy_from_slice(now);
            self.start = (self.start + now.len()) % self.bytes.len();
            rest = later;
        }
    }

    /// All bytes, the oldest first.
    pub(super) fn in_order(&mut self) -> &[u8] {
        self.bytes.rotate_left(self.start);
        self.start = 0;
        &self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties the history and frees its memory.
    pub(super) fn clear(&mut self) {
        *self = History::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_memory_doubles_when_it_is_full_and_ends_at_the_window() {
        for (size, pieces, want) in [
            (100, &[1, 1, 1, 1, 1][..], &[1, 2, 4, 4, 8][..]),
            (100, &[4, 2, 2, 1], &[4, 8, 8, 16]),
            (100, &[40, 30, 30, 1], &[40, 80, 100, 100]),
            (5, &[1, 1, 1, 1, 1], &[1, 2, 4, 4, 5]),
            (7, &[4, 9], &[4, 7]),
        ] {
            let mut history = History::default();
            let push = |&len: &usize| {
                history.push(&vec![7; len], size);
                history.bytes.capacity()
            };
            let got: Vec<usize> = pieces.iter().map(push).collect();
            assert_eq!(got, want, "{pieces:?} in a window of {size}");
        }
    }

    /// Compared with everything that was written, of which the last bytes count.
    #[test]
    fn it_is_the_end_of_what_was_written() {
        let mut x = 1u32;
        let mut number = |below: usize| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as usize % below
        };
        for size in [1, 2, 7, 512] {
            let (mut history, mut all) = (History::default(), Vec::new());
            for _ in 0..500 {
                let len = [0, 1, size, size + 1, 3 * size, number(size + 1)][number(6)];
                let piece: Vec<u8> = (0..len).map(|_| number(256) as u8).collect();
                all.extend_from_slice(&piece);
                history.push(&piece, size);
                assert!(history.bytes.capacity() <= size.max(8));
                if number(3) == 0 {
                    assert_eq!(history.in_order(), &all[all.len().saturating_sub(size)..]);
                }
                if number(40) == 0 {
                    history.clear();
                    all.clear();
                    assert!(history.is_empty() && history.bytes.capacity() == 0);
                }
            }
        }
    }
}
