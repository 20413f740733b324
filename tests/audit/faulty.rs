//! Servers with one fault each: an audit reports the fault under the name of its check, and reports
//! no other.

use std::collections::BTreeSet;
use std::time::Duration;

use moonwire::audit::{Finding, Kind, Verdict, checks};

use super::server::{Flaw, serve};
use super::{audited, lines, options};

/// Checks that each server here must pass, unless they are named for its fault.
const CONTROL: [&str; 4] = ["opening-status", "pong-unsolicited", "length-0", "close-1001"];

/// Of the named checks and the control, exactly the named ones must report a fault. An audit finds
/// some faults by waiting for an answer in vain. On a busy machine an answer may come too late. So
/// an unexpected result is checked once more, with more patience.
fn check(flaw: Flaw, names: &[&str], hostile: bool) {
    let wrong = wrong(flaw, names, hostile, Duration::from_secs(3));
    if wrong.is_some() {
        assert_eq!(self::wrong(flaw, names, hostile, Duration::from_secs(20)), None);
    }
}

fn wrong(flaw: Flaw, names: &[&str], hostile: bool, patience: Duration) -> Option<String> {
    let mut options = options(&serve(flaw));
    (options.patience, options.hostile) = (patience, hostile);
    let control = CONTROL.iter().filter(|name| !names.contains(name));
    options.only = names.iter().chain(control).map(|name| (*name).to_owned()).collect();
    let (all, summary) = audited(&options);
    let as_it_has_to_be = |finding: &Finding| match names.contains(&finding.about.name) {
        true => finding.verdict == Verdict::Fault,
        false => finding.verdict == Verdict::Ok,
    };
    let is_right = all.len() == options.only.len() && all.iter().all(as_it_has_to_be);
    let text = format!("{flaw:?} has to be found by {names:?}: {summary:?}\n{}", lines(&all));
    (!is_right).then_some(text)
}

/// A fault, and the checks that must find it.
type Row = (Flaw, &'static [&'static str]);

/// Checks all rows in parallel, since an audit mostly waits.
fn all(rows: &[Row]) {
    std::thread::scope(|scope| {
        for (flaw, names) in rows {
            scope.spawn(|| check(*flaw, names, false));
        }
    });
}

