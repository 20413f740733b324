//! A client certificate and its key, in the forms that `TlsOptions::identity` accepts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moonwire::rustls::version::TLS12;
use moonwire::{TlsOptions, Trust};

use crate::common::pem;
use crate::common::tls::*;

fn trusting() -> TlsOptions {
    TlsOptions::new().trust(Trust::Pem(pem("ca.pem")))
}

#[test]
fn a_server_that_demands_a_certificate_accepts_it_and_refuses_without() {
    let config = trusting().identity(&pem("client.pem"), &pem("client.key")).build().unwrap();
    let without = trusting().build().unwrap();
    for (face, version) in all() {
        let demanding = Server { wants_client: true, ..Server::new("good").only(version) };
        let server = answering(demanding.config(), 2);
        assert_eq!(face.open_at(server.address, &config).reason(), None);
        let error = face.open_at(server.address, &without).refused();
        let want = "with alert CertificateRequired; it requires a client certificate \
                    (TlsOptions::identity, or --cert and --key)";
        assert!(error.ends_with(want), "{error}");
        let seen = server.join();
        let End::Request { with_certificate: true, .. } = seen[0].end else { panic!("{seen:?}") };
        assert_eq!(seen[1].end, End::Other);
        // The client sends no certificate to a server that requests none.
        let server = answering(Server::new("good").only(version).config(), 1);
        assert_eq!(face.open_at(server.address, &config).reason(), None);
        let End::Request { with_certificate: false, .. } = server.join()[0].end else { panic!() };
    }
}

