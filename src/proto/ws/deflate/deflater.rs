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
