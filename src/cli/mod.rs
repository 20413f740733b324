//! The command: reads its arguments, sets up a runtime, and knows about signals, files, the
//! environment and the standard streams, which the library does not.

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
mod stream;
mod tell;
mod tls;
mod types;

use std::process::ExitCode;

use args::Command;
use tell::{Failure, complain, is_unheard, say};

/// Runs the command with the arguments of the process.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let done = args::parse(args).and_then(|command| match command {
        Command::Text(text) => say(&text).map(|()| 0),
        Command::Run(args) => run::run(args),
        Command::Connect(args) => connect::connect(args),
        Command::Stream(args) => stream::stream(&args),
        Command::Echo(args) => echo::echo(args),
        Command::Audit(args) => audit::audit(args),
        Command::Replay(args) => replay::replay(&args),
    });
    match done {
        // What was lost on standard error was lost, whatever else went well.
        Ok(0) if is_unheard() => ExitCode::FAILURE,
        Ok(status) => ExitCode::from(status),
        Err(Failure { status, text }) => {
            complain(&format!("moonwire: {text}"));
            ExitCode::from(status)
        }
    }
}
