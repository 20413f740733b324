//! What the Rust clients share: the command line, the cases, the clock, and the JSON line of results.
//!
//! A client is called as `CLIENT CASE URL COUNT SIZE [OPEN]`. Each library implements [`Peer`] in the way
//! that is fastest for it; the cases use nothing else of it.

mod meter;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub use meter::{Meter, Report, cpu, percentile, rss, rss_peak};

pub use rustls;

/// The root that has signed the server's certificate.
pub const CA_PEM: &[u8] = include_bytes!("../../../../src/peer/certs/ca.pem");

/// Why a client ends without a result.
pub type Failure = Box<dyn Error>;

/// The arguments of the command line.
#[derive(Clone, Debug)]
pub struct Args {
    pub case: String,
    pub url: String,
    pub count: u64,
    pub size: usize,
    /// How many connections are open: with the measured one, or taking part in a case with several. In the
    /// cases with compression it is the level; 0 is the default of the library.
    pub open: u64,
}

impl Args {
    /// Parses the remaining arguments.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, Failure> {
        let mut next = |name| words.next().ok_or(format!("{name} is missing"));
        let (case, url) = (next("CASE")?, next("URL")?);
        let (count, size) = (next("COUNT")?.parse()?, next("SIZE")?.parse()?);
        let open = words.next().map_or(Ok(1), |word| word.parse())?;
        Ok(Args { case, url, count, size, open })
    }

    /// Whether the client asks for permessage-deflate; and the level, if it is not the default.
    pub fn deflate(&self) -> Option<Option<u32>> {
        let level = u32::try_from(self.open).ok().filter(|level| *level > 0);
        self.case.starts_with("deflate-").then_some(level)
    }
}

/// A WebSocket library. A library that blocks implements the same functions; its futures are ready at once.
#[allow(async_fn_in_trait)] // No thread but the runtime's one polls it.
pub trait Peer {
    type Conn;

    /// Opens a connection.
    async fn open(&mut self, url: &str) -> Result<Self::Conn, Failure>;
    /// Sends a text; the text is written when this returns.
    async fn send(&mut self, conn: &mut Self::Conn, text: &str) -> Result<(), Failure>;
    /// Sends a text that may be written later, as far as the library can do that.
    async fn queue(&mut self, conn: &mut Self::Conn, text: &str) -> Result<(), Failure>;
    /// Writes the queued texts; they are written when this returns.
    async fn flush(&mut self, conn: &mut Self::Conn) -> Result<(), Failure>;
    /// Receives `n` text messages; returns their bytes.
    async fn receive(&mut self, conn: &mut Self::Conn, n: u64) -> Result<u64, Failure>;
    /// Receives `n` text messages over all these connections; returns their bytes. A library that blocks
    /// reads one connection after the other; the first ones have one message more.
    async fn receive_over(&mut self, conns: &mut [Self::Conn], n: u64) -> Result<u64, Failure> {
        let mut bytes = 0;
        for i in 0..n as usize {
            let at = i % conns.len();
            bytes += self.receive(&mut conns[at], 1).await?;
        }
        Ok(bytes)
    }
    /// Receives `n` text messages and keeps the last [`KEPT`] of them; returns the bytes of all.
    async fn receive_kept(&mut self, _: &mut Self::Conn, _: u64) -> Result<u64, Failure> {
        Err("this client keeps no messages".into())
    }
    /// Receives one text message.
    async fn text(&mut self, conn: &mut Self::Conn) -> Result<String, Failure>;
    /// Lets this time pass without sending.
    async fn pass(&mut self, time: Duration) -> Result<(), Failure> {
        std::thread::sleep(time);
        Ok(())
    }
    /// Does the closing handshake to its end.
    async fn close(&mut self, conn: Self::Conn) -> Result<(), Failure>;
}

/// How long after the last compressed message the memory of idle connections is measured: libraries may free
/// some of it meanwhile.
const QUIET: Duration = Duration::from_secs(2);

/// How many messages `receive-kept` keeps.
pub const KEPT: usize = 8;

