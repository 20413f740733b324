//! Each connection of a source uses a stream that the program makes.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moonwire::{ErrorKind, EventSource, Incoming, Stage, StreamOptions};

use crate::common::*;

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\ndata: x\n\n";

#[test]
fn the_next_connection_goes_over_the_next_stream() {
    let servers = [0, 1].map(|_| {
        serve(|mut p| {
            p.request();
            assert!(p.head.contains("\r\nHost: events.example\r\n"), "{}", p.head);
            p.write(STREAM);
        })
    });
    let addresses = [0, 1].map(|i: usize| servers[i].address);
    let made = Arc::new(AtomicUsize::new(0));
    let its = Arc::clone(&made);
    // The name is not resolved.
    let options = StreamOptions::get("http://events.example/").unwrap();
    let mut source = EventSource::new(options).reconnect(true).retry_floor(Duration::ZERO);
    source = source.retry(Duration::ZERO).over(move || {
        let n = its.fetch_add(1, Ordering::Relaxed);
        match n {
            1 => Err(io::Error::other("no line is free")),
            n => TcpStream::connect(addresses[n / 2]),
        }
    });
    assert_eq!(source.next_event().unwrap().unwrap().data, "x");
    let mut reported = Vec::new();
    loop {
        match source.next_timeout(Duration::from_secs(30)).unwrap() {
            Incoming::Event(event) => break assert_eq!(event.data, "x"),
            Incoming::Reconnecting { .. } => reported.extend(source.last_error().map(|e| {
                assert!(matches!((e.stage(), e.kind()), (Stage::Connect, ErrorKind::Connect(_))));
                e.to_string()
            })),
            _ => {}
        }
    }
    assert_eq!(reported, ["http://events.example/: connect: no line is free"]);
    assert_eq!(made.load(Ordering::Relaxed), 3);
    drop(source);
    servers.into_iter().for_each(|server| server.join());
}

#[test]
fn without_reconnect_an_error_of_it_is_that_of_the_call() {
    let options = StreamOptions::get("http://events.example/").unwrap();
    let mut source =
        EventSource::new(options).over(|| Err::<TcpStream, _>(io::Error::other("no line")));
    let error = source.next_event().unwrap_err();
    assert_eq!(error.to_string(), "http://events.example/: connect: no line");
    assert_eq!(source.next_event().unwrap(), None);
}
