//! `moonwire stream`: one HTTP request, whose response is written while it arrives.

use std::fs::File;
use std::io::{self, ErrorKind as IoKind, IsTerminal as _, Write};
use std::sync::Arc;
use std::time::Duration;

use super::network::{self, NetworkArgs, RunFacts};
use super::options::{ArgList, Command, Given, Group, Hint, Opt, Takes};
use super::request::{self, RequestArgs};
use super::show::{json, printable, since_1970};
use super::signals;
use super::stdio::{Failure, write_stderr};
use crate::error::{Error, Stage};
use crate::net::{Config, EventSource, Incoming, Piece, StreamOptions};
use crate::proto::http::{Delivery, Response};
use crate::proto::sse;

pub(super) static COMMAND: Command = Command {
    name: "stream",
    summary: "read an HTTP stream or its events",
    usage: &["stream [OPTIONS] URL"],
    about: "Sends a request over HTTP/1.1 and writes the body of the response to standard output as \
            it arrives: event streams (SSE), responses of language models, logs. Redirects are \
            followed.",
    groups: &[&ANSWER, &ASK, &request::REQUEST, &network::NETWORK, &network::PROXY, &network::TLS],
    notes: "Exit status: 0 the response is complete; 1 it was cut, was not an event stream, or \
            could not be written; 2 wrong usage; 3 no response came; 22 --fail; 124 --timeout; 130 \
            Ctrl-C; 143 SIGTERM.",
    operand: Hint::Nothing,
};

