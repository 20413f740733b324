//! What threads of the crate tell each other, in every interleaving: README.md.
//!
//! `net` has the places of the crate's `src/net`. In `net::faces` are the files of the crate that are
//! checked, and a `sync` that is loom; the other files are as little of the crate's as those need.
#![cfg(test)]

mod net;
