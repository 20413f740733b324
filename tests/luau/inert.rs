//! Everything that scripts can reach is inert: no token, no shared table that can be written, no
//! environment of internals (LUAU_API §7).

use moonwire::luau::{HostFile, Options, Runtime, install};
use moonwire::mlua::{Function, Lua, Table, Value};

use super::support::{Mode, Rt, Said, echo, refused};

const WALK: &str = include_str!("inert.luau");

/// Puts an object of each kind of a host where the walk finds it. `look` checks the stack in the
/// handlers that the host calls.
const OF_HOSTS: &str = r#"
    local objects = { host = host }
    eq(host, nil)
    local function look()
        for level = 1, 50 do
            local source, f = debug.info(level, "sf")
            if not source then break end
            check(source == "[C]" or source == debug.info(1, "s") or source == debug.info(eq, "s"), source)
            eq(getfenv(level), getfenv())
            check(source ~= "[C]" or not pcall(setfenv, f, {}))
        end
        for _, name in { "host", "world", "native" } do
            eq(getfenv(1)[name], nil)
        end
    end
    for _, class in { "Folder", "ModuleScript", "StringValue", "BindableEvent", "BindableFunction" } do
        local object = Instance.new(class)
        Instance.new("Folder", object).Name = "child"
        objects[class] = object
        for _, key in { "__index", "__newindex", "__nil", "__properties", "__inherits", "signals", "children" } do
            check(not pcall(function() return object[key] end), key)
        end
        eq(getmetatable(object), getmetatable(game))
        for _, name in { "ChildAdded", "Changed", "Destroying" } do
            table.insert(objects, object[name]:Connect(look))
        end
    end
    objects.BindableEvent.Event:Connect(look)
    objects.BindableFunction.OnInvoke = look
    objects.BindableFunction:Invoke()
    objects.BindableEvent:Fire()
    Instance.new("Folder", objects.Folder)
    objects.StringValue.Value = "x"
    table.insert(objects, task.spawn(function() objects.Folder:WaitForChild("Nobody", 0.01) end))
    game:GetService("RunService").Heartbeat:Once(look)
    game:GetService("LogService").MessageOut:Once(look)
    if plugin then
        table.insert(objects, plugin:CreateToolbar("x"):CreateButton("y"))
    end
    table.insert(objects, DateTime.now())
    task.wait(0.02)
    getgenv().objects = table.freeze(objects)
"#;

/// A table: type of userdata → names of its members.
fn members(runtime: &Runtime) -> Table {
    let lua = runtime.lua();
    let all = lua.create_table().unwrap();
    for (name, members) in runtime.members().unwrap() {
        let names = lua.create_table().unwrap();
        for member in members {
            names.set(member, true).unwrap();
        }
        all.set(name, names).unwrap();
    }
    all
}

