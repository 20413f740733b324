//! `require`: a module runs once, for any number of calls; and the possible first lines of a
//! script.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use moonwire::luau::{Error, GLOBALS, Options, Runtime, install};
use moonwire::mlua::{Lua, Value};

use super::command::{Script, folder, piped};
use super::support::*;

/// A runtime whose modules are `files`: name and text.
fn with(mode: Mode, files: &[(&str, &[u8])]) -> Rt {
    let files: HashMap<String, Vec<u8>> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.to_vec())).collect();
    Rt::with(mode, |o| o.modules(move |path: &str| Ok(files.get(path).cloned())))
}

/// The same for texts; returns the output of a script with these modules.
#[track_caller]
fn says(files: &[(&str, &str)], script: &str) -> Vec<String> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, t)| (*n, t.as_bytes())).collect();
    with(Mode::Inline, &files).says(script, ())
}

both! {
    // Each thread that required it meanwhile ran it again, so there were two connections.
    fn a_module_that_waits_runs_once_and_all_get_the_same(mode) {
        let server = echo();
        let mut rt = with(mode, &[
            ("socket.luau", b"print('connects') return WebSocket.connect(shared.url)"),
            ("slow.luau", b"print('sleeps') task.wait(0.02) return {}"),
            ("uses.luau", b"return require('./socket')"),
        ]);
        let script = r#"
            shared.url = ...
            local got = {}
            for i, path in { "./socket", "./slow", "./uses", "./socket", "./slow", "./uses" } do
                task.spawn(function() got[i] = require(path) print(i) end)
            end
            print("all ask")
            repeat task.wait() until got[1] and got[2] and got[3] and got[4] and got[5] and got[6]
            print(got[1] == got[3], got[1] == got[4], got[1] == got[6], got[2] == got[5], got[1] == got[2])
            print(require("./socket") == got[1], typeof(got[1]))
            got[1]:Close()"#;
        let mut said = rt.says(script, server.url());
        assert_eq!(said[..3], ["connects", "sleeps", "all ask"], "{said:?}");
        let end = ["true\ttrue\ttrue\ttrue\tfalse", "true\tWebSocket"].map(|l| l.replace('\t', " "));
        assert_eq!(said[9..], end, "{said:?}");
        // The first caller is resumed first.
        let place = |said: &[String], n: &str| said.iter().position(|line| line == n).unwrap();
        assert!(place(&said, "1") < place(&said, "4") && place(&said, "2") < place(&said, "5"));
        said[3..9].sort();
        assert_eq!(said[3..9], ["1", "2", "3", "4", "5", "6"]);
    }
}

#[test]
fn bytecode_is_no_module() {
    // FAULTS 85. The first three bytes of each ended the process; the second ran.
    let mut rt = with(
        Mode::Inline,
        &[
            ("bc.luau", b"\x06\x03\x00"),
            ("valid.luau", VALID),
            ("bom.luau", b"\xEF\xBB\xBF\x06\x03\x00"),
        ],
    );
    let script = r#"for _, name in { "./bc", "./valid", "./bom" } do
        local ok, problem = pcall(require, name)
        print(ok, type(problem), problem)
    end"#;
    let said = rt.says(script, ());
    assert_eq!(said.len(), 3, "{said:?}");
    for (line, name) in said.iter().zip(["./bc: ", "./valid: ", "./bom: "]) {
        assert!(line.starts_with(&format!("false string {name}")), "{line}");
        assert!(line.contains("binary") || line.contains("bytecode"), "{line}");
    }
}

/// The bytecode into which Luau compiles `print('bytecode ran', ...) return 42`.
const VALID: &[u8] =
    b"\x09\x03\x02\x05print\x0Cbytecode ran\x00\x01\x03\x00\x00\x01\x02\x00\x08A\x00\x00\x00\
    \x0C\x00\x01\x00\x00\x00\x00@\x05\x01\x02\x00?\x02\x00\x00\x15\x00\x00\x01\x04\x00*\x00\
    \x16\x00\x02\x00\x03\x03\x01\x04\x00\x00\x00@\x03\x02\x00\x01\x00\x01\x18\x00\x00\x00\
    \x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00";

