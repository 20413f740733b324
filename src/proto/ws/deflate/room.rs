//! Buffers that a thread keeps. The library writes into them until the length of its output is
//! known, and the output is then copied to its place. Safe code has to initialise a buffer before
//! it lends it: this way once, and not for each message.

use std::cell::Cell;

/// A thread keeps no larger buffer. One step writes no more than this, and most messages are
/// shorter.
pub(super) const KEPT: usize = 64 * 1024;

/// A buffer whose bytes have no meaning; it grows on demand.
#[derive(Default)]
pub(super) struct Room(Vec<u8>);

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(Room(Vec::new())) };
}

impl Room {
    /// Takes the thread's buffer, or makes one if that is in use or the thread is ending.
    pub(super) fn take() -> Room {
        ROOM.try_with(Cell::take).unwrap_or_default()
    }

    /// Gives the buffer back to the thread, unless it is too large.
    pub(super) fn keep(self) {
        if self.0.len() <= KEPT {
            let _ = ROOM.try_with(|room| room.set(self));
        }
    }

    /// The first `len` bytes, initialised.
    pub(super) fn first(&mut self, len: usize) -> &mut [u8] {
        if self.0.len() < len {
            #[cfg(test)]
            super::tests::CLEARED.set(super::tests::CLEARED.get() + len - self.0.len());
            self.0.resize(len, 0);
        }
        &mut self.0[..len]
    }
}
