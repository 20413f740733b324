//! Compressed messages.

use super::{BLOCKING, Case, Entry, LUAU, Metric, REACTOR, entry, more, ratio, value};

const YAWC: &str = "yawc";
const SOCKUDO: &str = "sockudo-ws";
const WS: &str = "ws (Node)";
const PYTHON: &str = "websockets (Python)";
/// Senders with another level than their default: it gives about as many bytes as the others have.
const REACTOR_6: &str = "moonwire, reactor, level 6";
const LUAU_6: &str = "moonwire, Luau, level 6";
const YAWC_3: &str = "yawc, level 3";
const SOCKUDO_3: &str = "sockudo-ws, level 3";
const WS_4: &str = "ws (Node), level 4";
const PYTHON_3: &str = "websockets (Python), level 3";

/// The server compresses the received messages, the same for all clients; so no client has a level.
const RECEIVING: [(&str, &str, u64); 7] = [
    (REACTOR, "moonwire-reactor", 0),
    (BLOCKING, "moonwire-blocking", 0),
    (LUAU, "moonwire-luau", 0),
    (YAWC, "yawc", 0),
    (SOCKUDO, "sockudo-ws", 0),
    (WS, "ws", 0),
    (PYTHON, "websockets", 0),
];
/// The senders and their levels; 0 is the default of the library.
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

/// JSON text with permessage-deflate: context takeover, and windows of 15 bits in both directions.
pub(super) fn all() -> Vec<Case> {
    let case = |name, title, kind, path, rows: &[_], count, size, targets| Case {
        // The results vary little, and there are many of them.
        rounds: 3,
        count,
        size,
        entries: rows
            .iter()
            .map(|&(label, peer, open)| entry(label, peer, kind, "ws", path, open))
            .collect(),
        against: &[YAWC, SOCKUDO, WS],
        targets,
        ..Case::new("deflate", name, title, Metric::CpuPerMessage)
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
        count: Some(count),
        size: Some(size),
        ..entry(label, peer, kind, "ws", path, 0)
    };
    let without = |label, peer| row(label, peer, "idle", "/idle", 2000, 0);
    let agreed = |label, peer| row(label, peer, "deflate-idle", "/deflate-idle", 2000, 0);
    let used =
        |label, peer| row(label, peer, "deflate-idle", "/deflate-idle?bytes=65536", 200, 64 * 1024);
    let title = "memory of an idle connection: without compression, with compression agreed on, and \
                 after 64 KiB of JSON each way";
    Case {
        rounds: 3,
        count: 2000,
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
        targets: vec![
            more("moonwire, reactor, agreed", "moonwire, reactor, without", 8.0),
            more("moonwire, Luau, agreed", "moonwire, Luau, without", 8.0),
            value("moonwire, reactor, used", 300.0),
            value("moonwire, Luau, used", 300.0),
        ],
        ..Case::new("deflate", "deflate-idle", title, Metric::Each)
    }
}
