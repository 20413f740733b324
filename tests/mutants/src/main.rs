//! All mutants in one build: a number that is read when the tests start says which is on.
//!
//!     moonwire-mutants LIST FOLDER FEATURES [--again] [--jobs N] [--only TEXT] BINARY… [--then BINARY…]…
//!
//! `LIST` is what `cargo mutants --list --json` prints. `FOLDER` gets a folder for each file of the list, with
//! `caught.txt`, `timeout.txt`, `unviable.txt`, `missed.txt`, `unreached.txt` and `alone.txt`: the last has what
//! cannot stand beside others in one build, such as constants. `BINARY`: `lib` or the name of a test. Behind `--then`
//! are those for what the ones before have not noticed; they are built only if there is something left.
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
    stages: Vec<Vec<String>>,
}

fn main() -> ExitCode {
    let Some(args) = args() else {
        eprintln!("see the head of src/main.rs");
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
        stages: vec![Vec::new()],
    };
    while let Some(arg) = given.next() {
        match arg.as_str() {
            "--again" => args.again = true,
            "--jobs" => args.jobs = given.next()?.parse().ok()?,
            "--only" => args.only = Some(given.next()?),
            "--then" => args.stages.push(Vec::new()),
            _ => args.stages.last_mut()?.push(arg),
        }
    }
    args.stages.iter().all(|stage| !stage.is_empty()).then_some(args)
}

fn all(args: &Args) -> Result<(), String> {
    let list =
        std::fs::read_to_string(&args.list).map_err(|e| format!("{}: {e}", args.list.display()))?;
    let list = serde_json::from_str(&list).map_err(|e| format!("{}: {e}", args.list.display()))?;
    let root = std::env::current_dir().map_err(|e| e.to_string())?;
    let files = list::read(&root, &list);
    let folder = root.join(&args.folder);
    let mut build = Build::new(&root, &folder, &args.features, files);
    build.check()?;
    let fingerprint = build.fingerprint(&args.stages)?;
    let mut results = open(args, &folder, &build, fingerprint)?;
    for (nth, stage) in args.stages.iter().enumerate() {
        if trials(args, nth, &build, &results).is_empty() {
            continue;
        }
        let binaries = build.test(stage)?;
        let mut runner = Runner::new(&build.copy, &folder, binaries, args.jobs);
        runner.trace(fingerprint)?;
        let trials = trials(args, nth, &build, &results);
        eprintln!("{} mutants, {} tests", trials.len(), runner.tests.len());
        try_all(args, nth, &runner, &trials, &mut results);
    }
    if args.only.is_none() {
        for (file, results) in &mut results {
            for (mutant, fate) in build.fates().filter(|(m, _)| m.file == *file) {
                match fate {
                    Fate::NotCompiled => results.add(&mutant.name, Kind::NotCompiled, ""),
                    Fate::Alone => results.add(&mutant.name, Kind::Alone, ""),
                    Fate::Number(_) => {}
                }
            }
            println!("{file}: {}", results.write()?);
        }
    }
    Ok(())
}

type All = BTreeMap<String, Results>;

fn open(args: &Args, folder: &Path, build: &Build, fingerprint: u64) -> Result<All, String> {
    let again = args.again && args.only.is_none();
    let open = |(file, text): (&str, u64)| {
        let own = folder.join(file.trim_end_matches(".rs").replace('/', "-"));
        Ok((file.to_owned(), Results::open(&own, text, fingerprint, args.stages.len(), again)?))
    };
    build.texts().map(open).collect()
}

/// What no test of the stages before has noticed.
fn trials<'a>(args: &Args, nth: usize, build: &'a Build, results: &All) -> Vec<Trial<'a>> {
    let mut trials = Vec::new();
    for (mutant, fate) in build.fates() {
        let Fate::Number(number) = fate else { continue };
        let is_meant = match &args.only {
            Some(text) if nth == 0 => mutant.name.contains(text),
            Some(text) => {
                mutant.name.contains(text) && !results[&mutant.file].is_noticed(&mutant.name)
            }
            None => !results[&mutant.file].is_done(&mutant.name, nth),
        };
        if is_meant {
            let (file, function) = (&mutant.file, &mutant.function);
            trials.push(Trial { number, file, function, name: &mutant.name });
        }
    }
    trials
}

fn try_all(args: &Args, nth: usize, runner: &Runner, trials: &[Trial], results: &mut All) {
    let (results, tried) = (Mutex::new(results), AtomicUsize::new(0));
    runner.try_all(trials, &|trial, verdict| {
        if args.only.is_some() {
            println!("{}: {verdict:?}", trial.name);
        }
        let n = 1 + tried.fetch_add(1, Relaxed);
        if n.is_multiple_of(100) {
            eprintln!("{n} of {}", trials.len());
        }
        let mut results = results.lock().expect("no thread panics");
        results.get_mut(trial.file).expect("a file of the list").tell(trial.name, nth, verdict);
    });
}
