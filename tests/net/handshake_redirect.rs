//! Redirects of an opening handshake that the program asked to follow: which server gets which
//! request.

use std::io::ErrorKind as Io;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use moonwire::proto::http::HttpError;
use moonwire::proto::{CloseFrame, HandshakeError};
use moonwire::trace::{Observer, Trace};
use moonwire::{
    Closed, Config, Conn, Error, ErrorKind, Event, Limits, Options, Override, Policy, Reactor,
    Stage,
};

use crate::common::*;
use crate::web::{found, http};

/// Sends each answer to another client. If `open`, opens a WebSocket with the next one. Returns the
/// requests.
fn hop_each_and_open(l: &TcpListener, answers: &[String], open: bool) -> Vec<String> {
    let mut requests = Vec::new();
    for answer in answers {
        let mut peer = Peer::plain(l.accept().unwrap().0);
        requests.push(peer.request().to_owned());
        peer.write(answer.as_bytes());
        peer.rest();
    }
    if open {
        let mut peer = Peer::plain(l.accept().unwrap().0);
        peer.accept(&close(1000, ""));
        requests.push(peer.head.clone());
        peer.close_frame();
    }
    requests
}

fn why(reported: &[OwnedEvent]) -> (&HttpError, &Error) {
    let [OwnedEvent::Closed(Closed::Failed(error))] = reported else { panic!("{reported:?}") };
    match error.kind() {
        ErrorKind::Handshake(HandshakeError::Redirect { why, response }) => {
            assert_eq!(error.stage(), Stage::Handshake);
            assert_eq!(error.status(), Some(response.status));
            (why, error)
        }
        _ => panic!("{error}"),
    }
}

fn follow(url: &str, max: u32) -> Options {
    options(url).follow_redirects(max)
}

/// The changes of state that an observer receives.
struct States(Sender<String>);

impl Observer for States {
    fn observe(&mut self, _: Instant, _: u64, what: Trace<'_>) {
        if let Trace::State(text) = what {
            let _ = self.0.send(text.to_owned());
        }
    }
}

pub(super) fn watched(config: Config) -> (Config, Receiver<String>) {
    let (sender, states) = channel();
    (Config { observer: Some(Box::new(States(sender))), ..config }, states)
}

#[test]
fn each_status_leads_to_where_it_says() {
    for status in [301, 302, 303, 307, 308] {
        let server = listen(move |l| {
            let url = format!("http://{}/there?q#f", l.local_addr().unwrap());
            let hops = [found(status, &url), found(status, "../again?r")];
            hop_each_and_open(&l, &hops, true)
        });
        let (config, states) = watched(Config::default());
        let mut reactor = Reactor::new(config).unwrap();
        reactor.open(follow(&server.url(), 2)).unwrap();
        let mut answered = None;
        let reported = run(&mut reactor, |_, event| {
            if let Event::Opened(opened) = event {
                answered = Some(opened.url.as_str().to_owned());
            }
        });
        assert!(
            matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))),
            "{reported:?}"
        );
        let again = format!("ws://{}/again?r", server.address);
        assert_eq!(answered.as_deref(), Some(&*again), "{status}");
        let there = format!("redirected: {status} to ws://{}/there?***", server.address);
        let hops: Vec<String> = states.try_iter().filter(|s| s.starts_with("redirected")).collect();
        assert_eq!(
            hops,
            [there, format!("redirected: {status} to {}", again.replace("?r", "?***"))]
        );
        let requests = server.join();
        for (request, target) in requests.iter().zip(["/", "/there?q", "/again?r"]) {
            assert!(request.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{request}");
            assert_eq!(field(request, "Upgrade"), Some("websocket"), "{request}");
        }
        let keys: Vec<_> = requests.iter().map(|r| field(r, "Sec-WebSocket-Key")).collect();
        assert!(keys[0] != keys[1] && keys[1] != keys[2], "each handshake has another key");
    }
}

#[test]
fn credentials_of_a_handshake_reach_nobody_else_and_do_not_come_back() {
    // FAULTS 44: a → a → b → a. One server has two names.
    let server = listen(|l| {
        let port = l.local_addr().unwrap().port();
        let hop = |name: &str| found(307, &format!("ws://{name}.example:{port}/"));
        hop_each_and_open(&l, &[found(302, "/again"), hop("b"), hop("a")], true)
    });
    let resolve = ["a.example", "b.example"].map(|host| Override {
        host: host.into(),
        port: server.address.port(),
        to: server.address,
    });
    let url = format!("ws://a.example:{}/", server.address.port());
    let options = follow(&url, 3)
        .header("Authorization", "Bearer hidden1")
        .and_then(|o| o.header("cookie", "id=hidden2"))
        .and_then(|o| o.secret_header("X-Own", "hidden3"))
        .and_then(|o| o.header("X-Fine", "shown"))
        .and_then(|o| o.protocol("chat"))
        .and_then(|o| o.secret_protocol("token.hidden4"))
        .unwrap();
    let (config, states) = watched(Config { resolve: resolve.into(), ..Config::default() });
    let reported = events(options, config);
    assert!(matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))), "{reported:?}");
    let requests = server.join();
    assert_eq!(requests.len(), 4);
    for (i, (request, host)) in requests.iter().zip(["a", "a", "b", "a"]).enumerate() {
        assert!(request.contains(&format!("\r\nHost: {host}.example:")), "{request}");
        assert_eq!(request.matches("hidden").count(), if i < 2 { 4 } else { 0 }, "{request}");
        assert!(request.contains("X-Fine: shown"));
        let offered = if i < 2 { "chat, token.hidden4" } else { "chat" };
        assert_eq!(field(request, "Sec-WebSocket-Protocol"), Some(offered));
    }
    assert!(states.try_iter().all(|text| !text.contains("hidden")));
}

