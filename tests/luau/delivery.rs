//! The runtime passes the messages of a turn to Luau in groups, and one thread calls many handlers
//! in a row. No script can notice that. The tests compare the output of a program over all ways in
//! which its messages can arrive, and test the edges of groups one by one.

use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::raw::{LONG, Peer, close, frame, serve, text};
use super::streams;
use super::support::*;

// Drawing. ---------------------------------------------------------------------------------------

/// A generator of random numbers that are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// The length of a message: mostly short, sometimes at an edge, and seldom long.
fn size(dice: &mut Dice) -> usize {
    match dice.roll(100) {
        0..70 => 2 + dice.roll(20),
        70..96 => [0, 0, 1, 125, 126, 127, 255, 256, 257][dice.roll(9)],
        96..99 => 4096,
        _ => 70_000,
    }
}

/// The payload of a message, and whether it is text. The first byte distinguishes it from its
/// neighbours.
fn payload(dice: &mut Dice, i: usize) -> (Vec<u8>, bool) {
    let n = size(dice);
    let letter = b'a' + (i % 26) as u8;
    match dice.roll(8) {
        0 => {
            // The payload ends with a complete character.
            let unit = ["ä", "€", "🙂", "ß-"][i % 4];
            (unit.repeat(n / unit.len()).into_bytes(), true)
        }
        1 => (vec![letter; n], false),
        2 => ((0..n).map(|k| (k * 31 + i) as u8).collect(), false),
        // The payload ends or begins within a character.
        3 if n > 1 => ([&vec![letter; n - 2][..], &b"\xF0\x9F"[..]].concat(), false),
        4 if n > 1 => ([&b"\x99\x82"[..], &vec![letter; n - 2][..]].concat(), false),
        _ => (vec![letter; n], true),
    }
}

/// A message in one frame or in two. Sometimes an unsolicited pong follows it.
fn message(dice: &mut Dice, i: usize) -> Vec<u8> {
    let (bytes, is_text) = payload(dice, i);
    let opcode = if is_text { 1 } else { 2 };
    let mut all = match dice.roll(12) {
        0 => {
            let (a, b) = bytes.split_at(dice.roll(bytes.len() + 1));
            [frame(opcode, a), frame(0x80, b)].concat()
        }
        _ => frame(0x80 | opcode, &bytes),
    };
    if dice.roll(30) == 0 {
        all.extend(frame(0x8A, b"unasked"));
    }
    all
}

/// The number of messages of a program: few, about as many as a group has, or several groups.
fn count(dice: &mut Dice) -> usize {
    match dice.roll(8) {
        0 => 1 + dice.roll(3),
        1..5 => 5 + dice.roll(30),
        5 => 62 + dice.roll(6),
        6 => 126 + dice.roll(6),
        _ => 150 + dice.roll(100),
    }
}

// Ways. ------------------------------------------------------------------------------------------

/// The ways in which the messages of a program arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// The server sends each message when the handler of the previous one has begun.
    OneByOne,
    /// One write has the answer to the handshake and all messages.
    Glued,
    /// One write after the handshake has all messages.
    AtOnce,
    /// Each write ends at any byte.
    Pieces,
    /// First some messages, and the rest while the handler of the first one computes.
    WhileItComputes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drive {
    Run,
    /// Steps of this duration.
    Step(Duration),
}

/// What the script reports to the server by the functions `ack` and `listen`.
#[derive(Default)]
struct Gate {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    acks: usize,
    listeners: i64,
    ever: bool,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
        self.changed.notify_all();
    }

    fn acks(&self) -> usize {
        self.counts.lock().unwrap().acks
    }

    /// Waits until the script has called `ack` more than `acks` times, if it has a listener. The
    /// wait is short, because it affects only which messages share a turn.
    fn wait(&self, acks: usize) {
        let reported = self.counts.lock().unwrap();
        let short = Duration::from_millis(5);
        let waits = |reported: &mut Counts| {
            reported.acks == acks && (reported.listeners > 0 || !reported.ever)
        };
        drop(self.changed.wait_timeout_while(reported, short, waits).unwrap());
    }

    /// Waits for the first listener.
    fn wait_for_listener(&self) {
        let reported = self.counts.lock().unwrap();
        drop(self.changed.wait_timeout_while(reported, LONG, |reported| !reported.ever).unwrap());
    }
}

/// Writes to the client. It may have closed the socket, so an error is ignored.
fn write(peer: &mut Peer, bytes: &[u8]) {
    let _ = std::io::Write::write_all(&mut peer.stream, bytes);
}

