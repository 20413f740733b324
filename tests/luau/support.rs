//! Runtimes whose output is stored, with a watchdog, and functions for the scripts of the tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use moonwire::luau::{Line, LineKind, Options, Progress, Runtime, Stopper};
use moonwire::mlua::{Function, IntoLuaMulti};
use moonwire::peer::{Running, Server};

/// Where the reactor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Inline,
    Threaded,
}

/// The output of scripts: warnings and errors begin with `warning: …` and `error: …` (one line,
/// without the traceback), all other lines were printed.
#[derive(Clone, Default)]
pub(crate) struct Said {
    lines: Arc<Mutex<Vec<String>>>,
    /// Ends the run at the first error, for a script that must print nothing.
    strict: Arc<OnceLock<Stopper>>,
}

impl Said {
    pub(crate) fn output(&self) -> impl FnMut(Line<'_>) + Send + 'static {
        let its = self.clone();
        move |line: Line<'_>| {
            if let (LineKind::Raise, Some(stopper)) = (line.kind, its.strict.get()) {
                let stopper = stopper.clone();
                std::thread::spawn(move || stopper.stop(1001, Duration::ZERO));
            }
            its.lines.lock().unwrap().push(match line.kind {
                LineKind::Raise => format!("error: {}", line.text),
                _ => line.to_string(),
            });
        }
    }

    /// Takes the output so far.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// A flag that a server sets for a script: `until_true(name)`.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// An echo server on a free loopback port.
pub(crate) fn echo() -> Running {
    Server::bind(([127, 0, 0, 1], 0).into()).and_then(Server::spawn).unwrap()
}

/// A URL at which no server listens.
pub(crate) fn refused() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("ws://{}/", listener.local_addr().unwrap())
}

pub(crate) const SCRIPT: &str = "script";

/// A runtime under test.
pub(crate) struct Rt {
    pub(crate) runtime: Runtime,
    pub(crate) said: Said,
    _watch: Sender<()>,
}

/// Stops a runtime that takes too long. It cannot stop a script that computes for ever.
fn watch(runtime: &Runtime) -> Sender<()> {
    let stopper = runtime.stopper();
    let (alive, dead) = channel::<()>();
    std::thread::spawn(move || {
        if dead.recv_timeout(super::raw::LONG) == Err(RecvTimeoutError::Timeout) {
            stopper.stop(1001, Duration::from_millis(100));
        }
    });
    alive
}

impl Rt {
    pub(crate) fn new(mode: Mode) -> Rt {
        Rt::with(mode, |options| options)
    }

    pub(crate) fn with(mode: Mode, change: impl FnOnce(Options) -> Options) -> Rt {
        let said = Said::default();
        let options = Options::new(said.output()).poll_thread(mode == Mode::Threaded);
        let runtime = Runtime::new(change(options)).unwrap();
        let helpers: Function =
            runtime.lua().load(HELPERS).set_name("=test").into_function().unwrap();
        helpers.call::<()>(()).unwrap();
        let watch = watch(&runtime);
        Rt { runtime, said, _watch: watch }
    }

    /// Gives scripts a function that returns whether a flag is set.
    pub(crate) fn flag(&self, name: &str, flag: &Flag) {
        let (lua, its) = (self.runtime.lua(), flag.clone());
        let get = lua.create_function(move |_, ()| Ok(its.0.load(Ordering::Acquire)));
        lua.globals().set(name, get.unwrap()).unwrap();
    }

    pub(crate) fn spawn(&mut self, text: &str, args: impl IntoLuaMulti) {
        self.runtime.spawn(SCRIPT, text, args).unwrap();
    }

    /// Runs to the end.
    #[track_caller]
    pub(crate) fn run(&mut self) {
        let progress = self.runtime.run().unwrap();
        assert_eq!(progress, Progress::Done, "so far: {:#?}", self.said.all());
    }

    /// Runs a script to its end; returns its output.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str, args: impl IntoLuaMulti) -> Vec<String> {
        self.spawn(text, args);
        self.run();
        self.said.take()
    }

    /// Runs a script, which must call `done()` once and print nothing.
    #[track_caller]
    pub(crate) fn passes(&mut self, text: &str, args: impl IntoLuaMulti) {
        self.said.strict.get_or_init(|| self.runtime.stopper());
        assert_eq!(self.says(text, args), ["done"]);
        assert!(!self.runtime.has_raised());
    }
}

/// Runs a script that must pass, in its own runtime.
#[track_caller]
pub(crate) fn passes(mode: Mode, text: &str, args: impl IntoLuaMulti) {
    Rt::new(mode).passes(text, args);
}

/// Runs a script to its end; returns its output.
#[track_caller]
pub(crate) fn says(mode: Mode, text: &str, args: impl IntoLuaMulti) -> Vec<String> {
    Rt::new(mode).says(text, args)
}

/// Globals for the scripts. They are set in the table that scripts use as theirs.
const HELPERS: &str = include_str!("helpers.luau");
