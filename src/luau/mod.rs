//! Luau: signals, the `task` library and the script APIs, in a VM of the embedder's ([`install`])
//! or of its own ([`Runtime::new`]).
//!
//! The signals, the scheduler and the objects are written in Luau (`prelude/`), since a Rust
//! function cannot yield and an error that one returns carries no position. Rust gives them
//! natives (`host.rs`; `link.rs` is their way to the reactor) and drives them (`pump.rs`): bytes in,
//! events over in groups (`feed.rs`), threads on.
//!
//! ```text
//! timers.luau             deadlines, steps
//! scheduler.luau          threads, what they wait for, the cycle
//! scripts.luau            what belongs to which script, and how one is ended
//! task.luau               `task`, its legacy forms, `coroutine`
//! signal.luau             RBXScriptSignal, RBXScriptConnection
//! connections.luau        what the network says of connections, and who keeps them alive
//! websocket.luau          WebSocket, websocket
//! enums.luau              Enum
//! instances.luau          what `typeof` calls an Instance
//! request_options.luau    the options of requests and streams
//! web_stream_client.luau  WebStreamClient
//! requests.luau           HTTP calls that wait for the whole answer
//! http_service.luau       HttpService, Secret
//! data_model.luau         game
//! require.luau            require
//! inspect.luau            debug, getfenv, setfenv
//! io.luau                 io, where an embedder offers it
//! globals.luau            print, warn, loadstring, …
//! hosts.luau              `host`, for host files, where there are some (`hosts/` has those of ours)
//! types.d.luau            the types that they share, for the checker alone (tests/types)
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

/// Adds the script APIs to a VM that is there already, before or after `sandbox`.
///
/// It sets the globals of [`GLOBALS`], less those that the options leave out, and those that they add
/// ([`Options::io`], [`Options::exit`], [`Options::global`]), takes away the
/// `loadstring` and `require` of mlua ([`Options::without`]), and does nothing else: no
/// interrupt and no memory limit that the options do not ask for, no panic option, no app data. After
/// `sandbox`, those that the VM had already are replaced in the frozen table, too, which scripts reach
/// by the metatable of theirs. Scripts that use them have to run as
/// threads (`Lua::create_thread`, or [`Runtime::spawn`]), since `connect` and `task.wait` yield.
/// Drive it with [`Runtime::step`] or [`Runtime::run`].
///
/// Where `sandbox` is on, Luau looks up `shared.x` or `player.x` once, when it loads a text, unless the
/// compiler knows that the global's fields change: name those in `Compiler::set_mutable_globals`
/// (`Lua::set_compiler`), as [`Runtime::new`] does with `_G`, `shared`, `game` and what
/// [`Options::global`] adds.
///
/// A VM takes it once: a second time is [`Error::Installed`], also after the first runtime was dropped.
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
/// [`Error::Installed`], [`Error::NoGlobal`], [`Error::Options`] for options that contradict each
/// other or a global that is there, [`Error::Host`] for a host file, [`Error::Lua`] if the VM
/// refuses something, [`Error::Io`] if the system has no descriptor for the reactor.
pub fn install(lua: &Lua, options: Options) -> Result<Runtime, Error> {
    Runtime::install(lua.clone(), options)
}

// A runtime may be moved to another thread, and looked at from there, where Luau's values may.
#[cfg(mlua_send)]
const _: () = {
    const fn may<T: Send + Sync>() {}
    may::<Runtime>();
};
