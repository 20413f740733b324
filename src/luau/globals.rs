//! The tables of globals: the one that scripts share, and the one that a sandbox has frozen below it.

use mlua::{Lua, Table, Value};

/// Globals that mlua gives every VM and that stand for ours. They are taken away also where a script
/// is to have neither: its `require` takes bytecode, and errors of both are no strings.
const MLUAS_OWN: [&str; 2] = ["loadstring", "require"];

/// The table that scripts share: `env`, unless `sandbox` has put another before it.
pub(super) fn shared(lua: &Lua, env: &Table) -> Table {
    if env.is_readonly() { lua.globals() } else { env.clone() }
}

/// Takes away what mlua put into the globals, also below a sandbox.
pub(super) fn take_away(env: &Table) -> mlua::Result<()> {
    for table in [Some(env.clone()), below(env)?].into_iter().flatten() {
        for name in MLUAS_OWN {
            write(&table, name, &Value::Nil)?;
        }
    }
    Ok(())
}

/// Sets a global. One that is replaced is replaced below a sandbox, too.
pub(super) fn set(env: &Table, name: &str, value: &Value) -> mlua::Result<()> {
    env.set(name, value)?;
    match below(env)? {
        Some(below) if !below.raw_get::<Value>(name)?.is_nil() => write(&below, name, value),
        _ => Ok(()),
    }
}

/// Whether a sandbox stands before the table.
pub(super) fn is_sandboxed(env: &Table) -> mlua::Result<bool> {
    Ok(below(env)?.is_some())
}

/// What a sandbox has frozen and put below the table that scripts write to, whose metatable leads there.
fn below(env: &Table) -> mlua::Result<Option<Table>> {
    let below = env.metatable().map(|metatable| metatable.raw_get("__index")).transpose()?;
    Ok(match below {
        Some(Value::Table(table)) if table.is_readonly() => Some(table),
        _ => None,
    })
}

/// Writes to a table, be it frozen or not. mlua's `set_readonly(false)` tells Luau that its names may
/// change, and each `task.wait` of a script would be looked up anew: so only where that is needed.
fn write(table: &Table, name: &str, value: &Value) -> mlua::Result<()> {
    if !table.is_readonly() {
        return table.raw_set(name, value);
    }
    table.set_readonly(false);
    let written = table.raw_set(name, value);
    table.set_readonly(true);
    table.set_safeenv(true);
    written
}
