//! moonwire's faces: `bench-moonwire FACE CASE URL COUNT SIZE [OPEN]`, where FACE is `reactor`,
//! `reactor-poll` (which waits with poll), `owned` (a reactor whose sink copies every message), `blocking`,
//! `threaded`, `luau`, `luau-alone` (without the stand-in), `luau-poll`, `luau-interpreted` (without
//! native code), or `event-source`.

mod blocking;
mod event_source;
mod luau;
mod reactor;
mod threaded;

use common::{Args, Failure, Report, drive, now};
use moonwire::luau::Jit;
use moonwire::proto::Compression;
use moonwire::{Config, Options};

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let face = words.next().ok_or("FACE is missing")?;
    let args = Args::parse(words)?;
    run(&face, &args)?.print();
    Ok(())
}

fn run(face: &str, args: &Args) -> Result<Report, Failure> {
    match face {
        "reactor" => match args.case.as_str() {
            "sse" | "raw" | "events" | "events-fields" => reactor::stream(args),
            "get" | "get-kept" | "post-kept" => reactor::gets(args),
            "turns" | "turns-states" | "waves" => reactor::turns(args),
            _ => now(drive(reactor::World::new(false)?.compressed(wanted(args)?), args)),
        },
        "reactor-poll" => now(drive(reactor::World::on_poll()?, args)),
        "owned" => now(drive(reactor::World::new(true)?, args)),
        "blocking" => now(drive(blocking::World(wanted(args)?), args)),
        "threaded" => now(drive(threaded::World::new()?, args)),
        "luau" if args.case == "get" => luau::run(args, |options| options.keep_alive(false)),
        "luau" => luau::run(args, |options| options),
        "luau-alone" => luau::run(args, |options| options.stand_in(false)),
        "luau-interpreted" => luau::run(args, |options| options.jit(Jit::Off)),
        "event-source" => event_source::run(args),
        "luau-poll" => luau::run(args, |options| options.poll_thread(true)),
        _ => Err(format!("there is no face {face}").into()),
    }
}

/// The compression that the case asks for, if it does.
fn wanted(args: &Args) -> Result<Option<Compression>, Failure> {
    let Some(level) = args.deflate() else { return Ok(None) };
    let default = Compression::default();
    let level = level.map_or(Ok(default.level), u8::try_from)?;
    Ok(Some(Compression { level, ..default }))
}

fn options(url: &str, wanted: Option<Compression>) -> Result<Options, Failure> {
    let options = Options::new(url)?;
    Ok(match wanted {
        Some(wanted) => options.compression(wanted),
        None => options,
    })
}

/// The defaults, with trust in the server of the bench.
fn config() -> Result<Config, Failure> {
    Ok(Config { tls: Some(moonwire::tls_config(common::CA_PEM)?), ..Config::default() })
}
