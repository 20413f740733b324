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
