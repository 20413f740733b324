//! A `Reactor` that this program turns.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Args, Failure, KEPT, Meter, Peer, Report, warm_up};
use moonwire::proto::http::Delivery;
use moonwire::proto::{CloseFrame, Compression};
use moonwire::{Closed, Conn, ConnId, Event, Os, Reactor, Sink, StreamOptions};

pub(crate) struct World {
    reactor: Reactor,
    wanted: Option<Compression>,
    heard: Heard,
    /// Set if the program owns the messages and events.
    owner: Option<Taken>,
    /// How many of the received messages and bytes the case has asked for; they may come early.
    taken: (u64, u64),
    queued: u32,
}

#[derive(Default)]
struct Heard {
    /// Owns each message: a copy, unless the message was joined from several reads.
    owned: bool,
    /// Keeps the messages that come; a turn may bring several.
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
            Event::Text(text) if self.owned => {
                let text = text.into_string();
                self.messages += 1;
                self.bytes += text.len() as u64;
                if self.keep {
                    self.kept.push_back(text);
                } else {
                    black_box(text);
                }
            }
            Event::Text(text) => {
                // Called once, as in the other clients: for a text in pieces it checks all bytes.
                let text = text.as_str();
                self.messages += 1;
                self.bytes += text.len() as u64;
                black_box(text);
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

/// Owns messages and events; passes all else to `Heard`.
struct Taking<'a> {
    heard: &'a mut Heard,
    taken: &'a mut Taken,
}

/// What a program has that owns messages and events.
#[derive(Default)]
struct Taken {
    /// Whether it keeps the last few messages, and the last event.
    keeps: bool,
    texts: VecDeque<String>,
    event: Option<Box<moonwire::proto::sse::Event>>,
}

impl Sink for Taking<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        match event {
            // A text that was joined from several reads is moved, not copied.
            Event::Text(text) => {
                let text = text.into_string();
                self.heard.messages += 1;
                self.heard.bytes += text.len() as u64;
                if self.taken.texts.len() == KEPT {
                    self.taken.texts.pop_front();
                }
                self.taken.texts.push_back(text);
            }
            Event::ServerSent(event) => {
                self.heard.messages += 1;
                self.heard.bytes += event.data.len() as u64;
                if self.taken.keeps {
                    self.taken.event = Some(event);
                } else {
                    black_box(event);
                }
            }
            other => self.heard.event(conn, other),
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
        World { reactor, wanted: None, heard, owner: None, taken: (0, 0), queued: 0 }
    }

    pub(crate) fn compressed(self, wanted: Option<Compression>) -> World {
        World { wanted, ..self }
    }

    fn turn(&mut self, until: Option<Instant>) -> Result<(), Failure> {
        match &mut self.owner {
            Some(taken) => {
                self.reactor.turn(until, &mut Taking { heard: &mut self.heard, taken })?;
            }
            None => self.reactor.turn(until, &mut self.heard)?,
        }
        match self.heard.failed.take() {
            Some(why) => Err(why.into()),
            None => Ok(()),
        }
    }

    /// Turns the reactor until at most `most` bytes wait to be sent.
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
        // The turn that opens the connection may also bring a first message.
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

    /// A turn brings the messages of all connections.
    async fn receive_over(&mut self, conns: &mut [ConnId], n: u64) -> Result<u64, Failure> {
        self.receive(&mut conns[0], n).await
    }

