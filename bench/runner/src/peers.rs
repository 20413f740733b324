//! The clients that are compared: how each is started, and whether it is installed.

use std::path::Path;
use std::process::Command;

use crate::machine::{self, bench_dir, bin_dir, locked_version, tools_dir};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Moonwire,
    Rust,
    Other,
    Floor,
}

pub struct Peer {
    pub name: &'static str,
    /// The name in tables.
    pub label: &'static str,
    pub kind: Kind,
    /// The arguments before CASE, the program first.
    pub command: Vec<String>,
    /// Slow clients get this part of the messages of the others: costs are per message.
    pub scale: f64,
    pub version: String,
    /// Why the client is left out, if it is.
    pub missing: Option<String>,
}

pub fn all() -> Vec<Peer> {
    let mut all = Vec::new();
    for (name, label, face) in [
        ("moonwire-reactor", "moonwire, reactor", "reactor"),
        ("moonwire-reactor-poll", "moonwire, reactor, poll", "reactor-poll"),
        ("moonwire-owned", "moonwire, reactor, copied", "owned"),
        ("moonwire-blocking", "moonwire, blocking", "blocking"),
        ("moonwire-threaded", "moonwire, threaded", "threaded"),
        ("moonwire-luau", "moonwire, Luau", "luau"),
        ("moonwire-luau-alone", "moonwire, Luau, no stand-in", "luau-alone"),
        ("moonwire-luau-poll", "moonwire, Luau, --poll-thread", "luau-poll"),
        ("moonwire-luau-interpreted", "moonwire, Luau, --jit off", "luau-interpreted"),
        ("moonwire-event-source", "moonwire, EventSource", "event-source"),
    ] {
        all.push(built(name, label, Kind::Moonwire, "moonwire", Some(face)));
    }
    for name in ["tungstenite", "tokio-tungstenite", "fastwebsockets", "tokio-websockets"] {
        all.push(built(name, name, Kind::Rust, name, None));
    }
    for name in ["yawc", "sockudo-ws", "ureq", "reqwest"] {
        all.push(built(name, name, Kind::Rust, name, None));
    }
    all.push(without_takeover());
    for (name, label, floor) in [
        ("floor-read-64k", "floor: reads of 64 KiB", "read-64k"),
        ("floor-read-1m", "floor: reads of 1 MiB", "read-1m"),
        ("floor-parse", "floor: a parser, nothing else", "parse"),
        ("floor-session", "floor: moonwire's core, nothing else", "session"),
        ("floor-poll", "floor: poll", "poll"),
        ("floor-luau-call", "floor: Luau, a call each", "luau-call"),
        ("floor-luau-batch", "floor: Luau, 64 at a time", "luau-batch"),
    ] {
        all.push(built(name, label, Kind::Floor, "floors", Some(floor)));
    }
    let lune = lune();
    all.push(command("moonwire-run", "moonwire run", moonwire()));
    all.push(command("lune-run", "lune run", started(&lune)));
    all.push(lune);
    all.push(node());
    all.push(bun());
    all.push(python());
    all
}

/// A client of this workspace.
fn built(
    name: &'static str,
    label: &'static str,
    kind: Kind,
    of: &str,
    face: Option<&str>,
) -> Peer {
    let program = bin_dir().join(format!("bench-{of}"));
    let missing = (!program.is_file()).then(|| "it was not built".to_owned());
    let mut command = vec![program.display().to_string()];
    command.extend(face.map(str::to_owned));
    let version = match kind {
        Kind::Rust => locked_version(of).unwrap_or_default(),
        _ => machine::moonwire_version(),
    };
    Peer { name, label, kind, command, scale: 1.0, version, missing }
}

/// A command that runs scripts: its program, version and what it lacks.
struct Runs {
    program: String,
    kind: Kind,
    version: String,
    missing: Option<String>,
}

/// The command of the crate, built as for a release.
fn moonwire() -> Runs {
    let program = bin_dir().join("moonwire");
    let missing = (!program.is_file()).then(|| "the command was not built".to_owned());
    Runs {
        program: text(&program),
        kind: Kind::Moonwire,
        version: machine::moonwire_version(),
        missing,
    }
}

