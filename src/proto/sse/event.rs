//! Parsed events (WHATWG HTML §9.2.6).

use std::borrow::Cow;
use std::mem;
use std::time::Duration;

use super::line::Lines;
use super::scan::line_end;
use super::{SseError, Taken};
use crate::limits::Limits;

/// An event as `EventSource` dispatches it (WHATWG HTML §9.2.6).
///
/// Texts are decoded as UTF-8 whatever charset the response declares; an invalid sequence becomes
/// U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last `event` field; `message` if there was none or it was empty.
    pub event: Cow<'static, str>,
    /// The `data` fields, joined by LF. It can be empty.
    pub data: String,
    /// The last event ID when the event was dispatched: from this event, or from the latest event
    /// before it with an `id` field. Empty if there was none, or if it was reset. It contains
    /// neither CR nor LF nor NUL, but may contain other control characters.
    pub id: String,
    /// How long to wait before a reconnect, if this event had a valid `retry` field.
    pub retry: Option<Duration>,
}

#[cfg(feature = "net")]
impl Event {
    /// How many bytes the texts have, for limits on queued bytes.
    pub(crate) fn len(&self) -> usize {
        self.event.len() + self.data.len() + self.id.len()
    }
}

/// The result of [`Events::receive_with_comments`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventOrComment {
    /// An event.
    Event(Event),
    /// A line that starts with a colon: the text behind the colon, without one leading space, as
    /// for the value of a field. It is decoded as the texts of events are; it can be empty.
    Comment(String),
}

/// The items that one call of the parser returns: events and comments, or events only. Each has its
/// own type, so that a program without comments does not pay for them.
trait ParsedItem: Sized {
    const COMMENTS: bool;

    fn event(event: Event) -> Self;

    /// `text` is not decoded yet.
    fn comment(text: &[u8]) -> Option<Self>;
}

impl ParsedItem for Event {
    const COMMENTS: bool = false;

    fn event(event: Event) -> Event {
        event
    }

    fn comment(_: &[u8]) -> Option<Event> {
        None
    }
}

impl ParsedItem for EventOrComment {
    const COMMENTS: bool = true;

    fn event(event: Event) -> EventOrComment {
        EventOrComment::Event(event)
    }

    fn comment(text: &[u8]) -> Option<EventOrComment> {
        Some(EventOrComment::Comment(decode(Cow::Borrowed(text))))
    }
}

/// Parses events, and comments on request, from the bytes of an event stream.
///
/// An unfinished event at the end of the stream is dropped, as §9.2.6 demands; the caller need not
/// call anything for that.
///
/// ```
/// use moonwire::proto::sse::Events;
///
/// let mut events = Events::new(&moonwire::Limits::default());
/// let mut input = &b"event: tick\r\ndata: 1\r\n\r\nid: 7\ndata: 2\n"[..];
/// let mut seen = Vec::new();
/// loop {
///     let (used, event) = events.receive(input)?;
///     input = &input[used..];
///     match event {
///         Some(event) => seen.push((event.event, event.data)),
///         None => break,
///     }
/// }
/// assert_eq!(seen, [("tick".into(), "1".into())]);
/// assert_eq!(events.last_event_id(), "", "the second event is not complete");
/// # Ok::<(), moonwire::proto::sse::SseError>(())
/// ```
#[derive(Debug)]
pub struct Events {
    lines: Lines,
    block: Block<'static>,
    line_max: usize,
    block_max: usize,
    last_event_id: String,
    /// How long to wait before a reconnect, from complete blocks.
    retry: Option<Duration>,
    failed: bool,
}

impl Events {
    /// A parser for a new stream, with the bounds [`Limits::sse_line`] and [`Limits::sse_block`].
    /// The latter counts the received bytes of `data` (with the LFs between its lines), `event` and
    /// `id`. Decoded, they can be three times as many, if none of them is UTF-8.
    pub fn new(limits: &Limits) -> Events {
        Events {
            lines: Lines::new(limits.sse_line),
            block: Block::default(),
            line_max: limits.sse_line,
            block_max: limits.sse_block,
            last_event_id: String::new(),
            retry: None,
            failed: false,
        }
    }

