//! An embedder's VM: `install`, and `step` instead of `run`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use moonwire::luau::{self, GLOBALS, Options, Progress, Runtime, install};
use moonwire::mlua::{self, Lua, Value, VmState};

use super::raw::{LONG, Peer, close, serve, text};
use super::support::*;

fn options(mode: Mode, said: &Said) -> Options {
    Options::new(said.output()).poll_thread(mode == Mode::Threaded)
}

/// Steps until all scripts have ended.
#[track_caller]
fn step_to_the_end(runtime: &mut Runtime, said: &Said) {
    let until = Instant::now() + LONG;
    loop {
        match runtime.step(Duration::from_millis(2)).unwrap() {
            Progress::Done => return runtime.finish(),
            Progress::Stopped => panic!("nobody stops it"),
            _ => assert!(Instant::now() < until, "hangs after {:?}", said.all()),
        }
    }
}

fn names(lua: &Lua) -> BTreeSet<String> {
    lua.globals().pairs::<String, Value>().map(|pair| pair.unwrap().0).collect()
}

const TALK: &str = r#"
    local ws = WebSocket.connect(...)
    ws:Send("hello")
    print(ws.OnMessage:Wait())
    getgenv().written = 1
    shared.written = 2
    assert(written == 1 and getgenv().written == 1 and shared.written == 2)
    assert(loadstring("written = 3 return getgenv().written")() == 3 and written == 3)
    ws:Close()
    ws.OnClose:Wait()
    print("closed", typeof(ws))
"#;

