//! Random bytes of the system's CSPRNG.

use std::io;

/// A random byte, to spread actions that would otherwise happen everywhere at the same instant: for
/// [`Reconnect::wait`](crate::proto::sse::Reconnect::wait), which has no random source. If the
/// system's source fails, `u8::MAX`, which makes the longest wait. Too few bits for a secret.
pub fn random_byte() -> u8 {
    let mut byte = [0];
    fill(&mut byte).map_or(u8::MAX, |()| byte[0])
}

/// Fills `bytes` with random bytes.
#[cfg(target_os = "linux")]
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    use rustix::io::Errno;
    use rustix::rand::{GetRandomFlags, getrandom};

    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Fills `bytes` with random bytes.
#[cfg(not(target_os = "linux"))]
pub(super) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    Ok(getrandom::getrandom(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_are_not_always_the_same() {
        let mut seen = [false; 256];
        (0..2000).for_each(|_| seen[usize::from(random_byte())] = true);
        // Each value is missing in one of 2,500 runs; half of the values never are.
        assert!(seen.iter().filter(|seen| **seen).count() > 128);
    }
}
