//! An independent WebSocket server, written from RFC 6455.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::book::{Msg, SharedBook, open};
use crate::net::{Io, Service};
use crate::reader::{Pace, Reader};

/// How the server answers the opening handshake.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Accepts,
    Forbids,
    /// It accepts, with the accept value of another key.
    Mistakes,
    Redirects,
    Silent,
    HangsUp,
    Resets,
    Garbage,
}

/// What a server does by its plan, not as an answer.
#[derive(Clone)]
pub enum Act {
    /// A message in this many frames.
    Send(Msg, usize),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    /// It breaks a rule.
    Break,
    Finish,
    Reset,
}

/// What the server does at the client's close frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OnClose {
    /// It answers, and ends the stream after this time.
    Answers(Duration),
    /// It answers, and waits until the client ends the stream.
    Waits,
    Ignores,
    HangsUp,
}

/// What the server does with a connection.
#[derive(Clone)]
pub struct WsPlan {
    pub answer: Answer,
    /// The time from the request to the answer.
    pub after: Duration,
    /// The number of interim responses before the answer.
    pub interim: usize,
    /// The server sends its first frame in one piece with the 101.
    pub glued: bool,
    pub echo: bool,
    /// The server's actions; each follows the one before after this time.
    pub acts: Vec<(Duration, Act)>,
    pub on_close: OnClose,
    /// How the server reads once the connection is open.
    pub pace: Pace,
}

impl Default for WsPlan {
    fn default() -> WsPlan {
        WsPlan {
            answer: Answer::Accepts,
            after: Duration::ZERO,
            interim: 0,
            glued: false,
            echo: false,
            acts: Vec::new(),
            on_close: OnClose::Answers(Duration::ZERO),
            pace: Pace::default(),
        }
    }
}

pub struct WsServer {
    book: SharedBook,
    k: usize,
    plan: WsPlan,
    acts: VecDeque<(Duration, Act)>,
    state: State,
    /// When the next of `acts` is due.
    due: Option<Duration>,
    /// When the server ends the stream.
    end: Option<Duration>,
    /// The bytes that were read and not yet parsed.
    taken: Vec<u8>,
    reader: Reader,
    /// The received fragments of an incomplete message.
    partial: Option<Msg>,
    got_close: bool,
    sent_close: bool,
}

enum State {
    /// The server reads the request.
    Head,
    /// The server answers at this time; the text is the client's key.
    Answering(Duration, String),
    Open,
    Over,
}

impl WsServer {
    pub fn new(book: SharedBook) -> WsServer {
        WsServer {
            book,
            k: 0,
            plan: WsPlan::default(),
            acts: VecDeque::new(),
            state: State::Head,
            due: None,
            end: None,
            taken: Vec::new(),
            reader: Reader::default(),
            partial: None,
            got_close: false,
            sent_close: false,
        }
    }

