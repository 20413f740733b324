//! The copy of the tree, with every mutant that compiles.

use crate::hosts::{Host, Lines, Nodes, Place};
use crate::list::Mutant;
use crate::splice::{Spliced, splice};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Of the compiler: a mutant that is wrong in itself would be so alone. With what is not here, the choice
/// around it may be at fault.
const WRONG_ALONE: &[&str] = &[
    "E0015", "E0023", "E0026", "E0027", "E0040", "E0053", "E0054", "E0061", "E0063", "E0069",
    "E0070", "E0071", "E0080", "E0106", "E0107", "E0133", "E0191", "E0220", "E0223", "E0271",
    "E0277", "E0282", "E0308", "E0310", "E0368", "E0369", "E0412", "E0423", "E0425", "E0433",
    "E0451", "E0515", "E0560", "E0599", "E0600", "E0603", "E0604", "E0605", "E0606", "E0607",
    "E0608", "E0609", "E0614", "E0616", "E0618", "E0624", "E0689", "E0746",
];
/// Found only when code is made, which would have to be made twice: these mutants panic.
const ALLOW: &str = "#![allow(arithmetic_overflow, unconditional_panic)]\n";
const SWITCH: &str = include_str!("switch.rs");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Behind this number.
    Number(u32),
    NotCompiled,
    Alone,
}

/// A file of the list and what is known of its mutants.
struct Source {
    name: String,
    text: String,
    mutants: Vec<Mutant>,
    placed: BTreeMap<usize, Host>,
    fates: BTreeMap<usize, Fate>,
    kept_const: Vec<String>,
    /// Of the text without its tests.
    hash: u64,
    made: Option<Spliced>,
}

pub struct Build {
    root: PathBuf,
    pub copy: PathBuf,
    target: PathBuf,
    known: PathBuf,
    features: String,
    sources: Vec<Source>,
}

/// A binary with tests.
#[derive(Clone, Debug)]
pub struct Binary {
    pub name: String,
    pub path: PathBuf,
}

impl Build {
    pub fn new(
        root: &Path,
        output: &Path,
        features: &str,
        files: BTreeMap<String, (String, Vec<Mutant>)>,
    ) -> Build {
        let sources = files.into_iter().map(|(name, (text, mutants))| Source {
            name,
            text,
            mutants,
            placed: BTreeMap::new(),
            fates: BTreeMap::new(),
            kept_const: Vec::new(),
            hash: 0,
            made: None,
        });
        let mut build = Build {
            root: root.into(),
            copy: output.join("tree"),
            // Of its own: to cargo, the crate in another copy is the same.
            target: output.join("build"),
            known: output.join("fates.txt"),
            features: features.into(),
            sources: sources.collect(),
        };
        build.sources.iter_mut().for_each(Source::place);
        build.read_known();
        build
    }

    /// What was built, tests too.
    pub fn fingerprint(&self, stages: &[Vec<String>]) -> Result<u64, String> {
        let mut hasher = DefaultHasher::new();
        stages.hash(&mut hasher);
        hash_tree(&self.copy, &mut hasher)?;
        Ok(hasher.finish())
    }

