//! `moonwire connect`: one WebSocket, for a person at a terminal or as a filter in a pipe.

mod editor;
mod input;
mod output;
mod session;

use std::time::Duration;

use super::network::{self, NetworkArgs};
use super::options::{ArgList, Command, Given, Group, Hint, Opt, Takes};
use super::request::{self, RequestArgs};
use super::stdio::Failure;

pub(super) use session::connect;

pub(super) static COMMAND: Command = Command {
    name: "connect",
    summary: "talk to a WebSocket, at a terminal or in a pipe",
    usage: &["connect [OPTIONS] URL"],
    about: "Connects to a WebSocket (ws:// or wss://). Lines of standard input become messages, and \
            messages become lines of standard output. At a terminal there is a prompt with history; \
            Ctrl-D ends the input, Ctrl-C ends the command.\n\n\
            At the end of input the command sends everything, then a ping. When the server has \
            answered the ping and nothing has arrived for --linger seconds, the command closes the \
            connection with code 1000.",
    groups: &[
        &MESSAGES,
        &OUTPUT,
        &CONNECTION,
        &request::REQUEST,
        &network::NETWORK,
        &network::PROXY,
        &network::TLS,
    ],
    notes: "A binary message is written as it is, with a line end behind it; at a terminal as hex. \
            At a terminal, control characters from the server are shown as escapes, so that it \
            cannot move the cursor or change colours. The variable NO_COLOR turns colours off.\n\n\
            Exit status: 0 the connection was closed with code 1000 or none, 1 it was closed with \
            another code, was lost, or something could not be read or written, 2 wrong usage, 3 it \
            could not be opened, 124 --timeout, 130 Ctrl-C, 143 SIGTERM.",
    operand: Hint::Nothing,
};

