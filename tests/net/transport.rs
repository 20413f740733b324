//! What is reported of the connection below the protocol, and the options of a socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moonwire::proto::http::Delivery;
use moonwire::proto::{Endpoint, Phases, Transport};
use moonwire::{
    Ask, Config, Conn, Dial, ErrorKind, Event, Interest, KeepAlive, Limits, Os, OsPoller, Override,
    Policy, ProxyRules, Reactor, ResolverAnswer, Socket, SocketOptions, Sys,
};

use crate::common::proxy::Setup;
use crate::common::*;
use crate::web::*;

/// Opens a connection. Returns the `Transport` of its first event.
fn transport_of(ask: impl Into<Ask>, config: Config) -> Transport {
    let mut reactor = Reactor::new(config).unwrap();
    reactor.open(ask).unwrap();
    let mut transport = None;
    let reported = run(&mut reactor, |_, event| match event {
        Event::Opened(opened) => transport = opened.transport.clone(),
        Event::Response(response) => transport = response.transport.clone(),
        _ => {}
    });
    *transport.unwrap_or_else(|| panic!("{reported:?}"))
}

/// A server for one WebSocket or request. Returns the client's address.
fn any(secure: bool) -> Scripted<SocketAddr> {
    serve_either(secure, |mut p| {
        p.answer_any();
        p.tcp.peer_addr().unwrap()
    })
}

/// The steps that were measured.
fn steps(phases: &Phases) -> Vec<&'static str> {
    phases.iter().map(|(name, _)| name).collect()
}

#[test]
fn both_ends_and_each_step_that_there_was_are_reported() {
    for stream in [false, true] {
        for (host, secure, proxied, want) in [
            ("127.0.0.1", false, false, &["connect", "handshake"][..]),
            ("localhost", false, false, &["resolve", "connect", "handshake"]),
            ("a.example", false, false, &["connect", "handshake"]),
            ("127.0.0.1", true, false, &["connect", "TLS", "handshake"]),
            ("localhost", true, false, &["resolve", "connect", "TLS", "handshake"]),
            ("127.0.0.1", true, true, &["connect", "proxy", "TLS", "handshake"]),
            ("a.example", false, true, &["connect", "proxy", "handshake"]),
        ] {
            let server = any(secure);
            let port = server.address.port();
            let proxying = Setup::http().knows("a.example", server.address).start();
            let by = Override { host: "a.example".into(), port, to: server.address };
            let config = Config {
                resolve: if proxied { vec![proxying.named()] } else { vec![by] },
                proxy: match proxied {
                    true => proxying.proxy("http", "hidden:hidden@").into(),
                    false => ProxyRules::none(),
                },
                ..trusting()
            };
            let scheme = server.url().split_once(':').unwrap().0.to_owned();
            let url = format!("{scheme}://{host}:{port}/");
            let ask: Ask = if stream { get(&url).into() } else { options(&url).into() };
            let reported = transport_of(ask, config);
            let server_address = server.address;
            let client = server.join();
            // The proxy forwards a plain request, so no tunnel is opened.
            let whole = stream && proxied && !secure;
            let want: Vec<_> =
                want.iter().copied().filter(|step| !whole || *step != "proxy").collect();
            assert_eq!(steps(&reported.phases), want, "{url}");
            let peer = if proxied { proxying.address } else { server_address };
            assert_eq!(reported.peer, Some(Endpoint::Address(peer)));
            if !proxied {
                assert_eq!(reported.local, Some(Endpoint::Address(client)));
            }
            let shown =
                proxied.then(|| format!("http://proxy.example:{}", proxying.address.port()));
            assert_eq!(reported.proxy, shown);
            assert_eq!(reported.tls.is_some(), secure);
            if let Some(tls) = &reported.tls {
                assert_eq!((&*tls.version, tls.certificates.len()), ("TLSv1_3", 1));
                assert!(tls.alpn.is_none());
            }
            assert!(!format!("{reported:?}").contains("hidden"));
        }
    }
}

#[test]
fn a_reactor_tells_the_transport_while_there_is_one() {
    let mut reactor = Reactor::new(Config::default()).unwrap();
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let id = reactor.open(options(&format!("ws://{address}/"))).unwrap();
    assert!(reactor.transport(id).is_none(), "it is on its way");
    let server = std::thread::spawn(move || {
        let mut peer = Peer::plain(listener.accept().unwrap().0);
        peer.accept(b"");
        peer.close_frame();
        peer.write(&close(1000, ""));
        peer.tcp.peer_addr().unwrap()
    });
    let until = soon();
    let mut nothing = |_: &mut Conn<'_>, _: Event<'_>| {};
    while !reactor.is_open(id) {
        assert!(Instant::now() < until);
        reactor.turn(Some(until), &mut nothing).unwrap();
    }
    let reported = reactor.transport(id).unwrap();
    assert_eq!(reported.peer, Some(Endpoint::Address(address)));
    assert_eq!(reported.phases, Phases::default(), "they are reported once");
    reactor.close(id, &moonwire::proto::CloseFrame::new(1000, "")).unwrap();
    while !reactor.is_empty() {
        assert!(Instant::now() < until);
        reactor.turn(Some(until), &mut nothing).unwrap();
    }
    assert_eq!(reported.local, Some(Endpoint::Address(server.join().unwrap())));
    assert!(reactor.transport(id).is_none(), "it is gone");
}