    async fn receive_kept(&mut self, conn: &mut ConnId, n: u64) -> Result<u64, Failure> {
        self.owner = Some(Taken { keeps: true, ..Taken::default() });
        let bytes = self.receive(conn, n).await?;
        self.owner = None;
        Ok(bytes)
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

    async fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(Some(until))?;
        }
        Ok(())
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

/// Reads an event stream, or the same bytes as they come.
pub(crate) fn stream(args: &Args) -> Result<Report, Failure> {
    let mut world = World::new(false)?;
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let url = format!("{}?n={count}&size={}", args.url, args.size);
        let delivery = match args.case.as_str() {
            "sse" => Delivery::Blocks,
            "raw" => Delivery::Raw,
            _ => Delivery::Events,
        };
        let taken = Taken { keeps: args.case == "events-fields", ..Taken::default() };
        world.owner = (delivery == Delivery::Events).then_some(taken);
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
        // The size of pieces varies, so the number of events in them is counted.
        let got = if args.case == "raw" { count } else { got };
        report = Some(meter.stop(got, world.heard.bytes - bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

/// Answers messages on many connections.
#[derive(Default)]
struct Members {
    /// Each connection answers its messages; otherwise that with the orders answers, once a wave.
    each: bool,
    opened: u64,
    messages: u64,
    bytes: u64,
    ready: bool,
    orders: Option<ConnId>,
    /// The length and the first byte of the last message of each connection, as a program with a
    /// state for each connection keeps them.
    states: Option<std::collections::HashMap<ConnId, (usize, u8)>>,
    failed: Option<String>,
}

/// Messages between two answers, if not each message is answered.
const WAVE: u64 = 1000;

impl Sink for Members {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        match event {
            Event::Text(text) if Some(conn.id()) == self.orders => {
                self.ready = text.as_str() == "ready"
            }
            Event::Text(text) => {
                let text = text.as_str();
                self.messages += 1;
                self.bytes += text.len() as u64;
                if let Some(states) = &mut self.states {
                    states.insert(conn.id(), (text.len(), text.as_bytes()[0]));
                }
                if self.each
                    && let Err(e) = conn.send_text("k")
                {
                    self.failed = Some(e.to_string());
                }
            }
            Event::Opened(_) => self.opened += 1,
            Event::Closed(Closed::Failed(e) | Closed::Lost(e)) => self.failed = Some(e.to_string()),
            _ => {}
        }
    }
}

/// Many connections that each get a message in turn.
pub(crate) fn turns(args: &Args) -> Result<Report, Failure> {
    let mut reactor = Reactor::new(crate::config()?)?;
    let mut its = Members { each: args.case != "waves", ..Members::default() };
    its.states = (args.case == "turns-states").then(Default::default);
    let (base, _) = args.url.rsplit_once('/').ok_or("a URL with a path")?;
    let orders = reactor.open(crate::options(&args.url, None)?)?;
    its.orders = Some(orders);
    for number in 1..=args.open + 1 {
        while its.opened < number {
            turn(&mut reactor, &mut its)?;
        }
        if number <= args.open {
            reactor.open(crate::options(&format!("{base}/member"), None)?)?;
        }
    }
    let mut report = None;
    // The server sends only whole waves.
    for count in [warm_up(args.count).next_multiple_of(WAVE), args.count] {
        its.ready = false;
        reactor.send_text(orders, &format!("prepare {count} {}", args.size))?;
        reactor.flush();
        while !its.ready {
            turn(&mut reactor, &mut its)?;
        }
        (its.messages, its.bytes) = (0, 0);
        let meter = Meter::start();
        reactor.send_text(orders, "go")?;
        reactor.flush();
        let mut next = WAVE;
        while its.messages < count {
            turn(&mut reactor, &mut its)?;
            if !its.each && its.messages >= next {
                next += WAVE;
                reactor.send_text(orders, "k")?;
                reactor.flush();
            }
        }
        report = Some(meter.stop(count, its.bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

fn turn(reactor: &mut Reactor, its: &mut Members) -> Result<(), Failure> {
    reactor.turn(None, its)?;
    its.failed.take().map_or(Ok(()), |why| Err(why.into()))
}

/// Sends one request after another with short responses, over one connection or one each.
pub(crate) fn gets(args: &Args) -> Result<Report, Failure> {
    let mut world = World::new(false)?;
    let url = format!("{}?size={}", args.url, args.size);
    let options = match args.case.as_str() {
        "post-kept" => StreamOptions::new("POST", &url)?.body("p".repeat(args.size))?,
        _ => StreamOptions::get(&url)?,
    };
    let options = options.keep_alive(args.case.ends_with("-kept"));
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
