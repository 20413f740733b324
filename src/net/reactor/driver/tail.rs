//! Input that a session has not taken: part of a frame, or what the turn had no room for.

/// `bytes[at..end]` waits. What lies around it is room of the reactor's buffer, where that was kept
/// as it was.
#[derive(Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// INVARIANT: `at <= end <= bytes.len()`.
    at: usize,
    end: usize,
}

impl Tail {
    /// A copy, of its own size: for what may wait long.
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

    /// The bytes with what counts them off.
    pub(super) fn parts(&mut self) -> (&[u8], &mut usize) {
        (&self.bytes[self.at..self.end], &mut self.at)
    }

    /// The first `n` are taken.
    pub(super) fn skip(&mut self, n: usize) {
        self.at = (self.at + n).min(self.end);
    }

    /// The memory.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}
