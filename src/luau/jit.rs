//! Native code for scripts (feature `jit`): which functions are compiled to native code, and when.

use mlua::Lua;

/// Which scripts are compiled to native code when they are loaded. That takes several times as long
/// as bytecode alone, so it is worthwhile for scripts that compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jit {
    /// No script. The VM's setting is not changed, so the embedder's setting counts.
    #[default]
    Off,
    /// Scripts that ask for it: with `--!native` in a line at the start, the whole script;
    /// otherwise its functions with `@native`.
    On,
    /// As `On`, and also the functions of the runtime that handle each message. This adds some 5 ms
    /// to a start, and makes a message 10 to 15 % cheaper.
    WithRuntime,
    /// All scripts, and the same functions of the runtime.
    All,
}

impl Jit {
    pub(super) const OFF: Jit = Jit::Off;

    /// A good choice for a program whose main script is `text`: [`Jit::WithRuntime`] if `--!native`
    /// at its start shows that it runs long, otherwise [`Jit::On`]. The command uses this.
    pub fn of_script(text: &[u8]) -> Jit {
        if is_native(text) { Jit::WithRuntime } else { Jit::On }
    }

    /// Loads a part of a script, as native code if this value wants that.
    pub(super) fn load<T>(self, lua: &Lua, text: &[u8], load: impl FnOnce() -> T) -> T {
        match self {
            Jit::Off => load(),
            Jit::On | Jit::WithRuntime => {
                natively(lua, is_native(text) || has_attribute(text), load)
            }
            Jit::All => natively(lua, true, load),
        }
    }

    /// Loads a part of the prelude; its functions with `@native` are compiled to native code. A
    /// part without such a function would be compiled as a whole, so it is loaded as bytecode.
    pub(super) fn load_own<T>(self, lua: &Lua, text: &str, load: impl FnOnce() -> T) -> T {
        match self {
            Jit::Off => load(),
            Jit::On => natively(lua, false, load),
            Jit::WithRuntime | Jit::All => natively(lua, has_attribute(text.as_bytes()), load),
        }
    }
}

/// Compiles everything that `load` loads natively, or not. The VM's setting cannot be read: from
/// here on only `Jit` sets it.
fn natively<T>(lua: &Lua, yes: bool, load: impl FnOnce() -> T) -> T {
    lua.enable_jit(yes);
    let loaded = load();
    lua.enable_jit(false);
    loaded
}

/// Whether `--!native` stands in a line at the start of a text.
fn is_native(text: &[u8]) -> bool {
    let comments = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut head = comments
        .take_while(|line| line.is_empty() || line.starts_with(b"--") || line.starts_with(b"#!"));
    head.any(|line| {
        line.strip_prefix(b"--!native").is_some_and(|rest| rest.trim_ascii().is_empty())
    })
}

/// Whether a text has functions with `@native`. A match in a string or a comment counts, too: then
/// more is compiled than necessary, with the same results.
fn has_attribute(text: &[u8]) -> bool {
    text.windows(b"@native".len()).any(|window| window == b"@native")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_asks_in_a_line_at_its_start_or_by_an_attribute() {
        for (text, want) in [
            ("--!native\nprint(1)", true),
            ("#!/usr/bin/env moonwire\n\n-- a comment\n--!strict\n  --!native  \r\nprint(1)", true),
            ("print(1)\n--!native", false),
            ("--!nativelike\nprint(1)", false),
            ("--!optimize 2\nprint(1)", false),
            ("local native = 1", false),
            ("", false),
        ] {
            assert_eq!(is_native(text.as_bytes()), want, "{text:?}");
            let whole = if want { Jit::WithRuntime } else { Jit::On };
            assert_eq!(Jit::of_script(text.as_bytes()), whole, "{text:?}");
        }
        assert!(has_attribute(b"@native\nlocal function f() end"));
    }
}
