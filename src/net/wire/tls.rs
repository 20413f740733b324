//! TLS: with the folder `tls`, everything that uses rustls. A program cannot turn verification off:
//! there are options for other roots (`options.rs`), for pins (`pin.rs`), and for a complete
//! configuration. The only exception is for the command, and only for this machine (`verify.rs`).

mod options;
mod pin;
mod verify;

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection};

use crate::error::ErrorKind;
use crate::proto::{Host, escape};

pub use options::{TlsOptions, TlsVersion, Trust};
use pin::Mismatch;
pub use pin::Pin;

/// A client configuration that trusts the roots of `webpki-roots` and the certificates in `pem`:
/// any number, in PEM. It uses TLS 1.2 and 1.3, rustls' ring provider, and `http/1.1` by ALPN.
/// [`TlsOptions`] has more options.
///
/// ```
/// use moonwire::{Config, tls_config};
///
/// let pem = std::fs::read("tests/certs/ca.pem")?;
/// let config = Config { tls: Some(tls_config(&pem)?), ..Config::default() };
/// # drop(config);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// The error names the part of `pem` that cannot be read, or states that it has no certificate.
pub fn tls_config(pem: &[u8]) -> io::Result<Arc<ClientConfig>> {
    let options = TlsOptions::new().trust(Trust::Bundled);
    if pem.is_empty() { options.build() } else { options.trust(Trust::Pem(pem.to_vec())).build() }
}

/// The configuration of a reactor for which the program sets none.
pub(in crate::net) fn default_config() -> Result<Arc<ClientConfig>, ErrorKind> {
    TlsOptions::new().build().map_err(|e| ErrorKind::Tls(e.to_string(), Some(Box::new(e))))
}

/// A TLS connection without its socket.
pub(crate) struct Tls(Connection, Records);

/// The current position in the stream of records (RFC 8446 §5.1).
#[derive(Default)]
struct Records {
    /// How many bytes of the current record's content are still to come.
    left: usize,
    /// How many bytes of a header have come, and the length in them.
    header: usize,
    length: usize,
}

impl Records {
    /// The size of a header: type, version, and the length of the content.
    const HEADER: usize = 5;

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let inside = self.left.min(bytes.len());
            self.left -= inside;
            bytes = &bytes[inside..];
            while self.left == 0
                && let Some((&byte, rest)) = bytes.split_first()
            {
                if self.header >= Records::HEADER - 2 {
                    self.length = self.length << 8 | usize::from(byte);
                }
                self.header += 1;
                bytes = rest;
                if self.header == Records::HEADER {
                    *self = Records { left: self.length, ..Records::default() };
                }
            }
        }
    }

    fn is_between(&self) -> bool {
        self.left == 0 && self.header == 0
    }
}

/// The state of the stream after bytes were fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// More bytes may come.
    Open,
    /// The peer has sent `close_notify`.
    Closed,
    /// The stream has ended without `close_notify`.
    Cut,
}

impl Tls {
    pub(crate) fn client(config: &Arc<ClientConfig>, host: &Host) -> Result<Tls, ErrorKind> {
        let name = match host {
            Host::Address(IpAddr::V4(v4)) => ServerName::IpAddress((*v4).into()),
            Host::Address(IpAddr::V6(v6)) => ServerName::IpAddress((*v6).into()),
            host => {
                let name = host.peer_name().into_owned();
                let bad = format!("{name} is not a name for TLS");
                ServerName::try_from(name).map_err(|_| ErrorKind::Tls(bad, None))?
            }
        };
        let client = ClientConnection::new(Arc::clone(config), name);
        let client = client.map_err(|e| failure(e, Phase::Greeting))?;
        Ok(Tls(client.into(), Records::default()))
    }

    /// Whether the received bytes end with a complete record.
    pub(crate) fn is_between_records(&self) -> bool {
        self.1.is_between()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn phase(&self) -> Phase {
        match self.0.protocol_version() {
            None => Phase::Greeting,
            Some(_) if self.is_handshaking() => Phase::Handshake,
            Some(_) => Phase::Open,
        }
    }

    /// The version as text, such as `TLSv1_3`, once it is known.
    pub(crate) fn version(&self) -> String {
        self.0.protocol_version().map(|v| format!("{v:?}")).unwrap_or_default()
    }

    /// The protocol on which both sides agreed (ALPN, RFC 7301), once it is known.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.0.alpn_protocol()
    }

