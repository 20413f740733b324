//! The faces over real sockets, all on loopback.
#![cfg(all(feature = "tls", feature = "cli"))]

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod body_from;
mod coded;
mod compress;
mod dial;
mod event_source;
mod faces;
mod from_main;
mod halves;
mod handshake;
mod handshake_redirect;
mod interrupt;
mod kept;
mod listening;
mod open;
mod outside;
mod own_streams;
mod own_system;
mod panics;
mod peer;
mod proxy;
mod redirect;
mod refusals;
mod rules;
mod secrets;
mod slow;
mod stats;
mod stream;
mod stream_faces;
mod transport;
#[cfg(unix)]
mod unix;
mod upload;
mod web;
