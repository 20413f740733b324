//! The reactor in a simulated network, driven by seeds, on virtual time.
//!
//! A seed determines a network with its delays and faults, servers, and a program that opens
//! connections, sends, closes and releases. The tests check these laws:
//!
//! * A connection has one final event, and no event after it.
//! * Messages arrive in the order in which they were sent. After a clean end none is missing.
//! * The reactor stops watching each descriptor, and then closes it.
//! * One address has one opening handshake at a time. Connections get their turns in the order of
//!   their requests.
//! * No turn ends without work.
//! * Every time limit holds. No limit ends a connection while the bytes that it waits for can be
//!   read or still move.
//! * Accepted bytes are delivered, or the final event reports how many are not (`laws.rs`).
//! * If the embedder's code panics, one connection is lost. The other laws still hold.
//!
//! `MOONWIRE_SEEDS=10000 cargo test --test sim` plays that number of seeds of each scenario.
//! `MOONWIRE_SEED=123:closing` plays one seed, with a trace.
#![cfg(all(feature = "tls", feature = "tape"))]
// Only this test's modules use what these modules export.
#![allow(unreachable_pub)]

mod book;
mod http;
mod laws;
mod net;
mod pipe;
mod program;
mod proxied;
mod proxy;
mod queue;
mod reader;
mod rng;
mod scenarios;
mod sink;
mod slow;
mod streams;
mod sys;
mod tally;
mod taped;
mod tls;
mod torture;
mod world;
mod ws;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use book::SharedBook;
use moonwire::ProxyScheme;
use net::{Cut, Inject, Shared, lock};
use rng::Rng;
use scenarios::ALL;
use tally::Tally;
use torture::TORTURED;
use world::World;

/// The result of a run, and in how many ways each of its system calls can fail.
struct Played {
    tally: Tally,
    flavours: Vec<usize>,
    /// The number of calls that wrote something.
    writes: u64,
    /// The number of calls of the program's code.
    embedder: u64,
    /// Whether one of these calls has panicked.
    blown: bool,
    trace: Vec<String>,
}

/// Plays a world; returns its result or the error, with a trace on request.
fn play(make: &dyn Fn() -> World, inject: Option<Inject>, traced: bool) -> Result<Played, String> {
    let world = make();
    let book = SharedBook::default();
    let net: Shared = Arc::new(Mutex::new(program::network(&world, &book)));
    lock(&net).trace = traced.then(VecDeque::new);
    let played = catch_unwind(AssertUnwindSafe(|| program::play(world, &net, &book, inject)));
    let mut net = lock(&net);
    let trace: Vec<String> = net.trace.take().into_iter().flatten().collect();
    match played {
        Ok(tally) => {
            let (flavours, writes) = (std::mem::take(&mut net.flavours), net.writes);
            let (embedder, blown) = (net.embedder, net.blown.is_some());
            Ok(Played { tally, flavours, writes, embedder, blown, trace })
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            Err(format!("{}\n{}", trace.join("\n"), text.unwrap_or_default()))
        }
    }
}

/// Plays a world. A failure is played again with a trace, and reported with the text of `again`,
/// which says how to repeat it.
fn check(make: &dyn Fn() -> World, inject: Option<Inject>, again: &dyn Fn() -> String) -> Played {
    match play(make, inject, false) {
        Ok(played) => played,
        Err(first) => {
            let traced = play(make, inject, true).err();
            panic!("{}\n{}", traced.unwrap_or(first), again());
        }
    }
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn seeds_of(name: &str) {
    let (_, scenario, usual, outcomes) =
        *ALL.iter().find(|(other, ..)| *other == name).expect("a scenario");
    if let Some(text) = setting("MOONWIRE_SEED") {
        let (seed, which) = text.split_once(':').expect("MOONWIRE_SEED=123:scenario");
        if which == name {
            let seed = seed.parse().expect("a number");
            match play(&move || scenario(seed), None, true) {
                Ok(played) => println!("{}\n{:?}", played.trace.join("\n"), played.tally),
                Err(text) => panic!("{text}"),
            }
        }
        return;
    }
    let count = setting("MOONWIRE_SEEDS").and_then(|n| n.parse().ok()).unwrap_or(usual);
    let mut all = Tally::default();
    for seed in 0..count {
        let again = || format!("again: MOONWIRE_SEED={seed}:{name} cargo test --test sim {name}");
        all.sum(&check(&move || scenario(seed), None, &again).tally);
    }
    println!("{count} seeds of {name}: {all:?}");
    for outcome in outcomes {
        assert!(count < usual || all.of(*outcome) > 0, "no connection ended as {outcome:?}");
    }
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            seeds_of(stringify!($name));
        })*

        #[test]
        fn every_scenario_is_played() {
            assert_eq!(ALL.map(|(name, ..)| name), [$(stringify!($name)),*]);
        }
    };
}

