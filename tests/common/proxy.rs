//! Proxies that connect to the requested server and record all bytes of their clients.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use moonwire::Override;
use moonwire::rustls::{ServerConfig, ServerConnection};

use super::{LONG, loopback};

/// The configuration of a proxy.
#[derive(Clone, Default)]
pub struct Setup {
    socks: bool,
    tls: Option<Arc<ServerConfig>>,
    /// The addresses to which the proxy resolves names.
    names: Vec<(String, SocketAddr)>,
    /// The user name and password that the proxy requires; for HTTP in base64.
    wants: Option<String>,
    slow: bool,
}

impl Setup {
    pub fn http() -> Setup {
        Setup::default()
    }

    pub fn socks() -> Setup {
        Setup { socks: true, ..Setup::default() }
    }

    /// Clients use TLS to the proxy.
    pub fn tls(self, config: Arc<ServerConfig>) -> Setup {
        Setup { tls: Some(config), ..self }
    }

    pub fn knows(mut self, name: &str, to: SocketAddr) -> Setup {
        self.names.push((name.to_owned(), to));
        self
    }

    /// The proxy requires these credentials: `user:password`, for HTTP in base64.
    pub fn wants(self, credentials: &str) -> Setup {
        Setup { wants: Some(credentials.to_owned()), ..self }
    }

    /// The kernel buffers little unread data for the proxy, and the proxy reads little at a time.
    pub fn slow(self) -> Setup {
        Setup { slow: true, ..self }
    }

