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
use super::output::{Output, OwnedOutput};
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
    /// The status of the response, once its first line was received.
    status: Option<u16>,
    timing: Timing,
    /// When the head has to be there, and when the kernel has to take the next byte of the request.
    deadline: Option<Instant>,
    stall: Option<Instant>,
    pace: Pace,
    /// When the connection was ready for the request; `None` once the whole request was sent.
    started: Option<Instant>,
    /// How many bytes of the request were not sent when the exchange ended.
    unsent: usize,
    /// Whether the connection may carry another request, as far as is known.
    persistence: Option<Persistence>,
    /// Whether a byte of the response has come, and whether a byte of the request was sent.
    received: bool,
    begun: bool,
    notes: Option<Vec<Note>>,
}

/// The part of the request's body that the program still has to supply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Complete,
    /// How many bytes of how many are left; after the last, `end_body` has to be called.
    Length {
        left: u64,
        of: u64,
    },
    Chunks,
}

/// At most this many bytes of a body are requested at a time: a chunk of that size costs little
/// overhead, and the source of the body needs no larger buffer.
const PIECE: usize = 64 * 1024;

#[derive(Debug)]
enum State {
    /// Waiting for the head; `interim` interim responses have come.
    Head {
        parser: HeadParser,
        interim: u32,
    },
    Body {
        body: Body,
        output: Output,
        /// When the exchange last made progress.
        last_data: Instant,
    },
    /// The response is not acceptable; `why` makes the error from it.
    Refused {
        refusal: Box<Refusal>,
        why: fn(Box<Response>) -> HttpError,
    },
    /// The body is complete; the final event is still to be returned.
    Last,
    Ended,
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
                Upload::Complete
            }
            Some(Payload::Length(of)) => Upload::Length { left: *of, of: *of },
            Some(Payload::Chunked) => Upload::Chunks,
            None => Upload::Complete,
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
            pace: Pace::default(),
            started: None,
            unsent: 0,
            persistence: None,
            received: false,
            begun: false,
            notes,
        }
    }

    /// Starts the time limit that applies now. Called when the connection is ready for the request,
    /// and when reading resumes after a pause.
    pub(crate) fn wait_from(&mut self, now: Instant) {
        let has_left = self.out.len() == 0 && !self.is_uploading();
        match &mut self.state {
            State::Head { .. } if has_left => self.await_head(now),
            State::Head { .. } => {
                self.pace.starts();
                self.started = Some(now);
                let waits = !self.outgoing().is_empty();
                self.stall = now.checked_add(self.limits.stall).filter(|_| waits);
                // While the request makes progress, no limit on the head counts, unless the program
                // has set one for the whole.
                if self.timing.response.is_some() {
                    self.deadline = None;
                }
            }
            State::Body { last_data, .. } => *last_data = now,
            State::Refused { .. } | State::Last | State::Ended => {}
        }
    }

    /// The last byte of the request reaches the server at `reaches`: the limit for the response
    /// starts.
    fn await_head(&mut self, reaches: Instant) {
        if let (Some(started), Some(_)) = (self.started.take(), self.timing.response) {
            // `head_by` covers the waits of all redirects together, but not the time of sending.
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

    /// Not inlined, to keep the path for pieces of a body short.
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
            State::Body { .. } | State::Ended => {
                self.stands_behind(input);
                (input.len(), None)
            }
        }
    }

    /// The stream has ended; `cut` is true if somebody else than the server may have ended it.
    pub(crate) fn receive_eof(&mut self, cut: bool) -> Option<Event<'static>> {
        self.persistence = None;
        let ended = match &self.state {
            State::Head { .. } => Err(HttpError::Eof),
            State::Body { body, .. } => body.finish(cut),
            State::Refused { .. } => return Some(self.end_refusal()),
            State::Last => Ok(()),
            State::Ended => return None,
        };
        Some(match ended {
            Ok(()) => self.complete(),
            Err(e) => self.fail(e),
        })
    }

    pub(crate) fn outgoing(&self) -> &[u8] {
        let pending = self.out.pending();
        // The last byte of a body with a length waits for `end_body`: if the body turns out to be
        // too long, the server must not take its first part for a complete body.
        let held = usize::from(matches!(self.upload, Upload::Length { left: 0, .. }));
        &pending[..pending.len().saturating_sub(held)]
    }

    pub(crate) fn sent(&mut self, now: Instant, n: usize, taken: usize) {
        let waiting = self.outgoing().len();
        let (waited, n) = (waiting > 0, n.min(waiting));
        self.begun |= n > 0 || taken > 0;
        self.out.sent(n);
        let rest = waiting - n;
        let moved = self.pace.sent(now, n, taken, rest, self.limits.stall);
        if let State::Body { last_data, .. } = &mut self.state
            && moved
        {
            *last_data = now;
        }
        // A server that has sent the head of its response need not read the rest of the request.
        let State::Head { .. } = self.state else { return };
        if rest > 0 {
            if taken > 0 || self.stall.is_none() {
                self.stall = now.checked_add(self.limits.stall);
            }
        } else if self.is_uploading() {
            // The exchange waits for the program, not for the server.
            self.stall = None;
        } else if waited {
            self.stall = None;
            self.await_head(self.pace.reaches(now, self.limits.stall));
        }
    }

    // The body of a request, supplied in pieces.

    /// Whether the program still has to supply bytes of the body, or to call `end_body`.
    pub(crate) fn is_uploading(&self) -> bool {
        let needed = matches!(self.state, State::Head { .. } | State::Body { .. });
        self.upload != Upload::Complete && needed
    }

    /// See [`Session::body_room`](crate::proto::Session::body_room).
    pub(crate) fn body_room(&self) -> usize {
        if !self.is_uploading() || self.started.is_none() {
            return 0;
        }
        let mark = self.limits.body_queue.max(1);
        let room = mark.saturating_sub(self.outgoing().len()).min(PIECE);
        match self.upload {
            Upload::Complete => 0,
            Upload::Chunks => room,
            // Room for one byte more than is left: the source then shows whether it has more.
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
            Upload::Complete => {}
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
        match mem::replace(&mut self.upload, Upload::Complete) {
            Upload::Chunks => self.out.tail().extend_from_slice(b"0\r\n\r\n"),
            Upload::Length { left: 0, .. } | Upload::Complete => {}
            Upload::Length { left, .. } => return Some(self.fail(HttpError::ShortBody(left))),
        }
        self.await_room(now);
        None
    }

    /// Starts the limit for sending if it is not running, since bytes are waiting.
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
            // All was sent, or the connection was never ready, or the exchange has ended.
            None => self.unsent,
        }
    }

    pub(crate) fn buffered(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.awaited(), self.stall].into_iter().flatten().min()
    }

    /// The deadline for the event that the exchange waits for.
    fn awaited(&self) -> Option<Instant> {
        match self.state {
            State::Body { last_data, .. } => self.timing.idle_end(last_data),
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
            State::Last | State::Ended => None,
        }
    }

    /// The status of the response, once its status line was received.
    #[cfg(feature = "net")]
    pub(crate) fn status(&self) -> Option<u16> {
        match &self.state {
            State::Head { parser, .. } => parser.status(),
            _ => self.status,
        }
    }

    /// Whether the exchange is between the head and the end of the body.
    #[cfg(feature = "net")]
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body { .. } | State::Last)
    }

    /// Whether the response was refused and its body is being read.
    #[cfg(any(feature = "net", test, fuzzing))]
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused { .. })
    }

    /// The time limits, for an error that names the limit that has passed.
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
        self.received |= !input.is_empty();
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

    /// Decides about the final head: it is a redirect, an error, or the start of a body.
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
            // With wrong framing, the response may belong to another request; only for a status
            // that is an error, the error names the status instead.
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
        // Unasked interim responses may be a sign that the server is faulty.
        let is_first = matches!(self.state, State::Head { interim: 0, .. });
        self.persistence = Persistence::of(&self.request, &head, &body).filter(|_| is_first);
        let output = match coding {
            None => output,
            Some(coding) => {
                #[cfg(feature = "deflate")]
                self.note_coding(coding, accepts);
                output.decoded(Decoder::new(coding))
            }
        };
        self.state = State::Body { body, output, last_data: now };
        (self.deadline, self.stall) = (None, None);
        let mut response = self.response(head);
        response.decoded = coding.is_some();
        Ok(Some(Event::Response(Box::new(response))))
    }

    fn response(&self, head: Head) -> Response {
        let request = &self.request;
        Response::of(head, request.url.clone(), |bytes| request.is_repeated_in(bytes))
    }

    /// Adds a note of the body's coding.
    #[cfg(feature = "deflate")]
    fn note_coding(&mut self, coding: Coding, accepts: Accepts) {
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

    /// Reads the body of a refused response.
    #[cold]
    #[inline(never)]
    fn refused<'b>(&mut self, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let State::Refused { refusal, .. } = &mut self.state else { return (input.len(), None) };
        match refusal.receive(input, &self.limits) {
            (used, false) => (used, None),
            (_, true) => (input.len(), Some(self.end_refusal())),
        }
    }

    /// Ends the session when enough of the refused response's body has come.
    #[cold]
    fn end_refusal(&mut self) -> Event<'static> {
        let error = match mem::replace(&mut self.state, State::Ended) {
            State::Refused { refusal, why } => {
                why(refusal.finish(|bytes| self.request.is_repeated_in(bytes)))
            }
            _ => HttpError::Eof,
        };
        self.fail(error)
    }

    // The body.

    // Each event is constructed where it is returned: inside a `Result` it would be copied several
    // times.
    fn body<'b>(&mut self, now: Instant, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let mut used = 0;
        loop {
            let State::Body { body, output, last_data } = &mut self.state else {
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
            // Only data counts as progress: a server could send chunk lines and trailers for hours.
            *last_data = now;
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

    /// As `body`, for the data of a coded body. A function of its own, to keep `body` small.
    #[cold]
    #[inline(never)]
    fn coded<'b>(&mut self, now: Instant, input: &'b [u8]) -> (usize, Option<Event<'b>>) {
        let mut used = 0;
        loop {
            let State::Body { body, output: Output::Coded(coded), last_data } = &mut self.state
            else {
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
            *last_data = now;
            let (taken, given) = match coded.receive(&input[used..used + n], &self.limits) {
                Ok(received) => received,
                Err(e) => return self.broken(input, e),
            };
            body.take(taken);
            used += taken;
            match given {
                None => {}
                Some(OwnedOutput::Piece(piece)) => return self.chunk(used, Cow::Owned(piece)),
                Some(OwnedOutput::Event(event)) => {
                    self.note(event.data.as_bytes());
                    return (used, Some(Event::ServerSent(Box::new(event))));
                }
            }
        }
    }

    /// The event for a piece, and the position `used` behind it.
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

    /// Discards the bytes `rest` behind the response. Nobody asked for them, so the connection
    /// carries no other request.
    fn stands_behind(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.persistence = None;
        }
    }

    /// After the end: whether the connection may carry another request. Then the whole request was
    /// sent, the whole response was received, and no byte came behind it.
    #[cfg(any(feature = "net", test, fuzzing))]
    pub(crate) fn persistence(&self) -> Option<Persistence> {
        self.persistence.filter(|_| matches!(self.state, State::Ended))
    }

    /// Whether the same request may be sent again over another connection after this one has ended
    /// (RFC 9112 §9.3.1): no byte of a response has come, or its status is 408, which a server may
    /// send without a request (RFC 9110 §15.5.9).
    #[cfg(any(feature = "net", test))]
    pub(crate) fn may_go_again(&self) -> bool {
        (!self.received || self.status == Some(408)) && self.request.may_be_repeated()
    }

    /// Whether bytes that come now cannot be a response, because no byte of a request was sent.
    #[cfg(feature = "net")]
    pub(crate) fn is_unasked(&self) -> bool {
        !self.begun && matches!(self.state, State::Head { .. })
    }

    /// Ends a complete body. If output remains, returns it first, and the next call returns the
    /// final event.
    fn complete(&mut self) -> Event<'static> {
        let rest = match &mut self.state {
            State::Body { output, .. } => output.finish(),
            _ => Ok(None),
        };
        #[cfg(feature = "deflate")]
        self.note_sizes();
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

    /// Adds a note of the sizes of a decoded body.
    #[cfg(feature = "deflate")]
    fn note_sizes(&mut self) {
        if let (Some(notes), State::Body { output: Output::Coded(coded), .. }) =
            (&mut self.notes, &self.state)
        {
            let (wire, len) = coded.decoder().sizes();
            notes.push(Note::Decoded { wire, len });
        }
    }

    /// Fails the exchange; the bytes behind the error are discarded.
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
        let whole = matches!(closed, Closed::Complete) && self.upload == Upload::Complete;
        if !whole || self.out.len() > 0 {
            self.persistence = None;
        }
        self.state = State::Ended;
        (self.deadline, self.stall) = (None, None);
        if let (Closed::Failed(_), Some(_)) = (&closed, self.started.take()) {
            self.unsent = self.out.len();
        }
        // The rest of the request is not sent.
        mem::take(&mut self.out);
        Event::Closed(closed)
    }
}

/// Not inlined, since notes are rare.
#[cold]
fn note_body(notes: &mut Vec<Note>, data: &[u8]) {
    let start = data[..data.len().min(Note::START)].to_vec();
    notes.push(Note::Body { len: data.len(), start });
}

impl Delivery {
    /// The error for a response that this delivery does not accept; `None` if it accepts it.
    fn refuses(self, head: &Head) -> Option<fn(Box<Response>) -> HttpError> {
        let must_be_200 = matches!(self, Delivery::Events | Delivery::EventBytes);
        match self {
            Delivery::Raw => None,
            _ if must_be_200 && head.status != 200 => Some(HttpError::Status),
            // An event stream has this type (WHATWG HTML §9.2.3).
            _ if head.fields.media_type().as_deref() != Some(b"text/event-stream") => {
                // If the status is an error, the error names the status rather than the type.
                let is_error = !matches!(head.status, 200..=299);
                Some(if is_error { HttpError::Status } else { HttpError::ContentType })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
