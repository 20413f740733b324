//! An independent proxy, written from RFC 9110 §9.3.6, RFC 1928 and RFC 1929. It calls the target
//! server directly, without a line between them. The line to the proxy has the same faults as the
//! line to a server.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use moonwire::{Proxy, ProxyScheme};

use crate::book::{SharedBook, ms, open};
use crate::net::{Io, Service};
use crate::rng::Rng;
use crate::tls;
use crate::world::{HTTP, HTTPS, PROXY, PROXY_TLS, SOCKS, WS, WSS, host};
use crate::ws::wake;

/// The proxy of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Through {
    pub scheme: ProxyScheme,
    /// The number of the proxy's host.
    pub h: usize,
    /// Whether the client has a user name and a password for the proxy.
    pub known: bool,
}

impl Through {
    pub fn port(&self) -> u16 {
        match self.scheme {
            ProxyScheme::Http => PROXY,
            ProxyScheme::Https => PROXY_TLS,
            _ => SOCKS,
        }
    }

    /// The proxy's name in errors and events.
    pub fn shown(&self) -> String {
        format!("{}://{}:{}", self.scheme.as_str(), host(self.h), self.port())
    }

    pub fn proxy(&self) -> Proxy {
        let user = if self.known { format!("{USER}:{}@", password(self.h)) } else { String::new() };
        let text = self.shown().replace("://", &format!("://{user}"));
        Proxy::parse(&text).expect("a proxy").tls(tls::client())
    }

    /// Whether the client resolves the hosts of URLs.
    pub fn resolves(&self) -> bool {
        self.scheme == ProxyScheme::Socks5
    }
}

const USER: &str = "us3r";

/// Each proxy has another password.
fn password(h: usize) -> String {
    format!("s3cret-of-{h}")
}

/// The first credentials in a text: a password, or user name and password in the form of RFC 7617.
/// Those of proxy `but` are allowed.
pub fn credentials_in(bytes: &[u8], but: Option<usize>) -> Option<String> {
    let has = |part: &str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
    let of = |h: usize| {
        let password = password(h);
        let basic = STANDARD.encode(format!("{USER}:{password}"));
        [password, basic].into_iter().find(|part| has(part))
    };
    (0..10).filter(|h| Some(*h) != but).find_map(of)
}

/// How a proxy treats one connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Opens,
    /// A status, or a code of SOCKS.
    Refuses(u8),
    /// It refuses the user name and password, or the lack of them.
    Unknown,
    /// It sends bytes behind its answer.
    Early,
    Garbage,
    WrongVersion,
    /// It sends interim responses without end; with SOCKS it sends nothing.
    Endless,
    /// It sends this many bytes of its answer, then ends the stream.
    Cut(usize),
    Silent,
    HangsUp,
    Resets,
}

pub const ODD: [Manner; 15] = [
    Manner::Refuses(1),
    Manner::Refuses(5),
    Manner::Refuses(8),
    Manner::Refuses(200),
    Manner::Unknown,
    Manner::Unknown,
    Manner::Early,
    Manner::Garbage,
    Manner::WrongVersion,
    Manner::Endless,
    Manner::Cut(1),
    Manner::Cut(5),
    Manner::Silent,
    Manner::HangsUp,
    Manner::Resets,
];

/// How the proxies of a world behave; each connection chooses at random.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// How many percent of the connections get one of `manners`.
    pub odd: usize,
    pub manners: Vec<Manner>,
    /// How many milliseconds each of a proxy's answers takes, and each byte of an answer.
    pub after: Vec<usize>,
    pub drips: Vec<usize>,
    /// The addresses that proxies do not connect to.
    pub deaf: Vec<IpAddr>,
    /// For how many percent of the connections the proxy requires user name and password, if the
    /// client offers them.
    pub asks: usize,
}

impl Default for Proxies {
    fn default() -> Proxies {
        Proxies {
            odd: 0,
            manners: ODD.to_vec(),
            after: vec![0],
            drips: vec![0],
            deaf: Vec::new(),
            asks: 50,
        }
    }
}

/// What the proxy does with this connection.
struct Plan {
    manner: Manner,
    /// At which answer a SOCKS proxy shows `manner`.
    step: usize,
    after: Duration,
    drip: Duration,
    interim: usize,
    asks: bool,
    /// The type of the address in a SOCKS proxy's reply.
    kind: u8,
    deaf: Vec<IpAddr>,
}

