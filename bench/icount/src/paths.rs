//! The paths. Each prepares everything, then does its work once in the counted function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moonwire::luau::{Jit, Line, Options as LuauOptions, Runtime};
use moonwire::proto::http::{Delivery, Request, Timing};
use moonwire::proto::{Context, Event, Random, Session, Settings, Url, sse};
use moonwire::{Ask, Config, Conn, Event as NetEvent, Limits, Options, Reactor, StreamOptions};

use crate::server::Server;
use crate::{Failure, icount_measured};

/// The work that is counted.
pub type Work<'a> = dyn FnMut() + 'a;

pub const NAMES: [&str; 49] = [
    "parse-16x1000",
    "parse-128x1000",
    "parse-cut-1000",
    "parse-cut-15000",
    "message-1m",
    "message-1m-in-place",
    "mask-1m",
    "mask-20x1000",
    "utf8-ascii-1m",
    "utf8-mixed-1m",
    "utf8-mixed-fragments",
    "utf8-mixed-in-place",
    "utf8-ascii-fragments",
    "sse-events-1000",
    "sse-comments-1000",
    "sse-blocks-1000",
    "sse-blocks-crlf-1000",
    "stream-raw-1000",
    "stream-blocks-1000",
    "stream-blocks-length-1000",
    "stream-raw-8x1000",
    "reactor-16x1000",
    "reactor-128x400",
    "reactor-chunks-400",
    "reactor-events-400",
    "luau-16x1000",
    "luau-128x400",
    "luau-step-16x1000",
    "luau-handlers-yield-1000",
    "luau-binary-16x1000",
    "luau-bytes-16x1000",
    "luau-blocks-400",
    "luau-each-of-100",
    "luau-trips-300",
    "luau-binary-trips-300",
    "luau-sends-20x1000",
    "luau-trips-1k-300",
    "luau-sends-64kx8",
    "luau-turns-16x20",
    "luau-gets-100",
    "luau-json-encode-600x100",
    "luau-json-decode-600x100",
    "luau-native-16x1000",
    "luau-native-128x400",
    "luau-native-trips-300",
    "luau-native-bit32",
    "start-empty",
    "start-empty-interpreted",
    "start-json",
];

/// The paths that start the command: the arguments after `run`, and the script.
pub const STARTS: [(&str, &[&str], &str); 3] = [
    ("start-empty", &[], "start-empty.luau"),
    ("start-empty-interpreted", &["--jit", "off"], "start-empty.luau"),
    ("start-json", &[], "start-json.luau"),
];

const MIB: usize = 1024 * 1024;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

