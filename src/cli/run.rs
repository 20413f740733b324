//! `moonwire run`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::args::{EchoKind, RunArgs};
use super::proxy::Proxies;
use super::tell::{Complaints, Failure, complain};
use super::{secrets, signals, tls};
use crate::luau::{self, Line, LineKind, Options, Progress, Runtime, Stopper};
use crate::net::sys::raise_open_files;
use crate::peer::{self, Running, Server};
use crate::policy::Policy;
use crate::proto::Host;
use crate::trace::Lines;

/// Strings of scripts come and go by the megabyte. Where glibc allocates, what is freed at the end of
/// its heap goes back to the system from 128 KiB on, and comes again page by page; a block that was
/// large enough to be mapped by itself, and is freed, moves that bound to twice its size. It is not
/// touched, so it costs two system calls and no memory. Elsewhere it does nothing. A process of an
/// embedder is left as it is.
fn keep_freed_memory() {
    const BLOCK: usize = 16 * 1024 * 1024;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

pub(super) fn run(mut args: Box<RunArgs>) -> Result<u8, Failure> {
    raise_open_files();
    keep_freed_memory();
    let mut scripts = Vec::new();
    for file in [&args.file].into_iter().chain(&args.also) {
        scripts.push((name(file), read(file)?));
    }
    let server = args.echo.map(serve).transpose()?;
    if let Some(server) = &server {
        args.args.insert(0, server.url().into());
    }
    // Standard output may close while a script prints, and then the run has to be stopped.
    let stopper: Arc<OnceLock<Stopper>> = Arc::default();
    let its = Arc::clone(&stopper);
    let prefix = args.prefix;
    let mut options = Options::new(move |line: Line<'_>| show(line, prefix, its.get()));
    configure(&mut options, &args)?;
    tls::warn(&args.tls);
    let echo = server.as_ref().map(Running::address);
    let mut proxies = Proxies::new(&args.proxies, variable)?;
    if args.script_proxy || proxies.have_tls() {
        options.config().proxy_tls = tls::proxy_tls(&args.tls)?;
    }
    if proxies.are_none() && !args.proxies.headers.is_empty() {
        complain("moonwire: --proxy-header: no proxy is set, so nobody is sent it");
    }
    if let Some(echo) = echo {
        proxies.except(echo);
    }
    if args.tls.insecure {
        // What is not verified has to be this machine, not the proxy's.
        proxies.except_for("localhost, 127.0.0.0/8, ::1");
    }
    let mut rules = proxies.trusted(policy(&args, echo));
    match proxies.resolves() {
        _ if !args.deny_private => {}
        Some(proxy) => complain(&format!(
            "moonwire: --deny-private: {proxy} resolves names itself, so of these only what is private by \
             its name is denied; socks5:// has them resolved, and looked at, here"
        )),
        // A script that may choose a proxy does not get around that: socks5h:// to the trusted
        // socks5:// would.
        None => rules = rules.and(super::proxy::resolves_here),
    }
    options.config().policy = rules;
    options.config().proxy = proxies.rules;
    let options = options
        .poll_thread(args.poll_thread)
        .stand_in(!args.no_stand_in)
        .exit_timeout(args.exit_timeout)
        .secrets(secrets::source(&args.secrets)?)
        .memory_limit(args.memory.map(|mib| mib.saturating_mul(1024 * 1024)))
        .time_limit(args.time_limit)
        .script_proxy(args.script_proxy)
        .unix_sockets(args.unix_sockets)
        .globals_per_script(!args.also.is_empty());
    let options = if args.compress { compressing(options)? } else { options };
    let options = if args.compressed { decoding(options)? } else { options };
    let mut runtime = Runtime::new(options).map_err(|e| Failure::other(e.to_string()))?;
    // The one place that sets it.
    let stopper = stopper.get_or_init(|| runtime.stopper()).clone();
    signals::listen(stopper.clone()).map_err(|e| Failure::other(format!("signals: {e}")))?;
    if let Some(limit) = args.timeout {
        signals::end_after(limit, stopper)
            .map_err(|e| Failure::other(format!("--timeout: {e}")))?;
    }
    match drive(&mut runtime, &args, &scripts) {
        Ok(Progress::Stopped) => signals::wait_for_exit(),
        Ok(_) => Ok(u8::from(runtime.has_raised() || runtime.lost() > 0)),
        Err(e) => Err(Failure::other(e.to_string())),
    }
}

#[cfg(feature = "deflate")]
fn compressing(options: Options) -> Result<Options, Failure> {
    Ok(options.compression(Some(crate::proto::Compression::default())))
}

#[cfg(not(feature = "deflate"))]
fn compressing(_: Options) -> Result<Options, Failure> {
    Err(Failure::usage("--compress: this build has no compression (feature deflate)"))
}

#[cfg(feature = "deflate")]
fn decoding(options: Options) -> Result<Options, Failure> {
    Ok(options.decode(true))
}

#[cfg(not(feature = "deflate"))]
fn decoding(_: Options) -> Result<Options, Failure> {
    Err(Failure::usage("--compressed: this build has no compression (feature deflate)"))
}

fn drive(
    runtime: &mut Runtime,
    args: &RunArgs,
    scripts: &[(String, Vec<u8>)],
) -> Result<Progress, luau::Error> {
    let words: mlua::Variadic<mlua::LuaString> = args
        .args
        .iter()
        .map(|word| runtime.lua().create_string(word.as_encoded_bytes()))
        .collect::<mlua::Result<_>>()?;
    for (name, text) in scripts {
        runtime.spawn(name, text, words.clone())?;
    }
    runtime.run()
}

/// A variable that is set, and not empty. One that is no UTF-8 counts, too: without it, what a proxy was
/// set for would go past it.
fn variable(name: &str) -> Option<String> {
    Some(tls::variable(name)?.to_string_lossy().into_owned())
}

/// What a script is called in errors.
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
    running.map_err(|e| Failure::other(format!("the echo server does not start: {e}")))
}

fn configure(options: &mut Options, args: &RunArgs) -> Result<(), Failure> {
    let config = options.config();
    config.resolve.clone_from(&args.resolve);
    if let Some(limit) = args.connect_timeout {
        config.limits.opening = limit;
    }
    if let Some(most) = args.opening {
        config.limits.opening_per_peer = most;
    }
    if let Some(most) = args.stream_clients {
        config.limits.stream_clients = most;
    }
    if let Some(most) = args.connections {
        config.limits.connections = most;
    }
    if let Some(bytes) = args.max_message {
        // A line is part of an event.
        let limits = &mut config.limits;
        (limits.message, limits.sse_block, limits.sse_line) = (bytes, bytes, bytes);
    }
    if args.trace {
        config.observer = Some(Box::new(Lines::new(Complaints)));
    }
    config.tls = tls::destination_tls(&args.tls, args.echo == Some(EchoKind::Tls))?;
    Ok(())
}

/// Where the script may connect to: what the options say, and the server of `--echo`.
fn policy(args: &RunArgs, echo: Option<SocketAddr>) -> Policy {
    let mut rules = Policy::open();
    if !args.allow.is_empty() {
        let list = Policy::list(args.allow.iter().cloned());
        rules = rules.and(move |to| list.check(to));
    }
    if args.deny_private {
        let public = Policy::public();
        rules = rules.and(move |to| public.check(to));
    }
    let rules = Policy::open().and(move |to| match (echo, to.host) {
        (Some(echo), Host::Address(ip)) if (*ip, to.port) == (echo.ip(), echo.port()) => Ok(()),
        _ => rules.check(to),
    });
    // For the server of --echo, too: --resolve can lead its address elsewhere.
    if args.tls.insecure { rules.and(tls::stays_here) } else { rules }
}

/// What scripts print goes to standard output, everything else to standard error.
fn show(line: Line<'_>, prefix: bool, stopper: Option<&Stopper>) {
    let script = line.script.filter(|_| prefix);
    let mut text = line.to_string();
    if let Some(script) = script {
        // Before each line of it: one script cannot speak for another.
        text = format!("{script}: {}", text.replace('\n', &format!("\n{script}: ")));
    }
    let LineKind::Print = line.kind else { return complain(&text) };
    let Err(e) = writeln!(std::io::stdout().lock(), "{text}") else { return };
    // What cannot be written ends the run, as it ends other commands: the rest would be lost, too.
    let status = if e.kind() == ErrorKind::BrokenPipe {
        // Whoever read it has seen enough.
        0
    } else {
        let Failure { status, text } = Failure::output(&e);
        complain(&format!("moonwire: {text}"));
        status
    };
    if let Some(stopper) = stopper {
        signals::stop(stopper);
    }
    std::process::exit(status.into());
}
