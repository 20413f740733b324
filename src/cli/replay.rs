//! `moonwire replay`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::{Arg, ArgList, Command, Group, Hint, Opt, Takes, shown};
use super::stdio::{Failure, write_stdout};
use crate::peer::Player;
use crate::tape::{Mode, Outcome, Scene, Step, run, scenes};

/// How long a client may take for each expected step: a person may have to type it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) static COMMAND: Command = Command {
    name: "replay",
    summary: "run a recorded connection again",
    usage: &["replay [OPTIONS] FILE..."],
    about: "Gives the client the bytes that a tape has as received, at the times that the tape has, \
            and compares every event and every byte that the client writes. Reports the first \
            difference with its line and the section of its RFC. A tape is what `--tape` of the \
            other commands writes, or a test script (docs/TAPES.md).",
    groups: &[&GROUP],
    notes: "Exit status: 0 all was as on the tape, 1 something was not, or the tape has a gap, 2 \
            wrong usage, or a file that cannot be read.",
    operand: Hint::File,
};

static GROUP: Group = Group {
    title: "Options",
    options: &[
        Opt {
            names: &["--bytewise"],
            takes: Takes::Nothing,
            text: "pass the bytes one by one; then in every other way that must make no difference: \
                   glued, read in place, sent one by one, with garbage behind the end",
        },
        Opt {
            names: &["--cuts"],
            takes: Takes::Value("SEED", Hint::Nothing),
            text: "pass the bytes in pieces of random sizes, which SEED determines",
        },
        Opt {
            names: &["--seeds"],
            takes: Takes::Value("DIR", Hint::File),
            text: "write the received bytes as inputs of the fuzz targets session, message and \
                   stream, into folders of these names below DIR",
        },
        Opt {
            names: &["--server"],
            takes: Takes::Perhaps("PORT", Hint::Nothing),
            text: "play the peer's side on a loopback port, whose URL is printed: for one client \
                   per connection of the tape. Sec-WebSocket-Accept is computed from the client's \
                   own request; the frames that the client sends are compared",
        },
    ],
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ReplayArgs {
    bytewise: bool,
    cuts: Option<u64>,
    seeds: Option<PathBuf>,
    server: Option<u16>,
    files: Vec<PathBuf>,
}

/// Parses the arguments after `replay`; `None` if they ask for help.
pub(super) fn parse(mut list: ArgList) -> Result<Option<ReplayArgs>, Failure> {
    let mut replay = ReplayArgs::default();
    loop {
        match list.next()? {
            Arg::End => break,
            Arg::Plain(file) => replay.files.push(file.into()),
            Arg::Option(given) => match given.name {
                "--bytewise" => replay.bytewise = true,
                "--cuts" => {
                    let text = given.text()?;
                    let seed = text.parse();
                    replay.cuts = Some(seed.map_err(|_| {
                        Failure::usage(format!("--cuts: \"{text}\" is not a whole number"))
                    })?);
                }
                "--seeds" => replay.seeds = Some(given.path()),
                "--server" => {
                    let port = given.given().unwrap_or_else(|| "0".into());
                    let number = port.to_str().and_then(|port| port.parse().ok());
                    replay.server = Some(number.ok_or_else(|| {
                        Failure::usage(format!("--server: {} is not a port", shown(&port)))
                    })?);
                }
                "--help" => return Ok(None),
                name => return Err(Failure::other(format!("{name} is described and not read"))),
            },
        }
    }
    match (&replay.files[..], replay.server) {
        ([], _) => Err(Failure::usage("the tape is missing; see moonwire replay --help")),
        ([_, _, ..], Some(_)) => Err(Failure::usage("--server plays one tape")),
        _ => Ok(Some(replay)),
    }
}

pub(super) fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let mut status = 0;
    for file in &args.files {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
        let done = if let Some(port) = args.server {
            serve(port, &text)?
        } else if let Some(folder) = &args.seeds {
            seeds(folder, file, &text)?
        } else {
            compare(args, file, &text)?
        };
        status = status.max(done);
    }
    Ok(status)
}

