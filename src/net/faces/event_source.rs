//! A blocking source of server-sent events that reconnects.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::interrupter::{Interrupter, is_interrupted};
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::ask::{Config, StreamOptions};
use crate::net::event::{Closed, ConnId, Event};
use crate::net::reactor::{Conn, Reactor};
use crate::net::sys::{Os, OwnedStream, Sys};
use crate::net::time::after;
use crate::proto::CloseFrame;
use crate::proto::http::{Delivery, HttpError};
use crate::proto::sse::{self, EventOrComment, Reconnect};

/// The result of waiting for an event source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incoming {
    /// An event.
    Event(sse::Event),
    /// A comment: the text behind the colon of its line, without one leading space. It comes before
    /// the event whose lines surround it. Servers send empty ones to show that they are alive.
    Comment(String),
    /// A stream is open: the first one, or one after [`Incoming::Reconnecting`] or
    /// [`EventSource::restart`].
    Opened,
    /// A stream, or an attempt to open one, has ended. The next attempt starts `after` this time,
    /// or with the first call after it. Until a stream is open, [`EventSource::last_error`] is the
    /// reason. Each end is reported, however rarely the program calls: nothing happens between
    /// calls.
    Reconnecting {
        /// How long to wait, from the call that returned this.
        after: Duration,
    },
    /// The timeout of the call has passed.
    Nothing,
    /// No further event comes.
    Closed,
}

/// The events of a server, over as many connections as needed (WHATWG HTML §9.2); calls block.
///
/// ```no_run
/// use moonwire::{EventSource, StreamOptions};
///
/// let options = StreamOptions::get("https://example.com/events")?;
/// let mut source = EventSource::new(options).reconnect(true);
/// while let Some(event) = source.next_event()? {
///     println!("{}: {}", event.event, event.data);
/// }
/// # Ok::<(), moonwire::Error>(())
/// ```
///
/// Nothing happens before the program asks for the first event, and nothing between two calls:
/// bytes that a server sends meanwhile wait in the kernel, and then at the server. Changed settings
/// apply from the next connection on. Dropping the source ends its connection.
///
/// # What ends it, and what does not
///
/// * Status 200 and the type `text/event-stream` open a stream. 204 ends the source for good,
///   without an error. Any other response also ends it for good, with an error
///   ([`HttpError::Status`], [`HttpError::ContentType`]; [`Error::status`] has the status), except
///   those that mean "not now", if [`EventSource::reconnect_when_refused`] is set.
/// * The end of a body, and an error that may pass, end it unless [`EventSource::reconnect`] is
///   set: a name that is not resolved, a connection that is refused or breaks, TLS that fails, a
///   body that is incomplete or has wrong framing, a time limit, the idle limit.
/// * An error that would come again also ends it for good: a certificate that is not trusted, a
///   response that is not HTTP, a redirect that is not followed, an event beyond
///   [`Limits::sse_block`].
///
/// An error is returned once; then the source has ended. A new source can go on from
/// [`EventSource::last_event_id`], and [`EventSource::restart`] makes this one go on from there.
///
/// # Each connection
///
/// A connection starts from the URL of the options, even if the connection before followed
/// redirects, and sends the same method, fields and body: even a `POST` is sent again. It also
/// sends `Accept: text/event-stream` and `Cache-Control: no-cache`, unless the options have such
/// fields, and the last event ID as `Last-Event-ID`, unless it is empty. An ID with control
/// characters is not sent, since no header can contain it (RFC 9110 §5.5); then the server cannot
/// know where to go on. A field `Last-Event-ID` of the options is not sent. Redirects get the ID,
/// too.
///
/// [`StreamOptions::timeout`] and the limits apply to each connection. [`StreamOptions::delivery`]
/// is ignored.
pub struct EventSource<S: Sys = Os> {
    options: StreamOptions,
    /// The configuration of the next reactor.
    config: Option<Config>,
    /// Returns the stream for the next connection, if the program connects.
    over: Option<Over>,
    /// Creates the system of a reactor.
    make: Make<S>,
    /// INVARIANT: `Some` from the first connection on.
    reactor: Option<Reactor<S>>,
    reconnect: bool,
    reconnect_when_refused: bool,
    retry: Option<Duration>,
    retry_floor: Option<Duration>,
    // The source parses, not the session: a session reports events only, so an ID or a `retry`
    // without data would be lost, and both have to outlive the connection. So bodies are delivered
    // as bytes, and the parser has exactly the position of the caller.
    parser: sse::Events,
    plan: Reconnect,
    state: State,
    inbox: Inbox,
    last_error: Option<Error>,
    interrupter: Option<Interrupter>,
    /// Connects the interrupter to the next reactor's poller. `None` without an interrupter, which
    /// needs a poller that can be shared.
    attach: Option<fn(&Interrupter, &Reactor<S>)>,
}

