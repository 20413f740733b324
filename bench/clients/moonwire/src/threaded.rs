//! A `Client`, whose connections live on a thread of their own.

use std::hint::black_box;

use common::{Failure, Peer};
use moonwire::{Client, Closed, ConnId, Event, Events, Options};

pub(crate) struct World {
    client: Client,
    events: Events,
    heard: Heard,
    /// How many received messages and bytes the case has asked for.
    taken: (u64, u64),
}

#[derive(Default)]
struct Heard {
    keep: bool,
    kept: String,
    messages: u64,
    bytes: u64,
    opened: u64,
    closed: u64,
    failed: Option<String>,
}

impl Heard {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Text(text) => {
                let text = text.as_str();
                self.messages += 1;
                self.bytes += text.len() as u64;
                black_box(text);
                if self.keep {
                    self.kept = text.to_owned();
                }
            }
            Event::Opened(_) => self.opened += 1,
            Event::Closed(closed) => {
                self.closed += 1;
                if let Closed::Failed(e) | Closed::Lost(e) = closed {
                    self.failed = Some(e.to_string());
                }
            }
            _ => {}
        }
    }
}

impl World {
    pub(crate) fn new() -> Result<World, Failure> {
        let (client, events) = Client::spawn(crate::config()?)?;
        Ok(World { client, events, heard: Heard::default(), taken: (0, 0) })
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let heard = &mut self.heard;
        self.events.wait(None, |_, event| heard.event(event))?;
        match heard.failed.take() {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }
}

impl Peer for World {
    type Conn = ConnId;

    async fn open(&mut self, url: &str) -> Result<ConnId, Failure> {
        let opened = self.heard.opened;
        let id = self.client.open(Options::new(url)?)?;
        while self.heard.opened == opened {
            self.wait()?;
        }
        Ok(id)
    }

    /// The text is written at once, or by the thread when the kernel accepts it.
    async fn send(&mut self, conn: &mut ConnId, text: &str) -> Result<(), Failure> {
        self.client.send_text(*conn, text)?;
        while self.client.buffered(*conn) > 1024 * 1024 {
            std::thread::yield_now();
        }
        Ok(())
    }

    async fn queue(&mut self, conn: &mut ConnId, text: &str) -> Result<(), Failure> {
        self.send(conn, text).await
    }

    async fn flush(&mut self, conn: &mut ConnId) -> Result<(), Failure> {
        while self.client.buffered(*conn) > 0 {
            std::thread::yield_now();
        }
        Ok(())
    }

    async fn receive(&mut self, _: &mut ConnId, n: u64) -> Result<u64, Failure> {
        let wanted = self.taken.0 + n;
        while self.heard.messages < wanted {
            self.wait()?;
        }
        let before = std::mem::replace(&mut self.taken, (wanted, self.heard.bytes));
        Ok(self.heard.bytes - before.1)
    }

    async fn text(&mut self, conn: &mut ConnId) -> Result<String, Failure> {
        self.heard.keep = true;
        self.receive(conn, 1).await?;
        self.heard.keep = false;
        Ok(std::mem::take(&mut self.heard.kept))
    }

    async fn close(&mut self, conn: ConnId) -> Result<(), Failure> {
        let closed = self.heard.closed;
        self.client.close(conn, 1000, "")?;
        while self.heard.closed == closed {
            self.wait()?;
        }
        Ok(())
    }
}
