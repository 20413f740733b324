//! How a connection over TLS ends: with `close_notify`, without it, with an alert. RFC 8446 §6.1:
//! without `close_notify`, an attacker may have ended it.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use moonwire::proto::CloseFrame;
use moonwire::proto::http::HttpError;
use moonwire::rustls::AlertDescription;
use moonwire::{Closed, Conn, ErrorKind, Event, Reactor, Stage, StreamOptions};

use crate::common::tls::*;
use crate::common::*;

/// How a server ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    CloseNotify,
    /// The server ends TCP without `close_notify`.
    Cut,
    /// A fatal alert.
    Alert,
}

const WAYS: [Leave; 3] = [Leave::CloseNotify, Leave::Cut, Leave::Alert];

impl Leave {
    fn run(self, peer: &mut Peer) {
        match self {
            Leave::CloseNotify => peer.close_notify(),
            Leave::Cut => {}
            Leave::Alert => peer.alert(),
        }
    }
}

/// A server that runs `script` once the handshake is complete.
fn scripted(
    version: &'static moonwire::rustls::SupportedProtocolVersion,
    script: impl Fn(&mut Peer) + Send + 'static,
) -> Scripted<Vec<()>> {
    let config = Arc::new(Server::new("good").only(version).config());
    serving(1, move |tcp| {
        let (_, mut peer) = meet(tcp, &config);
        peer.request();
        script(&mut peer);
    })
}

const ALERT: &str = "TLS: the server aborted with alert BadRecordMac";
const NO_CLOSE: &str = "connection: lost: the stream ended without a close frame";

#[test]
fn a_websocket_is_closed_by_its_close_frame_and_lost_without_one() {
    let text = || frame(0x81, b"x");
    for version in VERSIONS {
        for leave in WAYS {
            for half in [&b""[..], &[0x81], &[0x81, 5, b'h']] {
                let server = scripted(version, move |p| {
                    p.accept(&[&text()[..], half].concat());
                    leave.run(p);
                });
                let tried = Face::WebSocket.open_at(server.address, &Arc::new(client()));
                server.join();
                let what = format!("{version:?}, {leave:?}, {half:?}: {tried:?}");
                assert!(matches!(&tried.reported[1], OwnedEvent::Text(t) if t == "x"), "{what}");
                assert!(matches!(tried.reported[2], OwnedEvent::Closed(Closed::Lost(_))), "{what}");
                let want = if leave == Leave::Alert { ALERT } else { NO_CLOSE };
                assert_eq!(tried.reason().unwrap(), want, "{what}");
            }
            // Both close frames have passed, so there is nothing that an attacker could cut off.
            let server = scripted(version, move |p| {
                p.accept(&[text(), close(4000, "bye")].concat());
                assert_eq!(p.close_code(), 4000);
                leave.run(p);
            });
            let tried = Face::WebSocket.open_at(server.address, &Arc::new(client()));
            server.join();
            assert_eq!(tried.reason(), None, "{version:?}, {leave:?}: {tried:?}");
        }
    }
}

#[test]
fn a_server_that_leaves_before_it_answers() {
    for (face, version) in all() {
        for leave in WAYS {
            for half in ["", "HTTP/1.1 200", "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n"] {
                let server = scripted(version, move |p| {
                    p.write(half.as_bytes());
                    leave.run(p);
                });
                let tried = face.open_at(server.address, &Arc::new(client()));
                server.join();
                let want = match leave {
                    Leave::Alert => ALERT.to_owned(),
                    _ => {
                        let stage = face.stage();
                        format!("{stage}: the server closed the connection without an answer")
                    }
                };
                assert_eq!(tried.refused(), want, "{face:?}, {version:?}, {leave:?}, {half:?}");
            }
        }
    }
}

/// How the end of a response's body is known.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// Its length or its last chunk is known, and all of it has arrived.
    Whole,
    /// Some of it is missing: this many bytes, if the length is known.
    Short(Option<u64>),
    /// The end of the stream is the end of the body, if `close_notify` confirms it.
    UntilEnd,
}

#[test]
fn a_body_is_whole_if_its_length_says_so_or_close_notify() {
    // FAULTS 61; RFC 9112 §9.8.
    for (response, body) in [
        ("Content-Length: 5\r\n\r\nhello", Body::Whole),
        ("Content-Length: 0\r\n\r\n", Body::Whole),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body::Whole),
        ("Content-Length: 7\r\n\r\nhello", Body::Short(Some(2))),
        ("Content-Length: 7\r\n\r\n", Body::Short(Some(7))),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Body::Short(None)),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Body::Short(None)),
        ("Transfer-Encoding: chunked\r\n\r\n9\r\nhello", Body::Short(None)),
        ("\r\nhello", Body::UntilEnd),
        ("\r\n", Body::UntilEnd),
    ] {
        for version in VERSIONS {
            for leave in WAYS {
                let server = scripted(version, move |p| {
                    p.write(format!("HTTP/1.1 200 OK\r\n{response}").as_bytes());
                    leave.run(p);
                });
                let tried = Face::Stream.open_at(server.address, &Arc::new(client()));
                server.join();
                let what = format!("{version:?}, {leave:?}, {response:?}: {tried:?}");
                assert!(matches!(tried.reported[0], OwnedEvent::Response(_)), "{what}");
                check_body(&tried, body, leave, &what);
            }
        }
    }
}

