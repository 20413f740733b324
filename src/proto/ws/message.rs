//! Messages out of frames: borrowed if one frame contains the whole message, otherwise assembled.

use std::borrow::Cow;
use std::fmt;
use std::str;

use super::Violation;
use super::deflate::Codec;
use super::frame::Opcode;
use crate::limits::Limits;
use crate::proto::utf8::Utf8;

/// A text message: bytes that are known to be UTF-8.
#[derive(Clone)]
pub struct Text<'b>(Repr<'b>);

#[derive(Clone)]
enum Repr<'b> {
    Str(&'b str),
    String(String),
    /// INVARIANT: every byte was validated as UTF-8, piece by piece as it came.
    Bytes(Cow<'b, [u8]>),
}

impl<'b> Text<'b> {
    #[inline]
    pub(crate) fn new(text: &'b str) -> Text<'b> {
        Text(Repr::Str(text))
    }

    #[inline]
    pub(crate) fn checked(bytes: Cow<'b, [u8]>) -> Text<'b> {
        Text(Repr::Bytes(bytes))
    }

    /// The bytes, without a copy or a check.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Str(text) => text.as_bytes(),
            Repr::String(text) => text.as_bytes(),
            Repr::Bytes(bytes) => bytes,
        }
    }

    /// The text. This costs nothing for a message that came whole in one read, and for a large one
    /// whose end came so fast that all of it was validated at once. For any other message, the
    /// bytes are validated once more: safe Rust offers no other way from such bytes to `str`.
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Str(text) => text,
            Repr::String(text) => text,
            Repr::Bytes(bytes) => str::from_utf8(bytes).unwrap_or_default(),
        }
    }

    /// The text, owned; without a copy if the message was assembled from several reads.
    #[inline]
    pub fn into_string(self) -> String {
        match self.0 {
            Repr::Str(text) => text.to_owned(),
            Repr::String(text) => text,
            Repr::Bytes(bytes) => String::from_utf8(bytes.into_owned()).unwrap_or_default(),
        }
    }

    /// The text if it owns its memory; otherwise `Err` with the borrowed text.
    #[cfg(feature = "net")]
    pub(crate) fn into_owned(self) -> Result<Text<'static>, Text<'b>> {
        match self.0 {
            Repr::Bytes(Cow::Owned(bytes)) => Ok(Text(Repr::Bytes(Cow::Owned(bytes)))),
            Repr::String(text) => Ok(Text(Repr::String(text))),
            lent => Err(Text(lent)),
        }
    }

    /// The text with a copy of borrowed data.
    pub(crate) fn into_static(self) -> Text<'static> {
        match self.0 {
            Repr::Str(text) => Text(Repr::String(text.to_owned())),
            Repr::String(text) => Text(Repr::String(text)),
            Repr::Bytes(bytes) => Text(Repr::Bytes(Cow::Owned(bytes.into_owned()))),
        }
    }

    /// The bytes, borrowed or owned.
    pub fn into_bytes(self) -> Cow<'b, [u8]> {
        match self.0 {
            Repr::Str(text) => Cow::Borrowed(text.as_bytes()),
            Repr::String(text) => Cow::Owned(text.into_bytes()),
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

/// The missing part of the current data frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    pub(crate) missing: usize,
    pub(crate) fin: bool,
}

/// An unfinished message that is not whole in one input: it is fragmented (§5.4), or its frame is
/// larger than the bytes that have come.
#[derive(Debug)]
pub(crate) struct Assembly {
    text: bool,
    /// `None` between two frames; otherwise `data` contains the bytes before it.
    pub(crate) rest: Option<Rest>,
    /// How many bytes of the text were validated, and the state of that check.
    looked: usize,
    utf8: Utf8,
    frames: u32,
    /// For a compressed message (RFC 7692): how many bytes have come; `data` holds them inflated.
    pub(crate) compressed: Option<usize>,
    pub(crate) data: Vec<u8>,
}

/// An allocation for a declared length may exceed the received bytes by this many bytes.
const AHEAD: usize = 256 * 1024;

