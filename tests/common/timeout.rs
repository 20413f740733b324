//! The error of a socket whose time limit has passed. This is a separate file, since `tests/peers`
//! uses it, too.

use std::io;

/// Whether a read or a write has timed out. Windows reports another kind of error than Unix.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
