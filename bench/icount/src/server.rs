//! A server that says what it was given, all at once, when it is told to.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Failure;

pub struct Server {
    url: String,
    go: Sender<()>,
    gone: Receiver<()>,
}

impl Server {
    pub fn start(bytes: Vec<u8>) -> Result<Server, Failure> {
        // Without a reader, a socket takes about 64 KiB.
        assert!(bytes.len() < 60_000, "it has to fit into a socket");
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("ws://{}/", listener.local_addr()?);
        let ((go, wait), (done, gone)) = (channel(), channel());
        std::thread::spawn(move || serve(&listener, &bytes, &wait, &done).expect("it serves"));
        Ok(Server { url, go, gone })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has everything sent; it lies in the client's socket when this returns.
    pub fn go(&self) {
        self.go.send(()).expect("the server waits");
        self.gone.recv().expect("the server sends");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn serve(
    listener: &TcpListener,
    bytes: &[u8],
    wait: &Receiver<()>,
    done: &Sender<()>,
) -> Result<(), Failure> {
    let (mut tcp, _) = listener.accept()?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let text = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.ok_or("no key")?);
    let accept = STANDARD.encode(sha1_smol::Sha1::from(text).digest().bytes());
    write!(
        tcp,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    wait.recv()?;
    tcp.write_all(bytes)?;
    done.send(())?;
    // Until the client's process ends.
    while tcp.read(&mut byte).unwrap_or(0) > 0 {}
    Ok(())
}
