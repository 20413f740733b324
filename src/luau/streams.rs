//! The native that `CreateWebStreamClient` calls: opens a connection with its options, and
//! translates errors to Roblox's names.

use std::sync::Arc;
use std::time::Duration;

use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use super::host::{Host, PolicyArg};
use super::secret;
use crate::error::{Error, ErrorKind, Stage};
use crate::limits::Limits;
use crate::net::{Ask, Options, Proxy, StreamOptions};
use crate::policy::Policy;
use crate::proto::RequestError;
#[cfg(feature = "deflate")]
use crate::proto::http::CodingError;
use crate::proto::http::{Delivery, HttpError};
use crate::proto::sse::Events;

/// A text from a script, or the text of a `Secret`.
struct ScriptText {
    text: String,
    secret: bool,
}

/// Why no connection was started.
enum NotOpened {
    /// A mistake of the script, to be raised.
    Misuse(String),
    /// A failure that is reported as an event, like one of the network.
    Failure(Error),
}

impl From<Error> for NotOpened {
    fn from(e: Error) -> NotOpened {
        match e.kind() {
            ErrorKind::Request(RequestError::HeaderOwned(name)) => {
                NotOpened::Misuse(format!("Header \"{name}\" is not allowed!"))
            }
            ErrorKind::Request(e) => NotOpened::Misuse(e.to_string()),
            _ => NotOpened::Failure(e),
        }
    }
}

/// `open_stream(kind, url, method, headers, body, gzip, timeout, max_message, ping_interval, proxy,
/// rules)`: the id of the connection; or nil and the error to raise; or nil, nil, the name of the
/// error and its reason.
pub(super) fn natives(lua: &Lua, host: &Arc<Host>, table: &Table) -> mlua::Result<()> {
    type Numbers = (Option<f64>, Option<f64>, Option<f64>, Option<LuaString>, PolicyArg);
    type Args = (LuaString, Value, LuaString, Table, Option<LuaString>, bool, Numbers);
    let its = Arc::clone(host);
    let open = move |_: &Lua, (kind, url, method, headers, body, gzip, numbers): Args| {
        let (timeout, max_message, ping_interval, proxy, rules) = numbers;
        let rules = rules.map_or_else(Policy::open, |rules| rules.0.clone());
        let (kind, url) = (&kind, &url);
        let wanted = RequestOptions {
            kind,
            url,
            method,
            headers,
            body,
            gzip,
            timeout,
            max_message,
            ping_interval,
        };
        let opened =
            its.script_proxy(proxy.as_ref()).map_err(NotOpened::Misuse).and_then(|proxy| {
                let ask = through(wanted.ask(&its)?, proxy);
                Ok(its.open(under(ask, rules))?)
            });
        Ok(match opened {
            Ok(id) => (Some(id.to_bits()), None, None, None),
            Err(NotOpened::Misuse(text)) => (None, Some(text), None, None),
            Err(NotOpened::Failure(e)) => (None, None, Some(name(&e)), Some(e.kind().to_string())),
        })
    };
    table.set("open_stream", lua.create_function(open)?)?;
    table.set("read_event", lua.create_function(read_event)?)
}

/// `read_event(block, last)`: parses a block of an event stream; `last` is the last event ID before
/// it. Returns the ID after it; and, if the block has an event, its name, data and milliseconds.
fn read_event(lua: &Lua, (block, last): (LuaString, LuaString)) -> mlua::Result<MultiValue> {
    // The block was checked against the limits before.
    let mut events =
        Events::new(&Limits { sse_line: usize::MAX, sse_block: usize::MAX, ..Limits::default() });
    events.set_last_event_id(&last.to_string_lossy());
    // Only a byte order mark at the start of the stream counts, and it was removed there.
    let taken = events.receive(b"\n").and_then(|_| events.receive(&block.as_bytes()));
    let event = taken.map_or(None, |(_, event)| event);
    let id = lua.create_string(events.last_event_id())?;
    let Some(event) = event else { return id.into_lua_multi(lua) };
    let retry = event.retry.map(|time| time.as_millis() as f64);
    (id, event.event, event.data, retry).into_lua_multi(lua)
}

/// Adds the proxy that the script has chosen, if any.
fn through(ask: Ask, proxy: Option<Proxy>) -> Ask {
    match (ask, proxy) {
        (ask, None) => ask,
        (Ask::WebSocket(options), Some(proxy)) => options.proxy(proxy).into(),
        (Ask::Stream(options), Some(proxy)) => options.proxy(proxy).into(),
    }
}

/// Adds the policy of the script.
fn under(ask: Ask, rules: Policy) -> Ask {
    match ask {
        Ask::WebSocket(options) => options.policy(rules).into(),
        Ask::Stream(options) => options.policy(rules).into(),
    }
}