/// Plays the server of one program; returns what it received.
fn play(listener: &TcpListener, way: Write, seed: u64, gate: &Gate, seen: &Flag) -> Vec<String> {
    let mut dice = Dice(seed);
    let count = count(&mut dice);
    let messages: Vec<_> = (0..count).map(|i| message(&mut dice, i)).collect();
    let end = close(1000 + 3001 * (seed as u16 % 2), "");
    let late = seed % 8 == 1;
    let mut first = Vec::new();
    if way == Write::Glued {
        first = messages.concat();
        if !late {
            first.extend(&end);
        }
    }
    let mut other = (seed % 4 == 2).then(|| Peer::open(listener));
    let mut peer = Peer::open_with(listener, "", &first);
    let mut received = Vec::new();
    match way {
        Write::OneByOne => {
            for (i, message) in messages.iter().enumerate() {
                if let Some(other) = &mut other {
                    write(other, &text(&i.to_string()));
                }
                let acks = gate.acks();
                write(&mut peer, message);
                gate.wait(acks);
            }
        }
        Write::AtOnce | Write::Glued => {
            if way == Write::AtOnce {
                let mut all = messages.concat();
                if !late {
                    all.extend(&end);
                }
                write(&mut peer, &all);
            }
            if let Some(other) = &mut other {
                let all = (0..count).flat_map(|i| text(&i.to_string()));
                write(other, &all.collect::<Vec<_>>());
            }
        }
        Write::Pieces => {
            // A piece may end within a frame, and may have parts of two frames.
            let mut rest = &messages.concat()[..];
            while !rest.is_empty() {
                let most = [3, 100, 2000, 100_000][dice.roll(4)];
                let (piece, left) = rest.split_at((1 + dice.roll(most)).min(rest.len()));
                write(&mut peer, piece);
                rest = left;
            }
            if let Some(other) = &mut other {
                (0..count).for_each(|i| write(other, &text(&i.to_string())));
            }
        }
        Write::WhileItComputes => {
            let (some, rest) = messages.split_at(count.min(1 + dice.roll(70)));
            let acks = gate.acks();
            write(&mut peer, &some.concat());
            gate.wait(acks);
            write(&mut peer, &[&rest.concat()[..], &frame(0x89, b"there?")].concat());
            if let Some(other) = &mut other {
                let all = (0..count).flat_map(|i| text(&i.to_string()));
                write(other, &all.collect::<Vec<_>>());
            }
            loop {
                match peer.received() {
                    pong if pong == "pong there?" => break,
                    reported if reported == "EOF" || reported.starts_with("close") => {
                        received.push(reported);
                        break;
                    }
                    reported => received.push(reported),
                }
            }
            seen.set();
        }
    }
    if late {
        gate.wait_for_listener();
    }
    if late || !matches!(way, Write::AtOnce | Write::Glued) {
        write(&mut peer, &end);
    }
    if let Some(other) = &mut other {
        write(other, &close(1000, ""));
    }
    if !received.iter().any(|reported| reported.starts_with("close")) {
        received.extend(peer.rest());
    }
    if let Some(mut other) = other {
        other.rest();
    }
    received
}

/// The output of one program, and what its server has received.
#[derive(Debug, PartialEq, Eq)]
struct Log {
    /// Lines in the order of the messages.
    said: Vec<String>,
    /// Lines of the other connection.
    other: Vec<String>,
    /// Lines without a fixed order.
    late: Vec<String>,
    received: Vec<String>,
}

impl Log {
    fn new(lines: Vec<String>, received: Vec<String>) -> Log {
        let is_late = |line: &String| line.starts_with('~');
        let is_other = |line: &String| line.starts_with("b ") || line.starts_with("error: b ");
        let (mut late, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_late);
        let (other, said) = lines.into_iter().partition(is_other);
        late.sort();
        Log { said, other, late, received }
    }

    /// Checks what must hold for each run.
    #[track_caller]
    fn check(&self, what: &str) {
        for line in self.said.iter().chain(&self.other) {
            let bad = line.starts_with("AFTER THE END")
                || line.starts_with("known before ") && line != "known before nil";
            assert!(!bad, "{what}: {line} in {:#?}", self.said);
        }
    }
}

/// A runtime with the functions that delivery.luau calls.
fn runtime(mode: Mode, time_limit: bool, stand_in: bool) -> (Rt, Arc<Gate>) {
    let rt = streams::with(mode, |mut options| {
        if stand_in {
            options.config().limits.stand_in = Duration::from_millis(1);
            options = options.stand_in(true);
        }
        options.time_limit(time_limit.then_some(LONG))
    });
    let gate = Arc::new(Gate::default());
    let lua = rt.runtime.lua();
    let its = Arc::clone(&gate);
    let ack = lua.create_function(move |_, ()| {
        its.change(|reported| reported.acks += 1);
        Ok(())
    });
    lua.globals().set("ack", ack.unwrap()).unwrap();
    let its = Arc::clone(&gate);
    let listen = lua.create_function(move |_, by: i64| {
        its.change(|reported| {
            reported.listeners += by;
            reported.ever = true;
        });
        Ok(())
    });
    lua.globals().set("listen", listen.unwrap()).unwrap();
    let compute = if stand_in {
        "function compute()
            local late = os.clock() + 15
            while not seen() do
                if os.clock() > late then error('the server sees nothing') end
            end
        end"
    } else {
        "function compute() end"
    };
    lua.load(compute).exec().unwrap();
    (rt, gate)
}

const PROGRAM: &str = include_str!("delivery.luau");

/// Runs all spawned scripts to their end.
fn drive(rt: &mut Rt, drive: Drive) {
    match drive {
        Drive::Run => rt.run(),
        Drive::Step(budget) => {
            let until = Instant::now() + LONG;
            while rt.runtime.step(budget).unwrap().is_alive() {
                assert!(Instant::now() < until, "so far: {:#?}", rt.said.all());
                std::thread::yield_now();
            }
            rt.runtime.finish();
        }
    }
}

