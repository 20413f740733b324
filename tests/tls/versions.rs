//! TLS 1.2 and 1.3, and nothing older.

use std::sync::Arc;

use moonwire::rustls::ProtocolVersion;
use moonwire::rustls::version::{TLS12, TLS13};

use crate::common::Peer;
use crate::common::tls::*;

#[test]
fn servers_with_one_version_are_spoken_to_and_the_trace_names_it() {
    for face in FACES {
        let did = if face == Face::WebSocket { "open" } else { "answered" };
        for (versions, want) in [
            (&[&TLS12][..], ProtocolVersion::TLSv1_2),
            (&[&TLS13], ProtocolVersion::TLSv1_3),
            (&VERSIONS, ProtocolVersion::TLSv1_3),
        ] {
            let server = Server { versions: versions.to_vec(), ..Server::new("good") };
            let server = answering(server.config(), 1);
            let tried = face.open_at(server.address, &Arc::new(client()));
            assert_eq!(tried.reason(), None);
            assert_eq!(server.join()[0].version(), want);
            let line = format!("-- {did} over {want:?}\n");
            assert_eq!(tried.trace.matches(&line).count(), 1, "{}", tried.trace);
        }
    }
}

/// A record with a ServerHello of `version`, without extensions.
fn server_hello(version: u8) -> Vec<u8> {
    let body = [
        &[3, version][..],
        &[7; 32],      // random
        &[0],          // no session
        &[0xC0, 0x2F], // a cipher suite that was offered
        &[0],          // no compression
    ]
    .concat();
    let len = u8::try_from(body.len()).unwrap();
    [&[22, 3, version, 0, len + 4, 2, 0, 0, len][..], &body].concat()
}

#[test]
fn an_older_version_is_refused_and_the_server_gets_the_alert() {
    // A ServerHello of SSL 3.0, TLS 1.0 and TLS 1.1.
    for version in [0, 1, 2] {
        for face in FACES {
            let server = serving(1, move |tcp| {
                let mut peer = Peer::plain(tcp);
                peer.record();
                peer.write(&server_hello(version));
                peer.read(7)
            });
            let tried = face.open_at(server.address, &Arc::new(client()));
            assert_eq!(
                tried.refused(),
                "TLS: the server supports no version of TLS that is accepted here (1.2 and 1.3, or 1.3 \
                 alone where that is the minimum)"
            );
            assert!(tried.is_tls());
            let alert = server.join().remove(0);
            assert_eq!((alert[0], &alert[5..]), (21, &[2, 70][..]), "protocol_version, fatal");
        }
    }
}

#[test]
fn a_server_that_wants_an_older_version_is_named() {
    for face in FACES {
        let server = serving(1, |tcp| {
            let mut peer = Peer::plain(tcp);
            peer.record();
            peer.write(b"\x15\x03\x01\0\x02\x02\x46");
            peer.rest()
        });
        let tried = face.open_at(server.address, &Arc::new(client()));
        assert_eq!(
            tried.refused(),
            "TLS: the server refused with alert ProtocolVersion; it requires another version of \
             TLS (1.2 and 1.3 are supported here, or 1.3 alone where that is the minimum)"
        );
        server.join();
    }
}

#[test]
fn a_configuration_of_one_version_is_used_as_it_is() {
    use moonwire::rustls::ClientConfig;
    use moonwire::rustls::crypto::ring;
    for (version, other) in [(&TLS12, &TLS13), (&TLS13, &TLS12)] {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots("ca.pem"))
            .with_no_client_auth();
        let config = Arc::new(config);
        for face in FACES {
            let server = answering(Server::new("good").config(), 1);
            assert_eq!(face.open_at(server.address, &config).reason(), None);
            assert_eq!(server.join()[0].version(), version.version);
            let server = answering(Server::new("good").only(other).config(), 1);
            let error = face.open_at(server.address, &config).refused();
            assert!(error.contains("version of TLS"), "{error}");
            server.join();
        }
    }
}
