//! tokio-websockets on a runtime of one thread.

use std::hint::black_box;

use common::{Args, Failure, Peer, drive, tls_config};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Connector, MaybeTlsStream, Message, WebSocketStream};

struct World(Connector);

type Conn = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn read(conn: &mut Conn) -> Result<Message, Failure> {
    Ok(conn.next().await.ok_or("it is over")??)
}

impl Peer for World {
    type Conn = Conn;

    async fn open(&mut self, url: &str) -> Result<Conn, Failure> {
        let builder = ClientBuilder::new().uri(url)?;
        let builder = if url.starts_with("wss") { builder.connector(&self.0) } else { builder };
        let conn = builder.connect().await?.0;
        if let MaybeTlsStream::Plain(tcp) = conn.get_ref() {
            tcp.set_nodelay(true)?;
        }
        Ok(conn)
    }

    async fn send(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.send(Message::text(text.to_owned())).await?)
    }

    async fn queue(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.feed(Message::text(text.to_owned())).await?)
    }

    async fn flush(&mut self, conn: &mut Conn) -> Result<(), Failure> {
        Ok(conn.flush().await?)
    }

    async fn receive(&mut self, conn: &mut Conn, n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for _ in 0..n {
            let message = read(conn).await?;
            bytes += black_box(message.as_text().ok_or("no text")?).len() as u64;
        }
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut Conn) -> Result<String, Failure> {
        Ok(read(conn).await?.as_text().ok_or("no text")?.to_owned())
    }

    async fn close(&mut self, mut conn: Conn) -> Result<(), Failure> {
        conn.close().await?;
        while let Some(message) = conn.next().await {
            message?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let connector = Connector::Rustls(tls_config()?.into());
    runtime.block_on(drive(World(connector), &args))?.print();
    Ok(())
}
