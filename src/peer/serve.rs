//! The poll loop: sockets, bytes and time limits of all connections.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::conn::Conn;
use super::server::Server;
use crate::limits::Limits;
use crate::net::wire::link::{Link, ReadOutcome, Secure, Written};
use crate::net::wire::tls::Tls;
use crate::net::{Interest, Os, Poller as _, Ready, Socket, Sys as _};

/// The time for the client to take our last bytes.
const FLUSH: Duration = Duration::from_secs(10);
/// The time for the client to end its side, once everything was sent.
const LINGER: Duration = Duration::from_secs(2);
/// How long no connection is accepted after the system had no descriptor for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection with more unsent bytes than this is not read.
const HIGH_WATER: usize = 1024 * 1024;
/// The receive buffer that all connections share.
const BUFFER: usize = 256 * 1024;
/// The token of the listener. Connections have their index, and the system uses the two highest
/// tokens.
const LISTENER: u64 = u64::MAX - 2;

/// The poll loop and its connections.
pub(super) struct Serving {
    server: Server,
    peers: Vec<Option<Box<Peer>>>,
    free: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    /// When the server accepts again after the system had no descriptor.
    accept_at: Option<Instant>,
    now: Instant,
    limits: Limits,
    buf: Vec<u8>,
    /// The receive buffer before decryption.
    cipher: Vec<u8>,
}

/// A connection with its socket.
struct Peer {
    link: Link<Os>,
    conn: Conn,
    /// Input that `conn` has not taken: part of a head or of a frame.
    tail: Vec<u8>,
    interest: Interest,
    stage: Stage,
    /// When it is closed, whatever the client does.
    limit: Option<Instant>,
    /// Its entry in `Serving::timers`: the limit, or when more is due to be sent.
    timer: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The request is not complete.
    Opening,
    /// A WebSocket, or a response that is not complete.
    Open,
    /// The last bytes are queued and not written yet.
    Flushing,
    /// We have ended our side (`shutdown`).
    HalfClosed,
}

const READ: Interest = Interest { read: true, write: false };
const NOTHING: Interest = Interest { read: false, write: false };

