//! The simulated network as a reactor's system.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use moonwire::{Interest, Poller, Ready, ResolverAnswer, Sys};

use crate::net::{Shared, lock};

pub struct Sim {
    net: Shared,
    poller: Arc<SimPoller>,
}

pub struct SimPoller(Shared);

/// A descriptor.
pub struct Fd {
    id: usize,
    net: Shared,
}

impl Sim {
    pub fn new(net: &Shared) -> Sim {
        Sim { net: Arc::clone(net), poller: Arc::new(SimPoller(Arc::clone(net))) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        lock(&self.net).dropped(self.id);
    }
}

impl Sys for Sim {
    type Socket = Fd;
    type Poller = SimPoller;

    fn poller(&self) -> &Arc<SimPoller> {
        &self.poller
    }

    fn now(&self) -> Instant {
        lock(&self.net).clock()
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        lock(&self.net).random(bytes)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<Fd> {
        let id = lock(&self.net).connect(to)?;
        Ok(Fd { id, net: Arc::clone(&self.net) })
    }

    fn connected(&mut self, socket: &Fd) -> io::Result<()> {
        lock(&self.net).connected(socket.id)
    }

    fn is_connected(&mut self, socket: &Fd) -> bool {
        lock(&self.net).is_connected(socket.id)
    }

    fn read(&mut self, socket: &Fd, buf: &mut [u8]) -> io::Result<usize> {
        lock(&self.net).read(socket.id, buf)
    }

    fn write(&mut self, socket: &Fd, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.net).write(socket.id, bytes)
    }

    fn write_vectored(&mut self, socket: &Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        self.write(socket, &whole)
    }

    fn shutdown_write(&mut self, socket: &Fd) {
        lock(&self.net).finish(socket.id);
    }

    fn watch(&mut self, socket: &Fd, token: u64, interest: Interest, new: bool) -> io::Result<()> {
        lock(&self.net).watch(socket.id, token, interest, new)
    }

    fn forget(&mut self, socket: &Fd) {
        lock(&self.net).forget(socket.id);
    }

    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        lock(&self.net).resolve(id, name, port)
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        lock(&self.net).resolved()
    }
}

impl Poller for SimPoller {
    fn wait(
        &self,
        _now: Instant,
        deadline: Option<Instant>,
        ready: &mut Vec<Ready>,
    ) -> io::Result<()> {
        lock(&self.0).wait(deadline, ready)
    }

    fn wake(&self) {
        lock(&self.0).woken = true;
    }
}
