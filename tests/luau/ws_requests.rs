//! `ws:Request(message, matches, timeout?)`: which message is the answer, and which listeners get it,
//! too.

use std::time::Duration;

use super::raw::{Frame, Peer, Raw, close, frame, serve, text};
use super::support::*;

/// A server that answers each message with the result of `act`, and a close frame with code 1000.
fn answering(act: impl Fn(&Frame) -> Vec<u8> + Send + 'static) -> Raw<()> {
    serve(move |listener| {
        let mut peer = Peer::open(listener);
        while let Some(got) = peer.next() {
            let bytes = if got.opcode == 8 { close(1000, "") } else { act(&got) };
            // The client may have ended the connection.
            let _ = std::io::Write::write_all(&mut peer.stream, &bytes);
        }
    })
}

/// A server that sends one unrequested message before each answer and one after it.
fn noisy() -> Raw<()> {
    answering(|got| {
        let answer = frame(0x80 | got.opcode, &[b"re:", &got.payload[..]].concat());
        [text("push1"), answer, text("push2")].concat()
    })
}

#[track_caller]
fn passes_with(server: impl Fn() -> Raw<()>, script: &str) {
    for mode in [Mode::Inline, Mode::Threaded] {
        for plain in [false, true] {
            let server = server();
            let script = format!(
                r#"local ws = WebSocket.connect(...)
                local function is(want) return function(m) return m == want end end
                {script}"#
            );
            Rt::with(mode, |options| options.plain(plain)).passes(&script, server.url());
            server.end();
        }
    }
}

