//! Outgoing messages: compresses them, or leaves them uncompressed (RFC 7692 §7.2.1).

use std::cell::Cell;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::history::History;
use super::options::TAIL;
use super::room::{self, Room};

/// Deflates the messages of one connection.
pub(super) struct Deflater {
    /// `Some` from the first compressed message on. INVARIANT: between messages it is `Some` only
    /// if the next message may refer to earlier ones.
    state: Option<Deflate>,
    /// The bytes to which `state` may refer, so that another state can replace it. Empty without
    /// takeover.
    history: History,
    takeover: bool,
    form: Form,
}

/// The parameters of a deflating state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) window: u8,
    pub(super) level: u8,
}

thread_local! {
    /// A state that was reset. A connection without takeover needs a state only during one call, so
    /// all connections of a thread share this one. Its memory is [`MEMORY`].
    static SPARE: Cell<Option<(Form, Deflate)>> = const { Cell::new(None) };
}

/// How much memory the library takes beyond the window, 1 to 9: it bounds the symbols of a block.
/// For JSON at level 3, deflating took these times relative to 6, for 200 B, 2 KiB and 64 KiB: 4
/// (21 KiB less) 0.98, 0.99, 1.08, with 1 % more bytes at 64 KiB; 5 (14 less) 0.99, 0.99, 1.04; 7
/// (28 more) 1.03, 1.01, 0.99; the default 8 (84 more) 1.08, 1.02, 0.98.
const MEMORY: i32 = 6;
/// Replaces [`MEMORY`] in a state whose first message is large.
const MEMORY_LARGE: i32 = 8;
/// A message of at least this many bytes is large: with [`MEMORY`] it fills more than one block of
/// 4,096 symbols.
const LARGE: usize = 16 * 1024;

impl Deflater {
    pub(super) fn new(takeover: bool, form: Form) -> Deflater {
        Deflater { state: None, history: History::default(), takeover, form }
    }

    /// Whether `rest` would free a state.
    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether `give_up` would free memory.
    pub(super) fn has_memory(&self) -> bool {
        self.state.is_some() || !self.history.is_empty()
    }

    /// Frees the state, but not the history: the next message may still refer to earlier ones, and
    /// only takes longer.
    pub(super) fn rest(&mut self) {
        self.state = None;
    }

    /// Frees everything: the next message refers to no earlier one.
    pub(super) fn give_up(&mut self) {
        self.state = None;
        self.history.clear();
    }

    /// Passes `payload` to `take` compressed, without the four bytes in which every message ends.
    /// Returns `false`, and does not call `take`, if that would not be shorter.
    pub(super) fn message(&mut self, payload: &[u8], take: impl FnOnce(&[u8])) -> bool {
        let mut state = self.state.take().unwrap_or_else(|| self.begin(payload.len()));
        let mut room = Room::take();
        let made = deflate(&mut state, payload, &mut room);
        if let Some(made) = &made {
            take(room.first(*made));
        } else if !drain(&mut state) {
            self.history.clear();
            return false;
        }
        room.keep();
        // A message that was sent uncompressed is not in the peer's window.
        if made.is_none() || !self.takeover {
            state.reset();
        }
        if self.takeover {
            match made {
                Some(_) => self.history.push(payload, 1 << self.form.window),
                None => self.history.clear(),
            }
            self.state = Some(state);
        } else {
            // While a thread ends, its variable may be gone.
            let _ = SPARE.try_with(|spare| spare.set(Some((self.form, state))));
        }
        made.is_some()
    }

    /// A state for a message of `len` bytes that may refer to the history.
    fn begin(&mut self, len: usize) -> Deflate {
        let is_large = self.takeover && len >= LARGE;
        let mut state = self.form.fresh(if is_large { MEMORY_LARGE } else { MEMORY });
        // A new state accepts every dictionary. If it did not, it would have to start without
        // history.
        if !self.history.is_empty() && state.set_dictionary(self.history.in_order()).is_err() {
            self.history.clear();
            state = self.form.fresh(MEMORY);
        }
        state
    }
}

impl Form {
    fn fresh(self, memory: i32) -> Deflate {
        // The spare state has the memory `MEMORY`; other calls leave it there.
        let take = || SPARE.try_with(Cell::take).ok().flatten();
        match (memory == MEMORY).then(take).flatten() {
            Some((form, state)) if form == self => state,
            _ => Deflate::new_with_config(DeflateConfig {
                level: i32::from(self.level),
                // Negative: no zlib header.
                window_bits: -i32::from(self.window),
                mem_level: memory,
                ..DeflateConfig::default()
            }),
        }
    }
}

/// Discards output of an abandoned message that is left in the library; returns whether nothing is
/// left. `reset` does not discard it: in zlib-rs 0.6.8 the position of that output stays, so each
/// message has less room, and after some thousand messages the library panics.
fn drain(state: &mut Deflate) -> bool {
    let mut waste = [0; 1024];
    // The library buffers no more output than this.
    for _ in 0..1024 {
        let before = state.total_out();
        let result = state.compress(&[], &mut waste, DeflateFlush::SyncFlush);
        if result.is_err() {
            return false;
        }
        if ((state.total_out() - before) as usize) < waste.len() {
            return true;
        }
    }
    false
}

