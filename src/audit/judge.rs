//! Makes verdicts from what a server has sent: no socket, no clock.

use super::ask::Answer;
use super::finding::{Judged, fault, notice, ok, skipped};
use super::frame::Broken;
use super::talk::{End, Seen};
use super::wire::ConnectionEnd;
use crate::proto::token::list;
use crate::proto::ws::handshake::accept;
use crate::proto::{CloseFrame, Head, escape};

/// How many of the server's bytes a line shows.
const SHOWN: usize = 60;

/// The text for a server that accepts what it has to refuse.
const TOOK: &str = "took it";

pub(super) fn gone(how: &ConnectionEnd) -> String {
    match how {
        ConnectionEnd::Eof => "ended the connection".into(),
        ConnectionEnd::Cut => "ended the connection without close_notify of TLS".into(),
        ConnectionEnd::Reset(why) => format!("broke the connection ({why})"),
    }
}

/// A close frame as text, its reason cut to fit a line.
pub(super) fn shown(frame: &CloseFrame) -> String {
    let mut frame = frame.clone();
    if let Some((at, _)) = frame.reason.char_indices().nth(SHOWN) {
        frame.reason.truncate(at);
        frame.reason.push('\u{2026}');
    }
    frame.to_string()
}

pub(super) fn broken(what: &Broken) -> Judged {
    fault(match what {
        Broken::Rule(violation) => format!("sent a {violation} (§{})", violation.section()),
        Broken::AfterClose => "sent a frame behind its close frame (§5.5.1)".into(),
        Broken::TooMuch => "sent more than was asked for: over 64 MiB, or 10,000 frames".into(),
        #[cfg(feature = "deflate")]
        Broken::Deflate(what) => (*what).into(),
    })
}

/// The server did something other than expected.
fn instead(seen: &Seen) -> Judged {
    match (&seen.end, seen.close()) {
        (End::Broken(what), _) => broken(what),
        (_, Some(frame)) => match frame.code {
            Some(1002 | 1007) => fault(format!("failed the connection with {}", shown(frame))),
            _ => fault(format!("closed the connection with {}", shown(frame))),
        },
        (End::ConnectionEnd(how), None) => fault(gone(how)),
        (End::Silence | End::Enough, None) => fault("did nothing within the time"),
    }
}

/// A ping was sent.
pub(super) fn pong(seen: &Seen, payload: &[u8]) -> Judged {
    if seen.has_pong(payload) {
        return ok(format!("answered with its {}", bytes(payload.len())));
    }
    match seen.pongs().next() {
        Some(other) => fault(format!(
            "answered with {} instead of {}: \"{}\"",
            bytes(other.len()),
            bytes(payload.len()),
            escape(other, SHOWN)
        )),
        None => instead(seen),
    }
}

/// Several pings were sent at once: the last has to be answered, others may be (§5.5.3).
pub(super) fn pongs(seen: &Seen, sent: &[&[u8]]) -> Judged {
    let last = sent.last().copied().unwrap_or_default();
    if !seen.has_pong(last) {
        return instead(seen);
    }
    let mut rest = sent.iter();
    for pong in seen.pongs() {
        if !rest.any(|ping| *ping == pong) {
            let text = escape(pong, SHOWN);
            return fault(format!("a pong has no ping, or comes out of their order: \"{text}\""));
        }
    }
    let n = seen.pongs().count();
    if n == sent.len() {
        return ok(format!("answered each of {n}"));
    }
    ok(format!("answered {n} of {}, the last among them, as §5.5.3 allows", sent.len()))
}

/// A message was sent to a server that echoes, and a ping behind it.
pub(super) fn echo(seen: &Seen, is_text: bool, wanted: &[u8], behind: &[u8]) -> Judged {
    if seen.message(is_text, wanted).is_some() {
        return ok(format!("took and sent back {}", bytes(wanted.len())));
    }
    match seen.end {
        End::Silence if seen.has_pong(behind) => {
            let other = seen.message(!is_text, wanted).is_some();
            let how = if other { "came back as the other type" } else { "did not come back whole" };
            fault(format!("the message {how}, and the ping behind it was answered"))
        }
        _ => refusal(seen),
    }
}

