//! A session that is recorded.

use std::ops::Deref;
use std::time::Instant;

use super::fill::Content;
use super::record::Recorder;
use crate::proto::buf::Spares;
use crate::proto::ws::message::{Lent, Message};
use crate::proto::{CloseFrame, Context, Event, Misuse, Note, Random, Session, Space};

/// The session of a socket: each call that may change it is recorded, if there is a tape. Without a
/// tape, a call costs the check of an option.
#[derive(Debug)]
pub(crate) struct Taped {
    session: Session,
    recorder: Option<Box<Recorder>>,
}

impl Deref for Taped {
    type Target = Session;

    #[inline]
    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Taped {
    fn drop(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.dropped(self.session.outgoing());
        }
    }
}

/// Records the keys that are used.
struct Noting<'a> {
    from: &'a mut dyn Random,
    keys: &'a mut Vec<[u8; 4]>,
}

impl Random for Noting<'_> {
    fn key(&mut self) -> [u8; 4] {
        let key = self.from.key();
        self.keys.push(key);
        key
    }
}

impl Taped {
    pub(crate) fn new(session: Session, mut recorder: Option<Box<Recorder>>) -> Taped {
        if let Some(recorder) = &mut recorder {
            recorder.has_request(session.outgoing().len());
        }
        Taped { session, recorder }
    }

    /// Calls the session, and records the keys that it uses.
    fn noted<T>(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> T,
    ) -> T {
        let Some(recorder) = &mut self.recorder else { return call(&mut self.session, cx) };
        let mut noting = Noting { from: &mut *cx.random, keys: &mut recorder.keys };
        call(&mut self.session, &mut Context { now: cx.now, random: &mut noting })
    }