impl Serving {
    pub(super) fn new(mut server: Server) -> io::Result<Serving> {
        server.os.watch(&server.listener, LISTENER, READ, true)?;
        let now = server.os.now();
        let cipher = if server.tls.is_some() { BUFFER } else { 0 };
        Ok(Serving {
            server,
            peers: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            accept_at: None,
            now,
            limits: Limits::default(),
            buf: vec![0; BUFFER],
            cipher: vec![0; cipher],
        })
    }

    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        while !self.server.stop.load(Ordering::Acquire) {
            self.turn(&mut ready)?;
        }
        self.close_all();
        Ok(())
    }

    /// One round: waits, then reads and writes the connections that are ready. `ready` is empty
    /// before and after.
    fn turn(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let next = [timer, self.accept_at].into_iter().flatten().min();
        self.server.os.poller().wait(self.now, next, ready)?;
        self.now = self.server.os.now();
        for ready in ready.drain(..) {
            if ready.token == LISTENER {
                self.accept()?;
            } else {
                self.with(ready.token as usize, |serving, peer| serving.ready(peer, ready));
            }
        }
        self.expire()
    }

    /// Accepts waiting connections, at most 64 at a time.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..64 {
            match Os::accept(&self.server.listener) {
                Ok(socket) => self.add(socket),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client has given up before it was accepted.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // The system has no descriptor left, for example. The listener stays ready, so
                    // without a pause this loop would spin.
                    self.accept_at = Some(self.now + ACCEPT_PAUSE);
                    let Server { os, listener, .. } = &mut self.server;
                    return os.watch(listener, LISTENER, NOTHING, false);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, socket: Socket) {
        let tls = match &self.server.tls {
            None => None,
            Some(identity) => match Tls::server(identity) {
                Ok(tls) => Some(Secure::new(tls)),
                Err(_) => return,
            },
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        if self.server.os.watch(&socket, index as u64, READ, true).is_err() {
            self.free.push(index);
            return;
        }
        let limit = self.now + self.server.patience;
        self.timers.insert((limit, index));
        self.peers[index] = Some(Box::new(Peer {
            link: Link::new(socket, tls),
            conn: Conn::default(),
            tail: Vec::new(),
            interest: READ,
            stage: Stage::Opening,
            limit: Some(limit),
            timer: Some(limit),
        }));
    }

    /// Acts on a connection, and closes it if that returns `None`. A ready event of an earlier
    /// socket with the same index does no harm: reading finds nothing.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut Serving, &mut Peer) -> Option<()>) {
        let Some(mut peer) = self.peers.get_mut(index).and_then(Option::take) else { return };
        let alive = act(self, &mut peer).and_then(|()| self.settle(&mut peer, index)).is_some();
        peer.timer.take().map(|at| self.timers.remove(&(at, index)));
        if !alive {
            self.server.os.forget(&peer.link.socket);
            self.free.push(index);
            return;
        }
        peer.timer = [peer.limit, peer.conn.deadline()].into_iter().flatten().min();
        peer.timer.map(|at| self.timers.insert((at, index)));
        self.peers[index] = Some(peer);
    }

    fn ready(&mut self, peer: &mut Peer, ready: Ready) -> Option<()> {
        if !(ready.read && peer.interest.read) {
            return Some(());
        }
        let Serving { server, buf, cipher, limits, .. } = self;
        let mut end = peer.tail.len();
        buf[..end].copy_from_slice(&peer.tail);
        let read = peer.link.read(&mut server.os, cipher, buf, &mut end, usize::MAX);
        let used = peer.conn.receive(&mut buf[..end], limits);
        peer.tail.clear();
        peer.tail.extend_from_slice(&buf[used..end]);
        match read {
            Ok(ReadOutcome::Some { .. } | ReadOutcome::None) => Some(()),
            Ok(ReadOutcome::Eof | ReadOutcome::Cut) => None,
            Err(_) => {
                // TLS may have an alert to send.
                let _ = peer.link.write(&mut server.os, &[]);
                None
            }
        }
    }

    /// Produces and writes output that is due, and registers the socket for what it needs next.
    fn settle(&mut self, peer: &mut Peer, index: usize) -> Option<()> {
        let os = &mut self.server.os;
        peer.conn.pump(self.now);
        let Written { done, mut blocked, broken, .. } = peer.link.write(os, peer.conn.outgoing());
        if broken.is_some() {
            return None;
        }
        peer.conn.sent(done);
        peer.advance(self.now);
        let waits = peer.conn.outgoing().len();
        if peer.stage == Stage::Flushing && waits == 0 && !blocked {
            blocked = peer.shutdown_write(os, self.now)?;
        }
        // A response without a clock gets one piece a turn, so that other connections get their
        // turns; the socket's readiness to write starts the next one.
        let write = blocked || peer.conn.is_hungry();
        let interest = Interest { read: waits <= HIGH_WATER, write };
        if interest != peer.interest {
            peer.interest = interest;
            os.watch(&peer.link.socket, index as u64, interest, false).ok()?;
        }
        Some(())
    }

    fn expire(&mut self) -> io::Result<()> {
        while let Some(&(at, index)) = self.timers.first() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            // If no limit has passed, the entry is for output that is due: `settle` produces it.
            self.with(index, |serving, peer| {
                peer.limit.is_none_or(|limit| limit > serving.now).then_some(())
            });
        }
        if self.accept_at.is_some_and(|at| at <= self.now) {
            self.accept_at = None;
            let Server { os, listener, .. } = &mut self.server;
            os.watch(listener, LISTENER, READ, false)?;
        }
        Ok(())
    }

    /// The server stops: each connection gets its last bytes, and none is waited for.
    fn close_all(&mut self) {
        for index in 0..self.peers.len() {
            self.with(index, |_, peer| {
                peer.conn.go_away();
                Some(())
            });
        }
    }
}

impl Peer {
    /// Moves to the stage that the connection has reached.
    fn advance(&mut self, now: Instant) {
        if self.stage < Stage::Open && self.conn.is_open() {
            self.stage = Stage::Open;
            self.limit = None;
        }
        if self.stage < Stage::Flushing && self.conn.has_ended() {
            self.stage = Stage::Flushing;
            self.limit = Some(now + FLUSH);
        }
    }

    /// Ends our side; returns whether the kernel has not taken everything yet.
    fn shutdown_write(&mut self, os: &mut Os, now: Instant) -> Option<bool> {
        let blocked = !self.link.write_last(os, &mut Vec::new()).ok()?;
        if !blocked {
            os.shutdown_write(&self.link.socket);
            self.stage = Stage::HalfClosed;
            self.limit = Some(now + LINGER);
        }
        Some(blocked)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpStream};

    use super::super::drip::PIECE;
    use super::super::running::Running;
    use super::*;

    fn bind() -> Server {
        Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
    }

