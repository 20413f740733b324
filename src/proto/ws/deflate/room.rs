//! Buffers that a thread keeps: bytes are inflated and deflated into them until their length is
//! known and they are copied to where they stay. Safe code has to initialise a buffer before it
//! lends it: here that is done once, and not for each message.

use std::cell::Cell;

/// A thread keeps no larger buffer. The output of one step is no longer than this, and most
/// messages are shorter.
pub(super) const KEPT: usize = 64 * 1024;

/// Bytes without a meaning, of which there are at least as many as were asked for.
#[derive(Default)]
pub(super) struct Room(Vec<u8>);

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(Room(Vec::new())) };
}

impl Room {
    /// The buffer of the thread, or a new one if that is in use or the thread is ending.
    pub(super) fn take() -> Room {
        ROOM.try_with(Cell::take).unwrap_or_default()
    }

    /// Gives the buffer back to the thread.
    pub(super) fn keep(self) {
        if self.0.len() <= KEPT {
            let _ = ROOM.try_with(|room| room.set(self));
        }
    }

    /// The first `len` bytes.
    pub(super) fn first(&mut self, len: usize) -> &mut [u8] {
        if self.0.len() < len {
            #[cfg(test)]
            super::tests::CLEARED.set(super::tests::CLEARED.get() + len - self.0.len());
            self.0.resize(len, 0);
        }
        &mut self.0[..len]
    }
}
