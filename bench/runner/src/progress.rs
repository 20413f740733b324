//! How many runs are done, and how long the rest will probably take.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cases::Case;

/// The seconds of one client in one round, if no earlier run has measured them.
const GUESS: f64 = 0.7;

pub struct Progress {
    start: Instant,
    /// The seconds of each case; a guess if they are unknown.
    plan: Vec<f64>,
    at: usize,
    /// When the current case began; and the time of earlier cases by the planned time.
    case: Instant,
    factor: f64,
}

impl Progress {
    /// `old` are the results of an earlier run, with the time of each case.
    pub fn new(cases: &[Case], rounds: impl Fn(&Case) -> usize, old: &Value) -> Progress {
        let known = |case: &Case| {
            let list = old["cases"].as_array()?;
            let of = list.iter().find(|of| of["name"] == case.name)?;
            let seconds = of["seconds"].as_f64()? / of["rounds"].as_f64()?.max(1.0);
            (of["short"] != true).then_some(seconds)
        };
        let each = |case: &Case| known(case).unwrap_or(case.entries.len() as f64 * GUESS);
        let plan = cases.iter().map(|case| each(case) * rounds(case) as f64).collect();
        let now = Instant::now();
        Progress { start: now, plan, at: 0, case: now, factor: 1.0 }
    }

    /// The rest of the current case is estimated from its finished rounds.
    pub fn line(&self, done: usize, rounds: usize) -> String {
        let spent = self.case.elapsed().as_secs_f64();
        let here = spent / done.max(1) as f64 * (rounds - done) as f64;
        let rest: f64 = self.plan[self.at + 1..].iter().sum::<f64>() * self.factor;
        format!(
            "  round {done} of {rounds}; case {} of {}; {} since the start, about {} to go",
            self.at + 1,
            self.plan.len(),
            minutes(self.start.elapsed()),
            minutes(Duration::from_secs_f64(here + rest)),
        )
    }

    /// Goes on to the next case; returns the seconds that this one took.
    pub fn next(&mut self) -> f64 {
        let seconds = self.case.elapsed().as_secs_f64();
        let (planned, spent) = (self.plan[..=self.at].iter().sum::<f64>(), self.start.elapsed());
        self.factor = spent.as_secs_f64() / planned.max(0.1);
        self.at += 1;
        self.case = Instant::now();
        seconds
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