/// A message was sent to a server that does not echo, and a ping behind it.
pub(super) fn taken(seen: &Seen, behind: &[u8]) -> Judged {
    if seen.has_pong(behind) {
        return skipped("the server does not echo; it answered the ping behind the message");
    }
    refusal(seen)
}

/// A valid message that the server did not accept: it may have a reason of its own.
fn refusal(seen: &Seen) -> Judged {
    match (&seen.end, seen.close()) {
        (End::Broken(_), _) => instead(seen),
        (_, Some(frame)) if !matches!(frame.code, Some(1002 | 1007)) => {
            notice(format!("refused the message: closed with {}", shown(frame)))
        }
        _ => instead(seen),
    }
}

/// A close frame was sent; `seen` followed.
pub(super) fn closing(seen: &Seen, sent: &CloseFrame) -> Judged {
    if let End::Broken(what) = &seen.end {
        return broken(what);
    }
    match (seen.close(), &seen.end) {
        (Some(frame), _) if frame.code == sent.code => {
            ok(format!("answered with {}", shown(frame)))
        }
        (Some(CloseFrame { code: Some(1002 | 1007), .. }), _) => instead(seen),
        (Some(frame), _) => {
            let frame = shown(frame);
            notice(format!("answered with {frame}; §5.5.1: \"typically echos\" the code"))
        }
        (None, End::ConnectionEnd(how)) => fault(format!("{} without a close frame", gone(how))),
        (None, _) => fault("did not answer the close frame within the time"),
    }
}

/// Both close frames have passed: the server has to end the TCP connection.
pub(super) fn tcp_end(seen: &Seen) -> Judged {
    if seen.close().is_none() {
        return closing(seen, &CloseFrame::default());
    }
    match &seen.end {
        End::ConnectionEnd(ConnectionEnd::Eof) => ok("ended TCP behind its close frame"),
        End::ConnectionEnd(how) => notice(format!("{} behind its close frame", gone(how))),
        End::Broken(what) => broken(what),
        End::Silence | End::Enough => {
            fault("left TCP open after both close frames, for as long as the audit waited")
        }
    }
}

/// Frames that no client may send were sent, and a ping behind them: the server has to fail the
/// connection (§7.1.7). If it sends a close frame, that has one of `codes`.
pub(super) fn failed(seen: &Seen, codes: &[u16], behind: &[u8]) -> Judged {
    if let End::Broken(what) = &seen.end {
        return broken(what);
    }
    let stays = match (&seen.end, seen.close()) {
        (End::Silence, Some(_)) => ", and left TCP open behind that",
        _ => "",
    };
    match (seen.close(), &seen.end) {
        (Some(frame), _) if frame.code.is_some_and(|code| codes.contains(&code)) => {
            let seen = format!("failed the connection with {}{stays}", shown(frame));
            if stays.is_empty() { ok(seen) } else { fault(seen) }
        }
        (Some(frame), _) => {
            let wanted: Vec<_> = codes.iter().map(u16::to_string).collect();
            let text =
                format!("closed with {frame}, where {} is expected{stays}", wanted.join(" or "));
            if stays.is_empty() { notice(text) } else { fault(text) }
        }
        (None, End::ConnectionEnd(how)) => ok(format!("{} without a close frame", gone(how))),
        (None, _) if seen.has_pong(behind) => {
            fault(format!("{TOOK}, and answered the ping behind it"))
        }
        (None, _) => fault("neither failed the connection nor did anything else"),
    }
}

/// The rule binds the client only: a server that accepts such a frame breaks no rule.
pub(super) fn unless_taken(judged: Judged) -> Judged {
    match judged.seen.starts_with(TOOK) {
        true => notice(format!("{}; the rule binds the client alone", judged.seen)),
        false => judged,
    }
}

/// A close code that must not be sent was sent.
pub(super) fn close_failed(seen: &Seen, codes: &[u16]) -> Judged {
    match (seen.close(), failed(seen, codes, b"")) {
        // The connection closes in any case; only the code for the error is missing.
        (Some(frame), judged) if judged.verdict == super::finding::Verdict::Notice => {
            notice(format!("treated it as valid: closed with {}", shown(frame)))
        }
        (_, judged) => judged,
    }
}

