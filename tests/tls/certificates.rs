//! Which certificates a client accepts: every certificate of tests/certs, and the alert that the
//! server receives.

use std::sync::Arc;

use moonwire::rustls::AlertDescription::{self, *};
use moonwire::rustls::pki_types::CertificateDer;

use crate::common::tls::*;

/// The host of the URL, the certificate, and, if it is refused, the reason and the alert.
type Row = (&'static str, &'static str, Option<(&'static str, AlertDescription)>);

const UNTRUSTED: (&str, AlertDescription) = (
    "the certificate is not signed by a trusted root; a root of your own can be added (or the \
     server leaves out an intermediate certificate)",
    UnknownCA,
);
const EXPIRED: (&str, AlertDescription) = (
    "the certificate or one of its issuers has expired, or the clock here is wrong",
    CertificateExpired,
);
const FORGED: (&str, AlertDescription) = (
    "a signature is wrong: the server does not have the certificate's key, or a certificate was changed",
    DecryptError,
);

const fn other_name(text: &'static str) -> Option<(&'static str, AlertDescription)> {
    Some((text, BadCertificate))
}

const fn broken_rule(text: &'static str) -> Option<(&'static str, AlertDescription)> {
    Some((text, CertificateUnknown))
}

// FAULTS 49, 55: rows with a reason are refused, rows without one are accepted.
const MATRIX: &[Row] = &[
    ("127.0.0.1", "good", None),
    ("[::1]", "good", None),
    ("localhost", "good", None),
    ("localhost", "chain", None),
    ("localhost", "name", None),
    ("127.0.0.1", "address", None),
    ("[::1]", "address", None),
    ("x.a.test", "wildcard", None),
    // Times.
    ("localhost", "expired", Some(EXPIRED)),
    ("localhost", "expired-intermediate", Some(EXPIRED)),
    (
        "localhost",
        "not-yet",
        Some(("the certificate is not valid yet, or the clock here is wrong", CertificateExpired)),
    ),
    // Trust.
    ("localhost", "unknown-root", Some(UNTRUSTED)),
    ("localhost", "self-signed", Some(UNTRUSTED)),
    ("localhost", "no-intermediate", Some(UNTRUSTED)),
    // Names. Only the certificate itself counts, and only its subjectAltName.
    ("localhost", "other", other_name("the certificate is for other.example (expected localhost)")),
    ("127.0.0.1", "other", other_name("the certificate is for other.example (expected 127.0.0.1)")),
    (
        "localhost",
        "cn-only",
        other_name(
            "the certificate is for no name (only a subjectAltName counts) (expected localhost)",
        ),
    ),
    (
        "localhost",
        "address",
        other_name("the certificate is for 127.0.0.1, ::1 (expected localhost)"),
    ),
    ("127.0.0.1", "name", other_name("the certificate is for localhost (expected 127.0.0.1)")),
    ("[::1]", "name", other_name("the certificate is for localhost (expected ::1)")),
    (
        "127.0.0.2",
        "address",
        other_name("the certificate is for 127.0.0.1, ::1 (expected 127.0.0.2)"),
    ),
    ("[::2]", "address", other_name("the certificate is for 127.0.0.1, ::1 (expected ::2)")),
    (
        "[::ffff:127.0.0.1]",
        "address",
        other_name("the certificate is for 127.0.0.1, ::1 (expected ::ffff:127.0.0.1)"),
    ),
    // A wildcard matches exactly one label.
    ("a.test", "wildcard", other_name("the certificate is for *.a.test (expected a.test)")),
    ("y.x.a.test", "wildcard", other_name("the certificate is for *.a.test (expected y.x.a.test)")),
    ("127.0.0.1", "wildcard", other_name("the certificate is for *.a.test (expected 127.0.0.1)")),
    // The purpose of a certificate.
    (
        "localhost",
        "client-only",
        Some((
            "the certificate is not for servers (its extended key usage)",
            UnsupportedCertificate,
        )),
    ),
    // Chains that break a rule.
    (
        "localhost",
        "no-ca",
        broken_rule("the chain of certificates breaks a rule: EndEntityUsedAsCa"),
    ),
    (
        "localhost",
        "constrained",
        broken_rule("the chain of certificates breaks a rule: NameConstraintViolation"),
    ),
    (
        "localhost",
        "path-length",
        broken_rule("the chain of certificates breaks a rule: PathLenConstraintViolated"),
    ),
    (
        "localhost",
        "deep",
        broken_rule("the chain of certificates breaks a rule: MaximumPathDepthExceeded"),
    ),
    // Weak algorithms.
    (
        "localhost",
        "sha1",
        Some((
            "the certificate is signed in a way that is not accepted, such as SHA-1; the server \
             needs another",
            DecryptError,
        )),
    ),
];

#[test]
fn the_matrix_is_red_but_for_the_good_ones() {
    // FAULTS 49.
    for (host, name, refused) in MATRIX {
        check(host, name, || Server::new(name), *refused);
    }
}

/// Connects to `host` with each face and each version of TLS. `server` makes the servers.
fn check(
    host: &str,
    name: &str,
    server: impl Fn() -> Server,
    refused: Option<(&str, AlertDescription)>,
) {
    let trusting = Arc::new(client());
    for (face, version) in all() {
        let server = answering(server().only(version).config(), 1);
        let tried = face.open(host, server.address, &trusting);
        let seen = server.join().remove(0);
        let what = format!("{face:?}, {version:?}: {host} with {name}: {tried:?}");
        match refused {
            None => {
                assert_eq!(tried.reason(), None, "{what}");
                assert_eq!(seen.version(), version.version, "{what}");
            }
            Some((text, alert)) => {
                assert_eq!(tried.refused(), format!("TLS: {text}"), "{what}");
                assert!(tried.is_certificate(), "{what}");
                assert!(tried.trace.contains(text), "{what}");
                // The server received an alert with the reason, and no request.
                assert_eq!(seen.end, End::Alert(alert), "{what}");
            }
        }
    }
}

/// Chains that are not in tests/certs. They are made of its files.
struct Made {
    name: &'static str,
    server: fn() -> Server,
    refused: Option<(&'static str, AlertDescription)>,
}

const MADE: &[Made] = &[
    Made {
        // Anybody can send a certificate; only its holder has the key.
        name: "a certificate without its key",
        server: || Server { key: key("other"), ..Server::new("good") },
        refused: Some(FORGED),
    },
    Made {
        name: "a signature with a changed bit",
        server: || changed("good", |der| *der.last_mut().unwrap() ^= 1),
        refused: Some(FORGED),
    },
    Made {
        name: "a certificate with a changed end of validity",
        server: || {
            changed("expired", |der| {
                let at = der.windows(13).position(|w| w == b"010101000000Z").unwrap();
                der[at..at + 2].copy_from_slice(b"49");
            })
        },
        refused: Some(FORGED),
    },
    Made {
        name: "bytes that are no certificate",
        server: || Server {
            chain: vec![CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])],
            ..Server::new("good")
        },
        refused: Some(("the certificate is not acceptable: BadEncoding", BadCertificate)),
    },
    Made {
        name: "a chain that begins with the intermediate",
        server: || {
            let mut chain = chain("chain");
            chain.reverse();
            Server { chain, ..Server::new("chain") }
        },
        refused: broken_rule("the chain of certificates breaks a rule: CaUsedAsEndEntity"),
    },
    Made {
        name: "a chain with its root, and with what does not belong there",
        server: || {
            let chain = [chain("chain"), chain("ca"), chain("other"), chain("deep")].concat();
            Server { chain, ..Server::new("chain") }
        },
        refused: None,
    },
    Made {
        // FAULTS 55: the search for an issuer ends, however many certificates the server sends.
        name: "a chain with a hundred that do not belong there",
        server: || {
            let mut chain = chain("chain");
            (0..12).for_each(|_| chain.extend(self::chain("deep")));
            Server { chain, ..Server::new("chain") }
        },
        refused: None,
    },
];

fn changed(name: &str, change: impl Fn(&mut [u8])) -> Server {
    let mut der = chain(name)[0].to_vec();
    change(&mut der);
    Server { chain: vec![CertificateDer::from(der)], ..Server::new(name) }
}

#[test]
fn what_was_made_of_certificates_is_not_believed() {
    for row in MADE {
        check("localhost", row.name, row.server, row.refused);
    }
}
