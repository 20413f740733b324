//! The one type that a driver uses: a connection from its first byte to its final event.

use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "net")]
use super::buf::Spares;
use super::buf::{SendBuf, Space};
use super::closed::{Closed, Failure};
use super::context::Context;
use super::event::Event;
use super::head::Head;
use super::http;
use super::http::body::Body;
use super::http::exchange::Exchange;
use super::http::refusal::Refusal;
use super::note::Note;
use super::settings::Settings;
use super::ws::close::{CloseFrame, Misuse};
use super::ws::connection::Connection;
#[cfg(feature = "deflate")]
use super::ws::deflate::{Agreed, Codec, Compression};
use super::ws::frame::Opcode;
use super::ws::handshake::{Answer, Handshake, HandshakeError, Request};
#[cfg(feature = "net")]
use super::ws::message::{Lent, Message};
use super::ws::stats::Stats;

/// A WebSocket connection, or one HTTP exchange, without I/O: bytes and times go in, events and
/// bytes come out.
///
/// The law and the loop that keeps it are in the documentation of [`crate::proto`].
///
/// ```
/// use moonwire::proto::{Context, Event, Random, Session, Settings};
/// use std::time::Instant;
///
/// struct Keys; // a real one asks the system for random bytes
/// impl Random for Keys {
///     fn key(&mut self) -> [u8; 4] {
///         [1, 2, 3, 4]
///     }
/// }
///
/// let now = Instant::now();
/// let mut session = Session::opened(Settings::default(), now);
/// let mut cx = Context { now, random: &mut Keys };
/// let (used, event) = session.receive(&mut cx, b"\x81\x02hi");
/// assert!(used == 4 && matches!(event, Some(Event::Text(text)) if text.as_str() == "hi"));
/// session.send_text(&mut cx, "ho")?;
/// assert_eq!(session.outgoing(), b"\x81\x82\x01\x02\x03\x04im"); // masked
/// # Ok::<(), moonwire::proto::Misuse>(())
/// ```
#[derive(Debug)]
pub struct Session(State);

// `Connection` is the large variant and stays; the handshake lasts one round trip.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum State {
    Opening(Box<Opening>),
    Open(Connection),
    /// The server answered the handshake with another response, whose body is being read.
    Refusing(Box<Refusing>),
    /// The handshake failed; its notes.
    Refused(Option<Vec<Note>>),
    /// HTTP.
    Stream(Box<Exchange>),
}

#[derive(Debug)]
struct Opening {
    handshake: Handshake,
    settings: Settings,
}

#[derive(Debug)]
struct Refusing {
    handshake: Handshake,
    refusal: Refusal,
}

impl Session {
    /// Starts with the opening handshake for `request`. `nonce` has to be random and fresh (RFC
    /// 6455 §4.1); the handshake fails at `deadline`.
    pub fn new(
        request: &Request,
        settings: Settings,
        nonce: [u8; 16],
        deadline: Option<Instant>,
    ) -> Session {
        let limits = Arc::clone(&settings.limits);
        let handshake = Handshake::new(request, nonce, deadline, limits, settings.trace);
        Session(State::Opening(Box::new(Opening { handshake, settings })))
    }

    /// A session for one request and its response. Methods that send messages or frames return
    /// [`Misuse::NotOpen`].
    pub fn stream(
        request: http::Request,
        delivery: http::Delivery,
        settings: &Settings,
        timing: http::Timing,
    ) -> Session {
        Session(State::Stream(Box::new(Exchange::new(request, delivery, settings, timing))))
    }

    /// A session that starts open, for tests and fuzzing of the protocol after the handshake.
    pub fn opened(settings: Settings, now: Instant) -> Session {
        Session(State::Open(Connection::new(settings, now, SendBuf::default(), None)))
    }

    /// As [`Session::opened`], after a server accepted `wanted` without a change.
    #[cfg(feature = "deflate")]
    pub fn opened_compressed(settings: Settings, now: Instant, wanted: Compression) -> Session {
        let codec = Some(Codec::client(&Agreed::to(&wanted), &wanted));
        Session(State::Open(Connection::new(settings, now, SendBuf::default(), codec)))
    }

