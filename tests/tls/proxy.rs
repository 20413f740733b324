//! TLS through a proxy, TLS to a proxy, and both at once.

use std::sync::Arc;
use std::time::Duration;

use moonwire::peer::{Running, Server as Echo};
use moonwire::proto::http::HttpError;
use moonwire::rustls::ServerConfig;
use moonwire::{
    Closed, Config, Error, ErrorKind, Event, Message, Proxy, ProxyError, ProxyRules, Reactor,
    SocketOptions, Stage, StreamOptions,
};

use crate::common::proxy::{Proxying, Setup};
use crate::common::tls::*;
use crate::common::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn echo(secure: bool) -> Running {
    match secure {
        true => Echo::bind_tls(loopback(), &pem("good.pem"), &pem("good.key")),
        false => Echo::bind(loopback()),
    }
    .unwrap()
    .spawn()
    .unwrap()
}

/// TLS of a proxy with the valid certificate.
fn good() -> Arc<ServerConfig> {
    server_config("good")
}

/// A proxy that clients reach over TLS, with trust in its certificate.
fn trusted(address: std::net::SocketAddr) -> Proxy {
    Proxy::parse(&format!("https://{address}")).unwrap().tls(Arc::new(client()))
}

/// A running proxy for `scheme`.
fn at_work(scheme: &str) -> (Proxying, Proxy) {
    let setup = match scheme {
        "http" => Setup::http(),
        "https" => Setup::http().tls(good()),
        _ => Setup::socks(),
    };
    let proxying = setup.start();
    let proxy = match scheme {
        "https" => trusted(proxying.address),
        _ => Proxy::parse(&format!("{scheme}://{}", proxying.address)).unwrap(),
    };
    (proxying, proxy)
}

