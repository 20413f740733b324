//! Messages: received, sent, there and back, over TLS, over many connections.

use super::{
    ALONE, BLOCKING, BOTH, COPIED, Case, Entry, FACES, FLOORS, LUAU, LUNE, Metric, OTHERS, POLL,
    REACTOR, RUST, THREADED, TUNGSTENITE, Target, entry, ratio, rows, value,
};

/// On a system that has only poll, a wait costs as much as poll.
const ON_POLL: &str = "poll, 5,000 open";
const POLLED: &str = "floor: poll, 5,000 open";

/// Cases of a second shape.
const REACTOR_FOUR: &str = "moonwire, reactor, four at once";
const TUNGSTENITE_FOUR: &str = "tungstenite, four at once";
const LUAU_FIELD: &str = "moonwire, Luau, a field kept";
const LUNE_FIELD: &str = "Lune, a field kept";
const LUAU_FOUR: &str = "moonwire, Luau, four at once";
const LUNE_FOUR: &str = "Lune, four at once";
const REACTOR_KEPT: &str = "moonwire, reactor, the last 8 kept";
const TUNGSTENITE_KEPT: &str = "tungstenite, the last 8 kept";
const LUAU_USED: &str = "moonwire, Luau, made and looked at";
const LUNE_USED: &str = "Lune, made and looked at";
const TUNGSTENITE_USED: &str = "tungstenite, made and looked at";
const REACTOR_TWO: &str = "moonwire, reactor, different ones over two";
const BLOCKING_TWO: &str = "moonwire, blocking, different ones over two";
const TUNGSTENITE_TWO: &str = "tungstenite, different ones over two";
const LUAU_TWO: &str = "moonwire, Luau, different ones over two";
const LUNE_TWO: &str = "Lune, different ones over two";

pub(super) fn all() -> Vec<Case> {
    let mut all = receive();
    all.extend(buffers());
    all.extend(round_trip());
    all.extend(send());
    all.extend(secure());
    all.extend(turns());
    all.extend(open_close());
    all
}

/// The goals of a case: of Rust against tungstenite, of Luau against Lune, and others.
type Goals = (f64, f64, Vec<Target>);

fn receive() -> Vec<Case> {
    let case = |name, title, count, size, (rust, luau, more): Goals| {
        let mut entries = rows(&[&FACES, &RUST, &OTHERS, &FLOORS], &[], "receive", "ws", "/flood");
        let four = |label, peer| entry(label, peer, "receive-over", "ws", "/flood", 4);
        let field = |label, peer| entry(label, peer, "receive-field", "ws", "/flood-json", 1);
        let kept = |label, peer| entry(label, peer, "receive-kept", "ws", "/flood", 1);
        entries.extend([
            four(REACTOR_FOUR, "moonwire-reactor"),
            four(TUNGSTENITE_FOUR, "tungstenite"),
            field(LUAU_FIELD, "moonwire-luau"),
            field(LUNE_FIELD, "lune"),
            four(LUAU_FOUR, "moonwire-luau"),
            four(LUNE_FOUR, "lune"),
        ]);
        if size == 1024 * 1024 {
            entries.extend([
                kept(REACTOR_KEPT, "moonwire-reactor"),
                kept(TUNGSTENITE_KEPT, "tungstenite"),
            ]);
        }
        let mut targets = vec![
            ratio(REACTOR, TUNGSTENITE, rust),
            ratio(REACTOR_FOUR, TUNGSTENITE_FOUR, rust),
            ratio(LUAU, LUNE, luau),
            ratio(LUAU_FIELD, LUNE_FIELD, luau),
            ratio(LUAU_FOUR, LUNE_FOUR, luau),
        ];
        targets.extend(more);
        Case {
            count,
            size,
            shrink: if size >= 16_384 { 20.0 } else { 100.0 },
            entries,
            against: BOTH,
            targets,
            ..Case::new("receive", name, title, Metric::CpuPerMessage)
        }
    };
    let faces = vec![ratio(BLOCKING, TUNGSTENITE, 0.65), ratio(THREADED, TUNGSTENITE, 0.90)];
    let owned = vec![ratio(COPIED, TUNGSTENITE, 0.90), ratio(REACTOR_KEPT, TUNGSTENITE_KEPT, 0.90)];
    let (kib, mib) = (1024, 1024 * 1024);
    vec![
        case("receive-16", "text of 16 B, received", 1_000_000, 16, (0.42, 0.27, vec![])),
        case("receive-128", "text of 128 B, received", 500_000, 128, (0.45, 0.36, faces)),
        case("receive-1k", "text of 1 KiB, received", 200_000, kib, (0.58, 0.58, vec![])),
        case("receive-16k", "text of 16 KiB, received", 20_000, 16 * kib, (0.45, 0.80, vec![])),
        case("receive-1m", "text of 1 MiB, received", 400, mib, (0.60, 0.85, owned)),
    ]
}

