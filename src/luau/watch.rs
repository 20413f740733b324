//! Stops a script that runs for too long without a pause, or when a script has called `exit`.
//!
//! The time starts when the scheduler calls or resumes a script, and includes functions that the
//! script itself resumes or spawns, however often. The clock is read at every safepoint, since a
//! call of a library between two of them may take any time. Only code that the runtime itself runs
//! is watched ([`Watch::enter`]); code that an embedder calls, or that its output or source of
//! secrets runs ([`Watch::leave`]), is not. Functions of the prelude are recognised by their
//! environment, which no script can get; never by a name, which a script can choose.

use std::ffi::c_void;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mlua::debug::Debug;
use mlua::{Function, Lua, RegistryKey, Table, VmState};

/// The prefix of the chunk names of the prelude.
pub(super) const CHUNK: &str = "=[moonwire]";

/// At least this often, the watch checks whether the scheduler has gone on to another script. So a
/// script is stopped at most this much after its limit, and after the end of a library call.
const LATEST: Duration = Duration::from_millis(10);

/// Watches the scripts of a VM. Only the VM's thread uses it.
pub(super) struct Watch {
    limit: Option<Duration>,
    /// Whether scripts have `exit`, and whether a script has called it.
    exits: bool,
    ended: AtomicBool,
    epoch: Instant,
    prelude: OnceLock<PreludeValues>,
    /// Whether the runtime is running scripts.
    on: AtomicBool,
    /// Whether the last check found the limit exceeded.
    late: AtomicBool,
    /// In nanoseconds since `epoch`: when the running script began, and when the last check was.
    began: AtomicU64,
    looked: AtomicU64,
    /// The scheduler's count at the last check, as the bits of a double.
    beat: AtomicU64,
}

/// Values of the prelude that the watch needs.
struct PreludeValues {
    /// `beat[1]` has another number for each piece of work of the scheduler.
    beat: RegistryKey,
    /// The environment of all functions of the prelude, as an address.
    environment: usize,
}

impl PreludeValues {
    fn beat(&self, lua: &Lua) -> mlua::Result<f64> {
        lua.registry_value::<Table>(&self.beat)?.raw_get(1)
    }
}

impl Watch {
    /// `exits`: scripts have `exit` ([`Watch::end`]).
    pub(super) fn new(limit: Option<Duration>, exits: bool) -> Arc<Watch> {
        Arc::new(Watch {
            limit,
            exits,
            ended: AtomicBool::new(false),
            epoch: Instant::now(),
            prelude: OnceLock::new(),
            on: AtomicBool::new(false),
            late: AtomicBool::new(false),
            began: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            beat: AtomicU64::new(0),
        })
    }

    /// Whether there is a limit.
    pub(super) fn is_set(&self) -> bool {
        self.limit.is_some()
    }

    /// Begins to watch, if there is a limit or scripts have `exit`.
    pub(super) fn start(
        self: &Arc<Self>,
        lua: &Lua,
        beat: Table,
        environment: *const c_void,
    ) -> mlua::Result<()> {
        if !self.is_needed() {
            return Ok(());
        }
        let beat = lua.create_registry_value(beat)?;
        // `start` is called only once, so this was not set before.
        let _ = self.prelude.set(PreludeValues { beat, environment: environment as usize });
        if self.is_set() {
            self.interrupt(lua);
        }
        Ok(())
    }

    fn interrupt(self: &Arc<Self>, lua: &Lua) {
        let its = Arc::clone(self);
        lua.set_interrupt(move |lua| {
            let text = match () {
                () if its.has_ended() && its.on.load(Relaxed) => "the run has ended".to_owned(),
                () if its.is_late(lua) => its.text(),
                () => return Ok(VmState::Continue),
            };
            match its.place(lua) {
                Some(place) => Err(mlua::Error::external(Late { place, text })),
                None => Ok(VmState::Continue),
            }
        });
    }

    /// Whether the watch has to know when scripts run.
    fn is_needed(&self) -> bool {
        self.is_set() || self.exits
    }

