//! The way to the reactor, whoever drives it.

use std::sync::Arc;

use crate::net::{Client, Reactor, Seat};

/// The way to the reactor.
#[derive(Clone)]
pub(super) enum Link {
    /// Driven by the VM's thread, or by a stand-in while that computes.
    Inline(Arc<Seat>),
    /// On a thread of its own.
    Threaded(Client),
}

impl Link {
    /// Uses the reactor; what is sent leaves with the next [`Link::flush`] or turn.
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

    /// Ends the wait of the VM's thread, or its next one.
    pub(super) fn wake(&self) {
        match self {
            Link::Inline(seat) => seat.shared().wake(),
            Link::Threaded(client) => client.wake(),
        }
    }

    /// The same, also where the stand-in drives at that moment and would take the wake-up for its own.
    pub(super) fn call(&self) {
        match self {
            Link::Inline(seat) => seat.call(),
            Link::Threaded(client) => client.wake(),
        }
    }

    /// After a connection was opened: has the stand-in be there. An error is told once.
    pub(super) fn stand_by(&self) -> std::io::Result<()> {
        match self {
            Link::Inline(seat) => seat.stand_by(),
            Link::Threaded(_) => Ok(()),
        }
    }

    /// Ends the stand-in.
    pub(super) fn retire(&self) {
        if let Link::Inline(seat) = self {
            seat.retire();
        }
    }
}
