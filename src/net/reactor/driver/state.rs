//! A connection as a state machine. Every change of [`State`] is made in this file.
//!
//! ```text
//! from      cause                                             to         event
//!           the program opens it                              Opening
//! Opening   a socket is connected                             Open
//! Opening   a socket to a proxy is connected                  Tunnel
//! Opening   a kept connection is used                         Open
//! Tunnel    the proxy has opened the tunnel                   Open
//! Tunnel    a SOCKS error, and there is another address       Opening
//! Opening   no address, no time, refused by the policy        Gone       Failed
//! Tunnel    the proxy opens no tunnel, no time                Gone       Failed
//! Open      the response is a redirect to be followed         Opening
//! Open      a kept connection ends without a response, or with 408  Opening
//! Open      the session ends, our close frame is held back    CloseHeld  Closed
//! Open      the session ends                                  Draining   Closed
//! CloseHeld the program has answered the close frame          Draining
//! Draining  the peer ends too, or Limits::linger has passed   Gone
//! any       the socket breaks, the program's code panics      Gone       Closed, if not given
//! any       the program releases what is not open, or all     Gone
//! ```
//!
//! A stream and a refused handshake have no bytes left to send: they go from Open to Gone. The
//! socket of a stream may then be kept for another request (`keeping.rs`). Open and CloseHeld have
//! a receiving and a sending side with states of their own:
//!
//! ```text
//! Ready     the turn has no room for the input                Behind
//! Behind    a later turn has room                             Ready
//! Ready     the peer ends its side, the session discards
//!           input, and bytes are unsent                       Ended
//! ```
//!
//! A session discards input when the peer has sent its close frame or has broken a rule. If the
//! peer ends its side before that, or if everything is sent, the session ends at once.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::draining::Draining;
use super::errors::{ErrorData, Shown};
use super::live::{Follow, Live, Reading, Token};
use super::opening::{Attempt, Opening, Route};
use super::tunnel::Tunnelling;
use crate::error::{ErrorKind, Stage};
use crate::net::ask::{Ask, Proxy};
use crate::net::event::{Closed, ConnId, Event};
use crate::net::reactor::conn::{Conn, Sink};
use crate::net::reactor::core::Core;
use crate::net::reactor::flow::Flow;
use crate::net::reactor::gate::Place;
use crate::net::reactor::kept::Idle;
use crate::net::sys::{Interest, Sys};
use crate::net::time::earlier;
use crate::net::wire::dial::Plan;
use crate::net::wire::link::Link;
use crate::proto::http::Redirect;
use crate::proto::{self, CloseFrame, Stats};

/// A connection and its buffers.
pub(in crate::net) struct Driver<S: Sys> {
    pub(in crate::net) id: ConnId,
    url: Shown,
    pub(super) state: State<S>,
    pub(super) listener: Listener,
    pub(in crate::net) flow: Flow,
    /// How it ended, as soon as that is known.
    pub(in crate::net) past: Option<Box<Past>>,
    /// The deadline in the reactor's table.
    pub(in crate::net) armed: Option<Instant>,
    /// Whether it is in the reactor's list of connections to be settled.
    pub(in crate::net) touched: bool,
}

/// The data that is kept of a connection that has ended.
#[derive(Default)]
pub(in crate::net) struct Past {
    /// How it ended or will end: the text of its final event or of the server's close frame, or
    /// that it was released.
    pub(in crate::net) how: Option<Arc<str>>,
    /// The counters of the session when it was dropped.
    pub(in crate::net) stats: Option<Stats>,
    /// While the final event is being reported: its stage, and the unsent bytes that it reports.
    ending: Option<(Stage, usize)>,
}

// The large variant is the lasting one.
#[allow(clippy::large_enum_variant)]
pub(super) enum State<S: Sys> {
    /// No socket is connected yet.
    Opening(Box<Opening<S>>),
    /// A socket is connected to a proxy, which is asked for a tunnel.
    Tunnel(Box<Tunnelling<S>>),
    /// A socket is connected; TLS, the opening handshake or a request is in progress or complete.
    Open(Live<S>),
    /// The final event was reported. The close frame is held back, and the program may send.
    CloseHeld(Live<S>),
    /// The final event was reported. The last bytes are still being sent.
    Draining(Draining<S>),
    Gone,
}

/// Who receives the events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    Program,
    /// The program has released the connection, or has received the final event.
    Nobody,
}

/// How the peer's stream has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer ended it: end of file, or `close_notify` of TLS.
    Eof,
    /// It broke, or ended without `close_notify` of TLS: somebody else may have ended it.
    Cut,
}