both! {
    fn before_and_after_the_sandbox_and_without(mode) {
        let server = echo();
        for sandbox in ["never", "before", "after"] {
            let (lua, said) = (Lua::new(), Said::default());
            if sandbox == "before" {
                lua.sandbox(true).unwrap();
            }
            let mut runtime = install(&lua, options(mode, &said)).unwrap();
            if sandbox == "after" {
                lua.sandbox(true).unwrap();
            }
            runtime.spawn("script", TALK, server.url()).unwrap();
            step_to_the_end(&mut runtime, &said);
            assert_eq!(said.take(), ["hello", "closed WebSocket"], "sandbox {sandbox}");
            // The same by `run`, in the same VM.
            runtime.spawn("script", TALK, server.url()).unwrap();
            assert_eq!(runtime.run().unwrap(), Progress::Done);
            assert_eq!(said.take(), ["hello", "closed WebSocket"], "sandbox {sandbox}");
            assert!(!runtime.has_raised());
            // A handler that is called later has the globals of the scripts.
            let script = r#"local ws = WebSocket.connect((...))
                ws.OnMessage:Connect(function(m)
                    getgenv().from_handler = m
                    loadstring("from_text = 'text'")()
                    ws:Close()
                end)
                ws:Send("handler")"#;
            runtime.spawn("script", script, server.url()).unwrap();
            assert_eq!(runtime.run().unwrap(), Progress::Done);
            runtime.spawn("script", "print(from_handler, from_text)", ()).unwrap();
            assert_eq!(said.take(), ["handler text"], "sandbox {sandbox}");
        }
    }

    // The runtime reports the panic as an error of the handler, however it passed the message on,
    // and delivers the next message.
    fn a_panic_of_the_embedders_function_in_a_handler(mode) {
        let server = echo();
        let (lua, said) = (Lua::new(), Said::default());
        let boom = lua.create_function(|_, ()| -> moonwire::mlua::Result<()> { panic!("boom") });
        lua.globals().set("boom", boom.unwrap()).unwrap();
        let mut runtime = install(&lua, options(mode, &said)).unwrap();
        let script = r#"local ws, n = WebSocket.connect((...)), 0
            ws.OnMessage:Connect(function(m)
                n += 1
                print(m)
                if n == 5 then return ws:Close() end
                if n ~= 2 then ws:Send("one") ws:Send("two") end
                boom()
            end)
            ws:Send("single")"#;
        runtime.spawn("script", script, server.url()).unwrap();
        assert_eq!(runtime.run().unwrap(), Progress::Done);
        let said = said.take();
        let raises = said.iter().filter(|line| line.contains("boom")).count();
        assert_eq!((said.len(), raises), (9, 4), "{said:?}");
    }

    // A script may remove or change every global. Its connections still work.
    fn a_script_that_changes_its_globals_harms_nobody(mode) {
        let server = echo();
        let script = r#"local url, sandboxed = ...
            local eq, print, WebSocket, task, websocket = assert, print, WebSocket, task, websocket
            local time, rawequal, getgenv, error = time, rawequal, getgenv, error
            local isfrozen = table.isfrozen
            if not sandboxed then
                for _, library in { table, string, math, coroutine, debug, utf8, buffer } do
                    if not isfrozen(library) then
                        for name in library do library[name] = print end
                    end
                end
            end
            local env = getgenv()
            for _, name in {
                "buffer", "coroutine", "debug", "error", "math", "next", "pcall", "select",
                "setmetatable", "string", "table", "tonumber", "tostring", "type", "typeof", "utf8",
                "task", "WebSocket", "websocket", "print", "ipairs", "pairs",
            } do
                env[name] = function() error("the script's own " .. name) end
            end
            local ws = WebSocket.connect(url)
            local once = ws.OnMessage:Once(function(m) print("once", m) end)
            local gone = ws.OnMessage:Connect(print)
            gone:Disconnect()
            ws.OnMessage:Connect(function(m)
                print("message", m)
                task.defer(function() error({ code = 5 }) end)
                ws:Close(4000, "reason")
            end)
            ws.OnClose:Connect(function() print("closed", ws.CloseCode) end)
            ws:Ping("p")
            print("pong", ws.OnPong:Wait())
            ws:Send("m")
            ws.OnClose:Wait()
            task.wait("0.01")
            task.cancel(task.delay(1, print))
            print(websocket.connect("ws://"))"#;
        for sandboxed in [true, false] {
            let (lua, said) = (Lua::new(), Said::default());
            lua.sandbox(sandboxed).unwrap();
            let mut runtime = install(&lua, options(mode, &said)).unwrap();
            runtime.spawn("script", script, (server.url(), sandboxed)).unwrap();
            step_to_the_end(&mut runtime, &said);
            assert_eq!(said.take(), [
                "pong p", "message m", "once m", "error: {code = 5}", "closed 4000",
                "nil ws://: URL: the URL names no host",
            ]);
        }
    }

    fn two_vms_at_once(mode) {
        let server = echo();
        let said = [Said::default(), Said::default()];
        let start = |said: &Said| install(&Lua::new(), options(mode, said)).unwrap();
        let mut runtimes = said.each_ref().map(start);
        let script = r#"mine = ...
            local ws = WebSocket.connect(select(2, ...))
            for i = 1, 20 do
                ws:Send(mine .. i)
                assert(ws.OnMessage:Wait() == mine .. i)
            end
            print(mine)"#;
        for (runtime, name) in runtimes.iter_mut().zip(["one", "two"]) {
            runtime.spawn("script", script, (name, server.url())).unwrap();
        }
        let until = Instant::now() + LONG;
        let mut alive = true;
        while alive {
            assert!(Instant::now() < until);
            alive = false;
            for runtime in &mut runtimes {
                alive |= runtime.step(Duration::from_millis(1)).unwrap().is_alive();
            }
        }
        assert_eq!(said.map(|said| said.take()), [["one"], ["two"]]);
    }

    fn threads_that_the_embedder_makes(mode) {
        let server = echo();
        let (lua, said) = (Lua::new(), Said::default());
        let mut runtime = install(&lua, options(mode, &said)).unwrap();
        let function = lua.load(TALK).set_name("=own").into_function().unwrap();
        let thread = lua.create_thread(function).unwrap();
        thread.resume::<()>(server.url()).unwrap();
        // A resume by somebody else does not end the wait, and its value is ignored.
        assert_eq!(thread.resume::<mlua::MultiValue>("nonsense").unwrap().len(), 0);
        step_to_the_end(&mut runtime, &said);
        assert_eq!(said.take(), ["hello", "closed WebSocket"]);
        assert!(thread.is_finished());
    }

    fn a_step_never_waits_and_says_what_is_next(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            assert_eq!(peer.received(), "go on");
            peer.send(&[text("1"), close(1000, "")].concat());
            peer.frames()
        });
        let mut rt = Rt::with(mode, |options| options.ping_interval(None));
        // The budget is large: a step that used it up would return `Ready`.
        let step = |rt: &mut Rt| rt.runtime.step(LONG).unwrap();
        assert_eq!(step(&mut rt), Progress::Done, "no script");

        rt.spawn("task.wait(1000)", ());
        let now = Instant::now();
        let Progress::Waiting(Some(until)) = step(&mut rt) else { panic!("it sleeps") };
        assert!((990..=1001).contains(&until.saturating_duration_since(now).as_secs()));
        rt.spawn("task.wait(100)", ());
        let Progress::Waiting(Some(until)) = step(&mut rt) else { panic!("it sleeps") };
        assert!((90..=101).contains(&until.saturating_duration_since(now).as_secs()));
        // `task.wait()` waits for the next step of the scheduler, which is due within 20 ms.
        rt.spawn("task.wait() print('next step') task.wait() print('and the next')", ());
        let Progress::Waiting(Some(until)) = step(&mut rt) else { panic!("it sleeps") };
        assert!(until <= Instant::now() + Duration::from_millis(20));
        assert_eq!(rt.said.take(), ["next step"]);
        step(&mut rt);
        assert_eq!(rt.said.take(), ["and the next"]);

        let mut rt = Rt::with(mode, |options| options.ping_interval(None));
        rt.spawn("local ws = WebSocket.connect(...)
            go = function() ws:Send('go on') end
            ws.OnMessage:Connect(print)
            ws.OnClose:Connect(function() print('closed') end)", server.url());
        let until = Instant::now() + LONG;
        while rt.runtime.lua().globals().get::<Value>("go").unwrap().is_nil() {
            assert!(matches!(step(&mut rt), Progress::Waiting(None)));
            assert!(Instant::now() < until);
        }
        let begin = Instant::now();
        for _ in 0..2000 {
            assert_eq!(step(&mut rt), Progress::Waiting(None));
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "it waits");
        rt.spawn("go()", ());
        while step(&mut rt).is_alive() {
            assert!(Instant::now() < until);
        }
        assert_eq!(rt.said.take(), ["1", "closed"]);
        rt.runtime.finish();
        assert_eq!(server.end(), ["close 1000"]);
    }

    // The runtime checks the budget between two handlers.
    fn a_budget_splits_a_batch_between_handlers(mode) {
        let server = serve(|listener| {
            let all: Vec<u8> = (1..=6).flat_map(|n| text(&n.to_string())).collect();
            Peer::open_with(listener, "", &[all, close(1000, "")].concat()).frames()
        });
        let mut rt = Rt::new(mode);
        rt.spawn(r#"local ws = WebSocket.connect(...)
            local function slow(name)
                return function(m)
                    local t = os.clock()
                    repeat until os.clock() - t > 0.003
                    task.defer(print, "deferred", name .. (m or ""))
                    print(name .. (m or ""))
                end
            end
            ws.OnMessage:Connect(slow("b"))
            ws.OnMessage:Connect(slow("a"))
            ws.OnClose:Connect(slow("close"))"#, server.url());
        let until = Instant::now() + LONG;
        let (mut all, mut splits) = (Vec::new(), 0);
        loop {
            let progress = rt.runtime.step(Duration::from_micros(100)).unwrap();
            let said = rt.said.take();
            let handlers = said.iter().filter(|line| !line.starts_with("deferred")).count();
            assert!(handlers <= 1, "{said:?} in one step");
            splits += usize::from(handlers == 1 && progress == Progress::Ready);
            all.extend(said);
            if !progress.is_alive() {
                break;
            }
            assert!(Instant::now() < until, "{all:?}");
        }
        let mut want = Vec::new();
        for n in 1..=6 {
            want.extend([format!("a{n}"), format!("b{n}")]);
            want.extend([format!("deferred a{n}"), format!("deferred b{n}")]);
        }
        want.extend(["close", "deferred close"].map(str::to_owned));
        assert_eq!(all, want);
        assert!(splits >= 12, "{splits}");
        rt.runtime.finish();
        assert_eq!(server.end(), ["close 1000"]);
    }

    // A step with a budget of zero makes progress.
    fn steps_without_time_make_progress(mode) {
        let server = echo();
        let mut rt = Rt::new(mode);
        rt.spawn("local ws = WebSocket.connect(...)
            for i = 1, 5 do ws:Send(i) task.wait() print(ws.OnMessage:Wait()) end
            ws:Close()", server.url());
        let until = Instant::now() + LONG;
        while rt.runtime.step(Duration::ZERO).unwrap().is_alive() {
            assert!(Instant::now() < until);
        }
        assert_eq!(rt.said.take(), ["1", "2", "3", "4", "5"]);
        rt.runtime.finish();
    }
}

/// Luau resolves `task.wait` when it loads a script, as long as it assumes that nobody changed the
/// tables of globals. Otherwise each use would be a lookup. The test shows it: the script does not
/// see a later replacement of `task`.
#[test]
fn names_of_libraries_are_resolved_when_a_script_is_loaded() {
    let said = Said::default();
    let mut runtime = Runtime::new(Options::new(said.output())).unwrap();
    let text = "task.wait() print(bit32.band(6, 3), type(task.cancel))";
    runtime.spawn("script", text, ()).unwrap();
    let globals = runtime.lua().globals();
    for name in ["bit32", "task"] {
        globals.set(name, runtime.lua().create_table().unwrap()).unwrap();
    }
    runtime.run().unwrap();
    assert_eq!(said.all(), ["2 function"]);
}

#[test]
fn nothing_but_the_globals_is_set() {
    let lua = Lua::new();
    let before = names(&lua);
    let said = Said::default();
    let runtime = install(&lua, Options::new(said.output())).unwrap();
    let mut want = before.clone();
    want.extend(GLOBALS.map(str::to_owned));
    assert_eq!(names(&lua), want);
    for name in GLOBALS {
        assert!(!lua.globals().get::<Value>(name).unwrap().is_nil(), "{name}");
    }
    drop(runtime);
    assert!(said.take().is_empty());
}

#[test]
fn a_global_that_is_left_out_stays_as_it_is() {
    let lua = Lua::new();
    lua.globals().set("websocket", "mine").unwrap();
    let print: Value = lua.globals().get("print").unwrap();
    let coroutine: Value = lua.globals().get("coroutine").unwrap();
    let mut before = names(&lua);
    // The functions of mlua that ours replace.
    assert!(before.remove("loadstring") && before.remove("require"));
    let said = Said::default();
    let all = GLOBALS.iter().fold(Options::new(said.output()), |o, name| o.without(name));
    let mut runtime = install(&lua, all).unwrap();
    assert_eq!(names(&lua), before);
    assert_eq!(lua.globals().get::<String>("websocket").unwrap(), "mine");
    assert_eq!(lua.globals().get::<Value>("print").unwrap(), print);
    assert_eq!(lua.globals().get::<Value>("coroutine").unwrap(), coroutine);
    runtime.spawn("x", "assert(WebSocket == nil and task == nil)", ()).unwrap();
    assert!(!runtime.has_raised());

    let lua = Lua::new();
    let some = Options::new(said.output()).without("print").without("shared");
    let mut runtime = install(&lua, some).unwrap();
    runtime.spawn("x", "assert(shared == nil and task and WebSocket)", ()).unwrap();
    assert!(!runtime.has_raised());
}

#[test]
fn app_data_interrupt_and_memory_limit_stay_the_embedders() {
    let (lua, said) = (Lua::new(), Said::default());
    lua.set_app_data(42_u32);
    let calls = Arc::new(AtomicUsize::new(0));
    let its = Arc::clone(&calls);
    lua.set_interrupt(move |_| {
        its.fetch_add(1, Ordering::Relaxed);
        Ok(VmState::Continue)
    });
    let limit = 64 * 1024 * 1024;
    lua.set_memory_limit(limit).unwrap();
    let server = echo();
    let mut runtime = install(&lua, Options::new(said.output())).unwrap();
    runtime.spawn("script", TALK, server.url()).unwrap();
    runtime.run().unwrap();
    assert_eq!(said.take(), ["hello", "closed WebSocket"]);
    assert_eq!(lua.app_data_ref::<u32>().as_deref(), Some(&42));
    assert_eq!(lua.set_memory_limit(limit).unwrap(), limit);
    let before = calls.load(Ordering::Relaxed);
    runtime.spawn("script", "for _ = 1, 1000 do end", ()).unwrap();
    assert!(calls.load(Ordering::Relaxed) >= before + 1000);
}

// The embedder's interrupt is a time limit for one handler.
#[test]
fn an_interrupt_that_raises_stops_one_handler() {
    let (lua, said) = (Lua::new(), Said::default());
    let deadline = Arc::new(Mutex::new(None));
    let its = Arc::clone(&deadline);
    lua.set_interrupt(move |_| {
        let mut deadline = its.lock().unwrap();
        match *deadline {
            Some(at) if Instant::now() > at => {
                *deadline = None;
                Err(mlua::Error::runtime("too long"))
            }
            _ => Ok(VmState::Continue),
        }
    });
    let server = echo();
    let mut runtime = install(&lua, Options::new(said.output())).unwrap();
    let script = r#"local ws = WebSocket.connect(...)
        ws.OnMessage:Connect(function() print("next handler") ws:Close() end)
        ws.OnMessage:Connect(function() while true do end end)
        ws.OnClose:Connect(function() print("closed") end)
        ws:Send("x")"#;
    runtime.spawn("script", script, server.url()).unwrap();
    loop {
        *deadline.lock().unwrap() = Some(Instant::now() + Duration::from_secs(1));
        let progress = runtime.step(Duration::ZERO).unwrap();
        *deadline.lock().unwrap() = None;
        if !progress.is_alive() {
            break;
        }
    }
    let lines = said.take();
    assert!(lines[0].starts_with("error: ") && lines[0].contains("too long"), "{lines:?}");
    assert_eq!(lines[1..], ["next handler", "closed"]);
}

#[test]
fn a_script_that_runs_out_of_memory_is_reported() {
    let (lua, said) = (Lua::new(), Said::default());
    let mut runtime = install(&lua, Options::new(said.output())).unwrap();
    lua.set_memory_limit(lua.used_memory() + 4 * 1024 * 1024).unwrap();
    let script = "local t = {} while true do table.insert(t, string.rep('x', 100000) .. #t) end";
    runtime.spawn("script", script, ()).unwrap();
    lua.gc_collect().unwrap();
    runtime.spawn("script", "task.wait() print('others go on')", ()).unwrap();
    runtime.run().unwrap();
    let lines = said.take();
    assert!(lines[0].contains("not enough memory"), "{lines:?}");
    assert_eq!(lines[1..], ["others go on"]);
    assert!(runtime.has_raised());
}

#[test]
fn an_error_of_the_embedders_own_function_is_reported_with_its_text() {
    let (lua, said) = (Lua::new(), Said::default());
    let mut runtime = install(&lua, Options::new(said.output())).unwrap();
    let fails = lua.create_function(|_, ()| -> mlua::Result<()> {
        Err(mlua::Error::runtime("from the embedder"))
    });
    lua.globals().set("fails", fails.unwrap()).unwrap();
    runtime.spawn("script", "task.spawn(fails) print('on')", ()).unwrap();
    let lines = said.take();
    assert!(lines[0].starts_with("error: ") && lines[0].contains("from the embedder"), "{lines:?}");
    assert_eq!(lines[1..], ["on"]);
}

#[test]
fn options_errors_and_values_have_their_texts() {
    use luau::Line;
    assert_eq!(Line::print("a").to_string(), "a");
    assert_eq!(Line::warn("a").to_string(), "warning: a");
    let raise = Line::raise("m", "a:1\nb:2");
    assert_eq!(raise.to_string(), "error: m\n  a:1\n  b:2");
    let raise = Line::raise("m", "");
    assert_eq!(raise.to_string(), "error: m");
    let io = luau::Error::from(std::io::Error::other("broken"));
    assert_eq!(io.to_string(), "poll loop: broken");
    let lua = luau::Error::from(mlua::Error::runtime("broken"));
    assert!(lua.to_string().contains("broken"));
    assert!(Progress::Ready.is_alive() && Progress::Waiting(None).is_alive());
    assert!(!Progress::Done.is_alive() && !Progress::Stopped.is_alive());
    let mut options = Options::new(|_: luau::Line<'_>| {});
    assert_eq!(options.config().limits.connections, 8192);
}

#[test]
fn budgets_and_limits_without_measure_do_not_panic() {
    let mut rt = Runtime::new(Options::new(|_: luau::Line<'_>| {})).unwrap();
    rt.spawn("script", "task.wait(60)", ()).unwrap();
    assert!(matches!(rt.step(Duration::MAX).unwrap(), Progress::Waiting(Some(_))));
    rt.stopper().stop(1001, Duration::MAX);
    assert_eq!(rt.step(Duration::MAX).unwrap(), Progress::Stopped);
}
