//! A world: the network, the servers and the actions of the program that a scenario makes from a
//! seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use moonwire::Limits;
use moonwire::proto::http::Delivery;
use moonwire::tape::Tape;

use crate::book::{Entry, Msg, ms};
use crate::http::HttpPlan;
use crate::net::{Cut, Dial, Name, Noise, Path};
use crate::proxy::{Proxies, Through};
use crate::rng::Rng;
use crate::tls::TlsPlan;
use crate::ws::WsPlan;

/// A port determines the protocol of its server.
pub const WS: u16 = 80;
pub const WSS: u16 = 443;
pub const HTTP: u16 = 8080;
pub const HTTPS: u16 = 8443;
/// Ports of proxies.
pub const PROXY: u16 = 3128;
pub const PROXY_TLS: u16 = 3129;
pub const SOCKS: u16 = 1080;

/// An action of the program.
#[derive(Clone)]
pub enum Deed {
    Open,
    Send(Msg),
    Ping(Vec<u8>),
    Close(u16),
    AnswerClose,
    Release,
    Flush,
    /// A turn that does not wait.
    Turn,
    /// The program pauses the connection.
    Pause,
    Resume,
    /// The program reports all held bytes as consumed.
    Consume,
}

/// The actions of the sink within an event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reflex {
    /// The number of messages that it sends when the connection opens.
    pub hello: usize,
    /// It answers each message whose number is divisible by this; 0: none.
    pub reply: usize,
    /// It closes the connection after this many messages.
    pub enough: Option<usize>,
    /// At the server's close frame: the number of messages that it still sends, and whether it
    /// then closes.
    pub last_words: usize,
    pub closes_back: bool,
    /// It pauses the connection after each group of this many messages. [`Deed::Resume`] resumes
    /// it.
    pub pauses: Option<usize>,
    /// It holds the bytes of events until [`Deed::Consume`].
    pub holds: bool,
}

/// A connection that is requested.
#[derive(Clone)]
pub struct Ask {
    pub url: String,
    pub stream: Option<Delivery>,
    pub post: Option<Vec<u8>>,
    pub hold: bool,
    pub ping: Option<Duration>,
    pub timeout: Option<Duration>,
    pub idle: Option<Duration>,
    pub reflex: Reflex,
    pub ws: Option<WsPlan>,
    pub http: Option<HttpPlan>,
    pub through: Option<Through>,
}

/// How the program drives the reactor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drive {
    /// `turn` waits.
    Waits,
    /// Another part of the program waits for the poller and for `deadline()`; `turn` does not wait.
    Elsewhere,
    /// One turn in each frame of this length; no turn waits.
    Frames(Duration),
}

pub struct World {
    pub rng: Rng,
    pub limits: Limits,
    pub noise: Noise,
    /// The path of every connection. The faults in it differ.
    pub path: Path,
    /// Where connections are cut; `None`: nowhere.
    pub cuts: Option<Cuts>,
    pub tls: TlsPlan,
    pub proxies: Proxies,
    /// The proxy of the reactor's configuration. A connection that uses another one, or none, sets
    /// its own option.
    pub rule: Option<Through>,
    /// Addresses that the policy does not allow.
    pub denied: Vec<IpAddr>,
    pub places: Vec<(SocketAddr, Vec<Dial>)>,
    pub names: Vec<(String, Name)>,
    pub asks: Vec<Ask>,
    pub deeds: Vec<(Duration, usize, Deed)>,
    pub drive: Drive,
    /// When the program is busy elsewhere, and for how long.
    pub stalls: Vec<(Duration, Duration)>,
    /// When the program drops the reactor with all its connections.
    pub dropped: Option<Duration>,
    pub observed: bool,
    /// The tape that records the connections.
    pub tape: Option<Tape>,
    /// The number of the call of the program's code that panics.
    pub fuse: Option<u64>,
    /// Whether nothing is lost: then messages that were sent before a clean end must arrive.
    pub calm: bool,
}

