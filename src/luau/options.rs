//! What the script side is set up with, and where what it says goes.

use std::fmt;
use std::time::Duration;

use mlua::{IntoLua, Lua, MaybeSend, Value};

use super::compress::Choice;
use super::host_file::{HostFile, Identity};
use super::io::Io;
use super::jit::Jit;
use super::modules::{Files, Modules};
use super::secret::Source;
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

/// What a [`Line`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// From `print`.
    Print,
    /// From `warn`, or a warning of the runtime.
    Warn,
    /// A raise that nobody caught.
    Raise,
}

/// Something a script says, or that is said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line<'a> {
    /// What it is.
    pub kind: LineKind,
    /// The name of the script that has said it, that has raised, or whose connection a warning is about:
    /// the one that was given to [`Runtime::spawn`](super::Runtime::spawn). `None`: it is of the runtime
    /// itself, or of code that no script has started.
    pub script: Option<&'a str>,
    /// What is said. Of a raise: script, line and text; what `tostring` gives for a value that is no
    /// string.
    pub text: &'a str,
    /// The same as the script has given it, which need not be UTF-8: in `text`, U+FFFD stands for what is
    /// none.
    pub bytes: &'a [u8],
    /// Of a raise, where it came from, a line each; otherwise empty.
    pub traceback: &'a str,
}

impl<'a> Line<'a> {
    /// As `print` says it.
    pub fn print(text: &'a str) -> Line<'a> {
        Line::new(LineKind::Print, text, "")
    }

    /// As `warn` says it.
    pub fn warn(text: &'a str) -> Line<'a> {
        Line::new(LineKind::Warn, text, "")
    }

    /// A raise.
    pub fn raise(text: &'a str, traceback: &'a str) -> Line<'a> {
        Line::new(LineKind::Raise, text, traceback)
    }

    fn new(kind: LineKind, text: &'a str, traceback: &'a str) -> Line<'a> {
        Line { kind, script: None, text, bytes: text.as_bytes(), traceback }
    }

    /// The same, of which `text` shows these bytes.
    pub(super) fn given_as(self, bytes: &'a [u8]) -> Line<'a> {
        Line { bytes, ..self }
    }

    /// The same, of a script.
    pub fn of(self, script: Option<&'a str>) -> Line<'a> {
        Line { script, ..self }
    }
}

/// As the command shows it, without the name of the script.
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

/// Where lines go; the library prints nothing itself. A closure `|line: Line<'_>|` is one.
///
/// Where it makes another line, by [`Script::kill`](super::Script::kill) say, that comes behind the one
/// that it was called with.
///
/// It is called on the thread of the VM and on no other, so it may hold an `Rc`. Only where `mlua` is
/// built with its feature `send`, so that a VM may be moved to another thread, it has to be `Send`.
pub trait Output: MaybeSend {
    /// A line, in the order in which they come.
    fn line(&mut self, line: Line<'_>);
}

impl<F: FnMut(Line<'_>) + MaybeSend> Output for F {
    fn line(&mut self, line: Line<'_>) {
        self(line);
    }
}

/// Makes a value in the VM.
pub(super) type Maker = Box<dyn FnOnce(&Lua) -> mlua::Result<Value>>;

fn maker<V: IntoLua>(make: impl FnOnce(&Lua) -> mlua::Result<V> + 'static) -> Maker {
    Box::new(|lua| make(lua)?.into_lua(lua))
}

/// What the script side is set up with.
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
    pub(super) compress: Choice,
    /// Whether streams ask for codings.
    pub(super) decode: bool,
    pub(super) script_proxy: bool,
    pub(super) unix_sockets: bool,
    pub(super) exit_timeout: Option<Duration>,
    pub(super) without: Vec<String>,
    pub(super) secrets: Option<Source>,
    pub(super) modules: Box<dyn Modules>,
    pub(super) memory_limit: Option<usize>,
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

/// What the embedder adds to what scripts find.
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
            compress: Choice::default(),
            decode: false,
            script_proxy: false,
            unix_sockets: false,
            exit_timeout: None,
            without: Vec::new(),
            secrets: None,
            modules: Box::new(Files),
            memory_limit: None,
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
        // A script that opens more has lost count; Rust programs have no such limit.
        options.config.limits.connections = 8192;
        options
    }

    /// The reactor's configuration, to be changed in place.
    pub fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Whether the reactor runs on a thread of its own: pings are answered and messages read
    /// while a script computes, for a thread switch per wake-up.
    pub fn poll_thread(mut self, yes: bool) -> Options {
        self.poll_thread = yes;
        self
    }

    /// Whether a thread stands in for the VM's while a script computes: from 20 to 40 ms on
    /// ([`Limits::stand_in`](crate::Limits::stand_in)) it answers pings, keeps time limits,
    /// completes closes, sends what the script sends, and receives what then waits for the script
    /// in its order, up to [`Limits::high_water`](crate::Limits::high_water). It sleeps without
    /// ticking while nothing happens, and a message that a handler answers at once costs no thread
    /// switch.
    ///
    /// Not said, it is there from the first call of [`Runtime::run`](super::Runtime::run) on, and a
    /// program that only calls [`Runtime::step`](super::Runtime::step) gets no thread. With `true`
    /// it is there in any case, also while [`Runtime::spawn`](super::Runtime::spawn) starts a
    /// script; what the program does between two steps then counts as computing, too. Before the
    /// first connection there is no thread, with [`Options::poll_thread`] there is none at all, and
    /// it ends with the runtime. If the system has no thread for it, a warning says so, and the
    /// network waits as with `false`.
    ///
    /// An [`Observer`](crate::trace::Observer) and a [`Policy`](crate::policy::Policy) are called on whichever
    /// thread drives the reactor.
    pub fn stand_in(mut self, yes: bool) -> Options {
        self.stand_in = Some(yes);
        self
    }

    /// Keep-alive pings of connections whose script asks for none; `None`: never.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Options {
        self.ping_interval = interval;
        self
    }

