//! The output of `moonwire types`, checked by Luau's own type checker: strict, with the old and the
//! new solver. `tests/luau/types.rs` compares it with the runtime. Also the part of the crate that
//! is written in Luau (`prelude.rs` here).

#![cfg(test)]

#[path = "../../../src/luau/definitions.rs"]
mod definitions;
mod hosts;
mod prelude;
mod solver;

use std::path::{Path, PathBuf};

use definitions::TYPES;
use solver::Solver;

const BOTH: [Solver; 2] = [Solver::Old, Solver::New];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The errors of a script, each with its line.
fn errors(solver: Solver, script: &str) -> Vec<String> {
    errors_under(solver, TYPES, script)
}

/// The same with other definitions than those of `moonwire types`.
fn errors_under(solver: Solver, definitions: &str, script: &str) -> Vec<String> {
    let mut checker = solver.checker(definitions).unwrap();
    let result = checker.check(script).unwrap();
    assert!(!result.timed_out && !result.cancelled, "{solver:?}: {script}");
    let errors = result.errors();
    errors.iter().map(|e| format!("{}: {}", e.line + 1, e.message)).collect()
}

#[track_caller]
fn passes(name: &str, script: &str) {
    for solver in BOTH {
        let errors = errors(solver, script);
        assert!(errors.is_empty(), "{solver:?}: {name}: {errors:#?}\n{script}");
    }
}

/// The checker reports errors with both solvers, so that the absence of errors below shows
/// something.
#[test]
fn each_solver_finds_what_it_alone_finds() {
    let script = "local t: { read x: number } = { x = 1 } print(t.x)";
    assert_eq!(errors(Solver::Old, script)[0], "1: read keyword is illegal here");
    assert_eq!(errors(Solver::New, script), [""; 0]);
}

#[test]
fn what_scripts_write_passes() {
    for script in [
        // In the new solver, an optional parameter would not pass through `pcall`.
        "local url: string = ... \
         local ok, ws = pcall(WebSocket.connect, url) if ok then ws:Send('x') end",
        "local ok, ws, why, response = pcall(websocket.connect, 'ws://a') print(ok, ws, why, response)",
        "local ok, ws = pcall(WebSocket.connect, 'ws://a', { Headers = { Accept = 'x' } }) \
         print(ok, ws)",
        "local ws = WebSocket.connect('ws://a') ws:Send('a') ws:Send(1) ws:Send(buffer.create(1), true)",
        "WebSocket.connect('ws://a', { Headers = { Accept = 'x' } })",
        "WebSocket.connect('ws://a', { Protocols = 'a', Timeout = 1, BinaryType = 'buffer' })",
        "WebSocket.connect('ws://a', { Protocols = { 'a', 'b' }, PingInterval = 0 })",
        "local ws = WebSocket.connect('ws://a') local close: number = ws.CloseCode or 0 \
         print(ws.State == 'Open', close, ws.URL .. ws.Url)",
        "local ws = WebSocket.connect('ws://a') \
         ws.OnMessage:Connect(function(message, binary) print(#message, binary) end) \
         local made = ws.OnClose:Once(function() end) made:Disconnect() \
         local message: string = ws.OnMessage:Wait() print(message)",
        // The third result: the answer of the server.
        "local ws, why, response = websocket.connect('ws://a') \
         if ws then ws:Close(1000, 'x') elseif response then \
         local status: number = response.StatusCode \
         print(status, response.StatusMessage, response.Headers['retry-after'], response.Body) \
         else warn(why) end",
        "local h = game:GetService('HttpService') local kind = Enum.WebStreamClientType.SSE \
         h:CreateWebStreamClient(kind, { Url = 'http://a', Headers = { Accept = 'x' } }) \
         h:CreateWebStreamClient(kind, { Url = h:GetSecret('a'):AddPrefix('http://') }) \
         h:CreateWebStreamClient(kind, { Url = 'a', Headers = { Authorization = h:GetSecret('a') } }) \
         local headers: { [string]: string | Secret } = { Accept = 'x', A = h:GetSecret('a') } \
         h:CreateWebStreamClient(kind, { Url = 'a', Headers = headers })",
        "local h = game.HttpService local kind = Enum.WebStreamClientType:FromName('SSE') \
         local options: WebStreamClientOptions = { Url = 'http://a' } \
         local ok, c = pcall(h.CreateWebStreamClient, h, Enum.WebStreamClientType.RawStream, \
         options) print(ok, c, kind and h:CreateWebStreamClient(kind, { Url = 'a' }))",
        "local h = game:GetService('HttpService') \
         local c = h:CreateWebStreamClient(Enum.WebStreamClientType.RawStream, \
         { Url = 'http://a', Method = 'POST', Body = 'x', Compress = Enum.HttpCompression.None }) \
         c.Opened:Connect(function(status, headers) print(status + 1, #headers) end) \
         c.Error:Connect(function(status, message) print(status + 1, #message) end) \
         local response = c.Response if response then print(response.StatusCode + 1) end \
         print(c.ConnectionState == Enum.WebStreamClientState.Open, c.ConnectionState.Name)",
        "local t = task.delay(1, print, 'x') task.cancel(t) \
         task.spawn(function(a: number) print(a) end, 1) local n: number = task.wait() print(n)",
        "local h = game:GetService('HttpService') local key = h:GetSecret('key') \
         local response = h:RequestAsync({ Url = 'http://a', Headers = { Authorization = key } }) \
         if response.Success then local status: number = response.StatusCode \
         print(status, response.StatusMessage, response.Headers['content-type'], #response.Body) end \
         h:RequestAsync({ Url = key, Method = 'POST', Body = 'x', Compress = Enum.HttpCompression.Gzip })",
        "local h = game:GetService('HttpService') local body: string = h:GetAsync('http://a') \
         local ok, text = pcall(h.GetAsync, h, 'http://a') print(body, ok, text) \
         h:GetAsync('http://a', true, { Accept = 'x' }) h:PostAsync('http://a', 'x') \
         local fine, answer = pcall(h.PostAsync, h, 'http://a', 'x') print(fine, answer) \
         h:PostAsync('http://a', 'x', Enum.HttpContentType.TextPlain, false, { A = 'b' })",
        "for _, item in Enum.WebStreamClientState:GetEnumItems() do print(item.Name, item.Value) end",
        "for line in io.lines() do local text: string = line io.write(text, 1, '\\n') end \
         local all: string = io.read('all') or '' local some: string? = io.read(5) print(all, some) \
         local line = io.read() or io.read('line') if line then io.stderr(line, 2) end \
         io.writeBytes(buffer.create(1)) io.writeBytes('x') print(pcall(io.read)) print(pcall(io.read, 5)) print(#args, args[1])",
        "local function f(): number if #args == 0 then exit(2) end return 1 end print(f()) \
         task.delay(1, exit) exit()",
    ] {
        passes("script", script);
    }
}

