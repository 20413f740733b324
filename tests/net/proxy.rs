//! Through proxies without TLS: CONNECT, absolute form, SOCKS; refusals; the calls of the policy.

use std::io::ErrorKind as Io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moonwire::peer::{Running, Server};
use moonwire::{
    Client, Config, Conn, ConnId, Error, ErrorKind, Event, EventSource, Limits, Message, Options,
    Override, Policy, Proxy, ProxyError, ProxyRules, Reactor, Stage, StreamOptions,
};

use crate::common::proxy::{Proxying, Setup, Visit};
use crate::common::*;
use crate::secrets::traced;
use crate::web::*;

fn echo() -> Running {
    Server::bind(loopback()).unwrap().spawn().unwrap()
}

fn to(host: &str, to: SocketAddr) -> Override {
    Override { host: host.into(), port: to.port(), to }
}

/// A port at which no server listens.
fn closed_port() -> SocketAddr {
    TcpListener::bind(loopback()).unwrap().local_addr().unwrap()
}

/// A running proxy, and how to use it. If `with_user`, it requires a user and a password.
fn at_work(scheme: &str, with_user: bool, origin: SocketAddr) -> (Proxying, Proxy) {
    let is_socks = scheme.starts_with("socks");
    let setup = if is_socks { Setup::socks() } else { Setup::http() };
    let wants = if is_socks { "user:pass word" } else { "dXNlcjpwYXNzIHdvcmQ=" };
    let setup = if with_user { setup.wants(wants) } else { setup };
    let proxying = setup.knows("a.example", origin).knows("b.example", origin).start();
    let proxy = proxying.proxy(scheme, if with_user { "user:pass%20word@" } else { "" });
    (proxying, proxy)
}

/// Overrides for the name of the proxy, and for `a.example` if the proxy gets addresses.
fn resolve(proxying: &Proxying, proxy: &Proxy, origin: SocketAddr) -> Vec<Override> {
    let mut all = vec![proxying.named()];
    if proxy.scheme() == moonwire::ProxyScheme::Socks5 {
        all.push(to("a.example", origin));
    }
    all
}

/// Every scheme, with a user and without one.
fn kinds() -> impl Iterator<Item = (&'static str, bool)> {
    ["http", "socks5", "socks5h"].into_iter().flat_map(|s| [(s, false), (s, true)])
}

/// The request for a tunnel to `a.example` that a proxy of this kind gets.
fn asked(scheme: &str, with_user: bool, origin: SocketAddr) -> String {
    let port = origin.port();
    let login = if with_user { "user:pass word " } else { "" };
    match scheme {
        "socks5" => format!("{login}address {origin}"),
        "socks5h" => format!("{login}name a.example:{port}"),
        _ => {
            let agent = concat!("User-Agent: moonwire/", env!("CARGO_PKG_VERSION"));
            let user = "Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n";
            let user = if with_user { user } else { "" };
            format!(
                "CONNECT a.example:{port} HTTP/1.1\r\nHost: a.example:{port}\r\n{user}{agent}\r\n\r\n"
            )
        }
    }
}

fn shows_no_proxy_field(visit: &Visit) {
    let head = String::from_utf8_lossy(&visit.through).to_ascii_lowercase();
    assert!(head.starts_with("get / http/1.1\r\n"), "{head}");
    for word in ["proxy", "dxnlcjpwyxnzihdvcmq"] {
        assert!(!head.contains(word), "{head}");
    }
}

#[test]
fn a_web_socket_goes_through_every_kind_of_proxy_by_every_face() {
    // FAULTS 46: no server behind a proxy gets the proxy's credentials. FAULTS 47: a name is sent
    // whole.
    for (scheme, with_user) in kinds() {
        let server = echo();
        let origin = server.address();
        let (proxying, proxy) = at_work(scheme, with_user, origin);
        let config = || Config {
            proxy: ProxyRules::all(proxy.clone()),
            resolve: resolve(&proxying, &proxy, origin),
            ..Config::default()
        };
        let url = format!("ws://a.example:{}/", origin.port());
        let check = || {
            let visit = proxying.visit();
            assert_eq!(visit.asked, asked(scheme, with_user, origin));
            shows_no_proxy_field(&visit);
        };
        let mut ws = options(&url).connect_with(config()).unwrap();
        ws.send_text("hello").unwrap();
        assert_eq!(ws.read().unwrap(), Some(Message::Text("hello".into())));
        assert_eq!(ws.close(1000, "").unwrap().code, Some(1000));
        drop(ws);
        check();

        let mut reactor = Reactor::new(config()).unwrap();
        reactor.open(options(&url)).unwrap();
        let reported = run(&mut reactor, |conn, event| match event {
            Event::Opened(_) => conn.send_text("hello").unwrap(),
            Event::Text(_) => conn.close(1000, "").unwrap(),
            _ => {}
        });
        assert!(matches!(&reported[1], OwnedEvent::Text(text) if text == "hello"), "{reported:?}");
        check();

        let (client, mut events) = Client::spawn(config()).unwrap();
        let id = client.open(options(&url)).unwrap();
        let mut over = false;
        while !over {
            let count = events.wait(Some(soon()), |_, event| match event {
                Event::Opened(_) => client.send_text(id, "hello").unwrap(),
                Event::Text(_) => client.close(id, 1000, "").unwrap(),
                Event::Closed(closed) => {
                    assert!(matches!(closed, moonwire::Closed::Clean(_)), "{closed:?}");
                    over = true;
                }
                _ => {}
            });
            assert!(count.unwrap() > 0, "hangs");
        }
        check();
    }
}

#[test]
fn streams_and_event_sources_go_through_every_kind_of_proxy() {
    for (scheme, with_user) in kinds() {
        let body = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
        let server = listen(|l| answer_each_and_part(&l, &[FINE, body]));
        let origin = server.address;
        let (proxying, proxy) = at_work(scheme, with_user, origin);
        let config = || Config {
            proxy: ProxyRules::all(proxy.clone()),
            resolve: resolve(&proxying, &proxy, origin),
            ..Config::default()
        };
        let url = format!("http://a.example:{}/x?y", origin.port());
        let mut stream = get(&url).open_with(config()).unwrap();
        assert_eq!(stream.read().unwrap().as_deref(), Some(&b"fine"[..]));
        drop(stream);
        let mut source = EventSource::new(get(&url)).config(config());
        assert_eq!(source.next_event().unwrap().unwrap().data, "x");
        drop(source);
        for _ in 0..2 {
            let visit = proxying.visit();
            match scheme {
                "http" => {
                    let port = origin.port();
                    let start = format!(
                        "GET http://a.example:{port}/x?y HTTP/1.1\r\nHost: a.example:{port}\r\n"
                    );
                    assert!(visit.asked.starts_with(&start), "{}", visit.asked);
                    let user = "\r\nProxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n";
                    assert_eq!(visit.asked.contains(user), with_user, "{}", visit.asked);
                }
                _ => assert_eq!(visit.asked, asked(scheme, with_user, origin)),
            }
        }
        for head in server.join() {
            assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
            assert!(!head.to_ascii_lowercase().contains("proxy"), "{head}");
        }
    }
}

