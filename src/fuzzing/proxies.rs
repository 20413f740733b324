//! Proxies: requests to them, their names, and a connection through one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow::{Break, Continue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::heads::request_head;
use super::input::{Cut, Input, Rng, feed, hash};
use crate::error::{ErrorKind, ProxyError, Stage};
use crate::limits::Limits;
use crate::net::sys::{Interest, Poller, Ready, ResolverAnswer, Sys};
use crate::net::wire::proxy::{Target, Tunnel};
use crate::net::{Closed, Config, Conn, Event, Options, Proxy, ProxyRules, ProxyScheme, Reactor};
use crate::proto::ws::handshake::accept;
use crate::proto::{Host, Url, escape};

/// This byte in the bytes of an HTTP proxy is replaced by the password or the secret host.
const HERE: u8 = 0xFE;
const USER: &str = "us3r";
const PASSWORD: &str = "s3cr3t";
const HIDDEN: &str = "hidden.example";

/// The proxy, and the URL.
struct Start {
    scheme: ProxyScheme,
    known: bool,
    secret: bool,
    address: bool,
    limits: Arc<Limits>,
}

impl Start {
    fn read(input: &mut Input) -> Start {
        let choice = input.byte();
        let of = |shift: u8| choice >> shift & 1 != 0;
        let schemes =
            [ProxyScheme::Http, ProxyScheme::Https, ProxyScheme::Socks5, ProxyScheme::Socks5h];
        let limits = Limits {
            interim: u32::from(choice >> 6),
            line: if of(5) { 60 } else { 400 },
            chunk_line: 50,
            head: 1000,
            fields: 20,
            refusal: if of(5) { 5 } else { 300 },
            ..Default::default()
        };
        Start {
            scheme: schemes[usize::from(choice & 3)],
            known: of(2),
            secret: of(3),
            address: of(4),
            limits: Arc::new(limits),
        }
    }

    fn is_socks(&self) -> bool {
        matches!(self.scheme, ProxyScheme::Socks5 | ProxyScheme::Socks5h)
    }

    fn authority(&self) -> String {
        if self.address { "[fd00::1]:81".to_owned() } else { format!("{HIDDEN}:81") }
    }

    fn url(&self) -> Url {
        let url = Url::parse(&format!("ws://{}/", self.authority())).expect("a URL");
        if self.secret { url.into_secret() } else { url }
    }

    fn proxy(&self) -> Proxy {
        let user = if self.known { format!("{USER}:{PASSWORD}@") } else { String::new() };
        let text = format!("{}://{user}proxy.example", self.scheme.as_str());
        Proxy::parse(&text).expect("a proxy")
    }

    fn basic(&self) -> String {
        STANDARD.encode(format!("{USER}:{PASSWORD}"))
    }

    /// Fails if `shown` has a secret.
    fn check_hidden(&self, shown: &str) {
        let known = [PASSWORD.to_owned(), self.basic()];
        assert!(!self.known || known.iter().all(|part| !shown.contains(part)), "{shown}");
        let host = if self.address { "fd00::1" } else { HIDDEN };
        assert!(!self.secret || !shown.contains(host), "{shown}");
    }
}

/// The result of a conversation with a proxy.
#[derive(Debug, PartialEq)]
struct Outcome {
    used: usize,
    /// The error, without the parts that depend on the cut.
    end: Option<String>,
    body: Option<Vec<u8>>,
    done: bool,
    wire: Vec<u8>,
    deadline: Option<Instant>,
}

