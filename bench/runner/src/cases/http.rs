//! Event streams and HTTP calls.

use super::{Case, LUNE, Metric, entry, ratio};

pub(super) fn all() -> Vec<Case> {
    vec![
        events("events-100", "events of 100 B, parsed", 200_000, 100),
        events("events-4k", "events of 4 KiB, parsed", 20_000, 4096),
        streams("sse", "event stream, events of 100 B, as one body", "/sse", "/raw"),
        streams(
            "sse-chunked",
            "event stream, events of 100 B, each in a chunk of its own",
            "/sse-chunked",
            "/raw-chunked",
        ),
        calls("get-200", "1,000 answers of 200 B, one behind the other", "http"),
        calls("get-200-tls", "the same over TLS 1.3", "https"),
    ]
}

/// Event streams for Rust clients: events with one line of `data` in one body; and events with all fields,
/// each in its own chunk, of which the client keeps the last.
fn events(name: &'static str, title: &'static str, count: u64, size: u64) -> Case {
    let plain = |label, peer| entry(label, peer, "events", "http", "/sse", 1);
    let fields = |label, peer| entry(label, peer, "events-fields", "http", "/sse-fields", 1);
    let mut targets = Vec::new();
    for (of, ureq, reqwest) in [
        ("reactor", "ureq", "reqwest"),
        ("reactor, all fields", "ureq, all fields", "reqwest, all fields"),
        ("EventSource", "ureq", "reqwest"),
        ("EventSource, all fields", "ureq, all fields", "reqwest, all fields"),
    ] {
        targets.extend([ratio(of, ureq, 0.50), ratio(of, reqwest, 0.50)]);
    }
    Case {
        count,
        size,
        entries: vec![
            plain("reactor", "moonwire-reactor"),
            plain("EventSource", "moonwire-event-source"),
            plain("ureq", "ureq"),
            plain("reqwest", "reqwest"),
            fields("reactor, all fields", "moonwire-reactor"),
            fields("EventSource, all fields", "moonwire-event-source"),
            fields("ureq, all fields", "ureq"),
            fields("reqwest, all fields", "reqwest"),
        ],
        against: &["ureq", "reqwest", "ureq, all fields", "reqwest, all fields"],
        targets,
        ..Case::new("events", name, title, Metric::CpuPerMessage)
    }
}

/// Events of 100 B from `events` as text, compared with the same bytes from `bytes` as a `RawStream`.
fn streams(
    name: &'static str,
    title: &'static str,
    events: &'static str,
    bytes: &'static str,
) -> Case {
    Case {
        count: 300_000,
        size: 100,
        entries: vec![
            entry("Luau, SSE", "moonwire-luau", "sse", "http", events, 1),
            entry("Luau, RawStream", "moonwire-luau", "raw", "http", bytes, 1),
            entry("reactor, blocks", "moonwire-reactor", "sse", "http", events, 1),
            entry("reactor, raw", "moonwire-reactor", "raw", "http", bytes, 1),
        ],
        against: &["Luau, RawStream", "reactor, raw"],
        ..Case::new("sse", name, title, Metric::CpuPerMessage)
    }
}

/// Requests over one connection, compared with a connection for each request; and HTTP calls of scripts. A
/// POST sends as many bytes as its response has.
fn calls(name: &'static str, title: &'static str, scheme: &'static str) -> Case {
    let row = |label, peer, kind| entry(label, peer, kind, scheme, "/get", 1);
    let mut case = Case {
        count: 1_000,
        size: 200,
        entries: vec![
            row("reactor, kept", "moonwire-reactor", "get-kept"),
            row("reactor, each its own", "moonwire-reactor", "get"),
            row("Luau, kept", "moonwire-luau", "get-kept"),
            row("Luau, each its own", "moonwire-luau", "get"),
        ],
        against: &["reactor, each its own", "Luau, each its own"],
        targets: vec![
            ratio("reactor, kept", "reactor, each its own", 0.5),
            ratio("Luau, kept", "Luau, each its own", 0.5),
        ],
        ..Case::new("get", name, title, Metric::CpuPerMessage)
    };
    // The other clients trust only their own roots, or are built without TLS.
    if scheme == "http" {
        case.entries.extend([
            row("ureq, kept", "ureq", "get-kept"),
            row("reqwest, kept", "reqwest", "get-kept"),
            row(LUNE, "lune", "get-kept"),
            row("reactor, POST", "moonwire-reactor", "post-kept"),
            row("Luau, POST", "moonwire-luau", "post-kept"),
            row("ureq, POST", "ureq", "post-kept"),
            row("reqwest, POST", "reqwest", "post-kept"),
            row("Lune, POST", "lune", "post-kept"),
        ]);
        case.against = &["ureq, kept", "ureq, POST", LUNE, "Lune, POST"];
        case.targets
            .extend([ratio("Luau, kept", LUNE, 0.7), ratio("Luau, POST", "Lune, POST", 0.7)]);
    }
    case
}
