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

/// The globals that are set.
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
    /// From `print`.
    Print,
    /// From `warn`, or a warning of the runtime.
    Warn,
    /// An error that no code caught.
    Raise,
}

/// A line of output of a script, or about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line<'a> {
    /// The kind of the line.
    pub kind: LineKind,
    /// The name of the script that has printed it, that has raised, or whose connection a warning
    /// is about: the name that was given to [`Runtime::spawn`](super::Runtime::spawn). `None`: it
    /// is from the runtime itself, or from code that no script has started.
    pub script: Option<&'a str>,
    /// The text. For a raise: script, line and message; for a value that is not a string, the
    /// result of `tostring`.
    pub text: &'a str,
    /// The bytes of the text as the script has given them, which need not be UTF-8: in `text`,
    /// U+FFFD replaces invalid ones.
    pub bytes: &'a [u8],
    /// The traceback of a raise, one frame per line; otherwise empty.
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

    /// The same line with these bytes, of which `text` is the readable form.
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
/// A line that a call of it causes, for example by [`Script::kill`](super::Script::kill), comes
/// after the line of that call.
///
/// It is called on the VM's thread only, so it may hold an `Rc`. Only if `mlua` is built with its
/// feature `send`, so that a VM may be moved to another thread, it has to be `Send`.
pub trait Output: MaybeSend {
    /// Receives a line, in the order in which they occur.
    fn line(&mut self, line: Line<'_>);
}

impl<F: FnMut(Line<'_>) + MaybeSend> Output for F {
    fn line(&mut self, line: Line<'_>) {
        self(line);
    }
}

/// Creates a value in the VM.
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
    /// Whether streams accept codings.
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

/// The embedder's additions to the environment of scripts.
#[derive(Default)]
pub(super) struct Offer {
    pub(super) services: Vec<(String, Maker)>,
    pub(super) globals: Vec<(String, Maker)>,
    /// Name and items, whose values count from 0.
    pub(super) enums: Vec<(String, Vec<String>)>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults: the reactor on the VM's thread, keep-alive pings after 30 s of silence, at
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
        // A script that opens more has a bug; Rust programs have no such limit.
        options.config.limits.connections = 8192;
        options
    }

    /// The reactor's configuration, to be changed in place.
    pub fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Whether the reactor runs on a thread of its own: pings are answered and messages read while
    /// a script computes, at the cost of a thread switch per wake-up.
    pub fn poll_thread(mut self, yes: bool) -> Options {
        self.poll_thread = yes;
        self
    }

    /// Whether a thread stands in for the VM's while a script computes: after 20 to 40 ms
    /// ([`Limits::stand_in`](crate::Limits::stand_in)) it answers pings, checks time limits,
    /// completes closes, sends queued messages, and receives events, which then wait for the script
    /// in order, up to [`Limits::high_water`](crate::Limits::high_water). It sleeps without ticking
    /// while nothing happens, and a message that a handler answers at once costs no thread switch.
    ///
    /// By default, it exists from the first call of [`Runtime::run`](super::Runtime::run) on, and a
    /// program that only calls [`Runtime::step`](super::Runtime::step) gets no thread. With `true`
    /// it exists in any case, also while [`Runtime::spawn`](super::Runtime::spawn) starts a script;
    /// the time between two steps of the program then counts as computing, too. Before the first
    /// connection there is no thread, with [`Options::poll_thread`] there is none at all, and it
    /// ends with the runtime. If the system cannot create a thread, the runtime warns, and the
    /// network waits as with `false`.
    ///
    /// An [`Observer`](crate::trace::Observer) and a [`Policy`](crate::policy::Policy) are called
    /// on whichever thread drives the reactor.
    pub fn stand_in(mut self, yes: bool) -> Options {
        self.stand_in = Some(yes);
        self
    }

