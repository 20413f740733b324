//! The command `moonwire`, as a child process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moonwire::peer::{Running, Server};

use super::common::pem;
use super::raw::{self, LONG, Peer, close, serve, text};
use super::support::*;

/// A running process. The drop of this value kills it.
pub(crate) struct Live {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: String,
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonwire"));
    command.args(args).stdin(Stdio::null());
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"] {
        command.env_remove(name);
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Live {
    pub(crate) fn start(command: &mut Command) -> Live {
        let mut child = command.spawn().unwrap();
        let (out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                if sender.send(line.unwrap()).is_err() {
                    // The test dropped the receiver. The return closes the pipe.
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        });
        Live { child, lines, errors: Some(errors) }
    }

    /// The next line that the process prints.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line")
    }

    /// The process's standard input, which ends when this is dropped.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Windows has no program that sends a signal, and no such signals without a terminal.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(done.success());
    }

    /// The names of the process's threads.
    #[cfg(target_os = "linux")]
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        };
        tasks.map(|task| name(task).trim().to_owned()).collect()
    }

    /// Kills the process.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.status();
    }

    #[track_caller]
    fn status(&mut self) -> Option<i32> {
        let until = Instant::now() + LONG;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None => assert!(Instant::now() < until, "it does not end"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the process has ended.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let status = self.status();
        let out = self.lines.iter().collect();
        Ended { status, out, err: self.errors.take().unwrap().join().unwrap() }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn run(args: &[&str]) -> Ended {
    Live::start(&mut command(&[&["run"], args].concat())).end()
}

/// Runs the command in a folder, with a text as its standard input.
#[track_caller]
pub(crate) fn piped(folder: &Path, args: &[&str], text: &str) -> Ended {
    let mut command = command(args);
    let mut live = Live::start(command.current_dir(folder).stdin(Stdio::piped()));
    live.child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    live.end()
}

/// A folder that only this process uses.
pub(crate) fn folder() -> PathBuf {
    let name = format!("luau-{}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A script in a file, to be run with options before it and arguments after it.
pub(crate) struct Script(PathBuf);

/// The number of `Script`s that exist. The drop of the last one removes the folder.
static SCRIPTS: Mutex<usize> = Mutex::new(0);

impl Script {
    pub(crate) fn new(name: &str, text: &str) -> Script {
        let mut count = SCRIPTS.lock().unwrap();
        let file = folder().join(format!("{name}.luau"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        *count += 1;
        Script(file)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn command(&self, options: &[&str], args: &[&str]) -> Command {
        command(&[&["run"], options, &[self.path()], args].concat())
    }

    pub(crate) fn start(&self, options: &[&str], args: &[&str]) -> Live {
        Live::start(&mut self.command(options, args))
    }

    #[track_caller]
    pub(crate) fn run(&self, options: &[&str], args: &[&str]) -> Ended {
        self.start(options, args).end()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let mut count = SCRIPTS.lock().unwrap();
        *count -= 1;
        if *count == 0 {
            // A file that cannot be removed does no harm.
            let _ = std::fs::remove_dir_all(folder());
        }
    }
}

#[track_caller]
pub(crate) fn printed(ended: &Ended, lines: &[&str]) {
    assert_eq!(ended.out, lines, "{ended:?}");
    assert_eq!((ended.status, &*ended.err), (Some(0), ""));
}

#[track_caller]
pub(crate) fn failed(ended: &Ended, status: i32, text: &str) {
    assert_eq!(ended.status, Some(status), "{ended:?}");
    assert!(ended.err.contains(text), "{ended:?}");
}

const ECHO: &str = r#"local url, a, b = ...
local ws = WebSocket.connect(url)
ws.OnMessage:Connect(function(message)
    print(message, a, b)
    ws:Close()
end)
ws.OnClose:Connect(function()
    print("closed", ws.CloseCode)
end)
ws:Send("hello")"#;

#[test]
fn an_echo_server_of_its_own() {
    let script = Script::new("echo", ECHO);
    let want = ["hello nil nil", "closed 1000"];
    printed(&script.run(&["--echo"], &[]), &want);
    printed(&script.run(&["--echo=ws"], &[]), &want);
    printed(&script.run(&["--echo=wss"], &[]), &want);
    printed(&script.run(&["--echo=wss", "--poll-thread"], &[]), &want);
    printed(
        &script.run(&["--poll-thread", "--echo"], &["x", "--help"]),
        &["hello x --help", "closed 1000"],
    );
    let url = Script::new("url", "print(...) print(select(2, ...))");
    let ended = url.run(&["--echo=wss"], &["", "-"]);
    assert!(ended.out[0].starts_with("wss://127.0.0.1:"), "{ended:?}");
    assert_eq!(ended.out[1], " -");
    // Without `--echo`, the script receives exactly the given arguments.
    let server = echo();
    printed(&script.run(&[], &[server.url(), "1"]), &["hello 1 nil", "closed 1000"]);
}

#[test]
fn a_script_from_standard_input() {
    let pipe =
        |text: &str, args: &[&str]| piped(Path::new("."), &[&["run", "-"], args].concat(), text);
    printed(&pipe("print(...) task.wait() print('end')", &["a", "b"]), &["a b", "end"]);
    failed(&pipe("\nerror('oh')", &[]), 1, "error: stdin:2: oh\n  stdin:2\n");
    failed(&pipe("\n\nlocal x = (", &[]), 1, "stdin:3: ");
}

#[test]
fn modules_next_to_the_script() {
    let server = echo();
    let scripts = ["module", "folder/deep", "raises", "main"].map(|name| {
        let from = format!("{}/tests/luau/require/{name}.luau", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(from).unwrap();
        if name == "main" {
            text.insert_str(0, &format!("getgenv().url = {:?}\n", server.url()));
        }
        Script::new(&format!("require/{name}"), &text)
    });
    let folder = folder().join("require");
    let other = folder.join("folder");
    for (folder, path) in [
        (&folder, "main.luau"),
        (&folder, "./main.luau"),
        (&other, "../main.luau"),
        (&other, scripts[3].path()),
    ] {
        let ended = Live::start(command(&["run", path]).current_dir(folder)).end();
        assert_eq!(
            ended.out[..4],
            ["module from the module", "true 1", "deep, module", "true deep",],
            "{path}: {ended:?}"
        );
        assert!(ended.out[4].contains("missing"), "{ended:?}");
        assert_eq!(ended.status, Some(1));
        assert!(ended.err.starts_with("error: "), "{ended:?}");
        assert!(ended.err.contains("raises:3: in the module\n"), "{ended:?}");
    }
}

/// A local server in place of the public echo servers of the APIs' examples.
fn stand_in() -> (Running, [String; 4]) {
    let any = ([127, 0, 0, 1], 0).into();
    let server = Server::bind_tls(any, &pem("echo.pem"), &pem("echo.key")).unwrap();
    let server = server.spawn().unwrap();
    let to = |host: &str| format!("{host}:443:{}", server.address());
    let options = [to("echo.websocket.events"), to("echo.websocket.org")];
    let [events, org] = options;
    (server, ["--resolve".to_owned(), events, "--resolve".to_owned(), org])
}

pub(crate) fn ca() -> String {
    format!("{}/tests/certs/ca.pem", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_examples_of_the_apis_run_unmodified() {
    let (server, resolve) = stand_in();
    let ca = ca();
    let mut options: Vec<&str> = resolve.iter().map(String::as_str).collect();
    options.extend(["--ca", &ca]);
    let events = Script::new(
        "events",
        r#"local ws = WebSocket.connect("wss://echo.websocket.events")

ws.OnMessage:Connect(print)

ws.OnClose:Connect(function()
    print("closed")
end)

ws:Send("hi")

task.delay(0.1, function()
    ws:Close()
end)"#,
    );
    printed(&events.run(&options, &[]), &["hi", "closed"]);
    let org = Script::new(
        "org",
        r#"local ws = WebSocket.connect("wss://echo.websocket.org/")
ws.OnMessage:Connect(function(message)
    print("received: " .. message)
end)
ws.OnClose:Connect(function() print("The socket was closed.") end)
ws:Send("Hello, World!")
task.wait(0.1)
ws:Close()"#,
    );
    printed(&org.run(&options, &[]), &["received: Hello, World!", "The socket was closed."]);
    // The check of a well-known list of the functions of an environment.
    let check = Script::new(
        "check",
        r#"local types = {
	Send = "function",
	Close = "function",
	OnMessage = {"table", "userdata"},
	OnClose = {"table", "userdata"},
}
local ws = WebSocket.connect("wss://echo.websocket.events")
assert(type(ws) == "table" or type(ws) == "userdata", "Did not return a table or userdata")
for k, v in pairs(types) do
	if type(v) == "table" then
		assert(table.find(v, type(ws[k])), "Did not return a " .. table.concat(v, ", ") .. " for " .. k .. " (a " .. type(ws[k]) .. ")")
	else
		assert(type(ws[k]) == v, "Did not return a " .. v .. " for " .. k .. " (a " .. type(ws[k]) .. ")")
	end
end
ws:Close()
local success, client = pcall(websocket.connect, "wss://echo.websocket.events")
assert(success and typeof(client) == "WebSocket")
client:Close()
print("passed")"#,
    );
    printed(&check.run(&options, &[]), &["passed"]);
    // `SSL_CERT_FILE` has the effect of `--ca`.
    let mut command = events.command(&options[..4], &[]);
    printed(&Live::start(command.env("SSL_CERT_FILE", &ca)).end(), &["hi", "closed"]);
    // Without that root, the certificate is not trusted. With it, the certificate is refused for
    // another name.
    let ended = events.run(&options[..4], &[]);
    failed(&ended, 1, "events.luau:1: wss://echo.websocket.events: TLS: ");
    let other = format!("other.example:443:{}", server.address());
    let named = Script::new("named", "print(websocket.connect('wss://other.example'))");
    let ended = named.run(&["--ca", &ca, "--resolve", &other], &[]);
    assert!(ended.out[0].starts_with("nil wss://other.example: TLS: "), "{ended:?}");
}

#[test]
fn time_limits() {
    let server = serve(|listener| Peer::open(listener).rest());
    let waits = Script::new("waits", "WebSocket.connect(...).OnMessage:Wait()");
    let ended = waits.run(&["--timeout", "1"], &[&server.url()]);
    assert_eq!(ended, Ended { status: Some(124), out: vec![], err: String::new() });
    assert_eq!(server.end(), ["close 1001"]);
    // The limit also holds while a script computes.
    let server = serve(|listener| Peer::open(listener).rest());
    let computes = Script::new("computes", "WebSocket.connect(...) while true do end");
    assert_eq!(computes.run(&["--timeout=1"], &[&server.url()]).status, Some(124));
    assert_eq!(server.end(), ["close 1001"]);
    printed(&Script::new("soon", "print(1)").run(&["--timeout", "60"], &[]), &["1"]);

    let server = serve(|listener| Peer::asked(listener).received());
    let connects = Script::new("connects", "print(websocket.connect(...))");
    let ended = connects.run(&["--connect-timeout", "0.2"], &[&server.url()]);
    let reason = "handshake: not open within the time limit of 200ms";
    printed(&ended, &[&format!("nil {}: {reason}", server.url())]);
    assert_eq!(server.end(), "EOF");
}

#[test]
fn a_raise_at_top_level_lets_the_others_go_on_first() {
    let script = Script::new(
        "raise",
        r#"task.delay(0.05, print, "later")
task.spawn(function() task.wait(0.1) error("not counted") end)
local function deep() error("at top level") end
task.wait()
deep()"#,
    );
    let ended = script.run(&[], &[]);
    assert_eq!((ended.status, &ended.out[..]), (Some(1), &["later".to_owned()][..]));
    let path = script.path();
    assert_eq!(
        ended.err,
        format!(
            "error: {path}:3: at top level\n  {path}:3 function deep\n  {path}:5\n\
         error: {path}:2: not counted\n  {path}:2\n",
        )
    );
    // An error in another thread is reported, and the status stays 0.
    let ended =
        Script::new("spawned", "task.spawn(error, 'x') task.defer(error, 'y')").run(&[], &[]);
    assert_eq!((ended.status, &*ended.err), (Some(0), "error: x\nerror: y\n"));
    // A failed connect at top level is an error like any other: the status is 1.
    failed(
        &Script::new("refused", "WebSocket.connect(...)").run(&[], &[&refused()]),
        1,
        ": connect: ",
    );
}

#[test]
fn usage_and_files() {
    failed(&run(&[]), 2, "the script is missing");
    failed(&run(&["/nowhere/script.luau"]), 2, "moonwire: /nowhere/script.luau: ");
    failed(&run(&["/"]), 2, "moonwire: /: ");
    failed(&run(&["--nonsense", "x"]), 2, "there is no option --nonsense");
    failed(&run(&["--timeout", "-1", "x"]), 2, "--timeout");
    failed(&run(&["--timeout"]), 2, "--timeout needs a value");
    failed(
        &run(&["--resolve", "nonsense", "x"]),
        2,
        "\"nonsense\" is not HOST:PORT:ADDRESS[:PORT]",
    );
    failed(&run(&["--echo=tcp", "x"]), 2, "--echo is ws or wss");
    let script = Script::new("fine", "print('fine')");
    failed(&run(&["--ca", "/nowhere.pem", script.path()]), 2, "moonwire: /nowhere.pem: ");
    failed(&run(&["--ca", script.path(), script.path()]), 2, script.path());
    printed(&run(&["--", script.path()]), &["fine"]);
    failed(&Live::start(&mut command(&[])).end(), 2, "a command is missing");
    failed(&Live::start(&mut command(&["walk"])).end(), 2, "there is no command \"walk\"");
    let ended = Live::start(&mut command(&["--version"])).end();
    printed(&ended, &[concat!("moonwire ", env!("CARGO_PKG_VERSION"))]);
    let ended = run(&["--help"]);
    assert!(
        ended.status == Some(0) && ended.out[0].starts_with("Usage: moonwire run"),
        "{ended:?}"
    );
}

#[test]
fn a_syntax_error_names_script_and_line() {
    let script = Script::new("syntax", "local a = 1\nlocal b = = 2\n");
    let ended = script.run(&["--echo"], &[]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.err.contains(&format!("{}:2: ", script.path())), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    failed(&Script::new("bytecode", "\u{6}\u{3}\0").run(&[], &[]), 1, "bytecode.luau: ");
}

/// A running script whose connection is open, and its server, which returns the frames that it
/// received.
#[cfg(unix)]
fn open(name: &str, options: &[&str], then: &str) -> (Live, raw::Raw<Vec<String>>) {
    let server = serve(|listener| Peer::open(listener).rest());
    let text =
        format!("ws = WebSocket.connect(...) ws.OnClose:Connect(print) print('open') {then}");
    let script = Script::new(name, &text);
    let live = script.start(options, &[&server.url()]);
    assert_eq!(live.line(), "open");
    (live, server)
}

#[cfg(unix)]
#[test]
fn signals_close_what_is_open() {
    for (i, (signal, status)) in [("INT", 130), ("TERM", 143)].into_iter().enumerate() {
        for (k, then) in ["", "while true do end", "task.wait(100)"].into_iter().enumerate() {
            for (m, options) in [&[][..], &["--poll-thread"][..]].into_iter().enumerate() {
                let (live, server) = open(&format!("signal{i}{k}{m}"), options, then);
                live.signal(signal);
                let ended = live.end();
                assert_eq!(ended, Ended { status: Some(status), out: vec![], err: String::new() });
                assert_eq!(server.end(), ["close 1001"]);
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn the_second_signal_ends_it_at_once() {
    // The server never answers the close frame, so the process would wait for a second after the
    // first signal.
    let soon = (0..5).any(|i| {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            (peer.received(), peer.received())
        });
        let text = "ws = WebSocket.connect(...) print('open') ws.OnMessage:Wait()";
        let script = Script::new(&format!("second{i}"), text);
        let live = script.start(&[], &[&server.url()]);
        assert_eq!(live.line(), "open");
        let begin = Instant::now();
        live.signal("INT");
        live.signal("INT");
        // The system may merge two pending signals, so the test sends a third one.
        std::thread::sleep(Duration::from_millis(100));
        let _ = Command::new("kill")
            .args(["-s", "INT", &live.child.id().to_string()])
            .stderr(Stdio::null())
            .status();
        assert_eq!(live.end().status, Some(130));
        let took = begin.elapsed();
        assert_eq!(server.end().1, "EOF");
        took < Duration::from_millis(900)
    });
    assert!(soon);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let server = serve(|listener| Peer::open(listener).rest());
    let script =
        Script::new("prints", "WebSocket.connect(...) while true do print('x') task.wait() end");
    let mut child = script.command(&[], &[&server.url()]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "x\n");
    drop(out);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*err), (Some(0), ""));
    assert_eq!(server.end(), ["close 1001"]);
    // The pipe is closed before the first line is printed, and the script would wait for another
    // 100 s.
    for options in [&[][..], &["--poll-thread"][..]] {
        let script = Script::new(
            &format!("closed{}", options.len()),
            "task.wait(0.2) print('x') task.wait(100)",
        );
        let mut child = script.command(options, &[]).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), &*err), (Some(0), ""));
    }
}

#[cfg(unix)]
#[test]
fn lines_come_as_they_are_said() {
    let (live, server) =
        open("flushed", &[], "warn('careful') print('now', 1) ws.OnClose:Wait() print('never')");
    assert_eq!(live.line(), "now 1");
    live.signal("INT");
    let ended = live.end();
    assert_eq!((ended.status, &*ended.err), (Some(130), "warning: careful\n"));
    server.end();
}

#[test]
fn a_trace_shows_frames_and_hides_secrets() {
    let script = Script::new(
        "trace",
        r#"local ws = WebSocket.connect(..., {
    Headers = { Authorization = "Bearer secret1", Cookie = "id=secret2", ["X-Fine"] = "visible" },
})
ws:Send("hello")
print(ws.OnMessage:Wait())
ws:Close(4000, "bye")
ws.OnClose:Wait()"#,
    );
    let server = echo();
    let url = format!("{}path?token=secret3", server.url());
    for options in [&["--trace"][..], &["--trace", "--poll-thread"][..]] {
        let ended = script.run(options, &[&url]);
        assert_eq!((ended.status, &ended.out[..]), (Some(0), &["hello".to_owned()][..]));
        for part in [
            "connecting to 127.0.0.1:",
            "-> head GET /path?*** HTTP/1.1 | Host: 127.0.0.1:",
            "Authorization: ***",
            "Cookie: ***",
            "Sec-WebSocket-Key: ***",
            "X-Fine: visible",
            "<- head ",
            "-> text fin 5 \"hello\"",
            "<- text fin 5 \"hello\"",
            "-> close fin 5 ",
            "<- close fin 2 ",
            "-- ended: closed: 4000",
        ] {
            assert!(ended.err.contains(part), "{part}: {}", ended.err);
        }
        assert!(!ended.err.contains("secret"), "{}", ended.err);
        assert!(ended.err.lines().all(|line| line.contains(" #")), "{}", ended.err);
    }
}

#[test]
fn the_echo_server_as_a_command() {
    let live = Live::start(&mut command(&["echo"]));
    let url = live.line();
    let script = Script::new("to-echo", ECHO);
    printed(&script.run(&[], &[&url]), &["hello nil nil", "closed 1000"]);
    let live = Live::start(&mut command(&["echo", "--tls"]));
    let url = live.line();
    let mut root = String::new();
    while !root.contains("-----END CERTIFICATE-----") {
        root = root + &live.line() + "\n";
    }
    let file = folder().join("root.pem");
    std::fs::write(&file, root).unwrap();
    let ended = script.run(&["--ca", file.to_str().unwrap()], &[&url]);
    printed(&ended, &["hello nil nil", "closed 1000"]);
}

/// Voluntary context switches of all its threads, and clock ticks of its CPU time.
#[cfg(target_os = "linux")]
fn effort(pid: u32) -> (u64, u64) {
    let mut switches = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        switches += line.unwrap().trim().parse::<u64>().unwrap();
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime are fields 14 and 15; the first field behind the name is field 3.
    (switches, fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

// The process sleeps in the kernel while all threads wait. It does not poll.
#[cfg(target_os = "linux")]
#[test]
fn a_waiting_program_does_nothing() {
    let server = echo();
    let text = r#"local url = ...
local ws = WebSocket.connect(url, { PingInterval = 0 })
ws.OnMessage:Connect(print)
task.spawn(function() ws.OnClose:Wait() end)
task.spawn(task.wait, math.huge)
task.delay(1000, print)
task.cancel(task.spawn(task.wait))
task.spawn(coroutine.yield)
ws:Send("ready")"#;
    let lives = [&[][..], &["--poll-thread"][..], &["--timeout", "1000"][..]].map(|options| {
        let script = Script::new(&format!("idle{}", options.concat()), text);
        let live = script.start(options, &[server.url()]);
        assert_eq!(live.line(), "ready");
        live
    });
    // Lets each process complete the work of its start.
    std::thread::sleep(Duration::from_millis(300));
    let before = lives.each_ref().map(|live| effort(live.child.id()));
    std::thread::sleep(Duration::from_millis(1500));
    let after = lives.each_ref().map(|live| effort(live.child.id()));
    for (before, after) in before.into_iter().zip(after) {
        let (switches, ticks) = (after.0 - before.0, after.1 - before.1);
        assert!(switches <= 2 && ticks <= 1, "{switches} wake-ups, {ticks} ticks");
    }
    // They are still alive.
    for live in lives {
        live.signal("TERM");
        assert_eq!(live.end().status, Some(143));
    }
}

// While a script computes for long, the stand-in or the poll thread answers the server.
#[test]
fn the_server_is_answered_while_the_script_computes() {
    for options in [&[][..], &["--poll-thread"][..]] {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            assert_eq!(peer.received(), "computing");
            peer.send(&raw::frame(0x89, b"still there?"));
            let pong = peer.received();
            peer.send(&[text("x"), close(1000, "")].concat());
            pong
        });
        let script = Script::new(
            &format!("pong{}", options.concat()),
            "local ws = WebSocket.connect(...) ws:Send('computing') task.wait() while true do end",
        );
        let live = script.start(options, &[&server.url()]);
        assert_eq!(server.end(), "pong still there?");
        live.kill();
    }
}

#[test]
fn several_scripts_run_beside_each_other_and_can_be_told_apart() {
    let ask =
        Script::new("also_ask", "x = 'ask' print(#... > 0, x) task.wait(0.05) print(x) warn('w')");
    let other = Script::new("also_other", "x = 'other' print(#... > 0, x) task.wait() print(x)");
    let (first, second) = (ask.path(), other.path());
    let short = |line: &str| {
        let (first, second) = (format!("{first}: "), format!("{second}: "));
        line.replace(&first, "A: ").replace(&second, "B: ")
    };
    let ended = ask.run(&["--prefix", "--also", second], &["word"]);
    assert_eq!(ended.status, Some(0));
    let out: Vec<String> = ended.out.iter().map(|line| short(line)).collect();
    assert_eq!(out, ["A: true ask", "B: true other", "B: other", "A: ask"]);
    assert_eq!(short(&ended.err), "A: warning: w\n");
    // No script can print a line with another script's prefix.
    let forges = Script::new("also_forges", r"print('a\nb: c') error('x\ny')");
    let ended = forges.run(&["--prefix"], &[]);
    assert_eq!(ended.out.len(), 2);
    let lines = ended.out.iter().map(String::as_str).chain(ended.err.lines());
    assert!(lines.clone().all(|line| line.starts_with(forges.path())), "{ended:?}");
    // Without the option the lines have no prefix.
    let ended = ask.run(&["--also", second], &["word"]);
    assert_eq!(ended.out, ["true ask", "true other", "other", "ask"]);
    assert_eq!(ended.err, "warning: w\n");
    // If one file cannot be read, no script runs.
    let ended = ask.run(&["--also", "no/such.luau"], &[]);
    assert_eq!((ended.status, ended.out.len()), (Some(2), 0));
    assert!(ended.err.contains("no/such.luau"), "{}", ended.err);
}
