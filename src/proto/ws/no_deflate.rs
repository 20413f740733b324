//! Replaces `deflate` in a build without that feature: its type has no values.

use std::time::Instant;

use super::Violation;
use crate::limits::Limits;

#[derive(Debug)]
pub(crate) enum Codec {}

impl Codec {
    pub(crate) fn inflate(&mut self, _: &[u8], _: &mut Vec<u8>, _: usize) -> Result<(), Violation> {
        match *self {}
    }

    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        match *self {}
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match *self {}
    }

    pub(crate) fn on_deadline(&mut self, _: Instant, _: &Limits) {
        match *self {}
    }
}
