//! Connections over a stream that the program supplies.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moonwire::proto::Endpoint;
use moonwire::{
    Client, Closed, Config, ErrorKind, Event, EventSource, Message, Options, OwnedStream, Policy,
    Proxy, Reactor, Stage,
};

use crate::common::*;
use crate::web::*;

/// A stream to this server.
fn stream_to<R: Send + 'static>(server: &Scripted<R>) -> TcpStream {
    TcpStream::connect(server.address).unwrap()
}

/// Opens a WebSocket, echoes one message and closes. Returns the head of the request, and the
/// number of bytes after the client's close frame.
fn echo_once(mut p: Peer) -> (String, usize) {
    p.accept(b"");
    let (first, payload) = p.frame();
    p.write(&frame(first, &payload));
    p.close_frame();
    p.write(&close(1000, ""));
    p.tcp.shutdown(Shutdown::Write).unwrap();
    (p.head.clone(), p.rest())
}

/// Sends one text with a reactor, receives the echo, and closes.
fn talk(ask: Options, config: Config) {
    let mut reactor = Reactor::new(config).unwrap();
    reactor.open(ask).unwrap();
    let reported = run(&mut reactor, |conn, event| match event {
        Event::Opened(_) => conn.send_text("hello").unwrap(),
        Event::Text(_) => conn.close(1000, "").unwrap(),
        _ => {}
    });
    assert!(matches!(&reported[1], OwnedEvent::Text(text) if text == "hello"), "{reported:?}");
    assert!(matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))), "{reported:?}");
}

#[test]
fn a_web_socket_goes_over_a_stream_of_the_program_and_closes_it() {
    // The host of the URL is not resolved, and no proxy is used.
    let server = serve(echo_once);
    let ask = options("ws://name.invalid:81/x").over(stream_to(&server));
    let proxy = Proxy::parse("http://proxy.invalid").unwrap();
    talk(ask, Config { proxy: proxy.into(), ..Config::default() });
    let (head, rest) = server.join();
    assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: name.invalid:81\r\n"), "{head}");
    assert_eq!(rest, 0, "it is closed");
    // The other faces.
    let server = serve(echo_once);
    let mut ws = options("ws://a.example/").over(stream_to(&server)).connect().unwrap();
    ws.send_text("hello").unwrap();
    assert_eq!(ws.read().unwrap(), Some(Message::Text("hello".into())));
    ws.close(1000, "").unwrap();
    assert_eq!(server.join().1, 0);
    let server = serve(|mut p| {
        p.accept(&close(1000, ""));
        p.close_frame();
        p.tcp.shutdown(Shutdown::Write).unwrap();
        p.rest()
    });
    let (client, mut events) = Client::spawn(Config::default()).unwrap();
    client.open(options("ws://a.example/").over(stream_to(&server))).unwrap();
    let mut over = false;
    while !over {
        let count = events.wait(Some(soon()), |_, e| over |= matches!(e, Event::Closed(_)));
        assert!(count.unwrap() > 0, "hangs");
    }
    assert_eq!(server.join(), 0);
}

#[test]
fn over_tls_the_name_of_the_url_is_verified_whatever_the_stream_leads_to() {
    for (host, fine) in [("localhost", true), ("other.example", false)] {
        let server = serve_tls("good", |mut p| {
            if p.begins() {
                p.accept(&close(1000, ""));
                p.close_frame();
            }
        });
        let ask = options(&format!("wss://{host}/")).over(stream_to(&server));
        let reported = events(ask, trusting());
        assert_eq!(matches!(reported[0], OwnedEvent::Opened), fine, "{reported:?}");
        if !fine {
            assert!(
                matches!(failure(&reported).0.kind(), ErrorKind::Certificate(..)),
                "{reported:?}"
            );
        }
        server.join();
    }
}