    pub fn start(self) -> Proxying {
        let listener = TcpListener::bind(loopback()).unwrap();
        if self.slow {
            rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
        }
        let address = listener.local_addr().unwrap();
        let (sender, visits) = channel();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        // The thread ends with the process.
        thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                let (setup, sender) = (self.clone(), sender.clone());
                thread::spawn(move || {
                    let mut visit = Visit::default();
                    let _ = setup.serve(tcp, &mut visit);
                    // The send fails if the test has dropped the receiver.
                    let _ = sender.send(visit);
                });
            }
        });
        Proxying { address, visits, count }
    }

    fn serve(&self, tcp: TcpStream, visit: &mut Visit) -> io::Result<()> {
        tcp.set_read_timeout(Some(LONG))?;
        tcp.set_nodelay(true)?;
        let session = self.tls.as_ref().map(|config| ServerConnection::new(Arc::clone(config)));
        let tls = session.map(|session| Arc::new(Mutex::new(session.unwrap())));
        let mut client = Half { tcp, tls, plain: Vec::new(), most: 64 * 1024, close_notify: false };
        if self.slow {
            client.most = 1000;
        }
        let way =
            if self.socks { self.greet(&mut client, visit) } else { self.ask(&mut client, visit) };
        match way? {
            Some((to, first)) => splice(client, to, &first, visit),
            // The proxy has refused, and waits until the client has read the answer.
            None => {
                client.finish();
                let _ = client.rest(&mut Vec::new());
                Ok(())
            }
        }
    }

    /// Connects to a server.
    fn lead(&self, to: &str) -> Option<TcpStream> {
        let (host, _) = to.rsplit_once(':')?;
        let known = self.names.iter().find(|(name, _)| name == host).map(|(_, to)| *to);
        TcpStream::connect(known.or_else(|| to.parse().ok())?).ok()
    }

    /// Reads `CONNECT` or a request in absolute form, and answers `CONNECT`; returns a connection
    /// to the server, and the first bytes for it.
    fn ask(&self, client: &mut Half, visit: &mut Visit) -> io::Result<Way> {
        while !visit.asked.ends_with("\r\n\r\n") {
            let byte = client.exact(1)?[0];
            visit.asked.push(byte.into());
        }
        let head = visit.asked.clone();
        if let Some(credentials) = &self.wants
            && !head.contains(&format!("Proxy-Authorization: Basic {credentials}\r\n"))
        {
            let answer = b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n";
            return client.write(answer).map(|()| None);
        }
        let line = head.lines().next().unwrap_or_default();
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if method == "CONNECT" {
            let Some(to) = self.lead(target) else {
                let answer = b"HTTP/1.1 502 Nobody there\r\nContent-Length: 0\r\n\r\n";
                return client.write(answer).map(|()| None);
            };
            client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            return Ok(Some((to, Vec::new())));
        }
        let place = target.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
        let Some((place, path)) = place else {
            let answer = b"HTTP/1.1 400 No whole URL\r\nContent-Length: 0\r\n\r\n";
            return client.write(answer).map(|()| None);
        };
        let with_port = if place.contains(':') { place.to_owned() } else { format!("{place}:80") };
        let to = self.lead(&with_port).ok_or(io::ErrorKind::ConnectionRefused)?;
        // A correct proxy does not forward the fields that are for it (RFC 9110 §11.7.2).
        let fields = head.lines().skip(1).filter(|line| !line.starts_with("Proxy-"));
        let lines = [format!("{method} /{path} HTTP/1.1")].into_iter();
        let lines: Vec<_> = lines.chain(fields.map(str::to_owned)).collect();
        Ok(Some((to, (lines.join("\r\n") + "\r\n").into_bytes())))
    }

    /// Does the same with SOCKS (RFC 1928, RFC 1929). Records the target as `name` or `address`,
    /// with the credentials before it if the proxy requires any.
    fn greet(&self, client: &mut Half, visit: &mut Visit) -> io::Result<Way> {
        let start = client.exact(2)?;
        assert_eq!(start[0], 5);
        let methods = client.exact(start[1].into())?;
        let method = if self.wants.is_some() { 2 } else { 0 };
        if !methods.contains(&method) {
            return client.write(&[5, 255]).map(|()| None);
        }
        client.write(&[5, method])?;
        if let Some(credentials) = &self.wants {
            let version_and_length = client.exact(2)?;
            assert_eq!(version_and_length[0], 1, "RFC 1929 §2");
            let user = client.exact(version_and_length[1].into())?;
            let len = client.exact(1)?[0];
            let password = client.exact(len.into())?;
            let sent = [&user[..], b":", &password].concat();
            let sent = String::from_utf8(sent).unwrap();
            visit.asked = format!("{sent} ");
            if &sent != credentials {
                return client.write(&[1, 1]).map(|()| None);
            }
            client.write(&[1, 0])?;
        }
        let start = client.exact(4)?;
        assert_eq!(start[..3], [5, 1, 0]);
        let host = match start[3] {
            1 => {
                let b = client.exact(4)?;
                format!("address {}.{}.{}.{}", b[0], b[1], b[2], b[3])
            }
            3 => {
                let len = client.exact(1)?[0];
                format!("name {}", String::from_utf8(client.exact(len.into())?).unwrap())
            }
            other => panic!("no address of type {other} is expected here"),
        };
        let port = client.exact(2)?;
        let port = u16::from_be_bytes([port[0], port[1]]);
        visit.asked += &format!("{host}:{port}");
        let to = format!("{}:{port}", host.split_once(' ').unwrap().1);
        let Some(to) = self.lead(&to) else {
            return client.write(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).map(|()| None);
        };
        client.write(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80])?;
        Ok(Some((to, Vec::new())))
    }
}

/// A proxy's connection to a server, and the bytes that it sends there first; `None` if it has
/// refused.
type Way = Option<(TcpStream, Vec<u8>)>;

/// A running proxy.
pub struct Proxying {
    pub address: SocketAddr,
    visits: Receiver<Visit>,
    count: Arc<AtomicUsize>,
}

/// What a proxy received over one connection.
#[derive(Debug, Default)]
pub struct Visit {
    /// The request: the head of an HTTP request, or the target of SOCKS.
    pub asked: String,
    /// The client's bytes that the proxy passed to the server.
    pub through: Vec<u8>,
    /// Whether the client ended TLS with close_notify.
    pub close_notify: bool,
}

impl Proxying {
    /// Waits for the next connection that ends.
    pub fn visit(&self) -> Visit {
        self.visits.recv_timeout(LONG).expect("a connection that is over")
    }

    /// The number of connections so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Resolves `proxy.example` with the port of this proxy to the proxy's address.
    pub fn named(&self) -> Override {
        let (port, to) = (self.address.port(), self.address);
        Override { host: "proxy.example".into(), port, to }
    }

    /// The proxy's URL with that name. `user` is empty or `user:password@`.
    pub fn proxy(&self, scheme: &str, user: &str) -> moonwire::Proxy {
        let text = format!("{scheme}://{user}proxy.example:{}", self.address.port());
        moonwire::Proxy::parse(&text).unwrap()
    }
}