/// Answers each client and ends the connection; returns the requests.
fn answer_each_and_part(listener: &TcpListener, answers: &[&str]) -> Vec<String> {
    let each = answers.iter().map(|answer| {
        let mut peer = Peer::plain(listener.accept().unwrap().0);
        let request = peer.request().to_owned();
        peer.write(answer.as_bytes());
        request
    });
    each.collect()
}

#[test]
fn a_field_for_the_proxy_reaches_it_alone_and_takes_the_place_of_user_and_password() {
    let server = echo();
    let (proxying, proxy) = at_work("http", false, server.address());
    let user = proxying.proxy("http", "user:password@");
    for (proxy, name, value, basic) in [
        (proxy, "X-Team", "lunar", false),
        (user.clone(), "X-Team", "lunar", true),
        (user, "Proxy-Authorization", "Bearer abcdef", false),
    ] {
        let proxy = proxy.header(name, value).unwrap();
        let config = Config { resolve: vec![proxying.named()], ..Config::default() };
        let url = format!("ws://a.example:{}/", server.port());
        drop(options(&url).proxy(proxy).connect_with(config).unwrap());
        let visit = proxying.visit();
        assert!(visit.asked.contains(&format!("\r\n{name}: {value}\r\n")), "{}", visit.asked);
        assert_eq!(visit.asked.contains("Basic "), basic, "{}", visit.asked);
        let head = String::from_utf8_lossy(&visit.through);
        assert!(!head.contains(value), "{head}");
    }
    // SOCKS has no fields. A field of HTTP must not break its line, and must not replace one of the
    // client.
    for (proxy, name, value) in [
        ("socks5://a", "X-Team", "moon"),
        ("http://a", "X-Team", "moon\r\nX: y"),
        ("http://a", "Proxy-Authorization", "a\r\nX: y"),
        ("http://a", "Host", "b"),
        ("http://a", "Content-Length", "5"),
    ] {
        assert!(Proxy::parse(proxy).unwrap().header(name, value).is_err(), "{proxy} {name}");
    }
}

#[test]
fn a_field_that_a_plain_request_has_itself_stands_once() {
    let server = listen(|l| answer_each_and_part(&l, &[FINE; 2]));
    let (proxying, proxy) = at_work("http", false, server.address);
    let fields = [("User-Agent", "proxy/1"), ("accept", "proxy/2"), ("X-Team", "proxy/3")];
    let proxy =
        fields.iter().fold(proxy, |proxy, (name, value)| proxy.header(name, value).unwrap());
    for own in [false, true] {
        let config = Config { resolve: vec![proxying.named()], ..Config::default() };
        let mut ask = get(&format!("http://a.example:{}/", server.address.port()));
        if own {
            ask = ask.header("user-agent", "own/1").unwrap().header("X-Team", "own/3").unwrap();
        }
        drop(ask.proxy(proxy.clone()).open_with(config).unwrap());
        let head = proxying.visit().asked.to_ascii_lowercase();
        for name in ["user-agent", "accept", "x-team"] {
            assert_eq!(head.matches(&format!("\r\n{name}: ")).count(), 1, "{head}");
        }
        assert_eq!(head.contains("proxy/3"), !own, "{head}");
        assert!(!head.contains("proxy/1") && !head.contains("proxy/2"), "{head}");
    }
    server.join();
}

#[test]
fn an_override_is_what_a_proxy_gets_but_for_a_request_that_it_takes_itself() {
    for (scheme, stream, reported) in [
        ("http", false, "CONNECT 127.0.0.9:81 "),
        ("http", true, "GET http://a.example:81/ "),
        ("socks5", true, "address 127.0.0.9:81"),
        ("socks5h", false, "address 127.0.0.9:81"),
    ] {
        let setup = if scheme == "http" { Setup::http() } else { Setup::socks() };
        let nobody = closed_port();
        let proxying = setup.knows("127.0.0.9", nobody).knows("a.example", nobody).start();
        let by = Override {
            host: "a.example".into(),
            port: 81,
            to: SocketAddr::from(([127, 0, 0, 9], 81)),
        };
        let asked = Asked::default();
        let config = Config {
            proxy: proxying.proxy(scheme, "").into(),
            resolve: vec![proxying.named(), by],
            policy: noting(&asked, usize::MAX - 1),
            ..Config::default()
        };
        match stream {
            true => ended(events(get("http://a.example:81/"), config)),
            false => ended(events(options("ws://a.example:81/"), config)),
        };
        let visit = proxying.visit();
        assert!(visit.asked.starts_with(reported), "{}", visit.asked);
        // The policy gets the address if the proxy gets it.
        let asked = asked.lock().unwrap();
        let seen = asked.iter().any(|(_, _, address)| address.as_deref() == Some("127.0.0.9"));
        assert_eq!(seen, !reported.starts_with("GET"), "{asked:?}");
    }
}

