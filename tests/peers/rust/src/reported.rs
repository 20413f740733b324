//! What the clients print: a line for each thing that they report to the program.

use std::fmt::Display;

pub struct Arguments {
    pub url: String,
    pub protocol: Option<String>,
    pub message: Option<usize>,
}

/// `URL [--protocol P] [--message N]`; with `version` for a URL, the one of the crate `name`.
pub fn arguments(name: &str) -> Arguments {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let url = all.first().expect("a URL").clone();
    if url == "version" {
        let lock = include_str!("../Cargo.lock");
        let at = lock.find(&format!("name = \"{name}\"\nversion = \"")).expect("a package");
        println!("{}", lock[at..].split('"').nth(3).expect("a version"));
        std::process::exit(0);
    }
    let value = |flag: &str| {
        let at = all.iter().position(|a| a == flag)?;
        all.get(at + 1).cloned()
    };
    let message = value("--message").map(|n| n.parse().expect("a number"));
    Arguments { url, protocol: value("--protocol"), message }
}

pub fn opened() {
    println!("opened");
}

pub fn message(kind: &str, data: &[u8]) {
    let hex: String = data.iter().take(40).map(|b| format!("{b:02x}")).collect();
    println!("{kind} {} {hex}", data.len());
}

pub fn close(code: u16) {
    println!("close {code}");
}

pub fn error(e: &dyn Display) {
    println!("error {}", e.to_string().replace(char::is_control, " "));
}

#[allow(dead_code)] // Not every client ends without a word.
pub fn end() {
    println!("end");
}