#[test]
fn what_would_raise_does_not_pass() {
    let create = |kind: &str, options: &str| {
        format!("game:GetService('HttpService'):CreateWebStreamClient({kind}, {options})")
    };
    let on = |what: &str| format!("local ws = WebSocket.connect('ws://a') {what}");
    for script in [
        "game.HttpService:RequestAsync({ url = 'http://a' })".to_owned(),
        "game.HttpService:RequestAsync('http://a')".to_owned(),
        "game.HttpService:GetAsync()".to_owned(),
        "game.HttpService:GetAsync('http://a', 5)".to_owned(),
        "game.HttpService:PostAsync('http://a')".to_owned(),
        "game.HttpService:PostAsync('http://a', 'x', Enum.HttpCompression.Gzip)".to_owned(),
        create("Enum.HttpCompression.None", "{ Url = 'a' }"),
        create("Enum.WebStreamClientState.Open", "{ Url = 'a' }"),
        create("Enum.WebStreamClientType.Sse", "{ Url = 'a' }"),
        create("Enum.WebStreamClientType:FromName('SSE')", "{ Url = 'a' }"),
        create("'SSE'", "{ Url = 'a' }"),
        create("Enum.WebStreamClientType.SSE", "{ url = 'a' }"),
        create(
            "Enum.WebStreamClientType.SSE",
            "{ Url = 'a', Compress = Enum.WebStreamClientType.SSE }",
        ),
        create("Enum.WebStreamClientType.SSE", "{ Url = 'a', Timeout = 'x' }"),
        "WebSocket.connect(5)".to_owned(),
        "WebSocket.connect('ws://a', 5)".to_owned(),
        "WebSocket.connect('ws://a', { Headers = { A = 5 } })".to_owned(),
        "WebSocket.connect('ws://a', { BinaryType = 'table' })".to_owned(),
        "print(Enum.HttpCompresion)".to_owned(),
        "game:GetService('Players')".to_owned(),
        on("print(ws.Nope)"),
        on("ws.Nope = 1"),
        on("ws:Send({})"),
        on("ws:Send()"),
        on("ws.OnMessage:Connect(5)"),
        on("local n: number = ws.CloseCode print(n)"),
        on("print(ws.State == 'open' and ws.Send == nil or ws.Stat)"),
        "io.write({})".to_owned(),
        "io.writeBytes(1)".to_owned(),
        "io.read('*a')".to_owned(),
        "io.open('x')".to_owned(),
        "local n: number = io.read(1) print(n)".to_owned(),
        "exit('1')".to_owned(),
    ] {
        for solver in BOTH {
            assert!(!errors(solver, &script).is_empty(), "{solver:?} takes {script}");
        }
    }
}

/// Each property of each extern type. The old solver does not know read-only ones and accepts
/// writes.
#[test]
fn no_property_of_an_object_can_be_written() {
    let (mut of, mut count) = (None, 0);
    for line in TYPES.lines() {
        if let Some(rest) = line.strip_prefix("declare extern type ") {
            of = rest.split(' ').next();
        } else if line == "end" {
            of = None;
        }
        let (Some(of), Some(member)) = (of, line.strip_prefix('\t')) else { continue };
        if member.starts_with("function ") || member.starts_with("--") {
            continue;
        }
        let name = member.split(':').next().unwrap();
        let name =
            name.strip_prefix("read ").unwrap_or_else(|| panic!("{of}.{name} is not `read`"));
        let script = format!("local function f(x: {of}) x.{name} = x.{name} end f(nil :: any)");
        let errors = errors(Solver::New, &script);
        assert!(errors.len() == 1 && errors[0].contains("is read-only"), "{script}: {errors:?}");
        count += 1;
    }
    assert!(count >= 40, "{count} properties");
}

#[test]
fn each_example_passes() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "luau") {
            passes(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
            count += 1;
        }
    }
    assert!(count >= 5, "{count} examples");
}

/// If a block has another word behind `luau`, it runs with a host (`tests/readme.rs`).
#[test]
fn each_luau_block_of_the_pages_passes() {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    let mut count = 0;
    for file in docs.filter(|file| file.ends_with(".md")).chain(["README.md".to_owned()]) {
        let text = std::fs::read_to_string(root().join(&file)).unwrap();
        for (i, block) in text.split("```luau\n").skip(1).enumerate() {
            passes(&format!("{file}: block {}", i + 1), block.split("```").next().unwrap());
            count += 1;
        }
    }
    assert!(count >= 6, "{count} blocks");
}
