//! Connections between two requests, on a clock that the test moves.

use super::*;

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const SECOND: Duration = Duration::from_secs(1);

fn kept() -> StreamOptions {
    get().keep_alive(true)
}

fn to(url: &str) -> StreamOptions {
    StreamOptions::get(url).unwrap().keep_alive(true)
}

impl Bench {
    /// How many connections were made.
    fn made(&self) -> usize {
        self.world.lock().tcps.len()
    }

    /// Which of them are not closed.
    fn standing(&self) -> Vec<usize> {
        let tcps = &self.world.lock().tcps;
        (0..tcps.len()).filter(|&tcp| !tcps[tcp].dropped).collect()
    }

    /// Sends a request and answers it on its connection; returns that connection.
    fn answered(&mut self, ask: impl Into<Ask>, answer: &[u8]) -> usize {
        self.start(ask);
        let asked = |tcp: &Tcp| !tcp.dropped && !tcp.output.is_empty();
        let tcp = self.world.lock().tcps.iter().position(asked).expect("a request");
        self.wrote(tcp);
        self.gives(tcp, answer);
        let events = self.turns();
        assert_eq!(events.last().map(String::as_str), Some("complete"), "{events:?}");
        tcp
    }

    fn is_idle(&self) -> bool {
        let (reactor, listened) = (&self.reactor, self.reactor.listened());
        reactor.is_empty() && reactor.pending() == 0 && listened == 0
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// `Limits::kept_idle`, and the time that the server allows, to the nanosecond.
#[test]
fn a_connection_waits_so_long_and_no_longer() {
    let answer =
        |n: u64| format!("HTTP/1.1 200 OK\r\nKeep-Alive: timeout={n}\r\nContent-Length: 0\r\n\r\n");
    for (kept_idle, answer, want) in [
        (4 * SECOND, FINE.to_vec(), 4 * SECOND),
        (4 * SECOND, answer(9).into(), 4 * SECOND),
        (4 * SECOND, answer(3).into(), 2 * SECOND),
        (4 * SECOND, answer(2).into(), SECOND),
        (30 * SECOND, answer(5).into(), 4 * SECOND),
        (NS, FINE.to_vec(), NS),
    ] {
        let mut bench = Bench::new(limits(|l| l.kept_idle = kept_idle));
        let tcp = bench.answered(kept(), &answer);
        assert!(bench.is_idle() && !bench.is_dropped(tcp));
        let now = bench.world.lock().now;
        assert_eq!(bench.reactor.deadline(), Some(now + want));
        if want > NS {
            bench.pass(want - NS);
            assert!(!bench.is_dropped(tcp), "{want:?}");
        }
        bench.pass(NS);
        assert!(bench.is_dropped(tcp), "{want:?}");
        assert_eq!((bench.reactor.deadline(), bench.is_idle()), (None, true));
    }
    // One second from the server, or a limit of zero, keeps no connection.
    for (kept_idle, answer) in [(4 * SECOND, answer(1)), (4 * SECOND, answer(0))] {
        let mut bench = Bench::new(limits(|l| l.kept_idle = kept_idle));
        let tcp = bench.answered(kept(), answer.as_bytes());
        assert!(bench.is_dropped(tcp) && bench.reactor.deadline().is_none());
    }
}

/// A connection whose time has passed is not used, even if no turn has closed it yet.
#[test]
fn one_that_is_over_carries_nothing() {
    let mut bench = Bench::new(Limits::default());
    bench.answered(kept(), FINE);
    bench.world.lock().now += Limits::default().kept_idle;
    assert_eq!(bench.answered(kept(), FINE), 1);
    assert!(bench.is_dropped(0));
    // Each use restarts the time.
    for _ in 0..5 {
        bench.pass(Limits::default().kept_idle - NS);
        assert_eq!(bench.answered(kept(), FINE), 1);
    }
    assert_eq!(bench.made(), 2);
}

/// `Limits::kept` and `Limits::kept_per_peer`, at the bound and one beyond; the oldest is closed.
#[test]
fn so_many_are_kept_in_all_and_with_one_peer() {
    let together = |bench: &mut Bench, urls: &[&str]| {
        let first = bench.made();
        for url in urls {
            bench.start(to(url));
        }
        assert_eq!(bench.made(), first + urls.len());
        for tcp in first..bench.made() {
            bench.wrote(tcp);
            bench.gives(tcp, FINE);
            bench.turns();
        }
        bench.standing()
    };
    let (a, b) = ("http://127.0.0.1/", "http://127.0.0.2/");
    let mut bench = Bench::new(limits(|l| l.kept_per_peer = 2));
    assert_eq!(together(&mut bench, &[a, a, b, a]), [1, 2, 3]);
    let mut bench = Bench::new(limits(|l| (l.kept_per_peer, l.kept) = (2, 3)));
    assert_eq!(together(&mut bench, &[a, a, b]), [0, 1, 2]);
    let mut bench = Bench::new(limits(|l| (l.kept_per_peer, l.kept) = (2, 3)));
    assert_eq!(together(&mut bench, &[a, a, b, b]), [1, 2, 3]);
    let many: Vec<String> = (0..40).map(|i| format!("http://127.0.1.{i}/")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut bench = Bench::new(Limits::default());
    assert_eq!(together(&mut bench, &many), (8..40).collect::<Vec<_>>());
    // With 0, no connection is kept, and the request asks for `close`.
    for (kept_in_all, per_peer, idle) in [(0, 6, SECOND), (32, 0, SECOND), (32, 6, Duration::ZERO)]
    {
        let mut bench = Bench::new(limits(|l| {
            (l.kept, l.kept_per_peer, l.kept_idle) = (kept_in_all, per_peer, idle);
        }));
        bench.start(kept());
        let head = String::from_utf8(bench.wrote(0)).unwrap();
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        bench.gives(0, FINE);
        bench.turns();
        assert!(bench.is_dropped(0));
    }
}

/// `Limits::connections` also counts kept connections, which make room for new ones.
#[test]
fn those_that_wait_give_way_to_what_is_opened() {
    let mut bench = Bench::new(limits(|l| l.connections = 2));
    let (a, b) = ("http://127.0.0.1/", "http://127.0.0.2/");
    bench.answered(to(a), FINE);
    bench.answered(to(b), FINE);
    assert_eq!(bench.standing(), [0, 1]);
    // The same connection is used, and closes no other.
    assert_eq!(bench.answered(to(a), FINE), 0);
    assert_eq!(bench.standing(), [0, 1]);
    // A new connection needs room: `b` is the oldest kept one.
    bench.start(ws());
    assert_eq!(bench.standing(), [0, 2]);
    bench.start(ws());
    assert_eq!((bench.standing(), bench.reactor.len()), (vec![2], 2));
    assert!(bench.reactor.open(ws()).is_err());
}

/// A process without a free descriptor closes kept connections.
#[test]
fn those_that_wait_give_their_descriptors() {
    let mut bench = Bench::new(Limits::default());
    bench.world.lock().sockets = 3;
    for url in ["http://127.0.0.1/", "http://127.0.0.2/", "http://127.0.0.3/"] {
        bench.answered(to(url), FINE);
    }
    assert_eq!(bench.standing(), [0, 1, 2]);
    bench.start(ws());
    assert_eq!(bench.standing(), [1, 2, 3]);
    for _ in 0..2 {
        bench.start(get());
    }
    assert_eq!(bench.standing(), [3, 4, 5]);
    bench.reactor.open(get()).unwrap();
    let events = bench.turns();
    assert!(events[0].starts_with("failed Connect"), "{events:?}");
}

/// Each request is recorded with its response, whichever connection carried it, and can be
/// replayed.
#[cfg(feature = "tape")]
#[test]
fn a_tape_has_a_session_for_each_request() {
    use std::io::Write;

    use crate::tape::{Tape, run_all};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);
    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let memory = Memory::default();
    let tape = Some(Tape::new(memory.clone()).payloads(true));
    let mut bench = Bench::with(Config { tape, ..Config::default() });
    for _ in 0..2 {
        assert_eq!(bench.answered(kept(), FINE), 0);
    }
    // A request that is sent again makes two records.
    bench.start(kept());
    bench.world.lock().tcps[0].ended = true;
    bench.turns();
    bench.gives(1, FINE);
    assert_eq!(bench.turns(), ["response 200", "chunk 2", "complete"]);
    drop(bench);
    let text = String::from_utf8(std::mem::take(&mut *memory.0.lock().unwrap())).unwrap();
    assert_eq!(text.matches("\nstream tape ").count(), 4, "{text}");
    let outcome = run_all(&text, 3).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(outcome.gaps.is_empty() && outcome.events > 6, "{outcome:?}");
}

/// FAULTS 41: bytes that come between two requests close the connection, and are not the response
/// to the next one.
#[test]
fn bytes_that_nobody_asked_for_are_no_answer() {
    // A turn reads the bytes.
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), FINE);
    bench.gives(tcp, FINE);
    assert_eq!(bench.turns(), NOTHING);
    assert!(bench.is_dropped(tcp));
    assert_eq!(bench.answered(kept(), FINE), 1);
    // The bytes have come when the next request would use the connection.
    for unasked in [&b"\0"[..], b"\r\n", FINE] {
        let mut bench = Bench::new(Limits::default());
        let tcp = bench.answered(kept(), FINE);
        let id = bench.reactor.open(kept()).unwrap();
        bench.gives(tcp, unasked);
        assert_eq!((bench.turns(), bench.made()), (vec![], 2));
        assert!(bench.is_dropped(tcp));
        bench.gives(1, FINE);
        let events = bench.turns();
        assert_eq!(events, ["response 200", "chunk 2", "complete"]);
        assert!(!bench.reactor.is_open(id));
    }
    // The bytes come before a byte of the next request was sent.
    for method in ["GET", "POST"] {
        let mut bench = Bench::new(Limits::default());
        let tcp = bench.answered(kept(), FINE);
        bench.world.lock().tcps[tcp].room = 0;
        bench.start(StreamOptions::new(method, HTTP_URL).unwrap().keep_alive(true));
        bench.gives(tcp, FINE);
        let (events, again) = (bench.turns(), method == "GET");
        assert_eq!((bench.is_dropped(tcp), bench.made()), (true, 1 + usize::from(again)));
        assert_eq!(events.iter().any(|t| t.starts_with("failed Response")), !again, "{events:?}");
        assert_eq!(events.len(), usize::from(!again), "{events:?}");
    }
    // The bytes came right behind the response.
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), &[FINE, FINE].concat());
    assert!(bench.is_dropped(tcp) && bench.reactor.deadline().is_none());
}

