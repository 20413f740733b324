//! The program that owns the reactor. It acts as the scenario says, and checks the laws after every
//! turn.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moonwire::proto::CloseFrame;
use moonwire::{Config, Conn, ConnId, Options, Policy, Reactor, Sink, StreamOptions};

use crate::book::{Msg, SharedBook, ms, open};
use crate::http::HttpServer;
use crate::laws::is_plain;
use crate::net::{Blown, Inject, Net, Passage, Service, Shared, burn, lock};
use crate::proxy::{Maker, ProxyService, Through, credentials_in};
use crate::sink::{Receiver, State};
use crate::sys::Sim;
use crate::tally::{Tally, check_delivery, check_given_up};
use crate::tls::{self, TlsService};
use crate::world::{Ask, Deed, Drive, HTTP, HTTPS, PROXY, PROXY_TLS, SOCKS, WSS, World};
use crate::ws::WsServer;

/// Fewer than this many turns in a row may return at once without having done anything.
const IDLE: usize = 6;
/// At most this many bytes are encrypted and not yet taken by the system. Some may be of frames
/// that are not the program's.
const SEALED: u64 = 65_536 + 16_384;
/// No scenario takes this long.
const AGES: Duration = Duration::from_secs(120);

pub struct Program {
    net: Shared,
    book: SharedBook,
    reactor: Reactor<Sim>,
    asks: Vec<Ask>,
    states: Vec<State>,
    ids: HashMap<ConnId, usize>,
    deeds: Vec<(Duration, usize, Deed)>,
    stalls: Vec<(Duration, Duration)>,
    dropped: Option<Duration>,
    drive: Drive,
    calm: bool,
    rule: Option<Through>,
    whole: bool,
    rude: bool,
    /// The delay of the program's turns, by which a time limit may be exceeded.
    slack: Duration,
    /// For how long the program is busy elsewhere, in total.
    busy: Duration,
    idle: usize,
    failing: bool,
    /// A call of the program's code panics.
    touchy: bool,
}

/// Makes the network of a world.
pub fn network(world: &World, book: &SharedBook) -> Net {
    let mut net = Net::new(world.rng.clone().next());
    net.noise = world.noise.clone();
    net.gate = world.limits.opening_per_peer;
    net.places = world.places.iter().map(|(to, dials)| (*to, (dials.clone(), 0))).collect();
    net.names = world.names.iter().cloned().collect();
    let (path, cuts, plan) = (world.path.clone(), world.cuts, world.tls);
    let (book, config) = (Arc::clone(book), tls::server(plan));
    let (proxies, of_server) = (world.proxies.clone(), Arc::clone(&book));
    let tls = move |plain| Box::new(TlsService::new(plan, &config, plain));
    let over = tls.clone();
    let server: Maker = Arc::new(move |port| {
        let plain: Box<dyn Service> = match port {
            HTTP | HTTPS => Box::new(HttpServer::new(Arc::clone(&of_server))),
            _ => Box::new(WsServer::new(Arc::clone(&of_server))),
        };
        if [WSS, HTTPS].contains(&port) { over(plain) } else { plain }
    });
    net.make = Some(Box::new(move |rng, to| {
        let path = World::draw_path(&path, cuts, rng);
        let mut proxy = || {
            let make = Arc::clone(&server);
            Box::new(ProxyService::new(Arc::clone(&book), &proxies, make, to, rng))
        };
        let service: Box<dyn Service> = match to.port() {
            PROXY | SOCKS => proxy(),
            PROXY_TLS => tls(proxy()),
            port => server(port),
        };
        (path, service)
    }));
    net
}