    /// What WebSockets offer to compress with whose script says nothing (its option `Compress`); `None`,
    /// the default: nothing. When it is unsafe: [`Compression`].
    #[cfg(feature = "deflate")]
    pub fn compression(mut self, wanted: Option<Compression>) -> Options {
        self.compress = Choice(wanted);
        self
    }

    /// Whether streams (`SSE`, `RawStream`) ask for compressed answers, which are decoded in any case where
    /// they are told; not by default. See [`StreamOptions::decode`](crate::StreamOptions::decode).
    #[cfg(feature = "deflate")]
    pub fn decode(mut self, yes: bool) -> Options {
        self.decode = yes;
        self
    }

    /// Whether a script may choose the proxy of a connection (its option `Proxy`); not by default. The
    /// policy is asked for such a proxy as for any. Otherwise proxies are those of
    /// [`Config::proxy`](crate::Config::proxy).
    pub fn script_proxy(mut self, yes: bool) -> Options {
        self.script_proxy = yes;
        self
    }

    /// Whether scripts may name Unix sockets (`ws+unix:/run/app.sock:/path`); not by default, since
    /// services of the own machine trust whoever reaches theirs. The policy is asked for them, too.
    pub fn unix_sockets(mut self, yes: bool) -> Options {
        self.unix_sockets = yes;
        self
    }

    /// How many opening handshakes are under way at a time with one address and port: 1, as RFC 6455
    /// §4.1 demands, unless it is said here. The others wait for their turn, which does not count
    /// against their time limit, at most [`Limits::opening_wait`](crate::Limits::opening_wait).
    pub fn opening(mut self, at_a_time: usize) -> Options {
        self.config.limits.opening_per_peer = at_a_time;
        self
    }

    /// How long [`Runtime::finish`](super::Runtime::finish), and the end of
    /// [`Runtime::run`](super::Runtime::run), may wait for what scripts have sent to leave; `None`,
    /// the default: as long as it moves.
    pub fn exit_timeout(mut self, limit: Option<Duration>) -> Options {
        self.exit_timeout = limit;
        self
    }

    /// Where `HttpService:GetSecret` gets a secret by its name; `None` from it: there is none of
    /// that name, as without a source. Scripts can send secrets and add to them, not read them.
    pub fn secrets(
        mut self,
        source: impl Fn(&str) -> Option<String> + MaybeSend + 'static,
    ) -> Options {
        self.secrets = Some(Box::new(source));
        self
    }