    /// Takes bytes from the peer; returns how many it took, and at most one event. `(n, None)`
    /// means that it needs more input: the caller passes the rest again, with the next bytes behind
    /// it.
    pub fn receive<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        if let State::Stream(exchange) = &mut self.0 {
            return exchange.receive(cx, input);
        }
        match &mut self.0 {
            State::Open(connection) => connection.receive(cx, input),
            _ => self.receive_answer(cx, input),
        }
    }

    /// Takes the answer to the handshake. A function of its own, to keep [`Session::receive`]
    /// small.
    #[inline(never)]
    fn receive_answer<'b>(
        &mut self,
        cx: &mut Context<'_>,
        input: &'b [u8],
    ) -> (usize, Option<Event<'b>>) {
        let State::Opening(opening) = &mut self.0 else { return self.read_refusal(input) };
        match opening.handshake.receive(input) {
            Ok((used, None)) => (used, None),
            Ok((used, Some(Answer::Opened(opened)))) => {
                let settings = opening.settings.clone();
                let handshake = &mut opening.handshake;
                // A server may answer before all of the request was sent.
                let out = std::mem::take(&mut handshake.out);
                let codec = handshake.codec(&opened);
                let mut connection = Connection::new(settings, cx.now, out, codec);
                if let (Some(kept), Some(notes)) = (connection.notes(), &mut handshake.notes) {
                    kept.append(notes);
                }
                self.0 = State::Open(connection);
                (used, Some(Event::Opened(Box::new(opened))))
            }
            Ok((used, Some(Answer::Refused(head)))) => {
                // A redirect is followed without reading its body.
                match opening.handshake.redirected(&head) {
                    Ok(None) => {}
                    Ok(Some(to)) => {
                        return (
                            input.len(),
                            Some(self.end_failed(Closed::HandshakeRedirected(Box::new(to)))),
                        );
                    }
                    Err(why) => {
                        let response = Box::new(opening.handshake.refused(head));
                        let error = HandshakeError::Redirect { response, why };
                        return (input.len(), Some(self.refuse(error)));
                    }
                }
                self.refused(cx.now, head);
                let (more, event) = self.read_refusal(&input[used..]);
                (used + more, event)
            }
            Err(error) => (input.len(), Some(self.refuse(error))),
        }
    }

    /// Begins to read the body of a response that refuses the handshake; it may state the reason.
    fn refused(&mut self, now: Instant, head: Head) {
        let State::Opening(opening) = std::mem::replace(&mut self.0, State::Refused(None)) else {
            return;
        };
        let handshake = opening.handshake;
        let body = Body::of("GET", &head).map(|body| (body, None));
        let (response, until) = (handshake.refused(head), handshake.deadline);
        let refusal = Refusal::new(response, body, handshake.limits(), now, until);
        self.0 = State::Refusing(Box::new(Refusing { handshake, refusal }));
    }

    fn read_refusal(&mut self, input: &[u8]) -> (usize, Option<Event<'static>>) {
        let State::Refusing(refusing) = &mut self.0 else { return (input.len(), None) };
        match refusing.refusal.receive(input, refusing.handshake.limits()) {
            (used, false) => (used, None),
            (_, true) => (input.len(), self.end_refusal()),
        }
    }

    /// Ends the session when enough of the refused response's body has come.
    fn end_refusal(&mut self) -> Option<Event<'static>> {
        let State::Refusing(refusing) = std::mem::replace(&mut self.0, State::Refused(None)) else {
            return None;
        };
        let Refusing { handshake, refusal } = *refusing;
        let response = refusal.finish(|bytes| handshake.is_repeated_in(bytes));
        self.0 = State::Refused(handshake.notes);
        let failure = Failure::Handshake(HandshakeError::Status(response));
        Some(Event::Closed(Closed::Failed(failure)))
    }

    /// As [`Session::receive`], for a whole unfragmented message at the start of the input, which
    /// most are. `None`: the caller has to try [`Session::receive_inflated`] and then
    /// [`Session::receive`].
    #[cfg(feature = "net")]
    #[inline(always)]
    pub(crate) fn receive_lent<'b>(
        &mut self,
        now: Instant,
        input: &'b [u8],
    ) -> Option<(usize, Lent<'b>)> {
        match &mut self.0 {
            State::Open(connection) => connection.receive_lent(now, input),
            _ => None,
        }
    }

    /// As [`Session::receive_lent`], for a compressed message.
    #[cfg(feature = "net")]
    pub(crate) fn receive_inflated(
        &mut self,
        now: Instant,
        input: &[u8],
    ) -> Option<(usize, Message<'static>)> {
        match &mut self.0 {
            State::Open(connection) => connection.receive_inflated(now, input),
            _ => None,
        }
    }

    /// The peer has ended its stream (end of file).
    pub fn receive_eof(&mut self) -> Option<Event<'static>> {
        self.eof(false)
    }

    /// The stream broke, or ended without TLS `close_notify`. For a body that only the end of the
    /// stream ends, this is a truncation (RFC 9112 §9.8).
    pub fn receive_cut(&mut self) -> Option<Event<'static>> {
        self.eof(true)
    }

    fn eof(&mut self, cut: bool) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Open(connection) => connection.receive_eof(),
            State::Stream(exchange) => exchange.receive_eof(cut),
            State::Opening(_) => Some(self.refuse(HandshakeError::Eof)),
            State::Refusing(_) => self.end_refusal(),
            State::Refused(_) => None,
        }
    }

    /// Memory into which the driver may read the next bytes without a copy, while the session
    /// receives a large frame. The driver reports them with [`Session::filled`], and calls
    /// [`Session::drained`] when it can read nothing more.
    pub fn space(&mut self) -> Option<Space<'_>> {
        match &mut self.0 {
            State::Open(connection) => connection.space(),
            _ => None,
        }
    }

    /// The driver appended `n` bytes to the buffer of [`Session::space`]. The session checks UTF-8
    /// at the end of the message: that check also serves
    /// [`Text::as_str`](crate::proto::Text::as_str).
    pub fn filled(&mut self, cx: &mut Context<'_>, n: usize) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Open(connection) => connection.filled(cx, n),
            _ => None,
        }
    }

    /// The driver can read nothing more for now. Makes the check that [`Session::filled`] postponed
    /// (RFC 6455 §8.1), so that a peer that breaks a rule and then waits gets a close frame.
    #[inline]
    pub fn drained(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Open(connection) => connection.drained(cx),
            _ => None,
        }
    }

    /// The bytes that the driver has to write next.
    #[inline]
    pub fn outgoing(&self) -> &[u8] {
        match &self.0 {
            State::Open(connection) => connection.outgoing(),
            State::Stream(exchange) => exchange.outgoing(),
            State::Opening(opening) => opening.handshake.out.pending(),
            // A server that has answered need not read the rest of the request.
            State::Refusing(_) | State::Refused(_) => &[],
        }
    }

    /// The kernel took the first `n` bytes of [`Session::outgoing`] at `now`: 0 if it took none,
    /// all if `n` is more. Time limits count from this call.
    #[inline]
    pub fn sent(&mut self, now: Instant, n: usize) {
        let n = n.min(self.outgoing().len());
        self.sent_as(now, n, n);
    }

    /// As [`Session::sent`], where the kernel took `taken` bytes: over TLS, these are bytes of
    /// records. Until a record is complete, its bytes do not count in `n`.
    #[inline]
    pub(crate) fn sent_as(&mut self, now: Instant, n: usize, taken: usize) {
        match &mut self.0 {
            State::Open(connection) => connection.sent(now, n, taken),
            State::Stream(exchange) => exchange.sent(now, n, taken),
            State::Opening(opening) => opening.handshake.out.sent(n),
            State::Refusing(_) | State::Refused(_) => {}
        }
    }

    /// When the driver has to call [`Session::on_deadline`]. Any call that changes the session may
    /// change it.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            State::Open(connection) => connection.deadline(),
            State::Stream(exchange) => exchange.deadline(),
            State::Opening(opening) => opening.handshake.deadline,
            State::Refusing(refusing) => refusing.refusal.deadline,
            State::Refused(_) => None,
        }
    }

    /// The deadline has passed. Before this call, the driver passes bytes that have arrived to
    /// [`Session::receive`], so that they count.
    pub fn on_deadline(&mut self, cx: &mut Context<'_>) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Open(connection) => connection.on_deadline(cx),
            State::Stream(exchange) => exchange.on_deadline(cx.now),
            State::Opening(opening) if opening.handshake.deadline.is_some_and(|d| d <= cx.now) => {
                Some(self.refuse(HandshakeError::Timeout))
            }
            State::Refusing(refusing) if refusing.refusal.deadline.is_some_and(|d| d <= cx.now) => {
                self.end_refusal()
            }
            _ => None,
        }
    }

    /// Queues a text message.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_text(&mut self, cx: &mut Context<'_>, text: &str) -> Result<(), Misuse> {
        self.open()?.send_message(cx, Opcode::Text, text.as_bytes())
    }

    /// Queues a binary message.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn send_binary(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), Misuse> {
        self.open()?.send_message(cx, Opcode::Binary, data)
    }

    /// Queues a text message uncompressed, even if compression was negotiated: for a message that
    /// mixes a secret with text that others choose ([`Compression`]).
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_text_plain(&mut self, cx: &mut Context<'_>, text: &str) -> Result<(), Misuse> {
        self.open()?.send(cx, Opcode::Text, text.as_bytes())
    }

    /// Queues a binary message uncompressed, as [`Session::send_text_plain`] does.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    #[cfg(feature = "deflate")]
    pub fn send_binary_plain(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), Misuse> {
        self.open()?.send(cx, Opcode::Binary, data)
    }

    /// Queues a ping with at most 125 bytes.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, the payload has more than 125 bytes, or more than
    /// [`Limits::send_queue`](crate::Limits::send_queue) bytes wait to be sent already.
    pub fn ping(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), Misuse> {
        self.open()?.send(cx, Opcode::Ping, data)
    }

    /// How many bytes the session takes now of a body that [`http::Request::body_to_come`]
    /// announced: at most 64 KiB. 0 while [`Limits::body_queue`](crate::Limits::body_queue) bytes
    /// of the request are waiting, before [`Session::connected`], and when the body is complete.
    /// For a body with a length it is at most one more than is left, and so 1 at the end: the
    /// source is then read once more, and shows whether it has ended.
    pub fn body_room(&self) -> usize {
        match &self.0 {
            State::Stream(exchange) => exchange.body_room(),
            _ => 0,
        }
    }

    /// Takes the next piece of that body, and sends it as one chunk if the body has no length (RFC
    /// 9112 §7.1). A piece larger than [`Session::body_room`] is accepted and waits in memory. A
    /// piece beyond the length of the body ends the session
    /// ([`HttpError::LongBody`](http::HttpError::LongBody)). After the response is complete, pieces
    /// are discarded. The limit for a server that takes nothing
    /// ([`Limits::stall`](crate::Limits::stall)) counts from `now`, unless it is running already.
    pub fn send_body(&mut self, now: Instant, piece: &[u8]) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Stream(exchange) => exchange.send_body(now, piece),
            _ => None,
        }
    }

    /// The body is complete. Before this call, the session holds back the last byte of a body with
    /// a length. If bytes are missing, the session ends
    /// ([`HttpError::ShortBody`](http::HttpError::ShortBody)).
    pub fn end_body(&mut self, now: Instant) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Stream(exchange) => exchange.end_body(now),
            _ => None,
        }
    }

    /// Whether the program still has to supply pieces of that body, or to call
    /// [`Session::end_body`].
    pub fn is_uploading(&self) -> bool {
        matches!(&self.0, State::Stream(exchange) if exchange.is_uploading())
    }

    /// Starts the closing handshake behind everything that is queued, or answers the peer's close
    /// frame.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: the connection is not open, or the code or the reason may not be sent (RFC 6455
    /// §7.4, §5.5.1).
    pub fn close(&mut self, cx: &mut Context<'_>, frame: &CloseFrame) -> Result<(), Misuse> {
        frame.check()?;
        self.open()?.close(cx, frame)
    }

    /// Sends the close frame that [`Settings::hold_close`] held back; otherwise does nothing.
    pub fn answer_close(&mut self, cx: &mut Context<'_>) {
        if let State::Open(connection) = &mut self.0 {
            connection.answer_close(cx);
        }
    }

    /// Whether the program can send messages. That may be so even after the final event: while our
    /// close frame is held back.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(&self.0, State::Open(connection) if connection.may_send())
    }

    /// Whether this is a WebSocket whose opening handshake is complete.
    #[cfg(feature = "net")]
    pub(crate) fn is_web_socket(&self) -> bool {
        matches!(&self.0, State::Open(_))
    }

    /// Whether the response was refused, and the session still reads its body.
    #[cfg(any(feature = "net", test, fuzzing))]
    pub(crate) fn is_refused(&self) -> bool {
        match &self.0 {
            State::Refusing(_) => true,
            State::Stream(exchange) => exchange.is_refused(),
            _ => false,
        }
    }

    /// Whether the session discards everything that the peer may still send, because the peer has
    /// sent its close frame or has broken a rule.
    #[cfg(feature = "net")]
    pub(crate) fn discards_input(&self) -> bool {
        matches!(&self.0, State::Open(connection) if connection.discards_input())
    }

    /// The connection is ready: the session may send the request of a stream. The time for the
    /// response ([`http::Timing::response`]) starts when [`Session::sent`] reports its last byte.
    pub fn connected(&mut self, now: Instant) {
        if let State::Stream(exchange) = &mut self.0 {
            exchange.wait_from(now);
        }
    }

    /// Reading was paused and has resumed. The time limits for the peer restart: while it was not
    /// read, its silence proved nothing.
    pub fn read_again(&mut self, now: Instant) {
        match &mut self.0 {
            State::Stream(exchange) => exchange.wait_from(now),
            State::Open(connection) => connection.read_again(now),
            State::Opening(_) | State::Refusing(_) | State::Refused(_) => {}
        }
    }

    /// When the driver has to call [`Session::on_deadline_unread`] while it reads nothing. Limits
    /// on silence do not count, and if the program `paused` reading, neither does
    /// [`Limits::stall`](crate::Limits::stall).
    #[cfg(feature = "net")]
    pub(crate) fn deadline_unread(&self, paused: bool) -> Option<Instant> {
        match &self.0 {
            State::Stream(exchange) if exchange.is_in_body() => None,
            State::Open(connection) => connection.deadline_unread(paused),
            _ => self.deadline(),
        }
    }

    /// The deadline of [`Session::deadline_unread`] has passed.
    #[cfg(feature = "net")]
    pub(crate) fn on_deadline_unread(
        &mut self,
        cx: &mut Context<'_>,
        paused: bool,
    ) -> Option<Event<'static>> {
        match &mut self.0 {
            State::Open(connection) => connection.on_deadline_unread(cx, paused),
            _ => self.on_deadline(cx),
        }
    }

    /// Whether this is a stream between its head and the end of its body.
    #[cfg(feature = "net")]
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(&self.0, State::Stream(exchange) if exchange.is_in_body())
    }

    /// Whether the session decodes a body or may inflate messages: events may then hold more bytes
    /// than came.
    #[cfg(feature = "net")]
    pub(crate) fn is_decoding(&self) -> bool {
        match &self.0 {
            State::Open(connection) => connection.is_decoding(),
            State::Stream(exchange) => exchange.is_decoding(),
            _ => false,
        }
    }

    /// How many bytes of memory an unfinished message takes.
    #[cfg(feature = "net")]
    pub(crate) fn unfinished(&self) -> usize {
        match &self.0 {
            State::Open(connection) => connection.unfinished(),
            _ => 0,
        }
    }

    /// The exchange, if this is a stream.
    #[cfg(any(feature = "net", test, fuzzing))]
    pub(crate) fn exchange(&self) -> Option<&Exchange> {
        match &self.0 {
            State::Stream(exchange) => Some(exchange),
            _ => None,
        }
    }

    /// How many bytes are queued and not yet reported by [`Session::sent`].
    #[inline]
    pub fn buffered(&self) -> usize {
        match &self.0 {
            State::Open(connection) => connection.buffered(),
            State::Stream(exchange) => exchange.buffered(),
            State::Opening(opening) => opening.handshake.out.len(),
            State::Refusing(_) | State::Refused(_) => 0,
        }
    }

    /// As [`SendBuf::borrow_memory`], for an open WebSocket.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn borrow_memory(&mut self, spares: &mut Spares) {
        if let State::Open(connection) = &mut self.0 {
            connection.out().borrow_memory(spares);
        }
    }

    /// As [`SendBuf::return_memory`].
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn return_memory(&mut self, spares: &mut Spares) {
        if let State::Open(connection) = &mut self.0 {
            connection.out().return_memory(spares);
        }
    }

    /// Counters of a WebSocket whose opening handshake is complete.
    pub fn stats(&self) -> Option<Stats> {
        match &self.0 {
            State::Open(connection) => Some(connection.stats()),
            _ => None,
        }
    }

    /// Whether [`Session::sent`] needs the time even if the kernel takes all bytes, because a time
    /// limit starts with them.
    #[cfg(feature = "net")]
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        match &self.0 {
            State::Open(connection) => connection.is_timed(),
            State::Stream(_) => true,
            State::Opening(_) | State::Refusing(_) | State::Refused(_) => false,
        }
    }

    /// How many bytes were accepted, by `send_*` and `ping` or as the request of a stream, and not
    /// sent. Frames of the session itself count only if they stand between accepted ones. After the
    /// final event, these bytes are lost.
    pub fn unsent(&self) -> usize {
        match &self.0 {
            State::Open(connection) => connection.unsent(),
            State::Stream(exchange) => exchange.unsent(),
            State::Opening(_) | State::Refusing(_) | State::Refused(_) => 0,
        }
    }

    /// The notes that the caller has not yet taken out of the vector, if the session keeps notes.
    pub fn notes(&mut self) -> Option<&mut Vec<Note>> {
        match &mut self.0 {
            State::Open(connection) => connection.notes(),
            State::Stream(exchange) => exchange.notes(),
            State::Opening(opening) => opening.handshake.notes.as_mut(),
            State::Refusing(refusing) => refusing.handshake.notes.as_mut(),
            State::Refused(notes) => notes.as_mut(),
        }
    }

    fn open(&mut self) -> Result<&mut Connection, Misuse> {
        match &mut self.0 {
            State::Open(connection) => Ok(connection),
            _ => Err(Misuse::NotOpen),
        }
    }

    fn refuse(&mut self, error: HandshakeError) -> Event<'static> {
        self.end_failed(Closed::Failed(Failure::Handshake(error)))
    }

    /// Ends the session, since the handshake has failed.
    fn end_failed(&mut self, closed: Closed) -> Event<'static> {
        let notes = self.notes().map(std::mem::take);
        self.0 = State::Refused(notes);
        Event::Closed(closed)
    }
}

