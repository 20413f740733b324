//! A socket with or without TLS: reads and writes bytes.

use std::io::{self, IoSlice};

use super::tls::{Fed, Tls};
use crate::error::ErrorKind;
use crate::net::sys::Sys;

pub(crate) struct Link<S: Sys> {
    pub(crate) socket: S::Socket,
    secure: Option<Box<Secure>>,
    /// A read has returned the end of the stream, or has failed.
    ended: bool,
}

/// TLS on a socket, and what belongs to it; in one box, so that a link without TLS is small.
pub(crate) struct Secure {
    tls: Tls,
    /// TLS with a proxy, which carries `tls`.
    outer: Option<Box<Outer>>,
    /// `tls` is with the proxy, and there is no other.
    is_proxys: bool,
    /// How many of the bytes to be written are encrypted already and not sent.
    sealed: usize,
}

struct Outer {
    tls: Tls,
    /// Decrypted bytes for the inner TLS.
    plain: Vec<u8>,
}

/// The result of a write.
pub(crate) struct Written {
    /// How many bytes were sent.
    pub(crate) done: usize,
    /// The kernel takes no more bytes now.
    pub(crate) blocked: bool,
    /// How many bytes the kernel took. Over TLS these are bytes of records; a part of a record
    /// counts as no byte sent.
    pub(crate) taken: usize,
    /// The error if the socket broke, which the system reports once; bytes taken before still
    /// count.
    pub(crate) broken: Option<io::Error>,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// Bytes came; `more` states whether another read at once is worthwhile.
    Some { more: bool },
    /// No bytes are there.
    None,
    /// The peer has sent the end of the stream.
    Eof,
    /// The stream ended without `close_notify` of TLS: somebody else may have ended it.
    Cut,
}

impl<S: Sys> Link<S> {
    pub(crate) fn new(socket: S::Socket, secure: Option<Box<Secure>>) -> Link<S> {
        Link { socket, secure, ended: false }
    }

    /// A link to a proxy, with TLS or without.
    pub(crate) fn to_proxy(socket: S::Socket, mut secure: Option<Box<Secure>>) -> Link<S> {
        if let Some(secure) = &mut secure {
            secure.is_proxys = true;
        }
        Link::new(socket, secure)
    }

    /// The tunnel through the proxy is open: adds the TLS of the connection in it, if it has TLS.
    pub(crate) fn through(mut self, secure: Option<Box<Secure>>) -> Link<S> {
        let Some(mut secure) = secure else { return self };
        if let Some(below) = self.secure.take() {
            secure.sealed = below.sealed;
            secure.outer = Some(Box::new(Outer { tls: below.tls, plain: Vec::new() }));
        }
        Link { secure: Some(secure), ..self }
    }

