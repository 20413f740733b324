//! Servers that do exactly what a test says, each on its own thread.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;

pub(crate) use super::common::{LONG, close, frame, is_timeout};
use super::common::{accept, field, loopback};

/// A running server; its thread returns a `T`.
pub(crate) struct Raw<T> {
    address: SocketAddr,
    result: Receiver<T>,
    thread: JoinHandle<()>,
}

/// Serves on a free loopback port.
pub(crate) fn serve<T: Send + 'static>(
    act: impl FnOnce(&TcpListener) -> T + Send + 'static,
) -> Raw<T> {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, result) = channel();
    let thread = std::thread::spawn(move || {
        let value = act(&listener);
        // A test that does not call `join` does not need the result.
        let _ = sender.send(value);
    });
    Raw { address, result, thread }
}

impl<T> Raw<T> {
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    /// The result of the server, or its panic.
    pub(crate) fn end(self) -> T {
        match self.result.recv_timeout(LONG) {
            Ok(value) => value,
            Err(RecvTimeoutError::Disconnected) => resume_unwind(self.thread.join().unwrap_err()),
            Err(e) => panic!("the server waits for something that does not come: {e}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// A text as a test writes it; other frames with their first byte.
    pub(crate) fn shown(&self) -> String {
        let payload = String::from_utf8_lossy(&self.payload);
        match self.opcode {
            1 if self.fin => payload.into_owned(),
            8 if self.payload.is_empty() => "close".to_owned(),
            8 => {
                let code = u16::from_be_bytes([self.payload[0], self.payload[1]]);
                format!("close {code} {}", String::from_utf8_lossy(&self.payload[2..]))
                    .trim_end()
                    .to_owned()
            }
            9 => format!("ping {payload}"),
            10 => format!("pong {payload}"),
            n => format!("{n} {payload}"),
        }
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// One connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// The request.
    pub(crate) head: String,
}

impl Peer {
    /// Accepts a connection and does nothing yet.
    pub(crate) fn accept(listener: &TcpListener) -> Peer {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, head: String::new() }
    }

    /// Accepts a connection and reads its request.
    pub(crate) fn asked(listener: &TcpListener) -> Peer {
        let mut peer = Peer::accept(listener);
        while !peer.head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            peer.stream.read_exact(&mut byte).unwrap();
            peer.head.push(byte[0] as char);
        }
        peer
    }

    /// Accepts a connection and answers its handshake.
    pub(crate) fn open(listener: &TcpListener) -> Peer {
        Peer::open_with(listener, "", b"")
    }

    /// The same with further header lines, and with bytes in one piece with the answer.
    pub(crate) fn open_with(listener: &TcpListener, fields: &str, glued: &[u8]) -> Peer {
        let mut peer = Peer::asked(listener);
        let answer = peer.answer(fields);
        peer.send(&[answer.as_bytes(), glued].concat());
        peer
    }

    /// The answer of a successful handshake.
    pub(crate) fn answer(&self, fields: &str) -> String {
        let accept = accept(&self.head);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
        )
    }

    /// A field of the request.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame, unmasked; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut first = [0; 2];
        match self.stream.read_exact(&mut first[..1]) {
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return None;
            }
            other => other.unwrap(),
        }
        self.stream.read_exact(&mut first[1..]).unwrap();
        assert_eq!(first[1] & 0x80, 0x80, "the client masks");
        let mut number = [0; 8];
        let len = match first[1] & 0x7F {
            126 => {
                self.stream.read_exact(&mut number[6..]).unwrap();
                u64::from_be_bytes(number)
            }
            127 => {
                self.stream.read_exact(&mut number).unwrap();
                u64::from_be_bytes(number)
            }
            n => n.into(),
        };
        let mut key = [0; 4];
        self.stream.read_exact(&mut key).unwrap();
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).unwrap();
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        Some(Frame { fin: first[0] & 0x80 != 0, opcode: first[0] & 15, payload })
    }

    /// The next frame, as [`Frame::shown`]; `EOF` at the end.
    pub(crate) fn received(&mut self) -> String {
        self.next().map_or("EOF".to_owned(), |frame| frame.shown())
    }

    /// Reads to the end of the stream.
    pub(crate) fn next_is_eof(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            other => drop(other.unwrap()),
        }
    }

    /// All frames up to the end of the stream or a close frame, which is included. The server must
    /// then end the stream (RFC 6455 §7.1.1).
    pub(crate) fn frames(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(frame) = self.next() {
            all.push(frame.shown());
            if frame.opcode == 8 {
                break;
            }
        }
        all
    }

    /// The same, and answers the close frame.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let all = self.frames();
        // The client may have closed.
        let _ = self.stream.write_all(&frame(0x88, b""));
        all
    }
}