    /// The certificates of the server in DER, as it sent them, its own first. A chain from the
    /// first one was verified; the others need not be part of it. Empty before the handshake has
    /// received them.
    pub(crate) fn certificates(&self) -> Vec<Vec<u8>> {
        let all = self.0.peer_certificates().unwrap_or_default();
        all.iter().map(|certificate| certificate.to_vec()).collect()
    }

    /// Takes bytes from the socket; appends decrypted bytes at `buf[*end..]`, which grows as
    /// needed.
    pub(crate) fn feed(
        &mut self,
        mut cipher: &[u8],
        buf: &mut Vec<u8>,
        end: &mut usize,
    ) -> Result<Fed, ErrorKind> {
        self.1.take(cipher);
        while !cipher.is_empty() {
            // Reading from memory cannot fail; an error means that a message is too long.
            let read = self.0.read_tls(&mut cipher);
            if read.map_err(|e| ErrorKind::Tls(TOO_LONG.into(), Some(Box::new(e))))? == 0 {
                break;
            }
            let state = match self.0.process_new_packets() {
                Ok(state) => state,
                Err(e) => {
                    self.rescue(buf, end);
                    return Err(failure(e, self.phase()));
                }
            };
            let mut plain = state.plaintext_bytes_to_read();
            if buf.len() - *end < plain {
                buf.resize(*end + plain, 0);
            }
            while plain > 0 {
                let n =
                    self.0.reader().read(&mut buf[*end..*end + plain]).map_err(ErrorKind::Io)?;
                *end += n;
                plain -= n;
            }
            if state.peer_has_closed() {
                return Ok(Fed::Closed);
            }
        }
        Ok(Fed::Open)
    }

    /// Takes out the bytes before the record that broke the connection: they are valid.
    fn rescue(&mut self, buf: &mut Vec<u8>, end: &mut usize) {
        let mut plain = Vec::new();
        // Ends with an error, since more bytes could have come.
        let _ = self.0.reader().read_to_end(&mut plain);
        buf.splice(*end.., plain.iter().copied());
        *end = buf.len();
    }

    /// Frees memory that many records at once have taken (FACTS: a read that finds nothing frees
    /// it).
    pub(crate) fn shrink(&mut self) {
        struct Nothing;
        impl io::Read for Nothing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        let _ = self.0.read_tls(&mut Nothing);
    }

    /// Takes bytes to be encrypted; returns how many: fewer than given if its buffer is full.
    pub(crate) fn encrypt(&mut self, plain: &[u8]) -> usize {
        self.0.writer().write(plain).unwrap_or_default()
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Writes encrypted bytes.
    pub(crate) fn write(&mut self, to: &mut dyn io::Write) -> io::Result<usize> {
        self.0.write_tls(to)
    }

    /// Queues `close_notify`.
    pub(crate) fn send_close_notify(&mut self) {
        self.0.send_close_notify();
    }
}

const VERSIONS: &str = "the server supports no version of TLS that is accepted here (1.2 and 1.3, \
                        or 1.3 alone where that is the minimum)";

const TOO_LONG: &str =
    "the server's part of the handshake, its certificates maybe, is longer than 64 KiB";

/// How far a connection was when it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The server has not sent its version yet.
    Greeting,
    Handshake,
    Open,
}

/// The text for an error of rustls, with a remedy if there is one.
fn failure(error: rustls::Error, phase: Phase) -> ErrorKind {
    use rustls::{InvalidMessage, PeerIncompatible as Incompatible};
    let text = match &error {
        rustls::Error::InvalidCertificate(bad) => refusal(bad),
        rustls::Error::InvalidMessage(
            InvalidMessage::CertificatePayloadTooLarge | InvalidMessage::HandshakePayloadTooLarge,
        ) => TOO_LONG.into(),
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) if phase == Phase::Greeting => {
            "the server does not speak TLS on this port; it may be one for ws:// or http://".into()
        }
        rustls::Error::PeerIncompatible(
            Incompatible::ServerDoesNotSupportTls12Or13
            | Incompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => VERSIONS.into(),
        rustls::Error::AlertReceived(alert) => {
            let did = if phase == Phase::Open { "aborted" } else { "refused" };
            format!("the server {did} with alert {alert:?}{}", remedy(*alert))
        }
        other => escaped(other),
    };
    let verification = matches!(error, rustls::Error::InvalidCertificate(_));
    let kind = if verification { ErrorKind::Certificate } else { ErrorKind::Tls };
    kind(text, Some(Box::new(error)))
}