/// Runs a case.
pub async fn drive<P: Peer>(mut peer: P, args: &Args) -> Result<Report, Failure> {
    let peer = &mut peer;
    match args.case.as_str() {
        "receive" | "deflate-receive" => receive(peer, args).await,
        "receive-kept" => receive(peer, args).await,
        "receive-over" => receive_over(peer, args).await,
        "rt" => round_trips(peer, args).await,
        "rt-use" => used_round_trips(peer, args).await,
        "send" | "burst" => send(peer, args).await,
        "send-two" | "burst-two" => send_over_two(peer, args).await,
        "deflate-send" => send_deflated(peer, args).await,
        "idle" | "idle-used" | "deflate-idle" => idle(peer, args).await,
        "open-close" | "open-echo-close" => open_close(peer, args).await,
        other => Err(format!("there is no case {other} here").into()),
    }
}

/// How many messages a client sends or receives before the clock starts.
pub fn warm_up(count: u64) -> u64 {
    (count / 10).clamp(1, 20_000)
}

async fn receive<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conn = peer.open(&args.url).await?;
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        peer.send(&mut conn, &format!("prepare {count} {}", args.size)).await?;
        let answer = peer.text(&mut conn).await?;
        let Some(wire) = answer.strip_prefix("ready") else {
            return Err(format!("the server says {answer}").into());
        };
        let meter = Meter::start();
        peer.send(&mut conn, "go").await?;
        let bytes = match args.case.as_str() {
            "receive-kept" => peer.receive_kept(&mut conn, count).await?,
            _ => peer.receive(&mut conn, count).await?,
        };
        let stopped = meter.stop(count, bytes);
        // If messages are compressed, the answer has their bytes on the wire.
        report = Some(Report { wire: wire.trim().parse().ok(), ..stopped });
    }
    peer.close(conn).await?;
    report.ok_or_else(|| "nothing was measured".into())
}

/// The same number of messages over several connections, which all receive at once.
async fn receive_over<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conns = Vec::new();
    for _ in 0..args.open {
        conns.push(peer.open(&args.url).await?);
    }
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        // The connections share the messages by turns, so the first ones have one more.
        let each = |at: u64| count / args.open + u64::from(at < count % args.open);
        for (at, conn) in conns.iter_mut().enumerate() {
            let order = format!("prepare {} {}", each(at as u64).max(1), args.size);
            peer.send(conn, &order).await?;
            let answer = peer.text(conn).await?;
            if answer != "ready" {
                return Err(format!("the server says {answer}").into());
            }
        }
        let meter = Meter::start();
        for conn in &mut conns {
            peer.send(conn, "go").await?;
        }
        let count = count.max(args.open);
        let bytes = peer.receive_over(&mut conns, count).await?;
        report = Some(meter.stop(count, bytes));
    }
    for conn in conns {
        peer.close(conn).await?;
    }
    report.ok_or_else(|| "nothing was measured".into())
}

async fn round_trips<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut others = Vec::new();
    for _ in 1..args.open {
        others.push(peer.open(&args.url).await?);
    }
    let mut conn = peer.open(&args.url).await?;
    let text = "r".repeat(args.size);
    for _ in 0..warm_up(args.count) {
        peer.send(&mut conn, &text).await?;
        peer.receive(&mut conn, 1).await?;
    }
    let mut times = Vec::with_capacity(args.count as usize);
    let mut bytes = 0;
    let meter = Meter::start();
    for _ in 0..args.count {
        let start = Instant::now();
        peer.send(&mut conn, &text).await?;
        bytes += peer.receive(&mut conn, 1).await?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    let report = meter.stop(args.count, bytes);
    peer.close(conn).await?;
    Ok(report.with_times(&mut times))
}

/// Makes a text for each round trip, and checks and splits its echo.
async fn used_round_trips<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conn = peer.open(&args.url).await?;
    let fill = "u".repeat(args.size.saturating_sub(12));
    let mut numbers = std::collections::VecDeque::with_capacity(1000);
    let mut times = Vec::with_capacity(args.count as usize);
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        times.clear();
        let mut bytes = 0;
        let meter = Meter::start();
        for i in 0..count {
            let start = Instant::now();
            peer.send(&mut conn, &format!("{i:012}{fill}")).await?;
            let text = peer.text(&mut conn).await?;
            bytes += text.len() as u64;
            let number: u64 = text.get(..12).ok_or("a short echo")?.parse()?;
            if number != i {
                return Err(format!("the echo of {i} is {number}").into());
            }
            if numbers.len() == 1000 {
                numbers.pop_front();
            }
            numbers.push_back(number);
            times.push(start.elapsed().as_nanos() as u64);
        }
        report = Some(meter.stop(count, bytes));
    }
    peer.close(conn).await?;
    let report = report.ok_or("nothing was measured")?;
    Ok(report.with_times(&mut times))
}

