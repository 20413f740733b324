//! Plays the peer's side of a tape to one client.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::net::{Interest, Os, Poller as _, Socket, Sys as _};
use crate::tape::{Frame, Frames, Scene, Step, answer};

/// The longest request head of a client.
const HEAD: usize = 64 * 1024;
const LISTENER: u64 = 1;
const CLIENT: u64 = 2;
const READ: Interest = Interest { read: true, write: false };
const WRITE: Interest = Interest { read: false, write: true };

/// Listens on loopback, for one client after another.
pub struct Player {
    os: Os,
    listener: Socket,
    address: SocketAddr,
    /// The time limit for each expected step of a client.
    patience: Duration,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The result of playing a scene.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Frames of the kinds that the tape has.
    pub frames: usize,
    /// How many of them had another payload.
    pub others: usize,
    /// The first difference to the tape, if any.
    pub difference: Option<String>,
}

/// A client.
struct Client {
    socket: Socket,
    input: Vec<u8>,
    frames: Frames,
    came: std::collections::VecDeque<Frame>,
    key: String,
    ended: bool,
}

impl Player {
    /// Listens; port 0 lets the system choose.
    pub fn bind(port: u16, patience: Duration) -> io::Result<Player> {
        let (listener, address) = Os::listen(([127, 0, 0, 1], port).into())?;
        let mut os = Os::new(&Limits::default())?;
        os.watch(&listener, LISTENER, READ, true)?;
        Ok(Player { os, listener, address, patience })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a client, without a time limit, and plays a scene to it.
    pub fn play(&mut self, scene: &Scene) -> io::Result<Played> {
        let socket = loop {
            match Os::accept(&self.listener) {
                Ok(socket) => break socket,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        self.os.watch(&socket, CLIENT, READ, true)?;
        let (frames, came) = Default::default();
        let key = String::new();
        let mut client = Client { socket, input: Vec::new(), frames, came, key, ended: false };
        let mut played = Played::default();
        for (number, step) in scene.steps.iter().enumerate() {
            if let Some(difference) = self.step(&mut client, step, &mut played)? {
                let all = scene.steps.len();
                played.difference = Some(format!("step {} of {all}: {difference}", number + 1));
                break;
            }
        }
        self.os.forget(&client.socket);
        Ok(played)
    }

    /// Plays one step; returns the difference, if the client did something else.
    fn step(
        &mut self,
        client: &mut Client,
        step: &Step,
        played: &mut Played,
    ) -> io::Result<Option<String>> {
        let until = self.os.now().checked_add(self.patience);
        match step {
            Step::Request(is_web_socket) => {
                let Some(head) = self.head(client, until)? else {
                    return Ok(Some("no request came".to_owned()));
                };
                let key = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
                });
                if *is_web_socket && key.is_none() {
                    return Ok(Some("the request has no Sec-WebSocket-Key (RFC 6455 §4.1)".into()));
                }
                client.key = key.unwrap_or_default();
                Ok(None)
            }
            Step::Head(head) => self.send(client, &answer(head, &client.key), until),
            Step::Send(data) => self.send(client, data, until),
            Step::End(true) => {
                self.os.forget(&client.socket);
                Ok(None)
            }
            Step::End(false) => {
                self.os.shutdown_write(&client.socket);
                // Bytes that the client still sends are read: unread ones would reset the
                // connection.
                while !client.ended && self.read(client, until)? {}
                Ok(None)
            }
            Step::Expect(want) => loop {
                let Some(got) = client.came.pop_front() else {
                    if client.ended || !self.read(client, until)? {
                        let how = if client.ended { "ended" } else { "sent nothing in time" };
                        return Ok(Some(format!("expected {want}, but the client {how}")));
                    }
                    continue;
                };
                if (got.opcode, got.fin) == (want.opcode, want.fin) {
                    played.frames += 1;
                    played.others += usize::from(got.payload != want.payload);
                    return Ok(None);
                }
                // A client may ping at any time.
                if !matches!(got.opcode, 9 | 10) {
                    return Ok(Some(format!("expected {want}, got {got}")));
                }
            },
        }
    }

    fn head(&mut self, client: &mut Client, until: Option<Instant>) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = client.input.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = client.input.drain(..end + 4).collect();
                let rest = std::mem::take(&mut client.input);
                client.came.extend(client.frames.feed(&rest));
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if client.ended || client.input.len() > HEAD || !self.fill(client, until)? {
                return Ok(None);
            }
        }
    }

    /// Reads frames, waiting for them; returns whether there is time left.
    fn read(&mut self, client: &mut Client, until: Option<Instant>) -> io::Result<bool> {
        let in_time = self.fill(client, until)?;
        let data = std::mem::take(&mut client.input);
        client.came.extend(client.frames.feed(&data));
        Ok(in_time)
    }

    fn fill(&mut self, client: &mut Client, until: Option<Instant>) -> io::Result<bool> {
        let mut buf = [0; 16 * 1024];
        loop {
            match self.os.read(&client.socket, &mut buf) {
                Ok(0) => client.ended = true,
                Ok(n) => client.input.extend_from_slice(&buf[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if until.is_some_and(|at| at <= self.os.now()) {
                        return Ok(false);
                    }
                    self.wait(until)?;
                    continue;
                }
                // An error of the socket counts as the end.
                Err(_) => client.ended = true,
            }
            return Ok(true);
        }
    }

    fn send(
        &mut self,
        client: &mut Client,
        mut data: &[u8],
        until: Option<Instant>,
    ) -> io::Result<Option<String>> {
        while !data.is_empty() {
            match self.os.write(&client.socket, data) {
                Ok(n) => data = &data[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if until.is_some_and(|at| at <= self.os.now()) {
                        return Ok(Some("the client reads nothing".to_owned()));
                    }
                    self.os.watch(&client.socket, CLIENT, WRITE, false)?;
                    self.wait(until)?;
                    self.os.watch(&client.socket, CLIENT, READ, false)?;
                }
                Err(e) => return Ok(Some(format!("the client is gone: {e}"))),
            }
        }
        Ok(None)
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let now = self.os.now();
        self.os.poller().wait(now, until, &mut Vec::new())
    }
}
