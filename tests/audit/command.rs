//! The command: what it prints, and its exit status.

use std::process::{Command, Output};

use moonwire::audit::checks;

use super::server::{Flaw, serve};

fn moonwire(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonwire"));
    command.env_remove("SSLKEYLOGFILE").env_remove("SSL_CERT_FILE");
    command.arg("audit").args(args).output().unwrap()
}

/// Status, standard output and standard error.
fn ran(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = moonwire(args);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_line_for_each_check_and_a_sum() {
    let url = serve(Flaw::None);
    let (status, out, err) = ran(&["--only=opening-accept", "--only", "ping-125", &url]);
    let want = "\
ok       §4.2.2             opening-accept               is the answer to the key
ok       §5.5.2             ping-125                     answered with its 125 bytes
2 ok, 0 faults, 0 notices, 0 skipped
";
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), want, ""));
}

#[test]
fn a_fault_is_status_1_and_json_an_object_a_line() {
    let url = serve(Flaw::ShortPong(124));
    let (status, out, err) = ran(&["--json", "--only=ping", "--only=ping-125", &url]);
    assert_eq!((status, err.as_str()), (Some(1), ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    let start = "{\"check\":\"ping-125\",\"section\":\"RFC 6455 §5.5.2\",\"kind\":\"legit\",";
    assert!(lines[1].starts_with(start), "{out}");
    assert!(lines[1].contains("\"verdict\":\"fault\",\"seen\":\"answered with 124 bytes"), "{out}");
}

#[test]
fn all_checks_can_be_listed() {
    let (status, out, _) = ran(&["--list"]);
    assert_eq!((status, out.lines().count()), (Some(0), checks().count()));
    let (status, json, _) = ran(&["--list", "--json"]);
    assert_eq!((status, json.lines().count()), (Some(0), checks().count()));
}

#[test]
fn the_exit_status_says_how_it_ended() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let gone = format!("ws://{free}/");
    let refused = serve(Flaw::Status("HTTP/1.1 403 Forbidden"));
    for (args, status, word) in [
        (&["--only=nothing", &gone][..], 2, "no check \"nothing\""),
        (&["--only=unmasked-text", &gone], 2, "needs --hostile"),
        (&["--hostile", "ws://192.0.2.1/"], 2, "loopback addresses alone"),
        (&["-H", "Upgrade: h2c", &gone], 2, "Upgrade"),
        (&[], 2, "the URL is missing"),
        (&[&gone], 3, "127.0.0.1:"),
        (&[&refused], 3, "answered 403 Forbidden"),
    ] {
        let (got, out, err) = ran(args);
        assert_eq!((got, out.as_str()), (Some(status), ""), "{args:?}: {err}");
        assert!(err.contains(word) && err.starts_with("moonwire: "), "{args:?}: {err}");
    }
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mute = format!("ws://{}/", listener.local_addr().unwrap());
    let (got, _, err) = ran(&["--timeout=0.1", &mute]);
    assert_eq!(got, Some(124), "{err}");
    assert!(err.contains("--timeout"), "{err}");
}

#[test]
fn over_tls_the_options_of_other_commands_hold() {
    let chain = moonwire::peer::CHAIN_PEM;
    let any = ([127, 0, 0, 1], 0).into();
    let server = moonwire::peer::Server::bind_tls(any, chain, moonwire::peer::KEY_PEM).unwrap();
    let server = server.spawn().unwrap();
    let (status, _, err) = ran(&["--only=ping", server.url()]);
    assert_eq!(status, Some(3), "{err}");
    assert!(err.contains("certificate"), "{err}");
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peer/certs/ca.pem");
    let (status, out, err) = ran(&["--ca", ca, "--only=ping", server.url()]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    let (status, _, err) = ran(&["--insecure", "--only=ping", server.url()]);
    assert_eq!(status, Some(0), "{err}");
    assert!(err.starts_with("warning: --insecure"), "{err}");
    // Without verification, the server must be on this machine.
    let away = "localhost:443:192.0.2.1";
    let (status, _, err) = ran(&["--insecure", "--resolve", away, "wss://localhost/"]);
    assert_eq!(status, Some(2), "{err}");
    assert!(err.contains("--insecure works only for this machine"), "{err}");
}
