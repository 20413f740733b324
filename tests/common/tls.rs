//! TLS servers that record what their clients do, and clients for `wss://` and `https://`.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use moonwire::rustls::crypto::ring;
use moonwire::rustls::pki_types::pem::PemObject as _;
use moonwire::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use moonwire::rustls::server::{Acceptor, WebPkiClientVerifier};
use moonwire::rustls::sign::{CertifiedKey, SingleCertAndKey};
use moonwire::rustls::version::{TLS12, TLS13};
use moonwire::rustls::{
    self, AlertDescription, ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use moonwire::{Ask, Closed, Config, Error, ErrorKind, Override, Stage, StreamOptions, trace};

use super::{LONG, OwnedEvent, Peer, Scripted, Wire, close, events, listen, options, pem};

/// Both versions of TLS.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The certificates in a file of tests/certs.
pub fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    let pem = pem(&format!("{name}.pem"));
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap()
}

/// The key of a certificate of tests/certs.
pub fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).unwrap()
}

/// The configuration of a server.
pub struct Server {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Whether the server requires client certificates.
    pub wants_client: bool,
}

impl Server {
    /// A server with the certificate `name` of tests/certs.
    pub fn new(name: &str) -> Server {
        let versions = VERSIONS.to_vec();
        Server { chain: chain(name), key: key(name), versions, wants_client: false }
    }

    /// A server with a single version.
    pub fn only(mut self, version: &'static SupportedProtocolVersion) -> Server {
        self.versions = vec![version];
        self
    }

    pub fn config(self) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = if self.wants_client {
            let roots = Arc::new(roots("client-ca.pem"));
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        // This resolver does not check that the key belongs to the certificate.
        let key = ring::sign::any_supported_type(&self.key).unwrap();
        let certified = CertifiedKey::new(self.chain, key);
        builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
    }
}

/// The roots in a file of tests/certs.
pub fn roots(file: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&pem(file)) {
        roots.add(root.unwrap()).unwrap();
    }
    roots
}

/// A client's configuration that trusts the root of tests/certs, as in [`super::trusting`].
pub fn client() -> ClientConfig {
    ClientConfig::clone(&moonwire::tls_config(&pem("ca.pem")).unwrap())
}

/// The same with a client certificate of tests/certs.
pub fn with_certificate(name: &str) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots("ca.pem"))
        .with_client_auth_cert(chain(name), key(name))
        .unwrap()
}

/// What a server has recorded about a client.
#[derive(Debug)]
pub struct Seen {
    /// The server name in the ClientHello (SNI).
    pub name: Option<String>,
    /// The protocols that the client offered (ALPN).
    pub protocols: Option<Vec<String>>,
    /// The result of the handshake.
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// A request arrived.
    Request { version: ProtocolVersion, kind: HandshakeKind, with_certificate: bool },
    /// The client refused the certificate or the handshake.
    Alert(AlertDescription),
    /// The connection ended otherwise.
    Other,
}

impl Seen {
    pub fn version(&self) -> ProtocolVersion {
        match self.end {
            End::Request { version, .. } => version,
            _ => panic!("no request: {self:?}"),
        }
    }

    pub fn kind(&self) -> HandshakeKind {
        match self.end {
            End::Request { kind, .. } => kind,
            _ => panic!("no request: {self:?}"),
        }
    }
}

/// Does a handshake with a client, reads up to the first byte of a request, and records both.
pub fn meet(tcp: TcpStream, config: &Arc<ServerConfig>) -> (Seen, Peer) {
    let mut peer = Peer::plain(tcp);
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        acceptor.read_tls(&mut peer.tcp).unwrap();
        if let Some(accepted) = acceptor.accept().map_err(|(e, _)| e).unwrap() {
            break accepted;
        }
    };
    let hello = accepted.client_hello();
    let name = hello.server_name().map(str::to_owned);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let protocols = hello.alpn().map(|all| all.map(text).collect());
    let mut seen = Seen { name, protocols, end: End::Other };
    match accepted.into_connection(Arc::clone(config)) {
        Ok(session) => {
            peer = peer.with(session);
            seen.end = peer.meet();
        }
        Err((_, mut alert)) => alert.write_all(&mut peer.tcp).unwrap(),
    }
    (seen, peer)
}

/// Starts a server for `count` clients, one after another. It answers each.
pub fn answering(config: ServerConfig, count: usize) -> Scripted<Vec<Seen>> {
    let config = Arc::new(config);
    serving(count, move |tcp| {
        let (seen, mut peer) = meet(tcp, &config);
        if let End::Request { .. } = seen.end {
            peer.answer_any();
            peer.close_notify();
        } else {
            peer.rest();
        }
        seen
    })
}

/// Starts a server for `count` clients, one after another. It passes the socket of each to `each`.
pub fn serving<R: Send + 'static>(
    count: usize,
    mut each: impl FnMut(TcpStream) -> R + Send + 'static,
) -> Scripted<Vec<R>> {
    listen(move |l| (0..count).map(|_| each(l.accept().unwrap().0)).collect())
}

impl Peer {
    /// Uses TLS from here on.
    pub fn with(mut self, session: ServerConnection) -> Peer {
        let tcp = self.tcp.try_clone().unwrap();
        self.wire = Wire::Tls(Box::new(StreamOwned::new(session, tcp)));
        self
    }

