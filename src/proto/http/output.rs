//! How the data of a body becomes events.

use super::HttpError;
use super::coding::Decoder;
use crate::limits::Limits;
use crate::proto::sse::{Blocks, Event, Events};

/// How a body becomes events, and the state of its parser.
#[derive(Debug)]
pub(super) enum Output {
    Bytes,
    Events(Box<Events>),
    Blocks(Box<Blocks>),
    /// One of the others, fed with decoded data.
    Coded(Box<Coded>),
}

/// The decoder of a coded body, and how its output becomes events.
#[derive(Debug)]
pub(super) struct Coded {
    decoder: Decoder,
    output: Output,
}

/// Output of a coded body. It is owned, since decoded bytes are not in the input.
#[derive(Debug)]
pub(super) enum OwnedOutput {
    Piece(Vec<u8>),
    Event(Event),
}

impl Output {
    /// The same output, for a coded body.
    pub(super) fn decoded(self, decoder: Decoder) -> Output {
        Output::Coded(Box::new(Coded { decoder, output: self }))
    }

    /// The output that remains at the end of the body.
    pub(super) fn finish(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        match self {
            Output::Blocks(blocks) => Ok(blocks.finish()),
            // WHATWG HTML §9.2.6: an unfinished event is discarded.
            Output::Bytes | Output::Events(_) => Ok(None),
            Output::Coded(coded) => {
                coded.decoder.finish()?;
                coded.output.finish()
            }
        }
    }
}

impl Coded {
    /// The decoder of the body.
    #[cfg(feature = "deflate")]
    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Takes data up to the next output; returns how many bytes, and the output. Without output, it
    /// took all. While there is more output, some data is left; the caller passes the rest again.
    pub(super) fn receive(
        &mut self,
        data: &[u8],
        limits: &Limits,
    ) -> Result<(usize, Option<OwnedOutput>), HttpError> {
        let mut used = 0;
        loop {
            if self.decoder.rest().is_empty() {
                used += self.decoder.decode(&data[used..], limits)?;
            }
            if self.decoder.rest().is_empty() {
                return Ok((used, None));
            }
            let given = self.hand_over()?;
            used += self.decoder.release();
            if given.is_some() || used == data.len() {
                return Ok((used, given));
            }
        }
    }

    /// The next piece or event of the decoded data.
    fn hand_over(&mut self) -> Result<Option<OwnedOutput>, HttpError> {
        let decoder = &mut self.decoder;
        match &mut self.output {
            Output::Bytes => Ok(Some(OwnedOutput::Piece(decoder.take_rest()))),
            Output::Blocks(blocks) => {
                let (taken, block) =
                    blocks.receive(decoder.rest()).map_err(HttpError::EventStream)?;
                let block = block.map(|block| OwnedOutput::Piece(block.into_owned()));
                decoder.skip(taken);
                Ok(block)
            }
            Output::Events(events) => {
                let (taken, event) =
                    events.receive(decoder.rest()).map_err(HttpError::EventStream)?;
                decoder.skip(taken);
                Ok(event.map(OwnedOutput::Event))
            }
            // The output inside `Coded` is never coded itself.
            Output::Coded(_) => Ok(Some(OwnedOutput::Piece(Vec::new()))),
        }
    }
}

#[cfg(feature = "deflate")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::coding::{Coding, gzip};

    #[test]
    fn without_output_all_data_is_taken_in_whatever_pieces_it_is_decoded() {
        let coded = gzip(b": a comment, which is no event\n\ndata: x\n\n: more").unwrap();
        for decoded_piece in [1, 5, 1000] {
            let limits = Limits { decoded_piece, ..Limits::default() };
            let output = Output::Events(Box::new(Events::new(&limits)));
            let Output::Coded(mut output) = output.decoded(Decoder::new(Coding::Gzip)) else {
                panic!("it is coded");
            };
            let (used, event) = output.receive(&coded, &limits).unwrap();
            assert!(matches!(event, Some(OwnedOutput::Event(event)) if event.data == "x"));
            let (more, event) = output.receive(&coded[used..], &limits).unwrap();
            assert!(event.is_none());
            assert_eq!(used + more, coded.len(), "{decoded_piece}");
        }
    }
}
