//! §2: what keeps a program alive, what is left behind, and scripts written for Roblox.

use super::common::{self, Peer};
use super::raw::{self, close, serve, text};
use super::streams::*;
use super::support::*;

/// A WebSocket server that sends "1" and closes after a while, if the client is still there.
fn late(stays: bool) -> raw::Raw<bool> {
    serve(move |listener| {
        let mut peer = raw::Peer::open(listener);
        // Long enough to notice a program that ends.
        let wait = if stays { std::time::Duration::from_millis(40) } else { raw::LONG };
        peer.stream.set_read_timeout(Some(wait)).unwrap();
        let early = std::io::Read::read(&mut peer.stream, &mut [0; 99]).is_ok();
        peer.stream.set_read_timeout(Some(raw::LONG)).unwrap();
        if early {
            // It has sent close_notify.
            let _ = std::io::Write::write_all(&mut peer.stream, &raw::frame(0x88, b""));
        } else {
            peer.send(&[text("1"), close(1000, "")].concat());
            peer.frames();
        }
        early
    })
}

/// Operations of a script in a loop that must leave nothing behind; `sockets` is an echo server.
const ROUNDS: &str = r#"local sockets, closed, rounds = ...
    local function one(i)
        local c = if i % 2 == 0 then create("WebSocket", sockets) else create("SSE", closed)
        weak[c] = true
        weak[c.Closed] = true
        weak[c.Opened:Connect(function() return c end)] = true
        c.MessageReceived:Connect(function() c:Close() end)
        c.Error:Connect(function() return c end)
        c.Changed:Connect(function() return c end)
        weak[task.spawn(function() c.MessageReceived:Wait() c.Error:Wait() return c end)] = true
        if i % 4 == 0 then
            c:Send(string.rep("x", 1000))
        elseif i % 4 == 2 then
            c:Close()
        end
        c.Closed:Wait()
        -- Listeners that come too late.
        task.wait()
        weak[c.Closed:Connect(function() return c end)] = true
        c:GetPropertyChangedSignal("ConnectionState"):Connect(function() return c end)
        weak[task.spawn(function() c.Closed:Wait() return c end)] = true
        weak[task.spawn(function() c.MessageReceived:Wait() return c end)] = true
    end
    local half
    for i = 1, rounds do
        one(i)
        if i == rounds // 2 then
            collect()
            half = memory()
        end
    end
    for _ = 1, 5 do
        task.wait()
        collect()
    end
    slots()
    local left = 0
    for value in weak do left += 1 end
    -- The last one may still stand in a register.
    check(left <= 8, left)
    local grown = memory() - half
    check(grown < 100 * 1024, grown)
    done()"#;

/// A runtime whose scripts can ask for the VM's memory.
fn with_memory(mode: Mode) -> Rt {
    let rt = runtime(mode);
    let lua = rt.runtime.lua();
    let memory = lua.create_function(|lua, ()| Ok(lua.used_memory())).unwrap();
    lua.globals().set("memory", memory).unwrap();
    let weak = "weak = setmetatable({}, { __mode = 'k' })";
    lua.load(weak).exec().unwrap();
    rt
}