impl Proxies {
    fn draw(&self, rng: &mut Rng) -> Plan {
        let odd = rng.chance(self.odd);
        Plan {
            manner: if odd { rng.pick(&self.manners) } else { Manner::Opens },
            step: rng.below(3),
            after: ms(rng.pick(&self.after)),
            drip: ms(rng.pick(&self.drips)),
            interim: rng.pick(&[0, 0, 1, 3]),
            asks: rng.chance(self.asks),
            kind: rng.pick(&[1, 3, 4]),
            deaf: self.deaf.clone(),
        }
    }
}

/// Creates the server behind a port.
pub type Maker = Arc<dyn Fn(u16) -> Box<dyn Service> + Send + Sync>;

pub struct ProxyService {
    book: SharedBook,
    /// The number of the proxy's host.
    h: usize,
    plan: Plan,
    make: Maker,
    state: State,
}

enum State {
    /// It reads a head of HTTP, or the messages of SOCKS in this order.
    Head,
    Greeting,
    Login,
    Request,
    /// It sends these bytes, the next one at this time, then enters this state.
    Sending(VecDeque<u8>, Duration, Box<State>),
    /// It sends interim responses without end, the next one at this time.
    Babbling(Duration),
    /// The proxy passes all bytes to this server.
    Through(Box<dyn Service>),
    /// It sends nothing more, ends the stream, or resets the connection.
    Silent,
    Finished,
    Reset,
}

impl ProxyService {
    pub fn new(
        book: SharedBook,
        proxies: &Proxies,
        make: Maker,
        to: SocketAddr,
        rng: &mut Rng,
    ) -> ProxyService {
        let h = match to.ip() {
            IpAddr::V4(ip) => ip.octets()[2].into(),
            IpAddr::V6(ip) => ip.segments()[6].into(),
        };
        let state = if to.port() == SOCKS { State::Greeting } else { State::Head };
        ProxyService { book, h, plan: proxies.draw(rng), make, state }
    }

    fn complain(&self, text: String) -> State {
        open(&self.book).complain(format!("the proxy h{}: {text}", self.h));
        State::Reset
    }

    fn send(&self, now: Duration, bytes: &[u8], then: State) -> State {
        let bytes = match self.plan.manner {
            Manner::Cut(n) => return self.cut(now, &bytes[..n.min(bytes.len() - 1)]),
            _ => bytes,
        };
        State::Sending(bytes.iter().copied().collect(), now + self.plan.after, Box::new(then))
    }

    fn cut(&self, now: Duration, bytes: &[u8]) -> State {
        let all = bytes.iter().copied().collect();
        State::Sending(all, now + self.plan.after, Box::new(State::Finished))
    }

    /// What it does instead of a correct answer, if it does that with every protocol.
    fn odd(&self, now: Duration) -> Option<State> {
        Some(match self.plan.manner {
            Manner::Silent => State::Silent,
            Manner::HangsUp => State::Finished,
            Manner::Resets => State::Reset,
            Manner::Garbage => self.send(now, b"220 smtp.test ESMTP\r\n", State::Silent),
            _ => return None,
        })
    }

    /// Takes the next message of the client, if it is complete; returns the next state.
    fn next(&mut self, io: &mut Io<'_>) -> Option<State> {
        let (now, input) = (io.now, &mut *io.input);
        match self.state {
            State::Head => {
                let end = input.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
                let head = String::from_utf8_lossy(&input[..end]).into_owned();
                if head.starts_with("CONNECT ") {
                    input.drain(..end);
                    if !input.is_empty() {
                        return Some(self.complain("bytes behind the request".into()));
                    }
                    return Some(self.connect(now, &head));
                }
                let sent = self.forward(now, &head);
                if let Ok(sent) = &sent {
                    input.splice(..end, sent.bytes());
                }
                Some(sent.map_or_else(|state| state, |_| State::Through((self.make)(HTTP))))
            }
            State::Greeting => {
                let [5, count, rest @ ..] = &input[..] else { return None };
                let methods = rest.get(..usize::from(*count))?.to_vec();
                input.drain(..2 + methods.len());
                self.no_more(input).or_else(|| Some(self.greeting(now, &methods)))
            }
            State::Login => {
                let [1, len, rest @ ..] = &input[..] else { return None };
                let (user, rest) = rest.split_at_checked(usize::from(*len))?;
                let [len, rest @ ..] = rest else { return None };
                let word = rest.get(..usize::from(*len))?;
                let good = user == USER.as_bytes() && word == password(self.h).as_bytes();
                let len = 3 + user.len() + word.len();
                input.drain(..len);
                if !good {
                    return Some(self.complain("wrong user name or password".into()));
                }
                self.no_more(input).or_else(|| Some(self.login(now)))
            }
            State::Request => {
                let (len, target) = target_of(input)?;
                input.drain(..len);
                self.no_more(input).or_else(|| Some(self.request(now, &target)))
            }
            _ => None,
        }
    }

