//! Frames that any client may send, and those that a server must not send.

use crate::audit::check::{Check, Play, idle};
use crate::audit::finding::{Judged, Verdict, fault, notice, ok};
use crate::audit::frame::{Broken, Frame, Item};
use crate::audit::judge;
use crate::audit::lab::{BEHIND, Lab, Outcome, PAUSE};
use crate::audit::talk::{End, Seen};
use crate::proto::ws::Violation;

const PING: &str = "RFC 6455 §5.5.2";
const PONG: &str = "RFC 6455 §5.5.3";
const CLOSE: &str = "RFC 6455 §5.5.1";
const FRAMES: &str = "RFC 6455 §5.2";
const FRAGMENTS: &str = "RFC 6455 §5.4";
const TEXT: &str = "RFC 6455 §8.1";

/// The longest reason: 123 bytes, the last of which are one character.
const REASON: &str = "the longest reason that there may be: 123 bytes, the last six of which are these two \
                      characters of three bytes each: \u{20ac}\u{20ac}";

/// Characters at the edges of UTF-8, and some that are not assigned.
const EDGES: &[u8] =
    "\0\u{1}\u{7F}\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FEFF}\u{FFFD}\u{FFFE}\u{FFFF}\
                      \u{10000}\u{10FFFF}"
        .as_bytes();

