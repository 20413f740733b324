//! Servers that do not use TLS, or use it wrongly, or never complete a handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moonwire::rustls::{ServerConnection, SupportedProtocolVersion};
use moonwire::{
    Ask, Closed, Conn, Event, Interest, Limits, Os, Reactor, ResolverAnswer, Stage, Sys,
};

use crate::common::tls::*;
use crate::common::*;

/// Each face connects to a server that answers the ClientHello with `bytes`. Returns the errors,
/// and the bytes that the clients sent after the ClientHello.
fn refused_by_both(bytes: impl AsRef<[u8]>) -> Vec<(String, Vec<u8>)> {
    let bytes = bytes.as_ref().to_vec();
    let server = serving(2, move |tcp| {
        let mut peer = Peer::plain(tcp);
        peer.record();
        // The client may close before everything is written.
        let _ = peer.try_write(&bytes);
        peer.rest_bytes()
    });
    let each = FACES.map(|face| {
        let (turns, tried) = counted(face, server.address);
        assert!(turns < 50, "{turns} turns: {tried:?}");
        assert!(tried.is_tls(), "{tried:?}");
        tried.refused()
    });
    each.into_iter().zip(server.join()).collect()
}

/// Opens a connection and counts its turns.
fn counted(face: Face, to: SocketAddr) -> (usize, Tried) {
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(face.ask(&format!("{}://{to}/", face.scheme()))).unwrap();
    turns(&mut reactor)
}

fn turns<S: Sys>(reactor: &mut Reactor<S>) -> (usize, Tried) {
    let (mut turns, mut reported) = (0, Vec::new());
    while !reactor.is_empty() {
        turns += 1;
        assert!(turns < 100_000, "spins");
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| reported.push(keep(event));
        reactor.turn(Some(Instant::now() + LONG), &mut sink).unwrap();
    }
    (turns, Tried { reported, trace: String::new() })
}

#[test]
fn a_server_without_tls_is_named() {
    for greeting in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "<html>",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "220 mail.example ESMTP\r\n",
        "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", // HTTP/2: a SETTINGS frame
        "\x16HTTP",
    ] {
        for (error, back) in refused_by_both(greeting) {
            let want = "TLS: the server does not speak TLS on this port; it may be one for ws:// \
                        or http://";
            assert_eq!(error, want, "{greeting:?}");
            assert_eq!(back.len(), 7, "{greeting:?}: an alert: {back:?}");
        }
    }
}

#[test]
fn a_tls_server_for_a_url_without_tls_is_named() {
    for (scheme, stage) in [("ws", "handshake"), ("http", "response")] {
        let server = serve_tls("good", |mut p| p.rest());
        let url = format!("{scheme}://{}/", server.address);
        let reported = match scheme {
            "ws" => events(options(&url), trusting()),
            _ => events(moonwire::StreamOptions::get(&url).unwrap(), trusting()),
        };
        let text = failure(&reported).0.to_string();
        let want =
            format!("{url}: {stage}: the answer is not HTTP/1.1: it starts with \"\\x15\\x03");
        assert!(text.starts_with(&want), "{text}");
        server.join();
    }
}

/// A record of `kind`.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &len, body].concat()
}

#[test]
fn records_that_are_none_end_the_handshake_and_the_server_gets_the_alert() {
    let long = "the server's part of the handshake, its certificates maybe, is longer than 64 KiB";
    for (subject, bytes, want) in [
        ("a message of an unknown type", record(22, &[99, 0, 0, 0]), ""),
        ("a ServerHello that is too short", record(22, &[2, 0, 0, 2, 3, 3]), ""),
        ("a ServerHello of one byte", record(22, &[2, 0, 0, 1, 3]), ""),
        ("a message of 16 MiB", record(22, &[2, 255, 255, 255]), long),
        ("a record that is too long", vec![22, 3, 3, 255, 255], ""),
        ("an empty record", record(22, b""), ""),
        ("data before the handshake", record(23, b"hello"), ""),
        ("a ChangeCipherSpec before the ServerHello", record(20, &[1]), ""),
        ("an invalid ChangeCipherSpec", record(20, &[7, 7]), ""),
        ("an alert of one byte", record(21, &[9]), ""),
        ("a heartbeat (RFC 6520)", record(24, &[1, 255, 255]), ""),
    ] {
        for (error, back) in refused_by_both(&bytes) {
            assert!(error.starts_with("TLS: ") && error.contains(want), "{subject}: {error}");
            assert!(error.len() < 300, "{subject}: {error}");
            assert!(back.starts_with(&[21, 3]), "{subject}: {error}: {back:?}");
        }
    }
}

