//! The counters of a connection, in each face.

use moonwire::peer::Server;
use moonwire::proto::Stats;
use moonwire::{Client, Config, Event, Reactor};

use crate::common::*;

fn options(url: &str) -> moonwire::Options {
    moonwire::Options::new(url).unwrap().timeout(LONG)
}

/// The counters that do not depend on when a message is read.
fn counts(stats: Stats) -> [u64; 4] {
    [stats.bytes_sent, stats.bytes_received, stats.messages_sent, stats.messages_received]
}

#[test]
fn a_blocking_connection_counts_and_keeps_it() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut ws = options(server.url()).connect().unwrap();
    assert_eq!(ws.stats(), Stats::default());
    ws.send_text("hello").unwrap();
    ws.read().unwrap();
    // The server's frames have no mask.
    assert_eq!(counts(ws.stats()), [11, 7, 1, 1]);
    assert_eq!(ws.stats().round_trip, None);
    ws.ping(b"x").unwrap();
    ws.send_binary(&[0; 300]).unwrap();
    ws.read().unwrap();
    assert_eq!(counts(ws.stats()), [11 + 7 + 308, 7 + 3 + 304, 2, 2]);
    assert!(ws.stats().round_trip.is_some());
    // A large message arrives in parts.
    ws.send_binary(&vec![0; 3_000_000]).unwrap();
    ws.read().unwrap();
    assert_eq!(counts(ws.stats()), [326 + 3_000_014, 314 + 3_000_010, 3, 3]);
    ws.close(1000, "").unwrap();
    assert_eq!(counts(ws.stats()), [326 + 3_000_014 + 8, 314 + 3_000_010 + 4, 3, 3]);
    assert_eq!(ws.stats().compression_ratio(), None);
}

#[test]
fn a_reactor_knows_them_until_the_place_is_taken() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let id = reactor.open(options(server.url())).unwrap();
    assert_eq!(reactor.stats(id), None);
    let mut at_end = None;
    while at_end.is_none() {
        let mut sink = |conn: &mut moonwire::Conn<'_>, event: Event<'_>| match event {
            Event::Opened(_) => conn.send_text("hello").unwrap(),
            Event::Text(_) => conn.close(1000, "").unwrap(),
            Event::Closed(_) => at_end = conn.stats(),
            _ => {}
        };
        reactor.turn(None, &mut sink).unwrap();
    }
    assert_eq!(counts(at_end.unwrap()), [11 + 8, 7 + 4, 1, 1]);
    assert_eq!(reactor.stats(id), at_end);
    while !reactor.is_empty() {
        reactor.turn(None, &mut |_: &mut moonwire::Conn<'_>, _: Event<'_>| {}).unwrap();
    }
    assert_eq!(reactor.stats(id), at_end);
    let other = reactor.open(options(server.url())).unwrap();
    assert_eq!((reactor.stats(id), reactor.stats(other)), (None, None));
    // The counters of the other connection do not become those of the first, neither while it is
    // open nor later.
    run(&mut reactor, |conn, event| match event {
        Event::Opened(_) => conn.close(1000, "").unwrap(),
        Event::Closed(_) => assert!(conn.stats().is_some()),
        _ => {}
    });
    assert_eq!(reactor.stats(id), None);
    assert_eq!(counts(reactor.stats(other).unwrap()), [8, 4, 0, 0]);
    let third = reactor.open(options(server.url())).unwrap();
    while !reactor.is_open(third) {
        reactor.turn(None, &mut |_: &mut moonwire::Conn<'_>, _: Event<'_>| {}).unwrap();
    }
    assert_eq!((reactor.stats(id), reactor.stats(other)), (None, None));
    assert_eq!(counts(reactor.stats(third).unwrap()), [0; 4]);
}

#[test]
fn a_client_asks_its_poll_thread() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    let id = client.open(options(server.url())).unwrap();
    let mut is_echoed = false;
    while !is_echoed {
        let each = |_, event: Event<'_>| match event {
            Event::Opened(_) => client.send_text(id, "hello").unwrap(),
            Event::Text(_) => is_echoed = true,
            _ => {}
        };
        events.wait(Some(std::time::Instant::now() + LONG), each).unwrap();
    }
    assert_eq!(counts(client.stats(id).unwrap()), [11, 7, 1, 1]);
}