#[test]
fn rules_choose_the_proxy_and_options_overrule_them() {
    // FAULTS 48: the matrix of names is in src/net/ask/proxy.rs.
    let server = echo();
    let origin = server.address();
    let (by_rule, rule) = at_work("http", false, origin);
    let (by_option, option) = at_work("socks5h", false, origin);
    let rules = |except: &str| ProxyRules::all(rule.clone()).except(except).unwrap();
    let plain: fn(Options, &Proxy) -> Options = |o, _| o;
    let none: fn(Options, &Proxy) -> Options = |o, _| o.no_proxy();
    let own: fn(Options, &Proxy) -> Options = |o, proxy| o.proxy(proxy.clone());
    // The number of connections of both proxies so far.
    for (rules, with, seen) in [
        (rules(""), plain, (1, 0)),
        (rules("b.example, 10.0.0.0/8"), plain, (2, 0)),
        (rules("a.example"), plain, (2, 0)),
        (rules(".example"), plain, (2, 0)),
        (rules("*"), plain, (2, 0)),
        (rules(&format!("a.example:{}", origin.port())), plain, (2, 0)),
        (rules("a.example:1"), plain, (3, 0)),
        (rules(""), none, (3, 0)),
        (rules(""), own, (3, 1)),
        (rules("*"), own, (3, 2)),
        (ProxyRules::none(), own, (3, 3)),
        (ProxyRules::none(), plain, (3, 3)),
        (ProxyRules::none().secure(Some(rule.clone())), plain, (3, 3)),
        (ProxyRules::none().plain(Some(rule.clone())), plain, (4, 3)),
    ] {
        let named = [by_rule.named(), by_option.named(), to("a.example", origin)].into();
        let shown = format!("{rules:?}");
        let config = Config { proxy: rules, resolve: named, ..Config::default() };
        let ask = with(options(&format!("ws://a.example:{}/", origin.port())), &option);
        drop(ask.connect_with(config).unwrap());
        assert_eq!((by_rule.count(), by_option.count()), seen, "{shown}");
    }
    // A stream has the same two options.
    for (own, seen) in [(true, (4, 4)), (false, (4, 4))] {
        let named = [by_rule.named(), by_option.named(), to("a.example", origin)].into();
        let config = Config { proxy: rules(""), resolve: named, ..Config::default() };
        let ask = get(&format!("http://a.example:{}/done", origin.port()));
        let ask = if own { ask.proxy(option.clone()) } else { ask.no_proxy() };
        drop(ask.open_with(config).unwrap());
        assert_eq!((by_rule.count(), by_option.count()), seen);
    }
}

#[test]
fn each_hop_of_a_redirect_has_its_own_proxy_and_no_origin_sees_a_field_for_one() {
    // FAULTS 46: on a hop without a proxy the request has the form for an origin server.
    for first_direct in [false, true] {
        let second = listen(|l| answer_each(&l, &[FINE.to_owned()]).remove(0));
        let host = if first_direct { "a.example" } else { "127.0.0.1" };
        let there = format!("http://{host}:{}/there", second.address.port());
        let first = listen(move |l| answer_each(&l, &[found(302, &there)]).remove(0));
        let behind = if first_direct { second.address } else { first.address };
        let wants = "dXNlcjpwYXNzIHdvcmQ=";
        let proxying = Setup::http().wants(wants).knows("a.example", behind).start();
        let proxy = proxying.proxy("http", "user:pass%20word@").header("Proxy-Team", "x").unwrap();
        let config = Config {
            proxy: ProxyRules::all(proxy).except("127.0.0.0/8").unwrap(),
            resolve: vec![proxying.named()],
            ..Config::default()
        };
        let host = if first_direct { "127.0.0.1" } else { "a.example" };
        let reported = events(get(&format!("http://{host}:{}/", first.address.port())), config);
        assert!(is_complete(&reported), "{reported:?}");
        let visit = proxying.visit();
        let path = if first_direct { "/there" } else { "/" };
        let start = format!("GET http://a.example:{}{path} HTTP/1.1\r\n", behind.port());
        assert!(visit.asked.starts_with(&start), "{}", visit.asked);
        assert!(visit.asked.contains("\r\nProxy-Team: x\r\n"), "{}", visit.asked);
        assert_eq!(proxying.count(), 1);
        for (head, path) in [(first.join(), "/"), (second.join(), "/there")] {
            assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
            assert!(!head.contains("Proxy") && !head.contains(wants), "{head}");
        }
    }
}

// Refusals of proxies.

/// Opens a WebSocket over a proxy that runs `script`. `proxy` is its scheme and its user. Returns
/// the events, the trace, and the result of the script.
fn against<R: Send + 'static>(
    proxy: &str,
    limit: Duration,
    script: impl FnOnce(Peer) -> R + Send + 'static,
) -> (Vec<OwnedEvent>, Vec<String>, R) {
    let server = serve(script);
    let proxy = format!("{proxy}127.0.0.1:{}", server.address.port());
    let config = Config {
        proxy: Proxy::parse(&proxy).unwrap().into(),
        resolve: vec![],
        ..Config::default()
    };
    let (reported, lines) = traced(options("ws://a.example/x?y").timeout(limit), config);
    // If the script fails, its error does not say why the client closed. These lines do.
    println!("{reported:?}\n{}", lines.join("\n"));
    (reported, lines, server.join())
}

/// The error of a proxy that answers `CONNECT` with these bytes and ends the connection.
fn answered(user: &str, answer: &str) -> (Error, Vec<String>) {
    let answer = answer.to_owned();
    let (reported, lines, ()) = against(&format!("http://{user}"), LONG, move |mut p| {
        p.request();
        let _ = p.try_write(answer.as_bytes());
    });
    (ended(reported), lines)
}

