//! A small server for `moonwire echo`, for `--echo`, for tests and for benches: a WebSocket that
//! echoes on any path, and a few routes over HTTP/1.1 (`GET /` lists them), one request a
//! connection. One thread polls all connections. Hidden, and no part of the crate's interface.

#[cfg(feature = "deflate")]
mod compression;
#[cfg(not(feature = "deflate"))]
#[path = "no_compression.rs"]
mod compression;
mod conn;
mod drip;
mod head;
mod http;
mod player;
mod query;
mod refusal;
mod request;
mod route;
mod running;
mod serve;
mod server;
mod sse;

pub use crate::net::sys::raise_open_files;
pub use player::{Played, Player};
pub use running::Running;
pub use server::{Server, Stopper};

/// The root that signed [`CHAIN_PEM`].
pub const CA_PEM: &[u8] = include_bytes!("certs/ca.pem");
/// A certificate for `localhost`, `127.0.0.1` and `::1`.
pub const CHAIN_PEM: &[u8] = include_bytes!("certs/loopback.pem");
/// The pin of its key, for clients that pin it (`sha256/…` of a `Pin`).
pub const PIN: &str = "sha256/eCbHJMYSm345uu6b7HG0keN1kndxq5wDivbw3aoFHPY=";
/// Its key, which is public: nothing but loopback may trust it.
pub const KEY_PEM: &[u8] = include_bytes!("certs/loopback.key");

#[cfg(test)]
mod tests {
    #[cfg(feature = "tls")]
    #[test]
    fn over_tls_a_stream_comes_whole_and_ends_with_close_notify() {
        use super::*;
        use std::io::{Read as _, Write as _};
        use std::net::SocketAddr;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind_tls(any, CHAIN_PEM, KEY_PEM).unwrap().spawn().unwrap();
        assert!(server.http_url().starts_with("https://127.0.0.1:"));
        let config = crate::tls_config(CA_PEM).unwrap();
        let name = "localhost".try_into().unwrap();
        let client = crate::rustls::ClientConnection::new(config, name).unwrap();
        let tcp = std::net::TcpStream::connect(server.address()).unwrap();
        let mut tls = crate::rustls::StreamOwned::new(client, tcp);
        tls.write_all(b"GET /sse?n=50000&ms=0 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        // Without close_notify, this read would fail.
        tls.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.matches("event: tick\n").count(), 50_000);
    }
}