    /// Of a file of the list, without its tests: what its results depend on.
    pub fn texts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sources.iter().map(|s| (s.name.as_str(), s.hash))
    }

    /// Leaves out what does not compile.
    pub fn check(&mut self) -> Result<(), String> {
        self.copy_tree()?;
        loop {
            self.write()?;
            let (messages, ok) = self.cargo(&["check", "--lib"])?;
            if ok {
                return self.write_known();
            }
            let dropped = self.drop_wrong(&messages)?;
            eprintln!("{dropped} mutants do not compile in this place");
        }
    }

    pub fn test(&self, binaries: &[String]) -> Result<Vec<Binary>, String> {
        let mut args = vec!["test", "--no-run"];
        for name in binaries {
            args.extend(if name == "lib" { vec!["--lib"] } else { vec!["--test", name] });
        }
        let (messages, ok) = self.cargo(&args)?;
        if ok { Ok(made(&messages)) } else { Err("the tests do not compile".into()) }
    }

    /// What was left out before, so that the text does not change and nothing is built twice.
    fn read_known(&mut self) {
        let known = std::fs::read_to_string(&self.known).unwrap_or_default();
        let known: BTreeMap<&str, &str> =
            known.lines().filter_map(|l| l.split_once('\t')).collect();
        for source in &mut self.sources {
            for (i, mutant) in source.mutants.iter().enumerate() {
                let fate = match known.get(source.key(mutant).as_str()) {
                    Some(&"unviable") => Fate::NotCompiled,
                    Some(&"alone") => Fate::Alone,
                    _ => continue,
                };
                source.placed.remove(&i);
                source.fates.insert(i, fate);
            }
        }
    }

    fn write_known(&self) -> Result<(), String> {
        let is_here =
            |line: &str| self.sources.iter().any(|s| line.contains(&format!(" {}:", s.name)));
        let old = std::fs::read_to_string(&self.known).unwrap_or_default();
        let others = old.lines().filter(|l| !is_here(l)).map(|l| format!("{l}\n"));
        let mut text: String = others.collect();
        for source in &self.sources {
            for (i, mutant) in source.mutants.iter().enumerate() {
                let word = match source.fates[&i] {
                    Fate::NotCompiled => "unviable",
                    Fate::Alone => "alone",
                    Fate::Number(_) => continue,
                };
                text += &format!("{}\t{word}\n", source.key(mutant));
            }
        }
        write_if_new(&self.known, text.as_bytes())
    }

    pub fn fates(&self) -> impl Iterator<Item = (&Mutant, Fate)> {
        self.sources
            .iter()
            .flat_map(|s| s.mutants.iter().enumerate().map(|(i, m)| (m, s.fates[&i])))
    }

    fn copy_tree(&self) -> Result<(), String> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()
            .map_err(|e| format!("git ls-files: {e}"))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut names = BTreeSet::new();
        for name in listed.split('\0').filter(|n| !n.is_empty()) {
            let from = self.root.join(name);
            if self.sources.iter().any(|s| s.name == name) || !from.is_file() {
                continue;
            }
            names.insert(PathBuf::from(name));
            let mut bytes = std::fs::read(&from).map_err(|e| format!("{name}: {e}"))?;
            if name == "src/lib.rs" {
                let count = 1 + self.sources.iter().map(|s| s.mutants.len()).sum::<usize>();
                bytes.splice(0..0, ALLOW.bytes());
                bytes.extend(SWITCH.replace("COUNT", &count.to_string()).into_bytes());
            }
            write_if_new(&self.copy.join(name), &bytes)?;
        }
        names.extend(self.sources.iter().map(|s| PathBuf::from(&s.name)));
        remove_others(&self.copy, Path::new(""), &names)
    }

    fn write(&mut self) -> Result<(), String> {
        let mut next = 1;
        for source in &mut self.sources {
            source.splice(&mut next);
            let text = &source.made.as_ref().expect("spliced").text;
            write_if_new(&self.copy.join(&source.name), text.as_bytes())?;
        }
        Ok(())
    }

    fn cargo(&self, args: &[&str]) -> Result<(Vec<Value>, bool), String> {
        let output = Command::new("cargo")
            .args(args)
            .args(["--locked", "--message-format=json", "--no-default-features", "--features"])
            .arg(&self.features)
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            // Overflow and debug assertions stay checked.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_INCREMENTAL", "0")
            .env("RUSTFLAGS", "-Awarnings")
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cargo: {e}"))?;
        let lines = String::from_utf8_lossy(&output.stdout);
        let messages = lines.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        Ok((messages, output.status.success()))
    }

    fn drop_wrong(&mut self, messages: &[Value]) -> Result<usize, String> {
        let mut dropped = 0;
        let mut unknown = Vec::new();
        for message in messages.iter().filter(|m| m["reason"] == "compiler-message") {
            let message = &message["message"];
            if message["level"] != "error" || message["spans"].as_array().is_none_or(Vec::is_empty)
            {
                continue;
            }
            match self.blame(message) {
                Some(n) => dropped += n,
                None => unknown.push(message["rendered"].as_str().unwrap_or_default().to_owned()),
            }
        }
        if dropped == 0 {
            return Err(format!("errors that no mutant explains:\n{}", unknown.join("\n")));
        }
        Ok(dropped)
    }

    /// How many mutants are dropped for an error; `None`: it is not known which.
    fn blame(&mut self, message: &Value) -> Option<usize> {
        let code = message["code"]["code"].as_str().unwrap_or("");
        let mut spans = Vec::new();
        places(message, &mut spans);
        spans.sort_by_key(|s| !s.2);
        let fate = if WRONG_ALONE.contains(&code) || is_lint(code) {
            Fate::NotCompiled
        } else {
            Fate::Alone
        };
        if code == "E0015" {
            let n: usize = self.sources.iter_mut().map(|s| s.keep_const(message)).sum();
            if n > 0 {
                return Some(n);
            }
        }
        for (file, range, _) in &spans {
            let Some(source) = self.sources.iter_mut().find(|s| s.name == *file) else { continue };
            if let Some(n) = source.drop_part(range, fate) {
                return Some(n);
            }
        }
        for (file, range, _) in &spans {
            let Some(source) = self.sources.iter_mut().find(|s| s.name == *file) else { continue };
            if let Some(n) = source.drop_choice(range) {
                return Some(n);
            }
        }
        None
    }
}

