//! tungstenite, whose calls block.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::TcpStream;
use std::sync::Arc;

use common::rustls::ClientConfig;
use common::{Args, Failure, KEPT, Peer, address, drive, now, tls_config};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Connector, Error, Message, WebSocket, client_tls_with_config};

struct World(Arc<ClientConfig>);

type Conn = WebSocket<MaybeTlsStream<TcpStream>>;

impl Peer for World {
    type Conn = Conn;

    async fn open(&mut self, url: &str) -> Result<Conn, Failure> {
        let (authority, secure) = address(url)?;
        let tcp = TcpStream::connect(authority)?;
        tcp.set_nodelay(true)?;
        let tls = if secure { Connector::Rustls(Arc::clone(&self.0)) } else { Connector::Plain };
        Ok(client_tls_with_config(url, tcp, None, Some(tls))?.0)
    }

    async fn send(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.send(Message::text(text))?)
    }

    async fn queue(&mut self, conn: &mut Conn, text: &str) -> Result<(), Failure> {
        Ok(conn.write(Message::text(text))?)
    }

    async fn flush(&mut self, conn: &mut Conn) -> Result<(), Failure> {
        Ok(conn.flush()?)
    }

    async fn receive(&mut self, conn: &mut Conn, n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for _ in 0..n {
            let Message::Text(text) = conn.read()? else { return Err("no text".into()) };
            bytes += black_box(text.as_str()).len() as u64;
        }
        Ok(bytes)
    }

    async fn receive_kept(&mut self, conn: &mut Conn, n: u64) -> Result<u64, Failure> {
        let (mut bytes, mut kept) = (0, VecDeque::with_capacity(KEPT));
        for _ in 0..n {
            let Message::Text(text) = conn.read()? else { return Err("no text".into()) };
            bytes += text.as_str().len() as u64;
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(text);
        }
        black_box(kept);
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut Conn) -> Result<String, Failure> {
        Ok(conn.read()?.into_text()?.to_string())
    }

    async fn close(&mut self, mut conn: Conn) -> Result<(), Failure> {
        conn.close(None)?;
        loop {
            match conn.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse(std::env::args().skip(1))?;
    now(drive(World(tls_config()?), &args))?.print();
    Ok(())
}
