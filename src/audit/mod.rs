//! `moonwire audit`: how a server keeps RFC 6455. Hidden, and no part of the crate's interface.
//!
//! ```text
//! finding, options       results; options
//! frame, inflate         frames written in any way and read strictly; compressed messages
//! wire                   bytes to and from the server, with time limits
//! ask, talk              a handshake; an open connection, and what the server sends on it
//! judge                  verdicts from what the server has sent, without I/O
//! lab                    connections and facts that checks share
//! check                  how each kind of check runs
//! checks/                the checks
//! ```
//!
//! Each uses what stands above it. A check opens connections of its own, one at a time (RFC 6455 §4.1),
//! and sends what any client may send; those that are [`Kind::Hostile`] send what none may, and are made
//! on request, to loopback addresses alone: the address that counts is the one at the other end of the
//! socket.

mod ask;
mod check;
mod checks;
mod finding;
mod frame;
#[cfg(feature = "deflate")]
mod inflate;
mod judge;
mod lab;
mod options;
mod talk;
mod wire;

use std::time::Instant;

use ask::Answer;
use check::Check;
pub use finding::{About, Finding, Kind, Stop, Summary, Verdict};
use lab::{Lab, Trouble};
pub use options::Options;
use wire::{NoWire, Target};

/// All checks, in the order in which they run.
pub fn checks() -> impl Iterator<Item = &'static About> {
    checks::all().map(|check| &check.about)
}

/// Runs the checks, and passes each finding to `report` as soon as it is there; `report` returns
/// whether to go on.
pub fn run(options: &Options, report: &mut dyn FnMut(&Finding) -> bool) -> Result<Summary, Stop> {
    let chosen = chosen(options)?;
    let late = || options.until.is_some_and(|until| Instant::now() >= until);
    let target = Target::find(options).map_err(|stop| if late() { Stop::Timeout } else { stop })?;
    let mut lab = Lab::new(options, &target).map_err(|why| match why {
        _ if late() => Stop::Timeout,
        NoWire::Refused(why) => Stop::Usage(why),
        NoWire::Failed(why) => Stop::Connect(why),
    })?;
    let (_, first) = lab.first();
    if !matches!(first, Answer::Head(head) if head.status == 101) {
        let why = format!("the server {}, and opens no WebSocket", judge::not_opened(first));
        return Err(if late() { Stop::Timeout } else { Stop::Connect(why) });
    }
    let mut summary = Summary::default();
    for check in chosen {
        let judged = match check.run(&mut lab) {
            Err(Trouble::Wire(NoWire::Refused(why))) => return Err(Stop::Usage(why)),
            judged => judged.unwrap_or_else(Trouble::judged),
        };
        // A wait that the end of the audit has cut short shows nothing about the server.
        if late() {
            return Err(Stop::Timeout);
        }
        summary.count(judged.verdict);
        let finding = Finding { about: check.about, verdict: judged.verdict, seen: judged.seen };
        if !report(&finding) {
            break;
        }
    }
    Ok(summary)
}

/// The checks that the options select.
fn chosen(options: &Options) -> Result<Vec<&'static Check>, Stop> {
    for name in &options.only {
        let Some(about) = checks().find(|about| about.name == name) else {
            return Err(Stop::Usage(format!("there is no check \"{name}\"; --list names them")));
        };
        if about.kind == Kind::Hostile && !options.hostile {
            let text = format!("\"{name}\" sends what no client may send: it needs --hostile, too");
            return Err(Stop::Usage(text));
        }
    }
    let is_chosen = |about: &About| match &options.only[..] {
        [] => about.kind == Kind::Legit || options.hostile,
        only => only.iter().any(|name| name == about.name),
    };
    Ok(checks::all().filter(|check| is_chosen(&check.about)).collect())
}
