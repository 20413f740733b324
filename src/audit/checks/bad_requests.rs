//! Requests that are no handshake (RFC 6455 §4.2.1): a server must not take them for one.

use crate::audit::ask::RawRequest;
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
    change: fn(&mut RawRequest),
) -> Check {
    Check::hostile(name, section, proves, Play::Ask(change, |answer, _| judge::refused(answer)))
}

pub(super) const CHECKS: &[Check] = &[
    Check::hostile(
        "request-version-8",
        VERSION,
        "an earlier version is refused, and the answer names 13",
        Play::Ask(
            |ask| ask.set("Sec-WebSocket-Version", "8"),
            |answer, _| judge::draft_version(answer),
        ),
    ),
    Check::hostile(
        "request-version-14",
        VERSION,
        "a later version is refused, and the answer names 13",
        Play::Ask(
            |ask| ask.set("Sec-WebSocket-Version", "14"),
            |answer, _| judge::other_version(answer),
        ),
    ),
    refused("request-version-none", REQUEST, "a request without a version is refused", |ask| {
        ask.remove("Sec-WebSocket-Version");
    }),
    refused(
        "request-version-twice",
        "RFC 6455 §11.3.5",
        "a request with two versions is refused",
        |ask| {
            ask.add("Sec-WebSocket-Version", "13");
        },
    ),
    refused("request-key-none", REQUEST, "a request without a key is refused", |ask| {
        ask.remove("Sec-WebSocket-Key")
    }),
    refused("request-key-empty", REQUEST, "a request with an empty key is refused", |ask| {
        ask.set("Sec-WebSocket-Key", "");
    }),
    refused("request-key-short", REQUEST, "a request with a key of 15 bytes is refused", |ask| {
        ask.set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA");
    }),
    refused("request-key-long", REQUEST, "a request with a key of 17 bytes is refused", |ask| {
        ask.set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA=");
    }),
    refused(
        "request-key-no-base64",
        REQUEST,
        "a request with a key that is not base64 is refused",
        |ask| {
            ask.set("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==");
        },
    ),
    refused("request-key-twice", KEY, "a request with two keys is refused", |ask| {
        ask.add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    }),
    refused(
        "request-upgrade-none",
        REQUEST,
        "a request without Upgrade opens no WebSocket",
        |ask| ask.remove("Upgrade"),
    ),
    refused(
        "request-upgrade-other",
        REQUEST,
        "a request for another upgrade opens no WebSocket",
        |ask| {
            ask.set("Upgrade", "moonwire");
        },
    ),
    refused("request-connection-none", REQUEST, "a request without Connection is refused", |ask| {
        ask.remove("Connection");
    }),
    refused(
        "request-connection-other",
        REQUEST,
        "a request whose Connection does not list Upgrade is refused",
        |ask| {
            ask.set("Connection", "keep-alive");
        },
    ),
    refused("request-post", REQUEST, "a request with another method than GET is refused", |ask| {
        ask.method = "POST";
        ask.add("Content-Length", "0");
    }),
    refused("request-http-1.0", REQUEST, "a request in HTTP/1.0 is refused", |ask| {
        ask.version = "HTTP/1.0"
    }),
    refused("request-host-none", HOST, "a request without Host is refused", |ask| {
        ask.remove("Host")
    }),
    refused("request-host-twice", HOST, "a request with two Hosts is refused", |ask| {
        ask.add("Host", "other.example");
    }),
    refused(
        "request-space-before-colon",
        "RFC 9112 §5.1",
        "a request with a space before a colon is refused",
        |ask| {
            ask.add("X-Moonwire-Audit ", "1");
        },
    ),
];
