//! The numbers of [`Limits`] that this folder checks, each at the bound and one beyond it, on a
//! system whose clock and sockets the test controls (docs/LIMITS.md).

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::faces::HoldingSink;
use super::sys::{Interest, Poller, Ready, Sys};
use super::{
    Ask, Batch, Closed, Config, Conn, ConnId, Event, Options, Reactor, ResolverAnswer,
    StreamOptions,
};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::policy::Policy;
use crate::proto::CloseFrame;
use crate::proto::ws::handshake;
use crate::trace::{Observer, Trace};

mod at_once;
#[cfg(feature = "deflate")]
mod compress;
mod kept;
mod memory;
mod opening;
#[cfg(feature = "tls")]
mod tls;
mod upload;
mod wire;

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);
const URL: &str = "ws://127.0.0.1/";
const HTTP_URL: &str = "http://127.0.0.1/";

/// No event.
const NOTHING: [&str; 0] = [];

/// A connection, seen from its server.
struct Tcp {
    to: SocketAddr,
    at: Instant,
    watched: Option<(u64, Interest)>,
    accepted: bool,
    dropped: bool,
    input: VecDeque<u8>,
    output: Vec<u8>,
    /// How many bytes the system takes before it returns `WouldBlock`.
    room: usize,
    /// For how many bytes each read asked.
    reads: Vec<usize>,
    /// At most this many bytes a read returns.
    most: usize,
    /// How many of the next reads a signal interrupts.
    interrupts: usize,
    /// How many writes there were.
    writes: usize,
    /// Whether writes fail.
    broken: bool,
    /// Whether the server has ended its side.
    ended: bool,
}

struct State {
    now: Instant,
    tcps: Vec<Tcp>,
    asked: Vec<(u64, u16)>,
    /// The names that the reactor asked for.
    names: Vec<String>,
    answers: VecDeque<ResolverAnswer>,
    /// Whether connections are accepted without a call of the test.
    accepts: bool,
    /// How many sockets the system has.
    sockets: usize,
    /// Whether the system refuses to watch a socket.
    is_deaf: bool,
}

#[derive(Clone)]
struct World(Arc<Mutex<State>>);

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Toy(World, Arc<World>);

struct Fd(World, usize);

impl Drop for Fd {
    fn drop(&mut self) {
        self.0.lock().tcps[self.1].dropped = true;
    }
}

impl Sys for Toy {
    type Socket = Fd;
    type Poller = World;

    fn poller(&self) -> &Arc<World> {
        &self.1
    }

    fn now(&self) -> Instant {
        self.0.lock().now
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0);
        Ok(())
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<Fd> {
        let mut state = self.0.lock();
        if state.tcps.iter().filter(|tcp| !tcp.dropped).count() >= state.sockets {
            // EMFILE on every Unix; WSAEMFILE.
            let code = if cfg!(windows) { 10024 } else { 24 };
            return Err(io::Error::from_raw_os_error(code));
        }
        let (at, accepted, id) = (state.now, state.accepts, state.tcps.len());
        let (watched, dropped, room, most) = (None, false, usize::MAX, usize::MAX);
        let (input, output, reads) = Default::default();
        let (interrupts, writes, broken, ended) = Default::default();
        let tcp = Tcp {
            to,
            at,
            watched,
            accepted,
            dropped,
            input,
            output,
            room,
            reads,
            most,
            interrupts,
            writes,
            broken,
            ended,
        };
        state.tcps.push(tcp);
        Ok(Fd(self.0.clone(), id))
    }

