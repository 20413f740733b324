//! Unix sockets by URL.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use moonwire::proto::http::HttpError;
use moonwire::proto::{Endpoint, UrlError};
use moonwire::rustls::{ServerConnection, StreamOwned};
use moonwire::trace::{Observer, Trace};
use moonwire::{
    Config, ErrorKind, Event, EventSource, Options, Policy, Proxy, Reactor, Stage, StreamOptions,
};

use crate::common::*;
use crate::web::{FINE, body, found, is_complete};

/// A path for a socket. Its file is removed on drop.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("moonwire-{}-{n}.sock", std::process::id());
        let place = Place(std::env::temp_dir().join(name));
        let _ = std::fs::remove_file(&place.0);
        place
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn url(&self, scheme: &str, target: &str) -> String {
        format!("{scheme}+unix:{}:{target}", self.path())
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(&self.0).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Reads the head of a request.
fn head(stream: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Opens a WebSocket and closes it; returns the head of the request.
fn open_and_close(stream: &mut (impl std::io::Read + std::io::Write)) -> String {
    let head = head(stream);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept(&head)
    );
    stream.write_all(&[answer.as_bytes(), &close(1000, "")].concat()).unwrap();
    stream.flush().unwrap();
    // The answer to the close frame.
    stream.read_exact(&mut [0; 8]).unwrap();
    head
}

/// Accepts `count` clients and runs `script` with each.
fn serving<R: Send + 'static>(
    listener: UnixListener,
    count: usize,
    script: impl Fn(usize, UnixStream) -> R + Send + 'static,
) -> JoinHandle<Vec<R>> {
    std::thread::spawn(move || {
        let each = |n| {
            let stream = listener.accept().unwrap().0;
            stream.set_read_timeout(Some(LONG)).unwrap();
            script(n, stream)
        };
        (0..count).map(each).collect()
    })
}

fn get(url: &str) -> StreamOptions {
    StreamOptions::get(url).unwrap().timeout(LONG)
}

#[test]
fn a_web_socket_over_a_unix_socket_asks_localhost_and_no_proxy() {
    let place = Place::new();
    let server = serving(place.listen(), 1, |_, mut stream| open_and_close(&mut stream));
    let proxy = Proxy::parse("http://proxy.invalid").unwrap();
    let config = Config { proxy: proxy.clone().into(), ..Config::default() };
    let mut reactor = Reactor::new(config).unwrap();
    // The proxy of this connection is not used either.
    reactor.open(options(&place.url("ws", "/chat?x=1")).proxy(proxy)).unwrap();
    let mut transport = None;
    let reported = run(&mut reactor, |_, event| {
        if let Event::Opened(opened) = event {
            transport = opened.transport.clone();
        }
    });
    assert!(matches!(reported[0], OwnedEvent::Opened), "{reported:?}");
    let head = server.join().unwrap().remove(0);
    assert!(head.starts_with("GET /chat?x=1 HTTP/1.1\r\nHost: localhost\r\n"), "{head}");
    let transport = transport.unwrap();
    assert_eq!(transport.peer, Some(Endpoint::Unix(place.path().into())));
    assert_eq!(transport.local, Some(Endpoint::Unix("".into())));
    assert_eq!(transport.peer.unwrap().to_string(), format!("unix:{}", place.path()));
    assert!(transport.proxy.is_none() && transport.phases.resolve.is_none());
}

#[test]
fn tls_over_a_unix_socket_is_with_localhost() {
    for (certificate, fine) in
        [("name", true), ("good", true), ("other", false), ("address", false)]
    {
        let place = Place::new();
        let config = server_config(certificate);
        let server = serving(place.listen(), 1, move |_, stream| {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            let begins = stream.conn.complete_io(&mut stream.sock).is_ok();
            let name = stream.conn.server_name().map(str::to_owned);
            if begins && fine {
                open_and_close(&mut stream);
            }
            name
        });
        let reported = events(options(&place.url("wss", "/")), trusting());
        assert_eq!(matches!(reported[0], OwnedEvent::Opened), fine, "{certificate}: {reported:?}");
        if !fine {
            assert!(
                matches!(failure(&reported).0.kind(), ErrorKind::Certificate(..)),
                "{reported:?}"
            );
        }
        let name = server.join().unwrap().remove(0);
        assert!(!fine || name.as_deref() == Some("localhost"), "{name:?}");
    }
}

