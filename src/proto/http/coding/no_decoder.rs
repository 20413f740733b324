//! Replaces `decoder` in a build without feature `deflate`: its types have no values.

use std::convert::Infallible;

use crate::limits::Limits;
use crate::proto::http::HttpError;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Coding {}

impl Coding {
    pub(super) fn named(_: &[u8]) -> Option<Coding> {
        None
    }
}

#[derive(Debug)]
pub(crate) struct Decoder(Infallible);

impl Decoder {
    pub(crate) fn new(coding: Coding) -> Decoder {
        match coding {}
    }

    pub(crate) fn decode(&mut self, _: &[u8], _: &Limits) -> Result<usize, HttpError> {
        match self.0 {}
    }

    pub(crate) fn rest(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        match self.0 {}
    }

    pub(crate) fn skip(&mut self, _: usize) {
        match self.0 {}
    }

    pub(crate) fn release(&mut self) -> usize {
        match self.0 {}
    }

    pub(crate) fn finish(&self) -> Result<(), HttpError> {
        match self.0 {}
    }
}
