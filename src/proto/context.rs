//! The inputs of a session: time and random numbers.

use std::fmt;
use std::time::Instant;

/// The source of mask keys. RFC 6455 §10.3 requires unpredictable keys: take each from the system's
/// CSPRNG, and a new one for each frame.
pub trait Random {
    /// The next key.
    fn key(&mut self) -> [u8; 4];
}

/// The inputs that the driver has to supply: the time and random keys.
pub struct Context<'a> {
    /// The current time.
    pub now: Instant,
    /// The source of mask keys.
    pub random: &'a mut dyn Random,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("now", &self.now).finish_non_exhaustive()
    }
}
