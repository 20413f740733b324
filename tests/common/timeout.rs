//! The error of a socket whose time limit has passed; a separate file, since `tests/peers` uses it,
//! too.

use std::io;

/// Whether a read or a write has timed out. Windows has another kind of error for it.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
