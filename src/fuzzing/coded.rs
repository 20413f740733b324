//! Coded bodies: the decoded bytes are the same for any cut, and bounded.

use std::sync::Arc;
use std::time::Instant;

use super::driver::{Driver, OwnedEvent};
use super::input::{Cut, Input};
use crate::limits::Limits;
use crate::proto::http::coding::gzip;
use crate::proto::http::{CodingError, Delivery, HttpError, Request, Timing};
use crate::proto::{Closed, Failure, Session, Settings, Url};
use crate::puff::Puff;

/// Two bytes of choices, then a coded body, or one that is coded here: for any cut the result is
/// the same, within the limits, and equal to the original. Complete raw deflate is decoded as by a
/// second decoder of RFC 1951.
pub fn coded(data: &[u8]) {
    let mut input = Input(data);
    let (how, sizes) = (input.byte(), input.byte());
    let bytes = input.0;
    let is_ours = how & 4 != 0;
    let trial = Trial {
        coding: if how & 8 == 0 || is_ours { "gzip" } else { "deflate" },
        delivery: [Delivery::Raw, Delivery::Events, Delivery::Blocks, Delivery::EventBytes]
            [usize::from(how & 3)],
        is_chunked: how & 16 != 0,
        limits: Arc::new(Limits {
            decoded_piece: [64 * 1024, 1, 7, 300][usize::from(sizes & 3)],
            decoded_ratio: [2000, 2000, 3, 20][usize::from(sizes >> 2 & 3)],
            decoded_free: [usize::MAX, usize::MAX, 0, 500][usize::from(sizes >> 2 & 3)],
            sse_line: 2000,
            sse_block: 3000,
            ..Limits::default()
        }),
        now: Instant::now(),
    };
    let body = match is_ours {
        true => gzip(&bytes.repeat([1, 3, 50, 1][usize::from(how >> 5 & 3)])).expect("it is coded"),
        false => bytes.to_vec(),
    };
    let all = Cut::ALL.map(|cut| trial.run(&body, cut));
    // The byte at which a limit is exceeded depends on how many bytes were read.
    let is_bounded = trial.limits.decoded_free != usize::MAX;
    for event in &all {
        trial.judge(&body, event);
        if !is_bounded {
            assert_eq!(event, &all[0]);
        }
    }
    if is_bounded || trial.delivery != Delivery::Raw {
        return;
    }
    let (got, end) = &all[0];
    if is_ours {
        let want = bytes.repeat([1, 3, 50, 1][usize::from(how >> 5 & 3)]);
        assert_eq!((got.concat(), end), (want, &Ok(())));
    } else if trial.coding == "deflate" && end.is_ok() {
        second_reading(&body, &got.concat());
    }
}

/// The same by the second decoder, for raw data or behind a zlib header.
fn second_reading(body: &[u8], got: &[u8]) {
    let is_zlib = |head: &[u8]| {
        head[0] & 15 == 8
            && u16::from_be_bytes([head[0], head[1]]).is_multiple_of(31)
            && head[0] < 0x80
    };
    let data = match body.len() {
        0 => return,
        n if n >= 6 && is_zlib(body) => &body[2..n - 4],
        _ => body,
    };
    let (want, _) = Puff::of(1 << 15).message(data, got.len() + 1);
    assert_eq!(got, want);
}

type Outcome = (Vec<Vec<u8>>, Result<(), HttpError>);

struct Trial {
    coding: &'static str,
    delivery: Delivery,
    is_chunked: bool,
    limits: Arc<Limits>,
    now: Instant,
}

impl Trial {
    fn run(&self, body: &[u8], cut: Cut) -> Outcome {
        let trace = cut == Cut::Random;
        let settings = Settings { limits: Arc::clone(&self.limits), trace, ..Settings::default() };
        let url = Url::parse_http("https://server.example/x").expect("a URL");
        let mut request = Request::new("GET", url).expect("a method");
        request.decode(true);
        let session = Session::stream(request, self.delivery, &settings, Timing::default());
        let mut driver = Driver::of_stream(session, self.now, cut, 100).decoding();
        if matches!(self.delivery, Delivery::Events | Delivery::Blocks) {
            driver = driver.pieces_apart();
        }
        driver.session.connected(self.now);
        driver.take(usize::MAX);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {}\r\n{}\r\n",
            self.coding,
            if self.is_chunked { "Transfer-Encoding: chunked\r\n" } else { "" },
        );
        let mut wire = head.into_bytes();
        match self.is_chunked {
            false => wire.extend_from_slice(body),
            true => {
                for part in body.chunks(37) {
                    wire.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    wire.extend_from_slice(part);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            }
        }
        driver.feed(&wire);
        driver.eof(false);
        let end = match driver.events.pop() {
            Some(OwnedEvent::Closed(Closed::Complete)) => Ok(()),
            Some(OwnedEvent::Closed(Closed::Failed(Failure::Http(e)))) => Err(e),
            other => panic!("no stream ends like that: {other:?}"),
        };
        let pieces = driver.events.drain(..).filter_map(|event| match event {
            OwnedEvent::Body(piece) => Some(piece),
            OwnedEvent::ServerSent(event) => Some(format!("{event:?}").into_bytes()),
            OwnedEvent::Response(response) => {
                assert!(response.decoded);
                None
            }
            other => panic!("{other:?}"),
        });
        (pieces.collect(), end)
    }

    fn judge(&self, body: &[u8], (pieces, end): &Outcome) {
        if let Err(e) = end {
            let text = e.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            let by_events = matches!(e, HttpError::EventStream(_));
            let is_known =
                matches!(e, HttpError::Coding(e) if !matches!(e, CodingError::Unknown(_)));
            assert!(is_known || by_events && self.delivery != Delivery::Raw, "{e}");
        }
        if self.delivery == Delivery::Events {
            return;
        }
        let len = pieces.iter().map(Vec::len).sum::<usize>();
        let fair = body.len().saturating_mul(self.limits.decoded_ratio as usize);
        // The piece that exceeds a limit is reported.
        let most = fair.max(self.limits.decoded_free).saturating_add(self.limits.decoded_piece);
        assert!(len <= most, "{len} bytes of {}", body.len());
    }
}
