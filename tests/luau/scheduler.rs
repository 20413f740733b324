//! §4: the scheduler and the globals.

use std::time::{Duration, Instant};

use moonwire::luau::{Line, LineKind, Options, Runtime};

use super::support::*;

#[test]
fn the_task_library() {
    passes(Mode::Inline, include_str!("scheduler.luau"), ());
}

#[test]
fn the_other_globals() {
    passes(Mode::Inline, include_str!("globals.luau"), ());
}

fn said(text: &str) -> Vec<String> {
    says(Mode::Inline, text, ())
}

#[test]
fn print_and_warn() {
    let text = r#"print()
        print("a", 1, nil, true, 1.5, "")
        print("tab\tand\nline")
        print(setmetatable({}, { __tostring = function() return "custom" end }))
        warn("careful", 2)
        warn()
        print("x", (pcall(print, setmetatable({}, { __tostring = function() return {} end }))))
        print(pcall(print, setmetatable({}, { __tostring = function() error("no", 0) end })))
        print(WebSocket.connect == websocket.connect, "bad \xFF byte")"#;
    assert_eq!(
        said(text),
        [
            "",
            "a 1 nil true 1.5 ",
            "tab\tand\nline",
            "custom",
            "warning: careful 2",
            "warning: ",
            "x false",
            "false no",
            "false bad \u{FFFD} byte",
        ]
    );
}

// §4: errors of a thread are reported where they happen, and not raised elsewhere.
#[test]
fn raises_are_reported_in_the_order_in_which_they_come() {
    let text = r#"task.defer(error, "deferred")
task.delay(0.01, function() error("delayed") end)
task.delay(0, function() local x = nil + 1 end)
print(type(task.spawn(function() error("spawned") end)))
print(type(task.spawn(error, "bare")))
spawn(function() error("legacy") end)
local t = coroutine.create(function() coroutine.yield() error("second time") end)
task.spawn(t)
task.spawn(t)
task.spawn(t)
coroutine.wrap(function() task.wait() error("in a coroutine") end)()
print("end")
error("main")"#;
    let mut rt = Rt::new(Mode::Inline);
    let mut lines = rt.says(text, ());
    let last = lines.split_off(8);
    assert_eq!(
        lines,
        [
            "error: script:4: spawned",
            "thread",
            "error: bare",
            "thread",
            "error: script:7: second time",
            "error: cannot resume dead coroutine",
            "end",
            "error: script:13: main",
        ]
    );
    assert_eq!(last[0], "error: deferred");
    let mut last = last[1..].to_vec();
    last.sort();
    assert_eq!(
        last,
        [
            "error: script:11: in a coroutine",
            "error: script:2: delayed",
            "error: script:3: attempt to perform arithmetic (add) on nil and number",
            "error: script:6: legacy",
        ]
    );
    assert!(rt.runtime.has_raised());
}

#[test]
fn only_the_top_level_of_a_script_counts_as_its_raise() {
    let mut rt = Rt::new(Mode::Inline);
    rt.says("task.spawn(error, 'x') task.defer(error, 'x') coroutine.wrap(pcall)(error)", ());
    assert!(!rt.runtime.has_raised());
    // Each script has a top level, also after others were started.
    rt.spawn("task.wait() error('first')", ());
    rt.spawn("task.wait() print('second')", ());
    rt.run();
    assert_eq!(rt.said.take(), ["error: script:1: first", "second"]);
    assert!(rt.runtime.has_raised());
}

