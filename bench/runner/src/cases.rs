//! The cases: what is run, who runs it, and what is to be reached.

/// The number that a case is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    CpuPerMessage,
    CpuPerOpen,
    Median,
    Peak,
    Each,
}

impl Metric {
    pub fn name(self) -> &'static str {
        match self {
            Metric::CpuPerMessage => "CPU per message",
            Metric::CpuPerOpen => "CPU per connection",
            Metric::Median => "round trip, median",
            Metric::Peak => "memory, peak",
            Metric::Each => "memory per connection",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Metric::CpuPerMessage => "ns",
            Metric::CpuPerOpen | Metric::Median => "µs",
            Metric::Peak => "MiB",
            Metric::Each => "KiB",
        }
    }
}

/// One row of a case.
pub struct Entry {
    pub label: &'static str,
    pub peer: &'static str,
    /// The CASE that the client is told.
    pub kind: &'static str,
    pub scheme: &'static str,
    pub path: &'static str,
    /// Connections; MiB or a level in the cases that say so.
    pub open: u64,
    /// Instead of the case's.
    pub count: Option<u64>,
    pub size: Option<u64>,
}

pub struct Target {
    pub of: &'static str,
    /// A ratio to this entry; without it, a value.
    pub against: Option<&'static str>,
    /// Not the ratio to that entry but how much more it is.
    pub more: bool,
    pub at_most: f64,
}

pub struct Case {
    pub name: &'static str,
    /// Stands for several: `receive` for all that begin with it.
    pub group: &'static str,
    pub title: &'static str,
    pub metric: Metric,
    pub count: u64,
    pub size: u64,
    /// What the count is divided by in the short form.
    pub shrink: f64,
    pub entries: Vec<Entry>,
    /// The columns of ratios.
    pub against: &'static [&'static str],
    pub targets: Vec<Target>,
}

impl Case {
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }
}

const TUNGSTENITE: &str = "tungstenite";
const LUNE: &str = "Lune";
const REACTOR: &str = "moonwire, reactor";
const BLOCKING: &str = "moonwire, blocking";
const THREADED: &str = "moonwire, threaded";
const LUAU: &str = "moonwire, Luau";
const ALONE: &str = "moonwire, Luau, no stand-in";
const POLL: &str = "moonwire, Luau, --poll-thread";
/// Where the system has nothing better, a wait costs what poll does.
const ON_POLL: &str = "poll, 5,000 open";
const POLLED: &str = "floor: poll, 5,000 open";

/// Labels are those of `peers.rs`.
const FACES: [(&str, &str); 6] = [
    (REACTOR, "moonwire-reactor"),
    ("moonwire, reactor, copied", "moonwire-owned"),
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
    let row = |&(label, peer)| Entry {
        label,
        peer,
        kind,
        scheme,
        path,
        open: 1,
        count: None,
        size: None,
    };
    peers.map(row).collect()
}

fn ratio(of: &'static str, against: &'static str, at_most: f64) -> Target {
    Target { of, against: Some(against), more: false, at_most }
}

fn more(of: &'static str, than: &'static str, at_most: f64) -> Target {
    Target { of, against: Some(than), more: true, at_most }
}

fn value(of: &'static str, at_most: f64) -> Target {
    Target { of, against: None, more: false, at_most }
}

const BOTH: &[&str] = &[TUNGSTENITE, LUNE];

pub fn all() -> Vec<Case> {
    let mut all = receive();
    all.extend(round_trip());
    all.extend(send());
    all.extend(secure());
    all.extend(memory());
    all.extend(heaps());
    all.extend(deflate());
    all.extend(rest());
    all
}

