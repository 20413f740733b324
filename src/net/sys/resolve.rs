//! Resolves names. The system's resolver blocks, so a few helper threads call it; they end when no
//! name waits.
//!
//! A helper asks for both address families at once, and answers when it has both. RFC 8305 §3
//! recommends trying IPv4 addresses while the question for IPv6 is still open. But the standard
//! library offers no other call, rustix offers none at all, and `getaddrinfo` for one family needs
//! unsafe code.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::limits::Limits;

/// The number of the question, and the addresses.
pub type ResolverAnswer = (u64, io::Result<Vec<SocketAddr>>);

type Wake = dyn Fn() + Send + Sync;

pub(crate) struct Resolver {
    shared: Arc<Shared>,
    wake: Arc<Wake>,
    limits: Bounds,
    /// How many connections wait for an answer. Every turn checks this, and mostly it is 0.
    due: usize,
}

#[derive(Clone, Copy)]
struct Bounds {
    helpers: usize,
    all: usize,
    patience: Duration,
    queue: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the last waiting name was taken, and at the end.
    calm: Condvar,
}

#[derive(Default)]
struct State {
    /// Names that no helper has taken, the oldest first.
    waiting: VecDeque<Name>,
    /// The connections that wait for a name, whether a helper has taken it or not.
    asked: BTreeMap<Name, Vec<u64>>,
    answers: VecDeque<ResolverAnswer>,
    /// How many helpers there are; how many of them take a waiting name at once; and how many wait
    /// before they take one.
    helpers: usize,
    prompt: usize,
    patient: usize,
    gone: bool,
}

type Name = (String, u16);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver {
    pub(crate) fn new(limits: &Limits, wake: impl Fn() + Send + Sync + 'static) -> Resolver {
        let helpers = limits.dns_helpers.max(1);
        let limits = Bounds {
            helpers,
            all: limits.dns_helpers_max.max(helpers),
            patience: limits.dns_patience,
            queue: limits.dns_queue,
        };
        Resolver { shared: Arc::default(), wake: Arc::new(wake), limits, due: 0 }
    }

    pub(crate) fn ask(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        let mut state = self.shared.lock();
        let name = (name.to_owned(), port);
        if let Some(who) = state.asked.get_mut(&name) {
            // One answer serves all connections that ask for the name.
            who.push(id);
            self.due += 1;
            return Ok(());
        }
        if state.waiting.len() >= self.limits.queue {
            return Err(io::Error::other("too many names wait to be resolved; try again later"));
        }
        state.waiting.push_back(name.clone());
        state.asked.insert(name.clone(), vec![id]);
        if let Err(e) = start(&self.shared, &self.wake, self.limits, &mut state)
            && state.helpers == 0
        {
            state.waiting.pop_back();
            state.asked.remove(&name);
            return Err(e);
        }
        self.due += 1;
        Ok(())
    }

    /// The answer to `id` is no longer needed. A name that no helper has taken and nobody else
    /// needs is dropped.
    pub(crate) fn give_up(&mut self, id: u64) {
        if self.due == 0 {
            return;
        }
        let mut state = self.shared.lock();
        let found = state.asked.iter_mut().find_map(|(name, who)| {
            let at = who.iter().position(|other| *other == id)?;
            who.swap_remove(at);
            Some((name.clone(), who.is_empty()))
        });
        let Some((name, is_empty)) = found else { return };
        self.due -= 1;
        if is_empty && let Some(at) = state.waiting.iter().position(|other| *other == name) {
            state.waiting.remove(at);
            state.asked.remove(&name);
        }
    }

    pub(crate) fn answer(&mut self) -> Option<ResolverAnswer> {
        if self.due == 0 {
            return None;
        }
        let answer = self.shared.lock().answers.pop_front()?;
        self.due -= 1;
        Some(answer)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.gone = true;
        state.waiting.clear();
        self.shared.calm.notify_all();
    }
}

/// Starts a helper for waiting names, if another one is allowed: a prompt one, which takes a name
/// at once, or else a patient one.
fn start(
    shared: &Arc<Shared>,
    wake: &Arc<Wake>,
    limits: Bounds,
    state: &mut State,
) -> io::Result<()> {
    let is_prompt = state.prompt < limits.helpers;
    if state.helpers >= limits.all || (!is_prompt && state.patient > 0) {
        return Ok(());
    }
    let (its, wakes) = (Arc::clone(shared), Arc::clone(wake));
    let thread = std::thread::Builder::new().name("moonwire-dns".into());
    thread.spawn(move || help(&its, &wakes, limits, is_prompt))?;
    state.helpers += 1;
    state.prompt += usize::from(is_prompt);
    state.patient += usize::from(!is_prompt);
    Ok(())
}

/// The work of a helper. A patient one takes a name only after a while: then all other helpers are
/// busy with slow names, which must not delay the rest.
fn help(shared: &Arc<Shared>, wake: &Arc<Wake>, limits: Bounds, is_prompt: bool) {
    let mut state = shared.lock();
    loop {
        if !is_prompt {
            let waits = |state: &mut State| !state.waiting.is_empty();
            let waited = shared.calm.wait_timeout_while(state, limits.patience, waits);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.patient -= 1;
        }
        let Some(name) = state.waiting.pop_front() else {
            state.helpers -= 1;
            state.prompt -= usize::from(is_prompt);
            return;
        };
        match state.waiting.is_empty() {
            true => shared.calm.notify_all(),
            // If the system has no thread left, the existing helpers take the name later.
            false => drop(start(shared, wake, limits, &mut state)),
        }
        drop(state);
        let answer = (name.0.as_str(), name.1).to_socket_addrs().map(Iterator::collect);
        state = shared.lock();
        let who = state.asked.remove(&name).unwrap_or_default();
        if !state.gone && !who.is_empty() {
            state.answers.extend(who.into_iter().map(|id| (id, copied(&answer))));
            drop(state);
            wake();
            state = shared.lock();
        }
        state.patient += usize::from(!is_prompt);
    }
}

