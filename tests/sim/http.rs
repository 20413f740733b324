//! An independent HTTP/1.1 server: redirects, framings, event streams.

use std::collections::VecDeque;
use std::time::Duration;

use crate::book::{SharedBook, open};
use crate::net::{Io, Service};
use crate::reader::{Pace, Reader};
use crate::ws::wake;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// A redirect before the last response.
#[derive(Clone, Debug)]
pub struct Hop {
    pub status: u16,
    pub location: String,
    pub after: Duration,
    /// The server keeps its side of the connection open.
    pub lingers: bool,
}

/// How the server handles a request.
#[derive(Clone)]
pub struct HttpPlan {
    pub hops: Vec<Hop>,
    pub after: Duration,
    /// The server sends the head of the response as soon as it has the head of the request, and the
    /// rest when the whole request has arrived.
    pub early: bool,
    /// The number of interim responses.
    pub interim: usize,
    pub framing: Framing,
    pub event_stream: bool,
    /// The body; each piece follows the one before after this time.
    pub pieces: Vec<(Duration, Vec<u8>)>,
    /// The server sends this number of pieces and no end of the body.
    pub stops: Option<usize>,
    /// The server ends the stream when everything is sent.
    pub finishes: bool,
    /// The server sends bytes after the response, which belong to no response.
    pub more: bool,
    /// How the server reads the bodies of requests.
    pub pace: Pace,
}

impl HttpPlan {
    pub fn body(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect()
    }
}

pub struct HttpServer {
    book: SharedBook,
    taken: Vec<u8>,
    state: State,
    /// The size of the request, as its head declares it; 0 before the head is complete.
    want: usize,
    /// A part of the response was sent.
    begun: bool,
    /// Set when the first head has named the plan.
    reader: Option<Reader>,
}

enum State {
    Head,
    /// The server sends these pieces, each after its delay, and then ends the stream if the `bool`
    /// is set. The time is that of the next piece, once it is known.
    Sending(Option<Duration>, VecDeque<(Duration, Vec<u8>)>, bool),
    Over,
}

impl HttpServer {
    /// The first head names the plan: from here on, the server reads at the pace of the plan.
    fn find_pace(&mut self, head: &str, now: Duration) {
        let number = head.split('/').nth(1).and_then(|k| k.parse::<usize>().ok());
        if self.reader.is_none()
            && let Some(k) = number
            && let Some(plan) = &open(&self.book).entries[k].http
        {
            self.reader = Some(Reader::new(&plan.pace, now));
        }
    }

    /// Takes the bytes up to the end of the first head, which names the plan.
    fn take_head(&mut self, input: &mut Vec<u8>) {
        let rest = self.taken.len().saturating_sub(3);
        self.taken.append(input);
        if let Some(end) = self.taken[rest..].windows(4).position(|w| w == b"\r\n\r\n") {
            *input = self.taken.split_off(rest + end + 4);
        }
    }

    pub fn new(book: SharedBook) -> HttpServer {
        HttpServer {
            book,
            taken: Vec::new(),
            state: State::Head,
            want: 0,
            begun: false,
            reader: None,
        }
    }

    fn head(&mut self, now: Duration) -> bool {
        if self.taken.len() < self.want {
            return false;
        }
        let Some(end) = self.taken.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&self.taken[..end]).into_owned();
        self.find_pace(&head, now);
        let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: "));
        let length = length.and_then(|l| l.parse().ok()).unwrap_or(0);
        self.want = end + 4 + length;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let mut parts = path.trim_start_matches('/').split('/').map(|p| p.parse::<usize>());
        let mut book = open(&self.book);
        book.head(&head);
        let (Some(Ok(k)), Some(Ok(hop))) = (parts.next(), parts.next()) else {
            book.complain(format!("not a request of ours: {head:?}"));
            return false;
        };
        let entry = &mut book.entries[k];
        let is_early = entry.http.as_ref().is_some_and(|plan| plan.early);
        if self.taken.len() < self.want && !is_early {
            return false;
        }
        if entry.requests != hop {
            let text = format!("ask {k}: request {hop} after {}", entry.requests);
            book.complain(text);
            return false;
        }
        entry.requests += 1;
        let Some(plan) = &entry.http else { return false };
        self.state = respond(plan, hop);
        true
    }
}

/// The response to request number `hop`.
fn respond(plan: &HttpPlan, hop: usize) -> State {
    if let Some(Hop { status, location, after, lingers }) = plan.hops.get(hop).cloned() {
        let text = format!(
            "HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nthere"
        );
        return State::Sending(None, [(after, text.into_bytes())].into(), !lingers);
    }
    let mut head = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(plan.interim);
    head.push_str("HTTP/1.1 200 OK\r\n");
    if plan.event_stream {
        head.push_str("Content-Type: text/event-stream; charset=utf-8\r\n");
    }
    match plan.framing {
        Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", plan.body().len())),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => {}
    }
    head.push_str("\r\n");
    let mut all = VecDeque::from([(plan.after, head.into_bytes())]);
    for (after, piece) in plan.pieces.iter().take(plan.stops.unwrap_or(usize::MAX)) {
        let bytes = if plan.framing == Framing::Chunked && !piece.is_empty() {
            let size = format!("{:x};x=\"y\"\r\n", piece.len());
            [size.as_bytes(), piece, b"\r\n"].concat()
        } else {
            piece.clone()
        };
        all.push_back((*after, bytes));
    }
    if plan.stops.is_none() && plan.framing == Framing::Chunked {
        all.push_back((Duration::ZERO, b"0\r\nTrailer: x\r\n\r\n".to_vec()));
    }
    if plan.more && plan.stops.is_none() && plan.framing != Framing::UntilClose {
        all.push_back((Duration::ZERO, b"HTTP/1.1 200 OK\r\n".to_vec()));
    }
    State::Sending(None, all, plan.finishes)
}

impl Service for HttpServer {
    fn step(&mut self, io: &mut Io<'_>) {
        if self.reader.is_none() {
            self.take_head(io.input);
            self.head(io.now);
        }
        if let Some(reader) = &mut self.reader {
            reader.take(io, &mut self.taken);
        }
        if matches!(self.state, State::Head) {
            self.head(io.now);
        }
        if let State::Sending(due, rest, finishes) = &mut self.state {
            loop {
                if self.begun && self.taken.len() < self.want {
                    break;
                }
                let Some((after, _)) = rest.front() else {
                    io.finish |= *finishes;
                    self.state = State::Over;
                    break;
                };
                let at = *due.get_or_insert(io.now + *after);
                if at > io.now {
                    wake(io, at);
                    break;
                }
                if let Some((_, bytes)) = rest.pop_front() {
                    io.out.extend_from_slice(&bytes);
                    (*due, self.begun) = (None, true);
                }
            }
        }
        if io.end.is_some() {
            io.finish = true;
        }
    }
}
