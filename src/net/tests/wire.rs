//! Time counts from the wire, and accepted bytes arrive or are reported as lost: with servers that
//! read, and end, when the test decides.

mod backlog;
mod crowd;
mod ends;
mod pause;
mod turn;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// How a server ends a connection after its bytes were read and its room was filled.
#[derive(Clone, Copy)]
enum End {
    /// End of file.
    Eof,
    /// A reset.
    Reset,
    /// A reset, which a write reports first.
    ResetOfWrite,
    /// The end of both directions, without an error.
    BothWays,
    /// A reset: the next call reports it, and later ones see an end, as on real systems.
    ResetOnce,
}

/// The system of the [`Bench`], with such ends.
struct EndingSys(Toy, Arc<EndingPoller>);

struct EndingPoller {
    world: World,
    /// The ends, by the numbers of the connections.
    ends: Mutex<BTreeMap<usize, End>>,
    /// Whether a socket has no room when it is connected.
    full: AtomicBool,
}

impl EndingPoller {
    fn end(&self, tcp: usize) -> Option<End> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&tcp).copied()
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Sys for EndingSys {
    type Socket = Fd;
    type Poller = EndingPoller;

    fn poller(&self) -> &Arc<EndingPoller> {
        &self.1
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.random(bytes)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<Fd> {
        self.0.connect(to)
    }

    fn connected(&mut self, socket: &Fd) -> io::Result<()> {
        self.0.connected(socket)
    }

    fn read(&mut self, socket: &Fd, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(socket, buf);
        match self.1.end(socket.1) {
            Some(End::Eof | End::BothWays) if read.is_err() => Ok(0),
            Some(End::Reset) if read.is_err() => Err(reset()),
            _ => read,
        }
    }

    fn append(&mut self, socket: &Fd, buf: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        let mut piece = vec![0; max.min(crowd::PIECE)];
        let n = self.read(socket, &mut piece)?;
        buf.extend_from_slice(&piece[..n]);
        Ok(n)
    }

    fn write(&mut self, socket: &Fd, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(socket, bytes);
        if written.is_err() && matches!(self.1.end(socket.1), Some(End::ResetOnce)) {
            self.1.ends.lock().unwrap().insert(socket.1, End::BothWays);
            return Err(reset());
        }
        match self.1.end(socket.1) {
            Some(End::Reset | End::ResetOfWrite) if written.is_err() => Err(reset()),
            _ => written,
        }
    }

    fn shutdown_write(&mut self, socket: &Fd) {
        self.0.shutdown_write(socket);
    }

    fn watch(&mut self, socket: &Fd, token: u64, what: Interest, new: bool) -> io::Result<()> {
        self.0.watch(socket, token, what, new)
    }

    fn forget(&mut self, socket: &Fd) {
        self.0.forget(socket);
    }

    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        self.0.resolve(id, name, port)
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        self.0.resolved()
    }
}

