//! Loads the prelude, the code that is written in Luau, into a VM, and gets the functions that
//! Rust calls.

use std::sync::Arc;

use mlua::{Function, Lua, Table, Value};

use super::feed::Feed;
use super::host::{self, Host};
use super::host_file::Identity;
use super::hosts::{self, Hosts};
use super::offer::Additions;
use super::parts::{self, Parts};
use super::watch::is_in;
use super::{require, stdio, streams, values};

/// The functions of the prelude that Rust calls.
pub(super) struct Prelude {
    pub(super) main: Function,
    pub(super) scripts: Scripts,
    pub(super) step: Function,
    /// Warns about each main thread that nothing will wake; returns whether there is one.
    pub(super) warn_stranded: Function,
    pub(super) round: Function,
    pub(super) round_with: Function,
    pub(super) feed: Feed,
    pub(super) dropped: Function,
    /// Tells the prelude that `io` has more input; `None`: there is no `io`.
    pub(super) input: Option<Function>,
    /// The globals that host files have set, if there are host files.
    pub(super) host: Option<Table>,
    /// The environment of all functions of the prelude: empty, and scripts cannot reach it.
    pub(super) environment: Table,
    pub(super) parts: Parts,
    /// Class of Instances → the members of its objects.
    pub(super) classes: Table,
}

/// The functions that handle a script as a whole.
#[derive(Clone)]
pub(super) struct Scripts {
    pub(super) new: Function,
    pub(super) kill: Function,
    pub(super) is_alive: Function,
    /// Makes the globals of a script that has its own table.
    pub(super) own: Function,
}

impl Prelude {
    /// Loads the prelude; returns its functions and the globals for scripts.
    pub(super) fn load(
        lua: &Lua,
        host: &Arc<Host>,
        env: &Table,
        plain: bool,
        per_script: bool,
        made: &Additions,
        hosts: (&Hosts, &Identity, bool),
    ) -> mlua::Result<(Prelude, Table)> {
        let (all_hosts, identity, has_hosts) = hosts;
        let natives = host::natives(lua, host, env)?;
        all_hosts.natives(lua, identity, env, &natives)?;
        natives.set("plain", plain)?;
        natives.set("per_script", per_script)?;
        natives.set("services", &made.services)?;
        natives.set("more_enums", &made.enums)?;
        values::natives(lua, host, &natives)?;
        streams::natives(lua, host, &natives)?;
        require::natives(lua, host, env, &natives)?;
        stdio::natives(lua, host, &natives)?;
        let own = own_globals(lua)?;
        let environment = own.to_pointer() as usize;
        let its = all_hosts.clone();
        let is_own = move |_: &Lua, f: Function| Ok(is_in(&f, environment) || its.has(&f));
        natives.set("is_own", lua.create_function(is_own)?)?;
        let late = Parts::new(lua, &own)?;
        late.natives(lua, host, &natives)?;
        let chunk = |name: &str, text| parts::chunk(lua, host.jit, &own, name, text);
        let timers: Table = chunk("timers", include_str!("prelude/timers.luau"))?.call(())?;
        let scheduler: Table = chunk("scheduler", include_str!("prelude/scheduler.luau"))?
            .call((&natives, &timers))?;
        let scripts: Table =
            chunk("scripts", include_str!("prelude/scripts.luau"))?.call(&scheduler)?;
        let task: Table =
            chunk("task", include_str!("prelude/task.luau"))?.call((&natives, &scheduler))?;
        let signal: Table =
            chunk("signal", include_str!("prelude/signal.luau"))?.call((&natives, &scheduler))?;
        let connections: Table = chunk("connections", include_str!("prelude/connections.luau"))?
            .call((&natives, &scheduler, &signal))?;
        let enums: Table = chunk("enums", include_str!("prelude/enums.luau"))?.call(&natives)?;
        let instances: Table = chunk("instances", include_str!("prelude/instances.luau"))?
            .call((&natives, &scheduler))?;
        let http: Table = chunk("http_service", include_str!("prelude/http_service.luau"))?
            .call((&natives, &scheduler, &instances))?;
        let game: Table = chunk("data_model", include_str!("prelude/data_model.luau"))?
            .call((&natives, &instances, &http))?;
        let inspect: Table =
            chunk("inspect", include_str!("prelude/inspect.luau"))?.call((&natives, &scheduler))?;
        for (name, part) in [
            ("native", &natives),
            ("scheduler", &scheduler),
            ("signal", &signal),
            ("connections", &connections),
            ("enums", &enums),
            ("http_service", &http),
            ("data_model", &game),
        ] {
            late.add(name, part)?;
        }
        let parts = (&natives, &scheduler, &task, &enums, &game, &inspect);
        let parts: Table = chunk("globals", include_str!("prelude/globals.luau"))?.call(parts)?;
        let scripts: Table =
            scripts.get::<Function>("with")?.call((&task, &signal, &connections))?;
        let globals: Table = parts.get("globals")?;
        let input = if host.io.is_some() { Some(parts.get("ready")?) } else { None };
        let environment_of_hosts = if has_hosts {
            let parts = (&natives, &scheduler, &timers, &signal, &enums, &instances, &game);
            let made: Table = chunk("hosts", include_str!("prelude/hosts.luau"))?.call(parts)?;
            let host = made.get("host")?;
            let mut language = copies(lua, &USED)?;
            language.extend(copies(lua, &UNUSED)?);
            Some(hosts::environment(lua, language, &globals, host)?)
        } else {
            None
        };
        // All parts have copied what they need: later lookups are to find nothing.
        parts::close(&own);
        if per_script {
            // It creates a thread with the shared globals, so the thread of a script must not be
            // the one that loads it.
            late.get(lua, host.jit, "require")?;
        }
        let beat: Table = scheduler.get("beat")?;
        host.watch.start(lua, beat, own.to_pointer())?;
        let prelude = Prelude {
            environment: own,
            parts: late,
            classes: instances.get("classes")?,
            main: scheduler.get("main")?,
            scripts: Scripts {
                new: scripts.get("new")?,
                kill: scripts.get("kill")?,
                is_alive: scripts.get("is_alive")?,
                own: parts.get("own")?,
            },
            step: scheduler.get("step")?,
            warn_stranded: scheduler.get("warn_stranded")?,
            round: connections.get("round")?,
            round_with: connections.get("round_with")?,
            feed: Feed::new(&connections, plain)?,
            dropped: connections.get("dropped")?,
            input,
            host: environment_of_hosts,
        };
        Ok((prelude, globals))
    }
}

