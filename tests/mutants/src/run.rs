//! Which tests reach a mutant, and whether one of them notices it.

use crate::build::Binary;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What is left to the end.
const SHORT: Duration = Duration::from_millis(800);
/// So many milliseconds of tests go into a process, the first time and later.
const BUDGETS: [u64; 4] = [150, 1_000, 4_000, 15_000];
/// KiB of address space: some mutants never stop to allocate.
const MEMORY: &str = "6291456";

pub struct Test {
    pub binary: usize,
    pub name: String,
    pub time: Duration,
    /// The numbers that it asks for.
    pub reached: Vec<u32>,
}

pub struct Runner {
    pub folder: PathBuf,
    pub scratch: PathBuf,
    pub binaries: Vec<Binary>,
    pub tests: Vec<Test>,
    pub jobs: usize,
    /// What noticed the mutants of a function before.
    noticed: Mutex<HashMap<String, Vec<usize>>>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Caught(String),
    TimeLimit(String),
    Missed,
    NotReached,
}

enum Ended {
    Passed,
    Failed(String),
    TimeLimit,
}

/// What is tried, where it stands in the code, and which tests reach it.
pub struct Trial<'a> {
    pub number: u32,
    pub file: &'a str,
    pub function: &'a str,
    pub name: &'a str,
}

impl Runner {
    pub fn new(folder: &Path, scratch: &Path, binaries: Vec<Binary>, jobs: usize) -> Runner {
        Runner {
            folder: folder.into(),
            scratch: scratch.into(),
            binaries,
            tests: Vec::new(),
            jobs,
            noticed: Mutex::default(),
        }
    }

    /// Runs each test alone and notes what it reaches; or reads what was noted of the same build.
    pub fn trace(&mut self, fingerprint: u64) -> Result<(), String> {
        let labels: Vec<_> = self.binaries.iter().map(|b| b.name.as_str()).collect();
        let kept = self.scratch.join(format!("trace-{}.txt", labels.join("-")));
        if let Some(tests) = read_trace(&kept, fingerprint) {
            self.tests = tests;
            return Ok(());
        }
        let mut all = Vec::new();
        for (binary, found) in self.binaries.iter().enumerate() {
            let ignored = names(&found.path, &self.folder, &["--list", "--ignored"])?;
            let listed = names(&found.path, &self.folder, &["--list"])?;
            all.extend(listed.into_iter().filter(|n| !ignored.contains(n)).map(|n| (binary, n)));
        }
        let traced = Mutex::new(Vec::new());
        // Most tests wait more than they compute.
        each(2 * self.jobs, &all, |at, (binary, name)| {
            let test = self.trace_one(at, *binary, name);
            match test {
                Some(test) => traced.lock().expect("no thread panics").push(test),
                None => eprintln!("fails without a mutant, and is left out: {name}"),
            }
        });
        self.tests = traced.into_inner().expect("no thread panics");
        self.tests.sort_by(|a, b| (a.binary, &a.name).cmp(&(b.binary, &b.name)));
        write_trace(&kept, fingerprint, &self.tests)
    }

    fn trace_one(&self, at: usize, binary: usize, name: &str) -> Option<Test> {
        let trace = self.scratch.join(format!("trace-{at}"));
        for _ in 0..2 {
            let _ = std::fs::remove_file(&trace);
            let start = Instant::now();
            let limit = Duration::from_secs(200);
            let setting = ("MUTANT_TRACE", trace.as_os_str().to_owned());
            let ended = self.process(at, binary, &[name], setting, limit);
            let time = start.elapsed();
            if matches!(ended, Ended::Passed) {
                let noted = std::fs::read_to_string(&trace).unwrap_or_default();
                let _ = std::fs::remove_file(&trace);
                let reached = noted.lines().filter_map(|l| l.parse().ok()).collect();
                return Some(Test { binary, name: name.into(), time, reached });
            }
        }
        None
    }

