//! The arrows between files: which file uses which names of which other file, and which arrows are
//! not allowed.

mod arrows;
mod floors;
mod lexer;
mod made_up;
mod tree;

pub(crate) use floors::{FLOORS, complaints};
