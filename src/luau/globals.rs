//! The tables of globals: the table that scripts share, and the frozen one below it that a sandbox
//! makes.

use mlua::{Lua, Table, Value};

/// Globals that mlua adds to every VM; ours have the same names. They are removed even if scripts
/// get neither of ours: mlua's `require` accepts bytecode, and errors of both are not strings.
const MLUAS_OWN: [&str; 2] = ["loadstring", "require"];

/// The table that scripts share: `env`, unless `sandbox` has put another in front of it.
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

/// Sets a global. A global of that name below a sandbox is replaced, too.
pub(super) fn set(env: &Table, name: &str, value: &Value) -> mlua::Result<()> {
    env.set(name, value)?;
    match below(env)? {
        Some(below) if !below.raw_get::<Value>(name)?.is_nil() => write(&below, name, value),
        _ => Ok(()),
    }
}

/// Whether the table has a sandbox below it.
pub(super) fn is_sandboxed(env: &Table) -> mlua::Result<bool> {
    Ok(below(env)?.is_some())
}

/// The table that a sandbox has frozen. It is below the table that scripts write to: the metatable
/// of that one refers to it.
fn below(env: &Table) -> mlua::Result<Option<Table>> {
    let below = env.metatable().map(|metatable| metatable.raw_get("__index")).transpose()?;
    Ok(match below {
        Some(Value::Table(table)) if table.is_readonly() => Some(table),
        _ => None,
    })
}

/// Writes to a table, frozen or not. After mlua's `set_readonly(false)`, Luau assumes that globals
/// may change, and looks up each `task.wait` of a script again; so this is called only if the
/// table is frozen.
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
