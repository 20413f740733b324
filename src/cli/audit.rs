//! `moonwire audit`.

use std::io::{ErrorKind, Write as _};
use std::time::{Duration, Instant};

use super::network::{self, NetworkArgs};
use super::options::{Arg, ArgList, Command, Group, Hint, Opt, Takes, shown};
use super::request::{self, RequestArgs};
use super::stdio::{Failure, write_stderr, write_stdout};
use super::tls;
use crate::audit::{self, About, Finding, Options, Stop, Summary};
use crate::error::Error;
use crate::net;
use crate::proto::Url;

pub(super) static COMMAND: Command = Command {
    name: "audit",
    summary: "check how your server keeps RFC 6455",
    usage: &["audit [OPTIONS] URL", "audit --list"],
    about: "Connects to your server and reports how it keeps RFC 6455, and RFC 7692 if it \
            compresses: a line for each check with the verdict, the section of the RFC, the name of \
            the check and what the server did. Nearly every check opens a connection, one at a \
            time, and sends what any client may send. No proxy is used, even if the variables name \
            one.\n\n\
            Verdicts: ok; fault, the server broke the rule; notice, the RFC leaves the choice to \
            the server; skipped, with the reason. A server that echoes every message lets the audit \
            see the most.",
    groups: &[&AUDIT, &request::REQUEST, &network::TLS],
    notes: "Exit status: 0 no fault, 1 at least one, 2 wrong usage, 3 no WebSocket could be opened, \
            124 --timeout.",
    operand: Hint::Nothing,
};

