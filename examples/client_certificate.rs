//! TLS with options: the client shows the server a certificate. The server must have a certificate
//! that our roots have signed, and also a key that the client knows (a pin).
//!
//! ```sh
//! cargo run --example client_certificate                       # starts its own server
//! cargo run --example client_certificate wss://host/ ca.pem client.pem client.key sha256/…
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use moonwire::{Config, Options, Pin, Received, TlsOptions, Trust};

/// The URL, our certificate, and what the client trusts; files are PEM.
struct Given {
    url: String,
    roots: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
    pin: Pin,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client_certificate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<(), Box<dyn Error>> {
    // The server lives until the end of this function.
    let (given, _server) = match &words[..] {
        [] => {
            let (given, server) = own_server()?;
            (given, Some(server))
        }
        [url, roots, certificate, key, pin] => {
            let given = Given {
                url: url.clone(),
                roots: std::fs::read(roots)?,
                certificate: std::fs::read(certificate)?,
                key: std::fs::read(key)?,
                pin: pin.parse()?,
            };
            (given, None)
        }
        _ => return Err("URL, roots, certificate, key and pin are expected, or nothing".into()),
    };
    let tls = TlsOptions::new()
        .trust(Trust::Pem(given.roots))
        .trust(Trust::Pins(vec![given.pin]))
        .identity(&given.certificate, &given.key)
        .build()?;
    let config = Config { tls: Some(tls), ..Config::default() };
    let options = Options::new(&given.url)?.timeout(Duration::from_secs(10));
    let mut ws = options.connect_with(config)?;
    if let Some(tls) = ws.transport().and_then(|transport| transport.tls.as_ref()) {
        println!("connected over {} with {} certificates", tls.version, tls.certificates.len());
    }
    ws.send_text("it is me")?;
    match ws.read_timeout(Duration::from_secs(5))? {
        Received::Message(message) => println!("< {}", message.as_text().unwrap_or("binary")),
        other => println!("no answer: {other:?}"),
    }
    println!("closed: {}", ws.close(1000, "")?);
    Ok(())
}

/// `moonwire::peer` is hidden: only examples and tests use it.
fn own_server() -> Result<(Given, moonwire::peer::Running), Box<dyn Error>> {
    use moonwire::peer::{CA_PEM, CHAIN_PEM, KEY_PEM, Server};
    let clients = include_bytes!("../tests/certs/client-ca.pem");
    let any = ([127, 0, 0, 1], 0).into();
    let server = Server::bind_tls_for(any, CHAIN_PEM, KEY_PEM, clients)?.spawn()?;
    let given = Given {
        url: server.url().to_owned(),
        roots: CA_PEM.to_vec(),
        certificate: include_bytes!("../tests/certs/client.pem").to_vec(),
        key: include_bytes!("../tests/certs/client.key").to_vec(),
        pin: moonwire::peer::PIN.parse()?,
    };
    Ok((given, server))
}