/// The server ends the connection while it is kept, and while a request is on its way.
#[test]
fn a_server_may_end_it() {
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), FINE);
    bench.world.lock().tcps[tcp].ended = true;
    assert_eq!(bench.turns(), NOTHING);
    assert!(bench.is_dropped(tcp) && bench.is_idle());

    let lost = "; the connection was kept from an earlier request";
    for broken in [false, true] {
        for (method, again) in [("GET", true), ("DELETE", true), ("POST", false), ("PATCH", false)]
        {
            let mut bench = Bench::new(Limits::default());
            let ask = || StreamOptions::new(method, HTTP_URL).unwrap().keep_alive(true);
            let tcp = bench.answered(ask(), FINE);
            bench.world.lock().tcps[tcp].broken = broken;
            bench.reactor.open(ask()).unwrap();
            if !broken {
                bench.turns();
            }
            if !broken {
                assert_eq!(bench.made(), 1);
                bench.world.lock().tcps[tcp].ended = true;
            }
            let events = bench.turns();
            assert!(bench.is_dropped(tcp));
            if !again {
                assert!(
                    events[0].starts_with("failed Response") && events[0].contains(lost),
                    "{events:?}"
                );
                assert_eq!((events.len(), bench.made()), (1, 1));
                continue;
            }
            // The request is sent once more over a new connection, whose error counts.
            assert_eq!((events, bench.made()), (vec![], 2));
            let head = String::from_utf8(bench.wrote(1)).unwrap();
            assert!(head.starts_with(method) && head.contains("Connection: keep-alive"), "{head}");
            bench.world.lock().tcps[1].ended = true;
            let events = bench.turns();
            assert!(
                events[0].starts_with("failed Response") && !events[0].contains(lost),
                "{events:?}"
            );
            assert_eq!((events.len(), bench.made()), (1, 2));
        }
    }
    // A byte of a response has come: nobody knows whether the server has acted.
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), FINE);
    bench.start(kept());
    bench.gives(tcp, b"H");
    bench.world.lock().tcps[tcp].ended = true;
    let events = bench.turns();
    assert!(events[0].starts_with("failed Response"), "{events:?}");
    assert_eq!(bench.made(), 1);
}

