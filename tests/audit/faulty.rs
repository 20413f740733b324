//! Servers with one fault each: an audit finds it, by the name of the check that is about it, and says of
//! what is right that it is.

use std::collections::BTreeSet;
use std::time::Duration;

use moonwire::audit::{Kind, Verdict, checks};

use super::server::{Flaw, serve};
use super::{audited, lines, options};

/// What the server without faults does well, whatever else is wrong with a server here.
const CONTROL: [&str; 4] = ["opening-status", "pong-unsolicited", "length-0", "close-1001"];

/// Of the named checks and the control, exactly the named ones have to be faults.
fn check(flaw: Flaw, names: &[&str], hostile: bool) {
    let mut options = options(&serve(flaw));
    // Where a fault is that nothing comes, it is waited for this long; all else is there at once, but on
    // a machine that has other things to do.
    options.patience = Duration::from_secs(3);
    options.hostile = hostile;
    let control = CONTROL.iter().filter(|name| !names.contains(name));
    options.only = names.iter().chain(control).map(|name| (*name).to_owned()).collect();
    let (all, summary) = audited(&options);
    assert!(summary.is_ok(), "{flaw:?}: {summary:?}\n{}", lines(&all));
    let found = all.iter().filter(|finding| finding.verdict == Verdict::Fault);
    let found: BTreeSet<&str> = found.map(|finding| finding.about.name).collect();
    assert_eq!(found, names.iter().copied().collect(), "{flaw:?}\n{}", lines(&all));
    for finding in &all {
        let is_control = !names.contains(&finding.about.name);
        assert!(!is_control || finding.verdict == Verdict::Ok, "{flaw:?}\n{}", lines(&all));
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
    use Flaw::*;
    for (flaw, names) in [
        (Line("Upgrade", ""), &["opening-upgrade"][..]),
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
    ] {
        check(flaw, names, false);
    }
    let mut options = options(&serve(Status("HTTP/1.0 101 Switching Protocols")));
    options.only = vec!["opening-status".into()];
    assert_eq!(audited(&options).1.unwrap().faults, 1);
}

#[test]
fn faults_with_control_frames() {
    use Flaw::*;
    for (flaw, names) in [
        (ShortPong(124), &["ping-125"][..]),
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
    ] {
        check(flaw, names, false);
    }
}

#[test]
fn faults_with_messages() {
    use Flaw::*;
    for (flaw, names) in [
        (Length(125), &["length-125"][..]),
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
    ] {
        check(flaw, names, false);
    }
}

#[test]
fn faults_of_its_own_frames() {
    use Flaw::*;
    for (flaw, names) in [
        (Masks, &["server-mask", "ping", "length-0", "pong-unsolicited", "close-1001"][..]),
        (ReservedBit, &["server-reserved", "length-0", "pong-unsolicited", "close-1001"]),
        (LongLengths, &["server-lengths", "length-0", "pong-unsolicited", "close-1001"]),
        (LongPong, &["server-control", "pong-unsolicited"]),
        (OnlyContinuations, &["server-fragments"]),
        (BadText, &["server-text", "text-edges"]),
        (CloseWith(b"\x03\xED"), &["server-close", "close-1000", "close-1001"]),
        (CloseWith(b"\x03"), &["server-close", "close-1001"]),
        (CloseWith(b"\x03\xE9\xFF"), &["server-close", "close-1001"]),
        (TalksAfterClose, &["server-after-close", "close-1000", "close-1001"]),
    ] {
        // Nothing comes back that can be read: so no echo is found, and length-0 is judged by its pong.
        let names: Vec<_> = match flaw {
            OnlyContinuations => vec!["server-fragments", "length-0"],
            _ => names.to_vec(),
        };
        check(flaw, &names, false);
    }
}

#[test]
fn a_server_that_takes_everything_has_every_fault_of_the_hostile_checks() {
    // What has 1000 as a code may be answered with it: the connection is closed in any case.
    let closes = ["unmasked-close", "control-fragmented-close"];
    let is_frame = |name: &str| !name.starts_with("request-") && !name.starts_with("deflate-");
    let frames = checks().filter(|a| a.kind == Kind::Hostile && is_frame(a.name));
    let frames: Vec<_> = frames.map(|a| a.name).filter(|name| !closes.contains(name)).collect();
    assert!(frames.len() > 35);
    check(Flaw::Lenient, &frames, true);
    let requests = checks().map(|a| a.name).filter(|name| name.starts_with("request-"));
    let requests: Vec<_> = requests.collect();
    assert!(requests.len() > 15);
    check(Flaw::AnyRequest, &requests, true);
    check(Flaw::NoVersion, &["request-version-8", "request-version-14"], true);
}

#[cfg(feature = "deflate")]
#[test]
fn faults_with_compression() {
    use Flaw::*;
    for (flaw, names) in [
        (Agrees("permessage-deflate; client_max_window_bits=10"), &["deflate"][..]),
        (Agrees("permessage-deflate; x=1"), &["deflate", "deflate-client-window"]),
        (Agrees("permessage-deflate, permessage-deflate"), &["deflate"]),
        (
            Agrees("permessage-deflate"),
            &["deflate-server-window-10", "deflate-server-takeover", "deflate-all-parameters"],
        ),
        // It sends back what refers as far as we do, and to messages before.
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
        (NotInFragments, &["deflate-fragments"]),
    ] {
        check(flaw, names, false);
    }
    let declined = checks().filter(|a| a.kind == Kind::Hostile && a.section == "RFC 7692 §7.1");
    let declined: Vec<_> = declined.map(|a| a.name).collect();
    assert_eq!(declined.len(), 5);
    check(Agrees("permessage-deflate"), &declined, true);
}
