//! How long to wait before connecting again, without a clock.

use std::time::Duration;

use crate::limits::Limits;

/// The shortest wait.
const LEAST: Duration = Duration::from_millis(1);

/// How long to wait before connecting again. For an event stream, as WHATWG HTML §9.2.3 states
/// ("reestablish the connection"); and for anything else that reconnects, such as a program with a
/// WebSocket (RFC 6455 §7.2.3).
///
/// > **The rule.** After a connection that was open, wait for the reconnection time. After the n-th
/// > attempt in a row that opened none, take 2ⁿ⁻¹ times that, at most [`Limits::sse_backoff`], and
/// > wait for a random part of it between one half and all. Never wait less than the reconnection
/// > time, which is the server's `retry` or else [`Limits::sse_retry`], between
/// > [`Limits::sse_retry_floor`] and [`Limits::sse_retry_ceiling`]; nor less than the server asked
/// > for, up to that ceiling.
///
/// The first wait is exact: a server may rely on its `retry`, and can spread its clients by sending
/// each of them another value. Later waits are random: when a server that has crashed comes back,
/// its clients must not all connect at the same instants, again and again.
///
/// ```
/// use std::time::Duration;
/// use moonwire::{Limits, proto::sse::Reconnect};
///
/// let (limits, mut plan) = (Limits::default(), Reconnect::default());
/// plan.opened();
/// assert_eq!(plan.wait(&limits, None, 7), Duration::from_secs(3));
/// let retry = Some(Duration::from_secs(10));
/// assert_eq!(plan.wait(&limits, retry, 7), Duration::from_secs(10));
/// assert_eq!(plan.wait(&limits, retry, 255), Duration::from_secs(20));
/// plan.at_least(Duration::from_secs(90));
/// assert_eq!(plan.wait(&limits, retry, 255), Duration::from_secs(90));
/// ```
///
/// For a program that reconnects a WebSocket, the times of event streams in [`Limits`] apply: 3 s
/// after a connection that was open and after the first attempt that fails, then twice as long
/// after each further one, up to 1 min. Set other times in `Limits`, or pass the first as `retry`.
///
#[cfg_attr(feature = "net", doc = "```no_run")]
#[cfg_attr(not(feature = "net"), doc = "```ignore")]
/// use moonwire::{Limits, Options, proto::sse::Reconnect, random_byte};
///
/// # fn run() -> Result<(), moonwire::Error> {
/// let options = Options::new("wss://example.com/feed")?;
/// let (limits, mut plan) = (Limits::default(), Reconnect::default());
/// loop {
///     match options.clone().connect() {
///         Ok(mut socket) => {
///             plan.opened();
///             loop {
///                 match socket.read() {
///                     Ok(Some(message)) => println!("{message:?}"),
///                     Ok(None) => break, // the server has closed it
///                     Err(error) if error.is_transient() => break,
///                     Err(error) => return Err(error),
///                 }
///             }
///         }
///         Err(error) if error.is_transient() => {
///             plan.at_least(error.retry_after().unwrap_or_default());
///         }
///         Err(error) => return Err(error),
///     }
///     std::thread::sleep(plan.wait(&limits, None, random_byte()));
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reconnect {
    /// How many attempts in a row opened no connection.
    failures: u32,
    open: bool,
    /// The shortest time that the server accepts for the next wait.
    least: Duration,
}

impl Reconnect {
    /// The current attempt has opened its connection (a response with status 200 and the right
    /// type, or a successful opening handshake), so its end is no failure.
    pub fn opened(&mut self) {
        self.open = true;
    }

    /// The server asked for a pause of `time` (`Retry-After`, RFC 9110 §10.2.3): the next wait is
    /// not shorter, up to [`Limits::sse_retry_ceiling`].
    pub fn at_least(&mut self, time: Duration) {
        self.least = self.least.max(time);
    }

