//! Room that a thread keeps for what is inflated and deflated, until its length is known and it is copied to
//! where it stays. Safe code has to fill room before it hands it out: here that is done once, and not for
//! each message.

use std::cell::Cell;

/// A thread keeps no more. What is made at once of a piece or a message is no longer than this, and most
/// messages become less.
pub(super) const KEPT: usize = 64 * 1024;

/// Bytes that hold nothing of meaning, of which there are at least as many as were asked for.
#[derive(Default)]
pub(super) struct Room(Vec<u8>);

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(Room(Vec::new())) };
}

impl Room {
    /// That of the thread, or a new one if it is in use or the thread ends.
    pub(super) fn take() -> Room {
        ROOM.try_with(Cell::take).unwrap_or_default()
    }

    /// Gives it back.
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