/// The options of a stream or call; the prelude has checked their types.
struct RequestOptions<'a> {
    kind: &'a LuaString,
    url: &'a Value,
    method: LuaString,
    headers: Table,
    body: Option<LuaString>,
    /// Whether to compress the body.
    gzip: bool,
    timeout: Option<f64>,
    max_message: Option<f64>,
    ping_interval: Option<f64>,
}

impl RequestOptions<'_> {
    fn ask(self, host: &Host) -> Result<Ask, NotOpened> {
        let url = script_text(self.url)?;
        check_scheme(&self.kind.as_bytes(), &url, host.unix_sockets)?;
        match &*self.kind.as_bytes() {
            b"websocket" => self.websocket(host, &url),
            b"events" => self.stream(host, &url, Delivery::Blocks),
            b"call" => self.call(host, &url),
            _ => self.stream(host, &url, Delivery::Raw),
        }
    }

    fn websocket(self, host: &Host, url: &ScriptText) -> Result<Ask, NotOpened> {
        let ping = match self.ping_interval {
            Some(seconds) => time(seconds).filter(|interval| !interval.is_zero()),
            None => host.ping_interval,
        };
        let options = Options::new(&url.text)?.ping_interval(ping).hold_close(true);
        let mut options = host.compress.apply(options);
        if let Some(most) = self.max_message {
            options = options.limits(Limits { message: most as usize, ..host.limits.clone() });
        }
        if url.secret {
            options = options.secret_url();
        }
        let mut offered: Option<String> = None;
        for (name, value) in self.header_pairs()? {
            if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                if let Some(first) = offered.replace(name.clone()) {
                    return Err(NotOpened::Misuse(
                        RequestError::HeaderTwice { name, first }.to_string(),
                    ));
                }
                let offer = if value.secret { Options::secret_protocol } else { Options::protocol };
                for protocol in value.text.split(',') {
                    options = offer(options, protocol.trim_matches([' ', '\t']))?;
                }
                continue;
            }
            let add = if value.secret { Options::secret_header } else { Options::header };
            options = add(options, &name, &value.text)?;
        }
        if let Some(limit) = self.timeout {
            // A time that no clock can represent counts as infinite.
            options = options.timeout(time(limit).unwrap_or(Duration::MAX));
        }
        Ok(options.into())
    }

    /// A request whose whole response is read before the script gets it.
    fn call(self, host: &Host, url: &ScriptText) -> Result<Ask, NotOpened> {
        let method = self.method.to_string_lossy();
        let options = StreamOptions::new(&method, &url.text)?
            .idle(Some(host.limits.response))
            .keep_alive(host.keep_alive);
        // As in Roblox, calls always accept compressed responses.
        self.with(host, url, decoding(options, true))
    }

    fn stream(self, host: &Host, url: &ScriptText, delivery: Delivery) -> Result<Ask, NotOpened> {
        let method = self.method.to_string_lossy();
        let options = StreamOptions::new(&method, &url.text)?.delivery(delivery);
        self.with(host, url, decoding(options, host.decode))
    }

    /// Adds the options that streams and calls share.
    fn with(
        self,
        host: &Host,
        url: &ScriptText,
        mut options: StreamOptions,
    ) -> Result<Ask, NotOpened> {
        if let Some(most) = self.max_message {
            // A line is a part of an event, so both limits are set.
            let (sse_line, sse_block) = (most as usize, most as usize);
            options = options.limits(Limits { sse_line, sse_block, ..host.limits.clone() });
        }
        if url.secret {
            options = options.secret_url();
        }
        for (name, value) in self.header_pairs()? {
            let add =
                if value.secret { StreamOptions::secret_header } else { StreamOptions::header };
            options = add(options, &name, &value.text)?;
        }
        if let Some(body) = &self.body {
            options = with_body(options, &body.as_bytes(), self.gzip)?;
        }
        if let Some(limit) = self.timeout {
            // A time that no clock can represent counts as infinite.
            options = options.timeout(time(limit).unwrap_or(Duration::MAX));
        }
        Ok(options.into())
    }

    /// Names and values, sorted, so that a request does not depend on the order in which a table
    /// gives its entries.
    fn header_pairs(&self) -> Result<Vec<(String, ScriptText)>, NotOpened> {
        let wrong = |e: mlua::Error| NotOpened::Misuse(e.to_string());
        let flat: Vec<Value> =
            self.headers.sequence_values().collect::<mlua::Result<_>>().map_err(wrong)?;
        let mut pairs = Vec::new();
        for pair in flat.chunks_exact(2) {
            pairs.push((script_text(&pair[0])?.text, script_text(&pair[1])?));
        }
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(pairs)
    }
}

