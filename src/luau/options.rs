//! The options of the script side, and its output.

use std::fmt;
use std::time::Duration;

use mlua::{IntoLua, Lua, MaybeSend, Value};

use super::compress::CompressOption;
use super::host_file::{HostFile, Identity};
use super::io::Io;
use super::jit::Jit;
use super::modules::{Files, Modules};
use super::secret::SecretLookup;
use crate::net::Config;
use crate::policy::Policy;
#[cfg(feature = "deflate")]
use crate::proto::Compression;

/// The globals that scripts get by default.
pub const GLOBALS: [&str; 21] = [
    "WebSocket",
    "websocket",
    "task",
    "coroutine",
    "wait",
    "delay",
    "spawn",
    "tick",
    "time",
    "elapsedTime",
    "print",
    "warn",
    "getgenv",
    "loadstring",
    "require",
    "shared",
    "game",
    "Enum",
    "debug",
    "getfenv",
    "setfenv",
];

/// The kind of a [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A line from `print`.
    Print,
    /// A line from `warn`, or a warning of the runtime.
    Warn,
    /// An error that no code has caught.
    Raise,
}

/// A line of output that a script has written, or that is about a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line<'a> {
    /// The kind of the line.
    pub kind: LineKind,
    /// The name of the script that printed the line, that raised, or whose connection a warning is
    /// about, as given to [`Runtime::spawn`](super::Runtime::spawn). `None`: the line is from the
    /// runtime itself, or from code that no script has started.
    pub script: Option<&'a str>,
    /// The text. For an uncaught error: script, line and message; if the error value is not a
    /// string, the result of `tostring`.
    pub text: &'a str,
    /// The bytes of the text as the script wrote them, which need not be UTF-8: in `text`, U+FFFD
    /// replaces invalid bytes.
    pub bytes: &'a [u8],
    /// The traceback of an uncaught error, one frame per line; otherwise empty.
    pub traceback: &'a str,
}

impl<'a> Line<'a> {
    /// A line of `print`.
    pub fn print(text: &'a str) -> Line<'a> {
        Line::new(LineKind::Print, text, "")
    }

    /// A line of `warn`.
    pub fn warn(text: &'a str) -> Line<'a> {
        Line::new(LineKind::Warn, text, "")
    }

    /// A line of a raise.
    pub fn raise(text: &'a str, traceback: &'a str) -> Line<'a> {
        Line::new(LineKind::Raise, text, traceback)
    }

    fn new(kind: LineKind, text: &'a str, traceback: &'a str) -> Line<'a> {
        Line { kind, script: None, text, bytes: text.as_bytes(), traceback }
    }

