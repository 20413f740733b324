//! Where the body of a request comes from, if it is read while it is sent.

use std::io;
use std::time::Instant;

use crate::error::ErrorKind;
use crate::net::ask::{Read, Source};

/// Where a body comes from.
pub(super) struct Upload {
    source: Source,
    /// Taken with the first read: a connection that fails before leaves it for another.
    reader: Option<Box<dyn io::Read + Send>>,
    /// What is read. Of its own: a reader gets to see nothing that was received.
    pub(super) buf: Vec<u8>,
    /// When a reader that had nothing is asked again.
    pub(super) again: Option<Instant>,
}

impl Upload {
    pub(super) fn new(source: Source) -> Upload {
        Upload { source, reader: None, buf: Vec::new(), again: None }
    }

    /// Reads at most `most` bytes, which stand at the start of the buffer then.
    pub(super) fn read(&mut self, most: usize) -> Result<Read, ErrorKind> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.source.take().ok_or(ErrorKind::BodyTaken)?),
        };
        if self.buf.len() < most {
            self.buf.resize(most, 0);
        }
        Read::from(reader, &mut self.buf[..most]).map_err(ErrorKind::Upload)
    }
}