scenarios! {
    echo closing faults opening pings release dial many stream redirects tls tls_stream dropped
    slow_upload doze slow_close slow_post zero_window queue slow_program proxied proxies
    proxy_queue proxy_streams
}

#[test]
fn the_nth_system_call_fails() {
    let mut all = Vec::new();
    for (name, make) in TORTURED {
        let flavours = check(&make, None, &|| format!("{name}, and no call fails")).flavours;
        for (call, flavours) in flavours.into_iter().enumerate() {
            let inject = |flavour| Inject { call: call as u64, flavour };
            all.extend((0..flavours).map(|flavour| (name, make, inject(flavour))));
        }
    }
    side_by_side(&all, |(name, make, inject)| {
        check(make, Some(*inject), &|| format!("{name}, {inject:?}"));
    });
}

/// Calls `each` with every item, on as many threads as there are processors: the tests with many
/// runs take minutes on one.
fn side_by_side<T: Sync>(all: &[T], each: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    each(item);
                }
            });
        }
    });
}

/// The program's code panics in one of its calls, and the panic is caught: one connection is lost,
/// and all other laws hold. In each scenario the seed determines the call; in a tortured scenario
/// each call panics in turn.
#[test]
fn the_embedders_code_panics_at_any_call() {
    let touchy = |make: &dyn Fn() -> World, at: Option<u64>| {
        let mut world = make();
        (world.observed, world.fuse) = (true, at);
        world
    };
    let counted = |make: &dyn Fn() -> World, name: &str| {
        check(&|| touchy(make, None), None, &|| format!("{name}, observed")).embedder
    };
    side_by_side(&ALL, |&(name, scenario, usual, _)| {
        let count = setting("MOONWIRE_SEEDS").and_then(|n| n.parse().ok()).unwrap_or(usual / 4);
        for seed in 0..count {
            let make = move || scenario(seed);
            let calls = counted(&make, name);
            if calls > 0 {
                let at = Rng::new(seed ^ 0xFACE).below(calls as usize) as u64;
                let again = || format!("seed {seed} of {name}, a panic at {at} of {calls}");
                assert!(check(&|| touchy(&make, Some(at)), None, &again).blown, "{}", again());
            }
        }
    });
    let mut all = Vec::new();
    for (name, make) in TORTURED {
        all.extend((0..counted(&make, name)).map(|at| (name, make, at)));
    }
    side_by_side(&all, |(name, make, at)| {
        let again = || format!("{name}, a panic at {at}");
        assert!(check(&|| touchy(make, Some(*at)), None, &again).blown, "{}", again());
    });
}

fn cut_at_every_byte(secure: bool, step: usize) {
    for up in [false, true] {
        for cut in [Cut::Reset, Cut::Finish, Cut::Stall, Cut::TimedOut] {
            let most = if secure { 3200 } else { 420 };
            for at in (0..most).step_by(step) {
                let make = move || torture::short(secure, up, at, cut);
                check(&make, None, &|| format!("secure: {secure}, up: {up}, {cut:?} at {at}"));
            }
        }
    }
}

#[test]
fn a_connection_is_cut_at_every_byte() {
    cut_at_every_byte(false, 1);
}

/// The bytes up to the one that opens the tunnel. The test above cuts the later bytes.
#[test]
fn what_is_said_to_a_proxy_is_cut_at_every_byte() {
    for scheme in [ProxyScheme::Http, ProxyScheme::Socks5, ProxyScheme::Socks5h] {
        for (up, most) in [(false, 130), (true, 230)] {
            for cut in [Cut::Reset, Cut::Finish, Cut::Stall, Cut::TimedOut] {
                for at in 0..most {
                    let make = move || proxied::cut(torture::well(12), scheme, up, at, cut);
                    check(&make, None, &|| format!("{scheme:?}, up: {up}, {cut:?} at {at}"));
                }
            }
        }
    }
}

#[test]
fn a_tls_connection_is_cut_at_many_bytes() {
    cut_at_every_byte(true, if setting("MOONWIRE_SEEDS").is_some() { 1 } else { 61 });
}

/// A TLS record has at most 16 KiB. One system call takes several of them.
#[test]
fn a_large_message_takes_few_system_calls_with_and_without_tls() {
    for (secure, most) in [(false, 1), (true, 5)] {
        let writes = |len: usize| {
            let make = move || torture::large(secure, len);
            check(&make, None, &|| format!("secure: {secure}, {len} bytes")).writes
        };
        let (small, large) = (writes(1), writes(256 * 1024));
        // The small message needs a call, too.
        assert!(small <= large && large < small + most, "secure: {secure}, {small} and {large}");
    }
}

#[test]
fn a_seed_is_played_the_same_way_twice() {
    for (name, scenario, ..) in ALL {
        for seed in 0..4 {
            let make = move || scenario(seed);
            let again = || format!("seed {seed} of {name}");
            let [once, twice] = [(); 2].map(|()| check(&make, None, &again).tally);
            assert_eq!(once, twice, "{}", again());
        }
    }
}