both! {
    fn everything_in_reach_is_inert(mode) {
        let server = echo();
        let mut rt = Rt::new(mode);
        let members = members(&rt.runtime);
        rt.passes(WALK, (server.url(), members, true));
    }

    fn a_time_limit_puts_nothing_more_in_reach(mode) {
        let server = echo();
        let limit = std::time::Duration::from_secs(60);
        let mut rt = Rt::with(mode, |options| options.time_limit(Some(limit)));
        let members = members(&rt.runtime);
        rt.passes(WALK, (server.url(), members, true));
    }

    fn so_it_is_in_the_world_of_a_host(mode) {
        for host in [HostFile::studio(), HostFile::executor()] {
            let server = echo();
            let mut rt = Rt::with(mode, |options| options.host(host));
            rt.spawn(OF_HOSTS, ());
            rt.run();
            let members = members(&rt.runtime);
            // `Runtime::members` does not list these names.
            let more = ["Name", "Parent", "LocalPlayer", "Event", "Value", "Changed", "ChildAdded", "child"];
            let names = rt.runtime.lua().create_table().unwrap();
            for name in more {
                names.set(name, true).unwrap();
            }
            members.set("more", names).unwrap();
            rt.passes(WALK, (server.url(), members, true));
        }
    }

    fn so_it_is_where_each_script_has_globals_of_its_own(mode) {
        let server = echo();
        let mut rt = Rt::with(mode, |options| options.globals_per_script(true));
        let members = members(&rt.runtime);
        rt.passes(WALK, (server.url(), members, true));
    }

    // d01: a thread that yielded the value that `serve` yields was mistaken for the thread that
    // waits for the next handler.
    fn no_thread_is_given_the_handlers_of_others(mode) {
        let server = echo();
        Rt::new(mode).passes(
            r##"
            local ws, victim = WebSocket.connect((...)), WebSocket.connect((...))
            local got = {}
            victim.OnMessage:Connect(function(m) got[#got + 1] = m end)
            ws.OnMessage:Once(function()
                for level = 0, 50 do
                    local f, s = debug.info(level, "fs")
                    if f and s == "[C]" and level > 0 then
                        error("a function of the prelude at level " .. level)
                    end
                end
                for _ = 1, 10 do
                    eq(select("#", coroutine.yield()), 0)
                end
            end)
            ws:Send("x")
            task.wait(0.05)
            for i = 1, 3 do victim:Send(i) end
            until_true(function() return #got == 3 end)
            eq(table.concat(got, " "), "1 2 3")
            ws:Close() victim:Close()
            done()
            "##,
            server.url(),
        );
    }

    // Other handlers in that thread would see its environment. A thread whose handler called
    // `coroutine.running` serves no other handler either (d07).
    fn a_thread_that_was_given_an_environment_serves_no_other_handler(mode) {
        let server = echo();
        Rt::new(mode).passes(
            r#"
            local ws, globals = WebSocket.connect((...)), getfenv()
            local n = 0
            ws.OnMessage:Connect(function(m)
                eq(getfenv(0), globals)
                n += 1
                if n == 2 then setfenv(0, {}) end
            end)
            for i = 1, 5 do ws:Send(i) end
            until_true(function() return n == 5 end)
            ws:Close()
            done()
            "#,
            server.url(),
        );
    }
}

/// A script's `__tostring` makes the text of an error value; the scheduler calls it.
#[test]
fn the_thread_of_the_scheduler_is_not_to_be_had() {
    let said = Rt::new(Mode::Inline).says(
        r#"
        local thread
        task.spawn(error, setmetatable({}, { __tostring = function()
            thread = coroutine.running()
            for level = 0, 20 do
                local source, f = debug.info(level, "sf")
                if source == "[C]" and f and level > 0 then print(f == tostring) end
            end
            return "mine"
        end }))
        print(coroutine.status(thread))
        task.wait()
        print(coroutine.status(thread), (coroutine.close(thread)))
        "#,
        (),
    );
    assert_eq!(said, ["true", "error: mine", "dead", "dead true"]);
}

#[test]
fn debug_and_environments() {
    Rt::new(Mode::Inline).passes(include_str!("debug.luau"), ());
}

/// The embedder calls `sandbox` before `install`, after it, or never.
#[test]
fn it_is_so_in_the_vm_of_an_embedder() {
    for (before, after) in [(false, false), (true, false), (false, true)] {
        let (lua, said, server) = (Lua::new(), Said::default(), echo());
        if before {
            lua.sandbox(true).unwrap();
        }
        let mut runtime = install(&lua, Options::new(said.output())).unwrap();
        if after {
            lua.sandbox(true).unwrap();
        }
        lua.globals().set("_G", lua.create_table().unwrap()).unwrap();
        let helpers: Function =
            lua.load(include_str!("helpers.luau")).set_name("=test").into_function().unwrap();
        helpers.call::<()>(()).unwrap();
        let members = members(&runtime);
        runtime.spawn("script", WALK, (server.url(), members, before || after)).unwrap();
        runtime.run().unwrap();
        assert_eq!(said.take(), ["done"], "sandbox before: {before}, after: {after}");
    }
}

/// The functions of the prelude read no name from their environment.
#[test]
fn nothing_is_looked_up_at_the_time_of_a_call() {
    let server = echo();
    let scripts: [(&str, Vec<String>); 8] = [
        (include_str!("scheduler.luau"), vec![]),
        (include_str!("globals.luau"), vec![]),
        (include_str!("debug.luau"), vec![]),
        (include_str!("http_service.luau"), vec![]),
        (include_str!("enums.luau"), vec![]),
        (include_str!("signals.luau"), vec![server.url().to_owned()]),
        (include_str!("object.luau"), vec![server.url().to_owned()]),
        (include_str!("connect.luau"), vec![server.url().to_owned(), refused()]),
    ];
    for (script, args) in scripts {
        let mut rt = Rt::new(Mode::Inline);
        // The environment has entries only while a part is loaded, so all parts are loaded first.
        rt.runtime.load_all().unwrap();
        let (lua, environment) = (rt.runtime.lua().clone(), rt.runtime.environment().clone());
        assert!(environment.is_empty() && environment.is_readonly());
        environment.set_readonly(false);
        // With `safeenv`, Luau would use the values from the time of loading.
        environment.set_safeenv(false);
        let poison = lua.create_table().unwrap();
        let look = |_: &Lua, (_, name): (Value, String)| -> moonwire::mlua::Result<Value> {
            Err(moonwire::mlua::Error::runtime(format!("{name} was looked up")))
        };
        poison.set("__index", lua.create_function(look).unwrap()).unwrap();
        environment.set_metatable(Some(poison)).unwrap();
        let values = args.into_iter().map(|a| Value::String(lua.create_string(a).unwrap()));
        rt.passes(script, values.collect::<moonwire::mlua::MultiValue>());
    }
}

/// The words of a line of code, each with the character before it and the one behind it. Comments
/// and strings are left out.
fn words(line: &str) -> Vec<(char, &str, char)> {
    let line = line.split("--").next().unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut all = Vec::new();
    for (i, code) in line.split('"').enumerate().filter(|(i, _)| i % 2 == 0) {
        let mut at = 0;
        while let Some(start) = code[at..].find(is_word).map(|n| at + n) {
            let end = code[start..].find(|c| !is_word(c)).map_or(code.len(), |n| start + n);
            let before =
                code[..start].chars().next_back().unwrap_or(if i == 0 { ' ' } else { '"' });
            all.push((before, &code[start..end], code[end..].chars().next().unwrap_or(' ')));
            at = end;
        }
    }
    all
}

/// Checks the source, for code that no test calls: inside a function, a name of Luau's globals
/// refers to a local of the file.
#[test]
fn the_prelude_takes_what_it_needs_when_it_is_loaded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/luau/prelude");
    let lua = Lua::new();
    let globals: Vec<String> =
        lua.globals().pairs::<String, Value>().map(|pair| pair.unwrap().0).collect();
    let (mut files, mut uses) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        files += 1;
        let top = text.lines().filter_map(|line| line.strip_prefix("local "));
        let locals: Vec<&str> = top
            .flat_map(|line| words(line.split('=').next().unwrap()))
            .map(|(_, word, _)| word)
            .collect();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('\t')) {
            for (before, word, after) in words(line) {
                let field = before == '.' || before == ':';
                let used = !field && (after == '.' || after == '(');
                if used && globals.iter().any(|name| name == word) {
                    uses += 1;
                    let (path, n) = (path.display(), i + 1);
                    assert!(locals.contains(&word), "{path}:{n}: {word} is looked up");
                }
            }
        }
    }
    assert!(files >= 10 && uses > 50, "{files} files, {uses} uses");
}