/// RFC 9110 §15.5.9: a server reports that no request came, while a request was on its way.
#[test]
fn a_timeout_of_a_server_is_no_answer_to_what_may_go_again() {
    let late = b"HTTP/1.1 408 Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for (method, again) in [("GET", true), ("PUT", true), ("POST", false)] {
        let mut bench = Bench::new(Limits::default());
        let ask = || StreamOptions::new(method, HTTP_URL).unwrap().keep_alive(true);
        let tcp = bench.answered(ask(), FINE);
        bench.start(ask());
        bench.gives(tcp, late);
        let events = bench.turns();
        assert!(bench.is_dropped(tcp));
        if !again {
            assert_eq!((events, bench.made()), (vec!["response 408".into(), "complete".into()], 1));
            continue;
        }
        assert_eq!((events, bench.made()), (vec![], 2));
        // On a new connection, a 408 is the response.
        bench.wrote(1);
        bench.gives(1, late);
        assert_eq!(bench.turns(), ["response 408", "complete"]);
        // And so is any other status on a kept connection.
        let tcp = bench.answered(ask(), FINE);
        bench.start(ask());
        bench.gives(tcp, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(bench.turns(), ["response 503", "complete"]);
    }
}

/// After one kept connection has ended, no other kept one is tried.
#[test]
fn a_request_that_goes_again_goes_over_a_new_connection() {
    let mut bench = Bench::new(Limits::default());
    for tcp in 0..2 {
        bench.start(kept());
        bench.wrote(tcp);
    }
    (0..2).for_each(|tcp| bench.gives(tcp, FINE));
    bench.turns();
    bench.start(kept());
    let used = (0..2).find(|&tcp| !bench.wrote(tcp).is_empty()).unwrap();
    bench.world.lock().tcps[used].ended = true;
    bench.turns();
    assert_eq!(bench.made(), 3);
    bench.gives(2, FINE);
    assert_eq!(bench.turns(), ["response 200", "chunk 2", "complete"]);
}