/// The error of a connection that was never open.
fn ended(mut reported: Vec<OwnedEvent>) -> Error {
    assert_eq!(reported.len(), 1, "{reported:?}");
    match reported.pop() {
        Some(OwnedEvent::Closed(moonwire::Closed::Failed(e))) => e,
        other => panic!("{other:?}"),
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
fn a_refusal_is_reported_with_its_status_its_fields_its_body_and_what_to_do() {
    for (user, answer, status, part, transient) in [
        (
            "",
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
            407,
            "it answered 407 Who; it requires a user name and a password: USER:PASSWORD@ before its host",
            false,
        ),
        (
            "user:password@",
            "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
            407,
            "it answered 407 Who; it does not accept the user name and the password",
            false,
        ),
        (
            "",
            "HTTP/1.1 403 No\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot today",
            403,
            "it answered 403 No: not today",
            false,
        ),
        (
            "",
            "HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>not</h",
            403,
            "it answered 403 No",
            false,
        ),
        (
            "",
            "HTTP/1.1 502 Bad\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\n\r\n",
            502,
            "it answered 502 Bad: down",
            true,
        ),
        ("", "HTTP/1.1 503 Busy\r\n\r\nuntil the end", 503, "503 Busy: until the end", true),
        ("", "HTTP/1.1 101 Odd\r\n\r\n", 101, "it answered 101 Odd", false),
        ("", "HTTP/1.1 302 F\r\nLocation: http://b/\r\n\r\n", 302, "it answered 302 F", false),
    ] {
        let (error, _) = answered(user, answer);
        assert!(matches!(why(&error), ProxyError::Status { .. }), "{error}");
        assert_eq!(error.status(), Some(status), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
        let response = error.response().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        if status != 502 {
            assert!(body.as_bytes().starts_with(&response.body), "{error}");
        }
        let field = |name| response.headers.all(name).next();
        assert_eq!(field("Proxy-Authenticate").is_some(), status == 407);
        let text = error.to_string();
        assert!(text.starts_with("ws://a.example/x?***: proxy: http://127.0.0.1:"), "{text}");
        assert!(text.contains(part), "{text}");
        assert_eq!(error.retry_after(), (status == 502).then_some(Duration::from_secs(7)));
    }
}

#[test]
fn nothing_that_is_secret_stands_in_what_a_refusal_shows() {
    // FAULTS 46: the 407 repeats a secret of the request.
    let basic = "aGlkZGVuX3VzZXI6aGlkZGVuX3dvcmQ=";
    for repeated in ["hidden_user", "hidden_word", basic, "hidden_field"] {
        let body = format!("no way, {repeated}");
        let answer = format!(
            "HTTP/1.1 407 No {repeated}\r\nX-Field: {repeated}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let server = serve(move |mut p| {
            let head = p.request().to_owned();
            p.write(answer.as_bytes());
            head
        });
        let text = format!("http://hidden_user:hidden_word@127.0.0.1:{}", server.address.port());
        let proxy = Proxy::parse(&text).unwrap();
        let proxy = proxy.header("Authorization", "hidden_field").unwrap();
        let ask = options("ws://a.example/").proxy(proxy.clone());
        let mut shown = format!("{proxy} {proxy:?} {ask:?}");
        let config = Config { proxy: proxy.into(), ..Config::default() };
        shown += &format!("{config:?}");
        let (reported, lines) = traced(ask, config);
        let head = server.join();
        assert!(head.contains(&format!("Proxy-Authorization: Basic {basic}\r\n")), "{head}");
        let error = ended(reported);
        assert_eq!(error.status(), Some(407));
        shown += &format!("{error} {error:?} {:#?} {}\n", error, error.reason());
        shown += &lines.join("\n");
        for secret in ["hidden_user", "hidden_word", "hidden_field", basic] {
            assert!(!shown.contains(secret), "{repeated}: {shown}");
        }
        // This shows that there is a trace.
        assert!(shown.contains("Proxy-Authorization: ***"), "{shown}");
    }
}

/// FAULTS 46: the proxy forwards the request, or is no proxy, and repeats a secret of the request.
#[test]
fn nothing_that_is_secret_stands_in_what_else_a_proxy_answers() {
    let basic = "aGlkZGVuX3VzZXI6aGlkZGVuX3dvcmQ=";
    for repeated in ["hidden_user", "hidden_word", basic, "hidden_field"] {
        for (answer, url) in [
            ("HTTP/1.1 407 No @\r\nX-Field: @\r\nContent-Length: 0\r\n\r\n", "http://a.example/"),
            (
                "HTTP/1.1 302 Go\r\nLocation: ftp://a/@\r\nContent-Length: 0\r\n\r\n",
                "http://a.example/",
            ),
            ("-ERR what is @\r\n", "http://a.example/"),
            ("-ERR what is @\r\n", "ws://a.example/"),
            ("-ERR it is too long to be shown as a whole, but it begins: @\r\n", "ws://a.example/"),
            ("HTTP/1.1 2x0 @\r\n\r\n", "ws://a.example/"),
        ] {
            let answer = answer.replace('@', repeated);
            let server = serve(move |mut p| {
                p.request();
                p.write(answer.as_bytes());
            });
            let text =
                format!("http://hidden_user:hidden_word@127.0.0.1:{}", server.address.port());
            let proxy = Proxy::parse(&text).unwrap().header("X-Api-Key", "hidden_field").unwrap();
            let config = Config { proxy: proxy.into(), ..Config::default() };
            let (reported, lines) = match url.starts_with("ws") {
                true => traced(options(url), config),
                false => traced(StreamOptions::new("GET", url).unwrap(), config),
            };
            server.join();
            let mut shown = lines.join("\n");
            for reported in &reported {
                if let OwnedEvent::Closed(moonwire::Closed::Failed(error)) = reported {
                    shown += &format!("{error} {error:?} {:?}\n", error.kind());
                }
            }
            for secret in ["hidden_", "hidden_word", "hidden_field", &basic[..6]] {
                assert!(!shown.contains(secret), "{url} {repeated}: {shown}");
            }
            assert!(shown.contains("Proxy-Authorization: ***"), "{shown}");
        }
    }
}

#[test]
fn a_proxy_that_closes_within_its_answer_is_reported_as_that() {
    let answer = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for cut in 0..answer.len() {
        let (error, _) = answered("", &answer[..cut]);
        assert!(matches!(why(&error), ProxyError::Eof), "{cut}: {error:?}");
        assert!(error.is_transient(), "{error}");
    }
    // The error has the part of a refusal that has arrived.
    let answer = "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nnot today";
    let head = answer.len() - "not today".len();
    for cut in head..answer.len() {
        let (error, _) = answered("", &answer[..cut]);
        assert_eq!(error.status(), Some(403), "{cut}: {error}");
        assert_eq!(error.response().unwrap().body, &answer.as_bytes()[head..cut]);
    }
    let answer = b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x50";
    for cut in 0..answer.len() {
        let (reported, _, ()) = against("socks5h://", LONG, move |mut p| {
            p.read(3);
            p.write(&answer[..cut.min(2)]);
            if cut >= 2 {
                p.read(5 + "a.example".len() + 2);
                p.write(&answer[2..cut]);
            }
        });
        let error = ended(reported);
        assert!(matches!(why(&error), ProxyError::Eof), "{cut}: {error:?}");
    }
}

#[test]
fn an_answer_in_single_bytes_is_an_answer() {
    for (proxy, answers) in [
        (
            "http://",
            vec![&b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..]],
        ),
        ("socks5h://", vec![&b"\x05\0"[..], b"\x05\0\0\x03\x04name\0\x50"]),
    ] {
        let is_http = proxy == "http://";
        let (reported, _, ()) = against(proxy, LONG, move |mut p| {
            for (i, answer) in answers.into_iter().enumerate() {
                match i {
                    _ if is_http => drop(p.request().to_owned()),
                    0 => drop(p.read(3)),
                    _ => drop(p.read(5 + "a.example".len() + 2)),
                }
                answer.iter().for_each(|byte| p.write(&[*byte]));
            }
            p.head.clear();
            p.accept(&close(1000, ""));
            p.close_frame();
        });
        assert!(matches!(reported[0], OwnedEvent::Opened), "{reported:?}");
    }
}

#[test]
fn the_time_of_the_opening_holds_for_a_proxy_that_drips() {
    // FAULTS 47: single bytes do not extend the time limit.
    for proxy in ["http://", "socks5h://", "socks5h://u:p@"] {
        let (reported, _, ()) = against(proxy, Duration::from_millis(200), move |mut p| {
            p.tcp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let mut bytes = match proxy {
                "http://" => b"HTTP/1.1 200 ".iter().chain(b"a".iter().cycle().take(5000)),
                "socks5h://" => {
                    b"\x05\0\x05\0\0\x03\xff".iter().chain(b"a".iter().cycle().take(200))
                }
                _ => b"\x05\x02\x01\0\x05\0\0\x03\xff".iter().chain(b"a".iter().cycle().take(200)),
            };
            // The proxy sends single bytes until the client has closed.
            let mut received = [0; 512];
            loop {
                match std::io::Read::read(&mut p.tcp, &mut received) {
                    Ok(0) => return,
                    Err(e) if !is_timeout(&e) => return,
                    _ => {}
                }
                if let Some(byte) = bytes.next()
                    && p.try_write(&[*byte]).is_err()
                {
                    return;
                }
            }
        });
        let error = ended(reported);
        assert_eq!(error.stage(), Stage::Proxy, "{proxy}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error}");
        assert!(error.is_transient());
        assert!(error.phases().connect.is_some() && error.phases().proxy.is_none());
        assert!(error.to_string().contains(" (after connect "), "{error}");
    }
}

#[test]
fn what_is_no_answer_or_too_much_of_one_ends_it() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000));
    let long = format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(20_000));
    let interim = |n| "HTTP/1.1 103 Early\r\n\r\n".repeat(n);
    let is_head: fn(&ProxyError) -> bool = |why| matches!(why, ProxyError::Head(_));
    let is_early: fn(&ProxyError) -> bool = |why| matches!(why, ProxyError::Early);
    for (answer, is) in [
        ("SSH-2.0-OpenSSH\r\n", is_head),
        ("\x05\0", is_head),
        ("\x15\x03\x03\0\x02\x02\x28", is_head),
        ("GET / HTTP/1.1\r\n\r\n", is_head),
        ("HTTP/2 200\r\n\r\n", is_head),
        ("HTTP/1.1 200 OK\r\nA b\r\n\r\n", is_head),
        (&many, is_head),
        (&long, is_head),
        (&interim(17), |why| matches!(why, ProxyError::ManyInterim)),
        ("HTTP/1.1 200 OK\r\n\r\nmore", is_early),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore", is_early),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", is_early),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n", is_early),
    ] {
        let (error, _) = answered("", answer);
        assert!(is(why(&error)), "{answer:.60}: {error:?}");
        assert!(!error.is_transient() && error.status().is_none(), "{error}");
        assert!(error.to_string().len() < 400, "{error}");
    }
    // So many interim responses are allowed.
    let (error, _) = answered("", &(interim(16) + "HTTP/1.1 200 OK\r\n\r\n"));
    assert_eq!(error.stage(), Stage::Handshake, "{error}");
}

