//! One opening handshake at a time with one address and port (RFC 6455 §4.1, 2).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::net::event::ConnId;

/// Who may open a connection to where.
pub(crate) struct Gates {
    max: usize,
    gates: BTreeMap<SocketAddr, Gate>,
    /// Gates that someone left while others wait.
    freed: Vec<SocketAddr>,
}

#[derive(Default)]
struct Gate {
    inside: usize,
    waiting: VecDeque<ConnId>,
}

impl Gates {
    pub(crate) fn new(max: usize) -> Gates {
        Gates { max: max.max(1), gates: BTreeMap::new(), freed: Vec::new() }
    }

    /// Whether `who` may go ahead; if not, it waits for [`Gates::next`].
    pub(crate) fn enter(&mut self, to: SocketAddr, who: ConnId) -> bool {
        let gate = self.gates.entry(to).or_default();
        let free = gate.inside < self.max;
        if free {
            gate.inside += 1;
        } else {
            gate.waiting.push_back(who);
        }
        free
    }

    /// Someone inside is done.
    pub(crate) fn leave(&mut self, to: SocketAddr) {
        let Some(gate) = self.gates.get_mut(&to) else { return };
        gate.inside = gate.inside.saturating_sub(1);
        if !gate.waiting.is_empty() {
            self.freed.push(to);
        } else if gate.inside == 0 {
            self.gates.remove(&to);
        }
    }

    /// Whether [`Gates::next`] has something to look at.
    pub(crate) fn is_freed(&self) -> bool {
        !self.freed.is_empty()
    }

    /// Who has waited longest for a gate that is free now. It need not want to enter any more; if
    /// it does, it calls [`Gates::enter`] again.
    pub(crate) fn next(&mut self) -> Option<(SocketAddr, ConnId)> {
        while let Some(&to) = self.freed.last() {
            if let Some(gate) = self.gates.get_mut(&to) {
                if gate.inside < self.max
                    && let Some(who) = gate.waiting.pop_front()
                {
                    return Some((to, who));
                }
                if gate.inside == 0 && gate.waiting.is_empty() {
                    self.gates.remove(&to);
                }
            }
            self.freed.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_in_the_order_of_asking() {
        let to = SocketAddr::from(([127, 0, 0, 1], 80));
        let id = |n| ConnId::new(n, 0);
        let mut gates = Gates::new(1);
        assert!(gates.enter(to, id(1)));
        assert!(!gates.enter(to, id(2)));
        assert!(!gates.enter(to, id(3)));
        assert_eq!(gates.next(), None);
        gates.leave(to);
        // The second has lost interest, so the third is asked too.
        assert_eq!(gates.next(), Some((to, id(2))));
        assert_eq!(gates.next(), Some((to, id(3))));
        assert!(gates.enter(to, id(3)));
        assert_eq!(gates.next(), None);
        gates.leave(to);
        assert!(gates.gates.is_empty());
    }
}
