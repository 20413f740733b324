//! Redirects over real sockets: which server gets which request.

use std::io::ErrorKind as Io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use moonwire::proto::http::HttpError;
use moonwire::proto::{CloseFrame, Url};
use moonwire::trace::{Observer, Trace};
use moonwire::{
    Closed, Config, Conn, ErrorKind, Event, Limits, Os, Override, Reactor, Stage, StreamOptions,
};

use crate::common::*;
use crate::web::*;

fn http_error(error: &moonwire::Error) -> &HttpError {
    match error.kind() {
        ErrorKind::Http(e) => e,
        _ => panic!("{error}"),
    }
}

fn to(host: &str, to: SocketAddr) -> Override {
    Override { host: host.into(), port: to.port(), to }
}

#[test]
fn what_the_second_server_is_asked() {
    for (method, status, asked, with_body) in [
        ("GET", 301, "GET", false),
        ("HEAD", 302, "HEAD", false),
        ("HEAD", 303, "HEAD", false),
        ("POST", 301, "GET", false),
        ("POST", 302, "GET", false),
        ("POST", 303, "GET", false),
        ("PUT", 301, "PUT", true),
        ("PUT", 303, "GET", false),
        ("PATCH", 302, "PATCH", true),
        ("POST", 307, "POST", true),
        ("PUT", 308, "PUT", true),
    ] {
        let second = listen(|l| answer_each(&l, &[FINE.to_owned()]).remove(0));
        let location = http(&second.url()) + "there?q";
        let first = listen({
            let location = location.clone();
            move |l| answer_each(&l, &[found(status, &location)]).remove(0)
        });
        let mut options = ask(method, &first.url());
        if !matches!(method, "GET" | "HEAD") {
            options = options.header("Content-Type", "text/x").unwrap().body("a body").unwrap();
        }
        let reported = events(options, Config::default());
        let (first, second) = (first.join(), second.join());
        assert!(first.starts_with(&format!("{method} / HTTP/1.1\r\n")), "{first}");
        let want = format!("{asked} /there?q HTTP/1.1\r\n");
        assert!(second.starts_with(&want), "{method} {status}: {second}");
        assert_eq!(second.ends_with("\r\n\r\na body"), with_body, "{second}");
        assert_eq!(second.contains("Content-Type"), with_body, "{second}");
        assert_eq!(second.contains("Content-Length"), with_body, "{second}");
        let OwnedEvent::Response(response) = &reported[0] else { panic!("{reported:?}") };
        assert_eq!((response.status, response.url.as_str()), (200, &*location));
        assert_eq!(body(&reported), if method == "HEAD" { &b""[..] } else { b"fine" });
        assert!(is_complete(&reported));
    }
}

#[test]
fn credentials_reach_nobody_else_and_do_not_come_back() {
    // FAULTS 44: a → a → b → b2 → a. One server has three names.
    let server = listen(|l| {
        let port = l.local_addr().unwrap().port();
        let hop = |name: &str| found(307, &format!("http://{name}.example:{port}/"));
        answer_each(&l, &[found(302, "/again"), hop("b"), hop("b2"), hop("a"), FINE.to_owned()])
    });
    let names = ["a.example", "b.example", "b2.example"];
    let resolve = names.iter().map(|name| to(name, server.address)).collect();
    let url = format!("http://a.example:{}/", server.address.port());
    let options = get(&url)
        .header("Authorization", "Bearer hidden1")
        .and_then(|o| o.header("cookie", "id=hidden2"))
        .and_then(|o| o.secret_header("X-Key", "hidden3"))
        .and_then(|o| o.header("X-Fine", "shown"))
        .unwrap();
    let reported = events(options, Config { resolve, ..Config::default() });
    assert!(is_complete(&reported), "{reported:?}");
    let requests = server.join();
    for (i, (request, host)) in requests.iter().zip(["a", "a", "b", "b2", "a"]).enumerate() {
        assert!(request.contains(&format!("\r\nHost: {host}.example:")), "{request}");
        assert_eq!(request.matches("hidden").count(), if i < 2 { 3 } else { 0 }, "{request}");
        assert!(request.contains("X-Fine: shown"));
    }
}

#[test]
fn from_tls_to_plain_text_is_refused_and_the_other_way_followed() {
    // FAULTS 44.
    let plain = TcpListener::bind(loopback()).unwrap();
    plain.set_nonblocking(true).unwrap();
    let location = format!("http://{}/", plain.local_addr().unwrap());
    let server = serve_tls("good", move |mut p| {
        p.request();
        p.write(found(301, &location).as_bytes());
        p.rest();
    });
    let reported = events(get(&server.url()), trusting());
    server.join();
    let (error, opened) = failure(&reported);
    assert!(!opened);
    assert_eq!(http_error(error), &HttpError::Downgrade);
    assert_eq!((error.stage(), error.status()), (Stage::Response, Some(301)));
    assert_eq!(plain.accept().unwrap_err().kind(), Io::WouldBlock, "no client connects there");

    let secure = serve_tls("good", |mut p| {
        p.request();
        p.write(FINE.as_bytes());
        p.rest();
    });
    let location = http(&secure.url());
    let first = listen(move |l| answer_each(&l, &[found(302, &location)]));
    let reported = events(get(&first.url()), trusting());
    assert_eq!((body(&reported), is_complete(&reported)), (b"fine".to_vec(), true));
    first.join();
    secure.join();
}

