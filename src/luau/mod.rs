//! Luau: signals, the `task` library and the script APIs, in a VM of the embedder ([`install`]) or
//! in a VM of its own ([`Runtime::new`]).
//!
//! The signals, the scheduler and the objects are written in Luau (`prelude/`), since a Rust
//! function cannot yield and its errors have no script position. Rust has the natives (`host.rs`;
//! they reach the reactor through `link.rs`) and the pump (`pump.rs`), which sends bytes, passes
//! events to the prelude in groups (`feed.rs`), and resumes threads.
//!
//! ```text
//! timers.luau             deadlines, steps
//! scheduler.luau          threads, waits, the cycle
//! scripts.luau            which thread, handler and connection belongs to which script; ending one
//! task.luau               `task`, its legacy forms, `coroutine`
//! signal.luau             RBXScriptSignal, RBXScriptConnection
//! connections.luau        events of connections, and references that keep them alive
//! websocket.luau          WebSocket, websocket
//! enums.luau              Enum
//! instances.luau          objects for which `typeof` returns Instance
//! request_options.luau    the options of requests and streams
//! web_stream_client.luau  WebStreamClient
//! requests.luau           HTTP calls that wait for the whole response
//! http_service.luau       HttpService, Secret
//! data_model.luau         game
//! require.luau            require
//! inspect.luau            debug, getfenv, setfenv
//! io.luau                 io, if the embedder offers it
//! globals.luau            print, warn, loadstring, …
//! hosts.luau              `host`, for host files (`hosts/` has those of this crate)
//! types.d.luau            types that the files share, for the type checker only (tests/types)
//! ```

mod base64;
mod collector;
#[cfg(feature = "deflate")]
mod compress;
#[cfg(not(feature = "deflate"))]
#[path = "no_compress.rs"]
mod compress;
mod definitions;
mod error;
mod feed;
mod globals;
mod host;
mod host_file;
mod hosts;
mod input;
mod io;
#[cfg(feature = "jit")]
mod jit;
#[cfg(not(feature = "jit"))]
#[path = "no_jit.rs"]
mod jit;
#[cfg(feature = "json")]
mod json;
#[cfg(not(feature = "json"))]
#[path = "no_json.rs"]
mod json;
mod link;
#[cfg(feature = "json")]
mod loose;
mod luaurc;
mod modules;
mod offer;
mod options;
mod parts;
mod prelude;
mod pump;
mod require;
mod script;
mod secret;
mod source;
mod stdio;
mod stopper;
mod streams;
mod values;
mod watch;

pub use definitions::TYPES;
pub use error::Error;
pub use host_file::HostFile;
pub use io::Io;
#[cfg(feature = "jit")]
pub use jit::Jit;
pub use modules::{Files, Modules};
pub use options::{GLOBALS, Line, LineKind, Options, Output, ScriptOptions};
pub use pump::{Progress, Runtime};
pub use script::Script;
pub use stopper::Stopper;

use mlua::Lua;

/// Adds the script APIs to an existing VM, before or after `sandbox`.
///
/// It sets the globals of [`GLOBALS`], except those that the options leave out, and those that the
/// options add ([`Options::io`], [`Options::exit`], [`Options::global`]). It removes mlua's
/// `loadstring` and `require` ([`Options::without`]). It changes nothing else: it sets an interrupt
/// or a memory limit only if the options ask for that, and no panic option and no app data. After
/// `sandbox`, it also replaces existing globals of these names in the frozen table, which scripts
/// reach through the metatable of their own. Scripts that use the globals have to run as threads
/// (`Lua::create_thread`, or [`Runtime::spawn`]), since `connect` and `task.wait` yield. Drive the
/// runtime with [`Runtime::step`] or [`Runtime::run`].
///
/// After `sandbox`, Luau looks up `shared.x` or `player.x` only once, when it loads a text, unless
/// the compiler knows that the fields of the global change: add its name to
/// `Compiler::set_mutable_globals` (`Lua::set_compiler`), as [`Runtime::new`] does for `_G`,
/// `shared`, `game` and the names of [`Options::global`].
///
/// A VM can be used only once: a second call returns [`Error::Installed`], even after the first
/// runtime was dropped.
///
/// ```
/// use moonwire::luau::{Line, Options};
/// use moonwire::mlua::Lua;
///
/// let lua = Lua::new();
/// let options = Options::new(|line: Line<'_>| println!("{line}"));
/// let mut runtime = moonwire::luau::install(&lua, options)?;
/// runtime.spawn("hello", "task.wait() print('one step later')", ())?;
/// while runtime.step(std::time::Duration::from_millis(2))?.is_alive() {}
/// # Ok::<(), moonwire::luau::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Installed`], [`Error::NoGlobal`], [`Error::Options`] if options contradict each other
/// or an existing global, [`Error::Host`] if a host file fails, [`Error::Lua`] if the VM refuses an
/// operation, [`Error::Io`] if the system has no descriptor for the reactor.
pub fn install(lua: &Lua, options: Options) -> Result<Runtime, Error> {
    Runtime::install(lua.clone(), options)
}

// If Luau's values may move to another thread, a runtime may, too, and may be used there through a
// reference.
#[cfg(mlua_send)]
const _: () = {
    const fn may<T: Send + Sync>() {}
    may::<Runtime>();
};
