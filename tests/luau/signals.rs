//! §3: signals.

use super::raw;
use super::support::*;

both! {
    fn everything_about_signals(mode) {
        let server = echo();
        passes(mode, include_str!("signals.luau"), server.url());
    }

    fn a_raise_in_a_handler_is_reported_and_stops_nobody(mode) {
        let server = echo();
        let text = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m) print("first", m) end)
            ws.OnMessage:Connect(function(m) error("boom " .. m) end)
            ws.OnMessage:Connect(function(m) local nothing; nothing.x = 1 end)
            ws.OnMessage:Connect(function(m)
                print("last", m)
                if m == "2" then ws:Close() end
            end)
            ws.OnClose:Connect(function() error("at the end") end)
            ws.OnClose:Connect(function() print("closed") end)
            ws:Send("1")
            ws:Send("2")"#;
        let mut rt = Rt::new(mode);
        assert_eq!(rt.says(text, server.url()), [
            "last 1",
            "error: script:4: attempt to index nil with 'x'",
            "error: script:3: boom 1",
            "first 1",
            "last 2",
            "error: script:4: attempt to index nil with 'x'",
            "error: script:3: boom 2",
            "first 2",
            "closed",
            "error: script:9: at the end",
        ]);
        assert!(!rt.runtime.has_raised(), "only the top level counts");
    }

    fn a_thread_serves_several_handlers_only_while_no_script_can_tell(mode) {
        let server = echo();
        // A thread that a script knows, or that waits, is never used for a later message.
        let text = r#"local ws = WebSocket.connect(...)
            local kept = {}
            local n = 0
            ws.OnMessage:Connect(function(m)
                n += 1
                if m == "known" then
                    table.insert(kept, coroutine.running())
                elseif m == "waits" then
                    task.wait()
                    table.insert(kept, coroutine.running())
                    task.wait(60)
                    print("not reached")
                end
                if n == 40 then
                    while #kept < 26 do
                        task.wait()
                    end
                    local seen = {}
                    for _, thread in kept do
                        assert(not seen[thread], "one thread for two")
                        seen[thread] = true
                        task.cancel(thread)
                    end
                    print(n, #kept)
                    ws:Close()
                end
            end)
            for i = 1, 39 do
                ws:Send(({ "plain", "known", "waits" })[i % 3 + 1])
            end
            ws:Send("last")"#;
        assert_eq!(says(mode, text, server.url()), ["40 26"]);
    }

    fn connecting_no_function_is_reported_and_gives_a_dead_connection(mode) {
        let server = echo();
        let text = r#"local ws = WebSocket.connect(...)
            for _, method in { "Connect", "Once", "ConnectParallel", "connect" } do
                local c = ws.OnMessage[method](ws.OnMessage, 5)
                print(typeof(c), c.Connected)
                c:Disconnect()
            end
            local c = ws.OnMessage:Connect(nil)
            print(c.Connected)"#;
        let report = "error: Attempt to connect failed: Passed value is not a function";
        let dead = "RBXScriptConnection false";
        let said = says(mode, text, server.url());
        assert_eq!(said, [report, dead, report, dead, report, dead, report, dead, report, "false"]);
    }

    fn a_handler_that_computes_all_its_stack_is_reported(mode) {
        let server = echo();
        let text = r#"local ws = WebSocket.connect(...)
            local function deeper() return 1 + deeper() end
            ws.OnMessage:Connect(function() print("still here") ws:Close() end)
            ws.OnMessage:Connect(deeper)
            ws:Send("x")"#;
        let said = says(mode, text, server.url());
        assert!(said[0].contains("stack overflow"), "{said:?}");
        assert_eq!(said[1..], ["still here"]);
    }

    // §4, resumption points: deferred calls of a handler run before the next message.
    fn deferred_threads_run_between_two_messages(mode) {
        let server = raw::serve(|l| {
            let glued = [raw::text("1"), raw::text("2"), raw::close(1000, "")].concat();
            raw::Peer::open_with(l, "", &glued).rest()
        });
        let text = r#"local ws = WebSocket.connect(...)
            ws.OnMessage:Connect(function(m)
                print("old", m)
            end)
            ws.OnMessage:Connect(function(m)
                print("new", m)
                task.defer(function()
                    print("deferred", m)
                    task.defer(print, "again", m)
                end)
            end)
            ws.OnClose:Connect(function()
                task.defer(print, "deferred close")
                print("close")
            end)
            task.defer(print, "before all")"#;
        assert_eq!(says(mode, text, server.url()), [
            "before all",
            "new 1", "old 1", "deferred 1", "again 1",
            "new 2", "old 2", "deferred 2", "again 2",
            "close", "deferred close",
        ]);
        assert_eq!(server.end(), ["close 1000"]);
    }
}

#[test]
fn the_traceback_names_the_handler_and_not_our_own_code() {
    let server = echo();
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let its = lines.clone();
    let options = moonwire::luau::Options::new(move |line: moonwire::luau::Line<'_>| {
        its.lock().unwrap().push(line.to_string());
    });
    let mut runtime = moonwire::luau::Runtime::new(options).unwrap();
    let text = r#"local ws = WebSocket.connect(...)
local function inner() error("boom") end
ws.OnMessage:Connect(function handler() inner() end)"#;
    assert!(matches!(
        runtime.spawn("script", text, server.url()),
        Err(moonwire::luau::Error::Syntax(_))
    ));
    let text = r#"local ws = WebSocket.connect(...)
local function inner() error("boom") end
local function handler() inner() ws:Close() end
ws.OnMessage:Connect(handler)
ws.OnMessage:Connect(function() ws:Close() end)
ws.OnMessage:Connect(5)
ws:Send("x")"#;
    runtime.spawn("script", text, server.url()).unwrap();
    runtime.run().unwrap();
    let lines = lines.lock().unwrap().clone();
    assert_eq!(
        lines,
        [
            "error: Attempt to connect failed: Passed value is not a function\n  script:6",
            "error: script:2: boom\n  script:2 function inner\n  script:3 function handler",
        ]
    );
}
