//! Host files: what adds to the world of scripts before they run, written in Luau.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex};

use mlua::{Function, Lua, LuaString, Table, Value};

use super::error::Error;
use super::host::{self, lock};
use super::watch::CHUNK;
use super::{definitions, globals, options::GLOBALS};

/// Those that are here, by their names.
const SHIPPED: [(&str, &str); 3] = [
    ("studio", include_str!("hosts/studio.luau")),
    ("executor", include_str!("hosts/executor.luau")),
    ("world", include_str!("hosts/world.luau")),
];

/// A Luau file that runs before the scripts and adds to what they find, with the functions of the table
/// `host`, which it alone has: services, globals, enums, signals, objects. `docs/LUAU.md` lists them.
///
/// ```
/// use moonwire::luau::{HostFile, Line, Options, Runtime};
///
/// let text = r#"
///     local score, tell = host.signal()
///     host.service("Scores", host.object("Scores", { Changed = score, Best = 5 }))
///     host.global("report", function(points) tell(points) end)
/// "#;
/// let options = Options::new(|line: Line<'_>| assert_eq!(line.text, "7 beats 5"))
///     .host(HostFile::new("scores.luau", text));
/// let mut runtime = Runtime::new(options)?;
/// let script = r#"
///     local scores = game:GetService("Scores")
///     scores.Changed:Once(function(points) print(points, "beats", scores.Best) end)
///     report(7)
/// "#;
/// runtime.spawn("script", script, ())?;
/// runtime.run()?;
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
#[derive(Clone)]
pub struct HostFile {
    name: String,
    text: Cow<'static, [u8]>,
}

impl HostFile {
    /// A file of your own; errors call it `name`.
    pub fn new(name: &str, text: impl Into<Vec<u8>>) -> HostFile {
        HostFile { name: format!("@{name}"), text: Cow::Owned(text.into()) }
    }

    /// The world of a plugin in Roblox Studio, in edit mode: `plugin`, `script`, `Instance.new`, RunService,
    /// LogService, StudioService, ChangeHistoryService, Selection. It is `src/luau/hosts/studio.luau`.
    pub fn studio() -> HostFile {
        HostFile::shipped("studio")
    }

    /// The world of a script in an executor: `Players.LocalPlayer`, `game.PlaceId`, `game:HttpGet`,
    /// `request`, `identifyexecutor`, `Instance.new`, RunService, LogService and some more. It is
    /// `src/luau/hosts/executor.luau`.
    pub fn executor() -> HostFile {
        HostFile::shipped("executor")
    }

    /// One of the files that are here, by its name: `studio` or `executor`.
    pub fn named(name: &str) -> Option<HostFile> {
        (name != WORLD && shipped(name).is_some()).then(|| HostFile::shipped(name))
    }

    /// The types of all that a script sees with this host, for luau-lsp, as [`TYPES`](super::TYPES) has those
    /// of a script without one. `None` for a file of your own.
    pub fn types(&self) -> Option<String> {
        let name =
            SHIPPED.iter().map(|(name, _)| *name).find(|name| self.name == chunk_name(name))?;
        let (own, player) = match name {
            "studio" => (include_str!("hosts/studio.d.luau"), "nil"),
            "executor" => (include_str!("hosts/executor.d.luau"), "Player"),
            _ => return None,
        };
        let world = include_str!("hosts/world.d.luau").replace("LOCAL_PLAYER", player);
        Some(definitions::with(super::TYPES, &[&world, own]))
    }

    fn shipped(name: &str) -> HostFile {
        let text = shipped(name).unwrap_or_default();
        HostFile { name: chunk_name(name), text: Cow::Borrowed(text.as_bytes()) }
    }
}

impl fmt::Debug for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the others build on, and no world by itself.
const WORLD: &str = "world";

fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(its, _)| *its == name).map(|(_, text)| *text)
}

/// Frames of these are not shown to a script's author, as those of the prelude are not.
fn chunk_name(name: &str) -> String {
    format!("{CHUNK} host {name}")
}

/// Who scripts run as, and where, as the options say.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) player: String,
    pub(super) player_id: i64,
    pub(super) place: u64,
}

impl Default for Identity {
    /// As a test in Studio has it.
    fn default() -> Identity {
        Identity { player: "Player1".to_owned(), player_id: -1, place: 0 }
    }
}

/// The host files of a runtime, and what they have set.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    /// The environment of their functions.
    environment: Arc<Mutex<Option<Table>>>,
    /// Globals that they have set.
    set: Arc<Mutex<Vec<String>>>,
}

impl Hosts {
    /// Adds the natives of `hosts.luau`.
    pub(super) fn natives(
        &self,
        lua: &Lua,
        identity: &Identity,
        env: &Table,
        table: &Table,
    ) -> mlua::Result<()> {
        table.set("player_name", &*identity.player)?;
        // Whole numbers beyond 2⁵³ are none of Luau's.
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

    /// Whether a function is one of a host file.
    pub(super) fn has(&self, function: &Function) -> bool {
        let environment = lock(&self.environment);
        let pointer = environment.as_ref().map(|env| env.to_pointer());
        pointer.is_some() && function.environment().map(|env| env.to_pointer()) == pointer
    }

    fn load(&self, lua: &Lua, name: &str, text: &[u8]) -> Result<Function, String> {
        let env = lock(&self.environment).clone();
        host::load(lua, text, name, env)
    }

    /// Runs the files, one after another; the globals that they have set.
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

/// What an error of a host file says, in one line.
fn message(e: &mlua::Error) -> String {
    let text = match e {
        mlua::Error::CallbackError { cause, .. } => return message(cause),
        other => other.to_string(),
    };
    let text = text.strip_prefix("runtime error: ").unwrap_or(&text);
    text.lines().next().unwrap_or_default().to_owned()
}

/// Services and other members of `game` that both worlds have, less what every Instance has and nobody asks
/// `game` for; and that one of them has (tests/luau/hosts.rs compares).
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

/// Which of the files that are here have a service or a member of `game`; `None`: none.
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

/// What the functions of host files find as globals: the language, what scripts have, and `host`.
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