#[test]
fn a_certificate_is_verified_on_every_hop() {
    // FAULTS 49.
    let secure = serve_tls("other", |mut p| p.begins());
    let location = http(&secure.url());
    let first = listen(move |l| answer_each(&l, &[found(302, &location)]));
    let reported = events(get(&first.url()), trusting());
    let (error, _) = failure(&reported);
    assert!(matches!(error.kind(), ErrorKind::Certificate(..)), "{error}");
    assert_eq!((error.stage(), error.url()), (Stage::Tls, &*http(&secure.url())));
    first.join();
    assert!(!secure.join());
}

#[test]
fn a_loop_ends_after_ten() {
    let server = listen(|l| answer_each(&l, &vec![found(302, "/"); 11]).len());
    let reported = events(get(&server.url()), Config::default());
    let [OwnedEvent::Closed(Closed::Failed(error))] = &reported[..] else { panic!("{reported:?}") };
    assert_eq!(http_error(error), &HttpError::ManyRedirects(10));
    assert_eq!(server.join(), 11);
    // The limit can be set: so many redirects are followed, and no more.
    for (max, fine) in [(3, true), (2, false)] {
        let mut answers = vec![found(307, "?again"); 3];
        answers.extend(fine.then(|| FINE.to_owned()));
        let server = listen(move |l| answer_each(&l, &answers).len());
        let limits = Limits { redirects: max, ..Limits::default() };
        let reported = events(get(&server.url()).limits(limits), Config::default());
        assert_eq!(is_complete(&reported), fine, "{reported:?}");
        server.join();
    }
}

#[test]
fn what_is_no_place_to_go() {
    // FAULTS 30.
    for location in [
        "ws://127.0.0.1/",
        "wss://127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://user:pass@127.0.0.1/",
        "//user@127.0.0.1/",
        "http://",
        "http:///x",
        "//",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://0x7f.1/",
        "http://a b/",
        "http://[::1/",
        "http://caf\u{e9}.example/",
    ] {
        let server = listen(move |l| answer_each(&l, &[found(302, location)]).len());
        let reported = events(get(&server.url()), Config::default());
        let (error, opened) = failure(&reported);
        assert!(!opened);
        assert!(matches!(http_error(error), HttpError::Location(_)), "{location}: {error}");
        assert_eq!((error.stage(), error.status()), (Stage::Response, Some(302)));
        let text = error.to_string();
        assert!(text.is_ascii() && !text.contains("pass@"), "{text}");
        server.join();
    }
}

#[test]
fn line_breaks_in_a_location_are_never_decoded() {
    // FAULTS 43.
    let server = listen(|l| {
        let location = "/%0d%0aX-Injected:%20y%0D%0A%0D%0AGET%20/2?%0a#%0d%0a";
        answer_each(&l, &[found(302, location), FINE.to_owned()])
    });
    let reported = events(get(&server.url()), Config::default());
    assert!(is_complete(&reported), "{reported:?}");
    let second = server.join().remove(1);
    let line = "GET /%0d%0aX-Injected:%20y%0D%0A%0D%0AGET%20/2?%0a HTTP/1.1";
    assert_eq!(second.lines().next(), Some(line));
    assert!(!second.contains("\r\nX-Injected"), "{second}");
}

#[test]
fn what_stands_behind_a_redirect_is_not_read_and_its_connection_closed() {
    // FAULTS 41. With small and large turns, and with both ways to wait for sockets.
    for (turn, with_poll) in [(1, false), (1 << 20, false), (1, true), (1 << 20, true)] {
        let second = listen(|l| answer_each(&l, &[FINE.to_owned()]).len());
        let location = http(&second.url());
        let first = serve(move |mut p| {
            p.request();
            let endless = format!("HTTP/1.1 301 Go\r\nLocation: {location}\r\n\r\n");
            p.write(&[endless.as_bytes(), &[b'x'; 100_000]].concat());
            while p.try_write(&[b'x'; 10_000]).is_ok() {}
        });
        let config = Config { limits: Limits { turn, ..Limits::default() }, ..Config::default() };
        let os = if with_poll { Os::with_poll(&config.limits) } else { Os::new(&config.limits) };
        let mut reactor = Reactor::with_sys(os.unwrap(), config).unwrap();
        reactor.open(get(&first.url())).unwrap();
        let reported = run(&mut reactor, |_, _| {});
        assert_eq!((body(&reported), is_complete(&reported)), (b"fine".to_vec(), true));
        first.join();
        second.join();
    }
}