    /// Where `require` gets modules: from the files of the system ([`Files`], the default), from
    /// memory, from an archive ([`Modules`] has an example), or nowhere:
    ///
    /// ```
    /// # use moonwire::luau::{Line, Options};
    /// let options = Options::new(|_: Line<'_>| {}).modules(|_: &str| Ok(None));
    /// ```
    ///
    /// [`Options::without`]`("require")` leaves scripts without the function as well. Whatever a
    /// module is read from, it is text: bytecode is refused.
    pub fn modules(mut self, modules: impl Modules + 'static) -> Options {
        self.modules = Box::new(modules);
        self
    }

    /// Memory of the whole VM in bytes; `None`, the default: any. Luau does not collect garbage
    /// early to stay below it, so leave room. The text that `JSONEncode` makes counts, too. What goes beyond raises `not enough memory` in the
    /// script, or ends [`super::Runtime::run`] with an error.
    ///
    /// The texts of secrets are in the VM and count. What a script has sent and the network has not
    /// taken yet does not: [`Limits::send_queue`](crate::Limits::send_queue) bounds that for each
    /// connection, and [`Limits::connections`](crate::Limits::connections) how many there are.
    pub fn memory_limit(mut self, bytes: Option<usize>) -> Options {
        self.memory_limit = bytes;
        self
    }

    /// Time for which a script may run without a pause; `None`, the default: any. It counts from
    /// where the runtime calls or resumes the script, and what that resumes, spawns or requires runs
    /// on the same time. What takes longer is raised at with its place, again and again until it
    /// ends: at the latest 10 ms, and a call of the language's library, after the limit. (The value
    /// that a script can catch is no string; `tostring` gives its text.)
    ///
    /// Sets the VM's interrupt, which looks at the clock: that costs each loop and call of a script
    /// some 60 ns. Lua that the embedder calls itself is not touched, nor what its output, policy
    /// and source of secrets call; a function of the embedder's that a script calls runs on the
    /// script's time.
    pub fn time_limit(mut self, limit: Option<Duration>) -> Options {
        self.time_limit = limit;
        self
    }

    /// Gives scripts the global `io`, with these to read and to write; by default there is none. What it
    /// has is in [`TYPES`](super::TYPES). A thread that waits for input keeps the program alive; the others,
    /// timers and connections go on meanwhile.
    pub fn io(mut self, io: Io) -> Options {
        self.io = Some(io);
        self
    }

    /// Whether scripts have the global `exit(code)`, with which one of them ends all: no script runs on
    /// from there, none is called again, and [`Runtime::run`](super::Runtime::run) comes to its end as if no
    /// thread could run any more: what was sent leaves, and connections are closed.
    /// [`Runtime::exit_code`](super::Runtime::exit_code) is the code. Not by default.
    ///
    /// A call of `exit` sets the VM's interrupt, by which what still runs is raised at until it ends; Lua
    /// that the embedder calls itself is not.
    pub fn exit(mut self, yes: bool) -> Options {
        self.exit = yes;
        self
    }

    /// Which scripts are compiled to native code; [`Jit::Off`], the default: none. On machines for which
    /// Luau has none, nothing is.
    ///
    /// With another, [`install`](super::install) sets `Lua::enable_jit` of the VM to `false` once it is done, and
    /// each script says by itself; with this one it is left as it is, which is `true` in a VM that nobody has
    /// told otherwise. A time limit holds in native code, too, and tracebacks have the same lines.
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

    /// Whether HTTP calls (`RequestAsync`, `GetAsync`, `PostAsync`) go over connections that are kept for the
    /// next ([`StreamOptions::keep_alive`](crate::StreamOptions::keep_alive)), as they do by default; otherwise
    /// each has one of its own.
    pub fn keep_alive(mut self, yes: bool) -> Options {
        self.keep_alive = yes;
        self
    }

    /// How many HTTP calls (`RequestAsync`, `GetAsync`, `PostAsync`) scripts may send within a minute, all
    /// together; `None`, the default: any number. One more raises `Number of requests exceeded limit`, as in
    /// Roblox, where it is 500.
    pub fn requests_per_minute(mut self, most: Option<u32>) -> Options {
        self.requests_per_minute = most;
        self
    }

