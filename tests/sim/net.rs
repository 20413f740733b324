//! A simulated network: names, addresses, connections, servers, and a virtual clock.
//!
//! Time is virtual. It moves only while the program waits, from one event to the next. The seed
//! determines which event happens at which time. Sockets are ready as with level-triggered epoll,
//! or as with a poll(2) that is not Linux's ([`Noise::poll`]). After a reset, calls return what
//! they return on Linux: reads return the bytes that have arrived; then the first call returns the
//! error, once; later reads return the end.

mod calls;
mod end;
mod line;
mod queue;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moonwire::{Interest, Ready, ResolverAnswer};

use end::Server;
pub use end::{Io, Service};
pub use line::{Line, TURN};
use queue::Waiting;

use crate::pipe::{Piece, Pipe};
use crate::proxy::Through;
use crate::rng::Rng;

/// The result of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dial {
    Accepts(Duration),
    Refuses(Duration),
    Never,
    /// `connect` itself fails.
    Unreachable,
}

/// The result of a query for addresses.
#[derive(Clone, Debug)]
pub struct Name {
    /// The time from the query to the answer; `None`: it never comes.
    pub after: Option<Duration>,
    pub answer: Result<Vec<SocketAddr>, io::ErrorKind>,
    /// `resolve` itself fails.
    pub refused: bool,
    /// The answer comes a second time, after this time.
    pub again: Option<Duration>,
}

/// A fault of a stream at a byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    Reset,
    TimedOut,
    Finish,
    /// No more bytes arrive, and no error is reported.
    Stall,
}

/// How the bytes of one connection travel.
#[derive(Clone, Debug, Default)]
pub struct Path {
    pub latency: Duration,
    /// A random addition, up to this time.
    pub jitter: Duration,
    /// The rate of the link in bytes a second, to the server and from it; 0: unlimited.
    pub bandwidth: [usize; 2],
    /// Bytes that fit in each direction: in the sender's buffer, on the link, and in the receiver's
    /// buffer until its program has read them.
    pub window: usize,
    /// A segment has at most this many bytes.
    pub segment: usize,
    /// One system call moves at most this many bytes; 0: any number. The limit ends after a random
    /// number of bytes, at most `sips`.
    pub sip: usize,
    pub sips: u64,
    /// A fault in the server's bytes, and one in the client's.
    pub down: Option<(u64, Cut)>,
    pub up: Option<(u64, Cut)>,
}

/// How often each fault happens, in percent, while `budget` lasts.
#[derive(Clone, Debug, Default)]
pub struct Noise {
    pub budget: usize,
    pub would_block: usize,
    pub interrupted: usize,
    pub spurious: usize,
    /// One wait reports at most this many sockets; 0: all.
    pub few: usize,
    /// Waits behave as poll does. They report sockets in the order of their list, always from its
    /// start. They report a socket as writable as soon as it has room for one byte. A wait may end
    /// with nothing, as when another thread changes the list.
    pub poll: bool,
    /// A connection to a server that accepts at once is established when `connect` returns, as over
    /// loopback.
    pub prompt: bool,
    /// The clock advances by up to this time whenever it is read.
    pub tick: Duration,
    /// A wait that ends by its deadline ends up to this much later.
    pub oversleep: Duration,
}

/// A system call that must fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inject {
    /// Its number, from 0.
    pub call: u64,
    /// Which of its possible errors it returns.
    pub flavour: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    Random,
    Connect,
    Connected,
    Read,
    Write,
    Watch,
    Resolve,
    Wait,
}

type Make = dyn Fn(&mut Rng, SocketAddr) -> (Path, Box<dyn Service>) + Send;

enum Happening {
    Arrive { tcp: usize, up: bool },
    Dialled(usize),
    Pump(usize),
    Named(u64, Name),
}

