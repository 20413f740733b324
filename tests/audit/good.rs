//! An audit of this crate's own server finds no fault.

use std::time::Duration;

use moonwire::audit::{Options, checks};
use moonwire::peer::Server;

use super::{audited, lines, options};

/// Long enough for any machine: a server without faults answers much earlier.
const LONG: Duration = Duration::from_secs(20);

fn patient(url: &str) -> Options {
    let mut options = options(url);
    (options.hostile, options.patience, options.idle) = (true, LONG, Duration::from_millis(10));
    options
}

#[test]
fn the_server_of_this_crate_has_no_fault() {
    let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap().spawn().unwrap();
    let (all, summary) = audited(&patient(server.url()));
    let summary = summary.unwrap();
    assert_eq!(summary.faults, 0, "{}", lines(&all));
    assert_eq!(all.len(), checks().count());
    println!("{}{summary}", lines(&all));
}