/// A request that is no handshake was sent.
pub(super) fn refused(answer: &Answer) -> Judged {
    match answer {
        Answer::Head(head) if head.status == 101 => fault("opened a WebSocket"),
        Answer::Head(head) => match head.status {
            400..=499 => ok(format!("answered {}", line(head))),
            200..=399 => ok(format!("answered {}, as to any HTTP request", line(head))),
            _ => notice(format!("answered {}", line(head))),
        },
        Answer::NotHttp(e) => notice(format!("answered, but not in HTTP: {e}")),
        Answer::ConnectionEnd(how) => {
            notice(format!("{} without an answer, where an HTTP error belongs", gone(how)))
        }
        Answer::Silence => notice("did not answer within the time"),
    }
}

/// The version of a draft was requested, which a server may support besides 13 (§4.4).
pub(super) fn draft_version(answer: &Answer) -> Judged {
    match answer {
        Answer::Head(head) if head.status == 101 => {
            notice("opened a WebSocket by a draft of the protocol")
        }
        other => other_version(other),
    }
}

/// Another version was requested (§4.4).
pub(super) fn other_version(answer: &Answer) -> Judged {
    let Answer::Head(head) = answer else { return refused(answer) };
    if head.status < 400 {
        return fault(format!("answered {}", line(head)));
    }
    let all = head.fields.all("Sec-WebSocket-Version").flat_map(list);
    let versions: Vec<_> = all.map(|v| escape(v, SHOWN)).collect();
    if !versions.iter().any(|v| v == "13") {
        return fault(format!("answered {} without Sec-WebSocket-Version: 13", line(head)));
    }
    let (line, versions) = (line(head), versions.join(", "));
    ok(format!("answered {line} with Sec-WebSocket-Version: {versions}"))
}

fn line(head: &Head) -> String {
    format!("{} {}", head.status, head.reason).trim_end().to_owned()
}

/// An answer that opens no WebSocket, as text.
pub(super) fn not_opened(answer: &Answer) -> String {
    match answer {
        Answer::Head(head) => format!("answered {}", line(head)),
        Answer::NotHttp(e) => format!("did not answer in HTTP: {e}"),
        Answer::ConnectionEnd(how) => format!("{} without an answer", gone(how)),
        Answer::Silence => "did not answer within the time".into(),
    }
}

/// A handshake in an unusual form that a server has to accept.
pub(super) fn opened(answer: &Answer, key: &str) -> Judged {
    match answer {
        Answer::Head(head) if head.status == 101 => accepted(head, key),
        other => fault(not_opened(other)),
    }
}

pub(super) fn status(head: &Head) -> Judged {
    match (head.minor, head.status) {
        (1, 101) => ok(format!("answered {}", line(head))),
        (minor, _) => fault(format!("answered {} in HTTP/1.{minor}", line(head))),
    }
}

/// The only value of a field.
fn only<'a>(head: &'a Head, name: &'a str) -> Result<&'a [u8], Judged> {
    let mut all = head.fields.all(name);
    match (all.next(), all.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(fault(format!("{name} is missing"))),
        (Some(_), Some(_)) => Err(fault(format!("{name} occurs more than once"))),
    }
}

fn either(judged: Result<Judged, Judged>) -> Judged {
    judged.unwrap_or_else(|judged| judged)
}

pub(super) fn upgrade(head: &Head) -> Judged {
    either(only(head, "Upgrade").map(|value| {
        let shown = format!("Upgrade: {}", escape(value, SHOWN));
        if value.eq_ignore_ascii_case(b"websocket") { ok(shown) } else { fault(shown) }
    }))
}

pub(super) fn connection(head: &Head) -> Judged {
    let all: Vec<_> = head.fields.all("Connection").collect();
    let shown = format!("Connection: {}", escape(&all.join(&b", "[..]), SHOWN));
    let upgrade = |v: &[u8]| v.eq_ignore_ascii_case(b"upgrade");
    match all.iter().flat_map(|value| list(value)).any(upgrade) {
        true => ok(shown),
        false if all.is_empty() => fault("Connection is missing"),
        false => fault(shown),
    }
}