fn through(proxy: Proxy) -> Config {
    Config { proxy: ProxyRules::all(proxy), ..trusting() }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn messages_of_every_size_go_both_ways_through_every_proxy_and_the_end_is_clean() {
    for scheme in ["http", "https", "socks5", "socks5h"] {
        for secure in [true, false] {
            let server = echo(secure);
            let (proxying, proxy) = at_work(scheme);
            let mut ws = options(server.url()).connect_with(through(proxy.clone())).unwrap();
            for len in [0, 1, 125, 64 * KIB, 4 * MIB] {
                let message = Message::Binary(pattern(len));
                ws.send(&message).unwrap();
                assert!(ws.read().unwrap() == Some(message), "{len} bytes over {scheme}");
            }
            assert_eq!(ws.close(4000, "done").unwrap().code, Some(4000));
            drop(ws);
            let visit = proxying.visit();
            // FAULTS 46: only the proxy receives data for the proxy. The proxy cannot read data for
            // the server under TLS.
            let start = if secure { &b"\x16\x03"[..] } else { b"GET / HTTP/1.1\r\n" };
            assert!(visit.through.starts_with(start), "{scheme}");
            let head = visit.through.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_default();
            let head = String::from_utf8_lossy(&visit.through[..head]).to_ascii_lowercase();
            assert!(!head.contains("proxy"), "{head}");
            assert_eq!(visit.asked.starts_with("CONNECT "), scheme.starts_with("http"));
            // The blocking face does not wait for the end of TLS; the reactor does.
            let mut reactor = Reactor::new(through(proxy)).unwrap();
            reactor.open(options(server.url())).unwrap();
            let reported = run(&mut reactor, |conn, event| {
                if let Event::Opened(_) = event {
                    conn.close(1000, "").unwrap();
                }
            });
            assert!(
                matches!(reported.last(), Some(OwnedEvent::Closed(Closed::Clean(_)))),
                "{reported:?}"
            );
            assert_eq!(proxying.visit().close_notify, scheme == "https", "{scheme}, {secure}");
        }
    }
}

#[test]
fn both_versions_of_tls_go_over_both() {
    for outer in VERSIONS {
        for (face, inner) in all() {
            let server = answering(Server::new("good").only(inner).config(), 1);
            let config = Arc::new(Server::new("good").only(outer).config());
            let proxying = Setup::http().tls(config).start();
            let url = format!("{}://{}/", face.scheme(), server.address);
            let tried = face.tried(&url, through(trusted(proxying.address)));
            assert_eq!(tried.reason(), None, "{outer:?} {inner:?}");
            assert_eq!(server.join()[0].version(), inner.version);
            assert!(proxying.visit().close_notify);
        }
    }
}

#[test]
fn a_plain_request_goes_to_a_proxy_over_tls_as_it_is() {
    let server = serve(|mut p| {
        let head = p.request().to_owned();
        p.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        p.rest();
        head
    });
    let wants = "dXNlcjpwYXNzd29yZA==";
    let proxying = Setup::http().tls(good()).wants(wants).start();
    let proxy = Proxy::parse(&format!("https://user:password@{}", proxying.address)).unwrap();
    let url = server.url().replacen("ws", "http", 1);
    let config = through(proxy.tls(Arc::new(client())));
    let mut stream = StreamOptions::get(&url).unwrap().timeout(LONG).open_with(config).unwrap();
    assert_eq!(stream.read().unwrap().as_deref(), Some(&b"ok"[..]));
    let transport = stream.response().transport.clone().unwrap();
    assert!(transport.tls.is_none(), "TLS ends at the proxy");
    drop(stream);
    let visit = proxying.visit();
    assert!(visit.asked.starts_with(&format!("GET {url} HTTP/1.1\r\n")), "{}", visit.asked);
    assert!(visit.close_notify);
    let head = server.join();
    assert!(head.starts_with("GET / HTTP/1.1\r\n") && !head.contains("Proxy"), "{head}");
}

/// Much data, through small buffers: each part of a record is written separately.
#[test]
fn a_large_upload_over_tls_in_tls_arrives_though_the_proxy_reads_slowly() {
    for scheme in ["https", "wss"] {
        let body = pattern(15 * MIB);
        let want = body.clone();
        let server = serve_tls("good", move |mut p| {
            let head = p.request().to_owned();
            if head.contains("Sec-WebSocket-Key") {
                p.accept(b"");
                let (first, payload) = p.frame();
                p.write(&close(1000, ""));
                p.close_frame();
                return first == 0x82 && payload == want;
            }
            let got = p.read(want.len());
            p.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            got == want
        });
        let proxying = Setup::http().tls(good()).slow().start();
        let config = through(trusted(proxying.address));
        let socket = SocketOptions::new().send_buffer(4096);
        let url = format!("{scheme}://{}/", server.address);
        let mut reactor = Reactor::new(config).unwrap();
        match scheme {
            "wss" => reactor.open(options(&url).socket(socket)),
            _ => reactor.open(
                StreamOptions::new("POST", &url).unwrap().body(&body).unwrap().socket(socket),
            ),
        }
        .unwrap();
        let reported = run(&mut reactor, |conn, event| {
            if let Event::Opened(_) = event {
                conn.send_binary(&body).unwrap();
            }
        });
        assert!(
            matches!(reported[0], OwnedEvent::Opened | OwnedEvent::Response(_)),
            "{reported:?}"
        );
        assert!(server.join(), "{scheme}");
        assert!(proxying.visit().through.len() > 15 * MIB);
    }
}

fn why(error: &Error) -> &ProxyError {
    assert_eq!(error.stage(), Stage::Proxy, "{error}");
    match error.kind() {
        ErrorKind::Proxy { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_certificate_of_a_proxy_is_verified() {
    // FAULTS 53.
    for name in
        ["expired", "not-yet", "other", "cn-only", "self-signed", "unknown-root", "client-only"]
    {
        for (url, face) in [
            ("ws://127.0.0.1:9/", Face::WebSocket),
            ("wss://127.0.0.1:9/", Face::WebSocket),
            ("http://127.0.0.1:9/", Face::Stream),
            ("https://127.0.0.1:9/", Face::Stream),
        ] {
            let config = Arc::new(Server::new(name).config());
            let server = serving(1, move |tcp| meet(tcp, &config).0);
            let tried = face.tried(url, through(trusted(server.address)));
            let error = tried.error().unwrap();
            let ProxyError::Unreached(kind) = why(error) else { panic!("{error:?}") };
            assert!(matches!(&**kind, ErrorKind::Certificate(..)), "{error:?}");
            let part = format!("{url}: proxy: https://{}: ", server.address);
            assert!(error.to_string().starts_with(&part), "{error}");
            assert!(!error.is_transient(), "{error}");
            assert!(!matches!(server.join()[0].end, End::Request { .. }), "nothing is asked");
        }
    }
    // The roots for servers are not trusted for a proxy.
    let config = Arc::new(Server::new("good").config());
    let server = serving(1, move |tcp| meet(tcp, &config).0);
    let proxy = Proxy::parse(&format!("https://{}", server.address)).unwrap();
    let tried = Face::WebSocket.tried("wss://127.0.0.1:9/", through(proxy));
    let error = tried.error().unwrap();
    let ProxyError::Unreached(kind) = why(error) else { panic!("{error:?}") };
    assert!(matches!(&**kind, ErrorKind::Certificate(..)), "{error:?}");
    assert!(!matches!(server.join()[0].end, End::Request { .. }));
}

#[test]
fn the_certificate_of_a_server_is_verified_behind_a_proxy_that_is_not_blamed_for_it() {
    for scheme in ["http", "https", "socks5h"] {
        for face in FACES {
            let server = answering(Server::new("expired").config(), 1);
            let (_proxying, proxy) = at_work(scheme);
            let url = format!("{}://{}/", face.scheme(), server.address);
            let tried = face.tried(&url, through(proxy));
            assert!(tried.is_certificate(), "{tried:?}");
            assert_eq!(tried.error().unwrap().stage(), Stage::Tls);
            assert!(!tried.reason().unwrap().contains("proxy"), "{tried:?}");
            server.join();
        }
    }
}

#[test]
fn a_certificate_for_servers_is_not_shown_to_a_proxy() {
    // FAULTS 52: a proxy does not get the client certificate for servers, unless it is configured
    // for it.
    for version in VERSIONS {
        for own in [false, true] {
            let config =
                Server { wants_client: true, ..Server::new("good").only(version) }.config();
            let config = Arc::new(config);
            let server = serving(1, move |tcp| meet(tcp, &config).0);
            let tls = if own { with_certificate("client") } else { client() };
            let proxy = Proxy::parse(&format!("https://{}", server.address)).unwrap();
            let config = Config {
                tls: Some(Arc::new(with_certificate("client"))),
                proxy: proxy.tls(Arc::new(tls)).into(),
                ..Config::default()
            };
            let tried = Face::WebSocket.tried("wss://127.0.0.1:9/", config);
            let error = tried.error().unwrap();
            match (server.join()[0].end, own) {
                (End::Request { with_certificate: true, .. }, true) => {
                    assert!(matches!(why(error), ProxyError::Eof | ProxyError::Unreached(_)));
                }
                (End::Other, false) => {
                    let ProxyError::Unreached(kind) = why(error) else { panic!("{error:?}") };
                    assert!(matches!(&**kind, ErrorKind::Tls(..)), "{error:?}");
                    assert!(error.to_string().contains("CertificateRequired"), "{error}");
                }
                (end, _) => panic!("{end:?}: {error}"),
            }
        }
    }
}

#[test]
fn a_certificate_for_servers_is_shown_to_the_server_behind_a_proxy() {
    for face in FACES {
        let server = Server { wants_client: true, ..Server::new("good") };
        let server = answering(server.config(), 1);
        let (proxying, proxy) = at_work("https");
        let tls = Some(Arc::new(with_certificate("client")));
        let config = Config { tls, proxy: proxy.into(), ..Config::default() };
        let tried = face.tried(&format!("{}://{}/", face.scheme(), server.address), config);
        assert_eq!(tried.reason(), None);
        let End::Request { with_certificate, .. } = server.join()[0].end else { panic!() };
        assert!(with_certificate);
        drop(proxying);
    }
}

#[test]
fn a_proxy_that_speaks_no_tls_or_none_any_more_is_reported_as_that() {
    type Speaks = (&'static str, fn(Peer));
    let speaks: [Speaks; 4] = [
        ("plain HTTP", |mut p| {
            p.record();
            p.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
        }),
        ("nothing", |mut p| p.record()),
        ("half a record", |mut p| {
            p.record();
            p.write(b"\x16\x03\x03\x01\0\x02");
        }),
        ("a reset", |mut p| {
            p.record();
            p.reset();
        }),
    ];
    for (what, script) in speaks {
        for url in ["wss://127.0.0.1:9/", "ws://127.0.0.1:9/"] {
            let server = serve(script);
            let tried = Face::WebSocket.tried(url, through(trusted(server.address)));
            let error = tried.error().unwrap();
            assert!(matches!(why(error), ProxyError::Unreached(_) | ProxyError::Eof), "{what}");
            assert!(
                error.to_string().contains(&format!("https://{}: ", server.address)),
                "{error}"
            );
            server.join();
        }
    }
    // A silent proxy has the time limit of the connection.
    let server = serve(|mut p| {
        p.record();
        p.rest();
    });
    let config = through(trusted(server.address));
    let reported = events(options("ws://127.0.0.1:9/").timeout(Duration::from_millis(100)), config);
    let (error, _) = failure(&reported);
    assert_eq!(error.stage(), Stage::Proxy, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error}");
    server.join();
}

#[test]
fn a_refusal_over_tls_is_reported_with_its_body() {
    for url in ["wss://127.0.0.1:9/", "ws://127.0.0.1:9/"] {
        for close_notify in [true, false] {
            let server = serve_tls("good", move |mut p| {
                p.request();
                p.write(b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\nnot today");
                if close_notify {
                    p.close_notify();
                }
            });
            let tried = Face::WebSocket.tried(url, through(trusted(server.address)));
            let error = tried.error().unwrap();
            assert!(matches!(why(error), ProxyError::Status { .. }), "{error:?}");
            assert_eq!(error.response().unwrap().body, b"not today");
            server.join();
        }
    }
}

/// Only the server's own close_notify ends its TLS; that of the proxy does not.
#[test]
fn close_notify_of_a_proxy_ends_no_body_of_the_server() {
    for (close_notify, scheme) in
        [(true, "https"), (false, "https"), (true, "http"), (false, "http")]
    {
        let server = serve_tls("good", move |mut p| {
            p.request();
            p.write(b"HTTP/1.1 200 OK\r\n\r\nsome");
            if close_notify {
                p.close_notify();
            }
        });
        // A proxy over TLS always sends close_notify when the server has ended.
        let (_proxying, proxy) = at_work(scheme);
        let url = format!("https://{}/", server.address);
        let tried = Face::Stream.tried(&url, through(proxy));
        match close_notify {
            true => assert_eq!(tried.reason(), None, "{scheme}"),
            false => {
                let error = tried.error().unwrap();
                assert_eq!(error.stage(), Stage::Body, "{error}");
                assert!(
                    matches!(error.kind(), ErrorKind::Http(HttpError::Truncated { .. }))
                        || matches!(error.kind(), ErrorKind::Tls(..)),
                    "{error:?}"
                );
            }
        }
        server.join();
    }
}

#[test]
fn what_is_reported_of_the_transport_is_the_tls_of_the_server() {
    let chain_len = chain("chain").len();
    for (secure, scheme) in
        [(true, "https"), (true, "http"), (true, "socks5h"), (false, "https"), (true, "")]
    {
        let script = |mut p: Peer| {
            p.accept(&close(1000, ""));
            p.close_frame();
        };
        let server = if secure { serve_tls("chain", script) } else { serve(script) };
        let work = (!scheme.is_empty()).then(|| at_work(scheme));
        let config = match &work {
            Some((_, proxy)) => through(proxy.clone()),
            None => trusting(),
        };
        let mut reactor = Reactor::new(config).unwrap();
        reactor.open(options(&server.url())).unwrap();
        let mut transport = None;
        run(&mut reactor, |_, event| {
            if let Event::Opened(opened) = event {
                transport = opened.transport.clone();
            }
        });
        server.join();
        let transport = transport.unwrap();
        let shown = work.as_ref().map(|(_, proxy)| proxy.to_string());
        assert_eq!(transport.proxy, shown);
        let tls = transport.tls.as_ref();
        assert_eq!(tls.is_some(), secure, "{scheme}");
        if let Some(tls) = tls {
            assert_eq!((&*tls.version, tls.certificates.len()), ("TLSv1_3", chain_len));
            assert_eq!(tls.alpn, None);
            assert_eq!(tls.certificates[0], chain("chain")[0].to_vec());
        }
        let phases = transport.phases;
        assert_eq!((phases.proxy.is_some(), phases.tls.is_some()), (work.is_some(), secure));
        assert!(phases.connect.is_some() && phases.handshake.is_some());
        assert!(phases.resolve.is_none());
    }
}

#[test]
fn a_time_limit_that_passes_in_tls_tells_the_steps_before_it() {
    for face in FACES {
        let server = serve(|mut p| {
            p.record();
            p.rest();
        });
        let url = format!("{}://{}/", face.scheme(), server.address);
        let limit = Duration::from_millis(100);
        let ask = match face {
            Face::WebSocket => options(&url).timeout(limit).into(),
            Face::Stream => moonwire::Ask::from(StreamOptions::get(&url).unwrap().timeout(limit)),
        };
        let reported = events(ask, trusting());
        let (error, _) = failure(&reported);
        assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error:?}");
        assert!(error.phases().connect.is_some() && error.phases().tls.is_none(), "{error}");
        assert!(error.to_string().contains(" (after connect "), "{error}");
        server.join();
    }
}
