//! What a model asks for.

use std::time::Duration;

/// How the reactor and its system behave.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) limits: Limits,
    /// Numbers that have arrived before anybody waits.
    pub(crate) arrived: Vec<u32>,
    /// How much may be held before nothing more is read.
    pub(crate) high: usize,
    /// A wait with a deadline that has not passed does not end by it: only a wake-up and what
    /// arrives end it. So a wake-up that is lost is not made up for by time.
    pub(crate) patient: bool,
    /// How the first wait that brings nothing ends.
    pub(crate) breaks: Option<Break>,
}

/// What the crate's limits have that matters here.
#[derive(Default)]
pub(crate) struct Limits {
    pub(crate) stand_in: Duration,
    /// Bytes in a batch after which the stand-in begins another. An event counts one.
    pub(crate) turn: usize,
}

/// A wait that does not end as it should.
#[derive(Clone, Copy)]
pub(crate) enum Break {
    /// The system cannot wait any more, from now on.
    Fails,
    /// As where an observer panics. Once, unless `OsPoller::calm` comes before it.
    Panics,
}
