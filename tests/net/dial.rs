//! From a URL to a TCP connection: names, addresses, the order of openings.

use std::io::ErrorKind as Io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use moonwire::{Closed, Config, Conn, ConnId, ErrorKind, Event, Limits, Override, Reactor, Stage};

use crate::common::*;

fn override_to(host: &str, port: u16, to: SocketAddr) -> Override {
    Override { host: host.into(), port, to }
}

/// A port at which no server listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind(loopback()).unwrap().local_addr().unwrap()
}

#[test]
fn an_ipv6_address_in_the_url() {
    let Ok(server) = moonwire::peer::Server::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))
    else {
        return; // A machine without IPv6.
    };
    let url = server.url();
    assert!(url.starts_with("ws://[::1]:"), "{url}");
    let _server = server.spawn().unwrap();
    let mut ws = options(&url).connect().unwrap();
    ws.send_text("over IPv6").unwrap();
    assert_eq!(ws.read().unwrap(), Some(moonwire::Message::Text("over IPv6".into())));
}

#[test]
fn a_refused_connection_names_every_address() {
    let (a, b) = (closed_port(), closed_port());
    let mut config = trusting();
    config.resolve = vec![override_to("two.example", 80, a), override_to("two.example", 80, b)];
    let reported = events(options("ws://two.example/"), config);
    let (error, _) = failure(&reported);
    assert!(matches!(error.kind(), ErrorKind::Connect(all) if all.len() == 2));
    let text = error.to_string();
    let prefix = format!("ws://two.example/: connect: {a}: Connection refused");
    assert!(text.starts_with(&prefix), "{text}");
    assert!(text.contains(&format!("; {b}: Connection refused")), "{text}");
}

#[test]
fn a_name_that_does_not_exist_fails_at_dns() {
    // RFC 6761 §6.4: "invalid" has no addresses; without a name server the query lasts until the
    // limit.
    let reported =
        events(options("ws://name.invalid/").timeout(Duration::from_secs(3)), trusting());
    let (error, opened) = failure(&reported);
    assert!(!opened);
    assert_eq!(error.stage(), Stage::Resolve, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Resolve(_) | ErrorKind::Timeout(_)), "{error}");
    assert!(error.to_string().starts_with("ws://name.invalid/: DNS: "), "{error}");
}

#[test]
fn localhost_where_one_family_listens() {
    // RFC 8305: whichever address the resolver prefers, one that answers is found.
    let server = moonwire::peer::Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut ws = options(&format!("ws://localhost:{}/", server.port())).connect().unwrap();
    ws.send_text("x").unwrap();
    assert!(ws.read().unwrap().is_some());
    ws.close(1000, "").unwrap();
    // The same with known addresses. The first is IPv6, and nobody listens there.
    let dead = closed_port();
    let resolve = vec![
        override_to("both.example", 80, SocketAddr::from((Ipv6Addr::LOCALHOST, dead.port()))),
        override_to("both.example", 80, dead),
        override_to("both.example", 80, server.address()),
    ];
    let config = Config { resolve, ..Config::default() };
    let mut ws = options("ws://both.example/").connect_with(config).unwrap();
    ws.send_text("x").unwrap();
    assert!(ws.read().unwrap().is_some());
}

/// A reactor and a listener on one thread, so that no step depends on time.
struct Stage1 {
    reactor: Reactor,
    listener: TcpListener,
    reported: Vec<(ConnId, OwnedEvent)>,
}

impl Stage1 {
    fn new(config: Config) -> Stage1 {
        let listener = TcpListener::bind(loopback()).unwrap();
        listener.set_nonblocking(true).unwrap();
        Stage1 { reactor: Reactor::new(config).unwrap(), listener, reported: Vec::new() }
    }

    fn open(&mut self, limit: Duration) -> ConnId {
        let url = format!("ws://{}/", self.listener.local_addr().unwrap());
        self.reactor.open(options(&url).timeout(limit)).unwrap()
    }

    fn turn(&mut self, until: Option<Instant>) {
        let reported = &mut self.reported;
        let mut sink =
            |conn: &mut Conn<'_>, event: Event<'_>| reported.push((conn.id(), keep(event)));
        self.reactor.turn(until, &mut sink).unwrap();
    }

    /// Runs more turns than any step needs, without waiting.
    fn turns(&mut self) {
        for _ in 0..20 {
            self.turn(Some(Instant::now()));
        }
    }

