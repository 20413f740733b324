//! Scripted servers, and clients whose events are recorded.
// Each test file uses only a part of this module.
#![allow(dead_code, unreachable_pub)]

pub mod proxy;
pub mod timeout;
pub mod tls;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moonwire::proto::http::Response;
use moonwire::proto::{CloseFrame, sse};
use moonwire::rustls::{ServerConfig, ServerConnection, StreamOwned};
use moonwire::{Ask, Closed, Config, Conn, Error, Event, Options, Reactor, Sys};

pub use timeout::is_timeout;

/// The time after which a test that hangs fails. Other tests end much earlier.
pub const LONG: Duration = Duration::from_secs(20);

pub fn soon() -> Instant {
    Instant::now() + LONG
}

/// A server on a separate thread that plays a script with one client.
pub struct Scripted<R> {
    pub address: SocketAddr,
    secure: bool,
    thread: JoinHandle<R>,
}

impl<R: Send + 'static> Scripted<R> {
    pub fn url(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}/", self.address)
    }

    /// The result of the script; if an assertion in it has failed, the test fails.
    pub fn join(self) -> R {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Starts a server: `script` gets its listener.
pub fn listen<R: Send + 'static>(
    script: impl FnOnce(TcpListener) -> R + Send + 'static,
) -> Scripted<R> {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    Scripted { address, secure: false, thread: std::thread::spawn(move || script(listener)) }
}

/// Starts a server that plays `script` with the first client.
pub fn serve<R: Send + 'static>(script: impl FnOnce(Peer) -> R + Send + 'static) -> Scripted<R> {
    listen(move |listener| script(Peer::plain(listener.accept().unwrap().0)))
}

/// The same over TLS, with the certificate `name` of tests/certs.
pub fn serve_tls<R: Send + 'static>(
    name: &str,
    script: impl FnOnce(Peer) -> R + Send + 'static,
) -> Scripted<R> {
    let config = server_config(name);
    let start = move |l: TcpListener| script(Peer::tls(l.accept().unwrap().0, config));
    Scripted { secure: true, ..listen(start) }
}

/// The same without TLS, or over TLS with the valid certificate.
pub fn serve_either<R: Send + 'static>(
    secure: bool,
    script: impl FnOnce(Peer) -> R + Send + 'static,
) -> Scripted<R> {
    if secure { serve_tls("good", script) } else { serve(script) }
}

