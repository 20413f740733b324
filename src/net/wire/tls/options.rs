//! The options of a TLS client: its roots, its certificate, and what it offers.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, DEFAULT_VERSIONS, KeyLog, RootCertStore, SupportedProtocolVersion};

use super::pin::Pin;
use super::verify::Verifier;

/// The protocol that is offered by default (RFC 7301, RFC 9112), the only one supported.
const HTTP: &[u8] = b"http/1.1";

static NEWEST_VERSION: &[&SupportedProtocolVersion] = &[&TLS13];

/// What a client trusts. Several values add up.
#[derive(Clone)]
#[non_exhaustive]
pub enum Trust {
    /// The roots of the crate `webpki-roots`, which are Mozilla's. They are also the default if the
    /// program adds none of `Bundled`, `System` and `Pem`.
    Bundled,
    /// The roots of the system's store. Needs the Cargo feature `system-roots`; without it,
    /// [`TlsOptions::build`] fails. So a program that uses this compiles either way, and whoever
    /// builds the program chooses.
    ///
    /// The crate `rustls-native-certs`, which reads the store, uses environment variables as
    /// OpenSSL does: if `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, it names the store.
    System,
    /// The certificates in a PEM text, at least one, as roots.
    Pem(Vec<u8>),
    /// Required keys: the server's certificate, or another one in its verified chain, including the
    /// root, has to have one of these keys. Other certificates that the server sends do not count.
    Pins(Vec<Pin>),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::Bundled => f.write_str("Bundled"),
            Trust::System => f.write_str("System"),
            Trust::Pem(pem) => write!(f, "Pem({} bytes)", pem.len()),
            Trust::Pins(pins) => f.debug_tuple("Pins").field(pins).finish(),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// Makes a configuration for [`Config::tls`](crate::Config::tls). Whatever its options, the client
/// verifies the chain and the name of a server.
///
/// ```
/// use moonwire::{Config, TlsOptions, TlsVersion, Trust};
///
/// let pin = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=".parse()?;
/// let tls = TlsOptions::new()
///     .trust(Trust::Pins(vec![pin]))
///     .min_version(TlsVersion::V1_3)
///     .build()?;
/// let config = Config { tls: Some(tls), ..Config::default() };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Two configurations never share a session: a session that one of them has verified is not resumed
/// by another one with other roots, pins or certificates.
#[derive(Clone)]
pub struct TlsOptions {
    trust: Vec<Trust>,
    identity: Option<Identity>,
    min_version: TlsVersion,
    alpn: Vec<Vec<u8>>,
    key_log: Option<Arc<dyn KeyLog>>,
    insecure_on_loopback: bool,
}

/// The client's certificate chain and key, in PEM.
#[derive(Clone)]
struct Identity {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Default for TlsOptions {
    fn default() -> TlsOptions {
        TlsOptions {
            trust: Vec::new(),
            identity: None,
            min_version: TlsVersion::default(),
            alpn: vec![HTTP.to_vec()],
            key_log: None,
            insecure_on_loopback: false,
        }
    }
}

/// Shows no certificate, key or secret.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn: Vec<_> = self.alpn.iter().map(|name| String::from_utf8_lossy(name)).collect();
        f.debug_struct("TlsOptions")
            .field("trust", &self.trust)
            .field("identity", &self.identity.is_some())
            .field("min_version", &self.min_version)
            .field("alpn", &alpn)
            .field("key_log", &self.key_log.is_some())
            .field("insecure_on_loopback", &self.insecure_on_loopback)
            .finish()
    }
}

impl TlsOptions {
    /// The bundled roots, no client certificate, TLS 1.2 and 1.3, `http/1.1`.
    pub fn new() -> TlsOptions {
        TlsOptions::default()
    }

    /// Adds `trust`.
    pub fn trust(mut self, trust: Trust) -> TlsOptions {
        self.trust.push(trust);
        self
    }

    /// Sends a certificate to servers that ask for one. Both texts are PEM: the chain, with the
    /// client's own certificate first; and its key as PKCS#8, SEC1 (`EC PRIVATE KEY`) or PKCS#1
    /// (`RSA PRIVATE KEY`), not encrypted. One text may contain both and be passed twice.
    ///
    /// The key stays in memory as long as the configuration does; no `Debug` shows it.
    pub fn identity(mut self, chain_pem: &[u8], key_pem: &[u8]) -> TlsOptions {
        self.identity = Some(Identity { chain: chain_pem.to_vec(), key: key_pem.to_vec() });
        self
    }

    /// The oldest version that is accepted; default TLS 1.2.
    pub fn min_version(mut self, version: TlsVersion) -> TlsOptions {
        self.min_version = version;
        self
    }