    /// Complains about bytes behind a request: the client must wait for the answer.
    fn no_more(&self, rest: &[u8]) -> Option<State> {
        (!rest.is_empty()).then(|| self.complain("bytes behind the request".into()))
    }

    /// Checks a request: the rules of RFC 9110 §9.3.6 and RFC 9112 §3.2.3, and the user name.
    fn checked(&self, head: &str, authority: Option<&str>) -> Result<(), State> {
        if let Some(secret) = credentials_in(head.as_bytes(), Some(self.h)) {
            return Err(self.complain(format!("it received {secret} of another proxy")));
        }
        let named = head.lines().find_map(|line| line.strip_prefix("Host: "));
        if authority.is_some_and(|authority| named != Some(authority)) {
            return Err(self.complain(format!("Host is not the requested one: {head:?}")));
        }
        let user = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
        let own = format!("Basic {}", STANDARD.encode(format!("{USER}:{}", password(self.h))));
        match user {
            Some(user) if user != own => Err(self.complain(format!("wrong credentials: {user}"))),
            _ => Ok(()),
        }
    }

    fn connect(&mut self, now: Duration, head: &str) -> State {
        let authority = head.split(' ').nth(1).unwrap_or_default();
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let Some(port) = port.filter(|port| [WS, WSS, HTTP, HTTPS].contains(port)) else {
            return self.complain(format!("no server is at {authority}"));
        };
        if let Err(state) = self.checked(head, Some(authority)) {
            return state;
        }
        if let Some(state) = self.odd(now) {
            return state;
        }
        let status = match self.plan.manner {
            Manner::Refuses(code) => [502, 403, 301, 101, 504][usize::from(code) % 5],
            Manner::Unknown => 407,
            Manner::Endless => return State::Babbling(now + self.plan.after),
            Manner::WrongVersion => {
                return self.send(now, b"HTTP/2.0 200 OK\r\n\r\n", State::Silent);
            }
            _ => 200,
        };
        if status != 200 {
            // The proxy repeats the request in its answer, as some proxies do.
            let size = if self.plan.asks {
                format!("Content-Length: {}\r\n", head.len())
            } else {
                String::new()
            };
            let answer = format!("HTTP/1.1 {status} No\r\n{size}\r\n{head}");
            let then = if self.plan.asks { State::Silent } else { State::Finished };
            return self.send(now, answer.as_bytes(), then);
        }
        let mut answer = "HTTP/1.1 103 Early Hints\r\nVia: x\r\n\r\n".repeat(self.plan.interim);
        answer.push_str("HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n");
        self.open(now, answer.into_bytes(), port)
    }

    fn open(&self, now: Duration, mut answer: Vec<u8>, port: u16) -> State {
        if self.plan.manner == Manner::Early {
            answer.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
            return self.send(now, &answer, State::Silent);
        }
        self.send(now, &answer, State::Through((self.make)(port)))
    }

    /// Forwards a request in absolute form (RFC 9112 §3.2.2) to the server.
    fn forward(&mut self, now: Duration, head: &str) -> Result<String, State> {
        let url = head.split(' ').nth(1).unwrap_or_default();
        let rest = url.strip_prefix("http://").map(|rest| rest.split_once('/'));
        let Some(Some((authority, path))) = rest else {
            return Err(self.complain(format!("a request that is not in absolute form: {head:?}")));
        };
        self.checked(head, Some(authority))?;
        if let Some(state) = self.odd(now) {
            return Err(state);
        }
        let good = head.replacen(url, &format!("/{path}"), 1);
        let lines = good.split_inclusive("\r\n");
        Ok(lines.filter(|line| !line.starts_with("Proxy-Authorization: ")).collect())
    }

