//! `moonwire run`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::network::{self, NetworkArgs, RunFacts};
use super::options::{Arg, ArgList, Command, Given, Group, Hint, Opt, Takes};
use super::secrets::{self, Secret};
use super::signals;
use super::stdio::{Failure, Stderr, write_stderr};
use crate::luau::{self, HostFile, Io, Line, LineKind, Options, Progress, Runtime, Stopper};
use crate::net::sys::raise_open_files;
use crate::peer::{self, Running, Server};

pub(super) static COMMAND: Command = Command {
    name: "run",
    summary: "run a Luau script",
    usage: &["run [OPTIONS] FILE [ARGS...]", "run [OPTIONS] -e CODE [ARGS...]"],
    about: "Runs a Luau script until none of its threads can run again. FILE is a path, or - for \
            standard input; ARGS reach the script as `...` and in the table `args`. A script reads \
            standard input with io.lines and io.read, and writes with print, io.write and io.stderr.",
    groups: &[&SCRIPT, &network::NETWORK, &WAYS, &network::PROXY, &network::TLS],
    notes: "If the variable SSLKEYLOGFILE is set, the secrets of TLS connections are written to the \
            file that it names, for programs that show traffic.\n\n\
            Exit status: the number that a script passes to exit; otherwise 0 the script ended; 1 \
            it raised at top level (the run goes on until its other threads have ended), its main \
            thread waited for a signal of a connection that had ended (unless the script closed \
            it), bytes that it had sent did not leave, or output could not be written; 2 wrong \
            usage, or a file that cannot be read; 124 --timeout; 130 Ctrl-C; 143 SIGTERM. After \
            exit(0), bytes that did not leave are status 1, too.\n\n\
            If standard output cannot be written (a full disk), the run ends. If it is a pipe whose \
            reader has closed it, the run ends with status 0. If standard error cannot be written, \
            the run goes on.",
    operand: Hint::File,
};

