//! Access to the reactor, whichever thread drives it.

use std::sync::Arc;

use crate::net::{Client, Reactor, Seat};

/// Access to the reactor.
#[derive(Clone)]
pub(super) enum Link {
    /// The VM's thread drives it, or the stand-in while a script computes.
    Inline(Arc<Seat>),
    /// A thread of its own drives it.
    Threaded(Client),
}

impl Link {
    /// Calls `act` with the reactor; the next [`Link::flush`] or turn sends queued bytes.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Reactor) -> R) -> R {
        match self {
            Link::Inline(seat) => seat.shared().quietly(act),
            Link::Threaded(client) => client.quietly(act),
        }
    }

    pub(super) fn flush(&self) {
        match self {
            Link::Inline(seat) => seat.shared().with(Reactor::flush),
            Link::Threaded(client) => client.with(Reactor::flush),
        }
    }

    /// Ends the current wait of the VM's thread, or its next one.
    pub(super) fn wake(&self) {
        match self {
            Link::Inline(seat) => seat.shared().wake(),
            Link::Threaded(client) => client.wake(),
        }
    }

    /// As `wake`, even if the stand-in drives at that moment and would take the wake-up.
    pub(super) fn call(&self) {
        match self {
            Link::Inline(seat) => seat.call(),
            Link::Threaded(client) => client.wake(),
        }
    }

    /// Starts the stand-in if there is none, after a connection was opened. An error is returned
    /// once.
    pub(super) fn stand_by(&self) -> std::io::Result<()> {
        match self {
            Link::Inline(seat) => seat.stand_by(),
            Link::Threaded(_) => Ok(()),
        }
    }

    /// Ends the stand-in's thread.
    pub(super) fn retire(&self) {
        if let Link::Inline(seat) = self {
            seat.retire();
        }
    }
}
