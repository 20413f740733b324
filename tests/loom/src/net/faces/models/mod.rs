//! The models; the name of each is the law that it checks.

mod queue;
mod shared;
mod stand_in;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::net::ask::{Config, Limits};

/// A time that passes in the model.
const SOON: Duration = Duration::from_millis(1);

fn config() -> Config {
    let limits = Limits { stand_in: SOON, turn: 1 };
    Config { limits, high: 100, ..Config::default() }
}

/// Runs the model in every interleaving with at most four preemptions, or `LOOM_MAX_PREEMPTIONS`.
/// If a thread waits or yields, switching to another one is no preemption.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_within(4, model);
}

/// Fewer preemptions, since there are too many interleavings.
fn check_within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} interleavings", runs.load(Ordering::Relaxed));
}

/// An event that must happen in at least one interleaving: a model in which it cannot happen shows
/// nothing.
struct Seen(AtomicBool);

impl Seen {
    const fn new() -> Seen {
        Seen(AtomicBool::new(false))
    }

    fn note(&self, seen: bool) {
        self.0.fetch_or(seen, Ordering::Relaxed);
    }

    #[track_caller]
    fn assert(&self) {
        assert!(self.0.load(Ordering::Relaxed), "the model does not get there");
    }
}
