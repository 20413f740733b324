//! Connections that are kept after a response, over real sockets: which requests use one, and what
//! ends it.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use moonwire::proto::http::Response;
use moonwire::{Client, Closed, Config, Conn, Event, Override, Reactor, StreamOptions};

use crate::common::proxy::Setup;
use crate::common::*;
use crate::web::*;

/// A reactor that makes one request after another.
struct Asking(Reactor);

impl Asking {
    fn new(config: Config) -> Asking {
        Asking(Reactor::new(config).unwrap())
    }

    fn events_of(&mut self, options: StreamOptions) -> Vec<OwnedEvent> {
        self.0.open(options.keep_alive(true)).unwrap();
        run(&mut self.0, |_, _| {})
    }

    /// The body of the response, and its head.
    fn ask(&mut self, options: StreamOptions) -> (String, Box<Response>) {
        let mut reported = self.events_of(options);
        assert!(is_complete(&reported), "{reported:?}");
        let text = String::from_utf8(body(&reported)).unwrap();
        let OwnedEvent::Response(response) = reported.remove(0) else { panic!("{reported:?}") };
        (text, response)
    }
}

/// A response whose body is `text`.
fn of(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

/// A server that answers each request with the number of its connection and of the request on it.
fn numbered(secure: bool) -> Many {
    many(secure, |connection, mut p| {
        let mut number = 0;
        while p.next_request().is_some() {
            p.write(of(&format!("{connection} {number}")).as_bytes());
            number += 1;
        }
    })
}

#[test]
fn requests_go_over_one_connection() {
    for secure in [false, true] {
        let server = numbered(secure);
        let mut asking = Asking::new(trusting());
        for number in 0..5 {
            let (text, response) = asking.ask(get(&server.url()));
            assert_eq!(text, format!("0 {number}"));
            let transport = response.transport.unwrap();
            assert_eq!(transport.peer.unwrap().to_string(), server.address.to_string());
            assert_eq!(transport.tls.is_some(), secure);
            // Only the first request connects, so only it has times for these steps.
            let phases = transport.phases;
            assert_eq!(phases.connect.is_some(), number == 0, "{phases:?}");
            assert_eq!(phases.tls.is_some(), number == 0 && secure, "{phases:?}");
            assert!(phases.handshake.is_some());
        }
        assert_eq!(server.count(), 1);
        // A request without `keep_alive` has another connection.
        asking.0.open(get(&server.url())).unwrap();
        let reported = run(&mut asking.0, |_, _| {});
        assert_eq!(body(&reported), b"1 0");
    }
}

/// A response that does not leave its connection open costs another connection. All others share
/// one.
#[test]
fn only_what_is_whole_and_clean_is_left() {
    let trailers = "1\r\na\r\n0\r\nA: b\r\n\r\n";
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{trailers}");
    let rows: Vec<(&str, String, bool)> = vec![
        ("GET", of("a"), true),
        ("POST", of("a"), true),
        ("GET", chunked, true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".into(), true),
        ("GET", "HTTP/1.1 204 No\r\n\r\n".into(), true),
        ("GET", "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n".into(), true),
        ("GET", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".into(), true),
        ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into(), false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n".into(), false),
        ("GET", "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No\r\n\r\n".into(), false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n".into(),
            false,
        ),
        // FAULTS 41: bytes follow the response.
        ("GET", format!("{}{}", of("a"), of("b")), false),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".into(), false),
    ];
    for secure in [false, true] {
        for (method, answer, left) in &rows {
            let given = answer.clone();
            let server = many(secure, move |_, mut p| {
                while p.next_request().is_some() {
                    p.write(given.as_bytes());
                }
            });
            let mut asking = Asking::new(trusting());
            let first = asking.ask(ask(method, &server.url())).0;
            let second = asking.ask(ask(method, &server.url())).0;
            assert_eq!((first.len() <= 1, second), (true, first), "{answer}");
            assert_eq!(server.count() == 1, *left, "{method} {answer} {secure}");
        }
    }
}

/// A response arrives byte by byte. After its last byte the connection is kept.
#[test]
fn an_answer_may_come_in_pieces() {
    let server = many(false, |connection, mut p| {
        while p.next_request().is_some() {
            for byte in of(&connection.to_string()).as_bytes() {
                p.write(&[*byte]);
                std::thread::yield_now();
            }
        }
    });
    let mut asking = Asking::new(Config::default());
    for _ in 0..3 {
        assert_eq!(asking.ask(get(&server.url())).0, "0");
    }
}

/// A server that calls `meddle` on its first connection, after the response, when the test calls
/// the returned closure. The closure returns after `meddle` has.
fn meddling(
    secure: bool,
    meddle: impl Fn(&mut Peer) -> bool + Send + Sync + 'static,
) -> (Many, impl FnOnce()) {
    let ((start, started), (report, is_done)) = (channel::<()>(), channel::<()>());
    let ends = Mutex::new(Some((started, report)));
    let server = many(secure, move |connection, mut p| {
        let ends: Option<(Receiver<()>, _)> = ends.lock().unwrap().take();
        p.next_request();
        p.write(of(&connection.to_string()).as_bytes());
        if let Some((started, report)) = ends {
            started.recv().unwrap();
            let goes_on = meddle(&mut p);
            report.send(()).unwrap();
            if !goes_on {
                return;
            }
        }
        while p.next_request().is_some() {
            p.write(of(&connection.to_string()).as_bytes());
        }
    });
    (server, move || {
        start.send(()).unwrap();
        is_done.recv_timeout(LONG).unwrap();
    })
}

/// FAULTS 41: an unsolicited response arrives while no request is open. The next request finds it,
/// or an earlier turn does.
#[test]
fn what_comes_unasked_ends_the_connection_and_answers_nothing() {
    for secure in [false, true] {
        for looks in [false, true] {
            for unasked in ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", "x", "\r\n"] {
                let (server, meddle) = meddling(secure, move |p| {
                    p.write(unasked.as_bytes());
                    true
                });
                let mut asking = Asking::new(trusting());
                assert_eq!(asking.ask(get(&server.url())).0, "0");
                meddle();
                if looks {
                    asking
                        .0
                        .turn(Some(Instant::now()), &mut |_: &mut Conn<'_>, _: Event<'_>| {})
                        .unwrap();
                    assert_eq!(asking.0.deadline(), None);
                }
                assert_eq!(asking.ask(get(&server.url())).0, "1", "{unasked}");
                assert_eq!(asking.ask(get(&server.url())).0, "1", "{unasked}");
                assert_eq!(server.count(), 2);
            }
        }
    }
}

/// A server closes or resets a connection that waits. Nothing is lost, whatever the method is.
#[test]
fn a_server_that_has_closed_is_asked_over_another_connection() {
    for secure in [false, true] {
        for resets in [false, true] {
            for method in ["GET", "POST"] {
                let (server, meddle) = meddling(secure, move |p| {
                    if resets {
                        let none = Some(Duration::ZERO);
                        rustix::net::sockopt::set_socket_linger(&p.tcp, none).unwrap();
                    }
                    p.tcp.shutdown(std::net::Shutdown::Write).unwrap();
                    false
                });
                let mut asking = Asking::new(trusting());
                assert_eq!(asking.ask(ask(method, &server.url())).0, "0");
                meddle();
                assert_eq!(asking.ask(ask(method, &server.url())).0, "1");
                assert_eq!(asking.ask(ask(method, &server.url())).0, "1");
            }
        }
    }
}

/// RFC 9112 §9.3.1: the server closes the connection while the request is on its way.
#[test]
fn a_request_that_meets_the_close_goes_again_if_that_does_no_harm() {
    for secure in [false, true] {
        for (method, body, again) in [
            ("GET", "", true),
            ("HEAD", "", true),
            ("DELETE", "", true),
            ("PUT", "all of it", true),
            ("POST", "", false),
            ("POST", "all of it", false),
            ("PATCH", "", false),
        ] {
            let (sender, received) = channel();
            let server = many(secure, move |connection, mut p| {
                for number in 0.. {
                    let Some(request) = p.next_request() else { return };
                    sender.send((connection, request)).unwrap();
                    if connection == 0 && number > 0 {
                        return;
                    }
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                    p.write(head.as_bytes());
                }
            });
            let request = || {
                let request = ask(method, &server.url());
                if body.is_empty() { request } else { request.body(body).unwrap() }
            };
            let mut asking = Asking::new(trusting());
            asking.ask(request());
            let reported = asking.events_of(request());
            let received: Vec<(usize, String)> = received.try_iter().collect();
            assert_eq!(is_complete(&reported), again, "{reported:?}");
            let connections: Vec<usize> =
                received.iter().map(|(connection, _)| *connection).collect();
            assert_eq!(connections, if again { vec![0, 0, 1] } else { vec![0, 0] });
            assert!(received.iter().all(|(_, request)| *request == received[0].1), "{received:?}");
            assert!(received[0].1.ends_with(body));
            if !again {
                let error = failure(&reported).0;
                let text = error.to_string();
                assert!(
                    text.contains("; the connection was kept from an earlier request"),
                    "{text}"
                );
                assert!(error.is_transient());
            }
        }
    }
}

/// A request with a body from a reader uses no kept connection, but its own one is kept.
#[test]
fn a_body_from_a_reader_has_a_connection_of_its_own() {
    let server = numbered(false);
    let mut asking = Asking::new(Config::default());
    let upload = || ask("PUT", &server.url()).body_from(&b"abc"[..], Some(3)).unwrap();
    assert_eq!(asking.ask(get(&server.url())).0, "0 0");
    assert_eq!(asking.ask(upload()).0, "1 0");
    // The connection that was used last is used first.
    assert_eq!(asking.ask(get(&server.url())).0, "1 1");
    assert_eq!(server.count(), 2);
}

/// Only the program knows where its stream leads, so no other request uses it.
#[test]
fn a_stream_of_ones_own_is_used_once() {
    let server = serve(|mut p| {
        let head = p.next_request().unwrap();
        p.write(of("0").as_bytes());
        (head, p.rest())
    });
    let own = std::net::TcpStream::connect(server.address).unwrap();
    let mut asking = Asking::new(Config::default());
    assert_eq!(asking.ask(get(&http(&server.url())).over(own)).0, "0");
    assert_eq!(asking.0.deadline(), None);
    let (head, rest) = server.join();
    assert!(head.contains("\r\nConnection: close\r\n") && rest == 0, "{head}");
}

/// The connection of a redirect is closed. The connection to its target is kept.
#[test]
fn a_redirect_leaves_none() {
    let server = many(false, |connection, mut p| {
        while let Some(request) = p.next_request() {
            match request.starts_with("GET /to ") {
                true => p.write(of(&connection.to_string()).as_bytes()),
                false => p.write(found(302, "/to").as_bytes()),
            }
        }
    });
    let mut asking = Asking::new(Config::default());
    assert_eq!(asking.ask(get(&server.url())).0, "1");
    assert_eq!(asking.ask(get(&(server.url() + "to"))).0, "1");
    // The request that is redirected may use a kept connection.
    assert_eq!(asking.ask(get(&server.url())).0, "2");
}

/// A kept connection is for one proxy, one server behind it and one set of credentials.
#[test]
fn each_way_through_a_proxy_has_its_own() {
    for (scheme, secure) in
        [("http", false), ("http", true), ("socks5", false), ("socks5h", true), ("https", true)]
    {
        let server = numbered(secure);
        let port = server.address.port();
        let name = |host: &str| Override { host: host.into(), port, to: server.address };
        let is_socks = scheme.starts_with("socks");
        let setup = if is_socks { Setup::socks() } else { Setup::http() };
        let setup = if scheme == "https" { setup.tls(server_config("good")) } else { setup };
        let proxying = setup.knows("localhost", server.address).start();
        let proxy =
            moonwire::Proxy::parse(&format!("{scheme}://localhost:{}", proxying.address.port()))
                .unwrap();
        let other = moonwire::Proxy::parse(&format!(
            "{scheme}://me:pass@localhost:{}",
            proxying.address.port()
        ))
        .unwrap();
        let trusting = trusting();
        let resolve = vec![
            Override {
                host: "localhost".into(),
                port: proxying.address.port(),
                to: proxying.address,
            },
            name("localhost"),
        ];
        let config = Config { resolve, proxy_tls: trusting.tls.clone(), ..trusting };
        let mut asking = Asking::new(config);
        let url = format!("{}://localhost:{port}/", if secure { "https" } else { "http" });
        let by = |proxy: &moonwire::Proxy| get(&url).proxy(proxy.clone());
        assert_eq!(asking.ask(by(&proxy)).0, "0 0", "{scheme}");
        let (text, response) = asking.ask(by(&proxy));
        assert_eq!((text.as_str(), proxying.count(), server.count()), ("0 1", 1, 1), "{scheme}");
        let transport = response.transport.unwrap();
        assert_eq!((transport.proxy, transport.phases.proxy), (Some(proxy.to_string()), None));
        // Other credentials need another connection. A SOCKS proxy that requires none accepts them,
        // too.
        if !is_socks {
            assert_eq!(asking.ask(by(&other)).0, "1 0", "{scheme}");
            assert_eq!(proxying.count(), 2);
        }
        // Without the proxy.
        let direct = asking.ask(get(&url).no_proxy()).0;
        assert!(direct.ends_with(" 0"), "{direct}");
    }
}

/// The threaded client keeps connections, too.
#[test]
fn a_client_keeps_them_and_closes_them_at_its_end() {
    let (ended, end) = channel();
    let server = many(false, move |connection, mut p| {
        while p.next_request().is_some() {
            p.write(of(&connection.to_string()).as_bytes());
        }
        ended.send(connection).unwrap();
    });
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    for _ in 0..3 {
        client.open(get(&server.url()).keep_alive(true)).unwrap();
        let (mut reported, mut over) = (Vec::new(), false);
        while !over {
            events
                .wait(Some(soon()), |_, event| {
                    over |= matches!(event, Event::Closed(_));
                    reported.push(keep(event));
                })
                .unwrap();
        }
        assert_eq!(body(&reported), b"0");
    }
    assert_eq!(server.count(), 1);
    drop(events);
    assert_eq!(end.recv_timeout(LONG).unwrap(), 0);
}

/// A reactor with only kept connections is empty. When it is dropped, they are closed.
#[test]
fn what_waits_keeps_nothing_alive_and_ends_with_its_reactor() {
    for secure in [false, true] {
        let (ended, end) = channel();
        let server = many(secure, move |connection, mut p| {
            while p.next_request().is_some() {
                p.write(of("a").as_bytes());
            }
            ended.send(connection).unwrap();
        });
        let mut asking = Asking::new(trusting());
        asking.ask(get(&server.url()));
        let reactor = &asking.0;
        assert!(reactor.is_empty() && reactor.pending() == 0 && reactor.deadline().is_some());
        assert!(end.try_recv().is_err());
        drop(asking);
        assert_eq!(end.recv_timeout(LONG).unwrap(), 0);
    }
}

/// A waiting connection reports nothing, and needs no turn.
#[test]
fn what_waits_costs_no_turns() {
    for secure in [false, true] {
        let server = numbered(secure);
        let mut asking = Asking::new(trusting());
        asking.ask(get(&server.url()));
        let (until, mut turns) = (Instant::now() + Duration::from_millis(100), 0);
        while Instant::now() < until {
            asking.0.turn(Some(until), &mut |_: &mut Conn<'_>, _: Event<'_>| {}).unwrap();
            turns += 1;
        }
        assert!(turns < 10, "{turns} turns");
        assert_eq!(asking.ask(get(&server.url())).0, "0 1");
    }
}

/// The number of connections does not grow with the number of requests.
#[test]
fn many_requests_leave_few_connections() {
    let server = numbered(false);
    let mut asking = Asking::new(Config::default());
    for round in 0..20 {
        for _ in 0..10 {
            asking.0.open(get(&server.url()).keep_alive(true)).unwrap();
        }
        let (until, mut whole) = (soon(), 0);
        while !asking.0.is_empty() {
            assert!(Instant::now() < until);
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
                whole += usize::from(matches!(event, Event::Closed(Closed::Complete)));
            };
            asking.0.turn(Some(until), &mut sink).unwrap();
        }
        assert_eq!(whole, 10);
        // Six connections are kept each time, so four of ten requests need another one.
        assert!(server.count() <= 10 + 4 * round, "{} connections", server.count());
    }
}