/// Plays a world to its end.
pub fn play(mut world: World, net: &Shared, book: &SharedBook, inject: Option<Inject>) -> Tally {
    open(book).entries = world.entries();
    (lock(net).inject, lock(net).fuse) = (inject, world.fuse);
    let asked = Arc::clone(net);
    let mut config = Config {
        limits: world.limits.clone(),
        tls: Some(tls::client()),
        resolve: Vec::new(),
        observer: world.observed.then(|| Box::new(Watcher(Arc::clone(net))) as _),
        tape: world.tape.take(),
        ..Config::default()
    };
    let denied = world.denied.clone();
    config.policy = Policy::open().and(move |to| {
        burn(&asked, None);
        let Some(ip) = to.address else { return Ok(()) };
        if denied.contains(&ip) {
            return Err("it is denied".into());
        }
        lock(&asked).allowed.insert((SocketAddr::new(ip, to.port), to.is_proxy));
        Ok(())
    });
    if let Some(through) = world.rule {
        config.proxy = through.proxy().into();
    }
    let Ok(reactor) = Reactor::with_sys(Sim::new(net), config) else {
        assert!(inject.is_some_and(|inject| inject.call == 0), "no reactor");
        return Tally { calls: 1, ..Tally::default() };
    };
    world.deeds.sort_by_key(|(at, ..)| *at);
    world.deeds.reverse();
    world.stalls.sort();
    world.stalls.reverse();
    let stalled: Duration = world.stalls.iter().map(|(_, span)| *span).sum();
    // A turn that has room for one event handles one time limit.
    let frames = match world.drive {
        Drive::Frames(span) => span * world.asks.len() as u32,
        _ => Duration::ZERO,
    };
    let mut program = Program {
        net: Arc::clone(net),
        book: Arc::clone(book),
        reactor,
        states: world.asks.iter().map(|_| State::default()).collect(),
        asks: world.asks,
        ids: HashMap::new(),
        deeds: world.deeds,
        stalls: world.stalls,
        dropped: world.dropped,
        drive: world.drive,
        calm: world.calm && world.cuts.is_none(),
        rule: world.rule,
        whole: world.path.sip == 0 && world.noise.would_block == 0,
        rude: world.tls.rude,
        slack: stalled + frames + ms(200),
        busy: stalled,
        idle: 0,
        failing: inject.is_some(),
        touchy: world.fuse.is_some(),
    };
    program.work();
    let calls = lock(net).calls;
    Tally { calls, ..program.finish() }
}

impl Program {
    fn now(&self) -> Duration {
        lock(&self.net).now
    }

    fn at(&self, at: Duration) -> Instant {
        let net = lock(&self.net);
        net.instant() - net.now + at
    }

    fn work(&mut self) {
        loop {
            let now = self.now();
            assert!(now < AGES, "it does not end: {:?} are left", self.reactor.len());
            if self.dropped.is_some_and(|at| at <= now) {
                return;
            }
            if let Some((at, span)) = self.stalls.pop_if(|(at, _)| *at <= now) {
                lock(&self.net).log(|| format!("the program is busy since {at:?}, for {span:?}"));
                lock(&self.net).sleep(Some(now + span), false);
            }
            let now = self.now();
            while let Some((_, k, deed)) = self.deeds.pop_if(|(at, ..)| *at <= now) {
                self.act(k, deed);
                self.note_panic();
                self.idle = 0;
            }
            if self.deeds.is_empty() && self.reactor.is_empty() {
                return;
            }
            let before = {
                let net = lock(&self.net);
                (net.progress, net.wasted)
            };
            let until = self.deeds.last().map(|(at, ..)| *at);
            let until = [until, self.stalls.last().map(|(at, _)| *at), self.dropped];
            let until = until.into_iter().flatten().min();
            if !self.round(until) {
                return;
            }
            self.check_round(before);
        }
    }

    /// Waits, and makes one turn; returns whether there may be another.
    fn round(&mut self, until: Option<Duration>) -> bool {
        match self.drive {
            Drive::Waits => {
                let until = until.map(|at| self.at(at));
                self.turn(until)
            }
            Drive::Elsewhere => {
                let due = self.reactor.deadline().map(|at| lock(&self.net).since(at));
                let deadline = [until, due].into_iter().flatten().min();
                lock(&self.net).sleep(deadline, true);
                let now = self.at(self.now());
                self.turn(Some(now))
            }
            Drive::Frames(span) => {
                let now = self.now();
                lock(&self.net).sleep(Some(now + span), false);
                let now = self.at(self.now());
                self.turn(Some(now))
            }
        }
    }

    fn turn(&mut self, until: Option<Instant>) -> bool {
        lock(&self.net).start_turn();
        let mut receiver = Receiver {
            net: &self.net,
            book: &self.book,
            asks: &self.asks,
            states: &mut self.states,
            ids: &self.ids,
            slack: self.slack,
            limits: self.reactor.limits().clone(),
            whole: self.whole,
            rude: self.rude,
        };
        let sink: &mut dyn Sink = &mut receiver;
        match caught(|| self.reactor.turn(until, sink)) {
            Some(Ok(())) => true,
            Some(Err(e)) => {
                assert!(self.failing, "a turn fails: {e}");
                false
            }
            None => {
                self.note_panic();
                true
            }
        }
    }

