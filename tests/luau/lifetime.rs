//! §1, rules 5 and 8: what stays alive, what ends, and what the server sees.

use std::time::{Duration, Instant};

use moonwire::luau::Progress;

use super::raw::{LONG, Peer, close, is_timeout, serve, text};
use super::support::*;

/// A runtime whose scripts can call `collect()`, which the sandbox does not offer.
fn with_collect(mode: Mode) -> Rt {
    let rt = Rt::new(mode);
    let lua = rt.runtime.lua();
    let collect = lua.create_function(|lua, ()| lua.gc_collect().and_then(|()| lua.gc_collect()));
    lua.globals().set("collect", collect.unwrap()).unwrap();
    rt
}

both! {
    // Rule 5: a program ends when no listener and no waiting thread is left.
    fn a_program_ends_when_nobody_listens(mode) {
        for script in [
            "ws = WebSocket.connect(...)",
            "ws = WebSocket.connect(...) task.wait(0.05)",
            "ws = WebSocket.connect(...) ws.OnMessage:Connect(print):Disconnect()",
            "ws = WebSocket.connect(...) local s = { ws.OnMessage, ws.OnClose, ws.OnPong }",
            "ws = WebSocket.connect(...) task.cancel(task.spawn(ws.OnMessage.Wait, ws.OnMessage))",
            "ws = WebSocket.connect(...) task.cancel(task.spawn(ws.OnClose.Wait, ws.OnClose))",
            "ws = WebSocket.connect(...)
             local t = coroutine.create(function() ws.OnPong:Wait() end)
             coroutine.resume(t)
             coroutine.close(t)",
            // A thread opens the connection, and ends then.
            "task.spawn(WebSocket.connect, ...)",
            "local url = ... task.delay(0.01, function() WebSocket.connect(url) end)",
            "WebSocket.connect(...) task.spawn(coroutine.yield)",
            "WebSocket.connect(...) task.spawn(task.wait, math.huge)",
            "ws = WebSocket.connect(...) task.wait(0) error('oh')",
        ] {
            let server = serve(|listener| Peer::open(listener).rest());
            says(mode, script, server.url());
            assert_eq!(server.end(), ["close 1001"], "{script}");
        }
    }

    fn a_listener_or_a_waiting_thread_keeps_the_program(mode) {
        for listen in [
            "WebSocket.connect(...).OnMessage:Connect(print)",
            "WebSocket.connect(...).OnMessage:Once(print)",
            "print(WebSocket.connect(...).OnMessage:Wait())",
            "WebSocket.connect(...).OnClose:Connect(print)",
            "WebSocket.connect(...).OnClose:Wait()",
            "WebSocket.connect(...).OnPong:Connect(print)",
            "task.spawn(function(url) WebSocket.connect(url).OnClose:Wait() end, ...)",
            "local url = ...
             task.defer(function() WebSocket.connect(url).OnClose:Wait() end)",
        ] {
            let server = serve(|listener| {
                let mut peer = Peer::open(listener);
                // The server waits long enough to notice a program that ends early.
                peer.stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
                let early = std::io::Read::read(&mut peer.stream, &mut [0; 9]);
                assert!(early.is_err_and(|e| is_timeout(&e)));
                peer.stream.set_read_timeout(Some(LONG)).unwrap();
                peer.send(&[text("x"), close(4000, "")].concat());
                peer.frames()
            });
            says(mode, listen, server.url());
            let reported = server.end();
            // `Once` has removed the program's listener before the server closed.
            assert!(reported == ["close 4000"] || reported == ["close 1001"], "{listen}: {reported:?}");
        }
    }

    fn nobody_waits_for_a_message_after_the_end(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            peer.send(&close(1000, ""));
            peer.frames()
        });
        let script = r#"local ws = WebSocket.connect(...)
            local before = task.spawn(function()
                ws.OnMessage:Wait()
                error("never")
            end)
            ws.OnPong:Connect(error)
            local c = ws.OnMessage:Connect(error)
            ws.OnClose:Wait()
            task.wait()
            eq(c.Connected, false)
            ws.OnMessage:Connect(error)
            ws.OnPong:Connect(error)
            task.spawn(function()
                ws.OnPong:Wait()
                error("never")
            end)
            task.spawn(function() ws.OnMessage:Wait() error("never") end)
            done()"#;
        passes(mode, script, server.url());
        server.end();
    }

    fn a_server_that_never_answers_costs_two_seconds_and_a_warning(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            [peer.received(), peer.received(), peer.received()]
        });
        let begin = Instant::now();
        let said = says(mode, "WebSocket.connect(...):Send('x')", server.url());
        assert_eq!(said, ["warning: 1 connection was not closed within 2s"]);
        assert!(begin.elapsed() >= Duration::from_secs(2));
        assert_eq!(server.end(), ["x", "close 1001", "EOF"]);
    }

    // The collector frees a WebSocket without references, which closes its connection.
    fn a_reference_that_is_dropped_closes_its_connection(mode) {
        for forget in [
            "WebSocket.connect(url)",
            "local ws = WebSocket.connect(url) local s = ws.OnMessage ws:Send('x')",
            "local ws = WebSocket.connect(url)
             local c = ws.OnMessage:Connect(function() print(ws) end)
             c:Disconnect()",
            "local ws = WebSocket.connect(url)
             local t = task.spawn(function() ws.OnMessage:Wait() end)
             task.cancel(t)",
            "local ws = WebSocket.connect(url)
             ws.OnPong:Once(function() print(ws) end):Disconnect()",
            "pcall(WebSocket.connect, url)",
            "task.spawn(WebSocket.connect, url)",
        ] {
            let seen = Flag::default();
            let its = seen.clone();
            let server = serve(move |listener| {
                let reported = Peer::open(listener).rest();
                its.set();
                reported
            });
            let script = format!(r#"local url = ...
                task.spawn(function()
                    {forget}
                end)
                repeat
                    collect()
                    task.wait(0.02)
                until seen()
                done()"#);
            let mut rt = with_collect(mode);
            rt.flag("seen", &seen);
            rt.passes(&script, server.url());
            assert_eq!(server.end().last().unwrap(), "close 1001", "{forget}");
        }
    }

    // The collector runs just before the program sleeps. No other event would wake the program.
    fn a_dropped_reference_is_noticed_before_the_program_sleeps(mode) {
        let server = serve(|listener| {
            let mut first = Peer::open(listener);
            let mut second = Peer::open(listener);
            let reported = first.rest();
            second.send(&[text("now"), close(1000, "")].concat());
            second.frames();
            reported
        });
        let script = r#"local url = ...
            local thread = task.spawn(function()
                local ws = WebSocket.connect(url)
            end)
            local ws = WebSocket.connect(url)
            until_true(function() return coroutine.status(thread) == "dead" end)
            thread = nil
            task.defer(collect)
            eq(ws.OnMessage:Wait(), "now")
            done()"#;
        with_collect(mode).passes(script, server.url());
        assert_eq!(server.end(), ["close 1001"]);
    }

    // The thread that called the handler does not keep it either.
    fn a_handler_that_has_left_is_kept_by_nobody(mode) {
        let server = echo();
        let script = r#"local url = ...
            local weak = setmetatable({}, { __mode = "kv" })
            task.spawn(function()
                local ws, thing, conn = WebSocket.connect(url), {}, nil
                weak.ws, weak.thing = ws, thing
                conn = ws.OnMessage:Connect(function(m)
                    thing.m = m
                    conn:Disconnect()
                end)
                ws:Send("bye")
            end)
            until_true(function()
                collect()
                return not (weak.ws or weak.thing)
            end)
            done()"#;
        with_collect(mode).passes(script, server.url());
    }

    fn what_has_a_listener_or_a_reference_is_not_collected(mode) {
        for keep in [
            "local ws = WebSocket.connect(url) kept = ws",
            "local ws = WebSocket.connect(url) kept = ws.OnMessage",
            "local ws = WebSocket.connect(url) kept = { [ws.OnClose] = true }",
            "local ws = WebSocket.connect(url) kept = function() return ws end",
            "WebSocket.connect(url).OnMessage:Connect(function() end)",
            "WebSocket.connect(url).OnClose:Connect(function() end)",
            "WebSocket.connect(url).OnClose:Once(function() end)",
            "WebSocket.connect(url).OnMessage:Wait()",
        ] {
            let server = serve(|listener| {
                let mut peer = Peer::open(listener);
                assert_eq!(peer.received(), "hello");
                let reported = peer.rest();
                peer.send(&close(1000, ""));
                reported
            });
                        let script = format!(r#"local url = ...
                task.spawn(function()
                    {keep}
                end)
                until_true(function() return is_open end)
                for _ = 1, 5 do
                    collect()
                    task.wait()
                end
                -- The server receives the close frame of `quit`, and none before it.
                quit()
                task.wait(100)"#);
            let mut rt = with_collect(mode);
            let stopper = rt.runtime.stopper();
            let quit = rt.runtime.lua().create_function(move |_, ()| {
                let stopper = stopper.clone();
                std::thread::spawn(move || stopper.stop(4999, Duration::from_secs(2)));
                Ok(())
            });
            rt.runtime.lua().globals().set("quit", quit.unwrap()).unwrap();
            let script = script.replace("WebSocket.connect(url)", "opened(WebSocket.connect(url))");
            let opened = "local ws = ... ws:Send('hello') is_open = true return ws";
            let opened = rt.runtime.lua().load(opened).into_function().unwrap();
            rt.runtime.lua().globals().set("opened", opened).unwrap();
            rt.spawn(&script, server.url());
            while rt.runtime.run().unwrap() != Progress::Stopped {}
            assert_eq!(server.end(), ["close 4999"], "{keep}");
            assert!(rt.said.take().is_empty());
        }
    }

    fn handlers_work_though_no_variable_holds_the_object(mode) {
        let server = echo();
        let script = r#"local url = ...
            for _ = 1, 20 do
                task.spawn(function()
                    local ws = WebSocket.connect(url)
                    ws.OnMessage:Connect(function(m)
                        if m == "5" then ws:Close() else ws:Send(tostring(m + 1)) end
                        collect()
                    end)
                    ws.OnClose:Once(function() print("closed") end)
                    ws:Send("1")
                end)
            end"#;
        let said = with_collect(mode).says(script, server.url());
        assert_eq!(said, ["closed"; 20]);
    }

    // A long-lived program that connects repeatedly keeps nothing of earlier connections.
    fn closed_connections_leave_nothing_behind(mode) {
        let server = echo();
        let script = r#"local url = ...
            local weak = setmetatable({}, { __mode = "k" })
            local function one()
                local ws = WebSocket.connect(url)
                weak[ws] = true
                weak[ws.OnMessage] = true
                weak[ws.OnMessage:Connect(function() print(ws) end)] = true
                ws.OnPong:Connect(function() print(ws) end)
                ws.OnClose:Connect(function() print(ws.State) end)
                local thread = task.spawn(function()
                    ws.OnMessage:Wait()
                    print(ws)
                end)
                weak[thread] = true
                ws:Send("never reported")
                ws:Close()
                ws.OnClose:Wait()
                -- Listeners that are connected after the end.
                weak[ws.OnMessage:Connect(function() print(ws) end)] = true
                ws.OnPong:Connect(function() print(ws) end)
                ws.OnClose:Connect(function() print(ws.State) end)
                task.wait()
            end
            for _ = 1, 3 do
                one()
            end
            -- The stack may still hold the last objects, so these calls overwrite it.
            local filler = table.create(50, 0)
            select(50, table.unpack(filler))
            for _ = 1, 5 do
                task.wait()
                collect()
            end
            local left = 0
            for value in weak do
                left += 1
                print("left", value)
            end
            eq(left, 0)"#;
        let said = with_collect(mode).says(script, server.url());
        assert_eq!(said, ["Closed"; 6]);
    }

    fn whatever_a_script_does_it_ends(mode) {
        let server = echo();
        for seed in 1..=8 {
            let mut rt = with_collect(mode);
            rt.passes(include_str!("random.luau"), (server.url(), seed, seed % 2 == 0));
        }
    }

    // Rule 8 also holds for waits without a connection.
    fn a_cancelled_wait_does_not_keep_the_program(mode) {
        for start in [
            "task.spawn(task.wait, 100)",
            "task.spawn(function() task.wait(100) error('never') end)",
            "task.spawn(wait, 100)",
            "task.delay(100, error, 'never')",
            "task.defer(error, 'never')",
            "task.delay(0, error, 'never')",
            "task.spawn(function() task.wait() error('never') end)",
        ] {
            for end in ["task.cancel", "coroutine.close"] {
                let script = format!("local t = {start} task.delay(0.01, print, 'end') {end}(t)");
                let begin = Instant::now();
                assert_eq!(says(mode, &script, ()), ["end"], "{script}");
                assert!(begin.elapsed() < Duration::from_secs(10));
            }
        }
    }

    // The stopper is used in another thread.
    fn a_stopper_ends_a_program_that_waits(mode) {
        for round in 0..40 {
            let server = serve(|listener| Peer::open(listener).rest());
            let mut rt = Rt::new(mode);
            rt.spawn("WebSocket.connect(...).OnMessage:Connect(print) print('open')", server.url());
            let stopper = rt.runtime.stopper();
            let said = rt.said.clone();
            let thread = std::thread::spawn(move || {
                while said.all().is_empty() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                stopper.stop(4001, Duration::from_secs(5));
            });
            assert_eq!(rt.runtime.run().unwrap(), Progress::Stopped, "round {round}");
            assert_eq!(rt.runtime.step(Duration::ZERO).unwrap(), Progress::Stopped);
            thread.join().unwrap();
            assert_eq!(server.end(), ["close 4001"]);
        }
    }

    fn a_runtime_that_is_dropped_ends_its_connections(mode) {
        let server = serve(|listener| Peer::open(listener).frames());
        let mut rt = Rt::new(mode);
        rt.spawn("WebSocket.connect(...).OnMessage:Connect(print) print('open')", server.url());
        while rt.said.all().is_empty() {
            rt.runtime.step(Duration::from_millis(1)).unwrap();
        }
        drop(rt);
        let reported = server.end();
        assert!(reported.is_empty() || reported == ["close 1001"], "{reported:?}");
    }
}
