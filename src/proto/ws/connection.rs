//! An open connection: the state machine of RFC 6455 after the 101 response. All transitions are
//! in this file.

use std::borrow::Cow;
use std::mem;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Violation;
use super::close::{CloseFrame, Misuse};
use super::deflate::Codec;
use super::frame::{self, CONTROL_MAX, Opcode};
use super::message::{self, Assembly, Lent, Message, Rest, Text, most_compressed};
use super::stats::{Stats, Tally};
use crate::limits::Limits;
use crate::proto::buf::SendBuf;
use crate::proto::pace::Pace;
use crate::proto::timer::{Timer, Timers};
use crate::proto::{Closed, Context, Direction, Event, Failure, Lost, Note, Settings, Space};

#[derive(Debug)]
enum State {
    /// Messages are sent and received.
    Open,
    /// The peer has sent its close frame. Our answer waits for the program, which may still send.
    PeerClosed(Box<CloseFrame>),
    /// Our close frame is queued or sent; `got` is the peer's close frame.
    Closing { got: Option<Box<CloseFrame>> },
    /// The peer has broken a rule, and the session has returned the final event. Our close frame
    /// waits for `answer_close`, and the program may still send.
    Failing(Violation),
    /// The session has returned the final event.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    /// A message that is not whole in one input.
    message: Option<Box<Assembly>>,
    /// How many bytes of the last input were not taken, and so come again.
    left: usize,
    out: SendBuf,
    /// Payload and mask key of the pong for the latest ping, while too much is queued.
    late_pong: Option<Box<(Vec<u8>, [u8; 4])>>,
    pace: Pace,
    /// The position behind the last frame that the program has queued, counted as `pace` does.
    accepted: u64,
    /// The position behind a keep-alive ping that was not sent yet.
    ping: Option<NonZeroU64>,
    timers: Timers,
    /// In nanoseconds, which take half the memory of a `Duration`; up to 584 years.
    ping_interval: Option<NonZeroU64>,
    hold_close: bool,
    limits: Arc<Limits>,
    // Boxed: few connections keep notes, and all have this field.
    #[allow(clippy::box_collection)]
    notes: Option<Box<Vec<Note>>>,
    /// `Some` if both sides agreed on compression.
    codec: Option<Codec>,
    tally: Tally,
}

/// The contents of the first byte of a data frame.
#[derive(Clone, Copy)]
struct First {
    fin: bool,
    opcode: Opcode,
    /// Whether a compressed message starts here.
    is_compressed: bool,
}

/// The result of one frame, or of the part of it that has come.
enum Step<'b> {
    /// This many bytes were taken; more are needed.
    More(usize),
    /// This many bytes were taken; there is no event.
    Skip(usize),
    Event(usize, Event<'b>),
}

impl Connection {
    /// `out` holds the bytes of the request that are still to be sent.
    pub(crate) fn new(
        settings: Settings,
        now: Instant,
        out: SendBuf,
        codec: Option<Codec>,
    ) -> Connection {
        let Settings { limits, ping_interval, hold_close, trace } = settings;
        let tally = Tally::new(out.len());
        let mut connection = Connection {
            state: State::Open,
            message: None,
            left: 0,
            out,
            late_pong: None,
            pace: Pace::default(),
            accepted: 0,
            ping: None,
            timers: Timers::default(),
            ping_interval: ping_interval
                .and_then(|interval| nanoseconds(interval.max(limits.ping_floor))),
            hold_close,
            limits,
            notes: trace.then(Box::default),
            codec,
            tally,
        };
        connection.sign_of_life(now);
        connection
    }

