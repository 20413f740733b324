//! Which files may use which. The tests read the sources and fail on a forbidden word in a folder,
//! on an import of a file on a higher floor, and on files that import each other.

#[path = "layering/mod.rs"]
mod imports;

use std::path::Path;

/// Words that some files must not contain.
struct Rule {
    /// The files and folders below `src/` that the rule covers, and the exceptions among them.
    of: &'static [&'static str],
    but: &'static [&'static str],
    words: &'static [&'static str],
    /// Phrases in which the word is allowed.
    fine: &'static [&'static str],
    why: &'static str,
}

const SOCKETS: &[&str] = &["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "std::os"];

const RULES: &[Rule] = &[
    Rule {
        of: &[""],
        but: &[],
        words: &["unsafe"],
        fine: &[],
        why: "the crate contains no unsafe code",
    },
    Rule {
        of: &[""],
        but: &["cli", "main.rs"],
        words: &["println!", "eprintln!", "print!", "eprint!", "dbg!", "stdout", "stderr"],
        fine: &[],
        why: "a library prints nothing",
    },
    Rule {
        of: &[""],
        but: &["cli", "main.rs"],
        words: &["env::", "std::env", "std::process", "process::exit"],
        fine: &[],
        why: "environment, arguments and exit codes belong to the command",
    },
    Rule {
        of: &["proto", "fuzzing"],
        // This file simulates a system for a reactor.
        but: &["fuzzing/proxies.rs"],
        words: &[
            "std::io",
            "std::fs",
            "std::thread",
            "std::os",
            "SystemTime",
            "RandomState",
            "crate::error",
            "crate::net",
            "crate::luau",
            "crate::peer",
            "crate::trace",
            "rustls",
            "mlua",
        ],
        fine: &[],
        why: "the core and its fuzz targets use only std and limits.rs; only bytes determine a run",
    },
    Rule {
        of: &["proto"],
        but: &[],
        words: &[
            "TcpStream",
            "TcpListener",
            "UdpSocket",
            "ToSocketAddrs",
            "Instant::now",
            "getrandom",
            "rustix",
        ],
        fine: &[],
        why: "the core does no I/O, reads no clock, starts no thread and draws no random bytes",
    },
    Rule {
        of: &["tape"],
        but: &[],
        words: &[
            "std::fs",
            "std::thread",
            "std::net",
            "crate::error",
            "crate::net",
            "crate::luau",
            "crate::peer",
            "crate::trace",
            "rustls",
            "mlua",
        ],
        fine: &[],
        why: "tapes use only the core; the program passes the writer of a tape",
    },
    Rule {
        of: &["proto"],
        but: &[],
        words: &["crate::tape"],
        fine: &[],
        why: "the core does not use tapes",
    },
    Rule {
        of: &["limits.rs", "puff.rs"],
        but: &[],
        words: &["crate::"],
        fine: &[],
        why: "limits.rs and puff.rs use only std",
    },
    Rule {
        of: &["error.rs", "policy.rs", "trace.rs", "limits.rs"],
        but: &[],
        words: &["crate::net", "crate::luau", "rustix", "rustls", "mlua", "std::fs", "std::thread"],
        fine: &[],
        why: "root files use only std and plain types of proto",
    },
    Rule {
        of: &[""],
        but: &["net/sys", "cli/connect/editor.rs"],
        words: &["rustix", "socket2", "getrandom"],
        fine: &[],
        why: "net/sys makes all system calls, except those for a terminal in which a user types",
    },
    Rule {
        of: &[""],
        but: &["net/sys"],
        words: SOCKETS,
        fine: &[],
        why: "only net/sys makes sockets, so that a simulated network can replace it",
    },
    Rule {
        of: &[""],
        but: &["net/wire/tls.rs", "net/wire/tls"],
        words: &["rustls", "rustls_native_certs", "webpki", "webpki_roots"],
        fine: &["rustls::ClientConfig", "pub use rustls"],
        why: "only tls.rs and its folder use rustls; others may pass an embedder's configuration",
    },
    Rule {
        of: &[""],
        but: &["luau/json.rs", "net/faces/json.rs"],
        words: &["serde_json", "serde_core", "serde"],
        fine: &["pub use serde_json"],
        why: "only the two files json.rs use serde",
    },
    Rule {
        of: &[""],
        but: &["proto/ws/deflate", "proto/http/coding"],
        words: &["zlib_rs"],
        fine: &[],
        why: "only two folders use zlib_rs, so that another library can replace it",
    },
    Rule {
        of: &["net"],
        but: &[],
        words: &["mlua", "crate::luau", "crate::cli", "crate::peer"],
        fine: &[],
        why: "Luau and the command use net, and net uses neither",
    },
    Rule {
        of: &["net/faces/queue.rs", "net/faces/shared.rs", "net/faces/stand_in.rs"],
        but: &[],
        words: &["std::sync", "std::thread", "Duration, Instant", "time::Instant"],
        fine: &["std::sync::Arc;"],
        why: "tests/loom replaces sync.rs for these files, and checks only what comes from it",
    },
    Rule {
        of: &["luau"],
        but: &[],
        words: &["crate::cli", "crate::peer", "ToSocketAddrs", "net::sys"],
        fine: &[],
        why: "luau uses connections through net's public types",
    },
    Rule {
        of: &["peer"],
        but: &[],
        words: &["mlua", "crate::luau", "crate::cli"],
        fine: &[],
        why: "the echo server needs no Luau",
    },
    Rule {
        of: &["audit"],
        but: &[],
        words: &["mlua", "crate::luau", "crate::cli", "crate::peer"],
        fine: &[],
        why: "an audit uses only net; the command prints its results",
    },
    Rule {
        of: &["main.rs", "cli"],
        but: &[],
        words: &["crate::proto::ws", "Session", "sha1_smol"],
        fine: &[],
        why: "the command has no protocol logic",
    },
    Rule {
        of: &["main.rs", "cli"],
        but: &["cli/connect", "cli/request.rs"],
        words: &["base64"],
        fine: &[],
        why: "the command encodes in base64 only what a user types: messages, and --auth",
    },
];

impl Rule {
    fn covers(&self, file: &str) -> bool {
        let inside = |place: &&str| {
            let rest = file.strip_prefix(*place);
            rest.is_some_and(|r| place.is_empty() || r.is_empty() || r.starts_with('/'))
        };
        self.of.iter().any(inside) && !self.but.iter().any(inside)
    }

    /// The first forbidden word of a line.
    fn broken_by(&self, line: &str) -> Option<&'static str> {
        let rest = self.fine.iter().fold(line.to_owned(), |l, phrase| l.replace(phrase, ""));
        self.words.iter().copied().find(|word| has_word(&rest, word))
    }
}

