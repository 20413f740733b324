//! The dependencies of this crate: licences, versions, origins. footprint.rs checks which crates
//! these are. No test compares them with the advisory database, which needs the network: that is
//! done by hand (SECURITY.md).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Licences that require only their text.
const LICENCES: [&str; 8] = [
    "Apache-2.0",
    "BSD-3-Clause",
    // The licence of webpki-roots, which contains only data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Stands for the target of the system on which this test runs.
const HOST: &str = "";

/// The targets that are checked one by one, since each may need other crates.
const TARGETS: [&str; 5] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "i686-unknown-linux-gnu",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
];

/// The lowest versions without the faults of rows 54 and 55 in docs/FAULTS.md.
const AT_LEAST: [(&str, [u32; 3]); 2] = [("rustls", [0, 23, 5]), ("rustls-webpki", [0, 103, 13])];

struct Crate {
    name: String,
    version: String,
    licence: String,
}

/// The crates of a build for `target`, including those of build scripts. `None` if some were never
/// downloaded: a build fetches the crates for its own system, `cargo fetch` (which `.ci/run` runs)
/// fetches those for all systems, and no test uses the network.
fn tree(target: &str) -> Option<Vec<Crate>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--all-features", "--edges=normal,build"])
        .args(["--prefix=none", "--format={p}|{l}"])
        .args((target != HOST).then(|| format!("--target={target}")))
        .output()
        .unwrap();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(target != HOST && text.contains("failed to download"), "{target}: {text}");
        println!("{target}: not checked, since not all of its crates are here: cargo fetch");
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: Vec<Crate> = text
        .lines()
        .map(|line| {
            let (package, licence) = line.split_once('|').expect(line);
            let mut words = package.split_whitespace();
            Crate {
                name: words.next().unwrap().to_owned(),
                version: words.next().unwrap().trim_start_matches('v').to_owned(),
                licence: licence.trim_end_matches(" (*)").trim().to_owned(),
            }
        })
        .collect();
    assert!(crates.len() > 20, "{target}: {} crates", crates.len());
    Some(crates)
}

/// Whether the licences of the list satisfy this SPDX expression.
fn may_be_used(licence: &str) -> bool {
    let spaced = licence.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let fine = any(&words, &mut at);
    fine && at == words.len()
}

fn any(words: &[&str], at: &mut usize) -> bool {
    let mut fine = all(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        fine |= all(words, at);
    }
    fine
}

fn all(words: &[&str], at: &mut usize) -> bool {
    let mut fine = one(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        fine &= one(words, at);
    }
    fine
}

fn one(words: &[&str], at: &mut usize) -> bool {
    let Some(&word) = words.get(*at) else { return false };
    *at += 1;
    if word == "(" {
        let fine = any(words, at);
        *at += 1;
        return fine && words.get(*at - 1) == Some(&")");
    }
    // An exception adds permissions and takes none away.
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    LICENCES.contains(&word)
}

#[test]
fn every_licence_is_on_the_list() {
    let all = tree("all").or_else(|| tree(HOST)).unwrap();
    for c in all {
        assert!(may_be_used(&c.licence), "{} {}: \"{}\"", c.name, c.version, c.licence);
    }
}

#[test]
fn the_checker_of_licences_sees_what_it_has_to_see() {
    for (licence, fine) in [
        ("MIT", true),
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR GPL-3.0-only) AND (GPL-3.0-only OR ISC)", true),
        ("(MIT OR Apache-2.0) AND LGPL-2.1-or-later", false),
        ("(MIT", false),
        ("MIT Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(may_be_used(licence), fine, "{licence}");
    }
}

#[test]
fn no_crate_is_there_in_two_versions() {
    for target in [HOST].into_iter().chain(TARGETS) {
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for c in tree(target).into_iter().flatten() {
            versions.entry(c.name).or_default().insert(c.version);
        }
        versions.retain(|_, versions| versions.len() > 1);
        assert!(versions.is_empty(), "{target}: {versions:?}");
    }
}

