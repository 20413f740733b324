//! The output of a program that returns an error from `main`.

use std::process::Command;

use moonwire::{Error, Options, StreamOptions};

/// Like a `main` of this type: the test harness prints its error in the same way.
#[test]
#[ignore = "run by the test below, which reads what it prints"]
fn a_main_that_fails() -> Result<(), Error> {
    Options::new("ws://127.0.0.1:1/path?token=hidden")?.connect().map(drop)
}

#[test]
fn it_is_one_line_for_people() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "from_main::a_main_that_fails"])
        .output()
        .unwrap();
    assert!(!child.status.success());
    let text = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    let line = text.lines().find_map(|line| line.split_once("Error: ")).expect(&text).1;
    assert!(line.starts_with("ws://127.0.0.1:1/path?***: connect: 127.0.0.1:1: "), "{line}");
    assert!(!text.contains("hidden") && !text.contains("Inner"), "{text}");
}

#[test]
fn debug_and_display_of_an_error_are_the_same() {
    for error in [
        Options::new("http://a/").unwrap_err(),
        StreamOptions::get("http://a/").unwrap().header("X", "a\r\nb").unwrap_err(),
    ] {
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(format!("{error:#?}"), error.to_string());
    }
}
