//! Which codings of a response the client accepts.

use super::decoder::Coding;
#[cfg(feature = "deflate")]
use super::error::CodingError;
use crate::proto::head::Fields;
use crate::proto::http::request::{Delivery, Request};
use crate::proto::http::{HttpError, SHOWN};
use crate::proto::token::{escape, list};

/// Which codings the request names, and which ones the client decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// The request accepts `identity` only, and a coded body is an error.
    Identity,
    /// The request accepts `identity` only, but the client decodes the codings it knows: some
    /// proxies compress event streams unasked.
    #[cfg(feature = "deflate")]
    Unasked,
    /// The request accepts codings, and the client decodes them.
    #[cfg(feature = "deflate")]
    Asked,
}

impl Accepts {
    pub(crate) fn of(request: &Request, delivery: Delivery) -> Accepts {
        #[cfg(feature = "deflate")]
        return match request.decode {
            true => Accepts::Asked,
            false if delivery.is_event_stream() => Accepts::Unasked,
            false => Accepts::Identity,
        };
        #[cfg(not(feature = "deflate"))]
        {
            let _ = (request, delivery);
            Accepts::Identity
        }
    }

    /// The coding that `Content-Encoding` names, if any. Several codings are refused (FAULTS 56):
    /// each multiplies how many bytes a few can become.
    pub(crate) fn coding(self, fields: &Fields) -> Result<Option<Coding>, HttpError> {
        // `none` is not a registered coding; many servers of event streams send it to keep proxies
        // from compressing (FAULTS 72).
        let is_none = |coding: &&[u8]| {
            [&b"identity"[..], b"none"].iter().any(|none| coding.eq_ignore_ascii_case(none))
        };
        let mut all = fields.all("Content-Encoding").flat_map(list).filter(|c| !is_none(c));
        let Some(first) = all.next() else { return Ok(None) };
        if self == Accepts::Identity {
            return Err(HttpError::ContentEncoding(escape(first, SHOWN)));
        }
        let rest: Vec<&[u8]> = all.collect();
        if let (Some(coding), []) = (Coding::named(first), &rest[..]) {
            return Ok(Some(coding));
        }
        #[cfg(feature = "deflate")]
        if self == Accepts::Asked {
            let all = [&[first], &rest[..]].concat().join(&b", "[..]);
            return Err(HttpError::Coding(CodingError::Unknown(escape(&all, SHOWN))));
        }
        Err(HttpError::ContentEncoding(escape(first, SHOWN)))
    }
}
