//! Writes the results: JSON, Markdown, pictures.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::decimal::{exact, number};
use crate::failure::Failure;
use crate::options::Options;
use crate::peers::{Kind, Peer};
use crate::{cases, chart, machine};

/// Merges the results with those of earlier runs on the same machine, and writes all files. A result
/// that is kept has its own date, kernel and moonwire, if they differ.
pub fn write(options: &Options, peers: &[Peer], results: Vec<Value>) -> Result<Value, Failure> {
    std::fs::create_dir_all(&options.out)?;
    let file = options.out.join("results.json");
    let machine = machine::describe();
    let old = Some(old(options));
    let same = |old: &Value| ["cpu", "cores"].iter().all(|k| old["machine"][k] == machine[k]);
    let old = old.filter(|old| !options.only.is_empty() && same(old)).unwrap_or(Value::Null);
    let mut results = results;
    for case in &mut results {
        case["machine"] = machine.clone();
        case["moonwire"] = json!(machine::moonwire_version());
    }
    let find = |list: &[Value], name: &str| list.iter().find(|case| case["name"] == name).cloned();
    let merged: Vec<Value> = cases::all()
        .iter()
        .filter_map(|case| {
            find(&results, case.name).or_else(|| find(list(&old["cases"]), case.name))
        })
        .collect();
    let first = if old.is_null() { machine } else { old["machine"].clone() };
    let all = json!({ "machine": first, "peers": versions(peers, &old), "cases": merged });
    std::fs::write(&file, serde_json::to_string_pretty(&all)? + "\n")?;
    std::fs::write(options.out.join("table.md"), table(&all))?;
    pictures(&all, &options.out)?;
    Ok(all)
}

/// The results of earlier runs, or null.
pub fn old(options: &Options) -> Value {
    let text = std::fs::read_to_string(options.out.join("results.json")).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null)
}

/// The versions of the clients; those of kept results stay. Each case names its moonwire.
fn versions(peers: &[Peer], old: &Value) -> Value {
    let listed = peers.iter().filter(|peer| peer.kind != Kind::Floor);
    let each = listed.map(|peer| {
        let kept = list(&old["peers"]).iter().find(|kept| kept["label"] == peer.label);
        match kept.filter(|kept| kept["missing"].is_null()) {
            Some(kept) => kept.clone(),
            None => {
                json!({ "label": peer.label, "version": peer.version, "missing": peer.missing })
            }
        }
    });
    each.collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("–")
}

/// The machine and the date of the measurement.
fn machine_name(all: &Value) -> String {
    let machine = &all["machine"];
    format!(
        "{}, {} cores, {}, {}; {}",
        text(&machine["cpu"]),
        machine["cores"],
        text(&machine["kernel"]),
        text(&machine["rustc"]),
        text(&machine["date"]),
    )
}

/// The same, with those `shown` cases that were measured at another time or on another kernel.
pub fn machine_line(all: &Value, shown: impl Fn(&str) -> bool) -> String {
    let mut line = machine_name(all);
    let mut others: Vec<(String, Vec<&str>)> = Vec::new();
    for case in list(&all["cases"]) {
        let when = elsewhere(all, case).filter(|_| shown(text(&case["name"])));
        let Some(when) = when else { continue };
        match others.iter_mut().find(|(known, _)| *known == when) {
            Some((_, names)) => names.push(text(&case["name"])),
            None => others.push((when, vec![text(&case["name"])])),
        }
    }
    for (when, names) in others {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(line, "; {}: {when}", names.join(", "));
    }
    line
}

/// When and on which kernel a case was measured, if date, kernel or rustc is not the first's.
fn elsewhere(all: &Value, case: &Value) -> Option<String> {
    let (machine, first) = (&case["machine"], &all["machine"]);
    let differs = ["date", "kernel", "rustc"].iter().any(|key| machine[key] != first[key]);
    let [date, kernel, rustc] = ["date", "kernel", "rustc"].map(|key| text(&machine[key]));
    (!machine.is_null() && differs).then(|| match machine["rustc"] == first["rustc"] {
        true => format!("{kernel}, {date}"),
        false => format!("{kernel}, {rustc}, {date}"),
    })
}