/// [`Tunnel`]: a byte of choices, then the proxy's bytes. For any cut and any pace of writing the
/// result is the same; it holds few bytes; the tunnel is open only if a second parser of RFC 9110
/// §9.3.6, RFC 1928 and RFC 1929 agrees, and for SOCKS both agree on everything; the requests are
/// well-formed; no error and no trace has the user name, the password or a secret host.
pub fn proxy(data: &[u8]) {
    let mut input = Input(data);
    let start = Start::read(&mut input);
    let repeated = if start.known { PASSWORD } else { HIDDEN };
    let sent: Vec<u8> = match start.is_socks() {
        true => input.0.to_vec(),
        false => input.0.iter().fold(Vec::new(), |mut all, &b| {
            match b {
                HERE => all.extend_from_slice(repeated.as_bytes()),
                b => all.push(b),
            }
            all
        }),
    };
    let now = Instant::now();
    let whole = converse(&start, &sent, Cut::Whole, now);
    for cut in [Cut::Bytewise, Cut::Random] {
        assert_eq!(converse(&start, &sent, cut, now), whole, "{cut:?}");
    }
    match start.is_socks() {
        true => socks(&start, &sent, &whole),
        false => connect(&start, &sent, &whole),
    }
}

fn converse(start: &Start, sent: &[u8], cut: Cut, now: Instant) -> Outcome {
    let url = start.url();
    let limits = Arc::clone(&start.limits);
    let mut tunnel = Tunnel::new(start.proxy(), Target::of(&url), url, limits);
    if let Some(shown) = tunnel.shown() {
        start.check_hidden(&String::from_utf8_lossy(&shown));
    }
    let (mut wire, mut rng) = (Vec::new(), Rng::new(hash(sent)));
    let mut write = |tunnel: &mut Tunnel, all: bool| {
        let out = tunnel.outgoing();
        assert!(out.len() <= 2000, "{} bytes are to be written", out.len());
        let n = match cut {
            Cut::Random if !all => rng.below(out.len() + 1),
            Cut::Bytewise if !all => out.len().min(1),
            _ => out.len(),
        };
        wire.extend_from_slice(&out[..n]);
        tunnel.sent(n);
    };
    let (used, error) = feed(sent, cut, |input| {
        write(&mut tunnel, false);
        match tunnel.receive(now, input) {
            Ok(used) => {
                let left = input.len().saturating_sub(used);
                // The kept bytes are of an incomplete line, or of a reply with a name.
                let most = if start.is_socks() {
                    262
                } else {
                    start.limits.line.max(start.limits.chunk_line) + 2
                };
                assert!(left <= most, "{left} bytes are kept");
                (used, Continue(()))
            }
            Err(e) => (0, Break(e)),
        }
    });
    write(&mut tunnel, true);
    // If the result is not known yet, the end of the connection decides it.
    let (done, deadline) = (tunnel.is_open() && error.is_none(), tunnel.deadline());
    let open = error.is_none() && !done;
    let error = error.or_else(|| open.then(|| tunnel.end()));
    let body = match &error {
        Some(ProxyError::Status { response, .. }) => Some(response.body.clone()),
        _ => None,
    };
    let end = error.map(|e| {
        let kind = ErrorKind::Proxy { proxy: start.proxy().to_string(), why: e };
        let (text, debug) = (kind.to_string(), format!("{kind:?}"));
        assert!(!text.chars().any(char::is_control), "{text:?}");
        start.check_hidden(&text);
        start.check_hidden(&debug);
        // How many bytes the error shows depends on how many came with the deciding one.
        let short = debug.contains("NotHttp");
        if short { "NotHttp".to_owned() } else { debug }
    });
    // How many bytes of an invalid input were taken does not matter.
    let used = if done { used } else { 0 };
    // The deadline is set only until the result is known.
    Outcome { used, end, body, done, wire, deadline: deadline.filter(|_| open) }
}

