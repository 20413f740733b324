//! The natives: Rust functions that the prelude calls. None of them returns an error to Luau; a
//! failure is a value, and the prelude raises it with the script's position.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mlua::chunk::ChunkMode;
use mlua::{
    BString, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserDataRef, Value,
};

use super::compress::CompressOption;
use super::globals;
use super::io::Streams;
use super::jit::Jit;
use super::link::Link;
use super::modules::Modules;
use super::options::{Line, LineKind, Options as Setup, Output};
use super::source::code;
use super::watch::Watch;
use crate::limits::Limits;
use crate::net::{Ask, ConnId, Options, Proxy, Reactor};
use crate::policy::Policy;
use crate::proto::secret::shown_url;
use crate::proto::{CloseFrame, Misuse, Stats};

/// The state that the natives share with the pump.
pub(super) struct Host {
    pub(super) link: Link,
    epoch: Instant,
    output: Mutex<Box<dyn Output>>,
    /// Lines that the output's own call has caused, and that were not passed to it yet.
    queued: Mutex<VecDeque<QueuedLine>>,
    /// Connections whose userdata was collected. The collector may run whenever a value is created,
    /// so a `Drop` may only add to this list.
    dropped: Arc<Dropped>,
    /// Connections whose binary messages scripts get as `buffer`s.
    pub(super) buffers: Mutex<HashSet<ConnId>>,
    /// Whether a main thread has raised.
    pub(super) raised: Mutex<bool>,
    /// Unsent bytes of connections that scripts had closed themselves.
    pub(super) lost: Mutex<u64>,
    pub(super) limits: Limits,
    pub(super) jit: Jit,
    pub(super) ping_interval: Option<Duration>,
    pub(super) compress: CompressOption,
    pub(super) decode: bool,
    /// Whether HTTP calls use kept connections.
    pub(super) keep_alive: bool,
    /// How many HTTP calls scripts may send within a minute.
    pub(super) requests_per_minute: Option<u32>,
    /// Whether scripts may choose a proxy, and whether they may name Unix sockets.
    script_proxy: bool,
    pub(super) unix_sockets: bool,
    pub(super) secrets: Mutex<Option<super::secret::SecretLookup>>,
    pub(super) watch: Arc<Watch>,
    memory_limit: Option<usize>,
    pub(super) modules: Mutex<Box<dyn Modules>>,
    /// The streams of the global `io`.
    pub(super) io: Option<Streams>,
    /// The code of the first call of `exit` by a script.
    pub(super) exit: Mutex<Option<u8>>,
}

/// A line that waits for the output.
struct QueuedLine {
    kind: LineKind,
    script: Option<String>,
    text: String,
    bytes: Vec<u8>,
    traceback: String,
}

impl From<Line<'_>> for QueuedLine {
    fn from(line: Line<'_>) -> QueuedLine {
        QueuedLine {
            kind: line.kind,
            script: line.script.map(str::to_owned),
            text: line.text.to_owned(),
            bytes: line.bytes.to_owned(),
            traceback: line.traceback.to_owned(),
        }
    }
}

impl QueuedLine {
    fn line(&self) -> Line<'_> {
        let QueuedLine { kind, script, text, bytes, traceback } = self;
        Line { kind: *kind, script: script.as_deref(), text, bytes, traceback }
    }
}