    /// Keep-alive pings of connections for which the script sets none; `None`: never.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Options {
        self.ping_interval = interval;
        self
    }

    /// The compression that WebSockets offer if the script does not set it (its option `Compress`);
    /// `None`, the default: none. For when it is unsafe, see [`Compression`].
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, wanted: Option<Compression>) -> Options {
        self.compress = CompressOption(wanted);
        self
    }

    /// Whether streams (`SSE`, `RawStream`) accept compressed responses; not by default. Their data
    /// is reported decoded in any case. See
    /// [`StreamOptions::decode`](crate::StreamOptions::decode).
    #[cfg(feature = "deflate")]
    pub fn decode(mut self, yes: bool) -> Options {
        self.decode = yes;
        self
    }

    /// Whether a script may choose the proxy of a connection (its option `Proxy`); not by default.
    /// The policy is asked about such a proxy as about any. Otherwise proxies are those of
    /// [`Config::proxy`](crate::Config::proxy).
    pub fn script_proxy(mut self, yes: bool) -> Options {
        self.script_proxy = yes;
        self
    }

    /// Whether scripts may name Unix sockets (`ws+unix:/run/app.sock:/path`); not by default, since
    /// services of this machine trust every client of theirs. The policy is asked about them, too.
    pub fn unix_sockets(mut self, yes: bool) -> Options {
        self.unix_sockets = yes;
        self
    }

    /// How many opening handshakes may be in progress at a time per address and port; 1 by default,
    /// as RFC 6455 §4.1 demands. The others wait for their turn, which does not count towards their
    /// time limit, at most [`Limits::opening_wait`](crate::Limits::opening_wait).
    pub fn opening(mut self, at_a_time: usize) -> Options {
        self.config.limits.opening_per_peer = at_a_time;
        self
    }

    /// How long [`Runtime::finish`](super::Runtime::finish), and the end of
    /// [`Runtime::run`](super::Runtime::run), may wait until queued bytes of scripts are sent;
    /// `None`, the default: as long as the kernel takes bytes.
    pub fn exit_timeout(mut self, limit: Option<Duration>) -> Options {
        self.exit_timeout = limit;
        self
    }

    /// The source of secrets for `HttpService:GetSecret`, by name; it returns `None` if it has no
    /// such secret. Without this call there are none. Scripts can send secrets and add to them, but
    /// not read them.
    pub fn secrets(
        mut self,
        source: impl Fn(&str) -> Option<String> + MaybeSend + 'static,
    ) -> Options {
        self.secrets = Some(Box::new(source));
        self
    }

    /// The source of modules for `require`: the files of the system ([`Files`], the default),
    /// memory, an archive ([`Modules`] has an example), or none:
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
    /// collect garbage early to stay below it, so leave room. The text that `JSONEncode` makes
    /// counts, too. An allocation beyond it raises `not enough memory` in the script, or ends
    /// [`super::Runtime::run`] with an error.
    ///
    /// The texts of secrets are in the VM and count. Messages that a script has sent and the
    /// network has not taken yet do not: [`Limits::send_queue`](crate::Limits::send_queue) bounds
    /// those of each connection, and [`Limits::connections`](crate::Limits::connections) the number
    /// of connections.
    pub fn memory_limit(mut self, bytes: Option<usize>) -> Options {
        self.memory_limit = bytes;
        self
    }

    /// Whether memory that was freed stays with the process for what comes next, once 32 MiB of
    /// strings of 4 KiB or more were created: where the process allocates by glibc, up to 32 MiB of
    /// it, for the whole process and its life; elsewhere this does nothing. Large messages cost a
    /// fifth less CPU then, and what a peak has taken is not given back. Off by default, since the
    /// process is the embedder's; the command turns it on.
    pub fn keep_freed_memory(mut self, yes: bool) -> Options {
        self.keep_freed_memory = yes;
        self
    }

    /// The time for which a script may run without a pause; `None`, the default: unlimited. It
    /// starts when the runtime calls or resumes the script, and functions that the script resumes,
    /// spawns or requires run on the same time. When it is over, an error with the script's
    /// position is raised, again and again until the script ends: at the latest 10 ms, and a call
    /// of the language's library, after the limit. (The value that a script can catch is not a
    /// string; `tostring` returns its text.)
    ///
    /// Sets the VM's interrupt, which reads the clock: that costs each loop and call of a script
    /// some 60 ns. Not limited are Lua code that the embedder calls itself, and its output, policy
    /// and source of secrets; a function of the embedder that a script calls runs on the script's
    /// time.
    pub fn time_limit(mut self, limit: Option<Duration>) -> Options {
        self.time_limit = limit;
        self
    }

    /// Gives scripts the global `io`, with these streams; by default there is none. Its members are
    /// in [`TYPES`](super::TYPES). A thread that waits for input keeps the program alive; other
    /// threads, timers and connections go on meanwhile.
    pub fn io(mut self, io: Io) -> Options {
        self.io = Some(io);
        self
    }

    /// Whether scripts have the global `exit(code)`, with which one of them ends all: no script
    /// runs on after it, none is called again, and [`Runtime::run`](super::Runtime::run) ends as if
    /// no thread could run any more: queued bytes are sent, and connections are closed.
    /// [`Runtime::exit_code`](super::Runtime::exit_code) is the code. Not by default.
    ///
    /// A call of `exit` sets the VM's interrupt, which raises an error in running scripts until
    /// they end; Lua code that the embedder calls itself is not affected.
    pub fn exit(mut self, yes: bool) -> Options {
        self.exit = yes;
        self
    }

    /// Which scripts are compiled to native code; [`Jit::Off`], the default: none. On machines that
    /// Luau cannot compile for, none is.
    ///
    /// With another value, [`install`](super::install) sets `Lua::enable_jit` of the VM to `false`
    /// once it is done, and each script sets it while it is loaded; with `Jit::Off` the setting is
    /// not touched, which is `true` in a VM by default. A time limit holds in native code, too, and
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

    /// Whether HTTP calls (`RequestAsync`, `GetAsync`, `PostAsync`) use connections that are kept
    /// for the next ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)); true by
    /// default; otherwise each has one of its own.
    pub fn keep_alive(mut self, yes: bool) -> Options {
        self.keep_alive = yes;
        self
    }

    /// How many HTTP calls (`RequestAsync`, `GetAsync`, `PostAsync`) all scripts together may send
    /// within a minute; `None`, the default: any number. One more raises `Number of requests
    /// exceeded limit`, as in Roblox, where it is 500.
    pub fn requests_per_minute(mut self, most: Option<u32>) -> Options {
        self.requests_per_minute = most;
        self
    }

    /// Runs a host file before the scripts, after those that were given before; by default there is
    /// none. All scripts see the globals that it has set. One that raises is an error of
    /// [`install`](super::install), [`Error::Host`](super::Error::Host).
    ///
    /// Embedders who set a compiler of their own add the globals of host files to it, see
    /// [`install`](super::install).
    pub fn host(mut self, file: HostFile) -> Options {
        self.hosts.push(file);
        self
    }

    /// The player for host files: name and user id of `Players.LocalPlayer`. `Player1` and -1 by
    /// default, as in a test of Studio.
    pub fn player(mut self, name: &str, id: i64) -> Options {
        (self.identity.player, self.identity.player_id) = (name.to_owned(), id);
        self
    }

    /// The place for host files: `game.PlaceId` and `game.GameId`; 0 by default.
    pub fn place(mut self, id: u64) -> Options {
        self.identity.place = id;
        self
    }

    /// Switches off the fast paths on which messages reach scripts: scripts have to see the same.
    /// For the tests that compare both.
    #[doc(hidden)]
    pub fn plain(mut self, yes: bool) -> Options {
        self.plain = yes;
        self
    }

    /// Adds a service: `game:GetService(name)` and `game.<name>` return the value of `make`, which
    /// is called once, by [`install`](super::install) or [`Runtime::new`](super::Runtime::new).
    ///
    /// All scripts get the same value. To protect it from changes, make it read-only
    /// ([`Table::set_readonly`](mlua::Table::set_readonly)) or a userdata. A name that exists
    /// already is an error of `install`.
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
    /// [`Options::service`]. One of [`GLOBALS`] can be replaced only if it is left out with
    /// [`Options::without`]; otherwise that is an error of `install`.
    pub fn global<V: IntoLua>(
        mut self,
        name: &str,
        make: impl FnOnce(&Lua) -> mlua::Result<V> + 'static,
    ) -> Options {
        self.offer.globals.push((name.to_owned(), maker(make)));
        self
    }

    /// Adds an enum, `Enum.<name>`, whose items have the values 0, 1, … in order. A name that
    /// exists already, or an item that is named twice, is an error of `install`.
    pub fn enumeration<S: Into<String>>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = S>,
    ) -> Options {
        let items = items.into_iter().map(Into::into).collect();
        self.offer.enums.push((name.to_owned(), items));
        self
    }

    /// Whether each script has a table of globals of its own: globals that it sets directly, by
    /// `getgenv()` or in a text of `loadstring` are not seen by other scripts, and are gone with
    /// the script. All scripts see globals of the shared table, among them `shared` and `_G`, which
    /// exist for sharing; `require` returns the same module to all scripts, and modules use the
    /// shared table.
    ///
    /// By default, `false`, all scripts have one table: a global that one sets, another sees and
    /// may overwrite.
    pub fn globals_per_script(mut self, yes: bool) -> Options {
        self.globals_per_script = yes;
        self
    }

    /// Does not set a global of [`GLOBALS`]. Any other name is an error of
    /// [`install`](super::install) and [`Runtime::new`](super::Runtime::new).
    ///
    /// `loadstring` and `require`, which mlua adds to every VM, are removed in any case: scripts
    /// have those of this crate, or none. An embedder who has other ones sets them afterwards.
    /// Without `coroutine`, threads that a script creates with Luau's own belong to no script: they
    /// would be allowed what [`ScriptOptions`] forbid, so these options are an error then, and
    /// [`Script::kill`](super::Script::kill) does not end such threads.
    pub fn without(mut self, global: &str) -> Options {
        self.without.push(global.to_owned());
        self
    }
}

/// The permissions of one script, in addition to the [`Options`] for all; for
/// [`Runtime::spawn_with`](super::Runtime::spawn_with).
///
/// There is no memory limit per script: in the one heap a value belongs to every script that refers
/// to it, so [`Options::memory_limit`] is for all. Nor is there a share of time: scripts take turns
/// on one thread, and [`Options::time_limit`] stops one that takes no pause.
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
    /// No restrictions beyond those for all.
    pub fn new() -> ScriptOptions {
        ScriptOptions::default()
    }

    /// Where the script may connect to, among the destinations that [`Config::policy`] allows.
    pub fn policy(mut self, policy: Policy) -> ScriptOptions {
        self.policy = Some(policy);
        self
    }

    /// How many connections it may have at a time that are open or being opened; `None`, the
    /// default: as many as [`Limits::connections`](crate::Limits::connections) leaves.
    pub fn connections(mut self, most: Option<usize>) -> ScriptOptions {
        self.connections = most;
        self
    }

    /// Whether it restricts the script at all.
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
