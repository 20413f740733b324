//! How a connection starts: the words behind `open`, `handshake` and `stream`, and the request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sim::Sim;
use super::text::{shown_time, time};
use crate::limits::Limits;
use crate::proto::http::{self, Delivery, Timing};
#[cfg(feature = "deflate")]
use crate::proto::{Compression, Opened};
use crate::proto::{Request, Session, Settings, Url};

/// The nonce of RFC 6455 §1.3, whose accept value is known.
const NONCE: [u8; 16] = *b"the sample nonce";

/// Replaces a host that is not shown.
const NOWHERE: &str = "secret.invalid";

/// The value of a field of [`Limits`], as text.
trait LimitValue: Sized {
    fn read(text: &str) -> Result<Self, String>;
    fn write(&self) -> String;
}

impl LimitValue for usize {
    fn read(text: &str) -> Result<usize, String> {
        if text == "max" {
            return Ok(usize::MAX);
        }
        text.parse().map_err(|_| format!("{text} is not a number"))
    }

    fn write(&self) -> String {
        if *self == usize::MAX { "max".to_owned() } else { self.to_string() }
    }
}

impl LimitValue for u32 {
    fn read(text: &str) -> Result<u32, String> {
        usize::read(text).map(|n| n.try_into().unwrap_or(u32::MAX))
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl LimitValue for Duration {
    fn read(text: &str) -> Result<Duration, String> {
        time(text)
    }

    fn write(&self) -> String {
        shown_time(*self)
    }
}

/// The fields of [`Limits`] that a session uses.
macro_rules! limits {
    ($($name:ident)*) => {
        /// Sets the limit of that name, if there is one.
        fn set(limits: &mut Limits, name: &str, value: &str) -> Option<Result<(), String>> {
            match name {
                $(stringify!($name) => Some(LimitValue::read(value).map(|v| limits.$name = v)),)*
                _ => None,
            }
        }

        /// The words for all limits that are not the default.
        fn changed(limits: &Limits) -> String {
            let usual = Limits::default();
            let mut words = String::new();
            $(if limits.$name != usual.$name {
                words += concat!(" ", stringify!($name), "=");
                words += &limits.$name.write();
            })*
            words
        }
    };
}

limits! {
    message fragments head fields line interim redirects body_queue refusal refusal_time chunk_line
    chunk_overhead decoded_piece decoded_ratio decoded_free sse_line sse_block sse_retry
    sse_retry_floor sse_retry_ceiling send_queue pong_queue in_place stall close pong deflate_rest
    deflate_idle ping_floor
}

/// The kind of a connection's start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Open,
    Handshake,
    Stream,
}

/// The options behind `open`, `handshake` and `stream`.
#[derive(Clone, Debug)]
pub(super) struct Start {
    kind: Kind,
    settings: Settings,
    /// The start of a recording: it has its own lines for written bytes and for time.
    pub(super) is_tape: bool,
    is_secure: bool,
    protocol: Option<String>,
    nonce: [u8; 16],
    deadline: Option<Duration>,
    follow: u32,
    hops: u32,
    delivery: Delivery,
    timing: [Option<Duration>; 3],
    #[cfg(feature = "deflate")]
    decode: bool,
    #[cfg(feature = "deflate")]
    deflate: Option<Compression>,
}

/// Messages of any size are compressed.
#[cfg(feature = "deflate")]
fn wanted() -> Compression {
    Compression { threshold: 0, ..Compression::default() }
}

#[cfg(feature = "deflate")]
impl Start {
    /// Sets an option of compression; returns whether `key` is one.
    fn deflate(&mut self, key: &str, value: &str) -> Result<bool, String> {
        if key == "decode" {
            self.decode = true;
            return Ok(true);
        }
        let keys = ["server_alone", "client_alone", "client_window", "server_window", "threshold"];
        if !["deflate", "level"].contains(&key) && !keys.contains(&key) {
            return Ok(false);
        }
        let number = || usize::read(value);
        let wanted = self.deflate.get_or_insert_with(wanted);
        match key {
            "server_alone" => wanted.server_takeover = false,
            "client_alone" => wanted.client_takeover = false,
            "client_window" => wanted.client_window = number()? as u8,
            "server_window" => wanted.server_window = number()? as u8,
            "threshold" => wanted.threshold = number()?,
            "level" => wanted.level = number()? as u8,
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(not(feature = "deflate"))]
impl Start {
    fn deflate(&mut self, _: &str, _: &str) -> Result<bool, String> {
        Ok(false)
    }
}

impl Start {
    fn new(kind: Kind) -> Start {
        Start {
            kind,
            settings: Settings::default(),
            is_tape: false,
            is_secure: false,
            protocol: None,
            nonce: NONCE,
            deadline: None,
            follow: 0,
            hops: 0,
            delivery: Delivery::Raw,
            timing: [None; 3],
            #[cfg(feature = "deflate")]
            decode: false,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    /// Parses the words behind `open`, `handshake` or `stream`. With `in_place`, all unfinished
    /// frames are read into the session's own buffer.
    pub(super) fn read(kind: Kind, words: &str, in_place: bool) -> Result<Start, String> {
        let (mut start, mut limits) = (Start::new(kind), Limits::default());
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if let Some(set) = set(&mut limits, key, value) {
                set.map_err(|e| format!("{word}: {e}"))?;
                continue;
            }
            match key {
                "hold" => start.settings.hold_close = true,
                "trace" => start.settings.trace = true,
                "ping" => start.settings.ping_interval = Some(time(value)?),
                "protocol" => start.protocol = Some(value.to_owned()),
                "deadline" => start.deadline = Some(time(value)?),
                "tape" => start.is_tape = true,
                "tls" => start.is_secure = true,
                "follow" => start.follow = u32::read(value)?,
                "hops" => start.hops = u32::read(value)?,
                "nonce" => {
                    let nonce = super::text::bytes(value)?;
                    start.nonce =
                        nonce.try_into().map_err(|_| format!("{word} has not 16 bytes"))?;
                }
                "deliver" => {
                    start.delivery = match value {
                        "raw" => Delivery::Raw,
                        "events" => Delivery::Events,
                        "blocks" => Delivery::Blocks,
                        "bytes" => Delivery::EventBytes,
                        _ => return Err(format!("{word}?")),
                    }
                }
                "total" => start.timing[0] = Some(time(value)?),
                "response" => start.timing[1] = Some(time(value)?),
                "idle" => start.timing[2] = Some(time(value)?),
                _ if start.deflate(key, value)? => {}
                _ => return Err(format!("{word}?")),
            }
        }
        if in_place {
            limits.in_place = 0;
        }
        start.settings.limits = Arc::new(limits);
        Ok(start)
    }

    /// The connection, with a sample request.
    pub(super) fn sim(&self) -> Result<Sim, String> {
        let now = Instant::now();
        match self.kind {
            #[cfg(feature = "deflate")]
            Kind::Open if self.deflate.is_some() => {
                let (settings, wanted) = (self.settings.clone(), self.deflate.unwrap_or_default());
                Ok(Sim::of(Session::opened_compressed(settings, now, wanted), now))
            }
            Kind::Open => Ok(Sim::of(Session::opened(self.settings.clone(), now), now)),
            Kind::Handshake => {
                self.asked(b"GET /chat HTTP/1.1\r\nHost: server.example\r\n\r\n", now)
            }
            Kind::Stream => self.asked(b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n", now),
        }
    }

    /// The connection with the request in these bytes.
    pub(super) fn asked(&self, request: &[u8], now: Instant) -> Result<Sim, String> {
        let head = ParsedRequest::read(request)?;
        let after = |time: Duration| now.checked_add(time);
        let session = match self.kind {
            Kind::Open => return Err("a connection that starts open has no request".to_owned()),
            Kind::Handshake => {
                let request = self.request(&head)?;
                let deadline = self.deadline.and_then(after);
                Session::new(&request, self.settings.clone(), self.nonce, deadline)
            }
            Kind::Stream => {
                let [total, response, idle] = self.timing;
                let timing = Timing { head_by: total.and_then(after), response, idle };
                let request = self.exchange(&head)?;
                Session::stream(request, self.delivery, &self.settings, timing)
            }
        };
        Ok(Sim::of(session, now))
    }

    fn request(&self, head: &ParsedRequest) -> Result<Request, String> {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        let mut request = Request::new(head.url(scheme, Url::parse)?);
        let no = |e: crate::proto::RequestError| e.to_string();
        if let Some(protocol) = &self.protocol {
            request.protocol(protocol).map_err(no)?;
        }
        request.follow_redirects(self.follow);
        request.set_hops(self.hops);
        #[cfg(feature = "deflate")]
        if let Some(wanted) = self.deflate {
            request.compression(wanted);
        }
        for (name, value) in &head.fields {
            match name.to_ascii_lowercase().as_str() {
                "host" | "upgrade" | "connection" => {}
                "sec-websocket-protocol" => {
                    for name in value.split(", ") {
                        // Two hidden subprotocols look the same.
                        let _ = request.protocol(name);
                    }
                }
                own if own.starts_with("sec-websocket-") => {}
                _ => _ = request.header(name, value).map_err(no)?,
            }
        }
        Ok(request)
    }

    fn exchange(&self, head: &ParsedRequest) -> Result<http::Request, String> {
        let no = |e: crate::proto::RequestError| e.to_string();
        let scheme = if self.is_secure { "https" } else { "http" };
        let mut request =
            http::Request::new(&head.method, head.url(scheme, Url::parse_http)?).map_err(no)?;
        request.hops = self.hops;
        #[cfg(feature = "deflate")]
        request.decode(self.decode);
        let (mut length, mut chunked) = (None, false);
        for (name, value) in &head.fields {
            let own = match name.to_ascii_lowercase().as_str() {
                // Fields for a proxy are not sent again.
                "host" | "accept-encoding" | "proxy-authorization" => true,
                "connection" => {
                    request.keep_alive = value.eq_ignore_ascii_case("keep-alive");
                    true
                }
                "content-length" => {
                    length = value.parse::<u64>().ok();
                    true
                }
                "transfer-encoding" => {
                    chunked = true;
                    true
                }
                "accept" => ["*/*", "text/event-stream"].contains(&value.as_str()),
                "cache-control" => self.delivery.is_event_stream() && value == "no-cache",
                _ => false,
            };
            if !own {
                request.header(name, value).map_err(no)?;
            }
        }
        match length {
            Some(length) if !head.body.is_empty() && head.body.len() as u64 == length => {
                request.body(head.body.clone()).map_err(no)?;
            }
            Some(length) if length > 0 => _ = request.body_to_come(Some(length)).map_err(no)?,
            None if chunked => _ = request.body_to_come(None).map_err(no)?,
            _ => {}
        }
        Ok(request)
    }
}

/// A request that was parsed from a tape.
struct ParsedRequest {
    method: String,
    target: String,
    host: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl ParsedRequest {
    fn read(bytes: &[u8]) -> Result<ParsedRequest, String> {
        let end =
            bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or("the request has no end")?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the request is not UTF-8")?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err("the request has no first line".to_owned());
        };
        let field = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned()));
        let fields: Vec<_> = lines.filter_map(field).collect();
        let host = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        Ok(ParsedRequest {
            method: method.to_owned(),
            target: target.to_owned(),
            host: host.map_or_else(String::new, |(_, host)| host.clone()),
            fields,
            body: bytes[end + 4..].to_vec(),
        })
    }

    /// Its URL. A hidden host becomes [`NOWHERE`].
    fn url(
        &self,
        scheme: &str,
        parse: fn(&str) -> Result<Url, crate::proto::UrlError>,
    ) -> Result<Url, String> {
        let whole = if self.target.contains("://") {
            self.target.clone()
        } else {
            format!("{scheme}://{}{}", self.host, self.target)
        };
        parse(&whole)
            .or_else(|_| parse(&format!("{scheme}://{NOWHERE}/")))
            .map_err(|e| format!("{whole}: {e}"))
    }
}

// Writing.

/// The words for the settings of a session.
pub(super) fn settings(settings: &Settings) -> String {
    let mut words = String::new();
    if settings.hold_close {
        words += " hold";
    }
    if let Some(interval) = settings.ping_interval {
        words += &format!(" ping={}", shown_time(interval));
    }
    words + &changed(&settings.limits)
}

/// The words for an offer to compress.
#[cfg(feature = "deflate")]
pub(super) fn offer(wanted: &Compression) -> String {
    let mut words = format!(" deflate threshold={}", wanted.threshold);
    let usual = Compression::default();
    for (is, name) in
        [(wanted.server_takeover, "server_alone"), (wanted.client_takeover, "client_alone")]
    {
        if !is {
            words += &format!(" {name}");
        }
    }
    for (is, usual, name) in [
        (wanted.client_window, usual.client_window, "client_window"),
        (wanted.server_window, usual.server_window, "server_window"),
        (wanted.level, usual.level, "level"),
    ] {
        if is != usual {
            words += &format!(" {name}={is}");
        }
    }
    words
}

/// Whether messages are compressed.
#[cfg(feature = "deflate")]
pub(super) fn is_compressed(opened: &Opened) -> bool {
    opened.compression.is_some()
}

#[cfg(not(feature = "deflate"))]
pub(super) fn is_compressed(_: &crate::proto::Opened) -> bool {
    false
}

pub(super) fn delivery(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Raw => "raw",
        Delivery::Events => "events",
        Delivery::Blocks => "blocks",
        Delivery::EventBytes => "bytes",
    }
}