    /// TLS with the host of the URL, or else with the proxy.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.secure.as_ref().map(|secure| &secure.tls)
    }

    /// TLS with the host of the URL.
    pub(crate) fn tls_of_peer(&self) -> Option<&Tls> {
        self.secure.as_ref().filter(|secure| !secure.is_proxys).map(|secure| &secure.tls)
    }

    /// Whether a TLS handshake is in progress.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(Tls::is_handshaking)
    }

    /// As [`Tls::shrink`].
    pub(crate) fn shrink(&mut self) {
        if let Some(secure) = &mut self.secure {
            secure.tls.shrink();
        }
    }

    /// Reads once, at most `most` bytes, to `buf[*end..]`. `cipher` is scratch space for ciphertext.
    #[inline]
    pub(crate) fn read(
        &mut self,
        sys: &mut S,
        cipher: &mut [u8],
        buf: &mut Vec<u8>,
        end: &mut usize,
        most: usize,
    ) -> Result<ReadOutcome, ErrorKind> {
        let read = self.read_once(sys, cipher, buf, end, most);
        self.ended |= !matches!(read, Ok(ReadOutcome::Some { .. } | ReadOutcome::None));
        read
    }

    #[inline]
    fn read_once(
        &mut self,
        sys: &mut S,
        cipher: &mut [u8],
        buf: &mut Vec<u8>,
        end: &mut usize,
        most: usize,
    ) -> Result<ReadOutcome, ErrorKind> {
        let Some(secure) = &mut self.secure else {
            let room = (buf.len() - *end).min(most);
            return Ok(
                match retried(|| sys.read(&self.socket, &mut buf[*end..*end + room]))
                    .map_err(ErrorKind::Io)?
                {
                    None => ReadOutcome::None,
                    Some(0) => ReadOutcome::Eof,
                    Some(n) => {
                        *end += n;
                        ReadOutcome::Some { more: n == room }
                    }
                },
            );
        };
        let room = cipher.len().min(most);
        let cipher = &mut cipher[..room];
        Ok(match retried(|| sys.read(&self.socket, cipher)).map_err(ErrorKind::Io)? {
            None => ReadOutcome::None,
            Some(0) => ReadOutcome::Cut,
            Some(n) => {
                let Secure { tls, outer, .. } = &mut **secure;
                let fed = match outer {
                    None => tls.feed(&cipher[..n], buf, end)?,
                    Some(outer) => outer.feed(&cipher[..n], tls, buf, end)?,
                };
                match fed {
                    Fed::Closed => ReadOutcome::Eof,
                    // The proxy has ended the stream, but the server has sent no end.
                    Fed::Cut => ReadOutcome::Cut,
                    Fed::Open => ReadOutcome::Some { more: n == cipher.len() },
                }
            }
        })
    }

    /// Whether the link is idle between two requests: the peer has not ended, all bytes were sent,
    /// and TLS holds no part of a record.
    pub(crate) fn is_clean(&self) -> bool {
        !self.ended && self.secure.as_ref().is_none_or(|secure| secure.is_clean())
    }

    /// Whether the peer has sent no data and has not ended. TLS messages without data, such as
    /// session tickets, are read and do not count.
    pub(crate) fn is_quiet(&mut self, sys: &mut S, cipher: &mut [u8]) -> bool {
        if self.secure.is_none() {
            let read = retried(|| sys.read(&self.socket, &mut [0]));
            return matches!(read, Ok(None));
        }
        let (mut buf, mut end) = (Vec::new(), 0);
        // Bounded: a peer that never stops sending is not quiet.
        for _ in 0..16 {
            match self.read(sys, cipher, &mut buf, &mut end, usize::MAX) {
                Ok(ReadOutcome::None) => return self.is_clean(),
                Ok(ReadOutcome::Some { .. }) if end == 0 => {}
                _ => return false,
            }
        }
        false
    }

    /// Writes as much of `bytes` as possible. The caller passes the bytes that were not sent again.
    pub(crate) fn write(&mut self, sys: &mut S, bytes: &[u8]) -> Written {
        let mut written = Written { done: 0, blocked: false, taken: 0, broken: None };
        match &mut self.secure {
            Some(secure) => {
                let Secure { tls, outer, sealed, .. } = &mut **secure;
                let outer = outer.as_mut().map(|outer| &mut outer.tls);
                let mut out = Out { sys, socket: &self.socket, outer };
                written.seal(&mut out, tls, sealed, bytes);
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
    /// Adds the result of one call; returns whether another call may follow.
    fn took(&mut self, wrote: io::Result<Option<usize>>) -> bool {
        match wrote {
            Ok(Some(n)) => self.taken += n,
            Ok(None) => self.blocked = true,
            Err(e) => self.broken = Some(e),
        }
        !self.blocked && self.broken.is_none()
    }

    /// Encrypts and writes. A function of its own, so that connections without TLS do not pay for
    /// its registers: 8 of the 900 instructions of a small send.
    #[inline(never)]
    fn seal<S: Sys>(
        &mut self,
        out: &mut Out<'_, S>,
        tls: &mut Tls,
        sealed: &mut usize,
        bytes: &[u8],
    ) {
        loop {
            // Sends encrypted bytes before it encrypts more: otherwise none of them would count as
            // sent until the kernel has taken them all.
            if !tls.is_handshaking() && *sealed == 0 {
                *sealed = tls.encrypt(bytes.get(self.done..).unwrap_or_default());
            }
            while tls.wants_write() || out.is_behind() {
                let wrote = retried(|| match tls.wants_write() {
                    true => tls.write(out),
                    false => out.catch_up(),
                });
                if !self.took(wrote) {
                    return;
                }
            }
            let done = std::mem::take(sealed);
            self.done = bytes.len().min(self.done + done);
            // Everything is done, or the handshake has to come first.
            if done == 0 {
                return;
            }
        }
    }
}

impl<S: Sys> Link<S> {
    /// Writes the last bytes, over TLS followed by `close_notify`; returns whether the kernel has
    /// taken all of it.
    pub(crate) fn write_last(&mut self, sys: &mut S, rest: &mut Vec<u8>) -> io::Result<bool> {
        let mut written = self.write(sys, rest);
        rest.drain(..written.done);
        if let Some(e) = written.broken {
            return Err(e);
        }
        if !rest.is_empty() {
            return Ok(false);
        }
        if let Some(secure) = &mut self.secure {
            secure.tls.send_close_notify();
            written = self.write(sys, &[]);
        }
        if let Some(outer) = self.secure.as_mut().and_then(|secure| secure.outer.as_mut())
            && written.broken.is_none()
            && !written.blocked
        {
            outer.tls.send_close_notify();
            written = self.write(sys, &[]);
        }
        match written.broken {
            Some(e) => Err(e),
            None => Ok(!written.blocked),
        }
    }
}

/// Repeats a call that was interrupted; `None` if it would block.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(n) => return Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(e),
        }
    }
}

