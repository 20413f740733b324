//! One connection on the server's side, without its socket: bytes and times in, bytes out.

use std::time::Instant;

use super::drip::Drip;
use super::refusal::Refusal;
use super::request::{self, RequestKind};
use super::route::Call;
use crate::limits::Limits;
use crate::proto::CloseFrame;
use crate::proto::Opcode;
use crate::proto::Violation;
use crate::proto::buf::SendBuf;
use crate::proto::ws::deflate::Codec;
use crate::proto::ws::message::{Assembly, Message, most_compressed};
use crate::proto::ws::{frame, mask};

/// A connection from its request to our last byte.
#[derive(Debug, Default)]
pub(super) struct Conn {
    state: State,
    out: SendBuf,
}

#[derive(Debug)]
enum State {
    /// The request head is not complete; this many of its bytes were searched for its end.
    Request(usize),
    /// The body of a request is not complete. INVARIANT: it is no longer than its head declares.
    Body(Box<Call>, Vec<u8>),
    Open(Echo),
    /// A response whose body is produced while it is sent; input is discarded.
    Answer(Box<Drip>),
    /// The last bytes are queued; input is discarded.
    Ended,
}

impl Default for State {
    fn default() -> State {
        State::Request(0)
    }
}

/// The longest request head.
const HEAD_MAX: usize = 16 * 1024;

impl Conn {
    /// Takes bytes from the client, unmasks them in place, and answers; returns how many it took.
    /// The rest has to be given again, with more bytes behind it.
    pub(super) fn receive(&mut self, input: &mut [u8], limits: &Limits) -> usize {
        let mut used = 0;
        loop {
            let rest = &mut input[used..];
            let taken = match &mut self.state {
                State::Ended | State::Answer(_) => return input.len(),
                State::Request(searched) => match whole_head(rest, searched) {
                    Some(len) => {
                        self.head(len, &input[used..]);
                        len.min(input.len() - used)
                    }
                    None => 0,
                },
                State::Body(call, body) => {
                    let there = rest.len().min(call.body - body.len());
                    body.extend_from_slice(&rest[..there]);
                    self.answer();
                    there
                }
                State::Open(echo) => match echo.step(rest, &mut self.out, limits) {
                    // The client sees a lost connection: the end of the stream without a close
                    // frame.
                    Ok(Step::Taken(_)) if echo.left == Some(0) => {
                        self.state = State::Ended;
                        return input.len();
                    }
                    Ok(Step::Taken(n)) => n,
                    Ok(Step::Closed) => {
                        self.state = State::Ended;
                        return input.len();
                    }
                    Err(violation) => {
                        self.close(violation.close_code(), &violation.to_string());
                        return input.len();
                    }
                },
            };
            if taken == 0 {
                return used;
            }
            used += taken;
        }
    }

    /// Parses the head at the start of `input`, and answers it if that is the whole request.
    fn head(&mut self, len: usize, input: &[u8]) {
        let head = input.get(..len).filter(|_| len <= HEAD_MAX);
        let out = self.out.tail();
        match head.map_or(Err(Refusal::Bad), request::judge) {
            Ok(RequestKind::Socket(accepted)) => {
                accepted.write(out);
                let left = accepted.drop_after;
                let codec = accepted.compression.map(|answer| answer.codec());
                self.state = State::Open(Echo { left, codec, ..Echo::default() });
            }
            Ok(RequestKind::Http(call)) => {
                if call.waits && call.body > 0 {
                    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.state = State::Body(Box::new(call), Vec::new());
                self.answer();
            }
            Err(refusal) => {
                refusal.write(out, input.starts_with(b"HEAD "));
                self.state = State::Ended;
            }
        }
    }

    /// Answers over HTTP, if the body of the request has arrived.
    fn answer(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Body(call, body) if body.len() == call.body => {
                match call.answer(body, self.out.tail()) {
                    Some(drip) => State::Answer(Box::new(drip)),
                    None => State::Ended,
                }
            }
            other => other,
        };
    }

    /// Produces the output that is due. Called when [`Conn::deadline`] has passed, and after every
    /// other call: when the client has read, output continues.
    pub(super) fn pump(&mut self, now: Instant) {
        if let State::Answer(drip) = &mut self.state
            && !drip.pour(now, &mut self.out)
        {
            self.state = State::Ended;
        }
    }