#[test]
fn a_circle_is_an_error_that_names_it_and_each_module_runs_once() {
    let files = [
        ("d/a.luau", "print('a runs') return require('./b')"),
        ("d/b.luau", "print('b runs') return require('./a')"),
        ("d/self.luau", "return require('./self')"),
        ("d/one.luau", "local ok, e = pcall(require, './two') print(ok, e) return 'one'"),
        ("d/two.luau", "task.wait() return require('./sub/three')"),
        ("d/sub/three.luau", "task.wait() return require('../one')"),
        ("main.luau", "return require('./d/back')"),
        ("d/back.luau", "return require('../main')"),
    ];
    let script = r#"
        print(pcall(require, "./d/a"))
        print(pcall(require, "./d/self"))
        print(require("./d/one"))
        print(pcall(require, "./main"))"#;
    assert_eq!(
        says(&files, script),
        [
            "a runs",
            "b runs",
            "false ./d/b:1: modules require each other in a circle: a → b → a",
            "false ./d/self:1: modules require each other in a circle: self → self",
            "false ./d/sub/three:1: modules require each other in a circle: \
             one → two → sub/three → one",
            "one",
            "false ./d/back:1: modules require each other in a circle: main → d/back → main",
        ]
    );
    // Other threads of a module may wait for the thread that waits for the module.
    let files = [
        ("a.luau", "local b = require('./b') return { b = b }"),
        ("b.luau", "task.spawn(function() print(require('./a').b) end) return 'b'"),
    ];
    assert_eq!(says(&files, "require('./a')"), ["b"]);
}

#[test]
fn an_error_is_a_string_with_the_modules_position_and_the_next_runs_it_again() {
    let files = [
        (
            "raises.luau",
            "shared.n = (shared.n or 0) + 1\n\nif shared.n < 3 then\n  error('no ' .. shared.n)\nend\nreturn shared.n",
        ),
        ("late.luau", "task.wait()\nerror('late')"),
        ("value.luau", "error({ code = 5 })"),
        ("syntax.luau", "local x =\nreturn ("),
        ("none.luau", "print('ran')"),
        ("two.luau", "return 1, 2"),
        ("null.luau", "print('null runs') return nil"),
        ("deep.luau", "return require('./raises')"),
    ];
    let script = r#"
        local function try(path)
            local ok, e = pcall(require, path)
            print(ok, type(e), e)
        end
        try("./raises") try("./deep") try("./raises") try("./deep")
        for i = 1, 2 do task.spawn(try, "./late") end
        task.wait() task.wait()
        try("./value") try("./syntax") try("./none") try("./two")
        try("./null") try("./null")
        print(pcall(function() return "failed: " .. select(2, pcall(require, "./missing")) end))
        try("./missing")
        print(pcall(require))
        print(pcall(require, 5))"#;
    let said = says(&files, script);
    let want = [
        "false string ./raises:4: no 1",
        "false string ./raises:4: no 2",
        "true number 3",
        "true number 3",
        "false string ./late:2: late",
        "false string ./late:2: late",
        "false string ./value: {code = 5}",
        "false string ./syntax:2: ",
        "ran",
        "false string ./none: a module has to return exactly one value, and this one returned 0",
        "false string ./two: a module has to return exactly one value, and this one returned 2",
        "null runs",
        "true nil nil",
        "true nil nil",
        "true failed: script:11: there is no module \"./missing\" (./missing.luau, ",
        "false string script:3: there is no module \"./missing\" (./missing.luau, ",
        "false script:13: invalid argument #1 to 'require' (string expected, got nil)",
        "false script:14: invalid argument #1 to 'require' (string expected, got number)",
    ];
    assert_eq!(said.len(), want.len(), "{said:#?}");
    for (line, want) in said.iter().zip(want) {
        assert!(line.starts_with(want), "{line}, not {want}");
    }
}

#[test]
fn the_traceback_of_an_error_goes_through_the_modules() {
    let said = Arc::new(Mutex::new(String::new()));
    let its = Arc::clone(&said);
    let output = move |line: moonwire::luau::Line<'_>| {
        its.lock().unwrap().push_str(&format!("{line}\n"));
    };
    let options = Options::new(output).modules(|path: &str| {
        Ok(match path {
            "a.luau" => {
                Some(b"local function outer()\n  return require('./b')\nend\nreturn outer()".into())
            }
            "b.luau" => {
                Some(b"task.wait()\nlocal function inner()\n  error('oh')\nend\ninner()".into())
            }
            _ => None,
        })
    });
    let mut runtime = Runtime::new(options).unwrap();
    runtime.spawn("main", "\nrequire('./a')", ()).unwrap();
    runtime.run().unwrap();
    let text = said.lock().unwrap().clone();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let want = [
        "error: ./b:3: oh",
        "./b:3 function inner",
        "./b:5",
        "./a:2 function outer",
        "./a:4",
        "main:2",
    ];
    assert_eq!(lines, want, "{text}");
}

