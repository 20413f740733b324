//! The state machine of one request and its response.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::body::Body;
use super::chunked::Piece;
#[cfg(feature = "deflate")]
use super::coding::Coding;
use super::coding::{Accepts, Decoder};
use super::output::{Given, Output};
use super::persist::Persistence;
use super::refusal::Refusal;
use super::request::Payload;
use super::{Delivery, HttpError, Redirect, Request, Response, Timing};
use crate::limits::Limits;
use crate::proto::buf::SendBuf;
use crate::proto::head::{Head, HeadParser};
use crate::proto::pace::Pace;
use crate::proto::secret::hide;
use crate::proto::sse::{Blocks, Events};
use crate::proto::{Closed, Context, Event, Failure, Note, Settings};

/// One request and its response.
#[derive(Debug)]
pub(crate) struct Exchange {
    request: Request,
    delivery: Delivery,
    limits: Arc<Limits>,
    out: SendBuf,
    upload: Upload,
    state: State,
    /// Of the response, once its first line is there.
    status: Option<u16>,
    timing: Timing,
    /// When the time for the head is over, and when that for the next byte of the request to leave
    /// is.
    deadline: Option<Instant>,
    stall: Option<Instant>,
    pace: Pace,
    /// When the request could be sent; unset when it has left.
    started: Option<Instant>,
    /// Bytes of the request that were left when it ended.
    unsent: usize,
    /// Whether the connection may carry another request, as far as is known.
    persistence: Option<Persistence>,
    /// A byte of an answer has come, and one of the request has left.
    heard: bool,
    begun: bool,
    notes: Option<Vec<Note>>,
}

/// What is still to be given of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Done,
    /// So many bytes of so many, and the word that no more comes.
    Length {
        left: u64,
        of: u64,
    },
    Chunks,
}

/// So many bytes of a body are asked for at a time, at most: a chunk of that size costs little, and
/// whoever reads them needs no larger buffer.
const PIECE: usize = 64 * 1024;

#[derive(Debug)]
enum State {
    /// Waiting for the head, after so many interim ones.
    Head {
        parser: HeadParser,
        interim: u32,
    },
    Body {
        body: Body,
        output: Output,
        /// When its silence began, if it is silent.
        heard: Instant,
    },
    /// An answer that is none of what was asked for, and why not.
    Refused {
        refusal: Box<Refusal>,
        why: fn(Box<Response>) -> HttpError,
    },
    /// The body is over; the end is still to be told.
    Last,
    Done,
}

impl Exchange {
    pub(crate) fn new(
        request: Request,
        delivery: Delivery,
        settings: &Settings,
        timing: Timing,
    ) -> Exchange {
        let mut out = SendBuf::default();
        request.write_head(out.tail(), delivery, false);
        let upload = match &request.body {
            Some(Payload::Whole(body)) => {
                out.tail().extend_from_slice(body);
                Upload::Done
            }
            Some(Payload::Length(of)) => Upload::Length { left: *of, of: *of },
            Some(Payload::Chunked) => Upload::Chunks,
            None => Upload::Done,
        };
        let notes = settings.trace.then(|| {
            let mut shown = Vec::new();
            request.write_head(&mut shown, delivery, true);
            vec![Note::request(shown)]
        });
        Exchange {
            request,
            delivery,
            limits: Arc::clone(&settings.limits),
            out,
            upload,
            state: State::Head { parser: HeadParser::default(), interim: 0 },
            status: None,
            timing,
            deadline: timing.head_by,
            stall: None,
            pace: Pace::new(settings.limits.stall),
            started: None,
            unsent: 0,
            persistence: None,
            heard: false,
            begun: false,
            notes,
        }
    }

