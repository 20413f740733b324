//! The echo server with clients that break rules. All other tests use it with correct clients.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use moonwire::peer::Server;

use crate::common::*;

/// An open connection that no client of this crate has made.
fn raw(server: &moonwire::peer::Running) -> Peer {
    let mut tcp = TcpStream::connect(server.address()).unwrap();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).unwrap();
    let mut peer = Peer::plain(tcp);
    assert!(peer.request().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    peer
}

/// A frame with the mask key 0.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(first, payload);
    let head = bytes.len() - payload.len();
    bytes[1] |= 0x80;
    bytes.splice(head..head, [0; 4]);
    bytes
}

fn still_echoes(server: &moonwire::peer::Running) {
    let mut ws = options(server.url()).connect().unwrap();
    ws.send_text("still there").unwrap();
    assert_eq!(ws.read().unwrap(), Some(moonwire::Message::Text("still there".into())));
}

#[test]
fn what_is_not_a_handshake_gets_an_http_error() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426"),
        ("GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("PUT / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut tcp = TcpStream::connect(server.address()).unwrap();
        tcp.write_all(request.as_bytes()).unwrap();
        let mut peer = Peer::plain(tcp);
        let answer = String::from_utf8(peer.read(12)).unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}"), "{request:?}");
        peer.rest();
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_and_holds_nobody_up() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut peer = raw(&server);
    let message = masked(0x82, &[7; 100_000]);
    peer.tcp.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut tcp = &peer.tcp;
    let stuck = (0..2000).find_map(|_| tcp.write_all(&message).err());
    let stuck = stuck.expect("200 MB were taken of a client that reads nothing");
    assert!(is_timeout(&stuck), "{stuck}");
    still_echoes(&server);
    // As soon as the client reads, its echoes arrive.
    assert_eq!(peer.read(2), [0x82, 127]);
    assert_eq!(peer.read(8 + 100_000)[8..], [7; 100_000]);
    peer.reset();
    still_echoes(&server);
}

#[test]
fn a_close_is_answered_with_its_code_and_ends_the_tcp_connection() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    for (sent, answer) in [
        (masked(0x88, b"\x0F\xA1bye"), &b"\x88\x02\x0F\xA1"[..]),
        (masked(0x88, b""), b"\x88\x00"),
        // RFC 6455 §5.1: a frame that is not masked.
        (frame(0x81, b"x"), b"\x88\x1e\x03\xEAunmasked frame from a client"),
    ] {
        let mut peer = raw(&server);
        peer.write(&sent);
        assert_eq!(peer.read(answer.len()), answer);
        assert_eq!(peer.rest(), 0);
    }
    still_echoes(&server);
}

#[test]
fn stopping_it_closes_with_1001() {
    let server = Server::bind(loopback()).unwrap().spawn().unwrap();
    let mut peer = raw(&server);
    server.stop();
    assert_eq!(peer.read(4), b"\x88\x02\x03\xE9");
    assert_eq!(peer.rest(), 0);
}