    /// Takes bytes up to the end of the next event; returns how many, and the event. Without an
    /// event, it took all bytes. The caller passes the rest again.
    ///
    /// # Errors
    ///
    /// A line or an event is longer than the limits allow. Later calls take all bytes and return
    /// nothing. Earlier calls have returned the events before the error.
    pub fn receive(&mut self, input: &[u8]) -> Taken<Event> {
        self.take(input)
    }

    /// As [`Events::receive`], but also returns comments: each as soon as its line has ended, and
    /// so before the event whose lines surround it. Events, last event ID and errors are the same
    /// as with [`Events::receive`], and a program may alternate both on one stream.
    ///
    /// Servers send comments so that no proxy takes an idle connection for dead (WHATWG HTML
    /// §9.2.7), and some send notices in them. No event depends on comments.
    ///
    /// ```
    /// use moonwire::proto::sse::{EventOrComment, Events};
    ///
    /// let mut events = Events::new(&moonwire::Limits::default());
    /// let (mut input, mut seen) = (&b"data: 1\n: alive\n\n:\n"[..], Vec::new());
    /// while let (used, Some(item)) = events.receive_with_comments(input)? {
    ///     input = &input[used..];
    ///     seen.push(match item {
    ///         EventOrComment::Event(event) => event.data,
    ///         EventOrComment::Comment(text) => format!("comment {text:?}"),
    ///     });
    /// }
    /// assert_eq!(seen, [r#"comment "alive""#, "1", r#"comment """#]);
    /// # Ok::<(), moonwire::proto::sse::SseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Events::receive`]. A comment counts towards [`Limits::sse_line`], and towards no event.
    pub fn receive_with_comments(&mut self, input: &[u8]) -> Taken<EventOrComment> {
        self.take(input)
    }

