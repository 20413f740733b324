//! Names, addresses, proxies and waits of connections that are opened.

use super::*;
use crate::net::Proxy;

const SECOND: Duration = Duration::from_secs(1);

impl Bench {
    /// Answers the oldest question about a name that has no answer yet.
    fn resolves(&mut self, addresses: &[[u8; 4]]) {
        let mut world = self.world.lock();
        let (id, port) = world.asked.remove(0);
        let all = addresses.iter().map(|ip| SocketAddr::new(IpAddr::from(*ip), port)).collect();
        world.answers.push_back((id, Ok(all)));
    }

    /// Makes turns; returns the text of each error.
    fn errors(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for _ in 0..10 {
            let now = self.world.lock().now;
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| match event {
                Event::Closed(Closed::Failed(e) | Closed::Lost(e)) => errors.push(e.to_string()),
                other => panic!("{other:?}"),
            };
            self.reactor.turn(Some(now), &mut sink).unwrap();
        }
        errors
    }
}

fn named() -> Options {
    Options::new("ws://name.example/").unwrap()
}

#[test]
fn a_name_without_an_address_is_an_error_of_its_own() {
    let mut bench = Bench::new(Limits::default());
    bench.start(named());
    bench.resolves(&[]);
    assert_eq!(
        bench.errors(),
        ["ws://name.example/: DNS: cannot resolve the host: the name has no address"]
    );
}

/// RFC 6455 §4.1, 2: while it waits at gates its time stands still, however many of its addresses
/// come to their gates meanwhile.
#[test]
fn a_second_address_that_waits_starts_no_clock() {
    let limits = Limits { opening: SECOND, opening_wait: 60 * SECOND, ..Limits::default() };
    let mut bench = Bench::new(limits);
    for host in ["10.0.0.1", "10.0.0.2"] {
        bench.start(Options::new(&format!("ws://{host}/")).unwrap().timeout(1000 * SECOND));
    }
    bench.start(named());
    bench.resolves(&[[10, 0, 0, 1], [10, 0, 0, 2]]);
    assert_eq!(bench.turns(), NOTHING);
    for _ in 0..59 {
        assert_eq!(bench.pass(SECOND), NOTHING);
    }
    let events = bench.pass(SECOND);
    assert!(events.len() == 1 && events[0].contains("waited 60s for"), "{events:?}");
}

/// The time that an attempt has taken is over, although a wait follows it.
#[test]
fn whoever_has_tried_has_the_rest_of_its_time_behind_a_wait() {
    let limits = Limits { opening: SECOND, opening_wait: 60 * SECOND, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let to = Options::new("ws://10.0.0.2/").unwrap();
    let hung = bench.start(to.timeout(1000 * SECOND));
    bench.start(named());
    assert_eq!(bench.pass(SECOND / 2), NOTHING);
    // No descriptor is left for the first address; the second one waits at its gate.
    bench.world.lock().sockets = 1;
    bench.resolves(&[[10, 0, 0, 1], [10, 0, 0, 2]]);
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.pass(10 * SECOND), NOTHING);
    bench.world.lock().sockets = usize::MAX;
    bench.reactor.release(hung, &CloseFrame::new(1001, ""));
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.pass(SECOND / 2 - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Handshake: 1s are over"]);
}

/// Whoever is connected to one of its addresses no longer waits for the others.
#[test]
fn whoever_is_connected_is_before_nobody() {
    let limits = Limits { opening_wait: 60 * SECOND, ..Limits::default() };
    let mut bench = Bench::new(limits);
    let to = |host: &str| Options::new(&format!("ws://{host}/")).unwrap().timeout(1000 * SECOND);
    let first = bench.start(to("10.0.0.1"));
    bench.start(to("10.0.0.2"));
    bench.start(named().timeout(1000 * SECOND));
    bench.resolves(&[[10, 0, 0, 1], [10, 0, 0, 2]]);
    assert_eq!(bench.turns(), NOTHING);
    assert_eq!(bench.pass(SECOND), NOTHING);
    bench.start(to("10.0.0.2"));
    bench.reactor.release(first, &CloseFrame::new(1001, ""));
    assert_eq!(bench.turns(), NOTHING);
    bench.gives(2, bench.answer(2).as_bytes());
    assert_eq!(bench.turns(), ["opened"]);
    let events = bench.pass(60 * SECOND);
    assert!(events.len() == 1 && events[0].contains("for 1 other handshake with"), "{events:?}");
}

/// Whatever the policy has against the address of a secret URL would show a part of the URL.
#[test]
fn a_policy_says_nothing_of_a_secret_url() {
    let policy = || Policy::list(["10.0.0.0/8".parse().unwrap()]);
    for (ask, shows) in [(ws(), true), (ws().secret_url(), false)] {
        let mut bench = Bench::with(Config { policy: policy(), ..Config::default() });
        bench.reactor.open(ask).unwrap();
        let errors = bench.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].contains("127.0.0.1"), shows, "{errors:?}");
        assert_eq!(errors[0].contains("its URL is secret"), !shows, "{errors:?}");
    }
}

