//! Drives the Luau side: passes events, resumes threads, sends bytes, and waits when no work is
//! left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::chunk::Compiler;
use mlua::{IntoLuaMulti, Lua, LuaOptions, StdLib, Table, Value};

use super::collector::Collector;
use super::error::Error;
use super::globals;
use super::host::{self, Host, lock};
use super::hosts::Hosts;
use super::link::Link;
use super::offer::Additions;
use super::options::{GLOBALS, Line, Options, ScriptOptions};
use super::prelude::Prelude;
use super::require;
use super::script::Script;
use super::stopper::{Closing, Left, Stopper};
use crate::net::{Batch, Client, Closed, Event, Events, VmThread, after, earlier};

/// A Luau VM with the script APIs, and the reactor behind them.
///
/// ```
/// use moonwire::luau::{Line, Options, Runtime};
///
/// let mut runtime = Runtime::new(Options::new(|line: Line<'_>| println!("{line}")))?;
/// runtime.spawn("hello.luau", "task.wait(0.01) print('hello', ...)", "world")?;
/// runtime.run()?;
/// assert!(!runtime.has_raised());
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
pub struct Runtime {
    lua: Lua,
    host: Arc<Host>,
    prelude: Prelude,
    source: Source,
    batch: Batch,
    stopper: Stopper,
    /// If each script has its own globals: the names of our globals in each script's table.
    own_globals: Option<Vec<&'static str>>,
    /// Whether threads that scripts create with `coroutine` belong to these scripts.
    knows_threads: bool,
    /// The names of the globals that host files have set.
    set_by_hosts: Vec<String>,
    /// The table `shared`, if this crate has made it.
    shared: Option<Table>,
    /// The time of the last step.
    stepped: Instant,
    /// The state after the last round.
    round_state: RoundState,
    due: Option<f64>,
    /// As in [`Options::stand_in`]; `None`: the options do not set it.
    stand_in: Option<bool>,
    /// As in [`Options::plain`].
    plain: bool,
    exit_timeout: Option<Duration>,
    /// As in [`Runtime::was_stranded`].
    stranded: bool,
    /// Bytes that were reported as lost so far, and how many of these the reactor has counted.
    lost: u64,
    counted: u64,
}

/// The key in a VM's registry that marks the VM as having the script APIs.
const INSTALLED: &str = "moonwire";

/// Which thread drives the reactor, and so where events come from.
enum Source {
    Inline(VmThread),
    Threaded(Events),
}

/// The state of a runtime after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Work is left: step again as soon as possible.
    Ready,
    /// No work is due before this time (`None`: before an event of the network).
    Waiting(Option<Instant>),
    /// No thread can ever run again.
    Done,
    /// A [`Stopper`] has stopped the runtime.
    Stopped,
}

impl Progress {
    /// Whether a thread can still run.
    pub fn is_alive(self) -> bool {
        matches!(self, Progress::Ready | Progress::Waiting(_))
    }
}

