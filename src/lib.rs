//! moonwire
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod limits;
pub mod proto;

pub use limits::Limits;
