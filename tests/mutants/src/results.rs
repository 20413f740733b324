//! What became of each mutant of a file; kept, so that a run can go on.

use crate::run::Verdict;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Lines `KIND name` with the test behind a tab, and in front of them what they are of. Of what was not noticed,
/// the stage stands there.
pub struct Results {
    folder: PathBuf,
    log: File,
    of: BTreeMap<String, (Kind, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Caught,
    TimeLimit,
    NotCompiled,
    Missed,
    NotReached,
    Alone,
}

pub const KINDS: [(Kind, &str); 6] = [
    (Kind::Caught, "caught"),
    (Kind::TimeLimit, "timeout"),
    (Kind::NotCompiled, "unviable"),
    (Kind::Missed, "missed"),
    (Kind::NotReached, "unreached"),
    (Kind::Alone, "alone"),
];

impl Results {
    /// What was noticed stays so while the text is the same; the rest only while everything is.
    pub fn open(
        folder: &Path,
        text: u64,
        all: u64,
        stages: usize,
        again: bool,
    ) -> Result<Results, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(folder).map_err(fail)?;
        let path = folder.join("results.txt");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines = old.lines();
        let (text, all) = (format!("{text:016x}"), format!("{all:016x}-{stages}"));
        let first = lines.next().unwrap_or_default();
        let (is_same, is_all) = (!again && first.starts_with(&text), first.ends_with(&all));
        let log = File::create(&path).map_err(fail)?;
        let mut results = Results { folder: folder.into(), log, of: BTreeMap::new() };
        writeln!(results.log, "{text} {all}").map_err(fail)?;
        for line in lines.filter(|_| is_same) {
            let mut parts = line.splitn(3, '\t');
            let word = parts.next().unwrap_or_default();
            let (name, by) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if let Some(&(kind, _)) = KINDS.iter().find(|k| k.1 == word)
                && (kind <= Kind::TimeLimit || is_all)
            {
                results.add(name, kind, by);
            }
        }
        Ok(results)
    }

    pub fn is_noticed(&self, name: &str) -> bool {
        self.of.get(name).is_some_and(|(kind, _)| *kind <= Kind::TimeLimit)
    }

    /// Whether the tests of a stage have nothing to do.
    pub fn is_done(&self, name: &str, stage: usize) -> bool {
        let has_had = |by: &str| by.parse().is_ok_and(|last: usize| last >= stage);
        self.is_noticed(name) || self.of.get(name).is_some_and(|(_, by)| has_had(by))
    }

    pub fn add(&mut self, name: &str, kind: Kind, by: &str) {
        let (_, word) = KINDS.iter().find(|k| k.0 == kind).expect("each has a word");
        writeln!(self.log, "{word}\t{name}\t{by}").expect("the target folder can be written");
        self.of.insert(name.into(), (kind, by.into()));
    }

    pub fn tell(&mut self, name: &str, stage: usize, verdict: Verdict) {
        let was_reached = self.of.get(name).is_some_and(|(kind, _)| *kind == Kind::Missed);
        let stage = stage.to_string();
        match verdict {
            Verdict::Caught(by) => self.add(name, Kind::Caught, &by),
            Verdict::TimeLimit(by) => self.add(name, Kind::TimeLimit, &by),
            Verdict::NotReached if !was_reached => self.add(name, Kind::NotReached, &stage),
            Verdict::Missed | Verdict::NotReached => self.add(name, Kind::Missed, &stage),
        }
    }

    /// A file of names for each kind; and the counts in a line.
    pub fn write(&self) -> Result<String, String> {
        let mut counts = Vec::new();
        for (kind, word) in KINDS {
            let names: Vec<_> =
                self.of.iter().filter(|(_, r)| r.0 == kind).map(|(n, _)| n.as_str()).collect();
            counts.push(format!("{word} {}", names.len()));
            let path = self.folder.join(format!("{word}.txt"));
            let text: String = names.iter().map(|n| format!("{n}\n")).collect();
            std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(counts.join(", "))
    }
}
