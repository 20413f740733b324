//! yawc on a runtime of one thread; only for the cases with compression.

use std::hint::black_box;

use common::{Args, Failure, Peer, address, drive};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use yawc::close::CloseCode;
use yawc::{CompressionLevel, DeflateOptions, Frame, OpCode, Options, WebSocket};

struct World(Options);

type Conn = WebSocket<TcpStream>;

/// Reads a text and checks once that it is UTF-8, as the other clients do.
async fn read(conn: &mut Conn) -> Result<Frame, Failure> {
    let frame = conn.next().await.ok_or("it is over")?;
    if frame.opcode() == OpCode::Text { Ok(frame) } else { Err("no text".into()) }
}

impl Peer for World {
    type Conn = Conn;

    async fn open(&mut self, url: &str) -> Result<Conn, Failure> {
        let tcp = TcpStream::connect(address(url)?.0).await?;
        tcp.set_nodelay(true)?;
        Ok(WebSocket::handshake(url.parse()?, tcp, self.0.clone()).await?)
    }

    async fn send(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.send(Frame::text(text.to_owned())).await?)
    }

    async fn queue(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.feed(Frame::text(text.to_owned())).await?)
    }

    async fn flush(&mut self, conn: &mut Conn) -> Result<(), Failure> {
        Ok(conn.flush().await?)
    }

    async fn receive(&mut self, conn: &mut Conn, n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for _ in 0..n {
            bytes += black_box(read(conn).await?.payload()).len() as u64;
        }
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut Conn) -> Result<String, Failure> {
        Ok(read(conn).await?.as_str().to_owned())
    }

    async fn close(&mut self, mut conn: Conn) -> Result<(), Failure> {
        conn.send(Frame::close(CloseCode::Normal, b"")).await?;
        while conn.next().await.is_some() {}
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let mut options = Options::default().with_utf8();
    // Without a level, the client offers no compression: for `idle`, the comparison.
    if let Some(level) = args.deflate() {
        let level = level.map_or_else(CompressionLevel::default, CompressionLevel::new);
        options.compression = Some(DeflateOptions { level, ..DeflateOptions::default() });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(World(options), &args))?.print();
    Ok(())
}
