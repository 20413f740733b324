//! §1, rule 2: a connection from which a script takes messages loses none, however long the script
//! takes. Its socket is not read meanwhile, and TCP makes the server wait (FAULTS 70).

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use moonwire::luau::Options;

use super::command::{Script, printed};
use super::raw::{LONG, Peer, Raw, close, frame, is_timeout, serve, text};
use super::slow::{gate, give};
use super::support::*;

/// The length of a message, and how many there are: more bytes than the kernel takes.
const SIZE: usize = 50_000;
const COUNT: usize = 400;

/// Messages with their numbers.
fn flood() -> Vec<u8> {
    (0..COUNT).flat_map(|i| text(&format!("{i:<SIZE$}"))).collect()
}

/// Writes until the peer takes nothing for a while; returns how much it took.
fn push(peer: &mut Peer, bytes: &[u8]) -> usize {
    // Without a timeout of the socket: on Windows it is unknown how much was written when it
    // passes.
    peer.stream.set_nonblocking(true).unwrap();
    let (mut at, mut stuck) = (0, Instant::now());
    while at < bytes.len() && stuck.elapsed() < Duration::from_millis(200) {
        match peer.stream.write(&bytes[at..]) {
            Ok(n) => (at, stuck) = (at + n, Instant::now()),
            Err(e) if is_timeout(&e) => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => panic!("{e}"),
        }
    }
    peer.stream.set_nonblocking(false).unwrap();
    at
}

/// A server that sends "hello" and then the flood until the client takes no more; then `blocked` is
/// set, and `act` sends the rest of the flood.
fn floods<T: Send + 'static>(
    blocked: &Flag,
    act: impl FnOnce(Peer, Vec<u8>) -> T + Send + 'static,
) -> Raw<T> {
    let blocked = blocked.clone();
    serve(move |listener| {
        let mut peer = Peer::open_with(listener, "", &text("hello"));
        let bytes = flood();
        let at = push(&mut peer, &bytes);
        assert!(at < bytes.len(), "it is read on and on");
        blocked.set();
        act(peer, bytes[at..].to_vec())
    })
}

/// A server that sends all of it and closes.
fn floods_and_closes(blocked: &Flag) -> Raw<Vec<String>> {
    floods(blocked, |mut peer, rest| {
        peer.send(&rest);
        peer.send(&close(1000, ""));
        peer.frames()
    })
}

const HOLD: usize = 100_000;

pub(crate) fn runtime(mode: Mode, change: impl FnOnce(Options) -> Options) -> Rt {
    let rt = Rt::with(mode, |mut options| {
        options.config().limits.hold = HOLD;
        change(options)
    });
    let lua = rt.runtime.lua();
    let collect = lua.create_function(|lua, ()| lua.gc_collect().and_then(|()| lua.gc_collect()));
    lua.globals().set("collect", collect.unwrap()).unwrap();
    lua.globals().set("COUNT", COUNT).unwrap();
    lua.globals().set("SIZE", SIZE).unwrap();
    rt
}