    /// When more of a response is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Answer(drip) => drip.deadline(self.out.len()),
            _ => None,
        }
    }

    /// Whether [`Conn::pump`] has to be called as soon as the kernel takes bytes.
    pub(super) fn is_hungry(&self) -> bool {
        matches!(&self.state, State::Answer(drip) if drip.is_hungry(self.out.len()))
    }

    /// Queues a close frame, the last frame.
    fn close(&mut self, code: u16, reason: &str) {
        send(&mut self.out, Opcode::Close, &CloseFrame::new(code, reason).payload());
        self.state = State::Ended;
    }

    /// The server stops.
    pub(super) fn go_away(&mut self) {
        match self.state {
            State::Open(_) => self.close(1001, ""),
            _ => self.state = State::Ended,
        }
    }

    pub(super) fn outgoing(&self) -> &[u8] {
        self.out.pending()
    }

    pub(super) fn sent(&mut self, n: usize) {
        self.out.sent(n);
    }

    /// Whether the request is complete, and the WebSocket or the response is not.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_) | State::Answer(_))
    }

    /// Whether nothing will be sent after [`Conn::outgoing`].
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

/// The length of the head at the start of `input`, once its end has arrived or it is too long.
fn whole_head(input: &[u8], searched: &mut usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    if let Some(at) = input[from..].windows(4).position(|w| w == b"\r\n\r\n") {
        return Some(from + at + 4);
    }
    *searched = input.len();
    (input.len() > HEAD_MAX).then_some(input.len())
}

/// The open WebSocket: each message is sent back.
#[derive(Debug, Default)]
struct Echo {
    /// A message that is not in one piece of input.
    message: Option<Assembly>,
    /// The missing part of the current data frame; the bytes before are in `message` already.
    rest: Option<Rest>,
    /// How many messages are left until the connection is cut, if it is to be.
    left: Option<u64>,
    /// The compression, if it was agreed on.
    codec: Option<Codec>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    missing: usize,
    fin: bool,
    key: [u8; 4],
    /// How many bytes of the frame have arrived, modulo 4.
    phase: usize,
}

enum Step {
    /// This many bytes were taken; 0 means that more are needed.
    Taken(usize),
    Closed,
}

impl Echo {
    /// Takes one frame, or the part of it that is there.
    fn step(
        &mut self,
        input: &mut [u8],
        out: &mut SendBuf,
        limits: &Limits,
    ) -> Result<Step, Violation> {
        if let Some(rest) = self.rest.take() {
            return self.piece(input, 0, rest, out, limits);
        }
        let [b, behind @ ..] = &*input else { return Ok(Step::Taken(0)) };
        let (fin, opcode, is_compressed) = match self.codec {
            None => frame::first(*b).map(|(fin, opcode)| (fin, opcode, false))?,
            Some(_) => frame::first_or_compressed(*b)?,
        };
        let room = self.room(opcode, is_compressed, limits)?;
        let Some((size, len)) = frame::length(behind, opcode, true, room as u64)? else {
            return Ok(Step::Taken(0));
        };
        let Some(&[a, b, c, d]) = input.get(size..size + 4) else { return Ok(Step::Taken(0)) };
        // `len` is at most `room`, which is a `usize`.
        let (start, len) = (size + 4, len as usize);
        let key = [a, b, c, d];
        let whole = input.len() - start >= len;
        let is_alone = fin && opcode != Opcode::Continuation && !is_compressed;
        if opcode.is_control() || (whole && is_alone) {
            let Some(payload) = input.get_mut(start..start + len) else {
                return Ok(Step::Taken(0));
            };
            mask::apply(payload, key, 0);
            self.count(opcode);
            return Ok(match answer(opcode, payload, out)? {
                true => Step::Taken(start + len),
                false => Step::Closed,
            });
        }
        let new = || Assembly::new(opcode, is_compressed);
        self.message.get_or_insert_with(new).frame(limits)?;
        self.piece(input, start, Rest { missing: len, fin, key, phase: 0 }, out, limits)
    }

    /// A frame is complete; counts the message, if it is one.
    fn count(&mut self, opcode: Opcode) {
        if !opcode.is_control() {
            self.left = self.left.map(|n| n.saturating_sub(1));
        }
    }