/// The simple rules of RFC 9110 §9.3.6 for the answer to `CONNECT`.
fn connect(start: &Start, sent: &[u8], got: &Outcome) {
    let authority = start.authority();
    let fields = request_head(&got.wire, "CONNECT", &authority, &authority);
    let own = ("proxy-authorization".to_owned(), format!("Basic {}", start.basic()));
    assert_eq!(fields.contains(&own), start.known);
    assert_eq!(fields.len(), 2 + usize::from(start.known), "{fields:?}");
    let (mut rest, mut interim, mut simple) = (sent, 0, true);
    let opens = loop {
        let Some(end) = rest.windows(4).position(|w| w == b"\r\n\r\n") else { break false };
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let fine = ["HTTP/1.0 ", "HTTP/1.1 "].iter().any(|start| first.starts_with(start));
        let status = first.get(9..12).and_then(|digits| digits.parse::<u16>().ok()).unwrap_or(0);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == ' ';
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_default();
            !name.is_empty() && format!("{name}{value}").chars().all(plain) && !name.contains(' ')
        };
        let rest_of_line = first.get(12..).unwrap_or("?");
        simple &= fine && rest_of_line.starts_with(' ') && rest_of_line.chars().all(plain);
        simple &= head.split("\r\n").skip(1).all(field) && head.len() < 60;
        match status {
            200..=299 => break fine && rest.is_empty(),
            100 | 102..=199 if interim < start.limits.interim => interim += 1,
            _ => break false,
        }
    };
    assert!(opens || !got.done, "opened by {}", sent.escape_ascii());
    assert!(!opens || !simple || got.done, "not opened by {}", sent.escape_ascii());
    assert!(got.body.as_ref().is_none_or(|body| body.len() <= start.limits.refusal));
    if got.done {
        assert_eq!(got.used, sent.len());
    }
}

/// All rules of RFC 1928 and RFC 1929 for a proxy's bytes.
fn socks(start: &Start, sent: &[u8], got: &Outcome) {
    let (mut wire, mut input) = (vec![5, 1, 0], Input(sent));
    if start.known {
        wire = vec![5, 2, 0, 2];
    }
    let end = replies(start, &mut input, &mut wire);
    let want = match end {
        Ok(()) if input.is_empty() => None,
        Ok(()) => Some("Early".to_owned()),
        Err(why) => Some(why),
    };
    assert_eq!(got.done, want.is_none(), "{got:?}, {want:?}");
    assert_eq!(got.wire, wire, "{got:?}");
    if let (Some(got), Some(want)) = (&got.end, want) {
        assert!(got.contains(&format!("why: {want}")), "{got}, and not {want}");
    }
}

fn replies(start: &Start, input: &mut Input, wire: &mut Vec<u8>) -> Result<(), String> {
    let eof = || "Eof".to_owned();
    let version = |input: &Input| match input.0.first() {
        None => Err(eof()),
        Some(5) => Ok(()),
        Some(other) => Err(format!("NotSocks({other})")),
    };
    version(input)?;
    match input.0.get(1) {
        None => return Err(eof()),
        Some(0) => drop(input.take(2)),
        Some(2) if start.known => {
            input.take(2);
            wire.extend([&[1, USER.len() as u8], USER.as_bytes()].concat());
            wire.extend([&[PASSWORD.len() as u8], PASSWORD.as_bytes()].concat());
            match input.0 {
                [] | [_] => return Err(eof()),
                [_, 0, ..] => drop(input.take(2)),
                _ => return Err("Login".to_owned()),
            }
        }
        Some(method) => return Err(format!("Method({method})")),
    }
    wire.extend([5, 1, 0]);
    match start.address {
        true => wire.extend([&[4, 0xFD][..], &[0; 14], &[1]].concat()),
        false => wire.extend([&[3, HIDDEN.len() as u8], HIDDEN.as_bytes()].concat()),
    }
    wire.extend([0, 81]);
    version(input)?;
    let size = match input.0 {
        [_, code, ..] if *code != 0 => return Err(format!("Socks({code})")),
        [_, 0, _, 1, ..] => 4 + 4 + 2,
        [_, 0, _, 4, ..] => 4 + 16 + 2,
        [_, 0, _, 3, len, ..] => 4 + 1 + usize::from(*len) + 2,
        [_, 0, _, kind, ..] if *kind != 3 => return Err(format!("AddressType({kind})")),
        _ => return Err(eof()),
    };
    if input.take(size).len() < size { Err(eof()) } else { Ok(()) }
}

// Names of proxies, and exceptions.