/// The packages of the lock file, each as a map from the key of a line to its value.
fn locked() -> Vec<BTreeMap<String, String>> {
    let text = include_str!("../Cargo.lock");
    let packages = text.split("[[package]]").skip(1).map(|package| {
        let pairs = package.lines().filter_map(|line| line.split_once(" = "));
        pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
    });
    packages.collect()
}

#[test]
fn what_verifies_certificates_is_new_enough() {
    // FAULTS 55.
    for (name, least) in AT_LEAST {
        let all: Vec<_> = locked().into_iter().filter(|p| p["name"] == name).collect();
        assert_eq!(all.len(), 1, "{name}");
        let version = &all[0]["version"];
        let numbers: Vec<u32> = version.split('.').map(|n| n.parse().expect(version)).collect();
        assert!(numbers[..] >= least[..], "{name} {version}, at least {least:?}");
    }
}

#[test]
fn all_crates_come_from_the_registry_with_a_checksum() {
    let packages = locked();
    assert!(packages.len() > 20);
    for p in packages.iter().filter(|p| p["name"] != env!("CARGO_PKG_NAME")) {
        let source = p.get("source").map(String::as_str);
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert_eq!(source, Some(registry), "{}", p["name"]);
        assert_eq!(p.get("checksum").map(String::len), Some(64), "{}", p["name"]);
    }
}

/// The string values of a key in a JSON text, in their order.
fn strings<'a>(json: &'a str, key: &str) -> Vec<&'a str> {
    let start = format!("\"{key}\": \"");
    json.split(&*start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The components in the list (CycloneDX), each as name, version and SHA-256.
fn components(json: &str) -> BTreeSet<[String; 3]> {
    let list = json.split("\n \"components\": [").nth(1).unwrap().split("\n ]").next().unwrap();
    let one = |text: &str| {
        let hash = strings(text, "content");
        // A component may have several names: that of the crate is the first.
        [strings(text, "name"), strings(text, "version"), hash]
            .map(|all| all.first().copied().unwrap_or("").to_owned())
    };
    list.split("\n  {").skip(1).map(one).collect()
}

#[test]
fn the_list_of_components_is_that_of_the_lock_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join("Cargo.toml.orig").exists() {
        println!("!!! NOT CHECKED in a package, which does not hold it: release/sbom.cdx.json");
        return;
    }
    let json = std::fs::read_to_string(root.join("release/sbom.cdx.json")).unwrap();
    let others = locked().into_iter().filter(|p| p["name"] != env!("CARGO_PKG_NAME"));
    let want: BTreeSet<[String; 3]> =
        others.map(|p| ["name", "version", "checksum"].map(|key| p[key].clone())).collect();
    let have = components(&json);
    let (missing, more): (Vec<_>, Vec<_>) =
        (want.difference(&have).collect(), have.difference(&want).collect());
    assert!(
        missing.is_empty() && more.is_empty(),
        "bash release/sbom writes it: it lacks {missing:?}, and has {more:?}"
    );
    assert!(have.len() > 20);
    let own = json.split("\n \"components\": [").next().unwrap();
    assert!(strings(own, "version").contains(&env!("CARGO_PKG_VERSION")));
    // The list must be the same on every machine and at any time.
    for word in ["/home/", "/root/", "/tmp/", "serialNumber", "timestamp"] {
        assert!(!json.contains(word), "{word}");
    }
}

#[test]
fn a_component_is_read_with_its_own_name() {
    let json = "{\n \"metadata\": {\n  \"version\": \"9\"\n },\n \"components\": [\n  {\n   \"author\": \"x\",\n   \
        \"name\": \"a\",\n   \"version\": \"1\",\n   \"hashes\": [\n    {\n     \"content\": \"ff\"\n    }\n   ]\n  },\n  \
        {\n   \"name\": \"b\",\n   \"version\": \"2\"\n  }\n ],\n \"dependencies\": []\n}";
    let want = [["a", "1", "ff"], ["b", "2", ""]].map(|c| c.map(str::to_owned));
    assert_eq!(components(json), want.into());
}
