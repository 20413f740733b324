//! A server that sends given messages, all at once or one by one, after a call of `go`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Failure;

pub struct Server {
    port: u16,
    /// The port for HTTP calls.
    http_port: u16,
    go: Sender<()>,
    gone: Receiver<()>,
}

impl Server {
    /// For one WebSocket; or for one request, to which `head` is the answer.
    pub fn start(head: &[u8], bytes: Vec<u8>) -> Result<Server, Failure> {
        Server::for_each(1, head, bytes)
    }

    /// For this many connections, which all get the same bytes.
    pub fn for_each(connections: usize, head: &[u8], bytes: Vec<u8>) -> Result<Server, Failure> {
        // If nobody reads, a socket holds about 64 KiB.
        assert!(bytes.len() < 60_000, "it has to fit into a socket");
        Server::run(connections, head, move |mut tcp| Ok(tcp.write_all(&bytes)?))
    }

    /// Sends each message when a frame has answered the one before, to the connections in turn.
    pub fn one_by_one(connections: usize, messages: Vec<Vec<u8>>) -> Result<Server, Failure> {
        Server::run_all(connections, &[], move |all| {
            let mut all = all.iter().map(TcpStream::try_clone).collect::<Result<Vec<_>, _>>()?;
            let messages = messages.clone();
            std::thread::spawn(move || answer(&mut all, &messages).expect("it answers"));
            Ok(())
        })
    }

    /// Sends the message, and again when `bytes` bytes have arrived.
    pub fn behind(message: Vec<u8>, bytes: usize) -> Result<Server, Failure> {
        Server::run(1, &[], move |tcp| {
            let (mut tcp, message) = (tcp.try_clone()?, message.clone());
            tcp.write_all(&message)?;
            std::thread::spawn(move || {
                let copied = std::io::copy(&mut (&tcp).take(bytes as u64), &mut std::io::sink());
                assert_eq!(copied.expect("they come"), bytes as u64);
                tcp.write_all(&message).expect("it is open");
            });
            Ok(())
        })
    }

    /// Adds a second port, where each request of one connection is answered with 200 bytes.
    pub fn with_answers(mut self) -> Result<Server, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        self.http_port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            let (mut tcp, _) = listener.accept().expect("it accepts");
            tcp.set_nodelay(true).expect("it is a socket");
            let body = "g".repeat(200);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{body}");
            let (mut head, mut piece) = (Vec::new(), [0; 2048]);
            while let Ok(n @ 1..) = tcp.read(&mut piece) {
                head.extend_from_slice(&piece[..n]);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    tcp.write_all(answer.as_bytes()).expect("it is open");
                }
            }
        });
        Ok(self)
    }

    fn run(
        connections: usize,
        head: &[u8],
        send: impl Fn(&TcpStream) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Server, Failure> {
        Server::run_all(connections, head, move |all| all.iter().try_for_each(&send))
    }

    fn run_all(
        connections: usize,
        head: &[u8],
        send: impl Fn(&[TcpStream]) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Server, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let ((go, wait), (done, gone)) = (channel(), channel());
        let head = head.to_vec();
        std::thread::spawn(move || {
            let open = |_| accept(&listener, &head);
            let open: Result<Vec<_>, _> = (0..connections).map(open).collect();
            let open = open.expect("it accepts");
            wait.recv().expect("it is told to");
            send(&open).expect("it sends");
            done.send(()).expect("somebody waits");
            // The thread stays until the client's process ends.
            loop {
                std::thread::park();
            }
        });
        Ok(Server { port, http_port: port, go, gone })
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port)
    }

    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http_port)
    }

    /// Starts the sending; the bytes are in the client's socket when this returns.
    pub fn go(&self) {
        self.go.send(()).expect("the server waits");
        self.gone.recv().expect("the server sends");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn accept(listener: &TcpListener, answer: &[u8]) -> Result<TcpStream, Failure> {
    let (mut tcp, _) = listener.accept()?;
    tcp.set_nodelay(true)?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?;
    let Some(key) = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")) else {
        tcp.write_all(answer)?;
        return Ok(tcp);
    };
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(sha1_smol::Sha1::from(text).digest().bytes());
    write!(
        tcp,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    Ok(tcp)
}

fn answer(all: &mut [TcpStream], messages: &[Vec<u8>]) -> Result<(), Failure> {
    let connections = all.len();
    for (i, message) in messages.iter().enumerate() {
        let tcp = &mut all[i % connections];
        tcp.write_all(message)?;
        let mut head = [0; 2];
        tcp.read_exact(&mut head)?;
        let length = match head[1] & 0x7F {
            126 => {
                let mut length = [0; 2];
                tcp.read_exact(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => return Err("a short one".into()),
            short => usize::from(short),
        };
        // The payload and the mask.
        tcp.read_exact(&mut vec![0; length + 4])?;
    }
    Ok(())
}
