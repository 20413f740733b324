//! The arrows between files: which names what of which, and what is wrong with that.

mod arrows;
mod floors;
mod lexer;
mod made_up;
mod tree;

pub(crate) use floors::{FLOORS, complaints};