/// Runs the programs of these seeds, up to ten in one VM, and returns their logs.
fn logs(seeds: &[u64], mode: Mode, way: Write, how: Drive, time_limit: bool) -> Vec<Log> {
    let stand_in = way == Write::WhileItComputes;
    let mut all = Vec::new();
    for seeds in seeds.chunks(10) {
        let (mut rt, gate) = runtime(mode, time_limit, stand_in);
        for &seed in seeds {
            gate.change(|counts| *counts = Counts::default());
            let (its, flag) = (Arc::clone(&gate), Flag::default());
            let seen = flag.clone();
            let server = serve(move |listener| play(listener, way, seed, &its, &seen));
            rt.flag("seen", &flag);
            let other = (seed % 4 == 2).then(|| server.url());
            let count = count(&mut Dice(seed));
            rt.spawn(PROGRAM, ("WebSocket", server.url(), other, seed, count));
            drive(&mut rt, how);
            let log = Log::new(rt.said.take(), server.end());
            log.check(&format!("seed {seed} {mode:?} {way:?} {how:?}"));
            all.push(log);
        }
        if stand_in {
            assert!(rt.runtime.stood_in()[0] > 0, "the stand-in never drove the reactor");
        }
    }
    all
}

const SEEDS: u64 = 120;

/// The output of each program if every message has its own turn.
fn one_by_one() -> &'static [Log] {
    static LOGS: OnceLock<Vec<Log>> = OnceLock::new();
    LOGS.get_or_init(|| {
        let seeds: Vec<u64> = (0..SEEDS).collect();
        logs(&seeds, Mode::Inline, Write::OneByOne, Drive::Run, false)
    })
}

/// Checks that every `part`th program has the same output if its messages arrive in another way.
#[track_caller]
fn same(part: u64, mode: Mode, way: Write, how: Drive, time_limit: bool) {
    let seeds: Vec<u64> = (0..SEEDS).filter(|seed| seed % part == part / 2).collect();
    for (seed, got) in seeds.iter().zip(logs(&seeds, mode, way, how, time_limit)) {
        let want = &one_by_one()[*seed as usize];
        if got == *want {
            continue;
        }
        let at = got.said.iter().zip(&want.said).take_while(|(a, b)| a == b).count();
        let around = |lines: &[String]| {
            lines.iter().take(at + 4).skip(at.saturating_sub(6)).cloned().collect::<Vec<_>>()
        };
        panic!(
            "seed {seed} {mode:?} {way:?} {how:?}: at line {at} it says {:#?}, one by one {:#?}; \
             besides {:?} {:?} {:?}, one by one {:?} {:?} {:?}",
            around(&got.said),
            around(&want.said),
            got.other,
            got.late,
            got.received,
            want.other,
            want.late,
            want.received,
        );
    }
}

const AT_ALL: Drive = Drive::Step(Duration::ZERO);
const LONG_STEPS: Drive = Drive::Step(Duration::from_secs(1));

#[test]
fn a_program_says_the_same_if_all_comes_with_the_answer() {
    same(1, Mode::Inline, Write::Glued, Drive::Run, false);
}

#[test]
fn a_program_says_the_same_if_all_comes_at_once() {
    same(1, Mode::Inline, Write::AtOnce, Drive::Run, false);
}

#[test]
fn a_program_says_the_same_if_it_comes_in_pieces() {
    same(3, Mode::Inline, Write::Pieces, Drive::Run, false);
}

#[test]
fn a_program_says_the_same_with_the_poll_thread() {
    same(2, Mode::Threaded, Write::AtOnce, Drive::Run, false);
    same(4, Mode::Threaded, Write::OneByOne, Drive::Run, false);
}

// Each step calls one handler.
#[test]
fn a_program_says_the_same_in_steps_without_time() {
    same(2, Mode::Inline, Write::AtOnce, AT_ALL, false);
    same(5, Mode::Threaded, Write::Glued, AT_ALL, false);
}

#[test]
fn a_program_says_the_same_in_long_steps() {
    same(2, Mode::Inline, Write::AtOnce, LONG_STEPS, false);
    same(6, Mode::Threaded, Write::AtOnce, LONG_STEPS, false);
}

#[test]
fn a_program_says_the_same_under_a_time_limit() {
    same(2, Mode::Inline, Write::AtOnce, Drive::Run, true);
    same(4, Mode::Inline, Write::OneByOne, Drive::Run, true);
    same(7, Mode::Inline, Write::AtOnce, AT_ALL, true);
}

#[test]
fn a_program_says_the_same_if_it_comes_while_it_computes() {
    same(4, Mode::Inline, Write::WhileItComputes, Drive::Run, false);
}

// Streams. ---------------------------------------------------------------------------------------