    /// The connection is ready: the request may leave.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.wait_from(now);
    }

    /// The connection is read again after a pause.
    pub(crate) fn read_again(&mut self, now: Instant) {
        self.wait_from(now);
    }

    /// The time for what is waited for starts.
    fn wait_from(&mut self, now: Instant) {
        let has_left = self.out.len() == 0 && !self.is_uploading();
        match &mut self.state {
            State::Head { .. } if has_left => self.await_head(now),
            State::Head { .. } => {
                self.pace.starts();
                self.started = Some(now);
                let waits = !self.outgoing().is_empty();
                self.stall = now.checked_add(self.limits.stall).filter(|_| waits);
                // A request that moves may take its time, unless its owner has said how long.
                if self.timing.response.is_some() {
                    self.deadline = None;
                }
            }
            State::Body { heard, .. } => *heard = now,
            State::Refused { .. } | State::Last | State::Done => {}
        }
    }

    /// The request has left, and reaches the server then: the time of the response starts.
    fn await_head(&mut self, reaches: Instant) {
        if let (Some(started), Some(_)) = (self.started.take(), self.timing.response) {
            // The sum over all redirects is one of waiting.
            let took = reaches.saturating_duration_since(started);
            self.timing.head_by = self.timing.head_by.and_then(|total| total.checked_add(took));
        }
        let limit = self.timing.response.and_then(|limit| reaches.checked_add(limit));
        self.deadline = [limit, self.timing.head_by].into_iter().flatten().min();
    }

    pub(crate) fn receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        match self.state {
            State::Body { .. } => self.body(cx.now, input),
            _ => self.around_the_body(cx, input),
        }
    }

    /// Apart, so that it is not in the way of every piece of the body.
    #[inline(never)]
    fn around_the_body<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        match self.state {
            State::Head { .. } => {
                let step = self.head(cx.now, input);
                step.unwrap_or_else(|e| self.broken(input, e))
            }
            State::Refused { .. } => self.refused(input),
            State::Last => {
                self.stands_behind(input);
                (input.len(), Some(self.end(Closed::Complete)))
            }
            State::Body { .. } | State::Done => {
                self.stands_behind(input);
                (input.len(), None)
            }
        }
    }

    /// The stream has ended; it was `cut` if that may be somebody else's doing.
    pub(crate) fn receive_eof(&mut self, cut: bool) -> Option<Event<'static>> {
        self.persistence = None;
        let ended = match &self.state {
            State::Head { .. } => Err(HttpError::Eof),
            State::Body { body, .. } => body.finish(cut),
            State::Refused { .. } => return Some(self.end_refusal()),
            State::Last => Ok(()),
            State::Done => return None,
        };
        Some(match ended {
            Ok(()) => self.complete(),
            Err(e) => self.fail(e),
        })
    }

    pub(crate) fn outgoing(&self) -> &[u8] {
        let pending = self.out.pending();
        // The last byte of a body with a length waits for the word that no more comes: a server must
        // not take for whole what its sender finds too long.
        let held = usize::from(matches!(self.upload, Upload::Length { left: 0, .. }));
        &pending[..pending.len().saturating_sub(held)]
    }

    pub(crate) fn sent(&mut self, now: Instant, n: usize, taken: usize) {
        let waiting = self.outgoing().len();
        let (waited, n) = (waiting > 0, n.min(waiting));
        self.begun |= n > 0 || taken > 0;
        self.out.sent(n);
        let rest = waiting - n;
        let moved = self.pace.sent(now, n, taken, rest);
        if let State::Body { heard, .. } = &mut self.state
            && moved
        {
            *heard = now;
        }
        // A server that has answered need not read on.
        let State::Head { .. } = self.state else { return };
        if rest > 0 {
            if taken > 0 || self.stall.is_none() {
                self.stall = now.checked_add(self.limits.stall);
            }
        } else if self.is_uploading() {
            // It is not the server that is waited for.
            self.stall = None;
        } else if waited {
            self.stall = None;
            self.await_head(self.pace.reaches(now));
        }
    }

    // The body of the request, where it comes in pieces.

    /// Whether more of it is to come, or the word that it is whole.
    pub(crate) fn is_uploading(&self) -> bool {
        let heard = matches!(self.state, State::Head { .. } | State::Body { .. });
        self.upload != Upload::Done && heard
    }

    /// See [`Session::body_room`](crate::proto::Session::body_room).
    pub(crate) fn body_room(&self) -> usize {
        if !self.is_uploading() || self.started.is_none() {
            return 0;
        }
        let mark = self.limits.body_queue.max(1);
        let room = mark.saturating_sub(self.outgoing().len()).min(PIECE);
        match self.upload {
            Upload::Done => 0,
            Upload::Chunks => room,
            // One more than there may be shows that there is more.
            Upload::Length { left, .. } => {
                usize::try_from(left.saturating_add(1)).map_or(room, |most| room.min(most))
            }
        }
    }

    /// See [`Session::send_body`](crate::proto::Session::send_body).
    pub(crate) fn send_body(&mut self, now: Instant, piece: &[u8]) -> Option<Event<'static>> {
        if piece.is_empty() || !self.is_uploading() {
            return None;
        }
        match &mut self.upload {
            Upload::Done => {}
            Upload::Chunks => {
                let out = self.out.tail();
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            Upload::Length { left, of } => match left.checked_sub(piece.len() as u64) {
                None => {
                    let length = *of;
                    return Some(self.fail(HttpError::LongBody(length)));
                }
                Some(rest) => {
                    *left = rest;
                    self.out.tail().extend_from_slice(piece);
                }
            },
        }
        self.await_room(now);
        None
    }

    /// See [`Session::end_body`](crate::proto::Session::end_body).
    pub(crate) fn end_body(&mut self, now: Instant) -> Option<Event<'static>> {
        if !self.is_uploading() {
            return None;
        }
        match mem::replace(&mut self.upload, Upload::Done) {
            Upload::Chunks => self.out.tail().extend_from_slice(b"0\r\n\r\n"),
            Upload::Length { left: 0, .. } | Upload::Done => {}
            Upload::Length { left, .. } => return Some(self.fail(HttpError::ShortBody(left))),
        }
        self.await_room(now);
        None
    }

    /// Bytes wait, maybe the first behind a time in which none did: the server has to take them.
    fn await_room(&mut self, now: Instant) {
        let timed = matches!(self.state, State::Head { .. }) && self.started.is_some();
        if timed && self.stall.is_none() && !self.outgoing().is_empty() {
            self.stall = now.checked_add(self.limits.stall);
        }
    }

    /// See [`Session::unsent`](crate::proto::Session::unsent).
    pub(crate) fn unsent(&self) -> usize {
        match self.started {
            Some(_) => self.out.len(),
            // It has left, or was never to be sent; or has ended before it had.
            None => self.unsent,
        }
    }

    pub(crate) fn buffered(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.awaited(), self.stall].into_iter().flatten().min()
    }

    /// When the time for what is waited for is over.
    fn awaited(&self) -> Option<Instant> {
        match self.state {
            State::Body { heard, .. } => self.timing.idle_end(heard),
            State::Refused { ref refusal, .. } => refusal.deadline,
            _ => self.deadline,
        }
    }

    pub(crate) fn on_deadline(&mut self, now: Instant) -> Option<Event<'static>> {
        if self.stall.is_some_and(|at| at <= now) {
            return Some(self.fail(HttpError::Stalled));
        }
        if self.awaited().is_none_or(|at| at > now) {
            return None;
        }
        match self.state {
            State::Head { .. } => Some(self.fail(HttpError::Timeout)),
            State::Body { .. } => Some(self.fail(HttpError::Idle)),
            State::Refused { .. } => Some(self.end_refusal()),
            State::Last | State::Done => None,
        }
    }

    /// Of the response, once its first line is there.
    #[cfg(feature = "net")]
    pub(crate) fn status(&self) -> Option<u16> {
        match &self.state {
            State::Head { parser, .. } => parser.status(),
            _ => self.status,
        }
    }

    /// Whether the head is there and the end is not.
    #[cfg(feature = "net")]
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body { .. } | State::Last)
    }

    /// Whether it is refused and read.
    #[cfg(any(feature = "net", test, fuzzing))]
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused { .. })
    }

    /// The limits of time, for the error that says which one has passed.
    #[cfg(feature = "net")]
    pub(crate) fn timing(&self) -> Timing {
        self.timing
    }

    pub(crate) fn notes(&mut self) -> Option<&mut Vec<Note>> {
        self.notes.as_mut()
    }

    // The head.

    fn head<'b>(
        &mut self,
        now: Instant,
        input: &'b [u8],
    ) -> Result<(usize, Option<Event<'b>>), HttpError> {
        let mut used = 0;
        self.heard |= !input.is_empty();
        loop {
            let State::Head { parser, interim } = &mut self.state else { return Ok((used, None)) };
            let fed = parser.feed(&input[used..], &self.limits);
            if parser.status().is_some() {
                self.status = parser.status();
            }
            let (n, head) = fed.map_err(HttpError::Head)?;
            used += n;
            let Some(head) = head else { return Ok((used, None)) };
            self.status = Some(head.status);
            if !matches!(head.status, 100 | 102..=199) {
                if let Some(event) = self.judge(now, head)? {
                    return Ok((used, Some(event)));
                }
                let (more, event) = self.refused(&input[used..]);
                return Ok((used + more, event));
            }
            *interim += 1;
            self.status = None;
            if *interim > self.limits.interim {
                return Err(HttpError::ManyInterim);
            }
        }
    }

    /// The final head: another place, an error, or the start of the body.
    fn judge(&mut self, now: Instant, head: Head) -> Result<Option<Event<'static>>, HttpError> {
        if let Some(notes) = &mut self.notes {
            let request = &self.request;
            let is_repeated = |bytes: &[u8]| request.is_repeated_in(bytes);
            notes.push(Note::response(&head, &request.url, is_repeated));
        }
        if head.status == 101 {
            return Err(HttpError::Upgrade);
        }
        if let Some(redirect) = Redirect::of(&self.request, &head, self.limits.redirects)? {
            return Ok(Some(self.end(Closed::Redirected(Box::new(redirect)))));
        }
        let accepts = Accepts::of(&self.request, self.delivery);
        let body = Body::coded(&self.request.method, &head, accepts);
        if let Some(why) = self.delivery.refuses(&head) {
            let until = [self.deadline, self.timing.head_by].into_iter().flatten().min();
            // What is not well framed may be no answer to this request at all, unless it says that it
            // is an error.
            let body = match head.status {
                200..=299 => Ok(body?),
                _ => body,
            };
            let mut response = self.response(head);
            response.decoded = matches!(body, Ok((_, Some(_))));
            let refusal = Refusal::new(response, body, &self.limits, now, until);
            (self.deadline, self.stall) = (None, None);
            self.state = State::Refused { refusal: Box::new(refusal), why };
            return Ok(None);
        }
        let output = match self.delivery {
            Delivery::Raw | Delivery::EventBytes => Output::Bytes,
            Delivery::Events => Output::Events(Box::new(Events::new(&self.limits))),
            Delivery::Blocks => Output::Blocks(Box::new(Blocks::new(&self.limits))),
        };
        let (body, coding) = body?;
        // An interim response that nobody asked for may be half of a server's mistake.
        let is_first = matches!(self.state, State::Head { interim: 0, .. });
        self.persistence = Persistence::of(&self.request, &head, &body).filter(|_| is_first);
        let output = match coding {
            None => output,
            Some(coding) => {
                #[cfg(feature = "deflate")]
                self.tell_coding(coding, accepts);
                output.decoded(Decoder::new(coding))
            }
        };
        self.state = State::Body { body, output, heard: now };
        (self.deadline, self.stall) = (None, None);
        let mut response = self.response(head);
        response.decoded = coding.is_some();
        Ok(Some(Event::Response(Box::new(response))))
    }

    fn response(&self, head: Head) -> Response {
        let request = &self.request;
        Response::of(head, request.url.clone(), |bytes| request.is_repeated_in(bytes))
    }

    /// An observer is told how the body is coded.
    #[cfg(feature = "deflate")]
    fn tell_coding(&mut self, coding: Coding, accepts: Accepts) {
        if let Some(notes) = &mut self.notes {
            let asked = accepts == Accepts::Asked;
            notes.push(Note::Coding { name: coding.name(), asked });
        }
    }

    /// Whether the body is decoded.
    #[cfg(feature = "net")]
    pub(crate) fn is_decoding(&self) -> bool {
        cfg!(feature = "deflate")
            && matches!(self.state, State::Body { output: Output::Coded(_), .. })
    }

    /// The body of an answer that is refused.
    #[cold]
    #[inline(never)]
    fn refused<'b>(&mut self, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let State::Refused { refusal, .. } = &mut self.state else { return (input.len(), None) };
        match refusal.receive(input, &self.limits) {
            (used, false) => (used, None),
            (_, true) => (input.len(), Some(self.end_refusal())),
        }
    }

    /// As much of it has come as is waited for.
    #[cold]
    fn end_refusal(&mut self) -> Event<'static> {
        let error = match mem::replace(&mut self.state, State::Done) {
            State::Refused { refusal, why } => {
                why(refusal.finish(|bytes| self.request.is_repeated_in(bytes)))
            }
            _ => HttpError::Eof,
        };
        self.fail(error)
    }

    // The body.

    // Each event is made where it is given back: on a way through a `Result` it would be copied
    // several times.
    fn body<'b>(&mut self, now: Instant, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let mut used = 0;
        loop {
            let State::Body { body, output, heard } = &mut self.state else { return (used, None) };
            let (skipped, piece) = match body.step(&input[used..], &self.limits) {
                Ok(step) => step,
                Err(e) => return self.broken(input, e),
            };
            used += skipped;
            let n = match piece {
                Piece::More => return (used, None),
                Piece::Data(n) => n,
                Piece::End => {
                    self.stands_behind(&input[used..]);
                    return (input.len(), Some(self.complete()));
                }
            };
            // Data alone counts: chunk lines and trailers could drip for hours.
            *heard = now;
            let data = &input[used..used + n];
            let taken = match output {
                Output::Bytes => {
                    body.take(n);
                    return self.chunk(used + n, Cow::Borrowed(data));
                }
                Output::Blocks(blocks) => match blocks.receive(data) {
                    Ok((taken, Some(block))) => {
                        body.take(taken);
                        return self.chunk(used + taken, block);
                    }
                    Ok((taken, None)) => taken,
                    Err(e) => return self.broken(input, HttpError::EventStream(e)),
                },
                Output::Events(events) => match events.receive(data) {
                    Ok((taken, Some(event))) => {
                        body.take(taken);
                        self.note(event.data.as_bytes());
                        return (used + taken, Some(Event::ServerSent(Box::new(event))));
                    }
                    Ok((taken, None)) => taken,
                    Err(e) => return self.broken(input, HttpError::EventStream(e)),
                },
                Output::Coded(_) => {
                    let (more, event) = self.coded(now, &input[used..]);
                    return (used + more, event);
                }
            };
            body.take(taken);
            used += taken;
        }
    }

    /// The same of a body that is coded, at its data. Apart, so that it is not in the way of others.
    #[cold]
    #[inline(never)]
    fn coded<'b>(&mut self, now: Instant, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let mut used = 0;
        loop {
            let State::Body { body, output: Output::Coded(coded), heard } = &mut self.state else {
                return (used, None);
            };
            let (skipped, piece) = match body.step(&input[used..], &self.limits) {
                Ok(step) => step,
                Err(e) => return self.broken(input, e),
            };
            used += skipped;
            let n = match piece {
                Piece::More => return (used, None),
                Piece::Data(n) => n,
                Piece::End => {
                    self.stands_behind(&input[used..]);
                    return (input.len(), Some(self.complete()));
                }
            };
            *heard = now;
            let (taken, given) = match coded.receive(&input[used..used + n], &self.limits) {
                Ok(received) => received,
                Err(e) => return self.broken(input, e),
            };
            body.take(taken);
            used += taken;
            match given {
                None => {}
                Some(Given::Piece(piece)) => return self.chunk(used, Cow::Owned(piece)),
                Some(Given::Event(event)) => {
                    self.note(event.data.as_bytes());
                    return (used, Some(Event::ServerSent(Box::new(event))));
                }
            }
        }
    }

    /// A piece to be handed over, which ends behind `used` bytes.
    fn chunk<'b>(&mut self, used: usize, data: Cow<'b, [u8]>) -> (usize, Option<Event<'b>>) {
        self.note(&data);
        (used, Some(Event::Chunk(data)))
    }

    #[inline]
    fn note(&mut self, data: &[u8]) {
        if let Some(notes) = &mut self.notes {
            note_body(notes, data);
        }
    }

    // The end.

    /// What stands behind the answer was not asked for: it is nobody's, and whoever sent it is not asked
    /// anything more.
    fn stands_behind(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.persistence = None;
        }
    }

    /// Once it is over: whether the connection may carry another request. All of this one has left then,
    /// all of its answer has come, and nothing behind that was given.
    #[cfg(any(feature = "net", test, fuzzing))]
    pub(crate) fn persistence(&self) -> Option<Persistence> {
        self.persistence.filter(|_| matches!(self.state, State::Done))
    }

    /// Whether the same request may be sent again over another connection, after this one has ended
    /// (RFC 9112 §9.3.1): no byte of an answer has come, or one that says that no request has (RFC 9110
    /// §15.5.9).
    #[cfg(any(feature = "net", test))]
    pub(crate) fn may_go_again(&self) -> bool {
        (!self.heard || self.status == Some(408)) && self.request.may_be_repeated()
    }

    /// Whether what comes now cannot be an answer: nothing has been asked.
    #[cfg(feature = "net")]
    pub(crate) fn is_unasked(&self) -> bool {
        !self.begun && matches!(self.state, State::Head { .. })
    }

    /// The body is whole. What it leaves to be handed over comes first, and the end with the next
    /// call.
    fn complete(&mut self) -> Event<'static> {
        let rest = match &mut self.state {
            State::Body { output, .. } => output.finish(),
            _ => Ok(None),
        };
        #[cfg(feature = "deflate")]
        self.tell_sizes();
        match rest {
            Err(e) => self.fail(e),
            Ok(None) => self.end(Closed::Complete),
            Ok(Some(rest)) => {
                self.state = State::Last;
                self.note(&rest);
                Event::Chunk(Cow::Owned(rest))
            }
        }
    }

    /// An observer is told what a coded body has become.
    #[cfg(feature = "deflate")]
    fn tell_sizes(&mut self) {
        if let (Some(notes), State::Body { output: Output::Coded(coded), .. }) =
            (&mut self.notes, &self.state)
        {
            let (wire, len) = coded.decoder().sizes();
            notes.push(Note::Decoded { wire, len });
        }
    }

    /// What stands behind what broke it is nobody's.
    #[cold]
    fn broken(&mut self, input: &[u8], error: HttpError) -> (usize, Option<Event<'static>>) {
        (input.len(), Some(self.fail(error)))
    }

    #[cold]
    fn fail(&mut self, mut error: HttpError) -> Event<'static> {
        hide(error.text(), |text| self.request.is_repeated_in(text));
        self.end(Closed::Failed(Failure::Http(error)))
    }

    fn end(&mut self, closed: Closed) -> Event<'static> {
        let whole = matches!(closed, Closed::Complete) && self.upload == Upload::Done;
        if !whole || self.out.len() > 0 {
            self.persistence = None;
        }
        self.state = State::Done;
        (self.deadline, self.stall) = (None, None);
        if let (Closed::Failed(_), Some(_)) = (&closed, self.started.take()) {
            self.unsent = self.out.len();
        }
        // Nothing that is left of the request matters to anybody.
        mem::take(&mut self.out);
        Event::Closed(closed)
    }
}

/// Apart, since hardly anybody wants notes.
#[cold]
fn note_body(notes: &mut Vec<Note>, data: &[u8]) {
    let start = data[..data.len().min(Note::START)].to_vec();
    notes.push(Note::Body { len: data.len(), start });
}

impl Delivery {
    /// Why an answer is none of what it stands for, if it is not.
    fn refuses(self, head: &Head) -> Option<fn(Box<Response>) -> HttpError> {
        let must_be_200 = matches!(self, Delivery::Events | Delivery::EventBytes);
        match self {
            Delivery::Raw => None,
            _ if must_be_200 && head.status != 200 => Some(HttpError::Status),
            // An event stream says that it is one (WHATWG HTML §9.2.3).
            _ if head.fields.media_type().as_deref() != Some(b"text/event-stream") => {
                // What says that it is an error is that before it is of another type.
                let is_error = !matches!(head.status, 200..=299);
                Some(if is_error { HttpError::Status } else { HttpError::ContentType })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
