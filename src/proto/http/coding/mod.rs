//! Codings of a body (RFC 9110 §8.4): which one a body has, and its decoder.
//!
//! ```text
//! error     errors of a coded body
//! gzip      RFC 1952: the header of a member, and writing a body of one member
//! decoder   decodes a body piece by piece
//! accepts   which codings a request accepts
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
