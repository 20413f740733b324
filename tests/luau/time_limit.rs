//! The time limit of scripts: no script evades it, it stops no code that is not a script's, and its
//! error has the position.

use std::time::{Duration, Instant};

use moonwire::luau::{Line, Options, Progress, Runtime, install};
use moonwire::mlua::Lua;

use super::command::Script;
use super::support::{Mode, Rt, Said, echo};

const LIMIT: Duration = Duration::from_millis(50);
const LATE: &str = "the script ran for more than 50ms without a pause";

fn hurried(mode: Mode) -> Rt {
    Rt::with(mode, |options| options.time_limit(Some(LIMIT)))
}

/// Each runs for ever, or for many times longer than the limit, unless it is stopped.
const EVASIONS: [(&str, &str); 31] = [
    ("a loop", "while true do end"),
    ("a name (d03)", "loadstring('while true do end', '=[moonwire]')()"),
    ("another", "loadstring('while true do end', '=[moonwire] scheduler')()"),
    ("spawns (d04)", "local function f() end while true do task.spawn(f) end"),
    ("spawned loops", "while true do task.spawn(function() while true do end end) end"),
    (
        "spawns that spawn",
        "local function f() task.spawn(f) f() end while true do task.spawn(f) end",
    ),
    ("spawned threads", "while true do task.spawn(coroutine.create(function() end)) end"),
    ("spawns of C functions", "while true do task.spawn(string.rep, 'x', 1e6) end"),
    ("pcall (d05)", "while true do pcall(function() while true do end end) end"),
    ("pcall in itself", "local function f() pcall(f) return f() end f()"),
    ("xpcall", "local function f() while true do end end while true do xpcall(f, f) end"),
    ("wrapped loops", "while true do pcall(coroutine.wrap(function() while true do end end)) end"),
    (
        "resumed loops",
        "local function f() while true do end end while true do coroutine.resume(coroutine.create(f)) end",
    ),
    (
        "yields within",
        "local f = coroutine.wrap(function() while true do coroutine.yield() end end) while true do f() end",
    ),
    (
        "__index",
        "local t = setmetatable({}, { __index = function() while true do end end }) while true do pcall(function() return t.x end) end",
    ),
    (
        "__eq",
        "local m = { __eq = function() while true do end end } local a, b = setmetatable({}, m), setmetatable({}, m) while true do pcall(function() return a == b end) end",
    ),
    (
        "__concat",
        "local t = setmetatable({}, { __concat = function() while true do end end }) while true do pcall(function() return t .. 'x' end) end",
    ),
    (
        "__iter",
        "local t = setmetatable({}, { __iter = function() return function() return 1 end end }) for _ in t do end",
    ),
    ("__tostring", "print(setmetatable({}, { __tostring = function() while true do end end }))"),
    (
        "__call",
        "local t t = setmetatable({}, { __call = function() return t() end }) while true do pcall(t) end",
    ),
    (
        "a comparison",
        "while true do pcall(table.sort, { 3, 2, 1 }, function() while true do end end) end",
    ),
    (
        "a replacement",
        "while true do pcall(string.gsub, 'x', 'x', function() while true do end end) end",
    ),
    ("a pattern", "string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 40))"),
    ("slow calls (d10)", "local s = string.rep('a', 4e6) while true do string.reverse(s) end"),
    (
        "an environment",
        "local function f() while true do end end setfenv(f, getfenv(task.wait)) f()",
    ),
    ("errors", "while true do pcall(error, 'x') end"),
    ("defers", "while true do task.cancel(task.defer(function() end)) end"),
    ("signals", "local c = game:GetService('HttpService') while true do c:GenerateGUID() end"),
    (
        "much base64",
        "local H, s = game:GetService('HttpService'), string.rep('a', 4e7) while true do H:Base64Decode(H:Base64Encode(s)) end",
    ),
    ("a long URL", "game:GetService('HttpService'):UrlEncode(string.rep('/', 3e7))"),
    (
        "headers",
        "local h = table.create(4e6, 'x') while true do pcall(WebSocket.connect, 'ws://x', { Headers = h }) end",
    ),
];

#[test]
fn nothing_evades_it() {
    for (what, script) in EVASIONS {
        let mut rt = hurried(Mode::Inline);
        rt.spawn("task.delay(0.01, print, 'later')", ());
        let said = rt.says(script, ());
        let (last, first) = said.split_last().unwrap();
        assert_eq!(last, "later", "{what}: {said:?}");
        assert!(!first.is_empty(), "{what}: it was not stopped");
        for line in first {
            // Errors that were caught in between may have another text; the last one is the
            // script's own.
            assert!(line.starts_with("error: "), "{what}: {said:?}");
        }
        let end = first.last().unwrap();
        assert!(end.contains(LATE), "{what}: {said:?}");
        // A position in the prelude is left out; a script that calls itself in this way has only
        // that of the script.
        let placed = end.contains(":1: ") || script.contains("=[moonwire]");
        assert!(placed, "{what}: without its place: {said:?}");
        assert!(rt.runtime.has_raised(), "{what}");
    }
}