both! {
    fn a_listener_keeps_the_program(mode) {
        for (listens, script) in [
            (true, "c.MessageReceived:Connect(print)"),
            (true, "c.Closed:Connect(print)"),
            (true, "c.Error:Once(print)"),
            (true, "c.Changed:Connect(print)"),
            (true, "c:GetPropertyChangedSignal('ConnectionState'):Connect(print)"),
            (true, "c:GetPropertyChangedSignal('ClassName'):Connect(print)"),
            (true, "c.Closed:Wait()"),
            (true, "task.spawn(c.MessageReceived.Wait, c.MessageReceived) c = nil"),
            (true, "c.Opened:Connect(function() c.MessageReceived:Connect(print) end)"),
            (true, "c.MessageReceived:Connect(print) c = nil"),
            (false, "c.Opened:Wait()"),
            (false, "c.Opened:Once(function() end)"),
            (false, "c.Opened:Wait() c.MessageReceived:Connect(print):Disconnect()"),
            (false, "c.Opened:Wait() task.cancel(task.spawn(c.Closed.Wait, c.Closed))"),
            (false, "c.Opened:Wait() kept = { c, c.Closed, c.MessageReceived }"),
            (false, "c.Opened:Wait() error('oh', 0)"),
            (false, "c:Send('x')"),
        ] {
            let server = late(listens);
            let text = format!("c = create('WebSocket', ...) {script}");
            runtime(mode).says(&text, server.url());
            assert_eq!(server.end(), !listens, "{script}");
        }
    }

    // Without a handler, it is not even opened.
    fn without_a_listener_nothing_keeps_the_program(mode) {
        let hangs = std::net::TcpListener::bind(common::loopback()).unwrap();
        let address = hangs.local_addr().unwrap().to_string();
        for script in [
            "c = create('SSE', 'http://' .. ...)",
            "c = create('SSE', 'http://' .. ...) c:Close()",
            "c = create('WebSocket', 'ws://' .. ...) c:Send('x') c:Close()",
            "c = create('WebSocket', 'ws://' .. ...) c.Opened:Connect(print) c:Close()",
            "c = create('RawStream', 'http://' .. ...) c.Closed:Connect(print):Disconnect()",
            "c = create('RawStream', 'http://a b/') c:Close()",
            "c = create('RawStream', 'http://a b/')",
            "c = create('WebSocket', 'ws://a b/') c:Send('x')",
            "c = create('RawStream', 'http://a b/') c.Opened:Connect(print)",
        ] {
            let begin = std::time::Instant::now();
            assert!(runtime(mode).says(script, &*address).is_empty(), "{script}");
            assert!(begin.elapsed() < raw::LONG / 4, "{script}");
        }
    }

    fn nobody_waits_for_what_will_not_come(mode) {
        let server = serve(|listener| {
            raw::Peer::open_with(listener, "", &close(1000, "")).frames();
        });
        let script = r#"local c = create("WebSocket", ...)
            task.spawn(function() c.MessageReceived:Wait() error("never") end)
            task.spawn(function() c.Error:Wait() error("never") end)
            local handler = c.MessageReceived:Connect(error)
            c.Closed:Wait()
            task.wait()
            eq(handler.Connected, false)
            -- Nor afterwards; a closed client fires nothing any more.
            task.spawn(function() c.Opened:Wait() error("never") end)
            c.Closed:Connect(error)
            c.Changed:Connect(error)
            task.spawn(function() c.Closed:Wait() error("never") end)
            done()"#;
        runtime(mode).passes(script, server.url());
        server.end();
    }

    // In the order in which they were called, all in one thread.
    fn closed_can_be_waited_for_after_close(mode) {
        let server = echo();
        let script = r#"local c = create("WebSocket", ...)
            c.Opened:Wait()
            c:Close()
            eq(args(c.Closed:Wait()), args())
            local c = create("WebSocket", ...)
            c:Close()
            local thread = task.spawn(function() c.Closed:Wait() done() end)
            eq(coroutine.status(thread), "suspended")"#;
        runtime(mode).passes(script, server.url());
    }

    // Though it has no handler and no reference.
    fn what_was_sent_goes_out_before_the_program_ends(mode) {
        for script in [
            "local c = create('WebSocket', ...) c:Send('1') c:Send('2')",
            "local c = create('WebSocket', ...) c:Send('1') c:Send('2') c = nil collect()",
            "local function send(url) local c = create('WebSocket', url) c:Send('1') c:Send('2') end
             send(...)
             task.defer(collect)",
            "local c = create('WebSocket', ...)
             c:Send('1')
             local h = c.Opened:Connect(print)
             c:Send('2')
             h:Disconnect()
             h, c = nil, nil
             for _ = 1, 3 do task.wait() collect() end",
            "local c = create('WebSocket', ...) c.Opened:Wait() c:Send('1') c:Send('2')",
            "local c = create('WebSocket', ...) c.Opened:Wait() c:Send('1') c:Send('2') c:Close()",
        ] {
            let server = serve(|listener| {
                let mut peer = raw::Peer::asked(listener);
                std::thread::sleep(std::time::Duration::from_millis(20));
                let answer = peer.answer("");
                let _ = std::io::Write::write_all(&mut peer.stream, answer.as_bytes());
                peer.rest()
            });
            assert!(runtime(mode).says(script, server.url()).is_empty());
            let reported = server.end();
            assert_eq!(reported[..reported.len().min(2)], ["1", "2"], "{script}");
            assert!(reported[2].starts_with("close 100"), "{reported:?}");
        }
    }

    // A client without references to which messages were sent is released once it is open.
    fn a_client_that_is_only_sent_to_is_collected_afterwards(mode) {
        let server = serve(|listener| raw::Peer::open(listener).rest());
        let script = r#"local function send(url) create("WebSocket", url):Send("1") end
            send(...)
            for _ = 1, 200 do
                collect()
                task.wait()
                if pcall(slots) then break end
            end
            slots()
            done()"#;
        runtime(mode).passes(script, server.url());
        assert_eq!(server.end(), ["1", "close 1001"]);
    }

    // While it is not open, its queue is bounded; no accepted message is lost.
    fn a_full_queue_raises(mode) {
        let server = serve(|listener| {
            let mut peer = raw::Peer::open(listener);
            let mut n = 0;
            while peer.next().is_some_and(|frame| frame.opcode != 8) {
                n += 1;
            }
            n
        });
        let mut rt = with(mode, |mut options| {
            options.config().limits.send_queue = 10_000;
            options
        });
        let script = r#"local c = create("WebSocket", ...)
            local sent = 0
            local function fill(text)
                while true do
                    local ok, problem = pcall(c.Send, c, text)
                    if not ok then
                        check(string.find(problem, "the send queue is full: ", 1, true))
                        return
                    end
                    sent += 1
                    check(sent < 1000)
                end
            end
            fill(string.rep("x", 64))
            -- All of them have to fit once it is open, with their frames' headers.
            check((sent - 1) * 70 <= 10000, sent)
            fill("")
            fill(string.rep("x", 100))
            c.Opened:Wait()
            c:Close()
            print(sent)"#;
        let said = rt.says(script, server.url());
        drop(rt);
        assert_eq!(said, [server.end().to_string()]);
    }

    fn closed_clients_leave_nothing_behind(mode) {
        let server = echo();
        let mut rt = with_memory(mode);
        rt.passes(ROUNDS, (server.url(), refused_http(), 120));
    }

    fn two_thousand_clients_one_after_another(mode) {
        // They never reach the network, so that only the script side is tested.
        let script = r#"local function one(i)
                local c = create("WebSocket", "ws://127.0.0.1:9/")
                c.Closed:Connect(function() return c end)
                c.MessageReceived:Connect(function() return c end)
                c:Send("x")
                if i % 2 == 0 then
                    c:Close()
                    task.defer(c.Close, c)
                    c.Closed:Wait()
                else
                    c:Close()
                end
            end
            local half
            for i = 1, 2000 do
                one(i)
                if i % 100 == 0 then collect() end
                if i == 1000 then
                    task.wait()
                    collect()
                    half = memory()
                end
            end
            task.wait()
            slots()
            task.wait()
            collect()
            local grown = memory() - half
            -- A table that grows once is no leak.
            check(grown < 100 * 1024, grown)
            done()"#;
        with_memory(mode).passes(script, ());
    }

    fn a_new_one_from_closed_fifty_times(mode) {
        let server = serve(|listener| {
            for i in 0..50 {
                let mut peer = raw::Peer::open_with(listener, "", &text("x"));
                if i % 2 == 0 {
                    peer.send(&close(1000, ""));
                    peer.frames();
                }
            }
        });
        let script = r#"local url = ...
            local opened, ended, got = 0, 0, 0
            local function start()
                local c = create("WebSocket", url)
                c.Opened:Connect(function() opened += 1 end)
                c.MessageReceived:Connect(function() got += 1 end)
                c.Closed:Connect(function()
                    ended += 1
                    if ended < 50 then start() end
                    if ended == 25 then
                        -- The new one has its slot already.
                        slots(5)
                    end
                end)
            end
            start()
            until_true(function() return ended == 50 end)
            eq(`{opened} {got}`, "50 50")
            slots()
            done()"#;
        runtime(mode).passes(script, server.url());
        server.end();
    }

    fn a_script_written_for_roblox(mode) {
        let server = serve(|listener| {
            let mut all = Vec::new();
            for i in 0..3 {
                let mut peer = raw::Peer::open_with(listener, "", &text(&format!("hello {i}")));
                let mut reported = vec![peer.received(), peer.received(), peer.received()];
                match i {
                    // Lost without a close frame, then failed by a violation.
                    0 => drop(peer),
                    1 => {
                        peer.send(&raw::frame(0x83, b""));
                        peer.rest();
                    }
                    _ => {
                        peer.send(&text("stop"));
                        reported.push(peer.rest().last().cloned().unwrap_or_default());
                    }
                }
                all.push(reported);
            }
            all
        });
        let said = runtime(mode).says(include_str!("reconnect.luau"), server.url());
        assert_eq!(said, [
            "connecting 1", "opened 101", "message hello 0",
            "error 400 Failed ws recv", "closed Error", "connecting 2", "opened 101",
            "message hello 1", "error 400 Failed ws recv", "closed Error", "connecting 3",
            "opened 101", "message hello 2", "message stop", "closed Closed", "over",
        ]);
        let reported = server.end();
        for (i, reported) in reported.iter().enumerate() {
            assert_eq!(reported[..3], [format!("login {}", i + 1), "beat 1".into(), "beat 2".into()]);
        }
        assert_eq!(reported[2][3], "close 1000");
    }
}

