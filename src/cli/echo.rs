//! `moonwire echo`.

use super::args::EchoArgs;
use super::tell::{Failure, say};
use crate::net::sys::raise_open_files;
use crate::peer::{self, Server};

pub(super) fn echo(args: EchoArgs) -> Result<u8, Failure> {
    raise_open_files();
    let address = ([127, 0, 0, 1], args.port).into();
    let server = if args.tls {
        Server::bind_tls(address, peer::CHAIN_PEM, peer::KEY_PEM)
    } else {
        Server::bind(address)
    };
    let server = server.map_err(|e| Failure::other(format!("cannot listen on {address}: {e}")))?;
    say(&format!("{}\n", server.url()))?;
    if args.tls {
        say(&String::from_utf8_lossy(peer::CA_PEM))?;
    }
    server.run().map_err(|e| Failure::other(format!("echo server: {e}")))?;
    Ok(0)
}
