//! Named deadlines in a table.

use std::time::Instant;

/// The timers of a session; each has at most one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// When the next keep-alive ping is sent.
    Ping,
    /// When, after a keep-alive ping, some bytes have to be received.
    Pong,
    /// When the closing handshake has to be complete.
    Close,
    /// When the kernel has to take the next byte, while bytes are waiting.
    Stall,
}

const ALL: [Timer; 4] = [Timer::Ping, Timer::Pong, Timer::Close, Timer::Stall];

/// The deadlines that are set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The deadline of [`Timer::Ping`], which most connections have all the time.
    ping: Option<Instant>,
    /// The deadlines of the other timers. INVARIANT: `Some` exactly while one of them is set.
    others: Option<Box<[Option<Instant>; ALL.len() - 1]>>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        let Some(place) = (timer as usize).checked_sub(1) else {
            self.ping = at;
            return;
        };
        if at.is_none() && self.others.is_none() {
            return;
        }
        let others = self.others.get_or_insert_default();
        others[place] = at;
        if others.iter().all(Option::is_none) {
            self.others = None;
        }
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        match (timer as usize).checked_sub(1) {
            None => self.ping,
            Some(place) => self.others.as_ref()?[place],
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Timers::default();
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn next(&self) -> Option<Instant> {
        match &self.others {
            None => self.ping,
            Some(others) => others.iter().chain([&self.ping]).flatten().min().copied(),
        }
    }

    /// The earliest deadline of `timers`.
    #[cfg(feature = "net")]
    pub(crate) fn first_of(&self, timers: &[Timer]) -> Option<Instant> {
        timers.iter().filter_map(|timer| self.get(*timer)).min()
    }

    /// Unsets and returns a timer whose deadline has passed at `now`.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = ALL.into_iter().find(|&t| self.get(t).is_some_and(|at| at <= now))?;
        self.set(timer, None);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_timer_expires_once_and_the_earliest_is_next() {
        let start = Instant::now();
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Close, Some(start + Duration::from_secs(5)));
        timers.set(Timer::Pong, Some(start + Duration::from_secs(2)));
        assert_eq!(timers.next(), timers.get(Timer::Pong));
        assert_eq!(timers.expired(start), None);
        let late = start + Duration::from_secs(9);
        assert_eq!(timers.expired(late), Some(Timer::Pong));
        assert_eq!(timers.expired(late), Some(Timer::Close));
        assert_eq!(timers.expired(late), None);
    }
}