fn is_lint(code: &str) -> bool {
    !code.is_empty() && !code.starts_with('E')
}

/// Places that a message names, with what is said of them: file, bytes, whether it is the first.
fn places(message: &Value, into: &mut Vec<(String, Range<usize>, bool)>) {
    for span in message["spans"].as_array().into_iter().flatten() {
        let byte = |key: &str| span[key].as_u64().unwrap_or(0) as usize;
        let file = span["file_name"].as_str().unwrap_or_default().to_owned();
        into.push((file, byte("byte_start")..byte("byte_end"), span["is_primary"] == true));
    }
    for child in message["children"].as_array().into_iter().flatten() {
        let mut more = Vec::new();
        places(child, &mut more);
        into.extend(more.into_iter().map(|(f, r, _)| (f, r, false)));
    }
}

fn made(messages: &[Value]) -> Vec<Binary> {
    let mut all = Vec::new();
    for message in messages.iter().filter(|m| m["reason"] == "compiler-artifact") {
        if let Some(path) = message["executable"].as_str()
            && message["profile"]["test"] == true
        {
            let target = &message["target"];
            let is_lib = target["kind"][0] == "lib";
            let name = if is_lib { "lib" } else { target["name"].as_str().unwrap_or_default() };
            all.push(Binary { name: name.into(), path: path.into() });
        }
    }
    all
}

fn write_if_new(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn hash_tree(folder: &Path, hasher: &mut DefaultHasher) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash_tree(&path, hasher)?;
        } else {
            path.hash(hasher);
            std::fs::read(&path).unwrap_or_default().hash(hasher);
        }
    }
    Ok(())
}

