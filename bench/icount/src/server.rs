//! A server that says what it was given, all at once or one by one, when it is told to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Failure;

pub struct Server {
    port: u16,
    go: Sender<()>,
    gone: Receiver<()>,
}

impl Server {
    /// For one WebSocket, or one request, which `head` answers in that case.
    pub fn start(head: &[u8], bytes: Vec<u8>) -> Result<Server, Failure> {
        Server::for_each(1, head, bytes)
    }

    /// For so many, which are all sent the same.
    pub fn for_each(connections: usize, head: &[u8], bytes: Vec<u8>) -> Result<Server, Failure> {
        // Without a reader, a socket takes about 64 KiB.
        assert!(bytes.len() < 60_000, "it has to fit into a socket");
        Server::run(connections, head, move |mut tcp| Ok(tcp.write_all(&bytes)?))
    }

    /// Sends the next of these when a frame has come for the one before, which has to be a short one.
    pub fn one_by_one(messages: Vec<Vec<u8>>) -> Result<Server, Failure> {
        Server::run(1, &[], move |tcp| {
            let mut tcp = tcp.try_clone()?;
            let messages = messages.clone();
            std::thread::spawn(move || answer(&mut tcp, &messages).expect("it answers"));
            Ok(())
        })
    }

    fn run(
        connections: usize,
        head: &[u8],
        send: impl Fn(&TcpStream) -> Result<(), Failure> + Send + 'static,
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
            open.iter().try_for_each(send).expect("it sends");
            done.send(()).expect("somebody waits");
            // Until the client's process ends.
            loop {
                std::thread::park();
            }
        });
        Ok(Server { port, go, gone })
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port)
    }

    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Has everything sent; it lies in the client's socket when this returns.
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

fn answer(tcp: &mut TcpStream, messages: &[Vec<u8>]) -> Result<(), Failure> {
    for message in messages {
        tcp.write_all(message)?;
        let mut head = [0; 6];
        tcp.read_exact(&mut head)?;
        assert!(head[1] & 0x7F < 126, "a short one");
        tcp.read_exact(&mut [0; 125][..usize::from(head[1] & 0x7F)])?;
    }
    Ok(())
}