#[test]
fn requests_and_event_streams_over_a_unix_socket() {
    let place = Place::new();
    let server = serving(place.listen(), 2, |n, mut stream| {
        let head = head(&mut stream);
        let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n";
        stream.write_all([FINE, events][n].as_bytes()).unwrap();
        head
    });
    let reported = events(get(&place.url("http", "/v1/x?y")), Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    assert_eq!(body(&reported), b"fine");
    let mut source = EventSource::new(get(&place.url("http", "")));
    assert_eq!(source.next_event().unwrap().unwrap().data, "x");
    let heads = server.join().unwrap();
    assert!(heads[0].starts_with("GET /v1/x?y HTTP/1.1\r\nHost: localhost\r\n"), "{heads:?}");
    assert!(heads[1].starts_with("GET / HTTP/1.1\r\nHost: localhost\r\n"), "{heads:?}");
}

#[test]
fn a_socket_that_is_not_there_is_an_error_that_names_it() {
    let place = Place::new();
    let long = format!("/{}", "a".repeat(200));
    for (url, words) in [
        (place.url("ws", "/"), "No such file or directory"),
        (format!("ws+unix:{long}"), ""),
        ("ws+unix:/".to_owned(), ""),
    ] {
        let reported = events(options(&url), Config::default());
        let (error, opened) = failure(&reported);
        assert!(!opened);
        assert_eq!(error.stage(), Stage::Connect, "{error}");
        assert!(matches!(error.kind(), ErrorKind::Connect(all) if all.len() == 1), "{error:?}");
        let text = error.to_string();
        let start: String = format!("{url}: connect: ").chars().take(90).collect();
        assert!(text.starts_with(&start) && text.contains(words), "{text}");
        assert!(!text.contains("0.0.0.0"), "{text}");
    }
    // A socket at which no server listens any more.
    drop(place.listen());
    let reported = events(options(&place.url("ws", "/")), Config::default());
    assert!(failure(&reported).0.to_string().contains("Connection refused"), "{reported:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_queue_that_is_full_is_an_error_and_nobody_hangs() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
    let place = Place::new();
    let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&place.0).unwrap()).unwrap();
    listen(&listener, 0).unwrap();
    // One client waits to be accepted, and the queue has no room for another.
    let _first = UnixStream::connect(&place.0).unwrap();
    let reported = events(options(&place.url("ws", "/")), Config::default());
    let (error, _) = failure(&reported);
    assert_eq!(error.stage(), Stage::Connect);
    assert!(error.to_string().contains("the queue of the server is full"), "{error}");
    assert!(error.is_transient());
}

