//! A connection of `connect`, whose calls block.

use std::hint::black_box;

use common::{Failure, Peer};
use moonwire::proto::Compression;
use moonwire::{Message, WebSocket};

/// The compression that the case asks for.
pub(crate) struct World(pub(crate) Option<Compression>);

fn read(conn: &mut WebSocket) -> Result<String, Failure> {
    match conn.read()? {
        Some(Message::Text(text)) => Ok(text),
        other => Err(format!("{other:?} is no text").into()),
    }
}

impl Peer for World {
    type Conn = WebSocket;

    async fn open(&mut self, url: &str) -> Result<WebSocket, Failure> {
        Ok(crate::options(url, self.0)?.connect_with(crate::config()?)?)
    }

    async fn send(&mut self, conn: &mut WebSocket, text: &str) -> Result<(), Failure> {
        Ok(conn.send_text(text)?)
    }

    /// This face writes at once, so it has no queue.
    async fn queue(&mut self, conn: &mut WebSocket, text: &str) -> Result<(), Failure> {
        Ok(conn.send_text(text)?)
    }

    async fn flush(&mut self, _: &mut WebSocket) -> Result<(), Failure> {
        Ok(())
    }

    async fn receive(&mut self, conn: &mut WebSocket, n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for _ in 0..n {
            bytes += black_box(read(conn)?).len() as u64;
        }
        Ok(bytes)
    }

    async fn text(&mut self, conn: &mut WebSocket) -> Result<String, Failure> {
        read(conn)
    }

    async fn close(&mut self, mut conn: WebSocket) -> Result<(), Failure> {
        conn.close(1000, "")?;
        Ok(())
    }
}
