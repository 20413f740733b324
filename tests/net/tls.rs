//! TLS always verifies: certificates, names, and who speaks what on which port.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use moonwire::{Conn, ErrorKind, Event, Override, Reactor, Stage};

use crate::common::*;

/// Connects to `host` on a port that is a server with the certificate `name`.
fn outcome(host: &str, name: &str) -> Result<(), String> {
    let server = serve_tls(name, |mut p| {
        let begins = p.begins();
        if begins {
            p.accept(b"");
            p.rest();
        }
        begins
    });
    let url = format!("wss://{host}:{}/", server.address.port());
    let to = server.address;
    let mut config = trusting();
    config.resolve.push(Override { host: host.into(), port: to.port(), to });
    let result = options(&url).connect_with(config);
    let error = result.as_ref().err().map(|e| (e.stage(), e.to_string()));
    drop(result);
    let accepted = server.join();
    match error {
        None => {
            assert!(accepted);
            Ok(())
        }
        Some((stage, text)) => {
            assert_eq!(stage, Stage::Tls, "{text}");
            assert!(!accepted, "FAULTS 49: nothing is sent to {name}");
            Err(text.strip_prefix(&format!("{url}: TLS: ")).expect(&text).to_owned())
        }
    }
}

#[test]
fn the_certificate_matrix_is_red_but_for_the_good_one() {
    // FAULTS 49.
    let refused =
        "the certificate is not signed by a trusted root; a root of your own can be added";
    for (host, name, want) in [
        ("127.0.0.1", "good", Ok(())),
        ("[::1]", "good", Ok(())),
        ("localhost", "good", Ok(())),
        ("a.example.test", "wildcard", Ok(())),
        ("127.0.0.1", "expired", Err("the certificate has expired")),
        ("127.0.0.1", "not-yet", Err("the certificate is not valid yet")),
        ("127.0.0.1", "unknown-root", Err(refused)),
        ("127.0.0.1", "self-signed", Err(refused)),
        ("127.0.0.1", "other", Err("the certificate is for other.example (expected 127.0.0.1)")),
        ("localhost", "other", Err("the certificate is for other.example (expected localhost)")),
        (
            "127.0.0.1",
            "wildcard",
            Err("the certificate is for *.example.test (expected 127.0.0.1)"),
        ),
        (
            "b.a.example.test",
            "wildcard",
            Err("the certificate is for *.example.test (expected b.a.example.test)"),
        ),
        (
            "example.test",
            "wildcard",
            Err("the certificate is for *.example.test (expected example.test)"),
        ),
    ] {
        let got = outcome(host, name);
        assert_eq!(got, want.map_err(str::to_owned), "{host} with {name}");
    }
}

#[test]
fn an_override_changes_the_address_and_not_the_name_that_is_verified() {
    // FAULTS 50.
    assert_eq!(outcome("echo.websocket.org", "echo"), Ok(()));
    let error = outcome("echo.websocket.org", "good").unwrap_err();
    assert!(error.ends_with("(expected echo.websocket.org)"), "{error}");
}

#[test]
fn a_build_s_own_roots_do_not_trust_the_loopback() {
    let server = serve_tls("good", |mut p| p.rest());
    let error = options(&server.url()).connect().err().unwrap();
    assert!(error.to_string().contains("not signed by a trusted root"), "{error}");
    server.join();
}

#[test]
fn plain_http_on_a_tls_port_is_named() {
    let server = serve(|mut p| {
        p.record();
        p.write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        p.rest();
    });
    let url = server.url().replace("ws://", "wss://");
    let told = events(options(&url), trusting());
    let (error, _) = failure(&told);
    assert_eq!(
        error.to_string(),
        format!("{url}: TLS: the server does not speak TLS on this port")
    );
    assert!(matches!(error.kind(), ErrorKind::Tls(_, Some(_))));
    server.join();
}

#[test]
fn a_tls_server_for_a_ws_url_is_named() {
    let server = serve_tls("good", |mut p| p.rest());
    let url = server.url().replace("wss://", "ws://");
    let told = events(options(&url), trusting());
    let text = failure(&told).0.to_string();
    let want = format!("{url}: handshake: the answer is not HTTP/1.1: it starts with \"\\x15\\x03");
    assert!(text.starts_with(&want), "{text}");
    server.join();
}