    /// The same line with other bytes, of which `text` is the readable form.
    pub(super) fn given_as(self, bytes: &'a [u8]) -> Line<'a> {
        Line { bytes, ..self }
    }

    /// The same line with the name of its script.
    pub fn of(self, script: Option<&'a str>) -> Line<'a> {
        Line { script, ..self }
    }
}

/// The line as the command shows it, without the name of the script.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.kind {
            LineKind::Print => "",
            LineKind::Warn => "warning: ",
            LineKind::Raise => "error: ",
        };
        write!(f, "{mark}{}", self.text)?;
        self.traceback.lines().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Receives lines; the library prints nothing itself. A closure `|line: Line<'_>|` implements it.
///
/// If a call of `line` causes another line, for example by [`Script::kill`](super::Script::kill),
/// the other line follows when the call has returned.
///
/// Only the VM's thread calls it, so it may hold an `Rc`. It has to be `Send` only if `mlua` is
/// built with its feature `send`, so that a VM may move to another thread.
pub trait Output: MaybeSend {
    /// Receives a line; lines come in the order in which they were written.
    fn line(&mut self, line: Line<'_>);
}

impl<F: FnMut(Line<'_>) + MaybeSend> Output for F {
    fn line(&mut self, line: Line<'_>) {
        self(line);
    }
}

/// A function that creates a value in the VM.
pub(super) type Maker = Box<dyn FnOnce(&Lua) -> mlua::Result<Value>>;

fn maker<V: IntoLua>(make: impl FnOnce(&Lua) -> mlua::Result<V> + 'static) -> Maker {
    Box::new(|lua| make(lua)?.into_lua(lua))
}

/// The options of the script side.
///
/// ```
/// use moonwire::luau::{Line, Options, Runtime};
/// use std::time::Duration;
///
/// let options = Options::new(|line: Line<'_>| println!("{line}"))
///     .time_limit(Some(Duration::from_secs(1))) // without a pause
///     .memory_limit(Some(64 * 1024 * 1024))
///     .without("require");
/// let mut runtime = Runtime::new(options)?;
/// # runtime.run()?;
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
pub struct Options {
    pub(super) config: Config,
    pub(super) output: Box<dyn Output>,
    pub(super) poll_thread: bool,
    pub(super) stand_in: Option<bool>,
    pub(super) ping_interval: Option<Duration>,
    pub(super) compress: CompressOption,
    /// Whether streams accept compressed responses.
    pub(super) decode: bool,
    pub(super) script_proxy: bool,
    pub(super) unix_sockets: bool,
    pub(super) exit_timeout: Option<Duration>,
    pub(super) without: Vec<String>,
    pub(super) secrets: Option<SecretLookup>,
    pub(super) modules: Box<dyn Modules>,
    pub(super) memory_limit: Option<usize>,
    pub(super) keep_freed_memory: bool,
    pub(super) time_limit: Option<Duration>,
    pub(super) plain: bool,
    pub(super) offer: Offer,
    pub(super) globals_per_script: bool,
    pub(super) io: Option<Io>,
    pub(super) exit: bool,
    pub(super) jit: Jit,
    pub(super) keep_alive: bool,
    pub(super) requests_per_minute: Option<u32>,
    pub(super) hosts: Vec<HostFile>,
    pub(super) identity: Identity,
}

/// What the embedder adds to the environment of scripts.
#[derive(Default)]
pub(super) struct Offer {
    pub(super) services: Vec<(String, Maker)>,
    pub(super) globals: Vec<(String, Maker)>,
    /// Name and items; the values of the items count from 0.
    pub(super) enums: Vec<(String, Vec<String>)>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults: the VM's thread drives the reactor, keep-alive pings after 30 s of silence, at
    /// most 8,192 connections, all globals.
    pub fn new(output: impl Output + 'static) -> Options {
        let mut options = Options {
            config: Config::default(),
            output: Box::new(output),
            poll_thread: false,
            stand_in: None,
            ping_interval: Some(Duration::from_secs(30)),
            compress: CompressOption::default(),
            decode: false,
            script_proxy: false,
            unix_sockets: false,
            exit_timeout: None,
            without: Vec::new(),
            secrets: None,
            modules: Box::new(Files),
            memory_limit: None,
            keep_freed_memory: false,
            time_limit: None,
            plain: false,
            offer: Offer::default(),
            globals_per_script: false,
            io: None,
            exit: false,
            jit: Jit::OFF,
            keep_alive: true,
            requests_per_minute: None,
            hosts: Vec::new(),
            identity: Identity::default(),
        };
        // A script that opens more connections has a bug; Rust programs have no such limit.
        options.config.limits.connections = 8192;
        options
    }

    /// The reactor's configuration, which the caller may change.
    pub fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Whether the reactor runs on its own thread. This thread answers pings and reads messages
    /// while a script computes, at the cost of a thread switch per wake-up.
    pub fn poll_thread(mut self, yes: bool) -> Options {
        self.poll_thread = yes;
        self
    }

