//! Parts of the Luau side that are loaded at their first use.

use std::time::Duration;

use moonwire::luau::{Io, Runtime};
use moonwire::mlua::{Lua, Result};

use super::support::{Mode, Rt, echo, refused};

/// The environment of the Luau side's functions is the same as after the start.
#[track_caller]
fn is_closed(runtime: &Runtime) {
    let environment = runtime.environment();
    assert!(environment.is_empty() && environment.is_readonly());
}

#[test]
fn a_script_loads_what_it_uses_and_nothing_else() {
    let options = ["request_options"];
    for (script, want) in [
        (
            "task.wait() print(game:GetService('HttpService').Name, Enum, debug.info(1, 's'))",
            &[][..],
        ),
        // Reading it does not load it.
        (
            "local http = game:GetService('HttpService') print(WebSocket.connect, http.GetAsync)",
            &[],
        ),
        ("pcall(WebSocket.connect, 5)", &["websocket"]),
        ("pcall(websocket.connect, 5)", &["websocket"]),
        ("pcall(function() game.HttpService:GetAsync(5) end)", &["requests"]),
        ("pcall(function() game.HttpService:PostAsync(5) end)", &["requests"]),
        ("pcall(function() game.HttpService:RequestAsync(5) end)", &["requests"]),
        ("pcall(function() game.HttpService:CreateWebStreamClient(5) end)", &["web_stream_client"]),
        ("pcall(require, './none')", &["require"]),
        ("pcall(io.write, {})", &["io"]),
    ] {
        let io = Io::new(std::io::empty(), std::io::sink(), std::io::sink());
        let mut rt = Rt::with(Mode::Inline, |options| options.io(io));
        assert_eq!(rt.runtime.loaded().unwrap(), [""; 0]);
        rt.says(script, ());
        let takes_options = matches!(want, ["requests" | "web_stream_client"]);
        let mut want = want.to_vec();
        want.extend(takes_options.then_some(options).into_iter().flatten());
        want.sort_unstable();
        let mut loaded = rt.runtime.loaded().unwrap();
        loaded.sort_unstable();
        assert_eq!(loaded, want, "{script}");
        is_closed(&rt.runtime);
    }
}

/// A module may be required in a thread that has its script's own globals.
#[test]
fn where_each_script_has_globals_of_its_own_require_is_there_from_the_start() {
    let rt = Rt::with(Mode::Inline, |options| options.globals_per_script(true));
    assert_eq!(rt.runtime.loaded().unwrap(), ["require"]);
}

/// Luau looks up the names of a text in the globals of the thread that loads it: those of the
/// script.
#[test]
fn a_part_takes_nothing_from_a_script_that_loads_it() {
    let server = echo();
    let replaced = "buffer, coroutine, debug, error, getfenv, math, next, pcall, rawget, select, setfenv, \
                    setmetatable, string, table, tonumber, tostring, type, typeof, utf8";
    let mine = "f, t, t, f, f, t, f, f, f, f, f, f, t, t, f, f, f, f, t";
    for by in [format!("{replaced} = {mine}"), format!("setfenv(1, hostile) {replaced} = {mine}")] {
        let script = format!(
            r##"
            local url, refused = ...
            local eq, done, try, game, Enum, WebSocket, require, sub =
                eq, done, pcall, game, Enum, WebSocket, require, string.sub
            local function f() done = nil end
            local t = {{}}
            for _, name in {{ "len", "sub", "lower", "create", "freeze", "concat", "find", "insert" }} do
                t[name] = f
            end
            local hostile = setmetatable({{}}, {{ __index = function() return f end }})
            {by}
            local ws = WebSocket.connect(url)
            ws:Send("a")
            eq(ws.OnMessage:Wait(), "a")
            ws:Close()
            local http = game:GetService("HttpService")
            local ok, problem = try(http.GetAsync, http, "http" .. sub(refused, 3))
            eq(ok, false) eq(problem, "HttpError: ConnectFail")
            local client = http:CreateWebStreamClient(Enum.WebStreamClientType.WebSocket, {{ Url = url }})
            client.Opened:Wait()
            client:Close()
            ok, problem = try(require, 5)
            eq(ok, false)
            eq(sub(problem, -62), "invalid argument #1 to 'require' (string expected, got number)")
            done()
            "##
        );
        let mut rt = Rt::new(Mode::Inline);
        rt.passes(&script, (server.url(), refused()));
        is_closed(&rt.runtime);
    }
}

