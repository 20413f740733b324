//! TLS of a run: roots, a client certificate, pins, and the exception of `--insecure`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stdio::{Failure, write_stderr};
use crate::net::{Pin, TlsOptions, TlsVersion, Trust};
use crate::peer;
use crate::policy::Destination;
use crate::proto::Host;

/// The variable that names a file of additional roots.
const ROOTS: &str = "SSL_CERT_FILE";
/// The variable that names the file for the secrets of TLS, as for browsers and curl.
const KEY_LOG: &str = "SSLKEYLOGFILE";

/// The values of the TLS options.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TlsArgs {
    pub(super) ca: Vec<PathBuf>,
    pub(super) system_roots: bool,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) pins: Vec<Pin>,
    pub(super) least: Option<TlsVersion>,
    pub(super) insecure: bool,
}

impl TlsArgs {
    /// Fails if an option is given without another that it needs.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match (&self.cert, &self.key) {
            (Some(_), None) => Err(Failure::usage("--cert needs --key FILE, too")),
            (None, Some(_)) => Err(Failure::usage("--key needs --cert FILE, too")),
            _ => Ok(()),
        }
    }
}

/// Parses the value of `--tls-min`.
pub(super) fn version(text: &str) -> Result<TlsVersion, Failure> {
    match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        _ => Err(Failure::usage(format!("--tls-min: \"{text}\" is not 1.2 or 1.3"))),
    }
}

/// TLS with the script's destinations. `None` if no option needs it: then the reactor makes its own
/// configuration for the first TLS connection, and a run without TLS reads no roots.
pub(super) fn destination_tls(
    args: &TlsArgs,
    echo: bool,
) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
    if *args == TlsArgs::default() && !echo && !is_named() {
        return Ok(None);
    }
    let mut options = shared(args)?;
    if echo {
        options = options.trust(Trust::Pem(peer::CA_PEM.to_vec()));
    }
    if !args.pins.is_empty() {
        options = options.trust(Trust::Pins(args.pins.clone()));
    }
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        let (chain_pem, key_pem) = (read(cert)?, read(key)?);
        // It is built separately, so that an error names the files.
        let alone = TlsOptions::new().identity(&chain_pem, &key_pem).build();
        alone.map_err(|e| {
            Failure::usage(format!("--cert {}, --key {}: {e}", cert.display(), key.display()))
        })?;
        options = options.identity(&chain_pem, &key_pem);
    }
    if args.insecure {
        options = options.insecure_on_loopback();
    }
    options.build().map(Some).map_err(|e| Failure::usage(e.to_string()))
}

/// Warns on standard error about options that make connections of this run less safe. The caller
/// has called [`destination_tls`], which creates the file for secrets if that is possible.
pub(super) fn warn(args: &TlsArgs) {
    if args.insecure {
        write_stderr(
            "warning: --insecure: certificates of servers on this machine (localhost, loopback \
             addresses) are not verified",
        );
    }
    let Some(file) = variable(KEY_LOG) else { return };
    let opened = std::fs::OpenOptions::new().append(true).open(&file);
    let name = Path::new(&file).display();
    write_stderr(&match opened {
        Ok(_) => format!(
            "warning: {KEY_LOG}: the secrets of TLS connections are written to {name}; with this \
             file, recorded traffic can be decrypted"
        ),
        Err(e) => format!("warning: {KEY_LOG}: {name}: {e}; no secrets are written"),
    });
}

/// TLS with proxies: the same roots, versions and file for secrets. It has no client certificate
/// and no pins, which are for the script's destinations. It does not trust the root of `--echo`,
/// whose key is public. It verifies a proxy even on this machine.
///
/// With `--insecure`, `localhost` and loopback addresses are reached without a proxy
/// (`network.rs`): to a proxy they mean its own machine, and [`stays_here`] would not see their
/// addresses.
pub(super) fn proxy_tls(args: &TlsArgs) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
    if *args == TlsArgs::default() && !is_named() {
        return Ok(None);
    }
    shared(args)?.build().map(Some).map_err(|e| Failure::usage(e.to_string()))
}

/// Whether one of the variables for TLS is set.
fn is_named() -> bool {
    [ROOTS, KEY_LOG].into_iter().any(|name| variable(name).is_some())
}

