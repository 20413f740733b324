//! The three faces over real sockets, all on loopback.
#![cfg(all(feature = "tls", feature = "cli"))]

#[path = "../common/mod.rs"]
mod common;

mod body_from;
mod dial;
mod event_source;
mod faces;
mod handshake;
mod handshake_redirect;
mod open;
mod outside;
mod panics;
mod peer;
mod redirect;
mod refusals;
mod rules;
mod secrets;
mod slow;
mod stream;
mod stream_faces;
mod upload;
mod web;
