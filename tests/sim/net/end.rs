//! The server sides of connections.

use std::io;
use std::time::Duration;

use super::{Cut, Happening, Net};
use crate::pipe::{End, Piece};

/// The code behind a server's side of a connection.
pub trait Service: Send {
    /// The network calls it when bytes have arrived, `wake` is due, or there is room again.
    fn step(&mut self, io: &mut Io<'_>);
}

/// A server's side of a connection, as its service uses it.
pub struct Io<'a> {
    pub now: Duration,
    /// The bytes that have arrived and that the service has not taken. They reduce the client's
    /// window.
    pub input: &'a mut Vec<u8>,
    /// How the client's stream has ended, if it has.
    pub end: Option<End>,
    /// The bytes to be sent.
    pub out: &'a mut Vec<u8>,
    /// The service sends nothing after `out`: the server ends the stream.
    pub finish: bool,
    /// The server resets the connection now.
    pub abort: bool,
    /// The time of the next call, if nothing else causes one before.
    pub wake: Option<Duration>,
}

pub struct Server {
    pub(super) service: Box<dyn Service>,
    pub(super) input: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) end: Option<End>,
    pub(super) finish: bool,
    pub(super) finished: bool,
    /// The server can send no more: a fault has cut the connection, or the server has reset it.
    pub(super) mute: bool,
    /// A fault has cut the connection in the client's bytes: the service is called no more.
    pub(super) deaf: bool,
    pub(super) wake: Option<Duration>,
}

impl Net {
    pub(super) fn arrive_up(&mut self, id: usize) {
        let tcp = &mut self.tcps[id];
        tcp.up.arrive(self.now);
        let Some(server) = &mut tcp.server else { return };
        let n = tcp.up.there();
        let at = server.input.len();
        server.input.resize(at + n, 0);
        tcp.up.read(&mut server.input[at..]);
        tcp.line.arrived(self.now, tcp.up.taken);
        if let Some(end) = tcp.up.end {
            server.end = Some(end);
        }
        if let Some((at, cut)) = tcp.path.up
            && tcp.up.taken >= at
        {
            tcp.path.up = None;
            let over = (tcp.up.taken - at) as usize;
            server.input.truncate(server.input.len().saturating_sub(over));
            server.deaf = true;
            self.cut(id, cut);
        }
        self.pump(id);
    }

    pub(super) fn arrive_down(&mut self, id: usize) {
        let tcp = &mut self.tcps[id];
        tcp.down.arrive(self.now);
        tcp.line.comes(self.now, tcp.down.taken + tcp.down.there() as u64);
        if tcp.dropped {
            // The client has closed its descriptor: its system answers later bytes with a reset.
            if tcp.down.there() > 0 && !tcp.dead {
                self.reset_server(id);
            }
            return;
        }
        if let Some(End::Broken | End::TimedOut) = tcp.down.end
            && !tcp.dead
        {
            let timed_out = tcp.down.end == Some(End::TimedOut);
            let kind =
                if timed_out { io::ErrorKind::TimedOut } else { io::ErrorKind::ConnectionReset };
            (tcp.dead, tcp.error, tcp.server) = (true, Some(kind), None);
            tcp.up.lose();
            self.log(|| format!("#{id} is reset: {kind:?}"));
        }
    }

    /// A fault: the server sends no bytes after this.
    fn cut(&mut self, id: usize, cut: Cut) {
        self.log(|| format!("#{id} is cut: {cut:?}"));
        let tcp = &mut self.tcps[id];
        let Some(server) = &mut tcp.server else { return };
        server.mute = true;
        let end = match cut {
            Cut::Reset => End::Broken,
            Cut::TimedOut => End::TimedOut,
            Cut::Finish => End::Finished,
            Cut::Stall => return,
        };
        let after = tcp.down.send(self.now, Piece::End(end), &mut tcp.rng);
        self.later(after, Happening::Arrive { tcp: id, up: false });
    }

    /// Calls the service, and sends what the window has room for.
    pub(super) fn pump(&mut self, id: usize) {
        let now = self.now;
        let tcp = &mut self.tcps[id];
        let Some(mut server) = tcp.server.take() else { return };
        let step = server.step(now);
        tcp.line.read(now, tcp.up.taken - server.input.len() as u64);
        // If an earlier wake-up is set, that call of the service sets the later one again.
        if let Some(at) = step.wake.filter(|at| server.wake.is_none_or(|due| *at < due)) {
            server.wake = Some(at);
            self.later(at.saturating_sub(now), Happening::Pump(id));
        }
        if step.abort && !server.mute {
            (server.mute, server.finished) = (true, true);
            self.log(|| format!("#{id} the server resets"));
            let tcp = &mut self.tcps[id];
            let after = tcp.down.send(now, Piece::End(End::Broken), &mut tcp.rng);
            self.later(after, Happening::Arrive { tcp: id, up: false });
        }
        self.send_down(id, &mut server);
        self.tcps[id].server = Some(server);
        self.cut_down(id);
    }

    fn send_down(&mut self, id: usize, server: &mut Server) {
        let now = self.now;
        loop {
            let tcp = &mut self.tcps[id];
            let left = tcp.path.down.map_or(u64::MAX, |(at, _)| at - tcp.down.sent);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let segment = tcp.rng.range(1, tcp.path.segment.max(1));
            let n = segment.min(tcp.down.room()).min(server.out.len()).min(left);
            if n == 0 || server.mute {
                break;
            }
            let piece: Vec<u8> = server.out.drain(..n).collect();
            self.ship(id, false, &piece);
        }
        if server.finish && server.out.is_empty() && !server.finished && !server.mute {
            server.finished = true;
            let tcp = &mut self.tcps[id];
            let after = tcp.down.send(now, Piece::End(End::Finished), &mut tcp.rng);
            self.later(after, Happening::Arrive { tcp: id, up: false });
            self.log(|| format!("#{id} the server sends its end"));
        }
    }

    fn cut_down(&mut self, id: usize) {
        let tcp = &mut self.tcps[id];
        if let Some((at, cut)) = tcp.path.down
            && tcp.down.sent >= at
        {
            tcp.path.down = None;
            self.cut(id, cut);
        }
    }
}

/// What a service requests in a call.
struct Step {
    wake: Option<Duration>,
    abort: bool,
}

impl Server {
    pub(super) fn new(service: Box<dyn Service>) -> Server {
        Server {
            service,
            input: Vec::new(),
            out: Vec::new(),
            end: None,
            finish: false,
            finished: false,
            mute: false,
            deaf: false,
            wake: None,
        }
    }

    fn step(&mut self, now: Duration) -> Step {
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
        }
        if self.deaf {
            return Step { wake: None, abort: false };
        }
        let mut io = Io {
            now,
            input: &mut self.input,
            end: self.end,
            out: &mut self.out,
            finish: self.finish,
            abort: false,
            wake: None,
        };
        self.service.step(&mut io);
        let step = Step { wake: io.wake, abort: io.abort };
        self.finish = io.finish;
        step
    }
}
