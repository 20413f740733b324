//! How threads of the crate communicate, in every interleaving: README.md.
//!
//! `net` replaces the crate's `src/net`. `net::faces` has the files of the crate that are checked,
//! and a `sync` made of loom; of the other files it has only what those need.
#![cfg(test)]

mod net;
