//! A script as an object: the program can examine and end everything that the script has started.

use std::fmt;
use std::sync::Arc;

use mlua::{Function, Lua, LuaString, Table, Value};

use super::error::Error;
use super::globals;
use super::host::{self, Host, ScriptPolicy};
use super::options::ScriptOptions;
use super::prelude::Scripts;

/// A script that [`Runtime::spawn`](super::Runtime::spawn) has started, with everything that
/// belongs to it: its threads with their timers, its handlers and its connections.
///
/// A thread belongs to the script of the thread that created it. A handler and a connection belong
/// to the script that was running when they were created, and what a handler starts belongs to the
/// script that connected the handler. A module belongs to the script that first required it.
/// Threads that the embedder creates belong to no script; nor do threads that scripts create with
/// Luau's own `coroutine`, if [`Options::without`](super::Options::without) left them that one.
///
/// This is a handle: copies refer to the same script, and dropping them does not end the script.
/// Like a value of the VM it keeps the VM alive, and only the VM's thread may use it.
///
/// ```
/// use moonwire::luau::{Line, Options, Runtime};
///
/// let mut runtime = Runtime::new(Options::new(|line: Line<'_>| println!("{line}")))?;
/// let mut script = runtime.spawn("bot", "while true do task.wait(1) end", ())?;
/// assert!(script.is_alive());
/// // The file has changed.
/// script.kill()?;
/// script = runtime.spawn("bot", "task.wait(0.01) print('new')", ())?;
/// runtime.run_until(&script)?;
/// assert!(!script.is_alive() && !script.has_raised());
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
#[derive(Clone)]
pub struct Script {
    // This is dropped last: a value of a VM that was dropped cannot be dropped.
    record: Table,
    scripts: Scripts,
    host: Arc<Host>,
    name: Arc<str>,
    lua: Lua,
}

impl Script {
    pub(super) fn new(
        lua: &Lua,
        host: &Arc<Host>,
        scripts: &Scripts,
        name: &str,
        options: ScriptOptions,
    ) -> mlua::Result<Script> {
        let policy = options.policy.map(|policy| lua.create_any_userdata(ScriptPolicy(policy)));
        let policy = policy.transpose()?;
        // Luau numbers are doubles.
        let most = options.connections.map_or(f64::INFINITY, |most| most as f64);
        Ok(Script {
            record: scripts.new.call((name, most, policy))?,
            scripts: scripts.clone(),
            host: Arc::clone(host),
            name: name.into(),
            lua: lua.clone(),
        })
    }

    /// The script's record in the prelude.
    pub(super) fn record(&self) -> &Table {
        &self.record
    }

    /// The name that the program gave the script.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the script can still run: one of its threads waits for a time, a step, an event or a
    /// connection to open, or a handler that it has connected may be called. False for ever after
    /// [`Script::kill`].
    ///
    /// Usually this is one check; when the last known reason is gone, it is a search through
    /// everything that scripts wait for.
    pub fn is_alive(&self) -> bool {
        if self.host.watch.has_ended() {
            return false;
        }
        // The call fails only without memory; then the answer is unknown.
        self.scripts.is_alive.call(&self.record).unwrap_or(true)
    }

    /// Whether the script has raised at its top level.
    pub fn has_raised(&self) -> bool {
        self.record.raw_get("raised").unwrap_or(false)
    }

    /// Whether [`Script::kill`] has ended it.
    pub fn was_killed(&self) -> bool {
        self.record.raw_get("killed").unwrap_or(false)
    }

    /// Ends everything that the script has started: its threads are closed, its timers and deferred
    /// calls are removed, its handlers are not called again, and its connections are closed with
    /// 1001, after queued messages. Handlers of other scripts for these connections get `OnClose`
    /// or `Closed`.
    ///
    /// Tables, functions and globals that other scripts refer to stay. If a thread of the script
    /// runs at this moment (the script has called a function of the embedder that kills it), it
    /// continues up to its next pause. This call interrupts no running code; for code that computes
    /// without a pause, [`Options::time_limit`](super::Options::time_limit) does. A second call
    /// does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Lua`]: the VM refused to close a thread.
    pub fn kill(&self) -> Result<(), Error> {
        let kill = || self.scripts.kill.call::<()>(&self.record);
        let mut done = kill();
        if let Err(mlua::Error::MemoryError(_)) = done {
            // A script that the program kills has often reached the memory limit.
            self.lua.gc_collect()?;
            let limit = self.lua.set_memory_limit(0)?;
            done = kill();
            self.lua.set_memory_limit(limit)?;
        }
        done?;
        self.host.link.flush();
        Ok(())
    }

    /// Compiles the script's text with a table of globals of its own. This table has our globals
    /// `own`; all others are looked up in the shared table. The error is a syntax error.
    ///
    /// Luau resolves globals of a text when it loads it, in the table of the loading thread. So
    /// this table has to be that of a thread: only a thread can get one.
    pub(super) fn load_apart(
        &self,
        text: &[u8],
        own: &[&'static str],
    ) -> mlua::Result<Result<Function, String>> {
        let jit = self.host.jit;
        let (make, name, own) = (self.scripts.own.clone(), format!("@{}", self.name), own.to_vec());
        // Without a sandbox, the table is not marked as safe: the compiler does not know which
        // globals have fields that change, and Luau would resolve these fields only once.
        let is_sandboxed = globals::is_sandboxed(&self.lua.globals())?;
        let load = move |lua: &Lua, text: LuaString| {
            let env = lua.globals();
            let made: Table = make.call(&env)?;
            for name in &own {
                env.raw_set(*name, made.raw_get::<Value>(*name)?)?;
            }
            // Its current metatable refers to the shared table; a script must not change that.
            let shared = env.metatable().map_or(Ok(Value::Nil), |its| its.raw_get("__index"))?;
            let metatable = lua.create_table()?;
            metatable.raw_set("__index", shared)?;
            metatable.raw_set("__metatable", "The metatable is locked")?;
            metatable.set_readonly(true);
            env.set_metatable(Some(metatable))?;
            env.set_safeenv(is_sandboxed);
            let loaded = host::load(lua, jit, &text.as_bytes(), &name, Some(env));
            Ok(loaded.map_or_else(|problem| (None, Some(problem)), |f| (Some(f), None)))
        };
        let thread = self.lua.create_thread(self.lua.create_function(load)?)?;
        thread.sandbox()?;
        let (function, problem): (Option<Function>, Option<String>) =
            thread.resume(self.lua.create_string(text)?)?;
        Ok(function.ok_or(problem.unwrap_or_default()))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.name).finish_non_exhaustive()
    }
}
