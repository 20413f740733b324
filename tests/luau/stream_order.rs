//! §2: the order of events.

use super::common::{self, Scripted};
use super::raw::{close, frame, text};
use super::streams::*;
use super::support::*;

/// A server for a type of client that sends everything at once: three messages and the end.
fn everything(kind: &'static str, clean: bool) -> Scripted<()> {
    common::serve(move |mut peer| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        let (body, rest) = match kind {
            "WebSocket" => {
                let end = if clean { close(1000, "") } else { frame(0x83, b"") };
                peer.accept(&[text("1"), text("2"), text("3"), end].concat());
                return finish(&mut peer);
            }
            "SSE" => ("data: 1\n\ndata: 2\n\ndata: 3\n\n", "id"),
            _ => ("1\r\n1\r\n1\r\n2\r\n1\r\n3\r\n", "0\r\n\r\n"),
        };
        peer.request();
        let end = if clean { rest } else { "x\r\n" };
        let (fields, end) = match kind {
            "SSE" if clean => (format!("Content-Length: {}\r\n", body.len()), ""),
            "SSE" => (format!("Content-Length: {}\r\n", body.len() + 9), ""),
            _ => ("Transfer-Encoding: chunked\r\n".to_owned(), end),
        };
        peer.write(format!("{head}{fields}\r\n{body}{end}").as_bytes());
        finish(&mut peer);
    })
}

/// Runs `text` with servers of all types, with a clean end or not; `...` is the type and the URL,
/// and `clean`. Its output must be `want` for each.
#[track_caller]
fn all(mode: Mode, text: &str, clean: &[bool], want: impl Fn(&str, bool) -> Vec<String>) {
    for kind in ["WebSocket", "SSE", "RawStream"] {
        for &clean in clean {
            let server = everything(kind, clean);
            let script = format!(
                r#"local kind, url, clean = ...
                local c = create(kind, url)
                -- The number alone, whatever the type.
                local function digit(m) return (string.gsub(m, "%D", "")) end
                {text}"#
            );
            let said = runtime(mode).says(&script, (kind, url_for(kind, &server), clean));
            assert_eq!(said, want(kind, clean), "{kind} clean: {clean}");
            server.join();
        }
    }
}

fn lines(all: &[&str]) -> Vec<String> {
    all.iter().map(|line| (*line).to_owned()).collect()
}

/// The same for every type.
#[track_caller]
fn always(mode: Mode, text: &str, want: &[&str]) {
    all(mode, text, &[true], |_, _| lines(want));
}