/// Creates the system of a reactor, once for each configuration.
type Make<S> = Box<dyn FnMut(&Limits) -> io::Result<S> + Send>;

enum State {
    /// Connects at that time; `None`: at once.
    Waiting(Option<Instant>),
    Connected {
        id: ConnId,
        /// `opened` was called: the response is an event stream.
        open: bool,
    },
    Ended,
}

/// The bytes that a connection has received for the parser.
#[derive(Default)]
struct Inbox {
    /// The response was received and not reported yet; it is an event stream.
    open: bool,
    /// Bytes of the body; the first `at` of them were parsed.
    bytes: Vec<u8>,
    at: usize,
    /// How many parsed bytes were not reported to the reactor yet.
    consumed: usize,
    closed: Option<Closed>,
}

/// Returns a stream.
struct Over(Box<dyn FnMut() -> io::Result<OwnedStream> + Send>);

impl EventSource {
    /// A source with the request and the limits of `options`. It does not connect yet.
    pub fn new(options: StreamOptions) -> EventSource {
        // As [`Reactor::of_one`] does.
        EventSource::made(options, Box::new(Os::with_poll))
    }
}

impl<S: Sys> EventSource<S> {
    /// [`EventSource::new`] on other systems, such as a simulated network. A reactor consumes its
    /// system, and each configuration ([`EventSource::config`]) needs a reactor. So `make` is
    /// called before the first connection, and before the first one after each new configuration.
    /// If it fails, the call that connects returns its error ([`ErrorKind::Io`]), and the next
    /// attempt calls it again.
    pub fn on(
        options: StreamOptions,
        mut make: impl FnMut() -> io::Result<S> + Send + 'static,
    ) -> EventSource<S> {
        EventSource::made(options, Box::new(move |_| make()))
    }

    fn made(mut options: StreamOptions, make: Make<S>) -> EventSource<S> {
        options.delivery = Delivery::EventBytes;
        EventSource {
            options,
            config: Some(Config::default()),
            over: None,
            make,
            reactor: None,
            reconnect: false,
            reconnect_when_refused: false,
            retry: None,
            retry_floor: None,
            parser: sse::Events::new(&Limits::default()),
            plan: Reconnect::default(),
            state: State::Waiting(None),
            inbox: Inbox::default(),
            last_error: None,
            interrupter: None,
            attach: None,
        }
    }

    /// Whether to connect again after the end of a body and after errors that may pass; default
    /// `false`. The source does so for as long as the program asks for events, after waits that
    /// [`Reconnect`] computes; meanwhile [`EventSource::last_error`] is the reason.
    pub fn reconnect(mut self, reconnect: bool) -> EventSource<S> {
        self.reconnect = reconnect;
        self
    }

    /// With [`EventSource::reconnect`]: whether a response that means "not now"
    /// ([`Response::is_transient`]: 429, 502, 503 and a few more, such as a proxy sends while the
    /// server behind it restarts) is a failed attempt, and not an error for good; default `false`,
    /// as in WHATWG HTML §9.2.3. The wait is at least as long as the response asks for
    /// ([`Error::retry_after`]), up to [`Limits::sse_retry_ceiling`].
    ///
    /// [`Response::is_transient`]: crate::proto::http::Response::is_transient
    pub fn reconnect_when_refused(mut self, reconnect: bool) -> EventSource<S> {
        self.reconnect_when_refused = reconnect;
        self
    }