#[test]
#[cfg(feature = "json")]
fn json_looks_at_it_and_at_the_memory() {
    let run = |change: &dyn Fn(Options) -> Options, script: &str| {
        let mut rt = Rt::with(Mode::Inline, change);
        rt.says(script, ())
    };
    // d13: sixty tables that represent 2⁶⁰.
    let laughs = "local t = {} for i = 1, 60 do t = { t, t } end
        game:GetService('HttpService'):JSONEncode(t)";
    let limited = |options: Options| options.time_limit(Some(LIMIT));
    assert_eq!(run(&limited, laughs), [format!("error: script:2: {LATE}")]);
    let object = "local t = {} for i = 1, 60 do t = { a = t, b = t } end
        game:GetService('HttpService'):JSONEncode(t)";
    assert_eq!(run(&limited, object), [format!("error: script:2: {LATE}")]);
    let long = "local s = '[' .. string.rep('[],', 3e6) .. '1]'
        game:GetService('HttpService'):JSONDecode(s)";
    assert_eq!(run(&limited, long), [format!("error: script:2: {LATE}")]);
    let small = |options: Options| options.memory_limit(Some(4 * 1024 * 1024));
    assert_eq!(run(&small, laughs), ["error: script:2: not enough memory"]);
}

#[test]
fn its_error_has_a_place_and_a_traceback() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let its = std::sync::Arc::clone(&lines);
    let output = move |line: Line<'_>| its.lock().unwrap().push(line.to_string());
    let mut runtime = Runtime::new(Options::new(output).time_limit(Some(LIMIT))).unwrap();
    let script = "local function deep()\n while true do end\nend\nprint(pcall(deep))";
    runtime.spawn("first.luau", script, ()).unwrap();
    runtime
        .spawn("second.luau", "local function deep()\n\nwhile true do end\nend\ndeep()", ())
        .unwrap();
    // d21: an error that a script catches has the position, too.
    let catches = "local problem
        task.defer(function() print(tostring(problem)) end)
        problem = select(2, pcall(function() while true do end end))";
    runtime.spawn("third.luau", catches, ()).unwrap();
    runtime.run().unwrap();
    let lines = lines.lock().unwrap();
    assert_eq!(lines[0], format!("error: first.luau:4: {LATE}\n  first.luau:4"), "{lines:?}");
    let second =
        format!("error: second.luau:3: {LATE}\n  second.luau:3 function deep\n  second.luau:5");
    assert_eq!(lines[1], second, "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[2].starts_with(&format!("error: third.luau:3: {LATE}")), "{lines:?}");
}

// d25, and calls of the embedder while a script runs.
#[test]
fn it_touches_nothing_of_the_embedders() {
    const WORK: &str = "local s, begin = 0, os.clock()
        repeat s += 1 until os.clock() > begin + 0.2 return s";
    let lua = Lua::new();
    let said = Said::default();
    let (its, mut line) = (lua.clone(), said.output());
    let output = move |text: Line<'_>| {
        if text.text == "work" {
            its.load(WORK).eval::<f64>().unwrap();
        }
        line(text);
    };
    let mut runtime = install(&lua, Options::new(output).time_limit(Some(LIMIT))).unwrap();
    let script = "for i = 1, 1e4 do end task.wait() print('script done')";
    runtime.spawn("script", script, ()).unwrap();
    let until = Instant::now() + super::raw::LONG;
    while runtime.step(Duration::from_millis(2)).unwrap().is_alive() {
        assert!(Instant::now() < until);
    }
    assert_eq!(said.take(), ["script done"]);
    for pause in [0, 100, 0] {
        std::thread::sleep(Duration::from_millis(pause));
        assert!(lua.load(WORK).eval::<f64>().is_ok(), "after a pause of {pause} ms");
    }
    // If the embedder calls a script's function, the call has no time limit.
    runtime.spawn("script", format!("function mine() {WORK} end"), ()).unwrap();
    let mine: moonwire::mlua::Function = lua.globals().get("mine").unwrap();
    assert!(mine.call::<f64>(()).is_ok());
    runtime.spawn("script", "print('work') while true do end", ()).unwrap();
    assert_eq!(said.take(), ["work".to_owned(), format!("error: script:1: {LATE}")]);
    assert_eq!(runtime.step(Duration::ZERO).unwrap(), Progress::Done);
}

// When the error was raised, the scheduler asks it for its text.
#[test]
fn an_error_value_that_computes_for_ever_ends() {
    let said = hurried(Mode::Inline).says(
        "task.delay(0, print, 'later')
        error(setmetatable({}, { __tostring = function() while true do end end }))",
        (),
    );
    assert_eq!(said, ["error: {}", "later"]);
}

#[test]
fn a_module_runs_on_the_time_of_who_requires_it() {
    let module = Script::new("endless-module", "while true do end");
    let name = std::path::Path::new(module.path()).file_stem().unwrap().to_str().unwrap();
    let script =
        format!("task.delay(0, print, 'later') while true do pcall(require, './{name}') end");
    let ended = Script::new("requires-endless", &script).run(&["--time-limit", "0.05"], &[]);
    assert_eq!((ended.status, &ended.out[..]), (Some(1), &["later".to_owned()][..]), "{ended:?}");
    assert!(ended.err.contains(LATE), "{ended:?}");
}

// The time of a handler counts from its call, and the time of a call includes everything that it
// begins.
#[test]
fn a_handler_that_spawns_runs_on_its_own_time() {
    let server = echo();
    let said = hurried(Mode::Inline).says(
        r#"
        local ws = WebSocket.connect((...))
        ws.OnMessage:Connect(function(message)
            if message == "storm" then while true do task.spawn(function() end) end end
            print(message)
            ws:Close()
        end)
        ws:Send("storm")
        ws:Send("go on")
        "#,
        server.url(),
    );
    let (last, first) = said.split_last().unwrap();
    assert_eq!(last, "go on");
    assert!(!first.is_empty() && first.iter().all(|line| line.contains(LATE)), "{said:?}");
}