both! {
    // Newest first; all of them see the new state; a change fires before the signal for it.
    fn every_signal_in_its_order(mode) {
        let text = r#"
            for i = 1, 2 do
                local function say(name)
                    return function(...)
                        local first = if name == "changed" then (...) else ""
                        print(i, name, c.ConnectionState.Name, select('#', ...), first)
                    end
                end
                c:GetPropertyChangedSignal("ConnectionState"):Connect(say("state"))
                c.Changed:Connect(say("changed"))
                c.Opened:Connect(say("opened"))
                c.MessageReceived:Connect(function(m, more)
                    print(i, digit(m), c.ConnectionState.Name, more)
                end)
                c.Error:Connect(say("error"))
                c.Closed:Connect(say("closed"))
            end
            c:GetPropertyChangedSignal("ClassName"):Connect(error)"#;
        all(mode, text, &[true, false], |_, clean| {
            let mut want = Vec::new();
            let mut both = |text: &str| want.extend([format!("2 {text}"), format!("1 {text}")]);
            both("state Open 0 ");
            both("changed Open 1 ConnectionState");
            both("opened Open 2 ");
            for digit in 1..=3 {
                both(&format!("{digit} Open nil"));
            }
            let end = if clean { "Closed" } else { "Error" };
            both(&format!("state {end} 0 "));
            both(&format!("changed {end} 1 ConnectionState"));
            if !clean {
                both("error Error 2 ");
            }
            both(&format!("closed {end} 0 "));
            want
        });
    }

    // Head, body and end come in one read.
    fn handlers_that_are_connected_inside_opened_get_the_first_message(mode) {
        always(mode, r#"c.Opened:Connect(function()
                c.MessageReceived:Connect(function(m) print("new", digit(m)) end)
                c.Closed:Connect(function() print("end") end)
                print("opened")
            end)
            c.Opened:Connect(function()
                c.MessageReceived:Once(function(m) print("once", digit(m)) end)
            end)"#, &["opened", "new 1", "once 1", "new 2", "new 3", "end"]);
    }

    fn a_handler_of_opened_that_yields(mode) {
        always(mode, r#"c.MessageReceived:Connect(function(m) print(digit(m)) end)
            c.Opened:Connect(function()
                print("a")
                task.wait(0.02)
                print("late", c.ConnectionState.Name)
            end)
            c.Opened:Connect(function()
                print("b")
                task.wait()
                c.MessageReceived:Connect(error)
            end)
            c.Closed:Connect(function() print("closed") end)"#,
            &["b", "a", "1", "2", "3", "closed", "late Closed"]);
    }

    fn a_raise_stops_nobody(mode) {
        always(mode, r#"for _, name in { "Opened", "MessageReceived", "Closed" } do
                c[name]:Connect(function(m) print("first", name) end)
                c[name]:Connect(function() error("boom", 0) end)
                c[name]:Connect(function() print("last", name) end)
            end
            c.Changed:Connect(function() error("changed", 0) end)"#, &[
            "error: changed",
            "last Opened", "error: boom", "first Opened",
            "last MessageReceived", "error: boom", "first MessageReceived",
            "last MessageReceived", "error: boom", "first MessageReceived",
            "last MessageReceived", "error: boom", "first MessageReceived",
            "error: changed",
            "last Closed", "error: boom", "first Closed",
        ]);
    }

    // A resumption point follows each event.
    fn deferred_threads_run_before_the_next_event(mode) {
        always(mode, r#"for _, name in { "Opened", "MessageReceived", "Closed" } do
                for i = 1, 2 do
                    c[name]:Connect(function(m)
                        print(name, i)
                        task.defer(print, "deferred by", name, i)
                    end)
                end
            end
            c.Changed:Connect(function() task.defer(print, "deferred by Changed") end)"#, &[
            "deferred by Changed",
            "Opened 2", "Opened 1", "deferred by Opened 2", "deferred by Opened 1",
            "MessageReceived 2", "MessageReceived 1",
            "deferred by MessageReceived 2", "deferred by MessageReceived 1",
            "MessageReceived 2", "MessageReceived 1",
            "deferred by MessageReceived 2", "deferred by MessageReceived 1",
            "MessageReceived 2", "MessageReceived 1",
            "deferred by MessageReceived 2", "deferred by MessageReceived 1",
            "deferred by Changed",
            "Closed 2", "Closed 1", "deferred by Closed 2", "deferred by Closed 1",
        ]);
        // A single handler takes another path in the runtime.
        always(mode, r#"c.MessageReceived:Connect(function(m)
                print(digit(m))
                task.defer(print, "deferred", digit(m))
            end)"#, &["1", "deferred 1", "2", "deferred 2", "3", "deferred 3"]);
    }

    fn a_thread_that_waits_in_a_loop_gets_every_message(mode) {
        always(mode, r#"c.Closed:Connect(function() print("closed") end)
            task.spawn(function()
                c.Opened:Wait()
                while true do
                    print(digit(c.MessageReceived:Wait()))
                end
            end)"#, &["1", "2", "3", "closed"]);
    }

    // Neither inside a call nor before the thread yields, however long that takes.
    fn nothing_is_reported_before_the_thread_yields(mode) {
        always(mode, r#"local reported = 0
            for _, name in { "Opened", "MessageReceived", "Error", "Closed", "Changed" } do
                c[name]:Connect(function() reported += 1 end)
            end
            local function spin()
                local begin = tick()
                while tick() - begin < 0.05 do end
            end
            spin()
            c:Send("x")
            eq(reported, 0)
            eq(c.ConnectionState.Name, "Connecting")
            c.Opened:Wait()
            local before = reported
            spin()
            local inside = reported
            eq(inside, before, "in a thread that was resumed by a signal")
            c.Closed:Wait()
            task.wait()
            eq(reported, 7)
            done()"#, &["done"]);
    }

    // After `Close`, no message is delivered, even if it was read before.
    fn close_stops_messages_of_the_same_read(mode) {
        for more in ["", "c.MessageReceived:Connect(function() end)"] {
            let text = format!(r#"c.MessageReceived:Connect(function(m)
                    print(digit(m))
                    if digit(m) == "2" then
                        c:Close()
                        task.defer(print, "deferred")
                    end
                end)
                {more}
                c.Closed:Connect(function() print("closed") end)"#);
            always(mode, &text, &["1", "2", "deferred", "closed"]);
        }
        always(mode, r#"c.Opened:Connect(function() c:Close() print("opened") end)
            c.MessageReceived:Connect(print)
            c.Closed:Connect(function() print("closed") end)"#, &["opened", "closed"]);
        // With everything in the inbox.
        always(mode, r#"c.MessageReceived:Connect(function() print("never") end)
            c.Error:Connect(print)
            c.Closed:Connect(function() print("closed") end)
            c.Opened:Wait()
            local begin = tick()
            while tick() - begin < 0.05 do end
            task.defer(function() c:Close() print("close") end)"#, &["close", "closed"]);
    }

    fn what_is_disconnected_is_not_called(mode) {
        always(mode, r#"local late
            late = c.MessageReceived:Connect(function(m) print("never") end)
            local own
            own = c.MessageReceived:Connect(function(m)
                print(digit(m))
                late:Disconnect()
                if digit(m) == "2" then own:Disconnect() end
            end)
            c.Closed:Once(function() print("closed") end)"#, &["1", "2", "closed"]);
    }

    // Many clients at once: each has its own order.
    fn clients_do_not_disturb_each_other(mode) {
        let servers: Vec<_> = (0..6).map(|i| {
            everything(["WebSocket", "SSE", "RawStream"][i % 3], i < 3)
        }).collect();
        let mut rt = runtime(mode);
        let script = r#"local urls = { ... }
            local ended = 0
            for i, url in urls do
                local kind = ({ "WebSocket", "SSE", "RawStream" })[(i - 1) % 3 + 1]
                local c = create(kind, url)
                local log = {}
                record(c, function(line) table.insert(log, string.match(line, "^%a+")) end)
                c.Closed:Connect(function()
                    ended += 1
                    task.wait()
                    local all = table.concat(log, " ")
                    local want = "Opened MessageReceived MessageReceived MessageReceived "
                    eq(all, want .. (if i <= 3 then "Closed" else "Error Closed"), kind)
                end)
            end
            raises(FULL, create, "SSE", urls[2])
            until_true(function() return ended == 6 end)
            slots()
            done()"#;
        let urls: Vec<String> = servers.iter().enumerate()
            .map(|(i, s)| url_for(["WebSocket", "SSE", "RawStream"][i % 3], s)).collect();
        rt.passes(script, moonwire::mlua::Variadic::from_iter(urls));
        servers.into_iter().for_each(|s| s.join());
    }
}
