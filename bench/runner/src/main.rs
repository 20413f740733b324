//! Runs clients against the load server, by turns, and writes the results.
//!
//! `bench-runner [--short] [--rounds K] [--pin same|apart|none] [--out DIR] [CASE…]`; `bench/run.sh`
//! builds everything and calls it.

mod cases;
mod chart;
mod decimal;
mod failure;
mod machine;
mod measure;
mod options;
mod peers;
mod process;
mod progress;
mod readme;
mod report;
mod start;

use std::collections::BTreeMap;

use cases::Case;
use failure::Failure;
use measure::{Measured, Run};
use options::Options;
use peers::Peer;
use process::Server;
use progress::Progress;
use serde_json::{Value, json};

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == "start"
    {
        return start::run(rest);
    }
    let options = Options::parse()?;
    let cases = chosen(&options)?;
    process::raise_open_files();
    let peers = peers::all();
    for peer in peers.iter().filter(|peer| peer.missing.is_some()) {
        println!("left out: {}: {}", peer.label, peer.missing.as_deref().unwrap_or_default());
    }
    // An error here must come before the runs, which take long.
    let places = readme::Places::of(&options)?;
    std::fs::create_dir_all(&options.out)?;
    let mut random = Random::new();
    let mut progress = Progress::new(&cases, |case| options.rounds(case), &report::old(&options));
    let (mut results, mut failures) = (Vec::new(), 0);
    for case in &cases {
        let (result, failed) = run_case(case, &peers, &options, &mut random, &mut progress)?;
        results.push(result);
        failures += failed;
    }
    let all = report::write(&options, &peers, results)?;
    if !options.short {
        println!("\n{}", report::targets(&all));
    }
    if let Some(places) = places {
        places.write(&all)?;
    }
    println!("results in {}", options.out.display());
    // A tool that cannot be installed may be missing; an installed one has to work.
    if options.short && failures > 0 {
        return Err(format!("{failures} runs have failed, see above").into());
    }
    Ok(())
}

fn chosen(options: &Options) -> Result<Vec<Case>, Failure> {
    let mut all = cases::all();
    for name in &options.only {
        if !all.iter().any(|case| case.is_named(name)) {
            let names: Vec<_> = all.iter().map(|case| case.name).collect();
            return Err(format!("no case {name}; there are {}", names.join(", ")).into());
        }
    }
    if !options.only.is_empty() {
        all.retain(|case| options.only.iter().any(|name| case.is_named(name)));
    }
    Ok(all)
}

/// Runs all rounds of a case; returns the results as JSON, and how many runs failed.
fn run_case(
    case: &Case,
    peers: &[Peer],
    options: &Options,
    random: &mut Random,
    progress: &mut Progress,
) -> Result<(Value, usize), Failure> {
    println!("\n{} – {}", case.name, case.title);
    let rounds = options.rounds(case);
    let server = Server::start(options.pin)?;
    let mut runs: BTreeMap<usize, Vec<Option<Run>>> = BTreeMap::new();
    let mut failures = 0;
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..case.entries.len()).collect();
        random.shuffle(&mut order);
        for at in order {
            let entry = &case.entries[at];
            let peer = peers.iter().find(|peer| peer.name == entry.peer).ok_or("no such peer")?;
            let of = runs.entry(at).or_default();
            // After one failure the other rounds are skipped: they would take time and fail, too.
            let failed = of.iter().any(Option::is_none);
            if peer.missing.is_some() || failed {
                of.push(None);
                continue;
            }
            match measure::run(case, entry, peer, &server, options) {
                Ok(run) => of.push(Some(run)),
                Err(why) => {
                    println!("  {}: {why}", entry.label);
                    failures += 1;
                    of.push(None);
                }
            }
        }
        println!("{}", progress.line(round + 1, rounds));
    }
    let measure = |(entry, runs): (_, Vec<Option<Run>>)| Measured { entry, runs, calls: None };
    let mut measured: Vec<Measured> =
        case.entries.iter().zip(runs.into_values()).map(measure).collect();
    if case.calls {
        failures += count_calls(case, &mut measured, peers, &server, options);
    }
    let value = json!({
        "name": case.name,
        "title": case.title,
        "unit": case.metric.unit(),
        "metric": case.metric.name(),
        "rounds": rounds,
        "seconds": (progress.next() * 10.0).round() / 10.0,
        "pin": options.pin.name(),
        "short": options.short,
        "entries": measure::entries(case, &measured),
        "targets": measure::targets(case, &measured),
    });
    Ok((value, failures))
}

/// Counts system calls per message of clients that have run; returns how many runs fail.
fn count_calls(
    case: &Case,
    measured: &mut [Measured<'_>],
    peers: &[Peer],
    server: &Server,
    options: &Options,
) -> usize {
    if let Err(e) = std::process::Command::new("strace").arg("-V").output() {
        println!("left out: system calls of {}: strace: {e}", case.name);
        return 0;
    }
    let mut failures = 0;
    for of in measured.iter_mut().filter(|of| of.runs.iter().all(Option::is_some)) {
        let Some(peer) = peers.iter().find(|peer| peer.name == of.entry.peer) else { continue };
        match measure::system_calls(case, of.entry, peer, server, options) {
            Ok(calls) => of.calls = Some(calls),
            Err(why) => {
                println!("  {}: system calls: {why}", of.entry.label);
                failures += 1;
            }
        }
    }
    failures
}

/// The generator SplitMix64, seeded by the clock.
struct Random(u64);

impl Random {
    fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Random(now.map_or(1, |time| time.as_nanos() as u64))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}
