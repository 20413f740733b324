//! A TLS client and a TLS server in memory.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;

fn pem(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/certs/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&pem(&format!("{name}.pem"))).map(Result::unwrap).collect()
}

/// A server with a certificate of tests/certs and these protocols.
pub(in crate::net) fn server(name: &str, protocols: &[&str]) -> Tls {
    let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(name), key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Tls(ServerConnection::new(Arc::new(config)).unwrap().into(), Records::default())
}

/// Makes the handshake; the error is the client's.
fn meet(options: TlsOptions, host: &str, mut server: Tls) -> Result<Tls, String> {
    let host = match host.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host.to_owned()),
    };
    let mut client = Tls::client(&options.build().unwrap(), &host).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        for (from, to) in [(false, true), (true, false)] {
            let mut bytes = Vec::new();
            let side = if from { &mut server } else { &mut client };
            while side.wants_write() {
                side.write(&mut bytes).unwrap();
            }
            let side = if to { &mut server } else { &mut client };
            let fed = side.feed(&bytes, &mut Vec::new(), &mut 0);
            match fed {
                Err(e) if !to => return Err(e.to_string()),
                Err(e) => panic!("the server: {e}"),
                Ok(fed) => assert_eq!(fed, Fed::Open),
            }
        }
    }
    Ok(client)
}

fn trusting() -> TlsOptions {
    TlsOptions::new().trust(Trust::Pem(pem("ca.pem")))
}

fn pin(name: &str) -> Pin {
    Pin::of_certificate(&chain(name)[0]).unwrap()
}

#[test]
fn what_was_agreed_and_shown_is_known_after_the_handshake() {
    let host = Host::Name("localhost".to_owned());
    let fresh = Tls::client(&trusting().build().unwrap(), &host).unwrap();
    assert_eq!((fresh.alpn(), fresh.certificates().len()), (None, 0));

    let client = meet(trusting(), "localhost", server("chain", &["h2", "http/1.1"])).unwrap();
    assert_eq!(client.alpn(), Some(&b"http/1.1"[..]));
    assert_eq!(
        client.certificates(),
        chain("chain").iter().map(|c| c.to_vec()).collect::<Vec<_>>()
    );
    assert_eq!(client.version(), "TLSv1_3");

    let client = meet(trusting(), "localhost", server("good", &[])).unwrap();
    assert_eq!(client.alpn(), None);
}

#[test]
fn without_verification_only_this_machine_is_believed() {
    let insecure = || TlsOptions::new().insecure_on_loopback();
    for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
        for name in ["unknown-root", "self-signed", "expired", "other", "client-only"] {
            assert!(meet(TlsOptions::new(), host, server(name, &[])).is_err(), "{host} {name}");
            meet(insecure(), host, server(name, &[])).map(drop).unwrap();
        }
    }
    for host in ["x.a.test", "localhost.example", "a.localhost", "10.0.0.1", "::2"] {
        for name in ["wildcard", "self-signed"] {
            let error_text = meet(insecure(), host, server(name, &[])).map(drop).unwrap_err();
            assert!(
                error_text.contains("not signed by a trusted root"),
                "{host} {name}: {error_text}"
            );
        }
    }
    // A certificate that verifies is still accepted.
    meet(trusting().insecure_on_loopback(), "x.a.test", server("wildcard", &[])).map(drop).unwrap();
}

#[test]
fn a_pin_holds_where_nothing_else_is_verified_and_only_for_the_servers_own_key() {
    let insecure =
        |name| TlsOptions::new().insecure_on_loopback().trust(Trust::Pins(vec![pin(name)]));
    meet(insecure("self-signed"), "localhost", server("self-signed", &[])).map(drop).unwrap();
    let error_text =
        meet(insecure("good"), "localhost", server("self-signed", &[])).map(drop).unwrap_err();
    assert!(error_text.contains(&pin("self-signed").to_string()), "{error_text}");
    // The server sends the intermediate, but its place in the chain was not verified.
    let between = Pin::of_certificate(&chain("chain")[1]).unwrap();
    let options = TlsOptions::new().insecure_on_loopback().trust(Trust::Pins(vec![between]));
    let error_text = meet(options, "localhost", server("chain", &[])).map(drop).unwrap_err();
    assert!(error_text.contains(&pin("chain").to_string()), "{error_text}");
}

#[test]
fn the_signature_of_the_handshake_is_checked_even_without_verification() {
    // Anybody has the certificate, but not its key.
    let key = PrivateKeyDer::from_pem_slice(&pem("other.key")).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    let certified = rustls::sign::CertifiedKey::new(chain("good"), key);
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let server = Tls(ServerConnection::new(Arc::new(config)).unwrap().into(), Records::default());
    let result = meet(TlsOptions::new().insecure_on_loopback(), "localhost", server).map(drop);
    assert!(result.unwrap_err().contains("a signature is wrong"));
}

/// Only a server that has sent no TLS at all may be one for another protocol.
#[test]
fn the_advice_about_the_port_is_for_the_first_bytes_alone() {
    for phase in [Phase::Greeting, Phase::Handshake, Phase::Open] {
        let error = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let text = failure(error, phase).to_string();
        assert_eq!(text.contains("it may be one for ws://"), phase == Phase::Greeting, "{text}");
    }
}
