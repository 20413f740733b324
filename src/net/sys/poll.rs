//! poll, for systems without epoll and for a reactor with one connection: on Linux it needs one
//! descriptor besides the sockets, and epoll three.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd as _, OwnedFd, RawFd};

use super::timespec::timespec;
use super::waker::Waker;
use super::{Interest, Ready, system};

/// The sockets for which poll waits.
pub struct PollSet {
    state: Mutex<State>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    /// Shared with a wait in progress: if another thread changes them meanwhile, they are copied
    /// once. If the waiting thread makes all changes itself, they are never copied.
    entries: Arc<Vec<Entry>>,
    /// The index of each socket in `entries`.
    places: HashMap<RawFd, usize>,
    /// Sockets whose hang-up was reported, on systems where a hang-up means that the peer has ended
    /// only its side.
    hung_up: BTreeSet<RawFd>,
    /// Sockets whose error was reported.
    failed: BTreeSet<RawFd>,
    /// How many waits are in progress.
    waits: usize,
    /// Kept empty between two waits, so that a wait allocates nothing.
    spare: Listed<'static>,
}

#[derive(Clone)]
struct Entry {
    fd: Arc<OwnedFd>,
    token: u64,
    interest: Interest,
}

/// The list that one wait passes to the system: the waker and entries; and the index of each entry.
#[derive(Default)]
struct Listed<'a> {
    fds: Vec<PollFd<'a>>,
    places: Vec<usize>,
}

/// Some systems report a hang-up at once and for ever to a caller that waits only to write. There,
/// such a socket is not polled; a write is tried at this interval instead.
const AGAIN: Duration = Duration::from_millis(20);

impl fmt::Debug for PollSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollSet").finish_non_exhaustive()
    }
}

impl PollSet {
    pub(super) fn new() -> io::Result<PollSet> {
        Ok(PollSet::with(Waker::new()?))
    }

    fn with(waker: Waker) -> PollSet {
        PollSet { state: Mutex::default(), waker }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptors for an event loop that waits by itself: the sockets, and the waker, which
    /// reports answers of the resolver and calls of other threads.
    pub(super) fn interests(&self) -> Vec<(Arc<OwnedFd>, Interest)> {
        let waker = (Arc::clone(self.waker.fd()), Interest { read: true, write: false });
        let state = self.lock();
        let asked = state.entries.iter().filter(|entry| !state.is_unasked(entry));
        let sockets = asked.map(|entry| (Arc::clone(&entry.fd), entry.interest));
        std::iter::once(waker).chain(sockets).collect()
    }

    /// When such a loop has to try a write again, because readiness to write is not reported.
    pub(super) fn look_again(&self, now: Instant) -> Option<Instant> {
        let state = self.lock();
        let waits = |entry: &Entry| entry.interest.write && state.is_unasked(entry);
        let waits = !state.hung_up.is_empty() && state.entries.iter().any(waits);
        waits.then(|| now + AGAIN)
    }

    pub(super) fn watch(&self, socket: &Arc<OwnedFd>, token: u64, interest: Interest) {
        let mut state = self.lock();
        let State { entries, places, .. } = &mut *state;
        let entries = Arc::make_mut(entries);
        let place = *places.entry(socket.as_raw_fd()).or_insert(entries.len());
        let entry = Entry { fd: Arc::clone(socket), token, interest };
        match entries.get_mut(place) {
            Some(there) => *there = entry,
            None => entries.push(entry),
        }
        self.changed(state);
    }

    pub(super) fn forget(&self, socket: &Arc<OwnedFd>) {
        let mut state = self.lock();
        let fd = socket.as_raw_fd();
        if let Some(place) = state.places.remove(&fd) {
            let entries = Arc::make_mut(&mut state.entries);
            entries.swap_remove(place);
            if let Some(moved) = entries.get(place).map(|entry| entry.fd.as_raw_fd()) {
                state.places.insert(moved, place);
            }
            state.hung_up.remove(&fd);
            state.failed.remove(&fd);
        }
        self.changed(state);
    }

    /// Wakes a wait in progress: it has the old entries, which would also keep a forgotten socket
    /// open. If one thread both makes changes and waits, no wait is in progress here, and nothing
    /// is woken.
    fn changed(&self, state: MutexGuard<'_, State>) {
        let is_waited_for = state.waits > 0;
        drop(state);
        if is_waited_for {
            self.wake();
        }
    }

    /// Whether an error of the socket was reported.
    pub(super) fn has_failed(&self, socket: &Arc<OwnedFd>) -> bool {
        self.lock().failed.contains(&socket.as_raw_fd())
    }

    /// Waits until a socket is ready, at most for `left`; `now` is the current time.
    pub(super) fn wait(
        &self,
        now: Instant,
        left: Option<Duration>,
        ready: &mut Vec<Ready>,
    ) -> rustix::io::Result<()> {
        let mut state = self.lock();
        state.waits += 1;
        let entries = Arc::clone(&state.entries);
        let mut listed = std::mem::take(&mut state.spare).emptied();
        listed.fds.push(PollFd::new(self.waker.fd(), PollFlags::IN));
        let mut unasked = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            let Entry { fd, token, interest } = entry;
            if state.is_unasked(entry) {
                unasked.extend(interest.write.then_some(*token));
                continue;
            }
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, interest.read);
            flags.set(PollFlags::OUT, interest.write);
            listed.fds.push(PollFd::new(fd, flags));
            listed.places.push(place);
        }
        drop(state);
        let left = match unasked[..] {
            [] => left,
            _ => Some(left.map_or(AGAIN, |left| left.min(AGAIN))),
        };
        let timeout = left.filter(|&left| !self.waker.arm(now, left)).map(timespec);
        let polled = poll(&mut listed.fds, timeout.as_ref());
        let (mut hung_up, mut failed) = (Vec::new(), Vec::new());
        if let Ok(count) = polled {
            let (waker, asked) = listed.fds.split_at(1);
            let mut left = count;
            if !waker[0].revents().is_empty() {
                self.waker.calm();
                left -= 1;
            }
            let reported =
                asked.iter().zip(&listed.places).filter(|(fd, _)| !fd.revents().is_empty());
            for (fd, &place) in reported.take(left) {
                let (got, entry) = (fd.revents(), &entries[place]);
                ready.extend(entry.ready(got));
                if got.intersects(PollFlags::ERR) && system::HIDES_RESETS {
                    failed.push(entry.fd.as_raw_fd());
                } else if got.intersects(PollFlags::HUP) && system::HANGS_UP_BY_HALF {
                    hung_up.push(entry.fd.as_raw_fd());
                }
            }
            ready.extend(unasked.iter().map(|&token| Ready { token, read: false, write: true }));
        }
        let spare = listed.emptied();
        let mut state = self.lock();
        state.waits -= 1;
        state.spare = spare;
        // Does not record a socket that was forgotten meanwhile. (Its number is not reused yet:
        // `entries` keeps it open.)
        let State { hung_up: all_hung_up, failed: all_failed, places, .. } = &mut *state;
        all_hung_up.extend(hung_up.into_iter().filter(|fd| places.contains_key(fd)));
        all_failed.extend(failed.into_iter().filter(|fd| places.contains_key(fd)));
        drop(state);
        drop(entries);
        polled.map(drop)
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }
}

