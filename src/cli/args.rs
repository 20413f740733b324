//! Arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::help::{ECHO_HELP, HELP, RUN_HELP, TYPES_HELP};
use super::proxy::{self, ProxyArgs};
use super::secrets::Secret;
use super::tell::Failure;
use super::tls::{self, TlsArgs};
use crate::net::Override;
use crate::policy::Allowed;

pub(super) enum Command {
    Help(&'static str),
    Version,
    Types,
    Run(Box<RunArgs>),
    Echo(EchoArgs),
}

/// The embedded server of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EchoKind {
    Plain,
    Tls,
}

#[derive(Default)]
pub(super) struct RunArgs {
    pub(super) echo: Option<EchoKind>,
    pub(super) tls: TlsArgs,
    pub(super) resolve: Vec<Override>,
    pub(super) secrets: Vec<Secret>,
    pub(super) stream_clients: Option<usize>,
    pub(super) connections: Option<usize>,
    /// In bytes.
    pub(super) max_message: Option<usize>,
    pub(super) allow: Vec<Allowed>,
    pub(super) deny_private: bool,
    /// In MiB.
    pub(super) memory: Option<usize>,
    pub(super) time_limit: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) exit_timeout: Option<Duration>,
    pub(super) opening: Option<usize>,
    pub(super) proxies: ProxyArgs,
    pub(super) script_proxy: bool,
    pub(super) compress: bool,
    /// Streams ask for codings.
    pub(super) compressed: bool,
    pub(super) unix_sockets: bool,
    pub(super) poll_thread: bool,
    pub(super) no_stand_in: bool,
    pub(super) trace: bool,
    /// Scripts that run beside it.
    pub(super) also: Vec<PathBuf>,
    pub(super) prefix: bool,
    pub(super) file: PathBuf,
    pub(super) args: Vec<OsString>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EchoArgs {
    pub(super) port: u16,
    pub(super) tls: bool,
}

pub(super) fn parse(args: Vec<OsString>) -> Result<Command, Failure> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(Failure::usage(format!("a command is missing\n\n{HELP}")));
    };
    match first.to_str() {
        Some("run") => run(Words(args)),
        Some("echo") => echo(Words(args)),
        Some("types") => types(Words(args)),
        Some("--help" | "-h" | "help") => Ok(Command::Help(HELP)),
        Some("--version" | "-V") => Ok(Command::Version),
        _ => {
            let text = format!("there is no command {}; see moonwire --help", shown(&first));
            Err(Failure::usage(text))
        }
    }
}

fn shown(word: &OsString) -> String {
    format!("{word:?}")
}

/// The words after the command.
struct Words(std::vec::IntoIter<OsString>);

/// A word, taken apart.
enum Word {
    /// `--name` or `--name=value`.
    Option(String, Option<OsString>),
    /// Anything else; `-` too, and what follows `--`.
    Plain(OsString),
    End,
}

impl Words {
    fn next(&mut self) -> Word {
        let Some(word) = self.0.next() else { return Word::End };
        match word.to_str() {
            Some("--") => self.0.next().map_or(Word::End, Word::Plain),
            Some(text) if text.len() > 1 && text.starts_with('-') => match text.split_once('=') {
                Some((name, value)) => Word::Option(name.to_owned(), Some(value.into())),
                None => Word::Option(text.to_owned(), None),
            },
            _ => Word::Plain(word),
        }
    }

    /// The value of an option: behind its `=`, or the next word.
    fn value(&mut self, name: &str, given: Option<OsString>) -> Result<OsString, Failure> {
        let value = given.or_else(|| self.0.next());
        value.ok_or_else(|| Failure::usage(format!("{name} needs a value")))
    }

    fn text(&mut self, name: &str, given: Option<OsString>) -> Result<String, Failure> {
        let value = self.value(name, given)?;
        value.into_string().map_err(|v| Failure::usage(format!("{name}: {}", shown(&v))))
    }

    fn count(&mut self, name: &str, given: Option<OsString>) -> Result<usize, Failure> {
        let text = self.text(name, given)?;
        let count = text.parse().ok().filter(|n| *n > 0);
        count.ok_or_else(|| {
            Failure::usage(format!("{name}: \"{text}\" is not a whole number above 0"))
        })
    }

    fn bytes(&mut self, name: &str, given: Option<OsString>) -> Result<usize, Failure> {
        let text = self.text(name, given)?;
        let (digits, unit) = match text.to_ascii_uppercase().as_bytes() {
            [.., b'K'] => (&text[..text.len() - 1], 1 << 10),
            [.., b'M'] => (&text[..text.len() - 1], 1 << 20),
            [.., b'G'] => (&text[..text.len() - 1], 1 << 30),
            _ => (&*text, 1),
        };
        let count = digits.parse().ok().filter(|n: &usize| *n > 0 && !digits.starts_with('+'));
        count.and_then(|n| n.checked_mul(unit)).ok_or_else(|| {
            let what = "a number of bytes above 0, or one of KiB, MiB, GiB with K, M, G behind it";
            Failure::usage(format!("{name}: \"{text}\" is not {what}"))
        })
    }

