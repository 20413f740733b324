//! Which address is tried when (RFC 8305): a plan without sockets and without a clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::net::time::after;
use crate::proto::Endpoint;

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DialStep {
    /// Try this endpoint now.
    Start(Endpoint),
    /// Wait until an attempt ends, or until this time.
    Wait(Option<Instant>),
    /// Every address has failed.
    Exhausted,
}

/// The addresses that are still to be tried.
#[derive(Debug)]
pub(crate) struct Plan {
    addresses: VecDeque<Endpoint>,
    delay: Duration,
    next: Option<Instant>,
    under_way: usize,
}

impl Plan {
    /// A plan for addresses in order of preference; interleaves the families (§4).
    pub(crate) fn new(addresses: &[SocketAddr], max: usize, delay: Duration) -> Plan {
        let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
        let (mut first, mut other): (VecDeque<_>, VecDeque<_>) =
            addresses.iter().copied().partition(|a| a.is_ipv6() == first_is_v6);
        let mut mixed = VecDeque::new();
        while mixed.len() < max && !(first.is_empty() && other.is_empty()) {
            mixed.extend(first.pop_front());
            mixed.extend(other.pop_front());
        }
        mixed.truncate(max);
        let addresses = mixed.into_iter().map(Endpoint::Address).collect();
        Plan { addresses, delay, next: None, under_way: 0 }
    }

    /// A plan with one address.
    pub(crate) fn one(to: Endpoint) -> Plan {
        Plan { addresses: [to].into(), delay: Duration::ZERO, next: None, under_way: 0 }
    }

    /// The next step. An endpoint that it returns counts as being tried.
    pub(crate) fn step(&mut self, now: Instant) -> DialStep {
        let due = self.next.is_none_or(|at| at <= now);
        if (due || self.under_way == 0)
            && let Some(address) = self.addresses.pop_front()
        {
            self.under_way += 1;
            self.next = Some(after(now, self.delay));
            return DialStep::Start(address);
        }
        match (self.under_way, self.addresses.is_empty()) {
            (0, _) => DialStep::Exhausted,
            (_, true) => DialStep::Wait(None),
            (_, false) => DialStep::Wait(self.next),
        }
    }

    /// An attempt has failed: the next one may start at once (§5).
    pub(crate) fn failed(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(to: SocketAddr) -> Endpoint {
        Endpoint::Address(to)
    }

    fn v4(n: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, n], 80))
    }

    fn v6(n: u16) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, n], 80))
    }

    const DELAY: Duration = Duration::from_millis(250);

    #[test]
    fn families_alternate_beginning_with_the_preferred_one() {
        let plan = Plan::new(&[v6(1), v6(2), v6(3), v4(1)], 16, DELAY);
        assert_eq!(plan.addresses, [v6(1), v4(1), v6(2), v6(3)].map(address));
        let plan = Plan::new(&[v4(1), v4(2), v6(1)], 2, DELAY);
        assert_eq!(plan.addresses, [v4(1), v6(1)].map(address));
        let plan = Plan::new(&[v4(1), v4(2), v6(1), v6(2)], 3, DELAY);
        assert_eq!(plan.addresses, [v4(1), v6(1), v4(2)].map(address));
    }

    #[test]
    fn attempts_start_after_the_delay_or_a_failure() {
        let now = Instant::now();
        let mut plan = Plan::new(&[v4(1), v4(2), v4(3)], 16, DELAY);
        assert_eq!(plan.step(now), DialStep::Start(address(v4(1))));
        assert_eq!(plan.step(now), DialStep::Wait(Some(now + DELAY)));
        assert_eq!(plan.step(now + DELAY), DialStep::Start(address(v4(2))));
        plan.failed();
        assert_eq!(plan.step(now + DELAY), DialStep::Start(address(v4(3))));
        assert_eq!(plan.step(now + DELAY), DialStep::Wait(None));
        plan.failed();
        plan.failed();
        assert_eq!(plan.step(now + DELAY), DialStep::Exhausted);
        assert_eq!(Plan::new(&[], 16, DELAY).step(now), DialStep::Exhausted);
    }
}