#[test]
fn records_that_bring_nothing_do_not_go_on_for_ever() {
    for (subject, one) in [
        ("ChangeCipherSpec records", record(20, &[1])),
        ("warning alerts", record(21, &[1, 90])),
        ("empty messages", record(22, &[0, 0, 0, 0])),
    ] {
        for (error, _) in refused_by_both(one.repeat(100_000)) {
            assert!(error.starts_with("TLS: "), "{subject}: {error}");
        }
    }
    // Each record has one byte of the message.
    let mut tiny = record(22, &[2, 0, 255, 255]);
    (0..70_000).for_each(|_| tiny.extend(record(22, &[0])));
    for (error, _) in refused_by_both(tiny) {
        assert!(error.starts_with("TLS: "), "{error}");
    }
}

#[test]
fn a_chain_of_certificates_has_a_bound() {
    for (face, version) in all() {
        let mut server = Server::new("good").only(version);
        (0..20).for_each(|_| server.chain.extend(chain("deep")));
        let server = answering(server.config(), 1);
        let tried = face.open_at(server.address, &Arc::new(client()));
        assert_eq!(
            tried.refused(),
            "TLS: the server's part of the handshake, its certificates maybe, is longer than 64 KiB"
        );
        // rustls sends the server no alert here.
        let end = server.join()[0].end;
        assert!(!matches!(end, End::Request { .. }), "{end:?}");
    }
}

/// The records with which a server answers a ClientHello, each of at most 128 bytes.
fn flight(peer: &mut Peer, version: &'static SupportedProtocolVersion) -> Vec<Vec<u8>> {
    let mut config = Server::new("good").only(version).config();
    config.max_fragment_size = Some(128);
    let mut session = ServerConnection::new(Arc::new(config)).unwrap();
    while !session.wants_write() {
        session.read_tls(&mut peer.tcp).unwrap();
        session.process_new_packets().unwrap();
    }
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).unwrap();
    }
    let (mut records, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let len = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        records.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    records
}

/// How a server ends in the middle of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    End,
    /// `close_notify`.
    CloseNotify,
    /// The same, repeatedly.
    CloseNotifies,
    HalfARecord,
    Reset,
}

#[test]
fn a_server_that_leaves_in_the_middle_of_the_handshake() {
    // FAULTS 54: close_notify inside the handshake causes no busy loop.
    let ways =
        [Leave::End, Leave::CloseNotify, Leave::CloseNotifies, Leave::HalfARecord, Leave::Reset];
    for (face, version) in all() {
        for leave in ways {
            for sent in 0..6 {
                let server = serve(move |mut peer| {
                    let records = flight(&mut peer, version);
                    assert!(records.len() > 5, "{}", records.len());
                    peer.write(&records[..sent].concat());
                    let close_notify = record(21, &[1, 0]);
                    match leave {
                        Leave::End => {}
                        Leave::CloseNotify => peer.write(&close_notify),
                        Leave::CloseNotifies => {
                            let _ = peer.try_write(&close_notify.repeat(10_000));
                        }
                        Leave::HalfARecord => peer.write(&records[sent][..5]),
                        Leave::Reset => peer.reset(),
                    }
                });
                let (turns, tried) = counted(face, server.address);
                server.join();
                let what = format!("{face:?}, {version:?}, {sent}, {leave:?}: {tried:?}");
                assert!(turns < 50, "{turns} turns: {what}");
                assert!(tried.refused().starts_with("TLS: "), "{what}");
                let silent = [Leave::End, Leave::CloseNotify, Leave::HalfARecord].contains(&leave);
                if silent && sent == 0 {
                    assert_eq!(tried.refused(), "TLS: the server closed the connection", "{what}");
                }
            }
        }
    }
}

#[test]
fn a_close_notify_in_the_handshake_of_a_server_that_stays_does_not_spin() {
    // FAULTS 54. An attacker could have sent close_notify, so it does not end the handshake. The
    // usual time limit ends it.
    let mut close_notify = record(21, &[1, 0]);
    for count in [1, 4] {
        close_notify = close_notify.repeat(count);
        for face in FACES {
            let close_notify = close_notify.clone();
            let server = serve(move |mut p| {
                p.record();
                p.write(&close_notify);
                p.rest()
            });
            let (turns, tried) = hurried(face, server.address);
            assert_eq!(tried.refused(), "TLS: not open within the time limit of 50ms");
            assert!(turns < 50, "{turns}");
            server.join();
        }
    }
}

