//! `moonwire echo`.

use super::options::{Arg, ArgList, Command, Group, Hint, Opt, Takes, shown};
use super::stdio::{Failure, write_stdout};
use crate::net::sys::raise_open_files;
use crate::peer::{self, Server};

pub(super) static COMMAND: Command = Command {
    name: "echo",
    summary: "run a WebSocket echo server",
    usage: &["echo [--port N] [--tls]"],
    about: "Runs a WebSocket echo server on 127.0.0.1 until it is interrupted, and prints its URL. \
            Over HTTP it has event streams and other responses to try a client with; GET / lists \
            them.",
    groups: &[&GROUP],
    notes: "",
    operand: Hint::Nothing,
};

static GROUP: Group = Group {
    title: "Options",
    options: &[
        Opt {
            names: &["--port"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "listen on this port instead of a free one",
        },
        Opt {
            names: &["--tls"],
            takes: Takes::Nothing,
            text: "use TLS, with the test certificate that is built in; its root is printed too, \
                   for `--ca FILE` of the other commands",
        },
    ],
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EchoArgs {
    pub(super) port: u16,
    pub(super) tls: bool,
}

pub(super) fn parse(mut list: ArgList) -> Result<Option<EchoArgs>, Failure> {
    let mut echo = EchoArgs::default();
    loop {
        match list.next()? {
            Arg::End => return Ok(Some(echo)),
            Arg::Plain(arg) => {
                return Err(Failure::usage(format!("echo takes no argument {}", shown(&arg))));
            }
            Arg::Option(given) => match given.name {
                "--port" => {
                    let text = given.text()?;
                    echo.port = text
                        .parse()
                        .map_err(|_| Failure::usage(format!("--port: \"{text}\" is not a port")))?;
                }
                "--tls" => echo.tls = true,
                _ => return Ok(None),
            },
        }
    }
}

pub(super) fn echo(args: EchoArgs) -> Result<u8, Failure> {
    raise_open_files();
    let address = ([127, 0, 0, 1], args.port).into();
    let server = if args.tls {
        Server::bind_tls(address, peer::CHAIN_PEM, peer::KEY_PEM)
    } else {
        Server::bind(address)
    };
    let server = server.map_err(|e| Failure::other(format!("cannot listen on {address}: {e}")))?;
    write_stdout(&format!("{}\n", server.url()))?;
    if args.tls {
        write_stdout(&String::from_utf8_lossy(peer::CA_PEM))?;
    }
    server.run().map_err(|e| Failure::other(format!("echo server: {e}")))?;
    Ok(0)
}
