//! Standard output, standard error and the exit status of the command.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// An error message and the exit status for it.
pub(super) struct Failure {
    pub(super) status: u8,
    pub(super) text: String,
}

impl Failure {
    /// Wrong usage, or a file that cannot be read.
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure { status: 2, text: text.into() }
    }

    /// Standard output cannot be written, for example because a disk is full.
    pub(super) fn output(e: &io::Error) -> Failure {
        Failure::other(format!("standard output: {e}"))
    }

    /// Any other error.
    pub(super) fn other(text: impl Into<String>) -> Failure {
        Failure { status: 1, text: text.into() }
    }
}

/// Writes to standard output. If its reader has closed it, the text is discarded.
pub(super) fn write_stdout(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::output(&e)),
        _ => Ok(()),
    }
}

/// Whether a write to standard error has failed, so that nothing can report the failure.
static STDERR_FAILED: AtomicBool = AtomicBool::new(false);

pub(super) fn stderr_failed() -> bool {
    STDERR_FAILED.load(Ordering::Relaxed)
}

/// The function that writes above the input line, if standard error is the terminal at which
/// the user types.
static ABOVE: OnceLock<Above> = OnceLock::new();

type Above = Box<dyn Fn(&str) + Send + Sync>;

/// From now on all lines for standard error, and those of `--trace`, go through `write`, which calls
/// [`write_directly`].
pub(super) fn write_above(write: impl Fn(&str) + Send + Sync + 'static) {
    // There is only one terminal, so a second call changes nothing.
    let _ = ABOVE.set(Box::new(write));
}

/// Writes to standard error without regard to an input line.
pub(super) fn write_directly(text: &str) {
    let _ = record_failure(io::stderr().write_all(text.as_bytes()));
}

/// Writes a line to standard error.
pub(super) fn write_stderr(line: &str) {
    let _ = writeln!(Stderr, "{line}");
}

/// A writer for standard error that records failures.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        record_failure(io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        record_failure(io::stderr().flush())
    }

    /// Writes the text as a whole, so that lines of two threads do not mix.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        match ABOVE.get() {
            Some(write) => {
                write(&text.to_string());
                Ok(())
            }
            None => record_failure(io::stderr().write_fmt(text)),
        }
    }
}

fn record_failure<T>(done: io::Result<T>) -> io::Result<T> {
    if done.as_ref().is_err_and(|e| e.kind() != ErrorKind::Interrupted) {
        STDERR_FAILED.store(true, Ordering::Relaxed);
    }
    done
}