static SCRIPT: Group = Group {
    title: "Script",
    options: &[
        Opt {
            names: &["--echo"],
            takes: Takes::Perhaps("ws|wss", Hint::OneOf(&["ws", "wss"])),
            text: "start an echo server on a free loopback port and pass its URL as first argument; \
                   wss: over TLS, with a certificate that only this run trusts",
        },
        Opt {
            names: &["--eval", "-e"],
            takes: Takes::Value("CODE", Hint::Nothing),
            text: "run CODE instead of a file; may be repeated, each CODE is then a line. All \
                   arguments after the options are ARGS",
        },
        Opt {
            names: &["--secret"],
            takes: Takes::Value("NAME=@FILE", Hint::Nothing),
            text: "define a secret: HttpService:GetSecret(NAME) returns the text of FILE without \
                   one line end at its end. Without this option, the variable MOONWIRE_SECRET_NAME \
                   is used",
        },
        Opt {
            names: &["--host"],
            takes: Takes::Value("studio|executor|FILE", Hint::File),
            text: "the environment of the script: that of a plugin in Studio, that of a script in \
                   an executor, or what a Luau file adds with the functions of `host`; may be \
                   repeated. Without it the only service is HttpService",
        },
        Opt {
            names: &["--player"],
            takes: Takes::Value("NAME[:ID]", Hint::Nothing),
            text: "name and UserId of Players.LocalPlayer in a host (Player1:-1)",
        },
        Opt {
            names: &["--place"],
            takes: Takes::Value("ID", Hint::Nothing),
            text: "PlaceId and GameId of game in a host (0)",
        },
        Opt {
            names: &["--also"],
            takes: Takes::Value("FILE", Hint::File),
            text: "run FILE as another script, with the same ARGS; may be repeated. Each script has \
                   its own globals",
        },
        Opt {
            names: &["--prefix"],
            takes: Takes::Nothing,
            text: "write the name of a script before each line that it prints and before each \
                   message about it; what it writes with io is unchanged",
        },
        Opt {
            names: &["--memory"],
            takes: Takes::Value("MIB", Hint::Nothing),
            text: "end the run when scripts and the texts of their secrets need more than MIB \
                   mebibytes. Bytes that wait to be sent are not counted: at most 16 MiB a \
                   connection",
        },
        Opt {
            names: &["--time-limit"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "raise an error in a script that runs for longer than S seconds without a pause; \
                   the threads that it starts meanwhile count",
        },
        Opt {
            names: &["--timeout"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "end the run after S seconds, with status 124",
        },
        Opt {
            names: &["--exit-timeout"],
            takes: Takes::Value("S", Hint::Nothing),
            text: "wait at most S seconds for sent bytes to leave when the script has ended; \
                   without this option, as long as bytes move",
        },
        Opt {
            names: &["--jit"],
            takes: Takes::Value("on|off|all", Hint::OneOf(&["on", "off", "all"])),
            text: "compile to native code: scripts that ask for it with --!native or @native (on, \
                   the default), none, or all. With --!native in the script, or with all, the \
                   runtime's own functions, too. On a platform without native code this has no \
                   effect",
        },
        Opt {
            names: &["--poll-thread"],
            takes: Takes::Nothing,
            text: "run the network on its own thread all the time",
        },
        Opt {
            names: &["--no-stand-in"],
            takes: Takes::Nothing,
            text: "start no thread that takes over the network while the script computes for longer \
                   than 20 ms; pings are not answered meanwhile",
        },
    ],
};

/// Options for the network that only scripts use.
static WAYS: Group = Group {
    title: "Network for scripts",
    options: &[
        Opt {
            names: &["--connections"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "connections at a time (8192)",
        },
        Opt {
            names: &["--stream-clients"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "WebStreamClients that may be unfinished at a time (6)",
        },
        Opt {
            names: &["--requests"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "HTTP calls (RequestAsync, GetAsync, PostAsync) in a minute (no limit); one more \
                   raises. Roblox allows 500",
        },
        Opt {
            names: &["--no-keep-alive"],
            takes: Takes::Nothing,
            text: "open a connection for each HTTP call, instead of keeping one for the next",
        },
        Opt {
            names: &["--opening"],
            takes: Takes::Value("N", Hint::Nothing),
            text: "opening handshakes at a time with one address (1, as RFC 6455 demands); the \
                   others wait, which does not count for --connect-timeout",
        },
        Opt {
            names: &["--compress"],
            takes: Takes::Nothing,
            text: "offer to compress the messages of WebSockets, unless the script sets its option \
                   Compress; not safe for secrets beside text that others choose (only in a build \
                   with the feature deflate)",
        },
        Opt {
            names: &["--compressed"],
            takes: Takes::Nothing,
            text: "ask the servers of streams (SSE, RawStream) for compressed responses and decode \
                   them; not safe for secrets beside text that others choose (only in a build with \
                   the feature deflate)",
        },
        Opt {
            names: &["--allow-script-proxy"],
            takes: Takes::Nothing,
            text: "let the script choose a proxy (option Proxy). With --deny-private the client \
                   resolves names itself (socks5://), unless a proxy that is given here resolves \
                   them",
        },
        Opt {
            names: &["--allow-unix"],
            takes: Takes::Nothing,
            text: "let the script connect to Unix sockets (ws+unix:/run/app.sock:/path)",
        },
    ],
};

/// The embedded server of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EchoKind {
    Plain,
    Tls,
}

/// The script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    File(PathBuf),
    Code(String),
}

impl Default for What {
    fn default() -> What {
        What::File(PathBuf::new())
    }
}

#[derive(Default)]
pub(super) struct RunArgs {
    pub(super) network: NetworkArgs,
    pub(super) echo: Option<EchoKind>,
    pub(super) secrets: Vec<Secret>,
    pub(super) stream_clients: Option<usize>,
    pub(super) connections: Option<usize>,
    /// The memory limit in MiB.
    pub(super) memory: Option<usize>,
    pub(super) time_limit: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) exit_timeout: Option<Duration>,
    pub(super) opening: Option<usize>,
    pub(super) script_proxy: bool,
    pub(super) compress: bool,
    /// Whether streams accept compressed responses.
    pub(super) compressed: bool,
    pub(super) unix_sockets: bool,
    pub(super) poll_thread: bool,
    pub(super) no_stand_in: bool,
    /// Scripts that run beside the main one.
    pub(super) also: Vec<PathBuf>,
    pub(super) prefix: bool,
    pub(super) no_keep_alive: bool,
    pub(super) jit: Option<Native>,
    pub(super) hosts: Vec<OsString>,
    pub(super) player: Option<(String, i64)>,
    pub(super) place: Option<u64>,
    /// How many HTTP calls scripts may send in a minute.
    pub(super) requests: Option<u32>,
    pub(super) what: What,
    pub(super) args: Vec<OsString>,
}

/// Parses the arguments after `run`; `None` if they ask for help.
pub(super) fn parse(mut list: ArgList) -> Result<Option<Box<RunArgs>>, Failure> {
    let mut run = RunArgs::default();
    loop {
        match list.next()? {
            Arg::End if matches!(run.what, What::Code(_)) => break,
            Arg::End => {
                return Err(Failure::usage("the script is missing; see moonwire run --help"));
            }
            Arg::Plain(arg) => {
                match &mut run.what {
                    What::File(file) => *file = arg.into(),
                    What::Code(_) => run.args.push(arg),
                }
                run.args.extend(list.rest());
                break;
            }
            Arg::Option(given) if given.name == "--help" => return Ok(None),
            Arg::Option(given) => {
                if let Some(given) = run.network.take(given)? {
                    run.take(given)?;
                }
            }
        }
    }
    run.network.tls.check()?;
    if run.network.tls.insecure && run.script_proxy {
        // A proxy would resolve `localhost` to itself.
        let text = "--insecure works only for connections to this machine, so it cannot be used \
                    with --allow-script-proxy";
        return Err(Failure::usage(text));
    }
    Ok(Some(Box::new(run)))
}

impl RunArgs {
    fn take(&mut self, given: Given) -> Result<(), Failure> {
        match given.name {
            "--echo" => self.echo = Some(echo_kind(given)?),
            "--eval" => {
                let text = given.text()?;
                self.what = What::Code(match &self.what {
                    What::Code(code) => format!("{code}\n{text}"),
                    What::File(_) => text,
                });
            }
            "--secret" => self.secrets.push(Secret::parse(&given.text()?)?),
            "--stream-clients" => self.stream_clients = Some(given.count()?),
            "--connections" => self.connections = Some(given.count()?),
            "--allow-script-proxy" => self.script_proxy = true,
            "--compress" => self.compress = true,
            "--compressed" => self.compressed = true,
            "--allow-unix" => self.unix_sockets = true,
            "--memory" => self.memory = Some(given.count()?),
            "--time-limit" => self.time_limit = Some(given.seconds()?),
            "--timeout" => self.timeout = Some(given.seconds()?),
            "--exit-timeout" => self.exit_timeout = Some(given.seconds()?),
            "--opening" => self.opening = Some(given.count()?),
            "--no-keep-alive" => self.no_keep_alive = true,
            "--jit" => self.jit = Some(jit(given)?),
            "--poll-thread" => self.poll_thread = true,
            "--no-stand-in" => self.no_stand_in = true,
            "--also" => self.also.push(given.path()),
            "--prefix" => self.prefix = true,
            "--host" => self.hosts.push(given.path().into_os_string()),
            "--player" => self.player = Some(player(&given.text()?)?),
            "--place" => self.place = Some(number("--place", &given.text()?)?),
            "--requests" => self.requests = Some(number("--requests", &given.text()?)?),
            name => return Err(Failure::other(format!("{name} is described and not read"))),
        }
        Ok(())
    }
}

/// Parses `NAME` or `NAME:ID`; without an ID, the ID is that of a test in Studio.
fn player(text: &str) -> Result<(String, i64), Failure> {
    let (name, id) = match text.rsplit_once(':') {
        Some((name, id)) => (name, number("--player", id)?),
        None => (text, -1),
    };
    if name.is_empty() {
        return Err(Failure::usage("--player NAME[:ID]: the name is missing"));
    }
    Ok((name.to_owned(), id))
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> Result<T, Failure> {
    let wrong = || Failure::usage(format!("{option}: {:?} is not a number in its range", text));
    text.parse().map_err(|_| wrong())
}

/// A host file of this crate, or a file of the user.
fn host(arg: &OsString) -> Result<HostFile, Failure> {
    if let Some(host) = arg.to_str().and_then(HostFile::named) {
        return Ok(host);
    }
    let file = Path::new(arg);
    let text = std::fs::read(file).map_err(|e| {
        let hosts = "studio and executor are built in, any other name is a file";
        Failure::usage(format!("--host {}: {e} ({hosts})", file.display()))
    })?;
    Ok(HostFile::new(&file.to_string_lossy(), text))
}

/// The values of `--jit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Native {
    On,
    Off,
    All,
}

fn jit(given: Given) -> Result<Native, Failure> {
    match given.text()?.as_str() {
        "on" => Ok(Native::On),
        "off" => Ok(Native::Off),
        "all" => Ok(Native::All),
        _ => Err(Failure::usage("--jit is on, off or all")),
    }
}

fn echo_kind(given: Given) -> Result<EchoKind, Failure> {
    match given.given().as_ref().map(|v| v.to_str()) {
        None | Some(Some("ws")) => Ok(EchoKind::Plain),
        Some(Some("wss")) => Ok(EchoKind::Tls),
        Some(_) => Err(Failure::usage("--echo is ws or wss")),
    }
}

pub(super) fn run(mut args: Box<RunArgs>) -> Result<u8, Failure> {
    raise_open_files();
    let mut scripts = Vec::new();
    match &args.what {
        What::File(file) => scripts.push((name(file), read(file)?)),
        // The text comes from `-e`, so errors name it `-e`.
        What::Code(code) => scripts.push(("-e".to_owned(), code.clone().into_bytes())),
    }
    for file in &args.also {
        scripts.push((name(file), read(file)?));
    }
    let server = args.echo.map(serve).transpose()?;
    if let Some(server) = &server {
        args.args.insert(0, server.url().into());
    }
    // Standard output may close while a script prints; `show` then has to stop the run.
    let stopper: Arc<OnceLock<Stopper>> = Arc::default();
    let its = Arc::clone(&stopper);
    let how = How { prefix: args.prefix, terminal: io::stdout().is_terminal() };
    let mut options = Options::new(move |line: Line<'_>| show(line, how, its.get()));
    let output = Out(Arc::clone(&stopper));
    let script_args = args.args.clone();
    configure(&mut options, &args);
    let facts = RunFacts {
        echo: server.as_ref().map(Running::address),
        echo_tls: args.echo == Some(EchoKind::Tls),
        script_proxy: args.script_proxy,
    };
    args.network.configure(options.config(), facts)?;
    let options = options
        .poll_thread(args.poll_thread)
        .stand_in(!args.no_stand_in)
        .exit_timeout(args.exit_timeout)
        .secrets(secrets::source(&args.secrets)?)
        .memory_limit(args.memory.map(|mib| mib.saturating_mul(1024 * 1024)))
        .time_limit(args.time_limit)
        .script_proxy(args.script_proxy)
        .unix_sockets(args.unix_sockets)
        .globals_per_script(!args.also.is_empty())
        .io(Io::new(io::stdin(), output, Unheard))
        .exit(true)
        .requests_per_minute(args.requests)
        .keep_alive(!args.no_keep_alive)
        .keep_freed_memory(true)
        .place(args.place.unwrap_or_default())
        .global("args", move |lua| list(lua, &script_args));
    let mut options = match &args.player {
        Some((name, id)) => options.player(name, *id),
        None => options,
    };
    for arg in &args.hosts {
        options = options.host(host(arg)?);
    }
    if args.compress {
        network::needs_compression("--compress")?;
    }
    if args.compressed {
        network::needs_compression("--compressed")?;
    }
    #[cfg(feature = "jit")]
    let options = options.jit(match args.jit {
        None | Some(Native::On) => {
            luau::Jit::of_script(scripts.first().map_or(&[][..], |(_, text)| text))
        }
        Some(Native::Off) => luau::Jit::Off,
        Some(Native::All) => luau::Jit::All,
    });
    #[cfg(not(feature = "jit"))]
    if !matches!(args.jit, None | Some(Native::Off)) {
        return Err(Failure::usage("--jit: this build does not have the feature jit"));
    }
    #[cfg(feature = "deflate")]
    let options = options
        .compression(args.compress.then(crate::proto::Compression::default))
        .decode(args.compressed);
    let mut runtime = Runtime::new(options).map_err(|e| Failure::other(e.to_string()))?;
    // Only this line sets it.
    let stopper = stopper.get_or_init(|| runtime.stopper()).clone();
    let close: signals::Close = Arc::new(move || stop(&stopper));
    signals::may_end(&close, args.timeout)?;
    match drive(&mut runtime, &args, &scripts) {
        Ok(Progress::Stopped) => signals::wait_for_exit(),
        Ok(_) => Ok(status(&runtime)),
        Err(e) => Err(Failure::other(e.to_string())),
    }
}

/// The exit status of a run that came to its end.
fn status(runtime: &Runtime) -> u8 {
    let failed = runtime.has_raised() || runtime.was_stranded();
    let code = runtime.exit_code().unwrap_or(failed.into());
    if code == 0 && runtime.lost() > 0 { 1 } else { code }
}

/// The arguments of the script, as a table that all scripts of the run share and cannot change.
fn list(lua: &mlua::Lua, script_args: &[OsString]) -> mlua::Result<mlua::Table> {
    let script_args = script_args.iter().map(|arg| lua.create_string(arg.as_encoded_bytes()));
    let list = lua.create_sequence_from(script_args.collect::<mlua::Result<Vec<_>>>()?)?;
    list.set_readonly(true);
    Ok(list)
}

fn drive(
    runtime: &mut Runtime,
    args: &RunArgs,
    scripts: &[(String, Vec<u8>)],
) -> Result<Progress, luau::Error> {
    let script_args: mlua::Variadic<mlua::LuaString> = args
        .args
        .iter()
        .map(|arg| runtime.lua().create_string(arg.as_encoded_bytes()))
        .collect::<mlua::Result<_>>()?;
    for (name, text) in scripts {
        // A script before this one may have ended the run.
        if runtime.exit_code().is_none() {
            runtime.spawn(name, text, script_args.clone())?;
        }
    }
    runtime.run()
}

/// The name of a script in errors.
fn name(file: &Path) -> String {
    if file == Path::new("-") { "stdin".into() } else { file.to_string_lossy().into_owned() }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut text).map(drop)
    } else {
        std::fs::read(file).map(|bytes| text = bytes)
    };
    read.map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
    Ok(text)
}

fn serve(kind: EchoKind) -> Result<Running, Failure> {
    let any = ([127, 0, 0, 1], 0).into();
    let server = match kind {
        EchoKind::Plain => Server::bind(any),
        EchoKind::Tls => Server::bind_tls(any, peer::CHAIN_PEM, peer::KEY_PEM),
    };
    let running = server.and_then(Server::spawn);
    running.map_err(|e| Failure::other(format!("the echo server cannot start: {e}")))
}

fn configure(options: &mut Options, args: &RunArgs) {
    let limits = &mut options.config().limits;
    if let Some(most) = args.opening {
        limits.opening_per_peer = most;
    }
    if let Some(most) = args.stream_clients {
        limits.stream_clients = most;
    }
    if let Some(most) = args.connections {
        limits.connections = most;
    }
}

/// How lines are shown.
#[derive(Clone, Copy)]
struct How {
    /// Whether the name of the script stands before each line.
    prefix: bool,
    /// Whether standard output is a terminal.
    terminal: bool,
}

/// Writes what scripts print to standard output, and everything else to standard error.
fn show(line: Line<'_>, how: How, stopper: Option<&Stopper>) {
    let script = line.script.filter(|_| how.prefix);
    let LineKind::Print = line.kind else {
        let text = line.to_string();
        return write_stderr(&match script {
            Some(script) => format!("{script}: {}", text.replace('\n', &format!("\n{script}: "))),
            None => text,
        });
    };
    let bytes = if how.terminal { readable(line.bytes) } else { Cow::Borrowed(line.bytes) };
    // The text and its line end are written at once.
    let mut text = Vec::with_capacity(bytes.len() + 1);
    match script {
        // The name stands before each line of the text, so that a script cannot imitate another.
        Some(script) => {
            for part in bytes.split(|byte| *byte == b'\n') {
                for part in [script.as_bytes(), b": ", part, b"\n"] {
                    text.extend_from_slice(part);
                }
            }
        }
        None => {
            text.extend_from_slice(&bytes);
            text.push(b'\n');
        }
    }
    if let Err(e) = io::stdout().lock().write_all(&text) {
        end(&e, stopper);
    }
}

/// Escapes the bytes that are not UTF-8: a terminal might interpret them as control sequences.
fn readable(bytes: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(bytes).is_ok() {
        return Cow::Borrowed(bytes);
    }
    let mut text = Vec::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.extend(chunk.invalid().escape_ascii());
    }
    Cow::Owned(text)
}

