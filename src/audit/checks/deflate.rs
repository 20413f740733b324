//! permessage-deflate (RFC 7692): its negotiation, and messages under it.

use crate::audit::ask::Answer;
use crate::audit::check::{Check, Play, broken_over};
use crate::audit::finding::{Judged, Verdict, fault, ok, skipped};
use crate::audit::frame::Frame;
use crate::audit::inflate::Inflate;
use crate::audit::judge;
use crate::audit::lab::{Lab, Outcome, Trouble};
use crate::audit::talk::Talk;
use crate::proto::ws::deflate::Codec;
use crate::proto::ws::deflate::negotiate::{self, Refused};
use crate::proto::{Agreed, Compression, Head, escape};

const FIELD: &str = "Sec-WebSocket-Extensions";
const CLIENT_WINDOW: &str = "client_max_window_bits";

const OFFER: &str = "RFC 7692 §7.1";
const WINDOW_OF_SERVER: &str = "RFC 7692 §7.1.2.1";
const WINDOW_OF_CLIENT: &str = "RFC 7692 §7.1.2.2";
const TAKEOVER_OF_SERVER: &str = "RFC 7692 §7.1.1.1";
const TAKEOVER_OF_CLIENT: &str = "RFC 7692 §7.1.1.2";
const EXAMPLES: &str = "RFC 7692 §7.2.3";

/// The parameters of an offer: the windows of client and server, and whether each takes over.
const fn wanted(client_window: u8, server_window: u8, takeover: [bool; 2]) -> Compression {
    let [client_takeover, server_takeover] = takeover;
    let (level, threshold) = (6, 1);
    Compression { client_window, server_window, client_takeover, server_takeover, level, threshold }
}

const ALL: Compression = wanted(15, 15, [true, true]);
const USUAL: &str = "permessage-deflate; client_max_window_bits";

pub(super) const CHECKS: &[Check] = &[
    Check::legit(
        "deflate",
        OFFER,
        "an offer without parameters is declined or accepted by its rules, and kept to",
        Play::Do(|lab| offer(lab, "permessage-deflate", &ALL)),
    ),
    Check::legit(
        "deflate-client-window",
        WINDOW_OF_CLIENT,
        "an offer that lets the server choose our window is kept to",
        Play::Do(|lab| offer(lab, USUAL, &ALL)),
    ),
    Check::legit(
        "deflate-client-window-10",
        WINDOW_OF_CLIENT,
        "an offer that bounds our window is kept to",
        Play::Do(|lab| {
            let wanted = wanted(10, 15, [true, true]);
            offer(lab, "permessage-deflate; client_max_window_bits=10", &wanted)
        }),
    ),
    Check::legit(
        "deflate-server-window-10",
        WINDOW_OF_SERVER,
        "the server refers no further back than it has agreed to",
        Play::Do(|lab| {
            let wanted = wanted(15, 10, [true, true]);
            offer(lab, "permessage-deflate; server_max_window_bits=10", &wanted)
        }),
    ),
    Check::legit(
        "deflate-server-window-8",
        WINDOW_OF_SERVER,
        "the same with the smallest window, which zlib does not have",
        Play::Do(|lab| {
            let wanted = wanted(15, 8, [true, true]);
            offer(lab, "permessage-deflate; server_max_window_bits=8", &wanted)
        }),
    ),
    Check::legit(
        "deflate-server-takeover",
        TAKEOVER_OF_SERVER,
        "the server refers to no message before, if it has agreed to that",
        Play::Do(|lab| {
            let wanted = wanted(15, 15, [true, false]);
            offer(lab, "permessage-deflate; server_no_context_takeover", &wanted)
        }),
    ),
    Check::legit(
        "deflate-client-takeover",
        TAKEOVER_OF_CLIENT,
        "the server can do with messages that refer to none before",
        Play::Do(|lab| {
            let wanted = wanted(15, 15, [false, true]);
            offer(lab, "permessage-deflate; client_no_context_takeover", &wanted)
        }),
    ),
    Check::legit(
        "deflate-all-parameters",
        OFFER,
        "an offer with all four parameters is kept to",
        Play::Do(|lab| {
            let text = "permessage-deflate; server_no_context_takeover; \
                        client_no_context_takeover; server_max_window_bits=10; \
                        client_max_window_bits=10";
            offer(lab, text, &wanted(10, 10, [false, false]))
        }),
    ),
    Check::legit(
        "deflate-fallback",
        "RFC 7692 §5.1",
        "of several offers one is chosen, and the answer belongs to it",
        Play::Do(fallback),
    ),
    Check::legit(
        "deflate-plain",
        "RFC 7692 §6",
        "a message may be sent plain though compression was agreed on",
        Play::Do(|lab| message(lab, &[Frame::of(0x81, b"plain")], b"plain")),
    ),
    Check::legit(
        "deflate-block",
        EXAMPLES,
        "a message of one block of fixed codes is accepted",
        Play::Do(|lab| message(lab, &[Frame::of(0xC1, HELLO)], b"Hello")),
    ),
    Check::legit(
        "deflate-block-stored",
        EXAMPLES,
        "a message of one block that is not compressed is accepted",
        Play::Do(|lab| message(lab, &[Frame::of(0xC1, b"\0\x05\0\xFA\xFFHello\0")], b"Hello")),
    ),
    Check::legit(
        "deflate-block-final",
        EXAMPLES,
        "a message whose last block has BFINAL set is accepted",
        Play::Do(|lab| {
            let last = b"\xF3\x48\xCD\xC9\xC9\x07\x00\x00";
            message(lab, &[Frame::of(0xC1, last)], b"Hello")
        }),
    ),
    Check::legit(
        "deflate-blocks",
        EXAMPLES,
        "a message of two blocks is accepted",
        Play::Do(|lab| {
            let two = b"\xF2\x48\x05\x00\x00\x00\xFF\xFF\xCA\xC9\xC9\x07\x00";
            message(lab, &[Frame::of(0xC1, two)], b"Hello")
        }),
    ),
    Check::legit(
        "deflate-empty",
        EXAMPLES,
        "an empty message, which is one byte, is accepted",
        Play::Do(|lab| message(lab, &[Frame::of(0xC1, b"\0")], b"")),
    ),
    Check::legit(
        "deflate-fragments",
        "RFC 7692 §6.1",
        "a compressed message in fragments is accepted, of which only the first has RSV1",
        Play::Do(|lab| {
            let (a, b) = (&HELLO[..2], &HELLO[2..]);
            message(lab, &[Frame::of(0x41, a), Frame::of(0x80, b)], b"Hello")
        }),
    ),
    Check::legit(
        "deflate-ping-in-fragments",
        "RFC 7692 §6.1",
        "a ping between its fragments leaves a message compressed",
        Play::Do(|lab| {
            let (a, b) = (&HELLO[..2], &HELLO[2..]);
            let frames = [Frame::of(0x41, a), Frame::of(0x89, b"between"), Frame::of(0x80, b)];
            message(lab, &frames, b"Hello")
        }),
    ),
];