/// The messages of a stream, one by one, and the bytes of its end.
fn stream(kind: &str, dice: &mut Dice, count: usize) -> (Vec<Vec<u8>>, &'static [u8]) {
    let one = |dice: &mut Dice, i: usize| {
        let (mut bytes, _) = payload(dice, i);
        // A read may cut a chunk of a stream anywhere, so all of them together stay below one read.
        bytes.truncate(100);
        match kind {
            "SSE" => {
                bytes.retain(|byte| !matches!(byte, b'\n' | b'\r'));
                [b"data: ", &bytes[..], b"\n\n"].concat()
            }
            "RawStream" => {
                bytes.push(b'.');
                [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
            }
            _ => message(dice, i),
        }
    };
    let all = (0..count).map(|i| one(dice, i)).collect();
    let end: &[u8] = match kind {
        "SSE" => b"",
        "RawStream" => b"0\r\n\r\n",
        _ => &[0x88, 2, 0x03, 0xE8],
    };
    (all, end)
}

fn stream_logs(mode: Mode, at_once: bool, how: Drive, seeds: std::ops::Range<u64>) -> Vec<Log> {
    let all = seeds.map(|seed| {
        let (mut rt, gate) = runtime(mode, false, false);
        let kind = ["SSE", "RawStream", "Client"][seed as usize % 3];
        let count = count(&mut Dice(seed)).min(130);
        let its = Arc::clone(&gate);
        let server = serve(move |listener| {
            let (messages, end) = stream(kind, &mut Dice(seed), count);
            let mut peer = Peer::asked(listener);
            let head = match kind {
                "SSE" => "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n".to_owned(),
                "RawStream" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                _ => peer.answer(""),
            };
            if at_once {
                write(&mut peer, &[head.as_bytes(), &messages.concat(), end].concat());
            } else {
                write(&mut peer, head.as_bytes());
                for message in messages {
                    let acks = its.acks();
                    write(&mut peer, &message);
                    its.wait(acks);
                }
                write(&mut peer, end);
            }
            // The client may have closed the socket before it read all bytes.
            let _ = peer.stream.shutdown(std::net::Shutdown::Write);
            peer.next_is_eof();
        });
        let url = match kind {
            "Client" => server.url(),
            _ => server.url().replacen("ws", "http", 1),
        };
        rt.spawn(PROGRAM, (kind, url, None::<String>, seed, count));
        drive(&mut rt, how);
        server.end();
        let log = Log::new(rt.said.take(), Vec::new());
        log.check(&format!("seed {seed} {kind} {mode:?} at once: {at_once} {how:?}"));
        log
    });
    all.collect()
}

#[test]
fn a_program_of_a_stream_says_the_same_however_it_comes() {
    const SEEDS: std::ops::Range<u64> = 1000..1036;
    let want = stream_logs(Mode::Inline, false, Drive::Run, SEEDS);
    for (mode, at_once, how) in [
        (Mode::Inline, true, Drive::Run),
        (Mode::Threaded, true, Drive::Run),
        (Mode::Inline, true, AT_ALL),
        (Mode::Inline, true, LONG_STEPS),
        (Mode::Threaded, false, Drive::Run),
    ] {
        let got = stream_logs(mode, at_once, how, SEEDS);
        for (seed, (got, want)) in SEEDS.zip(got.iter().zip(&want)) {
            assert_eq!(got, want, "seed {seed} {mode:?} at once: {at_once} {how:?}");
        }
    }
}

// One rule each. ---------------------------------------------------------------------------------

/// Runs a script in all ways, with a server that sends `messages`. Its output must be `want`.
#[track_caller]
fn everywhere(script: &str, messages: &[Vec<u8>], want: &[&str]) {
    let ways = [
        (Mode::Inline, true, Drive::Run, false),
        (Mode::Inline, false, Drive::Run, false),
        (Mode::Threaded, true, Drive::Run, false),
        (Mode::Inline, true, AT_ALL, false),
        (Mode::Inline, true, LONG_STEPS, false),
        (Mode::Inline, true, Drive::Run, true),
    ];
    for (mode, at_once, how, time_limit) in ways {
        let all = messages.to_vec();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            if at_once {
                write(&mut peer, &all.concat());
            } else {
                for (i, message) in all.into_iter().enumerate() {
                    // Around the edges of groups, each message has its own turn: the server waits
                    // for a pong, which shows that the client has read the message.
                    if !matches!(i, 0..4 | 60..67 | 127..) {
                        write(&mut peer, &message);
                        continue;
                    }
                    write(&mut peer, &[message, frame(0x89, b"")].concat());
                    match peer.received() {
                        reported if reported == "pong " => {}
                        // The client may have sent a close frame. It then waits for the server's.
                        _ => return write(&mut peer, &close(1000, "")),
                    }
                }
            }
            peer.rest();
        });
        let (mut rt, _) = runtime(mode, time_limit, false);
        rt.spawn(script, server.url());
        drive(&mut rt, how);
        let what = format!("{mode:?} at once: {at_once} {how:?} limit: {time_limit}");
        assert_eq!(rt.said.take(), want, "{what}");
        server.end();
    }
}

/// Text messages with the numbers from 1 to `n`, then a close frame.
fn numbers(n: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = (1..=n).map(|i| text(&i.to_string())).collect();
    all.push(close(1000, ""));
    all
}

