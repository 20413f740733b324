//! Counts the instructions of the hot paths with callgrind, and compares them with the
//! committed numbers: unlike times, they are the same in every run.
//!
//! `bench-icount [--bless] [PATH…]` runs itself under valgrind once for each path
//! (`bench-icount run PATH`); `bench/icount.sh` builds and calls it. It counts what happens
//! in [`icount_measured`]; for a path that starts the command, the whole process.

mod paths;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error>;

/// By how many percent a count may grow.
const GROWTH: f64 = 5.0;

/// The function whose instructions are counted, with those of all functions that it calls.
///
/// It is never inlined or renamed, so that callgrind finds it.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn icount_measured(work: &mut paths::Work) {
    std::hint::black_box(&mut *work)();
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench-icount: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [run, path] = &words[..]
        && run == "run"
    {
        paths::run(path)?;
        return Ok(true);
    }
    let bless = words.iter().any(|word| word == "--bless");
    let only: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
    if let Some(wrong) = only.iter().find(|name| !paths::NAMES.contains(&name.as_str())) {
        return Err(format!("no path {wrong}; there are {}", paths::NAMES.join(", ")).into());
    }
    let wanted = |name: &&str| only.is_empty() || only.iter().any(|o| o == name);
    let mut counts = Map::new();
    for name in paths::NAMES.into_iter().filter(wanted) {
        counts.insert(name.to_owned(), json!(count(name)?));
    }
    if bless { write(counts).map(|()| true) } else { compare(&counts) }
}

/// The command and its arguments, if the path is one of the starts of the command.
fn start(path: &str) -> Result<Option<Command>, Failure> {
    let Some(&(_, words, script)) = paths::STARTS.iter().find(|(name, ..)| *name == path) else {
        return Ok(None);
    };
    let program = std::env::current_exe()?.with_file_name("moonwire");
    if !program.is_file() {
        return Err(format!("{path}: {} was not built: icount.sh does", program.display()).into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/luau").join(script);
    let mut command = Command::new(program);
    command.arg("run").args(words).arg(script);
    Ok(Some(command))
}

fn count(path: &str) -> Result<u64, Failure> {
    let out = std::env::temp_dir().join(format!("moonwire-icount-{}", std::process::id()));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--error-exitcode=99"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    match start(path)? {
        // A file of certificates that the environment names would be a third of a start.
        Some(command) => valgrind
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .arg(command.get_program())
            .args(command.get_args()),
        None => {
            valgrind.arg("--toggle-collect=icount_measured");
            valgrind.arg(std::env::current_exe()?).args(["run", path])
        }
    };
    let output = valgrind.output().map_err(|e| format!("valgrind: {e}"))?;
    let text = std::fs::read_to_string(&out);
    let _ = std::fs::remove_file(&out);
    if !output.status.success() {
        return Err(format!("{path}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = text?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let count: u64 = total.ok_or("callgrind gives no total")?.trim().parse()?;
    if count == 0 {
        return Err(format!("{path}: nothing was counted").into());
    }
    Ok(count)
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

fn committed() -> Value {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}

/// Writes the baseline; the numbers of paths that were not counted stay.
fn write(counts: Map<String, Value>) -> Result<(), Failure> {
    let old = committed();
    let mut all = Map::new();
    for name in paths::NAMES {
        let count = counts.get(name).or_else(|| old["instructions"].get(name));
        if let Some(count) = count {
            println!("{name:28} {count:>12}");
            all.insert(name.to_owned(), count.clone());
        }
    }
    let value = json!({ "rustc": rustc(), "arch": std::env::consts::ARCH, "instructions": all });
    Ok(std::fs::write(file(), serde_json::to_string_pretty(&value)? + "\n")?)
}

fn compare(counts: &Map<String, Value>) -> Result<bool, Failure> {
    let old = committed();
    let mut fine = true;
    println!("{:28} {:>12} {:>12} {:>8}", "path", "committed", "now", "");
    for (name, count) in counts {
        let now = count.as_u64().unwrap_or(0);
        let Some(was) = old["instructions"][name].as_u64() else {
            println!("{name:28} {:>12} {now:>12}  no baseline: icount.sh --bless {name}", "–");
            fine = false;
            continue;
        };
        let growth = (now as f64 / was as f64 - 1.0) * 100.0;
        let verdict = match growth {
            g if g > GROWTH => "too much",
            g if g < -GROWTH => "better: bless it, so that it stays",
            _ => "",
        };
        fine &= growth <= GROWTH;
        println!("{name:28} {was:>12} {now:>12} {growth:>+7.1}% {verdict}");
    }
    if !fine {
        println!("\nIf that is meant: bench/icount.sh --bless, and the reason in the commit.");
    }
    let compiler = rustc();
    if old["rustc"] != compiler {
        println!("The baseline is of {}, this is {compiler}.", old["rustc"]);
    }
    Ok(fine)
}