#[test]
fn the_answer_is_returned_and_the_rest_is_held() {
    passes_with(
        noisy,
        r#"eq(args(ws:Request("a", is("re:a"))), '1: "re:a"')
        eq(args(ws:Request(buffer.fromstring("b"), is("re:b"), 5)), '2: "re:b", true')
        eq(args(pcall(ws.Request, ws, 7, function(m, binary)
            return binary == nil and string.sub(m, 1, 3) == "re:"
        end)), '2: true, "re:7"')
        local seen = {}
        ws.OnMessage:Connect(function(m) table.insert(seen, m) end)
        until_true(function() return #seen == 6 end)
        eq(table.concat(seen, " "), "push1 push2 push1 push2 push1 push2")
        ws:Close()
        done()"#,
    );
}

#[test]
fn handlers_see_all_and_before_the_request_goes_on() {
    passes_with(
        noisy,
        r#"local seen = {}
        for i = 1, 2 do
            ws.OnMessage:Connect(function(m) table.insert(seen, i .. m) end)
        end
        eq(ws:Request("a", is("re:a")), "re:a")
        eq(table.concat(seen, " "), "2push1 1push1 2re:a 1re:a")
        until_true(function() return #seen == 6 end)
        -- And the short way is back.
        ws:Send("b")
        until_true(function() return #seen == 12 end)
        eq(table.concat(seen, " ", 7), "2push1 1push1 2re:b 1re:b 2push2 1push2")
        ws:Close()
        done()"#,
    );
}

// A loop over `Messages` gets the unrequested messages only.
#[test]
fn loops_do_not_see_answers() {
    passes_with(
        noisy,
        r#"local seen = {}
        task.spawn(function()
            for m in ws:Messages() do table.insert(seen, m) end
            table.insert(seen, "end")
        end)
        for i = 1, 50 do
            eq(ws:Request(i, is("re:" .. i)), "re:" .. i)
        end
        until_true(function() return #seen == 100 end)
        for _, m in seen do eq(string.sub(m, 1, 4), "push") end
        ws:Close()
        ws.OnClose:Wait()
        task.wait()
        eq(#seen, 101)
        done()"#,
    );
}

#[test]
fn requests_at_once_get_one_message_each() {
    passes_with(
        noisy,
        r#"local got, count = {}, 0
        local function any(m) return string.sub(m, 1, 3) == "re:" end
        local function ask(i, matches)
            task.spawn(function()
                got[i] = ws:Request(i, matches)
                count += 1
            end)
        end
        for i = 1, 20 do ask(i, any) end
        until_true(function() return count == 20 end)
        for i = 1, 20 do eq(got[i], "re:" .. i) end
        -- In whichever order they are answered.
        got, count = {}, 0
        for i = 1, 20 do ask(i, is("re:" .. (21 - i))) end
        until_true(function() return count == 20 end)
        for i = 1, 20 do eq(got[i], "re:" .. (21 - i)) end
        ws:Close()
        done()"#,
    );
}

// Messages that arrived before the request are not answers.
#[test]
fn held_messages_are_not_asked() {
    passes_with(
        noisy,
        r#"ws:Send("a")
        ws:Ping("x")
        ws.OnPong:Once(function() end)
        -- The server pings back, and answers the pong, too. They have come, and reach the script soon.
        until_true(function() return ws.Stats.MessagesReceived == 7 end)
        task.wait(0.05)
        local n = 0
        local m = ws:Request("b", function(m) n += 1 return m == "push2" end)
        eq(m, "push2")
        eq(n, 3)
        eq(ws.OnMessage:Wait(), "push1")
        eq(ws.OnMessage:Wait(), "re:a")
        ws:Close()
        done()"#,
    );
}

#[test]
fn what_matches_raises_is_the_requests() {
    passes_with(
        noisy,
        r#"local thing = {}
        local ok, problem = pcall(ws.Request, ws, "a", function() error(thing) end)
        eq(ok, false)
        eq(problem, thing)
        eq(args(pcall(ws.Request, ws, "b", function() error() end)), "2: false, nil")
        local _, text = pcall(function() ws:Request("c", function(m) return m.x.y end) end)
        check(string.find(text, "^script:%d+: "), text)
        for _, wait in { task.wait, coroutine.yield, function() ws.OnMessage:Wait() end, function() ws:Messages()() end } do
            local _, text = pcall(function() ws:Request("d", function() wait() error("never") end) end)
            check(string.find(text, "^script:%d+: ws://.*: Request: `matches` has to answer at once: it must not yield$"), text)
        end
        -- Others are asked all the same, and get what it did not take.
        local good
        task.spawn(function() pcall(ws.Request, ws, "e", error) good = good or "no" end)
        good = ws:Request("f", is("re:f"))
        eq(good, "re:f")
        ws:Close()
        done()"#,
    );
}

#[test]
fn matches_runs_in_a_thread_that_says_nothing_of_ours() {
    passes_with(
        noisy,
        r#"local inside
        ws:Request("a", function(...)
            inside = coroutine.running()
            eq(select('#', ...), 1)
            eq(coroutine.isyieldable(), true)
            raises("cannot cancel thread", task.cancel, inside)
            return true
        end)
        eq(coroutine.status(inside), "dead")
        check(inside ~= coroutine.running())
        ws:Close()
        done()"#,
    );
}

#[test]
fn a_request_has_its_time() {
    passes_with(
        || answering(|_| text("nothing")),
        r#"local before = os.clock()
        local _, said = pcall(function() ws:Request("a", is("x"), 0.05) end)
        check(os.clock() - before >= 0.04)
        check(string.find(said, "^script:%d+: ws://127.0.0.1:%d+/: Request: no answer within 0.05 seconds$"), said)
        -- Its message is held, and a later one has its own time.
        eq(ws.OnMessage:Wait(), "nothing")
        eq(ws:Request("b", is("nothing"), 30), "nothing")
        eq(ws:Request("b", is("nothing"), math.huge), "nothing")
        ws:Close()
        done()"#,
    );
}

#[test]
fn without_a_time_of_its_own_it_has_that_of_the_connection() {
    for mode in [Mode::Inline, Mode::Threaded] {
        let server = answering(|_| Vec::new());
        let script = r#"local ws = WebSocket.connect((...), { Timeout = 0.25 })
            raises("no answer within 0.25 seconds", ws.Request, ws, "a", error)
            ws:Close()
            done()"#;
        Rt::new(mode).passes(script, server.url());
        server.end();
    }
}

#[test]
fn the_end_of_the_connection_is_the_end_of_its_requests() {
    let ends = |bytes: fn() -> Vec<u8>| {
        move || {
            serve(move |listener| {
                let mut peer = Peer::open(listener);
                peer.next();
                peer.next();
                peer.send(&bytes());
            })
        }
    };
    for (bytes, why) in [
        ((|| close(4002, "no")) as fn() -> Vec<u8>, "(4002, no)"),
        (|| close(1000, ""), "(1000)"),
        (|| frame(0x83, b""), "(1006, "),
        (Vec::new, "(1006, "),
    ] {
        passes_with(
            ends(bytes),
            &format!(
                r#"local other
            task.spawn(function() other = select(2, pcall(ws.Request, ws, "a", error)) end)
            local said = raises(": Request: the connection has ended before an answer came {why}", ws.Request, ws, "b", error)
            check(string.find(said, "^ws://127.0.0.1:"), said)
            until_true(function() return other end)
            eq(other, said)
            until_true(function() return ws.State == "Closed" end)
            local said = raises(": Request: the connection is closed {why}", ws.Request, ws, "b", error)
            done()"#
            ),
        );
    }
}

#[test]
fn close_is_the_end_of_its_requests() {
    passes_with(
        || answering(|_| text("x")),
        r#"local said
        task.spawn(function() said = select(2, pcall(ws.Request, ws, "a", error)) end)
        ws:Close()
        eq(said, nil, "inside the call")
        task.defer(function() check(string.find(said, "Close was called before an answer came"), said) end)
        raises("Request: the connection is being closed", ws.Request, ws, "b", error)
        ws.OnClose:Wait()
        done()"#,
    );
    // `matches` closes the connection.
    passes_with(
        || answering(|_| text("x")),
        r#"ws.OnMessage:Connect(error)
        raises("Close was called before an answer came", ws.Request, ws, "a", function()
            ws:Close()
            return true
        end)
        done()"#,
    );
}

#[test]
fn a_cancelled_request_takes_nothing() {
    passes_with(
        noisy,
        r#"local asked = 0
        local thread = task.spawn(function()
            ws:Request("a", function() asked += 1 end)
        end)
        eq(coroutine.resume(thread, "not its answer"), true)
        task.cancel(thread)
        eq(ws.OnMessage:Wait(), "push1")
        eq(asked, 0)
        -- By what is asked itself.
        local thread
        thread = task.spawn(function()
            ws:Request("b", function() task.cancel(thread) return true end)
            error("never")
        end)
        until_true(function() return coroutine.status(thread) == "dead" end)
        ws:Close()
        done()"#,
    );
}

#[test]
fn arguments_are_checked_before_anything_is_sent() {
    passes_with(
        || answering(|got| panic!("{got:?}")),
        r#"for _, wrong in { true, {}, print, ws } do
            raises(`invalid argument #1 to 'Request' (string or buffer expected, got {typeof(wrong)})`, ws.Request, ws, wrong, print)
        end
        raises("invalid argument #2 to 'Request' (function expected, got nil)", ws.Request, ws, "a")
        raises("invalid argument #2 to 'Request' (function expected, got string)", ws.Request, ws, "a", "re")
        raises("invalid argument #3 to 'Request' (number expected, got string)", ws.Request, ws, "a", print, "5")
        for _, wrong in { 0, -1, 0/0 } do
            raises("invalid argument #3 to 'Request' (more than 0 seconds expected)", ws.Request, ws, "a", print, wrong)
        end
        raises("Expected ':' not '.' calling member function Request", ws.Request, "a", print)
        raises("Request has to wait, and this thread cannot yield here", function()
            table.sort({ 2, 1 }, function() ws:Request("a", print) return false end)
        end)
        ws:Close()
        done()"#,
    );
}

// The time limit of scripts includes the time of `matches`.
#[test]
fn a_time_limit_holds_in_matches() {
    let server = noisy();
    let mut rt =
        Rt::with(Mode::Inline, |options| options.time_limit(Some(Duration::from_millis(50))));
    rt.passes(
        r#"local ws = WebSocket.connect(...)
        local ok, problem = pcall(ws.Request, ws, "a", function() while true do end end)
        eq(ok, false)
        check(string.find(tostring(problem), "for more than 50ms without a pause"), tostring(problem))
        eq(ws:Request("b", function(m) return m == "re:b" end), "re:b")
        ws:Close()
        done()"#,
        server.url(),
    );
    server.end();
}

#[test]
fn a_request_keeps_the_program_and_its_script_alive() {
    let late = || {
        answering(|_| {
            std::thread::sleep(Duration::from_millis(30));
            text("late")
        })
    };
    passes_with(
        late,
        r#"eq(ws:Request("a", is("late")), "late")
        done()"#,
    );
}