/// Under these locks, only the embedder's output and source of secrets can panic. After such a
/// panic, the value is still valid.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    pub(super) fn new(link: Link, limits: Limits, setup: Setup) -> Host {
        let io = setup.io.map(|io| Streams::new(io, link.clone(), &limits));
        Host {
            link,
            io,
            exit: Mutex::default(),
            epoch: Instant::now(),
            output: Mutex::new(setup.output),
            queued: Mutex::default(),
            dropped: Arc::default(),
            buffers: Mutex::default(),
            raised: Mutex::new(false),
            lost: Mutex::new(0),
            limits,
            jit: setup.jit,
            secrets: Mutex::new(setup.secrets),
            modules: Mutex::new(setup.modules),
            ping_interval: setup.ping_interval,
            compress: setup.compress,
            decode: setup.decode,
            keep_alive: setup.keep_alive,
            requests_per_minute: setup.requests_per_minute,
            script_proxy: setup.script_proxy,
            unix_sockets: setup.unix_sockets,
            watch: Watch::new(setup.time_limit, setup.exit),
            memory_limit: setup.memory_limit,
        }
    }

    /// The proxy that a script has chosen, if the options allow it to.
    pub(super) fn script_proxy(&self, given: Option<&LuaString>) -> Result<Option<Proxy>, String> {
        let Some(given) = given else { return Ok(None) };
        if !self.script_proxy {
            let why = "not available to scripts (moonwire run --allow-script-proxy allows it)";
            return Err(format!("option Proxy is {why}"));
        }
        let proxy = Proxy::parse(&given.to_string_lossy());
        proxy.map(Some).map_err(|e| format!("option Proxy: {}", e.kind()))
    }

    /// Passes a line to the embedder's output. A line that this call of the output causes follows
    /// it.
    pub(super) fn write_line(&self, line: Line<'_>) {
        let _embedder = self.watch.leave();
        let mut first = Some(line);
        loop {
            let mut output = match self.output.try_lock() {
                Ok(output) => output,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    // Otherwise another call is passing a line; it passes this one in its next
                    // round.
                    let Some(line) = first.take() else { return };
                    lock(&self.queued).push_back(line.into());
                    continue;
                }
            };
            if let Some(line) = first.take() {
                output.line(line);
            }
            loop {
                let next = lock(&self.queued).pop_front();
                let Some(next) = next else { break };
                output.line(next.line());
            }
            drop(output);
            if lock(&self.queued).is_empty() {
                return;
            }
        }
    }

    /// A native that may take long calls this at intervals; `bytes` counts what it has made outside
    /// the VM's memory. An error states why the script has to stop.
    pub(super) fn look(&self, lua: &Lua, bytes: usize) -> Result<(), String> {
        if self.memory_limit.is_some_and(|limit| lua.used_memory().saturating_add(bytes) > limit) {
            return Err("not enough memory".to_owned());
        }
        self.watch.check(lua)
    }

    /// Seconds since the start: the clock that the Luau side uses.
    pub(super) fn seconds(&self) -> f64 {
        self.epoch.elapsed().as_secs_f64()
    }

    /// A time of that clock as an [`Instant`]; `None` if it is too far in the future.
    pub(super) fn instant(&self, seconds: f64) -> Option<Instant> {
        self.epoch.checked_add(Duration::try_from_secs_f64(seconds.max(0.0)).ok()?)
    }

    /// Starts to open a connection, and starts the stand-in if there is none.
    pub(super) fn open(&self, ask: impl Into<Ask>) -> Result<ConnId, crate::Error> {
        let ask = ask.into();
        // Opening calls the embedder's policy.
        let embedder = self.watch.leave();
        let id = self.link.with(|r| r.open(ask))?;
        drop(embedder);
        self.stand_by();
        Ok(id)
    }

    /// Starts the stand-in, if the options want one. Without this thread the program works as with
    /// `stand_in(false)`, so an error is only a warning.
    pub(super) fn stand_by(&self) {
        if let Err(e) = self.link.stand_by() {
            let text = format!("no stand-in ({e}): the network waits while a script computes");
            self.write_line(Line::warn(&text));
        }
    }

    pub(super) fn has_dropped(&self) -> bool {
        self.dropped.any.load(Ordering::Relaxed)
    }

    pub(super) fn take_dropped(&self) -> Vec<u64> {
        self.dropped.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.dropped.ids))
    }
}