#[test]
fn who_gives_up_keeps_nobody_else_from_it() {
    let files = [
        (
            "slow.luau",
            "shared.thread = coroutine.running() print('runs') task.wait() return 'value'",
        ),
        ("fails.luau", "task.wait() error('unheard')"),
        ("yields.luau", "coroutine.yield() error('by hand')"),
    ];
    // The thread that had it loaded is cancelled; a second one is cancelled, too; a third gets it.
    let script = r#"
        local first = task.spawn(function() require("./slow") print("never") end)
        local second = task.spawn(function() require("./slow") print("never") end)
        task.spawn(function() print(require("./slow")) end)
        task.cancel(second)
        coroutine.close(first)
        task.wait() task.wait()
        print(require("./slow"))"#;
    assert_eq!(says(&files, script), ["runs", "value", "value"]);
    // The module itself is cancelled: all waiting threads get an error, and the next call runs it
    // again.
    let script = r#"
        for i = 1, 2 do task.spawn(function() print(pcall(require, "./slow")) end) end
        task.cancel(shared.thread)
        task.wait()
        print(require("./slow"))"#;
    let cancelled = "false ./slow: the module was cancelled while it loaded";
    assert_eq!(says(&files, script), ["runs", cancelled, cancelled, "runs", "value"]);
    // An error for which no thread waits is reported.
    let script = r#"
        task.cancel(task.spawn(function() require("./fails") end))
        print("cancelled")"#;
    assert_eq!(says(&files, script), ["cancelled", "error: ./fails:1: unheard"]);
    // A script that resumes a module's thread itself gets its error, and the next call runs it
    // again.
    let script = r#"
        local thread
        local create = coroutine.running
        task.spawn(function() print(pcall(require, "./slow")) end)
        thread = shared.thread
        print(coroutine.resume(thread, "not for it"))
        task.wait() task.wait()
        print(require("./slow"))"#;
    assert_eq!(says(&files, script), ["runs", "true", "true value", "value"]);
}

#[test]
fn where_nothing_can_wait_a_module_that_does_not_is_loaded() {
    let files = [("quick.luau", "return 'quick'"), ("slow.luau", "task.wait() return 'slow'")];
    let script = r#"
        local t = setmetatable({}, { __index = function(_, path) return require(path) end })
        local function by_sort(path)
            local got
            table.sort({ 1, 2 }, function() got = got or { pcall(require, path) } return false end)
            return unpack(got)
        end
        print(by_sort("./quick"))
        print(by_sort("./slow"))
        task.wait() task.wait()
        print(by_sort("./slow"))
        print(coroutine.wrap(function() return require("./quick") end)())
        print(pcall(coroutine.wrap(require), "./quick"))"#;
    assert_eq!(
        says(&files, script),
        [
            "true quick",
            "false script:5: module ./slow has to wait while it loads, and this thread cannot yield here",
            "true slow",
            "quick",
            "false require cannot tell which script asks; call it from a function of the script",
        ]
    );
}

#[test]
fn a_long_chain_of_modules_needs_no_stack() {
    // Each thread that resumes another takes one of 200 levels.
    let rt = Rt::with(Mode::Inline, |options| {
        options.modules(|path: &str| {
            let n = path.strip_prefix('m').and_then(|p| p.strip_suffix(".luau"));
            Ok(n.and_then(|n| n.parse::<u32>().ok()).map(|n| match n {
                3000 => b"return 3000".to_vec(),
                n => format!("return require('./m{}')", n + 1).into_bytes(),
            }))
        })
    });
    let mut rt = rt;
    assert_eq!(rt.says("print(require('./m1'), require('./m1'))", ()), ["3000 3000"]);
}

