//! Who waits for which address: one opening handshake at a time, and in the order of asking
//! (RFC 6455 §4.1, 2).

use std::net::SocketAddr;
use std::time::Duration;

use super::{Net, Passage, Tcp};
use crate::world::{WS, host};

/// Somebody who has an address to go to, and no other.
pub struct Waiting {
    conn: u64,
    to: SocketAddr,
    /// Behind a proxy, host and port of the URL.
    beyond: Option<String>,
    pub since: Duration,
    /// When its turn came.
    pub turn: Option<Duration>,
}

impl Net {
    /// A name was resolved for a connection: it asks for its turn, if that is one place. To a proxy it
    /// does so when the proxy's name was resolved, and where the proxy is told several addresses, time
    /// and again.
    pub(super) fn asks(&mut self, conn: u64, addresses: &[SocketAddr]) {
        let [to] = *addresses else { return };
        let beyond = match self.passages.get(&conn) {
            None if to.port() != WS => return,
            None => None,
            Some(passage) if passage.asked != host(passage.through.h) => return,
            Some(Passage { targets: 1, beyond: Some(beyond), .. }) => Some(beyond.clone()),
            Some(_) => return,
        };
        if self.waiting(conn).is_none() {
            let since = self.now;
            self.queue.push(Waiting { conn, to, beyond, since, turn: None });
        }
    }

    /// A name is asked for. Where the proxy resolves what the URL names, nobody else is told that.
    pub(super) fn asks_for(&mut self, conn: u64, name: &str) {
        let Some(passage) = self.passages.get_mut(&conn) else { return };
        name.clone_into(&mut passage.asked);
        let through = passage.through;
        if name != host(through.h) && !through.resolves() {
            self.complain(|| format!("({conn}) asks for {name}, which is the proxy's to resolve"));
        }
    }

    /// A connection sets out to a proxy: behind that, too, there is one opening handshake at a time with
    /// one host and port.
    pub(super) fn has_gate(&mut self, conn: u64, to: SocketAddr) {
        let beyond =
            |conn: u64| self.passages.get(&conn).and_then(|passage| passage.beyond.as_ref());
        let Some(own) = beyond(conn) else { return };
        let opening = |tcp: &&Tcp| {
            // Over TLS, whose handshake has failed still says goodbye.
            let over =
                tcp.has_opened(&self.opened) || tcp.conn.is_some_and(|c| self.gone.contains(&c));
            let gone = tcp.forgotten || tcp.dropped || over;
            tcp.to == to && !gone && tcp.conn.and_then(beyond) == Some(own)
        };
        let (count, own) = (self.tcps.iter().filter(opening).count(), own.clone());
        if count > self.gate {
            self.complain(|| format!("another opening handshake with {own} by way of {to}"));
        }
    }

    /// It connects: nobody who asked earlier waits still.
    pub(super) fn has_turn(&mut self, conn: u64, to: SocketAddr) {
        let Some(i) = self.queue.iter().position(|w| w.conn == conn && w.to == to) else { return };
        let beyond = &self.queue[i].beyond;
        let waits = |w: &&Waiting| {
            let there = w.to == to && w.beyond == *beyond;
            there && w.turn.is_none() && !self.gone.contains(&w.conn)
        };
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
