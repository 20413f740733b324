//! The TLS options of `moonwire run`.

use std::path::Path;

use moonwire::rustls::version::{TLS12, TLS13};
use moonwire::{Pin, rustls};

use super::command::{Ended, Live, Script, ca, failed, folder, printed, run};
use super::common::Scripted;
use super::common::tls::{End, Seen, Server, answering, chain};

/// Prints the result of a connection.
const OPEN: &str = r#"local ws, why = websocket.connect(...)
print(why or "open")
if ws then ws.OnClose:Wait() end"#;

fn file(name: &str) -> String {
    format!("{}/tests/certs/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn serve(server: Server) -> (Scripted<Vec<Seen>>, u16) {
    let server = answering(server.config(), 1);
    let port = server.address.port();
    (server, port)
}

/// Runs `OPEN` with options, to the host of a server.
#[track_caller]
fn open(server: Server, host: &str, options: &[&str]) -> (Ended, Seen) {
    let (server, port) = serve(server);
    let to = format!("{host}:{port}:127.0.0.1");
    let script = Script::new(&format!("tls-{port}"), OPEN);
    let options = [options, &["--resolve", &to]].concat();
    let ended = script.run(&options, &[&format!("wss://{host}:{port}")]);
    (ended, server.join().remove(0))
}

/// The output of `OPEN` in a successful run, and standard error of the command.
#[track_caller]
fn output((ended, _): &(Ended, Seen)) -> (&str, &str) {
    assert_eq!((ended.status, ended.out.len()), (Some(0), 1), "{ended:?}");
    (&ended.out[0], &ended.err)
}

#[test]
fn a_certificate_and_its_key_are_shown() {
    let demanding = || Server { wants_client: true, ..Server::new("good") };
    let (ca, cert, key) = (ca(), file("client.pem"), file("client.key"));
    let tried = open(demanding(), "localhost", &["--ca", &ca, "--cert", &cert, "--key", &key]);
    assert_eq!(output(&tried), ("open", ""));
    assert!(matches!(tried.1.end, End::Request { with_certificate: true, .. }));
    let tried = open(demanding(), "localhost", &["--ca", &ca]);
    assert!(output(&tried).0.ends_with("(TlsOptions::identity, or --cert and --key)"), "{tried:?}");

    let script = Script::new("tls-identity", "print('not reached')");
    let run = |cert: &str, key: &str| run(&["--cert", cert, "--key", key, script.path()]);
    let other = file("good.key");
    failed(&run("/nowhere.pem", &key), 2, "moonwire: /nowhere.pem: ");
    failed(&run(&cert, "/nowhere.key"), 2, "moonwire: /nowhere.key: ");
    failed(&run(&key, &key), 2, "client certificate: no certificate in it");
    failed(&run(&cert, &cert), 2, "client key: no private key in it");
    failed(&run(&cert, &other), 2, "the client key does not belong to the client certificate");
    let ended = run(&cert, &other);
    assert!(ended.err.contains(&format!("--cert {cert}, --key {other}: ")), "{ended:?}");
}

#[test]
fn a_pin_opens_its_server_and_no_other() {
    let ca = ca();
    let pin = |name: &str| Pin::of_certificate(&chain(name)[0]).unwrap().to_string();
    let (own, other) = (pin("good"), pin("other"));
    for (pins, good) in [
        (&[&*own][..], true),
        (&[&*other], false),
        (&[&*other, &*own], true),
        // The key of the root.
        (&[&*pin("ca")], true),
    ] {
        let pins = pins.iter().flat_map(|pin| ["--pin", *pin]);
        let options: Vec<&str> = ["--ca", &*ca].into_iter().chain(pins).collect();
        let tried = open(Server::new("good"), "localhost", &options);
        match good {
            true => assert_eq!(output(&tried), ("open", "")),
            // The error names the server's pin.
            false => assert!(output(&tried).0.contains(&own), "{tried:?}"),
        }
    }
    // A pin does not replace a root.
    let tried = open(Server::new("good"), "localhost", &["--pin", &own]);
    assert!(output(&tried).0.contains("not signed by a trusted root"), "{tried:?}");
}

#[test]
fn a_least_version_is_kept_to() {
    let ca = ca();
    for (least, version, good) in
        [("1.2", &TLS12, true), ("1.3", &TLS12, false), ("1.3", &TLS13, true)]
    {
        let options = ["--ca", &*ca, "--tls-min", least];
        let tried = open(Server::new("good").only(version), "localhost", &options);
        let (out, err) = output(&tried);
        assert!(err.is_empty());
        assert_eq!(out == "open", good, "{tried:?}");
        assert!(good || out.contains("another version of TLS"), "{tried:?}");
    }
}

const INSECURE: &str = "warning: --insecure: certificates of servers on this machine (localhost, \
                        loopback addresses) are not verified\n";

#[test]
fn insecure_is_for_this_machine_alone_and_said_every_time() {
    // FAULTS 49.
    for host in ["localhost", "127.0.0.1"] {
        for certificate in ["unknown-root", "self-signed", "expired", "other"] {
            let tried = open(Server::new(certificate), host, &["--insecure"]);
            assert_eq!(output(&tried), ("open", INSECURE), "{host} {certificate}");
            let tried = open(Server::new(certificate), host, &[]);
            assert!(output(&tried).0.contains("TLS: the certificate "), "{tried:?}");
        }
    }
    // Another name is verified, even if it resolves to this machine.
    for host in ["x.a.test", "a.localhost"] {
        for certificate in ["wildcard", "self-signed"] {
            let tried = open(Server::new(certificate), host, &["--insecure"]);
            let (out, err) = output(&tried);
            assert!(out.contains("not signed by a trusted root"), "{tried:?}");
            assert_eq!(err, INSECURE);
        }
    }
    // The warning appears even if no connection uses TLS.
    let ended = Script::new("tls-none", "print(1)").run(&["--insecure"], &[]);
    assert_eq!((ended.out, &*ended.err), (vec!["1".to_owned()], INSECURE));
    // `--insecure` does not switch off a pin.
    let pin = Pin::of_certificate(&chain("good")[0]).unwrap().to_string();
    let tried = open(Server::new("self-signed"), "localhost", &["--insecure", "--pin", &pin]);
    assert!(output(&tried).0.contains("has a pinned key"), "{tried:?}");
}

#[test]
fn a_name_of_this_machine_that_leads_elsewhere_is_not_connected_to_with_insecure() {
    // An address for documentation (RFC 5737): no host has it, and nothing is sent to it. The URL
    // is the last argument: `--echo` puts the URL of its server before it.
    let text = "print(websocket.connect((select(select('#', ...), ...))))";
    let script = Script::new("tls-elsewhere", text);
    for host in ["localhost", "127.0.0.1"] {
        let to = format!("{host}:443:192.0.2.1");
        let options = ["--insecure", "--timeout", "20", "--resolve", &to];
        for options in [&options[..], &[&["--echo=wss"], &options[..]].concat()] {
            let ended = script.run(options, &[&format!("wss://{host}")]);
            let why = format!("--insecure works only for this machine, and {host} is at 192.0.2.1");
            assert!(ended.out[0].contains(&why), "{ended:?}");
        }
    }
}

#[test]
fn secrets_go_to_the_file_of_the_variable_and_that_is_said() {
    let (server, port) = serve(Server::new("good").only(&TLS13));
    let script = Script::new("tls-secrets", OPEN);
    let log = folder().join("secrets.txt");
    let (ca, url) = (ca(), format!("wss://127.0.0.1:{port}"));
    let mut command = script.command(&["--ca", &ca], &[&url]);
    let ended = Live::start(command.env("SSLKEYLOGFILE", &log)).end();
    server.join();
    assert_eq!((ended.status, &ended.out[..]), (Some(0), &["open".to_owned()][..]));
    let warning = format!(
        "warning: SSLKEYLOGFILE: the secrets of TLS connections are written to {}; with this file, \
         recorded traffic can be decrypted\n",
        log.display()
    );
    assert_eq!(ended.err, warning);
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(written.contains("CLIENT_TRAFFIC_SECRET_0 "), "{written}");

    // If the file cannot be written, the run goes on.
    let fine = Script::new("tls-no-secrets", "print(1)");
    let mut command = fine.command(&[], &[]);
    let ended = Live::start(command.env("SSLKEYLOGFILE", "/nowhere/secrets.txt")).end();
    assert_eq!((ended.status, &ended.out[..]), (Some(0), &["1".to_owned()][..]));
    assert!(ended.err.starts_with("warning: SSLKEYLOGFILE: /nowhere/secrets.txt: "), "{ended:?}");
    assert!(ended.err.ends_with("; no secrets are written\n"), "{ended:?}");
    // An empty variable is ignored.
    let mut command = fine.command(&[], &[]);
    printed(&Live::start(command.env("SSLKEYLOGFILE", "")).end(), &["1"]);
}

#[test]
fn the_systems_roots_stand_in_for_the_bundled_ones_or_the_feature_is_named() {
    let script = Script::new("tls-system", OPEN);
    if !cfg!(feature = "system-roots") {
        let ended = run(&["--system-roots", script.path()]);
        failed(&ended, 2, "moonwire: --system-roots: this build cannot read the system's store");
        failed(&ended, 2, "feature system-roots");
        return;
    }
    // The child process takes this folder for the system's store.
    let store = folder().join("store");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::copy(Path::new(&ca()), store.join("ca.pem")).unwrap();
    for (options, good) in [(&["--system-roots"][..], true), (&[], false)] {
        let (server, port) = serve(Server::new("good"));
        let mut command = script.command(options, &[&format!("wss://127.0.0.1:{port}")]);
        let ended = Live::start(command.env("SSL_CERT_DIR", &store)).end();
        server.join();
        assert_eq!(ended.out[0] == "open", good, "{ended:?}");
    }
}

#[test]
fn http_1_1_is_offered() {
    let (_, seen) = open(Server::new("good"), "localhost", &["--ca", &ca()]);
    assert_eq!(seen.protocols, Some(vec!["http/1.1".to_owned()]));
    let refused = rustls::AlertDescription::UnknownCA;
    let (_, seen) = open(Server::new("good"), "localhost", &[]);
    assert_eq!((seen.protocols.unwrap().len(), seen.end), (1, End::Alert(refused)));
}