/// "Hello" in one block of fixed codes (RFC 7692 §7.2.3.1).
const HELLO: &[u8] = b"\xF2\x48\xCD\xC9\xC9\x07\x00";

const fn declined(
    name: &'static str,
    proves: &'static str,
    play: fn(&mut Lab<'_>) -> Outcome,
) -> Check {
    Check::hostile(name, OFFER, proves, Play::Do(play))
}

pub(super) const HOSTILE: &[Check] = &[
    declined(
        "deflate-parameter-unknown",
        "an offer with an unknown parameter is declined",
        |lab| decline(lab, "permessage-deflate; x_moonwire_audit"),
    ),
    declined("deflate-parameter-twice", "an offer with a parameter twice is declined", |lab| {
        let twice = "permessage-deflate; server_no_context_takeover; server_no_context_takeover";
        decline(lab, twice)
    }),
    declined(
        "deflate-window-16",
        "an offer of a window that deflate does not have is declined",
        |lab| decline(lab, "permessage-deflate; server_max_window_bits=16"),
    ),
    declined(
        "deflate-window-zero",
        "an offer of a window with a zero in front is declined",
        |lab| decline(lab, "permessage-deflate; server_max_window_bits=010"),
    ),
    declined(
        "deflate-takeover-value",
        "an offer with a value where none belongs is declined",
        |lab| decline(lab, "permessage-deflate; server_no_context_takeover=1"),
    ),
    Check::hostile(
        "deflate-broken",
        "RFC 7692 §7.2.2",
        "what does not inflate fails the connection",
        Play::Do(|lab| broken(lab, &[Frame::of(0xC1, b"\xFF\xFF\xFF\xFF")], &[1007, 1002])),
    ),
    Check::hostile(
        "deflate-text",
        "RFC 6455 §8.1",
        "a compressed text that is not UTF-8 fails the connection",
        Play::Do(|lab| broken(lab, &[Frame::of(0xC1, b"\0\x01\0\xFE\xFF\xFF\0")], &[1007])),
    ),
    Check::hostile(
        "deflate-bit-continuation",
        "RFC 7692 §6.1",
        "a continuation with RSV1 fails the connection",
        Play::Do(|lab| {
            let frames = [Frame::of(0x41, &HELLO[..2]), Frame::of(0xC0, &HELLO[2..])];
            broken(lab, &frames, &[1002])
        }),
    ),
    Check::hostile(
        "deflate-bit-ping",
        "RFC 7692 §6.1",
        "a ping with RSV1 fails the connection",
        Play::Do(|lab| broken(lab, &[Frame::of(0xC9, b"bit")], &[1002])),
    ),
];

/// The server's answer to an offer.
enum OfferResult {
    Agreed(Agreed, String),
    /// The server does not compress, or breaks a rule.
    Judged(Judged),
}

fn made(head: &Head, offered: &str, wanted: &Compression) -> OfferResult {
    let all: Vec<_> = head.fields.all(FIELD).collect();
    let value = match all[..] {
        [] => return OfferResult::Judged(skipped("the server declined the offer")),
        [value] => value,
        [..] => return OfferResult::Judged(fault(format!("{FIELD} occurs more than once"))),
    };
    let text = escape(value, 200);
    let shown = |bytes: &[u8]| escape(bytes, 60);
    match negotiate::judge(wanted, value, &shown) {
        // This one parameter is part of the offers of other checks.
        Ok(Some(_)) if text.contains(CLIENT_WINDOW) && !offered.contains(CLIENT_WINDOW) => {
            OfferResult::Judged(fault(format!(
                "answered \"{text}\", and {CLIENT_WINDOW} was not offered"
            )))
        }
        Ok(Some(agreed)) => OfferResult::Agreed(agreed, text),
        Ok(None) => OfferResult::Judged(skipped("the server declined the offer")),
        Err(Refused::Deflate(why)) => {
            OfferResult::Judged(fault(format!("answered \"{text}\": {why}")))
        }
        Err(Refused::Other(name)) => {
            OfferResult::Judged(fault(format!("uses \"{name}\", which was not asked for")))
        }
    }
}

/// Opens a WebSocket with an offer.
fn open(lab: &mut Lab<'_>, offered: &str) -> Result<(Talk, Head), Trouble> {
    match lab.open_with(&mut |ask| ask.add(FIELD, offered))? {
        (talk, Answer::Head(head)) => Ok((talk, head)),
        (_, other) => Err(Trouble::Handshake(judge::not_opened(&other))),
    }
}

fn offer(lab: &mut Lab<'_>, offered: &str, wanted: &Compression) -> Outcome {
    let (talk, head) = open(lab, offered)?;
    match made(&head, offered, wanted) {
        OfferResult::Judged(judged) => Ok(judged),
        OfferResult::Agreed(agreed, text) => exchange(lab, talk, &agreed, wanted, &text),
    }
}

/// Sends two offers; an answer to the first has its parameter.
fn fallback(lab: &mut Lab<'_>) -> Outcome {
    const OFFERED: &str = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    let (talk, head) = open(lab, OFFERED)?;
    let first = wanted(15, 10, [true, true]);
    let (wanted, made) = match made(&head, OFFERED, &first) {
        OfferResult::Judged(judged) if judged.verdict == Verdict::Fault => {
            (ALL, made(&head, OFFERED, &ALL))
        }
        made => (first, made),
    };
    match made {
        OfferResult::Judged(judged) => Ok(judged),
        OfferResult::Agreed(agreed, text) => exchange(lab, talk, &agreed, &wanted, &text),
    }
}

/// Letters that compress to a half, and in which nothing is repeated.
fn letters(len: usize, seed: u32) -> Vec<u8> {
    let mut n = seed;
    let letter = || {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (n >> 28) as u8
    };
    std::iter::repeat_with(letter).take(len).collect()
}

/// Messages in both directions, of which the second repeats the first: a side with takeover refers
/// to the first, further back than a small window reaches.
fn exchange(
    lab: &mut Lab<'_>,
    mut talk: Talk,
    agreed: &Agreed,
    wanted: &Compression,
    text: &str,
) -> Outcome {
    let mut codec = Codec::client(agreed, wanted);
    talk.reader.inflate = Some(Inflate::new(agreed));
    let (small, large) = (letters(2000, 1), letters(20_000, 2));
    let mut ours = 0;
    let mut last = skipped("no message was sent");
    for data in [&small, &small, &large, &large, &small] {
        let mut payload = Vec::new();
        let is_compressed = codec.deflate(data, |made| payload.extend_from_slice(made));
        ours += usize::from(is_compressed);
        let frame = match is_compressed {
            true => Frame::of(0xC1, &payload),
            false => Frame::of(0x81, data),
        };
        let bytes = talk.bytes(&[frame]);
        last = lab.message(&mut talk, &bytes, true, data)?;
        if matches!(last.verdict, Verdict::Fault | Verdict::Notice) {
            last.seen = format!("{text}: {}", last.seen);
            return Ok(last);
        }
    }
    let theirs = talk.reader.compressed;
    let plain = if ours == 0 { "; with a window of 256 bytes ours were sent plain" } else { "" };
    Ok(match last.verdict {
        Verdict::Skipped => {
            ok(format!("{text}; took 5 messages; the server does not echo, so it sent none itself"))
        }
        _ => ok(format!("{text}; took 5 messages, sent {theirs} of 5 back compressed{plain}")),
    })
}

/// Sends frames that are the message `text`, where compression was agreed on.
fn message(lab: &mut Lab<'_>, frames: &[Frame<'_>], text: &[u8]) -> Outcome {
    let (mut talk, head) = open(lab, USUAL)?;
    let agreed = match made(&head, USUAL, &ALL) {
        OfferResult::Agreed(agreed, _) => agreed,
        OfferResult::Judged(_) => return Ok(skipped("no compression was agreed on")),
    };
    talk.reader.inflate = Some(Inflate::new(&agreed));
    let bytes = talk.bytes(frames);
    lab.message(&mut talk, &bytes, true, text)
}