fn armour(label: &str, der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

/// The key of a certificate in SEC1 form (RFC 5915 §3), which is a part of PKCS#8.
fn sec1(name: &str) -> Vec<u8> {
    let pkcs8 = key(name).secret_der().to_vec();
    let at = pkcs8.windows(5).position(|w| w == [2, 1, 1, 4, 32]).unwrap();
    armour("EC PRIVATE KEY", &pkcs8[at - 2..])
}

#[test]
fn a_key_may_be_sec1_and_may_stand_with_its_certificate() {
    let sec1 = sec1("client");
    let both = [pem("client.key"), pem("client.pem")].concat();
    let pem = pem("client.pem");
    for (chain, key) in [(&pem, &sec1), (&both, &both)] {
        let config = trusting().identity(chain, key).build().unwrap();
        let demanding = Server { wants_client: true, ..Server::new("good").only(&TLS12) };
        let server = answering(demanding.config(), 1);
        assert_eq!(FACES[0].open_at(server.address, &config).reason(), None);
        server.join();
    }
}

#[test]
fn what_is_wrong_with_a_certificate_or_a_key_is_said() {
    let (chain, key) = (pem("client.pem"), pem("client.key"));
    let cut = |text: &[u8]| text[..text.len() / 2].to_vec();
    let other = "the client key does not belong to the client certificate";
    let encrypted = "client key: it is encrypted; ";
    for (chain, key, want) in [
        (&b"no"[..], &key[..], "client certificate: no certificate in it (PEM is expected)"),
        (&key, &key, "client certificate: no certificate in it (PEM is expected)"),
        (&cut(&chain), &key, "client certificate: certificate 1 cannot be read: "),
        (
            &[&chain[..], &cut(&chain)].concat(),
            &key,
            "client certificate: certificate 2 cannot be read: ",
        ),
        (
            &armour("CERTIFICATE", &[0x30, 3, 1, 2, 3]),
            &key,
            "client certificate: certificate 1 cannot be read: ",
        ),
        (&chain, b"", "client key: no private key in it (PEM of PKCS#8, SEC1 or PKCS#1"),
        (&chain, &chain, "client key: no private key in it (PEM of PKCS#8, SEC1 or PKCS#1"),
        (&chain, &cut(&key), "client key: it cannot be read: "),
        (&chain, &armour("PRIVATE KEY", &[0x30, 3, 1, 2, 3]), "client key: "),
        (&chain, &armour("ENCRYPTED PRIVATE KEY", &[0x30, 0]), encrypted),
        (&chain, b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", encrypted),
        (&chain, &pem("good.key"), other),
        (&chain, &sec1("good"), other),
        // This error shows that the PKCS#1 key was read.
        (&chain, RSA, other),
    ] {
        let error = TlsOptions::new().identity(chain, key).build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
        let error = error.to_string();
        assert!(error.starts_with(want), "{want}: {error}");
    }
}

/// A key without a certificate, in PKCS#1 form (RFC 8017 §A.1.2).
const RSA: &[u8] = b"\
-----BEGIN RSA PRIVATE KEY-----
MIIEpQIBAAKCAQEA/EoP9bNEZwzClKR5FQa/rP17dGRm51g/AyjEDb5kfLFQ6/ai
7cw7t38rNTiiCIhHWolu2Be5rZffl5o3cRdCSiRG7Qca23RCb3+coK03jkmMU/AY
Xy078RW9JpT4kUb1jyfGubDUd10D5xDBeIzOE7+QtNq/M73V4/YcOOj4VRj1dEO1
g9sIpBzaN3w5AMqlcMSy6dQvkk5+k+zf5c41p63llfAfSl4O2q/Mei2sd6SXIIm+
NCLM8g0rsbJXwY7UNTXzGk8C4G4Q2zvqB+FQFHqZBWq059U04gtH5Zlt/I78J5WY
b3mwn0VsxhhNGCAD16W9FIR7zf1C1bgWRIE3OwIDAQABAoIBACAxUy1cXV4eQrYK
Rr5oHg1KSyE5rpKBWt5hqqLA/hGV5BLiuzzyKAHs4uvno3Ad86eZ4eBb0VWqtjKi
JcZIhteZyXMgH6KL3e5cWkrRJPBYcjpDvi28QpSA3Ey6tafUENbePH11aFHS4gHv
dsCV4bX4u9Ota2Mu1hxAoK6iYQ3P4KZNK8WBlpU9kPYnZbr0IKLL71U5u1ME93GN
iv5dHIH1xCzlp8MQy76krXt0OhB7Mp02D5xmsyQDoXiMO2P1ZOr7kDtBqWwLVr3H
LXAqoa3mE2offgUQPjKkJunEHvMOncXSLuUwsTTIga4QfR/7yD2dRllnSgyun4Zb
DYa10AECgYEA/7V9P4DV+iSLbxgoa8m1awX9ecymmYej4IKuw6LAq8GcqvKBCR9X
Kut9/j5oPNB0tO27NZJnNpIzY0X4DvxaFZE0pzJZxmvAWjsEIkkHgchekaleG9RQ
/ixW3CoEBNnU/NBGnpaghKdcFwM5lcujziBjhPXQujMAEe7mV2KY/GUCgYEA/JOT
nzxoHXkS3HpWNpzSbKd0YeUQWEN5UUvdkCRv+zu2RAa5jmQSMS0PJhDxgxnNLTTT
sTWfB63Y9kCIXib6Wbssi4i3YO8lI2hx4sk3TOSwO8L7CuVdlVC8INuSiBl+tOtk
OCbm2n6icXp6IOq+PmhlXPoKLmG+czK9i5AsGx8CgYEAlCk/gg0PbpnAJMW1ngbI
1FMrNGiM24aJQKvXwUlLI/nR4gcTFwsOwbKjVS4pzZrnFHJut7K1lRwPJGVFPsGf
HMH+5SW6eMq0MFPjqE3ySJOln/anra5Oo4djaLv7iigBTd8MHBWgulwScs8Ojanp
pqSDpWWc5FZqovlug5GAnTUCgYEA47bxqui9PYVA2gJ54/bzR/6ZUQFCATGkGQV7
Fk+jnjAxnZcqiBP0yt1DASDZfUcv0ogEK4qafEPijfGUgL5Hi8rS2GJEYmJ5azjp
JHwhHXQ450hdKW+tNcd6NW2A6K+Dqv1md7GrBGaTchfoL/Ez3/QjHvZXY4XAPQAM
H921xiUCgYEAjx+1C8buQ6IYDyiae+6eiSQJtJ43ddGgVxGb3jdZCucv8lrteyzI
IEKkZAoggibFYhjlk7vL7vitGCeVTMjC+F6oxW4RuHpZ6VhYqVhIaP3KIE+C1rsf
CTecLcDOGZYjfIFSzUNbH4ERNSXphwyoZahacfQ1MGTOcklNoFfYiYI=
-----END RSA PRIVATE KEY-----
";
