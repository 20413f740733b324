//! What one connection has verified does not count for another (FAULTS 52).

use std::sync::Arc;

use moonwire::rustls::ClientConfig;
use moonwire::rustls::HandshakeKind::{Full, Resumed};
use moonwire::rustls::client::Resumption;
use moonwire::{Pin, TlsOptions, Trust};

use crate::common::tls::*;
use crate::common::{options, pem, serve_tls};

#[test]
fn the_roots_of_the_build_do_not_trust_the_loopback() {
    for face in FACES {
        let server = answering(Server::new("good").config(), 1);
        let url = format!("{}://{}/", face.scheme(), server.address);
        let error = face.tried(&url, moonwire::Config::default()).refused();
        assert!(error.contains("not signed by a trusted root"), "{error}");
        server.join();
    }
}

/// Connects to one server, as `localhost`, with one configuration after another. Returns what the
/// server saw, and the result of each.
fn one_after_another(
    face: Face,
    server: Server,
    configs: &[&Arc<ClientConfig>],
) -> Vec<(Seen, Tried)> {
    let server = answering(server.config(), configs.len());
    let address = server.address;
    let tried: Vec<_> = configs.iter().map(|c| face.open("localhost", address, c)).collect();
    server.join().into_iter().zip(tried).collect()
}

#[test]
fn a_session_is_resumed_only_by_the_configuration_that_verified_it() {
    for (face, version) in all() {
        let own = Arc::new(client());
        let default = moonwire::tls_config(b"").unwrap();
        let server = Server::new("good").only(version);
        let got = one_after_another(face, server, &[&own, &own, &default, &own]);
        let what = format!("{face:?}, {version:?}: {got:?}");
        // Without this resumption the third result would prove nothing.
        assert_eq!((got[0].0.kind(), got[1].0.kind()), (Full, Resumed), "{what}");
        assert!(got[2].1.refused().contains("not signed by a trusted root"), "{what}");
        assert_eq!(got[3].0.kind(), Resumed, "{what}");
    }
}

#[test]
fn a_store_of_sessions_that_two_configurations_share_is_no_way_round_the_roots() {
    for (face, version) in all() {
        let own = client();
        let mut default = ClientConfig::clone(&moonwire::tls_config(b"").unwrap());
        default.resumption = own.resumption.clone();
        let server = Server::new("good").only(version);
        let (own, default) = (Arc::new(own), Arc::new(default));
        let got = one_after_another(face, server, &[&own, &default]);
        let error = got[1].1.refused();
        assert!(error.contains("not signed by a trusted root"), "{face:?}, {version:?}: {error}");
    }
}

#[test]
fn a_session_is_not_resumed_with_another_client_certificate() {
    for (face, version) in all() {
        let (one, mut other) = (with_certificate("client"), with_certificate("client-only"));
        other.resumption = one.resumption.clone();
        let mut server = Server::new("good").only(version);
        server.wants_client = true;
        let (one, other) = (Arc::new(one), Arc::new(other));
        let got = one_after_another(face, server, &[&one, &one, &other]);
        let what = format!("{face:?}, {version:?}: {got:?}");
        assert_eq!((got[0].0.kind(), got[1].0.kind()), (Full, Resumed), "{what}");
        assert_eq!(got[2].0.end, End::Other, "{what}");
        assert!(got[2].1.refused().contains("does not accept the client certificate"), "{what}");
    }
}

#[test]
fn a_session_of_one_set_of_options_is_not_taken_up_by_another() {
    // FAULTS 52: the options differ in the roots, the pins or the certificate, or are the same.
    let new = || TlsOptions::new().trust(Trust::Pem(pem("ca.pem")));
    let pin = |name: &str| vec![Pin::of_certificate(&chain(name)[0]).unwrap()];
    let client = || new().identity(&pem("client.pem"), &pem("client.key"));
    for (face, version) in all() {
        let configs = [
            new(),
            new(),
            new().trust(Trust::Pins(pin("good"))),
            client(),
            new().trust(Trust::Pins(pin("other"))),
            TlsOptions::new(),
        ];
        let configs = configs.map(|options| options.build().unwrap());
        // Each configuration connects twice: so each valid one has a session before the next one
        // connects.
        let twice: Vec<_> = configs.iter().flat_map(|config| [config, config]).collect();
        let got = one_after_another(face, Server::new("good").only(version), &twice);
        let what = format!("{face:?}, {version:?}: {got:?}");
        let (good, bad) = got.split_at(8);
        for pair in good.chunks(2) {
            assert_eq!((pair[0].0.kind(), pair[1].0.kind()), (Full, Resumed), "{what}");
        }
        for (i, (seen, tried)) in bad.iter().enumerate() {
            let why = ["has a pinned key", "not signed by a trusted root"][i / 2];
            assert!(tried.refused().contains(why), "{what}");
            assert!(matches!(seen.end, End::Alert(_)), "{what}");
        }
    }
}

#[test]
fn a_store_of_sessions_that_two_configurations_share_is_no_way_round_the_pins() {
    // FAULTS 52.
    let new = || TlsOptions::new().trust(Trust::Pem(pem("ca.pem")));
    let other = Trust::Pins(vec![Pin::of_certificate(&chain("other")[0]).unwrap()]);
    for (face, version) in all() {
        let plain = new().build().unwrap();
        let mut pinned = ClientConfig::clone(&new().trust(other.clone()).build().unwrap());
        pinned.resumption = plain.resumption.clone();
        let got = one_after_another(
            face,
            Server::new("good").only(version),
            &[&plain, &Arc::new(pinned)],
        );
        let error = got[1].1.refused();
        assert!(error.contains("has a pinned key"), "{face:?}, {version:?}: {error}");
    }
}

#[test]
fn a_session_with_one_server_is_no_pass_for_another_of_that_name() {
    for (face, version) in all() {
        let trusting = Arc::new(client());
        for (certificate, good) in [("good", true), ("expired", false), ("unknown-root", false)] {
            let server = answering(Server::new(certificate).only(version).config(), 1);
            let tried = face.open("localhost", server.address, &trusting);
            assert_eq!(tried.reason().is_none(), good, "{face:?} {certificate}: {tried:?}");
            server.join();
        }
    }
}

#[test]
fn a_configuration_without_resumption_is_used_as_it_is() {
    let mut config = client();
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    for face in FACES {
        let got = one_after_another(face, Server::new("good"), &[&config, &config]);
        assert!(got.iter().all(|(seen, _)| seen.kind() == Full), "{got:?}");
    }
}

#[test]
fn the_blocking_face_verifies_too() {
    let server = serve_tls("good", |mut p| p.rest());
    let error = options(&server.url()).connect().err().unwrap();
    assert!(error.to_string().contains("not signed by a trusted root"), "{error}");
    server.join();
}
