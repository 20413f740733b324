//! The three faces over real sockets, all on loopback.
#![cfg(all(feature = "tls", feature = "cli"))]

#[path = "../common/mod.rs"]
mod common;

mod dial;
mod event_source;
mod faces;
mod handshake;
mod open;
mod outside;
mod own_streams;
mod panics;
mod peer;
mod proxy;
mod redirect;
mod refusals;
mod rules;
mod secrets;
mod slow;
mod stream;
mod stream_faces;
mod transport;
#[cfg(unix)]
mod unix;
mod upload;
mod web;
