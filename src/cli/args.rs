//! Finds the command in the arguments, or suggests what to type instead.

use std::ffi::OsString;

use super::connect::{self, ConnectArgs};
use super::options::{self, ArgList, nearest, shown};
use super::run::{self, RunArgs};
use super::stdio::Failure;
use super::stream::{self, StreamArgs};
use super::{audit, echo, help, pages, replay, types};

/// All commands, in the order of `--help`.
static COMMANDS: &[&options::Command] = &[
    &run::COMMAND,
    &connect::COMMAND,
    &stream::COMMAND,
    &audit::COMMAND,
    &replay::COMMAND,
    &echo::COMMAND,
    &types::COMMAND,
    &pages::COMPLETIONS,
    &pages::MAN,
];

pub(super) enum Command {
    Text(String),
    Run(Box<RunArgs>),
    Connect(Box<ConnectArgs>),
    Stream(Box<StreamArgs>),
    Echo(echo::EchoArgs),
    Audit(Box<audit::AuditArgs>),
    Replay(replay::ReplayArgs),
}

pub(super) fn parse(args: Vec<OsString>) -> Result<Command, Failure> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        let all = help::of_all(COMMANDS);
        return Err(Failure::usage(format!("a command is missing\n\n{all}")));
    };
    let Some(name) = first.to_str() else { return Err(stray(&first)) };
    match name {
        "--help" | "-h" => return Ok(Command::Text(help::of_all(COMMANDS))),
        "--version" | "-V" => {
            return Ok(Command::Text(concat!("moonwire ", env!("CARGO_PKG_VERSION"), "\n").into()));
        }
        "help" => {
            let Some(about) = args.next() else {
                return Ok(Command::Text(help::of_all(COMMANDS)));
            };
            return Ok(Command::Text(help::of(find(&about)?)));
        }
        _ => {}
    }
    let command = find(&first)?;
    let list = ArgList::new(command, COMMANDS, args);
    let parsed = match command.name {
        "run" => run::parse(list)?.map(Command::Run),
        "connect" => connect::parse(list)?.map(Command::Connect),
        "stream" => stream::parse(list)?.map(Command::Stream),
        "echo" => echo::parse(list)?.map(Command::Echo),
        "audit" => audit::parse(list)?.map(Command::Audit),
        "replay" => replay::parse(list)?.map(Command::Replay),
        "types" => types::types(list)?.map(Command::Text),
        "completions" => pages::completions(list, COMMANDS)?.map(Command::Text),
        "man" => pages::manual(list, COMMANDS)?.map(Command::Text),
        name => return Err(Failure::other(format!("{name} is described and not there"))),
    };
    Ok(parsed.unwrap_or_else(|| Command::Text(help::of(command))))
}

fn find(name: &OsString) -> Result<&'static options::Command, Failure> {
    COMMANDS.iter().copied().find(|c| name == c.name).ok_or_else(|| stray(name))
}

/// The error for a first argument that is not a command; it suggests what the user may have meant.
fn stray(arg: &OsString) -> Failure {
    let text = arg.to_string_lossy();
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    let option = text.split('=').next().unwrap_or_default();
    let command_with = |name: &str| {
        let has = |c: &&&options::Command| c.options().any(|o| o.names.contains(&name));
        COMMANDS.iter().find(has).map(|c| c.name)
    };
    let hint = if let "ws" | "wss" | "ws+unix" | "wss+unix" = &*scheme {
        format!("to connect, type: moonwire connect {arg}", arg = quoted(&text))
    } else if let "http" | "https" = &*scheme {
        format!("for a stream, type: moonwire stream {arg}", arg = quoted(&text))
    } else if text.starts_with('-') {
        match command_with(option) {
            Some(command) => {
                format!("options follow the command: moonwire {command} {option}")
            }
            None => "see moonwire --help".into(),
        }
    } else if text.ends_with(".luau") || text.ends_with(".lua") {
        format!("to run a script, type: moonwire run {arg}", arg = quoted(&text))
    } else if let Some(near) = nearest(&text, COMMANDS.iter().map(|c| c.name)) {
        format!("did you mean moonwire {near}?")
    } else {
        "see moonwire --help".into()
    };
    Failure::usage(format!("there is no command {}; {hint}", shown(arg)))
}

