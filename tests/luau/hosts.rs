//! Host files: the functions of `host`, and the two built-in hosts. Scripts cannot reach `host`.

use std::collections::BTreeSet;
use std::time::Duration;

use moonwire::luau::{Error, HostFile, Options, Progress, Runtime};
use moonwire::mlua::Lua;

use super::command::{self, Script};
use super::support::*;

const WORLD: &str = include_str!("../../src/luau/hosts/world.luau");

fn with(text: &str) -> Rt {
    Rt::with(Mode::Inline, |options| options.host(HostFile::new("my.luau", text)))
}

fn in_world(host: HostFile) -> Rt {
    Rt::with(Mode::Inline, |options| options.host(host).player("Ada", 77).place(1818))
}

/// The error of a runtime with these host files.
#[track_caller]
fn problem(files: &[&str]) -> String {
    let said = Said::default();
    let mut options = Options::new(said.output());
    for file in files {
        options = options.host(HostFile::new("my.luau", *file));
    }
    match Runtime::new(options) {
        Err(Error::Host(text)) => text,
        Err(other) => panic!("{files:?}: {other}"),
        Ok(_) => panic!("{files:?} is taken"),
    }
}

#[test]
fn wrong_arguments_raise_in_the_host_file() {
    let kind = |n: u32, name: &str, kind: &str, got: &str| {
        format!("invalid argument #{n} to 'host.{name}' ({kind} expected, got {got})")
    };
    for (call, why) in [
        ("host.missing()", kind(1, "missing", "string", "nil")),
        ("host.service(5, 5)", kind(1, "service", "string", "number")),
        ("host.service('A')", kind(2, "service", "a value", "nil")),
        ("host.global(nil, 5)", kind(1, "global", "string", "nil")),
        ("host.enum({}, {})", kind(1, "enum", "string", "table")),
        ("host.enum('A', 'B')", kind(2, "enum", "table", "string")),
        ("host.object()", kind(1, "object", "string", "nil")),
        ("host.object('A')", kind(2, "object", "table", "nil")),
        (
            "host.object('A', table.freeze({}))",
            "invalid argument #2 to 'host.object' (a table that can be written expected)"
                .to_owned(),
        ),
        ("host.extend(game)", kind(2, "extend", "table", "nil")),
        ("host.extend({}, {})", "host.extend: Instance expected, got table".to_owned()),
        ("host.signal(5)", kind(1, "signal", "function", "number")),
        ("host.steps()", kind(1, "steps", "function", "nil")),
        ("host.output('x')", kind(1, "output", "function", "string")),
        ("host.use()", kind(1, "use", "string", "nil")),
        ("host.use('mars')", "host.use: there is no host file \"mars\"".to_owned()),
        ("host.more = 5", "attempt to modify a readonly table".to_owned()),
        ("host.player.Name = 'x'", "attempt to modify a readonly table".to_owned()),
    ] {
        assert_eq!(problem(&[&format!("\n{call}")]), format!("my.luau:2: {why}"), "{call}");
        // The host file can catch the error.
        let caught = with(&format!("assert(not pcall(function() {call} end))")).says("", ());
        assert_eq!(caught, [""; 0], "{call}");
    }
}

#[test]
fn names_that_are_taken_raise() {
    for (call, why) in [
        ("host.global('print', 5)", "host.global: there is a global print already"),
        ("host.global('string', 5)", "host.global: there is a global string already"),
        ("host.global('require', 5)", "host.global: there is a global require already"),
        ("host.global('_G', 5)", "host.global: there is a global _G already"),
        ("host.global('a', 1) host.global('a', 2)", "host.global: there is a global a already"),
        ("host.service('HttpService', 5)", "host.service: there is a HttpService already"),
        ("host.service('GetService', 5)", "host.service: there is a GetService already"),
        ("host.service('A', 1) host.service('A', 2)", "host.service: there is a A already"),
        (
            "host.extend(game, { IsLoaded = 5 })",
            "host.extend: DataModel has a member IsLoaded already",
        ),
        ("host.enum('HttpCompression', { 'A' })", "host.enum: there is a HttpCompression already"),
        ("host.enum('GetEnums', { 'A' })", "host.enum: there is a GetEnums already"),
        ("host.enum('A', { 'B', 'B' })", "host.enum: A cannot have the item B"),
        ("host.enum('A', { 5 })", "host.enum: A cannot have the item 5"),
        ("host.enum('A', { 'GetEnumItems' })", "host.enum: A cannot have the item GetEnumItems"),
    ] {
        assert_eq!(problem(&[call]), format!("my.luau:1: {why}"));
    }
    // A name of another host file is taken. Both built-in hosts define `RunService`.
    assert_eq!(
        problem(&["host.global('a', 1)", "host.global('a', 1)"]),
        "my.luau:1: host.global: there is a global a already"
    );
    let said = Said::default();
    let options = Options::new(said.output()).host(HostFile::studio()).host(HostFile::executor());
    let Err(Error::Host(both)) = Runtime::new(options) else { panic!("both are taken") };
    assert!(both.ends_with("there is a RunService already"), "{both}");
}

