//! Which name is requested (SNI), and which is verified.

use std::net::SocketAddr;
use std::sync::Arc;

use moonwire::Override;

use crate::common::tls::*;
use crate::common::*;

#[test]
fn the_name_asked_for_is_the_normalised_host_and_none_for_an_address() {
    // FAULTS 51: one normaliser makes the requested name, the verified name and `Host`. RFC 6066
    // §3: SNI has no final dot and no addresses.
    for (host, certificate, name, shown) in [
        ("localhost", "good", Some("localhost"), "localhost"),
        ("LocalHost", "good", Some("localhost"), "localhost"),
        ("localhost.", "good", Some("localhost"), "localhost"),
        ("X.A.Test.", "wildcard", Some("x.a.test"), "x.a.test"),
        ("127.0.0.1", "good", None, "127.0.0.1"),
        ("[::1]", "good", None, "[::1]"),
        ("[0:0:0:0:0:0:0:1]", "good", None, "[::1]"),
    ] {
        for (face, version) in all() {
            let config = Arc::new(Server::new(certificate).only(version).config());
            let server = serving(1, move |tcp| {
                let (seen, mut peer) = meet(tcp, &config);
                peer.answer_any();
                peer.close_notify();
                (seen.name, peer.head)
            });
            let port = server.address.port();
            let tried = face.open(host, server.address, &Arc::new(client()));
            assert_eq!(tried.reason(), None, "{face:?} {host}");
            let (seen, head) = server.join().remove(0);
            assert_eq!(seen.as_deref(), name, "{face:?} {host}");
            let got = field(&head, "Host");
            assert_eq!(got, Some(&*format!("{shown}:{port}")), "{face:?} {host}");
        }
    }
}

#[test]
fn an_override_changes_the_address_and_not_the_name_that_is_verified() {
    // FAULTS 50.
    for face in FACES {
        let trusting = Arc::new(client());
        let server = answering(Server::new("echo").config(), 1);
        let tried = face.open("echo.websocket.org", server.address, &trusting);
        assert_eq!(tried.reason(), None);
        assert_eq!(server.join()[0].name.as_deref(), Some("echo.websocket.org"));
        // The name is verified, even if the certificate is valid for the address of the connection.
        let server = answering(Server::new("good").config(), 1);
        let error = face.open("echo.websocket.org", server.address, &trusting).refused();
        assert!(error.ends_with("(expected echo.websocket.org)"), "{error}");
        server.join();
    }
}

#[test]
fn a_resolved_name_is_verified_and_not_its_address() {
    // FAULTS 50: this also holds without an override. The system's resolver resolves localhost.
    for (certificate, good) in [("name", true), ("address", false)] {
        for face in FACES {
            let server = answering(Server::new(certificate).config(), 1);
            let url = format!("{}://localhost:{}/", face.scheme(), server.address.port());
            let tried = face.tried(&url, trusting());
            assert_eq!(tried.reason().is_none(), good, "{certificate}: {tried:?}");
            server.join();
        }
    }
}

#[test]
fn an_address_of_version_6_is_verified_at_a_socket_of_its_own() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // This system has no IPv6. The matrix in certificates.rs has such addresses with an
        // override.
        return;
    }
    for (certificate, good) in [("address", true), ("name", false)] {
        for face in FACES {
            let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
            let to = listener.local_addr().unwrap();
            let config = Arc::new(Server::new(certificate).config());
            let thread = std::thread::spawn(move || {
                let (seen, mut peer) = meet(listener.accept().unwrap().0, &config);
                if good {
                    peer.answer_any();
                    peer.close_notify();
                }
                seen.name
            });
            let url = format!("{}://{to}/", face.scheme());
            let tried = face.tried(&url, trusting());
            assert_eq!(tried.reason().is_none(), good, "{tried:?}");
            assert_eq!(thread.join().unwrap(), None);
        }
    }
}

#[test]
fn an_override_for_one_port_does_not_touch_another() {
    let server = answering(Server::new("good").config(), 1);
    let to = server.address;
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut config = trusting();
    let port = to.port().wrapping_add(1);
    config.resolve.push(Override { host: "127.0.0.1".into(), port, to: elsewhere });
    let tried = Face::Stream.tried(&format!("https://{to}/"), config);
    assert_eq!(tried.reason(), None);
    server.join();
}
