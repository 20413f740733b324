//! How fast the kernel takes the output. A time limit counts from the byte whose answer it waits
//! for, which may be sent long after it was queued; and sent bytes show that the peer is alive.

use std::time::{Duration, Instant};

/// Follows the bytes from a [`SendBuf`](super::buf::SendBuf) to the kernel.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How many bytes of the buffer were sent since the connection opened.
    left: u64,
    /// How many bytes the kernel took for them. Over TLS these are bytes of records, and the kernel
    /// may take part of a record before the session reports its bytes as sent.
    taken: u64,
    /// `Some` once the kernel has refused bytes, which most connections never see.
    slow: Option<Box<Slow>>,
}

/// The longest estimate: a kernel that takes a byte only now and then predicts little.
const MOST: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
struct Slow {
    /// Set while the kernel refuses bytes that are waiting.
    blocked: Option<Blocked>,
    /// An estimate of when the bytes in the kernel have reached the peer; `None` if that was soon.
    clear: Option<Instant>,
}

#[derive(Debug)]
struct Blocked {
    since: Instant,
    /// How many bytes the kernel took since then.
    taken: u64,
    /// How many bytes the kernel may hold.
    held: u64,
    /// Whether the kernel was full again after it took enough bytes for an estimate of the pace.
    can_estimate: bool,
}

/// The most bytes that the kernel holds for one socket: the largest default send buffer of Linux
/// (`net.ipv4.tcp_wmem`). Other systems have smaller ones.
const KERNEL: u64 = 4 * 1024 * 1024;