#[test]
fn from_wss_to_ws_is_refused_and_the_other_way_followed() {
    // FAULTS 44.
    let plain = TcpListener::bind(loopback()).unwrap();
    plain.set_nonblocking(true).unwrap();
    for scheme in ["ws", "http"] {
        let location = format!("{scheme}://{}/", plain.local_addr().unwrap());
        let server = serve_tls("good", move |mut p| {
            p.request();
            p.write(found(301, &location).as_bytes());
            p.rest();
        });
        let reported = events(follow(&server.url(), 5), trusting());
        let (why, error) = why(&reported);
        assert_eq!(why, &HttpError::Downgrade);
        let text = error.to_string();
        assert!(
            text.ends_with("301 Moved, which is not followed: it leads from wss to ws"),
            "{text}"
        );
        assert_eq!(plain.accept().unwrap_err().kind(), Io::WouldBlock, "no client connects there");
        server.join();
    }
    let secure = serve_tls("good", |mut p| {
        p.accept(&close(1000, ""));
        p.close_frame();
    });
    let location = http(&secure.url());
    let first = listen(move |l| hop_each_and_open(&l, &[found(302, &location)], false));
    let reported = events(follow(&first.url(), 1), trusting());
    assert!(matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))), "{reported:?}");
    first.join();
    secure.join();

    // The certificate of the target is verified, too (FAULTS 49).
    let secure = serve_tls("other", |mut p| p.begins());
    let (location, there) = (secure.url(), secure.url());
    let first = listen(move |l| hop_each_and_open(&l, &[found(302, &location)], false));
    let reported = events(follow(&first.url(), 1), trusting());
    let (error, _) = failure(&reported);
    assert!(matches!(error.kind(), ErrorKind::Certificate(..)), "{error}");
    assert_eq!((error.stage(), error.url()), (Stage::Tls, &*there));
    first.join();
    assert!(!secure.join());
}

#[test]
fn a_loop_of_handshakes_ends_after_as_many_hops_as_were_asked_for() {
    for max in [0, 1, 4] {
        let server =
            listen(move |l| hop_each_and_open(&l, &vec![found(302, "/"); max as usize + 1], false));
        let reported = events(follow(&server.url(), max), Config::default());
        if max == 0 {
            let (error, _) = failure(&reported);
            let text = error.to_string();
            assert!(
                text.contains("302 Moved to /; redirects are not followed, connect there"),
                "{text}"
            );
        } else {
            assert_eq!(why(&reported).0, &HttpError::ManyRedirects(max));
        }
        assert_eq!(server.join().len(), max as usize + 1);
    }
}

#[test]
fn what_is_no_place_for_a_handshake_to_go() {
    // FAULTS 30.
    for location in [
        "ftp://127.0.0.1/",
        "javascript:alert(1)",
        "ws://user:pass@127.0.0.1/",
        "//user@127.0.0.1/",
        "http://",
        "ws:///x",
        "//",
        "http://127.0.0.1:0/",
        "ws://0x7f.1/",
        "ws://[::1/",
        "ws://caf\u{e9}.example/",
    ] {
        let server = listen(move |l| hop_each_and_open(&l, &[found(302, location)], false));
        let reported = events(follow(&server.url(), 5), Config::default());
        let (why, error) = why(&reported);
        assert!(matches!(why, HttpError::Location(_)), "{location}: {error}");
        let text = error.to_string();
        assert!(text.is_ascii() && !text.contains("pass@"), "{text}");
        server.join();
    }
    let two = "HTTP/1.1 302 Go\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let server = listen(move |l| hop_each_and_open(&l, &[two.to_owned()], false));
    let reported = events(follow(&server.url(), 5), Config::default());
    assert_eq!(why(&reported).0, &HttpError::Locations);
    server.join();
}

#[test]
fn the_body_of_a_redirect_is_not_waited_for_and_one_without_a_target_is_an_answer() {
    let limits = Limits { refusal_time: LONG * 10, opening: LONG, ..Limits::default() };
    for (answer, followed) in [
        ("HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 1000\r\n\r\n", true),
        ("HTTP/1.1 302 Go\r\nContent-Length: 5\r\n\r\nsorry", false),
        ("HTTP/1.1 403 No\r\nLocation: /\r\nContent-Length: 5\r\n\r\nsorry", false),
    ] {
        let server = listen(move |l| hop_each_and_open(&l, &[answer.to_owned()], followed));
        let reported = events(follow(&server.url(), 1).limits(limits.clone()), Config::default());
        match followed {
            true => assert!(matches!(reported[0], OwnedEvent::Opened), "{reported:?}"),
            false => assert_eq!(failure(&reported).0.response().unwrap().body, b"sorry"),
        }
        server.join();
    }
}

