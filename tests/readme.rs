//! The README and the pages in docs show working code. Each Luau block, each command line and each
//! Luau example runs with the embedded server and ends without help. rustdoc tests the Rust blocks
//! of the pages that src/lib.rs includes; a test here checks that it includes all of them.
#![cfg(all(feature = "tls", feature = "luau", feature = "cli"))]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(args: &[&str], script: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_moonwire"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("SSLKEYLOGFILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn ends_well(args: &[&str], script: &str) -> String {
    let output = run(args, script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{args:?}: {errors}\n{script}");
    String::from_utf8(output.stdout).unwrap()
}

/// The README and the pages in docs: their names and texts, in order.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let mut names: Vec<String> = docs.filter(|name| name.ends_with(".md")).collect();
    names.push("README.md".to_owned());
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), std::fs::read_to_string(root.join(name)).unwrap()))
        .collect()
}

/// The blocks of a language, each with the word behind the language, if any.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("\n```{language}");
    let block = |rest: &'a str| {
        let (word, rest) = rest.split_once('\n').unwrap();
        (word.trim(), rest.split("\n```").next().unwrap())
    };
    text.split(&*start).skip(1).map(block).collect()
}

/// Runs a script with each server; it must print something.
fn runs(host: &[&str], script: &str) {
    for args in [&["--echo"][..], &["--echo=wss"], &["--echo", "--poll-thread"]] {
        let args = [&["run", "--timeout", "30"], host, args, &["-"]].concat();
        let printed = ends_well(&args, script);
        assert!(!printed.is_empty(), "{script}");
    }
}

/// Blocks with `luau studio` and `luau executor` are scripts with that host. A block with `luau
/// host` is a host file, and one with `luau hosted` is a script with the host file above it.
#[test]
fn each_luau_block_runs() {
    let file = std::env::temp_dir().join(format!("moonwire-page-host-{}.luau", std::process::id()));
    let path = file.to_str().unwrap();
    let mut count = BTreeMap::new();
    for (page, text) in pages() {
        for (word, block) in blocks(&text, "luau") {
            *count.entry((page.clone(), word.to_owned())).or_insert(0) += 1;
            match word {
                "host" => std::fs::write(&file, block).unwrap(),
                "hosted" => runs(&["--host", path], block),
                "studio" | "executor" => runs(&["--host", word], block),
                word => {
                    assert_eq!(word, "", "{page}: {block}");
                    runs(&[], block);
                }
            }
        }
    }
    std::fs::remove_file(&file).unwrap();
    let of = |page: &str, word: &str| count.get(&(page.to_owned(), word.to_owned())).copied();
    assert_eq!(of("README.md", ""), Some(1), "{count:?}");
    assert!(of("docs/LUAU.md", "") >= Some(5), "{count:?}");
    for word in ["studio", "executor", "host", "hosted"] {
        assert!(of("docs/LUAU.md", word) >= Some(1), "{word}: {count:?}");
    }
}

#[test]
fn each_command_line_runs() {
    let mut count = BTreeMap::new();
    for (page, text) in pages() {
        let lines = blocks(&text, "sh").into_iter().flat_map(|(_, block)| block.lines());
        for line in lines.filter_map(|line| line.strip_prefix("moonwire run ")) {
            let words = line.split(" #").next().unwrap();
            let args: Vec<&str> = words.split_whitespace().collect();
            let output = run(&[&["run", "--timeout", "30"], &args[..]].concat(), "");
            let errors = String::from_utf8_lossy(&output.stderr);
            // If the certificate in src/peer/certs has changed, the error shows the new pin for the
            // page.
            assert!(output.status.success(), "{page}: {line}: {errors}");
            let warned = errors.lines().all(|line| line.starts_with("warning: --insecure: "));
            assert!(warned && errors.is_empty() != line.contains("--insecure"), "{line}: {errors}");
            *count.entry(page.clone()).or_insert(0) += 1;
        }
    }
    for (page, least) in [("README.md", 4), ("docs/COMMAND.md", 9), ("docs/LUAU.md", 3)] {
        assert!(count.get(page) >= Some(&least), "{page}: {count:?}");
    }
}

/// rustdoc does not test Rust on a page that src/lib.rs does not include, and no test covers a
/// block of an unknown language.
#[test]
fn every_block_is_of_a_kind_that_is_looked_at() {
    let source = include_str!("../src/lib.rs");
    let mut count = BTreeMap::new();
    for (page, text) in pages() {
        let mut inside = false;
        for line in text.lines().map(str::trim_start) {
            let Some(language) = line.strip_prefix("```") else { continue };
            inside = !inside;
            if !inside {
                assert_eq!(language, "", "{page}: {line}");
                continue;
            }
            let kind = language.split([',', ' ']).next().unwrap();
            assert!(
                ["rust", "luau", "sh", "text", "console", "toml"].contains(&kind),
                "{page}: {line}"
            );
            let tested = source.contains(&format!("#[doc = include_str!(\"../{page}\")]"));
            assert!(kind != "rust" || tested, "{page} is not among the pages of src/lib.rs");
            assert!(!language.contains("ignore"), "{page}: {line}");
            *count.entry(kind.to_owned()).or_insert(0) += 1;
        }
        assert!(!inside, "{page}: a block does not end");
    }
    // The README had this many blocks of each kind when it had all of them.
    for (kind, least) in [("rust", 17), ("luau", 10), ("sh", 5), ("console", 2), ("toml", 1)] {
        assert!(count.get(kind) >= Some(&least), "{kind}: {count:?}");
    }
}

#[test]
fn each_luau_example_runs() {
    for (file, host, last) in [
        ("echo", None, "closed: 1000 "),
        ("chat_bot", None, ""),
        ("token_stream", None, "whole: Tell me"),
        ("ticker", None, "closed, and that is enough"),
        ("plugin_socket", None, "that was enough"),
        ("plugin_sync", Some("studio"), "in step"),
        ("executor_chat", Some("executor"), "closed"),
    ] {
        let file = format!("{}/examples/{file}.luau", env!("CARGO_MANIFEST_DIR"));
        for echo in ["--echo", "--echo=wss"] {
            let mut args = vec!["run", "--timeout", "60", echo];
            args.extend(host.iter().flat_map(|host| ["--host", host]));
            args.push(&file);
            let printed = ends_well(&args, "");
            assert!(printed.lines().count() > 3, "{file}: {printed}");
            assert!(printed.lines().last().unwrap().starts_with(last), "{file}: {printed}");
        }
    }
}