/// Runs SOCKS up to the reply to the request, sends `reply`, and ends the connection.
fn replies(reply: &[u8]) -> Error {
    let reply = reply.to_vec();
    let (reported, ..) = against("socks5h://", LONG, move |mut p| {
        p.read(3);
        p.write(b"\x05\0");
        p.read(5 + "a.example".len() + 2);
        p.write(&reply);
    });
    ended(reported)
}

#[test]
fn each_error_of_socks_has_its_text() {
    for (code, words, transient) in [
        (1, "general failure", true),
        (2, "its rules do not allow it", false),
        (3, "the network cannot be reached", true),
        (4, "the host cannot be reached", true),
        (5, "the connection was refused", true),
        (6, "time to live expired", true),
        (7, "it does not support the command", false),
        (8, "it does not support the type of address", false),
        (9, "an error that RFC 1928 does not define", false),
        (255, "an error that RFC 1928 does not define", false),
    ] {
        let error = replies(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(why(&error), ProxyError::Socks(c) if *c == code), "{error:?}");
        assert!(error.to_string().contains(&format!("it has not connected: {words}")), "{error}");
        assert!(error.to_string().contains(&format!("(code {code})")), "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
    }
    let error = replies(b"\x04\x5a\0\0\0\0\0\0");
    assert!(matches!(why(&error), ProxyError::NotSocks(4)), "{error:?}");
    let error = replies(&[5, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(why(&error), ProxyError::AddressType(2)), "{error:?}");
    let error = replies(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0, b'x']);
    assert!(matches!(why(&error), ProxyError::Early), "{error:?}");
    // The proxy chooses the authentication method.
    for (proxy, method, words) in [
        ("socks5h://", 2, "it requires a user name and a password: USER:PASSWORD@ before its host"),
        ("socks5h://", 255, "it accepts no authentication method that was offered"),
        ("socks5h://hidden_user:hidden_word@", 255, "it accepts no authentication method"),
        ("socks5h://hidden_user:hidden_word@", 1, "it chose authentication method 1"),
    ] {
        let greeting = if proxy.contains('@') { 4 } else { 3 };
        let (reported, ..) = against(proxy, LONG, move |mut p| {
            p.read(greeting);
            p.write(&[5, method]);
        });
        let error = ended(reported);
        assert!(matches!(why(&error), ProxyError::Method(m) if *m == method), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error} {error:?}").contains("hidden"), "{error:?}");
    }
    let (reported, lines, login) = against("socks5h://hidden_user:hidden_word@", LONG, |mut p| {
        p.read(4);
        p.write(&[5, 2]);
        let login = p.read(1 + 1 + 11 + 1 + 11);
        p.write(&[1, 1]);
        login
    });
    assert_eq!(login, b"\x01\x0bhidden_user\x0bhidden_word");
    let error = ended(reported);
    assert!(matches!(why(&error), ProxyError::Login), "{error:?}");
    assert!(
        error.to_string().ends_with("it does not accept the user name and the password"),
        "{error}"
    );
    let shown = format!("{error} {error:?} {lines:?}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn a_second_address_is_sent_on_another_connection_when_the_first_is_refused() {
    // The proxy's reply for each address that it gets: 0 opens the tunnel.
    for (codes, opens) in [(vec![5, 0], true), (vec![1, 4, 0], true), (vec![5, 4], false)] {
        let dead: Vec<_> = (1..=codes.len() as u8).map(|n| [127, 0, 0, n]).collect();
        let addresses = dead.clone();
        let count = codes.len();
        let proxy = listen({
            let codes = codes.clone();
            move |listener| {
                let mut reported = Vec::new();
                for code in codes {
                    let mut peer = Peer::plain(listener.accept().unwrap().0);
                    peer.read(3);
                    peer.write(b"\x05\0");
                    let request = peer.read(10);
                    reported.push(request[4..8].to_vec());
                    peer.write(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
                    match code {
                        0 => {
                            peer.accept(&close(1000, ""));
                            peer.close_frame();
                        }
                        _ => assert_eq!(peer.rest(), 0, "nothing follows the refusal"),
                    }
                }
                reported
            }
        });
        let each = |ip: [u8; 4]| Override {
            host: "many.example".into(),
            port: 81,
            to: SocketAddr::from((ip, 81)),
        };
        let config = Config {
            resolve: addresses.into_iter().map(each).collect(),
            proxy: Proxy::parse(&format!("socks5://{}", proxy.address)).unwrap().into(),
            ..Config::default()
        };
        let reported = events(options("ws://many.example:81/"), config);
        assert_eq!(proxy.join(), dead, "each in its turn");
        match opens {
            true => assert!(matches!(reported[0], OwnedEvent::Opened), "{reported:?}"),
            false => {
                let error = ended(reported);
                let last = *codes.last().unwrap();
                assert!(matches!(why(&error), ProxyError::Socks(c) if *c == last), "{error:?}");
            }
        }
        assert!(count > 1);
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named_at_its_stage() {
    let closed = closed_port();
    for scheme in ["http", "socks5", "socks5h"] {
        let proxy = format!("{scheme}://u:hidden@{closed}");
        let config = Config {
            proxy: Proxy::parse(&proxy).unwrap().into(),
            resolve: vec![to("a.example", SocketAddr::from(([127, 0, 0, 9], 80)))],
            ..Config::default()
        };
        for reported in [
            events(options("ws://a.example:80/"), config_of(&config)),
            events(get("http://a.example:80/"), config_of(&config)),
        ] {
            let error = ended(reported);
            let ProxyError::Unreached(kind) = why(&error) else { panic!("{error:?}") };
            assert!(matches!(&**kind, ErrorKind::Connect(all) if all.len() == 1), "{error:?}");
            let part = format!("proxy: {scheme}://{closed}: {closed}: Connection refused");
            assert!(error.to_string().contains(&part), "{error}");
            assert!(error.is_transient() && !format!("{error:?}").contains("hidden"));
        }
        // The name of the proxy does not resolve.
        let proxy = Proxy::parse(&format!("{scheme}://proxy.invalid")).unwrap();
        let resolve = config.resolve.clone();
        let config = Config { proxy: proxy.into(), resolve, ..Config::default() };
        let mut reactor = Reactor::with_sys(Watched::new(), config).unwrap();
        reactor.open(options("ws://a.example:80/")).unwrap();
        let error = ended(run(&mut reactor, |_, _| {}));
        let ProxyError::Unreached(kind) = why(&error) else { panic!("{error:?}") };
        assert!(matches!(&**kind, ErrorKind::Resolve(_)), "{error:?}");
        assert!(
            error.to_string().contains(&format!("proxy: {scheme}://proxy.invalid:")),
            "{error}"
        );
    }
    // The client resolves the URL's host. It sends the proxy nothing, since there is no address.
    let config = Config {
        proxy: Proxy::parse(&format!("socks5://{closed}")).unwrap().into(),
        ..Config::default()
    };
    let mut reactor = Reactor::with_sys(Watched::new(), config).unwrap();
    reactor.open(options("ws://a.example/")).unwrap();
    let error = ended(run(&mut reactor, |_, _| {}));
    assert_eq!(error.stage(), Stage::Resolve, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Resolve(_)), "{error:?}");
}

/// A copy of the proxy rules and the overrides.
fn config_of(config: &Config) -> Config {
    Config { proxy: config.proxy.clone(), resolve: config.resolve.clone(), ..Config::default() }
}

// Calls of the policy.

/// The calls of a policy: whether the target is the proxy, its host, and its address.
type Asked = Arc<Mutex<Vec<(bool, String, Option<String>)>>>;

/// A policy that records its calls and refuses the one with the number `refused`.
fn noting(asked: &Asked, refused: usize) -> Policy {
    let asked = Arc::clone(asked);
    Policy::open().and(move |to| {
        let mut asked = asked.lock().unwrap();
        let address = to.address.map(|ip| ip.to_string());
        asked.push((to.is_proxy, to.host.to_string(), address));
        if asked.len() == refused + 1 { Err("not that".to_owned()) } else { Ok(()) }
    })
}

#[test]
fn the_policy_is_asked_for_the_url_then_for_the_proxy_and_for_each_address_that_is_known() {
    // FAULTS 62, behind a proxy.
    let named = |is_proxy, host: &str, address: Option<&str>| {
        (is_proxy, host.to_owned(), address.map(str::to_owned))
    };
    let (url, proxy) = (named(false, "a.example", None), named(true, "proxy.example", None));
    let proxy_at = named(true, "proxy.example", Some("127.0.0.1"));
    let url_at = named(false, "a.example", Some("127.0.0.3"));
    let by_name = vec![url.clone(), proxy.clone(), proxy_at.clone()];
    let by_address = vec![url, proxy, url_at, proxy_at];
    for (scheme, stream, want) in [
        ("http", false, by_name.clone()),
        ("http", true, by_name.clone()),
        ("socks5h", false, by_name),
        ("socks5", false, by_address.clone()),
        ("socks5", true, by_address),
    ] {
        for refused in 0..=want.len() {
            let is_fine = refused == want.len();
            // A proxy that closes its connection. Returns whether there was one.
            let server = listen(move |listener| {
                listener.set_nonblocking(!is_fine).unwrap();
                listener.accept().map(drop).is_ok()
            });
            let asked = Asked::default();
            let proxy = format!("{scheme}://proxy.example:{}", server.address.port());
            let config = Config {
                proxy: Proxy::parse(&proxy).unwrap().into(),
                resolve: vec![
                    to("proxy.example", server.address),
                    to("a.example", SocketAddr::from(([127, 0, 0, 3], 80))),
                ]
                .into_iter()
                .filter(|o| scheme == "socks5" || o.host == "proxy.example")
                .collect(),
                policy: noting(&asked, refused),
                ..Config::default()
            };
            let sys = Watched::new();
            let begun = Arc::clone(&sys.begun);
            let mut reactor = Reactor::with_sys(sys, config).unwrap();
            match stream {
                true => reactor.open(get("http://a.example:80/")),
                false => reactor.open(options("ws://a.example:80/")),
            }
            .unwrap();
            let error = ended(run(&mut reactor, |_, _| {}));
            assert_eq!(begun.load(Ordering::SeqCst), usize::from(is_fine), "{scheme} {refused}");
            assert_eq!(server.join(), is_fine);
            let asked = asked.lock().unwrap();
            assert_eq!(asked[..], want[..want.len().min(refused + 1)], "{scheme}");
            if is_fine {
                continue;
            }
            assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error:?}");
            let text = error.to_string();
            assert_eq!(text.contains("the proxy: not that"), want[refused].0, "{text}");
            assert!(!error.is_transient());
        }
    }
}

#[test]
fn the_public_internet_has_no_private_proxy_unless_it_is_excepted() {
    let server = echo();
    let (proxying, proxy) = at_work("http", false, server.address());
    let config = |policy| Config {
        proxy: proxy.clone().into(),
        resolve: vec![proxying.named()],
        policy,
        ..Config::default()
    };
    let url = format!("ws://a.example:{}/", server.port());
    let error = options(&url).connect_with(config(Policy::public())).map(drop).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
    assert_eq!(error.stage(), Stage::Proxy);
    assert!(error.to_string().contains("the proxy: 127.0.0.1 (loopback) is not"), "{error}");
    assert_eq!(proxying.count(), 0);
    let excepted = || Policy::public().except_proxy();
    drop(options(&url).connect_with(config(excepted())).unwrap());
    assert_eq!(proxying.count(), 1);
    // No request for a host of the proxy's own machine or network is sent to the proxy.
    for host in ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "[::1]", "10.0.0.1"] {
        let error = options(&format!("ws://{host}/"))
            .connect_with(config(excepted()))
            .map(drop)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
        assert_eq!(error.stage(), Stage::Url, "{error}");
    }
    assert_eq!(proxying.count(), 1);
    // The list must allow both the server and the proxy.
    for (list, opens) in [
        (&["a.example"][..], false),
        (&["proxy.example"], false),
        (&["a.example", "proxy.example"], true),
        (&["a.example", "127.0.0.0/8"], true),
    ] {
        let policy = Policy::list(list.iter().map(|entry| entry.parse().unwrap()));
        assert_eq!(options(&url).connect_with(config(policy)).is_ok(), opens, "{list:?}");
    }
}

#[test]
fn a_network_in_a_list_allows_no_name_that_a_proxy_resolves() {
    // The client does not know the address of the name, so a network in the list does not allow it.
    for (scheme, opens) in [("http", false), ("socks5h", false), ("socks5", true)] {
        let server = echo();
        let (proxying, proxy) = at_work(scheme, false, server.address());
        let policy = Policy::list(["127.0.0.0/8".parse().unwrap()]);
        let mut config =
            Config { proxy: proxy.clone().into(), policy: policy.clone(), ..Config::default() };
        config.resolve = resolve(&proxying, &proxy, server.address());
        let url = format!("ws://a.example:{}/", server.port());
        let got = options(&url).connect_with(config.clone()).map(drop);
        assert_eq!(got.is_ok(), opens, "{scheme}: {got:?}");
        if let Err(error) = got {
            assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error}");
            assert!(error.to_string().contains("a proxy resolves it"), "{error}");
            assert_eq!(proxying.count(), 0);
            // An override sets an address. CONNECT gets it, and the list checks it.
            config.resolve.push(to("a.example", server.address()));
            drop(options(&url).connect_with(config).unwrap());
        }
    }
}

// RFC 6455 §4.1.

#[test]
fn behind_a_proxy_each_name_has_its_turn_and_the_same_name_waits() {
    // RFC 6455 §4.1, 2: a proxy resolves the names, so each counts as its own host.
    let listener = TcpListener::bind(loopback()).unwrap();
    let config = Config {
        proxy: Proxy::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap().into(),
        ..Config::default()
    };
    let mut reactor = Reactor::new(config).unwrap();
    let [a, again, b] = ["a.example", "a.example", "b.example"]
        .map(|host| reactor.open(options(&format!("ws://{host}/"))).unwrap());
    let mut reported: Vec<(ConnId, OwnedEvent)> = Vec::new();
    listener.set_nonblocking(true).unwrap();
    let mut accepted = Vec::new();
    // Waits for two connections, then runs more turns than any step needs.
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |accepted, _| accepted.len() == 2);
    for _ in 0..20 {
        turns(&mut reactor, &listener, &mut accepted, &mut reported, |_, _| true);
    }
    assert_eq!(accepted.len(), 2, "the second to the same name waits");
    let heads: Vec<_> = accepted.iter_mut().map(|peer| peer.request().to_owned()).collect();
    assert!(heads[0].starts_with("CONNECT a.example:80 "), "{heads:?}");
    assert!(heads[1].starts_with("CONNECT b.example:80 "), "{heads:?}");
    // The proxy refuses the first tunnel, so the next one to the same name gets its turn. The
    // tunnel to the other name opens meanwhile.
    accepted[0].write(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n");
    accepted[1].write(b"HTTP/1.1 200 OK\r\n\r\n");
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |accepted, reported| {
        accepted.len() == 3 && reported.iter().any(|(id, _)| *id == a)
    });
    accepted[1].head.clear();
    accepted[1].accept(b"");
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |_, reported| {
        reported.iter().any(|(id, t)| *id == b && matches!(t, OwnedEvent::Opened))
    });
    assert!(accepted[2].request().starts_with("CONNECT a.example:80 "));
    assert!(!reported.iter().any(|(id, _)| *id == again));
}

