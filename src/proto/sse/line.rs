//! Lines of an event stream, and the bytes that belong to no line.

use super::scan::line_end;
use super::{SseError, Taken};

/// U+FEFF in UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// Skips the bytes that belong to no line: one byte order mark at the very start of the stream, and
/// the LF of a CR LF, whose CR has already ended the line.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// How many bytes of a mark have come; the length of a mark once the start has been decided.
    /// INVARIANT: `mark <= MARK.len()`.
    mark: usize,
    after_cr: bool,
}

impl Between {
    /// Whether the next byte is certainly the first byte of a line.
    pub(super) fn at_line_start(&self) -> bool {
        self.mark == MARK.len() && !self.after_cr
    }

    /// How many bytes at the start of `input` belong to no line. If earlier pieces looked like a
    /// mark and were none, their bytes are appended to `held`, since they stand before `input`.
    pub(super) fn skip(&mut self, input: &[u8], held: &mut Vec<u8>) -> usize {
        if self.mark < MARK.len() {
            return self.skip_mark(input, held);
        }
        if !self.after_cr || input.is_empty() {
            return 0;
        }
        self.after_cr = false;
        usize::from(input.starts_with(b"\n"))
    }

    fn skip_mark(&mut self, input: &[u8], held: &mut Vec<u8>) -> usize {
        let (seen, wanted) = MARK.split_at(self.mark);
        let same = wanted.iter().zip(input).take_while(|(a, b)| a == b).count();
        if same == input.len() && same < wanted.len() {
            self.mark += same;
            return same;
        }
        self.mark = MARK.len();
        if same == wanted.len() {
            return same;
        }
        held.extend_from_slice(seen);
        0
    }

    /// Records the byte that ended a line.
    pub(super) fn ended_by(&mut self, end: u8) {
        self.after_cr = end == b'\r';
    }

    /// The stream has ended: returns the bytes of an incomplete mark, which are data after all.
    pub(super) fn finish(&mut self) -> &'static [u8] {
        match std::mem::replace(&mut self.mark, MARK.len()) {
            whole if whole == MARK.len() => &[],
            part => &MARK[..part],
        }
    }
}

/// A larger buffer is freed after its line: an idle stream keeps little memory, however long its
/// lines were.
const KEEP: usize = 64 * 1024;

/// Splits pieces into lines: borrowed if a line is whole in the input, otherwise copied.
#[derive(Debug)]
pub(super) struct Lines {
    between: Between,
    /// The part of an incomplete line that has come, without line ends.
    held: Vec<u8>,
    max: usize,
}

impl Lines {
    /// A parser for lines of at most `max` bytes, line ends not counted.
    pub(super) fn new(max: usize) -> Lines {
        Lines { between: Between::default(), held: Vec::new(), max }
    }

    /// Whether the next byte is certainly the first byte of a line.
    pub(super) fn at_start(&self) -> bool {
        self.held.is_empty() && self.between.at_line_start()
    }

    /// How many bytes a line may have at most.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Takes one line with its end, or all of the input if the line is not complete; returns how
    /// many bytes, and the line without its end. After each line, the caller calls
    /// [`Lines::release`].
    pub(super) fn next<'a>(&'a mut self, input: &'a [u8]) -> Taken<&'a [u8]> {
        let start = self.between.skip(input, &mut self.held);
        // `skip` returns at most `input.len()`.
        let rest = &input[start..];
        let (part, end) = match line_end(rest) {
            Some(len) => (&rest[..len], rest.get(len)),
            None => (rest, None),
        };
        if self.held.len() + part.len() > self.max {
            return Err(SseError::LongLine);
        }
        let Some(&end) = end else {
            self.held.extend_from_slice(part);
            return Ok((input.len(), None));
        };
        self.between.ended_by(end);
        let used = start + part.len() + 1;
        if self.held.is_empty() {
            return Ok((used, Some(part)));
        }
        self.held.extend_from_slice(part);
        Ok((used, Some(&self.held)))
    }

    /// The caller no longer needs the line that [`Lines::next`] returned.
    pub(super) fn release(&mut self) {
        if self.held.capacity() > KEEP {
            self.held = Vec::new();
        } else {
            self.held.clear();
        }
    }

    /// Capacity of the buffer.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.held.capacity()
    }
}
