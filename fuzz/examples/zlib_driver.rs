//! What `zlib_differential.py` talks to: sessions that take and give bytes as it says, one command a
//! line on standard input, one line of answer each. Bytes are written in hexadecimal, `-` is none.
//!
//! ```text
//! new ID TAKEOVER WINDOW LEVEL MAX   an open connection: 0 or 1, two numbers, Limits::message
//! feed ID PIECE…                     what comes in, cut so: `t:…` and `b:…` for messages, `end:…`
//! send ID DATA                       a binary message: the frame that goes out, its mask key zero
//! body CODING PIECE…                 the body of a response: what it is, then `whole` or the error
//! gzip DATA                          the body that is sent of it
//! ```

use std::collections::HashMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::time::Instant;

use moonwire::Limits;
use moonwire::proto::http::{self, Delivery, Timing};
use moonwire::proto::{
    Closed, Compression, Context, Event, Failure, Random, Session, Settings, Url,
};

struct Key;

impl Random for Key {
    fn key(&mut self) -> [u8; 4] {
        [0; 4]
    }
}

fn main() {
    let mut driver = Driver { now: Instant::now(), sessions: HashMap::new() };
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["new", id, takeover, window, level, max] => {
                driver.open(id, takeover == "1", window, level, max)
            }
            ["feed", id, ref pieces @ ..] => driver.feed(id, pieces),
            ["send", id, data] => driver.send(id, &bytes(data)),
            ["body", coding, ref pieces @ ..] => driver.body(coding, pieces),
            ["gzip", data] => driver.gzip(&bytes(data)),
            _ => panic!("no command: {}", words[0]),
        };
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("somebody reads");
    }
}

struct Driver {
    now: Instant,
    /// With what they have not taken.
    sessions: HashMap<String, (Session, Vec<u8>)>,
}

impl Driver {
    fn open(&mut self, id: &str, takeover: bool, window: &str, level: &str, max: &str) -> String {
        let wanted = Compression {
            client_window: number(window) as u8,
            client_takeover: takeover,
            server_takeover: takeover,
            level: number(level) as u8,
            threshold: 0,
            ..Compression::default()
        };
        let limits = Limits { message: number(max), send_queue: usize::MAX, ..Limits::default() };
        let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
        let session = Session::opened_compressed(settings, self.now, wanted);
        self.sessions.insert(id.to_owned(), (session, Vec::new()));
        "ok".into()
    }

    fn feed(&mut self, id: &str, pieces: &[&str]) -> String {
        let (session, left) = self.sessions.get_mut(id).expect("a connection");
        let mut reported = vec!["ok".to_owned()];
        receive(session, self.now, left, pieces, |event| match event {
            Event::Text(text) => reported.push(format!("t:{}", hex(text.as_bytes()))),
            Event::Binary(data) => reported.push(format!("b:{}", hex(&data))),
            Event::Closed(Closed::Failed(Failure::Violation(why))) => {
                reported.push(format!("end:{why:?}"));
            }
            other => panic!("{other:?}"),
        });
        reported.join(" ")
    }

    fn send(&mut self, id: &str, data: &[u8]) -> String {
        let (session, _) = self.sessions.get_mut(id).expect("a connection");
        let mut cx = Context { now: self.now, random: &mut Key };
        session.send_binary(&mut cx, data).expect("it is open");
        let sent = hex(session.outgoing());
        let n = session.outgoing().len();
        session.sent(self.now, n);
        sent
    }

    fn body(&mut self, coding: &str, pieces: &[&str]) -> String {
        let mut request = request("GET");
        request.decode(true);
        let mut session = stream(request, self.now);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        let (mut data, mut end) = (Vec::new(), None);
        let mut take = |event: Event<'_>| match event {
            Event::Response(response) => assert!(response.decoded),
            Event::Chunk(chunk) => data.extend_from_slice(&chunk),
            Event::Closed(closed) => end = Some(closed),
            other => panic!("{other:?}"),
        };
        let head = hex(head.as_bytes());
        let all: Vec<&str> = [&[&head[..]], pieces].concat();
        receive(&mut session, self.now, &mut Vec::new(), &all, &mut take);
        while let Some(event) = session.receive_eof() {
            take(event);
        }
        let end = match end {
            Some(Closed::Complete) => "whole".to_owned(),
            Some(Closed::Failed(Failure::Http(http::HttpError::Coding(why)))) => format!("{why:?}"),
            other => panic!("{other:?}"),
        };
        format!("{} {end}", hex(&data))
    }

    fn gzip(&mut self, data: &[u8]) -> String {
        let mut request = request("POST");
        request.body_gzip(data).expect("a body");
        let mut session = stream(request, self.now);
        let mut sent = Vec::new();
        while !session.outgoing().is_empty() {
            sent.extend_from_slice(session.outgoing());
            let n = session.outgoing().len();
            session.sent(self.now, n);
        }
        let at = sent.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let (head, body) = sent.split_at(at);
        let head = String::from_utf8_lossy(head);
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(head.contains("Content-Encoding: gzip\r\n"), !data.is_empty(), "{head}");
        hex(body)
    }
}

fn request(method: &str) -> http::Request {
    let url = Url::parse_http("http://server.example/").expect("a URL");
    http::Request::new(method, url).expect("a method")
}

fn stream(request: http::Request, now: Instant) -> Session {
    let limits = Limits { decoded_free: usize::MAX, ..Limits::default() };
    let settings = Settings { limits: Arc::new(limits), ..Settings::default() };
    let mut session = Session::stream(request, Delivery::Raw, &settings, Timing::default());
    session.connected(now);
    session
}

/// Keeps the law of a session: what it did not take is given again, with the next piece behind it.
fn receive(
    session: &mut Session,
    now: Instant,
    input: &mut Vec<u8>,
    pieces: &[&str],
    mut report: impl FnMut(Event<'_>),
) {
    for piece in pieces {
        input.extend_from_slice(&bytes(piece));
        loop {
            let mut cx = Context { now, random: &mut Key };
            let (used, event) = session.receive(&mut cx, input);
            let is_over = event.is_none();
            event.into_iter().for_each(&mut report);
            input.drain(..used);
            if is_over {
                break;
            }
        }
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn bytes(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    let digit = |b: u8| (b as char).to_digit(16).expect("a digit") as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn hex(data: &[u8]) -> String {
    if data.is_empty() {
        return "-".into();
    }
    let digit = |n: u8| char::from_digit(n.into(), 16).expect("below 16");
    data.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
