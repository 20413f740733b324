//! Standard input of scripts, or the embedder's reader in its place. A thread of its own reads it,
//! since files and terminals cannot be polled on every system. The thread starts when a script
//! first reads.
//!
//! ```text
//!   reader ──► the thread ──► pipe, bounded ──► held ──► scripts, a piece at a time
//!                                   refill, once a round of the pump
//! ```
//!
//! Bytes in the pipe reach scripts only with the next round, so that the network and the timers
//! are served however much input there is.

use std::io::{self, BufRead as _, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::collector::LARGE;
use super::link::Link;
use crate::limits::Limits;

/// The most pieces that scripts get in a round: some 100 µs of a script that does little with
/// each.
const ROW: usize = 256;

/// A buffer larger than this is freed once it is empty.
const KEPT: usize = 1 << 20;

/// The kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A line, without the `\n` or `\r\n` at its end.
    Line,
    /// This many bytes, or the rest if fewer are left.
    Bytes(usize),
    /// All bytes that are left.
    All,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<'a> {
    Piece(&'a [u8]),
    /// No byte is left.
    End,
    /// Too few bytes have arrived. The runtime is woken when there are more.
    Wait,
    /// Reading the input failed.
    Problem(String),
}

/// The end of the pipe that scripts read from. Only the VM's thread uses it.
pub(super) struct Input {
    /// The reader, until the thread starts and takes it.
    reader: Option<Box<dyn Read + Send>>,
    pipe: Arc<Pipe>,
    ahead: usize,
    /// The longest piece.
    most: usize,
    retry: Duration,
    held: Held,
    /// Whether the held bytes were not enough for a read. Only then bytes are taken from the pipe,
    /// so that no more are held than necessary.
    short: bool,
    /// How many pieces scripts got in this round.
    given: usize,
    /// Bytes of large pieces that scripts got and that were not reported to the collector yet.
    made: usize,
}

/// Bytes that were taken from the pipe and that no script has got yet.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Scripts have got the bytes before this index.
    start: usize,
    /// There is no line end before this index.
    searched: usize,
    end: Option<End>,
}

/// The end of the input: with the text of an error, or without.
type End = Option<String>;

/// The state that the thread and the scripts' side share.
pub(super) struct Pipe {
    inner: Mutex<Inner>,
    /// Notified when there may be room again, or when the scripts' side was dropped.
    room: Condvar,
    /// Whether the runtime was woken, and has to call `refill`.
    ready: AtomicBool,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    end: Option<End>,
    /// Whether a script waits for more bytes.
    wanted: bool,
    /// Wakes the runtime; `None`: the runtime was dropped.
    link: Option<Link>,
}

impl Pipe {
    /// Whether the runtime was woken for more input.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// No code that can panic runs while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, inner: &mut Inner) {
        inner.wanted = false;
        if let Some(link) = &inner.link {
            self.ready.store(true, Ordering::Release);
            link.call();
        }
    }

    /// Adds bytes, or the end of the input.
    fn put(&self, bytes: &[u8], end: Option<End>) {
        let mut inner = self.lock();
        inner.bytes.extend_from_slice(bytes);
        inner.end = end.or(inner.end.take());
        if inner.wanted {
            self.call(&mut inner);
        }
    }

    /// Waits for room; returns how much there is, or `None` if the scripts' side was dropped.
    fn room(&self, ahead: usize) -> Option<usize> {
        let mut inner = self.lock();
        while inner.link.is_some() && inner.bytes.len() >= ahead {
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.link.is_some().then(|| ahead - inner.bytes.len())
    }
}

impl Input {
    pub(super) fn new(reader: Box<dyn Read + Send>, link: Link, limits: &Limits) -> Input {
        let inner = Inner { link: Some(link), ..Inner::default() };
        let pipe =
            Pipe { inner: Mutex::new(inner), room: Condvar::new(), ready: AtomicBool::new(false) };
        Input {
            reader: Some(reader),
            pipe: Arc::new(pipe),
            // With 0, the thread would never read a byte.
            ahead: limits.input_ahead.max(1),
            most: limits.input_piece.max(1),
            retry: limits.body_retry.max(Duration::from_millis(1)),
            held: Held::default(),
            short: false,
            given: 0,
            made: 0,
        }
    }

