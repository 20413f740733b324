//! `bench-runner start PROGRAM CASE URL COUNT …`: runs `PROGRAM run CASE.luau` COUNT times, one after the
//! other, and prints the sums in one line, as the clients do.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::failure::Failure;
use crate::machine::bench_dir;

pub fn run(words: &[String]) -> Result<(), Failure> {
    let [program, case, _, count, ..] = words else { return Err("PROGRAM CASE URL COUNT".into()) };
    let count: u64 = count.parse()?;
    let script = bench_dir().join("clients/luau").join(format!("{case}.luau"));
    let once = || -> Result<(), Failure> {
        let mut command = Command::new(program);
        // A file of certificates that the environment names would be a third of a start.
        command.env_clear();
        command.arg("run").arg(&script).stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status()?;
        if status.success() { Ok(()) } else { Err(format!("{program}: {status}").into()) }
    };
    once()?;
    let (wall, before) = (Instant::now(), children());
    (0..count).try_for_each(|_| once())?;
    let (wall, after) = (wall.elapsed().as_nanos() as u64, children());
    let line = json!({
        "messages": count,
        "bytes": 0,
        "wall_ns": wall,
        "cpu_ns": after.0 - before.0,
        "rss_peak_kib": after.1,
    });
    println!("{line}");
    Ok(())
}

/// User and system time of all ended child processes in ns, and the largest peak of memory in KiB.
fn children() -> (u64, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call gets room for one `rusage`, for which all zeros are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1000;
    (ns(usage.ru_utime) + ns(usage.ru_stime), usage.ru_maxrss as u64)
}