    /// Tells `done` what becomes of each, in whatever order. First the short tests are run for all, since most
    /// mutants are noticed by these; then the rest for what is left.
    pub fn try_all(&self, trials: &[Trial], done: &(dyn Fn(&Trial, Verdict) + Sync)) {
        let mut reaching = HashMap::<u32, Vec<usize>>::new();
        for (at, test) in self.tests.iter().enumerate() {
            for &number in &test.reached {
                reaching.entry(number).or_default().push(at);
            }
        }
        let left = Mutex::new(Vec::new());
        each(self.jobs, trials, |at, trial| {
            let Some(tests) = reaching.get(&trial.number) else {
                done(trial, Verdict::NotReached);
                return;
            };
            let (short, long) =
                tests.iter().partition::<Vec<_>, _>(|&&t| self.tests[t].time <= SHORT);
            match self.try_one(at, trial, short) {
                None if long.is_empty() => done(trial, Verdict::Missed),
                None => left.lock().expect("no thread panics").push((trial, long)),
                Some(verdict) => done(trial, verdict),
            }
        });
        let left = left.into_inner().expect("no thread panics");
        eprintln!("{} are left for the long tests", left.len());
        each(self.jobs, &left, |at, (trial, long)| {
            done(trial, self.try_one(at, trial, long.clone()).unwrap_or(Verdict::Missed));
        });
    }

    fn try_one(&self, at: usize, trial: &Trial, mut tests: Vec<usize>) -> Option<Verdict> {
        let place = format!("{}: {}", trial.file, trial.function);
        let before = self.noticed.lock().expect("no thread panics").get(&place).cloned();
        let before = before.unwrap_or_default();
        let module = module(trial.file);
        tests.sort_by_key(|t| {
            let test = &self.tests[*t];
            let is_beside = test.name.starts_with(&module);
            test.time
                / if before.contains(t) {
                    64
                } else if is_beside {
                    16
                } else {
                    1
                }
        });
        let mut budgets = BUDGETS.iter();
        let mut left = &tests[..];
        while !left.is_empty() {
            let budget = Duration::from_millis(*budgets.next().unwrap_or(&BUDGETS[3]));
            let mut sum = Duration::ZERO;
            let fit = left.iter().take_while(|&&t| {
                sum += self.tests[t].time;
                sum <= budget
            });
            let (chunk, rest) = left.split_at(fit.count().max(1));
            left = rest;
            if let Some((verdict, by)) = self.try_chunk(at, trial.number, chunk) {
                self.remember(place, by);
                return Some(verdict);
            }
        }
        None
    }

    fn remember(&self, place: String, by: Option<usize>) {
        if let Some(by) = by {
            let mut noticed = self.noticed.lock().expect("no thread panics");
            let list = noticed.entry(place).or_default();
            list.retain(|&t| t != by);
            list.insert(0, by);
            list.truncate(4);
        }
    }

    fn try_chunk(
        &self,
        at: usize,
        number: u32,
        chunk: &[usize],
    ) -> Option<(Verdict, Option<usize>)> {
        for binary in 0..self.binaries.len() {
            let mut here: Vec<usize> =
                chunk.iter().copied().filter(|&t| self.tests[t].binary == binary).collect();
            while !here.is_empty() {
                let names: Vec<&str> = here.iter().map(|&t| self.tests[t].name.as_str()).collect();
                let sum: Duration = here.iter().map(|&t| self.tests[t].time).sum();
                let limit = 10 * sum + Duration::from_secs(5);
                let setting = || ("MUTANT", number.to_string().into());
                match self.process(at, binary, &names, setting(), limit) {
                    Ended::Passed => break,
                    Ended::Failed(by) => {
                        let test = here.iter().copied().find(|&t| self.tests[t].name == by);
                        // A test of sockets may fail by chance on a busy machine.
                        let again = test.filter(|_| waits(&self.binaries[binary]));
                        if again.is_some()
                            && let Ended::Passed =
                                self.process(at, binary, &[&by], setting(), limit)
                        {
                            here.retain(|&t| Some(t) != again);
                            continue;
                        }
                        let by = if by.is_empty() { names.join(" ") } else { by };
                        return Some((Verdict::Caught(by), test));
                    }
                    Ended::TimeLimit => {
                        return Some((Verdict::TimeLimit(names.join(" ")), None));
                    }
                }
            }
        }
        None
    }