static ASK: Group = Group {
    title: "Request",
    options: &[
        Opt {
            names: &["--method", "-X"],
            takes: Takes::Value("METHOD", Hint::Nothing),
            text: "use this method (GET, or POST with --data)",
        },
        Opt {
            names: &["--data", "-d"],
            takes: Takes::Value("TEXT", Hint::Nothing),
            text: "send this body; @FILE: the bytes of FILE; @- or -: standard input, sent as it \
                   arrives. No Content-Type is set: -H sets it",
        },
        Opt {
            names: &["--compressed"],
            takes: Takes::Nothing,
            text: "ask for a compressed response and decode it; not safe for secrets beside text that \
                   others choose (only in a build with the feature deflate)",
        },
        Opt {
            names: &["--redirects", "-L"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "follow at most N redirects (10)",
        },
        Opt {
            names: &["--timeout"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "end after S seconds, with status 124",
        },
    ],
};

static ANSWER: Group = Group {
    title: "Response",
    options: &[
        Opt {
            names: &["--events", "-e"],
            takes: Takes::Nothing,
            text: "read the response as an event stream, and write each event as its fields: id, \
                   event (unless it is message), data, and an empty line",
        },
        Opt {
            names: &["--json"],
            takes: Takes::Nothing,
            text: "write each event as a JSON object on a line (needs --events): time (seconds \
                   since 1970), event, data, id",
        },
        Opt {
            names: &["--reconnect"],
            takes: Takes::Nothing,
            text: "send the request again, with Last-Event-ID, when the stream ends or is lost or \
                   the status is 429 or 503 (needs --events): after the time that the server has \
                   set (3 s), and after each failure later",
        },
        Opt {
            names: &["--max-events", "-n"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "end after N events (needs --events)",
        },
        Opt {
            names: &["--fail", "-f"],
            takes: Takes::Nothing,
            text: "exit with status 22 if the status of the response is 400 or more; its body goes \
                   to standard error",
        },
        Opt {
            names: &["--include", "-i"],
            takes: Takes::Nothing,
            text: "write the status and the header fields of the response first",
        },
    ],
};

#[derive(Default)]
pub(super) struct StreamArgs {
    network: NetworkArgs,
    request: RequestArgs,
    url: String,
    method: Option<String>,
    data: Option<String>,
    compressed: bool,
    redirects: Option<u32>,
    timeout: Option<Duration>,
    events: bool,
    json: bool,
    reconnect: bool,
    max_events: Option<usize>,
    fail: bool,
    include: bool,
}

impl StreamArgs {
    fn take(&mut self, given: Given) -> Result<(), Failure> {
        match given.name {
            "--method" => self.method = Some(given.text()?),
            "--data" => self.data = Some(given.text()?),
            "--compressed" => self.compressed = true,
            "--redirects" => self.redirects = Some(given.parsed()?),
            "--timeout" => self.timeout = Some(given.seconds()?),
            "--events" => self.events = true,
            "--json" => self.json = true,
            "--reconnect" => self.reconnect = true,
            "--max-events" => self.max_events = Some(given.count()?),
            "--fail" => self.fail = true,
            "--include" => self.include = true,
            name => return Err(Failure::other(format!("{name} is described and not read"))),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        let needs = [
            (self.json, "--json"),
            (self.reconnect, "--reconnect"),
            (self.max_events.is_some(), "--max-events"),
        ];
        match needs.iter().find(|(given, _)| *given && !self.events) {
            Some((_, name)) => Err(Failure::usage(format!("{name} needs --events, too"))),
            None => self.network.tls.check(),
        }
    }
}

/// Parses the arguments after `stream`; `None` if they ask for help.
pub(super) fn parse(list: ArgList) -> Result<Option<Box<StreamArgs>>, Failure> {
    let mut args = StreamArgs::default();
    let url = list.one_url("--data", |given| {
        let Some(given) = args.network.take(given)? else { return Ok(()) };
        let Some(given) = args.request.take(given)? else { return Ok(()) };
        args.take(given)
    })?;
    let Some(url) = url else { return Ok(None) };
    args.url = url;
    args.check()?;
    Ok(Some(Box::new(args)))
}

fn options(args: &StreamArgs) -> Result<StreamOptions, Failure> {
    let bad = |e: Error| Failure::usage(e.to_string());
    let given = args.method.as_deref();
    let method = given.unwrap_or(if args.data.is_some() { "POST" } else { "GET" });
    let mut options = StreamOptions::new(method, &args.url).map_err(bad)?;
    options = args.request.put(
        options,
        |options, name, value| options.header(name, value),
        |options, name, value| options.secret_header(name, value),
    )?;
    options = match args.data.as_deref() {
        None => options,
        Some("-" | "@-") => options.body_from(io::stdin(), None).map_err(bad)?,
        Some(text) => match text.strip_prefix('@') {
            None => options.body(text).map_err(bad)?,
            Some(name) => {
                let bad_file = |e: io::Error| Failure::usage(format!("--data: {name}: {e}"));
                let file = File::open(name).map_err(bad_file)?;
                let about = file.metadata().map_err(bad_file)?;
                // Only a file has a known length; a pipe or a device is read to its end.
                options.body_from(file, about.is_file().then_some(about.len())).map_err(bad)?
            }
        },
    };
    if args.events {
        options = options.delivery(Delivery::Events);
    }
    if args.compressed {
        network::needs_compression("--compressed")?;
    }
    #[cfg(feature = "deflate")]
    let options = options.decode(args.compressed);
    Ok(options)
}

/// Why the command ends before the response does.
enum Ended {
    Error(Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

impl From<Error> for Ended {
    fn from(e: Error) -> Ended {
        Ended::Error(e)
    }
}

impl From<io::Error> for Ended {
    fn from(e: io::Error) -> Ended {
        Ended::Output(e)
    }
}

/// `moonwire stream`.
pub(super) fn stream(args: &StreamArgs) -> Result<u8, Failure> {
    let mut config = Config::default();
    args.network.configure(&mut config, RunFacts::default())?;
    if let Some(most) = args.redirects {
        config.limits.redirects = most;
    }
    let options = options(args)?;
    // An HTTP server expects no closing handshake: the connection ends with the process.
    let close: signals::Close = Arc::new(|| {});
    signals::may_end(&close, args.timeout)?;
    let done = match args.events {
        true => events(args, options, config),
        false => body(args, options, config),
    };
    match done {
        Ok(status) => Ok(status),
        // The reader of standard output, such as `head`, has closed it: it needs no more.
        Err(Ended::Output(e)) if e.kind() == IoKind::BrokenPipe => Ok(0),
        Err(Ended::Output(e)) => Err(Failure::output(&e)),
        Err(Ended::Error(e)) => {
            if let Some(response) = e.response()
                && args.fail
                && response.status >= 400
            {
                refused(response, &response.body);
                return Ok(22);
            }
            let status = match e.stage() {
                Stage::Body => 1,
                _ if e.status().is_some() => 1,
                _ => 3,
            };
            Err(Failure { status, text: e.to_string() })
        }
    }
}

/// Reports a response that is an error under `--fail`.
fn refused(response: &Response, body: &[u8]) {
    let reason = printable(&response.reason);
    write_stderr(&format!("moonwire: the response is {} {reason}", response.status));
    let _ = match io::stderr().is_terminal() {
        true => io::stderr().write_all(shown_lines(body).as_bytes()),
        false => io::stderr().write_all(body),
    };
}

fn head(response: &Response, shown: bool) -> String {
    let reason = if shown { printable(&response.reason) } else { response.reason.to_string() };
    let mut text = format!("HTTP/1.1 {} {reason}\n", response.status);
    for (name, value) in response.headers.iter() {
        let value = String::from_utf8_lossy(value);
        let value = if shown { printable(&value) } else { value.into_owned() };
        text += &format!("{name}: {value}\n");
    }
    text + "\n"
}

fn body(args: &StreamArgs, options: StreamOptions, config: Config) -> Result<u8, Ended> {
    let mut stream = options.open_with(config)?;
    let mut out = io::stdout();
    let shown = out.is_terminal();
    let is_refused = args.fail && stream.response().status >= 400;
    if is_refused {
        refused(stream.response(), b"");
    } else if args.include {
        out.write_all(head(stream.response(), shown).as_bytes())?;
    }
    let mut cut = Vec::new();
    // The body of a refused response goes to standard error, and an error of writing it there is
    // ignored.
    let mut write = |bytes: &[u8]| match is_refused {
        true => {
            let _ = io::stderr().write_all(bytes);
            Ok(())
        }
        false => out.write_all(bytes).and_then(|()| out.flush()),
    };
    let is_shown = if is_refused { io::stderr().is_terminal() } else { shown };
    while let Some(piece) = stream.read()? {
        match is_shown {
            true => write(shown_piece(&mut cut, &piece).as_bytes())?,
            false => write(&piece)?,
        }
    }
    write(shown_lines(&cut).as_bytes())?;
    Ok(if is_refused { 22 } else { 0 })
}

/// The part of a piece that can be written to a terminal. An incomplete character or line end stays
/// in `cut`.
fn shown_piece(cut: &mut Vec<u8>, piece: &[u8]) -> String {
    cut.extend_from_slice(piece);
    let is_cut = |tail: &[u8]| match std::str::from_utf8(tail) {
        Ok(text) => text == "\r",
        Err(e) => e.valid_up_to() == 0 && e.error_len().is_none(),
    };
    let last = (1..=cut.len().min(3)).find(|n| is_cut(&cut[cut.len() - n..])).unwrap_or(0);
    let rest = cut.split_off(cut.len() - last);
    shown_lines(&std::mem::replace(cut, rest))
}

/// Text for a terminal: lines and tabs stay, other control characters become escapes.
fn shown_lines(piece: &[u8]) -> String {
    let text = String::from_utf8_lossy(piece);
    let lines: Vec<String> =
        text.split('\n').map(|line| printable(line.trim_end_matches('\r'))).collect();
    lines.join("\n")
}

fn events(args: &StreamArgs, options: StreamOptions, config: Config) -> Result<u8, Ended> {
    let mut count = 0;
    let shown = io::stdout().is_terminal();
    let mut report = |event: &sse::Event| -> io::Result<bool> {
        let text = match args.json {
            true => object(event, since_1970()),
            false => fields(event, shown),
        };
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        count += 1;
        Ok(args.max_events.is_some_and(|most| count >= most))
    };
    if !args.reconnect {
        let mut stream = options.open_with(config)?;
        if args.include {
            io::stdout().write_all(head(stream.response(), shown).as_bytes())?;
        }
        loop {
            match stream.read_timeout(Duration::MAX)? {
                Piece::Event(event) if report(&event)? => return Ok(0),
                Piece::End => return Ok(0),
                _ => {}
            }
        }
    }
    let source = EventSource::new(options).config(config);
    let mut source = source.reconnect(true).reconnect_when_refused(true);
    loop {
        match source.next_timeout(Duration::MAX)? {
            Incoming::Event(event) if report(&event)? => return Ok(0),
            Incoming::Closed => return Ok(0),
            Incoming::Reconnecting { after } => {
                let why =
                    source.last_error().map_or("the stream has ended".into(), ToString::to_string);
                write_stderr(&format!(
                    "{why}; sending the request again in {:.1} s",
                    after.as_secs_f64()
                ));
            }
            _ => {}
        }
    }
}

/// Formats an event as a server sends it in an event stream.
fn fields(event: &sse::Event, shown: bool) -> String {
    let safe = |text: &str| if shown { printable(text) } else { text.to_owned() };
    let mut text = String::new();
    if !event.id.is_empty() {
        text += &format!("id: {}\n", safe(&event.id));
    }
    if event.event != "message" {
        text += &format!("event: {}\n", safe(&event.event));
    }
    for line in event.data.split('\n') {
        text += &format!("data: {}\n", safe(line));
    }
    text + "\n"
}

fn object(event: &sse::Event, time: f64) -> String {
    let (kind, data, id) = (json(&event.event), json(&event.data), json(&event.id));
    format!("{{\"time\":{time:.3},\"event\":{kind},\"data\":{data},\"id\":{id}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &'static str, data: &str, id: &str) -> sse::Event {
        sse::Event { event: event.into(), data: data.into(), id: id.into(), retry: None }
    }

    #[test]
    fn a_piece_is_shown_however_it_is_cut() {
        let text = "é日🙂\r\n\x1b[m\rx\r".as_bytes();
        let bad = [b"\xe6a\xff\xf0\x9f".as_slice(), text].concat();
        for all in [text, &bad] {
            let want = shown_lines(all);
            assert!(!want.contains('\x1b'));
            for size in 1..=all.len() {
                let mut cut = Vec::new();
                let mut shown: String =
                    all.chunks(size).map(|piece| shown_piece(&mut cut, piece)).collect();
                assert!(cut.len() <= 3);
                shown += &shown_lines(&cut);
                assert_eq!(shown, want, "{size}");
            }
        }
    }

    #[test]
    fn an_event_is_written_as_a_stream_has_it() {
        for (event, raw, object) in [
            (event("message", "a", ""), "data: a\n\n", r#""event":"message","data":"a","id":"""#),
            (
                event("x", "a\nb\u{1b}[m", "1"),
                "id: 1\nevent: x\ndata: a\ndata: b\u{1b}[m\n\n",
                r#""event":"x","data":"a\nb\u001b[m","id":"1""#,
            ),
        ] {
            assert_eq!(fields(&event, false), raw);
            assert_eq!(super::object(&event, 1.0), format!("{{\"time\":1.000,{object}}}\n"));
            assert!(!fields(&event, true).contains('\u{1b}'));
        }
    }
}
