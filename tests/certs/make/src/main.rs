//! Makes all certificates of `tests/certs` and `src/peer/certs` anew; `../README.md` describes
//! each. The keys of the roots and intermediates are not stored.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
    SigningKey, date_time_ymd,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TEST_ROOT: &str = "moonwire test root";
const LOCAL: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// A certificate that signs others, with its chain: itself first, without the root.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    chain: String,
}

/// The folders.
struct Maker {
    certs: PathBuf,
    peer: PathBuf,
}

fn main() -> Result<()> {
    let certs = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let peer = certs.join("../../src/peer/certs");
    let to = Maker { certs, peer };

    let test = root(TEST_ROOT)?;
    to.save("ca.pem", &test.pem)?;
    names(&to, &test)?;
    times_and_purposes(&to, &test)?;
    chains(&to, &test)?;
    weak(&to)?;

    to.leaf("unknown-root", &root("moonwire unknown root")?, leaf("unknown-root", LOCAL)?)?;
    let key = key()?;
    let pem = leaf("self-signed", LOCAL)?.self_signed(&key)?.pem();
    to.pair("self-signed", &pem, &key)?;

    let clients = root("moonwire client root")?;
    to.save("client-ca.pem", &clients.pem)?;
    to.leaf("client", &clients, for_clients("client")?)?;

    let loopback = root("moonwire loopback root")?;
    fs::write(to.peer.join("ca.pem"), &loopback.pem)?;
    let (pem, key) = signed(&loopback, leaf("loopback", LOCAL)?)?;
    fs::write(to.peer.join("loopback.pem"), pem)?;
    fs::write(to.peer.join("loopback.key"), key.serialize_pem())?;
    Ok(())
}

/// Names: right, wrong, none, a wildcard, addresses only.
fn names(to: &Maker, test: &Authority) -> Result<()> {
    for (file, names) in [
        ("good", LOCAL),
        ("echo", &["echo.websocket.org", "echo.websocket.events"]),
        ("other", &["other.example"]),
        ("wildcard", &["*.a.test"]),
        ("address", &["127.0.0.1", "::1"]),
        ("name", &["localhost"]),
    ] {
        to.leaf(file, test, leaf(file, names)?)?;
    }
    to.leaf("cn-only", test, leaf("localhost", &[])?)
}

fn times_and_purposes(to: &Maker, test: &Authority) -> Result<()> {
    let mut expired = leaf("expired", LOCAL)?;
    (expired.not_before, expired.not_after) =
        (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    to.leaf("expired", test, expired)?;
    let mut not_yet = leaf("not-yet", LOCAL)?;
    not_yet.not_before = date_time_ymd(2090, 1, 1);
    to.leaf("not-yet", test, not_yet)?;
    to.leaf("client-only", test, for_clients("client-only")?)
}

/// Chains: complete, incomplete, and chains that a verifier must not accept.
fn chains(to: &Maker, test: &Authority) -> Result<()> {
    let between = test.authority("moonwire test intermediate", |_| {})?;
    to.leaf("chain", &between, leaf("chain", LOCAL)?)?;
    let (alone, key) = signed(&between, leaf("no-intermediate", LOCAL)?)?;
    to.pair("no-intermediate", &alone, &key)?;

    let no_ca = test.authority("moonwire test no CA", |p| p.is_ca = IsCa::ExplicitNoCa)?;
    to.leaf("no-ca", &no_ca, leaf("no-ca", LOCAL)?)?;

    let elsewhere = test.authority("moonwire test constrained", |p| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("example.test".into())];
        let excluded_subtrees = Vec::new();
        p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees });
    })?;
    to.leaf("constrained", &elsewhere, leaf("constrained", &["localhost"])?)?;

    let last = test.authority("moonwire test last", |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    })?;
    let beyond = last.authority("moonwire test beyond the last", |_| {})?;
    to.leaf("path-length", &beyond, leaf("path-length", LOCAL)?)?;

    let old = test.authority("moonwire test expired intermediate", |p| {
        (p.not_before, p.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    })?;
    to.leaf("expired-intermediate", &old, leaf("expired-intermediate", LOCAL)?)?;

    let mut deep = test.authority("moonwire test depth 1", |_| {})?;
    for i in 2..=8 {
        deep = deep.authority(&format!("moonwire test depth {i}"), |_| {})?;
    }
    to.leaf("deep", &deep, leaf("deep", LOCAL)?)
}

