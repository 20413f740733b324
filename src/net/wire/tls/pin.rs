//! Pins: keys of which a certificate chain has to contain one, whoever has signed the chain.

use std::fmt;
use std::io;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::EndEntityCert;

/// The prefix of a pin as text.
const ALGORITHM: &str = "sha256/";

/// The SHA-256 of a public key, as `sha256/BASE64`: of the whole `SubjectPublicKeyInfo` in DER (RFC
/// 5280 §4.1.2.7), as in RFC 7469 §2.4, curl's `--pinnedpubkey` and browsers.
///
/// ```
/// let pin: moonwire::Pin = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=".parse()?;
/// assert_eq!(pin.to_string(), "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin of the key in a certificate in DER.
    ///
    /// # Errors
    ///
    /// The error states why `der` is not a certificate (X.509 version 3, RFC 5280).
    pub fn of_certificate(der: &[u8]) -> io::Result<Pin> {
        let der = CertificateDer::from(der);
        match EndEntityCert::try_from(&der) {
            Ok(certificate) => Ok(Pin::of_key(&certificate.subject_public_key_info())),
            Err(e) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the certificate cannot be read: {e}"),
            )),
        }
    }

    /// The pin of a `SubjectPublicKeyInfo` in DER.
    pub(super) fn of_key(spki: &[u8]) -> Pin {
        // Uses the SHA-256 of the crypto provider, so that no further crate is needed: each cipher
        // suite refers to its hash.
        let common = match &TLS13_AES_128_GCM_SHA256 {
            SupportedCipherSuite::Tls12(suite) => &suite.common,
            SupportedCipherSuite::Tls13(suite) => &suite.common,
        };
        let digest = common.hash_provider.hash(spki);
        let mut pin = [0; 32];
        pin.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Pin(pin)
    }

    /// The pin of a root, whose `SubjectPublicKeyInfo` is kept without the SEQUENCE around it.
    pub(super) fn of_anchor(anchor: &TrustAnchor<'_>) -> Pin {
        Pin::of_key(&sequence(&anchor.subject_public_key_info))
    }
}

/// A SEQUENCE of DER with this content. (X.690 §8.1.3: a length below 128 is one byte; otherwise
/// the number of its bytes comes first.)
fn sequence(content: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|b| **b == 0).count();
    let length = &length[zeros..];
    let mut der = vec![SEQUENCE];
    match length {
        [] => der.push(0),
        [one] if *one < 0x80 => der.push(*one),
        // At most eight bytes.
        many => der.push(0x80 | many.len() as u8),
    }
    if content.len() >= 0x80 {
        der.extend_from_slice(length);
    }
    der.extend_from_slice(content);
    der
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = String;

    /// Parses `sha256/BASE64`: the padded base64 (RFC 4648 §4) of 32 bytes.
    fn from_str(text: &str) -> Result<Pin, String> {
        let digest = text.strip_prefix(ALGORITHM).and_then(|base64| STANDARD.decode(base64).ok());
        match digest.and_then(|bytes| bytes.try_into().ok()) {
            Some(digest) => Ok(Pin(digest)),
            None => Err(format!(
                "\"{}\" is not sha256/ and the base64 of 32 bytes",
                crate::proto::escape(text.as_bytes(), 100)
            )),
        }
    }
}

/// The error if no certificate of the chain has a pinned key.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// The pin of the server's own certificate.
    pub(super) seen: Pin,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no certificate of the verified chain has a pinned key; the server's own key is {} (if \
             the server was given a new key on purpose, pin that one; if not, another server has \
             answered)",
            self.seen
        )
    }
}

impl std::error::Error for Mismatch {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_of_known_roots_are_those_that_are_published() {
        // Keys with lengths of one, two and three bytes: an elliptic curve, RSA with 2048 and 4096
        // bits.
        for (name, pin) in [
            ("ISRG Root X2", "sha256/diGVwiVYbubAI3RW4hB9xU8e/CH2GnkuvVFZE8zmgzI="),
            ("Amazon Root CA 1", "sha256/++MBgDH5WGvL9Bcn5Be30cRcL0f5O+NyoXuWtQdX1aI="),
            ("ISRG Root X1", "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M="),
        ] {
            let anchor = webpki_roots::TLS_SERVER_ROOTS
                .iter()
                .find(|a| a.subject.windows(name.len()).any(|w| w == name.as_bytes()))
                .unwrap();
            assert_eq!(Pin::of_anchor(anchor).to_string(), pin, "{name}");
        }
    }

    #[test]
    fn a_sequence_has_the_shortest_length() {
        for (length, head) in [
            (0, &[0x30, 0][..]),
            (1, &[0x30, 1]),
            (127, &[0x30, 127]),
            (128, &[0x30, 0x81, 128]),
            (255, &[0x30, 0x81, 255]),
            (256, &[0x30, 0x82, 1, 0]),
            (65_536, &[0x30, 0x83, 1, 0, 0]),
        ] {
            let der = sequence(&vec![7; length]);
            assert_eq!(&der[..der.len() - length], head, "{length}");
        }
    }

    #[test]
    fn a_pin_has_one_form() {
        let good = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";
        let pin: Pin = good.parse().unwrap();
        assert_eq!(format!("{pin} {pin:?}"), format!("{good} Pin({good})"));
        for bad in [
            "",
            "sha256/",
            "C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=",
            "sha256//C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=",
            "sha1/C5+lpZ7tcVwmwQIMcRtPbsQtWLA=",
            "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLA=",
            // Without the padding, with other bits behind the last byte, in the base64 alphabet of
            // URLs.
            "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M",
            "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8N=",
            "sha256/C5-lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=",
            " sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=",
            "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M= ",
        ] {
            let error_text = bad.parse::<Pin>().unwrap_err();
            assert!(
                error_text.ends_with("is not sha256/ and the base64 of 32 bytes"),
                "{error_text}"
            );
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_pin() {
        for bytes in [&b""[..], b"-----BEGIN CERTIFICATE-----", &[0x30, 0x80], &[0x30, 3, 1, 2, 3]]
        {
            let error_text = Pin::of_certificate(bytes).unwrap_err().to_string();
            assert!(error_text.starts_with("the certificate cannot be read: "), "{error_text}");
        }
    }
}
