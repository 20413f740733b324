//! A tape of a run is run again, only in memory, and gives the same events and the same bytes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use moonwire::tape::{Mode, Outcome, Tape, run, run_all};

use crate::check;
use crate::scenarios::ALL;
use crate::{setting, side_by_side};

/// A tape with more bytes is run in one mode only.
const MUCH: usize = 40_000;

/// The memory that a tape is written to.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plays a seed and returns its tape.
fn taped(name: &str, seed: u64, payloads: bool) -> String {
    let (_, scenario, ..) = *ALL.iter().find(|(other, ..)| *other == name).expect("a scenario");
    let memory = Memory::default();
    let make = || {
        let mut world = scenario(seed);
        memory.0.lock().unwrap().clear();
        world.tape = Some(Tape::new(memory.clone()).payloads(payloads));
        world
    };
    check(&make, None, &|| format!("seed {seed} of {name}, written down"));
    String::from_utf8(std::mem::take(&mut *memory.0.lock().unwrap())).unwrap()
}

fn replayed(name: &str, seed: u64, payloads: bool) -> Outcome {
    let text = taped(name, seed, payloads);
    // A large tape byte by byte takes long, and shows nothing that smaller ones do not.
    let outcome = match text.len() > MUCH {
        true => run(&text, Mode::Whole, &mut Default::default()),
        false => run_all(&text, 1),
    };
    outcome.unwrap_or_else(|e| {
        if let Some(file) = setting("MOONWIRE_TAPE") {
            std::fs::write(file, &text).unwrap();
        }
        panic!("seed {seed} of {name}, payloads: {payloads}: {e}")
    })
}

#[test]
fn what_is_written_down_of_any_scenario_runs_again() {
    let count = setting("MOONWIRE_SEEDS").and_then(|n| n.parse().ok()).unwrap_or(3);
    side_by_side(&ALL, |&(name, ..)| {
        let (mut events, mut sent) = (0, 0);
        for seed in 0..count {
            for payloads in [true, false] {
                let outcome = replayed(name, seed, payloads);
                assert!(!payloads || outcome.gaps.is_empty(), "{name}, {seed}: {:?}", outcome.gaps);
                events += outcome.events;
                sent += outcome.sent;
            }
        }
        assert!(count < 3 || events > 0 && sent > 0, "{name}: nothing was compared");
    });
}

/// If one line of a tape is changed, the run reports a difference at that line. The test changes
/// each line in turn.
#[test]
fn a_changed_tape_differs() {
    let text = taped("echo", 1, true);
    let mut changed = 0;
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let new = match line.split_once(' ') {
            Some(("event", _)) => format!("{line} 00"),
            Some(("took", bytes)) if !bytes.starts_with("request") => format!("took ff {bytes}"),
            _ => continue,
        };
        let mut all: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        all[number] = new;
        let difference = run(&all.join("\n"), Mode::Whole, &mut Default::default()).unwrap_err();
        assert_eq!(difference.line, number + 1, "{difference}");
        changed += 1;
    }
    assert!(changed > 4, "{changed}");
}
