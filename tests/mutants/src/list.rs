//! The mutants, as cargo-mutants lists them.

use crate::hosts::Lines;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

pub struct Mutant {
    pub file: String,
    /// What cargo-mutants calls it, with its place.
    pub name: String,
    pub function: String,
    pub genre: String,
    pub replacement: String,
    /// The bytes that are replaced.
    pub range: Range<usize>,
}

impl Mutant {
    /// What a part of the file becomes.
    pub fn text(&self, file: &str, part: Range<usize>) -> String {
        format!(
            "{}{} {}",
            &file[part.start..self.range.start],
            self.replacement,
            &file[self.range.end..part.end]
        )
    }
}

/// By file, in the order of the list.
pub fn read(root: &Path, list: &Value) -> BTreeMap<String, (String, Vec<Mutant>)> {
    let mut files = BTreeMap::<String, (String, Vec<Mutant>)>::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for entry in list.as_array().expect("a list of mutants") {
        let name = text(&entry["file"]);
        let (source, mutants) = files.entry(name.clone()).or_insert_with(|| {
            let source = std::fs::read_to_string(root.join(&name)).expect("a file of the list");
            (source, Vec::new())
        });
        let lines = Lines::new(source);
        let at = |side: &str| {
            let place = &entry["span"][side];
            let number = |key: &str| place[key].as_u64().expect("a place") as usize;
            lines.offset(number("line"), number("column") - 1)
        };
        mutants.push(Mutant {
            range: at("start")..at("end"),
            name: text(&entry["name"]),
            function: text(&entry["function"]["function_name"]),
            genre: text(&entry["genre"]),
            replacement: text(&entry["replacement"]),
            file: name,
        });
    }
    files
}
