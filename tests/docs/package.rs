//! The documents name files of the repository, and the crate's package does not have all of them.
//! This module finds out which files cargo leaves out, and prints each file that it cannot check.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use super::{path, read};

/// The folders with separate workspaces, which cargo does not put into the package.
pub(crate) const WORKSPACES: [&str; 8] = [
    "bench",
    "fuzz",
    "tests/alloc",
    "tests/certs/make",
    "tests/loom",
    "tests/mutants",
    "tests/peers/rust",
    "tests/types",
];

static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether this is the crate's package: only there cargo stores the original manifest beside the
/// one that it has written.
pub(crate) fn is_package() -> bool {
    path("Cargo.toml.orig").exists()
}

/// The patterns of `exclude` in a manifest.
fn patterns(manifest: &str) -> Vec<&str> {
    let list = manifest.split("\nexclude = [").nth(1).unwrap().split("\n]").next().unwrap();
    let lines = list.lines().map(|line| line.trim().trim_end_matches(',').trim_matches('"'));
    lines.filter(|line| !line.is_empty()).collect()
}

/// Whether a pattern of our manifest matches a file. The pattern is the path of a folder or of a
/// file, or has one `*` in a name.
fn means(pattern: &str, file: &str) -> bool {
    let pattern =
        pattern.strip_prefix('/').unwrap_or_else(|| panic!("{pattern}: not from the root"));
    match pattern.split_once('*') {
        None => {
            file.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        Some((start, end)) => file
            .strip_prefix(start)
            .is_some_and(|rest| rest.len() >= end.len() && rest.ends_with(end)),
    }
}

fn excluded(manifest: &str, file: &str) -> bool {
    let by = |pattern: &str| match pattern.strip_prefix('!') {
        Some(pattern) => means(pattern, file).then_some(false),
        None => means(pattern, file).then_some(true),
    };
    // The last pattern that matches counts, as in a .gitignore.
    patterns(manifest).into_iter().rev().find_map(by).unwrap_or(false)
}

/// Whether a file is in one of the separate workspaces.
pub(crate) fn is_of_workspace(file: &str) -> bool {
    WORKSPACES.iter().any(|folder| means(&format!("/{folder}"), file))
}

/// Whether cargo puts a file of the repository into the package.
pub(crate) fn holds(file: &str) -> bool {
    !is_of_workspace(file) && !excluded(&read("Cargo.toml").unwrap(), file)
}

/// Whether a file is absent because this is a package. Absent files are printed.
pub(crate) fn lacks(file: &str) -> bool {
    let lacks = is_package() && !path(file).exists() && !holds(file);
    if lacks && PRINTED.lock().unwrap().insert(file.to_owned()) {
        println!("!!! NOT CHECKED in a package, which does not hold it: {file}");
    }
    lacks
}

fn manifests(folder: &Path, at: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let here = format!("{at}{name}");
        if name == "Cargo.toml" && !at.is_empty() {
            found.insert(at.trim_end_matches('/').to_owned());
        } else if entry.file_type().unwrap().is_dir() && name != "target" && !name.starts_with('.')
        {
            manifests(&entry.path(), &format!("{here}/"), found);
        }
    }
}

#[test]
fn the_workspaces_are_those_that_are_there() {
    let mut found = BTreeSet::new();
    manifests(&path(""), "", &mut found);
    if is_package() {
        println!("!!! NOT CHECKED in a package: which workspaces the repository has");
        assert!(found.is_empty(), "{found:?}");
        return;
    }
    // Folders inside another workspace do not count.
    let outer = |folder: &&String| {
        !found
            .iter()
            .any(|other| folder.strip_prefix(other.as_str()).is_some_and(|r| r.starts_with('/')))
    };
    let outer: Vec<&String> = found.iter().filter(outer).collect();
    assert_eq!(outer, WORKSPACES);
}

#[test]
fn what_a_package_leaves_out_is_read_as_cargo_reads_it() {
    let manifest =
        "a\nexclude = [\n    \"/.ci\",\n    \"/a/*\",\n    \"/b/*.py\",\n    \"!/a/*.md\",\n]\n";
    for (file, out) in [
        (".ci/run", true),
        (".circle", false),
        ("a/b", true),
        ("a/b.md", false),
        ("a", false),
        ("b/c.py", true),
        ("b/c.rs", false),
        ("src/.ci", false),
    ] {
        assert_eq!(excluded(manifest, file), out, "{file}");
    }
    for (file, held) in [
        ("src/lib.rs", true),
        ("tests/autobahn/NOTES.md", true),
        ("tests/autobahn/run.sh", false),
        ("fuzz/run.sh", false),
        ("tests/loom/README.md", false),
        ("tests/certs/make/src/main.rs", false),
        ("tests/certs/ca.pem", true),
    ] {
        assert_eq!(holds(file), held, "{file}");
    }
}
