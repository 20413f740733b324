//! Frame headers and messages, compared with a second parser of RFC 6455.

use std::sync::Arc;
use std::time::Instant;

use super::driver::{Driver, OwnedEvent, in_all_cuts};
use super::input::{Cut, Input};
use super::wire::{self, End, Meaning};
use crate::limits::Limits;
use crate::proto::ws::frame;
use crate::proto::{Closed, Failure, Opcode, Session, Settings, Violation};

/// 2⁶² on machines with 64 bits.
const HUGE: usize = 1 << (usize::BITS - 2);

/// Lengths at the borders of the three forms and of limits.
const EDGES: [usize; 10] =
    [0, 1, 125, 126, 65_535, 65_536, 1 << 31, HUGE, usize::MAX >> 1, usize::MAX];

/// A frame header: a byte of choices, then its bytes. Each prefix returns "more" or the final
/// result, bytes behind it change nothing, and a valid header is encoded to the same bytes.
pub fn frame(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let (masked, max) = (choice & 1 != 0, EDGES[usize::from(choice >> 1) % EDGES.len()] as u64);
    let [first, rest @ ..] = input.0 else { return };
    let rest = &rest[..rest.len().min(20)];
    let Ok((fin, opcode)) = frame::first(*first) else { return broken_start(*first) };
    assert_eq!(*first, u8::from(fin) << 7 | opcode as u8);

    let whole = frame::length(rest, opcode, masked, max);
    let mut decided_at = None;
    for end in 0..=rest.len() {
        let got = frame::length(&rest[..end], opcode, masked, max);
        match decided_at {
            None if got != Ok(None) => decided_at = Some(end),
            None => continue,
            Some(_) => {}
        }
        assert_eq!(got, whole, "at {end} of {rest:x?}");
    }
    match whole {
        Ok(None) => assert!(decided_at.is_none() && rest.len() < 9, "{rest:x?}"),
        Err(violation) => {
            assert_ne!(violation.close_code(), 1007);
            let end = decided_at.expect("an end");
            // No further byte would have made it valid.
            for fill in [0x00, 0x7F, 0x80, 0xFF] {
                let other = [&rest[..end], &[fill; 9]].concat();
                assert_eq!(frame::length(&other, opcode, masked, max), Err(violation));
            }
        }
        Ok(Some((size, len))) => {
            assert!(len <= max && len < 1 << 63);
            assert!(!opcode.is_control() || (fin && len <= 125));
            assert_eq!(decided_at, Some(size - 1), "{rest:x?}");
            let mut again = Vec::new();
            let mask = if masked { 0x80 } else { 0 };
            frame::header(&mut again, fin, opcode, len as usize, mask);
            assert_eq!(again[1..], rest[..size - 1], "a length in its shortest form");
        }
    }
}

fn broken_start(first: u8) {
    let legal = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A];
    assert!(!legal.contains(&first));
    assert!(frame::first(first).is_err_and(|violation| violation.close_code() == 1002));
}

/// Two bytes of choices, then a server's bytes on an open connection: the messages, pongs and the
/// end are those that a second parser finds, each ping is answered, and so is a violation or a
/// close frame, with its code.
pub fn message(data: &[u8]) {
    let mut input = Input(data);
    let (message, fragments) =
        (input.pick(&[300, 0, 1, 125, 126, 5, HUGE, usize::MAX, 70_000]), input.byte());
    let limits = Limits {
        message,
        fragments: [3, 0, 1, u32::MAX][usize::from(fragments & 3)],
        in_place: [4, 0, 1, 65_536][usize::from(fragments >> 2 & 3)],
        ..Default::default()
    };
    let bytes = input.0;
    let limits = Arc::new(limits);
    let now = Instant::now();
    let mut driver = in_all_cuts(bytes, |cut| {
        let trace = cut == Cut::Random;
        let settings = Settings { limits: Arc::clone(&limits), trace, ..Default::default() };
        let mut driver = Driver::new(Session::opened(settings, now), now, cut, KEPT);
        driver.feed(bytes);
        bounded(&mut driver, &limits);
        driver
    });
    driver.take(usize::MAX);
    compare(&driver, bytes, &limits);
    driver.poke();
    assert_eq!(driver.session.outgoing(), b"");
}

/// How many bytes an open session may leave for the next call: a control frame.
pub(super) const KEPT: usize = 127;

/// An unfinished message takes the memory of the received bytes and a little more.
fn bounded(driver: &mut Driver, limits: &Limits) {
    if let Some(space) = driver.session.space() {
        let (held, capacity) = (space.buf.len(), space.buf.capacity());
        assert!(held <= limits.message, "{held} bytes held");
        assert!(capacity <= 4 * held + 256 * 1024 + 16, "capacity {capacity} for {held}");
        assert!(capacity <= limits.message.saturating_mul(2).saturating_add(16), "{capacity}");
    }
}

fn compare(driver: &Driver, bytes: &[u8], limits: &Limits) {
    let meaning = Meaning::of(bytes, limits);
    let mut sent = wire::sent(&driver.wire);
    let answer = sent.pop_if(|(opcode, _)| *opcode == 8).map(|(_, payload)| payload);
    assert_eq!(sent, meaning.pings.into_iter().map(|p| (10, p)).collect::<Vec<_>>());

    let mut events = driver.events.clone();
    let code = |code: u16| Some(code.to_be_bytes().to_vec());
    match (
        events.pop_if(|t| matches!(t, OwnedEvent::Closing(_) | OwnedEvent::Closed(_))),
        meaning.end,
    ) {
        (None, End::Open) => assert_eq!(answer, None),
        (Some(OwnedEvent::Closing(got)), End::Closing(want)) => {
            assert_eq!(got, want);
            assert_eq!(answer, got.code.map_or(Some(vec![]), code), "the answer to a close");
        }
        (Some(OwnedEvent::Closed(Closed::Failed(Failure::Violation(got)))), end) => {
            let early = end == End::Open && wire::is_decided(bytes, limits, got);
            assert!(early || end == End::Broken(got), "{got:?} for {end:?}");
            assert!(got != Violation::UnmaskedByClient && !got.to_string().is_empty());
            let payload = answer.expect("a close frame says so");
            assert_eq!(payload[..2], got.close_code().to_be_bytes());
            assert_eq!(payload[2..], *got.to_string().as_bytes());
        }
        (got, want) => panic!("{got:?} for {want:?}"),
    }
    assert_eq!(events, meaning.events);
    assert!(events.iter().all(|t| match t {
        OwnedEvent::Text(data) | OwnedEvent::Binary(data) => data.len() <= limits.message,
        _ => true,
    }));
}

/// A frame in the form of a server.
pub(super) fn from_server(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::header(&mut bytes, fin, opcode, payload.len(), 0);
    bytes.extend_from_slice(payload);
    bytes
}
