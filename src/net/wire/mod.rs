//! A socket and the layers on it: bytes in and out, TLS, proxies; and which address is tried when.

pub(super) mod dial;
pub(crate) mod link;
pub(crate) mod proxy;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub(crate) mod tls;
#[cfg(feature = "tls")]
pub(crate) mod tls;