    /// How long to wait before a reconnect, until the server sends a `retry`; default
    /// [`Limits::sse_retry`]. The same bounds apply as for the server's value.
    pub fn retry(mut self, retry: Duration) -> EventSource<S> {
        self.retry = Some(retry);
        self
    }

    /// The shortest wait before a reconnect, whatever the server sends; default
    /// [`Limits::sse_retry_floor`]. At least 1 ms.
    pub fn retry_floor(mut self, floor: Duration) -> EventSource<S> {
        self.retry_floor = Some(floor);
        self
    }

    /// The longest silence of an open stream, after which it counts as lost; `None`, the default:
    /// unlimited. Comments end a silence too, and servers send them for that, every 15 s as §9.2.7
    /// advises. The same as [`StreamOptions::idle`].
    pub fn idle(mut self, idle: Option<Duration>) -> EventSource<S> {
        self.options.idle = idle;
        self
    }

    /// Goes on after the event with this stored ID. An ID with CR, LF or NUL cannot come from an
    /// event and is ignored.
    pub fn resume(mut self, id: &str) -> EventSource<S> {
        self.parser.set_last_event_id(id);
        self
    }

    /// Sets TLS, limits, overrides and an observer.
    pub fn config(mut self, config: Config) -> EventSource<S> {
        self.config = Some(config);
        self
    }

    /// For each connection, calls `next` for a stream that is connected to the server, or to a
    /// tunnel to it. (The stream of [`StreamOptions::over`] serves one connection only.) If `next`
    /// fails, the connection fails ([`ErrorKind::Connect`]). Redirects cannot be followed.
    ///
    /// ```no_run
    /// use moonwire::{EventSource, StreamOptions};
    ///
    /// let options = StreamOptions::get("http://events.example/")?;
    /// let mut source = EventSource::new(options)
    ///     .over(|| std::net::TcpStream::connect("127.0.0.1:8080"))
    ///     .reconnect(true);
    /// # Ok::<(), moonwire::Error>(())
    /// ```
    pub fn over<T: Into<OwnedStream>>(
        mut self,
        mut next: impl FnMut() -> io::Result<T> + Send + 'static,
    ) -> EventSource<S> {
        self.over = Some(Over(Box::new(move || next().map(T::into))));
        self
    }