    /// Whether a thread stands in for the VM's thread while a script computes. After 20 to 40 ms
    /// ([`Limits::stand_in`](crate::Limits::stand_in)) it answers pings, checks time limits,
    /// completes closes, and sends queued messages. It also receives events, which wait for the
    /// script in order, up to [`Limits::high_water`](crate::Limits::high_water). It sleeps while
    /// nothing happens, and a message that a handler answers at once costs no thread switch.
    ///
    /// By default, the thread exists from the first call of [`Runtime::run`](super::Runtime::run)
    /// on; a program that only calls [`Runtime::step`](super::Runtime::step) gets none. With
    /// `true`, it also exists while [`Runtime::spawn`](super::Runtime::spawn) starts a script, and
    /// the time between two steps of the program counts as computing, too. There is no such thread
    /// before the first connection, or with [`Options::poll_thread`]. It ends with the runtime. If
    /// the system cannot create the thread, the runtime warns, and the network waits as with
    /// `false`.
    ///
    /// An [`Observer`](crate::trace::Observer) and a [`Policy`](crate::policy::Policy) are called
    /// on whichever thread drives the reactor.
    pub fn stand_in(mut self, yes: bool) -> Options {
        self.stand_in = Some(yes);
        self
    }

    /// The interval of keep-alive pings for connections whose script sets none; `None`: no pings.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Options {
        self.ping_interval = interval;
        self
    }

    /// The compression that WebSockets offer unless the script sets it (its option `Compress`);
    /// `None`, the default: none. [`Compression`] says when it is unsafe.
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, wanted: Option<Compression>) -> Options {
        self.compress = CompressOption(wanted);
        self
    }

    /// Whether streams (`SSE`, `RawStream`) accept compressed responses; not by default. Scripts
    /// always get decoded data. See [`StreamOptions::decode`](crate::StreamOptions::decode).
    #[cfg(feature = "deflate")]
    pub fn decode(mut self, yes: bool) -> Options {
        self.decode = yes;
        self
    }

    /// Whether a script may choose the proxy of a connection (its option `Proxy`); not by default.
    /// The policy is called for such a proxy as for any other. Otherwise
    /// [`Config::proxy`](crate::Config::proxy) chooses proxies.
    pub fn script_proxy(mut self, yes: bool) -> Options {
        self.script_proxy = yes;
        self
    }

    /// Whether scripts may name Unix sockets (`ws+unix:/run/app.sock:/path`); not by default, since
    /// local services trust every client of such a socket. The policy is called for them, too.
    pub fn unix_sockets(mut self, yes: bool) -> Options {
        self.unix_sockets = yes;
        self
    }

    /// How many opening handshakes may run at a time per address and port; 1 by default, as RFC
    /// 6455 §4.1 demands. The others wait for their turn, at most
    /// [`Limits::opening_wait`](crate::Limits::opening_wait), before their time limit starts.
    pub fn opening(mut self, at_a_time: usize) -> Options {
        self.config.limits.opening_per_peer = at_a_time;
        self
    }

    /// How long [`Runtime::finish`](super::Runtime::finish), and
    /// [`Runtime::run`](super::Runtime::run) at its end, may wait until queued bytes of scripts are
    /// sent; `None`, the default: as long as the kernel accepts bytes.
    pub fn exit_timeout(mut self, limit: Option<Duration>) -> Options {
        self.exit_timeout = limit;
        self
    }

    /// The source of secrets for `HttpService:GetSecret`, by name; it returns `None` if it has no
    /// such secret. By default there are no secrets. Scripts can send a secret and add text to it,
    /// but not read it.
    pub fn secrets(
        mut self,
        source: impl Fn(&str) -> Option<String> + MaybeSend + 'static,
    ) -> Options {
        self.secrets = Some(Box::new(source));
        self
    }

    /// The source of modules for `require`: the files of the system ([`Files`], the default),
    /// memory, an archive ([`Modules`] has an example), or no modules:
    ///
    /// ```
    /// # use moonwire::luau::{Line, Options};
    /// let options = Options::new(|_: Line<'_>| {}).modules(|_: &str| Ok(None));
    /// ```
    ///
    /// [`Options::without`]`("require")` also removes the function from scripts. Modules are always
    /// text: bytecode is refused.
    pub fn modules(mut self, modules: impl Modules + 'static) -> Options {
        self.modules = Box::new(modules);
        self
    }

