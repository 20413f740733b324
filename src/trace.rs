//! Observers: every frame and every change of state, as readable lines.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::proto::Note;

/// An item of the trace of one connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Trace<'a> {
    /// A change of state, as text.
    State(&'a str),
    /// A head or a frame.
    Note(&'a Note),
}

/// Receives every item. The reactor calls it, so it has to be quick, and it must not call the
/// reactor.
pub trait Observer: Send {
    /// Receives an item of connection number `connection`.
    fn observe(&mut self, now: Instant, connection: u64, trace: Trace<'_>);

    /// Returns another observer that forwards to this one, for a clone of a
    /// [`Config`](crate::Config). If it returns `None`, as by default, the clone has no observer.
    /// `Arc<Mutex<O>>` returns a clone of itself.
    fn share(&self) -> Option<Box<dyn Observer>> {
        None
    }
}

/// One observer for several reactors. It is called while its lock is held, and still called after
/// it has panicked.
impl<O: Observer + ?Sized + 'static> Observer for Arc<Mutex<O>> {
    fn observe(&mut self, now: Instant, connection: u64, trace: Trace<'_>) {
        let mut observer = self.lock().unwrap_or_else(PoisonError::into_inner);
        observer.observe(now, connection, trace);
    }

    fn share(&self) -> Option<Box<dyn Observer>> {
        Some(Box::new(Arc::clone(self)))
    }
}

/// An observer that writes one line for each item: seconds since its start, connection, direction,
/// item.
///
/// Values of fields that identify somebody (such as `Authorization`, `Cookie`, and names that end
/// in `-key`, `-token` or `-secret`) are masked, and so are the queries and fragments of URLs.
///
/// ```
/// # #[cfg(feature = "net")] {
/// use moonwire::{Config, trace::Lines};
///
/// let config = Config { observer: Some(Box::new(Lines::new(std::io::stderr()))), ..Config::default() };
/// # drop(config);
/// # }
/// ```
#[derive(Debug)]
pub struct Lines<W> {
    to: W,
    start: Instant,
}

impl<W: Write> Lines<W> {
    /// Writes lines to `to`. Errors of the writer are ignored, since there is no caller to which
    /// they could be returned.
    pub fn new(to: W) -> Lines<W> {
        Lines { to, start: Instant::now() }
    }
}

impl<W: Write + Send> Observer for Lines<W> {
    fn observe(&mut self, now: Instant, connection: u64, trace: Trace<'_>) {
        let time = now.saturating_duration_since(self.start).as_secs_f64();
        let text = match trace {
            Trace::State(state) => format!("-- {state}"),
            Trace::Note(note) => note.to_string(),
        };
        let _ = writeln!(self.to, "{time:10.6} #{connection} {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Direction, Opcode};

    #[test]
    fn secrets_are_masked_and_bytes_escaped() {
        // FAULTS 32.
        let bytes = b"GET /chat?token=abc HTTP/1.1\r\nHost: a\r\nauthorization: Bearer abc\r\n\
            Cookie: id=abc\r\nX: \x1b[2J\r\n\r\n"
            .to_vec();
        let text = Note::Head { direction: Direction::Out, bytes }.to_string();
        assert_eq!(
            text,
            "-> head GET /chat?*** HTTP/1.1 | Host: a | authorization: *** | Cookie: *** | \
             X: \\x1b[2J"
        );
        assert!(!text.contains("abc"));
    }

    #[test]
    fn an_observer_behind_a_lock_is_shared_and_no_other() {
        assert!(Lines::new(Vec::new()).share().is_none());
        let one = Arc::new(Mutex::new(Lines::new(Vec::new())));
        let mut all: Vec<Box<dyn Observer>> = vec![Box::new(Arc::clone(&one))];
        all.extend(one.share());
        all.extend(all[1].share());
        assert_eq!(all.len(), 3);
        for (number, observer) in (0..).zip(&mut all) {
            observer.observe(Instant::now(), number, Trace::State("open"));
        }
        let text = String::from_utf8(one.lock().unwrap().to.clone()).unwrap();
        let ends: Vec<_> =
            text.lines().map(|line| line.trim_start().split_once(' ').unwrap().1).collect();
        assert_eq!(ends, ["#0 -- open", "#1 -- open", "#2 -- open"]);
    }

    #[test]
    fn a_frame_is_one_line() {
        let note = Note::Frame {
            direction: Direction::In,
            fin: true,
            opcode: Opcode::Text,
            len: 100,
            start: b"a\r\n\xFF".to_vec(),
        };
        assert_eq!(note.to_string(), "<- text fin 100 \"a\\r\\n\\xff…\"");
    }
}