/// The options for every TLS connection of a run.
fn shared(args: &TlsArgs) -> Result<TlsOptions, Failure> {
    let mut options = TlsOptions::new();
    options = if args.system_roots {
        // It is built separately, so that an error names the option: the build may lack it.
        let alone = TlsOptions::new().trust(Trust::System).build();
        alone.map_err(|e| Failure::usage(format!("--system-roots: {e}")))?;
        options.trust(Trust::System)
    } else {
        options.trust(Trust::Bundled)
    };
    for file in args.ca.iter().cloned().chain(variable(ROOTS).map(Into::into)) {
        let pem = read(&file)?;
        if pem.is_empty() {
            continue;
        }
        // The roots are added one by one, so that an error names the file.
        let alone = TlsOptions::new().trust(Trust::Pem(pem.clone())).build();
        alone.map_err(|e| bad(&file, &e))?;
        options = options.trust(Trust::Pem(pem));
    }
    if let Some(least) = args.least {
        options = options.min_version(least);
    }
    if variable(KEY_LOG).is_some() {
        options = options.key_log_to_file_of_environment();
    }
    Ok(options)
}

/// The value of a variable; an empty one counts as not set.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn bad(file: &Path, e: &std::io::Error) -> Failure {
    Failure::usage(format!("{}: {e}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|e| bad(file, &e))
}

/// The policy of `--insecure`: a name whose certificate is not verified must not lead to another
/// machine, whatever `--resolve`, the hosts file or DNS returns.
pub(super) fn stays_here(to: &Destination<'_>) -> Result<(), String> {
    let unverified = match to.host {
        Host::Name(name) => name == "localhost",
        Host::Address(address) => address.to_canonical().is_loopback(),
        // A Unix socket has no address, and is on this machine.
        Host::Unix(_) => false,
    };
    match to.address {
        Some(address)
            if to.scheme.is_secure()
                && !to.is_proxy
                && unverified
                && !address.to_canonical().is_loopback() =>
        {
            Err(format!("--insecure works only for this machine, and {} is at {address}", to.host))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Scheme;

    #[test]
    fn what_is_not_verified_does_not_leave_this_machine() {
        let name = |text: &str| Host::Name(text.to_owned());
        let at = |text: &str| Host::Address(text.parse().unwrap());
        for (host, address, good) in [
            (name("localhost"), "127.0.0.1", true),
            (name("localhost"), "::1", true),
            (name("localhost"), "::ffff:127.0.0.1", true),
            (name("localhost"), "10.0.0.1", false),
            (name("localhost"), "2001:db8::1", false),
            (at("127.0.0.1"), "127.0.0.1", true),
            (at("127.0.0.1"), "10.0.0.1", false),
            (at("::1"), "fe80::1", false),
            // Other destinations are verified.
            (name("a.example"), "10.0.0.1", true),
            (name("localhost.example"), "10.0.0.1", true),
            (at("10.0.0.1"), "10.0.0.1", true),
        ] {
            for (scheme, good) in [(Scheme::Wss, good), (Scheme::Https, good), (Scheme::Ws, true)] {
                let address = Some(address.parse().unwrap());
                let (is_proxy, proxy_resolves) = (false, false);
                let to = Destination {
                    scheme,
                    host: &host,
                    port: 443,
                    address,
                    is_proxy,
                    proxy_resolves,
                };
                assert_eq!(stays_here(&to).is_ok(), good, "{to:?}");
                // While the address is unknown, the policy allows the name.
                assert!(stays_here(&Destination { address: None, ..to }).is_ok());
            }
        }
    }

    #[test]
    fn a_proxy_is_verified_and_shown_no_certificate() {
        let certs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certs");
        let pin = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=".parse().unwrap();
        let args = TlsArgs {
            ca: vec![certs.join("ca.pem")],
            cert: Some(certs.join("client.pem")),
            key: Some(certs.join("client.key")),
            pins: vec![pin],
            least: Some(TlsVersion::V1_3),
            insecure: true,
            ..TlsArgs::default()
        };
        let destination = destination_tls(&args, false).map_err(|f| f.text).unwrap().unwrap();
        let proxy = proxy_tls(&args).map_err(|f| f.text).unwrap().unwrap();
        assert!(destination.client_auth_cert_resolver.has_certs());
        assert!(!proxy.client_auth_cert_resolver.has_certs());
        // A configuration without our verifier has neither pins nor the exception of `--insecure`.
        let own =
            |config: &rustls::ClientConfig| format!("{config:?}").contains("insecure_on_loopback");
        assert!(own(&destination) && !own(&proxy));
    }
}