/// The time limit covers the request, however often it is sent.
#[test]
fn a_request_that_goes_again_has_its_own_time_limit() {
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), FINE);
    bench.start(kept().timeout(SECOND));
    bench.pass(900 * MS);
    bench.world.lock().tcps[tcp].ended = true;
    assert_eq!((bench.turns(), bench.made()), (vec![], 2));
    assert_eq!(bench.pass(100 * MS - NS), NOTHING);
    assert_eq!(bench.pass(NS), ["failed Response: 1s are over"]);
}

/// A server that is silent has the request, and may act on it.
#[test]
fn a_request_whose_time_is_over_does_not_go_again() {
    let mut bench = Bench::new(limits(|limits| limits.response = SECOND));
    bench.answered(kept(), FINE);
    bench.start(kept());
    assert_eq!(bench.pass(SECOND), ["failed Response: 1s are over"]);
    assert_eq!(bench.made(), 1);
}

/// The properties that two requests have to share.
#[test]
fn no_two_share_a_connection_that_differ_in_where_they_go_or_who_asks() {
    use crate::net::{Proxy, SocketOptions};

    let usual = || to("http://127.0.0.1/a");
    let with = |name: &str, value: &str| usual().header(name, value).unwrap();
    let proxy = |text: &str| usual().proxy(Proxy::parse(text).unwrap());
    let with_header =
        |name: &str| Proxy::parse("10.0.0.1:3128").unwrap().header(name, "1").unwrap();
    let socket = |bytes| usual().socket(SocketOptions::new().send_buffer(bytes));
    // Each request after the same one, and after each of the others.
    let kinds: Vec<(&str, StreamOptions)> = vec![
        ("usual", usual()),
        ("port", to("http://127.0.0.1:81/a")),
        ("host", to("http://127.0.0.2/a")),
        ("Authorization", with("Authorization", "Bearer abc")),
        ("another", with("Authorization", "Bearer abd")),
        ("Cookie", with("Cookie", "id=1")),
        ("secret", usual().secret_header("X-Who", "me").unwrap()),
        ("proxy", proxy("10.0.0.1:3128")),
        ("its port", proxy("10.0.0.1:3129")),
        ("its host", proxy("10.0.0.2:3128")),
        ("its user", proxy("me:pass@10.0.0.1:3128")),
        ("its password", proxy("me:word@10.0.0.1:3128")),
        ("its fields", usual().proxy(with_header("X-A"))),
        ("its other fields", usual().proxy(with_header("X-B"))),
        ("behind it", to("http://127.0.0.3/").proxy(Proxy::parse("10.0.0.1:3128").unwrap())),
        ("socket", socket(10_000)),
        ("another socket", socket(20_000)),
        ("probes", usual().idle(Some(SECOND))),
    ];
    for (name, first) in &kinds {
        for (other, second) in &kinds {
            let mut bench = Bench::new(Limits::default());
            assert_eq!(bench.answered(first.clone(), FINE), 0);
            let same = bench.answered(second.clone(), FINE) == 0;
            assert_eq!(same, name == other, "{name}, {other}");
        }
    }
    // Options that change none of these properties.
    for second in [
        to("http://127.0.0.1:80/b?c"),
        with("X-Other", "1"),
        with("Accept", "text/plain"),
        usual().timeout(SECOND),
        StreamOptions::new("POST", HTTP_URL).unwrap().body("x").unwrap().keep_alive(true),
    ] {
        let mut bench = Bench::new(Limits::default());
        assert_eq!(bench.answered(usual(), FINE), 0);
        assert_eq!(bench.answered(second, FINE), 0);
    }
    // A request without `keep_alive` neither uses a kept connection nor leaves one.
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.answered(get(), FINE), 0);
    assert!(bench.is_dropped(0));
    assert_eq!(bench.answered(kept(), FINE), 1);
    assert_eq!(bench.answered(get(), FINE), 2);
    assert_eq!(bench.standing(), [1]);
}