    /// Whether scripts have `exit`.
    pub(super) fn exits(&self) -> bool {
        self.exits
    }

    /// From now on an error is raised in each script that runs, until the script ends.
    pub(super) fn end(self: &Arc<Self>, lua: &Lua) {
        self.ended.store(true, Relaxed);
        if !self.is_set() {
            self.interrupt(lua);
        }
    }

    /// Whether a script has called `exit`.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Until the guard is dropped, the runtime is running scripts.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Guard> {
        let guard = self.turn(true);
        if guard.is_some() && self.is_set() {
            let now = self.now();
            self.began.store(now, Relaxed);
            self.looked.store(now, Relaxed);
            self.late.store(false, Relaxed);
        }
        guard
    }

    /// Until the guard is dropped, code of the embedder is running, which may use the VM.
    pub(super) fn leave(self: &Arc<Self>) -> Option<Guard> {
        self.turn(false)
    }

    fn turn(self: &Arc<Self>, on: bool) -> Option<Guard> {
        self.is_needed().then(|| Guard { was: self.on.swap(on, Relaxed), watch: Arc::clone(self) })
    }

    /// Why the script has to stop, if it has to; for natives that may take long.
    pub(super) fn check(&self, lua: &Lua) -> Result<(), String> {
        if self.is_late(lua) { Err(self.text()) } else { Ok(()) }
    }

    fn text(&self) -> String {
        let limit = self.limit.unwrap_or_default();
        format!("the script ran for more than {limit:?} without a pause")
    }

    fn now(&self) -> u64 {
        let time = self.epoch.elapsed();
        time.as_secs() * 1_000_000_000 + u64::from(time.subsec_nanos())
    }

    fn is_late(&self, lua: &Lua) -> bool {
        let (true, Some(limit)) = (self.on.load(Relaxed), self.limit) else { return false };
        let now = self.now();
        let apart = u128::from(now - self.looked.load(Relaxed));
        if apart < LATEST.min(limit / 8).as_nanos() && !self.late.load(Relaxed) {
            return false;
        }
        self.looked.store(now, Relaxed);
        let beat = self
            .prelude
            .get()
            .and_then(|values| values.beat(lua).ok())
            .unwrap_or_default()
            .to_bits();
        if self.beat.swap(beat, Relaxed) != beat {
            self.began.store(now, Relaxed);
        }
        let late = u128::from(now - self.began.load(Relaxed)) > limit.as_nanos();
        self.late.store(late, Relaxed);
        late
    }

    /// The position of the script, as the prefix of an error; `None` while a function of the
    /// prelude runs, which an error would interrupt at any point.
    fn place(&self, lua: &Lua) -> Option<String> {
        // The caller of a C function counts, not the C function itself.
        let frame = |debug: &Debug<'_>| {
            let source = debug.source();
            if source.what == "C" {
                return None;
            }
            let line = debug.current_line().unwrap_or_default();
            let place = format!("{}:{line}: ", source.short_src.unwrap_or_default());
            Some((debug.function(), place))
        };
        let mut level = 0;
        while let Some(frame) = lua.inspect_stack(level, frame) {
            if let Some((function, place)) = frame {
                let own =
                    self.prelude.get().is_some_and(|values| is_in(&function, values.environment));
                return (!own).then_some(place);
            }
            level += 1;
        }
        // A thread that has only C functions is a script's.
        Some(String::new())
    }
}

/// Whether the environment of a function has that address.
pub(super) fn is_in(function: &Function, environment: usize) -> bool {
    function.environment().is_some_and(|env| env.to_pointer() as usize == environment)
}

/// Restores the previous state when dropped.
pub(super) struct Guard {
    watch: Arc<Watch>,
    was: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.watch.on.store(self.was, Relaxed);
    }
}

/// The error value that is raised.
#[derive(Debug)]
struct Late {
    place: String,
    text: String,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.text)
    }
}

impl std::error::Error for Late {}
