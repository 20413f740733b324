//! Servers that require a client certificate or a protocol (ALPN).

use std::sync::Arc;

use moonwire::rustls::version::{TLS12, TLS13};

use crate::common::tls::*;

fn demanding() -> Server {
    Server { wants_client: true, ..Server::new("good") }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    for (face, version) in all() {
        for wants_client in [true, false] {
            let server = Server { wants_client, ..Server::new("good").only(version) };
            let server = answering(server.config(), 1);
            let tried = face.open_at(server.address, &Arc::new(with_certificate("client")));
            assert_eq!(tried.reason(), None);
            let End::Request { with_certificate, .. } = server.join()[0].end else { panic!() };
            assert_eq!(with_certificate, wants_client);
        }
    }
}

#[test]
fn a_client_certificate_that_is_missing_is_named_in_the_handshake_of_tls_1_2() {
    for face in FACES {
        let server = answering(demanding().only(&TLS12).config(), 1);
        let tried = face.open_at(server.address, &Arc::new(client()));
        assert_eq!(
            tried.refused(),
            "TLS: the server refused with alert CertificateRequired; it requires a client \
             certificate (TlsOptions::identity, or --cert and --key)"
        );
        assert!(tried.is_tls());
        assert_eq!(server.join()[0].end, End::Other);
    }
}

#[test]
fn a_client_certificate_that_is_missing_is_named_behind_the_handshake_of_tls_1_3() {
    // The client completes its handshake before the server reports the missing certificate. By then
    // the client has sent the request, but the connection does not count as open.
    for face in FACES {
        let server = answering(demanding().only(&TLS13).config(), 1);
        let tried = face.open_at(server.address, &Arc::new(client()));
        assert_eq!(
            tried.refused(),
            "TLS: the server aborted with alert CertificateRequired; it requires a client \
             certificate (TlsOptions::identity, or --cert and --key)"
        );
        assert!(tried.is_tls());
        assert_eq!(server.join()[0].end, End::Other);
    }
}

#[test]
fn a_client_certificate_that_is_not_accepted_is_named() {
    for (face, version) in all() {
        let server = answering(demanding().only(version).config(), 1);
        let tried = face.open_at(server.address, &Arc::new(with_certificate("client-only")));
        let error = tried.refused();
        let want = "with alert UnknownCA; it does not accept the client certificate";
        assert!(error.starts_with("TLS: the server ") && error.ends_with(want), "{error}");
        server.join();
    }
}

/// Runs a server with the protocols `has` and a client that offers `offers`.
fn agree(face: Face, has: &[&str], offers: &[&str]) -> (Seen, Tried) {
    let list = |of: &[&str]| of.iter().map(|p| p.as_bytes().to_vec()).collect();
    let mut server = Server::new("good").config();
    server.alpn_protocols = list(has);
    let server = answering(server, 1);
    let mut config = client();
    config.alpn_protocols = list(offers);
    let tried = face.open_at(server.address, &Arc::new(config));
    (server.join().remove(0), tried)
}

#[test]
fn a_server_may_do_without_an_offer() {
    // RFC 7301 §3.2: the client need not offer a protocol, even if the server has a list.
    for face in FACES {
        for has in [&[][..], &["http/1.1"], &["h2"]] {
            let (seen, tried) = agree(face, has, &[]);
            assert_eq!((seen.protocols, tried.reason()), (None, None), "{has:?}");
        }
        let (seen, tried) = agree(face, &["h2", "http/1.1"], &["http/1.1"]);
        assert_eq!(tried.reason(), None);
        assert_eq!(seen.protocols, Some(vec!["http/1.1".to_owned()]));
    }
}

#[test]
fn a_server_without_a_common_protocol_is_named() {
    let want = "TLS: the server refused with alert NoApplicationProtocol; it does not \
                offer HTTP/1.1 here (ALPN)";
    for face in FACES {
        let (seen, tried) = agree(face, &["h2"], &["http/1.1"]);
        assert_eq!((seen.end, &*tried.refused()), (End::Other, want));
        // The server refuses a client that has offered no protocol.
        let server = serving(1, |tcp| {
            let mut peer = crate::common::Peer::plain(tcp);
            peer.record();
            peer.write(b"\x15\x03\x03\0\x02\x02\x78");
            peer.rest()
        });
        let tried = face.open_at(server.address, &Arc::new(client()));
        assert_eq!(tried.refused(), want);
        server.join();
    }
}
