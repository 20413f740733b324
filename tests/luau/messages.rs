//! §1, rules 1 to 4, 6 and 7: when events are reported, and that nothing is lost.

use std::time::Duration;

use super::raw::{self, Peer, close, frame, serve, text};
use super::support::*;

/// Sends everything in one write with the answer to the handshake; returns the frames that come
/// back.
fn glued(parts: &[Vec<u8>]) -> raw::Raw<Vec<String>> {
    let bytes = parts.concat();
    serve(move |listener| Peer::open_with(listener, "", &bytes).rest())
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|t| text(t)).collect()
}

both! {
    // Rule 1: everything has arrived before `connect` returns, and waits for the thread's next
    // yield.
    fn nothing_is_reported_before_the_connecting_thread_has_run_on(mode) {
        for call in [
            "ws = WebSocket.connect(...)",
            "ws = select(2, pcall(WebSocket.connect, ...))",
            "ws = websocket.connect(...)",
        ] {
            let server = glued(&[text("1"), text("2"), close(4001, "bye")]);
            let script = format!(r#"local ws
                {call}
                local t = os.clock()
                repeat until os.clock() - t > 0.05
                print(ws.State, ws.CloseCode)
                ws.OnClose:Connect(function() print("closed", ws.CloseCode, ws.CloseReason) end)
                ws.OnMessage:Connect(print)
                print("attached")"#);
            assert_eq!(says(mode, &script, server.url()), [
                "Open nil", "attached", "1", "2", "closed 4001 bye",
            ]);
            assert_eq!(server.end(), ["close 4001"]);
        }
    }

    fn rule_1_holds_for_threads_that_were_spawned(mode) {
        let server = glued(&[text("1"), close(1000, "")]);
        let script = r#"local url = ...
            local started = task.spawn(function()
                local ws = WebSocket.connect(url)
                task.spawn(function()
                    -- Of a thread that this one starts, too.
                    ws.OnMessage:Connect(print)
                end)
                print("attached")
                ws.OnClose:Wait()
                print("closed")
            end)"#;
        assert_eq!(says(mode, script, server.url()), ["attached", "1", "closed"]);
        server.end();
    }

    // Rule 2.
    fn messages_are_held_for_the_first_listener(mode) {
        let server = serve(|listener| {
            let first = [texts(&["1", "2", "3"]), vec![frame(0x82, b"\xFF4")], texts(&["5"])];
            let mut peer = Peer::open_with(listener, "", &first.concat().concat());
            assert_eq!(peer.received(), "more");
            peer.send(&texts(&["6", "7"]).concat());
            peer.rest()
        });
        let script = r#"local ws = WebSocket.connect(...)
            task.wait(0.1)
            eq(ws.OnMessage:Wait(), "1")
            -- Taken by the one who waits, and kept from those who come later.
            local once
            ws.OnMessage:Once(function(m)
                once = m
            end)
            task.wait()
            eq(once, "2")
            task.wait(0.05)
            eq(ws.OnMessage:Wait(), "3")
            eq(args(ws.OnMessage:Wait()), args("\xFF4", true))
            ws:Send("more")
            task.wait(0.1)
            local all = {}
            ws.OnMessage:Connect(function(m)
                table.insert(all, m)
                if m == "7" then ws:Close() end
            end)
            eq(#all, 0, "not inside Connect")
            ws.OnClose:Wait()
            eq(table.concat(all), "567")
            done()"#;
        passes(mode, script, server.url());
        assert_eq!(server.end(), ["close 1000"]);
    }

    fn the_order_holds_between_held_messages_and_later_ones(mode) {
        let server = serve(|listener| {
            let all: Vec<u8> = (1..=1000).flat_map(|n| text(&n.to_string())).collect();
            let (first, rest) = all.split_at(1500);
            let mut peer = Peer::open_with(listener, "", first);
            peer.received();
            peer.send(rest);
            peer.rest()
        });
        let script = r#"local ws = WebSocket.connect(...)
            task.wait(0.05)
            ws:Send("go")
            local n = 0
            for i = 1, 10 do
                n += 1
                eq(ws.OnMessage:Wait(), tostring(n))
            end
            ws.OnMessage:Connect(function(m)
                n += 1
                eq(m, tostring(n))
                if n % 100 == 0 then task.wait(0.01) end
                if m == "1000" then ws:Close() end
            end)
            ws.OnClose:Wait()
            eq(n, 1000)
            done()"#;
        passes(mode, script, server.url());
        server.end();
    }

    fn a_disconnected_listener_has_ended_the_hold(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open_with(listener, "", &text("1"));
            peer.received();
            peer.send(&[text("2"), frame(0x8A, b"")].concat());
            peer.received();
            peer.send(&text("3"));
            peer.rest()
        });
        let script = r#"local ws = WebSocket.connect(...)
            local c = ws.OnMessage:Connect(print)
            task.wait()
            c:Disconnect()
            ws:Send("one that nobody listens to, please")
            ws.OnPong:Wait()
            ws:Send("another")
            print(ws.OnMessage:Wait())"#;
        assert_eq!(says(mode, script, server.url()), ["1", "3"]);
        server.end();
    }

    // The held messages have no gaps: a short message behind a dropped one is dropped, too.
    fn the_hold_is_bounded_and_says_so_once(mode) {
        let all = ["a".repeat(100), "b".repeat(100), "c".repeat(100), "d".into(), "e".into()];
        let all: Vec<u8> = all.iter().flat_map(|t| text(t)).collect();
        // Exactly three fit; with a byte less, two.
        for hold in [300, 299] {
            let all = all.clone();
            let server = serve(move |listener| {
                let mut peer = Peer::open_with(listener, "", &all);
                assert_eq!(peer.received(), "now");
                peer.send(&text("later"));
                peer.rest()
            });
            let mut rt = Rt::with(mode, |mut options| {
                options.config().limits.hold = hold;
                options
            });
            let script = r#"local ws = WebSocket.connect(...)
                task.wait(0.1)
                ws.OnMessage:Connect(function(m)
                    print(#m, string.sub(m, 1, 1))
                    if m == "later" then ws:Close() end
                end)
                task.wait()
                ws:Send("now")"#;
            let url = server.url();
            let warning = format!(
                "warning: {url}: messages that nobody listens to are dropped: \
                 more than {hold} bytes wait for OnMessage"
            );
            let mut want = vec![&*warning, "100 a", "100 b", "100 c", "5 l"];
            want.retain(|line| hold == 300 || *line != "100 c");
            assert_eq!(rt.says(script, url.as_str()), want);
            server.end();
        }
    }

    // An empty message costs memory, too.
    fn empty_messages_fill_the_hold_too(mode) {
        let server = serve(|listener| {
            Peer::open_with(listener, "", &text("").repeat(5000)).rest()
        });
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.hold = 1000;
            options
        });
        let script = r#"local ws = WebSocket.connect(...)
            task.wait(0.2)
            local n = 0
            ws.OnMessage:Connect(function() n += 1 end)
            task.wait(0.1)
            eq(n, 1000 // 64)
            ws:Close()
            done()"#;
        let said = rt.says(script, server.url());
        assert!(said[0].starts_with("warning: "), "{said:?}");
        assert_eq!(said[1..], ["done"]);
        server.end();
    }

    fn the_hold_has_a_bound_over_all_connections(mode) {
        let (long, short) = ("x".repeat(100), "y".repeat(70));
        let bound = |limit: usize| {
            Rt::with(mode, move |mut options| {
                options.config().limits.hold_total = limit;
                options
            })
        };
        let script = r#"local a, b, count = ...
            a, b = WebSocket.connect(a), WebSocket.connect(b)
            task.wait(0.1)
            local of_b = 0
            b.OnMessage:Connect(function() of_b += 1 end)
            eq(a.OnMessage:Wait(), string.rep("x", 100))
            task.wait(0.05)
            eq(of_b, count)
            b:Close()
            done()"#;
        // All three fit exactly; with a byte less, one does not.
        for (limit, of_b) in [(240, 2), (239, 1)] {
            let (a, b) = (glued(&texts(&[&long])), glued(&texts(&[&short, &short])));
            let said = bound(limit).says(script, (a.url(), b.url(), of_b));
            let warning = format!(
                "warning: {}: messages that nobody listens to are dropped: \
                 more than 239 bytes wait for OnMessage of all connections",
                b.url()
            );
            let mut want = vec![&*warning, "done"];
            want.retain(|line| of_b == 1 || *line == "done");
            assert_eq!(said, want);
            a.end();
            b.end();
        }
        // Messages that are taken make room again, and so does the end of a connection, by either
        // side.
        let server = serve(move |listener| {
            let message = text(&long);
            for _ in 0..2 {
                let mut peer = Peer::open_with(listener, "", &message);
                assert_eq!(peer.rest(), ["close 1000"]);
                let bytes = [&message[..], &close(1000, "")].concat();
                assert_eq!(Peer::open_with(listener, "", &bytes).frames(), ["close 1000"]);
            }
            let mut peer = Peer::open_with(listener, "", &message);
            peer.received();
            peer.send(&message);
            peer.rest()
        });
        let script = r#"local url = ...
            local long = string.rep("x", 100)
            for i = 1, 4 do
                local ws = WebSocket.connect(url)
                task.wait(0.05)
                if i % 2 == 1 then ws:Close() end
                ws.OnClose:Wait()
                if i == 2 then
                    -- Taken after the end, it counts no more.
                    eq(ws.OnMessage:Wait(), long)
                end
            end
            local ws = WebSocket.connect(url)
            task.wait(0.05)
            eq(ws.OnMessage:Wait(), long)
            ws:Send("more")
            task.wait(0.05)
            eq(ws.OnMessage:Wait(), long)
            done()"#;
        bound(150).passes(script, server.url());
        server.end();
    }

    fn held_messages_do_not_stop_on_close(mode) {
        let server = glued(&[text("1"), text("2"), close(1000, "")]);
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnClose:Wait()
            print("closed", ws.State)
            print(ws.OnMessage:Wait())
            ws.OnMessage:Connect(print)
            task.wait()
            ws.OnMessage:Connect(function() print("never") end)
            task.wait()"#;
        assert_eq!(says(mode, script, server.url()), ["closed Closed", "1", "2"]);
        server.end();
    }

    fn a_local_close_drops_what_is_held(mode) {
        let server = glued(&[text("1"), text("2")]);
        let script = r#"local ws = WebSocket.connect(...)
            task.wait(0.05)
            ws:Close()
            ws.OnMessage:Connect(function() print("never") end)
            ws.OnClose:Wait()
            ws.OnMessage:Connect(function() print("never") end)
            task.wait()
            print("closed")"#;
        assert_eq!(says(mode, script, server.url()), ["closed"]);
        assert_eq!(server.end(), ["close 1000"]);
    }

    // Rule 3.
    fn on_close_stays_answered(mode) {
        let server = glued(&[close(4000, "")]);
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnClose:Wait()
            for i = 1, 2 do
                local log = {}
                ws.OnClose:Connect(function(...)
                    table.insert(log, "connect " .. args(...))
                end)
                ws.OnClose:Once(function(...)
                    table.insert(log, "once " .. args(...))
                end)
                task.spawn(function()
                    table.insert(log, "wait " .. args(ws.OnClose:Wait()))
                end)
                local dropped = ws.OnClose:Connect(error)
                dropped:Disconnect()
                local cancelled = task.spawn(function()
                    ws.OnClose:Wait()
                    error("cancelled")
                end)
                task.cancel(cancelled)
                eq(#log, 0, "not inside the call")
                task.defer(function()
                    eq(table.concat(log, "; "), "connect 0: ; once 0: ; wait 0: ")
                end)
                task.wait()
                eq(#log, 3)
            end
            -- One that is attached by a handler of the close itself.
            local nested = 0
            ws.OnClose:Connect(function()
                ws.OnClose:Connect(function()
                    nested += 1
                end)
            end)
            task.wait()
            task.wait()
            eq(nested, 1)
            done()"#;
        passes(mode, script, server.url());
        server.end();
    }

    fn on_close_comes_once_for_every_reason(mode) {
        let ends: [fn(&mut Peer); 5] = [
            |peer| peer.send(&close(1000, "")),
            |peer| peer.send(&[close(1000, ""), close(1001, ""), text("late")].concat()),
            |peer| peer.stream.shutdown(std::net::Shutdown::Write).unwrap(),
            |peer| peer.send(b"\xFF\xFF\xFF\xFF"),
            |peer| {
                // Both at once: the client has sent its close frame already.
                assert_eq!(peer.received(), "close 3000");
                peer.send(&close(3001, "crossing"));
            },
        ];
        for (i, end) in ends.into_iter().enumerate() {
            let server = serve(move |listener| {
                let mut peer = Peer::open(listener);
                end(&mut peer);
                if i < 4 {
                    peer.frames();
                }
            });
            let script = r#"local url, crossing = ...
                local ws = WebSocket.connect(url)
                local n = 0
                ws.OnClose:Connect(function(...)
                    n += 1
                    eq(args(...), "0: ")
                    eq(ws.State, "Closed")
                    ws:Close()
                end)
                if crossing then ws:Close(3000) end
                ws.OnClose:Wait()
                task.wait(0.05)
                eq(n, 1)
                done()"#;
            passes(mode, script, (server.url(), i == 4));
            server.end();
        }
    }

    // Rule 4.
    fn a_reply_to_the_last_messages_goes_out_before_our_close_frame(mode) {
        let server = glued(&[text("1"), text("2"), close(4007, "enough")]);
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m)
                ws:Send("reply " .. m)
                task.defer(function()
                    ws:Send("deferred " .. m)
                end)
            end)
            ws.OnClose:Connect(function()
                ws:Send("too late")
            end)"#;
        assert!(says(mode, script, server.url()).is_empty());
        assert_eq!(server.end(), [
            "reply 1", "deferred 1", "reply 2", "deferred 2", "close 4007",
        ]);
    }

    fn a_close_by_a_handler_before_the_servers_is_seen(mode) {
        let server = glued(&[text("1"), close(4007, "")]);
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m)
                ws:Send("bye")
                ws:Close(3333, "mine")
                eq(ws.State, "Closing")
            end)
            ws.OnClose:Wait()
            eq(ws.CloseCode, 4007)
            done()"#;
        passes(mode, script, server.url());
        assert_eq!(server.end(), ["bye", "close 3333 mine"]);
    }

    fn nothing_is_reported_after_a_local_close(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open_with(listener, "", &texts(&["1", "2", "3"]).concat());
            assert_eq!(peer.received(), "close 1000");
            // §5.5.1 lets a server send until its own close frame.
            peer.send(&[text("4"), frame(0x8A, b"pong"), close(1000, "")].concat());
        });
        let script = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m)
                print(m)
                ws:Close()
            end)
            ws.OnPong:Connect(print)
            ws.OnClose:Connect(function()
                print("closed", ws.CloseCode)
            end)"#;
        assert_eq!(says(mode, script, server.url()), ["1", "closed 1000"]);
        server.end();
    }

    fn on_close_does_not_wait_for_a_server_that_never_answers(mode) {
        assert_eq!(moonwire::Limits::default().close, Duration::from_secs(5));
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            assert_eq!(peer.received(), "close 1000");
            assert_eq!(peer.received(), "EOF", "the handshake ends at its own limit");
        });
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.close = Duration::from_millis(1300);
            options.config().limits.linger = Duration::from_millis(100);
            options
        });
        let script = r#"local ws = WebSocket.connect(...)
            local begin = os.clock()
            ws:Close()
            local n = 0
            ws.OnClose:Connect(function() n += 1 end)
            local began = time()
            ws.OnClose:Wait()
            local took = time() - began
            check(took > 0.9 and took < 8, took)
            eq(ws.CloseCode, 1006)
            local reason = ws.CloseReason
            check(string.find(reason, "the server did not answer the close frame"), reason)
            task.wait(0.6)
            eq(n, 1)
            done()"#;
        rt.passes(script, server.url());
        server.end();
    }

    // Rule 6.
    fn what_was_sent_before_a_close_arrives(mode) {
        let script = r#"local url, close = ...
            local ws = WebSocket.connect(url)
            for i = 1, 2000 do
                ws:Send(tostring(i))
            end
            ws:Send(string.rep("x", 3000000))
            if close then ws:Close(4000) end"#;
        for (with_close, last) in [(true, "close 4000"), (false, "close 1001")] {
            let server = serve(|listener| Peer::open(listener).rest());
            assert_eq!(says(mode, script, (server.url(), with_close)), [""; 0]);
            let reported = server.end();
            assert_eq!(reported.len(), 2002);
            for (i, message) in reported[..2000].iter().enumerate() {
                assert_eq!(*message, (i + 1).to_string());
            }
            assert_eq!(reported[2000].len(), 3_000_000);
            assert_eq!(reported[2001], last);
        }
    }

    fn what_a_program_says_last_arrives_though_it_raises(mode) {
        let server = serve(|listener| Peer::open(listener).rest());
        let script = "local ws = WebSocket.connect(...) ws:Send('last words') error('oh')";
        assert_eq!(says(mode, script, server.url()), ["error: script:1: oh"]);
        assert_eq!(server.end(), ["last words", "close 1001"]);
    }

    // Rule 7.
    fn a_full_send_queue_raises_and_drops_nothing(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            // Reads nothing before the client has stopped sending.
            let (stream, _) = listener.accept().unwrap();
            drop(stream);
            peer.rest().len()
        });
        let mut rt = Rt::with(mode, |mut options| {
            options.config().limits.send_queue = 100_000;
            options
        });
        let script = r#"local url = ...
            local ws = WebSocket.connect(url)
            local chunk = string.rep("x", 60000)
            local sent, ok, problem = 0, nil, nil
            while true do
                ok, problem = pcall(ws.Send, ws, chunk)
                if not ok then break end
                sent += 1
                assert(sent < 10000)
            end
            eq(string.sub(problem, 1, #url + 2), url .. ": ")
            check(string.find(problem, "send queue", 1, true), problem)
            raises("send queue", ws.Send, ws, "small")
            raises("send queue", ws.Send, ws, buffer.create(1))
            raises("send queue", ws.Ping, ws)
            local _, position = pcall(function()
                ws:Send("small")
            end)
            check(string.find(position, "^script:%d+: ws://"), position)
            check(ws.BufferedAmount > 100000)
            eq(ws.State, "Open")
            -- Closing is always possible. The server begins to read when it sees this.
            ws:Close()
            print(sent + 1)
            websocket.connect(url)
            ws.OnClose:Wait()"#;
        let said = rt.says(script, server.url());
        assert_eq!(said, [server.end().to_string()]);
    }
}

both! {
    // Luau's collector does not consider the size of an allocation.
    fn large_messages_do_not_pile_up(mode) {
        for (kind, size, count) in [(0x81, 1 << 20, 60), (0x82, 1 << 20, 60), (0x81, 1 << 14, 4000)] {
            let server = serve(move |listener| {
                let mut peer = Peer::open(listener);
                // All different: equal strings are one in Luau.
                let mut payload = vec![b'm'; size];
                for i in 0..count {
                    payload[..8].copy_from_slice(format!("{i:08}").as_bytes());
                    peer.send(&frame(kind, &payload));
                }
                peer.send(&close(1000, ""));
                peer.rest()
            });
            let script = r#"local ws, peak, bytes = WebSocket.connect((...)), 0, 0
                ws.OnMessage:Connect(function(m)
                    bytes += #m
                    peak = math.max(peak, gcinfo())
                end)
                ws.OnClose:Wait()
                print(bytes, peak < 16 * 1024 or peak)"#;
            let want = format!("{} true", size * count);
            assert_eq!(says(mode, script, server.url()), [want]);
            server.end();
        }
    }
}