fn check_body(tried: &Tried, body: Body, leave: Leave, what: &str) {
    let missing = match (body, leave) {
        (Body::Whole, _) | (Body::UntilEnd, Leave::CloseNotify) => {
            let end = tried.reported.last();
            return assert!(matches!(end, Some(OwnedEvent::Closed(Closed::Complete))), "{what}");
        }
        (Body::Short(missing), _) => missing,
        (Body::UntilEnd, _) => None,
    };
    assert!(matches!(tried.reported.last(), Some(OwnedEvent::Closed(Closed::Lost(_)))), "{what}");
    let error = tried.error().unwrap();
    assert_eq!(error.status(), Some(200), "{what}");
    if leave == Leave::Alert {
        return assert_eq!(error.reason(), ALERT, "{what}");
    }
    assert_eq!(error.stage(), Stage::Body, "{what}");
    let ErrorKind::Http(HttpError::Truncated(got)) = error.kind() else { panic!("{what}") };
    assert_eq!(*got, missing, "{what}");
}

#[test]
fn a_client_sends_close_notify_too() {
    for (face, version) in all() {
        let config = Arc::new(Server::new("good").only(version).config());
        let server = serving(1, move |tcp| {
            let (_, mut peer) = meet(tcp, &config);
            peer.answer_any();
            if face == Face::WebSocket {
                // RFC 6455 §7.1.1: the server ends the TCP connection first.
                peer.close_notify();
                peer.tcp.shutdown(Shutdown::Write).unwrap();
            }
            peer.gets_close_notify()
        });
        let tried = face.open_at(server.address, &Arc::new(client()));
        assert_eq!((tried.reason(), &server.join()[..]), (None, &[true][..]), "{face:?}");
    }
}

/// A client also sends close_notify if the program releases a response before its end.
#[test]
fn a_client_that_gives_up_a_response_sends_close_notify() {
    for version in VERSIONS {
        let config = Arc::new(Server::new("good").only(version).config());
        let server = serving(1, move |tcp| {
            let (_, mut peer) = meet(tcp, &config);
            peer.request();
            peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
            peer.gets_close_notify()
        });
        let mut reactor = Reactor::new(trusting()).unwrap();
        let get = StreamOptions::get(&format!("https://{}/", server.address)).unwrap();
        let id = reactor.open(get).unwrap();
        let mut answered = false;
        while !answered {
            let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
                answered |= matches!(event, Event::Response(_));
            };
            reactor.turn(Some(soon()), &mut sink).unwrap();
        }
        reactor.release(id, &CloseFrame::new(1001, ""));
        assert_eq!(server.join(), [true], "{version:?}");
    }
}

#[test]
fn an_alert_in_the_handshake_is_named_with_what_may_help() {
    for (alert, want) in [
        (AlertDescription::HandshakeFailure, "HandshakeFailure"),
        (AlertDescription::InternalError, "InternalError"),
        (AlertDescription::UnrecognisedName, "UnrecognisedName; it does not know the host's name"),
        (AlertDescription::Unknown(199), "AlertDescription(0xc7)"),
    ] {
        for face in FACES {
            let server = serving(1, move |tcp| {
                let mut peer = Peer::plain(tcp);
                peer.record();
                peer.write(&[21, 3, 3, 0, 2, 2, u8::from(alert)]);
                peer.rest()
            });
            let tried = face.open_at(server.address, &Arc::new(client()));
            assert!(tried.is_tls());
            assert_eq!(tried.refused(), format!("TLS: the server refused with alert {want}"));
            server.join();
        }
    }
}

/// More bytes than the kernels hold while the server does not read.
const MUCH: usize = 8 << 20;

#[test]
fn close_notify_comes_behind_everything_that_waits() {
    // A server ignores bytes after close_notify, so a close frame there would be lost.
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
    // No thread drives the connection from here on.
    assert_eq!(server.join(), MUCH);
}

#[test]
fn what_came_before_a_broken_record_is_reported() {
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
    let mut reported = Vec::new();
    let mut turn = |reactor: &mut Reactor| {
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| reported.push(keep(event));
        reactor.turn(Some(soon()), &mut sink).unwrap();
    };
    while !reactor.is_open(id) {
        turn(&mut reactor);
    }
    reactor.send_text(id, "go").unwrap();
    reactor.flush();
    // The server has written both, so that one read returns both.
    wait.recv().unwrap();
    while !reactor.is_empty() {
        turn(&mut reactor);
    }
    assert!(matches!(&reported[1], OwnedEvent::Text(t) if t == "last words"), "{reported:?}");
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Tls(_, Some(_))), "{reported:?}");
    server.join();
}
