//! tokio-tungstenite on a runtime of one thread.

use std::hint::black_box;
use std::sync::Arc;

use common::rustls::ClientConfig;
use common::{Args, Failure, Peer, address, drive, tls_config};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

struct World(Arc<ClientConfig>);

type Conn = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn read(conn: &mut Conn) -> Result<Message, Failure> {
    Ok(conn.next().await.ok_or("it is over")??)
}

impl Peer for World {
    type Conn = Conn;

    async fn open(&mut self, url: &str) -> Result<Conn, Failure> {
        let (authority, secure) = address(url)?;
        let tcp = TcpStream::connect(authority).await?;
        tcp.set_nodelay(true)?;
        let tls = if secure { Connector::Rustls(Arc::clone(&self.0)) } else { Connector::Plain };
        Ok(client_async_tls_with_config(url, tcp, None, Some(tls)).await?.0)
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
            bytes += black_box(text.as_str()).len() as u64;
        }
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut Conn) -> Result<String, Failure> {
        Ok(read(conn).await?.into_text()?.to_string())
    }

    async fn close(&mut self, mut conn: Conn) -> Result<(), Failure> {
        conn.close(None).await?;
        while let Some(message) = conn.next().await {
            message?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(drive(World(tls_config()?), &args))?.print();
    Ok(())
}
