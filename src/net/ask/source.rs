//! The reader of a request's body, which is read while it is sent.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The reader of one request's body. Clones of the options share it, and the first connection that
/// is ready takes it.
#[derive(Clone)]
pub(in crate::net) struct BodySource(Arc<Mutex<Option<Box<dyn io::Read + Send>>>>);

impl fmt::Debug for BodySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_taken() { "BodySource(taken)" } else { "BodySource" })
    }
}

/// The result of reading.
#[derive(Debug)]
pub(in crate::net) enum BodyRead {
    /// This many bytes were read.
    Some(usize),
    /// The reader has ended.
    End,
    /// The reader has no bytes now, but may have some later.
    Later,
}

impl BodySource {
    pub(in crate::net) fn new(reader: impl io::Read + Send + 'static) -> BodySource {
        BodySource(Arc::new(Mutex::new(Some(Box::new(reader)))))
    }

    /// Whether a connection has taken the reader.
    pub(in crate::net) fn is_taken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(in crate::net) fn take(&self) -> Option<Box<dyn io::Read + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl BodyRead {
    /// Reads bytes from `reader` to the start of `buf`.
    pub(in crate::net) fn from(reader: &mut dyn io::Read, buf: &mut [u8]) -> io::Result<BodyRead> {
        loop {
            match reader.read(buf) {
                Ok(0) => return Ok(BodyRead::End),
                Ok(n) if n <= buf.len() => return Ok(BodyRead::Some(n)),
                Ok(n) => {
                    let why = format!("the reader returned {n} bytes, of at most {}", buf.len());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(BodyRead::Later),
                Err(e) => return Err(e),
            }
        }
    }
}
