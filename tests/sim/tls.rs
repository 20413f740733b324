//! TLS between a service and its connection.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use moonwire::rustls::client::Resumption;
use moonwire::rustls::crypto::ring;
use moonwire::rustls::pki_types::pem::PemObject as _;
use moonwire::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use moonwire::rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use moonwire::rustls::sign::{CertifiedKey, Signer, SigningKey};
use moonwire::rustls::{
    ClientConfig, Error, RootCertStore, ServerConfig, ServerConnection, SignatureAlgorithm,
    SignatureScheme, version,
};

use crate::net::{Io, Service};

/// A fault of a TLS server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TlsPlan {
    /// The server uses TLS 1.2.
    pub old: bool,
    /// The server shows a certificate for another name.
    pub wrong_name: bool,
    /// The server answers the ClientHello with a fatal alert.
    pub alert: bool,
    /// The server ends without close_notify.
    pub rude: bool,
    /// The server flips a bit of the byte at this place of what it sends.
    pub garble: Option<u64>,
}

pub struct TlsService {
    tls: ServerConnection,
    inner: Box<dyn Service>,
    plan: TlsPlan,
    input: Vec<u8>,
    out: Vec<u8>,
    sent: u64,
    failed: bool,
    sent_close_notify: bool,
    finish: bool,
}

impl TlsService {
    pub fn new(plan: TlsPlan, config: &Arc<ServerConfig>, inner: Box<dyn Service>) -> TlsService {
        let mut tls = ServerConnection::new(Arc::clone(config)).expect("a server's connection");
        tls.set_buffer_limit(None);
        TlsService {
            tls,
            inner,
            plan,
            input: Vec::new(),
            out: Vec::new(),
            sent: 0,
            failed: false,
            sent_close_notify: false,
            finish: false,
        }
    }

    fn flush(&mut self, io: &mut Io<'_>) {
        let from = io.out.len();
        while self.tls.wants_write() {
            let _ = self.tls.write_tls(io.out);
        }
        if let Some(at) = self.plan.garble
            && let Some(byte) = io
                .out
                .get_mut(from..)
                .and_then(|new| new.get_mut(usize::try_from(at.checked_sub(self.sent)?).ok()?))
        {
            *byte ^= 0x10;
        }
        self.sent += (io.out.len() - from) as u64;
    }

    fn feed(&mut self, io: &mut Io<'_>) {
        /// Once this many decrypted bytes are unread, later bytes stay in the system.
        const AHEAD: usize = 16_384;
        let mut bytes = &io.input[..];
        while !bytes.is_empty() && !self.failed && self.input.len() < AHEAD {
            let read = self.tls.read_tls(&mut bytes);
            if read.is_err() || self.tls.process_new_packets().is_err() {
                self.failed = true;
            }
            // It returns an error at the end of the bytes, since more may come.
            let _ = self.tls.reader().read_to_end(&mut self.input);
        }
        let left = if self.failed { 0 } else { bytes.len() };
        io.input.drain(..io.input.len() - left);
    }
}

impl Service for TlsService {
    fn step(&mut self, io: &mut Io<'_>) {
        if self.plan.alert && !io.input.is_empty() && self.sent == 0 {
            io.input.clear();
            io.out.extend_from_slice(&[21, 3, 3, 0, 2, 2, 40]);
            (self.sent, self.failed) = (7, true);
        }
        self.feed(io);
        if self.failed {
            self.flush(io);
            io.finish = true;
            return;
        }
        let mut inner = Io {
            now: io.now,
            input: &mut self.input,
            end: io.end,
            out: &mut self.out,
            finish: self.finish,
            abort: false,
            wake: None,
        };
        if !self.tls.is_handshaking() {
            self.inner.step(&mut inner);
        }
        let (finish, abort, wake) = (inner.finish, inner.abort, inner.wake);
        self.finish = finish;
        (io.abort, io.wake) = (abort, wake);
        let _ = self.tls.writer().write_all(&self.out);
        self.out.clear();
        if finish && !self.plan.rude && !std::mem::replace(&mut self.sent_close_notify, true) {
            self.tls.send_close_notify();
        }
        self.flush(io);
        if finish || (io.end.is_some() && io.input.is_empty()) {
            io.finish = true;
        }
    }
}

fn pem(file: &str) -> Vec<u8> {
    let path = format!("{}/tests/certs/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The configuration of a simulation's reactor. Sessions of TLS are resumed only within one
/// simulation, so that each seed is independent.
pub fn client() -> Arc<ClientConfig> {
    static BASE: OnceLock<ClientConfig> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem("ca.pem")).unwrap()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    });
    let mut config = base.clone();
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// The configuration of a simulation's servers.
pub fn server(plan: TlsPlan) -> Arc<ServerConfig> {
    static KEYS: OnceLock<[Arc<Keeper>; 2]> = OnceLock::new();
    let keys = KEYS.get_or_init(|| ["wildcard", "other"].map(|name| Arc::new(Keeper::new(name))));
    let versions = if plan.old { [&version::TLS12] } else { [&version::TLS13] };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(keys[usize::from(plan.wrong_name)].clone());
    config.session_storage = ServerSessionMemoryCache::new(64);
    Arc::new(config)
}

/// A key whose signatures all have one length. The random bytes of TLS cannot be seeded. With this
/// key each record at least has the same length in every run, so that the faults of a seed change
/// the same byte.
#[derive(Debug)]
struct Keeper(Arc<CertifiedKey>);

impl Keeper {
    fn new(name: &str) -> Keeper {
        let chain = pem(&format!("{name}.pem"));
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        Keeper(Arc::new(CertifiedKey::new(chain, Arc::new(Even(key)))))
    }
}

impl ResolvesServerCert for Keeper {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Even(Arc<dyn SigningKey>);

impl SigningKey for Even {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(EvenSigner(self.0.choose_scheme(offered)?)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct EvenSigner(Box<dyn Signer>);

impl Signer for EvenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        /// Half of all ECDSA signatures over P-256 have this length in DER.
        const LEN: usize = 71;
        loop {
            let signature = self.0.sign(message)?;
            if signature.len() == LEN {
                return Ok(signature);
            }
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}
