//! Event streams, compared with a second parser of WHATWG HTML §9.2.6.

use std::ops::ControlFlow::{Break, Continue};
use std::time::Duration;

use super::input::{Cut, Input, feed};
use crate::limits::Limits;
use crate::proto::sse::{Blocks, Event, EventOrComment, Events, SseError};

/// The complete lines of a stream, as bytes without the byte order mark; and the rest.
fn lines(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for (i, &b) in bytes.iter().enumerate() {
        match b {
            b'\n' if i > 0 && bytes[i - 1] == b'\r' => {}
            b'\r' | b'\n' => lines.push(std::mem::take(&mut line)),
            b => line.push(b),
        }
    }
    (lines, line)
}

/// The events of a stream.
pub(super) fn events(bytes: &[u8]) -> Vec<Event> {
    only_events(all(bytes))
}

fn only_events(all: Vec<EventOrComment>) -> Vec<Event> {
    let event = |item| match item {
        EventOrComment::Event(event) => Some(event),
        EventOrComment::Comment(_) => None,
    };
    all.into_iter().filter_map(event).collect()
}

/// The events and the comments of a stream, in order.
fn all(bytes: &[u8]) -> Vec<EventOrComment> {
    let (mut all, mut id) = (Vec::new(), String::new());
    let (mut event, mut data, mut retry) = (String::new(), None::<String>, None);
    for line in lines(bytes).0 {
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.is_empty() {
            if let Some(data) = data.take() {
                let event = if event.is_empty() { "message" } else { &event }.to_owned();
                all.push(EventOrComment::Event(Event {
                    event: event.into(),
                    data,
                    id: id.clone(),
                    retry,
                }));
            }
            (event, retry) = (String::new(), None);
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.starts_with(':') => all.push(EventOrComment::Comment(value.to_owned())),
            "event" => event = value.to_owned(),
            "data" => data = Some(data.map_or(value.to_owned(), |d| d + "\n" + value)),
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                retry = Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)));
            }
            _ => {}
        }
    }
    all
}

/// The blocks of a stream, and the rest at its end.
pub(super) fn blocks(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
    let (lines, rest) = lines(bytes);
    let (mut blocks, mut block) = (Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() && block.is_empty() {
            continue;
        }
        block.extend_from_slice(&line);
        block.push(b'\n');
        if line.is_empty() {
            blocks.push(std::mem::take(&mut block));
        }
    }
    block.extend_from_slice(&rest);
    (blocks, Some(block).filter(|block| !block.is_empty()))
}

