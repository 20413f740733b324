//! What a socket says whose time is over; a file of its own, for `tests/peers` has it, too.

use std::io;

/// Whether a read or a write has had its time. Windows has another word for it.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
