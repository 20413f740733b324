//! Writes the results into the crate's README and into `docs/SPEED.md`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::options::Options;
use crate::{machine, report};

const BEGIN: &str = "<!-- written by bench/run.sh -->\n";
const END: &str = "<!-- end -->\n";

/// The rows of the README: the case, the entry, and the entry it is compared with.
const ROWS: [(&str, &str, Option<&str>); 5] = [
    ("receive-128", "moonwire, reactor", Some("tungstenite")),
    ("receive-128", "moonwire, Luau", Some("Lune")),
    ("rt-32", "moonwire, Luau", Some("Lune")),
    ("wss-64k", "moonwire, reactor", Some("tungstenite")),
    ("idle", "moonwire, reactor", None),
];

/// The two files; each has two marks, and the results stand between them.
pub struct Places {
    readme: PathBuf,
    speed: PathBuf,
}

impl Places {
    /// `None` if the results go to another folder: those are only a trial.
    pub fn of(options: &Options) -> Result<Option<Places>, Failure> {
        if options.out != machine::bench_dir().join("results") {
            return Ok(None);
        }
        let root = machine::bench_dir().join("..");
        let places = Places { readme: root.join("README.md"), speed: root.join("docs/SPEED.md") };
        for file in [&places.readme, &places.speed] {
            around(file)?;
        }
        Ok(Some(places))
    }

    /// Replaces the text between the marks.
    pub fn write(&self, all: &Value) -> Result<(), Failure> {
        fill(&self.readme, &short(all))?;
        fill(&self.speed, &long(all))
    }
}

fn name(file: &Path) -> String {
    let parts: Vec<_> = file.iter().rev().take_while(|part| *part != "..").collect();
    parts.into_iter().rev().collect::<PathBuf>().display().to_string()
}

/// The text before the first mark and after the second one.
fn around(file: &Path) -> Result<(String, String), Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", name(file)))?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(END)?;
        Some((head.to_owned(), tail.to_owned()))
    });
    parts.ok_or_else(|| {
        let (begin, end) = (BEGIN.trim_end(), END.trim_end());
        format!("{} has no place for the results: a line {begin} and a line {end}", name(file))
            .into()
    })
}

fn fill(file: &Path, section: &str) -> Result<(), Failure> {
    let (head, tail) = around(file)?;
    Ok(std::fs::write(file, format!("{head}{BEGIN}{section}{END}{tail}"))?)
}

fn cases(all: &Value) -> &[Value] {
    all["cases"].as_array().map_or(&[], Vec::as_slice)
}

/// The number of rounds, as text.
fn rounds<'a>(cases: impl Iterator<Item = &'a Value> + Clone) -> String {
    let rounds = cases.filter_map(|case| case["rounds"].as_u64());
    match (rounds.clone().min(), rounds.max()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
        (_, most) => most.unwrap_or(0).to_string(),
    }
}

fn short(all: &Value) -> String {
    let named = |case: &&Value| ROWS.iter().any(|(name, ..)| case["name"] == *name);
    let wanted = |case: &str, target: &Value| {
        let is = |&(name, of, against): &(&str, &str, Option<&str>)| {
            name == case && target["of"] == of && target["against"].as_str() == against
        };
        ROWS.iter().any(is)
    };
    format!(
        "{}. Ratios are medians of {} rounds, with the smallest and the largest; *at most* is what was to \
         be reached. All rows are in [docs/SPEED.md](docs/SPEED.md).\n\n{}\n\
         ![receive](bench/results/receive.svg)\n",
        report::machine_line(all, |case| ROWS.iter().any(|(name, ..)| *name == case)),
        rounds(cases(all).iter().filter(named)),
        report::targets_of(all, wanted),
    )
}

fn long(all: &Value) -> String {
    format!(
        "{}. Ratios are medians of {} rounds, with the smallest and the largest; *at most* is what was to \
         be reached.\n\n{}\n{}",
        report::machine_line(all, |_| true),
        rounds(cases(all).iter()),
        report::targets(all),
        ["receive", "round-trip", "send", "wss", "memory"]
            .map(|name| format!("![{name}](../bench/results/{name}.svg)\n"))
            .concat(),
    )
}
