//! poll, for systems without epoll, and for a reactor with one connection: on Linux it has one
//! descriptor of its own, where epoll has three.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;

use super::timespec::timespec;
use super::waker::Waker;
use super::{Interest, Ready};

/// What poll waits for.
pub struct PollSet {
    state: Mutex<State>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// Waits that are under way. Each has a copy of the entries.
    waits: usize,
    /// Without content, between two waits: so that a wait allocates nothing.
    spare: Copied,
}

type Entry = (Arc<OwnedFd>, u64, Interest);

/// What one wait has: copied, since another thread may change the entries meanwhile. It keeps their
/// descriptors open.
#[derive(Default)]
struct Copied {
    entries: Vec<Entry>,
    fds: Vec<PollFd<'static>>,
}

impl PollSet {
    pub(super) fn new() -> io::Result<PollSet> {
        Ok(PollSet::with(Waker::new()?))
    }

    fn with(waker: Waker) -> PollSet {
        PollSet { state: Mutex::default(), waker }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is waited for, for an event loop that waits itself: the sockets, and the waker, by which
    /// answers of the resolver and other threads are heard.
    pub(crate) fn interests(&self) -> Vec<(Arc<OwnedFd>, Interest)> {
        let waker = (Arc::clone(self.waker.fd()), Interest { read: true, write: false });
        let state = self.lock();
        let sockets = state.entries.iter().map(|(fd, _, interest)| (Arc::clone(fd), *interest));
        std::iter::once(waker).chain(sockets).collect()
    }

    pub(super) fn watch(&self, socket: &Arc<OwnedFd>, token: u64, interest: Interest) {
        let mut state = self.lock();
        match state.entries.iter_mut().find(|(fd, _, _)| Arc::ptr_eq(fd, socket)) {
            Some(entry) => (entry.1, entry.2) = (token, interest),
            None => state.entries.push((Arc::clone(socket), token, interest)),
        }
        self.changed(state);
    }

    pub(super) fn forget(&self, socket: &Arc<OwnedFd>) {
        let mut state = self.lock();
        state.entries.retain(|(fd, _, _)| !Arc::ptr_eq(fd, socket));
        self.changed(state);
    }

    /// A wait that is under way has a copy of what was, which would keep a forgotten socket open, too.
    /// Who waits in the thread that changes things does not wait meanwhile, and needs no call.
    fn changed(&self, state: MutexGuard<'_, State>) {
        let is_waited_for = state.waits > 0;
        drop(state);
        if is_waited_for {
            self.wake();
        }
    }

    /// Waits until something is ready, and for `left` at the most; `now` is the present.
    pub(super) fn wait(
        &self,
        now: Instant,
        left: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> rustix::io::Result<()> {
        let mut state = self.lock();
        state.waits += 1;
        let Copied { mut entries, fds } = std::mem::take(&mut state.spare);
        entries.extend_from_slice(&state.entries);
        drop(state);
        let mut fds = emptied(fds);
        fds.push(PollFd::new(self.waker.fd(), PollFlags::IN));
        fds.extend(entries.iter().map(|(fd, _, interest)| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, interest.read);
            flags.set(PollFlags::OUT, interest.write);
            PollFd::new(fd, flags)
        }));
        let timeout = left.filter(|&left| !self.waker.arm(now, left)).map(timespec);
        let polled = poll(&mut fds, timeout.as_ref());
        if polled.is_ok() {
            if !fds[0].revents().is_empty() {
                self.waker.calm();
            }
            ready.extend(fds[1..].iter().zip(&entries).filter_map(ready_of));
        }
        let fds = emptied(fds);
        entries.clear();
        let mut state = self.lock();
        state.waits -= 1;
        state.spare = Copied { entries, fds };
        drop(state);
        polled.map(drop)
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

/// What poll says of an entry. As with epoll, an error is told even to one who waits for nothing.
fn ready_of((fd, (_, token, interest)): (&PollFd<'_>, &Entry)) -> Option<Ready> {
    let got = fd.revents();
    let both = got.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    let read = both || (interest.read && got.contains(PollFlags::IN));
    let write = both || (interest.write && got.contains(PollFlags::OUT));
    (read || write).then_some(Ready { token: *token, read, write })
}

/// The same memory without its content, for descriptors that live for another time.
fn emptied<'a>(mut fds: Vec<PollFd<'_>>) -> Vec<PollFd<'a>> {
    fds.clear();
    // Collected in place, since both types are laid out alike. There is none, so none is mapped.
    fds.into_iter().map_while(|_| None).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(60));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    /// One on each kind of waker.
    fn sets() -> Vec<PollSet> {
        vec![
            PollSet::with(Waker::pair().unwrap()),
            #[cfg(target_os = "linux")]
            PollSet::with(Waker::timer().unwrap()),
        ]
    }

    fn pair() -> (Arc<OwnedFd>, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        (Arc::new(a.into()), b)
    }

    const READ: Interest = Interest { read: true, write: false };

