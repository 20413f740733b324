//! The floor of each file, and the arrows that break the order of the floors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::arrows::{Arrows, arrows};
use super::tree::Files;

/// The floors, from the bottom up, with their files and folders below `src`. No file uses a file on
/// a higher floor. If several entries match a file, the longest one counts.
pub(crate) const FLOORS: &[&[&str]] = &[
    &["limits.rs", "puff.rs"],
    // The core.
    &[
        "proto/buf.rs",
        "proto/context.rs",
        "proto/timer.rs",
        "proto/token.rs",
        "proto/transport.rs",
        "proto/pace.rs",
        "proto/utf8.rs",
    ],
    &["proto/secret.rs"],
    &["proto/head.rs", "proto/headers.rs", "proto/url.rs"],
    &["proto/http/date.rs", "proto/http/response.rs", "proto/sse"],
    &["proto/ws"],
    &["proto/note.rs", "proto/http"],
    &["proto/ws/handshake.rs"],
    &["proto/closed.rs", "proto/settings.rs"],
    &["proto/event.rs"],
    &["proto/ws/connection.rs", "proto/http/exchange.rs"],
    &["proto/session.rs"],
    &["proto/mod.rs"],
    &["fuzzing"],
    // Tapes. They use only the core.
    &["tape/text.rs"],
    &["tape/sim.rs", "tape/fill.rs"],
    &["tape/script.rs"],
    &["tape/run.rs", "tape/scene.rs", "tape/record.rs"],
    &["tape/taped.rs"],
    &["tape/mod.rs"],
    // The crate's plain types, then sockets.
    &["error.rs", "policy.rs", "trace.rs"],
    &["net/time.rs"],
    &["net/event.rs", "net/session.rs", "net/sys"],
    &["net/ask"],
    &["net/wire"],
    &["net/reactor"],
    &["net/faces"],
    &["net/mod.rs"],
    &["fuzzing/mod.rs", "fuzzing/proxies.rs"],
    &["peer"],
    &["audit"],
    // Scripts: files that natives use, the natives, and files that drive them.
    &[
        "luau/collector.rs",
        "luau/compress.rs",
        "luau/definitions.rs",
        "luau/globals.rs",
        "luau/loose.rs",
        "luau/no_compress.rs",
        "luau/source.rs",
    ],
    &[
        "luau/error.rs",
        "luau/link.rs",
        "luau/secret.rs",
        "luau/json.rs",
        "luau/no_json.rs",
        "luau/jit.rs",
        "luau/no_jit.rs",
    ],
    &["luau/luaurc.rs", "luau/modules.rs"],
    &["luau/watch.rs", "luau/input.rs"],
    &["luau/io.rs"],
    &["luau/host_file.rs"],
    &["luau/options.rs", "luau/stopper.rs"],
    &["luau/host.rs"],
    &["luau"],
    &["luau/prelude.rs"],
    &["luau/script.rs"],
    &["luau/pump.rs"],
    &["luau/mod.rs"],
    // The command.
    &["cli/stdio.rs"],
    &["cli/options.rs", "cli/signals.rs"],
    &["cli/help.rs", "cli/proxy.rs", "cli/secrets.rs", "cli/tls.rs"],
    &["cli/network.rs", "cli/pages.rs"],
    // The subcommands.
    &["cli"],
    &["cli/args.rs"],
    &["cli/mod.rs"],
    &["lib.rs", "main.rs"],
];

/// All forbidden arrows in `files`, all names that were not found, and all errors in `floors`.
pub(crate) fn complaints(files: &Files, floors: &[&[&str]]) -> Vec<String> {
    let (arrows, mut all) = arrows(files);
    all.extend(uncovered(files, floors));
    all.extend(upward(&arrows, floors));
    all.extend(circles(&arrows));
    all
}

/// The number of a file's floor, and the entry that matches the file.
fn floor<'a>(file: &str, floors: &[&[&'a str]]) -> Option<(usize, &'a str)> {
    let covers = |entry: &str| {
        file.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let entries = floors.iter().enumerate().flat_map(|(i, row)| row.iter().map(move |&e| (i, e)));
    entries.filter(|(_, entry)| covers(entry)).max_by_key(|(_, entry)| entry.len())
}

/// Files without a floor, and entries that match no file or occur twice.
fn uncovered(files: &Files, floors: &[&[&str]]) -> Vec<String> {
    let mut all = Vec::new();
    let mut used = BTreeSet::new();
    for file in files.keys() {
        match floor(file, floors) {
            Some((_, entry)) => _ = used.insert(entry),
            None => all.push(format!("src/{file} is on no floor")),
        }
    }
    let mut seen = BTreeSet::new();
    for entry in floors.iter().copied().flatten() {
        if !seen.insert(entry) {
            all.push(format!("src/{entry} is on two floors"));
        } else if !used.contains(entry) {
            all.push(format!("src/{entry} has a floor, and no file"));
        }
    }
    all
}

fn upward(arrows: &Arrows, floors: &[&[&str]]) -> Vec<String> {
    let height = |file: &str| floor(file, floors).map(|(height, _)| height);
    let runs_up = |(from, to): (&str, &str)| match (height(from), height(to)) {
        (Some(low), Some(high)) => low < high,
        // A file without a floor was reported already.
        _ => false,
    };
    let up = arrows.iter().filter(|((from, to), _)| runs_up((from, to)));
    up.map(|((from, to), names)| format!("up: src/{from} -> src/{to} {}", list(names))).collect()
}

fn list(names: &BTreeSet<String>) -> String {
    format!("({})", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// The shortest circle through each file that is on one, each circle once.
fn circles(arrows: &Arrows) -> Vec<String> {
    let mut nexts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in arrows.keys() {
        nexts.entry(from).or_default().push(to);
    }
    let mut reported = BTreeSet::new();
    let mut all = Vec::new();
    for path in nexts.keys().filter_map(|&file| circle(file, &nexts)) {
        if !reported.insert(path.iter().copied().collect::<BTreeSet<_>>()) {
            continue;
        }
        let mut text = format!("circle: src/{}", path[0]);
        for step in path.windows(2) {
            let names = &arrows[&(step[0].to_owned(), step[1].to_owned())];
            text += &format!(" -> src/{} {}", step[1], list(names));
        }
        all.push(text);
    }
    all
}

/// The shortest path from a file back to itself.
fn circle<'a>(start: &'a str, nexts: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut ways = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        for &next in nexts.get(last).into_iter().flatten() {
            let longer = [way.as_slice(), &[next]].concat();
            if next == start {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}