#[test]
fn the_policy_is_asked_for_every_hop_of_a_handshake() {
    // FAULTS 62.
    let nobody = TcpListener::bind(loopback()).unwrap();
    nobody.set_nonblocking(true).unwrap();
    let to = nobody.local_addr().unwrap();
    for own in [false, true] {
        let server =
            listen(move |l| hop_each_and_open(&l, &[found(302, &format!("ws://{to}/"))], false));
        let port = to.port();
        let policy = Policy::open().and(move |to| match to.port == port {
            true => Err("not there".to_owned()),
            false => Ok(()),
        });
        let (options, config) = match own {
            true => (follow(&server.url(), 1).policy(policy), Config::default()),
            false => (follow(&server.url(), 1), Config { policy, ..Config::default() }),
        };
        let reported = events(options, config);
        let (error, _) = failure(&reported);
        assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
        assert_eq!(error.url(), format!("ws://{to}/"));
        assert_eq!(nobody.accept().unwrap_err().kind(), Io::WouldBlock, "no client connects there");
        server.join();
    }
}

#[test]
fn a_time_limit_covers_all_hops_of_a_handshake() {
    let limit = Duration::from_millis(200);
    // Each hop takes a part of the time, and there is always one more.
    let server = listen(|l| {
        let mut hops = 0;
        while let Ok((tcp, _)) = l.accept() {
            let mut p = Peer::plain(tcp);
            if !p.begins() {
                break;
            }
            p.request();
            std::thread::sleep(Duration::from_millis(20));
            let _ = p.try_write(found(302, "/").as_bytes());
            p.rest();
            hops += 1;
        }
        hops
    });
    let reported = events(follow(&server.url(), u32::MAX).timeout(limit), Config::default());
    let (error, _) = failure(&reported);
    let late = matches!(error.kind(), ErrorKind::Timeout(l) if *l == limit);
    assert!(late, "{error}");
    // A client that connects and sends nothing ends the server.
    let _ = std::net::TcpStream::connect(server.address);
    assert!(server.join() > 0);
}

/// RFC 6455 §4.1: each hop is another handshake, and waits for the handshakes before it.
#[test]
fn each_hop_has_its_own_turn() {
    let server = listen(|l| {
        let mut order = Vec::new();
        for _ in 0..4 {
            let mut p = Peer::plain(l.accept().unwrap().0);
            let request = p.request().to_owned();
            l.set_nonblocking(true).unwrap();
            assert_eq!(l.accept().unwrap_err().kind(), Io::WouldBlock, "one at a time");
            l.set_nonblocking(false).unwrap();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            match path.strip_suffix("/first") {
                Some(name) => {
                    p.write(found(302, &format!("{name}/second")).as_bytes());
                    p.rest();
                }
                None => {
                    p.accept(&close(1000, ""));
                    p.close_frame();
                }
            }
            order.push(path);
        }
        order
    });
    let mut reactor = Reactor::new(Config::default()).unwrap();
    for name in ["a", "b"] {
        reactor.open(follow(&format!("{}{name}/first", server.url()), 1)).unwrap();
    }
    let (until, mut ends) = (soon(), 0);
    while !reactor.is_empty() {
        assert!(Instant::now() < until, "hangs");
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
            if let Event::Closed(closed) = event {
                assert!(matches!(closed, Closed::Clean(_)), "{closed}");
                ends += 1;
            }
        };
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    assert_eq!(ends, 2);
    assert_eq!(server.join(), ["/a/first", "/b/first", "/a/second", "/b/second"]);
}

#[test]
fn a_handshake_that_is_given_up_between_two_hops_leaves_nothing() {
    let server = listen(|l| hop_each_and_open(&l, &[found(302, "/")], false));
    let (config, states) = watched(Config::default());
    let mut reactor = Reactor::new(config).unwrap();
    let id = reactor.open(follow(&server.url(), 1)).unwrap();
    let until = soon();
    let mut sink = |_: &mut Conn<'_>, event: Event<'_>| panic!("{:?}", keep(event));
    while !states.try_iter().any(|text| text.starts_with("redirected")) {
        assert!(Instant::now() < until, "hangs");
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    reactor.release(id, &CloseFrame::new(1000, ""));
    while !reactor.is_empty() {
        reactor.turn(Some(until), &mut sink).unwrap();
    }
    server.join();
}

/// The blocking face follows a redirect, too.
#[test]
fn a_blocking_connection_follows_too() {
    let server = listen(|l| hop_each_and_open(&l, &[found(307, "/there")], true));
    let mut ws = follow(&server.url(), 1).connect().unwrap();
    assert_eq!(ws.read().unwrap(), None);
    assert!(server.join()[1].starts_with("GET /there "));
}