fn remove_others(copy: &Path, under: &Path, names: &BTreeSet<PathBuf>) -> Result<(), String> {
    let folder = copy.join(under);
    for entry in std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let Ok(entry) = entry else { continue };
        let name = under.join(entry.file_name());
        let path = entry.path();
        if path.is_dir() {
            remove_others(copy, &name, names)?;
        } else if !names.contains(&name) {
            std::fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

impl Source {
    fn place(&mut self) {
        self.hash = self.hash_untested();
        let lines = Lines::new(&self.text);
        let file = syn::parse_file(&self.text).expect("a file that compiles");
        let nodes = Nodes::new(&lines, &file);
        self.placed.clear();
        for (i, mutant) in self.mutants.iter().enumerate() {
            match nodes.place(mutant, &self.kept_const) {
                Place::In(host) => drop(self.placed.insert(i, host)),
                Place::NotRust => drop(self.fates.insert(i, Fate::NotCompiled)),
                Place::Alone => drop(self.fates.insert(i, Fate::Alone)),
            }
        }
    }

    /// A mutant of this very text.
    fn key(&self, mutant: &Mutant) -> String {
        format!("{:016x} {}", self.hash, mutant.name)
    }

    fn hash_untested(&self) -> u64 {
        let lines = Lines::new(&self.text);
        let file = syn::parse_file(&self.text).expect("a file that compiles");
        let mut hasher = DefaultHasher::new();
        let mut at = 0;
        for tests in &Nodes::new(&lines, &file).tests {
            self.text[at..tests.start].hash(&mut hasher);
            at = tests.end;
        }
        self.text[at..].trim_end().hash(&mut hasher);
        hasher.finish()
    }

    fn splice(&mut self, next: &mut u32) {
        let lines = Lines::new(&self.text);
        let file = syn::parse_file(&self.text).expect("a file that compiles");
        let nodes = Nodes::new(&lines, &file);
        // What the compiler evaluates asks for no number.
        let mutated = |r: &Range<usize>| {
            self.placed.keys().any(|&i| r.contains(&self.mutants[i].range.start))
        };
        let cuts: Vec<_> = nodes
            .const_fns
            .iter()
            .filter(|(_, name, range)| !self.kept_const.contains(name) && mutated(range))
            .map(|(word, ..)| word.clone())
            .collect();
        let mut numbers = BTreeMap::new();
        let made = splice(&self.text, &self.mutants, &self.placed, &cuts, next, &mut numbers);
        self.made = Some(made);
        self.fates.extend(numbers.into_iter().map(|(i, n)| (i, Fate::Number(n))));
    }

    /// A function that some constant needs stays what it was.
    fn keep_const(&mut self, message: &Value) -> usize {
        let said = message["message"].as_str().unwrap_or_default();
        let called = said.split('`').nth(1).unwrap_or_default();
        let name = called.rsplit("::").next().unwrap_or_default().to_owned();
        let lines = Lines::new(&self.text);
        let file = syn::parse_file(&self.text).expect("a file that compiles");
        let nodes = Nodes::new(&lines, &file);
        let is_here = nodes.const_fns.iter().any(|(_, n, _)| *n == name);
        if !is_here || self.kept_const.contains(&name) {
            return 0;
        }
        self.kept_const.push(name);
        let fates = std::mem::take(&mut self.fates);
        let before = std::mem::take(&mut self.placed);
        self.place();
        // What was dropped already stays so.
        self.placed.retain(|i, _| before.contains_key(i));
        let gone = before.len() - self.placed.len();
        self.fates = fates.into_iter().chain(std::mem::take(&mut self.fates)).collect();
        gone
    }

    fn drop_part(&mut self, at: &Range<usize>, fate: Fate) -> Option<usize> {
        let made = self.made.as_ref()?;
        let part =
            made.parts.iter().find(|p| p.range.start <= at.start && at.end <= p.range.end)?;
        let mutant = part.mutant;
        // A value that is returned is the same alone.
        let is_value = self.mutants[mutant].genre == "FnValue";
        let fate = if is_value { Fate::NotCompiled } else { fate };
        if self.placed.remove(&mutant).is_some() {
            self.fates.insert(mutant, fate);
            return Some(1);
        }
        // Another error of the same round was the reason.
        Some(0)
    }

    /// The smallest choice around the place, or else those within it.
    fn drop_choice(&mut self, at: &Range<usize>) -> Option<usize> {
        let made = self.made.as_ref()?;
        let around = made
            .choices
            .iter()
            .filter(|c| c.range.start <= at.start && at.end <= c.range.end)
            .min_by_key(|c| c.range.len());
        let within =
            || made.choices.iter().filter(|c| at.start <= c.range.start && c.range.end <= at.end);
        let chosen: Vec<usize> = match around {
            Some(choice) => choice.mutants.clone(),
            None => within().flat_map(|c| c.mutants.iter().copied()).collect(),
        };
        if chosen.is_empty() {
            return None;
        }
        let before = self.placed.len();
        for mutant in chosen {
            if self.placed.remove(&mutant).is_some() {
                self.fates.insert(mutant, Fate::Alone);
            }
        }
        Some(before - self.placed.len())
    }
}
