//! The cases: what is run, which clients run it, and the goals.
//!
//! A goal has to be reached by at least two programs of different shape.

mod deflate;
mod http;
mod memory;
mod messages;
mod scripts;

/// The number that a case measures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    CpuPerMessage,
    CpuPerOpen,
    CpuPerRun,
    CpuPerStart,
    Median,
    Peak,
    Each,
}

impl Metric {
    pub fn name(self) -> &'static str {
        match self {
            Metric::CpuPerMessage => "CPU per message",
            Metric::CpuPerOpen => "CPU per connection",
            Metric::CpuPerRun => "CPU per run",
            Metric::CpuPerStart => "CPU per start",
            Metric::Median => "round trip, median",
            Metric::Peak => "memory, peak",
            Metric::Each => "memory per connection",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Metric::CpuPerMessage => "ns",
            Metric::CpuPerOpen | Metric::CpuPerRun | Metric::Median => "µs",
            Metric::CpuPerStart => "ms",
            Metric::Peak => "MiB",
            Metric::Each => "KiB",
        }
    }
}

/// One row of a case.
pub struct Entry {
    pub label: &'static str,
    pub peer: &'static str,
    /// The CASE argument of the client.
    pub kind: &'static str,
    pub scheme: &'static str,
    pub path: &'static str,
    /// The number of connections; in some cases MiB, or a level of compression.
    pub open: u64,
    /// Replaces the count of the case.
    pub count: Option<u64>,
    pub size: Option<u64>,
}

pub struct Target {
    pub of: &'static str,
    /// The goal is a ratio to this entry; `None`: it is a value.
    pub against: Option<&'static str>,
    /// The goal is the difference to that entry, not the ratio.
    pub more: bool,
    pub at_most: f64,
    /// The ratio of the first entry to the second; the goal if it is larger.
    pub or: Option<(&'static str, &'static str)>,
    /// The goal is about system calls per message, not the number that the case measures.
    pub calls: bool,
}

pub struct Case {
    pub name: &'static str,
    /// A name for several cases: `receive` for all whose names begin with it.
    pub group: &'static str,
    pub title: &'static str,
    pub metric: Metric,
    /// The number of rounds, unless the command line sets it.
    pub rounds: usize,
    pub count: u64,
    pub size: u64,
    /// The short form divides the count by this.
    pub shrink: f64,
    pub entries: Vec<Entry>,
    /// Whether additional runs count system calls.
    pub calls: bool,
    /// The entries of the columns with ratios.
    pub against: &'static [&'static str],
    pub targets: Vec<Target>,
}

/// The rounds of most cases; slow cases have fewer.
const ROUNDS: usize = 5;

impl Case {
    /// A case with the fields that most cases have.
    fn new(group: &'static str, name: &'static str, title: &'static str, metric: Metric) -> Case {
        Case {
            name,
            group,
            title,
            metric,
            rounds: ROUNDS,
            count: 0,
            size: 0,
            shrink: 100.0,
            entries: Vec::new(),
            calls: false,
            against: &[],
            targets: Vec::new(),
        }
    }

    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }
}

const TUNGSTENITE: &str = "tungstenite";
const LUNE: &str = "Lune";
const REACTOR: &str = "moonwire, reactor";
const COPIED: &str = "moonwire, reactor, copied";
const BLOCKING: &str = "moonwire, blocking";
const THREADED: &str = "moonwire, threaded";
const LUAU: &str = "moonwire, Luau";
const ALONE: &str = "moonwire, Luau, no stand-in";
const POLL: &str = "moonwire, Luau, --poll-thread";

/// Labels, and clients of `peers.rs`.
const FACES: [(&str, &str); 6] = [
    (REACTOR, "moonwire-reactor"),
    (COPIED, "moonwire-owned"),
    (BLOCKING, "moonwire-blocking"),
    (THREADED, "moonwire-threaded"),
    (LUAU, "moonwire-luau"),
    (POLL, "moonwire-luau-poll"),
];
const RUST: [(&str, &str); 4] = [
    (TUNGSTENITE, "tungstenite"),
    ("tokio-tungstenite", "tokio-tungstenite"),
    ("fastwebsockets", "fastwebsockets"),
    ("tokio-websockets", "tokio-websockets"),
];
const OTHERS: [(&str, &str); 4] =
    [(LUNE, "lune"), ("ws (Node)", "ws"), ("Bun", "bun"), ("websockets (Python)", "websockets")];
const FLOORS: [(&str, &str); 6] = [
    ("floor: reads of 64 KiB", "floor-read-64k"),
    ("floor: reads of 1 MiB", "floor-read-1m"),
    ("floor: a parser, nothing else", "floor-parse"),
    ("floor: moonwire's core, nothing else", "floor-session"),
    ("floor: Luau, a call each", "floor-luau-call"),
    ("floor: Luau, 64 at a time", "floor-luau-batch"),
];

fn rows(
    peers: &[&[(&'static str, &'static str)]],
    without: &[&str],
    kind: &'static str,
    scheme: &'static str,
    path: &'static str,
) -> Vec<Entry> {
    let peers = peers.iter().flat_map(|list| list.iter());
    let peers = peers.filter(|(_, peer)| !without.contains(peer));
    peers.map(|&(label, peer)| entry(label, peer, kind, scheme, path, 1)).collect()
}

fn entry(
    label: &'static str,
    peer: &'static str,
    kind: &'static str,
    scheme: &'static str,
    path: &'static str,
    open: u64,
) -> Entry {
    Entry { label, peer, kind, scheme, path, open, count: None, size: None }
}

fn ratio(of: &'static str, against: &'static str, at_most: f64) -> Target {
    Target { of, against: Some(against), more: false, at_most, or: None, calls: false }
}

fn more(of: &'static str, than: &'static str, at_most: f64) -> Target {
    Target { more: true, ..ratio(of, than, at_most) }
}

fn value(of: &'static str, at_most: f64) -> Target {
    Target { against: None, ..ratio(of, of, at_most) }
}

const BOTH: &[&str] = &[TUNGSTENITE, LUNE];

pub fn all() -> Vec<Case> {
    let mut all = messages::all();
    all.extend(memory::all());
    all.extend(deflate::all());
    all.extend(scripts::all());
    all.extend(http::all());
    all
}
