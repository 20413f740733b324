//! Memory: of idle connections and during a flood; and messages to scripts with large heaps.

use super::{
    BLOCKING, BOTH, Case, FACES, LUAU, Metric, OTHERS, POLL, REACTOR, RUST, THREADED, TUNGSTENITE,
    Target, entry, ratio, rows, value,
};

const REACTOR_USED: &str = "moonwire, reactor, used";
const LUAU_USED: &str = "moonwire, Luau, used";
const TUNGSTENITE_USED: &str = "tungstenite, used";
const LUAU_FIELD: &str = "moonwire, Luau, a field kept";
const LUNE_FIELD: &str = "Lune, a field kept";
const REACTOR_FOUR: &str = "moonwire, reactor, four at once";

pub(super) fn all() -> Vec<Case> {
    let mut all = vec![idle(), idle_wss(), flood()];
    all.extend(heaps());
    all
}

fn idle() -> Case {
    let faces = [FACES[0], FACES[2], FACES[3], FACES[4]];
    let mut slow = rows(&[&OTHERS], &[], "idle", "ws", "/idle");
    slow.iter_mut().for_each(|entry| entry.count = Some(1000));
    let mut entries = rows(&[&faces, &RUST], &["moonwire-blocking"], "idle", "ws", "/idle");
    entries.append(&mut slow);
    let used = |label, peer| {
        let mut row = entry(label, peer, "idle-used", "ws", "/echo", 1);
        row.size = Some(128);
        row
    };
    entries.extend([
        used(REACTOR_USED, "moonwire-reactor"),
        used(LUAU_USED, "moonwire-luau"),
        used(TUNGSTENITE_USED, "tungstenite"),
    ]);
    let title = "memory of an idle connection (Luau: with an object, a listener and a waiting thread; \
                 used: after 128 B each way)";
    Case {
        rounds: 3,
        count: 4000,
        entries,
        against: &[TUNGSTENITE],
        targets: vec![
            value(REACTOR, 0.5),
            value(REACTOR_USED, 0.5),
            value(LUAU, 3.4),
            value(LUAU_USED, 3.4),
        ],
        ..Case::new("memory", "idle", title, Metric::Each)
    }
}

fn idle_wss() -> Case {
    let faces = [FACES[0], FACES[2], FACES[3], FACES[4]];
    let without = ["moonwire-blocking", "lune"];
    let mut entries = rows(&[&faces, &RUST, &OTHERS], &without, "idle", "wss", "/idle?bytes=65536");
    let mut used = entry(REACTOR_USED, "moonwire-reactor", "idle-used", "wss", "/echo", 1);
    used.size = Some(128);
    entries.push(used);
    let title =
        "memory of an idle connection over TLS that has received 64 KiB (used: 128 B each way)";
    Case {
        rounds: 3,
        count: 500,
        size: 65_536,
        shrink: 50.0,
        entries,
        against: &[TUNGSTENITE],
        targets: vec![value(REACTOR, 8.8), value(REACTOR_USED, 8.8)],
        ..Case::new("memory", "idle-wss", title, Metric::Each)
    }
}

fn flood() -> Case {
    let without = ["moonwire-owned", "websockets"];
    let mut entries = rows(&[&FACES, &RUST, &OTHERS], &without, "receive", "ws", "/flood");
    entries.extend([
        entry(REACTOR_FOUR, "moonwire-reactor", "receive-over", "ws", "/flood", 4),
        entry(LUAU_FIELD, "moonwire-luau", "receive-field", "ws", "/flood-json", 1),
        entry(LUNE_FIELD, "lune", "receive-field", "ws", "/flood-json", 1),
    ]);
    let all = [REACTOR, REACTOR_FOUR, BLOCKING, THREADED, LUAU, LUAU_FIELD, POLL];
    Case {
        rounds: 3,
        count: 2_000_000,
        size: 128,
        shrink: 400.0,
        entries,
        against: BOTH,
        targets: all.map(|of| value(of, 16.0)).into(),
        ..Case::new(
            "memory",
            "flood",
            "memory during a flood of 2,000,000 messages of 128 B",
            Metric::Peak,
        )
    }
}