    /// As [`Events::receive`], for a block that is whole at the start of the input, as most are;
    /// returns its event if it has data. `None`: the caller has to call `receive`.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn receive_whole(&mut self, input: &[u8]) -> Option<(usize, Option<Event>)> {
        if self.failed {
            return None;
        }
        let (used, block) = self.whole::<Event>(input)?;
        Some((used, self.dispatch(block)))
    }

    #[inline]
    fn take<T: ParsedItem>(&mut self, input: &[u8]) -> Taken<T> {
        if self.failed {
            return Ok((input.len(), None));
        }
        let mut used = 0;
        while let Some((taken, block)) = self.whole::<T>(&input[used..]) {
            used += taken;
            if let Some(event) = self.dispatch(block) {
                return Ok((used, Some(T::event(event))));
            }
        }
        let result = self.read(input, used);
        if result.is_err() {
            self.restart();
            self.failed = true;
        }
        result
    }

    /// The value of `Last-Event-ID` for a reconnect; if it is empty, the field is not sent. It
    /// changes at the blank line behind an event, even if the event has no data and is not
    /// dispatched. An unfinished event does not change it.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long to wait before a reconnect, from the latest `retry` field, which counts as soon as
    /// its line is complete, with or without data. For a number beyond `u64` milliseconds it is
    /// `u64::MAX`, which can be added to an [`Instant`](std::time::Instant) without overflow; the
    /// caller bounds it.
    pub fn retry(&self) -> Option<Duration> {
        self.block.retry.or(self.retry)
    }

    /// Sets the last event ID to a stored one, as if a block had contained it. An ID with CR, LF or
    /// NUL cannot come from a stream and is ignored.
    pub fn set_last_event_id(&mut self, id: &str) {
        if !id.contains(['\r', '\n', '\0']) {
            self.last_event_id = id.to_owned();
        }
    }

    /// Sets other bounds for the stream that [`Events::restart`] begins.
    #[cfg(feature = "net")]
    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        (self.line_max, self.block_max) = (limits.sse_line, limits.sse_block);
    }

    /// Begins a new stream, as after a reconnect. Drops an unfinished event and an error, keeps the
    /// last event ID and the reconnection time: events without `id` on the new connection have the
    /// ID from the old one.
    pub fn restart(&mut self) {
        self.retry = self.retry();
        self.lines = Lines::new(self.line_max);
        self.block = Block::default();
        self.failed = false;
    }

    /// The block that is whole at the start of `input` with LF line ends only: its length and its
    /// fields. A block that is no longer than either limit exceeds neither. `None` for any other
    /// block, also for one with comments if the caller wants comments: `read` then parses its lines
    /// once more.
    #[inline(always)]
    fn whole<'b, T: ParsedItem>(&self, input: &'b [u8]) -> Option<(usize, Block<'b>)> {
        if !self.lines.at_start() || !self.block.is_empty() {
            return None;
        }
        let max = self.lines.max().min(self.block_max);
        let input = &input[..max.min(input.len())];
        let (mut at, mut block) = (0, Block::default());
        loop {
            let rest = &input[at..];
            let len = line_end(rest)?;
            if rest[len] == b'\r' || (T::COMMENTS && rest[0] == b':') {
                return None;
            }
            at += len + 1;
            if len == 0 {
                return Some((at, block));
            }
            block.field(&rest[..len], Cow::Borrowed, usize::MAX).ok()?;
        }
    }

    /// Parses any other block line by line, behind `used` bytes. A function of its own, to keep
    /// `receive` small.
    #[inline(never)]
    fn read<T: ParsedItem>(&mut self, input: &[u8], mut used: usize) -> Taken<T> {
        loop {
            let (taken, line) = self.lines.next(&input[used..])?;
            used += taken;
            let Some(line) = line else { return Ok((used, None)) };
            if let [b':', b' ', text @ ..] | [b':', text @ ..] = line
                && let Some(comment) = T::comment(text)
            {
                self.lines.release();
                return Ok((used, Some(comment)));
            }
            let blank = line.is_empty();
            self.block.field(line, |value| Cow::Owned(value.to_vec()), self.block_max)?;
            self.lines.release();
            if blank {
                let block = mem::take(&mut self.block);
                if let Some(event) = self.dispatch(block) {
                    return Ok((used, Some(T::event(event))));
                }
            }
        }
    }

    /// Ends a block at its blank line: updates the last event ID; returns no event without data.
    #[inline(always)]
    fn dispatch(&mut self, block: Block<'_>) -> Option<Event> {
        self.retry = block.retry.or(self.retry);
        if let Some(id) = block.id {
            self.take_id(id);
        }
        let data = decode(block.data?);
        let event = match block.event.is_empty() {
            true => Cow::Borrowed("message"),
            false => Cow::Owned(decode(block.event)),
        };
        // Most streams have no IDs. A call that returns an empty `String` makes the CPU wait for
        // the writes of the call.
        let id = match self.last_event_id.as_str() {
            "" => String::new(),
            id => id.to_owned(),
        };
        Some(Event { event, data, id, retry: block.retry })
    }

    /// Reuses the memory of the previous ID if it is small, since most events have a new ID.
    fn take_id(&mut self, id: Cow<'_, [u8]>) {
        match str::from_utf8(&id) {
            Ok(text) if self.last_event_id.capacity() <= KEEP => {
                text.clone_into(&mut self.last_event_id);
            }
            _ => self.last_event_id = decode(id),
        }
    }

    /// Capacity of the buffers for an unfinished event.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let block = &self.block;
        let kept = [&block.event].into_iter().chain(&block.data).chain(&block.id);
        let capacity = |kept: &Cow<'_, [u8]>| match kept {
            Cow::Borrowed(_) => 0,
            Cow::Owned(bytes) => bytes.capacity(),
        };
        self.lines.capacity() + kept.map(capacity).sum::<usize>()
    }
}

/// A larger buffer of an ID is freed with the next ID: an idle stream keeps little memory.
const KEEP: usize = 256;

/// The fields since the last blank line, not decoded. LF cuts no UTF-8 sequence, so decoding the
/// whole text gives the same result as decoding its lines, and can wait until the event is
/// complete. Borrowed while the block is in one piece of input, as most blocks are.
#[derive(Debug, Default)]
struct Block<'b> {
    /// `None` until a `data` field comes: an event with empty data is still an event.
    data: Option<Cow<'b, [u8]>>,
    event: Cow<'b, [u8]>,
    /// `None` until an `id` field comes: an empty one resets the last event ID.
    id: Option<Cow<'b, [u8]>>,
    retry: Option<Duration>,
}