    /// The `Last-Event-ID` that the next connection would send, and from which another source can
    /// go on: the ID after the last returned event, and after the blocks without data behind it.
    /// Empty if there is none.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Whether a stream was open at the end of the last call.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Connected { open: true, .. })
    }

    /// Why no stream is open: the error that ended the last one or prevented it, unless a call has
    /// returned that error. `None` while a stream is open, after a body that ended regularly, and
    /// before the first attempt has ended.
    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// A handle that ends a blocking call of this source from another thread, also while the source
    /// waits or connects. The next call goes on.
    pub fn interrupter(&mut self) -> Interrupter
    where
        S: 'static,
    {
        let attach = |interrupter: &Interrupter, reactor: &Reactor<S>| {
            interrupter.attach(&reactor.poller());
        };
        self.attach = Some(attach);
        let interrupter = self.interrupter.get_or_insert_default().clone();
        if let Some(reactor) = &self.reactor {
            attach(&interrupter, reactor);
        }
        interrupter
    }

    /// Ends the connection, if there is one. The next call reconnects without a wait: with the last
    /// event ID, and as if no attempt had failed. A source that has ended, with an error or
    /// without, begins again too.
    ///
    /// Received bytes that were not returned as events are discarded: a server that uses IDs sends
    /// those events again.
    pub fn restart(&mut self) {
        self.end_connection();
        self.plan = Reconnect::default();
        self.last_error = None;
        self.state = State::Waiting(None);
    }

    /// The next event; `None` when no further one comes. Skips every other [`Incoming`].
    ///
    /// # Errors
    ///
    /// The error that ends the source, once; see
    /// [above](EventSource#what-ends-it-and-what-does-not).
    pub fn next_event(&mut self) -> Result<Option<sse::Event>, Error> {
        loop {
            if let Some(event) = self.whole_event() {
                return Ok(Some(event));
            }
            match self.next_until(None)? {
                Incoming::Event(event) => return Ok(Some(event)),
                Incoming::Closed => return Ok(None),
                _ => {}
            }
        }
    }

    /// An event that is whole in the received bytes, without the other checks of
    /// [`EventSource::look`].
    #[inline]
    fn whole_event(&mut self) -> Option<sse::Event> {
        if self.inbox.open || !matches!(self.state, State::Connected { .. }) {
            return None;
        }
        let (used, event) = self.parser.receive_whole(self.inbox.unread())?;
        self.inbox.used(used);
        event
    }

    /// The next [`Incoming`], if it comes within `timeout`, also while the source waits or
    /// connects. Zero returns only what has already come.
    ///
    /// # Errors
    ///
    /// As [`EventSource::next_event`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Incoming, Error> {
        // The time is read from the reactor's system, so the reactor has to exist.
        if matches!(self.state, State::Waiting(_))
            && let Err(e) = self.make_reactor()
        {
            self.end();
            return Err(self.error(Stage::Connect, ErrorKind::Io(e)));
        }
        self.next_until(Some(after(self.clock(), timeout)))
    }

    fn next_until(&mut self, until: Option<Instant>) -> Result<Incoming, Error> {
        let result = self.wait(until);
        match &result {
            Err(e) if !matches!(e.kind(), ErrorKind::Interrupted) => self.end(),
            _ => {}
        }
        result
    }

    fn wait(&mut self, until: Option<Instant>) -> Result<Incoming, Error> {
        let mut late = false;
        loop {
            if let Some(incoming) = self.look()? {
                return Ok(incoming);
            }
            if late {
                return Ok(Incoming::Nothing);
            }
            if is_interrupted(self.interrupter.as_ref()) {
                return Err(self.error(self.stage(), ErrorKind::Interrupted));
            }
            // Checked before the step, so that a timeout of zero makes one step.
            late = until.is_some_and(|until| until <= self.clock());
            self.work(until)?;
        }
    }

    /// The next item to return, if it has come.
    fn look(&mut self) -> Result<Option<Incoming>, Error> {
        if std::mem::take(&mut self.inbox.open) {
            return Ok(Some(self.opened()));
        }
        if let Some(incoming) = self.parse()? {
            return Ok(Some(incoming));
        }
        if let Some(closed) = self.inbox.closed.take() {
            return self.ended(closed).map(Some);
        }
        Ok(matches!(self.state, State::Ended).then_some(Incoming::Closed))
    }

    /// One step: connects if the wait is over; otherwise waits for bytes or for the end of the
    /// wait.
    fn work(&mut self, until: Option<Instant>) -> Result<(), Error> {
        let until = match self.state {
            State::Waiting(None) => return self.connect(),
            State::Waiting(Some(at)) if at <= self.clock() => return self.connect(),
            State::Waiting(Some(at)) => Some(until.map_or(at, |until| until.min(at))),
            State::Connected { .. } => until,
            State::Ended => return Ok(()),
        };
        let (Some(reactor), inbox) = (&mut self.reactor, &mut self.inbox) else { return Ok(()) };
        let mut sink = |conn: &mut Conn<'_>, event: Event<'_>| inbox.put(conn, event);
        let turned = reactor.turn(until, &mut sink);
        turned.map_err(|e| self.error(Stage::Body, ErrorKind::Io(e)))
    }

    fn connect(&mut self) -> Result<(), Error> {
        let mut options = self.options.clone();
        options.request.headers.remove(&["last-event-id"]);
        let id = self.parser.last_event_id();
        if !id.is_empty() {
            // `header` refuses an ID that a header cannot contain; then it is not sent.
            let _ = options.request.header("Last-Event-ID", id);
        }
        let made = self.make_reactor();
        made.map_err(|e| self.error(Stage::Connect, ErrorKind::Io(e)))?;
        match self.over.as_mut().map(|Over(next)| next()) {
            None => {}
            Some(Ok(stream)) => options = options.over(stream),
            Some(Err(e)) => {
                // The error needs an address, but there is none.
                let nowhere = ([0, 0, 0, 0], 0).into();
                let error = self.error(Stage::Connect, ErrorKind::Connect(vec![(nowhere, e)]));
                self.inbox.closed = Some(Closed::Failed(error));
                return Ok(());
            }
        }
        self.parser.set_limits(&self.limits());
        self.parser.restart();
        if let Some(reactor) = &mut self.reactor {
            self.state = State::Connected { id: reactor.open(options)?, open: false };
        }
        Ok(())
    }

    /// Creates a reactor from the last configuration, unless it exists already. The system is
    /// created first, since it may lack resources: then the configuration, which can be used once,
    /// is kept, and [`EventSource::restart`] may succeed later.
    fn make_reactor(&mut self) -> io::Result<()> {
        if let Some(config) = self.config.take() {
            match (self.make)(&config.limits) {
                Ok(sys) => {
                    // The previous reactor has another configuration, and must not be used if this
                    // one fails.
                    self.reactor = None;
                    let reactor = self.reactor.insert(Reactor::with_sys(sys, config)?);
                    if let (Some(interrupter), Some(attach)) = (&self.interrupter, self.attach) {
                        attach(interrupter, reactor);
                    }
                }
                Err(e) => {
                    self.config = Some(config);
                    return Err(e);
                }
            }
        }
        match self.reactor {
            Some(_) => Ok(()),
            None => Err(io::Error::other("no reactor could be made of the configuration before")),
        }
    }

    /// Records that a stream was opened.
    fn opened(&mut self) -> Incoming {
        if let State::Connected { open, .. } = &mut self.state {
            *open = true;
        }
        self.plan.opened();
        self.last_error = None;
        Incoming::Opened
    }

    /// The next event or comment in the received bytes.
    fn parse(&mut self) -> Result<Option<Incoming>, Error> {
        let State::Connected { id, .. } = self.state else { return Ok(None) };
        let input = self.inbox.unread();
        let parsed = match input.is_empty() {
            true => Ok((0, None)),
            false => self.parser.receive_with_comments(input),
        };
        match parsed {
            Ok((used, item)) => {
                self.inbox.used(used);
                let consumed = std::mem::take(&mut self.inbox.consumed);
                if consumed > 0
                    && let Some(reactor) = &mut self.reactor
                {
                    reactor.consumed(id, consumed);
                }
                Ok(item.map(|item| match item {
                    EventOrComment::Event(event) => Incoming::Event(event),
                    EventOrComment::Comment(text) => Incoming::Comment(text),
                }))
            }
            // The error would come again: the server sends this event again.
            Err(e) => {
                let kind = ErrorKind::Http(HttpError::EventStream(e));
                let error = self.error(Stage::Body, kind).with_status(Some(200));
                Err(error.with_limits(&self.limits()))
            }
        }
    }

    /// Decides how to go on after a connection that has ended; all its bytes were parsed.
    fn ended(&mut self, closed: Closed) -> Result<Incoming, Error> {
        let error = match closed {
            Closed::Failed(e) | Closed::Lost(e) => Some(e),
            Closed::Clean(_) | Closed::Complete => None,
        };
        // With 204 a server asks clients not to reconnect (§9.2.1).
        if error.as_ref().and_then(Error::response).is_some_and(|r| r.status == 204) {
            self.end();
            return Ok(Incoming::Closed);
        }
        let again = self.reconnect && error.as_ref().is_none_or(|e| self.may_go_on_after(e));
        match error {
            Some(e) if !again => return Err(e),
            None if !again => {
                self.end();
                return Ok(Incoming::Closed);
            }
            error => self.last_error = error,
        }
        let random = self.reactor.as_mut().map_or(0, |r| r.random()[0]);
        let retry = self.parser.retry().or(self.retry);
        let asked = self.last_error.as_ref().and_then(Error::retry_after);
        self.plan.at_least(asked.unwrap_or_default());
        let wait = self.plan.wait(&self.limits(), retry, random);
        self.state = State::Waiting(Some(after(self.clock(), wait)));
        Ok(Incoming::Reconnecting { after: wait })
    }

    /// Whether another attempt may succeed. §9.2.3 lets a client give up if it knows that none can.
    /// A response that opens no stream ends a source for good, unless the program chose otherwise.
    fn may_go_on_after(&self, error: &Error) -> bool {
        error.is_transient() && (error.response().is_none() || self.reconnect_when_refused)
    }

    /// Ends the source and its connection.
    fn end(&mut self) {
        self.end_connection();
        self.state = State::Ended;
    }

    /// Ends the connection, and discards its received bytes.
    fn end_connection(&mut self) {
        self.release();
        self.inbox = Inbox::default();
        // The slot of the connection is free only after a turn. If the system cannot wait, a later
        // call that waits reports that.
        if let (State::Connected { .. }, Some(reactor)) = (&self.state, &mut self.reactor) {
            let _ = reactor.turn(Some(reactor.clock()), &mut |_: &mut Conn<'_>, _: Event<'_>| {});
        }
    }

    fn release(&mut self) {
        if let (State::Connected { id, .. }, Some(reactor)) = (&self.state, &mut self.reactor) {
            reactor.release(*id, &CloseFrame::new(1000, ""));
        }
    }

    /// The limits of the connections, with the settings of this source.
    fn limits(&self) -> Limits {
        let mut limits = match (&self.options.limits, &self.reactor) {
            (Some(own), _) => (**own).clone(),
            (None, Some(reactor)) => reactor.limits().clone(),
            (None, None) => Limits::default(),
        };
        limits.sse_retry_floor = self.retry_floor.unwrap_or(limits.sse_retry_floor);
        limits
    }

    /// The time by the clock of the reactor's system, if there is a reactor.
    fn clock(&self) -> Instant {
        self.reactor.as_ref().map_or_else(Instant::now, Reactor::clock)
    }

    fn stage(&self) -> Stage {
        if self.is_open() { Stage::Body } else { Stage::Connect }
    }

    fn error(&self, stage: Stage, kind: ErrorKind) -> Error {
        Error::new(self.options.url(), stage, kind)
    }
}

