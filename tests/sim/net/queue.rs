//! Who waits for which address: one opening handshake at a time, and in the order of asking
//! (RFC 6455 §4.1, 2).

use std::net::SocketAddr;
use std::time::Duration;

use super::Net;
use crate::world::WS;

/// Somebody who has an address to go to, and no other.
pub struct Waiting {
    conn: u64,
    to: SocketAddr,
    pub since: Duration,
    /// When its turn came.
    pub turn: Option<Duration>,
}

impl Net {
    /// A name was resolved for a connection: it asks for its turn, if that is one place.
    pub(super) fn asks(&mut self, conn: u64, addresses: &[SocketAddr]) {
        if let [to] = *addresses
            && to.port() == WS
            && self.waiting(conn).is_none()
        {
            let since = self.now;
            self.queue.push(Waiting { conn, to, since, turn: None });
        }
    }

    /// It connects: nobody who asked earlier waits still.
    pub(super) fn has_turn(&mut self, conn: u64, to: SocketAddr) {
        let Some(i) = self.queue.iter().position(|w| w.conn == conn && w.to == to) else { return };
        let waits = |w: &&Waiting| w.to == to && w.turn.is_none() && !self.gone.contains(&w.conn);
        if let Some(first) = self.queue[..i].iter().find(waits).map(|w| w.conn) {
            self.complain(|| {
                format!("({conn}) connects to {to} before ({first}), who asked first")
            });
        }
        let now = self.now;
        self.queue[i].turn.get_or_insert(now);
    }

    /// A connection was given up, or has ended.
    pub fn gone(&mut self, conn: u64) {
        self.gone.insert(conn);
    }

    /// How a connection stands in its queue, if it stood in one.
    pub fn waiting(&self, conn: u64) -> Option<&Waiting> {
        self.queue.iter().find(|w| w.conn == conn)
    }
}
