//! Measures time and memory of this process, and prints the results.

use std::fmt::Write as _;
use std::time::Instant;

/// User and system time of all threads of this process, in ns.
pub fn cpu() -> (u64, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call gets room for one `rusage`, for which all zeros are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ns = |t: libc::timeval| t.tv_sec as u64 * 1_000_000_000 + t.tv_usec as u64 * 1000;
    (ns(usage.ru_utime), ns(usage.ru_stime))
}

/// A number of KiB from /proc/self/status.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// The resident memory now, in KiB.
pub fn rss() -> u64 {
    status("VmRSS")
}

/// The peak. `ru_maxrss` would include the memory of the parent before `exec`.
pub fn rss_peak() -> u64 {
    status("VmHWM")
}

/// A running clock.
pub struct Meter {
    cpu: (u64, u64),
    wall: Instant,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { cpu: cpu(), wall: Instant::now() }
    }

    pub fn stop(self, messages: u64, bytes: u64) -> Report {
        let wall = self.wall.elapsed().as_nanos() as u64;
        let (user, sys) = cpu();
        let (user, sys) = (user - self.cpu.0, sys - self.cpu.1);
        Report { messages, bytes, wall, user, sys, ..Report::default() }
    }
}

/// The results of one run of a client.
#[derive(Debug, Default)]
pub struct Report {
    pub messages: u64,
    pub bytes: u64,
    pub wall: u64,
    pub user: u64,
    pub sys: u64,
    /// The median and the 99th percentile of round trips, in ns.
    pub times: Option<(u64, u64)>,
    /// KiB before and after the client opened many connections.
    pub memory: Option<(u64, u64)>,
    /// Bytes of all frames, if messages are compressed.
    pub wire: Option<u64>,
}

/// The value below which `part` of a sorted list lies.
pub fn percentile(sorted: &[u64], part: f64) -> u64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

impl Report {
    pub fn with_times(mut self, times: &mut [u64]) -> Report {
        times.sort_unstable();
        self.times = Some((percentile(times, 0.5), percentile(times, 0.99)));
        self
    }

    pub fn with_each(mut self, before: u64, after: u64) -> Report {
        self.memory = Some((before, after));
        self
    }

    /// Prints the results as one line.
    pub fn print(&self) {
        let mut line = format!(
            "{{\"messages\": {}, \"bytes\": {}, \"wall_ns\": {}, \"cpu_ns\": {}, \
             \"user_ns\": {}, \"sys_ns\": {}, \"rss_peak_kib\": {}",
            self.messages,
            self.bytes,
            self.wall,
            self.user + self.sys,
            self.user,
            self.sys,
            rss_peak()
        );
        if let Some((p50, p99)) = self.times {
            let _ = write!(line, ", \"p50_ns\": {p50}, \"p99_ns\": {p99}");
        }
        if let Some((before, after)) = self.memory {
            let _ = write!(line, ", \"rss_before_kib\": {before}, \"rss_after_kib\": {after}");
        }
        if let Some(wire) = self.wire {
            let _ = write!(line, ", \"wire_bytes\": {wire}");
        }
        println!("{line}}}");
    }
}