/// Runs `act` in a handler. The handler must be called once for each message, with that message.
/// `act` is Luau code; `n` is the number, `m` the message, and `at` has the edges of groups.
#[track_caller]
fn each_once(act: &str, want: &[&str]) {
    let script = format!(
        r##"local ws, calls = WebSocket.connect((...)), 0
        local at, kept, conn = {{ [1] = 1, [2] = 1, [63] = 1, [64] = 1, [65] = 1, [130] = 1 }}, {{}}, nil
        local function handler(m, ...)
            calls += 1
            local n = tonumber(m)
            if n ~= calls or select("#", ...) > 0 then print("call", calls, m, ...) end
            {act}
        end
        conn = ws.OnMessage:Connect(handler)
        ws.OnClose:Connect(function() print("closed", calls) end)"##
    );
    everywhere(&script, &numbers(130), want);
}

#[test]
fn a_raise_at_an_edge_of_a_group_stops_nobody() {
    let mut want: Vec<String> =
        [1, 2, 63, 64, 65, 130].iter().map(|n| format!("error: at {n}")).collect();
    want.push("closed 130".into());
    let want: Vec<&str> = want.iter().map(|line| &**line).collect();
    each_once("if at[n] then error('at ' .. n, 0) end", &want);
    // A thread that the handler spawns raises; a handler catches its error and prints it.
    each_once("if at[n] then task.spawn(function() error('at ' .. n, 0) end) end", &want);
    each_once(
        "if at[n] then local ok, e = pcall(error, 'at ' .. n, 0) print('error: ' .. e) end",
        &want,
    );
}

#[test]
fn a_deferred_thread_runs_before_the_next_message() {
    let mut want: Vec<String> = [1, 2, 63, 64, 65, 130]
        .iter()
        .flat_map(|n| [format!("deferred {n} {n}"), format!("twice {n} {n}")])
        .collect();
    want.push("closed 130".into());
    let want: Vec<&str> = want.iter().map(|line| &**line).collect();
    each_once(
        r#"if at[n] then task.defer(function()
            print("deferred", n, calls)
            task.defer(function() print("twice", n, calls) end)
        end) end"#,
        &want,
    );
    // The deferred thread is a coroutine of the handler, and it defers itself a second time.
    each_once(
        r#"if at[n] then coroutine.wrap(function()
            task.defer(coroutine.running())
            coroutine.yield()
            print("deferred", n, calls)
            task.defer(coroutine.running())
            coroutine.yield()
            print("twice", n, calls)
        end)() end"#,
        &want,
    );
}

// A handler that yields stops its thread in the middle of a row. Another thread calls the handlers
// that follow.
#[test]
fn a_thread_that_was_left_behind_delivers_nothing_when_it_is_resumed() {
    let want = [
        "resumed at 10: true, dead",
        "resumed at 66: true, dead",
        "resumed at 66: true, dead",
        "closed 130",
        "at the end: true, dead",
        "at the end: true, dead",
        "at the end: true, dead",
    ];
    let script = r#"
        if at[n] then
            kept[#kept + 1] = coroutine.running()
            coroutine.yield()
        end
        local function go(where)
            local thread = table.remove(kept, 1)
            local ok = coroutine.resume(thread)
            print(`{where}: {ok}, {coroutine.status(thread)}`)
        end
        if n == 10 then go("resumed at 10") end
        if n == 66 then go("resumed at 66") go("resumed at 66") end
        if n == 3 then
            ws.OnClose:Connect(function() task.defer(function()
                for i = 1, 3 do go("at the end") end
            end) end)
        end"#;
    each_once(script, &want);
}

#[test]
fn a_thread_that_was_asked_for_is_its_handlers_alone() {
    // When a later handler cancels the thread, it has ended. No other thread is affected.
    each_once(
        r#"for _, thread in kept do
            if coroutine.status(thread) ~= "dead" then print("alive at", n) end
            task.cancel(thread)
        end
        table.clear(kept)
        kept[1] = coroutine.running()"#,
        &["closed 130"],
    );
    // The same if the handler calls `coroutine.running` after a wait.
    each_once(
        r#"task.wait()
        local thread = coroutine.running()
        task.defer(function()
            if coroutine.status(thread) ~= "dead" then print("alive at", n) end
        end)"#,
        &["closed 130"],
    );
    // While a script holds a thread, it does not serve another handler.
    each_once(
        r#"local thread = coroutine.running()
        if table.find(kept, thread) then print("again at", n) end
        kept[n] = thread"#,
        &["closed 130"],
    );
    // A thread that a handler spawns is not the handler's thread.
    each_once(
        r#"local inner
        task.spawn(function() inner = coroutine.running() coroutine.yield() print("never") end)
        if kept[1] then task.cancel(kept[1]) end
        kept[1] = inner"#,
        &["closed 130"],
    );
}

#[test]
fn a_handler_may_be_any_function() {
    // A script whose handler is `f`.
    let wait = |f: &str| {
        format!(
            r#"local ws = WebSocket.connect((...))
            ws.OnMessage:Connect({f})
            ws.OnClose:Connect(function() print("closed") end)"#
        )
    };
    everywhere(&wait("coroutine.yield"), &numbers(70), &["closed"]);
    everywhere(&wait("coroutine.running"), &numbers(70), &["closed"]);
    everywhere(&wait("pcall"), &numbers(70), &["closed"]);
    everywhere(&wait("print"), &numbers(3), &["1", "2", "3", "closed"]);
    // The handler is a coroutine that takes one message with each call.
    let own = r#"coroutine.wrap(function(m)
            local sum = 0
            while true do
                sum += tonumber(m)
                if m == "100" then print(sum) end
                m = coroutine.yield()
            end
        end)"#;
    everywhere(&wait(own), &numbers(100), &["5050", "closed"]);
    // The coroutine ends with its second message.
    let ends = "coroutine.wrap(function() coroutine.yield() end)";
    let dead = "error: cannot resume dead coroutine";
    everywhere(&wait(ends), &numbers(4), &[dead, dead, "closed"]);
}