    /// How many bytes a frame that starts here may have, if it may start here (§5.4).
    fn room(
        &self,
        opcode: Opcode,
        is_compressed: bool,
        limits: &Limits,
    ) -> Result<usize, Violation> {
        match (opcode, &self.message) {
            (Opcode::Continuation, None) => Err(Violation::ContinuationFirst),
            (Opcode::Continuation, Some(message)) => Ok(message.room(limits)),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::MessageInMessage),
            _ if is_compressed => Ok(most_compressed(limits.message)),
            _ => Ok(limits.message),
        }
    }

    /// Takes the part of a data frame that is there, from `input[start..]` on.
    fn piece(
        &mut self,
        input: &mut [u8],
        start: usize,
        rest: Rest,
        out: &mut SendBuf,
        limits: &Limits,
    ) -> Result<Step, Violation> {
        let Rest { missing, fin, key, phase } = rest;
        let there = missing.min(input.len() - start);
        let piece = &mut input[start..start + there];
        mask::apply(piece, key, phase);
        let missing = missing - there;
        let is_last = missing == 0 && fin;
        match (&mut self.message, &mut self.codec) {
            (Some(message), Some(codec)) if message.compressed.is_some() => {
                message.inflate(codec, piece, limits, is_last)?;
            }
            (Some(message), _) => message.push(piece, missing)?,
            (None, _) => {}
        }
        if missing > 0 {
            self.rest = Some(Rest { missing, fin, key, phase: (phase + there) % 4 });
        } else if fin && let Some(message) = self.message.take() {
            self.count(Opcode::Text);
            // A compressed message is sent back compressed.
            let codec = self.codec.as_mut().filter(|_| message.compressed.is_some());
            match message.finish()? {
                Message::Text(text) => send_back(codec, out, Opcode::Text, text.as_bytes()),
                Message::Binary(data) => send_back(codec, out, Opcode::Binary, &data),
            }
        }
        Ok(Step::Taken(start + there))
    }
}

/// Answers a complete frame; returns whether the connection stays open.
fn answer(opcode: Opcode, payload: &[u8], out: &mut SendBuf) -> Result<bool, Violation> {
    match opcode {
        Opcode::Text if std::str::from_utf8(payload).is_err() => return Err(Violation::NotUtf8),
        Opcode::Ping => send(out, Opcode::Pong, payload),
        Opcode::Pong => {}
        Opcode::Close => {
            let frame = CloseFrame::decode(payload)?;
            let echo = CloseFrame { code: frame.code, reason: String::new() };
            send(out, Opcode::Close, &echo.payload());
            return Ok(false);
        }
        _ => send(out, opcode, payload),
    }
    Ok(true)
}

/// Sends a message back, compressed if that makes it shorter.
#[cfg(feature = "deflate")]
fn send_back(codec: Option<&mut Codec>, out: &mut SendBuf, opcode: Opcode, payload: &[u8]) {
    let Some(codec) = codec else { return send(out, opcode, payload) };
    let is_shorter = codec.deflate(payload, |made| {
        frame::encode_compressed(out.tail(), opcode, made, None);
    });
    if !is_shorter {
        send(out, opcode, payload);
    }
}

#[cfg(not(feature = "deflate"))]
fn send_back(_: Option<&mut Codec>, out: &mut SendBuf, opcode: Opcode, payload: &[u8]) {
    send(out, opcode, payload);
}

