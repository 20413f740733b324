//! Parts of the prelude that are loaded when they are first used: to compile one takes longer than most
//! scripts run, and most scripts use few of them.

use std::sync::Arc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, Table, Value};

use super::host::Host;
use super::jit::Jit;
use super::watch::CHUNK;

/// A part, and what it takes: names of what is loaded at the start, and of parts.
struct Part {
    name: &'static str,
    text: &'static str,
    takes: &'static [&'static str],
}

const PARTS: [Part; 6] = [
    Part {
        name: "websocket",
        text: include_str!("prelude/websocket.luau"),
        takes: &["native", "scheduler", "signal", "connections"],
    },
    Part {
        name: "request_options",
        text: include_str!("prelude/request_options.luau"),
        takes: &["native", "scheduler", "enums"],
    },
    Part {
        name: "web_stream_client",
        text: include_str!("prelude/web_stream_client.luau"),
        takes: &["native", "scheduler", "signal", "connections", "enums", "request_options"],
    },
    Part {
        name: "requests",
        text: include_str!("prelude/requests.luau"),
        takes: &["native", "scheduler", "connections", "enums", "request_options"],
    },
    Part {
        name: "require",
        text: include_str!("prelude/require.luau"),
        takes: &["native", "scheduler"],
    },
    Part {
        name: "io",
        text: include_str!("prelude/io.luau"),
        takes: &["native", "scheduler", "connections"],
    },
];

/// What was loaded, and what is needed to load more. All of it is in tables of the VM, and the prelude
/// hands them to the native: one that kept them would keep the VM's memory beyond the runtime.
#[derive(Clone)]
pub(super) struct Parts {
    /// Name → what a part has returned.
    loaded: Table,
    /// The environment of all functions of the prelude, and what stands in it while a part is loaded.
    environment: Table,
    language: Table,
    /// Type → tables whose keys are its members.
    members: Table,
}

impl Parts {
    pub(super) fn new(lua: &Lua, environment: &Table) -> mlua::Result<Parts> {
        let language = lua.create_table()?;
        for pair in environment.pairs::<Value, Value>() {
            let (name, value) = pair?;
            language.raw_set(name, value)?;
        }
        Ok(Parts {
            loaded: lua.create_table()?,
            environment: environment.clone(),
            language,
            members: lua.create_table()?,
        })
    }

    /// The natives for it.
    pub(super) fn natives(&self, lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
        let Parts { loaded, environment, language, members } = self;
        let kept = lua.create_table()?;
        kept.raw_set("loaded", loaded)?;
        kept.raw_set("environment", environment)?;
        kept.raw_set("language", language)?;
        kept.raw_set("members", members)?;
        table.set("parts", kept)?;
        let jit = host.jit;
        let load = move |lua: &Lua, (kept, name): (Table, String)| {
            let parts = Parts {
                loaded: kept.raw_get("loaded")?,
                environment: kept.raw_get("environment")?,
                language: kept.raw_get("language")?,
                members: kept.raw_get("members")?,
            };
            Ok(match parts.get(lua, jit, &name) {
                Ok(part) => (Some(part), None),
                Err(e) => (None, Some(said(&e))),
            })
        };
        table.set("load_part", lua.create_function(load)?)
    }

    /// A part that is loaded at the start.
    pub(super) fn add(&self, name: &str, part: &Table) -> mlua::Result<()> {
        self.loaded.raw_set(name, part)?;
        let members: Option<Table> = part.raw_get("members")?;
        for pair in members.iter().flat_map(|table| table.pairs::<Value, Value>()) {
            let (name, tables) = pair?;
            self.members.raw_set(name, tables)?;
        }
        Ok(())
    }

    /// Loads what was not.
    pub(super) fn all(&self, lua: &Lua, jit: Jit) -> mlua::Result<()> {
        PARTS.iter().try_for_each(|part| self.get(lua, jit, part.name).map(drop))
    }

    /// Names of those that are loaded later and have been.
    pub(super) fn late(&self) -> mlua::Result<Vec<&'static str>> {
        let mut names = Vec::new();
        for part in &PARTS {
            if self.loaded.raw_get::<Option<Table>>(part.name)?.is_some() {
                names.push(part.name);
            }
        }
        Ok(names)
    }

    pub(super) fn members(&self) -> &Table {
        &self.members
    }

    /// A part, loaded by now. After an error the next call tries again.
    pub(super) fn get(&self, lua: &Lua, jit: Jit, name: &str) -> mlua::Result<Table> {
        if let Some(part) = self.loaded.raw_get(name)? {
            return Ok(part);
        }
        let unknown = || mlua::Error::runtime(format!("the prelude has no part {name}"));
        let part = PARTS.iter().find(|part| part.name == name).ok_or_else(unknown)?;
        let mut takes = mlua::MultiValue::new();
        for name in part.takes {
            takes.push_back(Value::Table(self.get(lua, jit, name)?));
        }
        // Luau looks for what a text reads in the globals of the thread that loads, a script's, whose
        // metatable may run code of its own: so before the environment has anything.
        let function = chunk(lua, jit, &self.environment, part.name, part.text)?;
        if let Some(part) = self.loaded.raw_get(name)? {
            return Ok(part);
        }
        let filled = Filled::new(self)?;
        let loaded: Table = function.call(takes)?;
        drop(filled);
        self.add(part.name, &loaded)?;
        Ok(loaded)
    }
}

/// The environment of the prelude while a part is loaded: it takes what it needs, and what is looked up
/// later is nothing.
struct Filled<'a>(&'a Table);

impl<'a> Filled<'a> {
    fn new(parts: &'a Parts) -> mlua::Result<Filled<'a>> {
        // This says, too, that what is in there may change: so what Luau has found in a script's globals
        // when it loaded the text is not used.
        parts.environment.set_readonly(false);
        parts.environment.set_safeenv(false);
        let filled = Filled(&parts.environment);
        for pair in parts.language.pairs::<Value, Value>() {
            let (name, value) = pair?;
            filled.0.raw_set(name, value)?;
        }
        Ok(filled)
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// Clears the environment of the prelude.
pub(super) fn close(environment: &Table) {
    environment.set_readonly(false);
    // It fails where a table is read-only.
    let _ = environment.clear();
    environment.set_readonly(true);
    // Clearing has ended it; without it, calls of the language's functions are slow.
    environment.set_safeenv(true);
}

/// The function of a part's text.
pub(super) fn chunk(
    lua: &Lua,
    jit: Jit,
    environment: &Table,
    name: &str,
    text: &'static str,
) -> mlua::Result<Function> {
    // Level 2 inlines local functions, which `error` with a level would miss.
    let inlines = matches!(name, "timers" | "scheduler" | "connections");
    let compiler = Compiler::new().set_optimization_level(if inlines { 2 } else { 1 });
    let chunk = lua.load(text).set_name(format!("{CHUNK} {name}"));
    let chunk = chunk.set_mode(ChunkMode::Text).set_compiler(compiler);
    let chunk = chunk.set_environment(environment.clone());
    jit.load_own(lua, text, || chunk.into_function())
}

/// What a script is told. What can go wrong is that memory is short, or the stack.
fn said(e: &mlua::Error) -> String {
    match e {
        mlua::Error::CallbackError { cause, .. } => said(cause),
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        other => {
            let text = other.to_string();
            if text.contains("not enough memory") {
                return "not enough memory".to_owned();
            }
            text.lines().next().unwrap_or_default().to_owned()
        }
    }
}
