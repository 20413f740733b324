//! `for message in ws:Messages() do` has each message once, in order, up to the end.

use super::raw::{LONG, Peer, Raw, close, frame, serve, text};
use super::support::*;

/// A server that sends `count` messages, up to 100 in a write, and closes.
fn sends(count: usize) -> Raw<Vec<String>> {
    serve(move |listener| {
        let mut peer = Peer::open(listener);
        for from in (0..count).step_by(100) {
            let some = (from..count.min(from + 100)).map(|n| text(&n.to_string()));
            peer.send(&some.collect::<Vec<_>>().concat());
        }
        peer.send(&close(4001, "all"));
        peer.frames()
    })
}

/// Calls `test` for each way: the reactor in either thread, with the fast paths or without.
fn each(mut test: impl FnMut(&mut dyn FnMut() -> Rt)) {
    for mode in [Mode::Inline, Mode::Threaded] {
        for plain in [false, true] {
            test(&mut || {
                let rt = Rt::with(mode, |options| options.plain(plain));
                let lua = rt.runtime.lua();
                let collect =
                    lua.create_function(|lua, ()| lua.gc_collect().and_then(|()| lua.gc_collect()));
                lua.globals().set("collect", collect.unwrap()).unwrap();
                rt
            });
        }
    }
}

/// Runs a script, which must pass, in all ways. `ws` is connected to a server that sends `count`
/// messages.
#[track_caller]
fn passes_with(count: usize, script: &str) {
    each(|rt| {
        let server = sends(count);
        rt().passes(&format!("local ws = WebSocket.connect(...)\n{script}"), server.url());
        server.end();
    });
}

#[test]
fn ten_thousand_messages_come_in_order_and_then_the_loop_ends() {
    for pause in [
        "",
        "if n % 1000 == 0 then task.wait() end",
        "if n % 2000 == 0 then ws:Ping() task.wait(0.01) end",
    ] {
        passes_with(
            10_000,
            &format!(
                r#"local n = 0
            for message, binary in ws:Messages() do
                eq(message, tostring(n))
                eq(binary, nil)
                n += 1
                {pause}
            end
            eq(n, 10_000)
            ws.OnClose:Wait()
            eq(ws.CloseCode, 4001)
            for _ in ws:Messages() do error("never") end
            done()"#
            ),
        );
    }
}

// All messages arrive with the answer to the handshake.
#[test]
fn messages_are_held_for_a_loop_and_come_before_the_end() {
    each(|rt| {
        let server = serve(|listener| {
            let all = [text("a"), frame(0x82, b"b\xFF"), text(""), close(1000, "")].concat();
            Peer::open_with(listener, "", &all).frames()
        });
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnClose:Connect(function() print("closed") end)
            task.wait(0.01)
            for m, binary in ws:Messages() do
                print(string.format("%q", m), binary)
            end
            print("end", ws.State)"#;
        let said = rt().says(script, server.url());
        // The end was reported before the loop began, since no thread took messages.
        assert_eq!(
            said,
            ["closed", "\"a\" nil", "\"b\\xFF\" true", "\"\" nil", "end Closed"]
                .map(|l| l.replace("\\xFF", "\u{FFFD}"))
        );
        server.end();
    });
}

#[test]
fn an_iterator_goes_on_where_another_was_left() {
    passes_with(
        10,
        r#"local seen = {}
        for m in ws:Messages() do
            table.insert(seen, m)
            if #seen == 3 then break end
        end
        task.wait(0.02)
        local iterator = ws:Messages()
        eq(type(iterator), "function")
        table.insert(seen, (iterator()))
        eq(select('#', iterator()), 1)
        for m in iterator do
            table.insert(seen, m)
        end
        eq(table.concat(seen, " "), "0 1 2 3 5 6 7 8 9")
        eq(iterator(), nil)
        done()"#,
    );
}

#[test]
fn each_message_goes_to_one_loop_and_to_every_handler() {
    passes_with(
        1000,
        r#"local seen, ended, handled, waited = {}, 0, 0, 0
        ws.OnMessage:Connect(function() handled += 1 end)
        task.spawn(function() while true do ws.OnMessage:Wait() waited += 1 end end)
        for i = 1, 5 do
            task.spawn(function()
                local mine = 0
                for m in ws:Messages() do
                    eq(seen[m], nil, m)
                    seen[m] = i
                    mine += 1
                end
                eq(mine, 200)
                ended += 1
            end)
        end
        ws.OnClose:Wait()
        task.wait()
        eq(handled, 1000)
        eq(waited, 1000)
        eq(ended, 5)
        -- Each loop took every fifth message.
        for n = 0, 999 do eq(seen[tostring(n)], n % 5 + 1) end
        done()"#,
    );
}

// A handler is disconnected within its call, and the same thread starts a loop.
#[test]
fn a_loop_behind_a_handler_that_left_loses_nothing() {
    passes_with(
        500,
        r#"local n = 0
        local connection
        connection = ws.OnMessage:Connect(function(m)
            n += 1
            if n == 10 then
                connection:Disconnect()
                for m in ws:Messages() do
                    eq(m, tostring(n))
                    n += 1
                    if n % 7 == 0 then task.wait() end
                end
                eq(n, 500)
                done()
            end
        end)"#,
    );
}