    fn read(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, State::Open) {
            self.reader.take(io, &mut self.taken);
        } else {
            self.taken.append(io.input);
        }
    }

    fn head(&mut self, io: &mut Io<'_>) -> bool {
        let Some(end) = self.taken.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
        let head: Vec<u8> = self.taken.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap_or_default();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let number = path.trim_start_matches('/').parse::<usize>();
        let mut book = open(&self.book);
        book.head(&head);
        let (Ok(k), true) = (number, head.starts_with("GET ")) else {
            book.complain(format!("no request for a WebSocket: {head:?}"));
            return false;
        };
        let entry = &mut book.entries[k];
        entry.requests += 1;
        if entry.requests > 1 {
            book.complain(format!("ask {k}: a second request for one WebSocket"));
            return false;
        }
        let Some(plan) = entry.ws.clone() else { return false };
        if !self.taken.is_empty() {
            book.complain(format!("ask {k}: bytes behind the request, before the answer"));
        }
        let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: "));
        let key = key.unwrap_or_default().to_owned();
        self.state = State::Answering(io.now + plan.after, key);
        (self.k, self.plan) = (k, plan);
        self.acts = self.plan.acts.clone().into();
        true
    }

    fn answer(&mut self, io: &mut Io<'_>, key: &str) {
        self.state = State::Over;
        for _ in 0..self.plan.interim {
            io.out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
        let guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        let key = if self.plan.answer == Answer::Mistakes { "another" } else { key };
        let digest = sha1_smol::Sha1::from(format!("{key}{guid}")).digest().bytes();
        let accept = STANDARD.encode(digest);
        match self.plan.answer {
            Answer::Accepts | Answer::Mistakes => {
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                io.out.extend_from_slice(head.as_bytes());
                self.state = State::Open;
                let first = self.acts.front().map_or(Duration::ZERO, |(after, _)| *after);
                self.due = Some(if self.plan.glued { io.now } else { io.now + first });
                self.reader = Reader::new(&self.plan.pace, io.now);
            }
            Answer::Forbids => {
                let text = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope";
                io.out.extend_from_slice(text);
                io.finish = true;
            }
            Answer::Redirects => {
                io.out.extend_from_slice(b"HTTP/1.1 302 Found\r\nLocation: ws://x.test/\r\n\r\n");
                io.finish = true;
            }
            Answer::Garbage => io.out.extend_from_slice(b"220 smtp.test ESMTP\r\n"),
            Answer::Silent => {}
            Answer::HangsUp => io.finish = true,
            Answer::Resets => io.abort = true,
        }
    }

    // Frames from the client.

    /// The next frame, if it is complete.
    fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, &'static str> {
        let [first, second, ..] = self.taken[..] else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("a reserved bit");
        }
        if second & 0x80 == 0 {
            return Err("an unmasked frame");
        }
        let (mut at, mut len) = (2, usize::from(second & 0x7F));
        let long = match len {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if long > 0 {
            let Some(bytes) = self.taken.get(at..at + long) else { return Ok(None) };
            len = bytes.iter().fold(0, |n, b| n << 8 | usize::from(*b));
            if len < if long == 2 { 126 } else { 65_536 } {
                return Err("a length that is not minimal");
            }
            at += long;
        }
        if first & 8 != 0 && (len > 125 || first & 0x80 == 0) {
            return Err("a control frame that is long or fragmented");
        }
        let Some(bytes) = self.taken.get(at..at + 4 + len) else { return Ok(None) };
        let (key, payload) = bytes.split_at(4);
        let key = [key[0], key[1], key[2], key[3]];
        let mut payload = payload.to_vec();
        for four in payload.chunks_mut(4) {
            for (byte, k) in four.iter_mut().zip(key) {
                *byte ^= k;
            }
        }
        self.taken.drain(..at + 4 + len);
        Ok(Some((first, payload)))
    }

    fn frames(&mut self, io: &mut Io<'_>) {
        loop {
            let frame = self.frame();
            let (first, payload) = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(what) => {
                    open(&self.book).complain(format!("ask {}: the client sent {what}", self.k));
                    self.state = State::Over;
                    return;
                }
            };
            if self.got_close {
                let text = format!("ask {}: a frame behind the close frame", self.k);
                return open(&self.book).complain(text);
            }
            match first & 15 {
                0..=2 => self.data(io, first, payload),
                8 => self.close_came(io, &payload),
                9 if !self.sent_close => frame_to(io.out, 0x8A, &payload),
                9 => {}
                10 => open(&self.book).server_pong(self.k, &payload),
                _ => open(&self.book).complain("a reserved opcode"),
            }
        }
    }

    fn data(&mut self, io: &mut Io<'_>, first: u8, payload: Vec<u8>) {
        let msg = match self.partial.take() {
            None => Msg { text: first & 15 == 1, data: payload },
            Some(mut msg) => {
                msg.data.extend_from_slice(&payload);
                msg
            }
        };
        if first & 0x80 == 0 {
            self.partial = Some(msg);
            return;
        }
        let mut book = open(&self.book);
        book.server_receives(self.k, &msg);
        if self.plan.echo && !self.sent_close {
            frame_to(io.out, if msg.text { 0x81 } else { 0x82 }, &msg.data);
            book.entries[self.k].down.sent.push(msg);
        }
    }

    fn close_came(&mut self, io: &mut Io<'_>, payload: &[u8]) {
        self.got_close = true;
        let code = payload.get(..2).map(|c| u16::from_be_bytes([c[0], c[1]]));
        open(&self.book).entries[self.k].client_close = Some(code);
        let answers = self.plan.on_close;
        if let OnClose::Answers(_) | OnClose::Waits = answers {
            self.close(io, code);
        }
        match answers {
            OnClose::Answers(after) => self.end = Some(io.now + after),
            OnClose::HangsUp => self.end = Some(io.now),
            OnClose::Waits | OnClose::Ignores => {}
        }
    }

    // Frames to the client.

    fn close(&mut self, io: &mut Io<'_>, code: Option<u16>) {
        if !std::mem::replace(&mut self.sent_close, true) {
            let payload = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
            frame_to(io.out, 0x88, &payload);
            open(&self.book).entries[self.k].server_close = Some(code);
        }
    }

    fn act(&mut self, io: &mut Io<'_>, act: Act) {
        let book = self.book.clone();
        let mut book = open(&book);
        let entry = &mut book.entries[self.k];
        match act {
            Act::Finish => {
                entry.broke = true;
                self.end = Some(io.now);
            }
            Act::Reset => {
                entry.broke = true;
                io.abort = true;
            }
            _ if self.sent_close => {}
            Act::Send(msg, pieces) => {
                message_to(io.out, &msg, pieces);
                entry.down.sent.push(msg);
            }
            Act::Ping(data) => {
                frame_to(io.out, 0x89, &data);
                entry.down.pings.push_back(data);
            }
            Act::Pong => frame_to(io.out, 0x8A, &[]),
            Act::Break => {
                (entry.broke, entry.violated) = (true, true);
                // A reserved bit is set; the client must ignore the other bytes.
                io.out.extend_from_slice(&[0xC1; 5000]);
                self.sent_close = true;
            }
            Act::Close(code) => {
                drop(book);
                self.close(io, code);
                if self.got_close {
                    self.end = Some(io.now);
                }
            }
        }
    }

    fn acts(&mut self, io: &mut Io<'_>) {
        while self.due.is_some_and(|due| due <= io.now) {
            let Some((_, act)) = self.acts.pop_front() else {
                self.due = None;
                break;
            };
            self.act(io, act);
            self.due = self.acts.front().map(|(after, _)| io.now + *after);
        }
        if let Some(due) = self.due {
            wake(io, due);
        }
        match self.end {
            Some(end) if end <= io.now => io.finish = true,
            Some(end) => wake(io, end),
            None => {}
        }
    }
}