#[test]
fn a_redirect_before_the_body_is_out_sends_it_whole_to_the_next() {
    const LEN: usize = 16 << 20;
    let second = serve(|mut p| {
        let n = length(p.request());
        let body = p.read(n);
        p.write(FINE.as_bytes());
        body
    });
    let location = http(&second.url());
    let first = serve(move |mut p| {
        p.request();
        p.write(found(308, &location).as_bytes());
        p.rest()
    });
    let data = pattern(LEN);
    let reported = events(ask("PUT", &first.url()).body(&data).unwrap(), Config::default());
    assert!(is_complete(&reported), "{:?}", reported.last());
    assert!(second.join() == data);
    first.join();
}

#[test]
fn a_hop_that_fails_names_where_it_led() {
    let closed = TcpListener::bind(loopback()).unwrap().local_addr().unwrap();
    let server = listen(move |l| answer_each(&l, &[found(302, &format!("http://{closed}/x"))]));
    let reported = events(get(&server.url()), Config::default());
    let (error, _) = failure(&reported);
    assert_eq!((error.stage(), error.status()), (Stage::Connect, None));
    assert_eq!(error.url(), format!("http://{closed}/x"));
    server.join();
}

#[test]
fn a_time_limit_covers_all_hops() {
    // Each hop is quick, and there is always another one.
    let server = listen(|l| {
        loop {
            let mut peer = Peer::plain(l.accept().unwrap().0);
            // A stream that was released sends nothing.
            if !peer.begins() {
                continue;
            }
            if peer.request().starts_with("STOP") {
                return;
            }
            let _ = peer.try_write(found(302, "/").as_bytes());
        }
    });
    let limit = Duration::from_millis(300);
    let limits = Limits { redirects: u32::MAX, ..Limits::default() };
    let options = get(&server.url()).limits(limits.clone()).timeout(limit);
    let reported = events(options, Config::default());
    assert!(
        matches!(failure(&reported).0.kind(), ErrorKind::Timeout(l) if *l == limit),
        "{reported:?}"
    );
    // Without a timeout of the stream, the limits `opening` and `response` bound the sum of all
    // hops.
    let limits = Limits { opening: limit / 2, response: limit / 2, ..limits };
    let options = StreamOptions::get(&http(&server.url())).unwrap().limits(limits);
    let reported = events(options, Config::default());
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Timeout(_)), "{reported:?}");
    let mut stop = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(&mut stop, b"STOP\r\n\r\n").unwrap();
    server.join();
}

#[test]
fn a_release_between_two_hops_leaves_nothing() {
    for ready in [false, true] {
        let second = TcpListener::bind(loopback()).unwrap();
        let location = format!("http://{}/", second.local_addr().unwrap());
        let server = listen(move |l| answer_each(&l, &[found(302, &location)]).len());
        let (sender, seen) = std::sync::mpsc::channel();
        struct Hops(std::sync::mpsc::Sender<()>);
        impl Observer for Hops {
            fn observe(&mut self, _: Instant, _: u64, trace: Trace<'_>) {
                if matches!(trace, Trace::State(text) if text.starts_with("redirected")) {
                    self.0.send(()).unwrap();
                }
            }
        }
        let config = Config { observer: Some(Box::new(Hops(sender))), ..Config::default() };
        let sys = Watched::new();
        let (open, begun) = (sys.open.clone(), sys.begun.clone());
        let mut reactor = Reactor::with_sys(sys, config).unwrap();
        let id = reactor.open(get(&server.url())).unwrap();
        let until = soon();
        let mut none = |_: &mut Conn<'_>, event: Event<'_>| panic!("{event:?}");
        while seen.try_recv().is_err() {
            assert!(Instant::now() < until);
            reactor.turn(Some(until), &mut none).unwrap();
        }
        // The release comes before the second connection is begun, or after that.
        while ready && begun.load(Ordering::SeqCst) < 2 {
            reactor.turn(Some(Instant::now()), &mut none).unwrap();
        }
        reactor.release(id, &CloseFrame::new(1001, ""));
        while !reactor.is_empty() {
            reactor.turn(Some(Instant::now()), &mut none).unwrap();
        }
        reactor.turn(Some(Instant::now()), &mut none).unwrap();
        assert_eq!(open.load(Ordering::SeqCst), 0);
        assert_eq!(begun.load(Ordering::SeqCst), if ready { 2 } else { 1 });
        server.join();
    }
}

#[test]
fn a_redirect_is_read_as_browsers_do() {
    let url = Url::parse_http("http://a.example/x/y?q").unwrap();
    for (location, want) in [
        ("", "http://a.example/x/y?q"),
        ("#f", "http://a.example/x/y?q"),
        ("?r", "http://a.example/x/y?r"),
        ("z", "http://a.example/x/z"),
        ("./../z", "http://a.example/z"),
        ("/z", "http://a.example/z"),
        ("//b.example", "http://b.example"),
        ("HTTP://B.example/z", "HTTP://B.example/z"),
    ] {
        assert_eq!(url.join(location).unwrap().as_str(), want, "{location}");
    }
}
