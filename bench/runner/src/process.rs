//! Processes: the server, clients with a time limit, and the core they run on.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::Failure;
use crate::machine::{bench_dir, bin_dir, tools_dir};

/// The cores on which server and client run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Both run on one core: measures the whole path, without effects of the scheduler.
    Same,
    /// Each runs on its own core.
    Apart,
    /// The system chooses.
    None,
}

impl std::str::FromStr for Pin {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Pin, Failure> {
        match text {
            "same" => Ok(Pin::Same),
            "apart" => Ok(Pin::Apart),
            "none" => Ok(Pin::None),
            _ => Err(format!("--pin is same, apart or none, not {text}").into()),
        }
    }
}

impl Pin {
    pub fn name(self) -> &'static str {
        match self {
            Pin::Same => "server and client on one core",
            Pin::Apart => "server and client on a core each",
            Pin::None => "not pinned",
        }
    }

    fn core(self, of_server: bool) -> Option<usize> {
        // The first core gets most interrupts, so it is the last choice.
        let last = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
        match self {
            Pin::Same => Some(last),
            Pin::Apart => Some(if of_server { last.saturating_sub(1) } else { last }),
            Pin::None => None,
        }
    }
}

/// Raises the limit of open files for this process and those that it starts.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to one valid `rlimit`.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

fn pinned(command: &mut Command, core: Option<usize>) -> &mut Command {
    let Some(core) = core else { return command };
    // SAFETY: between fork and exec, it makes one system call, on its own memory.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            // If this is not allowed, the process runs unpinned.
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
            Ok(())
        })
    }
}

/// The load server; dropping this ends its process.
pub struct Server {
    child: Child,
    ws: u64,
    wss: u64,
}

impl Server {
    pub fn start(pin: Pin) -> Result<Server, Failure> {
        let mut command = Command::new(bin_dir().join("bench-server"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pinned(&mut command, pin.core(true)).spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let ports: Value = serde_json::from_str(&line)?;
        let port = |name: &str| ports[name].as_u64().ok_or("the server names no port");
        Ok(Server { ws: port("ws")?, wss: port("wss")?, child })
    }

    pub fn url(&self, scheme: &str, path: &str) -> String {
        let port = if scheme.ends_with('s') && scheme != "ws" { self.wss } else { self.ws };
        format!("{scheme}://127.0.0.1:{port}{path}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client; returns the last JSON line that it prints.
pub fn client(words: &[String], pin: Pin, limit: Duration) -> Result<Value, Failure> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("BENCH_CA", bench_dir().join("../src/peer/certs/ca.pem"));
    command.env("BENCH_NODE", tools_dir().join("node"));
    let mut child = pinned(&mut command, pin.core(false)).spawn()?;
    // A client prints one line, which fits into a pipe; one that prints more blocks.
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("not done within {limit:?}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut text = String::new();
    child.stdout.take().map_or(Ok(0), |mut out| out.read_to_string(&mut text))?;
    if !status.success() {
        let mut said = Vec::new();
        child.stderr.take().map_or(Ok(0), |mut err| err.read_to_end(&mut said))?;
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let shown = lines[..lines.len().min(4)].join(" | ");
        return Err(format!("{status}: {shown}").into());
    }
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    Ok(serde_json::from_str(line.ok_or("it printed no JSON")?)?)
}
