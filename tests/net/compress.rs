//! Compressed messages over real sockets, with the echo server of this crate.
#![cfg(feature = "deflate")]

use moonwire::peer::{Running, Server};
use moonwire::proto::{Agreed, Compression};
use moonwire::trace::{Observer, Trace};
use moonwire::{Client, Config, Event, Message, Options};

use crate::common::*;

fn echo() -> Running {
    Server::bind(loopback()).unwrap().spawn().unwrap()
}

fn options(url: &str, query: &str, wanted: Compression) -> Options {
    Options::new(&format!("{url}?{query}")).unwrap().timeout(LONG).compression(wanted)
}

/// Similar rows, as in a feed.
fn rows(len: usize, seed: usize) -> String {
    let mut text = String::new();
    for i in (seed * 7919).. {
        if text.len() >= len {
            break;
        }
        let (id, price) = (i % 100_003, i * 31 % 9973);
        text += &format!("{{\"id\":{id},\"name\":\"käse {price}\",\"tags\":[\"a\",\"β\"]}},");
    }
    // The text must not end inside a character.
    while !text.is_char_boundary(len) {
        text.insert(0, ' ');
    }
    text.truncate(len);
    text
}

fn agreed(ws: &moonwire::WebSocket) -> Agreed {
    ws.compression().expect("it was agreed on")
}

const SIZES: [usize; 11] = [0, 1, 125, 126, 127, 128, 2048, 65_535, 65_536, 65_537, 200_000];

#[test]
fn messages_come_back_whatever_was_agreed_on() {
    let server = echo();
    let window = |client_window, server_window| Compression {
        client_window,
        server_window,
        ..Compression::default()
    };
    let alone = Compression {
        client_takeover: false,
        server_takeover: false,
        threshold: 0,
        ..Compression::default()
    };
    let mut all = vec![
        ("", Compression::default(), (15, 15, true, true)),
        ("", alone, (15, 15, false, false)),
        ("client_no_context_takeover=1", Compression::default(), (15, 15, false, true)),
        ("server_no_context_takeover=1", Compression::default(), (15, 15, true, false)),
        ("client_max_window_bits=9&server_max_window_bits=10", window(15, 15), (9, 10, true, true)),
        ("", Compression { level: 9, ..Compression::default() }, (15, 15, true, true)),
        ("", Compression { level: 1, ..alone }, (15, 15, false, false)),
    ];
    all.extend((9..=15).map(|n| ("", window(n, 24 - n), (n, 24 - n, true, true))));
    let messages: Vec<Message> = (SIZES.into_iter().chain(SIZES).enumerate())
        .map(|(i, size)| match i % 3 {
            0 => Message::Binary(rows(size, i).into_bytes()),
            _ => Message::Text(rows(size, i)),
        })
        .collect();
    for (query, wanted, want) in all {
        let mut ws = options(server.url(), query, wanted).connect().unwrap();
        let Agreed { client_window, server_window, client_takeover, server_takeover, .. } =
            agreed(&ws);
        let got = (client_window, server_window, client_takeover, server_takeover);
        assert_eq!(got, want, "{query} {wanted:?}");
        for message in &messages {
            ws.send(message).unwrap();
            let len = message.len();
            assert!(ws.read().unwrap().unwrap() == *message, "{len} bytes with {wanted:?}");
        }
        ws.close(1000, "").unwrap();
    }
}

/// The compressor has no window of 8 bits, so the server declines an offer of one.
#[test]
fn a_window_of_eight_bits_is_kept_to() {
    let server = echo();
    let wanted = Compression { server_window: 8, ..Compression::default() };
    let ws = options(server.url(), "", wanted).connect().unwrap();
    assert_eq!(ws.compression(), None);
}

/// The notes of a trace.
#[derive(Default)]
struct Seen(Vec<String>);

impl Observer for Seen {
    fn observe(&mut self, _: std::time::Instant, _: u64, trace: Trace<'_>) {
        if let Trace::Note(note) = trace {
            self.0.push(note.to_string());
        }
    }
}

#[test]
fn a_trace_shows_both_sizes_and_what_goes_plain() {
    let server = echo();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Seen::default()));
    let config = Config { observer: Some(Box::new(seen.clone())), ..Config::default() };
    let options = options(server.url(), "", Compression::default());
    let mut ws = options.connect_with(config).unwrap();
    let text = "abcdefgh".repeat(100);
    ws.send_text(&text).unwrap();
    ws.read().unwrap().unwrap();
    ws.send_text_plain(&text).unwrap();
    ws.read().unwrap().unwrap();
    ws.send_binary_plain(text.as_bytes()).unwrap();
    ws.read().unwrap().unwrap();
    let notes = std::mem::take(&mut seen.lock().unwrap().0);
    assert!(
        notes[0].contains("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    );
    assert!(notes[1].contains("Sec-WebSocket-Extensions: permessage-deflate"), "{}", notes[1]);
    let start = format!("\"{}…\"", "abcdefgh".repeat(8));
    let both = |note: &str, arrow: &str| {
        let size = note.strip_prefix(&format!("{arrow} text message 800 compressed to "));
        let (size, shown) = size.expect(note).split_once(' ').unwrap();
        assert_eq!(shown, start);
        size.parse::<usize>().unwrap()
    };
    for (at, arrow) in [(2, "->"), (4, "<-")] {
        let size = both(&notes[at + 1], arrow);
        assert!(size < 30 && notes[at].starts_with(&format!("{arrow} text fin {size} ")));
    }
    let plain: Vec<_> = notes[6..].iter().map(|n| &n[..n.find('"').unwrap()]).collect();
    let want = ["-> text fin 800 ", "<- text fin 800 ", "-> binary fin 800 ", "<- binary fin 800 "];
    assert_eq!(plain, want);
}

#[test]
fn the_threaded_client_and_its_halves_send_plain_and_compressed() {
    let server = echo();
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    let id = client.open(options(server.url(), "", Compression::default())).unwrap();
    let text = rows(5000, 1);
    let mut got = 0;
    while got < 4 {
        let each = |_, event: Event<'_>| match event {
            Event::Opened(opened) => {
                assert!(opened.compression.is_some());
                client.send_text(id, &text).unwrap();
                client.send_text_plain(id, &text).unwrap();
                client.send_binary(id, text.as_bytes()).unwrap();
                client.send_binary_plain(id, text.as_bytes()).unwrap();
            }
            Event::Text(echo) => {
                assert!(echo.as_str() == text);
                got += 1;
            }
            Event::Binary(echo) => {
                assert!(*echo == *text.as_bytes());
                got += 1;
            }
            other => panic!("{other:?}"),
        };
        assert!(events.wait(Some(soon()), each).unwrap() > 0);
    }
    let ws = options(server.url(), "", Compression::default()).connect().unwrap();
    let (sender, mut receiver) = ws.split().unwrap();
    sender.send_text_plain(&text).unwrap();
    sender.send_binary_plain(text.as_bytes()).unwrap();
    sender.send_text(&text).unwrap();
    for _ in 0..3 {
        assert!(receiver.read().unwrap().unwrap().as_bytes() == text.as_bytes());
    }
}