#[test]
fn the_time_of_the_opening_holds_behind_a_turn_that_was_waited_for() {
    // A connect to this machine may complete at once. Then the tunnel begins as soon as the gate
    // gives the turn.
    let listener = TcpListener::bind(loopback()).unwrap();
    let config = Config {
        proxy: Proxy::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap().into(),
        ..Config::default()
    };
    let mut reactor = Reactor::new(config).unwrap();
    let limit = Duration::from_millis(300);
    let [first, second] =
        [(); 2].map(|()| reactor.open(options("ws://a.example/").timeout(limit)).unwrap());
    let (mut reported, mut accepted) = (Vec::new(), Vec::new());
    listener.set_nonblocking(true).unwrap();
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |accepted, _| accepted.len() == 1);
    accepted[0].request();
    accepted[0].write(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n");
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |accepted, reported| {
        accepted.len() == 2 && reported.iter().any(|(id, _)| *id == first)
    });
    // The proxy gets the second request, and sends no answer.
    assert!(accepted[1].request().starts_with("CONNECT a.example:80 "));
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |_, reported| {
        reported.iter().any(|(id, _)| *id == second)
    });
    let of_second = reported.into_iter().filter(|(id, _)| *id == second);
    let error = ended(of_second.map(|(_, reported)| reported).collect());
    assert!(matches!(error.kind(), ErrorKind::Timeout(at) if *at == limit), "{error}");
    assert_eq!(error.stage(), Stage::Proxy);
}

