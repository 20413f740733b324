//! Ctrl-C, SIGTERM and `--timeout`: a second thread closes the connections and ends the process,
//! whether or not the first one still runs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::stdio::Failure;

/// The time limit of the closing handshakes when the process ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Closes all connections, within [`PATIENCE`]. Several threads may call it at once.
pub(super) type Close = Arc<dyn Fn() + Send + Sync>;

/// From now on a signal ends the process, and so does `limit` (`--timeout`), if there is one, when
/// it has passed.
pub(super) fn may_end(close: &Close, limit: Option<Duration>) -> Result<(), Failure> {
    listen(Arc::clone(close)).map_err(|e| Failure::other(format!("signals: {e}")))?;
    limit.map_or(Ok(()), |limit| {
        end_after(limit, Arc::clone(close)).map_err(|e| Failure::other(format!("--timeout: {e}")))
    })
}

/// Listens for SIGINT (Ctrl-C) and SIGTERM from now on.
#[cfg(unix)]
fn listen(close: Close) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let thread = std::thread::Builder::new().name("moonwire-signals".into());
    thread.spawn(move || {
        let mut ending = Ending { close, begun: false };
        for signal in &mut signals {
            // The exit status is 128 plus the number of the signal, as in shells: 130 or 143.
            ending.signal(128 + signal);
        }
    })?;
    Ok(())
}

/// Listens for Ctrl-C and Ctrl-Break from now on; `ctrlc` does not report which of them came. It
/// also calls the handler when the window is closed. But Windows ends the process as soon as that
/// handler returns, and it returns at once: there is no time for a closing handshake.
#[cfg(windows)]
fn listen(close: Close) -> io::Result<()> {
    let mut ending = Ending { close, begun: false };
    // The exit status is the same as on other systems.
    ctrlc::set_handler(move || ending.signal(130)).map_err(io::Error::other)
}

/// Calls `redraw` whenever the process continues after a stop (Ctrl-Z, then `fg`), and when the
/// window changes its size.
#[cfg(unix)]
pub(super) fn when_shown_anew(redraw: impl Fn() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGCONT, SIGWINCH};

    let mut signals = signal_hook::iterator::Signals::new([SIGCONT, SIGWINCH])?;
    let thread = std::thread::Builder::new().name("moonwire-redraw".into());
    thread.spawn(move || signals.forever().for_each(|_| redraw()))?;
    Ok(())
}

struct Ending {
    close: Close,
    begun: bool,
}

impl Ending {
    /// The first signal ends the process with `status`, on another thread. The second one ends it
    /// at once, and so does the first if the system cannot create a thread.
    fn signal(&mut self, status: i32) {
        if self.begun || end(Arc::clone(&self.close), status).is_err() {
            std::process::exit(status);
        }
        self.begun = true;
    }
}

/// Closes all connections on another thread, then exits.
fn end(close: Close, status: i32) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("moonwire-end".into());
    thread.spawn(move || {
        close();
        std::process::exit(status);
    })?;
    Ok(())
}

/// Ends the process after a time, as the command `timeout` of coreutils does.
fn end_after(limit: Duration, close: Close) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("moonwire-timeout".into());
    thread.spawn(move || {
        std::thread::sleep(limit);
        close();
        std::process::exit(124);
    })?;
    Ok(())
}

/// Waits for ever: another thread ends the process.
pub(super) fn wait_for_exit() -> ! {
    loop {
        std::thread::park();
    }
}
