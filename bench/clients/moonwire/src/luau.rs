//! The Luau runtime with the settings of `moonwire run`, and a clock for the script.

use std::sync::{Arc, Mutex, PoisonError};

use common::{Args, Failure, Meter, Report, rss};
use moonwire::luau::{Jit, Line, Options, Runtime};

const SCRIPT: &str = include_str!("../luau/cases.luau");

/// Modules that Lune gets, too.
fn module(path: &str) -> Option<&'static str> {
    Some(match path {
        "compute.luau" => include_str!("../../luau/compute.luau"),
        "documents.luau" => include_str!("../../luau/documents.luau"),
        "handlers.luau" => include_str!("../../luau/handlers.luau"),
        _ => return None,
    })
}

/// The clock that the script starts and stops.
#[derive(Default)]
struct Bench {
    meter: Option<Meter>,
    report: Option<Report>,
}

pub(crate) fn run(args: &Args, change: fn(Options) -> Options) -> Result<Report, Failure> {
    // These are the settings of `moonwire run`.
    let options = Options::new(|line: Line<'_>| eprintln!("{line}")).jit(Jit::On);
    let options = options.keep_freed_memory(true);
    let modules = |path: &str| Ok(module(path).map(|text| text.as_bytes().to_vec()));
    let mut options = change(options.modules(modules));
    *options.config() = crate::config()?;
    let mut runtime = Runtime::new(options)?;
    let bench = Arc::new(Mutex::new(Bench::default()));
    natives(&runtime, &bench)?;
    let words = (args.case.as_str(), args.url.as_str(), args.count, args.size, args.open);
    runtime.spawn("cases.luau", SCRIPT, words)?;
    runtime.run()?;
    if runtime.has_raised() {
        return Err("the script has failed".into());
    }
    let report = lock(&bench).report.take();
    report.ok_or_else(|| "nothing was measured".into())
}

fn lock(bench: &Mutex<Bench>) -> std::sync::MutexGuard<'_, Bench> {
    bench.lock().unwrap_or_else(PoisonError::into_inner)
}

fn natives(runtime: &Runtime, bench: &Arc<Mutex<Bench>>) -> Result<(), Failure> {
    let lua = runtime.lua();
    let table = lua.create_table()?;
    let its = Arc::clone(bench);
    let start = lua.create_function(move |_, ()| {
        lock(&its).meter = Some(Meter::start());
        Ok(())
    })?;
    let its = Arc::clone(bench);
    let stop = lua.create_function(move |_, (messages, bytes): (u64, u64)| {
        let mut bench = lock(&its);
        bench.report = bench.meter.take().map(|meter| meter.stop(messages, bytes));
        Ok(())
    })?;
    let its = Arc::clone(bench);
    let wire = lua.create_function(move |_, wire: u64| {
        let mut bench = lock(&its);
        bench.report = bench.report.take().map(|report| Report { wire: Some(wire), ..report });
        Ok(())
    })?;
    let its = Arc::clone(bench);
    let times = lua.create_function(move |_, seconds: Vec<f64>| {
        let mut times: Vec<u64> = seconds.into_iter().map(|s| (s * 1e9) as u64).collect();
        let mut bench = lock(&its);
        bench.report = bench.report.take().map(|report| report.with_times(&mut times));
        Ok(())
    })?;
    let its = Arc::clone(bench);
    let memory =
        lua.create_function(move |_, (before, after): (u64, u64)| -> moonwire::mlua::Result<()> {
            if let Some(report) = lock(&its).report.take() {
                report.with_each(before, after).print();
            }
            std::process::exit(0)
        })?;
    let its = Arc::clone(bench);
    let exit = lua.create_function(move |_, ()| -> moonwire::mlua::Result<()> {
        if let Some(report) = lock(&its).report.take() {
            report.print();
        }
        std::process::exit(0)
    })?;
    table.set("exit", exit)?;
    table.set("start", start)?;
    table.set("stop", stop)?;
    table.set("wire", wire)?;
    table.set("times", times)?;
    table.set("memory", memory)?;
    table.set("rss", lua.create_function(|_, ()| Ok(rss()))?)?;
    lua.globals().set("bench", table)?;
    Ok(())
}