#[test]
fn a_server_that_ends_or_hangs_in_the_tls_handshake() {
    // FAULTS 54: a goodbye inside the handshake ends it and does not spin.
    let goodbye = b"\x15\x03\x03\0\x02\x01\0";
    for (bytes, why) in [(&b""[..], "closed the connection"), (goodbye, "")] {
        let server = serve(move |mut p| {
            p.record();
            p.write(bytes);
        });
        let url = server.url().replace("ws://", "wss://");
        let told = events(options(&url), trusting());
        let (error, _) = failure(&told);
        assert_eq!(error.stage(), Stage::Tls, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        server.join();
    }
    let server = serve(|mut p| p.rest());
    let url = server.url().replace("ws://", "wss://");
    let limit = std::time::Duration::from_millis(50);
    let told = events(options(&url).timeout(limit), trusting());
    let want = format!("{url}: TLS: not open within the time limit of 50ms");
    assert_eq!(failure(&told).0.to_string(), want);
    server.join();
}

#[test]
fn the_end_of_the_stream_without_a_goodbye_of_tls_is_a_lost_connection() {
    let server = serve_tls("good", |mut p| p.accept(&frame(0x81, b"x")));
    let told = events(options(&server.url()), trusting());
    assert!(matches!(&told[1], Told::Text(t) if t == "x"));
    assert!(failure(&told).0.to_string().ends_with("without a close frame"));
    server.join();
}

#[test]
fn an_address_in_the_url_is_verified_as_an_address() {
    let server = serve_tls("good", |mut p| {
        p.accept(&close(1000, ""));
        p.close_code()
    });
    let to = server.address;
    let port = to.port();
    assert_eq!(server.url(), format!("wss://{}/", SocketAddr::from(([127, 0, 0, 1], port))));
    let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
    assert_eq!(ws.read().unwrap(), None);
    assert_eq!(server.join(), 1000);
}

/// Sends more than the kernel takes, to a server that reads later.
const MUCH: usize = 8 << 20;

#[test]
fn the_goodbye_of_tls_comes_behind_everything_that_waits() {
    // What is sent behind it does not count, so the close frame would be lost.
    let server = serve_tls("good", |mut p| {
        p.accept(b"\xFF\0");
        std::thread::sleep(Duration::from_millis(200));
        (p.frame().1.len(), p.close_code(), p.rest())
    });
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(options(&server.url())).unwrap();
    run(&mut reactor, |conn, event| {
        if let Event::Opened(_) = event {
            conn.send_binary(&vec![7; MUCH]).unwrap();
        }
    });
    assert_eq!(server.join(), (MUCH, 1002, 0));
}

#[test]
fn a_blocking_send_returns_when_the_kernel_has_it_and_not_tls() {
    let server = serve_tls("good", |mut p| {
        p.accept(b"");
        std::thread::sleep(Duration::from_millis(200));
        p.frame().1.len()
    });
    let mut ws = options(&server.url()).connect_with(trusting()).unwrap();
    ws.send_binary(&vec![7; MUCH]).unwrap();
    // Nothing drives the connection from here on.
    assert_eq!(server.join(), MUCH);
}

#[test]
fn what_came_before_a_broken_record_is_told() {
    let (sent, wait) = std::sync::mpsc::channel();
    let server = serve_tls("good", move |mut p| {
        p.accept(b"");
        p.frame();
        p.write(&frame(0x81, b"last words"));
        p.tcp.write_all(b"\x17\x03\x03\0\x20no such record is a legal one...").unwrap();
        sent.send(()).unwrap();
        p.rest()
    });
    let mut reactor = Reactor::new(trusting()).unwrap();
    let id = reactor.open(options(&server.url())).unwrap();
    let mut told = Vec::new();
    let mut turn = |reactor: &mut Reactor| {
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| told.push(keep(event));
        reactor.turn(Some(soon()), &mut sink).unwrap();
    };
    while !reactor.is_open(id) {
        turn(&mut reactor);
    }
    reactor.send_text(id, "go").unwrap();
    reactor.flush();
    // So that one read brings both.
    wait.recv().unwrap();
    while !reactor.is_empty() {
        turn(&mut reactor);
    }
    assert!(matches!(&told[1], Told::Text(t) if t == "last words"), "{told:?}");
    assert!(matches!(failure(&told).0.kind(), ErrorKind::Tls(_, Some(_))), "{told:?}");
    server.join();
}
