//! Reads over TLS.

use std::io::{Read as _, Write as _};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::net::TlsOptions;

/// The server of the first connection of a [`Bench`].
struct Server(ServerConnection);

impl Server {
    fn new() -> Server {
        let pem = |end| format!("{}/tests/certs/good.{end}", env!("CARGO_MANIFEST_DIR"));
        let chain = CertificateDer::pem_file_iter(pem("pem")).unwrap().map(Result::unwrap);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect(), PrivateKeyDer::from_pem_file(pem("key")).unwrap())
            .unwrap();
        Server(ServerConnection::new(Arc::new(config)).unwrap())
    }

    /// Takes what the client has written, and returns it decrypted.
    fn takes(&mut self, bench: &Bench) -> String {
        let wrote = bench.wrote(0);
        let mut rest = &wrote[..];
        while !rest.is_empty() {
            self.0.read_tls(&mut rest).unwrap();
            self.0.process_new_packets().unwrap();
        }
        let mut plain = Vec::new();
        // Ends with an error, since more bytes could come.
        let _ = self.0.reader().read_to_end(&mut plain);
        self.gives(bench, b"");
        String::from_utf8(plain).unwrap()
    }

    fn gives(&mut self, bench: &Bench, mut bytes: &[u8]) {
        let mut cipher = Vec::new();
        loop {
            let n = self.0.writer().write(bytes).unwrap();
            bytes = &bytes[n..];
            while self.0.wants_write() {
                self.0.write_tls(&mut cipher).unwrap();
            }
            if bytes.is_empty() {
                return bench.gives(0, &cipher);
            }
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
    let mut server = Server::new();
    bench.start(Options::new("wss://127.0.0.1/").unwrap());
    let mut head = String::new();
    while head.is_empty() {
        head = server.takes(&bench);
        assert_eq!(bench.turns(), Vec::<String>::new());
    }
    server.gives(&bench, answer_to(&head).as_bytes());
    assert_eq!(bench.turns(), ["opened"]);
    bench.reads(0);
    // A read that finds less than it asked for is not followed by a larger one.
    for n in 0..3 {
        server.gives(&bench, &binary(n));
        assert_eq!(bench.turns(), [format!("binary {n}")]);
        assert_eq!(bench.reads(0), [5000]);
    }
    server.gives(&bench, &binary(200_000));
    assert_eq!(bench.turns(), ["binary 200000"]);
    let reads = bench.reads(0);
    assert_eq!(reads[..5], [5000, 10_000, 20_000, 30_000, 30_000]);
    assert!(reads[5..].iter().all(|&size| size == 30_000), "{reads:?}");
}
