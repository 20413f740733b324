//! The README's Luau works: each block runs against the embedded server and ends by itself. (Its
//! Rust is tested as the crate's documentation.) So do its command lines and the Luau examples.
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

#[test]
fn each_luau_block_of_the_readme_runs() {
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> =
        readme.split("```luau\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2);
    for block in blocks {
        for args in [&["--echo"][..], &["--echo=wss"], &["--echo", "--poll-thread"]] {
            let args = [&["run", "--timeout", "30"], args, &["-"]].concat();
            let printed = ends_well(&args, block);
            assert!(!printed.is_empty(), "{block}");
        }
    }
}

#[test]
fn each_command_line_of_the_readme_runs() {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("moonwire run "));
    let mut count = 0;
    for line in lines {
        let args: Vec<&str> = line.split_whitespace().collect();
        let output = run(&[&["run", "--timeout", "30"], &args[..]].concat(), "");
        let errors = String::from_utf8_lossy(&output.stderr);
        // A pin follows the certificate in src/peer/certs; the error has the new one.
        assert!(output.status.success(), "{line}: {errors}");
        let warned = errors.lines().all(|line| line.starts_with("warning: --insecure: "));
        assert!(warned && errors.is_empty() != line.contains("--insecure"), "{line}: {errors}");
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn each_luau_example_runs() {
    for (file, last) in [
        ("echo", "closed: 1000 "),
        ("chat_bot", ""),
        ("token_stream", "whole: Tell me"),
        ("ticker", "closed, and that is enough"),
        ("plugin_socket", "that was enough"),
    ] {
        let file = format!("{}/examples/{file}.luau", env!("CARGO_MANIFEST_DIR"));
        for echo in ["--echo", "--echo=wss"] {
            let printed = ends_well(&["run", "--timeout", "60", echo, &file], "");
            assert!(printed.lines().count() > 3, "{file}: {printed}");
            assert!(printed.lines().last().unwrap().starts_with(last), "{file}: {printed}");
        }
    }
}
