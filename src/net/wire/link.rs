//! A socket with or without TLS: bytes in and out.

use std::io;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes that have left.
    pub(crate) done: usize,
    /// The kernel refused more.
    pub(crate) blocked: bool,
    /// Bytes that the kernel has taken: over TLS other ones, and it may have taken a part of a record,
    /// of which no byte counts as left.
    pub(crate) taken: usize,
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
    pub(crate) fn write(&mut self, sys: &mut S, bytes: &[u8]) -> Result<Written, ErrorKind> {
        let mut done = 0;
        let Some(tls) = &mut self.tls else {
            while done < bytes.len() {
                match retried(|| sys.write(&self.socket, &bytes[done..])) {
                    Ok(Some(n)) => done += n,
                    // What was taken counts; the next write tells the error.
                    Err(kind) if done == 0 => return Err(kind),
                    Ok(None) | Err(_) => {
                        return Ok(Written { done, blocked: true, taken: done });
                    }
                }
            }
            return Ok(Written { done, blocked: false, taken: done });
        };
        let mut taken = 0;
        loop {
            if !tls.is_handshaking() {
                let rest = bytes.get(done + self.sealed..).unwrap_or_default();
                self.sealed += tls.encrypt(rest);
            }
            while tls.wants_write() {
                let mut out = Out { sys, socket: &self.socket };
                match retried(|| tls.write(&mut out)) {
                    Ok(Some(n)) => taken += n,
                    Err(kind) if taken == 0 => return Err(kind),
                    Ok(None) | Err(_) => return Ok(Written { done, blocked: true, taken }),
                }
            }
            let sealed = std::mem::take(&mut self.sealed);
            done = bytes.len().min(done + sealed);
            // All is done, or the handshake has to come first.
            if sealed == 0 {
                return Ok(Written { done, blocked: false, taken });
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
        let Written { done, mut blocked, .. } = self.write(sys, rest)?;
        rest.drain(..done);
        if !rest.is_empty() {
            return Ok(false);
        }
        if let Some(tls) = &mut self.tls {
            tls.finish();
            blocked = self.write(sys, &[])?.blocked;
        }
        Ok(!blocked)
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

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
