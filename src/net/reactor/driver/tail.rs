//! Input that a session has not taken: part of a frame, or input without room in the turn.

/// `bytes[at..end]` is the input. The bytes around it are room of the reactor's buffer, if that was
/// kept as it was.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// INVARIANT: `at <= end <= bytes.len()`.
    at: usize,
    end: usize,
}

impl Tail {
    /// A copy of its exact size, for input that may be kept for long.
    pub(super) fn copy(rest: &[u8]) -> Tail {
        Tail { bytes: rest.to_vec(), at: 0, end: rest.len() }
    }

    /// The first `end` bytes of `buf`, which is given back with [`Tail::into_buffer`].
    pub(super) fn lent(buf: Vec<u8>, end: usize) -> Tail {
        Tail { end: end.min(buf.len()), at: 0, bytes: buf }
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// The input, and the offset that counts what was taken.
    pub(super) fn parts(&mut self) -> (&[u8], &mut usize) {
        (&self.bytes[self.at..self.end], &mut self.at)
    }

    /// The first `n` bytes were taken.
    pub(super) fn skip(&mut self, n: usize) {
        self.at = (self.at + n).min(self.end);
    }

    /// Its buffer.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}
