//! After the final event: writes the last bytes, and reads the socket to its end.

use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use super::live::{Live, Token};
use crate::net::reactor::core::Core;
use crate::net::sys::{Interest, Sys};
use crate::net::time::after;
use crate::net::wire::link::Link;

pub(super) struct Draining<S: Sys> {
    pub(super) link: Link<S>,
    rest: Vec<u8>,
    pub(super) until: Instant,
    half_closed: bool,
    /// The peer has ended its side of the stream.
    reading_ended: bool,
    token: Token,
}

impl<S: Sys> Draining<S> {
    pub(super) fn new(live: Live<S>, core: &Core<S>) -> Draining<S> {
        let until = after(core.now, live.limits(core).linger);
        let (rest, reading_ended) = (live.session.outgoing().to_vec(), live.reading_ended());
        let Live { link, token, .. } = live;
        Draining { link, rest, until, half_closed: false, reading_ended, token }
    }

    /// How many bytes the kernel has not taken.
    pub(super) fn buffered(&self) -> usize {
        self.rest.len()
    }

    /// Writes the last bytes, ends our side, and reads until the peer has ended its side. Breaks
    /// when the socket is no longer needed.
    pub(super) fn step(&mut self, core: &mut Core<S>) -> ControlFlow<()> {
        if !self.half_closed {
            match self.link.write_last(&mut core.sys, &mut self.rest) {
                // Nothing is left to read, so closing the socket is enough.
                Ok(_) if self.reading_ended => return ControlFlow::Break(()),
                Ok(true) => {
                    core.sys.shutdown_write(&self.link.socket);
                    self.half_closed = true;
                }
                Ok(false) => {}
                Err(_) => return ControlFlow::Break(()),
            }
        }
        let interest = Interest { read: true, write: !self.half_closed };
        if self.token.interest() != interest {
            self.token = self.token.with(interest);
            let (socket, number) = (&self.link.socket, self.token.number());
            if core.sys.watch(socket, number, interest, false).is_err() {
                return ControlFlow::Break(());
            }
        }
        let mut scratch = [0; 4096];
        // Bounded, so that a peer that never stops sending does not delay other connections.
        for _ in 0..16 {
            match core.sys.read(&self.link.socket, &mut scratch) {
                Ok(n) if n > 0 => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return ControlFlow::Continue(()),
                _ => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }
}