pub(super) const CHECKS: &[Check] = &[
    Check::legit("ping-empty", PING, "a ping without payload is answered", Play::Ping(b"")),
    Check::legit("ping", PING, "a ping is answered with its payload", Play::Ping(b"\0\xFFping")),
    Check::legit(
        "ping-125",
        PING,
        "a ping with the largest payload is answered with it",
        Play::Ping(&[0xA5; 125]),
    ),
    Check::legit("ping-several", PONG, "of several pings the last is answered", Play::Do(several)),
    Check::legit(
        "ping-in-fragments",
        FRAGMENTS,
        "a ping between the fragments of a message is answered, before the message is whole",
        Play::Do(ping_in_fragments),
    ),
    Check::legit("ping-halves", FRAMES, "a frame may come in several segments", Play::Do(halves)),
    Check::legit(
        "pong-unsolicited",
        PONG,
        "an unsolicited pong is ignored",
        Play::Do(|lab| tolerated(lab, &[Frame::of(0x8A, b"unasked")])),
    ),
    Check::legit("length-0", FRAMES, "an empty message is accepted", Play::Length(0)),
    Check::legit(
        "length-125",
        FRAMES,
        "a message with the longest length of 7 bits is accepted",
        Play::Length(125),
    ),
    Check::legit(
        "length-126",
        FRAMES,
        "a message with the shortest length of 16 bits is accepted",
        Play::Length(126),
    ),
    Check::legit(
        "length-127",
        FRAMES,
        "a message of 127 bytes is accepted; in 7 bits, 127 means that 64 bits follow",
        Play::Length(127),
    ),
    Check::legit(
        "length-65535",
        FRAMES,
        "a message with the longest length of 16 bits is accepted",
        Play::Length(65_535),
    ),
    Check::legit(
        "length-65536",
        FRAMES,
        "a message with the shortest length of 64 bits is accepted",
        Play::Length(65_536),
    ),
    Check::legit("messages-glued", FRAMES, "several frames may come at once", Play::Do(glued)),
    Check::legit(
        "fragments-text",
        FRAGMENTS,
        "fragments become one text",
        Play::Message {
            frames: &[Frame::of(0x01, b"one "), Frame::of(0, b"two "), Frame::of(0x80, b"three")],
            is_text: true,
            wanted: b"one two three",
        },
    ),
    Check::legit(
        "fragments-binary",
        FRAGMENTS,
        "fragments become one binary message",
        Play::Message {
            frames: &[Frame::of(0x02, b"\0\x01"), Frame::of(0, b"\x80"), Frame::of(0x80, b"\xFF")],
            is_text: false,
            wanted: b"\0\x01\x80\xFF",
        },
    ),
    Check::legit(
        "fragments-empty",
        FRAGMENTS,
        "fragments may be empty: the first, one between, the last",
        Play::Message {
            frames: &[
                Frame::of(0x01, b""),
                Frame::of(0, b"a"),
                Frame::of(0, b""),
                Frame::of(0, b"b"),
                Frame::of(0x80, b""),
            ],
            is_text: true,
            wanted: b"ab",
        },
    ),
    Check::legit(
        "fragments-character",
        FRAGMENTS,
        "a fragment may end within a character",
        Play::Message {
            frames: &[
                Frame::of(0x01, b"\xE2\x82"),
                Frame::of(0, b"\xAC\xF0"),
                Frame::of(0, b"\x9F"),
                Frame::of(0x80, b"\x98\x80"),
            ],
            is_text: true,
            wanted: "\u{20ac}\u{1F600}".as_bytes(),
        },
    ),
    Check::legit(
        "fragments-many",
        FRAGMENTS,
        "a message of 200 fragments is accepted",
        Play::Do(many),
    ),
    Check::legit(
        "text-edges",
        TEXT,
        "every character is accepted, NUL, U+FFFF and U+10FFFF too",
        Play::Message { frames: &[Frame::of(0x81, EDGES)], is_text: true, wanted: EDGES },
    ),
    Check::legit(
        "text-long",
        TEXT,
        "a long text of characters of 3 and 4 bytes is accepted",
        Play::Do(long_text),
    ),
    Check::legit(
        "message-limit",
        "RFC 6455 §7.4.1",
        "a message that is too large for the server is refused with 1009",
        Play::Do(limit),
    ),
    Check::legit(
        "close-1000",
        CLOSE,
        "a close frame with 1000 is answered with its code",
        Play::Close(Some(1000), ""),
    ),
    Check::legit(
        "close-1001",
        CLOSE,
        "a close frame with 1001 is answered with its code",
        Play::Close(Some(1001), ""),
    ),
    Check::legit(
        "close-3000",
        CLOSE,
        "a close frame with a registered code is answered with it",
        Play::Close(Some(3000), ""),
    ),
    Check::legit(
        "close-4999",
        CLOSE,
        "a close frame with a private code is answered with it",
        Play::Close(Some(4999), ""),
    ),
    Check::legit(
        "close-empty",
        CLOSE,
        "a close frame without a code is answered with one without",
        Play::Close(None, ""),
    ),
    Check::legit(
        "close-reason",
        CLOSE,
        "a close frame with a reason of 123 bytes is answered",
        Play::Close(Some(1000), REASON),
    ),
    Check::legit(
        "close-in-fragments",
        FRAGMENTS,
        "a close frame between fragments is answered",
        Play::Do(close_in_fragments),
    ),
    Check::legit(
        "close-tcp",
        "RFC 6455 §7.1.1",
        "the server ends TCP when both close frames have passed",
        Play::Do(close_tcp),
    ),
    Check::legit("idle", PING, "the server looks whether a silent client is there", Play::Do(idle)),
];

/// Checks about all connections before them.
pub(super) const SERVER: &[Check] = &[
    Check::legit(
        "server-mask",
        "RFC 6455 §5.1",
        "no frame of the server is masked",
        Play::Server(|what| matches!(what, Broken::Rule(Violation::MaskedByServer))),
    ),
    Check::legit(
        "server-reserved",
        FRAMES,
        "the server uses no reserved bit or opcode",
        Play::Server(|what| {
            use Violation::{ReservedBits, ReservedOpcode};
            matches!(what, Broken::Rule(ReservedBits(_) | ReservedOpcode(_)))
        }),
    ),
    Check::legit(
        "server-lengths",
        FRAMES,
        "the server writes lengths in their shortest form",
        Play::Server(|what| {
            use Violation::{LengthNotMinimal, LengthTopBit};
            matches!(what, Broken::Rule(LengthNotMinimal | LengthTopBit))
        }),
    ),
    Check::legit(
        "server-control",
        "RFC 6455 §5.5",
        "control frames of the server are whole and short",
        Play::Server(|what| {
            use Violation::{FragmentedControl, LongControl};
            matches!(what, Broken::Rule(FragmentedControl | LongControl))
        }),
    ),
    Check::legit(
        "server-fragments",
        FRAGMENTS,
        "fragments of the server follow each other",
        Play::Server(|what| {
            use Violation::{ContinuationFirst, MessageInMessage};
            matches!(what, Broken::Rule(ContinuationFirst | MessageInMessage))
        }),
    ),
    Check::legit(
        "server-text",
        TEXT,
        "texts of the server are UTF-8",
        Play::Server(|what| matches!(what, Broken::Rule(Violation::NotUtf8))),
    ),
    Check::legit(
        "server-close",
        "RFC 6455 §7.4",
        "close frames of the server have a legal code, and UTF-8 behind it",
        Play::Server(|what| {
            use Violation::{CloseCode, CloseLength, CloseReason};
            matches!(what, Broken::Rule(CloseCode(_) | CloseLength | CloseReason))
        }),
    ),
    Check::legit(
        "server-after-close",
        CLOSE,
        "the server sends nothing behind its close frame",
        Play::Server(|what| matches!(what, Broken::AfterClose)),
    ),
];

