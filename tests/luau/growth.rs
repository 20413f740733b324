//! The cost of many handlers, timers and waits: adding and removing one takes the same memory for
//! any number of them. Handlers that are connected or disconnected during a fire, and timers, are
//! called in the order of a simple model.

use moonwire::mlua::{Function, Lua};

use super::support::*;

/// The number of generated programs: by default for some seconds, or `MOONWIRE_SEEDS`.
fn programs(default: u32) -> u32 {
    std::env::var("MOONWIRE_SEEDS").ok().map_or(default, |n| n.parse().unwrap())
}

/// One file of the prelude, or a model, in a VM without the rest of the prelude.
fn part(lua: &Lua, name: &str) -> Function {
    let text = match name {
        "timers" => include_str!("../../src/luau/prelude/timers.luau"),
        "scheduler" => include_str!("../../src/luau/prelude/scheduler.luau"),
        "signal" => include_str!("../../src/luau/prelude/signal.luau"),
        "signal_model" => include_str!("signal_model.luau"),
        _ => include_str!("timers_model.luau"),
    };
    lua.load(text).set_name(format!("={name}")).into_function().unwrap()
}

// §3: the newest handler is called first. A handler that is connected during a fire is not called
// by it, nor is one that is disconnected before its turn. `Once` disconnects a handler before its
// call. [FAULTS 84]
#[test]
fn handlers_are_called_as_a_plain_model_has_it() {
    let lua = Lua::new();
    let [timers, scheduler, signal] = ["timers", "scheduler", "signal"].map(|n| part(&lua, n));
    let programs = programs(300);
    let model = part(&lua, "signal_model");
    let calls: u64 = model.call((timers, scheduler, signal, 1, programs)).unwrap();
    println!("{programs} programs, {calls} calls");
    assert!(calls > u64::from(programs) * 20, "{calls} calls");
}

// §4: timers run by time, and timers of equal times in the order in which they were set. A
// cancelled timer is removed at once. [FAULTS 84]
#[test]
fn timers_come_up_as_a_plain_model_has_it() {
    let lua = Lua::new();
    let (timers, programs) = (part(&lua, "timers"), programs(100));
    let came: u64 = part(&lua, "timers_model").call((timers, 1, programs)).unwrap();
    println!("{programs} programs, {came} came up");
    assert!(came > u64::from(programs) * 20, "{came} came up");
}

/// `n` handlers of a kind on one signal; the code between `begin()` and `finish()` is measured.
const REMOVALS: &str = r#"local url, n, kind = ...
local ws = WebSocket.connect(url)
local function f() end
local function order(i)
    -- 7919 is a prime above all factors of n.
    return if kind == "oldest" then i elseif kind == "newest" then n + 1 - i else i * 7919 % n + 1
end
if kind == "once" then
    for _ = 1, n do ws.OnMessage:Once(f) end
elseif kind == "woken" or kind == "cancelled" then
    local threads = {}
    for i = 1, n do threads[i] = task.spawn(function() ws.OnMessage:Wait() end) end
    if kind == "cancelled" then
        begin()
        for i = 1, n do task.cancel(threads[i]) end
    end
elseif kind == "late" then
    ws:Close()
    ws.OnClose:Wait()
    begin()
    for _ = 1, n do ws.OnClose:Connect(f) end
else
    local list = {}
    for i = 1, n do list[i] = ws.OnMessage:Connect(f) end
    begin()
    for i = 1, n do list[order(i)]:Disconnect() end
end
if kind == "once" or kind == "woken" then
    -- This wait is the newest, so it ends first. The other handlers run before the next step.
    begin()
    ws:Send("x")
    ws.OnMessage:Wait()
end
task.wait()
task.wait()
finish()
ws:Close()"#;

/// The bytes that a script allocates between `begin()` and `finish()`. The collector is stopped.
fn allocated(text: &str, args: impl moonwire::mlua::IntoLuaMulti) -> usize {
    let mut rt = Rt::new(Mode::Inline);
    let marks = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    for name in ["begin", "finish"] {
        let its = marks.clone();
        let mark = move |lua: &Lua, ()| {
            lua.gc_stop();
            its.lock().unwrap().push(lua.used_memory());
            Ok(())
        };
        let lua = rt.runtime.lua();
        lua.globals().set(name, lua.create_function(mark).unwrap()).unwrap();
    }
    assert_eq!(rt.says(text, args), [""; 0]);
    let marks = marks.lock().unwrap();
    let [begin, finish] = marks[..] else { panic!("{marks:?}") };
    finish.saturating_sub(begin)
}

