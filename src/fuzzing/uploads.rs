//! The body of a request that is given in pieces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::heads::request_head;
use super::input::Input;
use crate::limits::Limits;
use crate::proto::http::{Delivery, HttpError, Request, Timing};
use crate::proto::{Closed, Event, Failure, Session, Settings, Url};

/// The most bytes of a request besides its body.
const HEAD: usize = 300;

/// Two bytes of choices, then a sequence of steps: the program gives a piece, with room for it or
/// not, or ends the body; the kernel takes some bytes; time passes. The output is framed as the
/// head declares, a body of another length is never sent completely, and the queue is bounded.
pub fn upload(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let length = (choice & 1 != 0).then_some(u64::from(choice >> 1) * 3);
    let mark = input.pick(&[65_536usize, 1, 0, 10, 300]);
    let url = Url::parse_http("https://server.example/x?y").expect("a URL");
    let mut request = Request::new("POST", url).expect("a method");
    request.body_to_come(length).expect("POST has one");
    let limits = Limits { body_queue: mark, stall: Duration::from_secs(9), ..Default::default() };
    let settings = Settings { limits: Arc::new(limits), ..Default::default() };
    let session = Session::stream(request, Delivery::Raw, &settings, Timing::default());
    let now = Instant::now();
    let mut program =
        Program { session, now, length, mark, given: Vec::new(), wire: Vec::new(), end: None };
    assert_eq!(program.session.body_room(), 0, "there is no connection");
    program.session.connected(now);
    for _ in 0..300 {
        if input.is_empty() || program.end.is_some() {
            break;
        }
        program.act(&mut input);
    }
    program.finish();
}

struct Program {
    session: Session,
    now: Instant,
    length: Option<u64>,
    mark: usize,
    given: Vec<u8>,
    wire: Vec<u8>,
    /// How the session ended, or that the body was complete.
    end: Option<Result<(), HttpError>>,
}

impl Program {
    fn act(&mut self, input: &mut Input) {
        let op = input.byte();
        let n = usize::from(op >> 3) * 4 + 1;
        match op & 7 {
            // A piece for which there is room.
            0..=2 => {
                let room = self.session.body_room();
                let waited = self.session.outgoing().len();
                self.give(n.min(room));
                let most = waited.max(HEAD + self.mark) + 20 + n;
                assert!(
                    self.session.outgoing().len() <= most,
                    "more waits than there was room for"
                );
            }
            3 => self.give(n),
            4 => {
                let event = self.session.end_body(self.now);
                self.report(event, true);
            }
            5 => self.takes(n),
            6 => self.takes(usize::MAX),
            _ => {
                self.now += Duration::from_secs(u64::from(op >> 3));
                let due = self.session.deadline().is_some_and(|at| at <= self.now);
                let waits = !self.session.outgoing().is_empty();
                assert!(waits || !due, "a server that owes nothing is late");
                if due {
                    // The kernel takes a byte, so that the deadline does not end the session.
                    self.takes(1);
                }
            }
        }
        assert!(self.session.body_room() <= 65_536);
    }

    fn give(&mut self, n: usize) {
        let piece: Vec<u8> = (0..n).map(|i| (self.given.len() + i) as u8).collect();
        self.given.extend_from_slice(&piece);
        let event = self.session.send_body(self.now, &piece);
        self.report(event, false);
    }

    fn takes(&mut self, n: usize) {
        let out = self.session.outgoing();
        let n = n.min(out.len());
        self.wire.extend_from_slice(&out[..n]);
        self.session.sent(self.now, n);
    }

    fn report(&mut self, event: Option<Event<'_>>, ended: bool) {
        let given = self.given.len() as u64;
        let want = match self.length {
            Some(length) if given > length => Some(HttpError::LongBody(length)),
            Some(length) if ended && given < length => Some(HttpError::ShortBody(length - given)),
            _ => None,
        };
        match (event, want) {
            (None, None) => self.end = ended.then_some(Ok(())),
            (Some(Event::Closed(Closed::Failed(Failure::Http(e)))), Some(want)) => {
                assert_eq!(e, want);
                self.end = Some(Err(e));
            }
            (event, want) => panic!("{event:?} for {want:?}"),
        }
    }

    fn finish(mut self) {
        let whole = matches!(self.end, Some(Ok(())));
        self.takes(usize::MAX);
        if self.end.is_some() {
            assert_eq!((self.session.body_room(), self.session.is_uploading()), (0, false));
            assert_eq!(self.session.buffered(), 0);
        }
        let Some(at) = self.wire.windows(4).position(|w| w == b"\r\n\r\n") else {
            assert!(!whole, "without a head");
            return;
        };
        let (head, body) = self.wire.split_at(at + 4);
        let fields = request_head(head, "POST", "/x?y", "server.example");
        let has = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        match self.length {
            Some(length) => {
                assert_eq!(has("content-length"), Some(&*length.to_string()));
                assert_eq!(has("transfer-encoding"), None);
                assert!(self.given.starts_with(body));
                assert!(whole == (body.len() as u64 == length) || length == 0);
            }
            None => {
                assert_eq!(
                    (has("content-length"), has("transfer-encoding")),
                    (None, Some("chunked"))
                );
                let (data, last) = unchunked(body);
                assert!(self.given.starts_with(&data));
                assert_eq!(last, whole, "the last chunk says that it is whole");
                assert!(!whole || data == self.given);
            }
        }
    }
}

/// The data of complete and partial chunks, and whether the last chunk is there.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        let line = std::str::from_utf8(&rest[..at]).expect("a size");
        let size = usize::from_str_radix(line, 16).expect("a size");
        rest = &rest[at + 2..];
        if size == 0 {
            assert!(b"\r\n".starts_with(rest), "nothing stands behind the last chunk");
            return (data, rest.len() == 2);
        }
        data.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(behind) = rest.get(size..) else { break };
        let end = behind.len().min(2);
        assert_eq!(behind[..end], b"\r\n"[..end]);
        rest = &behind[end..];
    }
    (data, false)
}