/// The same with frames that have to fail the connection.
fn broken(lab: &mut Lab<'_>, frames: &[Frame<'_>], codes: &[u16]) -> Outcome {
    let (mut talk, head) = open(lab, USUAL)?;
    let agreed = match made(&head, USUAL, &ALL) {
        OfferResult::Agreed(agreed, _) => agreed,
        OfferResult::Judged(_) => return Ok(skipped("no compression was agreed on")),
    };
    talk.reader.inflate = Some(Inflate::new(&agreed));
    Ok(broken_over(&mut talk, frames, codes))
}

/// Sends an offer that breaks a rule.
fn decline(lab: &mut Lab<'_>, offered: &str) -> Outcome {
    let (_, answer, wire) = lab.ask(&mut |ask| ask.add(FIELD, offered))?;
    drop(lab.talk(wire, &answer));
    Ok(match &answer {
        Answer::Head(head) if head.status == 101 => {
            match head.fields.all(FIELD).find(|value| !value.is_empty()) {
                None => ok("declined the offer"),
                Some(value) => fault(format!("answered \"{}\"", escape(value, 200))),
            }
        }
        other => judge::refused(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::proto::head::HeadParser;

    fn head(value: &str) -> Head {
        let text = format!("HTTP/1.1 101 Yes\r\n{value}\r\n");
        HeadParser::default().feed(text.as_bytes(), &Limits::default()).unwrap().1.unwrap()
    }

    #[test]
    fn what_a_server_may_make_of_an_offer() {
        let plain = "permessage-deflate";
        let ten = "permessage-deflate; server_max_window_bits=10";
        for (value, offered, wanted, want) in [
            ("", plain, ALL, Err(Verdict::Skipped)),
            ("permessage-deflate", plain, ALL, Ok((15, 15))),
            ("permessage-deflate; server_no_context_takeover", plain, ALL, Ok((15, 15))),
            ("permessage-deflate; client_max_window_bits=9", USUAL, ALL, Ok((9, 15))),
            ("permessage-deflate; client_max_window_bits=9", plain, ALL, Err(Verdict::Fault)),
            ("permessage-deflate", ten, wanted(15, 10, [true, true]), Err(Verdict::Fault)),
            ("permessage-deflate; server_max_window_bits=9", ten, ALL, Ok((15, 9))),
            ("permessage-bzip2", plain, ALL, Err(Verdict::Fault)),
        ] {
            let value = match value {
                "" => String::new(),
                value => format!("{FIELD}: {value}\r\n"),
            };
            let got = match made(&head(&value), offered, &wanted) {
                OfferResult::Agreed(agreed, _) => Ok((agreed.client_window, agreed.server_window)),
                OfferResult::Judged(judged) => Err(judged.verdict),
            };
            assert_eq!(got, want, "{value} to {offered}");
        }
    }

    #[test]
    fn letters_do_not_repeat_themselves_and_shrink() {
        let mut codec = Codec::client(&Agreed::to(&ALL), &ALL);
        for (len, seed) in [(2000, 1), (20_000, 2)] {
            let data = letters(len, seed);
            let mut out = Vec::new();
            assert!(codec.deflate(&data, |made| out.extend_from_slice(made)));
            assert!(out.len() > len / 3, "{len}: {}", out.len());
            let mut again = Vec::new();
            assert!(codec.deflate(&data, |made| again.extend_from_slice(made)));
            assert!(again.len() < len / 8, "{len} once more: {}", again.len());
        }
    }
}
