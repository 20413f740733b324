//! The command: parses its arguments, sets up a runtime, and handles signals, files, the
//! environment and the standard streams; the library uses none of these.

mod args;
mod audit;
mod connect;
mod echo;
mod help;
mod network;
mod options;
mod pages;
mod proxy;
mod replay;
mod request;
mod run;
mod secrets;
mod show;
mod signals;
mod stdio;
mod stream;
mod tls;
mod types;

use std::process::ExitCode;

use args::Command;
use stdio::{Failure, stderr_failed, write_stderr, write_stdout};

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let done = args::parse(args).and_then(|command| match command {
        Command::Text(text) => write_stdout(&text).map(|()| 0),
        Command::Run(args) => run::run(args),
        Command::Connect(args) => connect::connect(args),
        Command::Stream(args) => stream::stream(&args),
        Command::Echo(args) => echo::echo(args),
        Command::Audit(args) => audit::audit(args),
        Command::Replay(args) => replay::replay(&args),
    });
    match done {
        // Some text for standard error was lost, so the run is not a success.
        Ok(0) if stderr_failed() => ExitCode::FAILURE,
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, text }) => {
            write_stderr(&format!("moonwire: {text}"));
            ExitCode::from(status)
        }
    }
}
