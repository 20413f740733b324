//! Native code for scripts (feature `jit`): what is compiled so, and when.

use mlua::Lua;

/// Which scripts are compiled to native code when they are loaded. It takes some times as long as
/// bytecode alone, so it pays for what computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jit {
    /// None; and nothing is said to the VM, so that what an embedder has set holds.
    #[default]
    Off,
    /// Those that ask: `--!native` in a line at their start, or functions with `@native`, of which only
    /// these are.
    On,
    /// Those that ask, and the functions of the runtime through which each message goes: that takes a start
    /// some 5 ms, and makes a message 10 to 15 % cheaper.
    WithRuntime,
    /// All, and those functions of the runtime.
    All,
}

impl Jit {
    pub(super) const OFF: Jit = Jit::Off;

    /// What pays for a program whose main script is `text`: with `--!native` at its start it is one that
    /// runs long ([`Jit::WithRuntime`]), otherwise [`Jit::On`]. So does the command.
    pub fn of_script(text: &[u8]) -> Jit {
        if is_native(text) { Jit::WithRuntime } else { Jit::On }
    }

    /// Loads something of a script natively if it is to be.
    pub(super) fn load<T>(self, lua: &Lua, text: &[u8], load: impl FnOnce() -> T) -> T {
        match self {
            Jit::Off => load(),
            Jit::On | Jit::WithRuntime => {
                natively(lua, is_native(text) || has_attribute(text), load)
            }
            Jit::All => natively(lua, true, load),
        }
    }

    /// Loads a part of the prelude, of which functions with `@native` are compiled; a part without any
    /// would be compiled whole.
    pub(super) fn load_own<T>(self, lua: &Lua, text: &str, load: impl FnOnce() -> T) -> T {
        match self {
            Jit::Off => load(),
            Jit::On => natively(lua, false, load),
            Jit::WithRuntime | Jit::All => natively(lua, has_attribute(text.as_bytes()), load),
        }
    }
}

/// What is loaded meanwhile is compiled natively, or not. The VM does not tell what it did before: from
/// here on it is `Jit` that says it.
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

/// Whether a text has functions with `@native`. What stands in a string or a comment counts, too: then more
/// is compiled than has to be, and nothing is different.
fn has_attribute(text: &[u8]) -> bool {
    text.windows(b"@native".len()).any(|word| word == b"@native")
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