fn receive() -> Vec<Case> {
    let case = |name, title, count, size, targets| Case {
        name,
        group: "receive",
        title,
        metric: Metric::CpuPerMessage,
        count,
        size,
        shrink: if size >= 16_384 { 20.0 } else { 100.0 },
        entries: rows(&[&FACES, &RUST, &OTHERS, &FLOORS], &[], "receive", "ws", "/flood"),
        against: BOTH,
        targets,
    };
    vec![
        case(
            "receive-16",
            "text of 16 B, received",
            1_000_000,
            16,
            vec![ratio(REACTOR, TUNGSTENITE, 0.50), ratio(LUAU, LUNE, 0.25)],
        ),
        case(
            "receive-128",
            "text of 128 B, received",
            500_000,
            128,
            vec![
                ratio(REACTOR, TUNGSTENITE, 0.50),
                ratio(BLOCKING, TUNGSTENITE, 0.65),
                ratio(THREADED, TUNGSTENITE, 0.90),
                ratio(LUAU, LUNE, 0.30),
            ],
        ),
        case(
            "receive-1k",
            "text of 1 KiB, received",
            200_000,
            1024,
            vec![ratio(REACTOR, TUNGSTENITE, 0.65), ratio(LUAU, LUNE, 0.62)],
        ),
        case(
            "receive-16k",
            "text of 16 KiB, received",
            20_000,
            16 * 1024,
            vec![ratio(REACTOR, TUNGSTENITE, 0.60), ratio(LUAU, LUNE, 0.85)],
        ),
        case(
            "receive-1m",
            "text of 1 MiB, received",
            400,
            1024 * 1024,
            vec![ratio(REACTOR, TUNGSTENITE, 0.70), ratio(LUAU, LUNE, 0.90)],
        ),
    ]
}

fn round_trip() -> Vec<Case> {
    let entries = || {
        let floor = [("floor: write and read", "floor-read-64k")];
        let alone = [(ALONE, "moonwire-luau-alone")];
        rows(&[&FACES, &alone, &RUST, &OTHERS, &floor], &["moonwire-owned"], "rt", "ws", "/echo")
    };
    let case = |name, title, size| Case {
        name,
        group: "rt",
        title,
        metric: Metric::Median,
        count: 20_000,
        size,
        shrink: 100.0,
        entries: entries(),
        against: &[TUNGSTENITE, LUNE, ALONE],
        targets: vec![
            ratio(ALONE, TUNGSTENITE, 1.00),
            ratio(LUAU, TUNGSTENITE, 1.03),
            ratio(LUAU, LUNE, 0.93),
            ratio(LUAU, ALONE, 1.03),
            ratio(POLL, TUNGSTENITE, 1.45),
        ],
    };
    let mut many = rows(&[&[("1 open", "moonwire-reactor")]], &[], "rt", "ws", "/echo");
    many.extend(rows(&[&[("5,000 open", "moonwire-reactor")]], &[], "rt", "ws", "/echo"));
    many.extend(rows(&[&[(ON_POLL, "moonwire-reactor-poll")]], &[], "rt", "ws", "/echo"));
    many.extend(rows(&[&[(POLLED, "floor-poll")]], &[], "rt", "ws", "/echo"));
    many.extend(rows(&[&[("Luau, 1 open", "moonwire-luau")]], &[], "rt", "ws", "/echo"));
    many.extend(rows(&[&[("Luau, 5,000 open", "moonwire-luau")]], &[], "rt", "ws", "/echo"));
    for entry in many.iter_mut().filter(|entry| entry.label.ends_with("5,000 open")) {
        entry.open = 5000;
    }
    vec![
        case("rt-32", "round trip of 32 B", 32),
        case("rt-1k", "round trip of 1 KiB", 1024),
        Case {
            name: "rt-5000",
            group: "rt",
            title: "round trip of 32 B on one of many open connections of a reactor",
            metric: Metric::Median,
            count: 20_000,
            size: 32,
            shrink: 100.0,
            entries: many,
            against: &["1 open", POLLED],
            targets: vec![ratio("5,000 open", "1 open", 1.05), ratio(ON_POLL, POLLED, 1.20)],
        },
    ]
}