#[cfg(target_os = "linux")]
#[test]
fn the_own_address_is_what_the_server_sees_and_has_to_be_of_the_same_family() {
    let local: std::net::IpAddr = "127.0.0.2".parse().unwrap();
    let socket = SocketOptions::new().local_address(local).send_buffer(8192).receive_buffer(8192);
    for stream in [false, true] {
        let server = any(false);
        let url = server.url();
        let ask: Ask = match stream {
            true => get(&url).socket(socket.clone()).into(),
            false => options(&url).socket(socket.clone()).into(),
        };
        let reported = transport_of(ask, Config::default());
        let seen = server.join();
        assert_eq!(seen.ip(), local);
        assert_eq!(reported.local, Some(Endpoint::Address(seen)));
    }
    // The same holds for a connection to a proxy.
    let server = any(false);
    let proxying = Setup::http().start();
    let config = Config {
        proxy: proxying.proxy("http", "").into(),
        resolve: vec![proxying.named()],
        ..Config::default()
    };
    let reported = transport_of(options(&server.url()).socket(socket.clone()), config);
    let Some(Endpoint::Address(at)) = reported.local else { panic!("{reported:?}") };
    assert_eq!(at.ip(), local);
    server.join();
    for (url, local) in [("ws://[::1]:9/", "127.0.0.2"), ("ws://127.0.0.1:9/", "::1")] {
        let socket = SocketOptions::new().local_address(local.parse().unwrap());
        let reported = events(options(url).socket(socket), Config::default());
        let (error, _) = failure(&reported);
        assert_eq!(error.stage(), moonwire::Stage::Connect);
        let part = format!("cannot be reached from {local}, the local address");
        assert!(error.to_string().contains(&part), "{error}");
    }
    // This address belongs to another machine.
    let socket = SocketOptions::new().local_address("203.0.113.1".parse().unwrap());
    let reported = events(options("ws://127.0.0.1:9/").socket(socket), Config::default());
    assert!(matches!(failure(&reported).0.kind(), ErrorKind::Connect(_)), "{reported:?}");
}

/// The address and the keep-alive probes of each call of `connect_to`.
type Dials = Arc<Mutex<Vec<(Endpoint, Option<KeepAlive>)>>>;

/// The operating system, without a resolver. It records the calls of `connect_to`.
struct Noting {
    os: Os,
    dials: Dials,
}

impl Sys for Noting {
    type Socket = Socket;
    type Poller = OsPoller;

    fn poller(&self) -> &Arc<OsPoller> {
        self.os.poller()
    }

    fn now(&self) -> Instant {
        self.os.now()
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.os.random(bytes)
    }

    fn connect(&mut self, to: SocketAddr) -> io::Result<Socket> {
        self.os.connect(to)
    }

    fn connect_to(&mut self, dial: &Dial<'_>) -> io::Result<Socket> {
        self.dials.lock().unwrap().push((dial.to.clone(), dial.keep_alive));
        self.os.connect_to(dial)
    }

    fn connected(&mut self, socket: &Socket) -> io::Result<()> {
        self.os.connected(socket)
    }

    fn read(&mut self, socket: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        self.os.read(socket, buf)
    }

    fn write(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
        self.os.write(socket, bytes)
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        self.os.shutdown_write(socket);
    }

    fn watch(&mut self, socket: &Socket, token: u64, i: Interest, new: bool) -> io::Result<()> {
        self.os.watch(socket, token, i, new)
    }

    fn forget(&mut self, socket: &Socket) {
        self.os.forget(socket);
    }

    fn resolve(&mut self, _: u64, _: &str, _: u16) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::NotFound, "there are no names here"))
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        None
    }
}

/// Makes a request to a server.
type Make = Box<dyn Fn(SocketAddr) -> Ask>;