async fn send<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conn = peer.open(&args.url).await?;
    let text = "s".repeat(args.size);
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let meter = Meter::start();
        if args.case == "send" {
            for _ in 0..count {
                peer.send(&mut conn, &text).await?;
            }
        } else {
            for _ in 0..count {
                peer.queue(&mut conn, &text).await?;
            }
            peer.flush(&mut conn).await?;
        }
        let stopped = meter.stop(count, count * args.size as u64);
        // The server answers with the number and bytes of the messages that have arrived.
        peer.send(&mut conn, "?").await?;
        let answer = peer.text(&mut conn).await?;
        let expected = format!("{count} {}", count * args.size as u64);
        if answer != expected {
            return Err(format!("the server has got {answer} and not {expected}").into());
        }
        report = Some(stopped);
    }
    peer.close(conn).await?;
    report.ok_or_else(|| "nothing was measured".into())
}

/// Sends different texts over two connections by turns.
async fn send_over_two<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conns = [peer.open(&args.url).await?, peer.open(&args.url).await?];
    let texts: Vec<String> =
        (0..8).map(|i| format!("{i:012}{}", "s".repeat(args.size - 12))).collect();
    let mut report = None;
    for count in [warm_up(args.count).max(2), args.count] {
        let meter = Meter::start();
        for i in 0..count as usize {
            let (conn, text) = (&mut conns[i % 2], &texts[i % texts.len()]);
            match args.case.as_str() {
                "send-two" => peer.send(conn, text).await?,
                _ => peer.queue(conn, text).await?,
            }
        }
        for conn in &mut conns {
            peer.flush(conn).await?;
        }
        let stopped = meter.stop(count, count * args.size as u64);
        for (conn, count) in conns.iter_mut().zip([count.div_ceil(2), count / 2]) {
            peer.send(conn, "?").await?;
            let answer = peer.text(conn).await?;
            let expected = format!("{count} {}", count * args.size as u64);
            if answer != expected {
                return Err(format!("the server has got {answer} and not {expected}").into());
            }
        }
        report = Some(stopped);
    }
    for conn in conns {
        peer.close(conn).await?;
    }
    report.ok_or_else(|| "nothing was measured".into())
}

/// Bytes of texts that are sent again and again: more than the window, so none refers to its last copy.
const SAMPLES: u64 = 4 * 1024 * 1024;

/// Receives texts from the server and sends them back compressed.
async fn send_deflated<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conn = peer.open(&args.url).await?;
    let kept = (SAMPLES / args.size as u64).clamp(1, args.count);
    peer.send(&mut conn, &format!("sample {kept} {}", args.size)).await?;
    let mut texts = Vec::new();
    for _ in 0..kept {
        texts.push(peer.text(&mut conn).await?);
    }
    let mut texts = texts.iter().cycle();
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let meter = Meter::start();
        for text in texts.by_ref().take(count as usize) {
            peer.send(&mut conn, text).await?;
        }
        let stopped = meter.stop(count, count * args.size as u64);
        // The server answers with the number and bytes of the messages, and their bytes on the wire.
        peer.send(&mut conn, "?").await?;
        let answer = peer.text(&mut conn).await?;
        let expected = format!("{count} {} ", count * args.size as u64);
        let Some(wire) = answer.strip_prefix(&expected) else {
            return Err(format!("the server has got {answer} and not {expected}").into());
        };
        report = Some(Report { wire: Some(wire.parse()?), ..stopped });
    }
    peer.close(conn).await?;
    report.ok_or_else(|| "nothing was measured".into())
}

/// Memory of `count` connections after the first. With a size, each has received a message of that size;
/// with compression, it has also sent it back; in `idle-used`, it has sent one and received its echo.
async fn idle<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let mut conns = Vec::with_capacity(args.count as usize + 1);
    let (mut before, mut bytes, meter) = (0, 0, Meter::start());
    for i in 0..=args.count {
        let mut conn = peer.open(&args.url).await?;
        if args.case == "idle-used" {
            peer.send(&mut conn, &"i".repeat(args.size)).await?;
            bytes += peer.receive(&mut conn, 1).await?;
        } else if args.size > 0 && args.deflate().is_some() {
            let text = peer.text(&mut conn).await?;
            bytes += text.len() as u64;
            peer.send(&mut conn, &text).await?;
        } else if args.size > 0 {
            bytes += peer.receive(&mut conn, 1).await?;
        }
        conns.push(conn);
        if i == 0 {
            (before, bytes) = (rss(), 0);
        }
    }
    if args.size > 0 && args.deflate().is_some() {
        peer.pass(QUIET).await?;
    }
    let after = rss();
    let report = meter.stop(args.count, bytes);
    Ok(report.with_each(before, after))
}

