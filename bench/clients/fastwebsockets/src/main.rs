//! fastwebsockets on a runtime of one thread. This client writes the opening handshake itself,
//! so that the frames use a plain `TcpStream` and not the stream that hyper returns.

use std::hint::black_box;

use common::{Args, Failure, Peer, address, drive, handshake, tls_config};
use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One type for each kind of stream, so that plain streams cost nothing for TLS.
struct World<F>(F);

trait Connect {
    type Stream: AsyncRead + AsyncWrite + Unpin;
    async fn connect(&self, authority: &str) -> Result<Self::Stream, Failure>;
}

struct Plain;

impl Connect for Plain {
    type Stream = TcpStream;

    async fn connect(&self, authority: &str) -> Result<TcpStream, Failure> {
        let tcp = TcpStream::connect(authority).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }
}

struct Tls(TlsConnector);

impl Connect for Tls {
    type Stream = tokio_rustls::client::TlsStream<TcpStream>;

    async fn connect(&self, authority: &str) -> Result<Self::Stream, Failure> {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let tcp = Plain.connect(authority).await?;
        Ok(self.0.connect(ServerName::try_from(host.to_owned())?, tcp).await?)
    }
}

impl<F: Connect> Peer for World<F> {
    type Conn = FragmentCollector<F::Stream>;

    async fn open(&mut self, url: &str) -> Result<Self::Conn, Failure> {
        let mut stream = self.0.connect(address(url)?.0).await?;
        stream.write_all(handshake(url)?.as_bytes()).await?;
        // Byte by byte, so that no byte of a frame is read with the head.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err("the server refuses".into());
        }
        Ok(FragmentCollector::new(WebSocket::after_handshake(stream, Role::Client)))
    }

    async fn send(&mut self, conn: &mut Self::Conn, text: &str) -> Result<(), Failure> {
        conn.write_frame(Frame::text(Payload::Borrowed(text.as_bytes()))).await?;
        Ok(())
    }

    /// The library has no queue.
    async fn queue(&mut self, conn: &mut Self::Conn, text: &str) -> Result<(), Failure> {
        self.send(conn, text).await
    }

    async fn flush(&mut self, _: &mut Self::Conn) -> Result<(), Failure> {
        Ok(())
    }

    async fn receive(&mut self, conn: &mut Self::Conn, n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for _ in 0..n {
            let frame = conn.read_frame().await?;
            if frame.opcode != OpCode::Text {
                return Err("no text".into());
            }
            bytes += black_box(&*frame.payload).len() as u64;
        }
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut Self::Conn) -> Result<String, Failure> {
        Ok(String::from_utf8(conn.read_frame().await?.payload.to_vec())?)
    }

    async fn close(&mut self, mut conn: Self::Conn) -> Result<(), Failure> {
        conn.write_frame(Frame::close(1000, b"")).await?;
        while conn.read_frame().await?.opcode != OpCode::Close {}
        let mut stream = conn.into_inner();
        while stream.read(&mut [0; 64]).await? > 0 {}
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let report = if args.url.starts_with("wss") {
        let tls = Tls(TlsConnector::from(tls_config()?));
        runtime.block_on(drive(World(tls), &args))?
    } else {
        runtime.block_on(drive(World(Plain), &args))?
    };
    report.print();
    Ok(())
}
