//! Ctrl-C, SIGTERM and `--timeout`: a second thread closes the connections and ends the process,
//! whatever the first one does meanwhile.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::tell::Failure;

/// How long open connections have for their closing handshake when the process is ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Closes what is open, within [`PATIENCE`]. May be called from several threads at once.
pub(super) type Close = Arc<dyn Fn() + Send + Sync>;

/// From now on a signal ends the process, and so does the end of `limit`, if there is one (`--timeout`).
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
            // 130 and 143, as shells count.
            ending.signal(128 + signal);
        }
    })?;
    Ok(())
}

/// Listens for Ctrl-C and Ctrl-Break from now on. Which of them it was is not told. When the window
/// is closed, this is called as well, but Windows ends the process as soon as the handler of `ctrlc`
/// returns, which is at once: there is no time for a closing handshake.
#[cfg(windows)]
fn listen(close: Close) -> io::Result<()> {
    let mut ending = Ending { close, begun: false };
    // As on other systems.
    ctrlc::set_handler(move || ending.signal(130)).map_err(io::Error::other)
}

/// Calls `redraw` whenever the process goes on after it was stopped (Ctrl-Z, then `fg`), and when the
/// window has another size.
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
    /// The first one ends the process with `status`; the second one, or if no thread is to be had, at
    /// once.
    fn signal(&mut self, status: i32) {
        if self.begun || end(Arc::clone(&self.close), status).is_err() {
            std::process::exit(status);
        }
        self.begun = true;
    }
}

/// Closes everything on a thread of its own, then exits.
fn end(close: Close, status: i32) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("moonwire-end".into());
    thread.spawn(move || {
        close();
        std::process::exit(status);
    })?;
    Ok(())
}

/// Ends the process after a time, as `timeout` of coreutils does.
fn end_after(limit: Duration, close: Close) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("moonwire-timeout".into());
    thread.spawn(move || {
        std::thread::sleep(limit);
        close();
        std::process::exit(124);
    })?;
    Ok(())
}

/// Somebody else ends the process.
pub(super) fn wait_for_exit() -> ! {
    loop {
        std::thread::park();
    }
}
