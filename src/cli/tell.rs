//! What the command says: its answers, its complaints and its exit status.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Standard output cannot be written: a disk that is full, say.
    pub(super) fn output(e: &io::Error) -> Failure {
        Failure::other(format!("standard output: {e}"))
    }

    /// Everything else.
    pub(super) fn other(text: impl Into<String>) -> Failure {
        Failure { status: 1, text: text.into() }
    }
}

/// Writes to standard output. If whoever read it has gone, nobody wants to know.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failure::output(&e)),
        _ => Ok(()),
    }
}

/// Whether something could not be written to standard error, which nothing is left to tell.
static UNHEARD: AtomicBool = AtomicBool::new(false);

pub(super) fn is_unheard() -> bool {
    UNHEARD.load(Ordering::Relaxed)
}

/// Somebody types at the terminal that standard error is: what writes above that.
static ABOVE: OnceLock<Above> = OnceLock::new();

type Above = Box<dyn Fn(&str) + Send + Sync>;

/// From now on all complaints, and the lines of `--trace`, go through `write`, which ends in [`plainly`].
pub(super) fn complain_above(write: impl Fn(&str) + Send + Sync + 'static) {
    // There is one terminal.
    let _ = ABOVE.set(Box::new(write));
}

/// Writes to standard error, whoever types.
pub(super) fn plainly(text: &str) {
    let _ = noted(io::stderr().write_all(text.as_bytes()));
}

/// Writes a line to standard error.
pub(super) fn complain(line: &str) {
    let _ = writeln!(Complaints, "{line}");
}

/// Standard error, with a note of what could not be written.
pub(super) struct Complaints;

impl Write for Complaints {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        noted(io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        noted(io::stderr().flush())
    }

    /// As a whole: lines of two threads do not get mixed.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        match ABOVE.get() {
            Some(write) => {
                write(&text.to_string());
                Ok(())
            }
            None => noted(io::stderr().write_fmt(text)),
        }
    }
}

fn noted<T>(done: io::Result<T>) -> io::Result<T> {
    if done.as_ref().is_err_and(|e| e.kind() != ErrorKind::Interrupted) {
        UNHEARD.store(true, Ordering::Relaxed);
    }
    done
}