#[test]
fn a_file_that_is_no_luau_raises_or_waits_is_an_error() {
    for (text, why) in [
        ("local = 5", "my.luau:1: Expected identifier when parsing variable name, got '='"),
        ("\n\nerror('no', 0)", "no"),
        ("\n\nerror('no')", "my.luau:3: no"),
        ("task.wait()", "my.luau:1: task.wait has to wait, and this thread cannot yield here"),
        ("coroutine.yield()", "attempt to yield across metamethod/C-call boundary"),
        ("print(nothing.x)", "my.luau:1: attempt to index nil with 'x'"),
    ] {
        assert_eq!(problem(&[text]), why, "{text}");
    }
}

/// The command prints the error of a host file in one line and ends with a status.
#[test]
fn the_command_says_what_is_wrong_with_a_host() {
    let raises = Script::new("host_raises", "error('no')");
    let broken = Script::new("host_broken", "local = 5");
    let good = Script::new("host_good", "host.global('x', host.player.Name .. host.place)");
    let path = raises.path();
    for (host, status, err) in [
        (path, 1, format!("moonwire: {path}:1: no\n")),
        (broken.path(), 1, format!("moonwire: {}:1: Expected identifier", broken.path())),
        ("/no/such.luau", 2, "moonwire: --host /no/such.luau: ".to_owned()),
        ("world", 2, "moonwire: --host world: ".to_owned()),
    ] {
        let ended = command::run(&["--host", host, "-e", "print(1)"]);
        assert_eq!((ended.status, &*ended.out), (Some(status), &[][..]), "{host}");
        assert!(ended.err.starts_with(&err), "{host}: {}", ended.err);
        assert_eq!(ended.err.trim_end().lines().count(), 1, "{}", ended.err);
    }
    let ended = command::run(&["--host", "/no/such.luau", "-e", ""]);
    assert!(ended.err.contains("studio and executor are built in, any other name is a file"));
    let says = |options: &[&str]| {
        let ended = command::run(&[options, &["-e", "print(x, game.PlaceId)"]].concat());
        assert_eq!(ended.status, Some(0), "{}", ended.err);
        ended.out.join("\n")
    };
    let host = ["--host", "executor", "--host", good.path()];
    assert_eq!(says(&host), "Player10 0");
    assert_eq!(says(&[&host[..], &["--player", "A:B:5", "--place", "7"]].concat()), "A:B7 7");
    for (option, why) in [
        (["--player", ":5"], "--player NAME[:ID]: the name is missing"),
        (["--player", "A:x"], "--player: \"x\" is not a number in its range"),
        (["--place", "-1"], "--place: \"-1\" is not a number in its range"),
    ] {
        let ended = command::run(&[&option[..], &["-e", ""]].concat());
        assert_eq!(ended.status, Some(2), "{option:?}");
        assert!(ended.err.contains(why), "{}", ended.err);
    }
}

