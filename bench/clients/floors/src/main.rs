//! The least that any client has to do: `bench-floors FLOOR CASE URL COUNT SIZE [OPEN]`.
//!
//! | floor | what it does |
//! |---|---|
//! | `read-64k`, `read-1m` | reads into a buffer of that size and does not look at the bytes |
//! | `parse` | reads 1 MiB, finds the frames, checks the text, passes it by reference |
//! | `session` | the same with moonwire's protocol core and nothing else |
//! | `poll` | round trips as `read-64k`, with a poll of OPEN connections before each answer |
//! | `luau-call` | no network: calls a Luau function with each text |
//! | `luau-batch` | no network: passes 64 texts at a time, and calls the function from Luau |

use std::hint::black_box;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use common::{Args, Failure, Meter, Report, address, handshake, warm_up};
use moonwire::mlua::{Function, Lua, Table};
use moonwire::proto::{Context, Event, Random, Session, Settings};
use rustix::event::{PollFd, PollFlags, poll};

const MIB: usize = 1024 * 1024;

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let floor = words.next().ok_or("FLOOR is missing")?;
    let args = Args::parse(words)?;
    let report = match (floor.as_str(), args.case.as_str()) {
        ("luau-call" | "luau-batch", "receive") => luau(&floor, &args)?,
        (_, "receive") => receive(&floor, &args)?,
        ("read-64k", "rt") => round_trips(&args, open(&args.url)?, || Ok(()))?,
        ("poll", "rt") => polled(&args)?,
        (floor, case) => return Err(format!("floor {floor} has no case {case}").into()),
    };
    report.print();
    Ok(())
}

/// Makes a masked text frame of less than 64 KiB.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text);
    frame
}

