//! The source of a request's body that is read while it is sent.

use std::io;
use std::time::Instant;

use crate::error::ErrorKind;
use crate::net::ask::{BodyRead, BodySource};

/// The source of a body, and the bytes read from it.
pub(super) struct Upload {
    source: BodySource,
    /// Taken with the first read: a connection that fails earlier leaves it to another one.
    reader: Option<Box<dyn io::Read + Send>>,
    /// The bytes read. Not the receive buffer, since a reader must not see received bytes.
    pub(super) buf: Vec<u8>,
    /// When a reader that returned `WouldBlock` is read again.
    pub(super) again: Option<Instant>,
}

impl Upload {
    pub(super) fn new(source: BodySource) -> Upload {
        Upload { source, reader: None, buf: Vec::new(), again: None }
    }

    /// Reads at most `most` bytes to the start of the buffer.
    pub(super) fn read(&mut self, most: usize) -> Result<BodyRead, ErrorKind> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.source.take().ok_or(ErrorKind::BodyTaken)?),
        };
        if self.buf.len() < most {
            self.buf.resize(most, 0);
        }
        BodyRead::from(reader, &mut self.buf[..most]).map_err(ErrorKind::Upload)
    }
}
