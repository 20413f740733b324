//! Lets in one opening handshake at a time (`Limits::opening_per_peer`) per address and port (RFC
//! 6455 §4.1, 2), or per name and port behind a proxy; in the order of arrival.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::net::event::ConnId;
use crate::proto::Endpoint;

/// The destination that a gate is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::net) struct Place {
    /// The address to which the socket connects.
    pub(in crate::net) to: Endpoint,
    /// Behind a proxy: host and port as they are sent to it. A name that the proxy resolves counts
    /// as a host of its own.
    pub(in crate::net) beyond: Option<Arc<str>>,
}

/// The gates of all destinations.
pub(in crate::net) struct Gates {
    max: usize,
    gates: BTreeMap<Place, Gate>,
    /// Gates that a connection has left while others wait.
    freed: Vec<Place>,
    tickets: u64,
}

#[derive(Default)]
struct Gate {
    inside: usize,
    /// Waiting connections by their tickets; the lowest ticket is the oldest.
    waiting: BTreeMap<u64, ConnId>,
}

/// The position of a connection that waits at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Ticket(u64);

impl Gates {
    pub(in crate::net) fn new(max: usize) -> Gates {
        Gates { max: max.max(1), gates: BTreeMap::new(), freed: Vec::new(), tickets: 0 }
    }

    /// Lets `who` in, or returns a ticket: then [`Gates::next`] lets it in later.
    pub(in crate::net) fn enter(&mut self, to: Place, who: ConnId) -> Option<Ticket> {
        let gate = self.gates.entry(to).or_default();
        // No new connection overtakes waiting ones.
        if gate.inside < self.max && gate.waiting.is_empty() {
            gate.inside += 1;
            return None;
        }
        self.tickets += 1;
        gate.waiting.insert(self.tickets, who);
        Some(Ticket(self.tickets))
    }

    /// A connection that was let in has finished.
    pub(in crate::net) fn leave(&mut self, to: &Place) {
        let Some(gate) = self.gates.get_mut(to) else { return };
        gate.inside = gate.inside.saturating_sub(1);
        if !gate.waiting.is_empty() {
            self.freed.push(to.clone());
        } else if gate.inside == 0 {
            self.gates.remove(to);
        }
    }

    /// A waiting connection gives up its ticket.
    pub(in crate::net) fn give_up(&mut self, to: &Place, ticket: Ticket) {
        let Some(gate) = self.gates.get_mut(to) else { return };
        gate.waiting.remove(&ticket.0);
        if gate.inside == 0 && gate.waiting.is_empty() {
            self.gates.remove(to);
        }
    }

    /// How many connections have to finish, or give up, before `ticket` is let in.
    pub(in crate::net) fn before(&self, to: &Place, ticket: Ticket) -> usize {
        self.gates.get(to).map_or(0, |gate| gate.inside + gate.waiting.range(..ticket.0).count())
    }

    /// Whether no connection is in a gate or waits at one.
    pub(in crate::net) fn is_empty(&self) -> bool {
        self.gates.is_empty()
    }

    /// Whether [`Gates::next`] may return a connection.
    pub(in crate::net) fn is_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// Lets in the connection that has waited longest at a gate that is free now.
    pub(in crate::net) fn next(&mut self) -> Option<(Place, Ticket, ConnId)> {
        while let Some(to) = self.freed.last() {
            if let Some(gate) = self.gates.get_mut(to)
                && gate.inside < self.max
                && let Some((ticket, who)) = gate.waiting.pop_first()
            {
                gate.inside += 1;
                return Some((to.clone(), Ticket(ticket), who));
            }
            self.freed.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(to: &str) -> Place {
        Place { to: Endpoint::Address(to.parse().unwrap()), beyond: None }
    }

    #[test]
    fn one_at_a_time_in_the_order_of_asking() {
        let to = &place("127.0.0.1:80");
        let id = |n| ConnId::new(n, 0);
        let mut gates = Gates::new(1);
        assert_eq!(gates.enter(to.clone(), id(1)), None);
        assert!(!gates.is_empty());
        let tickets = [2, 3, 4].map(|n| gates.enter(to.clone(), id(n)).unwrap());
        assert_eq!(tickets.map(|ticket| gates.before(to, ticket)), [1, 2, 3]);
        assert_eq!(gates.next(), None);
        // A connection that gave up its ticket is skipped.
        gates.give_up(to, tickets[0]);
        assert_eq!(gates.before(to, tickets[2]), 2);
        gates.leave(to);
        // A new connection does not overtake waiting ones.
        let last = gates.enter(to.clone(), id(5)).unwrap();
        assert_eq!(gates.next(), Some((to.clone(), tickets[1], id(3))));
        assert_eq!(gates.next(), None);
        gates.leave(to);
        assert_eq!(gates.next(), Some((to.clone(), tickets[2], id(4))));
        assert_eq!(gates.before(to, last), 1);
        gates.give_up(to, last);
        gates.leave(to);
        assert!(gates.next().is_none() && gates.is_empty());
    }

    /// RFC 6455 §4.1, 2.
    #[test]
    fn behind_a_proxy_each_name_is_a_host_of_its_own() {
        let beyond = |name: &str| Place { beyond: Some(name.into()), ..place("127.0.0.1:3128") };
        let mut gates = Gates::new(1);
        let id = |n| ConnId::new(n, 0);
        assert_eq!(gates.enter(beyond("a:443"), id(1)), None);
        assert_eq!(gates.enter(beyond("b:443"), id(2)), None);
        assert!(gates.enter(beyond("a:443"), id(3)).is_some());
    }

    #[test]
    fn so_many_are_inside_as_the_limit_says() {
        let to = &place("127.0.0.1:80");
        let mut gates = Gates::new(2);
        let mut enter = |n| gates.enter(to.clone(), ConnId::new(n, 0));
        assert_eq!([enter(1), enter(2)], [None; 2]);
        let third = enter(3).unwrap();
        gates.leave(to);
        gates.leave(to);
        assert_eq!(gates.next(), Some((to.clone(), third, ConnId::new(3, 0))));
        assert_eq!(gates.enter(to.clone(), ConnId::new(4, 0)), None, "a second place was free");
    }
}
