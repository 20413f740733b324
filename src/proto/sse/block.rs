//! Events as text: whole blocks with their field names.

use std::borrow::Cow;
use std::mem;

use super::line::Between;
use super::scan::{line_end, whole_block};
use super::{SseError, Taken};
use crate::limits::Limits;

/// Splits an event stream into blocks: one or more lines and the blank line that ends them. A block
/// may consist of comments.
///
/// Bytes are not changed, UTF-8 or not, except that each line end becomes one LF, and that a byte
/// order mark at the very start of the stream is removed. A blank line with no line before it is no
/// block.
///
/// ```
/// use moonwire::proto::sse::Blocks;
///
/// let mut blocks = Blocks::new(&moonwire::Limits::default());
/// let input = b"event: x\r\ndata: y\r\n\r\n: and";
/// let (used, block) = blocks.receive(input)?;
/// assert_eq!(block.as_deref(), Some(&b"event: x\ndata: y\n\n"[..]));
/// let (_, block) = blocks.receive(&input[used..])?;
/// assert_eq!(block, None);
/// assert_eq!(blocks.finish().as_deref(), Some(&b": and"[..]));
/// # Ok::<(), moonwire::proto::sse::SseError>(())
/// ```
#[derive(Debug)]
pub struct Blocks {
    between: Between,
    /// The unfinished block, with LF as line ends.
    held: Vec<u8>,
    /// The offset in the block at which its unfinished line starts.
    line: usize,
    line_max: usize,
    block_max: usize,
    failed: bool,
}

impl Blocks {
    /// A parser for a new stream, with the bounds [`Limits::sse_line`] and [`Limits::sse_block`].
    /// The latter counts every byte of a block as it is returned, including its line ends.
    pub fn new(limits: &Limits) -> Blocks {
        Blocks {
            between: Between::default(),
            held: Vec::new(),
            line: 0,
            line_max: limits.sse_line,
            block_max: limits.sse_block,
            failed: false,
        }
    }

    /// Takes bytes up to the end of the next block; returns how many, and the block: borrowed if
    /// all of it is in `input` with LF line ends only. Without a block, it took all bytes. The
    /// caller passes the rest again.
    ///
    /// # Errors
    ///
    /// A line or a block is longer than the limits allow, at the byte that exceeds them. Later
    /// calls take all bytes and return nothing. Earlier calls have returned the blocks before the
    /// error.
    pub fn receive<'b>(&mut self, input: &'b [u8]) -> Taken<Cow<'b, [u8]>> {
        if let Some(block) = self.lend(input) {
            return Ok((block.len(), Some(Cow::Borrowed(block))));
        }
        self.copy(input)
    }

    /// The block at the start of `input`, if all of it is there with LF line ends only. A block
    /// that is no longer than either limit exceeds neither, so its lines need not be found.
    fn lend<'b>(&self, input: &'b [u8]) -> Option<&'b [u8]> {
        let at_start = self.held.is_empty() && self.between.at_line_start() && !self.failed;
        let room = self.line_max.min(self.block_max).min(input.len());
        let len = at_start.then(|| whole_block(&input[..room])).flatten()?;
        Some(&input[..len])
    }

    /// Copies any other block line by line. A function of its own, to keep the path of `lend`
    /// short.
    #[inline(never)]
    fn copy<'b>(&mut self, input: &'b [u8]) -> Taken<Cow<'b, [u8]>> {
        if self.failed {
            return Ok((input.len(), None));
        }
        let result = self.read(input);
        if result.is_err() {
            self.held = Vec::new();
            self.failed = true;
        }
        result
    }

    /// The stream has ended: returns the bytes of an unfinished block. Nothing is added to them, so
    /// the last line may have no LF. `None` if there are none, and after an error.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.held.extend_from_slice(self.between.finish());
        self.line = 0;
        let rest = mem::take(&mut self.held);
        if rest.is_empty() { None } else { Some(rest) }
    }

    fn read<'b>(&mut self, input: &'b [u8]) -> Taken<Cow<'b, [u8]>> {
        // `input[from..at]` belongs to the block and is not in `held`. Bytes between lines occur
        // only behind a CR and at the start of the stream; in both cases that range is empty.
        let (mut from, mut at) = (0, 0);
        while at < input.len() {
            let between = self.between.skip(&input[at..], &mut self.held);
            if between > 0 {
                at += between;
                from = at;
                continue;
            }
            let start = self.held.len() + (at - from);
            let Some(len) = line_end(&input[at..]) else {
                self.check(start, input.len() - at)?;
                break;
            };
            self.check(start, len)?;
            at += len + 1;
            match self.end_line(&input[from..at], start + len)? {
                Line::Closing(kept) => return Ok((at, Some(self.give(&input[from + kept..at])))),
                Line::Kept(kept) => from += kept,
            }
        }
        self.hold(&input[from..]);
        Ok((input.len(), None))
    }

    /// Whether a line may have `more` bytes from offset `start` of the block on. If both limits are
    /// exceeded, the error names the limit that is exceeded first.
    fn check(&self, start: usize, more: usize) -> Result<(), SseError> {
        // Where each limit ends. `start` can be beyond: `skip` adds bytes that looked like a mark.
        let (line, block) = (self.line.saturating_add(self.line_max), self.block_max);
        match start + more {
            end if end <= line.min(block) => Ok(()),
            _ if block < line => Err(SseError::LongEvent),
            _ => Err(SseError::LongLine),
        }
    }

    /// A line has ended at offset `end` of the block. `part` contains its line end and is not in
    /// `held` yet; it is copied there if it cannot be borrowed.
    fn end_line(&mut self, part: &[u8], end: usize) -> Result<Line, SseError> {
        let Some((&last, text)) = part.split_last() else { return Ok(Line::Kept(0)) };
        self.between.ended_by(last);
        if end == 0 {
            return Ok(Line::Kept(part.len()));
        }
        if end >= self.block_max {
            return Err(SseError::LongEvent);
        }
        let mut kept = 0;
        if last == b'\r' {
            self.hold(text);
            self.held.push(b'\n');
            kept = part.len();
        }
        if end == self.line {
            return Ok(Line::Closing(kept));
        }
        self.line = end + 1;
        Ok(Line::Kept(kept))
    }

    /// Copies bytes of the block to `held`; the first allocation has room for a small block.
    fn hold(&mut self, bytes: &[u8]) {
        if self.held.capacity() == 0 && !bytes.is_empty() {
            self.held.reserve_exact(bytes.len().max(SMALL));
        }
        self.held.extend_from_slice(bytes);
    }

    /// Returns the block; `rest` is the part of it that is not in `held`.
    fn give<'b>(&mut self, rest: &'b [u8]) -> Cow<'b, [u8]> {
        self.line = 0;
        if self.held.is_empty() {
            return Cow::Borrowed(rest);
        }
        let mut block = mem::take(&mut self.held);
        block.extend_from_slice(rest);
        Cow::Owned(block)
    }

    /// Capacity of the buffer for an unfinished block.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.held.capacity()
    }
}

/// Most copied blocks are no larger than this, so their buffer never grows.
const SMALL: usize = 128;

/// What a line end completes, and how many bytes of the input need not be kept: they are in `held`,
/// or they belong to no block.
enum Line {
    /// The block is complete.
    Closing(usize),
    /// The block is not complete, or no block has begun.
    Kept(usize),
}