static MESSAGES: Group = Group {
    title: "Messages",
    options: &[
        Opt {
            names: &["--execute", "-x"],
            takes: Takes::Value("TEXT", Hint::Nothing),
            text: "send TEXT instead of standard input; may be repeated",
        },
        Opt {
            names: &["--wait", "-w"],
            takes: Takes::Value("N|Ss", Hint::Nothing),
            text: "wait for N messages in all, or for S seconds, at the end of input (or after the \
                   last -x), instead of --linger (3: three messages, 3s: three seconds)",
        },
        Opt {
            names: &["--linger"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "close when nothing has arrived for S seconds after the end of input (0.5)",
        },
        Opt {
            names: &["--max-messages", "-n"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "close when N messages have arrived",
        },
        Opt {
            names: &["--binary", "-b"],
            takes: Takes::Nothing,
            text: "send each line as a binary message; it need not be UTF-8",
        },
        Opt {
            names: &["--hex"],
            takes: Takes::Nothing,
            text: "binary messages are hex, in both directions",
        },
        Opt {
            names: &["--base64"],
            takes: Takes::Nothing,
            text: "binary messages are base64, in both directions",
        },
        Opt {
            names: &["--null", "-0"],
            takes: Takes::Nothing,
            text: "a zero byte ends a message, in both directions, instead of a line end",
        },
        Opt {
            names: &["--raw"],
            takes: Takes::Nothing,
            text: "nothing ends a message, in both directions: all of standard input is one \
                   message, and received messages are written with nothing behind them",
        },
    ],
};

static OUTPUT: Group = Group {
    title: "Output",
    options: &[
        Opt {
            names: &["--json"],
            takes: Takes::Nothing,
            text: "write each event as a JSON object on a line: time (seconds since 1970), kind \
                   (open, text, binary, close, error, reconnect), size in bytes, and data (of \
                   binary messages in base64)",
        },
        Opt {
            names: &["--quiet", "-q"],
            takes: Takes::Nothing,
            text: "write only errors to standard error",
        },
    ],
};

static CONNECTION: Group = Group {
    title: "Connection",
    options: &[
        Opt {
            names: &["--subprotocol", "-s"],
            takes: Takes::Value("NAME", Hint::Nothing),
            text: "offer this subprotocol; may be repeated, the preferred one first",
        },
        Opt {
            names: &["--origin", "-o"],
            takes: Takes::Value("ORIGIN", Hint::Nothing),
            text: "send this Origin",
        },
        Opt {
            names: &["--compress"],
            takes: Takes::Nothing,
            text: "offer to compress messages; not safe for secrets beside text that others choose \
                   (only in a build with the feature deflate)",
        },
        Opt {
            names: &["--ping-interval"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "ping the server when nothing has arrived for S seconds, and end the connection \
                   if it does not answer (20)",
        },
        Opt {
            names: &["--redirects", "-L"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "follow at most N redirects (0)",
        },
        Opt {
            names: &["--reconnect"],
            takes: Takes::Nothing,
            text: "connect again when the connection ends or cannot be opened: after 3 s, and after \
                   each failure twice as long, up to 1 min. What was sent before is not sent again",
        },
        Opt {
            names: &["--timeout"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "end after S seconds, with status 124",
        },
    ],
};

/// The form of binary messages in input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes themselves, not encoded.
    #[default]
    Raw,
    Hex,
    Base64,
}

/// How long the command waits after it has sent the last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until the command has received this many messages in all.
    Messages(u64),
    Time(Duration),
}

pub(super) struct ConnectArgs {
    network: NetworkArgs,
    request: RequestArgs,
    url: String,
    protocols: Vec<String>,
    redirects: Option<u32>,
    compress: bool,
    ping_interval: Option<Duration>,
    reconnect: bool,
    timeout: Option<Duration>,
    /// Whether input is sent as binary messages.
    binary: bool,
    form: Form,
    /// The byte that ends a message in a pipe.
    end: Option<u8>,
    execute: Vec<String>,
    wait: Option<Wait>,
    linger: Duration,
    max_messages: Option<u64>,
    json: bool,
    quiet: bool,
}

impl ConnectArgs {
    fn of_nothing() -> ConnectArgs {
        ConnectArgs {
            network: NetworkArgs::default(),
            request: RequestArgs::default(),
            url: String::new(),
            protocols: Vec::new(),
            redirects: None,
            compress: false,
            ping_interval: None,
            reconnect: false,
            timeout: None,
            binary: false,
            form: Form::Raw,
            end: Some(b'\n'),
            execute: Vec::new(),
            wait: None,
            linger: Duration::from_millis(500),
            max_messages: None,
            json: false,
            quiet: false,
        }
    }

    fn take(&mut self, given: Given) -> Result<(), Failure> {
        match given.name {
            "--execute" => self.execute.push(given.text()?),
            "--wait" => self.wait = Some(wait(&given.text()?)?),
            "--linger" => self.linger = given.seconds_or_none()?,
            "--max-messages" => self.max_messages = Some(given.count()? as u64),
            "--binary" => self.binary = true,
            "--hex" => (self.binary, self.form) = (true, Form::Hex),
            "--base64" => (self.binary, self.form) = (true, Form::Base64),
            "--null" => self.end = Some(0),
            "--raw" => self.end = None,
            "--json" => self.json = true,
            "--quiet" => self.quiet = true,
            "--subprotocol" => self.protocols.push(given.text()?),
            "--origin" => self.request.add("Origin", given.text()?),
            "--compress" => self.compress = true,
            "--ping-interval" => self.ping_interval = Some(given.seconds()?),
            "--redirects" => self.redirects = Some(given.parsed()?),
            "--reconnect" => self.reconnect = true,
            "--timeout" => self.timeout = Some(given.seconds()?),
            name => return Err(Failure::other(format!("{name} is described and not read"))),
        }
        Ok(())
    }
}

/// Reads `3` or `3s`.
fn wait(text: &str) -> Result<Wait, Failure> {
    let bad = || {
        let what = "a number of messages (3) or of seconds (3s)";
        Failure::usage(format!("--wait: \"{text}\" is not {what}"))
    };
    match text.strip_suffix('s') {
        Some(seconds) => {
            let seconds = seconds.parse().ok().filter(|s: &f64| *s >= 0.0);
            let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
            time.map(Wait::Time).ok_or_else(bad)
        }
        None => text.parse().ok().filter(|n| *n > 0).map(Wait::Messages).ok_or_else(bad),
    }
}

/// Parses the arguments after `connect`; `None` if they ask for help.
pub(super) fn parse(list: ArgList) -> Result<Option<Box<ConnectArgs>>, Failure> {
    let mut args = ConnectArgs::of_nothing();
    let url = list.one_url("-x", |given| {
        let Some(given) = args.network.take(given)? else { return Ok(()) };
        let Some(given) = args.request.take(given)? else { return Ok(()) };
        args.take(given)
    })?;
    let Some(url) = url else { return Ok(None) };
    args.url = url;
    args.network.tls.check()?;
    Ok(Some(Box::new(args)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_for_messages_or_for_seconds() {
        for (text, want) in [
            ("1", Some(Wait::Messages(1))),
            ("12", Some(Wait::Messages(12))),
            ("0s", Some(Wait::Time(Duration::ZERO))),
            ("1.5s", Some(Wait::Time(Duration::from_millis(1500)))),
            ("0", None),
            ("-1", None),
            ("s", None),
            ("-1s", None),
            ("1m", None),
            ("", None),
        ] {
            assert_eq!(wait(text).ok(), want, "{text}");
        }
    }
}