/// [`Proxy::parse`], [`ProxyRules::except`] and [`ProxyRules::proxy_for`]: a line with a proxy, a
/// line with exceptions, a URL. An accepted proxy means the same when it is written again; user
/// name and password are those of the line, and an error does not repeat them; a URL is excepted if
/// the simplest parser finds an entry for it.
pub fn proxy_rules(data: &[u8]) {
    let mut input = Input(data);
    let (named, list) = (input.line(), input.line());
    let [Ok(named), Ok(list), Ok(url)] = [named, list, input.0].map(str::from_utf8) else { return };
    names(named);
    let proxy = Proxy::parse("proxy.example").expect("a proxy");
    let rules = ProxyRules::all(proxy).except(list);
    let entries = list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    match &rules {
        Err(why) => {
            assert!(!entries.clone().all(is_plain), "{list:?}: {why}");
            assert!(!why.chars().any(char::is_control), "{why:?}");
        }
        Ok(rules) => {
            let Ok(url) = Url::parse(url).or_else(|_| Url::parse_http(url)) else { return };
            let excepted = url.is_socket() || entries.clone().any(|entry| excepts(entry, &url));
            let none = rules.proxy_for(&url).is_none();
            assert_eq!(none, excepted, "{list:?} for {:?}", url.as_str());
        }
    }
}

/// An unambiguous entry: a name, with a port or not.
fn is_plain(entry: &str) -> bool {
    let (name, port) = entry.split_once(':').unwrap_or((entry, "1"));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase())
            && label.bytes().any(|b| b > b'f')
    };
    let port = port.parse::<u16>().is_ok_and(|n| n > 0 && n.to_string() == port);
    name.len() < 250 && name.split('.').all(label) && port
}

fn names(text: &str) {
    let (hidden, shown) = text.rsplit_once('@').unwrap_or(("", text));
    let proxy = match Proxy::parse(text) {
        Ok(proxy) => proxy,
        Err(e) => {
            let shown_error = format!("{e} {e:?}");
            assert!(!shown_error.chars().any(char::is_control), "{shown_error:?}");
            let user = hidden.split_once("://").map_or(hidden, |(_, user)| user);
            // A part may also occur in the rest of the line, which is shown, or in its escapes.
            let shown = [shown, &escape(shown.as_bytes(), shown.len())].join(" ");
            for part in user.split(':').filter(|part| part.len() > 12 && !shown.contains(part)) {
                assert!(!shown_error.contains(part), "{shown_error:?} repeats {part:?}");
            }
            return;
        }
    };
    // The proxy written again, without its credentials.
    let again = Proxy::parse(&proxy.to_string()).expect("as it is shown");
    assert_eq!(again.to_string(), proxy.to_string());
    assert_eq!((again.host(), again.port()), (proxy.host(), proxy.port()), "{text:?}");
    assert!(!proxy.to_string().contains('@') && proxy.port() > 0, "{proxy}");
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = if scheme.eq_ignore_ascii_case("socks") { "socks5" } else { scheme };
    assert!(scheme.eq_ignore_ascii_case(proxy.scheme().as_str()), "{text:?}");
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let place = place.strip_suffix('/').unwrap_or(place);
    let digits = place.rsplit_once(':').filter(|(_, port)| !port.is_empty() && !port.contains(']'));
    let usual = match proxy.scheme() {
        ProxyScheme::Http => 80,
        ProxyScheme::Https => 443,
        _ => 1080,
    };
    let port = digits.map_or(Some(usual), |(_, port)| port.parse::<u16>().ok());
    assert_eq!(Some(proxy.port()), port, "{text:?}");
    // The request to the proxy, for a name that the proxy does not resolve.
    let url = Url::parse("ws://[::1]:1/").expect("a URL");
    let mut tunnel = Tunnel::new(proxy.clone(), Target::of(&url), url, Arc::default());
    let user = user.map(|text| {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        [user, password].map(decoded)
    });
    match (proxy.scheme(), &user) {
        (ProxyScheme::Http | ProxyScheme::Https, user) => {
            let text = String::from_utf8(tunnel.outgoing().to_vec()).expect("UTF-8");
            let field = text.lines().find_map(|l| l.strip_prefix("Proxy-Authorization: Basic "));
            let want = user
                .as_ref()
                .map(|[user, password]| STANDARD.encode([&user[..], b":", &password[..]].concat()));
            assert_eq!(field, want.as_deref(), "{text:?}");
        }
        (_, None) => assert_eq!(tunnel.outgoing(), [5, 1, 0]),
        (_, Some([user, password])) => {
            let greeting = tunnel.outgoing().len();
            tunnel.sent(greeting);
            assert_eq!(tunnel.receive(Instant::now(), &[5, 2]).ok(), Some(2));
            let lens = [user, password].map(|part| u8::try_from(part.len()).expect("255 at most"));
            let want = [&[1, lens[0]], &user[..], &[lens[1]], &password[..]].concat();
            assert_eq!(tunnel.outgoing(), want, "{text:?}");
        }
    }
}