impl<'b> Block<'b> {
    /// Takes a line, whose value `keep` borrows or copies. Inlined by force: there are two callers,
    /// with comments and without, and a call for each line costs each of them 3 %.
    #[inline(always)]
    fn field<'l>(
        &mut self,
        line: &'l [u8],
        keep: impl Fn(&'l [u8]) -> Cow<'b, [u8]>,
        max: usize,
    ) -> Result<(), SseError> {
        match named(line) {
            Some((Name::Data, value)) => match &mut self.data {
                None => self.data = Some(keep(value)),
                Some(data) => add_line(data, value, max)?,
            },
            Some((Name::Event, value)) => self.event = keep(value),
            Some((Name::Id, value)) if !value.contains(&0) => self.id = Some(keep(value)),
            Some((Name::Retry, value)) => self.retry = milliseconds(value).or(self.retry),
            Some((Name::Id, _)) | None => {}
        }
        if self.len() > max { Err(SseError::LongEvent) } else { Ok(()) }
    }

    /// Whether no field was kept (or only an empty `event`, which changes nothing).
    fn is_empty(&self) -> bool {
        let none = self.data.is_none() && self.id.is_none() && self.retry.is_none();
        none && self.event.is_empty()
    }

    fn len(&self) -> usize {
        let len = |text: &Option<Cow<'_, [u8]>>| text.as_ref().map_or(0, |text| text.len());
        len(&self.data) + self.event.len() + len(&self.id)
    }
}

/// Appends one more line of `data`.
fn add_line(data: &mut Cow<'_, [u8]>, value: &[u8], max: usize) -> Result<(), SseError> {
    let len = data.len() + 1 + value.len();
    // Checked before the buffer grows, because it may double.
    if len > max {
        return Err(SseError::LongEvent);
    }
    if let Cow::Borrowed(first) = *data {
        // One allocation for both lines; `to_mut` would first allocate for `first` alone.
        let mut both = Vec::with_capacity(len);
        both.extend_from_slice(first);
        *data = Cow::Owned(both);
    }
    let data = data.to_mut();
    data.push(b'\n');
    data.extend_from_slice(value);
    Ok(())
}

/// The known field names. (A comment is a field with an empty name.)
#[derive(Clone, Copy)]
enum Name {
    Data,
    Event,
    Id,
    Retry,
}

/// The known name of a field before the first colon, and the value behind it without one space. It
/// compares with the known names and does not search for the colon, which may be far away.
#[inline]
fn named(line: &[u8]) -> Option<(Name, &[u8])> {
    let (name, rest) = match line {
        [b'd', b'a', b't', b'a', rest @ ..] => (Name::Data, rest),
        [b'i', b'd', rest @ ..] => (Name::Id, rest),
        [b'e', b'v', b'e', b'n', b't', rest @ ..] => (Name::Event, rest),
        [b'r', b'e', b't', b'r', b'y', rest @ ..] => (Name::Retry, rest),
        _ => return None,
    };
    match rest {
        [b':', b' ', value @ ..] | [b':', value @ ..] | value @ [] => Some((name, value)),
        _ => None,
    }
}

/// A number of milliseconds: ASCII digits only. `str::parse` would accept a sign and refuse a
/// number that is too large.
fn milliseconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = value.iter().map(|b| u64::from(b - b'0'));
    let number = digits.fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(digit));
    Some(Duration::from_millis(number))
}

/// Decodes UTF-8, with U+FFFD for invalid sequences. A valid text that is owned is not copied
/// again. Validates first, since the search for errors goes byte by byte.
fn decode(bytes: Cow<'_, [u8]>) -> String {
    match bytes {
        Cow::Borrowed(bytes) => match str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => lossy(bytes),
        },
        Cow::Owned(bytes) => String::from_utf8(bytes).unwrap_or_else(|e| lossy(e.as_bytes())),
    }
}

#[cold]
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