    fn connected(&mut self, _: &Fd) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, socket: &Fd, buf: &mut [u8]) -> io::Result<usize> {
        let tcp = &mut self.0.lock().tcps[socket.1];
        tcp.reads.push(buf.len());
        if tcp.interrupts > 0 {
            tcp.interrupts -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = tcp.input.len().min(buf.len()).min(tcp.most);
        buf.iter_mut().zip(tcp.input.drain(..n)).for_each(|(to, byte)| *to = byte);
        let later = n == 0 && !tcp.ended;
        if later { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn write(&mut self, socket: &Fd, bytes: &[u8]) -> io::Result<usize> {
        let tcp = &mut self.0.lock().tcps[socket.1];
        tcp.writes += 1;
        if tcp.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n = bytes.len().min(tcp.room);
        tcp.output.extend_from_slice(&bytes[..n]);
        tcp.room -= n;
        if n == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn shutdown_write(&mut self, _: &Fd) {}

    fn watch(&mut self, socket: &Fd, token: u64, what: Interest, _: bool) -> io::Result<()> {
        let state = &mut self.0.lock();
        if state.is_deaf {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        state.tcps[socket.1].watched = Some((token, what));
        Ok(())
    }

    fn forget(&mut self, socket: &Fd) {
        self.0.lock().tcps[socket.1].watched = None;
    }

    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        let mut state = self.0.lock();
        state.asked.push((id, port));
        state.names.push(name.to_owned());
        Ok(())
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        self.0.lock().answers.pop_front()
    }
}

impl Poller for World {
    /// Only the test moves the clock.
    fn wait(&self, _: Instant, _: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        for tcp in &self.lock().tcps {
            let Some((token, interest)) = tcp.watched else { continue };
            let read = interest.read && (!tcp.input.is_empty() || tcp.ended);
            let write = interest.write && tcp.accepted && tcp.room > 0;
            if read || write {
                ready.push(Ready { token, read, write });
            }
        }
        Ok(())
    }

    fn wake(&self) {}
}

/// The changes of state that an observer receives.
#[derive(Clone, Default)]
struct States(Arc<Mutex<Vec<String>>>);

impl States {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for States {
    fn observe(&mut self, _: Instant, _: u64, trace: Trace<'_>) {
        if let Trace::State(text) = trace {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

/// A reactor, its servers, and the reported events.
struct Bench {
    world: World,
    reactor: Reactor<Toy>,
    events: Vec<String>,
}

fn shown(event: Event<'_>) -> String {
    let error = |e: &Error| match e.kind() {
        ErrorKind::Timeout(limit) => format!("{:?}: {limit:?} are over", e.stage()),
        _ => format!("{:?}: {e}", e.stage()),
    };
    match event {
        Event::Opened(_) => "opened".into(),
        Event::Binary(data) => format!("binary {}", data.len()),
        Event::Response(response) => format!("response {}", response.status),
        Event::Chunk(data) => format!("chunk {}", data.len()),
        Event::Closing(frame) => format!("closing {frame}"),
        Event::Closed(Closed::Failed(e)) => format!("failed {}", error(&e)),
        Event::Closed(Closed::Lost(e)) => format!("lost {}", error(&e)),
        Event::Closed(closed) => closed.to_string(),
        other => format!("{other:?}"),
    }
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        Bench::with(Config { limits, ..Config::default() })
    }

    fn with(config: Config) -> Bench {
        let (tcps, asked, names, answers) = Default::default();
        let (now, accepts, sockets, is_deaf) = (Instant::now(), true, usize::MAX, false);
        let state = State { now, tcps, asked, names, answers, accepts, sockets, is_deaf };
        let world = World(Arc::new(Mutex::new(state)));
        let toy = Toy(world.clone(), Arc::new(world.clone()));
        let reactor = Reactor::with_sys(toy, config).unwrap();
        Bench { world, reactor, events: Vec::new() }
    }

    fn turn(&mut self) {
        let (now, events) = (self.world.lock().now, &mut self.events);
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| events.push(shown(event));
        self.reactor.turn(Some(now), &mut sink).unwrap();
    }

    /// Makes more turns than any step needs; returns their events.
    fn turns(&mut self) -> Vec<String> {
        (0..10).for_each(|_| self.turn());
        std::mem::take(&mut self.events)
    }

    /// Lets time pass, and then a turn that notices it.
    fn pass(&mut self, span: Duration) -> Vec<String> {
        self.world.lock().now += span;
        self.turns()
    }

    fn gives(&self, tcp: usize, bytes: &[u8]) {
        self.world.lock().tcps[tcp].input.extend(bytes);
    }

    /// The sizes of the reads since the last call.
    fn reads(&self, tcp: usize) -> Vec<usize> {
        std::mem::take(&mut self.world.lock().tcps[tcp].reads)
    }

    fn wrote(&self, tcp: usize) -> Vec<u8> {
        std::mem::take(&mut self.world.lock().tcps[tcp].output)
    }

    fn start(&mut self, ask: impl Into<Ask>) -> ConnId {
        let id = self.reactor.open(ask).unwrap();
        assert_eq!(self.turns(), NOTHING);
        id
    }

    /// The server's answer to the handshake of a connection.
    fn answer(&self, tcp: usize) -> String {
        answer_to(&String::from_utf8(self.wrote(tcp)).unwrap())
    }

    /// Opens the next connection; returns its id, and its number here.
    fn open(&mut self, options: Options) -> (ConnId, usize) {
        let tcp = self.world.lock().tcps.len();
        let id = self.start(options);
        self.gives(tcp, self.answer(tcp).as_bytes());
        assert_eq!(self.turns(), ["opened"]);
        (id, tcp)
    }

    fn is_dropped(&self, tcp: usize) -> bool {
        self.world.lock().tcps[tcp].dropped
    }
}

/// A server's answer to this head of a handshake.
fn answer_to(head: &str) -> String {
    let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let extensions = match head.contains("permessage-deflate") {
        true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        false => "",
    };
    format!(
        "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{extensions}\r\n",
        handshake::accept(key)
    )
}

fn ws() -> Options {
    Options::new(URL).unwrap()
}

fn get() -> StreamOptions {
    StreamOptions::get(HTTP_URL).unwrap()
}

/// A binary message of `n` bytes from the server.
fn binary(n: usize) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match n {
        0..126 => bytes.push(n as u8),
        126..65_536 => bytes.extend([126, (n >> 8) as u8, n as u8]),
        _ => bytes.extend([&[127][..], &(n as u64).to_be_bytes()].concat()),
    }
    bytes.resize(bytes.len() + n, 7);
    bytes
}

/// FAULTS 57: the limit is a total. A server sends one byte of its answer every 100 ms; the limit
/// of one second ends it to the nanosecond.
#[test]
fn bytes_that_drip_move_no_limit_of_any_phase() {
    let second = Duration::from_secs(1);
    let name = |scheme: &str| format!("{scheme}://name.example/");
    let opening = || Limits { opening: second, ..Limits::default() };
    let waits = |stage: Stage| format!("failed {stage:?}: 1s are over");
    let head = "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n";
    let interim = "HTTP/1.1 103 Hints\r\n\r\n".repeat(2);
    // A long handshake record of TLS.
    #[cfg(feature = "tls")]
    let (tls, record) =
        ("wss://127.0.0.1/", [&[22, 3, 3, 0x40, 0, 2, 0, 0x3F, 0xF0][..], &[3; 99]]);

    type Row = (&'static str, Ask, Limits, Vec<u8>, String);
    let ws = |url: &str| Ask::from(Options::new(url).unwrap());
    let http = |url: &str| Ask::from(StreamOptions::get(url).unwrap());
    let response = || Limits { response: second, ..Limits::default() };
    let rows: Vec<Row> = vec![
        ("DNS", ws(&name("ws")), opening(), vec![], waits(Stage::Resolve)),
        ("DNS of a stream", http(&name("http")), opening(), vec![], waits(Stage::Resolve)),
        ("connecting", ws(URL), opening(), vec![], waits(Stage::Connect)),
        #[cfg(feature = "tls")]
        ("TLS", ws(tls), opening(), record.concat(), waits(Stage::Tls)),
        ("the head of a 101", ws(URL), opening(), head.into(), waits(Stage::Handshake)),
        ("interim responses", ws(URL), opening(), interim.clone().into(), waits(Stage::Handshake)),
        ("the head of a response", http(HTTP_URL), response(), head.into(), waits(Stage::Response)),
        (
            "its interim responses",
            http(HTTP_URL),
            response(),
            interim.into(),
            waits(Stage::Response),
        ),
        (
            "the limit of a request",
            Ask::from(get().timeout(second)),
            Limits::default(),
            head.into(),
            waits(Stage::Response),
        ),
    ];
    for (phase, ask, limits, drip, want) in rows {
        let mut bench = Bench::new(limits);
        bench.world.lock().accepts = phase != "connecting";
        bench.start(ask);
        for i in 0..10 {
            if let Some(byte) = drip.get(i) {
                bench.gives(0, &[*byte]);
            }
            let span = if i < 9 { 100 * MS } else { 100 * MS - NS };
            assert_eq!(bench.pass(span), NOTHING, "{phase}");
        }
        assert_eq!(bench.pass(NS), [want], "{phase}");
        // Over TLS an alert may have to arrive first.
        bench.pass(Limits::default().linger);
        assert!(bench.world.lock().tcps.iter().all(|tcp| tcp.dropped), "{phase}");
    }
}

/// FAULTS 57, after opening: `Limits::close` and `Limits::linger` end it to the nanosecond, while
/// messages and single bytes go on.
#[test]
fn bytes_that_drip_do_not_put_off_the_end() {
    let limits = Limits { close: 1000 * MS, linger: 500 * MS, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let (id, tcp) = bench.open(ws());
    bench.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    bench.reactor.flush();
    for i in 0..9 {
        bench.gives(tcp, &binary(i));
        assert_eq!(bench.pass(100 * MS), [format!("binary {i}")]);
    }
    bench.gives(tcp, &[0x82]);
    assert_eq!(bench.pass(100 * MS - NS), NOTHING);
    let events = bench.pass(NS);
    assert!(
        events[0].ends_with(": the server did not answer the close frame for 1s"),
        "{events:?}"
    );

    // A server that has broken a rule goes on sending: it may still read our close frame.
    let (_, tcp) = bench.open(ws());
    bench.gives(tcp, &[0xFF]);
    assert!(bench.turns()[0].starts_with("failed "));
    for _ in 0..5 {
        assert!(!bench.is_dropped(tcp));
        bench.gives(tcp, &[0xFF]);
        bench.pass(100 * MS - NS);
    }
    assert!(!bench.is_dropped(tcp));
    bench.pass(5 * NS);
    assert!(bench.is_dropped(tcp));
}

/// FAULTS 57: data of a body ends a silence; framing does not, however slowly it comes.
#[test]
fn framing_that_drips_does_not_put_off_the_idle_limit() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for drip in [&b"5;name=value-of-it\r\n"[..], b"\r\n0;a=b\r\nTrailer: value"] {
        let mut bench = Bench::new(Limits::default());
        bench.start(get().idle(Some(1000 * MS)));
        bench.gives(0, head.as_bytes());
        assert_eq!(bench.turns(), ["response 200"]);
        if drip[0] == b'\r' {
            assert_eq!(bench.pass(999 * MS), NOTHING);
            bench.gives(0, b"1\r\nx");
            assert_eq!(bench.turns(), ["chunk 1"]);
        }
        for byte in &drip[..9] {
            bench.gives(0, &[*byte]);
            assert_eq!(bench.pass(100 * MS), NOTHING, "{drip:?}");
        }
        bench.gives(0, &drip[9..10]);
        assert_eq!(bench.pass(100 * MS - NS), NOTHING, "{drip:?}");
        let events = bench.pass(NS);
        assert!(events.len() == 1 && events[0].starts_with("lost Body: "), "{events:?}");
    }
}

/// A build without TLS sends nothing in the clear to a server or a proxy that it should reach by TLS.
#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_nothing_is_sent_to_what_needs_it() {
    let to = |url: &str| Ask::from(Options::new(url).unwrap());
    let proxy = super::Proxy::parse("https://10.0.0.1:3128").unwrap();
    for (ask, made) in [
        (to("wss://127.0.0.1/"), 1),
        (Ask::from(StreamOptions::get("https://127.0.0.1/").unwrap()), 1),
        (Ask::from(ws().proxy(proxy.clone())), 1),
        (Ask::from(get().proxy(proxy)), 1),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.reactor.open(ask).unwrap();
        let events = bench.turns();
        assert!(
            events.len() == 1 && events[0].contains("which this build leaves out"),
            "{events:?}"
        );
        assert_eq!(bench.world.lock().tcps.len(), made);
        assert_eq!((bench.wrote(0), bench.is_dropped(0)), (vec![], true));
    }
}

/// The error of a secret URL shows no host, also where TLS refuses its name.
#[cfg(feature = "tls")]
#[test]
fn a_host_that_is_no_name_for_tls_is_named_unless_its_url_is_secret() {
    let host = "-a.example";
    let url = format!("wss://{host}/");
    let resolve: Vec<super::Override> = vec![format!("{host}:443:127.0.0.1").parse().unwrap()];
    for (secret, want) in [
        (false, format!("failed Tls: {url}: TLS: {host} is not a name for TLS")),
        (true, "failed Tls: ***: TLS: the host is not a name for TLS".to_owned()),
    ] {
        let options = Options::new(&url).unwrap();
        let options = if secret { options.secret_url() } else { options };
        let mut bench = Bench::with(Config { resolve: resolve.clone(), ..Config::default() });
        bench.reactor.open(options).unwrap();
        assert_eq!(bench.turns(), [want]);
    }
}

/// `Limits::pong`, and the interval of the keep-alive ping before it.
#[test]
fn a_keep_alive_ping_has_its_time_and_no_more() {
    let mut bench = Bench::new(Limits { pong: 300 * MS, ..Limits::default() });
    let (_, tcp) = bench.open(ws().ping_interval(Some(1000 * MS)));
    bench.pass(1000 * MS - NS);
    assert_eq!(bench.wrote(tcp), b"");
    bench.pass(NS);
    assert_eq!(bench.wrote(tcp), [0x89, 0x80, 0, 0, 0, 0]);
    // Any byte in time counts as an answer.
    bench.pass(300 * MS - NS);
    bench.gives(tcp, &[0x82]);
    assert_eq!(bench.pass(NS), NOTHING);
    bench.pass(1000 * MS);
    assert_eq!(bench.wrote(tcp), [0x89, 0x80, 0, 0, 0, 0]);
    assert_eq!(bench.pass(300 * MS - NS), NOTHING);
    let events = bench.pass(NS);
    assert!(events.len() == 1 && events[0].starts_with("lost Open: "), "{events:?}");
}

/// The round trip counts from the call, however long ago the last turn was.
#[test]
fn a_ping_counts_from_its_call() {
    let mut bench = Bench::new(Limits::default());
    let (id, tcp) = bench.open(ws());
    bench.world.lock().now += 1000 * MS;
    bench.reactor.ping(id, b"").unwrap();
    bench.pass(7 * MS);
    bench.gives(tcp, &[0x8A, 0]);
    assert_eq!(bench.turns().len(), 1);
    assert_eq!(bench.reactor.stats(id).unwrap().round_trip, Some(7 * MS));
}

/// `Limits::addresses` and `Limits::attempt_delay`.
#[test]
fn so_many_addresses_are_tried_each_so_much_after_the_other() {
    let limits = Limits { addresses: 3, attempt_delay: 250 * MS, ..Limits::default() };
    let mut bench = Bench::new(limits);
    bench.world.lock().accepts = false;
    bench.start(Options::new("ws://name.example/").unwrap());
    let (id, port) = bench.world.lock().asked[0];
    let all = (1..=4).map(|i| SocketAddr::new(IpAddr::from([10, 0, 0, i]), port)).collect();
    bench.world.lock().answers.push_back((id, Ok(all)));
    bench.turns();
    let start = bench.world.lock().now;
    let tried = |bench: &Bench| {
        let state = bench.world.lock();
        state.tcps.iter().map(|tcp| (tcp.to.to_string(), tcp.at - start)).collect::<Vec<_>>()
    };
    let want = [("10.0.0.1:80", 0), ("10.0.0.2:80", 250), ("10.0.0.3:80", 500)];
    let want = want.map(|(to, at)| (to.to_owned(), at * MS));
    assert_eq!(tried(&bench), want[..1]);
    for n in [2, 3] {
        bench.pass(250 * MS - NS);
        assert_eq!(tried(&bench), want[..n - 1]);
        bench.pass(NS);
        assert_eq!(tried(&bench), want[..n]);
    }
    bench.pass(5000 * MS);
    assert_eq!(tried(&bench), want, "the fourth is one too many");
}

/// `Limits::cork`: the send that queues this many bytes writes them.
#[test]
fn bytes_wait_for_the_end_of_the_turn_up_to_the_cork() {
    let mut bench = Bench::new(Limits { cork: 100, ..Limits::default() });
    let (id, tcp) = bench.open(ws());
    // Two bytes of header and four of mask key.
    bench.reactor.send_binary(id, &[1; 99 - 6]).unwrap();
    assert_eq!(bench.wrote(tcp).len(), 0);
    bench.turn();
    assert_eq!(bench.wrote(tcp).len(), 99);
    bench.reactor.send_binary(id, &[1; 100 - 6]).unwrap();
    assert_eq!(bench.wrote(tcp).len(), 100);
}

/// `Limits::cork_time`: a send after this time writes; none before it does.
#[test]
fn bytes_wait_for_the_next_send_up_to_the_cork_time() {
    let mut bench = Bench::new(Limits { cork_time: MS, ..Limits::default() });
    let (id, tcp) = bench.open(ws());
    let sends = |bench: &mut Bench| {
        (0..20).for_each(|_| bench.reactor.send_binary(id, b"x").unwrap());
        bench.wrote(tcp).len()
    };
    assert_eq!(sends(&mut bench), 0);
    bench.world.lock().now += MS;
    assert_eq!(sends(&mut bench), 0);
    bench.world.lock().now += NS;
    assert!(sends(&mut bench) > 0);
}

/// `Limits::turn`: a turn goes on below the limit, and stops at it.
#[test]
fn a_turn_hands_over_so_much_give_or_take_a_message() {
    // How many messages of 1,000 bytes one turn reports with this limit.
    let texts_of = |turn: usize| {
        let mut bench = Bench::new(Limits { turn, ..Limits::default() });
        let (_, tcp) = bench.open(ws());
        bench.gives(tcp, &binary(1000).repeat(20));
        bench.turn();
        let first = std::mem::take(&mut bench.events).len();
        let rest: usize = (0..2).map(|_| bench.turns().len()).sum();
        assert_eq!(first + rest, 20, "none is lost");
        first
    };
    // An event counts its bytes on the wire, and its weight.
    let one = (1..2000).rev().find(|&turn| texts_of(turn) == 1).unwrap();
    assert!((1004..1300).contains(&one), "{one}");
    assert_eq!(
        [texts_of(one), texts_of(one + 1), texts_of(3 * one), texts_of(3 * one + 1)],
        [1, 2, 3, 4]
    );
    assert_eq!(texts_of(usize::MAX), 20);
}

/// `Limits::turn`: messages without bytes count, too.
#[test]
fn a_turn_hands_over_so_many_empty_messages() {
    let messages_of = |first: u8| {
        let mut bench = Bench::new(Limits { turn: 10_000, ..Limits::default() });
        let (_, tcp) = bench.open(ws());
        bench.gives(tcp, &[first, 0].repeat(1000));
        bench.turn();
        bench.events.len()
    };
    // Texts are reported in runs, and count less.
    let (texts, others) = (messages_of(0x81), messages_of(0x82));
    assert!((100..1000).contains(&texts) && (10..100).contains(&others), "{texts} {others}");
}

/// `Limits::turn`: so does a message that is read into its own memory.
#[test]
fn a_turn_reads_so_much_of_a_large_message() {
    const SIZE: usize = 8 << 20;
    let limits = Limits { receive_buffer: 5000, in_place: 5000, turn: 10_000, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let (_, tcp) = bench.open(ws());
    bench.reads(tcp);
    bench.gives(tcp, &binary(SIZE));
    // The first read leaves room for another one; each of these is as large as the memory allows.
    for reads in [2, 1, 1] {
        bench.turn();
        assert_eq!(bench.reads(tcp).len(), reads);
    }
    assert_eq!(bench.turns(), [format!("binary {SIZE}")]);
}

/// A signal that interrupts a call of the system ends no connection.
#[test]
fn a_read_that_is_interrupted_is_made_again() {
    for in_place in [5000, usize::MAX] {
        let mut bench = Bench::new(Limits { in_place, ..Limits::default() });
        let (_, tcp) = bench.open(ws());
        let message = binary(40_000);
        let (start, rest) = message.split_at(10_000);
        for part in [start, rest] {
            assert_eq!(bench.turns(), NOTHING);
            bench.world.lock().tcps[tcp].interrupts = 2;
            bench.gives(tcp, part);
        }
        assert_eq!(bench.turns(), ["binary 40000"]);
    }
}

/// `Limits::turn`: pieces of a body are events, too, however small they are.
#[test]
fn a_turn_hands_over_so_many_pieces_of_a_body() {
    let pieces_of = |turn: usize| {
        let mut bench = Bench::new(Limits { turn, ..Limits::default() });
        bench.start(get());
        bench.gives(0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(bench.turns(), ["response 200"]);
        bench.gives(0, &b"1\r\na\r\n".repeat(100));
        bench.turn();
        let first = std::mem::take(&mut bench.events).len();
        let rest: usize = (0..10).map(|_| bench.turns().len()).sum();
        assert_eq!(first + rest, 100, "none is lost");
        first
    };
    let of_ten = (1..1000).rev().find(|&turn| pieces_of(turn) == 10).unwrap();
    assert_eq!([pieces_of(1), pieces_of(2 * of_ten), pieces_of(usize::MAX)], [1, 20, 100]);
}

/// `Limits::receive_buffer` and `Limits::receive_buffer_max`: the sizes of the reads.
#[test]
fn the_receive_buffer_starts_and_ends_where_it_is_told_to() {
    let all = |receive_buffer, receive_buffer_max, turn, bytes: &[u8]| {
        let limits = Limits { receive_buffer, receive_buffer_max, turn, ..Limits::default() };
        let mut bench = Bench::new(limits);
        let (_, tcp) = bench.open(ws());
        bench.reads(tcp);
        bench.gives(tcp, bytes);
        for _ in 0..=bytes.len() / turn.min(100) {
            bench.turn();
        }
        bench.reads(tcp)
    };
    // Frames of two bytes, so that no byte is kept between two reads.
    let reads =
        |first, most, waits: usize| all(first, most, usize::MAX, &[0x89, 0].repeat(waits / 2));
    // With one byte less than the buffer, there is no second read. After a full buffer, the next
    // read is as large as allowed.
    assert_eq!(reads(5000, 20_000, 4998), [5000]);
    assert_eq!(reads(5000, 20_000, 5000)[..2], [5000, 10_000]);
    let most = |max| reads(5000, max, 60_000).into_iter().max().unwrap();
    assert_eq!([most(20_000), most(20_001), most(5000), most(0)], [20_000, 20_001, 5000, 5000]);
    assert_eq!([reads(4096, 4096, 2), reads(4095, 4095, 2)], [[4096], [4096]], "the least");
    // Also if a turn has no room for another read of that size.
    let texts = [&b"\x81\x7E\x03\xE4"[..], &[b'a'; 996]].concat().repeat(200);
    assert_eq!(all(5000, 20_000, 20_000, &texts).into_iter().max(), Some(20_000));
    // No read asks for more than a turn has room for,
    assert_eq!(all(5000, 64_000, 20_000, &texts).into_iter().max(), Some(20_000));
    // or for more because of a part of a frame that was kept.
    let pings = [&[0x89, 125][..], &[7; 125]].concat().repeat(1000);
    let most = all(5000, 20_000, usize::MAX, &pings).into_iter().max().unwrap();
    assert!((19_000..=20_000).contains(&most), "{most}");
    // The buffer does not grow if it holds events for other turns,
    let empty = [0x82, 0].repeat(100_000);
    assert_eq!(all(5000, 20_000, 100_000, &empty).into_iter().max(), Some(20_000));
    // or messages to be pulled.
    let turn = 5000;
    let limits =
        Limits { receive_buffer: 5000, receive_buffer_max: 20_000, turn, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let (id, tcp) = bench.open(ws());
    bench.reads(tcp);
    bench.gives(tcp, &b"\x81\0".repeat(100_000));
    bench.reactor.be_lazy(true);
    let mut got = 0;
    while got < 100_000 {
        bench.turn();
        while bench.reactor.pull(id).is_some() {
            got += 1;
        }
    }
    assert_eq!(bench.reads(tcp).into_iter().max(), Some(20_000), "whatever a turn has room for");
    assert!(!bench.reactor.has_work(), "nothing is left to be pulled");
}

/// A read that asks for less than the buffer has room for does not enlarge it; where messages are
/// pulled, a read asks for all of it.
#[test]
fn the_receive_buffer_is_not_larger_than_reads_make_it() {
    let (receive_buffer, receive_buffer_max) = (5000, 64_000);
    let limits = Limits { receive_buffer, receive_buffer_max, turn: 19_000, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let (_, tcp) = bench.open(ws());
    bench.gives(tcp, &binary(996).repeat(200));
    for _ in 0..3 {
        bench.turns();
    }
    assert_eq!(bench.reads(tcp).into_iter().max(), Some(19_000));
    bench.reactor.be_lazy(true);
    bench.gives(tcp, &binary(1));
    bench.turn();
    assert_eq!(bench.reads(tcp), [20_000]);
}

/// A turn reads again if it has room for as many bytes as the buffer.
#[test]
fn a_turn_reads_as_often_as_it_has_room() {
    // Of the first 5,000 bytes, 47 are the start of a ping that is not whole.
    let pings = [&[0x89, 125][..], &[7; 125]].concat().repeat(100);
    let taken = 39 * 127;
    for (turn, reads) in [(2 * taken - 1, 1), (2 * taken, 2)] {
        let mut bench = Bench::new(Limits {
            receive_buffer: 5000,
            receive_buffer_max: 5000,
            turn,
            ..Limits::default()
        });
        let (_, tcp) = bench.open(ws());
        bench.reads(tcp);
        bench.gives(tcp, &pings);
        bench.turn();
        assert_eq!(bench.reads(tcp), vec![5000; reads], "{turn}");
    }
}

/// Input that may wait for long is kept in memory of its own size, and the receive buffer is there
/// for the next read.
#[test]
fn the_receive_buffer_does_not_stay_with_a_connection_that_is_paused() {
    let (receive_buffer, receive_buffer_max) = (5000, 10_000);
    let mut bench = Bench::new(Limits { receive_buffer, receive_buffer_max, ..Limits::default() });
    let [(_, first), (_, second)] = [(); 2].map(|()| bench.open(ws()));
    bench.gives(first, &[0x89, 0].repeat(2500));
    assert_eq!(bench.turns(), NOTHING);
    bench.gives(first, &binary(1).repeat(2));
    let now = bench.world.lock().now;
    let mut pauses = |conn: &mut Conn<'_>, _: Event<'_>| conn.pause();
    bench.reactor.turn(Some(now), &mut pauses).unwrap();
    bench.reads(second);
    bench.gives(second, &binary(2));
    assert_eq!(bench.turns(), ["binary 2"]);
    assert_eq!(bench.reads(second), [10_000]);
}

/// `Reactor::release`: its events are no longer reported, although messages still come.
#[test]
fn a_connection_that_was_released_reports_nothing() {
    let mut bench = Bench::new(Limits::default());
    let (id, tcp) = bench.open(ws());
    bench.reactor.release(id, &CloseFrame::new(1001, ""));
    bench.gives(tcp, &binary(5).repeat(2));
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.reactor.len(), 1, "it waits for the answer to its close frame");
}

/// Without TLS, a trace says that a WebSocket is open; a response is shown by itself.
#[test]
fn an_observer_sees_what_is_open() {
    for (stream, says) in [(false, true), (true, false)] {
        let states = States::default();
        let observer: Option<Box<dyn Observer>> = Some(Box::new(states.clone()));
        let mut bench = Bench::with(Config { observer, ..Config::default() });
        if stream {
            bench.start(get());
            bench.gives(0, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(bench.turns(), ["response 200"]);
        } else {
            bench.open(ws());
        }
        let states = states.take();
        let is_said = states.iter().any(|text| text == "open" || text == "answered");
        assert_eq!(is_said, says, "{states:?}");
        assert!(states.iter().any(|text| text.starts_with("it took: ")), "{states:?}");
    }
}

/// [`Reactor::deadline`]: a loop that is not the reactor's need not wait for a socket first.
#[test]
fn a_turn_is_due_for_what_the_last_one_has_left() {
    let mut bench = Bench::new(Limits { turn: 1, ..Limits::default() });
    let [(_, first), (_, second)] = [(); 2].map(|()| bench.open(ws()));
    let now = bench.world.lock().now;
    assert_eq!(bench.reactor.deadline(), None);
    // The second socket was found ready.
    bench.gives(first, &binary(1));
    bench.gives(second, &binary(2));
    bench.turn();
    assert_eq!(
        (&bench.events[..], bench.reactor.deadline()),
        (&["binary 1".into()][..], Some(now))
    );
    assert_eq!(bench.turns(), ["binary 1", "binary 2"]);
    assert_eq!(bench.reactor.deadline(), None);
    // The end of a connection whose code has panicked is to be reported.
    bench.gives(first, &binary(1));
    let turn = AssertUnwindSafe(|| {
        let mut sink = |_: &mut Conn<'_>, _: Event<'_>| resume_unwind(Box::new("as planned"));
        bench.reactor.turn(Some(now), &mut sink).unwrap();
    });
    assert!(catch_unwind(turn).is_err());
    assert_eq!(bench.reactor.deadline(), Some(now));
}

/// RFC 6455 §7.1.1: the server closes first, so its end comes with its last frame or right behind.
#[test]
fn what_comes_behind_the_last_frame_is_read_in_the_same_turn() {
    let mut bench = Bench::new(Limits::default());
    let (id, tcp) = bench.open(ws());
    let reads = |bench: &mut Bench, bytes: &[u8]| {
        bench.reads(tcp);
        bench.gives(tcp, bytes);
        bench.turn();
        bench.reads(tcp).len()
    };
    assert_eq!(reads(&mut bench, &binary(5)), 1, "more is to be waited for");
    bench.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    assert_eq!(reads(&mut bench, &binary(5)), 1, "the server has not answered");
    assert_eq!(reads(&mut bench, b"\x88\x02\x03\xE8"), 2);
    // A server that goes on sending gets no more of a turn.
    bench.world.lock().tcps[tcp].most = 1;
    assert_eq!(reads(&mut bench, &[0; 100]), 2);
}

/// A large message is read into its own buffer, to its end. The start of the next one is read into
/// the shared buffer, in its initial size, which does not grow for it.
#[test]
fn a_large_message_is_followed_by_a_short_read() {
    let (turn, receive_buffer_max) = (usize::MAX, 64_000);
    let limits = Limits {
        receive_buffer: 5000,
        receive_buffer_max,
        in_place: 5000,
        turn,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits);
    let (_, tcp) = bench.open(ws());
    bench.reads(tcp);
    let large = [&[0x82, 126, 0x9C, 0x40][..], &[7; 40_000]].concat();
    bench.gives(tcp, &large.repeat(3));
    bench.turn();
    let reads = bench.reads(tcp);
    let message = [5000, 40_004 - 5000];
    assert_eq!(reads[..6], [message; 3].concat(), "{reads:?}");
    assert_eq!(bench.events.iter().filter(|event| event.contains("binary")).count(), 3);
    // The first read has filled the shared buffer; those into the messages have not.
    bench.turns();
    bench.reads(tcp);
    bench.gives(tcp, &[0x89, 0]);
    bench.turn();
    assert_eq!(bench.reads(tcp), [10_000]);
}

/// How many bytes of each of these connections were reported and not consumed; a ping shows whether
/// a socket is read.
struct Flood {
    bench: Bench,
    batch: Batch,
    open: Vec<(ConnId, usize)>,
}

impl Flood {
    fn new(limits: Limits, connections: usize) -> Flood {
        let mut bench = Bench::new(limits);
        let open = (0..connections).map(|_| bench.open(ws())).collect();
        Flood { bench, batch: Batch::default(), open }
    }

    fn turns(&mut self) {
        let now = self.bench.world.lock().now;
        for _ in 0..10 {
            self.bench.reactor.turn(Some(now), &mut HoldingSink(&mut self.batch)).unwrap();
        }
    }

    /// Reports exactly this many bytes of this connection.
    fn hold(&mut self, k: usize, bytes: usize) {
        let before = self.held(k);
        self.bench.gives(self.open[k].1, &binary(bytes - Batch::EVENT));
        self.turns();
        assert_eq!(self.held(k), before + bytes);
    }

    fn held(&self, k: usize) -> usize {
        let of = |(id, _): &&(ConnId, usize)| *id == self.open[k].0;
        self.batch.costs().iter().filter(of).map(|(_, cost)| cost).sum()
    }

    fn consume(&mut self, k: usize, bytes: usize) {
        self.bench.reactor.consumed(self.open[k].0, bytes);
        self.turns();
    }

    fn is_read(&mut self, k: usize) -> bool {
        let tcp = self.open[k].1;
        self.bench.gives(tcp, &[0x89, 0]);
        self.turns();
        !self.bench.wrote(tcp).is_empty()
    }
}

/// `Limits::high_water` and `Limits::low_water`.
#[test]
fn a_connection_is_read_up_to_the_high_mark_and_again_from_the_low_one() {
    let limits = Limits { high_water: 3000, low_water: 1000, ..Limits::default() };
    let mut flood = Flood::new(limits, 2);
    flood.hold(0, 1500);
    flood.hold(0, 1500);
    assert!(flood.is_read(0), "3000, which is the bound");
    flood.consume(0, 1);
    flood.hold(0, 1000);
    flood.consume(0, 998);
    assert!(!flood.is_read(0), "3001, which was read; then nothing is, above the low mark");
    assert!(flood.is_read(1), "the other has its own");
    flood.consume(0, 3001 - 1000 - 1);
    assert!(!flood.is_read(0) && flood.bench.reactor.may_be_unread(), "1001");
    flood.consume(0, 1);
    assert!(flood.is_read(0) && !flood.bench.reactor.may_be_unread(), "1000");
}

/// `Limits::high_water_total`: past it, each connection is stopped at its low mark.
#[test]
fn all_connections_together_are_read_up_to_a_mark() {
    let limits =
        Limits { high_water: 9000, low_water: 1000, high_water_total: 4000, ..Limits::default() };
    let mut flood = Flood::new(limits, 3);
    flood.hold(0, 2000);
    flood.hold(1, 1000);
    flood.hold(2, 1000);
    assert!((0..3).all(|k| flood.is_read(k)), "4000 in all");
    flood.consume(2, 1000);
    flood.hold(2, 1001);
    // 4001: connections above their low mark stop when they receive more.
    flood.hold(0, 100);
    assert_eq!([0, 1, 2].map(|k| flood.is_read(k)), [false, true, false]);
}

/// Bytes that a connection held when it ended no longer count.
#[test]
fn a_connection_that_is_gone_leaves_nothing_that_counts() {
    let limits =
        Limits { high_water: 9000, low_water: 1000, high_water_total: 4000, ..Limits::default() };
    let mut flood = Flood::new(limits.clone(), 2);
    flood.hold(0, 3000);
    flood.bench.reactor.release(flood.open[0].0, &CloseFrame::new(1001, ""));
    flood.turns();
    flood.bench.world.lock().now += limits.close + limits.linger;
    flood.turns();
    flood.bench.world.lock().now += limits.linger;
    flood.turns();
    assert!(flood.bench.is_dropped(flood.open[0].1));
    flood.hold(1, 2000);
    assert!(flood.is_read(1), "2000 in all, above the low mark");
}

/// `Limits::opening`, where the next address would be due only later.
#[test]
fn the_limit_comes_before_an_attempt_that_would_be_later() {
    let limits = Limits { opening: 100 * MS, attempt_delay: 250 * MS, ..Limits::default() };
    let mut bench = Bench::new(limits);
    bench.world.lock().accepts = false;
    bench.start(Options::new("ws://name.example/").unwrap());
    let (id, port) = bench.world.lock().asked[0];
    let all = (1..=3).map(|i| SocketAddr::new(IpAddr::from([10, 0, 0, i]), port)).collect();
    bench.world.lock().answers.push_back((id, Ok(all)));
    bench.turns();
    let start = bench.world.lock().now;
    assert_eq!(bench.reactor.deadline(), Some(start + 100 * MS));
    assert_eq!(bench.pass(100 * MS - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Connect: 100ms are over"]);
}

/// A silent stream whose idle limit passes in 100 ms.
fn idle(bench: &mut Bench) -> ConnId {
    let tcp = bench.world.lock().tcps.len();
    let id = bench.start(get().idle(Some(100 * MS)));
    bench.gives(tcp, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(bench.turns(), ["response 200"]);
    id
}

/// A deadline that a turn has no room for is put off; a panic later in that turn does not lose it.
#[test]
fn a_panic_does_not_lose_the_time_limits_that_a_full_turn_has_put_off() {
    let mut bench = Bench::new(Limits { turn: 1, ..Limits::default() });
    let [_, put_off, talks] = [(); 3].map(|()| idle(&mut bench));
    bench.world.lock().accepts = false;
    let panics = bench.start(ws().timeout(100 * MS));
    bench.world.lock().now += 100 * MS;
    bench.gives(talks.index(), b"x");
    let (now, mut events) = (bench.world.lock().now, Vec::new());
    let turn = AssertUnwindSafe(|| {
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            events.push(conn.id());
            if conn.id() == panics {
                resume_unwind(Box::new("the sink's own fault"));
            }
            drop(event);
        };
        bench.reactor.turn(Some(now), &mut sink).unwrap();
    });
    assert!(catch_unwind(turn).is_err());
    assert!(events.contains(&panics) && !events.contains(&put_off), "{events:?}");
    assert_eq!(bench.reactor.deadline(), Some(now), "there is work");
    // The next turn checks it.
    bench.turn();
    let events = &bench.events;
    assert_eq!(events.iter().filter(|text| text.contains("100ms")).count(), 1, "{events:?}");
}

/// Panics at every item of one connection.
struct Touchy(Arc<Mutex<Option<u64>>>);

impl Observer for Touchy {
    fn observe(&mut self, _: Instant, connection: u64, _: Trace<'_>) {
        if *self.0.lock().unwrap() == Some(connection) {
            resume_unwind(Box::new("the observer's own fault"));
        }
    }
}

/// The first panic loses the connection; the second one comes while that end is reported.
#[test]
fn an_observer_that_panics_at_every_line_does_not_keep_an_end_from_being_reported() {
    let about = Arc::new(Mutex::new(None));
    let observer = Box::new(Touchy(Arc::clone(&about)));
    let mut bench = Bench::with(Config { observer: Some(observer), ..Config::default() });
    let id = bench.reactor.open(ws()).unwrap();
    *about.lock().unwrap() = Some(id.to_bits());
    for panics in [true, true, false, false] {
        let turn = AssertUnwindSafe(|| bench.turn());
        assert_eq!(catch_unwind(turn).is_err(), panics, "{:?}", bench.events);
    }
    assert!(
        matches!(&bench.events[..], [event] if event.contains("panicked")),
        "{:?}",
        bench.events
    );
    assert!(bench.reactor.is_empty());
}

/// The observer may panic at a connection whose gate lets it in while time limits are checked.
#[test]
fn a_panic_over_one_does_not_lose_the_time_limit_of_another() {
    let about = Arc::new(Mutex::new(None));
    let observer = Box::new(Touchy(Arc::clone(&about)));
    let mut bench = Bench::with(Config { observer: Some(observer), ..Config::default() });
    bench.world.lock().accepts = false;
    bench.start(ws().timeout(100 * MS));
    bench.world.lock().accepts = true;
    idle(&mut bench);
    let waits = bench.start(ws());
    *about.lock().unwrap() = Some(waits.to_bits());
    bench.world.lock().now += 100 * MS;
    assert!(catch_unwind(AssertUnwindSafe(|| bench.turn())).is_err());
    *about.lock().unwrap() = None;
    let events = bench.turns();
    let count_of = |what: &str| events.iter().filter(|text| text.contains(what)).count();
    assert_eq!(
        (count_of("failed"), count_of("idle"), count_of("panicked")),
        (1, 1, 1),
        "{events:?}"
    );
    assert!(bench.reactor.is_empty());
}

/// FAULTS 51, RFC 1034 §3.1: a name with a final dot is absolute, so the resolver has to get the
/// dot; for an override and the `Host` field, the host is the same with and without it.
#[test]
fn a_final_dot_of_the_url_reaches_the_resolver_and_nobody_else() {
    for (url, asked) in [
        ("ws://Name.example./", "name.example."),
        ("ws://name.example/", "name.example"),
        ("ws://name./", "name."),
    ] {
        let mut bench = Bench::new(Limits::default());
        bench.start(Options::new(url).unwrap());
        assert_eq!(bench.world.lock().names, [asked], "{url}");
        let (id, port) = bench.world.lock().asked[0];
        let to = Ok(vec![SocketAddr::new(IpAddr::from([10, 0, 0, 1]), port)]);
        bench.world.lock().answers.push_back((id, to));
        assert_eq!(bench.turns(), NOTHING, "{url}");
        let head = String::from_utf8(bench.wrote(0)).unwrap();
        let host = asked.trim_end_matches('.');
        assert!(head.contains(&format!("Host: {host}\r\n")), "{head}");

        for host in [host, asked] {
            let resolve = vec![format!("{host}:80:10.0.0.9").parse().unwrap()];
            let mut bench = Bench::with(Config { resolve, ..Config::default() });
            bench.start(Options::new(url).unwrap());
            let world = bench.world.lock();
            assert_eq!((world.names.len(), world.tcps.len()), (0, 1), "{url} as {host}");
        }
    }
}

/// FAULTS 62: a name that is not in the list itself is not sent to DNS, where others could see it.
#[test]
fn a_list_by_url_keeps_names_from_the_resolver() {
    let allowed = || ["10.0.0.0/8", "a.example"].map(|entry| entry.parse().unwrap());
    let url = "ws://stolen-data.evil.example/";
    let policy = Policy::list_by_url(allowed());
    let mut bench = Bench::with(Config { policy, ..Config::default() });
    bench.reactor.open(Options::new(url).unwrap()).unwrap();
    let events = bench.turns();
    assert!(events[0].contains("is not in the list"), "{events:?}");
    assert!(bench.world.lock().names.is_empty());
    bench.start(Options::new("ws://a.example/").unwrap());
    assert_eq!(bench.world.lock().names, ["a.example"]);
    // The other list allows names to be resolved, since their addresses may be in the network.
    let mut bench = Bench::with(Config { policy: Policy::list(allowed()), ..Config::default() });
    bench.start(Options::new(url).unwrap());
    assert_eq!(bench.world.lock().names.len(), 1);
}

/// The timer of an earlier wait wakes an external loop that waits for the descriptor, once. A
/// reactor on poll has no such descriptor.
#[cfg(all(target_os = "linux", not(moonwire_poll)))]
#[test]
fn what_an_earlier_wait_has_set_makes_the_descriptor_readable_once() {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let nobody = &mut |_: &mut Conn<'_>, _: Event<'_>| panic!("an event");
    reactor.poller().wake();
    reactor.turn(Some(Instant::now() + 1050 * MS), nobody).unwrap();
    assert_eq!(reactor.deadline(), None);
    let readable = |reactor: &Reactor| {
        let mut fds = [PollFd::from_borrowed_fd(reactor.epoll_fd().unwrap(), PollFlags::IN)];
        let most = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
        poll(&mut fds, Some(&most)).unwrap() > 0
    };
    // There are no bytes, and no deadline has passed.
    assert!(readable(&reactor));
    reactor.turn(Some(Instant::now()), nobody).unwrap();
    assert!(!readable(&reactor), "once only");
}

/// A turn that is full at the last byte of a body also reports the end, since no byte follows.
#[test]
fn the_end_of_a_body_comes_with_its_last_piece_however_full_the_turn_is() {
    let mut bench = Bench::new(Limits { turn: 1, ..Limits::default() });
    bench.start(get());
    bench.gives(0, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    bench.turn();
    assert_eq!(bench.events, ["response 200"]);
    bench.turn();
    assert_eq!(bench.events[1..], ["chunk 5", "complete"]);
}

/// A time limit may start with frames that a flush has written; a wait then has to know it.
#[test]
fn a_close_that_is_flushed_has_its_deadline() {
    let mut bench = Bench::new(Limits { close: 1000 * MS, ..Limits::default() });
    let (id, _) = bench.open(ws());
    assert_eq!(bench.reactor.deadline(), None);
    bench.reactor.close(id, &CloseFrame::new(1000, "")).unwrap();
    bench.reactor.flush();
    let now = bench.world.lock().now;
    assert_eq!(bench.reactor.deadline(), Some(now + 1000 * MS));
}