    fn wait(set: &PollSet, left: Option<Duration>) -> Vec<Ready> {
        let mut ready = Vec::new();
        set.wait(Instant::now(), left, &mut ready).unwrap();
        ready
    }

    fn is_woken(set: &PollSet) -> bool {
        let mut fds = [PollFd::new(set.waker.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&timespec(Duration::ZERO))).unwrap() > 0
    }

    #[test]
    fn a_wake_up_ends_a_wait_or_the_next_one_and_no_further() {
        for set in sets() {
            for before in [1, 2, 1000] {
                (0..before).for_each(|_| set.wake());
                assert_eq!(wait(&set, LONG), []);
                assert!(!is_woken(&set));
            }
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| wait(&set, None));
                while set.lock().waits == 0 {
                    std::thread::yield_now();
                }
                set.wake();
                assert_eq!(waits.join().unwrap(), []);
            });
        }
    }

    /// The waker keeps a far deadline as well: neither takes the other's place.
    #[test]
    fn a_wake_up_and_a_far_deadline_do_not_hide_each_other() {
        for set in sets() {
            let start = Instant::now();
            // Armed first, then woken, while it waits and before.
            set.wake();
            assert_eq!(wait(&set, LONG), []);
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| wait(&set, LONG));
                while set.lock().waits == 0 {
                    std::thread::yield_now();
                }
                set.wake();
                assert_eq!(waits.join().unwrap(), []);
            });
            // Woken first: arming must not put the wake-up off.
            set.wake();
            let _ = set.waker.arm(Instant::now(), 2 * LONG.unwrap());
            assert_eq!(wait(&set, LONG), []);
            // A deadline is still one, whichever way it is kept.
            assert_eq!(wait(&set, NOW), []);
            assert_eq!(wait(&set, Some(Duration::from_millis(1))), []);
            assert!(start.elapsed() < LONG.unwrap());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_far_deadline_is_kept_by_the_waker_and_ends_one_wait_with_nothing() {
        let set = PollSet::with(Waker::timer().unwrap());
        let now = Instant::now();
        assert!(
            set.waker.arm(now, LONG.unwrap()) && !set.waker.arm(now, Duration::from_millis(999))
        );
        let Waker::Timer { alarm, .. } = &set.waker else { panic!("another kind") };
        let set_to = |at| assert_eq!(alarm.lock().unwrap().timer.armed(), at);
        set_to(Some(now + LONG.unwrap()));
        // It stays for later deadlines, and moves for an earlier one.
        assert!(set.waker.arm(now + Duration::from_secs(9), LONG.unwrap()));
        set_to(Some(now + LONG.unwrap()));
        assert!(set.waker.arm(now, LONG.unwrap() / 2));
        set_to(Some(now + LONG.unwrap() / 2));
        // What is over fires, and is read once.
        alarm.lock().unwrap().timer.fire();
        assert_eq!(wait(&set, None), []);
        set_to(None);
        assert!(!is_woken(&set) && !alarm.lock().unwrap().timer.ticks());
    }

    #[test]
    fn what_the_thread_that_waits_changes_itself_wakes_nobody() {
        for set in sets() {
            let (socket, mut peer) = pair();
            set.watch(&socket, 7, READ);
            set.watch(&socket, 8, READ);
            assert!(!is_woken(&set));
            io::Write::write_all(&mut peer, b"x").unwrap();
            let ready = Ready { token: 8, read: true, write: false };
            assert_eq!(wait(&set, LONG), [ready]);
            set.forget(&socket);
            assert!(!is_woken(&set));
            assert_eq!(wait(&set, NOW), []);
            assert_eq!(Arc::strong_count(&socket), 1, "it can be closed");
        }
    }

    /// Else the socket would stay open for as long as the wait lasts, or not be waited for.
    #[test]
    fn what_another_thread_changes_ends_a_wait() {
        for set in sets() {
            let (socket, _peer) = pair();
            for watch in [true, false] {
                std::thread::scope(|scope| {
                    let waits = scope.spawn(|| wait(&set, None));
                    while set.lock().waits == 0 {
                        std::thread::yield_now();
                    }
                    if watch {
                        set.watch(&socket, 7, READ)
                    } else {
                        set.forget(&socket)
                    }
                    assert_eq!(waits.join().unwrap(), []);
                });
            }
            assert_eq!(Arc::strong_count(&socket), 1);
        }
    }

    #[test]
    fn a_wait_keeps_its_memory_for_the_next() {
        for set in sets() {
            let pairs: Vec<_> = (0..50).map(|_| pair()).collect();
            pairs.iter().zip(0..).for_each(|((socket, _), k)| set.watch(socket, k, READ));
            let capacities = || {
                let state = set.lock();
                (state.spare.entries.capacity(), state.spare.fds.capacity())
            };
            wait(&set, NOW);
            let first = capacities();
            assert!(first.0 >= 50 && first.1 >= 51, "{first:?}");
            wait(&set, NOW);
            assert_eq!(capacities(), first);
        }
    }
}
