//! Verifies pins, in addition to the chain and the name of a server's certificate; and makes the
//! command's exception for this machine.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use rustls::server::VerifierBuilderError;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::pin::{Mismatch, Pin};

/// rustls' verifier, and pins in addition.
#[derive(Debug)]
pub(super) struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
    pub(super) pins: Vec<Pin>,
    /// For the command only: if the name is this machine's, only pins are checked.
    pub(super) insecure_on_loopback: bool,
}

impl Verifier {
    /// A verifier that makes only the checks of rustls.
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier, VerifierBuilderError> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        Ok(Verifier {
            webpki: builder.build()?,
            roots,
            algorithms: provider.signature_verification_algorithms.all,
            pins: Vec::new(),
            insecure_on_loopback: false,
        })
    }

    /// Fails unless the server's certificate or, according to `in_chain`, one above it has a pinned
    /// key.
    fn check_pins(
        &self,
        certificate: &CertificateDer<'_>,
        in_chain: impl FnOnce(&EndEntityCert<'_>) -> bool,
    ) -> Result<(), Error> {
        if self.pins.is_empty() {
            return Ok(());
        }
        let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let certificate = EndEntityCert::try_from(certificate).map_err(|_| bad())?;
        let seen = Pin::of_key(&certificate.subject_public_key_info());
        if self.pins.contains(&seen) || in_chain(&certificate) {
            return Ok(());
        }
        let mismatch = OtherError(Arc::new(Mismatch { seen }));
        Err(Error::InvalidCertificate(CertificateError::Other(mismatch)))
    }

    /// Whether some valid path from the certificate to a root has a pinned key above the
    /// certificate; the root counts. Certificates that are not in such a path do not count: a
    /// server may send any, even somebody else's.
    fn has_pinned_path(
        &self,
        certificate: &EndEntityCert<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let is_pinned = |path: &VerifiedPath<'_>| {
            let keys = path.intermediate_certificates().map(|c| c.subject_public_key_info());
            let mut pins = keys.map(|key| Pin::of_key(&key));
            if pins.any(|pin| self.pins.contains(&pin))
                || self.pins.contains(&Pin::of_anchor(path.anchor()))
            {
                return Ok(());
            }
            // Any error makes webpki try the next path.
            Err(webpki::Error::UnknownIssuer)
        };
        certificate
            .verify_for_usage(
                self.algorithms,
                &self.roots.roots,
                sent,
                now,
                KeyUsage::server_auth(),
                None,
                Some(&is_pinned),
            )
            .is_ok()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.insecure_on_loopback && is_this_machine(name) {
            // No chain is verified, so no other certificate counts.
            self.check_pins(certificate, |_| false)?;
            return Ok(ServerCertVerified::assertion());
        }
        // Checked before the pins, so that an error in the chain has its own text.
        let verified = self.webpki.verify_server_cert(certificate, sent, name, ocsp, now)?;
        self.check_pins(certificate, |parsed| self.has_pinned_path(parsed, sent, now))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether the name is `localhost` or a loopback address (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
/// Names below `localhost`, and IPv6 addresses that stand for IPv4, do not count.
fn is_this_machine(name: &ServerName<'_>) -> bool {
    match name {
        ServerName::DnsName(name) => name.as_ref().eq_ignore_ascii_case("localhost"),
        ServerName::IpAddress(address) => IpAddr::from(*address).is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_loopback_addresses_are_this_machine() {
        for (name, is) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.255.0.3", true),
            ("::1", true),
            ("localhost.example", false),
            ("a.localhost", false),
            ("localhost.", false),
            ("127.0.0.1.example", false),
            ("128.0.0.1", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("::2", false),
            ("::ffff:127.0.0.1", false),
        ] {
            assert_eq!(is_this_machine(&ServerName::try_from(name).unwrap()), is, "{name}");
        }
    }
}