/// The text for an invalid certificate.
fn refusal(bad: &CertificateError) -> String {
    use CertificateError as Bad;
    let text = match bad {
        Bad::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().take(4).map(|n| shown_name(n)).collect();
            let names = if names.is_empty() {
                "no name (only a subjectAltName counts)".into()
            } else {
                names.join(", ")
            };
            return format!("the certificate is for {names} (expected {})", expected.to_str());
        }
        Bad::NotValidForName => "the certificate is for another name",
        Bad::Expired | Bad::ExpiredContext { .. } => {
            "the certificate or one of its issuers has expired, or the clock here is wrong"
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the certificate is not valid yet, or the clock here is wrong"
        }
        Bad::UnknownIssuer => {
            "the certificate is not signed by a trusted root; a root of your own can be added (or \
             the server leaves out an intermediate certificate)"
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => {
            "the certificate is not for servers (its extended key usage)"
        }
        Bad::BadSignature => {
            "a signature is wrong: the server does not have the certificate's key, or a certificate \
             was changed"
        }
        // The variant without context is deprecated, but the library still returns it.
        #[allow(deprecated)]
        Bad::UnsupportedSignatureAlgorithm
        | Bad::UnsupportedSignatureAlgorithmContext { .. }
        | Bad::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate is signed in a way that is not accepted, such as SHA-1; the server \
             needs another"
        }
        Bad::Other(why) => {
            if let Some(mismatch) = why.0.downcast_ref::<Mismatch>() {
                return mismatch.to_string();
            }
            return format!("the chain of certificates breaks a rule: {}", escaped(why));
        }
        other => return format!("the certificate is not acceptable: {}", escaped(other)),
    };
    text.into()
}

/// A possible remedy for an alert of the server.
fn remedy(alert: AlertDescription) -> &'static str {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            "; it requires a client certificate (TlsOptions::identity, or --cert and --key)"
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateUnknown
        | Alert::CertificateExpired
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied => "; it does not accept the client certificate",
        Alert::ProtocolVersion => {
            "; it requires another version of TLS (1.2 and 1.3 are supported here, or 1.3 alone \
             where that is the minimum)"
        }
        Alert::NoApplicationProtocol => "; it does not offer HTTP/1.1 here (ALPN)",
        Alert::UnrecognisedName => "; it does not know the host's name",
        _ => "",
    }
}

fn escaped(text: &dyn std::fmt::Display) -> String {
    escape(text.to_string().as_bytes(), 200)
}

/// The name in `DnsName("a.example")`, the format of the library, escaped.
fn shown_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    let inner = inner.trim_matches('"');
    match inner.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => escape(inner.as_bytes(), 100),
    }
}

/// The side of a server, for the small server in `peer`.
#[cfg(feature = "cli")]
pub(crate) mod server {
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// The certificate and key of a server.
    pub(crate) struct Identity(Arc<ServerConfig>);

    impl Identity {
        /// A certificate chain and its key, both in PEM; and the roots for clients, if clients need
        /// a certificate.
        pub(crate) fn new(
            chain: &[u8],
            key: &[u8],
            clients: Option<&[u8]>,
        ) -> io::Result<Identity> {
            let bad = |e: &dyn std::fmt::Display| {
                io::Error::new(io::ErrorKind::InvalidData, format!("certificate or key: {e}"))
            };
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad(&e))?;
            let provider = Arc::new(ring::default_provider());
            let mut clients_roots = RootCertStore::empty();
            for root in CertificateDer::pem_slice_iter(clients.unwrap_or_default()) {
                clients_roots.add(root.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            let verifier = match clients {
                Some(_) => {
                    let roots = Arc::new(clients_roots);
                    let made =
                        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
                    made.build().map_err(|e| bad(&e))?
                }
                None => WebPkiClientVerifier::no_client_auth(),
            };
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .and_then(|b| {
                    let chain = chain.map_err(|e| rustls::Error::General(e.to_string()))?;
                    b.with_client_cert_verifier(verifier).with_single_cert(chain, key)
                });
            Ok(Identity(Arc::new(config.map_err(|e| bad(&e))?)))
        }
    }

    impl Tls {
        /// The server's side of a connection.
        pub(crate) fn server(identity: &Identity) -> io::Result<Tls> {
            let server =
                ServerConnection::new(Arc::clone(&identity.0)).map_err(io::Error::other)?;
            Ok(Tls(server.into(), Records::default()))
        }
    }
}

#[cfg(test)]
pub(in crate::net) mod tests;