    /// Sends a GET request.
    fn get(address: SocketAddr, target: &str) -> TcpStream {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(tcp, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        tcp
    }

    /// The whole body of the response to a GET.
    fn body(server: &Running, target: &str) -> String {
        let mut answer = String::new();
        get(server.address(), target).read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// A server whose loop the test drives, so that it can look at its state.
    struct Turned(Serving, Vec<Ready>);

    impl Turned {
        fn new() -> Turned {
            Turned(Serving::new(bind()).unwrap(), Vec::new())
        }

        /// Turns without waiting until `done`.
        fn until(&mut self, mut done: impl FnMut(&Serving) -> bool) {
            let end = Instant::now() + Duration::from_secs(20);
            while !done(&self.0) {
                assert!(Instant::now() < end, "it does not come to that");
                self.0.server.os.poller().wake();
                self.0.turn(&mut self.1).unwrap();
            }
        }
    }

    fn peer(serving: &Serving) -> Option<&Peer> {
        serving.peers.first()?.as_deref()
    }

    #[test]
    fn a_request_that_drips_is_ended_at_its_limit() {
        let mut server = bind();
        server.patience = Duration::from_millis(50);
        let server = server.spawn().unwrap();
        let mut silent = TcpStream::connect(server.address()).unwrap();
        for start in [
            "GET / HTTP/1.1\r\nX: ",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
        ] {
            let mut drips = TcpStream::connect(server.address()).unwrap();
            drips.write_all(start.as_bytes()).unwrap();
            while drips.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        assert_eq!(silent.read(&mut [0; 9]).unwrap(), 0);
    }

    #[test]
    fn an_answer_that_takes_longer_than_a_request_may_is_not_cut() {
        let mut server = bind();
        server.patience = Duration::from_millis(50);
        let server = server.spawn().unwrap();
        let events = body(&server, "/sse?n=20&ms=5");
        let ids: Vec<_> = events.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(ids, (1..=20).map(|k| k.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn clocks_and_floods_of_many_clients_run_side_by_side() {
        let server = bind().spawn().unwrap();
        // It reads nothing before the others have received everything.
        let mut endless = get(server.address(), "/sse?n=0&ms=0");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(body(&server, "/stream?ms=3").matches("say").count(), 1));
                scope.spawn(|| {
                    let events = body(&server, "/sse?n=50000&ms=0");
                    assert!(events.ends_with("id: 50000\ndata: {\"tick\":50000}\n\n"));
                    assert_eq!(events.matches("event: tick\n").count(), 50_000);
                });
            }
        });
        endless.read_exact(&mut vec![0; 1_000_000]).unwrap();
    }

    #[test]
    fn a_client_that_does_not_read_costs_a_piece_of_memory() {
        let mut turned = Turned::new();
        let mut client = get(turned.0.server.address(), "/sse?n=0&ms=0");
        let (mut most, mut turns) = (0, 0);
        turned.until(|serving| {
            let waits = |peer: &Peer| peer.conn.outgoing().len();
            most = most.max(peer(serving).map_or(0, waits));
            turns += 1;
            // 320 MB, without a bound.
            turns == 5000
        });
        assert!(most < 2 * PIECE, "{most} bytes waited");
        // As soon as the client reads, the server goes on, far beyond the size of the kernel's
        // buffers.
        client.set_nonblocking(true).unwrap();
        let (mut room, mut sum) = (vec![0; 1 << 20], 0);
        turned.until(|_| {
            while let Ok(n) = client.read(&mut room) {
                sum += n;
            }
            sum > 64 << 20
        });
    }

    #[test]
    fn a_client_that_resets_or_closes_ends_its_stream() {
        for target in ["/sse?n=0&ms=0", "/sse?n=0&ms=1"] {
            for reads in [false, true] {
                let mut turned = Turned::new();
                let mut client = get(turned.0.server.address(), target);
                turned.until(|serving| peer(serving).is_some_and(|p| p.stage == Stage::Open));
                if reads {
                    client.read_exact(&mut [0; 17]).unwrap();
                }
                // Bytes that the server has not read make this a reset.
                drop(client);
                turned.until(|serving| peer(serving).is_none());
                assert!(turned.0.timers.is_empty());
            }
        }
    }

    #[test]
    fn an_endless_stream_ends_with_the_server() {
        for target in ["/sse?n=0&ms=0", "/sse?n=0&ms=1", "/sse?n=0&ms=0&chunked=1"] {
            let server = bind().spawn().unwrap();
            let mut reads = get(server.address(), target);
            let silent = get(server.address(), target);
            reads.read_exact(&mut [0; 200]).unwrap();
            server.stop();
            let mut rest = Vec::new();
            reads.read_to_end(&mut rest).unwrap();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "cut off, which chunks can tell");
            drop(silent);
        }
    }
}