/// Opens and closes connections one after another; each with a round trip, if the case says so.
async fn open_close<P: Peer>(peer: &mut P, args: &Args) -> Result<Report, Failure> {
    let text = "o".repeat(args.size);
    let one = async |peer: &mut P| -> Result<u64, Failure> {
        let mut conn = peer.open(&args.url).await?;
        let mut bytes = 0;
        if args.case == "open-echo-close" {
            peer.send(&mut conn, &text).await?;
            bytes = peer.receive(&mut conn, 1).await?;
        }
        peer.close(conn).await?;
        Ok(bytes)
    };
    for _ in 0..warm_up(args.count).min(100) {
        one(peer).await?;
    }
    let (meter, mut bytes) = (Meter::start(), 0);
    for _ in 0..args.count {
        bytes += one(peer).await?;
    }
    Ok(meter.stop(args.count, bytes))
}

/// A client of event streams.
#[allow(async_fn_in_trait)] // No thread but the runtime's one polls it.
pub trait Source {
    type Event;

    /// Requests a stream; the head has arrived when this returns.
    async fn open(&mut self, url: &str) -> Result<(), Failure>;
    /// Reads the next event; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Self::Event>, Failure>;
    /// The length of the event's data in bytes.
    fn length(event: &Self::Event) -> usize;
}

/// Reads streams of events: `events` drops each event, `events-fields` keeps the last one.
pub async fn events<S: Source>(mut source: S, args: &Args) -> Result<Report, Failure> {
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        source.open(&format!("{}?n={count}&size={}", args.url, args.size)).await?;
        let (mut messages, mut bytes, mut last) = (0, 0, None);
        let meter = Meter::start();
        while let Some(event) = source.next().await? {
            messages += 1;
            bytes += S::length(&event) as u64;
            if args.case == "events-fields" {
                last = Some(event);
            } else {
                black_box(event);
            }
        }
        black_box(last);
        report = Some(meter.stop(messages, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

/// An HTTP client that keeps connections.
#[allow(async_fn_in_trait)] // No thread but the runtime's one polls it.
pub trait Caller {
    type Body: AsRef<[u8]>;

    /// Sends a GET; returns the body of the response.
    async fn get(&mut self, url: &str) -> Result<Self::Body, Failure>;
    /// Sends a POST with `body`; returns the body of the response.
    async fn post(&mut self, url: &str, body: &str) -> Result<Self::Body, Failure>;
}

/// Makes calls one after another: `get-kept` and `post-kept`.
pub async fn calls<C: Caller>(mut caller: C, args: &Args) -> Result<Report, Failure> {
    let url = format!("{}?size={}", args.url, args.size);
    let body = "p".repeat(args.size);
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        let (meter, mut bytes) = (Meter::start(), 0);
        for _ in 0..count {
            let answer = match args.case.as_str() {
                "post-kept" => caller.post(&url, &body).await?,
                _ => caller.get(&url).await?,
            };
            bytes += black_box(answer).as_ref().len() as u64;
        }
        report = Some(meter.stop(count, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

/// Runs a future that never waits, since the calls in it block.
pub fn now<F: Future>(future: F) -> F::Output {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a peer that blocks does not wait"),
    }
}

/// TLS that trusts only the root of the bench, with the same provider as moonwire.
pub fn tls_config() -> Result<Arc<rustls::ClientConfig>, Failure> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CA_PEM)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Returns `HOST:PORT` of a URL, and whether the URL is for TLS.
pub fn address(url: &str) -> Result<(&str, bool), Failure> {
    let (scheme, rest) = url.split_once("://").ok_or("a URL is expected")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    Ok((authority, matches!(scheme, "wss" | "https")))
}

/// The request of an opening handshake, for clients that write it themselves.
pub fn handshake(url: &str) -> Result<String, Failure> {
    handshake_with(url, "")
}

/// The same request with further field lines.
pub fn handshake_with(url: &str, fields: &str) -> Result<String, Failure> {
    let (authority, _) = address(url)?;
    let path = url.split_once(authority).map_or("/", |(_, path)| path);
    Ok(format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    ))
}
