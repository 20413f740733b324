//! What is secret in a request is shown nowhere, whatever a server makes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::{Driver, Told};
use super::heads::NONCE;
use super::input::{Cut, Input};
use crate::limits::Limits;
use crate::proto::http::{self, Delivery, Timing};
use crate::proto::{Closed, Failure, Note, Request, Session, Settings, Url};

/// Where it stands in what the server sends, there is this byte.
const HERE: u8 = 0xFE;

/// A byte of choices, a line that makes the secret, and what the server answers, with the secret
/// wherever the input has the byte 0xFE. It is a field, a subprotocol, or a part of the URL of a
/// WebSocket or of a stream; no `Debug` of the request, of the session or of what it tells, no error
/// and no line of a trace has it. What a server puts into bodies, messages and close frames is data.
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
    // As `Debug` shows a list of bytes; a server could send that text, but nothing has come yet.
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
    shown.extend(driver.told.iter().map(telling));
    for text in &shown {
        assert!(!text.contains(&secret), "{text}");
        assert!(!of_url || !text.contains("hidden.example"), "{text}");
    }
}

/// `Debug` of a session that has had a head and no data.
fn of_head(driver: &Driver) -> String {
    let is_open = |told: &Told| matches!(told, Told::Opened(_) | Told::Response(_));
    if driver.told.iter().any(is_open) { String::new() } else { format!("{:?}", driver.session) }
}

fn settings() -> Settings {
    let limits = Limits { line: 300, head: 2000, fields: 30, interim: 2, ..Default::default() };
    Settings { limits: Arc::new(limits), trace: true, ..Default::default() }
}

/// The URL has the secret and is one if that is chosen.
fn url(scheme: &str, choice: u8, secret: &str) -> String {
    match choice & 6 {
        6 => format!("{scheme}://hidden.example/a/{secret}/b?c={secret}"),
        // In a query it is not shown in any case.
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

/// The lines of a trace, but for those of data.
fn lines(session: &mut Session) -> String {
    let notes = session.notes().map(std::mem::take).unwrap_or_default();
    let heads = notes.iter().filter(|note| matches!(note, Note::Head { .. }));
    heads.map(|note| format!("{note} {note:?}\n")).collect()
}

/// What a program prints of an event that is no data.
fn telling(told: &Told) -> String {
    match told {
        Told::Opened(opened) => opened.clone(),
        Told::Response(response) => format!("{response:?}"),
        Told::Closed(Closed::Redirected(to)) => format!("{to:?}"),
        Told::Closed(Closed::Failed(Failure::Handshake(e))) => format!("{e} {e:?}"),
        Told::Closed(Closed::Failed(Failure::Http(e))) => format!("{e} {e:?}"),
        _ => String::new(),
    }
}