/// Binary messages as `buffer`, compared with Lune, which makes strings of them.
fn buffers() -> Vec<Case> {
    let case = |name, title, count, size, at_most| {
        let row = |label, peer, kind| entry(label, peer, kind, "ws", "/flood-binary", 1);
        Case {
            count,
            size,
            shrink: 20.0,
            entries: vec![
                row("Luau, counted", "moonwire-luau", "receive-buffer"),
                row("Luau, read", "moonwire-luau", "receive-buffer-read"),
                row("Lune, counted", "lune", "receive-buffer"),
                row("Lune, read", "lune", "receive-buffer-read"),
            ],
            against: &["Lune, counted", "Lune, read"],
            targets: vec![
                ratio("Luau, counted", "Lune, counted", at_most),
                ratio("Luau, read", "Lune, read", at_most),
            ],
            ..Case::new("buffer", name, title, Metric::CpuPerMessage)
        }
    };
    vec![
        case("buffer-64k", "binary of 64 KiB, received as a buffer", 8_000, 64 * 1024, 0.45),
        case("buffer-1m", "binary of 1 MiB, received as a buffer", 500, 1024 * 1024, 0.50),
    ]
}

fn round_trip() -> Vec<Case> {
    let entries = || {
        let floor = [("floor: write and read", "floor-read-64k")];
        let alone = [(ALONE, "moonwire-luau-alone")];
        let lists: [&[_]; 5] = [&FACES, &alone, &RUST, &OTHERS, &floor];
        let mut entries = rows(&lists, &["moonwire-owned"], "rt", "ws", "/echo");
        let used = |label, peer| entry(label, peer, "rt-use", "ws", "/echo", 1);
        entries.extend([
            used(LUAU_USED, "moonwire-luau"),
            used(LUNE_USED, "lune"),
            used(TUNGSTENITE_USED, "tungstenite"),
        ]);
        entries
    };
    let case = |name, title, size| Case {
        count: 20_000,
        size,
        entries: entries(),
        against: &[TUNGSTENITE, LUNE, ALONE],
        targets: vec![
            ratio(LUAU, LUNE, 0.95),
            ratio(LUAU_USED, LUNE_USED, 0.95),
            ratio(LUAU, TUNGSTENITE, 1.06),
            ratio(LUAU_USED, TUNGSTENITE_USED, 1.06),
            ratio(LUAU, ALONE, 1.03),
            ratio(POLL, TUNGSTENITE, 1.45),
        ],
        ..Case::new("rt", name, title, Metric::Median)
    };
    let row = |label, peer, open| entry(label, peer, "rt", "ws", "/echo", open);
    let many = "round trip of 32 B on one of many open connections of a reactor";
    vec![
        case("rt-32", "round trip of 32 B", 32),
        case("rt-1k", "round trip of 1 KiB", 1024),
        Case {
            rounds: 3,
            count: 20_000,
            size: 32,
            entries: vec![
                row("1 open", "moonwire-reactor", 1),
                row("5,000 open", "moonwire-reactor", 5000),
                row(ON_POLL, "moonwire-reactor-poll", 5000),
                row(POLLED, "floor-poll", 5000),
                row("Luau, 1 open", "moonwire-luau", 1),
                row("Luau, 5,000 open", "moonwire-luau", 5000),
            ],
            against: &["1 open", POLLED],
            targets: vec![ratio("5,000 open", "1 open", 1.05), ratio(ON_POLL, POLLED, 1.20)],
            ..Case::new("rt", "rt-5000", many, Metric::Median)
        },
    ]
}