/// Ends the run after a write error, as other commands do: all further output would be lost, too.
fn end(e: &io::Error, stopper: Option<&Stopper>) -> ! {
    let status = if e.kind() == ErrorKind::BrokenPipe {
        // The reader of standard output, such as `head`, has closed it.
        0
    } else {
        let Failure { status, text } = Failure::output(e);
        write_stderr(&format!("moonwire: {text}"));
        status
    };
    if let Some(stopper) = stopper {
        stop(stopper);
    }
    std::process::exit(status.into());
}

/// Closes all connections, and reports how many bytes that loses.
fn stop(stopper: &Stopper) {
    let lost = stopper.stop(1001, signals::PATIENCE);
    if lost > 0 {
        write_stderr(&format!("warning: {lost} bytes that were sent did not leave"));
    }
}

/// Standard output for `io.write`.
struct Out(Arc<OnceLock<Stopper>>);

impl Out {
    fn written<T>(&self, done: io::Result<T>) -> io::Result<T> {
        match done {
            Err(e) if e.kind() != ErrorKind::Interrupted => end(&e, self.0.get()),
            done => done,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.written(io::stdout().flush())
    }
}

/// Standard error for `io.stderr`; the run continues if it cannot be written.
struct Unheard;

impl Write for Unheard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // `Stderr` records a failure.
        let _ = Stderr.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_no_bytes_that_are_no_text() {
        for (bytes, shown) in [
            (&b"plain \xc3\xa9\n"[..], &b"plain \xc3\xa9\n"[..]),
            (b"a\xffb", b"a\\xffb"),
            (b"\xc3\xa9\xc3", b"\xc3\xa9\\xc3"),
            // A control sequence that begins with a single byte, CSI.
            (b"\x9b2J", b"\\x9b2J"),
            (b"", b""),
        ] {
            assert_eq!(readable(bytes), shown);
        }
    }
}