#[test]
fn a_request_goes_over_a_stream_of_the_program() {
    let server = serve(|mut p| {
        p.request();
        p.write(FINE.as_bytes());
        p.rest()
    });
    let reported = events(get("http://a.example/").over(stream_to(&server)), Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    assert_eq!(body(&reported), b"fine");
    assert_eq!(server.join(), 0, "it is closed");
}

#[test]
fn a_stream_that_blocks_is_one_that_does_not_from_then_on() {
    // A second handle of the same socket shows it, since the flag belongs to the socket.
    let server = listen(|l| {
        let mut peer = Peer::plain(l.accept().unwrap().0);
        peer.request();
        peer
    });
    let stream = stream_to(&server);
    let handle = stream.try_clone().unwrap();
    handle.set_read_timeout(Some(LONG)).unwrap();
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let id = reactor.open(options("ws://a.example/").over(stream)).unwrap();
    // No bytes are available: a blocking stream would block the turn.
    let mut turn = || {
        reactor.turn(
            Some(std::time::Instant::now()),
            &mut |_: &mut moonwire::Conn<'_>, _: Event<'_>| {},
        )
    };
    for _ in 0..3 {
        turn().unwrap();
    }
    let e = std::io::Read::read(&mut &handle, &mut [0]).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock);
    reactor.release(id, &moonwire::proto::CloseFrame::new(1001, ""));
    drop(handle);
    assert_eq!(server.join().rest(), 0);
}

#[test]
fn a_stream_is_good_for_one_connection() {
    let used = |reported: &[OwnedEvent]| {
        let (error, _) = failure(reported);
        assert!(matches!(error.kind(), ErrorKind::Used), "{error:?}");
        assert!(error.to_string().contains("has been used already"), "{error}");
        assert!(!error.is_transient());
    };
    // The options are cloned.
    let server = serve(echo_once);
    let ask = options("ws://a.example/").over(stream_to(&server));
    talk(ask.clone(), Config::default());
    used(&events(ask, Config::default()));
    server.join();
    // The server redirects, even to itself.
    for location in ["/there", "http://127.0.0.1:9/"] {
        let server = serve(move |mut p| {
            p.request();
            p.write(found(302, location).as_bytes());
            p.rest();
        });
        used(&events(get("http://a.example/").over(stream_to(&server)), Config::default()));
        server.join();
    }
    // An event source reconnects.
    let server = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n");
    });
    let short = Duration::from_millis(1);
    let mut source = EventSource::new(get("http://a.example/").over(stream_to(&server)))
        .reconnect(true)
        .retry(short)
        .retry_floor(short);
    assert_eq!(source.next_event().unwrap().unwrap().data, "x");
    let error = source.next_event().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Used), "{error:?}");
    server.join();
}

#[test]
fn the_policy_is_asked_for_the_url_and_for_the_peer_of_the_stream() {
    type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;
    for refused in [None, Some(0), Some(1)] {
        let server = serve(|p| {
            let mut p = p;
            let bytes = p.rest_bytes();
            bytes.len()
        });
        let seen = Seen::default();
        let policy = Policy::open().and({
            let seen = Arc::clone(&seen);
            move |to| {
                let mut seen = seen.lock().unwrap();
                assert!(!to.is_proxy);
                seen.push((to.host.to_string(), to.address.map(|ip| ip.to_string())));
                if refused == Some(seen.len() - 1) { Err("no".into()) } else { Ok(()) }
            }
        });
        let ask = options("ws://a.example/").timeout(Duration::from_millis(50)).policy(policy);
        let reported = events(ask.over(stream_to(&server)), Config::default());
        let (error, _) = failure(&reported);
        let want = [("a.example".into(), None), ("a.example".into(), Some("127.0.0.1".into()))];
        let count = refused.map_or(2, |n| n + 1);
        assert_eq!(seen.lock().unwrap()[..], want[..count]);
        match refused {
            None => assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error:?}"),
            Some(n) => {
                assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error:?}");
                assert_eq!(error.stage(), [Stage::Url, Stage::Connect][n]);
            }
        }
        // If the policy refuses the URL, the reactor drops the options, and the stream with them.
        assert_eq!(
            server.join() > 0,
            refused.is_none(),
            "nothing is sent to a peer that the policy refuses"
        );
    }
    // A loopback address is not on the public internet.
    let server = serve(|mut p| p.rest_bytes().len());
    let reported = events(
        options("ws://a.example/").over(stream_to(&server)),
        Config { policy: Policy::public(), ..Config::default() },
    );
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Denied(_)), "{reported:?}");
    assert_eq!(server.join(), 0);
}

