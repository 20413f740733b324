//! The hostile server: it plays one case with one client and records what the client did. It uses
//! only std and SHA-1, for the accept value, since `tests/peers` uses this file, too.
// Each of the two users needs only a part of this file.
#![allow(dead_code, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::script::{Case, Piece, Step, collapse, shown};
use crate::timeout::is_timeout;

/// A connection, with or without TLS.
pub trait Link: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;

    /// Sends close_notify, over TLS.
    fn close_notify(&mut self) {}
}

impl Link for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// What the server has seen of the client.
#[derive(Debug, Default)]
pub struct Seen {
    /// The requests; a connection that ended without a request adds none.
    pub requests: Vec<String>,
    /// The frames, such as `pong "x"`, and the close code.
    pub frames: Vec<String>,
    /// The code of the client's close frame; `empty` if the frame had none.
    pub close: Option<String>,
    /// The number of bytes behind that frame, or of all bytes if none are expected.
    pub late: usize,
    /// Whether the client closed the connection.
    pub closed: bool,
    /// What the client did that no client may do.
    pub wrong: Option<String>,
}

impl Seen {
    /// The frames in one line, as the cases write it; `none` if there are none.
    pub fn wire(&self) -> String {
        let all = collapse(self.frames.iter().cloned());
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }
}

/// What the server sends where the client must fail the connection: a message, and after a moment
/// a close frame if the client has not closed. A client that did not fail reports the one and
/// answers the other.
const PROBE: [&[u8]; 2] = [b"\x81\x07went on", b"\x88\x02\x03\xE8"];
const MOMENT: Duration = Duration::from_millis(300);

/// Plays `case` with the client that connects to `listener`. If the client does nothing for the
/// time of `patience`, the server closes the connection.
pub fn play(
    case: &Case,
    listener: &TcpListener,
    wrap: &dyn Fn(TcpStream) -> Box<dyn Link>,
    patience: Duration,
) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..case.times {
        let Some(link) = accept(listener, wrap, patience) else { break };
        let mut player = Player::new(case, link, seen, patience);
        player.greet();
        for step in &case.steps {
            if *step == Step::Next {
                seen = player.finish();
                let Some(link) = accept(listener, wrap, patience) else {
                    seen.wrong = Some("the client did not come again".into());
                    return seen;
                };
                player = Player::new(case, link, seen, patience);
                player.greet();
            } else if player.step(step).is_err() {
                // The client has closed: the server still reads its bytes.
                break;
            }
        }
        seen = player.finish();
    }
    seen
}

/// Plays `case` on a connection whose request was read already.
pub fn play_on(case: &Case, tcp: TcpStream, request: String, patience: Duration) -> Seen {
    let mut player = Player::new(case, Box::new(tcp), Seen::default(), patience);
    player.seen.requests.push(request);
    let _ = case.steps.iter().try_for_each(|step| player.step(step));
    player.finish()
}

