//! The send buffer: bytes with a cursor, bounded by its user; and [`Space`], memory to read into.

use std::fmt;

/// Bytes to be sent. [`SendBuf::sent`] removes sent bytes from the front.
#[derive(Default)]
pub(crate) struct SendBuf {
    bytes: Vec<u8>,
    /// INVARIANT: `start <= bytes.len()`, and both are 0 when everything was sent.
    start: usize,
}

/// The bytes may hold secrets: `Debug` shows only how many there are.
impl fmt::Debug for SendBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendBuf({} bytes)", self.len())
    }
}

/// When the buffer is empty and larger than this, it frees its memory: an idle connection keeps
/// little.
const KEEP: usize = 256;

/// The memory of empty buffers, which connections share: few have anything to send at one time.
#[cfg(feature = "net")]
#[derive(Default)]
pub(crate) struct Spares(Vec<Vec<u8>>);

#[cfg(all(feature = "net", test))]
impl Spares {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// As many connections may send in one turn without a new allocation, and not many more: a wait
/// reports at most this many sockets.
#[cfg(feature = "net")]
const SPARES: usize = 256;

impl SendBuf {
    /// The bytes to be sent next.
    #[inline]
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes are waiting to be sent.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The vector to which frames are appended.
    #[inline]
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        // More bytes were sent than are waiting: moving the waiting ones copies less than it frees.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// Before bytes may be appended: takes spare memory, unless the buffer has its own.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn borrow_memory(&mut self, spares: &mut Spares) {
        if self.bytes.capacity() == 0
            && let Some(spare) = spares.0.pop()
        {
            self.bytes = spare;
        }
    }

    /// Gives the memory back if nothing is waiting.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn return_memory(&mut self, spares: &mut Spares) {
        if self.bytes.is_empty() && self.bytes.capacity() > 0 {
            let spare = std::mem::take(&mut self.bytes);
            if spares.0.len() < SPARES {
                spares.0.push(spare);
            }
        }
    }

    /// Removes the first `n` pending bytes, or all if there are fewer.
    #[inline]
    pub(crate) fn sent(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.start == self.bytes.len() {
            self.start = 0;
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }
}

/// Memory into which the driver reads the next bytes of a large frame.
#[derive(Debug)]
pub struct Space<'a> {
    /// The driver appends the bytes here.
    pub buf: &'a mut Vec<u8>,
    /// The driver appends at most this many bytes; `buf` has the capacity for them.
    pub want: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_whatever_the_kernel_takes() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
        for take in [1, 3, 17, 1000, 5000] {
            let (mut buf, mut got) = (SendBuf::default(), Vec::new());
            for piece in data.chunks(100) {
                buf.tail().extend_from_slice(piece);
                let n = buf.len().min(take);
                got.extend_from_slice(&buf.pending()[..n]);
                buf.sent(n);
            }
            while buf.len() > 0 {
                let n = buf.len().min(take);
                got.extend_from_slice(&buf.pending()[..n]);
                buf.sent(n);
            }
            assert_eq!(got, data, "{take} at a time");
        }
    }

    #[test]
    fn an_empty_buffer_gives_its_memory_back() {
        let mut buf = SendBuf::default();
        buf.tail().extend_from_slice(&[1; 100_000]);
        buf.sent(100_000);
        assert_eq!(buf.tail().capacity(), 0);
    }

    #[cfg(feature = "net")]
    #[test]
    fn small_memory_goes_from_buffer_to_buffer() {
        let (mut spares, mut buf) = (Spares::default(), SendBuf::default());
        buf.borrow_memory(&mut spares);
        buf.tail().extend_from_slice(&[1; 100]);
        let memory = buf.pending().as_ptr();
        buf.sent(60);
        buf.return_memory(&mut spares);
        assert_eq!(buf.pending(), [1; 40], "bytes that wait keep their memory");
        buf.sent(40);
        buf.return_memory(&mut spares);
        assert_eq!(buf.tail().capacity(), 0);
        let mut other = SendBuf::default();
        other.borrow_memory(&mut spares);
        other.tail().push(2);
        assert_eq!(other.pending().as_ptr(), memory);
        other.borrow_memory(&mut spares);
        assert_eq!(other.pending(), [2], "a buffer that has memory takes no other");
    }

    #[cfg(feature = "net")]
    #[test]
    fn spare_memory_is_bounded() {
        let mut spares = Spares::default();
        for _ in 0..2 * SPARES {
            let mut buf = SendBuf::default();
            buf.tail().push(1);
            buf.sent(1);
            buf.return_memory(&mut spares);
        }
        assert_eq!(spares.len(), SPARES);
    }

    /// A long queue would otherwise be copied whenever something is added to it, and a buffer that
    /// is never empty would grow for ever.
    #[test]
    fn sent_bytes_are_removed_once_they_are_more_than_those_that_wait() {
        for (sent, removed) in [(0, 0), (49, 0), (50, 0), (51, 51), (99, 99)] {
            let mut buf = SendBuf::default();
            buf.tail().extend(0..100);
            buf.sent(sent);
            assert_eq!(buf.tail().len(), 100 - removed, "{sent} sent");
            assert!(buf.pending().iter().copied().eq(sent as u8..100), "{sent} sent");
        }
    }

    #[test]
    fn an_empty_buffer_keeps_memory_up_to_a_bound() {
        for (capacity, is_kept) in [(KEEP, true), (KEEP + 1, false)] {
            let mut buf = SendBuf { bytes: Vec::with_capacity(capacity), start: 0 };
            buf.tail().push(1);
            buf.sent(1);
            assert_eq!(buf.tail().capacity() > 0, is_kept, "{capacity}");
        }
    }
}
