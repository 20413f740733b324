//! Which connection waits for which address: one opening handshake at a time, in the order of the
//! requests (RFC 6455 §4.1, 2).

use std::net::SocketAddr;
use std::time::Duration;

use super::{Net, Passage, Tcp};
use crate::world::{WS, host};

/// A connection that has one address to go to.
pub struct Waiting {
    conn: u64,
    to: SocketAddr,
    /// Behind a proxy, the server that it waits for; see [`Passage::beyond`].
    beyond: Option<String>,
    pub since: Duration,
    /// When the turn of the connection came.
    pub turn: Option<Duration>,
}

impl Net {
    /// A name was resolved for a connection. If it has one address, the connection waits for its
    /// turn there. A connection through a proxy waits once the proxy's name is resolved. If the
    /// client sends the proxy several addresses, it waits for each of them; this is not recorded.
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

    /// The client resolves a name. If the proxy resolves the URL's host, the client must not.
    pub(super) fn asks_for(&mut self, conn: u64, name: &str) {
        let Some(passage) = self.passages.get_mut(&conn) else { return };
        name.clone_into(&mut passage.asked);
        let through = passage.through;
        if name != host(through.h) && !through.resolves() {
            self.complain(|| format!("({conn}) resolves {name}, which the proxy has to resolve"));
        }
    }

    /// A connection to a proxy begins: one opening handshake at a time is allowed behind a proxy,
    /// too, with one host and port.
    pub(super) fn has_gate(&mut self, conn: u64, to: SocketAddr) {
        let beyond =
            |conn: u64| self.passages.get(&conn).and_then(|passage| passage.beyond.as_ref());
        let Some(own) = beyond(conn) else { return };
        let opening = |tcp: &&Tcp| {
            // A connection that has ended does not count: over TLS, its socket may still be open to
            // send close_notify.
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

    /// A connection connects: none whose request was earlier may still wait for the same server.
    pub(super) fn has_turn(&mut self, conn: u64, to: SocketAddr) {
        let Some(i) = self.queue.iter().position(|w| w.conn == conn && w.to == to) else { return };
        let beyond = &self.queue[i].beyond;
        let waits = |w: &&Waiting| {
            let there = w.to == to && w.beyond == *beyond;
            there && w.turn.is_none() && !self.gone.contains(&w.conn)
        };
        if let Some(first) = self.queue[..i].iter().find(waits).map(|w| w.conn) {
            self.complain(|| {
                format!("({conn}) connects to {to} before ({first}), which was first")
            });
        }
        let now = self.now;
        self.queue[i].turn.get_or_insert(now);
    }

    /// A connection was released, or has ended.
    pub fn gone(&mut self, conn: u64) {
        self.gone.insert(conn);
    }

    /// The state of a connection that waits, or has waited, for its turn.
    pub fn waiting(&self, conn: u64) -> Option<&Waiting> {
        self.queue.iter().find(|w| w.conn == conn)
    }
}