/// The globals of the language that the prelude uses.
fn own_globals(lua: &Lua) -> mlua::Result<Table> {
    let own = lua.create_table()?;
    for (name, value) in copies(lua, &USED)? {
        own.raw_set(name, value)?;
    }
    own.set_readonly(true);
    own.set_safeenv(true);
    Ok(own)
}

const USED: [&str; 19] = [
    "buffer",
    "coroutine",
    "debug",
    "error",
    "getfenv",
    "math",
    "next",
    "pcall",
    "rawget",
    "select",
    "setfenv",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "utf8",
];

/// Globals that the prelude does not need, but that host files may use.
const UNUSED: [&str; 15] = [
    "_VERSION",
    "assert",
    "bit32",
    "gcinfo",
    "getmetatable",
    "ipairs",
    "newproxy",
    "os",
    "pairs",
    "rawequal",
    "rawlen",
    "rawset",
    "unpack",
    "vector",
    "xpcall",
];

/// Copies of the language's globals and libraries, since a script may change globals, and without
/// a sandbox the libraries, too.
fn copies(lua: &Lua, names: &[&'static str]) -> mlua::Result<Vec<(&'static str, Value)>> {
    let globals = lua.globals();
    let copy = |name| {
        let value: Value = globals.get(name)?;
        let Value::Table(library) = &value else { return Ok((name, value)) };
        let copy = lua.create_table()?;
        for pair in library.pairs::<Value, Value>() {
            let (key, value) = pair?;
            copy.raw_set(key, value)?;
        }
        copy.set_readonly(true);
        Ok((name, Value::Table(copy)))
    };
    names.iter().copied().map(copy).collect()
}
