//! Makes Luau's garbage collector keep pace with large strings, and keeps freed memory on request.
//!
//! Luau does one step of about 2 KiB of work per allocation, however large the allocation is. So a
//! string of 1 MiB causes as much work as one of 1 KiB. While the collector marks 64 MB of small
//! tables, which takes 32,000 steps, it frees no garbage. Here a large string causes steps in
//! proportion to its length; but no cycle starts before the garbage is in proportion to the live
//! bytes, since each cycle marks all live bytes again.

use mlua::Lua;

/// A string of at least this many bytes counts: for a shorter one, the one step at its allocation
/// is about enough.
pub(super) const LARGE: usize = 4 * 1024;

/// A cycle starts only if there are at least this many bytes of garbage, and this many eighths of
/// the live bytes. With the bytes allocated while a cycle marks, memory then stays below twice the
/// live bytes plus a little. The first number is small enough for a cache: new strings are cheaper
/// there than in memory that is used for the first time.
const SPARED: usize = 2 * 1024 * 1024;
const SPARED_EIGHTHS: usize = 2;

/// While a cycle runs, each of this many bytes causes a step of 2 KiB: twice the pace of Luau's
/// defaults (`LUAI_GCSTEPMUL`). So scripts allocate a quarter of the live bytes while the collector
/// marks those.
const STEP: usize = 512;

/// If the VM has a memory limit and this many eighths of it are in use, all garbage is collected at
/// once; but not if it is less than `FLOOR`, since a full collection marks all live bytes.
const NEAR_EIGHTHS: usize = 7;
const FLOOR: usize = 1024 * 1024;

/// Once this many bytes of large strings were created, freed memory stays with the process
/// (`Options::keep_freed_memory`). Before, it comes and goes page by page, which costs some 10 ms
/// in all; so a process that needed much only once, for compression say, gives it back.
const CHURN: usize = 32 * 1024 * 1024;

/// glibc gives back the free memory at the end of its heap from 128 KiB on. When a block is freed
/// that was mapped by itself, glibc raises that bound to twice the block's size. This block is not
/// written to, so it costs two system calls and no memory. Other allocators just free it.
fn keep_freed_memory() {
    const BLOCK: usize = 16 * 1024 * 1024;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

/// The work that the collector owes for large strings of one VM.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Bytes in use when this code last ended a cycle.
    live: usize,
    /// Bytes of large strings since then, but at most the increase of the bytes in use.
    garbage: usize,
    stage: Stage,
    /// The memory limit of the VM in bytes, if it has one. Garbage counts towards it, and Luau
    /// refuses an allocation without collecting first.
    limit: Option<usize>,
    /// Bytes of large strings until freed memory stays; `None`: it stays already, or never will.
    churn: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is too little garbage for a cycle.
    #[default]
    Waits,
    /// A cycle runs, and continues to its end: objects that are made while it sweeps survive it.
    Runs,
    /// The second of two consecutive cycles runs.
    Again,
}

impl Collector {
    /// `limit` is the memory limit of the VM; `keeps`: freed memory is to stay with the process.
    pub(super) fn new(limit: Option<usize>, keeps: bool) -> Collector {
        Collector { limit, churn: keeps.then_some(CHURN), ..Collector::default() }
    }

    /// Records that strings or buffers of these lengths were created.
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

    /// Whether the memory in use is so near the limit that steps might come too late.
    fn is_near_the_limit(&self, lua: &Lua) -> bool {
        let near = |limit: usize| lua.used_memory() > limit / 8 * NEAR_EIGHTHS;
        self.garbage >= FLOOR && self.limit.is_some_and(near)
    }

    fn pay(&mut self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if self.stage == Stage::Waits {
            // A cycle of Luau's own may have freed bytes since, or a script may have released some.
            let used = lua.used_memory();
            self.live = self.live.min(used);
            self.garbage = self.garbage.min(used - self.live);
            if self.garbage < self.spared() && !self.is_near_the_limit(lua) {
                return Ok(());
            }
            self.stage = Stage::Runs;
        }
        // A step would restart a collector that the embedder has stopped.
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

    /// Records that a cycle has ended with this many bytes in use. If it has freed less than half
    /// of the garbage, then either the rest is alive, or Luau had begun the cycle before most of
    /// the garbage existed: another cycle shows which.
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

    /// Freed memory stays after 32 MiB of large strings, and only if the option asks for it.
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
