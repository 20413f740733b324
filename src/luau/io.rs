//! The streams of the global `io` ([`Options::io`](super::Options::io)).

use std::fmt;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use mlua::MaybeSend;

use super::input::{Input, Pipe};
use super::link::Link;
use crate::limits::Limits;

/// A writer that the thread of the VM calls.
trait Sink: Write + MaybeSend {}

impl<W: Write + MaybeSend> Sink for W {}

/// The streams that scripts read and write with the global `io`: in the command, the standard
/// streams; in a program, any streams.
///
/// ```
/// use moonwire::luau::{Io, Line, Options, Runtime};
///
/// let input = std::io::Cursor::new("one\ntwo\n");
/// let io = Io::new(input, std::io::sink(), std::io::sink());
/// let options = Options::new(|line: Line<'_>| println!("{line}")).io(io);
/// let mut runtime = Runtime::new(options)?;
/// runtime.spawn("count", "local n = 0 for _ in io.lines() do n += 1 end assert(n == 2)", ())?;
/// runtime.run()?;
/// assert!(!runtime.has_raised());
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
pub struct Io {
    input: Box<dyn Read + Send>,
    output: Box<dyn Sink>,
    errors: Box<dyn Sink>,
}

impl Io {
    /// `input` is for `io.read` and `io.lines`, and the outputs are for `io.write` and `io.stderr`.
    ///
    /// A thread of its own reads `input`. It starts when a script first reads, and reads at most
    /// [`Limits::input_ahead`](crate::Limits::input_ahead) bytes ahead. If the runtime is dropped
    /// during a read, the thread ends after that read. After `WouldBlock` it waits for
    /// [`Limits::body_retry`](crate::Limits::body_retry) before it reads again.
    ///
    /// The VM's thread calls the writers, with one `write_all` and one `flush` for each call of a
    /// script, which waits meanwhile. An error of a writer is raised in the script.
    pub fn new(
        input: impl Read + Send + 'static,
        output: impl Write + MaybeSend + 'static,
        errors: impl Write + MaybeSend + 'static,
    ) -> Io {
        Io { input: Box::new(input), output: Box::new(output), errors: Box::new(errors) }
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

/// The streams of a runtime.
pub(super) struct Streams {
    input: Mutex<Input>,
    /// The pipe of the input, which can be checked without a lock.
    pipe: Arc<Pipe>,
    output: Mutex<Box<dyn Sink>>,
    errors: Mutex<Box<dyn Sink>>,
}

impl Streams {
    pub(super) fn new(io: Io, link: Link, limits: &Limits) -> Streams {
        let input = Input::new(io.input, link, limits);
        Streams {
            pipe: Arc::clone(input.pipe()),
            input: Mutex::new(input),
            output: Mutex::new(io.output),
            errors: Mutex::new(io.errors),
        }
    }

    /// Whether there is new input for waiting scripts.
    pub(super) fn is_ready(&self) -> bool {
        self.pipe.is_ready()
    }

    /// No code that can panic runs while the lock is held.
    pub(super) fn input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all bytes at once; returns an error as text.
    pub(super) fn write(&self, to_errors: bool, bytes: &[u8]) -> Result<(), String> {
        let writer = if to_errors { &self.errors } else { &self.output };
        let mut writer = match writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err("its writer is writing, and has called this script meanwhile".into());
            }
        };
        writer.write_all(bytes).and_then(|()| writer.flush()).map_err(|e| e.to_string())
    }
}