    /// The memory limit of the whole VM in bytes; `None`, the default: unlimited. Luau does not
    /// collect garbage early to stay below the limit, so leave room. The text that `JSONEncode`
    /// makes counts, too. An allocation beyond the limit raises `not enough memory` in the script,
    /// or ends [`super::Runtime::run`] with an error.
    ///
    /// The texts of secrets are in the VM and count. Messages that a script has sent and that are
    /// still queued do not count: [`Limits::send_queue`](crate::Limits::send_queue) bounds those of
    /// each connection, and [`Limits::connections`](crate::Limits::connections) the number of
    /// connections.
    pub fn memory_limit(mut self, bytes: Option<usize>) -> Options {
        self.memory_limit = bytes;
        self
    }

    /// Whether freed memory stays with the process for later use, once scripts have created 32 MiB
    /// of strings of 4 KiB or more. If the process allocates by glibc, up to 32 MiB stay, for the
    /// whole process until its end; otherwise this has no effect. Large messages then cost a fifth
    /// less CPU, but the memory of a peak is not given back. Off by default, since the embedder
    /// decides about the process; the command turns it on.
    pub fn keep_freed_memory(mut self, yes: bool) -> Options {
        self.keep_freed_memory = yes;
        self
    }

    /// The time for which a script may run without a pause; `None`, the default: unlimited. It
    /// starts when the runtime calls or resumes the script, and includes functions that the script
    /// resumes, spawns or requires. When it has passed, an error with the script's position is
    /// raised, again and again until the script ends: at most 10 ms, and one call of the language's
    /// library, after the limit. (The value that a script can catch is not a string; `tostring`
    /// returns its text.)
    ///
    /// This sets the VM's interrupt, which reads the clock and costs each loop and call of a script
    /// some 60 ns. Lua code that the embedder calls itself is not limited, nor is the embedder's
    /// output, policy or source of secrets. A function of the embedder that a script calls counts
    /// as the script's time.
    pub fn time_limit(mut self, limit: Option<Duration>) -> Options {
        self.time_limit = limit;
        self
    }

    /// Gives scripts the global `io`, with these streams; by default there is none.
    /// [`TYPES`](super::TYPES) has its members. A thread that waits for input keeps the program
    /// alive; other threads, timers and connections continue meanwhile.
    pub fn io(mut self, io: Io) -> Options {
        self.io = Some(io);
        self
    }

    /// Whether scripts have the global `exit(code)`; not by default. A script that calls it ends
    /// all scripts: none runs on, and none is called again. [`Runtime::run`](super::Runtime::run)
    /// ends as if no thread could run any more: queued bytes are sent, and connections are closed.
    /// [`Runtime::exit_code`](super::Runtime::exit_code) returns the code.
    ///
    /// A call of `exit` sets the VM's interrupt, which raises an error in running scripts until
    /// they end. Lua code that the embedder calls itself is not affected.
    pub fn exit(mut self, yes: bool) -> Options {
        self.exit = yes;
        self
    }

    /// Which scripts are compiled to native code; [`Jit::Off`], the default: none. On a machine
    /// that Luau cannot compile for, no script is.
    ///
    /// With another value, [`install`](super::install) sets `Lua::enable_jit` of the VM to `false`
    /// at its end, and each load of a script sets it. With `Jit::Off`, nothing changes this
    /// setting, which is `true` in a VM by default. A time limit also holds in native code, and
    /// tracebacks have the same lines.
    ///
    /// ```
    /// use moonwire::luau::{Jit, Line, Options, Runtime};
    ///
    /// let options = Options::new(|line: Line<'_>| assert_eq!(line.text, "4950")).jit(Jit::On);
    /// let mut runtime = Runtime::new(options)?;
    /// runtime.spawn("sum", "--!native\nlocal n = 0 for i = 1, 99 do n += i end print(n)", ())?;
    /// # Ok::<(), moonwire::luau::Error>(())
    /// ```
    #[cfg(feature = "jit")]
    pub fn jit(mut self, which: Jit) -> Options {
        self.jit = which;
        self
    }

