//! The command: reads its arguments, sets up a runtime, and knows about signals, files, the
//! environment and the standard streams, which the library does not.

mod args;
mod echo;
mod help;
mod run;
mod secrets;
mod signals;

use std::io::Write as _;
use std::process::ExitCode;

use args::Command;

/// What went wrong, and the exit status for it.
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    /// Usage, or a file that cannot be read.
    fn usage(text: impl Into<String>) -> Failure {
        Failure { status: 2, text: text.into() }
    }

    /// Everything else.
    fn other(text: impl Into<String>) -> Failure {
        Failure { status: 1, text: text.into() }
    }
}

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let done = args::parse(args).and_then(|command| match command {
        Command::Help(text) => {
            say(text);
            Ok(0)
        }
        Command::Version => {
            say(concat!("moonwire ", env!("CARGO_PKG_VERSION"), "\n"));
            Ok(0)
        }
        Command::Types => {
            say(crate::luau::TYPES);
            Ok(0)
        }
        Command::Run(args) => run::run(args),
        Command::Echo(args) => echo::echo(args),
    });
    match done {
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, text }) => {
            complain(&format!("moonwire: {text}"));
            ExitCode::from(status)
        }
    }
}

/// Writes to standard output. If that is closed, nobody wants to know.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a line to standard error.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