#[test]
fn modules_come_from_where_the_embedder_says() {
    // From no source.
    let mut rt = Rt::with(Mode::Inline, |o| o.modules(|_: &str| Ok(None)));
    let said = rt.says("print(pcall(require, './modules'))", ());
    assert!(said[0].starts_with("false script:1: there is no module \"./modules\""), "{said:?}");
    // From a source that fails, or that runs a script meanwhile.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let its = Arc::clone(&asked);
    let mut rt = Rt::with(Mode::Inline, |o| {
        o.modules(move |path: &str| {
            its.lock().unwrap().push(path.to_owned());
            if path.starts_with("panics") {
                panic!("of the embedder");
            }
            match path {
                "lib/a.luau" => Ok(Some(b"return ...".to_vec())),
                "lib/b.luau" => Ok(Some(b"return 'b'".to_vec())),
                _ => Err(io::Error::other("the archive is broken")),
            }
        })
    });
    let script = r#"
        print(pcall(require, "./lib/x"))
        print((pcall(require, "./panics")))
        print(pcall(require, "./lib/x"))"#;
    let broken = "false script:2: ./lib/x.luau cannot be read: the archive is broken";
    let said = rt.says(script, ());
    assert_eq!(said, [broken, "false", &broken.replace(":2", ":4")]);
    assert_eq!(*asked.lock().unwrap(), ["lib/x.luau", "panics.luau", "lib/x.luau"]);
    // Modules that the embedder has registered come before all of it.
    rt.runtime.lua().register_module("@host/Answer", 42).unwrap();
    assert_eq!(rt.says("print(require('@host/Answer'), require('@HOST/answer'))", ()), ["42 42"]);
}

#[test]
fn a_loaded_module_is_looked_for_once() {
    let reads = Arc::new(Mutex::new(0));
    let its = Arc::clone(&reads);
    let mut rt = Rt::with(Mode::Inline, |o| {
        o.modules(move |path: &str| {
            *its.lock().unwrap() += 1;
            Ok((path == "m.luau").then(|| b"return {}".to_vec()))
        })
    });
    let script = "local m = require('./m') for i = 1, 100 do assert(require('./m') == m) end
        assert(require('././m') == m)";
    assert!(rt.says(script, ()).is_empty());
    assert_eq!(*reads.lock().unwrap(), 8);
}