    fn process(
        &self,
        at: usize,
        binary: usize,
        names: &[&str],
        setting: (&str, std::ffi::OsString),
        limit: Duration,
    ) -> Ended {
        let said = self.scratch.join(format!("said-{at}"));
        let out = File::create(&said).expect("the target folder can be written");
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -v \"$0\"; exec \"$@\"", MEMORY])
            .arg(&self.binaries[binary].path)
            .args([
                "--exact",
                "--test-threads",
                if waits(&self.binaries[binary]) { "6" } else { "2" },
            ])
            .args(names)
            .current_dir(&self.folder)
            .env(setting.0, setting.1)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let start = Instant::now();
        let mut nap = Duration::from_millis(2);
        let ended = loop {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                break of_status(status, &said);
            }
            if let Some(by) = failed(&said) {
                stop(&mut child);
                break Ended::Failed(by);
            }
            if start.elapsed() > limit {
                stop(&mut child);
                break Ended::TimeLimit;
            }
            std::thread::sleep(nap);
            nap = (nap * 3 / 2).min(Duration::from_millis(30));
        };
        let _ = std::fs::remove_file(&said);
        ended
    }
}

/// Whether its tests wait for sockets more than they compute.
fn waits(binary: &Binary) -> bool {
    matches!(binary.name.as_str(), "net" | "tls" | "hostile")
}

fn of_status(status: ExitStatus, said: &Path) -> Ended {
    if status.success() { Ended::Passed } else { Ended::Failed(failed(said).unwrap_or_default()) }
}

fn failed(said: &Path) -> Option<String> {
    let text = std::fs::read(said).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .find_map(|l| Some(l.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned()))
}

/// What it has started, too.
fn stop(child: &mut std::process::Child) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-9", "--", &group]).status();
    let _ = child.wait();
}

/// Of a file, as in names of its tests.
fn module(file: &str) -> String {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    format!("{}::", path.replace('/', "::"))
}

fn names(binary: &Path, folder: &Path, args: &[&str]) -> Result<Vec<String>, String> {
    let output = Command::new(binary)
        .args(args)
        .current_dir(folder)
        .output()
        .map_err(|e| format!("{}: {e}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|l| l.strip_suffix(": test").map(str::to_owned)).collect())
}

/// All items, by `threads` at a time, in order; what has the index is called with it.
fn each<'a, T: Sync>(threads: usize, items: &'a [T], f: impl Fn(usize, &'a T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Relaxed)
                    && let Some(item) = items.get(at)
                {
                    f(at, item);
                }
            });
        }
    });
}

fn read_trace(path: &Path, fingerprint: u64) -> Option<Vec<Test>> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    if lines.next()? != format!("{fingerprint:016x}") {
        return None;
    }
    lines
        .map(|line| {
            let mut parts = line.split('\t');
            Some(Test {
                binary: parts.next()?.parse().ok()?,
                name: parts.next()?.to_owned(),
                time: Duration::from_millis(parts.next()?.parse().ok()?),
                reached: parts.next()?.split(' ').filter_map(|n| n.parse().ok()).collect(),
            })
        })
        .collect()
}

fn write_trace(path: &Path, fingerprint: u64, tests: &[Test]) -> Result<(), String> {
    let mut text = format!("{fingerprint:016x}\n");
    for test in tests {
        let reached: Vec<_> = test.reached.iter().map(u32::to_string).collect();
        let millis = test.time.as_millis();
        text += &format!("{}\t{}\t{millis}\t{}\n", test.binary, test.name, reached.join(" "));
    }
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