/// Whether `line` contains `word`, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part_of_name);
        let after = line[at + word.len()..].chars().next().is_some_and(part_of_name);
        !before && (!after || word.ends_with(|c| !part_of_name(c)))
    })
}

/// The lines of code of a source, numbered, without its unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines.filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(i, line)| {
        let comment = line.find(" // ").unwrap_or(line.len());
        (i + 1, &line[..comment])
    })
}

fn complaints(file: &str, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.covers(file)) {
        for (number, line) in code(text) {
            if let Some(word) = rule.broken_by(line) {
                all.push(format!("src/{file}:{number}: `{word}`: {}", rule.why));
            }
        }
    }
    all
}

/// Every `.rs` file below `folder`, with its path from there.
fn sources(folder: &Path, prefix: &str, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), into);
        } else if name.ends_with(".rs") && !name.ends_with("/tests.rs") {
            into.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn nobody_knows_more_than_the_design_allows() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    let found: Vec<_> = files.iter().flat_map(|(file, text)| complaints(file, text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    for place in RULES.iter().flat_map(|rule| rule.of.iter().chain(rule.but)) {
        let exists = files.iter().any(|(f, _)| f == place || f.starts_with(*place));
        assert!(exists, "src/{place} does not exist: the rule about it covers nothing");
    }
}

#[test]
fn the_checker_sees_what_it_has_to_see() {
    for (file, line, seen) in [
        ("proto/ws/frame.rs", "let now = std::time::Instant::now();", true),
        ("proto/ws/frame.rs", "use std::net::IpAddr;", false),
        ("proto/url.rs", "use std::net::TcpStream;", true),
        ("proto/url.rs", "// what rustls makes of it", false),
        ("proto/url.rs", "let a = 1; // rustls", false),
        ("net/sys", "use rustix::event::poll;", false),
        ("net/system.rs", "use rustix::event::poll;", true),
        ("net/driver.rs", "use std::net::{SocketAddr, TcpStream};", true),
        ("net/options.rs", "pub tls: Option<Arc<rustls::ClientConfig>>,", false),
        ("net/options.rs", "pub tls: Option<Arc<rustls::ServerConfig>>,", true),
        ("net/wire/tls/pin.rs", "use webpki::EndEntityCert;", false),
        ("net/wire/link.rs", "use webpki::EndEntityCert;", true),
        ("net/wire/tls_of_peer.rs", "use rustls::ServerConfig;", true),
        ("cli/tls.rs", "use rustls::KeyLogFile;", true),
        ("net/link.rs", "fn f(lua: &mlua::Lua) {}", true),
        ("net/faces/shared.rs", "use std::sync::Arc;", false),
        ("net/faces/shared.rs", "use std::sync::{Arc, Mutex};", true),
        ("net/faces/queue.rs", "use std::time::{Duration, Instant};", true),
        ("net/faces/client.rs", "use std::sync::{Arc, Mutex};", false),
        ("luau/mod.rs", "println!(\"x\");", true),
        ("luau/mod.rs", "use std::{env, fs}; env::var(\"X\")", true),
        ("luau/mod.rs", "env!(\"CARGO_PKG_VERSION\")", false),
        ("cli/mod.rs", "println!(\"x\");", false),
        ("cli_x/mod.rs", "println!(\"x\");", true),
        ("lib.rs", "#![forbid(unsafe_code)]", false),
        ("lib.rs", "unsafe { x() }", true),
        ("fuzzing/mod.rs", "use crate::net::Client;", true),
        ("fuzzing/mod.rs", "use crate::proto::Url;", false),
        ("proto/utf8.rs", "#[cfg(test)]\nmod tests { fn x() { Instant::now(); } }", false),
    ] {
        assert_eq!(!complaints(file, line).is_empty(), seen, "{file}: {line}");
    }
}

#[test]
fn no_import_runs_up_or_in_a_circle() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    // `sources` leaves out `tests.rs`, but not the files in a folder `tests`.
    let files = files.into_iter().filter(|(file, _)| !file.contains("tests/")).collect();
    let found = imports::complaints(&files, imports::FLOORS);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