/// Like [`counted`], with a short time limit.
fn hurried(face: Face, to: SocketAddr) -> (usize, Tried) {
    let limit = Duration::from_millis(50);
    let ask = match face.ask(&format!("{}://{to}/", face.scheme())) {
        Ask::WebSocket(options) => options.timeout(limit).into(),
        Ask::Stream(options) => Ask::from(options.timeout(limit)),
    };
    let mut reactor = Reactor::new(trusting()).unwrap();
    reactor.open(ask).unwrap();
    turns(&mut reactor)
}

/// The operating system, except that a read returns one byte and advances the clock by `step`.
struct Drip {
    os: Os,
    start: Instant,
    step: Duration,
    reads: u32,
}

impl Drip {
    fn reactor(step: Duration) -> Reactor<Drip> {
        let os = Os::new(&Limits::default()).unwrap();
        Reactor::with_sys(Drip { os, start: Instant::now(), step, reads: 0 }, trusting()).unwrap()
    }
}

impl Sys for Drip {
    type Socket = <Os as Sys>::Socket;
    type Poller = <Os as Sys>::Poller;

    fn poller(&self) -> &Arc<Self::Poller> {
        self.os.poller()
    }
    fn now(&self) -> Instant {
        self.start + self.step * self.reads
    }
    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.os.random(bytes)
    }
    fn connect(&mut self, to: SocketAddr) -> io::Result<Self::Socket> {
        self.os.connect(to)
    }
    fn connected(&mut self, socket: &Self::Socket) -> io::Result<()> {
        self.os.connected(socket)
    }
    fn read(&mut self, socket: &Self::Socket, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.os.read(socket, &mut buf[..1])?;
        self.reads += 1;
        Ok(read)
    }
    fn write(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize> {
        self.os.write(socket, bytes)
    }
    fn shutdown_write(&mut self, socket: &Self::Socket) {
        self.os.shutdown_write(socket);
    }
    fn watch(
        &mut self,
        socket: &Self::Socket,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()> {
        self.os.watch(socket, token, interest, new)
    }
    fn forget(&mut self, socket: &Self::Socket) {
        self.os.forget(socket);
    }
    fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        self.os.resolve(id, name, port)
    }
    fn resolved(&mut self) -> Option<ResolverAnswer> {
        self.os.resolved()
    }
}

#[test]
fn a_handshake_that_drips_has_one_deadline_for_it_all() {
    // FAULTS 57: a byte arrives every four seconds, and none is late by itself.
    for (face, version) in all() {
        let server = answering(Server::new("good").only(version).config(), 1);
        let mut reactor = Drip::reactor(Duration::from_secs(4));
        reactor.open(face.ask(&format!("{}://{}/", face.scheme(), server.address))).unwrap();
        let (turns, tried) = turns(&mut reactor);
        assert_eq!(tried.refused(), format!("TLS: not open within the time limit of {LONG:?}"));
        assert!(turns < 20, "{turns}");
        let end = server.join()[0].end;
        assert!(!matches!(end, End::Request { .. }), "{end:?}");
    }
}

#[test]
fn everything_can_come_byte_by_byte() {
    for (face, version) in all() {
        let server = answering(Server::new("chain").only(version).config(), 1);
        let mut reactor = Drip::reactor(Duration::ZERO);
        reactor.open(face.ask(&format!("{}://{}/", face.scheme(), server.address))).unwrap();
        let (_, tried) = turns(&mut reactor);
        let end = tried.reported.last().unwrap();
        assert!(
            matches!(end, OwnedEvent::Closed(Closed::Clean(_) | Closed::Complete)),
            "{tried:?}"
        );
        assert_eq!(server.join()[0].version(), version.version);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    for face in FACES {
        let server = serve(|mut p| p.rest());
        let (turns, tried) = hurried(face, server.address);
        assert_eq!(tried.refused(), "TLS: not open within the time limit of 50ms");
        assert_eq!(tried.error().unwrap().stage(), Stage::Tls);
        assert!(turns < 50, "{turns}");
        server.join();
    }
}