/// The policy of one request denies an address that another's allows.
#[test]
fn a_forbidden_address_is_not_reached_by_a_connection_that_is_there() {
    use crate::net::{Override, Proxy};

    let no = |ip: &'static str| {
        let ip: IpAddr = ip.parse().unwrap();
        Policy::open().and(move |to| match to.address == Some(ip) {
            true => Err("not there".to_owned()),
            false => Ok(()),
        })
    };
    let ask = || to("http://a.example/");
    let mut direct = Bench::new(Limits::default());
    let resolved = |bench: &mut Bench, to: &str| {
        let id = bench.world.lock().asked.pop().expect("a question").0;
        let to = SocketAddr::new(to.parse().unwrap(), 80);
        bench.world.lock().answers.push_back((id, Ok(vec![to])));
        assert_eq!(bench.turns(), NOTHING);
    };
    direct.start(ask());
    resolved(&mut direct, "10.0.0.1");
    direct.gives(0, FINE);
    direct.turns();
    // Meanwhile the name has another address, which is allowed.
    direct.wrote(0);
    direct.start(ask().policy(no("10.0.0.1")));
    assert_eq!(direct.wrote(0), b"");
    resolved(&mut direct, "10.0.0.2");
    assert_eq!(direct.world.lock().tcps[1].to.ip().to_string(), "10.0.0.2");
    // Other requests still use the first connection.
    assert_eq!((direct.answered(ask().policy(no("10.0.0.2")), FINE), direct.made()), (0, 2));

    // Behind a proxy: the proxy's address, and the URL's if the client has resolved it.
    let by = |text: &str| ask().proxy(Proxy::parse(text).unwrap());
    let mut proxied = Bench::new(Limits::default());
    proxied.answered(by("10.0.0.1:3128"), FINE);
    proxied.reactor.open(by("10.0.0.1:3128").policy(no("10.0.0.1"))).unwrap();
    let events = proxied.turns();
    assert!(events[0].contains("the proxy: not there") && proxied.made() == 1, "{events:?}");

    let socks = |bench: &mut Bench, tcp: usize| {
        assert_eq!(bench.wrote(tcp), [5, 1, 0]);
        bench.gives(tcp, &[5, 0]);
        bench.turns();
        assert_eq!(bench.wrote(tcp)[..8], [5, 1, 0, 1, 127, 0, 0, 1]);
        bench.gives(tcp, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bench.turns();
    };
    let resolve: Vec<Override> = vec!["a.example:80:127.0.0.1".parse().unwrap()];
    let mut proxied = Bench::with(Config { resolve, ..Config::default() });
    proxied.start(by("socks5://10.0.0.1"));
    socks(&mut proxied, 0);
    proxied.wrote(0);
    proxied.gives(0, FINE);
    proxied.turns();
    for ip in ["127.0.0.1", "10.0.0.1"] {
        proxied.reactor.open(by("socks5://10.0.0.1").policy(no(ip))).unwrap();
        let events = proxied.turns();
        assert!(events[0].contains("not there") && proxied.made() == 1, "{events:?}");
    }
    assert_eq!((proxied.answered(by("socks5://10.0.0.1"), FINE), proxied.made()), (0, 1));
}