fn send() -> Vec<Case> {
    let luau = ["moonwire-owned", "moonwire-luau", "moonwire-luau-poll"];
    vec![
        Case {
            name: "send-128",
            group: "send",
            title: "text of 128 B, sent one at a time",
            metric: Metric::CpuPerMessage,
            count: 200_000,
            size: 128,
            shrink: 100.0,
            entries: rows(&[&FACES, &RUST], &luau, "send", "ws", "/sink"),
            against: &[TUNGSTENITE],
            targets: vec![ratio(REACTOR, TUNGSTENITE, 1.00), ratio(BLOCKING, TUNGSTENITE, 1.00)],
        },
        Case {
            name: "burst-128",
            group: "send",
            title: "text of 128 B, sent in a burst",
            metric: Metric::CpuPerMessage,
            count: 400_000,
            size: 128,
            shrink: 100.0,
            entries: rows(&[&FACES, &RUST, &OTHERS], &["moonwire-owned"], "burst", "ws", "/sink"),
            against: BOTH,
            targets: vec![ratio(LUAU, LUNE, 0.07)],
        },
    ]
}

/// Lune trusts no roots but its own, so it is not there.
fn secure() -> Vec<Case> {
    let case = |name, title, count, size| Case {
        name,
        group: "wss",
        title,
        metric: Metric::CpuPerMessage,
        count,
        size,
        shrink: 50.0,
        entries: rows(&[&FACES, &RUST, &OTHERS], &["lune"], "receive", "wss", "/flood"),
        against: &[TUNGSTENITE],
        targets: vec![ratio(REACTOR, TUNGSTENITE, 0.68)],
    };
    vec![
        case("wss-1k", "text of 1 KiB, received over TLS", 100_000, 1024),
        case("wss-64k", "text of 64 KiB, received over TLS", 2_000, 64 * 1024),
    ]
}

fn memory() -> Vec<Case> {
    let faces = [FACES[0], FACES[2], FACES[3], FACES[4]];
    let mut slow = rows(&[&OTHERS], &[], "idle", "ws", "/idle");
    slow.iter_mut().for_each(|entry| entry.count = Some(1000));
    let mut plain = rows(&[&faces, &RUST], &["moonwire-blocking"], "idle", "ws", "/idle");
    plain.append(&mut slow);
    let tls = rows(
        &[&faces, &RUST, &OTHERS],
        &["moonwire-blocking", "lune"],
        "idle",
        "wss",
        "/idle?bytes=65536",
    );
    let without = ["moonwire-owned", "websockets"];
    vec![
        Case {
            name: "idle",
            group: "memory",
            title: "memory of an idle connection (Luau: with an object, a listener and a waiting thread)",
            metric: Metric::Each,
            count: 4000,
            size: 0,
            shrink: 100.0,
            entries: plain,
            against: &[TUNGSTENITE],
            targets: vec![value(REACTOR, 1.0), value(LUAU, 4.0)],
        },
        Case {
            name: "idle-wss",
            group: "memory",
            title: "memory of an idle connection over TLS that has received 64 KiB",
            metric: Metric::Each,
            count: 500,
            size: 65_536,
            shrink: 50.0,
            entries: tls,
            against: &[TUNGSTENITE],
            targets: vec![value(REACTOR, 14.0)],
        },
        Case {
            name: "flood",
            group: "memory",
            title: "memory during a flood of 2,000,000 messages of 128 B",
            metric: Metric::Peak,
            count: 2_000_000,
            size: 128,
            shrink: 400.0,
            entries: rows(&[&FACES, &RUST, &OTHERS], &without, "receive", "ws", "/flood"),
            against: BOTH,
            targets: vec![
                value(REACTOR, 20.0),
                value(BLOCKING, 20.0),
                value(THREADED, 20.0),
                value(LUAU, 20.0),
                value(POLL, 20.0),
            ],
        },
    ]
}

/// What lives in a script while it receives: the label, who, the CASE, and MiB in the place of OPEN.
const HEAPS: [(&str, &str, &str, u64); 14] = [
    ("Luau, nothing", "moonwire-luau", "heap-flat", 0),
    ("Luau, 16 MiB flat", "moonwire-luau", "heap-flat", 16),
    ("Luau, 64 MiB flat", "moonwire-luau", "heap-flat", 64),
    ("Luau, 256 MiB flat", "moonwire-luau", "heap-flat", 256),
    ("Luau, 16 MiB of tables", "moonwire-luau", "heap-tables", 16),
    ("Luau, 64 MiB of tables", "moonwire-luau", "heap-tables", 64),
    ("Luau, 256 MiB of tables", "moonwire-luau", "heap-tables", 256),
    ("Lune, nothing", "lune", "heap-flat", 0),
    ("Lune, 16 MiB flat", "lune", "heap-flat", 16),
    ("Lune, 64 MiB flat", "lune", "heap-flat", 64),
    ("Lune, 256 MiB flat", "lune", "heap-flat", 256),
    ("Lune, 16 MiB of tables", "lune", "heap-tables", 16),
    ("Lune, 64 MiB of tables", "lune", "heap-tables", 64),
    ("Lune, 256 MiB of tables", "lune", "heap-tables", 256),
];

