//! The prelude, strict by both solvers, under the types that its parts share.

use std::collections::{BTreeMap, BTreeSet};

use crate::{BOTH, errors_under, root};

const TYPES: &str = include_str!("../../../src/luau/prelude/types.d.luau");

/// Name → text, without the definitions.
fn parts() -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("src/luau/prelude")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(part) = name.strip_suffix(".luau").filter(|part| !part.ends_with(".d")) {
            parts.insert(part.to_owned(), std::fs::read_to_string(&path).unwrap());
        }
    }
    parts
}

#[test]
fn each_part_passes() {
    let (parts, mut wrong) = (parts(), Vec::new());
    for (name, text) in &parts {
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first == "--!strict" && !rest.contains("--!"), "{name}: strict, and nothing else");
        for solver in BOTH {
            let errors = errors_under(solver, TYPES, text);
            wrong.extend(errors.iter().map(|e| format!("{name}.luau:{e} ({solver:?})")));
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert_eq!(parts.len(), 19, "{:?}", parts.keys());
}

/// Every part is checked, from its first line on.
#[test]
fn a_mistake_in_any_part_is_found() {
    for (name, text) in parts() {
        let text = text.replacen('\n', " local wrong: Timer = 5 wrong.at = 5\n", 1);
        let text = text.replacen("--!strict", "--!strict\n", 1);
        for solver in BOTH {
            let errors = errors_under(solver, TYPES, &text);
            let found = errors.iter().any(|e| e.starts_with("2: ") && e.contains("Timer"));
            assert!(found, "{name}: {solver:?}: {errors:?}");
        }
    }
}

/// Errors that the types must find.
#[test]
fn what_the_parts_have_not_agreed_on_does_not_pass() {
    let (parts, mut taken) = (parts(), Vec::new());
    for (name, right, wrong) in [
        // A field that a record does not have, in a function with its own types and in one with
        // those of its part.
        ("timers", "entry.cancelled, entry.thread", "entry.cancel, entry.thread"),
        ("timers", "entry.keeps = true", "entry.keep = true"),
        ("scheduler", "local args = entry.args", "local args = entry.arguments"),
        ("scripts", "not script.ended", "not script.kiled"),
        (
            "signal",
            "older.newer, handler.older = newer, nil",
            "older.new, handler.older = newer, nil",
        ),
        ("connections", "if event.lost and", "if event.missing and"),
        ("websocket", "c.held_bytes += bytes", "c.held_byte += bytes"),
        ("web_stream_client", "c.queued > native", "c.queud > native"),
        ("require", "m.state, m.value", "m.stat, m.value"),
        // An unknown state.
        ("websocket", "= \"Closing\", false", "= \"Close\", false"),
        ("require", "settle(m, \"loaded\"", "settle(m, \"load\""),
        // Names that Rust, or another part, does not have.
        ("signal", "native.connection()", "native.conection()"),
        ("http_service", "native.guid()", "native.uuid()"),
        ("inspect", "S.running", "S.runing"),
        ("globals", "D.game", "D.games"),
        ("globals", "I.getfenv_of(env)", "I.get_getfenv(env)"),
        // Calls with wrong arguments.
        ("websocket", "N.remove(c)", "N.remove(c.id)"),
        ("websocket", "Signal.fire(c.close)", "Signal.fire(c)"),
        ("web_stream_client", "N.keep(-1)", "N.keep()"),
        ("task", "sleep(time)", "sleep(tostring(time))"),
        ("connections", "native.shown_url(url)", "native.shown_url(5)"),
        // Results of another type than declared.
        ("timers", "\tend\n\treturn nil\nend", "\tend\n\treturn 5\nend"),
        ("scheduler", "\treturn entry\nend", "\treturn call\nend"),
        ("signal", "\treturn all\nend", "\treturn #all\nend"),
        ("enums", "value = j - 1", "value = name"),
    ] {
        let text = &parts[name];
        assert!(text.contains(right), "{name}: {right}");
        let text = text.replacen(right, wrong, 1);
        for solver in BOTH {
            if errors_under(solver, TYPES, &text).is_empty() {
                taken.push(format!("{name}: {wrong} ({solver:?})"));
            }
        }
    }
    assert_eq!(taken, [""; 0]);
}

/// The fields of a type that is declared with one field in each line.
fn fields(name: &str) -> Vec<&'static str> {
    let (_, rest) = TYPES.split_once(&format!("\nexport type {name} = {{\n")).unwrap();
    let (body, _) = rest.split_once("\n}\n").unwrap();
    let fields = body.lines().filter_map(|line| line.strip_prefix('\t')?.split_once(": "));
    let is_name = |name: &str| name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'));
    fields.map(|(name, _)| name).filter(|name| is_name(name)).collect()
}

/// A part is declared with all its fields before they are set, so the checker cannot find that one
/// is missing.
#[test]
fn a_part_offers_all_that_its_type_says() {
    let parts = parts();
    let scheduler = parts["scheduler"].clone() + &parts["scripts"];
    for (name, local, text, least) in [
        ("Timers", "T", &parts["timers"], 9),
        ("Scheduler", "S", &scheduler, 30),
        ("Signals", "Signal", &parts["signal"], 12),
        ("Connections", "N", &parts["connections"], 20),
        ("On", "on", &parts["websocket"], 8),
        ("On", "on", &parts["web_stream_client"], 8),
    ] {
        let fields = fields(name);
        assert!(fields.len() >= least, "{name}: {fields:?}");
        for field in fields {
            let (function, value) =
                (format!("function {local}.{field}("), format!("{local}.{field}"));
            let gives = |line: &str| match line.split_once(" = ") {
                Some((left, _)) => left.trim().split(", ").any(|name| name == value),
                None => line.starts_with(&function),
            };
            // The answer to a request, which a WebSocket does not have.
            let left_out = field == "response" && text == &parts["websocket"];
            assert!(left_out || text.lines().any(gives), "{name}: {value}");
        }
    }
}

/// The type of the natives has those that Rust sets, and no others.
#[test]
fn the_natives_are_those_of_rust() {
    let mut set = BTreeSet::new();
    for file in
        ["host", "prelude", "values", "streams", "require", "secret", "stdio", "hosts", "parts"]
    {
        let text = std::fs::read_to_string(root().join(format!("src/luau/{file}.rs"))).unwrap();
        for table in ["natives.set(\"", "table.set(\""] {
            let names = text.split(table).skip(1).map(|rest| rest.split('"').next().unwrap());
            set.extend(names.map(str::to_owned));
        }
        // Set in a loop.
        let acts = text.split(", Reactor::").filter_map(|part| part.strip_suffix('"'));
        set.extend(acts.map(|part| part.rsplit('"').next().unwrap().to_owned()));
    }
    let declared: BTreeSet<_> = fields("Native").into_iter().map(str::to_owned).collect();
    assert!(set.len() > 50, "{set:?}");
    assert_eq!(declared, set);
}