#[cfg(feature = "net")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proto::{Random, Url};

    struct Zero;

    impl Random for Zero {
        fn key(&mut self) -> [u8; 4] {
            [0; 4]
        }
    }

    fn opening() -> Session {
        let request = Request::new(Url::parse("ws://a.example/").unwrap());
        Session::new(&request, Settings::default(), [0; 16], None)
    }

    fn stream(timing: http::Timing) -> Session {
        let url = Url::parse_http("http://a.example/").unwrap();
        let request = http::Request::new("GET", url).unwrap();
        Session::stream(request, http::Delivery::Events, &Settings::default(), timing)
    }

    fn receive(session: &mut Session, now: Instant, input: &[u8]) {
        let mut cx = Context { now, random: &mut Zero };
        let (used, _) = session.receive(&mut cx, input);
        assert_eq!(used, input.len());
    }

    #[test]
    fn a_web_socket_is_one_from_the_end_of_its_handshake() {
        let now = Instant::now();
        assert!(!opening().is_web_socket());
        assert!(Session::opened(Settings::default(), now).is_web_socket());
        assert!(!stream(http::Timing::default()).is_web_socket());
    }

    /// While nothing is read, the silence of a body proves nothing; a head that is late is late.
    #[test]
    fn what_is_not_read_has_a_limit_up_to_the_head() {
        let now = Instant::now();
        let (head_by, idle) = (now + Duration::from_secs(70), Duration::from_secs(5));
        let timing = http::Timing { head_by: Some(head_by), idle: Some(idle), response: None };
        let mut session = stream(timing);
        for paused in [false, true] {
            assert_eq!(session.deadline_unread(paused), Some(head_by));
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        receive(&mut session, now, head);
        assert_eq!(session.deadline(), Some(now + idle));
        for paused in [false, true] {
            assert_eq!(session.deadline_unread(paused), None);
        }
    }

    #[test]
    fn a_handshake_and_a_refusal_end_at_their_deadline_and_not_before() {
        let now = Instant::now();
        let request = Request::new(Url::parse("ws://a.example/").unwrap());
        let limit = Some(now + Duration::from_secs(5));
        for answer in [&b""[..], b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n"] {
            let mut session = Session::new(&request, Settings::default(), [0; 16], limit);
            receive(&mut session, now, answer);
            let end = session.deadline().unwrap();
            let mut at = |now| session.on_deadline(&mut Context { now, random: &mut Zero });
            assert_eq!(at(end - Duration::from_nanos(1)), None);
            assert!(matches!(at(end), Some(Event::Closed(_))));
        }
    }

    /// While a close frame is sent, its answer has a limit.
    #[test]
    fn a_limit_may_start_with_sent_bytes_in_a_stream_and_behind_a_close_frame() {
        let now = Instant::now();
        assert!(!opening().is_timed());
        assert!(stream(http::Timing::default()).is_timed());
        let mut session = Session::opened(Settings::default(), now);
        assert!(!session.is_timed());
        let mut cx = Context { now, random: &mut Zero };
        session.close(&mut cx, &CloseFrame::default()).unwrap();
        assert!(session.is_timed());
    }

    /// The example of RFC 7692 §7.2.3.1.
    #[cfg(feature = "deflate")]
    #[test]
    fn a_whole_compressed_message_needs_no_more_than_one_look() {
        let now = Instant::now();
        let hello = b"\xC1\x07\xF2\x48\xCD\xC9\xC9\x07\x00";
        assert!(opening().receive_inflated(now, hello).is_none());
        let wanted = Compression::default();
        let mut session = Session::opened_compressed(Settings::default(), now, wanted);
        let got = session.receive_inflated(now, hello);
        assert!(matches!(got, Some((9, Message::Text(text))) if text.as_str() == "Hello"));
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn a_session_decodes_if_its_body_is_coded_or_its_messages_may_be() {
        let now = Instant::now();
        assert!(!opening().is_decoding());
        assert!(!Session::opened(Settings::default(), now).is_decoding());
        let wanted = Compression::default();
        assert!(Session::opened_compressed(Settings::default(), now, wanted).is_decoding());
        for (field, want) in [("", false), ("Content-Encoding: gzip\r\n", true)] {
            let mut session = stream(http::Timing::default());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{field}\r\n");
            receive(&mut session, now, head.as_bytes());
            assert_eq!(session.is_decoding(), want, "{field}");
        }
    }
}