impl Secure {
    // Without TLS, nothing makes one.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    pub(crate) fn new(tls: Tls) -> Box<Secure> {
        Box::new(Secure { tls, outer: None, is_proxys: false, sealed: 0 })
    }

    /// Whether all bytes were sent, and no layer holds a part of a record.
    fn is_clean(&self) -> bool {
        let outer = self.outer.as_ref();
        self.sealed == 0
            && self.tls.is_between_records()
            && outer.is_none_or(|outer| outer.tls.is_between_records())
    }
}

impl Outer {
    /// Passes bytes from the socket through both TLS layers.
    fn feed(
        &mut self,
        cipher: &[u8],
        tls: &mut Tls,
        buf: &mut Vec<u8>,
        end: &mut usize,
    ) -> Result<Fed, ErrorKind> {
        let mut there = 0;
        let below = self.tls.feed(cipher, &mut self.plain, &mut there);
        // Bytes before a broken record are valid.
        let fed = tls.feed(&self.plain[..there], buf, end)?;
        let below = below.map_err(|kind| match kind {
            ErrorKind::Tls(text, e) => ErrorKind::Tls(format!("of the proxy: {text}"), e),
            kind => kind,
        })?;
        // The buffer is not needed between two reads.
        self.plain = Vec::new();
        self.tls.shrink();
        Ok(match (below, fed) {
            (Fed::Closed, Fed::Open) => Fed::Cut,
            (_, fed) => fed,
        })
    }
}

/// A socket as a writer, with TLS on it or without.
struct Out<'a, S: Sys> {
    sys: &'a mut S,
    socket: &'a S::Socket,
    outer: Option<&'a mut Tls>,
}

impl<S: Sys> Out<'_, S> {
    /// Whether its TLS holds bytes that the kernel has not taken.
    fn is_behind(&self) -> bool {
        self.outer.as_ref().is_some_and(|outer| outer.wants_write())
    }

    /// Writes some of these bytes.
    fn catch_up(&mut self) -> io::Result<usize> {
        let Out { sys, socket, outer } = self;
        let Some(outer) = outer else { return Ok(0) };
        outer.write(&mut Out { sys: &mut **sys, socket, outer: None })
    }
}

impl<S: Sys> io::Write for Out<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.outer.is_none() {
            return self.sys.write(self.socket, bytes);
        }
        // Writes held bytes before it takes more, so it holds few.
        while self.is_behind() {
            self.catch_up()?;
        }
        let taken = self.outer.as_mut().map_or(0, |outer| outer.encrypt(bytes));
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// rustls passes all records that it has, so one call writes many of them.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.outer.is_none() {
            return self.sys.write_vectored(self.socket, records);
        }
        let first = records.iter().find(|record| !record.is_empty());
        first.map_or(Ok(0), |record| self.write(record))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
