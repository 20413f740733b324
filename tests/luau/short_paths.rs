//! Most messages reach a handler by a short path, which leaves out unnecessary steps (the head of
//! `connections.luau` names these paths). No script can see a difference: random programs with tasks,
//! signals and sockets of the embedded server print the same with the short paths and without.
//!
//! `MOONWIRE_SEEDS` is the number of programs, `MOONWIRE_SEED` the first of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use moonwire::luau::Progress;
use moonwire::mlua::{Function, Lua};

use super::raw::LONG;
use super::support::*;

const PROGRAM: &str = include_str!("short_paths.luau");

/// How a program is run.
#[derive(Clone, Copy, Debug)]
struct Way {
    plain: bool,
    mode: Mode,
    /// Under a time limit, which is checked between two messages.
    watched: bool,
    /// By steps of this duration, as an embedder does.
    step: Option<Duration>,
}

const PLAIN: Way = Way { plain: true, mode: Mode::Inline, watched: false, step: None };

/// The ways to run program `seed`, to be compared with the plain one.
fn ways(seed: u64) -> Vec<Way> {
    let short = Way { plain: false, ..PLAIN };
    let other = match seed % 4 {
        0 => Way { watched: true, ..short },
        1 => Way { mode: Mode::Threaded, ..short },
        2 => Way { step: Some(Duration::from_micros(20)), ..short },
        _ => Way { plain: true, mode: Mode::Threaded, ..short },
    };
    vec![short, other]
}

/// The lines that each lane of a program has printed, or raised, in order. Lines without a lane are
/// under "".
fn lanes(lines: Vec<String>) -> BTreeMap<String, Vec<String>> {
    let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in lines {
        let text = line.strip_prefix("error: ").unwrap_or(&line);
        let lane = text.split_once("| ").map_or("", |(lane, _)| lane).to_owned();
        lanes.entry(lane).or_default().push(line);
    }
    lanes
}

fn run(seed: u64, way: Way, url: &str) -> BTreeMap<String, Vec<String>> {
    let mut rt = Rt::with(way.mode, |options| {
        options.plain(way.plain).time_limit(way.watched.then_some(LONG))
    });
    rt.spawn(PROGRAM, (url, seed));
    match way.step {
        None => rt.run(),
        Some(budget) => {
            let until = Instant::now() + LONG;
            let mut progress = Progress::Ready;
            while progress.is_alive() {
                assert!(Instant::now() < until, "program {seed}, so far: {:#?}", rt.said.all());
                progress = rt.runtime.step(budget).unwrap();
                std::thread::yield_now();
            }
            assert_eq!(progress, Progress::Done, "program {seed}, so far: {:#?}", rt.said.all());
        }
    }
    lanes(rt.said.take())
}

/// The first line in which two runs differ, with the lines before it.
fn difference(want: &[String], got: &[String]) -> String {
    let at = want.iter().zip(got).take_while(|(a, b)| a == b).count();
    let before = want[at.saturating_sub(12)..at].join("\n");
    format!("expected {:?}, got {:?}, after\n{before}", want.get(at), got.get(at))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |n| n.parse().unwrap())
}

#[test]
fn no_script_can_tell_by_which_path_its_messages_come() {
    let server = echo();
    let url = server.url();
    let (first, programs) = (number("MOONWIRE_SEED", 1), number("MOONWIRE_SEEDS", 12));
    let (mut lines, mut raised) = (0, 0);
    for seed in first..first + programs {
        let want = run(seed, PLAIN, url);
        assert!(!want.contains_key(""), "program {seed}: {:?}", want[""]);
        for lane in want.values() {
            assert!(lane.iter().any(|l| l.contains("| end ")), "program {seed}: {lane:#?}");
            lines += lane.len();
            raised += lane.iter().filter(|line| line.starts_with("error: ")).count();
        }
        for way in ways(seed) {
            let got = run(seed, way, url);
            assert!(want.keys().eq(got.keys()), "program {seed}, {way:?}: {got:#?}");
            for (lane, lines) in &want {
                let differ = difference(lines, &got[lane]);
                assert!(
                    *lines == got[lane],
                    "program {seed}, {way:?}, lane {lane}: {differ}\n\
                    again: MOONWIRE_SEED={seed} cargo test --test luau short_paths"
                );
            }
        }
    }
    println!("{programs} programs, {lines} lines, {raised} raised");
    assert!(lines > programs as usize * 50, "{lines} lines");
    assert!(raised > 0);
}

// The same with a simulated clock and network, so that times and the order of all lines are
// compared, too, and timers come between messages.
#[test]
fn nor_when_timers_come_between() {
    let lua = Lua::new();
    let load = lua.create_function(|lua, name: String| {
        let text = match &*name {
            "timers" => include_str!("../../src/luau/prelude/timers.luau"),
            "scheduler" => include_str!("../../src/luau/prelude/scheduler.luau"),
            "scripts" => include_str!("../../src/luau/prelude/scripts.luau"),
            "task" => include_str!("../../src/luau/prelude/task.luau"),
            "signal" => include_str!("../../src/luau/prelude/signal.luau"),
            "connections" => include_str!("../../src/luau/prelude/connections.luau"),
            _ => include_str!("../../src/luau/prelude/websocket.luau"),
        };
        lua.load(text).set_name(format!("={name}")).into_function()
    });
    let play = lua.load(include_str!("virtual.luau")).set_name("=virtual");
    let play: Function = play.into_function().unwrap();
    let (first, programs) = (number("MOONWIRE_SEED", 1), number("MOONWIRE_SEEDS", 60));
    let lines: u64 = play.call((load.unwrap(), first, first + programs - 1)).unwrap();
    println!("{programs} programs, {lines} lines");
    assert!(lines > programs * 50, "{lines} lines");
}
