//! Pins: a key that must be in the chain, in addition to verification.

use std::sync::Arc;

use moonwire::rustls::AlertDescription::{CertificateUnknown, UnknownCA};
use moonwire::rustls::ClientConfig;
use moonwire::rustls::pki_types::CertificateDer;
use moonwire::{Pin, TlsOptions, Trust};

use crate::common::pem;
use crate::common::tls::*;

fn pin(certificate: &CertificateDer<'_>) -> Pin {
    Pin::of_certificate(certificate).unwrap()
}

/// A configuration that trusts the root of tests/certs and requires one of these keys.
fn pinned(pins: &[Pin]) -> Arc<ClientConfig> {
    let options = TlsOptions::new().trust(Trust::Pem(pem("ca.pem")));
    options.trust(Trust::Pins(pins.to_vec())).build().unwrap()
}

/// Connects to `localhost` with each face and each version of TLS. `server` makes the servers. The
/// error of a refusal names the server's own key.
fn check(server: impl Fn() -> Server, pins: &[Pin], good: bool) {
    let config = pinned(pins);
    for (face, version) in all() {
        let server = server().only(version);
        let own = pin(&server.chain[0]);
        let server = answering(server.config(), 1);
        let tried = face.open("localhost", server.address, &config);
        let seen = server.join().remove(0);
        let what = format!("{face:?}, {version:?}: {tried:?}");
        if good {
            assert_eq!(tried.reason(), None, "{what}");
            assert_eq!(seen.version(), version.version, "{what}");
        } else {
            let want = format!(
                "TLS: no certificate of the verified chain has a pinned key; the server's own key is \
                 {own} (if the server was given a new key on purpose, pin that one; if not, another \
                 server has answered)"
            );
            assert_eq!(tried.refused(), want, "{what}");
            assert!(tried.is_certificate(), "{what}");
            assert_eq!(seen.end, End::Alert(CertificateUnknown), "{what}");
        }
    }
}

#[test]
fn the_key_of_the_certificate_of_the_intermediate_or_of_the_root_may_be_pinned() {
    let (sent, root) = (chain("chain"), chain("ca"));
    assert_eq!((sent.len(), root.len()), (2, 1));
    for certificate in sent.iter().chain(&root) {
        check(|| Server::new("chain"), &[pin(certificate)], true);
    }
    // A chain without an intermediate.
    for certificate in chain("good").iter().chain(&root) {
        check(|| Server::new("good"), &[pin(certificate)], true);
    }
}

#[test]
fn a_key_that_is_not_in_the_chain_opens_nothing() {
    check(|| Server::new("chain"), &[pin(&chain("good")[0])], false);
    check(|| Server::new("good"), &[pin(&chain("chain")[1])], false);
    let none: Pin = format!("sha256/{}=", "A".repeat(43)).parse().unwrap();
    check(|| Server::new("good"), &[none], false);
}

#[test]
fn one_of_several_pins_is_enough_however_they_are_given() {
    let (own, other) = (pin(&chain("good")[0]), pin(&chain("other")[0]));
    check(|| Server::new("good"), &[other, own], true);
    check(|| Server::new("good"), &[other, pin(&chain("name")[0])], false);
    let options = TlsOptions::new().trust(Trust::Pins(vec![other]));
    let options = options.trust(Trust::Pem(pem("ca.pem"))).trust(Trust::Pins(vec![own]));
    let config = options.build().unwrap();
    let server = answering(Server::new("good").config(), 1);
    assert_eq!(FACES[0].open_at(server.address, &config).reason(), None);
    server.join();
}

#[test]
fn a_pinned_certificate_that_is_only_sent_along_does_not_count() {
    // FAULTS 49. Certificates are public: the holder of another valid certificate can send the
    // pinned one after it.
    for pinned in [&chain("other")[0], &chain("chain")[1], &chain("client-ca")[0]] {
        let appended = || {
            let chain = [chain("good"), vec![pinned.clone()]].concat();
            Server { chain, ..Server::new("good") }
        };
        check(appended, &[pin(pinned)], false);
    }
}

#[test]
fn a_certificate_made_up_around_a_pinned_key_does_not_count() {
    // FAULTS 49. The server sends a forged certificate with the pinned public key. It claims to be
    // the issuer of the server's certificate.
    let pinned = &chain("other")[0];
    let mut forged = chain("ca")[0].to_vec();
    let point = |der: &[u8]| der.windows(4).position(|w| w == [3, 0x42, 0, 4]).unwrap() + 4;
    let (from, to) = (point(pinned), point(&forged));
    forged[to..to + 64].copy_from_slice(&pinned[from..from + 64]);
    let forged = CertificateDer::from(forged);
    assert_eq!(pin(&forged), pin(pinned));
    let server = || {
        let chain = [chain("good"), vec![forged.clone()]].concat();
        Server { chain, ..Server::new("good") }
    };
    check(server, &[pin(pinned)], false);
}

#[test]
fn a_pin_is_no_substitute_for_a_root() {
    // FAULTS 49.
    for name in ["unknown-root", "self-signed", "no-intermediate"] {
        let config = pinned(&[pin(&chain(name)[0])]);
        for (face, version) in all() {
            let server = answering(Server::new(name).only(version).config(), 1);
            let tried = face.open("localhost", server.address, &config);
            assert!(tried.refused().contains("not signed by a trusted root"), "{tried:?}");
            assert_eq!(server.join()[0].end, End::Alert(UnknownCA));
        }
    }
    // A pin does not replace the checks of the name and of the time.
    for (name, why) in [("other", "is for other.example"), ("expired", "has expired")] {
        let config = pinned(&[pin(&chain(name)[0])]);
        let server = answering(Server::new(name).config(), 1);
        let tried = FACES[0].open("localhost", server.address, &config);
        assert!(tried.refused().contains(why), "{tried:?}");
        server.join();
    }
}
