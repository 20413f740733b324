//! The part of HTTP/1.1 that the cases need: requests, the answer to an upgrade, short responses and
//! bodies of event streams.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Failure;
use crate::io::Io;

pub struct Request {
    pub path: String,
    query: String,
    /// The key of a WebSocket handshake.
    pub key: Option<String>,
    /// The extensions that the client offers.
    pub offer: String,
    /// The client sends no further request.
    closes: bool,
}

impl Request {
    /// Reads a head, and a body with a length. No byte may follow before the answer is sent.
    pub fn read(io: &mut Io) -> Result<Request, Failure> {
        let mut head = Vec::new();
        let mut piece = [0; 2048];
        let end = loop {
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let n = io.read(&mut piece)?;
            if n == 0 || head.len() > 64 * 1024 {
                return Err("no request".into());
            }
            head.extend_from_slice(&piece[..n]);
        };
        let mut body = head.len() - end;
        head.truncate(end);
        let head = String::from_utf8(head)?;
        let mut lines = head.lines();
        let target = lines.next().and_then(|l| l.split(' ').nth(1)).ok_or("no target")?;
        // Lune sends the whole URL, which a server has to accept (RFC 9112 §3.2.2).
        let origin = target.strip_prefix("http://").and_then(|rest| rest.find('/'));
        let target = origin.map_or(target, |at| &target["http://".len() + at..]);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (mut key, mut offer, mut closes, mut length) = (None, String::new(), false, 0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("sec-websocket-key") {
                key = Some(value.trim().to_owned());
            } else if name.eq_ignore_ascii_case("sec-websocket-extensions") {
                offer = value.trim().to_owned();
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        while body < length {
            let n = io.read(&mut piece)?;
            if n == 0 {
                return Err("the body is cut off".into());
            }
            body += n;
        }
        Ok(Request { path: path.to_owned(), query: query.to_owned(), key, offer, closes })
    }

    /// A number in the query.
    pub fn number(&self, name: &str) -> Option<usize> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(n, _)| *n == name)?.1.parse().ok()
    }
}

/// The answer to an upgrade, with further field lines.
pub fn accepted(key: &str, fields: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(sha1_smol::Sha1::from(text).digest().bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
    )
}

/// Sends the same short answer to each request of a connection.
pub fn answers(io: &mut Io, mut request: Request) -> Result<(), Failure> {
    let size = request.number("size").ok_or("a number is missing in the query")?;
    loop {
        let kept = if request.closes { "close" } else { "keep-alive" };
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\
             Connection: {kept}\r\n\r\n"
        );
        answer.extend(std::iter::repeat_n('g', size));
        io.write_all(answer.as_bytes())?;
        if request.closes {
            return Ok(io.end()?);
        }
        request = Request::read(io)?;
    }
}

/// Sends an event stream, or the same bytes with another content type.
pub fn stream(io: &mut Io, request: &Request) -> Result<(), Failure> {
    let (kind, form) = match request.path.as_str() {
        "/sse" => ("text/event-stream", Form::Body),
        "/raw" => ("application/octet-stream", Form::Body),
        "/sse-chunked" => ("text/event-stream", Form::Chunks),
        "/raw-chunked" => ("application/octet-stream", Form::Chunks),
        "/sse-fields" => ("text/event-stream", Form::Fields),
        _ => {
            io.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(io.end()?);
        }
    };
    let number = |name| request.number(name).ok_or("a number is missing in the query");
    let body = events(number("n")?, number("size")?, form);
    let framing = match form {
        Form::Body => format!("Content-Length: {}", body.len()),
        Form::Chunks | Form::Fields => "Transfer-Encoding: chunked".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\nConnection: close\r\n\r\n"
    );
    io.write_all(head.as_bytes())?;
    for piece in body.chunks(256 * 1024) {
        io.write_all(piece)?;
    }
    Ok(io.end()?)
}

/// How events are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// All events in a row, in a body with a length.
    Body,
    /// Each event in its own chunk, as a server frames events that it sends one by one.
    Chunks,
    /// As `Chunks`, with `event`, `id` and two lines of `data` in each event.
    Fields,
}

/// Makes `n` events of `size` bytes each, in this form.
fn events(n: usize, size: usize, form: Form) -> Arc<Vec<u8>> {
    type Kept = Option<((usize, usize, Form), Arc<Vec<u8>>)>;
    static LAST: Mutex<Kept> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some((of, body)) if *of == (n, size, form) => Arc::clone(body),
        _ => {
            let fill = "x".repeat(size.saturating_sub("data: 000000000000 \n\n".len()));
            let fields = "event: tick\nid: 000000000000\ndata: \ndata: \n\n".len();
            let (one, two) = (size.saturating_sub(fields) / 2, size.saturating_sub(fields));
            let (one, two) = ("y".repeat(one), "z".repeat(two - one));
            let event = |i| match form {
                Form::Fields => {
                    format!("event: tick\nid: {i:012}\ndata: {one}\ndata: {two}\n\n")
                }
                _ => format!("data: {i:012} {fill}\n\n"),
            };
            let text: String = match form {
                Form::Body => (0..n).map(event).collect(),
                Form::Chunks | Form::Fields => {
                    let chunks = (0..n).map(event).map(|e| format!("{:x}\r\n{e}\r\n", e.len()));
                    chunks.chain(["0\r\n\r\n".to_owned()]).collect()
                }
            };
            let body = Arc::new(text.into_bytes());
            *last = Some(((n, size, form), Arc::clone(&body)));
            body
        }
    }
}