#[test]
fn listeners_that_come_and_go_in_the_middle_of_a_group() {
    each_once("if n == 64 then conn:Disconnect() end", &["closed 64"]);
    // A handler that is connected during a fire is not called by it, and is the newest in the next.
    each_once(
        r#"if n == 64 then
            local function other(m)
                if m == "66" then conn:Disconnect() end
                print("other", m)
            end
            local more
            more = ws.OnMessage:Connect(function(m)
                other(m)
                if m == "66" then more:Disconnect() end
            end)
        end"#,
        &["other 65", "other 66", "closed 65"],
    );
    each_once(
        "if at[n] then ws.OnMessage:Once(function(m) print(n, 'once', m, calls) end) end",
        &[
            "1 once 2 1",
            "2 once 3 2",
            "63 once 64 63",
            "64 once 65 64",
            "65 once 66 65",
            "closed 130",
        ],
    );
    each_once(
        r#"if at[n] then task.spawn(function()
            print(n, "waited", ws.OnMessage:Wait(), calls)
        end) end"#,
        &[
            "1 waited 2 1",
            "2 waited 3 2",
            "63 waited 64 63",
            "64 waited 65 64",
            "65 waited 66 65",
            "closed 130",
        ],
    );
    // A handler that itself waits for the next message.
    each_once(
        "if at[n] then print(n, 'waited', ws.OnMessage:Wait(), calls) end",
        &[
            "1 waited 2 1",
            "2 waited 3 2",
            "63 waited 64 63",
            "64 waited 65 64",
            "65 waited 66 65",
            "closed 130",
        ],
    );
}

#[test]
fn nothing_is_reported_after_close_in_the_middle_of_a_group() {
    for n in [1, 2, 63, 64, 65, 130] {
        let act = format!("if n == {n} then ws:Close() task.defer(print, 'deferred') end");
        each_once(&act, &["deferred", &format!("closed {n}")]);
    }
    // Another thread than the handler's calls `Close`.
    each_once("if n == 64 then task.defer(ws.Close, ws) end", &["closed 64"]);
}

// The signal lives as long as its listener.
#[test]
fn a_collected_object_goes_on_while_somebody_listens() {
    each_once("if at[n] then ws = nil collect() end", &["closed 130"]);
    let script = r#"local calls, signal, conn = 0, nil, nil
        do
            local ws = WebSocket.connect((...))
            conn = ws.OnMessage:Connect(function(m)
                calls += 1
                collect()
                if m == "5" then conn:Disconnect() conn = nil collect() print("no more", calls) end
            end)
        end"#;
    everywhere(script, &numbers(70), &["no more 5"]);
}

// The timers are due during a row. Each runs once, between two handlers or after all of them.
#[test]
fn a_deadline_that_passes_in_the_middle_of_a_group_is_kept() {
    let script = r#"local ws, calls, inside, late = WebSocket.connect((...)), 0, false, 0
        ws.OnMessage:Connect(function(m)
            inside = true
            calls += 1
            eq(m, tostring(calls))
            if calls == 2 then
                task.delay(0.001, function() late += 1 eq(inside, false) end)
                task.delay(0, function() late += 1 eq(inside, false) end)
                local begin = os.clock()
                repeat until os.clock() > begin + 0.003
            end
            inside = false
        end)
        ws.OnClose:Wait()
        until_true(function() return late == 2 end)
        print(calls, late)"#;
    everywhere(script, &numbers(130), &["130 2"]);
}

/// The output of a script that talks to an echo server.
#[track_caller]
fn talk(how: Drive, script: &str) -> Vec<String> {
    let server = echo();
    let (mut rt, _) = runtime(Mode::Inline, false, false);
    rt.spawn(script, server.url());
    drive(&mut rt, how);
    rt.said.take()
}

// Each message has its own turn: the server sends the next one when the handler has answered. If
// all arrived at once, the deadline would not pass between two of them.
#[test]
fn messages_without_end_shut_no_deadline_and_no_step_out() {
    for how in [Drive::Run, AT_ALL] {
        let script = r#"local ws, late = WebSocket.connect((...)), 0
            task.delay(0.002, function() late += 1 end)
            task.spawn(function() task.wait() late += 1 end)
            local calls, cancelled = 0, task.delay(1000, error)
            ws.OnMessage:Connect(function(m)
                calls += 1
                if calls == 3 then
                    -- The deadline that the last round reported is no longer the next one.
                    task.cancel(cancelled)
                    task.delay(0.001, function() late += 1 end)
                end
                if late == 3 then ws:Close() else ws:Send(m) end
            end)
            ws:Send("ball")
            ws.OnClose:Wait()
            print(late)"#;
        assert_eq!(talk(how, script), ["3"]);
    }
}

