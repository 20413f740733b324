//! The crates that each set of features brings along equal the committed list, so that a new one,
//! or a new version, is always a visible change. After an intended one:
//! `MOONWIRE_BLESS=1 cargo test --test footprint`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// A set of features, and how many crates it may bring along at most.
const SETS: [(&str, &[&str], usize); 4] = [
    ("core", &["--no-default-features"], 2),
    ("tls", &["--no-default-features", "--features=tls"], 18),
    ("tls,luau", &["--no-default-features", "--features=tls,luau"], 30),
    ("everything", &["--all-features"], 36),
];

/// The crates on Linux as `name version`, without this one.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--edges=normal", "--prefix=none"])
        .args(["--target=x86_64-unknown-linux-gnu", "--format={p}"])
        .args(features)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?.trim_start_matches('v')))
    });
    let others = named.filter(|(name, _)| *name != env!("CARGO_PKG_NAME"));
    others.map(|(name, version)| format!("{name} {version}")).collect()
}

#[test]
fn the_dependencies_are_those_that_are_committed() {
    let mut list = String::from(
        "# The crates that each set of features brings along on Linux; compared by footprint.rs.\n",
    );
    for (name, features, most) in SETS {
        let crates = crates(features);
        assert!(crates.len() <= most, "{name}: {} crates, at most {most}", crates.len());
        let _ = write!(list, "\n[{name}] {}\n", crates.len());
        crates.iter().for_each(|line| list.extend([line, "\n"]));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/footprint.txt");
    if std::env::var_os("MOONWIRE_BLESS").is_some() {
        std::fs::write(&file, &list).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (is, was) = (lines(&list), lines(&committed));
    assert!(
        list == committed,
        "the dependencies differ from tests/footprint.txt; new: {:#?}, gone: {:#?}. If that is \
         meant, run with MOONWIRE_BLESS=1 and give the reason in Cargo.toml.",
        is.difference(&was).collect::<Vec<_>>(),
        was.difference(&is).collect::<Vec<_>>(),
    );
    assert!(!committed.contains('/'), "a path of a machine");
}