fn is_behind(item: &Item) -> bool {
    matches!(item, Item::Pong(payload) if payload == BEHIND) || matches!(item, Item::Close(_))
}

/// Frames that a server has to accept without an answer: the ping behind them shows that it did.
fn tolerated(lab: &mut Lab<'_>, frames: &[Frame<'_>]) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[frames, &[Frame::of(0x89, BEHIND)]].concat());
    let seen = talk.watch(is_behind);
    let judged = judge::pong(&seen, BEHIND);
    Ok(match judged.verdict {
        Verdict::Ok => ok("answered the ping behind it"),
        _ => judged,
    })
}

fn several(lab: &mut Lab<'_>) -> Outcome {
    const PINGS: [&[u8]; 5] = [b"1", b"2", b"3", b"4", b"5"];
    let mut talk = lab.open()?;
    talk.send(&PINGS.map(|payload| Frame::of(0x89, payload)));
    let seen = talk.watch(|item| match item {
        Item::Pong(payload) => payload == PINGS[4],
        other => matches!(other, Item::Close(_)),
    });
    Ok(judge::pongs(&seen, &PINGS))
}

/// Waits for the pong before the message continues.
fn ping_in_fragments(lab: &mut Lab<'_>) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x01, b"be"), Frame::of(0x89, b"between")]);
    let seen = talk.watch(|item| matches!(item, Item::Pong(_) | Item::Close(_)));
    let pong = judge::pong(&seen, b"between");
    if pong.verdict != Verdict::Ok {
        return Ok(pong);
    }
    let rest = talk.bytes(&[Frame::of(0x80, b"fore")]);
    let judged = lab.message(&mut talk, &rest, true, b"before")?;
    Ok(match judged.verdict {
        Verdict::Ok => ok("answered it at once, and the message came back whole"),
        Verdict::Skipped => ok("answered it at once; the server does not echo"),
        _ => judged,
    })
}

/// A frame that is cut within its header, its mask key and its payload.
fn halves(lab: &mut Lab<'_>) -> Outcome {
    let mut talk = lab.open()?;
    let bytes = talk.bytes(&[Frame::of(0x89, b"in pieces")]);
    let mut early = Vec::new();
    let mut from = 0;
    for to in [1, 4, 8] {
        talk.raw(&bytes[from..to]);
        from = to;
        early.extend(talk.watch_for(PAUSE, |_| true).items);
    }
    talk.raw(&bytes[from..]);
    let seen = talk.watch(|item| matches!(item, Item::Pong(_) | Item::Close(_)));
    let seen = Seen { items: early, end: End::Silence }.then(seen);
    Ok(judge::pong(&seen, b"in pieces"))
}

