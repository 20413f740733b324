//! The options of an audit, and its ends.

use std::time::{Duration, Instant};

use moonwire::audit::{Stop, Verdict, run};
use moonwire::peer::Server;

use super::server::{Flaw, serve};
use super::{audited, lines, options};

#[test]
fn a_server_that_does_not_echo_is_judged_as_far_as_it_can_be() {
    let mut options = options(&serve(Flaw::NoEcho));
    options.patience = Duration::from_secs(2);
    options.only = ["length-126", "fragments-text", "ping", "messages-glued", "server-mask"]
        .map(str::to_owned)
        .into();
    let (all, summary) = audited(&options);
    let summary = summary.unwrap();
    assert_eq!((summary.ok, summary.skipped, summary.faults), (2, 3, 0), "{}", lines(&all));
    for finding in all.iter().filter(|finding| finding.verdict == Verdict::Skipped) {
        assert!(finding.seen.contains("the server does not echo"), "{finding}");
    }
}

#[test]
fn names_that_are_none_and_hostile_ones_are_refused_before_anything_is_sent() {
    let url = "ws://127.0.0.1:9/";
    for (only, hostile, word) in [
        ("ping-pong", false, "no check \"ping-pong\""),
        ("unmasked-text", false, "needs --hostile"),
    ] {
        let mut options = options(url);
        options.only = vec![only.into()];
        options.hostile = hostile;
        match audited(&options).1 {
            Err(Stop::Usage(why)) => assert!(why.contains(word), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn hostile_input_goes_to_loopback_addresses_alone() {
    // No host has these addresses (RFC 5737, RFC 3849), and nothing is sent.
    for url in ["ws://192.0.2.1/", "ws://[2001:db8::1]/"] {
        let mut options = options(url);
        options.hostile = true;
        match audited(&options).1 {
            Err(Stop::Usage(why)) => assert!(why.contains("loopback addresses alone"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    // The address counts, not the name that resolves to it.
    let mut options = options("ws://localhost:9/");
    options.hostile = true;
    options.resolve = vec!["localhost:9:192.0.2.1".parse().unwrap()];
    assert!(matches!(audited(&options).1, Err(Stop::Usage(_))));
}

#[test]
fn without_a_websocket_there_is_no_audit() {
    let gone = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let (all, stop) = audited(&options(&format!("ws://{gone}/")));
    assert!(all.is_empty());
    let Err(Stop::Connect(why)) = stop else { panic!("{stop:?}") };
    assert!(why.contains(&gone.to_string()), "{why}");
    let status = serve(Flaw::Status("HTTP/1.1 404 Not Found"));
    let Err(Stop::Connect(why)) = audited(&options(&status)).1 else { panic!() };
    assert!(why.contains("answered 404 Not Found"), "{why}");
}

#[test]
fn it_ends_when_it_is_to_end() {
    // The server does not answer the handshake.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut options = options(&format!("ws://{}/", listener.local_addr().unwrap()));
    options.patience = Duration::from_secs(3600);
    options.until = Some(Instant::now() + Duration::from_millis(50));
    assert_eq!(audited(&options).1, Err(Stop::Timeout));
}

#[test]
fn an_audit_ends_when_its_caller_has_had_enough() {
    let url = serve(Flaw::None);
    let mut received = 0;
    let summary = run(&options(&url), &mut |_| {
        received += 1;
        received < 3
    });
    assert_eq!((received, summary.unwrap().ok), (3, 3));
}

#[cfg(feature = "tls")]
#[test]
fn over_tls_the_same_is_found() {
    use moonwire::peer::{CA_PEM, CHAIN_PEM, KEY_PEM};
    let any = ([127, 0, 0, 1], 0).into();
    let server = Server::bind_tls(any, CHAIN_PEM, KEY_PEM).unwrap().spawn().unwrap();
    let mut trusting = options(server.url());
    trusting.tls = Some(moonwire::tls_config(CA_PEM).unwrap());
    trusting.idle = Duration::from_millis(10);
    trusting.patience = Duration::from_secs(20);
    trusting.hostile = true;
    let (all, summary) = audited(&trusting);
    assert_eq!(summary.unwrap().faults, 0, "{}", lines(&all));
    let Err(Stop::Connect(why)) = audited(&options(server.url())).1 else { panic!() };
    assert!(why.contains("TLS") && why.contains("certificate"), "{why}");
}

#[test]
fn fields_of_its_own_go_with_every_request() {
    let server = Server::bind(([127, 0, 0, 1], 0).into()).unwrap().spawn().unwrap();
    let mut options = options(server.url());
    options.only = vec!["opening-accept".into()];
    // The second `Host` field shows that the fields are sent: the server must refuse the request.
    options.headers = vec![("Host".into(), "other.example".into())];
    let Err(Stop::Connect(why)) = audited(&options).1 else { panic!() };
    assert!(why.contains("400"), "{why}");
    options.headers = vec![("X-Own".into(), "1".into())];
    assert_eq!(audited(&options).1.unwrap().ok, 1);
}
