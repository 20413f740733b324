//! A small WebSocket server that echoes, for `moonwire echo`, for `--echo`, for tests and for
//! benches. One thread polls all connections. Hidden, and no part of the crate's interface.

mod conn;
mod request;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::net::link::{Link, Read};
#[cfg(feature = "tls")]
use crate::net::tls;
use crate::net::tls::Tls;
use crate::net::tls::server::Identity;
use crate::net::{Interest, Os, OsPoller, Poller as _, Ready, Socket, Sys as _};
use conn::Conn;

pub use crate::net::sys::raise_open_files;

/// The root that signed [`CHAIN_PEM`].
pub const CA_PEM: &[u8] = include_bytes!("certs/ca.pem");
/// A certificate for `localhost`, `127.0.0.1` and `::1`.
pub const CHAIN_PEM: &[u8] = include_bytes!("certs/loopback.pem");
/// Its key, which is public: nothing but loopback may trust it.
pub const KEY_PEM: &[u8] = include_bytes!("certs/loopback.key");

/// From the first byte of TCP to the end of the opening handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the peer to read what was said last.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// For the peer to close its side, once everything was said.
const LINGER: Duration = Duration::from_secs(2);
/// How long no connection is accepted after the system had no descriptor for one.
const BREATH: Duration = Duration::from_millis(100);
/// A connection with more than this to be written is not read.
const HIGH_WATER: usize = 1024 * 1024;
/// The receive buffer that all connections share.
const BUFFER: usize = 256 * 1024;
/// The token of the listener; connections have their index.
const LISTENER: u64 = u64::MAX - 1;

/// A server that listens and does not serve yet.
pub struct Server {
    os: Os,
    listener: Socket,
    address: SocketAddr,
    tls: Option<Identity>,
    stop: Arc<AtomicBool>,
    /// The time limit of the opening handshake.
    patience: Duration,
}

impl Server {
    /// Listens for `ws://`; port 0 lets the system choose.
    pub fn bind(address: SocketAddr) -> io::Result<Server> {
        let (listener, address) = Os::listen(address)?;
        let os = Os::new(&Limits::default())?;
        Ok(Server { os, listener, address, tls: None, stop: Arc::default(), patience: HANDSHAKE })
    }

    /// Listens for `wss://` with a certificate chain and its key, both in PEM.
    #[cfg(feature = "tls")]
    pub fn bind_tls(address: SocketAddr, chain_pem: &[u8], key_pem: &[u8]) -> io::Result<Server> {
        let tls = Some(tls::server::Identity::new(chain_pem, key_pem)?);
        Ok(Server { tls, ..Server::bind(address)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL that reaches it from this machine.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let ip = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("{scheme}://{}/", SocketAddr::new(ip, self.port()))
    }

    /// What ends [`Server::run`] from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), poller: Arc::clone(self.os.poller()) }
    }

    /// Serves until it is stopped.
    pub fn run(self) -> io::Result<()> {
        Serving::new(self)?.run()
    }

    /// Serves on a thread of its own until the result is dropped.
    pub fn spawn(self) -> io::Result<Running> {
        let (url, address, stopper) = (self.url(), self.address, self.stopper());
        let mut serving = Serving::new(self)?;
        let thread = std::thread::Builder::new().name("moonwire-peer".into());
        let thread = Some(thread.spawn(move || serving.run())?);
        Ok(Running { url, address, stopper, thread })
    }
}

/// Ends a server.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    poller: Arc<OsPoller>,
}

impl Stopper {
    /// Makes [`Server::run`] return; what is open is closed with 1001.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poller.wake();
    }
}

/// A server on a thread of its own. Dropping it ends it.
pub struct Running {
    url: String,
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Running {
    /// A URL that reaches it from this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends it and waits until it has ended.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // Its error, or its panic, has nobody to go to here.
            let _ = thread.join();
        }
    }
}

/// The poll loop and its connections.
struct Serving {
    server: Server,
    peers: Vec<Option<Box<Peer>>>,
    free: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    /// When to accept again, while the system has no descriptor left.
    accept_at: Option<Instant>,
    now: Instant,
    limits: Limits,
    buf: Vec<u8>,
    /// The same before decryption.
    cipher: Vec<u8>,
}

/// A connection with its socket.
struct Peer {
    link: Link<Os>,
    conn: Conn,
    /// Input that `conn` has not taken: part of a head or a frame.
    tail: Vec<u8>,
    interest: Interest,
    /// When it is ended, whatever the peer does.
    deadline: Option<Instant>,
    /// We have said that no more comes.
    finished: bool,
}

const READ: Interest = Interest { read: true, write: false };
const NOTHING: Interest = Interest { read: false, write: false };