/// Connections whose userdata was collected.
#[derive(Default)]
struct Dropped {
    ids: Mutex<Vec<u64>>,
    /// Whether the list has entries. Only the VM's thread uses it; it needs a lock for mlua's
    /// feature `send`, and this flag makes the check cheap.
    any: AtomicBool,
}

/// The userdata of a connection (or of one of its signals). It lives as long as a script refers to
/// it.
struct Token {
    id: u64,
    dropped: Arc<Dropped>,
}

impl Drop for Token {
    fn drop(&mut self) {
        lock(&self.dropped.ids).push(self.id);
        self.dropped.any.store(true, Ordering::Relaxed);
    }
}

// Nothing reads the tokens; dropping them has the effect.
struct WebSocket(#[allow(dead_code)] Token);
struct WebStreamClient(#[allow(dead_code)] Token);
struct Signal(#[allow(dead_code)] Token);
struct Connection;

/// The policy of a script, as the prelude keeps it.
pub(super) struct ScriptPolicy(pub(super) Policy);

/// The policy of a script, as an argument of natives.
pub(super) type PolicyArg = Option<UserDataRef<ScriptPolicy>>;

/// The name of a script, as an argument of natives.
fn named(script: &Option<LuaString>) -> Option<String> {
    script.as_ref().map(LuaString::to_string_lossy)
}

/// Makes the table of natives. `env` is the table of globals that scripts share.
pub(super) fn natives(lua: &Lua, host: &Arc<Host>, env: &Table) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("hold", host.limits.hold)?;
    table.set("hold_total", host.limits.hold_total)?;
    table.set("stream_clients", host.limits.stream_clients)?;
    table.set("body", host.limits.body)?;
    table.set("requests_per_minute", host.requests_per_minute)?;
    table.set("unix_sockets", host.unix_sockets)?;
    table.set("send_queue", host.limits.send_queue)?;
    table.set("watched", host.watch.is_set())?;
    let its = Arc::clone(host);
    table.set("late", lua.create_function(move |lua, ()| Ok(its.watch.check(lua).err()))?)?;
    table.set("exits", host.watch.exits())?;
    let its = Arc::clone(host);
    let exit = move |lua: &Lua, code: u8| {
        lock(&its.exit).get_or_insert(code);
        its.watch.end(lua);
        Ok(())
    };
    table.set("exit", lua.create_function(exit)?)?;
    clock(lua, host, &table)?;
    texts(lua, host, &table, env)?;
    objects(lua, host, &table)?;
    network(lua, host, &table)?;
    Ok(table)
}

fn clock(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    let its = Arc::clone(host);
    table.set("now", lua.create_function(move |_, ()| Ok(its.seconds()))?)?;
    let unix = |_: &Lua, ()| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(now.map_or(0.0, |d| d.as_secs_f64()))
    };
    table.set("tick", lua.create_function(unix)?)
}

/// How many frames of a traceback are shown from either end.
const ENDS: usize = 20;

fn texts(lua: &Lua, host: &Arc<Host>, table: &Table, env: &Table) -> mlua::Result<()> {
    let its = Arc::clone(host);
    let print = move |_: &Lua, (text, script): (LuaString, Option<LuaString>)| {
        let bytes = text.as_bytes();
        let text = String::from_utf8_lossy(&bytes);
        its.write_line(Line::print(&text).given_as(&bytes).of(named(&script).as_deref()));
        Ok(())
    };
    table.set("print", lua.create_function(print)?)?;
    let its = Arc::clone(host);
    let warn = move |_: &Lua, (text, script): (LuaString, Option<LuaString>)| {
        let bytes = text.as_bytes();
        let text = String::from_utf8_lossy(&bytes);
        its.write_line(Line::warn(&text).given_as(&bytes).of(named(&script).as_deref()));
        Ok(())
    };
    table.set("warn", lua.create_function(warn)?)?;
    let its = Arc::clone(host);
    type Report = (LuaString, LuaString, bool, Option<LuaString>);
    let report = move |_: &Lua, (message, trace, main, script): Report| {
        if its.watch.has_ended() {
            // A call of `exit` ends threads with an error, which is not reported.
            return Ok(());
        }
        let trace = trace.to_string_lossy();
        // Frames of the prelude do not help the author of a script.
        let own = |line: &&str| !line.starts_with("[moonwire]");
        let mut trace: Vec<&str> = trace.lines().filter(own).collect();
        // A stack overflow has 20,000 frames, and only the ends of the stack help.
        let left_out = format!("… {} more", trace.len().saturating_sub(2 * ENDS));
        if trace.len() > 2 * ENDS + 1 {
            trace.splice(ENDS..trace.len() - ENDS, [&*left_out]);
        }
        let (message, traceback) = (message.to_string_lossy(), trace.join("\n"));
        // mlua puts this prefix before errors that are not Luau values.
        let message = message.strip_prefix("runtime error: ").unwrap_or(&message);
        // If a C function is a handler, its error has a position in the prelude.
        let place = message.strip_prefix("[moonwire] ").and_then(|text| text.split_once(": "));
        let message = place.map_or(message, |(_, text)| text);
        its.write_line(Line::raise(message, &traceback).of(named(&script).as_deref()));
        if main {
            *lock(&its.raised) = true;
        }
        Ok(())
    };
    table.set("report", lua.create_function(report)?)?;
    // Returns the URL as errors show it.
    let shown = |_: &Lua, url: LuaString| Ok(shown_url(&url.to_string_lossy()).into_owned());
    table.set("shown_url", lua.create_function(shown)?)?;
    let shown = |_: &Lua, name: LuaString| Ok(crate::proto::escape(&name.as_bytes(), 40));
    table.set("shown_name", lua.create_function(shown)?)?;
    let its = env.clone();
    let getgenv = move |lua: &Lua, ()| {
        let env = globals::shared(lua, &its);
        // From now on a script may replace functions that the compiler assumes to be constant.
        env.set_safeenv(false);
        Ok(env)
    };
    table.set("getgenv", lua.create_function(getgenv)?)?;
    // From now on a script may replace functions that the compiler assumes to be constant.
    let open_up = |_: &Lua, env: Table| {
        env.set_safeenv(false);
        Ok(())
    };
    table.set("open_up", lua.create_function(open_up)?)?;
    let (its, jit) = (env.clone(), host.jit);
    type Load = (LuaString, Option<LuaString>, Option<Table>);
    let load = move |lua: &Lua, (text, name, own): Load| {
        let name = name.map_or("=loadstring".into(), |n| n.to_string_lossy());
        let env = own.unwrap_or_else(|| globals::shared(lua, &its));
        let loaded = load(lua, jit, &text.as_bytes(), &name, Some(env));
        Ok(loaded.map_or_else(|problem| (None, Some(problem)), |f| (Some(f), None)))
    };
    table.set("load", lua.create_function(load)?)
}

/// Compiles a text, never bytecode, without the parts that are not Luau ([`code`]); or returns the
/// syntax error.
pub(super) fn load(
    lua: &Lua,
    jit: Jit,
    text: &[u8],
    name: &str,
    env: Option<Table>,
) -> Result<Function, String> {
    let text = code(text);
    // Luau itself refuses such a text as bytecode. But if the VM has a compiler set, mlua compiles
    // first, and treats a text that begins with NUL as empty.
    if text.first().is_some_and(|first| *first < b'\t') {
        return Err("this is bytecode, not Luau text".into());
    }
    let mut chunk = lua.load(text).set_name(name).set_mode(ChunkMode::Text);
    if let Some(env) = env {
        chunk = chunk.set_environment(env);
    }
    jit.load(lua, text, || chunk.into_function()).map_err(syntax)
}

/// The text of a syntax error, without mlua's prefix.
fn syntax(e: mlua::Error) -> String {
    match e {
        mlua::Error::SyntaxError { message, .. } => message,
        other => other.to_string(),
    }
}

/// A native that gives a type of userdata the metatable that the prelude has written.
pub(super) fn define<T: 'static>(lua: &Lua, name: &'static str) -> mlua::Result<Function> {
    lua.create_function(move |lua, metatable: Table| {
        let pairs: Vec<(String, Value)> = metatable.pairs().collect::<mlua::Result<_>>()?;
        lua.register_userdata_type::<T>(|registry| {
            use mlua::UserDataFields as _;
            for (key, value) in pairs {
                registry.add_meta_field(key, value);
            }
            registry.add_meta_field("__type", name);
        })
    })
}