    fn greeting(&mut self, now: Duration, methods: &[u8]) -> State {
        let at_once = self.plan.step == 0;
        if at_once && let Some(state) = self.odd(now) {
            return state;
        }
        let offered = methods.contains(&2);
        match self.plan.manner {
            Manner::WrongVersion if at_once => self.send(now, &[4, 0], State::Silent),
            Manner::Unknown if at_once || !offered => {
                let method = if self.plan.asks { 2 } else { 255 };
                let method = if offered { 255 } else { method };
                self.send(now, &[5, method], State::Finished)
            }
            Manner::Endless if at_once => State::Silent,
            Manner::Unknown => self.send(now, &[5, 2], State::Login),
            _ if offered && self.plan.asks => self.send(now, &[5, 2], State::Login),
            _ => self.send(now, &[5, 0], State::Request),
        }
    }

    fn login(&mut self, now: Duration) -> State {
        if self.plan.step == 1
            && let Some(state) = self.odd(now)
        {
            return state;
        }
        match self.plan.manner {
            Manner::Unknown => self.send(now, &[1, 1], State::Finished),
            _ => self.send(now, &[1, 0], State::Request),
        }
    }

    fn request(&mut self, now: Duration, target: &str) -> State {
        if let Some(state) = self.odd(now) {
            return state;
        }
        let (name, port) = target.rsplit_once(':').unwrap_or_default();
        let port = port.parse().unwrap_or_default();
        if ![WS, WSS, HTTP, HTTPS].contains(&port) {
            return self.complain(format!("no server is at {target}"));
        }
        let address: Option<IpAddr> = name.parse().ok();
        if let Some(ip) = address {
            open(&self.book).reported.push(SocketAddr::new(ip, port));
        }
        let code = match self.plan.manner {
            Manner::Refuses(code) => code,
            _ if address.is_some_and(|ip| self.plan.deaf.contains(&ip)) => 5,
            _ => 0,
        };
        let version = if self.plan.manner == Manner::WrongVersion { 4 } else { 5 };
        let mut reply = vec![version, code, 0, self.plan.kind];
        let address: &[u8] = match self.plan.kind {
            1 => &[10, 0, 0, 1],
            3 => b"\x07x.a.tes",
            _ => &[0xFD; 16],
        };
        reply.extend_from_slice(address);
        reply.extend_from_slice(&[0x1F, 0x90]);
        match (self.plan.manner, code) {
            (Manner::Endless, _) => State::Silent,
            (Manner::WrongVersion, _) => self.send(now, &reply, State::Silent),
            (_, 0) => self.open(now, reply, port),
            _ => self.send(now, &reply, State::Finished),
        }
    }
}

/// The size of a SOCKS request and its target, if it is complete.
fn target_of(input: &[u8]) -> Option<(usize, String)> {
    let [5, 1, 0, kind, rest @ ..] = input else { return None };
    let (skip, size) = match (kind, rest) {
        (1, _) => (0, 4),
        (4, _) => (0, 16),
        (3, [len, ..]) => (1, usize::from(*len)),
        _ => return None,
    };
    let address = rest.get(skip..skip + size)?;
    let port = rest.get(skip + size..skip + size + 2)?;
    let name = match *kind {
        1 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?).to_string(),
        4 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?).to_string(),
        _ => String::from_utf8_lossy(address).into_owned(),
    };
    let port = u16::from_be_bytes([port[0], port[1]]);
    Some((4 + skip + size + 2, format!("{name}:{port}")))
}

impl Service for ProxyService {
    fn step(&mut self, io: &mut Io<'_>) {
        loop {
            match &mut self.state {
                State::Through(server) => return server.step(io),
                State::Sending(rest, at, then) => {
                    if *at > io.now {
                        wake(io, *at);
                        break;
                    }
                    let n = if self.plan.drip.is_zero() { rest.len() } else { 1 };
                    io.out.extend(rest.drain(..n.min(rest.len())));
                    *at = io.now + self.plan.drip;
                    if rest.is_empty() {
                        self.state = std::mem::replace(&mut **then, State::Silent);
                    }
                }
                State::Babbling(at) => {
                    if *at <= io.now {
                        io.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                        *at = io.now + ms(200);
                    }
                    wake(io, *at);
                    break;
                }
                State::Finished => {
                    io.finish = true;
                    break;
                }
                State::Reset => {
                    io.abort = true;
                    self.state = State::Finished;
                    break;
                }
                State::Silent => break,
                _ => match self.next(io) {
                    Some(state) => self.state = state,
                    None => break,
                },
            }
        }
        if io.end.is_some() {
            io.finish = true;
        }
    }
}
