//! Scripts as objects: what belongs to a script, what is left when it is killed, and what an
//! embedder adds to the environment.

use std::cell::RefCell;
use std::rc::Rc;

use moonwire::Policy;
use moonwire::luau::{self, Line, LineKind, Options, Progress, Runtime, Script, ScriptOptions};
use moonwire::mlua::{Function, Lua, Value};

use super::raw::{Peer, serve};
use super::support::*;

/// A runtime whose lines begin with the name of their script.
fn named(change: impl FnOnce(Options) -> Options) -> (Runtime, Rc<RefCell<Vec<String>>>) {
    let said: Rc<RefCell<Vec<String>>> = Rc::default();
    let its = Rc::clone(&said);
    // Not `Send`: the output stays on the thread of the VM.
    let options = Options::new(move |line: Line<'_>| {
        let text = format!("{}: {}", line.script.unwrap_or("-"), line.text);
        its.borrow_mut().push(text);
    });
    (Runtime::new(change(options)).unwrap(), said)
}

fn start(rt: &mut Rt, name: &str, text: &str, url: &str) -> Script {
    rt.runtime.spawn(name, text, url).unwrap()
}

/// Steps until a script has printed this number of lines.
#[track_caller]
fn until_said(rt: &mut Rt, lines: usize) {
    while rt.said.all().len() < lines {
        let progress = rt.runtime.step(std::time::Duration::from_millis(2)).unwrap();
        assert!(progress.is_alive() || rt.said.all().len() >= lines, "{:?}", rt.said.all());
    }
}

/// Starts one of each thing that can run later, and prints a line when all exist.
const DOOMED: &str = r#"
    local ws = WebSocket.connect((...))
    shared.ws = ws
    local function late(what)
        return function() warn("ran after the kill: " .. what) end
    end
    ws.OnMessage:Connect(late("Connect"))
    ws.OnMessage:Once(late("Once"))
    ws.OnClose:Connect(late("OnClose"))
    task.spawn(function() ws.OnMessage:Wait() late("Wait")() end)
    task.spawn(function() ws.OnClose:Wait() late("Wait of OnClose")() end)
    task.delay(0.02, late("task.delay"))
    task.delay(3600, late("a long task.delay"))
    delay(0.02, late("delay"))
    spawn(late("spawn"))
    task.spawn(function() task.wait() late("task.wait of a step")() end)
    task.spawn(function() while true do task.wait(0.02) late("task.wait")() end end)
    coroutine.resume(coroutine.create(function() task.wait(0.02) late("coroutine.create")() end))
    coroutine.wrap(function() task.wait(0.02) late("coroutine.wrap")() end)()
    shared.suspended = coroutine.create(function() coroutine.yield() late("a suspended thread")() end)
    coroutine.resume(shared.suspended)
    -- In a handler, which yields and which starts further threads.
    ws.OnMessage:Once(function(m)
        task.delay(0.02, late("a handler's task.delay"))
        coroutine.wrap(function() task.wait(0.02) late("a handler's coroutine.wrap")() end)()
        shared.ws.OnMessage:Connect(late("a handler's Connect"))
        shared.third = m
        task.wait(0.02)
        late("a handler")()
    end)
    ws:Send("sent")
"#;