    pub(crate) fn receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        if let Some((used, lent)) = self.receive_lent(cx.now, input) {
            return (used, Some(Message::from(lent).into()));
        }
        if let Some((used, message)) = self.receive_inflated(cx.now, input) {
            return (used, Some(message.into()));
        }
        self.receive_any(cx, input)
    }

    /// As `receive`, without its fast paths.
    fn receive_any<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        if input.len() > self.left {
            self.sign_of_life(cx.now);
        }
        let (used, event) = self.steps(cx, input);
        self.left = input.len() - used;
        self.count(used, event.as_ref());
        (used, event)
    }

    /// Counts the bytes that were taken, and the message that they complete, if any.
    fn count(&mut self, bytes: usize, event: Option<&Event<'_>>) {
        self.tally.bytes_in += bytes as u64;
        if matches!(event, Some(Event::Text(_) | Event::Binary(_))) {
            self.tally.messages_in += 1;
        }
    }

    /// The counters of this connection.
    pub(crate) fn stats(&self) -> Stats {
        self.tally.stats(self.pace.left())
    }

    /// As [`Connection::receive`], for a whole, unfragmented and uncompressed message at the start
    /// of the input, which most are. `None`: the caller has to try [`Connection::receive_inflated`]
    /// and then [`Connection::receive`], which would return the same for such a message.
    #[inline(always)]
    pub(crate) fn receive_lent<'b>(
        &mut self,
        now: Instant,
        input: &'b [u8],
    ) -> Option<(usize, Lent<'b>)> {
        if !self.is_between() {
            return None;
        }
        let (used, lent) = message::whole(input, self.limits.message)?;
        self.received(now, input.len(), used);
        Some((used, lent))
    }

    /// Whether a message may begin, and no notes of its frames are kept.
    fn is_between(&self) -> bool {
        self.message.is_none() && self.notes.is_none() && !self.discards_input()
    }

    /// Records a message in the first `used` of `len` bytes of input.
    fn received(&mut self, now: Instant, len: usize, used: usize) {
        if len > self.left {
            self.sign_of_life(now);
        }
        self.left = len - used;
        self.tally.bytes_in += used as u64;
        self.tally.messages_in += 1;
    }

    /// As [`Connection::receive_lent`], for a compressed message. If the message breaks a rule,
    /// `receive` reports that.
    #[cfg(feature = "deflate")]
    pub(crate) fn receive_inflated(
        &mut self,
        now: Instant,
        input: &[u8],
    ) -> Option<(usize, Message<'static>)> {
        if self.codec.is_none() || !self.is_between() {
            return None;
        }
        let codec = self.codec.as_mut()?;
        let (opcode, used, payload) = message::whole_compressed(input, self.limits.message)?;
        let mut message = Assembly::new(opcode, true);
        let inflated = message.inflate(codec, payload, &self.limits, true);
        let len = message.data.len();
        match inflated.and_then(|()| message.finish()) {
            Ok(message) => {
                self.tally.compressed(payload.len(), len);
                self.received(now, input.len(), used);
                Some((used, message))
            }
            Err(violation) => {
                codec.fail(violation);
                None
            }
        }
    }

    #[cfg(not(feature = "deflate"))]
    pub(crate) fn receive_inflated(
        &mut self,
        _: Instant,
        _: &[u8],
    ) -> Option<(usize, Message<'static>)> {
        None
    }

    pub(crate) fn receive_eof(&mut self) -> Option<Event<'static>> {
        let is_whole = self.unsent() == 0;
        let closed = match mem::replace(&mut self.state, State::Ended) {
            State::Open | State::Closing { got: None } => Closed::Lost(Lost::Eof),
            State::PeerClosed(_) | State::Closing { got: Some(_) } if !is_whole => {
                Closed::Lost(Lost::Unsent)
            }
            State::PeerClosed(frame) | State::Closing { got: Some(frame) } => Closed::Clean(*frame),
            State::Failing(_) | State::Ended => {
                self.timers.clear();
                return None;
            }
        };
        Some(self.end(closed))
    }

    pub(crate) fn space(&mut self) -> Option<Space<'_>> {
        let message = self.message.as_mut()?;
        let Rest { missing, .. } = message.rest?;
        if message.compressed.is_some() {
            return None;
        }
        // The end of a large message is read in place, too, although another message may follow it.
        if missing.max(message.data.len()) < self.limits.in_place {
            return None;
        }
        message.reserve(1, missing - 1);
        let want = missing.min(message.data.capacity() - message.data.len());
        Some(Space { buf: &mut message.data, want })
    }

    pub(crate) fn filled(&mut self, cx: &mut Context<'_>, n: usize) -> Option<Event<'static>> {
        self.sign_of_life(cx.now);
        let message = self.message.as_mut()?;
        let mut rest = message.rest?;
        if message.compressed.is_some() {
            // `space` returns nothing for such a message.
            return None;
        }
        rest.missing = rest.missing.saturating_sub(n);
        // `finish` checks the last bytes of a message. Within a fragment, the check waits for more
        // bytes, which may come at once.
        let ends_fragment = rest.missing == 0 && !rest.fin;
        if ends_fragment && let Err(violation) = message.look() {
            return Some(self.fail(cx, violation));
        }
        let event = match self.continue_with(rest) {
            Ok(event) => event,
            Err(violation) => Some(self.fail(cx, violation)),
        };
        self.count(n, event.as_ref());
        event
    }

    pub(crate) fn drained(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        let violation = self.message.as_mut()?.look().err()?;
        Some(self.fail(cx, violation))
    }

    #[inline]
    pub(crate) fn outgoing(&self) -> &[u8] {
        self.out.pending()
    }

    #[inline]
    pub(crate) fn sent(&mut self, now: Instant, n: usize, taken: usize) {
        let n = n.min(self.out.len());
        self.out.sent(n);
        let timed = self.is_timed();
        let moved = self.pace.sent(now, n, taken, self.out.len(), self.limits.stall);
        if timed || self.pace.is_blocked() {
            self.time(now, taken, moved);
        }
        if self.room_for_pong()
            && self.may_send()
            && let Some(pong) = self.late_pong.take()
        {
            let (payload, key) = *pong;
            self.encode(Opcode::Pong, &payload, key);
        }
    }

    /// Whether a time limit may start or end when the kernel takes bytes.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.ping.is_some() || self.pace.is_blocked() || matches!(self.state, State::Closing { .. })
    }

    /// Starts the time limits that waited for bytes to be sent. The kernel took `taken` bytes;
    /// `moved` states whether the peer made room for them.
    #[cold]
    fn time(&mut self, now: Instant, taken: usize, moved: bool) {
        if matches!(self.state, State::Ended) {
            return;
        }
        if moved {
            self.sign_of_life(now);
        }
        let stall = self.timers.get(Timer::Stall);
        self.timers.set(
            Timer::Stall,
            match self.out.len() {
                0 => None,
                _ if taken > 0 || stall.is_none() => now.checked_add(self.limits.stall),
                _ => stall,
            },
        );
        let reaches = self.pace.reaches(now, self.limits.stall);
        let is_open = matches!(self.state, State::Open);
        if self.ping.take_if(|end| end.get() <= self.pace.left()).is_some() && is_open {
            self.timers.set(Timer::Ping, None);
            self.timers.set(Timer::Pong, reaches.checked_add(self.limits.pong));
        }
        // No frame follows our close frame, so it was sent when the buffer is empty.
        let is_closing = matches!(self.state, State::Closing { .. });
        if is_closing && self.out.len() == 0 && self.timers.get(Timer::Close).is_none() {
            self.timers.set(Timer::Close, reaches.checked_add(self.limits.close));
        }
    }

    /// See [`Session::unsent`](crate::proto::Session::unsent).
    pub(crate) fn unsent(&self) -> usize {
        let waits = self.accepted.saturating_sub(self.pace.left());
        // They are all in the buffer.
        (waits as usize).min(self.out.len())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let Some(codec) = &self.codec else { return self.timers.next() };
        self.timers.next().into_iter().chain(codec.deadline()).min()
    }

    /// See [`Session::deadline_unread`](crate::proto::Session::deadline_unread).
    #[cfg(feature = "net")]
    pub(crate) fn deadline_unread(&self, paused: bool) -> Option<Instant> {
        let codec = self.codec.as_ref().and_then(Codec::deadline);
        self.timer_unread(paused).into_iter().chain(codec).min()
    }

    /// The earliest deadline of the timers that count while the driver reads nothing.
    #[cfg(feature = "net")]
    fn timer_unread(&self, paused: bool) -> Option<Instant> {
        let counts: &[Timer] = if paused { &[Timer::Close] } else { &[Timer::Close, Timer::Stall] };
        self.timers.first_of(counts)
    }

    /// The deadline of [`Connection::deadline_unread`] has passed. Unused memory is freed whether
    /// the driver reads or not.
    #[cfg(feature = "net")]
    pub(crate) fn on_deadline_unread(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
    ) -> Option<Event<'static>> {
        if self.timer_unread(paused).is_some_and(|at| at <= cx.now) {
            return self.on_deadline(cx);
        }
        self.codec.as_mut()?.on_deadline(cx.now, &self.limits);
        None
    }

    /// Reading has resumed after a pause: restarts the time limits that did not count meanwhile.
    pub(crate) fn read_again(&mut self, now: Instant) {
        self.sign_of_life(now);
        if self.timers.get(Timer::Stall).is_some() {
            self.timers.set(Timer::Stall, now.checked_add(self.limits.stall));
        }
    }

    pub(crate) fn on_deadline(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        if let Some(codec) = &mut self.codec {
            codec.on_deadline(cx.now, &self.limits);
        }
        while let Some(timer) = self.timers.expired(cx.now) {
            match timer {
                // The limit for the pong starts when the ping was sent. While a ping is waiting, no
                // other is queued.
                Timer::Ping if self.ping.is_none() => {
                    self.frame(cx, Opcode::Ping, &[]);
                    self.tally.ping(cx.now, &[]);
                    self.ping = NonZeroU64::new(self.queued());
                }
                Timer::Ping => {}
                Timer::Close => return self.close_is_due(cx),
                Timer::Pong | Timer::Stall => return self.lose(timer),
            }
        }
        None
    }

    pub(crate) fn send(
        &mut self,
        cx: &mut Context<'_>,
        opcode: Opcode,
        payload: &[u8],
    ) -> Result<(), Misuse> {
        if !self.may_send() {
            return Err(Misuse::NotOpen);
        }
        if opcode.is_control() && payload.len() > CONTROL_MAX {
            return Err(Misuse::LongPing);
        }
        if self.out.len() > self.limits.send_queue {
            return Err(Misuse::Full);
        }
        self.frame(cx, opcode, payload);
        self.accepted = self.queued();
        if !opcode.is_control() {
            self.tally.messages_out += 1;
        } else if opcode == Opcode::Ping {
            self.tally.ping(cx.now, payload);
        }
        Ok(())
    }

    /// Queues a message, compressed if both sides agreed on that and it becomes shorter.
    #[inline]
    pub(crate) fn send_message(
        &mut self,
        cx: &mut Context<'_>,
        opcode: Opcode,
        payload: &[u8],
    ) -> Result<(), Misuse> {
        #[cfg(feature = "deflate")]
        if self.codec.is_some() && self.send_compressed(cx, opcode, payload) {
            return Ok(());
        }
        self.send(cx, opcode, payload)
    }

    /// Starts the closing handshake, or answers the peer's close frame. If the peer broke a rule,
    /// sends the code of that rule instead of `frame`.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, frame: &CloseFrame) -> Result<(), Misuse> {
        frame.check()?;
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Open => State::Closing { got: None },
            State::PeerClosed(got) => State::Closing { got: Some(got) },
            State::Failing(violation) => {
                self.violation_frame(cx, violation);
                return Ok(());
            }
            other => {
                self.state = other;
                return Err(Misuse::NotOpen);
            }
        };
        self.close_frame(cx, frame);
        Ok(())
    }

    /// Sends the close frame that is held back, if there is one.
    pub(crate) fn answer_close(&mut self, cx: &mut Context<'_>) {
        let code = match &self.state {
            State::PeerClosed(got) => got.code,
            State::Failing(_) => None,
            _ => return,
        };
        // Cannot fail: the state allows it, and the code was checked when the frame came.
        let _ = self.close(cx, &CloseFrame { code, reason: String::new() });
    }

    /// The position behind the output, counted as [`Pace::left`] does.
    #[inline]
    fn queued(&self) -> u64 {
        self.pace.left() + self.out.len() as u64
    }

    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        matches!(self.state, State::Open | State::PeerClosed(_) | State::Failing(_))
    }

    /// Whether everything that the peer still sends is discarded.
    #[inline]
    pub(crate) fn discards_input(&self) -> bool {
        !matches!(self.state, State::Open | State::Closing { got: None })
    }

    /// Whether the peer may send compressed messages.
    #[cfg(feature = "net")]
    pub(crate) fn is_decoding(&self) -> bool {
        self.codec.is_some()
    }

    /// See [`Session::unfinished`](crate::proto::Session::unfinished).
    #[cfg(feature = "net")]
    pub(crate) fn unfinished(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.data.capacity())
    }

    #[inline]
    pub(crate) fn buffered(&self) -> usize {
        self.out.len()
    }

    /// The bytes that wait to be sent, and their memory.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn out(&mut self) -> &mut SendBuf {
        &mut self.out
    }

    pub(crate) fn notes(&mut self) -> Option<&mut Vec<Note>> {
        self.notes.as_deref_mut()
    }

    // Receiving.

    fn steps<'b>(&mut self, cx: &mut Context<'_>, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let mut used = 0;
        loop {
            match self.step(cx, &input[used..]) {
                Ok(Step::More(n)) => return (used + n, None),
                Ok(Step::Skip(n)) => used += n,
                Ok(Step::Event(n, event)) => return (used + n, Some(event)),
                Err(violation) => return (input.len(), Some(self.fail(cx, violation))),
            }
        }
    }

    fn step<'b>(&mut self, cx: &mut Context<'_>, input: &'b [u8]) -> Result<Step<'b>, Violation> {
        if self.discards_input() {
            return Ok(Step::More(input.len()));
        }
        if let Some(rest) = self.message.as_ref().and_then(|message| message.rest) {
            return self.rest_of_frame(input, rest);
        }
        let [b, behind @ ..] = input else { return Ok(Step::More(0)) };
        let (fin, opcode, is_compressed) = match self.codec {
            None => {
                let (fin, opcode) = frame::first(*b)?;
                (fin, opcode, false)
            }
            Some(_) => frame::first_or_compressed(*b)?,
        };
        let room = self.room(opcode, is_compressed)?;
        let Some((size, len)) = frame::length(behind, opcode, false, room as u64)? else {
            return Ok(Step::More(0));
        };
        // `len` fits: it is at most `room`, which is a usize.
        let (payload, len) = (&input[size..], len as usize);
        if !opcode.is_control() {
            let first = First { fin, opcode, is_compressed };
            return self.data(first, size, len, payload);
        }
        match payload.get(..len) {
            None => Ok(Step::More(0)),
            Some(payload) => self.control(cx, opcode, size + len, payload),
        }
    }

    /// How many bytes a frame that starts here may have; an error if it must not start here (§5.4).
    fn room(&self, opcode: Opcode, is_compressed: bool) -> Result<usize, Violation> {
        match (opcode, &self.message) {
            (Opcode::Continuation, None) => Err(Violation::ContinuationFirst),
            (Opcode::Continuation, Some(message)) => Ok(message.room(&self.limits)),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::MessageInMessage),
            (Opcode::Text | Opcode::Binary, None) if is_compressed => {
                Ok(most_compressed(self.limits.message))
            }
            (Opcode::Text | Opcode::Binary, None) => Ok(self.limits.message),
            // `frame::length` bounds control frames.
            _ => Ok(usize::MAX),
        }
    }

    fn data<'b>(
        &mut self,
        first: First,
        size: usize,
        len: usize,
        payload: &'b [u8],
    ) -> Result<Step<'b>, Violation> {
        let First { fin, opcode, is_compressed } = first;
        let there = payload.len().min(len);
        let (payload, missing) = (&payload[..there], len - there);
        if there == 0 && self.message.is_none() && (1..self.limits.in_place).contains(&len) {
            // Many servers write the header separately: the next read may bring the whole payload.
            return Ok(Step::More(0));
        }
        self.note(Direction::In, fin, opcode, len, payload);
        if fin && opcode != Opcode::Continuation && missing == 0 && !is_compressed {
            return Ok(Step::Event(size + len, lend(opcode, payload)?));
        }
        let new = || Box::new(Assembly::new(opcode, is_compressed));
        self.message.get_or_insert_with(new).frame(&self.limits)?;
        let rest = Rest { missing, fin };
        self.piece(payload, rest)?;
        self.after_piece(size + there, rest)
    }

    /// Takes `piece` of a frame; `rest` is the part of it that is still missing.
    fn piece(&mut self, piece: &[u8], rest: Rest) -> Result<(), Violation> {
        let Some(message) = &mut self.message else { return Ok(()) };
        match &mut self.codec {
            Some(codec) if message.compressed.is_some() => {
                message.inflate(codec, piece, &self.limits, rest.missing == 0 && rest.fin)
            }
            _ => message.push(piece, rest.missing),
        }
    }

    fn rest_of_frame<'b>(&mut self, input: &'b [u8], rest: Rest) -> Result<Step<'b>, Violation> {
        let there = input.len().min(rest.missing);
        let rest = Rest { missing: rest.missing - there, ..rest };
        self.piece(&input[..there], rest)?;
        self.after_piece(there, rest)
    }

    /// The message got `used` bytes of input; `rest` is the part of its frame that is still
    /// missing.
    fn after_piece<'b>(&mut self, used: usize, rest: Rest) -> Result<Step<'b>, Violation> {
        let waits = rest.missing > 0;
        Ok(match self.continue_with(rest)? {
            Some(event) => Step::Event(used, event),
            None if waits => Step::More(used),
            None => Step::Skip(used),
        })
    }

    fn continue_with(&mut self, rest: Rest) -> Result<Option<Event<'static>>, Violation> {
        let Some(unfinished) = &mut self.message else { return Ok(None) };
        unfinished.rest = (rest.missing > 0).then_some(rest);
        let is_whole = rest.missing == 0 && rest.fin;
        let Some(message) = self.message.take_if(|_| is_whole) else { return Ok(None) };
        if let Some(compressed) = message.compressed {
            let opcode = if message.is_text() { Opcode::Text } else { Opcode::Binary };
            self.tally.compressed(compressed, message.data.len());
            self.note_message(Direction::In, opcode, compressed, &message.data);
        }
        Ok(Some(message.finish()?.into()))
    }

    fn control<'b>(
        &mut self,
        cx: &mut Context<'_>,
        opcode: Opcode,
        used: usize,
        payload: &'b [u8],
    ) -> Result<Step<'b>, Violation> {
        self.note(Direction::In, true, opcode, payload.len(), payload);
        match opcode {
            Opcode::Ping => {
                self.answer_ping(cx, payload);
                Ok(Step::Skip(used))
            }
            Opcode::Pong => {
                self.tally.pong(cx.now, payload);
                Ok(Step::Event(used, Event::Pong(Cow::Borrowed(payload))))
            }
            _ => {
                let frame = CloseFrame::decode(payload)?;
                self.peer_close(cx, frame.clone());
                Ok(Step::Event(used, Event::Closing(frame)))
            }
        }
    }

    /// §5.5.3: answers every ping; while too much is queued, only the latest. After our close
    /// frame, no pong may be sent.
    fn answer_ping(&mut self, cx: &mut Context<'_>, payload: &[u8]) {
        if !self.may_send() {
            return;
        }
        if self.room_for_pong() {
            self.late_pong = None;
            self.frame(cx, Opcode::Pong, payload);
        } else {
            self.late_pong = Some(Box::new((payload.into(), cx.random.key())));
        }
    }

    /// With a limit of 0, a pong is sent when nothing else is queued.
    fn room_for_pong(&self) -> bool {
        self.out.len() < self.limits.pong_queue.max(1)
    }

    fn peer_close(&mut self, cx: &mut Context<'_>, got: CloseFrame) {
        self.message = None;
        self.timers.set(Timer::Ping, None);
        self.timers.set(Timer::Pong, None);
        self.ping = None;
        match self.state {
            State::Open => {
                self.timers.set(Timer::Close, cx.now.checked_add(self.limits.close));
                self.state = State::PeerClosed(Box::new(got));
                if !self.hold_close {
                    self.answer_close(cx);
                }
            }
            _ => self.state = State::Closing { got: Some(Box::new(got)) },
        }
    }

    /// The peer is alive: a keep-alive ping is due only after an interval without received bytes.
    #[inline]
    pub(crate) fn sign_of_life(&mut self, now: Instant) {
        if let (Some(interval), State::Open) = (self.ping_interval, &self.state) {
            let interval = Duration::from_nanos(interval.get());
            self.timers.set(Timer::Ping, now.checked_add(interval));
            self.timers.set(Timer::Pong, None);
        }
    }

    // Sending.

    fn frame(&mut self, cx: &mut Context<'_>, opcode: Opcode, payload: &[u8]) {
        self.encode(opcode, payload, cx.random.key());
    }

    fn encode(&mut self, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
        frame::encode(self.out.tail(), true, opcode, payload, key);
        self.note(Direction::Out, true, opcode, payload.len(), payload);
    }

    /// Queues a message compressed (RFC 7692 §7.2.1), if it may be sent and becomes shorter.
    #[cfg(feature = "deflate")]
    fn send_compressed(&mut self, cx: &mut Context<'_>, opcode: Opcode, payload: &[u8]) -> bool {
        let may_send = self.may_send() && self.out.len() <= self.limits.send_queue;
        let is_due = |codec: &&mut Codec| may_send && codec.compresses(payload.len());
        let Some(codec) = self.codec.as_mut().filter(is_due) else { return false };
        let (out, random, is_noted) = (&mut self.out, &mut *cx.random, self.notes.is_some());
        let (mut len, mut start) = (0, Vec::new());
        let is_shorter = codec.deflate(payload, |made| {
            frame::encode_compressed(out.tail(), opcode, made, Some(random.key()));
            len = made.len();
            if is_noted {
                start = made[..len.min(Note::START)].to_vec();
            }
        });
        codec.used(cx.now, &self.limits);
        if is_shorter {
            self.accepted = self.queued();
            self.tally.messages_out += 1;
            self.tally.compressed(len, payload.len());
            self.note(Direction::Out, true, opcode, len, &start);
            self.note_message(Direction::Out, opcode, len, payload);
        }
        is_shorter
    }

    /// Queues our close frame, behind which nothing is sent (§5.5.1).
    fn close_frame(&mut self, cx: &mut Context<'_>, frame: &CloseFrame) {
        self.late_pong = None;
        self.frame(cx, Opcode::Close, &frame.payload());
        // The limit for the peer's answer starts when our frame was sent; until then, `Stall`
        // counts.
        let stall = self.timers.get(Timer::Stall);
        self.timers.clear();
        self.timers.set(Timer::Stall, stall);
        self.ping = None;
    }

    // Ending.

    /// §7.1.7: fails the connection.
    fn fail(&mut self, cx: &mut Context<'_>, violation: Violation) -> Event<'static> {
        let event = self.end(Closed::Failed(Failure::Violation(violation)));
        let sends_close = self.may_send();
        self.state = State::Ended;
        if sends_close && self.hold_close {
            self.state = State::Failing(violation);
            self.timers.set(Timer::Close, cx.now.checked_add(self.limits.close));
        } else if sends_close {
            self.violation_frame(cx, violation);
        }
        event
    }

    fn violation_frame(&mut self, cx: &mut Context<'_>, violation: Violation) {
        self.close_frame(cx, &CloseFrame::new(violation.close_code(), violation.to_string()));
        self.timers.clear();
    }

    fn close_is_due(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        self.answer_close(cx);
        if self.unsent() > 0 && matches!(self.state, State::Closing { .. }) {
            // Our close frame stands behind the unsent bytes: `time` starts its limit later.
            return None;
        }
        let closed = match mem::replace(&mut self.state, State::Ended) {
            State::Closing { got: Some(frame) } => Closed::Clean(*frame),
            State::Closing { got: None } => Closed::Lost(Lost::Timeout(Timer::Close)),
            // The final event has reported a broken rule already.
            _ => return None,
        };
        Some(self.end(closed))
    }

    fn lose(&mut self, timer: Timer) -> Option<Event<'static>> {
        let was_reported = matches!(self.state, State::Failing(_) | State::Ended);
        self.state = State::Ended;
        let event = self.end(Closed::Lost(Lost::Timeout(timer)));
        (!was_reported).then_some(event)
    }

    fn end(&mut self, closed: Closed) -> Event<'static> {
        self.timers.clear();
        self.message = None;
        self.late_pong = None;
        // Without a codec, messages that the program may still send are sent uncompressed.
        self.codec = None;
        Event::Closed(closed)
    }

    fn note(
        &mut self,
        direction: Direction,
        fin: bool,
        opcode: Opcode,
        len: usize,
        payload: &[u8],
    ) {
        if let Some(notes) = &mut self.notes {
            let start = payload[..payload.len().min(Note::START)].to_vec();
            notes.push(Note::Frame { direction, fin, opcode, len, start });
        }
    }

    /// Adds a note of a compressed message, behind the notes of its frames.
    fn note_message(&mut self, direction: Direction, opcode: Opcode, wire: usize, data: &[u8]) {
        if let Some(notes) = &mut self.notes {
            let start = data[..data.len().min(Note::START)].to_vec();
            notes.push(Note::Message { direction, opcode, wire, len: data.len(), start });
        }
    }
}