    /// Whether HTTP calls (`RequestAsync`, `GetAsync`, `PostAsync`) use kept connections
    /// ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)), the default; otherwise
    /// each call has a connection of its own.
    pub fn keep_alive(mut self, yes: bool) -> Options {
        self.keep_alive = yes;
        self
    }

    /// How many HTTP calls (`RequestAsync`, `GetAsync`, `PostAsync`) all scripts together may send
    /// within a minute; `None`, the default: any number. One more raises `Number of requests
    /// exceeded limit`, as in Roblox, whose limit is 500.
    pub fn requests_per_minute(mut self, most: Option<u32>) -> Options {
        self.requests_per_minute = most;
        self
    }

    /// Runs a host file before the scripts, and after the host files of earlier calls; by default
    /// there is none. All scripts see the globals that it sets. If it raises,
    /// [`install`](super::install) returns [`Error::Host`](super::Error::Host).
    ///
    /// An embedder who sets a compiler adds the globals of host files to it; see
    /// [`install`](super::install).
    pub fn host(mut self, file: HostFile) -> Options {
        self.hosts.push(file);
        self
    }

    /// The player for host files: name and user id of `Players.LocalPlayer`. The defaults,
    /// `Player1` and -1, are those of a test in Studio.
    pub fn player(mut self, name: &str, id: i64) -> Options {
        (self.identity.player, self.identity.player_id) = (name.to_owned(), id);
        self
    }

    /// The place for host files: `game.PlaceId` and `game.GameId`; 0 by default.
    pub fn place(mut self, id: u64) -> Options {
        self.identity.place = id;
        self
    }

    /// Switches off the fast paths on which messages reach scripts; scripts must notice no
    /// difference. For the tests that compare both.
    #[doc(hidden)]
    pub fn plain(mut self, yes: bool) -> Options {
        self.plain = yes;
        self
    }

    /// Adds a service: `game:GetService(name)` and `game.<name>` return the value of `make`, which
    /// is called once, by [`install`](super::install) or [`Runtime::new`](super::Runtime::new).
    ///
    /// All scripts get the same value. To protect it from changes, make it read-only
    /// ([`Table::set_readonly`](mlua::Table::set_readonly)) or a userdata. If the name already
    /// exists, `install` returns an error.
    ///
    /// ```
    /// use moonwire::luau::{Line, Options, Runtime};
    ///
    /// let options = Options::new(|line: Line<'_>| assert_eq!(line.text, "Ada North"))
    ///     .service("Players", |lua| {
    ///         let players = lua.create_table()?;
    ///         players.set("First", lua.create_function(|_, ()| Ok("Ada"))?)?;
    ///         players.set_readonly(true);
    ///         Ok(players)
    ///     })
    ///     .global("heading", |_| Ok("North"))
    ///     .enumeration("Heading", ["North", "South"]);
    /// let mut runtime = Runtime::new(options)?;
    /// let script = r#"
    ///     assert(Enum.Heading.South.Value == 1)
    ///     print(game:GetService("Players").First(), heading)
    /// "#;
    /// runtime.spawn("script", script, ())?;
    /// assert!(!runtime.has_raised());
    /// # Ok::<(), moonwire::luau::Error>(())
    /// ```
    pub fn service<V: IntoLua>(
        mut self,
        name: &str,
        make: impl FnOnce(&Lua) -> mlua::Result<V> + 'static,
    ) -> Options {
        self.offer.services.push((name.to_owned(), maker(make)));
        self
    }

    /// Adds a global, for example a function (`|lua| lua.create_function(…)`); see
    /// [`Options::service`]. To replace one of [`GLOBALS`], also leave it out with
    /// [`Options::without`]; otherwise `install` returns an error.
    pub fn global<V: IntoLua>(
        mut self,
        name: &str,
        make: impl FnOnce(&Lua) -> mlua::Result<V> + 'static,
    ) -> Options {
        self.offer.globals.push((name.to_owned(), maker(make)));
        self
    }