both! {
    // §7.4.1: an endpoint that goes away sends 1001.
    fn kill_ends_all_that_a_script_has_started_and_nothing_else(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::open(listener);
            // Whatever has not run before the kill never runs.
            assert_eq!(peer.received(), "sent");
            peer.rest()
        });
        let echo = echo();
        let mut rt = Rt::new(mode);
        let other = start(&mut rt, "other", r#"
            local ws = WebSocket.connect((...))
            ws.OnMessage:Connect(function(m) print("other", m) end)
            print("ready")
            until_true(function() return shared.killed end)
            ws:Send("lives")
            task.wait(0.1)
            print(coroutine.status(shared.suspended), shared.ws.State)
            ws:Close()
        "#, echo.url());
        // Before the other one begins, so that no step comes between its last line and the kill.
        until_said(&mut rt, 1);
        let doomed = start(&mut rt, "doomed", &format!("{DOOMED} print('ready')"), &server.url());
        until_said(&mut rt, 2);
        assert!(doomed.is_alive() && other.is_alive());
        doomed.kill().unwrap();
        assert!(!doomed.is_alive() && doomed.was_killed() && other.is_alive());
        assert!(!doomed.has_raised() && !other.was_killed());
        // A second kill does nothing.
        doomed.kill().unwrap();
        rt.runtime.spawn("sets", "shared.killed = true", ()).unwrap();
        rt.run();
        assert_eq!(rt.said.take(), ["ready", "ready", "other lives", "dead Closed"]);
        assert!(!other.is_alive() && !other.was_killed());
        assert_eq!(server.end(), ["close 1001"]);
        assert!(!rt.runtime.has_raised());
    }

    fn what_a_handler_starts_is_its_scripts_also_where_another_script_has_the_connection(mode) {
        let echo = echo();
        let mut rt = Rt::new(mode);
        let owner = start(&mut rt, "owner", r#"
            shared.ws = WebSocket.connect((...))
            shared.ws.OnMessage:Connect(function(m) print("owner", m) end)
            print("open")
        "#, echo.url());
        until_said(&mut rt, 1);
        let guest = start(&mut rt, "guest", r#"
            shared.ws.OnMessage:Connect(function(m)
                -- In the thread that served the owner's handler before, or will serve it next.
                task.delay(0.05, print, "guest's timer")
                task.spawn(function() shared.ws.OnMessage:Wait() print("guest's wait") end)
                print("guest", m)
            end)
            shared.ws:Send("one")
        "#, "");
        until_said(&mut rt, 3);
        assert!(guest.is_alive());
        guest.kill().unwrap();
        start(&mut rt, "third", "shared.ws:Send('two') task.wait(0.1) shared.ws:Close()", "");
        rt.run();
        assert_eq!(rt.said.take(), ["open", "guest one", "owner one", "owner two"]);
        assert!(!owner.is_alive());
    }

    // The connection belongs to the killed script, the handlers to the other one.
    fn another_script_gets_the_end_of_a_connection(mode) {
        let echo = echo();
        let mut rt = Rt::new(mode);
        let owner = start(&mut rt, "owner", r#"
            local url = ...
            shared.ws = WebSocket.connect(url)
            shared.client = game:GetService("HttpService"):CreateWebStreamClient(
                Enum.WebStreamClientType.WebSocket, { Url = url })
            shared.client.Opened:Once(function() print("open") end)
        "#, echo.url());
        until_said(&mut rt, 1);
        start(&mut rt, "guest", r#"
            shared.ws.OnClose:Connect(function()
                print("OnClose", shared.ws.CloseCode, shared.ws.CloseReason, shared.ws.State)
            end)
            task.spawn(function() shared.ws.OnMessage:Wait() print("never") end)
            shared.client.Closed:Connect(function()
                print("Closed", shared.client.ConnectionState)
            end)
            shared.client.Error:Connect(print)
        "#, "");
        owner.kill().unwrap();
        rt.run();
        let mut said = rt.said.take();
        said.sort();
        let closed = "Closed Enum.WebStreamClientState.Closed";
        assert_eq!(said, [closed, "OnClose 1001 its script was killed Closed", "open"]);
    }

    fn a_connection_that_is_being_opened_is_given_up(mode) {
        let server = serve(|listener| {
            let mut peer = Peer::asked(listener);
            peer.next_is_eof();
        });
        let mut rt = Rt::new(mode);
        let script = start(&mut rt, "opens", "print(pcall(WebSocket.connect, ...))", &server.url());
        assert!(script.is_alive());
        script.kill().unwrap();
        // Nothing keeps it alive.
        rt.run();
        assert_eq!(rt.said.take(), [""; 0]);
        drop(rt);
        // It may have gone before the request.
        drop(server);
    }

    fn a_script_that_kills_itself_goes_on_to_its_next_pause(mode) {
        let echo = echo();
        let mut rt = Rt::new(mode);
        let slot: Rc<RefCell<Option<Script>>> = Rc::default();
        let its = Rc::clone(&slot);
        let kill = rt.runtime.lua().create_function(move |_, ()| {
            let script = its.borrow();
            let script = script.as_ref().unwrap();
            script.kill().unwrap();
            assert!(!script.is_alive());
            Ok(())
        });
        rt.runtime.lua().globals().set("kill_me", kill.unwrap()).unwrap();
        let script = start(&mut rt, "script", r#"
            local ws = WebSocket.connect((...))
            ws.OnMessage:Connect(function()
                kill_me()
                print("to the next pause")
                -- What it starts meanwhile goes with it.
                task.spawn(function() task.wait() print("not here") end)
                task.delay(0, print, "nor here")
                ws.OnMessage:Connect(print)
                task.wait()
                print("nor after the pause")
            end)
            ws:Send("go")
        "#, echo.url());
        *slot.borrow_mut() = Some(script);
        rt.run();
        assert_eq!(rt.said.take(), ["to the next pause"]);
        slot.borrow_mut().take();
    }

    fn is_alive_says_whether_something_of_it_can_still_run(mode) {
        let echo = echo();
        for (text, alive) in [
            ("", false),
            ("error('x')", false),
            ("task.wait(0.02)", true),
            ("task.wait()", true),
            ("task.wait(math.huge)", false),
            ("coroutine.yield()", false),
            ("task.delay(0.02, function() end)", true),
            ("task.defer(function() end)", true),
            ("task.cancel(task.delay(60, function() end))", false),
            ("coroutine.wrap(function() task.wait(0.02) end)()", true),
            ("local ws = WebSocket.connect(...) ws:Close()", true),
        ] {
            let mut rt = Rt::new(mode);
            let script = start(&mut rt, "script", text, echo.url());
            assert_eq!(script.is_alive(), alive, "{text}");
            assert_eq!(script.has_raised(), text.starts_with("error"), "{text}");
            // A second call, which may be answered in another way.
            assert_eq!(script.is_alive(), alive, "{text}");
            rt.run();
            assert!(!script.is_alive(), "{text}");
        }
        // With a handler, as long as that can be called.
        let mut rt = Rt::new(mode);
        let text = "local ws = WebSocket.connect((...)) shared.ws = ws
            shared.handler = ws.OnMessage:Connect(print) print('open')";
        let script = start(&mut rt, "script", text, echo.url());
        until_said(&mut rt, 1);
        assert!(script.is_alive() && script.is_alive());
        start(&mut rt, "other", "shared.handler:Disconnect()", "");
        assert!(!script.is_alive());
        start(&mut rt, "other", "shared.ws.OnMessage:Connect(print)", "");
        assert!(!script.is_alive());
    }

    fn run_until_waits_for_one_script_and_closes_nothing(mode) {
        let echo = echo();
        let mut rt = Rt::new(mode);
        let busy = start(&mut rt, "busy", "while true do task.defer(task.spawn, function() end) task.wait() end", "");
        let server = start(&mut rt, "server", r#"
            shared.ws = WebSocket.connect((...))
            shared.ws.OnMessage:Connect(function(m) print("server", m) end)
            print("open")
        "#, echo.url());
        until_said(&mut rt, 1);
        for i in 1..=3 {
            let text = format!("shared.ws:Send('{i}') task.wait(0.02) print('end of {i}')");
            let script = start(&mut rt, "short", &text, "");
            assert!(rt.runtime.run_until(&script).unwrap().is_alive());
            assert!(!script.is_alive() && server.is_alive() && busy.is_alive());
            let said = rt.said.all();
            assert_eq!(said.last(), Some(&format!("end of {i}")), "{said:?}");
        }
        busy.kill().unwrap();
        server.kill().unwrap();
        assert_eq!(rt.runtime.run_until(&server).unwrap(), Progress::Done);
    }

    fn a_script_has_its_own_policy_and_number_of_connections(mode) {
        let echo = echo();
        let mut rt = Rt::new(mode);
        let none = Policy::open().and(|_| Err("not for this script".into()));
        let text = r#"
            local url = ...
            local ws, problem = websocket.connect(url)
            print(ws and "open" or problem)
            raises("not for this script", WebSocket.connect, url)
            local client = game.HttpService:CreateWebStreamClient(
                Enum.WebStreamClientType.SSE, { Url = string.gsub(url, "^ws", "http") })
            client.Error:Connect(function(_, why) print(why) end)
        "#;
        let options = ScriptOptions::new().policy(none);
        let script = rt.runtime.spawn_with("bound", text, echo.url(), options).unwrap();
        rt.runtime.run_until(&script).unwrap();
        let said = rt.said.take();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.iter().all(|line| line.contains("not for this script")), "{said:?}");

        let text = r#"
            local url = ...
            local first, second = WebSocket.connect(url), WebSocket.connect(url)
            raises("2 connections of bound are open", WebSocket.connect, url)
            local ws, problem = websocket.connect(url)
            check(ws == nil and string.find(problem, "ScriptOptions::connections", 1, true), problem)
            raises("2 connections", function()
                game.HttpService:CreateWebStreamClient(Enum.WebStreamClientType.WebSocket, { Url = url })
            end)
            first:Close()
            first.OnClose:Wait()
            WebSocket.connect(url):Close()
            second:Close()
            done()
        "#;
        let options = ScriptOptions::new().connections(Some(2));
        rt.runtime.spawn_with("bound", text, echo.url(), options).unwrap();
        // It does not bind another script.
        let free = "for i = 1, 4 do WebSocket.connect((...)) end print('free')";
        rt.runtime.spawn("free", free, echo.url()).unwrap();
        rt.run();
        let mut said = rt.said.take();
        said.sort();
        assert_eq!(said, ["done", "free"]);
    }
}

#[test]
fn a_line_names_its_script() {
    let server = serve(|listener| {
        let mut peer = Peer::open(listener);
        // More than is held for a listener that never comes.
        peer.send(&[super::raw::text("0123456789"), super::raw::text("0123456789")].concat());
        peer.rest()
    });
    let (mut runtime, said) = named(|mut options| {
        options.config().limits.hold = 15;
        options
    });
    let fails = "print('says') warn('warns') task.spawn(error, 'raises', 0) task.wait() error('at the end', 0)";
    runtime.spawn("a", fails, ()).unwrap();
    let text = r#"
        local ws = WebSocket.connect((...))
        coroutine.wrap(function() print("in a coroutine") end)()
        task.delay(0.05, function() ws:Close() end)
        task.wait(0.2)
    "#;
    runtime.spawn("b", text, server.url()).unwrap();
    runtime.run().unwrap();
    let said = said.borrow().clone();
    let of = |name: &str| -> Vec<&str> {
        said.iter().filter_map(|line| line.strip_prefix(name)).collect()
    };
    assert_eq!(of("a: "), ["says", "warns", "raises", "at the end"], "{said:?}");
    let (first, rest) = of("b: ").split_first().map(|(a, b)| (*a, b.to_vec())).unwrap();
    assert_eq!(first, "in a coroutine");
    assert!(rest.len() == 1 && rest[0].contains("messages that nobody listens to"), "{said:?}");
    assert_eq!(said.len(), 6);
    server.end();
}

#[test]
fn a_handler_that_raises_is_of_the_script_that_has_connected_it() {
    let echo = echo();
    let (mut runtime, said) = named(|options| options);
    let text = "shared.ws = WebSocket.connect((...))
        shared.ws.OnMessage:Connect(function() error('of a', 0) end)
        shared.ready = true";
    runtime.spawn("a", text, echo.url()).unwrap();
    let text = "while not shared.ready do task.wait() end
        shared.ws.OnMessage:Connect(function() task.wait() error('of b, later', 0) end)
        shared.ws.OnMessage:Connect(function() print('of b') error('of b', 0) end)
        shared.ws:Send('x') shared.ws.OnMessage:Wait() task.wait(0.05) shared.ws:Close()";
    runtime.spawn("b", text, ()).unwrap();
    runtime.run().unwrap();
    let want = ["b: of b", "b: of b", "a: of a", "b: of b, later"];
    assert_eq!(*said.borrow(), want);
    assert!(!runtime.has_raised());
}

#[test]
fn a_line_says_what_it_is() {
    let line = Line::raise("m", "a:1").of(Some("a"));
    assert_eq!((line.kind, line.script, line.text), (LineKind::Raise, Some("a"), "m"));
    assert_eq!(line.to_string(), "error: m\n  a:1");
    assert_eq!(Line::warn("w").script, None);
}

#[test]
fn wrap_raises_as_luaus_own_does() {
    let mut rt = Rt::new(Mode::Inline);
    rt.passes(
        r#"
        local function problem(f) return select(2, pcall(f)) end
        local t = {}
        eq(problem(function() coroutine.wrap(function() error("x", 0) end)() end), "script:4: x")
        eq(problem(function() coroutine.wrap(function() error(t) end)() end), t)
        eq(problem(function() coroutine.wrap(function() error(5, 0) end)() end), "script:6: 5")
        local f = coroutine.wrap(function(...) local a = coroutine.yield(...) return a, nil, 3 end)
        eq(args(f(1, nil)), "2: 1, nil")
        eq(args(f("a")), '3: "a", nil, 3')
        raises("cannot resume dead coroutine", f)
        raises("invalid argument #1 to 'wrap' (function expected, got number)", coroutine.wrap, 1)
        raises("invalid argument #1 to 'create' (function expected, got nil)", coroutine.create)
        local sum = 0
        for i in coroutine.wrap(function() for i = 1, 4 do coroutine.yield(i) end end) do sum += i end
        eq(sum, 10)
        done()
        "#,
        (),
    );
}

#[test]
fn a_handle_outlives_its_runtime() {
    let mut runtime = Runtime::new(Options::new(|_: Line<'_>| {})).unwrap();
    let script = runtime.spawn("name", "task.wait(60)", ()).unwrap();
    drop(runtime);
    let copy = script.clone();
    drop(script);
    assert_eq!((copy.name(), copy.is_alive()), ("name", true));
    copy.kill().unwrap();
    assert!(!copy.is_alive());
    assert_eq!(format!("{copy:?}"), "Script { name: \"name\", .. }");
}

#[test]
fn services_globals_and_enums_of_an_embedder() {
    for sandbox in [false, true] {
        let offer = |options: Options| {
            options
                .service("Players", |lua| {
                    let table = lua.create_table()?;
                    table.set("Names", lua.create_sequence_from(["a", "b"])?)?;
                    table.set_readonly(true);
                    Ok(table)
                })
                .service("Clock", |lua| lua.create_function(|_, ()| Ok(7)))
                .global("roll", |lua| lua.create_function(|_, sides: u32| Ok(sides)))
                .global("loadstring", |_| Ok("mine"))
                .without("loadstring")
                .enumeration("Weather", ["Sun", "Rain"])
        };
        let said = Said::default();
        let options = offer(Options::new(said.output()));
        let mut runtime = match sandbox {
            true => Runtime::new(options).unwrap(),
            false => luau::install(&Lua::new(), options).unwrap(),
        };
        let text = r#"
            local players = game:GetService("Players")
            assert(players == game.Players and players.Names[2] == "b")
            assert(not pcall(function() players.x = 1 end))
            assert(game:GetService("Clock")() == 7 and game:GetService("HttpService").Name == "HttpService")
            print(select(2, pcall(function() game:GetService("Player") end)))
            assert(roll(6) == 6 and loadstring == "mine")
            assert(Enum.Weather.Rain.Value == 1 and Enum.Weather.Rain.EnumType == Enum.Weather)
            print(Enum.Weather.Rain, #Enum.Weather:GetEnumItems(), #Enum:GetEnums())
        "#;
        let script = runtime.spawn("s", text, ()).unwrap();
        let known = "here are Clock, HttpService, Players";
        let want = format!("s:6: 'Player' is not a valid Service name ({known})");
        let other = "a host file can add it (moonwire run --host FILE, else Options::host)";
        let missing = format!("warning: Player is not here: {other}");
        assert_eq!(said.take(), [missing.as_str(), want.as_str(), "Enum.Weather.Rain 2 5"]);
        assert!(!script.has_raised());
    }
}

#[test]
fn names_that_are_taken_are_errors() {
    type Change = fn(Options) -> Options;
    let cases: [(Change, &str); 9] = [
        (|o| o.service("HttpService", |_| Ok(1)), "Options::service: there is a \"HttpService\""),
        (|o| o.service("GetService", |_| Ok(1)), "Options::service: there is a \"GetService\""),
        (|o| o.service("A", |_| Ok(1)).service("A", |_| Ok(2)), "there is a \"A\" already"),
        (|o| o.service("A", |_| Ok(Value::Nil)), "Options::service: A is nil"),
        (|o| o.global("print", |_| Ok(1)), "Options::global: print"),
        (|o| o.global("x", |_| Ok(1)).global("x", |_| Ok(1)), "Options::global: there is a \"x\""),
        (|o| o.enumeration("HttpCompression", ["A"]), "there is a \"HttpCompression\" already"),
        (|o| o.enumeration("E", ["A", "A"]), "Options::enumeration: E: there is a \"A\" already"),
        (|o| o.enumeration("E", ["FromName"]), "E: there is a \"FromName\" already"),
    ];
    for (change, want) in cases {
        let options = change(Options::new(|_: Line<'_>| {}));
        let Err(e) = Runtime::new(options) else { panic!("{want} is missing") };
        assert!(matches!(e, luau::Error::Options(_)), "{e:?}");
        assert!(e.to_string().contains(want), "{e}");
    }
    let fails = Options::new(|_: Line<'_>| {})
        .service("A", |_| Err::<Value, _>(moonwire::mlua::Error::runtime("not today")));
    assert!(Runtime::new(fails).unwrap_err_text().contains("not today"));
}

trait ErrText {
    fn unwrap_err_text(self) -> String;
}

impl<T> ErrText for Result<T, luau::Error> {
    fn unwrap_err_text(self) -> String {
        self.map(drop).unwrap_err().to_string()
    }
}

#[test]
fn a_vm_takes_the_script_apis_once() {
    let lua = Lua::new();
    let quiet = || Options::new(|_: Line<'_>| {});
    let mut first = luau::install(&lua, quiet()).unwrap();
    let again = luau::install(&lua, quiet()).map(drop).unwrap_err();
    assert!(matches!(again, luau::Error::Installed));
    assert!(again.to_string().contains("has the script APIs already"), "{again}");
    // The first one is unchanged.
    first.spawn("script", "task.wait() assert(typeof(Enum) == 'Enums')", ()).unwrap();
    assert_eq!(first.run().unwrap(), Progress::Done);
    assert!(!first.has_raised());
    drop(first);
    assert!(matches!(luau::install(&lua, quiet()), Err(luau::Error::Installed)));
}

#[test]
fn scripts_share_their_globals_unless_each_has_its_own() {
    let setter = r#"
        counter = 1
        getgenv().by_getgenv = 1
        loadstring("by_loadstring = 1")()
        shared.counter, _G.counter = 1, 1
        assert(counter == 1 and by_getgenv == 1 and by_loadstring == 1)
        assert(getgenv().counter == 1 and loadstring("return counter")() == 1)
        function late() return counter end
        task.delay(0.01, function() counter += 1 assert(late() == 2) print("later", counter) end)
    "#;
    let reader = r#"
        print(counter, by_getgenv, by_loadstring, shared.counter, _G.counter, from_outside)
        print(math.floor(1.5), typeof(WebSocket), getmetatable(getgenv()))
    "#;
    for per_script in [false, true] {
        let said = Said::default();
        let options = Options::new(said.output()).globals_per_script(per_script);
        let mut runtime = Runtime::new(options).unwrap();
        runtime.spawn("setter", setter, ()).unwrap();
        runtime.lua().globals().set("from_outside", "outside").unwrap();
        runtime.spawn("reader", reader, ()).unwrap();
        runtime.run().unwrap();
        let lines = said.take();
        let want = if per_script { "nil nil nil 1 1 outside" } else { "1 1 1 1 1 outside" };
        assert_eq!(lines[0], want);
        assert!(lines[1].starts_with("1 table"), "{lines:?}");
        assert_eq!(per_script, lines[1].ends_with("The metatable is locked"), "{lines:?}");
        assert_eq!(lines[2..], ["later 2"]);
        assert!(!runtime.has_raised());
    }
    // Globals that are left out are left out there, too.
    let said = Said::default();
    let options = Options::new(said.output()).globals_per_script(true).without("getgenv");
    let mut runtime = Runtime::new(options).unwrap();
    runtime.spawn("script", "print(getgenv)", ()).unwrap();
    assert_eq!(said.take(), ["nil"]);
}

/// Hot reload: the values of a script are freed with it, also without a kill.
#[test]
fn a_script_that_has_ended_leaves_nothing_in_memory() {
    for per_script in [false, true] {
        let quiet = Options::new(|_: Line<'_>| {}).globals_per_script(per_script);
        let mut runtime = Runtime::new(quiet).unwrap();
        // A global of the script refers to one of its threads, and the thread to the script.
        let text = "local big = table.create(10000, 1)
            getgenv().thread = task.spawn(function() coroutine.yield() return big end)
            getgenv().wrapped = coroutine.wrap(function() coroutine.yield() return big end)
            wrapped()";
        let mut after = Vec::new();
        for i in 0..300 {
            runtime.spawn("script", text, ()).unwrap();
            runtime.run().unwrap();
            if i % 100 == 99 {
                runtime.lua().gc_collect().unwrap();
                runtime.lua().gc_collect().unwrap();
                after.push(runtime.lua().used_memory());
            }
        }
        // One of them is 160 KB.
        assert!(after[2] < after[0] + 160_000, "{after:?}");
    }
}

/// What a function of another script starts belongs to the script that calls it.
#[test]
fn a_function_of_a_killed_script_runs_for_its_caller() {
    let mut rt = Rt::new(Mode::Inline);
    let library = "shared.later = function(text) task.delay(0.01, print, text) end";
    let library = rt.runtime.spawn("library", library, ()).unwrap();
    library.kill().unwrap();
    let user = rt.runtime.spawn("user", "shared.later('from the library')", ()).unwrap();
    assert!(user.is_alive() && !library.is_alive());
    rt.run();
    assert_eq!(rt.said.take(), ["from the library"]);
}

#[test]
fn threads_of_the_embedders_are_nobodys() {
    let (mut runtime, said) = named(|options| options);
    let script = runtime.spawn("script", "function hello() print('hello') end", ()).unwrap();
    let hello: Function = runtime.lua().globals().get("hello").unwrap();
    let thread = runtime.lua().create_thread(hello).unwrap();
    thread.resume::<()>(()).unwrap();
    script.kill().unwrap();
    assert_eq!(*said.borrow(), ["-: hello"]);
}

/// Luau looks up fields of globals when it loads a text, and keeps them.
#[test]
fn fields_of_what_scripts_share_are_read_when_they_are_read() {
    for (per_script, sandbox) in [(false, true), (true, true), (false, false), (true, false)] {
        let table = |lua: &Lua| {
            let table = lua.create_table()?;
            table.set("n", 1)?;
            Ok(table)
        };
        let said = Said::default();
        let options = Options::new(said.output())
            .globals_per_script(per_script)
            .service("Board", table)
            .global("mine", table);
        let mut runtime = if sandbox {
            Runtime::new(options).unwrap()
        } else {
            luau::install(&Lua::new(), options).unwrap()
        };
        let text = "shared.n, _G.n = 1, 1";
        runtime.spawn("first", text, ()).unwrap();
        let text = r#"
            shared.n += 1 _G.n += 1 mine.n += 1 game.Board.n += 1
            print(shared.n, _G.n, mine.n, game.Board.n)
            shared.n += 1 _G.n += 1 mine.n += 1 game.Board.n += 1
            print(shared.n, _G.n, mine.n, game.Board.n)
            print(loadstring("return shared.n + _G.n + mine.n + game.Board.n")())
        "#;
        runtime.spawn("second", text, ()).unwrap();
        assert_eq!(said.take(), ["2 2 2 2", "3 3 3 3", "12"], "per script: {per_script}");
    }
}

/// Fields of the table that they return are visible, with globals per script and without.
#[test]
fn getfenv_gives_the_globals_that_are_read() {
    for per_script in [false, true] {
        let (mut runtime, said) = named(|options| options.globals_per_script(per_script));
        for f in ["0", "print", "1"] {
            let text = format!("getfenv({f}).tick = function() return 'mine' end print(tick())");
            runtime.spawn("a", text, ()).unwrap();
        }
        assert_eq!(said.take(), ["a: mine"; 3], "per script: {per_script}");
    }
}

both! {
    /// Its handler has resumed a coroutine of another script, which is now running.
    fn a_handler_below_another_scripts_coroutine_is_alive_and_can_be_killed(mode) {
        let server = echo();
        let mut rt = Rt::new(mode);
        let slot: Rc<RefCell<Option<Script>>> = Rc::default();
        let its = Rc::clone(&slot);
        let kill = rt.runtime.lua().create_function(move |_, ()| {
            let script = its.borrow().clone().unwrap();
            let before = script.is_alive();
            script.kill().unwrap();
            Ok((before, script.is_alive()))
        });
        rt.runtime.lua().globals().set("kill", kill.unwrap()).unwrap();
        start(&mut rt, "a", "shared.next = coroutine.wrap(function() \
            while true do coroutine.yield(kill()) end end)", "");
        let text = r#"
            local ws = WebSocket.connect((...))
            ws.OnMessage:Connect(function(m)
                print(m, shared.next())
                task.delay(0.01, print, "a timer after the kill")
                task.wait(0.01)
                print("still runs")
            end)
            ws:Send("go")
        "#;
        *slot.borrow_mut() = Some(start(&mut rt, "b", text, server.url()));
        rt.run();
        assert_eq!(rt.said.take(), ["go true false"]);
        slot.borrow_mut().take();
    }
}

/// The message about a connection that ends with its script comes after the line that caused the
/// end.
#[test]
fn an_output_may_kill_the_script_whose_line_it_gets() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", deaf.local_addr().unwrap());
    let said: Rc<RefCell<Vec<String>>> = Rc::default();
    let slot: Rc<RefCell<Option<Script>>> = Rc::default();
    let (its, script) = (Rc::clone(&said), Rc::clone(&slot));
    let options = Options::new(move |line: Line<'_>| {
        its.borrow_mut().push(format!("{}: {}", line.script.unwrap_or("-"), line.text));
        if line.text.contains("go away") {
            script.borrow().as_ref().unwrap().kill().unwrap();
            its.borrow_mut().push("killed".to_owned());
        }
    });
    let mut runtime = Runtime::new(options).unwrap();
    let text = r#"
        local kind = Enum.WebStreamClientType.WebSocket
        game.HttpService:CreateWebStreamClient(kind, { Url = (...) }):Send("x")
        task.wait(0.01)
        error("go away")
    "#;
    *slot.borrow_mut() = Some(runtime.spawn("a", text, &*url).unwrap());
    runtime.run().unwrap();
    let lost = format!("a: {url}: its script was killed; 1 bytes that were accepted did not leave");
    assert_eq!(*said.borrow(), ["a: a:5: go away", "killed", &lost]);
    slot.borrow_mut().take();
}

/// At its memory limit a script can be killed, and a failed operation leaves no inconsistency for
/// others.
#[test]
fn a_script_that_is_short_of_memory_can_be_killed_and_harms_nobody() {
    let fills = [
        "local l pcall(function() while true do l = {l} end end) pcall(task.wait, 0.01)",
        "local l pcall(function() while true do l = {l} end end) \
         for _ = 1, 99 do pcall(task.defer, print) pcall(task.delay, 1, print) end \
         for _ = 1, 99 do pcall(task.wait) end",
        "local kept = {} for i = 1, 9000 do kept[i] = task.spawn(coroutine.yield) end \
         local all = {} while true do local ok, b = pcall(buffer.create, 10000) \
         if not ok then break end table.insert(all, b) end \
         while true do task.wait(0.01) ticks += 1 if ticks < 0 then print(kept, all) end end",
    ];
    for fill in fills {
        let said = Said::default();
        let options = Options::new(said.output()).memory_limit(Some(16 << 20));
        let mut runtime = Runtime::new(options).unwrap();
        let globals = runtime.lua().globals();
        globals.set("ticks", 0).unwrap();
        let hostile = runtime.spawn("hostile", fill, ());
        for _ in 0..3 {
            let _ = runtime.step(std::time::Duration::from_millis(5));
        }
        if let Ok(hostile) = hostile {
            hostile.kill().unwrap();
            assert!(!hostile.is_alive() && hostile.was_killed());
        }
        runtime.lua().gc_collect().unwrap();
        let ticks: f64 = globals.get("ticks").unwrap();
        said.take();
        let text = "for i = 1, 3 do task.wait(0.01) end task.wait() task.defer(print, 'done')";
        let neighbour = runtime.spawn("neighbour", text, ()).unwrap();
        runtime.run_until(&neighbour).unwrap();
        assert_eq!(said.take(), ["done"], "{fill}");
        assert_eq!(globals.get::<f64>("ticks").unwrap(), ticks, "{fill}");
    }
}

#[test]
fn what_forbids_a_script_something_needs_its_threads_to_be_known() {
    let runtime = || Runtime::new(Options::new(Said::default().output()).without("coroutine"));
    let none = || Policy::open().and(|_| Err("not this one".into()));
    for options in [ScriptOptions::new().policy(none()), ScriptOptions::new().connections(Some(1))]
    {
        let refused = runtime().unwrap().spawn_with("a", "", (), options);
        let text = "ScriptOptions: a script can get around them without moonwire's coroutine, \
                    which Options::without leaves out";
        assert_eq!(refused.err().unwrap().to_string(), text);
    }
    runtime().unwrap().spawn("a", "coroutine.wrap(print)()", ()).unwrap();
}

/// It is unknown when code that belongs to no script goes on.
#[test]
fn who_waits_for_a_module_that_the_embedder_loads_is_alive() {
    let files = &[("slow.luau", "task.wait(0.01) return 'slow'")];
    let (mut runtime, said) = named(|options| modules(options, files));
    let lua = runtime.lua().clone();
    let f: Function = lua
        .load("return function(require) require('./slow') end")
        .set_name("@mine")
        .eval()
        .unwrap();
    let thread = lua.create_thread(f).unwrap();
    thread.resume::<()>(lua.globals().get::<Value>("require").unwrap()).unwrap();
    let script = runtime.spawn("b", "print(require('./slow'))", ()).unwrap();
    assert!(script.is_alive());
    runtime.run_until(&script).unwrap();
    assert!(!script.is_alive());
    assert_eq!(said.take(), ["b: slow"]);
}

#[test]
fn a_module_belongs_to_the_script_that_required_it_first() {
    let name = format!("{}/tests/luau/require/main.luau", env!("CARGO_MANIFEST_DIR"));
    let (mut runtime, said) = named(|options| options);
    let text =
        "local module = require('./timer') module.used = (module.used or 0) + 1 print(module.used)";
    let first = runtime.spawn(&name, text, ()).unwrap();
    let second = runtime.spawn(&name, text, ()).unwrap();
    assert!(first.is_alive() && !second.is_alive());
    first.kill().unwrap();
    // It stays loaded, and its timer is gone.
    runtime.spawn(&name, text, ()).unwrap();
    runtime.run().unwrap();
    let of: Vec<String> = ["loaded", "1", "2", "3"].map(|text| format!("{name}: {text}")).into();
    assert_eq!(*said.borrow(), of);
}

/// Modules from memory.
fn modules(options: Options, files: &'static [(&str, &str)]) -> Options {
    options.modules(move |path: &str| {
        let file = files.iter().find(|(name, _)| *name == path);
        Ok(file.map(|(_, text)| text.as_bytes().to_vec()))
    })
}

#[test]
fn who_waits_for_a_module_of_another_script_lives_as_long_as_that_can_load() {
    let files = &[
        ("slow.luau", "print('loads') task.wait(0.02) print('loaded') return 'slow'"),
        ("never.luau", "coroutine.yield() return 1"),
    ];
    let (mut runtime, said) = named(|options| modules(options, files));
    let text = "print(pcall(require, './slow'))";
    let [a, b] = ["a", "b"].map(|name| runtime.spawn(name, text, ()).unwrap());
    assert!(a.is_alive() && b.is_alive());
    a.kill().unwrap();
    // It gets an error, which it can still handle, and then requires it again.
    assert!(!a.is_alive() && b.is_alive());
    runtime.run_until(&b).unwrap();
    assert!(!b.is_alive());
    let cancelled = "b: false ./slow: the module was cancelled while it loaded";
    assert_eq!(said.take(), ["a: loads", cancelled]);
    let [c, d] = ["c", "d"].map(|name| runtime.spawn(name, text, ()).unwrap());
    runtime.run_until(&d).unwrap();
    assert!(!c.is_alive() && !d.is_alive());
    assert_eq!(said.take(), ["c: loads", "c: loaded", "c: true slow", "d: true slow"]);
    // A module that nothing wakes does not keep the program alive.
    let text = "require('./never')";
    let [e, f] = ["e", "f"].map(|name| runtime.spawn(name, text, ()).unwrap());
    assert!(!e.is_alive() && !f.is_alive());
    assert_eq!(runtime.run().unwrap(), Progress::Done);
}

#[test]
fn a_module_sees_no_globals_of_the_script_that_requires_it() {
    let files = &[("module.luau", "return function() return mine, both, shared.x end")];
    for per_script in [false, true] {
        let (mut runtime, said) =
            named(|options| modules(options, files).globals_per_script(per_script));
        runtime.lua().globals().set("both", "both").unwrap();
        let text = "mine = 'mine' shared.x = 'x' print(require('./module')())";
        runtime.spawn("a", text, ()).unwrap();
        runtime.spawn("b", "print(require('./module')())", ()).unwrap();
        let mine = if per_script { "nil" } else { "mine" };
        let want = ["a", "b"].map(|name| format!("{name}: {mine} both x"));
        assert_eq!(*said.borrow(), want, "per script: {per_script}");
    }
}

#[test]
fn what_an_error_value_does_when_it_is_shown_is_its_scripts() {
    let (mut runtime, said) = named(|options| options);
    let text = "error(setmetatable({}, { __tostring = function()
            task.delay(0.01, print, 'late')
            print('shown')
            return 'its text'
        end }))";
    let script = runtime.spawn("a", text, ()).unwrap();
    assert!(script.has_raised() && script.is_alive());
    assert_eq!(said.take(), ["a: shown", "a: its text"]);
    script.kill().unwrap();
    assert_eq!(runtime.run().unwrap(), Progress::Done);
    assert_eq!(*said.borrow(), [""; 0]);
}