impl<S: Sys> Driver<S> {
    pub(in crate::net) fn new(id: ConnId, ask: Ask, core: &Core<S>) -> Driver<S> {
        let total = ask.total(core.now, &core.limits);
        Driver {
            id,
            url: Shown::of(ask.url()),
            state: State::Opening(Box::new(Opening::new(ask, core, total, 0))),
            listener: Listener::Program,
            flow: Flow::default(),
            past: None,
            armed: None,
            touched: false,
        }
    }

    // Questions about the state.

    pub(in crate::net) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Whether the final event was reported.
    pub(super) fn closed_reported(&self) -> bool {
        matches!(self.state, State::CloseHeld(_) | State::Draining(_) | State::Gone)
    }

    /// Whether the program is still to receive the final event.
    pub(in crate::net) fn has_listener(&self) -> bool {
        self.listener == Listener::Program
    }

    /// Whether the next state is due: the session has ended, or everything was sent to a peer that
    /// has ended its side.
    pub(in crate::net) fn next_state_is_due(&self) -> bool {
        match &self.state {
            State::Open(live) => live.reading_ended() && !live.must_send(),
            State::CloseHeld(live) => !live.session.is_open(),
            _ => false,
        }
    }

    /// Whether work is left, other than to wait for the server's end of the TCP connection.
    pub(in crate::net) fn is_pending(&self) -> bool {
        match &self.state {
            State::Opening(_) | State::Tunnel(_) => true,
            State::Open(live) => !live.session.discards_input() || live.must_send(),
            State::CloseHeld(live) => live.must_send(),
            State::Draining(draining) => draining.buffered() > 0,
            State::Gone => false,
        }
    }

    /// How it ends if the program leaves it now; `None` if the final event was reported. Either the
    /// server's close frame has come, or the connection counts as released.
    pub(in crate::net) fn left_as(&mut self) -> Option<Arc<str>> {
        if self.closed_reported() {
            return None;
        }
        Some(Arc::clone(self.past().how.get_or_insert_with(given_up)))
    }