fn proxied() -> Options {
    ws().proxy(Proxy::parse("10.0.0.1:3128").unwrap())
}

/// An error at a proxy names it, a time limit too; an error behind it does not.
#[test]
fn a_time_limit_at_a_proxy_names_the_proxy() {
    for (answer, stage) in [("", "proxy"), ("HTTP/1.1 200 OK\r\n\r\n", "handshake")] {
        let mut bench = Bench::new(Limits { opening: SECOND, ..Limits::default() });
        bench.start(proxied());
        bench.gives(0, answer.as_bytes());
        assert_eq!(bench.turns(), NOTHING);
        bench.world.lock().now += SECOND;
        let errors = bench.errors();
        assert!(errors.len() == 1 && errors[0].contains(stage), "{errors:?}");
        assert_eq!(errors[0].contains("10.0.0.1:3128"), stage == "proxy", "{errors:?}");
    }
}

/// A proxy that has not answered yet is read once in a turn.
#[test]
fn a_proxy_that_is_silent_is_read_once() {
    let mut bench = Bench::new(Limits::default());
    bench.reactor.open(proxied()).unwrap();
    bench.turn();
    bench.turn();
    assert!(bench.wrote(0).starts_with(b"CONNECT "));
    assert_eq!(bench.reads(0).len(), 1);
}

/// FAULTS 86: what completes the answer opens the tunnel, however many reads it takes. Nothing
/// follows it, so nothing would make the socket readable again.
#[test]
fn an_answer_of_a_proxy_counts_after_any_number_of_reads() {
    for proxy in ["http://10.0.0.1:3128", "socks5h://10.0.0.1:3128", "socks5h://u:p@10.0.0.1:3128"]
    {
        for more in 0..40 {
            let name = "a".repeat(more);
            let answer = match proxy {
                "http://10.0.0.1:3128" => format!("HTTP/1.1 200 {name}\r\n\r\n"),
                "socks5h://10.0.0.1:3128" => {
                    format!("\x05\0\x05\0\0\x03{}{name}\0\x50", more as u8 as char)
                }
                _ => format!("\x05\x02\x01\0\x05\0\0\x03{}{name}\0\x50", more as u8 as char),
            };
            let mut bench = Bench::new(Limits::default());
            bench.start(ws().proxy(Proxy::parse(proxy).unwrap()));
            bench.world.lock().tcps[0].most = 1;
            bench.wrote(0);
            bench.gives(0, answer.as_bytes());
            assert_eq!(bench.turns(), NOTHING, "{proxy}: {more}");
            let request = String::from_utf8_lossy(&bench.wrote(0)).into_owned();
            assert!(request.ends_with("\r\n\r\n"), "{proxy}: {more}: {request:?}");
        }
    }
}
