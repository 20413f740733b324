//! The Luau of the README and of docs/LUAU.md works: each block runs against the embedded server and ends by
//! itself. (The README's Rust is tested as the crate's documentation.) So do their command lines and the
//! Luau examples.
#![cfg(all(feature = "tls", feature = "luau", feature = "cli"))]

use std::io::Write as _;
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

const README: &str = include_str!("../README.md");
const PAGE: &str = include_str!("../docs/LUAU.md");

/// The blocks of a language, each with the word behind the language, if there is one.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("\n```{language}");
    let block = |rest: &'a str| {
        let (word, rest) = rest.split_once('\n').unwrap();
        (word.trim(), rest.split("\n```").next().unwrap())
    };
    text.split(&*start).skip(1).map(block).collect()
}

/// Runs a script against each server; it has to print something.
fn runs(host: &[&str], script: &str) {
    for args in [&["--echo"][..], &["--echo=wss"], &["--echo", "--poll-thread"]] {
        let args = [&["run", "--timeout", "30"], host, args, &["-"]].concat();
        let printed = ends_well(&args, script);
        assert!(!printed.is_empty(), "{script}");
    }
}

#[test]
fn each_luau_block_of_the_readme_runs() {
    let blocks = blocks(README, "luau");
    assert!(blocks.len() >= 2);
    for (word, block) in blocks {
        assert_eq!(word, "", "{block}");
        runs(&[], block);
    }
}

/// `luau studio` and `luau executor` are scripts with that host, `luau host` is a host file, and `luau hosted`
/// a script with the host file above it.
#[test]
fn each_luau_block_of_the_page_on_scripts_runs() {
    let file = std::env::temp_dir().join(format!("moonwire-page-host-{}.luau", std::process::id()));
    let path = file.to_str().unwrap();
    let mut count = [0; 3];
    for (word, block) in blocks(PAGE, "luau") {
        match word {
            "host" => {
                std::fs::write(&file, block).unwrap();
                continue;
            }
            "hosted" => runs(&["--host", path], block),
            "studio" | "executor" => runs(&["--host", word], block),
            word => {
                assert_eq!(word, "", "{block}");
                runs(&[], block);
            }
        }
        count[["", "hosted"].iter().position(|&w| w == word).unwrap_or(2)] += 1;
    }
    std::fs::remove_file(&file).unwrap();
    assert!(count[0] >= 4 && count[1] >= 1 && count[2] >= 2, "{count:?}");
}

#[test]
fn each_command_line_of_the_readme_runs() {
    let blocks = [README, PAGE].into_iter().flat_map(|text| blocks(text, "sh"));
    let lines = blocks.flat_map(|(_, block)| block.lines());
    let lines = lines.filter_map(|line| line.strip_prefix("moonwire run "));
    let mut count = 0;
    for line in lines {
        let words = line.split(" #").next().unwrap();
        let args: Vec<&str> = words.split_whitespace().collect();
        let output = run(&[&["run", "--timeout", "30"], &args[..]].concat(), "");
        let errors = String::from_utf8_lossy(&output.stderr);
        // A pin follows the certificate in src/peer/certs; the error has the new one.
        assert!(output.status.success(), "{line}: {errors}");
        let warned = errors.lines().all(|line| line.starts_with("warning: --insecure: "));
        assert!(warned && errors.is_empty() != line.contains("--insecure"), "{line}: {errors}");
        count += 1;
    }
    assert!(count >= 9, "{count}");
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
