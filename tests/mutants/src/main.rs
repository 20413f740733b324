//! All mutants in one build: a number that is read when the tests start says which is on.
//!
//!     moonwire-mutants LIST FOLDER FEATURES [--again] [--jobs N] [--only TEXT] BINARY…
//!
//! `LIST` is what `cargo mutants --list --json` prints. `FOLDER` gets a folder for each file of the list, with
//! `caught.txt`, `timeout.txt`, `unviable.txt`, `missed.txt`, `unreached.txt` and `alone.txt`: the last has what
//! cannot stand beside others in one build, such as constants. `BINARY`: `lib` or the name of a test.
//! It is `tests/mutants/run` that calls it.

mod build;
mod hosts;
mod list;
mod results;
mod run;
mod splice;

use build::{Build, Fate};
use results::{Kind, Results};
use run::{Runner, Trial};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Args {
    list: PathBuf,
    folder: PathBuf,
    features: String,
    again: bool,
    jobs: usize,
    only: Option<String>,
    binaries: Vec<String>,
}

fn main() -> ExitCode {
    let Some(args) = args() else {
        eprintln!(
            "usage: moonwire-mutants LIST FOLDER FEATURES [--again] [--jobs N] [--only TEXT] BINARY…"
        );
        return ExitCode::from(2);
    };
    match all(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn args() -> Option<Args> {
    let mut given = std::env::args().skip(1);
    let mut args = Args {
        list: given.next()?.into(),
        folder: given.next()?.into(),
        features: given.next()?,
        again: false,
        jobs: 2,
        only: None,
        binaries: Vec::new(),
    };
    while let Some(arg) = given.next() {
        match arg.as_str() {
            "--again" => args.again = true,
            "--jobs" => args.jobs = given.next()?.parse().ok()?,
            "--only" => args.only = Some(given.next()?),
            _ => args.binaries.push(arg),
        }
    }
    (!args.binaries.is_empty()).then_some(args)
}

fn all(args: &Args) -> Result<(), String> {
    let list =
        std::fs::read_to_string(&args.list).map_err(|e| format!("{}: {e}", args.list.display()))?;
    let list = serde_json::from_str(&list).map_err(|e| format!("{}: {e}", args.list.display()))?;
    let root = std::env::current_dir().map_err(|e| e.to_string())?;
    let files = list::read(&root, &list);
    let folder = root.join(&args.folder);
    let mut build = Build::new(&root, &folder, &args.features, files);
    let tests: Vec<&str> = args
        .binaries
        .iter()
        .flat_map(|b| if b == "lib" { vec!["--lib"] } else { vec!["--test", b] })
        .collect();
    let binaries = build.run(&tests)?;
    let fingerprint = build.fingerprint(&args.binaries)?;
    let mut runner = Runner::new(&build.copy, &folder, binaries, args.jobs);
    runner.trace(fingerprint)?;
    eprintln!("{} tests", runner.tests.len());
    try_all(args, &folder, &build, &runner, fingerprint)
}

fn try_all(
    args: &Args,
    folder: &Path,
    build: &Build,
    runner: &Runner,
    fingerprint: u64,
) -> Result<(), String> {
    let mut results = BTreeMap::new();
    for (file, text) in build.texts() {
        let own = folder.join(file.trim_end_matches(".rs").replace('/', "-"));
        let again = args.again && args.only.is_none();
        results.insert(file, Results::open(&own, text, fingerprint, again)?);
    }
    let mut trials = Vec::new();
    for (mutant, fate) in build.fates() {
        let known = results.get_mut(mutant.file.as_str()).expect("a file of the list");
        let is_meant = args.only.as_ref().is_none_or(|text| mutant.name.contains(text));
        match fate {
            Fate::NotCompiled => known.add(&mutant.name, Kind::NotCompiled, ""),
            Fate::Alone => known.add(&mutant.name, Kind::Alone, ""),
            Fate::Number(_) if !is_meant => {}
            Fate::Number(_) if args.only.is_none() && known.of.contains_key(&mutant.name) => {}
            Fate::Number(number) => {
                let (file, function) = (&mutant.file, &mutant.function);
                trials.push(Trial { number, file, function, name: &mutant.name });
            }
        }
    }
    eprintln!("{} mutants to try", trials.len());
    let (results, tried) = (Mutex::new(results), AtomicUsize::new(0));
    runner.try_all(&trials, &|trial, verdict| {
        if args.only.is_some() {
            println!("{}: {verdict:?}", trial.name);
        }
        let n = 1 + tried.fetch_add(1, Relaxed);
        if n.is_multiple_of(100) {
            eprintln!("{n} of {}", trials.len());
        }
        let mut results = results.lock().expect("no thread panics");
        results.get_mut(trial.file).expect("a file of the list").tell(trial.name, verdict);
    });
    if args.only.is_some() {
        return Ok(());
    }
    for (file, results) in results.into_inner().expect("no thread panics") {
        println!("{file}: {}", results.write()?);
    }
    Ok(())
}