fn accept(
    listener: &TcpListener,
    wrap: &dyn Fn(TcpStream) -> Box<dyn Link>,
    patience: Duration,
) -> Option<Box<dyn Link>> {
    // The client may be a process that starts slowly.
    let until = Instant::now() + patience.max(Duration::from_secs(20));
    listener.set_nonblocking(true).unwrap();
    loop {
        match listener.accept() {
            Ok((tcp, _)) => {
                tcp.set_nonblocking(false).unwrap();
                return Some(wrap(tcp));
            }
            Err(_) if Instant::now() > until => return None,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

struct Player<'a> {
    case: &'a Case,
    link: Box<dyn Link>,
    seen: Seen,
    /// The accept value for the last request; empty until it is needed.
    accept: String,
    /// The bytes that are not yet written.
    out: Vec<u8>,
    /// The received bytes behind the request.
    got: Vec<u8>,
    patience: Duration,
    over: bool,
}

impl Player<'_> {
    fn new(case: &Case, link: Box<dyn Link>, seen: Seen, patience: Duration) -> Player<'_> {
        let tcp = link.tcp();
        tcp.set_read_timeout(Some(patience)).unwrap();
        tcp.set_write_timeout(Some(patience)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let (accept, out, got) = Default::default();
        Player { case, link, seen, accept, out, got, patience, over: false }
    }

    /// Reads the request, the greeting of SOCKS, or the ClientHello if a server without TLS gets
    /// one.
    fn greet(&mut self) {
        if self.case.tls.as_deref() == Some("raw") {
            let mut start = [0; 5];
            if self.link.read_exact(&mut start).is_ok() {
                let len = u16::from_be_bytes([start[3], start[4]]);
                let _ = self.link.read_exact(&mut vec![0; len.into()]);
            }
            return;
        }
        if self.case.is_socks() {
            let _ = self.read_greeting();
            return;
        }
        self.request();
    }

    /// Reads the greeting of SOCKS: the authentication methods that the client offers.
    fn read_greeting(&mut self) -> io::Result<()> {
        let mut start = [0; 2];
        self.link.read_exact(&mut start)?;
        let mut methods = vec![0; start[1].into()];
        if self.case.steps.contains(&Step::Reset) {
            // Closing a socket with an unread byte resets the connection.
            return Ok(());
        }
        self.link.read_exact(&mut methods)?;
        let known = self.case.proxy.as_ref().is_some_and(|(_, user)| user.is_some());
        let want: &[u8] = if known { &[0, 2] } else { &[0] };
        if start[0] != 5 || methods != want {
            self.seen.wrong = Some(format!("{start:?} {methods:?} for a greeting of SOCKS"));
        }
        Ok(())
    }

    fn request(&mut self) {
        // Closing a socket with an unread byte resets the connection.
        let end: &[u8] =
            if self.case.steps.contains(&Step::Reset) { b"\r\n\r" } else { b"\r\n\r\n" };
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(end) {
            match self.link.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => {
                    self.over = true;
                    return;
                }
            }
        }
        self.seen.requests.push(String::from_utf8_lossy(&head).into_owned());
        self.accept.clear();
    }

    /// Reads this many bytes and compares them with `pieces`.
    fn expect(&mut self, len: usize, pieces: &[Piece]) -> io::Result<()> {
        self.flush()?;
        let mut got = vec![0; len];
        self.link.read_exact(&mut got)?;
        let port = self.link.tcp().local_addr()?.port().to_be_bytes();
        let bytes = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.clone(),
            _ => port.to_vec(),
        };
        if got != pieces.iter().flat_map(bytes).collect::<Vec<u8>>() {
            self.seen.wrong = Some(shown(&got));
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        if self.over {
            return Ok(());
        }
        match step {
            Step::Say(pieces) => {
                let bytes = self.bytes(pieces);
                self.out.extend(bytes);
            }
            Step::Cut => {
                self.flush()?;
                std::thread::sleep(Duration::from_millis(3));
            }
            Step::Drip(pieces) => {
                self.flush()?;
                for byte in self.bytes(pieces) {
                    self.out.push(byte);
                    self.flush()?;
                }
            }
            Step::Flood(pieces) => self.flood(pieces, None)?,
            Step::Slow(pieces) => self.flood(pieces, Some(Duration::from_millis(5)))?,
            Step::Await => {
                self.flush()?;
                while !self.client_closes() {
                    if self.read()? == 0 {
                        break;
                    }
                }
            }
            Step::Eof => {
                self.flush()?;
                self.link.close_notify();
                self.link.tcp().shutdown(Shutdown::Write)?;
            }
            Step::CutOff => {
                self.flush()?;
                self.link.tcp().shutdown(Shutdown::Write)?;
            }
            Step::Reset => {
                self.flush()?;
                self.over = true;
            }
            Step::Hold | Step::Next => self.flush()?,
            Step::Hear(len, pieces) => self.expect(*len, pieces)?,
            Step::Request => {
                self.flush()?;
                self.request();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.link.write_all(&out)?;
        self.link.flush()
    }

    fn bytes(&mut self, pieces: &[Piece]) -> Vec<u8> {
        if self.accept.is_empty() {
            self.accept = accept_value(self.seen.requests.last().map_or("", |r| r));
        }
        let mut all = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => all.extend_from_slice(bytes),
                Piece::Accept => all.extend(self.accept.bytes()),
                Piece::Port => {
                    let address = self.link.tcp().local_addr().unwrap();
                    all.extend(address.port().to_string().bytes());
                }
                Piece::Answer => all.extend(
                    format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                         Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
                        self.accept
                    )
                    .bytes(),
                ),
            }
        }
        all
    }

    /// Sends the same bytes repeatedly until the client closes or sends a close frame.
    fn flood(&mut self, pieces: &[Piece], pause: Option<Duration>) -> io::Result<()> {
        self.flush()?;
        let mut bytes = self.bytes(pieces);
        if pause.is_none() {
            bytes = bytes.repeat(1 + 16_384 / bytes.len());
        }
        self.link.tcp().set_read_timeout(Some(pause.unwrap_or(Duration::from_millis(1))))?;
        let until = Instant::now() + self.patience;
        while Instant::now() < until {
            self.link.write_all(&bytes)?;
            self.link.flush()?;
            match self.read() {
                Ok(0) => break,
                Err(e) if !is_timeout(&e) => break,
                _ if self.client_closes() => break,
                _ => {}
            }
        }
        self.link.tcp().set_read_timeout(Some(self.patience))
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut buf = [0; 16_384];
        let n = self.link.read(&mut buf)?;
        self.got.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    /// Whether the client's close frame has arrived.
    fn client_closes(&self) -> bool {
        self.case.is_websocket() && frames(&self.got).2.is_some()
    }

    /// Sends the waiting bytes, ends the stream after the client's close frame, and reads to the
    /// end.
    fn finish(mut self) -> Seen {
        if !self.over {
            let probes = self.case.probes();
            if probes {
                self.out.extend_from_slice(PROBE[0]);
            }
            let _ = self.flush();
            self.seen.closed = (probes && self.read_to_end(MOMENT)) || {
                if probes && !self.client_closes() {
                    self.out.extend_from_slice(PROBE[1]);
                    let _ = self.flush();
                }
                self.read_to_end(self.patience)
            };
        } else {
            self.seen.closed = true;
        }
        if self.case.tls.as_deref() == Some("raw") {
            // The client may send alerts, and no frame.
        } else if self.case.is_websocket() {
            let (frames, late, close, wrong) = frames(&self.got);
            self.seen.wrong = self.seen.wrong.or(wrong);
            (self.seen.frames, self.seen.late, self.seen.close) = (frames, late, close);
        } else {
            self.seen.late += self.got.len();
        }
        self.seen
    }

    /// Whether the client closed; `false` if nothing arrives for the time of `patience`.
    fn read_to_end(&mut self, patience: Duration) -> bool {
        let _ = self.link.tcp().set_read_timeout(Some(patience));
        // In a case that ends with these steps, the server does not answer the close frame.
        let mut answered = self.case.steps.ends_with(&[Step::Await, Step::Hold]);
        loop {
            if !answered && self.client_closes() {
                answered = true;
                self.link.close_notify();
                let _ = self.link.tcp().shutdown(Shutdown::Write);
            }
            match self.read() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return !is_timeout(&e),
            }
        }
    }
}

