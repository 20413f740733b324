//! The events that the program receives, and the laws about them.

use std::collections::HashMap;
use std::time::Duration;

use moonwire::proto::CloseFrame;
use moonwire::{Closed, Conn, ConnId, Error, ErrorKind, Event, Limits, Sink, Stage};

use crate::book::{Entry, Msg, SharedBook, open};
use crate::http::Framing;
use crate::net::{Shared, burn, lock};
use crate::program::send;
use crate::proxy::credentials_in;
use crate::world::{Ask, host};

/// No message of a scenario with slow programs is larger.
pub const LARGEST: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    Clean,
    Failed,
    Lost,
    Complete,
}

/// The state of a connection that was requested.
#[derive(Debug, Default)]
pub struct State {
    pub id: Option<ConnId>,
    pub asked_at: Duration,
    pub opened: bool,
    messages: usize,
    /// The number of messages and of pieces of bodies.
    pieces: usize,
    closing: bool,
    pub ended: Option<Ended>,
    released: bool,
    /// Whether the program has paused the connection, and when it last resumed it.
    pub paused: bool,
    pub resumed_at: Duration,
    /// The first event that came while the connection was paused: the end must come in the same
    /// turn.
    pub reported: Option<String>,
    /// How many bytes the program holds.
    pub held: usize,
    /// When the connection ended or was released.
    pub ended_at: Option<Duration>,
    /// The program's code has panicked in a call for this connection.
    pub fell: bool,
    /// The same, and the connection had not ended before.
    pub panicked: bool,
    /// How many of its bytes the system had taken before the turn of the panic; see
    /// [`Line::owned`](crate::net::Line::owned).
    pub owned_then: u64,
    /// The panic has ended the connection.
    pub lost_to_panic: bool,
}

impl State {
    pub fn is_over(&self) -> bool {
        self.ended.is_some() || self.released
    }

    pub fn is_released(&self) -> bool {
        self.released
    }

    pub fn is_clean(&self) -> bool {
        self.ended == Some(Ended::Clean)
    }

    pub fn release(&mut self, now: Duration) {
        self.released = true;
        self.ended_at.get_or_insert(now);
    }

    pub fn may_send(&self, what: &str) {
        // After a panic the connection stays open until the next turn ends it, even if the program
        // did not receive the event that it has opened.
        let open = (self.opened || self.panicked) && !self.released;
        assert!(open, "{what} is accepted by a connection that is not open");
    }
}

pub struct Receiver<'a> {
    pub net: &'a Shared,
    pub book: &'a SharedBook,
    pub asks: &'a [Ask],
    pub states: &'a mut Vec<State>,
    pub ids: &'a HashMap<ConnId, usize>,
    pub slack: Duration,
    pub limits: Limits,
    /// Whether a read returns all bytes that have arrived.
    pub whole: bool,
    /// Whether the servers end TLS without close_notify.
    pub rude: bool,
}

impl Sink for Receiver<'_> {
    fn event(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        self.receive(conn, event);
        burn(self.net, Some(conn.id().to_bits()));
    }
}

impl Receiver<'_> {
    fn receive(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        let k = self.ids[&conn.id()];
        let now = {
            let mut net = lock(self.net);
            net.progress += 1;
            net.log(|| format!("ask {k}: {}", shown(&event)));
            net.now
        };
        let state = &self.states[k];
        assert!(!state.released, "ask {k} was given up: {}", shown(&event));
        assert!(state.ended.is_none(), "ask {k} has ended: {}", shown(&event));
        if state.paused && self.states[k].reported.is_none() {
            self.states[k].reported = Some(shown(&event));
        }
        let proxy = |transport: &Option<Box<moonwire::proto::Transport>>| {
            let transport = transport.as_ref().expect("a socket");
            let through = self.asks[k].through.map(|through| through.shown());
            assert_eq!(transport.proxy, through, "ask {k}: another proxy than was requested");
        };
        match &event {
            Event::Opened(opened) => proxy(&opened.transport),
            Event::Response(response) => proxy(&response.transport),
            _ => {}
        }
        match event {
            Event::Opened(_) => self.opened(conn, k, now),
            Event::Text(text) => self.message(conn, k, true, text.as_bytes()),
            Event::Binary(data) => self.message(conn, k, false, &data),
            Event::Pong(data) => {
                assert!(self.states[k].opened && !self.states[k].closing);
                open(self.book).client_pong(k, &data);
            }
            Event::Closing(frame) => self.closing(conn, k, &frame),
            Event::Response(response) => {
                assert_eq!(response.status, 200);
                self.begin(k, now);
            }
            Event::Chunk(data) => {
                self.chunk(k, &data);
                self.takes(conn, k, data.len());
            }
            Event::ServerSent(event) => self.server_sent(k, &event),
            Event::Closed(closed) => self.closed(k, now, &closed),
        }
    }
}

