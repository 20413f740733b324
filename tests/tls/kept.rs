//! Connections over TLS that wait for another request, and TLS records that arrive meanwhile.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use moonwire::rustls::{ServerConnection, SupportedProtocolVersion};
use moonwire::{Closed, Config, Conn, Event, Limits, Reactor, StreamOptions};

use crate::common::tls::*;
use crate::common::*;

fn asked(reactor: &mut Reactor, url: &str) -> Vec<OwnedEvent> {
    let get = StreamOptions::get(url).unwrap().timeout(LONG).keep_alive(true);
    reactor.open(get).unwrap();
    run(reactor, |_, _| {})
}

/// A server for `count` clients. It calls `meddle` after its first response to the first client.
fn server(
    version: &'static SupportedProtocolVersion,
    count: usize,
    meddle: impl Fn(&mut Peer) + Send + 'static,
) -> Scripted<Vec<usize>> {
    let config = Arc::new(Server::new("good").only(version).config());
    let mut first = true;
    serving(count, move |tcp| {
        let (_, mut peer) = meet(tcp, &config);
        let mut answered = 0;
        loop {
            peer.request();
            peer.answer_any();
            answered += 1;
            if std::mem::take(&mut first) {
                meddle(&mut peer);
            }
            peer.head.clear();
            if !peer.begins() {
                return answered;
            }
        }
    })
}

fn url(server: &Scripted<Vec<usize>>) -> String {
    format!("https://{}/", server.address)
}

/// A TLS record without application data, here a KeyUpdate, neither ends a kept connection nor
/// counts as a response.
#[test]
fn what_tls_says_by_itself_ends_nothing() {
    use moonwire::rustls::version::TLS13;

    for looks in [false, true] {
        let ((report, meddled), (answered, waits)) = (channel(), channel::<()>());
        let server = server(&TLS13, 1, move |peer| {
            // The record follows the response later, so that one read does not return both.
            waits.recv_timeout(LONG).unwrap();
            peer.session().refresh_traffic_keys().unwrap();
            let mut record = Vec::new();
            while peer.session().wants_write() {
                peer.session().write_tls(&mut record).unwrap();
            }
            assert!(!record.is_empty());
            peer.tcp.write_all(&record).unwrap();
            report.send(()).unwrap();
        });
        let mut reactor = Reactor::new(trusting()).unwrap();
        asked(&mut reactor, &url(&server));
        answered.send(()).unwrap();
        meddled.recv_timeout(LONG).unwrap();
        if looks {
            // The reactor reads the record, so the socket does not wake it again.
            let (until, mut turns) = (Instant::now() + Duration::from_millis(50), 0);
            while Instant::now() < until {
                reactor.turn(Some(until), &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
                turns += 1;
            }
            assert!(turns < 10, "{turns} turns");
        }
        for _ in 0..3 {
            asked(&mut reactor, &url(&server));
        }
        drop(reactor);
        assert_eq!(server.join(), [4]);
    }
}

/// A connection is not used again after close_notify, an alert, an invalid or an incomplete record.
#[test]
fn what_tls_ends_or_breaks_is_not_used_again() {
    type Meddle = fn(&mut Peer);
    let meddles: [(&str, Meddle); 5] = [
        ("close_notify", Peer::close_notify),
        ("alert", Peer::alert),
        ("no record", |peer| peer.tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap()),
        ("a part of a header", |peer| peer.tcp.write_all(&[0x17, 3]).unwrap()),
        ("a part of a record", |peer| peer.tcp.write_all(&[0x17, 3, 3, 0, 99, 1, 2, 3]).unwrap()),
    ];
    for version in VERSIONS {
        for (what, meddle) in meddles {
            let (report, meddled) = channel();
            let server = server(version, 2, move |peer| {
                meddle(peer);
                report.send(()).unwrap();
            });
            let mut reactor = Reactor::new(trusting()).unwrap();
            asked(&mut reactor, &url(&server));
            meddled.recv_timeout(LONG).unwrap();
            for _ in 0..2 {
                let reported = asked(&mut reactor, &url(&server));
                assert!(matches!(reported[0], OwnedEvent::Response(_)), "{what}: {reported:?}");
            }
            drop(reactor);
            assert_eq!(server.join(), [1, 2], "{what}");
        }
    }
}

/// The same, if the server sends it together with the response.
#[test]
fn what_tls_ends_or_breaks_with_the_response_is_not_kept() {
    type Tail = fn(&mut ServerConnection, &mut Vec<u8>);
    let tails: [(&str, Tail, bool); 4] = [
        ("nothing", |_, _| {}, true),
        (
            "close_notify",
            |session, bytes| {
                session.send_close_notify();
                session.write_tls(bytes).unwrap();
            },
            false,
        ),
        ("a part of a header", |_, bytes| bytes.extend([0x17, 3]), false),
        ("a part of a record", |_, bytes| bytes.extend([0x17, 3, 3, 0, 99, 1, 2, 3]), false),
    ];
    for version in VERSIONS {
        for (what, tail, is_kept) in tails {
            let config = Arc::new(Server::new("good").only(version).config());
            let server = serving(1, move |tcp| {
                let (_, mut peer) = meet(tcp, &config);
                peer.request();
                let (mut bytes, session) = (Vec::new(), peer.session());
                session
                    .writer()
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .unwrap();
                session.write_tls(&mut bytes).unwrap();
                tail(session, &mut bytes);
                peer.tcp.write_all(&bytes).unwrap();
                peer.rest();
            });
            let mut reactor = Reactor::new(trusting()).unwrap();
            let reported = asked(&mut reactor, &format!("https://{}/", server.address));
            assert!(
                matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Complete))),
                "{reported:?}"
            );
            // Only a kept connection can give the reactor a deadline here.
            assert_eq!(reactor.deadline().is_some(), is_kept, "{what}");
            drop(reactor);
            server.join();
        }
    }
}

/// A connection that has waited too long is closed with close_notify.
#[test]
fn one_that_is_over_sends_close_notify() {
    for version in VERSIONS {
        let config = Arc::new(Server::new("good").only(version).config());
        let server = serving(1, move |tcp| {
            let (_, mut peer) = meet(tcp, &config);
            peer.answer_any();
            peer.gets_close_notify()
        });
        let limits = Limits { kept_idle: Duration::from_millis(1), ..Limits::default() };
        let mut reactor = Reactor::new(Config { limits, ..trusting() }).unwrap();
        asked(&mut reactor, &format!("https://{}/", server.address));
        let until = soon();
        while let Some(at) = reactor.deadline() {
            assert!(Instant::now() < until);
            reactor.turn(Some(at), &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
        }
        assert_eq!(server.join(), [true]);
    }
}