type Frames = (Vec<String>, usize, Option<String>, Option<String>);

/// The frames of a client; how many bytes follow its close frame; its close code; the first rule
/// that a frame breaks.
fn frames(mut bytes: &[u8]) -> Frames {
    let mut all = Vec::new();
    while let Some((first, masked, payload, size)) = frame(bytes) {
        bytes = &bytes[size..];
        let wrong = match first {
            _ if !masked => Some("a frame without a mask"),
            0x81 | 0x82 | 0x88 | 0x89 | 0x8A => None,
            _ => Some("an unexpected frame"),
        };
        match first {
            0x88 => {
                let code = match payload[..] {
                    [] => "empty".to_owned(),
                    [a, b, ..] => u16::from_be_bytes([a, b]).to_string(),
                    [_] => "of one byte".to_owned(),
                };
                all.push(code.clone());
                return (all, bytes.len(), Some(code), wrong.map(str::to_owned));
            }
            0x8A => all.push(format!("pong {}", shown(&payload))),
            other => all.push(format!("{other:02X} {}", shown(&payload))),
        }
        if wrong.is_some() {
            return (all, 0, None, wrong.map(str::to_owned));
        }
    }
    let cut = (!bytes.is_empty()).then(|| format!("half a frame: {}", shown(bytes)));
    (all, 0, None, cut)
}

/// The first frame of `bytes`: its first byte, whether it is masked, the payload, and the size of
/// the whole frame.
fn frame(bytes: &[u8]) -> Option<(u8, bool, Vec<u8>, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let number = |b: &[u8]| b.iter().fold(0, |n, &b| n << 8 | usize::from(b));
    let (len, at) = match second & 0x7F {
        126 => (number(bytes.get(2..4)?), 4),
        127 => (number(bytes.get(2..10)?), 10),
        n => (n.into(), 2),
    };
    let masked = second & 0x80 != 0;
    let start = if masked { at + 4 } else { at };
    let key = bytes.get(at..start)?;
    let mut payload = bytes.get(start..start + len)?.to_vec();
    if masked {
        payload.iter_mut().enumerate().for_each(|(i, b)| *b ^= key[i % 4]);
    }
    Some((first, masked, payload, start + len))
}

/// `Sec-WebSocket-Accept` for a request (RFC 6455 §4.2.2).
fn accept_value(request: &str) -> String {
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Sec-WebSocket-Key").then_some(value.trim())
    });
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.unwrap_or_default().as_bytes());
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut bytes = sha1.digest().bytes().to_vec();
    // In Base64, 20 bytes are 27 digits. The last one has two unused bits.
    bytes.push(0);
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let n = group.iter().fold(0, |n, &b| n << 8 | usize::from(b));
        text.extend([18, 12, 6, 0].map(|shift| char::from(digits[n >> shift & 63])));
    }
    text.pop();
    text + "="
}