    pub(in crate::net) fn live(&mut self) -> Option<&mut Live<S>> {
        match &mut self.state {
            State::Open(live) | State::CloseHeld(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn live_ref(&self) -> Option<&Live<S>> {
        match &self.state {
            State::Open(live) | State::CloseHeld(live) => Some(live),
            _ => None,
        }
    }

    pub(in crate::net) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Opening(opening) => Some(opening.deadline()),
            State::Tunnel(tunnelling) => Some(tunnelling.deadline()),
            State::Open(live) | State::CloseHeld(live) => {
                let own = earlier(live.deadline(&self.flow), self.flow.deadline());
                earlier(own, self.reads_again())
            }
            State::Draining(draining) => Some(draining.until),
            State::Gone => None,
        }
    }

    pub(in crate::net) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// Records that the connection has changed: [`Driver::settle`] is called before the next wait.
    pub(in crate::net) fn touch(&mut self, core: &mut Core<S>) {
        if !mem::replace(&mut self.touched, true) {
            core.dirty.push(self.id);
        }
    }

    /// The data for errors.
    pub(super) fn error_data<'a>(&'a self, core: &'a Core<S>) -> ErrorData<'a> {
        match self.live_ref() {
            Some(live) => live.error_data(&self.url, core),
            None => {
                let asks = matches!(self.state, State::Tunnel(_));
                let stage = if asks { Stage::Proxy } else { Stage::Connect };
                ErrorData::new(&self.url, stage, &core.limits)
            }
        }
    }

    // Transitions.

    /// A socket is connected: ends the other attempts, and begins TLS and the handshake.
    pub(super) fn connected(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, number: u8) {
        let State::Opening(opening) = &mut self.state else { return };
        let Some(i) = opening.attempts.iter().position(|a| a.number == number) else { return };
        // Traced while it is still one of the attempts: if the observer panics, all have to end.
        let to = &opening.attempts[i].to;
        core.trace(self.id, || format!("connected to {}", opening.shown(to)));
        let attempt = opening.attempts.swap_remove(i);
        opening.end_attempts(core);
        opening.next = None;
        // For a socket that was connected at once behind a gate, the clock has not started yet.
        opening.look_at_clock(core, self.id);
        opening.laps.lap(core.now, |phases| &mut phases.connect);
        let tunnel = opening.tunnel(&core.limits);
        let tls = match &tunnel {
            Some(tunnel) => core.tls_to(tunnel.proxy()),
            None => Ok(None),
        };
        let tls = match tls {
            Ok(tls) => tls,
            Err(kind) => {
                opening.leave_gate(core, &attempt.to);
                core.sys.forget(&attempt.socket);
                return self.fail(core, sink, Stage::Tls, kind);
            }
        };
        let State::Opening(opening) = mem::replace(&mut self.state, State::Gone) else { return };
        let Attempt { number, to, socket, interest } = attempt;
        let token = Token::new(Token::of(self.id, number), interest);
        match tunnel {
            None => self.enter(core, sink, *opening, Link::new(socket, None), token, to),
            Some(tunnel) => {
                let link = Link::to_proxy(socket, tls);
                let tunnelling = Tunnelling::new(opening, link, tunnel, token, to);
                self.state = State::Tunnel(Box::new(tunnelling));
                self.show_request(core);
                self.tunnel_ready(core, sink);
            }
        }
    }

    /// Uses a kept connection for this request, if there is one.
    pub(super) fn go_on_with_kept(&mut self, core: &mut Core<S>) -> bool {
        let State::Opening(opening) = &mut self.state else { return false };
        let Some(at) = opening.find_kept(core) else { return false };
        let Some(kept_info) = core.kept.get(at) else { return false };
        let (place, served) = (opening.place(self.id, kept_info.peer.clone()), kept_info.served);
        // Traced while it is still a kept connection, since the observer may panic.
        core.trace(self.id, || {
            let plural = if served == 1 { "" } else { "s" };
            let shown = opening.shown(&place);
            format!("over a kept connection to {shown} ({served} request{plural} before)")
        });
        let Some(Idle { kept_info, link, .. }) = core.kept.take(at) else { return false };
        let interest = Interest { read: true, write: false };
        let token = Token::new(Token::of(self.id, opening.count), interest);
        if core.sys.watch(&link.socket, token.number(), interest, false).is_err() {
            core.sys.forget(&link.socket);
            return false;
        }
        let live = opening.live_on(core, link, token, place, Some(kept_info));
        self.state = State::Open(live);
        self.touch(core);
        true
    }

    /// The proxy has opened the tunnel.
    pub(super) fn tunnel_opened(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let State::Tunnel(tunnelling) = &mut self.state else { return };
        tunnelling.opening.laps.lap(core.now, |phases| &mut phases.proxy);
        core.trace(self.id, || "the proxy has opened the tunnel".to_owned());
        let State::Tunnel(tunnelling) = mem::replace(&mut self.state, State::Gone) else { return };
        let Tunnelling { opening, link, token, place, .. } = *tunnelling;
        self.enter(core, sink, *opening, link, token, place);
    }

    /// The URL's host is reached: begins TLS and the handshake, or the request.
    fn enter(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        mut opening: Opening<S>,
        link: Link<S>,
        token: Token,
        place: Place,
    ) {
        match opening.live(core, link, token, place) {
            Ok(live) => {
                self.state = State::Open(live);
                self.touch(core);
            }
            Err(kind) => self.fail(core, sink, Stage::Tls, kind),
        }
    }

    /// The proxy could not connect to the target: asks it for the next one, over another
    /// connection. Returns whether there is one.
    pub(super) fn try_next_target(&mut self, core: &mut Core<S>) -> bool {
        let State::Tunnel(tunnelling) = &mut self.state else { return false };
        let limits = Arc::clone(tunnelling.opening.ask.limits(&core.limits));
        let Route::Proxy(via) = &mut tunnelling.opening.route else { return false };
        if via.targets.len() < 2 {
            return false;
        }
        via.targets.pop_front();
        let plan = Plan::new(&via.addresses, limits.addresses, limits.attempt_delay);
        let State::Tunnel(tunnelling) = mem::replace(&mut self.state, State::Gone) else {
            return false;
        };
        let Tunnelling { mut opening, link, place, .. } = *tunnelling;
        opening.leave_gate(core, &place);
        core.sys.forget(&link.socket);
        opening.failed.clear();
        opening.plan = Some(plan);
        self.state = State::Opening(opening);
        self.touch(core);
        true
    }

    /// The response is a redirect: ends this connection; the next turn opens another.
    pub(super) fn redirect(&mut self, core: &mut Core<S>, to: Redirect) {
        self.observe(core);
        core.trace(self.id, || format!("redirected: {}", to.shown(to.request.url())));
        let Some(live) = self.take_live() else { return };
        let (token, total) = (live.token, live.session.exchange().and_then(|e| e.timing().head_by));
        let Some(mut options) = live.end_stream(core) else { return self.touch(core) };
        options.request = to.request;
        let total = total.unwrap_or(core.now);
        self.open_elsewhere(core, Ask::Stream(options), total, token);
    }

    /// As [`Driver::redirect`], for a handshake.
    pub(super) fn redirect_handshake(&mut self, core: &mut Core<S>, to: Redirect<proto::Request>) {
        self.observe(core);
        core.trace(self.id, || format!("redirected: {}", to.shown(to.request.url())));
        // This handshake has ended, whatever becomes of the next one (RFC 6455 §4.1).
        let follow = self.live().and_then(|live| live.entry.as_mut()?.follow.take());
        self.leave_gate(core);
        let Some(live) = self.take_live() else { return };
        let token = live.token;
        live.end_stream(core);
        let Some(follow) = follow else { return self.touch(core) };
        let Follow { mut options, until } = *follow;
        options.request = to.request;
        self.open_elsewhere(core, Ask::WebSocket(options), until, token);
    }

    /// A kept connection brings no response: sends the request over a new connection.
    pub(super) fn go_again(&mut self, core: &mut Core<S>) {
        self.observe(core);
        core.trace(self.id, || {
            "the kept connection brought no response: the request is sent again, over a new one"
                .to_owned()
        });
        let Some(live) = self.take_live() else { return };
        let (token, total) = (live.token, live.session.exchange().and_then(|e| e.timing().head_by));
        let Some(options) = live.end_stream(core) else { return self.touch(core) };
        self.open_elsewhere(core, Ask::Stream(options), total.unwrap_or(core.now), token);
        if let State::Opening(opening) = &mut self.state {
            opening.reuses = false;
        }
    }

    /// Continues the request over another connection, unless the program has released it; `token`
    /// is the token of the old socket.
    fn open_elsewhere(&mut self, core: &mut Core<S>, ask: Ask, total: Instant, token: Token) {
        self.touch(core);
        if self.listener == Listener::Nobody {
            return;
        }
        self.url = Shown::of(ask.url());
        // Late reports of the system about the old socket must not match the new one.
        let count = (token.number() as u8).wrapping_add(1);
        let opening = Opening::new(ask, core, total, count);
        self.state = State::Opening(Box::new(opening));
        core.fresh.push_back(self.id);
    }

    /// Opening has failed.
    pub(super) fn fail(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        stage: Stage,
        kind: ErrorKind,
    ) {
        let ((stage, kind), phases, proxy) = match &self.state {
            State::Opening(o) => (o.as_proxy_error(stage, kind), o.laps.phases, o.proxy()),
            State::Tunnel(tunnelling) => {
                let opening = &tunnelling.opening;
                ((stage, kind), opening.laps.phases, opening.proxy())
            }
            _ => ((stage, kind), self.error_data(core).phases, None),
        };
        // Other errors of a proxy name it already.
        let waited = stage == Stage::Proxy && matches!(kind, ErrorKind::Timeout(_));
        let proxy = proxy.filter(|_| waited).map(Proxy::to_string);
        let known = ErrorData { phases, ..ErrorData::new(&self.url, stage, &core.limits) };
        let error = known.error(kind).with_proxy(proxy);
        self.release_socket(core);
        self.emit_closed(core, sink, Closed::Failed(error));
    }

    /// The program's code has panicked during work for this connection.
    pub(in crate::net) fn panicked(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        let (stage, unsent) = match self.past.as_ref().and_then(|past| past.ending) {
            Some(ending) => ending,
            None => (self.error_data(core).stage, self.unsent()),
        };
        let error = ErrorData::new(&self.url, stage, &core.limits).error(ErrorKind::Panicked);
        let closed = Closed::Lost(error.with_unsent(unsent));
        // An observer that panics at the end of a connection is not called again for it.
        match self.is_gone() {
            true => self.report_closed(core, sink, closed),
            false => {
                self.release_socket(core);
                self.emit_closed(core, sink, closed);
            }
        }
    }

    /// The peer's stream has ended, or the socket is broken.
    pub(super) fn peer_ended(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        end: End,
        mut kind: Option<ErrorKind>,
    ) {
        let live = match &mut self.state {
            State::Open(live) | State::CloseHeld(live) => live,
            // The connection was redirected meanwhile.
            State::Opening(_) | State::Tunnel(_) => return,
            State::Draining(_) | State::Gone => return self.release_socket(core),
        };
        // A peer that has ended its side may still read.
        let goes_on = kind.is_none() && !live.reading_ended();
        let goes_on = goes_on && live.session.discards_input() && live.must_send();
        live.reading = Reading::Ended;
        if goes_on {
            return self.touch(core);
        }
        while let Some(live) = self.live() {
            #[cfg(feature = "tape")]
            live.session.is_at(core.now);
            let event = match end {
                End::Cut => live.session.receive_cut(),
                End::Eof => live.session.receive_eof(),
            };
            match event {
                Some(proto::Event::Closed(closed)) => {
                    self.session_ended(core, sink, closed, kind.take());
                }
                Some(event) => self.event(core, sink, event),
                None => break,
            }
        }
        if !matches!(self.state, State::Opening(_)) {
            self.release_socket(core);
        }
    }

    /// Handles the session's final event; `kind` is the error of the transport, if that was the
    /// cause.
    pub(super) fn session_ended(
        &mut self,
        core: &mut Core<S>,
        sink: &mut dyn Sink,
        closed: proto::Closed,
        kind: Option<ErrorKind>,
    ) {
        let closed = match closed {
            proto::Closed::Redirected(to) => return self.redirect(core, *to),
            proto::Closed::HandshakeRedirected(to) => return self.redirect_handshake(core, *to),
            closed if self.goes_again(&closed, kind.as_ref()) => return self.go_again(core),
            closed => closed,
        };
        let broken = matches!(kind, Some(ErrorKind::Io(_)));
        let closed = self.error_data(core).closed(closed, kind);
        // Bytes that are reported as lost must not be sent later.
        let lost = matches!(&closed, Closed::Lost(error) if error.unsent() > 0);
        self.observe(core);
        let refused = self.live_ref().is_some_and(|live| live.entry.is_some());
        self.leave_gate(core);
        self.state = match mem::replace(&mut self.state, State::Gone) {
            State::Open(live) => State::CloseHeld(live),
            other => other,
        };
        if broken || lost {
            // Nothing more is written: nobody knows how much of the last write was sent.
            self.release_socket(core);
        } else if !self.live().is_some_and(|live| live.session.is_open()) {
            self.drain_or_release(core, refused);
        }
        self.emit_closed(core, sink, closed);
    }

    fn goes_again(&self, closed: &proto::Closed, kind: Option<&ErrorKind>) -> bool {
        self.live_ref().is_some_and(|live| live.goes_again(closed, kind))
    }

    /// Sends the last bytes, or closes the socket. If a socket with unread bytes were closed, that
    /// would reset the connection, and our close frame could be lost.
    pub(super) fn drain_or_release(&mut self, core: &mut Core<S>, refused: bool) {
        let until = self.live_ref().and_then(|live| live.kept_until(core));
        if until.is_some() {
            core.trace(self.id, || "the connection is kept for later".to_owned());
        }
        let Some(live) = self.take_live() else { return };
        if let Some(until) = until {
            live.keep(core, until);
        } else if live.is_stream() {
            live.end_stream(core);
        } else if refused && live.link.tls().is_none() {
            core.sys.forget(&live.link.socket);
        } else {
            self.state = State::Draining(Draining::new(live, core));
            self.drain(core);
        }
    }

    /// Goes on sending the last bytes.
    pub(super) fn drain(&mut self, core: &mut Core<S>) {
        if let State::Draining(draining) = &mut self.state
            && draining.step(core).is_break()
        {
            self.release_socket(core);
        }
    }

    /// Closes the sockets of this connection, and ends its waits.
    pub(in crate::net) fn release_socket(&mut self, core: &mut Core<S>) {
        self.leave_gate(core);
        match mem::replace(&mut self.state, State::Gone) {
            State::Opening(mut opening) => {
                if opening.plan.is_none() {
                    core.sys.give_up(self.id.to_bits());
                }
                opening.end_attempts(core);
            }
            State::Tunnel(tunnelling) => {
                tunnelling.opening.leave_gate(core, &tunnelling.place);
                core.sys.forget(&tunnelling.link.socket);
            }
            State::Open(live) | State::CloseHeld(live) if live.is_stream() => {
                drop(live.end_stream(core));
            }
            State::Open(live) | State::CloseHeld(live) => {
                self.past().stats = live.session.stats();
                core.sys.forget(&live.link.socket);
            }
            State::Draining(Draining { link, .. }) => core.sys.forget(&link.socket),
            State::Gone => {}
        }
        self.touch(core);
    }

    /// The program has released it: closes it if it is open, drops it otherwise.
    pub(in crate::net) fn release(&mut self, core: &mut Core<S>, frame: &CloseFrame) {
        self.listener = Listener::Nobody;
        self.past().how.get_or_insert_with(given_up);
        // Nobody consumes the held bytes, and the answer to our close frame has to be read.
        self.flow.held = 0;
        self.resume(core);
        self.balance(core);
        self.touch(core);
        match &mut self.state {
            State::Open(live) | State::CloseHeld(live)
                if live.entry.is_none() && !live.is_stream() =>
            {
                let mut cx = core.context();
                live.session.answer_close(&mut cx);
                // An error if the closing handshake has begun, or if the frame must not be sent; in
                // that case, too, the connection has to end.
                if live.session.close(&mut cx, frame).is_err() {
                    let _ = live.session.close(&mut cx, &CloseFrame::new(1001, ""));
                }
            }
            State::Draining(_) => {}
            _ => self.release_socket(core),
        }
    }

    /// From Open or CloseHeld to Gone; returns the connection to the caller.
    pub(super) fn take_live(&mut self) -> Option<Live<S>> {
        match mem::replace(&mut self.state, State::Gone) {
            State::Open(live) | State::CloseHeld(live) => {
                self.past().stats = live.session.stats();
                Some(live)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The counters of a WebSocket that is or was open.
    pub(in crate::net) fn stats(&self) -> Option<Stats> {
        let past = self.past.as_ref();
        let live = self.live_ref().and_then(|live| live.session.stats());
        live.or_else(|| past.and_then(|past| past.stats))
    }

    pub(super) fn past(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    // Data of the connection.

    pub(in crate::net) fn on_deadline(&mut self, core: &mut Core<S>, sink: &mut dyn Sink) {
        self.touch(core);
        if self.flow.deadline().is_some_and(|at| at <= core.now) {
            self.waited_for_room(core);
        }
        self.look_whether_to_read(core.now);
        match &mut self.state {
            State::Opening(opening) => match opening.timed_out(core) {
                Some((stage, kind)) => self.fail(core, sink, stage, kind),
                None => self.dial(core, sink),
            },
            State::Tunnel(_) => self.tunnel_timed_out(core, sink),
            State::Open(live) | State::CloseHeld(live) => {
                if let Some(limit) = live.timed_out(core.now) {
                    return self.fail(core, sink, Stage::Tls, ErrorKind::Timeout(limit));
                }
                let mut cx = core.context();
                if let Some(event) = live.on_deadline(&mut cx, &self.flow) {
                    self.event(core, sink, event);
                }
            }
            State::Draining(_) => self.release_socket(core),
            State::Gone => {}
        }
    }

    /// The connection has waited long enough for room and is read again; the peer's silence counts
    /// from now on.
    fn waited_for_room(&mut self, core: &mut Core<S>) {
        self.balance(core);
        let now = core.now;
        if let Some(live) = self.live() {
            live.session.read_again(now);
        }
    }

    /// Reports the final event.
    pub(super) fn emit_closed(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, closed: Closed) {
        self.past().ending = Some(match &closed {
            Closed::Failed(e) | Closed::Lost(e) => (e.stage(), e.unsent()),
            Closed::Clean(_) => (Stage::Open, 0),
            Closed::Complete => (Stage::Body, 0),
        });
        let how = match &closed {
            Closed::Failed(e) | Closed::Lost(e) => e.reason(),
            closed => closed.to_string(),
        };
        core.trace(self.id, || format!("ended: {how}"));
        self.past().how = Some(how.into());
        self.report_closed(core, sink, closed);
    }

    fn report_closed(&mut self, core: &mut Core<S>, sink: &mut dyn Sink, closed: Closed) {
        self.past().ending = None;
        if mem::replace(&mut self.listener, Listener::Nobody) == Listener::Program {
            let stats = self.stats();
            let mut conn = Conn::new(self.id, None, &mut self.flow, core).ended(stats);
            sink.event(&mut conn, Event::Closed(closed));
        } else if let Closed::Failed(e) | Closed::Lost(e) = &closed {
            core.lost += e.unsent() as u64;
        }
    }

    pub(super) fn leave_gate(&mut self, core: &mut Core<S>) {
        if let Some(live) = self.live()
            && let Some(entry) = live.entry.take()
            && let Some(gate) = entry.gate
        {
            core.gates.leave(&gate);
        }
    }
}

fn given_up() -> Arc<str> {
    "released by the program".into()
}
