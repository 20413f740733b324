//! Standard input of scripts, or what an embedder has in its place: a thread of its own reads it, since
//! neither a file nor a terminal can be waited for everywhere. There is none before the first read.
//!
//! ```text
//!   reader ──► the thread ──► pipe, bounded ──► held ──► scripts, a piece at a time
//!                                   refill, once a round of the pump
//! ```
//!
//! What is in the pipe reaches scripts with the next round only, so that the network and the timers have
//! their turn however much there is to read.

use std::io::{self, BufRead as _, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::collector::LARGE;
use super::link::Link;
use crate::limits::Limits;

/// So many pieces are given in a round: some 100 µs of a script that does little with each.
const ROW: usize = 256;

/// What was held by a buffer that is larger than this is given back once it is empty.
const KEPT: usize = 1 << 20;

/// What a script wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A line, without the `\n` or `\r\n` behind it.
    Line,
    /// So many bytes, or what is left.
    Bytes(usize),
    /// All that is left.
    All,
}

/// What there is of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<'a> {
    Piece(&'a [u8]),
    /// Nothing is left.
    End,
    /// Not all of it is there. The runtime is woken when there is more.
    Wait,
    /// It cannot be had.
    Problem(String),
}

/// The side of the scripts. Only the VM's thread uses it.
pub(super) struct Input {
    /// Until its thread is started.
    reader: Option<Box<dyn Read + Send>>,
    pipe: Arc<Pipe>,
    ahead: usize,
    /// The longest piece.
    most: usize,
    retry: Duration,
    held: Held,
    /// What is held was not enough: only then is more taken over, so that no more than that is held.
    short: bool,
    /// Pieces that were given in this round.
    given: usize,
    /// Bytes of large pieces that were given and not paid for.
    made: usize,
}

/// Bytes that were taken from the pipe, and not given to scripts.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// What lies before it was given.
    start: usize,
    /// Up to here there is no line end.
    searched: usize,
    end: Option<End>,
}

/// How the input ends: with an error, or without.
type End = Option<String>;

/// What the thread and the scripts share.
pub(super) struct Pipe {
    inner: Mutex<Inner>,
    /// There may be room again, or nobody is left to read for.
    room: Condvar,
    /// The runtime was called, and is to ask for what there is.
    ready: AtomicBool,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    end: Option<End>,
    /// A script waits for more.
    wanted: bool,
    /// The way to the runtime; `None`: it is gone.
    link: Option<Link>,
}

impl Pipe {
    /// Whether the runtime was called for more.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// No code that can panic runs while it is held.
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

    /// Adds what has come, or the end.
    fn put(&self, bytes: &[u8], end: Option<End>) {
        let mut inner = self.lock();
        inner.bytes.extend_from_slice(bytes);
        inner.end = end.or(inner.end.take());
        if inner.wanted {
            self.call(&mut inner);
        }
    }

    /// Waits for room; how much there is, or `None` if nobody is left to read for.
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
            // With less, nothing would ever move.
            ahead: limits.input_ahead.max(1),
            most: limits.input_piece.max(1),
            retry: limits.body_retry.max(Duration::from_millis(1)),
            held: Held::default(),
            short: false,
            given: 0,
            made: 0,
        }
    }

    /// Takes what a script wants, if it is there. If it is not, the pipe will be ready
    /// at some later time, and the wait of the runtime is ended for it.
    pub(super) fn take(&mut self, want: Want) -> Taken<'_> {
        if self.given >= ROW {
            // There may be more, but others come first.
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

    /// Has the runtime called at once.
    pub(super) fn call(&self) {
        self.pipe.call(&mut self.pipe.lock());
    }

    /// Has the runtime called when there is more.
    fn ask(&mut self) -> Taken<'static> {
        if let Err(e) = self.start() {
            return Taken::Problem(format!("there is no thread to read with ({e})"));
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

    /// Takes over what the thread has read, when the runtime was called for it ([`Pipe::is_ready`]). Bytes
    /// of large strings that were made before.
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

    /// How many bytes wait here for a script.
    pub(super) fn held(&self) -> usize {
        self.held.bytes.len() - self.held.start
    }
}

impl Drop for Input {
    /// The thread ends as soon as the reader gives something.
    fn drop(&mut self) {
        let link = self.pipe.lock().link.take();
        self.pipe.room.notify_one();
        // It may be the last one to the reactor.
        drop(link);
    }
}

enum Found {
    /// It has these bytes, and is given with that.
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
        // A slice is read without an error.
        let passed = (&self.bytes[from..]).skip_until(b'\n').unwrap_or_default();
        let after = from + passed;
        let found = passed > 0 && self.bytes[after - 1] == b'\n';
        let mut end = after - usize::from(found);
        // At the end of the input alone, a carriage return without its line feed is sure to be one.
        if (found || self.end.is_none()) && end > start && self.bytes[end - 1] == b'\r' {
            end -= 1;
        }
        // Searched once, if it is not taken.
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

    /// The bytes up to `end`, and those up to `next` are done with.
    fn give(&mut self, end: usize, next: usize) -> Found {
        let start = std::mem::replace(&mut self.start, next);
        Found::Piece(start, end)
    }
}

/// The thread's side.
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
                // A reader that counts wrong is the embedder's.
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
    /// Also where the reader has panicked: who waits must not wait for ever.
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some("its reader has panicked".to_owned()));
        }
    }
}
