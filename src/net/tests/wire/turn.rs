//! A wait at a gate does not count as connecting (RFC 6455 §4.1, 2).

use super::*;

fn limits() -> Limits {
    Limits { opening: SECOND, opening_wait: 60 * SECOND, ..Limits::default() }
}

/// Options whose time limit of opening no test reaches.
fn patient() -> Options {
    ws().timeout(1000 * SECOND)
}

impl Bench {
    fn tcps(&self) -> usize {
        self.world.lock().tcps.len()
    }

    /// Which of these connections are open.
    fn open_of(&mut self, ids: &[ConnId]) -> Vec<bool> {
        ids.iter().map(|&id| self.reactor.is_open(id)).collect()
    }

    /// Completes the handshake of this connection.
    fn opens(&mut self, tcp: usize) {
        self.gives(tcp, self.answer(tcp).as_bytes());
        assert_eq!(self.turns(), ["opened"]);
    }
}

#[test]
fn the_time_of_an_opening_starts_with_its_turn() {
    let mut bench = Bench::new(limits());
    for _ in 0..3 {
        bench.start(ws());
    }
    // Each connection hangs, has its whole time, and fails separately.
    for n in 1..=3 {
        assert_eq!(bench.tcps(), n);
        assert_eq!(bench.pass(SECOND - NS), NOTHING);
        assert_eq!(bench.pass(NS), ["failed Handshake: 1s are over"]);
    }
    assert!(bench.reactor.is_empty());
    // The time for resolving does not count, since the gate lets the connection in later.
    let hung = bench.start(patient());
    bench.start(Options::new("ws://name.example/").unwrap());
    assert_eq!(bench.pass(SECOND / 2), NOTHING);
    let (id, port) = bench.world.lock().asked[0];
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    bench.world.lock().answers.push_back((id, Ok(vec![address])));
    assert_eq!(bench.pass(10 * SECOND), NOTHING);
    bench.reactor.release(hung, &CloseFrame::new(1001, ""));
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.pass(SECOND - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Handshake: 1s are over"]);
    // Also if connecting hangs; a timeout in the options has the same effect as the limit.
    bench.world.lock().accepts = false;
    bench.start(ws());
    bench.start(ws().timeout(2 * SECOND));
    assert_eq!(bench.pass(SECOND), ["failed Connect: 1s are over"]);
    assert_eq!(bench.pass(2 * SECOND - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Connect: 2s are over"]);
    // A connection that has waited gets no more time either.
    bench.world.lock().accepts = true;
    bench.start(patient());
    let id = bench.start(ws());
    assert_eq!(bench.pass(50 * SECOND), NOTHING);
    let tcp = bench.tcps() - 1;
    bench.opens(tcp);
    assert_eq!(bench.pass(SECOND - NS), NOTHING);
    bench.opens(tcp + 1);
    assert!(bench.reactor.is_open(id));
}

#[test]
fn a_wait_has_its_own_limit_and_its_own_words() {
    let mut bench = Bench::new(limits());
    let first = bench.start(patient());
    let own = Limits { opening_wait: 100 * SECOND, ..limits() };
    bench.start(ws());
    bench.start(ws().limits(own.clone()));
    bench.start(ws().limits(own).secret_url());
    assert_eq!(bench.pass(60 * SECOND - NS), NOTHING);
    let waited = |limit: u32, others: &str| {
        format!(
            "failed Connect: {URL}: connect: waited {limit}s for {others} with 127.0.0.1:80; \
             Limits::opening_per_peer and --opening allow more at a time"
        )
    };
    let events = bench.pass(NS);
    assert_eq!(events, [waited(60, "1 other handshake")]);
    assert_eq!(bench.pass(40 * SECOND - NS), NOTHING);
    let events = bench.pass(NS);
    // The order of the checks does not matter.
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.contains(&waited(100, "1 other handshake")), "{events:?}");
    let secret = events.iter().find(|text| text.contains("1 other handshake with its address; "));
    assert!(secret.is_some_and(|text| !text.contains("127.0.0.1")), "{events:?}");
    // No connection was attempted, and the first one is unchanged.
    assert_eq!(bench.tcps(), 1);
    bench.opens(0);
    assert!(bench.reactor.is_open(first));

    // The connections before it are counted, including the one in the gate.
    let mut bench = Bench::new(limits());
    for wait in [100, 100, 100, 60] {
        let own = Limits { opening_wait: wait * SECOND, ..limits() };
        bench.start(patient().limits(own));
    }
    let events = bench.pass(60 * SECOND);
    assert_eq!(events, [waited(60, "3 other handshakes")]);
}

/// A wait behind a proxy is no failure to reach it.
#[test]
fn a_wait_behind_a_proxy_is_reported_as_a_wait_and_its_trace_names_the_proxy() {
    let states = States::default();
    let observer: Option<Box<dyn Observer>> = Some(Box::new(states.clone()));
    let mut bench = Bench::with(Config { limits: limits(), observer, ..Config::default() });
    let through = || patient().proxy(crate::net::Proxy::parse("10.0.0.1:3128").unwrap());
    bench.start(through());
    let to = "10.0.0.1:3128, the proxy http://10.0.0.1:3128";
    assert_eq!(states.take()[..2], [format!("connecting to {to}"), format!("connected to {to}")]);
    bench.start(through());
    assert_eq!(states.take(), [format!("waiting for its turn with {to}: 1 before it")]);
    let waited = format!(
        "failed Connect: {URL}: connect: waited 60s for 1 other handshake with 10.0.0.1:3128; \
         Limits::opening_per_peer and --opening allow more at a time"
    );
    assert_eq!(bench.pass(60 * SECOND), [waited]);
}

/// FAULTS 69.
#[test]
fn who_asks_first_is_served_first_and_who_gives_up_is_passed_over() {
    let mut bench = Bench::new(limits());
    let ids: Vec<_> = (0..6).map(|_| bench.start(patient())).collect();
    let bye = CloseFrame::new(1001, "");
    bench.opens(0);
    assert_eq!(bench.open_of(&ids), [true, false, false, false, false, false]);
    // The gate has let the second in; the third and the last are waiting, and are released.
    bench.reactor.release(ids[2], &bye);
    bench.reactor.release(ids[5], &bye);
    assert_eq!((bench.turns().len(), bench.tcps()), (0, 2));
    bench.opens(1);
    assert_eq!(bench.open_of(&ids), [true, true, false, false, false, false]);
    // The connection that was let in gives up: the gate lets the next in.
    assert_eq!(bench.tcps(), 3);
    bench.reactor.release(ids[3], &bye);
    assert_eq!((bench.turns().len(), bench.tcps()), (0, 4));
    assert!(bench.is_dropped(2));
    // A new connection is behind all the others.
    let late = bench.start(patient());
    assert_eq!(bench.tcps(), 4);
    bench.opens(3);
    assert_eq!(bench.open_of(&ids), [true, true, false, false, true, false]);
    assert_eq!(bench.tcps(), 5);
    bench.opens(4);
    assert!(bench.reactor.is_open(late));
    assert_eq!(bench.tcps(), 5);
    // Another address has its own queue, and streams do not queue.
    bench.start(patient());
    assert_eq!(bench.tcps(), 6);
    bench.start(Options::new("ws://127.0.0.2/").unwrap());
    bench.start(get());
    assert_eq!(bench.tcps(), 8);
}

/// `Limits::opening_per_peer`.
#[test]
fn so_many_are_let_in_as_the_limit_says() {
    for opening_per_peer in [0, 1, 3] {
        let mut bench = Bench::new(Limits { opening_per_peer, ..limits() });
        let inside = opening_per_peer.max(1);
        let ids: Vec<_> = (0..6).map(|_| bench.start(patient())).collect();
        for (n, id) in ids.into_iter().enumerate() {
            assert_eq!(bench.tcps(), 6.min(inside + n));
            bench.opens(n);
            assert!(bench.reactor.is_open(id));
        }
    }
    // A failure makes room, too.
    let mut bench = Bench::new(Limits { opening_per_peer: 3, ..limits() });
    for _ in 0..4 {
        bench.start(patient());
    }
    assert_eq!(bench.tcps(), 3);
    bench.gives(1, b"HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\n");
    assert_eq!((bench.turns().len(), bench.tcps()), (0, 4), "and what it says is still read");
    bench.gives(1, b"why");
    assert_eq!((bench.turns().len(), bench.tcps()), (1, 4));
}
