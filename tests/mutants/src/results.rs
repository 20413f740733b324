//! What became of each mutant of a file; kept, so that a run can go on.

use crate::run::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Lines `KIND name` with the test behind a tab, and in front of them what they are of.
pub struct Results {
    folder: PathBuf,
    log: File,
    pub of: BTreeMap<String, (Kind, String)>,
    /// What no test noticed of those that were run before.
    missed: BTreeSet<String>,
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
    pub fn open(folder: &Path, text: u64, all: u64, again: bool) -> Result<Results, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(folder).map_err(fail)?;
        let path = folder.join("results.txt");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let mut lines = old.lines();
        let (text, all) = (format!("{text:016x}"), format!("{all:016x}"));
        let (mut of, mut missed) = (BTreeMap::new(), BTreeSet::new());
        let first = lines.next().unwrap_or_default();
        if !again && first.starts_with(&text) {
            for line in lines {
                let mut parts = line.splitn(3, '\t');
                let word = parts.next().unwrap_or_default();
                let name = parts.next().unwrap_or_default().to_owned();
                let by = parts.next().unwrap_or_default().to_owned();
                if let Some(&(kind, _)) = KINDS.iter().find(|k| k.1 == word)
                    && (kind <= Kind::TimeLimit || first.ends_with(&all))
                {
                    of.insert(name, (kind, by));
                } else if word == "missed" {
                    missed.insert(name);
                }
            }
        }
        let log =
            OpenOptions::new().create(true).write(true).truncate(true).open(&path).map_err(fail)?;
        let mut results = Results { folder: folder.into(), log, of: BTreeMap::new(), missed };
        writeln!(results.log, "{text} {all}").map_err(fail)?;
        for (name, (kind, by)) in of {
            results.add(&name, kind, &by);
        }
        Ok(results)
    }

    pub fn add(&mut self, name: &str, kind: Kind, by: &str) {
        let (_, word) = KINDS.iter().find(|k| k.0 == kind).expect("each has a word");
        writeln!(self.log, "{word}\t{name}\t{by}").expect("the target folder can be written");
        self.of.insert(name.into(), (kind, by.into()));
    }

    pub fn tell(&mut self, name: &str, verdict: Verdict) {
        match verdict {
            Verdict::Caught(by) => self.add(name, Kind::Caught, &by),
            Verdict::TimeLimit(by) => self.add(name, Kind::TimeLimit, &by),
            Verdict::Missed => self.add(name, Kind::Missed, ""),
            Verdict::NotReached if self.missed.contains(name) => self.add(name, Kind::Missed, ""),
            Verdict::NotReached => self.add(name, Kind::NotReached, ""),
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
