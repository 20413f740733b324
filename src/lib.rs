#![cfg_attr(all(feature = "luau", feature = "tls"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "luau", feature = "tls")),
    doc = "A WebSocket client without an async runtime; the README describes the whole."
)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(all(feature = "luau", panic = "abort"))]
compile_error!(
    "Luau reports errors by unwinding: with panic = \"abort\" a script's first wrong argument \
     would end the process. Remove panic = \"abort\" from the profile."
);

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod audit;
#[cfg(all(feature = "cli", feature = "luau", feature = "tls"))]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "net")]
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
#[cfg(feature = "luau")]
pub mod luau;
#[cfg(feature = "net")]
mod net;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod peer;
#[cfg(feature = "net")]
mod policy;
pub mod proto;
#[cfg(feature = "tape")]
pub mod tape;
pub mod trace;

#[cfg(feature = "net")]
pub use error::{Error, ErrorKind, ProxyError, Stage};
pub use limits::Limits;
#[cfg(feature = "luau")]
pub use mlua;
#[cfg(feature = "net")]
pub use net::*;
#[cfg(feature = "net")]
pub use policy::{Allowed, Destination, Policy};
#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "json")]
pub use serde_json;