/// Quotes an argument for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=[]".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::cli::run::{EchoKind, What};
    use crate::cli::secrets::Secret;
    use crate::cli::tls::TlsArgs;

    fn parsed(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from).collect()).map_err(|f| f.text)
    }

    fn run_args(words: &[&str]) -> RunArgs {
        match parsed(&[&["run"], words].concat()) {
            Ok(Command::Run(run)) => *run,
            Ok(_) => panic!("{words:?} is something else"),
            Err(e) => panic!("{words:?}: {e}"),
        }
    }

    fn file(name: &str) -> What {
        What::File(name.into())
    }

    #[test]
    fn code_stands_in_place_of_the_script() {
        for (words, code, args) in [
            (&["-e", "print(1)"][..], "print(1)", &[][..]),
            (&["-eprint(1)"], "print(1)", &[]),
            (&["--eval=print(1)", "x.luau", "-e"], "print(1)", &["x.luau", "-e"]),
            (&["-e", "a()", "--trace", "-e", "b()", "1", "--trace"], "a()\nb()", &["1", "--trace"]),
            (&["-e", "", "--", "-e", "x"], "", &["-e", "x"]),
            (&["-e", "--a", "-"], "--a", &["-"]),
        ] {
            let run = run_args(words);
            assert_eq!(run.what, What::Code(code.into()), "{words:?}");
            assert_eq!(run.args, args, "{words:?}");
        }
        // What follows the script are the arguments of the script.
        let run = run_args(&["x.luau", "-e", "print(1)"]);
        assert_eq!((run.what, run.args.len()), (file("x.luau"), 2));
    }

    #[test]
    fn options_come_before_the_script_and_the_rest_is_its() {
        let run = run_args(&["--echo=wss", "--ca", "a.pem", "--ca=b.pem", "x.luau", "--echo", "-"]);
        assert_eq!(run.echo, Some(EchoKind::Tls));
        assert_eq!(run.network.tls.ca, [PathBuf::from("a.pem"), PathBuf::from("b.pem")]);
        assert_eq!(run.what, file("x.luau"));
        assert_eq!(run.args, ["--echo", "-"]);
    }

    #[test]
    fn options_of_tls() {
        use crate::net::TlsVersion;
        const PIN: &str = "sha256/C5+lpZ7tcVwmwQIMcRtPbsQtWLABXhQzejna0wHFr8M=";
        let pin = format!("--pin={PIN}");
        let run = run_args(&[
            "--cert=a",
            "--key",
            "b",
            "--pin",
            PIN,
            &pin,
            "--tls-min=1.3",
            "--insecure",
            "x",
        ]);
        assert_eq!(
            (run.network.tls.cert, run.network.tls.key),
            (Some("a".into()), Some("b".into()))
        );
        assert_eq!(run.network.tls.pins, [PIN.parse().unwrap(), PIN.parse().unwrap()]);
        assert_eq!(run.network.tls.least, Some(TlsVersion::V1_3));
        assert!(run.network.tls.insecure && !run.network.tls.system_roots);
        let run = run_args(&["--system-roots", "--tls-min", "1.2", "x", "--insecure"]);
        assert_eq!(run.network.tls.least, Some(TlsVersion::V1_2));
        assert!(run.network.tls.system_roots && !run.network.tls.insecure);
        assert_eq!(run_args(&["x"]).network.tls, TlsArgs::default());
    }

    #[test]
    fn standard_input_and_times() {
        let run = run_args(&["--timeout", "1.5", "--connect-timeout=2", "--poll-thread", "-", "a"]);
        assert_eq!(run.what, file("-"));
        assert_eq!(run.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(run.network.connect_timeout, Some(Duration::from_secs(2)));
        assert!(run.poll_thread && !run.no_stand_in && !run.network.trace);
        assert!(run_args(&["--no-stand-in", "x"]).no_stand_in);
        assert_eq!(run_args(&["--", "--odd.luau", "b"]).what, file("--odd.luau"));
    }

    #[test]
    fn further_scripts_stand_before_the_first_so_that_arguments_stay_its() {
        let run = run_args(&["--also", "b.luau", "--also=c.luau", "--prefix", "a.luau", "--also"]);
        assert_eq!(run.also, [PathBuf::from("b.luau"), PathBuf::from("c.luau")]);
        assert_eq!(run.what, file("a.luau"));
        assert_eq!(run.args, ["--also"]);
        assert!(run.prefix && !run_args(&["a.luau", "--prefix"]).prefix);
    }

    #[test]
    fn secrets_and_a_number_of_clients() {
        let run = run_args(&["--secret=a=@f", "--secret", "b=@=@", "--stream-clients=1", "x"]);
        let secret = |name: &str, file: &str| Secret { name: name.into(), file: file.into() };
        assert_eq!(run.secrets, [secret("a", "f"), secret("b", "=@")]);
        assert_eq!(run.stream_clients, Some(1));
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("3K", 3 << 10),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("1G", 1 << 30),
        ] {
            let run = run_args(&["--max-message", text, "x"]);
            assert_eq!(run.network.max_message, Some(bytes), "{text}");
        }
        for text in ["", "0", "0K", "K", "-1", "+1", "1.5M", "1T", "1KB", "é", "99999999999999G"] {
            let Err(error_text) = parsed(&["run", "--max-message", text, "x"]) else {
                panic!("{text} is accepted")
            };
            assert!(
                error_text.contains(&format!("--max-message: \"{text}\" is not")),
                "{error_text}"
            );
        }
    }

    #[test]
    fn a_value_that_may_be_a_secret_is_not_repeated() {
        for given in ["hunter2", "name=hunter2", "=hunter2", "=@hunter2"] {
            let Err(text) = parsed(&["run", "--secret", given, "x"]) else { panic!("{given}") };
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (words, part) in [
            (&[][..], "a command is missing"),
            (&["walk"], "no command \"walk\"; see moonwire --help"),
            (&["rum"], "did you mean moonwire run?"),
            (&["wss://a/?b c"], "type: moonwire connect 'wss://a/?b c'"),
            (&["HTTPS://a"], "type: moonwire stream HTTPS://a"),
            (&["a.luau"], "type: moonwire run a.luau"),
            (&["--trace", "run", "x"], "follow the command: moonwire run --trace"),
            (&["--port=1"], "follow the command: moonwire echo --port"),
            (&["--nothing"], "see moonwire --help"),
            (&["help", "walk"], "no command \"walk\""),
            (&["run"], "the script is missing"),
            (&["run", "--ech", "x"], "no option --ech (did you mean --echo?); see moonwire run"),
            (&["run", "--port", "x"], "no option --port (moonwire echo has one)"),
            (&["run", "-é", "x"], "no option -é;"),
            (&["run", "--echo=http", "x"], "ws or wss"),
            (&["run", "--ca"], "--ca needs a value"),
            (&["run", "-e"], "-e needs a value"),
            (&["run", "--cert", "a", "x"], "--cert needs --key FILE"),
            (&["run", "--key", "a", "x"], "--key needs --cert FILE"),
            (&["run", "--pin", "sha256/abc", "x"], "--pin: \"sha256/abc\" is not sha256/"),
            (&["run", "--tls-min", "1.1", "x"], "--tls-min: \"1.1\" is not 1.2 or 1.3"),
            (&["run", "--insecure=1", "x"], "takes no value"),
            (&["run", "--system-roots=1", "x"], "takes no value"),
            (&["run", "--timeout", "0", "x"], "above 0"),
            (&["run", "--timeout", "soon", "x"], "above 0"),
            (&["run", "--resolve", "a", "x"], "HOST:PORT:ADDRESS"),
            (&["run", "--trace=1", "x"], "takes no value"),
            (&["run", "--prefix=1", "x"], "takes no value"),
            (&["run", "--also"], "--also needs a value"),
            (&["run", "--no-stand-in=1", "x"], "takes no value"),
            (&["run", "--allow", "a b", "x"], "is not HOST"),
            (&["run", "--deny-private=1", "x"], "takes no value"),
            (&["run", "--proxy"], "--proxy needs a value"),
            (&["run", "--proxy-header", "a", "x"], "NAME: VALUE"),
            (&["run", "--allow-script-proxy=1", "x"], "takes no value"),
            (&["run", "--allow-unix=1", "x"], "takes no value"),
            (&["run", "--compress=1", "x"], "takes no value"),
            (&["run", "--compressed=1", "x"], "takes no value"),
            (&["run", "--memory", "0", "x"], "above 0"),
            (&["run", "--time-limit", "0", "x"], "above 0"),
            (&["run", "--connections", "many", "x"], "above 0"),
            (&["run", "--secret", "a", "x"], "NAME=@FILE"),
            (&["run", "--secret", "=@a", "x"], "NAME=@FILE"),
            (&["run", "--secret", "a=@", "x"], "a file is expected"),
            (&["run", "--secret=a=b", "x"], "can see the arguments"),
            (&["audit"], "the URL is missing; see moonwire audit --help"),
            (&["audit", "http://a/"], "\"http://a/\""),
            (&["audit", "ws://a/", "ws://b/"], "takes one URL"),
            (&["audit", "--hostile=1", "ws://a/"], "takes no value"),
            (&["audit", "--idle", "0", "ws://a/"], "above 0"),
            (&["audit", "--header", "a", "ws://a/"], "NAME: VALUE"),
            (&["audit", "--key", "a", "ws://a/"], "--key needs --cert FILE"),
            (&["run", "--stream-clients", "0", "x"], "whole number above 0"),
            (&["run", "--stream-clients", "-1", "x"], "whole number above 0"),
            (&["run", "--stream-clients", "1.5", "x"], "whole number above 0"),
            (&["replay"], "the tape is missing"),
            (&["replay", "--cuts", "x", "y"], "not a whole number"),
            (&["replay", "--server=x", "y"], "is not a port"),
            (&["replay", "--server", "x", "y"], "one tape"),
            (&["echo", "x"], "no argument"),
            (&["types", "x"], "no argument"),
            (&["types", "--x"], "no option --x"),
            (&["echo", "--port", "70000"], "not a port"),
        ] {
            let Err(text) = parsed(words) else { panic!("{words:?} is accepted") };
            assert!(text.contains(part), "{words:?}: {text}");
        }
    }

    /// The parser knows each described option: it accepts the value or rejects it.
    #[test]
    fn every_option_that_is_described_is_read() {
        use options::Takes;
        for command in COMMANDS {
            for option in command.options() {
                for name in option.names {
                    let words = match option.takes {
                        Takes::Value(..) => vec![command.name, name, "1", "x"],
                        _ => vec![command.name, name, "x"],
                    };
                    let error_text = parsed(&words).err().unwrap_or_default();
                    let wrong = ["described and not", "there is no option"];
                    assert!(
                        !wrong.iter().any(|w| error_text.contains(w)),
                        "{words:?}: {error_text}"
                    );
                    assert!(option.text.len() > 3, "{name}");
                }
            }
        }
    }

    #[test]
    fn help_and_pages_name_every_option_and_fit_a_terminal() {
        for command in COMMANDS {
            let Ok(Command::Text(help)) = parsed(&[command.name, "--help"]) else { panic!() };
            let Ok(Command::Text(man)) = parsed(&["man", command.name]) else { panic!() };
            assert!(help.lines().all(|line| line.chars().count() <= 90), "{help}");
            for shell in ["bash", "zsh", "fish"] {
                let Ok(Command::Text(text)) = parsed(&["completions", shell]) else { panic!() };
                assert!(text.contains(command.name), "{shell}: {}", command.name);
            }
            for option in command.options() {
                assert!(help.contains(option.names[0]), "{}", option.names[0]);
                let dashed = option.names[0].replace('-', "\\-");
                assert!(option.names[0] == "--help" || man.contains(&dashed), "{dashed}: {man}");
            }
        }
        let Ok(Command::Text(all)) = parsed(&["--help"]) else { panic!() };
        assert!(all.lines().all(|line| line.chars().count() <= 100), "{all}");
    }
}
