//! Connects (after an end again, if asked to), sends the input, and decides when to end.

use std::io::{self, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::editor::Screen;
use super::input::{Lines, Outgoing, Rules};
use super::output::{Output, Report};
use super::{ConnectArgs, Wait};
use crate::cli::network::{self, RunFacts};
use crate::cli::signals::{self, Close, PATIENCE};
use crate::cli::stdio::{Failure, write_above, write_directly, write_stderr};
use crate::error::Error;
use crate::limits::Limits;
use crate::net::sys::raise_open_files;
use crate::net::{Client, Closed, Config, ConnId, Event, Events, Options, random_byte};
use crate::proto::Misuse;
use crate::proto::sse::Reconnect;

/// While more than this many sent bytes wait for the network, the command reads no more input.
const ENOUGH: usize = 256 * 1024;

/// The payload of the ping at the end of input. Its pong shows that the server has received every
/// message before it.
const END: &[u8] = b"moonwire: end of input";

/// The connection, as the thread that sends shares it.
struct SharedConnection {
    client: Client,
    state: Mutex<LinkState>,
    changed: Condvar,
    /// Whether the input has ended; `failure` is the reason, if an error ended it.
    input_ended: AtomicBool,
    failure: Mutex<Option<String>>,
    /// A signal or `--timeout` is ending the process.
    ending: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LinkState {
    /// No connection is open yet.
    Opening,
    Open(ConnId),
    /// No connection will be open any more.
    Ended,
}

/// The result of sending messages.
enum Sent {
    All,
    /// The network takes no more bytes for now.
    Full,
    /// The connection has ended.
    Lost,
    Wrong(String),
}

impl SharedConnection {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_state(&self, state: LinkState) {
        *self.state() = state;
        self.changed.notify_all();
    }

    /// Waits for an open connection other than `not`; `None` if there will be none.
    fn open(&self, not: Option<ConnId>) -> Option<ConnId> {
        let mut state = self.state();
        loop {
            match *state {
                LinkState::Open(id) if Some(id) != not => return Some(id),
                LinkState::Ended => return None,
                _ => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Sends all complete messages of `lines`. Returns false if there is no connection any more.
    fn send(&self, lines: &mut Lines<impl Read>) -> Result<bool, String> {
        let mut not = None;
        loop {
            // This is checked before any wait: the end of input is no message.
            if lines.next()?.is_none() {
                return Ok(true);
            }
            let Some(id) = self.open(not) else { return Ok(false) };
            let sent = self.client.with(|reactor| {
                let sent = loop {
                    let message = match lines.next() {
                        Ok(Some(message)) => message,
                        Ok(None) => break Sent::All,
                        Err(e) => break Sent::Wrong(e),
                    };
                    let result = match &message {
                        Outgoing::Text(text) => reactor.send_text(id, text),
                        Outgoing::Binary(data) => reactor.send_binary(id, data),
                        Outgoing::Decoded(data) => reactor.send_binary(id, data),
                    };
                    match result {
                        Ok(()) => lines.done(),
                        Err(Misuse::Full) => break Sent::Full,
                        Err(_) => break Sent::Lost,
                    }
                    if reactor.buffered(id) > ENOUGH {
                        break Sent::Full;
                    }
                };
                reactor.flush();
                sent
            });
            match sent {
                Sent::All => return Ok(true),
                // If the connection has ended, its final event reports the error.
                Sent::Full => drop(self.client.flush(id, None)),
                Sent::Lost => not = Some(id),
                Sent::Wrong(text) => return Err(text),
            }
        }
    }

    /// Records that the input has ended: nothing more is sent.
    fn end_input(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        self.input_ended.store(true, Ordering::Release);
        self.client.wake();
    }
}

/// Sends the messages of `-x`, the typed lines, or standard input.
fn feed(
    connection: &SharedConnection,
    rules: Rules,
    execute: Vec<String>,
    screen: Option<&Screen>,
) {
    let fed = match screen {
        _ if !execute.is_empty() => given(execute, connection, rules),
        Some(screen) => typed(screen, connection, rules),
        None => pipe(connection, rules),
    };
    connection.end_input(fed.err());
}

/// Sends the messages of `-x`.
fn given(messages: Vec<String>, connection: &SharedConnection, rules: Rules) -> Result<(), String> {
    for text in messages {
        let mut lines = Lines::whole(text.into_bytes(), rules);
        if !connection.send(&mut lines)? {
            break;
        }
    }
    Ok(())
}

/// Sends the lines that the user types. If a line cannot be sent, the error is shown, and the user
/// can type it again.
fn typed(screen: &Screen, connection: &SharedConnection, rules: Rules) -> Result<(), String> {
    while let Some(text) = screen.read_line().map_err(|e| format!("standard input: {e}"))? {
        let mut lines = Lines::whole(text.into_bytes(), rules);
        match connection.send(&mut lines) {
            Ok(true) => {}
            Ok(false) => break,
            Err(text) => write_stderr(&format!("moonwire: not sent: {text}")),
        }
    }
    Ok(())
}

fn pipe(connection: &SharedConnection, rules: Rules) -> Result<(), String> {
    let mut lines = Lines::new(io::stdin().lock(), rules);
    loop {
        let more = lines.fill().map_err(|e| format!("standard input: {e}"))?;
        if !connection.send(&mut lines)? || !more {
            return Ok(());
        }
    }
}

fn options(args: &ConnectArgs) -> Result<Options, Failure> {
    let bad = |e: Error| Failure::usage(e.to_string());
    let mut options = Options::new(&args.url).map_err(bad)?;
    options = args.request.put(
        options,
        |options, name, value| options.header(name, value),
        |options, name, value| options.secret_header(name, value),
    )?;
    for protocol in &args.protocols {
        options = options.protocol(protocol).map_err(bad)?;
    }
    if let Some(interval) = args.ping_interval {
        options = options.ping_interval(Some(interval));
    }
    if let Some(most) = args.redirects {
        options = options.follow_redirects(most);
    }
    if args.compress {
        network::needs_compression("--compress")?;
        #[cfg(feature = "deflate")]
        {
            options = options.compression(crate::proto::Compression::default());
        }
    }
    Ok(options)
}

/// `moonwire connect`.
pub(in crate::cli) fn connect(mut args: Box<ConnectArgs>) -> Result<u8, Failure> {
    raise_open_files();
    let mut config = Config::default();
    args.network.configure(&mut config, RunFacts::default())?;
    let options = options(&args)?;
    let (rules, limits) = (Rules::of(&args, config.limits.message), config.limits.clone());
    for text in &args.execute {
        rules.message(text.as_bytes()).map_err(|e| Failure::usage(format!("--execute: {e}")))?;
    }
    let started = Client::spawn(config);
    let (client, mut events) = started.map_err(|e| Failure::other(e.to_string()))?;
    let connection = Arc::new(SharedConnection {
        client,
        state: Mutex::new(LinkState::Opening),
        changed: Condvar::new(),
        input_ended: AtomicBool::new(false),
        failure: Mutex::new(None),
        ending: AtomicBool::new(false),
    });
    let execute = std::mem::take(&mut args.execute);
    let screen = if execute.is_empty() { Screen::open() } else { None };
    if let Some(screen) = &screen {
        let screen = Arc::clone(screen);
        write_above(move |text| screen.aside(|| write_directly(text)));
    }
    let close = closing(&connection, screen.as_ref());
    signals::may_end(&close, args.timeout)?;
    #[cfg(unix)]
    if let Some(screen) = &screen {
        let screen = Arc::clone(screen);
        let shown = signals::when_shown_anew(move || screen.resume());
        shown.map_err(|e| Failure::other(format!("signals: {e}")))?;
    }
    let (its, its_screen) = (Arc::clone(&connection), screen.clone());
    let thread = std::thread::Builder::new().name("moonwire-input".into());
    thread
        .spawn(move || feed(&its, rules, execute, its_screen.as_deref()))
        .map_err(|e| Failure::other(e.to_string()))?;
    let mut talk = Talk {
        output: Output::new(&args, screen.clone()),
        args: &args,
        connection: &connection,
        received: 0,
        last: Instant::now(),
        input: Input::Going,
        patience: limits.pong,
        is_open: false,
        closing: None,
        broken: None,
    };
    let status = talk.connections(&mut events, &options, &limits);
    connection.set_state(LinkState::Ended);
    let flushed = talk.output.flush();
    if let Some(screen) = &screen {
        screen.leave();
    }
    if connection.ending.load(Ordering::Acquire) {
        signals::wait_for_exit();
    }
    let unwritten = talk.broken.take().or(flushed.err());
    let lost = events.finish(Some(PATIENCE));
    if let Some(e) = unwritten {
        // The reader of standard output, such as `head`, has closed it: it needs no more.
        return if e.kind() == ErrorKind::BrokenPipe { Ok(0) } else { Err(Failure::output(&e)) };
    }
    let status = status?;
    match connection.failure() {
        Some(text) => Err(Failure::other(text)),
        None if lost > 0 && status == 0 => {
            Err(Failure::other(format!("{lost} bytes that were sent did not leave")))
        }
        None => Ok(status),
    }
}

/// Makes the function that closes the connection when a signal or `--timeout` ends the process.
fn closing(connection: &Arc<SharedConnection>, screen: Option<&Arc<Screen>>) -> Close {
    let (connection, screen) = (Arc::clone(connection), screen.cloned());
    Arc::new(move || {
        connection.ending.store(true, Ordering::Release);
        if let Some(screen) = &screen {
            screen.leave();
        }
        connection.set_state(LinkState::Ended);
        // RFC 6455 allows an endpoint to send 1001, so this call cannot fail.
        let _ = connection.client.close_all(1001, "");
        let end = Instant::now() + PATIENCE;
        while connection.client.with(|reactor| reactor.pending()) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

/// The state of the input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Going,
    /// The input has ended; this is when a ping asked whether the server has received everything.
    Asked(Instant),
    /// The server answered that ping at this time.
    Answered(Instant),
}

struct Talk<'a> {
    args: &'a ConnectArgs,
    connection: &'a SharedConnection,
    output: Output,
    received: u64,
    /// When the command last received a message.
    last: Instant,
    input: Input,
    /// How long the server has to answer the ping at the end of input.
    patience: Duration,
    is_open: bool,
    /// When the command began to close the connection.
    closing: Option<Instant>,
    /// The error of standard output, if it cannot be written any more.
    broken: Option<io::Error>,
}

impl Talk<'_> {
    /// Runs one connection after another; returns the exit status.
    fn connections(
        &mut self,
        events: &mut Events,
        options: &Options,
        limits: &Limits,
    ) -> Result<u8, Failure> {
        let mut plan = Reconnect::default();
        loop {
            let opened = self.connection.client.open(options.clone());
            let id = opened.map_err(|e| Failure { status: 3, text: e.to_string() })?;
            let closed = self.one(events, id)?;
            let was_open = std::mem::take(&mut self.is_open);
            if matches!(self.input, Input::Asked(_)) {
                // The next connection sends a ping of its own.
                self.input = Input::Going;
            }
            self.connection.set_state(LinkState::Opening);
            if self.broken.is_some() || self.connection.ending.load(Ordering::Acquire) {
                return Ok(1);
            }
            let status = match &closed {
                Closed::Clean(frame) => {
                    self.report(&Report::Close(frame.code_or_1005(), &frame.reason));
                    u8::from(!matches!(frame.code, None | Some(1000)))
                }
                Closed::Complete => 0,
                Closed::Failed(e) | Closed::Lost(e) => {
                    self.report(&Report::Error(&e.to_string()));
                    if was_open { 1 } else { 3 }
                }
            };
            if was_open {
                plan.opened();
            }
            let again = match &closed {
                Closed::Failed(e) | Closed::Lost(e) if !was_open => {
                    plan.at_least(e.retry_after().unwrap_or_default());
                    e.is_transient()
                }
                _ => true,
            };
            if self.closing.is_some() || !self.args.reconnect || !again {
                return Ok(status);
            }
            let wait = plan.wait(limits, None, random_byte());
            self.report(&Report::Again(wait));
            self.flush();
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.may_end(Instant::now()) {
                let woken = events.wait(Some(until), |_, _| {});
                woken.map_err(|e| Failure::other(e.to_string()))?;
            }
            if self.may_end(Instant::now()) {
                return Ok(status);
            }
        }
    }

    /// Runs one connection to its end.
    fn one(&mut self, events: &mut Events, id: ConnId) -> Result<Closed, Failure> {
        loop {
            let mut end = None;
            let waited = events.wait(self.deadline(), |_, event| match event {
                Event::Opened(opened) => {
                    self.is_open = true;
                    self.last = Instant::now();
                    #[cfg(feature = "deflate")]
                    let compressed = opened.compression.is_some();
                    #[cfg(not(feature = "deflate"))]
                    let compressed = false;
                    self.report(&Report::Open(opened.protocol.as_deref(), compressed));
                    self.connection.set_state(LinkState::Open(id));
                }
                Event::Text(text) => self.message(&Report::Text(text.as_str())),
                Event::Binary(data) => self.message(&Report::Binary(&data)),
                Event::Pong(data) if *data == *END && matches!(self.input, Input::Asked(_)) => {
                    self.input = Input::Answered(Instant::now());
                }
                Event::Closed(closed) => end = Some(closed),
                _ => {}
            });
            self.flush();
            waited.map_err(|e| Failure::other(e.to_string()))?;
            if let Some(closed) = end {
                return Ok(closed);
            }
            self.look_at_input(id);
            let now = Instant::now();
            if self.is_open && self.closing.is_none() && self.may_end(now) {
                self.closing = Some(now);
                // The call fails only if the connection has ended, which its final event reports.
                let _ = self.connection.client.close(id, 1000, "");
            } else if self.broken.is_some() && self.closing.is_none_or(|at| at + PATIENCE <= now) {
                // The command does not wait for the server's close frame.
                self.connection.client.release(id, 1001, "");
                return Ok(Closed::Complete);
            }
        }
    }

    /// At the end of input, sends a ping whose pong shows that the server has received everything.
    fn look_at_input(&mut self, id: ConnId) {
        let is_asked = self.is_open
            && self.input == Input::Going
            && self.connection.input_ended.load(Ordering::Acquire)
            // If the connection has ended meanwhile, its final event reports it.
            && self.connection.client.ping(id, END).is_ok();
        if is_asked {
            self.input = Input::Asked(Instant::now());
        }
    }

    fn message(&mut self, report: &Report<'_>) {
        if self.args.max_messages.is_some_and(|most| self.received >= most) {
            return;
        }
        self.received += 1;
        self.last = Instant::now();
        self.report(report);
    }

    fn report(&mut self, report: &Report<'_>) {
        if self.broken.is_none() {
            self.broken = self.output.report(report).err();
        }
    }

    fn flush(&mut self) {
        if self.broken.is_none() {
            self.broken = self.output.flush().err();
        }
    }

    /// When [`Talk::may_end`] has to be checked again.
    fn deadline(&self) -> Option<Instant> {
        // A server that does not answer pings, although it must (RFC 6455 §5.5.2), must not make
        // the command wait for ever.
        if let Some(since) = self.closing {
            return self.broken.is_some().then_some(since + PATIENCE);
        }
        let (since, more) = match self.input {
            Input::Going => return None,
            Input::Asked(since) => (since, self.patience),
            Input::Answered(since) => (since, Duration::ZERO),
        };
        match self.args.wait {
            Some(Wait::Messages(_)) => None,
            Some(Wait::Time(time)) => since.checked_add(more)?.checked_add(time),
            None => since.max(self.last).checked_add(more)?.checked_add(self.args.linger),
        }
    }

    /// Whether the command may close the connection and end.
    fn may_end(&self, now: Instant) -> bool {
        if self.broken.is_some() || self.connection.failure().is_some() {
            return true;
        }
        if self.args.max_messages.is_some_and(|most| self.received >= most) {
            return true;
        }
        match (self.input, self.args.wait) {
            (Input::Going, _) => false,
            (_, Some(Wait::Messages(n))) => self.received >= n,
            _ => self.deadline().is_some_and(|at| at <= now),
        }
    }
}

impl SharedConnection {
    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
