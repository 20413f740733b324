//! Names to addresses: the system's resolver blocks, so it runs on helper threads, few, that end
//! when nothing is asked.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Limits;

/// The question's number, and the addresses.
pub type Answer = (u64, io::Result<Vec<SocketAddr>>);

type Wake = dyn Fn() + Send + Sync;

pub(crate) struct Resolver {
    shared: Arc<Mutex<Shared>>,
    wake: Arc<Wake>,
    helpers: usize,
    queue: usize,
    /// Answers that are to come: every turn asks, and mostly there is nothing to ask.
    due: usize,
}

#[derive(Default)]
struct Shared {
    questions: VecDeque<(u64, String, u16)>,
    answers: VecDeque<Answer>,
    helpers: usize,
    gone: bool,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // No code that can panic runs while it is held.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver {
    pub(crate) fn new(limits: &Limits, wake: impl Fn() + Send + Sync + 'static) -> Resolver {
        Resolver {
            shared: Arc::default(),
            wake: Arc::new(wake),
            helpers: limits.dns_helpers.max(1),
            queue: limits.dns_queue,
            due: 0,
        }
    }

    pub(crate) fn ask(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        let mut shared = lock(&self.shared);
        if shared.questions.len() >= self.queue {
            return Err(io::Error::other("too many names wait to be resolved; try again later"));
        }
        shared.questions.push_back((id, name.to_owned(), port));
        if shared.helpers < self.helpers {
            let (state, wake) = (Arc::clone(&self.shared), Arc::clone(&self.wake));
            let thread = std::thread::Builder::new().name("moonwire-dns".into());
            match thread.spawn(move || help(&state, &*wake)) {
                Ok(_) => shared.helpers += 1,
                // Another helper will come to it.
                Err(_) if shared.helpers > 0 => {}
                Err(e) => {
                    shared.questions.pop_back();
                    return Err(e);
                }
            }
        }
        self.due += 1;
        Ok(())
    }

    pub(crate) fn answer(&mut self) -> Option<Answer> {
        if self.due == 0 {
            return None;
        }
        let answer = lock(&self.shared).answers.pop_front()?;
        self.due -= 1;
        Some(answer)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        shared.gone = true;
        shared.questions.clear();
    }
}

fn help(shared: &Mutex<Shared>, wake: &Wake) {
    loop {
        let mut state = lock(shared);
        let Some((id, name, port)) = state.questions.pop_front() else {
            state.helpers -= 1;
            return;
        };
        drop(state);
        let answer = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        let mut state = lock(shared);
        if !state.gone {
            state.answers.push_back((id, answer));
            drop(state);
            wake();
        }
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

    /// A helper that has answered is kept busy by a waker that does not come back.
    #[test]
    fn so_many_helpers_ask_and_so_many_names_wait_and_no_more() {
        for (dns_helpers, dns_queue) in [(1, 1), (1, 2), (3, 1), (3, 4)] {
            let limits = Limits { dns_helpers, dns_queue, ..Limits::default() };
            let (sender, woken) = mpsc::channel();
            let (release, gate) = mpsc::channel::<()>();
            let gate = Mutex::new(gate);
            let mut resolver = Resolver::new(&limits, move || {
                sender.send(()).unwrap();
                let _ = gate.lock().map(|gate| gate.recv());
            });
            for id in 0..dns_helpers {
                resolver.ask(id as u64, "127.0.0.1", 80).unwrap();
                woken.recv().unwrap();
            }
            for id in 0..dns_queue {
                resolver.ask(100 + id as u64, "127.0.0.1", 80).unwrap();
            }
            assert!(resolver.ask(200, "127.0.0.1", 80).is_err(), "{limits:?}");
            let state = lock(&resolver.shared);
            assert_eq!((state.helpers, state.questions.len()), (dns_helpers, dns_queue));
            drop(state);
            drop(release);
            // Those that waited are answered.
            (0..dns_queue).for_each(|_| woken.recv().unwrap());
            assert_eq!(std::iter::from_fn(|| resolver.answer()).count(), dns_helpers + dns_queue);
        }
        let none = Limits { dns_queue: 0, ..Limits::default() };
        assert!(Resolver::new(&none, || {}).ask(1, "localhost", 80).is_err());
    }
}
