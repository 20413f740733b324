//! A response that the caller does not accept: its head, and the start of its body, which may state
//! the reason.

use std::fmt;
use std::time::Instant;

use super::body::Body;
use super::chunked::Piece;
use super::coding::{Coding, Decoder};
use super::{HttpError, Response};
use crate::limits::Limits;

/// A refused response while the start of its body is read.
pub(crate) struct Refusal {
    response: Box<Response>,
    body: Body,
    decoder: Option<Box<Decoder>>,
    /// How many more bytes of the body are kept.
    room: usize,
    /// When reading stops; the bytes that have come until then are the body.
    pub(crate) deadline: Option<Instant>,
}

/// The body may repeat a secret, which is checked when the body is complete: `Debug` shows sizes.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({}, {} bytes)", self.response.status, self.response.body.len())
    }
}

impl Refusal {
    /// `until` is the deadline for the whole response. A body with invalid framing counts as empty.
    pub(crate) fn new(
        response: Response,
        body: Result<(Body, Option<Coding>), HttpError>,
        limits: &Limits,
        now: Instant,
        until: Option<Instant>,
    ) -> Refusal {
        let (body, coding) = body.unwrap_or((Body::Empty, None));
        let own = now.checked_add(limits.refusal_time);
        Refusal {
            response: Box::new(response),
            body,
            decoder: coding.map(|coding| Box::new(Decoder::new(coding))),
            room: limits.refusal,
            deadline: [own, until].into_iter().flatten().min(),
        }
    }

    /// Takes bytes of the body; returns how many, and whether the refusal needs no more. The caller
    /// passes the rest again.
    pub(crate) fn receive(&mut self, input: &[u8], limits: &Limits) -> (usize, bool) {
        let mut used = 0;
        loop {
            if self.room == 0 {
                return (used, true);
            }
            let Ok((skipped, piece)) = self.body.step(&input[used..], limits) else {
                return (used, true);
            };
            used += skipped;
            let n = match piece {
                Piece::More => return (used, false),
                Piece::End => return (used, true),
                Piece::Data(n) => n,
            };
            let data = &input[used..used + n];
            let taken = match &mut self.decoder {
                None => {
                    let data = &data[..n.min(self.room)];
                    self.response.body.extend_from_slice(data);
                    self.room -= data.len();
                    data.len()
                }
                Some(decoder) => {
                    let Ok(taken) = decoder.decode(data, limits) else { return (used, true) };
                    let decoded = decoder.take_rest();
                    let kept = decoded.len().min(self.room);
                    self.response.body.extend_from_slice(&decoded[..kept]);
                    self.room -= kept;
                    taken + decoder.release()
                }
            };
            self.body.take(taken);
            used += taken;
        }
    }

    /// The response with the bytes of the body that have come.
    pub(crate) fn finish(self, is_repeated: impl Fn(&[u8]) -> bool) -> Box<Response> {
        let mut response = self.response;
        response.quiet |= is_repeated(&response.body);
        response
    }
}