/// Large messages into a script that keeps a heap, which the collector has to mark.
fn heaps() -> Vec<Case> {
    let entries = || {
        let row = |&(label, peer, kind, open)| Entry {
            label,
            peer,
            kind,
            scheme: "ws",
            path: "/flood",
            open,
            count: None,
            size: None,
        };
        HEAPS.iter().map(row).collect()
    };
    // At each heap, what the other has.
    let level = || {
        let (ours, lune) = HEAPS.split_at(HEAPS.len() / 2);
        ours.iter().zip(lune).map(|(our, lune)| ratio(our.0, lune.0, 1.30)).collect()
    };
    // Twice what lives and 32 MiB.
    let bound = || {
        let ours = HEAPS.iter().take(HEAPS.len() / 2);
        ours.map(|&(label, _, _, live)| value(label, (2 * live + 32) as f64)).collect()
    };
    let case = |name, title, metric, count, size, targets| Case {
        name,
        group: "luau-heap",
        title,
        metric,
        count,
        size,
        shrink: 20.0,
        entries: entries(),
        against: &["Luau, nothing", "Lune, nothing"],
        targets,
    };
    let cpu = Metric::CpuPerMessage;
    vec![
        case("luau-heap-16k", "text of 16 KiB beside a heap", cpu, 40_000, 16 * 1024, level()),
        case("luau-heap-32k", "text of 32 KiB beside a heap", cpu, 20_000, 32 * 1024, level()),
        case("luau-heap-128k", "text of 128 KiB beside a heap", cpu, 5_000, 128 * 1024, level()),
        case("luau-heap-1m", "text of 1 MiB beside a heap", cpu, 600, 1024 * 1024, level()),
        case(
            "luau-heap-flood",
            "memory during a flood of 2,000 messages of 1 MiB beside a heap",
            Metric::Peak,
            2000,
            1024 * 1024,
            bound(),
        ),
    ]
}

const YAWC: &str = "yawc";
const SOCKUDO: &str = "sockudo-ws";
const WS: &str = "ws (Node)";
const PYTHON: &str = "websockets (Python)";
/// What is sent with another level than the default: of those above, the one with about as many bytes.
const REACTOR_6: &str = "moonwire, reactor, level 6";
const LUAU_6: &str = "moonwire, Luau, level 6";
const YAWC_3: &str = "yawc, level 3";
const SOCKUDO_3: &str = "sockudo-ws, level 3";
const WS_4: &str = "ws (Node), level 4";
const PYTHON_3: &str = "websockets (Python), level 3";

/// What is received is compressed by the server, the same for all; so there is no level.
const RECEIVING: [(&str, &str, u64); 7] = [
    (REACTOR, "moonwire-reactor", 0),
    (BLOCKING, "moonwire-blocking", 0),
    (LUAU, "moonwire-luau", 0),
    (YAWC, "yawc", 0),
    (SOCKUDO, "sockudo-ws", 0),
    (WS, "ws", 0),
    (PYTHON, "websockets", 0),
];
/// Who sends, and with which level; 0 is its default.
const SENDING: [(&str, &str, u64); 13] = [
    (REACTOR, "moonwire-reactor", 0),
    (REACTOR_6, "moonwire-reactor", 6),
    (BLOCKING, "moonwire-blocking", 0),
    (LUAU, "moonwire-luau", 0),
    (LUAU_6, "moonwire-luau", 6),
    (YAWC, "yawc", 0),
    (YAWC_3, "yawc", 3),
    (SOCKUDO, "sockudo-ws", 0),
    (SOCKUDO_3, "sockudo-ws", 3),
    (WS, "ws", 0),
    (WS_4, "ws", 4),
    (PYTHON, "websockets", 0),
    (PYTHON_3, "websockets", 3),
];