/// How many bytes a compressed message of at most `max` bytes may have on the wire: data that
/// cannot be compressed may grow by an eighth, as with zlib's smallest memory, and a little.
pub(crate) fn most_compressed(max: usize) -> usize {
    max.saturating_add(max / 8).saturating_add(1024)
}

impl Assembly {
    pub(crate) fn new(opcode: Opcode, is_compressed: bool) -> Assembly {
        let text = opcode == Opcode::Text;
        let compressed = is_compressed.then_some(0);
        let utf8 = Utf8::default();
        Assembly { text, rest: None, utf8, looked: 0, frames: 0, compressed, data: Vec::new() }
    }

    /// Whether the message is text.
    pub(crate) fn is_text(&self) -> bool {
        self.text
    }

    /// How many bytes the next frame of the message may have.
    pub(crate) fn room(&self, limits: &Limits) -> usize {
        match self.compressed {
            None => limits.message.saturating_sub(self.data.len()),
            Some(came) => most_compressed(limits.message).saturating_sub(came),
        }
    }

    /// Inflates `piece` of a frame of a compressed message; `last` states whether it ends the
    /// message.
    pub(crate) fn inflate(
        &mut self,
        codec: &mut Codec,
        piece: &[u8],
        limits: &Limits,
        last: bool,
    ) -> Result<(), Violation> {
        self.compressed = self.compressed.map(|n| n.saturating_add(piece.len()));
        let result = codec.inflate(piece, &mut self.data, limits.message);
        self.judge(result, limits)?;
        if !last {
            // The last piece is not validated here, so that `finish` may validate the whole text at
            // once.
            return self.look();
        }
        let result = codec.finish();
        self.judge(result, limits)
    }

    /// Returns `result`; but if an error comes with a text that is invalid before it, the invalid
    /// text is reported, however the message was cut.
    fn judge(&mut self, result: Result<(), Violation>, limits: &Limits) -> Result<(), Violation> {
        if result.is_err() {
            self.data.truncate(limits.message);
            self.look()?;
        }
        result
    }

    /// Counts a frame.
    pub(crate) fn frame(&mut self, limits: &Limits) -> Result<(), Violation> {
        self.frames = self.frames.saturating_add(1);
        // An unfragmented message is allowed with any limit.
        let many = self.frames > limits.fragments.max(1);
        if many { Err(Violation::TooManyFragments) } else { Ok(()) }
    }

    /// Appends `piece` of a frame; `missing` more bytes of the frame are to come.
    pub(crate) fn push(&mut self, piece: &[u8], missing: usize) -> Result<(), Violation> {
        self.reserve(piece.len(), missing);
        self.data.extend_from_slice(piece);
        self.look()
    }

    /// Makes room for `now` bytes, and for later ones in proportion to the received bytes: 256 KiB
    /// for a declared length alone, or three times what has come. After the first fragment, the
    /// number of later bytes is not known, so the memory at least doubles.
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

    /// Validates the bytes of a text that have come since the last call.
    pub(crate) fn look(&mut self) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        let new = self.data.get(self.looked..).unwrap_or_default();
        self.looked = self.data.len();
        self.utf8.feed(new).map_err(|_| Violation::NotUtf8)
    }

    /// The message, after its last frame.
    pub(crate) fn finish(mut self) -> Result<Message<'static>, Violation> {
        if !self.text {
            return Ok(Message::Binary(Cow::Owned(self.data)));
        }
        // If all bytes are validated at once, the result is a `str`.
        if self.looked <= self.data.len() / 2 {
            let text = String::from_utf8(self.data).map_err(|_| Violation::NotUtf8)?;
            return Ok(Message::Text(Text(Repr::String(text))));
        }
        self.look()?;
        self.utf8.finish().map_err(|_| Violation::NotUtf8)?;
        Ok(Message::Text(Text::checked(Cow::Owned(self.data))))
    }
}