fn objects(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    table.set("define_websocket", define::<WebSocket>(lua, "WebSocket")?)?;
    // `typeof` returns this for Roblox objects that are not Instances.
    table.set("define_client", define::<WebStreamClient>(lua, "Object")?)?;
    table.set("define_signal", define::<Signal>(lua, "RBXScriptSignal")?)?;
    table.set("define_connection", define::<Connection>(lua, "RBXScriptConnection")?)?;

    let dropped = Arc::clone(&host.dropped);
    let token = move |id| Token { id, dropped: Arc::clone(&dropped) };
    let its = token.clone();
    let websocket = move |lua: &Lua, id: u64| lua.create_any_userdata(WebSocket(its(id)));
    table.set("websocket", lua.create_function(websocket)?)?;
    let its = token.clone();
    let client = move |lua: &Lua, id: u64| lua.create_any_userdata(WebStreamClient(its(id)));
    table.set("client", lua.create_function(client)?)?;
    let signal = move |lua: &Lua, id: u64| lua.create_any_userdata(Signal(token(id)));
    table.set("signal", lua.create_function(signal)?)?;
    let connection = |lua: &Lua, ()| lua.create_any_userdata(Connection);
    table.set("connection", lua.create_function(connection)?)
}

fn network(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    let its = Arc::clone(host);
    type Open = (LuaString, Value, PolicyArg);
    let open = move |lua: &Lua, (url, options, rules): Open| {
        Ok(match open(lua, &its, &url, &options, rules) {
            Ok(id) => (Some(id.to_bits()), None, false),
            Err(NotConnected::Url(text)) => (None, Some(text), false),
            Err(NotConnected::Options(text)) => (None, Some(text), true),
        })
    };
    table.set("open", lua.create_function(open)?)?;
    let its = Arc::clone(host);
    // Luau numbers are doubles; the id of a connection is whole and below 2⁵³.
    let send = move |_: &Lua, (id, message, binary): (f64, Value, bool)| {
        Ok(problem(send(&its, ConnId::from_bits(id as u64), &message, binary)))
    };
    table.set("send", lua.create_function(send)?)?;
    let its = Arc::clone(host);
    let send_short = move |_: &Lua, (id, text): (f64, BString)| {
        Ok(problem(send_string(&its, ConnId::from_bits(id as u64), &text, false)))
    };
    table.set("send_short", lua.create_function(send_short)?)?;
    let its = Arc::clone(host);
    let ping = move |_: &Lua, (id, data): (u64, LuaString)| {
        let id = ConnId::from_bits(id);
        Ok(problem(its.link.with(|r| r.ping(id, &data.as_bytes()))))
    };
    table.set("ping", lua.create_function(ping)?)?;
    let its = Arc::clone(host);
    let close = move |_: &Lua, (id, code, reason): (u64, u16, LuaString)| {
        let frame = CloseFrame::new(code, reason.to_string_lossy());
        // The prelude has checked code and reason. A connection that has ended needs no close.
        let _ = its.link.with(|r| r.close(ConnId::from_bits(id), &frame));
        Ok(())
    };
    table.set("close", lua.create_function(close)?)?;
    type Act = fn(&mut Reactor, ConnId);
    let plain: [(&str, Act); 3] = [
        ("answer_close", Reactor::answer_close),
        ("pause", Reactor::pause),
        ("resume", Reactor::resume),
    ];
    for (name, act) in plain {
        let its = Arc::clone(host);
        let act = move |_: &Lua, id: u64| {
            its.link.with(|r| act(r, ConnId::from_bits(id)));
            Ok(())
        };
        table.set(name, lua.create_function(act)?)?;
    }
    let its = Arc::clone(host);
    let release = move |_: &Lua, (id, code): (u64, Option<u16>)| {
        let id = ConnId::from_bits(id);
        lock(&its.buffers).remove(&id);
        its.link.with(|r| r.release(id, &CloseFrame::new(code.unwrap_or(1001), "")));
        Ok(())
    };
    table.set("release", lua.create_function(release)?)?;
    let its = Arc::clone(host);
    let lost = move |_: &Lua, (bytes, text, script): (u64, LuaString, Option<LuaString>)| {
        *lock(&its.lost) += bytes;
        its.write_line(Line::warn(&text.to_string_lossy()).of(named(&script).as_deref()));
        Ok(())
    };
    table.set("lost", lua.create_function(lost)?)?;
    let its = Arc::clone(host);
    let stats = move |lua: &Lua, id: u64| match its.link.with(|r| r.stats(ConnId::from_bits(id))) {
        Some(stats) => numbers(&stats).into_lua_multi(lua),
        None => Ok(MultiValue::new()),
    };
    table.set("stats", lua.create_function(stats)?)?;
    let its = Arc::clone(host);
    let buffered = move |_: &Lua, id: u64| Ok(its.link.with(|r| r.buffered(ConnId::from_bits(id))));
    table.set("buffered", lua.create_function(buffered)?)
}