/// JSON text with permessage-deflate: takeover, and windows of 15 bits both ways.
fn deflate() -> Vec<Case> {
    let case = |name, title, kind, path, rows: &[_], count, size, targets| Case {
        name,
        group: "deflate",
        title,
        metric: Metric::CpuPerMessage,
        count,
        size,
        shrink: 100.0,
        entries: rows
            .iter()
            .map(|&(label, peer, open)| Entry {
                label,
                peer,
                kind,
                scheme: "ws",
                path,
                open,
                count: None,
                size: None,
            })
            .collect(),
        against: &[YAWC, SOCKUDO, WS],
        targets,
    };
    let receive = |name, title, count, size| {
        let targets = vec![
            ratio(REACTOR, YAWC, 1.00),
            ratio(REACTOR, SOCKUDO, 1.00),
            ratio(BLOCKING, YAWC, 1.00),
            ratio(BLOCKING, SOCKUDO, 1.00),
            ratio(LUAU, WS, 1.00),
            ratio(LUAU, PYTHON, 1.00),
        ];
        case(name, title, "deflate-receive", "/deflate-flood", &RECEIVING, count, size, targets)
    };
    let send = |name, title, count, size| {
        let targets = vec![
            ratio(REACTOR, YAWC_3, 1.00),
            ratio(REACTOR, SOCKUDO_3, 1.00),
            ratio(REACTOR_6, YAWC, 1.00),
            ratio(REACTOR_6, SOCKUDO, 1.00),
            ratio(BLOCKING, YAWC_3, 1.00),
            ratio(BLOCKING, SOCKUDO_3, 1.00),
            ratio(LUAU, WS_4, 1.00),
            ratio(LUAU_6, WS, 1.00),
            ratio(LUAU, PYTHON_3, 1.00),
            ratio(LUAU_6, PYTHON, 1.00),
        ];
        case(name, title, "deflate-send", "/deflate-sink", &SENDING, count, size, targets)
    };
    vec![
        receive("deflate-receive-200", "JSON of 200 B, received compressed", 200_000, 200),
        receive("deflate-receive-2k", "JSON of 2 KiB, received compressed", 40_000, 2048),
        receive("deflate-receive-64k", "JSON of 64 KiB, received compressed", 1500, 64 * 1024),
        send("deflate-send-200", "JSON of 200 B, sent compressed", 60_000, 200),
        send("deflate-send-2k", "JSON of 2 KiB, sent compressed", 20_000, 2048),
        send("deflate-send-64k", "JSON of 64 KiB, sent compressed", 800, 64 * 1024),
        deflate_idle(),
    ]
}

fn deflate_idle() -> Case {
    let row = |label, peer, kind, path, count, size| Entry {
        label,
        peer,
        kind,
        scheme: "ws",
        path,
        open: 0,
        count: Some(count),
        size: Some(size),
    };
    let without = |label, peer| row(label, peer, "idle", "/idle", 2000, 0);
    let agreed = |label, peer| row(label, peer, "deflate-idle", "/deflate-idle", 2000, 0);
    let used =
        |label, peer| row(label, peer, "deflate-idle", "/deflate-idle?bytes=65536", 200, 64 * 1024);
    Case {
        name: "deflate-idle",
        group: "deflate",
        title: "memory of an idle connection: without compression, with compression agreed on, and after \
                64 KiB of JSON each way",
        metric: Metric::Each,
        count: 2000,
        size: 0,
        shrink: 20.0,
        entries: vec![
            without("moonwire, reactor, without", "moonwire-reactor"),
            agreed("moonwire, reactor, agreed", "moonwire-reactor"),
            used("moonwire, reactor, used", "moonwire-reactor"),
            without("moonwire, Luau, without", "moonwire-luau"),
            agreed("moonwire, Luau, agreed", "moonwire-luau"),
            used("moonwire, Luau, used", "moonwire-luau"),
            without("yawc, without", "yawc"),
            agreed("yawc, agreed", "yawc"),
            used("yawc, used", "yawc"),
            agreed("sockudo-ws, agreed", "sockudo-ws"),
            used("sockudo-ws, used", "sockudo-ws"),
            without("ws (Node), without", "ws"),
            agreed("ws (Node), agreed", "ws"),
            used("ws (Node), used", "ws"),
            without("websockets (Python), without", "websockets"),
            agreed("websockets (Python), agreed", "websockets"),
            used("websockets (Python), used", "websockets"),
        ],
        against: &[],
        targets: vec![
            more("moonwire, reactor, agreed", "moonwire, reactor, without", 8.0),
            more("moonwire, Luau, agreed", "moonwire, Luau, without", 8.0),
            value("moonwire, reactor, used", 300.0),
            value("moonwire, Luau, used", 300.0),
        ],
    }
}