// A removal used to copy all other handlers, so the bytes grew with the square of their number.
// [FAULTS 84]
#[test]
fn handlers_leave_at_a_cost_that_grows_as_their_number() {
    let server = echo();
    for kind in ["oldest", "newest", "random", "once", "woken", "cancelled", "late"] {
        let [few, many] = [500, 5000].map(|n| allocated(REMOVALS, (server.url(), n, kind)));
        println!("{kind}: {few} bytes for 500, {many} for 5000");
        // 500 handlers may need almost no bytes.
        assert!(many <= 20 * few.max(8192), "{kind}: {few} bytes for 500, {many} for 5000");
    }
}

/// A runtime whose scripts can ask for the live bytes: `live()`.
fn with_live() -> Rt {
    let rt = Rt::new(Mode::Inline);
    let lua = rt.runtime.lua();
    let live = |lua: &Lua, ()| {
        // The second collection frees what the first has finalized.
        lua.gc_collect()?;
        lua.gc_collect()?;
        Ok(lua.used_memory())
    };
    lua.globals().set("live", lua.create_function(live).unwrap()).unwrap();
    rt
}

// Memory depends only on the handlers that exist. [FAULTS 84]
#[test]
fn handlers_that_left_leave_nothing_behind() {
    let server = echo();
    let text = r#"local url = ...
        local ws = WebSocket.connect(url)
        local function f() end
        local before
        for round = 1, 6 do
            local list = {}
            for i = 1, 3000 do list[i] = ws.OnMessage:Connect(f) end
            for i = 1, 3000 do list[i]:Disconnect() end
            for i = 1, 3000 do ws.OnMessage:Once(f) end
            local waiting = task.spawn(function() ws.OnMessage:Wait() end)
            ws:Send("x")
            ws.OnMessage:Wait()
            task.wait()
            check(coroutine.status(waiting) == "dead")
            list, waiting = nil, nil
            -- The tables keep the size that they reached in the first round.
            before = before or live()
            local more = live() - before
            check(more < 65536, `{more} bytes more`)
        end
        ws:Close()
        done()"#;
    with_live().passes(text, server.url());
}

/// Sets and cancels `n` timers of a kind, while another timer is due before them.
const TIMERS: &str = r#"local n, kind = ...
local other = task.delay(50, error, "too late")
local one = task.spawn(function() while true do coroutine.yield() end end)
local before = live()
for i = 1, n do
    if kind == "delay" then
        task.cancel(task.delay(60, warn, "silent"))
    elseif kind == "step" then
        task.cancel(task.delay(0, warn, "silent"))
    elseif kind == "sleep" then
        task.cancel(task.spawn(task.wait, 60))
    elseif kind == "close" then
        coroutine.close(task.delay(60, warn, "silent"))
    elseif kind == "for ever" then
        task.cancel(task.spawn(task.wait, math.huge))
    elseif kind == "never" then
        -- No reference to the thread is left.
        task.spawn(task.wait, math.huge)
    elseif kind == "ended" then
        -- The timer's thread runs before the timer is due.
        task.spawn(task.delay(60, function() end))
    elseif kind == "one" then
        -- Many timers have the same thread.
        task.delay(60, one)
    end
end
if kind == "one" then
    task.cancel(one)
end
local more = live() - before
-- The tables may keep their size. Some threads that have ended may still be there.
print(kind, if more < 1024 * 1024 then "is flat" else `{more} bytes more`)
task.cancel(other)"#;

// A cancelled timer used to keep its thread until it was due. The program ends, since no timer is
// left. [FAULTS 84]
#[test]
fn timers_that_are_given_up_leave_nothing_behind() {
    for kind in ["delay", "step", "sleep", "close", "for ever", "never", "ended", "one"] {
        assert_eq!(with_live().says(TIMERS, (20_000, kind)), [format!("{kind} is flat")]);
    }
}

// §4: a thread that waits runs on only when its wait is over, however often scripts resume it. The
// stack used to overflow after 19,994 resumes. [FAULTS 84]
#[test]
fn resuming_a_thread_that_waits_costs_it_nothing() {
    // The script connects first: no other thread runs between `sleeper` and the end of the loop.
    let text = r#"local result
        local ws = WebSocket.connect(...)
        local sleeper = task.spawn(function()
            result = table.pack(pcall(task.wait, 0.05))
        end)
        local got
        local reader = task.spawn(function()
            got = table.pack(ws.OnMessage:Wait())
        end)
        local before = gcinfo()
        for i = 1, 60000 do
            for _, thread in { sleeper, reader } do
                local ok, value = coroutine.resume(thread, i, "not yours")
                check(ok and value == nil, value)
            end
        end
        check(gcinfo() - before < 2048, "the stack has grown")
        eq(coroutine.status(sleeper), "suspended")
        ws:Send("hello")
        until_true(function() return result and got end)
        eq(result.n, 2)
        check(result[1] and result[2] >= 0.05)
        eq(got.n, 1)
        eq(got[1], "hello")
        ws:Close()
        done()"#;
    passes(Mode::Inline, text, echo().url());
}
