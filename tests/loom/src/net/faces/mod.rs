//! The files that are checked, and the modules that they need.

mod batch;
mod models;
pub(crate) mod sync;

#[path = "../../../../../src/net/faces/queue.rs"]
mod queue;
#[path = "../../../../../src/net/faces/shared.rs"]
mod shared;
#[path = "../../../../../src/net/faces/stand_in.rs"]
mod stand_in;