    pub fn session(&mut self) -> &mut ServerConnection {
        match &mut self.wire {
            Wire::Tls(stream) => &mut stream.conn,
            Wire::Plain(_) => panic!("no TLS"),
        }
    }

    fn meet(&mut self) -> End {
        let mut byte = [0];
        match self.wire.stream().read_exact(&mut byte) {
            Ok(()) => {
                self.head.push(byte[0].into());
                let session = self.session();
                End::Request {
                    version: session.protocol_version().unwrap(),
                    kind: session.handshake_kind().unwrap(),
                    with_certificate: session.peer_certificates().is_some(),
                }
            }
            Err(e) => match e.get_ref().and_then(|e| e.downcast_ref()) {
                Some(rustls::Error::AlertReceived(alert)) => End::Alert(*alert),
                _ => End::Other,
            },
        }
    }

    /// Answers the request: opens a WebSocket and closes it again, or sends a short body.
    pub fn answer_any(&mut self) {
        if self.request().contains("Sec-WebSocket-Key") {
            self.accept(&close(1000, ""));
            self.close_frame();
        } else {
            self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    }

    /// Sends close_notify of TLS.
    pub fn close_notify(&mut self) {
        self.session().send_close_notify();
        // The client may have received everything and closed the connection.
        let _ = self.wire.stream().flush();
    }

    /// Whether the client next sends close_notify.
    pub fn gets_close_notify(&mut self) -> bool {
        matches!(self.wire.stream().read(&mut [0]), Ok(0))
    }

    /// Sends a fatal alert, as a server does when it receives a record like this one.
    pub fn alert(&mut self) {
        let mut broken = &b"\x17\x03\x03\0\x20no such record is a legal one..."[..];
        let session = self.session();
        session.read_tls(&mut broken).unwrap();
        session.process_new_packets().unwrap_err();
        let mut bytes = Vec::new();
        session.write_tls(&mut bytes).unwrap();
        let _ = self.tcp.write_all(&bytes);
    }
}

/// The two kinds of connections over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A `wss://` URL.
    WebSocket,
    /// An `https://` URL.
    Stream,
}

pub const FACES: [Face; 2] = [Face::WebSocket, Face::Stream];

/// Both faces with both versions.
pub fn all() -> impl Iterator<Item = (Face, &'static SupportedProtocolVersion)> {
    FACES.into_iter().flat_map(|face| VERSIONS.map(|version| (face, version)))
}

impl Face {
    pub fn scheme(self) -> &'static str {
        match self {
            Face::WebSocket => "wss",
            Face::Stream => "https",
        }
    }

    /// The stage in which the client waits for an answer.
    pub fn stage(self) -> Stage {
        match self {
            Face::WebSocket => Stage::Handshake,
            Face::Stream => Stage::Response,
        }
    }

    pub fn ask(self, url: &str) -> Ask {
        match self {
            Face::WebSocket => options(url).into(),
            Face::Stream => StreamOptions::get(url).unwrap().timeout(LONG).into(),
        }
    }

    /// Opens a URL and returns what the connection reported.
    pub fn tried(self, url: &str, config: Config) -> Tried {
        let lines = Shared::default();
        let observer = Some(Box::new(trace::Lines::new(lines.clone())) as Box<_>);
        let reported = events(self.ask(url), Config { observer, ..config });
        let trace = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        Tried { reported, trace }
    }

    /// Opens `wss://host:port/` or `https://host:port/`. The host resolves to `to`, and `port` is
    /// that of `to`.
    pub fn open(self, host: &str, to: SocketAddr, tls: &Arc<ClientConfig>) -> Tried {
        let by: Override =
            format!("{host}:{}:{}:{}", to.port(), to.ip(), to.port()).parse().unwrap();
        let tls = Some(Arc::clone(tls));
        let config = Config { tls, resolve: vec![by], ..Config::default() };
        self.tried(&format!("{}://{host}:{}/", self.scheme(), to.port()), config)
    }

    /// The same with the IP address of `to` as the host.
    pub fn open_at(self, to: SocketAddr, tls: &Arc<ClientConfig>) -> Tried {
        self.open(&to.ip().to_string(), to, tls)
    }
}

/// The events of a connection that has ended, and its trace.
#[derive(Debug)]
pub struct Tried {
    pub reported: Vec<OwnedEvent>,
    pub trace: String,
}

impl Tried {
    /// The error with which the connection ended, if it did.
    pub fn error(&self) -> Option<&Error> {
        match self.reported.last() {
            Some(OwnedEvent::Closed(Closed::Failed(e) | Closed::Lost(e))) => Some(e),
            _ => None,
        }
    }

    /// `stage: reason` of this error.
    pub fn reason(&self) -> Option<String> {
        self.error().map(Error::reason)
    }

    /// The same. Checks that the connection was never open.
    pub fn refused(&self) -> String {
        assert!(
            matches!(self.reported[..], [OwnedEvent::Closed(Closed::Failed(_))]),
            "{:?}",
            self.reported
        );
        self.reason().unwrap()
    }

    pub fn is_certificate(&self) -> bool {
        matches!(self.error().map(Error::kind), Some(ErrorKind::Certificate(_, Some(_))))
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.error().map(Error::kind), Some(ErrorKind::Tls(..)))
    }
}

/// The text that an observer writes.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
