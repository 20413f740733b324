//! Secrets of a request are shown nowhere, whatever a server answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::{Driver, OwnedEvent};
use super::heads::NONCE;
use super::input::{Cut, Input};
use crate::limits::Limits;
use crate::proto::http::{self, Delivery, Timing};
use crate::proto::{Closed, Failure, Note, Request, Session, Settings, Url};

/// This byte in the server's bytes is replaced by the secret.
const HERE: u8 = 0xFE;

/// A byte of choices, a line that makes the secret, and the server's answer, in which the byte 0xFE
/// stands for the secret. The secret is a field, a subprotocol, or a part of the URL of a WebSocket
/// or of a stream; it is in no `Debug` of the request, of the session or of its events, in no error
/// and in no line of a trace. Bodies, messages and close frames of a server are data.
pub fn secrets(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let more = input.line().iter().filter(|b| b.is_ascii_alphanumeric()).take(20);
    let secret: String = "s3cr3t".chars().chain(more.map(|&b| char::from(b))).collect();
    let answer: Vec<u8> = input
        .0
        .iter()
        .flat_map(|&b| match b {
            HERE => secret.as_bytes().to_vec(),
            b => vec![b],
        })
        .collect();
    let of_url = choice & 6 == 6;
    let (mut session, request) = match choice & 1 {
        0 => websocket(choice, &secret),
        _ => stream(choice, &secret),
    };
    let mut shown = vec![request, format!("{session:?}"), lines(&mut session)];
    // `Debug` shows a list of bytes in this form; no data has come yet.
    let numbers: Vec<String> = secret.bytes().map(|b| b.to_string()).collect();
    let numbers = numbers.join(", ");
    assert!(shown.iter().all(|text| !text.contains(&numbers)), "{shown:?}");
    let cut = if choice & 64 == 0 { Cut::Whole } else { Cut::Bytewise };
    let mut driver = Driver::new(session, Instant::now(), cut, usize::MAX);
    driver.session.connected(driver.now);
    driver.take(usize::MAX);
    driver.feed(&answer);
    shown.extend([of_head(&driver), lines(&mut driver.session)]);
    match choice >> 7 {
        0 => driver.eof(false),
        _ => driver.advance(Duration::from_secs(100)),
    }
    shown.extend([of_head(&driver), lines(&mut driver.session)]);
    shown.extend(driver.events.iter().map(event_text));
    for text in &shown {
        assert!(!text.contains(&secret), "{text}");
        assert!(!of_url || !text.contains("hidden.example"), "{text}");
    }
}

/// `Debug` of a session that has received a head and no data.
fn of_head(driver: &Driver) -> String {
    let is_open =
        |event: &OwnedEvent| matches!(event, OwnedEvent::Opened(_) | OwnedEvent::Response(_));
    if driver.events.iter().any(is_open) { String::new() } else { format!("{:?}", driver.session) }
}

fn settings() -> Settings {
    let limits = Limits { line: 300, head: 2000, fields: 30, interim: 2, ..Default::default() };
    Settings { limits: Arc::new(limits), trace: true, ..Default::default() }
}

/// The URL has the secret, and is marked as secret if that is chosen.
fn url(scheme: &str, choice: u8, secret: &str) -> String {
    match choice & 6 {
        6 => format!("{scheme}://hidden.example/a/{secret}/b?c={secret}"),
        // A query is not shown in any case.
        _ => format!("{scheme}://a.example/b?c={secret}"),
    }
}

fn websocket(choice: u8, secret: &str) -> (Session, String) {
    let url = Url::parse(&url("wss", choice, secret)).expect("a URL");
    let mut request = Request::new(url);
    match choice & 6 {
        0 => drop(request.secret_header("X-Any", &format!("Bearer {secret}"))),
        2 => drop(request.header("X-Auth-Token", secret)),
        4 => drop(request.secret_protocol(secret)),
        _ => drop(request.secret_url()),
    }
    request.protocol("chat").expect("a token");
    let deadline = Instant::now() + Duration::from_secs(3);
    let session = Session::new(&request, settings(), NONCE, Some(deadline));
    (session, format!("{request:?}"))
}

fn stream(choice: u8, secret: &str) -> (Session, String) {
    let url = Url::parse_http(&url("https", choice, secret)).expect("a URL");
    let mut request = http::Request::new("GET", url).expect("a method");
    match choice & 6 {
        0 => drop(request.secret_header("X-Any", &format!("Bearer {secret}"))),
        2 => drop(request.header("Authorization", &format!("Basic {secret}"))),
        4 => drop(request.header("Cookie", secret)),
        _ => drop(request.secret_url()),
    }
    let all = [Delivery::Raw, Delivery::Events, Delivery::Blocks, Delivery::EventBytes];
    let delivery = all[usize::from(choice >> 3 & 3)];
    let shown = format!("{request:?}");
    (Session::stream(request, delivery, &settings(), Timing::default()), shown)
}

/// The lines of a trace, without those of data.
fn lines(session: &mut Session) -> String {
    let notes = session.notes().map(std::mem::take).unwrap_or_default();
    let heads = notes.iter().filter(|note| matches!(note, Note::Head { .. }));
    heads.map(|note| format!("{note} {note:?}\n")).collect()
}

/// `Debug` of an event that is no data.
fn event_text(event: &OwnedEvent) -> String {
    match event {
        OwnedEvent::Opened(opened) => opened.clone(),
        OwnedEvent::Response(response) => format!("{response:?}"),
        OwnedEvent::Closed(Closed::Redirected(to)) => format!("{to:?}"),
        OwnedEvent::Closed(Closed::Failed(Failure::Handshake(e))) => format!("{e} {e:?}"),
        OwnedEvent::Closed(Closed::Failed(Failure::Http(e))) => format!("{e} {e:?}"),
        _ => String::new(),
    }
}