    /// Adds an enum, `Enum.<name>`, whose items have the values 0, 1, … in order. If the name
    /// already exists, or an item is named twice, `install` returns an error.
    pub fn enumeration<S: Into<String>>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = S>,
    ) -> Options {
        let items = items.into_iter().map(Into::into).collect();
        self.offer.enums.push((name.to_owned(), items));
        self
    }

    /// Whether each script has its own table of globals. Other scripts do not see globals that a
    /// script sets directly, by `getgenv()` or in a text of `loadstring`, and these globals end
    /// with the script. All scripts see the globals of the shared table, among them `shared` and
    /// `_G`, which exist for sharing; `require` returns the same module to all scripts, and modules
    /// use the shared table.
    ///
    /// By default, `false`, all scripts have one table: a script sees the globals that another
    /// sets, and may overwrite them.
    pub fn globals_per_script(mut self, yes: bool) -> Options {
        self.globals_per_script = yes;
        self
    }

    /// Leaves out a global of [`GLOBALS`]. For any other name, [`install`](super::install) and
    /// [`Runtime::new`](super::Runtime::new) return an error.
    ///
    /// `loadstring` and `require`, which mlua adds to every VM, are removed in any case: scripts
    /// have those of this crate, or none. An embedder who has other ones sets them afterwards.
    /// Without `coroutine`, threads that a script creates with Luau's own belong to no script.
    /// [`ScriptOptions`] would not restrict them, so such options are then an error, and
    /// [`Script::kill`](super::Script::kill) does not end such threads.
    pub fn without(mut self, global: &str) -> Options {
        self.without.push(global.to_owned());
        self
    }
}

/// The restrictions of one script, in addition to the [`Options`] for all; for
/// [`Runtime::spawn_with`](super::Runtime::spawn_with).
///
/// There is no memory limit per script: a value on the one heap belongs to every script that refers
/// to it, so [`Options::memory_limit`] is for all. Nor is there a share of time: scripts take turns
/// on one thread, and [`Options::time_limit`] stops a script that does not pause.
///
/// ```
/// use moonwire::Policy;
/// use moonwire::luau::{Line, Options, Runtime, ScriptOptions};
///
/// let mut runtime = Runtime::new(Options::new(|line: Line<'_>| println!("{line}")))?;
/// let may = ScriptOptions::new().policy(Policy::public()).connections(Some(2));
/// runtime.spawn_with("guest.luau", "print('two connections, none of them private')", (), may)?;
/// runtime.run()?;
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptOptions {
    pub(super) policy: Option<Policy>,
    pub(super) connections: Option<usize>,
}

impl ScriptOptions {
    /// No restrictions besides those for all scripts.
    pub fn new() -> ScriptOptions {
        ScriptOptions::default()
    }

    /// Where the script may connect to, among the destinations that [`Config::policy`] allows.
    pub fn policy(mut self, policy: Policy) -> ScriptOptions {
        self.policy = Some(policy);
        self
    }

    /// How many connections of the script may be open or being opened at a time; `None`, the
    /// default: as many as [`Limits::connections`](crate::Limits::connections) leaves.
    pub fn connections(mut self, most: Option<usize>) -> ScriptOptions {
        self.connections = most;
        self
    }

    /// Whether these options restrict the script at all.
    pub(super) fn forbids(&self) -> bool {
        self.policy.is_some() || self.connections.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_get_keep_alive_pings_and_a_bound_of_connections_unless_told_otherwise() {
        let options = Options::new(|_: super::super::Line<'_>| {});
        assert_eq!(options.ping_interval, Some(Duration::from_secs(30)));
        assert_eq!(options.config.limits.connections, 8192);
        assert_eq!(options.ping_interval(None).ping_interval, None);
    }
}