/// A whole message, text or binary.
pub(crate) enum Message<'b> {
    Text(Text<'b>),
    Binary(Cow<'b, [u8]>),
}

/// A whole message in the input.
///
/// It becomes a [`Message`] only where it is used. A [`Message`] may own its memory, and the
/// compiler writes such a value to the stack and reads it back: a third of the time of a 16-byte
/// message.
#[derive(Clone, Copy)]
pub(crate) enum Lent<'b> {
    Text(&'b str),
    Binary(&'b [u8]),
}

impl<'b> From<Lent<'b>> for Message<'b> {
    #[inline]
    fn from(lent: Lent<'b>) -> Message<'b> {
        match lent {
            Lent::Text(text) => Message::Text(Text::new(text)),
            Lent::Binary(data) => Message::Binary(Cow::Borrowed(data)),
        }
    }
}

/// The message in the frame at the start of `input`, if it is whole, in one frame and valid; and
/// the length of the frame. `None` in all other cases: the general path then finds the error, and
/// this one, which takes most messages, stays short.
#[inline(always)]
pub(crate) fn whole(input: &[u8], max: usize) -> Option<(usize, Lent<'_>)> {
    let (first, used, payload) = whole_frame(input, max)?;
    let lent = match first {
        0x81 => Lent::Text(str::from_utf8(payload).ok()?),
        0x82 => Lent::Binary(payload),
        _ => return None,
    };
    Some((used, lent))
}

/// As [`whole`], for a compressed message: its opcode, the length of the frame, and the bytes to
/// inflate.
#[cfg(feature = "deflate")]
pub(crate) fn whole_compressed(input: &[u8], max: usize) -> Option<(Opcode, usize, &[u8])> {
    let (first, used, payload) = whole_frame(input, most_compressed(max))?;
    match first {
        0xC1 => Some((Opcode::Text, used, payload)),
        0xC2 => Some((Opcode::Binary, used, payload)),
        _ => None,
    }
}

/// A whole frame with at most `max` bytes of payload: its first byte, its length, and its payload.
#[inline(always)]
fn whole_frame(input: &[u8], max: usize) -> Option<(u8, usize, &[u8])> {
    let (&[first, short], behind) = input.split_first_chunk()?;
    // The least length for this form: for a smaller one, there is a shorter form (§5.2).
    let (size, least, len) = match short {
        0..=125 => (2, 0, usize::from(short)),
        126 => (4, 126, usize::from(u16::from_be_bytes(*behind.first_chunk()?))),
        127 => (10, 1 << 16, usize::try_from(u64::from_be_bytes(*behind.first_chunk()?)).ok()?),
        // The frame is masked.
        _ => return None,
    };
    if len < least || len > max {
        return None;
    }
    // The payload has to be there before the frame is used: its declared length may be anything.
    let payload = input.get(size..)?.get(..len)?;
    Some((first, size + len, payload))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::proto::{Context, Event, Random, Session, Settings};

    struct Key;

    impl Random for Key {
        fn key(&mut self) -> [u8; 4] {
            [1, 2, 3, 4]
        }
    }

    /// With notes, a session uses only the general path.
    fn settings(max: usize, general: bool) -> Settings {
        let limits = Arc::new(Limits { message: max, in_place: 300, ..Limits::default() });
        Settings { limits, trace: general, ..Settings::default() }
    }

    fn results(input: &[u8], max: usize, general: bool) -> String {
        results_of(Session::opened(settings(max, general), Instant::now()), input)
    }

    /// All results of a session for an input, as text.
    fn results_of(mut session: Session, input: &[u8]) -> String {
        let now = Instant::now();
        let mut cx = Context { now, random: &mut Key };
        let (mut results, mut rest) = (String::new(), input);
        loop {
            let (used, event) = session.receive(&mut cx, rest);
            results += &format!("{used} {event:?}\n");
            rest = &rest[used..];
            if event.is_none() {
                return results + &format!("{:x?}", session.outgoing());
            }
        }
    }

    /// A frame with its length in a short form or in a longer one.
    fn frame(first: u8, form: u8, payload: &[u8]) -> Vec<u8> {
        let len = payload.len();
        let mut frame = vec![first];
        match form & 0x7F {
            126 => frame.extend([&[form][..], &(len as u16).to_be_bytes()].concat()),
            127 => frame.extend([&[form][..], &(len as u64).to_be_bytes()].concat()),
            _ => frame.push(form & 0x80 | (len as u8 & 0x7F)),
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn the_short_way_of_compressed_messages_says_what_the_general_one_says() {
        let results = |input: &[u8], max, general| {
            let settings = settings(max, general);
            let wanted = crate::proto::Compression::default();
            results_of(Session::opened_compressed(settings, Instant::now(), wanted), input)
        };
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let payloads: [&[u8]; 10] = [
            b"",
            hello,
            // Refers to the message before, if there is one.
            b"\xf2\x00\x11\x00\x00",
            // A final block, then the empty block in which a message ends.
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
            // Not compressed: a text that is cut, and an empty one.
            b"\x00\x02\x00\xfd\xff\xe2\x82\x00",
            b"\x00\x02\x00\xfd\xff\xff.\x00",
            // Cut; with more bytes behind the end; an unknown block type; a wrong length.
            &hello[..3],
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\x07",
            b"\x00\x05\x00\xfa\xf0",
        ];
        let mut count = 0;
        for first in [0x41, 0x42, 0x81, 0xC0, 0xC1, 0xC2, 0xC9, 0xE1] {
            for form in [0, 126, 127, 0x80] {
                for payload in payloads {
                    for max in [4, 5, 1000] {
                        let bytes = frame(first, form, payload);
                        let three = [&frame(0xC1, 0, hello), &bytes[..], &frame(0xC1, 0, hello)];
                        let three = three.concat();
                        for input in (0..bytes.len()).map(|n| &bytes[..n]).chain([&three[..]]) {
                            count += 1;
                            assert_eq!(
                                results(input, max, false),
                                results(input, max, true),
                                "{input:x?}, at most {max}"
                            );
                        }
                    }
                }
            }
        }
        assert!(count > 8000, "{count}");
    }

    #[test]
    fn the_short_way_takes_every_whole_message_up_to_the_limit() {
        for (len, form) in [(0, 0), (125, 0), (126, 126), (65_535, 126), (65_536, 127)] {
            let payload = vec![b'a'; len];
            let lent = |first| whole(&frame(first, form, &payload), len).map(|(used, _)| used);
            let used = frame(0, form, &payload).len();
            assert_eq!([0x81, 0x82].map(lent), [Some(used); 2], "{len} bytes");
            #[cfg(feature = "deflate")]
            for (first, opcode) in [(0xC1, Opcode::Text), (0xC2, Opcode::Binary)] {
                let frame = frame(first, form, &payload);
                assert_eq!(whole_compressed(&frame, len), Some((opcode, used, &payload[..])));
            }
        }
    }

    #[test]
    fn the_short_way_says_what_the_general_one_says() {
        let texts: [&[u8]; 5] = [b"", b"plain", "ä€🙂".as_bytes(), b"cut \xE2\x82", b"bad \xFF."];
        let mut count = 0;
        for first in 0..=255 {
            for form in [0, 126, 127, 0x80, 0xFE, 0xFF] {
                for text in texts {
                    for max in [4, 5, 1000] {
                        let bytes = frame(first, form, text);
                        // With another frame behind it, and cut anywhere.
                        let two = [&bytes[..], &frame(0x81, 0, b"next")].concat();
                        for input in (0..bytes.len()).map(|n| &bytes[..n]).chain([&two[..]]) {
                            count += 1;
                            let (short, general) =
                                (results(input, max, false), results(input, max, true));
                            assert_eq!(short, general, "{input:x?}, at most {max}");
                        }
                    }
                }
            }
        }
        assert!(count > 100_000, "{count}");
    }

    /// Also with limits beyond the address space.
    #[test]
    fn a_length_that_no_memory_has_is_no_whole_message() {
        for first in [0x81, 0x82, 0xC1, 0xC2] {
            for len in [u64::MAX, u64::MAX - 9, 1 << 63, (1 << 63) - 1] {
                let input = [&[first, 127], &len.to_be_bytes()[..], b"behind"].concat();
                let (short, general) =
                    (results(&input, usize::MAX, false), results(&input, usize::MAX, true));
                assert_eq!(short, general, "{input:x?}");
            }
        }
    }

    #[test]
    fn memory_grows_only_for_what_does_not_fit() {
        let mut message = Assembly::new(Opcode::Binary, false);
        for (now, missing, want) in
            [(0, 5000, 0), (1000, 262_154, 1000 + 262_144), (262_144, 10, 1000 + 262_144)]
        {
            message.push(&vec![7; now], missing).unwrap();
            assert_eq!(message.data.capacity(), want, "{now} bytes, {missing} to come");
        }
    }

    /// Its memory has grown twice, and its text was validated once.
    #[test]
    fn a_large_text_that_comes_fast_is_a_string_without_spare_memory() {
        const LEN: usize = 600 * 1024;
        let mut session = Session::opened(settings(LEN, false), Instant::now());
        let mut cx = Context { now: Instant::now(), random: &mut Key };
        let frame = frame(0x81, 127, &vec![b'a'; LEN]);
        let mut at = 100 * 1024;
        assert_eq!(session.receive(&mut cx, &frame[..at]), (at, None));
        let text = loop {
            let space = session.space().unwrap();
            let want = space.want;
            space.buf.extend_from_slice(&frame[at..at + want]);
            at += want;
            match session.filled(&mut cx, want) {
                None => {}
                Some(Event::Text(Text(Repr::String(text)))) => break text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((at, text.len(), text.capacity()), (frame.len(), LEN, LEN));
    }

    #[test]
    fn one_look_at_a_text_is_enough_if_most_of_it_was_put_off() {
        for (text, looked, once) in
            [("", 0, true), ("0123456789", 5, true), ("0123456789", 6, false), ("0123", 4, false)]
        {
            let mut message = Assembly::new(Opcode::Text, false);
            message.data.extend(&text.as_bytes()[..looked]);
            message.look().unwrap();
            message.data.extend(&text.as_bytes()[looked..]);
            let Ok(Message::Text(got)) = message.finish() else { panic!("{text}") };
            assert_eq!(got.as_str(), text);
            assert_eq!(matches!(got.0, Repr::String(_)), once, "{text}, {looked}");
        }
    }

    #[test]
    fn and_of_lengths_at_every_edge() {
        for len in [124, 125, 126, 127, 128, 299, 300, 301, 65_534, 65_535, 65_536, 65_537] {
            for form in [0, 126, 127] {
                for max in [len - 1, len, usize::MAX] {
                    let bytes = frame(0x82, form, &vec![7; len]);
                    let two = [&bytes[..], &frame(0x81, 0, b"next")].concat();
                    for cut in [2, 3, 4, 9, 10, 11, bytes.len() - 1, bytes.len(), two.len()] {
                        let input = &two[..cut];
                        let (short, general) =
                            (results(input, max, false), results(input, max, true));
                        assert_eq!(short, general, "{len} bytes reported by {form}, cut at {cut}");
                    }
                }
            }
        }
    }

    /// However a text is kept, it is the same text.
    #[test]
    fn a_text_is_its_bytes() {
        let forms = |text: &'static str| {
            let bytes = text.as_bytes();
            [
                Text::new(text),
                Text(Repr::String(text.into())),
                Text::checked(Cow::Borrowed(bytes)),
                Text::checked(Cow::Owned(bytes.to_vec())),
            ]
        };
        for text in ["", "plain", "ä€🙂"] {
            for form in forms(text) {
                assert!(forms(text).iter().all(|other| *other == form), "{text}");
                assert!(forms("another").iter().all(|other| *other != form), "{text}");
                assert_eq!(form.clone().into_string(), text);
                assert_eq!(form.into_bytes(), text.as_bytes());
            }
        }
    }
}