    /// Runs a host file before the scripts, behind those that were given before; by default there is none.
    /// What it has set is there for all scripts. One that raises is an error of
    /// [`install`](super::install), [`Error::Host`](super::Error::Host).
    ///
    /// Embedders who set a compiler of their own name the globals of host files there, as
    /// [`install`](super::install) says.
    pub fn host(mut self, file: HostFile) -> Options {
        self.hosts.push(file);
        self
    }

    /// Who scripts run as, for host files: name and number of `Players.LocalPlayer`. `Player1` and -1 unless
    /// it is said, as in a test of Studio.
    pub fn player(mut self, name: &str, id: i64) -> Options {
        (self.identity.player, self.identity.player_id) = (name.to_owned(), id);
        self
    }

    /// Which place scripts run in, for host files: `game.PlaceId` and `game.GameId`; 0 unless it is said.
    pub fn place(mut self, id: u64) -> Options {
        self.identity.place = id;
        self
    }

    /// Takes none of the short paths on which messages reach scripts: what scripts see has to be the
    /// same. For the tests that compare both.
    #[doc(hidden)]
    pub fn plain(mut self, yes: bool) -> Options {
        self.plain = yes;
        self
    }

    /// Adds a service: `game:GetService(name)` and `game.<name>` give what `make` has made, which is
    /// called once, by [`install`](super::install) or [`Runtime::new`](super::Runtime::new).
    ///
    /// All scripts get the same value. What they must not change is made read-only
    /// ([`Table::set_readonly`](mlua::Table::set_readonly)) or is a userdata. A name that there is
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

    /// Adds a global, a function for example (`|lua| lua.create_function(…)`); see
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

    /// Adds an enum, `Enum.<name>`, whose items have the values 0, 1, … in their order. A name that
    /// there is already, or an item that is named twice, is an error of `install`.
    pub fn enumeration<S: Into<String>>(
        mut self,
        name: &str,
        items: impl IntoIterator<Item = S>,
    ) -> Options {
        let items = items.into_iter().map(Into::into).collect();
        self.offer.enums.push((name.to_owned(), items));
        self
    }

    /// Whether each script has a table of globals of its own: what it sets as a global, by `getgenv()`
    /// or in a text of `loadstring`, no other script sees, and it is gone with the script. What stands
    /// in the shared table is seen by all, and so are `shared` and `_G`, which are there to share
    /// things; `require` gives all scripts the same module, which has the shared table.
    ///
    /// By default, `false`, all scripts have one table: a global that one sets, another sees and may
    /// overwrite.
    pub fn globals_per_script(mut self, yes: bool) -> Options {
        self.globals_per_script = yes;
        self
    }

    /// Leaves a global of [`GLOBALS`] as it is. Any other name is an error of
    /// [`install`](super::install) and [`Runtime::new`](super::Runtime::new).
    ///
    /// `loadstring` and `require`, which mlua puts into every VM, are taken away from there in any
    /// case: scripts have those of this crate, or none. An embedder who has others for them sets
    /// them afterwards. Without `coroutine`, threads that a script makes by Luau's own belong to no
    /// script: what [`ScriptOptions`] forbid would be allowed to them, so these are an error then, and
    /// [`Script::kill`](super::Script::kill) does not end them.
    pub fn without(mut self, global: &str) -> Options {
        self.without.push(global.to_owned());
        self
    }
}

/// What a script may, besides what [`Options`] say of all; for
/// [`Runtime::spawn_with`](super::Runtime::spawn_with).
///
/// Memory has no share per script: there is one heap, in which a value belongs to whoever refers to it,
/// so [`Options::memory_limit`] is that of all. Nor has time: scripts take turns on one thread, and what
/// stops one that takes no pause is [`Options::time_limit`].
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
    /// Nothing besides what is said of all.
    pub fn new() -> ScriptOptions {
        ScriptOptions::default()
    }

    /// Where it may connect to, of what [`Config::policy`] allows.
    pub fn policy(mut self, policy: Policy) -> ScriptOptions {
        self.policy = Some(policy);
        self
    }

    /// How many connections it may have at a time that are open or being opened; `None`, the default: as
    /// many as are left of [`Limits::connections`](crate::Limits::connections).
    pub fn connections(mut self, most: Option<usize>) -> ScriptOptions {
        self.connections = most;
        self
    }

    /// Whether it may less than others.
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