// The same if each turn reports one of many messages.
#[test]
fn messages_that_come_singly_shut_no_deadline_out() {
    // All messages arrive in one read, so every turn has one to report.
    let all = [numbers(3000).concat(), close(1000, "")].concat();
    let server = serve(move |listener| Peer::open_with(listener, "", &all).rest());
    let mut rt = Rt::with(Mode::Inline, |mut options| {
        options.config().limits.turn = 1;
        options
    });
    let script = r#"local ws, calls = WebSocket.connect((...)), 0
        ws.OnMessage:Connect(function()
            calls += 1
            local begin = os.clock()
            repeat until os.clock() > begin + 0.00001
        end)
        task.delay(0.001, function() print(calls < 3000) end)
        ws.OnClose:Wait()
        print(calls)"#;
    assert_eq!(rt.says(script, server.url()), ["true", "3000"]);
    server.end();
}

// The next message is handled only when the deferred calls of the handler have run.
#[test]
fn what_the_handler_of_a_single_message_puts_off_is_done() {
    for how in [Drive::Run, AT_ALL, LONG_STEPS] {
        let script = r#"local ws, calls = WebSocket.connect((...)), 0
            local ways = {
                task.defer,
                task.spawn,
                function(f) task.delay(0, f) end,
                function(f) task.delay(0.001, f) end,
                function(f) task.spawn(function() task.wait() f() end) end,
                function(f) task.defer(task.defer, f) end,
                function(f) task.wait() f() end,
            }
            ws.OnMessage:Connect(function(m)
                calls += 1
                local way = ways[calls]
                if way then way(function() ws:Send(m) end) else ws:Close() end
            end)
            ws:Send("ball")
            ws.OnClose:Wait()
            print(calls)"#;
        assert_eq!(talk(how, script), ["8"]);
    }
}

// A single message waits for unfinished earlier work.
#[test]
fn what_was_deferred_comes_before_a_message_that_comes_later() {
    let (sent, is_sent) = std::sync::mpsc::channel();
    let server = serve(move |listener| {
        let mut peer = Peer::open_with(listener, "", &text("1"));
        assert_eq!(peer.next().unwrap().shown(), "go");
        peer.send(&text("2"));
        sent.send(()).unwrap();
        peer.rest();
    });
    let (mut rt, _) = runtime(Mode::Inline, false, false);
    let script = r#"local ws = WebSocket.connect((...))
        ws.OnMessage:Connect(function(m)
            print(m)
            if m == "2" then return ws:Close() end
            for i = 1, 5 do task.defer(print, "deferred", i) end
            ws:Send("go")
        end)"#;
    rt.spawn(script, server.url());
    while rt.said.all().is_empty() {
        assert!(rt.runtime.step(Duration::ZERO).unwrap().is_alive());
    }
    is_sent.recv_timeout(LONG).unwrap();
    drive(&mut rt, AT_ALL);
    let deferred: Vec<String> = (1..=5).map(|i| format!("deferred {i}")).collect();
    let want = [&["1".to_owned()], &deferred[..], &["2".to_owned()]].concat();
    assert_eq!(rt.said.take(), want);
    server.end();
}

#[test]
fn a_step_without_time_calls_one_handler() {
    for time_limit in [false, true] {
        let server =
            serve(|listener| Peer::open_with(listener, "", &numbers(70).concat()).frames());
        let (mut rt, _) = runtime(Mode::Inline, time_limit, false);
        rt.spawn("WebSocket.connect((...)).OnMessage:Connect(print)", server.url());
        let (until, mut n) = (Instant::now() + LONG, 0);
        while rt.runtime.step(Duration::ZERO).unwrap().is_alive() {
            assert!(Instant::now() < until);
            let said = rt.said.take();
            assert!(said.len() <= 1, "{said:?} in one step");
            n += said.len();
        }
        assert_eq!(n, 70);
        rt.runtime.finish();
        assert_eq!(server.end(), ["close 1000"]);
    }
}

// Each handler of a row has its own time limit.
#[test]
fn the_time_limit_raises_in_one_handler_of_a_row() {
    let server = serve(|listener| Peer::open_with(listener, "", &numbers(130).concat()).rest());
    let limit = Duration::from_millis(400);
    let mut rt = Rt::with(Mode::Inline, |options| options.time_limit(Some(limit)));
    let script = r#"local ws, calls = WebSocket.connect((...)), 0
        ws.OnMessage:Connect(function(m)
            calls += 1
            if m == "64" then while true do end end
            -- All handlers together take longer than the limit for one.
            local begin = os.clock()
            repeat until os.clock() > begin + 0.005
        end)
        ws.OnClose:Connect(function() print("closed", calls) end)"#;
    rt.spawn(script, server.url());
    rt.run();
    let said = rt.said.take();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("without a pause"), "{said:?}");
    assert_eq!(said[1], "closed 130");
    server.end();
}