impl Receiver<'_> {
    /// A connection opens, or its response begins: this happens once, and in time.
    fn begin(&mut self, k: usize, now: Duration) {
        assert!(!std::mem::replace(&mut self.states[k].opened, true), "ask {k} opens twice");
        self.in_time(k, now);
    }

    fn in_time(&self, k: usize, now: Duration) {
        let ask = &self.asks[k];
        let mut most = ask.timeout.unwrap_or(self.limits.opening) + self.limits.opening_wait;
        if ask.stream.is_some() && ask.timeout.is_none() {
            // This limit starts at the end of the request. Bytes of it that the system still has
            // get an allowance.
            let net = lock(self.net);
            let uploads = self.line(k, &net).map_or(Duration::ZERO, |line| line.taken);
            let span = uploads.saturating_sub(self.states[k].asked_at);
            most += self.limits.response + span * 3;
        }
        let took = now - self.states[k].asked_at;
        assert!(took <= most + self.slack, "ask {k} took {took:?} of {most:?} to open or fail");
    }

    fn opened(&mut self, conn: &mut Conn<'_>, k: usize, now: Duration) {
        self.begin(k, now);
        lock(self.net).opened(conn.id().to_bits());
        for i in 0..self.asks[k].reflex.hello {
            self.send(conn, k, &Msg::sized(i % 2 == 0, "hello", i, i * 50));
        }
    }

    fn send(&self, conn: &mut Conn<'_>, k: usize, msg: &Msg) {
        if send(conn, msg) {
            open(self.book).entries[k].up.accepts(msg.clone());
        }
    }

    fn message(&mut self, conn: &mut Conn<'_>, k: usize, text: bool, data: &[u8]) {
        assert!(
            self.states[k].opened && !self.states[k].closing,
            "ask {k}: a message before it opens or after a close"
        );
        open(self.book).client_receives(k, &Msg { text, data: data.to_vec() });
        self.states[k].messages += 1;
        let (reflex, n) = (self.asks[k].reflex, self.states[k].messages);
        // The server may echo a reply, and the echo is a message, too: the replies must end.
        if reflex.reply > 0 && n <= 20 && n.is_multiple_of(reflex.reply) {
            self.send(conn, k, &Msg::sized(text, "reply", n, data.len().min(3000)));
        }
        if reflex.enough == Some(n) {
            let _ = conn.close(1000, "enough");
        }
        self.takes(conn, k, data.len());
    }

    /// A slow program holds the bytes of its events, or pauses the connection.
    fn takes(&mut self, conn: &mut Conn<'_>, k: usize, bytes: usize) {
        let (reflex, state) = (self.asks[k].reflex, &mut self.states[k]);
        if reflex.holds {
            let limits = &self.limits;
            // The reactor decides before a read whether to read on, and a turn may have room for
            // more.
            let buffer = limits.receive_buffer.max(limits.receive_buffer_max);
            let most = limits.high_water + limits.turn + buffer + LARGEST;
            assert!(state.held <= most, "ask {k}: {} bytes are held, and more come", state.held);
            conn.hold(bytes);
            state.held += bytes;
        }
        state.pieces += 1;
        if reflex.pauses.is_some_and(|n| state.pieces.is_multiple_of(n)) {
            conn.pause();
            state.paused = true;
        }
    }

    fn closing(&mut self, conn: &mut Conn<'_>, k: usize, frame: &CloseFrame) {
        assert!(self.states[k].opened);
        assert!(!std::mem::replace(&mut self.states[k].closing, true), "ask {k} closes twice");
        let sent = open(self.book).entries[k].server_close;
        assert_eq!(sent, Some(frame.code), "ask {k}: another close frame than was sent");
        let reflex = self.asks[k].reflex;
        for i in 0..reflex.last_words {
            self.send(conn, k, &Msg::sized(true, "last", i, 30));
        }
        if reflex.closes_back {
            let _ = conn.close(3000, "");
        }
    }

    fn chunk(&mut self, k: usize, data: &[u8]) {
        assert!(self.states[k].opened, "ask {k}: a body without a head");
        assert!(!data.is_empty(), "ask {k}: an empty chunk");
        let mut book = open(self.book);
        let entry = &mut book.entries[k];
        entry.body.extend_from_slice(data);
        let body = entry.http.as_ref().map(|plan| plan.body()).unwrap_or_default();
        assert!(body.starts_with(&entry.body), "ask {k}: the body is mangled");
    }

    fn server_sent(&mut self, k: usize, event: &moonwire::proto::sse::Event) {
        let mut book = open(self.book);
        let entry = &mut book.entries[k];
        let i = entry.events;
        entry.events += 1;
        let want = (format!("e{i}"), event_data(i), i.to_string());
        let got = (event.event.to_string(), event.data.clone(), event.id.clone());
        assert_eq!(got, want, "ask {k}: event {i}");
    }

    fn closed(&mut self, k: usize, now: Duration, closed: &Closed) {
        let book = open(self.book);
        let entry = &book.entries[k];
        let mut to_panic = false;
        let ended = match closed {
            Closed::Clean(frame) => {
                assert!(self.states[k].closing, "ask {k}: a clean end without a close frame");
                assert_eq!(entry.server_close, Some(frame.code));
                self.check_all_taken(k, entry);
                Ended::Clean
            }
            Closed::Complete => {
                self.check_whole(k, entry);
                Ended::Complete
            }
            Closed::Failed(error) | Closed::Lost(error) => {
                if matches!(error.kind(), ErrorKind::Panicked) {
                    self.check_panicked(k, closed);
                    to_panic = true;
                }
                self.check_error(k, now, error);
                self.check_unsent(k, entry, error);
                if matches!(closed, Closed::Lost(_)) { Ended::Lost } else { Ended::Failed }
            }
        };
        drop(book);
        lock(self.net).gone(self.states[k].id.map_or(0, ConnId::to_bits));
        self.check_attempts(k);
        let state = &mut self.states[k];
        (state.ended, state.ended_at) = (Some(ended), Some(now));
        state.lost_to_panic = to_panic;
    }

    /// Checks the end of a connection that a panic has ended: the program's code has panicked in a
    /// call for this connection.
    fn check_panicked(&self, k: usize, closed: &Closed) {
        assert!(matches!(closed, Closed::Lost(_)), "ask {k}: {closed}");
        let id = self.states[k].id.map(ConnId::to_bits);
        match lock(self.net).blown {
            None => panic!("ask {k}: {closed}, and nothing panicked"),
            // The policy has panicked. It does not receive the id of the connection.
            Some(None) => assert!(!self.states[k].opened, "ask {k}: {closed}"),
            Some(about) => assert_eq!(about, id, "ask {k}: {closed}"),
        }
    }

    /// Checks that the client has made at most one attempt for each address in the answers.
    fn check_attempts(&self, k: usize) {
        let (ask, net) = (&self.asks[k], lock(self.net));
        if ask.http.as_ref().is_some_and(|plan| !plan.hops.is_empty()) {
            return;
        }
        let name = ask.url.split('/').nth(2).and_then(|host| host.split(':').next());
        let all = |name: &str| {
            let answer = net.names.get(name).and_then(|name| name.answer.as_ref().ok());
            answer.map_or(0, Vec::len).min(self.limits.addresses)
        };
        let most = match (name, ask.through) {
            (Some(name), None) => all(name),
            // Each address of the URL's host is tried through each address of the proxy.
            (Some(name), Some(through)) if through.resolves() => all(name) * all(&host(through.h)),
            (_, Some(through)) => all(&host(through.h)),
            (None, None) => 0,
        };
        let tried = net.attempts(self.states[k].id.map_or(0, ConnId::to_bits));
        assert!(tried <= most, "ask {k}: {tried} of {most} addresses");
    }

    /// Checks that a complete stream has all of its body. If the end of a connection without TLS is
    /// the end of the body, the client cannot distinguish it from a cut.
    fn check_whole(&self, k: usize, entry: &Entry) {
        let Some(plan) = &entry.http else { panic!("ask {k} is no stream") };
        let could_be_cut =
            plan.framing == Framing::UntilClose && entry_is_plain(&self.asks[k], plan.hops.last());
        if could_be_cut {
            return;
        }
        let cut = plan.framing == Framing::UntilClose && self.rude;
        assert!(!cut, "ask {k}: complete without close_notify");
        let all = plan.stops.is_none() || plan.framing == Framing::UntilClose;
        assert!(all, "ask {k}: complete without an end");
        let sent: usize =
            plan.pieces.iter().take(plan.stops.unwrap_or(usize::MAX)).map(|p| p.1.len()).sum();
        match self.asks[k].stream {
            Some(moonwire::proto::http::Delivery::Events) => {
                let body = plan.body();
                let blocks = body[..sent].windows(2).filter(|w| w == b"\n\n").count();
                assert_eq!(entry.events, blocks, "ask {k}: events of a whole stream");
            }
            _ => assert_eq!(entry.body.len(), sent, "ask {k}: the body of a whole stream"),
        }
    }

    /// Checks what an error contains about a proxy, and that it contains no credentials.
    fn check_proxy(&self, k: usize, error: &Error) {
        let text = format!("{error} {error:?}");
        let secret = credentials_in(text.as_bytes(), None);
        assert_eq!(secret, None, "ask {k}: {text}");
        match (error.kind(), self.asks[k].through) {
            (ErrorKind::Proxy { proxy, .. }, Some(through)) => {
                assert_eq!((proxy, error.stage()), (&through.shown(), Stage::Proxy), "ask {k}");
            }
            (kind, through) => {
                let of_proxy =
                    matches!(kind, ErrorKind::Proxy { .. }) || error.stage() == Stage::Proxy;
                assert!(!of_proxy || through.is_some(), "ask {k}: {error}, without a proxy");
            }
        }
    }

    fn check_error(&self, k: usize, now: Duration, error: &Error) {
        self.check_proxy(k, error);
        self.check_still(k, now, error);
        self.check_turn(k, now, error);
        let unread = || lock(self.net).unread(self.states[k].id.map_or(0, ConnId::to_bits));
        match error.kind() {
            // The reactor reads bytes before it checks time limits.
            ErrorKind::Silence(_) | ErrorKind::Idle(_) => {
                assert_eq!(unread(), 0, "ask {k}: {error}, with bytes to be read");
            }
            ErrorKind::Timeout(_)
                if self.whole
                    && matches!(
                        error.stage(),
                        Stage::Proxy | Stage::Handshake | Stage::Response
                    ) =>
            {
                assert_eq!(unread(), 0, "ask {k}: {error}, with bytes to be read");
            }
            _ => {}
        }
        if !self.states[k].opened {
            self.in_time(k, now);
        }
    }
}

fn entry_is_plain(ask: &Ask, last: Option<&crate::http::Hop>) -> bool {
    let url = last.map_or(ask.url.as_str(), |hop| hop.location.as_str());
    url.starts_with("http:")
}

/// The text of event number `i` of an event stream.
pub fn event_data(i: usize) -> String {
    format!("{i} {}", "é".repeat(i * 37 % 200))
}

fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Text(text) => format!("Text {}", text.as_bytes().len()),
        Event::Binary(data) => format!("Binary {}", data.len()),
        Event::Chunk(data) => format!("Chunk {}", data.len()),
        Event::Closed(closed) => format!("Closed: {closed}"),
        Event::Opened(_) => "Opened".to_owned(),
        Event::Response(response) => format!("Response {}", response.status),
        other => format!("{other:?}"),
    }
}
