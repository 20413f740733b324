//! What a client made by `TlsOptions` offers and trusts: versions, protocols (ALPN), roots; and
//! which log receives its secrets.

use std::sync::{Arc, Mutex};

use moonwire::rustls::version::{TLS12, TLS13};
use moonwire::rustls::{ClientConfig, KeyLog};
use moonwire::{Config, Pin, TlsOptions, TlsVersion, Trust};

use crate::common::pem;
use crate::common::tls::*;

fn trusting() -> TlsOptions {
    TlsOptions::new().trust(Trust::Pem(pem("ca.pem")))
}

#[test]
fn a_least_version_is_kept_to() {
    let least = |version| trusting().min_version(version).build().unwrap();
    for face in FACES {
        for (config, version) in [
            (trusting().build().unwrap(), &TLS12),
            (least(TlsVersion::V1_2), &TLS12),
            (least(TlsVersion::V1_2), &TLS13),
            (least(TlsVersion::V1_3), &TLS13),
        ] {
            let server = answering(Server::new("good").only(version).config(), 1);
            assert_eq!(face.open_at(server.address, &config).reason(), None);
            assert_eq!(server.join()[0].version(), version.version);
        }
        let server = answering(Server::new("good").only(&TLS12).config(), 1);
        let tried = face.open_at(server.address, &least(TlsVersion::V1_3));
        assert_eq!(
            tried.refused(),
            "TLS: the server refused with alert ProtocolVersion; it requires another version of \
             TLS (1.2 and 1.3 are supported here, or 1.3 alone where that is the minimum)"
        );
        assert!(tried.is_tls());
        server.join();
    }
}

/// Runs a server with the protocols `has`. Returns the protocols that it received, and the client's
/// result.
fn agree(face: Face, has: &[&str], config: &Arc<ClientConfig>) -> (Option<Vec<String>>, Tried) {
    let mut server = Server::new("good").config();
    server.alpn_protocols = has.iter().map(|p| p.as_bytes().to_vec()).collect();
    let server = answering(server, 1);
    let tried = face.open_at(server.address, config);
    (server.join().remove(0).protocols, tried)
}

#[test]
fn http_1_1_is_offered_unless_the_options_say_otherwise() {
    // RFC 7301 §3.1.
    let http = || Some(vec!["http/1.1".to_owned()]);
    for face in FACES {
        for config in [trusting().build().unwrap(), moonwire::tls_config(&pem("ca.pem")).unwrap()] {
            for has in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
                let (seen, tried) = agree(face, has, &config);
                assert_eq!((seen, tried.reason()), (http(), None), "{has:?}");
            }
        }
        // A reactor without `Config::tls` offers it, too, but does not trust the server.
        let server = answering(Server::new("good").config(), 1);
        let url = format!("{}://{}/", face.scheme(), server.address);
        face.tried(&url, Config::default()).refused();
        assert_eq!(server.join().remove(0).protocols, http());

        let (seen, tried) = agree(face, &["h2"], &trusting().alpn(&[]).build().unwrap());
        assert_eq!((seen, tried.reason()), (None, None));
        let config = trusting().alpn(&["acme", "http/1.1"]).build().unwrap();
        let (seen, tried) = agree(face, &["http/1.1"], &config);
        assert_eq!(seen.unwrap(), ["acme", "http/1.1"]);
        assert_eq!(tried.reason(), None);
    }
}

#[test]
fn a_port_for_http_2_alone_is_named() {
    for face in FACES {
        let (_, tried) = agree(face, &["h2"], &trusting().build().unwrap());
        assert_eq!(
            tried.refused(),
            "TLS: the server refused with alert NoApplicationProtocol; it does not offer \
             HTTP/1.1 here (ALPN)"
        );
        assert!(tried.is_tls());
    }
}

