//! Access to the reactor, whichever thread drives it.

use std::sync::Arc;

use crate::net::{Client, Reactor, Seat};

/// Access to the reactor.
#[derive(Clone)]
pub(super) enum Link {
    /// Driven by the VM's thread, or by the stand-in while a script computes.
    Inline(Arc<Seat>),
    /// On a thread of its own.
    Threaded(Client),
}

impl Link {
    /// Uses the reactor; queued bytes are sent with the next [`Link::flush`] or turn.
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

    /// The same, also if the stand-in is driving at that moment and would take the wake-up.
    pub(super) fn call(&self) {
        match self {
            Link::Inline(seat) => seat.call(),
            Link::Threaded(client) => client.wake(),
        }
    }

    /// After a connection was opened: starts the stand-in if there is none. An error is returned
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
