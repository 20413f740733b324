//! The client's system calls.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use moonwire::{Interest, ResolverAnswer};

use super::end::Server;
use super::{Call, Dial, Happening, Line, Net, Tcp};
use crate::pipe::{End, Piece, Pipe};
use crate::world::{PROXY, PROXY_TLS, SOCKS, WS};

/// More calls than this in one turn are an endless loop.
const CALLS: u64 = 200_000;

impl Net {
    /// Counts a system call, and makes it fail if it is the call of [`Net::inject`].
    pub(super) fn enter(&mut self, call: Call) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        self.turn_calls += 1;
        assert!(self.turn_calls < CALLS, "a turn that does not end: {call:?}");
        use io::ErrorKind as E;
        let kinds: &[io::ErrorKind] = match call {
            Call::Random | Call::Wait => &[E::Other],
            Call::Connect => &[E::NetworkUnreachable, E::Interrupted, E::OutOfMemory],
            Call::Connected => &[E::ConnectionRefused, E::TimedOut],
            Call::Read => &[E::ConnectionReset, E::Interrupted, E::WouldBlock, E::OutOfMemory],
            Call::Write => &[E::BrokenPipe, E::Interrupted, E::WouldBlock, E::OutOfMemory],
            Call::Watch => &[E::OutOfMemory],
            Call::Resolve => &[E::Other],
        };
        self.flavours.push(kinds.len());
        let wanted = self.inject.filter(|inject| inject.call == number);
        let Some(kind) = wanted.and_then(|inject| kinds.get(inject.flavour)) else {
            return Ok(());
        };
        self.progress += 1;
        self.log(|| format!("call {number}: {call:?} is made to fail: {kind:?}"));
        Err((*kind).into())
    }

    /// Whether a fault with this probability in percent happens now.
    pub(super) fn noisy(&mut self, percent: usize) -> bool {
        let happens = percent > 0 && self.noise.budget > 0 && self.rng.chance(percent);
        if happens {
            self.noise.budget -= 1;
            self.progress += 1;
        }
        happens
    }

    pub fn clock(&mut self) -> Instant {
        // This limit also ends a loop that checks a due deadline again and again, without any other
        // system call.
        self.turn_calls += 1;
        assert!(self.turn_calls < CALLS, "a turn that does not end");
        if !self.noise.tick.is_zero() {
            let tick = self.rng.range(0, self.noise.tick.as_nanos() as usize);
            self.now += Duration::from_nanos(tick as u64);
        }
        self.instant()
    }

    pub fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        // Only the first call may fail. A reactor ends if the random source fails later; a real
        // source does not.
        if self.calls == 0 {
            self.enter(Call::Random)?;
        }
        self.rng.fill(bytes);
        Ok(())
    }

    pub fn connect(&mut self, to: SocketAddr) -> io::Result<usize> {
        self.enter(Call::Connect)?;
        self.progress += 1;
        let dial = match self.places.get_mut(&to) {
            None => Dial::Refuses(Duration::from_millis(1)),
            Some((dials, next)) => {
                *next += 1;
                dials[(*next - 1) % dials.len()]
            }
        };
        let id = self.tcps.len();
        self.log(|| format!("#{id} connect {to}: {dial:?}"));
        if dial == Dial::Unreachable {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let of_proxy = [PROXY, PROXY_TLS, SOCKS].contains(&to.port());
        if !self.allowed.contains(&(to, of_proxy)) {
            self.complain(|| format!("the policy was not asked about {to}"));
        }
        // RFC 6455 §4.1, 2: one address has one opening handshake at a time.
        let opening = |tcp: &&Tcp| {
            let gone = tcp.forgotten || tcp.dropped || tcp.has_opened(&self.opened);
            tcp.to == to && !gone
        };
        if to.port() == WS && self.tcps.iter().filter(opening).count() >= self.gate {
            self.complain(|| format!("another opening handshake with {to}"));
        }
        let mut make = self.make.take();
        let made = make.as_mut().map(|make| make(&mut self.rng, to));
        self.make = make;
        let (path, service) = made.expect("a world with servers");
        let mut rng = self.rng.fork();
        let [up, down] = path.bandwidth.map(|pace| Pipe::new(&path, pace, &mut rng));
        let accepts = matches!(dial, Dial::Accepts(_));
        self.tcps.push(Tcp {
            to,
            up_and_running: false,
            conn: None,
            error: None,
            dead: false,
            watched: None,
            forgotten: false,
            dropped: false,
            finished: false,
            up,
            down,
            line: Line::new(&path, if to.port() == PROXY { 2 } else { 1 }),
            path,
            rng,
            server: accepts.then(|| Server::new(service)),
        });
        match dial {
            Dial::Accepts(Duration::ZERO) if self.noise.prompt => self.dialled(id),
            Dial::Accepts(after) | Dial::Refuses(after) => {
                self.later(after, Happening::Dialled(id));
            }
            Dial::Never | Dial::Unreachable => {}
        }
        Ok(id)
    }

    pub fn is_connected(&self, id: usize) -> bool {
        self.tcps[id].up_and_running
    }

    pub fn connected(&mut self, id: usize) -> io::Result<()> {
        self.used(id, "connected");
        self.progress += 1;
        if let Err(e) = self.enter(Call::Connected) {
            self.reset(id, e.kind());
            return Err(e);
        }
        let error = self.tcps[id].error.take();
        self.log(|| format!("#{id} connected: {error:?}"));
        error.map_or(Ok(()), |kind| Err(kind.into()))
    }

    pub fn read(&mut self, id: usize, buf: &mut [u8]) -> io::Result<usize> {
        self.used(id, "read");
        if buf.is_empty() {
            self.complain(|| format!("#{id} is read with no room: looks like the end"));
        }
        if let Err(e) = self.enter(Call::Read).and_then(|()| self.fault().map_or(Ok(()), Err)) {
            match e.kind() {
                io::ErrorKind::ConnectionReset => {
                    self.reset(id, e.kind());
                    self.tcps[id].error = None;
                }
                // The client calls again at once.
                io::ErrorKind::Interrupted => {}
                _ => self.tcps[id].line.hides(self.now),
            }
            self.log(|| format!("#{id} read, by a fault: {:?}", e.kind()));
            return Err(e);
        }
        let tcp = &mut self.tcps[id];
        let n = buf.len().min(tcp.down.there()).min(tcp.down.sip(&mut tcp.rng));
        if n > 0 {
            let was_full = tcp.down.room() == 0;
            tcp.down.read(&mut buf[..n]);
            tcp.line.last_read = self.now;
            self.progress += 1;
            if was_full {
                self.later(Duration::ZERO, Happening::Pump(id));
            }
            self.log(|| format!("#{id} read {n}"));
            return Ok(n);
        }
        if let Some(kind) = tcp.error.take() {
            self.progress += 1;
            self.log(|| format!("#{id} read: {kind:?}"));
            return Err(kind.into());
        }
        if tcp.dead || tcp.down.end.is_some() {
            self.wasted += 1;
            self.log(|| format!("#{id} read: end"));
            return Ok(0);
        }
        self.wasted += 1;
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn fault(&mut self) -> Option<io::Error> {
        if self.noisy(self.noise.interrupted) {
            return Some(io::ErrorKind::Interrupted.into());
        }
        self.noisy(self.noise.would_block).then(|| io::ErrorKind::WouldBlock.into())
    }

    pub fn write(&mut self, id: usize, bytes: &[u8]) -> io::Result<usize> {
        self.used(id, "write");
        if let Err(e) = self.enter(Call::Write).and_then(|()| self.fault().map_or(Ok(()), Err)) {
            match e.kind() {
                io::ErrorKind::BrokenPipe => {
                    self.reset(id, e.kind());
                    self.tcps[id].error = None;
                }
                io::ErrorKind::WouldBlock => {
                    let tcp = &mut self.tcps[id];
                    let room = if tcp.up_and_running { tcp.room_up() } else { 0 };
                    tcp.line.fault_refuses(self.now, room);
                }
                _ => {}
            }
            self.log(|| format!("#{id} write, by a fault: {:?}", e.kind()));
            return Err(e);
        }
        let tcp = &mut self.tcps[id];
        if let Some(kind) = tcp.error.take() {
            self.progress += 1;
            self.log(|| format!("#{id} write: {kind:?}"));
            return Err(kind.into());
        }
        if tcp.finished {
            self.complain(|| format!("#{id} is written after its end"));
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if tcp.dead {
            self.wasted += 1;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = if tcp.up_and_running { tcp.room_up() } else { 0 };
        let n = bytes.len().min(room).min(tcp.up.sip(&mut tcp.rng));
        if n == 0 {
            self.wasted += 1;
            tcp.line.refuses(self.now);
            self.log(|| format!("#{id} refuses {}", bytes.len()));
            return Err(io::ErrorKind::WouldBlock.into());
        }
        tcp.line.takes(self.now, &bytes[..n]);
        self.progress += 1;
        self.writes += 1;
        self.ship(id, true, &bytes[..n]);
        self.log(|| format!("#{id} write {n} of {}", bytes.len()));
        Ok(n)
    }

    pub fn finish(&mut self, id: usize) {
        self.used(id, "finish");
        let tcp = &mut self.tcps[id];
        if tcp.dead || std::mem::replace(&mut tcp.finished, true) {
            return;
        }
        let after = tcp.up.send(self.now, Piece::End(End::Finished), &mut tcp.rng);
        self.progress += 1;
        self.later(after, Happening::Arrive { tcp: id, up: true });
        self.log(|| format!("#{id} shutdown"));
    }

    pub fn watch(
        &mut self,
        id: usize,
        token: u64,
        interest: Interest,
        new: bool,
    ) -> io::Result<()> {
        self.used(id, "watch");
        self.wasted += 1;
        self.enter(Call::Watch)?;
        self.log(|| format!("#{id} watch {interest:?} new: {new}"));
        let tcp = &mut self.tcps[id];
        let was = tcp.watched.replace((token, interest));
        tcp.conn = Some(token >> 8);
        let to = tcp.to;
        if was.is_some() == new {
            self.complain(|| format!("#{id} watched with new: {new}, before: {was:?}"));
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if new {
            self.has_gate(token >> 8, to);
            self.has_turn(token >> 8, to);
        }
        Ok(())
    }

    pub fn forget(&mut self, id: usize) {
        self.used(id, "forget");
        self.log(|| format!("#{id} forget"));
        self.tcps[id].watched = None;
        self.tcps[id].forgotten = true;
        self.tcps[id].line.done = Some(self.now);
    }

    fn used(&mut self, id: usize, what: &str) {
        if self.tcps[id].forgotten {
            self.complain(|| format!("#{id} is used after it was forgotten: {what}"));
        }
    }

    pub fn resolve(&mut self, id: u64, name: &str, port: u16) -> io::Result<()> {
        self.enter(Call::Resolve)?;
        self.progress += 1;
        self.asks_for(id, name);
        let name = self.names.get(name).cloned();
        let mut name = name.expect("a name of this world");
        name.answer.iter_mut().flatten().for_each(|address| address.set_port(port));
        self.log(|| format!("resolve: {name:?}"));
        if name.refused {
            return Err(io::Error::other("no resolver"));
        }
        if let Some(after) = name.after {
            self.later(after, Happening::Named(id, name));
        }
        Ok(())
    }

    pub fn resolved(&mut self) -> Option<ResolverAnswer> {
        let answer = self.answers.pop_front();
        self.progress += u64::from(answer.is_some());
        if let Some((conn, Ok(addresses))) = &answer {
            self.asks(*conn, addresses);
        }
        answer
    }

    /// The client's descriptor is closed.
    pub fn dropped(&mut self, id: usize) {
        self.progress += 1;
        self.log(|| format!("#{id} closed"));
        let tcp = &mut self.tcps[id];
        tcp.dropped = true;
        if tcp.watched.take().is_some() {
            self.complain(|| format!("#{id} is closed and still waited for"));
        }
        let tcp = &mut self.tcps[id];
        if tcp.dead || !tcp.up_and_running {
            return;
        }
        if tcp.down.there() > 0 {
            self.reset_server(id);
        } else if !std::mem::replace(&mut tcp.finished, true) {
            let after = tcp.up.send(self.now, Piece::End(End::Finished), &mut tcp.rng);
            self.later(after, Happening::Arrive { tcp: id, up: true });
        }
    }

    /// A reset travels to the server; bytes on their way to it are lost.
    pub(super) fn reset_server(&mut self, id: usize) {
        self.log(|| format!("#{id} resets: the client closed with bytes unread, or to come"));
        let tcp = &mut self.tcps[id];
        tcp.dead = true;
        tcp.up.lose();
        let after = tcp.up.send(self.now, Piece::End(End::Broken), &mut tcp.rng);
        self.later(after, Happening::Arrive { tcp: id, up: true });
    }

    /// The connection is broken for the client, at once.
    fn reset(&mut self, id: usize, kind: io::ErrorKind) {
        let tcp = &mut self.tcps[id];
        if !tcp.dead {
            (tcp.dead, tcp.error) = (true, Some(kind));
            tcp.down.lose();
            tcp.up.lose();
            if tcp.server.is_some() {
                let after = tcp.up.send(self.now, Piece::End(End::Broken), &mut tcp.rng);
                self.later(after, Happening::Arrive { tcp: id, up: true });
            }
        }
    }
}
