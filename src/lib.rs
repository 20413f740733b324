//! moonwire
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(all(feature = "luau", panic = "abort"))]
compile_error!(
    "Luau reports errors by unwinding: with panic = \"abort\" a script's first wrong argument \
     would end the process. Remove panic = \"abort\" from the profile."
);

#[cfg(all(feature = "cli", feature = "luau", feature = "tls"))]
#[doc(hidden)]
pub mod cli;
mod error;
mod limits;
#[cfg(feature = "luau")]
pub mod luau;
#[cfg(feature = "net")]
mod net;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod peer;
pub mod proto;
pub mod trace;

pub use error::{Error, ErrorKind, Stage};
pub use limits::Limits;
#[cfg(feature = "luau")]
pub use mlua;
#[cfg(feature = "net")]
pub use net::*;
#[cfg(feature = "tls")]
pub use rustls;