impl State {
    /// Whether the system would only report a hang-up, for which nobody waits.
    fn is_unasked(&self, entry: &Entry) -> bool {
        !self.hung_up.is_empty()
            && !entry.interest.read
            && self.hung_up.contains(&entry.fd.as_raw_fd())
    }
}

impl Entry {
    /// The readiness in the result of poll. As with epoll, an error is reported even without any
    /// interest.
    fn ready(&self, got: PollFlags) -> Option<Ready> {
        let Entry { token, interest, .. } = self;
        let mut both = PollFlags::ERR | PollFlags::NVAL;
        // Remaining bytes, and the end. (On Windows `IN` is two flags, one of which is reported.)
        let mut end = PollFlags::IN;
        if system::HANGS_UP_BY_HALF { &mut end } else { &mut both }.insert(PollFlags::HUP);
        let read = got.intersects(both) || (interest.read && got.intersects(end));
        let write = got.intersects(both) || (interest.write && got.intersects(PollFlags::OUT));
        (read || write).then_some(Ready { token: *token, read, write })
    }
}

impl Listed<'_> {
    /// The same memory, emptied, for descriptors with another lifetime.
    fn emptied<'a>(mut self) -> Listed<'a> {
        self.fds.clear();
        self.places.clear();
        // `collect` reuses the memory, since both types have the same layout. The vector is empty,
        // so nothing is mapped.
        let fds = self.fds.into_iter().map_while(|_| None).collect();
        Listed { fds, places: self.places }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(60));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    /// One set for each kind of waker.
    fn sets() -> Vec<PollSet> {
        vec![
            PollSet::with(Waker::pair().unwrap()),
            #[cfg(target_os = "linux")]
            PollSet::with(Waker::timer().unwrap()),
        ]
    }

    fn pair() -> (Arc<OwnedFd>, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(listener.accept().unwrap().0.into()), peer)
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

    /// The waker also keeps a far deadline; neither of the two replaces the other.
    #[test]
    fn a_wake_up_and_a_far_deadline_do_not_hide_each_other() {
        for set in sets() {
            let start = Instant::now();
            // The timer is set first, then the waker wakes: before the wait, and during it.
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
            // Woken first: setting the timer must not postpone the wake-up.
            set.wake();
            let _ = set.waker.arm(Instant::now(), 2 * LONG.unwrap());
            assert_eq!(wait(&set, LONG), []);
            // A deadline ends a wait, in whichever way it is kept.
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
        // The timer stays for later deadlines, and moves for an earlier one.
        assert!(set.waker.arm(now + Duration::from_secs(9), LONG.unwrap()));
        set_to(Some(now + LONG.unwrap()));
        assert!(set.waker.arm(now, LONG.unwrap() / 2));
        set_to(Some(now + LONG.unwrap() / 2));
        // A passed deadline fires, and is read once.
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
            peer.write_all(b"x").unwrap();
            let ready = Ready { token: 8, read: true, write: false };
            assert_eq!(wait(&set, LONG), [ready]);
            set.forget(&socket);
            assert!(!is_woken(&set));
            assert_eq!(wait(&set, NOW), []);
            assert_eq!(Arc::strong_count(&socket), 1, "it can be closed");
        }
    }

    /// Otherwise the socket would stay open for as long as the wait lasts, or would not be polled.
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

    /// In whatever order sockets are added and removed, each is reported with its own token, and
    /// none is copied.
    #[test]
    fn each_is_found_by_its_descriptor() {
        for set in sets() {
            let mut pairs: Vec<_> = (0..60).map(|_| pair()).collect();
            pairs.iter().zip(0..).for_each(|((socket, _), k)| set.watch(socket, k, READ));
            let at = || set.lock().entries.as_ptr();
            let first = at();
            let mut left: Vec<u64> = (0..60).collect();
            let mut seed = 7_usize;
            while !left.is_empty() {
                seed = seed.wrapping_mul(31).wrapping_add(11);
                let gone = left.swap_remove(seed % left.len());
                set.forget(&pairs[gone as usize].0);
                assert_eq!(Arc::strong_count(&pairs[gone as usize].0), 1);
                // A second call has no effect.
                set.forget(&pairs[gone as usize].0);
                if let Some(&some) = left.first() {
                    pairs[some as usize].1.write_all(b"x").unwrap();
                    let ready = wait(&set, LONG);
                    assert_eq!(ready, [Ready { token: some, read: true, write: false }]);
                    let mut byte = [0];
                    TcpStream::from(pairs[some as usize].0.try_clone().unwrap())
                        .read_exact(&mut byte)
                        .unwrap();
                }
            }
            assert_eq!((at(), set.lock().places.len()), (first, 0));
        }
    }

    /// On Windows, poll reports such a hang-up at once, and again and again.
    #[test]
    fn to_wait_for_room_while_the_peer_has_ended_its_half_is_to_wait() {
        for set in sets() {
            let (socket, mut peer) = pair();
            let mut stream = TcpStream::from(socket.try_clone().unwrap());
            stream.set_nonblocking(true).unwrap();
            let mut sent = 0;
            while let Ok(n) = stream.write(&[0; 65_536]) {
                sent += n;
            }
            peer.shutdown(Shutdown::Write).unwrap();
            for write in [true, false] {
                set.watch(&socket, 1, Interest { read: false, write });
                // The hang-up may be reported once.
                wait(&set, NOW);
                let start = Instant::now();
                for _ in 0..10 {
                    wait(&set, Some(AGAIN));
                }
                // Ten intervals, but the system's clock may be coarse.
                assert!(start.elapsed() >= 8 * AGAIN, "{:?}", start.elapsed());
            }
            set.watch(&socket, 1, Interest { read: false, write: true });
            let reader = std::thread::spawn(move || {
                // The byte that is written below is read, too.
                let (mut got, mut buf) = (0, vec![0; 65_536]);
                while got <= sent {
                    got += peer.read(&mut buf).unwrap();
                }
                peer
            });
            let until = Instant::now() + LONG.unwrap();
            while stream.write(b"x").is_err() {
                assert!(Instant::now() < until);
                wait(&set, LONG);
            }
            reader.join().unwrap();
            // The end can be read, and every poll reports it.
            set.watch(&socket, 1, READ);
            for _ in 0..3 {
                assert_eq!(wait(&set, LONG), [Ready { token: 1, read: true, write: false }]);
            }
        }
    }

    #[test]
    fn a_wait_keeps_its_memory_for_the_next() {
        for set in sets() {
            let pairs: Vec<_> = (0..50).map(|_| pair()).collect();
            pairs.iter().zip(0..).for_each(|((socket, _), k)| set.watch(socket, k, READ));
            let capacities = || {
                let state = set.lock();
                (state.spare.places.capacity(), state.spare.fds.capacity())
            };
            wait(&set, NOW);
            let first = capacities();
            assert!(first.0 >= 50 && first.1 >= 51, "{first:?}");
            wait(&set, NOW);
            assert_eq!(capacities(), first);
        }
    }
}
