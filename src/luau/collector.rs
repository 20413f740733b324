//! What large strings cause: steps of Luau's garbage collector, and that freed memory is kept.
//!
//! Luau does one step of about 2 KiB of work per allocation, however large the allocation is. So a
//! string of 1 MiB causes as much work as one of 1 KiB, and while 64 MB of small tables are marked,
//! which takes 32,000 steps, no garbage is freed. Here a large string causes steps in proportion to
//! its length; but not before there is garbage in proportion to the live bytes, since each cycle
//! marks all of those again.

use mlua::Lua;

/// A string of this many bytes counts: for shorter ones, the one step at their allocation is about
/// enough.
pub(super) const LARGE: usize = 4 * 1024;

/// No cycle starts below this many bytes of garbage, nor below this many eighths of the live bytes.
/// With the bytes allocated while a cycle marks those, memory stays below twice the live bytes and
/// a little. The first number is small enough for a cache: new strings are cheaper there than in
/// memory that is touched for the first time.
const SPARED: usize = 2 * 1024 * 1024;
const SPARED_EIGHTHS: usize = 2;

/// While a cycle runs, each of this many bytes causes a step of 2 KiB: twice the pace of Luau's
/// defaults (`LUAI_GCSTEPMUL`), so that a quarter of the live bytes is allocated while those are
/// marked.
const STEP: usize = 512;

/// If memory is limited and this many eighths of it are in use, all garbage is collected at once,
/// but not for less garbage than `FLOOR`: a full collection marks all live bytes.
const NEAR_EIGHTHS: usize = 7;
const FLOOR: usize = 1024 * 1024;

/// Once so many bytes of large strings were created, freed memory stays with the process
/// (`Options::keep_freed_memory`). Before, it comes and goes page by page, which costs some 10 ms in
/// all; and a process that needed much once, for states of compression say, gives it back.
const CHURN: usize = 32 * 1024 * 1024;

/// glibc gives back what is freed at the end of its heap from 128 KiB on. A block that was large
/// enough to be mapped by itself, and is freed, moves that bound to twice its size. It is not
/// touched, so it costs two system calls and no memory. Other allocators just free it.
fn keep_freed_memory() {
    const BLOCK: usize = 16 * 1024 * 1024;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

/// The collector's debt for large strings of one VM.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Bytes in use when a cycle last ended here.
    live: usize,
    /// Bytes of large strings since then, but no more than the increase of bytes in use.
    garbage: usize,
    stage: Stage,
    /// The memory limit of the VM in bytes, if it has one: garbage counts towards it, and Luau does
    /// not collect before it refuses memory.
    limit: Option<usize>,
    /// Bytes of large strings until freed memory is kept, if it is to be and is not yet.
    churn: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is not enough garbage yet.
    #[default]
    Waits,
    /// A cycle is in progress, and goes on to its end: objects made while it sweeps outlive it.
    Runs,
    /// The second of two consecutive cycles.
    Again,
}

impl Collector {
    /// With the memory limit of the VM, and whether freed memory is to stay with the process.
    pub(super) fn new(limit: Option<usize>, keeps: bool) -> Collector {
        Collector { limit, churn: keeps.then_some(CHURN), ..Collector::default() }
    }

    /// Strings or buffers of these lengths were created.
    #[inline]
    pub(super) fn made(&mut self, lua: &Lua, lengths: &[usize]) -> mlua::Result<()> {
        let bytes: usize = lengths.iter().filter(|len| **len >= LARGE).sum();
        if bytes == 0 { Ok(()) } else { self.owe(lua, bytes) }
    }

    fn owe(&mut self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if let Some(left) = self.churn {
            self.churn = left.checked_sub(bytes);
            if self.churn.is_none() {
                keep_freed_memory();
            }
        }
        self.garbage = self.garbage.saturating_add(bytes);
        let waits = self.stage == Stage::Waits && self.garbage < self.spared();
        if waits && !self.is_near_the_limit(lua) { Ok(()) } else { self.pay(lua, bytes) }
    }

    fn spared(&self) -> usize {
        SPARED.saturating_add(self.live / 8 * SPARED_EIGHTHS)
    }

    /// Whether memory in use is so near to the limit that there may be no time for steps.
    fn is_near_the_limit(&self, lua: &Lua) -> bool {
        let near = |limit: usize| lua.used_memory() > limit / 8 * NEAR_EIGHTHS;
        self.garbage >= FLOOR && self.limit.is_some_and(near)
    }

    fn pay(&mut self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if self.stage == Stage::Waits {
            // One of Luau's own cycles may have freed bytes since, or a script have released some.
            let used = lua.used_memory();
            self.live = self.live.min(used);
            self.garbage = self.garbage.min(used - self.live);
            if self.garbage < self.spared() && !self.is_near_the_limit(lua) {
                return Ok(());
            }
            self.stage = Stage::Runs;
        }
        // A step would restart a collector that an embedder has stopped.
        if !lua.gc_is_running() {
            return Ok(());
        }
        if self.is_near_the_limit(lua) {
            lua.gc_collect()?;
            (self.live, self.garbage, self.stage) = (lua.used_memory(), 0, Stage::Waits);
            return Ok(());
        }
        for _ in 0..bytes.div_ceil(STEP) {
            if lua.gc_step()? {
                self.end(lua.used_memory());
                break;
            }
        }
        Ok(())
    }

    /// A cycle has ended with this many bytes in use. If it has freed less than half of the
    /// garbage, either that is alive or Luau had begun the cycle before most of it existed: another
    /// cycle shows which.
    fn end(&mut self, used: usize) {
        let again = self.stage == Stage::Runs && used.saturating_sub(self.live) > self.garbage / 2;
        self.stage = if again { Stage::Again } else { Stage::Waits };
        if !again {
            (self.live, self.garbage) = (used, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Freed memory is kept from 32 MiB of large strings on, and never unless it was asked for.
    #[test]
    fn freed_memory_is_kept_after_much_of_it() {
        let lua = Lua::new();
        let mut collector = Collector::new(None, true);
        for len in [LARGE - 1, LARGE, CHURN - LARGE] {
            collector.made(&lua, &[len]).unwrap();
        }
        assert_eq!(collector.churn, Some(0));
        collector.made(&lua, &[LARGE]).unwrap();
        assert_eq!(collector.churn, None);

        let mut collector = Collector::new(None, false);
        collector.made(&lua, &[2 * CHURN]).unwrap();
        assert_eq!(collector.churn, None);
    }
}