    /// Records, once, for which connection the program's code has panicked.
    fn note_panic(&mut self) {
        let Some(about) = lock(&self.net).blown.filter(|_| std::mem::take(&mut self.touchy)) else {
            return;
        };
        let is_it = |state: &State| state.id.map(ConnId::to_bits) == about;
        let Some(k) = self.states.iter().position(is_it).filter(|_| about.is_some()) else {
            return;
        };
        let (plain, net) = (is_plain(&self.asks[k]), lock(&self.net));
        let state = &mut self.states[k];
        (state.fell, state.panicked) = (true, !state.is_over());
        let line = about.and_then(|id| net.line(id));
        state.owned_then = line.map_or(0, |line| line.owned_before[usize::from(plain)]);
    }

    fn check_round(&mut self, (progress, wasted): (u64, u64)) {
        let net = lock(&self.net);
        let (complaint, reported) = {
            let mut book = open(&self.book);
            (book.complaint.take(), std::mem::take(&mut book.reported))
        };
        if let Some(to) = reported.iter().find(|to| !net.allowed.contains(&(**to, false))) {
            panic!("a proxy has to connect to {to}, and the policy was not asked about it");
        }
        if let Some(text) = net.broken.clone().or(complaint) {
            drop(net);
            panic!("{text}");
        }
        let (moved, wasted) = (net.progress - progress, net.wasted - wasted);
        let open = self.reactor.len() as u64;
        drop(net);
        assert!(wasted <= 40 + 12 * moved + 8 * open, "{wasted} calls for {moved} steps");
        self.idle = if moved == 0 { self.idle + 1 } else { 0 };
        // If a turn has room for one event, each event without a listener takes a turn.
        let most = if self.reactor.limits().turn == 1 { 100 } else { IDLE };
        assert!(self.idle < most, "it spins: {} turns have done nothing", self.idle);
        for (k, state) in self.states.iter().enumerate().filter(|(_, state)| state.ended.is_none())
        {
            if let Some(event) = &state.reported {
                panic!("ask {k} is paused: {event}");
            }
        }
        self.check_left();
        self.check_gone();
    }

    /// Checks over TLS that the reactor does not report bytes as waiting that the system has taken.
    fn check_left(&mut self) {
        for (k, state) in self.states.iter().enumerate() {
            let Some(id) = state.id.filter(|_| state.opened && !state.is_over()) else { continue };
            if !self.asks[k].url.starts_with("wss:") {
                continue;
            }
            let waits = self.reactor.buffered(id) as u64;
            let taken = lock(&self.net).line(id.to_bits()).map_or(0, |line| line.owned(false));
            // The bytes that TLS adds, and those of its handshake, do not count.
            let left = (taken - taken / 10).saturating_sub(4000);
            let most = (open(&self.book).entries[k].up.accepted + SEALED).saturating_sub(left);
            assert!(waits <= most, "ask {k}: {waits} bytes wait, {taken} were taken");
        }
    }

    /// Checks that connections that were released or have ended are gone in time: within a limit
    /// that starts at the last byte that moved.
    fn check_gone(&self) {
        let open = self.reactor.len();
        let now = self.now();
        let limits = self.reactor.limits();
        let net = lock(&self.net);
        let since = |s: &State| {
            let Some(at) = s.ended_at else { return true };
            let moved = s.id.and_then(|id| net.line(id.to_bits())).map_or(at, |l| l.last_moved());
            // The client estimates how long the system needs for its bytes from the time that
            // earlier bytes took. If the program was busy elsewhere, that delay is in the estimate.
            let guess = moved.saturating_sub(at) * 3 + self.busy * 8;
            let most = (limits.close + limits.linger) * 2 + limits.stall + self.slack + guess;
            at.max(moved) + most < now
        };
        let all_over = self.states.iter().all(|s| s.id.is_none() || since(s) && s.is_over());
        let asked = self.states.iter().any(|s| s.id.is_some());
        assert!(!asked || !all_over || open == 0, "{open} connections are not gone");
    }