fn header_len(size: usize) -> usize {
    match size {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

fn open(url: &str) -> Result<TcpStream, Failure> {
    let mut tcp = TcpStream::connect(address(url)?.0)?;
    tcp.set_nodelay(true)?;
    tcp.write_all(handshake(url)?.as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        tcp.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(tcp)
}

fn receive(floor: &str, args: &Args) -> Result<Report, Failure> {
    let mut tcp = open(&args.url)?;
    let mut report = None;
    for count in [warm_up(args.count), args.count] {
        tcp.write_all(&frame(format!("prepare {count} {}", args.size).as_bytes()))?;
        let mut ready = [0; 7];
        tcp.read_exact(&mut ready)?;
        let meter = Meter::start();
        tcp.write_all(&frame(b"go"))?;
        let wire = count as usize * (args.size + header_len(args.size));
        let (messages, bytes) = match floor {
            "read-64k" => read(&mut tcp, &mut vec![0; 64 * 1024], wire, count, args)?,
            "read-1m" => read(&mut tcp, &mut vec![0; MIB], wire, count, args)?,
            "parse" => parse(&mut tcp, count)?,
            "session" => session(&mut tcp, count)?,
            _ => return Err(format!("there is no floor {floor}").into()),
        };
        report = Some(meter.stop(messages, bytes));
    }
    report.ok_or_else(|| "nothing was measured".into())
}

fn read(
    tcp: &mut TcpStream,
    buf: &mut [u8],
    wire: usize,
    count: u64,
    args: &Args,
) -> Result<(u64, u64), Failure> {
    let mut got = 0;
    while got < wire {
        match tcp.read(buf)? {
            0 => return Err("it is over".into()),
            n => got += n,
        }
    }
    Ok((count, count * args.size as u64))
}

/// Fills a buffer and passes its bytes to `take`, which returns how many of them it has consumed.
fn pump(
    tcp: &mut TcpStream,
    mut take: impl FnMut(&[u8]) -> Result<usize, Failure>,
    mut over: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let (mut buf, mut end) = (vec![0; 2 * MIB], 0);
    loop {
        let n = tcp.read(&mut buf[end..])?;
        if n == 0 {
            return Err("it is over".into());
        }
        end += n;
        let used = take(&buf[..end])?;
        if over() {
            return Ok(());
        }
        buf.copy_within(used..end, 0);
        end -= used;
    }
}

fn parse(tcp: &mut TcpStream, count: u64) -> Result<(u64, u64), Failure> {
    let got = std::cell::Cell::new((0, 0));
    let take = |input: &[u8]| {
        let (mut messages, mut bytes) = got.get();
        let mut rest = input;
        while let Some((head, len)) = head(rest) {
            let Some(payload) = rest.get(head..head + len) else { break };
            let text = std::str::from_utf8(payload)?;
            messages += 1;
            bytes += black_box(text).len() as u64;
            rest = &rest[head + len..];
        }
        got.set((messages, bytes));
        Ok(input.len() - rest.len())
    };
    pump(tcp, take, || got.get().0 >= count)?;
    Ok(got.get())
}

/// Returns the lengths of the header and of the payload.
fn head(input: &[u8]) -> Option<(usize, usize)> {
    let (&[first, len], rest) = input.split_first_chunk()?;
    if first != 0x81 {
        return None;
    }
    Some(match len {
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        126 => (4, u16::from_be_bytes(*rest.first_chunk()?) as usize),
        len => (2, len as usize),
    })
}

struct Keys;

impl Random for Keys {
    fn key(&mut self) -> [u8; 4] {
        [0x37, 0xFA, 0x21, 0x3D]
    }
}

fn session(tcp: &mut TcpStream, count: u64) -> Result<(u64, u64), Failure> {
    let got = std::cell::Cell::new((0, 0));
    let mut session = Session::opened(Settings::default(), Instant::now());
    let take = |input: &[u8]| {
        let (mut messages, mut bytes) = got.get();
        let mut cx = Context { now: Instant::now(), random: &mut Keys };
        let mut rest = input;
        loop {
            let (used, event) = session.receive(&mut cx, rest);
            rest = &rest[used..];
            match event {
                Some(Event::Text(text)) => {
                    messages += 1;
                    bytes += black_box(text.as_str()).len() as u64;
                }
                Some(other) => return Err(format!("{other:?}").into()),
                None => break,
            }
        }
        got.set((messages, bytes));
        Ok(input.len() - rest.len())
    };
    pump(tcp, take, || got.get().0 >= count)?;
    Ok(got.get())
}

/// Round trips on one of many connections; the list for poll is made only once.
fn polled(args: &Args) -> Result<Report, Failure> {
    let all = (0..args.open).map(|_| open(&args.url)).collect::<Result<Vec<_>, _>>()?;
    let one = all.last().ok_or("none is open")?.try_clone()?;
    let mut fds: Vec<_> = all.iter().map(|tcp| PollFd::new(tcp, PollFlags::IN)).collect();
    round_trips(args, one, || Ok(poll(&mut fds, None).map(drop)?))
}

fn round_trips(
    args: &Args,
    mut tcp: TcpStream,
    mut wait: impl FnMut() -> io::Result<()>,
) -> Result<Report, Failure> {
    let out = frame("r".repeat(args.size).as_bytes());
    let mut answer = vec![0; args.size + header_len(args.size)];
    let mut times = Vec::with_capacity(args.count as usize);
    for _ in 0..warm_up(args.count) {
        tcp.write_all(&out)?;
        tcp.read_exact(&mut answer)?;
    }
    let meter = Meter::start();
    for _ in 0..args.count {
        let start = Instant::now();
        tcp.write_all(&out)?;
        wait()?;
        tcp.read_exact(&mut answer)?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    Ok(meter.stop(args.count, args.count * args.size as u64).with_times(&mut times))
}

const HANDLER: &str = "
local messages, bytes = 0, 0
local function handler(message)
    messages += 1
    bytes += #message
end
local function batch(list)
    for _, message in list do
        handler(message)
    end
end
return handler, batch, function() return messages, bytes end
";

fn luau(floor: &str, args: &Args) -> Result<Report, Failure> {
    let lua = Lua::new();
    lua.sandbox(true)?;
    let (handler, batch, got): (Function, Function, Function) = lua.load(HANDLER).eval()?;
    // The texts are made before the clock starts, and no two are alike. As many as one read
    // brings are used again and again, with other numbers.
    let kept = (MIB / (args.size + 1)).clamp(1, args.count as usize);
    let mut texts: Vec<String> = (0..kept).map(|i| text(i, args.size)).collect();
    let mut report = None;
    let (mut messages, mut bytes) = (0, 0);
    for count in [warm_up(args.count), args.count] {
        let meter = Meter::start();
        let mut left = count as usize;
        while left > 0 {
            let n = left.min(kept);
            if floor == "luau-call" {
                for text in &texts[..n] {
                    handler.call::<()>(text.as_str())?;
                }
            } else {
                for some in texts[..n].chunks(64) {
                    let list: Table = lua.create_sequence_from(some.iter().map(String::as_str))?;
                    batch.call::<()>(list)?;
                }
            }
            left -= n;
            texts[..n].iter_mut().for_each(renumber);
        }
        let (all, length): (u64, u64) = got.call(())?;
        report = Some(meter.stop(all - messages, length - bytes));
        (messages, bytes) = (all, length);
    }
    report.ok_or_else(|| "nothing was measured".into())
}

fn text(number: usize, size: usize) -> String {
    let mut text = format!("{number:012}");
    text.truncate(size);
    text.extend((text.len()..size).map(|i| (b'a' + (i % 26) as u8) as char));
    text
}

/// Changes the first byte; in 90 rounds a text has 90 different values.
fn renumber(text: &mut String) {
    let Some(first) = text.chars().next() else { return };
    let next = if first < '~' { (first as u8 + 1) as char } else { '!' };
    text.replace_range(..1, next.encode_utf8(&mut [0; 1]));
}