    /// Runs some turns and accepts a connection, if one waits.
    fn accepted(&mut self) -> Option<Peer> {
        self.turns();
        match self.listener.accept() {
            Ok((tcp, _)) => Some(Peer::plain(tcp)),
            Err(e) if e.kind() == Io::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Runs turns until a connection can be accepted.
    fn accept(&mut self) -> Peer {
        let until = soon();
        loop {
            assert!(Instant::now() < until, "no client connects");
            if let Some(peer) = self.accepted() {
                return peer;
            }
        }
    }

    fn until(&mut self, what: impl Fn(&(ConnId, OwnedEvent)) -> bool) {
        let until = soon();
        while !self.reported.iter().any(&what) {
            assert!(Instant::now() < until, "{:?}", self.reported);
            self.turn(Some(until));
        }
    }
}

#[test]
fn one_opening_handshake_at_a_time_with_one_address() {
    // RFC 6455 §4.1, 2: the second waits until the first is open or has failed.
    let mut stage = Stage1::new(Config::default());
    let (a, b, c) = (stage.open(LONG), stage.open(LONG), stage.open(LONG));
    let mut first = stage.accept();
    assert!(stage.accepted().is_none(), "the second has to wait");
    first.accept(b"");
    stage.until(|t| t.0 == a && matches!(t.1, OwnedEvent::Opened));
    let second = stage.accept();
    assert!(stage.accepted().is_none(), "the third has to wait");
    // A handshake that fails lets the next one begin, too.
    drop(second);
    stage.until(|t| t.0 == b && matches!(t.1, OwnedEvent::Closed(Closed::Failed(_))));
    stage.accept().accept(b"");
    stage.until(|t| t.0 == c && matches!(t.1, OwnedEvent::Opened));
}

#[test]
fn the_limit_of_opening_handshakes_can_be_raised() {
    let limits = Limits { opening_per_peer: 2, ..Limits::default() };
    let mut stage = Stage1::new(Config { limits, ..Config::default() });
    let _ = [stage.open(LONG), stage.open(LONG), stage.open(LONG)];
    let _both = (stage.accept(), stage.accept());
    assert!(stage.accepted().is_none(), "the third has to wait");
}

#[test]
fn a_server_that_hangs_holds_others_up_for_as_long_as_they_want_to_wait() {
    let short = Duration::from_millis(60);
    let mut stage = Stage1::new(Config::default());
    // The first handshake hangs. The second waits for its turn until `opening_wait`, whatever its
    // timeout is.
    let hung = stage.open(LONG);
    let peer = stage.accept();
    let limits = Limits { opening_wait: short, ..Limits::default() };
    let address = stage.listener.local_addr().unwrap();
    let ask = options(&format!("ws://{address}/")).timeout(short / 2).limits(limits);
    let waits = stage.reactor.open(ask).unwrap();
    stage.until(|t| t.0 == waits);
    let OwnedEvent::Closed(Closed::Failed(error)) = &stage.reported[0].1 else { panic!() };
    let ErrorKind::Waited { limit, others: 1, address: with } = error.kind() else {
        panic!("{error}")
    };
    assert_eq!((*limit, *with, error.stage()), (short, address, Stage::Connect));
    let words = format!("waited 60ms for 1 other handshake with {address}; ");
    assert!(error.to_string().contains(&words), "{error}");
    // The program releases the first, and a waiting one gets its turn.
    let next = stage.open(LONG);
    assert!(stage.accepted().is_none(), "the first holds the gate");
    stage.reactor.release(hung, &moonwire::proto::CloseFrame::new(1001, ""));
    stage.accept().accept(b"");
    stage.until(|t| t.0 == next && matches!(t.1, OwnedEvent::Opened));
    drop(peer);
}

#[test]
fn an_opening_that_is_given_up_closes_its_socket_and_tells_nothing() {
    let mut stage = Stage1::new(Config::default());
    let id = stage.open(LONG);
    let mut peer = stage.accept();
    stage.reactor.release(id, &moonwire::proto::CloseFrame::new(1001, ""));
    stage.turns();
    assert!(stage.reactor.is_empty());
    peer.request();
    assert_eq!(peer.rest(), 0);
    assert!(stage.reported.is_empty());
}

#[test]
fn a_turn_in_which_the_last_connection_ends_without_a_word_does_not_wait() {
    // Otherwise `while !reactor.is_empty() { reactor.turn(None, …) }` would never return.
    let mut stage = Stage1::new(Config::default());
    let id = stage.open(LONG);
    let _peer = stage.accept();
    stage.reactor.release(id, &moonwire::proto::CloseFrame::new(1001, ""));
    let start = Instant::now();
    while !stage.reactor.is_empty() {
        stage.turn(Some(soon()));
    }
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn more_connections_than_allowed_are_refused_at_once() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut stage = Stage1::new(Config { limits, ..Config::default() });
    let _ = (stage.open(LONG), stage.open(LONG));
    let error = stage.reactor.open(options("ws://a.example/")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyConnections(2)), "{error}");
}

#[test]
fn a_second_address_is_tried_after_the_delay_when_the_addresses_are_known() {
    // RFC 8305 §5, with overrides, so that no resolver is involved. Another handshake occupies the
    // first address.
    let hung = TcpListener::bind(loopback()).unwrap();
    let hung = hung.local_addr().map(|to| (hung, to)).unwrap();
    let server = moonwire::peer::Server::bind(loopback()).unwrap().spawn().unwrap();
    let resolve = vec![
        override_to("two.example", 80, hung.1),
        override_to("two.example", 80, server.address()),
    ];
    let mut reactor = Reactor::new(Config { resolve, ..Config::default() }).unwrap();
    reactor.open(options(&format!("ws://{}/", hung.1))).unwrap();
    let id = reactor.open(options("ws://two.example/")).unwrap();
    let until = Instant::now() + LONG / 4;
    while !reactor.is_open(id) {
        assert!(Instant::now() < until, "the second address is not tried");
        reactor.turn(Some(until), &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
    }
}
