//! The steps of Luau's collector that large strings have to pay for.
//!
//! Luau does one step of about 2 KiB of work at an allocation, however large that is. So a string of
//! 1 MiB pays as much as one of 1 KiB, and while 64 MB of small tables are marked, which takes 32,000
//! steps, nothing that is dropped is freed. Here a large string pays for its length; but not before
//! there is garbage in proportion to what lives, since each cycle marks all that lives again.

use mlua::Lua;

/// A string of so many bytes counts: below, the one step at its allocation is about what it owes.
pub(super) const LARGE: usize = 4 * 1024;

/// So many bytes of garbage are left alone whatever lives, and so many eighths of what lives. With what
/// comes while a cycle marks that, memory stays below twice what lives and a little. The first is
/// small enough for a cache: new strings are cheaper there than in memory that is touched for the
/// first time.
const SPARED: usize = 2 * 1024 * 1024;
const SPARED_EIGHTHS: usize = 2;

/// For so many bytes there is a step of 2 KiB once a cycle runs: twice the pace that Luau means by its
/// defaults (`LUAI_GCSTEPMUL`), so that a quarter of what lives comes while that is marked.
const STEP: usize = 512;

/// Where memory is limited and so many eighths of it are in use, all garbage is collected at once, but
/// not for less than so many bytes of it: that marks all that lives.
const NEAR_EIGHTHS: usize = 7;
const FLOOR: usize = 1024 * 1024;

/// What large strings owe the collector of one VM.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Bytes in use when a cycle last ended here.
    live: usize,
    /// Bytes of large strings since then, but no more than had come into use when it was paid for.
    garbage: usize,
    stage: Stage,
    /// Bytes that the VM may use, where that is limited: garbage counts, and Luau does not collect
    /// before it refuses memory.
    pub(super) limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is not enough garbage yet.
    #[default]
    Waits,
    /// A cycle is paid for. It goes on to its end: what is made while it sweeps outlives it.
    Runs,
    /// The second of two in a row.
    Again,
}

impl Collector {
    /// Strings or buffers of these lengths were made.
    #[inline]
    pub(super) fn made(&mut self, lua: &Lua, lengths: &[usize]) -> mlua::Result<()> {
        let bytes: usize = lengths.iter().filter(|len| **len >= LARGE).sum();
        if bytes == 0 { Ok(()) } else { self.owe(lua, bytes) }
    }

    fn owe(&mut self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        self.garbage = self.garbage.saturating_add(bytes);
        let waits = self.stage == Stage::Waits && self.garbage < self.spared();
        if waits && !self.is_near_the_limit(lua) { Ok(()) } else { self.pay(lua, bytes) }
    }

    fn spared(&self) -> usize {
        SPARED.saturating_add(self.live / 8 * SPARED_EIGHTHS)
    }

    /// Whether the limit of memory is so near that there may be no time for steps.
    fn is_near_the_limit(&self, lua: &Lua) -> bool {
        let near = |limit: usize| lua.used_memory() > limit / 8 * NEAR_EIGHTHS;
        self.garbage >= FLOOR && self.limit.is_some_and(near)
    }

    fn pay(&mut self, lua: &Lua, bytes: usize) -> mlua::Result<()> {
        if self.stage == Stage::Waits {
            // A cycle of Luau's own may have freed something since, or a script have let go of it.
            let used = lua.used_memory();
            self.live = self.live.min(used);
            self.garbage = self.garbage.min(used - self.live);
            if self.garbage < self.spared() && !self.is_near_the_limit(lua) {
                return Ok(());
            }
            self.stage = Stage::Runs;
        }
        // A step would start a collector again that an embedder has stopped.
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

    /// A cycle has ended with so many bytes in use. If it has freed less than half of the garbage,
    /// either that is alive or Luau had begun the cycle before most of it was there: one more tells.
    fn end(&mut self, used: usize) {
        let again = self.stage == Stage::Runs && used.saturating_sub(self.live) > self.garbage / 2;
        self.stage = if again { Stage::Again } else { Stage::Waits };
        if !again {
            (self.live, self.garbage) = (used, 0);
        }
    }
}