/// A socket of the client, with its connection and the server's side of that.
pub struct Tcp {
    to: SocketAddr,
    up_and_running: bool,
    /// The id of the reactor's connection, known since the first `watch`.
    conn: Option<u64>,
    /// The error that the next call returns, once.
    error: Option<io::ErrorKind>,
    /// It was reset, or never connected.
    dead: bool,
    watched: Option<(u64, Interest)>,
    forgotten: bool,
    dropped: bool,
    finished: bool,
    up: Pipe,
    down: Pipe,
    path: Path,
    line: Line,
    rng: Rng,
    server: Option<Server>,
}

/// How a connection goes through a proxy.
pub struct Passage {
    pub through: Through,
    /// The server at which the connection waits for its turn (RFC 6455 §4.1): host and port of its
    /// URL, or the host's only address if the client resolves the name. A stream waits for no turn.
    pub beyond: Option<String>,
    /// How many addresses the client may send to the proxy, and the last name that it has resolved.
    pub targets: usize,
    asked: String,
}

impl Passage {
    pub fn new(through: Through, beyond: Option<String>, targets: usize) -> Passage {
        Passage { through, beyond, targets, asked: String::new() }
    }
}

pub struct Net {
    base: Instant,
    pub now: Duration,
    rng: Rng,
    seq: u64,
    events: BTreeMap<(Duration, u64), Happening>,
    pub tcps: Vec<Tcp>,
    pub places: HashMap<SocketAddr, (Vec<Dial>, usize)>,
    pub names: HashMap<String, Name>,
    pub make: Option<Box<Make>>,
    answers: VecDeque<ResolverAnswer>,
    pub woken: bool,
    pub noise: Noise,
    pub inject: Option<Inject>,
    pub calls: u64,
    /// The number of calls that wrote something.
    pub writes: u64,
    /// The number of calls without effect, and of those with one.
    pub wasted: u64,
    pub progress: u64,
    turn_calls: u64,
    /// In how many ways each call can fail.
    pub flavours: Vec<usize>,
    /// The number of calls of the program's code: its sink, its policy, its observer.
    pub embedder: u64,
    /// The number of the call that panics.
    pub fuse: Option<u64>,
    /// Set when it has panicked: the id of its connection, if that is known.
    pub blown: Option<Option<u64>>,
    /// How many opening handshakes one address may have at a time, and the connections that have
    /// completed theirs.
    pub gate: usize,
    opened: HashSet<u64>,
    /// Connections that go through a proxy.
    pub passages: HashMap<u64, Passage>,
    /// What the policy allowed: an address, and whether it is a proxy's.
    pub allowed: HashSet<(SocketAddr, bool)>,
    queue: Vec<Waiting>,
    gone: HashSet<u64>,
    /// The first law that was broken.
    pub broken: Option<String>,
    pub trace: Option<VecDeque<String>>,
}

pub type Shared = Arc<Mutex<Net>>;

pub fn lock(net: &Mutex<Net>) -> MutexGuard<'_, Net> {
    net.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The payload of the panic of the program's code.
pub struct Blown;

/// Counts a call of the program's code, and panics if this call has to.
pub fn burn(net: &Mutex<Net>, conn: Option<u64>) {
    let burns = lock(net).burns(conn);
    if burns {
        // Not `panic!`, whose hook would print it.
        std::panic::resume_unwind(Box::new(Blown));
    }
}

impl Net {
    pub fn new(seed: u64) -> Net {
        Net {
            base: Instant::now(),
            now: Duration::ZERO,
            rng: Rng::new(seed),
            seq: 0,
            events: BTreeMap::new(),
            tcps: Vec::new(),
            places: HashMap::new(),
            names: HashMap::new(),
            make: None,
            answers: VecDeque::new(),
            woken: false,
            noise: Noise::default(),
            inject: None,
            calls: 0,
            writes: 0,
            wasted: 0,
            progress: 0,
            turn_calls: 0,
            flavours: Vec::new(),
            embedder: 0,
            fuse: None,
            blown: None,
            gate: usize::MAX,
            opened: HashSet::new(),
            passages: HashMap::new(),
            allowed: HashSet::new(),
            queue: Vec::new(),
            gone: HashSet::new(),
            broken: None,
            trace: None,
        }
    }

    pub fn instant(&self) -> Instant {
        self.base + self.now
    }

