//! Ctrl-C, SIGTERM and `--timeout`: a second thread closes the connections and ends the process,
//! whatever the script does meanwhile.

use std::io;
use std::time::Duration;

use super::tell::complain;
use crate::luau::Stopper;

/// How long open connections have for their closing handshake when the run is ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Listens for SIGINT (Ctrl-C) and SIGTERM from now on.
#[cfg(unix)]
pub(super) fn listen(stopper: Stopper) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let thread = std::thread::Builder::new().name("moonwire-signals".into());
    thread.spawn(move || {
        let mut ending = Ending { stopper, begun: false };
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
pub(super) fn listen(stopper: Stopper) -> io::Result<()> {
    let mut ending = Ending { stopper, begun: false };
    // As on other systems.
    ctrlc::set_handler(move || ending.signal(130)).map_err(io::Error::other)
}

struct Ending {
    stopper: Stopper,
    begun: bool,
}

impl Ending {
    /// The first one ends the run with `status`; the second one, or if no thread is to be had, at once.
    fn signal(&mut self, status: i32) {
        if self.begun || end(self.stopper.clone(), status).is_err() {
            std::process::exit(status);
        }
        self.begun = true;
    }
}

/// Closes everything on a thread of its own, then exits.
fn end(stopper: Stopper, status: i32) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("moonwire-end".into());
    thread.spawn(move || {
        stop(&stopper);
        std::process::exit(status);
    })?;
    Ok(())
}

/// Closes everything, and says what that costs.
pub(super) fn stop(stopper: &Stopper) {
    let lost = stopper.stop(1001, PATIENCE);
    if lost > 0 {
        complain(&format!("warning: {lost} bytes that were sent did not leave"));
    }
}

/// Ends the run after a time, as `timeout` of coreutils does.
pub(super) fn end_after(limit: Duration, stopper: Stopper) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("moonwire-timeout".into());
    thread.spawn(move || {
        std::thread::sleep(limit);
        stop(&stopper);
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