    /// Offers these protocols, in this order, instead of `http/1.1` (ALPN, RFC 7301); an empty list
    /// offers none. The client uses HTTP/1.1, whatever the server chooses.
    pub fn alpn(mut self, protocols: &[&str]) -> TlsOptions {
        self.alpn = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Passes the secrets of each connection to `log`. Whoever has them can decrypt its traffic:
    /// use this only to inspect your own traffic.
    pub fn key_log(mut self, log: Arc<dyn KeyLog>) -> TlsOptions {
        self.key_log = Some(log);
        self
    }

    /// Writes the secrets of each connection to the file that the variable SSLKEYLOGFILE names, or
    /// nowhere if it is not set or the file cannot be opened. For the command: the library reads no
    /// variable.
    #[cfg(all(feature = "cli", feature = "luau"))]
    pub(crate) fn key_log_to_file_of_environment(self) -> TlsOptions {
        self.key_log(Arc::new(rustls::KeyLogFile::new()))
    }

    /// Accepts any certificate of a server at `localhost` or at a loopback address, and of no other
    /// server. The server's own key still has to match a pin. For the command, which has to ensure
    /// that such a connection does not leave this machine.
    #[cfg(any(test, all(feature = "cli", feature = "luau")))]
    pub(crate) fn insecure_on_loopback(mut self) -> TlsOptions {
        self.insecure_on_loopback = true;
        self
    }

    /// Makes the configuration.
    ///
    /// # Errors
    ///
    /// The error names the part that cannot be used: a text that is not PEM or contains no
    /// certificate or no key; a key that is encrypted or does not belong to its certificate;
    /// `System` without its Cargo feature or without a root; an empty list of pins; the name of a
    /// protocol that is empty or has more than 255 bytes (RFC 7301 §3.1).
    pub fn build(self) -> io::Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(self.roots()?);
        let pins = self.pins()?;
        self.check_protocols()?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions())
            .map_err(|e| invalid(e.to_string()))?;
        let builder = if pins.is_empty() && !self.insecure_on_loopback {
            builder.with_root_certificates(roots)
        } else {
            let mut verifier =
                Verifier::new(roots, &provider).map_err(|e| invalid(e.to_string()))?;
            verifier.pins = pins;
            verifier.insecure_on_loopback = self.insecure_on_loopback;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        // Each builder creates its own session store, so configurations share no sessions.
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certified = SingleCertAndKey::from(identity.certified(&provider)?);
                builder.with_client_cert_resolver(Arc::new(certified))
            }
        };
        config.alpn_protocols = self.alpn;
        if let Some(log) = self.key_log {
            config.key_log = log;
        }
        Ok(Arc::new(config))
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match self.min_version {
            TlsVersion::V1_2 => DEFAULT_VERSIONS,
            TlsVersion::V1_3 => NEWEST_VERSION,
        }
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let mut named = false;
        for trust in &self.trust {
            match trust {
                Trust::Bundled => add_bundled(&mut roots),
                Trust::System => add_system(&mut roots)?,
                Trust::Pem(pem) => add_pem(&mut roots, pem)?,
                Trust::Pins(_) => continue,
            }
            named = true;
        }
        if !named {
            add_bundled(&mut roots);
        }
        Ok(roots)
    }

    fn pins(&self) -> io::Result<Vec<Pin>> {
        let mut all = Vec::new();
        for trust in &self.trust {
            match trust {
                // An empty list might mean that no key is accepted, so this is an error.
                Trust::Pins(pins) if pins.is_empty() => {
                    return Err(unusable("the list of pins is empty"));
                }
                Trust::Pins(pins) => all.extend_from_slice(pins),
                _ => {}
            }
        }
        Ok(all)
    }

    fn check_protocols(&self) -> io::Result<()> {
        if self.alpn.iter().all(|name| (1..=255).contains(&name.len())) {
            return Ok(());
        }
        Err(unusable("the name of a protocol (ALPN) has 1 to 255 bytes"))
    }
}

/// The error for an option with an invalid value.
fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// The error for an option that cannot be used.
fn unusable(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn add_bundled(roots: &mut RootCertStore) {
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
}

#[cfg(feature = "system-roots")]
fn add_system(roots: &mut RootCertStore) -> io::Result<()> {
    let found = rustls_native_certs::load_native_certs();
    // Stores contain certificates that no verifier accepts, such as version 1; these are skipped.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(());
    }
    let why = found.errors.first().map(|e| format!(" ({e})")).unwrap_or_default();
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("the system's store has no root that can be used{why}"),
    ))
}

#[cfg(not(feature = "system-roots"))]
fn add_system(_: &mut RootCertStore) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this build cannot read the system's store: it lacks the Cargo feature system-roots",
    ))
}

fn add_pem(roots: &mut RootCertStore, pem: &[u8]) -> io::Result<()> {
    for (i, certificate) in certificates(pem)?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|e| invalid(format!("certificate {} cannot be a root: {e}", i + 1)))?;
    }
    Ok(())
}

/// The certificates in a PEM text, at least one.
fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let bad = |e| invalid(format!("certificate {} cannot be read: {e}", all.len() + 1));
        all.push(certificate.map_err(bad)?);
    }
    if all.is_empty() {
        return Err(invalid("no certificate in it (PEM is expected)"));
    }
    Ok(all)
}

impl Identity {
    fn certified(&self, provider: &CryptoProvider) -> io::Result<CertifiedKey> {
        let chain =
            certificates(&self.chain).map_err(|e| invalid(format!("client certificate: {e}")))?;
        let key = private_key(&self.key).map_err(|e| invalid(format!("client key: {e}")))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|e| {
            invalid(match e {
                rustls::Error::InconsistentKeys(_) => {
                    "the client key does not belong to the client certificate (the first one of its \
                     chain)"
                        .to_owned()
                }
                rustls::Error::InvalidCertificate(e) => {
                    format!("client certificate: certificate 1 cannot be read: {e}")
                }
                e => format!("client key: {e}"),
            })
        })
    }
}

fn private_key(pem: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    let has = |text: &str| pem.windows(text.len()).any(|w| w == text.as_bytes());
    // PKCS#8 (RFC 7468 §11), and the older form of OpenSSL (RFC 1421 §4.6.1.1).
    if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED") {
        return Err(invalid("it is encrypted; `openssl pkey` writes it without a password"));
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| {
        invalid(match e {
            pem::Error::NoItemsFound => {
                "no private key in it (PEM of PKCS#8, SEC1 or PKCS#1 is expected)".to_owned()
            }
            e => format!("it cannot be read: {e}"),
        })
    })
}