pub fn run(path: &str) -> Result<(), Failure> {
    match path {
        "parse-16x1000" => parse(&numbered(1000, 16), 1000),
        "parse-128x1000" => parse(&numbered(1000, 128), 1000),
        "parse-cut-1000" => cut(1000),
        "parse-cut-15000" => cut(15_000),
        "message-1m" => parse(&frame(0x80 | BINARY, &vec![7; MIB]), 1),
        "message-1m-in-place" => in_place(BINARY, &vec![7; MIB]),
        "mask-1m" => send(&vec![7; MIB], 1),
        "mask-20x1000" => send(&[7; 20], 1000),
        "utf8-ascii-1m" => parse(&frame(0x80 | TEXT, &vec![b'a'; MIB]), 1),
        "utf8-mixed-1m" => parse(&frame(0x80 | TEXT, mixed().as_bytes()), 1),
        "utf8-mixed-fragments" => parse(&fragments(mixed().as_bytes(), 4093), 1),
        "utf8-mixed-in-place" => in_place(TEXT, mixed().as_bytes()),
        "utf8-ascii-fragments" => parse(&fragments(&vec![b'a'; MIB], 4093), 1),
        "sse-events-1000" => events(),
        "sse-comments-1000" => comments(),
        "sse-blocks-1000" => blocks(&stream()),
        "sse-blocks-crlf-1000" => blocks(&crlf(&stream())),
        "stream-raw-1000" => exchange(Delivery::Raw, &chunked(&stream()))?,
        "stream-blocks-1000" => exchange(Delivery::Blocks, &chunked(&stream()))?,
        "stream-blocks-length-1000" => exchange(Delivery::Blocks, &with_length(&stream()))?,
        "stream-raw-8x1000" => exchange(Delivery::Raw, &small_chunks(1000))?,
        "reactor-16x1000" => reactor(1000, 16)?,
        "reactor-128x400" => reactor(400, 128)?,
        "reactor-chunks-400" => reactor_stream(Delivery::Raw)?,
        "reactor-events-400" => reactor_stream(Delivery::Events)?,
        "luau-16x1000" => luau(&numbers(1000, 16)?, 1000, COUNTS)?,
        "luau-128x400" => luau(&numbers(400, 128)?, 400, COUNTS)?,
        "luau-step-16x1000" => luau_how(&numbers(1000, 16)?, 1000, COUNTS, How::Step)?,
        "luau-handlers-yield-1000" => luau(&numbers(1000, 16)?, 1000, YIELDS)?,
        "luau-binary-16x1000" => luau(&binaries(b"")?, 1000, COUNTS)?,
        "luau-bytes-16x1000" => luau(&binaries(b"\xFF")?, 1000, COUNTS)?,
        "luau-blocks-400" => luau(&streams(400)?, 400, BLOCKS)?,
        "luau-each-of-100" => luau(&Server::for_each(100, &[], numbered(1, 16))?, 100, EACH)?,
        "luau-trips-300" => luau(&trips(TEXT, 300, 32)?, 300, TRIPS)?,
        "luau-binary-trips-300" => luau(&trips(BINARY, 300, 32)?, 300, TRIPS)?,
        "luau-sends-20x1000" => luau(&numbers(1, 16)?, 1000, SENDS)?,
        "luau-trips-1k-300" => luau(&trips(TEXT, 300, 1024)?, 300, TRIPS)?,
        "luau-sends-64kx8" => luau(&large_sends(8, 64 * 1024)?, 8, LARGE_SENDS)?,
        "luau-turns-16x20" => luau(&turns(16, 20)?, 320, TURNS)?,
        "luau-gets-100" => luau(&numbers(1, 16)?.with_answers()?, 100, GETS)?,
        "luau-json-encode-600x100" => luau(&numbers(1, 16)?, 100, JSON_ENCODE)?,
        "luau-json-decode-600x100" => luau(&numbers(1, 16)?, 100, JSON_DECODE)?,
        "luau-native-16x1000" => luau_how(&numbers(1000, 16)?, 1000, COUNTS, How::Native)?,
        "luau-native-128x400" => luau_how(&numbers(400, 128)?, 400, COUNTS, How::Native)?,
        "luau-native-trips-300" => luau_how(&trips(TEXT, 300, 32)?, 300, TRIPS, How::Native)?,
        "luau-native-bit32" => luau_how(&numbers(1, 16)?, 10_000, BIT32, How::Asked)?,
        _ => return Err(format!("there is no path {path}").into()),
    }
    Ok(())
}

struct Keys;

impl Random for Keys {
    fn key(&mut self) -> [u8; 4] {
        [0x37, 0xFA, 0x21, 0x3D]
    }
}

/// Makes a frame of a server; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Makes text messages, no two alike.
fn numbered(count: usize, size: usize) -> Vec<u8> {
    let text = |i| format!("{i:0>12}{}", "x".repeat(size - 12));
    (0..count).flat_map(|i| frame(0x80 | TEXT, text(i).as_bytes())).collect()
}

/// A text of 1 MiB in four scripts.
fn mixed() -> String {
    let text = "plain text, größer, Привет, 日本語, 🙂 ".repeat(MIB / 40);
    let end = (0..=MIB.min(text.len())).rev().find(|i| text.is_char_boundary(*i));
    text[..end.unwrap_or(0)].to_owned()
}

/// Splits one message into frames that cut characters.
fn fragments(text: &[u8], size: usize) -> Vec<u8> {
    let pieces: Vec<&[u8]> = text.chunks(size).collect();
    let last = pieces.len() - 1;
    let first = |i: usize| if i == last { 0x80 } else { 0 } | if i == 0 { TEXT } else { 0 };
    pieces.iter().enumerate().flat_map(|(i, piece)| frame(first(i), piece)).collect()
}

fn session() -> Session {
    Session::opened(Settings::default(), Instant::now())
}