fn send(out: &mut SendBuf, opcode: Opcode, payload: &[u8]) {
    let out = out.tail();
    out.reserve(10 + payload.len());
    frame::header(out, true, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::header(&mut out, true, Opcode::Text, payload.len(), 0x80);
        out[0] = first;
        out.extend_from_slice(&KEY);
        mask::append(&mut out, payload, KEY);
        out
    }

    fn open() -> Conn {
        Conn { state: State::Open(Echo::default()), out: SendBuf::default() }
    }

    /// The server's output, which is the same whether `bytes` arrive whole or one by one.
    fn exchange(bytes: &[u8], limits: &Limits) -> (Vec<u8>, bool) {
        let mut whole = open();
        let used = whole.receive(&mut bytes.to_vec(), limits);
        assert_eq!(used, bytes.len());
        let (mut single, mut tail) = (open(), Vec::new());
        for &b in bytes {
            tail.push(b);
            let used = single.receive(&mut tail, limits);
            tail.drain(..used);
        }
        assert_eq!(single.outgoing(), whole.outgoing(), "byte by byte");
        assert_eq!(single.has_ended(), whole.has_ended());
        (whole.outgoing().to_vec(), whole.has_ended())
    }

    #[test]
    fn messages_come_back_with_their_type_and_put_together() {
        let bytes = [
            masked(0x81, b"Hello"),
            masked(0x01, b"a\xC3"),
            masked(0x89, b"ping"),
            masked(0x00, b""),
            masked(0x8A, b"unasked"),
            masked(0x80, b"\xA4z"),
            masked(0x82, &[0xFF; 300]),
        ]
        .concat();
        let mut want = b"\x81\x05Hello\x8A\x04ping\x81\x04a\xC3\xA4z\x82\x7E\x01\x2C".to_vec();
        want.extend_from_slice(&[0xFF; 300]);
        assert_eq!(exchange(&bytes, &Limits::default()), (want, false));
    }

    #[test]
    fn a_connection_can_be_cut_after_some_messages() {
        let echo = Echo { left: Some(2), ..Echo::default() };
        let mut conn = Conn { state: State::Open(echo), out: SendBuf::default() };
        let (part, ping) = (masked(0x01, b"a"), masked(0x89, b""));
        let mut input =
            [part, ping, masked(0x80, b"b"), masked(0x82, b"c"), masked(0x81, b"late")].concat();
        conn.receive(&mut input, &Limits::default());
        assert_eq!(conn.outgoing(), b"\x8A\0\x81\x02ab\x82\x01c");
        assert!(conn.has_ended());
    }

    #[test]
    fn a_close_is_echoed_and_is_the_last_frame() {
        let limits = Limits::default();
        let close = |payload: &[u8]| [masked(0x88, payload), masked(0x81, b"late")].concat();
        assert_eq!(exchange(&close(b""), &limits), (b"\x88\x00".to_vec(), true));
        let got = exchange(&close(b"\x0F\xA1bye"), &limits);
        assert_eq!(got, (b"\x88\x02\x0F\xA1".to_vec(), true));
    }

    #[test]
    fn broken_frames_are_refused_with_their_code() {
        let limits = Limits { message: 1000, fragments: 3, ..Limits::default() };
        for (bytes, code) in [
            (b"\x81\x05Hello".to_vec(), 1002),
            (masked(0xC1, b"x"), 1002),
            (masked(0x83, b"x"), 1002),
            (masked(0x09, b"x"), 1002),
            (masked(0x80, b"x"), 1002),
            ([masked(0x01, b"x"), masked(0x81, b"x")].concat(), 1002),
            (masked(0x88, b"\x03"), 1002),
            (masked(0x88, b"\x03\xED"), 1002),
            (masked(0x88, b"\x03\xE8\xFF"), 1007),
            (masked(0x81, b"\xFF"), 1007),
            ([masked(0x01, b"\xC3"), masked(0x80, b"")].concat(), 1007),
            (masked(0x82, &[0; 1001]), 1009),
            ([masked(0x02, &[0; 600]), masked(0x80, &[0; 401])].concat(), 1009),
            ([masked(0x02, b""), masked(0, b""), masked(0, b""), masked(0, b"")].concat(), 1009),
        ] {
            let (out, over) = exchange(&bytes, &limits);
            assert!(over, "{bytes:x?}");
            assert_eq!((out[0], &out[2..4]), (0x88, &u16::to_be_bytes(code)[..]), "{bytes:x?}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_refused_at_the_limit() {
        let mut conn = Conn::default();
        let mut head = b"GET / HTTP/1.1\r\nX: ".to_vec();
        head.resize(HEAD_MAX, b'a');
        assert_eq!(conn.receive(&mut head, &Limits::default()), 0);
        assert!(conn.outgoing().is_empty());
        head.push(b'a');
        conn.receive(&mut head, &Limits::default());
        assert!(conn.outgoing().starts_with(b"HTTP/1.1 400 ") && conn.has_ended());
    }
}