/// A copy of an answer, since several connections get it.
fn copied(answer: &io::Result<Vec<SocketAddr>>) -> io::Result<Vec<SocketAddr>> {
    match answer {
        Ok(addresses) => Ok(addresses.clone()),
        Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn localhost_is_resolved_and_the_waker_called() {
        let (sender, woken) = mpsc::channel();
        let mut resolver = Resolver::new(&Limits::default(), move || sender.send(()).unwrap());
        resolver.ask(7, "localhost", 80).unwrap();
        woken.recv().unwrap();
        let (id, addresses) = resolver.answer().unwrap();
        assert_eq!(id, 7);
        assert!(addresses.unwrap().iter().all(|a| a.ip().is_loopback() && a.port() == 80));
    }

    /// A waker that does not return keeps a helper busy after its answer.
    #[test]
    fn so_many_helpers_ask_and_so_many_names_wait_and_no_more() {
        for (dns_helpers, dns_queue) in [(1, 1), (1, 2), (3, 1), (3, 4)] {
            let dns_patience = Duration::from_secs(3600);
            let limits = Limits { dns_helpers, dns_queue, dns_patience, ..Limits::default() };
            let (sender, woken) = mpsc::channel();
            let (release, gate) = mpsc::channel::<()>();
            let gate = Mutex::new(gate);
            let mut resolver = Resolver::new(&limits, move || {
                sender.send(()).unwrap();
                let _ = gate.lock().map(|gate| gate.recv());
            });
            // With another port, each name is a separate question.
            for id in 0..dns_helpers {
                resolver.ask(id as u64, "127.0.0.1", 80 + id as u16).unwrap();
                woken.recv().unwrap();
            }
            for id in 0..dns_queue {
                resolver.ask(100 + id as u64, "127.0.0.1", 180 + id as u16).unwrap();
            }
            assert!(resolver.ask(200, "127.0.0.1", 280).is_err(), "{limits:?}");
            let state = resolver.shared.lock();
            assert_eq!((state.prompt, state.waiting.len()), (dns_helpers, dns_queue));
            drop(state);
            drop(release);
            // The waiting names are resolved.
            (0..dns_queue).for_each(|_| woken.recv().unwrap());
            assert_eq!(std::iter::from_fn(|| resolver.answer()).count(), dns_helpers + dns_queue);
        }
        let none = Limits { dns_queue: 0, ..Limits::default() };
        assert!(Resolver::new(&none, || {}).ask(1, "localhost", 80).is_err());
    }

    /// Keeps helpers busy, as slow names would; then asks for one more name.
    fn behind_slow_names(limits: &Limits) -> (Resolver, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (sender, woken) = mpsc::channel();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let mut resolver = Resolver::new(limits, move || {
            let _ = sender.send(());
            let _ = gate.lock().map(|gate| gate.recv());
        });
        for id in 0..limits.dns_helpers {
            resolver.ask(id as u64, "127.0.0.1", 80 + id as u16).unwrap();
        }
        // The first helper has answered and waits for the gate, the others wait for the first.
        woken.recv().unwrap();
        (resolver, woken, release)
    }

    #[test]
    fn slow_names_hold_their_own_helpers_and_no_others() {
        let dns_patience = Duration::from_millis(5);
        let limits =
            Limits { dns_helpers: 1, dns_helpers_max: 3, dns_patience, ..Limits::default() };
        let (mut resolver, woken, release) = behind_slow_names(&limits);
        for port in [300, 301] {
            resolver.ask(port.into(), "127.0.0.1", port).unwrap();
            // The helper has answered, and is busy from now on.
            woken.recv().unwrap();
        }
        // There are as many helpers as allowed, so one of them has to become free.
        resolver.ask(302, "127.0.0.1", 302).unwrap();
        assert!(woken.recv_timeout(20 * dns_patience).is_err());
        assert_eq!(resolver.shared.lock().helpers, 3);
        drop(release);
        woken.recv().unwrap();
        assert_eq!(std::iter::from_fn(|| resolver.answer()).count(), 4);
    }

    #[test]
    fn a_question_is_asked_once_and_goes_with_those_who_ask_it() {
        let dns_patience = Duration::from_secs(3600);
        let limits = Limits { dns_helpers: 1, dns_patience, ..Limits::default() };
        let (mut resolver, woken, release) = behind_slow_names(&limits);
        for (id, port) in [(1, 81), (2, 81), (3, 82), (4, 81)] {
            resolver.ask(id, "127.0.0.1", port).unwrap();
        }
        assert_eq!(resolver.shared.lock().waiting.len(), 2, "by name and port");
        resolver.give_up(3);
        resolver.give_up(2);
        assert_eq!(resolver.shared.lock().waiting.len(), 1);
        assert!(resolver.answer().is_some_and(|(id, _)| id == 0));
        drop(release);
        woken.recv().unwrap();
        let mut answered: Vec<_> = std::iter::from_fn(|| resolver.answer().map(|a| a.0)).collect();
        answered.sort();
        assert_eq!(answered, [1, 4]);
        assert_eq!((resolver.due, resolver.shared.lock().asked.len()), (0, 0));
    }
}
