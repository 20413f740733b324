//! Outgoing messages: compresses them, or leaves them as they are (RFC 7692 §7.2.1).

use std::cell::Cell;

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

use super::history::History;
use super::options::TAIL;
use super::room::{self, Room};

/// Deflates consecutive messages.
pub(super) struct Deflater {
    /// Created with the first message that is compressed. INVARIANT: between messages it exists
    /// only if the next may refer to those before.
    state: Option<Deflate>,
    /// The bytes that `state` may refer to, so that another state can replace it. Empty without
    /// takeover.
    history: History,
    takeover: bool,
    form: Form,
}

/// The parameters of a state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) window: u8,
    pub(super) level: u8,
}

thread_local! {
    /// A state that was reset: connections without takeover need one during a call only, so all of
    /// a thread share this. Its memory is [`MEMORY`].
    static SPARE: Cell<Option<(Form, Deflate)>> = const { Cell::new(None) };
}

/// How much memory the library takes beyond the window, from 1 to 9: how many symbols a block has
/// at most. For JSON at level 3, time of deflating relative to 6, for 200 B, 2 KiB and 64 KiB: 4
/// (21 KiB less) 0.98, 0.99, 1.08, with 1 % more bytes at 64 KiB; 5 (14 less) 0.99, 0.99, 1.04; 7
/// (28 more) 1.03, 1.01, 0.99; the default 8 (84 more) 1.08, 1.02, 0.98.
const MEMORY: i32 = 6;
/// The memory if the first message that a state is created for is a large one.
const MEMORY_LARGE: i32 = 8;
/// A large message has this many bytes: with [`MEMORY`] it fills more than one block of 4,096
/// symbols.
const LARGE: usize = 16 * 1024;

impl Deflater {
    pub(super) fn new(takeover: bool, form: Form) -> Deflater {
        Deflater { state: None, history: History::default(), takeover, form }
    }

    /// Whether there is a state that `rest` would free.
    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether there is memory that `give_up` would free.
    pub(super) fn has_memory(&self) -> bool {
        self.state.is_some() || !self.history.is_empty()
    }

    /// Frees the state, which only saves time: the next message may still refer to those before.
    pub(super) fn rest(&mut self) {
        self.state = None;
    }

    /// Frees everything: the next message refers to none before.
    pub(super) fn give_up(&mut self) {
        self.state = None;
        self.history.clear();
    }

    /// Passes `payload` to `take` compressed, without the four bytes that every message ends in;
    /// returns `false` if that would not be shorter.
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
        // The peer's window does not contain a message that was sent uncompressed.
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
            // A thread that is ending has no such variable any more.
            let _ = SPARE.try_with(|spare| spare.set(Some((self.form, state))));
        }
        made.is_some()
    }

    /// A state for a message of `len` bytes that continues after the message before.
    fn begin(&mut self, len: usize) -> Deflate {
        let is_large = self.takeover && len >= LARGE;
        let mut state = self.form.fresh(if is_large { MEMORY_LARGE } else { MEMORY });
        // A new state accepts any dictionary; if this one does not, there is nothing to refer to.
        if !self.history.is_empty() && state.set_dictionary(self.history.in_order()).is_err() {
            self.history.clear();
            state = self.form.fresh(MEMORY);
        }
        state
    }
}

impl Form {
    fn fresh(self, memory: i32) -> Deflate {
        // With other memory, the spare state is left to those that can use it.
        let take = || SPARE.try_with(Cell::take).ok().flatten();
        match (memory == MEMORY).then(take).flatten() {
            Some((form, state)) if form == self => state,
            _ => Deflate::new_with_config(DeflateConfig {
                level: i32::from(self.level),
                // Negative: without a header (of zlib).
                window_bits: -i32::from(self.window),
                mem_level: memory,
                ..DeflateConfig::default()
            }),
        }
    }
}

/// Discards output that a message that was given up has left in the library; returns whether
/// nothing is left. A reset alone does not discard it: in zlib-rs 0.6.8 the position of that output
/// stays, less room is left with each message, and some thousand messages later it panics.
fn drain(state: &mut Deflate) -> bool {
    let mut waste = [0; 1024];
    // The library's output is no longer than its buffer.
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

/// Deflates `rest` into `room`; returns the length, if it is shorter than `rest`.
fn deflate(state: &mut Deflate, mut rest: &[u8], room: &mut Room) -> Option<usize> {
    // A shorter output is shorter than the payload, even with the tail that is cut off.
    let most = rest.len() + TAIL.len();
    let mut end = 0;
    loop {
        // A short message gets all the room that it may use: if its end fills the room exactly, the
        // library appends another empty block (5 bytes) when it is called again.
        let to = most.min(end + room::KEPT);
        let (total_in, total_out) = (state.total_in(), state.total_out());
        let result = state.compress(rest, &mut room.first(to)[end..], DeflateFlush::SyncFlush);
        let used = (state.total_in() - total_in) as usize;
        end += (state.total_out() - total_out) as usize;
        rest = rest.get(used..).unwrap_or_default();
        // As long as the output fills the room there is more.
        if end == to && result.is_ok() && end < most {
            continue;
        }
        // A message of more than 4 GiB is taken in several calls.
        if !rest.is_empty() && used > 0 && result.is_ok() && end < most {
            continue;
        }
        let is_whole = result.is_ok() && rest.is_empty() && end < most;
        return (is_whole && room.first(end).ends_with(&TAIL)).then(|| end - TAIL.len());
    }
}