fn send() -> Vec<Case> {
    let luau = ["moonwire-owned", "moonwire-luau", "moonwire-luau-poll"];
    let two = |kind| move |label, peer| entry(label, peer, kind, "ws", "/sink", 1);
    let large = |name, title, count, size, mut entries: Vec<Entry>, mut targets: Vec<Target>| {
        let again = two("burst-two");
        entries.extend(rows(
            &[&[(LUAU, "moonwire-luau"), (LUNE, "lune")]],
            &[],
            "burst",
            "ws",
            "/sink",
        ));
        entries.extend([again(LUAU_TWO, "moonwire-luau"), again(LUNE_TWO, "lune")]);
        targets.extend([ratio(LUAU, LUNE, 0.70), ratio(LUAU_TWO, LUNE_TWO, 0.70)]);
        Case {
            count,
            size,
            shrink: 20.0,
            entries,
            against: BOTH,
            targets,
            ..Case::new("send", name, title, Metric::CpuPerMessage)
        }
    };
    let one = two("send-two");
    let rust = || {
        let peers = [(REACTOR, "moonwire-reactor"), (BLOCKING, "moonwire-blocking"), RUST[0]];
        let mut entries = rows(&[&peers], &[], "send", "ws", "/sink");
        entries.extend([
            one(REACTOR_TWO, "moonwire-reactor"),
            one(BLOCKING_TWO, "moonwire-blocking"),
            one(TUNGSTENITE_TWO, "tungstenite"),
        ]);
        entries
    };
    let burst = {
        let again = two("burst-two");
        let mut entries =
            rows(&[&FACES, &RUST, &OTHERS], &["moonwire-owned"], "burst", "ws", "/sink");
        entries.extend([again(LUAU_TWO, "moonwire-luau"), again(LUNE_TWO, "lune")]);
        entries
    };
    vec![
        Case {
            count: 200_000,
            size: 128,
            entries: rows(&[&FACES, &RUST], &luau, "send", "ws", "/sink"),
            against: &[TUNGSTENITE],
            targets: vec![ratio(REACTOR, TUNGSTENITE, 1.00), ratio(BLOCKING, TUNGSTENITE, 1.00)],
            ..Case::new(
                "send",
                "send-128",
                "text of 128 B, sent one at a time",
                Metric::CpuPerMessage,
            )
        },
        Case {
            count: 400_000,
            size: 128,
            entries: burst,
            against: BOTH,
            targets: vec![ratio(LUAU, LUNE, 0.10), ratio(LUAU_TWO, LUNE_TWO, 0.10)],
            ..Case::new(
                "send",
                "burst-128",
                "text of 128 B, sent in a burst",
                Metric::CpuPerMessage,
            )
        },
        large("send-64k", "text of 64 KiB, sent", 6_000, 64 * 1024, Vec::new(), Vec::new()),
        large(
            "send-1m",
            "text of 1 MiB, sent",
            400,
            1024 * 1024,
            rust(),
            vec![
                ratio(REACTOR, TUNGSTENITE, 0.80),
                ratio(REACTOR_TWO, TUNGSTENITE_TWO, 0.80),
                ratio(BLOCKING, TUNGSTENITE, 0.80),
                ratio(BLOCKING_TWO, TUNGSTENITE_TWO, 0.80),
            ],
        ),
    ]
}

/// Lune trusts only its own roots, so it does not take part.
fn secure() -> Vec<Case> {
    let case = |name, title, count, size, at_most| {
        let four = |label, peer| entry(label, peer, "receive-over", "wss", "/flood", 4);
        let mut entries = rows(&[&FACES, &RUST, &OTHERS], &["lune"], "receive", "wss", "/flood");
        entries.extend([
            four(REACTOR_FOUR, "moonwire-reactor"),
            four(TUNGSTENITE_FOUR, "tungstenite"),
        ]);
        Case {
            count,
            size,
            shrink: 50.0,
            entries,
            against: &[TUNGSTENITE],
            targets: vec![
                ratio(REACTOR, TUNGSTENITE, at_most),
                ratio(REACTOR_FOUR, TUNGSTENITE_FOUR, at_most),
            ],
            ..Case::new("wss", name, title, Metric::CpuPerMessage)
        }
    };
    vec![
        case("wss-1k", "text of 1 KiB, received over TLS", 100_000, 1024, 0.48),
        case("wss-64k", "text of 64 KiB, received over TLS", 2_000, 64 * 1024, 0.55),
        secure_send(),
    ]
}