/// The simplest decoder of valid percent-encoding.
fn decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut all = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        all.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        all.extend_from_slice(&part.as_bytes()[2..]);
    }
    all
}

/// Whether an accepted entry matches a URL.
fn excepts(entry: &str, url: &Url) -> bool {
    let (host, port) = match entry.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').expect("a closing bracket");
            (host, behind.strip_prefix(':'))
        }
        None if entry.matches(':').count() == 1 => {
            let (host, port) = entry.split_once(':').expect("a colon");
            (host, Some(port))
        }
        None => (entry, None),
    };
    if port.is_some_and(|port| port.parse() != Ok(url.port())) {
        return false;
    }
    let (address, bits) = host.split_once('/').map_or((host, None), |(a, b)| (a, Some(b)));
    match (address.parse::<IpAddr>(), url.host()) {
        _ if host == "*" => true,
        (Ok(net), Host::Address(ip)) => {
            let bits = bits.map_or(usize::MAX, |bits| bits.parse().expect("a number"));
            let (ip, net) = (bits_of(ip.to_canonical()), bits_of(net));
            ip.len() == net.len() && ip.iter().zip(&net).take(bits).all(|(a, b)| a == b)
        }
        (Err(_), Host::Name(name)) => {
            let entry = host.strip_prefix("*.").or(host.strip_prefix('.')).unwrap_or(host);
            let entry = entry.strip_suffix('.').unwrap_or(entry).to_ascii_lowercase();
            let (mut below, mut above) = (name.rsplit('.'), entry.rsplit('.'));
            above.all(|label| below.next() == Some(label))
        }
        _ => false,
    }
}

fn bits_of(ip: IpAddr) -> Vec<bool> {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.into_iter().flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 != 0)).collect()
}

// A connection through a proxy, with its reactor.

/// A whole reactor with one socket: a byte of choices, a byte with the number of the following
/// bytes that the proxy sends, and then the server's bytes. `0xFD` in them becomes the right value
/// of `Sec-WebSocket-Accept`. For any cut of reads and writes, the events and the sent bytes are
/// the same; behind the tunnel they are those of a direct connection; there is one final event, and
/// the socket is closed after it.
pub fn tunnelled(data: &[u8]) {
    let mut input = Input(data);
    let start = Start::read(&mut input);
    let len = usize::from(input.byte());
    let (proxys, servers) = (input.take(len), input.0);
    let start = match start.scheme {
        // TLS is left out here.
        ProxyScheme::Https => Start { scheme: ProxyScheme::Http, ..start },
        // The proxy would be sent the address that the name has here.
        ProxyScheme::Socks5 => Start { address: true, ..start },
        _ => start,
    };
    let outcome = converse(&start, proxys, Cut::Whole, Instant::now());
    let direct = play(&start, None, servers, true, Cut::Whole);
    for cut in Cut::ALL {
        let played = play(&start, Some(proxys), servers, outcome.done, cut);
        if outcome.done {
            let behind = played.wire.strip_prefix(&outcome.wire[..]);
            let behind = behind.expect("first what a proxy is events");
            assert_eq!(
                (&played.events, head(behind)),
                (&direct.events, head(&direct.wire)),
                "{cut:?}"
            );
        } else {
            assert_eq!(played.events, ["Closed Proxy"], "{outcome:?}");
            assert!(outcome.wire.starts_with(&played.wire), "{cut:?}: {:?}", played.wire);
        }
    }
}