/// A signature that names SHA-1 as its algorithm. Neither rcgen nor ring makes one, so its bytes
/// are arbitrary: a verifier that accepted the algorithm would report a wrong signature instead.
fn weak(to: &Maker) -> Result<()> {
    struct MadeUp;
    impl PublicKeyData for MadeUp {
        fn der_bytes(&self) -> &[u8] {
            &[]
        }
        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &PKCS_RSA_SHA256
        }
    }
    impl SigningKey for MadeUp {
        fn sign(&self, _: &[u8]) -> std::result::Result<Vec<u8>, rcgen::Error> {
            Ok(vec![1; 256])
        }
    }
    /// sha256WithRSAEncryption (RFC 4055 §5); with 5 as its last byte, sha1WithRSAEncryption.
    const SHA256: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11];

    let (root, key) = (authority(TEST_ROOT)?, key()?);
    let mut params = leaf("sha1", LOCAL)?;
    params.use_authority_key_identifier_extension = false;
    let made = params.signed_by(&key, &Issuer::from_params(&root, MadeUp))?;
    let mut der = made.der().to_vec();
    let starts: Vec<_> = (0..der.len()).filter(|&i| der[i..].starts_with(&SHA256)).collect();
    assert_eq!(starts.len(), 2, "one that is signed and one beside the signature");
    for start in starts {
        der[start + 8] = 5;
    }
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    to.pair("sha1", &pem::encode_config(&pem::Pem::new("CERTIFICATE", der), lines), &key)
}

fn key() -> Result<KeyPair> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// Valid from 2020 to 2100.
fn params(name: &str, names: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(Ia5String::try_from(*name)?),
        });
    }
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn leaf(name: &str, names: &[&str]) -> Result<CertificateParams> {
    let mut params = params(name, names)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![Purpose::ServerAuth];
    Ok(params)
}

fn for_clients(name: &str) -> Result<CertificateParams> {
    let mut params = leaf(name, LOCAL)?;
    params.extended_key_usages = vec![Purpose::ClientAuth];
    Ok(params)
}

fn authority(name: &str) -> Result<CertificateParams> {
    let mut params = params(name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn root(name: &str) -> Result<Authority> {
    let (params, key) = (authority(name)?, key()?);
    let pem = params.self_signed(&key)?.pem();
    Ok(Authority { issuer: Issuer::new(params, key), pem, chain: String::new() })
}

/// A certificate and its key.
fn signed(by: &Authority, params: CertificateParams) -> Result<(String, KeyPair)> {
    let key = key()?;
    Ok((params.signed_by(&key, &by.issuer)?.pem(), key))
}

impl Authority {
    /// Another certificate, signed by this one and modified by `change`.
    fn authority(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Authority> {
        let mut params = authority(name)?;
        change(&mut params);
        let (pem, key) = signed(self, params.clone())?;
        let chain = format!("{pem}{}", self.chain);
        Ok(Authority { issuer: Issuer::new(params, key), pem, chain })
    }
}

impl Maker {
    fn save(&self, file: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.certs.join(file), text)?)
    }

    fn pair(&self, file: &str, chain: &str, key: &KeyPair) -> Result<()> {
        self.save(&format!("{file}.pem"), chain)?;
        self.save(&format!("{file}.key"), &key.serialize_pem())
    }

    /// `file.pem` with the chain up to the root, and `file.key`.
    fn leaf(&self, file: &str, by: &Authority, params: CertificateParams) -> Result<()> {
        let (pem, key) = signed(by, params)?;
        self.pair(file, &(pem + &by.chain), &key)
    }
}