impl Serving {
    fn new(mut server: Server) -> io::Result<Serving> {
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

    fn run(&mut self) -> io::Result<()> {
        let poller = Arc::clone(self.server.os.poller());
        let mut ready = Vec::new();
        while !self.server.stop.load(Ordering::Acquire) {
            let timer = self.timers.first().map(|(at, _)| *at);
            let next = [timer, self.accept_at].into_iter().flatten().min();
            poller.wait(self.now, next, &mut ready)?;
            self.now = self.server.os.now();
            for ready in ready.drain(..) {
                if ready.token == LISTENER {
                    self.accept()?;
                } else {
                    self.with(ready.token as usize, |serving, peer| serving.ready(peer, ready));
                }
            }
            self.expire()?;
        }
        self.say_goodbye();
        Ok(())
    }

    /// Takes what waits to be accepted, a few at a time.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..64 {
            match Os::accept(&self.server.listener) {
                Ok(socket) => self.add(socket),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Gone before it was accepted.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // No descriptor left, say. The listener stays ready: without a pause this
                    // loop would spin.
                    self.accept_at = Some(self.now + BREATH);
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
                Ok(tls) => Some(Box::new(tls)),
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
        let deadline = self.now + self.server.patience;
        self.timers.insert((deadline, index));
        self.peers[index] = Some(Box::new(Peer {
            link: Link { socket, tls },
            conn: Conn::default(),
            tail: Vec::new(),
            interest: READ,
            deadline: Some(deadline),
            finished: false,
        }));
    }

    /// Works on a connection, which is closed if that gives `None`. Readiness of a socket that
    /// had this index before it does no harm: reading finds nothing.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut Serving, &mut Peer) -> Option<()>) {
        let Some(mut peer) = self.peers.get_mut(index).and_then(Option::take) else { return };
        let before = peer.deadline;
        let alive = act(self, &mut peer).and_then(|()| self.settle(&mut peer, index)).is_some();
        if before != peer.deadline || !alive {
            before.map(|at| self.timers.remove(&(at, index)));
        }
        if !alive {
            self.server.os.forget(&peer.link.socket);
            self.free.push(index);
            return;
        }
        if before != peer.deadline {
            peer.deadline.map(|at| self.timers.insert((at, index)));
        }
        self.peers[index] = Some(peer);
    }

    fn ready(&mut self, peer: &mut Peer, ready: Ready) -> Option<()> {
        if !(ready.read && peer.interest.read) {
            return Some(());
        }
        let Serving { server, buf, cipher, limits, .. } = self;
        let mut end = peer.tail.len();
        buf[..end].copy_from_slice(&peer.tail);
        let read = peer.link.read(&mut server.os, cipher, buf, &mut end);
        let used = peer.conn.receive(&mut buf[..end], limits);
        peer.tail.clear();
        peer.tail.extend_from_slice(&buf[used..end]);
        match read {
            Ok(Read::Some { .. } | Read::None) => Some(()),
            Ok(Read::Eof | Read::Cut) => None,
            Err(_) => {
                // TLS may have an alert to send.
                let _ = peer.link.write(&mut server.os, &[]);
                None
            }
        }
    }

    /// Writes what waits, and waits for what is needed.
    fn settle(&mut self, peer: &mut Peer, index: usize) -> Option<()> {
        let os = &mut self.server.os;
        let (done, mut blocked) = peer.link.write(os, peer.conn.outgoing()).ok()?;
        peer.conn.sent(done);
        let waits = peer.conn.outgoing().len();
        if peer.conn.is_open() {
            peer.deadline = None;
        } else if peer.conn.is_over() && peer.deadline.is_none() {
            peer.deadline = Some(self.now + LAST_WORDS);
        }
        if peer.conn.is_over() && !peer.finished && waits == 0 && !blocked {
            if let Some(tls) = &mut peer.link.tls {
                tls.finish();
                blocked = peer.link.write(os, &[]).ok()?.1;
            }
            if !blocked {
                os.finish(&peer.link.socket);
                peer.finished = true;
            }
            peer.deadline = Some(self.now + LINGER);
        }
        let interest = Interest { read: waits <= HIGH_WATER, write: blocked };
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
            self.with(index, |_, _| None);
        }
        if self.accept_at.is_some_and(|at| at <= self.now) {
            self.accept_at = None;
            let Server { os, listener, .. } = &mut self.server;
            os.watch(listener, LISTENER, READ, false)?;
        }
        Ok(())
    }

    /// The server ends: everybody is told, nobody is waited for.
    fn say_goodbye(&mut self) {
        for index in 0..self.peers.len() {
            self.with(index, |_, peer| {
                peer.conn.go_away();
                Some(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_handshake_that_drips_is_ended_at_its_limit() {
        let mut server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        server.patience = Duration::from_millis(50);
        let server = server.spawn().unwrap();
        let mut silent = TcpStream::connect(server.address()).unwrap();
        let mut drips = TcpStream::connect(server.address()).unwrap();
        drips.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
        while drips.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(silent.read(&mut [0; 9]).unwrap(), 0);
    }
}
