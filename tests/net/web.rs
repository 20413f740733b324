//! Helpers for the tests of streams.
// As in tests/common: only the other modules of a test use what a module exports.
#![allow(unreachable_pub)]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use moonwire::rustls::{ServerConnection, StreamOwned};
use moonwire::{
    Closed, Interest, Limits, Os, OsPoller, ResolverAnswer, Socket, StreamOptions, Sys,
};

use crate::common::*;

/// Replaces `ws` at the start of a URL by `http`.
pub fn http(url: &str) -> String {
    url.replacen("ws", "http", 1)
}

pub fn get(url: &str) -> StreamOptions {
    ask("GET", url)
}

pub fn ask(method: &str, url: &str) -> StreamOptions {
    StreamOptions::new(method, &http(url)).unwrap().timeout(LONG)
}

/// All pieces of the body, joined.
pub fn body(reported: &[OwnedEvent]) -> Vec<u8> {
    let pieces =
        reported.iter().map(|t| if let OwnedEvent::Chunk(data) = t { &data[..] } else { &[] });
    pieces.collect::<Vec<_>>().concat()
}

pub fn is_complete(reported: &[OwnedEvent]) -> bool {
    matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Complete)))
}

/// Bytes that show when a part is missing, repeated or moved.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// The `Content-Length` of a request.
pub fn length(head: &str) -> usize {
    field(head, "Content-Length").map_or(0, |n| n.parse().unwrap())
}

/// Accepts a client for each response; returns the requests with their bodies.
pub fn answer_each(listener: &TcpListener, answers: &[String]) -> Vec<String> {
    answers
        .iter()
        .map(|answer| {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            let mut request = peer.request().to_owned();
            let body = peer.read(length(&request));
            request.push_str(&String::from_utf8(body).unwrap());
            peer.write(answer.as_bytes());
            peer.rest();
            request
        })
        .collect()
}

pub fn found(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 3\r\n\r\nbye")
}

pub const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

/// How a server ends its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Without TLS.
    Plain,
    /// Over TLS, without `close_notify`.
    Cut,
    /// Over TLS, with `close_notify`.
    CloseNotify,
}

/// A server that answers one request with these bytes and ends the stream. Returns its URL and its
/// thread.
pub fn answer_and_part(answer: &str, parting: Parting) -> (String, Scripted<()>) {
    let answer = answer.to_owned();
    if parting != Parting::CloseNotify {
        let server = serve_either(parting == Parting::Cut, move |mut p| {
            p.request();
            p.write(answer.as_bytes());
        });
        return (http(&server.url()), server);
    }
    let server = listen(move |l| {
        let tcp = l.accept().unwrap().0;
        tcp.set_read_timeout(Some(LONG)).unwrap();
        let session = ServerConnection::new(server_config("good")).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        // The server reads on, so that no reset destroys its last bytes.
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.sock.read_to_end(&mut Vec::new());
    });
    (http(&server.url()).replacen("http", "https", 1), server)
}

/// The operating system, without a resolver. It counts its sockets.
pub struct Watched {
    os: Os,
    pub open: Arc<AtomicUsize>,
    /// The number of connections that have begun.
    pub begun: Arc<AtomicUsize>,
}

pub struct Counted(Socket, Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watched {
    pub fn new() -> Watched {
        let os = Os::new(&Limits::default()).unwrap();
        Watched { os, open: Arc::default(), begun: Arc::default() }
    }
}

impl Sys for Watched {
    type Socket = Counted;
    type Poller = OsPoller;

    fn poller(&self) -> &Arc<OsPoller> {
        self.os.poller()
    }

    fn now(&self) -> Instant {
        self.os.now()
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.os.random(bytes)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<Counted> {
        let socket = self.os.connect(to)?;
        self.open.fetch_add(1, Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst);
        Ok(Counted(socket, Arc::clone(&self.open)))
    }

    fn connected(&mut self, socket: &Counted) -> io::Result<()> {
        self.os.connected(&socket.0)
    }

    fn read(&mut self, socket: &Counted, buf: &mut [u8]) -> io::Result<usize> {
        self.os.read(&socket.0, buf)
    }

    fn write(&mut self, socket: &Counted, bytes: &[u8]) -> io::Result<usize> {
        self.os.write(&socket.0, bytes)
    }

    fn shutdown_write(&mut self, socket: &Counted) {
        self.os.shutdown_write(&socket.0);
    }

    fn watch(
        &mut self,
        socket: &Counted,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()> {
        self.os.watch(&socket.0, token, interest, new)
    }

    fn forget(&mut self, socket: &Counted) {
        self.os.forget(&socket.0);
    }

    fn resolve(&mut self, _: u64, _: &str, _: u16) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::NotFound, "there are no names here"))
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        None
    }
}