/// Runs a script with `ws`, which has taken "hello" and is paused.
fn paused<T>(mode: Mode, server: Raw<T>, blocked: &Flag, then: &str) -> T {
    let mut rt = runtime(mode, |options| options);
    rt.flag("blocked", blocked);
    let script = format!(
        r#"local ws = WebSocket.connect(...)
        eq(ws.OnMessage:Wait(), "hello")
        local n = 0
        -- The next message: its number is the next.
        local function take(m)
            eq(#m, SIZE)
            eq(tonumber(m), n)
            n += 1
            return n < COUNT
        end
        until_true(blocked)
        {then}"#
    );
    rt.passes(&script, server.url());
    server.end()
}

both! {
    fn a_loop_of_waits_gets_each_message_though_it_pauses(mode) {
        let blocked = Flag::default();
        let reported = paused(mode, floods_and_closes(&blocked), &blocked, r#"
            local start = gcinfo()
            -- In KiB: what is held, and what a turn or two bring.
            check(start < 8 * 1024, start)
            while take(ws.OnMessage:Wait()) do
                if n % 20 == 0 then task.wait() end
                check(gcinfo() < 12 * 1024, gcinfo())
            end
            ws.OnClose:Wait()
            eq(ws.CloseCode, 1000)
            done()"#);
        assert_eq!(reported, ["close 1000"]);
    }

    fn one_handler_after_the_other_gets_each_message(mode) {
        let blocked = Flag::default();
        paused(mode, floods_and_closes(&blocked), &blocked, r#"
            ws.OnClose:Connect(function()
                eq(n, COUNT, "it comes after the messages")
                eq(ws.CloseCode, 1000)
                done()
            end)
            local function again()
                ws.OnMessage:Once(function(m)
                    take(m)
                    if n % 20 == 0 then task.wait() end
                    again()
                end)
            end
            again()"#);
    }

    // The first Connect takes the held messages and later ones.
    fn a_handler_behind_a_loop_of_waits_gets_the_rest(mode) {
        let blocked = Flag::default();
        paused(mode, floods_and_closes(&blocked), &blocked, r#"
            for _ = 1, 5 do take(ws.OnMessage:Wait()) end
            ws.OnMessage:Connect(take)
            ws.OnMessage:Connect(function() end)
            ws.OnClose:Wait()
            eq(n, COUNT)
            done()"#);
    }

    // It ends the holding: later messages have no listener, and the end comes.
    fn a_handler_that_leaves_in_the_middle_stops_nothing(mode) {
        let blocked = Flag::default();
        paused(mode, floods_and_closes(&blocked), &blocked, r#"
            local connection
            connection = ws.OnMessage:Connect(function(m)
                take(m)
                connection:Disconnect()
            end)
            ws.OnClose:Wait()
            eq(n, 1)
            eq(ws.CloseCode, 1000)
            done()"#);
    }

    fn a_wait_that_is_given_up_or_resumed_by_others_takes_nothing(mode) {
        let blocked = Flag::default();
        paused(mode, floods_and_closes(&blocked), &blocked, r#"
            local function waits(into)
                return task.spawn(function()
                    into.m = ws.OnMessage:Wait()
                end)
            end
            for _, give_up in { task.cancel, coroutine.close } do
                local got = {}
                local thread = waits(got)
                give_up(thread)
                task.wait()
                eq(got.m, nil)
                -- A message in between.
                take(ws.OnMessage:Wait())
            end
            local got = {}
            local thread = waits(got)
            task.spawn(thread, "not from there")
            eq(got.m, nil)
            until_true(function() return got.m end)
            take(got.m)
            -- A wait inside a handler.
            local inner
            ws.OnMessage:Once(function(m)
                take(m)
                inner = ws.OnMessage:Wait()
            end)
            until_true(function() return inner end)
            take(inner)
            while take(ws.OnMessage:Wait()) do end
            ws.OnClose:Wait()
            done()"#);
    }

    fn a_close_completes_its_handshake(mode) {
        let blocked = Flag::default();
        let server = floods(&blocked, |mut peer, rest| {
            // The client reads again, and drops the messages.
            peer.send(&rest);
            peer.rest()
        });
        let reported = paused(mode, server, &blocked, r#"
            ws.OnMessage:Once(function() error("after Close") end)
            ws:Send("last")
            ws:Close(4000)
            ws.OnClose:Wait()
            eq(ws.CloseCode, 1005)
            done()"#);
        assert_eq!(reported, ["last", "close 4000"]);
    }

    fn the_end_of_the_program_closes_it(mode) {
        let blocked = Flag::default();
        let server = floods(&blocked, |mut peer, rest| {
            peer.send(&rest);
            peer.rest()
        });
        let reported = paused(mode, server, &blocked, "done()");
        assert_eq!(reported, ["close 1001"]);
    }

    fn one_that_nobody_holds_is_collected(mode) {
        let (blocked, seen) = (Flag::default(), Flag::default());
        let its = seen.clone();
        let server = floods(&blocked, move |mut peer, rest| {
            peer.send(&rest);
            let reported = peer.rest();
            its.set();
            reported
        });
        let mut rt = runtime(mode, |options| options);
        rt.flag("blocked", &blocked);
        rt.flag("seen", &seen);
        rt.passes(
            r#"local url = ...
            local thread = task.spawn(function()
                local ws = WebSocket.connect(url)
                eq(ws.OnMessage:Wait(), "hello")
                until_true(blocked)
                ws.OnMessage:Wait()
            end)
            until_true(function() return coroutine.status(thread) == "dead" end)
            repeat
                collect()
                task.wait()
            until seen()
            done()"#,
            server.url(),
        );
        assert_eq!(server.end(), ["close 1001"]);
    }

    // No listener takes messages then, and OnClose fires nevertheless; read messages are held.
    fn one_that_breaks_is_reported_and_what_was_read_can_be_taken(mode) {
        let (go, gate) = gate();
        let blocked = Flag::default();
        let server = floods(&blocked, move |peer, _| {
            gate.wait();
            // Since a message of the client is unread, that is a reset.
            drop(peer);
        });
        let mut rt = runtime(mode, |options| options);
        rt.flag("blocked", &blocked);
        give(rt.runtime.lua(), "go", go);
        rt.passes(
            r#"local ws = WebSocket.connect(...)
            eq(ws.OnMessage:Wait(), "hello")
            until_true(blocked)
            ws:Send("unread")
            until_true(function() return ws.BufferedAmount == 0 end)
            task.wait(0.05)
            go()
            ws.OnClose:Wait()
            eq(ws.CloseCode, 1006)
            eq(tonumber(ws.OnMessage:Wait()), 0)
            eq(tonumber(ws.OnMessage:Wait()), 1)
            done()"#,
            server.url(),
        );
        server.end();
    }

    // While it is not read, its pings are not answered, and its silence does not count.
    fn neither_side_takes_the_other_for_dead(mode) {
        let (go, gate) = gate();
        let server = serve(move |listener| {
            let mut peer = Peer::open_with(listener, "", &text("hello"));
            peer.send(&text(&("0".to_owned() + &" ".repeat(2 * HOLD))));
            // The first ones may arrive with the message, before the bound is reached.
            peer.stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            let mut last = 0;
            loop {
                last += 1;
                peer.send(&frame(0x89, format!("{last:05}").as_bytes()));
                let mut pong = [0; 11];
                match peer.stream.read(&mut pong) {
                    Ok(n) => assert!(n == 11 && pong[0] == 0x8A, "{pong:?}"),
                    Err(e) => break assert!(is_timeout(&e), "{e}"),
                }
                assert!(last < 10_000, "it is read on and on");
            }
            peer.stream.set_read_timeout(Some(LONG)).unwrap();
            gate.wait();
            // Messages that the poll thread reads may come after what the script sends.
            let mut reported = [peer.received(), peer.received()];
            reported.sort();
            assert_eq!(reported, ["more".to_owned(), format!("pong {last:05}")]);
            peer.send(&text("more"));
            peer.rest()
        });
        let mut rt = runtime(mode, |mut options| {
            options.config().limits.pong = Duration::from_millis(100);
            options.ping_interval(Some(Duration::from_millis(100)))
        });
        give(rt.runtime.lua(), "go", go);
        rt.passes(
            r#"local ws = WebSocket.connect(...)
            eq(ws.OnMessage:Wait(), "hello")
            task.wait(1.2)
            eq(ws.State, "Open")
            go()
            eq(tonumber(ws.OnMessage:Wait()), 0)
            task.wait()
            ws:Send("more")
            eq(ws.OnMessage:Wait(), "more")
            ws:Close()
            ws.OnClose:Wait()
            eq(ws.CloseCode, 1005)
            done()"#,
            server.url(),
        );
        let reported = server.end();
        assert_eq!(reported.last().unwrap(), "close 1000", "{reported:?}");
    }

    // A connection that never had a listener is read, and messages beyond the bound are dropped.
    fn one_that_nobody_listened_to_is_not_paused(mode) {
        let sent = Flag::default();
        let its = sent.clone();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            peer.send(&flood());
            its.set();
            peer.rest()
        });
        let mut rt = runtime(mode, |options| options);
        rt.flag("sent", &sent);
        let script = r#"local ws = WebSocket.connect(...)
            until_true(sent)
            -- Those that are held.
            print(tonumber(ws.OnMessage:Wait()), tonumber(ws.OnMessage:Wait()))"#;
        let url = server.url();
        let said = rt.says(script, url.as_str());
        let warning = format!("warning: {url}: messages that nobody listens to are dropped");
        assert_eq!((said.len(), &*said[1]), (2, "0 1"), "{said:?}");
        assert!(said[0].starts_with(&warning), "{said:?}");
        assert_eq!(server.end(), ["close 1001"]);
    }

    // Messages that others hold do not make a connection lose its own.
    fn the_sum_of_all_connections_pauses_too(mode) {
        let blocked = Flag::default();
        let holds = serve(|listener| {
            Peer::open_with(listener, "", &text(&"x".repeat(HOLD))).rest()
        });
        let server = floods_and_closes(&blocked);
        let mut rt = runtime(mode, |mut options| {
            options.config().limits.hold_total = HOLD + SIZE / 2;
            options
        });
        rt.flag("blocked", &blocked);
        rt.passes(
            r#"local holds, url = ...
            local other = WebSocket.connect(holds)
            task.wait(0.1)
            local ws = WebSocket.connect(url)
            eq(ws.OnMessage:Wait(), "hello")
            until_true(blocked)
            for i = 0, COUNT - 1 do
                eq(tonumber(ws.OnMessage:Wait()), i)
                if i % 20 == 0 then task.wait() end
            end
            ws.OnClose:Wait()
            eq(#other.OnMessage:Wait(), 100000)
            done()"#,
            (holds.url(), server.url()),
        );
        server.end();
        holds.end();
    }
}

// With all defaults: a script that stores its messages.
/// FAULTS 70.
#[test]
fn a_reader_with_pauses_gets_each_large_message() {
    let script = Script::new(
        "reader",
        r#"local ws = WebSocket.connect((...))
        task.spawn(function()
            while true do
                local message = ws.OnMessage:Wait()
                print("got", if #message > 20 then `message {string.sub(message, 1, 1)} of {#message} bytes` else message)
                task.wait(0.05)
            end
        end)
        ws.OnClose:Wait()
        print("closed", ws.CloseCode)"#,
    );
    for way in [&[][..], &["--poll-thread"], &["--no-stand-in"]] {
        let server = serve(|listener| {
            let mut peer = Peer::open_with(listener, "", &text("hello"));
            for i in 0..6 {
                peer.send(&text(&(i.to_string() + &"A".repeat(1_499_999))));
            }
            peer.send(&close(1000, ""));
            peer.frames()
        });
        let mut want = vec!["got hello".to_owned()];
        want.extend((0..6).map(|i| format!("got message {i} of 1500000 bytes")));
        want.push("closed 1000".to_owned());
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        printed(&script.run(way, &[&server.url()]), &want);
        assert_eq!(server.end(), ["close 1000"]);
    }
}