#[test]
fn no_redirect_leads_to_a_socket_or_away_from_one_and_within_it_one_is_followed() {
    // FAULTS 45.
    let crossing = |reported: &[OwnedEvent]| {
        let (error, _) = failure(reported);
        let ErrorKind::Http(HttpError::Location(why)) = error.kind() else { panic!("{error:?}") };
        assert_eq!(*why, UrlError::Crossing);
        assert!(error.to_string().contains("Unix socket"), "{error}");
    };
    let place = Place::new();
    let itself = place.url("http", "/there");
    let elsewhere = [
        "http://127.0.0.1:9/".to_owned(),
        "//localhost/".to_owned(),
        "https+unix:/run/other.sock:/".to_owned(),
        itself.clone(),
    ];
    let count = elsewhere.len();
    let answers = elsewhere.map(|location| found(302, &location));
    let server = serving(place.listen(), count, move |n, mut stream| {
        head(&mut stream);
        stream.write_all(answers[n].as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    for _ in 0..count {
        crossing(&events(get(&place.url("http", "/")), Config::default()));
    }
    server.join().unwrap();
    // A redirect leads from the network to the socket.
    let server = serve(move |mut p| {
        p.request();
        p.write(found(302, &itself).as_bytes());
        p.rest();
    });
    let url = server.url().replacen("ws", "http", 1);
    crossing(&events(get(&url), Config::default()));
    server.join();
    // A redirect within the socket is followed, with the credentials.
    let place = Place::new();
    let server = serving(place.listen(), 2, |n, mut stream| {
        let head = head(&mut stream);
        let answer = [found(307, "there?q"), FINE.to_owned()];
        stream.write_all(answer[n].as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        head
    });
    let ask = get(&place.url("http", "/a/b")).header("Authorization", "Bearer x").unwrap();
    let reported = events(ask, Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    let heads = server.join().unwrap();
    assert!(heads[1].starts_with("GET /a/there?q HTTP/1.1\r\nHost: localhost\r\n"), "{heads:?}");
    assert!(heads[1].contains("Authorization: Bearer x\r\n"), "{heads:?}");
}

#[test]
fn a_policy_allows_a_socket_by_its_path() {
    let place = Place::new();
    let server = serving(place.listen(), 2, |_, mut stream| open_and_close(&mut stream));
    let list = |entry: &str| Policy::list([entry.parse().unwrap()]);
    for (policy, fine) in [
        (Policy::open(), true),
        (list(&format!("unix:{}", place.path())), true),
        (list("unix:/run/other.sock"), false),
        (list("localhost"), false),
        (list("0.0.0.0/0"), false),
        (Policy::public(), false),
    ] {
        let shown = format!("{policy:?}");
        let ask = options(&place.url("ws", "/"));
        let reported = events(ask, Config { policy, ..Config::default() });
        assert_eq!(matches!(reported[0], OwnedEvent::Opened), fine, "{shown}: {reported:?}");
        if !fine {
            let (error, _) = failure(&reported);
            assert!(matches!(error.kind(), ErrorKind::Denied(_)), "{error:?}");
            assert_eq!(error.stage(), Stage::Url);
        }
    }
    server.join().unwrap();
}

#[test]
fn a_path_may_hold_what_a_url_may_not() {
    let name = format!("moonwire {}:ä?#.sock", std::process::id());
    let place = Place(std::env::temp_dir().join(name));
    let _ = std::fs::remove_file(&place.0);
    let server = serving(place.listen(), 1, |_, mut stream| open_and_close(&mut stream));
    let mut encoded = String::new();
    for b in place.path().bytes() {
        match b {
            b'/' | b'.' | b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => encoded.push(b.into()),
            b => encoded += &format!("%{b:02x}"),
        }
    }
    let reported = events(options(&format!("ws+unix:{encoded}:/x")), Config::default());
    assert!(matches!(reported[0], OwnedEvent::Opened), "{reported:?}");
    assert!(server.join().unwrap()[0].starts_with("GET /x "));
}

#[test]
fn one_handshake_at_a_time_is_for_a_socket_too() {
    // RFC 6455 §4.1, 2.
    let place = Place::new();
    let listener = place.listen();
    let mut reactor = Reactor::new(Config::default()).unwrap();
    for _ in 0..2 {
        reactor.open(options(&place.url("ws", "/"))).unwrap();
    }
    listener.set_nonblocking(true).unwrap();
    let mut accepted = Vec::new();
    for _ in 0..20 {
        let now = std::time::Instant::now();
        reactor.turn(Some(now), &mut |_: &mut moonwire::Conn<'_>, _: Event<'_>| {}).unwrap();
        accepted.extend(listener.accept());
    }
    assert_eq!(accepted.len(), 1);
}

/// Streams of the program to one path lead to one server.
#[test]
fn one_handshake_at_a_time_is_for_streams_to_one_path() {
    let place = Place::new();
    let _listener = place.listen();
    let states = Arc::new(Mutex::new(States::default()));
    let config = Config { observer: Some(Box::new(states.clone())), ..Config::default() };
    let mut reactor = Reactor::new(config).unwrap();
    for _ in 0..2 {
        let stream = UnixStream::connect(&place.0).unwrap();
        reactor.open(options("ws://a.example/").over(stream)).unwrap();
    }
    for _ in 0..20 {
        let now = std::time::Instant::now();
        reactor.turn(Some(now), &mut |_: &mut moonwire::Conn<'_>, _: Event<'_>| {}).unwrap();
    }
    let path = format!("unix:{}", place.path());
    let want = [
        format!("over a stream of the program to {path}"),
        format!("connected to {path}"),
        format!("waiting for its turn with {path}: 1 before it"),
    ];
    assert_eq!(states.lock().unwrap().0, want);
}

/// The changes of state that an observer receives.
#[derive(Default)]
struct States(Vec<String>);

impl Observer for States {
    fn observe(&mut self, _: std::time::Instant, _: u64, trace: Trace<'_>) {
        if let Trace::State(text) = trace {
            self.0.push(text.to_owned());
        }
    }
}

#[test]
fn a_secret_url_of_a_socket_is_not_shown() {
    let place = Place::new();
    let ask: Options = options(&place.url("ws", "/hidden")).secret_url();
    let shown = format!("{ask:?}");
    let (reported, lines) = crate::secrets::traced(ask, Config::default());
    let (error, _) = failure(&reported);
    let text = format!("{shown} {error} {error:?} {}", lines.join("\n"));
    assert!(!text.contains("hidden") && !text.contains("moonwire-"), "{text}");
}