fn table(all: &Value) -> String {
    let machine = &all["machine"];
    let mut out = String::from("# Results\n\n");
    let _ = writeln!(
        out,
        "{}. Written by `bench/run.sh`; how to read it is in [the README](../README.md).\n",
        machine_line(all, |_| true),
    );
    if list(&all["cases"]).iter().any(|case| case["short"] == true) {
        out.push_str("**From the short form: too few messages to mean anything.**\n\n");
    }
    out.push_str("## What was to be reached\n\n");
    out.push_str(&targets(all));
    out.push_str("\n## Receiving text, client CPU, ns per message\n\n");
    out.push_str(&receiving(all));
    out.push_str("\n## Every case\n");
    for case in list(&all["cases"]) {
        one(&mut out, all, case);
    }
    out.push_str("\n## Versions\n\n| | |\n|---|---|\n");
    for peer in list(&all["peers"]) {
        let version = match peer["missing"].as_str() {
            Some(why) => format!("left out: {why}"),
            None => text(&peer["version"]).to_owned(),
        };
        let _ = writeln!(out, "| {} | {version} |", text(&peer["label"]));
    }
    let _ = writeln!(out, "| rustls (ring), all Rust clients | {} |", text(&machine["rustls"]));
    let _ = writeln!(out, "| mlua | {} |", text(&machine["mlua"]));
    out
}

/// The table of goals; the runner also prints it at its end.
pub fn targets(all: &Value) -> String {
    targets_of(all, |_, _| true)
}

/// The rows of that table that are wanted, by case and goal.
pub fn targets_of(all: &Value, wanted: impl Fn(&str, &Value) -> bool) -> String {
    let mut out = String::from(
        "| case | of | against | at most | measured (min – max) | |\n|---|---|---|--:|--:|---|\n",
    );
    for case in list(&all["cases"]) {
        for target in list(&case["targets"]).iter().filter(|of| wanted(text(&case["name"]), of)) {
            let measured = &target["measured"];
            let spread = match target["missing"].as_str() {
                Some(why) => why.to_owned(),
                None => format!(
                    "{} ({} – {})",
                    exact(&measured["median"]),
                    exact(&measured["min"]),
                    exact(&measured["max"])
                ),
            };
            let met = match target["met"].as_bool() {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let unit = text(&target["unit"]);
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            let unit = if target["more"] == true { unit + " more" } else { unit };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {}{unit} | {spread} | {met} |",
                text(&case["name"]),
                text(&target["of"]),
                text(&target["against"]),
                at_most(target),
            );
        }
    }
    out
}

/// The goal; and the result of another client, if that is larger and then the goal.
fn at_most(target: &Value) -> String {
    let goal = number(&target["at_most"]);
    match target["or"].as_f64() {
        Some(_) => format!("{goal}, or Lune's {}", exact(&target["or"])),
        None => goal,
    }
}

/// All sizes of messages side by side.
fn receiving(all: &Value) -> String {
    let cases: Vec<&Value> = list(&all["cases"])
        .iter()
        .filter(|case| text(&case["name"]).starts_with("receive-"))
        .collect();
    let mut labels: Vec<&str> = Vec::new();
    for entry in cases.iter().flat_map(|case| list(&case["entries"])) {
        if !labels.contains(&text(&entry["label"])) {
            labels.push(text(&entry["label"]));
        }
    }
    let mut out = String::from("| |");
    for case in &cases {
        let _ = write!(out, " {} |", text(&case["name"]).trim_start_matches("receive-"));
    }
    let _ = write!(out, "\n|---|{}\n", "--:|".repeat(cases.len()));
    for label in labels {
        let _ = write!(out, "| {label} |");
        for case in &cases {
            let entry = list(&case["entries"]).iter().find(|entry| entry["label"] == label);
            let _ = write!(out, " {} |", number(entry.map_or(&Value::Null, |e| &e["value"])));
        }
        out.push('\n');
    }
    out
}