/// The length of a step in [`Runtime::run`].
const STEP: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// The time for the closing handshakes of connections that are open at the end of a program, after
/// all queued bytes were sent.
const END: Duration = Duration::from_secs(2);

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// A runtime with its own VM, sandboxed: the libraries are read-only, and scripts have `_G` and
    /// `shared` to share values.
    ///
    /// # Errors
    ///
    /// As [`install`](super::install).
    pub fn new(options: Options) -> Result<Runtime, Error> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new())?;
        lua.sandbox(true)?;
        // By default, mlua compiles all scripts to native code.
        #[cfg(feature = "jit")]
        lua.enable_jit(false);
        // In a sandbox, Luau resolves fields of globals once, at load, except for these.
        let mut changing = ["_G", "game", "shared"].map(str::to_owned).to_vec();
        changing.extend(options.offer.globals.iter().map(|(name, _)| name.clone()));
        lua.set_compiler(Compiler::new().set_mutable_globals(changing.clone()));
        let runtime = Runtime::install(lua, options)?;
        if !runtime.set_by_hosts.is_empty() {
            changing.extend(runtime.set_by_hosts.iter().cloned());
            runtime.lua.set_compiler(Compiler::new().set_mutable_globals(changing));
        }
        runtime.lua.globals().set("_G", runtime.lua.create_table()?)?;
        Ok(runtime)
    }

    pub(super) fn install(lua: Lua, mut options: Options) -> Result<Runtime, Error> {
        let mut config = std::mem::take(&mut options.config);
        if options.poll_thread {
            // What a read brings is copied to a batch and from there to Luau. With half the buffer,
            // these three take less of the cache, and 3 MiB less memory.
            let max = &mut config.limits.receive_buffer_max;
            *max = (*max / 2).max(config.limits.receive_buffer);
        }
        let limits = config.limits.clone();
        let (link, source) = if options.poll_thread {
            let (client, events) = Client::spawn(config)?;
            (Link::Threaded(client), Source::Threaded(events))
        } else {
            let vm = VmThread::new(config, options.stand_in == Some(true))?;
            (Link::Inline(Arc::clone(vm.seat())), Source::Inline(vm))
        };
        let without = std::mem::take(&mut options.without);
        if let Some(name) = without.iter().find(|name| !GLOBALS.contains(&name.as_str())) {
            return Err(Error::NoGlobal(name.clone()));
        }
        let (stand_in, exit_timeout) = (options.stand_in, options.exit_timeout);
        let (memory, keeps) = (options.memory_limit, options.keep_freed_memory);
        let plain = options.plain;
        let hosts = Hosts::new(options.jit);
        let files = std::mem::take(&mut options.hosts);
        let identity = options.identity.clone();
        let (offer, per_script) = (std::mem::take(&mut options.offer), options.globals_per_script);
        // An `Rc` would be enough without mlua's feature `send`.
        #[allow(clippy::arc_with_non_send_sync)]
        let host = Arc::new(Host::new(link.clone(), limits, options));
        if lua.named_registry_value::<Value>(INSTALLED)? != Value::Nil {
            return Err(Error::Installed);
        }
        // From here on the VM is changed.
        lua.set_named_registry_value(INSTALLED, true)?;
        let made = Additions::new(&lua, offer)?;
        let env = lua.globals();
        let its = (&hosts, &identity, !files.is_empty());
        let (mut prelude, ours) = Prelude::load(&lua, &host, &env, plain, per_script, &made, its)?;
        prelude.feed.collector = Collector::new(memory, keeps);
        if let Some(bytes) = memory {
            lua.set_memory_limit(bytes)?;
        }
        globals::take_away(&env)?;
        let wanted = |name: &str| !without.iter().any(|w| w == name);
        let offered = [("io", host.io.is_some()), ("exit", host.watch.exits())];
        let offered = offered.iter().filter(|(_, is)| *is).map(|(name, _)| *name);
        for (name, _) in &made.globals {
            if offered.clone().any(|its| its == name) {
                let text = format!("Options::global: {name} is what Options::{name} sets");
                return Err(Error::Options(text));
            }
            if wanted(name) && GLOBALS.contains(&&**name) {
                let text = "is a global of moonwire: leave that out with Options::without first";
                return Err(Error::Options(format!("Options::global: {name} {text}")));
            }
        }
        for name in GLOBALS.into_iter().filter(|name| wanted(name)).chain(offered) {
            globals::set(&env, name, &ours.get(name)?)?;
        }
        let shared = if wanted("shared") { Some(ours.get("shared")?) } else { None };
        for (name, value) in made.globals {
            globals::set(&env, &name, &value)?;
        }
        let set_by_hosts = match prelude.host.take() {
            Some(environment) => hosts.run(&lua, &files, environment)?,
            None => Vec::new(),
        };
        let own = ["getfenv", "getgenv", "loadstring"].into_iter().filter(|name| wanted(name));
        let own_globals = per_script.then(|| own.collect());
        Ok(Runtime {
            lua,
            host,
            own_globals,
            knows_threads: wanted("coroutine"),
            set_by_hosts,
            prelude,
            source,
            batch: Batch::default(),
            stopper: Stopper::new(link),
            shared,
            stepped: Instant::now(),
            round_state: RoundState::default(),
            due: None,
            stand_in,
            plain,
            exit_timeout,
            stranded: false,
            lost: 0,
            counted: 0,
        })
    }

    /// The VM.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Starts a script as a thread of its own, which runs up to its first yield. `name` stands in
    /// its errors, and is the place of the script among the modules ([`Options::modules`]), from
    /// which `require` searches. A name that is not a file's counts as a file in the base folder.
    /// `args` reach the script as `...`. The text is never taken for bytecode; it may start with a
    /// byte order mark and a line `#!`.
    ///
    /// An error at its top level is passed to the output, and recorded for [`Runtime::has_raised`]
    /// and [`Script::has_raised`]. Dropping the [`Script`] does not end the script.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`] if the text is not Luau, [`Error::Exited`] after a script has called
    /// `exit`, [`Error::Lua`] if the VM has no memory. An error that the script raises is not an
    /// error of this call.
    pub fn spawn(
        &mut self,
        name: &str,
        text: impl AsRef<[u8]>,
        args: impl IntoLuaMulti,
    ) -> Result<Script, Error> {
        self.spawn_with(name, text, args, ScriptOptions::new())
    }

    /// As [`Runtime::spawn`], with options for this script.
    ///
    /// # Errors
    ///
    /// As [`Runtime::spawn`]; and [`Error::Options`] if scripts could get around the restrictions,
    /// since [`Options::without`] leaves out `coroutine`.
    pub fn spawn_with(
        &mut self,
        name: &str,
        text: impl AsRef<[u8]>,
        args: impl IntoLuaMulti,
        options: ScriptOptions,
    ) -> Result<Script, Error> {
        if !self.knows_threads && options.forbids() {
            let text = "ScriptOptions: a script can get around them without moonwire's coroutine, \
                        which Options::without leaves out";
            return Err(Error::Options(text.into()));
        }
        if self.exit_code().is_some() {
            return Err(Error::Exited);
        }
        self.thaw_shared();
        let script = Script::new(&self.lua, &self.host, &self.prelude.scripts, name, options)?;
        let function = match &self.own_globals {
            Some(own) => script.load_apart(text.as_ref(), own)?,
            None => host::load(&self.lua, self.host.jit, text.as_ref(), &format!("@{name}"), None),
        };
        let function = function.map_err(|text| Error::Syntax(require::named(name, text)))?;
        let thread = self.lua.create_thread(function)?;
        let mut args = args.into_lua_multi(&self.lua)?;
        args.push_front(Value::Thread(thread));
        args.push_front(Value::Table(script.record().clone()));
        let _watched = self.host.watch.enter();
        self.prelude.main.call::<()>(args)?;
        self.host.link.flush();
        Ok(script)
    }

    /// Whether a script has raised at its top level.
    pub fn has_raised(&self) -> bool {
        *lock(&self.host.raised)
    }

    /// Whether the main thread of a script still waited for an event of an ended connection, such
    /// as a message, when [`Runtime::run`] or [`Runtime::finish`] came to the end. There was a
    /// warning for each. A connection that the script itself closed does not count.
    pub fn was_stranded(&self) -> bool {
        self.stranded
    }

    /// The code that a script has passed to `exit` ([`Options::exit`]).
    pub fn exit_code(&self) -> Option<u8> {
        *lock(&self.host.exit)
    }

    /// The members of each type of userdata that scripts see, for the test that compares them with
    /// [`super::TYPES`].
    #[doc(hidden)]
    pub fn members(&self) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
        self.load_all()?;
        let mut all = BTreeMap::new();
        let classes = self.prelude.classes.pairs::<String, Table>();
        let classes = classes.map(|pair| pair.map(|(name, its)| (name, vec![its])));
        let types = self.prelude.parts.members().pairs::<String, Vec<Table>>();
        for pair in classes.chain(types) {
            let (name, tables) = pair?;
            let keys = tables.iter().flat_map(|table| table.pairs::<String, Value>());
            let keys: BTreeSet<String> =
                keys.map(|pair| Ok(pair?.0)).collect::<mlua::Result<_>>()?;
            // Metamethods are not members for scripts.
            let keys = keys.into_iter().filter(|key| !key.starts_with("__")).collect();
            all.insert(name, keys);
        }
        Ok(all)
    }

    /// Loads the parts of the prelude that are otherwise loaded at their first use, for tests.
    #[doc(hidden)]
    pub fn load_all(&self) -> Result<(), Error> {
        Ok(self.prelude.parts.all(&self.lua, self.host.jit)?)
    }

    /// The names of the parts that were loaded after the start, for tests.
    #[doc(hidden)]
    pub fn loaded(&self) -> Result<Vec<&'static str>, Error> {
        Ok(self.prelude.parts.late()?)
    }

    /// The environment of the prelude's functions, for the test that no function looks a global up.
    #[doc(hidden)]
    pub fn environment(&self) -> &Table {
        &self.prelude.environment
    }

    /// Bytes that scripts have sent and that were lost without an event for a script: after
    /// `Close`, at the end, or because no handler was connected to the end of the connection. A
    /// warning was written for each loss.
    pub fn lost(&self) -> u64 {
        self.lost + *lock(&self.host.lost)
    }

    /// How often the stand-in has taken over, and how often it has checked; for tests.
    #[doc(hidden)]
    pub fn stood_in(&self) -> [u64; 2] {
        match &self.source {
            Source::Inline(vm) => vm.seat().counts(),
            Source::Threaded(_) => [0; 2],
        }
    }

    /// A handle that stops the runtime from another thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Runs until no thread can ever run again, then closes open connections as [`Runtime::finish`]
    /// does. Returns [`Progress::Done`], or [`Progress::Stopped`].
    ///
    /// While a script computes for longer than [`Limits::stand_in`](crate::Limits::stand_in),
    /// another thread drives the network: see [`Options::stand_in`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system cannot wait any more, [`Error::Lua`] if the VM has no memory.
    /// The [`Output`](super::Output) receives errors of scripts; they are no errors of this call.
    pub fn run(&mut self) -> Result<Progress, Error> {
        self.begin_run();
        let progress = self.run_while(|| true)?;
        if progress == Progress::Done {
            self.finish();
        }
        Ok(progress)
    }

    /// Runs as [`Runtime::run`] does, but only until `script` is not alive any more
    /// ([`Script::is_alive`]), and closes nothing: the other scripts can run on later. Returns
    /// [`Progress::Done`] if none of them can ever run again.
    ///
    /// # Errors
    ///
    /// As [`Runtime::run`].
    pub fn run_until(&mut self, script: &Script) -> Result<Progress, Error> {
        self.begin_run();
        self.run_while(|| script.is_alive())
    }

    /// From now on the runtime may use a stand-in, unless the options set otherwise.
    fn begin_run(&mut self) {
        if let (Source::Inline(vm), None) = (&self.source, self.stand_in) {
            vm.seat().allow();
            self.host.stand_by();
        }
        self.thaw_shared();
    }

    fn run_while(&mut self, goes_on: impl Fn() -> bool) -> Result<Progress, Error> {
        loop {
            self.step_if_due()?;
            let progress = self.advance(None)?;
            if !progress.is_alive() || !goes_on() {
                return Ok(progress);
            }
            match progress {
                Progress::Waiting(until) => self.turn(until)?,
                _ => self.turn(Some(Instant::now()))?,
            }
        }
    }

    /// One step, for a program with its own loop: does the work that is ready, for about `budget`.
    /// It never waits for the network. With [`Options::stand_in`] set, it may wait until the
    /// stand-in has ended its turn, which reports at most [`Limits::turn`](crate::Limits::turn)
    /// bytes. The time is checked between two handlers, not during one.
    ///
    /// # Errors
    ///
    /// As [`Runtime::run`].
    pub fn step(&mut self, budget: Duration) -> Result<Progress, Error> {
        let end = after(Instant::now(), budget);
        self.thaw_shared();
        self.turn(Some(Instant::now()))?;
        self.stepped = Instant::now();
        self.prelude.step.call::<()>(())?;
        let progress = self.advance(Some(end));
        self.host.link.flush();
        progress
    }

    /// Closes open connections, with 1001. Queued bytes are sent first, as long as the kernel
    /// accepts some ([`Limits::stall`](crate::Limits::stall)) and [`Options::exit_timeout`] allows;
    /// then the servers have 2 s for their close frames. If that is not enough, it warns, with the
    /// number of lost bytes; see [`Runtime::lost`]. Before all this, it warns about main threads
    /// that nothing will wake ([`Runtime::was_stranded`]).
    pub fn finish(&mut self) {
        if self.exit_code().is_none() {
            // The call fails only without memory; then the answer is unknown.
            self.stranded |= self.prelude.warn_stranded.call(()).unwrap_or(false);
        }
        let closing = Closing { code: 1001, answers: END, limit: self.exit_timeout };
        let (host, start) = (&self.host, Instant::now());
        let waits = |left: Left| {
            let text = format!("{} bytes that were sent have not left yet", left.unsent);
            host.write_line(Line::warn(&text));
        };
        let close = || closing.close_all(&host.link, waits);
        let left = match &mut self.source {
            Source::Inline(vm) => vm.alone(close),
            Source::Threaded(_) => close(),
        };
        let limit = self.exit_timeout.filter(|limit| *limit <= start.elapsed());
        let counted = left.unsent + left.lost;
        let lost = counted - self.counted + self.unhandled_losses();
        self.counted = counted;
        self.lost += lost;
        if lost > 0 {
            let why = match limit {
                Some(limit) if left.unsent > 0 => format!(" within {limit:?}, the exit timeout"),
                _ => String::new(),
            };
            let text = format!("{lost} bytes that were sent did not leave{why}");
            self.host.write_line(Line::warn(&text));
        } else if left.open > 0 {
            let connections = if left.open == 1 { "connection was" } else { "connections were" };
            let within = match limit {
                Some(limit) => format!("{limit:?}, the exit timeout"),
                None => format!("{END:?}"),
            };
            let text = format!("{} {connections} not closed within {within}", left.open);
            self.host.write_line(Line::warn(&text));
        }
        // The time for the connections has passed.
        if let Source::Threaded(events) = &self.source {
            events.hurry();
        }
    }

    /// The lost bytes of events that arrived while the last thread ran; no script will handle these
    /// events.
    fn unhandled_losses(&mut self) -> u64 {
        let (now, mut batch, mut bytes) = (Some(Instant::now()), Batch::default(), 0);
        loop {
            let taken = match &mut self.source {
                Source::Inline(vm) => vm.turn(now, &mut batch),
                Source::Threaded(events) => events.take(now, &mut batch),
            };
            if taken.is_err() || batch.is_empty() {
                return bytes;
            }
            for (_, event) in batch.drain() {
                if let Event::Closed(Closed::Lost(e) | Closed::Failed(e)) = event {
                    bytes += e.unsent() as u64;
                }
            }
            batch.clear();
        }
    }

    /// Does the work that is ready.
    fn advance(&mut self, end: Option<Instant>) -> Result<Progress, Error> {
        let _watched = self.host.watch.enter();
        if self.stopper.is_stopped() {
            return Ok(Progress::Stopped);
        }
        if self.host.watch.has_ended() {
            return Ok(Progress::Done);
        }
        self.pass_input()?;
        let limit = end.map(|end| {
            let left = end.saturating_duration_since(Instant::now());
            self.host.seconds() + left.as_secs_f64()
        });
        self.first_round(limit)?;
        // Otherwise connections whose userdata was collected meanwhile would be released only after
        // the next wait.
        while !self.round_state.has(RoundState::LEFT) && self.host.has_dropped() {
            self.round(limit)?;
        }
        if self.host.watch.has_ended() {
            return Ok(Progress::Done);
        }
        let more = matches!(&self.source, Source::Inline(vm) if vm.has_more());
        if self.round_state.has(RoundState::LEFT) || more {
            return Ok(Progress::Ready);
        }
        if !self.round_state.has(RoundState::ALIVE) {
            return Ok(Progress::Done);
        }
        let at = self.due.and_then(|seconds| self.host.instant(seconds));
        let step = self.round_state.has(RoundState::STEPS).then(|| self.stepped + STEP);
        Ok(Progress::Waiting(earlier(at, step)))
    }

    /// Tells the prelude about new input, if there is any.
    fn pass_input(&mut self) -> mlua::Result<()> {
        let Some(io) = self.host.io.as_ref().filter(|io| io.is_ready()) else { return Ok(()) };
        let made = io.input().refill();
        self.prelude.feed.collector.made(&self.lua, &[made])?;
        self.prelude.input.as_ref().map_or(Ok(()), |ready| ready.call(()))
    }

    /// Runs a round with the events of the last turn.
    fn first_round(&mut self, limit: Option<f64>) -> mlua::Result<()> {
        if self.batch.is_empty() {
            return self.round(limit);
        }
        let mut batch = std::mem::take(&mut self.batch);
        let done = self.round_with(limit, &mut batch);
        batch.clear();
        self.batch = batch;
        done
    }

    /// As `first_round`, for a batch with events. Most turns bring one text: one call suffices.
    fn round_with(&mut self, limit: Option<f64>, batch: &mut Batch) -> mlua::Result<()> {
        if let Some((id, text)) = batch.only_text().filter(|_| !self.plain) {
            self.release_dropped()?;
            let arguments = (self.host.seconds(), limit, id.to_bits(), text);
            let state = self.prelude.round_with.call(arguments)?;
            self.prelude.feed.collector.made(&self.lua, &[text.len()])?;
            return self.note(state);
        }
        self.prelude.feed.events(&self.lua, &self.host, limit, batch.drain())?;
        self.round(limit)
    }

    /// Does the work that is ready, up to a time of the Luau side's clock.
    fn round(&mut self, limit: Option<f64>) -> mlua::Result<()> {
        self.release_dropped()?;
        self.note(self.prelude.round.call((self.host.seconds(), limit))?)
    }

    fn note(&mut self, (state, due): (u8, Option<f64>)) -> mlua::Result<()> {
        let waited = self.may_wait_for_step();
        (self.round_state, self.due) = (RoundState(state), due);
        if self.may_wait_for_step() && !waited {
            // Steps of the grid that passed before do not count for the waiting thread.
            self.whole_steps();
        }
        Ok(())
    }

    /// Whether a thread may be waiting for a step; this is unknown while work is left.
    fn may_wait_for_step(&self) -> bool {
        self.round_state.has(RoundState::STEPS) || self.round_state.has(RoundState::LEFT)
    }

    /// Releases connections whose userdata was collected.
    fn release_dropped(&self) -> mlua::Result<()> {
        if !self.host.has_dropped() {
            return Ok(());
        }
        for id in self.host.take_dropped() {
            self.prelude.dropped.call::<()>(id)?;
        }
        Ok(())
    }

    /// `sandbox` makes every table among the globals read-only; `shared` has to be writable.
    fn thaw_shared(&self) {
        if let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_readonly()) {
            shared.set_readonly(false);
        }
    }

    /// In `run`, steps are on a grid of 1/60 s, and happen only if a thread waits for one.
    fn step_if_due(&mut self) -> Result<(), Error> {
        if self.may_wait_for_step() && self.whole_steps() {
            self.prelude.step.call::<()>(())?;
        }
        Ok(())
    }

    /// Moves to the latest step of the grid; returns whether it is a new one.
    fn whole_steps(&mut self) -> bool {
        let whole = self.stepped.elapsed().as_nanos() / STEP.as_nanos() * STEP.as_nanos();
        // At most the elapsed time, so it fits.
        self.stepped += Duration::from_nanos(whole as u64);
        whole > 0
    }

    /// One turn of the reactor, unless events of the last turn are left.
    fn turn(&mut self, until: Option<Instant>) -> Result<(), Error> {
        if self.stopper.is_stopped() || self.round_state.has(RoundState::BUSY) {
            return Ok(());
        }
        match &mut self.source {
            // The turn also writes the bytes that scripts have queued.
            Source::Inline(vm) => vm.turn(until, &mut self.batch)?,
            Source::Threaded(events) => {
                self.host.link.flush();
                events.take(until, &mut self.batch)?;
            }
        }
        Ok(())
    }
}

/// The state that the prelude returns, in the bits of `connections.luau`.
#[derive(Clone, Copy, Default)]
struct RoundState(u8);

impl RoundState {
    /// Work is left.
    const LEFT: u8 = 1;
    /// Some of that work is events.
    const BUSY: u8 = 2;
    /// A thread waits for a step.
    const STEPS: u8 = 4;
    /// A thread can still run.
    const ALIVE: u8 = 8;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}