static AUDIT: Group = Group {
    title: "Audit",
    options: &[
        Opt {
            names: &["--hostile"],
            takes: Takes::Nothing,
            text: "also send broken frames and requests, which no client may send, and check \
                   whether the server refuses them. Connects to loopback addresses only: run it on \
                   the server's machine",
        },
        Opt {
            names: &["--only"],
            takes: Takes::Value("NAME", Hint::Nothing),
            text: "make only this check; may be repeated",
        },
        Opt {
            names: &["--list"],
            takes: Takes::Nothing,
            text: "print the name of each check and what it shows, without connecting",
        },
        Opt {
            names: &["--json"],
            takes: Takes::Nothing,
            text: "print each result as a JSON object on a line",
        },
        Opt {
            names: &["--resolve"],
            takes: Takes::Value("HOST:PORT:ADDRESS[:PORT]", Hint::Nothing),
            text: "connect to ADDRESS for HOST:PORT; TLS still expects HOST",
        },
        Opt {
            names: &["--patience"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "time within which the server has to answer (5)",
        },
        Opt {
            names: &["--idle"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "time without traffic in which the server may send a ping (2)",
        },
        Opt {
            names: &["--timeout"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "end the audit after S seconds, with status 124",
        },
    ],
};

#[derive(Default)]
pub(super) struct AuditArgs {
    network: NetworkArgs,
    url: Option<Url>,
    hostile: bool,
    only: Vec<String>,
    list: bool,
    json: bool,
    request: RequestArgs,
    patience: Option<Duration>,
    idle: Option<Duration>,
    timeout: Option<Duration>,
}

/// Parses the arguments after `audit`; `None` if they ask for help.
pub(super) fn parse(mut list: ArgList) -> Result<Option<Box<AuditArgs>>, Failure> {
    let mut args = Box::<AuditArgs>::default();
    loop {
        match list.next()? {
            Arg::End => break,
            Arg::Plain(arg) if args.url.is_none() => {
                let text = arg.to_str().unwrap_or_default();
                let url = Url::parse(text);
                args.url = Some(url.map_err(|e| Failure::usage(format!("{}: {e}", shown(&arg))))?);
            }
            Arg::Plain(arg) => {
                let text = format!("audit takes one URL; {} is one too many", shown(&arg));
                return Err(Failure::usage(text));
            }
            Arg::Option(given) => {
                let Some(given) = args.network.take(given)? else { continue };
                let Some(given) = args.request.take(given)? else { continue };
                match given.name {
                    "--hostile" => args.hostile = true,
                    "--only" => args.only.push(given.text()?),
                    "--list" => args.list = true,
                    "--json" => args.json = true,
                    "--patience" => args.patience = Some(given.seconds()?),
                    "--idle" => args.idle = Some(given.seconds()?),
                    "--timeout" => args.timeout = Some(given.seconds()?),
                    _ => return Ok(None),
                }
            }
        }
    }
    if args.url.is_none() && !args.list {
        return Err(Failure::usage("the URL is missing; see moonwire audit --help"));
    }
    args.network.tls.check()?;
    Ok(Some(args))
}

/// The fields of every request. A field that a client sets itself is an error.
fn headers(args: &RequestArgs) -> Result<Vec<(String, String)>, Failure> {
    type Taken = (net::Options, Vec<(String, String)>);
    let take = |(options, mut all): Taken, name: &str, value: &str| {
        let options = options.header(name, value)?;
        all.push((name.to_owned(), value.to_owned()));
        Ok::<Taken, Error>((options, all))
    };
    let none = net::Options::new("ws://localhost/").map_err(|e| Failure::other(e.reason()))?;
    Ok(args.put((none, Vec::new()), take, take)?.1)
}

pub(super) fn audit(args: Box<AuditArgs>) -> Result<u8, Failure> {
    let Some(url) = args.url.clone().filter(|_| !args.list) else {
        return list(args.json).map(|()| 0);
    };
    let mut options = Options::new(url);
    options.until = args.timeout.and_then(|time| Instant::now().checked_add(time));
    options.tls = tls::destination_tls(&args.network.tls, false)?;
    tls::warn(&args.network.tls);
    if args.network.tls.insecure {
        options.policy = options.policy.and(tls::stays_here);
    }
    options.patience = args.patience.unwrap_or(options.patience);
    options.idle = args.idle.unwrap_or(options.idle);
    options.hostile = args.hostile;
    options.only.clone_from(&args.only);
    options.headers = headers(&args.request)?;
    options.resolve.clone_from(&args.network.resolve);
    let mut lost = None;
    let done = audit::run(&options, &mut |finding| {
        let line = if args.json { finding.to_json() } else { finding.to_string() };
        lost = print(&line).err();
        lost.is_none()
    });
    match (done, lost) {
        // The reader of standard output, such as `head`, has closed it: it needs no more.
        (Ok(summary), Some(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(status(summary)),
        (_, Some(e)) => Err(Failure::output(&e)),
        (Ok(summary), None) => {
            if !args.json {
                write_stdout(&format!("{summary}\n"))?;
            }
            Ok(status(summary))
        }
        (Err(Stop::Usage(text)), _) => Err(Failure::usage(text)),
        (Err(Stop::Connect(text)), _) => Err(Failure { status: 3, text }),
        (Err(Stop::Timeout), _) => {
            write_stderr(
                "moonwire: --timeout: the audit is not complete; the remaining checks were not made",
            );
            Ok(124)
        }
    }
}

fn status(summary: Summary) -> u8 {
    u8::from(summary.faults > 0)
}

fn print(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn list(json: bool) -> Result<(), Failure> {
    let text: String = audit::checks().map(|about| entry(about, json)).collect();
    write_stdout(&text)
}

fn entry(about: &About, json: bool) -> String {
    let About { name, section, kind, proves } = about;
    if json {
        return format!("{}\n", about.to_json());
    }
    let section = Finding::short(section);
    format!("{:<7}  {section:<17}  {name:<27}  {proves}\n", kind.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_belong_to_the_client_are_refused() {
        let with = |name: &str| {
            let mut args = RequestArgs::default();
            args.add(name, "hunter2".to_owned());
            headers(&args).map_err(|failure| failure.text)
        };
        assert_eq!(with("X-Own"), Ok(vec![("X-Own".to_owned(), "hunter2".to_owned())]));
        for name in ["Upgrade", "a b", "Sec-WebSocket-Key"] {
            let text = with(name).unwrap_err();
            assert!(text.contains(name) && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn every_check_is_in_the_list() {
        for about in audit::checks() {
            let (line, json) = (entry(about, false), entry(about, true));
            assert!(line.contains(about.name) && line.contains(about.proves), "{line}");
            assert!(json.starts_with("{\"check\":") && json.ends_with("}\n"), "{json}");
        }
    }
}
