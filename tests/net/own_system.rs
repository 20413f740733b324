//! Every face on a system that the program supplies: a network in memory, whose clock advances only
//! in waits.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use moonwire::{
    Client, Closed, Config, ErrorKind, Event, EventSource, Incoming, Interest, Limits, Message,
    Options, Piece, Poller, Ready, Received, ResolverAnswer, StreamOptions, Sys,
};

use crate::common::{accept, close, frame};

/// A network with one server. The path of a request selects the answer.
#[derive(Clone)]
struct Net(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    stirred: Condvar,
}

struct State {
    now: Instant,
    woken: bool,
    /// The number of waits.
    waits: usize,
    tcps: Vec<Tcp>,
}

/// A connection.
#[derive(Default)]
struct Tcp {
    /// Bytes that the client has written and the server has not used.
    got: Vec<u8>,
    /// Bytes that the server has written.
    input: VecDeque<u8>,
    ended: bool,
    opened: bool,
    watched: Option<(u64, Interest)>,
}

impl Net {
    fn new() -> Net {
        let state = State { now: Instant::now(), woken: false, waits: 0, tcps: Vec::new() };
        Net(Arc::new(Inner { state: Mutex::new(state), stirred: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn sys(&self) -> Memory {
        Memory { net: self.clone(), poller: Arc::new(MemoryPoller(self.clone())) }
    }
}

impl Tcp {
    /// The server answers all complete input.
    fn serve(&mut self, number: usize) {
        if !self.opened {
            let Some(end) = self.got.windows(4).position(|w| w == b"\r\n\r\n") else { return };
            let head = String::from_utf8(self.got.drain(..end + 4).collect()).unwrap();
            let chunked = "Transfer-Encoding: chunked\r\n\r\n";
            let answer = match head.split(' ').nth(1).unwrap() {
                "/ws" => {
                    self.opened = true;
                    format!(
                        "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {}\r\n\r\n",
                        accept(&head)
                    )
                }
                "/hello" => format!("HTTP/1.1 200 OK\r\n{chunked}5\r\nhello\r\n0\r\n\r\n"),
                "/open" => format!("HTTP/1.1 200 OK\r\n{chunked}5\r\nhello\r\n"),
                _ => {
                    self.ended = true;
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                    format!("{head}data: {number}\n\n")
                }
            };
            self.input.extend(answer.bytes());
        }
        while self.opened && self.got.len() >= 6 {
            let len = usize::from(self.got[1] & 0x7F);
            assert!(len < 126, "no message of these tests is longer");
            if self.got.len() < 6 + len {
                return;
            }
            let whole: Vec<u8> = self.got.drain(..6 + len).collect();
            let payload: Vec<u8> =
                whole[6..].iter().enumerate().map(|(i, b)| b ^ whole[2 + i % 4]).collect();
            self.input.extend(match whole[0] {
                0x89 => frame(0x8A, &payload),
                0x88 => {
                    self.ended = true;
                    close(1000, "")
                }
                first => frame(first, &payload),
            });
        }
    }

    fn is_ready(&self) -> bool {
        let interest = self.watched.map(|(_, interest)| interest).unwrap_or_default();
        interest.write || interest.read && (self.ended || !self.input.is_empty())
    }
}

struct Memory {
    net: Net,
    poller: Arc<MemoryPoller>,
}

struct MemoryPoller(Net);

impl Sys for Memory {
    type Socket = usize;
    type Poller = MemoryPoller;

    fn poller(&self) -> &Arc<MemoryPoller> {
        &self.poller
    }

    fn now(&self) -> Instant {
        self.net.lock().now
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(7);
        Ok(())
    }

    fn connect(&mut self, _: SocketAddr) -> io::Result<usize> {
        let tcps = &mut self.net.lock().tcps;
        tcps.push(Tcp::default());
        Ok(tcps.len() - 1)
    }

    fn is_connected(&mut self, _: &usize) -> bool {
        true
    }

    fn connected(&mut self, _: &usize) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, socket: &usize, buf: &mut [u8]) -> io::Result<usize> {
        let tcp = &mut self.net.lock().tcps[*socket];
        let n = tcp.input.len().min(buf.len());
        buf.iter_mut().zip(tcp.input.drain(..n)).for_each(|(to, byte)| *to = byte);
        if n == 0 && !tcp.ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn write(&mut self, socket: &usize, bytes: &[u8]) -> io::Result<usize> {
        let tcp = &mut self.net.lock().tcps[*socket];
        tcp.got.extend_from_slice(bytes);
        tcp.serve(*socket);
        self.net.0.stirred.notify_all();
        Ok(bytes.len())
    }

    fn shutdown_write(&mut self, socket: &usize) {
        self.net.lock().tcps[*socket].ended = true;
        self.net.0.stirred.notify_all();
    }

    fn watch(&mut self, socket: &usize, token: u64, interest: Interest, _: bool) -> io::Result<()> {
        self.net.lock().tcps[*socket].watched = Some((token, interest));
        self.net.0.stirred.notify_all();
        Ok(())
    }

    fn forget(&mut self, socket: &usize) {
        self.net.lock().tcps[*socket].watched = None;
    }

    fn resolve(&mut self, _: u64, _: &str, _: u16) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::NotFound, "there are no names here"))
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        None
    }
}

impl Poller for MemoryPoller {
    /// If nothing is ready, the clock advances to the deadline of the wait at once.
    fn wait(&self, _: Instant, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut state = self.0.lock();
        state.waits += 1;
        loop {
            for tcp in state.tcps.iter().filter(|tcp| tcp.is_ready()) {
                if let Some((token, interest)) = tcp.watched {
                    ready.push(Ready { token, read: interest.read, write: interest.write });
                }
            }
            if std::mem::take(&mut state.woken) || !ready.is_empty() {
                return Ok(());
            }
            if let Some(until) = until {
                state.now = state.now.max(until);
                return Ok(());
            }
            state = self.0.0.stirred.wait(state).unwrap();
        }
    }

