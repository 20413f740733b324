//! Runs moonwire against cases. One reactor runs many of them at a time.

use std::fmt::Debug;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moonwire::proto::http::{Delivery, HttpError};
use moonwire::proto::{CloseFrame, HandshakeError};
use moonwire::rustls::{ServerConfig, ServerConnection, StreamOwned};
use moonwire::{
    Ask, Closed, Config, Conn, ConnId, Error, ErrorKind, Event, Limits, Options, Override, Proxy,
    ProxyError, Reactor, Stage, StreamOptions,
};

use crate::common::{LONG, loopback, server_config, soon, trusting};
use crate::play::{Link, Seen, play};
use crate::script::{Case, collapse, shown};

/// How many connections run at a time.
const BATCH: usize = 40;

type Secure = StreamOwned<ServerConnection, TcpStream>;

impl Link for Secure {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }

    fn close_notify(&mut self) {
        self.conn.send_close_notify();
        let _ = self.conn.complete_io(&mut self.sock);
    }
}

/// A running case.
struct Running<'a> {
    case: &'a Case,
    server: JoinHandle<Seen>,
    url: String,
    id: Option<ConnId>,
    reported: Vec<String>,
    body: Vec<u8>,
    opened: bool,
    /// How many final events came, and the text of the error.
    ends: usize,
    error: Option<String>,
}