/// Each case is a host file, a script, and the output of the script.
#[test]
fn what_a_host_adds_is_there() {
    for (host, script, said) in [
        ("host.global('a', 5)", "print(a, getgenv().a, rawget(_G, 'a'))", "5 5 nil"),
        ("host.global('a', 5)", "a = 6 print(a)", "6"),
        (
            "host.service('A', { x = 1 })",
            "print(game:GetService('A').x, game.A.x, game:FindService('A') == game.A)",
            "1 1 true",
        ),
        (
            "local e = host.enum('Fruit', { 'Apple', 'Pear' }) host.global('pear', e.Pear)",
            "print(pear, pear == Enum.Fruit.Pear, pear.Value, #Enum.Fruit:GetEnumItems(), Enum.Fruit:FromName('Apple'))",
            "Enum.Fruit.Pear true 1 2 Enum.Fruit.Apple",
        ),
        (
            "host.global('o', host.object('Car', { Wheels = 4, __inherits = { 'Vehicle' }, __nil = { 'Driver' } }))",
            "print(o, typeof(o), o.ClassName, o.Name, o.Wheels, o.Driver, o:IsA('Vehicle'), o:IsA('Instance'), o:IsA('Boat'))",
            "Car Instance Car Car 4 nil true true false",
        ),
        (
            "host.global('o', host.object('Car', { __index = function(_, k) return k == 'x' and 1 or nil end, \
             __newindex = function(_, k, v) print(k, v) return k == 'y', k == 'z' and 'not z' or nil end }))",
            "print(o.x, o.Name) o.y = 2 print(pcall(function() o.z = 3 end)) print(pcall(function() o.w = 4 end)) print(pcall(function() return o.q end))",
            "1 Car\ny 2\nz 3\nfalse script:1: not z\nw 4\nfalse script:1: Unable to assign property w. Property is read only\n\
             false script:1: q is not a valid member of Car \"Car\"",
        ),
        (
            "host.extend(game, { Moon = 'full', __nil = { 'Sun' } })",
            "print(game.Moon, game.Sun)",
            "full nil",
        ),
        (
            "host.missing('Things') host.missing('Others')",
            "",
            "warning: Things is not here: a host file can add it (moonwire run --host FILE, else Options::host)",
        ),
        (
            "host.missing('RunService') host.missing('RunService')",
            "",
            "warning: RunService is not here: moonwire run --host studio and --host executor have it (else Options::host)",
        ),
        (
            "local heard = {} host.output(function(text, warning, raise) table.insert(heard, `{text}|{warning}|{raise}`) end) host.global('heard', heard)",
            "print('a', 1) warn('b') task.spawn(error, 'c', 0) print(#heard, table.concat(heard, ' '))",
            "a 1\nwarning: b\nerror: c\n3 a 1|false|false b|true|false c|false|true",
        ),
        (
            "host.output(function(text) if text == 'x' then error('in the host', 0) end end)",
            "print(pcall(print, 'x')) task.spawn(error, 'x', 0)",
            "x\nfalse in the host\nerror: x\nerror: in the host",
        ),
        (
            "local world = host.use('world') assert(world == host.use('world')) host.global('w', type(world))",
            "print(w, type(Instance.new))",
            "table function",
        ),
        // A host file has Luau's libraries and the globals of scripts.
        (
            "host.global('have', { assert, ipairs, pairs, rawget, xpcall, bit32.band, os.time, utf8.char, vector.create, \
             unpack, getmetatable, task.spawn, print, typeof, buffer.create, coroutine.running, loadstring })",
            "print(#have)",
            "17",
        ),
        (
            "host.global('me', { host.player.Name, host.player.UserId, host.place, type(host.version) })",
            "print(unpack(me))",
            "Player1 -1 0 string",
        ),
        // Scripts do not see the globals of a host file.
        ("mine = 5 function f() end", "print(mine, f, host)", "nil nil nil"),
    ] {
        assert_eq!(with(host).says(script, ()).join("\n"), said, "{host}\n{script}");
    }
}

#[test]
fn a_signal_gives_its_arguments_as_they_are() {
    let said = with("local s, fire = host.signal() host.global('s', s) host.global('fire', fire)")
        .says(
            r#"
        print(typeof(s), s == s)
        local function reported(...) return print(args(...)) end
        s:Connect(reported)
        for _, n in { 0, 1, 2, 3, 5 } do fire(table.unpack({ 1, 2, 3, 4, 5 }, 1, n)) end
        fire(nil) fire(nil, nil) fire(nil, 2) fire(1, nil) fire(nil, nil, nil, 4, nil)
        task.wait()
        local function wait(...) task.defer(fire, ...) return args(s:Wait()) end
        print("waits", wait(), wait(1), wait(nil), wait(1, nil, 3))
        "#,
            (),
        );
    let fired = ["0: ", "1: 1", "2: 1, 2", "3: 1, 2, 3", "5: 1, 2, 3, 4, 5"];
    let nils = ["1: nil", "2: nil, nil", "2: nil, 2", "2: 1, nil", "5: nil, nil, nil, 4, nil"];
    // The wait was connected last, so it is called first.
    let again = ["0: ", "1: 1", "1: nil", "waits 0:  1: 1 1: nil 3: 1, nil, 3", "3: 1, nil, 3"];
    assert_eq!(said, [&["RBXScriptSignal true"], &fired[..], &nils, &again].concat());
}

