//! sockudo-ws on a runtime of one thread; only for the cases with compression. Its client offers no
//! extension, so this program writes the opening handshake itself.

use std::hint::black_box;

use common::{Args, Failure, Peer, address, drive, handshake_with};
use futures_util::{SinkExt as _, StreamExt as _};
use sockudo_ws::{CompressedWebSocketStream, Config, DeflateConfig, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct World(DeflateConfig);

type Conn = CompressedWebSocketStream<TcpStream>;

async fn read(conn: &mut Conn) -> Result<Message, Failure> {
    Ok(conn.next().await.ok_or("it is over")??)
}

impl Peer for World {
    type Conn = Conn;

    async fn open(&mut self, url: &str) -> Result<Conn, Failure> {
        let mut tcp = TcpStream::connect(address(url)?.0).await?;
        tcp.set_nodelay(true)?;
        let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        tcp.write_all(handshake_with(url, offer)?.as_bytes()).await?;
        // Byte by byte, so that no byte of a frame is read with the head.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains("permessage-deflate\r\n") {
            return Err("the server refuses".into());
        }
        Ok(CompressedWebSocketStream::client(tcp, Config::default(), self.0.clone()))
    }

    async fn send(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.send(Message::text(text)).await?)
    }

    async fn queue(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.feed(Message::text(text)).await?)
    }

    async fn flush(&mut self, conn: &mut Conn) -> Result<(), Failure> {
        Ok(conn.flush().await?)
    }

    async fn receive(&mut self, conn: &mut Conn, n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for _ in 0..n {
            let Message::Text(text) = read(conn).await? else { return Err("no text".into()) };
            bytes += black_box(text).len() as u64;
        }
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut Conn) -> Result<String, Failure> {
        Ok(read(conn).await?.as_text().ok_or("no text")?.to_owned())
    }

    async fn close(&mut self, mut conn: Conn) -> Result<(), Failure> {
        conn.close(1000, "").await?;
        while let Some(message) = conn.next().await {
            message?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let mut config = DeflateConfig::default();
    if let Some(level) =
        args.deflate().ok_or("it is compared in the cases with compression alone")?
    {
        config.compression_level = level;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(World(config), &args))?.print();
    Ok(())
}