/// The counters of a connection, in the order of the arguments of `stats_table`.
pub(super) type Numbers = (u64, u64, u64, u64, Option<f64>, Option<f64>);

pub(super) fn numbers(stats: &Stats) -> Numbers {
    let round_trip = stats.round_trip.map(|time| time.as_secs_f64());
    let (sent, received) = (stats.bytes_sent, stats.bytes_received);
    let messages = (stats.messages_sent, stats.messages_received);
    (sent, received, messages.0, messages.1, round_trip, stats.compression_ratio())
}

/// The error of a send, for the prelude. A connection that is not open is no error: the send has no
/// effect.
fn problem(done: Result<(), Misuse>) -> Option<String> {
    match done {
        Ok(()) | Err(Misuse::NotOpen | Misuse::Ended(_)) => None,
        Err(e) => Some(e.to_string()),
    }
}

fn send(host: &Host, id: ConnId, message: &Value, binary: bool) -> Result<(), Misuse> {
    match message {
        Value::String(text) => send_string(host, id, &text.as_bytes(), binary),
        Value::Buffer(buffer) => {
            let bytes = buffer.to_vec();
            host.link.with(|r| r.send_binary(id, &bytes))
        }
        // The prelude passes only these types.
        _ => Ok(()),
    }
}

/// Sends a string as a text message if it is UTF-8 and `binary` is false; otherwise as binary.
fn send_string(host: &Host, id: ConnId, bytes: &[u8], binary: bool) -> Result<(), Misuse> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !binary => host.link.with(|r| r.send_text(id, text)),
        _ => host.link.with(|r| r.send_binary(id, bytes)),
    }
}