fn started(lune: &Peer) -> Runs {
    Runs {
        program: lune.command[0].clone(),
        kind: Kind::Other,
        version: lune.version.clone(),
        missing: lune.missing.clone(),
    }
}

/// The client is this runner, which starts the command again and again.
fn command(name: &'static str, label: &'static str, of: Runs) -> Peer {
    let own = bin_dir().join("bench-runner");
    let command = vec![text(&own), "start".to_owned(), of.program];
    let Runs { kind, version, missing, .. } = of;
    Peer { name, label, kind, command, scale: 1.0, version, missing }
}

/// soketto 0.8.1 has permessage-deflate, but always asks for `server_no_context_takeover`, and makes a
/// new state for each message it sends. All cases are about takeover.
fn without_takeover() -> Peer {
    Peer {
        name: "soketto",
        label: "soketto",
        kind: Kind::Rust,
        command: Vec::new(),
        scale: 1.0,
        version: String::new(),
        missing: Some("0.8.1 compresses without context takeover alone".to_owned()),
    }
}

/// A client that is not written in Rust.
struct Other {
    name: &'static str,
    label: &'static str,
    scale: f64,
    command: Vec<String>,
    /// The command that prints its version.
    version: Vec<String>,
    /// The file that has to exist, if the client has to be installed.
    needs: Option<std::path::PathBuf>,
}

impl Other {
    fn peer(self) -> Peer {
        let Other { name, label, scale, command, version, needs } = self;
        let absent = needs.filter(|path| !path.exists());
        let (version, missing) = match absent {
            Some(path) => (String::new(), Some(format!("{} is not there", path.display()))),
            None => match output(&version) {
                Ok(version) => (version, None),
                Err(why) => (String::new(), Some(why)),
            },
        };
        Peer { name, label, kind: Kind::Other, command, scale, version, missing }
    }
}

fn output(command: &[String]) -> Result<String, String> {
    let output = Command::new(&command[0]).args(&command[1..]).output();
    let output = output.map_err(|e| format!("{}: {e}", command[0]))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", command[0], text.lines().last().unwrap_or("it fails")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("lune ").to_owned())
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

fn script(name: &str) -> String {
    bench_dir().join("clients/other").join(name).display().to_string()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn lune() -> Peer {
    let installed = tools_dir().join("lune/bin/lune");
    let program = if installed.exists() { text(&installed) } else { "lune".to_owned() };
    let peer = Other {
        name: "lune",
        label: "Lune",
        scale: 0.5,
        command: vec![program.clone(), "run".into(), script("lune.luau")],
        version: vec![program, "--version".into()],
        needs: None,
    };
    peer.peer()
}

fn node() -> Peer {
    let package = tools_dir().join("node/node_modules/ws/package.json");
    let print = format!(
        "console.log('ws ' + require({:?}).version + ', Node ' + process.version)",
        text(&package)
    );
    let peer = Other {
        name: "ws",
        label: "ws (Node)",
        scale: 0.5,
        command: vec!["node".into(), script("ws.mjs")],
        version: words(&["node", "-e", &print]),
        needs: Some(package),
    };
    peer.peer()
}

fn bun() -> Peer {
    let program = tools_dir().join("node/node_modules/.bin/bun");
    let peer = Other {
        name: "bun",
        label: "Bun",
        scale: 0.5,
        command: vec![text(&program), script("bun.ts")],
        version: vec![text(&program), "--version".into()],
        needs: Some(program),
    };
    peer.peer()
}

fn python() -> Peer {
    let program = tools_dir().join("python/bin/python");
    let print = "import sys, websockets.version as v; print(f'websockets {v.version}, Python {sys.version.split()[0]}')";
    let peer = Other {
        name: "websockets",
        label: "websockets (Python)",
        scale: 0.1,
        command: vec![text(&program), script("websockets_client.py")],
        version: vec![text(&program), "-c".into(), print.into()],
        needs: Some(program),
    };
    peer.peer()
}
