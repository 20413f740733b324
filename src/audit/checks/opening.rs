//! The opening handshake (RFC 6455 §4).

use crate::audit::ask::Answer;
use crate::audit::check::{Check, Play};
use crate::audit::finding::{Judged, fault};
use crate::audit::judge;
use crate::audit::lab::{Lab, Outcome};
use crate::proto::Head;

const ANSWER: &str = "RFC 6455 §4.2.2";
const REQUEST: &str = "RFC 6455 §4.2.1";

/// The offered subprotocols. No server knows the first.
const OFFERED: [&str; 3] = ["moonwire.audit", "chat", "superchat"];

pub(super) const CHECKS: &[Check] = &[
    Check::legit(
        "opening-status",
        ANSWER,
        "a good request is answered with 101 in HTTP/1.1",
        Play::First(|head, _| judge::status(head)),
    ),
    Check::legit(
        "opening-upgrade",
        ANSWER,
        "the answer has one Upgrade: websocket",
        Play::First(|head, _| judge::upgrade(head)),
    ),
    Check::legit(
        "opening-connection",
        ANSWER,
        "the answer has Connection: Upgrade",
        Play::First(|head, _| judge::connection(head)),
    ),
    Check::legit(
        "opening-accept",
        ANSWER,
        "Sec-WebSocket-Accept is the answer to the key",
        Play::First(judge::accepted),
    ),
    Check::legit(
        "opening-extension-unasked",
        ANSWER,
        "no extension is used that was not asked for",
        Play::First(|head, _| judge::no_extension(head)),
    ),
    Check::legit(
        "opening-protocol-unasked",
        ANSWER,
        "no subprotocol is chosen where none was offered",
        Play::First(|head, _| judge::protocol(head, &[])),
    ),
    Check::legit(
        "opening-protocol",
        ANSWER,
        "of several subprotocols at most one is chosen, as it was written",
        Play::Ask(
            |ask| ask.add("Sec-WebSocket-Protocol", &OFFERED.join(", ")),
            |answer, _| of_head(answer, |head| judge::protocol(head, &OFFERED)),
        ),
    ),
    Check::legit(
        "opening-protocol-fields",
        "RFC 6455 §11.3.4",
        "subprotocols that are offered in several fields are one list",
        Play::Ask(
            |ask| OFFERED.iter().for_each(|name| ask.add("Sec-WebSocket-Protocol", name)),
            |answer, _| of_head(answer, |head| judge::protocol(head, &OFFERED)),
        ),
    ),
    Check::legit(
        "opening-extension-unknown",
        "RFC 6455 §9.1",
        "an unknown extension is not used",
        Play::Ask(
            |ask| ask.add("Sec-WebSocket-Extensions", "x-moonwire-audit; a=1; b"),
            |answer, _| of_head(answer, judge::no_extension),
        ),
    ),
    Check::legit(
        "opening-case",
        REQUEST,
        "names of fields, websocket and Upgrade are read in any case",
        Play::Ask(
            |ask| {
                for (name, to) in [
                    ("Upgrade", "uPGRADE"),
                    ("Connection", "connection"),
                    ("Sec-WebSocket-Version", "SEC-WEBSOCKET-VERSION"),
                ] {
                    ask.rename(name, to);
                }
                ask.set("uPGRADE", "WebSocket");
                ask.set("connection", "upgrade");
            },
            judge::opened,
        ),
    ),
    Check::legit(
        "opening-connection-list",
        REQUEST,
        "Connection may list more than Upgrade",
        Play::Ask(|ask| ask.set("Connection", "keep-alive, Upgrade"), judge::opened),
    ),
    Check::legit(
        "opening-field-unknown",
        REQUEST,
        "an unknown header field is ignored",
        Play::Ask(|ask| ask.add("X-Moonwire-Audit", "a, b; c=\"d\""), judge::opened),
    ),
    Check::legit(
        "opening-in-pieces",
        "RFC 6455 §4.2.1",
        "the request may come in several segments",
        Play::Do(in_pieces),
    ),
];

/// Applies `judge` to the head of an answer that opens a WebSocket.
fn of_head(answer: &Answer, judge: impl Fn(&Head) -> Judged) -> Judged {
    match answer {
        Answer::Head(head) if head.status == 101 => judge(head),
        other => fault(judge::not_opened(other)),
    }
}

fn in_pieces(lab: &mut Lab<'_>) -> Outcome {
    let (key, answer, wire) = lab.ask_in_pieces()?;
    drop(lab.talk(wire, &answer));
    Ok(judge::opened(&answer, &key))
}