#[test]
fn handlers_come_and_go_while_a_signal_is_fired() {
    let host = "local heard = {} host.global('heard', heard) \
                local s, fire = host.signal(function(yes) table.insert(heard, tostring(yes)) end) \
                host.global('s', s) host.global('fire', fire)";
    with(host).passes(
        r#"
        eq(table.concat(heard, " "), "")
        -- fire() calls no handler itself, and drops its values if there is no listener.
        local got = {}
        fire("early")
        local a, b, c
        a = s:Connect(function(v) table.insert(got, "a" .. v) end)
        b = s:Connect(function(v) table.insert(got, "b" .. v) a:Disconnect() s:Connect(function(w) table.insert(got, "new" .. w) end) end)
        c = s:Once(function(v) table.insert(got, "c" .. v) end)
        fire(1)
        eq(#got, 0)
        task.wait()
        eq(table.concat(got, " "), "c1 b1")
        eq(args(a.Connected, b.Connected, c.Connected), "3: false, true, false")
        b:Disconnect()
        fire(2)
        task.wait()
        eq(table.concat(got, " "), "c1 b1 new2")
        eq(table.concat(heard, " "), "true")
        -- A handler that never ends stops no other handler.
        local last = s:Connect(function() coroutine.yield() end)
        fire(3)
        task.wait()
        eq(table.concat(got, " "), "c1 b1 new2 new3")
        local thread = task.spawn(function() s:Wait() end)
        task.cancel(thread)
        done()
        "#,
        (),
    );
}

#[test]
fn whether_a_signal_is_heard_is_reported_once() {
    let host = "local s, fire = host.signal(function(yes) print('heard', yes) end) host.global('s', s) host.global('fire', fire)";
    let said = with(host).says(
        "local a, b = s:Connect(print), s:Connect(print) a:Disconnect() a:Disconnect() b:Disconnect() \
         s:Once(print) fire('x') task.wait() local t = task.spawn(s.Wait, s) task.cancel(t)",
        (),
    );
    let once = ["heard true", "heard false"];
    assert_eq!(said, [&once[..], &["heard true", "heard false", "x"], &once].concat());
}

#[test]
fn steps_keep_a_program_alive_while_they_are_on() {
    let host = "local n = 0 local switch = host.steps(function(passed) n += 1 assert(passed >= 0) coroutine.yield() end) \
                host.global('switch', switch) host.global('steps', function() return n end)";
    let said = with(host).says(
        r#"
        task.wait() task.wait()
        print(steps())
        switch(true) switch(true)
        until_true(function() return steps() == 3 end)
        switch(false) switch(false)
        task.wait() task.wait()
        print(steps())
        switch(true) switch(false) switch(true)
        until_true(function() return steps() >= 5 end)
        switch(false)
        "#,
        (),
    );
    assert_eq!(said, ["0", "3"]);
    // The function switches its steps off during a call.
    let said = with(
        "local switch local n = 0 switch = host.steps(function() n += 1 print(n) if n == 3 then switch(false) end end) \
         host.global('start', function() switch(true) end)",
    )
    .says("start()", ());
    assert_eq!(said, ["1", "2", "3"]);
    // An error of the function is reported, and the next step follows.
    let said = with(
        "local switch local n = 0 switch = host.steps(function() n += 1 if n == 2 then switch(false) end error('x', 0) end) switch(true)",
    )
    .says("", ());
    assert_eq!(said, ["error: x", "error: x"]);
}

#[test]
fn a_step_comes_only_while_somebody_listens() {
    let mut rt = in_world(HostFile::executor());
    rt.spawn(
        r#"
        local RunService, n = game:GetService("RunService"), 0
        print("begun")
        task.wait(0.05)
        local c c = RunService.Heartbeat:Connect(function(passed)
            n += 1
            assert(passed > 0 and passed < 10)
            if n == 3 then c:Disconnect() print("three") end
        end)
        "#,
        (),
    );
    // Before `Heartbeat` has a listener, the runtime waits only for the script's deadline. When the
    // last listener has left, the run ends.
    let mut steps = 0;
    loop {
        let progress = rt.runtime.step(Duration::from_millis(1)).unwrap();
        match progress {
            Progress::Done => break,
            Progress::Waiting(until) if rt.said.all() == ["begun"] => {
                assert!(until.is_some());
                steps += 1;
            }
            _ => assert!(progress.is_alive()),
        }
    }
    assert!(steps > 0);
    assert_eq!(rt.said.take(), ["begun", "three"]);
}

#[test]
fn a_step_calls_its_signals_in_order_and_its_waits() {
    in_world(HostFile::studio()).passes(
        r##"
        local R, seen = game:GetService("RunService"), {}
        for _, name in { "Heartbeat", "PostSimulation", "Stepped", "RenderStepped", "PreRender", "PreSimulation", "PreAnimation" } do
            R[name]:Once(function(...) table.insert(seen, `{name}{select("#", ...)}`) end)
        end
        local passed = R.Heartbeat:Wait()
        check(passed >= 0 and passed < 10)
        -- The first wait was the newest listener, so it ended before the handler was called.
        R.Heartbeat:Wait()
        eq(table.concat(seen, " "), "PreRender1 RenderStepped1 PreAnimation1 Stepped2 PreSimulation1 PostSimulation1 Heartbeat1")
        local at, delta = R.Stepped:Wait()
        check(at > delta)
        eq(args(R:IsStudio(), R:IsEdit(), R:IsRunning(), R:IsRunMode()), "4: true, true, false, false")
        raises("Expected ':' not '.' calling member function IsEdit", R.IsEdit)
        done()
        "##,
        (),
    );
}

#[test]
fn a_script_that_listens_to_steps_is_killed_and_held_to_its_time() {
    let mut rt = in_world(HostFile::executor());
    let listens =
        "game:GetService('RunService').Heartbeat:Connect(function() beats = (beats or 0) + 1 end)";
    let script = rt.runtime.spawn("one", listens, ()).unwrap();
    rt.runtime
        .spawn("two", "game.RunService.Heartbeat:Wait() game.RunService.Heartbeat:Wait()", ())
        .unwrap();
    let lua = rt.runtime.lua().clone();
    let beats = || lua.globals().get::<Option<u32>>("beats").unwrap().unwrap_or(0);
    while beats() < 3 {
        rt.runtime.step(Duration::from_millis(1)).unwrap();
    }
    script.kill().unwrap();
    rt.run();
    assert!(script.was_killed() && rt.said.take().is_empty());

    let limit = Duration::from_millis(50);
    let mut rt = Rt::with(Mode::Inline, |options| {
        options.host(HostFile::executor()).time_limit(Some(limit))
    });
    let said = rt.says(
        "local c c = game.RunService.Heartbeat:Connect(function() c:Disconnect() while true do end end) \
         game.RunService.Heartbeat:Once(function() print('another') end)",
        (),
    );
    assert_eq!(said[0], "another");
    assert!(
        said[1].starts_with("error: ") && said[1].contains("ran for more than 50ms"),
        "{said:?}"
    );
}

#[test]
fn a_tree_of_instances() {
    for host in [HostFile::studio(), HostFile::executor()] {
        let mut rt = in_world(host);
        rt.passes(include_str!("instances.luau"), ());
    }
}

/// Roblox warns after 5 s that a wait may never end. In this test, time passes 500 times faster.
#[test]
fn a_wait_for_a_child_says_once_that_it_may_never_end() {
    let faster = "local real = task local task = { cancel = real.cancel, delay = function(s, f) return real.delay(s / 500, f) end }\n";
    let said = with(&format!("{faster}{WORLD}")).says(
        r#"
        local a = Instance.new("Folder", game) a.Name = "A"
        task.spawn(function() print("got", a:WaitForChild("Late")) end)
        task.spawn(function() print("got", a:WaitForChild("Never", 10)) end)
        local cancelled = task.spawn(function() a:WaitForChild("Cancelled") end)
        task.cancel(cancelled)
        task.wait(0.05)
        Instance.new("Folder", a).Name = "Late"
        "#,
        (),
    );
    assert_eq!(
        said,
        ["warning: Infinite yield possible on 'A:WaitForChild(\"Late\")'", "got nil", "got Late"]
    );
}

#[test]
fn instances_are_garbage_once_no_script_has_them() {
    let mut rt = in_world(HostFile::executor());
    let lua = rt.runtime.lua();
    let full = lua.create_function(|lua: &Lua, ()| lua.gc_collect()).unwrap();
    let used = lua.create_function(|lua: &Lua, ()| Ok(lua.used_memory())).unwrap();
    lua.globals().set("full", full).unwrap();
    lua.globals().set("used", used).unwrap();
    let said = rt.says(
        r#"
        local kept = Instance.new("Folder", game)
        local function make(n)
            for i = 1, n do
                local a = Instance.new("Folder")
                local b = Instance.new("StringValue", a)
                b.Value = "x"
                b.Changed:Connect(print)
                if i % 2 == 0 then
                    a.Parent = kept
                    a:SetAttribute("N", i)
                    a:Destroy()
                end
            end
        end
        local after = {}
        for round = 1, 6 do
            make(4000)
            full() full()
            after[round] = used() // 1000000
        end
        -- Weak tables keep the size that they once had. Kept instances would add 4 MB a round.
        local most = math.max(table.unpack(after, 4))
        print(if most - after[3] < 3 then "no more" else table.concat(after, " "), #kept:GetChildren())
        "#,
        (),
    );
    assert_eq!(said, ["no more 0"]);
}

#[test]
fn globals_of_its_own_leave_the_hosts_to_each_script() {
    let mut rt = Rt::with(Mode::Inline, |options| {
        options.host(HostFile::executor()).globals_per_script(true).player("Ada", 7)
    });
    rt.runtime.spawn("a", "identifyexecutor = nil mine = 1 getgenv().request = 5 print(mine, request, Instance ~= nil)", ()).unwrap();
    rt.run();
    rt.runtime
        .spawn(
            "b",
            "print(mine, (identifyexecutor()), type(request), game.Players.LocalPlayer.Name)",
            (),
        )
        .unwrap();
    rt.run();
    assert_eq!(rt.said.take(), ["1 5 true", "nil moonwire function Ada"]);
}

/// For each member of `game` that a built-in host adds, the warning without a host names the hosts
/// that have it.
#[test]
fn what_is_not_here_raises_and_names_the_host_that_has_it() {
    let members = |host: Option<HostFile>| -> BTreeSet<String> {
        let rt = Rt::with(Mode::Inline, |options| match host {
            Some(host) => options.host(host),
            None => options,
        });
        rt.runtime.members().unwrap().remove("DataModel").unwrap()
    };
    let bare = members(None);
    let (studio, executor) =
        (members(Some(HostFile::studio())), members(Some(HostFile::executor())));
    let mut count = 0;
    // Members of every Instance are no services.
    let rare = ["Attribute", "Property", "FindFirstA", "OfClass", "WhichIsA", "Cl", "Destroy"];
    let is_rare = |name: &str| rare.iter().any(|part| name.contains(part));
    for name in studio.union(&executor).filter(|name| !bare.contains(*name) && !is_rare(name)) {
        let hosts = match (studio.contains(name), executor.contains(name)) {
            (true, true) => "--host studio and --host executor have it",
            (true, false) => "--host studio has it",
            _ => "--host executor has it",
        };
        let said =
            says(Mode::Inline, &format!("print(pcall(function() return game.{name} end))"), ());
        let warning =
            format!("warning: {name} is not here: moonwire run {hosts} (else Options::host)");
        let raised = format!("false script:1: {name} is not a valid member of DataModel \"Game\"");
        assert_eq!(said, [warning, raised]);
        count += 1;
    }
    assert!(count >= 25, "{count}");
    // All names that no built-in host has share one warning.
    let said = says(
        Mode::Inline,
        "for _, n in { 'Chat', 'Teams', 'Chat' } do pcall(game.GetService, game, n) end",
        (),
    );
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn a_host_is_named_and_shown_without_its_text() {
    let names = ["studio", "executor", "world", "", "Studio"].map(|n| HostFile::named(n).is_some());
    assert_eq!(names, [true, true, false, false, false]);
    let shown = format!("{:?}", HostFile::new("my.luau", "local secret = 5"));
    assert!(shown.contains("my.luau") && !shown.contains("secret"), "{shown}");
}

#[test]
fn the_command_prints_the_types_of_a_host() {
    let types = |args: &[&str]| command::Live::start(&mut command::command(args)).end();
    for (name, host) in [("studio", HostFile::studio()), ("executor", HostFile::executor())] {
        let ended = types(&["types", "--host", name]);
        assert_eq!((ended.status, &*ended.err), (Some(0), ""));
        assert_eq!(ended.out.join("\n").trim_end(), host.types().unwrap().trim_end());
    }
    for name in ["world", "my.luau", ""] {
        let ended = types(&["types", "--host", name]);
        assert_eq!(ended.status, Some(2), "{name}");
        assert!(ended.err.contains("types: --host is studio or executor"), "{}", ended.err);
    }
}