fn rest() -> Vec<Case> {
    let without = ["moonwire-owned", "moonwire-luau-poll", "ws", "bun", "websockets", "lune"];
    vec![
        Case {
            name: "open-close",
            group: "open-close",
            title: "10,000 connections, opened and closed one after another",
            metric: Metric::CpuPerOpen,
            count: 10_000,
            size: 0,
            shrink: 100.0,
            entries: rows(&[&FACES, &RUST], &without, "open-close", "ws", "/idle"),
            against: &[TUNGSTENITE],
            targets: vec![ratio(REACTOR, TUNGSTENITE, 1.05)],
        },
        {
            let mut plain = gets("get-200", "1,000 answers of 200 B, one behind the other", "http");
            // It trusts no roots but its own, so it is not in the other.
            plain.entries.push(Entry { label: LUNE, peer: "lune", ..plain.entries[0] });
            plain.against = &["reactor, each its own", "Luau, each its own", LUNE];
            plain.targets.push(ratio("Luau, kept", LUNE, 0.7));
            plain
        },
        gets("get-200-tls", "the same over TLS 1.3", "https"),
        streams("sse", "event stream, events of 100 B, as one body", "/sse", "/raw"),
        streams(
            "sse-chunked",
            "event stream, events of 100 B, each in a chunk of its own",
            "/sse-chunked",
            "/raw-chunked",
        ),
    ]
}

/// Requests over one connection, against requests that each have their own; and calls of scripts.
fn gets(name: &'static str, title: &'static str, scheme: &'static str) -> Case {
    let entry = |label, peer, kind| Entry {
        label,
        peer,
        kind,
        scheme,
        path: "/get",
        open: 1,
        count: None,
        size: None,
    };
    Case {
        name,
        group: "get",
        title,
        metric: Metric::CpuPerMessage,
        count: 1_000,
        size: 200,
        shrink: 100.0,
        entries: vec![
            entry("reactor, kept", "moonwire-reactor", "get-kept"),
            entry("reactor, each its own", "moonwire-reactor", "get"),
            entry("Luau, kept", "moonwire-luau", "get-kept"),
            entry("Luau, each its own", "moonwire-luau", "get"),
        ],
        against: &["reactor, each its own", "Luau, each its own"],
        targets: vec![
            ratio("reactor, kept", "reactor, each its own", 0.5),
            ratio("Luau, kept", "Luau, each its own", 0.5),
        ],
    }
}

/// Events of 100 B from `events`, against the same bytes as a `RawStream` from `bytes`.
fn streams(
    name: &'static str,
    title: &'static str,
    events: &'static str,
    bytes: &'static str,
) -> Case {
    let stream = |label, peer, kind, path| Entry {
        label,
        peer,
        kind,
        scheme: "http",
        path,
        open: 1,
        count: None,
        size: None,
    };
    Case {
        name,
        group: "sse",
        title,
        metric: Metric::CpuPerMessage,
        count: 500_000,
        size: 100,
        shrink: 100.0,
        entries: vec![
            stream("Luau, SSE", "moonwire-luau", "sse", events),
            stream("Luau, RawStream", "moonwire-luau", "raw", bytes),
            stream("reactor, blocks", "moonwire-reactor", "sse", events),
            stream("reactor, raw", "moonwire-reactor", "raw", bytes),
        ],
        against: &["Luau, RawStream", "reactor, raw"],
        targets: vec![ratio("Luau, SSE", "Luau, RawStream", 2.0)],
    }
}
