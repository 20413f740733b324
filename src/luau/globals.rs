//! The tables of globals: the one that scripts share, and the one below it that a sandbox has
//! frozen.

use mlua::{Lua, Table, Value};

/// Globals that mlua adds to every VM in place of ours. They are removed also if a script is to
/// have neither: mlua's `require` accepts bytecode, and errors of both are not strings.
const MLUAS_OWN: [&str; 2] = ["loadstring", "require"];

/// The table that scripts share: `env`, unless `sandbox` has set another in front of it.
pub(super) fn shared(lua: &Lua, env: &Table) -> Table {
    if env.is_readonly() { lua.globals() } else { env.clone() }
}

/// Removes the globals that mlua has added, also below a sandbox.
pub(super) fn take_away(env: &Table) -> mlua::Result<()> {
    for table in [Some(env.clone()), below(env)?].into_iter().flatten() {
        for name in MLUAS_OWN {
            write(&table, name, &Value::Nil)?;
        }
    }
    Ok(())
}

/// Sets a global. An existing one is replaced below a sandbox, too.
pub(super) fn set(env: &Table, name: &str, value: &Value) -> mlua::Result<()> {
    env.set(name, value)?;
    match below(env)? {
        Some(below) if !below.raw_get::<Value>(name)?.is_nil() => write(&below, name, value),
        _ => Ok(()),
    }
}

/// Whether the table is in front of a sandbox.
pub(super) fn is_sandboxed(env: &Table) -> mlua::Result<bool> {
    Ok(below(env)?.is_some())
}

/// The table that a sandbox has frozen, below the table that scripts write to, whose metatable
/// refers to it.
fn below(env: &Table) -> mlua::Result<Option<Table>> {
    let below = env.metatable().map(|metatable| metatable.raw_get("__index")).transpose()?;
    Ok(match below {
        Some(Value::Table(table)) if table.is_readonly() => Some(table),
        _ => None,
    })
}

/// Writes to a table, frozen or not. mlua's `set_readonly(false)` makes Luau assume that globals
/// may change, and then each `task.wait` of a script would be looked up anew: so it is called only
/// if needed.
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