    fn now(&self) -> Instant {
        self.0.lock().now
    }

    fn wake(&self) {
        self.0.lock().woken = true;
        self.0.0.stirred.notify_all();
    }
}

/// Longer than any limit of these tests.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn ws() -> Options {
    Options::new("ws://192.0.2.1/ws").unwrap().ping_interval(None)
}

fn get(path: &str) -> StreamOptions {
    StreamOptions::get(&format!("http://192.0.2.1/{path}")).unwrap()
}

#[test]
fn a_blocking_web_socket_has_the_network_and_the_clock_of_its_system() {
    let mut ws = ws().connect_on(Net::new().sys(), Config::default()).unwrap();
    ws.send_text("hello").unwrap();
    assert_eq!(ws.read().unwrap(), Some(Message::from("hello")));
    assert_eq!(ws.read_timeout(YEAR).unwrap(), Received::Nothing);
    // The clock advances only in waits, and there was none.
    assert_eq!(ws.round_trip(YEAR).unwrap(), Some(Duration::ZERO));
    assert_eq!(ws.close(1000, "").unwrap().code, Some(1000));
}

/// If the client closed the socket while bytes are unread, its kernel would reset the connection,
/// and the close frame could be lost.
#[test]
fn what_a_dropped_web_socket_has_not_read_is_read_and_nothing_is_waited_for() {
    // If the messages are empty, the bytes that the client has read take many turns.
    for (message, count) in [(frame(0x82, &[7; 1000]), 200), (frame(0x82, b""), 35_000)] {
        let net = Net::new();
        let mut ws = ws().connect_on(net.sys(), Config::default()).unwrap();
        net.lock().tcps[0].input.extend(message.repeat(count));
        assert!(matches!(ws.read().unwrap(), Some(Message::Binary(_))));
        assert!(net.lock().tcps[0].input.len() > 1000);
        let before = net.lock().waits;
        drop(ws);
        let state = net.lock();
        assert_eq!((state.tcps[0].input.len(), state.tcps[0].ended), (0, true));
        assert!(state.waits - before < 10, "{}", state.waits - before);
    }
}

