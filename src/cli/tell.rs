//! What the command says: its answers, its complaints and its exit status.

use std::io::Write as _;

/// What went wrong, and the exit status for it.
pub(super) struct Failure {
    pub(super) status: u8,
    pub(super) text: String,
}

impl Failure {
    /// Usage, or a file that cannot be read.
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure { status: 2, text: text.into() }
    }

    /// Everything else.
    pub(super) fn other(text: impl Into<String>) -> Failure {
        Failure { status: 1, text: text.into() }
    }
}

/// Writes to standard output. If that is closed, nobody wants to know.
pub(super) fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a line to standard error.
pub(super) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