impl<S: Sys> Iterator for EventSource<S> {
    type Item = Result<sse::Event, Error>;

    /// As [`EventSource::next_event`]; an error is the last item.
    fn next(&mut self) -> Option<Result<sse::Event, Error>> {
        self.next_event().transpose()
    }
}

/// A larger buffer is freed when it is empty: a waiting source keeps little memory, whatever it has
/// received.
const KEEP: usize = 64 * 1024;

impl Inbox {
    fn put(&mut self, conn: &mut Conn<'_>, event: Event<'_>) {
        match event {
            Event::Response(_) => self.open = true,
            Event::Chunk(data) => {
                conn.hold(data.len());
                self.bytes.extend_from_slice(&data);
            }
            Event::Closed(closed) => self.closed = Some(closed),
            // Only a WebSocket has other events.
            _ => {}
        }
    }

    fn unread(&self) -> &[u8] {
        // `at` never exceeds the length.
        &self.bytes[self.at..]
    }

    fn used(&mut self, n: usize) {
        self.at += n;
        self.consumed += n;
        if self.at >= self.bytes.len() {
            self.at = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
        }
    }
}

impl<S: Sys> fmt::Debug for EventSource<S> {
    /// Shows the URL as errors do, and no received bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("url", &self.options.url().to_string())
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl<S: Sys> Drop for EventSource<S> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_used_up_is_given_back() {
        let mut inbox = Inbox { bytes: vec![1; 1 << 20], ..Inbox::default() };
        inbox.used(10);
        assert_eq!(inbox.unread().len(), (1 << 20) - 10);
        inbox.used((1 << 20) - 10);
        assert!(inbox.unread().is_empty() && inbox.bytes.capacity() <= KEEP);
    }
}