#[test]
fn an_address_that_a_proxy_gets_counts_whatever_name_led_there() {
    // RFC 6455 §4.1, 2: if the client resolves the names, it knows the address.
    let listener = TcpListener::bind(loopback()).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 9], 80));
    let named = |host: &str| Override { host: host.into(), port: 80, to: at };
    let config = Config {
        proxy: Proxy::parse(&format!("socks5://{}", listener.local_addr().unwrap()))
            .unwrap()
            .into(),
        resolve: ["a.example", "b.example"].map(named).into(),
        ..Config::default()
    };
    let mut reactor = Reactor::new(config).unwrap();
    for host in ["a.example", "b.example", "127.0.0.8"] {
        reactor.open(options(&format!("ws://{host}/"))).unwrap();
    }
    let (mut reported, mut accepted) = (Vec::new(), Vec::new());
    listener.set_nonblocking(true).unwrap();
    turns(&mut reactor, &listener, &mut accepted, &mut reported, |accepted, _| accepted.len() == 2);
    for _ in 0..20 {
        turns(&mut reactor, &listener, &mut accepted, &mut reported, |_, _| true);
    }
    assert_eq!(accepted.len(), 2, "one name waits for the other, and not the other address");
}

/// Runs at least one turn, without waiting, and more until `done`. Accepts connections.
fn turns(
    reactor: &mut Reactor,
    listener: &TcpListener,
    accepted: &mut Vec<Peer>,
    reported: &mut Vec<(ConnId, OwnedEvent)>,
    done: impl Fn(&[Peer], &[(ConnId, OwnedEvent)]) -> bool,
) {
    let until = soon();
    loop {
        assert!(Instant::now() < until, "{reported:?}");
        let mut sink =
            |conn: &mut Conn<'_>, event: Event<'_>| reported.push((conn.id(), keep(event)));
        reactor.turn(Some(Instant::now()), &mut sink).unwrap();
        match listener.accept() {
            Ok((tcp, _)) => accepted.push(Peer::plain(tcp)),
            Err(e) => assert_eq!(e.kind(), Io::WouldBlock, "{e}"),
        }
        if done(accepted, reported) {
            return;
        }
    }
}