#[test]
fn what_is_no_connected_stream_is_an_error_of_the_connection() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let streams: [OwnedStream; 2] =
        [std::net::UdpSocket::bind(loopback()).unwrap().into(), listener.into()];
    for stream in streams {
        let ask = options("ws://a.example/").timeout(Duration::from_millis(200)).over(stream);
        let reported = events(ask, Config::default());
        let (_, opened) = failure(&reported);
        assert!(!opened);
    }
}

#[test]
fn the_transport_of_an_own_stream_is_its_two_ends() {
    let server = serve(|mut p| {
        p.accept(&close(1000, ""));
        p.close_frame();
    });
    let stream = stream_to(&server);
    let ends: [SocketAddr; 2] = [stream.peer_addr().unwrap(), stream.local_addr().unwrap()];
    let mut reactor = Reactor::new(Config::default()).unwrap();
    reactor.open(options("ws://a.example/").over(stream)).unwrap();
    let mut transport = None;
    run(&mut reactor, |_, event| {
        if let Event::Opened(opened) = event {
            transport = opened.transport.clone();
        }
    });
    server.join();
    let transport = transport.unwrap();
    assert_eq!([transport.peer, transport.local], ends.map(|end| Some(Endpoint::Address(end))));
    assert!(transport.proxy.is_none() && transport.tls.is_none());
    assert!(transport.phases.resolve.is_none() && transport.phases.handshake.is_some());
}

#[cfg(unix)]
#[test]
fn a_half_of_a_pair_is_a_stream_and_two_of_them_open_at_the_same_time() {
    use std::os::unix::net::UnixStream;
    // The streams have no name, so neither handshake waits for the other (RFC 6455 §4.1).
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let mut others = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        reactor.open(options("ws://a.example/").over(ours)).unwrap();
        others.push(theirs);
    }
    let (until, mut heads) = (soon(), vec![String::new(); 2]);
    let mut reported = Vec::new();
    let mut opened = 0;
    while opened < 2 {
        assert!(std::time::Instant::now() < until, "{heads:?} {reported:?}");
        let mut sink = |_: &mut moonwire::Conn<'_>, event: Event<'_>| {
            if let Event::Opened(opened) = &event {
                let transport = opened.transport.as_ref().unwrap();
                assert_eq!(transport.peer, Some(Endpoint::Unix("".into())));
            }
            reported.push(keep(event));
        };
        reactor.turn(Some(std::time::Instant::now()), &mut sink).unwrap();
        for (stream, head) in others.iter_mut().zip(&mut heads) {
            let mut buf = [0; 1024];
            if let Ok(n) = std::io::Read::read(stream, &mut buf) {
                head.push_str(std::str::from_utf8(&buf[..n]).unwrap());
            }
        }
        // The server answers when both have sent a request.
        if opened == 0 && heads.iter().all(|head| head.ends_with("\r\n\r\n")) {
            for (stream, head) in others.iter_mut().zip(&heads) {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                    accept(head)
                );
                std::io::Write::write_all(stream, answer.as_bytes()).unwrap();
            }
        }
        opened = reported.iter().filter(|t| matches!(t, OwnedEvent::Opened)).count();
    }
}

/// Opening fails at once, not at the first read or write.
#[test]
#[cfg(unix)]
fn what_is_no_connected_stream_is_refused() {
    use std::net::UdpSocket;

    let listener = TcpListener::bind(loopback()).unwrap();
    let datagrams = UdpSocket::bind(loopback()).unwrap();
    datagrams.connect(datagrams.local_addr().unwrap()).unwrap();
    let file = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    for (stream, text) in [
        (OwnedStream::from(listener), ""),
        (OwnedStream::from(datagrams), "it is not a stream socket"),
        (OwnedStream::from(file), ""),
    ] {
        let error = options("ws://a.example/").over(stream).connect().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error}");
        let line = error.to_string();
        assert!(line.starts_with("ws://a.example/: connect: ") && line.contains(text), "{line}");
    }
}