pub fn pem(file: &str) -> Vec<u8> {
    let path = format!("{}/tests/certs/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub fn server_config(name: &str) -> Arc<ServerConfig> {
    Arc::new(tls::Server::new(name).config())
}

/// A configuration that trusts the root of tests/certs.
pub fn trusting() -> Config {
    Config { tls: Some(moonwire::tls_config(&pem("ca.pem")).unwrap()), ..Config::default() }
}

/// A server's socket, with or without TLS.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(stream) => &mut **stream,
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The server's side of a connection.
pub struct Peer {
    pub tcp: TcpStream,
    wire: Wire,
    /// The request head, as far as it was read.
    pub head: String,
    /// The mask keys of the frames that were read.
    pub keys: Vec<[u8; 4]>,
}

impl Peer {
    pub fn plain(tcp: TcpStream) -> Peer {
        tcp.set_read_timeout(Some(LONG)).unwrap();
        tcp.set_nonblocking(false).unwrap();
        tcp.set_nodelay(true).unwrap();
        let wire = Wire::Plain(tcp.try_clone().unwrap());
        Peer { tcp, wire, head: String::new(), keys: Vec::new() }
    }

    pub fn tls(tcp: TcpStream, config: Arc<ServerConfig>) -> Peer {
        let peer = Peer::plain(tcp);
        peer.with(ServerConnection::new(config).unwrap())
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).unwrap();
    }

    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.stream().write_all(bytes)?;
        self.wire.stream().flush()
    }

    pub fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.wire.stream().read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads one record of TLS, which is a ClientHello.
    pub fn record(&mut self) {
        let start = self.read(5);
        self.read(usize::from(u16::from_be_bytes([start[3], start[4]])));
    }

    /// Whether the client begins a request. Over TLS this shows whether it accepts the certificate.
    pub fn begins(&mut self) -> bool {
        let mut byte = [0];
        let begins = self.wire.stream().read_exact(&mut byte).is_ok();
        if begins {
            self.head.push(byte[0].into());
        }
        begins
    }

    /// Reads the request.
    pub fn request(&mut self) -> &str {
        while !self.head.ends_with("\r\n\r\n") {
            let byte = self.read(1);
            self.head.push(byte[0].into());
        }
        &self.head
    }

    /// Reads the request; returns the correct 101 response to it, with the fields `more`.
    pub fn answer(&mut self, more: &str) -> Vec<u8> {
        let accept = accept(self.request());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        )
        .into_bytes()
    }

    /// Reads the request and accepts it. Sends `glued` in one piece with the response.
    pub fn accept(&mut self, glued: &[u8]) {
        let mut answer = self.answer("");
        answer.extend_from_slice(glued);
        self.write(&answer);
    }

    /// Accepts the request and does not answer the client's close frame; returns the code of that
    /// frame.
    pub fn ignore_the_close(mut self, glued: &[u8]) -> u16 {
        self.accept(glued);
        let code = self.close_code();
        self.rest();
        code
    }

    /// Reads the next frame, which must be masked; returns its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.read(2);
        assert_eq!(start[1] & 0x80, 0x80, "RFC 6455 §5.3: a client masks every frame");
        let len = match start[1] & 0x7F {
            126 => self.read(2).iter().fold(0, |n, &b| n << 8 | usize::from(b)),
            127 => self.read(8).iter().fold(0, |n, &b| n << 8 | usize::from(b)),
            n => n.into(),
        };
        let key = self.read(4);
        self.keys.push([key[0], key[1], key[2], key[3]]);
        let mut payload = self.read(len);
        payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= key[i % 4]);
        (start[0], payload)
    }

    /// Reads up to the client's close frame; returns its payload.
    pub fn close_frame(&mut self) -> Vec<u8> {
        loop {
            if let (0x88, payload) = self.frame() {
                return payload;
            }
        }
    }

    /// Reads up to the client's close frame; returns its code.
    pub fn close_code(&mut self) -> u16 {
        let payload = self.close_frame();
        u16::from_be_bytes([payload[0], payload[1]])
    }

    /// Reads until the client has closed; returns the number of bytes.
    pub fn rest(&mut self) -> usize {
        let (mut buf, mut sum) = ([0; 4096], 0);
        loop {
            match self.wire.stream().read(&mut buf) {
                Ok(0) => return sum,
                Ok(n) => sum += n,
                Err(e) if is_timeout(&e) => panic!("still open"),
                // The client has reset the connection, or has ended it without close_notify.
                Err(_) => return sum,
            }
        }
    }

    /// Reads until the client has closed; returns the bytes.
    pub fn rest_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // An error means that the client has reset the connection.
        let _ = self.wire.stream().read_to_end(&mut bytes);
        bytes
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO)).unwrap();
    }
}

/// The value of the field `name` in a request.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|l| l.split_once(": ").filter(|(n, _)| *n == name).map(|(_, v)| v))
}

/// `Sec-WebSocket-Accept` for a request (RFC 6455 §4.2.2). This code is independent of the
/// client's.
pub fn accept(head: &str) -> String {
    let key = field(head, "Sec-WebSocket-Key").expect("a key");
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let bytes = sha1.digest().bytes();
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let n = group.iter().fold(0u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit =
                if i <= group.len() { digits[(n >> (18 - 6 * i) & 63) as usize] } else { b'=' };
            text.push(digit.into());
        }
    }
    text
}

/// A frame as a server sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(n as u8),
        n @ 126..=65_535 => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// An event that owns its data.
#[derive(Debug)]
pub enum OwnedEvent {
    Opened,
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Closing(CloseFrame),
    Response(Box<Response>),
    Chunk(Vec<u8>),
    ServerSent(Box<sse::Event>),
    Closed(Closed),
}