#[test]
fn both_halves_of_one_have_it() {
    let ws = ws().connect_on(Net::new().sys(), Config::default()).unwrap();
    let (sender, mut receiver) = ws.split().unwrap();
    sender.send(&Message::from(vec![1, 2])).unwrap();
    assert_eq!(receiver.read().unwrap(), Some(Message::from(vec![1, 2])));
    sender.close(1000, "").unwrap();
    assert_eq!(receiver.read().unwrap(), None);
}

#[test]
fn a_stream_has_it() {
    let mut stream = get("hello").open_on(Net::new().sys(), Config::default()).unwrap();
    assert_eq!(stream.read_to_string(5).unwrap(), "hello");
    let mut stream = get("open").open_on(Net::new().sys(), Config::default()).unwrap();
    assert_eq!(stream.read_timeout(YEAR).unwrap(), Piece::Chunk(b"hello".to_vec()));
    assert_eq!(stream.read_timeout(YEAR).unwrap(), Piece::Nothing);
}

#[test]
fn a_client_has_it() {
    let (client, mut events) = Client::spawn_on(Net::new().sys(), Config::default()).unwrap();
    let id = client.open(ws()).unwrap();
    let mut texts = Vec::new();
    for event in &mut events {
        match event.unwrap() {
            (_, Event::Opened(_)) => client.send_text(id, "hello").unwrap(),
            (_, Event::Text(text)) => {
                texts.push(text.into_string());
                client.close(id, 1000, "").unwrap();
            }
            (_, Event::Closed(how)) => assert!(matches!(how, Closed::Clean(_)), "{how}"),
            _ => {}
        }
    }
    assert_eq!(texts, ["hello"]);
    assert_eq!(events.finish(Some(YEAR)), 0);
}

/// The clock of the system measures the waits between two attempts.
#[test]
fn an_event_source_has_it_over_all_its_connections() {
    let net = Net::new();
    let sys = net.clone();
    let mut source = EventSource::on(get("events"), move || Ok(sys.sys())).reconnect(true);
    let start = net.lock().now;
    for number in 0..4 {
        assert_eq!(source.next_event().unwrap().unwrap().data, number.to_string());
    }
    let waited = net.lock().now.saturating_duration_since(start);
    assert!(waited >= Limits::default().sse_retry_floor * 3, "{waited:?}");
    assert!(matches!(source.next_timeout(YEAR).unwrap(), Incoming::Reconnecting { .. }));
}

/// Another configuration needs another reactor, and so another system.
#[test]
fn an_event_source_makes_a_system_for_each_configuration() {
    let (net, mut made) = (Net::new(), 0);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (sys, its) = (net.clone(), Arc::clone(&calls));
    let mut source = EventSource::on(get("events"), move || {
        made += 1;
        its.lock().unwrap().push(made);
        if made == 2 { Err(io::Error::other("not now")) } else { Ok(sys.sys()) }
    });
    assert_eq!(source.next_event().unwrap().unwrap().data, "0");
    assert!(source.next_event().unwrap().is_none());
    source.restart();
    assert_eq!(source.next_event().unwrap().unwrap().data, "1");
    assert_eq!(calls.lock().unwrap().len(), 1, "the same configuration, the same system");
    let mut source = source.config(Config::default());
    source.restart();
    let error = source.next_event().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    source.restart();
    assert_eq!(source.next_event().unwrap().unwrap().data, "2");
    assert_eq!(*calls.lock().unwrap(), [1, 2, 3]);
}
