//! A whole connection: received bytes, and the calls of the program meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::{Driver, OwnedEvent, in_all_cuts};
use super::frames::{KEPT, from_server};
use super::heads::NONCE;
use super::input::{Cut, Input};
use super::wire::{self, Sent};
use crate::limits::Limits;
use crate::proto::{
    CloseFrame, Closed, Failure, Lost, Misuse, Opcode, REASON_MAX, Request, Session, Settings,
    Timer, Url, is_close_code,
};

/// The answer to [`NONCE`].
const ANSWER: &[u8] = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// How a session is made, from two bytes of choices.
struct Start {
    handshake: bool,
    settings: Settings,
}

impl Start {
    fn read(input: &mut Input) -> Start {
        let (flags, sizes) = (input.byte(), input.byte());
        let size = |shift: u8, of: [usize; 4]| of[usize::from(sizes >> shift & 3)];
        let limits = Limits {
            message: size(0, [300, 10, 125, 5000]),
            fragments: 4,
            line: 200,
            head: 500,
            fields: 8,
            interim: 1,
            in_place: size(2, [65_536, 0, 1, 20]),
            pong_queue: size(4, [65_536, 0, 1, 50]),
            send_queue: size(6, [1000, 0, 1, 20]),
            pong: Duration::from_secs(2),
            close: Duration::from_secs(5),
            ..Default::default()
        };
        let settings = Settings {
            limits: Arc::new(limits),
            ping_interval: [None, Some(0), Some(1), Some(30)][usize::from(flags >> 2 & 3)]
                .map(Duration::from_secs),
            hold_close: flags & 2 != 0,
            trace: flags & 16 != 0,
        };
        Start { handshake: flags & 1 != 0, settings }
    }

    /// One session gets its input cut and keeps notes, the other does not.
    fn driver(&self, now: Instant, cut: Cut) -> Driver {
        let mut settings = self.settings.clone();
        settings.trace ^= cut != Cut::Whole;
        let line = settings.limits.line;
        let session = if self.handshake {
            let mut request = Request::new(Url::parse("ws://server.example/chat").expect("a URL"));
            request.protocol("chat").expect("a token");
            Session::new(&request, settings, NONCE, Some(now + Duration::from_secs(3)))
        } else {
            Session::opened(settings, now)
        };
        Driver::new(session, now, cut, KEPT.max(line + 1))
    }
}

/// Bytes of a server, from the handshake on or behind it, and then the end of the stream: the
/// events are the same for any cut, read into the session's own buffer or not, with notes or
/// without. The output is a valid request and valid frames.
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    let end = input.byte();
    let start = Start::read(&mut input);
    let (bytes, now) = (input.0, Instant::now());
    let mut driver = in_all_cuts(bytes, |cut| {
        let mut driver = start.driver(now, cut);
        driver.take(usize::MAX);
        driver.feed(bytes);
        match end & 3 {
            0 => {}
            1 => driver.eof(false),
            2 => driver.eof(true),
            _ => driver.advance(Duration::from_secs(u64::from(end >> 2))),
        }
        driver.take(usize::MAX);
        driver
    });
    driver.poke();
    driver.take(usize::MAX);
    frames_of(&driver, start.handshake);
}

/// The output behind the request.
fn frames_of(driver: &Driver, handshake: bool) -> Vec<Sent> {
    let mut wire = &driver.wire[..];
    if handshake {
        let opened = driver.events.iter().any(|event| matches!(event, OwnedEvent::Opened(_)));
        let end = wire.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        // The rest of a refused request is not sent.
        let Some(end) = end else {
            assert!(!opened && wire.len() < 400, "opened without a request");
            return Vec::new();
        };
        super::heads::request_head(&wire[..end], "GET", "/chat", "server.example");
        wire = &wire[end..];
    }
    wire::sent(wire)
}

/// Three bytes of choices, then a sequence of steps: bytes and frames arrive, the program sends,
/// pings and closes, the kernel takes some bytes, time passes, the stream ends. Two sessions run
/// it, one of them with single bytes; they never differ. Accepted messages are sent once and in
/// order, the queue is bounded, and a refusal has its reason.
pub fn operations(data: &[u8]) {
    let mut input = Input(data);
    let start = Start::read(&mut input);
    let other = if input.byte() & 1 == 0 { Cut::Bytewise } else { Cut::Random };
    let now = Instant::now();
    let mut program = Program {
        drivers: [Cut::Whole, other].map(|cut| start.driver(now, cut)),
        accepted: Vec::new(),
        pings: Vec::new(),
        largest: 0,
        last_received: now,
        left: now,
        silence: start.settings.ping_interval.unwrap_or_default() + start.settings.limits.pong,
        limits: Arc::clone(&start.settings.limits),
    };
    for _ in 0..300 {
        if input.is_empty() {
            break;
        }
        program.act(&mut input);
        program.agree();
    }
    program.end(&start);
}

