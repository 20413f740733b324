//! Messages out of frames: lent when one frame held all of it, put together otherwise.

use std::borrow::Cow;
use std::fmt;
use std::str;

use super::Violation;
use super::frame::Opcode;
use crate::limits::Limits;
use crate::proto::utf8::Utf8;

/// A text message: bytes that are known to be UTF-8.
#[derive(Clone)]
pub struct Text<'b>(Repr<'b>);

#[derive(Clone)]
enum Repr<'b> {
    Str(&'b str),
    /// INVARIANT: checked piece by piece as it arrived.
    Bytes(Cow<'b, [u8]>),
}

impl<'b> Text<'b> {
    pub(crate) fn new(text: &'b str) -> Text<'b> {
        Text(Repr::Str(text))
    }

    pub(crate) fn checked(bytes: Cow<'b, [u8]>) -> Text<'b> {
        Text(Repr::Bytes(bytes))
    }

    /// The bytes; free.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Str(text) => text.as_bytes(),
            Repr::Bytes(bytes) => bytes,
        }
    }

    /// The text. Free for a message that arrived in one piece. For any other, one more look at
    /// its bytes: safe Rust knows no other way from checked bytes to `str`.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Str(text) => text,
            Repr::Bytes(bytes) => str::from_utf8(bytes).unwrap_or_default(),
        }
    }

    /// The text, owned; without a copy if the message was put together from several reads.
    pub fn into_string(self) -> String {
        match self.0 {
            Repr::Str(text) => text.to_owned(),
            Repr::Bytes(bytes) => String::from_utf8(bytes.into_owned()).unwrap_or_default(),
        }
    }

    /// The bytes if they own their memory, else the text again.
    #[cfg(feature = "net")]
    pub(crate) fn into_owned(self) -> Result<Vec<u8>, Text<'b>> {
        match self.0 {
            Repr::Bytes(Cow::Owned(bytes)) => Ok(bytes),
            lent => Err(Text(lent)),
        }
    }

    /// The bytes, lent or owned.
    pub fn into_bytes(self) -> Cow<'b, [u8]> {
        match self.0 {
            Repr::Str(text) => Cow::Borrowed(text.as_bytes()),
            Repr::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Text<'_>) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text<'_> {}

/// A message under way that does not stand in one place: fragmented (§5.4), or in a frame that is
/// larger than what has arrived.
#[derive(Debug)]
pub(crate) struct Assembly {
    text: bool,
    utf8: Utf8,
    frames: u32,
    pub(crate) data: Vec<u8>,
}

/// How far an allocation for a declared length may run ahead of the bytes that have arrived.
const AHEAD: usize = 256 * 1024;

impl Assembly {
    pub(crate) fn new(opcode: Opcode) -> Assembly {
        let text = opcode == Opcode::Text;
        Assembly { text, utf8: Utf8::default(), frames: 0, data: Vec::new() }
    }

    /// Counts a frame.
    pub(crate) fn frame(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.frames = self.frames.saturating_add(1);
        // One frame is a message, whatever the limit is.
        let many = self.frames > limits.fragments.max(1);
        if many { Err(Violation::TooManyFragments) } else { Ok(()) }
    }

    /// Takes `piece` of a frame of which `missing` bytes more are to come.
    pub(crate) fn push(&mut self, piece: &[u8], missing: usize) -> Result<(), Violation> {
        self.check(piece)?;
        self.reserve(piece.len(), missing);
        self.data.extend_from_slice(piece);
        Ok(())
    }

    /// Makes room for `now` bytes, and for those that follow as far as the peer has earned it:
    /// a declared length alone gets 256 KiB, what has arrived counts three times. Fragments behind
    /// the first do not tell how many follow, so for them the memory at least doubles.
    pub(crate) fn reserve(&mut self, now: usize, missing: usize) {
        if self.data.capacity() - self.data.len() < now {
            let ahead = missing.min(AHEAD.max(self.data.len().saturating_mul(3)));
            if self.frames > 1 {
                self.data.reserve(now + ahead);
            } else {
                self.data.reserve_exact(now + ahead);
            }
        }
    }

    /// Looks at bytes that are or will be part of the data.
    fn check(&mut self, piece: &[u8]) -> Result<(), Violation> {
        if self.text { self.utf8.feed(piece).map_err(|_| Violation::NotUtf8) } else { Ok(()) }
    }

    /// The same for what was read straight behind `data[from..]`.
    pub(crate) fn check_from(&mut self, from: usize) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        self.utf8.feed(&self.data[from..]).map_err(|_| Violation::NotUtf8)
    }

    /// The message, its last frame being complete: text or binary.
    pub(crate) fn finish(self) -> Result<Message<'static>, Violation> {
        if !self.text {
            return Ok(Message::Binary(Cow::Owned(self.data)));
        }
        self.utf8.finish().map_err(|_| Violation::NotUtf8)?;
        Ok(Message::Text(Text::checked(Cow::Owned(self.data))))
    }
}

/// A whole message, text or binary.
pub(crate) enum Message<'b> {
    Text(Text<'b>),
    Binary(Cow<'b, [u8]>),
}