    fn act(&mut self, k: usize, deed: Deed) {
        let now = self.now();
        lock(&self.net).progress += 1;
        let Some(id) = self.states[k].id else {
            if matches!(deed, Deed::Open) {
                self.open(k, now);
            }
            return;
        };
        let reported = |what: &str| lock(&self.net).log(|| format!("ask {k}: {what}"));
        match deed {
            Deed::Open => {}
            Deed::Send(msg) => {
                let sent = caught(|| match std::str::from_utf8(&msg.data) {
                    Ok(text) if msg.text => self.reactor.send_text(id, text),
                    _ => self.reactor.send_binary(id, &msg.data),
                });
                // The call has panicked: the message was accepted before, since the observer is
                // called when the waiting bytes are written.
                let sent = sent.unwrap_or(Ok(()));
                reported(&format!("send {}: {sent:?}", msg.data.len()));
                if sent.is_ok() {
                    self.states[k].may_send("send");
                    open(&self.book).entries[k].up.accepts(msg);
                }
            }
            Deed::Ping(data) => {
                let sent = caught(|| self.reactor.ping(id, &data));
                if sent.is_none_or(|sent| sent.is_ok()) {
                    open(&self.book).entries[k].up.accepts_ping(data);
                }
            }
            Deed::Close(code) => {
                let closed = caught(|| self.reactor.close(id, &CloseFrame::new(code, "over")));
                reported(&format!("close {code}: {closed:?}"));
            }
            Deed::AnswerClose => drop(caught(|| self.reactor.answer_close(id))),
            Deed::Release => {
                reported("release");
                self.reactor.release(id, &CloseFrame::new(1001, ""));
                self.states[k].release(now);
                lock(&self.net).gone(id.to_bits());
            }
            Deed::Flush => drop(caught(|| self.reactor.flush())),
            Deed::Turn => {
                let past = self.at(Duration::ZERO);
                self.turn(Some(past));
            }
            Deed::Pause | Deed::Resume | Deed::Consume => self.take_time(k, id, now, &deed),
        }
    }

    /// The actions of a slow program.
    fn take_time(&mut self, k: usize, id: ConnId, now: Duration, deed: &Deed) {
        let state = &mut self.states[k];
        if !state.opened || state.is_over() {
            return;
        }
        let reported = |what: &str| lock(&self.net).log(|| format!("ask {k}: {what}"));
        match deed {
            Deed::Pause => {
                reported("pause");
                state.paused = true;
                self.reactor.pause(id);
            }
            Deed::Resume => {
                reported("resume");
                (state.paused, state.resumed_at) = (false, now);
                self.reactor.resume(id);
            }
            _ => {
                let held = std::mem::take(&mut state.held);
                reported(&format!("consumed {held}"));
                self.reactor.consumed(id, held);
            }
        }
    }

    fn open(&mut self, k: usize, now: Duration) {
        let ask = &self.asks[k];
        let id = match ask.stream {
            None => {
                let mut options = Options::new(&ask.url).expect("a URL");
                options = options.hold_close(ask.hold).ping_interval(ask.ping);
                if let Some(timeout) = ask.timeout {
                    options = options.timeout(timeout);
                }
                options = match ask.through {
                    through if through == self.rule => options,
                    Some(through) => options.proxy(through.proxy()),
                    None => options.no_proxy(),
                };
                self.reactor.open(options)
            }
            Some(delivery) => {
                let method = if ask.post.is_some() { "POST" } else { "GET" };
                let mut options = StreamOptions::new(method, &ask.url).expect("a URL");
                options = options.delivery(delivery).idle(ask.idle);
                if let Some(body) = &ask.post {
                    options = options.body(body).expect("a body");
                }
                if let Some(timeout) = ask.timeout {
                    options = options.timeout(timeout);
                }
                options = match ask.through {
                    through if through == self.rule => options,
                    Some(through) => options.proxy(through.proxy()),
                    None => options.no_proxy(),
                };
                self.reactor.open(options)
            }
        };
        let id = id.expect("room for another connection");
        lock(&self.net).log(|| format!("ask {k}: open {} as {}", ask.url, id.to_bits()));
        if let Some(through) = ask.through {
            let authority = ask.url.split('/').nth(2).unwrap_or_default().to_owned();
            let name = authority.split(':').next().unwrap_or_default();
            let mut net = lock(&self.net);
            let all = net.names.get(name).and_then(|name| name.answer.as_ref().ok());
            let targets = if through.resolves() { all.map_or(0, Vec::len) } else { 1 };
            // If the client may send the proxy several addresses, the proxy decides which one is
            // used.
            let place = match (through.resolves(), all.map(Vec::as_slice)) {
                (false, _) => Some(authority),
                (true, Some([only])) => {
                    let port = authority.rsplit(':').next().and_then(|port| port.parse().ok());
                    port.map(|port| SocketAddr::new(only.ip(), port).to_string())
                }
                (true, _) => None,
            };
            let beyond = place.filter(|_| ask.ws.is_some());
            net.passages.insert(id.to_bits(), Passage::new(through, beyond, targets));
        }
        self.ids.insert(id, k);
        (self.states[k].id, self.states[k].asked_at) = (Some(id), now);
    }