/// The request. How many bytes of a pong are sent before the end depends on the cut.
fn head(wire: &[u8]) -> &[u8] {
    let end = wire.windows(4).position(|w| w == b"\r\n\r\n").expect("a request");
    &wire[..end + 4]
}

/// The events for the program, and the sent bytes.
#[derive(Debug, PartialEq)]
struct Played {
    events: Vec<String>,
    wire: Vec<u8>,
}

fn play(start: &Start, proxys: Option<&[u8]>, servers: &[u8], opens: bool, cut: Cut) -> Played {
    let line = Arc::new(Mutex::new(Line {
        now: Instant::now(),
        proxys: proxys.unwrap_or_default().to_vec(),
        servers: servers.to_vec(),
        opens,
        cut,
        rng: Rng::new(hash(servers)),
        wire: Vec::new(),
        sockets: 0,
        watched: None,
        answer: None,
        refuses: false,
        answered: false,
    }));
    let limits = Limits { linger: Duration::ZERO, ..(*start.limits).clone() };
    let proxy = proxys.map(|_| start.proxy());
    let config = Config {
        limits,
        proxy: proxy.map_or_else(ProxyRules::none, ProxyRules::all),
        ..Config::default()
    };
    let sys = OneLine { line: Arc::clone(&line), poller: Arc::new(Waiter(Arc::clone(&line))) };
    let mut reactor = Reactor::with_sys(sys, config).expect("a reactor");
    let options = Options::new(start.url().as_str()).expect("options");
    reactor.open(options).expect("room");
    let mut events: Vec<String> = Vec::new();
    for turns in 0.. {
        assert!(turns < 20_000, "it does not end");
        if reactor.is_empty() {
            break;
        }
        let mut sink = |_: &mut Conn<'_>, event: Event<'_>| {
            assert!(events.last().is_none_or(|last| !last.starts_with("Closed")), "{event:?}");
            events.push(match event {
                Event::Text(text) => format!("Text {:x?}", text.as_bytes()),
                Event::Binary(data) => format!("Binary {data:x?}"),
                Event::Pong(data) => format!("Pong {data:x?}"),
                Event::Opened(_) => "Opened".to_owned(),
                Event::Closing(frame) => format!("Closing {frame:?}"),
                Event::Closed(closed) => format!("Closed {}", how(&closed)),
                other => panic!("{other:?}"),
            });
        };
        reactor.turn(None, &mut sink).expect("a turn");
    }
    assert!(events.last().is_some_and(|last| last.starts_with("Closed")), "{events:?}");
    drop(reactor);
    let line = line_of(&line);
    assert_eq!((line.sockets, line.watched), (0, None), "a socket is left");
    Played { events, wire: line.wire.clone() }
}

/// How the connection ended, without the parts that depend on the cut or the route.
fn how(closed: &Closed) -> String {
    match closed {
        Closed::Failed(e) | Closed::Lost(e) => match e.kind() {
            ErrorKind::Proxy { .. } => {
                assert_eq!(e.stage(), Stage::Proxy);
                "Proxy".to_owned()
            }
            kind => {
                let text = format!("{:?} {kind:?}", e.stage());
                let end = text.find("NotHttp").map_or(text.len(), |at| at + 7);
                text[..end].to_owned()
            }
        },
        closed => format!("{closed:?}"),
    }
}

/// The only connection.
struct Line {
    now: Instant,
    proxys: Vec<u8>,
    /// The bytes that come once the request was read.
    servers: Vec<u8>,
    /// The tunnel opens behind the proxy's bytes.
    opens: bool,
    cut: Cut,
    rng: Rng,
    wire: Vec<u8>,
    sockets: usize,
    watched: Option<(u64, Interest)>,
    answer: Option<ResolverAnswer>,
    /// If the line is cut, every other call is refused.
    refuses: bool,
    answered: bool,
}

