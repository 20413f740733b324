//! The cost of open, idle connections: memory, and no wake-ups. The servers run in separate
//! processes, so that the tests do not count their memory.
#![cfg(all(feature = "tls", feature = "luau", feature = "cli", target_os = "linux"))]

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use moonwire::{Config, Conn, Event, Options, Reactor};

const MANY: usize = 5000;

/// A child process, with its output. Dropping the handle kills the process.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn moonwire(args: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moonwire"));
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Process { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number from /proc/PID/status: KiB, or a count.
fn status(pid: u32, name: &str) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

fn echo_server() -> (Process, String) {
    let mut server = Process::moonwire(&["echo"]);
    let url = server.line();
    (server, url)
}

#[test]
fn five_thousand_on_one_thread_cost_2_kib_each_at_the_rust_face() {
    moonwire::peer::raise_open_files();
    let (_server, url) = echo_server();
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let (mut opened, mut echoed) = (0, 0);
    let mut before = 0;
    for n in [1, MANY] {
        while reactor.len() < n {
            reactor.open(Options::new(&url).unwrap()).unwrap();
        }
        let late = Instant::now() + Duration::from_secs(60);
        while echoed < n {
            let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| match event {
                Event::Opened(_) => {
                    opened += 1;
                    conn.send_text("once").unwrap();
                }
                Event::Text(_) => echoed += 1,
                other => panic!("{other:?}"),
            };
            reactor.turn(Some(late), &mut sink).unwrap();
            assert!(Instant::now() < late, "{opened} opened, {echoed} echoed");
        }
        if n == 1 {
            before = status(std::process::id(), "VmRSS");
        }
    }
    assert_eq!(opened, MANY);
    let each = (status(std::process::id(), "VmRSS") - before) as f64 / MANY as f64;
    println!("{each:.2} KiB each");
    assert!(each <= 2.0, "{each:.2} KiB each");
}

/// Opens the given number of connections; each has an object, a listener and a waiting thread.
const SCRIPT: &str = r#"
local url, n = ...
local open = 0
for i = 1, tonumber(n) do
    task.spawn(function()
        local ws = WebSocket.connect(url, { PingInterval = 0 })
        ws.OnMessage:Connect(function() end)
        open += 1
        if open == tonumber(n) then
            print("open")
        end
        ws.OnClose:Wait()
    end)
end
"#;

fn script(url: &str, n: usize) -> Process {
    let file = std::env::temp_dir().join(format!("moonwire-idle-{}-{n}.luau", std::process::id()));
    std::fs::write(&file, SCRIPT).unwrap();
    let mut run = Process::moonwire(&["run", file.to_str().unwrap(), url, &n.to_string()]);
    assert_eq!(run.line(), "open");
    std::fs::remove_file(file).unwrap();
    run
}

#[test]
fn five_thousand_under_luau_cost_6_6_kib_each_and_none_wakes_the_program() {
    let (_server, url) = echo_server();
    let one = script(&url, 1);
    let many = script(&url, MANY);
    let (one, many) = (one.child.id(), many.child.id());
    let each = (status(many, "VmRSS") - status(one, "VmRSS")) as f64 / MANY as f64;
    println!("{each:.2} KiB each");
    // About half of this is live: the collector lets the heap grow to twice its live size. 0.2 KiB
    // store to which script a thread and a handler belong, and 0.05 KiB the counters of `ws.Stats`.
    assert!(each <= 6.6, "{each:.2} KiB each");
    // A program that polls would wake up many times in this time.
    let wakeups = |pid| status(pid, "voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_millis(100));
    let before = (wakeups(one), wakeups(many));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!((wakeups(one), wakeups(many)), before);
}