    #[inline]
    pub(crate) fn receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        if self.recorder.is_none() {
            return self.session.receive(cx, input);
        }
        self.receive_noted(cx, input)
    }

    #[cold]
    fn receive_noted<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        let (used, event) = self.noted(cx, |session, cx| session.receive(cx, input));
        if let Some(recorder) = &mut self.recorder {
            recorder.received(cx.now, input, used, event.as_ref(), &self.session);
        }
        (used, event)
    }

    /// `None` while recording: [`Taped::receive`] returns the same message.
    #[inline(always)]
    pub(crate) fn receive_lent<'b>(
        &mut self,
        now: Instant,
        input: &'b [u8],
    ) -> Option<(usize, Lent<'b>)> {
        if self.recorder.is_some() {
            return None;
        }
        self.session.receive_lent(now, input)
    }

    /// The same for a compressed message.
    pub(crate) fn receive_inflated(
        &mut self,
        now: Instant,
        input: &[u8],
    ) -> Option<(usize, Message<'static>)> {
        if self.recorder.is_some() {
            return None;
        }
        self.session.receive_inflated(now, input)
    }

    /// Sets the time for the next call, which gets none.
    pub(crate) fn is_at(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.now = now;
        }
    }

    pub(crate) fn receive_eof(&mut self) -> Option<Event<'static>> {
        let event = self.session.receive_eof();
        if let Some(recorder) = &mut self.recorder {
            recorder.ended(false, event.as_ref());
        }
        event
    }

    pub(crate) fn receive_cut(&mut self) -> Option<Event<'static>> {
        let event = self.session.receive_cut();
        if let Some(recorder) = &mut self.recorder {
            recorder.ended(true, event.as_ref());
        }
        event
    }

    pub(crate) fn space(&mut self) -> Option<Space<'_>> {
        self.session.space()
    }

    #[inline]
    pub(crate) fn borrow_memory(&mut self, spares: &mut Spares) {
        self.session.borrow_memory(spares);
    }

    #[inline]
    pub(crate) fn return_memory(&mut self, spares: &mut Spares) {
        self.session.return_memory(spares);
    }

    pub(crate) fn filled(&mut self, cx: &mut Context<'_>, n: usize) -> Option<Event<'static>> {
        if self.recorder.is_none() {
            return self.session.filled(cx, n);
        }
        let new = match self.session.space() {
            Some(space) => space.buf[space.buf.len().saturating_sub(n)..].to_vec(),
            None => Vec::new(),
        };
        let event = self.noted(cx, |session, cx| session.filled(cx, n));
        if let Some(recorder) = &mut self.recorder {
            recorder.came(cx.now, &new, event.as_ref(), &self.session);
        }
        event
    }

    #[inline]
    pub(crate) fn drained(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        let event = self.noted(cx, |session, cx| session.drained(cx));
        if let (Some(recorder), Some(event)) = (&mut self.recorder, &event) {
            recorder.event(cx.now, event);
        }
        event
    }

    #[inline]
    pub(crate) fn sent_as(&mut self, now: Instant, n: usize, taken: usize) {
        if let Some(recorder) = &mut self.recorder {
            recorder.took(now, self.session.outgoing(), n, taken);
        }
        self.session.sent_as(now, n, taken);
    }

    pub(crate) fn on_deadline(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        let is_due =
            self.recorder.is_some() && self.session.deadline().is_some_and(|at| at <= cx.now);
        let event = self.noted(cx, |session, cx| session.on_deadline(cx));
        if let Some(recorder) = &mut self.recorder
            && is_due
        {
            recorder.was_due(cx.now, event.as_ref());
        }
        event
    }

    /// While a connection is not read, memory may be freed at a deadline that is later than one
    /// that does not count meanwhile. A replay, which always reads, lets that other timer expire.
    pub(crate) fn on_deadline_unread(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
    ) -> Option<Event<'static>> {
        let is_due = self.recorder.is_some()
            && self.session.deadline_unread(paused).is_some_and(|at| at <= cx.now);
        let event = self.noted(cx, |session, cx| session.on_deadline_unread(cx, paused));
        if let Some(recorder) = &mut self.recorder
            && is_due
        {
            recorder.was_due(cx.now, event.as_ref());
        }
        event
    }

    /// Sends a message or a ping.
    #[inline]
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        (word, content): (&str, Content),
        data: &[u8],
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> Result<(), Misuse>,
    ) -> Result<(), Misuse> {
        if self.recorder.is_none() {
            return call(&mut self.session, cx);
        }
        let done = self.noted(cx, call);
        if let Some(recorder) = &mut self.recorder {
            recorder.sent(cx.now, word, content, data, &done);
        }
        done
    }

    #[inline]
    pub(crate) fn send_text(&mut self, cx: &mut Context<'_>, text: &str) -> Result<(), Misuse> {
        let what = ("send text", Content::Text);
        self.send(cx, what, text.as_bytes(), |session, cx| session.send_text(cx, text))
    }

    #[inline]
    pub(crate) fn send_binary(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), Misuse> {
        let what = ("send binary", Content::Binary);
        self.send(cx, what, data, |session, cx| session.send_binary(cx, data))
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn send_text_plain(
        &mut self,
        cx: &mut Context<'_>,
        text: &str,
    ) -> Result<(), Misuse> {
        let what = ("send text-plain", Content::Text);
        self.send(cx, what, text.as_bytes(), |session, cx| session.send_text_plain(cx, text))
    }

    #[cfg(feature = "deflate")]
    pub(crate) fn send_binary_plain(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Result<(), Misuse> {
        let what = ("send binary-plain", Content::Binary);
        self.send(cx, what, data, |session, cx| session.send_binary_plain(cx, data))
    }

    pub(crate) fn ping(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), Misuse> {
        let what = ("ping", Content::Control);
        self.send(cx, what, data, |session, cx| session.ping(cx, data))
    }

    pub(crate) fn close(&mut self, cx: &mut Context<'_>, frame: &CloseFrame) -> Result<(), Misuse> {
        let done = self.noted(cx, |session, cx| session.close(cx, frame));
        if let Some(recorder) = &mut self.recorder {
            recorder.closed(cx.now, frame, &done);
        }
        done
    }

    pub(crate) fn answer_close(&mut self, cx: &mut Context<'_>) {
        let was_open = self.session.is_open();
        self.noted(cx, |session, cx| session.answer_close(cx));
        if let Some(recorder) = &mut self.recorder
            && was_open != self.session.is_open()
        {
            recorder.bare_line(cx.now, "answer");
        }
    }

    pub(crate) fn connected(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.bare_line(now, "connected");
        }
        self.session.connected(now);
    }

    pub(crate) fn read_again(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.bare_line(now, "reads");
        }
        self.session.read_again(now);
    }

    pub(crate) fn send_body(&mut self, now: Instant, piece: &[u8]) -> Option<Event<'static>> {
        let event = self.session.send_body(now, piece);
        if let Some(recorder) = &mut self.recorder {
            recorder.body(now, piece, event.as_ref());
        }
        event
    }

    pub(crate) fn end_body(&mut self, now: Instant) -> Option<Event<'static>> {
        let event = self.session.end_body(now);
        if let Some(recorder) = &mut self.recorder {
            recorder.body_ended(now, event.as_ref());
        }
        event
    }

    pub(crate) fn notes(&mut self) -> Option<&mut Vec<Note>> {
        self.session.notes()
    }
}
