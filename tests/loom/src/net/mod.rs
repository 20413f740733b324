//! Replaces the crate's `src/net`.

pub(crate) mod ask;
pub(crate) mod event;
pub(crate) mod faces;
pub(crate) mod reactor;
pub(crate) mod sys;
pub(crate) mod time;