// Secret URLs.

#[test]
fn a_secret_url_is_not_shown_on_its_way_through_a_proxy() {
    let shows_nothing = |text: &str| {
        for secret in ["a.example", "hidden", "127.0.0.9"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    };
    let secret = |url: &str| options(url).secret_url();
    for (scheme, lookup) in [("http", false), ("socks5h", false), ("socks5", true)] {
        // The proxy repeats the target.
        let script = move |mut p: Peer| match scheme {
            "http" => {
                p.request();
                p.write(
                    b"HTTP/1.1 403 a.example hidden\r\nContent-Type: text/plain\r\n\r\na.example hidden",
                );
            }
            _ => {
                p.read(3);
                p.write(b"\x05\0");
                p.read(4);
                p.write(b"\x05\x02\0\x01\0\0\0\0\0\0");
            }
        };
        let server = serve(script);
        let at = SocketAddr::from(([127, 0, 0, 9], 80));
        let config = Config {
            proxy: Proxy::parse(&format!("{scheme}://{}", server.address)).unwrap().into(),
            resolve: if lookup { vec![to("a.example", at)] } else { vec![] },
            ..Config::default()
        };
        let url = "ws://a.example:80/hidden?hidden";
        let (reported, lines) = traced(secret(url), config);
        server.join();
        let error = ended(reported);
        assert_eq!(error.stage(), Stage::Proxy, "{error}");
        let text =
            format!("{error} {error:?} {} {}\n{}", error.url(), error.reason(), lines.join("\n"));
        shows_nothing(&text);
        if scheme == "http" {
            assert!(
                lines.iter().any(|l| l.starts_with("-> head CONNECT *** HTTP/1.1 | Host: *** |"))
            );
        }
        // No proxy listens, and the policy refuses one of the addresses.
        let (reported, lines) = traced(
            secret(url),
            Config {
                proxy: Proxy::parse(&format!("{scheme}://{}", closed_port())).unwrap().into(),
                resolve: match lookup {
                    true => vec![
                        to("a.example", at),
                        to("a.example", SocketAddr::from(([127, 0, 0, 7], 80))),
                    ],
                    false => vec![],
                },
                policy: Policy::open().and(|to| match to.address {
                    Some(ip) if ip.to_string() == "127.0.0.9" => Err(format!("{ip} hidden")),
                    _ => Ok(()),
                }),
                ..Config::default()
            },
        );
        let error = ended(reported);
        assert!(matches!(why(&error), ProxyError::Unreached(_)), "{error:?}");
        shows_nothing(&format!("{error} {error:?}\n{}", lines.join("\n")));
    }
    // The proxy forwards the request, and the server responds.
    let server = echo();
    let (proxying, proxy) = at_work("http", false, server.address());
    let config = Config {
        proxy: proxy.into(),
        resolve: vec![proxying.named()],
        limits: Limits::default(),
        ..Config::default()
    };
    let ask = StreamOptions::get(&format!("http://a.example:{}/hidden?hidden", server.port()));
    let (reported, lines) = traced(ask.unwrap().secret_url(), config);
    let OwnedEvent::Response(response) = &reported[0] else { panic!("{reported:?}") };
    shows_nothing(&format!("{response:?}\n{}", lines.join("\n")));
    assert!(lines.iter().any(|line| line.starts_with("-> head GET *** HTTP/1.1 | Host: *** |")));
}
