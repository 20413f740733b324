//! Input that a session has not taken: part of a frame, or input for which the turn had no room.

/// `bytes[at..end]` is the input. If `bytes` is the reactor's receive buffer, the other bytes have
/// no meaning.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// INVARIANT: `at <= end <= bytes.len()`.
    at: usize,
    end: usize,
}

impl Tail {
    /// A copy of the exact size, for input that may be kept for long.
    pub(super) fn copy(rest: &[u8]) -> Tail {
        Tail { bytes: rest.to_vec(), at: 0, end: rest.len() }
    }

    /// The first `end` bytes of `buf`, which [`Tail::into_buffer`] gives back.
    pub(super) fn lent(buf: Vec<u8>, end: usize) -> Tail {
        Tail { end: end.min(buf.len()), at: 0, bytes: buf }
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// The input, and the offset to which the caller adds what it takes.
    pub(super) fn parts(&mut self) -> (&[u8], &mut usize) {
        (&self.bytes[self.at..self.end], &mut self.at)
    }

    /// Records that the first `n` bytes were taken.
    pub(super) fn skip(&mut self, n: usize) {
        self.at = (self.at + n).min(self.end);
    }

    /// The buffer.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}
