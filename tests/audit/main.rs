//! `moonwire audit`, as a library and as a command: audits of servers on loopback, without a fault
//! or with one each.
#![cfg(feature = "cli")]

use moonwire::audit::{Finding, Options, Stop, Summary, run};
use moonwire::proto::Url;

#[cfg(all(feature = "luau", feature = "tls"))]
mod command;
mod faulty;
mod good;
mod how;
mod server;

/// All findings about a server.
fn audited(options: &Options) -> (Vec<Finding>, Result<Summary, Stop>) {
    let mut all = Vec::new();
    let summary = run(options, &mut |finding| {
        all.push(finding.clone());
        true
    });
    (all, summary)
}

fn options(url: &str) -> Options {
    Options::new(Url::parse(url).unwrap())
}

/// The findings as lines, for the message of a test that fails.
fn lines(all: &[Finding]) -> String {
    all.iter().map(|finding| format!("{finding}\n")).collect()
}