    /// Takes the input that a script reads, if it has arrived. Otherwise the thread wakes the
    /// runtime once there is more.
    pub(super) fn take(&mut self, want: Want) -> Taken<'_> {
        if self.given >= ROW {
            // There may be more bytes, but the network and the timers are served first.
            self.call();
            return Taken::Wait;
        }
        match self.held.find(want, self.most) {
            Found::Piece(from, to) => {
                self.given += 1;
                let len = to - from;
                self.made += if len >= LARGE { len } else { 0 };
                Taken::Piece(&self.held.bytes[from..to])
            }
            Found::End => match self.held.end.as_ref() {
                Some(Some(problem)) => Taken::Problem(problem.clone()),
                _ => Taken::End,
            },
            Found::TooLong => Taken::Problem(format!(
                "{} are more than {} bytes (Limits::input_piece): read them with io.read(n)",
                if want == Want::All { "what is left" } else { "the bytes of this line" },
                self.most
            )),
            Found::More => self.ask(),
        }
    }

    /// Wakes the runtime at once.
    pub(super) fn call(&self) {
        self.pipe.call(&mut self.pipe.lock());
    }

    /// Asks the thread to wake the runtime when there are more bytes.
    fn ask(&mut self) -> Taken<'static> {
        if let Err(e) = self.start() {
            return Taken::Problem(format!("no thread to read with could be started ({e})"));
        }
        self.short = true;
        let mut inner = self.pipe.lock();
        if inner.bytes.is_empty() && inner.end.is_none() {
            inner.wanted = true;
        } else {
            self.pipe.call(&mut inner);
        }
        Taken::Wait
    }

    fn start(&mut self) -> io::Result<()> {
        let Some(reader) = self.reader.take() else { return Ok(()) };
        let thread = Thread {
            pipe: Arc::clone(&self.pipe),
            ahead: self.ahead,
            retry: self.retry,
            ended: false,
        };
        std::thread::Builder::new()
            .name("moonwire-input".into())
            .spawn(move || thread.run(reader))
            .map(drop)
    }

    /// Takes over the bytes that the thread has read, if the runtime was woken for them
    /// ([`Pipe::is_ready`]). Returns the bytes of large strings created since the last call.
    pub(super) fn refill(&mut self) -> usize {
        let mut inner = self.pipe.lock();
        self.pipe.ready.store(false, Ordering::Release);
        self.given = 0;
        if std::mem::take(&mut self.short) {
            self.held.add(&mut inner.bytes);
            self.held.end.clone_from(&inner.end);
            self.pipe.room.notify_one();
        }
        drop(inner);
        std::mem::take(&mut self.made)
    }

    pub(super) fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// How many bytes are held for scripts.
    pub(super) fn held(&self) -> usize {
        self.held.bytes.len() - self.held.start
    }
}

impl Drop for Input {
    /// The thread ends when its current read has returned.
    fn drop(&mut self) {
        let link = self.pipe.lock().link.take();
        self.pipe.room.notify_one();
        // `link` may be the last reference to the reactor.
        drop(link);
    }
}

enum Found {
    /// The bytes from the first index to the second; no later read returns them.
    Piece(usize, usize),
    End,
    More,
    TooLong,
}

impl Held {
    fn add(&mut self, bytes: &mut Vec<u8>) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
            std::mem::swap(&mut self.bytes, bytes);
            (self.start, self.searched) = (0, 0);
            return;
        }
        self.bytes.drain(..self.start);
        self.searched = self.searched.saturating_sub(self.start);
        self.start = 0;
        self.bytes.append(bytes);
    }

    fn find(&mut self, want: Want, most: usize) -> Found {
        let (start, all) = (self.start, self.bytes.len());
        let left = all - start;
        if left == 0 && self.end.is_some() {
            return Found::End;
        }
        match want {
            Want::Line => self.line(most),
            Want::Bytes(n) if left >= n => self.give(start + n, start + n),
            Want::All if left > most => Found::TooLong,
            _ if self.end.is_some() => self.give(all, all),
            _ => Found::More,
        }
    }

    fn line(&mut self, most: usize) -> Found {
        let (start, all) = (self.start, self.bytes.len());
        let from = self.searched.max(start);
        // Reading from a slice cannot fail.
        let passed = (&self.bytes[from..]).skip_until(b'\n').unwrap_or_default();
        let after = from + passed;
        let found = passed > 0 && self.bytes[after - 1] == b'\n';
        let mut end = after - usize::from(found);
        // A carriage return belongs to the line end if a line feed follows, or still may follow.
        // At the end of the input, it belongs to the line.
        if (found || self.end.is_none()) && end > start && self.bytes[end - 1] == b'\r' {
            end -= 1;
        }
        // These bytes need not be searched again if the line is not taken.
        self.searched = after - usize::from(found);
        if end - start > most {
            Found::TooLong
        } else if found || self.end.is_some() {
            self.give(end, after)
        } else {
            debug_assert_eq!(after, all);
            Found::More
        }
    }

    /// Returns the bytes up to `end`, and skips those up to `next`.
    fn give(&mut self, end: usize, next: usize) -> Found {
        let start = std::mem::replace(&mut self.start, next);
        Found::Piece(start, end)
    }
}

/// The thread that reads.
struct Thread {
    pipe: Arc<Pipe>,
    ahead: usize,
    retry: Duration,
    ended: bool,
}

impl Thread {
    fn run(mut self, mut reader: Box<dyn Read + Send>) {
        let mut piece = vec![0; self.ahead.min(KEPT)];
        while let Some(room) = self.pipe.room(self.ahead) {
            let room = room.min(piece.len());
            match reader.read(&mut piece[..room]) {
                Ok(0) => return self.end(None),
                // A reader of the embedder may return a wrong count.
                Ok(n) => self.pipe.put(&piece[..n.min(room)], None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(self.retry),
                Err(e) => return self.end(Some(e.to_string())),
            }
        }
        self.ended = true;
    }

    fn end(&mut self, why: End) {
        self.ended = true;
        self.pipe.put(&[], Some(why));
    }
}

impl Drop for Thread {
    /// Also runs after a panic of the reader: a waiting script must not wait for ever.
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some("its reader has panicked".to_owned()));
        }
    }
}