pub(super) fn accepted(head: &Head, key: &str) -> Judged {
    either(only(head, "Sec-WebSocket-Accept").map(|value| {
        let wanted = accept(key);
        if value == wanted.as_bytes() {
            return ok("is the answer to the key");
        }
        let value = escape(value, SHOWN);
        fault(format!("is \"{value}\", and the answer to the key is \"{wanted}\""))
    }))
}

/// No extension was offered but those of `offered`, which no server knows.
pub(super) fn no_extension(head: &Head) -> Judged {
    match head.fields.all("Sec-WebSocket-Extensions").flat_map(list).next() {
        Some(value) => fault(format!("uses \"{}\", which was not asked for", escape(value, SHOWN))),
        None => ok("uses none"),
    }
}

/// The server may choose one of the subprotocols in `offered`.
pub(super) fn protocol(head: &Head, offered: &[&str]) -> Judged {
    let all: Vec<_> = head.fields.all("Sec-WebSocket-Protocol").collect();
    match (&all[..], offered) {
        ([], _) => ok("chose none"),
        ([one], _) if offered.iter().any(|o| o.as_bytes() == *one) => {
            ok(format!("chose \"{}\"", escape(one, SHOWN)))
        }
        ([one], []) => fault(format!("chose \"{}\", and none was offered", escape(one, SHOWN))),
        ([one], _) => {
            let (one, all) = (escape(one, SHOWN), offered.join("\", \""));
            fault(format!("chose \"{one}\", and offered were \"{all}\""))
        }
        _ => fault("Sec-WebSocket-Protocol occurs more than once (§11.3.4)"),
    }
}

