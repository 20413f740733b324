//! TLS on loopback: certificates, names, trust, versions, and ends. The certificates are those of
//! tests/certs.
#![cfg(all(feature = "tls", feature = "cli"))]

#[path = "../common/mod.rs"]
mod common;

mod certificates;
mod client;
mod ending;
mod identity;
mod kept;
mod names;
mod offers;
mod pins;
mod proxy;
mod records;
mod trust;
mod versions;
