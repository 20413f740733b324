//! Reads over TLS.

use super::*;
use crate::net::TlsOptions;
use crate::net::wire::tls::Tls;
use crate::net::wire::tls::tests::server;

/// Takes what the first client of a bench has written; returns it decrypted.
fn taken(server: &mut Tls, bench: &Bench) -> String {
    let (mut plain, mut end) = (Vec::new(), 0);
    server.feed(&bench.wrote(0), &mut plain, &mut end).unwrap();
    gives(server, bench, b"");
    String::from_utf8(plain).unwrap()
}

fn gives(server: &mut Tls, bench: &Bench, mut bytes: &[u8]) {
    let mut cipher = Vec::new();
    loop {
        bytes = &bytes[server.encrypt(bytes)..];
        while server.wants_write() {
            server.write(&mut cipher).unwrap();
        }
        if bytes.is_empty() {
            return bench.gives(0, &cipher);
        }
    }
}

/// `Limits::receive_buffer` and `Limits::receive_buffer_max`, for bytes that are not decrypted yet.
#[test]
fn what_is_encrypted_is_read_in_the_same_sizes() {
    let (receive_buffer, receive_buffer_max, turn) = (5000, 30_000, usize::MAX);
    let limits = Limits { receive_buffer, receive_buffer_max, turn, ..Limits::default() };
    let tls = Some(TlsOptions::new().insecure_on_loopback().build().unwrap());
    let mut bench = Bench::with(Config { limits, tls, ..Config::default() });
    let mut server = server("good", &[]);
    bench.start(Options::new("wss://127.0.0.1/").unwrap());
    let mut head = String::new();
    while head.is_empty() {
        head = taken(&mut server, &bench);
        assert_eq!(bench.turns(), NOTHING);
    }
    gives(&mut server, &bench, answer_to(&head).as_bytes());
    assert_eq!(bench.turns(), ["opened"]);
    bench.reads(0);
    // A read that finds less than it asked for is not followed by a larger one.
    for n in 0..3 {
        gives(&mut server, &bench, &binary(n));
        assert_eq!(bench.turns(), [format!("binary {n}")]);
        assert_eq!(bench.reads(0), [5000]);
    }
    gives(&mut server, &bench, &binary(200_000));
    assert_eq!(bench.turns(), ["binary 200000"]);
    let reads = bench.reads(0);
    assert_eq!(reads[..5], [5000, 10_000, 20_000, 30_000, 30_000]);
    assert!(reads[5..].iter().all(|&size| size == 30_000), "{reads:?}");
}