/// A byte of choices, then an event stream: for any cut, both parsers return what a second one
/// finds, and keep their limits. With comments, the events are the same as without.
pub fn sse(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let limits = Limits {
        sse_line: [100_000, 0, 10, 60][usize::from(choice & 3)],
        sse_block: [100_000, 0, 20, 60][usize::from(choice >> 2 & 3)],
        ..Default::default()
    };
    let bytes = input.0;
    let longest = lines(bytes).0.iter().map(Vec::len).max().unwrap_or(0);
    let (must_fail, must_not) =
        (longest > limits.sse_line, bytes.len() < limits.sse_line.min(limits.sse_block));

    let parsed = Cut::ALL.map(|cut| parse(bytes, cut, &limits, Events::receive_with_comments));
    assert!(parsed[0] == parsed[1] && parsed[0] == parsed[2], "{parsed:?}");
    let [(with_comments, failed_too), ..] = parsed;
    let want = all(bytes);
    assert!(want.starts_with(&with_comments), "{with_comments:?} for {want:?}");
    assert!(failed_too.is_some() || want.len() == with_comments.len());
    for item in &with_comments {
        // An invalid byte becomes the three bytes of U+FFFD.
        let fits = |text: &str| text.len() <= 3 * limits.sse_line;
        assert!(!matches!(item, EventOrComment::Comment(text) if !fits(text)));
    }

    let parsed = Cut::ALL.map(|cut| parse(bytes, cut, &limits, events_only));
    assert!(parsed[0] == parsed[1] && parsed[0] == parsed[2], "{parsed:?}");
    let [(got, failed), ..] = parsed;
    let got = only_events(got);
    assert_eq!((&got, failed), (&only_events(with_comments), failed_too));
    let want = only_events(want);
    assert!(want.starts_with(&got), "{got:?} for {want:?}");
    assert!(failed.is_some() || want.len() == got.len(), "{got:?} for {want:?}");
    assert!(failed.is_some() || !must_fail);
    assert!(failed.is_none() || !must_not);
    for event in &got {
        let size = |text: &str| text.len() <= 3 * limits.sse_block;
        assert!(size(&event.data) && (size(&event.event) || event.event == "message"));
        assert!(size(&event.id) && !event.id.contains(['\r', '\n', '\0']));
        assert!(!event.event.is_empty());
    }

    let parsed = Cut::ALL.map(|cut| split(bytes, cut, &limits));
    assert!(parsed[0] == parsed[1] && parsed[0] == parsed[2], "{parsed:?}");
    let [(got, rest, failed), ..] = parsed;
    let (want, want_rest) = blocks(bytes);
    assert!(want.starts_with(&got), "{got:?} for {want:?}");
    assert!(got.iter().all(|block| block.len() <= limits.sse_block));
    // Two bytes that may begin a byte order mark belong to no block before a third has come.
    assert!(rest.iter().all(|rest| rest.len() <= limits.sse_block.max(2)));
    assert!(failed.is_some() || !must_fail);
    match failed {
        None => assert_eq!((got.len(), rest), (want.len(), want_rest)),
        Some(_) => assert!(rest.is_none() && !must_not),
    }
}

type Given = Result<(usize, Option<EventOrComment>), SseError>;

/// One of the two functions of the parser.
fn events_only(events: &mut Events, input: &[u8]) -> Given {
    events.receive(input).map(|(used, event)| (used, event.map(EventOrComment::Event)))
}

fn parse(
    bytes: &[u8],
    cut: Cut,
    limits: &Limits,
    receive: fn(&mut Events, &[u8]) -> Given,
) -> (Vec<EventOrComment>, Option<SseError>) {
    let (mut events, mut all) = (Events::new(limits), Vec::new());
    let (_, failed) = feed(bytes, cut, |input| {
        let mut at = 0;
        loop {
            match receive(&mut events, &input[at..]) {
                Err(e) => return (input.len(), Break(e)),
                Ok((used, None)) => {
                    assert_eq!(at + used, input.len(), "all is taken");
                    return (input.len(), Continue(()));
                }
                Ok((used, Some(item))) => {
                    assert!(used > 0, "an event out of nothing");
                    if let EventOrComment::Event(event) = &item {
                        assert_eq!(event.id, events.last_event_id());
                        assert!(event.retry.is_none() || event.retry == events.retry());
                    }
                    at += used;
                    all.push(item);
                }
            }
        }
    });
    if failed.is_some() {
        let again = receive(&mut events, b":x\ndata: x\n\n");
        assert_eq!(again, Ok((12, None)), "read on after an error");
    }
    (all, failed)
}

type Split = (Vec<Vec<u8>>, Option<Vec<u8>>, Option<SseError>);

fn split(bytes: &[u8], cut: Cut, limits: &Limits) -> Split {
    let (mut blocks, mut all) = (Blocks::new(limits), Vec::new());
    let (_, failed) = feed(bytes, cut, |input| {
        let mut at = 0;
        loop {
            match blocks.receive(&input[at..]) {
                Err(e) => return (input.len(), Break(e)),
                Ok((used, None)) => {
                    assert_eq!(at + used, input.len(), "all is taken");
                    return (input.len(), Continue(()));
                }
                Ok((used, Some(block))) => {
                    assert!(used > 0 && block.ends_with(b"\n"));
                    at += used;
                    all.push(block.into_owned());
                }
            }
        }
    });
    if failed.is_some() {
        assert_eq!(blocks.receive(b"data: x\n\n"), Ok((9, None)), "read on after an error");
    }
    (all, blocks.finish(), failed)
}
