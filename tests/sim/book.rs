//! What both sides of every connection sent and received. The laws about messages are checked here
//! when a message arrives.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::http::HttpPlan;
use crate::laws::wire_len;
use crate::proxy::credentials_in;
use crate::rng::Rng;
use crate::ws::WsPlan;

/// A message: whether it is a text, and its payload.
#[derive(Clone, PartialEq)]
pub struct Msg {
    pub text: bool,
    pub data: Vec<u8>,
}

impl Msg {
    /// Message number `number` of a connection, with a seeded size up to `max`; its content
    /// identifies it.
    pub fn new(rng: &mut Rng, sender: &str, number: usize, max: usize) -> Msg {
        let edges = [0, 1, 125, 126, 127, 4096, 65_535, 65_536, 65_537];
        let len = match rng.below(10) {
            0..=4 => rng.below(300),
            5 | 6 => rng.pick(&edges),
            7 | 8 => rng.below(20_000),
            _ => rng.below(200 * 1024),
        };
        Msg::sized(rng.chance(60), sender, number, len.min(max))
    }

    pub fn sized(text: bool, sender: &str, number: usize, len: usize) -> Msg {
        let start = format!("{sender} {number}: ");
        let pattern = if text {
            "aé✓𝄞 0123456789 ".as_bytes()
        } else {
            b"\x00\xFF\x80\x7E\xC0 abcdefg"
        };
        let mut data = start.into_bytes();
        data.extend_from_slice(&pattern.repeat(len / pattern.len() + 1));
        let mut len = len;
        while text && data.get(len).is_some_and(|b| b & 0xC0 == 0x80) {
            len -= 1;
        }
        data.truncate(len);
        Msg { text, data }
    }

    /// A short form for error texts.
    fn shown(&self) -> String {
        let start = &self.data[..self.data.len().min(40)];
        let kind = if self.text { "text" } else { "binary" };
        format!("{kind} of {} {:?}", self.data.len(), String::from_utf8_lossy(start))
    }
}

/// The messages in one direction: those that were sent, and how many have arrived.
#[derive(Default)]
pub struct Way {
    pub sent: Vec<Msg>,
    pub got: usize,
    /// How many bytes the program's messages and pings have on the wire.
    pub accepted: u64,
    /// The pings that were sent and not yet answered, and how many were answered.
    pub pings: VecDeque<Vec<u8>>,
    pub pongs: usize,
}

impl Way {
    /// The client has accepted a message.
    pub fn accepts(&mut self, msg: Msg) {
        self.accepted += wire_len(msg.data.len());
        self.sent.push(msg);
    }

    pub fn accepts_ping(&mut self, data: Vec<u8>) {
        self.accepted += wire_len(data.len());
        self.pings.push_back(data);
    }

    /// A message arrives: it must be the next that was sent.
    fn arrives(&mut self, msg: &Msg) -> Result<(), String> {
        let want = self.sent.get(self.got);
        if want != Some(msg) {
            let want = want.map_or("none".to_owned(), Msg::shown);
            return Err(format!("message {}: {} instead of {want}", self.got, msg.shown()));
        }
        self.got += 1;
        Ok(())
    }

    /// A pong arrives: it must answer a ping. Earlier pings may stay unanswered (RFC 6455 §5.5.3).
    fn pong(&mut self, data: &[u8]) -> Result<(), String> {
        while let Some(ping) = self.pings.pop_front() {
            if ping == data {
                self.pongs += 1;
                return Ok(());
            }
        }
        Err(format!("pong {data:?} answers no ping"))
    }
}

/// One connection that was requested: a WebSocket or a stream.
#[derive(Default)]
pub struct Entry {
    pub ws: Option<WsPlan>,
    pub http: Option<HttpPlan>,
    /// The direction from the client, and that from the server.
    pub up: Way,
    pub down: Way,
    /// The code of the close frame that the server has sent, and of the client's that the server
    /// has received.
    pub server_close: Option<Option<u16>>,
    pub client_close: Option<Option<u16>>,
    /// The server has ended the connection without a closing handshake, or broken a rule.
    pub broke: bool,
    /// The server has broken a rule.
    pub violated: bool,
    /// How many requests have reached a server.
    pub requests: usize,
    /// The bytes of the body that the client has received, and the number of events.
    pub body: Vec<u8>,
    pub events: usize,
}

/// All connections of a world.
#[derive(Default)]
pub struct Book {
    pub entries: Vec<Entry>,
    pub complaint: Option<String>,
    /// The addresses to which clients have asked proxies to connect, since the last check.
    pub reported: Vec<SocketAddr>,
}

pub type SharedBook = Arc<Mutex<Book>>;

pub fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    pub fn complain(&mut self, text: impl Into<String>) {
        self.complaint.get_or_insert_with(|| text.into());
    }

    /// A server that is not a proxy has read this head: it must not have anything that is for a
    /// proxy.
    pub fn head(&mut self, head: &str) {
        let field = head.to_ascii_lowercase().contains("\r\nproxy-");
        if field || credentials_in(head.as_bytes(), None).is_some() {
            self.complain(format!("what is for a proxy reaches a server: {head:?}"));
        }
    }

    pub fn server_receives(&mut self, k: usize, msg: &Msg) {
        if let Err(e) = self.entries[k].up.arrives(msg) {
            self.complain(format!("ask {k}: the server got {e}"));
        }
    }

    pub fn client_receives(&mut self, k: usize, msg: &Msg) {
        if let Err(e) = self.entries[k].down.arrives(msg) {
            self.complain(format!("ask {k}: the client got {e}"));
        }
    }

    pub fn server_pong(&mut self, k: usize, data: &[u8]) {
        if let Err(e) = self.entries[k].down.pong(data) {
            self.complain(format!("ask {k}: the server got {e}"));
        }
    }

    pub fn client_pong(&mut self, k: usize, data: &[u8]) {
        // A server may send an unsolicited pong (§5.5.3); the servers here send empty ones.
        if !data.is_empty()
            && let Err(e) = self.entries[k].up.pong(data)
        {
            self.complain(format!("ask {k}: the client got {e}"));
        }
    }
}

/// `n` milliseconds.
pub const fn ms(n: usize) -> Duration {
    Duration::from_millis(n as u64)
}
