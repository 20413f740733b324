//! Runs moonwire against a hostile server over real sockets: every case of `cases.txt`. Also checks
//! the table of the cases, docs/STRICTNESS.md, in which other clients have columns (tests/peers).
#![cfg(all(feature = "tls", feature = "cli"))]

#[path = "../common/mod.rs"]
mod common;
mod play;
mod run;
mod script;
mod table;

use common::timeout;

use std::collections::BTreeSet;

use script::{Case, Group};

fn groups() -> Vec<Group> {
    script::parse(include_str!("cases.txt"))
}

fn cases() -> Vec<Case> {
    groups().into_iter().flat_map(|g| g.cases).collect()
}

#[test]
fn every_case_ends_as_it_should_for_the_client_and_on_the_wire() {
    run::all(&cases());
}

#[test]
fn each_of_256_first_bytes() {
    let case = |b: u8| {
        let (reserved, opcode) = (b >> 4 & 7, b & 15);
        let (want, wire) = match (reserved, opcode) {
            (1.., _) => (format!("failed ReservedBits({reserved})"), "1002"),
            (0, 3..=7 | 11..) => (format!("failed ReservedOpcode({opcode})"), "1002"),
            (0, 8..=10) if b < 0x80 => ("failed FragmentedControl".into(), "1002"),
            (0, 0) => ("failed ContinuationFirst".into(), "1002"),
            // A message or its first fragment, a close, a ping, or a pong; then the stream ends.
            (0, 1) if b >= 0x80 => ("text \"\"; lost Eof".into(), "none"),
            (0, 2) if b >= 0x80 => ("binary \"\"; lost Eof".into(), "none"),
            (0, 1 | 2) => ("lost Eof".into(), "none"),
            (0, 8) => ("clean empty".into(), "empty"),
            (0, 9) => ("lost Eof".into(), "pong \"\""),
            (0, _) => ("pong \"\"; lost Eof".into(), "none"),
        };
        let text = format!("B-{b:02X} [RFC 6455 §5.2] first byte\nopen {b:02X} 00\neof\n");
        format!("{text}want opened; {want}\nwire {wire}")
    };
    let text: Vec<String> = (0..=255).map(case).collect();
    let cases = script::parse(&format!("== first bytes\n\n{}", text.join("\n\n")));
    assert_eq!(cases[0].cases.len(), 256);
    run::all(&cases[0].cases);
}

#[test]
fn the_cases_are_many_and_each_has_an_id_of_its_own() {
    let all = cases();
    let ids: BTreeSet<&str> = all.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "an id twice");
    assert!(all.len() >= 140);
}

/// The variants of `Violation`, `HandshakeError` with `HeadError`, `HttpError` with `SseError`, and
/// the variants of `ErrorKind` that a server can cause.
const KINDS: &str = "
    ReservedBits ReservedOpcode FragmentedControl LongControl MaskedByServer LengthNotMinimal
    LengthTopBit ContinuationFirst MessageInMessage CloseLength CloseCode CloseReason NotUtf8
    MessageTooBig TooManyFragments
    NotHttp StatusLine LineEnd Control Field LongLine LongHead ManyFields
    OldHttp Status ManyInterim Upgrade Connection Accept Extension Protocol Eof Timeout
    BothLengths TransferEncoding ContentLength ContentEncoding ContentType ChunkLine ChunkSize
    LongChunkLine ChunkOverhead ChunkEnd Trailer EventStream Truncated Idle ManyRedirects Downgrade
    Location Locations
    Certificate Tls NoCloseAnswer Io";

#[test]
fn every_kind_of_error_that_a_server_can_cause_has_a_case() {
    let all = cases();
    for kind in KINDS.split_whitespace() {
        let has = |c: &Case| {
            let name = c.end().split([' ', '(']).nth(1);
            name == Some(kind)
        };
        assert!(all.iter().any(has), "no case ends in {kind}");
    }
}

/// The variants of `ProxyError`, and the variants of `HeadError` that concern different parts of a
/// head.
const OF_PROXY: &str = "
    Status NotHttp StatusLine LineEnd Control Field LongLine LongHead ManyFields ManyInterim Early
    NotSocks Method Login Socks AddressType Eof Unreached";

#[test]
fn every_kind_of_error_that_a_proxy_can_cause_has_a_case() {
    let all = cases();
    for kind in OF_PROXY.split_whitespace() {
        let start = format!("refused Proxy {kind}");
        let has = |c: &Case| {
            let rest = c.end().strip_prefix(start.as_str());
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        };
        assert!(all.iter().any(has), "no case ends in {start}");
    }
}

#[test]
fn the_strictness_table_is_that_of_the_cases() {
    let path = format!("{}/docs/STRICTNESS.md", env!("CARGO_MANIFEST_DIR"));
    let want = table::markdown(&groups());
    if std::env::var_os("MOONWIRE_BLESS").is_some() {
        std::fs::write(&path, &want).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let other = want.lines().zip(there.lines()).find(|(a, b)| a != b);
    assert!(there == want, "{path} differs from the cases; MOONWIRE_BLESS=1 writes it: {other:?}");
}