/// Where the faults of a connection are.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    pub percent: usize,
    pub within: usize,
    /// This cut for each connection, instead of random ones: whether in the client's bytes, at
    /// which byte, and how.
    pub fixed: Option<(bool, u64, Cut)>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let limits = limits(&mut rng);
        let mut noise = noise(&mut rng);
        // Every third seed uses poll; with `moonwire_poll` every seed does.
        noise.poll = cfg!(moonwire_poll) || seed % 3 == 1;
        noise.prompt = seed % 4 == 3;
        let path = path(&mut rng);
        let drive = match rng.below(10) {
            0..=6 => Drive::Waits,
            7 | 8 => Drive::Elsewhere,
            _ => Drive::Frames(ms(rng.range(1, 40))),
        };
        let observed = rng.chance(20);
        World {
            rng,
            limits,
            noise,
            path,
            cuts: None,
            tls: TlsPlan::default(),
            proxies: Proxies::default(),
            rule: None,
            denied: Vec::new(),
            places: Vec::new(),
            names: Vec::new(),
            asks: Vec::new(),
            deeds: Vec::new(),
            drive,
            stalls: Vec::new(),
            dropped: None,
            observed,
            tape: None,
            fuse: None,
            calm: true,
        }
    }

    /// The host with this number: its name has one address for each of `dials`.
    pub fn host(&mut self, number: usize, dials: &[Dial]) {
        let addresses: Vec<IpAddr> = (0..dials.len()).map(|i| address(number, i)).collect();
        for (ip, dial) in addresses.iter().zip(dials) {
            for port in [WS, WSS, HTTP, HTTPS, PROXY, PROXY_TLS, SOCKS] {
                self.places.push((SocketAddr::new(*ip, port), vec![*dial]));
            }
        }
        let after = Some(ms(self.rng.below(30)));
        let all = addresses.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
        let name = Name { after, answer: Ok(all), refused: false, again: None };
        self.names.push((host(number), name));
    }

    /// Requests a connection at this time; returns its number.
    pub fn ask(&mut self, at: Duration, make: impl FnOnce(&mut Rng, usize) -> Ask) -> usize {
        let k = self.asks.len();
        let ask = make(&mut self.rng, k);
        self.asks.push(ask);
        self.deed(at, k, Deed::Open);
        k
    }

    pub fn deed(&mut self, at: Duration, k: usize, deed: Deed) {
        self.deeds.push((at, k, deed));
    }

    pub fn entries(&self) -> Vec<Entry> {
        let entry =
            |ask: &Ask| Entry { ws: ask.ws.clone(), http: ask.http.clone(), ..Entry::default() };
        self.asks.iter().map(entry).collect()
    }

    /// The line of one connection, with its faults.
    pub fn draw_path(path: &Path, cuts: Option<Cuts>, rng: &mut Rng) -> Path {
        let mut path = path.clone();
        let Some(cuts) = cuts else { return path };
        if let Some((up, at, cut)) = cuts.fixed {
            *(if up { &mut path.up } else { &mut path.down }) = Some((at, cut));
            return path;
        }
        let all = [Cut::Reset, Cut::Reset, Cut::TimedOut, Cut::Finish, Cut::Finish, Cut::Stall];
        for side in [&mut path.down, &mut path.up] {
            if rng.chance(cuts.percent) {
                let within = if rng.chance(50) { cuts.within.min(400) } else { cuts.within };
                *side = Some((rng.below(within) as u64, rng.pick(&all)));
            }
        }
        path
    }
}

pub fn host(number: usize) -> String {
    format!("h{number}.a.test")
}

pub fn address(number: usize, i: usize) -> IpAddr {
    let (number, i) = (number as u8, i as u8);
    if i.is_multiple_of(2) {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, number.into(), i.into()).into()
    } else {
        Ipv4Addr::new(10, 0, number, i).into()
    }
}

/// Short time limits, and memory limits that are sometimes tiny.
fn limits(rng: &mut Rng) -> Limits {
    Limits {
        opening: ms(3000),
        response: ms(2000),
        close: ms(1500),
        linger: ms(700),
        pong: ms(1000),
        stall: ms(2500),
        opening_wait: ms(6000),
        ping_floor: ms(1),
        attempt_delay: ms(rng.pick(&[10, 250])),
        receive_buffer: rng.pick(&[4096, 10_000, 65_536]),
        receive_buffer_max: rng.pick(&[4096, 65_536, 1 << 20]),
        in_place: rng.pick(&[1, 1000, 65_536, 1 << 20]),
        turn: rng.pick(&[1, 5000, 65_536, 1 << 20, 1 << 20]),
        cork: rng.pick(&[1, 3000, 65_536]),
        pong_queue: rng.pick(&[0, 200, 65_536]),
        ..Limits::default()
    }
}

fn noise(rng: &mut Rng) -> Noise {
    let often = rng.pick(&[0, 0, 3, 30]);
    Noise {
        budget: rng.pick(&[20, 200]),
        would_block: rng.pick(&[0, often]),
        interrupted: rng.pick(&[0, often]),
        spurious: rng.pick(&[0, often]),
        few: rng.pick(&[0, 0, 1, 2]),
        poll: false,
        prompt: false,
        tick: Duration::from_micros(rng.pick(&[0, 0, 50]) as u64),
        oversleep: Duration::from_micros(rng.pick(&[0, 1500]) as u64),
    }
}

fn path(rng: &mut Rng) -> Path {
    let sip = rng.pick(&[0, 0, 1, 3, 100]);
    Path {
        latency: Duration::from_micros(rng.pick(&[0, 200, 20_000]) as u64),
        jitter: Duration::from_micros(rng.pick(&[0, 100, 30_000]) as u64),
        bandwidth: [0, 0],
        window: rng.pick(&[2000, 65_536, 1 << 20]),
        segment: rng.pick(&[700, 1460, 65_536]),
        sip,
        sips: if sip == 0 { 0 } else { 3000 },
        down: None,
        up: None,
    }
}