impl Service for WsServer {
    fn step(&mut self, io: &mut Io<'_>) {
        self.read(io);
        if matches!(self.state, State::Head) && !self.head(io) {
            if io.end.is_some() {
                io.finish = true;
            }
            return;
        }
        if let State::Answering(due, key) = &self.state {
            if *due > io.now {
                return wake(io, *due);
            }
            let key = key.clone();
            self.answer(io, &key);
        }
        if let State::Open = self.state {
            self.frames(io);
            self.acts(io);
        }
        if io.end.is_some() && io.input.is_empty() {
            io.finish = true;
        }
    }
}

/// Sets the time of the service's next call, unless an earlier one is set.
pub fn wake(io: &mut Io<'_>, at: Duration) {
    io.wake = Some(io.wake.map_or(at, |other| other.min(at)));
}

/// Appends a frame of a server, which is not masked.
pub fn frame_to(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match payload.len() {
        n @ 0..=125 => out.push(n as u8),
        n @ 126..=65_535 => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Appends a message in about this many frames. They may split characters.
fn message_to(out: &mut Vec<u8>, msg: &Msg, pieces: usize) {
    let size = (msg.data.len() / pieces.max(1)).max(1);
    let mut rest = &msg.data[..];
    let mut opcode = if msg.text { 1 } else { 2 };
    for _ in 1..pieces.max(1) {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        frame_to(out, opcode, piece);
        (rest, opcode) = (behind, 0);
    }
    frame_to(out, 0x80 | opcode, rest);
}
