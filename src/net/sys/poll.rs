//! poll, for systems without epoll.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;

use super::{Interest, Ready};

/// What poll waits for: a list, copied for each wait, since another thread may change it
/// meanwhile. The copy keeps its descriptors open.
pub struct PollSet {
    entries: Mutex<Vec<(Arc<OwnedFd>, u64, Interest)>>,
    /// The end that is waited for, and the one that wakes it.
    waker: (Arc<OwnedFd>, OwnedFd),
}

impl PollSet {
    pub(super) fn new() -> io::Result<PollSet> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        a.set_nonblocking(true)?;
        b.set_nonblocking(true)?;
        Ok(PollSet { entries: Mutex::default(), waker: (Arc::new(a.into()), b.into()) })
    }

    /// What is waited for, for an event loop that waits itself: the sockets, and the waker, by which
    /// answers of the resolver and other threads are heard.
    pub(crate) fn interests(&self) -> Vec<(Arc<OwnedFd>, Interest)> {
        let waker = (Arc::clone(&self.waker.0), Interest { read: true, write: false });
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let sockets = entries.iter().map(|(fd, _, interest)| (Arc::clone(fd), *interest));
        std::iter::once(waker).chain(sockets).collect()
    }

    pub(super) fn watch(&self, socket: &Arc<OwnedFd>, token: u64, interest: Interest) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.iter_mut().find(|(fd, _, _)| Arc::ptr_eq(fd, socket)) {
            Some(entry) => *entry = (Arc::clone(socket), token, interest),
            None => entries.push((Arc::clone(socket), token, interest)),
        }
        drop(entries);
        self.wake();
    }

    pub(super) fn forget(&self, socket: &Arc<OwnedFd>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(fd, _, _)| !Arc::ptr_eq(fd, socket));
        drop(entries);
        // A wait that is under way has a copy, which would keep the socket open.
        self.wake();
    }

    pub(super) fn wait(
        &self,
        timeout: Option<&Timespec>,
        ready: &mut Vec<Ready>,
    ) -> rustix::io::Result<()> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(entries.len() + 1);
        fds.push(PollFd::new(&self.waker.0, PollFlags::IN));
        for (fd, _, interest) in &entries {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, interest.read);
            flags.set(PollFlags::OUT, interest.write);
            fds.push(PollFd::new(fd, flags));
        }
        poll(&mut fds, timeout)?;
        if !fds[0].revents().is_empty() {
            while rustix::io::read(&self.waker.0, &mut [0; 64]).is_ok_and(|n| n == 64) {}
        }
        for (fd, (_, token, interest)) in fds[1..].iter().zip(&entries) {
            let got = fd.revents();
            let both = got.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
            // As epoll does: an error is told even to one who waits for nothing.
            let read = both || (interest.read && got.contains(PollFlags::IN));
            let write = both || (interest.write && got.contains(PollFlags::OUT));
            if read || write {
                ready.push(Ready { token: *token, read, write });
            }
        }
        Ok(())
    }

    pub(super) fn wake(&self) {
        // It fails only when the pair is full, and then a wake-up is pending.
        let _ = rustix::io::write(&self.waker.1, &[1]);
    }
}