pub fn keep(event: Event<'_>) -> OwnedEvent {
    match event {
        Event::Opened(_) => OwnedEvent::Opened,
        Event::Text(text) => OwnedEvent::Text(text.into_string()),
        Event::Binary(data) => OwnedEvent::Binary(data.into_owned()),
        Event::Pong(data) => OwnedEvent::Pong(data.to_vec()),
        Event::Closing(frame) => OwnedEvent::Closing(frame),
        Event::Response(response) => OwnedEvent::Response(response),
        Event::Chunk(data) => OwnedEvent::Chunk(data.into_owned()),
        Event::ServerSent(event) => OwnedEvent::ServerSent(event),
        Event::Closed(closed) => OwnedEvent::Closed(closed),
    }
}

/// Opens one connection and returns all its events. They must have the order `Opened? Message*
/// Closing? Closed` or `Response? Piece* Closed`.
pub fn events(options: impl Into<Ask>, config: Config) -> Vec<OwnedEvent> {
    let mut reactor = Reactor::new(config).unwrap();
    reactor.open(options).unwrap();
    run(&mut reactor, |_, _| {})
}

/// Runs a reactor with one connection until it is empty; calls `each` before it stores an event.
pub fn run<S: Sys>(
    reactor: &mut Reactor<S>,
    mut each: impl FnMut(&mut Conn<'_>, &Event<'_>),
) -> Vec<OwnedEvent> {
    let (until, mut reported) = (soon(), Vec::new());
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "hangs after {reported:?}");
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            each(conn, &event);
            reported.push(keep(event));
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    check_law(&reported);
    reported
}

fn check_law(reported: &[OwnedEvent]) {
    let ends = reported.iter().filter(|t| matches!(t, OwnedEvent::Closed(_))).count();
    assert_eq!(ends, 1, "{reported:?}");
    assert!(matches!(reported.last(), Some(OwnedEvent::Closed(_))), "{reported:?}");
    let late = |t: &OwnedEvent| matches!(t, OwnedEvent::Opened | OwnedEvent::Response(_));
    assert!(!reported.iter().skip(1).any(late), "{reported:?}");
    if let Some(closing) = reported.iter().position(|t| matches!(t, OwnedEvent::Closing(_))) {
        assert_eq!(closing, reported.len() - 2, "{reported:?}");
    }
}

/// The error with which a connection ended, and whether the connection had been open.
pub fn failure(reported: &[OwnedEvent]) -> (&Error, bool) {
    let opened = matches!(reported.first(), Some(OwnedEvent::Opened | OwnedEvent::Response(_)));
    match reported.last() {
        Some(OwnedEvent::Closed(Closed::Failed(e) | Closed::Lost(e))) => (e, opened),
        _ => panic!("no error: {reported:?}"),
    }
}

pub fn options(url: &str) -> Options {
    Options::new(url).unwrap().timeout(LONG)
}

/// A server that plays a script with each client, on threads that run until the process ends.
pub struct Many {
    pub address: SocketAddr,
    secure: bool,
    count: Arc<AtomicUsize>,
}

/// Starts such a server. `script` gets the number of the connection, from 0.
pub fn many(secure: bool, script: impl Fn(usize, Peer) + Send + Sync + 'static) -> Many {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, script) = (Arc::clone(&count), Arc::new(script));
    let config = secure.then(|| server_config("good"));
    std::thread::spawn(move || {
        while let Ok((tcp, _)) = listener.accept() {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let (script, config) = (Arc::clone(&script), config.clone());
            std::thread::spawn(move || match config {
                Some(config) => script(number, Peer::tls(tcp, config)),
                None => script(number, Peer::plain(tcp)),
            });
        }
    });
    Many { address, secure, count }
}

impl Many {
    /// The server's URL for HTTP.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// The number of connections.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

impl Peer {
    /// Reads the next request on this connection; returns it, with its body if it has a length.
    /// `None`: the client has ended the connection.
    pub fn next_request(&mut self) -> Option<String> {
        self.head.clear();
        if !self.begins() {
            return None;
        }
        let mut request = self.request().to_owned();
        let length = field(&request, "Content-Length").map_or(0, |n| n.parse().unwrap());
        request.push_str(&String::from_utf8(self.read(length)).unwrap());
        Some(request)
    }
}