/// While a connection is kept, no turn has work, and the system is not called.
#[test]
fn a_connection_that_waits_costs_no_turns() {
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), FINE);
    bench.reads(tcp);
    for _ in 0..100 {
        bench.turn();
    }
    assert_eq!(bench.reads(tcp), Vec::<usize>::new());
    assert!(!bench.reactor.has_work());
}

/// Ending all connections also ends the kept ones.
#[test]
fn nothing_that_ends_all_leaves_one() {
    let frame = CloseFrame::new(1001, "");
    type End = fn(&mut Reactor<Toy>, &CloseFrame);
    let ends: [(&str, End); 3] = [
        ("release_all", |reactor, frame| reactor.release_all(frame)),
        ("close_all", |reactor, frame| reactor.close_all(frame)),
        ("abandon_all", |reactor, _| reactor.abandon_all()),
    ];
    for (name, end) in ends {
        let mut bench = Bench::new(Limits::default());
        let tcp = bench.answered(kept(), FINE);
        end(&mut bench.reactor, &frame);
        assert!(bench.is_dropped(tcp), "{name}");
    }
    let mut bench = Bench::new(Limits::default());
    let tcp = bench.answered(kept(), FINE);
    let Bench { world, reactor, .. } = bench;
    drop(reactor);
    assert!(world.lock().tcps[tcp].dropped);
}

/// A connection whose exchange did not end regularly is not kept.
#[test]
fn what_is_given_up_is_closed() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.start(kept());
    bench.gives(0, &FINE[..FINE.len() - 1]);
    bench.turns();
    bench.reactor.release(id, &CloseFrame::new(1001, ""));
    bench.turns();
    assert!(bench.is_dropped(0));
    // A redirect.
    bench.start(kept());
    bench.gives(1, b"HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    bench.turns();
    assert_eq!((bench.is_dropped(1), bench.made()), (true, 3));
    // The kernel takes no more bytes of the request.
    bench.gives(2, FINE);
    bench.turns();
    assert_eq!(bench.standing(), [2]);
    bench.world.lock().tcps[2].room = 10;
    bench.start(kept());
    bench.gives(2, FINE);
    assert_eq!(bench.turns(), ["response 200", "chunk 2", "complete"]);
    assert_eq!(bench.standing(), Vec::<usize>::new());
}

/// A paused connection is kept once the program has read the response.
#[test]
fn a_pause_keeps_the_answer_and_then_the_connection() {
    let mut bench = Bench::new(Limits::default());
    let id = bench.start(kept());
    bench.gives(0, &FINE[..FINE.len() - 1]);
    assert_eq!(bench.turns(), ["response 200", "chunk 1"]);
    bench.reactor.pause(id);
    bench.turns();
    bench.gives(0, b"i");
    assert_eq!(bench.turns(), NOTHING);
    bench.reactor.resume(id);
    assert_eq!(bench.turns(), ["chunk 1", "complete"]);
    assert_eq!(bench.answered(kept(), FINE), 0);
}