/// Sets the body, compressed if the script asks for that and this build can do it.
fn with_body(options: StreamOptions, body: &[u8], gzip: bool) -> Result<StreamOptions, Error> {
    #[cfg(feature = "deflate")]
    if gzip {
        return options.body_gzip(body);
    }
    #[cfg(not(feature = "deflate"))]
    let _ = gzip;
    options.body(body)
}

/// Sets whether compressed responses are accepted, if this build can decode them.
fn decoding(options: StreamOptions, yes: bool) -> StreamOptions {
    #[cfg(feature = "deflate")]
    return options.decode(yes);
    #[cfg(not(feature = "deflate"))]
    {
        let _ = yes;
        options
    }
}

/// A number of seconds from a script; `None` if no clock can represent it.
fn time(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn script_text(value: &Value) -> Result<ScriptText, NotOpened> {
    let not_utf8 = || NotOpened::Misuse("text that is not UTF-8 cannot be sent".into());
    match value {
        Value::String(text) => {
            let text = text.to_str().map_err(|_| not_utf8())?.to_owned();
            Ok(ScriptText { text, secret: false })
        }
        Value::UserData(data) => match secret::reveal(data) {
            Some(text) => Ok(ScriptText { text, secret: true }),
            None => Err(NotOpened::Misuse("a string or a Secret is expected".into())),
        },
        // The prelude passes only these types.
        _ => Err(NotOpened::Misuse("a string or a Secret is expected".into())),
    }
}

/// A wrong scheme is a mistake of the script; other errors of a URL become an event.
fn check_scheme(kind: &[u8], url: &ScriptText, unix_sockets: bool) -> Result<(), NotOpened> {
    let (schemes, what) = match kind {
        b"websocket" => (["ws", "wss"], "a WebSocket"),
        b"call" => (["http", "https"], "a request"),
        _ => (["http", "https"], "a stream"),
    };
    let scheme = url.text.split_once("://").map_or("", |(scheme, _)| scheme);
    let socket = url.text.split_once("+unix:").filter(|_| unix_sockets);
    let socket = socket.map_or("", |(scheme, _)| scheme);
    if schemes.iter().any(|s| [scheme, socket].iter().any(|its| its.eq_ignore_ascii_case(s))) {
        return Ok(());
    }
    let [plain, secure] = schemes;
    let text = format!("option Url: {what} has to start with {plain}:// or {secure}://");
    Err(NotOpened::Misuse(text))
}

/// Roblox's name (`Enum.HttpError`) of an error; `ContentType` if an event stream was asked for and
/// the response has another status or type.
pub(super) fn name(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Url(_) => "InvalidUrl",
        ErrorKind::Resolve(_) => "DnsResolve",
        ErrorKind::Connect(_) | ErrorKind::Denied(_) => "ConnectFail",
        ErrorKind::Io(_) if error.stage() == Stage::Connect => "ConnectFail",
        ErrorKind::Certificate(..) => "SslVerificationFail",
        ErrorKind::Tls(..) if error.stage() == Stage::Tls => "SslConnectFail",
        ErrorKind::NoTls => "SslConnectFail",
        ErrorKind::Proxy { .. } => "ConnectFail",
        ErrorKind::Timeout(_)
        | ErrorKind::Idle(_)
        | ErrorKind::Stalled(_)
        | ErrorKind::WriteTimeout(_)
        | ErrorKind::Waited { .. } => "TimedOut",
        ErrorKind::Released => "Aborted",
        ErrorKind::Http(e) => http_name(e),
        ErrorKind::Io(_)
        | ErrorKind::Eof
        | ErrorKind::Unsent
        | ErrorKind::Tls(..)
        | ErrorKind::Silence(_)
        | ErrorKind::NoCloseAnswer(_)
        | ErrorKind::Violation(_)
        | ErrorKind::Handshake(_) => "NetFail",
        _ => "Unknown",
    }
}

fn http_name(error: &HttpError) -> &'static str {
    match error {
        HttpError::ContentType(_) | HttpError::Status(_) => "ContentType",
        HttpError::ManyRedirects(_) => "TooManyRedirects",
        HttpError::Location(_) | HttpError::Locations | HttpError::Downgrade => "InvalidRedirect",
        HttpError::Timeout | HttpError::Idle | HttpError::Stalled => "TimedOut",
        // The response is valid, but this build cannot read it.
        HttpError::ContentEncoding(_) | HttpError::TransferEncoding(_) => "Unknown",
        #[cfg(feature = "deflate")]
        HttpError::Coding(CodingError::Unknown(_)) => "Unknown",
        _ => "NetFail",
    }
}
