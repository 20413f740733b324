//! Ctrl-C, SIGTERM and `--timeout`: a second thread closes the connections and ends the process,
//! whatever the script does meanwhile.

use std::io;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::tell::complain;
use crate::luau::Stopper;

/// How long open connections have for their closing handshake when the run is ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Listens for signals from now on.
pub(super) fn listen(stopper: Stopper) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let thread = std::thread::Builder::new().name("moonwire-signals".into());
    thread.spawn(move || {
        let mut closing = false;
        for signal in &mut signals {
            // 130 and 143, as shells count.
            let status = 128 + signal;
            // The second one, or no thread to be had: at once.
            if closing || end(stopper.clone(), status).is_err() {
                std::process::exit(status);
            }
            closing = true;
        }
    })?;
    Ok(())
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