const OPENING: &[Row] = {
    use Flaw::*;
    &[
        (Line("Upgrade", ""), &["opening-upgrade"]),
        (Line("Upgrade", "Upgrade: websocket, h2c"), &["opening-upgrade"]),
        (Plus("Upgrade: websocket"), &["opening-upgrade"]),
        (Line("Connection", "Connection: close"), &["opening-connection"]),
        (
            Line("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            &["opening-accept"],
        ),
        (Line("Sec-WebSocket-Accept", ""), &["opening-accept"]),
        (
            Plus("Sec-WebSocket-Extensions: permessage-deflate"),
            &["opening-extension-unasked", "opening-extension-unknown"],
        ),
        (
            Plus("Sec-WebSocket-Protocol: chat"),
            &["opening-protocol-unasked", "opening-protocol", "opening-protocol-fields"],
        ),
        (ProtocolAsOffered, &["opening-protocol"]),
        (OneProtocolField, &["opening-protocol-fields"]),
        (AcceptsAnyExtension, &["opening-extension-unknown"]),
        (CaseMatters, &["opening-case"]),
        (ConnectionIsOneWord, &["opening-connection-list"]),
        (UnknownFieldIsRefused, &["opening-field-unknown"]),
        (OneSegment, &["opening-in-pieces"]),
    ]
};

const CONTROL_FRAMES: &[Row] = {
    use Flaw::*;
    &[
        (ShortPong(124), &["ping-125"]),
        (ShortPong(7), &["ping-125", "ping-halves"]),
        (FirstPongOnly, &["ping-several"]),
        (PongBehindTheMessage, &["ping-in-fragments"]),
        (PongIsRefused, &["pong-unsolicited"]),
        (NoPong, &["ping-empty", "ping", "pong-unsolicited"]),
        (CloseFails(b"\x03\xE8"), &["close-1000", "close-in-fragments"]),
        (CloseFails(b"\x0B\xB8"), &["close-3000"]),
        (CloseFails(b"\x13\x87"), &["close-4999"]),
        (CloseFails(b""), &["close-empty"]),
        (NoCloseInFragments, &["close-in-fragments"]),
        (KeepsTcp, &["close-tcp"]),
        (NoCloseFrame, &["close-1000", "close-1001", "close-empty", "close-reason"]),
    ]
};

const MESSAGES: &[Row] = {
    use Flaw::*;
    &[
        (Length(125), &["length-125"]),
        (Length(126), &["length-126"]),
        (Length(127), &["length-127"]),
        (Length(65_535), &["length-65535"]),
        (Length(65_536), &["length-65536"]),
        (Backwards, &["messages-glued"]),
        (FragmentsAreMessages, &["fragments-text", "fragments-binary", "fragments-many"]),
        (EmptyFragmentEnds, &["fragments-empty"]),
        (FragmentsAreTexts, &["fragments-character"]),
        (Fragments(150), &["fragments-many"]),
        (Without(b"\0"), &["text-edges"]),
        (Without("\u{FFFF}".as_bytes()), &["text-edges"]),
        (Most(69_999), &["text-long"]),
    ]
};

const OWN_FRAMES: &[Row] = {
    use Flaw::*;
    &[
        (Masks, &["server-mask", "ping", "length-0", "pong-unsolicited", "close-1001"]),
        (ReservedBit, &["server-reserved", "length-0", "pong-unsolicited", "close-1001"]),
        (LongLengths, &["server-lengths", "length-0", "pong-unsolicited", "close-1001"]),
        (LongPong, &["server-control", "pong-unsolicited"]),
        (OnlyContinuations, &["server-fragments", "length-0"]),
        (BadText, &["server-text", "text-edges"]),
        (CloseWith(b"\x03\xED"), &["server-close", "close-1000", "close-1001"]),
        (CloseWith(b"\x03"), &["server-close", "close-1001"]),
        (CloseWith(b"\x03\xE9\xFF"), &["server-close", "close-1001"]),
        (TalksAfterClose, &["server-after-close", "close-1000", "close-1001"]),
    ]
};

#[cfg(feature = "deflate")]
const COMPRESSION: &[Row] = {
    use Flaw::*;
    &[
        (Agrees("permessage-deflate; client_max_window_bits=10"), &["deflate"]),
        (Agrees("permessage-deflate; x=1"), &["deflate", "deflate-client-window"]),
        (Agrees("permessage-deflate, permessage-deflate"), &["deflate"]),
        (
            Agrees("permessage-deflate"),
            &["deflate-server-window-10", "deflate-server-takeover", "deflate-all-parameters"],
        ),
        // The server sends compressed data back unchanged. So it refers as far back as ours, and to
        // earlier messages.
        (
            Agrees("permessage-deflate; server_max_window_bits=10"),
            &["deflate-server-window-10", "deflate-fallback", "deflate-server-window-8"],
        ),
        (Agrees("permessage-deflate; server_no_context_takeover"), &["deflate-server-takeover"]),
        (Garbles, &["deflate", "deflate-block"]),
        (NotInflated(b"\xF2\x48\xCD"), &["deflate-block"]),
        (NotInflated(b"\0\x05"), &["deflate-block-stored"]),
        (NotInflated(b"\xF3"), &["deflate-block-final"]),
        (NotInflated(b"\xF2\x48\x05"), &["deflate-blocks"]),
        (NotInflated(b"\0"), &["deflate-empty", "deflate-block-stored"]),
        (NotPlain, &["deflate-plain"]),
        (NotInFragments, &["deflate-fragments", "deflate-ping-in-fragments"]),
        (NotAroundPings, &["deflate-ping-in-fragments"]),
        (
            Agrees("permessage-deflate; client_max_window_bits=11"),
            &["deflate-client-window-10", "deflate-client-takeover"],
        ),
    ]
};

/// A check that no server here fails might never fail.
#[test]
fn every_legit_check_is_failed_by_some_server() {
    let tables = [OPENING, CONTROL_FRAMES, MESSAGES, OWN_FRAMES];
    #[cfg(feature = "deflate")]
    let tables = [&tables[..], &[COMPRESSION]].concat();
    let failed: BTreeSet<_> =
        tables.iter().copied().flatten().flat_map(|(_, names)| *names).copied().collect();
    let legit = checks().filter(|about| about.kind == Kind::Legit).map(|about| about.name);
    let missing: Vec<_> = legit.filter(|name| !failed.contains(name)).collect();
    // These have their own tests: the first check, and checks whose result the RFC leaves to the
    // server.
    assert_eq!(missing, ["opening-status", "message-limit", "idle"]);
}

#[test]
fn where_the_rule_leaves_the_choice_it_is_reported() {
    for (flaw, name, verdict, word) in [
        (
            Flaw::Length((1 << 20) + 1),
            "message-limit",
            Verdict::Notice,
            "1009 would name the reason",
        ),
        (Flaw::None, "message-limit", Verdict::Ok, "larger ones were not tried"),
        (Flaw::None, "idle", Verdict::Notice, "sent no ping within 0.01 s"),
        (Flaw::LooksLate, "text-byte", Verdict::Ok, "failed the connection with 1007"),
        (Flaw::Pings, "idle", Verdict::Ok, "pinged within"),
        (Flaw::CloseWith(b"\x03\xE9"), "close-1000", Verdict::Notice, "answered with 1001"),
        (Flaw::AnyRequest, "request-version-8", Verdict::Notice, "a draft"),
    ] {
        let mut options = options(&serve(flaw));
        options.patience = Duration::from_secs(20);
        // The server pings at once. The long time leaves room for a busy machine.
        let is_pinged = flaw == Flaw::Pings;
        options.idle = Duration::from_millis(if is_pinged { 20_000 } else { 10 });
        options.hostile = true;
        options.only = vec![name.into()];
        let (all, _) = audited(&options);
        assert_eq!(all.len(), 1, "{name}");
        assert_eq!(all[0].verdict, verdict, "{}", all[0]);
        assert!(all[0].seen.contains(word), "{}", all[0]);
    }
}

#[test]
fn the_server_has_no_fault_without_one() {
    let mut options = options(&serve(Flaw::None));
    (options.hostile, options.idle) = (true, Duration::from_millis(10));
    options.patience = Duration::from_secs(20);
    let (all, summary) = audited(&options);
    assert_eq!(summary.unwrap().faults, 0, "{}", lines(&all));
}

#[test]
fn faults_of_the_opening_handshake() {
    all(OPENING);
    let mut options = options(&serve(Flaw::Status("HTTP/1.0 101 Switching Protocols")));
    options.only = vec!["opening-status".into()];
    assert_eq!(audited(&options).1.unwrap().faults, 1);
}

#[test]
fn faults_with_control_frames() {
    all(CONTROL_FRAMES);
}

#[test]
fn faults_with_messages() {
    all(MESSAGES);
}

#[test]
fn faults_of_its_own_frames() {
    all(OWN_FRAMES);
}

#[test]
fn a_server_that_takes_everything_has_every_fault_of_the_hostile_checks() {
    // The rule for the shortest length binds the client, not the server.
    let others = ["length-16-not-shortest", "length-64-not-shortest"];
    let is_frame = |name: &str| !name.starts_with("request-") && !name.starts_with("deflate-");
    let frames = checks().filter(|a| a.kind == Kind::Hostile && is_frame(a.name));
    let frames: Vec<_> = frames.map(|a| a.name).filter(|name| !others.contains(name)).collect();
    assert!(frames.len() > 35);
    check(Flaw::Lenient, &frames, true);
    let mut options = options(&serve(Flaw::Lenient));
    options.hostile = true;
    options.only = others.map(str::to_owned).into();
    assert_eq!(audited(&options).1.unwrap().notices, others.len());
    // 8 is the version of a draft, which a server may accept.
    let is_request = |name: &&str| name.starts_with("request-") && *name != "request-version-8";
    let requests: Vec<_> = checks().map(|a| a.name).filter(is_request).collect();
    assert!(requests.len() > 15);
    check(Flaw::AnyRequest, &requests, true);
    check(Flaw::NoVersion, &["request-version-8", "request-version-14"], true);
}

#[cfg(feature = "deflate")]
#[test]
fn faults_with_compression() {
    all(COMPRESSION);
    let declined = checks().filter(|a| a.kind == Kind::Hostile && a.section == "RFC 7692 §7.1");
    let declined: Vec<_> = declined.map(|a| a.name).collect();
    assert_eq!(declined.len(), 5);
    check(Flaw::Agrees("permessage-deflate"), &declined, true);
    let frames = ["deflate-broken", "deflate-text", "deflate-bit-continuation", "deflate-bit-ping"];
    check(Flaw::LenientAgrees, &frames, true);
}