fn parse(input: &[u8], messages: usize) {
    let (mut session, now) = (session(), Instant::now());
    let mut got = 0;
    icount_measured(&mut || {
        let mut cx = Context { now, random: &mut Keys };
        let mut rest = input;
        loop {
            let (used, event) = session.receive(&mut cx, rest);
            rest = &rest[used..];
            match event {
                Some(Event::Text(_) | Event::Binary(_)) => got += 1,
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
    });
    assert_eq!(got, messages);
}

/// Texts of 1 MiB in total, in reads of 64 KiB. The bytes of a message that a read has cut are
/// copied, and put before the next read.
fn cut(size: usize) {
    let count = MIB / size;
    let input = numbered(count, size);
    let (mut session, now) = (session(), Instant::now());
    let (mut tail, mut buf) = (Vec::new(), vec![0; size + 14]);
    let (mut at, mut end, mut got) = (0, 0, 0);
    icount_measured(&mut || {
        let mut cx = Context { now, random: &mut Keys };
        while end < input.len() {
            end = input.len().min(end + 64 * 1024);
            loop {
                let (used, event) = session.receive(&mut cx, &input[at..end]);
                at += used;
                match event {
                    Some(Event::Text(text)) => got += usize::from(text.as_str().len() == size),
                    Some(other) => panic!("{other:?}"),
                    None => break,
                }
            }
            tail.clear();
            tail.extend_from_slice(&input[at..end]);
            buf[..tail.len()].copy_from_slice(std::hint::black_box(&tail));
        }
    });
    assert_eq!(got, count);
}

/// A large frame: the first read brings its header, the others go directly to its place.
fn in_place(opcode: u8, payload: &[u8]) {
    let input = frame(0x80 | opcode, payload);
    let (mut session, now) = (session(), Instant::now());
    let mut got = 0;
    icount_measured(&mut || {
        let mut cx = Context { now, random: &mut Keys };
        let (mut at, event) = session.receive(&mut cx, &input[..64 * 1024]);
        assert!(event.is_none());
        while let Some(space) = session.space() {
            let n = space.want.min(256 * 1024).min(input.len() - at);
            space.buf.extend_from_slice(&input[at..at + n]);
            at += n;
            match session.filled(&mut cx, n) {
                Some(Event::Binary(data)) => got = data.len(),
                Some(Event::Text(text)) => got = text.as_str().len(),
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        }
    });
    assert_eq!(got, payload.len());
}

fn send(payload: &[u8], messages: usize) {
    let (mut session, now) = (session(), Instant::now());
    icount_measured(&mut || {
        let mut cx = Context { now, random: &mut Keys };
        for _ in 0..messages {
            session.send_binary(&mut cx, payload).expect("it is open, and there is room");
        }
        let n = session.outgoing().len();
        session.sent(now, n);
    });
    assert_eq!(session.buffered(), 0);
}

/// 1,000 events of at least 100 bytes.
fn stream() -> Vec<u8> {
    stream_of(1000)
}

fn stream_of(events: usize) -> Vec<u8> {
    let event = |i| format!("event: tick\nid: {i}\ndata: {i:0>40}\ndata: {}\n\n", "x".repeat(40));
    (0..events).map(event).collect::<String>().into_bytes()
}

fn events() {
    let (input, mut parser) = (stream(), sse::Events::new(&Limits::default()));
    let mut got = 0;
    icount_measured(&mut || {
        let mut rest = &input[..];
        while let Ok((used, Some(_))) = parser.receive(rest) {
            rest = &rest[used..];
            got += 1;
        }
    });
    assert_eq!(got, 1000);
}

/// The same stream with a comment before every tenth event; the parser gets all of it at once.
fn comments() {
    let text = String::from_utf8(stream()).expect("it is ASCII");
    let alive = |i| if i % 10 == 0 { ": alive\n\n" } else { "" };
    let with = |(i, event): (usize, _)| format!("{}{event}", alive(i));
    let input: String = text.split_inclusive("\n\n").enumerate().map(with).collect();
    let (mut parser, mut got) = (sse::Events::new(&Limits::default()), 0);
    icount_measured(&mut || {
        let mut rest = input.as_bytes();
        while let Ok((used, Some(_))) = parser.receive_with_comments(rest) {
            rest = &rest[used..];
            got += 1;
        }
    });
    assert_eq!(got, 1100);
}

fn crlf(stream: &[u8]) -> Vec<u8> {
    stream
        .split_inclusive(|&b| b == b'\n')
        .flat_map(|l| [&l[..l.len() - 1], b"\r\n"].concat())
        .collect()
}

fn blocks(input: &[u8]) {
    let mut parser = sse::Blocks::new(&Limits::default());
    let mut got = 0;
    icount_measured(&mut || {
        let mut rest = input;
        while let Ok((used, Some(_))) = parser.receive(rest) {
            rest = &rest[used..];
            got += 1;
        }
    });
    assert_eq!(got, 1000);
}

/// A response whose body has each event in its own chunk.
fn chunked(stream: &[u8]) -> Vec<u8> {
    let mut response = head("Transfer-Encoding: chunked");
    let mut parser = sse::Blocks::new(&Limits::default());
    let mut rest = stream;
    while let Ok((used, Some(event))) = parser.receive(rest) {
        let chunk = [format!("{used:x}\r\n").as_bytes(), &event, b"\r\n"].concat();
        response.extend_from_slice(&chunk);
        rest = &rest[used..];
    }
    response
}

/// A response whose body has chunks of 8 bytes.
fn small_chunks(count: usize) -> Vec<u8> {
    let chunks = (0..count).map(|i| format!("8\r\n{i:0>8}\r\n"));
    head("Transfer-Encoding: chunked")
        .into_iter()
        .chain(chunks.collect::<String>().into_bytes())
        .collect()
}

fn with_length(stream: &[u8]) -> Vec<u8> {
    // One byte is missing, so that the body does not end with the last event.
    [head(&format!("Content-Length: {}", stream.len() + 1)), stream.to_vec()].concat()
}

fn head(length: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{length}\r\n\r\n").into_bytes()
}

/// Receives the body of a response by `Session::receive`, with an idle limit.
fn exchange(delivery: Delivery, response: &[u8]) -> Result<(), Failure> {
    let request = Request::new("GET", Url::parse_http("http://bench.test/")?)?;
    let timing = Timing { idle: Some(Duration::from_secs(60)), ..Timing::default() };
    let mut session = Session::stream(request, delivery, &Settings::default(), timing);
    let now = Instant::now();
    let (used, event) = session.receive(&mut Context { now, random: &mut Keys }, response);
    assert!(matches!(event, Some(Event::Response(_))), "{event:?}");
    let mut got = 0;
    icount_measured(&mut || {
        let mut cx = Context { now, random: &mut Keys };
        let mut rest = &response[used..];
        while let (used, Some(event)) = session.receive(&mut cx, rest) {
            assert!(matches!(event, Event::Chunk(_)), "{event:?}");
            rest = &rest[used..];
            got += 1;
        }
    });
    assert_eq!(got, 1000);
    Ok(())
}

fn numbers(count: usize, size: usize) -> Result<Server, Failure> {
    Server::start(&[], numbered(count, size))
}

/// A server with 1,000 binary messages of 16 bytes.
fn binaries(end: &[u8]) -> Result<Server, Failure> {
    let bytes = |i| [format!("{i:0>0$}", 16 - end.len()).as_bytes(), end].concat();
    Server::start(&[], (0..1000).flat_map(|i| frame(0x80 | BINARY, &bytes(i))).collect())
}

fn trips(opcode: u8, count: usize, size: usize) -> Result<Server, Failure> {
    let message = |i| frame(0x80 | opcode, format!("{i:0>size$}").as_bytes());
    Server::one_by_one(1, (0..count).map(message).collect())
}

/// A server for this many connections, each of which gets `each` messages.
fn turns(connections: usize, each: usize) -> Result<Server, Failure> {
    let message = |i| frame(0x80 | TEXT, format!("{i:0>16}").as_bytes());
    Server::one_by_one(connections, (0..connections * each).map(message).collect())
}

/// A server that sends a message, and again after `count` messages of `size` bytes.
fn large_sends(count: usize, size: usize) -> Result<Server, Failure> {
    // The header and the mask of a frame of at least 64 KiB.
    Server::behind(numbered(1, 16), count * (size + 14))
}

/// A server that sends events, each in its own chunk.
fn streams(count: usize) -> Result<Server, Failure> {
    let head = head("Transfer-Encoding: chunked");
    let body = chunked(&stream_of(count)).split_off(head.len());
    Server::start(&head, body)
}

/// All messages are in the socket before the first read, so that the reads are always the same.
fn reactor(count: usize, size: usize) -> Result<(), Failure> {
    let server = numbers(count, size)?;
    let ask = Options::new(&server.url())?;
    let opens = |event: &NetEvent<'_>| matches!(event, NetEvent::Opened(_));
    told(&server, ask, count, opens, |event| matches!(event, NetEvent::Text(_)))
}

/// The same for the pieces of a body.
fn reactor_stream(delivery: Delivery) -> Result<(), Failure> {
    let (count, server) = (400, streams(400)?);
    let ask = StreamOptions::new("GET", &server.http_url())?.delivery(delivery);
    let opens = |event: &NetEvent<'_>| matches!(event, NetEvent::Response(_));
    told(&server, ask, count, opens, |event| {
        matches!(event, NetEvent::Chunk(_) | NetEvent::ServerSent(_))
    })
}

/// Opens a connection, then receives `count` events of it.
fn told(
    server: &Server,
    ask: impl Into<Ask>,
    count: usize,
    opens: impl Fn(&NetEvent<'_>) -> bool,
    counts: impl Fn(&NetEvent<'_>) -> bool,
) -> Result<(), Failure> {
    let mut reactor = Reactor::new(Config::default())?;
    reactor.open(ask)?;
    let (mut open, mut got) = (false, 0);
    while !open {
        reactor.turn(None, &mut |_: &mut Conn<'_>, event: NetEvent<'_>| open |= opens(&event))?;
    }
    server.go();
    icount_measured(&mut || {
        while got < count {
            let mut sink = |_: &mut Conn<'_>, event: NetEvent<'_>| {
                got += usize::from(counts(&event));
            };
            reactor.turn(None, &mut sink).expect("it can wait");
        }
    });
    assert_eq!(got, count);
    Ok(())
}

const COUNTS: &str = "
local url, count = ...
local ws = WebSocket.connect(url)
local got, bytes = 0, 0
ws.OnMessage:Connect(function(message)
    got += 1
    bytes += #message
    if got == count then
        told()
    end
end)
told()
";

const YIELDS: &str = "
local url, count = ...
local ws = WebSocket.connect(url)
local got = 0
ws.OnMessage:Connect(function(message)
    task.defer(coroutine.running())
    coroutine.yield()
    got += 1
    if got == count then
        told()
    end
end)
told()
";

const BLOCKS: &str = "
local _, count, url = ...
local HttpService = game:GetService('HttpService')
local client = HttpService:CreateWebStreamClient(Enum.WebStreamClientType.SSE, { Url = url })
local got, bytes = 0, 0
client.MessageReceived:Connect(function(message)
    got += 1
    bytes += #message
    if got == count then
        told()
    end
end)
client.Opened:Wait()
told()
";

const EACH: &str = "
local url, count = ...
local got, all = 0, {}
for i = 1, count do
    local ws = WebSocket.connect(url)
    ws.OnMessage:Connect(function(message)
        got += 1
        if got == count then
            told()
        end
    end)
    all[i] = ws
end
told()
";

const TRIPS: &str = "
local url, count = ...
local ws = WebSocket.connect(url)
local got = 0
ws.OnMessage:Connect(function(message)
    got += 1
    if got == count then
        told()
    else
        ws:Send(message)
    end
end)
told()
";

const SENDS: &str = "
local url, count = ...
local ws = WebSocket.connect(url)
ws.OnMessage:Connect(function(message)
    for i = 1, count do
        ws:Send('a text of 20 bytes..')
    end
    told()
end)
told()
";

const LARGE_SENDS: &str = "
local url, count = ...
local ws = WebSocket.connect(url)
local text = string.rep('a text of 16 byt', 4096)
local sent = false
ws.OnMessage:Connect(function(message)
    if sent then
        told()
        return
    end
    sent = true
    for i = 1, count do
        ws:Send(text)
    end
end)
told()
";

const TURNS: &str = "
local url, count = ...
local got, all = 0, {}
for i = 1, 16 do
    local ws = WebSocket.connect(url)
    ws.OnMessage:Connect(function(message)
        got += 1
        ws:Send('k')
        if got == count then
            told()
        end
    end)
    all[i] = ws
end
told()
";

const GETS: &str = "
local url, count, http = ...
local HttpService = game:GetService('HttpService')
local ws = WebSocket.connect(url)
-- The connection that is kept is opened before.
local bytes = #HttpService:GetAsync(http)
ws.OnMessage:Connect(function()
    for i = 1, count do
        bytes += #HttpService:GetAsync(http)
    end
    told()
end)
told()
";

/// An object of about 600 bytes.
const JSON_ENCODE: &str = "
local url, count = ...
local HttpService = game:GetService('HttpService')
local ws = WebSocket.connect(url)
local items = {}
for i = 1, 6 do
    items[i] = { id = i, user = 'margaret', action = 'gather', x = i * 1.25, y = -i, ok = i % 2 == 0, tags = { 'one', 'two' } }
end
local value = { seq = 1, note = 'bring more wood and stone', items = items }
ws.OnMessage:Connect(function()
    local bytes = 0
    for i = 1, count do
        value.seq = i
        bytes += #HttpService:JSONEncode(value)
    end
    assert(bytes > 500 * count and bytes < 700 * count, bytes)
    told()
end)
told()
";

const JSON_DECODE: &str = "
local url, count = ...
local HttpService = game:GetService('HttpService')
local ws = WebSocket.connect(url)
local item = '{\"id\":%d,\"user\":\"margaret\",\"action\":\"gather\",\"x\":%d.25,\"y\":-1,\"ok\":true,\"tags\":[\"one\",\"two\"]}'
local texts = {}
for i = 1, count do
    local items = {}
    for j = 1, 6 do
        items[j] = string.format(item, i, j)
    end
    texts[i] = `\\{\"seq\":{i},\"items\":[{table.concat(items, ',')}]}`
end
assert(#texts[1] > 500 and #texts[count] < 700)
ws.OnMessage:Connect(function()
    local items = 0
    for i, text in texts do
        items += #HttpService:JSONDecode(text).items
    end
    assert(items == 6 * count)
    told()
end)
told()
";

const BIT32: &str = "--!native
local url, count = ...
local ws = WebSocket.connect(url)
ws.OnMessage:Connect(function()
    local x = 2463534242
    for i = 1, count do
        x = bit32.bxor(x, bit32.lshift(x, 13))
        x = bit32.bxor(x, bit32.rshift(x, 17))
        x = bit32.bxor(x, bit32.lshift(x, 5))
    end
    assert(x ~= 0)
    told()
end)
told()
";

/// How the runtime is driven, and what is compiled to native code.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Run,
    Step,
    /// All code is compiled, the prelude's too.
    Native,
    /// A script that asks for it is compiled, as in the command.
    Asked,
}

fn luau(server: &Server, count: usize, script: &str) -> Result<(), Failure> {
    luau_how(server, count, script, How::Run)
}

/// The script calls `told` when it is ready, and again when it has received everything.
fn luau_how(server: &Server, count: usize, script: &str, how: How) -> Result<(), Failure> {
    let options = LuauOptions::new(|line: Line<'_>| eprintln!("{line}"));
    let options = options.jit(match how {
        How::Run | How::Step => Jit::Off,
        How::Native => Jit::All,
        How::Asked => Jit::On,
    });
    // Under callgrind any work takes long enough for a takeover, and the counts would vary.
    let mut runtime = Runtime::new(options.stand_in(false))?;
    let (ready, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (its, last, stopper) = (Arc::clone(&ready), Arc::clone(&done), runtime.stopper());
    let lua = runtime.lua();
    let tell = lua.create_function(move |_, ()| {
        if its.swap(true, Ordering::Relaxed) {
            last.store(true, Ordering::Relaxed);
            // This ends `run`, and waits for nothing.
            stopper.stop(1001, Duration::ZERO);
        }
        Ok(())
    })?;
    lua.globals().set("told", tell)?;
    runtime.spawn("icount", script, (server.url(), count, server.http_url()))?;
    let long = Duration::from_secs(3600);
    while !ready.load(Ordering::Relaxed) {
        runtime.step(long)?;
    }
    // The rest of the opening is done, and no timer is near.
    for _ in 0..3 {
        runtime.step(long)?;
    }
    // The collector starts each count in the same state.
    runtime.lua().gc_collect()?;
    runtime.lua().gc_collect()?;
    server.go();
    icount_measured(&mut || {
        if how == How::Step {
            while !done.load(Ordering::Relaxed) {
                runtime.step(long).expect("it runs");
            }
        } else {
            runtime.run().expect("it runs");
        }
    });
    assert!(done.load(Ordering::Relaxed) && !runtime.has_raised());
    Ok(())
}
