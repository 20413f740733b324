//! One connection of a reactor.
//!
//! ```text
//! state.rs      the states of a connection, and every change of them
//! opening.rs    connecting                       dialing.rs  names, addresses, attempts
//! tunnel.rs     a socket to a proxy              asking.rs   asking it for a tunnel
//! live.rs       a socket with a session on it   reading.rs, writing.rs  its two sides
//! upload.rs     the source of a request's body, uploading.rs  and when it is read
//! keeping.rs    a connection kept for another request
//! draining.rs   the time after the final event
//! errors.rs     makes the errors for the program
//! ```

mod asking;
mod dialing;
mod draining;
mod errors;
mod keeping;
mod laps;
mod live;
mod opening;
mod reading;
mod state;
mod tunnel;
mod upload;
mod uploading;
mod writing;

pub(super) use live::token_parts;
pub(super) use state::{Driver, Past};

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::Driver;
    use crate::net::sys::Os;

    /// There may be very many connections that are idle: what few of them need is in a box.
    #[test]
    fn a_connection_is_small() {
        let recorder = if cfg!(feature = "tape") { size_of::<usize>() } else { 0 };
        assert!(size_of::<Driver<Os>>() <= 368 + recorder, "{}", size_of::<Driver<Os>>());
    }
}