#[test]
fn the_roots_are_those_that_are_named_and_the_bundled_ones_if_none_is() {
    let pin = || Pin::of_certificate(&chain("good")[0]).unwrap();
    let (ca, clients) = (|| Trust::Pem(pem("ca.pem")), || Trust::Pem(pem("client-ca.pem")));
    for (trust, good) in [
        (vec![], false),
        (vec![Trust::Bundled], false),
        (vec![Trust::Pins(vec![pin()])], false),
        (vec![clients()], false),
        (vec![ca()], true),
        (vec![Trust::Bundled, ca()], true),
        (vec![clients(), ca()], true),
        (vec![ca(), Trust::Pins(vec![pin()])], true),
    ] {
        let options = trust.into_iter().fold(TlsOptions::new(), TlsOptions::trust);
        let what = format!("{options:?}");
        let server = answering(Server::new("good").config(), 1);
        let tried = FACES[0].open_at(server.address, &options.build().unwrap());
        server.join();
        match good {
            true => assert_eq!(tried.reason(), None, "{what}"),
            false => assert!(tried.refused().contains("not signed by a trusted root"), "{what}"),
        }
    }
}

#[test]
fn the_systems_store_is_read_only_where_the_build_has_the_feature() {
    let has = cfg!(feature = "system-roots");
    let error = TlsOptions::new().trust(Trust::System).build().err().map(|e| e.to_string());
    match error.as_deref() {
        None => assert!(has, "it is read without the feature"),
        // This machine has no store of roots.
        Some(error) if has => {
            assert!(error.starts_with("the system's store has no root"), "{error}")
        }
        Some(error) => assert_eq!(
            error,
            "this build cannot read the system's store: it lacks the Cargo feature system-roots"
        ),
    }
}

#[test]
fn what_cannot_be_used_is_said() {
    let new = TlsOptions::new;
    let long = "x".repeat(256);
    let cut = pem("ca.pem")[..200].to_vec();
    let key = pem("good.key");
    let not_a_root = b"-----BEGIN CERTIFICATE-----\nMAMBAgM=\n-----END CERTIFICATE-----\n";
    for (options, want) in [
        (new().trust(Trust::Pem(Vec::new())), "no certificate in it (PEM is expected)"),
        (new().trust(Trust::Pem(key)), "no certificate in it (PEM is expected)"),
        (new().trust(Trust::Pem(cut)), "certificate 1 cannot be read: "),
        (
            new().trust(Trust::Pem([&pem("ca.pem")[..], not_a_root].concat())),
            "certificate 2 cannot be a root: ",
        ),
        (new().trust(Trust::Pins(Vec::new())), "the list of pins is empty"),
        (new().alpn(&[""]), "the name of a protocol (ALPN) has 1 to 255 bytes"),
        (new().alpn(&["http/1.1", &long]), "the name of a protocol (ALPN) has 1 to 255 bytes"),
    ] {
        let what = format!("{options:?}");
        let error = options.build().unwrap_err().to_string();
        assert!(error.starts_with(want), "{what}: {error}");
    }
    new().alpn(&[&long[1..]]).build().unwrap();
}

/// The labels of the secrets that were logged.
#[derive(Debug, Default)]
struct Labels(Mutex<Vec<String>>);

impl KeyLog for Labels {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        assert!(secret.len() >= 32);
        self.0.lock().unwrap().push(label.to_owned());
    }
}

#[test]
fn secrets_go_to_the_log_that_was_given() {
    for (version, label) in [(&TLS12, "CLIENT_RANDOM"), (&TLS13, "CLIENT_TRAFFIC_SECRET_0")] {
        let log = Arc::new(Labels::default());
        let config = trusting().key_log(log.clone()).build().unwrap();
        let server = answering(Server::new("good").only(version).config(), 1);
        assert_eq!(FACES[0].open_at(server.address, &config).reason(), None);
        server.join();
        let labels = log.0.lock().unwrap();
        assert!(labels.iter().any(|l| l == label), "{labels:?}");
    }
}

#[test]
fn debug_output_shows_no_key() {
    let key = String::from_utf8(pem("client.key")).unwrap();
    let options = trusting()
        .trust(Trust::Pins(vec![Pin::of_certificate(&chain("good")[0]).unwrap()]))
        .identity(&pem("client.pem"), key.as_bytes())
        .key_log(Arc::new(Labels::default()));
    for text in [format!("{options:?}"), format!("{:?}", options.build().unwrap())] {
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!text.contains(line), "{text}");
        }
        // Nor does the output have the key as a list of numbers.
        assert!(!text.contains("48, 129, 135"), "{text}");
    }
}