/// A deadline reads a paused connection, whose socket is not watched then: a connection that is kept
/// has to be watched, or its end would not be noticed.
#[test]
fn a_connection_that_is_kept_is_heard_or_closed() {
    for is_deaf in [false, true] {
        let mut bench = Bench::new(Limits::default());
        let id = bench.start(kept().timeout(SECOND));
        bench.reactor.pause(id);
        assert_eq!(bench.turns(), NOTHING);
        assert!(!bench.world.lock().tcps[0].watched.unwrap().1.read);
        bench.gives(0, FINE);
        bench.world.lock().is_deaf = is_deaf;
        assert_eq!(bench.pass(SECOND), ["response 200", "chunk 2", "complete"]);
        assert_eq!(bench.is_dropped(0), is_deaf);
        if !is_deaf {
            let interest = bench.world.lock().tcps[0].watched.unwrap().1;
            assert!(interest.read && !interest.write);
            bench.world.lock().tcps[0].ended = true;
            bench.turns();
            assert!(bench.is_dropped(0), "its end is noticed");
        }
    }
}

/// The observer or the policy panics at its n-th call: each request ends once, and no connection is
/// left.
#[test]
fn a_panic_at_any_call_leaves_nothing_behind() {
    #[derive(Clone, Default)]
    struct Fuse(Arc<Mutex<(usize, usize)>>);
    impl Fuse {
        /// Counts the calls, and panics at the chosen one.
        fn burn(&self) {
            let (at, now) = {
                let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                counts.1 += 1;
                *counts
            };
            if at == now {
                resume_unwind(Box::new("as planned"));
            }
        }
    }
    impl Observer for Fuse {
        fn observe(&mut self, _: Instant, _: u64, _: Trace<'_>) {
            self.burn();
        }
    }
    let mut calls = 0;
    for at in 1.. {
        let fuse = Fuse(Arc::new(Mutex::new((at, 0))));
        let observer: Option<Box<dyn Observer>> = Some(Box::new(fuse.clone()));
        let of_policy = fuse.clone();
        let policy = Policy::open().and(move |_| {
            of_policy.burn();
            Ok(())
        });
        let mut bench = Bench::with(Config { observer, policy, ..Config::default() });
        let mut closed = 0;
        for round in 0..4 {
            bench.reactor.open(kept()).unwrap();
            for turn in 0..12 {
                let _ = catch_unwind(AssertUnwindSafe(|| bench.turn()));
                for tcp in 0..bench.made() {
                    if bench.wrote(tcp).is_empty() {
                        continue;
                    }
                    // In the third round the first connection ends without a response.
                    let mut world = bench.world.lock();
                    match round == 2 && turn < 4 {
                        true => world.tcps[tcp].ended = true,
                        false => world.tcps[tcp].input.extend(FINE),
                    }
                }
            }
            let is_end =
                |t: &&String| ["complete", "failed", "lost"].iter().any(|e| t.starts_with(e));
            closed += std::mem::take(&mut bench.events).iter().filter(is_end).count();
            assert_eq!((closed, bench.reactor.len()), (round + 1, 0), "call {at}");
        }
        let _ = catch_unwind(AssertUnwindSafe(|| bench.pass(Limits::default().kept_idle)));
        bench.turns();
        assert_eq!((bench.standing(), bench.reactor.deadline()), (vec![], None), "call {at}");
        let burnt = fuse.0.lock().unwrap_or_else(PoisonError::into_inner).1;
        if burnt < at {
            break;
        }
        calls += 1;
    }
    assert!(calls > 30, "{calls} calls");
}

/// The observer gets each change.
#[test]
fn observers_see_that_a_connection_is_kept() {
    let states = States::default();
    let observer: Option<Box<dyn Observer>> = Some(Box::new(states.clone()));
    let mut bench = Bench::with(Config { observer, ..Config::default() });
    bench.answered(kept(), FINE);
    let first = states.take();
    assert!(first.contains(&"the connection is kept for later".to_owned()), "{first:?}");
    bench.answered(kept(), FINE);
    let second = states.take();
    assert_eq!(second[0], "over a kept connection to 127.0.0.1:80 (1 request before)");
    bench.start(kept());
    assert_eq!(states.take()[0], "over a kept connection to 127.0.0.1:80 (2 requests before)");
    bench.world.lock().tcps[0].ended = true;
    bench.turns();
    let again = states.take();
    assert!(again[0].starts_with("the kept connection brought no response"), "{again:?}");
}