/// Why no connection was started.
enum NotConnected {
    /// The URL is wrong; the script gets this like a failed connect.
    Url(String),
    /// An option is wrong; this is raised, as a mistake of the script.
    Options(String),
}

fn open(
    lua: &Lua,
    host: &Host,
    url: &LuaString,
    options: &Value,
    rules: PolicyArg,
) -> Result<ConnId, NotConnected> {
    let url = url.to_string_lossy();
    let plain = Options::new(&url).map_err(|e| NotConnected::Url(e.to_string()))?;
    let mut wanted = ConnectOptions {
        options: plain.ping_interval(host.ping_interval).hold_close(true),
        limits: None,
        buffers: false,
        compress: host.compress,
    };
    match options {
        Value::Nil => {}
        Value::Table(table) => {
            // Unknown names are found first: a table gives its entries in any order.
            for pair in table.pairs::<Value, Value>() {
                let (key, _) = pair.map_err(|e| NotConnected::Options(e.to_string()))?;
                known(&key).map_err(NotConnected::Options)?;
            }
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair.map_err(|e| NotConnected::Options(e.to_string()))?;
                wanted = wanted.set(lua, host, &key, &value).map_err(NotConnected::Options)?;
            }
        }
        other => {
            let got = type_name(other);
            let text = format!("invalid argument #2 to 'connect' (table expected, got {got})");
            return Err(NotConnected::Options(text));
        }
    }
    let ConnectOptions { options, limits, buffers, compress } = wanted;
    let mut options = compress.apply(options);
    if let Some(rules) = rules {
        options = options.policy(rules.0.clone());
    }
    if let Some(limits) = limits {
        options = options.limits(limits);
    }
    let id = host.open(options).map_err(|e| NotConnected::Url(e.to_string()))?;
    if buffers {
        lock(&host.buffers).insert(id);
    }
    Ok(id)
}