    fn seconds(&mut self, name: &str, given: Option<OsString>) -> Result<Duration, Failure> {
        let text = self.text(name, given)?;
        let seconds = text.parse().ok().filter(|s: &f64| *s > 0.0);
        let time = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        time.ok_or_else(|| {
            Failure::usage(format!("{name}: \"{text}\" is not a number of seconds above 0"))
        })
    }
}

fn without_value(name: &str, given: Option<OsString>) -> Result<(), Failure> {
    match given {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!("{name} takes no value"))),
    }
}

fn run(mut words: Words) -> Result<Command, Failure> {
    let mut run = RunArgs::default();
    loop {
        match words.next() {
            Word::End => {
                return Err(Failure::usage("the script is missing; see moonwire run --help"));
            }
            Word::Plain(file) => {
                run.file = file.into();
                run.args = words.0.collect();
                run.tls.check()?;
                if run.tls.insecure && run.script_proxy {
                    // Beyond a proxy, localhost is the proxy's.
                    let text =
                        "--insecure is for this machine, and --allow-script-proxy leads away";
                    return Err(Failure::usage(text));
                }
                return Ok(Command::Run(Box::new(run)));
            }
            Word::Option(name, value) => match name.as_str() {
                "--help" | "-h" => return Ok(Command::Help(RUN_HELP)),
                "--echo" => run.echo = Some(echo_kind(value)?),
                "--ca" => run.tls.ca.push(words.value(&name, value)?.into()),
                "--system-roots" => {
                    without_value(&name, value)?;
                    run.tls.system_roots = true;
                }
                "--cert" => run.tls.cert = Some(words.value(&name, value)?.into()),
                "--key" => run.tls.key = Some(words.value(&name, value)?.into()),
                "--pin" => {
                    let text = words.text(&name, value)?;
                    let pin = text.parse().map_err(|e| Failure::usage(format!("{name}: {e}")))?;
                    run.tls.pins.push(pin);
                }
                "--tls-min" => run.tls.least = Some(tls::version(&words.text(&name, value)?)?),
                "--insecure" => {
                    without_value(&name, value)?;
                    run.tls.insecure = true;
                }
                "--resolve" => {
                    let text = words.text(&name, value)?;
                    let entry = text.parse().map_err(|e| Failure::usage(format!("{name}: {e}")))?;
                    run.resolve.push(entry);
                }
                "--secret" => run.secrets.push(Secret::parse(&words.text(&name, value)?)?),
                "--stream-clients" => run.stream_clients = Some(words.count(&name, value)?),
                "--connections" => run.connections = Some(words.count(&name, value)?),
                "--max-message" => run.max_message = Some(words.bytes(&name, value)?),
                "--allow" => {
                    let text = words.text(&name, value)?;
                    let entry = text.parse().map_err(|e| Failure::usage(format!("{name}: {e}")))?;
                    run.allow.push(entry);
                }
                "--deny-private" => {
                    without_value(&name, value)?;
                    run.deny_private = true;
                }
                "--proxy" => run.proxies.proxy = Some(words.text(&name, value)?),
                "--no-proxy" => run.proxies.except = Some(words.text(&name, value)?),
                "--proxy-header" => {
                    run.proxies.headers.push(proxy::header(&words.text(&name, value)?)?);
                }
                "--allow-script-proxy" => {
                    without_value(&name, value)?;
                    run.script_proxy = true;
                }
                "--compress" => {
                    without_value(&name, value)?;
                    run.compress = true;
                }
                "--compressed" => {
                    without_value(&name, value)?;
                    run.compressed = true;
                }
                "--allow-unix" => {
                    without_value(&name, value)?;
                    run.unix_sockets = true;
                }
                "--memory" => run.memory = Some(words.count(&name, value)?),
                "--time-limit" => run.time_limit = Some(words.seconds(&name, value)?),
                "--connect-timeout" => run.connect_timeout = Some(words.seconds(&name, value)?),
                "--timeout" => run.timeout = Some(words.seconds(&name, value)?),
                "--exit-timeout" => run.exit_timeout = Some(words.seconds(&name, value)?),
                "--opening" => run.opening = Some(words.count(&name, value)?),
                "--poll-thread" => {
                    without_value(&name, value)?;
                    run.poll_thread = true;
                }
                "--no-stand-in" => {
                    without_value(&name, value)?;
                    run.no_stand_in = true;
                }
                "--also" => run.also.push(words.value(&name, value)?.into()),
                "--prefix" => {
                    without_value(&name, value)?;
                    run.prefix = true;
                }
                "--trace" => {
                    without_value(&name, value)?;
                    run.trace = true;
                }
                _ => return Err(unknown(&name, "run")),
            },
        }
    }
}

fn echo_kind(value: Option<OsString>) -> Result<EchoKind, Failure> {
    match value.as_ref().map(|v| v.to_str()) {
        None | Some(Some("ws")) => Ok(EchoKind::Plain),
        Some(Some("wss")) => Ok(EchoKind::Tls),
        Some(_) => Err(Failure::usage("--echo is ws or wss")),
    }
}

