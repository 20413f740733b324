//! A `Reactor` that this program turns.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Instant;

use common::{Args, Failure, Meter, Peer, Report, warm_up};
use moonwire::proto::http::Delivery;
use moonwire::proto::{CloseFrame, Compression};
use moonwire::{Closed, Conn, ConnId, Event, Os, Reactor, Sink, StreamOptions};

pub(crate) struct World {
    reactor: Reactor,
    wanted: Option<Compression>,
    heard: Heard,
    /// Of what was heard, messages and bytes that were asked for; they may come early.
    taken: (u64, u64),
    queued: u32,
}

#[derive(Default)]
struct Heard {
    /// Copies each message.
    owned: bool,
    /// Keeps those that come; a turn may bring several.
    keep: bool,
    kept: VecDeque<String>,
    messages: u64,
    bytes: u64,
    opened: u64,
    closed: u64,
    failed: Option<String>,
}

impl Sink for Heard {
    fn event(&mut self, _: &mut Conn<'_>, event: Event<'_>) {
        match event {
            Event::Text(text) => {
                // Once, as the other clients do: of a text in pieces it is a look at all its bytes.
                let text = text.as_str();
                self.messages += 1;
                self.bytes += text.len() as u64;
                if self.owned {
                    black_box(text.to_owned());
                } else {
                    black_box(text);
                }
                if self.keep {
                    self.kept.push_back(text.to_owned());
                }
            }
            Event::Chunk(data) => {
                self.messages += 1;
                self.bytes += data.len() as u64;
                black_box(&*data);
            }
            Event::Opened(_) | Event::Response(_) => self.opened += 1,
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
    pub(crate) fn new(owned: bool) -> Result<World, Failure> {
        Ok(World::with(Reactor::new(crate::config()?)?, owned))
    }

    pub(crate) fn on_poll() -> Result<World, Failure> {
        let config = crate::config()?;
        Ok(World::with(Reactor::with_sys(Os::with_poll(&config.limits)?, config)?, false))
    }

    fn with(reactor: Reactor, owned: bool) -> World {
        let heard = Heard { owned, ..Heard::default() };
        World { reactor, wanted: None, heard, taken: (0, 0), queued: 0 }
    }

    pub(crate) fn compressed(self, wanted: Option<Compression>) -> World {
        World { wanted, ..self }
    }

    fn turn(&mut self, until: Option<Instant>) -> Result<(), Failure> {
        self.reactor.turn(until, &mut self.heard)?;
        match self.heard.failed.take() {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }

    /// Turns until no more than `most` bytes wait to be sent.
    fn drain(&mut self, conn: ConnId, most: usize) -> Result<(), Failure> {
        self.reactor.flush();
        while self.reactor.buffered(conn) > most {
            self.turn(None)?;
        }
        Ok(())
    }
}

impl Peer for World {
    type Conn = ConnId;

    async fn open(&mut self, url: &str) -> Result<ConnId, Failure> {
        let id = self.reactor.open(crate::options(url, self.wanted)?)?;
        // A first message may come in the turn that opens.
        self.heard.keep = self.wanted.is_some();
        let opened = self.heard.opened;
        while self.heard.opened == opened {
            self.turn(None)?;
        }
        Ok(id)
    }

    async fn send(&mut self, conn: &mut ConnId, text: &str) -> Result<(), Failure> {
        self.reactor.send_text(*conn, text)?;
        self.reactor.flush();
        if self.reactor.buffered(*conn) > 0 {
            self.drain(*conn, 0)?;
        }
        Ok(())
    }

    async fn queue(&mut self, conn: &mut ConnId, text: &str) -> Result<(), Failure> {
        self.reactor.send_text(*conn, text)?;
        self.queued += 1;
        if self.queued.is_multiple_of(512) && self.reactor.buffered(*conn) > 1024 * 1024 {
            self.drain(*conn, 256 * 1024)?;
        }
        Ok(())
    }

    async fn flush(&mut self, conn: &mut ConnId) -> Result<(), Failure> {
        self.drain(*conn, 0)
    }

    async fn receive(&mut self, _: &mut ConnId, n: u64) -> Result<u64, Failure> {
        let wanted = self.taken.0 + n;
        while self.heard.messages < wanted {
            self.turn(None)?;
        }
        let before = std::mem::replace(&mut self.taken, (wanted, self.heard.bytes));
        Ok(self.heard.bytes - before.1)
    }

    async fn text(&mut self, _: &mut ConnId) -> Result<String, Failure> {
        self.heard.keep = true;
        let text = loop {
            match self.heard.kept.pop_front() {
                Some(text) => break text,
                None => self.turn(None)?,
            }
        };
        self.heard.keep = false;
        self.taken.0 += 1;
        self.taken.1 += text.len() as u64;
        Ok(text)
    }

    async fn close(&mut self, conn: ConnId) -> Result<(), Failure> {
        let closed = self.heard.closed;
        self.reactor.close(conn, &CloseFrame::new(1000, ""))?;
        while self.heard.closed == closed {
            self.turn(None)?;
        }
        Ok(())
    }
}

/// An event stream, or the same bytes as they come.
pub(crate) fn stream(args: &Args) -> Result<Report, Failure> {
    let mut world = World::new(false)?;
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let url = format!("{}?n={count}&size={}", args.url, args.size);
        let delivery = if args.case == "sse" { Delivery::Blocks } else { Delivery::Raw };
        world.reactor.open(StreamOptions::get(&url)?.delivery(delivery))?;
        let (messages, bytes) = (world.heard.messages, world.heard.bytes);
        let (opened, closed) = (world.heard.opened, world.heard.closed);
        while world.heard.opened == opened {
            world.turn(None)?;
        }
        let meter = Meter::start();
        while world.heard.closed == closed {
            world.turn(None)?;
        }
        let got = world.heard.messages - messages;
        // Pieces are as large as they come, so they are counted as the events that are in them.
        let got = if args.case == "sse" { got } else { count };
        report = Some(meter.stop(got, world.heard.bytes - bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

/// Short answers, one request behind the other, over one connection or each over its own.
pub(crate) fn gets(args: &Args) -> Result<Report, Failure> {
    let mut world = World::new(false)?;
    let url = format!("{}?size={}", args.url, args.size);
    let options = StreamOptions::get(&url)?.keep_alive(args.case == "get-kept");
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let bytes = world.heard.bytes;
        let meter = Meter::start();
        for _ in 0..count {
            let closed = world.heard.closed;
            world.reactor.open(options.clone())?;
            while world.heard.closed == closed {
                world.turn(None)?;
            }
        }
        report = Some(meter.stop(count, world.heard.bytes - bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}