/// The proxy's side of a connection with a client, with or without TLS.
struct Half {
    tcp: TcpStream,
    tls: Option<Arc<Mutex<ServerConnection>>>,
    /// The decrypted bytes that were not read yet.
    plain: Vec<u8>,
    /// One read returns at most this many bytes.
    most: usize,
    close_notify: bool,
}

impl Half {
    fn twin(&self) -> io::Result<Half> {
        let (tcp, tls) = (self.tcp.try_clone()?, self.tls.clone());
        Ok(Half { tcp, tls, plain: Vec::new(), most: self.most, close_notify: false })
    }

    /// Reads some bytes; returns none at the end of the stream.
    fn some(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.most];
        let Some(tls) = self.tls.clone() else {
            let n = self.tcp.read(&mut bytes)?;
            bytes.truncate(n);
            return Ok(bytes);
        };
        while self.plain.is_empty() {
            let n = if self.close_notify { 0 } else { self.tcp.read(&mut bytes)? };
            let mut cipher = &bytes[..n];
            if n == 0 {
                return Ok(Vec::new());
            }
            let mut session = tls.lock().unwrap();
            while !cipher.is_empty() {
                session.read_tls(&mut cipher)?;
                let state = session.process_new_packets();
                // The handshake of TLS has bytes to send, and so has an alert.
                while session.wants_write() {
                    session.write_tls(&mut self.tcp)?;
                }
                let state = state.map_err(io::Error::other)?;
                let mut plain = vec![0; state.plaintext_bytes_to_read()];
                session.reader().read_exact(&mut plain)?;
                self.plain.extend(plain);
                if state.peer_has_closed() {
                    self.close_notify = true;
                    break;
                }
            }
        }
        Ok(std::mem::take(&mut self.plain))
    }

    fn exact(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.plain.len() < n {
            let kept = std::mem::take(&mut self.plain);
            let more = self.some()?;
            if more.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.plain = [kept, more].concat();
        }
        Ok(self.plain.drain(..n).collect())
    }

    fn rest(&mut self, to: &mut Vec<u8>) -> io::Result<()> {
        loop {
            match self.some()? {
                bytes if bytes.is_empty() => return Ok(()),
                bytes => to.extend(bytes),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else { return self.tcp.write_all(bytes) };
        for piece in bytes.chunks(16 * 1024) {
            let mut cipher = Vec::new();
            {
                let mut session = tls.lock().unwrap();
                session.writer().write_all(piece)?;
                while session.wants_write() {
                    session.write_tls(&mut cipher)?;
                }
            }
            self.tcp.write_all(&cipher)?;
        }
        Ok(())
    }

    /// Ends the stream to the client, over TLS with close_notify.
    fn finish(&mut self) {
        if let Some(tls) = &self.tls {
            let mut session = tls.lock().unwrap();
            session.send_close_notify();
            let mut cipher = Vec::new();
            while session.wants_write() {
                let _ = session.write_tls(&mut cipher);
            }
            drop(session);
            let _ = self.tcp.write_all(&cipher);
        }
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}

/// Passes bytes in both directions until both sides have ended.
fn splice(mut client: Half, mut to: TcpStream, first: &[u8], visit: &mut Visit) -> io::Result<()> {
    to.set_nodelay(true)?;
    to.write_all(first)?;
    let (mut back, mut from) = (client.twin()?, to.try_clone()?);
    if !client.plain.is_empty() {
        let early = std::mem::take(&mut client.plain);
        to.write_all(&early)?;
        visit.through.extend(early);
    }
    let down = thread::spawn(move || {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(n) = from.read(&mut buf)
            && n > 0
            && back.write(&buf[..n]).is_ok()
        {}
        back.finish();
    });
    let end = loop {
        match client.some() {
            Ok(bytes) if bytes.is_empty() => break Ok(()),
            Ok(bytes) => {
                let passed = to.write_all(&bytes);
                visit.through.extend(bytes);
                if passed.is_err() {
                    break client.rest(&mut visit.through);
                }
            }
            Err(e) => break Err(e),
        }
    };
    visit.close_notify = client.close_notify;
    let _ = to.shutdown(if end.is_ok() { Shutdown::Write } else { Shutdown::Both });
    down.join().unwrap();
    end
}
