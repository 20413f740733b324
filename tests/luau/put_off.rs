//! §1, rule 2: a script that takes messages one by one gets them before OnClose, as long as it
//! takes the next within a second.

use super::paused::runtime;
use super::raw::{Peer, close, serve, text};
use super::support::*;

both! {
    // However few they are, and though the end arrives with them.
    fn on_close_waits_for_a_script_that_takes_one_after_the_other(mode) {
        for take in [
            "taken(ws.OnMessage:Wait())",
            "ws.OnMessage:Once(taken) until_true(function() return n == i end)",
        ] {
            let server = serve(|listener| {
                let all = ["hello", "1", "2", "3", "4"].map(text).concat();
                Peer::open_with(listener, "", &[all, close(4007, "enough")].concat()).frames()
            });
            let script = format!(r#"local ws = WebSocket.connect(...)
                local closed = false
                ws.OnClose:Connect(function()
                    eq(ws.CloseCode, 4007)
                    closed = true
                end)
                eq(ws.OnMessage:Wait(), "hello")
                local n = 0
                local function taken(m)
                    n += 1
                    eq(m, tostring(n))
                    ws:Send("reply " .. m)
                end
                for i = 1, 4 do
                    task.wait(0.3)
                    eq(closed, false)
                    eq(ws.State, "Open")
                    {take}
                end
                until_true(function() return closed end)
                done()"#);
            passes(mode, &script, server.url());
            let replies = ["reply 1", "reply 2", "reply 3", "reply 4", "close 4007"];
            assert_eq!(server.end(), replies);
        }
    }

    // Not for ever, and then nothing is lost.
    fn on_close_comes_to_a_script_that_takes_no_more(mode) {
        for (then, code) in [
            ("", "close 4007"),
            ("ws:Close(4001)", "close 4001"),
            ("local c c = ws.OnMessage:Connect(function(m) eq(m, '1') c:Disconnect() end)", "close 4007"),
            ("ws.OnMessage:Connect(function() end)", "close 4007"),
        ] {
            let server = serve(|listener| {
                let all = ["hello", "1", "2"].map(text).concat();
                Peer::open_with(listener, "", &[all, close(4007, "")].concat()).frames()
            });
            let script = format!(r#"local ws = WebSocket.connect(...)
                eq(ws.OnMessage:Wait(), "hello")
                task.wait(0.1)
                local n, begin = 0, time()
                ws.OnClose:Connect(function() n += 1 end)
                {then}
                eq(n, 0, "not inside the call")
                ws.OnClose:Wait()
                local took = time() - begin
                check(took < if {then:?} == "" then 5 else 0.5, took)
                eq(ws.CloseCode, 4007)
                if {then:?} == "" then
                    eq(ws.OnMessage:Wait(), "1")
                    eq(ws.OnMessage:Wait(), "2")
                end
                task.wait(0.05)
                eq(n, 1)
                done()"#);
            passes(mode, &script, server.url());
            assert_eq!(server.end(), [code], "{then}");
        }
    }

    // Neither the script nor the collector needs to wait for that.
    fn what_waits_to_be_closed_ends_with_the_program_or_with_the_collector(mode) {
        for then in ["", "ws = nil for _ = 1, 3 do collect() task.wait() end task.wait(1.1)"] {
            let server = serve(|listener| {
                let all = ["hello", "1", "2"].map(text).concat();
                Peer::open_with(listener, "", &[all, close(4007, "")].concat()).frames()
            });
            let script = format!(r#"local url = ...
                local ws
                task.spawn(function()
                    ws = WebSocket.connect(url)
                    eq(ws.OnMessage:Wait(), "hello")
                end)
                task.wait(0.1)
                {then}
                done()"#);
            runtime(mode, |options| options).passes(&script, server.url());
            assert_eq!(server.end(), ["close 4007"], "{then}");
        }
    }

    // Its held bytes are freed once, not twice.
    fn one_that_is_collected_before_its_on_close_counts_no_more(mode) {
        let server = serve(|listener| {
            let all = ["hello", &"x".repeat(100), "2"].map(text).concat();
            let end = close(1000, "");
            let reported = Peer::open_with(listener, "", &[all, end].concat()).frames();
            assert_eq!(reported, ["close 1000"]);
            let all = ["a", "b", "c"].map(|m| text(&m.repeat(100))).concat();
            Peer::open_with(listener, "", &all).rest()
        });
        let mut rt = runtime(mode, |mut options| {
            options.config().limits.hold_total = 200;
            options
        });
        let script = r#"local url = ...
            local thread = task.spawn(function()
                local ws = WebSocket.connect(url)
                eq(ws.OnMessage:Wait(), "hello")
            end)
            until_true(function() return coroutine.status(thread) == "dead" end)
            thread = nil
            task.wait(0.1)
            for _ = 1, 3 do collect() task.wait() end
            -- When it would have heard OnClose.
            task.wait(1.1)
            local ws = WebSocket.connect(url)
            task.wait(0.1)
            ws.OnMessage:Connect(function(m) print(string.sub(m, 1, 1)) end)
            task.wait()
            ws:Close()"#;
        let said = rt.says(script, server.url());
        assert_eq!(said[1..], ["a", "b"], "{said:?}");
        assert!(said[0].contains("dropped: more than 200 bytes wait"), "{said:?}");
        assert_eq!(server.end(), ["close 1000"]);
    }
}