pub(super) fn bytes(n: usize) -> String {
    format!("{n} byte{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::super::frame::Item;
    use super::*;
    use crate::limits::Limits;
    use crate::proto::head::HeadParser;
    use crate::proto::ws::Violation;

    fn seen(items: Vec<Item>, end: End) -> Seen {
        Seen { items, end }
    }

    fn close(code: u16) -> Item {
        Item::Close(CloseFrame::new(code, ""))
    }

    fn pong_of(payload: &[u8]) -> Item {
        Item::Pong(payload.to_vec())
    }

    fn text(data: &[u8]) -> Item {
        Item::Message { text: true, data: data.to_vec(), compressed: false }
    }

    fn eof() -> End {
        End::ConnectionEnd(ConnectionEnd::Eof)
    }

    fn rule(violation: Violation) -> End {
        End::Broken(Broken::Rule(violation))
    }

    /// Checks the verdict of each row, and that its text has a word.
    fn check(rows: Vec<(Judged, Verdict, &str)>) {
        for (judged, verdict, word) in rows {
            assert_eq!(judged.verdict, verdict, "{}", judged.seen);
            assert!(judged.seen.contains(word), "\"{word}\": {}", judged.seen);
        }
    }

    #[test]
    fn pings() {
        let judge = |items, end| pong(&seen(items, end), b"ab");
        let masked = rule(Violation::MaskedByServer);
        check(vec![
            (judge(vec![pong_of(b"ab")], End::Enough), Verdict::Ok, "2 bytes"),
            (judge(vec![pong_of(b""), pong_of(b"ab")], End::Enough), Verdict::Ok, "2 bytes"),
            (judge(vec![pong_of(b"x\x1b")], End::Silence), Verdict::Fault, "1b"),
            (judge(vec![], End::Silence), Verdict::Fault, "nothing"),
            (judge(vec![], eof()), Verdict::Fault, "ended"),
            (judge(vec![close(1002)], eof()), Verdict::Fault, "1002"),
            (judge(vec![], masked), Verdict::Fault, "masked frame from a server (§5.1)"),
        ]);
        let judge = |items| pongs(&seen(items, End::Enough), &[b"1", b"2", b"3"]);
        let [one, two, three] = [b"1", b"2", b"3"].map(|n| pong_of(n));
        check(vec![
            (judge(vec![one.clone(), two.clone(), three.clone()]), Verdict::Ok, "each of 3"),
            (judge(vec![three.clone()]), Verdict::Ok, "1 of 3"),
            (judge(vec![two.clone(), one.clone(), three.clone()]), Verdict::Fault, "order"),
            (judge(vec![one.clone(), one.clone(), three]), Verdict::Fault, "order"),
            (judge(vec![one, two]), Verdict::Fault, "nothing"),
        ]);
    }

    #[test]
    fn messages() {
        let judge = |items, end| echo(&seen(items, end), true, b"hi", b"p");
        let other = Item::Message { text: false, data: b"hi".to_vec(), compressed: false };
        check(vec![
            (judge(vec![text(b"hello"), text(b"hi")], End::Enough), Verdict::Ok, "2 bytes"),
            (judge(vec![text(b"h"), pong_of(b"p")], End::Silence), Verdict::Fault, "whole"),
            (judge(vec![other, pong_of(b"p")], End::Silence), Verdict::Fault, "other type"),
            (judge(vec![close(1007)], eof()), Verdict::Fault, "1007"),
            (judge(vec![close(1008)], eof()), Verdict::Notice, "1008"),
            (judge(vec![], End::Silence), Verdict::Fault, "nothing"),
            (judge(vec![], rule(Violation::NotUtf8)), Verdict::Fault, "§8.1"),
        ]);
        let judge = |items, end| taken(&seen(items, end), b"p");
        check(vec![
            (judge(vec![pong_of(b"p")], End::Enough), Verdict::Skipped, "does not echo"),
            (judge(vec![close(1002)], eof()), Verdict::Fault, "1002"),
            (judge(vec![close(1003)], eof()), Verdict::Notice, "1003"),
            (judge(vec![], eof()), Verdict::Fault, "ended"),
        ]);
    }

    #[test]
    fn closes() {
        let judge = |items, end| closing(&seen(items, end), &CloseFrame::new(1000, "x"));
        let after = End::Broken(Broken::AfterClose);
        check(vec![
            (judge(vec![close(1000)], eof()), Verdict::Ok, "1000"),
            (judge(vec![close(1001)], eof()), Verdict::Notice, "1001"),
            (judge(vec![close(1002)], eof()), Verdict::Fault, "failed the connection"),
            (judge(vec![Item::Close(CloseFrame::default())], eof()), Verdict::Notice, "no code"),
            (judge(vec![], eof()), Verdict::Fault, "without a close frame"),
            (judge(vec![], End::Silence), Verdict::Fault, "did not answer"),
            (judge(vec![close(1000)], after), Verdict::Fault, "behind its close frame"),
        ]);
        let judge = |items, end| tcp_end(&seen(items, end));
        let reset = End::ConnectionEnd(ConnectionEnd::Reset("reset".into()));
        check(vec![
            (judge(vec![close(1000)], eof()), Verdict::Ok, "ended TCP"),
            (judge(vec![close(1000)], reset), Verdict::Notice, "reset"),
            (judge(vec![close(1000)], End::Silence), Verdict::Fault, "open"),
            (judge(vec![], End::Silence), Verdict::Fault, "did not answer"),
        ]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = CloseFrame::new(1000, "\u{20ac}".repeat(41));
        assert_eq!(shown(&long), format!("1000 \"{}\"", "\u{20ac}".repeat(41)));
        let longer = CloseFrame::new(1000, "a".repeat(123));
        assert_eq!(shown(&longer), format!("1000 \"{}\u{2026}\"", "a".repeat(60)));
    }

    #[test]
    fn what_has_to_fail() {
        let judge = |items, end| failed(&seen(items, end), &[1002], b"p");
        check(vec![
            (judge(vec![close(1002)], eof()), Verdict::Ok, "1002"),
            (judge(vec![], eof()), Verdict::Ok, "without a close frame"),
            (judge(vec![close(1011)], eof()), Verdict::Notice, "where 1002"),
            (judge(vec![close(1002)], End::Silence), Verdict::Fault, "open"),
            (judge(vec![pong_of(b"p")], End::Silence), Verdict::Fault, "took it"),
            (judge(vec![pong_of(b"p")], eof()), Verdict::Ok, "ended the connection"),
            (judge(vec![pong_of(b"p"), close(1002)], eof()), Verdict::Ok, "1002"),
            (judge(vec![text(b"x")], End::Silence), Verdict::Fault, "neither"),
            (judge(vec![], rule(Violation::CloseCode(1005))), Verdict::Fault, "1005"),
        ]);
        let taken = failed(&seen(vec![pong_of(b"p")], End::Silence), &[1002], b"p");
        let refused = failed(&seen(vec![close(1002)], eof()), &[1002], b"p");
        check(vec![
            (unless_taken(taken), Verdict::Notice, "binds the client"),
            (unless_taken(refused), Verdict::Ok, "1002"),
        ]);
        let judge = |items, end| close_failed(&seen(items, end), &[1002]);
        check(vec![
            (judge(vec![close(1000)], eof()), Verdict::Notice, "treated it as valid"),
            (judge(vec![close(1002)], eof()), Verdict::Ok, "1002"),
            (judge(vec![], End::Silence), Verdict::Fault, "neither"),
        ]);
    }

    fn head(text: &str) -> Head {
        let text = format!("{text}\r\n\r\n");
        HeadParser::default().feed(text.as_bytes(), &Limits::default()).unwrap().1.unwrap()
    }

    #[test]
    fn answers_to_what_is_no_handshake() {
        let of = |text: &str| Answer::Head(head(text));
        let bad = "HTTP/1.1 400 Bad Request";
        let gone = Answer::ConnectionEnd(ConnectionEnd::Eof);
        check(vec![
            (refused(&of(bad)), Verdict::Ok, "400 Bad Request"),
            (refused(&of("HTTP/1.1 200 OK")), Verdict::Ok, "as to any"),
            (refused(&of("HTTP/1.1 500 No")), Verdict::Notice, "500"),
            (refused(&of("HTTP/1.1 101 Yes")), Verdict::Fault, "opened"),
            (refused(&gone), Verdict::Notice, "without an answer"),
            (refused(&Answer::Silence), Verdict::Notice, "did not answer"),
        ]);
        let good = "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8, 13";
        check(vec![
            (other_version(&of(good)), Verdict::Ok, "8, 13"),
            (other_version(&of(bad)), Verdict::Fault, "without Sec-WebSocket-Version"),
            (other_version(&of("HTTP/1.1 101 Yes")), Verdict::Fault, "101"),
            (other_version(&gone), Verdict::Notice, "without an answer"),
            (draft_version(&of("HTTP/1.1 101 Yes")), Verdict::Notice, "draft"),
            (draft_version(&of(bad)), Verdict::Fault, "without Sec-WebSocket-Version"),
        ]);
    }

    #[test]
    fn each_rule_of_the_101() {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let good = head(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
             Connection: keep-alive, upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        );
        let bad = head(
            "HTTP/1.0 101 Yes\r\nUpgrade: h2c\r\nConnection: close\r\nSec-WebSocket-Accept: AA\r\n\
             Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Protocol: c",
        );
        let none = head("HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nUpgrade: websocket");
        let two =
            head("HTTP/1.1 101 Yes\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a");
        let chosen = head("HTTP/1.1 101 Yes\r\nSec-WebSocket-Protocol: b");
        check(vec![
            (status(&good), Verdict::Ok, "101"),
            (status(&bad), Verdict::Fault, "HTTP/1.0"),
            (upgrade(&good), Verdict::Ok, "WebSocket"),
            (upgrade(&bad), Verdict::Fault, "h2c"),
            (upgrade(&none), Verdict::Fault, "more than once"),
            (connection(&good), Verdict::Ok, "keep-alive"),
            (connection(&bad), Verdict::Fault, "close"),
            (connection(&none), Verdict::Fault, "missing"),
            (accepted(&good, KEY), Verdict::Ok, "answer"),
            (accepted(&bad, KEY), Verdict::Fault, "\"AA\""),
            (accepted(&none, KEY), Verdict::Fault, "missing"),
            (no_extension(&good), Verdict::Ok, "none"),
            (no_extension(&bad), Verdict::Fault, "\"x\""),
            (protocol(&good, &["a"]), Verdict::Ok, "none"),
            (protocol(&bad, &[]), Verdict::Fault, "none was offered"),
            (protocol(&bad, &["a", "b"]), Verdict::Fault, "offered were \"a\", \"b\""),
            (protocol(&two, &["a"]), Verdict::Fault, "more than once"),
            (protocol(&chosen, &["a", "b"]), Verdict::Ok, "\"b\""),
            (opened(&Answer::Head(good), KEY), Verdict::Ok, "answer"),
            (opened(&Answer::Silence, KEY), Verdict::Fault, "did not answer"),
        ]);
    }
}
