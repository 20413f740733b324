//! A connection, plain or over TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Failure;

pub enum Io {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

/// The certificate of the crate's small server, whose root the clients trust.
pub fn tls_config() -> Result<Arc<ServerConfig>, Failure> {
    let chain = include_bytes!("../../../src/peer/certs/loopback.pem");
    let key = include_bytes!("../../../src/peer/certs/loopback.key");
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?))
}

impl Io {
    pub fn new(tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> Result<Io, Failure> {
        tcp.set_nodelay(true)?;
        Ok(match tls {
            None => Io::Plain(tcp),
            Some(config) => {
                Io::Tls(Box::new(StreamOwned::new(ServerConnection::new(config)?, tcp)))
            }
        })
    }

    /// Sends the end of the stream and waits until the client has closed.
    pub fn end(&mut self) -> io::Result<()> {
        let tcp = match self {
            Io::Plain(tcp) => tcp,
            Io::Tls(tls) => {
                tls.conn.send_close_notify();
                tls.conn.complete_io(&mut tls.sock)?;
                &mut tls.sock
            }
        };
        tcp.shutdown(Shutdown::Write)?;
        let mut rest = [0; 4096];
        while tcp.read(&mut rest)? > 0 {}
        Ok(())
    }
}

impl Read for Io {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Io::Plain(tcp) => tcp.read(buf),
            Io::Tls(tls) => tls.read(buf),
        }
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Io::Plain(tcp) => tcp.write(bytes),
            Io::Tls(tls) => {
                let n = tls.write(bytes)?;
                tls.flush()?;
                Ok(n)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