/// TCP probes a connection that could otherwise wait without end for a server that is gone.
/// `tcp_keep_alive`, `tcp_probe_interval` and `tcp_probes` set the probes, unless an option does.
#[test]
fn a_stream_without_an_idle_limit_is_probed_and_nothing_else_unless_it_is_asked_for() {
    let seconds = Duration::from_secs;
    let limits = Limits {
        tcp_keep_alive: seconds(40),
        tcp_probe_interval: seconds(9),
        tcp_probes: 3,
        ..Limits::default()
    };
    let usual = Some((seconds(60), seconds(15), 4));
    let set = |after| SocketOptions::new().keep_alive(after);
    let url = |a: SocketAddr, scheme: &str| format!("{scheme}://{a}/");
    let asks: Vec<(&str, Make, _)> = vec![
        ("a stream", Box::new(move |a| get(&url(a, "http")).into()), usual),
        (
            "of events",
            Box::new(move |a| get(&url(a, "http")).delivery(Delivery::Raw).into()),
            usual,
        ),
        ("with a limit", Box::new(move |a| get(&url(a, "http")).idle(Some(LONG)).into()), None),
        ("a WebSocket", Box::new(move |a| options(&url(a, "ws")).into()), None),
        ("off", Box::new(move |a| get(&url(a, "http")).socket(set(None)).into()), None),
        (
            "a WebSocket with the option",
            Box::new(move |a| options(&url(a, "ws")).socket(set(Some(seconds(45)))).into()),
            Some((seconds(45), seconds(15), 4)),
        ),
        (
            "with both",
            Box::new(move |a| {
                get(&url(a, "http")).idle(Some(LONG)).socket(set(Some(Duration::ZERO))).into()
            }),
            Some((seconds(1), seconds(15), 4)),
        ),
        (
            "with its own limits",
            Box::new({
                let limits = limits.clone();
                move |a| get(&url(a, "http")).limits(limits.clone()).into()
            }),
            Some((seconds(40), seconds(9), 3)),
        ),
    ];
    for (what, ask, want) in asks {
        let server = any(false);
        let config = Config::default();
        let os = Os::new(&config.limits).unwrap();
        let dials = Dials::default();
        let sys = Noting { os, dials: Arc::clone(&dials) };
        let mut reactor = Reactor::with_sys(sys, config).unwrap();
        reactor.open(ask(server.address)).unwrap();
        let reported = run(&mut reactor, |_, _| {});
        assert!(
            matches!(reported[0], OwnedEvent::Opened | OwnedEvent::Response(_)),
            "{reported:?}"
        );
        let dials = dials.lock().unwrap();
        assert_eq!(dials.len(), 1);
        assert_eq!(dials[0].0, Endpoint::Address(server.address));
        let got = dials[0].1.map(|k| (k.after, k.interval, k.probes));
        assert_eq!(got, want, "{what}");
        server.join();
    }
}

#[test]
fn the_kernel_takes_every_option_of_a_socket() {
    // The kernel accepts the numbers; it may round them.
    let keep_alive = SocketOptions::new().keep_alive(Some(Duration::from_secs(45)));
    for socket in [
        keep_alive.clone(),
        SocketOptions::new().send_buffer(1).receive_buffer(1),
        SocketOptions::new().send_buffer(usize::MAX).receive_buffer(1 << 20),
        keep_alive.send_buffer(4096),
    ] {
        let server = any(false);
        transport_of(options(&server.url()).socket(socket), Config::default());
        server.join();
    }
}

#[test]
fn an_error_tells_the_steps_that_were_behind_it_and_a_time_limit_says_so() {
    let limit = Duration::from_millis(60);
    for (host, stream, phases) in [
        ("127.0.0.1", false, &["connect"][..]),
        ("localhost", false, &["resolve", "connect"]),
        ("localhost", true, &["resolve", "connect"]),
    ] {
        let server = serve(|mut p| {
            p.request();
            p.rest();
        });
        let port = server.address.port();
        let ask: Ask = match stream {
            true => get(&format!("http://{host}:{port}/")).timeout(limit * 10).into(),
            false => options(&format!("ws://{host}:{port}/")).timeout(limit * 10).into(),
        };
        let reported = events(ask, Config::default());
        let (error, _) = failure(&reported);
        assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error:?}");
        assert_eq!(steps(error.phases()), phases, "{error}");
        assert!(error.to_string().ends_with(&format!(" (after {})", error.phases())), "{error}");
        server.join();
    }
    // An error that is no time limit has steps, too, but does not show them.
    let server = serve(|mut p| {
        p.request();
        p.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    });
    let reported = events(options(&server.url()), Config::default());
    let (error, _) = failure(&reported);
    assert_eq!(steps(error.phases()), ["connect"]);
    assert!(!error.to_string().contains("after"), "{error}");
    server.join();
    // The policy refused the connection, so there was no step.
    let config = Config { policy: Policy::list([]), ..Config::default() };
    let reported = events(options("ws://127.0.0.1:9/"), config);
    assert_eq!(steps(failure(&reported).0.phases()), [""; 0]);
}
