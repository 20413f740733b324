//! Runs host files: makes their environment and natives, and records the globals that they set.

use std::sync::{Arc, Mutex};

use mlua::{Function, Lua, LuaString, Table, Value};

use super::error::Error;
use super::host::{self, lock};
use super::host_file::{HostFile, Identity, chunk_name, shipped};
use super::jit::Jit;
use super::{globals, options::GLOBALS};

/// The host files of a runtime, and the globals that they have set.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    jit: Jit,
    /// The environment of the files' functions.
    environment: Arc<Mutex<Option<Table>>>,
    /// The names of the globals that the files have set.
    set: Arc<Mutex<Vec<String>>>,
}

impl Hosts {
    pub(super) fn new(jit: Jit) -> Hosts {
        Hosts { jit, ..Hosts::default() }
    }

    /// Adds the natives that `hosts.luau` uses.
    pub(super) fn natives(
        &self,
        lua: &Lua,
        identity: &Identity,
        env: &Table,
        table: &Table,
    ) -> mlua::Result<()> {
        table.set("player_name", &*identity.player)?;
        // Whole numbers beyond 2⁵³ are not exact in Luau.
        table.set("player_id", identity.player_id as f64)?;
        table.set("place", identity.place as f64)?;
        table.set("version", env!("CARGO_PKG_VERSION"))?;
        let host_of = |_: &Lua, what: LuaString| Ok(host_of(&what.to_string_lossy()));
        table.set("host_of", lua.create_function(host_of)?)?;
        let (env, set) = (env.clone(), Arc::clone(&self.set));
        let set_global = move |_: &Lua, (name, value): (LuaString, Value)| {
            let name = name.to_string_lossy();
            let is_there = !env.get::<Value>(&*name)?.is_nil() || GLOBALS.contains(&&*name);
            if is_there {
                return Ok(Some(format!("there is a global {} already", name.escape_debug())));
            }
            globals::set(&env, &name, &value)?;
            lock(&set).push(name);
            Ok(None)
        };
        table.set("set_global", lua.create_function(set_global)?)?;
        let its = self.clone();
        let host_file = move |lua: &Lua, name: LuaString| {
            let name = name.to_string_lossy();
            let Some(text) = shipped(&name) else {
                return Ok((None, Some(format!("there is no host file {name:?}"))));
            };
            Ok(match its.load(lua, &chunk_name(&name), text.as_bytes()) {
                Ok(f) => (Some(f), None),
                Err(problem) => (None, Some(problem)),
            })
        };
        table.set("host_file", lua.create_function(host_file)?)
    }

    /// Whether a host file has defined the function.
    pub(super) fn has(&self, function: &Function) -> bool {
        let environment = lock(&self.environment);
        let pointer = environment.as_ref().map(|env| env.to_pointer());
        pointer.is_some() && function.environment().map(|env| env.to_pointer()) == pointer
    }

    fn load(&self, lua: &Lua, name: &str, text: &[u8]) -> Result<Function, String> {
        let env = lock(&self.environment).clone();
        host::load(lua, self.jit, text, name, env)
    }

    /// Runs the files, one after another; returns the names of the globals that they have set.
    pub(super) fn run(
        &self,
        lua: &Lua,
        files: &[HostFile],
        environment: Table,
    ) -> Result<Vec<String>, Error> {
        *lock(&self.environment) = Some(environment);
        for file in files {
            let shown = file.name.trim_start_matches(['@', '=']);
            let f = self.load(lua, &file.name, &file.text);
            let f = f.map_err(|e| Error::Host(super::require::named(shown, e)))?;
            f.call::<()>(()).map_err(|e| Error::Host(message(&e)))?;
        }
        Ok(lock(&self.set).clone())
    }
}

/// The message of an error of a host file, on one line.
fn message(e: &mlua::Error) -> String {
    let text = match e {
        mlua::Error::CallbackError { cause, .. } => return message(cause),
        other => other.to_string(),
    };
    let text = text.strip_prefix("runtime error: ").unwrap_or(&text);
    text.lines().next().unwrap_or_default().to_owned()
}

/// Services and other members of `game` that both shipped hosts add, without the members of
/// every Instance; below, those that only one host adds (tests/luau/hosts.rs compares).
const OF_BOTH: [&str; 19] = [
    "CreatorId",
    "FindFirstChild",
    "GameId",
    "GetChildren",
    "GetDescendants",
    "GetFullName",
    "IsAncestorOf",
    "IsDescendantOf",
    "JobId",
    "Loaded",
    "LogService",
    "PlaceId",
    "PlaceVersion",
    "Players",
    "PrivateServerId",
    "PrivateServerOwnerId",
    "ReplicatedStorage",
    "RunService",
    "WaitForChild",
];
const OF_STUDIO: [&str; 5] =
    ["ChangeHistoryService", "Selection", "ServerScriptService", "ServerStorage", "StudioService"];
const OF_EXECUTOR: [&str; 5] =
    ["HttpGet", "HttpGetAsync", "HttpPost", "HttpPostAsync", "StarterGui"];

/// Names the shipped hosts that have a service or a member of `game`; `None`: no host has it.
fn host_of(what: &str) -> Option<String> {
    let hosts = if OF_BOTH.contains(&what) {
        "--host studio and --host executor have it"
    } else if OF_STUDIO.contains(&what) {
        "--host studio has it"
    } else if OF_EXECUTOR.contains(&what) {
        "--host executor has it"
    } else {
        return None;
    };
    Some(format!("moonwire run {hosts} (else Options::host)"))
}

/// The globals of host files' functions: the language's, those of scripts, and `host`.
pub(super) fn environment(
    lua: &Lua,
    language: Vec<(&'static str, Value)>,
    offered: &Table,
    host: Table,
) -> mlua::Result<Table> {
    let env = lua.create_table()?;
    for (name, value) in language {
        env.raw_set(name, value)?;
    }
    for pair in offered.pairs::<Value, Value>() {
        let (name, value) = pair?;
        env.raw_set(name, value)?;
    }
    env.raw_set("host", host)?;
    Ok(env)
}