/// Deflates `rest` into `room`; returns the length if the result is shorter than `rest`.
fn deflate(state: &mut Deflate, mut rest: &[u8], room: &mut Room) -> Option<usize> {
    // `end` below this limit means that the result without its tail is shorter than the payload.
    let most = rest.len() + TAIL.len();
    let mut end = 0;
    loop {
        // A short message gets all room that it may use: if its end filled the room exactly, the
        // library would append another empty block (5 bytes) when called again.
        let to = most.min(end + room::KEPT);
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let result = state.compress(rest, &mut room.first(to)[end..], DeflateFlush::SyncFlush);
        let used = (state.total_in() - total_in) as usize;
        end += (state.total_out() - total_out) as usize;
        rest = rest.get(used..).unwrap_or_default();
        // If the output fills the room, the library has more.
        if end == to && result.is_ok() && end < most {
            continue;
        }
        // A message of more than 4 GiB takes several calls.
        if !rest.is_empty() && used > 0 && result.is_ok() && end < most {
            continue;
        }
        let is_whole = result.is_ok() && rest.is_empty() && end < most;
        return (is_whole && room.first(end).ends_with(&TAIL)).then(|| end - TAIL.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::puff::Puff;

    /// Bytes that do not shrink.
    fn noise(len: usize) -> Vec<u8> {
        let mut x = 88_172_645_463_325_252u64;
        let next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    /// Bytes that become half as long.
    fn digits(len: usize) -> Vec<u8> {
        noise(len).iter().map(|b| b"0123456789abcdef"[usize::from(b & 15)]).collect()
    }

    const FORM: Form = Form { window: 15, level: 3 };

    fn state(form: Form, memory: i32) -> Deflate {
        Deflate::new_with_config(DeflateConfig {
            level: i32::from(form.level),
            window_bits: -i32::from(form.window),
            mem_level: memory,
            ..DeflateConfig::default()
        })
    }

    /// What the library writes for a message, without the tail.
    fn written(mut state: Deflate, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0; payload.len() + 100];
        state.compress(payload, &mut out, DeflateFlush::SyncFlush).unwrap();
        out.truncate(state.total_out() as usize - TAIL.len());
        out
    }

    fn message(deflater: &mut Deflater, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(deflater.message(payload, |made| out.extend_from_slice(made)));
        out
    }

    /// Less memory ends blocks earlier, so the bytes show how much there is.
    #[test]
    fn only_a_state_that_stays_and_begins_with_a_large_message_takes_more_memory() {
        for (takeover, len, memory) in [
            (true, 16_383, MEMORY),
            (true, 16_384, MEMORY_LARGE),
            (false, 16_383, MEMORY),
            (false, 16_384, MEMORY),
        ] {
            let payload = digits(len);
            let [small, large] = [MEMORY, MEMORY_LARGE].map(|m| written(state(FORM, m), &payload));
            assert_ne!(small, large);
            let want = if memory == MEMORY { small } else { large };
            let got = message(&mut Deflater::new(takeover, FORM), &payload);
            assert!(got == want, "takeover {takeover}, {len} bytes");
        }
    }

    /// The spare state has another level here than its form says, so the bytes show where it is
    /// used.
    #[test]
    fn a_spare_state_is_for_messages_of_its_form_and_comes_back() {
        let (other, payload) = (Form { level: 9, ..FORM }, digits(LARGE));
        let marked = Form { level: 1, ..FORM };
        let outputs = [FORM, marked, other].map(|form| written(state(form, MEMORY), &payload));
        assert!(outputs[0] != outputs[1] && outputs[1] != outputs[2]);
        SPARE.set(Some((FORM, state(marked, MEMORY))));
        // A large message of a connection that keeps its state gets one with more memory.
        let large = written(state(FORM, MEMORY_LARGE), &payload);
        assert!(message(&mut Deflater::new(true, FORM), &payload) == large);
        for _ in 0..3 {
            assert!(message(&mut Deflater::new(false, FORM), &payload) == outputs[1]);
        }
        assert!(message(&mut Deflater::new(false, other), &payload) == outputs[2]);
        assert!(SPARE.take().is_some_and(|(form, _)| form == other));
    }

    #[test]
    fn a_message_that_does_not_shrink_leaves_a_state_for_the_next() {
        for len in [1, 500, 5000] {
            for takeover in [true, false] {
                let mut deflater = Deflater::new(takeover, FORM);
                assert!(!deflater.message(&noise(len), |_| panic!("{len} bytes have shrunk")));
                let spare = SPARE.take();
                assert_eq!((deflater.has_state(), spare.is_some()), (takeover, !takeover), "{len}");
                assert!(deflater.history.is_empty());
            }
        }
    }

    /// More output than the room of one step, and nothing is left out.
    #[test]
    fn a_message_of_many_steps_is_whole() {
        let payload = digits(5 * room::KEPT);
        for takeover in [true, false] {
            let (mut deflater, mut puff) = (Deflater::new(takeover, FORM), Puff::of(1 << 15));
            for _ in 0..2 {
                let made = message(&mut deflater, &payload);
                assert!(made.len() > 2 * room::KEPT);
                assert!(puff.message(&made, payload.len()) == (payload.clone(), Ok(())));
            }
        }
    }

    /// When such a message has filled its room, the library has not read all of it.
    #[test]
    fn a_large_message_that_does_not_shrink_is_given_up() {
        let (form, payload) = (Form { level: 1, ..FORM }, noise(1 << 20));
        let (mut state, mut room) = (state(form, MEMORY), vec![0; payload.len() + TAIL.len()]);
        state.compress(&payload, &mut room, DeflateFlush::SyncFlush).unwrap();
        assert!((state.total_in() as usize) < payload.len());
        assert!(!Deflater::new(false, form).message(&payload, |_| panic!("it has shrunk")));
    }
}