fn compare(args: &ReplayArgs, file: &Path, text: &str) -> Result<u8, Failure> {
    let mut modes = vec![Mode::Whole];
    if args.bytewise {
        modes = Mode::ALL.to_vec();
    }
    modes.extend(args.cuts.map(Mode::Cuts));
    let (mut ends, mut first) = (BTreeSet::new(), Outcome::default());
    for (number, mode) in modes.iter().enumerate() {
        match run(text, *mode, &mut ends) {
            Ok(outcome) if number == 0 => first = outcome,
            Ok(_) => {}
            Err(difference) => {
                write_stdout(&format!("{}: {difference}\n", file.display()))?;
                return Ok(1);
            }
        }
    }
    let Outcome { connections, events, sent, came, gaps } = first;
    let mut summary = format!(
        "{}: as it was, {} way{}: {connections} connection{}, {came} bytes came, {sent} were sent, {events} \
         event{}\n",
        file.display(),
        modes.len(),
        plural(modes.len()),
        plural(connections),
        plural(events),
    );
    for (line, why) in &gaps {
        summary +=
            &format!("{}: line {line}: what follows cannot be replayed: {why}\n", file.display());
    }
    write_stdout(&summary)?;
    Ok(u8::from(!gaps.is_empty()))
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// The connections of a tape, from the peer's side.
fn all(text: &str) -> Result<Vec<Scene>, Failure> {
    let all = scenes(text).map_err(Failure::usage)?;
    match all.is_empty() {
        true => Err(Failure::usage("the tape has no connection")),
        false => Ok(all),
    }
}

fn serve(port: u16, text: &str) -> Result<u8, Failure> {
    let scenes = all(text)?;
    let player = Player::bind(port, PATIENCE);
    let mut player = player.map_err(|e| Failure::other(format!("cannot listen: {e}")))?;
    let mut status = 0;
    for scene in &scenes {
        let scheme = match scene.steps.first() {
            Some(Step::Request(true)) => "ws",
            Some(Step::Request(false)) => "http",
            _ => {
                write_stdout(&format!(
                    "connection {} starts open: no client can connect to it\n",
                    scene.id
                ))?;
                status = 1;
                continue;
            }
        };
        write_stdout(&format!("{scheme}://{}/\n", player.address()))?;
        let played = player.play(scene);
        let played = played.map_err(|e| Failure::other(format!("the server: {e}")))?;
        let id = scene.id;
        let mut line = match &played.difference {
            Some(difference) => format!("connection {id}: {difference}\n"),
            None => format!("connection {id}: {} frames as they were\n", played.frames),
        };
        if played.others > 0 {
            line += &format!("connection {id}: the payloads of {} differ\n", played.others);
        }
        if let Some(gap) = &scene.gap {
            line += &format!("connection {id}: the tape ends here: {gap}\n");
        }
        write_stdout(&line)?;
        status |= u8::from(played.difference.is_some() || scene.gap.is_some());
    }
    Ok(status)
}

fn seeds(folder: &Path, file: &Path, text: &str) -> Result<u8, Failure> {
    let name = file.file_stem().map_or("tape".into(), |name| name.to_string_lossy());
    let mut count = 0;
    for (number, scene) in all(text)?.iter().enumerate() {
        for (target, input) in scene.seeds() {
            let into = folder.join(target);
            let path = into.join(format!("{name}-{number}"));
            std::fs::create_dir_all(&into)
                .and_then(|()| std::fs::write(&path, input))
                .map_err(|e| Failure::other(format!("{}: {e}", path.display())))?;
            count += 1;
        }
    }
    write_stdout(&format!("{}: {count} inputs\n", file.display()))?;
    Ok(0)
}