    /// Checks that the panic has ended at most one connection: the one for which the program's code
    /// was called.
    fn check_panic(&self) {
        let lost = |k: &usize| self.states[*k].lost_to_panic;
        let all: Vec<usize> = (0..self.states.len()).filter(lost).collect();
        assert!(all.len() <= 1, "asks {all:?} are lost to one panic");
        for (k, state) in self.states.iter().enumerate().filter(|(_, state)| state.panicked) {
            assert!(state.is_released() || all == [k], "ask {k}: a panic for it did not end it");
        }
    }

    /// Checks the laws about the end of a run.
    fn finish(mut self) -> Tally {
        let over = self.dropped.is_none() && !self.failing;
        if over {
            self.check_panic();
        }
        if over || self.reactor.is_empty() {
            // One more turn lets the reactor discard what it keeps about connections that are gone.
            let past = self.at(Duration::ZERO);
            self.turn(Some(past));
            assert_eq!(self.reactor.deadline(), None, "an empty reactor has nothing to wait for");
            let leaks = lock(&self.net).leaks();
            assert!(leaks.is_empty(), "sockets of an empty reactor: {leaks:?}");
        }
        let ended = self.reactor.is_empty();
        let stall = self.reactor.limits().stall;
        drop(self.reactor);
        // The bytes on their way still arrive.
        {
            let mut net = lock(&self.net);
            let now = net.now;
            net.broken = net.broken.take().filter(|text| !text.contains("still waited for"));
            net.sleep(Some(now + AGES), false);
            let leaks = net.leaks();
            assert!(leaks.is_empty(), "open descriptors: {leaks:?}");
            assert_eq!(net.broken, None);
        }
        let book = open(&self.book);
        assert_eq!(book.complaint, None);
        let mut tally = Tally::default();
        for (k, state) in self.states.iter().enumerate().filter(|_| ended) {
            assert!(state.id.is_none() || state.is_over(), "ask {k} never ended");
            let calm = self.calm && !self.failing && !state.fell;
            check_delivery(&book, k, state, calm);
            if calm {
                check_given_up(&self.net, &book, k, state, stall);
            }
            tally.add(state, &book.entries[k]);
        }
        tally
    }
}

/// The result of a call of the reactor, or `None` if the program's code has panicked in it.
fn caught<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<Blown>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Writes the observer's items to the trace.
struct Watcher(Shared);

impl moonwire::trace::Observer for Watcher {
    fn observe(&mut self, _: Instant, connection: u64, trace: moonwire::trace::Trace<'_>) {
        let text = match trace {
            moonwire::trace::Trace::State(text) => format!("({connection}) -- {text}"),
            moonwire::trace::Trace::Note(note) => format!("({connection}) {note:?}"),
            _ => String::new(),
        };
        if credentials_in(text.as_bytes(), None).is_some() {
            lock(&self.0).complain(|| format!("a secret in a trace: {text}"));
        }
        lock(&self.0).log(|| text.chars().take(120).collect());
        burn(&self.0, Some(connection));
    }
}

/// Sends within the sink.
pub fn send(conn: &mut Conn<'_>, msg: &Msg) -> bool {
    match std::str::from_utf8(&msg.data) {
        Ok(text) if msg.text => conn.send_text(text).is_ok(),
        _ => conn.send_binary(&msg.data).is_ok(),
    }
}
