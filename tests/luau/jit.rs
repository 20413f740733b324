//! Native code (feature `jit`): a script has the same results with and without it.

use std::time::Duration;

use moonwire::luau::{Jit, Options, Runtime};

use super::command::{Script, failed};
use super::support::*;

const ALL: [Jit; 4] = [Jit::Off, Jit::On, Jit::WithRuntime, Jit::All];

fn with(jit: Jit, change: impl FnOnce(Options) -> Options) -> Rt {
    Rt::with(Mode::Inline, |options| change(options.jit(jit)))
}

/// Scripts of other tests pass with native code.
#[test]
fn what_scripts_see_is_the_same() {
    let server = echo();
    let scripts = [
        (include_str!("scheduler.luau"), vec![]),
        (include_str!("globals.luau"), vec![]),
        (include_str!("debug.luau"), vec![]),
        (include_str!("http_service.luau"), vec![]),
        (include_str!("enums.luau"), vec![]),
        (include_str!("signals.luau"), vec![server.url()]),
        (include_str!("object.luau"), vec![server.url()]),
    ];
    for (script, args) in scripts {
        let mut rt = with(Jit::All, |options| options);
        let args = args.iter().map(|url| rt.runtime.lua().create_string(url).unwrap());
        let args: moonwire::mlua::Variadic<_> = args.collect();
        rt.passes(script, args);
    }
}

/// An error names its line, and a traceback names the line in each function. (With `--!native`,
/// Luau inlines short functions, with native code or without it.)
#[test]
fn tracebacks_have_the_same_lines() {
    let script = "\nlocal function inner(t)\n    return t.x.y\nend\n\
                  local function outer()\n    return (inner({}))\nend\n\
                  print(pcall(outer))\nprint(xpcall(outer, debug.traceback))\nouter()";
    let said = ALL.map(|jit| with(jit, |options| options).says(script, ()));
    assert_eq!(said[0][0], "false script:3: attempt to index nil with 'y'");
    assert!(said[0].iter().any(|line| line.contains("script:6")), "{:?}", said[0]);
    assert!(said.iter().all(|other| *other == said[0]), "{said:?}");
}

/// A time limit ends native code that computes, and native code that makes endless calls.
#[test]
fn a_time_limit_holds_in_native_code() {
    let loops = [
        "while true do end",
        "local n = 0 repeat n += 1 until n < 0",
        "for i = 1, math.huge do end",
        "local b = buffer.create(8) while true do buffer.writeu32(b, 0, bit32.bxor(1, buffer.readu32(b, 0))) end",
        "local function f(n) return n == 0 and 0 or f(n - 1) end while true do f(50) end",
        "while true do pcall(function() while true do end end) end",
        "@native local function f() while true do end end f()",
    ];
    for script in loops {
        for jit in [Jit::On, Jit::All] {
            let mut rt = with(jit, |options| options.time_limit(Some(Duration::from_millis(30))));
            let said = rt.says(&format!("--!native\n{script}"), ());
            let late = "the script ran for more than 30ms without a pause";
            assert!(said.len() == 1 && said[0].contains(late), "{script}: {said:?}");
            assert!(rt.runtime.has_raised());
        }
    }
}

/// A memory limit ends native code that allocates.
#[test]
fn a_memory_limit_holds_in_native_code() {
    let script = "--!native\nlocal t = {} for i = 1, 1e9 do t[i] = { i } end";
    let mut rt = with(Jit::All, |options| options.memory_limit(Some(16 << 20)));
    assert_eq!(rt.says(script, ()), ["error: not enough memory"]);
}

/// `install` changes nothing about how an embedder's VM runs the embedder's code.
#[test]
fn an_embedders_vm_runs_as_before() {
    let lua = moonwire::mlua::Lua::new();
    let sum = "local n = 0 for i = 1, 1000 do n += i end return n";
    assert_eq!(lua.load(sum).eval::<i64>().unwrap(), 500_500);
    let said = Said::default();
    let mut runtime = moonwire::luau::install(&lua, Options::new(said.output())).unwrap();
    runtime.spawn("s", "--!native\nprint(1 + 1)", ()).unwrap();
    assert_eq!(lua.load(sum).eval::<i64>().unwrap(), 500_500);
    assert_eq!(said.take(), ["2"]);
    // `Runtime::new` makes its own VM and accepts the option.
    assert!(Runtime::new(Options::new(|_: moonwire::luau::Line<'_>| {}).jit(Jit::All)).is_ok());
}

#[test]
fn the_option_of_the_command() {
    let script = Script::new("jit", "--!native\nlocal n = 0 for i = 1, 10 do n += i end print(n)");
    for which in ["on", "off", "all"] {
        assert_eq!(script.run(&["--jit", which], &[]).out, ["55"], "{which}");
    }
    failed(&script.run(&["--jit", "maybe"], &[]), 2, "--jit is on, off or all");
}
