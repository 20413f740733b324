//! One connection of a reactor.
//!
//! ```text
//! state.rs      the states of its life, and every change of them
//! opening.rs    on its way to a socket          dialing.rs  names, addresses, attempts
//! tunnel.rs     a socket to a proxy              asking.rs   the way is asked for
//! live.rs       a socket with a session on it   reading.rs, writing.rs  its two sides
//! upload.rs     where the body of a request is read from, uploading.rs  and when
//! keeping.rs    a connection that waits for another request
//! draining.rs   what is left to do after the final event
//! errors.rs     makes the error that its owner is told
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
mod tail;
mod tunnel;
mod upload;
mod uploading;
mod writing;

pub(super) use live::token_parts;
pub(super) use state::Driver;