/// How many entries of a script's table pass between two checks of the time limit.
const LOOK: usize = 256;

/// The options of `connect`.
struct ConnectOptions {
    options: Options,
    limits: Option<Limits>,
    buffers: bool,
    compress: CompressOption,
}

impl ConnectOptions {
    fn set(
        mut self,
        lua: &Lua,
        host: &Host,
        key: &Value,
        value: &Value,
    ) -> Result<ConnectOptions, String> {
        let key = match key {
            Value::String(key) => key.to_string_lossy(),
            other => {
                return Err(format!("an option's name is a string, not a {}", type_name(other)));
            }
        };
        let refused = |e: crate::Error| e.kind().to_string();
        match (key.as_str(), value) {
            ("Headers", Value::Table(headers)) => {
                let mut fields = Vec::new();
                for pair in headers.pairs::<Value, Value>() {
                    if fields.len().is_multiple_of(LOOK) {
                        host.watch.check(lua)?;
                    }
                    let (name, value) = pair.map_err(|e| e.to_string())?;
                    fields.push((text("Headers", &name)?, text("Headers", &value)?));
                }
                // The fields are sorted, so that a request, or its error, does not depend on the
                // order in which the table gives them.
                fields.sort();
                for (name, value) in fields {
                    self.options = self.options.header(&name, &value).map_err(refused)?;
                }
            }
            ("Protocols", Value::String(_)) => {
                let name = text("Protocols", value)?;
                self.options = self.options.protocol(&name).map_err(refused)?;
            }
            ("Protocols", Value::Table(names)) => {
                let mut count: usize = 0;
                for _ in names.pairs::<Value, Value>() {
                    if count.is_multiple_of(LOOK) {
                        host.watch.check(lua)?;
                    }
                    count += 1;
                }
                if count != names.raw_len() {
                    return Err("option Protocols: a list of names expected".into());
                }
                for name in names.sequence_values::<Value>() {
                    let name = text("Protocols", &name.map_err(|e| e.to_string())?)?;
                    self.options = self.options.protocol(&name).map_err(refused)?;
                }
            }
            ("Timeout", _) => {
                let limit = Some(seconds("Timeout", value)?).filter(|d| !d.is_zero());
                let limit = limit.ok_or("option Timeout has to be more than 0 seconds")?;
                self.options = self.options.timeout(limit);
            }
            ("PingInterval", _) => {
                let interval = Some(seconds("PingInterval", value)?).filter(|d| !d.is_zero());
                self.options = self.options.ping_interval(interval);
            }
            ("MaxMessageSize", _) => {
                let size = number("MaxMessageSize", value)?;
                if !(size >= 1.0 && size.fract() == 0.0 && size < 9e15) {
                    return Err("option MaxMessageSize has to be a whole number above 0".into());
                }
                let limits = self.limits.get_or_insert_with(|| host.limits.clone());
                limits.message = size as usize;
            }
            ("BinaryType", Value::String(kind)) => match &*kind.as_bytes() {
                b"buffer" => self.buffers = true,
                b"string" => self.buffers = false,
                _ => return Err("option BinaryType has to be \"string\" or \"buffer\"".into()),
            },
            ("Compress", _) => self.compress.set(value, expected)?,
            ("Proxy", Value::String(proxy)) => {
                if let Some(proxy) = host.script_proxy(Some(proxy))? {
                    self.options = self.options.proxy(proxy);
                }
            }
            ("Proxy", other) => return Err(expected("Proxy", "string", other)),
            ("Headers", other) => return Err(expected("Headers", "table", other)),
            ("Protocols", other) => return Err(expected("Protocols", "string or table", other)),
            ("BinaryType", other) => return Err(expected("BinaryType", "string", other)),
            // The names were checked before.
            _ => return Err(no_option(&key)),
        }
        Ok(self)
    }
}