#[test]
fn mluas_own_require_and_loadstring_are_nowhere() {
    // FAULTS 85: that `require` accepted bytecode.
    let look = r#"
        local seen = {}
        local function walk(t)
            if type(t) ~= "table" or seen[t] then return end
            seen[t] = true
            for k, v in next, t do
                if k == "require" or k == "loadstring" then print(k) end
                walk(v)
            end
            local meta = getmetatable(t)
            if type(meta) == "table" then walk(meta.__index) end
        end
        walk(getfenv())"#;
    let all =
        || GLOBALS.iter().fold(Options::new(|_: moonwire::luau::Line<'_>| {}), |o, g| o.without(g));
    let found = |lua: &Lua| -> Vec<String> {
        let found = Arc::new(Mutex::new(Vec::new()));
        let its = Arc::clone(&found);
        let print = lua.create_function(move |_, name: String| {
            its.lock().unwrap().push(name);
            Ok(())
        });
        lua.globals().set("print", print.unwrap()).unwrap();
        lua.load(look).exec().unwrap();
        std::mem::take(&mut *found.lock().unwrap())
    };
    // In the runtime's own VM, in a VM that is sandboxed already, and in one that is not.
    let own = Runtime::new(all()).unwrap();
    assert_eq!(found(own.lua()), Vec::<String>::new());
    for sandbox in [true, false] {
        let lua = Lua::new();
        lua.sandbox(sandbox).unwrap();
        assert_eq!(found(&lua).len(), 2);
        let _runtime = install(&lua, all()).unwrap();
        assert_eq!(found(&lua), Vec::<String>::new(), "sandbox {sandbox}");
    }
    // If they are wanted, there is one of each.
    let mut wanted = Rt::new(Mode::Inline);
    let mut said = wanted.says(look, ());
    said.sort();
    assert_eq!(said, ["loadstring", "require"]);
}

#[test]
fn a_name_that_is_no_global_cannot_be_left_out() {
    for name in ["loadString", "", "require ", "string", "_G"] {
        let options =
            || Options::new(|_: moonwire::luau::Line<'_>| {}).without("print").without(name);
        let error = Runtime::new(options()).err().unwrap();
        assert!(matches!(&error, Error::NoGlobal(n) if n == name), "{error:?}");
        let text = error.to_string();
        assert_eq!(text, format!("without {name:?}: there is no global of this name to leave out"));
        let lua = Lua::new();
        let before: Value = lua.globals().get("require").unwrap();
        assert!(install(&lua, options()).is_err());
        // Nothing was changed.
        assert_eq!(lua.globals().get::<Value>("require").unwrap(), before);
    }
    let mut rt = Rt::with(Mode::Inline, |o| o.without("require").without("loadstring"));
    assert_eq!(rt.says("print(require, loadstring)", ()), ["nil nil"]);
}

/// The possible first lines of a script, and the line that `error` then reports.
const STARTS: [(&str, u32); 5] = [
    ("", 1),
    ("\u{FEFF}", 1),
    ("#!/usr/bin/env -S moonwire run\n", 2),
    ("#!/usr/bin/env -S moonwire run\r\n", 2),
    ("\u{FEFF}#!/usr/bin/env moonwire\n\n", 3),
];

#[test]
fn a_byte_order_mark_and_a_line_for_the_system_are_no_code() {
    // FAULTS 77.
    for (start, line) in STARTS {
        let module = format!("{start}error('here')");
        let mut rt = with(Mode::Inline, &[("m.luau", module.as_bytes())]);
        assert_eq!(rt.says(&module, ()), [format!("error: script:{line}: here")]);
        assert_eq!(
            rt.says("print(pcall(require, './m'))", ()),
            [format!("false ./m:{line}: here")]
        );
        let script = "print(pcall(loadstring((...), '=text')))";
        assert_eq!(rt.says(script, module.as_str()), [format!("false text:{line}: here")]);
        // A syntax error has its line, too.
        let broken = format!("{start}local = 1");
        let problem = rt.runtime.spawn("bad", &broken, ()).unwrap_err().to_string();
        assert!(problem.starts_with(&format!("bad:{line}: ")), "{problem}");
        // The command: a file, and standard input.
        let text = format!("{start}print('hello') error('here')");
        let script = Script::new(&format!("starts-{}", start.len()), &text);
        let ended = script.run(&[], &[]);
        assert_eq!(ended.out, ["hello"], "{ended:?}");
        assert!(ended.err.contains(&format!(".luau:{line}: here\n")), "{ended:?}");
        let ended = piped(&folder(), &["run", "-"], &text);
        assert_eq!(ended.out, ["hello"], "{ended:?}");
        assert!(ended.err.contains(&format!("stdin:{line}: here\n")), "{ended:?}");
    }
}

#[test]
fn a_script_from_standard_input_finds_modules_in_the_working_directory() {
    let _module = Script::new("from-stdin/module", "return 'found'");
    let text = "print(require('./module')) print(loadstring(\"return require('./module')\")())
        print(loadstring(\"return require('./module')\", 'a name')())
        print(pcall(require, './other'))";
    let folder = folder().join("from-stdin");
    let ended = piped(&folder, &["run", "-"], text);
    assert_eq!(ended.out[..3], ["found", "found", "found"], "{ended:?}");
    let missing = "false stdin:3: there is no module \"./other\" (./other.luau, ./other.lua, ";
    assert!(ended.out[3].starts_with(missing), "{ended:?}");
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn files_are_looked_for_as_luau_does() {
    let files = [
        (
            "files/main",
            "print(require('./lib')) print(require('@lib/inner')) print(require('@Lib'))\n\
          print(require('./pipe'))",
        ),
        ("files/lib/init", "return require('@self/inner')"),
        ("files/lib/inner", "return 'inner'"),
    ];
    let scripts = files.map(|(name, text)| Script::new(name, text));
    let folder = folder().join("files");
    std::fs::write(
        folder.join(".luaurc"),
        "{ // of this test\n\"aliases\": { \"lib\": \"./lib\" } }",
    )
    .unwrap();
    // A folder is not a file.
    std::fs::create_dir_all(folder.join("pipe.luau")).unwrap();
    let ended = scripts[0].run(&[], &[]);
    assert_eq!(ended.out, ["inner", "inner", "inner"], "{ended:?}");
    let text = "main.luau:2: there is no module \"./pipe\" (";
    assert!(ended.err.contains(text), "{ended:?}");
}
