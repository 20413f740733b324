//! Replaces `jit.rs` in a build without the feature `jit`.

use mlua::Lua;

/// No script is compiled to native code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Jit;

impl Jit {
    pub(super) const OFF: Jit = Jit;

    pub(super) fn load<T>(self, _: &Lua, _: &[u8], load: impl FnOnce() -> T) -> T {
        load()
    }

    pub(super) fn load_own<T>(self, _: &Lua, _: &str, load: impl FnOnce() -> T) -> T {
        load()
    }
}