/// The names of the options of `connect`.
const OPTIONS: [&str; 8] = [
    "Headers",
    "Protocols",
    "Timeout",
    "PingInterval",
    "MaxMessageSize",
    "BinaryType",
    "Compress",
    "Proxy",
];

/// Scripts must not choose trusted roots, pins or a client certificate.
const NOT_ITS_OWN: [&str; 3] = ["Cert", "Key", "Pins"];

/// Checks that there is an option of this name; the error has suggestions.
fn known(key: &Value) -> Result<(), String> {
    let Value::String(key) = key else {
        return Err(format!("an option's name is a string, not a {}", type_name(key)));
    };
    let key = key.to_string_lossy();
    match key.as_str() {
        name if OPTIONS.contains(&name) => Ok(()),
        name if NOT_ITS_OWN.contains(&name) => {
            Err(format!("option {name} is not available to scripts"))
        }
        name => Err(no_option(name)),
    }
}

fn no_option(key: &str) -> String {
    // The prelude compares names of options for `CreateWebStreamClient` in the same way.
    let plain = |name: &str| {
        let letters: String = name.chars().filter(|c| !"_- ".contains(*c)).collect();
        let letters = letters.to_ascii_lowercase();
        letters.strip_suffix('s').map_or(letters.clone(), str::to_owned)
    };
    let meant = OPTIONS.iter().find(|name| plain(name) == plain(key));
    let hint = match meant {
        Some(name) => format!(" (did you mean {name}?)"),
        None if plain(key) == "url" => " (the URL is argument #1)".to_owned(),
        None => String::new(),
    };
    format!("connect: there is no option {}{hint}", crate::proto::escape(key.as_bytes(), 40))
}

fn expected(option: &str, kind: &str, got: &Value) -> String {
    format!("option {option}: {kind} expected, got {}", type_name(got))
}

/// The type's name in Luau, which has only one type of numbers.
fn type_name(value: &Value) -> &'static str {
    if value.is_integer() { "number" } else { value.type_name() }
}

fn text(option: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => match text.to_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(format!("option {option}: text that is not UTF-8")),
        },
        other => Err(expected(option, "string", other)),
    }
}

fn number(option: &str, value: &Value) -> Result<f64, String> {
    match value {
        Value::Integer(n) => Ok(*n as f64),
        Value::Number(n) => Ok(*n),
        other => Err(expected(option, "number", other)),
    }
}

/// A time of a script; `Duration::MAX` if it is too long for a `Duration`.
fn seconds(option: &str, value: &Value) -> Result<Duration, String> {
    let n = number(option, value)?;
    if n.is_nan() || n < 0.0 {
        return Err(format!("option {option} has to be 0 or more seconds"));
    }
    Ok(Duration::try_from_secs_f64(n).unwrap_or(Duration::MAX))
}