impl Poller for EndingPoller {
    /// A socket that has failed is ready for both, whatever the interest is.
    fn wait(&self, now: Instant, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.world.wait(now, until, ready)?;
        let full = self.full.load(Ordering::Relaxed);
        for (number, tcp) in self.world.lock().tcps.iter_mut().enumerate() {
            if full && tcp.writes == 0 {
                tcp.room = 0;
            }
            let Some((token, interest)) = tcp.watched else { continue };
            match self.end(number) {
                Some(End::Eof) if interest.read && tcp.input.is_empty() => {
                    ready.push(Ready { token, read: true, write: false });
                }
                Some(End::Reset | End::ResetOfWrite | End::BothWays | End::ResetOnce) => {
                    ready.retain(|other| other.token != token);
                    ready.push(Ready { token, read: true, write: true });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn wake(&self) {}
}

/// As the [`Bench`]: a reactor, its servers, and the reported events.
struct Wire {
    poller: Arc<EndingPoller>,
    reactor: Reactor<EndingSys>,
    events: Vec<String>,
}

/// As [`shown`]; an error by its kind, with the number of lost bytes.
fn event_text(event: Event<'_>) -> String {
    match event {
        Event::Closed(Closed::Failed(e)) => format!("failed {:?}, {} unsent", e.kind(), e.unsent()),
        Event::Closed(Closed::Lost(e)) => format!("lost {:?}, {} unsent", e.kind(), e.unsent()),
        other => shown(other),
    }
}

impl Wire {
    fn new(limits: Limits) -> Wire {
        let Bench { world, .. } = Bench::new(Limits::default());
        let poller = Arc::new(EndingPoller {
            world: world.clone(),
            ends: Mutex::default(),
            full: false.into(),
        });
        let sys = EndingSys(Toy(world.clone(), Arc::new(world)), Arc::clone(&poller));
        let reactor = Reactor::with_sys(sys, Config { limits, ..Config::default() }).unwrap();
        Wire { poller, reactor, events: Vec::new() }
    }

    /// Reads or changes the server's end of a connection.
    fn tcp<R>(&self, tcp: usize, look: impl FnOnce(&mut Tcp) -> R) -> R {
        look(&mut self.poller.world.lock().tcps[tcp])
    }

    /// From now on the server takes this many bytes.
    fn room(&self, tcp: usize, bytes: usize) {
        self.tcp(tcp, |tcp| tcp.room = bytes);
    }

    fn ends(&self, tcp: usize, end: End) {
        self.poller.ends.lock().unwrap().insert(tcp, end);
    }

    fn gives(&self, tcp: usize, bytes: &[u8]) {
        self.tcp(tcp, |tcp| tcp.input.extend(bytes));
    }

    fn wrote(&self, tcp: usize) -> Vec<u8> {
        self.tcp(tcp, |tcp| std::mem::take(&mut tcp.output))
    }

    /// Makes one turn, and calls `act` for each event before it is recorded.
    fn turn_with(&mut self, act: &mut dyn FnMut(&mut Conn<'_>, &Event<'_>)) {
        let (now, events) = (self.poller.world.lock().now, &mut self.events);
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| {
            act(conn, &event);
            events.push(event_text(event));
        };
        self.reactor.turn(Some(now), &mut sink).unwrap();
    }

    /// Makes more turns than any step needs; returns their events.
    fn turns(&mut self) -> Vec<String> {
        (0..10).for_each(|_| self.turn_with(&mut |_, _| {}));
        std::mem::take(&mut self.events)
    }

    /// Lets time pass, and then a turn that notices it.
    fn pass(&mut self, span: Duration) -> Vec<String> {
        self.poller.world.lock().now += span;
        self.turns()
    }

    /// Lets `limit` pass; nothing ends a nanosecond earlier. Returns the events.
    fn ends_after(&mut self, limit: Duration) -> Vec<String> {
        assert_eq!(self.pass(limit - NS), NOTHING);
        self.pass(NS)
    }

    /// Opens the next connection; returns its id, and its number here.
    fn open(&mut self, options: Options) -> (ConnId, usize) {
        let tcp = self.poller.world.lock().tcps.len();
        let id = self.reactor.open(options).unwrap();
        assert_eq!(self.turns(), NOTHING);
        let head = String::from_utf8(self.wrote(tcp)).unwrap();
        self.gives(tcp, answer_to(&head).as_bytes());
        assert_eq!(self.turns(), ["opened"]);
        (id, tcp)
    }

    /// Starts a request of which no byte is sent; returns also how many bytes of it are waiting.
    fn ask(&mut self, options: StreamOptions) -> (ConnId, usize, usize) {
        let tcp = self.poller.world.lock().tcps.len();
        let id = self.reactor.open(options).unwrap();
        self.poller.full.store(true, Ordering::Relaxed);
        assert_eq!(self.turns(), NOTHING);
        self.poller.full.store(false, Ordering::Relaxed);
        (id, tcp, self.reactor.buffered(id))
    }
}

/// A frame with the mask key 0, as this client sends it.
pub(super) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n => bytes.extend([0x80 | 126, (n >> 8) as u8, n as u8]),
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