#[test]
fn a_loop_inside_pcall_and_coroutines() {
    passes_with(
        6,
        r#"local function two()
            local list = {}
            for m in ws:Messages() do
                table.insert(list, m)
                if #list == 2 then break end
            end
            return table.concat(list, " ")
        end
        eq(args(pcall(two)), '2: true, "0 1"')
        local thread, answer
        thread = task.spawn(function() answer = two() end)
        eq(coroutine.resume(thread, "not for it"), true)
        until_true(function() return answer end)
        eq(answer, "2 3")
        eq(select(2, pcall(function()
            for m in ws:Messages() do error(m, 0) end
        end)), "4")
        eq(coroutine.wrap(pcall)(pcall, error), true)
        for m in ws:Messages() do eq(m, "5") end
        raises("Messages has to wait, and this thread cannot yield here", function()
            table.sort({ 2, 1 }, function() ws:Messages()() return false end)
        end)
        raises("Expected ':' not '.' calling member function Messages", ws.Messages)
        done()"#,
    );
}

#[test]
fn close_ends_the_loop_and_drops_what_waits() {
    passes_with(
        100,
        r#"local other, closed = false, false
        task.spawn(function()
            -- Two loops wait, one behind the other.
            for i = 1, 2 do
                task.spawn(function()
                    for _ in ws:Messages() do end
                    other = true
                    eq(ws.State == "Open", false)
                end)
            end
        end)
        ws.OnClose:Connect(function() closed = true end)
        local n = 0
        for m in ws:Messages() do
            n += 1
            ws:Close(3000)
            eq(other, false, "inside the call")
            task.defer(function() eq(other, true) end)
        end
        eq(n, 1)
        until_true(function() return other and closed end)
        eq(ws:Messages()(), nil)
        done()"#,
    );
}

#[test]
fn a_cancelled_loop_passes_its_turn_on() {
    passes_with(
        3,
        r#"local threads, seen = {}, {}
        for i = 1, 5 do
            threads[i] = task.spawn(function()
                for m in ws:Messages() do table.insert(seen, `{i}:{m}`) end
                table.insert(seen, `{i} ends`)
            end)
        end
        task.cancel(threads[1])
        task.cancel(threads[4])
        coroutine.close(threads[3])
        ws.OnClose:Wait()
        task.wait()
        eq(table.concat(seen, ", "), "2:0, 5:1, 2:2, 5 ends, 2 ends")
        done()"#,
    );
}

// Beyond the bound, messages that no thread takes are not read: none is dropped, and memory does
// not grow.
#[test]
fn a_slow_loop_makes_the_server_wait() {
    each(|rt| {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            let mut payload = vec![b'x'; 10_000];
            for n in 0..2000u32 {
                payload[..4].copy_from_slice(&n.to_be_bytes());
                peer.send(&frame(0x82, &payload));
            }
            peer.send(&close(1000, ""));
            peer.frames()
        });
        let mut rt = rt();
        let lua = rt.runtime.lua();
        let used = lua.create_function(|lua, ()| Ok(lua.used_memory())).unwrap();
        lua.globals().set("used", used).unwrap();
        rt.passes(
            r#"local ws = WebSocket.connect(...)
            local n, before, most = 0, used(), 0
            for m in ws:Messages() do
                eq(string.unpack(">I4", m), n)
                n += 1
                if n % 100 == 0 then
                    task.wait(0.002)
                    collect()
                    most = math.max(most, used() - before)
                end
            end
            eq(n, 2000)
            check(most < 4e6, most)
            done()"#,
            server.url(),
        );
        server.end();
    });
}

#[test]
fn a_websocket_is_kept_by_its_loop_and_collected_behind_it() {
    each(|rt| {
        let seen = Flag::default();
        let its = seen.clone();
        let server = serve(move |listener| {
            let mut peer = Peer::open(listener);
            for n in 0..3 {
                peer.send(&text(&n.to_string()));
                assert_eq!(peer.received(), "next");
            }
            let reported = peer.rest();
            its.set();
            reported
        });
        let mut rt = rt();
        rt.flag("seen", &seen);
        rt.passes(
            r#"local url = ...
            local weak = setmetatable({}, { __mode = "v" })
            task.spawn(function()
                local function loop(ws)
                    weak.ws = ws
                    return ws:Messages()
                end
                local n = 0
                for m in loop(WebSocket.connect(url)) do
                    n += 1
                    -- Only the loop holds the WebSocket now.
                    collect()
                    task.wait(0.01)
                    weak.ws:Send("next")
                    if n == 3 then break end
                end
                eq(n, 3)
            end)
            until_true(function() collect() return seen() and not weak.ws end)
            done()"#,
            server.url(),
        );
        assert_eq!(server.end().last().unwrap(), "close 1001");
    });
}

// The loop keeps the script alive. `kill` ends both.
#[test]
fn a_script_that_waits_in_a_loop_is_alive_until_it_is_killed() {
    each(|rt| {
        let server = serve(|listener| Peer::open(listener).rest());
        let mut rt = rt();
        let text = "local ws = WebSocket.connect(...)
            for i = 1, 3 do task.spawn(function() for m in ws:Messages() do end print('never') end) end
            print('waits')";
        let script = rt.runtime.spawn("bot", text, server.url()).unwrap();
        let until = std::time::Instant::now() + LONG;
        while rt.said.all().is_empty() {
            assert!(std::time::Instant::now() < until);
            rt.runtime.step(std::time::Duration::from_millis(1)).unwrap();
        }
        assert!(script.is_alive());
        script.kill().unwrap();
        assert!(!script.is_alive());
        rt.run();
        assert_eq!(rt.said.take(), ["waits"]);
        assert_eq!(server.end(), ["close 1001"]);
    });
}