fn line_of(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// How many of `n` bytes a call moves.
    fn sip(&mut self, n: usize) -> io::Result<usize> {
        self.refuses = !self.refuses && self.cut != Cut::Whole;
        if self.refuses {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(match self.cut {
            Cut::Whole => n,
            Cut::Bytewise => n.min(1),
            Cut::Random => n.min(1 + self.rng.below(20)),
        })
    }

    /// The server reads the request of the WebSocket, once it is complete.
    fn serve(&mut self) {
        let text = String::from_utf8_lossy(&self.wire).into_owned();
        if self.answered || !text.ends_with("\r\n\r\n") {
            return;
        }
        let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        if let Some(key) = key {
            let accept = accept(key);
            self.servers = self.servers.iter().fold(Vec::new(), |mut all, &b| {
                match b {
                    0xFD => all.extend_from_slice(accept.as_bytes()),
                    b => all.push(b),
                }
                all
            });
            self.answered = true;
        }
    }

    /// The bytes that can be read now, or the end.
    fn come(&mut self) -> Option<&mut Vec<u8>> {
        let open = self.answered;
        let next =
            if self.proxys.is_empty() && open { &mut self.servers } else { &mut self.proxys };
        (!next.is_empty()).then_some(next)
    }

    /// Whether all bytes were sent: by a proxy that opens no tunnel, or by the server.
    fn has_ended(&self) -> bool {
        let servers = self.answered && self.servers.is_empty();
        self.proxys.is_empty() && (servers || !self.opens)
    }
}

struct OneLine {
    line: Arc<Mutex<Line>>,
    poller: Arc<Waiter>,
}

struct Waiter(Arc<Mutex<Line>>);

struct Socket(Arc<Mutex<Line>>);

impl Drop for Socket {
    fn drop(&mut self) {
        line_of(&self.0).sockets -= 1;
    }
}

impl Sys for OneLine {
    type Socket = Socket;
    type Poller = Waiter;

    fn poller(&self) -> &Arc<Waiter> {
        &self.poller
    }

    fn now(&self) -> Instant {
        line_of(&self.line).now
    }

    fn random(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(7);
        Ok(())
    }

    fn connect(&mut self, _: SocketAddr) -> io::Result<Socket> {
        line_of(&self.line).sockets += 1;
        Ok(Socket(Arc::clone(&self.line)))
    }

    fn connected(&mut self, _: &Socket) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, _: &Socket, buf: &mut [u8]) -> io::Result<usize> {
        let mut line = line_of(&self.line);
        let Some(there) = line.come().map(|bytes| bytes.len()) else {
            let ended = line.has_ended();
            return if ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        let n = line.sip(there.min(buf.len()))?;
        let bytes = line.come().expect("bytes");
        buf[..n].copy_from_slice(&bytes[..n]);
        bytes.drain(..n);
        Ok(n)
    }

    fn write(&mut self, _: &Socket, bytes: &[u8]) -> io::Result<usize> {
        let mut line = line_of(&self.line);
        let n = line.sip(bytes.len())?;
        line.wire.extend_from_slice(&bytes[..n]);
        line.serve();
        Ok(n)
    }

    fn shutdown_write(&mut self, _: &Socket) {}

    fn watch(&mut self, _: &Socket, token: u64, interest: Interest, _: bool) -> io::Result<()> {
        line_of(&self.line).watched = Some((token, interest));
        Ok(())
    }

    fn forget(&mut self, _: &Socket) {
        line_of(&self.line).watched = None;
    }

    fn resolve(&mut self, id: u64, _: &str, port: u16) -> io::Result<()> {
        line_of(&self.line).answer = Some((id, Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])));
        Ok(())
    }

    fn resolved(&mut self) -> Option<ResolverAnswer> {
        line_of(&self.line).answer.take()
    }
}

impl Poller for Waiter {
    fn wait(&self, _: Instant, until: Option<Instant>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut line = line_of(&self.0);
        if line.answer.is_some() {
            return Ok(());
        }
        let come = line.come().is_some() || line.has_ended();
        if let Some((token, Interest { read, write })) = line.watched
            && (read && come || write)
        {
            ready.push(Ready { token, read: read && come, write });
        } else {
            // No event comes before that time.
            line.now = until.map_or(line.now, |until| until.max(line.now));
        }
        Ok(())
    }

    fn wake(&self) {}
}