/// Events of a server that writes them in pieces of 64 KiB, `count` in all.
fn events(count: usize) -> common::Scripted<()> {
    common::serve(move |mut peer: Peer| {
        peer.request();
        peer.write(EVENTS.as_bytes());
        let event = b"data: 0123456\n\n";
        let piece = event.repeat(65_536 / event.len());
        let mut left = count;
        while left > 0 {
            let n = left.min(65_536 / event.len());
            peer.write(&piece[..n * event.len()]);
            left -= n;
        }
        finish(&mut peer);
    })
}

const MILLION: usize = 1_000_000;

both! {
    fn memory_stays_flat_over_many_events(mode) {
        let server = events(MILLION);
        let mut rt = with_memory(mode);
        let script = r#"local url, count = ...
            local c, n, part, begin = create("SSE", url), 0, count // 10, tick()
            local marks, times = {}, {}
            c.MessageReceived:Connect(function(block)
                n += 1
                if block ~= "data: 0123456\n\n" then error(block) end
                if n % part == 0 then
                    times[#times + 1] = tick() - begin
                    collect()
                    marks[#marks + 1] = memory()
                    begin = tick()
                end
            end)
            c.Closed:Wait()
            eq(n, count)
            eq(#marks, 10)
            for i = 2, 10 do
                local grown = marks[i] - marks[1]
                -- A batch under way may take some MiB; a tenth that kept 40 bytes an event, 4 MB.
                check(grown < 3 * 1024 * 1024, `{grown} bytes more after {i} tenths`)
            end
            times_of_tenths = table.concat(times, " ")
            done()"#;
        let before = resident();
        rt.passes(script, (url_for("SSE", &server), MILLION));
        let grown = resident().saturating_sub(before);
        // Other tests of this process use memory, too, so this is only printed, on request.
        if std::env::var_os("MOONWIRE_TIMES").is_some() {
            let times: String = rt.runtime.lua().globals().get("times_of_tenths").unwrap();
            eprintln!("{mode:?}: {grown} KiB more; seconds for each tenth: {times}");
        }
        server.join();
    }
}

/// Memory of this process in KiB, if the system reports it.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
