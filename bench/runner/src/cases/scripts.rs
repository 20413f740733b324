//! Scripts without a network: computing, JSON, and the time that a start takes.

use super::{Case, Metric, Target, entry, ratio};

const NATIVE: &str = "moonwire run --jit on";
const INTERPRETED: &str = "moonwire run --jit off";
const LUNE: &str = "Lune";

pub(super) fn all() -> Vec<Case> {
    let mut all: Vec<Case> = vec![
        compute("compute-calls-fib", "recursive calls: a function", 300),
        compute("compute-calls-tree", "recursive calls: methods of a tree", 300),
        compute("compute-bit32-random", "bit32: random numbers", 3_000),
        compute("compute-bit32-crc", "bit32: a checksum by a table", 2_000),
        compute("compute-buffers-sieve", "buffers: bytes that are marked", 2_000),
        compute("compute-buffers-words", "buffers: words and numbers in place", 6_000),
        compute("compute-strings-split", "strings: taken apart and put together", 3_000),
        compute("compute-strings-make", "strings: made and searched", 1_000),
        json("json-600", "JSON of 600 B", 20_000, 600),
        json("json-1m", "JSON of 1 MiB", 10, 1024 * 1024),
    ];
    all.push(start());
    all
}

/// The script begins with `--!native`, so that it is compiled unless that is switched off.
fn compute(name: &'static str, title: &'static str, count: u64) -> Case {
    Case {
        count,
        shrink: 50.0,
        entries: vec![
            entry(NATIVE, "moonwire-luau", name, "ws", "/", 0),
            entry(INTERPRETED, "moonwire-luau-interpreted", name, "ws", "/", 0),
            entry(LUNE, "lune", name, "ws", "/", 0),
        ],
        against: &[LUNE],
        targets: vec![ratio(NATIVE, LUNE, 1.0)],
        ..Case::new("compute", name, title, Metric::CpuPerRun)
    }
}

/// The shapes of documents, and the work on them: labels of moonwire and of Lune, and the CASE.
const JSON: [(&str, &str, &str); 4] = [
    ("encode, records", "Lune: encode, records", "json-encode-records"),
    ("decode, records", "Lune: decode, records", "json-decode-records"),
    ("encode, settings", "Lune: encode, settings", "json-encode-settings"),
    ("decode, settings", "Lune: decode, settings", "json-decode-settings"),
];

fn json(name: &'static str, title: &'static str, count: u64, size: u64) -> Case {
    let row = |label, peer, kind| entry(label, peer, kind, "ws", "/", 0);
    let ours = JSON.iter().map(|&(label, _, kind)| row(label, "moonwire-luau", kind));
    let lune = JSON.iter().map(|&(_, label, kind)| row(label, "lune", kind));
    Case {
        count,
        size,
        shrink: 10.0,
        entries: ours.chain(lune).collect(),
        against: &[
            "Lune: encode, records",
            "Lune: decode, records",
            "Lune: encode, settings",
            "Lune: decode, settings",
        ],
        targets: JSON.iter().map(|&(of, lune, _)| ratio(of, lune, 0.45)).collect(),
        ..Case::new("json", name, title, Metric::CpuPerRun)
    }
}

/// Runs of the commands from start to end. The goals for these are counted in instructions.
fn start() -> Case {
    let row = |label, peer, kind| entry(label, peer, kind, "ws", "/", 0);
    Case {
        count: 20,
        shrink: 10.0,
        entries: vec![
            row("moonwire run, empty", "moonwire-run", "start-empty"),
            row("Lune, empty", "lune-run", "start-empty"),
            row("moonwire run, JSON", "moonwire-run", "start-json"),
            row("Lune, JSON", "lune-run", "start-json"),
        ],
        against: &["Lune, empty", "Lune, JSON"],
        targets: Vec::<Target>::new(),
        ..Case::new(
            "start",
            "start",
            "a script, from the start of its command to the end",
            Metric::CpuPerStart,
        )
    }
}