/// The heap of a script while it receives: the labels of moonwire and of Lune, the CASE, and MiB in
/// place of OPEN.
type Live = (&'static str, &'static str, &'static str, u64);

const NOTHING: Live = ("Luau, nothing", "Lune, nothing", "heap-flat", 0);
const NOTHING_FIELD: Live = ("Luau, nothing, field", "Lune, nothing, field", "heap-flat-field", 0);
const HEAPS: [Live; 6] = [
    ("Luau, 16 MiB flat", "Lune, 16 MiB flat", "heap-flat", 16),
    ("Luau, 64 MiB flat", "Lune, 64 MiB flat", "heap-flat", 64),
    ("Luau, 256 MiB flat", "Lune, 256 MiB flat", "heap-flat", 256),
    ("Luau, 16 MiB of tables", "Lune, 16 MiB of tables", "heap-tables", 16),
    ("Luau, 64 MiB of tables", "Lune, 64 MiB of tables", "heap-tables", 64),
    ("Luau, 256 MiB of tables", "Lune, 256 MiB of tables", "heap-tables", 256),
];
/// The same heaps beside a handler that keeps one field of each message.
const FIELDS: [Live; 2] = [
    ("Luau, 64 MiB flat, field", "Lune, 64 MiB flat, field", "heap-flat-field", 64),
    ("Luau, 64 MiB of tables, field", "Lune, 64 MiB of tables, field", "heap-tables-field", 64),
];

/// Messages to a script with a heap that the collector has to mark.
fn heaps() -> Vec<Case> {
    let rows = || {
        let field = |kind: &str| kind.ends_with("-field");
        let all = [NOTHING].into_iter().chain(HEAPS).chain([NOTHING_FIELD]).chain(FIELDS);
        let path = move |kind| if field(kind) { "/flood-json" } else { "/flood" };
        let ours = all.clone().map(move |(label, _, kind, live)| {
            entry(label, "moonwire-luau", kind, "ws", path(kind), live)
        });
        let lune = all
            .map(move |(_, label, kind, live)| entry(label, "lune", kind, "ws", path(kind), live));
        ours.chain(lune).collect()
    };
    // At most 1.3 times as much as without a heap, or the ratio of Lune if that is larger.
    let growth = || {
        let than = |nothing: Live| {
            move |&(of, lune, _, _): &Live| Target {
                or: Some((lune, nothing.1)),
                ..ratio(of, nothing.0, 1.3)
            }
        };
        let plain = HEAPS.iter().map(than(NOTHING));
        plain.chain(FIELDS.iter().map(than(NOTHING_FIELD))).collect()
    };
    // At most twice the heap and 32 MiB.
    let bound = || {
        let all = [NOTHING].into_iter().chain(HEAPS).chain(FIELDS);
        all.map(|(label, _, _, live)| value(label, (2 * live + 32) as f64)).collect()
    };
    let case = |name, title, metric, count, size, targets| Case {
        rounds: 3,
        count,
        size,
        shrink: 20.0,
        entries: rows(),
        against: &["Luau, nothing", "Lune, nothing"],
        targets,
        ..Case::new("luau-heap", name, title, metric)
    };
    let (cpu, kib) = (Metric::CpuPerMessage, 1024);
    let flood = "memory during a flood of 1,000 messages of 1 MiB beside a heap";
    vec![
        case("luau-heap-128", "text of 128 B beside a heap", cpu, 400_000, 128, growth()),
        case("luau-heap-1k", "text of 1 KiB beside a heap", cpu, 200_000, kib, growth()),
        case("luau-heap-16k", "text of 16 KiB beside a heap", cpu, 20_000, 16 * kib, growth()),
        case("luau-heap-128k", "text of 128 KiB beside a heap", cpu, 3_000, 128 * kib, growth()),
        case("luau-heap-1m", "text of 1 MiB beside a heap", cpu, 400, kib * kib, growth()),
        case("luau-heap-flood", flood, Metric::Peak, 1000, kib * kib, bound()),
    ]
}