/// Runs all cases; fails with a list of all unexpected results.
pub(crate) fn all(cases: &[Case]) {
    let wrong: Vec<String> = cases.chunks(BATCH).flat_map(batch).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn batch(cases: &[Case]) -> Vec<String> {
    let mut running: Vec<Running<'_>> = cases.iter().map(start).collect();
    let limits = Limits { linger: Duration::from_millis(50), ..Limits::default() };
    let resolve = cases.iter().zip(&running).map(|(case, running)| {
        let to = running.address();
        Override { host: case.setting("host").unwrap_or("localhost").into(), port: to.port(), to }
    });
    let config = Config { limits, resolve: resolve.collect(), ..trusting() };
    let mut reactor = Reactor::new(config).unwrap();
    for one in &mut running {
        one.id = Some(reactor.open(ask(one.case, &one.url)).unwrap());
    }
    let until = soon();
    while !reactor.is_empty() && Instant::now() < until {
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            let at = running.iter().position(|r| r.id == Some(conn.id()));
            running[at.expect("an event of a connection of ours")].event(conn, event);
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    drop(reactor);
    running.into_iter().filter_map(|one| one.verdict().err()).collect()
}

fn start(case: &Case) -> Running<'_> {
    let listener = TcpListener::bind(loopback()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let scheme = match (case.is_websocket(), &case.tls) {
        (true, None) => "ws",
        (true, Some(_)) => "wss",
        (false, None) => "http",
        (false, Some(_)) => "https",
    };
    let url = format!("{scheme}://{}:{port}/", case.setting("host").unwrap_or("127.0.0.1"));
    let theirs = case.clone();
    let server = std::thread::spawn(move || {
        let name = theirs.tls.as_deref().filter(|name| *name != "raw");
        let config: Option<Arc<ServerConfig>> = name.map(server_config);
        let wrap = |tcp: TcpStream| -> Box<dyn Link> {
            match &config {
                None => Box::new(tcp),
                Some(config) => {
                    let session = ServerConnection::new(Arc::clone(config)).unwrap();
                    Box::new(Secure::new(session, tcp))
                }
            }
        };
        play(&theirs, &listener, &wrap, LONG)
    });
    let (id, reported, body, opened, ends, error) = Default::default();
    Running { case, server, url, id, reported, body, opened, ends, error }
}

/// The options of the client.
fn ask(case: &Case, url: &str) -> Ask {
    let proxy = case.proxy.as_ref().map(|(scheme, user)| {
        let user = user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let place = url.rsplit(':').next().unwrap().trim_end_matches('/');
        Proxy::parse(&format!("{scheme}://{user}127.0.0.1:{place}")).unwrap()
    });
    let mut limits = Limits { linger: Duration::from_millis(50), ..Limits::default() };
    let (mut timeout, mut idle) = (LONG, None);
    let (mut protocol, mut method, mut headers) = (None, "GET", Vec::new());
    for word in &case.client[1..] {
        let (name, value) = word.split_once('=').expect(word);
        let number = || value.parse::<usize>().expect(word);
        let time = || Duration::from_millis(value.strip_suffix("ms").unwrap().parse().unwrap());
        match name {
            "message" => limits.message = number(),
            "fragments" => limits.fragments = number() as u32,
            "fields" => limits.fields = number(),
            "refusal_time" => limits.refusal_time = time(),
            "close_after" => limits.close = time(),
            "timeout" => timeout = time(),
            "idle" => idle = Some(time()),
            "protocol" => protocol = Some(value),
            "method" => method = value,
            "header" => headers.extend(value.split_once(':')),
            "host" | "close" => {}
            _ => panic!("{word}?"),
        }
    }
    if case.is_websocket() {
        let mut options = Options::new(url).unwrap().limits(limits).timeout(timeout);
        if let Some(proxy) = proxy {
            options = options.proxy(proxy);
        }
        return match protocol {
            Some(name) => options.protocol(name).unwrap().into(),
            None => options.into(),
        };
    }
    let delivery = if case.client[0] == "events" { Delivery::Events } else { Delivery::Raw };
    let mut options = StreamOptions::new(method, url).unwrap().limits(limits).timeout(timeout);
    options = options.idle(idle).delivery(delivery);
    if let Some(proxy) = proxy {
        options = options.proxy(proxy);
    }
    for (name, value) in headers {
        options = options.header(name, value).unwrap();
    }
    options.into()
}

impl Running<'_> {
    fn address(&self) -> std::net::SocketAddr {
        let port = self.url.rsplit(':').next().unwrap().trim_end_matches('/');
        std::net::SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
    }

    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        if let Event::Chunk(data) = &event {
            self.body.extend_from_slice(data);
            return;
        }
        self.flush_body();
        let reported = match event {
            Event::Opened(opened) => {
                self.opened = true;
                if let Some(code) = self.case.setting("close") {
                    conn.close(code.parse().unwrap(), "").unwrap();
                }
                match opened.protocol {
                    Some(name) => format!("opened {name}"),
                    None => "opened".into(),
                }
            }
            Event::Response(response) => {
                self.opened = true;
                format!("response {}", response.status)
            }
            Event::Text(text) => format!("text {}", shown(text.as_bytes())),
            Event::Binary(data) => format!("binary {}", shown(&data)),
            Event::Pong(data) => format!("pong {}", shown(&data)),
            Event::Closing(frame) => format!("closing {}", close(&frame)),
            Event::ServerSent(event) => {
                let id = if event.id.is_empty() {
                    String::new()
                } else {
                    format!(" id {}", shown(event.id.as_bytes()))
                };
                format!("event {} {}{id}", event.event, shown(event.data.as_bytes()))
            }
            Event::Closed(closed) => {
                self.ends += 1;
                self.end(closed)
            }
            Event::Chunk(_) => unreachable!(),
        };
        self.reported.push(reported);
    }

    fn end(&mut self, closed: Closed) -> String {
        match closed {
            Closed::Clean(frame) => {
                // The close frame was reported with the same text.
                let closing = self.reported.pop();
                assert_eq!(closing, Some(format!("closing {}", close(&frame))), "{}", self.case.id);
                format!("clean {}", close(&frame))
            }
            Closed::Complete => "complete".into(),
            Closed::Failed(e) => {
                let word = if self.opened { "failed" } else { "refused" };
                self.error(word, &e)
            }
            Closed::Lost(e) => self.error("lost", &e),
        }
    }

    fn error(&mut self, word: &str, e: &Error) -> String {
        self.error = Some(e.to_string());
        let of_proxy = matches!(e.kind(), ErrorKind::Proxy { .. });
        assert!(!of_proxy || e.stage() == Stage::Proxy, "{}: {e}", self.case.id);
        format!("{word} {}", kind(e.kind()))
    }

    fn flush_body(&mut self) {
        let body = std::mem::take(&mut self.body);
        if !body.is_empty() {
            let open = self.case.want.iter().any(|w| w == "body …");
            let text = if open { "…".to_owned() } else { shown(&body) };
            self.reported.push(format!("body {text}"));
        }
    }

    /// Checks the result of a case; the error lists all that is unexpected.
    fn verdict(self) -> Result<(), String> {
        let Running { case, url, reported, error, ends, .. } = self;
        let seen = self.server.join().map_err(|_| format!("{}: the server", case.id))?;
        let reported = collapse(reported).join("; ");
        let (want, mut wire) = (case.want.join("; "), seen.wire());
        if case.wire.as_deref().is_some_and(|w| w.starts_with("pongs")) {
            let close = wire.rsplit(", ").next().unwrap_or_default();
            wire = format!("pongs, {close}");
        }
        let text = error.as_deref().unwrap_or_default();
        // After redirects an error has the URL of the last request, with the same port.
        let port = format!(":{}/", url.rsplit(':').next().unwrap().trim_end_matches('/'));
        let line = |text: &str| {
            let fine = |c: char| !c.is_control() && (c.is_ascii() || "§…".contains(c));
            text.contains("://")
                && text.contains(&port)
                && text.len() < 1000
                && text.chars().all(fine)
        };
        let mut wrong = Vec::new();
        let mut check = |good: bool, what: String| {
            if !good {
                wrong.push(what);
            }
        };
        check(reported == want, format!("reported {reported}, not {want}"));
        check(ends == 1, format!("{ends} ends"));
        if let Some(want) = &case.wire {
            check(wire == *want, format!("the server saw {wire}, not {want}"));
        }
        check(seen.late == 0, format!("{} bytes behind the end", seen.late));
        check(seen.closed, "the connection was not closed".into());
        check(seen.wrong.is_none(), format!("the client sent {:?}", seen.wrong));
        check(error.is_none() || line(text), format!("a bad text: {text:?}"));
        if let Some((_, Some(user))) = &case.proxy {
            let password = user.split_once(':').map_or("", |(_, password)| password);
            check(!text.contains(password), format!("{text} repeats the password"));
        }
        if let Some(part) = &case.error {
            check(text.contains(part.as_str()), format!("{text} does not contain {part}"));
        }
        for (number, has, text) in &case.asked {
            let request = seen.requests.get(number - 1).map_or("", |r| r);
            check(
                !request.is_empty() && request.contains(text.as_str()) == *has,
                format!("request {number}, {request:?}: {text}"),
            );
        }
        if case.tls.is_some() && want.starts_with("refused Certificate") {
            check(
                seen.requests.is_empty(),
                "a request to a server without a valid certificate".into(),
            );
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("{}: {}", case.id, wrong.join("; "))) }
    }
}