#[test]
fn what_is_raised_is_shown_whatever_it_is() {
    let table = said(r#"error({ code = 5 })"#);
    assert_eq!(table, ["error: {code = 5}"]);
    for (raise, want) in [
        ("error('text', 0)", "text"),
        ("error('')", "script:1: "),
        ("error(5)", "script:1: 5"),
        ("error(nil)", "nil"),
        ("error()", "nil"),
        ("error(true)", "true"),
        ("error({})", "{}"),
        ("error({ 1, 'two' })", "{1, \"two\"}"),
        ("error({ message = 'a\\nb' })", "{message = \"a\\nb\"}"),
        ("error(table.create(20, 0))", "{0, 0, 0, 0, 0, 0, 0, 0, ...}"),
        ("error(setmetatable({}, { __tostring = function() return 'mine' end }))", "mine"),
        ("error(setmetatable({ a = 1 }, { __tostring = function() error('x') end }))", "{a = 1}"),
        ("error(setmetatable({ a = 1 }, { __tostring = function() return {} end }))", "{a = 1}"),
        ("error(setmetatable({}, { __index = error, __iter = error, __len = error }))", "{}"),
        ("error(newproxy(true))", "userdata: "),
        ("error(print)", "function: "),
        ("error(vector.create(1, 2, 3))", "1, 2, 3"),
    ] {
        let lines = said(raise);
        assert_eq!(lines.len(), 1, "{raise}: {lines:?}");
        let text = lines[0].strip_prefix("error: ").unwrap();
        match want.ends_with(": ") && raise.contains("newproxy") || want == "function: " {
            true => assert!(text.starts_with(want), "{raise}: {text}"),
            false => assert_eq!(text, want, "{raise}"),
        }
    }
}

#[test]
fn a_report_has_script_line_and_traceback() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let its = lines.clone();
    let mut runtime = Runtime::new(Options::new(move |line: Line<'_>| {
        if line.kind == LineKind::Raise {
            its.lock().unwrap().push((line.text.to_owned(), line.traceback.to_owned()));
        }
    }))
    .unwrap();
    let text = "local function inner()\n  error('deep')\nend\nlocal function outer()\n  inner()\nend\n\
        task.delay(0, outer)\ntask.wait()\ntask.wait()\nWebSocket.connect('x')";
    runtime.spawn("folder/name.luau", text, ()).unwrap();
    runtime.run().unwrap();
    assert_eq!(
        *lines.lock().unwrap(),
        [
            (
                "folder/name.luau:2: deep".to_owned(),
                "folder/name.luau:2 function inner\nfolder/name.luau:5 function outer".to_owned()
            ),
            (
                "folder/name.luau:10: invalid websocket url".to_owned(),
                "folder/name.luau:10".to_owned()
            ),
        ]
    );
    let error = runtime.spawn("folder/name.luau", "local x =\n\nend", ()).unwrap_err();
    assert!(error.to_string().starts_with("folder/name.luau:3: "), "{error}");
    assert!(matches!(error, moonwire::luau::Error::Syntax(_)));
    // Bytecode is not text.
    assert!(runtime.spawn("x", b"\x06\x03\x00", ()).is_err());
}

const DEFERS: &str = r#"local ws = WebSocket.connect(...)
    local stop, count = false, 0
    local function again()
        count += 1
        if not stop then task.defer(again) end
    end
    again()
    ws:Send("x")
    eq(ws.OnMessage:Wait(), "x")
    check(task.wait(0.02) >= 0.02)
    task.wait()
    stop = true
    check(count > 1000, count)
    ws:Close()
    ws.OnClose:Wait()
    done()"#;

both! {
    fn a_script_that_defers_for_ever_shuts_nobody_out(mode) {
        let server = echo();
        passes(mode, DEFERS, server.url());
    }

    fn nor_where_the_embedder_steps(mode) {
        let server = echo();
        let mut rt = Rt::new(mode);
        rt.spawn(DEFERS, server.url());
        let until = Instant::now() + crate::raw::LONG;
        while rt.runtime.step(Duration::from_micros(500)).unwrap().is_alive() {
            assert!(Instant::now() < until, "{:?}", rt.said.all());
        }
        assert_eq!(rt.said.take(), ["done"]);
    }
}

#[test]
fn scripts_share_globals_and_have_arguments_of_their_own() {
    let mut rt = Rt::new(Mode::Inline);
    rt.spawn("a = ... shared.b = a .. 1 _G.c = a .. 2 print(args(...))", ("one", true));
    rt.spawn("print(a, shared.b, _G.c, args(...))", ());
    rt.run();
    assert_eq!(rt.said.take(), ["2: \"one\", true", "one one1 one2 0: "]);
    // And after a run, another one.
    assert_eq!(rt.says("task.wait() print(a)", ()), ["one"]);
}

#[test]
fn many_threads_and_deadlines() {
    let text = r#"local n, sum = 3000, 0
        for i = 1, n do
            task.spawn(function()
                task.wait(i % 50 / 1000)
                sum += 1
                task.wait()
                sum += 1
            end)
            if i % 3 == 0 then
                task.cancel(task.delay(0.01, error, "never"))
            end
        end
        until_true(function() return sum == 2 * n end)
        done()"#;
    passes(Mode::Inline, text, ());
}