    /// The current attempt or its connection has ended; returns how long to wait, at least 1 ms.
    /// `retry` is the result of [`Events::retry`](super::Events::retry), or `None` without an event
    /// stream; `random` is any byte.
    pub fn wait(&mut self, limits: &Limits, retry: Option<Duration>, random: u8) -> Duration {
        self.failures = if self.open { 0 } else { self.failures.saturating_add(1) };
        self.open = false;
        let floor = limits.sse_retry_floor.max(LEAST);
        // `clamp` would panic if the floor is above the ceiling; here the floor wins.
        let time = retry.unwrap_or(limits.sse_retry).min(limits.sse_retry_ceiling).max(floor);
        let factor = 2u32.saturating_pow(self.failures.saturating_sub(1));
        let longest = time.saturating_mul(factor).min(limits.sse_backoff);
        let half = longest / 2;
        let part = half.saturating_mul(random.into()) / u32::from(u8::MAX);
        let asked = std::mem::take(&mut self.least).min(limits.sse_retry_ceiling);
        time.max(half.saturating_add(part)).max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn limits() -> Limits {
        Limits {
            sse_retry: MS(1000),
            sse_retry_floor: MS(100),
            sse_retry_ceiling: MS(60_000),
            sse_backoff: MS(10_000),
            ..Limits::default()
        }
    }

    /// `sse_retry`, and `sse_retry_floor` and `sse_retry_ceiling` at the bound and one beyond.
    #[test]
    fn after_an_open_stream_the_wait_is_the_reconnection_time_exactly() {
        for (retry, wait) in [
            (None, 1000),
            (Some(0), 100),
            (Some(99), 100),
            (Some(100), 100),
            (Some(101), 101),
            (Some(2500), 2500),
            // The server may ask for a longer wait than failures can cause.
            (Some(20_000), 20_000),
            (Some(60_000), 60_000),
            (Some(60_001), 60_000),
            (Some(u64::MAX), 60_000),
        ] {
            let mut plan = Reconnect::default();
            for random in [0, 1, 127, 255] {
                plan.opened();
                assert_eq!(plan.wait(&limits(), retry.map(MS), random), MS(wait), "{retry:?}");
            }
        }
    }

    /// `sse_backoff` bounds the wait after failures.
    #[test]
    fn failures_in_a_row_double_the_wait_up_to_a_bound() {
        let mut plan = Reconnect::default();
        let mut waits = |random| plan.wait(&limits(), None, random);
        assert_eq!(
            [0, 255, 255, 255, 255, 255, 255].map(&mut waits),
            [1, 2, 4, 8, 10, 10, 10].map(|s| MS(s * 1000))
        );
        // However many failures there are, the wait is never below half.
        for _ in 0..100 {
            assert_eq!(waits(0), MS(5000));
        }
        plan.failures = u32::MAX;
        assert_eq!(plan.wait(&limits(), None, 255), MS(10_000));
        // An attempt that opens a connection ends the row of failures.
        plan.opened();
        assert_eq!(plan.wait(&limits(), None, 255), MS(1000));
        assert_eq!(plan.wait(&limits(), None, 255), MS(1000), "the first failure");
        assert_eq!(plan.wait(&limits(), None, 255), MS(2000));
    }

    #[test]
    fn no_wait_is_shorter_than_the_reconnection_time_or_longer_than_both_bounds() {
        for retry in [None, Some(0), Some(300), Some(5000), Some(30_000), Some(u64::MAX)] {
            for random in 0..=255 {
                let mut plan = Reconnect::default();
                let first = plan.wait(&limits(), retry.map(MS), random);
                let mut before = first;
                for _ in 0..40 {
                    let wait = plan.wait(&limits(), retry.map(MS), random);
                    assert!(wait >= before && wait <= first.max(MS(10_000)), "{retry:?}: {wait:?}");
                    before = wait;
                }
            }
        }
    }

    /// `sse_retry_ceiling` at the bound and one beyond.
    #[test]
    fn what_the_server_asks_for_makes_one_wait_longer() {
        for (opens, asked, wait) in [
            (true, 0, 1000),
            (true, 999, 1000),
            (true, 1001, 1001),
            (false, 1001, 1001),
            (false, 60_000, 60_000),
            (false, 60_001, 60_000),
            (false, u64::MAX, 60_000),
        ] {
            let mut plan = Reconnect::default();
            plan.at_least(MS(asked));
            // The longest time counts, and opening a connection does not cancel it.
            plan.at_least(MS(0));
            if opens {
                plan.opened();
            }
            assert_eq!(plan.wait(&limits(), None, 0), MS(wait), "{opens}, {asked}");
            // It counts once, and the row of failures goes on as if it had not been asked for.
            let next = if opens { 1000 } else { 2000 };
            assert_eq!(plan.wait(&limits(), None, 255), MS(next), "{opens}, {asked}");
        }
    }

    #[test]
    fn a_random_part_spreads_what_failed_together() {
        let waits = |random| {
            let mut plan = Reconnect::default();
            (0..4).map(|_| plan.wait(&limits(), None, random)).collect::<Vec<_>>()
        };
        let (low, middle, high) = (waits(0), waits(128), waits(255));
        assert_eq!(low, [1000, 1000, 2000, 4000].map(MS));
        assert_eq!(high, [1000, 2000, 4000, 8000].map(MS));
        assert!(low[2] < middle[2] && middle[2] < high[2]);
    }

    /// On virtual time: how often a client asks the worst kind of server within an hour.
    #[test]
    fn nothing_makes_a_busy_loop() {
        let attempts = |limits: &Limits, opens: bool| {
            let (mut plan, mut now, mut count) = (Reconnect::default(), Duration::ZERO, 0);
            while now < MS(3_600_000) {
                if opens {
                    plan.opened();
                }
                now += plan.wait(limits, Some(Duration::ZERO), 0);
                count += 1;
            }
            count
        };
        assert_eq!(attempts(&Limits::default(), true), 7200, "two a second");
        assert!(attempts(&Limits::default(), false) <= 130, "one in half a minute");
        let none = Limits { sse_retry_floor: Duration::ZERO, ..limits() };
        assert_eq!(attempts(&none, true), 3_600_000, "1 ms at least");
    }

    #[test]
    fn bounds_without_sense_do_no_harm() {
        let zero = Duration::ZERO;
        for (floor, ceiling, backoff, wait) in [
            (MS(500), MS(100), MS(1), MS(500)),
            (zero, zero, zero, LEAST),
            (Duration::MAX, Duration::MAX, Duration::MAX, Duration::MAX),
            (zero, Duration::MAX, Duration::MAX, Duration::MAX),
        ] {
            let limits = Limits {
                sse_retry_floor: floor,
                sse_retry_ceiling: ceiling,
                sse_backoff: backoff,
                ..Limits::default()
            };
            for random in [0, 255] {
                let mut plan = Reconnect::default();
                for _ in 0..70 {
                    assert_eq!(plan.wait(&limits, Some(Duration::MAX), random), wait);
                }
            }
        }
    }
}