/// The nanoseconds of an interval, at least one; `None` if it is so long that it never passes.
fn nanoseconds(interval: Duration) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::try_from(interval.as_nanos()).ok()?.max(1))
}

/// The event for a message that is whole in one frame.
fn lend(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Violation> {
    if opcode == Opcode::Binary {
        return Ok(Event::Binary(Cow::Borrowed(payload)));
    }
    let text = std::str::from_utf8(payload).map_err(|_| Violation::NotUtf8)?;
    Ok(Event::Text(Text::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "deflate")]
    use crate::proto::{Agreed, Compression};
    use crate::proto::{Random, Session};

    struct Zero;

    impl Random for Zero {
        fn key(&mut self) -> [u8; 4] {
            [0; 4]
        }
    }

    /// Messages that came in one read show once that the peer is alive, however late they are taken.
    #[test]
    fn only_new_bytes_are_a_sign_of_life() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let ping_interval = Some(60 * second);
        let mut session = Session::opened(Settings { ping_interval, ..Settings::default() }, start);
        for (at, input, alive) in [
            (10, &b"\x81\x02ab\x82\x02cd\x81\x02ef"[..], 10),
            (20, b"\x82\x02cd\x81\x02ef", 10),
            (30, b"\x81\x02ef", 10),
            (40, b"\x81\x02gh", 40),
            (50, b"\x81\x02ij\x81", 50),
            (60, b"\x81\x02kl", 60),
        ] {
            let mut cx = Context { now: start + at * second, random: &mut Zero };
            assert_eq!(session.receive(&mut cx, input).0, 4);
            assert_eq!(session.deadline(), Some(start + (alive + 60) * second), "at {at}");
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_compressed_message_is_counted_and_noted_with_both_lengths() {
        let payload = "a".repeat(300);
        for trace in [false, true] {
            let (now, wanted) = (Instant::now(), Compression::default());
            let settings = Settings { trace, ..Settings::default() };
            let mut session = Session::opened_compressed(settings, now, wanted);
            let (mut wire, mut notes) = (0, Vec::new());
            for (i, opcode) in [Opcode::Text, Opcode::Binary].into_iter().enumerate() {
                let mut cx = Context { now, random: &mut Zero };
                match opcode {
                    Opcode::Text => session.send_text(&mut cx, &payload).unwrap(),
                    _ => session.send_binary(&mut cx, payload.as_bytes()).unwrap(),
                }
                let sent = session.outgoing().to_vec();
                session.sent(now, sent.len());
                // The same from the server: without a mask, whose key is 0.
                let frame = [&[sent[0], sent[1] & 0x7F], &sent[6..]].concat();
                let (used, event) = session.receive(&mut cx, &frame);
                assert!(used == frame.len() && event.is_some());
                wire += 2 * (frame.len() - 2);
                let stats = session.stats().unwrap();
                let (count, plain) = (i as u64 + 1, 600 * (i as u64 + 1));
                assert_eq!((stats.messages_sent, stats.messages_received), (count, count));
                assert_eq!((stats.compressed, stats.plain), (wire as u64, plain));
                for direction in [Direction::Out, Direction::In] {
                    let (wire, start) = (frame.len() - 2, vec![b'a'; Note::START]);
                    notes.push(Note::Message { direction, opcode, wire, len: 300, start });
                }
            }
            let noted = session.notes().map(std::mem::take).unwrap_or_default();
            let is_message = |note: &Note| matches!(note, Note::Message { .. });
            let noted: Vec<_> = noted.into_iter().filter(is_message).collect();
            assert_eq!(noted, if trace { notes } else { vec![] });
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn the_short_way_takes_a_whole_compressed_message() {
        let (now, wanted) = (Instant::now(), Compression::default());
        let codec = Some(Codec::client(&Agreed::to(&wanted), &wanted));
        let mut connection = Connection::new(Settings::default(), now, SendBuf::default(), codec);
        let hello = b"\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00\x81";
        let Some((9, Message::Text(text))) = connection.receive_inflated(now, hello) else {
            panic!("it was left to the general one");
        };
        assert_eq!(text.as_str(), "Hello");
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_message_that_may_not_be_sent_is_not_sent_compressed_either() {
        let (now, text) = (Instant::now(), "a".repeat(300));
        for (close, want) in [(false, Misuse::Full), (true, Misuse::NotOpen)] {
            let limits = Arc::new(Limits { send_queue: 20, ..Limits::default() });
            let settings = Settings { limits, ..Settings::default() };
            let mut session = Session::opened_compressed(settings, now, Compression::default());
            let mut cx = Context { now, random: &mut Zero };
            if close {
                session.close(&mut cx, &CloseFrame::new(1000, "")).unwrap();
            } else {
                session.send_text_plain(&mut cx, &text).unwrap();
            }
            let queued = session.outgoing().to_vec();
            assert_eq!(session.send_text(&mut cx, &text), Err(want));
            assert_eq!(session.outgoing(), queued);
        }
    }
}