impl Pace {
    /// How many bytes were sent.
    #[inline]
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Records that `n` bytes were sent, for which the kernel took `taken` bytes, and `rest` are
    /// waiting. Returns whether the peer made room for them: if the kernel had room, that proves
    /// nothing about the peer. `stall` as for [`Pace::reaches`].
    #[inline]
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        n: usize,
        taken: usize,
        rest: usize,
        stall: Duration,
    ) -> bool {
        self.left += n as u64;
        self.taken += taken as u64;
        if rest == 0 && !self.is_blocked() {
            return false;
        }
        self.sent_slowly(now, taken, rest, stall)
    }

    #[cold]
    fn sent_slowly(&mut self, now: Instant, taken: usize, rest: usize, stall: Duration) -> bool {
        let held = self.taken.min(KERNEL);
        let slow = self.slow.get_or_insert_default();
        let Some(blocked) = &mut slow.blocked else {
            slow.blocked = Some(Blocked { since: now, taken: 0, held, can_estimate: false });
            return false;
        };
        // The kernel had room for bytes that it took at once, in however many pieces.
        let moved = taken > 0 && now > blocked.since;
        if moved {
            blocked.taken += taken as u64;
            blocked.can_estimate |= rest > 0 && blocked.taken >= blocked.held / 8;
        } else if taken > 0 {
            blocked.held = held;
        }
        if rest == 0 {
            let clear = Some(self.reaches(now, stall));
            if let Some(slow) = &mut self.slow {
                **slow = Slow { blocked: None, clear };
            }
        }
        moved
    }

    /// The waiting bytes may be sent from now on. Before, it was not the kernel that refused them.
    pub(crate) fn starts(&mut self) {
        if let Some(slow) = &mut self.slow {
            slow.blocked = None;
        }
    }

    /// Whether the kernel has refused bytes that are waiting.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.slow.as_ref().is_some_and(|slow| slow.blocked.is_some())
    }

    /// An estimate of when a byte that is sent now reaches the peer: the kernel's buffer empties at
    /// the pace at which the kernel took bytes while it was full. `stall` is the longest time in
    /// which a living peer makes no room: [`Limits::stall`].
    ///
    /// [`Limits::stall`]: crate::limits::Limits::stall
    pub(crate) fn reaches(&self, now: Instant, stall: Duration) -> Instant {
        let Some(slow) = &self.slow else { return now };
        let before = slow.clear.map_or(now, |at| at.max(now));
        let Some(blocked) = slow.blocked.as_ref().filter(|blocked| blocked.taken > 0) else {
            return before;
        };
        let pace = blocked.held as f64 / blocked.taken as f64;
        let span = now.saturating_duration_since(blocked.since).as_secs_f64() * pace;
        // For the last few bytes, the kernel may have had much more room. Then the estimate is at
        // most the time in which a living peer makes room.
        let most = if blocked.can_estimate { MOST } else { stall.min(MOST) };
        let span = Duration::try_from_secs_f64(span).unwrap_or(most).min(most);
        before.max(now + span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    #[test]
    fn only_a_byte_that_the_peer_made_room_for_is_a_sign_of_life() {
        let now = Instant::now();
        let mut pace = Pace::default();
        assert!(!pace.sent(now, 1000, 1000, 0, STALL), "all of it was taken at once");
        assert!(!pace.sent(now, 1000, 1000, 500, STALL), "the kernel was not full before");
        assert!(pace.is_blocked());
        assert!(!pace.sent(now, 100, 100, 400, STALL), "it is the same moment");
        let later = now + Duration::from_millis(1);
        assert!(!pace.sent(later, 0, 0, 400, STALL));
        assert!(pace.sent(later, 1, 1, 399, STALL));
        assert!(pace.sent(later, 399, 399, 0, STALL));
        assert!(!pace.is_blocked() && pace.left() == 2500);
    }

    #[test]
    fn what_the_kernel_holds_leaves_at_the_pace_seen() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        pace.sent(now, 1_000_000, 1_000_000, 0, STALL);
        assert_eq!(pace.reaches(now, STALL), now, "nothing is known to be slow");
        // The kernel holds a million bytes and sends 100,000 a second.
        pace.sent(now, 0, 0, 300_000, STALL);
        pace.sent(now + second, 100_000, 100_000, 200_000, STALL);
        pace.sent(now + second, 0, 0, 200_000, STALL);
        assert_eq!(pace.reaches(now + second, STALL), now + 11 * second);
        pace.sent(now + 3 * second, 200_000, 200_000, 0, STALL);
        assert_eq!(pace.reaches(now + 3 * second, STALL), now + 13 * second);
        // A byte that is queued right behind them is no faster; later none of them is left.
        pace.sent(now + 4 * second, 10, 10, 0, STALL);
        assert_eq!(pace.reaches(now + 4 * second, STALL), now + 13 * second);
        assert_eq!(pace.reaches(now + 20 * second, STALL), now + 20 * second);
        // The estimate is bounded, whatever was measured.
        pace.sent(now + 20 * second, 0, 0, 1_000_000, STALL);
        pace.sent(now + 2020 * second, 200_000, 200_000, 800_000, STALL);
        let span = pace.reaches(now + 2020 * second, STALL) - (now + 2020 * second);
        assert_eq!(span, MOST);
    }

    #[test]
    fn what_waited_for_tls_was_not_refused() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        pace.sent(now, 0, 300, 2_000_000, STALL);
        pace.starts();
        assert!(!pace.is_blocked());
        pace.sent(now + second, 1_000_000, 1_000_000, 1_000_000, STALL);
        pace.sent(now + 2 * second, 200_000, 200_000, 800_000, STALL);
        assert_eq!((pace.reaches(now + 2 * second, STALL) - now).as_secs(), 2 + 5);
    }

    #[test]
    fn a_few_last_bytes_do_not_tell_how_slow_a_peer_is() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        // The kernel holds a million bytes, and a pong behind them.
        pace.sent(now, 1_000_000, 1_000_000, 10, STALL);
        pace.sent(now + second, 10, 10, 0, STALL);
        assert_eq!(pace.reaches(now + second, STALL), now + 61 * second);
        // An eighth of what the kernel holds does, if the kernel was full again behind it.
        for (taken, rest, span) in
            [(125_000, 1, 80), (124_999, 1, 60), (1, 1, 60), (125_000, 0, 60), (1_000_000, 0, 10)]
        {
            let (mut pace, later) = (Pace::default(), now + 10 * second);
            pace.sent(now, 1_000_000, 1_000_000, taken + rest, STALL);
            pace.sent(later, taken, taken, rest, STALL);
            assert_eq!(pace.reaches(later, STALL), later + span * second, "{taken}, {rest}");
        }
    }

    /// The kernel may hold all that it took before it was full.
    #[test]
    fn what_the_kernel_takes_at_once_it_holds() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        pace.sent(now, 0, 0, 2_000_000, STALL);
        pace.sent(now, 1_000_000, 1_000_000, 1_000_000, STALL);
        pace.sent(now + second, 200_000, 200_000, 800_000, STALL);
        assert_eq!(pace.reaches(now + second, STALL), now + 6 * second);
    }

    /// No kernel holds more than 4 MiB for a socket, whatever it took before.
    #[test]
    fn what_the_kernel_holds_has_a_bound() {
        const MIB: usize = 1024 * 1024;
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut pace = Pace::default();
        pace.sent(now, 100 * MIB, 100 * MIB, 2 * MIB, STALL);
        pace.sent(now + second, MIB, MIB, MIB, STALL);
        assert_eq!(pace.reaches(now + second, STALL), now + 5 * second);
    }
}
