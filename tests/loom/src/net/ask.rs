//! The options of a model.

use std::time::Duration;

/// How the reactor and its system behave.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) limits: Limits,
    /// Numbers that have arrived before any thread waits.
    pub(crate) arrived: Vec<u32>,
    /// How much may be held before reading stops.
    pub(crate) high: usize,
    /// If a deadline has not passed, it does not end a wait: only a wake-up or an arrival does. So
    /// time cannot hide that a wake-up was lost.
    pub(crate) patient: bool,
    /// How the first wait without an arrival ends.
    pub(crate) breaks: Option<Break>,
}

/// The limits of the crate that matter here.
#[derive(Default)]
pub(crate) struct Limits {
    pub(crate) stand_in: Duration,
    /// The number of bytes in a batch after which the stand-in begins another one. An event counts
    /// as one byte.
    pub(crate) turn: usize,
}

/// An exceptional end of a wait.
#[derive(Clone, Copy)]
pub(crate) enum Break {
    /// From now on the system cannot wait.
    Fails,
    /// A panic, as of an observer. It happens once, unless `OsPoller::calm` comes before it.
    Panics,
}