fn echo(mut words: Words) -> Result<Command, Failure> {
    let mut echo = EchoArgs::default();
    loop {
        match words.next() {
            Word::End => return Ok(Command::Echo(echo)),
            Word::Plain(word) => {
                return Err(Failure::usage(format!("echo takes no argument {}", shown(&word))));
            }
            Word::Option(name, value) => match name.as_str() {
                "--help" | "-h" => return Ok(Command::Help(ECHO_HELP)),
                "--port" => {
                    let text = words.text(&name, value)?;
                    echo.port = text
                        .parse()
                        .map_err(|_| Failure::usage(format!("--port: \"{text}\" is no port")))?;
                }
                "--tls" => {
                    without_value(&name, value)?;
                    echo.tls = true;
                }
                _ => return Err(unknown(&name, "echo")),
            },
        }
    }
}

fn types(mut words: Words) -> Result<Command, Failure> {
    match words.next() {
        Word::End => Ok(Command::Types),
        Word::Option(name, _) if matches!(name.as_str(), "--help" | "-h") => {
            Ok(Command::Help(TYPES_HELP))
        }
        Word::Option(name, _) => Err(unknown(&name, "types")),
        Word::Plain(word) => {
            Err(Failure::usage(format!("types takes no argument {}", shown(&word))))
        }
    }
}

fn unknown(name: &str, command: &str) -> Failure {
    Failure::usage(format!("there is no option {name}; see moonwire {command} --help"))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn options_come_before_the_script_and_the_rest_is_its() {
        let run = run_args(&["--echo=wss", "--ca", "a.pem", "--ca=b.pem", "x.luau", "--echo", "-"]);
        assert_eq!(run.echo, Some(EchoKind::Tls));
        assert_eq!(run.tls.ca, [PathBuf::from("a.pem"), PathBuf::from("b.pem")]);
        assert_eq!(run.file, PathBuf::from("x.luau"));
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
        assert_eq!((run.tls.cert, run.tls.key), (Some("a".into()), Some("b".into())));
        assert_eq!(run.tls.pins, [PIN.parse().unwrap(), PIN.parse().unwrap()]);
        assert_eq!(run.tls.least, Some(TlsVersion::V1_3));
        assert!(run.tls.insecure && !run.tls.system_roots);
        let run = run_args(&["--system-roots", "--tls-min", "1.2", "x", "--insecure"]);
        assert_eq!(run.tls.least, Some(TlsVersion::V1_2));
        assert!(run.tls.system_roots && !run.tls.insecure);
        assert_eq!(run_args(&["x"]).tls, TlsArgs::default());
    }

    #[test]
    fn standard_input_and_times() {
        let run = run_args(&["--timeout", "1.5", "--connect-timeout=2", "--poll-thread", "-", "a"]);
        assert_eq!(run.file, PathBuf::from("-"));
        assert_eq!(run.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(run.connect_timeout, Some(Duration::from_secs(2)));
        assert!(run.poll_thread && !run.no_stand_in && !run.trace);
        assert!(run_args(&["--no-stand-in", "x"]).no_stand_in);
        assert_eq!(run_args(&["--", "--odd.luau", "b"]).file, PathBuf::from("--odd.luau"));
    }

    #[test]
    fn further_scripts_stand_before_the_first_so_that_arguments_stay_its() {
        let run = run_args(&["--also", "b.luau", "--also=c.luau", "--prefix", "a.luau", "--also"]);
        assert_eq!(run.also, [PathBuf::from("b.luau"), PathBuf::from("c.luau")]);
        assert_eq!(run.file, PathBuf::from("a.luau"));
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
            assert_eq!(run.max_message, Some(bytes), "{text}");
        }
        for text in ["", "0", "0K", "K", "-1", "+1", "1.5M", "1T", "1KB", "é", "99999999999999G"] {
            let Err(said) = parsed(&["run", "--max-message", text, "x"]) else {
                panic!("{text} is accepted")
            };
            assert!(said.contains(&format!("--max-message: \"{text}\" is not")), "{said}");
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
            (&["walk"], "no command \"walk\""),
            (&["run"], "the script is missing"),
            (&["run", "--ech", "x"], "no option --ech"),
            (&["run", "--echo=http", "x"], "ws or wss"),
            (&["run", "--ca"], "--ca needs a value"),
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
            (&["run", "--stream-clients", "0", "x"], "whole number above 0"),
            (&["run", "--stream-clients", "-1", "x"], "whole number above 0"),
            (&["run", "--stream-clients", "1.5", "x"], "whole number above 0"),
            (&["echo", "x"], "no argument"),
            (&["types", "x"], "no argument"),
            (&["types", "--x"], "no option --x"),
            (&["echo", "--port", "70000"], "no port"),
        ] {
            let Err(text) = parsed(words) else { panic!("{words:?} is accepted") };
            assert!(text.contains(part), "{words:?}: {text}");
        }
    }
}