    pub fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.base)
    }

    /// Adds a line to the trace, if there is one.
    pub fn log(&mut self, text: impl FnOnce() -> String) {
        /// The number of events that a trace keeps.
        const KEPT: usize = 300;
        if let Some(trace) = &mut self.trace {
            if trace.len() == KEPT {
                trace.pop_front();
            }
            trace.push_back(format!("{:>12.6} {}", self.now.as_secs_f64(), text()));
        }
    }

    /// Records that a law was broken; the first one counts.
    pub fn complain(&mut self, text: impl FnOnce() -> String) {
        if self.broken.is_none() {
            let text = text();
            self.log(|| format!("BROKEN: {text}"));
            self.broken = Some(text);
        }
    }

    /// The program's code is called for this connection; returns whether this call panics.
    fn burns(&mut self, conn: Option<u64>) -> bool {
        let burns = self.fuse == Some(self.embedder);
        self.embedder += 1;
        if burns {
            self.log(|| format!("({conn:?}) the embedder's code panics"));
            (self.blown, self.progress) = (Some(conn), self.progress + 1);
        }
        burns
    }

    pub fn start_turn(&mut self) {
        self.turn_calls = 0;
        self.tcps.iter_mut().filter(|tcp| !tcp.dropped).for_each(|tcp| tcp.line.start_turn());
    }

    /// Sends bytes to a server, or from it.
    fn ship(&mut self, id: usize, up: bool, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let now = self.now;
            let tcp = &mut self.tcps[id];
            let pipe = if up { &mut tcp.up } else { &mut tcp.down };
            let (piece, behind) = rest.split_at(pipe.segment(rest.len()));
            let after = pipe.send(now, Piece::Bytes(piece.to_vec()), &mut tcp.rng);
            self.later(after, Happening::Arrive { tcp: id, up });
            rest = behind;
        }
    }

    fn later(&mut self, after: Duration, what: Happening) {
        self.seq += 1;
        self.events.insert((self.now + after, self.seq), what);
    }

    // Time.

    /// Waits as epoll or poll does. Complains if nothing can ever end the wait.
    pub fn wait(&mut self, deadline: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.enter(Call::Wait)?;
        if self.noise.poll && self.noisy(10) {
            self.log(|| "a wait ends with nothing".into());
            return Ok(());
        }
        let deadline = deadline.map(|d| self.since(d));
        self.sleep(deadline, true);
        self.woken = false;
        self.collect(ready);
        Ok(())
    }

    /// Time passes until `deadline`; with `until_ready` at most until a socket is ready or the
    /// poller is woken.
    pub fn sleep(&mut self, deadline: Option<Duration>, until_ready: bool) {
        loop {
            self.run_due();
            if until_ready && (self.woken || self.is_anything_ready()) {
                return;
            }
            if deadline.is_some_and(|d| d <= self.now) {
                return;
            }
            let next = self.events.first_key_value().map(|((at, _), _)| *at);
            self.progress += 1;
            match (next, deadline) {
                (Some(at), d) if d.is_none_or(|d| at <= d) => self.now = self.now.max(at),
                (_, Some(d)) => {
                    let late = self.rng.range(0, self.noise.oversleep.as_nanos() as usize);
                    self.now = d + Duration::from_nanos(late as u64);
                }
                _ => {
                    self.complain(|| "waits for ever, and nothing will happen".into());
                    self.now += Duration::from_secs(1);
                    return;
                }
            }
        }
    }

    fn run_due(&mut self) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            match entry.remove() {
                Happening::Arrive { tcp, up: true } => self.arrive_up(tcp),
                Happening::Arrive { tcp, up: false } => self.arrive_down(tcp),
                Happening::Dialled(id) => self.dialled(id),
                Happening::Pump(id) => self.pump(id),
                Happening::Named(id, mut name) => {
                    if let Some(again) = name.again.take() {
                        self.later(again, Happening::Named(id, name.clone()));
                    }
                    self.answers.push_back((id, name.answer.map_err(io::Error::from)));
                    self.woken = true;
                }
            }
        }
    }

    fn dialled(&mut self, id: usize) {
        let tcp = &mut self.tcps[id];
        if tcp.dropped || tcp.dead {
            return;
        }
        if tcp.server.is_none() {
            (tcp.dead, tcp.error) = (true, Some(io::ErrorKind::ConnectionRefused));
            return;
        }
        tcp.up_and_running = true;
        self.log(|| format!("#{id} is accepted"));
        self.pump(id);
    }

    fn is_anything_ready(&self) -> bool {
        self.tcps.iter().any(|tcp| tcp.readiness(self.noise.poll).is_some())
    }

    fn collect(&mut self, ready: &mut Vec<Ready>) {
        let spurious = self.noisy(self.noise.spurious);
        let start = if self.noise.poll { 0 } else { self.rng.below(self.tcps.len()) };
        let few = if self.noise.few == 0 { usize::MAX } else { self.noise.few };
        let before = ready.len();
        for i in 0..self.tcps.len() {
            let tcp = &self.tcps[(start + i) % self.tcps.len()];
            let what = tcp.readiness(self.noise.poll).or_else(|| {
                let (token, interest) = tcp.watched.filter(|_| spurious && tcp.up_and_running)?;
                let Interest { read, write } = interest;
                (read || write).then_some(Ready { token, read, write })
            });
            if ready.len() - before < few {
                ready.extend(what);
            }
        }
        if !ready.is_empty() {
            let text = format!("ready: {:?}", &ready[before..]);
            self.log(|| text);
        }
    }

    // Functions for the laws.

    /// Whether the system would take a byte of the connection with this id. This includes a socket
    /// that is no longer watched: the reactor forgets it before it reports the end.
    pub fn would_take(&self, conn: u64) -> bool {
        let mut all = self.tcps.iter().filter(|tcp| tcp.conn == Some(conn));
        let used = all.rfind(|tcp| tcp.up.sent > 0);
        used.is_some_and(|tcp| tcp.up_and_running && !tcp.dead && tcp.room_up() > 0)
    }

    /// The open descriptors.
    pub fn leaks(&self) -> Vec<String> {
        let open = self.tcps.iter().enumerate().filter(|(_, tcp)| !tcp.dropped);
        open.map(|(i, tcp)| format!("#{i} to {}", tcp.to)).collect()
    }

    /// A connection has completed its opening handshake.
    pub fn opened(&mut self, conn: u64) {
        self.opened.insert(conn);
    }

    /// How many addresses were tried for a connection with this id.
    pub fn attempts(&self, conn: u64) -> usize {
        self.tcps.iter().filter(|tcp| tcp.conn == Some(conn)).count()
    }

    /// The number of bytes that the connection with this id can read now, without those that a
    /// fault hides.
    pub fn unread(&self, conn: u64) -> usize {
        let of = |tcp: &&Tcp| tcp.watched.is_some_and(|(token, _)| token >> 8 == conn);
        let seen = self.tcps.iter().filter(of).filter(|tcp| !tcp.line.is_hidden(self.now));
        seen.map(|tcp| tcp.down.there()).sum()
    }
}

impl Tcp {
    fn has_opened(&self, opened: &HashSet<u64>) -> bool {
        self.conn.is_some_and(|conn| opened.contains(&conn))
    }

    fn room_up(&self) -> usize {
        let unread = self.server.as_ref().map_or(0, |server| server.input.len());
        self.up.room().saturating_sub(unread)
    }

    /// Readiness as epoll or poll reports it.
    fn readiness(&self, poll: bool) -> Option<Ready> {
        let (token, interest) = self.watched?;
        let (read, write);
        if self.dead || (self.finished && self.down.end.is_some()) {
            // ERR or HUP: epoll and poll report these whatever the interest is.
            (read, write) = (true, true);
        } else {
            let there = self.down.there() > 0 || self.down.end.is_some();
            read = interest.read && there;
            let room = self.room_up();
            let writable = if poll { room > 0 } else { self.up.is_writable(room) };
            write = interest.write && self.up_and_running && writable;
        }
        (read || write).then_some(Ready { token, read, write })
    }
}