/// Ten messages and a ping in one write: all messages come back, in order.
fn glued(lab: &mut Lab<'_>) -> Outcome {
    let texts: Vec<String> = (0..10).map(|n| format!("glued {n}")).collect();
    let frames: Vec<_> = texts.iter().map(|text| Frame::of(0x81, text.as_bytes())).collect();
    let mut talk = lab.open()?;
    let (last, first) = frames.split_last().expect("there are ten");
    let (first, last_bytes) = (talk.bytes(first), talk.bytes(&[*last]));
    let echoes = lab.echoes(true)?;
    let ping = talk.bytes(&[Frame::of(0x89, BEHIND)]);
    talk.raw(&[first, last_bytes, ping].concat());
    let (mut back, mut is_pong) = (Vec::new(), false);
    let seen = talk.watch(|item| {
        match item {
            Item::Message { text: true, data, .. } if data.starts_with(b"glued ") => {
                back.push(String::from_utf8_lossy(data).into_owned());
            }
            Item::Pong(payload) => is_pong |= payload == BEHIND,
            _ => {}
        }
        is_pong && (!echoes || back.len() == texts.len()) || matches!(item, Item::Close(_))
    });
    if !echoes {
        return Ok(judge::taken(&seen, BEHIND));
    }
    let judged = judge::echo(&seen, true, last.payload, BEHIND);
    Ok(match judged.verdict {
        Verdict::Ok if back == texts => ok("took 10 messages at once, and sent them back in order"),
        Verdict::Ok => fault(format!("sent back, in this order: {}", back.join(", "))),
        _ => judged,
    })
}

fn many(lab: &mut Lab<'_>) -> Outcome {
    let wanted = [b'm'; 200];
    let frames: Vec<_> = (0..wanted.len())
        .map(|i| match i {
            0 => Frame::of(0x01, b"m"),
            199 => Frame::of(0x80, b"m"),
            _ => Frame::of(0, b"m"),
        })
        .collect();
    lab.frames(&frames, true, &wanted)
}

fn long_text(lab: &mut Lab<'_>) -> Outcome {
    let text = "\u{20ac}\u{1F600}".repeat(10_000);
    lab.frames(&[Frame::of(0x81, text.as_bytes())], true, text.as_bytes())
}

/// The lengths that are tried: above the limit of 1 MiB of some servers, and above 16 MiB of
/// others.
const LARGE: [usize; 2] = [(1 << 20) + 1, (16 << 20) + 1];

fn limit(lab: &mut Lab<'_>) -> Outcome {
    let mut taken = 65_536;
    for len in LARGE {
        let payload = vec![b'L'; len];
        let judged = lab.frames(&[Frame::of(0x82, &payload)], false, &payload)?;
        match judged.verdict {
            Verdict::Ok | Verdict::Skipped => taken = len,
            _ => return Ok(refused_large(len, taken, judged)),
        }
    }
    Ok(ok(format!("takes a message of {taken} bytes; larger ones were not tried")))
}

/// A server that does not accept such a length may do anything; 1009 states the reason.
fn refused_large(len: usize, taken: usize, judged: Judged) -> Judged {
    let text = format!("takes {taken} bytes, not {len}: {}", judged.seen);
    if judged.seen.contains("closed with 1009") {
        return ok(text);
    }
    notice(format!("{text}; 1009 would name the reason"))
}

fn close_in_fragments(lab: &mut Lab<'_>) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x01, b"unfinished"), Frame::of(0x88, b"\x03\xE8")]);
    let seen = talk.watch_end();
    Ok(judge::closing(&seen, &crate::proto::CloseFrame::new(1000, "")))
}

fn close_tcp(lab: &mut Lab<'_>) -> Outcome {
    let mut talk = lab.open()?;
    talk.send(&[Frame::of(0x88, b"\x03\xE8")]);
    Ok(judge::tcp_end(&talk.watch_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_reason_is_one() {
        assert_eq!(REASON.len(), crate::proto::REASON_MAX);
    }

    #[test]
    fn a_large_message_is_refused_well_with_1009_alone() {
        let with = |seen: &str| refused_large(2, 1, notice(seen)).verdict;
        assert_eq!(with("refused the message: closed with 1009 \"big\""), Verdict::Ok);
        assert_eq!(with("refused the message: closed with 1011"), Verdict::Notice);
        assert_eq!(with("ended the connection"), Verdict::Notice);
    }
}