fn secure_send() -> Case {
    let row = |label, peer, kind| entry(label, peer, kind, "wss", "/sink", 1);
    let calls = |of| Target { calls: true, ..value(of, 5.0) };
    Case {
        count: 1_000,
        size: 256 * 1024,
        shrink: 20.0,
        entries: vec![
            row(REACTOR, "moonwire-reactor", "send"),
            row(BLOCKING, "moonwire-blocking", "send"),
            row(LUAU, "moonwire-luau", "burst"),
            row(TUNGSTENITE, "tungstenite", "send"),
            row(REACTOR_TWO, "moonwire-reactor", "send-two"),
            row(BLOCKING_TWO, "moonwire-blocking", "send-two"),
            row(TUNGSTENITE_TWO, "tungstenite", "send-two"),
        ],
        calls: true,
        against: &[TUNGSTENITE, TUNGSTENITE_TWO],
        targets: vec![
            ratio(REACTOR, TUNGSTENITE, 0.70),
            ratio(REACTOR_TWO, TUNGSTENITE_TWO, 0.70),
            ratio(BLOCKING, TUNGSTENITE, 0.70),
            ratio(BLOCKING_TWO, TUNGSTENITE_TWO, 0.70),
            calls(REACTOR),
            calls(REACTOR_TWO),
            calls(BLOCKING),
            calls(BLOCKING_TWO),
        ],
        ..Case::new("wss", "wss-send-256k", "text of 256 KiB, sent over TLS", Metric::CpuPerMessage)
    }
}

/// Many connections that get messages in turn, compared with one that gets all of them.
fn turns() -> Vec<Case> {
    let row = |label, peer, kind, path, open| entry(label, peer, kind, "ws", path, open);
    let (reactor, luau) = ("moonwire-reactor", "moonwire-luau");
    let answered =
        "text of 128 B to one of 1,000 connections in turn, each answered before the next";
    let waves = "text of 128 B to each of 1,000 connections at once, again and again";
    vec![
        Case {
            count: 40_000,
            size: 128,
            shrink: 40.0,
            entries: vec![
                row("reactor, 1", reactor, "turns", "/turns", 1),
                row("reactor, 1,000", reactor, "turns", "/turns", 1000),
                row("reactor, 1, any, with a state", reactor, "turns-states", "/turns-mixed", 1),
                row(
                    "reactor, 1,000, any, with a state",
                    reactor,
                    "turns-states",
                    "/turns-mixed",
                    1000,
                ),
                row("Luau, 1", luau, "turns", "/turns", 1),
                row("Luau, 1,000", luau, "turns", "/turns", 1000),
                row("Luau, 1, any, with a state", luau, "turns-states", "/turns-mixed", 1),
                row("Luau, 1,000, any, with a state", luau, "turns-states", "/turns-mixed", 1000),
            ],
            against: &["reactor, 1", "Luau, 1"],
            targets: vec![
                ratio("reactor, 1,000", "reactor, 1", 1.5),
                ratio("reactor, 1,000, any, with a state", "reactor, 1, any, with a state", 1.5),
                ratio("Luau, 1,000", "Luau, 1", 1.5),
                ratio("Luau, 1,000, any, with a state", "Luau, 1, any, with a state", 1.5),
            ],
            ..Case::new("turns", "turns-1000", answered, Metric::CpuPerMessage)
        },
        Case {
            count: 100_000,
            size: 128,
            shrink: 40.0,
            entries: vec![
                row("reactor, 1", reactor, "waves", "/waves", 1),
                row("reactor, 1,000", reactor, "waves", "/waves", 1000),
                row("Luau, 1", luau, "waves", "/waves", 1),
                row("Luau, 1,000", luau, "waves", "/waves", 1000),
            ],
            against: &["reactor, 1", "Luau, 1"],
            ..Case::new("turns", "waves-1000", waves, Metric::CpuPerMessage)
        },
    ]
}

fn open_close() -> Vec<Case> {
    let without = ["moonwire-owned", "moonwire-luau-poll"];
    let case = |name, title, count, size, kind, path| Case {
        count,
        size,
        entries: rows(
            &[&FACES, &RUST],
            if kind == "open-close" { &without } else { &NO_LUAU },
            kind,
            "ws",
            path,
        ),
        against: &[TUNGSTENITE],
        targets: vec![ratio(REACTOR, TUNGSTENITE, 1.00)],
        ..Case::new("open-close", name, title, Metric::CpuPerOpen)
    };
    vec![
        case(
            "open-close",
            "connections, opened and closed one after another",
            5_000,
            0,
            "open-close",
            "/idle",
        ),
        case(
            "open-echo-close",
            "the same with a message of 128 B there and back",
            5_000,
            128,
            "open-echo-close",
            "/echo",
        ),
    ]
}

const NO_LUAU: [&str; 3] = ["moonwire-owned", "moonwire-luau", "moonwire-luau-poll"];
