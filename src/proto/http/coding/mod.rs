//! Codings of a body (RFC 9110 §8.4): which one it has, and what it is without it.
//!
//! ```text
//! error     what may be wrong with it
//! gzip      RFC 1952: the head of a member, and a body of one member
//! decoder   pieces of a coded body become pieces of the body
//! accepts   what was asked for, and what is read
//! ```

mod accepts;
#[cfg(feature = "deflate")]
mod decoder;
#[cfg(not(feature = "deflate"))]
#[path = "no_decoder.rs"]
mod decoder;
#[cfg(feature = "deflate")]
mod error;
#[cfg(feature = "deflate")]
mod gzip;

pub(crate) use accepts::Accepts;
pub(crate) use decoder::{Coding, Decoder};
#[cfg(feature = "deflate")]
pub(crate) use error::ACCEPTED;
#[cfg(feature = "deflate")]
pub use error::CodingError;
#[cfg(feature = "deflate")]
pub(crate) use gzip::gzip;

#[cfg(test)]
mod tests;