fn one(out: &mut String, all: &Value, case: &Value) {
    let entries = list(&case["entries"]);
    let references: Vec<&String> = entries
        .first()
        .and_then(|e| e["ratios"].as_object())
        .map_or(Vec::new(), |r| r.keys().collect());
    let _ = write!(
        out,
        "\n### {}: {}\n\n{} rounds, {}{}.\n\n| | {}, {} |",
        text(&case["name"]),
        text(&case["title"]),
        case["rounds"],
        text(&case["pin"]),
        elsewhere(all, case).map_or(String::new(), |when| format!(
            "; {when}, moonwire {}",
            text(&case["moonwire"])
        )),
        text(&case["metric"]),
        text(&case["unit"]),
    );
    for reference in &references {
        let _ = write!(out, " × {reference} |");
    }
    let tail = entries.iter().any(|entry| !entry["p99_ns"].is_null());
    let wire = entries.iter().any(|entry| !entry["wire_bytes"].is_null());
    let calls = entries.iter().any(|entry| !entry["calls"].is_null());
    out.push_str(if wire { " on the wire, B |" } else { "" });
    out.push_str(if calls { " system calls |" } else { "" });
    out.push_str(" wall, ns |");
    out.push_str(if tail { " 99 %, µs |" } else { "" });
    let columns = references.len() + usize::from(tail) + usize::from(wire) + usize::from(calls);
    let _ = writeln!(out, " peak, MiB |\n|---|--:|{}--:|--:|", "--:|".repeat(columns));
    for entry in entries {
        let _ = write!(out, "| {} | {} |", text(&entry["label"]), number(&entry["value"]));
        for reference in &references {
            let _ = write!(out, " {} |", number(&entry["ratios"][*reference]["median"]));
        }
        if wire {
            let _ = write!(out, " {} |", number(&entry["wire_bytes"]));
        }
        if calls {
            let _ = write!(out, " {} |", number(&entry["calls"]));
        }
        let _ = write!(out, " {} |", number(&entry["wall_ns"]));
        if tail {
            let _ = write!(out, " {} |", number(&scaled(&entry["p99_ns"], 1e-3)));
        }
        let _ = writeln!(out, " {} |", number(&scaled(&entry["rss_peak_kib"], 1.0 / 1024.0)));
    }
}

fn scaled(value: &Value, by: f64) -> Value {
    value.as_f64().map_or(Value::Null, |v| json!(v * by))
}

fn pictures(all: &Value, out: &Path) -> Result<(), Failure> {
    for (file, title, names) in [
        (
            "receive.svg",
            "Receiving text: CPU time of the client per message (less is better)",
            &["receive-16", "receive-128", "receive-1k", "receive-16k", "receive-1m"][..],
        ),
        ("round-trip.svg", "Round trip, median (less is better)", &["rt-32", "rt-1k"]),
        (
            "send.svg",
            "Sending text: CPU time of the client per message (less is better)",
            &["send-128", "burst-128", "send-64k", "send-1m"],
        ),
        (
            "wss.svg",
            "Over TLS: CPU time of the client per message (less is better)",
            &["wss-1k", "wss-64k", "wss-send-256k"],
        ),
        ("memory.svg", "Memory (less is better)", &["idle", "idle-wss", "flood"]),
    ] {
        let cases: Vec<&Value> = names
            .iter()
            .filter_map(|name| list(&all["cases"]).iter().find(|case| case["name"] == *name))
            .collect();
        if !cases.is_empty() {
            std::fs::write(out.join(file), chart::bars(title, &cases))?;
        }
    }
    Ok(())
}
