//! Stops a script that runs for too long without a pause.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mlua::{Lua, Table, VmState};

use super::host::lock;

/// Begins the names of the prelude's chunks.
pub(super) const CHUNK: &str = "=[moonwire]";

/// So many safepoints pass between two looks at the clock, which costs more than they do.
const LOOK: u32 = 256;

/// Watches the scheduler's count of resumptions (`beat[1]`): one that stays the same for longer
/// than `limit` is raised at, at every safepoint until it changes.
pub(super) fn watch(lua: &Lua, beat: Table, limit: Duration) {
    let (calls, over) = (AtomicU32::new(0), AtomicBool::new(false));
    let seen = Mutex::new((f64::NAN, Instant::now()));
    lua.set_interrupt(move |lua| {
        let due = calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK);
        if !due && !over.load(Ordering::Relaxed) {
            return Ok(VmState::Continue);
        }
        let now: f64 = beat.raw_get(1)?;
        let mut seen = lock(&seen);
        if seen.0 != now {
            *seen = (now, Instant::now());
        }
        let late = seen.1.elapsed() > limit;
        over.store(late, Ordering::Relaxed);
        if late && !in_prelude(lua) {
            let text = format!("the script ran for more than {limit:?} without a pause");
            return Err(mlua::Error::runtime(text));
        }
        Ok(VmState::Continue)
    });
}

/// Whether the code that runs is our own, which a raise in the middle could leave half done.
fn in_prelude(lua: &Lua) -> bool {
    let own = |debug: &mlua::debug::Debug<'_>| {
        debug.source().source.is_some_and(|source| source.starts_with(CHUNK))
    };
    lua.inspect_stack(0, own).unwrap_or(true)
}
