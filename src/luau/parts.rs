//! Loads parts of the prelude at their first use: compiling a part takes longer than most scripts
//! run, and most scripts use few parts.

use std::sync::Arc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, Table, Value};

use super::host::Host;
use super::jit::Jit;
use super::watch::CHUNK;

/// A part of the prelude; its arguments are other parts, by name.
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

/// The loaded parts, and the values that further parts need. All of them are in tables of the VM,
/// and the prelude passes these tables to the native: a native that kept them would keep the VM's
/// memory beyond the runtime.
#[derive(Clone)]
pub(super) struct Parts {
    /// Name → what the part returned.
    loaded: Table,
    /// The environment of all functions of the prelude, filled only while a part is loaded.
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

    /// Adds the natives of this file.
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
                Err(e) => (None, Some(message(&e))),
            })
        };
        table.set("load_part", lua.create_function(load)?)
    }

    /// Adds a part that is loaded at the start.
    pub(super) fn add(&self, name: &str, part: &Table) -> mlua::Result<()> {
        self.loaded.raw_set(name, part)?;
        let members: Option<Table> = part.raw_get("members")?;
        for pair in members.iter().flat_map(|table| table.pairs::<Value, Value>()) {
            let (name, tables) = pair?;
            self.members.raw_set(name, tables)?;
        }
        Ok(())
    }

    /// Loads all parts that are not loaded yet.
    pub(super) fn all(&self, lua: &Lua, jit: Jit) -> mlua::Result<()> {
        PARTS.iter().try_for_each(|part| self.get(lua, jit, part.name).map(drop))
    }

    /// The names of the parts that were loaded after the start.
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

    /// Returns a part, and loads it if necessary. After an error the next call tries again.
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
        // Luau resolves globals of a text in the loading thread's table. That may be a script's,
        // whose metatable may run code: so the text is compiled before the environment is filled.
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

/// The environment of the prelude, filled while a part is loaded. The part copies what it needs
/// into locals; later lookups find nothing.
struct Filled<'a>(&'a Table);

impl<'a> Filled<'a> {
    fn new(parts: &'a Parts) -> mlua::Result<Filled<'a>> {
        // This also marks the table as changeable. So Luau does not use globals that it has
        // resolved in a script's table when it loaded the text.
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
    // `clear` fails if the table is read-only.
    let _ = environment.clear();
    environment.set_readonly(true);
    // `clear` has reset this mark, without which calls of the language's functions are slow.
    environment.set_safeenv(true);
}

/// Compiles a part's text to a function.
pub(super) fn chunk(
    lua: &Lua,
    jit: Jit,
    environment: &Table,
    name: &str,
    text: &'static str,
) -> mlua::Result<Function> {
    // Level 2 inlines local functions, which would make the levels of `error` wrong.
    let inlines = matches!(name, "timers" | "scheduler" | "connections");
    let compiler = Compiler::new().set_optimization_level(if inlines { 2 } else { 1 });
    let chunk = lua.load(text).set_name(format!("{CHUNK} {name}"));
    let chunk = chunk.set_mode(ChunkMode::Text).set_compiler(compiler);
    let chunk = chunk.set_environment(environment.clone());
    jit.load_own(lua, text, || chunk.into_function())
}

/// The error as a text for a script. Only a lack of memory or of stack can cause one.
fn message(e: &mlua::Error) -> String {
    match e {
        mlua::Error::CallbackError { cause, .. } => message(cause),
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
