//! A socket with or without TLS: bytes in and out.

use std::io::{self, IoSlice};

use super::tls::{Fed, Tls};
use crate::error::ErrorKind;
use crate::net::sys::Sys;

pub(crate) struct Link<S: Sys> {
    pub(crate) socket: S::Socket,
    pub(crate) tls: Option<Box<Tls>>,
    /// Of the bytes that are to be written, so many at the start are encrypted and have not left.
    sealed: usize,
}

/// What a write came to.
pub(crate) struct Written {
    /// Bytes that have left.
    pub(crate) done: usize,
    /// The kernel refused more.
    pub(crate) blocked: bool,
    /// Bytes that the kernel has taken: over TLS other ones, and it may have taken a part of a record,
    /// of which no byte counts as left.
    pub(crate) taken: usize,
    /// Then the socket broke. The system tells that once, and what was taken before counts.
    pub(crate) broken: Option<ErrorKind>,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes came; `more` when it is worth to ask again at once.
    Some { more: bool },
    /// Nothing is there.
    None,
    /// The end of the stream, said by the peer.
    Eof,
    /// The end of the stream without the goodbye of TLS: it may be somebody else's doing.
    Cut,
}

impl<S: Sys> Link<S> {
    pub(crate) fn new(socket: S::Socket, tls: Option<Box<Tls>>) -> Link<S> {
        Link { socket, tls, sealed: 0 }
    }

    /// Reads once, to `buf[*end..]`, at most `most` bytes unless they are encrypted. `cipher` is for
    /// the bytes before decryption.
    pub(crate) fn read(
        &mut self,
        sys: &mut S,
        cipher: &mut [u8],
        buf: &mut Vec<u8>,
        end: &mut usize,
        most: usize,
    ) -> Result<Read, ErrorKind> {
        let Some(tls) = &mut self.tls else {
            let room = (buf.len() - *end).min(most);
            return Ok(match retried(|| sys.read(&self.socket, &mut buf[*end..*end + room]))? {
                None => Read::None,
                Some(0) => Read::Eof,
                Some(n) => {
                    *end += n;
                    Read::Some { more: n == room }
                }
            });
        };
        Ok(match retried(|| sys.read(&self.socket, cipher))? {
            None => Read::None,
            Some(0) => Read::Cut,
            Some(n) => match tls.feed(&cipher[..n], buf, end)? {
                Fed::Closed => Read::Eof,
                Fed::Open => Read::Some { more: n == cipher.len() },
            },
        })
    }

    /// Writes what it can of `bytes`. What the kernel has not taken has to be given again.
    pub(crate) fn write(&mut self, sys: &mut S, bytes: &[u8]) -> Written {
        let mut written = Written { done: 0, blocked: false, taken: 0, broken: None };
        match &mut self.tls {
            Some(tls) => {
                let socket = &self.socket;
                written.seal(sys, socket, tls, &mut self.sealed, bytes);
            }
            None => {
                while written.done < bytes.len() {
                    let rest = &bytes[written.done..];
                    if !written.took(retried(|| sys.write(&self.socket, rest))) {
                        break;
                    }
                    written.done = written.taken;
                }
            }
        }
        written
    }
}

impl Written {
    /// What one call came to; whether there may be another.
    fn took(&mut self, wrote: Result<Option<usize>, ErrorKind>) -> bool {
        match wrote {
            Ok(Some(n)) => self.taken += n,
            Ok(None) => self.blocked = true,
            Err(kind) => self.broken = Some(kind),
        }
        !self.blocked && self.broken.is_none()
    }

    /// Encrypts and writes.
    fn seal<S: Sys>(
        &mut self,
        sys: &mut S,
        socket: &S::Socket,
        tls: &mut Tls,
        sealed: &mut usize,
        bytes: &[u8],
    ) {
        loop {
            // What is sealed leaves before more is: else none of it would count as left for as long as
            // the kernel does not take it all.
            if !tls.is_handshaking() && *sealed == 0 {
                *sealed = tls.encrypt(bytes.get(self.done..).unwrap_or_default());
            }
            while tls.wants_write() {
                let mut out = Out { sys, socket };
                if !self.took(retried(|| tls.write(&mut out))) {
                    return;
                }
            }
            let done = std::mem::take(sealed);
            self.done = bytes.len().min(self.done + done);
            // All is done, or the handshake has to come first.
            if done == 0 {
                return;
            }
        }
    }
}

impl<S: Sys> Link<S> {
    /// Writes the last bytes, and over TLS the goodbye behind them; whether the kernel has it all.
    pub(crate) fn write_last(
        &mut self,
        sys: &mut S,
        rest: &mut Vec<u8>,
    ) -> Result<bool, ErrorKind> {
        let mut written = self.write(sys, rest);
        rest.drain(..written.done);
        if let Some(kind) = written.broken {
            return Err(kind);
        }
        if !rest.is_empty() {
            return Ok(false);
        }
        if let Some(tls) = &mut self.tls {
            tls.finish();
            written = self.write(sys, &[]);
        }
        match written.broken {
            Some(kind) => Err(kind),
            None => Ok(!written.blocked),
        }
    }
}

/// A call that is interrupted is made again; one that would block gives nothing.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> Result<Option<usize>, ErrorKind> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(ErrorKind::Io(e)),
        }
    }
}

/// A socket as a writer.
struct Out<'a, S: Sys> {
    sys: &'a mut S,
    socket: &'a S::Socket,
}

impl<S: Sys> io::Write for Out<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sys.write(self.socket, bytes)
    }

    /// rustls gives all the records that it has: one call for many of them.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        self.sys.write_vectored(self.socket, records)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
