//! The crates of each set of features equal the committed list, so that a new crate or a new
//! version is always a visible change. After an intended change, `MOONWIRE_BLESS=1 cargo test
//! --test footprint` writes the list.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

const LINUX: &str = "x86_64-unknown-linux-gnu";

/// The systems, their targets, and how many crates more than on Linux each may need.
const SYSTEMS: [(&str, &str, usize); 4] = [
    ("Linux", LINUX, 0),
    // System calls, random bytes, sockets.
    ("Windows", "x86_64-pc-windows-msvc", 5),
    // The crates that read the keychain; random bytes.
    ("macOS", "aarch64-apple-darwin", 3),
    // Random bytes.
    ("FreeBSD", "x86_64-unknown-freebsd", 3),
];

/// The sets of features, and how many crates each may need at most on Linux.
const SETS: [(&str, &[&str], usize); 8] = [
    ("core", &["--no-default-features"], 2),
    ("deflate", &["--no-default-features", "--features=deflate"], 3),
    ("net", &["--no-default-features", "--features=net"], 5),
    ("json", &["--no-default-features", "--features=json"], 10),
    ("tls", &["--no-default-features", "--features=tls"], 18),
    ("system-roots", &["--no-default-features", "--features=system-roots"], 20),
    ("tls,luau", &["--no-default-features", "--features=tls,luau"], 30),
    ("default", &[], 37),
];

/// The crates of a target as `name version`, without this one. `None` if some were never
/// downloaded: a build fetches the crates for its own system, and `cargo fetch` fetches those for
/// all systems. `.ci/run` runs `cargo fetch`, and sets `MOONWIRE_ALL_SYSTEMS`: then a missing crate
/// is an error.
fn crates(target: &str, features: &[&str]) -> Option<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--edges=normal", "--prefix=none"])
        .args([&*format!("--target={target}"), "--format={p}"])
        .args(features)
        .output()
        .unwrap();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("failed to download"), "{target}: {text}");
        let all = std::env::var_os("MOONWIRE_ALL_SYSTEMS").or(std::env::var_os("MOONWIRE_BLESS"));
        assert!(all.is_none(), "{target}: not all of its crates are here: cargo fetch");
        println!("{target}: not checked, since not all of its crates are here: cargo fetch");
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?.trim_start_matches('v')))
    });
    let others = named.filter(|(name, _)| *name != env!("CARGO_PKG_NAME"));
    Some(others.map(|(name, version)| format!("{name} {version}")).collect())
}

/// The part of the committed list below a heading, with the heading.
fn part<'a>(committed: &'a str, heading: &str) -> &'a str {
    let start = committed.find(heading).unwrap_or(committed.len());
    let rest = &committed[start..];
    rest.find("\n\n[").map_or(rest, |end| &rest[..=end])
}

#[test]
fn the_dependencies_are_those_that_are_committed() {
    let mut list = String::from(
        "# The crates that each set of features brings along; compared by footprint.rs.\n",
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/footprint.txt");
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    for (system, target, more) in SYSTEMS {
        for (name, features, most) in SETS {
            let heading = format!("[{system}: {name}] ");
            let Some(crates) = crates(target, features) else {
                let _ = write!(list, "\n{}", part(&committed, &heading));
                continue;
            };
            let most = most + more;
            assert!(crates.len() <= most, "{heading}{}, at most {most}", crates.len());
            let _ = write!(list, "\n{heading}{}\n", crates.len());
            crates.iter().for_each(|line| list.extend([line, "\n"]));
        }
    }
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
