//! Finds files and programs, and describes the machine.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// The folder `bench/` from which the runner was built.
pub fn bench_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// The folder of the runner, which also has the clients.
pub fn bin_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.parent().map(PathBuf::from).unwrap_or_default()
}

/// The folder of the tools that were installed from registries.
pub fn tools_dir() -> PathBuf {
    std::env::var_os("BENCH_TOOLS").map_or_else(|| bench_dir().join("target/tools"), PathBuf::from)
}

/// The version of a crate in the lock file of the benches.
pub fn locked_version(name: &str) -> Option<String> {
    let lock = std::fs::read_to_string(bench_dir().join("Cargo.lock")).ok()?;
    let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
    Some(entry.split('"').next()?.to_owned())
}

/// The version of moonwire, with the commit if git knows it.
pub fn moonwire_version() -> String {
    let version = locked_version("moonwire").unwrap_or_default();
    match first_line(Command::new("git").current_dir(bench_dir()).args([
        "describe",
        "--always",
        "--dirty",
        "--exclude=*",
    ])) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    }
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned())
}

fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    line.trim_start_matches([' ', '\t', ':']).to_owned()
}

pub fn describe() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": cpu(),
        "cores": cores,
        "arch": std::env::consts::ARCH,
        "kernel": format!("Linux {}", kernel.trim()),
        "rustc": first_line(Command::new("rustc").arg("--version")),
        "rustls": locked_version("rustls"),
        "mlua": locked_version("mlua"),
        "date": first_line(Command::new("date").args(["-u", "+%Y-%m-%d"])),
    })
}
