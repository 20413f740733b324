//! Mask keys and nonces: taken in blocks from the system's CSPRNG, and overwritten once used.

use crate::net::sys::Sys;
use crate::proto::Random;

const BLOCK: usize = 4096;

/// A reactor's random bytes.
pub(crate) struct Keys {
    block: Box<[u8; BLOCK]>,
    /// The index of the first unused byte.
    at: usize,
}

impl Keys {
    pub(crate) fn new() -> Keys {
        Keys { block: Box::new([0; BLOCK]), at: BLOCK }
    }

    /// The keys, together with the system that refills them.
    pub(crate) fn with<'a, S: Sys>(&'a mut self, sys: &'a mut S) -> KeySource<'a, S> {
        KeySource { keys: self, sys }
    }
}

pub(crate) struct KeySource<'a, S: Sys> {
    keys: &'a mut Keys,
    sys: &'a mut S,
}

impl<S: Sys> KeySource<'_, S> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let keys = &mut *self.keys;
        if keys.at + N > BLOCK {
            // The system's CSPRNG does not fail once it has started (getrandom(2)), and a panic is
            // better than a predictable key (RFC 6455 §10.3). No peer can cause this.
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

impl<S: Sys> Random for KeySource<'_, S> {
    fn key(&mut self) -> [u8; 4] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::net::sys::Os;

    /// FAULTS 22, RFC 6455 §5.3: over several blocks, no key occurs twice, each bit is set in about
    /// half of the keys, and used keys are overwritten. The bounds leave room for chance.
    #[test]
    fn keys_are_fresh_without_pattern_and_wiped() {
        const KEYS: u32 = 10_000;
        let (mut keys, mut sys) = (Keys::new(), Os::new(&Limits::default()).unwrap());
        (0..BLOCK / 4).for_each(|_| assert_ne!(keys.with(&mut sys).key(), [0; 4]));
        assert!(keys.block.iter().all(|&b| b == 0), "a block serves to its last byte");
        let mut all: Vec<u32> =
            (0..KEYS).map(|_| u32::from_be_bytes(keys.with(&mut sys).key())).collect();
        assert!(keys.block[..keys.at].iter().all(|&b| b == 0), "used bytes are kept");
        for bit in 0..32 {
            let set = all.iter().filter(|&key| key >> bit & 1 == 1).count();
            assert!((4_500..5_500).contains(&set), "bit {bit} is set in {set} of {KEYS}");
        }
        // From one key to the next, about half of the bits change.
        let flips: u32 = all.windows(2).map(|pair| (pair[0] ^ pair[1]).count_ones()).sum();
        assert!((157_000..163_000).contains(&flips), "{flips} bits change");
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > KEYS as usize - 4, "{} of {KEYS} are distinct", all.len());
    }
}
