//! Replaces `compression` in a build without that feature: every offer is declined.

use super::head::Head;
use super::refusal::Refusal;
use crate::proto::ws::deflate::Codec;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {}

pub(super) fn answer(_: &Head<'_>) -> Result<Option<Answer>, Refusal> {
    Ok(None)
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        match *self {}
    }

    pub(super) fn codec(&self) -> Codec {
        match *self {}
    }
}
