//! What comes from outside: time and random numbers.

use std::fmt;
use std::time::Instant;

/// Where mask keys come from. RFC 6455 §10.3 needs them unpredictable: the system's CSPRNG, and
/// a fresh key for each frame.
pub trait Random {
    /// The next key.
    fn key(&mut self) -> [u8; 4];
}

/// What a session cannot know by itself.
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// The source of mask keys.
    pub random: &'a mut dyn Random,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("now", &self.now).finish_non_exhaustive()
    }
}
