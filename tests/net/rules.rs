//! Rules that need a socket and that no other file tests. docs/FAULTS.md and docs/RFC6455.md link
//! here.

use std::io::{ErrorKind as Io, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use moonwire::rustls::server::Acceptor;
use moonwire::rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use moonwire::{Config, Conn, ErrorKind, Event, Override, Policy, Reactor, Stage};

use crate::common::*;
use crate::web::*;

fn to(host: &str, to: SocketAddr) -> Override {
    Override { host: host.into(), port: to.port(), to }
}

#[test]
fn the_name_of_the_url_stands_in_the_greeting_of_tls() {
    // RFC 6455 §4.1, 5; FAULTS 51: one normaliser makes the form of the name for every use.
    for (host, resolved, named) in [
        ("a.example.test", "a.example.test", Some("a.example.test")),
        ("A.Example.TEST.", "a.example.test", Some("a.example.test")),
        ("127.0.0.1", "127.0.0.1", None),
    ] {
        let server = listen(|listener| {
            let mut tcp = listener.accept().unwrap().0;
            let mut acceptor = Acceptor::default();
            loop {
                assert!(acceptor.read_tls(&mut tcp).unwrap() > 0);
                if let Some(accepted) = acceptor.accept().ok().unwrap() {
                    return accepted.client_hello().server_name().map(str::to_owned);
                }
            }
        });
        let url = format!("wss://{host}:{}/", server.address.port());
        let config = Config { resolve: vec![to(resolved, server.address)], ..trusting() };
        let reported = events(options(&url), config);
        assert_eq!(failure(&reported).0.stage(), Stage::Tls);
        assert_eq!(server.join().as_deref(), named, "{host}");
    }
}

#[test]
fn every_handshake_has_a_nonce_of_its_own() {
    // RFC 6455 §4.1, 7: 16 bytes in base64 are 22 digits, of which the last has two bits, and "==".
    const TIMES: usize = 20;
    let server = listen(|listener| {
        let ask = |_| {
            let mut peer = Peer::plain(listener.accept().unwrap().0);
            field(peer.request(), "Sec-WebSocket-Key").unwrap().to_owned()
        };
        (0..TIMES).map(ask).collect::<Vec<_>>()
    });
    for _ in 0..TIMES {
        assert!(options(&server.url()).connect().is_err());
    }
    let mut keys = server.join();
    for key in &keys {
        let digits = key.strip_suffix("==").unwrap_or_default();
        let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        assert!(digits.len() == 22 && digits.bytes().all(digit), "{key}");
        assert!(digits.ends_with(['A', 'Q', 'g', 'w']), "{key}");
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), TIMES);
}