struct Program {
    drivers: [Driver; 2],
    /// Messages and pings that were accepted.
    accepted: Vec<Sent>,
    /// Payloads of the server's pings; some may not have been read.
    pings: Vec<Vec<u8>>,
    /// The largest accepted payload.
    largest: usize,
    /// When bytes were last received.
    last_received: Instant,
    /// When bytes were last sent.
    left: Instant,
    /// How long a silence after both may last until the peer counts as lost.
    silence: Duration,
    limits: Arc<Limits>,
}

impl Program {
    fn act(&mut self, input: &mut Input) {
        let op = input.byte();
        let n = usize::from(op >> 4);
        match op & 15 {
            0 => self.feed(input.take(n + 1)),
            1 => {
                let all = [Opcode::Text, Opcode::Binary, Opcode::Continuation, Opcode::Pong];
                let frame = from_server(all[n & 3], n & 12 != 4, payload(input, 7));
                self.feed(&frame);
            }
            2 => {
                let payload = payload(input, 1);
                self.pings.push(payload.to_vec());
                self.feed(&from_server(Opcode::Ping, true, payload));
            }
            3 => {
                let frame = from_server(Opcode::Close, true, input.take(n));
                self.feed(&frame);
            }
            4 => self.feed(ANSWER),
            5 | 6 => {
                let text = String::from_utf8_lossy(payload(input, 5)).into_owned();
                let sent = (1, text.clone().into_bytes());
                self.send(sent, |d| d.with(|session, cx| session.send_text(cx, &text)));
            }
            7 => {
                let data = payload(input, 5);
                let sent = (2, data.to_vec());
                self.send(sent, |d| d.with(|session, cx| session.send_binary(cx, data)));
            }
            8 => {
                // Not empty, unlike the pings of the session itself.
                let data = [b"!", payload(input, 1)].concat();
                let sent = (9, data.clone());
                self.send(sent, |d| d.with(|session, cx| session.ping(cx, &data)));
            }
            9 => self.close(input, n),
            10 => self.each(|d| d.with(|session, cx| session.answer_close(cx))),
            11 => {
                let by = Duration::from_millis(u64::from(input.byte()) * 40);
                self.each(|d| d.advance(by));
            }
            // The deadline may be checked late.
            12 => {
                let by = Duration::from_millis(u64::from(input.byte()) * 40);
                self.each(|d| d.now += by);
            }
            13 => self.take(n * 4 + 1),
            14 => self.take(usize::MAX),
            _ if n < 2 => self.each(|d| d.eof(n == 1)),
            _ => self.each(|d| d.advance(Duration::ZERO)),
        }
    }

    fn each<T: PartialEq + std::fmt::Debug>(&mut self, act: impl FnMut(&mut Driver) -> T) -> T {
        let [a, b] = self.drivers.each_mut().map(act);
        assert_eq!(a, b, "two sessions that saw the same differ");
        a
    }

    fn take(&mut self, bytes: usize) {
        if !self.drivers[0].session.outgoing().is_empty() {
            self.left = self.drivers[0].now;
        }
        self.each(|driver| driver.take(bytes));
    }

    fn feed(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && !self.drivers[0].closed {
            self.last_received = self.drivers[0].now;
        }
        self.each(|driver| driver.feed(bytes));
    }

    /// Sends, and checks that a refusal is justified.
    fn send(&mut self, sent: Sent, mut act: impl FnMut(&mut Driver) -> Result<(), Misuse>) {
        let open = self.drivers[0].session.is_open();
        let full = self.drivers[0].session.buffered() > self.limits.send_queue;
        let want = match sent.0 {
            _ if !open => Err(Misuse::NotOpen),
            9 if sent.1.len() > 125 => Err(Misuse::LongPing),
            _ if full => Err(Misuse::Full),
            _ => Ok(()),
        };
        assert_eq!(self.each(|driver| act(driver)), want);
        if want.is_ok() {
            self.largest = self.largest.max(sent.1.len());
            self.accepted.push(sent);
        }
    }

