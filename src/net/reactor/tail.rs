//! Input that a session has not taken: part of a frame, or input for which the turn had no room.

/// `bytes[at..end]` is the input. If `bytes` is the reactor's receive buffer, the other bytes have
/// no meaning. It is in a box wherever it is kept, so that a connection without one is small.
#[derive(Default)]
pub(in crate::net) struct Tail {
    bytes: Vec<u8>,
    /// INVARIANT: `at <= end <= bytes.len()`.
    at: usize,
    end: usize,
}

impl Tail {
    /// A copy of the exact size, for input that may be kept for long; `None` if there is none.
    pub(super) fn copy(rest: &[u8]) -> Option<Box<Tail>> {
        let copy = || Box::new(Tail { bytes: rest.to_vec(), at: 0, end: rest.len() });
        (!rest.is_empty()).then(copy)
    }

    /// The memory, to be read into; [`Tail::set_end`] has to follow before the input is used.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        (self.at, self.end) = (0, 0);
        &mut self.bytes
    }

    /// The first `end` bytes of the buffer are the input.
    pub(super) fn set_end(&mut self, end: usize) {
        (self.at, self.end) = (0, end.min(self.bytes.len()));
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
}
