//! When a runtime has a stand-in thread, and that this thread sleeps while nothing happens. The
//! tests run in a separate process, so that they do not count the threads of other tests.
#![cfg(all(feature = "luau", feature = "cli", feature = "tls", target_os = "linux"))]

use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moonwire::luau::{Line, Options, Progress, Runtime};
use moonwire::peer::{Running, Server};

/// The time after which a test that hangs fails. Other tests end much earlier.
const LONG: Duration = Duration::from_secs(20);

/// Waits until no other test of this file runs.
fn exclusive() -> MutexGuard<'static, ()> {
    static EXCLUSIVE: Mutex<()> = Mutex::new(());
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn echo() -> Running {
    Server::bind(([127, 0, 0, 1], 0).into()).and_then(Server::spawn).unwrap()
}

/// For each thread with this name, how often it has gone to sleep.
fn threads(name: &str) -> Vec<u64> {
    let mut all = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        // The thread may have ended meanwhile: then it does not count.
        let Ok(comm) = std::fs::read_to_string(path.join("comm")) else { continue };
        let Ok(status) = std::fs::read_to_string(path.join("status")) else { continue };
        let count = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        if let (Some(count), true) = (count, comm.trim() == name) {
            all.push(count.trim().parse().unwrap());
        }
    }
    all
}

const NAME: &str = "moonwire-stand";

/// Whether this number of threads has that name, now or soon. A thread sets its name after it has
/// started, and the system may list a joined thread for a moment.
fn are(wanted: usize) -> bool {
    let until = Instant::now() + LONG / 2;
    while threads(NAME).len() != wanted {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// A runtime whose scripts can check the number of stand-in threads.
fn runtime(change: impl FnOnce(Options) -> Options) -> Runtime {
    let options = Options::new(|line: Line<'_>| panic!("{line}"));
    let runtime = Runtime::new(change(options)).unwrap();
    let lua = runtime.lua();
    let are = lua.create_function(|_, wanted| Ok(are(wanted))).unwrap();
    lua.globals().set("are", are).unwrap();
    runtime
}

/// Checks the number of stand-in threads before a connection and while it is open.
const SCRIPT: &str = r#"
    local url, before, with = ...
    local function expect(n, when)
        if not are(n) then error(`not {n} {when}`) end
    end
    expect(before, "before")
    task.wait()
    expect(before, "still before")
    local ws = WebSocket.connect(url)
    expect(with, "with")
    ws:Send("x")
    ws.OnMessage:Wait()
    expect(with, "still with")
    ws:Close()
    ws.OnClose:Wait()
"#;

fn run(mut runtime: Runtime, url: &str, with: usize) {
    runtime.spawn("script", SCRIPT, (url, 0, with)).unwrap();
    assert_eq!(runtime.run().unwrap(), Progress::Done);
    assert!(!runtime.has_raised());
}

#[test]
fn it_comes_with_the_first_connection_and_goes_with_the_runtime() {
    let _exclusive = exclusive();
    let server = echo();
    run(runtime(|options| options), server.url(), 1);
    assert!(are(0));
    run(runtime(|options| options.stand_in(true)), server.url(), 1);
    assert!(are(0));
    run(runtime(|options| options.stand_in(false)), server.url(), 0);
    run(runtime(|options| options.stand_in(true).poll_thread(true)), server.url(), 0);
}

#[test]
fn steps_start_none_unless_asked() {
    let _exclusive = exclusive();
    let server = echo();
    let step = |change: fn(Options) -> Options, with: usize| {
        let mut runtime = runtime(change);
        runtime.spawn("script", SCRIPT, (server.url(), 0, with)).unwrap();
        let until = Instant::now() + LONG;
        while runtime.step(Duration::from_millis(2)).unwrap().is_alive() {
            assert!(Instant::now() < until);
        }
        assert!(!runtime.has_raised());
    };
    step(|options| options, 0);
    step(|options| options.stand_in(true), 1);
    assert!(are(0));
}

// The program drops the runtime while its script has an open connection, and still owns the VM.
#[test]
fn it_ends_with_a_runtime_that_is_dropped_early() {
    let _exclusive = exclusive();
    let server = echo();
    let mut runtime = runtime(|options| options.stand_in(true));
    let script = "local ws = WebSocket.connect((...)) ws.OnMessage:Wait()";
    runtime.spawn("script", script, server.url()).unwrap();
    assert!(are(1));
    let (lua, stopper) = (runtime.lua().clone(), runtime.stopper());
    drop(runtime);
    assert!(are(0));
    // The VM opens a connection after that: it has no stand-in.
    lua.load("task.spawn(WebSocket.connect, ...)").call::<()>(server.url()).unwrap();
    assert!(are(0));
    stopper.stop(1001, Duration::ZERO);
}

// A thread with a tick would wake up fifty times in the second in which this thread must sleep.
#[test]
fn it_sleeps_while_the_program_does() {
    let _exclusive = exclusive();
    let server = echo();
    let (ready, wait) = channel();
    let (runs, stopper) = channel();
    let url = server.url().to_owned();
    let thread = std::thread::spawn(move || {
        let mut runtime = runtime(|options| options);
        let ready = move |_: &moonwire::mlua::Lua, ()| {
            ready.send(()).unwrap();
            Ok(())
        };
        let ready = runtime.lua().create_function(ready).unwrap();
        runtime.lua().globals().set("ready", ready).unwrap();
        let script = r#"
            local ws = WebSocket.connect(..., { PingInterval = 0 })
            for i = 1, 100 do
                ws:Send("x")
                ws.OnMessage:Wait()
            end
            ready()
            ws.OnMessage:Wait()"#;
        runtime.spawn("script", script, url).unwrap();
        runs.send(runtime.stopper()).unwrap();
        runtime.run().unwrap()
    });
    wait.recv_timeout(LONG).unwrap();
    let until = Instant::now() + LONG;
    loop {
        let before = threads(NAME);
        std::thread::sleep(Duration::from_secs(1));
        // The first time may be the one in which the thread goes to sleep.
        if before.len() == 1 && threads(NAME) == before {
            break;
        }
        assert!(Instant::now() < until, "it does not sleep");
    }
    stopper.recv_timeout(LONG).unwrap().stop(1001, LONG);
    assert_eq!(thread.join().unwrap(), Progress::Stopped);
}