#[test]
fn two_names_of_one_address_open_one_after_the_other() {
    // RFC 6455 §4.1, 2: the address counts, not the name.
    let listener = TcpListener::bind(loopback()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let resolve = vec![to("a.example", address), to("b.example", address)];
    let mut reactor = Reactor::new(Config { resolve, ..Config::default() }).unwrap();
    for host in ["a.example", "b.example"] {
        reactor.open(options(&format!("ws://{host}:{}/", address.port()))).unwrap();
    }
    let mut opened = 0;
    let mut accept = |wanted: usize, opened: &mut usize| -> Option<Peer> {
        let until = soon();
        for turn in 0.. {
            assert!(Instant::now() < until);
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| match event {
                Event::Opened(_) => *opened += 1,
                other => panic!("{other:?}"),
            };
            reactor.turn(Some(Instant::now()), &mut sink).unwrap();
            match listener.accept() {
                Ok((tcp, _)) => return Some(Peer::plain(tcp)),
                Err(e) if e.kind() == Io::WouldBlock => {}
                Err(e) => panic!("{e}"),
            }
            if turn > 20 && *opened == wanted {
                return None;
            }
        }
        None
    };
    let mut first = accept(usize::MAX, &mut opened).expect("the first");
    assert!(accept(0, &mut opened).is_none(), "the second has to wait");
    first.accept(b"");
    let mut second = accept(usize::MAX, &mut opened).expect("the second");
    assert_eq!(opened, 1);
    let host = format!("b.example:{}", address.port());
    second.write(b"");
    assert!(accept(1, &mut opened).is_none());
    assert_eq!(field(second.request(), "Host"), Some(host.as_str()));
}

/// A TLS server with `config` for one connection. It answers a request with a 101 and a close
/// frame. Returns the kind of TLS handshake, and whether close_notify ended it.
fn welcome(tcp: TcpStream, config: &Arc<ServerConfig>) -> Option<(HandshakeKind, bool)> {
    tcp.set_read_timeout(Some(LONG)).unwrap();
    let session = ServerConnection::new(Arc::clone(config)).unwrap();
    let (mut stream, mut head) = (StreamOwned::new(session, tcp), Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return None;
        }
        head.extend(byte);
    }
    let accept = accept(std::str::from_utf8(&head).unwrap());
    let answer = format!(
        "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(&[answer.as_bytes(), &close(1000, "")].concat()).unwrap();
    // The answer to the close frame; then the server must end the connection.
    stream.read_exact(&mut [0; 8]).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let close_notify = stream.read_to_end(&mut Vec::new()).is_ok();
    Some((stream.conn.handshake_kind()?, close_notify))
}

#[test]
fn a_session_of_tls_is_not_taken_up_by_other_trust_nor_by_another_server() {
    // FAULTS 52: a session that one configuration has verified does not count for another.
    let server = listen(|listener| {
        let (good, other) = (server_config("good"), server_config("other"));
        let configs = [&good, &good, &good, &good, &other];
        configs.map(|config| welcome(listener.accept().unwrap().0, config))
    });
    let tls = trusting().tls;
    let config = |tls: &Option<_>| Config { tls: Clone::clone(tls), ..Config::default() };
    let (again, full) = (Some((HandshakeKind::Resumed, true)), Some((HandshakeKind::Full, true)));
    let url = server.url().replacen("ws", "wss", 1);
    let refused = |config| {
        let reported = events(options(&url), config);
        assert!(matches!(failure(&reported).0.kind(), ErrorKind::Certificate(..)), "{reported:?}");
    };
    let welcomed = |config| {
        let reported = events(options(&url), config);
        assert!(matches!(reported[0], OwnedEvent::Opened), "{reported:?}");
    };
    welcomed(config(&tls));
    // The same configuration may resume it.
    welcomed(config(&tls));
    // A configuration without the root of these tests does not use the session, and the connection
    // fails.
    refused(Config::default());
    // The same roots in another configuration begin a new session.
    welcomed(trusting());
    // A server that cannot read the ticket must show its certificate.
    refused(config(&tls));
    let kinds = server.join();
    assert_eq!(kinds, [full, again, None, full, None]);
}

#[test]
fn close_notify_is_sent_before_the_connection_is_closed() {
    // RFC 9112 §9.8; RFC 6455 §7.1.1 for the WebSocket. rustls reports an end without close_notify
    // as an error.
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
    ];
    for answer in answers {
        let server = listen(move |listener| {
            let tcp = listener.accept().unwrap().0;
            tcp.set_read_timeout(Some(LONG)).unwrap();
            let session = ServerConnection::new(server_config("good")).unwrap();
            let (mut stream, mut head) = (StreamOwned::new(session, tcp), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            stream.flush().unwrap();
            stream.read_to_end(&mut Vec::new()).map(drop)
        });
        let url = server.url().replacen("ws", "https", 1);
        events(get(&url), trusting());
        assert!(server.join().is_ok(), "{answer}");
    }
    let server = listen(|listener| welcome(listener.accept().unwrap().0, &server_config("good")));
    let url = server.url().replacen("ws", "wss", 1);
    events(options(&url), trusting());
    assert_eq!(server.join(), Some((HandshakeKind::Full, true)));
}

#[test]
fn the_policy_is_asked_for_the_address_of_every_hop() {
    // FAULTS 62: the address that a name resolves to counts, not the name.
    let inner = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    // The host, the server's answers, the stage of the refusal, and how many connections are begun.
    type Way = fn(u16) -> Vec<String>;
    let ways: [(&str, Way, Option<Stage>, usize); 5] = [
        ("b", |_| vec![], Some(Stage::Resolve), 0),
        ("a", |_| vec![FINE.to_owned()], None, 1),
        (
            "a",
            |port| vec![found(302, &format!("http://b.example:{port}/"))],
            Some(Stage::Resolve),
            1,
        ),
        ("a", |port| vec![found(307, &format!("http://[::1]:{port}/"))], Some(Stage::Url), 1),
        (
            "a",
            |port| vec![found(301, &format!("http://c.example:{port}/")), FINE.to_owned()],
            None,
            2,
        ),
    ];
    // The policy belongs to the reactor, or to one request.
    let both = ways.iter().flat_map(|way| [(way, false), (way, true)]);
    for (&(host, way, stage, count), own) in both {
        let server = listen(move |listener| {
            let port = listener.local_addr().unwrap().port();
            answer_each(&listener, &way(port)).len()
        });
        let port = server.address.port();
        // c.example resolves to both addresses. The policy allows one of them.
        let c = [inner(port), server.address].map(|address| to("c.example", address));
        let resolve = [to("a.example", server.address), to("b.example", inner(port))].into_iter();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let policy = Policy::open().and({
            let asked = Arc::clone(&asked);
            move |to| {
                asked.lock().unwrap().push((to.host.to_string(), to.address));
                let inner = to.address.is_some_and(|address| address.is_ipv6());
                if inner { Err("not there".to_owned()) } else { Ok(()) }
            }
        });
        let sys = Watched::new();
        let begun = Arc::clone(&sys.begun);
        let (all, its) = if own { (Policy::open(), policy) } else { (policy, Policy::open()) };
        let resolve = resolve.chain(c).collect();
        let config = Config { resolve, policy: all, ..Config::default() };
        let mut reactor = Reactor::with_sys(sys, config).unwrap();
        reactor.open(get(&format!("http://{host}.example:{port}/")).policy(its)).unwrap();
        let reported = run(&mut reactor, |_, _| {});
        match stage {
            None => assert!(is_complete(&reported), "{reported:?}"),
            Some(stage) => {
                let (error, _) = failure(&reported);
                assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
                assert_eq!(error.stage(), stage);
            }
        }
        assert_eq!(begun.load(Ordering::SeqCst), count, "{host}");
        let asked = asked.lock().unwrap();
        let first = (format!("{host}.example"), None);
        assert_eq!(asked[0], first, "the name is asked for before it is resolved");
        assert!(asked[1].0 == first.0 && asked[1].1.is_some(), "then its address: {asked:?}");
        server.join();
    }
}