// The limit counts from the call of the handler, not from the call of the previous handler.
#[test]
fn the_time_limit_begins_anew_with_a_single_message() {
    let limit = Duration::from_millis(400);
    let server = serve(move |listener| {
        let mut peer = Peer::open_with(listener, "", &text("1"));
        assert_eq!(peer.next().unwrap().shown(), "1");
        std::thread::sleep(limit + limit / 2);
        peer.send(&text("2"));
        assert_eq!(peer.next().unwrap().shown(), "2");
        peer.send(&close(1000, ""));
        peer.rest();
    });
    let mut rt = Rt::with(Mode::Inline, |options| options.time_limit(Some(limit)));
    // The handler computes long enough for the runtime to check the clock.
    let script = r#"local ws = WebSocket.connect((...))
        ws.OnMessage:Connect(function(m)
            for i = 1, 10000 do end
            ws:Send(m)
        end)
        ws.OnClose:Wait()"#;
    assert_eq!(rt.says(script, server.url()), [""; 0]);
    server.end();
}

// The messages of two connections share a turn.
#[test]
fn what_a_handler_closes_elsewhere_reports_nothing_more() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let server = serve(|listener| {
            let mut peers = [Peer::open(listener), Peer::open(listener)];
            // The script sends "go" when both connections have listeners.
            assert_eq!(peers[0].received(), "go");
            for peer in &mut peers {
                write(peer, &numbers(130).concat());
            }
            let [a, b] = &mut peers;
            (a.rest(), b.rest())
        });
        let script = r#"local url = ...
            local pair, calls = { WebSocket.connect(url), WebSocket.connect(url) }, { 0, 0 }
            local closed
            for i, ws in pair do
                ws.OnMessage:Connect(function(m)
                    calls[i] += 1
                    eq(m, tostring(calls[i]))
                    check(closed ~= i, "reported after Close")
                    if m == "64" and not closed then
                        closed = 3 - i
                        pair[closed]:Close()
                    end
                end)
            end
            pair[1]:Send("go")
            task.spawn(function() pair[1].OnClose:Wait() end)
            pair[2].OnClose:Wait()
            until_true(function() return pair[1].State == "Closed" end)
            -- The connection whose handler closed the other one has reported all its messages.
            eq(calls[3 - closed], 130)
            done()"#;
        let mut rt = Rt::new(mode);
        rt.passes(script, server.url());
        server.end();
    }
}

// The traceback of an error has its position, and does not depend on how the message was delivered.
#[test]
fn a_raise_in_a_row_is_reported_as_any_other() {
    let traces: Vec<Vec<String>> = [1, 130]
        .map(|n| {
            let server =
                serve(move |listener| Peer::open_with(listener, "", &numbers(n).concat()).rest());
            let lines = Arc::new(Mutex::new(Vec::new()));
            let its = Arc::clone(&lines);
            let options = moonwire::luau::Options::new(move |line: moonwire::luau::Line<'_>| {
                its.lock().unwrap().push(line.to_string());
            });
            let mut runtime = moonwire::luau::Runtime::new(options).unwrap();
            let script = r#"WebSocket.connect((...)).OnMessage:Connect(function(m)
                local function inner() error("here") end
                inner()
            end)"#;
            runtime.spawn(SCRIPT, script, server.url()).unwrap();
            runtime.run().unwrap();
            server.end();
            let lines = std::mem::take(&mut *lines.lock().unwrap());
            assert_eq!(lines.len(), n);
            lines
        })
        .into();
    assert!(traces[0][0].contains("inner"), "{traces:?}");
    assert!(traces[1].iter().all(|line| *line == traces[0][0]), "{:?}", traces[1]);
}

// The memory of many messages is freed. It is also freed if handlers call `coroutine.running`: the
// runtime then uses a new thread for the next handler.
#[test]
fn memory_stays_flat_over_many_messages() {
    const COUNT: usize = 200_000;
    for act in ["", "if n % 3 == 0 then coroutine.running() end"] {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            let piece = text("a message, not the shortest").repeat(1000);
            for _ in 0..COUNT / 1000 {
                write(&mut peer, &piece);
            }
            write(&mut peer, &close(1000, ""));
            peer.rest();
        });
        let mut rt = streams::runtime(Mode::Inline);
        let lua = rt.runtime.lua();
        let memory = lua.create_function(|lua, ()| Ok(lua.used_memory())).unwrap();
        lua.globals().set("memory", memory).unwrap();
        let script = format!(
            r#"local url, count = ...
            local n, part, marks = 0, count // 10, {{}}
            local ws = WebSocket.connect(url)
            ws.OnMessage:Connect(function(m)
                n += 1
                {act}
                if n % part == 0 then
                    collect()
                    marks[#marks + 1] = memory()
                end
            end)
            ws.OnClose:Wait()
            eq(n, count)
            for i = 2, 10 do
                local grown = marks[i] - marks[1]
                -- If each message of a tenth kept 8 bytes, that would be 160 KB.
                check(grown < 100 * 1024, `{{grown}} bytes more after {{i}} tenths`)
            end
            done()"#
        );
        rt.passes(&script, (server.url(), COUNT));
        server.end();
    }
}