    fn close(&mut self, input: &mut Input, n: usize) {
        let code = [None, Some(1000), Some(1006), Some(4999), Some(u16::from(input.byte()) * 8)];
        let code = code[n % code.len()];
        let reason = "r".repeat(usize::from(input.byte()) % (REASON_MAX + 2) * usize::from(n > 4));
        let frame = CloseFrame { code, reason };
        let open = self.drivers[0].session.is_open();
        let want = match code {
            Some(code) if !is_close_code(code) => Err(Misuse::CloseCode(code)),
            None if !frame.reason.is_empty() => Err(Misuse::CloseReason),
            _ if frame.reason.len() > REASON_MAX => Err(Misuse::CloseReason),
            _ if !open => Err(Misuse::NotOpen),
            _ => Ok(()),
        };
        let got = self.each(|driver| driver.with(|session, cx| session.close(cx, &frame)));
        assert_eq!(got, want, "{frame:?}");
        assert!(got.is_err() || !self.drivers[0].session.is_open());
    }

    /// Checks what must not differ, and what is bounded.
    fn agree(&self) {
        let [a, b] = &self.drivers;
        assert_eq!(a.events, b.events);
        assert_eq!((a.closed, a.wakes), (b.closed, b.wakes));
        assert_eq!(a.session.deadline(), b.session.deadline());
        assert_eq!(a.session.is_open(), b.session.is_open());
        assert!(a.session.outgoing() == b.session.outgoing() && a.wire == b.wire);
        // The request, the queue and one message beyond it, or pongs up to their limit and one
        // beyond it; then a close frame, and a keep-alive ping for each time that it was due.
        let sends = self.limits.send_queue + 14 + self.largest;
        let pongs = self.limits.pong_queue.max(1) + 131;
        let most = 400 + sends.max(pongs) + 131 + 6 * a.wakes;
        assert!(a.session.buffered() <= most, "{} bytes wait", a.session.buffered());
    }

    /// All output is sent; it is valid, and the accepted messages are in it, once and in order.
    fn end(mut self, start: &Start) {
        self.each(|driver| driver.take(usize::MAX));
        // A pong that waited for room.
        self.each(|driver| driver.take(usize::MAX));
        self.each(Driver::poke);
        self.each(|driver| driver.take(usize::MAX));
        self.agree();
        let driver = &self.drivers[0];
        let sent = frames_of(driver, start.handshake);
        let own = |(opcode, data): &&Sent| match opcode {
            1 | 2 => true,
            9 => !data.is_empty(),
            _ => false,
        };
        let got: Vec<&Sent> = sent.iter().filter(own).collect();
        assert_eq!(got, self.accepted.iter().collect::<Vec<_>>(), "what was accepted goes out");
        self.check_violation(driver, &sent);
    }

    /// A violation is answered with its code, unless our own close frame was sent before.
    fn check_violation(&self, driver: &Driver, sent: &[Sent]) {
        let closes: Vec<_> = sent.iter().filter(|(opcode, _)| *opcode == 8).collect();
        match driver.events.last() {
            Some(OwnedEvent::Closed(Closed::Failed(Failure::Violation(_)))) => {
                assert!(closes.len() <= 1);
            }
            Some(OwnedEvent::Closed(Closed::Failed(Failure::Handshake(_)))) => {
                assert!(sent.is_empty(), "nothing is said about a handshake that failed");
            }
            Some(OwnedEvent::Closed(Closed::Lost(Lost::Timeout(Timer::Pong)))) => {
                // A ping that waited in the queue may be sent right after the last received byte;
                // from then on the time limit of a pong counts.
                let silent = driver.ended.duration_since(self.last_received);
                let pong = self.limits.pong;
                let least = if self.left >= self.last_received { pong } else { self.silence };
                assert!(silent >= least, "given up after {silent:?}");
            }
            Some(OwnedEvent::Closed(Closed::Complete | Closed::Redirected(_))) => {
                panic!("no stream ends like that: {:?}", driver.events)
            }
            _ => {}
        }
        if !driver
            .events
            .iter()
            .any(|t| matches!(t, OwnedEvent::Closing(_) | OwnedEvent::Closed(_)))
        {
            let open = driver.session.is_open();
            let opening = !driver.events.iter().any(|t| matches!(t, OwnedEvent::Opened(_)));
            assert!(open || opening || closes.len() == 1, "not open for no reason");
        }
    }
}

/// A payload whose first byte is its length, partly generated.
fn payload<'a>(input: &mut Input<'a>, times: usize) -> &'a [u8] {
    const FILL: [u8; 256 * 7] = [b'a'; 256 * 7];
    let len = usize::from(input.byte());
    if len < 16 { input.take(len) } else { &FILL[..(len - 16) * times] }
}