/// Memory may be exhausted at any point while a part is loaded: the script gets an error, and the
/// next call tries again.
#[test]
fn a_part_that_finds_no_memory_is_loaded_by_the_next_call() {
    const STEP: usize = 4096;
    let server = echo();
    let (mut short, mut reported, mut enough) = (0, 0, 0);
    for room in (0..).step_by(STEP) {
        let mut rt = Rt::new(Mode::Inline);
        let lua = rt.runtime.lua();
        let squeeze = |lua: &Lua, room: usize| -> Result<()> {
            lua.set_memory_limit(lua.used_memory() + room).map(drop)
        };
        lua.globals().set("squeeze", lua.create_function(squeeze).unwrap()).unwrap();
        let lift = |lua: &Lua, ()| -> Result<()> { lua.set_memory_limit(0).map(drop) };
        lua.globals().set("lift", lua.create_function(lift).unwrap()).unwrap();
        let said = rt.says(
            "local room = ... local lift = lift
            squeeze(room)
            local ok, problem = pcall(function() return WebSocket.connect(5) end)
            lift()
            print(problem)",
            room,
        );
        is_closed(&rt.runtime);
        let loaded = rt.runtime.loaded().unwrap();
        if said[0].contains("not enough memory") {
            short += 1;
            // If there is no room at all, the call of the native fails.
            reported += usize::from(said == ["script:3: not enough memory"]);
            assert_eq!(loaded, [""; 0], "{room}: {said:?}");
        } else {
            enough += 1;
            assert!(said[0].ends_with("(string expected, got number)"), "{room}: {said:?}");
            assert_eq!(loaded, ["websocket"], "{room}");
        }
        rt.passes(
            "local ws = WebSocket.connect((...)) ws:Send('a') eq(ws.OnMessage:Wait(), 'a')
            eq(typeof(ws), 'WebSocket') ws:Close() done()",
            server.url(),
        );
        is_closed(&rt.runtime);
        if enough == 3 {
            break;
        }
    }
    assert!(short >= 3 && reported + 3 >= short, "{reported} of {short}");
}

/// If loading takes longer than the limit, it is completed nevertheless. A busy machine may stop a
/// script before that, so there are many.
#[test]
fn a_time_limit_does_not_stop_it_half_way() {
    let limit = Duration::from_micros(500);
    let mut rt = Rt::with(Mode::Inline, |options| options.time_limit(Some(limit)));
    for _ in 0..1000 {
        // The watch has checked the script once before.
        rt.says(
            "local start = os.clock() repeat until os.clock() - start > 1e-4
            pcall(WebSocket.connect, 5)",
            (),
        );
        is_closed(&rt.runtime);
        if rt.runtime.loaded().unwrap() == ["websocket"] {
            return;
        }
    }
    panic!("it was never loaded");
}

/// `exit` has ended the code that fires and releases.
#[test]
fn a_part_that_is_loaded_after_the_end_revives_nothing() {
    let server = echo();
    let mut rt = Rt::with(Mode::Inline, |options| options.exit(true));
    rt.says(
        "pcall(exit, 3) pcall(WebSocket.connect, (...)) task.delay(0, print, 'alive')",
        server.url(),
    );
    assert_eq!((rt.runtime.exit_code(), rt.said.take()), (Some(3), vec![]));
    rt.runtime.load_all().unwrap();
    rt.run();
    assert_eq!(rt.said.take(), [""; 0]);
}