fn close(frame: &CloseFrame) -> String {
    match frame.code {
        None => "empty".into(),
        Some(code) if frame.reason.is_empty() => code.to_string(),
        Some(code) => format!("{code} {}", shown(frame.reason.as_bytes())),
    }
}

/// The names of an error's variants.
fn kind(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Violation(v) => format!("{v:?}"),
        ErrorKind::Handshake(HandshakeError::Status(r)) => format!("Status {}", r.status),
        ErrorKind::Handshake(HandshakeError::Head(e)) => name(e),
        ErrorKind::Handshake(e) => name(e),
        ErrorKind::Http(HttpError::Head(e)) => name(e),
        ErrorKind::Http(HttpError::Status(r)) => format!("Status {}", r.status),
        ErrorKind::Http(HttpError::Truncated(Some(n))) => format!("Truncated {n}"),
        ErrorKind::Http(HttpError::Trailer(e)) => format!("Trailer {}", name(e)),
        ErrorKind::Http(HttpError::EventStream(e)) => format!("EventStream {}", name(e)),
        ErrorKind::Http(HttpError::Location(e)) => format!("Location {}", name(e)),
        ErrorKind::Http(e) => name(e),
        ErrorKind::Proxy { why: ProxyError::Status { response, .. }, .. } => {
            format!("Proxy Status {}", response.status)
        }
        ErrorKind::Proxy { why: ProxyError::Head(e), .. } => format!("Proxy {}", name(e)),
        ErrorKind::Proxy { why: ProxyError::Unreached(why), .. } => {
            format!("Proxy Unreached {}", self::kind(why))
        }
        ErrorKind::Proxy { why, .. } => format!("Proxy {why:?}"),
        other => name(other),
    }
}

fn name(of: &impl Debug) -> String {
    let text = format!("{of:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
