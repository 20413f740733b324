//! Requests that are no handshake (RFC 6455 §4.2.1): a server must not take them for one.

use crate::audit::ask::Ask;
use crate::audit::check::{Check, Play};
use crate::audit::judge;

const REQUEST: &str = "RFC 6455 §4.2.1";
const VERSION: &str = "RFC 6455 §4.4";
const KEY: &str = "RFC 6455 §11.3.1";
const HOST: &str = "RFC 9112 §3.2";

const fn refused(
    name: &'static str,
    section: &'static str,
    proves: &'static str,
    change: fn(&mut Ask),
) -> Check {
    Check::hostile(name, section, proves, Play::Ask(change, |answer, _| judge::refused(answer)))
}

pub(super) const CHECKS: &[Check] = &[
    Check::hostile(
        "request-version-8",
        VERSION,
        "another version is refused, and the answer names 13",
        Play::Ask(
            |ask| ask.set("Sec-WebSocket-Version", "8"),
            |answer, _| judge::draft_version(answer),
        ),
    ),
    Check::hostile(
        "request-version-14",
        VERSION,
        "so is a later one",
        Play::Ask(
            |ask| ask.set("Sec-WebSocket-Version", "14"),
            |answer, _| judge::other_version(answer),
        ),
    ),
    refused("request-version-none", REQUEST, "a version is needed", |ask| {
        ask.remove("Sec-WebSocket-Version");
    }),
    refused("request-version-twice", "RFC 6455 §11.3.5", "a version stands there once", |ask| {
        ask.add("Sec-WebSocket-Version", "13");
    }),
    refused("request-key-none", REQUEST, "a key is needed", |ask| ask.remove("Sec-WebSocket-Key")),
    refused("request-key-empty", REQUEST, "a key is not empty", |ask| {
        ask.set("Sec-WebSocket-Key", "");
    }),
    refused("request-key-short", REQUEST, "a key has 16 bytes, not 15", |ask| {
        ask.set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA");
    }),
    refused("request-key-long", REQUEST, "a key has 16 bytes, not 17", |ask| {
        ask.set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA=");
    }),
    refused("request-key-no-base64", REQUEST, "a key is base64", |ask| {
        ask.set("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==");
    }),
    refused("request-key-twice", KEY, "a key stands there once", |ask| {
        ask.add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    }),
    refused("request-upgrade-none", REQUEST, "Upgrade is needed", |ask| ask.remove("Upgrade")),
    refused("request-upgrade-other", REQUEST, "Upgrade names websocket", |ask| {
        ask.set("Upgrade", "moonwire");
    }),
    refused("request-connection-none", REQUEST, "Connection is needed", |ask| {
        ask.remove("Connection");
    }),
    refused("request-connection-other", REQUEST, "Connection lists Upgrade", |ask| {
        ask.set("Connection", "keep-alive");
    }),
    refused("request-post", REQUEST, "the method is GET", |ask| {
        ask.method = "POST";
        ask.add("Content-Length", "0");
    }),
    refused("request-http-1.0", REQUEST, "HTTP/1.1 is needed", |ask| ask.version = "HTTP/1.0"),
    refused("request-host-none", HOST, "Host is needed", |ask| ask.remove("Host")),
    refused("request-host-twice", HOST, "Host stands there once", |ask| {
        ask.add("Host", "other.example");
    }),
    refused("request-space-before-colon", "RFC 9112 §5.1", "no space before a colon", |ask| {
        ask.add("X-Moonwire-Audit ", "1");
    }),
];
