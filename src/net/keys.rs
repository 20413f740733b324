//! Mask keys and nonces: from the system's CSPRNG in blocks, wiped as they are used.

use super::sys::Sys;
use crate::proto::Random;

const BLOCK: usize = 4096;

/// A reactor's random bytes.
pub(crate) struct Keys {
    block: Box<[u8; BLOCK]>,
    /// Where the unused ones begin.
    at: usize,
}

impl Keys {
    pub(crate) fn new() -> Keys {
        Keys { block: Box::new([0; BLOCK]), at: BLOCK }
    }

    /// The keys with what they are refilled from.
    pub(crate) fn with<'a, S: Sys>(&'a mut self, sys: &'a mut S) -> Source<'a, S> {
        Source { keys: self, sys }
    }
}

pub(crate) struct Source<'a, S: Sys> {
    keys: &'a mut Keys,
    sys: &'a mut S,
}

impl<S: Sys> Source<'_, S> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let keys = &mut *self.keys;
        if keys.at + N > BLOCK {
            // The system's CSPRNG does not fail once it has started (getrandom(2)); a predictable
            // key would be worse than an end (RFC 6455 §10.3). No peer can bring this about.
            self.sys.random(&mut keys.block[..]).expect("the system's random source failed");
            keys.at = 0;
        }
        let mut bytes = [0; N];
        let used = &mut keys.block[keys.at..keys.at + N];
        bytes.copy_from_slice(used);
        used.fill(0);
        keys.at += N;
        bytes
    }
}

impl<S: Sys> Random for Source<'_, S> {
    fn key(&mut self) -> [u8; 4] {
        self.bytes()
    }
}
